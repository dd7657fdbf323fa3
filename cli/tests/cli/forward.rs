//! `headrace connect -L`: local TCP connections and UDP flows through a server that is not Headrace's to applications
//! behind it.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{PATIENCE, Running};
use crate::webtransport_server::{Behind, Identity, Server};

/// How a connection ended at the application behind the server.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// FIN after so many octets.
    Fin(usize),
    Reset,
}

/// A TCP application: an echo that at FIN says how much came, and says nothing more. `!rst` makes it reset, and `!wait` say
/// so much and read no more.
fn tcp_application() -> (SocketAddr, Receiver<Ended>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, ends) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, ended) = (stream.unwrap(), ended.clone());
            std::thread::spawn(move || converse(stream, &ended));
        }
    });
    (address, ends)
}

fn converse(mut stream: TcpStream, ended: &Sender<Ended>) {
    let (mut octets, mut total) = (vec![0; 10_000], 0);
    loop {
        match stream.read(&mut octets) {
            Ok(0) => {
                let _ = stream.write_all(format!("<{total}>").as_bytes());
                let _ = ended.send(Ended::Fin(total));
                return;
            }
            Ok(size) if octets[..size].ends_with(b"!wait") => {
                let _ = stream.write_all(b"!");
                std::thread::sleep(PATIENCE);
            }
            Ok(size) if octets[..size].ends_with(b"!rst") => {
                linger_zero(&stream);
                return;
            }
            Ok(size) => {
                total += size;
                if stream.write_all(&octets[..size]).is_err() {
                    let _ = ended.send(Ended::Reset);
                    return;
                }
            }
            Err(_) => {
                let _ = ended.send(Ended::Reset);
                return;
            }
        }
    }
}

/// The next close is an RST.
fn linger_zero(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A UDP application: says from which port a datagram came, and what it was.
fn udp_application() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut octets = vec![0; 2000];
        loop {
            let (size, from) = socket.recv_from(&mut octets).unwrap();
            let answer = [format!("{} ", from.port()).as_bytes(), &octets[..size]].concat();
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

/// A server, what is behind it, and the program in front.
struct Setting {
    identity: Identity,
    behind: Behind,
    server: Option<Server>,
    port: u16,
    program: Running,
    tcp: SocketAddr,
    udp: SocketAddr,
    ends: Receiver<Ended>,
    _directory: TempDir,
}

impl Setting {
    fn start() -> Self {
        let (tcp, ends) = tcp_application();
        let behind = Behind { tcp, udp: udp_application() };
        let identity = Identity::new();
        let server = Server::start(&identity, 0, behind);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("server.pem"), &identity.pem).unwrap();
        let (url, resolve) = (server.url("/forward"), server.resolve());
        let args = ["connect", &url, "--ca", "server.pem", "--resolve", &resolve, "-v"];
        let args = [&args[..], &["-L", "tcp:127.0.0.1:0", "-L", "udp:127.0.0.1:0"]].concat();
        let mut program = Running::start(directory.path(), &args);
        let (tcp, udp) = (listening(&mut program, "tcp"), listening(&mut program, "udp"));
        program.line_with("connected over HTTP/3 (WebTransport, draft07)");
        let port = server.address.port();
        Self { identity, behind, server: Some(server), port, program, tcp, udp, ends, _directory: directory }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ended(&self) -> Ended {
        self.ends.recv_timeout(PATIENCE).unwrap()
    }
}

fn listening(program: &mut Running, transport: &str) -> SocketAddr {
    let line = program.line_with(&format!("listening on {transport}:"));
    let (_, rest) = line.split_once(&format!("{transport}:")).unwrap();
    rest.split_once(": ").unwrap().0.parse().unwrap()
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| b'a' + (index % 23) as u8).collect()
}

/// Sends while it reads, as an echo needs, and ends its side first. Returns all that came.
fn exchange(stream: &TcpStream, content: &[u8]) -> Vec<u8> {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = stream;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(content).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    })
}

#[test]
fn a_half_close_is_one() {
    let setting = Setting::start();
    for size in [0, 1, 3_000_000] {
        let content = pattern(size);
        let got = exchange(&setting.connect(), &content);
        let expected = [&content[..], format!("<{size}>").as_bytes()].concat();
        assert!(got == expected, "{size}: {} octets came", got.len());
        assert_eq!(setting.ended(), Ended::Fin(size));
    }
}

