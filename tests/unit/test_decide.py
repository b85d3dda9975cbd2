"""Which queued steps start: never more than fits, in order, and everyone is told why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trainbox.engine.scheduler import decide
from trainbox.store.records import StepRecord
from trainbox_sdk.backends import Capacity
from trainbox_sdk.jobs import Resources, State
from trainbox_sdk.tasks import StepPlan

PLAN = StepPlan("train", "a.b:c", ("a",), "plain")
THEN = datetime(2026, 1, 1, tzinfo=UTC)
GIB = 1024**3


def a_step(
    number: int,
    *,
    cpus: float = 1.0,
    memory: int = GIB,
    gpus: int = 0,
    priority: int = 0,
    age: int = 0,
    backend: str = "docker",
    state: State = State.QUEUED,
) -> StepRecord:
    return StepRecord(
        id=f"stp_{number:03}",
        job_id=f"job_{number:03}",
        plan=PLAN,
        state=state,
        task="t",
        job_name="",
        owner="ann",
        dataset_id=None,
        resources=Resources(cpus, memory, gpus),
        backend=backend,
        priority=priority,
        queued_at=THEN + timedelta(seconds=age),
        reason_code="",
    )


backends = st.sampled_from(["docker", "process", "away", "gone"])
needs = {
    "cpus": st.sampled_from([0.1, 0.5, 1.0, 2.0, 9.0]),
    "memory": st.sampled_from([GIB // 4, GIB, 3 * GIB]),
    "gpus": st.sampled_from([0, 0, 0, 1]),
}
queued_steps = st.lists(
    st.fixed_dictionaries(
        {**needs, "priority": st.integers(-2, 2), "age": st.integers(0, 5), "backend": backends}
    ),
    max_size=12,
).map(lambda many: [a_step(n, **one) for n, one in enumerate(many)])
active_steps = st.lists(st.fixed_dictionaries({**needs, "backend": backends}), max_size=5).map(
    lambda many: [a_step(100 + n, state=State.RUNNING, **one) for n, one in enumerate(many)]
)
capacities = st.fixed_dictionaries(
    {
        "docker": st.builds(
            Capacity, st.sampled_from([0.5, 2.0, 4.0]), st.just(4 * GIB), st.integers(0, 1)
        ),
        "process": st.just(Capacity(1.0, GIB, 0, queues=True)),
        "away": st.just("it is away"),
    }
)


@given(queued_steps, active_steps, capacities)
def test_no_backend_is_given_more_than_it_has(queued, active, capacities) -> None:
    decision = decide(queued, active, capacities)
    for name, room in capacities.items():
        if isinstance(room, str) or room.queues:
            continue
        held = [s.resources for s in active if s.backend == name]
        new = [s.resources for s in decision.start if s.backend == name]
        if new:
            assert sum(r.cpus for r in held + new) <= room.cpus + 1e-6
            assert sum(r.memory_bytes for r in held + new) <= room.memory_bytes
            assert sum(r.gpus for r in held + new) <= room.gpus


@given(queued_steps, active_steps, capacities)
def test_everyone_either_starts_or_is_told_why_not(queued, active, capacities) -> None:
    decision = decide(queued, active, capacities)
    told = [wait.step.id for wait in decision.wait]
    started = [step.id for step in decision.start]
    assert sorted(told + started) == sorted(step.id for step in queued)
    assert all(wait.code and wait.sentence for wait in decision.wait)
    assert not [step for step in decision.start if step.backend in ("away", "gone")]


@given(queued_steps, active_steps, capacities)
def test_nobody_overtakes_on_a_backend(queued, active, capacities) -> None:
    decision = decide(queued, active, capacities)
    never = {wait.step.id for wait in decision.wait if wait.code == "never_fits"}
    for name in capacities:
        line = [s for s in queued if s.backend == name and s.id not in never]
        line.sort(key=lambda step: (-step.priority, step.queued_at, step.id))
        started = [step.id for step in decision.start if step.backend == name]
        assert started == [step.id for step in line[: len(started)]]


@given(queued_steps, active_steps, capacities)
def test_what_could_start_does(queued, active, capacities) -> None:
    decision = decide(queued, active, capacities)
    again = decide(
        [wait.step for wait in decision.wait],
        [*active, *(a_running(step) for step in decision.start)],
        capacities,
    )
    assert again.start == ()


def a_running(step: StepRecord) -> StepRecord:
    from dataclasses import replace

    return replace(step, state=State.PREPARING)


def test_the_order_it_is_given_in_does_not_matter() -> None:
    steps = [a_step(n, priority=n % 3, age=n % 2) for n in range(10)]
    room = {"docker": Capacity(4.0, 64 * GIB)}
    assert decide(steps, [], room) == decide(steps[::-1], [], room)


def test_ten_tenths_of_a_core_fit_one_core() -> None:
    steps = [a_step(n, cpus=0.1) for n in range(10)]
    assert len(decide(steps, [], {"docker": Capacity(1.0, 64 * GIB)}).start) == 10


def test_a_blocked_backend_does_not_block_another() -> None:
    queued = [
        a_step(1, cpus=2),
        a_step(2, backend="process", cpus=1),
    ]
    room = {"docker": Capacity(2.0, 8 * GIB), "process": Capacity(1.0, GIB)}
    busy = [a_step(9, state=State.VERIFYING)]
    decision = decide(queued, busy, room)
    assert [step.id for step in decision.start] == ["stp_002"]
    assert decision.wait[0].sentence == "waits for 2 CPUs (free: 1)"


def test_every_shortage_is_named() -> None:
    wanted = a_step(1, cpus=4, memory=8 * GIB, gpus=2)
    busy = [a_step(9, cpus=3, memory=5 * GIB, gpus=1, state=State.RUNNING)]
    (wait,) = decide([wanted], busy, {"docker": Capacity(4.0, 8 * GIB, 2)}).wait
    assert wait.sentence == (
        "waits for 4 CPUs (free: 1) and 8.00 GiB of memory (free: 3.00) and 2 GPUs (free: 1)"
    )
