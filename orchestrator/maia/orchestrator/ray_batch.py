"""A batch whose units are investigated by the machines of a Ray cluster, one task each.

Ray begins a task again elsewhere when its worker dies; the unit goes on from its journal, which lies in a folder that
all machines share or in a store (`maia.orchestrator.stored`). The command itself investigates nothing: it keeps
`jobs` tasks in flight and hears their events.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from maia.orchestrator.batch import Batch, BatchResult, Listener, Silent, spent_before
from maia.orchestrator.budget import BatchBudget, Budget, Ledger, Spending
from maia.orchestrator.clients import Addresses
from maia.orchestrator.errors import LOCKED, JournalError
from maia.orchestrator.events import Event, Finished, Stopped, UnitName
from maia.orchestrator.journal import FILE_NAME, decode_line
from maia.orchestrator.pausing import Pause
from maia.orchestrator.ray_task import Asked, Board, Ended, UnitTask, run_unit
from maia.orchestrator.run import RunSettings
from maia.orchestrator.stored import JournalStore
from maia.orchestrator.wiring import AgentSettings, SandboxSettings
from maia.wire.ray_cluster import LOCAL, connected, ray_module

log = structlog.stdlib.get_logger("maia.batch")

_CPUS: Final = 0.25
"""Of a processor, for each unit, which waits most of its time."""

_RETRIES: Final = 10
"""How often a unit is begun again after its worker died."""

_LOOK_S: Final = 0.5
_LEAVE_S: Final = 30.0
"""How long units may take to journal that they were stopped."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where units are investigated, and what each needs to open there.

    Attributes:
        addresses: Of the servers, as the machines of the cluster reach them.
        agent: The backbone; its keys go to the workers inside the tasks, and into no log.
        sandbox: Where code is run.
        address: As Ray takes it, HOST:PORT or ray://HOST:PORT; "auto" for one that runs on this machine, "local" for
            one of this machine alone that ends with the batch.
    """

    addresses: Addresses
    agent: AgentSettings
    sandbox: SandboxSettings
    address: str = LOCAL


async def run_ray_batch(
    units: Sequence[UnitName],
    cluster: Cluster,
    settings: RunSettings,
    *,
    jobs: int,
    store: JournalStore | None = None,
    listener: Listener | None = None,
    pause: Pause | None = None,
) -> BatchResult:
    """Do what `maia.orchestrator.batch.run_batch` does, on a Ray cluster.

    The budget of the batch is looked at before a unit begins; units at work are not asked to conclude when it is spent.

    Args:
        units: Of subjects that were asked before; one that is named twice runs once.
        cluster: Where.
        settings: How; `out` is a folder that all machines share, unless there is a store.
        jobs: Tasks in flight.
        store: Where journals are copied; None for none.
        listener: Is told what happens.
        pause: When it is asked for, running units finish their round and no other begins.

    Raises:
        ValueError: There are fewer jobs than one.
        InvalidRequestError: RAY_ADDRESS_INVALID.
        PreconditionError: EXTRA_MISSING or RAY_UNREACHABLE.
        MaiaError: What the listener raised.
        asyncio.CancelledError: The batch was interrupted; the journals of running units say so.
    """
    pause = pause or Pause()
    ray = ray_module()
    async with _joined(ray, cluster.address):
        tasks = _Tasks(ray, cluster, settings, store, pause)
        batch = Batch(tasks.investigate, jobs=jobs, listener=listener or Silent(), pause=pause, budget=settings.batch)
        for unit in dict.fromkeys(units):
            settings.batch.add(tasks.known(unit))
        async with tasks.heard():
            return await batch.run(units)


@asynccontextmanager
async def _joined(ray: Any, address: str) -> AsyncIterator[None]:  # noqa: ANN401
    """Join a cluster and leave it, in a thread: both take seconds, and Ray takes no signals for itself there."""
    joined = connected(ray, address)
    await asyncio.to_thread(joined.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(joined.__exit__, None, None, None)


class _Tasks:
    """The tasks in flight, and the board that they write on.

    Args:
        ray: The module.
        cluster: Where.
        settings: How.
        store: Where journals are copied.
        pause: Is passed on to all tasks.
    """

    def __init__(
        self,
        ray: Any,  # noqa: ANN401
        cluster: Cluster,
        settings: RunSettings,
        store: JournalStore | None,
        pause: Pause,
    ) -> None:
        self._ray = ray
        self._settings = settings
        self._store = store
        self._pause = pause
        self._asked = Asked(
            cluster.addresses,
            cluster.agent,
            cluster.sandbox,
            # A worker counts for its unit alone; the batch is counted here.
            replace(settings, out=settings.out.absolute(), batch=BatchBudget(), tools=dict(settings.tools)),
            None if store is None else store.url,
        )
        self._board = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Board).remote()
        self._task = ray.remote(
            num_cpus=_CPUS, max_retries=_RETRIES, retry_exceptions=False, scheduling_strategy="SPREAD"
        )(run_unit)
        self._hears: dict[str, Callable[[Event], None]] = {}
        self._looking = asyncio.Lock()
        self._stopping = False
        self._begun: set[str] = set()
        self._known: dict[UnitName, Spending] = {}

    def known(self, unit: UnitName) -> Spending:
        """Return what an unfinished run has spent, as far as its journal is here."""
        return self._known.setdefault(unit, spent_before(self._settings.folder(unit)))

    async def investigate(self, unit: UnitName, on_event: Callable[[Event], None]) -> Finished | Stopped:
        """Investigate a unit in a task.

        Raises:
            JournalError: LOCKED: another run is at it.
            asyncio.CancelledError: The batch was interrupted; the unit was told, and given time to say so.
        """
        folder = self._settings.folder(unit)
        ledger = Ledger(Budget(), self._settings.batch, self.known(unit))

        def hear(event: Event) -> None:
            ledger.note(event)
            on_event(event)

        self._hears[str(unit)] = hear
        # Pickled here, by Ray's own pickle, which takes tools that were defined in a notebook.
        packed = self._ray.cloudpickle.dumps(replace(self._asked, unit=unit))
        reference = await asyncio.to_thread(self._task.remote, UnitTask.of(str(unit), packed), self._board)
        returned = asyncio.wrap_future(reference.future())
        try:
            ended: Ended = await asyncio.shield(returned)
        except asyncio.CancelledError:
            await self._stop(str(unit), reference, returned)
            raise
        except self._ray.exceptions.RayError as error:
            return self._lost(unit, error)
        finally:
            with contextlib.suppress(self._ray.exceptions.RayError):
                await self._look()
            self._hears.pop(str(unit), None)
        if ended.locked:
            raise JournalError(ended.locked, reason=LOCKED)
        if ended.spending is not None:
            _settle(ledger, ended.spending)
        if self._store is not None:
            # The worker's folder may be on another machine.
            await asyncio.to_thread(self._store.sync, self._settings.out, folder)
        end = decode_line(ended.line)
        assert isinstance(end, Finished | Stopped)
        if isinstance(end, Finished) and not (folder / FILE_NAME).exists():
            return _not_shared(folder)
        return end

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Look at the board from time to time."""

        async def look() -> None:
            while True:
                await asyncio.sleep(_LOOK_S)
                try:
                    await self._look()
                except self._ray.exceptions.RayError as error:  # the board is set up anew, or the tasks say more
                    log.debug("the board does not answer", why=str(error))

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        """Tell what tasks have written since the last look, and write whether they are to pause or stop."""
        async with self._looking:
            pause = (self._pause.message or "paused") if self._pause.asked else ""
            said = self._board.look.remote(pause=pause, stop=self._stopping)
            lines: list[tuple[str, bytes]] = await asyncio.shield(asyncio.wrap_future(said.future()))
        for key, line in lines:
            self._begun.add(key)
            hear = self._hears.get(key)
            if hear is not None:
                hear(decode_line(line))

    async def _stop(self, key: str, reference: Any, returned: asyncio.Future[Ended]) -> None:  # noqa: ANN401
        """Have a task stop and wait for it; one that does not is ended."""
        self._stopping = True
        with contextlib.suppress(self._ray.exceptions.RayError):
            await self._look()
            if key not in self._begun:  # it may not begin for long
                self._ray.cancel(reference)
        done, _ = await asyncio.wait([returned], timeout=_LEAVE_S)
        if not done:
            self._ray.cancel(reference, force=True)
        else:
            returned.exception()  # it was asked, so that nobody says that nobody did

    def _lost(self, unit: UnitName, error: Exception) -> Stopped:
        """Return the end of a unit whose task Ray has given up."""
        why = str(error).strip().splitlines()
        passing = not isinstance(error, self._ray.exceptions.RayTaskError)  # of a worker, not of our code on it
        return Stopped(
            "paused" if passing else "invalid",
            "TASK_FAILED",
            f"the task of {unit} failed on the cluster: {why[-1] if why else type(error).__name__:.500}; all machines "
            "need the same version of maia",
        )


def _not_shared(folder: Path) -> Stopped:
    """Return what to say of a finding that is on another machine alone."""
    return Stopped(
        "invalid",
        "OUT_NOT_SHARED",
        f"it is finished, but there is no journal in {folder} to be seen from here; --out must be a folder that all "
        "machines of the cluster share, or give --journal-store",
    )


def _settle(ledger: Ledger, whole: Spending) -> None:
    """Count what a worker spent that died before it could tell."""
    known = ledger.spending
    usd = None if whole.usd is None or known.usd is None else whole.usd - known.usd
    ledger.batch.add(
        Spending(
            usage=whole.usage - known.usage,
            usd=usd if usd is None or usd > 0 else 0.0,
            calls=max(0, whole.calls - known.calls),
            pictures=max(0, whole.pictures - known.pictures),
        )
    )
