"""What is installed in an environment, in one line: a bill of materials for labels and records."""

from __future__ import annotations

from collections.abc import Mapping

from trainbox_plugins.environments.lock import Pin


def bill_of(files: Mapping[str, str]) -> str:
    """Return ``name==version@sha256:<hex>`` of each wheel, sorted, with spaces between.

    Args:
        files: wheel file name (PEP 427) to its sha256.
    """
    return " ".join(sorted(_entry(name, digest) for name, digest in files.items()))


def packages_in(bill: str) -> tuple[str, ...]:
    """Return ``name==version`` of each entry of a bill."""
    return tuple(entry.partition("@")[0] for entry in bill.split())


def strangers_in(bill: str, pins: tuple[Pin, ...]) -> list[str]:
    """Return entries that a lock does not allow, and locked packages that are missing."""
    allowed = frozenset[str]().union(*(pin.hashes for pin in pins))
    entries = bill.split()
    strange = [entry for entry in entries if entry.rpartition(":")[2] not in allowed]
    installed = {entry.rpartition(":")[2] for entry in entries}
    missing = [f"{pin.name}=={pin.version}" for pin in pins if not pin.hashes & installed]
    return strange + missing


def _entry(wheel: str, digest: str) -> str:
    name, version = wheel.split("-")[:2]
    return f"{name.lower().replace('_', '-')}=={version}@sha256:{digest}"
