//! Networks of a test's own: a network namespace for the test, with a bridge in it, and one for each pod, on the bridge.
//!
//! A namespace lives as long as a process is in it. So nothing has to be removed by name, and nothing is left behind by a
//! test that was killed.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// The address of the test itself, where the backend, the publisher and the relay are. The network is the one that RFC 2544
/// sets aside for tests, and certificates of tests are for its low addresses.
pub(crate) const TEST: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);

/// The address of a pod, by its place.
pub(crate) fn pod(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 1, 11 + u8::try_from(place).expect("a few pods"))
}

/// Addresses that clients have as pods see them: all of this range are the test's own.
const CLIENTS: &str = "198.18.1.128/25";

/// One of those addresses.
pub(crate) fn client(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 1, 128 + u8::try_from(number % 126).expect("less than 126") + 1)
}

/// The bridge's name.
const BRIDGE: &str = "pods";

/// Says that a test runs inside already, and where it is to say that it did.
const INSIDE: &str = "HEADRACE_PODS_INSIDE";

/// How long a new process may take to get its namespace.
const UNSHARE_TIMEOUT: Duration = Duration::from_secs(10);

/// One test at a time: each keeps all cores busy.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test in a network namespace with a bridge: the test binary again, for this test only.
pub(crate) fn inside(name: &str, test: impl FnOnce() -> Result<()>) -> Result<()> {
    if let Some(done) = std::env::var_os(INSIDE) {
        make_bridge()?;
        test()?;
        return Ok(fs::write(done, name)?);
    }
    // One that failed has no claim to those that come after it.
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let directory = tempfile::tempdir()?;
    let done = directory.path().join("done");
    let mut command = unshare();
    if fs::metadata("/proc/self")?.uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg(std::env::current_exe()?).args(["--exact", name, "--nocapture"]).env(INSIDE, &done);
    let status = command.status().context("cannot run unshare")?;
    ensure!(status.success(), "{name}: {status}");
    // A name that is no test's runs none, and that is no failure to the test binary.
    ensure!(fs::read(&done).is_ok_and(|said| said == name.as_bytes()), "{name} did not run");
    Ok(())
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net");
    command
}

fn make_bridge() -> Result<()> {
    ip(&format!("link add {BRIDGE} type bridge"))?;
    ip(&format!("address add {TEST}/24 dev {BRIDGE}"))?;
    ip(&format!("link set {BRIDGE} up"))?;
    ip("link set lo up")?;
    ip(&format!("route add local {CLIENTS} dev lo"))
}

/// Runs `ip`.
fn ip(arguments: &str) -> Result<()> {
    run(Command::new("ip"), arguments)
}

fn run(mut command: Command, arguments: &str) -> Result<()> {
    let output = command.args(arguments.split(' ')).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A network namespace on the bridge.
pub(crate) struct Namespace {
    /// A process that does nothing in it but wait for the end of its input, which is that of the test.
    holder: Child,
}

impl Namespace {
    /// One with an address, by which it is reached from the bridge.
    pub(crate) fn with(address: Ipv4Addr) -> Result<Self> {
        let mut command = unshare();
        let holder = command.arg("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let namespace = Self { holder };
        let (id, deadline) = (namespace.holder.id(), Instant::now() + UNSHARE_TIMEOUT);
        let ours = fs::read_link("/proc/self/ns/net")?;
        while fs::read_link(namespace.path()).is_ok_and(|theirs| theirs == ours) {
            ensure!(Instant::now() < deadline, "{id} gets no network namespace");
            sleep(Duration::from_millis(1));
        }
        let end = format!("pod{}", address.octets()[3]);
        ip(&format!("link add {end} type veth peer name eth0 netns {id}"))?;
        ip(&format!("link set {end} master {BRIDGE} up"))?;
        let within = |arguments: &str| run(namespace.command("ip"), arguments);
        within(&format!("address add {address}/24 dev eth0"))?;
        within("link set eth0 up")?;
        within("link set lo up")?;
        Ok(namespace)
    }

    /// A command that will run in it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both fail only for one that has ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
