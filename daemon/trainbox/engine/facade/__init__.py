"""Implements the SDK's Engine by delegating; contains no decisions of its own."""

from trainbox.engine.facade.assets import AssetDesk
from trainbox.engine.facade.daemon import DaemonDesk
from trainbox.engine.facade.datasets import DatasetDesk
from trainbox.engine.facade.documents import DocumentDesk
from trainbox.engine.facade.jobs import JobDesk
from trainbox.engine.facade.logs import LogDesk
from trainbox.engine.facade.models import ModelDesk
from trainbox.engine.facade.predict import PredictDesk
from trainbox.engine.facade.rooms import Rooms
from trainbox.engine.facade.tokens import TokenDesk
from trainbox.engine.facade.webhooks import WebhookDesk

__all__ = ["EngineFacade", "Rooms"]


class EngineFacade(
    DatasetDesk,
    AssetDesk,
    DocumentDesk,
    JobDesk,
    LogDesk,
    ModelDesk,
    PredictDesk,
    WebhookDesk,
    TokenDesk,
    DaemonDesk,
):
    """The one object a surface holds (see :class:`trainbox_sdk.engine.Engine`)."""
