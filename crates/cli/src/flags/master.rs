//! From flags to the settings of a master.

use mezzo_ids::Role;
use mezzo_master_daemon::{AgentPreference, Config, RegistryKind, Sorter, Verbosity};

use super::{Values, agent::parse_ip};
use crate::{error::CliError, logging};

/// The settings that these flags stand for.
pub(crate) fn master_config(values: &Values) -> Result<Config, CliError> {
    if values.explicit("zk").is_some_and(|zk| !zk.is_empty()) {
        return Err(CliError::usage("flag --zk is not supported")
            .why("this version of Mezzo runs one master, without ZooKeeper")
            .help("mezzo master --work_dir=PATH"));
    }
    let mut config = Config { listen: values.listen(5050)?, ..Config::default() };
    let logs = values.logs()?;
    config.log_file = logs.shown;
    config.log_dir = logs.folder;
    config.external_log_file = logs.external;
    config.verbosity = Verbosity { get: logging::verbosity, set: logging::set_verbosity };
    config.advertise_ip = values.convert("advertise_ip", parse_ip)?;
    config.advertise_port = values.number("advertise_port")?;
    config.hostname = values.get("hostname").map(str::to_owned);
    config.hostname_lookup = values.switch("hostname_lookup");
    config.registry = match values.get("registry") {
        Some("in_memory") => RegistryKind::InMemory,
        _ => RegistryKind::Embedded,
    };
    config.work_dir = match config.registry {
        // The registry is a file in it (rule 537).
        RegistryKind::Embedded => Some(values.required("work_dir")?.into()),
        RegistryKind::InMemory => values.get("work_dir").map(Into::into),
    };
    config.cluster = values.get("cluster").map(str::to_owned);
    config.domain = values.domain()?;
    config.require_agent_domain = values.switch("require_agent_domain");
    config.root_submissions = values.switch("root_submissions");
    config.filter_gpu_resources = values.switch("filter_gpu_resources");
    config.offer_timeout = values.duration("offer_timeout")?;
    for (name, slot) in [
        ("agent_ping_timeout", &mut config.agent_ping_timeout),
        ("agent_reregister_timeout", &mut config.agent_reregister_timeout),
        ("allocation_interval", &mut config.allocation_interval),
        ("allocator_recovery_timeout", &mut config.allocator_recovery_timeout),
        ("registry_max_agent_age", &mut config.registry_agent_age_max),
        ("registry_gc_interval", &mut config.registry_gc_interval),
    ] {
        if let Some(duration) = values.duration(name)? {
            *slot = duration;
        }
    }
    for (name, slot) in [
        ("max_completed_frameworks", &mut config.completed_frameworks_max),
        ("max_completed_tasks_per_framework", &mut config.completed_tasks_max),
        ("max_unreachable_tasks_per_framework", &mut config.unreachable_tasks_max),
        ("registry_max_agent_count", &mut config.registry_agent_count_max),
        ("max_operator_event_stream_subscribers", &mut config.operator_subscribers_max),
    ] {
        if let Some(count) = values.number(name)? {
            *slot = count;
        }
    }
    if let Some(count) = values.number("max_agent_ping_timeouts")? {
        config.agent_ping_timeouts_max = count;
    }
    if let Some(share) = values.convert("recovery_agent_removal_limit", percent)? {
        config.recovery_agent_removal_limit = share;
    }
    config.agent_removal_rate_limit = values.convert("agent_removal_rate_limit", |text| {
        let (count, interval) = text.split_once('/').ok_or("it is written as 1/10mins")?;
        let count = count.parse().map_err(|_| format!("'{count}' is not a number"))?;
        let interval = mezzo_time::parse_duration(interval).map_err(|error| error.to_string())?;
        Ok((count, interval))
    })?;
    config.roles = values.convert("roles", |text| Ok(list(text).map(Role::from).collect()))?;
    config.weights = values
        .convert("weights", |text| {
            list(text)
                .map(|entry| {
                    let (role, weight) = entry.split_once('=').ok_or("it is written as role=weight,...")?;
                    let weight: f64 = weight.parse().map_err(|_| format!("'{weight}' is not a number"))?;
                    if weight > 0.0 {
                        Ok((Role::from(role), weight))
                    } else {
                        Err("a weight is above 0".to_owned())
                    }
                })
                .collect()
        })?
        .unwrap_or_default();
    config.fair_sharing_excluded_names = values
        .convert("fair_sharing_excluded_resource_names", |text| Ok(list(text).map(str::to_owned).collect()))?
        .unwrap_or_default();
    if let Some(least) = values.get("min_allocatable_resources") {
        config.min_allocatable_resources = least.into();
    }
    for (name, slot) in
        [("role_sorter", &mut config.role_sorter), ("framework_sorter", &mut config.framework_sorter)]
    {
        if let Some(sorter) = values.convert(name, sorter)? {
            *slot = sorter;
        }
    }
    config.check_allocations = values.switch("check_allocations");
    if let Some(preference) = values.convert("agent_preference", agent_preference)? {
        config.agent_preference = preference;
    }
    config.flags = values.effective();
    Ok(config)
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `95%` as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("it is a percentage such as 95%".into()),
    }
}

