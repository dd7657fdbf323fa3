//! What a WebTransportRoute of mode Streams is for: SSH, PostgreSQL and DNS, with servers and clients that know nothing of
//! it, over `headrace connect -L`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use headrace_e2e::{Headrace, Process, Reached as _, port};

use crate::peers::GUARD;
use crate::stage::{Ground, Said as _, Stage, Target, To};

/// Octets that go through one SSH connection in each direction.
const SSH_OCTETS: usize = 20_000_000;

/// DNS names that are asked for.
const NAMES: usize = 200;

/// Octets of a DNS answer that has to go over TCP.
const LARGE_ANSWER: usize = 2_000;

/// `headrace connect -L` to a target, which listens where it is told.
fn mesh(stage: &Stage, target: &str, listen: &[String]) -> Result<Process> {
    let mut command = Command::new(Headrace::binary()?);
    command.arg("connect").arg(stage.url(target)).arg("--ca").arg(stage.ca());
    command.arg("--resolve").arg(format!("localhost:{}:127.0.0.1", stage.https));
    for listen in listen {
        command.args(["-L", listen]);
    }
    let mut process = Process::start(&format!("mesh-{target}"), &mut command, stage.directory())?;
    process.wait_until(GUARD, |process| {
        let said = process.stderr();
        listen.iter().all(|listen| said.contains(&format!("listening on {listen}"))).then_some(())
    })?;
    Ok(process)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}: has scripts/setup test been run?"))?;
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Who runs this test.
fn user() -> Result<String> {
    Ok(output(Command::new("id").arg("-un"))?.trim().to_owned())
}

fn key(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path))?;
    Ok(path)
}

/// An SSH server that lets this user in with one key.
fn sshd(directory: &Path, port: u16) -> Result<Process> {
    let host = key(directory, "ssh_host_key")?;
    let login = key(directory, "ssh_login_key")?;
    let configuration = directory.join("sshd_config");
    let text = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\nUsePAM no\n\
         StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
        host.display(),
        login.display(),
    );
    fs::write(&configuration, text)?;
    if user()? == "root" {
        // Where it locks itself up before anybody has logged in.
        fs::create_dir_all("/run/sshd")?;
    }
    // It starts itself anew for each connection, and wants to know where it is.
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(&configuration);
    let mut process = Process::start("sshd", &mut command, directory)?;
    process.wait_until(GUARD, |process| process.stderr().contains("Server listening").then_some(()))?;
    Ok(process)
}

fn ssh(directory: &Path, port: u16) -> Result<Command> {
    let host = fs::read_to_string(directory.join("ssh_host_key.pub"))?;
    let known = directory.join("known_hosts");
    fs::write(&known, format!("[127.0.0.1]:{port} {host}"))?;
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-p", &port.to_string()]).arg("-i").arg(directory.join("ssh_login_key"));
    let known = format!("UserKnownHostsFile={}", known.display());
    for option in ["BatchMode=yes", "StrictHostKeyChecking=yes", &known] {
        command.args(["-o", option]);
    }
    command.arg(format!("{}@127.0.0.1", user()?));
    Ok(command)
}

#[test]
fn an_ssh_server() -> Result<()> {
    let ground = Ground::new()?;
    let server = port::free()?;
    let _sshd = sshd(ground.directory(), server)?;
    let stage = ground.serve(&[Target { name: "ssh", to: To::Streams { tcp: Some(server), udp: None } }])?;
    let local = port::free()?;
    let mesh = mesh(&stage, "ssh", &[format!("tcp:127.0.0.1:{local}")])?;
    let directory = stage.directory();

    let said = output(ssh(directory, local)?.arg("echo $SSH_CONNECTION")).with_context(|| mesh.tail()).said(&stage)?;
    ensure!(said.trim().ends_with(&format!(" 127.0.0.1 {server}")), "{said}");

    // There and back again, while others come and go.
    let content = "0123456789abcdef".repeat(SSH_OCTETS / 16);
    let mut bulk = Process::start_with_input("bulk", ssh(directory, local)?.arg("cat"), directory, &content)?;
    for number in 0..5 {
        assert_eq!(output(ssh(directory, local)?.arg(format!("echo {number}")))?, format!("{number}\n"));
    }
    ensure!(bulk.wait(GUARD)?.success(), "{}\n{}", bulk.tail(), mesh.tail());
    ensure!(bulk.stdout() == content, "{} octets came back", bulk.stdout().len());

    // A command's code, after its end.
    let status = ssh(directory, local)?.arg("exit 42").status()?;
    assert_eq!(status.code(), Some(42));
    Ok(())
}

