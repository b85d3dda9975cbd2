"""The fake engine's part of :mod:`trainbox_sdk.calls`: tokens."""

from trainbox_sdk.engine import (
    Principal,
)
from trainbox_sdk.errors import (
    Unauthenticated,
)
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeTokenCalls(FakeJobs):
    """In memory, by the same contract."""

    async def authenticate(self, token: str) -> Principal:
        """Return who a token belongs to."""
        self._enter("authenticate")
        if token not in self.principals:
            raise Unauthenticated("this token is not known", hint="Use the token of this daemon.")
        return self.principals[token]
