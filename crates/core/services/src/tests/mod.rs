//! Rules of Marathon, played against a master and agents that do what they are told.

mod canary;
mod corners;
mod crash;
mod deployments;
mod failures;
mod health;
mod kills;
mod outlook;
mod planning;
mod scale;
mod secrets;
mod told;
mod upgrades;
mod world;
