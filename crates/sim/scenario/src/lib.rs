//! Scenario files, traces and generated workloads, as plain data with clear errors.
