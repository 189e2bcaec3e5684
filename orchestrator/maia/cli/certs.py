"""`maia certs` and `maia token`: their flags. What they do is in `maia.cli.credentials`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(certs)
    app.command()(token)


def certs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they go, and where the CA is kept.")],
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=HOST,…",
            help="Names and IP addresses that clients reach a server at; may be given once for each server.",
            show_default="this machine, and what the certificate has already",
        ),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="One more client, beside orchestrator; may be given several times."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, metavar="N", help="How long certificates are good.")] = 90,
    ca_days: Annotated[int, typer.Option(min=1, max=36500, metavar="N", help="How long a new CA is good.")] = 3650,
    renew_within: Annotated[
        int, typer.Option(min=0, max=3650, metavar="DAYS", help="Renew what expires within that time.")
    ] = 30,
) -> int:
    """Make certificates for servers and clients, and renew those that expire soon.

    The first time this makes a private CA: `ca.pem`, which everybody gets, and `ca-key.pem`, which signs and stays
    where it is. Then a pair NAME.pem and NAME-key.pem for each server (subject, generation, editing, exemplars,
    description, sandbox), for the orchestrator, and for each `--client`. For example:

        maia certs certs --host subject=gpu1.lab,10.0.0.5 --host sandbox=box.lab

    Copy `ca.pem` and a server's own pair to its machine, and start it there:

        maia serve subject --listen 0.0.0.0:7411 --tls-cert subject.pem --tls-key subject-key.pem --tls-client-ca ca.pem

    Clients show the orchestrator's:

        maia run --subject-address gpu1.lab:7411 --tls-ca ca.pem --tls-cert orchestrator.pem
        --tls-key orchestrator-key.pem …

    Run it again to renew, from cron for example, and copy the pairs again: servers and clients take them without a
    restart. A CA is never overwritten.
    """
    from maia.cli.credentials import make_certificates  # help must not pay for cryptography

    return make_certificates(folder, host or [], client or [], days=days, ca_days=ca_days, renew_within=renew_within)


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who gets it; shown in the servers' logs.")],
    *,
    scopes: Annotated[
        str, typer.Option(metavar="SERVER,…", help="Servers that it is for, or * for all.", show_default=False)
    ],
    tokens: Annotated[
        Path, typer.Option(metavar="FILE", help="The servers' file of those who may call; gets the token's hash.")
    ] = Path("tokens.toml"),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the token goes.", show_default="NAME.token")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How long it is good.", show_default="until it is revoked")
    ] = None,
    requests_per_s: Annotated[float | None, typer.Option(min=0, metavar="N", help="Calls a second.")] = None,
    concurrent: Annotated[int | None, typer.Option(min=0, metavar="N", help="Calls at a time.")] = None,
    request_mb: Annotated[int | None, typer.Option(min=0, metavar="N", help="Megabytes of one request.")] = None,
) -> int:
    """Make a token for somebody who may call the servers.

    It is written once, to a file that only you can read; servers get its SHA-256 alone. For example:

        maia token alice --scopes subject,generation --requests-per-s 20

        maia serve subject --tokens tokens.toml …

    Alice puts it into MAIA_TOKEN, or gives its file as `--token-file`. To revoke it, write `revoked = true` below her
    name in the file of tokens: servers read it again within a second.
    """
    from maia.cli.credentials import make_token

    quota = {"requests_per_s": requests_per_s, "concurrent": concurrent, "request_mb": request_mb}
    named = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    return make_token(name, named, tokens, out or Path(f"{name}.token"), days=days, quota=quota)
