"""Sized file systems: a hard limit on what one step's writable directories can hold.

An ext4 image in a sparse file, mounted through a loop device. Bytes and inodes are limited by the
file system itself, whatever a process does and however fast; freeing is one unmount and one unlink.
"""

from trainbox.disks.images import DiskSize
from trainbox.disks.room import Disks, DiskTrouble
from trainbox.disks.trial import fullness, trouble_at

__all__ = ["DiskSize", "DiskTrouble", "Disks", "fullness", "trouble_at"]
