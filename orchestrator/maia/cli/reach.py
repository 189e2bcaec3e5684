"""What `maia doctor` says of servers: who answers at each address, its release, its certificate and its clock."""

from __future__ import annotations

import asyncio
import datetime as dt
import stat
import time
from pathlib import Path
from typing import Final

from grpc_health.v1 import health_pb2, health_pb2_grpc

from maia.cli.config import Config
from maia.cli.introduction import hosted
from maia.cli.rows import Mark, Row
from maia.orchestrator.clients import (
    SERVER_NAMES,
    Connection,
    DescriptionClient,
    EditingClient,
    ExemplarsClient,
    GenerationClient,
    SubjectClient,
    Terms,
)
from maia.wire.addresses import Address, replicas_of, split_addresses
from maia.wire.channels import SERVICE_OF, open_replica, wait_until_serving
from maia.wire.errors import MaiaError, UnavailableError
from maia.wire.refusal import certificate_expiry
from maia.wire.status import translated
from maia.wire.tls import read_pem
from maia.wire.versions import Told, own_version

SERVERS: Final = "servers"
CERTIFICATES: Final = "certificates"
SANDBOX: Final = "sandbox"
_SANDBOX_SERVICE: Final = "maia.execution.v1.ExecutionService"

_SERVER_S: Final = 1.5
_FAR_SERVER_S: Final = 6.0
_APART_S: Final = 60.0
"""Clocks that far apart are told: certificates and tokens expire by them, and logs are read by them."""

_SOON: Final = dt.timedelta(days=14)


def servers_are_elsewhere(config: Config) -> bool:
    """Whether the settings name every server, so that none is to be started here."""
    return {f"{name}_address" for name in SERVER_NAMES} <= config.model_fields_set


async def server_rows(config: Config) -> list[Row]:
    """Return rows on each replica of each server, and on the sandbox host where the settings name one."""
    asked = [
        _server(name, address, config, named=f"{name}_address" in config.model_fields_set)
        for name in SERVER_NAMES
        for address in split_addresses(config.address(name))
    ]
    rows = [row for found in await asyncio.gather(*asked) for row in found]
    if any(row.mark != "good" for row in rows):
        rows.append(Row(SERVERS, "note", "maia up starts them all; maia demo and --up start their own"))
    return rows


async def sandbox_host_rows(config: Config) -> list[Row]:
    """Return rows on the release, clock and certificate of the sandbox hosts that the settings name.

    That one does not answer is told where its tier is (`maia.cli.isolation`).
    """
    addresses = split_addresses(config.sandbox_address) if config.sandbox_address else ()
    found = await asyncio.gather(*(_server(SANDBOX, address, config, named=True) for address in addresses))
    return [row for rows in found for row in rows]


def certificate_rows(config: Config) -> list[Row]:
    """Return rows on what this side shows to servers: its certificate, and whether it has a token."""
    rows = []
    if config.tls_ca and config.tls_cert and config.tls_key:
        try:
            until = read_pem(config.tls_ca, config.tls_cert, config.tls_key).until
        except MaiaError as error:
            rows.append(Row(CERTIFICATES, "bad", error.message))
        else:
            rows.append(Row(CERTIFICATES, _mark(until), f"ours, {config.tls_cert}: {_until(until)}"))
    credentials = config.credentials
    if credentials is not None and credentials.token is not None:
        where = "MAIA_TOKEN" if config.token is not None else str(config.token_file)
        try:
            credentials.token.read()
        except MaiaError as error:
            rows.append(Row(CERTIFICATES, "bad", error.message))
        else:
            rows.append(Row(CERTIFICATES, "good", f"a token is in {where}"))
    secrets = [config.tls_key, config.token_file if config.token is None else None]
    return [*rows, *(row for file in secrets if file is not None for row in _open_to_others(file))]


def _open_to_others(file: Path) -> list[Row]:
    try:
        mode = file.stat().st_mode
    except OSError:
        return []  # told where it is read
    if not mode & stat.S_IROTH:
        return []
    return [Row(CERTIFICATES, "note", f"every user of this machine can read {file}: chmod 600 {file}")]


async def _server(name: str, address: str, config: Config, *, named: bool) -> list[Row]:
    """Return rows on a server, or on each of those that a DNS name stands for."""
    parsed = Address.parse(address)
    try:
        found = await replicas_of(parsed)
    except UnavailableError as error:
        return [_down(name, f"{name} at {address}", error, named=named)]
    asked = [
        _replica(
            name, replica, f"{name} at {address}" + (f" ({replica.host})" if parsed.resolve else ""), config, named
        )
        for replica in found
    ]
    return [row for rows in await asyncio.gather(*asked) for row in rows]


