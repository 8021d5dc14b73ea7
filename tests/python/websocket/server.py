"""The `websockets` package as a server that echoes; says where it listens."""

import asyncio

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)
        if message == "close":
            await socket.close(4000, "as you wish")
            return


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["echo"]) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
