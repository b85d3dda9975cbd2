"""A search that is killed and started again: nothing is lost, nothing is done twice."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest
from jobs import prepare, read_events, spec_of, start
from mixed_data import mixed
from optuna.trial import TrialState
from trainbox_guest import protocol

from trainbox_plugins.tabular.guest import study as study_module
from trainbox_plugins.tabular.guest.settings import Settings

TRIALS = 7


def launch(folder, **params) -> subprocess.Popen:
    """Start the guest in a process of its own, as a backend does."""
    spec = folder / "spec.json"
    # One thread: two of them wait for each other where the machine is busy.
    spec.write_text(dataclasses.replace(spec_of("regression", params), cpus=1.0).to_json())
    environment = {
        **os.environ,
        protocol.ENV_SPEC: str(spec),
        protocol.ENV_DATASET: str(folder / "data.parquet"),
        protocol.ENV_OUTPUT: str(folder / "out"),
        protocol.ENV_SCRATCH: str(folder / "scratch"),
        protocol.ENV_EVENTS: str(folder / "events.jsonl"),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    command = [sys.executable, "-u", "-m", "trainbox_guest.main"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def scored(folder) -> list[dict]:
    path = folder / "events.jsonl"
    events = [e for e in read_events(path) if e] if path.exists() else []
    return [e for e in events if e["t"] == "metric" and e["name"] == "trial_score"]


def wait_for_trials(folder, process, count) -> None:
    deadline = time.monotonic() + 60
    while len(scored(folder)) < count:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def journal(folder) -> optuna.Study:
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "scratch" / study_module.JOURNAL))
    )
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_and_resumed(tmp_path, number):
    prepare(tmp_path, mixed(400))
    params = {"trials": TRIALS, "max_iterations": 120}
    process = launch(tmp_path, **params)
    wait_for_trials(tmp_path, process, 2)
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    process.stderr.close()
    before = [t for t in journal(tmp_path).trials if t.state == TrialState.COMPLETE]
    assert 2 <= len(before) < TRIALS, "the kill came too late: the test would prove nothing"
    assert not (tmp_path / "out" / "result.json").exists()

    again = launch(tmp_path, **params)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors.decode()
    after = journal(tmp_path).trials
    done = [t for t in after if t.state == TrialState.COMPLETE]
    assert len(done) == TRIALS
    assert not [t for t in after if t.state == TrialState.RUNNING]
    for old, new in zip(before, done, strict=False):
        assert (old.number, old.params, old.value, old.datetime_complete) == (
            new.number, new.params, new.value, new.datetime_complete,
        )  # fmt: skip
    assert len({json.dumps(t.params, sort_keys=True) for t in done}) == TRIALS
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["search"]["trials"]) == TRIALS
    assert [t["score"] for t in result["search"]["trials"]] == [t.value for t in done]
    # Every trial was scored; one whose score was told as the kill came may not have been reported.
    steps = [e["step"] for e in scored(tmp_path)]
    assert sorted(set(steps)) == steps
    assert set(steps) >= set(range(TRIALS)) - {len(before) - 1}


def settings(**changes) -> Settings:
    return Settings.from_params("regression", {"target": "y", **changes})


def open_study(folder, **changes) -> optuna.Study:
    return study_module.open_study(folder, settings(**changes), {"id": 1}, {"depth": 6})


def test_cut_off_trial_fails_and_its_parameters_are_tried_first(tmp_path):
    study = open_study(tmp_path)
    first = study.ask()
    assert first.suggest_int("depth", 4, 8) == 6
    study.tell(first, 1.0)
    second = study.ask()
    depth = second.suggest_int("depth", 4, 8)

    study = open_study(tmp_path)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "WAITING"]
    retry = study.ask()
    assert retry.suggest_int("depth", 4, 8) == depth
    assert study_module.DEFAULTS not in retry.user_attrs


def test_cut_off_defaults_stay_the_defaults(tmp_path):
    study = open_study(tmp_path)
    assert study_module.DEFAULTS in study.ask().user_attrs
    study = open_study(tmp_path)
    retry = study.ask()
    assert retry.user_attrs[study_module.DEFAULTS] is True
    assert retry.suggest_int("depth", 4, 8) == 6


def test_cut_off_before_any_parameter_was_drawn(tmp_path):
    study = open_study(tmp_path)
    study.tell(study.ask(), 1.0)
    study.ask()
    study = open_study(tmp_path)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL"]


def test_resumed_sampler_draws_new_parameters(tmp_path):
    def draw(study):
        trial = study.ask()
        value = trial.suggest_float("x", 0, 1)
        study.tell(trial, value)
        return value

    study = open_study(tmp_path)
    drawn = [draw(study) for _ in range(4)]
    study = open_study(tmp_path)
    drawn += [draw(study) for _ in range(4)]
    assert len(set(drawn)) == 8


@pytest.mark.parametrize("garbage", [b'{"op_code": 4, "wor', b"\x00\x00", b"{"])
def test_half_written_line_is_cut(tmp_path, garbage):
    study = open_study(tmp_path)
    study.tell(study.ask(), 3.0)
    path = tmp_path / study_module.JOURNAL
    with path.open("ab") as file:
        file.write(garbage)
    study = open_study(tmp_path)
    study.tell(study.ask(), 4.0)
    assert [t.value for t in open_study(tmp_path).trials] == [3.0, 4.0]


def test_lock_of_a_dead_attempt_does_not_block(tmp_path):
    open_study(tmp_path)
    path = tmp_path / study_module.JOURNAL
    path.with_name(path.name + ".lock").symlink_to(path)
    study = open_study(tmp_path)
    study.tell(study.ask(), 1.0)
    assert len(study_module.finished(study)) == 1


def test_other_data_or_settings_begin_anew(tmp_path):
    study = open_study(tmp_path)
    study.tell(study.ask(), 1.0)
    other = study_module.open_study(tmp_path, settings(), {"id": 2}, {"depth": 6})
    assert not study_module.finished(other)
    assert len(study_module.finished(open_study(tmp_path))) == 1


def test_finished_job_asked_again_for_more_trials_goes_on(tmp_path):
    prepare(tmp_path, mixed(120))
    first = start(tmp_path, "regression", trials=2)
    second = start(tmp_path, "regression", trials=4)
    scores = [[t["score"] for t in d.result["search"]["trials"]] for d in (first, second)]
    assert len(scores[1]) == 4
    assert scores[1][:2] == scores[0]
    assert "resuming: 2 of 4 trials are done" in second.messages


def test_bad_data_ends_with_the_data_exit_code(tmp_path):
    prepare(tmp_path, mixed(50))
    process = launch(tmp_path, target="nothing")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == protocol.EXIT_DATA
    assert b"unknown_column" in errors
    (failure,) = [e for e in read_events(tmp_path / "events.jsonl") if e["t"] == "failure"]
    assert failure["code"] == "unknown_column"
