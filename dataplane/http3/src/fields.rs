//! Owns what HTTP/3 asks of a message's fields (RFC 9114 section 4.2), on the way between QPACK and the `http` types.
//!
//! The rules for requests and responses stand in the submodules; here are those that hold for every field section.
//! Streams and connections are not known here.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

use crate::qpack::{
    self, DecodeError, Encoder, Limits, Line, Name, SectionError, Value,
    static_table::{EntryName, Pseudo},
};

mod protocol;
mod request;
mod response;

pub use protocol::{InvalidProtocol, Protocol};
pub use request::{RequestHead, decode_request, encode_request};
pub use response::{ResponseHead, decode_response, encode_response};

/// How a message breaks RFC 9114 sections 4.1 to 4.4. The stream is reset with H3_MESSAGE_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A field name with an octet that is no lowercase token octet.
    #[error("a field name has an octet that is not allowed")]
    FieldName,
    /// A field value with an octet that is not allowed.
    #[error("a field value has an octet that is not allowed")]
    FieldValue,
    /// Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding or Upgrade.
    #[error("a connection-specific field")]
    ConnectionSpecific,
    /// TE with anything but `trailers`.
    #[error("TE other than trailers")]
    Te,
    /// A pseudo-header after a field, or in trailers.
    #[error("a pseudo-header after a field")]
    PseudoLate,
    /// The same pseudo-header twice.
    #[error("the pseudo-header came twice")]
    PseudoTwice,
    /// A pseudo-header that nobody defined, or that does not belong in this kind of message.
    #[error("a pseudo-header that does not belong here")]
    PseudoUnexpected,
    /// A pseudo-header that this kind of message must have.
    #[error("a pseudo-header is missing")]
    PseudoMissing,
    /// `:method` is no token.
    #[error(":method is no token")]
    Method,
    /// `:scheme` is no scheme.
    #[error(":scheme is no scheme")]
    Scheme,
    /// `:authority` or Host is empty, has user information, or is no authority.
    #[error("the authority is not valid")]
    Authority,
    /// Host came twice, or says something else than `:authority`.
    #[error("Host disagrees with the authority")]
    Host,
    /// `:path` is empty or no path.
    #[error(":path is not valid")]
    Path,
    /// `:protocol` is no token.
    #[error(":protocol is no token")]
    Protocol,
    /// `:status` is not three digits, or is 101.
    #[error(":status is not valid")]
    Status,
    /// Content-Length came twice, is no number, or came where there can be no content.
    #[error("Content-Length is not valid")]
    ContentLength,
    /// The content is longer or shorter than Content-Length says.
    #[error("the content is not as long as Content-Length says")]
    ContentLengthMismatch,
}

/// Why a received field section made no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    /// The connection cannot go on.
    #[error(transparent)]
    Qpack(#[from] DecodeError),
    /// Larger than the limit that SETTINGS announced, or too many lines.
    #[error("the field section is too large")]
    TooLarge,
    /// The stream cannot go on.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl From<SectionError<Malformed>> for HeadError {
    fn from(error: SectionError<Malformed>) -> Self {
        match error {
            SectionError::Qpack(error) => Self::Qpack(error),
            SectionError::TooLarge => Self::TooLarge,
            SectionError::Refused(malformed) => Self::Malformed(malformed),
        }
    }
}

/// Why a message cannot be sent. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// A request without a scheme.
    #[error("the request has no scheme")]
    NoScheme,
    /// A request without an authority, in its URI or in Host.
    #[error("the request has no authority")]
    NoAuthority,
    /// A request with [`Protocol`] and another method than CONNECT.
    #[error("a protocol with another method than CONNECT")]
    ProtocolWithoutConnect,
    /// The peer does not take extended CONNECT (RFC 9220 section 3).
    #[error("the peer does not offer extended CONNECT")]
    NoExtendedConnect,
    /// The fields are larger than the peer takes (RFC 9114 section 4.2.2).
    #[error("the fields count {size} octets and the peer takes {limit}")]
    TooLarge {
        /// What the fields count.
        size: u64,
        /// What the peer announced.
        limit: u64,
    },
    /// A status that does not belong here: 101 anywhere, 1xx as a response, anything else as an interim response.
    #[error("the status does not belong here")]
    Status,
    /// Trailers on a tunnel (RFC 9114 section 4.4).
    #[error("a tunnel has no trailers")]
    TunnelTrailers,
}

/// Header names that say something about one connection only (RFC 9114 section 4.2), and so never travel here.
fn is_connection_specific(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
}

/// Takes lines in order and makes a header map of those that are no pseudo-headers.
#[derive(Debug, Default)]
struct Fields {
    headers: HeaderMap,
    /// Whether a field has come, after which no pseudo-header may.
    any: bool,
    cookies: Cookies,
    content_length: Option<u64>,
    host: Option<HeaderValue>,
}

/// A pseudo-header line.
struct PseudoLine {
    pseudo: Pseudo,
    value: Value,
}

impl Fields {
    fn with_room_for(section: &[u8]) -> Self {
        // A browser's request has 15 to 20 fields: room for them at once saves growing the map three times. A line takes
        // at least one octet, so that a short section does not reserve for what cannot come.
        Self { headers: HeaderMap::with_capacity(section.len().min(20)), ..Self::default() }
    }

    /// Takes one line. Pseudo-headers come back.
    fn take(&mut self, line: Line<'_>) -> Result<Option<PseudoLine>, Malformed> {
        let name = match line.name {
            Name::Static(entry) => match &entry.name {
                EntryName::Pseudo(pseudo) => return self.pseudo(*pseudo, line.value).map(Some),
                EntryName::Header(name) => name.clone(),
            },
            Name::Literal(name) if name.first() == Some(&b':') => {
                let pseudo = Pseudo::from_name(name).ok_or(Malformed::PseudoUnexpected)?;
                return self.pseudo(pseudo, line.value).map(Some);
            }
            // Refuses uppercase and every octet that is no token octet.
            Name::Literal(name) => HeaderName::from_lowercase(name).map_err(|_| Malformed::FieldName)?,
        };
        self.any = true;
        let value = header_value(line.value, line.never_indexed)?;
        self.field(name, value)?;
        Ok(None)
    }