fn sorter(text: &str) -> Result<Sorter, String> {
    match text {
        "drf" => Ok(Sorter::FairShare),
        "random" => Ok(Sorter::Random),
        _ => Err("it is drf or random".into()),
    }
}

fn agent_preference(text: &str) -> Result<AgentPreference, String> {
    match (text, text.strip_prefix("most_free:")) {
        ("random", _) => Ok(AgentPreference::Random),
        ("spread", _) => Ok(AgentPreference::Spread),
        ("pack", _) => Ok(AgentPreference::Pack),
        (_, Some(name)) if !name.is_empty() => Ok(AgentPreference::MostFree(name.into())),
        _ => Err("it is random, spread, pack, or most_free: with the name of a resource, \
                  such as most_free:mem"
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MASTER;
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, CliError> {
        master_config(&MASTER.parse(arguments.iter().map(|a| (*a).to_owned()), [])?)
    }

    #[test]
    fn flags_reach_the_settings() {
        let config = config(&[
            "--work_dir=/w",
            "--ip=127.0.0.1",
            "--slave_ping_timeout=3secs",
            "--weights=a=2.5,b=1",
            "--agent_removal_rate_limit=1/10mins",
            "--recovery_agent_removal_limit=40%",
            "--quorum=1",
            "--user_sorter=random",
            "--agent_preference=most_free:gpus",
            "--check_allocations",
        ])
        .expect("config");
        assert_eq!((config.role_sorter, config.framework_sorter), (Sorter::Random, Sorter::FairShare));
        assert_eq!(config.agent_preference, AgentPreference::MostFree("gpus".into()));
        assert!(config.check_allocations);
        assert_eq!(config.agent_ping_timeout.as_secs(), 3);
        assert_eq!(config.weights.get("a"), Some(&2.5));
        assert_eq!(config.agent_removal_rate_limit.map(|(n, d)| (n, d.as_secs())), Some((1, 600)));
        assert!((config.recovery_agent_removal_limit - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_policy_is_answered_with_the_right_ones() {
        for (flag, right) in [
            ("--role_sorter=fair", "drf or random"),
            ("--framework_sorter=", "drf or random"),
            ("--agent_preference=most_free:", "random, spread, pack, or most_free:"),
            ("--agent_preference=best", "random, spread, pack, or most_free:"),
            ("--allocator=mine", "hierarchical"),
        ] {
            let told = match config(&["--work_dir=/w", flag]) {
                Err(error) => format!("{error} {error:?}"),
                // An empty value counts as not given.
                Ok(_) if flag.ends_with("sorter=") => continue,
                Ok(_) => String::new(),
            };
            assert!(told.contains(right), "{flag}: {told}");
        }
    }

    #[test]
    fn rule_537_the_registry_needs_a_folder() {
        assert!(config(&[]).expect_err("refused").to_string().contains("--work_dir is missing"));
        assert!(config(&["--registry=in_memory"]).is_ok());
        assert!(
            config(&["--work_dir=/w", "--zk=zk://h/m"]).expect_err("refused").to_string().contains("--zk")
        );
    }
}
