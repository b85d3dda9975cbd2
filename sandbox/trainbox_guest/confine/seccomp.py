"""A system call filter that only takes away: what no training code needs and exploits start from.

A deny list, not an allow list: allow lists tuned by hand break numerical libraries at every
upgrade. The program is classic BPF (seccomp(2)); another architecture's calls kill the process,
which closes the 32-bit side door to ``socket``.
"""

from __future__ import annotations

import errno
import socket
import struct

from trainbox_guest import second_layer
from trainbox_guest.confine import syscalls

_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000
_NAMESPACES = 0x7E02_0000  # every CLONE_NEW* that clone(2) takes

# Calls from 424 on have one number on every architecture.
_DENIED_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
}
# name: (x86_64, aarch64); -1 where the architecture has no such call.
_DENIED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "personality": (135, 92),
    "kcmp": (312, 272),
    "quotactl": (179, 60),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "uselib": (134, -1),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "syslog": (103, 116),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "sysfs": (139, -1),
    "ustat": (136, -1),
    # Counted per user over all its sandboxes: one could take them from the others.
    "mq_open": (240, 180),
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_CLONE = {"x86_64": 56, "aarch64": 220}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_CLONE3 = 435
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # type into the controlling terminal

_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32  # in struct seccomp_data, little endian
_NETLINK_ROUTE = 0

Instruction = tuple[int, int, int, int]


def denied(machine: str) -> dict[str, int]:
    """Return the refused calls by name, with their numbers on ``machine``."""
    column = ("x86_64", "aarch64").index(machine)
    numbers = {name: pair[column] for name, pair in _DENIED.items() if pair[column] >= 0}
    return {**numbers, **_DENIED_EVERYWHERE}


def program(machine: str, *, internet: bool) -> list[Instruction]:
    """Return the filter as ``(code, jump if true, jump if false, constant)``.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        internet: whether INET sockets may be made (harmless in a network namespace of one's own).
    """
    families = [socket.AF_UNIX]
    if internet:
        families += [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK]
    lines: list[Instruction] = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, _AUDIT_ARCH[machine]),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD, 0, 0, _NR),
    ]
    if machine == "x86_64":
        lines += [(_JGE, 0, 1, _X32_BIT), _errno(errno.ENOSYS)]
    # clone3 passes its flags in memory, out of a filter's sight: libc falls back to clone.
    lines += [(_JEQ, 0, 1, _CLONE3), _errno(errno.ENOSYS)]
    for number in denied(machine).values():
        lines += [(_JEQ, 0, 1, number), _errno(errno.EPERM)]
    lines += _when(_CLONE[machine], _ARG0, [(_JSET, 0, 1, _NAMESPACES), _errno(errno.EPERM)])
    lines += _when(
        _IOCTL[machine],
        _ARG1,
        [
            (_JEQ, 1, 0, _TIOCSTI),
            (_JEQ, 0, 1, _TIOCLINUX),
            _errno(errno.EPERM),
        ],
    )
    allowed = [(_JEQ, len(families) - i, 0, int(family)) for i, family in enumerate(families)]
    refuse = [*allowed, _errno(errno.EACCES)]
    # Of netlink, routes: the others are parsers in the kernel that no training code talks to.
    routes = [
        (_JEQ, 0, 3, int(socket.AF_NETLINK)),
        (_LD, 0, 0, _ARG2),
        (_JEQ, 1, 0, _NETLINK_ROUTE),
        _errno(errno.EACCES),
    ]
    lines += _when(_SOCKET[machine], _ARG0, routes)
    return [*lines, *_when(_SOCKET[machine], _ARG0, refuse), (_RET, 0, 0, _ALLOW)]


def packed(machine: str, *, internet: bool) -> bytes:
    """Return the filter as the kernel takes it: eight bytes an instruction."""
    return b"".join(struct.pack("=HBBI", *line) for line in program(machine, internet=internet))


def install(*, internet: bool) -> str:
    """Filter this process and all it starts, and say so. Needs no_new_privs.

    Raises:
        OSError: no seccomp here, or no table for this architecture.
    """
    if syscalls.MACHINE not in _AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no system call table for {syscalls.MACHINE}")
    second_layer.install(packed(syscalls.MACHINE, internet=internet))
    sockets = "UNIX, INET, INET6 and NETLINK (routes)" if internet else "UNIX"
    return f"seccomp: {len(denied(syscalls.MACHINE))} calls refused, {sockets} sockets only"


def _errno(code: int) -> Instruction:
    return (_RET, 0, 0, _ERRNO | code)


def _when(number: int, argument: int, body: list[Instruction]) -> list[Instruction]:
    """Run ``body`` on the low word of an argument of one call, then load the number again."""
    block = [(_LD, 0, 0, argument), *body, (_LD, 0, 0, _NR)]
    return [(_JEQ, 0, len(block), number), *block]
