//! Retry and the tokens by which QUIC clients show that their address is theirs (RFC 9000 section 8.1): when they are asked for
//! one, and that one of a data plane is good at another.

use headrace_table::wire::{self, Keys, QuicOptions, Retry};

use crate::backend::Origin;
use crate::client::quic::Returning;
use crate::client::{Connection, get};
use crate::path::Path;
use crate::patience::{eventually, within};
use crate::sessions::keys;
use crate::stage::table::{backend, forward};
use crate::stage::{HTTPS, Options, Stage};

async fn publish(stage: &Stage, origin: &Origin, retry: Retry, keys: Option<Keys>) {
    let mut table = stage.table(vec![forward("/", "app")], vec![backend("app", &[origin.address])]);
    for listener in table.listeners.iter_mut().filter(|listener| listener.id == HTTPS) {
        listener.quic = QuicOptions { retry, ..QuicOptions::default() };
    }
    stage.publish(wire::Table { keys, ..table }).await;
}

async fn retries(stage: &Stage, reason: &str) -> f64 {
    stage.metric(&format!("headrace_dataplane_retry_sent_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn a_retry_of_one_data_plane_is_answered_at_another() {
    let origin = Origin::http1("app").await;
    let (one, two) = (Stage::start(Options::default()), Stage::start(Options::default()));
    for (round, (of_one, of_two)) in [(keys(&[1]), keys(&[1])), (keys(&[2, 1]), keys(&[1, 2]))].into_iter().enumerate()
    {
        publish(&one, &origin, Retry::Always, Some(of_one)).await;
        publish(&two, &origin, Retry::Always, Some(of_two)).await;
        let path = Path::to(one.https_address()).await;
        path.after_an_answer(two.https_address());
        let mut connection = Connection::on(Returning::new().connect(path.address).await).await;
        assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200);
        assert!(retries(&one, "always").await > round as f64);
        assert_eq!(retries(&two, "always").await, 0.0);
        let connections = "headrace_dataplane_connections_total{transport=\"quic\"}";
        assert_eq!((one.metric(connections).await, two.metric(connections).await), (0.0, (round + 1) as f64));
    }
    // With secrets of its own the other knows nothing of it, and asks once more.
    publish(&two, &origin, Retry::Always, Some(keys(&[3]))).await;
    let path = Path::to(one.https_address()).await;
    path.after_an_answer(two.https_address());
    let client = Returning::new();
    let connecting = client.begin(path.address);
    eventually("another Retry", async || (retries(&two, "always").await > 0.0).then_some(())).await;
    drop(connecting);
}

#[tokio::test]
async fn who_comes_back_with_a_token_needs_no_retry() {
    let origin = Origin::http1("app").await;
    let (one, two) = (Stage::start(Options { workers: 2, ..Options::default() }), Stage::start(Options::default()));
    for stage in [&one, &two] {
        publish(stage, &origin, Retry::Always, Some(keys(&[1]))).await;
    }
    let client = Returning::new();
    let mut connection = Connection::on(client.connect(one.https_address()).await).await;
    assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200);
    let asked = retries(&one, "always").await;
    assert!(asked > 0.0);
    // A token comes with each connection, and each is used once; the client keeps them by the server's name.
    for stage in [&one, &two, &one] {
        let mut connection = Connection::on(client.connect(stage.https_address()).await).await;
        assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200);
    }
    assert_eq!((retries(&one, "always").await, retries(&two, "always").await), (asked, 0.0));
}

#[tokio::test]
async fn the_table_says_when_and_the_process_at_least() {
    let origin = Origin::http1("app").await;
    for (process, table, asked) in [
        (Retry::Never, Retry::Never, false),
        (Retry::Never, Retry::UnderLoad, false),
        (Retry::Never, Retry::Always, true),
        (Retry::UnderLoad, Retry::Never, false),
        (Retry::Always, Retry::Never, true),
    ] {
        let stage = Stage::start(Options { retry: process, ..Options::default() });
        publish(&stage, &origin, table, None).await;
        let mut connection = Connection::on(Returning::new().connect(stage.https_address()).await).await;
        assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200);
        let before = retries(&stage, "always").await;
        assert_eq!(before > 0.0, asked, "{process:?} {table:?}");
        assert_eq!(retries(&stage, "under_load").await, 0.0, "{process:?} {table:?}");
        // The next table counts at once, and the open connection stays.
        publish(&stage, &origin, Retry::Always, None).await;
        within("a handshake", Returning::new().connect(stage.https_address())).await;
        assert!(retries(&stage, "always").await > before, "{process:?} {table:?}");
        assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn under_load_clients_are_asked() {
    /// More than may be half open.
    const FLOOD: usize = 600;
    /// What fits a socket's buffer.
    const BATCH: usize = 50;
    let origin = Origin::http1("app").await;
    let stage = Stage::start(Options::default());
    publish(&stage, &origin, Retry::UnderLoad, None).await;
    let path = Path::to(stage.https_address()).await;
    path.hold();
    let flooding = Returning::new();
    let mut half_open = Vec::new();
    eventually("a Retry", async || {
        // Answers are lost, and so no handshake of these completes.
        let some = BATCH.min(FLOOD - half_open.len());
        half_open.extend((0..some).map(|_| flooding.begin(path.address)));
        (retries(&stage, "under_load").await > 0.0).then_some(())
    })
    .await;
    let before = retries(&stage, "under_load").await;
    let mut connection = Connection::on(Returning::new().connect(stage.https_address()).await).await;
    assert_eq!(connection.fetch(get("/")).await.unwrap().status, 200, "honest clients are served");
    assert!(retries(&stage, "under_load").await > before);
    drop(half_open);
}
