"""Attacks by amount: more than a guest was given."""

import fcntl
import resource
import socket

from attack_kit import *

MIB = 1024 * 1024


def _filled(folder):
    path, block, size = os.path.join(folder, "flood"), b"x" * (MIB // 4), 0
    with open(path, "wb", buffering=0) as file:
        ended = attempt(lambda: [file.write(block) for _ in range(400)])
        size = os.stat(path).st_size
    os.unlink(path)
    return {"ended": ended, "bytes": size}


def tmp_flood():
    return _filled("/tmp")


def shm_flood():
    return _filled("/dev/shm")


def _numbered(folder, most):
    made = 0
    try:
        while made < most:
            os.close(os.open(os.path.join(folder, "i%d" % made), os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        ended = errno.errorcode[error.errno]
    else:
        ended = "ok"
    for number in range(made):
        os.unlink(os.path.join(folder, "i%d" % number))
    return {"made": made, "ended": ended}


def tmp_inodes():
    return _numbered("/tmp", 20_000)


def _large(work):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = os.path.join(OUT, "large%d" % os.getpid())
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        return attempt(lambda: work(fd))
    finally:
        os.close(fd)
        os.unlink(path)


def sparse_file():
    return {
        "truncate": _large(lambda fd: os.ftruncate(fd, 8 * 1024**4)),
        "write_far": _large(lambda fd: os.pwrite(fd, b"x", 8 * 1024**3)),
    }


def preallocated_file():
    return _large(lambda fd: os.posix_fallocate(fd, 0, 8 * 1024**3))


def file_beyond_its_signal():
    """SIGXFSZ ends a writer that does not ignore it, and the file stays at its limit."""
    path = os.path.join(OUT, "beyond")

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        os.lseek(fd, limit - 10, os.SEEK_SET)
        os.write(fd, b"x" * 100)
        os.write(fd, b"x" * 100)
        return "wrote"

    answer = in_child(work)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    size = os.stat(path).st_size
    os.unlink(path)
    return {"answer": answer, "beyond": size - limit}


def descriptors():
    opened = []
    try:
        while len(opened) < 100_000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        ended = errno.errorcode[error.errno]
    else:
        ended = "ok"
    for fd in opened:
        os.close(fd)
    return {"opened": len(opened), "ended": ended}


def threads():
    stop, made = threading.Event(), []
    threading.stack_size(64 * 1024)
    try:
        while len(made) < 2000:
            thread = threading.Thread(target=stop.wait)
            thread.start()
            made.append(thread)
    except RuntimeError:
        ended = "EAGAIN"
    else:
        ended = "ok"
    stop.set()
    for thread in made:
        thread.join()
    return {"made": len(made), "ended": ended}


def processes():
    children, ended = [], "ok"
    try:
        while len(children) < 2000:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    except OSError as error:
        ended = errno.errorcode[error.errno]
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return {"made": len(children), "ended": ended}


def zombies():
    """Leave orphans behind; init must reap them."""
    for _ in range(30):
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()
    states = []
    for _ in range(200):
        states = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open("/proc/%s/stat" % name) as file:
                        states.append(file.read().rsplit(")", 1)[1].split()[0])
                except OSError:
                    continue
        if states.count("Z") == 0:
            return 0
        time.sleep(0.05)
    return states.count("Z")


def memory_of_pipes():
    """Kernel buffers outside of any process: the largest pipes, all full."""
    pipes, total = [], 0
    try:
        while len(pipes) < 400:
            reading, writing = os.pipe()
            pipes += [reading, writing]
            size = fcntl.fcntl(writing, 1031, MIB)  # F_SETPIPE_SZ
            os.set_blocking(writing, False)
            total += os.write(writing, b"x" * size)
    except OSError as error:
        ended = errno.errorcode[error.errno]
    else:
        ended = "ok"
    for fd in pipes:
        os.close(fd)
    return {"bytes": total, "ended": ended}


def memory_of_sockets():
    pairs, total, ended = [], 0, "ok"
    try:
        while total < 160 * MIB:  # more would only hurt a host that does not count it
            pair = socket.socketpair()
            pairs.append(pair)
            pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * MIB)
            pair[0].setblocking(False)
            while True:
                try:
                    total += pair[0].send(b"x" * 65536)
                except BlockingIOError:
                    break
    except OSError as error:
        ended = errno.errorcode[error.errno]
    for pair in pairs:
        pair[0].close()
        pair[1].close()
    return {"bytes": total, "ended": ended}


def core_dump():
    child = os.fork()
    if child == 0:
        os.chdir(SCRATCH)
        os.abort()
    _, status = os.waitpid(child, 0)
    names = [name for name in os.listdir(SCRATCH) if "core" in name]
    return {"dumped": os.WCOREDUMP(status), "files": names}


def shared_memory_that_stays():
    """A System V segment outlives its maker, where nothing ends the namespace it lies in."""
    return call("shmget", TOLD["own_key"], ctypes.c_size_t(MIB), 0o1666)


# --- one sandbox each


def memory_bomb():
    hoard = []
    while True:
        block = bytearray(4 * MIB)
        block[::4096] = b"x" * len(block[::4096])
        hoard.append(block)


def memory_bomb_in_a_child():
    """The child alone dies; that is told, and is no failure of the step."""
    if os.fork() == 0:
        attempt(lambda: write("/proc/self/oom_score_adj", "1000", "w"))
        memory_bomb()
    _, status = os.wait()
    leave("child", str(os.WTERMSIG(status)))
    time.sleep(0.6)


def memory_through_tmp():
    with open("/tmp/x", "wb") as file:
        file.write(b"x" * (96 * MIB))


def fork_bomb():
    ready()
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.05)


def cpu_burn():
    """Four spinners on one core."""
    began = time.monotonic()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            while time.monotonic() - began < 1.5:
                pass
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    spent = os.times()
    leave("cpu", str((spent.children_user + spent.children_system) / (time.monotonic() - began)))


def disk_flood():
    number = 0
    while True:
        leave("part%d" % (number // 8), "x" * MIB)
        number += 1
        time.sleep(0.005)


def disk_burst():
    """All at once, and gone before anyone looks twice."""
    made = 0
    for number in range(64):
        fd = os.open(os.path.join(OUT, "b%d" % number), os.O_CREAT | os.O_RDWR)
        if attempt(lambda: os.posix_fallocate(fd, 0, 4 * MIB)) == "ok":
            made += 4 * MIB
        os.close(fd)
    print("took", made, flush=True)


def inode_flood():
    number = 0
    while number < 20_000:
        try:
            os.mkdir(os.path.join(OUT, "d%d" % number))
        except OSError:
            break
        number += 1
    print("made", number, flush=True)
    time.sleep(0.5)


def inodes_in_a_closed_directory():
    inside = os.path.join(SCRATCH, "closed")
    os.mkdir(inside)
    number = 0
    while number < 100_000:
        try:
            os.close(os.open(os.path.join(inside, "i%d" % number), os.O_CREAT | os.O_WRONLY))
        except OSError:
            break
        number += 1
        if number % 100 == 0:
            os.chmod(inside, 0)
            os.chmod(inside, 0o700)
    os.chmod(inside, 0)
    print("made", number, flush=True)
    time.sleep(1)


def bottomless_directory():
    os.chdir(OUT)
    try:
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
    except OSError:
        pass


def event_flood():
    with open(EVENTS, "a") as events:
        while True:
            events.write("x" * 65536)


def stdout_flood():
    while True:
        os.write(1, b"y" * 4095 + b"\n")


def line_without_end():
    while True:
        os.write(2, b"x" * 65536)


def escapes_in_the_log():
    """Bytes that would move a reader's cursor, set a title, or end a line in the middle."""
    os.write(1, b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m\xff\xfe\x00\r\n\x85end\n")
