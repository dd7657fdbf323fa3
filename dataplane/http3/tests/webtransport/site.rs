//! Owns a server that has sessions beside plain requests, and clients of it.

use headrace_http3::{
    Config, StreamError, client, server,
    webtransport::{self, Session, SessionRequest},
};
use http::{Request, Response, StatusCode};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::endpoints::{Endpoints, PATIENCE, Served, answer, endpoints};

const WINDOW: u32 = 256 << 10;

/// What the server does with a session, by the path that was asked for: `/echo` sends every stream and datagram back, `/mine`
/// gives the session to the test, and anything else is refused with 404.
pub(crate) struct Site {
    pub(crate) endpoints: Endpoints,
    pub(crate) config: Config,
    sessions: mpsc::UnboundedSender<Session>,
    mine: mpsc::UnboundedReceiver<Session>,
    /// Connections that are to stay when their sessions are gone.
    kept: Vec<client::SendRequest>,
}

pub(crate) fn config(webtransport: webtransport::Config) -> Config {
    Config { webtransport: Some(webtransport), ..Config::default() }
}

impl Site {
    pub(crate) fn new(webtransport: webtransport::Config) -> Self {
        let (sessions, mine) = mpsc::unbounded_channel();
        Self { endpoints: endpoints(WINDOW), config: config(webtransport), sessions, mine, kept: Vec::new() }
    }

    /// A connection that is served, from the client's end.
    pub(crate) async fn connect(&self) -> (quinn::Connection, JoinHandle<Served>) {
        let (client, quic) = self.endpoints.connect().await;
        quic.set_max_concurrent_bi_streams(300_u32.into());
        quic.set_max_concurrent_uni_streams(300_u32.into());
        let connection = server::Connection::new(quic, &self.config);
        (client, tokio::spawn(serve(connection, self.sessions.clone())))
    }

    /// Serves the connection that comes next.
    #[allow(dead_code, reason = "only some of the tests that share this file have clients with endpoints of their own")]
    pub(crate) async fn accept(&self) -> JoinHandle<Served> {
        let quic = self.endpoints.server.accept().await.unwrap().await.unwrap();
        let connection = server::Connection::new(quic, &self.config);
        tokio::spawn(serve(connection, self.sessions.clone()))
    }

    /// A client that has the same configuration as the server.
    pub(crate) async fn client(&self) -> client::SendRequest {
        self.client_with(&self.config).await
    }

    pub(crate) async fn client_with(&self, config: &Config) -> client::SendRequest {
        let (quic, _) = self.connect().await;
        quic.set_max_concurrent_bi_streams(300_u32.into());
        quic.set_max_concurrent_uni_streams(300_u32.into());
        let (mut connection, requests) = client::connect(quic, config);
        tokio::spawn(async move { connection.drive().await });
        requests
    }

    /// The next session that a client asked for at `/mine`.
    pub(crate) async fn mine(&mut self) -> Session {
        timeout(PATIENCE, self.mine.recv()).await.unwrap().unwrap()
    }

    /// Both ends of a session.
    pub(crate) async fn pair(&mut self) -> (Session, Session) {
        let mut requests = self.client().await;
        let client = session(&mut requests, "/mine").await;
        self.kept.push(requests);
        (client, self.mine().await)
    }
}

/// Asks for a session.
pub(crate) async fn session(requests: &mut client::SendRequest, path: &str) -> Session {
    let connecting = webtransport::connect::<_, &str>(requests, request(path), &[]);
    timeout(PATIENCE, connecting).await.unwrap().unwrap().0
}

pub(crate) fn request(path: &str) -> Request<()> {
    Request::builder().uri(format!("https://localhost{path}")).body(()).unwrap()
}

async fn serve(mut connection: server::Connection, sessions: mpsc::UnboundedSender<Session>) -> Served {
    while let Some(incoming) = connection.accept().await? {
        let sessions = sessions.clone();
        tokio::spawn(async move {
            let Ok((request, send, recv)) = incoming.resolve().await else { return };
            // What goes wrong here, the client sees.
            if webtransport::is_request(&request) {
                if let Ok(asked) = SessionRequest::receive(&request, send, recv).await {
                    let _ = begin(request.uri().path(), asked, sessions).await;
                }
            } else {
                let _ = answer(request, send, recv).await;
            }
        });
    }
    Ok(())
}

async fn begin(
    path: &str,
    asked: SessionRequest,
    sessions: mpsc::UnboundedSender<Session>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // The second choice, where there is one: the first could be anybody's default.
    let subprotocol = asked.subprotocols().get(1).or(asked.subprotocols().first()).cloned();
    match path {
        "/mine" => {
            let session = asked.accept(Response::new(()), subprotocol.as_deref()).await?;
            sessions.send(session)?;
        }
        "/echo" => {
            let session = asked.accept(Response::new(()), subprotocol.as_deref()).await?;
            tokio::join!(echo_bidi(&session), echo_uni(&session), echo_datagrams(&session));
        }
        _ => {
            let refusal = Response::builder().status(StatusCode::NOT_FOUND).header("x-from", "headrace").body(())?;
            asked.refuse(refusal).await?;
        }
    }
    Ok(())
}

async fn echo_bidi(session: &Session) {
    while let Ok((mut send, mut recv)) = session.accept_bi().await {
        tokio::spawn(async move {
            if let Err(error) = copy(&mut recv, &mut send).await {
                send.reset(error.code());
                recv.stop_sending(error.code());
            }
        });
    }
}

async fn echo_uni(session: &Session) {
    while let Ok(mut recv) = session.accept_uni().await {
        let session = session.clone();
        tokio::spawn(async move {
            let mut send = session.open_uni().await.unwrap();
            if let Err(error) = copy(&mut recv, &mut send).await {
                send.reset(error.code());
            }
        });
    }
}

async fn echo_datagrams(session: &Session) {
    while let Ok(datagram) = session.recv_datagram().await {
        let _ = session.send_datagram(&datagram);
    }
}

pub(crate) async fn copy(
    recv: &mut webtransport::RecvStream,
    send: &mut webtransport::SendStream,
) -> Result<(), StreamError> {
    let mut octets = vec![0; 5000];
    loop {
        match recv.read_data(&mut octets).await? {
            0 => return send.finish(),
            size => send.write_all(&octets[..size]).await?,
        }
    }
}

/// Reads a stream to its end.
pub(crate) async fn read_all(recv: &mut webtransport::RecvStream) -> Result<Vec<u8>, StreamError> {
    let (mut content, mut octets) = (Vec::new(), vec![0; 5000]);
    loop {
        match timeout(PATIENCE, recv.read_data(&mut octets)).await.unwrap()? {
            0 => return Ok(content),
            size => content.extend_from_slice(&octets[..size]),
        }
    }
}
