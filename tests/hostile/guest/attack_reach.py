"""Attacks on what the guest can see and touch: the host, the daemon, its neighbours, itself."""

import stat
import subprocess

from attack_kit import *


def secrets_of_the_host():
    return each(
        peek,
        [
            "/etc/shadow",
            "/root",
            "/proc/kcore",
            "/proc/sched_debug",
            "/proc/timer_list",
            "/proc/keys",
            "/proc/vmallocinfo",
            "/proc/kpagecount",
            "/sys/kernel/debug",
            "/sys/kernel/security",
            "/sys/firmware/efi",
            "/sys/firmware/dmi",
            "/var/lib/docker",
            "/home/*",
        ],
    )


def addresses_of_the_kernel():
    """Where the kernel lies in memory: half of an exploit."""
    found = {}
    for path in ("/proc/kallsyms", "/proc/modules", "/proc/iomem"):
        try:
            with open(path) as file:
                lines = [line for _, line in zip(range(2000), file)]
        except OSError as error:
            found[path] = errno.errorcode[error.errno]
            continue
        words = [word for line in lines for word in line.replace("-", " ").split()]
        if path == "/proc/kallsyms":
            words = [line.split()[0] for line in lines]
        told = [w for w in words if len(w) >= 8 and w.strip("0x") and _is_hex(w)]
        found[path] = "ok" if told else "EACCES"
    return found


def _is_hex(word):
    try:
        int(word, 16)
    except ValueError:
        return False
    return True


def processes_of_the_host():
    """Every process that can be seen, by its command."""
    seen = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as file:
                    seen.append(file.read().replace(b"\0", b" ").decode(errors="replace")[:200])
            except OSError:
                seen.append("?")
    return {"seen": seen, "signal": attempt(lambda: os.kill(TOLD["daemon_pid"], 0))}


def environment_of_init():
    """What PID 1 was given: a runtime that lets the host's variables in shows them here."""
    try:
        with open("/proc/1/environ", "rb") as file:
            names = [item.partition(b"=")[0].decode() for item in file.read().split(b"\0") if item]
    except OSError as error:
        return {"names": [], "answer": errno.errorcode[error.errno]}
    return {"names": sorted(names), "answer": "ok"}


def environment_of_its_own():
    return sorted(os.environ)


def the_daemons_files():
    """Its database, its state, its notes about this very sandbox."""
    return each(peek, TOLD["daemon_files"])


def data_of_other_jobs():
    """By the path on the host, and by looking everywhere."""
    found = each(peek, TOLD["neighbour"])
    looked = 0
    for folder, folders, files in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys")]
        looked += len(files)
        if TOLD["token"] in "".join(files):
            found["by looking: " + folder] = "ok"
        if looked > 300_000:
            break
    return found


def names_in_mount_tables():
    """Which host paths the mount tables give away: of others, none."""
    told = ""
    for name in ("mountinfo", "mounts", "mountstats"):
        try:
            with open("/proc/self/" + name) as file:
                told += file.read()
        except OSError:
            continue
    return {"neighbours": TOLD["token"] in told, "lines": len(told.splitlines())}


def block_devices_of_others():
    """The kernel's notes about the host's disks: sizes, traffic, and the files behind loop devices."""
    found = {}
    for path in ("/proc/diskstats", "/proc/partitions"):
        try:
            with open(path) as file:
                found[path] = "ok" if file.read().strip() else "ENOENT"
        except OSError as error:
            found[path] = errno.errorcode[error.errno]
    for folder in (
        "/sys/block",
        "/sys/class/block",
        "/sys/dev/block",
        "/sys/devices/virtual/block",
    ):
        try:
            found[folder] = "ok" if os.listdir(folder) else "ENOENT"
        except OSError as error:
            found[folder] = errno.errorcode[error.errno]
    for folder, _, files in os.walk("/sys"):
        if "backing_file" in files:
            with open(os.path.join(folder, "backing_file")) as file:
                found[folder] = "ok: " + file.read().strip()
    return found


def message_queues():
    """By the call, and by opening files where queues are shown; counted over all of one user."""
    path = "/dev/mqueue/trainbox"
    found = {
        "mq_open": syscall(240, b"trainbox", os.O_CREAT | os.O_RDWR, 0o600, 0),
        "file": attempt(lambda: os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))),
        "listed": "ok" if os.path.exists(path) else "ENOENT",
    }
    attempt(lambda: os.unlink(path))
    return found


