"""Which requests share a run, and that each gets its own part of it."""

import asyncio
import struct
from collections import deque

import pytest
from trainbox.engine.predict_lookup import Lookup
from trainbox.engine import predict_columns
from trainbox.engine.predict_tickets import Answer, Outcome, Ticket, deliver, next_batch
from trainbox.workers import predict_wire as wire
from trainbox.workers import predict_worker
from trainbox.workers.predict_process import Loaded, TensorFacts
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import NotFound, Unavailable, ValidationFailed
from trainbox_sdk.predictions import InferRequest, Tensor

TOGETHER = Loaded((), (), None, independent=True, applied={}, missing={})
APART = Loaded((), (), None, independent=False, applied={}, missing={})


def tickets(*rows, alone=()):
    loop = asyncio.get_running_loop()
    return deque(
        Ticket(wire.Item(n, [b"\0" * n]), loop.create_future(), 0.0, alone=at in alone)
        for at, n in enumerate(rows)
    )


def sizes(batch):
    return [ticket.item.rows for ticket in batch]


async def test_what_waits_shares_a_run_up_to_the_limit():
    pending = tickets(3, 4, 2, 5, 100, 1)
    batches = []
    while pending:
        batches.append(sizes(next_batch(pending, TOGETHER, 10)))
    assert batches == [[3, 4, 2], [5], [100], [1]]


async def test_models_whose_rows_depend_on_each_other_run_one_by_one():
    pending = tickets(1, 1, 1)
    assert [sizes(next_batch(pending, APART, 10)) for _ in range(3)] == [[1], [1], [1]]


async def test_a_request_from_a_batch_that_killed_its_worker_runs_alone():
    pending = tickets(1, 2, 3, 4, alone={1})
    assert [sizes(next_batch(pending, TOGETHER, 10)) for _ in range(3)] == [[1], [2], [3, 4]]


async def test_callers_who_have_gone_cost_no_run():
    pending = tickets(1, 2, 3)
    pending[0].answer.cancel()
    pending[2].answer.cancel()
    assert sizes(next_batch(pending, TOGETHER, 10)) == [2]
    assert next_batch(pending, TOGETHER, 10) == []
    assert not pending


async def test_every_request_gets_its_rows_or_its_own_error():
    batch = list(tickets(1, 2, 1, 1))
    floats = wire.Output("FP32", (3, 1), struct.pack("<3f", 1, 2, 3), per_row=True)
    texts = wire.Output(
        "BYTES", (3, 1), wire.write_texts([b"a", b"bb", b""]), per_row=True, offsets=(0, 5, 11, 15)
    )
    labels = wire.Output("INT64", (2,), struct.pack("<2q", 7, 8), per_row=False)
    done = wire.Group(2, wire.DONE, [floats, texts, labels])
    deliver([done, wire.Group(1, wire.BAD_INPUT, text="no"), wire.Group(1, wire.FAILED)], batch)
    first, second = (each.answer.result().outputs() for each in batch[:2])
    assert struct.unpack("<f", first[0].data) == (1.0,)
    assert struct.unpack("<2f", second[0].data) == (2.0, 3.0)
    assert wire.read_texts(second[1].data, 2) == ["bb", ""]
    assert first[2] == second[2] == labels
    for ticket, code in ((batch[2], "bad_tensors"), (batch[3], "model_run_failed")):
        with pytest.raises(ValidationFailed) as caught:
            ticket.answer.result()
        assert caught.value.code == code


