"""`python -m maia.services.synthetic`: makes synthetic neurons on photographs."""

from __future__ import annotations

import _thread
import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from maia.services._runtime.memory import keep_freed_memory
from maia.services._runtime.program import QUIET_THREADS
from maia.services.subject.backends.photograph_neurons.backend import load_detector
from maia.services.subject.backends.photograph_neurons.table import Mode
from maia.services.subject.settings import SubjectSettings
from maia.services.synthetic.creating import Creation, create
from maia.wire.logs import configure_logs
from maia.wire.program import reporting_errors
from maia.wire.settings import load_settings

_BETWEEN_S: Final = 10.0
"""Lines of progress in a file or pipe are no closer."""

_PROGRAM: Final = "python -m maia.services.synthetic"


def main(arguments: Sequence[str]) -> int:
    """Create, and return the exit code."""
    return reporting_errors(lambda: _run(*_parser().parse_known_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Make synthetic neurons on photographs: units that respond to what words name.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser(
        "create",
        help="run units over pictures and keep those that drive each most",
        description="Run units over pictures, and write their 15 exemplars and the label file in MAIA's format. "
        "How the models are loaded is said as to the subject server: by its flags (--detector, --segmenter, "
        "--box-threshold, --text-threshold, --device, --model-dir, --offline), "
        "environment and table in the settings file. What was done before a stop is not done again.",
        allow_abbrev=False,
    )
    making.add_argument("--mode", choices=[str(mode) for mode in Mode], required=True, help="how concepts are combined")
    making.add_argument(
        "--labels",
        required=True,
        help="a label file of MAIA's form (.json), or labels separated by commas; in one of 'or' and 'and', concepts "
        "are separated by _: dog_leash",
    )
    making.add_argument("--dataset", type=Path, required=True, help="folder of pictures, to any depth")
    making.add_argument(
        "--coco",
        type=Path,
        help="annotations in COCO's format, whose file names are paths in the folder: only pictures with a unit's "
        "categories are tried for it, instead of all",
    )
    making.add_argument("--out", type=Path, required=True, help="folder to write into")
    making.add_argument("--size", type=int, default=224, help="side of the exemplars in pixels (%(default)s)")
    making.add_argument("--allow-fewer", action="store_true", help="keep units with fewer than 15 exemplars too")
    making.add_argument("--json", action="store_true", help="tell the progress as lines of JSON on standard output")
    making.add_argument("--end-with-stdin", action="store_true", help="stop when standard input closes")
    return parser


def _run(chosen: argparse.Namespace, others: Sequence[str]) -> None:
    os.environ.setdefault(*QUIET_THREADS)
    keep_freed_memory()
    configure_logs(level="warning")
    settings = load_settings(SubjectSettings, "subject", others, program=_PROGRAM)
    _stop_by_signal(with_stdin=chosen.end_with_stdin)
    tell = _telling(as_json=chosen.json)
    asked = Creation(
        Mode(chosen.mode), chosen.labels, chosen.dataset, chosen.out, chosen.coco, chosen.size, chosen.allow_fewer
    )
    made = create(
        asked,
        lambda: load_detector(settings.photographs, settings.network),
        lambda doing, done, total: tell({"doing": doing, "done": done, "total": total}),
    )
    tell(
        {
            "created": str(asked.out),
            "anew": made.anew,
            "mode": str(asked.mode),
            "units": made.units,
            "fewest_exemplars": made.fewest,
            "unreadable": made.unreadable,
        }
    )


def _stop_by_signal(*, with_stdin: bool) -> None:
    """Let an order to stop, or the parent's end, interrupt; what is kept is whole at any instant."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def wait() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        _thread.interrupt_main()

    if with_stdin:
        threading.Thread(target=wait, daemon=True).start()


def _telling(*, as_json: bool) -> Callable[[dict[str, object]], None]:
    if as_json:

        def tell(fact: dict[str, object]) -> None:
            sys.stdout.write(json.dumps(fact) + "\n")
            sys.stdout.flush()
    else:
        moving = sys.stderr.isatty()
        told = -math.inf

        def tell(fact: dict[str, object]) -> None:
            nonlocal told
            if "doing" not in fact:
                sys.stderr.write("\n" * moving + json.dumps(fact, indent=1) + "\n")
                return
            line = f"{fact['doing']}: {fact['done']} of {fact['total']} pictures"
            now = time.monotonic()
            if moving:
                sys.stderr.write(f"\r{line} ")
            elif fact["done"] == fact["total"] or now - told >= _BETWEEN_S:
                told = now
                sys.stderr.write(f"{line}\n")

    return tell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
