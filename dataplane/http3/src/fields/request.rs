//! Owns requests: their pseudo-headers (RFC 9114 section 4.3.1), CONNECT (section 4.4) and extended CONNECT (RFC 9220).

use bytes::Bytes;
use http::{
    Method, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{Fields, HeadError, Malformed, Protocol, PseudoLine, Unsendable, encode_headers, pseudo_octets};
use crate::qpack::{self, Encoder, Limits, static_table::Pseudo};

/// A request as it was received.
#[derive(Debug)]
pub struct RequestHead {
    /// The URI is in absolute form, or in authority form for CONNECT. Host is not among the headers: what it said is the
    /// URI's authority. `:protocol` is an extension of type [`Protocol`].
    pub request: Request<()>,
    /// What Content-Length says.
    pub content_length: Option<u64>,
}

/// Pseudo-headers as they came.
#[derive(Debug, Default)]
struct Pseudos {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Protocol>,
}

impl Pseudos {
    fn take(&mut self, line: PseudoLine) -> Result<(), Malformed> {
        let octets = pseudo_octets(line.value);
        let twice = match line.pseudo {
            Pseudo::Method => {
                self.method.replace(Method::from_bytes(&octets).map_err(|_| Malformed::Method)?).is_some()
            }
            Pseudo::Scheme => self.scheme.replace(scheme(&octets)?).is_some(),
            Pseudo::Authority => self.authority.replace(octets).is_some(),
            Pseudo::Path => self.path.replace(octets).is_some(),
            Pseudo::Protocol => {
                self.protocol.replace(Protocol::try_from(octets).map_err(|_| Malformed::Protocol)?).is_some()
            }
            Pseudo::Status => return Err(Malformed::PseudoUnexpected),
        };
        if twice { Err(Malformed::PseudoTwice) } else { Ok(()) }
    }
}

fn scheme(octets: &[u8]) -> Result<Scheme, Malformed> {
    // RFC 3986 section 3.1. The parser below takes the empty text and digits in front.
    if !octets.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(Malformed::Scheme);
    }
    Scheme::try_from(octets).map_err(|_| Malformed::Scheme)
}

/// Decodes the field section of a request.
pub fn decode_request(section: &[u8], limits: Limits) -> Result<RequestHead, HeadError> {
    let mut fields = Fields::with_room_for(section);
    let mut pseudos = Pseudos::default();
    qpack::decode(section, limits, |line| match fields.take(line)? {
        Some(line) => pseudos.take(line),
        None => Ok(()),
    })?;
    Ok(request(pseudos, fields)?)
}

fn request(pseudos: Pseudos, mut fields: Fields) -> Result<RequestHead, Malformed> {
    let method = pseudos.method.ok_or(Malformed::PseudoMissing)?;
    let connect = method == Method::CONNECT;
    if pseudos.protocol.is_some() && !connect {
        return Err(Malformed::PseudoUnexpected);
    }
    if connect && fields.content_length.is_some() {
        // A tunnel has no content, and a length that travels on could be taken for one (RFC 9110 section 9.3.6).
        return Err(Malformed::ContentLength);
    }
    let authority = agreed_authority(pseudos.authority, fields.host.take())?;
    let uri = if connect && pseudos.protocol.is_none() {
        // RFC 9114 section 4.4: the authority and nothing else.
        if pseudos.scheme.is_some() || pseudos.path.is_some() {
            return Err(Malformed::PseudoUnexpected);
        }
        Uri::from(authority.ok_or(Malformed::PseudoMissing)?)
    } else {
        absolute_uri(&method, pseudos.scheme, authority, pseudos.path)?
    };
    let content_length = fields.content_length;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_3;
    *request.headers_mut() = fields.finish();
    if let Some(protocol) = pseudos.protocol {
        request.extensions_mut().insert(protocol);
    }
    Ok(RequestHead { request, content_length })
}

/// `:authority` and Host say the same thing, or one of them is not there (RFC 9114 section 4.3.1).
fn agreed_authority(authority: Option<Bytes>, host: Option<http::HeaderValue>) -> Result<Option<Authority>, Malformed> {
    let octets = match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host.as_bytes()) => {
            return Err(Malformed::Host);
        }
        (Some(authority), _) => authority,
        (None, Some(host)) => Bytes::copy_from_slice(host.as_bytes()),
        (None, None) => return Ok(None),
    };
    // User information is deprecated and must not be here (RFC 9114 section 4.3.1); an empty authority is no authority.
    if octets.is_empty() || octets.contains(&b'@') {
        return Err(Malformed::Authority);
    }
    Authority::from_maybe_shared(octets).map(Some).map_err(|_| Malformed::Authority)
}

fn absolute_uri(
    method: &Method,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<Bytes>,
) -> Result<Uri, Malformed> {
    let scheme = scheme.ok_or(Malformed::PseudoMissing)?;
    let path = path.ok_or(Malformed::PseudoMissing)?;
    // The asterisk is for OPTIONS, and every other path begins with a slash. A fragment is no part of a path, and the
    // parser below would silently cut it off.
    let asterisk = &path[..] == b"*" && *method == Method::OPTIONS;
    if !asterisk && (path.first() != Some(&b'/') || path.contains(&b'#')) {
        return Err(Malformed::Path);
    }
    let path = PathAndQuery::from_maybe_shared(path).map_err(|_| Malformed::Path)?;
    // An authority is mandatory for http and https, and this crate serves nothing that has none.
    let authority = authority.ok_or(Malformed::PseudoMissing)?;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| Malformed::Path)
}

/// Encodes a request. Returns its size as the peer counts it.
///
/// The authority is the URI's, or Host's when the URI has none; Host itself is not sent.
pub fn encode_request<T>(request: &Request<T>, out: &mut Vec<u8>) -> Result<u64, Unsendable> {
    let protocol = request.extensions().get::<Protocol>();
    let connect = request.method() == Method::CONNECT;
    if protocol.is_some() && !connect {
        return Err(Unsendable::ProtocolWithoutConnect);
    }
    let uri = request.uri();
    let host = request.headers().get(header::HOST).map(http::HeaderValue::as_bytes);
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes()).or(host);
    let authority = authority.filter(|authority| !authority.is_empty()).ok_or(Unsendable::NoAuthority)?;

    let whole_uri = !connect || protocol.is_some();
    let scheme = if whole_uri { Some(uri.scheme_str().ok_or(Unsendable::NoScheme)?) } else { None };
    let mut encoder = Encoder::new(out);
    encoder.line(b":method", request.method().as_str().as_bytes(), false);
    if let Some(protocol) = protocol {
        encoder.line(b":protocol", protocol.as_str().as_bytes(), false);
    }
    if let Some(scheme) = scheme {
        encoder.line(b":scheme", scheme.as_bytes(), false);
    }
    encoder.line(b":authority", authority, false);
    if whole_uri {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        // A query alone has no path to stand on (RFC 9114 section 4.3.1: never empty).
        if path.starts_with('?') {
            encoder.line(b":path", [b"/", path.as_bytes()].concat().as_slice(), false);
        } else {
            encoder.line(b":path", path.as_bytes(), false);
        }
    }
    encode_headers(request.headers(), &mut encoder, |name| name == "host" || (connect && name == "content-length"));
    Ok(encoder.size())
}
