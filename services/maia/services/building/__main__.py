"""`python -m maia.services.building`: finds the exemplars of a subject, in one process or as one part of many."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from maia.services._runtime.memory import keep_freed_memory
from maia.services._runtime.program import QUIET_THREADS
from maia.services.building.plan import BATCH, SAMPLES, Shard
from maia.services.exemplars.model import TOP
from maia.services.exemplars.settings import default_store
from maia.wire.errors import CancelledError, InvalidRequestError
from maia.wire.logs import configure_logs
from maia.wire.program import reporting_errors
from maia.wire.settings import load_settings

_SHOWN: Final = 20
"""Pictures that were left out, of what may be millions; the set's report.json has all."""

_PROGRAM: Final = "python -m maia.services.building"


def main(arguments: Sequence[str]) -> int:
    """Build or merge, and return the exit code."""
    parser = _parser()
    chosen, others = parser.parse_known_args(arguments)
    if chosen.command == "merge" and others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return reporting_errors(lambda: _run(chosen, others))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Find the dataset pictures that drive each unit most. How a network is loaded is said as to "
        "the subject server: by its flags (--device, --precision, --weights, …), environment and table of settings.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="pass over a dataset, or over a part of it")
    merge = commands.add_parser("merge", help="put the parts of a pass together; no model is loaded")
    for one in (build, merge):
        one.add_argument(
            "--model", required=one is build, default="", help="the subject, as the subject server takes it"
        )
        one.add_argument(
            "--dataset", default="scenes", help="scenes, a folder of pictures, tars or tables (%(default)s)"
        )
        one.add_argument("--size", type=int, help="take only the first so many pictures")
        one.add_argument("--split", help="of a Hugging Face dataset")
        one.add_argument("--column", help="of a Hugging Face dataset")
        one.add_argument("--store", type=Path, default=default_store(), help="folder of the exemplars (%(default)s)")
        one.add_argument("--json", action="store_true", help="tell the progress as lines of JSON on standard output")
        one.add_argument("--end-with-stdin", action="store_true", help="stop when standard input closes")
    build.add_argument("--layers", default="", help="separated by commas; all of the subject if not given")
    build.add_argument("--batch", type=int, default=BATCH, help="pictures in one pass of the network (%(default)s)")
    build.add_argument("--top", type=int, default=TOP, help="pictures to keep of each unit (%(default)s)")
    build.add_argument(
        "--samples", type=int, default=SAMPLES, help="random pictures to keep for all units (%(default)s)"
    )
    build.add_argument(
        "--shards", type=int, help="parts of the whole pass (1; on a cluster one for each GPU or machine)"
    )
    build.add_argument("--shard", type=int, help="which part to do, from 0")
    build.add_argument("--anew", action="store_true", help="do it again, whatever is stored of it")
    build.add_argument(
        "--engine", choices=("process", "ray"), default="process", help="where it runs: here, or on a Ray cluster"
    )
    build.add_argument(
        "--ray-address", help="of the cluster: HOST:PORT, auto; one of this machine alone if not given (RAY_ADDRESS)"
    )
    build.add_argument("--threads-per-task", type=int, help="processors for each part on a cluster (all, divided)")
    build.add_argument(
        "--checkpoint-s", type=float, default=60.0, help="seconds after which it saves where it is (%(default)g)"
    )
    return parser


