"""The table of attacks holds together: with the guest's code, the policy, and the page."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import page
from catalogue import ATTACKS, ROOMS, UNATTACKED

from trainbox_plugins.docker_backend.policy import Confinement, sandbox_policy
from trainbox_sdk.backends import Limits, Paths, SandboxRef, SandboxSpec

HERE = Path(__file__).parent
POLICY = sandbox_policy(
    SandboxSpec(
        ref=SandboxRef("i", "j", "a"),
        environment="sha256:" + "ab" * 32,
        argv=("-m", "trainbox_guest.main"),
        paths=Paths(*(Path("/s") / str(number) for number in range(8))),
        limits=Limits(),
        deadline_at=datetime(2030, 1, 1, tzinfo=UTC),
    ),
    Confinement(1, 1),
)
FIELDS = (POLICY.keys() | POLICY["HostConfig"].keys()) - {"HostConfig"}


def test_names_are_unique_and_each_has_its_code() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names))
    code = "\n".join(path.read_text() for path in (HERE / "guest").glob("attack_*.py"))
    assert set(names) - set(re.findall(r"^def (\w+)", code, re.MULTILINE)) == set()


def test_there_are_many() -> None:
    assert len(ATTACKS) >= 60


def test_what_stops_an_attack_exists() -> None:
    named = {by for attack in ATTACKS for by in attack.stopped_by}
    assert named - FIELDS - ROOMS.keys() - {"seccomp"} == set()


def test_every_field_of_the_policy_is_attacked_or_says_why_not() -> None:
    named = {by for attack in ATTACKS for by in attack.stopped_by}
    assert FIELDS - named - UNATTACKED.keys() == set()
    assert UNATTACKED.keys() <= FIELDS
    assert not UNATTACKED.keys() & named, "an attack is there: drop the excuse"


def test_page_has_the_rows_of_the_catalogue() -> None:
    text = page.PAGE.read_text()
    assert page.whole(text) == text, "run: python tests/hostile/page.py"


def test_page_says_that_docker_contains_all() -> None:
    assert set(page.verdicts("docker").values()) <= {"contained", "refused"}


def test_rooms_and_excuses_are_on_the_page() -> None:
    text = page.PAGE.read_text()
    for name, how in (*ROOMS.items(), *UNATTACKED.items()):
        assert f"| {name} | {how} |" in text, name
