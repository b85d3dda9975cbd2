"""What every command knows: which daemon, with which token, in which form to answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import TYPE_CHECKING, Any

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.offers import complete_names

if TYPE_CHECKING:
    from trainbox.cli.client import Client
    from trainbox.settings import Settings


@dataclass
class Session:
    """Options of one invocation; nothing is read or connected before a verb needs it."""

    url: str | None = None
    token: str | None = None
    json: bool = False
    output: str = ""
    no_input: bool = False
    _client: Client | None = field(default=None, init=False, repr=False)

    @property
    def client(self) -> Client:
        """The connection to the daemon, made on first use."""
        if self._client is None:
            from trainbox.cli.client import Client

            self._client = Client(self.base_url(), self.bearer())
            click.get_current_context().call_on_close(self._client.close)
        return self._client

    def base_url(self) -> str:
        """Return the daemon's URL: option, TRAINBOX_URL, else where this host's daemon listens."""
        given = self.url or os.environ.get("TRAINBOX_URL")
        if given:
            return given.rstrip("/")
        settings = load_settings()
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::", ""} else settings.host  # noqa: S104
        return (
            f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
        )

    def bearer(self) -> str:
        """Return the token: option, TRAINBOX_TOKEN, else the file the daemon wrote.

        Raises:
            CliError: there is none, or its file is not ours to read.
        """
        given = self.token or os.environ.get("TRAINBOX_TOKEN")
        if given:
            return given
        file = load_settings().token_file
        if self.base_url().startswith("unix://") and not os.access(file, os.R_OK):
            return ""  # a daemon may know who calls through its socket without one
        return read_token(file)


def read_token(path: Path) -> str:
    """Return the token in a file.

    Raises:
        CliError: absent, unreadable or empty.
    """
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CliError(
            "There is no token to send.",
            Exit.AUTH,
            where=[f"{path}: {error.strerror}"],
            next_step="Set TRAINBOX_TOKEN, or TRAINBOX_STATE_DIR to the daemon's state directory; "
            "'trainbox serve' writes the file at its first start.",
        ) from None
    if not token:
        raise CliError("The token file is empty.", Exit.AUTH, where=[str(path)])
    return token


def load_settings(**overrides: Any) -> Settings:
    """Return the daemon's settings, with options given on the command line on top.

    Raises:
        CliError: a variable or the file has a value the daemon refuses.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from trainbox.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        where = [f"{_dotted(one['loc'])}: {one['msg']}" for one in error.errors()]
        raise CliError("A setting is wrong.", Exit.USAGE, where=where) from None
    except (SettingsError, TOMLDecodeError) as error:
        raise CliError("A setting is wrong.", Exit.USAGE, where=[str(error)]) from None


def _dotted(loc: Sequence[int | str]) -> str:
    return ".".join(map(str, loc))


def _while_typing(ctx: click.Context) -> tuple[str, str]:
    """Return URL and token for a command line that no command has run yet."""
    session = ctx.find_object(Session) or Session()
    given = ctx.find_root().params
    session.url = session.url or given.get("url")
    session.token = session.token or given.get("token")
    return session.base_url(), session.bearer()


class Verb(click.Command):
    """A command that takes ``--json``, ``--url`` and ``--token`` after its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        complete_names(self.params, _while_typing)
        self.params += [
            click.Option(
                ["--json", "as_json"],
                is_flag=True,
                expose_value=False,
                callback=_remember("json"),
                help="Print JSON on stdout.",
            ),
            click.Option(
                ["--no-input"],
                is_flag=True,
                expose_value=False,
                callback=_remember("no_input"),
                help="Never ask; refuse where an answer is needed.",
                hidden=True,
            ),
            click.Option(["--url"], expose_value=False, callback=_remember("url"), hidden=True),
            click.Option(["--token"], expose_value=False, callback=_remember("token"), hidden=True),
        ]


class Noun(click.Group):
    """A group of verbs."""

    command_class = Verb


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def remember(ctx: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        if value:
            setattr(ctx.ensure_object(Session), name, value)
        return value

    return remember


pass_session = click.make_pass_decorator(Session, ensure=True)
