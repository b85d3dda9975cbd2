"""The ``trainbox`` command. This package imports click and nothing heavier until a verb runs."""

from trainbox.cli.root import main

__all__ = ["main"]
