"""A build whose parts are done by the machines of a Ray cluster.

Each part is one task of Ray's, which begins it again elsewhere when its worker dies; the part goes on from its state in
the store, a folder that all machines share. The command itself loads no model: it shows how far the parts are, and
merges them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from maia.services.building.build import Build, Built, Watch, finished, opened
from maia.services.building.datasets.dataset import SCENES, Dataset
from maia.services.building.passing import Step
from maia.services.building.ray_part import Board, Ended, Failure, Task, run
from maia.services.building.states import storing
from maia.services.exemplars.store import ExemplarStore
from maia.wire.errors import (
    CancelledError,
    InternalError,
    InvalidRequestError,
    MaiaError,
    PreconditionError,
)
from maia.wire.ray_cluster import LOCAL, connected, ray_module

__all__ = ["Cluster", "build_on_ray"]

_LOOK_S: Final = 0.5
_RETRIES: Final = 10
"""How often a part is begun again after its worker died."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where parts are done.

    Attributes:
        address: As Ray takes it, HOST:PORT or ray://HOST:PORT; "auto" for one that runs on this machine, "local" for
            one of this machine alone that ends with the build.
        parts: How many; None for one for each GPU or, if there are none, for each machine.
        threads: Of the processor, for each part; None for all, divided by the parts.
    """

    address: str = LOCAL
    parts: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class _Division:
    """How a pass is divided.

    Attributes:
        parts: How many.
        threads: For each.
        gpus: For each, 0 or 1.
    """

    parts: int
    threads: int
    gpus: int


def build_on_ray(
    asked: Build,
    cluster: Cluster,
    on_step: Watch = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Built:
    """Find the exemplars of a subject, on many machines; what was done before is not done again.

    Args:
        asked: What to build; its store is a folder that all machines share, and its `shard` does not count.
        cluster: Where.
        on_step: Is told how far all parts are.
        stopped: Whether to stop; the same call goes on from there.

    Raises:
        CancelledError: It was stopped.
        InvalidRequestError: RAY_ADDRESS_INVALID, SHARD_INVALID or THREADS_INVALID.
        PreconditionError: EXTRA_MISSING; RAY_UNREACHABLE; PARTS_DIFFER: the machines have different versions;
            STORE_NOT_SHARED.
        InternalError: PART_FAILED.
        MaiaError: What `build` and `finish` raise.
    """
    _check(cluster)
    ray = ray_module()
    with storing(asked.store):
        asked.store.mkdir(parents=True, exist_ok=True)
    asked = replace(asked, store=asked.store.absolute(), dataset=_absolute(asked.dataset))
    dataset = opened(asked, on_step)
    with connected(ray, cluster.address):
        division = _divided(ray, cluster)
        parts = _done(ray, asked, division, _Watching(len(dataset), on_step, stopped))
    return _merged(asked, dataset, parts, on_step)


def _check(cluster: Cluster) -> None:
    for value, what, reason in (
        (cluster.parts, "parts", "SHARD_INVALID"),
        (cluster.threads, "threads for each part", "THREADS_INVALID"),
    ):
        if value is not None and value < 1:
            raise InvalidRequestError(f"{value} {what} are too few; take at least 1", reason=reason)


def _absolute(dataset: str) -> str:
    """A name that means the same wherever a worker runs."""
    if dataset in {"", SCENES}:
        return dataset
    path = Path(dataset)
    with suppress(RuntimeError):  # nobody's home: a name that happens to begin with "~"
        path = path.expanduser()
    return str(path.absolute())


def _divided(ray: Any, cluster: Cluster) -> _Division:  # noqa: ANN401
    """How many parts, and what each gets; no more than one machine has, else Ray would wait for that forever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(machine.get("GPU", 0) for machine in machines))
    if gpus:
        machines = [machine for machine in machines if machine.get("GPU", 0) >= 1]
    parts = cluster.parts or gpus or len(machines)
    largest = int(max(machine.get("CPU", 0) for machine in machines))
    total = int(sum(machine.get("CPU", 0) for machine in machines))
    threads = cluster.threads or max(1, min(largest, total // parts))
    if threads > largest:
        raise InvalidRequestError(
            f"no machine of the cluster has {threads} processors for one part; the largest has {largest}",
            reason="THREADS_INVALID",
            metadata={"threads": str(threads), "limit": str(largest)},
        )
    return _Division(parts, threads, min(gpus, 1))


@dataclass(frozen=True, slots=True)
class _Watching:
    """Of whoever waits for the parts.

    Attributes:
        total: Pictures.
        on_step: Is told how far all parts are.
        stopped: Whether to stop.
    """

    total: int
    on_step: Watch
    stopped: Callable[[], bool]


def _done(ray: Any, asked: Build, division: _Division, watching: _Watching) -> Sequence[Built]:  # noqa: ANN401
    """Do all parts.

    Raises:
        MaiaError: What the first part to fail raised; the others have saved where they are.
    """
    board = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Board).remote()
    task = ray.remote(
        num_cpus=division.threads,
        num_gpus=division.gpus,
        max_retries=_RETRIES,
        max_calls=1,  # memory of a model
    )(run)
    waiting = {
        task.remote(Task.of(asked, index, division.parts, division.threads), board): index
        for index in range(division.parts)
    }
    built: dict[int, Built] = {}
    failures: list[MaiaError] = []
    done: dict[int, int] = {}
    while waiting:
        ready, _ = ray.wait(list(waiting), timeout=_LOOK_S)
        for reference in ready:
            index = waiting.pop(reference)
            ended = _ended(ray, reference, index)
            if ended.built is not None:
                built[index] = ended.built
            if ended.failure is not None:
                failures.append(ended.failure.error())
        stop = watching.stopped() or bool(failures)
        known = done | ray.get(board.look.remote(stop=stop))
        if known != done:
            done = known
            watching.on_step(Step("measuring", sum(done.values()), watching.total))
        if stop:
            for reference, index in waiting.items():
                if index not in done:  # it has not begun, and might not for long
                    ray.cancel(reference)
    if failures:
        stop_alone = CancelledError(
            f"stopped after {sum(done.values())} of {watching.total} pictures; the same command goes on from there"
        )
        raise next((error for error in failures if not isinstance(error, CancelledError)), stop_alone)
    return [built[index] for index in range(division.parts)]


def _ended(ray: Any, reference: Any, index: int) -> Ended:  # noqa: ANN401
    """What a task returned, or what Ray says of it."""
    try:
        ended: Ended = ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        return Ended(failure=Failure.of(CancelledError("stopped before it began")))
    except ray.exceptions.RayError as error:
        why = str(error).strip().splitlines()
        return Ended(
            failure=Failure.of(
                InternalError(
                    f"part {index} failed on the cluster: {why[-1] if why else type(error).__name__:.500}; the same "
                    "command goes on from what is done. All machines need the same version of maia",
                    reason="PART_FAILED",
                    metadata={"part": str(index)},
                )
            )
        )
    return ended


def _merged(asked: Build, dataset: Dataset, parts: Sequence[Built], on_step: Watch) -> Built:
    """Put the parts together, unless the set is there."""
    plans = [part.plan for part in parts if part.plan is not None]
    keys = [plan.key for plan in plans]
    if len(set(keys)) > 1:
        other = next(number for number, key in enumerate(keys) if key != keys[0])
        raise PreconditionError(
            f"parts 0 and {other} are of different passes (of revisions {plans[0].subject_revision} and "
            f"{plans[other].subject_revision} of {asked.subject:.100}, {plans[0].dataset_revision} and "
            f"{plans[other].dataset_revision} of {dataset.name}): all machines need the same version of maia, the "
            "same weights and the same pictures",
            reason="PARTS_DIFFER",
        )
    plan, stored = plans[0], next((part for part in parts if part.manifest is not None), None)
    if stored is not None and ExemplarStore(asked.store).like(plan.manifest(0)) is not None:
        return stored
    try:
        return finished(plan, dataset, len(parts), asked.store, on_step)
    except PreconditionError as error:
        if error.reason != "PARTS_MISSING":
            raise
        raise PreconditionError(
            f"parts {error.metadata['missing']} are done, but not to be seen from here in {asked.store}, which must "
            "be one folder that all machines of the cluster share",
            reason="STORE_NOT_SHARED",
            metadata={"store": str(asked.store)},
        ) from error
