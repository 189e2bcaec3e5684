"""What `maia certs` and `maia token` do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from maia.cli.errors import DONE, CommandError
from maia.cli.results import results_console
from maia.wire import certificates
from maia.wire.tokens import add_principal


def make_certificates(
    folder: Path, hosts: Sequence[str], clients: Sequence[str], *, days: int, ca_days: int, renew_within: int
) -> int:
    """Make what is missing, renew what expires soon, and say what there is.

    Raises:
        CommandError: A host without its server.
        InvalidRequestError: As `maia.wire.certificates.make_certificates`.
    """
    by_server: dict[str, list[str]] = {}
    for given in hosts:
        name, equals, listed = given.partition("=")
        named = [host.strip().strip("[]") for host in listed.split(",") if host.strip()]
        if not equals or not named:
            raise CommandError(f"--host {given}: expected NAME=HOST,…, for example subject=gpu1.lab,10.0.0.5")
        by_server.setdefault(name.strip(), []).extend(named)
    if renew_within >= days:
        raise CommandError(f"--renew-within {renew_within} would renew certificates of --days {days} every time")
    made = certificates.make_certificates(
        folder.expanduser(),
        hosts=by_server,
        clients=clients,
        days=days,
        ca_days=ca_days,
        renew_within_days=renew_within,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("certificate", "", "until", "for"):
        table.add_column(title, overflow="fold")
    for one in made:
        state = Text("new", "green") if one.new else Text("kept")
        table.add_row(one.file.name, state, f"{one.until:%Y-%m-%d}", ", ".join(one.hosts))
    console = results_console()
    console.print(table)
    console.print(Text(f"In {folder}. Keep ca-key.pem here; a machine gets ca.pem and its own pair."), soft_wrap=True)
    return DONE


def make_token(
    name: str, scopes: Sequence[str], tokens: Path, out: Path, *, days: int | None, quota: Mapping[str, float | None]
) -> int:
    """Make a token and say where it is.

    Raises:
        InvalidRequestError: As `maia.wire.tokens.add_principal`.
    """
    expires = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days) if days is not None else None
    add_principal(
        tokens.expanduser(),
        name,
        scopes,
        out.expanduser(),
        expires=expires,
        quota={key: value for key, value in quota.items() if value},
    )
    results_console().print(
        Text(f"The token of {name} is in {out}, its hash in {tokens}. Give the first to {name} alone."), soft_wrap=True
    )
    return DONE
