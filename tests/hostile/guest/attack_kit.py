"""What attacks share inside the sandbox. Standard library only: this runs in the guest."""

import ctypes
import errno
import os
import platform
import signal
import sys
import threading
import time

OUT = os.environ["MODEL_OUTPUT_PATH"]
SCRATCH = os.environ["TRAINBOX_SCRATCH"]
EVENTS = os.environ["TRAINBOX_EVENTS"]
TOLD = {}
"""What the host's side of an attack has put in place: paths, ports, names."""

if platform.machine() != "x86_64":
    raise RuntimeError("these attacks know the system calls of x86_64 alone")

libc = ctypes.CDLL(None, use_errno=True)


def _answer(value):
    if value >= 0:
        return "ok"
    return errno.errorcode.get(ctypes.get_errno(), "error")


def call(function, *args):
    """Call into libc; return "ok" or the error's name."""
    ctypes.set_errno(0)
    return _answer(getattr(libc, function)(*args))


def syscall(number, *args):
    """Call the kernel by number; return "ok" or the error's name."""
    ctypes.set_errno(0)
    words = [arg if isinstance(arg, (bytes, ctypes.Array)) else ctypes.c_long(arg) for arg in args]
    return _answer(libc.syscall(ctypes.c_long(number), *words))


def attempt(work):
    """Return "ok", or the name of the error that work ends with."""
    try:
        work()
    except OSError as error:
        return errno.errorcode.get(error.errno, "error")
    return "ok"


def each(work, targets):
    return {str(target): attempt(lambda target=target: work(target)) for target in targets}


def write(path, text="x", mode="a"):
    with open(path, mode) as file:
        file.write(text)


def leave(name, text):
    write(os.path.join(OUT, name), text)


def ready():
    write(EVENTS, "ready\n")


def peek(path):
    """Read one byte, or list a directory; nothing there is an error as well."""
    if os.path.isdir(path):
        if os.listdir(path):
            return
        raise FileNotFoundError(errno.ENOENT, path)
    with open(path, "rb") as file:
        if not file.read(1):
            raise FileNotFoundError(errno.ENOENT, path)


def in_child(work, limit_s=30.0):
    """Run work in a process of its own; return its answer, or how it died.

    Returns:
        What ``work`` returned, or ``{"crashed": text}``, ``{"killed": signal}``, ``{"hung": True}``.
    """
    import json

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = work()
        except BaseException as error:  # told to the parent
            answer = {"crashed": "%s: %s" % (type(error).__name__, error)}
        os.write(writing, json.dumps(answer).encode()[:60000])
        os._exit(0)
    os.close(writing)
    timer = threading.Timer(limit_s, lambda: os.kill(child, signal.SIGKILL))
    timer.daemon = True
    timer.start()
    began = time.monotonic()
    text = b""
    while True:
        piece = os.read(reading, 65536)
        if not piece:
            break
        text += piece
    os.close(reading)
    _, status = os.waitpid(child, 0)
    timer.cancel()
    if os.WIFSIGNALED(status):
        if time.monotonic() - began >= limit_s:
            return {"hung": True}
        return {"killed": os.WTERMSIG(status)}
    return json.loads(text)


__all__ = [name for name in dir() if not name.startswith("_")] + ["errno", "sys"]
