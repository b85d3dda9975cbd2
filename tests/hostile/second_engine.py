"""A Docker Engine of one's own beside the host's: maps user ids, and knows gVisor where it is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "tbtest0"
BASE = "trainbox-test-base:bookworm-python3-1"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class SecondEngine:
    """An engine that runs.

    Attributes:
        url: of its socket.
        image: id of the small base image on it.
    """

    url: str
    image: str


@contextlib.contextmanager
def second_engine() -> Iterator[SecondEngine]:
    """Run an engine with ``userns-remap``, its own bridge and directories; leave nothing behind.

    Without a bridge of its own it would take away that of the host's engine.

    Raises:
        RuntimeError: it does not start; the message has its last words.
    """
    folder = Path(tempfile.mkdtemp(prefix="trainbox-engine-"))
    folder.chmod(0o711)
    runsc = folder / "runsc"
    runsc.write_text('#!/bin/sh\nexec runsc --platform=ptrace --network=none "$@"\n')
    runsc.chmod(0o755)
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", "192.0.2.1/30", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(_command(folder, runsc), stdout=log, stderr=log)
    url = f"unix://{folder}/sock"
    try:
        _wait(engine, url, folder / "log")
        yield SecondEngine(url, _load(url))
    finally:
        engine.send_signal(signal.SIGTERM)
        engine.wait(PATIENCE_S)
        _ip("link", "delete", BRIDGE)
        _unmount_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _command(folder: Path, runsc: Path) -> list[str]:
    return [
        "dockerd",
        "--userns-remap=default",
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid",
        f"--host=unix://{folder}/sock",
        f"--bridge={BRIDGE}",
        "--containerd-namespace=trainbox-test",
        "--containerd-plugins-namespace=trainbox-test-plugins",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-masq=false",
        f"--add-runtime=runsc={runsc}",
    ]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode and "exists" not in done.stderr:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr}")


def _wait(engine: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and engine.poll() is None:
        asked = subprocess.run(["docker", "-H", url, "version"], capture_output=True, check=False)
        if not asked.returncode:
            return
        time.sleep(0.1)
    raise RuntimeError(
        f"no engine with user ids mapped starts here: {log.read_text(errors='replace')[-600:]}"
    )


def _load(url: str) -> str:
    with subprocess.Popen(["docker", "save", BASE], stdout=subprocess.PIPE) as saved:
        subprocess.run(
            ["docker", "-H", url, "load"], stdin=saved.stdout, capture_output=True, check=True
        )
    words = ["docker", "-H", url, "images", "--quiet", "--no-trunc", BASE]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    return found.stdout.split()[0]


def _unmount_all(folder: Path) -> None:
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split()[4]
        if point.startswith(f"{folder}{os.sep}"):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
