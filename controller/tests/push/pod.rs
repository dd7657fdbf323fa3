//! A data-plane pod as far as the push goes: headrace-push's subscriber over TLS and gRPC.

use std::net::SocketAddr;
use std::sync::Arc;

use headrace_push::proto::{FromSubscriber, ToSubscriber};
use headrace_push::{Arrival, Candidate, Fault, Subscriber};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::replica::{PATIENCE, Replica, SERVER_NAME};

/// A pod with its stream.
pub(crate) struct Pod {
    pub(crate) subscriber: Subscriber,
    outgoing: mpsc::Sender<FromSubscriber>,
    incoming: Streaming<ToSubscriber>,
}

/// A TLS connection, by a bundle and a name.
pub(crate) async fn secure(address: SocketAddr, bundle: &str, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

/// Dials until the server has a certificate: the bundle is there before it.
pub(crate) async fn connect(replica: &Replica) -> Channel {
    let (address, bundle) = (replica.address, replica.api_server.bundle().unwrap());
    let connect = async {
        loop {
            let bundle = bundle.clone();
            let connector = service_fn(move |_: http::Uri| {
                let bundle = bundle.clone();
                async move { secure(address, &bundle, SERVER_NAME).await.map(TokioIo::new) }
            });
            let endpoint = Endpoint::from_static("http://push");
            if let Ok(channel) = endpoint.connect_with_connector(connector).await {
                return channel;
            }
        }
    };
    tokio::time::timeout(PATIENCE, connect).await.expect("the server has a certificate in time")
}

/// What a stream is made of.
type Halves = (mpsc::Sender<FromSubscriber>, Streaming<ToSubscriber>);

/// Opens a stream on a connection of its own.
pub(crate) async fn subscribe(replica: &Replica, authorization: Option<&str>) -> Result<Halves, Status> {
    subscribe_on(connect(replica).await, authorization).await
}

/// Opens a stream.
pub(crate) async fn subscribe_on(channel: Channel, authorization: Option<&str>) -> Result<Halves, Status> {
    let (outgoing, messages) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/headrace.push.v1.Push/Subscribe");
    let codec = ProstCodec::<FromSubscriber, ToSubscriber>::default();
    let incoming = client.streaming(request, path, codec).await?.into_inner();
    Ok((outgoing, incoming))
}

impl Pod {
    /// A pod that serves nothing yet.
    pub(crate) async fn new(replica: &Replica, token: &str) -> Self {
        Self::with(Subscriber::default(), replica, token).await
    }

    /// A pod that has been there before.
    pub(crate) async fn with(mut subscriber: Subscriber, replica: &Replica, token: &str) -> Self {
        let (outgoing, incoming) = subscribe(replica, Some(&format!("Bearer {token}"))).await.unwrap();
        subscriber.connected();
        Pod { subscriber, outgoing, incoming }
    }

    /// Until a table arrives.
    pub(crate) async fn candidate(&mut self) -> Candidate {
        loop {
            match self.next().await.unwrap() {
                Arrival::Candidate(candidate) => return candidate,
                Arrival::Adopted(_) => {}
            }
        }
    }

    /// Takes the next table, and says so.
    pub(crate) async fn serve(&mut self) {
        let candidate = self.candidate().await;
        self.subscriber.accept(candidate.version, Vec::new());
        self.say().await;
    }

    /// Refuses the next table, and says so.
    pub(crate) async fn reject(&mut self, fault: Fault) {
        let candidate = self.candidate().await;
        self.subscriber.reject(candidate.version, vec![fault]);
        self.say().await;
    }

    /// Keeps the version of what it holds.
    pub(crate) async fn adopt(&mut self) {
        assert!(matches!(self.next().await, Ok(Arrival::Adopted(_))));
        self.say().await;
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Status {
        let end = async {
            loop {
                if let Err(status) = self.next().await {
                    return status;
                }
            }
        };
        tokio::time::timeout(PATIENCE, end).await.expect("the stream ends in time")
    }

    /// Sends what there is to send.
    pub(crate) async fn say(&mut self) {
        while let Some(message) = self.subscriber.poll() {
            // A stream that has ended tells so where it is read.
            let _ = self.outgoing.send(message).await;
        }
    }

    /// What arrives next, after whatever has to be said for it.
    pub(crate) async fn next(&mut self) -> Result<Arrival, Status> {
        let next = async {
            loop {
                self.say().await;
                let message = self.incoming.message().await?;
                let message = message.ok_or_else(|| Status::ok("the stream has ended without a word"))?;
                if let Some(arrival) = self.subscriber.receive(message).unwrap() {
                    return Ok(arrival);
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("something arrives in time")
    }
}
