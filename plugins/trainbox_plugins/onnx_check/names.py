"""How a graph may call what goes in and comes out: as a dataset may call its columns.

The names are told in every listing of models, on terminals and in other programs' JSON.
"""

from __future__ import annotations

from typing import Any

from trainbox_plugins.onnx_check.refusal import refuse

MAX_INPUTS = 10_000
"""As many as a dataset may have columns."""
MAX_OUTPUTS = 1000
MAX_CHARACTERS = 256


def require_names(session: Any) -> None:
    """Accept a graph by the number of its inputs and outputs and by their names.

    Raises:
        GuestError: there are too many, or a name is empty, too long or not printable.
    """
    _require("input", session.get_inputs(), MAX_INPUTS)
    _require("output", session.get_outputs(), MAX_OUTPUTS)


def _require(what: str, values: list[Any], most: int) -> None:
    if len(values) > most:
        raise refuse(f"it has {len(values)} {what}s, at most {most} are served")
    for value in values:
        name = value.name
        if not name or len(name) > MAX_CHARACTERS or not name.isprintable():
            raise refuse(
                f"{what} {name[:MAX_CHARACTERS]!a} has a name of {len(name)} characters",
                f"name it in 1 to {MAX_CHARACTERS} printable characters",
            )
