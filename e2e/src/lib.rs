//! The harness of the black-box tests: starts Headrace, backends and clients as processes, and nothing inside them.
//!
//! ```text
//! independent client  ->  headrace standalone  ->  demo backend, or a real application
//! ```
//!
//! Must not know any of Headrace's crates: what a test cannot see from outside is not this crate's to test. Everything
//! listens on loopback, on ports that were free; everything is killed by its process id when its owner is dropped.

pub mod application;
pub mod client;
pub mod headrace;
pub mod manifest;
pub mod port;
pub mod probe;
pub mod process;
pub mod site;
pub mod trust;

pub use headrace::Headrace;
pub use process::Process;
pub use site::Site;
