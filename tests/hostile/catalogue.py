"""Every attack, what it tries, and what stops it: the table behind ``docs/sandbox-attacks.md``.

The functions that try are in ``guest/``. ``stopped_by`` names fields of the body that
``docker_backend/policy.py`` makes (``HostConfig.`` left out), ``seccomp`` for the filter, or one of
:data:`ROOMS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import judges
from attack import Attack, Judge, cut, denied, equals, refused
from trainbox_sdk.testing.backend import LIMITS, MIB

ROOMS = {
    "kernel": "the kernel, which asks for a capability that the guest has not",
    "collector": "`engine/outputs`: regular files alone, by descriptor, counted and capped",
    "disk": "a file system of fixed size, or where there is none a look every second",
    "log": "`trainbox_guest.shim.capped_log`: head and tail are kept, a flood ends the step",
    "stop": "SIGTERM, then after the grace SIGKILL of all",
    "pid 1": "the PID namespace: with its first process all others die",
    "request": "`backend_kit.command`: refused before anything is made",
    "handover": "`backend_kit.handover`: by descriptor, links not followed",
    "cause": "causes come from the kernel's counters and never from a number",
}

UNATTACKED = {
    "Image": "an id from an allow-list: nothing inside can choose it (`test_policy.py`)",
    "Entrypoint": "empty: the image's own never runs",
    "Cmd": "a list, no shell; held word for word by `test_policy.py`",
    "Hostname": "says nothing of the host",
    "AttachStdin": "nothing to read",
    "OpenStdin": "nothing to read",
    "StopSignal": "an image cannot choose one that nobody handles",
    "Healthcheck": "none: it would be an exec into the sandbox",
    "Labels": "how it is found again; not seen inside",
    "CapAdd": "none comes back; `identity_of_power` sees all five sets empty",
    "Privileged": "false; every attack on devices and mounts would show it",
    "UsernsMode": "the engine's; never `host`",
    "UTSMode": "never the host's; `rename_the_host` would show it",
    "Links": "none: no neighbour",
    "ExtraHosts": "none: no name of the host",
    "Dns": "none: no resolver, and no route to one",
    "PublishAllPorts": "false: no listener of a sandbox is reached",
    "Binds": "none: `Mounts` refuses a source that does not exist",
    "VolumesFrom": "none: no volume of a neighbour",
    "RestartPolicy": "never: a step does not run twice by itself",
    "AutoRemove": "false: exit code and output outlive a daemon that is away",
}
"""Fields that no attack can reach from inside, or that another one shows."""

SMALL_DISK = replace(LIMITS, output_bytes=8 * MIB, file_bytes=4 * MIB)
SMALL_LOG = replace(LIMITS, log_bytes=64 * 1024)
SMALL_MEMORY = replace(LIMITS, memory_bytes=64 * MIB)
FEW = replace(LIMITS, pids=32, cpus=0.5)

BATCH_LIMITS = replace(
    LIMITS, pids=64, tmp_bytes=8 * MIB, tmp_inodes=500, shm_bytes=8 * MIB, open_files=256
)
"""Of the sandbox that the attacks share which end by themselves."""

CAPS = ("CapDrop", "User")
FILTER = ("seccomp",)


def _privileges() -> Iterator[Attack]:
    yield Attack("identity_of_power", "be root, or hold a capability", CAPS, judges.identity)
    yield Attack("become_root", "take user or group 0", CAPS, refused)
    yield Attack(
        "setuid_programs", "run su, or a setuid copy of one's own", ("SecurityOpt",), judges.setuid
    )
    yield Attack("regain_capabilities", "capset, ambient sets, securebits", CAPS, refused)
    yield Attack(
        "undo_the_filter", "leave no-new-privileges or the filter", ("SecurityOpt",), refused
    )
    yield Attack("raise_own_limits", "raise hard limits", ("Ulimits", *CAPS), refused)
    yield Attack("lower_oom_score", "let others be killed first", ("OomScoreAdj",), refused)
    yield Attack("take_priority", "nice below 0, SCHED_FIFO, realtime I/O", CAPS, refused)
    yield Attack("lock_memory", "pin memory", ("Ulimits",), judges.lock)


def _doors() -> Iterator[Attack]:
    doors: list[tuple[str, str, tuple[str, ...], Judge]] = [
        ("mount_file_systems", "mount, bind, remount, unmount", (*CAPS, *FILTER), denied),
        ("mount_by_the_new_calls", "fsopen, open_tree, mount_setattr", FILTER, denied),
        ("change_root", "chroot, pivot_root", (*CAPS, *FILTER), denied),
        ("new_namespaces", "unshare, every kind", FILTER, denied),
        ("new_namespaces_by_clone", "a user namespace by clone", FILTER, denied),
        ("new_namespaces_by_clone3", "the same with flags in memory", FILTER, denied),
        ("join_namespaces", "setns into those of init", FILTER, denied),
        ("ptrace_init", "hold init by ptrace", FILTER, denied),
        ("ptrace_a_neighbour", "trace a process of one's own", FILTER, denied),
        ("process_memory_of_others", "process_vm_*, pidfd_getfd", FILTER, denied),
        ("keyrings", "keys, which are counted per user", FILTER, denied),
        ("bpf", "load a program into the kernel", FILTER, denied),
        ("perf_events", "watch the kernel by its counters", FILTER, denied),
        ("page_faults_by_hand", "hold the kernel at a page fault", FILTER, denied),
        ("io_uring", "calls that no filter sees", FILTER, denied),
        ("kernel_modules", "load or unload a module", (*CAPS, *FILTER), denied),
        ("reboot_and_kexec", "restart the host", (*CAPS, *FILTER), denied),
        ("set_the_clock", "move the host's time", (*CAPS, *FILTER), denied),
        ("rename_the_host", "change its name", (*CAPS, *FILTER), denied),
        ("swap_quota_and_accounting", "swapon, quotactl, acct", (*CAPS, *FILTER), denied),
        ("files_by_handle", "open files by their number", (*CAPS, *FILTER), denied),
        ("watch_the_file_system", "fanotify over everything", (*CAPS, *FILTER), denied),
        ("port_io", "iopl, ioperm", (*CAPS, *FILTER), denied),
        ("modify_ldt", "16-bit segments", FILTER, denied),
        ("personality", "no random addresses, executable data", FILTER, denied),
        ("map_the_zero_page", "make a null pointer useful", ("kernel",), refused),
        ("calls_of_32_bits", "int 0x80, past a 64-bit filter", FILTER, judges.killed_or_denied),
        ("sockets_by_32_bit_socketcall", "AF_VSOCK by socketcall", FILTER, judges.killed_or_denied),
        ("calls_of_x32", "the third table of numbers", FILTER, denied),
        ("kernel_log", "read the kernel's log", (*CAPS, *FILTER), denied),
        ("move_pages_of_others", "move_pages, migrate_pages", FILTER, denied),
        ("hidden_memory", "memfd_secret", FILTER, denied),
        ("calls_long_forgotten", "uselib, lookup_dcookie, vhangup, sysfs", FILTER, denied),
        ("type_into_a_terminal", "TIOCSTI", ("Tty",), refused),
        ("kernel_switches", "core_pattern, sysrq, modprobe, binfmt_misc", ("User",), refused),
        ("cgroup_escape", "release_agent, limits, groups of one's own", ("CgroupnsMode",), refused),
        ("queues_of_messages", "POSIX queues, counted per user", FILTER, denied),
        ("watches_of_files", "inotify, counted per user", FILTER, denied),
    ]
    for name, tries, stopped_by, judge in doors:
        yield Attack(name, tries, stopped_by, judge)


def _sockets() -> Iterator[Attack]:
    yield Attack("raw_sockets", "make packets by hand", (*CAPS, *FILTER), refused)
    yield Attack("packet_sockets", "listen on the wire", (*CAPS, *FILTER), refused)
    yield Attack("sockets_to_the_hypervisor", "AF_VSOCK, which no namespace holds", FILTER, refused)
    yield Attack("sockets_of_the_crypto_api", "AF_ALG", FILTER, refused)
    yield Attack("sockets_of_odd_families", "40 other families", FILTER, refused)
    yield Attack("netlink_of_the_kernel", "audit, netfilter, uevents", FILTER, refused)
    yield Attack("change_interfaces", "addresses, flags, new links", CAPS, refused)
    yield Attack("a_route_out", "find one in the routing tables", ("NetworkMode",), judges.route)
    yield Attack(
        "listeners_of_the_host",
        "its loopback, its sockets by path and by abstract name",
        ("NetworkMode", "Mounts"),
        judges.listeners,
    )
    yield Attack(
        "abstract_names_of_the_host", "list them", ("NetworkMode",), lambda run: run.answer
    )
    yield Attack("engine_sockets", "talk to the engine, to systemd, to D-Bus", ("Mounts",), refused)
    yield Attack("tunnels", "/dev/net/tun", ("Devices", *CAPS), refused)


def _reach() -> Iterator[Attack]:
    yield Attack("secrets_of_the_host", "shadow, kcore, debugfs", ("User", "Mounts"), refused)
    yield Attack("addresses_of_the_kernel", "kallsyms, iomem", ("User",), refused)
    yield Attack("processes_of_the_host", "list and signal them", ("PidMode",), judges.processes)
    yield Attack("environment_of_init", "the daemon's variables", ("Env",), judges.environment)
    yield Attack(
        "environment_of_its_own", "variables of the host", ("Env",), judges.own_environment
    )
    yield Attack("the_daemons_files", "its database, its notes", ("Mounts", "User"), refused)
    yield Attack("data_of_other_jobs", "datasets and outputs of others", ("Mounts",), refused)
    yield Attack("names_in_mount_tables", "others' names in mountinfo", ("Mounts",), judges.mounts)
    yield Attack(
        "block_devices_of_others",
        "which files lie behind the host's loop devices",
        ("MaskedPaths",),
        refused,
    )
    yield Attack(
        "message_queues",
        "use up what one user may have of them",
        ("MaskedPaths", "Ulimits", *FILTER),
        refused,
    )
    yield Attack(
        "leaked_descriptors", "an open directory of the host", ("WorkingDir",), judges.leaks
    )
    yield Attack("overwrite_the_runtime", "/proc/1/exe", ("User", "ReadonlyRootfs"), refused)
    yield Attack("devices_made", "mknod", (*CAPS, "DeviceCgroupRules"), refused)
    yield Attack("devices_of_the_host", "disks, kvm, mem, fuse, loop", ("Devices",), refused)
    yield Attack("writes_outside", "change the image", ("ReadonlyRootfs", "User"), refused)
    yield Attack("changes_of_its_inputs", "change data, spec, code", ("Mounts",), refused)
    yield Attack("events_file_swapped", "put a link in its place", ("Mounts",), refused)
    yield Attack("output_directory_moved", "put a link in its place", ("Mounts",), refused)
    yield Attack("program_in_tmp", "run what was written there", ("Tmpfs",), refused)
    yield Attack(
        "shared_memory_of_the_host", "a System V segment by its key", ("IpcMode",), refused
    )
    yield Attack("loader_variable_inside", "LD_PRELOAD into id", ("SecurityOpt",), judges.child)
    yield Attack(
        "loader_variable_of_a_request",
        "LD_PRELOAD into the sandbox's init",
        ("request",),
        lambda run: run.answer,
        alone=True,
        env={"LD_PRELOAD": "/trainbox/out/evil.so"},
    )
    yield Attack(
        "python_variables_of_a_request",
        "PYTHONPATH, PYTHONSTARTUP and their like, before the step starts",
        ("Env",),
        judges.python_variables,
        alone=True,
        env={"PYTHONPATH": "/trainbox/scratch", "PYTHONSTARTUP": "/trainbox/scratch/planted.py"},
    )
    yield Attack(
        "plants_for_the_next_attempt",
        "sitecustomize, .pth and shadow modules in what survives",
        ("Env",),
        equals({"planted_before": ""}),
        alone=True,
        twice=True,
    )


def _amounts() -> Iterator[Attack]:
    tmp, shm = BATCH_LIMITS.tmp_bytes, BATCH_LIMITS.shm_bytes
    yield Attack("tmp_flood", "fill /tmp", ("Tmpfs",), cut(tmp))
    yield Attack("shm_flood", "fill /dev/shm", ("ShmSize",), cut(shm))
    yield Attack("tmp_inodes", "20,000 files in /tmp", ("Tmpfs",), cut(BATCH_LIMITS.tmp_inodes))
    yield Attack("sparse_file", "a file of 8 TiB", ("Ulimits",), refused)
    yield Attack("preallocated_file", "8 GiB by fallocate", ("Ulimits",), refused)
    yield Attack("file_beyond_its_signal", "past SIGXFSZ", ("Ulimits",), judges.beyond)
    yield Attack("descriptors", "100,000 open files", ("Ulimits",), cut(BATCH_LIMITS.open_files))
    yield Attack("threads", "2,000 threads", ("PidsLimit",), cut(BATCH_LIMITS.pids))
    yield Attack("processes", "2,000 processes", ("PidsLimit",), cut(BATCH_LIMITS.pids))
    yield Attack("zombies", "orphans nobody waits for", ("Init",), equals(0))
    yield Attack("memory_of_pipes", "kernel buffers", ("Ulimits", "Memory"), cut(128 * MIB))
    yield Attack(
        "core_dump", "leave one to the host", ("Ulimits",), equals({"dumped": False, "files": []})
    )
    yield Attack(
        "shared_memory_that_stays", "a segment that outlives it", ("IpcMode",), judges.segments
    )
    bombs = judges.killed
    yield Attack(
        "memory_bomb",
        "take it all",
        ("Memory", "MemorySwap", "OomKillDisable"),
        bombs,
        alone=True,
        limits=SMALL_MEMORY,
    )
    yield Attack(
        "memory_of_sockets",
        "kernel buffers",
        ("Ulimits", "Memory"),
        judges.kernel_buffers,
        alone=True,
        limits=SMALL_MEMORY,
    )
    yield Attack(
        "memory_bomb_in_a_child",
        "be killed, and look failed",
        ("Memory", "cause"),
        judges.child_bomb,
        alone=True,
        limits=SMALL_MEMORY,
    )
    yield Attack(
        "memory_through_tmp",
        "memory that is a file",
        ("Memory", "Tmpfs"),
        bombs,
        alone=True,
        limits=replace(SMALL_MEMORY, tmp_bytes=256 * MIB),
    )
    yield Attack(
        "fork_bomb",
        "processes that make processes",
        ("PidsLimit", "stop"),
        judges.stopped,
        alone=True,
        limits=FEW,
        stop=0.1,
    )
    yield Attack(
        "cpu_burn",
        "four spinners on one core",
        ("NanoCpus",),
        judges.cpu,
        alone=True,
        limits=replace(FEW, cpus=1.0),
    )
    disk = judges.disk
    yield Attack("disk_flood", "write on and on", ("disk",), disk, alone=True, limits=SMALL_DISK)
    yield Attack(
        "disk_burst", "256 MiB in an instant", ("disk",), disk, alone=True, limits=SMALL_DISK
    )
    yield Attack(
        "inode_flood", "directories without end", ("disk",), disk, alone=True, limits=SMALL_DISK
    )
    yield Attack(
        "inodes_in_a_closed_directory",
        "files where nobody may look",
        ("disk",),
        disk,
        alone=True,
        limits=SMALL_DISK,
    )
    yield Attack(
        "bottomless_directory",
        "3,000 levels",
        ("disk", "collector"),
        disk,
        alone=True,
        limits=SMALL_DISK,
    )
    yield Attack(
        "event_flood",
        "fill the events file",
        ("disk", "Ulimits"),
        disk,
        alone=True,
        limits=SMALL_DISK,
    )
    logs = judges.log
    yield Attack(
        "stdout_flood",
        "print without end",
        ("log", "LogConfig"),
        logs,
        alone=True,
        limits=SMALL_LOG,
    )
    yield Attack(
        "line_without_end",
        "one line, no newline",
        ("log", "LogConfig"),
        logs,
        alone=True,
        limits=SMALL_LOG,
    )
    yield Attack(
        "escapes_in_the_log", "move a reader's cursor", ("log",), judges.escapes, alone=True
    )


def _ends() -> Iterator[Attack]:
    yield Attack("kill_init", "kill or stop PID 1", ("Init", "pid 1"), judges.init_lives)
    yield Attack(
        "ignored_signals", "outlive SIGTERM", ("stop",), judges.stopped, alone=True, stop=0.1
    )
    yield Attack(
        "fork_at_every_signal",
        "SIGTERM makes more",
        ("stop", "pid 1"),
        judges.stopped,
        alone=True,
        limits=FEW,
        stop=0.3,
    )
    yield Attack(
        "stopped_processes", "SIGSTOP oneself", ("stop",), judges.stopped, alone=True, stop=0.1
    )
    yield Attack(
        "survivor_of_a_double_fork", "live on after the end", ("pid 1",), judges.silence, alone=True
    )
    yield Attack("kill_everything", "kill(-1)", ("pid 1",), judges.unharmed, alone=True)
    yield Attack("frozen_init", "an init that cannot report", FILTER, judges.unfrozen, alone=True)
    yield Attack(
        "init_rewritten",
        "loop init by /proc/1/mem",
        ("stop", "pid 1"),
        judges.dead,
        alone=True,
        stop=0.3,
    )
    yield Attack(
        "end_that_looks_like_a_kill_for_memory",
        "137 by itself",
        ("cause",),
        judges.plain_137,
        alone=True,
    )
    yield Attack(
        "end_by_an_illegal_instruction",
        "crash, and leave a core",
        ("Ulimits",),
        judges.crashed,
        alone=True,
    )


def _outputs() -> Iterator[Attack]:
    yield Attack(
        "links_and_special_files",
        "links, FIFO, socket, closed directory, device",
        ("collector", "CapDrop"),
        judges.collected,
        alone=True,
    )
    yield Attack(
        "odd_names",
        "newlines, no UTF-8, escapes, 255 bytes",
        ("collector",),
        judges.collected,
        alone=True,
    )
    yield Attack(
        "archives_that_climb", "../ in zip and tar", ("collector",), judges.no_marker, alone=True
    )
    yield Attack(
        "pickles_that_run",
        "code in model.pkl, .pt, .npy",
        ("collector",),
        judges.no_marker,
        alone=True,
    )
    yield Attack(
        "zip_that_swells", "32 MiB in 32 KiB", ("collector",), judges.no_marker, alone=True
    )
    yield Attack(
        "growing_file",
        "a file that grows while it is copied",
        ("pid 1", "collector"),
        judges.grown,
        alone=True,
    )


def _standby() -> Iterator[Attack]:
    yield Attack("channels_left_open", "read the next orders", ("Mounts",), lambda run: run.answer)
    yield Attack("fifos_and_sockets_that_answer", "write orders", ("Mounts",), judges.no_channel)
    yield Attack("writes_beside_its_own_place", "write where another reads", ("Mounts",), refused)
    yield Attack(
        "mount_kept_busy",
        "keep a mount from being taken away",
        ("pid 1", "disk"),
        judges.silence_of_mount,
        alone=True,
    )


ATTACKS: tuple[Attack, ...] = (
    *_privileges(),
    *_doors(),
    *_sockets(),
    *_reach(),
    *_amounts(),
    *_ends(),
    *_outputs(),
    *_standby(),
)
AMOUNTS = tuple(attack for attack in _amounts() if attack.alone)
BATCH = tuple(attack for attack in ATTACKS if not attack.alone)
ALONE = tuple(attack for attack in ATTACKS if attack.alone)
