"""Which environments of users' requirements go: never a registered one, never one in use."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainbox_plugins.environments.cache import Uses
from trainbox_plugins.environments.contents import bill_of, packages_in, strangers_in
from trainbox_plugins.environments.lock import Pin
from trainbox_plugins.environments.surplus import surplus
from trainbox_plugins.environments.testing import tiny_environment
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_sdk.environments import BuiltEnvironment
from trainbox_sdk.errors import BackendRejected

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY_S = 86_400.0


def made(name: str, days_ago: float, *, used: float | None = None, wishes: bool = True):
    def at(days: float) -> datetime:
        return NOW - timedelta(days=days)

    return BuiltEnvironment(
        name, "docker", "ref", name, 1, at(days_ago), for_wishes=wishes,
        used_at=None if used is None else at(used),
    )  # fmt: skip


def gone(built, *, keep: int, days: float) -> list[str]:
    found = surplus(built, keep=keep, unused_s=days * DAY_S, now=NOW)
    return [one.name for one in found]


BUILT = [
    made("registered", 900, wishes=False),
    made("old", 100),
    made("old-but-used", 100, used=1),
    made("new", 2),
    made("middle", 40, used=35),
]


def test_the_last_used_stay_and_the_unused_go() -> None:
    assert gone(BUILT, keep=0, days=30) == ["middle", "old"]
    assert gone(BUILT, keep=3, days=30) == ["old"]
    assert gone(BUILT, keep=2, days=30) == ["middle", "old"]
    assert gone(BUILT, keep=0, days=0) == ["old-but-used", "new", "middle", "old"]
    assert gone(BUILT, keep=9, days=0) == []
    assert gone([], keep=0, days=0) == []


def test_uses_are_noted_and_forgotten(tmp_path: Path) -> None:
    uses = Uses(tmp_path / "used")
    assert uses.last("abc") is None
    uses.note("abc")
    seen = uses.last("abc")
    assert seen is not None
    assert abs((datetime.now(UTC) - seen).total_seconds()) < 60
    uses.forget("abc")
    uses.forget("abc")
    assert uses.last("abc") is None


def test_a_bill_names_every_package_once_and_is_held_to_the_lock() -> None:
    one, two = "1" * 64, "2" * 64
    bill = bill_of({"torch-2.1+cpu-cp311-x.whl": one, "a_b-1.0-py3-none-any.whl": two})
    assert bill == f"a-b==1.0@sha256:{two} torch==2.1+cpu@sha256:{one}"
    assert packages_in(bill) == ("a-b==1.0", "torch==2.1+cpu")
    pins = (Pin("torch", "2.1+cpu", frozenset({one})), Pin("a-b", "1.0", frozenset({two})))
    assert strangers_in(bill, pins) == []
    assert strangers_in(bill, pins[:1]) == [f"a-b==1.0@sha256:{two}"]
    assert strangers_in(bill_of({}), pins) == ["torch==2.1+cpu", "a-b==1.0"]


def test_wheels_that_would_fill_the_disk_are_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "offered").mkdir()
    tiny = tiny_environment(tmp_path / "offered", source="#" * 10_000)
    wished = replace(tiny, wishes=(tiny.requirements,))
    monkeypatch.setattr("trainbox_plugins.environments.wheelhouse.MAX_UNPACKED_BYTES", 9_000)
    house = Wheelhouse(tmp_path / "wheels", tmp_path / "offered")
    house.fetch(tiny, lambda f, s: None)
    with pytest.raises(BackendRejected, match="unpack to") as caught:
        house.fetch(wished, lambda f, s: None)
    assert caught.value.code == "requirements_refused"


def test_wheels_of_requirements_go_when_unused_and_those_of_environments_stay(
    tmp_path: Path,
) -> None:
    (tmp_path / "offered").mkdir()
    tiny = tiny_environment(tmp_path / "offered")
    other = tmp_path / "other.lock"
    other.write_text(f"# other\n{tiny.requirements.read_text()}")
    wished = replace(tiny, requirements=other, wishes=(other,))
    house = Wheelhouse(tmp_path / "wheels", tmp_path / "offered")
    kept, mine = (house.fetch(one, lambda f, s: None).directory for one in (tiny, wished))
    house.forget_unused(60)
    assert mine.exists()
    os.utime(mine / "wheels.json", (time.time() - 120,) * 2)
    os.utime(kept / "wheels.json", (time.time() - 120,) * 2)
    house.forget_unused(60)
    assert not mine.exists()
    assert kept.exists()
