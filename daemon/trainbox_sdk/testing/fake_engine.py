"""An engine in memory for tests of surfaces: same contract, no disk, nothing trained.

A test drives jobs by hand (``emit``, ``write_log``, ``finish``) or lets every submitted job run to
its end at once with ``autorun``. It says honestly what it lacks: files, sandboxes and types richer
than text and number.
"""

from __future__ import annotations

from trainbox_sdk.testing.fake_assets import FakeAssetCalls
from trainbox_sdk.testing.fake_daemon import FakeDaemonCalls
from trainbox_sdk.testing.fake_job_calls import FakeJobCalls
from trainbox_sdk.testing.fake_jobs import ONNX_BYTES, OTHER_TOKEN, TOKEN
from trainbox_sdk.testing.fake_predict import FakePredictCalls
from trainbox_sdk.testing.fake_tokens import FakeTokenCalls
from trainbox_sdk.testing.fake_webhooks import FakeWebhookCalls

__all__ = ["ONNX_BYTES", "OTHER_TOKEN", "TOKEN", "FakeEngine"]


class FakeEngine(
    FakeJobCalls,
    FakeAssetCalls,
    FakePredictCalls,
    FakeWebhookCalls,
    FakeTokenCalls,
    FakeDaemonCalls,
):
    """Implements :class:`trainbox_sdk.engine.Engine`; :class:`FakeJobs` says how to drive it."""
