"""Attacks on what a sandbox that stood by may have besides: its channel, other slots, its notes."""

import stat

from attack_kit import *


def channels_left_open():
    """A FIFO, a socket or a descriptor through which orders came would bring the next ones too."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            kind = os.fstat(int(name)).st_mode
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if int(name) > 2 and stat.S_ISFIFO(kind) and not target.startswith("pipe:"):
            found[name] = target
    return found


def fifos_and_sockets_that_answer():
    """Any FIFO or socket in what the host has mounted."""
    found = []
    for folder, _, files in os.walk("/trainbox"):
        for name in files:
            path = os.path.join(folder, name)
            try:
                kind = os.lstat(path).st_mode
            except OSError:
                continue
            if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
                found.append(
                    [path, attempt(lambda: os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK)))]
                )
    return found


def writes_beside_its_own_place():
    """All of what is mounted, but the output, the scratch and the events."""
    found = {}
    for folder, folders, files in os.walk("/trainbox"):
        if folder.startswith((OUT, SCRATCH)):
            folders[:] = []
            continue
        found[folder] = attempt(lambda: write(os.path.join(folder, "evil")))
        for name in files:
            path = os.path.join(folder, name)
            if path != EVENTS and not os.path.islink(path) and stat.S_ISREG(os.lstat(path).st_mode):
                found[path] = attempt(lambda: os.close(os.open(path, os.O_WRONLY)))
    return found


def mount_kept_busy():
    """Open files, a working directory and a mapping must not keep the host from cleaning up."""
    import mmap

    os.chdir(OUT)
    path = os.path.join(OUT, "busy")
    write(path, "x" * 4096)
    with open(path, "r+b") as file:
        mapping = mmap.mmap(file.fileno(), 4096)
    if os.fork() == 0:
        os.setsid()
        mapping[0] = 1
        time.sleep(600)
    leave("model.onnx", "done")
