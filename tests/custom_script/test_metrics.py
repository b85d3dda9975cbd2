"""Every way a script can say how it is doing arrives as an event, at a bounded rate."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from script_runs import Play

from trainbox_guest.kubeflow import report_status
from trainbox_guest.meter import KEPT, MOST_NAMES, THINNED, Meter
from trainbox_guest.metric_lines import LONGEST_LINE, MetricLines
from trainbox_sdk.testing.guest_runs import GuestRun


class Kept:
    """An emitter that keeps what it is given."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, Any, Any]] = []
        self.totals: list[float | None] = []
        self.nth: list[int | None] = []
        self.messages: list[str] = []
        self.fractions: list[tuple[float, float | None]] = []

    def metric(
        self, name: str, value: float, *, step: Any, epoch: Any, total_epochs: Any, nth: Any
    ) -> None:
        self.metrics.append((name, value, step, epoch))
        self.totals.append(total_epochs)
        self.nth.append(nth)

    def message(self, text: str, *, level: str = "info") -> None:
        self.messages.append(text)

    def progress(self, fraction: float, *, message: str = "", eta_s: float | None = None) -> None:
        self.fractions.append((fraction, eta_s))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def metrics(run: GuestRun) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in event.items() if name not in ("t", "at")}
        for event in run.events
        if event["t"] == "metric"
    ]


def lines(*chunks: bytes) -> Kept:
    kept = Kept()
    watched = MetricLines(Meter(kept, Clock()))  # type: ignore[arg-type]
    for chunk in chunks:
        watched.feed(chunk)
    return kept


def test_by_the_helper(play: Play) -> None:
    run = play(
        """
        from trainbox_guest import report
        for epoch in range(3):
            report.metrics(loss=1 / (epoch + 1), epoch=epoch, total_epochs=3)
            report.metric("rate", 0.5, step=epoch * 10)
        report.metrics({"odd name": 7})
        report.progress(0.5, eta_s=12)
        report.message("half way", level="info")
        """
    )
    assert run.exit_code == 0, run.log
    assert run.log == ""
    assert metrics(run)[:2] == [
        {"name": "loss", "value": 1.0, "epoch": 0, "total_epochs": 3},
        {"name": "rate", "value": 0.5, "step": 0},
    ]
    assert metrics(run)[-1] == {"name": "odd name", "value": 7.0}
    assert len(metrics(run)) == 7
    assert [(e["fraction"], e["eta_s"]) for e in run.events if e["t"] == "progress"] == [(0.5, 12)]
    assert "half way" in [e["text"] for e in run.events if e["t"] == "message"]
    assert run.result["metrics"] == {"loss": pytest.approx(1 / 3), "rate": 0.5, "odd name": 7.0}


def test_by_the_event_file_itself(play: Play) -> None:
    run = play(
        """
        import json, os, time
        with open(os.environ["TRAINBOX_EVENTS"], "a") as events:
            events.write(json.dumps({"t": "metric", "at": time.time(), "name": "a", "value": 2}) + "\\n")
        """
    )
    assert metrics(run) == [{"name": "a", "value": 2}]


def test_by_printed_lines_which_are_printed_as_they_are(play: Play) -> None:
    run = play(
        """
        import sys
        print('{"metric": {"loss": 0.5, "acc": 0.8}, "epoch": 1, "total_epochs": 4}')
        print('{"metric": "loss", "value": 0.25, "step": 20}')
        sys.stdout.buffer.write(b"\\xff\\xfe raw \\x1b[31m\\n")
        sys.stdout.write("no newline")
        sys.stdout.flush()
        print()
        print("é", end="")
        """
    )
    assert run.exit_code == 0
    assert metrics(run) == [
        {"name": "loss", "value": 0.5, "epoch": 1, "total_epochs": 4},
        {"name": "acc", "value": 0.8, "epoch": 1, "total_epochs": 4},
        {"name": "loss", "value": 0.25, "step": 20},
    ]
    assert [e["fraction"] for e in run.events if e["t"] == "progress"] == [0.25]
    assert run.log.splitlines() == [
        '{"metric": {"loss": 0.5, "acc": 0.8}, "epoch": 1, "total_epochs": 4}',
        '{"metric": "loss", "value": 0.25, "step": 20}',
        "\ufffd\ufffd raw \x1b[31m",
        "no newline",
        "é",
    ]


def test_standard_output_is_what_it_was(play: Play) -> None:
    facts = (
        "s.fileno(), s.isatty(), s.encoding, s.errors, s.name, s.mode, s.newlines, s.writable(), "
        "s.readable(), s.line_buffering, s.write_through, type(s).__name__, "
        "isinstance(s.buffer, io.RawIOBase), s.buffer.name, s.buffer.closefd"
    )
    run = play(
        f"""
        import io, sys
        a, b = [({facts}) for s in (sys.__stdout__, sys.stdout)]
        assert sys.stdout is not sys.__stdout__
        print(a == b or (a, b))
        """
    )
    assert (run.exit_code, run.log) == (0, "True\n")


