"""What goes wrong in a worker stays there: one request fails, the next gets a fresh worker."""

import asyncio
import dataclasses
import os
import signal

import pytest
from onnx import TensorProto
from trainbox.engine import predict_seat
from trainbox_sdk.errors import TooLarge, Unavailable, ValidationFailed

MIB = 1024**2
QUICK = {"loops": 3, "bytes": 8}
ENDLESS = {"loops": 1e15, "bytes": 8}
GREEDY = {"loops": 3, "bytes": 4e9}


@pytest.fixture
def spender(shelf, models):
    return shelf.put(models.spender())


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def running(predictor, digest):
    """Wait until the model's worker is there and uses the processor."""
    while digest not in predictor.workers():
        await asyncio.sleep(0.01)
    pid = predictor.workers()[digest]
    while True:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        if fields[0] == "R" and int(fields[11]) > 50:
            return pid
        await asyncio.sleep(0.01)


async def test_worker_killed_in_the_middle_of_a_request(predictor, spender):
    model, path = spender
    request = asyncio.create_task(predictor.predict(model, path, [ENDLESS]))
    pid = await running(predictor, model.digest)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable) as caught:
        await request
    assert caught.value.code == "predict_worker_failed"
    assert "SIGKILL" in caught.value.message
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]
    assert predictor.workers()[model.digest] != pid


async def test_worker_killed_between_requests_is_not_noticed(predictor, spender):
    model, path = spender
    await predictor.predict(model, path, [QUICK])
    pid = predictor.workers()[model.digest]
    os.kill(pid, signal.SIGKILL)
    while is_alive(pid):
        await asyncio.sleep(0.01)
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]


async def test_request_that_hangs_costs_only_itself(make_predictor, spender):
    predictor = make_predictor(timeout_s=2.0)
    model, path = spender
    await predictor.predict(model, path, [QUICK])
    pid = predictor.workers()[model.digest]
    hanging = asyncio.create_task(predictor.predict(model, path, [ENDLESS]))
    with pytest.raises(Unavailable) as caught:
        await hanging
    assert caught.value.code == "predict_timeout"
    assert not is_alive(pid)
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]


async def test_request_behind_one_that_is_killed_is_answered(predictor, spender):
    model, path = spender
    first = asyncio.create_task(predictor.predict(model, path, [ENDLESS]))
    pid = await running(predictor, model.digest)
    second = asyncio.create_task(predictor.predict(model, path, [QUICK]))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        await first
    assert (await second).rows == [{"prediction": 3.0}]


async def test_request_behind_one_that_takes_too_long_is_told(make_predictor, spender):
    predictor = make_predictor(timeout_s=1.0)
    model, path = spender
    await predictor.predict(model, path, [QUICK])
    both = [predictor.predict(model, path, [ENDLESS]) for _ in range(2)]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert {error.code for error in results} <= {"predict_timeout", "predict_busy"}
    assert results[0].code == "predict_timeout"


async def test_request_that_eats_memory(make_predictor, spender):
    predictor = make_predictor(memory_bytes=512 * MIB)
    model, path = spender
    with pytest.raises(Unavailable) as caught:
        await predictor.predict(model, path, [GREEDY])
    assert caught.value.code == "predict_out_of_memory"
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]


async def test_caller_that_gives_up_does_not_disturb_the_next(predictor, spender):
    model, path = spender
    await predictor.predict(model, path, [QUICK])
    request = asyncio.create_task(predictor.predict(model, path, [{"loops": 20_000, "bytes": 8}]))
    await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]


async def test_64_requests_at_once_are_not_mixed_up(predictor, shelf, models):
    model, path = shelf.put(models.flat())
    requests = [predictor.predict(model, path, [{"a": n}, {"a": -n}]) for n in range(64)]
    for number, prediction in enumerate(await asyncio.gather(*requests)):
        assert [row["double"] for row in prediction.rows] == [2.0 * number, -2.0 * number]
    assert len(predictor.workers()) == 1


