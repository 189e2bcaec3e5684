"""Finds the exemplars of subjects, where they are not stored yet."""

from __future__ import annotations

from collections.abc import Sequence

from maia.cli.builder import run_program
from maia.cli.config import Config
from maia.cli.progress import Progress
from maia.cli.servers import Deployment, connection, exemplar_store
from maia.orchestrator.clients import SubjectClient, Terms

_ASK_S = 30.0


async def build_sets(config: Config, where: Deployment, subjects: Sequence[str], progress: Progress) -> None:
    """Find and store the exemplars of subjects in the scene set; those that have any are left as they are.

    Args:
        config: Settings; says where the exemplars are kept and in how many pictures they are looked for.
        where: Has a subject server.
        subjects: Their names; empty for all that the server hosts.
        progress: Is told how far it is.

    Raises:
        ServerDownError: The server does not answer; the message says how to start it.
        NotFoundError: There is no such subject.
        BuildFailedError: They could not be built.
    """
    async with connection(where, "subject") as subject_server:
        client = SubjectClient(subject_server)
        for subject in subjects or await client.subjects(Terms.within(_ASK_S)):
            revision = (await client.info(subject, Terms.within(_ASK_S))).revision
            if not _stored(config, subject, revision):
                progress.stage(f"exemplars of {subject}")
                await _build(config, subject, progress)
            progress.done(f"exemplars of {subject} ready")


def _stored(config: Config, subject: str, revision: str) -> bool:
    """Whether there is a set for what is measured: in pictures of the user's own, or in the scenes of today."""
    from maia.services.exemplars.dataset import DEFAULT_SIZE, NAME, scene_revision
    from maia.services.exemplars.store import ExemplarStore

    size = config.dataset_size or DEFAULT_SIZE
    return any(
        manifest.dataset != NAME or (manifest.dataset_revision, manifest.dataset_size) == (scene_revision(), size)
        for manifest in ExemplarStore(exemplar_store(config)).manifests_of(subject)
        if manifest.subject_revision in {"", revision}
    )


async def _build(config: Config, subject: str, progress: Progress) -> None:
    size = () if config.dataset_size is None else ("--size", str(config.dataset_size))
    file = () if config.config_file is None else ("--config", str(config.config_file))
    flags = ("build", "--model", subject, "--store", str(exemplar_store(config)), *size, *file)
    await run_program("maia.services.building", flags, progress, f"exemplars of {subject}")
