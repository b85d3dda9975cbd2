"""What an admin may set for this surface in plugins.toml."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024**2


class Config(BaseModel):
    """Limits of the ``/v1`` dialect; upload size and rows are the daemon's own settings."""

    model_config = ConfigDict(extra="forbid")

    max_json_bytes: Annotated[int, Field(gt=0)] = Field(
        MIB, description="Largest JSON body of any request but predict."
    )
    max_predict_bytes: Annotated[int, Field(gt=0)] = Field(
        32 * MIB, description="Largest predict body."
    )
    upload_idle_s: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Seconds an upload may stand still before it is given up."
    )
    heartbeat_s: Annotated[float, Field(gt=0)] = Field(
        15.0, description="Seconds between comments on a silent event stream."
    )
    stalled_reader_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds a stream's reader may take nothing before it is cut off."
    )
