"""What an ingest worker answers; it has read hostile bytes, so its words are checked too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainbox_sdk.artifacts import Column
from trainbox_sdk.errors import (
    FieldError,
    StorageFull,
    TooLarge,
    TrainboxError,
    ValidationFailed,
)

MAX_BYTES = 64 * 1024**2
"""Of one answer: 4096 columns with five examples each stay far below."""

Text = Annotated[str, Field(max_length=4000)]
Count = Annotated[int, Field(ge=0)]
Scalar = bool | int | float | Text | None


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Column(_Strict):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    type: Literal["number", "boolean", "string", "datetime"]
    sql_type: Annotated[str, Field(max_length=64)]
    missing: Count
    distinct: Count
    distinct_exact: bool
    min: Scalar
    max: Scalar
    examples: Annotated[list[Scalar], Field(max_length=5)]

    def column(self) -> Column:
        fields = self.model_dump()
        return Column(**{**fields, "examples": tuple(fields["examples"])})


class _Complaint(_Strict):
    loc: Annotated[list[str | int], Field(max_length=16)]
    msg: Text
    hint: Text


class _Refusal(_Strict):
    kind: Literal["validation", "too_large", "storage_full"]
    code: Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")]
    message: Text
    hint: Text
    errors: Annotated[list[_Complaint], Field(max_length=100)]

    def error(self) -> TrainboxError:
        kinds = {
            "validation": ValidationFailed,
            "too_large": TooLarge,
            "storage_full": StorageFull,
        }
        errors = [FieldError(tuple(each.loc), each.msg, each.hint) for each in self.errors]
        kind: type[TrainboxError] = kinds[self.kind]
        return kind(self.message, code=self.code, hint=self.hint, errors=errors)


class _Confinement(_Strict):
    applied: dict[str, Text]
    missing: dict[str, Text]


class Report(_Strict):
    """An answer: either what was read, or ``refused``."""

    confinement: _Confinement
    rows: Count = 0
    columns: list[_Column] = []
    warnings: list[Text] = []
    refused: _Refusal | None = None

    @property
    def profile(self) -> tuple[Column, ...]:
        """The columns, as the SDK has them."""
        return tuple(column.column() for column in self.columns)


def read_report(answer: bytes) -> Report | None:
    """Return the checked answer, or None if it is none."""
    try:
        return Report.model_validate_json(answer)
    except ValidationError:
        return None
