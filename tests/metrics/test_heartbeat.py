"""The watchdog is fed by what came back through loop and store, and by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from trainbox.engine.heartbeat import Heartbeat
from trainbox.recorder import Recorder
from trainbox.store import Store
from trainbox_sdk.errors import StorageFull, Unavailable


class Pings:
    """A store of which only the ping is asked; each answer is as a test sets it."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hang = asyncio.Event()
        self.hang.set()

    async def ping(self) -> None:
        await self.hang.wait()
        if self.error is not None:
            raise self.error


class Told(Recorder):
    def __init__(self) -> None:
        self.rounds: list[bool] = []
        self.lags: list[float] = []

    def heartbeat(self, *, alive: bool) -> None:
        self.rounds.append(alive)

    def loop_lag(self, seconds: float) -> None:
        self.lags.append(seconds)


class Bench:
    def __init__(self) -> None:
        self.store, self.told, self.fed = Pings(), Told(), 0
        self.heart = Heartbeat(self.store, 0.01, self.feed, self.told)

    def feed(self) -> None:
        self.fed += 1

    async def rounds(self, number: int) -> None:
        wanted = len(self.told.rounds) + number
        while len(self.told.rounds) < wanted:
            await asyncio.sleep(0.005)


@pytest.fixture
async def bench():
    bench = Bench()
    task = asyncio.create_task(bench.heart.run())
    yield bench
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_each_round_that_comes_back_feeds(bench: Bench) -> None:
    await bench.rounds(3)
    assert bench.fed >= 3 and all(bench.told.rounds)
    assert bench.heart.wrote_ago_s() is not None


async def test_a_store_that_hangs_starves_the_watchdog(bench: Bench) -> None:
    await bench.rounds(1)
    bench.store.hang.clear()
    await asyncio.sleep(0.05)  # the round under way may still come back
    fed = bench.fed
    await asyncio.sleep(0.2)  # twenty rounds' time
    assert bench.fed == fed
    bench.store.hang.set()
    await bench.rounds(1)
    assert bench.fed > fed


async def test_a_store_that_refuses_starves_the_watchdog(bench: Bench) -> None:
    await bench.rounds(1)
    bench.store.error = Unavailable("the job store is broken")
    await bench.rounds(2)
    fed = bench.fed
    await bench.rounds(3)
    assert bench.fed == fed and bench.told.rounds[-3:] == [False] * 3
    assert bench.heart.wrote_ago_s() is None


async def test_a_full_disk_is_no_reason_to_be_restarted(bench: Bench) -> None:
    bench.store.error = StorageFull("no room left")
    await bench.rounds(3)
    fed = bench.fed
    await bench.rounds(2)
    assert bench.fed > fed
    assert bench.heart.wrote_ago_s() is None  # readiness says no all the same


async def test_a_blocked_loop_shows_as_lag(bench: Bench, monkeypatch) -> None:
    import time

    await bench.rounds(1)
    time.sleep(0.7)  # blocks the loop past the next measurement
    while not bench.told.lags:
        await asyncio.sleep(0.01)
    assert max(bench.told.lags) > 0.1


async def test_the_real_store_is_really_written(tmp_path) -> None:
    store = await Store.open(tmp_path)
    told: list[Callable[[], None]] = []
    heart = Heartbeat(store, 5.0, lambda: told.append(None))
    before = await _pinged(store)
    await heart.beat()
    assert await _pinged(store) > before
    await store.close()
    with pytest.raises(Unavailable):
        await heart.beat()


async def _pinged(store: Store) -> int:
    def read(tx):
        row = tx.one("SELECT value FROM meta WHERE key = 'ping'")
        return int(row["value"]) if row else 0

    return await store._writer.write(read)
