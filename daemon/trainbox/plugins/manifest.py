"""What ``plugins.toml`` allows: the list of plugins to load, in order, with their configuration."""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainbox_sdk.errors import PluginError

FILE_NAME = "plugins.toml"
PluginName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Listed(BaseModel):
    """One ``[[plugin]]`` table.

    Attributes:
        name: the entry point's name in group ``trainbox``.
        required: whether the daemon refuses to start without it.
        config: the plugin's own table, validated by the plugin's ``Config``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: PluginName
    required: bool = False
    config: Mapping[str, Any] = Field(default_factory=dict)


class Manifest(BaseModel):
    """A whole ``plugins.toml``.

    Attributes:
        plugins: in file order, which is load order.
        source: where it was read from; its file name opens every error message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plugins: tuple[Listed, ...] = Field(default=(), alias="plugin")
    source: Path = Field(default=Path(FILE_NAME), exclude=True)


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        PluginError: unreadable, not TOML, an unknown key, a wrong value or a name listed twice;
            ``errors`` has every problem with its full path, ``hint`` the file's.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise manifest_error(path, [f"cannot be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise manifest_error(path, [f"is not UTF-8: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise manifest_error(path, [f"is not TOML: {error}"]) from error
    return parse_manifest(raw, path)


def parse_manifest(raw: Mapping[str, Any], source: Path) -> Manifest:
    """Check a decoded manifest; see :func:`read_manifest`.

    Raises:
        PluginError: as there.
    """
    if "source" in raw:  # a field of ours, not of the file
        raise manifest_error(source, ["source: unknown key"])
    try:
        manifest = Manifest.model_validate({**raw, "source": source})
    except ValidationError as error:
        raise manifest_error(source, [_sentence(raw, item) for item in error.errors()]) from error
    counts = Counter(listed.name for listed in manifest.plugins)
    twice = [f'plugin "{name}" is listed {n} times' for name, n in counts.items() if n > 1]
    if twice:
        raise manifest_error(source, twice)
    return manifest


def manifest_error(source: Path, problems: Sequence[str]) -> PluginError:
    """Return one error for all problems of a manifest, each opening with the file's name."""
    text = "; ".join(f"{source.name}: {problem}" for problem in problems)
    return PluginError(text, code="plugins_file_invalid", hint=f"correct {source}")


def dotted(loc: Iterable[str | int]) -> str:
    """Return a pydantic location as people write it: ``a.b[0].c``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def unknown_key(name: str, known: Iterable[str]) -> str:
    """Return the complaint about a key that does not exist, with the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'unknown key; did you mean "{near[0]}"?'
    return f"unknown key; known are {', '.join(known)}" if known else "unknown key"


def _sentence(raw: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Return one validation problem, naming the plugin where the file names it."""
    loc = list(item["loc"])
    fields: Iterable[str] = ("plugin",)
    subject = ""
    if len(loc) > 1 and loc[0] == "plugin" and isinstance(loc[1], int):
        table = raw["plugin"][loc[1]]
        name = table.get("name") if isinstance(table, Mapping) else None
        subject = f'plugin "{name}"' if isinstance(name, str) else f"plugin number {loc[1] + 1}"
        loc, fields = loc[2:], Listed.model_fields
    message = item["msg"]
    if item["type"] == "extra_forbidden":
        message = unknown_key(str(loc[-1]), fields)
    return f"{' '.join(filter(None, (subject, dotted(loc))))}: {message}"
