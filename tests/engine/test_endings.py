"""Every way a step can end badly, and the words it ends with."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rooms import ACCEPTS, FACTS, MODEL, REPORT, TRAINS, Drawn, World, a_step

from trainbox.engine import finish
from trainbox.store.guests import LONGEST_NAME, MOST_METRICS
from trainbox_sdk.backends import Cause
from trainbox_sdk.errors import BackendRejected
from trainbox_sdk.jobs import State
from trainbox_sdk.tasks import ArtifactCheck, Output
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeScript

BOOM = b'{"t":"failure","at":1,"code":"no_rows","message":"nothing to learn","hint":"add rows"}'


async def ends(world: World, script: FakeScript | None = None, **spec) -> tuple[str, str, str]:
    if script is not None:
        world.host.default = script
    async with world.daemon() as daemon:
        job = await daemon.ended(await daemon.submit(**spec))
        assert not daemon.host.sandboxes
        assert not list((world.state_dir / "sandboxes").iterdir())
        if job.state is not State.SUCCEEDED:
            assert not await daemon.store.jobs.artifacts(job.id)
            assert job.model_id is None
        return job.state, job.reason_code, job.reason


def scripts_step():
    return replace(a_step(), trusted=False)


class TestWhatAScriptSaysOfItself:
    @pytest.mark.parametrize(
        "parity",
        [{"passed": True, "rows": 5000}, {"passed": False}, "no", [1]],
        ids=["passed", "failed", "text", "list"],
    )
    async def test_its_parity_is_neither_believed_nor_judged(self, world: World, parity) -> None:
        world.tasks["strange"] = Drawn("strange", scripts_step())
        world.host.default = FakeScript(
            outputs={"model.onnx": b"onnx"}, result={"parity": parity, "seed": "\x1b[2J\u202e"}
        )
        async with world.daemon() as daemon:
            job = await daemon.ended(await daemon.submit("strange"))
            assert job.state is State.SUCCEEDED, job.reason
            model = await daemon.store.models.get(job.model_id)
            facts = await daemon.store.models.facts(job.model_id)
        assert model.parity == {}
        assert facts["result"]["seed"] == "\ufffd[2J\ufffd"

    async def test_its_model_has_no_thousands_of_inputs(self, world: World) -> None:
        world.tasks["strange"] = Drawn("strange", scripts_step())
        many = [{"name": f"x{n}", "type": "number"} for n in range(finish.MOST_TENSORS + 1)]
        signed = FakeScript(result={"signature": {"inputs": many, "outputs": []}})
        world.host.on(signed, role="check")
        state, code, reason = await ends(world, TRAINS, task="strange")
        assert (state, code) == ("failed", "artifact_refused")
        assert reason == "model.onnx has 1001 inputs, at most 1000 are served"

    async def test_a_results_metrics_are_capped_like_those_on_the_way(self, world: World) -> None:
        metrics = {f"m{n}": n for n in range(MOST_METRICS * 2)}
        script = replace(TRAINS, result={"metrics": {"x" * (LONGEST_NAME + 1): 1, **metrics}})
        world.host.default = script
        async with world.daemon() as daemon:
            job = await daemon.ended(await daemon.submit())
            model = await daemon.store.models.get(job.model_id)
        assert job.state is State.SUCCEEDED
        assert list(model.metrics) == [f"m{n}" for n in range(MOST_METRICS)]
        assert job.metrics == model.metrics


class TestTheSandbox:
    async def test_over_its_time_limit(self, world: World) -> None:
        state, code, reason = await ends(
            world, FakeScript(run_for_s=None), resources={"timeout_s": 0.2}
        )
        assert (state, code) == ("failed", "timeout")
        assert reason == "stopped at its time limit of 0.2 s; give it more time"
        assert ("stop", world.host.created[0]) in world.host.calls

    async def test_over_its_time_limit_and_deaf_to_sigterm(self, world: World) -> None:
        script = FakeScript(run_for_s=None, term_exit_code=None)
        assert (await ends(world, script, resources={"timeout_s": 0.2}))[1] == "timeout"

    async def test_over_its_time_limit_a_polite_exit_is_no_success(self, world: World) -> None:
        script = FakeScript(run_for_s=None, term_exit_code=0, outputs={"model.onnx": b"half"})
        state, code, _ = await ends(world, script, resources={"timeout_s": 0.2})
        assert (state, code) == ("failed", "timeout")

    async def test_out_of_memory(self, world: World) -> None:
        script = FakeScript(out_of_memory=True, peak_memory_bytes=1020 * 1024**2)
        assert await ends(world, script) == (
            "failed",
            "out_of_memory",
            "killed: memory limit 1.00 GiB, peak 1.00 GiB; retry with more memory",
        )

    async def test_killed_without_a_cause_is_not_called_out_of_memory(self, world: World) -> None:
        state, code, reason = await ends(world, FakeScript(exit_code=137))
        assert (state, code) == ("failed", "exit_137")
        assert "SIGKILL" in reason

    async def test_cannot_be_started(self, world: World) -> None:
        state, code, reason = await ends(world, FakeScript(start_failure="no such runtime"))
        assert (state, code) == ("failed", "start_failed")
        assert "no such runtime" in reason

    async def test_is_refused_by_the_backend(self, world: World) -> None:
        class Picky(FakeBackend):
            async def prepare(self, spec):
                raise BackendRejected("no strangers", code="untrusted_refused", hint="allow them")

        world.make_backend = Picky
        assert await ends(world) == ("failed", "untrusted_refused", "no strangers (allow them)")

    async def test_lacks_an_environment_that_can_be_built(self, world: World) -> None:
        class Broken(FakeBackend):
            async def build_environment(self, environment, report):
                raise BackendRejected("no network", code="build_failed", hint="get one")

        world.make_backend = Broken
        assert await ends(world) == ("failed", "build_failed", "no network (get one)")

    async def test_has_its_environment_removed_under_it(self, world: World) -> None:
        """An image that someone removed is built again, once, instead of failing every job."""
        builds = []

        class Forgetful(FakeBackend):
            async def build_environment(self, environment, report):
                builds.append(environment.name)
                return await super().build_environment(environment, report)

            async def prepare(self, spec):
                if spec.ref.role == "step" and len(builds) == 1:
                    raise BackendRejected("it is gone", code="unknown_environment")
                await super().prepare(spec)

        world.make_backend = Forgetful
        assert (await ends(world))[0] == "succeeded"
        assert builds == ["plain", "plain"]

    async def test_is_removed_by_hand_and_a_retry_succeeds(self, world: World) -> None:
        world.host.on(FakeScript(vanishes=True), TRAINS, role="step")
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            job = await daemon.ended(job_id)
            assert (job.state, job.reason_code) == (State.INTERRUPTED, "sandbox_lost")
            assert "retry it" in job.reason
            await daemon.retry(job_id)
            assert (await daemon.ended(job_id)).state is State.SUCCEEDED


class TestTheGuest:
    async def test_says_why_it_fails(self, world: World) -> None:
        script = FakeScript(exit_code=65, events=(BOOM,))
        assert await ends(world, script) == ("failed", "no_rows", "nothing to learn (add rows)")

    async def test_says_why_behind_a_flood(self, world: World) -> None:
        flood = (b'{"t":"message","at":1,"text":"%s"}' % (b"x" * 1000),) * 6000
        script = FakeScript(exit_code=65, events=(*flood, BOOM))
        async with world.daemon() as daemon:
            daemon.host.default = script
            job = await daemon.ended(await daemon.submit())
            assert job.reason_code == "no_rows"
            events = await daemon.events(job.id)
            kept = [e for e in events if e.kind == "message" and "text" in e.data]
            assert 4000 < len(kept) < 4400
            cut = [e.data["text"] for e in events if e.kind == "warning"]
            assert cut == ["more than 4 MiB of events; the rest is not shown"]

    async def test_says_nothing(self, world: World) -> None:
        state, code, reason = await ends(world, FakeScript(exit_code=3))
        assert (state, code) == ("failed", "exit_3")
        assert reason == "the code ended with exit code 3; see its log"

    async def test_says_strange_things(self, world: World) -> None:
        words = b'{"t":"failure","at":"x","code":{"a":[1]},"message":["\\ud800"],"hint":7}'
        state, code, reason = await ends(world, FakeScript(exit_code=1, events=(words,)))
        assert (state, code) == ("failed", "failed")
        assert reason.endswith("(7)")

    async def test_reports_a_failure_and_ends_well_all_the_same(self, world: World) -> None:
        script = FakeScript(events=(BOOM,), outputs={"model.onnx": b"x"}, result=REPORT)
        assert (await ends(world, script))[0] == "succeeded"


class Leaves(FakeBackend):
    """Has every step's sandbox leave what :attr:`leave` puts into its output directory."""

    leave = staticmethod(lambda output: None)

    async def wait(self, spec):
        seen = await super().wait(spec)
        if spec.ref.role == "step":
            self.leave(spec.paths.output)
        return seen


