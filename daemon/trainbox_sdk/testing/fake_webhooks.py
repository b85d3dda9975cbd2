"""The fake engine's part of :mod:`trainbox_sdk.calls`: webhooks."""

from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeWebhookCalls(FakeJobs):
    """In memory, by the same contract."""
