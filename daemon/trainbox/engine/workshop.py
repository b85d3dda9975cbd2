"""What every driver of a step works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainbox.blobs import BlobStore
from trainbox.engine.builds import Builds
from trainbox.engine.health import Pulse
from trainbox.engine.sandboxes import SandboxFiles
from trainbox.engine.staging import CodeStage
from trainbox.store import Store
from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.errors import BackendUnavailable
from trainbox_sdk.tasks import ArtifactCheck


@dataclass(frozen=True)
class Workshop:
    """Built once in the composition root; ``pulse`` None for sandboxes without disks."""

    store: Store
    blobs: BlobStore
    backends: Mapping[str, SandboxBackend]
    checks: Mapping[str, ArtifactCheck]
    files: SandboxFiles
    stage: CodeStage
    builds: Builds
    grace_s: float
    pulse: Pulse | None = None

    async def sized(self, backend: str) -> bool:
        """Return whether sandboxes of a backend may have a disk of limited size.

        Raises:
            BackendUnavailable: it does not answer, so it cannot be told.
        """
        if self.pulse is None or not self.files.writable.can_be_sized:
            return False
        health = await self.pulse.recent_health(backend)
        if not health.ok:
            raise BackendUnavailable(health.detail)
        return health.sees_mounts
