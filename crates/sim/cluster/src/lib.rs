//! A whole cluster in virtual time: the real master, agents and scheduler logic over a simulated network, disk and clock.
