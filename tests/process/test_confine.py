"""The parts of the confinement that can be checked without being confined."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

import trainbox_guest
from trainbox_guest import confine
from trainbox_guest.confine import seccomp

ALLOW, ERRNO, KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
SOCKET = {"x86_64": 41, "aarch64": 198}
CLONE = {"x86_64": 56, "aarch64": 220}
IOCTL = {"x86_64": 16, "aarch64": 29}


def verdict(program: list[seccomp.Instruction], arch: int, number: int, *arguments: int) -> int:
    """Interpret classic BPF over ``struct seccomp_data`` (seccomp(2)), low words only."""
    data = {0: number, 4: arch}
    data |= {16 + 8 * i: value & 0xFFFF_FFFF for i, value in enumerate(arguments)}
    accumulator, counter = 0, 0
    while True:
        code, if_true, if_false, constant = program[counter]
        counter += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            accumulator = data[constant]
            continue
        holds = {
            0x15: accumulator == constant,
            0x35: accumulator >= constant,
            0x45: bool(accumulator & constant),
        }[code]
        counter += if_true if holds else if_false


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("internet", [True, False])
def test_filter_refuses_what_it_lists_and_nothing_else(machine: str, internet: bool) -> None:
    program = seccomp.program(machine, internet=internet)
    refused = set(seccomp.denied(machine).values())
    special = {SOCKET[machine], CLONE[machine], IOCTL[machine], 435}
    for number in range(470):
        got = verdict(program, ARCH[machine], number, 0, 0, 0, 0, 0, 0)
        if number in refused:
            assert got == ERRNO | errno.EPERM, number
        elif number not in special:
            assert got == ALLOW, number


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_looks_at_arguments(machine: str) -> None:
    arch = ARCH[machine]
    program = seccomp.program(machine, internet=True)
    alone = seccomp.program(machine, internet=False)
    for family, expected in ((1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW)):
        assert verdict(program, arch, SOCKET[machine], family, 1, 0) == expected
    for protocol in (6, 9, 12, 15):  # xfrm, audit, netfilter, uevents
        assert verdict(program, arch, SOCKET[machine], 16, 3, protocol) == ERRNO | errno.EACCES
    for family in (17, 31, 38, 40):  # packet, bluetooth, alg, vsock
        assert verdict(program, arch, SOCKET[machine], family, 1) == ERRNO | errno.EACCES
    assert verdict(alone, arch, SOCKET[machine], 1, 1) == ALLOW
    assert verdict(alone, arch, SOCKET[machine], 2, 1) == ERRNO | errno.EACCES
    assert verdict(program, arch, CLONE[machine], 17) == ALLOW  # fork
    assert verdict(program, arch, CLONE[machine], 0x3D0F00) == ALLOW  # a thread
    for flag in (
        0x00020000,
        0x02000000,
        0x04000000,
        0x08000000,
        0x10000000,
        0x20000000,
        0x40000000,
    ):
        assert verdict(program, arch, CLONE[machine], flag | 17) == ERRNO | errno.EPERM
    assert verdict(program, arch, 435) == ERRNO | errno.ENOSYS  # clone3 falls back to clone
    assert verdict(program, arch, IOCTL[machine], 0, 0x5401) == ALLOW  # TCGETS
    assert verdict(program, arch, IOCTL[machine], 0, 0x5412) == ERRNO | errno.EPERM  # TIOCSTI
    assert verdict(program, arch, IOCTL[machine], 0, 0x541C) == ERRNO | errno.EPERM  # TIOCLINUX


def test_another_architectures_calls_kill() -> None:
    program = seccomp.program("x86_64", internet=True)
    assert verdict(program, 0x4000_0003, 102) == KILL  # i386 socketcall
    assert verdict(program, ARCH["x86_64"], 0x4000_0000 | 41) == ERRNO | errno.ENOSYS  # x32


def confined(code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(trainbox_guest.__file__).parents[1])
    head = f"import sys; sys.path.insert(0, {root!r})\nfrom trainbox_guest import confine\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", head + code, *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_apply_confines_the_caller_and_says_how(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("model")
    (tmp_path / "secret").write_text("secret")
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    done = confined(
        """
import os
paths = (*confine.python_paths(), sys.argv[1] + "/model")
report = confine.apply(confine.Policy(read=paths, uid=10001))
assert not report.missing, report
assert open(sys.argv[1] + "/model").read() == "model"
try: open(sys.argv[1] + "/secret")
except OSError: print("held", os.getuid())
""",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "held"


def test_apply_refuses_a_process_with_threads() -> None:
    done = confined(
        """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
try: confine.apply(confine.Policy())
except confine.ConfinementError as error: print(error, flush=True)
import os; os._exit(0)
"""
    )
    assert "before the first thread" in done.stdout, done.stderr


def test_required_layer_that_was_not_asked_for_is_an_error() -> None:
    done = confined(
        """
policy = confine.Policy(layers=(confine.LIMITS,), require=(confine.SYSCALLS,))
try: confine.apply(policy)
except confine.ConfinementError as error: print(error)
"""
    )
    assert "seccomp" in done.stdout or "syscalls" in done.stdout, done.stderr


def test_every_layer_is_named_once() -> None:
    assert len(set(confine.LAYERS)) == len(confine.LAYERS) == 7
