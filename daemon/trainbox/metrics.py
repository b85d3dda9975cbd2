"""Prometheus metrics: the one room that knows the library; made in ``app``, never a global.

Names follow the Prometheus conventions: ``trainbox_`` first, base units, ``_total`` for counters.
Labels are bounded: states, route templates, backends; never an id or a user's word. docs/metrics.md
lists them all, and a test compares it with what is exposed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trainbox.recorder import Recorder

CONTENT_TYPE = CONTENT_TYPE_LATEST
GAUGES_FRESH_S = 5.0
"""Seconds that what was read from the store is good for: scrapes of several servers share it."""

COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
CALL_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
WRITES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Gauges:
    """What is looked up when someone asks, not counted as it happens.

    Attributes:
        jobs: number of jobs by state.
        queue_oldest_s: age of the oldest queued step in seconds; 0 where none waits.
        free_bytes: free space under the state directory.
        wal_bytes: size of the store's write-ahead log.
        backup_age_s: seconds since the newest backup; None where there is none.
        draining: whether no new work is taken.
    """

    jobs: Mapping[str, int] = field(default_factory=dict)
    queue_oldest_s: float = 0.0
    free_bytes: int = 0
    wal_bytes: int = 0
    backup_age_s: float | None = None
    draining: bool = False


class Metrics(Recorder):
    """Counts what the rooms tell, and renders it.

    Args:
        version: of the daemon, for ``trainbox_build_info``.
    """

    def __init__(self, version: str) -> None:
        # One more series per counter and histogram that nobody here reads; a switch of the library.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._look: Callable[[], Awaitable[Gauges]] = _nothing_yet
        self._gauges = _GaugeCollector()
        self._looked_at = float("-inf")
        self._registry.register(self._gauges)
        ProcessCollector(registry=self._registry)
        self._info(version)
        self._of_store()
        self._of_jobs()
        self._of_work()
        self._of_http()

    def look_with(self, look: Callable[[], Awaitable[Gauges]]) -> None:
        """Have the gauges read with ``look``, at most every :data:`GAUGES_FRESH_S` seconds."""
        self._look = look

    async def render(self) -> bytes:
        """Return every metric in the text format of Prometheus.

        Gauges that cannot be read now are left out, and ``trainbox_scrape_errors_total`` grows.
        """
        if time.monotonic() - self._looked_at > GAUGES_FRESH_S:
            try:
                self._gauges.values = await self._look()
                self._looked_at = time.monotonic()
            except Exception:  # noqa: BLE001 - the counters must be seen when the store is broken
                self._gauges.values = None
                self._scrape_errors.inc()
        return generate_latest(self._registry)

    # -- told by the rooms ------------------------------------------------------------------------

    def committed(self, writes: int, seconds: float) -> None:  # noqa: D102 - see Recorder
        self._commit_size.observe(writes)
        self._commit_seconds.observe(seconds)

    def submitted(self, seconds: float) -> None:  # noqa: D102 - see Recorder
        self._submit_seconds.observe(seconds)

    def transition(self, before: str, after: str) -> None:  # noqa: D102 - see Recorder
        self._transitions.labels(before, after).inc()

    def adopted(self, result: str) -> None:  # noqa: D102 - see Recorder
        self._adoptions.labels(result).inc()

    def orphan_removed(self) -> None:  # noqa: D102 - see Recorder
        self._orphans.inc()

    def backend_call(self, backend: str, op: str, result: str, seconds: float) -> None:  # noqa: D102 - see Recorder
        self._backend_seconds.labels(backend, op, result).observe(seconds)

    def predicted(self, seconds: float, result: str) -> None:  # noqa: D102 - see Recorder
        self._predict_seconds.labels(result).observe(seconds)

    def predict_batch(self, rows: int) -> None:  # noqa: D102 - see Recorder
        self._predict_rows.observe(rows)

    def stream_opened(self) -> None:  # noqa: D102 - see Recorder
        self._streams.inc()

    def stream_closed(self) -> None:  # noqa: D102 - see Recorder
        self._streams.dec()

    def stream_dropped(self, reason: str) -> None:  # noqa: D102 - see Recorder
        self._dropped.labels(reason).inc()

    def webhook_delivery(self, result: str, seconds: float) -> None:  # noqa: D102 - see Recorder
        self._webhook_seconds.labels(result).observe(seconds)

    def heartbeat(self, *, alive: bool) -> None:  # noqa: D102 - see Recorder
        self._heartbeats.labels("ok" if alive else "failed").inc()

    def loop_lag(self, seconds: float) -> None:  # noqa: D102 - see Recorder
        self._lag.observe(seconds)

    # -- told by the HTTP layer -------------------------------------------------------------------

    def request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count an answered request.

        Args:
            method: one of HTTP's; ``other`` for an invented one.
            route: the route's template, or ``unmatched``.
            status: of the answer; its class is kept.
            seconds: from header to last byte; None for a stream, whose length says nothing.
        """
        # Kept by route: the library takes longer to find a series than to count in it.
        answered = (method, route, status // 100)
        counter = self._counted.get(answered)
        if counter is None:
            counter = self._requests.labels(method, route, f"{status // 100}xx")
            self._counted[answered] = counter
        counter.inc()
        if seconds is not None:
            histogram = self._timed.get((method, route))
            if histogram is None:
                histogram = self._timed[method, route] = self._request_seconds.labels(method, route)
            histogram.observe(seconds)

    # -- made once --------------------------------------------------------------------------------

    def _info(self, version: str) -> None:
        info = Info("trainbox_build", "Version of the daemon.", registry=self._registry)
        info.info({"version": version})

    def _of_store(self) -> None:
        self._submit_seconds = self._histogram(
            "submit_commit_seconds", "A submission's write, from asked to on disk.", COMMIT_S
        )
        self._commit_seconds = self._histogram(
            "commit_seconds", "One commit of the store, from BEGIN to on disk.", COMMIT_S
        )
        self._commit_size = self._histogram(
            "group_commit_size", "Writes that shared one commit.", WRITES
        )

    def _of_jobs(self) -> None:
        self._transitions = self._counter(
            "transitions", "Moves of steps between states.", "from", "to"
        )
        self._adoptions = self._counter("adoption", "Steps taken up after a restart.", "result")
        self._orphans = self._counter("orphans_removed", "Sandboxes no attempt owned, removed.")
        self._backend_seconds = self._histogram(
            "backend_call_seconds", "Calls of backends.", CALL_S, "backend", "op", "result"
        )

    def _of_work(self) -> None:
        self._predict_seconds = self._histogram(
            "predict_seconds", "Prediction requests, waiting included.", REQUEST_S, "result"
        )
        self._predict_rows = self._histogram(
            "predict_batch_rows", "Rows that shared one run of a model.", ROWS
        )
        self._streams = Gauge(
            "trainbox_stream_subscribers", "Open event streams.", registry=self._registry
        )
        self._dropped = self._counter("stream_dropped", "Streams cut by the daemon.", "reason")
        self._webhook_seconds = self._histogram(
            "webhook_delivery_seconds", "Attempts to deliver a webhook.", REQUEST_S, "result"
        )
        self._heartbeats = self._counter(
            "heartbeats",
            "Rounds through loop and store; each good one feeds the watchdog.",
            "result",
        )
        self._lag = self._histogram(
            "loop_lag_seconds", "How much too late the event loop woke a sleeper.", LAG_S
        )
        self._scrape_errors = self._counter("scrape_errors", "Scrapes that could not read gauges.")

    def _of_http(self) -> None:
        self._counted: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[tuple[str, str], Histogram] = {}
        self._requests = self._counter(
            "http_requests", "Answered requests.", "method", "route", "status_class"
        )
        self._request_seconds = self._histogram(
            "http_request_seconds",
            "Answered requests, streams left out.",
            REQUEST_S,
            "method",
            "route",
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"trainbox_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(
            f"trainbox_{name}", text, labels, buckets=tuple(buckets), registry=self._registry
        )


async def _nothing_yet() -> Gauges:
    return Gauges()


class _GaugeCollector(Collector):
    """Hands over the last look at the gauges."""

    def __init__(self) -> None:
        self.values: Gauges | None = None

    def collect(self) -> Iterator[Metric]:
        now = self.values
        jobs = GaugeMetricFamily("trainbox_jobs", "Jobs by state.", labels=["state"])
        for state, number in sorted(now.jobs.items() if now else ()):
            jobs.add_metric([state], number)
        yield jobs
        for name, text, value in self._plain():
            family = GaugeMetricFamily(f"trainbox_{name}", text)
            if value is not None:
                family.add_metric([], value)
            yield family

    def _plain(self) -> Iterator[tuple[str, str, float | None]]:
        now = self.values
        yield (
            "queue_oldest_seconds",
            "Age of the oldest queued step.",
            now.queue_oldest_s if now else None,
        )
        yield (
            "free_bytes",
            "Free space under the state directory.",
            now.free_bytes if now else None,
        )
        yield "wal_bytes", "Size of the write-ahead log.", now.wal_bytes if now else None
        yield "backup_age_seconds", "Age of the newest backup.", now.backup_age_s if now else None
        yield "draining", "1 while no new work is taken.", now.draining if now else None
