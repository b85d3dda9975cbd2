"""The disks of one state directory: made, found again, put to rest, thrown away."""

from __future__ import annotations

import errno
import logging
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from trainbox.disks import kernel
from trainbox.disks.images import DiskSize, mend_image
from trainbox.disks.spares import SPARE, SUFFIX, Spares
from trainbox.disks.trial import trouble_at
from trainbox_sdk.backends import Health, Level
from trainbox_sdk.errors import Unavailable

log = logging.getLogger(__name__)

READY = 2
"""Disks kept for the next steps, formatted and mounted out of sight."""
LOCKS = 64
"""Each serves the keys of one hash: calls about one key come one after the other."""
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


class DiskTrouble(Unavailable):
    """A disk cannot be mounted now."""

    code = "disk_trouble"


class Disks:
    """Sized file systems by key, as ``<key>.img`` mounted at ``<key>/``. Blocking; thread-safe.

    Args:
        root: their directory; nothing outside is ever mounted on or unmounted.
        size: of new ones.
        ready: how many spare ones are kept at hand.

    Attributes:
        trouble: why there can be none here; empty once :meth:`open` found that they work.
    """

    def __init__(self, root: Path, size: DiskSize | None = None, ready: int = READY) -> None:
        self.trouble = "not opened"
        self.size = size or DiskSize()
        self._root = root
        self._ready = ready
        self._locks = tuple(threading.Lock() for _ in range(LOCKS))
        self._spares: Spares | None = None

    def open(self) -> None:
        """Try one disk out, and drop what an earlier life kept ready; once, at the start.

        A host that cannot is an answer, not an error: :attr:`trouble` says it.
        """
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._root = self._root.resolve()
        for spare in self._root.glob(f"{SPARE}*"):
            spare.unlink(missing_ok=True)
        self.trouble = trouble_at(self._root)
        self._spares = Spares(self._root, self.size, 0 if self.trouble else self._ready)

    def close(self) -> None:
        """Stop making spares; mounted disks stay, as the sandboxes that use them do."""
        if self._spares is not None:
            self._spares.close()

    def has(self, key: str) -> bool:
        """Return whether there is a disk of that name, mounted or not."""
        return self._image(key).exists()

    def keys(self) -> set[str]:
        """Return the names of all disks."""
        if not self._root.is_dir():
            return set()
        names = {path.stem for path in self._root.glob(f"*{SUFFIX}")}
        return {name for name in names if not name.startswith(SPARE)}

    def mounted(self) -> set[str]:
        """Return the names of the mounted disks."""
        return {Path(mount.point).name for mount in kernel.loop_mounts(self._root)}

    def point(self, key: str) -> Path:
        """Return where a disk is mounted once it is."""
        return self._image(key).with_suffix("")

    def size_of(self, key: str) -> DiskSize:
        """Return what a disk that exists holds, which may be from before a change of settings."""
        return replace(self.size, bytes=self._image(key).stat().st_size)

    def room(self, key: str) -> int:
        """Return the bytes that an image really takes."""
        try:
            return self._image(key).stat().st_blocks * 512
        except FileNotFoundError:
            return 0

    def mount(self, key: str) -> Path:
        """Return a disk's directory, making and mounting it as needed.

        One that a crash left is mended first; one beyond mending is replaced by an empty one.

        Raises:
            DiskTrouble: it cannot be mounted.
            OSError: no room for it.
        """
        with self._alone(key):
            point, image = self.point(key), self._image(key)
            if self._is_mounted(point, image):
                return point
            try:
                point.mkdir(mode=0o755, exist_ok=True)
                self._mount(image, point)
            except (OSError, subprocess.SubprocessError) as error:
                if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                raise DiskTrouble(f"the disk {image} cannot be mounted: {error}") from error
            return point

    def rest(self, key: str) -> None:
        """Unmount a disk and keep what is on it; what is free in it goes back to the host."""
        with self._alone(key):
            point = self.point(key)
            if self._is_mounted(point, self._image(key)):
                with suppress(OSError):  # a host file system that cannot punch holes
                    kernel.trim(point)
                self._unmount(point)

    def discard(self, key: str) -> None:
        """Unmount a disk and delete it; harmless where there is none."""
        with self._alone(key):
            point, image = self.point(key), self._image(key)
            self._unmount(point)
            image.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                point.rmdir()

    def amended(self, health: Health) -> Health:
        """Return a backend's health with what these disks add to its promise about disk."""
        told = self.sentence(sees_mounts=health.sees_mounts)
        held = not self.trouble and health.sees_mounts
        promises = tuple(
            each
            if each.name != "disk"
            else replace(each, level=Level.ENFORCED, how=told)
            if held
            else replace(each, how=f"{each.how}; {told}")
            for each in health.promises
        )
        return replace(health, promises=promises)

    def sentence(self, *, sees_mounts: bool) -> str:
        """Say what limits the disk of a new step, and if it is only watched, why."""
        if self.trouble:
            return f"no disk of its own: {self.trouble}"
        if not sees_mounts:
            return "no disk of its own: its backend does not see what this daemon mounts"
        return str(self.size)

    # --- inside

    def _image(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or key.startswith(SPARE):
            raise ValueError(f"{key!r} is no name for a disk")
        return self._root / f"{key}{SUFFIX}"

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        with self._locks[hash(key) % LOCKS]:
            yield

    def _is_mounted(self, point: Path, image: Path) -> bool:
        try:
            if point.stat().st_dev == self._root.stat().st_dev:
                return False
        except FileNotFoundError:
            return False
        mounts = [each for each in kernel.loop_mounts(self._root) if each.point == str(point)]
        if mounts and kernel.backing_file(mounts[-1].device) != str(image):
            self._unmount(point)  # of an image that was deleted under it
            return False
        return bool(mounts)

    def _mount(self, image: Path, point: Path) -> None:
        if image.exists():
            # Held by a sandbox that outlived a detached mount: a second device over one image
            # would be a second file system over the same blocks.
            held = kernel.loop_devices_of(image)
            if held:
                kernel.mount(held[0], point)
                return
            if not mend_image(image):
                log.error("disk beyond mending, replaced", extra={"disk": str(image)})
                image.unlink()
        if not image.exists() and self._spares is not None and self._spares.take(image, point):
            return
        with kernel.loop_device(image) as device:
            kernel.mount(device, point)

    def _unmount(self, point: Path) -> None:
        while True:
            try:
                kernel.unmount(point)
            except OSError as error:
                if error.errno not in {errno.EINVAL, errno.ENOENT}:
                    raise
                return
