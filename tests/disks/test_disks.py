"""A disk holds what it says and no more, is found again, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trainbox.disks import Disks, DiskSize, DiskTrouble, fullness, kernel, trouble_at
from trainbox_sdk.backends import Health, Level, Promise

MIB = 1024**2
SMALL = DiskSize(32 * MIB, 1024)
"""What these fixtures make."""


def flags(point: Path) -> set[str]:
    lines = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return next(set(line[5].split(",")) for line in lines if line[4] == str(point))


def loops(disks: Disks, key: str) -> list[int]:
    return kernel.loop_devices_of(disks.point(key).with_suffix(".img"))


def write(path: Path, size: int) -> int:
    """Write as much as goes; return how much."""
    with path.open("wb", buffering=0) as file:
        done = 0
        try:
            while done < size:
                done += file.write(b"x" * min(MIB, size - done))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        return done


class TestLimit:
    def test_bytes_written_beyond_it_are_refused(self, open_disks) -> None:
        point = open_disks().mount("step_a")
        assert 28 * MIB < write(point / "big", 64 * MIB) < 32 * MIB
        assert fullness(point) == "its disk of 32 MiB is full"

    def test_bytes_reserved_beyond_it_are_refused_in_one_call(self, open_disks) -> None:
        with (open_disks().mount("step_a") / "big").open("wb") as file:
            with pytest.raises(OSError) as refused:
                os.posix_fallocate(file.fileno(), 0, 64 * MIB)
            assert refused.value.errno == errno.ENOSPC

    def test_files_beyond_it_are_refused(self, open_disks) -> None:
        point = open_disks().mount("step_a")
        with pytest.raises(OSError) as refused:
            for number in range(2000):
                (point / str(number)).touch()
        assert refused.value.errno == errno.ENOSPC
        assert fullness(point).startswith("its disk holds no further file: 1024")

    def test_room_is_not_called_full(self, open_disks) -> None:
        point = open_disks().mount("step_a")
        write(point / "a", 20 * MIB)
        assert fullness(point) == ""

    def test_a_small_image_has_files_in_proportion(self) -> None:
        assert str(DiskSize(16 * MIB, 65536)) == "ext4 image of 16 MiB, 1024 files"
        assert str(DiskSize()) == "ext4 image of 4 GiB, 65536 files"

    def test_no_programs_no_devices_no_setuid_files(self, open_disks) -> None:
        assert {"nosuid", "nodev", "noexec"} <= flags(open_disks().mount("step_a"))

    def test_the_top_is_roots_and_closed_to_others_changes(self, open_disks) -> None:
        facts = open_disks().mount("step_a").stat()
        assert (facts.st_uid, facts.st_mode & 0o777) == (0, 0o755)

    def test_an_empty_one_takes_little(self, open_disks) -> None:
        disks = open_disks(DiskSize())
        disks.mount("step_a")
        assert disks.room("step_a") < 4 * MIB


class TestLife:
    def test_mounting_again_keeps_what_is_there(self, open_disks) -> None:
        disks = open_disks()
        (disks.mount("step_a") / "kept").write_text("x")
        assert (disks.mount("step_a") / "kept").exists()
        assert len(loops(disks, "step_a")) == 1

    def test_at_rest_it_is_unmounted_and_keeps_its_files(self, open_disks) -> None:
        disks = open_disks()
        (disks.mount("step_a") / "kept").write_text("x")
        disks.rest("step_a")
        assert disks.mounted() == set()
        assert loops(disks, "step_a") == []
        assert disks.keys() == {"step_a"}
        assert (disks.mount("step_a") / "kept").read_text() == "x"

    def test_at_rest_it_gives_back_what_was_deleted(self, open_disks) -> None:
        disks = open_disks()
        point = disks.mount("step_a")
        write(point / "big", 20 * MIB)
        os.sync()
        assert disks.room("step_a") > 20 * MIB
        (point / "big").unlink()
        disks.rest("step_a")
        assert disks.room("step_a") < 4 * MIB

    def test_discarded_it_leaves_nothing(self, open_disks) -> None:
        disks = open_disks(ready=0)
        disks.mount("step_a")
        disks.discard("step_a")
        disks.discard("step_a")
        assert disks.keys() == disks.mounted() == set()
        assert loops(disks, "step_a") == []
        assert list(disks.point("x").parent.iterdir()) == []

    def test_discarded_under_someone_who_holds_a_file_it_is_gone_from_sight(
        self, open_disks
    ) -> None:
        disks = open_disks(ready=0)
        with (disks.mount("step_a") / "held").open("wb"):
            disks.discard("step_a")
            assert disks.mounted() == set()
            assert list(disks.point("x").parent.iterdir()) == []

    def test_a_daemon_that_starts_again_finds_it_mounted(self, open_disks) -> None:
        (open_disks().mount("step_a") / "kept").write_text("x")
        second = open_disks()
        assert second.mounted() == {"step_a"}
        assert (second.mount("step_a") / "kept").exists()
        assert len(loops(second, "step_a")) == 1

    def test_one_that_is_held_elsewhere_gets_no_second_device(self, open_disks) -> None:
        disks = open_disks()
        point = disks.mount("step_a")
        (point / "kept").write_text("x")
        with (point / "held").open("wb"):
            kernel.unmount(point)  # as with a container that lives on: busy, so only from sight
            assert disks.mounted() == set()
            again = disks.mount("step_a")
            assert (again / "kept").exists()
            assert len(loops(disks, "step_a")) == 1

    def test_many_at_once_have_a_device_each(self, open_disks) -> None:
        disks = open_disks()
        with ThreadPoolExecutor(8) as pool:
            points = list(pool.map(disks.mount, [f"step_{n}" for n in range(12)] * 2))
        assert len({point.stat().st_dev for point in points}) == 12
        assert [len(loops(disks, f"step_{n}")) for n in range(12)] == [1] * 12

    def test_what_another_has_mounted_is_not_touched(
        self, open_disks: Callable[..., Disks], tmp_path: Path
    ) -> None:
        ours = open_disks()
        other = Disks(tmp_path / "disks-of-another", ours.size, 0)
        other.open()
        point = other.mount("step_a")
        (point / "theirs").write_text("x")
        assert ours.mounted() == set()
        ours.discard("step_a")
        assert (point / "theirs").exists()
        other.discard("step_a")


class TestCrash:
    def test_after_a_power_cut_it_is_mended_and_mounted(self, open_disks) -> None:
        disks = open_disks()
        point = disks.mount("step_a")
        (point / "kept").write_text("x")
        os.sync()
        image = point.with_suffix(".img")
        copy = point.with_name("step_b.img")
        copy.write_bytes(image.read_bytes())  # as it lies on the disk while mounted
        assert (disks.mount("step_b") / "kept").read_text() == "x"

    def test_one_beyond_mending_is_replaced_by_an_empty_one(self, open_disks) -> None:
        disks = open_disks()
        disks.point("step_a").with_suffix(".img").write_bytes(os.urandom(MIB))
        assert "lost+found" in os.listdir(disks.mount("step_a"))

    def test_killed_while_it_makes_one_it_leaves_no_half(self, open_disks) -> None:
        disks = open_disks(ready=0)
        root = disks.point("x").parent
        (root / "spare-0011.img").write_bytes(b"half")
        (root / "spare-0012.part").write_bytes(b"half")
        open_disks(ready=0)
        assert list(root.iterdir()) == []

    def test_a_process_that_dies_before_the_mount_holds_no_device(
        self, open_disks, tmp_path: Path
    ) -> None:
        disks = open_disks(ready=0)
        disks.mount("step_a")
        disks.rest("step_a")
        image = disks.point("step_a").with_suffix(".img")
        code = (
            "import os, sys; from pathlib import Path; from trainbox.disks import kernel\n"
            f"with kernel.loop_device(Path({str(image)!r})): os.kill(os.getpid(), 9)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        assert loops(disks, "step_a") == []

    def test_an_image_that_cannot_be_mounted_is_one_clear_error(self, open_disks) -> None:
        disks = open_disks(ready=0)
        disks.point("step_a").with_suffix(".img").mkdir()
        with pytest.raises(DiskTrouble, match="cannot be mounted"):
            disks.mount("step_a")
        disks.point("step_a").with_suffix(".img").rmdir()


class TestSpares:
    def spare(self, disks: Disks) -> Path:
        """Return the image of the one that is ready, once it is."""
        root = disks.point("x").parent
        while not (found := [p for p in root.glob("spare-*.img") if kernel.loop_devices_of(p)]):
            time.sleep(0.01)
        return found[0]

    def test_one_is_mounted_before_anybody_asks_and_nobody_sees_it(self, open_disks) -> None:
        disks = open_disks()
        device = kernel.loop_devices_of(self.spare(disks))
        assert disks.mounted() == disks.keys() == set()
        point = disks.mount("step_a")
        assert loops(disks, "step_a") == device
        (line,) = [
            m for m in Path("/proc/self/mountinfo").read_text().splitlines() if str(point) in m
        ]
        for option in ("nosuid", "nodev", "noexec", "errors=remount-ro"):
            assert option in line
        with (point / "big").open("wb") as file, pytest.raises(OSError, match="No space left"):
            os.posix_fallocate(file.fileno(), 0, SMALL.bytes)

    def test_each_is_given_once(self, open_disks) -> None:
        disks = open_disks()
        self.spare(disks)
        points = [disks.mount(f"step_{n}") for n in range(3)]
        assert len({point.stat().st_dev for point in points}) == 3

    def test_what_nobody_took_ends_with_the_daemon(self, open_disks) -> None:
        disks = open_disks()
        spare = self.spare(disks)
        disks.close()
        assert kernel.loop_devices_of(spare) == []

    def test_a_daemon_that_is_killed_leaves_a_file_and_no_mount(
        self, open_disks, tmp_path: Path
    ) -> None:
        code = (
            "import os, time; from pathlib import Path; from trainbox.disks import Disks, DiskSize, kernel\n"
            f"root = Path({str(tmp_path / 'disks')!r})\n"
            f"disks = Disks(root, DiskSize({SMALL.bytes}, {SMALL.inodes}), 1); disks.open()\n"
            "while not [p for p in root.glob('spare-*.img') if kernel.loop_devices_of(p)]:\n"
            "    time.sleep(0.01)\n"
            "os.kill(os.getpid(), 9)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        (left,) = (tmp_path / "disks").iterdir()
        assert kernel.loop_devices_of(left) == []
        open_disks(ready=0)
        assert not left.exists()

    def test_where_the_kernel_makes_none_it_is_mounted_when_it_is_wanted(
        self, open_disks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(device: int) -> int:
            raise OSError(errno.ENOSYS, "no fsopen")

        monkeypatch.setattr(kernel, "detached_mount", refuse)
        disks = open_disks()
        assert disks.mount("step_a").stat().st_dev != disks.mount("step_b").stat().st_dev


class TestKeys:
    @pytest.mark.parametrize("key", ["", "..", "a/b", "a.b", "-a", "a\n", "spare-x"])
    def test_what_is_no_name_is_refused(self, open_disks, key: str) -> None:
        with pytest.raises(ValueError, match="no name for a disk"):
            open_disks(ready=0).mount(key)


class TestTrouble:
    def test_who_is_not_root_has_none(self, tmp_path: Path) -> None:
        code = (
            "import os; from pathlib import Path; from trainbox.disks import trouble_at;"
            f"os.setuid(10001); print(trouble_at(Path({str(tmp_path)!r})))"
        )
        told = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert told.stdout == "the daemon is not root, so it cannot mount one\n"

    def test_a_trial_leaves_nothing(self, tmp_path: Path) -> None:
        assert trouble_at(tmp_path) == ""
        assert list(tmp_path.iterdir()) == []

    def test_the_promise_about_disk_is_kept_where_both_sides_can(self, open_disks) -> None:
        partial = Promise("disk", Level.PARTIAL, "looked at")
        health = Health(ok=True, detail="", promises=(partial,), sees_mounts=True)
        disks = open_disks()
        held = Promise("disk", Level.ENFORCED, "ext4 image of 32 MiB, 1024 files")
        assert disks.amended(health).promises == (held,)
        blind = disks.amended(Health(ok=True, detail="", promises=(partial,))).promises[0]
        assert blind.level is Level.PARTIAL
        assert "does not see" in blind.how

    def test_without_disks_the_promise_says_why(self, tmp_path: Path) -> None:
        health = Health(
            ok=True,
            detail="",
            promises=(Promise("disk", Level.PARTIAL, "looked at"),),
            sees_mounts=True,
        )
        told = Disks(tmp_path).amended(health).promises[0]
        assert told == Promise("disk", Level.PARTIAL, "looked at; no disk of its own: not opened")