def leaked_descriptors():
    """An open directory of the host is a way out (CVE-2024-21626)."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        if int(name) < 3:
            continue
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if target.startswith("/proc/") or target.startswith("pipe:"):
            continue
        found[name] = target
    escape = "/proc/self/cwd/../../../../../../.." + TOLD["daemon_files"][0]
    return {"open": found, "up": attempt(lambda: peek(escape))}


def overwrite_the_runtime():
    """/proc/1/exe is a file of the host where the init comes from there (CVE-2019-5736)."""
    return each(
        lambda path: os.close(os.open(path, os.O_WRONLY)),
        ["/proc/1/exe", "/proc/self/exe", "/sbin/docker-init", "/usr/bin/python3"],
    )


def devices_made():
    kinds = {"block": stat.S_IFBLK, "character": stat.S_IFCHR}
    return {
        name: attempt(lambda: os.mknod(os.path.join(SCRATCH, name), kind | 0o666, os.makedev(8, 0)))
        for name, kind in kinds.items()
    }


def devices_of_the_host():
    places = [
        *("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kvm", "/dev/fuse", "/dev/loop-control"),
        *("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/mapper/control", "/dev/vhost-vsock"),
    ]
    return each(lambda place: os.close(os.open(place, os.O_RDONLY)), places)


def writes_outside():
    return each(
        lambda place: write(os.path.join(place, "evil")),
        [
            *(
                "/",
                "/etc",
                "/usr/bin",
                "/usr/lib",
                "/var/tmp",
                "/run",
                "/run/lock",
                "/dev",
                "/home",
            ),
            os.path.dirname(sys.executable),
            os.path.dirname(os.path.dirname(os.__file__)),
        ],
    )


def changes_of_its_inputs():
    """The data, the spec and the code are read by others too."""
    found = {}
    code = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    for path in (os.environ["DATASET_PATH"], os.environ["TRAINBOX_SPEC"], __file__):
        found["write " + path] = attempt(lambda: write(path))
        found["chmod " + path] = attempt(lambda: os.chmod(path, 0o777))
        found["unlink " + path] = attempt(lambda: os.unlink(path))
        found["utime " + path] = attempt(lambda: os.utime(path, (0, 0)))
    found["plant"] = attempt(lambda: write(os.path.join(code, "planted.py")))
    return found


def events_file_swapped():
    target = os.path.join(SCRATCH, "elsewhere")
    other = os.path.join(SCRATCH, "other")
    write(other)
    return {
        "rename": attempt(lambda: os.rename(EVENTS, target)),
        "unlink": attempt(lambda: os.unlink(EVENTS)),
        "replace": attempt(lambda: os.rename(other, EVENTS)),
        "symlink": attempt(lambda: os.symlink("/etc/passwd", EVENTS)),
    }


def output_directory_moved():
    return {
        "rename": attempt(lambda: os.rename(OUT, os.path.join(SCRATCH, "out"))),
        "rmdir": attempt(lambda: os.rmdir(OUT)),
    }


def program_in_tmp():
    path = "/tmp/program"
    write(path, "#!/bin/sh\necho ran\n", "w")
    os.chmod(path, 0o755)
    return attempt(lambda: subprocess.run([path], check=True, capture_output=True))


def shared_memory_of_the_host():
    """A System V segment whose key the host has told."""
    return {
        "shmget": call("shmget", TOLD["shm_key"], 0, 0),
        "semget": call("semget", TOLD["shm_key"], 0, 0),
    }


def loader_variable_inside():
    """It reaches one's own children and no more: they run as nobody better."""
    env = dict(os.environ, LD_PRELOAD=os.path.join(OUT, "evil.so"))
    done = subprocess.run(["id", "-u"], env=env, capture_output=True, text=True)
    return {"uid": str(os.getuid()), "child": done.stdout.strip()}


def loader_variable_of_a_request():
    """Never runs: the request is refused."""
    return "ran"


def python_variables_of_a_request():
    """A request's PYTHON* must not replace the contract's, nor start code before the step."""
    contract = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return {"planted": "planted" in sys.modules, **contract}


def plants_for_the_next_attempt():
    """sitecustomize, usercustomize, .pth and shadows of the standard library, in what survives."""
    places = [SCRATCH, OUT, "/tmp", os.path.join(SCRATCH, ".local/lib/python3/site-packages")]
    for place in places:
        try:
            os.makedirs(place, exist_ok=True)
            for name in ("sitecustomize", "usercustomize", "json", "trainbox_guest"):
                write(os.path.join(place, name + ".py"), "import os\nos.environ['PLANTED'] = '1'\n")
            write(os.path.join(place, "evil.pth"), "import os; os.environ['PLANTED'] = '1'\n")
        except OSError:
            continue
    return {"planted_before": os.environ.get("PLANTED", "")}
