"""Every metric is documented, told by a room, bounded in its labels, and readable by a parser."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from trainbox.metrics import Gauges, Metrics
from trainbox.recorder import Recorder

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/metrics.md").read_text()
RULES = yaml.safe_load((ROOT / "systemd/prometheus-rules.yml").read_text())
ROW = re.compile(r"^\| `(trainbox_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
TOLD = [
    ("committed", (3, 0.01), {}),
    ("submitted", (0.01,), {}),
    ("transition", ("queued", "preparing"), {}),
    ("adopted", ("adopted",), {}),
    ("orphan_removed", (), {}),
    ("backend_call", ("docker", "probe", "ok", 0.1), {}),
    ("predicted", (0.01, "ok"), {}),
    ("predict_batch", (64,), {}),
    ("stream_opened", (), {}),
    ("stream_closed", (), {}),
    ("stream_dropped", ("stopping",), {}),
    ("webhook_delivery", ("ok", 0.2), {}),
    ("heartbeat", (), {"alive": True}),
    ("loop_lag", (0.001,), {}),
]


async def nothing() -> Gauges:
    return Gauges()


async def full() -> Gauges:
    return Gauges({"queued": 2}, 1.5, 10, 20, 30.0, draining=True)


def told(look=full) -> Metrics:
    metrics = Metrics("1.2.3")
    metrics.look_with(look)
    for name, arguments, more in TOLD:
        getattr(metrics, name)(*arguments, **more)
    metrics.request("GET", "/v1/jobs/{id}", 200, 0.01)
    return metrics


async def families(metrics: Metrics) -> dict:
    text = (await metrics.render()).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def full_name(family) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


async def test_documented_is_exposed_with_its_labels() -> None:
    exposed = {}
    for family in (await families(told())).values():
        if family.name.startswith("trainbox_"):
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            exposed[full_name(family)] = (family.type, labels)
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE)
    }
    assert documented == exposed


async def test_the_page_names_what_the_process_exposes() -> None:
    standard = {full_name(f) for f in (await families(told())).values()} - set(
        name for name, _, _ in ROW.findall(PAGE)
    )
    assert standard == set(re.findall(r"`(process_\w+)`", PAGE))


async def test_alerts_ask_for_metrics_that_exist_and_are_on_the_page() -> None:
    (group,) = RULES["groups"]
    exposed = await families(told())
    samples = {s.name for f in exposed.values() for s in f.samples}
    for rule in group["rules"]:
        asked = set(re.findall(r"trainbox_\w+", rule["expr"]))
        assert asked <= samples, rule["alert"]
        assert f"| {rule['alert']} |" in PAGE


def test_whatever_the_rooms_tell_is_counted() -> None:
    methods = {name for name, _ in inspect.getmembers(Recorder, inspect.isfunction)}
    assert {name for name, _, _ in TOLD} == methods
    assert not {name for name in methods if getattr(Metrics, name) is getattr(Recorder, name)}
    assert not [m for n, a, k in TOLD if (m := getattr(Recorder(), n)(*a, **k)) is not None]


async def test_what_was_told_is_what_is_read() -> None:
    samples = {
        (s.name, tuple(s.labels.values())): s.value
        for f in (await families(told())).values()
        for s in f.samples
    }
    assert samples["trainbox_transitions_total", ("queued", "preparing")] == 1
    assert samples["trainbox_group_commit_size_sum", ()] == 3
    assert samples["trainbox_http_requests_total", ("GET", "/v1/jobs/{id}", "2xx")] == 1
    assert samples["trainbox_stream_subscribers", ()] == 0
    assert samples["trainbox_jobs", ("queued",)] == 2
    assert samples["trainbox_queue_oldest_seconds", ()] == 1.5
    assert samples["trainbox_backup_age_seconds", ()] == 30
    assert samples["trainbox_draining", ()] == 1


async def test_a_store_that_cannot_be_read_leaves_the_counters_readable() -> None:
    async def broken() -> Gauges:
        raise RuntimeError("no database")

    metrics = told(broken)
    seen = await families(metrics)
    assert seen["trainbox_jobs"].samples == []
    assert seen["trainbox_wal_bytes"].samples == []
    assert [s.value for s in seen["trainbox_scrape_errors"].samples] == [1]
    assert seen["trainbox_transitions"].samples != []


async def test_a_stream_is_counted_and_not_timed() -> None:
    metrics = told(nothing)
    metrics.request("GET", "/v1/events", 200, None)
    text = (await metrics.render()).decode()
    assert 'requests_total{method="GET",route="/v1/events",status_class="2xx"} 1.0' in text
    assert 'request_seconds_count{method="GET",route="/v1/events"}' not in text


def test_two_daemons_in_one_process_do_not_share_numbers() -> None:
    Metrics("1"), Metrics("2")  # a global registry would refuse the second
