"""What a job goes through, alone and as a graph of steps, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json

import pytest
from points import Points, watch
from rooms import MODEL, REPORT, TRAINS, Drawn, World, a_step

from trainbox_sdk.errors import Conflict
from trainbox_sdk.jobs import State
from trainbox_sdk.tasks import Output
from trainbox_sdk.testing.fake_backend import FakeScript

WORDS = Output("words.txt")
FAILS = FakeScript(exit_code=1)


def leaves(**files: bytes) -> FakeScript:
    return FakeScript(outputs={f"{name}.txt": content for name, content in files.items()})


def on_step(name: str):
    return lambda spec: json.loads(spec.paths.spec.read_text())["job"].get("step") == name


async def test_a_job_runs_and_leaves_a_model(world: World) -> None:
    async with world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit(name="churn"))
        assert (job.state, job.reason) == (State.SUCCEEDED, "")
        model = await daemon.store.models.find("churn", version=None, alias=None)
        assert model is not None
        assert model.metrics == {"rmse": 0.5}
        assert daemon.blobs.path(model.digest).read_bytes() == b"onnx"
        assert await daemon.states(job.id) == [
            "queued",
            "preparing",
            "running",
            "collecting",
            "verifying",
            "succeeded",
        ]


async def test_a_job_without_checked_outputs_is_not_verified(world: World) -> None:
    world.install(Drawn("plain", a_step(outputs=[Output("model.onnx")])))
    async with world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit("plain"))
        assert job.state is State.SUCCEEDED
        assert "verifying" not in await daemon.states(job.id)
        assert job.model_id is None


async def test_an_optional_output_may_be_absent(world: World) -> None:
    world.install(Drawn("plain", a_step(outputs=[MODEL, Output("plot.png", required=False)])))
    async with world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit("plain"))
        assert job.state is State.SUCCEEDED
        assert [a.name for a in await daemon.store.jobs.artifacts(job.id)] == ["model.onnx"]


async def test_undeclared_files_stay_behind(world: World) -> None:
    world.host.default = FakeScript(
        outputs={"model.onnx": b"onnx", "extra": b"x", "new\nline": b"x"}, result=REPORT
    )
    async with world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit())
        assert job.state is State.SUCCEEDED
        assert [a.name for a in await daemon.store.jobs.artifacts(job.id)] == ["model.onnx"]


async def test_the_dataset_is_handed_in_and_named(world: World) -> None:
    world.host.default = FakeScript(run_for_s=None)
    async with world.daemon() as daemon:
        dataset = await daemon.put_dataset(name="rows")
        job_id = await daemon.submit(dataset_id="rows")
        await daemon.until(job_id, State.RUNNING)
        (sandbox,) = daemon.host.sandboxes.values()
        assert sandbox.spec.paths.dataset.read_bytes() == b"rows of rows"
        facts = json.loads(sandbox.spec.paths.spec.read_text())["job"]
        assert facts["dataset_digest"] == dataset.digest
        assert facts["job_id"] == job_id
        await daemon.cancel(job_id)
        await daemon.ended(job_id)


class TestGraph:
    """Three steps in a row: split, train, report."""

    @pytest.fixture
    def graph(self, world: World) -> World:
        world.install(
            Drawn(
                "graph",
                a_step("split", outputs=[WORDS]),
                a_step("train", after=["split"], outputs=[WORDS]),
                a_step("report", after=["split", "train"], outputs=[WORDS]),
            )
        )
        for name in ("split", "train", "report"):
            world.host.on(leaves(words=name.encode()), when=on_step(name))
        return world

    async def test_outputs_of_earlier_steps_arrive_as_inputs(self, graph: World) -> None:
        seen: dict[str, bytes] = {}

        def look(spec) -> bool:
            if on_step("report")(spec):
                seen.update({path.name: path.read_bytes() for path in spec.paths.inputs.iterdir()})
            return False

        graph.host.on(FAILS, when=look)
        async with graph.daemon() as daemon:
            job = await daemon.ended(await daemon.submit("graph"))
            assert job.state is State.SUCCEEDED
            assert seen == {"split.words.txt": b"split", "train.words.txt": b"train"}
            assert len(await daemon.store.jobs.artifacts(job.id)) == 3

    async def test_a_failure_cancels_what_needed_it(self, graph: World) -> None:
        graph.host.on(FAILS, when=on_step("train"))
        async with graph.daemon() as daemon:
            job = await daemon.ended(await daemon.submit("graph"))
            assert (job.state, job.reason_code) == (State.FAILED, "exit_1")
            assert [(step.name, step.state, step.reason_code) for step in job.steps] == [
                ("split", State.SUCCEEDED, ""),
                ("train", State.FAILED, "exit_1"),
                ("report", State.CANCELLED, "upstream"),
            ]
            assert not any(on_step("report")(s.spec) for s in daemon.host.sandboxes.values())

    async def test_a_retry_runs_only_what_did_not_succeed(self, graph: World) -> None:
        graph.host.on(FAILS, leaves(words=b"train"), when=on_step("train"))
        async with graph.daemon() as daemon:
            job_id = await daemon.submit("graph")
            await daemon.ended(job_id)
            await daemon.retry(job_id)
            job = await daemon.ended(job_id)
            assert job.state is State.SUCCEEDED
            assert [len(step.attempts) for step in job.steps] == [1, 2, 1]

    async def test_a_cancelled_step_takes_the_queued_ones_with_it(self, graph: World) -> None:
        graph.host.on(FakeScript(run_for_s=None), when=on_step("train"))
        async with graph.daemon() as daemon:
            job_id = await daemon.submit("graph")
            while (await daemon.job(job_id)).steps[1].state is not State.RUNNING:
                await asyncio.sleep(0.005)
            await daemon.cancel(job_id)
            job = await daemon.ended(job_id)
            assert job.state is State.CANCELLED
            assert [step.state for step in job.steps] == [
                State.SUCCEEDED,
                State.CANCELLED,
                State.CANCELLED,
            ]

    async def test_parallel_steps_run_at_once_and_join(self, world: World) -> None:
        world.install(
            Drawn(
                "fan",
                *(a_step(name, outputs=[WORDS]) for name in ("left", "right")),
                a_step("join", after=["left", "right"], outputs=[WORDS]),
            )
        )
        world.host.default = FakeScript(outputs={"words.txt": b"x"}, waits_for="go")
        async with world.daemon() as daemon:
            job_id = await daemon.submit("fan")
            while [s.state for s in (await daemon.job(job_id)).steps[:2]] != [State.RUNNING] * 2:
                await asyncio.sleep(0.005)
            assert (await daemon.job(job_id)).steps[2].state is State.QUEUED
            for step in (await daemon.job(job_id)).steps:
                folder = world.state_dir / "scratch" / step.id
                folder.mkdir(exist_ok=True)
                (folder / "go").touch()
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED


class TestRetry:
    async def test_a_retry_is_a_new_attempt_with_the_same_scratch(self, world: World) -> None:
        world.host.on(FAILS, TRAINS, role="step")
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            job = await daemon.ended(job_id)
            assert job.state is State.FAILED
            kept = world.state_dir / "scratch" / job.steps[0].id / "study"
            kept.write_text("ten trials")
            seen = []
            world.host.on(TRAINS, when=lambda spec: seen.append(spec) or False)
            await daemon.retry(job_id)
            job = await daemon.ended(job_id)
            assert job.state is State.SUCCEEDED
            assert [a.number for a in job.steps[0].attempts] == [1, 2]
            assert seen[0].paths.scratch == kept.parent
            assert not kept.exists()

    async def test_each_attempt_has_its_own_log_and_outputs(self, world: World) -> None:
        broken = FakeScript(exit_code=1, outputs={"model.onnx": b"half"}, stdout=b"first\n")
        fine = FakeScript(stdout=b"second\n")
        world.host.on(broken, fine, role="step")
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.ended(job_id)
            await daemon.retry(job_id)
            job = await daemon.ended(job_id)
            # The second attempt left nothing, and the first one's file does not speak for it.
            assert (job.state, job.reason_code) == (State.FAILED, "output_missing")
            logs = [daemon.files.log(a.id).read_bytes() for a in job.steps[0].attempts]
            assert logs == [b"first\n", b"second\n"]

    @pytest.mark.parametrize("state", ["succeeded", "running"])
    async def test_what_has_not_ended_badly_is_not_retried(self, world: World, state: str) -> None:
        if state == "running":
            world.host.default = FakeScript(run_for_s=None)
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State(state))
            with pytest.raises(Conflict):
                await daemon.retry(job_id)

    async def test_a_retry_waits_until_its_predecessor_is_cleaned_up(self, world: World) -> None:
        """Otherwise the clean-up of the cancelled attempt takes the new one's scratch along."""
        points = Points()
        watch(world, points)
        points.stop_at("before engine.remove step")
        world.host.on(FakeScript(run_for_s=None), TRAINS, role="step")
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            await daemon.until(job_id, State.RUNNING)
            await daemon.cancel(job_id)
            await daemon.until(job_id, State.CANCELLED)
            await points.reached.wait()
            await daemon.retry(job_id)
            await daemon.until(job_id, State.PREPARING)
            assert len(daemon.supervisor.attempts()) == 2
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert len(world.host.created) == 1
            points.go_on()
            job = await daemon.ended(job_id)
            assert job.state is State.SUCCEEDED
            calls = [call for call in world.host.calls if call[0] in ("remove", "prepare")]
            removed = calls.index(("remove", world.host.created[0]))
            assert removed < calls.index(("prepare", world.host.created[1]))
