//! Message rules, case by case.

use http::{Method, Request, Response, StatusCode, Version};
use proptest::prelude::*;

use super::*;

const WIDE: Limits = Limits { size: 1 << 20, lines: 1000 };

fn section(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    for (name, value) in lines {
        encoder.line(name.as_bytes(), value.as_bytes(), false);
    }
    out
}

/// Lines separated by `|`, each `name=value`; names may begin with a colon.
fn lines(text: &str) -> Vec<(&str, &str)> {
    text.split('|').filter(|line| !line.is_empty()).map(|line| line.split_once('=').unwrap()).collect()
}

fn request_of(text: &str) -> Result<RequestHead, HeadError> {
    decode_request(&section(&lines(text)), WIDE)
}

const GET: &str = ":method=GET|:scheme=https|:authority=example.org|:path=/";

#[test]
fn requests_that_are_refused() {
    use Malformed as M;
    // Each is the whole request, or with a leading `+` what is added to a GET that is right.
    let cases = [
        ("", M::PseudoMissing),
        (":scheme=https|:authority=a|:path=/", M::PseudoMissing),
        (":method=GET|:authority=a|:path=/", M::PseudoMissing),
        (":method=GET|:scheme=https|:authority=a", M::PseudoMissing),
        (":method=GET|:scheme=https|:path=/", M::PseudoMissing),
        (":method=|:scheme=https|:authority=a|:path=/", M::Method),
        (":method=G T|:scheme=https|:authority=a|:path=/", M::Method),
        (":method=GET\r\n|:scheme=https|:authority=a|:path=/", M::Method),
        (":method=GET|:scheme=|:authority=a|:path=/", M::Scheme),
        (":method=GET|:scheme=ht tp|:authority=a|:path=/", M::Scheme),
        (":method=GET|:scheme=https|:authority=|:path=/", M::Authority),
        (":method=GET|:scheme=https|:authority=user@a|:path=/", M::Authority),
        (":method=GET|:scheme=https|:authority=a b|:path=/", M::Authority),
        (":method=GET|:scheme=https|:authority=a/b|:path=/", M::Authority),
        (":method=GET|:scheme=https|:authority=a\r\n|:path=/", M::Authority),
        (":method=GET|:scheme=https|host=user@a|:path=/", M::PseudoLate),
        (":method=GET|:scheme=https|:path=/|host=user@a", M::Authority),
        (":method=GET|:scheme=https|:path=/|host=", M::Authority),
        (":method=GET|:scheme=https|:authority=a|:path=", M::Path),
        (":method=GET|:scheme=https|:authority=a|:path=*", M::Path),
        (":method=GET|:scheme=https|:authority=a|:path=x", M::Path),
        (":method=GET|:scheme=https|:authority=a|:path=?q", M::Path),
        (":method=GET|:scheme=https|:authority=a|:path=/a#b", M::Path),
        (":method=GET|:scheme=https|:authority=a|:path=/a b", M::Path),
        (":method=GET|:scheme=https|:authority=a|:path=/\r\nx: y", M::Path),
        (":method=GET|:scheme=https|:authority=a|:path=https://a/", M::Path),
        (":method=GET|:method=GET|:scheme=https|:authority=a|:path=/", M::PseudoTwice),
        (":method=GET|:scheme=https|:scheme=https|:authority=a|:path=/", M::PseudoTwice),
        (":method=GET|:scheme=https|:authority=a|:authority=a|:path=/", M::PseudoTwice),
        (":method=GET|:scheme=https|:authority=a|:path=/|:path=/", M::PseudoTwice),
        (":status=200|:method=GET|:scheme=https|:authority=a|:path=/", M::PseudoUnexpected),
        (":version=3|:method=GET|:scheme=https|:authority=a|:path=/", M::PseudoUnexpected),
        (":=x|:method=GET|:scheme=https|:authority=a|:path=/", M::PseudoUnexpected),
        (":Method=GET|:scheme=https|:authority=a|:path=/", M::PseudoUnexpected),
        ("x=y|:method=GET|:scheme=https|:authority=a|:path=/", M::PseudoLate),
        ("+:path=/", M::PseudoTwice),
        ("+x=y|:path=/", M::PseudoLate),
        ("+X-Upper=y", M::FieldName),
        ("+=y", M::FieldName),
        ("+x y=z", M::FieldName),
        ("+x:=z", M::FieldName),
        ("+x\n=z", M::FieldName),
        ("+x=a\0b", M::FieldValue),
        ("+x=a\r\nb", M::FieldValue),
        ("+x=a\nb", M::FieldValue),
        ("+x=a\x7fb", M::FieldValue),
        ("+cookie=a\nb", M::FieldValue),
        ("+connection=close", M::ConnectionSpecific),
        ("+keep-alive=5", M::ConnectionSpecific),
        ("+proxy-connection=close", M::ConnectionSpecific),
        ("+transfer-encoding=chunked", M::ConnectionSpecific),
        ("+upgrade=websocket", M::ConnectionSpecific),
        ("+te=gzip", M::Te),
        ("+te=trailers, gzip", M::Te),
        ("+host=other.org", M::Host),
        ("+host=example.org|host=example.org", M::Host),
        ("+host=", M::Host),
        ("+content-length=1|content-length=1", M::ContentLength),
        ("+content-length=1, 1", M::ContentLength),
        ("+content-length=", M::ContentLength),
        ("+content-length=+1", M::ContentLength),
        ("+content-length=-1", M::ContentLength),
        ("+content-length=0x1", M::ContentLength),
        ("+content-length=99999999999999999999", M::ContentLength),
        // `:protocol` needs CONNECT.
        (":method=GET|:protocol=websocket|:scheme=https|:authority=a|:path=/", M::PseudoUnexpected),
        // CONNECT has an authority and nothing else.
        (":method=CONNECT", M::PseudoMissing),
        (":method=CONNECT|:authority=", M::Authority),
        (":method=CONNECT|:authority=a:1|:scheme=https", M::PseudoUnexpected),
        (":method=CONNECT|:authority=a:1|:path=/", M::PseudoUnexpected),
        (":method=CONNECT|:authority=a:1|content-length=0", M::ContentLength),
        // Extended CONNECT has everything.
        (":method=CONNECT|:protocol=websocket|:scheme=https|:authority=a", M::PseudoMissing),
        (":method=CONNECT|:protocol=websocket|:authority=a|:path=/", M::PseudoMissing),
        (":method=CONNECT|:protocol=websocket|:scheme=https|:path=/", M::PseudoMissing),
        (":method=CONNECT|:protocol=|:scheme=https|:authority=a|:path=/", M::Protocol),
        (":method=CONNECT|:protocol=web socket|:scheme=https|:authority=a|:path=/", M::Protocol),
        (":method=CONNECT|:protocol=a|:protocol=a|:scheme=https|:authority=a|:path=/", M::PseudoTwice),
        (":method=CONNECT|:protocol=websocket|:scheme=https|:authority=a|:path=/|content-length=5", M::ContentLength),
        (
            ":method=CONNECT|:protocol=websocket|:scheme=https|:authority=a|:path=/|upgrade=websocket",
            M::ConnectionSpecific,
        ),
    ];
    for (text, malformed) in cases {
        let text = text.strip_prefix('+').map_or_else(|| text.to_owned(), |more| format!("{GET}|{more}"));
        match request_of(&text) {
            Err(error) => assert_eq!(error, HeadError::Malformed(malformed), "{text:?}"),
            Ok(head) => panic!("{text:?} became {head:?}"),
        }
    }
}

