"""Whatever can be known before a sandbox runs is refused before anything is queued, and says how."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from rooms import ANN, BOB, MODEL, ROOT, Drawn, World, a_step

from trainbox_plugins.tabular.plugin import Binclass, Multiclass, Regression
from trainbox_sdk.artifacts import Column
from trainbox_sdk.backends import Capacity
from trainbox_sdk.engine import JobFilter, Principal
from trainbox_sdk.errors import (
    FieldError,
    Forbidden,
    IdempotencyClash,
    NotFound,
    PluginError,
    StorageFull,
    Unavailable,
    ValidationFailed,
)
from trainbox_sdk.jobs import State
from trainbox_sdk.tasks import ArtifactCheck, Output, StepPlan

GIB = 1024**3
NAN = float("nan")


def column(name: str, type: str = "number", **more) -> Column:
    facts = {"missing": 0, "distinct": 50, "distinct_exact": True, "min": 0, "max": 9}
    return Column(name, type, "DOUBLE", **{**facts, **more})


COLUMNS = (
    column("age"),
    column("city", "string", distinct=12),
    column("price"),
    column("churned", "string", distinct=2),
    column("grade", "string", distinct=3),
    column("same", distinct=1),
    column("void", distinct=0, missing=100, min=None, max=None),
    column("rare", missing=95, distinct=5),
)


@pytest.fixture
def tabular(world: World) -> World:
    for task in (Regression(), Binclass(), Multiclass()):
        world.install(task)
    world.environments = ("plain", "tabular")
    world.checks["onnx"] = ArtifactCheck("onnx", "a:b", ("a",), "plain")
    return world


async def nothing_is_queued(daemon) -> None:
    assert not (await daemon.store.jobs.list(JobFilter(), None)).items
    assert await daemon.store.events.last_seq() == 0


async def refused(world: World, task: str = "regression", **spec) -> FieldError:
    """Submit, expect one refusal with one field; return the field."""
    async with world.daemon(loops=False) as daemon:
        await daemon.put_dataset(columns=COLUMNS)
        spec = {"dataset_id": "data", "params": {"target": "price"}, **spec}
        with pytest.raises(ValidationFailed) as caught:
            await daemon.submit(task, **spec)
        await nothing_is_queued(daemon)
        error = caught.value
        assert len(error.errors) == 1, error.errors
        (field,) = error.errors
        assert error.message == f"{'.'.join(map(str, field.loc))}: {field.msg}"
        assert error.hint == field.hint
        return field


PARAMS = [
    ("trails", {"trails": 5}, "unknown field 'trails'", "did you mean 'trials'?"),
    ("zzz", {"zzz": 5}, "unknown field 'zzz'", "known: device, early_stopping_rounds"),
    ("trials", {"trials": 0}, "greater than or equal to 1", "must be at least 1"),
    ("trials", {"trials": 201}, "less than or equal to 200", "must be at most 200"),
    ("trials", {"trials": "many"}, "valid integer", ""),
    ("trials", {"trials": 1.5}, "integer", ""),
    ("metric", {"metric": "auc"}, "'rmse', 'mae' or 'r2'", "one of: 'rmse', 'mae' or 'r2'"),
    ("target", {"target": ""}, "at least 1 character", "must be no shorter than 1"),
    ("target", {"target": "prize"}, "no column 'prize'", "did you mean 'price'?"),
    ("target", {"target": "same"}, "one value only", "choose another column"),
    ("target", {"target": "void"}, "is empty", "choose another column"),
    ("target", {"target": "rare"}, "has 5 values, at least 10", "add rows with a target"),
    ("target", {"target": "city"}, "holds string values", "choose a numeric column"),
    ("features", {"features": ["agge"]}, "no column 'agge'", "did you mean 'age'?"),
    ("features", {"features": ["same"]}, "no feature column", "add columns, or ignore fewer"),
    ("sample_weight", {"sample_weight": "city"}, "weights are numbers", ""),
]


@pytest.mark.parametrize(("where", "params", "msg", "hint"), PARAMS)
async def test_a_parameter(tabular: World, where, params, msg, hint) -> None:
    field = await refused(tabular, params={"target": "price", **params})
    assert field.loc == ("params", where)
    assert msg in field.msg
    assert field.hint.startswith(hint)


@pytest.mark.parametrize(
    ("task", "target", "msg"),
    [
        ("binclass", "grade", "has 3 classes, binclass needs exactly 2"),
        ("binclass", "price", "has 50 classes, binclass needs exactly 2"),
        ("multiclass", "churned", "has 2 classes, multiclass needs at least 3"),
    ],
)
async def test_a_wrong_number_of_classes(tabular: World, task, target, msg) -> None:
    field = await refused(tabular, task, params={"target": target})
    assert field.loc == ("params", "target")
    assert msg in field.msg
    assert field.hint


async def test_a_missing_target(tabular: World) -> None:
    field = await refused(tabular, params={})
    assert (field.loc, field.msg, field.hint) == (("params", "target"), "Field required", "give it")


async def test_a_field_of_an_inner_object(tabular: World) -> None:
    params = {"target": "price", "validation": {"kind": "kfold", "fold": 3}}
    field = await refused(tabular, params=params)
    assert field.loc == ("params", "validation", "kfold", "fold")
    assert field.hint == "remove it, or check its spelling"


async def test_a_column_with_two_roles(tabular: World) -> None:
    field = await refused(tabular, params={"target": "price", "features": ["price", "age"]})
    assert "'price' is the target column" in field.msg


async def test_several_mistakes_are_told_at_once(tabular: World) -> None:
    async with tabular.daemon(loops=False) as daemon:
        await daemon.put_dataset(columns=COLUMNS)
        with pytest.raises(ValidationFailed) as caught:
            params = {"target": "price", "trials": 0, "seed": -1, "trails": 3}
            await daemon.submit("regression", dataset_id="data", params=params)
        wrong = {error.loc[-1] for error in caught.value.errors}
        assert wrong == {"trials", "seed", "trails"}
        assert "(and 2 more)" in caught.value.message
        await nothing_is_queued(daemon)


async def test_an_unknown_task(tabular: World) -> None:
    field = await refused(tabular, "regresion")
    assert field == FieldError(("task",), "unknown task 'regresion'", "did you mean 'regression'?")


@pytest.mark.parametrize(
    ("dataset", "msg"), [(None, "regression needs a dataset"), ("dada", "no dataset 'dada'")]
)
async def test_a_dataset_that_is_not_there(tabular: World, dataset, msg) -> None:
    field = await refused(tabular, dataset_id=dataset)
    assert (field.loc, field.msg) == (("dataset",), msg)
    assert "/v1/datasets" in field.hint


async def test_a_dataset_of_someone_else_is_not_found_by_id_or_name(tabular: World) -> None:
    async with tabular.daemon(loops=False) as daemon:
        theirs = await daemon.put_dataset(owner="bob", name="bobs", columns=COLUMNS)
        for reference in (theirs.id, "bobs"):
            with pytest.raises(ValidationFailed, match="no dataset"):
                await daemon.submit(
                    "regression", ANN, dataset_id=reference, params={"target": "price"}
                )
        await nothing_is_queued(daemon)
        spec = {"dataset_id": "bobs", "params": {"target": "price"}}
        assert await daemon.submit("regression", BOB, **spec)


async def test_a_job_of_someone_else_is_not_found(world: World) -> None:
    async with world.daemon(loops=False) as daemon:
        job_id = await daemon.submit("train", BOB)
        for action in ("read", "cancel", "retry"):
            with pytest.raises(NotFound):
                await daemon.access.job(ANN, job_id, action)
            admin = Principal("root", "root", frozenset({"admin"}))
            assert (await daemon.access.job(admin, job_id, action)).id == job_id


async def test_a_plugin_may_let_others_in_and_keep_owners_out(world: World) -> None:
    world.authorize = lambda who, action, owner: action == "read"
    async with world.daemon(loops=False) as daemon:
        job_id = await daemon.submit("train", BOB)
        assert (await daemon.access.job(ANN, job_id)).id == job_id
        with pytest.raises(NotFound):
            await daemon.access.job(BOB, job_id, "cancel")


RESOURCES = [
    ("cpu", {"cpu": 1}, "unknown field", "did you mean 'cpus'?"),
    ("cpus", {"cpus": 0}, "0.0 is out of range", "0.01 to 4096"),
    ("cpus", {"cpus": -1}, "-1.0 is out of range", ""),
    ("cpus", {"cpus": NAN}, "nan is out of range", ""),
    ("cpus", {"cpus": float("inf")}, "inf is out of range", ""),
    ("cpus", {"cpus": "two"}, "valid number", ""),
    ("cpus", {"cpus": None}, "valid number", ""),
    ("cpus", {"cpus": 5}, "5 is more than backend fake has (4)", "ask for at most 4"),
    ("memory_bytes", {"memory_bytes": 1}, "1 is out of range", ""),
    ("memory_bytes", {"memory_bytes": 10**400}, "is out of range", ""),
    ("memory_bytes", {"memory_bytes": NAN}, "finite", ""),
    ("memory_bytes", {"memory_bytes": 1.5}, "integer", ""),
    ("memory_bytes", {"memory_bytes": 17 * GIB}, "is more than backend fake has", ""),
    ("gpus", {"gpus": -1}, "-1 is out of range", ""),
    ("gpus", {"gpus": 1}, "1 is more than backend fake has (0)", "ask for at most 0"),
    ("timeout_s", {"timeout_s": 0}, "0.0 is out of range", ""),
    ("timeout_s", {"timeout_s": 10**7}, "is out of range", ""),
    ("timeout_s", {"timeout_s": NAN}, "nan is out of range", ""),
]


@pytest.mark.parametrize(("where", "resources", "msg", "hint"), RESOURCES)
async def test_a_resource(tabular: World, where, resources, msg, hint) -> None:
    field = await refused(tabular, resources=resources)
    assert field.loc == ("resources", where)
    assert msg in field.msg
    assert field.hint.startswith(hint)


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"priority": 101}, "priority"),
        ({"priority": -101}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "churn:7"}, "name"),
        ({"name": "churn@best"}, "name"),
        ({"name": ".."}, "name"),
        ({"labels": {str(n): "" for n in range(65)}}, "labels"),
        ({"params": {"target": "price", "seed": NAN}}, "params"),
        ({"params": {"target": "price", "x": object()}}, "params"),
        ({"params": {"target": "price", "ignore": ["x" * 100] * 3000}}, "params"),
        ({"backend": "fakes"}, "backend"),
    ],
    ids=lambda value: str(value).split(" at 0x")[0][:60],
)
async def test_the_rest_of_the_specification(tabular: World, spec, where) -> None:
    field = await refused(tabular, **spec)
    assert field.loc == (where,)
    assert field.hint


@pytest.mark.parametrize(
    "labels", [{"a": "x" * 129}, {"a" * 200: "x"}, {"a": 7}, {"": "x"}, {"a": "x\0"}, {"a\n": "x"}]
)
async def test_a_label(tabular: World, labels) -> None:
    field = await refused(tabular, labels=labels)
    assert field.loc[0] == "labels"
    assert field.hint


async def test_what_an_engine_has_is_not_asked_for_when_it_is_away(world: World) -> None:
    """Unknown is no reason to refuse: the job is queued, and says why it waits."""
    world.host.away = True
    async with world.daemon(loops=False) as daemon:
        job_id = await daemon.submit(resources={"cpus": 64})
        assert (await daemon.job(job_id)).state is State.QUEUED


async def test_the_first_healthy_backend_is_taken(world: World) -> None:
    world.backends = ("first", "second")
    async with world.daemon(loops=False) as daemon:
        assert (await daemon.job(await daemon.submit())).backend == "first"
        assert (await daemon.job(await daemon.submit(backend="second"))).backend == "second"


async def test_without_any_backend_it_comes_back_later(world: World) -> None:
    world.backends = ()
    async with world.daemon(loops=False) as daemon:
        with pytest.raises(Unavailable, match="no backend is loaded"):
            await daemon.submit()
        await nothing_is_queued(daemon)


class TestIdempotency:
    async def test_the_same_key_makes_one_job(self, world: World) -> None:
        async with world.daemon(loops=False) as daemon:
            made = {await daemon.submit(idempotency_key="k", name="a") for _ in range(3)}
            assert len(made) == 1
            assert len((await daemon.store.jobs.list(JobFilter(), None)).items) == 1

    async def test_a_hundred_times_at_once_too(self, world: World) -> None:
        async with world.daemon(loops=False) as daemon:
            made = await asyncio.gather(
                *(daemon.submit(idempotency_key="k", name="a") for _ in range(100))
            )
            assert len(set(made)) == 1

    async def test_the_same_key_for_another_request_clashes(self, world: World) -> None:
        async with world.daemon(loops=False) as daemon:
            await daemon.submit(idempotency_key="k", name="a")
            with pytest.raises(IdempotencyClash):
                await daemon.submit(idempotency_key="k", name="b")

    async def test_keys_belong_to_their_owner(self, world: World) -> None:
        async with world.daemon(loops=False) as daemon:
            anns = await daemon.submit("train", ANN, idempotency_key="k")
            bobs = await daemon.submit("train", BOB, idempotency_key="k")
            assert anns != bobs

    async def test_the_order_of_fields_is_no_difference(self, world: World) -> None:
        async with world.daemon(loops=False) as daemon:
            one = await daemon.submit(idempotency_key="k", params={"a": 1, "b": 2})
            two = await daemon.submit(idempotency_key="k", params={"b": 2, "a": 1})
            assert one == two


class TestWhoMay:
    async def test_a_token_without_the_scope_may_not(self, world: World) -> None:
        async with world.daemon(loops=False) as daemon:
            reader = replace(ANN, scopes=frozenset({"read"}))
            with pytest.raises(Forbidden, match="lacks the scope 'submit'"):
                await daemon.submit("train", reader)
            await nothing_is_queued(daemon)
            assert await daemon.submit("train", ROOT)

    async def test_a_plugin_may_refuse(self, world: World) -> None:
        world.admit = lambda who, spec: "no more today" if who.id == "ann" else None
        async with world.daemon(loops=False) as daemon:
            with pytest.raises(Forbidden, match="no more today") as caught:
                await daemon.submit("train", ANN)
            assert caught.value.code == "not_admitted"
            await nothing_is_queued(daemon)
            assert await daemon.submit("train", BOB)


async def test_a_disk_under_its_floor_takes_no_jobs(world: World) -> None:
    world.free_bytes_floor = 2**62
    async with world.daemon(loops=False) as daemon:
        with pytest.raises(StorageFull, match="under the floor"):
            await daemon.submit()
        await nothing_is_queued(daemon)


@pytest.mark.parametrize("gave", [{"stp_old"}, set()], ids=["something", "nothing"])
async def test_before_it_refuses_it_asks_for_room(world: World, gave: set[str]) -> None:
    asked: list[int] = []

    async def relieve() -> set[str]:
        asked.append(daemon.intake._floor._floor)
        if gave:
            daemon.intake._floor._floor = 0
        return gave

    world.free_bytes_floor = 2**62
    async with world.daemon(loops=False) as daemon:
        daemon.intake._relieve = relieve
        if gave:
            await daemon.submit()
        else:
            with pytest.raises(StorageFull, match="under the floor"):
                await daemon.submit()
            await nothing_is_queued(daemon)
    assert asked == [2**62]


class TestABrokenTask:
    """A task type is a stranger's code: its faults are told apart from the caller's."""

    @pytest.mark.parametrize(
        ("steps", "problem"),
        [
            ((), "no steps"),
            ((a_step("a"), a_step("a")), '"a" is there 2 times'),
            ((a_step("a", after=["b"]), a_step("b", after=["a"])), "wait for each other"),
            ((a_step("a", after=["gone"]),), 'waits for "gone"'),
            ((a_step(outputs=[Output("../../etc/passwd")]),), "no folders"),
            ((a_step(outputs=[Output("new\nline")]),), "a file name"),
            ((a_step(outputs=[Output("result.json")]),), "the guest's own report"),
            ((a_step(outputs=[Output("a"), Output("a")]),), "is declared 2 times"),
            ((replace(a_step(), entry="os.system"),), "not package.module:function"),
            ((replace(a_step(), params={"a": NAN}),), "not JSON"),
            ((replace(a_step(), environment="mars"),), "no plugin registers environment 'mars'"),
            ((a_step(outputs=[Output("a", check="no")]),), "no plugin registers check 'no'"),
        ],
    )
    async def test_that_plans_what_cannot_run(
        self, world: World, steps: tuple[StepPlan, ...], problem: str
    ) -> None:
        world.install(Drawn("train", *steps))
        async with world.daemon(loops=False) as daemon:
            with pytest.raises(PluginError) as caught:
                await daemon.submit()
            assert problem in caught.value.message
            assert caught.value.code == "plan_invalid"
            await nothing_is_queued(daemon)

    @pytest.mark.parametrize("method", ["validate", "plan"])
    async def test_that_raises(self, world: World, method: str) -> None:
        task = Drawn("train", a_step(outputs=[MODEL]))

        def broken(*_):
            raise RuntimeError("a stranger's bug")

        setattr(task, method, broken)
        world.install(task)
        async with world.daemon(loops=False) as daemon:
            with pytest.raises(PluginError, match="a stranger's bug"):
                await daemon.submit()
            await nothing_is_queued(daemon)


async def test_capacity_is_asked_of_the_backend_the_job_goes_to(world: World) -> None:
    world.host.capacity = Capacity(cpus=2.0, memory_bytes=4 * GIB)
    async with world.daemon(loops=False) as daemon:
        with pytest.raises(ValidationFailed) as caught:
            await daemon.submit(resources={"cpus": 3, "memory_bytes": 5 * GIB})
        assert [error.loc[-1] for error in caught.value.errors] == ["cpus", "memory_bytes"]
