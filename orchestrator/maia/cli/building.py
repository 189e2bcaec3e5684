"""What `maia exemplars build`, `merge` and `list` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maia.cli.builder import run_program
from maia.cli.config import Config
from maia.cli.errors import DONE, CommandError
from maia.cli.folders import check_writable
from maia.cli.progress import Progress
from maia.cli.results import results_console
from maia.cli.servers import exemplar_store
from maia.cli.words import counted
from maia.orchestrator.report.visible import one_line, visible
from maia.wire.errors import MaiaError
from maia.wire.logs import configure_logs

_MODULE: Final = "maia.services.building"
_SHOWN: Final = 6  # of what may be many


async def build_exemplars(config: Config, subjects: Sequence[str], asked: Mapping[str, object]) -> int:
    """Find and store exemplars.

    Args:
        config: Settings.
        subjects: Their names.
        asked: Flags of the program, without those that are None.

    Returns:
        The exit code.

    Raises:
        CommandError: No subject is named.
        BuildFailedError: The program failed.
    """
    if not subjects:
        raise CommandError("no subject is named; --model takes one or several, separated by commas")
    for subject in subjects:
        await _run(config, "build", f"exemplars of {subject}", {"model": subject, **asked})
    return DONE


async def merge_exemplars(config: Config, asked: Mapping[str, object]) -> int:
    """Put the parts of a pass together; see `build_exemplars`."""
    await _run(config, "merge", "exemplars", asked)
    return DONE


def list_sets(config: Config) -> int:
    """Show what is stored."""
    from maia.services.exemplars.store import ExemplarStore

    store = exemplar_store(config)
    others: list[MaiaError] = []
    manifests = ExemplarStore(store).manifests(others)
    for other in others:
        Console(stderr=True).print(Text(f"not shown: {visible(other.message)}"), soft_wrap=True)
    console = results_console()
    if not manifests:
        console.print(Text(f"no exemplars in {store}{' that can be shown' if others else ''}"), soft_wrap=True)
        return DONE
    table = Table()
    for title in ("subject", "revision", "dataset", "pictures", "top", "layers"):
        table.add_column(title, overflow="fold")
    for one in manifests:
        layers = ", ".join(f"{layer.name} ({layer.units})" for layer in one.layers[:_SHOWN])
        if len(one.layers) > _SHOWN:
            layers += f" and {len(one.layers) - _SHOWN} more"
        revision = one.subject_revision or "unknown"
        cells = (one.subject, revision, one.dataset, str(one.dataset_size), str(one.top), layers)
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(table)
    return DONE


async def _run(config: Config, command: str, what: str, asked: Mapping[str, object]) -> None:
    check_writable(config.cache_dir, "--cache-dir")
    store = exemplar_store(config)
    flags = [part for name, value in asked.items() if value is not None for part in _flag(name, value)]
    with Progress(Console(stderr=True)) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        progress.stage(what)
        result = await run_program(_MODULE, (command, "--store", str(store), *flags), progress, what)
        progress.done(_told(result))
        for line in [*map(visible, result["notes"]), *_skipped(result)]:
            progress.note(line)
    if result["built"]:
        results_console().print(Text(f"Exemplars: {store}"), soft_wrap=True)


def _flag(name: str, value: object) -> tuple[str, ...]:
    return (f"--{name}",) if value is True else (f"--{name}", str(value))


def _told(result: Mapping[str, Any]) -> str:
    subject = f"{result['subject']}: {counted(result['units'], 'unit')}, {counted(result['pictures'], 'picture')}"
    if not result["built"]:
        return f"{subject}: this part is done; when all are, end the pass with `maia exemplars merge`"
    return f"{subject}{'' if result['anew'] else ', stored already'}"


def _skipped(result: Mapping[str, Any]) -> list[str]:
    skipped = result["skipped"]
    if not skipped:
        return []
    told = [f"{counted(result['left_out'], 'picture')} left out; report.json in the set's folder names all"]
    told += [f"{one_line(visible(one['title']), 60)}: {one_line(visible(one['why']), 100)}" for one in skipped[:_SHOWN]]
    return told
