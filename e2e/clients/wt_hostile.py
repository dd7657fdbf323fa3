"""A WebTransport client and a server that break the protocol, octet by octet, with aioquic underneath.

Owns what is sent that must not be. Says on standard output, as one JSON object, what came of it; whoever runs it judges.
Must not know what stands between it and the backend.

    wt_hostile.py capsules --url https://localhost:8443/sessions --ca ca.pem
    wt_hostile.py settings --url https://localhost:8443/sessions --ca ca.pem
    wt_hostile.py backend --url https://localhost:8443/sessions --ca ca.pem     # where wt_backend.py is the backend
"""

import argparse
import asyncio
import json
import ssl
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3_ALPN, H3Connection, Setting
from aioquic.quic.configuration import QuicConfiguration

from wt_client import Stopped, begun, reached, told
from wt_h3 import TIMEOUT_S, WT_CLOSE_SESSION

# A capsule that nobody knows (RFC 9297, section 5.4: of the form 41 * N + 23).
UNKNOWN = 0x17
# How much of them there is.
FLOOD_OCTETS = 20_000_000
FLOOD_PIECE = 60_000
WT_MAX_SESSIONS_07 = 0xC671706A
WT_ENABLED = 0x2C7CF000


def capsule(kind, value, length=None):
    return encode_uint_var(kind) + encode_uint_var(len(value) if length is None else length) + value


# What is said on the CONNECT stream, and whether it ends there.
CLOSES = {
    "a reason of 1024 octets": (capsule(WT_CLOSE_SESSION, bytes(4) + b"x" * 1024), True),
    "a reason of 1025 octets": (capsule(WT_CLOSE_SESSION, bytes(4) + b"x" * 1025), False),
    "a close of 2^62 octets": (capsule(WT_CLOSE_SESSION, bytes(4), (1 << 62) - 1), False),
    "a reason that is not UTF-8": (capsule(WT_CLOSE_SESSION, bytes(4) + b"\xff"), False),
    "a close without a code": (capsule(WT_CLOSE_SESSION, bytes(2)), False),
    "octets after the close": (capsule(WT_CLOSE_SESSION, bytes(4)) + b"x", False),
    "a capsule cut off": (capsule(WT_CLOSE_SESSION, bytes(4))[:5], True),
}

# What replaces aioquic's own, by name, and whether the request says that it is of draft 02. None takes a setting away.
NO_DRAFT = {Setting.ENABLE_WEBTRANSPORT: 0, WT_MAX_SESSIONS_07: 0, WT_ENABLED: 0}
TWICE = "twice"
SETTINGS = {
    "as they are": ({}, True),
    "WebTransport without datagrams": ({Setting.H3_DATAGRAM: 0}, True),
    "datagrams neither on nor off": ({Setting.H3_DATAGRAM: 2}, True),
    "extended CONNECT neither on nor off": ({Setting.ENABLE_CONNECT_PROTOCOL: 2}, True),
    "the same one twice": (TWICE, True),
    "every draft off": (NO_DRAFT, False),
    "no draft": ({Setting.ENABLE_WEBTRANSPORT: None}, False),
    "every draft off, and a request of draft 02": (NO_DRAFT, True),
    "drafts 02, 07 and 15 at once": ({WT_MAX_SESSIONS_07: 1, WT_ENABLED: 1}, True),
}


async def end_of(session):
    how = await asyncio.wait_for(asyncio.shield(session.control.ended), TIMEOUT_S)
    return how if isinstance(how, str) else f"{how:#x}"


def say(session, octets, fin=False):
    session.client.http.send_data(session.id, octets, fin)
    session.client.transmit()


async def taken(session):
    """Until all that was sent on the CONNECT stream has been acknowledged."""

    async def wait():
        while not session.client._quic._streams[session.id].sender.buffer_is_empty:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 2 * TIMEOUT_S)


