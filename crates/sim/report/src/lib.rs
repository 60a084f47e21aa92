//! What a simulation showed: tables, and a self-contained page of plots.
