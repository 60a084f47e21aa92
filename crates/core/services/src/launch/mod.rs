//! What is said to the master when an instance has found its place: reservations, volumes, tasks.

mod call;
mod checks;
mod container;
mod discovery;
mod environment;
mod parts;
mod ports;
mod residency;
mod tasks;
#[cfg(test)]
mod tests;

use mezzo_mesos::v1::offer;
use mezzo_services_model::{App, Instance};
use rand_core::Rng;

pub use call::{accept, decline};
pub use residency::release;

use crate::{
    Config,
    matching::{Mismatch, Need, Opened, Terms, fit},
};

/// An instance that has found its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// For the accept call, in this order.
    pub operations: Vec<offer::Operation>,
    /// The instance as it is from there on: launched, or with a reservation that is to be seen in an offer.
    pub instance: Instance,
}

/// Places an instance on an offer and takes from it what the instance needs; or says why it does not fit.
///
/// The caller keeps the instance, adds its agent to [`crate::matching::Placed`], and accepts the offer with the operations of
/// all instances that were placed on it.
pub fn place(
    offer: &mut Opened,
    need: &Need<'_>,
    terms: &Terms<'_>,
    rng: &mut dyn Rng,
) -> Result<Placement, Mismatch> {
    let taken = fit(offer, need, terms, rng)?;
    if taken.to_reserve {
        return Ok(residency::reserve(&taken, offer, need, terms, rng));
    }
    Ok(tasks::launch(&taken, offer, need, terms, rng))
}

/// The path of the executor of an app, when it is not the agent's own.
pub(crate) fn custom_executor<'a>(app: &'a App, config: &'a Config) -> Option<&'a str> {
    let named = if app.executor.is_empty() { &config.executor } else { &app.executor };
    (!named.is_empty() && named != "//cmd").then_some(named)
}
