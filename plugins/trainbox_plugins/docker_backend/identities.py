"""Which container a reference names, and what is seen of it: one that stood by is not called so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_host import seccomp_layers
from trainbox_plugins.docker_backend.engine_port import Json
from trainbox_plugins.docker_backend.observations import (
    observation_of_inspect,
    observation_of_summary,
    phase_of,
)
from trainbox_plugins.docker_backend.policy import Confinement
from trainbox_plugins.docker_backend.standby import Standby
from trainbox_plugins.docker_backend.standby_notes import Note
from trainbox_sdk.backends import Observation, Phase, SandboxRef


class Identities:
    """The sandboxes of one backend as the engine knows them.

    Args:
        standby: knows which stood by.
        config, confinement: the backend's.
    """

    def __init__(self, standby: Standby, config: Config, confinement: Confinement) -> None:
        self._standby = standby
        self._config = config
        self._confinement = confinement

    def container(self, ref: SandboxRef) -> str:
        """Return what the engine calls a sandbox."""
        note = self._standby.handed(ref.name)
        return ref.name if note is None else note.container_id

    def seen(self, ref: SandboxRef, found: Json) -> Observation:
        """Read a container's record; one that stood by began when it was told to go."""
        seen = observation_of_inspect(ref, found)
        note = self._standby.handed(ref.name)
        if note is None:
            return seen
        if self._has_no_word(note, seen.phase):
            return Observation(ref, Phase.CREATED)
        began = note.went_at
        if began is not None and seen.finished_at is not None:
            began = min(began, seen.finished_at)
        return replace(seen, started_at=began)

    def seen_in_list(self, summary: Json) -> Observation | None:
        """Read one entry of a container list; None for what is no sandbox, or not yet a job's."""
        note = self._standby.of_slot(summary.get("Labels") or {})
        if note is None:
            return observation_of_summary(summary)
        phase = phase_of(summary)
        if self._has_no_word(note, phase):
            phase = Phase.CREATED
        return None if phase is None else Observation(note.ref, phase)

    def _has_no_word(self, note: Note, phase: Phase | None) -> bool:
        """Whether it has its job and was not told to go: created, as people count."""
        return phase is Phase.RUNNING and note.went_at is None and self._standby.waits(note)

    def held_by(self, ref: SandboxRef) -> Mapping[str, str]:
        """Return what held a sandbox, for its record."""
        return {
            "start": "cold" if self._standby.handed(ref.name) is None else "warm",
            "runtime": self._confinement.runtime or "the engine's default",
            "seccomp": seccomp_layers(self._config),
            "user": f"{self._confinement.uid}:{self._confinement.gid}",
        }
