"""How long is left, told all the way to the end."""

from __future__ import annotations

import pytest
from jobs import read_events, train_job
from mixed_data import mixed
from trainbox_guest.emit import Emitter

from trainbox_plugins.tabular.guest import pace, search
from trainbox_plugins.tabular.guest.pace import FitProgress, estimate_rest


def test_fits_take_time_by_their_rows():
    rest = estimate_rest(6.0, rows_per_trial=600, dev_rows=800, rows=1000)
    assert (rest.holdout_s, rest.final_s) == pytest.approx((8.0, 10.0))
    assert rest.export_s == pytest.approx(3.0)
    assert rest.total_s == pytest.approx(21.0)


def test_nothing_known_still_leaves_the_export():
    assert estimate_rest(0.0, rows_per_trial=0, dev_rows=1, rows=1).total_s > 0


def test_a_fit_tells_its_trees_once_a_second_and_never_goes_back(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    path = tmp_path / "events.jsonl"
    emit = Emitter(str(path))
    watch = FitProgress(emit, "fitting", (0.5, 0.9), trees=10, expected_s=7.0, after_s=3.0)
    for seconds, tree in [(0.5, 1), (2.0, 5), (2.5, 6), (4.0, 2), (8.0, 8), (12.0, 11)]:
        now[0] = 100.0 + seconds
        watch(tree)
    told = [(round(e["fraction"], 6), e["eta_s"]) for e in read_events(path)]
    # The fourth counts from one again: the six trees before still stand.
    assert told == [(0.5, 10.0), (0.7, 5.0), (0.74, 5.667), (0.82, 5.0), (0.9, 3.0)]


def test_no_stage_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(pace, "PROGRESS_EVERY_S", 0.0)
    done = train_job(tmp_path, mixed(150), "regression", trials=2, max_iterations=8)
    progress = [e for e in done.events if e["t"] == "progress"]
    fractions = [e["fraction"] for e in progress]
    assert fractions == sorted(fractions)
    for stage in ("measuring on the holdout", "training on all rows"):
        assert len([e for e in progress if e["message"].startswith(stage + ", tree")]) > 1
    second = [e for e in progress if e["message"].startswith("trial 2, fold 1")]
    assert second
    assert all(e["eta_s"] > 0 for e in second)
