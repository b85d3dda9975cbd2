"""A root of one's own: a mount namespace that holds only what a policy lists."""

# Roots in the making are plain strings: pathlib would only hide which root is meant.

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainbox_guest.confine import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainbox_guest.confine.policy import Policy

_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/sys/devices/system/cpu",  # CPU topology: OpenMP and ONNX runtimes read it
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_OLD, _NEW = "/old", "/new"
_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def system_paths() -> tuple[str, ...]:
    """Return the system's programs and libraries, those that exist here."""
    return tuple(path for path in _SYSTEM if os.path.lexists(path))


def python_paths() -> tuple[str, ...]:
    """Return what this interpreter and its packages are made of."""
    roots = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    roots += [entry for entry in sys.path if os.path.isabs(entry) and os.path.exists(entry)]
    return tuple(dict.fromkeys(roots))


def leave(flags: int) -> str:
    """Unshare namespaces, with a user namespace in front where we are not root.

    Returns:
        How, for the report.

    Raises:
        OSError: not allowed here.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        syscalls.unshare(flags)
    except PermissionError:
        syscalls.unshare(flags | syscalls.CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
        return "user namespace"
    return "namespaces"


def loopback_up() -> None:
    """Switch on ``lo`` in a fresh network namespace, its only device (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def enter(policy: Policy, *, proc: bool) -> str:
    """Replace the root of this mount namespace by one that holds only the policy's paths.

    Needs a mount namespace of its own (:func:`leave`). Paths keep their names.

    Args:
        policy: what is readable and writable.
        proc: mount a fresh ``/proc``, which needs a PID namespace and to be in it.

    Raises:
        OSError: the kernel refuses one of the mounts; the process must not go on.
    """
    binds = _binds(policy)
    os.umask(0o022)  # the new root's own directories are for the user to come
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    # Two pivots: the first frees every host path as a source, the second leaves the host behind.
    syscalls.mount("tmpfs", "/tmp", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV)
    os.mkdir("/tmp" + _OLD)
    os.mkdir("/tmp" + _NEW)
    syscalls.pivot_root("/tmp", "/tmp" + _OLD)
    os.chdir("/")
    _tmpfs("/", "size=1m,mode=755")
    _directories(policy)
    which = _proc(fresh=proc)
    for bind in binds:
        _bind(bind)
    _identity(policy.uid)
    syscalls.umount_detached(_OLD)
    os.chdir(_NEW)
    syscalls.pivot_root(".", ".")
    syscalls.umount_detached(".")
    os.chdir("/")
    syscalls.mount_setattr("/", syscalls.MOUNT_ATTR_RDONLY, recursive=False)
    return f"own root: listed paths only, read-only but for the outputs, {which}"


def _directories(policy: Policy) -> None:
    for name in ("/dev", "/proc", "/tmp", "/etc"):
        os.mkdir(_NEW + name)
    _tmpfs("/tmp", f"size={policy.tmp_bytes},nr_inodes={policy.tmp_inodes},mode=1777")
    os.mkdir(_NEW + "/dev/shm")
    _tmpfs("/dev/shm", f"size={policy.shm_bytes},mode=1777")
    for device in DEVICES:
        _touch(_NEW + device)
        syscalls.mount(_OLD + device, _NEW + device, flags=syscalls.MS_BIND)
    os.symlink("/proc/self/fd", _NEW + "/dev/fd")


def _proc(*, fresh: bool) -> str:
    """Mount a ``/proc``, which numerical libraries cannot do without, and say which."""
    target = _NEW + "/proc"
    if not fresh:
        _own_proc_entry()
        return "its own entry of /proc"
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    try:
        syscalls.mount("proc", target, "proc", flags)
    except PermissionError:
        # Where parts of /proc are hidden from us, as in a container or a hardened service, the
        # kernel grants no fresh one: then the one we have, hidden parts and all.
        syscalls.mount(_OLD + "/proc", target, flags=syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount_setattr(target, _READ_ONLY)
        return "the host's /proc, read-only"
    return "its own /proc"


def _own_proc_entry() -> None:
    """Show this process alone and what libraries read of the machine, not the host's list."""
    me = str(os.getpid())
    for name in ("cpuinfo", "meminfo", "filesystems", me):
        source, target = f"{_OLD}/proc/{name}", f"{_NEW}/proc/{name}"
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            _touch(target)
        syscalls.mount(source, target, flags=syscalls.MS_BIND)
    os.symlink(me, _NEW + "/proc/self")


@dataclass(frozen=True)
class _Bind:
    source: str
    target: str
    writable: bool


def _binds(policy: Policy) -> list[_Bind]:
    """Return what to bind, parents before children; links are followed here, on the host."""
    wanted: dict[str, _Bind] = {}
    for paths, writable in ((policy.read, False), (policy.write, True)):
        for path in paths:
            source = os.path.realpath(path)
            # As given and as resolved: code may know a path by either name.
            for target in (os.path.normpath(path), source):
                wanted[target] = _Bind(source, target, writable)
    for path in system_paths():
        wanted.setdefault(path, _Bind(path, path, writable=False))
    done: dict[str, _Bind] = {}
    for target in sorted(wanted):
        parent = next((done[p] for p in _parents(target) if p in done), None)
        if wanted[target].writable or parent is None or parent.writable:
            done[target] = wanted[target]
    return list(done.values())


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _bind(bind: _Bind) -> None:
    source, target = _OLD + bind.source, _NEW + bind.target
    if os.path.islink(source):  # only the system's own, such as /bin
        os.symlink(os.readlink(source), target)
        return
    if not os.path.exists(target):
        _make_parents(target)
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            _touch(target)
    syscalls.mount(source, target, flags=syscalls.MS_BIND | syscalls.MS_REC)
    writable = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    syscalls.mount_setattr(target, writable if bind.writable else _READ_ONLY)


def _identity(uid: int | None) -> None:
    """Give the user a name: libraries ask for the home directory and the login."""
    number = os.geteuid() if uid is None else uid
    line = f"trainbox:x:{number}:{number}::/tmp:/bin/false\n"
    if not os.path.lexists(_NEW + "/etc/passwd"):
        _write(_NEW + "/etc/passwd", line, create=True)


def _tmpfs(target: str, options: str) -> None:
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", _NEW + target, "tmpfs", flags, options)


def _make_parents(path: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _write(path: str, text: str, *, create: bool = False) -> None:
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    fd = os.open(path, flags, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
