"""How a running daemon is seen and told from outside: gauges, watchdog, level of its log."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from trainbox import logs
from trainbox.engine.draining import Drain
from trainbox.engine.heartbeat import Heartbeat
from trainbox.metrics import Gauges
from trainbox.recorder import Recorder
from trainbox.service_manager import feed_watchdog, notify, notify_reloading, watchdog_s
from trainbox.store import Store
from trainbox_sdk.jobs import JobEvent

log = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
"""Longest time between two rounds: readiness calls a write fresh for ten seconds."""


def gauges(store: Store, state_dir: Path, drain: Drain) -> Callable[[], Awaitable[Gauges]]:
    """Return what reads the gauges of a daemon."""

    async def look() -> Gauges:
        seen = await store.statistics.look()
        usage = await asyncio.to_thread(shutil.disk_usage, state_dir)
        return Gauges(
            jobs={state.value: number for state, number in seen.jobs.items()},
            queue_oldest_s=seen.queue_oldest_s,
            free_bytes=usage.free,
            wal_bytes=seen.wal_bytes,
            backup_age_s=seen.backup_age_s,
            draining=drain.draining,
        )

    return look


def count_transitions(recorder: Recorder) -> Callable[[Sequence[JobEvent]], None]:
    """Return a listener that tells of each step that moved."""

    def hear(events: Sequence[JobEvent]) -> None:
        for event in events:
            if event.kind == "state":
                recorder.transition(event.data.get("from", ""), event.data["state"])

    return hear


def make_heartbeat(store: Store, recorder: Recorder) -> Heartbeat:
    """Return the rounds of this daemon: three in each interval of the watchdog, if one watches."""
    interval_s = watchdog_s()
    every_s = HEARTBEAT_S if interval_s is None else min(HEARTBEAT_S, interval_s / 3)
    return Heartbeat(store, every_s, feed_watchdog, recorder)


def reload_on_hangup(read_level: Callable[[], str]) -> None:
    """Read the log's level again on SIGHUP; nothing else is reloaded.

    Args:
        read_level: reads the settings; its error is logged, and the old level stays.
    """

    def reload() -> None:
        notify_reloading()
        try:
            level = read_level()
        except Exception:
            # A typing error in a file must not stop a daemon that runs.
            log.exception("settings not reloaded")
        else:
            logs.set_level(level)
            log.warning("settings reloaded", extra={"log_level": level})
        finally:
            notify("READY=1")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
