"""WebSocket over HTTP/3 (RFC 9220) with aioquic, and wsproto for the frames.

Owns the client's side of HTTP/3 tunnels in the black-box tests. Says on standard output, as one JSON object, what it
saw; whoever runs it judges. Must not know what stands behind the server.

    ws_h3.py echo --url https://localhost:8443/echo --ca ca.pem
    ws_h3.py chat --url https://localhost:8443/chat --ca ca.pem --name ann --expect ann,bob
"""

import argparse
import asyncio
import json
import ssl
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection, Setting
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

# The guard of every wait: far above what any of them takes.
TIMEOUT_S = 30
# RFC 9114, section 8.1.
H3_REQUEST_CANCELLED = 0x010C
LARGE_OCTETS = 300_000


class Tunnel:
    """One WebSocket tunnel: an extended CONNECT stream with frames on it."""

    def __init__(self, client, stream_id):
        self.client = client
        self.stream_id = stream_id
        self.frames = Connection(ConnectionType.CLIENT)
        self.response = asyncio.get_running_loop().create_future()
        self.messages = asyncio.Queue()
        self.ended = asyncio.get_running_loop().create_future()
        self.close_code = None
        self.partial = []

    def on_headers(self, headers, fin):
        if not self.response.done():
            self.response.set_result({name.decode(): value.decode() for name, value in headers})
        if fin:
            self.on_end("fin")

    def on_data(self, data, fin):
        if data:
            self.frames.receive_data(data)
            for event in self.frames.events():
                if isinstance(event, (TextMessage, BytesMessage)):
                    self.partial.append(event.data)
                    if event.message_finished:
                        whole = self.partial[0][:0].join(self.partial)
                        self.partial = []
                        self.messages.put_nowait(whole)
                elif isinstance(event, CloseConnection):
                    self.close_code = event.code
        if fin:
            self.on_end("fin")

    def on_end(self, how):
        if not self.ended.done():
            self.ended.set_result(how)
        if not self.response.done():
            self.response.set_result({":status": how})
        self.messages.put_nowait(None)

    def send(self, event, end=False):
        self.client.http.send_data(self.stream_id, self.frames.send(event), end)
        self.client.transmit()

    def send_message(self, message):
        self.send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    async def receive(self):
        return await asyncio.wait_for(self.messages.get(), TIMEOUT_S)

    async def echo(self, message):
        self.send_message(message)
        return await self.receive()

    async def close(self, code):
        """Sends a close frame, and FIN once the server's is there. The answer is the server's code and its end."""
        self.send(CloseConnection(code=code, reason="done"))
        how = await asyncio.wait_for(self.ended, TIMEOUT_S)
        if how == "fin":
            self.client.http.send_data(self.stream_id, b"", True)
            self.client.transmit()
        return {"closeCode": self.close_code, "end": how}

    def reset(self):
        self.client._quic.reset_stream(self.stream_id, H3_REQUEST_CANCELLED)
        self.client._quic.stop_stream(self.stream_id, H3_REQUEST_CANCELLED)
        self.client.transmit()


class Client(QuicConnectionProtocol):
    """One HTTP/3 connection with many tunnels."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic)
        self.tunnels = {}
        self.terminated = None

    def quic_event_received(self, event):
        if isinstance(event, StreamReset) and event.stream_id in self.tunnels:
            self.tunnels[event.stream_id].on_end(f"reset {event.error_code:#x}")
        if isinstance(event, ConnectionTerminated):
            self.terminated = event
            for tunnel in self.tunnels.values():
                tunnel.on_end(f"connection closed {event.error_code:#x} {event.reason_phrase}")
        for h3_event in self.http.handle_event(event):
            tunnel = self.tunnels.get(getattr(h3_event, "stream_id", None))
            if tunnel is None:
                continue
            if isinstance(h3_event, HeadersReceived):
                tunnel.on_headers(h3_event.headers, h3_event.stream_ended)
            elif isinstance(h3_event, DataReceived):
                tunnel.on_data(h3_event.data, h3_event.stream_ended)

    async def settings(self):
        """The server's SETTINGS, which must be there before an extended CONNECT is sent (RFC 8441, section 3)."""
        for _ in range(TIMEOUT_S * 100):
            if self.http.received_settings is not None:
                return self.http.received_settings
            await asyncio.sleep(0.01)
        raise TimeoutError("no SETTINGS came")

    async def open(self, url, subprotocols=(), protocol="websocket"):
        stream_id = self._quic.get_next_available_stream_id()
        tunnel = self.tunnels[stream_id] = Tunnel(self, stream_id)
        path = url.path + (f"?{url.query}" if url.query else "")
        headers = [
            (b":method", b"CONNECT"),
            (b":protocol", protocol.encode()),
            (b":scheme", b"https"),
            (b":authority", url.netloc.encode()),
            (b":path", path.encode()),
            (b"sec-websocket-version", b"13"),
            (b"origin", f"https://{url.netloc}".encode()),
        ]
        if subprotocols:
            headers.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode()))
        self.http.send_headers(stream_id, headers)
        self.transmit()
        response = await asyncio.wait_for(asyncio.shield(tunnel.response), TIMEOUT_S)
        if protocol == "websocket" and response.get(":status") != "200":
            raise ConnectionError(f"the tunnel did not open: {response}")
        return tunnel


