"""The Python client of trainbox: data in, training, a model, predictions.

Needs httpx2, narwhals, stamina and (for bars) rich; nothing of the daemon is imported.
"""

from trainbox_client.assets import Asset
from trainbox_client.client import AsyncClient, Client
from trainbox_client.documents import Dataset, Document, Page
from trainbox_client.errors import (
    ApiError,
    Conflict,
    FieldProblem,
    Forbidden,
    JobCancelled,
    JobEnded,
    JobFailed,
    JobInterrupted,
    NotFound,
    RateLimited,
    Rejected,
    TrainboxError,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WaitTimeout,
)
from trainbox_client.jobs import AsyncJob, Job
from trainbox_client.models import AsyncModel, Model

__all__ = [
    "ApiError",
    "Asset",
    "AsyncClient",
    "AsyncJob",
    "AsyncModel",
    "Client",
    "Conflict",
    "Dataset",
    "Document",
    "FieldProblem",
    "Forbidden",
    "Job",
    "JobCancelled",
    "JobEnded",
    "JobFailed",
    "JobInterrupted",
    "Model",
    "NotFound",
    "Page",
    "RateLimited",
    "Rejected",
    "TrainboxError",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "WaitTimeout",
]
