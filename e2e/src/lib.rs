//! The harness of the black-box tests: starts Headrace, backends and clients as processes, and nothing inside them.
//!
//! ```text
//! independent client  ->  headrace standalone            ->  demo backend, or a real application
//! independent client  ->  Headrace installed in a cluster  ->  the same, behind Services
//! ```
//!
//! Must not know any of Headrace's crates: what a test cannot see from outside is not this crate's to test. Everything
//! listens on loopback, on ports that were free; everything is killed by its process id when its owner is dropped.

pub mod application;
pub mod ca;
pub mod client;
pub mod cluster;
pub mod headrace;
pub mod manifest;
pub mod port;
pub mod probe;
pub mod process;
pub mod room;
pub mod site;
pub mod trust;
pub mod tunnels;

pub use client::Reached;
pub use headrace::Headrace;
pub use process::Process;
pub use site::Site;