class TestAnOutput:
    async def refused(self, world: World, leave, *, max_bytes: int = 100) -> tuple[str, str]:
        world.make_backend = type("Leaving", (Leaves,), {"leave": staticmethod(leave)})
        world.install(Drawn("train", a_step(outputs=[Output("model.onnx", max_bytes=max_bytes)])))
        state, code, reason = await ends(world, FakeScript())
        assert state == "failed"
        return code, reason

    async def test_missing(self, world: World) -> None:
        code, reason = await self.refused(world, lambda output: None)
        assert (code, reason) == ("output_missing", "the step ended well but left no model.onnx")

    async def test_a_symbolic_link(self, world: World, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("x")
        code, reason = await self.refused(
            world, lambda output: (output / "model.onnx").symlink_to(secret)
        )
        assert code == "output_refused"
        assert "symbolic link" in reason

    async def test_a_pipe(self, world: World) -> None:
        code, reason = await self.refused(world, lambda output: os.mkfifo(output / "model.onnx"))
        assert (code, reason) == ("output_refused", "model.onnx is a pipe, not a regular file")

    async def test_a_directory(self, world: World) -> None:
        code, reason = await self.refused(world, lambda output: (output / "model.onnx").mkdir())
        assert (code, reason) == ("output_refused", "model.onnx is a directory; write a file")

    async def test_a_file_with_a_second_name(self, world: World) -> None:
        def leave(output: Path) -> None:
            (output / "model.onnx").write_bytes(b"x")
            os.link(output / "model.onnx", output / "other")

        code, reason = await self.refused(world, leave)
        assert (code, reason) == (
            "output_refused",
            "model.onnx has 2 names (hard links); leave one",
        )

    async def test_empty(self, world: World) -> None:
        code, reason = await self.refused(world, lambda output: (output / "model.onnx").touch())
        assert (code, reason) == ("output_refused", "model.onnx is empty")

    async def test_too_large(self, world: World) -> None:
        code, reason = await self.refused(
            world, lambda output: (output / "model.onnx").write_bytes(b"x" * 101)
        )
        assert code == "output_refused"
        assert reason == "model.onnx has 101 bytes, over the limit of 100"

    async def test_sparse_and_too_large(self, world: World) -> None:
        def leave(output: Path) -> None:
            with (output / "model.onnx").open("wb") as file:
                file.truncate(2**40)

        assert (await self.refused(world, leave))[0] == "output_refused"

    async def test_a_directory_that_is_gone(self, world: World) -> None:
        code, _ = await self.refused(world, lambda output: output.rmdir())
        assert code == "output_missing"

    async def test_an_output_directory_turned_into_a_link(self, world: World) -> None:
        def leave(output: Path) -> None:
            output.rmdir()
            output.symlink_to("/etc")

        code, reason = await self.refused(world, leave)
        assert code == "output_refused"
        assert "output directory" in reason


RESULTS = {
    "no JSON": b"{",
    "binary": bytes(range(256)),
    "a list": b"[]",
    "a number": b"1",
    "too large": b'{"a":"' + b"x" * (4 * 1024**2) + b'"}',
    "nested too deep to parse": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested too deep to walk": b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "a number too long to parse": b'{"a":' + b"9" * 5000 + b"}",
}