async def capsules(client, url):
    neighbour, _ = await client.open(url)
    seen = {"closes": {}}
    for name, (octets, fin) in CLOSES.items():
        session, _ = await client.open(url)
        await begun(session)
        say(session, octets, fin)
        seen["closes"][name] = await end_of(session)
        await begun(neighbour)

    session, _ = await client.open(url)
    flood = capsule(UNKNOWN, bytes(300)) * (FLOOD_PIECE // 303)
    for _ in range(FLOOD_OCTETS // 2 // FLOOD_PIECE):
        say(session, flood)
        await asyncio.sleep(0)
    # The last one never ends.
    say(session, capsule(UNKNOWN, b"", (1 << 62) - 1))
    for _ in range(FLOOD_OCTETS // 2 // FLOOD_PIECE):
        say(session, bytes(FLOOD_PIECE))
        await asyncio.sleep(0)
    await taken(session)
    await begun(session)
    await begun(neighbour)
    seen["afterTheFlood"] = "both echo"
    return seen


class Contradicting(H3Connection):
    """HTTP/3 whose SETTINGS are not aioquic's own."""

    def __init__(self, quic, settings, draft02):
        self.settings = settings
        self.draft02 = draft02
        super().__init__(quic, enable_webtransport=True)

    def _get_local_settings(self):
        own = super()._get_local_settings()
        if self.settings != TWICE:
            own.update(self.settings)
        return {name: value for name, value in own.items() if value is not None}

    def _init_connection(self):
        send = self._quic.send_stream_data

        def altered(stream_id, data, end_stream=False):
            # The frame of SETTINGS, whose length is one octet: the control stream's type went before it.
            if self.settings == TWICE and data[:1] == b"\x04":
                payload = data[2:] + encode_uint_var(Setting.ENABLE_WEBTRANSPORT) + b"\x01"
                data = b"\x04" + encode_uint_var(len(payload)) + payload
            send(stream_id, data, end_stream)

        self._quic.send_stream_data = altered
        super()._init_connection()
        self._quic.send_stream_data = send

    def send_headers(self, stream_id, headers, end_stream=False):
        shown = [line for line in headers if self.draft02 or line[0] != b"sec-webtransport-http3-draft02"]
        super().send_headers(stream_id, shown, end_stream)


def with_settings(settings, draft02):
    class Client(Stopped):
        def __init__(self, *arguments, **options):
            # Not by way of Client, whose HTTP/3 would have sent its own.
            QuicConnectionProtocol.__init__(self, *arguments, **options)
            self.http = Contradicting(self._quic, settings, draft02)
            self.sessions, self.own, self.stopped = {}, {}, {}
            self.terminated = None

    return Client


async def asked(client, url):
    """What comes of a session: its status, its reset, or the connection's end."""
    opening = asyncio.ensure_future(client.open(url))
    for _ in range(TIMEOUT_S * 100):
        if opening.done():
            return opening.result()[1]
        if client.terminated is not None:
            opening.cancel()
            return f"connection {client.terminated.error_code:#x}"
        session = next(iter(client.sessions.values()), None)
        if session is not None and session.control.ended.done():
            opening.cancel()
            return f"reset {await end_of(session)}"
        await asyncio.sleep(0.01)
    raise TimeoutError("nothing came of the session")


async def backend(client, url):
    """The backend breaks the protocol; a neighbour's session to it goes on."""
    neighbour, _ = await client.open(url)
    seen = {}
    for what in ["reason", "utf8", "code", "after"]:
        session, _ = await client.open(url)
        session.open(f"!rude {what}\n".encode(), fin=False)
        seen[what] = await end_of(session)
        await begun(neighbour)
    session, _ = await client.open(url)
    seen["flood"] = await told(session, f"!rude flood {FLOOD_OCTETS}")
    _, stream = session.open(b"still here")
    await reached(stream, 10)
    await begun(neighbour)
    return seen


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["capsules", "settings", "backend"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--address", default="127.0.0.1")
    arguments = parser.parse_args()

    url = urlsplit(arguments.url)
    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_REQUIRED, max_datagram_frame_size=65536
    )
    configuration.load_verify_locations(arguments.ca)
    configuration.server_name = url.hostname

    def connected(create):
        return connect(arguments.address, url.port, configuration=configuration, create_protocol=create)

    if arguments.what == "settings":
        seen = {}
        for name, (settings, draft02) in SETTINGS.items():
            async with connected(with_settings(settings, draft02)) as client:
                seen[name] = await asked(client, url)
    else:
        async with connected(Stopped) as client:
            seen = await {"capsules": capsules, "backend": backend}[arguments.what](client, url)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
