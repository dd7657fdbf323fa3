//! The one session that TCP connections share: kept open, and replaced when it ends or is about to.

use std::sync::Arc;

use tokio::sync::watch;

use super::link::{Link, Linked};

/// The session of the moment.
pub(super) type Current = Option<Arc<Linked>>;

/// Keeps a session open for ever.
pub(super) async fn keep(link: Arc<Link>, current: watch::Sender<Current>) {
    loop {
        // The link has said what went wrong, and makes the next attempt wait.
        let Ok(linked) = link.open().await else { continue };
        let linked = Arc::new(linked);
        current.send_replace(Some(Arc::clone(&linked)));
        // Streams of the server's have nowhere to go on this side.
        let refusing = async {
            tokio::join!(async { while linked.session.accept_bi().await.is_ok() {} }, async {
                while linked.session.accept_uni().await.is_ok() {}
            },);
            // The session has ended, which is for the other branch to tell.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = linked.session.closed() => {
                current.send_replace(None);
                link.failed(&format!("the session ended: {ended}"));
            }
            () = linked.session.drained() => {
                // Connections that run on it go on until they or it end; new ones get the next session, and the one of
                // before as long as there is none.
                linked.retire();
                link.failed("the server wants the session to end: new connections get another");
            }
            () = refusing => {}
        }
    }
}
