"""What this backend needs of whoever makes images of environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment


class EnvironmentBuilder(Protocol):
    """Makes images of environments."""

    async def build(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        """Build, or find what is built."""

    async def built(self) -> Sequence[BuiltEnvironment]:
        """List what is built."""

    async def verify(self, environment: Environment) -> BuiltEnvironment:
        """Try what is built once more, and hold it to the lock."""

    async def prune(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove what was made for users' requirements and nobody asks for."""
