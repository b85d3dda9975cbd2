"""Fake entry points over real classes: only the packaging is made up, never the loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainbox.plugins import Discovered, Loaded, load_plugins
from trainbox.plugins.manifest import parse_manifest


def offer(name: str, factory: Any, *, distribution: str = "", version: str = "1.0") -> Discovered:
    """Return an entry point whose import gives ``factory``, or raises it."""

    def load() -> Any:
        if isinstance(factory, BaseException):
            raise factory
        return factory

    return Discovered(name, f"{name}_module:Plugin", distribution or f"{name}-dist", version, load)


class Loader:
    """Lists and offers plugins, then loads them."""

    def __init__(self) -> None:
        self.offers: list[Discovered] = []
        self.listed: list[dict[str, Any]] = []

    def add(
        self,
        name: str,
        factory: Any,
        *,
        required: bool = False,
        config: Mapping[str, Any] | None = None,
        **origin: str,
    ) -> Loader:
        self.offers.append(offer(name, factory, **origin))
        return self.list(name, required=required, config=config)

    def list(
        self, name: str, *, required: bool = False, config: Mapping[str, Any] | None = None
    ) -> Loader:
        table: dict[str, Any] = {"name": name, "required": required}
        if config is not None:
            table["config"] = config
        self.listed.append(table)
        return self

    def load(self, **options: Any) -> Loaded:
        manifest = parse_manifest({"plugin": self.listed}, Path("plugins.toml"))
        return load_plugins(manifest, discover=lambda: self.offers, **options)


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def write_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put an importable distribution with an entry point on ``sys.path``, as pip would."""

    def write(name: str, module: str, source: str, *, version: str = "2.5", entry: str) -> Path:
        site = tmp_path / f"site-{name}"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[trainbox]\n{entry} = {module}:Plugin\n")
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        return site

    return write
