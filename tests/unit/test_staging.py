"""Code is staged once per content, whole or not at all, and found again by later daemons."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainbox.engine import staging
from trainbox.engine.staging import CodeStage
from trainbox_sdk.errors import PluginError, StorageFull


@pytest.fixture
def installed(tmp_path: Path, monkeypatch) -> Path:
    """A folder on the path where a test installs packages of its own."""
    folder = tmp_path / "installed"
    for name, text in {
        "tb_outer/__init__.py": "import nothing_like_this",
        "tb_outer/inner/__init__.py": "",
        "tb_outer/inner/work.py": "def main(run): print('works')",
        "tb_outer/other.py": "",
        "tb_alone.py": "WORD = 'alone'",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [name for name in sys.modules if name.startswith("tb_")]:
        del sys.modules[name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    root.mkdir()
    return root


async def test_a_package_comes_with_bare_parents_and_the_guest(
    root, installed, monkeypatch
) -> None:
    # The parent is found by import, which its own code must not be needed for.
    (installed / "tb_outer" / "__init__.py").write_text("")
    stage = await CodeStage(root).stage(["tb_outer.inner", "tb_alone"])
    (installed / "tb_outer" / "__init__.py").write_text("import nothing_like_this")
    assert (stage / "tb_outer" / "__init__.py").read_text() == ""
    assert not (stage / "tb_outer" / "other.py").exists()
    told = subprocess.run(
        [sys.executable, "-S", "-c", "import tb_outer.inner.work, tb_alone, trainbox_guest.main"],
        env={"PYTHONPATH": str(stage)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr


async def test_the_same_content_is_the_same_folder(root, installed) -> None:
    first = await CodeStage(root).stage(["tb_alone"])
    assert await CodeStage(root).stage(["tb_alone"]) == first
    assert len(list(root.iterdir())) == 1


async def test_other_content_is_another_folder_and_the_old_one_stays(root, installed) -> None:
    first = await CodeStage(root).stage(["tb_alone"])
    (installed / "tb_alone.py").write_text("WORD = 'upgraded'")
    second = await CodeStage(root).stage(["tb_alone"])
    assert first != second
    assert (first / "tb_alone.py").read_text() == "WORD = 'alone'"


async def test_it_is_compiled_and_closed_to_writing(root) -> None:
    stage = await CodeStage(root).stage([])
    assert list(stage.glob("trainbox_guest/__pycache__/main.*.pyc"))
    files = [path for path in stage.rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o222 == 0 for path in files)


async def test_steps_that_ask_at_once_get_one_copy(root) -> None:
    stage = CodeStage(root)
    found = await asyncio.gather(*(stage.stage([]) for _ in range(10)))
    assert len(set(found)) == 1
    assert [path.name for path in root.iterdir()] == [found[0].name]


async def test_what_a_killed_daemon_left_half_copied_goes(root) -> None:
    (root / ".part-1" / "trainbox_guest").mkdir(parents=True)
    CodeStage(root)
    assert not list(root.iterdir())


async def test_a_copy_removed_by_hand_is_made_again(root) -> None:
    stage = CodeStage(root)
    first = await stage.stage([])
    os.rename(first, root / "away")
    assert await stage.stage([]) == first
    assert first.is_dir()


@pytest.mark.parametrize("name", ["tb_nowhere", "tb_nowhere.inner", "json.nothing", ".x"])
async def test_a_package_that_is_not_there(root, name) -> None:
    with pytest.raises(PluginError, match="cannot be found"):
        await CodeStage(root).stage([name])
    assert not list(root.iterdir())


async def test_a_package_that_is_too_large(root, monkeypatch) -> None:
    monkeypatch.setattr(staging, "MAX_BYTES", 1000)
    with pytest.raises(PluginError, match="over 1000"):
        await CodeStage(root).stage([])
    assert not list(root.iterdir())


async def test_a_full_disk_is_a_reason_to_wait(root, monkeypatch) -> None:
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageFull):
        await CodeStage(root).stage([])


async def test_a_copy_is_on_the_disk_before_it_has_its_name(root, monkeypatch) -> None:
    """A power cut must not leave a torn copy under a name that later daemons trust."""
    synced, fsync, rename = set(), os.fsync, Path.rename

    def note(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        fsync(fd)

    def rename_synced(part: Path, target: Path) -> Path:
        inside = [part, *part.rglob("*")]
        assert {path.stat().st_ino for path in inside} <= synced
        return rename(part, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Path, "rename", rename_synced)
    await CodeStage(root).stage([])
    assert root.stat().st_ino in synced
