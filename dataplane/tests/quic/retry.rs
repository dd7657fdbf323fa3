//! A client that has to prove its address comes back with an ID of ours before there is any connection: it must come to
//! where it can be accepted.

use headrace_dataplane::Retry;

use crate::client::Client;
use crate::plane::{Options, Plane, UID, keys, peer};

#[tokio::test]
async fn a_retry_leads_back() {
    for kernel_steering in [true, false] {
        let plane = Plane::start(Options { kernel_steering, retry: Retry::Always, ..Options::default() }).await;
        // Alone, and among others.
        for with_keys in [false, true] {
            let mut table = plane.table();
            if with_keys {
                table.keys = Some(keys());
                table.peers = vec![peer(UID, "0000000000000001", headrace_table::wire::Standing::Live)];
            }
            plane.publish(table).await;
            for _ in 0..8 {
                let mut client = Client::connect(plane.address()).await;
                client.tunnel().await;
            }
        }
    }
}