#[test]
fn requests_that_are_taken() {
    let cases = [
        (GET, "https://example.org/"),
        (":path=/a?b=c|:authority=Example.org:8443|:scheme=http|:method=GET", "http://Example.org:8443/a?b=c"),
        (":method=GET|:scheme=https|:path=/x|host=example.org", "https://example.org/x"),
        (":method=GET|:scheme=https|:authority=example.org|:path=/|host=EXAMPLE.org", "https://example.org/"),
        (":method=GET|:scheme=https|:authority=[::1]:443|:path=/", "https://[::1]:443/"),
        (":method=POST|:scheme=https|:authority=a|:path=/%20|content-length=007", "https://a/%20"),
        (":method=OPTIONS|:scheme=https|:authority=a|:path=*", "https://a*"),
        (":method=GET|:scheme=https|:authority=a|:path=//a//b", "https://a//a//b"),
        (":method=CONNECT|:authority=a:443", "a:443"),
        (":method=CONNECT|:protocol=websocket|:scheme=https|:authority=a|:path=/chat", "https://a/chat"),
        (":method=GET|:scheme=https|:authority=a|:path=/|te=Trailers", "https://a/"),
    ];
    for (text, uri) in cases {
        let head = request_of(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(head.request.uri().to_string(), uri, "{text:?}");
        assert_eq!(head.request.version(), Version::HTTP_3);
        assert!(!head.request.headers().contains_key("host"));
    }
    let head = request_of(":method=CONNECT|:protocol=x-any.1|:scheme=https|:authority=a|:path=/").unwrap();
    assert_eq!(head.request.extensions().get::<Protocol>().map(Protocol::as_str), Some("x-any.1"));
    assert_eq!(request_of(&format!("{GET}|content-length=42")).unwrap().content_length, Some(42));
}

#[test]
fn values_and_cookies() {
    let text = format!("{GET}|x=  padded\t|x=second|cookie=|cookie=a=1|y=\u{e9}|cookie=b=2|cookie=|cookie=c=3");
    let headers = request_of(&text).unwrap().request.into_parts().0.headers;
    let all: Vec<_> = headers.get_all("x").iter().collect();
    assert_eq!(all, ["padded", "second"]);
    assert_eq!(headers["cookie"], "a=1; b=2; c=3");
    assert_eq!(headers.get_all("cookie").iter().count(), 1);
    assert_eq!(headers["y"].as_bytes(), "\u{e9}".as_bytes());

    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    for (name, value) in lines(GET) {
        encoder.line(name.as_bytes(), value.as_bytes(), false);
    }
    encoder.line(b"x-secret", b"s", true);
    let headers = decode_request(&out, WIDE).unwrap().request.into_parts().0.headers;
    assert!(headers["x-secret"].is_sensitive(), "a field that must not be indexed stays so");
}

#[test]
fn responses() {
    use Malformed as M;
    let cases = [
        (":status=200", Ok(200)),
        (":status=103|link=</a>", Ok(103)),
        (":status=999", Ok(999)),
        (":status=101", Err(M::Status)),
        (":status=99", Err(M::Status)),
        (":status=2000", Err(M::Status)),
        (":status=2 0", Err(M::Status)),
        (":status=", Err(M::Status)),
        ("x=y", Err(M::PseudoMissing)),
        (":status=200|:status=200", Err(M::PseudoTwice)),
        (":status=200|:path=/", Err(M::PseudoUnexpected)),
        ("x=y|:status=200", Err(M::PseudoLate)),
        (":status=200|connection=close", Err(M::ConnectionSpecific)),
        (":status=200|content-length=x", Err(M::ContentLength)),
    ];
    for (text, expected) in cases {
        let got = decode_response(&section(&lines(text)), WIDE).map(|head| head.response.status().as_u16());
        assert_eq!(got, expected.map_err(HeadError::Malformed), "{text:?}");
    }
}

#[test]
fn trailers() {
    assert_eq!(decode_trailers(&section(&[("x-sum", "1")]), WIDE).unwrap()["x-sum"], "1");
    for text in [":status=200", ":path=/", "x=y|:path=/"] {
        let error = decode_trailers(&section(&lines(text)), WIDE).unwrap_err();
        assert_eq!(error, HeadError::Malformed(Malformed::PseudoLate), "{text:?}");
    }
    let error = decode_trailers(&section(&[("x", "y")]), Limits { size: 33, lines: 1 }).unwrap_err();
    assert_eq!(error, HeadError::TooLarge);
}

#[test]
fn requests_that_cannot_be_sent() {
    let encode = |request: &Request<()>| encode_request(request, &mut Vec::new()).unwrap_err();
    let request = |method: Method, uri: &str| Request::builder().method(method).uri(uri).body(()).unwrap();
    assert_eq!(encode(&request(Method::GET, "/path")), Unsendable::NoAuthority);
    assert_eq!(encode(&request(Method::GET, "example.org")), Unsendable::NoScheme);
    let mut with_protocol = request(Method::GET, "https://a/");
    with_protocol.extensions_mut().insert(Protocol::WEBSOCKET);
    assert_eq!(encode(&with_protocol), Unsendable::ProtocolWithoutConnect);
    let switching = Response::builder().status(101).body(()).unwrap();
    assert_eq!(encode_response(&switching, false, &mut Vec::new()), Err(Unsendable::Status));
}

#[test]
fn what_belongs_to_one_connection_is_not_sent() {
    let request = Request::builder()
        .uri("https://a/")
        .header("host", "a")
        .header("connection", "keep-alive")
        .header("keep-alive", "5")
        .header("transfer-encoding", "chunked")
        .header("upgrade", "websocket")
        .header("te", "gzip")
        .header("x-kept", "yes")
        .body(())
        .unwrap();
    let mut out = Vec::new();
    encode_request(&request, &mut out).unwrap();
    let headers = decode_request(&out, WIDE).unwrap().request.into_parts().0.headers;
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["x-kept"], "yes");

    let mut out = Vec::new();
    encode_response(&Response::builder().header("content-length", "5").body(()).unwrap(), true, &mut out).unwrap();
    assert!(decode_response(&out, WIDE).unwrap().response.headers().is_empty());
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let name = "[a-z][a-z0-9-]{0,20}".prop_filter_map("a rule of its own", |name| {
        let ruled =
            matches!(name.as_str(), "te" | "host" | "cookie" | "content-length") || is_connection_specific(&name);
        (!ruled).then(|| HeaderName::from_lowercase(name.as_bytes()).unwrap())
    });
    let value = "([!-~]([ -~]{0,30}[!-~])?)?".prop_map(|value| HeaderValue::from_str(&value).unwrap());
    (name, value)
}

