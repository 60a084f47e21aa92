//! What an operator chose.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_ids::Role;
use mezzo_mesos::v1;
use mezzo_resources::{Name, Quantities, Scalar};

/// How clients are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sorter {
    /// Lowest dominant share first (rules 121 to 125).
    #[default]
    FairShare,
    /// A weighted shuffle (rule 126).
    Random,
}

/// Which agents are offered first. Fairness does not change, but what whoever comes first is given does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AgentPreference {
    /// Any (rule 85).
    #[default]
    Random,
    /// The least used first, by the most used of its common resources.
    Spread,
    /// The most used first, so that others stay empty.
    Pack,
    /// Those with most free of a name first.
    MostFree(Name),
}

/// Settings of the allocator.
#[derive(Clone, Debug)]
pub struct Config {
    /// --weights; roles that are missing weigh 1.0 (rule 125).
    pub weights: BTreeMap<Role, f64>,
    /// --fair_sharing_excluded_resource_names (rule 123).
    pub fair_sharing_excluded_names: BTreeSet<String>,
    /// --min_allocatable_resources: one of these must be reached (rule 105). Empty: no minimum.
    pub min_allocatable: Vec<Quantities>,
    /// --allocation_interval
    pub allocation_interval: Duration,
    /// --filter_gpu_resources (rule 106).
    pub filter_gpu_resources: bool,
    /// Where the master is (rule 107).
    pub master_domain: Option<v1::DomainInfo>,
    /// --role_sorter
    pub role_sorter: Sorter,
    /// --framework_sorter
    pub framework_sorter: Sorter,
    /// Which agents are offered first.
    pub agent_preference: AgentPreference,
    /// --whitelist: hostnames that may be offered; `None` for all (rule 109).
    pub agent_whitelist: Option<BTreeSet<String>>,
}

impl Default for Config {
    /// The defaults of Mesos' flags.
    fn default() -> Self {
        let minimum = |name, amount| [(Name::from(name), amount)].into_iter().collect();
        Self {
            weights: BTreeMap::new(),
            fair_sharing_excluded_names: BTreeSet::new(),
            min_allocatable: vec![
                minimum("cpus", Scalar::from_thousandths(10)),
                minimum("mem", Scalar::from_whole(32)),
            ],
            allocation_interval: Duration::from_secs(1),
            filter_gpu_resources: true,
            master_domain: None,
            role_sorter: Sorter::default(),
            framework_sorter: Sorter::default(),
            agent_preference: AgentPreference::default(),
            agent_whitelist: None,
        }
    }
}
