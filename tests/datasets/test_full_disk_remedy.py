"""On a disk without a byte free, what frees space still works."""

from __future__ import annotations

import os
import subprocess

import pytest

from trainbox.reserve import PLENTY, RESERVE_BYTES
from trainbox_sdk.testing.daemon import DaemonProcess, RequestFailed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("datasets")]


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    size = (PLENTY + 2) * RESERVE_BYTES
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(path):
    """Leave no byte free, not even those of blocks half used."""
    for block in (2**20, 4096, 1):
        with path.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * block)
            except OSError:
                pass


def test_delete_and_purge_on_a_full_disk_give_room_back(small_disk):
    state = small_disk / "state"
    env = {"TRAINBOX_BACKEND": "process", "TRAINBOX_FREE_BYTES_FLOOR": "0"}
    with DaemonProcess(state, env=env) as daemon:
        rows = b"a,b\n" + b"".join(
            b"%d,%s\n" % (n, os.urandom(64).hex().encode()) for n in range(2000)
        )
        dataset = daemon.upload(rows, name="big")
        assert (state / "reserve").stat().st_size == RESERVE_BYTES
        ballast = small_disk / "someone-elses"
        fill(ballast)
        with pytest.raises(RequestFailed) as refused:
            daemon.upload(b"c,d\n1,2\n", name="more")
        assert refused.value.status == 507
        daemon.call("DELETE", f"/v1/datasets/{dataset['id']}")
        purged = daemon.call("POST", "/v1/trash/purge", {"older_than_s": 0})
        assert purged["freed_bytes"] > 0
        assert [one["id"] for one in purged["purged"]] == [dataset["id"]]
        ballast.unlink()
        daemon.upload(b"c,d\n1,2\n", name="more")
        daemon.call("POST", "/v1/trash/purge", {"older_than_s": 0})
        assert (state / "reserve").stat().st_size == RESERVE_BYTES
