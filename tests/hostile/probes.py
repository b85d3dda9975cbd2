"""Attacks that end by themselves, tried one after the other inside one sandbox.

Runs in the guest: standard library only. Each probe returns what happened; :data:`REPORT` in the
output directory holds all of them. A probe that crashes reports its exception and never hides the
others.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

OUT = os.environ["MODEL_OUTPUT_PATH"]
SCRATCH = os.environ["TRAINBOX_SCRATCH"]
EVENTS = os.environ["TRAINBOX_EVENTS"]
REPORT = "probes.json"
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *args):
    """Call into libc; return "ok" or the error's name."""
    ctypes.set_errno(0)
    answer = getattr(libc, function)(*args)
    return "ok" if answer >= 0 else errno.errorcode.get(ctypes.get_errno(), "error")


def syscall(number, *args):
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *args)
    return "ok" if answer >= 0 else errno.errorcode.get(ctypes.get_errno(), "error")


def attempt(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode.get(error.errno, "error")
    return "ok"


def write(path, text="x", mode="a"):
    with open(path, mode) as file:
        file.write(text)


def each(work, targets):
    return {str(target): attempt(lambda: work(target)) for target in targets}


# --- who am I


def identity():
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {
        "uids": status["Uid"].split(),
        "gids": status["Gid"].split(),
        "groups": status["Groups"].split(),
        "caps": [
            status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        ],
        "no_new_privs": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
    }


def become_root():
    return {
        "setuid": attempt(lambda: os.setuid(0)),
        "setgid": attempt(lambda: os.setgid(0)),
        "setgroups": attempt(lambda: os.setgroups([0])),
        "setresuid": attempt(lambda: os.setresuid(0, 0, 0)),
    }


def setuid_programs_give_nothing():
    """Run everything setuid there is, and a setuid copy of our own."""
    own = os.path.join(SCRATCH, "setuid-id")
    with open("/usr/bin/id", "rb") as source, open(own, "wb") as target:
        target.write(source.read())
    os.chmod(own, 0o6755)
    ran = subprocess.run([own, "-u"], capture_output=True, text=True)
    su = subprocess.run(
        ["su", "-c", "id -u"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return {"copy": ran.stdout.strip(), "su": su.stdout.strip()}


def drop_of_limits():
    raised = {}
    for name in ("NOFILE", "FSIZE", "CORE", "MEMLOCK"):
        limit = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(limit)
        try:
            resource.setrlimit(limit, (hard + 1, hard + 1))
        except (ValueError, OSError):
            raised[name] = "refused"
        else:
            raised[name] = "ok"
    raised["nice"] = attempt(lambda: os.nice(-10))
    raised["realtime"] = attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
    raised["oom_score_adj"] = attempt(lambda: write("/proc/self/oom_score_adj", "-500", "w"))
    return raised


# --- the kernel's doors


def mounting():
    none = ctypes.c_char_p(None)
    return {
        "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, none),
        "bind": call("mount", b"/proc", b"/tmp", none, 4096, none),
        "remount": call("mount", none, b"/", none, 32, none),
        "cgroup": call("mount", b"none", b"/tmp", b"cgroup", 0, b"memory"),
        "umount": call("umount2", b"/proc/kcore", 2),
        "chroot": call("chroot", b"/tmp"),
        "pivot_root": syscall(155, b"/tmp", b"/tmp"),
    }


def new_namespaces():
    kinds = {"user": 0x10000000, "mount": 0x20000, "net": 0x40000000, "pid": 0x20000000}
    found = {name: call("unshare", flag) for name, flag in kinds.items()}
    found["clone"] = syscall(56, ctypes.c_long(0x10000000 | signal.SIGCHLD), 0, 0, 0, 0)
    fd = os.open("/proc/1/ns/mnt", os.O_RDONLY)
    found["setns"] = call("setns", fd, 0)
    os.close(fd)
    return found


def dangerous_system_calls():
    buffer = ctypes.create_string_buffer(256)
    return {
        "bpf": syscall(321, 0, buffer, 48),
        "perf_event_open": syscall(298, buffer, 0, -1, -1, 0),
        "userfaultfd": syscall(323, 0),
        "keyctl": syscall(250, 0, -3, 0),
        "add_key": syscall(248, b"user", b"x", b"y", 1, -3),
        "kexec_load": syscall(246, 0, 0, 0, 0),
        "init_module": syscall(175, buffer, 0, b""),
        "reboot": syscall(169, 0xFEE1DEAD, 672274793, 0x4321FEDC, 0),
        "settimeofday": syscall(164, buffer, 0),
        "sethostname": syscall(170, b"evil", 4),
        "swapon": syscall(167, b"/tmp/x", 0),
        "open_by_handle_at": syscall(304, -100, buffer, 0),
        "fanotify_init": syscall(300, 0, 0),
        "acct": syscall(163, b"/tmp/x"),
        "quotactl": syscall(179, 0, b"/", 0, buffer),
        "iopl": syscall(172, 3),
    }


def calls_old_default_profiles_let_through():
    buffer = ctypes.create_string_buffer(256)
    return {
        "io_uring_setup": syscall(425, 1, buffer),
        "ptrace": syscall(101, 0x4206, 1, 0, 0),  # PTRACE_SEIZE: attaching would freeze init
        "process_vm_readv": syscall(310, 1, 0, 0, 0, 0, 0),
    }


def sockets():
    packet, vsock = 17, 40
    kinds = {
        "raw": (socket.AF_INET, socket.SOCK_RAW, 1),
        "packet": (packet, socket.SOCK_RAW, 0x300),
        "vsock": (vsock, socket.SOCK_STREAM, 0),
        "alg": (38, socket.SOCK_SEQPACKET, 0),
        "bluetooth": (31, socket.SOCK_RAW, 1),
    }
    return {name: attempt(lambda: socket.socket(*kind).close()) for name, kind in kinds.items()}


def network():
    with open("/proc/net/route") as table:
        routes = len(table.read().splitlines()) - 1
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found = {
        "routes": routes,
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        # Nothing is sent: connecting a datagram socket only asks for a route.
        "metadata": attempt(lambda: probe.connect(("169.254.169.254", 80))),
        "documentation": attempt(lambda: probe.connect(("192.0.2.1", 80))),
    }
    probe.close()
    return found


def abstract_sockets_of_the_host():
    with open("/proc/net/unix") as table:
        return len(table.read().splitlines()) - 1


def devices():
    kinds = {"block": stat.S_IFBLK, "character": stat.S_IFCHR}
    made = {
        name: attempt(lambda: os.mknod(os.path.join(SCRATCH, name), kind | 0o666, os.makedev(8, 0)))
        for name, kind in kinds.items()
    }
    present = sorted(
        name for name in os.listdir("/dev") if not stat.S_ISLNK(os.lstat(f"/dev/{name}").st_mode)
    )
    return {"made": made, "present": present}


# --- what I can see and touch


def engine_sockets():
    places = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"]
    return [place for place in places if os.path.exists(place)]


def host_secrets():
    places = [
        "/etc/shadow",
        "/root",
        "/proc/kcore",
        "/proc/sched_debug",
        "/sys/kernel/debug",
        "/proc/timer_list",
        "/var/lib/docker",
        "/sys/firmware/efi",
    ]

    def peek(path):
        if os.path.isdir(path):
            if os.listdir(path):
                return
            raise FileNotFoundError(errno.ENOENT, path)
        with open(path, "rb") as file:
            if not file.read(1):
                raise FileNotFoundError(errno.ENOENT, path)

    return each(peek, places)


def processes():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def init_environment():
    with open("/proc/1/environ", "rb") as file:
        return sorted(item.partition(b"=")[0].decode() for item in file.read().split(b"\0") if item)


def kernel_switches():
    places = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sysrq-trigger",
        "/proc/sys/net/ipv4/ip_forward",
        "/sys/kernel/mm/ksm/run",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/pids/pids.max",
        "/sys/fs/cgroup/memory.max",
        "/proc/irq/default_smp_affinity",
    ]
    return each(lambda place: write(place, "1", "w"), places)


def writes_outside():
    return each(
        lambda place: write(os.path.join(place, "evil")),
        [
            "/",
            "/etc",
            "/usr/bin",
            "/var/tmp",
            "/run",
            "/dev",
            "/opt/trainbox",
            "/trainbox",
            "/trainbox/in",
        ],
    )


def events_file_is_fixed():
    target = os.path.join(SCRATCH, "elsewhere")
    return {
        "rename": attempt(lambda: os.rename(EVENTS, target)),
        "unlink": attempt(lambda: os.unlink(EVENTS)),
        "replace": attempt(lambda: os.rename(_made(os.path.join(SCRATCH, "other")), EVENTS)),
        "symlink": attempt(lambda: os.symlink("/etc/passwd", EVENTS)),
        "chmod": attempt(lambda: os.chmod(EVENTS, 0)),
    }


def output_directory_is_fixed():
    return {
        "rename": attempt(lambda: os.rename(OUT, os.path.join(SCRATCH, "out"))),
        "rmdir": attempt(lambda: os.rmdir(OUT)),
    }


def _made(path):
    write(path)
    return path


# --- how much I can take


def floods():
    taken = {}
    for name, folder in (("tmp", "/tmp"), ("shm", "/dev/shm")):
        path, block = os.path.join(folder, "flood"), b"x" * 262144
        with open(path, "wb", buffering=0) as file:
            taken[name + "_ended"] = attempt(lambda: [file.write(block) for _ in range(400)])
            taken[name] = os.stat(path).st_size
        os.unlink(path)
    return taken


def tmp_inodes():
    made = 0
    try:
        while made < 20_000:
            os.close(os.open(f"/tmp/i{made}", os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        ended = errno.errorcode[error.errno]
    else:
        ended = "ok"
    for number in range(made):
        os.unlink(f"/tmp/i{number}")
    return {"made": made, "ended": ended}


def large_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = os.path.join(OUT, "sparse")
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    found = {
        "sparse": attempt(lambda: os.ftruncate(fd, 8 * 1024**4)),
        "fallocate": attempt(lambda: os.posix_fallocate(fd, 0, 8 * 1024**3)),
        "write_far": attempt(lambda: os.pwrite(fd, b"x", 8 * 1024**3)),
    }
    os.close(fd)
    os.unlink(path)
    return found


def descriptors():
    opened = []
    try:
        while len(opened) < 5000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        ended = errno.errorcode[error.errno]
    else:
        ended = "ok"
    count = len(opened)
    for fd in opened:
        os.close(fd)
    return {"opened": count, "ended": ended}


def core_dump():
    child = os.fork()
    if child == 0:
        os.chdir(SCRATCH)
        os.abort()
    _, status = os.waitpid(child, 0)
    return {
        "dumped": os.WCOREDUMP(status),
        "files": [n for n in os.listdir(SCRATCH) if "core" in n],
    }


def zombies():
    """Leave orphans behind; init must reap them."""
    for _ in range(50):
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        states = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat") as file:
                        states.append(file.read().rsplit(")", 1)[1].split()[0])
                except OSError:
                    continue
        if states.count("Z") == 0:
            return 0
        time.sleep(0.05)
    return states.count("Z")


def kill_init():
    os.kill(1, signal.SIGKILL)
    os.kill(1, signal.SIGSTOP)
    time.sleep(0.05)
    with open("/proc/1/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def exec_from_tmp():
    path = "/tmp/program"
    write(path, "#!/bin/sh\necho ran\n", "w")
    os.chmod(path, 0o755)
    return attempt(lambda: subprocess.run([path], check=True, capture_output=True))


PROBES = [
    identity,
    become_root,
    setuid_programs_give_nothing,
    drop_of_limits,
    mounting,
    new_namespaces,
    dangerous_system_calls,
    calls_old_default_profiles_let_through,
    sockets,
    network,
    abstract_sockets_of_the_host,
    devices,
    engine_sockets,
    host_secrets,
    processes,
    init_environment,
    kernel_switches,
    writes_outside,
    events_file_is_fixed,
    output_directory_is_fixed,
    floods,
    tmp_inodes,
    large_files,
    descriptors,
    core_dump,
    zombies,
    kill_init,
    exec_from_tmp,
]


def main():
    report = {}
    for probe in PROBES:
        try:
            report[probe.__name__] = probe()
        except BaseException as error:
            report[probe.__name__] = f"crashed: {type(error).__name__}: {error}"
        with open(os.path.join(OUT, REPORT), "w") as file:
            json.dump(report, file)


if __name__ == "__main__":
    main()
