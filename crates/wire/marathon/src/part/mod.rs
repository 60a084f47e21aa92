//! Parts that the definitions of apps and pods have in common, read from JSON.

pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod constraint;
pub(crate) mod container;
pub(crate) mod env;
pub(crate) mod fetch;
pub(crate) mod name;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod resource;
pub(crate) mod strategy;
pub(crate) mod volume;
