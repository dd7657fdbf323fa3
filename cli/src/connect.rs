//! `headrace connect`: a WebSocket in a terminal, or a WebTransport session. Lines in, messages out.
//!
//! Owns the choice of an HTTP version and what is said about it; the conversation itself is [`session`]'s, and with
//! WebTransport [`webtransport`]'s, or [`forward`]'s where local connections take the terminal's place.

mod forward;
mod lines;
mod session;
mod webtransport;

use std::path::PathBuf;
use std::process::ExitCode;

use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};

use crate::args::{EXIT_FAILURE, EXIT_USAGE, Format};
use crate::bench;
use crate::client::{
    ClientError, Connection, Dialer, HttpVersion, Offer, Opened, RESERVED, Resolve, Roots, Target, TlsSettings, Url,
};
use crate::development_ca::CA_CERTIFICATE_FILE;
use crate::output::complain;

/// What `connect` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 closed in good order (1000, 1001 or no code; 0 with WebTransport), 1 no tunnel \
                        or session, 2 wrong usage, 3 closed otherwise.\nCtrl-D closes with 1000; with WebTransport it \
                        ends the stream, and then the session with 0.")]
pub(crate) struct ConnectArgs {
    /// Where to: wss://HOST:PORT/PATH, or ws:// for clear text; https:// with --webtransport
    url: Url,
    #[command(flatten)]
    dial: DialArgs,
    /// Send lines as binary messages
    #[arg(long)]
    binary: bool,
    /// Show the response's status and headers
    #[arg(short, long)]
    verbose: bool,
    /// Measure echoes in a closed loop in place of a conversation
    #[arg(long)]
    bench: bool,
    #[command(flatten, next_help_heading = "WebTransport")]
    webtransport: WebTransportArgs,
    #[command(flatten, next_help_heading = "Load, with --bench")]
    load: bench::LoadArgs,
}

/// What is said of a session rather than of a WebSocket.
#[derive(Debug, clap::Args)]
struct WebTransportArgs {
    /// Open a WebTransport session; lines go out on a bidirectional stream
    #[arg(long, conflicts_with_all = ["binary", "bench", "http1", "http2"])]
    webtransport: bool,
    /// Send each line as a datagram
    #[arg(long, requires = "webtransport")]
    datagrams: bool,
    /// Listen on this machine and carry what comes over sessions, until told to stop: tcp:ADDRESS:PORT or
    /// udp:ADDRESS:PORT
    #[arg(short = 'L', long = "listen", value_name = "LISTEN",
          conflicts_with_all = ["binary", "bench", "http1", "http2", "datagrams"])]
    listen: Vec<forward::Listen>,
}

/// How to get a tunnel, the same for every command that opens some.
#[derive(Debug, clap::Args)]
pub(crate) struct DialArgs {
    /// HTTP/1.1 only (Upgrade, RFC 6455)
    #[arg(long, group = "version")]
    http1: bool,
    /// HTTP/2 only (extended CONNECT, RFC 8441)
    #[arg(long, group = "version")]
    http2: bool,
    /// HTTP/3 only (extended CONNECT, RFC 9220)
    #[arg(long, group = "version")]
    http3: bool,
    /// Offer a subprotocol; the first is preferred
    #[arg(long, value_name = "P")]
    subprotocol: Vec<String>,
    /// Say where the page comes from that a browser would ask for: `https://app.example.com`
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<HeaderValue>,
    /// Add a header, such as `Cookie: session=1`
    #[arg(long, value_name = "K:V", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Trust the certificates of this PEM file and no others
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust anybody
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Use an address in place of those that the name has
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    resolve: Vec<Resolve>,
    /// Where standalone keeps its development CA, which is trusted for localhost
    #[arg(long, value_name = "DIR", default_value = ".headrace", env = "HEADRACE_DATA_DIR")]
    data_dir: PathBuf,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
    let name: HeaderName = name.trim().parse().map_err(|_| "not a header name")?;
    if RESERVED.contains(&name) {
        return Err(format!("{name} belongs to the handshake"));
    }
    Ok((name, HeaderValue::try_from(value.trim()).map_err(|_| "not a header value")?))
}

impl DialArgs {
    /// Where to and whom to trust, said aloud where it is not obvious.
    pub(crate) fn dialer(&self, url: &Target) -> anyhow::Result<Dialer> {
        let roots = self.roots(url);
        if let (None, Roots::File(path)) = (&self.ca, &roots) {
            complain(&format!("trusting {} for {}", path.display(), url.host));
        }
        // Nobody is trusted or distrusted in clear text, and a machine without roots can do without.
        let roots = if url.secure { roots } else { Roots::Anybody };
        let target = Target { resolve: self.resolve.clone(), ..url.clone() };
        Ok(Dialer { target, tls: TlsSettings::new(&roots)? })
    }

    fn roots(&self, url: &Target) -> Roots {
        let development = self.data_dir.join(CA_CERTIFICATE_FILE);
        let is_local = url.host == "localhost"
            || url.host.ends_with(".localhost")
            || url.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match &self.ca {
            _ if self.insecure => Roots::Anybody,
            Some(path) => Roots::File(path.clone()),
            None if url.secure && is_local && development.exists() => Roots::File(development),
            None => Roots::System,
        }
    }

