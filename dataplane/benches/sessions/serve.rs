//! The process that is measured: what it is told to be, for as long as standard input lasts.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::time::Duration;

use headrace_dataplane::{Config, DataPlane};
use headrace_table::{Table, wire};
use serde::{Deserialize, Serialize};

use crate::floor::{self, Floor};

/// What a process is.
#[derive(Serialize, Deserialize)]
pub(crate) enum Role {
    /// A data plane of one worker.
    Plane(Box<wire::Table>),
    /// Bare QUIC.
    Floor(Floor),
}

/// Reads a role, serves it, and ends with whoever started this.
pub(crate) fn run() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    match serde_json::from_str(&line).unwrap() {
        Role::Plane(table) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let plane = DataPlane::start(Config {
                workers: 1,
                bind: vec![Ipv4Addr::LOCALHOST.into()],
                drain_timeout: Duration::ZERO,
                ..Config::default()
            });
            let plane = plane.unwrap();
            let published = runtime.block_on(plane.publish(Table::try_from(*table).unwrap()));
            assert!(published.unbound.is_empty() && published.certificates.is_empty(), "{published:?}");
            assert_eq!(published.backends, [], "TLS with backends is set up");
            until_told();
        }
        Role::Floor(floor) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            std::thread::spawn(move || runtime.block_on(floor::serve(floor, say)));
            wait();
        }
    }
}

fn until_told() {
    say();
    wait();
}

fn say() {
    println!("serving");
    std::io::stdout().flush().unwrap();
}

fn wait() {
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
    std::process::exit(0);
}