    fn pseudo(&self, pseudo: Pseudo, value: Value) -> Result<PseudoLine, Malformed> {
        if self.any { Err(Malformed::PseudoLate) } else { Ok(PseudoLine { pseudo, value }) }
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        match name.as_str() {
            "cookie" => {
                self.cookies.add(value);
                return Ok(());
            }
            "host" => {
                return match self.host.replace(value) {
                    Some(_) => Err(Malformed::Host),
                    None => Ok(()),
                };
            }
            "content-length" => {
                let length = content_length(&value)?;
                if self.content_length.replace(length).is_some() {
                    return Err(Malformed::ContentLength);
                }
            }
            "te" if !value.as_bytes().eq_ignore_ascii_case(b"trailers") => return Err(Malformed::Te),
            name if is_connection_specific(name) => return Err(Malformed::ConnectionSpecific),
            _ => {}
        }
        // The number of lines is bounded far below what the map takes.
        self.headers.try_append(name, value).map_err(|_| Malformed::FieldName)?;
        Ok(())
    }

    /// The header map, with cookies put together.
    fn finish(mut self) -> HeaderMap {
        if let Some(cookie) = self.cookies.finish() {
            self.headers.insert(header::COOKIE, cookie);
        }
        self.headers
    }
}

/// Cookie crumbs, which become one value (RFC 9114 section 4.2.1).
#[derive(Debug, Default)]
struct Cookies {
    first: Option<HeaderValue>,
    joined: BytesMut,
}

impl Cookies {
    fn add(&mut self, crumb: HeaderValue) {
        let Some(first) = &mut self.first else {
            self.first = Some(crumb);
            return;
        };
        // An empty crumb says nothing, and would leave whitespace at an end of the value.
        if first.is_empty() {
            *first = crumb;
            return;
        }
        if crumb.is_empty() {
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(first.as_bytes());
        }
        self.joined.extend_from_slice(b"; ");
        self.joined.extend_from_slice(crumb.as_bytes());
        if crumb.is_sensitive() {
            first.set_sensitive(true);
        }
    }

    fn finish(self) -> Option<HeaderValue> {
        let first = self.first?;
        if self.joined.is_empty() {
            return Some(first);
        }
        let mut joined =
            HeaderValue::from_maybe_shared(self.joined.freeze()).expect("values joined by \"; \" make a value");
        joined.set_sensitive(first.is_sensitive());
        Some(joined)
    }
}

/// A value without the whitespace around it, which is no part of it (RFC 9110 section 5.5).
fn header_value(value: Value, sensitive: bool) -> Result<HeaderValue, Malformed> {
    let mut value = match value {
        Value::Static(entry) => return Ok(entry.value.clone()),
        Value::Literal(octets) => {
            let octets = match octets.as_ref() {
                [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => octets.slice_ref(octets.trim_ascii()),
                _ => octets,
            };
            HeaderValue::from_maybe_shared(octets).map_err(|_| Malformed::FieldValue)?
        }
    };
    value.set_sensitive(sensitive);
    Ok(value)
}

fn content_length(value: &HeaderValue) -> Result<u64, Malformed> {
    let digits = value.as_bytes();
    // `parse` alone would take a plus sign.
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::ContentLength);
    }
    value.to_str().ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed::ContentLength)
}

/// The octets of a pseudo-header's value.
fn pseudo_octets(value: Value) -> Bytes {
    match value {
        Value::Static(entry) => Bytes::from_static(qpack::static_table::ENTRIES[entry.index].1.as_bytes()),
        Value::Literal(octets) => octets,
    }
}

/// Decodes a trailer section (RFC 9114 section 4.1): fields, and no pseudo-headers.
pub fn decode_trailers(section: &[u8], limits: Limits) -> Result<HeaderMap, HeadError> {
    let mut fields = Fields::default();
    qpack::decode(section, limits, |line| match fields.take(line)? {
        Some(_) => Err(Malformed::PseudoLate),
        None => Ok(()),
    })?;
    Ok(fields.finish())
}

/// Encodes a trailer section. Returns its size as the peer counts it.
pub fn encode_trailers(trailers: &HeaderMap, out: &mut Vec<u8>) -> u64 {
    let mut encoder = Encoder::new(out);
    encode_headers(trailers, &mut encoder, |_| false);
    encoder.size()
}

/// Encodes every header that may travel on HTTP/3 and is not left out by name. Connection-specific ones never are sent
/// (RFC 9114 section 4.2): whoever forwards has removed them, and this is the last line.
fn encode_headers(headers: &HeaderMap, encoder: &mut Encoder<'_>, leave_out: impl Fn(&str) -> bool) {
    for (name, value) in headers {
        let text = name.as_str();
        if is_connection_specific(text) || leave_out(text) {
            continue;
        }
        if text == "te" && !value.as_bytes().eq_ignore_ascii_case(b"trailers") {
            continue;
        }
        encoder.line(text.as_bytes(), value.as_bytes(), is_sensitive(text, value));
    }
}

/// Credentials are marked so that no hop puts them into a compression table (RFC 9204 section 7.1.3).
fn is_sensitive(name: &str, value: &HeaderValue) -> bool {
    value.is_sensitive() || matches!(name, "authorization" | "proxy-authorization" | "cookie" | "set-cookie")
}

#[cfg(test)]
mod tests;
