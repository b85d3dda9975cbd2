"""A user's requirements file, read before anyone acts on it: names and versions, nothing else.

An option, a URL or a path would let a user choose where the host fetches from, or which file of the
host it reads. What is left is PEP 508 without direct references, and pip's ``--hash``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

MAX_BYTES = 256 * 1024
"""Size of a requirements file that is still read."""
MAX_WISHES = 500
"""Requirements in one file."""

_HASH = re.compile(r"\s--hash=sha256:([0-9a-f]{64})(?=\s|$)")
_OPTION = re.compile(r"(?:^|\s)(--?[A-Za-z][\w-]*)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PATH = re.compile(r"^[./~\\]|[/\\]")
_ARCHIVE = re.compile(r"\.(whl|zip|tar|gz|tgz|bz2|xz)$", re.IGNORECASE)


@dataclass(frozen=True)
class RequirementsProblem:
    """Why a line cannot be taken.

    Attributes:
        line: from 1.
        message: what is wrong with it, in one sentence without a full stop.
    """

    line: int
    message: str


@dataclass(frozen=True)
class Wish:
    """One requirement of a user.

    Attributes:
        line: where it stands, from 1.
        text: the requirement without its hashes.
        name: of the package, normalised.
        hashes: the sha256 sums that it allows; empty for any.
    """

    line: int
    text: str
    name: str
    hashes: frozenset[str]


class _Refused(Exception):
    """Why a line is no wish."""


def requirements_problems(text: str) -> list[RequirementsProblem]:
    """Return what is wrong with a requirements file; nothing where it can be taken.

    A file without any requirement is fine: nothing is installed.
    """
    return _read(text)[1]


def read_wishes(text: str) -> tuple[Wish, ...]:
    """Return the requirements of a file that has no :func:`requirements_problems`."""
    return tuple(_read(text)[0])


def _read(text: str) -> tuple[list[Wish], list[RequirementsProblem]]:
    wishes: list[Wish] = []
    problems: list[RequirementsProblem] = []
    if len(text.encode()) > MAX_BYTES:
        return [], [RequirementsProblem(1, f"the file is larger than {MAX_BYTES // 1024} KiB")]
    for number, line in _lines(text):
        try:
            wishes.append(_wish(number, line))
        except _Refused as refused:
            problems.append(RequirementsProblem(number, str(refused)))
    if len(wishes) > MAX_WISHES:
        problems.append(
            RequirementsProblem(wishes[MAX_WISHES].line, f"more than {MAX_WISHES} requirements")
        )
    return wishes, problems


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each requirement with the number of its first line, comments and joins resolved."""
    joined, started = "", 0
    for number, raw in enumerate(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").split("\n"), 1):
        line = raw.removesuffix("\r")
        if not joined:
            started = number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            joined += line[:-1] + " "
            continue
        # As pip reads it: a comment begins a line, or comes after white space.
        whole = re.sub(r"(^|\s)#.*$", "", joined + line).strip()
        joined = ""
        if whole:
            yield started, whole
    if joined.strip():
        yield started, joined.strip()


def _wish(number: int, line: str) -> Wish:
    if not line.isprintable():
        raise _Refused("it holds a character that cannot be printed")
    if "${" in line:
        raise _Refused("variables are not filled in; write what is meant")
    hashes = frozenset(_HASH.findall(line))
    bare = _HASH.sub("", line).strip()
    option = _OPTION.search(bare)
    if option is not None:
        raise _Refused(_about_option(option[1]))
    try:
        requirement = Requirement(bare)
    except InvalidRequirement as error:
        raise _Refused(_about(bare, error)) from None
    if requirement.url is not None:
        raise _Refused("packages come from the configured index; a URL cannot be taken")
    if _ARCHIVE.search(requirement.name):  # a name to PEP 508, a file to installers
        raise _Refused("packages come from the configured index; a path cannot be taken")
    return Wish(number, bare, canonicalize_name(requirement.name), hashes)


def _about_option(option: str) -> str:
    if option in ("-r", "--requirement", "-c", "--constraint"):
        return f"{option} names another file; put its lines here"
    if option == "--hash":
        return "a hash is --hash=sha256: and 64 hexadecimal digits, after a requirement"
    return f"the option {option} cannot be taken; an admin decides where packages come from"


def _about(line: str, error: InvalidRequirement) -> str:
    if _URL.search(line):
        return "packages come from the configured index; a URL cannot be taken"
    if _PATH.search(line.split(";", maxsplit=1)[0].strip()):
        return "packages come from the configured index; a path cannot be taken"
    first = str(error).splitlines()[0]
    return f"not a requirement such as numpy>=2: {first}"
