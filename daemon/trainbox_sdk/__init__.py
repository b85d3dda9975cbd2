"""The public, versioned face of trainbox: all a plugin may import.

``API_VERSION`` is the number a plugin states in its ``api`` attribute. It rises when a name is
removed or changes meaning; an addition does not raise it.
"""

from trainbox_sdk.hooks import hookimpl

API_VERSION = 1

__all__ = ["API_VERSION", "hookimpl"]
