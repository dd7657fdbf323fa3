"""WebTransport over HTTP/3 (draft-ietf-webtrans-http3) with aioquic, which speaks draft 02.

Owns the client's side of sessions in the black-box tests. Says on standard output, as one JSON object, what it saw;
whoever runs it judges. Must not know what stands behind the server.

    wt_h3.py --url https://localhost:8443/webtransport --ca ca.pem
"""

import argparse
import asyncio
import json
import ssl
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import UINT_VAR_MAX_SIZE, Buffer
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived, StreamReset

# The guard of every wait: far above what any of them takes.
TIMEOUT_S = 30
# How long a datagram's echo may take before it is sent again: it may be lost.
DATAGRAM_S = 0.2
# The capsule that closes a session (draft-ietf-webtrans-http3, section 6).
WT_CLOSE_SESSION = 0x2843
# Where application codes begin among HTTP/3's (section 4.4).
FIRST_CODE = 0x52E4A40FA8DB
STREAMS = 100
OCTETS = 20_000


def to_wire(code):
    return FIRST_CODE + code + code // 0x1E


def close_capsule(code, reason):
    payload = code.to_bytes(4, "big") + reason.encode()
    buffer = Buffer(capacity=2 * UINT_VAR_MAX_SIZE + len(payload))
    buffer.push_uint_var(WT_CLOSE_SESSION)
    buffer.push_uint_var(len(payload))
    buffer.push_bytes(payload)
    return buffer.data


def capsules(data):
    """The capsules of a CONNECT stream that has ended, as types and values."""
    buffer, found = Buffer(data=data), []
    while not buffer.eof():
        kind, length = buffer.pull_uint_var(), buffer.pull_uint_var()
        found.append((kind, buffer.pull_bytes(length)))
    return found


class Stream:
    """What came on a stream: octets, and then how it ended."""

    def __init__(self):
        self.data = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def on_data(self, data, fin):
        self.data += data
        if fin:
            self.on_end("fin")

    def on_end(self, how):
        if not self.ended.done():
            self.ended.set_result(how)

    async def whole(self):
        how = await asyncio.wait_for(asyncio.shield(self.ended), TIMEOUT_S)
        if how != "fin":
            raise ConnectionError(f"the stream ended with {how}")
        return bytes(self.data)


class Session:
    """One session, by its CONNECT stream."""

    def __init__(self, client, stream_id):
        self.client = client
        self.id = stream_id
        self.response = asyncio.get_running_loop().create_future()
        self.control = Stream()
        self.streams = {}
        self.incoming = asyncio.Queue()
        self.datagrams = asyncio.Queue()

    def stream(self, stream_id):
        """A stream of the session. One that the server opened is put aside for whoever takes the next."""
        if stream_id not in self.streams:
            self.streams[stream_id] = Stream()
            if stream_id % 2 == 1:
                self.incoming.put_nowait((stream_id, self.streams[stream_id]))
        return self.streams[stream_id]

    def open(self, content, fin=True, one_way=False):
        stream_id = self.client.http.create_webtransport_stream(self.id, is_unidirectional=one_way)
        stream = self.streams[stream_id] = self.client.own[stream_id] = Stream()
        self.send(stream_id, content, fin)
        return stream_id, stream

    def send(self, stream_id, content, fin=False):
        self.client._quic.send_stream_data(stream_id, content, fin)
        self.client.transmit()

    async def next(self, one_way):
        """The next stream of the server's of a kind. Those of the other kind stay for later."""
        aside = []
        try:
            while True:
                stream_id, stream = await asyncio.wait_for(self.incoming.get(), TIMEOUT_S)
                if (stream_id & 2 == 2) == one_way:
                    return stream_id, stream
                aside.append((stream_id, stream))
        finally:
            for one in aside:
                self.incoming.put_nowait(one)

    async def echo_datagram(self, content):
        while True:
            self.client.http.send_datagram(self.id, content)
            self.client.transmit()
            try:
                while (got := await asyncio.wait_for(self.datagrams.get(), DATAGRAM_S)) != content:
                    pass
                return True
            except TimeoutError:
                if self.client.terminated is not None:
                    return False

    async def close(self, code, reason):
        """Closes, and waits for the server's end of the CONNECT stream."""
        self.client.http.send_data(self.id, close_capsule(code, reason), True)
        self.client.transmit()
        return await asyncio.wait_for(asyncio.shield(self.control.ended), TIMEOUT_S)


