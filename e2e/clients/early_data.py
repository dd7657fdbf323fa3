"""Early data (RFC 8470) by HTTP/3 with aioquic: requests that are sent along with the first octets of the handshake.

Owns the client's side of the black-box test of 0-RTT. Comes for a session, comes back with it, sends a GET, a POST and a
tunnel's CONNECT before it has heard anything, and says on standard output, as one JSON object, what it saw; whoever runs it
judges. Must not know what stands behind the server.

    early_data.py --url https://localhost:8443/headers --tunnel https://localhost:8443/echo --ca ca.pem
"""

import argparse
import asyncio
import json
import ssl
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

# The guard of every wait: far above what any of them takes.
TIMEOUT_S = 30


class Answer:
    """What comes back on one stream."""

    def __init__(self):
        self.head = asyncio.get_running_loop().create_future()
        self.whole = asyncio.get_running_loop().create_future()
        self.body = b""

    def on_event(self, event):
        if isinstance(event, HeadersReceived) and not self.head.done():
            self.head.set_result({name.decode(): value.decode() for name, value in event.headers})
        elif isinstance(event, DataReceived):
            self.body += event.data
        if event.stream_ended and not self.whole.done():
            self.whole.set_result(None)


class Client(QuicConnectionProtocol):
    """One HTTP/3 connection with plain requests."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic)
        self.answers = {}

    def quic_event_received(self, event):
        for h3_event in self.http.handle_event(event):
            answer = self.answers.get(getattr(h3_event, "stream_id", None))
            if answer is not None:
                answer.on_event(h3_event)

    def ask(self, url, method, pseudo=(), fields=()):
        """Queues a request. It goes out with the next transmission."""
        stream_id = self._quic.get_next_available_stream_id()
        answer = self.answers[stream_id] = Answer()
        head = [
            (b":method", method.encode()),
            *pseudo,
            (b":scheme", b"https"),
            (b":authority", url.netloc.encode()),
            (b":path", url.path.encode()),
            *fields,
        ]
        self.http.send_headers(stream_id, head, end_stream=method != "CONNECT")
        return answer


async def whole(answer):
    await asyncio.wait_for(asyncio.shield(answer.whole), TIMEOUT_S)
    seen = json.loads(answer.body)
    early = [value for name, value in seen["headers"] if name.lower() == "early-data"]
    return {"status": answer.head.result()[":status"], "method": seen["method"], "earlyData": early}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tunnel", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--address", default="127.0.0.1")
    arguments = parser.parse_args()

    url, tunnel_url = urlsplit(arguments.url), urlsplit(arguments.tunnel)
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(arguments.ca)
    configuration.server_name = url.hostname
    port = url.port or 443
    ticket = asyncio.get_running_loop().create_future()

    def keep(session):
        if not ticket.done():
            ticket.set_result(session)

    async with connect(
        arguments.address, port, configuration=configuration, create_protocol=Client, session_ticket_handler=keep
    ) as client:
        first = client.ask(url, "GET")
        client.transmit()
        before = await whole(first)
        configuration.session_ticket = await asyncio.wait_for(ticket, TIMEOUT_S)

    async with connect(
        arguments.address, port, configuration=configuration, create_protocol=Client, wait_connected=False
    ) as client:
        tunnel = client.ask(tunnel_url, "CONNECT", [(b":protocol", b"websocket")], [(b"sec-websocket-version", b"13")])
        safe, other = client.ask(url, "GET"), client.ask(url, "POST")
        client.transmit()
        answers = {"safe": await whole(safe), "other": await whole(other)}
        head = await asyncio.wait_for(asyncio.shield(tunnel.head), TIMEOUT_S)
        print(
            json.dumps(
                {
                    "before": before,
                    **answers,
                    "tunnel": head[":status"],
                    "resumed": client._quic.tls.session_resumed,
                    "accepted": client._quic.tls.early_data_accepted,
                }
            )
        )


if __name__ == "__main__":
    asyncio.run(main())
