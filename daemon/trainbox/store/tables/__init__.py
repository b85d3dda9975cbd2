"""The rows, one class per table; nothing outside the store sees them."""

from trainbox.store.tables.assets import AssetRow
from trainbox.store.tables.base import ACTIVE, LIVE, Row, metadata, quoted
from trainbox.store.tables.daemon import AuditRow, MetaRow, TokenRow
from trainbox.store.tables.datasets import (
    DatasetKeyRow,
    DatasetProfileRow,
    DatasetRow,
    UploadRow,
)
from trainbox.store.tables.documents import DocumentRow
from trainbox.store.tables.jobs import (
    ArtifactRow,
    AttemptRow,
    EventRow,
    JobFileRow,
    JobLabelRow,
    JobRow,
    StepRow,
)
from trainbox.store.tables.models import ModelAliasChangeRow, ModelAliasRow, ModelFileRow, ModelRow
from trainbox.store.tables.webhooks import (
    WebhookDeliveryRow,
    WebhookMessageRow,
    WebhookRow,
)

__all__ = [
    "ACTIVE",
    "LIVE",
    "ArtifactRow",
    "AssetRow",
    "AttemptRow",
    "AuditRow",
    "DatasetKeyRow",
    "DatasetProfileRow",
    "DatasetRow",
    "DocumentRow",
    "EventRow",
    "JobFileRow",
    "JobLabelRow",
    "JobRow",
    "MetaRow",
    "ModelAliasChangeRow",
    "ModelAliasRow",
    "ModelFileRow",
    "ModelRow",
    "Row",
    "StepRow",
    "TokenRow",
    "UploadRow",
    "WebhookDeliveryRow",
    "WebhookMessageRow",
    "WebhookRow",
    "metadata",
    "quoted",
]
