"""docs/settings.md lists every setting with its default and its meaning, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from trainbox.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()
ROW = re.compile(r"^\| `TRAINBOX_([A-Z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is list:
        return "empty"
    return "see below" if field.default_factory else f"`{field.default}`"


def test_the_table_is_the_settings() -> None:
    told = {name.lower(): (given, meaning) for name, given, meaning in ROW.findall(PAGE)}
    assert told == {
        name: (default(name), field.description) for name, field in Settings.model_fields.items()
    }


def test_every_variable_the_code_reads_is_on_the_page() -> None:
    code = "".join(p.read_text() for p in (ROOT / "daemon" / "trainbox").rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"(TRAINBOX_[A-Z_]+)\"", code))
    assert read >= {"TRAINBOX_CONFIG", "TRAINBOX_DEBUG"}
    assert not {name for name in read if f"`{name}" not in PAGE}


def test_the_readme_leads_to_it() -> None:
    assert "(docs/settings.md)" in (ROOT / "README.md").read_text()
