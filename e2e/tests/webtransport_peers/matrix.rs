//! Every client that can, through Headrace to every backend: all that a session has.

use anyhow::Result;
use serde_json::{Value, json};

use crate::peers::{GUARD, Peer};
use crate::stage::{Ground, Said as _, Stage, Target, To};
use headrace_e2e::Process;

/// Backends of every kind behind a Headrace.
fn stage() -> Result<(Stage, Vec<(Peer, Process)>)> {
    let ground = Ground::new()?;
    let (mut processes, mut targets) = (Vec::new(), Vec::new());
    for peer in Peer::BACKENDS {
        let (process, port) = peer.stand(&ground)?;
        processes.push((peer, process));
        targets.push(Target { name: peer.name(), to: To::Session(port) });
    }
    Ok((ground.serve(&targets)?, processes))
}

/// What a client sees of a backend that does as it is told.
fn everything(answers: &Value) -> Value {
    let numbered = |what: &str| (0..5).map(|number| format!("{what} {number}")).collect::<Vec<_>>();
    json!({
        "status": 200,
        "answers": answers,
        "greetings": { "bidirectional": numbered("greeting"), "unidirectional": numbered("greeting") },
        "streams": 100,
        "datagrams": 5,
        "oneWay": numbered("one way"),
        "resetAtBackend": "77",
        "stopAtBackend": "78",
        "resetAtClient": 79,
        "stopAtClient": 4_000_000_000_u32,
        "together": 5,
        "closedByBackend": { "code": 4321, "reason": "as asked", "remote": true },
        "elsewhere": 404,
    })
}

/// How the client's first session ended, as the backend has it.
fn first_end(backend: &mut Process, client: Peer) -> Result<Value> {
    backend.wait_for_line(GUARD, |line| {
        let said: Value = serde_json::from_str(line).ok()?;
        // webtransport-go 0.11.1 closes its connection as soon as its session is closed, and the capsule that says so may
        // not have left by then: the backend loses the session in place of hearing of its end.
        let lost = client == Peer::GoDialer && said["lost"].is_string();
        (said["closed"] == 4001 || lost).then_some(said)
    })
}

fn to_every_backend(client: Peer) -> Result<()> {
    let (stage, backends) = stage()?;
    for (peer, mut backend) in backends {
        let seen = client.visit(&stage, peer.name(), &[])?;
        let answers: Value = serde_json::from_str(seen["answers"].as_str().unwrap_or_default())?;
        let greetings: Vec<_> = (0..5).map(|number| format!("greeting {number}, answered")).collect();
        assert_eq!(answers, json!(greetings), "{client:?} to {peer:?}");
        assert_eq!(seen, everything(&seen["answers"]), "{client:?} to {peer:?}");
        let end = first_end(&mut backend, client).said(&stage)?;
        if client == Peer::Aioquic {
            assert_eq!(end, json!({ "closed": 4001, "reason": "done", "remote": true }), "{client:?} to {peer:?}");
        }
    }
    Ok(())
}

#[test]
fn aioquic() -> Result<()> {
    to_every_backend(Peer::Aioquic)
}

#[test]
fn webtransport_go() -> Result<()> {
    to_every_backend(Peer::GoDialer)
}

/// Its client wants RESET_STREAM_AT of its server (draft 15, section 4.4), which quinn does not have.
#[test]
fn the_newest_webtransport_go_says_what_it_misses() -> Result<()> {
    let ground = Ground::new()?;
    let (_backend, port) = Peer::GoDialer.stand(&ground)?;
    let stage = ground.serve(&[Target { name: "backend", to: To::Session(port) }])?;
    let seen = Peer::GoNewest.visit(&stage, "backend", &[])?;
    assert_eq!(seen, json!({ "refused": "server didn't enable QUIC stream reset partial delivery" }));
    Ok(())
}
