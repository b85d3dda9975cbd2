"""What an ingest worker answers; it has read hostile bytes, so its words are checked too."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainbox_sdk.artifacts import ColumnType
from trainbox_sdk.errors import (
    DataFault,
    FieldError,
    StorageFull,
    TooLarge,
    TrainboxError,
    ValidationFailed,
)
from trainbox_sdk.profiles import (
    DatasetProfile,
    LeakRule,
    TargetProfile,
    WarningRule,
    profile_of,
    target_profile_of,
)

MAX_BYTES = 64 * 1024**2
"""Of one answer: 4096 columns with five examples each stay far below."""
MAX_COLUMNS = 10_000

Text = Annotated[str, Field(max_length=4000)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Scalar = bool | int | float | Text | None


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Column(_Strict):
    name: Name
    type: ColumnType
    sql_type: Annotated[str, Field(max_length=64)]
    missing: Count
    distinct: Count
    distinct_exact: bool
    min: Scalar
    max: Scalar
    examples: Annotated[list[Scalar], Field(max_length=5)]


class _Top(_Strict):
    value: Scalar
    count: Count


class _Numbers(_Strict):
    mean: float | None
    std: float | None
    zeros: Count
    negatives: Count
    quantiles: Annotated[dict[str, float], Field(max_length=20)]


class _Texts(_Strict):
    shortest: Count
    longest: Count


class _ColumnProfile(_Strict):
    column: _Column
    constant: bool
    top: Annotated[list[_Top], Field(max_length=10)]
    numbers: _Numbers | None
    texts: _Texts | None


class _Warning(_Strict):
    rule: WarningRule
    message: Text
    columns: Annotated[list[Name], Field(max_length=MAX_COLUMNS)]
    hint: Text


class _Fault(_Strict):
    rule: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    message: Text
    hint: Text
    row: Count | None
    line: Count | None
    column: Text | None
    value: Text | None

    def fault(self) -> DataFault:
        return DataFault(**self.model_dump())


class _Refusal(_Strict):
    kind: Literal["validation", "too_large", "storage_full"]
    code: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    message: Text
    hint: Text
    faults: Annotated[list[_Fault], Field(max_length=100)]

    def error(self) -> TrainboxError:
        kinds = {
            "validation": ValidationFailed,
            "too_large": TooLarge,
            "storage_full": StorageFull,
        }
        faults = [each.fault() for each in self.faults]
        errors = [FieldError(_loc(fault), fault.message, fault.hint) for fault in faults]
        kind: type[TrainboxError] = kinds[self.kind]
        return kind(self.message, code=self.code, hint=self.hint, errors=errors, faults=faults)


class _Confinement(_Strict):
    applied: dict[str, Text]
    missing: dict[str, Text]


class Answer(_Strict):
    """What every worker's answer has."""

    confinement: _Confinement
    refused: _Refusal | None = None


class Report(Answer):
    """An answer: either what was read, or ``refused``."""

    rows: Count = 0
    columns: Annotated[list[_ColumnProfile], Field(max_length=MAX_COLUMNS)] = []
    duplicate_rows: Count | None = None
    warnings: Annotated[list[_Warning], Field(max_length=2 * MAX_COLUMNS)] = []
    read_s: Seconds = 0.0
    profile_s: Seconds = 0.0

    @property
    def profile(self) -> DatasetProfile:
        """The profile, as the SDK has it."""
        return profile_of(self.model_dump())


class _Leak(_Strict):
    column: Name
    rule: LeakRule
    score: Share
    message: Text


class TargetReport(Answer):
    """An answer about one column."""

    target: Annotated[str, Field(max_length=256)] = ""
    rows_checked: Count = 0
    classes: Annotated[list[_Top], Field(max_length=100)] = []
    leaks: Annotated[list[_Leak], Field(max_length=MAX_COLUMNS)] = []
    warnings: Annotated[list[_Warning], Field(max_length=100)] = []

    @property
    def profile(self) -> TargetProfile:
        """The findings, as the SDK has them."""
        return target_profile_of(self.model_dump())


def _loc(fault: DataFault) -> tuple[str, ...]:
    """Return ``body``, then row, line and column as far as they are known."""
    loc = ["body"]
    loc += [f"row {fault.row}"] if fault.row is not None else []
    loc += [f"line {fault.line}"] if fault.line is not None else []
    loc += [f"column {fault.column!r}"] if fault.column is not None else []
    return tuple(loc)


def in_file(error: TrainboxError, file: str) -> TrainboxError:
    """Return the error as one about a file of that name."""
    if not file or not error.faults:
        return error
    named: Any = type(error)
    found: TrainboxError = named(
        f"{file}: {error.message}",
        code=error.code,
        hint=error.hint,
        errors=error.errors,
        faults=[replace(fault, file=file) for fault in error.faults],
    )
    return found


def read_report(answer: bytes) -> Report | None:
    """Return the checked answer, or None if it is none."""
    try:
        return Report.model_validate_json(answer)
    except ValidationError:
        return None


def read_target_report(answer: bytes) -> TargetReport | None:
    """Likewise for a question about one column."""
    try:
        return TargetReport.model_validate_json(answer)
    except ValidationError:
        return None


__all__ = ["Answer", "Report", "TargetReport", "in_file", "read_report", "read_target_report"]
