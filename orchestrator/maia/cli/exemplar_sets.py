"""Finds the exemplars of subjects, where they are not stored yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maia.cli.progress import Progress
from maia.cli.servers import Deployment, connection
from maia.orchestrator.clients import SubjectClient, Terms

_ASK_S = 30.0


async def build_sets(where: Deployment, subjects: Sequence[str], store: Path, progress: Progress) -> None:
    """Find and store the exemplars of subjects; those that are stored cost a moment.

    Args:
        where: Has a subject server.
        subjects: Their names; empty for all that the server hosts.
        store: Folder of the exemplars.
        progress: Is told how far it is.

    Raises:
        ServerDownError: The server does not answer; the message says how to start it.
        NotFoundError: There is no such subject.
    """
    # Renders scenes and sorts maps: SciPy, which a command without exemplars need not load.
    from maia.services.exemplars.build import build_exemplars  # noqa: PLC0415

    async with connection(where, "subject") as subject_server:
        for subject in subjects or await SubjectClient(subject_server).subjects(Terms.within(_ASK_S)):
            what = f"exemplars of {subject}"

            def show(doing: str, done: int, total: int, what: str = what) -> None:
                progress.step(f"{what}: {doing} pictures", done, total)

            progress.stage(what)
            await build_exemplars(subject_server.channel, subject, store, progress=show)
            progress.done(f"{what} ready")
