//! Mistakes made on purpose, between the real cores and the world, to see whether the checkers find them.

/// One kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// One offer in ten goes to a second framework as well.
    DoubleOffer,
    /// An update never reaches its scheduler, and the agent is told that it did.
    LostUpdate,
    /// The master never learns that a task has ended, although its scheduler does.
    LeakedResource,
    /// The weights of an operator reach the master swapped.
    WrongShare,
    /// A refusal of seconds reaches the master as one of a year.
    ForgottenExpiry,
    /// The services node's store says that it has instances, and does not.
    ForgetfulStore,
    /// The same of the framework's id.
    LostFrameworkId,
    /// Upgrades of apps need not keep anything healthy.
    HastyUpgrade,
    /// Apps that fail are launched again at once.
    NoBackoff,
    /// Constraints of apps are left out of their definitions.
    NoConstraints,
    /// So are dependencies.
    NoDependencies,
    /// Checks that agents make find everything well.
    BlindChecks,
}

impl Plant {
    /// Those of clusters with a services node.
    pub const OF_SERVICES: [Self; 7] = [
        Self::ForgetfulStore,
        Self::LostFrameworkId,
        Self::HastyUpgrade,
        Self::NoBackoff,
        Self::NoConstraints,
        Self::NoDependencies,
        Self::BlindChecks,
    ];
    /// All others.
    pub const ALL: [Self; 5] =
        [Self::DoubleOffer, Self::LostUpdate, Self::LeakedResource, Self::WrongShare, Self::ForgottenExpiry];
}
