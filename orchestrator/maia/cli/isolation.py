"""What `maia sandbox tiers` says, and `maia doctor` with it: how code can be isolated on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from maia.cli.config import Config
from maia.cli.errors import DONE, FAILED
from maia.cli.results import results_console
from maia.cli.rows import Row, table_of
from maia.sandbox import SandboxError, TierReport, probe_all
from maia.sandbox.host.tiers.choice import AUTO
from maia.wire.addresses import split_addresses
from maia.wire.tls import ClientCredentials

UNISOLATED: Final = "nothing is isolated: the code can do all that you can"


async def show_tiers(config: Config) -> int:
    """Print what each tier enforces here, what it does not, and what mends those that do not work.

    Returns:
        The exit code: 0 if one of those that "auto" takes works.
    """
    reports = await probe_all(cache_dir=config.cache_dir)
    taken = taken_by_auto(reports)
    console = results_console()
    console.print(table_of([row for report in reports for row in _rows(report)]))
    verdict = f"auto takes {taken}." if taken else "No tier isolates here; each says above what it lacks."
    console.print(Text(verdict, "bold green" if taken else "bold red"))
    return DONE if taken else FAILED


def taken_by_auto(reports: Sequence[TierReport]) -> str:
    """Return the tier that "auto" takes, or nothing if none works."""
    working = {report.tier for report in reports if report.available}
    return next((tier for tier in AUTO if tier in working), "")


def _rows(report: TierReport) -> list[Row]:
    if not report.available:
        return [Row(report.tier, "bad", _missing(report)), *_lines(report.tier, report.remedy)]
    return [
        Row(report.tier, "good" if feature.enforced else "note", f"{feature.name}: {feature.detail}")
        for feature in report.features
    ]


def _lines(tier: str, remedy: str) -> list[Row]:
    return [Row(tier, "note", line) for line in remedy.splitlines() if line.strip()]


def _missing(report: TierReport) -> str:
    return "; ".join(feature.detail for feature in report.features)


async def sandbox_rows(config: Config) -> list[Row]:
    """Return what a doctor says of the sandbox that the settings choose, and in a line each of the others."""
    if config.sandbox_address is not None:
        hosts = split_addresses(config.sandbox_address)
        return [row for host in hosts for row in await _remote_rows(host, config.credentials)]
    reports = {report.tier: report for report in await probe_all(cache_dir=config.cache_dir)}
    chosen = config.sandbox_tier if config.sandbox_tier != "auto" else taken_by_auto(list(reports.values()))
    return [*_chosen_rows(config, reports.get(chosen)), *_other_rows(reports, chosen)]


def _chosen_rows(config: Config, report: TierReport | None) -> list[Row]:
    if report is None:
        return [Row("sandbox", "bad", "no tier isolates here; what each lacks stands below")]
    if not report.available:
        return [Row("sandbox", "bad", f"{_missing(report)}. {report.remedy}")]
    if report.tier == "none":
        detail = UNISOLATED if config.allow_unisolated else "the tier none needs --allow-unisolated"
        return [Row("sandbox", "note" if config.allow_unisolated else "bad", detail)]
    why = "the first that works here" if config.sandbox_tier == "auto" else "as the settings say"
    return [
        Row("sandbox", "good", f"sessions are isolated by the tier {report.tier}, {why}"),
        *(
            Row("sandbox", "good" if feature.enforced else "note", f"{feature.name}: {feature.detail}")
            for feature in report.features
        ),
    ]


def _other_rows(reports: dict[str, TierReport], chosen: str) -> list[Row]:
    rows = []
    for tier in AUTO:
        report = reports[tier]
        if report.available and tier != chosen:
            rows.append(Row("other tiers", "good", f"{tier}: works, with --sandbox-tier {tier}"))
        elif not report.available:
            remedy = " ".join(report.remedy.split())
            rows.append(Row("other tiers", "note", f"{tier}: {_missing(report)}. {remedy}"))
    return rows


async def _remote_rows(address: str, credentials: ClientCredentials | None) -> list[Row]:
    from maia.sandbox import RemoteHost  # gRPC only where it is used

    try:
        async with RemoteHost(address, credentials) as host:
            rows = [
                Row(
                    "sandbox",
                    "good",
                    f"the sandbox host at {address} isolates by the tier {host.tier}; "
                    f"{host.sessions} of {host.session_limit} sessions are open",
                )
            ]
            rows += [
                Row("sandbox", "good" if feature.enforced else "note", f"{feature.name}: {feature.detail}")
                for feature in host.features
            ]
            return rows
    except SandboxError as error:
        return [Row("sandbox", "bad", f"{error}; start it with `maia serve sandbox`, or leave out --sandbox-address")]
