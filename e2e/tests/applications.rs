//! Real applications behind Headrace: socket.io, graphql-ws, and MQTT over WebSocket.

use anyhow::{Context as _, Result};
use headrace_e2e::application::Application;
use headrace_e2e::{Site, client};
use serde_json::{Value, json};

#[test]
fn socketio() -> Result<()> {
    let site = Site::with_applications(|directory| Ok(vec![Application::socketio(directory)?]))?;
    let arguments = ["use", "--url", &site.secure("https", "")];
    let seen = client::run(&site, "socketio-client", "apps/socketio.mjs", &arguments).with_context(|| site.tails())?;
    let expect = |first: &str, upgrade: Value| {
        json!({
            "first": first, "upgrade": upgrade, "transport": "websocket", "reversed": "ecardaeh", "sum": 200_000,
            "told": "through the room", "reason": "io server disconnect",
        })
    };
    assert_eq!(seen["websocket"], expect("websocket", Value::Null));
    assert_eq!(seen["polling"], expect("polling", json!("websocket")));
    Ok(())
}

#[test]
fn graphql() -> Result<()> {
    let site = Site::with_applications(|directory| Ok(vec![Application::graphql(directory)?]))?;
    let arguments = ["use", "--url", &site.secure("wss", "/graphql")];
    let seen = client::run(&site, "graphql-client", "apps/graphql.mjs", &arguments).with_context(|| site.tails())?;
    let expect = json!({
        "subprotocol": "graphql-transport-ws", "countdown": [5, 4, 3, 2, 1, 0], "forever": [0, 1, 2], "running": 0,
        "hello": "hello, headrace", "refused": "Cannot query field \"nothing\" on type \"Query\".", "closeCode": 1000,
    });
    assert_eq!(seen, expect);
    Ok(())
}

#[test]
fn mqtt() -> Result<()> {
    let site = Site::with_applications(|directory| Ok(vec![Application::mqtt(directory)?]))?;
    let arguments = ["--url", &site.secure("wss", "/mqtt")];
    let seen = client::run(&site, "mqtt-client", "apps/mqtt.mjs", &arguments).with_context(|| site.tails())?;
    let message = |topic: &str, qos: u8, payload: Value| json!({ "topic": topic, "qos": qos, "payload": payload });
    // MQTT keeps no order between levels of service.
    let mut received = seen["received"].as_array().context("no list")?.clone();
    received.sort_by_key(|message| message["topic"].to_string());
    let expect = [
        message("headrace/large", 1, json!(150_000)),
        message("headrace/qos0", 0, json!("at 0")),
        message("headrace/qos1", 1, json!("at 1")),
        message("headrace/qos2", 2, json!("at 2")),
    ];
    assert_eq!(received, expect);
    assert_eq!(seen["retained"], json!({ "payload": "still here", "retain": true }));
    Ok(())
}
