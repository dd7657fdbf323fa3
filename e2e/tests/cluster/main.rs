//! Headrace installed in a real cluster, used from outside of the node: `make e2e`.
//!
//! Every test is ignored unless it is asked for, since each needs the cluster that `make e2e` brings up. Each works in a
//! namespace of its own; those that disturb everybody (a leader killed, the API server restarted) are in `faults` and run
//! by themselves.

mod applications;
mod audit;
mod browser;
mod changes;
mod chart;
mod faults;
mod first_route;
mod hostile;
mod ingress;
mod metrics;
mod rollout;
mod security;
mod sessions;
