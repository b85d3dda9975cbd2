"""The root of the command tree; verbs are imported when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import Any, ClassVar

import click

from trainbox import __version__
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.session import Session


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    lazy: ClassVar[dict[str, tuple[str, str]]] = {
        "quickstart": ("quickstart", "Train and use a first model: one command, a few minutes."),
        "serve": ("serve", "Run the daemon in the foreground."),
        "data": ("data", "Upload and look at datasets."),
        "jobs": ("jobs", "Train: submit, follow, cancel, retry."),
        "models": ("models", "Use trained models."),
        "tasks": ("tasks", "What can be trained, and its parameters."),
        "images": ("images", "Build the environments that training runs in."),
        "plugins": ("plugins", "What the daemon has loaded."),
    }

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order a newcomer needs them."""
        return list(self.lazy)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.lazy:
            return None
        module = importlib.import_module(f"trainbox.cli.{self.lazy[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])


@click.group(
    cls=LazyGroup,
    epilog="Exit codes: 0 ok, 1 internal, 2 usage, 3 job failed, 4 job cancelled, 5 not found, "
    "6 not allowed, 7 daemon unreachable, 8 rejected, 9 conflict, 124 timeout, 130 interrupted.",
)
@click.version_option(__version__, prog_name="trainbox")
@click.option("--url", metavar="URL", help="The daemon; else TRAINBOX_URL, else this host's.")
@click.option("--token", metavar="TOKEN", help="Else TRAINBOX_TOKEN, else the state dir's file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, errors on stderr.")
@click.pass_context
def cli(ctx: click.Context, url: str | None, token: str | None, as_json: bool) -> None:
    """On-prem training: data in, sandboxed training, one ONNX out, predictions back."""
    ctx.obj = Session(url=url, token=token, json=as_json)


def main(args: list[str] | None = None) -> Any:
    """Run the command line; never returns.

    Every expected failure prints what, where and the next step, and leaves with a documented code.
    """
    try:
        sys.exit(cli.main(args=args, prog_name="trainbox", standalone_mode=False) or Exit.OK)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(Exit.INTERRUPTED)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except CliError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except BrokenPipeError:
        # The reader of our stdout (head, less) left; Python would complain again at exit.
        sys.stdout = None
        sys.exit(Exit.OK)
