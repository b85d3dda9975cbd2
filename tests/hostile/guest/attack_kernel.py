"""Attacks on the kernel's doors: calls that training code never makes."""

import fcntl
import mmap
import struct

from attack_kit import *

NONE = ctypes.c_char_p(None)


def mount_file_systems():
    return {
        "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, NONE),
        "bind": call("mount", b"/proc", b"/tmp", NONE, 4096, NONE),
        "remount": call("mount", NONE, b"/", NONE, 32, NONE),
        "proc": call("mount", b"none", b"/tmp", b"proc", 0, NONE),
        "cgroup": call("mount", b"none", b"/tmp", b"cgroup", 0, b"memory"),
        "overlay": call("mount", b"none", b"/tmp", b"overlay", 0, b"lowerdir=/,upperdir=/tmp"),
        "umount": call("umount2", b"/proc", 2),
    }


def mount_by_the_new_calls():
    buffer = ctypes.create_string_buffer(256)
    return {
        "open_tree": syscall(428, -100, b"/", 1),
        "move_mount": syscall(429, -100, b"/tmp", -100, b"/tmp", 0),
        "fsopen": syscall(430, b"tmpfs", 0),
        "fsconfig": syscall(431, 0, 6, 0, 0, 0),
        "fsmount": syscall(432, 0, 0, 0),
        "fspick": syscall(433, -100, b"/tmp", 0),
        "mount_setattr": syscall(442, -100, b"/", 0, buffer, 32),
    }


def change_root():
    return {"chroot": call("chroot", b"/tmp"), "pivot_root": syscall(155, b"/tmp", b"/tmp")}


def new_namespaces():
    kinds = {
        "user": 0x10000000,
        "mount": 0x20000,
        "net": 0x40000000,
        "pid": 0x20000000,
        "ipc": 0x8000000,
        "uts": 0x4000000,
        "cgroup": 0x2000000,
        "time": 0x80,
    }
    return {name: call("unshare", flag) for name, flag in kinds.items()}


def new_namespaces_by_clone():
    kinds = {"user": 0x10000000, "user_and_mount": 0x10020000, "user_and_net": 0x50000000}
    found, parent = {}, os.getpid()
    for name, flag in kinds.items():
        found[name] = syscall(56, flag | signal.SIGCHLD, 0, 0, 0, 0)
        if os.getpid() != parent:
            os._exit(0)
    return found


def new_namespaces_by_clone3():
    """Flags in memory, where no filter sees them."""
    arguments = (ctypes.c_uint64 * 11)()
    arguments[0], arguments[4] = 0x10000000, signal.SIGCHLD
    parent = os.getpid()
    answer = syscall(435, arguments, 88)
    if os.getpid() != parent:
        os._exit(0)
    return {"clone3": answer}


def join_namespaces():
    found = {}
    for name in ("mnt", "net", "pid", "user", "ipc", "uts"):
        try:
            fd = os.open("/proc/1/ns/" + name, os.O_RDONLY)
        except OSError as error:
            found[name] = errno.errorcode[error.errno]
            continue
        found[name] = call("setns", fd, 0)
        os.close(fd)
    return found


def ptrace_init():
    return {"seize": syscall(101, 0x4206, 1, 0, 0), "attach": syscall(101, 16, 1, 0, 0)}


def ptrace_a_neighbour():
    """A process of one's own: with ptrace, a filter that looks at arguments can be rewritten."""
    child = os.fork()
    if child == 0:
        time.sleep(5)
        os._exit(0)
    found = {"seize": syscall(101, 0x4206, child, 0, 0)}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found["traceme"] = syscall(101, 0, 0, 0, 0)
    return found


def process_memory_of_others():
    found = {
        "readv": syscall(310, 1, 0, 0, 0, 0, 0),
        "writev": syscall(311, 1, 0, 0, 0, 0, 0),
        "pidfd_getfd": syscall(438, 0, 0, 0),
        "process_madvise": syscall(440, 0, 0, 0, 0, 0),
        "kcmp": syscall(312, 1, 1, 0, 0, 0),
    }
    return found


