"""One record per event, as a JSON line on stderr; the service manager does the rest.

Fields that belong to everything done for one request or one step (``request_id``, ``token``,
``job_id``, ``attempt``) are bound once, in the task that does it. Secrets are taken out by the
field's name and by their form, wherever they stand. docs/operations.md lists the fields.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SECRET_NAME = re.compile(
    r"secret|password|passwd|authorization|api_?key|credential", re.IGNORECASE
)
# Of a token of ours its id stays readable; a webhook's key and any Authorization header are cut.
_SECRET_TEXT = re.compile(
    r"(?P<ours>\btb_[A-Za-z0-9]+_)[A-Za-z0-9_-]{16,}"
    r"|(?P<hook>\bwhsec_)[A-Za-z0-9+/=_-]+"
    r"|(?P<bearer>\b[Bb]earer\s+)(?!tb_)[A-Za-z0-9._~+/=-]{8,}"
)
_SECRET_STARTS = ("tb_", "whsec_", "earer")
# sd-daemon(3): what syslog calls the levels.
_PRIORITIES = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}

_ENCODER = json.JSONEncoder(default=str)

_bound: ContextVar[Mapping[str, str] | None] = ContextVar("log_fields", default=None)


def bind(**fields: str) -> None:
    """Give every record of the current task these fields; an empty value takes one away."""
    both = {**(_bound.get() or {}), **fields}
    _bound.set({name: value for name, value in both.items() if value})


def unbind() -> None:
    """Forget what was bound: one task may serve several requests in turn."""
    _bound.set(None)


class JsonFormatter(logging.Formatter):
    """Formats a record with its ``extra`` fields as one JSON object.

    Args:
        priorities: begin each line with ``<n>``, which the journal takes as its priority.
    """

    def __init__(self, *, priorities: bool = False) -> None:
        super().__init__()
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **(_bound.get() or {}),
        }
        fields |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        line = without_secrets(_ENCODER.encode(_hide(fields)))
        if self._priorities:
            return f"<{_PRIORITIES.get(record.levelname, 6)}>{line}"
        return line


def without_secrets(text: str) -> str:
    """Return a text with everything that looks like a credential cut."""
    if not any(start in text for start in _SECRET_STARTS):
        return text

    def cut(match: re.Match[str]) -> str:
        return (match["ours"] or match["hook"] or match["bearer"]) + HIDDEN

    return _SECRET_TEXT.sub(cut, text)


@lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _hide(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): HIDDEN if inner and _names_a_secret(str(name)) else _hide(inner)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_hide(inner) for inner in value]
    return value


def goes_to_journal() -> bool:
    """Return whether stderr is the stream the service manager made for it (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        seen = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or replaced by something without a descriptor
        return False
    return (device, inode) == (str(seen.st_dev), str(seen.st_ino))


def configure(level: str) -> None:
    """Send every record of ``level`` and above to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(priorities=goes_to_journal()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("aiohttp.access", "alembic.autogenerate.plugins"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Change the level while the daemon runs."""
    logging.getLogger().setLevel(level)
