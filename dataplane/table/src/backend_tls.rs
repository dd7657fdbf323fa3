//! Who the endpoints of a backend have to be when they speak TLS (Gateway API, BackendTLSPolicy), in checked form.
//!
//! Equal values are one identity: a connection that was verified under one may serve any backend that asks for the same.
//! Knows no certificates: whether the roots can be used is the TLS library's to judge.

use crate::hostname::{HostPattern, Hostname};

/// Who the endpoints of a backend have to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendTls {
    /// The host name that is sent as SNI; never an address.
    pub server_name: Hostname,
    /// Who may have issued the certificate.
    pub trust: Trust,
    /// Names of which the certificate must have at least one. Empty means `server_name`.
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// Whose signature makes a backend's certificate good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The public certification authorities that the data plane knows.
    System,
    /// These certificates and no others, as PEM.
    Roots(String),
}

/// A name that a certificate may have instead of the server name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAltName {
    /// A DNS name. Never [`HostPattern::Any`].
    Hostname(HostPattern),
    /// A URI, octet for octet.
    Uri(String),
}