def keyrings():
    return {
        "keyctl": syscall(250, 0, -3, 0),
        "add_key": syscall(248, b"user", b"x", b"y", 1, -3),
        "request_key": syscall(249, b"user", b"x", b"", -3),
    }


def bpf():
    return syscall(321, 0, ctypes.create_string_buffer(256), 48)


def perf_events():
    return syscall(298, ctypes.create_string_buffer(256), 0, -1, -1, 0)


def page_faults_by_hand():
    return {
        "userfaultfd": syscall(323, 0),
        "userfaultfd_user": syscall(323, 1),
        "device": attempt(lambda: os.close(os.open("/dev/userfaultfd", os.O_RDWR))),
    }


def io_uring():
    buffer = ctypes.create_string_buffer(256)
    return {
        "setup": syscall(425, 1, buffer),
        "enter": syscall(426, 0, 0, 0, 0, 0, 0),
        "register": syscall(427, 0, 0, 0, 0),
    }


def kernel_modules():
    buffer = ctypes.create_string_buffer(256)
    return {
        "init_module": syscall(175, buffer, 0, b""),
        "finit_module": syscall(313, 0, b"", 0),
        "delete_module": syscall(176, b"loop", 0),
    }


def reboot_and_kexec():
    return {
        "reboot": syscall(169, 0xFEE1DEAD, 672274793, 0x4321FEDC, 0),
        "kexec_load": syscall(246, 0, 0, 0, 0),
        "kexec_file_load": syscall(320, 0, 0, 0, b"", 0),
    }


def set_the_clock():
    spec = ctypes.create_string_buffer(struct.pack("qq", 1, 0))
    timex = ctypes.create_string_buffer(struct.pack("I", 1) + bytes(252))
    return {
        "settimeofday": syscall(164, spec, 0),
        "clock_settime": syscall(227, 0, spec),
        "adjtimex": syscall(159, timex),
        "clock_adjtime": syscall(305, 0, timex),
    }


def rename_the_host():
    return {"sethostname": syscall(170, b"evil", 4), "setdomainname": syscall(171, b"evil", 4)}


def swap_quota_and_accounting():
    buffer = ctypes.create_string_buffer(256)
    return {
        "swapon": syscall(167, b"/tmp/x", 0),
        "swapoff": syscall(168, b"/tmp/x"),
        "quotactl": syscall(179, 0, b"/", 0, buffer),
        "acct": syscall(163, b"/tmp/x"),
    }


