"""Which daemon, with which token: arguments, then the environment, then this host's own daemon."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trainbox_client.errors import TrainboxError

DEFAULT_URL = "http://127.0.0.1:8422"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Daemon:
    """Where a daemon answers.

    Attributes:
        url: base URL without a trailing slash.
        token: bearer token.
        unix_socket: path of a Unix socket to speak through instead of TCP, or None.
    """

    url: str
    token: str
    unix_socket: str | None = None

    @property
    def local(self) -> bool:
        """Whether no proxy of the environment may come between."""
        return self.unix_socket is not None or urlsplit(self.url).hostname in LOOPBACK


def locate(url: str | None = None, token: str | None = None) -> Daemon:
    """Find the daemon and a token for it.

    Args:
        url: ``http://…``, ``https://…`` or ``unix:///path/to.sock``; else ``TRAINBOX_URL``, else
            this host's default port.
        token: else ``TRAINBOX_TOKEN``, else the file the daemon wrote into its state directory.

    Raises:
        TrainboxError: not a URL, no token anywhere, or one that no header can carry.
    """
    given = (url or os.environ.get("TRAINBOX_URL") or DEFAULT_URL).rstrip("/")
    try:
        parts = urlsplit(given)
        _ = parts.port
    except ValueError as error:
        raise TrainboxError(f"{given!r} is not a URL of a daemon: {error}") from None
    bearer = token or os.environ.get("TRAINBOX_TOKEN") or _token_file()
    if not bearer.isascii() or not bearer.isprintable():
        raise TrainboxError("the token holds characters that no token has; is it all of one line?")
    if parts.scheme == "unix" and parts.path:
        return Daemon("http://localhost", bearer, parts.path)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TrainboxError(f"{given!r} is not a URL of a daemon; write http://host:port")
    return Daemon(given, bearer)


def _token_file() -> str:
    path = _state_dir() / "token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise TrainboxError(
            f"there is no token to send: {path}: {error.strerror}. Pass token=, or set "
            "TRAINBOX_TOKEN, or TRAINBOX_STATE_DIR to the daemon's state directory"
        ) from None


def _state_dir() -> Path:
    given = os.environ.get("TRAINBOX_STATE_DIR")
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "trainbox"
