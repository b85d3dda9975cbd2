"""The chain and its anchors: an edit, a hole, a swap, a cut end and a log written anew are seen."""

import json
import sqlite3
from contextlib import closing

import pytest

from trainbox.engine import tokens as room
from trainbox.origin import ORIGIN, Origin
from trainbox.store import Store
from trainbox.store.transaction import audit_hash
from trainbox_sdk.calls.tokens import AuditFilter
from trainbox_sdk.errors import Conflict


async def filled(state_dir, rows=6, anchor_after=4):
    store = await Store.open(state_dir)
    for number in range(1, rows + 1):
        ORIGIN.set(Origin(f"request-{number}", "10.0.0.1", "tok_1") if number % 2 else Origin())
        await store.audit.append("ann", "test.act", f"object {number}")
        if number == anchor_after:
            assert (await store.audit.anchor()).seq == anchor_after
            assert await store.audit.anchor() is None, "the same head is noted once"
    await store.close()


def tamper(state_dir, *statements):
    """Do what whoever may write the file can do."""
    with closing(sqlite3.connect(state_dir / "trainbox.db", isolation_level=None)) as db:
        for name in ("audit_no_update", "audit_no_delete"):
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)


def rehash(state_dir, start):
    """Make the chain fit again from a row on, as a careful forger would."""
    with closing(sqlite3.connect(state_dir / "trainbox.db", isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        found = db.execute("SELECT hash FROM audit WHERE seq < ? ORDER BY seq DESC", (start,))
        first = found.fetchone()
        prev = first["hash"] if first else ""
        for row in db.execute(
            "SELECT * FROM audit WHERE seq >= ? ORDER BY seq", (start,)
        ).fetchall():
            values = {**dict(row), "prev": prev}
            new = audit_hash(values)
            db.execute("UPDATE audit SET prev = ?, hash = ? WHERE seq = ?", (prev, new, row["seq"]))
            prev = new


async def verdict(state_dir):
    store = await Store.open(state_dir)
    found = await store.audit.verify()
    await store.close()
    return found


async def test_an_untouched_log_is_fine(state_dir):
    await filled(state_dir)
    found = await verdict(state_dir)
    assert (found.ok, found.rows, found.anchors, found.faults) == (True, 6, 1, ())


SWAP = (
    "UPDATE audit SET seq = -1 WHERE seq = 2",
    "UPDATE audit SET seq = 2 WHERE seq = 3",
    "UPDATE audit SET seq = 3 WHERE seq = -1",
)


@pytest.mark.parametrize(
    ("statements", "broken", "word"),
    [
        (("UPDATE audit SET who = 'eve' WHERE seq = 3",), 3, "was changed"),
        (("UPDATE audit SET peer = '10.9.9.9' WHERE seq = 3",), 3, "was changed"),
        (("UPDATE audit SET request = '', token = '', peer = '' WHERE seq = 3",), 3, "was changed"),
        (("UPDATE audit SET token = 'tok_2' WHERE seq = 2",), 2, "was changed"),
        (("DELETE FROM audit WHERE seq IN (2, 3)",), 4, "rows 2 to 3 are missing"),
        (SWAP, 2, "does not follow"),
        (("DELETE FROM audit WHERE seq > 3",), 4, "row 4 was anchored and is gone"),
        (("DELETE FROM audit",), 4, "row 4 was anchored and is gone"),
    ],
    ids=["who", "peer", "origin taken out", "origin put in", "hole", "swap", "cut end", "all"],
)
async def test_what_was_done_to_it_is_seen(state_dir, statements, broken, word):
    await filled(state_dir)
    tamper(state_dir, *statements)
    found = await verdict(state_dir)
    assert (found.ok, found.first_broken) == (False, broken)
    assert word in found.faults[0]


async def test_a_chain_made_to_fit_again_is_seen_by_its_anchor(state_dir):
    await filled(state_dir)
    tamper(state_dir, "UPDATE audit SET who = 'eve' WHERE seq = 2")
    rehash(state_dir, 2)
    found = await verdict(state_dir)
    assert (found.ok, found.first_broken) == (False, 4)
    assert "is not the row that was anchored" in found.faults[0]


async def test_what_is_newer_than_the_last_anchor_can_be_cut_unseen(state_dir):
    """The limit of it: that is why the daemon anchors every few minutes and when it stops."""
    await filled(state_dir)
    tamper(state_dir, "DELETE FROM audit WHERE seq > 4")
    assert (await verdict(state_dir)).ok


async def test_anchors_go_to_a_file_and_to_the_daemons_log(state_dir, caplog):
    caplog.set_level("INFO")
    store = await Store.open(state_dir)
    await store.audit.append("ann", "test.act", "thing")
    await room.anchor_audit(store)
    await store.audit.append("ann", "test.act", "thing")
    await room.anchor_audit(store)
    await store.close()
    lines = (state_dir / "audit-anchors.jsonl").read_text().splitlines()
    noted = [json.loads(line)["seq"] for line in lines]
    logged = [record.audit_seq for record in caplog.records if record.message == "audit head"]
    assert noted == logged == [1, 2]
    assert (state_dir / "audit-anchors.jsonl").stat().st_mode & 0o777 == 0o600


async def test_anchors_cut_short_or_spoilt(state_dir):
    await filled(state_dir)
    file = state_dir / "audit-anchors.jsonl"
    whole = file.read_text()
    file.write_text(whole + '\n{"seq": 5, "ha')
    assert (await verdict(state_dir)).ok, "a crash may leave half a line at the end"
    store = await Store.open(state_dir)
    assert (await store.audit.anchor()).seq == 6
    await store.close()
    found = await verdict(state_dir)
    assert not found.ok
    assert "is not an anchor" in found.faults[0]
    file.unlink()
    assert (await verdict(state_dir)).anchors == 0


async def test_acts_are_filtered_by_all_that_is_known_of_them(state_dir):
    await filled(state_dir)
    store = await Store.open(state_dir)

    async def seqs(**which):
        return [entry.seq for entry in (await store.audit.list(AuditFilter(**which))).items]

    assert await seqs() == [6, 5, 4, 3, 2, 1]
    assert await seqs(object="object 3") == [3]
    assert await seqs(request_id="request-5") == [5]
    assert await seqs(act="test.") == [6, 5, 4, 3, 2, 1]
    assert await seqs(act="test") == await seqs(who="") == await seqs(act="%.") == []
    page = await store.audit.list(AuditFilter(limit=4))
    rest = await store.audit.list(AuditFilter(limit=4, after=page.next))
    assert [entry.seq for entry in rest.items] == [2, 1]
    assert rest.next is None
    await store.close()


async def test_an_act_that_fails_leaves_no_row(store):
    await store.tokens.create("ci", ["read"], who="root", subject="ann")
    with pytest.raises(Conflict):
        await store.tokens.create("ci", ["read"], who="root", subject="ann")
    acts = await store.audit.after(0)
    assert [(act.act, act.who) for act in acts] == [("token.create", "root")]
