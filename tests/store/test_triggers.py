"""The database refuses by itself, past all our code."""

import itertools
import sqlite3

import pytest

from trainbox import states
from trainbox_sdk.jobs import TERMINAL, State

S = State


async def force(sql, table, row_id, state):
    """Put a row into a state though the triggers forbid it; they come back afterwards."""
    triggers = sql.execute(
        "SELECT name, sql FROM sqlite_master WHERE tbl_name = ? AND type = 'trigger'", (table,)
    ).fetchall()
    for name, _ in triggers:
        sql.execute(f"DROP TRIGGER {name}")
    sql.execute(f"UPDATE {table} SET state = ? WHERE id = ?", (state, row_id))
    for _, text in triggers:
        sql.execute(text)


@pytest.mark.parametrize("table", ["steps", "attempts"])
async def test_only_the_moves_of_the_table(store, sql, make, table):
    step = await make.start(store)
    sql.execute("PRAGMA ignore_check_constraints = ON")
    row_id = step.id if table == "steps" else step.attempt_id
    for before, after in itertools.permutations(State, 2):
        await force(sql, table, row_id, before)
        update = (f"UPDATE {table} SET state = ? WHERE id = ?", (after, row_id))
        if after in states.TRANSITIONS[before]:
            sql.execute(*update)
            assert sql.execute(f"SELECT state FROM {table}").fetchone() == (after,)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="illegal move|never changes"):
                sql.execute(*update)


async def test_a_retry_needs_its_mark_and_an_ended_step(store, sql, make):
    step = await make.start(store)
    queue = "UPDATE steps SET state = 'queued', attempt_id = NULL"
    with pytest.raises(sqlite3.IntegrityError, match="only an ended step"):
        sql.execute(f"{queue}, retries = retries + 1")
    await store.jobs.transition(step, S.PREPARING, S.FAILED)
    for mark in ("", ", retries = retries + 2", ", retries = retries - 1"):
        with pytest.raises(sqlite3.IntegrityError, match="illegal move"):
            sql.execute(queue + mark)
    sql.execute(f"{queue}, retries = retries + 1")


async def test_a_success_is_not_retried(store, sql, make):
    step = await make.run_to(store, await make.start(store), S.COLLECTING)
    await store.jobs.succeed(step, S.COLLECTING)
    with pytest.raises(sqlite3.IntegrityError):
        sql.execute("UPDATE steps SET state = 'queued', attempt_id = NULL, retries = retries + 1")


@pytest.mark.parametrize("end", sorted(TERMINAL - {S.SUCCEEDED}))
async def test_an_ended_attempt_never_changes(store, sql, make, end):
    step = await make.start(store)
    await store.jobs.transition(step, S.PREPARING, end)
    with pytest.raises(sqlite3.IntegrityError, match="never changes"):
        sql.execute("UPDATE attempts SET exit_code = 0")


@pytest.mark.parametrize("table", ["events", "audit"])
async def test_history_is_not_rewritten(store, sql, make, table):
    await store.jobs.insert(make.job(), audit="test")
    for statement in (f"UPDATE {table} SET at = 0", f"DELETE FROM {table}"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            sql.execute(statement)


async def test_a_step_has_one_live_attempt(store, sql, make):
    step = await make.start(store)
    columns = (
        "job_id, step_id, state, environment_ref, reason_code, reason, events_offset, created_at,"
        " confinement"
    )
    with pytest.raises(sqlite3.IntegrityError, match="attempts.step_id"):
        sql.execute(
            f"INSERT INTO attempts (id, number, {columns}) SELECT 'att_x', 2, {columns} FROM attempts"
        )
    assert step.attempt == 1


async def test_rows_start_at_the_start(store, sql, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    names = "job_id, position, priority, plan, needs, reason_code, reason, attempt, retries, cancel_requested, queued_at"
    with pytest.raises(sqlite3.IntegrityError, match="starts as queued"):
        sql.execute(
            f"INSERT INTO steps (id, name, state, {names}) SELECT 'stp_x', 'x', 'running', {names} FROM steps"
        )
    await store.jobs.transition(step, S.RUNNING, S.FAILED)
    columns = (
        "job_id, step_id, environment_ref, reason_code, reason, events_offset, created_at,"
        " confinement"
    )
    with pytest.raises(sqlite3.IntegrityError, match="starts as preparing"):
        sql.execute(
            f"INSERT INTO attempts (id, number, state, {columns})"
            f" SELECT 'att_x', 2, 'succeeded', {columns} FROM attempts"
        )


async def test_active_without_attempt_and_unknown_words_are_refused(store, sql, make):
    await make.start(store)
    for statement in (
        "UPDATE steps SET attempt_id = NULL",
        "UPDATE jobs SET state = 'lost'",
        "UPDATE jobs SET progress = 1.5",
        "UPDATE jobs SET dataset_id = 'ds_none'",
        "UPDATE jobs SET created_at = 'yesterday'",
        "DELETE FROM jobs",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            sql.execute(statement)
