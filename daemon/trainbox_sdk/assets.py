"""Files that users upload beside datasets: scripts, weights, requirements, configuration."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime

MAX_FILENAME_BYTES = 255
"""What a directory entry may be long on Linux (``NAME_MAX``)."""


def filename_problem(name: str) -> str:
    """Return why a file cannot be called this; empty for a name that is fine.

    One rule for uploads and for the files of a plan: what passes is one entry of a directory, is
    not hidden, and cannot break a line of a log.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not text that UTF-8 can hold"
    if not 0 < size <= MAX_FILENAME_BYTES:
        return f"must be 1 to {MAX_FILENAME_BYTES} bytes long"
    if "/" in name:
        return "must not hold a slash"
    if name.startswith("."):
        return "must not start with a dot"
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        return "must not hold control characters"
    return ""


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
