"""docs/custom-training.md names every permission, setting and route, with the right defaults."""

from __future__ import annotations

import re
from pathlib import Path

from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.routes import CustomTrainingSurface
from trainbox_sdk.testing.fake_engine import FakeEngine

PAGE = (Path(__file__).resolve().parents[2] / "docs/custom-training.md").read_text()
WORDS = {"unset": None, "none": [], "the system's": None, "of the request": None}


def test_every_setting_and_its_default():
    table = PAGE.partition("| setting | default |")[2].partition("\n\n")[0]
    said = {}
    for names, default in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            said[name] = default.strip("`")
    fields = Config.model_fields
    assert set(said) == set(fields)
    for name, default in said.items():
        real = fields[name].default
        assert default == f"{real:g}" if isinstance(real, float) else WORDS.get(default, default) == (str(real) if isinstance(real, int) else real), name  # fmt: skip


def test_every_permission(config):
    routes = CustomTrainingSurface(config).routes(FakeEngine())
    table = PAGE.partition("| permission | for |")[2].partition("\n\n")[0]
    used = {route.operation.scope for route in routes if route.operation.scope}
    assert set(re.findall(r"`(\w+:\w+)`", table)) == used


def test_every_route(config):
    routes = CustomTrainingSurface(config).routes(FakeEngine())
    table = PAGE.partition("## Routes")[2].partition("## What")[0]
    for route in routes:
        last = route.path.replace("/api/v1/models/{model_id}", "{id}").rpartition("/")[2]
        if "/files/" not in route.path and "training/" not in route.path:  # named below the table
            assert last in table, route.path
