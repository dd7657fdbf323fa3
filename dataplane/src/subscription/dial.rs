//! From the name of the controllers to a stream with the one that publishes.
//!
//! All addresses are connected to at once, so that one that does not answer holds up nothing. Those that do are asked one
//! after the other, since two of them may be the same controller, for which the second stream would replace the first.
//! Whoever accepts is the leader, and the others are hung up on. The CA's certificates and the token are read for each dial, since both are
//! replaced under a running process. Knows nothing of what is said on the stream beyond its opening.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headrace_push::limits::MAX_PART_OCTETS;
use headrace_push::proto::{FromSubscriber, ToSubscriber};
use http::{Uri, header};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, pem};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Streaming};

use super::address::ControllerAddress;
use super::connection::Connection;
use super::fault::{DialFault, Step, Unprepared};
use super::service::push_client::PushClient;
use crate::certificates;
use crate::metrics::{DialResult, ProcessMetrics};

/// Addresses that are dialled: a few controllers are usual, and each may have one of both IP versions.
const MAX_ADDRESSES: usize = 16;

/// For a TCP connection within a cluster: one lost SYN is sent again after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For the TLS handshake with a controller that compiles at the same time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// For the answer to the subscription, before which the controller has the API server review the token. Short enough that
/// one that hangs does not keep us from the others.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// For the resolver, which tries its servers and search domains one after the other.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a silent controller is asked whether it is there. A leader that vanished with its node is found out by this
/// and [`PING_TIMEOUT`].
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// For the answer to that.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets that may travel to us without our consent, on the one stream and so on the connection: a few parts, so that a
/// table arrives without a wait for each of them.
const WINDOW: u32 = 4 * MAX_PART_OCTETS as u32;

/// Octets of one message that are taken: twice what a part has, since the bound of a part need not be that of its frame.
const MAX_MESSAGE_OCTETS: usize = 2 * MAX_PART_OCTETS;

/// Octets of a token file. Kubernetes' tokens have around one thousand; more than this fits no header section.
const MAX_TOKEN_OCTETS: usize = 16 * 1024;

/// Octets of the file with the CA's certificates. A rotation keeps two or three of about one thousand each.
const MAX_CA_OCTETS: usize = 256 * 1024;

/// Messages that wait to be sent. The first is Hello, and the next is made when there is room.
const OUTGOING: usize = 1;

/// What is needed to dial.
pub(super) struct Dialer {
    pub(super) controllers: Vec<ControllerAddress>,
    pub(super) ca_file: PathBuf,
    pub(super) token_file: PathBuf,
    pub(super) metrics: Arc<ProcessMetrics>,
}

/// A controller that accepted the subscription.
pub(super) struct Subscribed {
    pub(super) controller: SocketAddr,
    pub(super) incoming: Streaming<ToSubscriber>,
    pub(super) outgoing: mpsc::Sender<FromSubscriber>,
    /// Ends the connection when dropped.
    pub(super) connection: AbortOnDropHandle<()>,
}

/// One address to dial, with what is needed for it.
struct Attempt {
    address: SocketAddr,
    server_name: ServerName<'static>,
    origin: Uri,
    tls: TlsConnector,
}

/// A controller that has shown its certificate.
struct Connected {
    controller: SocketAddr,
    origin: Uri,
    requests: SendRequest<Body>,
    connection: AbortOnDropHandle<()>,
}

impl Dialer {
    /// Dials every address, and gives the first controller that accepts.
    ///
    /// # Errors
    /// Why none does, in words.
    pub(super) async fn dial(&self, hello: &FromSubscriber) -> Result<Subscribed, String> {
        let (attempts, authorization) = self.prepare().await.map_err(|fault| {
            self.count(fault.result());
            fault.to_string()
        })?;
        // Tasks, so that the others go on while one is asked.
        let mut connecting: JoinSet<_> =
            attempts.into_iter().map(|attempt| async { (attempt.address, attempt.connect().await) }).collect();
        let mut refusals = Vec::new();
        while let Some(joined) = connecting.join_next().await {
            let (address, connected) = joined.expect("a dial neither panics nor is it aborted");
            let subscribed = match connected {
                Ok(connected) => connected.subscribe(&authorization, hello).await,
                Err(fault) => Err(fault),
            };
            match subscribed {
                Ok(subscribed) => {
                    self.count(DialResult::Ok);
                    return Ok(subscribed);
                }
                Err(fault) => {
                    self.count(fault.result());
                    refusals.push(format!("{address}: {fault}"));
                }
            }
        }
        refusals.sort();
        Err(refusals.join("; "))
    }

    fn count(&self, result: DialResult) {
        self.metrics.subscription_dials_total(result).inc();
    }

