"""Rows in, rows out, through real workers running real models."""

import math

import pytest
from onnx import TensorProto
from trainbox_sdk.errors import TooLarge, Unavailable, ValidationFailed

ROW = {"age": 30, "member": True, "city": "Paris", "when": "1970-01-03"}


@pytest.fixture
def mixed(shelf, models):
    return shelf.put(models.mixed(), {"member": "boolean"})


async def test_mixed_columns(predictor, mixed):
    model, path = mixed
    rows = [
        ROW,
        {**ROW, "city": "København", "member": False},
        {**ROW, "age": 0.5, "when": "1970-01-02T01:00:00+02:00"},
    ]
    prediction = await predictor.predict(model, path, rows)
    assert prediction.model_id == model.id
    assert [row["prediction"] for row in prediction.rows] == [1042.0, 52.0, 1010.5]


async def test_missing_and_unseen_values(predictor, mixed):
    rows = [
        {"age": None, "member": None, "city": None, "when": None},
        {**ROW, "city": ""},
        {**ROW, "city": "Atlantis"},
    ]
    prediction = await predictor.predict(*mixed, rows)
    assert [row["prediction"] for row in prediction.rows] == [-13.0, 1027.0, 932.0]


async def test_rows_keep_their_order_in_large_requests(predictor, mixed):
    rows = [{**ROW, "age": number} for number in range(10_000)]
    prediction = await predictor.predict(*mixed, rows)
    assert [row["prediction"] for row in prediction.rows] == [1012.0 + n for n in range(10_000)]


@pytest.mark.parametrize(
    ("labels", "element", "keys"),
    [
        (["no", "ja, ☃"], TensorProto.STRING, ["no", "ja, ☃"]),
        ([3, 7], TensorProto.INT64, ["3", "7"]),
        ([False, True], TensorProto.BOOL, ["false", "true"]),
    ],
)
@pytest.mark.parametrize("output_classes", [True, False])
async def test_class_labels_of_any_type(
    predictor, shelf, models, labels, element, keys, output_classes
):
    model = models.classifier(labels, element, output_classes=output_classes)
    rows = [{"x": -1}, {"x": 1.5}]
    prediction = await predictor.predict(*shelf.put(model), rows)
    assert [row["prediction"] for row in prediction.rows] == labels
    for row, x in zip(prediction.rows, (-1, 1.5), strict=True):
        share = 1 / (1 + math.exp(-x))
        assert row["probabilities"] == pytest.approx({keys[0]: 1 - share, keys[1]: share}, abs=1e-6)


async def test_nan_comes_out_as_null(predictor, shelf, models):
    model = models.classifier(["a", "b"], TensorProto.STRING)
    prediction = await predictor.predict(*shelf.put(model), [{"x": None}])
    assert prediction.rows[0]["probabilities"] == {"a": None, "b": None}


async def test_flat_inputs_and_outputs_of_other_names(predictor, shelf, models):
    prediction = await predictor.predict(*shelf.put(models.flat()), [{"a": 2}, {"a": 3}])
    assert prediction.rows == [
        {"double": 4.0, "both": [2.0, 4.0]},
        {"double": 6.0, "both": [3.0, 6.0]},
    ]


async def test_integer_and_boolean_tensors(predictor, shelf, models):
    model, path = shelf.put(models.strict_types(), {"n": "number", "b": "boolean"})
    prediction = await predictor.predict(model, path, [{"n": 5, "b": True}, {"n": 6.0, "b": False}])
    assert [row["prediction"] for row in prediction.rows] == [6, 6]
    with pytest.raises(ValidationFailed) as caught:
        await predictor.predict(model, path, [{"n": None, "b": None}, {"n": 1.5, "b": True}])
    assert [error.loc for error in caught.value.errors] == [
        ("rows", 0, "n"),
        ("rows", 0, "b"),
        ("rows", 1, "n"),
    ]


async def test_the_worker_stays_for_the_next_request(predictor, mixed):
    model, path = mixed
    await predictor.predict(model, path, [ROW])
    first = predictor.workers()
    await predictor.predict(model, path, [ROW])
    assert predictor.workers() == first
    assert list(first) == [model.digest]


async def test_too_many_rows(make_predictor, mixed):
    predictor = make_predictor(max_rows=10)
    assert len((await predictor.predict(*mixed, [ROW] * 10)).rows) == 10
    with pytest.raises(TooLarge):
        await predictor.predict(*mixed, [ROW] * 11)


async def test_rows_are_refused_before_any_worker_starts(predictor, mixed):
    with pytest.raises(ValidationFailed) as caught:
        await predictor.predict(*mixed, [ROW, {**ROW, "age": "30"}])
    assert caught.value.errors[0].loc == ("rows", 1, "age")
    assert predictor.workers() == {}


async def test_signature_that_disagrees_with_the_file(predictor, shelf, models):
    _, path = shelf.put(models.flat())
    other, _ = shelf.put(models.mixed(), {"member": "boolean"})
    with pytest.raises(Unavailable) as caught:
        await predictor.predict(other, path, [ROW])
    assert caught.value.code == "model_unusable"


async def test_model_without_signature(predictor, shelf, models):
    data = models.flat().SerializeToString()
    with pytest.raises(Unavailable) as caught:
        await predictor.predict(*shelf.put_bytes(data, {}), [{"a": 1}])
    assert caught.value.code == "model_unusable"
