"""Whether the audit log is as it was written: one judge for the open store and for a file of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbox.store.times import micros, moment
from trainbox.store.transaction import audit_hash
from trainbox_sdk.calls.tokens import AuditEntry, AuditVerdict


@dataclass(frozen=True)
class Anchor:
    """A head of the chain as it was at some time."""

    seq: int
    hash: str


class ChainJudge:
    """Sees every row in order and says what does not fit the row before it, or an anchor.

    Args:
        anchors: heads noted elsewhere.
        faults: what is wrong with the file of anchors itself.
    """

    def __init__(self, anchors: Sequence[Anchor], faults: Sequence[str]) -> None:
        self._noted = {anchor.seq: anchor for anchor in anchors}
        self._compared = len(anchors)
        self._faults = list(faults)
        self._broken: int | None = None
        self._rows = 0
        self.head = Anchor(0, "")

    def see(self, entry: AuditEntry) -> None:
        """Compare the next row."""
        wrong = _fault(entry, self.head, self._noted.pop(entry.seq, None))
        if wrong and self._broken is None:
            self._broken = entry.seq
            self._faults.append(wrong)
        self.head = Anchor(entry.seq, entry.hash)
        self._rows += 1

    def verdict(self) -> AuditVerdict:
        """Return the judgement, once every row was seen."""
        if self._noted:
            self._broken = self._broken or min(self._noted)
            self._faults.append(
                f"row {max(self._noted)} was anchored and is gone; the log ends at row"
                f" {self.head.seq}"
            )
            self._noted = {}
        return AuditVerdict(
            not self._faults,
            self._rows,
            self.head.seq,
            self.head.hash,
            self._compared,
            self._broken,
            tuple(self._faults),
        )


def read_anchors(file: Path) -> tuple[list[Anchor], list[str]]:
    """Return the noted heads, and what is wrong with the file; an absent one has none."""
    anchors, faults = list[Anchor](), list[str]()
    try:
        lines = file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return [], []
    for number, line in enumerate(lines, 1):
        try:
            noted = json.loads(line)
            anchors.append(Anchor(int(noted["seq"]), str(noted["hash"])))
        except (ValueError, KeyError, TypeError):
            if number < len(lines):  # the last line may be half written by a crash
                faults.append(f"{file}:{number} is not an anchor")
    return anchors, faults


def _fault(entry: AuditEntry, before: Anchor, noted: Anchor | None) -> str:
    """Return what is wrong with a row; empty where nothing is."""
    if entry.seq != before.seq + 1:
        return f"rows {before.seq + 1} to {entry.seq - 1} are missing"
    if entry.prev != before.hash:
        return f"row {entry.seq} does not follow row {before.seq} as it now is"
    if entry.hash != audit_hash(_hashed(entry)):
        return f"row {entry.seq} was changed after it was written"
    if noted is not None and noted.hash != entry.hash:
        return f"row {entry.seq} is not the row that was anchored"
    return ""


def _hashed(entry: AuditEntry) -> Mapping[str, object]:
    origin = {"token": entry.token_id, "request": entry.request_id}
    return {**vars(entry), **origin, "at": micros(entry.at)}


def entry_of(row: Any) -> AuditEntry:
    """Return a row, whatever read it, as the SDK has it; its columns are attributes."""
    return AuditEntry(
        seq=row.seq,
        at=moment(row.at),
        who=row.who,
        act=row.act,
        object=row.object,
        note=row.note,
        token_id=row.token,
        request_id=row.request,
        peer=row.peer,
        prev=row.prev,
        hash=row.hash,
    )
