"""Many WebSocket tunnels by HTTP/3 (RFC 9220) with aioquic, on several connections, that are held until nobody wants them.

Owns the client's side of the black-box tests in which pods come and go. Each tunnel says something now and then and must be
answered. Says "open" on standard error when all are open. When it is told to terminate, or all have ended, it says on standard
output, as one JSON object, what became of them; whoever runs it judges. Must not know what stands behind the server.

    holds.py --url https://demo.test/echo --ca ca.pem --address 198.18.1.1 --connections 20 --tunnels 10
"""

import argparse
import asyncio
import json
import signal
import ssl
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration

from ws_h3 import Client

SAY_EVERY_S = 0.5


async def hold(tunnel, number, stop, echoes, slowest):
    """Says what became of the tunnel: "held", or how it ended."""
    turn = 0
    while not stop.is_set():
        message = f"tunnel {number} turn {turn}"
        asked = time.monotonic()
        heard = await tunnel.echo(message)
        if heard is None:
            how = tunnel.ended.result() if tunnel.ended.done() else "unfinished"
            return f"close frame {tunnel.close_code}, {how}" if tunnel.close_code else how
        if heard != message:
            return f"another echo: {heard!r}"
        echoes[number] += 1
        slowest[number] = max(slowest.get(number, 0), time.monotonic() - asked)
        turn += 1
        await asyncio.sleep(SAY_EVERY_S)
    return "held"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    # Where the URL's host is.
    parser.add_argument("--address", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--tunnels", type=int, required=True, help="on each connection")
    arguments = parser.parse_args()

    url = urlsplit(arguments.url)
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(arguments.ca)
    configuration.server_name = url.hostname
    stop, echoes, slowest = asyncio.Event(), Counter(), {}
    async with AsyncExitStack() as connections:
        clients = []
        for _ in range(arguments.connections):
            client = connect(arguments.address, url.port or 443, configuration=configuration, create_protocol=Client)
            clients.append(await connections.enter_async_context(client))
        holding = []
        for client in clients:
            await client.settings()
            for _ in range(arguments.tunnels):
                tunnel = await client.open(url)
                holding.append(asyncio.create_task(hold(tunnel, len(holding), stop, echoes, slowest)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print("open", file=sys.stderr, flush=True)
        ends = await asyncio.gather(*holding)
        lost = sum(client.terminated is not None for client in clients)
    summary = {
        "ends": dict(Counter(ends)),
        "echoes": echoes.total(),
        "slowestEchoMs": round(max(slowest.values(), default=0) * 1000),
        "connectionsLost": lost,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    asyncio.run(main())
