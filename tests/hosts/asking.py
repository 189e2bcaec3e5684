"""Asks a subject server again and again: `python -m tests.hosts.asking ADDRESS CA CERT KEY`.

Tells each answer on standard output, in a line of JSON: seconds, and what went wrong. Ends when standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final

from maia.orchestrator.clients import Connection, SubjectClient, Terms
from maia.wire.channels import open_channel
from maia.wire.errors import MaiaError
from maia.wire.tls import ClientCredentials

_CALLERS: Final = 4
_PAUSE_S: Final = 0.02


async def _ask(client: SubjectClient) -> None:
    while True:
        started = time.monotonic()
        error = ""
        try:
            await client.subjects(Terms.within(60.0))
        except MaiaError as failed:
            error = f"{failed.reason}: {failed.message}"
        print(json.dumps({"seconds": time.monotonic() - started, "error": error}), flush=True)
        await asyncio.sleep(_PAUSE_S)


async def _main(address: str, ca: str, certificate: str, key: str) -> None:
    credentials = ClientCredentials(Path(ca), Path(certificate), Path(key))
    async with open_channel(address, credentials) as channel:
        client = SubjectClient(Connection("subject", address, channel))
        callers = [asyncio.ensure_future(_ask(client)) for _ in range(_CALLERS)]
        await asyncio.to_thread(sys.stdin.read)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