/// A directory of PostgreSQL's server programs, which are on nobody's path.
fn postgresql() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("no PostgreSQL: has scripts/setup test been run?")?;
    let mut found: Vec<PathBuf> = versions.flatten().map(|version| version.path().join("bin")).collect();
    found.retain(|directory| directory.join("initdb").is_file());
    found.sort();
    found.pop().context("no PostgreSQL: has scripts/setup test been run?")
}

/// A command as the user that PostgreSQL runs as: it refuses to be root.
fn unprivileged(program: PathBuf) -> Result<Command> {
    if user()? != "root" {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    Ok(command)
}

/// A PostgreSQL of the test's own, which trusts everybody.
struct Postgres {
    process: Process,
    _data: tempfile::TempDir,
}

impl Postgres {
    fn start(directory: &Path, port: u16) -> Result<Self> {
        let programs = postgresql()?;
        let data = tempfile::TempDir::with_prefix("headrace-postgresql-")?;
        if user()? == "root" {
            output(Command::new("chown").arg("postgres:postgres").arg(data.path()))?;
        }
        let mut initdb = unprivileged(programs.join("initdb"))?;
        initdb.current_dir("/").args(["--auth=trust", "--username=test", "--no-sync", "--encoding=UTF8", "-D"]);
        output(initdb.arg(data.path()))?;
        let mut command = unprivileged(programs.join("postgres"))?;
        command.current_dir("/").arg("-D").arg(data.path()).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
        command.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
        let mut process = Process::start("postgres", &mut command, directory)?;
        process.wait_until(GUARD, |process| process.stderr().contains("ready to accept connections").then_some(()))?;
        Ok(Self { process, _data: data })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A fast shutdown: its children hold on to what a kill would leave. What fails here has ended already.
        let _ = self.process.signal("INT").and_then(|()| self.process.wait(GUARD));
    }
}

#[test]
fn a_postgresql() -> Result<()> {
    let ground = Ground::new()?;
    let server = port::free()?;
    let _postgres = Postgres::start(ground.directory(), server)?;
    let stage = ground.serve(&[Target { name: "postgresql", to: To::Streams { tcp: Some(server), udp: None } }])?;
    let local = port::free()?;
    let mesh = mesh(&stage, "postgresql", &[format!("tcp:127.0.0.1:{local}")])?;
    let run = |program: PathBuf, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-U", "test", "-p", &local.to_string()]).args(arguments);
        output(&mut command).with_context(|| mesh.tail()).said(&stage)
    };

    let rows = "copy (select repeat('x', 100) from generate_series(1, 100000)) to stdout";
    let copied = run("psql".into(), &["-X", "-c", rows, "postgres"])?;
    assert_eq!((copied.lines().count(), copied.len()), (100_000, 10_100_000));

    // Ten connections that each do a transaction after the other.
    let pgbench = postgresql()?.join("pgbench");
    run(pgbench.clone(), &["-i", "-q", "postgres"])?;
    let said = run(pgbench, &["-c", "10", "-t", "50", "postgres"])?;
    ensure!(said.contains("number of transactions actually processed: 500/500"), "{said}");
    ensure!(said.contains("number of failed transactions: 0 "), "{said}");
    Ok(())
}

