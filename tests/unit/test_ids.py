"""Ids: of a known kind, in order of time, valid wherever they end up."""

import base64
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from trainbox.ids import PREFIXES, is_id, new_id


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_id_names_its_kind_and_suits_engines_and_file_systems(prefix):
    made = new_id(prefix)
    assert re.fullmatch(rf"{prefix}_[a-z0-9]{{26}}", made)
    assert is_id(made, prefix)
    assert not is_id(made, next(other for other in PREFIXES if other != prefix))


def test_ids_are_distinct_and_sort_by_time():
    made = [new_id("job") for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown id prefix 'x'"):
        new_id("x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job_",
        "job_" + "z" * 26,
        "job_" + "0" * 25,
        "job_" + "0" * 26 + "\n",
        "../job_" + "0" * 26,
    ],
)
def test_other_text_is_no_id(text):
    assert not is_id(text, "job")


def test_an_id_is_a_uuid_of_version_7_and_of_now():
    text = new_id("job").removeprefix("job_").upper() + "=" * 6
    made = uuid.UUID(bytes=base64.b32hexdecode(text))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) / 1000 - time.time()) < 60


def test_ids_are_distinct_over_threads():
    with ThreadPoolExecutor(8) as pool:
        made = [
            one
            for many in pool.map(lambda _: [new_id("job") for _ in range(500)], range(8))
            for one in many
        ]
    assert len(set(made)) == len(made)