async def test_too_many_waiting(make_predictor, shelf, models):
    predictor = make_predictor(max_waiting=4)
    model, path = shelf.put(models.flat())
    requests = [predictor.predict(model, path, [{"a": n}]) for n in range(10)]
    results = await asyncio.gather(*requests, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert [error.code for error in refused] == ["predict_busy"] * 6


async def test_model_that_raises_on_some_rows(predictor, shelf, models):
    model, path = shelf.put(models.picky())
    with pytest.raises(ValidationFailed) as caught:
        await predictor.predict(model, path, [{"x": 1}, {"x": 2}])
    assert caught.value.code == "model_run_failed"
    pid = predictor.workers()[model.digest]
    assert (await predictor.predict(model, path, [{"x": 1}])).rows == [{"prediction": 1.0}]
    assert predictor.workers()[model.digest] == pid


async def test_least_recently_used_model_makes_room(make_predictor, shelf, models):
    predictor = make_predictor(max_workers=2)
    labelled = [models.classifier([n, n + 1], TensorProto.INT64) for n in (10, 20, 30)]
    first, second, third = (shelf.put(model) for model in labelled)
    await predictor.predict(*first, [{"x": 1}])
    await predictor.predict(*second, [{"x": 1}])
    pid = predictor.workers()[second[0].digest]
    await predictor.predict(*first, [{"x": 1}])
    await predictor.predict(*third, [{"x": 1}])
    assert list(predictor.workers()) == [first[0].digest, third[0].digest]
    assert not is_alive(pid)
    assert (await predictor.predict(*second, [{"x": 1}])).rows[0]["prediction"] == 21


async def test_more_models_than_workers_take_turns(make_predictor, shelf, models):
    predictor = make_predictor(max_workers=1)
    put = [shelf.put(models.classifier([n, n + 1], TensorProto.INT64)) for n in (10, 20, 30)]
    requests = [predictor.predict(*model, [{"x": 1}]) for model in put * 2]
    answers = [prediction.rows[0]["prediction"] for prediction in await asyncio.gather(*requests)]
    assert answers == [11, 21, 31, 11, 21, 31]
    assert len(predictor.workers()) == 1


async def test_no_worker_free(make_predictor, shelf, models, spender):
    predictor = make_predictor(max_workers=1, timeout_s=1.0)
    await predictor.predict(*spender, [QUICK])
    other = models.spender()
    other.doc_string = "another file"
    first = asyncio.create_task(predictor.predict(*spender, [ENDLESS]))
    await asyncio.sleep(0.05)
    # The second gets the place once the first is stopped; the third is behind it.
    second = asyncio.create_task(predictor.predict(*shelf.put(other), [ENDLESS]))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await predictor.predict(*shelf.put(models.flat()), [{"a": 1}])
    assert caught.value.code == "predict_busy"
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(error) for error in results] == [Unavailable] * 2
    assert (await predictor.predict(*shelf.put(models.flat()), [{"a": 1}])).rows


async def test_a_model_under_load_makes_room_for_one_that_waits(make_predictor, shelf, models):
    predictor = make_predictor(max_workers=1)
    hot = shelf.put(models.spender())
    done = asyncio.Event()

    async def hammer():
        while not done.is_set():
            assert (await predictor.predict(*hot, [QUICK])).rows == [{"prediction": 3.0}]

    hammers = [asyncio.create_task(hammer()) for _ in range(4)]
    await running(predictor, hot[0].digest)
    assert (await predictor.predict(*shelf.put(models.flat()), [{"a": 1}])).rows
    done.set()
    await asyncio.gather(*hammers)


async def test_a_switch_is_warmed_beside_a_busy_version(make_predictor, shelf, models):
    predictor = make_predictor(max_workers=1, timeout_s=60.0)
    old, new = shelf.put(models.spender()), shelf.put(models.flat())
    await predictor.predict(*old, [QUICK])
    request = asyncio.create_task(predictor.predict(*old, [{"loops": 3e6, "bytes": 8}]))
    pid = await running(predictor, old[0].digest)
    await predictor.warm(*new)
    assert predictor.workers()[old[0].digest] == pid
    assert new[0].digest in predictor.workers()
    assert (await predictor.predict(*new, [{"a": 1}])).rows
    request.cancel()