def test_frames_carry_what_was_put_in():
    items = [wire.Item(2, [b"12345678", b""], packed=True), wire.Item(1, [b"abcd", b"xyz"])]
    body = b"".join(wire.run_frame(items))
    assert int.from_bytes(body[:4], "big") == len(body) - 4
    read = wire.read_run(memoryview(body)[4:]).items()
    assert [(i.rows, i.packed, [bytes(b) for b in i.buffers]) for i in read] == [
        (2, True, [b"12345678", b""]),
        (1, False, [b"abcd", b"xyz"]),
    ]
    groups = [
        wire.Group(2, wire.DONE, [wire.Output("FP32", (2, 1), b"12345678", per_row=True)]),
        wire.Group(1, wire.FAILED, text="ø"),
    ]
    answer = b"".join(wire.answer_frame(groups))[4:]
    first, second = wire.read_answer(answer)
    assert (first.count, first.outputs[0].shape) == (2, (2, 1))
    assert bytes(first.outputs[0].data) == b"12345678"
    assert (second.status, second.text) == (wire.FAILED, "ø")
    for end in range(len(answer)):
        with pytest.raises(wire.BadFrame):
            wire.read_answer(answer[:end])


@pytest.mark.parametrize("texts", [[], ["a", "", "bc"], ["ø", "東京"]])
def test_texts_in_both_layouts(texts):
    raw = [text.encode() for text in texts]
    assert wire.unpack_texts(wire.pack_texts(raw), len(raw)) == texts
    assert wire.read_texts(wire.write_texts(raw), len(raw)) == texts


class Shelf:
    """Counts how often a reference is looked up."""

    def __init__(self):
        self.commits, self.looks, self.known = 0, 0, {"m": "version 1"}

    async def find(self, who, reference):
        self.looks += 1
        await asyncio.sleep(0)
        if reference not in self.known:
            raise NotFound("no")
        return self.known[reference]


async def test_a_reference_is_looked_up_once_per_change_of_the_store():
    shelf = Shelf()
    ann, bob = (Principal(name, name, frozenset({"predict"})) for name in ("ann", "bob"))
    lookup = Lookup(shelf.find, lambda: shelf.commits)
    found = await asyncio.gather(*(lookup.model(ann, "m") for _ in range(10)))
    assert (set(found), shelf.looks) == ({"version 1"}, 1)
    await lookup.model(bob, "m")
    assert shelf.looks == 2
    shelf.known["m"] = "version 2"
    shelf.commits += 1
    assert await lookup.model(ann, "m") == "version 2"
    for _ in range(2):
        with pytest.raises(NotFound):
            await lookup.model(ann, "nothing")


async def test_requests_of_one_moment_share_runs(make_predictor, shelf, models):
    """Counted at the recorder: many requests, few runs, each with its own answer."""
    from trainbox.recorder import Recorder

    class Heard(Recorder):
        runs: list[int] = []

        def predict_batch(self, rows):
            self.runs.append(rows)

    predictor = make_predictor(recorder=Heard(), batch_rows=50)
    model = models.flat()
    model.metadata_props.add(key="trainbox.rows", value="independent")
    view, path = shelf.put(model)

    async def ask(number):
        raw = struct.pack("<f", number)
        request = InferRequest("m", [Tensor("a", "FP32", (1,), raw)], ["double"])
        answer = await predictor.infer(view, path, request)
        assert struct.unpack("<f", answer.outputs[0].raw) == (2.0 * number,)

    await asyncio.gather(*(ask(number) for number in range(200)))
    assert sum(Heard.runs) == 200
    assert len(Heard.runs) < 20
    assert max(Heard.runs) == 50


