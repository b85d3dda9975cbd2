"""What a process may still do, as data, and what of it was truly applied."""

from __future__ import annotations

from dataclasses import dataclass, field

USER = "user"
NETWORK = "network"
FILES = "files"
LANDLOCK = "landlock"
SYSCALLS = "syscalls"
PRIVILEGES = "privileges"
LIMITS = "limits"
LAYERS = (NETWORK, FILES, LIMITS, USER, PRIVILEGES, LANDLOCK, SYSCALLS)
"""In the order in which they are applied: the system call filter comes last, since it forbids the
calls that the others need."""


class ConfinementError(RuntimeError):
    """A layer that the policy requires does not hold on this host."""


@dataclass(frozen=True)
class Policy:
    """What a confined process keeps.

    Attributes:
        read: files and trees it may read and execute, by host path, beside the system's libraries.
        write: files and trees it may write; they must exist.
        uid: user and group id to become when started as root; None keeps the user.
        tmp_bytes, tmp_inodes: size of its own ``/tmp``, where the host gives a mount namespace.
        shm_bytes: size of its own ``/dev/shm``, likewise.
        open_files: file descriptors.
        file_bytes: largest single file it may write.
        processes: RLIMIT_NPROC: processes and threads of its user together; None leaves it.
        address_bytes: RLIMIT_AS; None leaves it. Large sparse mappings count, so this is for small
            workers, not for training code.
        cpu_s: CPU seconds until SIGKILL; None leaves it.
        layers: which of :data:`LAYERS` to try.
        require: layers without which :func:`trainbox_guest.confine.apply` raises.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    uid: int | None = None
    tmp_bytes: int = 64 * 1024**2
    tmp_inodes: int = 16384
    shm_bytes: int = 64 * 1024**2
    open_files: int = 1024
    file_bytes: int = 2 * 1024**3
    processes: int | None = None
    address_bytes: int | None = None
    cpu_s: int | None = None
    layers: tuple[str, ...] = LAYERS
    require: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was applied.

    Attributes:
        applied: layer to a sentence that says by which means.
        missing: layer to the reason it could not be applied.
    """

    applied: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def holds(self, layer: str) -> bool:
        """Whether the layer is in force."""
        return layer in self.applied
