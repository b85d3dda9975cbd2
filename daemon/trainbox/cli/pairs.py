"""``NAME=VALUE`` on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainbox.cli.exits import CliError, Exit


def pairs(given: Iterable[str], option: str) -> Sequence[tuple[str, str]]:
    """Return names and values in the order given; a value may hold further ``=``.

    Args:
        given: texts such as ``team=blue``.
        option: what to call it in the error.

    Raises:
        CliError: a text without a name or without ``=``.
    """
    found = [text.partition("=") for text in given]
    for name, equals, _ in found:
        if not (name and equals):
            raise CliError(f"{option} takes NAME=VALUE, not {name!r}.", Exit.USAGE)
    return [(name, value) for name, _, value in found]
