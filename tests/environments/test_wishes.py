"""A user's requirements file: what is taken, and what each refused line is told."""

from __future__ import annotations

import pytest

from trainbox_plugins.environments.wishes import (
    MAX_BYTES,
    MAX_WISHES,
    read_wishes,
    requirements_problems,
)

DIGEST = "a" * 64


def test_names_versions_extras_markers_comments_and_hashes_are_taken() -> None:
    text = (
        "\ufeff# what I need\r\n"
        "numpy==1.26  # the old one\r\n"
        "\r\n"
        'Foo_Bar[speed]>=2,<3 ; python_version < "3.12"\n'
        f"torch==2.13.0 \\\n    --hash=sha256:{DIGEST}\n"
        "last \\\n  >= 1"
    )
    assert requirements_problems(text) == []
    wishes = read_wishes(text)
    assert [(wish.line, wish.name) for wish in wishes] == [
        (2, "numpy"),
        (4, "foo-bar"),
        (5, "torch"),
        (7, "last"),
    ]
    assert wishes[2].hashes == {DIGEST}
    assert wishes[2].text == "torch==2.13.0"


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "\\\n"])
def test_a_file_that_asks_for_nothing_is_fine(text: str) -> None:
    assert requirements_problems(text) == []
    assert read_wishes(text) == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-r other.txt", "another file"),
        ("--constraint=/etc/passwd", "another file"),
        ("-e .", "option -e"),
        ("--index-url http://127.0.0.1/simple", "option --index-url"),
        ("--extra-index-url=http://127.0.0.1", "option --extra-index-url"),
        ("--find-links /etc", "option --find-links"),
        ("--trusted-host x", "option --trusted-host"),
        ("numpy --config-settings=x=y", "option --config-settings"),
        ("numpy==2 --hash=md5:00", "64 hexadecimal"),
        ("numpy==2 --hash=sha256:00", "64 hexadecimal"),
        ("numpy @ https://127.0.0.1/numpy.whl", "URL"),
        ("numpy @ file:///etc/passwd", "URL"),
        ("https://127.0.0.1/numpy.whl", "URL"),
        ("git+https://127.0.0.1/x.git", "URL"),
        ("./numpy.whl", "path"),
        ("/etc/passwd", "path"),
        ("../../x", "path"),
        ("numpy-2.0-py3-none-any.whl", "path"),
        ("${HOME}", "variables"),
        ('numpy ; python_version > "${SECRET}"', "variables"),
        ("num\0py", "printed"),
        ("numpy\x1b[2J", "printed"),
        ("numpy pandas", "not a requirement"),
        ("==2", "not a requirement"),
        ("<html>", "not a requirement"),
    ],
)
def test_line_that_is_no_plain_requirement_is_refused_by_its_number(line: str, told: str) -> None:
    problems = requirements_problems(f"numpy\n\n{line}\npandas\n")
    assert [problem.line for problem in problems] == [3]
    assert told in problems[0].message


def test_sizes_are_limited() -> None:
    assert "KiB" in requirements_problems("x" * (MAX_BYTES + 1))[0].message
    assert requirements_problems("numpy\n" * MAX_WISHES) == []
    assert requirements_problems("numpy\n" * (MAX_WISHES + 1))[0].line == MAX_WISHES + 1
