//! What a URL of a WebSocket or of a WebTransport session names, and the addresses behind it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

use super::ClientError;

/// What can be connected to: the scheme says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Url {
    /// `wss` or `ws`.
    WebSocket(Target),
    /// `https`.
    WebTransport(Target),
}

/// The URL of a WebSocket (RFC 6455, section 3) or of a WebTransport session, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `wss` or `https`, as opposed to `ws`.
    pub(crate) secure: bool,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as `Host` and `:authority` have them.
    pub(crate) authority: Authority,
    /// Path and query.
    pub(crate) path: String,
    /// Addresses to use in place of those that names have.
    pub(crate) resolve: Vec<Resolve>,
}

/// Why a text is no such URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("not a URL")]
    NotUrl,
    #[error("a WebSocket URL starts with wss:// or ws://")]
    Scheme,
    #[error("a URL starts with wss:// or ws:// for a WebSocket, with https:// for WebTransport")]
    NeitherScheme,
    #[error("the URL has no host")]
    NoHost,
    #[error("the URL may have no user information")]
    UserInformation,
    #[error("the URL may have no fragment (RFC 6455, section 3)")]
    Fragment,
}

/// The schemes that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Ws,
    Wss,
    Https,
}

impl FromStr for Url {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match Target::read(text)? {
            (Scheme::Ws | Scheme::Wss, target) => Ok(Url::WebSocket(target)),
            (Scheme::Https, target) => Ok(Url::WebTransport(target)),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Of a WebSocket.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        match Target::read(text)? {
            (Scheme::Ws | Scheme::Wss, target) => Ok(target),
            (Scheme::Https, _) => Err(TargetError::Scheme),
        }
    }
}

impl Target {
    fn read(text: &str) -> Result<(Scheme, Self), TargetError> {
        if text.contains('#') {
            return Err(TargetError::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| TargetError::NotUrl)?;
        let scheme = match uri.scheme_str() {
            Some("ws") => Scheme::Ws,
            Some("wss") => Scheme::Wss,
            Some("https") => Scheme::Https,
            _ => return Err(TargetError::NeitherScheme),
        };
        let secure = scheme != Scheme::Ws;
        let authority = uri.authority().ok_or(TargetError::NoHost)?.clone();
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInformation);
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(TargetError::NoHost);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok((scheme, Target { secure, host, port, authority, path, resolve: Vec::new() }))
    }

    /// The URI of requests with a method of their own (RFC 8441, section 5: `https` for `wss`).
    pub(crate) fn uri(&self) -> Result<Uri, http::Error> {
        let scheme = if self.secure { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query(self.path.as_str()).build()
    }

    /// Every address of the host, as the system orders them.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, ClientError> {
        let said = self
            .resolve
            .iter()
            .filter(|resolve| resolve.host.eq_ignore_ascii_case(&self.host) && resolve.port == self.port);
        let said: Vec<SocketAddr> = said.map(|resolve| SocketAddr::new(resolve.address, self.port)).collect();
        if !said.is_empty() {
            return Ok(said);
        }
        let error = |source| ClientError::Resolve { host: self.host.clone(), source };
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(error)?.collect();
        match found.is_empty() {
            true => Err(error(std::io::Error::from(std::io::ErrorKind::NotFound))),
            false => Ok(found),
        }
    }
}

/// `host:port:address`, as curl has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    host: String,
    port: u16,
    address: IpAddr,
}

/// Why a text is no [`Resolve`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT:ADDRESS, such as example.com:443:127.0.0.1")]
pub(crate) struct ResolveError;

impl FromStr for Resolve {
    type Err = ResolveError;

    fn from_str(text: &str) -> Result<Self, ResolveError> {
        let (host, rest) = text.split_once(':').ok_or(ResolveError)?;
        let (port, address) = rest.split_once(':').ok_or(ResolveError)?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        Ok(Resolve {
            host: host.to_owned(),
            port: port.parse().map_err(|_| ResolveError)?,
            address: address.parse().map_err(|_| ResolveError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        for (text, expected) in [
            ("wss://localhost:8443/echo", Ok("true localhost 8443 localhost:8443 /echo")),
            ("ws://a.test", Ok("false a.test 80 a.test /")),
            ("wss://a.test?x=1", Ok("true a.test 443 a.test /?x=1")),
            ("wss://[::1]:1/p?q", Ok("true ::1 1 [::1]:1 /p?q")),
            ("https://a.test/", Err(TargetError::Scheme)),
            ("a.test", Err(TargetError::NeitherScheme)),
            ("wss://u@a.test/", Err(TargetError::UserInformation)),
            ("wss://a.test/#x", Err(TargetError::Fragment)),
            ("wss:///x", Err(TargetError::NotUrl)),
        ] {
            let found = text
                .parse::<Target>()
                .map(|t| format!("{} {} {} {} {}", t.secure, t.host, t.port, t.authority, t.path));
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_scheme_says_what_it_is() {
        for (text, expected) in [
            ("wss://a.test/x", Ok("websocket 443")),
            ("ws://a.test/x", Ok("websocket 80")),
            ("https://a.test/x", Ok("webtransport 443")),
            ("https://a.test:8443", Ok("webtransport 8443")),
            ("http://a.test/", Err(TargetError::NeitherScheme)),
            ("https://a.test/#x", Err(TargetError::Fragment)),
        ] {
            let found = text.parse::<Url>().map(|url| match url {
                Url::WebSocket(target) => format!("websocket {}", target.port),
                Url::WebTransport(target) => format!("webtransport {}", target.port),
            });
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn reads_addresses() {
        for (text, expected) in [
            ("a.test:443:127.0.0.1", Some("127.0.0.1")),
            ("a.test:443:[::1]", Some("::1")),
            ("a.test:443:::1", Some("::1")),
            ("a.test:127.0.0.1", None),
            ("a.test:443:b.test", None),
        ] {
            let found = text.parse::<Resolve>().ok().map(|resolve| resolve.address.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
