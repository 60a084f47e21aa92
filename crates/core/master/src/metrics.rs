//! Counters by their name in metrics.tsv.
