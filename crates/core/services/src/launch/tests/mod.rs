//! What is launched, rule by rule.

mod checks;
mod containers;
mod environment;
mod networks;
mod tasks;