class TestAResult:
    @pytest.mark.parametrize("text", RESULTS.values(), ids=RESULTS)
    async def test_that_cannot_be_read(self, world: World, text: bytes) -> None:
        script = FakeScript(outputs={"model.onnx": b"x", "result.json": text})
        state, code, reason = await ends(world, script)
        assert (state, code) == ("failed", "result_invalid")
        assert reason.startswith("result.json ")

    @pytest.mark.parametrize(
        "metrics", [7, ["a"], {"a": "b"}, {"a": True}, {"a": 10**400}, {"a": [1]}, {"a": None}]
    )
    async def test_with_metrics_that_are_no_numbers(self, world: World, metrics: object) -> None:
        text = json.dumps({**REPORT, "metrics": metrics}).encode()
        world.host.default = FakeScript(outputs={"model.onnx": b"x", "result.json": text})
        async with world.daemon() as daemon:
            job = await daemon.ended(await daemon.submit(name="m"))
            assert job.state is State.SUCCEEDED
            model = await daemon.store.models.find("m", version=None, alias=None)
            assert model is not None
            assert model.metrics == {}

    @pytest.mark.parametrize(
        "parity", [{"passed": False}, {"passed": "no"}, {"passed": None}, {}, [], "passed"]
    )
    async def test_whose_parity_did_not_pass(self, world: World, parity: object) -> None:
        script = FakeScript(outputs={"model.onnx": b"x"}, result={**REPORT, "parity": parity})
        state, code, _ = await ends(world, script)
        assert (state, code) == ("failed", "parity_failed")

    async def test_of_a_task_that_checks_no_parity(self, world: World) -> None:
        script = FakeScript(outputs={"model.onnx": b"x"}, result={"metrics": {}})
        assert (await ends(world, script))[0] == "succeeded"


