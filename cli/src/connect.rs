//! `headrace connect`: a WebSocket in a terminal. Lines in, messages out.
//!
//! Owns the choice of an HTTP version and what is said about it; the conversation itself is [`session`]'s.

mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::args::{EXIT_FAILURE, Format};
use crate::bench;
use crate::client::{
    ClientError, Connection, Dialer, HttpVersion, Offer, Opened, RESERVED, Resolve, Roots, Target, TlsSettings,
};
use crate::development_ca::CA_CERTIFICATE_FILE;
use crate::output::complain;

/// What `connect` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 closed in good order (1000, 1001 or no code), 1 no tunnel, 2 wrong usage, \
                        3 closed otherwise.\nCtrl-D closes with 1000.")]
pub(crate) struct ConnectArgs {
    /// Where to: wss://HOST:PORT/PATH, or ws:// for clear text
    url: Target,
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
    #[command(flatten, next_help_heading = "Load, with --bench")]
    load: bench::LoadArgs,
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
    /// Add a header, such as `Origin: https://app.example.com`
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
        let headers: HeaderMap = self.header.iter().cloned().collect();
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

/// Opens a tunnel and talks, or measures.
pub(crate) fn run(args: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(connect(args))
}

async fn connect(args: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let dialer = args.dial.dialer(&args.url)?;
    let offer = args.dial.offer();
    let (connection, opened) = match dial(&dialer, &offer, &args.dial.versions(&args.url)).await {
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
