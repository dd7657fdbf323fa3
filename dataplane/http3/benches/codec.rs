//! What the codecs cost: frame headers and content, field sections of a browser's request, Huffman strings.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and its macros make functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use headrace_http3::{
    Protocol,
    config::{DEFAULT_MAX_FIELD_SECTION_SIZE, MAX_FIELD_LINES},
    fields::{decode_request, encode_request, encode_response},
    frame::{FrameHeader, FrameType, MAX_HEADER_SIZE, PartialHeader, body::BodyFrames},
    qpack::{Limits, huffman},
};
use http::{Method, Request, Response};

const LIMITS: Limits = Limits { size: DEFAULT_MAX_FIELD_SECTION_SIZE, lines: MAX_FIELD_LINES };

const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";

/// What Chromium sends for a page.
fn page() -> Request<()> {
    Request::builder()
        .uri("https://shop.example.org/catalogue/items?page=3&sort=price")
        .header("sec-ch-ua", "\"Chromium\";v=\"156\", \"Not?A_Brand\";v=\"24\"")
        .header("sec-ch-ua-mobile", "?0")
        .header("sec-ch-ua-platform", "\"Linux\"")
        .header("upgrade-insecure-requests", "1")
        .header("user-agent", USER_AGENT)
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8")
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-user", "?1")
        .header("sec-fetch-dest", "document")
        .header("referer", "https://shop.example.org/catalogue")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-GB,en;q=0.9,de;q=0.8")
        .header("cookie", "session=f81d4fae7dec11d0a76500a0c91e6bf6; theme=dark; consent=1")
        .header("priority", "u=0, i")
        .body(())
        .unwrap()
}

/// What Chromium sends for a WebSocket.
fn websocket() -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("https://shop.example.org/chat")
        .header("user-agent", USER_AGENT)
        .header("origin", "https://shop.example.org")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat.v1")
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .header("cookie", "session=f81d4fae7dec11d0a76500a0c91e6bf6")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::WEBSOCKET);
    request
}

fn sections(c: &mut Criterion) {
    for (name, request) in [("page", page()), ("websocket", websocket())] {
        let mut section = Vec::new();
        encode_request(&request, &mut section).unwrap();
        let mut group = c.benchmark_group(format!("request/{name}"));
        group.throughput(Throughput::Bytes(section.len() as u64));
        group.bench_function("encode", |b| {
            let mut out = Vec::with_capacity(1024);
            b.iter(|| {
                out.clear();
                encode_request(black_box(&request), &mut out).unwrap()
            });
        });
        group.bench_function("decode", |b| b.iter(|| decode_request(black_box(&section), LIMITS).unwrap()));
        group.finish();
    }
    let response = Response::builder().header("content-type", "text/html").header("server", "x").body(()).unwrap();
    c.bench_function("response/encode", |b| {
        let mut out = Vec::with_capacity(1024);
        b.iter(|| {
            out.clear();
            encode_response(black_box(&response), false, &mut out).unwrap()
        });
    });
}

fn frames(c: &mut Criterion) {
    let mut header = [0; MAX_HEADER_SIZE];
    let size = FrameHeader { frame_type: FrameType::DATA, length: 64 }.encode(&mut header);
    c.bench_function("frame/header", |b| {
        let mut partial = PartialHeader::default();
        b.iter(|| partial.take(black_box(&header[..size])));
    });
    for (messages, len) in [(1, 64), (16, 64), (1, 1200), (4, 16_000)] {
        let frame = [&FrameHeader { frame_type: FrameType::DATA, length: len }.octets()[..], &vec![7; len as usize]];
        let wire = frame.concat().repeat(messages);
        let mut group = c.benchmark_group("frame/content");
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(format!("{messages}x{len}"), |b| {
            let mut body = BodyFrames::default();
            b.iter_batched_ref(|| wire.clone(), |wire| body.compact(wire), BatchSize::SmallInput);
        });
        group.finish();
    }
}

trait Octets {
    fn octets(self) -> Vec<u8>;
}

impl Octets for FrameHeader {
    fn octets(self) -> Vec<u8> {
        let mut octets = [0; MAX_HEADER_SIZE];
        let size = self.encode(&mut octets);
        octets[..size].to_vec()
    }
}

fn strings(c: &mut Criterion) {
    let mut code = Vec::new();
    huffman::encode(USER_AGENT.as_bytes(), &mut code);
    let mut group = c.benchmark_group("huffman");
    group.throughput(Throughput::Bytes(USER_AGENT.len() as u64));
    group.bench_function("encode", |b| {
        let mut out = Vec::with_capacity(256);
        b.iter(|| {
            out.clear();
            huffman::encode(black_box(USER_AGENT.as_bytes()), &mut out);
        });
    });
    group.bench_function("decode", |b| {
        let mut out = Vec::with_capacity(256);
        b.iter(|| {
            out.clear();
            huffman::decode(black_box(&code), usize::MAX, &mut out).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, sections, frames, strings);
criterion_main!(benches);
