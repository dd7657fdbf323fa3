//! Headrace's own Kubernetes kinds, and the vocabulary of conditions that its controller writes.
//!
//! Owns the Rust types of group `headrace.dev`, their CRD schemas (with CEL validation), and the closed lists of condition
//! types and reasons. It must not know how an object is compiled, watched or served.

pub mod condition;
pub mod crd;
pub mod edgepolicy;
pub mod gatewayparameters;
pub mod reference;
pub mod route;
pub mod websocketroute;
pub mod webtransportroute;

pub use edgepolicy::{EdgePolicy, EdgePolicySpec};
pub use gatewayparameters::{GatewayParameters, GatewayParametersSpec};
pub use websocketroute::{WebSocketRoute, WebSocketRouteSpec};
pub use webtransportroute::{WebTransportRoute, WebTransportRouteSpec};

/// The API group of every kind here.
pub const GROUP: &str = "headrace.dev";

/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