def files_by_handle():
    """open_by_handle_at walked out of containers once (the shocker exploit)."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", 8, 1) + struct.pack("q", 2) + bytes(64))
    mount_id = ctypes.create_string_buffer(8)
    found = {"open_by_handle_at": syscall(304, -100, handle, 0)}
    room = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    found["name_to_handle_at"] = syscall(303, -100, b"/", room, mount_id, 0)
    return found


def watch_the_file_system():
    return {"fanotify_init": syscall(300, 0, 0), "fanotify_mark": syscall(301, 0, 0, 0, -100, 0)}


def port_io():
    return {"iopl": syscall(172, 3), "ioperm": syscall(173, 0x80, 1, 1)}


def modify_ldt():
    return syscall(154, 0, ctypes.create_string_buffer(64), 64)


def personality():
    return {
        "no_random_addresses": syscall(135, 0x0040000),
        "readable_is_executable": syscall(135, 0x0400000),
        "old_mappings_at_zero": syscall(135, 0x0100000),
    }


def map_the_zero_page():
    map_call = libc.mmap
    map_call.restype = ctypes.c_long
    ctypes.set_errno(0)
    where = map_call(ctypes.c_void_p(0), ctypes.c_size_t(4096), 3, 0x32, -1, ctypes.c_long(0))
    return _error() if where == -1 else "ok"


def _error():
    return errno.errorcode.get(ctypes.get_errno(), "error")


def _machine_code(code):
    block = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    block.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()


def calls_of_32_bits():
    """int 0x80 reaches the 32-bit table, whose numbers no 64-bit filter knows: getpid is 20."""
    return {"getpid": _machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")}


def sockets_by_32_bit_socketcall():
    """socketcall (102) hides the family in memory: AF_VSOCK by the side door."""
    # push rbx; mov eax,102; mov ebx,1; xor ecx,ecx; int 0x80; pop rbx; ret
    code = b"\x53\xb8\x66\x00\x00\x00\xbb\x01\x00\x00\x00\x31\xc9\xcd\x80\x5b\xc3"
    answer = _machine_code(code)
    # A kernel without that table takes 102 for getuid of its own.
    return {"socketcall": -38 if answer == os.getuid() else answer}


def calls_of_x32():
    return {"getpid": syscall(0x40000000 | 39), "ptrace": syscall(0x40000000 | 521, 0, 0, 0, 0)}


def kernel_log():
    buffer = ctypes.create_string_buffer(256)
    return {
        "syslog": syscall(103, 3, buffer, 256),
        "kmsg": attempt(lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY))),
        "proc_kmsg": attempt(lambda: os.close(os.open("/proc/kmsg", os.O_RDONLY))),
    }


def move_pages_of_others():
    return {
        "move_pages": syscall(279, 1, 0, 0, 0, 0, 0),
        "migrate_pages": syscall(256, 1, 0, 0, 0),
    }


def hidden_memory():
    return syscall(447, 0)


def calls_long_forgotten():
    buffer = ctypes.create_string_buffer(256)
    return {
        "uselib": syscall(134, b"/tmp/x"),
        "lookup_dcookie": syscall(212, 0, buffer, 256),
        "vhangup": syscall(153),
        "sysfs": syscall(139, 3),
        "ustat": syscall(136, 0, buffer),
        "nfsservctl": syscall(180, 0, 0, 0),
        "create_module": syscall(174, b"x", 4096),
    }


def type_into_a_terminal():
    """TIOCSTI puts words into the mouth of whoever reads the terminal next."""
    found = {}
    for name, path in (("tty", "/dev/tty"), ("console", "/dev/console"), ("stdout", "/dev/stdout")):
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            found[name] = errno.errorcode[error.errno]
            continue
        found[name] = attempt(lambda fd=fd: fcntl.ioctl(fd, 0x5412, b"x"))
        os.close(fd)
    return found


def kernel_switches():
    places = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sysrq-trigger",
        "/proc/sys/net/ipv4/ip_forward",
        "/sys/kernel/mm/ksm/run",
        "/sys/kernel/uevent_helper",
        "/proc/irq/default_smp_affinity",
    ]
    return each(lambda place: write(place, "1", "w"), places)


def cgroup_escape():
    """release_agent runs as root on the host when a group empties."""
    found = {}
    root = "/sys/fs/cgroup"
    places = [root]
    if os.path.isdir(root):
        places += [os.path.join(root, name) for name in sorted(os.listdir(root))]
    for place in places:
        for name in ("release_agent", "notify_on_release", "cgroup.procs", "devices.allow"):
            path = os.path.join(place, name)
            found[path] = attempt(lambda path=path: write(path, "1", "r+"))
        made = os.path.join(place, "evil")
        found[made] = attempt(lambda made=made: os.mkdir(made))
    for name in ("memory/memory.limit_in_bytes", "pids/pids.max", "memory.max", "pids.max"):
        path = os.path.join(root, name)
        found[path] = attempt(lambda path=path: write(path, "9999999999", "r+"))
    return found


def queues_of_messages():
    """POSIX queues are counted per user, over all sandboxes of that user."""
    return syscall(240, b"evil", 0o102, 0o600, 0)


def watches_of_files():
    """inotify instances are counted per user, over all sandboxes of that user."""
    return {"init": syscall(253), "init1": syscall(294, 0)}