async def test_a_model_under_load_gets_a_second_worker(make_predictor, spender):
    predictor = make_predictor(max_workers=2, timeout_s=20.0)
    model, path = spender
    await predictor.predict(model, path, [QUICK])
    hanging = asyncio.create_task(predictor.predict(model, path, [ENDLESS]))
    await running(predictor, model.digest)
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]
    assert len(predictor.processes()[model.digest]) == 2
    hanging.cancel()


async def test_workers_that_keep_dying_are_started_less_often(make_predictor, shelf):
    predictor = make_predictor()
    sign = {"inputs": [{"name": "x", "type": "number", "dtype": "float"}]}
    model, path = shelf.put_bytes(b"no model", sign)
    codes = []
    for _ in range(4):
        with pytest.raises(Unavailable) as caught:
            await predictor.predict(model, path, [{"x": 1}])
        codes.append(caught.value.code)
    assert codes == ["model_unusable"] * 3 + ["predict_paused"]
    assert "the last 3 workers of this model failed" in caught.value.message


async def test_idle_worker_is_let_go(make_predictor, shelf, models):
    predictor = make_predictor(idle_s=0.05)
    model, path = shelf.put(models.flat())
    await predictor.predict(model, path, [{"a": 1}])
    pid = predictor.workers().get(model.digest)
    while predictor.workers():
        await asyncio.sleep(0.01)
    while pid is not None and is_alive(pid):
        await asyncio.sleep(0.01)
    assert (await predictor.predict(model, path, [{"a": 1}])).rows[0]["double"] == 2.0


async def test_close_kills_workers_and_what_runs_in_them(make_predictor, spender):
    predictor = make_predictor(max_workers=1)
    model, path = spender
    request = asyncio.create_task(predictor.predict(model, path, [ENDLESS]))
    waiting = asyncio.create_task(predictor.predict(model, path, [QUICK]))
    pid = await running(predictor, model.digest)
    await predictor.close()
    for task in (request, waiting):
        with pytest.raises(Unavailable) as caught:
            await task
        assert caught.value.code == "predict_closed"
    assert not is_alive(pid)
    with pytest.raises(Unavailable):
        await predictor.predict(model, path, [QUICK])
    await predictor.close()


async def test_close_while_a_worker_starts(make_predictor, spender):
    predictor = make_predictor()
    request = asyncio.create_task(predictor.predict(*spender, [QUICK]))
    await asyncio.sleep(0.02)
    await predictor.close()
    with pytest.raises(Unavailable):
        await request
    assert predictor.workers() == {}


async def test_model_file_too_large(make_predictor, spender):
    predictor = make_predictor(max_model_bytes=100)
    with pytest.raises(TooLarge):
        await predictor.predict(*spender, [QUICK])


async def test_model_file_gone(predictor, spender):
    model, path = spender
    path.unlink()
    with pytest.raises(Unavailable) as caught:
        await predictor.predict(model, path, [QUICK])
    assert caught.value.code == "predict_worker_failed"


async def test_a_worker_that_holds_too_much_is_ended_and_says_so(
    make_predictor, spender, monkeypatch
):
    """Whatever way it got the memory: the limit that the kernel holds is not what ends it here."""
    monkeypatch.setattr(predict_seat, "WATCH_S", 0.02)
    predictor = make_predictor()
    model, path = spender
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]
    (seat,) = predictor._seats.values()
    limits = seat._limits
    hanging = asyncio.create_task(predictor.predict(model, path, [ENDLESS]))
    pid = await running(predictor, model.digest)
    seat._limits = dataclasses.replace(limits, memory_bytes=MIB)
    with pytest.raises(Unavailable) as caught:
        await hanging
    assert caught.value.code == "predict_out_of_memory"
    assert not is_alive(pid)
    seat._limits = limits
    assert (await predictor.predict(model, path, [QUICK])).rows == [{"prediction": 3.0}]
