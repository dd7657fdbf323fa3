//! Watches the cluster, compiles it, publishes tables and writes status.
