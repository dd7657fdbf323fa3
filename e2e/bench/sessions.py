"""The part of WebTransport: runs dataplane/benches/sessions, which brings its own load and backend, and takes its samples.

Must not know what a sample's figures mean.
"""

import json
import subprocess
from pathlib import Path

from child import Failed

ROOT = Path(__file__).resolve().parents[2]
# Its name of each proxy here. Caddy carries no sessions.
TARGETS = {"headrace": ("session", "streams"), "envoy": ("envoy",), "quic-relay": ("relay",), "quic-echo": ("echo",)}
# All of its figures, of all proxies, on a slow machine.
TIMEOUT_S = 3600


def sessions(run, proxies, versions, extent, say):
    """Sessions exist on HTTP/3 alone."""
    if "http3" not in versions:
        return []
    out = run.root / "sessions.json"
    command = ["cargo", "bench", "--quiet", "-p", "headrace-dataplane", "--bench", "sessions", "--"]
    command += ["--json", out, "--proxy-core", run.proxy_core, "--load-core", run.load_core]
    command += ["--quick"] if extent.is_quick else ["--rounds", extent.rounds]
    for proxy in proxies:
        for target in TARGETS.get(proxy.name, ()):
            command += ["--target", target]
        if proxy.name == "envoy":
            command += ["--envoy", proxy.binary]
    if "--target" not in command:
        return []
    try:
        # What it says meanwhile is for whoever looks on; its table is part of the report.
        subprocess.run(
            [str(word) for word in command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True, timeout=TIMEOUT_S
        )
        return json.loads(out.read_text())
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        say(f"sessions: FAILED: {error}")
        return [{"target": "all", "title": "all", "figure": "all", "name": "all", "failed": str(Failed(error))}]
