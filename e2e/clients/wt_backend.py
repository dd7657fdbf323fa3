"""A WebTransport server with aioquic, which speaks draft 02. The backend of webtransport_go, command by command.

Owns the server's side of sessions in the black-box tests; streams are wt_h3's. Says on standard output, one JSON object a
line, where it listens, which sessions came and how they ended. Must not know what stands between it and the client.

    wt_backend.py --certificate tls.pem --key tls.key

A command is a line that begins with `!`, first on a bidirectional stream; every other stream is echoed.

    !open bi N       opens N streams with a greeting on each, and tells what came back on them
    !open uni N      the same, without an answer
    !reset CODE      resets its side of this stream
    !stop CODE       asks for no more of this stream
    !await reset     tells with which code the client reset an echo
    !await stop      tells with which code the client stopped one
    !close CODE WHY  closes the session
    !rude WHAT       closes it as nobody may: with a long reason, without UTF-8, without a code, with octets after it
    !rude flood N    sends capsules of so many octets that nobody knows, and tells when they have been taken
"""

import argparse
import asyncio
import json

from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated

from wt_client import Stopped, from_wire
from wt_h3 import TIMEOUT_S, WT_CLOSE_SESSION, Session, capsules, close_capsule, to_wire

# How much of an unknown capsule is sent at once.
FLOOD_PIECE = 60_000
# Ends that draft-ietf-webtrans-http3 forbids (section 6).
CLOSE = b"\x68\x43"
RUDE = {
    "reason": CLOSE + b"\x44\x05" + bytes(4) + b"x" * 1025,
    "utf8": CLOSE + b"\x05" + bytes(4) + b"\xff",
    "code": CLOSE + b"\x02" + bytes(2),
    "after": CLOSE + b"\x04" + bytes(4) + b"x",
}


def say(**what):
    print(json.dumps(what), flush=True)


