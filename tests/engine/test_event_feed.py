"""The feed hands over between memory and store without losing or doubling an event."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rooms import TRAINS, World

from trainbox.engine import events
from trainbox.engine.events import EventFeed
from trainbox_sdk.jobs import JobEvent, State
from trainbox_sdk.testing.fake_backend import FakeScript

AT = datetime(2026, 1, 1, tzinfo=UTC)


def event(seq: int, job_id: str = "a", kind: str = "message", **data) -> JobEvent:
    return JobEvent(seq, job_id, kind, AT, data)


class Log:
    """A store of events and the feed before it, which hears of a commit a little later."""

    def __init__(self, ring: int = 10) -> None:
        self.rows: list[JobEvent] = []
        self.reads: list[int] = []
        self.feed = EventFeed(self.read)
        self.feed._ring = deque(maxlen=ring)
        self._heard = 0

    async def read(self, after: int, job_id: str | None, limit: int) -> list[JobEvent]:
        self.reads.append(after)
        await asyncio.sleep(0)
        rows = [e for e in self.rows if e.seq > after and job_id in (None, e.job_id)]
        await asyncio.sleep(0)
        return rows[:limit]

    def commit(self, *rows: JobEvent) -> None:
        self.rows.extend(rows)

    def publish(self) -> None:
        news, self._heard = self.rows[self._heard :], len(self.rows)
        self.feed.publish(news)


async def never() -> bool:
    return False


@given(
    st.integers(1, 5),
    st.lists(
        st.one_of(
            st.tuples(st.just("commit"), st.lists(st.sampled_from("ab"), max_size=4)),
            st.tuples(st.just("publish"), st.none()),
            st.tuples(st.just("rest"), st.integers(1, 5)),
        ),
        max_size=30,
    ),
    st.sampled_from([None, "a"]),
    st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_every_listener_hears_everything_once_in_order(ring, script, job_id, already) -> None:
    async def play() -> None:
        log = Log(ring)
        log.commit(*(event(seq + 1, "ab"[seq % 2]) for seq in range(already)))
        log._heard = already  # from before this daemon started
        heard: list[int] = []

        async def listen(pause: int) -> None:
            async for each in log.feed.follow(0, job_id, never):
                heard.append(each.seq)
                for _ in range(pause):
                    await asyncio.sleep(0)

        listeners = [asyncio.create_task(listen(pause)) for pause in (0, 7)]
        for what, how in script:
            if what == "commit":
                log.commit(*(event(len(log.rows) + 1 + n, job) for n, job in enumerate(how)))
            elif what == "publish":
                log.publish()
            else:
                for _ in range(how):
                    await asyncio.sleep(0)
        log.publish()
        log.feed.close()
        await asyncio.gather(*listeners)
        wanted = [e.seq for e in log.rows if job_id in (None, e.job_id)]
        assert sorted(heard) == sorted(wanted * 2)

    asyncio.run(play())


async def test_order_holds_for_a_slow_listener_that_falls_off_the_ring() -> None:
    log = Log(ring=3)
    heard = []
    stream = log.feed.follow(0, None, never)
    for round_ in range(20):
        log.commit(*(event(round_ * 5 + n + 1) for n in range(5)))
        log.publish()
        heard.append((await anext(stream)).seq)
    log.feed.close()
    heard += [each.seq async for each in stream]
    assert heard == list(range(1, 101))


async def test_closing_ends_everyone_who_waits() -> None:
    log = Log()
    log.commit(event(1))
    log.publish()

    async def listen() -> list[int]:
        return [each.seq async for each in log.feed.follow(0, None, never)]

    listeners = [asyncio.create_task(listen()) for _ in range(20)]
    await asyncio.sleep(0.01)
    log.feed.close()
    assert await asyncio.gather(*listeners) == [[1]] * 20


async def test_a_listener_that_comes_after_the_close_gets_what_there_is() -> None:
    log = Log()
    log.commit(event(1))
    log.feed.close()
    assert [each.seq async for each in log.feed.follow(0, None, never)] == [1]


async def test_a_quiet_jobs_listener_goes_to_the_store_once() -> None:
    log = Log(ring=100)
    log.commit(*(event(seq) for seq in range(1, 11)))
    log._heard = 5  # the first five are older than this daemon
    log.publish()
    asked = []

    async def ended() -> bool:
        asked.append(True)
        return False

    async def listen() -> None:
        async for _ in log.feed.follow(0, "quiet", ended):
            pytest.fail("it said something")

    listener = asyncio.create_task(listen())
    for seq in range(11, 60):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.commit(event(seq))
        log.publish()
    log.feed.close()
    await listener
    assert len(log.reads) <= 2
    assert asked == [True]


async def test_more_than_a_batch_comes_from_the_store(monkeypatch) -> None:
    monkeypatch.setattr(events, "BATCH", 7)
    log = Log(ring=2)
    log.commit(*(event(seq) for seq in range(1, 41)))
    log.publish()

    async def over() -> bool:
        return True

    heard = [each.seq async for each in log.feed.follow(0, None, over)]
    assert heard == list(range(1, 41))


class TestAJobsStream:
    """Over a real store: the stream of a job ends with the job."""

    def follow(self, daemon, job_id: str, after: int = 0):
        async def ended() -> bool:
            return (await daemon.job(job_id)).state.terminal

        async def listen():
            return [event async for event in daemon.feed.follow(after, job_id, ended)]

        return asyncio.create_task(listen())

    async def test_ends_after_the_last_event(self, world: World) -> None:
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            heard = await self.follow(daemon, job_id)
            assert heard[-1].data["state"] == "succeeded"
            await daemon.ended(job_id)
            assert heard == await daemon.events(job_id)

    async def test_of_a_job_that_has_ended_is_all_there(self, world: World) -> None:
        async with world.daemon() as daemon:
            job = await daemon.ended(await daemon.submit())
            assert await self.follow(daemon, job.id) == await daemon.events(job.id)
            assert await self.follow(daemon, job.id, after=10**9) == []

    async def test_goes_on_over_a_retry(self, world: World) -> None:
        world.host.on(FakeScript(exit_code=1), TRAINS, role="step")
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.ended(job_id)
            daemon.loop.cancel()
            await daemon.retry(job_id)
            listener = self.follow(daemon, job_id)
            await asyncio.sleep(0.05)
            assert not listener.done()
            daemon.loop = asyncio.create_task(daemon.run())
            heard = await listener
            ends = [
                e.data["state"] for e in heard if e.data.get("state") in ("failed", "succeeded")
            ]
            assert ends == ["failed", "succeeded"]

    async def test_taken_up_after_a_restart_misses_nothing(self, world: World) -> None:
        world.host.default = FakeScript(run_for_s=None)
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
            listener = self.follow(daemon, job_id)
            await asyncio.sleep(0.02)
        first = await listener
        async with world.daemon() as daemon:
            await daemon.cancel(job_id)
            second = await self.follow(daemon, job_id, after=first[-1].seq)
            await daemon.ended(job_id)
            assert first + second == await daemon.events(job_id)
