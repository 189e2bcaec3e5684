"""What a command ends with: the table of units, and what is known of the truth."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maia.cli.words import clock, counted
from maia.orchestrator.events import UnitName
from maia.orchestrator.report import UnitResult
from maia.orchestrator.report.visible import one_line, visible

_SYNTHETIC = "scene-neurons"
_FILE_WIDTH = 160


def truth_of(unit: UnitName) -> str | None:
    """Return what a synthetic unit is known to respond to, None for any other; only for after a run (design D9)."""
    if unit.model != _SYNTHETIC:
        return None
    from maia.services.subject.backends.scene_neurons.table import truth  # SciPy, for these units only

    try:
        return truth(unit.layer, unit.index)
    except (KeyError, IndexError):
        return None  # a results folder of another version


def canonical(label: str) -> str | None:
    """Return the form in which labels of the scene world are compared, None for a label that is none of its."""
    try:
        from maia.services.scenes.labels import canonical_label  # SciPy, which only the demo installs
    except ModuleNotFoundError:
        return None
    return canonical_label(label)


def results_console() -> Console:
    """Return the console for tables on standard output; a file or a pipe has no width that would fold its lines."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


def show_table(console: Console, results: Sequence[UnitResult]) -> None:
    """Print one row per unit."""
    known = any(result.truth is not None for result in results)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("label")
    if known:
        table.add_column("truth")
        table.add_column("")
    paid = any(result.tokens for result in results)
    for title in ("rounds", "tool calls", *(("tokens", "cost") if paid else ()), "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for result in results:
        cells = [Text(visible(str(result.unit))), _label(result)]
        if known:
            cells += [Text(result.truth or "–", style="" if result.truth else "dim"), _mark(result)]
        cells += [Text(str(result.rounds)), Text(str(result.tool_calls))]
        if paid:
            cells += [Text(f"{result.tokens:,}"), Text(money(result.usd))]
        cells.append(Text(clock(result.seconds)))
        table.add_row(*cells)
    console.print(table)
    if paid:
        console.print(Text(f"{sum(result.tokens for result in results):,} tokens, {_cost(results)}"))
    judged = [result for result in results if result.matched is not None]
    if judged:
        right = sum(result.matched is True for result in judged)
        console.print(Text(f"{right} of {counted(len(judged), 'label')} equal to the truth"))


def money(usd: float | None) -> str:
    """Return a price as text; a dash where it is not known."""
    return "–" if usd is None else f"${usd:,.2f}"


def show_failures(console: Console, results: Sequence[UnitResult]) -> None:
    """Say why units have no finding, and what to do."""
    failed = [result for result in results if result.status != "concluded"]
    if not failed:
        return
    console.print(Text(f"{counted(len(failed), 'unit')} without a finding:", style="bold"))
    for result in failed:
        console.print(Text(f"  {result.unit}: {why(result)}"), soft_wrap=True)
    if any(result.status != "no_conclusion" for result in failed):
        console.print(
            Text("maia run into the same folder investigates these anew and leaves finished units as they are.")
        )
    if any(result.status == "no_conclusion" for result in failed):
        console.print(Text("More --max-rounds may lead to a conclusion; --fresh investigates finished units again."))


def why(result: UnitResult) -> str:
    """Return in one line why a unit has no finding."""
    if result.status == "interrupted":
        return "interrupted"
    return f"{result.status.replace('_', ' ')}: {one_line(visible(result.reason), 500)}"


def _cost(results: Sequence[UnitResult]) -> str:
    known = sum(result.usd for result in results if result.usd is not None)
    unknown = sum(result.usd is None for result in results)
    return money(known) + (f" and the unknown cost of {counted(unknown, 'unit')}" if unknown else "")


def _label(result: UnitResult) -> Text:
    if result.status != "concluded":
        return Text(result.status.replace("_", " "), style="red")
    return Text("\n".join(one_line(visible(label), 80) for label in result.labels), style="bold")


def _mark(result: UnitResult) -> Text:
    if result.matched is None:
        return Text("")
    return Text("✓", style="green") if result.matched else Text("✗", style="red")
