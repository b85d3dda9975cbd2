"""A random walk over the real store, with kills, against a model that fits on one page."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trainbox import states
from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import GuestEvent, NewJob, Outcome
from trainbox_sdk.engine import JobFilter
from trainbox_sdk.errors import Conflict
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import StepPlan

AT = datetime(2026, 1, 1, tzinfo=UTC)
SHAPES = [(("a", ()),), (("a", ()), ("b", ("a",))), (("a", ()), ("b", ()), ("c", ("a", "b")))]
pick = st.integers(0, 10**6)


class Walk(RuleBasedStateMachine):
    """Each rule does one thing to the store and says what must have come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.do = self.runner.run
        self.jobs: dict[str, str] = {}
        self.ended: dict[str, State] = {}
        self.reported: dict[str, list[int]] = {}
        self.heard: list[int] = []

    @initialize()
    def open(self) -> None:
        self.store = self.do(Store.open(self.folder / "state"))
        self.store.subscribe(lambda events: self.heard.extend(e.seq for e in events))

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def steps(self):
        return self.do(self.store.jobs.live_steps())

    @rule(shape=st.sampled_from(SHAPES), key=st.integers(0, 20))
    def submit(self, shape, key):
        plans = tuple(StepPlan(name, "m:f", (), "e", after=after) for name, after in shape)
        name = f"{key}"
        new = NewJob(new_id("job"), "ann", JobSpec("t"), Resources(), "b", plans, name, name)
        inserted = self.do(self.store.jobs.insert(new, audit="walk"))
        assert inserted.replayed == (name in self.jobs)
        assert self.jobs.setdefault(name, inserted.job.id) == inserted.job.id

    @rule(which=pick)
    def begin(self, which):
        steps = self.steps()
        if steps:
            step = steps[which % len(steps)]
            begun = self.do(self.store.jobs.begin_attempt(step.id, deadline_at=None))
            assert (begun is not None) == (step.state is State.QUEUED and step.after_done)
            assert begun is None or begun.attempt == step.attempt + 1

    @rule(which=pick, after=st.sampled_from(State), stale=st.booleans())
    def move(self, which, after, stale):
        steps = [step for step in self.steps() if step.state is not State.QUEUED]
        if not steps:
            return
        step = steps[which % len(steps)]
        seen = replace(step, attempt_id="att_gone") if stale else step
        move = self.store.jobs.transition(seen, step.state, after, Outcome(reason_code="walk"))
        try:
            moved = self.do(move)
        except states.IllegalTransition:
            assert after not in states.TRANSITIONS[step.state]
        else:
            assert (moved is None) == stale
            assert moved is None or moved.state is after

    @rule(which=pick, count=st.integers(1, 3), again=st.booleans())
    def report(self, which, count, again):
        steps = [step for step in self.steps() if step.state is State.RUNNING]
        if not steps:
            return
        step = steps[which % len(steps)]
        numbers = range(step.events_offset, step.events_offset + count)
        events = [GuestEvent("message", AT, {"n": n, "of": step.attempt_id}) for n in numbers]
        for _ in range(2 if again else 1):
            append = self.store.jobs.append_guest_events(step, events, step.events_offset + count)
            assert self.do(append)
        self.reported.setdefault(step.attempt_id, []).extend(numbers)

    @precondition(lambda self: self.jobs)
    @rule(which=pick, retry=st.booleans())
    def cancel_or_retry(self, which, retry):
        job_id = list(self.jobs.values())[which % len(self.jobs)]
        before = self.do(self.store.jobs.get(job_id)).state
        try:
            if retry:
                after = self.do(self.store.jobs.retry(job_id, who="walk"))
                assert before.terminal and before is not State.SUCCEEDED
                assert after.state is State.QUEUED
                self.ended.pop(job_id, None)
            else:
                active = self.do(self.store.jobs.request_cancel(job_id, who="walk"))
                assert not before.terminal
                assert all(step.cancel_requested for step in active)
        except Conflict:
            assert before.terminal if not retry else before not in self.ended_badly()

    @staticmethod
    def ended_badly():
        return {State.FAILED, State.CANCELLED, State.INTERRUPTED}

    @rule(clean=st.booleans())
    def restart(self, clean):
        """Stop; or go on with the files as a kill at this moment would have left them."""
        if clean:
            self.do(self.store.close())
        else:
            copy = self.folder / "copy"
            shutil.copytree(self.folder / "state", copy)
            self.do(self.store.close())
            shutil.rmtree(self.folder / "state")
            copy.rename(self.folder / "state")
        self.open()

    @invariant()
    def promises(self):
        jobs = self.do(self.store.jobs.list(JobFilter(limit=500), None)).items
        assert {job.id for job in jobs} == set(self.jobs.values())
        for job in jobs:
            speaking = [s.state for s in job.steps if s.reason_code != "upstream"]
            assert job.state is states.job_state(speaking)
            assert (job.finished_at is not None) == job.state.terminal
            assert 0 <= job.progress <= 1
            if job.state.terminal:
                # One end each, until someone asks for a retry.
                assert self.ended.setdefault(job.id, job.state) is job.state
                assert all(step.state.terminal for step in job.steps)
            for step in job.steps:
                live = [a for a in step.attempts if not a.state.terminal]
                assert len(live) == (step.state in states.ACTIVE)
                assert [a.number for a in step.attempts] == list(range(1, len(step.attempts) + 1))
        self.check_events()

    def check_events(self):
        events = self.do(self.store.events.after(0, job_id=None, limit=10**6))
        assert [event.seq for event in events] == self.heard
        found: dict[str, list[int]] = {}
        for event in events:
            if "of" in event.data:
                found.setdefault(event.data["of"], []).append(event.data["n"])
        assert found == self.reported


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
