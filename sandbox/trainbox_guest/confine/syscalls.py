"""The Linux system calls that the standard library does not wrap, through ctypes.

Numbers and structures follow the kernel's ``include/uapi``; each wrapper raises ``OSError`` with
the kernel's own errno, so that callers can tell "not in this kernel" from "not allowed here".
"""

from __future__ import annotations

import ctypes
import os
import platform

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
CLONE_NEWCGROUP = 0x0200_0000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

MACHINE = platform.machine()
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITIES = 64  # bits in the kernel's set
# The same on every architecture, as are all calls from 424 on.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """Return ``result``, or raise the errno of the call that gave -1."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *arguments: object, name: str) -> int:
    """Call the kernel by number."""
    return check(_libc.syscall(ctypes.c_long(number), *arguments), name)


def unshare(flags: int) -> None:
    """Leave the namespaces in ``flags`` (unshare(2)); ``CLONE_NEWUSER`` needs a single thread."""
    check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Mount (mount(2))."""
    check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            fstype.encode() or None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        ),
        f"mount {fstype or source} on {target}",
    )


def umount_detached(target: str) -> None:
    """Take a mount out of the tree now, and free it when the last user lets go."""
    check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root and put the old one at ``old`` (pivot_root(2))."""
    number = _for_machine(_PIVOT_ROOT)
    syscall(number, os.fsencode(new), os.fsencode(old), name="pivot_root")


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def mount_setattr(target: str, attributes: int, *, recursive: bool = True) -> None:
    """Add mount attributes to a whole tree (mount_setattr(2), Linux 5.12)."""
    attr = _MountAttr(attr_set=attributes)
    syscall(
        _MOUNT_SETATTR,
        ctypes.c_int(AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(AT_RECURSIVE if recursive else 0),
        ctypes.byref(attr),
        ctypes.c_size_t(ctypes.sizeof(attr)),
        name=f"mount_setattr {target}",
    )


def set_propagation(target: str, propagation: int) -> None:
    """Say whether mounts made below one mount reach its copies (mount_namespaces(7))."""
    mount("none", target, flags=propagation)


def attach_clone(source: str, target: str, attributes: int) -> None:
    """Show a file or directory at another place, its attributes set before anyone can see it.

    A bind that is changed afterwards would be seen unchanged for a moment, and for good in other
    mount namespaces, where only its first state is passed on (open_tree(2), move_mount(2); Linux
    5.12). Mounts below ``source`` do not come along, and links are not followed.

    Raises:
        OSError: one of the paths is not there, or this kernel or this user cannot.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | AT_SYMLINK_NOFOLLOW
    path = os.fsencode(source)
    fd = syscall(_OPEN_TREE, ctypes.c_int(AT_FDCWD), path, ctypes.c_uint(flags), name=source)
    try:
        attr = _MountAttr(attr_set=attributes, propagation=MS_PRIVATE)
        syscall(
            _MOUNT_SETATTR,
            ctypes.c_int(fd),
            b"",
            ctypes.c_uint(AT_EMPTY_PATH),
            ctypes.byref(attr),
            ctypes.c_size_t(ctypes.sizeof(attr)),
            name=f"mount_setattr {source}",
        )
        syscall(
            _MOVE_MOUNT,
            ctypes.c_int(fd),
            b"",
            ctypes.c_int(AT_FDCWD),
            os.fsencode(target),
            ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
            name=f"move_mount {target}",
        )
    finally:
        os.close(fd)


def prctl(option: int, *arguments: int) -> int:
    """Change an attribute of this process (prctl(2))."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return check(_libc.prctl(ctypes.c_int(option), *padded), f"prctl {option}")


def close_bounding_set() -> None:
    """Drop all capabilities from the bounding set, while CAP_SETPCAP is still there to do it."""
    for capability in range(_CAPABILITIES):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # past the last one, or no CAP_SETPCAP: no_new_privs then keeps it shut
            break


def clear_capabilities() -> None:
    """Empty the ambient, inheritable, permitted and effective sets (capabilities(7))."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    data = (ctypes.c_uint32 * 6)()
    syscall(_for_machine(_CAPSET), ctypes.byref(header), ctypes.byref(data), name="capset")


def _for_machine(numbers: dict[str, int]) -> int:
    try:
        return numbers[MACHINE]
    except KeyError:
        raise OSError(38, f"no system call table for {MACHINE}") from None
