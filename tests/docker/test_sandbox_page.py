"""``docs/sandbox.md`` names tests and settings that exist, and every promise the backend makes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from trainbox_guest.confine.seccomp import denied
from trainbox_plugins.docker_backend import seccomp
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.policy import Confinement
from trainbox_plugins.docker_backend.promises import promises

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sandbox.md").read_text()
SOURCES = [*ROOT.glob("tests/docker/*.py"), *ROOT.glob("tests/hostile/*.py")]
SOURCES.append(ROOT / "daemon" / "trainbox_sdk" / "testing" / "backend.py")
SOURCES += ROOT.glob("daemon/trainbox_sdk/testing/backend_*.py")


def test_every_test_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    written = set(re.findall(r"def (test_\w+)", "\n".join(path.read_text() for path in SOURCES)))
    assert named
    assert named - written == set()


def test_every_attack_the_page_names_exists() -> None:
    promised = PAGE.partition("## Promises")[2].partition("\n## ")[0]
    shown = [line.split("|")[3] for line in promised.splitlines() if line.startswith("| ")][1:]
    named = set(re.findall(r"`([a-z_]+)`", " ".join(shown))) - {"seccomp"}
    code = "\n".join(path.read_text() for path in ROOT.glob("tests/hostile/guest/attack_*.py"))
    attacks = set(re.findall(r"^def (\w+)", code, re.MULTILINE))
    assert {name for name in named if not name.startswith("test_")} - attacks == set()
    assert named & attacks


def test_every_promise_is_on_the_page() -> None:
    rows = set(re.findall(r"^\| (\w+) \|", PAGE, re.MULTILINE))
    made = {promise.name for promise in promises({}, Config(), Confinement(1, 1))}
    assert made <= rows


def test_system_calls_on_the_page_are_those_the_filters_refuse() -> None:
    section = PAGE.partition("## System calls")[2].partition("\n## ")[0]
    cells = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
    told = set(re.findall(r"`(\w+)`", " ".join(cells)))
    document = json.loads(seccomp.profile(Config()))
    allowed = {
        name
        for rule in document["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and rule["names"] != ["personality"]
        for name in rule["names"]
    }
    assert told & allowed == set()
    assert set(denied("x86_64")) - told == set(), "refused from inside, and no reason given"


def test_settings_on_the_page_are_valid() -> None:
    block = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    plugin = tomllib.loads(block.group(1))["plugin"][0]
    assert Config.model_validate(plugin["config"]).runtime == "runsc"
