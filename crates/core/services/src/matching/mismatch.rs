//! Why an offer is not used, in the order in which reasons are counted.

use std::{fmt, sync::Arc};

use mezzo_mesos::v1;
use mezzo_resources::Scalar;
use mezzo_services_model::{NoMatch, UnusedOffer};
use mezzo_time::Timestamp;

/// One reason, with what was wanted and what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// The offer is for another role.
    Role { wanted: String, offered: String },
    /// Nothing in the offer is of the accepted roles.
    Accepted { roles: String },
    /// Constraints, each with why.
    Constraints(Vec<String>),
    /// Another region than the master's.
    Region { own: String, offered: String },
    /// What the instance keeps is not in the offer.
    Reservation { agent: Option<String> },
    /// The agent is in maintenance.
    Maintenance,
    /// Too little of something that is counted.
    Amount { what: Amount, wanted: Scalar, free: Scalar },
    /// No disk of the wanted kind for a volume.
    Disk { path: String, kind: &'static str, wanted: u64 },
    /// Too few ports, or not the wanted ones.
    Ports { wanted: usize, free: u64, missing: Vec<u16> },
    /// Graphics processors that the service has no use for.
    Scarce,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    Cpus,
    Mem,
    Disk,
    Gpus,
}

impl Amount {
    pub(super) const ALL: [Self; 4] = [Self::Cpus, Self::Mem, Self::Disk, Self::Gpus];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
        }
    }
}

impl Lack {
    fn reason(&self) -> NoMatch {
        match self {
            Self::Role { .. } | Self::Accepted { .. } => NoMatch::UnfulfilledRole,
            Self::Constraints(_) | Self::Region { .. } => NoMatch::UnfulfilledConstraint,
            Self::Reservation { .. } => NoMatch::NoCorrespondingReservationFound,
            Self::Maintenance => NoMatch::AgentMaintenance,
            Self::Amount { what: Amount::Cpus, .. } => NoMatch::InsufficientCpus,
            Self::Amount { what: Amount::Mem, .. } => NoMatch::InsufficientMemory,
            Self::Amount { what: Amount::Disk, .. } | Self::Disk { .. } => NoMatch::InsufficientDisk,
            Self::Amount { what: Amount::Gpus, .. } => NoMatch::InsufficientGpus,
            Self::Ports { .. } => NoMatch::InsufficientPorts,
            Self::Scarce => NoMatch::DeclinedScarceResources,
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { wanted, offered } => {
                write!(f, "wanted: an offer to role {wanted}; the offer is to role {offered}")
            }
            Self::Accepted { roles } => {
                write!(f, "wanted: resources that are {roles}; the offer has none; accepting others would do")
            }
            Self::Constraints(all) => write!(f, "{}", all.join("; ")),
            Self::Region { own, offered } => write!(
                f,
                "wanted: region {own}, where the master is; the agent is in {offered}; a constraint on @region or @zone would do"
            ),
            Self::Reservation { agent: Some(agent) } => {
                write!(f, "wanted: what is reserved for this instance, on agent {agent}; this is another")
            }
            Self::Reservation { agent: None } => {
                write!(f, "wanted: what is reserved for this instance; it is not in the offer")
            }
            Self::Maintenance => write!(f, "the agent is in maintenance, or will be soon"),
            Self::Amount { what, wanted, free } => {
                let more = wanted.saturating_sub(*free);
                let what = what.name();
                write!(
                    f,
                    "wanted: {what} {wanted}, free: {free}; {more} more free, or asking for {free}, would do"
                )
            }
            Self::Disk { path, kind, wanted } => {
                write!(f, "wanted: a {kind} disk of {wanted} MiB for the volume {path}; none fits")
            }
            Self::Ports { wanted, free, missing } if missing.is_empty() => {
                write!(
                    f,
                    "wanted: {wanted} ports, free: {free}; {} more would do",
                    (*wanted as u64).saturating_sub(*free)
                )
            }
            Self::Ports { missing, .. } => {
                let missing: Vec<String> = missing.iter().map(u16::to_string).collect();
                write!(f, "wanted: port {}, not free; any free port (0) would do", missing.join(", "))
            }
            Self::Scarce => write!(
                f,
                "the agent has gpus, which are kept for services that want them; the label GPU_SCHEDULING_BEHAVIOR=unrestricted would do"
            ),
        }
    }
}

/// Why an offer is not used for an instance; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch(Vec<Lack>);

impl Mismatch {
    /// `lacks` is not empty.
    pub(super) fn new(mut lacks: Vec<Lack>) -> Self {
        lacks.sort_by_key(Lack::reason);
        Self(lacks)
    }

    /// The reason under which the offer counts (rule 92).
    pub fn first(&self) -> NoMatch {
        self.0.first().map_or(NoMatch::UnfulfilledRole, Lack::reason)
    }

    /// All reasons in the funnel's order, each once (rule 91).
    pub fn reasons(&self) -> Vec<NoMatch> {
        let mut reasons: Vec<NoMatch> = self.0.iter().map(Lack::reason).collect();
        reasons.dedup();
        reasons
    }

    /// What was wanted, what there is, and the smallest change that would do: one text per reason.
    pub fn details(&self) -> Vec<String> {
        self.0
            .chunk_by(|a, b| a.reason() == b.reason())
            .map(|lacks| lacks.iter().map(Lack::to_string).collect::<Vec<_>>().join("; "))
            .collect()
    }

    /// As the queue shows it.
    pub fn unused(&self, offer: Arc<v1::Offer>, at: Timestamp) -> UnusedOffer {
        UnusedOffer { offer, reasons: self.reasons(), details: self.details(), at }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details().join("; "))
    }
}
