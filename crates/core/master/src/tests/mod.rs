//! What the master does, told as short stories with scripted schedulers and agents.

mod accept;
mod agents;
mod facts;
mod frameworks;
mod invariants;
mod inverse_offers;
mod kill;
mod launch_errors;
mod launch_group;
mod offers;
mod operator_events;
mod reconcile;
mod reregister;
mod subscribe;
mod updates;