class Behind(Session):
    """One session as the backend has it."""

    def __init__(self, server, stream_id):
        super().__init__(server, stream_id)
        self.resets = asyncio.Queue()
        self.stops = asyncio.Queue()
        self.tasks = set()
        self.watching = None

    def start(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def stream(self, stream_id):
        """A stream of the session, which begins to be served if the client opened it."""
        if stream_id not in self.streams:
            stream = self.streams[stream_id] = Streamed()
            if stream_id % 4 == 0:
                self.start(self.both_ways(stream_id, stream))
            else:
                self.start(self.one_way(stream))
        return self.streams[stream_id]

    async def one_way(self, stream):
        self.open(await stream.whole(), one_way=True)

    async def both_ways(self, stream_id, stream):
        first = await stream.more()
        if first.startswith(b"!"):
            while b"\n" not in first:
                first += await stream.more()
            await self.obey(stream_id, first[1:].split(b"\n")[0].decode().split())
            return
        stopped = self.client.stop(stream_id)
        stopped.add_done_callback(lambda code: self.stops.put_nowait(from_wire(code.result())))
        while first:
            if not stopped.done():
                self.send(stream_id, first)
            first = await stream.more()
        if (how := stream.ended.result()) == "fin":
            if not stopped.done():
                self.send(stream_id, b"", True)
        elif isinstance(how, int):
            self.resets.put_nowait(from_wire(how))
            self.client._quic.reset_stream(stream_id, how)
            self.client.transmit()

    async def obey(self, stream_id, words):
        match words:
            case ["open", kind, number]:
                work = [self.greet(kind == "bi", index) for index in range(int(number))]
                self.send(stream_id, json.dumps(sorted(await asyncio.gather(*work))).encode(), True)
            case ["reset", code]:
                self.client._quic.reset_stream(stream_id, to_wire(int(code)))
                self.client.transmit()
            case ["stop", code]:
                self.client._quic.stop_stream(stream_id, to_wire(int(code)))
                self.send(stream_id, b"", True)
            case ["await", what]:
                ends = self.resets if what == "reset" else self.stops
                self.send(stream_id, str(await asyncio.wait_for(ends.get(), TIMEOUT_S)).encode(), True)
            case ["close", code, *reason]:
                say(closed=int(code), reason=" ".join(reason), remote=False)
                self.client.http.send_data(self.id, close_capsule(int(code), " ".join(reason)), True)
                self.client.transmit()
            case ["rude", "flood", octets]:
                # Of a type that nobody knows, with its length in four octets.
                capsule = b"\x17" + (0x8000_0000 + FLOOD_PIECE).to_bytes(4, "big") + bytes(FLOOD_PIECE)
                for _ in range(int(octets) // FLOOD_PIECE):
                    self.client.http.send_data(self.id, capsule, False)
                    self.client.transmit()
                    await asyncio.sleep(0)
                while not self.client._quic._streams[self.id].sender.buffer_is_empty:
                    await asyncio.sleep(0.01)
                self.send(stream_id, b"taken", True)
            case ["rude", what]:
                self.client.http.send_data(self.id, RUDE[what], False)
                self.client.transmit()
            case _:
                self.send(stream_id, b"no such command", True)

    async def greet(self, both, index):
        greeting = f"greeting {index}"
        _, stream = self.open(greeting.encode(), one_way=not both)
        return (await stream.whole()).decode() if both else greeting

    async def watch(self):
        """Until the client's side of the CONNECT stream ends; datagrams are echoed all the while."""
        self.start(self.echo_datagrams())
        how = await self.control.ended
        said = [value for kind, value in capsules(bytes(self.control.data)) if kind == WT_CLOSE_SESSION]
        for value in said:
            say(closed=int.from_bytes(value[:4], "big"), reason=value[4:].decode(), remote=True)
        if not said:
            say(lost=str(how))
        if how == "fin":
            # Nothing, where this side was closed before.
            try:
                self.client.http.send_data(self.id, b"", True)
                self.client.transmit()
            except AssertionError:
                pass

    def end(self):
        """Nothing more comes: whoever waits has told what there was to tell, but for the session's own end."""
        for task in self.tasks - {self.watching}:
            task.cancel()

    async def echo_datagrams(self):
        while True:
            datagram = await self.datagrams.get()
            self.client.http.send_datagram(self.id, datagram)
            self.client.transmit()


class Streamed:
    """What came on a stream, as it comes, and then how it ended."""

    def __init__(self):
        self.data = bytearray()
        self.taken = 0
        self.came = asyncio.Event()
        self.ended = asyncio.get_running_loop().create_future()

    def on_data(self, data, fin):
        self.data += data
        self.came.set()
        if fin:
            self.on_end("fin")

    def on_end(self, how):
        if not self.ended.done():
            self.ended.set_result(how)
        self.came.set()

    async def more(self):
        """What came since it was asked for last; nothing at the end."""
        while self.taken == len(self.data) and not self.ended.done():
            self.came.clear()
            await self.came.wait()
        new = bytes(self.data[self.taken :])
        self.taken = len(self.data)
        return new

    async def whole(self):
        while await self.more():
            pass
        return bytes(self.data)


class Server(Stopped):
    """One HTTP/3 connection from Headrace, with many sessions."""

    def http_event_received(self, event):
        if isinstance(event, HeadersReceived) and event.stream_id not in self.sessions:
            self.answer(event)
        else:
            super().http_event_received(event)

    def answer(self, event):
        headers = {name.decode(): value.decode() for name, value in event.headers}
        if headers.get(":protocol") != "webtransport":
            self.http.send_headers(event.stream_id, [(b":status", b"400")], True)
            self.transmit()
            return
        session = self.sessions[event.stream_id] = Behind(self, event.stream_id)
        session.watching = session.start(session.watch())
        say(session=headers[":path"], protocol=headers[":protocol"], host=headers[":authority"])
        self.http.send_headers(
            event.stream_id, [(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")]
        )
        self.transmit()

    def quic_event_received(self, event):
        super().quic_event_received(event)
        if isinstance(event, ConnectionTerminated):
            for session in self.sessions.values():
                session.end()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()

    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=False, max_datagram_frame_size=65536)
    configuration.load_cert_chain(arguments.certificate, arguments.key)
    server = await serve("127.0.0.1", arguments.port, configuration=configuration, create_protocol=Server)
    say(listening=server._transport.get_extra_info("sockname")[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