def told(tunnel):
    """What the server answered."""
    response = tunnel.response.result()
    return {
        "status": response.get(":status"),
        "subprotocol": response.get("sec-websocket-protocol"),
        # None of these may be on HTTP/3 (RFC 9220, section 3, and RFC 9114, section 4.2).
        "forbidden": [name for name in ("connection", "upgrade", "sec-websocket-accept") if name in response],
    }


async def echo(client, url, _arguments):
    settings = await client.settings()
    large = bytes(index % 251 for index in range(LARGE_OCTETS))

    first = await client.open(url, ["echo.v1", "echo.v2"])
    echoes = [await first.echo("hello"), await first.echo("grüße")]
    binary = await first.echo(large) == large
    whole = {**told(first), "echoes": echoes, "binary": binary, **await first.close(4001)}

    # One tunnel's death leaves its neighbour, and the connection, alone.
    doomed, neighbour = await client.open(url), await client.open(url, ["next"])
    before = [await doomed.echo("doomed"), await neighbour.echo("neighbour")]
    doomed.reset()
    after = [await neighbour.echo(f"after {turn}") for turn in range(3)]
    later = await client.open(url)
    later_echo = await later.echo("later")
    neighbourhood = {
        "before": before,
        "after": after,
        "later": later_echo,
        **told(neighbour),
        **await neighbour.close(1000),
        "laterClose": (await later.close(1000))["closeCode"],
    }

    unknown = await client.open(url, protocol="carrier-pigeon")
    return {
        "enableConnectProtocol": settings.get(Setting.ENABLE_CONNECT_PROTOCOL),
        "tunnel": whole,
        "neighbour": neighbourhood,
        "unknownProtocol": told(unknown)["status"],
        "connectionLost": client.terminated is not None,
    }


async def chat(client, url, arguments):
    await client.settings()
    url = url._replace(query=f"name={arguments.name}")
    tunnel = await client.open(url, ["chat.v0", "chat.v1"])
    expected = set(arguments.expect.split(","))
    present, said, welcomed = set(), {}, False
    greeted = False
    while not greeted or set(said) != expected:
        text = await tunnel.receive()
        if text is None:
            raise ConnectionError(f"the chat ended: {tunnel.close_code}, {tunnel.ended.result()}, {told(tunnel)}")
        event = json.loads(text)
        if event["event"] == "welcome":
            welcomed = True
            present |= set(event["present"])
        elif event["event"] == "join":
            present.add(event["name"])
        elif event["event"] == "say":
            said[event["name"]] = event["text"]
        if not greeted and expected <= present:
            tunnel.send_message(f"hello from {arguments.name}")
            greeted = True
    return {**told(tunnel), "welcomed": welcomed, "said": said, **await tunnel.close(1000)}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=["echo", "chat"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    # Where the URL's host is. Not by its name: aioquic takes its first address only, which may be IPv6.
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--name", default="")
    parser.add_argument("--expect", default="")
    arguments = parser.parse_args()

    url = urlsplit(arguments.url)
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(arguments.ca)
    configuration.server_name = url.hostname
    scenario = {"echo": echo, "chat": chat}[arguments.scenario]
    port = url.port or 443
    async with connect(arguments.address, port, configuration=configuration, create_protocol=Client) as client:
        print(json.dumps(await scenario(client, url, arguments), ensure_ascii=False))


if __name__ == "__main__":
    asyncio.run(main())
