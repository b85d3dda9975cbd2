"""Load what the manifest lists, in its order, and remember how each plugin fared.

The plugin manager is an object that the composition root builds and passes down; importing this
module loads nothing.
"""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from trainbox.plugins.contributions import collect
from trainbox.plugins.discovery import GROUP, Discovered, installed_plugins
from trainbox.plugins.loading import build_plugin
from trainbox.plugins.policy import FAILURES_IN_A_ROW, GUARDED, Policy, described
from trainbox_sdk.engine import PluginInfo, Principal
from trainbox_sdk.errors import PluginError
from trainbox_sdk.hooks import PROJECT, Hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trainbox.plugins.manifest import Listed, Manifest
    from trainbox.registry import Contribution
    from trainbox_sdk.jobs import JobEvent, JobSpec

log = logging.getLogger(__name__)

LOADED = "loaded"
QUARANTINED = "quarantined"
NOT_LISTED = "not listed"
MISSING = "missing"


@dataclass
class _Record:
    """How one listed plugin fared."""

    listed: Listed
    found: Discovered | None = None
    status: str = LOADED
    error: str = ""
    contribution: Contribution | None = None

    @property
    def title(self) -> str:
        """Name and distribution, as messages open."""
        origin = f" ({self.found.origin})" if self.found and self.found.origin else ""
        return f'plugin "{self.listed.name}"{origin}'


class Loaded:
    """The plugins of one daemon: what they bring, decide, hear, and how they fared.

    Attributes:
        manager: the pluggy manager that holds the loaded plugins under their manifest names.
    """

    def __init__(
        self, manager: pluggy.PluginManager, policy: Policy, unlisted: Iterable[Discovered]
    ) -> None:
        self.manager = manager
        self._policy = policy
        self._unlisted = tuple(unlisted)
        self._records: dict[str, _Record] = {}

    def infos(self) -> tuple[PluginInfo, ...]:
        """List every plugin: the listed ones in file order, then those that are only installed."""
        listed = [self._info(record) for record in self._records.values()]
        unlisted = [
            PluginInfo(found.name, found.distribution, found.version, NOT_LISTED, required=False)
            for found in self._unlisted
        ]
        return (*listed, *unlisted)

    def contributions(self) -> Sequence[Contribution]:
        """Return what the loaded plugins bring, in file order."""
        records = self._records.values()
        return [record.contribution for record in records if record.contribution is not None]

    def reject(self, plugin: str, reason: str) -> None:
        """Quarantine a plugin: unregister it and forget all it brought.

        Raises:
            PluginError: it is required, so the daemon must not start.
        """
        self._quarantine(self._records[plugin], PluginError(reason))

    def authorize(self, principal: Principal, action: str, owner: str) -> bool | None:
        """Ask the plugins; see :meth:`Policy.authorize`."""
        return self._policy.authorize(principal, action, owner)

    def admit(self, principal: Principal, spec: JobSpec) -> str | None:
        """Ask the plugins; see :meth:`Policy.admit`.

        Raises:
            PluginError: a plugin could not decide.
        """
        return self._policy.admit(principal, spec)

    def notify_job_event(self, event: JobEvent) -> None:
        """Tell the plugins; never raises."""
        self._policy.notify_job_event(event)

    def notify_daemon_state(self, state: str) -> None:
        """Tell the plugins; never raises."""
        self._policy.notify_daemon_state(state)

    def load(self, listed: Listed, candidates: Sequence[Discovered], near: Sequence[str]) -> None:
        """Load one listed plugin from the entry points of its name.

        Raises:
            PluginError: it is required and missing or broken.
        """
        record = self._records[listed.name] = _Record(listed)
        if not candidates:
            self._miss(record, near)
            return
        record.found = candidates[0]
        try:
            _refuse_ambiguous(candidates)
            plugin = build_plugin(candidates[0], listed, self.manager)
            self._register(plugin, listed.name)
            record.contribution = collect(listed.name, self._policy)
        except PluginError as error:
            self._quarantine(record, error)
        except GUARDED as error:  # even looking at what a stranger brings may run its code
            self._quarantine(record, PluginError(f"checking it raised {described(error)}"))

    def _register(self, plugin: object, name: str) -> None:
        try:
            self.manager.register(plugin, name=name)
            self.manager.check_pending()
        except Exception as error:  # pluggy raises several kinds; wrong arguments are one
            raise PluginError(f"its hooks cannot be registered: {error}") from error

    def _miss(self, record: _Record, near: Sequence[str]) -> None:
        record.status = MISSING
        record.error = f'no installed distribution offers "{record.listed.name}" in group "{GROUP}"'
        if near:
            record.error += f'; did you mean "{near[0]}"?'
        if record.listed.required:
            raise PluginError(
                f"{record.title} is required and not installed: {record.error}",
                code="plugin_missing",
                hint="install its distribution, or take it out of plugins.toml",
            )
        log.warning("%s is not installed", record.title)

    def _quarantine(self, record: _Record, error: PluginError) -> None:
        if record.listed.required:
            raise PluginError(
                f"{record.title} is required and cannot be loaded: {error.message}",
                code="plugin_broken",
                hint="repair it, or set required = false in plugins.toml to start without it",
            ) from error
        log.error("%s is quarantined: %s", record.title, error.message, exc_info=error)
        if self.manager.has_plugin(record.listed.name):
            self.manager.unregister(name=record.listed.name)
        record.status, record.error, record.contribution = QUARANTINED, error.message, None

    def _info(self, record: _Record) -> PluginInfo:
        found, error = record.found, record.error
        heard = self._policy.notifications(record.listed.name)
        if heard.muted:
            error = f"hears no more events after {heard.in_a_row} failures in a row: "
            error += heard.last_error
        return PluginInfo(
            name=record.listed.name,
            distribution=found.distribution if found else "",
            version=found.version if found else "",
            status=record.status,
            required=record.listed.required,
            provides=record.contribution.provides() if record.contribution else (),
            error=error,
        )


def load_plugins(
    manifest: Manifest,
    *,
    discover: Callable[[], Iterable[Discovered]] = installed_plugins,
    failures_in_a_row: int = FAILURES_IN_A_ROW,
) -> Loaded:
    """Load the plugins a manifest lists, in its order; nothing else is imported.

    Args:
        manifest: what may load.
        discover: finds what is installed.
        failures_in_a_row: notifications a plugin may fail before it hears no more.

    Raises:
        PluginError: a required plugin is missing or broken; names plugin, distribution and error.
    """
    found = sorted(discover(), key=lambda one: (one.name, one.distribution))
    names = {listed.name for listed in manifest.plugins}
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    policy = Policy(manager, failures_in_a_row=failures_in_a_row)
    loaded = Loaded(manager, policy, (one for one in found if one.name not in names))
    for listed in manifest.plugins:
        candidates = [one for one in found if one.name == listed.name]
        near = difflib.get_close_matches(listed.name, [one.name for one in found], n=1)
        loaded.load(listed, candidates, near)
    return loaded


def _refuse_ambiguous(candidates: Sequence[Discovered]) -> None:
    if len(candidates) > 1:
        origins = " and ".join(one.origin for one in candidates)
        raise PluginError(f"{origins} both offer this name: uninstall one of them")