@pytest.fixture(scope="module")
def shouting():
    """A loaded graph: what an input text is, and twice an input number."""
    from onnx import TensorProto, helper
    from trainbox.workers.predict_worker import load

    def column(name, kind):
        return helper.make_tensor_value_info(name, kind, ["N", 1])

    nodes = [
        helper.make_node("Identity", ["city"], ["same"]),
        helper.make_node("Add", ["x", "x"], ["twice"]),
    ]
    inputs = [column("city", TensorProto.STRING), column("x", TensorProto.FLOAT)]
    outputs = [column("same", TensorProto.STRING), column("twice", TensorProto.FLOAT)]
    graph = helper.make_graph(nodes, "shouting", inputs, outputs)
    opsets = [helper.make_opsetid("", 18)]
    return load(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def said(graph, *items):
    """Answer a run as the worker does; return ``(status, texts)`` of each request."""
    run = wire.read_run(memoryview(b"".join(wire.run_frame(items)))[4:])
    found, left = [], list(items)
    for group in predict_worker.answer(graph, run):
        first = 0
        for item in left[: group.count]:
            texts = None
            if group.status == wire.DONE:
                part = group.outputs[0].rows(first, item.rows)
                texts = wire.read_texts(part.data, item.rows)
            found.append((group.status, texts))
            first += item.rows
        del left[: group.count]
    return found


def asked(*texts, raw=None, number=b"\0\0\0\0"):
    raw = wire.write_texts([t.encode() for t in texts]) if raw is None else raw
    return wire.Item(len(texts), [raw, number * len(texts)])


def test_requests_that_share_a_run_get_their_own_texts(shouting):
    items = [asked("Paris"), asked("", "København"), asked("Oslo")]
    texts = [["Paris"], ["", "København"], ["Oslo"]]
    assert said(shouting, *items) == [(wire.DONE, each) for each in texts]
    packed = wire.Item(2, [wire.pack_texts([b"a", b"bc"]), b"\0" * 8], packed=True)
    assert said(shouting, packed, asked("d")) == [(wire.DONE, ["a", "bc"]), (wire.DONE, ["d"])]


@pytest.mark.parametrize(
    "bad",
    [
        # Says it is longer than it is: what follows are the bytes of the next request.
        asked("x", raw=struct.pack("<I", 9) + b"x"),
        asked("x", raw=struct.pack("<I", 0) + b"x"),
        asked("x", raw=b"\1\0"),
        asked("x", raw=struct.pack("<I", 1) + b"\xff"),
        asked("a\0b"),
        asked("x", number=b"\0\0\0\0\0"),
    ],
    ids=["longer", "shorter", "cut", "not-utf-8", "nul", "wide-number"],
)
def test_a_bad_request_in_a_batch_reads_nothing_of_its_neighbours(shouting, bad):
    found = said(shouting, asked("secret"), bad, asked("other"))
    assert found == [
        (wire.DONE, ["secret"]),
        (wire.BAD_INPUT, None),
        (wire.DONE, ["other"]),
    ]


def test_two_bad_sizes_that_add_up_are_both_refused(shouting):
    long = asked("x", number=b"\0" * 8)
    short = asked("x", number=b"")
    assert said(shouting, long, short) == [(wire.BAD_INPUT, None)] * 2


def test_what_is_made_of_a_run_is_made_once_and_never_of_constants():
    made = []

    def make(outputs, rows):
        made.append(rows)
        values = struct.unpack(f"<{rows}f", outputs[0].data)
        return [{"y": value} for value in values]

    per_row = wire.Output("FP32", (3, 1), struct.pack("<3f", 1, 2, 3), per_row=True)
    outcome = Outcome([per_row], 3)
    parts = [Answer(outcome, 0, 1), Answer(outcome, 1, 2)]
    assert [part.made(make, names=["y"]) for part in parts] == [[{"y": 1}], [{"y": 2}, {"y": 3}]]
    assert made == [3]
    # Three numbers of the model, not one for each of the three rows.
    constant = Outcome([wire.Output("FP32", (3,), per_row.data, per_row=False)], 3)
    with pytest.raises(struct.error):
        Answer(constant, 0, 1).made(make, names=["y"])


@pytest.mark.parametrize("value", [None, 7, 2.5, "Ø", True], ids=repr)
@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "INT32", "BOOL", "BYTES"])
def test_one_value_is_packed_as_many_are(datatype, value):
    facts = [TensorFacts("c", datatype, (-1, 1))]

    def packed(count):
        try:
            return predict_columns.pack({"c": [value] * count}, count, facts).buffers[0]
        except Unavailable as error:
            return error.code

    one, many = packed(1), packed(predict_columns.MANY)
    if datatype == "BYTES" and isinstance(many, bytes):
        assert wire.read_texts(one * predict_columns.MANY, predict_columns.MANY) == (
            wire.unpack_texts(many, predict_columns.MANY)
        )
    elif isinstance(one, str) or isinstance(many, str):
        assert one == many == "model_unusable"
    else:
        assert one * predict_columns.MANY == many
