//! Where controllers are: a name or an IP address with a port, and the name that their certificate must be for.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// `HOST:PORT`, as in `headrace-controller-push.headrace-system.svc:9443`. The host stands for every address that it
/// resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerAddress {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
}

/// Not a [`ControllerAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAControllerAddress {
    /// There is no port.
    #[error("expected HOST:PORT, with a port from 1 to 65535")]
    Port,
    /// The host is neither a DNS name nor an IP address.
    #[error("expected HOST:PORT, with a DNS name or an IP address (IPv6 in brackets)")]
    Host,
}

impl FromStr for ControllerAddress {
    type Err = NotAControllerAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(NotAControllerAddress::Port)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(NotAControllerAddress::Port)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                rest.strip_suffix(']').filter(|host| host.contains(':')).ok_or(NotAControllerAddress::Host)?
            }
            None if host.contains(':') => return Err(NotAControllerAddress::Host),
            None => host,
        };
        let server_name = ServerName::try_from(host.to_owned()).map_err(|_| NotAControllerAddress::Host)?;
        Ok(Self { host: host.to_owned(), port, server_name })
    }
}

impl fmt::Display for ControllerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl ControllerAddress {
    /// What to look up.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whose certificate a controller must show.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        use NotAControllerAddress::{Host, Port};
        for (text, expect) in [
            ("headrace-controller-push.headrace-system.svc:9443", Ok(())),
            ("localhost:1", Ok(())),
            ("10.0.0.1:9443", Ok(())),
            ("[fd00::1]:9443", Ok(())),
            ("fd00::1:9443", Err(Host)),
            ("[fd00::1:9443", Err(Host)),
            ("[localhost]:9443", Err(Host)),
            (":9443", Err(Host)),
            ("a b:9443", Err(Host)),
            ("localhost", Err(Port)),
            ("localhost:0", Err(Port)),
            ("localhost:65536", Err(Port)),
            ("localhost:https", Err(Port)),
        ] {
            let found = text.parse::<ControllerAddress>();
            assert_eq!(found.as_ref().map(drop), expect.as_ref().map(drop), "{text}");
            if let Ok(address) = found {
                assert_eq!(address.to_string(), text);
            }
        }
    }
}
