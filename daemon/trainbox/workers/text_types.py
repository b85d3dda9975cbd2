"""What type a column of text has: decided by every value, never by most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import duckdb

from trainbox.workers import text_rules
from trainbox.workers.ingest_request import ColumnType
from trainbox.workers.refusal import counted, shown
from trainbox.workers.staging import batches, literal
from trainbox.workers.text_rules import BLANKS, SIGNS, STRING, Expected, Rule

SAMPLE = 256
"""Present values from which the rules worth trying on the whole column are chosen."""
NEARLY = 0.95
"""From this share of values that follow a rule on, the others are reported."""
SHOWN_ROWS = 5
BATCH = 32
GAP_BATCH = 256
"""Columns per query."""
SAMPLE_CELLS = 100_000
"""Of the samples of all columns together, so that a wide table is not sampled for ever."""


class Note(NamedTuple):
    """A sentence on a column, and its stable word (``WarningRule`` of the SDK)."""

    rule: str
    message: str


@dataclass(frozen=True)
class TypedColumn:
    """A staged column and the SQL that types it.

    Attributes:
        expression: SQL over the staged column; missing becomes NULL.
        notes: what is to be known of how it was read, or what it nearly was.
    """

    type: ColumnType
    sql_type: str
    expression: str
    notes: tuple[Note, ...] = ()

    def noting(self, note: Note) -> TypedColumn:
        """Return the same column with one more note."""
        return replace(self, notes=(*self.notes, note))


@dataclass(frozen=True)
class _Counts:
    """How many present values follow each rule and show each sign."""

    present: int
    of: Mapping[str, int]

    def all(self, name: str) -> bool:
        return 0 < self.present == self.of.get(name)

    def share(self, rule: Rule) -> float:
        return self.of.get(rule.name, 0) / self.present if self.present else 0.0


@dataclass(frozen=True)
class Misfit:
    """A column that is not what the uploader said.

    Attributes:
        row: from 1, of the first value that does not fit.
    """

    column: str
    expected: Expected
    row: int
    value: str


def type_columns(
    connection: duckdb.DuckDBPyConnection,
    rules: Mapping[str, Sequence[Rule]],
    declared: Mapping[str, ColumnType],
) -> tuple[dict[str, TypedColumn], list[Misfit]]:
    """Return the type of every column of the staged table ``raw``, by name, and what misfits.

    Args:
        connection: where the table is.
        rules: the types each column may have, in the order of its columns c0, c1, …
        declared: the type that the uploader said a column has; its values fit, or it is a misfit.
    """
    staged = {f"c{index}": name for index, name in enumerate(rules)}
    typed: dict[str, TypedColumn] = {}
    misfits: list[Misfit] = []
    for batch in batches(list(staged), BATCH):
        samples = _samples(connection, batch, _sample_rows(len(staged)))
        worth = {
            column: _declared_rules(rules[name], declared[name])
            if (name := staged[column]) in declared
            else _worth(rules[name], samples[column])
            for column in batch
        }
        # Most columns follow the narrowest rule of their sample: the others are not worth a count.
        counts = _count(connection, {column: tried[:1] for column, tried in worth.items()})
        open_ = {
            column: tried
            for column, tried in worth.items()
            if len(tried) > 1 and not _decides(tried[0], counts[column])
        }
        counts |= _count(connection, open_)
        for column in batch:
            name = staged[column]
            comma = text_rules.COMMA in rules[name]
            judge = _Judge(connection, column, f"column {shown(name)}", samples[column], comma)
            if name in declared:
                found = judge.declared(worth[column], counts.get(column))
                if found is None:
                    expected = Expected(declared[name], comma)
                    misfits.append(judge.misfit(name, worth[column], expected))
                    found = judge.typed(STRING, ())
            else:
                found = judge.type(worth[column], counts.get(column))
            typed[name] = found
    return typed, misfits


def _declared_rules(allowed: Sequence[Rule], type: ColumnType) -> list[Rule]:
    """Return the rules of a type; where no value says which, those of any format."""
    found = [rule for rule in allowed if rule.type == type]
    anywhere = [rule for rule in text_rules.RULES if rule is not text_rules.COMMA]
    return found or [rule for rule in anywhere if rule.type == type]


def clear_padded_gaps(connection: duckdb.DuckDBPyConnection, columns: int) -> None:
    """Make NULL of texts that are gaps but for the blanks around them."""
    staged = [f"c{index}" for index in range(columns)]
    pattern = literal(text_rules.PADDED_GAP)
    for batch in batches(staged, GAP_BATCH):
        tests = {column: f"regexp_full_match({column}, {pattern})" for column in batch}
        wanted = ", ".join(f"bool_or({test})" for test in tests.values())
        found = connection.execute(f"SELECT {wanted} FROM raw").fetchone()  # noqa: S608
        assert found is not None
        for (column, test), padded in zip(tests.items(), found, strict=True):
            if padded:
                connection.execute(f"UPDATE raw SET {column} = NULL WHERE {test}")  # noqa: S608


def _sample_rows(columns: int) -> int:
    return max(min(SAMPLE, SAMPLE_CELLS // columns), 32)


def _samples(
    connection: duckdb.DuckDBPyConnection, staged: Sequence[str], size: int
) -> dict[str, list[str]]:
    """Return the first present values of each column."""
    wanted = ", ".join(staged)
    rows = connection.execute(f"SELECT {wanted} FROM raw LIMIT {size}").fetchall()  # noqa: S608
    samples = {}
    for column, values in zip(staged, zip(*rows, strict=True), strict=True):
        present = [value for value in values if value is not None]
        samples[column] = present or _late_sample(connection, column)
    return samples


def _late_sample(connection: duckdb.DuckDBPyConnection, column: str) -> list[str]:
    rows = connection.execute(
        f"SELECT {column} FROM raw WHERE {column} IS NOT NULL LIMIT {SAMPLE}"  # noqa: S608
    ).fetchall()
    return [value for (value,) in rows]


def _worth(rules: Sequence[Rule], sample: Sequence[str]) -> list[Rule]:
    """Return the rules that (nearly) all of the sample follows."""
    values = [value.strip(BLANKS) for value in sample]
    return [rule for rule in rules if values and _share(rule, values) >= NEARLY]


def _count(
    connection: duckdb.DuckDBPyConnection, worth: Mapping[str, Sequence[Rule]]
) -> dict[str, _Counts]:
    """Count over whole columns, several in one query: binding a wide table is the dear part.

    ``countif``, not FILTER, with which DuckDB copies all columns for each of the counts.
    """
    tests = {
        (column, name): test
        for column, rules in worth.items()
        for rule in rules
        for name, test in _tests(rule, column).items()
    }
    columns = list(dict.fromkeys(column for column, _ in tests))
    if not columns:
        return {}
    wanted = [f"count({column})" for column in columns]
    wanted += [f"countif({test})" for test in tests.values()]
    row = connection.execute(f"SELECT {', '.join(wanted)} FROM raw").fetchone()  # noqa: S608
    assert row is not None
    found = dict(zip(tests, row[len(columns) :], strict=True))
    return {
        column: _Counts(present, {name: n for (of, name), n in found.items() if of == column})
        for column, present in zip(columns, row, strict=False)
    }


def _tests(rule: Rule, column: str) -> dict[str, str]:
    """Return what to count for a rule: those that follow it, and its signs."""
    signs = SIGNS.get(rule, {})
    return {rule.name: rule.test(column)} | {
        sign: test.replace("@", column) for sign, test in signs.items()
    }


@dataclass(frozen=True)
class _Judge:
    """Decides on one column, and says in words what it nearly was.

    Attributes:
        staged: its name in ``raw``.
        column: how warnings call it.
        comma: whether it may have decimal commas.
    """

    connection: duckdb.DuckDBPyConnection
    staged: str
    column: str
    sample: Sequence[str]
    comma: bool

    def type(self, worth: Sequence[Rule], whole: _Counts | None) -> TypedColumn:
        """Return the column as the first rule that decides reads it, text if none does."""
        if whole is None:
            return self.typed(STRING, self._sample_warnings())
        rule = next((rule for rule in worth if _decides(rule, whole)), None)
        if rule is None:
            return self.typed(STRING, self._near_misses(worth, whole))
        return self.typed(rule, self._readings(rule, whole))

    def declared(self, rules: Sequence[Rule], whole: _Counts | None) -> TypedColumn | None:
        """Return the narrowest of the rules that all values follow; None if none is."""
        if not rules:
            return self.typed(STRING, ())
        assert whole is not None
        if not whole.present:
            return self.typed(rules[-1], [Note("all_missing", f"{self.column} has no values")])
        rule = next((rule for rule in rules if whole.all(rule.name)), None)
        return None if rule is None else self.typed(rule, self._readings(rule, whole))

    def misfit(self, name: str, rules: Sequence[Rule], expected: Expected) -> Misfit:
        """Return the first value that follows none of the rules."""
        tests = " OR ".join(rule.test(self.staged) for rule in rules)
        row = self.connection.execute(
            f"SELECT rowid + 1, {self.staged} FROM raw WHERE {self.staged} IS NOT NULL"  # noqa: S608
            f" ORDER BY ({tests}), rowid LIMIT 1"
        ).fetchone()
        assert row is not None
        return Misfit(name, expected, *row)

    def typed(self, rule: Rule, notes: Sequence[Note]) -> TypedColumn:
        """Return the column as the rule reads it."""
        expression = rule.cast.replace("@", self.staged)
        return TypedColumn(rule.type, rule.sql_type, expression, tuple(notes))

    def _sample_warnings(self) -> list[Note]:
        if not self.sample:
            return [Note("all_missing", f"{self.column} has no values")]
        values = [value.strip(BLANKS) for value in self.sample]
        if all(text_rules.OTHER_DATE.fullmatch(value) for value in values):
            return [
                Note(
                    "reading",
                    f"{self.column} looks like dates but is kept as text; write them as 2024-12-31",
                )
            ]
        if zeros := _leading_zeros(values):
            kept = f"{self.column} is text, so that leading zeros as in {shown(zeros)} are kept"
            return [Note("leading_zeros", kept)]
        if any(raw != value for raw, value in zip(self.sample, values, strict=True)):
            return [
                Note(
                    "reading", f"{self.column} has values with blanks around them, kept as they are"
                )
            ]
        return []

    def _near_misses(self, worth: Sequence[Rule], whole: _Counts) -> list[Note]:
        if whole.all(text_rules.NUMBER.name):
            return [
                Note(
                    "reading",
                    f"{self.column} holds integers beyond 64 bits: kept as text, every digit",
                )
            ]
        if whole.all(text_rules.COMMA.name):
            either = "1,234 may be 1234 or 1.234"
            return [
                Note("reading", f"{self.column}: {either}: kept as text; write it without a comma")
            ]
        nearest = max(worth, key=whole.share)
        if whole.share(nearest) < NEARLY:
            return []
        rows = self.connection.execute(
            f"SELECT rowid + 1, {self.staged} FROM raw"  # noqa: S608
            f" WHERE {self.staged} IS NOT NULL AND NOT {nearest.test(self.staged)}"
            f" ORDER BY rowid LIMIT {SHOWN_ROWS}"
        ).fetchall()
        listed = ", ".join(f"row {row}: {shown(value)}" for row, value in rows)
        odd = counted(whole.present - whole.of[nearest.name], "value")
        share = f"{odd} of {whole.present:,}"
        return [
            Note(
                "mixed_types",
                f"{self.column} is text because of {share} that are no {nearest.type} ({listed})",
            )
        ]

    def _readings(self, rule: Rule, whole: _Counts) -> list[Note]:
        if self.comma and rule is text_rules.NUMBER and whole.all(text_rules.DOTS):
            either = "1.234 is read as 1.234, not as 1234"
            return [Note("reading", f"{self.column}: {either}; write thousands without a dot")]
        if rule is text_rules.COMMA:
            return [Note("reading", f"{self.column} is read with a decimal comma")]
        naive = whole.present - whole.of.get(text_rules.ZONE, 0)
        if rule is text_rules.STAMP and 0 < naive < whole.present:
            return [
                Note(
                    "reading",
                    f"{self.column}: {counted(naive, 'value')} without UTC offset, read as UTC",
                )
            ]
        return []


def _share(rule: Rule, values: Sequence[str]) -> float:
    return sum(rule.matcher.fullmatch(value) is not None for value in values) / len(values)


def _leading_zeros(values: Sequence[str]) -> str:
    """Return the first number with a leading zero, if all are numbers but for such zeros."""
    zeros = [value for value in values if text_rules.LEADING_ZERO.fullmatch(value)]
    plain = sum(text_rules.NUMBER.matcher.fullmatch(value) is not None for value in values)
    return zeros[0] if zeros and len(zeros) + plain == len(values) else ""


def _decides(rule: Rule, whole: _Counts) -> bool:
    if not whole.all(rule.name):
        return False
    if rule is text_rules.NUMBER:
        # Long digits with no fraction anywhere are identifiers: a DOUBLE would change them.
        return not whole.of[text_rules.HUGE_INTEGER] or whole.of[text_rules.FRACTION] > 0
    return rule is not text_rules.COMMA or not whole.all(text_rules.THOUSANDS)