/// A DNS server with some names of its own, and one whose answer is large.
fn dnsmasq(directory: &Path, port: u16) -> Result<Process> {
    let hosts = directory.join("hosts");
    let lines: Vec<_> =
        (0..NAMES).map(|number| format!("192.0.2.{} host{number}.peers.test\n", number % 250)).collect();
    fs::write(&hosts, lines.concat())?;
    let mut command = Command::new("/usr/sbin/dnsmasq");
    command.args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file="]);
    command.args(["--user=", "--log-facility=-", "--bind-interfaces", "--listen-address=127.0.0.1"]);
    command.arg(format!("--port={port}")).arg("--addn-hosts").arg(&hosts);
    let strings = vec!["x".repeat(200); LARGE_ANSWER / 200].join(",");
    command.arg(format!("--txt-record=large.peers.test,{strings}"));
    let mut process = Process::start("dnsmasq", &mut command, directory)?;
    process.wait_until(GUARD, |process| process.stderr().contains("started").then_some(()))?;
    Ok(process)
}

#[test]
fn a_dns_server() -> Result<()> {
    let ground = Ground::new()?;
    let server = port::free()?;
    let _dnsmasq = dnsmasq(ground.directory(), server)?;
    let to = To::Streams { tcp: Some(server), udp: Some(server) };
    let stage = ground.serve(&[Target { name: "dns", to }])?;
    let local = port::free()?;
    let mesh = mesh(&stage, "dns", &[format!("udp:127.0.0.1:{local}"), format!("tcp:127.0.0.1:{local}")])?;
    let dig = |arguments: &[&str]| {
        let mut command = Command::new("dig");
        // Datagrams may be lost: it asks again.
        command.args(["@127.0.0.1", "-p", &local.to_string(), "+tries=5", "+timeout=2"]).args(arguments);
        output(&mut command).with_context(|| mesh.tail()).said(&stage)
    };

    let file = stage.directory().join("names");
    let names: Vec<_> = (0..NAMES).map(|number| format!("host{number}.peers.test A\n")).collect();
    fs::write(&file, names.concat())?;
    let file = file.to_str().context("the directory has a strange name")?;
    let expected: Vec<_> = (0..NAMES).map(|number| format!("192.0.2.{}\n", number % 250)).collect();
    assert_eq!(dig(&["+short", "-f", file])?, expected.concat(), "over UDP");
    assert_eq!(dig(&["+short", "+tcp", "-f", file])?, expected.concat(), "over TCP");

    // Cut off over UDP, and then asked for over TCP, where the same port is the same server.
    let answer = dig(&["large.peers.test", "TXT", "+bufsize=512"])?;
    ensure!(answer.contains("Truncated, retrying in TCP mode") && answer.contains("status: NOERROR"), "{answer}");
    ensure!(answer.matches('x').count() >= LARGE_ANSWER, "{answer}");
    Ok(())
}

#[test]
fn a_route_without_datagrams_takes_none() -> Result<()> {
    let ground = Ground::new()?;
    let server = port::free()?;
    let _dnsmasq = dnsmasq(ground.directory(), server)?;
    let stage = ground.serve(&[Target { name: "tcp-only", to: To::Streams { tcp: Some(server), udp: None } }])?;
    let local = port::free()?;
    let listen = [format!("udp:127.0.0.1:{local}"), format!("tcp:127.0.0.1:{local}")];
    let _mesh = mesh(&stage, "tcp-only", &listen)?;
    let dig = |arguments: &[&str]| {
        let mut dig = Command::new("dig");
        dig.args(["@127.0.0.1", "-p", &local.to_string(), "+tries=1", "+timeout=1", "+short", "host1.peers.test"]);
        dig.args(arguments);
        dig
    };
    let over_udp = output(&mut dig(&[]));
    ensure!(over_udp.is_err(), "{over_udp:?}");
    assert_eq!(output(&mut dig(&["+tcp"]))?, "192.0.2.1\n");
    Ok(())
}
