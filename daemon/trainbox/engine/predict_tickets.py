"""Requests in a model's queue: which of them share a run, and what became of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from trainbox.engine import predict_refusals as refusals
from trainbox.workers import predict_wire as wire
from trainbox.workers.predict_process import Loaded
from trainbox_sdk.errors import TrainboxError


@dataclass(frozen=True)
class SeatLimits:
    """What one worker may use.

    Attributes:
        memory_bytes: writable memory of the process.
        model_bytes: largest file that is loaded.
        timeout_s: seconds for one run, and for a request's wait before that.
        load_timeout_s: seconds to start and to load the model.
        idle_s: seconds after its last run that a process is kept.
        batch_rows: rows up to which requests share a run.
        batch_delay_s: seconds a request waits for company; 0 for not at all.
        waiting: requests at one time for one model.
    """

    memory_bytes: int
    model_bytes: int
    timeout_s: float
    load_timeout_s: float
    idle_s: float
    batch_rows: int
    batch_delay_s: float
    waiting: int


class Outcome:
    """The outputs of a run, which the requests that shared it divide.

    Args:
        outputs: in the model's order.
        rows: of all its requests.
    """

    __slots__ = ("_made", "outputs", "rows")

    def __init__(self, outputs: Sequence[wire.Output], rows: int) -> None:
        self.outputs = outputs
        self.rows = rows
        self._made: list[Any] | None = None

    def make(self, make: Make) -> list[Any]:
        """Return what is made of all rows, made once for all who share the run."""
        if self._made is None:
            self._made = make(self.outputs, self.rows)
        return self._made


@dataclass(slots=True)
class Answer:
    """One request's rows of a run."""

    outcome: Outcome
    first: int
    rows: int

    def outputs(self) -> list[wire.Output]:
        """Return the outputs of these rows; what is not per row is whole."""
        return [each.rows(self.first, self.rows) for each in self.outcome.outputs]

    def made(self, make: Make, whole: Collection[str] = (), names: Sequence[str] = ()) -> list[Any]:
        """Return what is made of these rows, one entry per row.

        Args:
            make: of outputs and their number of rows; entry by entry, whatever the neighbours.
            whole: names of outputs that need not be per row.
            names: of all outputs.
        """
        outcome = self.outcome
        alone = self.rows == outcome.rows
        if not alone and not all(
            each.per_row or name in whole for name, each in zip(names, outcome.outputs, strict=True)
        ):
            return make(self.outputs(), self.rows)
        return outcome.make(make)[self.first : self.first + self.rows]


@dataclass(slots=True)
class Ticket:
    """One request in the queue.

    Attributes:
        item: None asks only for a ready process.
        answer: gets the outputs of this request's rows.
        deadline: when it has waited too long, in the loop's time.
        alone: it was in a batch that killed a process; it shares no other.
    """

    item: wire.Item | None
    answer: asyncio.Future[Answer]
    deadline: float
    alone: bool = False


Make = Callable[[Sequence[wire.Output], int], list[Any]]
READY = Answer(Outcome((), 0), 0, 0)
"""For those who only asked for a process."""


def next_batch(pending: deque[Ticket], loaded: Loaded, batch_rows: int) -> list[Ticket]:
    """Take from the queue what the next run answers: at least one request, if one waits.

    Args:
        pending: requests in order; what is taken leaves it.
        loaded: says whether this model's requests may share a run at all.
        batch_rows: rows up to which they do.
    """
    batch: list[Ticket] = []
    rows, size = 0, 0
    while pending:
        ticket = pending[0]
        if ticket.item is None and not ticket.answer.done():
            ticket.answer.set_result(READY)
        if ticket.answer.done() or ticket.item is None:  # gave up, or was told already
            pending.popleft()
            continue
        rows += ticket.item.rows
        size += sum(map(len, ticket.item.buffers))
        shares = loaded.independent and not ticket.alone and size <= wire.MAX_BYTES // 2
        if batch and not (shares and rows <= batch_rows):
            break
        batch.append(pending.popleft())
        if not shares:
            break
    return batch


def deliver(groups: Sequence[wire.Group], batch: Sequence[Ticket]) -> None:
    """Give every request of a run its part of the outcome."""
    at = 0
    for group in groups:
        row = 0
        sharing = batch[at : at + group.count]
        outcome = Outcome(group.outputs, sum(t.item.rows for t in sharing if t.item is not None))
        for ticket in sharing:
            assert ticket.item is not None
            rows = ticket.item.rows
            if group.status == wire.DONE and not ticket.answer.done():
                ticket.answer.set_result(Answer(outcome, row, rows))
            elif group.status == wire.BAD_INPUT:
                refuse(ticket, refusals.bad_input(group.text))
            elif group.status == wire.FAILED:
                refuse(ticket, refusals.run_failed(group.text))
            row += rows
        at += group.count


def refuse(ticket: Ticket, error: TrainboxError) -> None:
    """Answer a request with an error, unless it is answered or given up."""
    if not ticket.answer.done():
        ticket.answer.set_exception(error)
