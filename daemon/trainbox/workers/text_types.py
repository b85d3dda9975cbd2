"""What type a column of text has: decided by every value, never by most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from trainbox.workers import text_rules
from trainbox.workers.refusal import counted, shown
from trainbox.workers.staging import batches, literal
from trainbox.workers.text_rules import BLANKS, GAPS, SIGNS, STRING, ColumnType, Rule, trimmed

SAMPLE = 256
"""Present values from which the rules worth trying on the whole column are chosen."""
NEARLY = 0.95
"""From this share of values that follow a rule on, the others are reported."""
SHOWN_ROWS = 5
BATCH = 32
"""Columns per query."""


@dataclass(frozen=True)
class TypedColumn:
    """A staged column and the SQL that types it.

    Attributes:
        expression: SQL over the staged column; missing becomes NULL.
        warnings: sentences about what the data nearly was.
    """

    type: ColumnType
    sql_type: str
    expression: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Counts:
    """How many present values follow each rule and show each sign."""

    present: int
    of: Mapping[str, int]

    def all(self, name: str) -> bool:
        return 0 < self.present == self.of.get(name)

    def share(self, rule: Rule) -> float:
        return self.of.get(rule.name, 0) / self.present if self.present else 0.0


def type_columns(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], delimiter: str
) -> dict[str, TypedColumn]:
    """Return the type of every column of the staged table ``raw``, by name.

    Args:
        connection: where the table is; texts that are gaps but for blanks become NULL in it.
        names: of its columns c0, c1, …
        delimiter: of the file; where it is a comma, there is no decimal comma.
    """
    staged = [f"c{index}" for index in range(len(names))]
    _clear_padded_gaps(connection, staged)
    rules = [rule for rule in text_rules.RULES if delimiter != "," or rule is not text_rules.COMMA]
    typed: dict[str, TypedColumn] = {}
    for batch in batches(list(zip(staged, names, strict=True)), BATCH):
        samples = _samples(connection, [column for column, _ in batch])
        worth = {column: _worth(rules, samples[column]) for column, _ in batch}
        # Most columns follow the narrowest rule of their sample: the others are not worth a count.
        counts = _count(connection, {column: rules[:1] for column, rules in worth.items()})
        open_ = {
            column: rules
            for column, rules in worth.items()
            if rules and not _decides(rules[0], counts[column])
        }
        counts |= _count(connection, open_)
        for column, name in batch:
            judge = _Judge(connection, column, f"column {shown(name)}", samples[column])
            typed[name] = judge.type(worth[column], counts.get(column))
    return typed


def _clear_padded_gaps(connection: duckdb.DuckDBPyConnection, staged: Sequence[str]) -> None:
    gaps = ", ".join(map(literal, GAPS))
    for batch in batches(staged, BATCH):
        tests = ", ".join(f"bool_or({trimmed(column)} IN ({gaps}))" for column in batch)
        found = connection.execute(f"SELECT {tests} FROM raw").fetchone()  # noqa: S608
        assert found is not None
        for column, padded in zip(batch, found, strict=True):
            if padded:
                connection.execute(
                    f"UPDATE raw SET {column} = NULL WHERE {trimmed(column)} IN ({gaps})"  # noqa: S608
                )


def _samples(connection: duckdb.DuckDBPyConnection, staged: Sequence[str]) -> dict[str, list[str]]:
    """Return the first present values of each column."""
    wanted = ", ".join(staged)
    rows = connection.execute(f"SELECT {wanted} FROM raw LIMIT {SAMPLE}").fetchall()  # noqa: S608
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
    """Count over whole columns, several in one query: binding a wide table is the dear part."""
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
    wanted += [f"count(*) FILTER ({test})" for test in tests.values()]
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
    """

    connection: duckdb.DuckDBPyConnection
    staged: str
    column: str
    sample: Sequence[str]

    def type(self, worth: Sequence[Rule], whole: _Counts | None) -> TypedColumn:
        if whole is None:
            return self._typed(STRING, self._sample_warnings())
        rule = next((rule for rule in worth if _decides(rule, whole)), None)
        if rule is None:
            return self._typed(STRING, self._near_misses(worth, whole))
        return self._typed(rule, self._readings(rule, whole))

    def _typed(self, rule: Rule, warnings: Sequence[str]) -> TypedColumn:
        expression = rule.cast.replace("@", self.staged)
        return TypedColumn(rule.type, rule.sql_type, expression, tuple(warnings))

    def _sample_warnings(self) -> list[str]:
        if not self.sample:
            return [f"{self.column} has no values"]
        values = [value.strip(BLANKS) for value in self.sample]
        if all(text_rules.OTHER_DATE.fullmatch(value) for value in values):
            return [f"{self.column} looks like dates but is kept as text; write them as 2024-12-31"]
        if any(raw != value for raw, value in zip(self.sample, values, strict=True)):
            return [f"{self.column} has values with blanks around them, kept as they are"]
        return []

    def _near_misses(self, worth: Sequence[Rule], whole: _Counts) -> list[str]:
        if whole.all(text_rules.NUMBER.name):
            return [f"{self.column} holds integers beyond 64 bits: kept as text, every digit"]
        if whole.all(text_rules.COMMA.name):
            either = "1,234 may be 1234 or 1.234"
            return [f"{self.column}: {either}: kept as text; write it without a comma"]
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
        return [f"{self.column} is text because of {share} that are no {nearest.type} ({listed})"]

    def _readings(self, rule: Rule, whole: _Counts) -> list[str]:
        if rule is text_rules.COMMA:
            return [f"{self.column} is read with a decimal comma"]
        naive = whole.present - whole.of.get(text_rules.ZONE, 0)
        if rule is text_rules.STAMP and 0 < naive < whole.present:
            return [f"{self.column}: {counted(naive, 'value')} without UTC offset, read as UTC"]
        return []


def _share(rule: Rule, values: Sequence[str]) -> float:
    return sum(rule.matcher.fullmatch(value) is not None for value in values) / len(values)


def _decides(rule: Rule, whole: _Counts) -> bool:
    if not whole.all(rule.name):
        return False
    if rule is text_rules.NUMBER:
        # Long digits with no fraction anywhere are identifiers: a DOUBLE would change them.
        return not whole.of[text_rules.HUGE_INTEGER] or whole.of[text_rules.FRACTION] > 0
    return rule is not text_rules.COMMA or not whole.all(text_rules.THOUSANDS)
