"""Finds the exemplars of subjects, where they are not stored yet."""

from __future__ import annotations

from collections.abc import Sequence

from maia.cli.config import Config
from maia.cli.progress import Progress
from maia.cli.servers import Deployment, connection, exemplar_store
from maia.orchestrator.clients import SubjectClient, Terms

_ASK_S = 30.0


async def build_sets(config: Config, where: Deployment, subjects: Sequence[str], progress: Progress) -> None:
    """Find and store the exemplars of subjects; those that are stored cost a moment.

    Args:
        config: Settings; says where the exemplars are kept and in how many pictures they are looked for.
        where: Has a subject server.
        subjects: Their names; empty for all that the server hosts.
        progress: Is told how far it is.

    Raises:
        ServerDownError: The server does not answer; the message says how to start it.
        NotFoundError: There is no such subject.
    """
    # Renders scenes and sorts maps: SciPy, which a command without exemplars need not load.
    from maia.services.exemplars.build import build_exemplars
    from maia.services.exemplars.dataset import DEFAULT_SIZE

    size = config.dataset_size or DEFAULT_SIZE

    async with connection(where, "subject") as subject_server:
        for subject in subjects or await SubjectClient(subject_server).subjects(Terms.within(_ASK_S)):
            what = f"exemplars of {subject}"

            def show(doing: str, done: int, total: int, what: str = what) -> None:
                progress.step(f"{what}: {doing} pictures", done, total)

            progress.stage(what)
            await build_exemplars(subject_server.channel, subject, exemplar_store(config), size=size, progress=show)
            progress.done(f"{what} ready")
