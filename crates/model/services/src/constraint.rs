//! Where instances may be placed.

/// How a constraint judges the value of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// No two instances on the same value.
    Unique,
    /// All on one value.
    Cluster,
    /// Spread evenly over values.
    GroupBy,
    /// The value matches a pattern.
    Like,
    /// The value does not match a pattern.
    Unlike,
    /// At most so many on one value.
    MaxPer,
    /// The value is that one.
    Is,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Unique, Self::Cluster, Self::GroupBy, Self::Like, Self::Unlike, Self::MaxPer, Self::Is];

    /// The name as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Cluster => "CLUSTER",
            Self::GroupBy => "GROUP_BY",
            Self::Like => "LIKE",
            Self::Unlike => "UNLIKE",
            Self::MaxPer => "MAX_PER",
            Self::Is => "IS",
        }
    }
}

/// One rule of placement. The field is `hostname` or `@hostname`, `@region`, `@zone` or the name of an attribute (rule 106).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// What is looked at.
    pub field: String,
    /// How.
    pub operator: Operator,
    /// Against what.
    pub value: Option<String>,
}
