"""What a command ends with: the table of units, and what is known of the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maia.cli.command_line import CommandLine
from maia.cli.words import clock, counted
from maia.orchestrator.budget import Budget
from maia.orchestrator.errors import OTHER_RUN, JournalError
from maia.orchestrator.events import UnitName
from maia.orchestrator.report import UnitResult
from maia.orchestrator.report.visible import one_line, visible

_ONLY_ANEW = (JournalError.default_reason, OTHER_RUN)
_SYNTHETIC = "scene-neurons"
_FILE_WIDTH = 160
_WORDS_WIDTH = 16
_LEFT_OUT_FIRST = ("tool calls", "rounds", "tokens", "time", "cost")


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
    """Print one row per unit; on a narrow terminal fewer numbers, which the report has, so that the words have room."""
    known = any(result.truth is not None for result in results)
    paid = any(result.tokens for result in results)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    units = [visible(_short(result.unit, results)) for result in results]
    table.add_column("unit", no_wrap=True)
    table.add_column("label", min_width=_WORDS_WIDTH)
    if known:
        table.add_column("truth", min_width=_WORDS_WIDTH)
        table.add_column("")
    room = console.width - max(map(len, units), default=0) - (1 + known) * (_WORDS_WIDTH + 3) - 3 * known
    numbers = _numbers_within(room, results, paid=paid)
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    for row, (unit, result) in enumerate(zip(units, results, strict=True)):
        cells = [Text(unit), _label(result)]
        if known:
            cells += [Text(result.truth or "–", style="" if result.truth else "dim"), _mark(result)]
        table.add_row(*cells, *(Text(column[row]) for column in numbers.values()))
    console.print(table)
    if paid:
        console.print(Text(f"{sum(result.tokens for result in results):,} tokens{_cost(results)}"))
    judged = [result for result in results if result.matched is not None]
    if judged:
        right = sum(result.matched is True for result in judged)
        console.print(Text(f"{right} of {counted(len(judged), 'label')} equal to the truth"))


def _short(unit: UnitName, results: Sequence[UnitResult]) -> str:
    """Return a unit's name, without the subject where all are of one."""
    alike = len(results) > 1 and len({result.unit.model for result in results}) == 1
    return str(unit).removeprefix(f"{unit.model} ") if alike else str(unit)


def _numbers_within(width: int, results: Sequence[UnitResult], *, paid: bool) -> dict[str, list[str]]:
    """Return the columns of numbers, by title; the least asked for are left out until the rest fits."""
    columns = {
        "rounds": [str(result.rounds) for result in results],
        "tool calls": [str(result.tool_calls) for result in results],
        "tokens": [f"{result.tokens:,}" for result in results],
        "cost": [money(result.usd) for result in results],
        "time": [clock(result.seconds) for result in results],
    }
    left_out = [] if paid else ["tokens", "cost"]
    for title in (*left_out, *_LEFT_OUT_FIRST):
        taken = sum(3 + max(map(len, (name, *cells))) for name, cells in columns.items())
        if title in left_out or taken > width:
            columns.pop(title, None)
    return columns


def money(usd: float | None) -> str:
    """Return a price as text; a dash where it is not known."""
    return "–" if usd is None else f"${usd:,.2f}"


def show_answers(console: Console, results: Sequence[UnitResult]) -> None:
    """Print each answer in whole, under its unit where there are several."""
    for result in results:
        if result.status != "concluded":
            continue
        if len(results) > 1:
            console.print(Text(visible(str(result.unit)), style="bold"))
        console.print(Text(visible(result.description)), soft_wrap=not console.is_terminal)
        console.print()


def show_failures(
    console: Console, results: Sequence[UnitResult], not_begun: int = 0, again: CommandLine | None = None
) -> None:
    """Say why units have no finding, and with which command to go on.

    Args:
        console: Where.
        results: Of all units; those that were concluded need no word.
        not_begun: How many units were not begun.
        again: The command that was given, where it can be given again.
    """
    failed = [result for result in results if result.status != "concluded"]
    if failed:
        console.print(Text(f"{counted(len(failed), 'unit')} without a finding:", style="bold"))
    for result in failed:
        console.print(Text(f"  {result.unit}: {why(result)}"), soft_wrap=True)
    if not_begun:
        console.print(Text(f"{counted(not_begun, 'unit')} not begun", style="bold"))
    undecided = [result for result in failed if result.status == "no_conclusion"]
    refused = [result for result in failed if result.reason.startswith(_ONLY_ANEW)]
    if refused:
        _show_command(
            console,
            "To start over with those whose journal cannot be gone on with, which is kept:",
            again.anew(result.unit for result in refused) if again else None,
            "maia run --fresh starts over with these.",
        )
    if not_begun or len(failed) > len(undecided) + len(refused):
        _show_command(
            console,
            "To go on with what is not finished, and leave what is as it is:",
            again.going_on() if again else None,
            "maia run with the same flags goes on with these, and leaves finished units as they are.",
        )
    spent = [result for result in undecided if result.out_of_budget]
    if spent:
        larger = _doubled(again.flags) if again else {}
        _show_command(
            console,
            "To investigate anew those whose budget was spent, with a larger one:",
            again.anew((result.unit for result in spent), **larger) if again and larger else None,
            "A larger --budget or --batch-budget may lead to a conclusion; --fresh investigates finished units again.",
        )
    undecided = [result for result in undecided if not result.out_of_budget]
    if undecided:
        most = max(result.rounds for result in undecided)
        _show_command(
            console,
            "To investigate anew those without a conclusion, with more rounds:",
            again.anew((result.unit for result in undecided), max_rounds=min(1000, 2 * max(1, most)))
            if again
            else None,
            "More --max-rounds may lead to a conclusion; --fresh investigates finished units again.",
        )


def _doubled(flags: Mapping[str, object]) -> dict[str, str]:
    """The budgets among a command's flags, each limit twice as high; which of them was spent, no result tells."""
    budgets = {name: flags.get(name) for name in ("budget", "batch_budget")}
    return {name: str(Budget.parse(text).times(2)) for name, text in budgets.items() if isinstance(text, str) and text}


def _show_command(console: Console, what_for: str, command: str | None, otherwise: str) -> None:
    """Print a command on a line of its own, to be pasted."""
    lines = [what_for, f"  {command}"] if command else [otherwise]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def why(result: UnitResult) -> str:
    """Return in one line why a unit has no finding."""
    if result.status == "interrupted":
        return "interrupted"
    if result.reason.startswith("PAUSED: "):
        return result.reason.removeprefix("PAUSED: ")
    return f"{result.status.replace('_', ' ')}: {one_line(visible(result.reason), 500)}"


def _cost(results: Sequence[UnitResult]) -> str:
    paid = [result.usd for result in results if result.tokens]
    known = [usd for usd in paid if usd is not None]
    if not known:
        return ""
    unknown = len(paid) - len(known)
    return f", {money(sum(known))}" + (f" and the unknown cost of {counted(unknown, 'unit')}" if unknown else "")


def _label(result: UnitResult) -> Text:
    if result.status != "concluded":
        return Text(result.status.replace("_", " "), style="red")
    lines = result.labels or (result.headline,)
    return Text("\n".join(one_line(visible(line), 80) for line in lines), style="bold")


def _mark(result: UnitResult) -> Text:
    if result.matched is None:
        return Text("")
    return Text("✓", style="green") if result.matched else Text("✗", style="red")
