"""All that is asked of a Docker engine. Its SDK waits for each answer, so callers on an event loop use threads."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from maia.sandbox.host.tiers.docker import image as images
from maia.sandbox.host.tiers.docker import owners
from maia.sandbox.host.tiers.docker.options import USER, Size, host_options
from maia.sandbox.host.tiers.docker.remedies import no_engine, refused, unavailable
from maia.sandbox.host.tiers.jail.plan import make_plan

if TYPE_CHECKING:
    import docker

__all__ = ["Engine", "Image"]

_REQUEST_S: Final = 60
_MACHINES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Image:
    """What a container is started from.

    Attributes:
        name: As the engine knows it.
        command: The relay's command line.
        environment: Of the relay, until it has warmed up.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]


class Engine:
    """A connection to an engine.

    Attributes:
        about: What it says of itself (`docker info`).
    """

    def __init__(self, tier: str, runtime: str | None) -> None:
        """Connect, to where DOCKER_HOST says or else to this machine's engine.

        Raises:
            TierUnavailableError: There is none, it may not be used, or it cannot do what is needed.
        """
        self._tier = tier
        self._runtime = runtime
        try:
            import docker.utils
            from docker.errors import DockerException
        except ImportError as error:
            raise unavailable(tier, "import docker", str(error), "`pip install 'docker>=7.2,<8'`") from error
        self._failures: tuple[type[Exception], ...] = (DockerException, OSError)
        try:
            self._address = str(docker.utils.parse_host(docker.utils.kwargs_from_env().get("base_url")))
            _knock(self._address)
            self._client: docker.APIClient = docker.from_env(timeout=_REQUEST_S).api
            self.about: dict[str, Any] = self._api.info()
        except self._failures as error:
            raise no_engine(tier, error) from error
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        if self._api.base_url.startswith(("https://", "http+docker://ssh")):
            remedy = "Use a local engine, or forward its socket: `ssh -L /tmp/engine.sock:/var/run/docker.sock HOST`."
            raise unavailable(self._tier, "attaching", "the engine is reached through TLS or SSH", remedy)
        if self.about.get("OSType") != "linux":
            reason = f"its containers are of {self.about.get('OSType')}"
            raise unavailable(self._tier, "asking the engine", reason, "Use an engine with Linux containers.")
        runtimes = self.about.get("Runtimes") or {}
        if self._runtime is not None and self._runtime not in runtimes:
            remedy = (
                "Install gVisor and register it: `sudo runsc install -- --oci-seccomp && sudo systemctl reload docker`."
            )
            reason = f"the engine knows {', '.join(sorted(runtimes))}"
            raise unavailable(self._tier, f"finding the runtime {self._runtime}", reason, remedy)

    @property
    def _api(self) -> docker.APIClient:
        """The SDK's client, of an engine that was there a moment ago: OSError if it has gone."""
        _knock(self._address)
        return self._client

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def answers(self) -> bool:
        """Whether it still does."""
        try:
            return bool(self._api.ping())
        except self._failures:
            return False

    # Images

    def own_image(self, cache_dir: Path | None) -> Image:
        """The image of what is installed here, made if the engine does not have it.

        Args:
            cache_dir: Where to remember which libraries are needed.

        Raises:
            TierUnavailableError: Something needed is not installed, or the engine does not take it.
        """
        theirs = _MACHINES.get(str(self.about.get("Architecture")))
        if sys.platform != "linux" or theirs != platform.machine():
            reason = f"this is {sys.platform} on {platform.machine()}, the engine {self.about.get('Architecture')}"
            remedy = "Name an image that has maia installed, for the engine's machine."
            raise unavailable(self._tier, "making the image", reason, remedy)
        try:
            plan = make_plan(cache_dir)
        except FileNotFoundError as error:
            raise unavailable(self._tier, "planning the image", str(error), "Install it and try again.") from error
        if below := next((path for path in plan.binds if path.startswith("/tmp/")), None):  # noqa: S108  a comparison
            reason = f"{below} lies below /tmp, where every container has a folder of its own"
            remedy = "Install maia elsewhere, or name an image that has it."
            raise unavailable(self._tier, "making the image", reason, remedy)
        files = images.find_files(plan)
        lower, upper = images.split(files)
        name = f"{images.REPOSITORY}:{images.tag(plan, files)}"
        base = f"{images.REPOSITORY}:base-{images.tag(plan, lower)}"
        try:
            if not self._has(name):
                if not self._has(base):
                    self._import(base, lower)
                self._add_layer(base, name, upper)
        except self._failures as error:
            raise refused(self._tier, "making the image", error) from error
        return Image(name, tuple(images.command()), images.environment(plan))

    def named_image(self, name: str) -> Image:
        """An image that the operator chose: it has maia installed for its `python3`.

        Raises:
            TierUnavailableError: The engine does not have it, or it would give containers a folder on disk.
        """
        try:
            about = self._api.inspect_image(name)  # type: ignore[no-untyped-call]  # the stubs lack it
        except self._failures as error:
            raise refused(self._tier, f"finding the image {name}", error) from error
        if (about.get("Config") or {}).get("Volumes"):
            reason = "it declares volumes, which every container could fill"
            raise unavailable(self._tier, f"using the image {name}", reason, "Make one without VOLUME.")
        return Image(name, ("python3", "-s", "-P", "-B", "-m", images.RELAY), {"PYTHONHASHSEED": "0"})

    def _has(self, name: str) -> bool:
        return bool(self._api.images(name))

    def _import(self, name: str, files: list[images.File]) -> None:
        repository, _, tag = name.partition(":")
        self._api.import_image_from_data(images.archive(files, lowest=True), repository=repository, tag=tag)

    def _add_layer(self, base: str, name: str, files: list[images.File]) -> None:
        repository, _, tag = name.partition(":")
        builder = self._api.create_container(base, ["none"])["Id"]
        try:
            self._api.put_archive(builder, "/", b"".join(images.archive(files, lowest=False)))
            self._api.commit(builder, repository=repository, tag=tag)
        finally:
            self._api.remove_container(builder, force=True)

    # Containers

    def run(self, image: Image, size: Size) -> tuple[str, socket.socket]:
        """Start a container, attached to its standard streams from its first moment.

        Returns:
            Its id, and the attached socket with the engine's framing on it.

        Raises:
            TierUnavailableError: The engine or its runtime refused; nothing is left.
        """
        container = ""
        line: socket.socket | None = None
        try:
            container = self._create(image, size)
            line = self._attach(container)
            self._api.start(container)
        except BaseException as error:
            if line is not None:
                line.close()
            if container:
                self.remove(container)
            if isinstance(error, self._failures):
                raise refused(self._tier, "starting a container", error) from error
            raise
        return container, line

    def _create(self, image: Image, size: Size) -> str:
        options = self._api.create_host_config(**host_options(size, self._runtime, int(self.about.get("NCPU") or 1)))
        created = self._api.create_container(
            image.name,
            list(image.command),
            entrypoint=[],
            environment=image.environment,
            healthcheck={"test": ["NONE"]},
            host_config=options,
            hostname="sandbox",
            labels={owners.LABEL: owners.this_process()},
            stdin_open=True,
            tty=False,
            user=USER,
            working_dir="/tmp",  # noqa: S108  the container's own
        )
        return str(created["Id"])

    def _attach(self, container: str) -> socket.socket:
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        attached = self._api.attach_socket(container, params=wanted)
        try:  # a copy of our own: the SDK's belongs to a response in a pool of connections
            return socket.socket(fileno=os.dup(attached.fileno()))
        finally:
            attached._response.close()  # noqa: SLF001  it holds the connection, and the SDK shows it nowhere else

    def remove(self, container: str) -> None:
        """Kill a container and remove what is left of it. Does not raise."""
        with contextlib.suppress(*self._failures):  # it has gone already, or the engine has
            self._api.remove_container(container, force=True, v=True)

    def remove_orphans(self) -> None:
        """Remove the containers of processes that ran on this machine and do so no more. Does not raise.

        A relay ends when its host does. This is for those that could not.
        """
        with contextlib.suppress(*self._failures):
            for found in self._api.containers(all=True, filters={"label": owners.LABEL}):
                if owners.is_orphan(found["Labels"][owners.LABEL]):
                    self.remove(found["Id"])


def _knock(address: str) -> None:
    """Connect once to an engine on this machine, and no more: the SDK leaves a socket open whenever it cannot."""
    scheme, _, path = address.partition("://")
    if scheme == "http+unix":
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.connect(path if path.startswith("/") else f"/{path}")
