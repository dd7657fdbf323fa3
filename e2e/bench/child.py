"""Child processes: started on chosen cores, ended by process id, and read through /proc (proc(5)).

Must not know what runs in them.
"""

import os
import resource
import subprocess
import time
from pathlib import Path

# How often a wait looks again.
LOOK_EVERY_S = 0.02
# How much of a child's output a failure shows, from its end.
SHOWN_OCTETS = 2000


class Failed(Exception):
    """Something that should run did not."""


def raise_descriptor_limit():
    """Thousands of tunnels are thousands of sockets: takes what the hard limit allows, for the children too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Child:
    """A running process on one core. Leaving its context ends it."""

    def __init__(self, name, command, core, directory, environment=None):
        self.name = name
        self.stdout = Path(directory) / f"{name}.out"
        self.stderr = Path(directory) / f"{name}.err"
        with open(self.stdout, "wb") as stdout, open(self.stderr, "wb") as stderr:
            try:
                self.process = subprocess.Popen(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=directory,
                    env={**os.environ, **(environment or {})},
                    # As `taskset -c` would, before the first thread of the child starts.
                    preexec_fn=lambda: os.sched_setaffinity(0, {core}),
                )
            except OSError as error:
                raise Failed(f"cannot start {name}: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        """Ends it, without the grace that it would give its connections: nothing of it is measured any more."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def runs(self):
        return self.process.poll() is None

    def wait_until(self, what, look, timeout_s):
        """The first truth that `look` returns; fails when the child ends first, or at the timeout."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = look()
            if found:
                return found
            if not self.runs():
                raise Failed(f"{self.name} ended with {self.process.returncode} before it was {what}\n{self.tail()}")
            if time.monotonic() >= deadline:
                raise Failed(f"{self.name} was not {what} after {timeout_s} s\n{self.tail()}")
            time.sleep(LOOK_EVERY_S)

    def output(self, timeout_s):
        """Waits for its good end, and returns what it said."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} still ran after {timeout_s} s\n{self.tail()}") from None
        if code != 0:
            raise Failed(f"{self.name} ended with {code}\n{self.tail()}")
        return self.stdout.read_text()

    def tail(self):
        parts = []
        for path in (self.stdout, self.stderr):
            text = path.read_bytes()[-SHOWN_OCTETS:].decode(errors="replace").strip()
            if text:
                parts.append(f"--- {path.name} ---\n{text}")
        return "\n".join(parts)

    def cpu_s(self):
        """CPU seconds, user and system, of all of its threads."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        # The name may have blanks and parentheses of its own; utime and stime are fields 14 and 15.
        fields = stat.rpartition(") ")[2].split(" ")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_kb(self):
        """Resident memory: all of it, and the part that is the process's own (no file behind it)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return {name: int(lines[name].split()[0]) for name in ("VmRSS", "RssAnon")}
