"""One container with systemd for all tests here: booted once, its service made new for each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .booted import DROP_INS, SHARED, UNIT, Box

ROOT = Path(__file__).resolve().parents[2]
ECHO = Path(__file__).with_name("echo-plugin")


def wheel(source: Path, target: Path) -> Path:
    build = [sys.executable, "-m", "build", "-q", "-w", "--no-isolation", "-o", str(target)]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    (made,) = target.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A booted container with the two wheels and the units installed as the manual says."""
    made = subprocess.run(
        ["bash", str(ROOT / "scripts/build_systemd_image.sh")],
        check=True,
        capture_output=True,
        text=True,
    )
    wheels = [wheel(source, tmp_path_factory.mktemp("wheel")) for source in (ROOT, ECHO)]
    box = Box(made.stdout.strip().splitlines()[-1])
    try:
        box.boot()
        box.sh("mkdir /opt/trainbox/wheels")
        for one in wheels:
            box.copy(one, f"/opt/trainbox/wheels/{one.name}")
        box.sh("/opt/trainbox/bin/pip install -q --no-index --no-deps /opt/trainbox/wheels/*.whl")
        box.sh(
            f"cp {SHARED}/trainbox.service {SHARED}/trainbox.socket /etc/systemd/system/"
            f" && cp {SHARED}/trainbox.sysusers /usr/lib/sysusers.d/trainbox.conf"
            f" && cp {SHARED}/trainbox.tmpfiles /usr/lib/tmpfiles.d/trainbox.conf"
            " && systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"
        )
        yield box
    finally:
        box.remove()


@pytest.fixture
def host(box: Box) -> Iterator[Box]:
    """The box with the units as shipped, listening, its service not started yet."""
    box.sh(f"systemctl stop {UNIT} trainbox.socket; systemctl reset-failed", check=False)
    box.sh(f"rm -rf {DROP_INS} /etc/credstore/* && systemctl daemon-reload")
    box.sh("journalctl --rotate && journalctl --vacuum-time=1s", check=False)
    box.sh("systemctl start trainbox.socket")
    yield box
    # Left for whoever reads a failure.
    print(box.sh(f"systemctl status {UNIT} --no-pager", check=False))
    print(box.journal()[-4000:])
