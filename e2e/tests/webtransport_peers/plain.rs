//! Clients whose streams are TCP connections and whose datagrams a UDP flow, of servers that know nothing of either.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::peers::{GUARD, Peer};
use crate::stage::{Ground, Said as _, Stage, Target, To};

/// How a TCP connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Fin(Vec<u8>),
    Reset,
}

/// A TCP echo that tells of every end, and resets a connection that begins with `!`.
fn tcp_echo(ends: Sender<End>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let ends = ends.clone();
            std::thread::spawn(move || serve(stream, &ends));
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream, ends: &Sender<End>) {
    let (mut got, mut octets) = (Vec::new(), [0; 16 << 10]);
    // One octet first: a socket that is closed while it has something unread is reset.
    let mut room = 1;
    let end = loop {
        match stream.read(&mut octets[..room]) {
            Ok(0) => break End::Fin(got),
            Ok(size) if got.is_empty() && octets[0] == b'!' && size == 1 => {
                let mut rest = [0; 1];
                let _waits_for_more = stream.peek(&mut rest);
                return;
            }
            Ok(size) => {
                got.extend_from_slice(&octets[..size]);
                let _the_reader_may_be_gone = stream.write_all(&octets[..size]);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Reset,
            Err(_) => return,
        }
        room = octets.len();
    };
    let _the_test_may_be_over = ends.send(end);
}

/// A UDP echo, for ever.
fn udp_echo() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    std::thread::spawn(move || {
        let mut octets = [0; 2000];
        while let Ok((size, from)) = socket.recv_from(&mut octets) {
            let _lost = socket.send_to(&octets[..size], from);
        }
    });
    Ok(port)
}

fn stage() -> Result<(Stage, Receiver<End>)> {
    let (sender, ends) = channel();
    let to = To::Streams { tcp: Some(tcp_echo(sender)?), udp: Some(udp_echo()?) };
    Ok((Ground::new()?.serve(&[Target { name: "echo", to }])?, ends))
}

fn streams(client: Peer) -> Result<()> {
    let (stage, ends) = stage()?;
    let seen = client.visit(&stage, "echo", &["--plain"])?;
    // The code of a TCP connection that was reset is 1 (docs/webtransportroute.md).
    let expected =
        json!({ "status": 200, "streams": 100, "datagrams": 5, "resetAtClient": 1, "together": 5, "elsewhere": 404 });
    assert_eq!(seen, expected, "{client:?}");

    let (mut whole, mut one_way, mut resets) = (0, 0, 0);
    // The client reset one, and left five open when it closed their sessions.
    while whole < 100 || one_way < 1 || resets < 1 {
        let so_far = || format!("{client:?}: {whole} whole, {one_way} of one way, {resets} resets");
        let end = ends.recv_timeout(GUARD).with_context(so_far).said(&stage)?;
        match end {
            End::Fin(got) if got.len() == 20_000 => whole += 1,
            End::Fin(got) if got == b"one way" => one_way += 1,
            // What a session leaves open when it is closed.
            End::Fin(got) => ensure!(got == b"x", "{got:?}"),
            End::Reset => resets += 1,
        }
    }
    ensure!(whole == 100 && one_way == 1, "{whole} whole, {one_way} of one way");
    Ok(())
}

#[test]
fn aioquic() -> Result<()> {
    streams(Peer::Aioquic)
}

#[test]
fn webtransport_go() -> Result<()> {
    streams(Peer::GoDialer)
}