class Client(QuicConnectionProtocol):
    """One HTTP/3 connection with many sessions."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.sessions = {}
        # Streams that sessions opened themselves.
        self.own = {}
        self.terminated = None

    def quic_event_received(self, event):
        if isinstance(event, StreamReset):
            for session in self.sessions.values():
                stream = session.control if event.stream_id == session.id else session.streams.get(event.stream_id)
                if stream is not None:
                    stream.on_end(event.error_code)
        # aioquic takes what comes on streams that it opened for frames of HTTP/3, which it is not.
        if isinstance(event, StreamDataReceived) and event.stream_id in self.own:
            self.own[event.stream_id].on_data(event.data, event.end_stream)
            return
        if isinstance(event, ConnectionTerminated):
            self.terminated = event
            for session in self.sessions.values():
                for stream in [session.control, *session.streams.values()]:
                    stream.on_end(f"connection closed {event.error_code:#x} {event.reason_phrase}")
        for h3_event in self.http.handle_event(event):
            self.http_event_received(h3_event)

    def http_event_received(self, event):
        if isinstance(event, WebTransportStreamDataReceived) and event.session_id in self.sessions:
            self.sessions[event.session_id].stream(event.stream_id).on_data(event.data, event.stream_ended)
        session = self.sessions.get(getattr(event, "stream_id", None))
        if session is None:
            return
        if isinstance(event, HeadersReceived):
            if not session.response.done():
                session.response.set_result({name.decode(): value.decode() for name, value in event.headers})
            if event.stream_ended:
                session.control.on_end("fin")
        elif isinstance(event, DataReceived):
            session.control.on_data(event.data, event.stream_ended)
        elif isinstance(event, DatagramReceived):
            session.datagrams.put_nowait(event.data)

    async def settings(self):
        """The server's SETTINGS, which must be there before a session is asked for."""
        for _ in range(TIMEOUT_S * 100):
            if self.http.received_settings is not None:
                return self.http.received_settings
            await asyncio.sleep(0.01)
        raise TimeoutError("no SETTINGS came")

    async def open(self, url, origin=None):
        stream_id = self._quic.get_next_available_stream_id()
        session = self.sessions[stream_id] = Session(self, stream_id)
        path = url.path + (f"?{url.query}" if url.query else "")
        headers = [
            (b":method", b"CONNECT"),
            (b":protocol", b"webtransport"),
            (b":scheme", b"https"),
            (b":authority", url.netloc.encode()),
            (b":path", path.encode()),
            (b"origin", (origin or f"https://{url.netloc}").encode()),
            (b"sec-webtransport-http3-draft02", b"1"),
        ]
        self.http.send_headers(stream_id, headers)
        self.transmit()
        response = await asyncio.wait_for(asyncio.shield(session.response), TIMEOUT_S)
        return session, response[":status"]


async def run(client, url):
    await client.settings()
    session, status = await client.open(url._replace(query="greet=2"))
    seen = {"status": status, "greetings": [], "answers": []}
    for _ in range(2):
        _, stream = await session.next(one_way=True)
        seen["greetings"].append((await stream.whole()).decode())
        stream_id, stream = await session.next(one_way=False)
        session.send(stream_id, b", hello", True)
        seen["answers"].append((await stream.whole()).decode())
    # One stream may overtake the other.
    seen["greetings"].sort()
    seen["answers"].sort()

    content = bytes(index % 251 for index in range(OCTETS))
    streams = [session.open(content)[1] for _ in range(STREAMS)]
    seen["streams"] = sum([await stream.whole() == content for stream in streams])
    session.open(b"one way", one_way=True)
    _, answer = await session.next(one_way=True)
    seen["oneWay"] = (await answer.whole()).decode()
    seen["datagram"] = await asyncio.wait_for(session.echo_datagram(b"datagram"), TIMEOUT_S)

    # A reset comes back as one, with its code.
    stream_id, doomed = session.open(b"x", fin=False)
    while not doomed.data:
        await asyncio.sleep(0.01)
    client._quic.reset_stream(stream_id, to_wire(77))
    client.transmit()
    seen["reset"] = await asyncio.wait_for(doomed.ended, TIMEOUT_S) == to_wire(77)

    # A neighbour on the same connection does not notice the first one's end.
    neighbour, seen["neighbourStatus"] = await client.open(url)
    seen["closeAnswer"] = await session.close(4001, "done")
    seen["neighbour"] = (await neighbour.open(b"still here")[1].whole()).decode()
    await neighbour.close(0, "")

    # The server's close, by code and reason.
    closing, _ = await client.open(url._replace(query="close=4321"))
    closing.open(b"x")
    await asyncio.wait_for(closing.control.ended, TIMEOUT_S)
    said = [value for kind, value in capsules(bytes(closing.control.data)) if kind == WT_CLOSE_SESSION]
    seen["closedByServer"] = [[int.from_bytes(value[:4], "big"), value[4:].decode()] for value in said]

    _, seen["elsewhere"] = await client.open(url._replace(path="/nowhere"))
    seen["connectionLost"] = client.terminated is not None
    return seen


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    # Where the URL's host is. Not by its name: aioquic takes its first address only, which may be IPv6.
    parser.add_argument("--address", default="127.0.0.1")
    arguments = parser.parse_args()

    url = urlsplit(arguments.url)
    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_REQUIRED, max_datagram_frame_size=65536
    )
    configuration.load_verify_locations(arguments.ca)
    configuration.server_name = url.hostname
    port = url.port or 443
    async with connect(arguments.address, port, configuration=configuration, create_protocol=Client) as client:
        print(json.dumps(await run(client, url), ensure_ascii=False))


if __name__ == "__main__":
    asyncio.run(main())
