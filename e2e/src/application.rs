//! Real applications as backends: how each is started, and on which port of its manifests it stands.
//!
//! The manifests are in `e2e/manifests/<name>`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::client::{clients, tool};
use crate::{Process, port};

/// The guard of a start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where an application is that nobody else needs to reach.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A running application.
pub struct Application {
    /// Its name, and that of its manifests' directory.
    pub name: &'static str,
    /// The path under which it is served.
    pub path: &'static str,
    /// The port of its EndpointSlice as the manifests have it.
    pub manifest_port: u16,
    /// The port that it listens on.
    pub port: u16,
    /// Its process.
    pub process: Process,
}

impl Application {
    /// A socket.io server on loopback.
    pub fn socketio(directory: &Path) -> Result<Self> {
        Self::socketio_on(LOOPBACK, directory)
    }

    /// A socket.io server.
    pub fn socketio_on(address: IpAddr, directory: &Path) -> Result<Self> {
        Self::node("socketio", "/socket.io", 9001, address, directory)
    }

    /// A graphql-ws server on loopback.
    pub fn graphql(directory: &Path) -> Result<Self> {
        Self::graphql_on(LOOPBACK, directory)
    }

    /// A graphql-ws server.
    pub fn graphql_on(address: IpAddr, directory: &Path) -> Result<Self> {
        Self::node("graphql", "/graphql", 9002, address, directory)
    }

    /// The mosquitto broker with a WebSocket listener on loopback.
    pub fn mqtt(directory: &Path) -> Result<Self> {
        Self::mqtt_on(LOOPBACK, directory)
    }

    /// The mosquitto broker with a WebSocket listener.
    pub fn mqtt_on(address: IpAddr, directory: &Path) -> Result<Self> {
        let (websockets, plain) = (port::free()?, port::free()?);
        let configuration = directory.join("mosquitto.conf");
        // mosquitto 2.0 does not start with WebSocket listeners alone. And on a listener of both address families,
        // libwebsockets takes no notice of the address.
        let text = format!(
            "listener {plain} 127.0.0.1\n\
             listener {websockets} {address}\nsocket_domain ipv4\nprotocol websockets\n\
             allow_anonymous true\npersistence false\n"
        );
        std::fs::write(&configuration, text)?;
        let mut command = Command::new(tool("mosquitto", &["/usr/sbin/mosquitto"]));
        let mut process = Process::start("mosquitto", command.arg("-c").arg(&configuration), directory)?;
        // It says so on standard error.
        process.wait_until(START_TIMEOUT, |process| process.stderr().contains(" running").then_some(()))?;
        Ok(Self { name: "mqtt", path: "/mqtt", manifest_port: 9003, port: websockets, process })
    }

    fn node(
        name: &'static str,
        path: &'static str,
        manifest_port: u16,
        address: IpAddr,
        directory: &Path,
    ) -> Result<Self> {
        let mut command = Command::new("node");
        command.arg(clients().join("apps").join(format!("{name}.mjs"))).args([
            "serve",
            "--address",
            &address.to_string(),
        ]);
        let mut process = Process::start(name, &mut command, directory)?;
        let port = process.wait_for_line(START_TIMEOUT, |line| line.parse().ok())?;
        Ok(Self { name, path, manifest_port, port, process })
    }
}
