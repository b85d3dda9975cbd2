"""The HTTP layer: mounts surfaces, guards every request, answers for the daemon itself."""

from trainbox.http.application import build_app, start_draining
from trainbox.http.config import HttpConfig
from trainbox.http.listener import listening
from trainbox.http.mounts import MountClash

__all__ = ["HttpConfig", "MountClash", "build_app", "listening", "start_draining"]
