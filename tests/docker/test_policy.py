"""The sandbox policy: every field has a test that says what it is for, and a golden file holds all.

A change of the policy is a change of ``golden/create_body.json``, to be read in review.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox_plugins.backend_kit.command import MAX_ENV_BYTES, MAX_ENV_VALUE_BYTES
from trainbox_plugins.docker_backend.policy import (
    Confinement,
    ref_labels,
    ref_of,
    sandbox_policy,
)
from trainbox_sdk.backends import Limits, Paths, SandboxRef, SandboxSpec
from trainbox_sdk.errors import BackendRejected

GOLDEN = Path(__file__).parent / "golden" / "create_body.json"
IMAGE = "sha256:" + "ab" * 32
GUEST = Confinement(uid=10001, gid=10001)
SPEC = SandboxSpec(
    ref=SandboxRef("inst_1", "job_1", "att_1"),
    environment=IMAGE,
    argv=("-m", "trainbox_guest.main"),
    paths=Paths(
        spec=Path("/s/spec.json"),
        dataset=Path("/s/data/train.parquet"),
        code=Path("/s/code"),
        output=Path("/s/out"),
        scratch=Path("/s/scratch"),
        events=Path("/s/events.jsonl"),
        log=Path("/s/log"),
        state=Path("/s/state"),
        inputs=Path("/s/inputs"),
    ),
    limits=Limits(),
    deadline_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    env={"SEED": "1"},
)
MIB, GIB = 1024**2, 1024**3

FIELDS: dict[str, tuple[Any, str]] = {
    "Image": (IMAGE, "an id: a tag could be moved under a running queue"),
    "Entrypoint": ([], "the image's own entry point never runs"),
    "Cmd": (
        ["/opt/trainbox/bin/python", "-u", "-m", "trainbox_guest.main"],
        "a list: no shell; an absolute interpreter: no search path",
    ),
    "User": ("10001:10001", "not root: /dev is closed, su gives nothing"),
    "WorkingDir": ("/tmp", "never from a request: CVE-2024-21626"),
    "Hostname": ("sandbox", "says nothing of the host or of the container's id"),
    "AttachStdin": (False, "nothing to read"),
    "OpenStdin": (False, "nothing to read"),
    "Tty": (False, "a terminal would merge the streams and translate newlines"),
    "StopSignal": ("SIGTERM", "an image cannot choose a signal that nobody handles"),
    "Healthcheck": (
        {"Test": ["NONE"]},
        "an image's health check would be an exec into the sandbox",
    ),
    "HostConfig.CapDrop": (["ALL"], "an empty bounding set: no setuid file can regain one"),
    "HostConfig.CapAdd": ([], "and none comes back"),
    "HostConfig.SecurityOpt": (["no-new-privileges:true"], "setuid bits do nothing"),
    "HostConfig.Privileged": (False, "devices, seccomp and masks stay"),
    "HostConfig.UsernsMode": ("", "never the host's"),
    "HostConfig.PidMode": ("", "own PID namespace: no other process is seen, all die together"),
    "HostConfig.IpcMode": ("private", "no shared memory with others"),
    "HostConfig.UTSMode": ("", "never the host's"),
    "HostConfig.CgroupnsMode": ("private", "cgroup paths of the host are not seen"),
    "HostConfig.Devices": ([], "no device"),
    "HostConfig.DeviceCgroupRules": ([], "and none can be made"),
    "HostConfig.NetworkMode": ("none", "no interface, no route: no data leaves"),
    "HostConfig.Links": ([], "no neighbour"),
    "HostConfig.ExtraHosts": ([], "no name of the host"),
    "HostConfig.Dns": ([], "no resolver"),
    "HostConfig.PublishAllPorts": (False, "no listener"),
    "HostConfig.ReadonlyRootfs": (
        True,
        "the image cannot be changed; /var/tmp and /run are closed",
    ),
    "HostConfig.MaskedPaths": (
        [
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
            "/proc/diskstats",
            "/proc/partitions",
            "/sys/block",
            "/sys/class/block",
            "/sys/dev/block",
            "/sys/devices/virtual/block",
            "/dev/mqueue",
        ],
        "the engine's own, which a list replaces; block devices, whose backing files name other "
        "jobs' steps; message queues, which are counted per user",
    ),
    "HostConfig.Binds": ([], "a bind string makes a missing source as root and stumbles over ':'"),
    "HostConfig.VolumesFrom": ([], "no volume of a neighbour"),
    "HostConfig.Tmpfs": (
        {"/tmp": f"rw,nosuid,nodev,noexec,size={64 * MIB},nr_inodes=16384,mode=1777"},
        "bounded in bytes and in files, and its pages count as memory",
    ),
    "HostConfig.Memory": (2 * GIB, "the kernel kills at the limit"),
    "HostConfig.MemorySwap": (2 * GIB, "equal to memory: no swap"),
    "HostConfig.NanoCpus": (1_000_000_000, "a quota: neighbours keep theirs"),
    "HostConfig.PidsLimit": (256, "a fork bomb ends here"),
    "HostConfig.ShmSize": (64 * MIB, "shared memory is bounded"),
    "HostConfig.Ulimits": (
        [
            {"Name": "nofile", "Soft": 1024, "Hard": 1024},
            {"Name": "fsize", "Soft": 2 * GIB, "Hard": 2 * GIB},
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "memlock", "Soft": 65536, "Hard": 65536},
            {"Name": "msgqueue", "Soft": 0, "Hard": 0},
        ],
        "descriptors, one file's size, no core dump on the host, no message queue; no nproc: it "
        "counts over all sandboxes of the user",
    ),
    "HostConfig.OomScoreAdj": (500, "a host out of memory takes sandboxes before the daemon"),
    "HostConfig.OomKillDisable": (False, "at its limit it dies instead of hanging"),
    "HostConfig.Init": (True, "zombies are reaped and SIGTERM works"),
    "HostConfig.RestartPolicy": (
        {"Name": "no", "MaximumRetryCount": 0},
        "a step never runs twice by itself",
    ),
    "HostConfig.AutoRemove": (False, "exit code and output outlive a daemon that is away"),
    "HostConfig.LogConfig": (
        {"Type": "json-file", "Config": {"max-size": str(16 * MIB), "max-file": "2"}},
        "the engine's copy of the output is bounded",
    ),
    "Labels": (
        {
            "trainbox.instance": "inst_1",
            "trainbox.job": "job_1",
            "trainbox.attempt": "att_1",
            "trainbox.role": "step",
            "trainbox.deadline": "2030-01-02T03:04:05+00:00",
            "trainbox.spec": "",
        },
        "what it is found by after a restart, until when, and what it runs",
    ),
}
"""Path into the body: what stands there for :data:`SPEC`, and what it is for."""

SHOWN_BELOW = {"HostConfig.Mounts", "Env", "HostConfig"}


def body(spec: SandboxSpec = SPEC, guest: Confinement = GUEST) -> dict[str, Any]:
    return sandbox_policy(spec, guest)


def at(document: dict[str, Any], path: str) -> Any:
    for key in path.split("."):
        document = document[key]
    return document


@pytest.mark.parametrize("path", FIELDS)
def test_field(path: str) -> None:
    expected, purpose = FIELDS[path]
    found = at(body(), path)
    if path == "Labels":
        assert len(found["trainbox.spec"]) == 64
        found, expected = ({**labels, "trainbox.spec": ""} for labels in (found, expected))
    assert found == expected, purpose


def test_no_field_is_untested() -> None:
    top = body()
    paths = {key for key in top if key != "HostConfig"} | {
        f"HostConfig.{key}" for key in top["HostConfig"]
    }
    assert paths - FIELDS.keys() - SHOWN_BELOW == set()


def test_golden_file_holds_the_whole_body() -> None:
    assert body() == json.loads(GOLDEN.read_text())


def test_equal_specs_give_equal_bodies() -> None:
    assert body() == body(replace(SPEC))


# --- mounts


def mounts(spec: SandboxSpec = SPEC) -> dict[str, dict[str, Any]]:
    return {mount["Target"]: mount for mount in body(spec)["HostConfig"]["Mounts"]}


def test_mounts_are_these_and_no_others() -> None:
    assert {target: (m["Source"], m["ReadOnly"]) for target, m in mounts().items()} == {
        "/trainbox/in/spec.json": ("/s/spec.json", True),
        "/trainbox/in/code": ("/s/code", True),
        "/trainbox/in/data.parquet": ("/s/data/train.parquet", True),
        "/trainbox/in/inputs": ("/s/inputs", True),
        "/trainbox/out": ("/s/out", False),
        "/trainbox/scratch": ("/s/scratch", False),
        "/trainbox/events.jsonl": ("/s/events.jsonl", False),
    }


def test_mounts_are_binds_that_do_not_propagate() -> None:
    for mount in mounts().values():
        assert mount["Type"] == "bind"
        assert mount["BindOptions"] == {"Propagation": "rprivate"}


@pytest.mark.parametrize("private", ["/s/log", "/s/state"])
def test_log_and_notes_of_the_daemon_are_not_mounted(private: str) -> None:
    assert private not in {mount["Source"] for mount in mounts().values()}


def test_without_data_there_is_no_data_mount() -> None:
    spec = replace(SPEC, paths=replace(SPEC.paths, dataset=None))
    assert not any("data" in target for target in mounts(spec))
    assert not any(variable.startswith("DATASET_PATH=") for variable in body(spec)["Env"])


# --- environment


def test_environment_is_the_contract_and_the_extras() -> None:
    env = dict(variable.partition("=")[::2] for variable in body()["Env"])
    assert env["SEED"] == "1"
    assert env["DATASET_PATH"] == "/trainbox/in/data.parquet"
    assert env["MODEL_OUTPUT_PATH"] == "/trainbox/out"
    assert env["TRAINBOX_SPEC"] == "/trainbox/in/spec.json"
    assert env["TRAINBOX_EVENTS"] == "/trainbox/events.jsonl"
    assert env["TRAINBOX_SCRATCH"] == "/trainbox/scratch"
    assert env["PYTHONPATH"] == "/trainbox/in/code"


def test_host_variables_never_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    before = body()["Env"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("SEED", "from the host")
    assert body()["Env"] == before


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("LD_PRELOAD", "/trainbox/out/evil.so", "loader"),
        ("LD_LIBRARY_PATH", "/trainbox/out", "loader"),
        ("LD_AUDIT", "/trainbox/out/evil.so", "loader"),
        ("GLIBC_TUNABLES", "glibc.malloc.mxfast=1", "loader"),
        ("A=B", "x", "name"),
        ("", "x", "name"),
        ("1A", "x", "name"),
        ("A B", "x", "name"),
        ("A\n", "x", "name"),
        ("A", "x\0y", "null"),
        ("A", "\ud800", "text"),
        ("A", "x" * (MAX_ENV_VALUE_BYTES + 1), "longer"),
        ("A", "\u00e4" * (MAX_ENV_VALUE_BYTES // 2 + 1), "longer"),
    ],
)
def test_variable_the_engine_cannot_carry_is_refused(name: str, value: str, word: str) -> None:
    with pytest.raises(BackendRejected, match=word):
        body(replace(SPEC, env={name: value}))


def test_environment_as_a_whole_is_bounded() -> None:
    count = MAX_ENV_BYTES // MAX_ENV_VALUE_BYTES + 1
    env = {f"A{number}": "x" * MAX_ENV_VALUE_BYTES for number in range(count)}
    with pytest.raises(BackendRejected, match="environment is larger"):
        body(replace(SPEC, env=env))


# --- what varies


@pytest.mark.parametrize(
    "image", ["latest", "trainbox/tabular:1", "sha256:abc", "sha256:" + "AB" * 32, "", "a" * 64]
)
def test_anything_but_an_image_id_is_refused(image: str) -> None:
    with pytest.raises(BackendRejected, match="not an image id") as caught:
        body(replace(SPEC, environment=image))
    assert caught.value.code == "unknown_environment"


@pytest.mark.parametrize("argv", [(), ("-c", "a\0b")])
def test_argv_that_cannot_be_run_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(BackendRejected):
        body(replace(SPEC, argv=argv))


@pytest.mark.parametrize(
    ("limit", "value", "path", "expected"),
    [
        ("cpus", 0.5, "HostConfig.NanoCpus", 500_000_000),
        ("cpus", 0.01, "HostConfig.NanoCpus", 10_000_000),
        ("memory_bytes", 96 * MIB, "HostConfig.Memory", 96 * MIB),
        ("memory_bytes", 96 * MIB, "HostConfig.MemorySwap", 96 * MIB),
        ("pids", 7, "HostConfig.PidsLimit", 7),
        ("shm_bytes", 5, "HostConfig.ShmSize", 5),
    ],
)
def test_limits_reach_the_engine(limit: str, value: Any, path: str, expected: int) -> None:
    assert at(body(replace(SPEC, limits=Limits(**{limit: value}))), path) == expected


def test_limits_of_files_reach_the_engine() -> None:
    limits = Limits(open_files=99, file_bytes=1234, tmp_bytes=77, tmp_inodes=5, log_bytes=1000)
    host = body(replace(SPEC, limits=limits))["HostConfig"]
    soft = {item["Name"]: (item["Soft"], item["Hard"]) for item in host["Ulimits"]}
    assert soft["nofile"] == (99, 99)
    assert soft["fsize"] == (1234, 1234)
    assert "size=77,nr_inodes=5" in host["Tmpfs"]["/tmp"]
    assert host["LogConfig"]["Config"]["max-size"] == "2000"


def test_gvisor_gets_room_for_its_own_processes() -> None:
    limits = Limits(pids=100)
    found = body(replace(SPEC, limits=limits), replace(GUEST, runtime="runsc-kvm"))
    assert found["HostConfig"]["PidsLimit"] == 328
    assert (
        body(replace(SPEC, limits=limits), replace(GUEST, runtime="crun"))["HostConfig"][
            "PidsLimit"
        ]
        == 100
    )


def test_second_filter_is_asked_for_by_the_backend_alone() -> None:
    asked = replace(GUEST, filter_inside="AAAA")
    assert "TRAINBOX_FILTER=AAAA" in body(replace(SPEC, env={"TRAINBOX_FILTER": ""}), asked)["Env"]
    assert not any(item.startswith("TRAINBOX_FILTER") for item in body()["Env"])


def test_gpus_come_by_id_and_only_when_given() -> None:
    assert "DeviceRequests" not in body()["HostConfig"]
    guest = replace(GUEST, gpu_devices=("GPU-1", "GPU-2"))
    given = body(replace(SPEC, gpus=2), guest)
    assert given["HostConfig"]["DeviceRequests"] == [
        {"Driver": "nvidia", "DeviceIDs": ["GPU-1", "GPU-2"], "Capabilities": [["gpu"]]}
    ]
    assert given["Labels"]["trainbox.gpus"] == "GPU-1,GPU-2"


def test_admins_settings_reach_the_engine() -> None:
    guest = replace(GUEST, uid=1, gid=2, seccomp='{"a": 1}', runtime="runsc", cgroup_parent="/jobs")
    host = body(SPEC, guest)
    assert host["User"] == "1:2"
    assert host["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true", 'seccomp={"a": 1}']
    assert host["HostConfig"]["Runtime"] == "runsc"
    assert host["HostConfig"]["CgroupParent"] == "/jobs"


@given(
    env=st.dictionaries(st.text(max_size=12), st.text(max_size=40), max_size=4),
    argv=st.lists(st.text(max_size=20), min_size=1, max_size=4),
)
def test_no_request_changes_anything_but_its_own_words(
    env: dict[str, str], argv: list[str]
) -> None:
    try:
        found = body(replace(SPEC, env=env, argv=tuple(argv)))
    except BackendRejected:
        return
    plain = body()
    assert found["HostConfig"] == plain["HostConfig"]
    assert found["User"] == plain["User"]
    assert found["Cmd"] == ["/opt/trainbox/bin/python", "-u", *argv]
    assert {variable for variable in plain["Env"] if not variable.startswith("SEED=")} <= set(
        found["Env"]
    )


def test_labels_give_the_reference_back() -> None:
    assert ref_of(body()["Labels"]) == SPEC.ref
    assert ref_of(ref_labels(SPEC.ref)) == SPEC.ref


@pytest.mark.parametrize("missing", ["instance", "job", "attempt", "role"])
def test_container_of_a_stranger_has_no_reference(missing: str) -> None:
    labels = ref_labels(SPEC.ref)
    del labels[f"trainbox.{missing}"]
    assert ref_of(labels) is None


def test_spec_digest_tells_specs_apart() -> None:
    digests = {
        body(spec)["Labels"]["trainbox.spec"]
        for spec in (
            SPEC,
            replace(SPEC, argv=("-c", "1")),
            replace(SPEC, env={}),
            replace(SPEC, limits=Limits(pids=9)),
            replace(SPEC, environment="sha256:" + "cd" * 32),
        )
    }
    assert len(digests) == 5