def _run(chosen: argparse.Namespace, others: Sequence[str]) -> None:
    os.environ.setdefault(*QUIET_THREADS)
    keep_freed_memory()
    configure_logs(level="warning")
    # Torch: `--help` must not pay for it.
    from maia.services.building.build import Build, build, merge
    from maia.services.building.passing import Step, Wanted
    from maia.services.subject.settings import SubjectSettings

    where = {name: getattr(chosen, name) for name in ("dataset", "store", "size", "split", "column")}
    with _telling(as_json=chosen.json) as tell:
        stop = _stops(with_stdin=chosen.end_with_stdin)

        def heard(step: Step) -> None:
            try:
                tell({"doing": step.doing, "done": step.done, "total": step.total})
            except BrokenPipeError:  # whoever was listening has ended, and would not want what is done to be lost
                stop.set()
            if stop.is_set() and step.doing != "measuring":  # the pass itself asks, when it can save what is done
                raise CancelledError(f"stopped while {step.doing} pictures; the same command goes on from there")

        if chosen.command == "merge":
            built = merge(Build(chosen.model, **where), heard)
        else:
            settings = load_settings(SubjectSettings, "subject", others, program=_PROGRAM)
            shard = _shard(chosen)
            asked = Build(
                chosen.model,
                **where,
                wanted=Wanted(_names(chosen.layers), chosen.batch, chosen.top, chosen.samples),
                options=settings.network,
                photographs=settings.photographs,
                shard=shard,
                checkpoint_s=chosen.checkpoint_s,
                anew=chosen.anew,
            )
            if chosen.engine == "ray":
                from maia.services.building.ray_engine import Cluster, build_on_ray
                from maia.wire.ray_cluster import LOCAL

                address = chosen.ray_address or os.environ.get("RAY_ADDRESS") or LOCAL
                cluster = Cluster(address, chosen.shards, chosen.threads_per_task)
                built = build_on_ray(asked, cluster, heard, stop.is_set)
            else:
                built = build(asked, heard, stop.is_set)
        tell(
            {
                "built": built.manifest is not None,
                "anew": built.anew,
                "subject": built.plan.subject,
                "units": sum(layer.units for layer in built.plan.layers),
                "pictures": built.plan.size,
                "left_out": len(built.skipped),
                "skipped": [{"title": one.title, "why": one.why} for one in built.skipped[:_SHOWN]],
                "notes": list(built.notes),
                "pass": built.plan.key,
            }
        )


def _stops(*, with_stdin: bool) -> threading.Event:
    """An event that is set by the first signal, or by the parent's end; a second signal interrupts at once."""
    asked = threading.Event()

    def ask(number: int, _frame: object) -> None:
        asked.set()
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)

    def wait() -> None:
        while os.read(0, 4096):
            pass
        asked.set()

    if with_stdin:
        threading.Thread(target=wait, daemon=True).start()
    return asked


def _shard(chosen: argparse.Namespace) -> Shard:
    """Return which part to do here.

    Raises:
        InvalidRequestError: SHARD_INVALID: none is named, or one where a cluster does all. SETTING_INVALID: flags that
            are a cluster's without one.
    """
    if chosen.engine == "ray":
        if chosen.shard is not None:
            raise InvalidRequestError(
                "a cluster does all parts; leave out --shard, or --engine ray", reason="SHARD_INVALID"
            )
        return Shard()
    if chosen.ray_address is not None or chosen.threads_per_task is not None:
        raise InvalidRequestError(
            "--ray-address and --threads-per-task are for a cluster; add --engine ray", reason="SETTING_INVALID"
        )
    shards = 1 if chosen.shards is None else chosen.shards
    if chosen.shard is None and shards > 1:
        raise InvalidRequestError(
            f"which of the {shards} parts? Name it with --shard, from 0 to {shards - 1}",
            reason="SHARD_INVALID",
        )
    return Shard(chosen.shard or 0, shards)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@contextmanager
def _telling(*, as_json: bool) -> Iterator[Callable[[Mapping[str, object]], None]]:
    """Yield what tells facts: as lines on standard output, or for people on standard error."""
    begun = False  # a line that the next one takes the place of
    out = sys.stdout
    if as_json:
        out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # a user's own network may print, and must not do so between the lines

    def tell_json(fact: Mapping[str, object]) -> None:
        out.write(json.dumps(fact) + "\n")
        out.flush()

    def tell(fact: Mapping[str, object]) -> None:
        nonlocal begun
        if "doing" in fact:
            sys.stderr.write(f"\r{fact['doing']} {fact['done']} of {fact['total']} pictures ")
            begun = True
        else:
            sys.stderr.write("\n" * begun + json.dumps(fact, indent=1) + "\n")
            begun = False

    try:
        yield tell_json if as_json else tell
    finally:
        if begun:
            sys.stderr.write("\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