    async fn prepare(&self) -> Result<(Vec<Attempt>, MetadataValue<Ascii>), Unprepared> {
        let tls = TlsConnector::from(Arc::new(self.tls().await?));
        let authorization = self.authorization().await?;
        let mut attempts = Vec::new();
        let mut unresolved = None;
        for controller in &self.controllers {
            let origin = Uri::try_from(format!("https://{controller}")).expect("a checked host and port");
            match resolve(controller).await {
                Ok(addresses) => attempts.extend(addresses.into_iter().map(|address| Attempt {
                    address,
                    server_name: controller.server_name(),
                    origin: origin.clone(),
                    tls: tls.clone(),
                })),
                Err(fault) => unresolved = Some(fault),
            }
        }
        attempts.truncate(MAX_ADDRESSES);
        match unresolved {
            Some(fault) if attempts.is_empty() => Err(fault),
            _ => Ok((attempts, authorization)),
        }
    }

    async fn tls(&self) -> Result<ClientConfig, Unprepared> {
        let path = || self.ca_file.clone();
        let text = read(&self.ca_file, MAX_CA_OCTETS).await;
        let text = text.map_err(|error| Unprepared::CaUnreadable { path: path(), error })?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error: pem::Error| Unprepared::CaNotPem { path: path(), error })?;
            roots.add(certificate).map_err(|error| Unprepared::CaBroken { path: path(), error })?;
        }
        if roots.is_empty() {
            return Err(Unprepared::CaEmpty { path: path() });
        }
        let mut config = ClientConfig::builder_with_provider(certificates::provider())
            .with_safe_default_protocol_versions()
            .map_err(Unprepared::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    async fn authorization(&self) -> Result<MetadataValue<Ascii>, Unprepared> {
        let path = || self.token_file.clone();
        let text = read(&self.token_file, MAX_TOKEN_OCTETS).await;
        let text = text.map_err(|error| Unprepared::TokenUnreadable { path: path(), error })?;
        let token = str::from_utf8(&text).map_err(|_| Unprepared::TokenBroken { path: path() })?.trim();
        if token.is_empty() {
            return Err(Unprepared::TokenEmpty { path: path() });
        }
        let value = MetadataValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| Unprepared::TokenBroken { path: path() })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A small file, whole.
async fn read(path: &std::path::Path, max: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let mut octets = Vec::new();
        std::fs::File::open(path)?.take(max as u64 + 1).read_to_end(&mut octets)?;
        if octets.len() > max {
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("more than {max} octets")));
        }
        Ok(octets)
    });
    reading.await.map_err(std::io::Error::other)?
}

async fn resolve(controller: &ControllerAddress) -> Result<Vec<SocketAddr>, Unprepared> {
    let name = || controller.to_string();
    let looked_up = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(controller.host_and_port())).await;
    let looked_up = looked_up.unwrap_or_else(|elapsed| Err(elapsed.into()));
    let addresses: Vec<_> = looked_up.map_err(|error| Unprepared::Name { name: name(), error })?.collect();
    if addresses.is_empty() { Err(Unprepared::NoAddress { name: name() }) } else { Ok(addresses) }
}

impl Attempt {
    async fn connect(self) -> Result<Connected, DialFault> {
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let tcp = tcp.map_err(|_| DialFault::Timeout(Step::Connect))?.map_err(DialFault::Connect)?;
        tcp.set_nodelay(true).map_err(DialFault::Connect)?;
        let tls = timeout(HANDSHAKE_TIMEOUT, self.tls.connect(self.server_name, tcp)).await;
        let tls = tls.map_err(|_| DialFault::Timeout(Step::Handshake))?.map_err(DialFault::Tls)?;
        let (requests, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(DialFault::Http2)?;
        let controller = self.address;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%controller, %error, "the connection to the controller failed");
            }
        }));
        Ok(Connected { controller, origin: self.origin, requests, connection })
    }
}

impl Connected {
    async fn subscribe(
        self,
        authorization: &MetadataValue<Ascii>,
        hello: &FromSubscriber,
    ) -> Result<Subscribed, DialFault> {
        let (outgoing, mut queue) = mpsc::channel(OUTGOING);
        outgoing.try_send(hello.clone()).expect("there is room for the first message");
        let mut request = Request::new(futures::stream::poll_fn(move |context| queue.poll_recv(context)));
        request.metadata_mut().insert(header::AUTHORIZATION.as_str(), authorization.clone());
        let mut client = PushClient::with_origin(Connection::new(self.requests), self.origin)
            .max_decoding_message_size(MAX_MESSAGE_OCTETS);
        let answer = timeout(SUBSCRIBE_TIMEOUT, client.subscribe(request)).await;
        let answer = answer.map_err(|_| DialFault::Timeout(Step::Subscribe))?;
        let answer = answer.map_err(|status| DialFault::Refused(Box::new(status)))?;
        let (controller, connection) = (self.controller, self.connection);
        Ok(Subscribed { controller, incoming: answer.into_inner(), outgoing, connection })
    }
}
