//! Ports that close and come back while clients stay: the sockets of a port keep the order that the kernel steers by.

use headrace_table::wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::Client;
use crate::patience::within;
use crate::plane::{Options, Plane};

#[tokio::test]
async fn clients_outlive_their_port_and_find_it_again() {
    let plane = Plane::serving(Options::default()).await;
    // Some workers have a client and some have none, whichever those are.
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(plane.address()).await;
        let tunnel = client.tunnel().await;
        clients.push((client, tunnel));
    }
    for _ in 0..3 {
        plane.publish(wire::Table { listeners: Vec::new(), routes: Vec::new(), ..plane.table() }).await;
        for (client, tunnel) in &mut clients {
            client.moves();
            echo(tunnel).await;
        }
        plane.publish(plane.table()).await;
        for _ in 0..6 {
            let mut client = Client::connect(plane.address()).await;
            let mut tunnel = client.tunnel().await;
            client.moves();
            echo(&mut tunnel).await;
        }
    }
    for (client, tunnel) in &mut clients {
        client.moves();
        echo(tunnel).await;
    }
    assert_eq!(plane.handed_over().await, (0.0, 0.0), "each packet came to its worker at once");
}

async fn echo(tunnel: &mut headrace_http3::Tunnel) {
    within("an echo", async {
        tunnel.write_all(b"still there?").await.unwrap();
        tunnel.flush().await.unwrap();
        let mut answer = [0; 12];
        tunnel.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"still there?");
    })
    .await;
}
