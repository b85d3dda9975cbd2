"""Read ``plugins.toml``, load what it lists, and answer for what the plugins do."""

from trainbox.plugins.discovery import Discovered, installed_plugins
from trainbox.plugins.manager import Loaded, load_plugins
from trainbox.plugins.manifest import Listed, Manifest, read_manifest

__all__ = [
    "Discovered",
    "Listed",
    "Loaded",
    "Manifest",
    "installed_plugins",
    "load_plugins",
    "read_manifest",
]
