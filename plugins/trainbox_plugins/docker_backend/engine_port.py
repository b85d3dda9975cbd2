"""The narrow door to a container engine: the only calls this backend and its image builder make.

Containers are addressed by name or id, bodies are the Engine API's own JSON
(https://docs.docker.com/engine/api/v1.41/). Every call has a deadline. Three outcomes, never mixed:

* an answer;
* :class:`EngineRefused`: the engine answered "no" (``NotThere`` for 404, ``Clash`` for 409);
* :class:`~trainbox_sdk.errors.BackendUnavailable`: no answer in time, so nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

Json = Mapping[str, Any]
"""A JSON object of the Engine API."""

BuildLine = Callable[[str], None]
"""Called with each line of a build's output, from a thread."""


class EngineRefused(Exception):
    """The engine answered, and the answer is no.

    Args:
        status: HTTP status of the answer.
        explanation: the engine's own sentence.
    """

    def __init__(self, status: int, explanation: str) -> None:
        super().__init__(f"engine said {status}: {explanation}")
        self.status = status
        self.explanation = explanation


class NotThere(EngineRefused):
    """404: no such container or image."""


class Clash(EngineRefused):
    """409: the name is taken, or the container is in a state that does not allow this."""


class Frame(NamedTuple):
    """A piece of a container's output.

    Attributes:
        stream: 1 for stdout, 2 for stderr.
        data: its bytes.
        at: when the engine took it, in seconds since the epoch; None for just now.
    """

    stream: int
    data: bytes
    at: float | None = None


class LogStream(Protocol):
    """Output of one container as it comes. Belongs to one thread; ``close`` may come from any."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield until the engine ends the stream.

        Raises:
            BackendUnavailable: the connection broke before the end.
        """

    def close(self) -> None:
        """End the iteration soon; harmless twice."""


class EnginePort(Protocol):
    """A container engine on this host."""

    async def close(self) -> None:
        """Let go of threads and connections; containers go on."""

    async def ping(self) -> None:
        """Return when the engine answers."""

    async def info(self) -> Json:
        """Return ``GET /info``."""

    # --- containers -------------------------------------------------------------------------

    async def create(self, name: str, body: Json) -> str:
        """Create a container and return its id.

        Raises:
            Clash: the name is taken: the fence that keeps one sandbox from being made twice.
            NotThere: no such image; nothing is ever pulled.
        """

    async def start(self, container: str) -> None:
        """Start it; a container that already runs is left alone."""

    async def inspect(self, container: str) -> Json | None:
        """Return ``GET /containers/{id}/json``, or None where there is none."""

    async def kill(self, container: str, signal: str) -> bool:
        """Send a signal; False where there is nothing alive to receive it."""

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Remove it and its anonymous volumes; absent, or already being removed, is fine."""

    async def list_by_label(self, labels: Mapping[str, str]) -> Sequence[Json]:
        """Return all containers, running or not, that carry every label, in one call."""

    async def commit(self, container: str, *, changes: Sequence[str] = ()) -> str:
        """Make an image of a stopped container and return its id.

        ``changes`` are Dockerfile instructions such as ``LABEL a=b``.
        """

    # --- blocking, for a thread of the caller's own -----------------------------------------

    def attach(self, container: str) -> LogStream:
        """Open the live output; returns once the engine has said yes, so that a start may follow.

        Raises:
            EngineRefused, BackendUnavailable.
        """

    def kept_output(self, container: str, *, follow: bool) -> LogStream:
        """Open the engine's own copy of the output from its beginning.

        ``follow`` goes on with what comes until the end, of which some engines lose the last lines;
        without it the copy as it is now is whole.
        """

    def wait_exit(self, container: str) -> int:
        """Block until the container is not running and return its exit code.

        Raises:
            NotThere: it is gone.
            BackendUnavailable: the engine went away meanwhile; the container may well live on.
        """

    # --- images -----------------------------------------------------------------------------

    async def image_inspect(self, reference: str) -> Json | None:
        """Return ``GET /images/{id}/json``, or None where there is none."""

    async def image_list(self, labels: Mapping[str, str]) -> Sequence[Json]:
        """Return images that carry every label, intermediate ones left out."""

    async def image_build(
        self,
        context: IO[bytes],
        *,
        labels: Mapping[str, str],
        build_args: Mapping[str, str],
        network: str = "default",
        report: BuildLine | None = None,
        deadline_s: float = 3600.0,
    ) -> str:
        """Build a tar context that has a ``Dockerfile`` at its root and return the image id.

        Intermediate containers are removed even where the build fails.

        Raises:
            EngineRefused: an instruction failed; the explanation is the engine's last words.
        """

    async def image_import(
        self, root: Path, *, changes: Sequence[str] = (), deadline_s: float = 3600.0
    ) -> str:
        """Make a one-layer image of a root file system tar and return its id.

        ``changes`` are Dockerfile instructions such as ``ENV A=b`` or ``LABEL a=b``.
        """

    async def image_pull(self, reference: str, *, deadline_s: float = 3600.0) -> None:
        """Fetch an image from its registry: only ever a base that the admin named.

        Raises:
            EngineRefused: no such image, or the registry did not let us.
        """

    async def image_tag(self, reference: str, repository: str, tag: str) -> None:
        """Give an image a name."""

    async def image_remove(self, reference: str) -> None:
        """Remove an image; absent is fine.

        Raises:
            Clash: a container uses it.
        """
