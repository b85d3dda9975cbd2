"""The root of the command tree; verbs are imported when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click

from trainbox import __version__
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    lazy: ClassVar[dict[str, tuple[str, str]]] = {
        "quickstart": ("quickstart", "Train and use a first model: one command, a few minutes."),
        "serve": ("serve", "Run the daemon in the foreground."),
        "data": ("data", "Upload and look at datasets."),
        "jobs": ("jobs", "Train: submit, follow, cancel, retry."),
        "run": ("run", "Run a training script of your own: up, followed, its model fetched."),
        "assets": ("assets", "Files for scripts: upload, list, download."),
        "models": ("models", "Use trained models: find, promote, pull, predict."),
        "tasks": ("tasks", "What can be trained, and its parameters."),
        "images": ("images", "Build the environments that training runs in."),
        "plugins": ("plugins", "What the daemon has loaded."),
        "trash": ("trash", "What was thrown away: look, and free its bytes."),
        "tokens": ("tokens", "Make, list and end tokens."),
        "webhooks": ("webhooks", "Have URLs told what happens."),
        "admin": ("admin", "Look after a daemon: doctor, backup, restore, gc, audit, drain."),
        "completion": ("completion", "Teach bash, zsh or fish this command line."),
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer commands without importing any."""
        from click.shell_completion import CompletionItem

        fitting = (
            CompletionItem(name, help=text)
            for name, (_, text) in self.lazy.items()
            if name.startswith(incomplete)
        )
        return [*fitting, *click.Command.shell_complete(self, ctx, incomplete)]

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
@click.option("--no-input", is_flag=True, help="Never ask; refuse where an answer is needed.")
@click.pass_context
def cli(
    ctx: click.Context, url: str | None, token: str | None, as_json: bool, no_input: bool
) -> None:
    """On-prem training: data in, sandboxed training, one ONNX out, predictions back."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False  # https://no-color.org
    ctx.obj = Session(url=url, token=token, json=as_json, no_input=no_input)


def main(args: list[str] | None = None) -> Any:
    """Run the command line; never returns.

    Every expected failure prints what, where and the next step, and leaves with a documented code.
    """
    given = sys.argv[1:] if args is None else args
    # Asked of the words: a command line that cannot be parsed leaves no options to ask.
    as_json = "--json" in given
    try:
        sys.exit(cli.main(args=given, prog_name="trainbox", standalone_mode=False) or Exit.OK)
    except click.exceptions.Abort:
        _leave(CliError("Interrupted.", Exit.INTERRUPTED), as_json)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except CliError as error:
        _leave(error, as_json)
    except click.ClickException as error:
        if as_json:
            _leave(_usage(error), as_json)
        error.show()
        sys.exit(Exit.USAGE)
    except BrokenPipeError:
        # The reader of our stdout (head, less) left; Python would complain again at exit.
        sys.stdout = None
        sys.exit(Exit.OK)
    except Exception as error:  # noqa: BLE001 - the last resort of the whole command line
        # Anything else is a mistake of ours: who typed the command needs a sentence and a code,
        # who mends it the traceback.
        if os.environ.get("TRAINBOX_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        _leave(_unexpected(error), as_json)


def _leave(error: CliError, as_json: bool) -> NoReturn:
    error.json_wanted |= as_json
    error.show()
    sys.exit(error.exit_code)


def _usage(error: click.ClickException) -> CliError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return CliError(
        error.format_message(),
        Exit.USAGE,
        where=[context.get_usage()] if context else [],
        next_step=f"Read '{context.command_path} --help'." if context else "",
        code="usage",
    )


def _unexpected(error: Exception) -> CliError:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    last = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown place"
    return CliError(
        "Something went wrong that trainbox did not foresee.",
        Exit.INTERNAL,
        where=[f"{type(error).__name__}: {error}", last],
        next_step="Run it again with TRAINBOX_DEBUG=1 for the traceback, and report it.",
        code="unexpected",
    )
