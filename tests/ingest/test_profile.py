"""What is found out about a table, and whether a column knows the target."""

import random
from dataclasses import replace

import pytest
from trainbox_sdk.errors import ValidationFailed
from trainbox_sdk.profiles import profile_from_json, profile_to_json

ROWS = 400


def table(**columns: object) -> str:
    rows = zip(*columns.values(), strict=True)
    return ",".join(columns) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def dice():
    return random.Random(3)


async def test_numbers_texts_and_top_values(upload):
    text = table(
        n=[*range(-10, 90), ""],
        s=["aaa"] * 60 + ["b"] * 39 + ["", ""],
        f=[0, 1] * 50 + [1],
    )
    profile = (await upload(text)).profile
    number, string, few = profile.columns
    assert (number.numbers.mean, number.numbers.zeros, number.numbers.negatives) == (39.5, 1, 10)
    assert number.numbers.std == pytest.approx(29.011, abs=0.001)
    assert number.numbers.quantiles["0.5"] == pytest.approx(39.5, abs=2)
    assert number.top == ()
    assert [(top.value, top.count) for top in string.top] == [("aaa", 60), ("b", 39)]
    assert (string.texts.shortest, string.texts.longest) == (1, 3)
    assert [(top.value, top.count) for top in few.top] == [(1, 51), (0, 50)]
    assert profile_from_json(profile_to_json(profile)) == profile


async def test_numbers_near_the_end_of_their_range(upload):
    facts = (await upload("x\n1e308\n-1e308\n1e308\n")).profile.columns[0].numbers
    assert (facts.mean, facts.std, facts.negatives) == (None, None, 1)


async def test_warnings(upload, dice):
    noise = [dice.random() for _ in range(ROWS)]
    group = [dice.choice("abc") for _ in range(ROWS)]
    data = await upload(
        table(
            constant=["x"] * ROWS,
            gap=[""] * ROWS,
            key=[f"k{i}" for i in range(ROWS)],
            count=range(ROWS),
            zip=[f"{i % 40:05}" for i in range(ROWS)],
            noise=noise,
            same=noise,
            scaled=[3 - 2 * value for value in noise],
            group=group,
            code=[{"a": 7, "b": 8, "c": 9}[each] for each in group],
            label=[{"a": "x", "b": "y", "c": "z"}[each] for each in group],
            free=[dice.random() for _ in range(ROWS)],
        )
    )
    found = {(warning.rule, warning.columns) for warning in data.profile.warnings}
    assert found == {
        ("constant", ("constant",)),
        ("all_missing", ("gap",)),
        ("id_like", ("key",)),
        ("id_like", ("count",)),
        ("leading_zeros", ("zip",)),
        ("duplicate_columns", ("noise", "same")),
        ("near_duplicate_columns", ("noise", "scaled")),
        ("near_duplicate_columns", ("group", "label")),
    }
    assert data.profile.duplicate_rows == 0


async def test_duplicate_rows(upload):
    profile = (await upload(table(a=[1, 2, 1, 1, 2, 3], b=["x", "", "x", "y", "", "x"]))).profile
    assert profile.duplicate_rows == 2
    assert [warning.rule for warning in profile.warnings] == ["duplicate_rows"]


async def test_columns_alike_only_at_the_start_are_not_duplicates(upload):
    values = [i % 7 for i in range(12_000)]
    late = [*values[:-1], 99]
    profile = (await upload(table(a=values, b=late))).profile
    assert "duplicate_columns" not in {warning.rule for warning in profile.warnings}


@pytest.fixture
def leaky(dice):
    target = [dice.choice(["yes", "no", "no"]) for _ in range(ROWS)]
    return {
        "target": target,
        "copy": target,
        "code": [{"yes": dice.choice([1, 2]), "no": dice.choice([3, 4])}[each] for each in target],
        "score": [dice.random() + 5 * (each == "yes") for each in target],
        "refund": [7 if each == "yes" else "" for each in target],
        "key": [f"k{i}" for i in range(ROWS)],
        "noise": [dice.random() for _ in range(ROWS)],
        "colour": [dice.choice("rgb") for _ in range(ROWS)],
        "hint": [each if dice.random() < 0.9 else "no" for each in target],
    }


async def test_leaks_of_a_class(ingest, upload, leaky):
    data = await upload(table(**leaky))
    found = await ingest.target_profile(data.digest, "target")
    assert {(leak.column, leak.rule) for leak in found.leaks} == {
        ("copy", "copy_of_target"),
        ("code", "determines_target"),
        ("score", "determines_target"),
        ("refund", "missing_tells_target"),
    }
    assert found.rows_checked == ROWS
    assert [top.value for top in found.classes] == ["no", "yes"]
    assert all(leak.score >= 0.99 and leak.message for leak in found.leaks)


async def test_leaks_of_a_number(ingest, upload, dice):
    price = [dice.uniform(1, 1000) for _ in range(ROWS)]
    shop = [dice.choice("abcd") for _ in range(ROWS)]
    data = await upload(
        table(
            price=price,
            gross=[round(each * 1.19, 6) for each in price],
            area=[each / 10 + dice.gauss(0, 30) for each in price],
            shop=shop,
            band=[round(each**2 / 50, 3) for each in price],
            key=range(ROWS),
        )
    )
    found = await ingest.target_profile(data.digest, "price")
    assert [(leak.column, leak.rule) for leak in found.leaks] == [
        ("gross", "copy_of_target"),
        ("band", "determines_target"),
    ]
    assert found.classes == ()


@pytest.mark.parametrize(("column", "rule"), [("same", "constant"), ("none", "all_missing")])
async def test_target_that_is_none(ingest, upload, column, rule):
    data = await upload(table(a=range(30), same=[1] * 30, none=[""] * 30))
    found = await ingest.target_profile(data.digest, column)
    assert [warning.rule for warning in found.warnings] == [rule]
    assert found.leaks == ()


async def test_target_that_is_not_there(ingest, upload):
    data = await upload(table(a=[1, 2], b=[3, 4]))
    with pytest.raises(ValidationFailed) as caught:
        await ingest.target_profile(data.digest, "c")
    assert caught.value.code == "unknown_column"
    assert "'a', 'b'" in caught.value.hint


async def test_file_on_disk_is_read_and_stays(ingest, tmp, rows):
    path = tmp / "arrived"
    path.write_text("a,b\n1,2\n")
    data = await ingest.ingest_file(path, format="csv")
    assert rows(data) == [(1, 2)]
    assert path.read_text() == "a,b\n1,2\n"
    path.write_text("a,b\n1\n")
    with pytest.raises(ValidationFailed):
        await ingest.ingest_file(path, format="csv", filename="x.csv")
    assert [each.name for each in tmp.iterdir()] == ["arrived"]


async def test_file_on_disk_over_the_limit(blobs, small, tmp):
    from trainbox.ingest import Ingest
    from trainbox_sdk.errors import TooLarge

    ingest = Ingest(blobs, replace(small, upload_bytes=10), tmp)
    path = tmp / "arrived"
    path.write_text("a\n" + "1\n" * 20)
    with pytest.raises(TooLarge):
        await ingest.ingest_file(path, format="csv")
