"""The `websockets` package as a client of a server that echoes: with and without compression."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

TEXTS = ["", "a", "käse \U0001f9c0 " * 1000, "x" * 100_000, "0123456789" * 30]
BINARIES = [b"", bytes(range(256)) * 300, b"\0" * 1_000_000]

COMPRESSIONS = {
    "none": dict(compression=None),
    "default": dict(),
    "small windows": dict(
        extensions=[Deflate(server_max_window_bits=9, client_max_window_bits=9)],
    ),
    "smallest window": dict(extensions=[Deflate(server_max_window_bits=8)]),
    "no context": dict(
        extensions=[Deflate(server_no_context_takeover=True, client_no_context_takeover=True)],
    ),
}


async def talk(url, name, options):
    async with connect(url, max_size=None, **options) as socket:
        agreed = [extension.name for extension in socket.protocol.extensions]
        assert agreed == ([] if name == "none" else ["permessage-deflate"]), (name, agreed)
        for message in TEXTS + BINARIES + TEXTS:
            await socket.send(message)
            assert await socket.recv() == message, (name, len(message))
        pieces = ["in ", "", "pieces ", "of " * 1000, "text"]
        await socket.send(pieces)
        assert await socket.recv() == "".join(pieces), name
        await (await socket.ping("there?"))
        # Many at once: they come back in order.
        sending = [f"{number} " * number for number in range(300)]

        async def send():
            for message in sending:
                await socket.send(message)

        task = asyncio.create_task(send())
        for message in sending:
            assert await socket.recv() == message, name
        await task
        await socket.close(1001, "good bye")
    assert (socket.close_code, socket.close_reason) == (1001, ""), name
    print(name, "works")


async def main():
    for name, options in COMPRESSIONS.items():
        await talk(sys.argv[1], name, options)


asyncio.run(main())