def test_what_forked_processes_print_is_read_too(play: Play) -> None:
    run = play(
        """
        import multiprocessing

        def work(n):
            print('{"metric": {"worker_%d": %d}}' % (n, n), flush=True)

        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(work, [1, 2])
        """
    )
    assert sorted(each["name"] for each in metrics(run)) == ["worker_1", "worker_2"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"loss 0.1",
        b' {"metric": {"a": 1}}',
        b'{"metric": {"a": "x"}}',
        b'{"metric": {"a": true}}',
        b'{"metric": "a"}',
        b'{"metric": [1]}',
        b'{"metric": {"a": 1}',
        b'{"metric": {"a": 1' + b"0" * 400 + b"}}",
        b'["metric"]',
        b'{"metric' + b"[" * 5000,
        b'{"metric": {"a": 1}, "pad": "' + b"x" * LONGEST_LINE + b'"}',
        b'{"metric": {"' + b"a" * 300 + b'": 1}}',
    ],
)
def test_lines_that_are_none(line: bytes) -> None:
    good = b'{"metric": {"b": 1}}'
    assert lines(line + b"\n" + good + b"\n").metrics == [("b", 1.0, None, None)]


def test_many_lines_at_once_all_say_how_many_epochs_there_will_be() -> None:
    kept = lines(
        *(
            b'{"metric": {"loss": 1}, "epoch": %d, "total_epochs": 50}\n' % epoch
            for epoch in range(1, 51)
        )
    )
    assert kept.totals == [50] * 50
    odd = (b"-1", b"0", b"true", b'"9"', b"null", b"1e999", b"NaN")
    assert lines(
        *(b'{"metric": {"loss": 1}, "epoch": 1, "total_epochs": %b}\n' % total for total in odd)
    ).totals == [None] * len(odd)


@given(st.lists(st.integers(1, 40)), st.binary(max_size=60).filter(lambda b: b"\n" not in b))
def test_however_the_bytes_are_cut(cuts: list[int], noise: bytes) -> None:
    text = b"x" + noise + b'\n{"metric": {"a": 1}}\n' + b'{"metric": "b", "value": 2}\n'
    chunks, start = [], 0
    for cut in cuts:
        chunks.append(text[start : start + cut])
        start += cut
    assert [each[:2] for each in lines(*chunks, text[start:]).metrics] == [("a", 1.0), ("b", 2.0)]


