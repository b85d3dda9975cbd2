"""Fixtures of every test folder: the Docker Engine, and a small image for sandboxes.

A test that needs the engine fails where there is none; ``TRAINBOX_TEST_WITHOUT_DOCKER=1`` is how a
machine without one says so.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainbox.disks import kernel
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.docker_backend.image_base import DIGEST

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime
pytest.register_assert_rewrite("trainbox_sdk.testing")

LABELS = {"trainbox.test": "base", "trainbox.test.recipe": "bookworm-python3-1"}


@pytest.fixture(autouse=True)
def _docker_or_say_so(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker") and os.environ.get("TRAINBOX_TEST_WITHOUT_DOCKER"):
        pytest.skip("TRAINBOX_TEST_WITHOUT_DOCKER is set")


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Unmount what daemons that a test killed left mounted: nobody else will."""
    yield
    base = f"{tmp_path_factory.getbasetemp().resolve()}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ")[4] for line in lines if line.split(" ")[4].startswith(base)]
    for point in sorted(points, reverse=True):  # what lies below first
        kernel.unmount(Path(point))


@pytest.fixture(scope="session")
def docker_base_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a bare Python: kept on the engine between runs, made once with debootstrap."""
    # One session makes it; others that start meanwhile wait and find it.
    with Path(tempfile.gettempdir(), "trainbox-test-base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _apart(_find())
        return found or _apart(_import(_root_tar(tmp_path_factory.mktemp("base-image"))))


async def _find() -> str | None:
    engine = DockerEngine()
    images = await engine.image_list(LABELS)
    await engine.close()
    # An image made from it inherits its labels.
    tag = f"trainbox-test-base:{LABELS['trainbox.test.recipe']}"
    return next((str(each["Id"]) for each in images if tag in (each["RepoTags"] or ())), None)


async def _import(tar: Path) -> str:
    engine = DockerEngine()
    labels = [f"LABEL {key}={value}" for key, value in LABELS.items()]
    image = await engine.image_import(tar, changes=[*labels, "WORKDIR /tmp"])
    # A name keeps it from being pruned as dangling.
    await engine.image_tag(image, "trainbox-test-base", LABELS["trainbox.test.recipe"])
    await engine.close()
    tar.unlink()
    return image


def _root_tar(folder: Path) -> Path:
    root, tar = folder / "root", folder / "root.tar"
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=python3", "bookworm", str(root)],
        check=True,
        capture_output=True,
    )
    (root / "opt/trainbox/bin").mkdir(parents=True)
    (root / "opt/trainbox/bin/python").symlink_to("/usr/bin/python3")
    for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / waste, ignore_errors=True)
    (root / "trainbox").mkdir(exist_ok=True)
    empty = [f"--exclude=./{name}/*" for name in ("dev", "proc", "sys")]
    subprocess.run(
        ["tar", "-C", str(root), "--numeric-owner", *empty, "-cf", str(tar), "."], check=True
    )
    shutil.rmtree(root)
    return tar


def _apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a loop and thread of its own, away from the tests' loop."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = asyncio.run(work)
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the chains that need a whole daemon or a whole environment, one after another."""
    items.sort(key=lambda item: not {"e2e", "third_party"} & set(item.path.parts))
    if getattr(config.option, "loadgroup", False):
        for item in items:
            _name_its_group(item)


def _name_its_group(item: pytest.Item) -> None:
    """Put a test's group into its id, by which xdist keeps a group on one process.

    pytest-xdist 3.8 writes the id where pytest 9.2 does not look any more: without this, groups are
    torn apart and every process makes its own daemons.
    """
    groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
    suffix = f"@{'_'.join(groups)}"
    if groups and hasattr(item, "_id") and not item.nodeid.endswith(suffix):
        item._id = type(item._id).parse(f"{item.nodeid}{suffix}")
