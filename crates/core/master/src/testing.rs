//! A master with schedulers and agents that are played by the test.
