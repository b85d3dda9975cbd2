"""A start pays no look at a backend that was well a moment ago; whoever asks for news gets some."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from trainbox.engine import health
from trainbox.engine.health import Pulse
from trainbox_sdk.backends import Health
from trainbox_sdk.testing.fake_backend import FakeBackend


class Looked(FakeBackend):
    """Counts its probes, and is as well as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.probes = 0
        self.well = True

    async def probe(self) -> Health:
        self.probes += 1
        return Health(ok=self.well, detail="")


Clock = Callable[[float], None]


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The monotonic clock of the looks, turned on by hand."""
    now = [1000.0]

    class Time:
        @staticmethod
        def monotonic() -> float:
            return now[0]

    monkeypatch.setattr(health, "time", Time)
    monkeypatch.setattr(health, "FRESH_S", 2.0)

    def forward(by_s: float) -> None:
        now[0] += by_s

    return forward


@pytest.fixture
def backend() -> Looked:
    return Looked()


async def test_a_good_look_serves_starts_for_longer_than_people(
    backend: Looked, turn: Clock
) -> None:
    pulse = Pulse({"fake": backend})
    await pulse.recent_health("fake")
    turn(9.0)
    await pulse.recent_health("fake")
    assert backend.probes == 1
    await pulse.health("fake")
    assert backend.probes == 2
    turn(10.5)
    await pulse.recent_health("fake")
    assert backend.probes == 3


async def test_a_bad_look_serves_nobody_for_longer(backend: Looked, turn: Clock) -> None:
    pulse = Pulse({"fake": backend})
    backend.well = False
    assert not (await pulse.recent_health("fake")).ok
    turn(3.0)
    backend.well = True
    assert (await pulse.recent_health("fake")).ok


async def test_only_those_that_were_asked_about_are_looked_at(
    backend: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH_S", 0.001)
    idle = Looked()
    pulse = Pulse({"fake": backend, "idle": idle})
    await pulse.health("fake")
    running: asyncio.Task[Any] = asyncio.create_task(pulse.run())
    while backend.probes < 3:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert idle.probes == 0
