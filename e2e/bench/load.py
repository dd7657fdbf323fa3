"""The load: `headrace bench` for what speaks HTTP, `headrace-floor load` for the floors, with the same shapes.

Must not know what is made of the figures.
"""

import json
from dataclasses import dataclass

from child import Child, Failed

# The message of a small echo: what a chat line or a game's tick takes.
MESSAGE_OCTETS = 64


@dataclass(frozen=True)
class Shape:
    """So many connections with so many tunnels each."""

    connections: int
    tunnels: int

    @property
    def total(self):
        return self.connections * self.tunnels

    def __str__(self):
        return f"{self.connections} x {self.tunnels}"


def echoes(run, proxy, target, version, shape, messages, timeout_s):
    """A closed loop of echoes. Returns messages, seconds, cpu_seconds (of the target), p50_us and p99_us."""
    command = head(run, proxy, target, version, shape, "/echo")
    command += ["--messages", messages, "--size", MESSAGE_OCTETS]
    if not proxy.is_floor:
        command += ["--output", "json"]
    with Child("load", command, run.load_core, target.directory) as child:
        text = child.output(timeout_s)
    try:
        # The last line: what comes before is for people.
        report = json.loads(text.strip().splitlines()[-1])
        figures = {key: report[key] for key in ("messages", "seconds", "cpu_seconds", "p50_us", "p99_us")}
    except (ValueError, LookupError) as error:
        raise Failed(f"the load's report cannot be used ({error!r}): {text}") from error
    if figures["messages"] < messages or report.get("errors"):
        raise Failed(f"{figures['messages']} of {messages} echoes came back: {text}")
    return figures


def idle(run, proxy, target, version, shape, hold_s):
    """Tunnels that say nothing for so long."""
    command = head(run, proxy, target, version, shape, "/echo")
    if not proxy.is_floor:
        command.append("--idle")
    return Child("load", [*command, "--hold", hold_s], run.load_core, target.directory)


def slow_reader(run, proxy, target, version, seconds):
    """One tunnel to a backend that sends as fast as it can, and of which nothing is read for so long."""
    command = head(run, proxy, target, version, Shape(1, 1), "/flood")
    return Child("load", [*command, "--slow-reader", seconds], run.load_core, target.directory)


def head(run, proxy, target, version, shape, path):
    shapes = ["--connections", shape.connections, "--tunnels", shape.tunnels]
    shapes += ["--ca", run.identity.ca, "--pid", target.child.pid]
    if proxy.is_floor:
        floor = [run.binaries / "headrace-floor", "load", "--floor", proxy.floor]
        return [*floor, "--server", f"127.0.0.1:{target.port}", *shapes]
    url = f"wss://localhost:{target.port}{path}"
    return [run.bench, "bench", "--url", url, f"--{version}", *shapes]