proptest! {
    /// What one side encodes the other decodes to the same, at exactly the size that was counted.
    #[test]
    fn round_trip(headers in proptest::collection::vec(header(), 0..20), path in "/[a-z0-9/?=&%-]{0,30}",
                  status in 200u16..600, connect: bool) {
        let headers = HeaderMap::from_iter(headers);
        let mut request = Request::new(());
        *request.uri_mut() = format!("https://example.org:8443{path}").parse().unwrap();
        *request.headers_mut() = headers.clone();
        if connect {
            *request.method_mut() = Method::CONNECT;
            request.extensions_mut().insert(Protocol::WEBSOCKET);
        }
        let mut out = Vec::new();
        let size = encode_request(&request, &mut out).unwrap();
        let got = decode_request(&out, Limits { size, lines: 100 }).unwrap().request;
        prop_assert_eq!(got.uri(), request.uri());
        prop_assert_eq!(got.method(), request.method());
        prop_assert_eq!(got.headers(), &headers);
        prop_assert_eq!(got.extensions().get::<Protocol>(), request.extensions().get::<Protocol>());
        let small = decode_request(&out, Limits { size: size - 1, lines: 100 });
        prop_assert_eq!(small.err(), Some(HeadError::TooLarge));

        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers.clone();
        let mut out = Vec::new();
        let size = encode_response(&response, false, &mut out).unwrap();
        let got = decode_response(&out, Limits { size, lines: 100 }).unwrap().response;
        prop_assert_eq!(got.status(), response.status());
        prop_assert_eq!(got.headers(), &headers);
    }
}
