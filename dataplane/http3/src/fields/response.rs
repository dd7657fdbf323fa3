//! Owns responses: their one pseudo-header (RFC 9114 section 4.3.2).

use http::{Response, StatusCode, Version};

use super::{Fields, HeadError, Malformed, PseudoLine, Unsendable, encode_headers, pseudo_octets};
use crate::qpack::{self, Encoder, Limits, static_table::Pseudo};

/// A response as it was received: final, or interim when its status is 1xx.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status and headers.
    pub response: Response<()>,
    /// What Content-Length says.
    pub content_length: Option<u64>,
}

/// Decodes the field section of a response.
pub fn decode_response(section: &[u8], limits: Limits) -> Result<ResponseHead, HeadError> {
    let mut fields = Fields::with_room_for(section);
    let mut status = None;
    qpack::decode(section, limits, |line| {
        let Some(line) = fields.take(line)? else { return Ok(()) };
        if status.replace(status_code(line)?).is_some() { Err(Malformed::PseudoTwice) } else { Ok(()) }
    })?;
    let mut response = Response::new(());
    *response.status_mut() = status.ok_or(Malformed::PseudoMissing)?;
    *response.version_mut() = Version::HTTP_3;
    let content_length = fields.content_length;
    *response.headers_mut() = fields.finish();
    Ok(ResponseHead { response, content_length })
}

fn status_code(line: PseudoLine) -> Result<StatusCode, Malformed> {
    if line.pseudo != Pseudo::Status {
        return Err(Malformed::PseudoUnexpected);
    }
    let status = StatusCode::from_bytes(&pseudo_octets(line.value)).map_err(|_| Malformed::Status)?;
    // HTTP/3 has no 101 (RFC 9114 section 4.5).
    if status == StatusCode::SWITCHING_PROTOCOLS { Err(Malformed::Status) } else { Ok(status) }
}

/// Encodes a response. Returns its size as the peer counts it. `tunnel` says that it accepts a CONNECT, and so has no
/// Content-Length (RFC 9110 section 9.3.6).
pub fn encode_response<T>(response: &Response<T>, tunnel: bool, out: &mut Vec<u8>) -> Result<u64, Unsendable> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Unsendable::Status);
    }
    let mut encoder = Encoder::new(out);
    encoder.line(b":status", response.status().as_str().as_bytes(), false);
    encode_headers(response.headers(), &mut encoder, |name| tunnel && name == "content-length");
    Ok(encoder.size())
}
