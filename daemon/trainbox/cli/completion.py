"""``trainbox completion``: the script that teaches a shell this command line."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_TRAINBOX_COMPLETE"
"""What click asks for: the program's name in capitals."""


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that teaches a shell this command line.

    \b
    bash   eval "$(trainbox completion bash)"    in ~/.bashrc
    zsh    eval "$(trainbox completion zsh)"     in ~/.zshrc
    fish   trainbox completion fish > ~/.config/fish/completions/trainbox.fish
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(
        kind(click.get_current_context().find_root().command, {}, "trainbox", VARIABLE).source()
    )
