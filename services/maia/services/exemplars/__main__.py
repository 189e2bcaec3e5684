"""`python -m maia.services.exemplars`: the exemplars server; with `build`, what finds the exemplars of a subject."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from maia.services._runtime.program import run_server
from maia.services.exemplars.build import build_exemplars
from maia.services.exemplars.dataset import DEFAULT_SIZE
from maia.services.exemplars.hosting import host
from maia.services.exemplars.settings import ExemplarsSettings, default_store
from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.program import reporting_errors


def main(arguments: Sequence[str]) -> int:
    """Serve or build, and return the exit code."""
    if arguments[:1] == ["build"]:
        return reporting_errors(lambda: asyncio.run(_build(_parser().parse_args(arguments[1:]))))
    return run_server("exemplars", ExemplarsSettings, host, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m maia.services.exemplars build",
        description="Find the exemplars of all units of a subject, through its server.",
    )
    parser.add_argument("--subject", required=True, help="name of the subject")
    parser.add_argument("--subject-address", required=True, help="address of its server")
    parser.add_argument("--store", type=Path, default=default_store(), help="folder of the exemplars (%(default)s)")
    parser.add_argument("--size", type=int, default=DEFAULT_SIZE, help="pictures to search in (%(default)s)")
    return parser


async def _build(chosen: argparse.Namespace) -> None:
    async with open_channel(chosen.subject_address) as channel:
        await wait_until_serving(channel, server=f"subject server at {chosen.subject_address}", timeout_s=10)
        manifest = await build_exemplars(channel, chosen.subject, chosen.store, size=chosen.size, progress=_show)
    units = sum(layer.units for layer in manifest.layers)
    sys.stderr.write(f"\nexemplars of {units} units of {manifest.subject} are in {chosen.store}\n")


def _show(doing: str, done: int, total: int) -> None:
    if done == total or done % 32 == 0:
        sys.stderr.write(f"\r{doing} {done} of {total} pictures")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
