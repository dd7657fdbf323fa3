//! A publisher: gRPC by hand, on HTTP/2 over TLS. It gives every pod that comes the newest table, whole, and notes who has
//! accepted which.
//!
//! Must not know what is in a table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use headrace_e2e::ca::Leaf;
use http::{Request, Response};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::push::{FromSubscriber, SUBSCRIBE, Said, Section, whole};

/// Octets before every message of gRPC: whether it is compressed, and its length.
const PREFIX_OCTETS: usize = 5;

/// How long pods may take to accept a table.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A running publisher.
pub(crate) struct Publisher {
    pub(crate) address: SocketAddr,
    table: watch::Sender<Table>,
    shared: Arc<Shared>,
}

#[derive(Clone, Default)]
struct Table {
    generation: u64,
    sections: Arc<[Section]>,
}

#[derive(Default)]
struct Shared {
    /// By token: the newest generation that a pod accepted, or why it did not.
    answers: Mutex<BTreeMap<String, Result<u64, String>>>,
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<String, Result<u64, String>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// Listens, and shows this certificate.
    pub(crate) async fn start(address: SocketAddr, leaf: &Leaf) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let (table, tables) = watch::channel(Table::default());
        let shared = Arc::<Shared>::default();
        let publisher = Self { address: listener.local_addr()?, table, shared: Arc::clone(&shared) };
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), tables, shared));
        Ok(publisher)
    }

    /// Gives everybody a table from now on, and waits until these pods, by their tokens, have accepted it.
    pub(crate) async fn publish(&self, sections: Vec<Section>, pods: &[String]) -> Result<()> {
        let generation = self.table.borrow().generation + 1;
        self.table.send_replace(Table { generation, sections: sections.into() });
        self.accepted(generation, pods).await
    }

    async fn accepted(&self, generation: u64, pods: &[String]) -> Result<()> {
        let all = async {
            while !self.have_accepted(generation, pods)? {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        let answers = || format!("of {pods:?}: {:?}", self.shared.answers());
        tokio::time::timeout(ACCEPT_TIMEOUT, all).await.with_context(answers)?
    }

    fn have_accepted(&self, generation: u64, pods: &[String]) -> Result<bool> {
        let answers = self.shared.answers();
        let mut all = true;
        for pod in pods {
            match answers.get(pod) {
                Some(Ok(accepted)) => all &= *accepted == generation,
                Some(Err(why)) => bail!("{pod}: {why}"),
                None => all = false,
            }
        }
        Ok(all)
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, tables: watch::Receiver<Table>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, tables, shared) = (tls.clone(), tables.clone(), Arc::clone(&shared));
        // A pod that is killed leaves its connection in whatever state it is.
        tokio::spawn(async move { drop(serve(stream, tls, tables, shared).await) });
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, tables: watch::Receiver<Table>, shared: Arc<Shared>) -> Result<()> {
    let mut connection = h2::server::handshake(tls.accept(stream).await?).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let response = Response::builder().header("content-type", "application/grpc").body(())?;
        let send = respond.send_response(response, false)?;
        let (tables, shared) = (tables.clone(), Arc::clone(&shared));
        tokio::spawn(async move { drop(converse(request, send, tables, &shared).await) });
    }
    Ok(())
}

/// Goes on until the pod does not.
async fn converse(
    request: Request<h2::RecvStream>,
    mut send: h2::SendStream<Bytes>,
    mut tables: watch::Receiver<Table>,
    shared: &Shared,
) -> Result<()> {
    ensure!(request.uri().path() == SUBSCRIBE, "another method");
    let authorization = request.headers().get("authorization").context("no token")?.to_str()?;
    let pod = authorization.strip_prefix("Bearer ").context("no bearer")?.to_owned();
    let (mut body, mut received, mut is_introduced) = (request.into_body(), BytesMut::new(), false);
    loop {
        tokio::select! {
            data = body.data() => {
                let data = data.context("the pod has ended")??;
                body.flow_control().release_capacity(data.len())?;
                received.extend_from_slice(&data);
                while let Some(message) = message(&mut received)? {
                    match message.message {
                        Some(Said::Hello(_)) => {
                            is_introduced = true;
                            give(&mut send, &tables.borrow_and_update())?;
                        }
                        said => hear(&pod, said, shared),
                    }
                }
            }
            changed = tables.changed(), if is_introduced => {
                changed?;
                give(&mut send, &tables.borrow_and_update())?;
            }
        }
    }
}

/// The next message that is there whole.
fn message(received: &mut BytesMut) -> Result<Option<FromSubscriber>> {
    let Some((prefix, rest)) = received.split_first_chunk::<PREFIX_OCTETS>() else { return Ok(None) };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if rest.len() < length {
        return Ok(None);
    }
    received.advance(PREFIX_OCTETS);
    Ok(Some(FromSubscriber::decode(received.split_to(length))?))
}

/// Sends a table, if there is one.
fn give(send: &mut h2::SendStream<Bytes>, table: &Table) -> Result<()> {
    if table.generation == 0 {
        return Ok(());
    }
    for message in whole(&table.sections, table.generation) {
        let encoded = message.encode_to_vec();
        let mut framed = Vec::with_capacity(PREFIX_OCTETS + encoded.len());
        framed.push(0);
        framed.extend(u32::try_from(encoded.len())?.to_be_bytes());
        framed.extend(encoded);
        send.send_data(framed.into(), false)?;
    }
    Ok(())
}

fn hear(pod: &str, said: Option<Said>, shared: &Shared) {
    let (answer, is_accepted) = match said {
        Some(Said::Accepted(answer)) => (answer, true),
        Some(Said::Rejected(answer)) => (answer, false),
        _ => return,
    };
    // A fault is something that is not served, and tables of tests can be served whole.
    let generation = answer.version.unwrap_or_default().generation;
    let answer = match is_accepted && answer.faults.is_empty() {
        true => Ok(generation),
        false => Err(format!("{:?}", answer.faults)),
    };
    shared.answers().insert(pod.to_owned(), answer);
}
