"""A client that moves: WebSocket tunnels by HTTP/3 (RFC 9220) with aioquic, whose local address and port change under load.

Owns the client's side of the black-box tests of several pods. Holds tunnels on one connection, each with messages on the
way at all times, and downloads on the same connection; meanwhile it exchanges its socket for one of another port, and tells
the server no more of it than that it goes on there. Says on standard output, as one JSON object, what it saw; whoever runs
it judges. Must not know what stands behind the server.

    moves.py --url https://localhost:8443 --ca ca.pem --address 198.18.1.1 --tunnels 20 --moves 20
"""

import argparse
import asyncio
import json
import ssl
import time
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration

from ws_h3 import TIMEOUT_S, Client

# Every message says where it belongs, so that one that is lost, repeated or of another tunnel is found.
MESSAGE_OCTETS = (20, 3_000, 40_000)
# A few of these at a time are in flight for as long as the client moves.
DOWNLOAD_OCTETS = 2_000_000
# `/bytes/N` repeats this many octets, 0 to 250.
PATTERN = bytes(range(251))


class Download:
    """One GET, of which every octet is looked at."""

    def __init__(self):
        self.at = 0
        self.is_wrong = False
        self.done = asyncio.get_running_loop().create_future()

    def on_headers(self, headers, fin):
        self.is_wrong |= dict(headers).get(b":status") != b"200"
        self.on_data(b"", fin)

    def on_data(self, data, fin):
        start = self.at % len(PATTERN)
        expected = (PATTERN * (len(data) // len(PATTERN) + 2))[start : start + len(data)]
        self.is_wrong |= data != expected
        self.at += len(data)
        if fin:
            self.on_end("fin")

    def on_end(self, how):
        self.is_wrong |= how != "fin" or self.at != DOWNLOAD_OCTETS
        if not self.done.done():
            self.done.set_result(None)


class Moving:
    """What the tasks of one run share."""

    def __init__(self, client, url):
        self.client = client
        self.url = url
        self.is_moving = True
        self.wrong = []
        self.echoes = 0
        self.downloaded = 0
        self.in_flight = 0
        self.moves_amid_transfer = 0
        self.moves = 0
        self.heard_at = 0.0
        self.longest = 0.0

    async def echo(self, number, tunnel):
        """Messages one after the other, for as long as the client moves and once more after that."""
        turn = 0
        last = False
        while not last:
            last = not self.is_moving
            size = MESSAGE_OCTETS[turn % len(MESSAGE_OCTETS)]
            message = f"tunnel {number} turn {turn} ".encode()
            message = (message * (size // len(message) + 1))[:size]
            if await tunnel.echo(message) != message:
                self.wrong.append(f"tunnel {number} turn {turn}")
                return
            self.echoes += 1
            turn += 1

    async def download(self):
        while self.is_moving:
            stream_id = self.client._quic.get_next_available_stream_id()
            download = self.client.tunnels[stream_id] = Download()
            head = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", self.url.netloc.encode()),
                (b":path", f"/bytes/{DOWNLOAD_OCTETS}".encode()),
            ]
            self.client.http.send_headers(stream_id, head, end_stream=True)
            self.client.transmit()
            self.in_flight += 1
            started, moves = time.monotonic(), self.moves
            try:
                await asyncio.wait_for(download.done, TIMEOUT_S)
            except TimeoutError:
                raise TimeoutError(f"{self.state(stream_id)}, {self.moves - moves} moves in it") from None
            self.longest = max(self.longest, time.monotonic() - started)
            self.in_flight -= 1
            self.downloaded += download.at
            if download.is_wrong:
                self.wrong.append(f"a download at {download.at}")

    def state(self, stream_id):
        """How the connection and a download on it stand, for whoever asks why it takes so long."""
        quic = self.client._quic
        loss, stream = quic._loss, quic._streams[stream_id]
        receiver = stream.receiver
        return (
            f"a download at {self.client.tunnels[stream_id].at} of {DOWNLOAD_OCTETS}: ranges {list(receiver._ranges)[:4]} "
            f"from {receiver._buffer_start}, highest {receiver.highest_offset}; heard {time.monotonic() - self.heard_at:.2f} s "
            f"ago, {self.moves} moves, {self.echoes} echoes, {self.downloaded} octets before; in flight "
            f"{loss.bytes_in_flight} of {loss.congestion_window}, {loss._pto_count} probes, round trip {loss._rtt_smoothed}, "
            f"credit {quic._local_max_data.value} of which {quic._local_max_data.used}, "
            f"stream's {stream.max_stream_data_local}"
        )

    async def move(self, moves, interval_s):
        for _ in range(moves):
            await asyncio.sleep(interval_s)
            self.moves_amid_transfer += self.in_flight > 0
            await asyncio.wait_for(await self.exchange_socket(), TIMEOUT_S)
            self.moves += 1
        await asyncio.sleep(interval_s)
        self.is_moving = False

    async def exchange_socket(self):
        """Goes on from another port. The old one is closed, and what is on the way to it is lost.

        What is returned is ready when something has come to the new one.
        """
        moving, client, before = self, self.client, self.client._transport
        loop = asyncio.get_running_loop()
        heard = loop.create_future()

        class Port(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                moving.heard_at = time.monotonic()
                if not heard.done():
                    heard.set_result(None)
                client.datagram_received(data, address)

        # As aioquic's own first socket: one for both versions of IP.
        client._transport, _ = await loop.create_datagram_endpoint(Port, local_addr=("::", 0))
        before.abort()
        # Whoever only waits for the server would wait for ever: it still sends to the old port.
        client._quic.send_ping(id(heard))
        client.transmit()
        return heard


async def run(client, url, arguments):
    await client.settings()
    tunnels = [await client.open(url._replace(path="/echo")) for _ in range(arguments.tunnels)]
    moving = Moving(client, url)
    tasks = [moving.echo(number, tunnel) for number, tunnel in enumerate(tunnels)]
    await asyncio.gather(moving.move(arguments.moves, arguments.interval_ms / 1000), moving.download(), *tasks)
    lost = client.terminated is not None
    ends = [await tunnel.close(1000) for tunnel in tunnels]
    return {
        "moves": arguments.moves,
        "movesAmidTransfer": moving.moves_amid_transfer,
        "echoes": moving.echoes,
        "downloaded": moving.downloaded,
        "longestDownload": round(moving.longest, 2),
        "wrong": moving.wrong,
        "ends": [f"{end['closeCode']} {end['end']}" for end in ends],
        "connectionLost": lost,
    }


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    # Where the URL's host is.
    parser.add_argument("--address", required=True)
    parser.add_argument("--tunnels", type=int, required=True)
    parser.add_argument("--moves", type=int, required=True)
    parser.add_argument("--interval-ms", type=int, default=150)
    arguments = parser.parse_args()

    url = urlsplit(arguments.url)
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(arguments.ca)
    configuration.server_name = url.hostname
    # Enough that a download goes on while a path is validated.
    configuration.max_data = configuration.max_stream_data = 8 * DOWNLOAD_OCTETS
    async with connect(arguments.address, url.port or 443, configuration=configuration, create_protocol=Client) as client:
        print(json.dumps(await run(client, url, arguments)))


if __name__ == "__main__":
    asyncio.run(main())
