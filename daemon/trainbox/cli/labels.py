"""Changes to labels: ``NAME=VALUE`` sets one, ``NAME-`` takes it away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trainbox.cli.exits import CliError, Exit


def changed_labels(before: Mapping[str, str], changes: Iterable[str]) -> Mapping[str, str]:
    """Return labels after changes, in the order given.

    Raises:
        CliError: neither ``NAME=VALUE`` nor ``NAME-``; or a label is taken away that is not there.
    """
    after = dict(before)
    for change in changes:
        name, equals, value = change.partition("=")
        if name and equals:
            after[name] = value
        elif change.endswith("-") and change[:-1] in after:
            del after[change[:-1]]
        elif change.endswith("-") and len(change) > 1:
            has = ", ".join(sorted(after)) or "none"
            raise CliError(f"There is no label {change[:-1]!r}; it has {has}.", Exit.USAGE)
        else:
            raise CliError(f"A label is NAME=VALUE, or NAME-; not {change!r}.", Exit.USAGE)
    return after
