"""The conformance suite of backends: subclass, give the fixtures, and every verb is put to proof.

::

    class TestMine(BackendContract):
        @pytest.fixture
        def environment(self) -> str:
            return "a reference that my backend can start"

        def make_backend(self) -> SandboxBackend:
            return MyBackend()

The guest programs are plain Python and need the standard library alone. What a backend confines is
read from its own :attr:`~trainbox_sdk.backends.Health.promises` and held against it: an
``enforced`` promise must hold under attack, a ``partial`` one must still bound the damage where
that can be stated, and one that is ``none`` or missing claims nothing: there is nothing to break.

Put ``pytest.register_assert_rewrite("trainbox_sdk.testing")`` into your ``conftest.py`` before the
first import from here, and failures show their values.
"""

from __future__ import annotations

from trainbox_sdk.testing.backend_lifecycle import LifecycleContract
from trainbox_sdk.testing.backend_promises import PromiseContract
from trainbox_sdk.testing.backend_restarts import RestartContract
from trainbox_sdk.testing.sandbox_case import LIMITS, MIB, PATIENCE_S, MakeSpec, SandboxFiles

__all__ = ["LIMITS", "MIB", "PATIENCE_S", "BackendContract", "MakeSpec", "SandboxFiles"]


class BackendContract(LifecycleContract, RestartContract, PromiseContract):
    """What every backend must do. Subclass it in a test module; see the module's text."""
