//! Answers computed from a snapshot, off the master's thread.
