"""The rows, one class per table; nothing outside the store sees them."""

from trainbox.store.tables.base import ACTIVE, LIVE, Row, metadata, quoted
from trainbox.store.tables.daemon import AuditRow, MetaRow, TokenRow
from trainbox.store.tables.datasets import DatasetRow
from trainbox.store.tables.jobs import ArtifactRow, AttemptRow, EventRow, JobRow, StepRow
from trainbox.store.tables.models import ModelAliasRow, ModelRow

__all__ = [
    "ACTIVE",
    "LIVE",
    "ArtifactRow",
    "AttemptRow",
    "AuditRow",
    "DatasetRow",
    "EventRow",
    "JobRow",
    "MetaRow",
    "ModelAliasRow",
    "ModelRow",
    "Row",
    "StepRow",
    "TokenRow",
    "metadata",
    "quoted",
]
