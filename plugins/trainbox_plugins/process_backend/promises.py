"""What was found, in the words of the sandbox contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainbox_guest.confine import FILES, LANDLOCK, NETWORK, PRIVILEGES, SYSCALLS, USER
from trainbox_guest.shim.watch import CPU, MEMORY, PIDS
from trainbox_sdk.backends import Level, Promise

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENFORCED, _PARTIAL, _NONE = Level.ENFORCED, Level.PARTIAL, Level.NONE


def promises(
    held: Mapping[str, Any], applied: Mapping[str, str], missing: Mapping[str, str]
) -> tuple[Promise, ...]:
    """Turn an attack's findings and the confinement's own report into promises."""

    def how(*layers: str) -> str:
        told = [applied[layer] for layer in layers if layer in applied]
        return "; ".join(told) or "; ".join(missing.get(layer, "") for layer in layers)

    def level(*attacks: str, part: str = "") -> Level:
        if all(held.get(name) is True for name in attacks):
            return _ENFORCED
        return _PARTIAL if part and held.get(part) is True else _NONE

    def counted(name: str, otherwise: str) -> tuple[Level, str]:
        return (_ENFORCED, applied[name]) if name in applied else (_PARTIAL, otherwise)

    memory = counted(MEMORY, "looked at every 0.1 s: a fast allocation passes it for that long")
    cpu = counted(CPU, "pinned to as many cores as its quota rounds up to, at a lower priority")
    pids = counted(PIDS, "RLIMIT_NPROC, shared by all steps of that user")
    return (
        Promise("network", level("network", "vsock", part="network"), how(NETWORK, SYSCALLS)),
        Promise("memory", *memory),
        Promise("cpu", *cpu),
        Promise("pids", *pids),
        Promise("root", level("write"), how(FILES, LANDLOCK)),
        Promise("files", level("read"), f"unlisted files cannot be read: {how(FILES, LANDLOCK)}"),
        Promise("user", level("user"), how(USER)),
        Promise("capabilities", level("capabilities"), how(PRIVILEGES)),
        Promise("privileges", level("no_new_privs", "namespaces"), how(PRIVILEGES)),
        Promise("seccomp", level("ptrace", "vsock", "namespaces"), how(SYSCALLS)),
        Promise("disk", _PARTIAL, "the kernel caps one file; the sum is looked at every 0.25 s"),
        Promise("tmp", level("tmp"), "a /tmp of its own, of fixed size"),
        Promise("open_files", _ENFORCED, "RLIMIT_NOFILE"),
        Promise("log", _ENFORCED, "cut to its limit; a flood ends the sandbox"),
        Promise("environment", _ENFORCED, "only the contract's variables"),
        Promise("processes", level("signal", "hidden", part="signal"), _processes(held)),
    )


def summary(made: tuple[Promise, ...]) -> str:
    """Say in one sentence what does not hold.

    Of disk nothing: whether the daemon gives a step one of its own is not this backend's to know.
    """
    made = tuple(promise for promise in made if promise.name != "disk")
    weak = [promise.name for promise in made if promise.level is Level.NONE]
    partly = [promise.name for promise in made if promise.level is Level.PARTIAL]
    told = "steps run as processes of this host and share its kernel"
    if weak:
        told += f"; NOT confined: {', '.join(weak)}"
    if partly:
        told += f"; confined only in part: {', '.join(partly)}"
    return f"{told}; everything else of the sandbox contract holds (disk: see its own line)"


def _processes(held: Mapping[str, Any]) -> str:
    if held.get("hidden") is True:
        return "PID namespace: the host's processes are invisible, and all die with the step"
    if held.get("signal") is True:
        return "the host's processes can be listed, not signalled; all die with the step"
    return "none"
