"""The host's pip settings, in the words of the resolver: one place decides where packages are from.

pip itself is asked (``pip config list``), so that files, sections and variables mean here what they
mean to pip. What the resolver would read of its own (``UV_*``, ``uv.toml``) does not count.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path

from trainbox_plugins.environments.pip import pip_settings

RETRIES = "2"
"""How often the resolver asks an index that does not answer, before it says so."""

_SECTIONS = ("global", "download", ":env:")
"""In the order of their say: the last wins, as for ``pip download``."""

_KEPT = (
    "HOME",
    "NETRC",
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
_LISTS = {"extra-index-url": "UV_INDEX", "trusted-host": "UV_INSECURE_HOST"}
_WORDS = {
    "index-url": "UV_DEFAULT_INDEX",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def parse_settings(listed: str) -> dict[str, str]:
    """Return what ``pip config list`` says, by option name, as it holds for a download."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.partition(".")
        if section in found and value:
            found[section][option] = str(ast.literal_eval(value))
    merged: dict[str, str] = {}
    for section in _SECTIONS:
        merged |= found[section]
    return merged


def resolver_environment(
    cache: Path, offline: Path | None, host: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables that the resolver runs with.

    Variables, not arguments: an address may hold a password, and arguments are for all to see.

    Args:
        cache: where it may keep what it has read.
        offline: a directory of wheels that replaces every index.
        host: the daemon's own variables.
    """
    own = os.environ if host is None else host
    told = {name: own[name] for name in _KEPT if name in own}
    told |= {
        "UV_CACHE_DIR": str(cache),
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_HTTP_RETRIES": RETRIES,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "1",
        "NO_COLOR": "1",
    }
    if offline is not None:
        return {**told, "UV_OFFLINE": "1", "UV_FIND_LINKS": str(offline)}
    settings = parse_settings(pip_settings())
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        told["UV_OFFLINE"] = "1"
    told |= {name: settings[option] for option, name in _WORDS.items() if option in settings}
    for option, name in _LISTS.items():
        if option in settings:
            told[name] = " ".join(settings[option].split())
    if "find-links" in settings:
        told["UV_FIND_LINKS"] = ",".join(settings["find-links"].split())
    if "proxy" in settings:
        told |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), settings["proxy"])
    if "REQUESTS_CA_BUNDLE" in own:  # as for pip, where it wins over everything
        told["SSL_CERT_FILE"] = own["REQUESTS_CA_BUNDLE"]
    return told
