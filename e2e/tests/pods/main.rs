//! Several pods on a network of their own: real `headrace-dataplane` processes, each in a network namespace with its own
//! address, that share one table by the real push, behind a balancer that knows nothing of QUIC.
//!
//! ```text
//!   client ──► relay: a NAT that forgets, and a balancer by 4-tuple ──► pod 198.18.1.11 ─┐
//!   (aioquic, quic-go, Chromium, quinn)                            ├──► pod 198.18.1.12 ─┼──► demo backend
//!                                                                  └──► pod 198.18.1.13 ─┘
//!                                                                            ▲ tables
//!                                                                        publisher
//! ```
//!
//! Every test makes a network namespace for all this and one for each pod in it, and runs inside: `unshare` and `ip` are
//! needed, and root, or a kernel that gives its users namespaces. Whatever way a test ends, its namespaces end with its
//! processes.
#![allow(clippy::print_stdout, reason = "a test reports what it measured and does not assert")]

mod dead;
mod floods;
mod latency;
mod moves;
mod network;
mod publisher;
mod push;
mod relay;
mod stage;
mod table;
