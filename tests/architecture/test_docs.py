"""The documentation tells the truth: its examples run, its names exist, its links lead somewhere."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from trainbox.plugins import Discovered, load_plugins, read_manifest
from trainbox.registry import build_registry
from trainbox_sdk.hooks import DECISION, NOTIFICATION, REGISTRATION, Hooks

from .conftest import ROOT
from .examples import examples, run, write_files

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WITH_EXAMPLES = [path for path in DOCUMENTS if "<!-- example:" in path.read_text(encoding="utf-8")]
HOOKS = sorted(name for name in vars(Hooks) if not name.startswith("_"))
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
NAME = re.compile(r"\btrainbox(?:_sdk|_plugins|_guest)?(?:\.\w+)+")


# Strings such as "trainbox.schema" are keys in a model's metadata or labels, not modules.
KEYS = {
    key
    for folder in ("daemon", "plugins", "sandbox")
    for path in (ROOT / folder).rglob("*.py")
    for key in re.findall(r"\"(trainbox\.\w+)\"", path.read_text(encoding="utf-8"))
}


# --- examples


@pytest.mark.parametrize("document", WITH_EXAMPLES, ids=lambda path: path.name)
def test_examples_run(document: Path, tmp_path: Path) -> None:
    found = examples(document)
    write_files(found, tmp_path)
    for example in found:
        if example.kind != "file":
            done = run(example, tmp_path)
            where = f"{document.name}:{example.line}"
            assert done.returncode == 0, f"{where}\n{done.stdout}\n{done.stderr}"


def test_the_tutorials_plugin_loads_as_its_files_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(examples(ROOT / "docs/plugins.md"), tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["trainbox"].items()
    module, _, attribute = value.partition(":")

    def load() -> object:
        return getattr(importlib.import_module(module), attribute)

    found = Discovered(name, value, project["name"], project["version"], load)
    loaded = load_plugins(read_manifest(tmp_path / "plugins.toml"), discover=lambda: [found])
    (info,) = loaded.infos()
    assert (info.status, info.error) == ("loaded", "")
    (task,) = build_registry(loaded).task_infos()
    assert (task.name, task.plugin) == ("summary", "summary")
    assert json.dumps(task.params_schema)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        del sys.modules[name]


def test_a_mark_without_a_block_is_noticed(tmp_path: Path) -> None:
    document = tmp_path / "x.md"
    document.write_text("<!-- example: run -->\n\nno block here\n")
    with pytest.raises(AssertionError, match="1 marks, 0 examples"):
        examples(document)


def test_there_are_examples() -> None:
    assert (ROOT / "docs/plugins.md") in WITH_EXAMPLES


# --- hooks


def test_every_hook_has_a_sort() -> None:
    assert HOOKS == sorted({*REGISTRATION, *DECISION, *NOTIFICATION})


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    assert (getattr(Hooks, hook).__doc__ or "").strip()
    table = (ROOT / "docs/plugins.md").read_text().partition("## Hooks")[2]
    assert f"\n| `{hook}` |" in table


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_tested(hook: str) -> None:
    tests = [path.read_text() for path in (ROOT / "tests/plugins").glob("test_*.py")]
    kind = hook.removeprefix("register_")
    assert any(hook in text or f"plugin({kind}=" in text or f'"{kind}"' in text for text in tests)


# --- names, links, numbers


def test_links_lead_to_files() -> None:
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in DOCUMENTS
        for target in LINK.findall(document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]
    assert not broken


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, a package, or something defined in one."""
    parts = dotted.split(".")
    folders = ("daemon", "plugins", "sandbox")
    for depth in range(len(parts), 0, -1):
        for folder in folders:
            place = ROOT.joinpath(folder, *parts[:depth])
            module = place.with_suffix(".py")
            module = module if module.is_file() else place / "__init__.py"
            if module.is_file():
                rest = parts[depth:]
                text = module.read_text(encoding="utf-8")
                return not rest or bool(re.search(rf"\b{rest[0]}\b", text))
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_names_of_modules_exist(document: Path) -> None:
    text = re.sub(
        r"trainbox\.(?:service|socket|sysusers|tmpfiles|token|toml|test|schema|db)\b",
        "",
        document.read_text(),
    )
    text = re.sub(r"\w+/trainbox[\w/.]*", "", text)
    unknown = sorted({name for name in NAME.findall(text) if not exists(name) and name not in KEYS})
    assert not unknown


def test_existence_is_really_looked_up() -> None:
    assert exists("trainbox.plugins.manager")
    assert exists("trainbox_sdk.tasks.TaskType")
    assert not exists("trainbox.no_such_room")
    assert not exists("trainbox_sdk.tasks.NoSuchThing")


def test_decisions_have_unique_numbers_and_their_parts() -> None:
    records = sorted((ROOT / "docs/adr").glob("*.md"))
    numbers = [path.name[:4] for path in records]
    assert len(set(numbers)) == len(numbers)
    for path in records:
        number, _, slug = path.stem.partition("-")
        text = path.read_text(encoding="utf-8")
        assert re.fullmatch(r"\d{4}", number)
        assert re.fullmatch(r"[a-z0-9-]+", slug)
        assert text.startswith(f"# {int(number)}. "), path.name
        for part in (
            r"Date: \d{4}-",
            "Status: ",
            "## Context",
            "## Decisions?",
            "## (?:Consequences|What it costs)",
        ):
            assert re.search(rf"^(?:Date: .*)?{part}", text, re.MULTILINE), f"{path.name}: {part}"


def test_make_commands_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"quickstart", "test"} <= targets
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        inline = re.findall(r"`(make [a-z][^`]*)`", text)
        for line in [*shell_lines(text), *inline]:
            command = line.partition("#")[0].removeprefix("$ ")
            match = re.search(r"(?:^|\s)make((?: [a-z][\w-]*)+)", command)
            wanted = set(match[1].split()) if match else set()
            assert wanted <= targets, f"{document.name}: {line.strip()}"


def shell_lines(text: str) -> list[str]:
    """Return the lines of fenced shell blocks."""
    lines, language = [], None
    for line in text.splitlines():
        if line.startswith("```"):
            language = None if language is not None else line[3:].strip()
        elif language in {"bash", "sh", "console"}:
            lines.append(line)
    return lines
