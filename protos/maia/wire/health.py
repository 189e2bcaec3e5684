"""`python -m maia.wire.health ADDRESS…`: whether servers serve, for health checks of containers and pods.

Probes that are built into engines and clusters speak no mutual TLS. This one shows the certificate that MAIA_TLS_CA,
MAIA_TLS_CERT and MAIA_TLS_KEY name; without them it speaks plain text, to this machine only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.program import reporting_errors
from maia.wire.tls import ClientCredentials


def main(arguments: Sequence[str]) -> int:
    """Ask servers for their health; returns the exit code, 0 if each serves.

    Args:
        arguments: Without the program's name.
    """
    parser = argparse.ArgumentParser(
        prog="python -m maia.wire.health",
        description="Exit with 0 if every server serves, else with 1 and a line that says which does not.",
        epilog="MAIA_TLS_CA, MAIA_TLS_CERT and MAIA_TLS_KEY name the files for TLS.",
    )
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS", help="host:port, unix:/path or dns:///host:port")
    parser.add_argument("--wait-s", type=float, default=5.0, metavar="SECONDS", help="how long to wait (default: 5)")
    given = parser.parse_args(arguments)
    credentials = _credentials(os.environ)
    return reporting_errors(lambda: asyncio.run(_ask(given.addresses, credentials, given.wait_s)))


def _credentials(environment: Mapping[str, str]) -> ClientCredentials | None:
    ca, certificate, key = (
        Path(environment[name]) if environment.get(name) else None
        for name in ("MAIA_TLS_CA", "MAIA_TLS_CERT", "MAIA_TLS_KEY")
    )
    return ClientCredentials.of(ca, certificate, key)


async def _ask(addresses: Sequence[str], credentials: ClientCredentials | None, wait_s: float) -> None:
    async def one(address: str) -> None:
        async with open_channel(address, credentials) as channel:
            await wait_until_serving(channel, server=f"server at {address}", timeout_s=wait_s)

    await asyncio.gather(*map(one, addresses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