class TestMeter:
    def test_a_long_curve_can_be_had_evenly_from_its_first_number_to_its_last(self) -> None:
        kept = Kept()
        meter = Meter(kept, Clock())  # type: ignore[arg-type]
        for step in range(10_000):
            meter.metrics({"loss": step}, step=step)
        meter.finish()
        meter.finish()
        steps = [each[2] for each in kept.metrics]
        assert steps[-1] == 9_999 == meter.last["loss"]
        assert kept.nth == [None] * (KEPT + 1) + steps[KEPT + 1 :]
        assert set(range(0, 10_000, 4)) <= set(steps)
        assert len(steps) < 2 * KEPT
        assert kept.messages == [THINNED]

    def test_names_share_what_is_kept(self) -> None:
        kept = Kept()
        meter = Meter(kept, Clock())  # type: ignore[arg-type]
        for step in range(5_000):
            meter.metrics({f"m{number}": step for number in range(20)}, step=step)
        assert len(kept.metrics) < 4 * KEPT
        for number in range(20):
            steps = {each[2] for each in kept.metrics if each[0] == f"m{number}"}
            assert set(range(0, 5_000, 32)) <= steps

    def test_a_metric_that_is_rare_is_kept_beside_one_that_is_not(self) -> None:
        kept = Kept()
        meter = Meter(kept, Clock())  # type: ignore[arg-type]
        for step in range(50_000):
            meter.metrics({"loss": step}, step=step)
            if step % 1000 == 999:
                meter.metrics({"accuracy": step}, epoch=step // 1000)
        assert [each[3] for each in kept.metrics if each[0] == "accuracy"] == [*range(50)]

    def test_what_was_held_back_keeps_the_total_that_was_said_with_it(self) -> None:
        kept = Kept()
        meter = Meter(kept, Clock())  # type: ignore[arg-type]
        for epoch in range(1, KEPT + 3):
            meter.metrics({"loss": 1.0}, epoch=epoch, total_epochs=KEPT + 2)
        meter.finish()
        assert kept.metrics[-1] == ("loss", 1.0, None, KEPT + 2)
        assert set(kept.totals) == {KEPT + 2}

    def test_names_are_bounded(self) -> None:
        kept = Kept()
        meter = Meter(kept, Clock())  # type: ignore[arg-type]
        for number in range(MOST_NAMES * 2):
            meter.metrics({f"m{number}": number})
        assert len(meter.last) == len(kept.metrics) == MOST_NAMES

    def test_progress_guesses_what_is_left_from_what_was_taken(self) -> None:
        kept, clock = Kept(), Clock()
        meter = Meter(kept, clock)  # type: ignore[arg-type]
        clock.now = 30.0
        meter.progress(0.25)
        meter.progress(0.26)
        meter.progress(1.0)
        assert kept.fractions == [(0.25, 90.0), (1.0, 0.0)]

    @pytest.mark.parametrize("value", [None, "x", [1], object(), 10**400])
    def test_what_is_no_number_is_left_out(self, value: object) -> None:
        kept = Kept()
        Meter(kept, Clock()).metrics({"a": value, "b": 1})  # type: ignore[arg-type]
        assert kept.metrics == [("b", 1.0, None, None)]


def test_without_trainbox_the_helper_prints(monkeypatch: Any, capsys: Any) -> None:
    from trainbox_guest import kubeflow, report

    monkeypatch.delenv("TRAINBOX_EVENTS", raising=False)
    monkeypatch.delenv(kubeflow.ENV_URL, raising=False)
    monkeypatch.setattr(report, "_meters", [])
    report.metrics(loss=0.5, epoch=1, total_epochs=3)
    report.progress(0.5)
    report.message("hello")
    assert kubeflow.listen() == ""
    assert json.loads(capsys.readouterr().out) == {
        "metric": {"loss": 0.5},
        "epoch": 1,
        "total_epochs": 3,
    }


class TestKubeflow:
    def test_transformers_own_callback(self, play: Play) -> None:
        """Its real callback, as a Trainer drives it; torch is not needed for that."""
        run = play(
            """
            import threading
            before = threading.active_count()
            from transformers.integrations.integration_utils import (
                KubeflowCallback, get_available_reporting_integrations,
            )
            from transformers import TrainerControl, TrainerState
            print("kubeflow" in get_available_reporting_integrations(), before)
            callback = KubeflowCallback()
            callback._MIN_UPDATE_INTERVAL = 0
            state = TrainerState(max_steps=10, global_step=4, epoch=1.5, is_world_process_zero=True)
            callback.on_train_begin(None, state, TrainerControl())
            callback.on_log(None, state, TrainerControl(), logs={"loss": 0.25, "note": "text"})
            callback.on_step_end(None, state, TrainerControl())
            callback.on_train_end(None, state, TrainerControl())
            """
        )
        assert run.exit_code == 0, run.log
        assert run.log.splitlines()[-1] == "True 1"
        assert {"name": "loss", "value": 0.25, "step": 4, "epoch": 1.5} in metrics(run)
        assert {each["name"] for each in metrics(run)} == {"loss"}
        fractions = [e["fraction"] for e in run.events if e["t"] == "progress"]
        assert fractions[0] == 0.0
        assert fractions[-1] == 1.0

    def test_a_plain_post_and_posts_that_are_none(self, play: Play) -> None:
        run = play(
            """
            import json, os, threading, urllib.error, urllib.request
            assert "KUBEFLOW_TRAINER_SERVER_URL" not in os.environ
            assert threading.active_count() == 1
            from trainbox_guest import kubeflow
            url = kubeflow.listen()
            assert url == kubeflow.listen() == os.environ["KUBEFLOW_TRAINER_SERVER_URL"]
            token = open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()

            def post(body, token=token):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                request = urllib.request.Request(url, data=data, headers=headers)
                try:
                    with urllib.request.urlopen(request, timeout=5) as response:
                        return response.status
                except urllib.error.HTTPError as error:
                    return error.code

            metrics = [{"name": "loss", "value": "0.5"}, {"name": "x"}, 7]
            status = {"progressPercentage": 40, "estimatedRemainingSeconds": 9, "metrics": metrics}
            print(post({"trainerStatus": status}), post({"trainerStatus": {}}), post({"a": 1}),
                  post([]), post(b"{"), post(b"[" * 9999), post({}, token="guess"),
                  post(b"x" * 99999))
            """
        )
        assert run.exit_code == 0, run.log
        assert run.log == "200 200 422 422 422 422 401 413\n"
        assert metrics(run) == [{"name": "loss", "value": 0.5}]
        (progress,) = [e for e in run.events if e["t"] == "progress"]
        assert (progress["fraction"], progress["eta_s"]) == (0.4, 9.0)

    @pytest.mark.parametrize(
        "status",
        [
            {"progressPercentage": "x", "metrics": {}},
            {"progressPercentage": None, "metrics": [{"name": 1, "value": 2}]},
            {"progressPercentage": float("nan"), "metrics": [{"name": "a", "value": "inf"}]},
            {"progressPercentage": [], "estimatedRemainingSeconds": {}},
        ],
    )
    def test_a_status_that_says_nothing(self, status: dict[str, Any]) -> None:
        kept = Kept()
        report_status(Meter(kept, Clock()), status)  # type: ignore[arg-type]
        assert (kept.metrics, kept.fractions) == ([], [])
