"""The Engine: the only thing a surface may call."""

from __future__ import annotations

from typing import Protocol

from trainbox_sdk.calls.assets import AssetCalls
from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.calls.daemon import Check, DaemonCalls, PluginInfo, Readiness
from trainbox_sdk.calls.datasets import DatasetCalls
from trainbox_sdk.calls.documents import DocumentCalls
from trainbox_sdk.calls.jobs import JobCalls, JobFilter, Submission
from trainbox_sdk.calls.models import ModelCalls
from trainbox_sdk.calls.predict import PredictCalls
from trainbox_sdk.calls.tokens import TokenCalls
from trainbox_sdk.calls.webhooks import WebhookCalls

__all__ = [
    "Check",
    "Engine",
    "JobFilter",
    "Page",
    "PluginInfo",
    "Principal",
    "Readiness",
    "Submission",
]


class Engine(
    DatasetCalls,
    AssetCalls,
    DocumentCalls,
    JobCalls,
    ModelCalls,
    PredictCalls,
    WebhookCalls,
    TokenCalls,
    DaemonCalls,
    Protocol,
):
    """Everything the daemon can do, in its own words.

    Every method takes the principal first, authorises it, and raises
    :class:`~trainbox_sdk.errors.TrainboxError` subclasses only.
    """
