"""Files that users upload beside datasets: scripts, weights, requirements, configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class NewAsset:
    """What a caller says of a file beside its bytes.

    Attributes:
        filename: what it will be called beside a script: 1 to 255 bytes of UTF-8, no slash, no
            control character, not starting with a dot.
        kind: an opaque word of the surface's, such as ``script``.
        group: an opaque id of the surface's, such as the model it was uploaded for; empty for none.
        max_bytes: larger is refused while it comes in.
    """

    filename: str
    kind: str
    group: str = ""
    description: str = ""
    max_bytes: int = 500 * 1024**2
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AssetView:
    """An uploaded file; its bytes never change.

    Attributes:
        id: ``ast_…``.
        digest: ``sha256:<hex>``.
    """

    id: str
    owner: str
    filename: str
    kind: str
    group: str
    description: str
    digest: str
    bytes: int
    created_at: datetime
