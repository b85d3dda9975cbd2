"""``trainbox serve``."""

from __future__ import annotations

from pathlib import Path

import click

from trainbox import __version__
from trainbox.cli.exits import CliError, start_exit
from trainbox.cli.render import print_json_line
from trainbox.cli.session import Session, Verb, load_settings, pass_session


@click.command(cls=Verb)
@click.option("--host", help="Address to listen on; TRAINBOX_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port, 0 picks one; TRAINBOX_PORT.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Database, files and the local token; TRAINBOX_STATE_DIR.",
)
@pass_session
def command(session: Session, host: str | None, port: int | None, state_dir: Path | None) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C.

    Once it answers, its URL is printed on stdout; its log goes to stderr. Training sandboxes
    outlive it and are taken up again at the next start.
    """
    state_dir = state_dir.absolute() if state_dir else None
    settings = load_settings(host=host, port=port, state_dir=state_dir)

    from trainbox import app
    from trainbox_sdk.errors import TrainboxError

    def ready(url: str) -> None:
        if session.json:
            facts = {"url": url, "state_dir": str(settings.state_dir)}
            print_json_line(facts | {"token_file": str(settings.token_file)})
        else:
            click.echo(
                f"trainbox {__version__} answers at {url}\n"
                f"state in {settings.state_dir}, token in {settings.token_file}"
            )

    try:
        app.serve(settings, ready)
    except TrainboxError as error:
        where = [f"{'.'.join(map(str, one.loc))}: {one.msg}" for one in error.errors]
        raise CliError(
            error.message,
            start_exit(error.code),
            where=where,
            next_step=error.hint,
            code=error.code,
        ) from None
