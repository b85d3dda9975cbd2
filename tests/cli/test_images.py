"""``trainbox images`` over backends that answer as told."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from trainbox import workbench
from trainbox_plugins.environments.testing import tiny_environment
from trainbox_sdk.environments import BuiltEnvironment
from trainbox_sdk.errors import BackendRejected, NotFound

MADE = datetime(2026, 1, 1, tzinfo=UTC)


class Keeper:
    """A backend with one environment built, one of an old lock, and one of a user's wishes."""

    name = "fake"

    def __init__(self, environments):
        self.environments_ = environments
        self.built = [
            self.make("python3.12", environments["python3.12"].digest),
            self.make("python3.12", "0" * 64),
            replace(self.make("python3.12", "1" * 64), for_wishes=True, packages=("a==1",)),
        ]
        self.broken = {}
        self.asked = []

    def make(self, name, digest):
        return BuiltEnvironment(name, self.name, f"ref-{digest[:4]}", digest, 2048, MADE, "debian")

    async def environments(self):
        return self.built

    async def build_environment(self, environment, report):
        report(0.5, f"making {environment.name}")
        if environment.name in self.broken:
            raise self.broken[environment.name]
        return self.make(environment.name, environment.digest)

    async def verify_environment(self, environment):
        if environment.name in self.broken:
            raise self.broken[environment.name]
        return self.built[0]

    async def prune_environments(self, *, keep, unused_s):
        self.asked.append((keep, unused_s))
        return self.built[2:]


@pytest.fixture
def keeper(monkeypatch, tmp_path):
    environments = {}
    for name in ("python3.12", "tabular"):
        (tmp_path / name).mkdir()
        environments[name] = tiny_environment(tmp_path / name, name=name)
    keeper = Keeper(environments)
    plain = SimpleNamespace(name="plain", environments=keeper.environments)

    @asynccontextmanager
    async def bench(settings):
        backends = {"fake": keeper, "plain": plain}
        yield SimpleNamespace(backends=backends, environments=environments)

    monkeypatch.setattr(workbench, "_workbench", bench)
    return keeper


def test_ls_shows_what_plugins_register_and_with_all_the_rest(run, keeper):
    rows = json.loads(run("images", "ls", "--json").out)
    assert {(row["name"], row["built"]) for row in rows} == {
        ("python3.12", True),
        ("tabular", False),
    }
    rows = json.loads(run("images", "ls", "--all", "--json").out)
    wished = [row for row in rows if row.get("for_requirements")]
    assert [row["packages"] for row in wished] == [["a==1"]] * len(wished)
    assert {row["digest"][:4] for row in rows if row["built"]} >= {"0000", "1111"}


def test_verify_says_of_each_what_is_wrong(run, keeper):
    rows = json.loads(run("images", "verify", "--backend", "fake", "--json").out)
    assert [row["verified"] for row in rows] == [True, True]
    keeper.broken["tabular"] = NotFound("no image of tabular is built from this lock")
    result = run("images", "verify", "--backend", "fake", "--json", code=8)
    rows = json.loads(result.out)
    assert [(row["name"], row["verified"]) for row in rows] == [
        ("python3.12", True),
        ("tabular", False),
    ]
    assert "no image of tabular" in rows[1]["why"]
    assert "tabular" in result.err


def test_prune_passes_on_how_many_and_how_long(run, keeper):
    arguments = ("--keep", "3", "--unused-for", "7d", "--backend", "fake", "--json")
    rows = json.loads(run("images", "prune", *arguments).out)
    assert [row["digest"] for row in rows] == ["1" * 64]
    assert keeper.asked == [(3, 7 * 86_400.0)]


@pytest.mark.parametrize("verb", ["prune", "verify"])
def test_a_backend_that_keeps_nothing_says_so(run, keeper, verb):
    result = run("images", verb, "--backend", "plain", code=5)
    assert "plain" in result.err


def test_one_that_fails_does_not_stop_the_others(run, keeper):
    keeper.broken["python3.12"] = BackendRejected("no Python here", code="no_base", hint="get one")
    result = run("images", "build", "--backend", "fake", code=8)
    assert "no Python here" in result.err
    assert "get one" in result.err
    assert "making tabular" in result.err
