"""The guest's own system call filter, put on before any of the step's code is loaded.

A second layer where the engine's profile is not ours: filters add up, so this one can only take
rights away, whatever the engine or the runtime did. The backend sends it ready to install, so that
a start pays for one system call and no table of them.
"""

from __future__ import annotations

import os

ENV_FILTER = "TRAINBOX_FILTER"
"""A filter in base64, set by a backend that wants one; no request can set it."""

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_INSTRUCTION_BYTES = 8


def put_on() -> bool:
    """Filter this process, its threads and all it starts, where the backend asked for it.

    Raises:
        OSError: asked for, and refused by this kernel: the step must not run.
        ValueError: what is there is no filter.
    """
    text = os.environ.pop(ENV_FILTER, "")  # of no use to the step
    if not text:
        return False
    from base64 import b64decode  # here: a sandbox that needs no filter starts without

    install(b64decode(text, validate=True))
    return True


def install(program: bytes) -> None:
    """Install a program of classic BPF on all threads (seccomp(2)); needs no_new_privs.

    Raises:
        OSError: refused, or a thread could not follow.
    """
    import ctypes
    import errno

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    number = _SECCOMP.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"no system call table for {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.syscall(
        ctypes.c_long(number),
        ctypes.c_uint(_SET_MODE_FILTER),
        ctypes.c_uint(_FLAG_TSYNC),
        ctypes.byref(Program(len(program) // _INSTRUCTION_BYTES, program)),
    )
    if answer:
        # Positive: the id of a thread that has a filter of another origin.
        code = ctypes.get_errno() if answer < 0 else errno.ESRCH
        raise OSError(code, f"seccomp: {os.strerror(code)}")
