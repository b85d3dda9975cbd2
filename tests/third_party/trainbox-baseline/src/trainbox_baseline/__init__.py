"""A baseline regression for trainbox: the mean or median, of all rows or of each group."""

from trainbox_baseline.plugin import Plugin

__all__ = ["Plugin"]
