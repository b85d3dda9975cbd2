"""The uploaded files that a plan names: found as the caller sees them, fixed by their digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from trainbox.engine.access import Access
from trainbox.engine.complaints import refuse
from trainbox.store import Store
from trainbox_sdk.assets import AssetView
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import FieldError
from trainbox_sdk.tasks import Plan, StepPlan

ASSETS = "assets"
"""The parameter in which tasks take them."""


async def with_digests(
    store: Store, access: Access, who: Principal, plan: Plan, params: Mapping[str, Any]
) -> Plan:
    """Return the plan with the digest of every file, so that what the asset does later is nothing.

    Raises:
        ValidationFailed: assets that are not there, or not the caller's, all of them at once.
    """
    wanted = list(dict.fromkeys(file.asset for step in plan.steps for file in step.files))
    if not wanted:
        return plan
    found = {
        asset_id: view
        for asset_id, view in (await store.assets.find(wanted)).items()
        if access.may(who, "read", view.owner)
    }
    refuse(list(_missing(wanted, found, params)))
    return replace(plan, steps=tuple(_with_digests(step, found) for step in plan.steps))


def _missing(
    wanted: list[str], found: Mapping[str, AssetView], params: Mapping[str, Any]
) -> Iterator[FieldError]:
    given = params.get(ASSETS)
    listed = given if isinstance(given, list) else wanted
    for number, asset_id in enumerate(wanted):
        if asset_id not in found:
            at = listed.index(asset_id) if asset_id in listed else number
            hint = "list yours with GET /v1/assets"
            yield FieldError(("params", ASSETS, at), f"no asset {asset_id[:80]!r}", hint)


def _with_digests(step: StepPlan, found: Mapping[str, AssetView]) -> StepPlan:
    files = tuple(replace(file, digest=found[file.asset].digest) for file in step.files)
    return replace(step, files=files)
