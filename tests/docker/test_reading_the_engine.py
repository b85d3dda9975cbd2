"""What the engine, the kernel and the host say, read into the SDK's words."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trainbox_plugins.docker_backend import images, seccomp
from trainbox_plugins.docker_backend.call_threads import CallThreads
from trainbox_plugins.docker_backend.cgroups import MemoryUse, memory_use
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_host import IdShift, capacity_of, id_shift, trouble_of
from trainbox_guest.confine.seccomp import denied
from trainbox_plugins.backend_kit.handover import fit_for_guest
from trainbox_plugins.docker_backend.observations import (
    memory_cause,
    observation_of_inspect,
    observation_of_summary,
)
from trainbox_plugins.docker_backend.policy import Confinement, ref_labels
from trainbox_plugins.docker_backend.promises import promises
from trainbox_sdk.backends import Cause, Level, Paths, Phase, SandboxRef
from trainbox_sdk.errors import BackendRejected

REF = SandboxRef("i", "j", "a")
GIB = 1024**3


def inspected(**state: Any) -> dict[str, Any]:
    told = {
        "Status": "exited",
        "Running": False,
        "ExitCode": 0,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": "2026-11-21T10:00:00.123456789Z",
        "FinishedAt": "2026-11-21T10:00:01Z",
    }
    return {"State": {**told, **state}}


# --- the end of a sandbox


@pytest.mark.parametrize(
    ("state", "phase", "exit_code", "cause"),
    [
        ({}, Phase.EXITED, 0, Cause.NONE),
        ({"ExitCode": 3}, Phase.EXITED, 3, Cause.NONE),
        ({"ExitCode": 137}, Phase.EXITED, 137, Cause.NONE),
        ({"ExitCode": 137, "OOMKilled": True}, Phase.EXITED, 137, Cause.OUT_OF_MEMORY),
        ({"ExitCode": 0, "OOMKilled": True}, Phase.EXITED, 0, Cause.NONE),
        ({"ExitCode": 1, "OOMKilled": True}, Phase.EXITED, 1, Cause.NONE),
        ({"Status": "running", "Running": True}, Phase.RUNNING, None, Cause.NONE),
        ({"Status": "running", "OOMKilled": True}, Phase.RUNNING, None, Cause.NONE),
        ({"Status": "paused"}, Phase.RUNNING, None, Cause.NONE),
        ({"Status": "created"}, Phase.CREATED, None, Cause.NONE),
        ({"Status": "dead", "ExitCode": 137}, Phase.EXITED, 137, Cause.NONE),
    ],
)
def test_state_of_a_container(
    state: dict[str, Any], phase: Phase, exit_code: int | None, cause: Cause
) -> None:
    seen = observation_of_inspect(REF, inspected(**state))
    assert (seen.phase, seen.exit_code, seen.cause) == (phase, exit_code, cause)


def test_kill_at_the_memory_limit_that_was_survived_is_told() -> None:
    assert "memory limit" in observation_of_inspect(REF, inspected(OOMKilled=True)).detail
    assert memory_cause(137, 0) == (Cause.NONE, "")


def test_times_are_utc_and_year_one_is_never() -> None:
    seen = observation_of_inspect(REF, inspected())
    assert seen.started_at == datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
    never = inspected(Status="created", StartedAt="0001-01-01T00:00:00Z", FinishedAt="")
    assert observation_of_inspect(REF, never).started_at is None


def test_start_noted_after_the_end_is_not_after_it() -> None:
    seen = observation_of_inspect(REF, inspected(StartedAt="2026-11-21T10:00:02Z"))
    assert seen.started_at == seen.finished_at == datetime(2026, 11, 21, 10, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("state", ["removing", "", "something new"])
def test_container_in_no_known_state_is_not_reported(state: str) -> None:
    assert observation_of_summary({"Labels": ref_labels(REF), "State": state}) is None


@pytest.mark.parametrize("labels", [None, {}, {"trainbox.instance": "i"}])
def test_stranger_in_a_list_is_passed_over(labels: dict[str, str] | None) -> None:
    assert observation_of_summary({"Labels": labels, "State": "running"}) is None


# --- the kernel's counters


@pytest.mark.parametrize(
    ("directory", "files", "parent", "expected"),
    [
        (
            "memory/docker/abc",
            {
                "memory.max_usage_in_bytes": "500\n",
                "memory.oom_control": "under_oom 0\noom_kill 2\n",
            },
            "",
            MemoryUse(500, 2),
        ),
        (
            "system.slice/docker-abc.scope",
            {"memory.peak": "700\n", "memory.events": "low 0\noom 1\noom_kill 1\n"},
            "",
            MemoryUse(700, 1),
        ),
        ("docker/abc", {"memory.events": "oom_kill 0\n"}, "", MemoryUse(None, 0)),
        ("jobs.slice/docker-abc.scope", {"memory.peak": "9"}, "jobs.slice", MemoryUse(9, 0)),
        ("memory/jobs/abc", {"memory.max_usage_in_bytes": "8"}, "/jobs", MemoryUse(8, 0)),
        ("docker/abc", {"memory.peak": "garbage", "memory.events": "garbage"}, "", None),
        ("docker/other", {"memory.peak": "9"}, "", None),
    ],
)
def test_memory_counters_of_both_versions(
    tmp_path: Path, directory: str, files: dict[str, str], parent: str, expected: MemoryUse | None
) -> None:
    folder = tmp_path / directory
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    assert memory_use("abc", parent, tmp_path) == expected


# --- what is promised

FULL = {
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "ServerVersion": "27.1.0",
    "OSType": "linux",
}
GUEST = Confinement(10001, 10001)


def level(name: str, info: dict[str, Any], config: Config | None = None, uid: int = 10001) -> Level:
    found = promises({**FULL, **info}, config or Config(), Confinement(uid, uid))
    return next(promise.level for promise in found if promise.name == name)


@pytest.mark.parametrize(
    ("name", "info", "expected"),
    [
        ("memory", {}, Level.ENFORCED),
        ("memory", {"SwapLimit": False}, Level.PARTIAL),
        ("memory", {"MemoryLimit": False, "SwapLimit": False}, Level.NONE),
        ("pids", {"PidsLimit": None}, Level.NONE),
        ("cpu", {"CpuCfsQuota": False}, Level.NONE),
        ("seccomp", {"SecurityOptions": []}, Level.NONE),
        ("seccomp", {}, Level.ENFORCED),
        ("disk", {}, Level.PARTIAL),
        ("network", {}, Level.ENFORCED),
    ],
)
def test_promise_follows_what_the_engine_reports(
    name: str, info: dict[str, Any], expected: Level
) -> None:
    assert level(name, info) is expected


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ({"ServerVersion": "20.10.24+dfsg1"}, "gaps"),
        ({"ServerVersion": "27.1.0"}, ""),
        ({"ServerVersion": "garbage"}, "gaps"),
    ],
)
def test_engines_own_profile_is_judged_by_its_version(info: dict[str, Any], told: str) -> None:
    found = promises({**FULL, **info}, Config(seccomp_profile="engine"), GUEST)
    how = next(promise.how for promise in found if promise.name == "seccomp")
    assert ("gaps" in how) is bool(told)
    assert "second filter" in how


def test_unconfined_engine_has_the_second_filter_alone() -> None:
    info = {"SecurityOptions": ["name=seccomp,profile=unconfined"]}
    assert level("seccomp", info, Config(seccomp_profile="engine")) is Level.PARTIAL


def test_engine_without_seccomp_has_none() -> None:
    info: dict[str, Any] = {"SecurityOptions": []}
    assert level("seccomp", info, Config(seccomp_profile="engine")) is Level.NONE


def test_root_guest_is_called_what_it_is() -> None:
    assert level("user", {}, uid=0) is Level.NONE


@pytest.mark.parametrize(
    ("info", "word"),
    [
        ({"OSType": "windows"}, "Linux"),
        ({"SecurityOptions": ["name=rootless"]}, "rootless"),
        ({"SecurityOptions": ["name=userns"], "DockerRootDir": "/srv/docker"}, "maps user ids"),
    ],
)
def test_engine_that_cannot_run_sandboxes_is_not_ok(info: dict[str, Any], word: str) -> None:
    assert word in trouble_of({**FULL, **info}, Config())


REMAPPED = {"SecurityOptions": ["name=userns"], "DockerRootDir": "/var/lib/docker/300000.400000"}


def test_engine_that_maps_user_ids_says_by_how_much() -> None:
    assert id_shift({**FULL, **REMAPPED}) == IdShift(300000, 400000)
    assert id_shift({**FULL, "DockerRootDir": "/srv/1.2"}) == IdShift(0, 0), "maps none"
    assert id_shift({**FULL, "SecurityOptions": ["name=userns"]}) is None


def test_remapped_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {p.name: p.how for p in promises({**FULL, **REMAPPED}, Config(), GUEST)}
    assert "310001:410001" in told["user"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert trouble_of({**FULL, **REMAPPED}, Config()) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in trouble_of({**FULL, **REMAPPED}, Config())


@pytest.mark.parametrize(
    ("settings", "seccomp_says", "runtime_says"),
    [
        ({}, "allow-list", "host's own kernel"),
        ({"seccomp_profile": "engine"}, "second filter", "host's own kernel"),
        ({"runtime": "runsc"}, "gVisor's own, and a second filter", "gVisor"),
        ({"runtime": "crun"}, "allow-list of what training code needs; a second", "crun"),
    ],
)
def test_layers_in_force_are_told(
    settings: dict[str, Any], seccomp_says: str, runtime_says: str
) -> None:
    told = {p.name: p.how for p in promises(FULL, Config(**settings), GUEST)}
    assert seccomp_says in told["seccomp"]
    assert runtime_says in told["runtime"]


def test_gvisor_counts_processes_in_part() -> None:
    assert level("pids", {}, Config(runtime="runsc")) is Level.PARTIAL


def test_unknown_runtime_is_not_ok() -> None:
    assert "runsc" in trouble_of({**FULL, "Runtimes": {"runc": {}}}, Config(runtime="runsc"))
    assert trouble_of({**FULL, "Runtimes": {"runsc": {}}}, Config(runtime="runsc")) == ""


@pytest.mark.parametrize(
    ("settings", "cpus", "memory"),
    [
        ({}, 8.0, 15 * GIB),
        ({"reserve_cpus": 1.5}, 6.5, 15 * GIB),
        ({"reserve_cpus": 99, "reserve_memory_bytes": 99 * GIB}, 4.0, 8 * GIB),
        ({"cpus": 2, "memory_bytes": GIB}, 2.0, GIB),
    ],
)
def test_budget(settings: dict[str, Any], cpus: float, memory: int) -> None:
    found = capacity_of(Config(**settings), {"NCPU": 8, "MemTotal": 16 * GIB})
    assert (found.cpus, found.memory_bytes) == (cpus, memory)


# --- settings


@pytest.mark.parametrize(
    "settings",
    [
        {"socket_url": "tcp://10.0.0.1:2375"},
        {"socket_url": "ssh://host"},
        {"socket_url": ""},
        {"sandbox_uid": 0},
        {"cpus": 0},
        {"memory_bytes": -1},
        {"call_deadline_s": 0},
        {"disk_poll_s": float("inf")},
        {"unknown": 1},
    ],
)
def test_bad_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Config(**settings)


# --- the filter


def profile_names() -> set[str]:
    document = json.loads(seccomp.profile(Config()))
    return {
        name
        for rule in document["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }


@pytest.mark.parametrize(
    "name",
    [
        *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register"),
        *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen"),
        *("fsmount", "fsconfig", "mount_setattr", "unshare", "setns", "clone", "clone3"),
        *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"),
        *("name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark"),
        *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
        *("reboot", "swapon", "swapoff", "acct", "quotactl", "iopl", "ioperm", "syslog"),
        *("settimeofday", "clock_settime", "adjtimex", "sethostname", "setdomainname"),
        *("modify_ldt", "personality", "socket", "lookup_dcookie", "uselib", "vhangup"),
        *("pidfd_getfd", "nfsservctl", "move_pages", "migrate_pages", "mbind"),
        *("mq_open", "inotify_init", "inotify_init1", "sysfs", "ustat", "memfd_secret"),
    ],
)
def test_call_no_training_code_needs_is_not_allowed(name: str) -> None:
    assert name not in profile_names()


def test_profile_denies_by_default_and_knows_no_32_bit() -> None:
    document = json.loads(seccomp.profile(Config()))
    assert document["defaultAction"] == "SCMP_ACT_ERRNO"
    assert all(not arch["subArchitectures"] for arch in document["archMap"])


def test_sockets_are_of_four_families() -> None:
    document = json.loads(seccomp.profile(Config()))
    families = {
        rule["args"][0]["value"] for rule in document["syscalls"] if rule["names"] == ["socket"]
    }
    assert families == {1, 2, 10, 16}


def test_netlink_is_for_routes_alone() -> None:
    document = json.loads(seccomp.profile(Config()))
    netlink = [
        rule["args"]
        for rule in document["syscalls"]
        if rule["names"] == ["socket"] and rule["args"][0]["value"] == 16
    ]
    assert [[(arg["index"], arg["value"]) for arg in args] for args in netlink] == [
        [(0, 16), (2, 0)]
    ]


def test_second_layer_takes_nothing_that_the_first_gives() -> None:
    """Calls the filter from inside refuses are not on the allow-list either: one table of reasons."""
    assert profile_names() & set(denied("x86_64")) == set()


def test_admins_profile_is_taken_and_must_be_json(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert json.loads(seccomp.profile(Config(seccomp_profile=path)))
    path.write_text("not json")
    with pytest.raises(ValidationError, match=r"seccomp_profile\n.*profile\.json is not JSON"):
        Config(seccomp_profile=path)
    path.unlink()
    with pytest.raises(
        ValidationError, match=r"seccomp_profile\n.*profile\.json cannot be read: No"
    ):
        Config(seccomp_profile=path)
    assert seccomp.profile(Config(seccomp_profile="engine")) == ""


@pytest.mark.parametrize("key", ["standby_max_age_s", "standby_idle_s", "log_burst_s"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_amounts_are_finite(key: str, value: str) -> None:
    with pytest.raises(ValidationError, match=key):
        Config(**{key: float(value)})


class TwoOfOne:
    """An engine with two images of one environment; the newest has lost its tag to the other."""

    async def image_list(self, labels: dict[str, str]) -> list[dict[str, Any]]:
        del labels
        told = {images.DIGEST: "d" * 64, images.CREATED: "2030-01-01T00:00:00+00:00"}
        tagged = ["trainbox/env-x:dddddddddddd"]
        return [
            {"Id": "sha256:bare", "Labels": told, "RepoTags": ["<none>:<none>"]},
            {"Id": "sha256:older", "Labels": told, "RepoTags": None},
            {"Id": "sha256:tagged", "Labels": told, "RepoTags": tagged},
        ]


async def test_of_twins_the_one_with_the_tag_is_the_environment(tmp_path: Path) -> None:
    settings = images.ImageSettings(cache_dir=tmp_path)
    builder = images.ImageBuilder(TwoOfOne(), settings)  # type: ignore[arg-type]
    assert [one.reference for one in await builder.built()] == ["sha256:tagged"]
    found = await builder._find("d" * 64)
    assert found is not None
    assert found.reference == "sha256:tagged"


# --- host paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    for name in ("code", "out", "scratch", "state"):
        (tmp_path / name).mkdir()
    for name in ("spec", "data.parquet", "events"):
        (tmp_path / name).write_text("x")
    (tmp_path / "data.parquet").chmod(0o440)
    (tmp_path / "spec").chmod(0o600)
    return Paths(
        spec=tmp_path / "spec",
        dataset=tmp_path / "data.parquet",
        code=tmp_path / "code",
        output=tmp_path / "out",
        scratch=tmp_path / "scratch",
        events=tmp_path / "events",
        log=tmp_path / "log",
        state=tmp_path / "state",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands files over; others share their uid")
def test_root_hands_over_what_is_written_and_opens_what_is_read(paths: Paths) -> None:
    fit_for_guest(paths, 4321, 4321)
    for path in (paths.output, paths.scratch, paths.events):
        assert path.stat().st_uid == 4321
    for path in (paths.spec, paths.dataset):
        assert path is not None
        assert (path.stat().st_uid, path.stat().st_gid) == (0, 4321)
        assert path.stat().st_mode & 0o777 == 0o440 if path == paths.dataset else 0o640
    assert paths.state.stat().st_uid == 0


@pytest.mark.parametrize("part", ["output", "scratch", "events", "spec", "code", "dataset"])
def test_link_in_place_of_a_path_is_refused(paths: Paths, part: str) -> None:
    path: Path = getattr(paths, part)
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))
    with pytest.raises(BackendRejected):
        fit_for_guest(paths, os.getuid(), os.getgid())


def test_directory_closed_to_the_guest_is_refused_with_the_cure(paths: Paths) -> None:
    paths.code.chmod(0o700)
    with pytest.raises(BackendRejected, match="closed to the sandbox") as caught:
        fit_for_guest(paths, 4321, 4321) if os.geteuid() == 0 else fit_for_guest(paths, 4321, 4321)
    assert "0755" in caught.value.hint


# --- threads


async def test_calls_beyond_the_threads_wait_and_meet_their_deadline() -> None:
    threads = CallThreads(1, "test")
    release = threading.Event()
    blocked = asyncio.create_task(threads.run(release.wait, 30))
    await asyncio.sleep(0.05)
    made = []
    with pytest.raises(TimeoutError):
        await threads.run(lambda: made.append(1), 0.05)
    release.set()
    assert await blocked
    assert await threads.run(lambda: 5, 5) == 5
    assert made == [], "a call whose caller has left is never made"
    threads.close()


async def test_errors_reach_the_caller() -> None:
    threads = CallThreads(2, "test")
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, 5)
    threads.close()


async def test_threads_are_few_and_are_daemons() -> None:
    threads = CallThreads(3, "few")
    await asyncio.gather(*(threads.run(lambda: None, 5) for _ in range(50)))
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("few")]
    assert len(mine) <= 3
    assert all(thread.daemon for thread in mine)
    threads.close()


async def test_burst_is_served_by_more_than_one_thread() -> None:
    threads = CallThreads(4, "burst")
    barrier = threading.Barrier(4, timeout=10)
    await asyncio.gather(*(threads.run(barrier.wait, 10) for _ in range(4)))
    threads.close()