class TestACheck:
    async def test_that_refuses(self, world: World) -> None:
        words = b'{"t":"failure","at":1,"code":"no","message":"opset 99"}'
        world.host.on(FakeScript(exit_code=65, events=(words,)), role="check")
        assert await ends(world) == (
            "failed",
            "artifact_refused",
            "model.onnx was refused: opset 99",
        )

    async def test_that_crashes(self, world: World) -> None:
        world.host.on(FakeScript(exit_code=139), role="check")
        state, code, reason = await ends(world)
        assert (state, code) == ("failed", "artifact_refused")
        assert "SIGSEGV" in reason

    async def test_that_hangs(self, world: World) -> None:
        world.checks["look"] = ArtifactCheck(
            "look", "trainbox_guest.run:look", ("trainbox_guest.run",), "plain", timeout_s=0.2
        )
        world.host.on(FakeScript(run_for_s=None), role="check")
        assert await ends(world) == (
            "failed",
            "artifact_refused",
            "model.onnx was refused: the check did not end within 0.2 s",
        )

    async def test_that_needs_too_much_memory(self, world: World) -> None:
        world.host.on(FakeScript(out_of_memory=True), role="check")
        reason = (await ends(world))[2]
        assert reason == "model.onnx was refused: the check needs more than 2.00 GiB"

    @pytest.mark.parametrize("result", [None, {}], ids=["none", "only the protocol"])
    async def test_that_says_nothing(self, world: World, result) -> None:
        script = FakeScript() if result is None else FakeScript(outputs={"result.json": b"{}"})
        world.host.on(script, role="check")
        state, code, reason = await ends(world)
        assert (state, code) == ("failed", "artifact_refused")
        assert reason == "model.onnx was refused: the check left no result"

    async def test_whose_result_is_hostile(self, world: World) -> None:
        world.host.on(FakeScript(outputs={"result.json": b"[" * 10**5}), role="check")
        assert (await ends(world))[:2] == ("failed", "result_invalid")

    async def test_that_cannot_be_started(self, world: World) -> None:
        world.host.on(FakeScript(start_failure="no"), role="check")
        assert (await ends(world))[:2] == ("failed", "start_failed")

    async def test_whose_sandbox_is_lost_is_begun_again(self, world: World) -> None:
        """It only reads: hours of training are not given up for it."""
        lost = FakeScript(vanishes=True)
        world.host.on(lost, lost, ACCEPTS, role="check")
        assert (await ends(world))[0] == "succeeded"

    async def test_whose_sandbox_is_always_lost_interrupts(self, world: World) -> None:
        world.host.on(FakeScript(vanishes=True), role="check")
        state, code, reason = await ends(world)
        assert (state, code) == ("interrupted", "sandbox_lost")
        assert "while it was checked" in reason

    async def test_of_one_output_does_not_speak_for_another(self, world: World) -> None:
        """Each has its own sandbox: the first one's result is not found by the second."""
        other = Output("other.onnx", check="look")
        world.install(Drawn("two", a_step(outputs=[MODEL, other])))
        world.host.default = FakeScript(
            outputs={"model.onnx": b"1", "other.onnx": b"2"}, result=REPORT
        )
        world.host.on(FakeScript(), role="check-2")
        state, code, reason = await ends(world, task="two")
        assert (state, code) == ("failed", "artifact_refused")
        assert reason.startswith("other.onnx")

    async def test_of_each_output_by_its_own_sandbox(self, world: World) -> None:
        world.install(Drawn("two", a_step(outputs=[MODEL, Output("b.onnx", check="look")])))
        world.host.default = FakeScript(outputs={"model.onnx": b"1", "b.onnx": b"2"}, result=REPORT)
        assert (await ends(world, task="two"))[0] == "succeeded"
        roles = [name.split("-", 3)[-1].split("-", 1)[-1] for name in world.host.created]
        assert roles == ["step", "check", "check-2"]

    async def test_that_no_plugin_brings_any_more(self, world: World) -> None:
        world.host.default = FakeScript(waits_for="go", outputs={"model.onnx": b"x"}, result=REPORT)
        async with world.daemon() as daemon:
            job_id = await daemon.submit()
            job = await daemon.until(job_id, State.RUNNING)
        world.checks.clear()
        (world.state_dir / "scratch" / job.steps[0].id / "go").touch()
        async with world.daemon() as daemon:
            job = await daemon.ended(job_id)
            assert (job.state, job.reason_code) == (State.FAILED, "plugin_error")
            assert "check 'look'" in job.reason

    async def test_signature_comes_from_the_file_not_from_the_guest(self, world: World) -> None:
        world.host.default = FakeScript(
            outputs={"model.onnx": b"x"}, result={**REPORT, "signature": {"inputs": ["lies"]}}
        )
        async with world.daemon() as daemon:
            await daemon.ended(await daemon.submit(name="m"))
            model = await daemon.store.models.find("m", version=None, alias=None)
            assert model is not None
            assert model.signature == FACTS["signature"]


async def test_a_bug_in_the_driver_fails_that_step_alone(world: World) -> None:
    class Buggy(FakeBackend):
        async def wait(self, spec):
            raise RuntimeError("a bug")

    world.make_backend = Buggy
    state, code, reason = await ends(world)
    assert (state, code) == ("failed", "internal")
    assert "its log" in reason


def test_every_cause_a_backend_may_name_has_been_met_here() -> None:
    assert {cause.value for cause in Cause} == {
        "",
        "out_of_memory",
        "disk_limit",
        "log_limit",
        "start_failed",
        "lost",
    }
