"""Which of a model's files is the script that runs."""

from __future__ import annotations

from collections.abc import Sequence

from trainbox_plugins.custom_training.errors import PreciseFailure, refused
from trainbox_sdk.assets import AssetView


def only_script(files: Sequence[AssetView]) -> AssetView:
    """Return the script of a model that has one.

    Raises:
        PreciseFailure: it has none, or several.
    """
    scripts = [each for each in files if each.kind == "script"]
    if len(scripts) != 1:
        raise _wrong_number(len(scripts))
    return scripts[0]


def require_script(files: Sequence[AssetView], entry_point: str) -> None:
    """Refuse an entry point that is no script of the model.

    Raises:
        PreciseFailure: it has none, or none of that name.
    """
    scripts = sorted(each.filename for each in files if each.kind == "script")
    if not scripts:
        raise _wrong_number(0)
    if entry_point not in scripts:
        raise refused(
            "body",
            "entry_point",
            msg=f"{entry_point!r} is no asset of asset_type 'script'; there are "
            + ", ".join(repr(name) for name in scripts[:10]),
        )


def _wrong_number(count: int) -> PreciseFailure:
    if count == 0:
        return refused(
            "path",
            "model_id",
            msg="no asset of asset_type 'script' is uploaded; "
            "POST /api/v1/models/{model_id}/custom/assets takes one",
        )
    return refused(
        "path",
        "model_id",
        msg=f"there are {count} scripts; POST /api/v1/models/{{model_id}}/custom/train says which",
    )
