"""What surrounds a measurement: a directory, cores, a certificate, a fresh backend and a fresh proxy.

Fresh each time: a warm heap hides what a connection costs, and one measurement must not pay for another.
"""

import contextlib
import json
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import proxies
from child import Child
from identity import Identity

COUNTERS_TIMEOUT_S = 10


class Run:
    """What every measurement of one run shares."""

    def __init__(self, directory, binaries, bench, cores):
        self.root = Path(directory)
        self.binaries = binaries
        self.bench = bench
        self.proxy_core, self.load_core = cores
        self.identity = Identity(self.root)

    @contextlib.contextmanager
    def target(self, proxy):
        """A fresh proxy before a fresh backend, in an empty directory."""
        with tempfile.TemporaryDirectory(prefix=f"{proxy.name}-", dir=self.root) as directory:
            place = Place(Path(directory), self.proxy_core, self.identity)
            command = [self.binaries / "headrace-floor", "backend", "--listen", "127.0.0.1:0"]
            with Child("backend", command, self.load_core, place.directory) as backend:
                backend_port = proxies.announced_port(backend)
                child, port = proxy.start(place, backend_port)
                with child:
                    yield Target(child, port, backend_port, place.directory)


@dataclass(frozen=True)
class Place:
    """Where a proxy starts: its directory, its core, and the certificate that it serves with."""

    directory: Path
    core: int
    identity: Identity


@dataclass(frozen=True)
class Target:
    """A running proxy, the port of the backend behind it, and the directory of this measurement."""

    child: Child
    port: int
    backend_port: int
    directory: Path

    def counters(self):
        """What the backend has seen: open tunnels, and octets that floods have written."""
        url = f"http://127.0.0.1:{self.backend_port}/counters"
        with urllib.request.urlopen(url, timeout=COUNTERS_TIMEOUT_S) as response:
            return json.load(response)
