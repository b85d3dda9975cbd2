"""Nothing of the machine it was written on is left in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import ROOT

# Written in two halves, so that this file does not find itself. /opt/trainbox and /opt/python are
# paths in our images.
MACHINE_PATH = re.compile(
    r"(?<![\w.}/-])/(?:work|ro" + r"ot|home/\w+|opt/(?!(?:trainbox|python)\b)\w+)/"
)
INDEX_HOST = re.compile(
    r"py" + r"pi\.org|python" + r"hosted|jf" + r"rog|artifac" + r"tory", re.IGNORECASE
)
INDEX_OPTION = re.compile(
    r"^\s*(?:-i|--(?:extra-)?index-url|--find-links|--trusted-host)\b", re.MULTILINE
)
SECRET = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/\s:@{$]+:[^/\s:@{$]+@(?!example)")


def texts(tracked: list[Path]) -> dict[str, str]:
    found = {}
    for path in tracked:
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            found[path.relative_to(ROOT).as_posix()] = data.decode("utf-8", errors="replace")
    return found


def hits(tracked: list[Path], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in texts(tracked).items()
        for match in pattern.finditer(text)
    ]


def test_no_path_of_a_machine(tracked: list[Path]) -> None:
    # An attack on a sandbox reaches for real places of any host.
    assert not [hit for hit in hits(tracked, MACHINE_PATH) if not hit.startswith("tests/hostile/")]


def test_no_package_index_by_name(tracked: list[Path]) -> None:
    assert not hits(tracked, INDEX_HOST)


def test_locks_name_no_index(tracked: list[Path]) -> None:
    locks = [path for path in tracked if path.suffix == ".lock"]
    assert len(locks) >= 3
    assert not hits(locks, INDEX_OPTION)


def test_locks_have_hashes_for_every_package(tracked: list[Path]) -> None:
    for path in (path for path in tracked if path.suffix == ".lock"):
        joined = path.read_text().replace("\\\n", " ")
        pins = [line.strip() for line in joined.splitlines()]
        pins = [pin for pin in pins if pin and pin[0] not in "#-"]
        assert pins, path
        assert not [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin], path


def test_no_credentials(tracked: list[Path]) -> None:
    assert not [hit for hit in hits(tracked, SECRET) if not hit.startswith("tests/")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see /wo" + "rk/main/x", True),
        ("/ro" + "ot/.cache", True),
        ("/home/ad" + "a/x", True),
        ("/op" + "t/py/bin", True),
        ("/opt/trainbox/bin/python", False),
        ("docs/work/flow", False),
        ("$ROOT/opt/x", False),
    ],
)
def test_machine_paths_are_recognised(text: str, found: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is found


def test_every_text_file_ends_with_a_newline(tracked: list[Path]) -> None:
    ragged = [name for name, text in texts(tracked).items() if text and not text.endswith("\n")]
    assert not ragged
