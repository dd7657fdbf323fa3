"""Headrace beside Envoy, Caddy and a bare quinn endpoint, in one run: `python3 e2e/bench`, or `make bench`.

Writes tables to standard output, and bench.json and bench.md to target/bench. Ends with 1 when a part that should run
did not. Needs the release binaries of headrace and headrace-floor, and openssl; peers that are not installed are left
out with a line.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import child
import parts
import proxies
import report
from run import Run
from sessions import sessions

ROOT = Path(__file__).resolve().parents[2]
# Below this, nothing but ourselves runs.
QUIET_LOAD_AVERAGE = 0.7
PARTS = {"speed": parts.speed, "memory": parts.memory, "slow_reader": parts.slow_reader, "sessions": sessions}


def arguments():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds per part: that everything runs, no figures")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--http", action="append", choices=proxies.HTTP_VERSIONS, help="only this version")
    parser.add_argument("--proxy", action="append", choices=proxies.NAMES, help="only this proxy or floor")
    parser.add_argument("--rounds", type=int, help="rounds of the speed part")
    parser.add_argument("--messages", type=int, help="echoes of one round")
    parser.add_argument("--slow", type=int, metavar="SECONDS", help="how long the slow reader does not read")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release", help="where the binaries are")
    parser.add_argument("--bench", type=Path, help="the `headrace` that makes the load, when not the one measured")
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench", help="where the report goes")
    return parser.parse_args()


def main():
    options = arguments()
    # SIGTERM unwinds like an error, so that every child is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    child.raise_descriptor_limit()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        say("two cores are needed: one for the proxy, one for the load and the backend")
        return 1
    binaries = options.binaries.resolve()
    bench = (options.bench or binaries / "headrace").resolve()
    for needed in (bench, binaries / "headrace-floor"):
        if not needed.is_file():
            say(f"{needed} is not built: cargo build --release -p headrace -p headrace-floor")
            return 1
    try:
        chosen = choose(options, binaries)
    except child.Failed as error:
        say(str(error))
        return 1
    warn_of_noise()
    results, extent = begin(options, chosen)
    versions = options.http or proxies.HTTP_VERSIONS
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        run = Run(directory, binaries, bench, cores)
        for name in options.part or PARTS:
            say(f"{name}:")
            results[name] = PARTS[name](run, chosen, versions, extent, say)
    return end(options, results)


def choose(options, binaries):
    """The proxies that are there. Peers may be missing, our own may not."""
    chosen = []
    for proxy in proxies.all_of_them(binaries):
        if options.proxy and proxy.name not in options.proxy:
            continue
        missing = proxy.missing()
        if missing and not proxy.is_optional:
            raise child.Failed(missing)
        if missing:
            say(f"{proxy.title} is left out: {missing}")
        else:
            chosen.append(proxy)
    return chosen


def warn_of_noise():
    """Says when other programs run: memory is right all the same, CPU time somewhat, latency not at all."""
    load_average = os.getloadavg()[0]
    if load_average > QUIET_LOAD_AVERAGE:
        say(f"the machine is busy (load average {load_average:.1f}): speed will be lower and less certain than it is")


def begin(options, chosen):
    extent = parts.QUICK if options.quick else parts.FULL
    given = {"rounds": options.rounds, "messages": options.messages, "slow_s": options.slow}
    extent = replace(extent, **{name: value for name, value in given.items() if value})
    results = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "quick": options.quick,
        "extent": {"rounds": extent.rounds, "messages": extent.messages, "speed_shape": str(parts.SPEED_SHAPE)},
        "proxies": [
            {"name": proxy.name, "title": proxy.title, "version": proxy.version(), "is_floor": proxy.is_floor}
            for proxy in chosen
        ],
    }
    return results, extent


def end(options, results):
    text = report.markdown(results)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    (options.out / "bench.md").write_text(text)
    print(text, flush=True)
    say(f"written to {options.out}/bench.md and bench.json")
    samples = [sample for name in PARTS for sample in results.get(name) or []]
    failed = sum("failed" in sample for sample in samples)
    if failed or not samples:
        say(f"{failed} of {len(samples)} measurements failed")
        return 1
    return 0


def machine():
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"


def say(line):
    print(f"bench: {line}", file=sys.stderr, flush=True)


sys.exit(main())
