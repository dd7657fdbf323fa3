"""Three parts of a benchmark: speed, memory and a slow reader of tunnels. Each returns a list of plain samples.

A sample names its proxy and its HTTP version. What fails is a sample with `failed`, and the others go on.
"""

import contextlib
import time
from dataclasses import dataclass

import load
from child import Failed
from load import Shape

# Ten connections of ten tunnels: enough in flight that a proxy is busy, few enough that the load is not.
SPEED_SHAPE = Shape(10, 10)

# What memory is measured with: `many` has many tunnels to a connection, which HTTP/1.1 cannot.
MEMORY_SHAPES = {
    "tunnels": (Shape(50, 100), ("http2", "http3")),
    "connections": (Shape(1000, 1), ("http1", "http2", "http3")),
}
QUICK_MEMORY_SHAPES = {
    "tunnels": (Shape(5, 20), ("http2", "http3")),
    "connections": (Shape(30, 1), ("http1", "http2", "http3")),
}

# Echoes that are sent before any is measured, beside the load's own warm-up: the guard on one run of the load.
SPEED_TIMEOUT_S = 300
# How long thousands of handshakes may take, on a slow machine and through the slowest proxy.
OPEN_TIMEOUT_S = 240
# How long after the last handshake memory is read: timers that free what a handshake took have run by then.
SETTLE_S = 3
# How often a slow reader's proxy is looked at.
WATCH_EVERY_S = 0.25


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    rounds: int
    messages: int
    memory_shapes: dict
    slow_s: int
    is_quick: bool = False


FULL = Extent(rounds=5, messages=200_000, memory_shapes=MEMORY_SHAPES, slow_s=60)
QUICK = Extent(rounds=1, messages=5_000, memory_shapes=QUICK_MEMORY_SHAPES, slow_s=3, is_quick=True)


def speed(run, proxies, versions, extent, say):
    """Interleaved rounds: whatever else the machine does then falls on all of them, and ratios are taken per round."""
    samples = []
    for round_number in range(extent.rounds):
        # A B, B A: a machine that slows down steadily favours nobody.
        order = proxies if round_number % 2 == 0 else list(reversed(proxies))
        for version in versions:
            for proxy in order:
                if version not in proxy.versions:
                    continue
                sample = {"proxy": proxy.name, "version": version, "round": round_number}
                samples.append(attempt(sample, say, lambda: one_speed(run, proxy, version, extent)))
    return samples


def one_speed(run, proxy, version, extent):
    with run.target(proxy) as target:
        figures = load.echoes(run, proxy, target, version, SPEED_SHAPE, extent.messages, SPEED_TIMEOUT_S)
    return {
        "cpu_s_per_million": figures["cpu_seconds"] / figures["messages"] * 1e6,
        "messages_per_s": figures["messages"] / figures["seconds"],
        "cores": figures["cpu_seconds"] / figures["seconds"],
        "p50_us": figures["p50_us"],
        "p99_us": figures["p99_us"],
    }


def memory(run, proxies, versions, extent, say):
    """Resident memory that idle tunnels and connections add to a fresh process."""
    samples = []
    for per, (shape, shape_versions) in extent.memory_shapes.items():
        for version in (version for version in shape_versions if version in versions):
            for proxy in proxies:
                if version not in proxy.versions:
                    continue
                sample = {"proxy": proxy.name, "version": version, "per": per, "shape": str(shape)}
                samples.append(attempt(sample, say, lambda: one_memory(run, proxy, version, shape, per)))
    return samples


def one_memory(run, proxy, version, shape, per):
    with run.target(proxy) as target:
        before = target.child.rss_kb()
        # Ended here once memory was read, so that the hold is only a guard.
        with load.idle(run, proxy, target, version, shape, 2 * OPEN_TIMEOUT_S) as child:
            if proxy.is_floor and proxy.floor == "echo":
                child.wait_until("holding its streams", lambda: "holding" in child.stdout.read_text(), OPEN_TIMEOUT_S)
            else:
                all_open = lambda: target.counters()["tunnels"] >= shape.total  # noqa: E731
                child.wait_until(f"holding {shape.total} tunnels", all_open, OPEN_TIMEOUT_S)
            time.sleep(SETTLE_S)
            if not child.runs():
                raise Failed(f"the load did not hold its tunnels\n{child.tail()}")
            after = target.child.rss_kb()
            child.kill()
    count = shape.total if per == "tunnels" else shape.connections
    return {
        "kb_each": (after["VmRSS"] - before["VmRSS"]) / count,
        "anonymous_kb_each": (after["RssAnon"] - before["RssAnon"]) / count,
        "before_kb": before["VmRSS"],
        "after_kb": after["VmRSS"],
    }


def slow_reader(run, proxies, versions, extent, say):
    """What a proxy swallows when the client stops reading and the backend does not stop sending.

    All of them at once: a proxy that is blocked takes no CPU time, and only memory is looked at.
    """
    samples, readers = [], []
    with contextlib.ExitStack() as stack:
        for version in versions:
            for proxy in proxies:
                if proxy.is_floor or version not in proxy.versions:
                    continue
                sample = {"proxy": proxy.name, "version": version, "seconds": extent.slow_s}
                reader = SlowReader(run, proxy, version, extent)
                attempt(sample, say, lambda: reader.start(stack))
                samples.append(sample)
                readers.append(reader)
        until = time.monotonic() + extent.slow_s
        while time.monotonic() < until:
            time.sleep(WATCH_EVERY_S)
            for sample, reader in zip(samples, readers):
                if "failed" not in sample:
                    attempt(sample, quiet, reader.look)
        for sample, reader in zip(samples, readers):
            if "failed" not in sample:
                attempt(sample, say, reader.end)
    return samples


class SlowReader:
    """One client that reads nothing, and the proxy between it and a backend that sends as fast as it can."""

    def __init__(self, run, proxy, version, extent):
        self.run, self.proxy, self.version = run, proxy, version
        # The last readers begin when the first ones have waited for a while.
        self.hold_s = extent.slow_s + OPEN_TIMEOUT_S
        self.target = self.load = None
        self.before_kb = self.highest_kb = 0

    def start(self, stack):
        target = self.target = stack.enter_context(self.run.target(self.proxy))
        self.before_kb = target.child.rss_kb()["VmRSS"]
        self.load = load.slow_reader(self.run, self.proxy, target, self.version, self.hold_s)
        stack.enter_context(self.load)
        self.load.wait_until("sent any octets", lambda: target.counters()["written"] > 0, OPEN_TIMEOUT_S)
        return self.look()

    def look(self):
        now_kb = self.target.child.rss_kb()["VmRSS"]
        self.highest_kb = max(self.highest_kb, now_kb)
        return {"rss_growth_kb": now_kb - self.before_kb, "highest_rss_growth_kb": self.highest_kb - self.before_kb}

    def end(self):
        if not self.load.runs():
            raise Failed(f"the slow reader did not stay\n{self.load.tail()}")
        return {**self.look(), "backend_wrote_octets": self.target.counters()["written"]}


def quiet(_):
    """Says nothing."""


def attempt(sample, say, measure):
    """Adds figures to a sample, or why there are none."""
    label = " ".join(str(sample[key]) for key in ("proxy", "version", "per", "round") if key in sample)
    began = time.monotonic()
    try:
        figures = measure()
        sample.update(figures)
        said = ", ".join(f"{key} {round(value, 2):,}" for key, value in figures.items())
        say(f"{label}: {said} ({time.monotonic() - began:.1f} s)")
    except (Failed, OSError) as error:
        sample["failed"] = str(error)
        say(f"{label}: FAILED: {error}")
    return sample
