"""The daemon: private. Plugins import ``trainbox_sdk``."""

__version__ = "0.1.0"