async def _replica(name: str, address: Address, where: str, config: Config, named: bool) -> list[Row]:
    topic = SANDBOX if name == SANDBOX else SERVERS
    within_s = _SERVER_S if address.local else _FAR_SERVER_S
    try:
        credentials = config.credentials
        async with open_replica(address, credentials) as channel:
            connection = Connection(name, str(address), channel)
            service = SERVICE_OF.get(name, _SANDBOX_SERVICE)
            await wait_until_serving(channel, server=connection.server, timeout_s=within_s, service=service)
            told, apart_s = await _told(connection, within_s)
            said = "" if name == SANDBOX else f"{await _introduction(connection, within_s)}; "
        until = await certificate_expiry(address, credentials)
    except UnavailableError as error:
        return [] if name == SANDBOX else [_down(name, where, error, named=named)]
    except MaiaError as error:
        return [] if name == SANDBOX else [Row(topic, "bad", f"{where}: {error.message}")]
    release = f"maia {told.version}" if told.version else "of an unknown release"
    return [
        Row(topic, "good", f"{where}: {said}{release}"),
        *_release_rows(topic, where, told),
        *_clock_rows(topic, where, apart_s),
        *([Row(topic, _mark(until), f"{where}: its certificate {_until(until)}")] if until else []),
    ]


def _down(name: str, where: str, error: UnavailableError, *, named: bool) -> Row:
    reason = f": {error.message}" if named else ""
    return Row(SANDBOX if name == SANDBOX else SERVERS, "bad" if named else "note", f"{where}: not running{reason}")


async def _told(connection: Connection, within_s: float) -> tuple[Told, float | None]:
    """What a server tells of itself, and how many seconds its clock is ahead of ours at least."""
    health = health_pb2_grpc.HealthStub(connection.channel)
    before = time.time()
    with translated(server=connection.server):
        call = health.Check(health_pb2.HealthCheckRequest(), timeout=within_s)
        await call
    after = time.time()
    told = Told.of(await call.trailing_metadata())
    if told.time_s is None:
        return told, None
    # It was asked some time between the two.
    return told, min(told.time_s - before, 0.0) if told.time_s < before else max(told.time_s - after, 0.0)


def _release_rows(topic: str, where: str, told: Told) -> list[Row]:
    own = own_version()
    if not told.version:
        return [Row(topic, "note", f"{where} does not say its release; this is maia {own}")]
    if told.version != own:
        return [Row(topic, "note", f"{where} is maia {told.version} and this is maia {own}; they speak to each other")]
    return []


def _clock_rows(topic: str, where: str, ahead_s: float | None) -> list[Row]:
    if ahead_s is None or abs(ahead_s) <= _APART_S:
        return []
    way = "ahead of" if ahead_s > 0 else "behind"
    detail = f"{where}: its clock is {abs(ahead_s):,.0f} s {way} ours; set both by NTP, as certificates expire by them"
    return [Row(topic, "bad", detail)]


def _mark(until: dt.datetime) -> Mark:
    return "good" if until - dt.datetime.now(dt.UTC) > _SOON else "note"


def _until(until: dt.datetime) -> str:
    days = (until - dt.datetime.now(dt.UTC)).days
    soon = f", in {days} days: renew it (`maia certs`)" if _mark(until) == "note" else ""
    return f"expires on {until:%Y-%m-%d}{soon}"


async def _introduction(connection: Connection, within_s: float) -> str:
    """What a server says of itself: name, revision, and what it hosts."""
    terms = Terms.within(within_s)
    match connection.name:
        case "subject":
            found = await hosted(SubjectClient(connection), terms)
            return ", ".join(f"{name} {info.revision}" if info else f"{name} on demand" for name, info in found.items())
        case "generation":
            generator = await GenerationClient(connection).generator(terms)
            return f"{generator.name} {generator.revision}"
        case "editing":
            editor = await EditingClient(connection).editor(terms)
            return f"{editor.name} {editor.revision}"
        case "exemplars":
            subjects = {one.subject for one in await ExemplarsClient(connection).sets(terms)}
            return f"exemplars of {', '.join(sorted(subjects)) or 'no subject yet (maia exemplars build)'}"
        case _:
            describer = await DescriptionClient(connection).describer(terms)
            return f"{describer.name} {describer.revision}"
