"""Directories of a piece of work: nobody's is left, and nobody else's is touched."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from trainbox_plugins.environments.cache import work_directory

WORK = """
import sys, time
from pathlib import Path
from trainbox_plugins.environments.cache import work_directory
with work_directory(Path(sys.argv[1]), ".stage-") as made:
    (made / "python.tar").write_bytes(b"x")
    print(made, flush=True)
    sys.stdin.read()
"""


def working(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_gone_afterwards(tmp_path: Path) -> None:
    with work_directory(tmp_path / "cache", ".stage-") as made:
        (made / "file").touch()
        assert made.parent == tmp_path / "cache"
    assert not made.exists()


def test_what_a_killed_process_left_goes_and_what_is_at_work_stays(tmp_path: Path) -> None:
    killed, left = working(tmp_path)
    alive, held = working(tmp_path)
    (tmp_path / ".part-other").mkdir()
    with killed, alive:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.exists()
        with work_directory(tmp_path, ".stage-") as made, work_directory(tmp_path, ".stage-"):
            assert not left.exists()
            assert (held / "python.tar").exists()
            assert made.exists()
        alive.communicate()
    assert alive.returncode == 0
    assert not held.exists()
    assert (tmp_path / ".part-other").exists()
