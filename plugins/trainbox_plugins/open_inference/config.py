"""What an admin may set for this surface in plugins.toml."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024**2


class Config(BaseModel):
    """Limits of the ``/v2`` dialect; rows in one request are the daemon's own setting."""

    model_config = ConfigDict(extra="forbid")

    max_infer_bytes: Annotated[int, Field(gt=0)] = Field(
        64 * MIB, description="Largest body of an inference, unpacked."
    )