    /// The handshake's headers.
    pub(crate) fn offer(&self) -> Offer {
        let mut headers: HeaderMap = self.header.iter().cloned().collect();
        if let Some(origin) = &self.origin {
            headers.insert(ORIGIN, origin.clone());
        }
        Offer { subprotocols: self.subprotocol.clone(), headers }
    }

    /// The version that was asked for.
    pub(crate) fn version(&self) -> Option<HttpVersion> {
        match (self.http1, self.http2, self.http3) {
            (true, ..) => Some(HttpVersion::Http1),
            (_, true, _) => Some(HttpVersion::Http2),
            (.., true) => Some(HttpVersion::Http3),
            _ => None,
        }
    }

    /// The versions to try, best first.
    fn versions(&self, url: &Target) -> Vec<HttpVersion> {
        match (self.version(), url.secure) {
            (Some(version), _) => vec![version],
            (None, true) => vec![HttpVersion::Http3, HttpVersion::Http2, HttpVersion::Http1],
            // In clear text nothing tells a client that it may speak HTTP/2.
            (None, false) => vec![HttpVersion::Http1],
        }
    }
}

/// Opens a tunnel and talks, or measures; or a session.
pub(crate) fn run(args: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let session = args.webtransport.webtransport || !args.webtransport.listen.is_empty();
    match &args.url {
        Url::WebSocket(target) if !session => runtime.block_on(connect(args, target)),
        Url::WebTransport(target) if session => runtime.block_on(connect_session(args, target)),
        Url::WebSocket(_) => Ok(wrong_usage("a WebTransport session is at an https:// URL")),
        Url::WebTransport(_) => Ok(wrong_usage("an https:// URL is for --webtransport or -L")),
    }
}

fn wrong_usage(why: &str) -> ExitCode {
    complain(&format!("error: {why}"));
    ExitCode::from(EXIT_USAGE)
}

async fn connect_session(args: &ConnectArgs, target: &Target) -> anyhow::Result<ExitCode> {
    let dialer = args.dial.dialer(target)?;
    let offer = args.dial.offer();
    if args.webtransport.listen.is_empty() {
        let carrying = match args.webtransport.datagrams {
            true => webtransport::Carrying::Datagrams,
            false => webtransport::Carrying::Stream,
        };
        return webtransport::run(&dialer, &offer, carrying, args.verbose).await;
    }
    forward::run(dialer, offer, &args.webtransport.listen, args.verbose).await
}

async fn connect(args: &ConnectArgs, target: &Target) -> anyhow::Result<ExitCode> {
    let dialer = args.dial.dialer(target)?;
    let offer = args.dial.offer();
    let (connection, opened) = match dial(&dialer, &offer, &args.dial.versions(target)).await {
        Ok(done) => done,
        Err((version, error)) => {
            complain(&format!("{}: {error}", version.label()));
            if let ClientError::Refused(response) = &error
                && args.verbose
            {
                show_response(response);
            }
            return Ok(ExitCode::from(EXIT_FAILURE));
        }
    };
    announce(&opened, &dialer, args.verbose);
    if args.bench {
        let version = opened.version;
        drop(opened);
        connection.close().await;
        let report = bench::echo(&dialer, &offer, version, &args.load, None).await?;
        crate::output::Output::Stdout.text(&report.render(Format::Text))?;
        return Ok(ExitCode::SUCCESS);
    }
    let end = session::run(opened.tunnel, args.binary).await?;
    complain(&end.to_string());
    connection.close().await;
    Ok(ExitCode::from(end.exit_code()))
}

/// Opens a tunnel by the first version that gives one, and says why the ones before it did not.
async fn dial(
    dialer: &Dialer,
    offer: &Offer,
    versions: &[HttpVersion],
) -> Result<(Connection, Opened), (HttpVersion, ClientError)> {
    let mut versions = versions.iter().copied().peekable();
    loop {
        let version = versions.next().expect("there is at least one version, and the last one's failure returns");
        let attempt = async {
            let connection = Connection::connect(dialer, version).await?;
            let opened = connection.open(offer).await?;
            Ok((connection, opened))
        };
        match (attempt.await, versions.peek()) {
            (Ok(done), _) => return Ok(done),
            (Err(error), Some(next)) if ClientError::allows_fallback(&error) => {
                complain(&format!("{}: {error}; trying {}", version.label(), next.label()));
            }
            (Err(error), _) => return Err((version, error)),
        }
    }
}

fn announce(opened: &Opened, dialer: &Dialer, verbose: bool) {
    let version = opened.version;
    let subprotocol = opened.response.headers().get(http::header::SEC_WEBSOCKET_PROTOCOL);
    let subprotocol = subprotocol.map(|name| format!(", subprotocol {}", String::from_utf8_lossy(name.as_bytes())));
    let clear = if dialer.target.secure { "" } else { ", in clear text" };
    complain(&format!(
        "connected over {} ({}){}{clear}",
        version.label(),
        version.mechanism(),
        subprotocol.unwrap_or_default()
    ));
    if verbose {
        show_response(&opened.response);
    }
}

fn show_response(response: &http::Response<()>) {
    complain(&format!("status: {}", response.status()));
    for (name, value) in response.headers() {
        complain(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
}
