//! The program as a pod runs it: its flags, its log, and its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use crate::authority::Authority;
use crate::controller::Controller;
use crate::http::{Backend, get};
use crate::patience::eventually;
use crate::pod::{Volumes, answers};
use crate::port::free_port;
use crate::table::{forwarding, with_https};

/// Killed at the end of a test, however that ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Program {
    fn start(volumes: &Volumes, controller: u16, admin: u16) -> Self {
        let log = std::fs::File::create(volumes.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_headrace-dataplane"));
        command
            .arg("--controller")
            .arg(format!("localhost:{controller}"))
            .arg("--ca-file")
            .arg(volumes.ca_file())
            .arg("--token-file")
            .arg(volumes.token_file())
            .arg("--table-directory")
            .arg(volumes.table_directory())
            .args(["--admin-address", &format!("127.0.0.1:{admin}"), "--bind", "127.0.0.1", "--workers", "1"])
            .args(["--access-log", "stdout", "--drain-timeout-seconds", "5", "--retry", "always"])
            // By the environment, as every flag can be.
            .env("HEADRACE_DRAIN_DELAY_SECONDS", "3")
            .env("HEADRACE_LOG_FORMAT", "json")
            .env("RUST_LOG", "trace")
            .stdout(Stdio::null())
            .stderr(log);
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: &str) {
        let told = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        eventually("the program's end", async || self.0.try_wait().unwrap()).await.code()
    }
}

#[tokio::test]
async fn told_to_end_it_leaves_serves_on_drains_and_ends_well() {
    for signal in ["-TERM", "-INT"] {
        let ca = Authority::new();
        let volumes = Volumes::new(&ca);
        let (one, two) = (Backend::named("one").await, Backend::named("two").await);
        let (port, https, admin) = (free_port(), free_port(), free_port());
        let (chain, key) = ca.issue_pem("a.example.com");
        let table = |backend| with_https(forwarding(port, backend), https, &chain, &key);
        let controller = Controller::leading(free_port(), &ca, 1).await;
        let mut program = Program::start(&volumes, controller.port, admin);
        controller.acknowledged(controller.publish(&table(one.address))).await;
        answers(port, "one").await;

        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, admin));
        assert_eq!(get(admin, "/readyz").await.unwrap(), (200, "serving table 1\n".to_owned()));
        program.signal(signal);
        eventually("draining", async || {
            (get(admin, "/readyz").await.ok()? == (503, "draining\n".to_owned())).then_some(())
        })
        .await;
        // Not everybody has heard of it yet: endpoints still change under new connections.
        controller.acknowledged(controller.publish(&table(two.address))).await;
        answers(port, "two").await;
        assert_eq!(program.exit_code().await, Some(0), "{signal}");

        let log = std::fs::read_to_string(volumes.path().join("log")).unwrap();
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said = |message: &str| lines.iter().any(|line| line["message"] == message);
        for message in ["started", "subscribed", "the table is served", "draining", "drained"] {
            assert!(said(message), "{signal}: no {message:?} in\n{log}");
        }
        let secret = key.lines().nth(1).unwrap();
        assert!(!log.contains(secret) && !log.contains(crate::controller::TOKEN), "secrets are nobody's to read");
    }
}
