"""`maia report`: rebuilds what is derived from journals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maia.cli.errors import DONE, CommandError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Results of maia run --out.")] = Path("results"),
) -> int:
    """Rebuild the pages, the index and the result files of a results folder from its journals.

    Units whose journal has not changed are left as they are. For example:

        maia report results
    """
    from rich.console import Console  # help must not pay for what a report needs

    from maia.cli.investigation import show
    from maia.cli.progress import Progress
    from maia.cli.results import canonical, results_console, truth_of
    from maia.orchestrator.report import UnitResult, rebuild, unit_folders

    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder}; name the one that maia run wrote to with --out")
    if not unit_folders(folder):
        raise CommandError(f"there is no journal under {folder}; name the folder that maia run wrote to with --out")
    with Progress(Console(stderr=True)) as progress:
        progress.stage("writing pages")

        def step(done: int, total: int, _: UnitResult) -> None:
            progress.step("writing pages", done, total)

        results = rebuild(folder, truth_of, step, canonical)
    show(results_console(), folder, results)
    return DONE