#[test]
fn a_reset_is_one_either_way() {
    let mut setting = Setting::start();
    let mut stream = setting.connect();
    stream.write_all(b"!rst").unwrap();
    let error = stream.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    setting.program.line_with("reset by the server's side");

    let mut stream = setting.connect();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    linger_zero(&stream);
    drop(stream);
    setting.program.line_with("reset on this side");
    assert_eq!(setting.ended(), Ended::Reset);
}

#[test]
fn fifty_connections_at_once() {
    let setting = Setting::start();
    let streams: Vec<TcpStream> = (0..50).map(|_| setting.connect()).collect();
    // All are open before the first one ends.
    for mut stream in &streams {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    std::thread::scope(|scope| {
        for (n, stream) in streams.iter().enumerate() {
            scope.spawn(move || {
                let content = pattern(n * 1000);
                let got = exchange(stream, &content);
                assert!(got == [&content[..], format!("<{}>", n * 1000 + 1).as_bytes()].concat(), "{n}");
            });
        }
    });
}

/// An application that does not read is felt by whoever sends to it, and by nobody else.
#[test]
fn what_is_not_taken_is_not_read() {
    /// Above what the kernel's buffers and the stream's window take together, by far.
    const MOST: usize = 64 << 20;
    let setting = Setting::start();
    let mut stream = setting.connect();
    stream.write_all(b"!wait").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let (content, mut taken) = (pattern(1 << 16), 0);
    while taken < MOST {
        match stream.write(&content) {
            Ok(size) => taken += size,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(taken < MOST);
    assert_eq!(exchange(&setting.connect(), b"others"), b"others<6>");
}

fn ask(client: &UdpSocket, question: &str) -> String {
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut octets = [0; 2000];
    // Datagrams may be lost.
    while Instant::now() < end {
        client.send(question.as_bytes()).unwrap();
        while let Ok(size) = client.recv(&mut octets) {
            let answer = String::from_utf8(octets[..size].to_vec()).unwrap();
            if answer.ends_with(question) {
                return answer;
            }
        }
    }
    panic!("no answer to {question}");
}

#[test]
fn each_udp_sender_is_a_flow() {
    let mut setting = Setting::start();
    let clients = [(); 2].map(|()| {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(setting.udp).unwrap();
        client
    });
    let ports = clients.each_ref().map(|client| {
        let answers = ["first", "second"].map(|question| ask(client, question));
        let ports = answers.each_ref().map(|answer| answer.split_once(' ').unwrap().0.to_owned());
        assert_eq!(ports[0], ports[1], "a flow has one socket at the server");
        ports[0].clone()
    });
    assert_ne!(ports[0], ports[1], "two flows have two");
    // No path takes it: it is dropped, and the flow goes on.
    clients[0].send(&pattern(60_000)).unwrap();
    setting.program.line_with("60000 octets dropped");
    assert_eq!(ask(&clients[0], "third"), format!("{} third", ports[0]));
}

#[test]
fn a_server_that_comes_back_is_found() {
    let mut setting = Setting::start();
    assert_eq!(exchange(&setting.connect(), b"before"), b"before<6>");
    let cut = setting.connect();
    (&cut).write_all(b"x").unwrap();
    (&cut).read_exact(&mut [0]).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(setting.udp).unwrap();
    ask(&client, "before");

    setting.server = None;
    setting.program.line_with("next try in");
    // What ran over the session is reset.
    let error = (&cut).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // What comes meanwhile waits for some time, and is reset then.
    let mut early = setting.connect();
    let error = early.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    setting.program.line_with("no stream within 5 s: reset");

    setting.server = Some(Server::start(&setting.identity, setting.port, setting.behind));
    setting.program.line_with("connected over HTTP/3");
    assert_eq!(exchange(&setting.connect(), b"after"), b"after<5>");
    ask(&client, "after");
}

#[test]
fn stops_when_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut setting = Setting::start();
        let stream = setting.connect();
        (&stream).write_all(b"x").unwrap();
        (&stream).read_exact(&mut [0]).unwrap();
        setting.program.signal(signal);
        assert_eq!(setting.program.wait().code(), Some(0));
        assert_eq!(setting.ended(), Ended::Reset);
    }
}
