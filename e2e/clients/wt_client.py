"""WebTransport over HTTP/3 with aioquic: the client of webtransport_go, step by step, in another implementation.

Owns the steps and what they tell; sessions and streams are wt_h3's. Says on standard output, as one JSON object, what it
saw; whoever runs it judges. Must not know what stands between it and the backend.

    wt_client.py --url https://localhost:8443/sessions --ca ca.pem
    wt_client.py --url https://localhost:8443/mesh --ca ca.pem --plain
"""

import argparse
import asyncio
import json
import ssl
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StopSendingReceived

from wt_h3 import FIRST_CODE, TIMEOUT_S, WT_CLOSE_SESSION, Client, capsules, to_wire

STREAMS = 100
OCTETS = 20_000
FEW = 5
# What the client resets and stops with, and what it has the backend reset and stop with.
RESETS, STOPS, BACKEND_RESETS, BACKEND_STOPS = 77, 78, 79, 4_000_000_000


def from_wire(code):
    """A code of the application's, or what else came in its place, as text."""
    if not isinstance(code, int) or code < FIRST_CODE or (code - 0x21) % 0x1F == 0:
        return str(code)
    shifted = code - FIRST_CODE
    return shifted - shifted // 0x1F


class Stopped(Client):
    """A client that keeps which of its streams were stopped."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.stopped = {}

    def stop(self, stream_id):
        return self.stopped.setdefault(stream_id, asyncio.get_running_loop().create_future())

    def quic_event_received(self, event):
        if isinstance(event, StopSendingReceived) and not self.stop(event.stream_id).done():
            self.stop(event.stream_id).set_result(event.error_code)
        super().quic_event_received(event)


async def told(session, line):
    """Runs a command of the backend's to its end."""
    return (await session.open(f"{line}\n".encode())[1].whole()).decode().strip()


async def reached(stream, size):
    async def wait():
        while len(stream.data) < size and not stream.ended.done():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), TIMEOUT_S)


async def greetings(session, seen):
    asked = asyncio.ensure_future(told(session, f"!open bi {FEW}"))
    both, one = [], []
    for _ in range(FEW):
        stream_id, stream = await session.next(one_way=False)
        greeting = (await stream.whole()).decode()
        both.append(greeting)
        session.send(stream_id, f"{greeting}, answered".encode(), True)
    seen["answers"] = await asked
    await told(session, f"!open uni {FEW}")
    for _ in range(FEW):
        one.append((await (await session.next(one_way=True))[1].whole()).decode())
    seen["greetings"] = {"bidirectional": sorted(both), "unidirectional": sorted(one)}


async def echoes(session, seen):
    """All that a server can do that knows nothing of WebTransport."""
    content = bytes(index % 251 for index in range(OCTETS))
    half = OCTETS // 2
    streams = [session.open(content[:half], fin=False) for _ in range(STREAMS)]
    # Every one is open, and half of it echoed, before one of them ends.
    for _, stream in streams:
        await reached(stream, half)
    for stream_id, _ in streams:
        session.send(stream_id, content[half:], True)
    seen["streams"] = sum([await stream.whole() == content for _, stream in streams])
    seen["datagrams"] = 0
    for number in range(FEW):
        echo = session.echo_datagram(f"datagram {number}".encode())
        seen["datagrams"] += await asyncio.wait_for(echo, TIMEOUT_S)


async def one_way(session, seen):
    for number in range(FEW):
        session.open(f"one way {number}".encode(), one_way=True)
    answers = [(await (await session.next(one_way=True))[1].whole()).decode() for _ in range(FEW)]
    seen["oneWay"] = sorted(answers)


async def begun(session):
    """A stream that the backend has echoed an octet of."""
    stream_id, stream = session.open(b"x", fin=False)
    await reached(stream, 1)
    return stream_id


async def plain_ends(client, session, seen):
    """Those of TCP: its FIN, and its RST in either direction."""
    session.open(b"one way", one_way=True)
    client._quic.reset_stream(await begun(session), to_wire(RESETS))
    client.transmit()
    # The server resets what begins so.
    _, stream = session.open(b"!reset, please", fin=False)
    seen["resetAtClient"] = from_wire(await asyncio.wait_for(stream.ended, TIMEOUT_S))


async def together(client, url, seen):
    """Sessions that are open at the same time, on one connection."""
    sessions = [await client.open(url) for _ in range(FEW)]
    seen["together"] = 0
    for session, status in sessions:
        if status == "200":
            await begun(session)
            seen["together"] += 1
    for session, _ in sessions:
        await session.close(0, "")


async def codes(client, session, seen):
    client._quic.reset_stream(await begun(session), to_wire(RESETS))
    client.transmit()
    seen["resetAtBackend"] = await told(session, "!await reset")

    stream_id = await begun(session)
    client._quic.stop_stream(stream_id, to_wire(STOPS))
    client.transmit()
    seen["stopAtBackend"] = await told(session, "!await stop")
    session.send(stream_id, b"", True)

    stream_id, stream = session.open(f"!reset {BACKEND_RESETS}\n".encode(), fin=False)
    seen["resetAtClient"] = from_wire(await asyncio.wait_for(stream.ended, TIMEOUT_S))
    session.send(stream_id, b"", True)

    stream_id, stream = session.open(f"!stop {BACKEND_STOPS}\n".encode(), fin=False)
    seen["stopAtClient"] = from_wire(await asyncio.wait_for(client.stop(stream_id), TIMEOUT_S))


async def closed_by_backend(client, url, seen):
    session, _ = await client.open(url)
    session.open(b"!close 4321 as asked\n", fin=False)
    await asyncio.wait_for(session.control.ended, TIMEOUT_S)
    values = [value for kind, value in capsules(bytes(session.control.data)) if kind == WT_CLOSE_SESSION]
    code, reason = int.from_bytes(values[0][:4], "big"), values[0][4:].decode()
    seen["closedByBackend"] = {"code": code, "reason": reason, "remote": True}


async def run(client, url, plain):
    await client.settings()
    session, status = await client.open(url)
    seen = {"status": int(status)}
    if plain:
        await echoes(session, seen)
        await plain_ends(client, session, seen)
    else:
        await greetings(session, seen)
        await echoes(session, seen)
        await one_way(session, seen)
        await codes(client, session, seen)
    await together(client, url, seen)
    await session.close(4001, "done")
    if not plain:
        await closed_by_backend(client, url, seen)
    _, status = await client.open(url._replace(path="/nowhere"))
    seen["elsewhere"] = int(status)
    return seen


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()

    url = urlsplit(arguments.url)
    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_REQUIRED, max_datagram_frame_size=65536
    )
    configuration.load_verify_locations(arguments.ca)
    configuration.server_name = url.hostname
    async with connect(arguments.address, url.port, configuration=configuration, create_protocol=Stopped) as client:
        print(json.dumps(await run(client, url, arguments.plain)))


if __name__ == "__main__":
    asyncio.run(main())
