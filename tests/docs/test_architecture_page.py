"""docs/architecture.md may only name rooms that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROOM = re.compile(r"\btrainbox(?:_sdk|_guest|_plugins)?(?:\.[a-z_]+)*\b")


def named_rooms() -> list[str]:
    """Every dotted room in code font or in a diagram; file names are not rooms."""
    found = set(ROOM.findall(PAGE.replace("trainbox.db", "")))
    return sorted(found - {"trainbox"})


def exists(room: str) -> bool:
    """Whether the dotted name is a module, or a name inside one."""
    try:
        return importlib.util.find_spec(room) is not None
    except ModuleNotFoundError:
        return False


def test_the_page_names_the_rooms_a_reader_looks_for() -> None:
    rooms = named_rooms()
    assert len(rooms) > 25
    assert "trainbox.engine.supervisor" in rooms


@pytest.mark.parametrize("room", named_rooms())
def test_every_room_on_the_page_exists(room: str) -> None:
    assert exists(room), f"docs/architecture.md names {room}, which does not exist"


def test_every_room_of_the_engine_is_on_the_page() -> None:
    small = {"access", "complaints", "finish", "health", "patience", "readiness", "requests"}
    small |= {"predict_rows", "predict_seat", "predict_values", "predict_columns", "predict_lookup"}
    small |= {"predict_places", "predict_refusals", "predict_tensors", "predict_tickets"}
    small |= {"predict_tables"}
    engine = {p.stem for p in (ROOT / "daemon/trainbox/engine").glob("*.py")} - {"__init__"}
    missing = {room for room in engine - small if f"trainbox.engine.{room}" not in PAGE}
    assert not missing, f"docs/architecture.md does not name {missing}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
