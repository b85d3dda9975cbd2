"""The hooks, all of them: few, synchronous, of three sorts with three written failure policies.

============ ============================================ =========================================
sort         when                                         if it raises
============ ============================================ =========================================
registration once, at start                               required plugin: the daemon does not
                                                          start; optional: quarantined and shown
decision     inside intake                                fail closed: refused
notification after commit                                 logged and counted; the others still run
============ ============================================ =========================================

A plugin is a class with an ``api`` number, an optional pydantic ``Config`` and hook methods marked
``@hookimpl``. Hooks are never coroutines: async lives in the objects they return.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from trainbox_sdk.backends import SandboxBackend
    from trainbox_sdk.engine import Principal
    from trainbox_sdk.environments import Environment
    from trainbox_sdk.jobs import JobEvent, JobSpec
    from trainbox_sdk.surfaces import Surface
    from trainbox_sdk.tasks import ArtifactCheck, TaskType

PROJECT = "trainbox"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

REGISTRATION = (
    "register_surfaces",
    "register_tasks",
    "register_backends",
    "register_environments",
    "register_checks",
)
DECISION = ("authorize", "admit")
NOTIFICATION = ("on_job_event", "on_daemon_state")


class Hooks:
    """The hook specifications."""

    @hookspec
    def register_surfaces(self) -> Sequence[Surface]:  # type: ignore[empty-body]
        """Return HTTP dialects to mount."""

    @hookspec
    def register_tasks(self) -> Sequence[TaskType]:  # type: ignore[empty-body]
        """Return task types."""

    @hookspec
    def register_backends(self) -> Sequence[SandboxBackend]:  # type: ignore[empty-body]
        """Return places to run; the first healthy one in plugins.toml order is the default."""

    @hookspec
    def register_environments(self) -> Sequence[Environment]:  # type: ignore[empty-body]
        """Return environments that plans refer to by name."""

    @hookspec
    def register_checks(self) -> Sequence[ArtifactCheck]:  # type: ignore[empty-body]
        """Return artifact checks that outputs refer to by name."""

    @hookspec
    def authorize(self, principal: Principal, action: str, owner: str) -> bool | None:
        """Allow (True), refuse (False) or leave to others (None) an action on someone's thing.

        One refusal refuses; one grant grants beyond the owner-only default.
        """

    @hookspec
    def admit(self, principal: Principal, spec: JobSpec) -> str | None:
        """Return why a job is refused, or None. The first refusal wins."""

    @hookspec
    def on_job_event(self, event: JobEvent) -> None:
        """Hear a committed job event."""

    @hookspec
    def on_daemon_state(self, state: str) -> None:
        """Hear ``starting``, ``ready``, ``stopping``."""
