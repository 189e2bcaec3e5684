"""A TCP proxy that holds everything back: `python -m tests.hosts.delaying HOST:PORT TARGET:PORT SECONDS`.

It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Pass on what comes, each piece so long after it came; several pieces are under way at once."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

    async def deliver() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    delivery = asyncio.ensure_future(deliver())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            await under_way.put((time.monotonic() + delay_s, data))
    await under_way.put((time.monotonic() + delay_s, b""))
    with contextlib.suppress(ConnectionError):
        await delivery


async def serve(listen: str, target: str, delay_s: float) -> None:
    """Take connections until standard input ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = target.split(":")
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, back, delay_s), _copy(there, writer, delay_s))

    host, port = listen.split(":")
    server = await asyncio.start_server(connected, host, int(port))
    print("ready", flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1], sys.argv[2], float(sys.argv[3])))
