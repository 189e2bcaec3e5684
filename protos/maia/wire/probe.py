"""`python -m maia.wire.probe ADDRESS`: whether a server serves, for orchestrators of containers.

Any certificate of the CA will do, the server's own for one; no token is needed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.program import reporting_errors
from maia.wire.tls import ClientCredentials


def main(arguments: Sequence[str]) -> int:
    """Ask once; returns 0 if it serves, 1 if not, 2 for a wrong setting."""
    parser = argparse.ArgumentParser(prog="python -m maia.wire.probe", description=__doc__)
    parser.add_argument("address", metavar="ADDRESS", help="HOST:PORT or unix:/path")
    for name, what in (("ca", "CA of the server's certificate"), ("cert", "certificate to show"), ("key", "its key")):
        parser.add_argument(f"--tls-{name}", type=Path, metavar="FILE", help=f"{what}, PEM")
    parser.add_argument("--timeout-s", type=float, default=3.0, metavar="SECONDS", help="how long it may take")
    given = parser.parse_args(arguments)
    return reporting_errors(lambda: asyncio.run(_ask(given)))


async def _ask(given: argparse.Namespace) -> None:
    credentials = ClientCredentials.of(given.tls_ca, given.tls_cert, given.tls_key)
    async with open_channel(given.address, credentials) as channel:
        await wait_until_serving(channel, server=f"server at {given.address}", timeout_s=given.timeout_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
