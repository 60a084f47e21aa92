//! Matching, rule by rule.

mod constraints;
mod fitting;
mod residency;
