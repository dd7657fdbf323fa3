//! Who is told that its connection is over (RFC 9000 section 10.3): clients of ours and of pods that are gone, and nobody
//! else, since a reset of ours would end the connection of a pod that lives.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use aws_lc_rs::hmac;
use headrace_cid::{Config, ConfigId, ConnectionId, Key, Layout, LowBits, Nonce, ServerId};
use headrace_table::wire::Standing;
use tokio::io::AsyncWriteExt as _;

use crate::balancer::Balancer;
use crate::client::Client;
use crate::patience::within;
use crate::plane::{KEY, OTHER_UID, Options, Plane, UID, keys, peer};

const OURS: &str = "0000000000000001";
const LIVE: &str = "0000000000000002";
const DRAINING: &str = "0000000000000003";
const GONE: &str = "0000000000000004";
const UNHEARD_OF: &str = "0000000000000005";

/// How long nothing has to come before it is believed that nothing will.
const SILENCE: Duration = Duration::from_millis(300);

/// Between two packets that call for a reset: an endpoint sends one in 20 ms, so that it cannot be made to flood.
const PAUSE: Duration = Duration::from_millis(60);

/// An ID of a server, by its number, which no connection has.
fn cid(server: &str, number: u8) -> ConnectionId {
    let config = Config::encrypted(ConfigId::FIRST, Layout::SINGLE_BLOCK, LowBits::Random, Key::from(KEY));
    let server = u64::from_str_radix(server, 16).unwrap().to_be_bytes();
    let nonce = Nonce::try_from(&[0xff, 0xff, 0xff, 0, 0, 0, 0, number][..]).unwrap();
    config.encode(&ServerId::try_from(&server[..]).unwrap(), &nonce, number).unwrap()
}

/// The token of an ID on a port, by the secret of [`keys`]: what the pod whose ID it is gave its client.
fn token(cid: &[u8], port: u16) -> Vec<u8> {
    let mut secret = [0; 32];
    secret[31] = 2;
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &secret));
    for part in [b"headrace/stateless-reset/", &port.to_be_bytes()[..], &[0], cid] {
        context.update(part);
    }
    context.sign().as_ref()[..16].to_vec()
}

/// Sends a packet with a short header and this ID, and returns what comes back in time.
fn ask(to: SocketAddr, cid: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let mut packet = vec![0x40];
    packet.extend_from_slice(cid);
    packet.resize(120, 0x55);
    socket.send_to(&packet, to).unwrap();
    let mut answer = [0; 1500];
    socket.recv(&mut answer).ok().map(|count| answer[..count].to_vec())
}

#[tokio::test]
async fn only_for_ids_of_our_own_and_of_who_is_gone() {
    for kernel_steering in [true, false] {
        let plane = Plane::start(Options { kernel_steering, ..Options::default() }).await;
        let mut table = plane.table();
        table.keys = Some(keys());
        table.peers = vec![
            peer(UID, OURS, Standing::Live),
            peer("aaaa", LIVE, Standing::Live),
            peer("bbbb", DRAINING, Standing::Draining),
            peer("cccc", GONE, Standing::Gone),
        ];
        table.peers.sort_by(|a, b| a.id.cmp(&b.id));
        plane.publish(table).await;
        let to = plane.address();
        let cases = [
            (OURS, true),
            (LIVE, false),
            (DRAINING, false),
            (GONE, true),
            (UNHEARD_OF, false),
            (GONE, true),
            (OURS, true),
        ];
        for (number, (server, is_told)) in (0..).zip(cases) {
            tokio::time::sleep(PAUSE).await;
            let cid = cid(server, number);
            let cid = cid.as_slice();
            let answer = ask(to, cid);
            assert_eq!(answer.is_some(), is_told, "{server}");
            if let Some(answer) = answer {
                assert!(answer.ends_with(&token(cid, to.port())), "{server}: the token is the one of its owner");
                assert_eq!(answer[0] & 0xc0, 0x40, "it looks like a packet with a short header");
            }
        }
        // Of an unroutable ID nobody knows whose it is.
        assert_eq!(ask(to, &[0xf0; 17]), None);
        let inactive = plane.metric("quic_undecodable_total{reason=\"inactive_server\"}").await;
        assert_eq!(inactive, 3.0, "two of the pod that is gone, one of nobody");
        assert_eq!(plane.metric("quic_undecodable_total{reason=\"reserved\"}").await, 1.0);
    }
}

#[tokio::test]
async fn a_client_believes_the_peer_of_a_dead_pod() {
    let dead = Plane::start(Options::default()).await;
    let heir = Plane::start(Options {
        at: Some(SocketAddr::from(([127, 0, 0, 2], dead.address().port()))),
        ..Options::default()
    });
    let heir = heir.await;
    let publish = async |plane: &Plane, standing| {
        let mut table = plane.table();
        table.keys = Some(keys());
        table.peers = vec![peer(UID, OURS, standing), peer(OTHER_UID, LIVE, Standing::Live)];
        table.peers.sort_by(|a, b| a.id.cmp(&b.id));
        plane.publish(table).await;
    };
    publish(&dead, Standing::Live).await;
    publish(&heir, Standing::Live).await;
    let balancer = Balancer::start(dead.address()).await;
    let mut client = Client::connect(balancer.address).await;
    let mut tunnel = client.tunnel().await;

    // The heir hears packets of a pod that it takes to be alive, and has no way to it.
    balancer.turn_to(heir.address());
    tunnel.write_all(b"anybody there?").await.unwrap();
    tunnel.flush().await.unwrap();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(client.connection.close_reason(), None, "who only suspects says nothing");

    publish(&heir, Standing::Gone).await;
    let reason = within("the client is told", client.connection.closed()).await;
    assert_eq!(reason, quinn::ConnectionError::Reset);
}

#[tokio::test]
async fn a_pod_that_is_not_in_the_table_issues_ids_that_name_nobody() {
    let plane = Plane::start(Options::default()).await;
    let mut table = plane.table();
    table.keys = Some(keys());
    table.peers = vec![peer("aaaa", LIVE, Standing::Live)];
    plane.publish(table).await;
    let mut client = Client::connect(plane.address()).await;
    client.moves();
    client.tunnel().await;
    assert!(plane.metric("quic_unroutable_issued_total{reason=\"no_config\"}").await > 0.0);
    assert_eq!(plane.handed_over().await, (0.0, 0.0), "its workers find them all the same");
}
