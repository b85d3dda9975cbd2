"""What makes sandboxes so alike that one can stand by for another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trainbox_plugins.docker_backend import cgroups
from trainbox_plugins.docker_backend.policy import Confinement, sandbox_policy
from trainbox_plugins.docker_backend.standby_class import (
    binds_of,
    slot_body,
    standby_class,
    variables_of,
)
from trainbox_plugins.docker_backend.standby_notes import Note, Notes
from trainbox_sdk.backends import Limits, Paths, SandboxRef, SandboxSpec

HOST = Confinement(uid=10001, gid=10001, seccomp='{"syscalls": []}')
SPEC = SandboxSpec(
    ref=SandboxRef("i", "job_1", "att_1"),
    environment="sha256:" + "a" * 64,
    argv=("-m", "trainbox_guest.main"),
    paths=Paths(
        spec=Path("/s/spec.json"),
        dataset=Path("/s/data.parquet"),
        code=Path("/code/abc"),
        output=Path("/s/out"),
        scratch=Path("/s/scratch"),
        events=Path("/s/events.jsonl"),
        log=Path("/s/log"),
        state=Path("/s/state"),
        inputs=Path("/s/inputs"),
    ),
    limits=Limits(),
    deadline_at=datetime(2030, 1, 1, tzinfo=UTC),
    env={"EPOCHS": "3", "OMP_SCHEDULE": "static"},
    modules=("catboost",),
)
ELSEWHERE = replace(
    SPEC.paths,
    spec=Path("/t/spec.json"),
    dataset=None,
    output=Path("/t/out"),
    scratch=Path("/t/scratch"),
    events=Path("/t/events.jsonl"),
    inputs=None,
)


def key(spec: SandboxSpec, host: Confinement = HOST) -> str:
    return standby_class(spec, host).key


@pytest.mark.parametrize(
    "change",
    [
        {"ref": SandboxRef("i", "job_2", "att_2")},
        {"paths": ELSEWHERE},
        {"env": {"EPOCHS": "4", "NAME": "x", "OMP_SCHEDULE": "static"}},
        {"deadline_at": SPEC.deadline_at + timedelta(days=1)},
        {"limits": Limits(wall_s=1.0, grace_s=1.0, output_bytes=1)},
        {"disk_is_sized": True},
    ],
    ids=["ref", "files", "variables", "deadline", "engine limits", "disk"],
)
def test_what_comes_with_the_job_makes_no_other_class(change: dict[str, Any]) -> None:
    assert key(replace(SPEC, **change)) == key(SPEC)


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "sha256:" + "b" * 64},
        {"argv": ("-m", "other")},
        {"paths": replace(SPEC.paths, code=Path("/code/def"))},
        {"limits": Limits(cpus=2.0)},
        {"limits": Limits(memory_bytes=2**30)},
        {"limits": Limits(pids=7)},
        {"limits": Limits(open_files=64)},
        {"limits": Limits(file_bytes=1)},
        {"limits": Limits(tmp_bytes=1)},
        {"limits": Limits(shm_bytes=1)},
        {"limits": Limits(log_bytes=1)},
        {"trusted": False},
        {"modules": ()},
        {"env": {"EPOCHS": "3", "OMP_SCHEDULE": "dynamic"}},
        {"env": {"EPOCHS": "3", "OMP_SCHEDULE": "static", "PYTHONOPTIMIZE": "1"}},
    ],
    ids=str,
)
def test_what_a_sandbox_has_from_its_start_makes_another(change: dict[str, Any]) -> None:
    assert key(replace(SPEC, **change)) != key(SPEC)


@pytest.mark.parametrize(
    "host",
    [
        replace(HOST, uid=10002),
        replace(HOST, seccomp=""),
        replace(HOST, runtime="crun"),
        replace(HOST, cgroup_parent="/jobs"),
    ],
    ids=["uid", "seccomp", "runtime", "parent"],
)
def test_what_the_host_decides_makes_another(host: Confinement) -> None:
    assert key(SPEC, host) != key(SPEC)


def test_a_standby_is_confined_as_a_cold_sandbox() -> None:
    cold = sandbox_policy(SPEC, HOST)
    warm = slot_body(standby_class(SPEC, HOST), "i", "slot", "/slots/one/root")
    for name in ("Env", "Labels"):
        cold.pop(name)
        warm.pop(name)
    mounts = warm["HostConfig"].pop("Mounts")
    cold["HostConfig"].pop("Mounts")
    assert warm == cold
    assert mounts == [
        {
            "Type": "bind",
            "Source": "/slots/one/root",
            "Target": "/trainbox",
            "ReadOnly": True,
            "BindOptions": {"Propagation": "rslave"},
        }
    ]


def test_a_standby_knows_nothing_of_any_job() -> None:
    told = str(slot_body(standby_class(SPEC, HOST), "i", "slot", "/slots/one/root"))
    for word in ("job_1", "att_1", "EPOCHS", "/s/", "DATASET_PATH"):
        assert word not in told


def test_the_jobs_variables_are_all_that_a_cold_one_would_have() -> None:
    cold = variables_of(sandbox_policy(SPEC, HOST))
    warm = variables_of(slot_body(standby_class(SPEC, HOST), "i", "slot", "/root"))
    # The sandbox lays the job's over its own: nothing of its own may be left.
    assert {**warm, **cold} == cold


def test_every_file_of_a_job_is_mounted() -> None:
    given = {
        (bind.source, bind.target, bind.read_only) for bind in binds_of(sandbox_policy(SPEC, HOST))
    }
    assert given == {
        ("/s/spec.json", "/trainbox/in/spec.json", True),
        ("/code/abc", "/trainbox/in/code", True),
        ("/s/data.parquet", "/trainbox/in/data.parquet", True),
        ("/s/inputs", "/trainbox/in/inputs", True),
        ("/s/out", "/trainbox/out", False),
        ("/s/scratch", "/trainbox/scratch", False),
        ("/s/events.jsonl", "/trainbox/events.jsonl", False),
    }


# --- notes


def test_notes_survive_and_are_found_by_sandbox_and_by_slot(tmp_path: Path) -> None:
    note = Note(SPEC.ref, "slot", "container", 7)
    Notes(tmp_path).keep(note)
    again = Notes(tmp_path)
    assert again.get(SPEC.ref.name) == note
    assert again.of_slot("slot") == note
    gone = again.went(note)
    assert gone.went_at is not None
    assert Notes(tmp_path).get(SPEC.ref.name) == gone
    again.drop(SPEC.ref.name)
    assert list(Notes(tmp_path)) == []


def test_a_torn_note_is_passed_over(tmp_path: Path) -> None:
    Notes(tmp_path).keep(Note(SPEC.ref, "slot", "container", 7))
    (tmp_path / "torn.json").write_text('{"ref": {"inst')
    (tmp_path / "strange.json").write_text("[]")
    assert [note.slot for note in Notes(tmp_path)] == ["slot"]


def test_a_note_written_by_someone_else_is_seen_on_a_second_look(tmp_path: Path) -> None:
    mine, theirs = Notes(tmp_path), Notes(tmp_path)
    note = Note(SPEC.ref, "slot", "container", 7)
    mine.keep(note)
    theirs.keep(note)
    gone = theirs.went(note)
    assert mine.get(SPEC.ref.name) == note
    assert mine.look_again(SPEC.ref.name) == gone


# --- the CPU


def test_cpu_of_a_standby_counts_from_its_jobs_first_sample() -> None:
    cold, warm = cgroups.CpuMeter(whole=True), cgroups.CpuMeter(whole=False)
    for meter in (cold, warm):
        meter.sample(0.0, 2.0)
        meter.sample(0.1, 2.1)
        meter.sample(1.0, 4.0)
        meter.sample(2.0, 4.5)
    assert (cold.cpu_s, warm.cpu_s) == (4.5, 2.5)
    assert cold.peak_cpus == warm.peak_cpus == 2.0


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("docker/abc/cpu.stat", "usage_usec 1500000\nuser_usec 1\n"),
        ("system.slice/docker-abc.scope/cpu.stat", "usage_usec 1500000\n"),
        ("cpuacct/docker/abc/cpuacct.usage", "1500000000\n"),
    ],
    ids=["v2", "v2 systemd", "v1"],
)
def test_cpu_time_is_read_from_either_version(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert cgroups.cpu_used("abc", root=tmp_path) == 1.5
    assert cgroups.cpu_used("gone", root=tmp_path) is None


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("docker/abc/memory.stat", "anon 4096\nfile 1\n"),
        ("memory/docker/abc/memory.stat", "cache 1\ntotal_rss 4096\n"),
    ],
    ids=["v2", "v1"],
)
def test_memory_held_leaves_caches_out(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert cgroups.memory_held("abc", root=tmp_path) == 4096
