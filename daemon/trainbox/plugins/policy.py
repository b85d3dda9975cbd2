"""Call the hooks, one plugin at a time, under the policy written for each sort.

pluggy stops a fan-out at the first exception; here every plugin is called through its own subset
caller, in file order, so that one plugin's failure is its own. ``tryfirst`` and ``trylast`` have no
effect.
"""

from __future__ import annotations

import inspect
import logging
from asyncio import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainbox_sdk.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pluggy

    from trainbox_sdk.engine import Principal
    from trainbox_sdk.jobs import JobEvent, JobSpec

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 5

GUARDED = (Exception, SystemExit, CancelledError)
"""What a stranger's code may raise without taking the daemon along: ``sys.exit`` in a hook is a
failure of that plugin, and no hook can be cancelled, since none awaits."""


@dataclass
class Notifications:
    """How a plugin's notification hooks have fared.

    Attributes:
        failures: all that raised, since the start.
        in_a_row: those since the last success.
        muted: whether they are called no more.
        last_error: what the last failure said.
    """

    failures: int = 0
    in_a_row: int = 0
    muted: bool = False
    last_error: str = ""


class Policy:
    """A typed method per hook.

    Args:
        manager: holds the registered plugins under their manifest names.
        failures_in_a_row: notifications a plugin may fail before it hears no more.
    """

    def __init__(
        self, manager: pluggy.PluginManager, *, failures_in_a_row: int = FAILURES_IN_A_ROW
    ) -> None:
        self._manager = manager
        self._limit = failures_in_a_row
        self._notifications: dict[str, Notifications] = {}

    def notifications(self, plugin: str) -> Notifications:
        """Return how a plugin's notification hooks have fared."""
        return self._notifications.setdefault(plugin, Notifications())

    def register(self, plugin: str, hook: str) -> list[object]:
        """Return what one plugin's registration hook brings.

        Raises:
            PluginError: it raised, or returned no list or tuple.
        """
        things: list[object] = []
        for name, caller in self._callers(hook):
            if name != plugin:
                continue
            try:
                answers = caller()
            except GUARDED as error:
                raise PluginError(f"its {hook} raised {described(error)}") from error
            for answer in answers:
                if not isinstance(answer, list | tuple):
                    raise PluginError(f"its {hook} returned {answer!r:.80}, not a list")
                things.extend(answer)
        return things

    def authorize(self, principal: Principal, action: str, owner: str) -> bool | None:
        """Ask whether an action on ``owner``'s thing is allowed.

        Returns:
            False if any plugin refuses, raises or answers nonsense; else True if any allows; else
            None: the core's owner-only default decides.
        """
        granted = False
        for plugin, caller in self._callers("authorize"):
            try:
                answers = caller(principal=principal, action=action, owner=owner)
            except GUARDED:  # a decision that cannot be made is a refusal
                log.exception("plugin %s failed to authorize %s: refused", plugin, action)
                return False
            for answer in answers:
                if answer is not True:
                    if answer is not False:
                        log.error("plugin %s answered %r to authorize: refused", plugin, answer)
                    return False
                granted = True
        return True if granted else None

    def admit(self, principal: Principal, spec: JobSpec) -> str | None:
        """Return the first refusal of a job, None if nobody objects.

        Raises:
            PluginError: code ``admit_failed``: a plugin could not decide, so the job is refused.
        """
        for plugin, caller in self._callers("admit"):
            try:
                answers = caller(principal=principal, spec=spec)
            except GUARDED as error:  # a decision that cannot be made is a refusal
                log.exception("plugin %s failed to admit a job: refused", plugin)
                raise _undecided(plugin) from error
            for answer in answers:
                if not isinstance(answer, str):
                    log.error("plugin %s answered %r to admit: refused", plugin, answer)
                    raise _undecided(plugin)
                return answer or f'plugin "{plugin}" refused the job without a reason'
        return None

    def notify_job_event(self, event: JobEvent) -> None:
        """Tell every plugin of a committed event; never raises."""
        self._notify("on_job_event", event=event)

    def notify_daemon_state(self, state: str) -> None:
        """Tell every plugin ``starting``, ``ready`` or ``stopping``; never raises."""
        self._notify("on_daemon_state", state=state)

    def _notify(self, hook: str, **facts: Any) -> None:
        for plugin, caller in self._callers(hook):
            record = self.notifications(plugin)
            if record.muted:
                continue
            try:
                _refuse_awaitables(caller(**facts))
            except GUARDED as error:  # the others must still hear
                self._count(plugin, hook, record, error)
            else:
                record.in_a_row = 0

    def _count(self, plugin: str, hook: str, record: Notifications, error: BaseException) -> None:
        record.failures += 1
        record.in_a_row += 1
        record.last_error = f"{hook} raised {described(error)}"
        log.error("plugin %s: %s", plugin, record.last_error, exc_info=error)
        if record.in_a_row >= self._limit:
            record.muted = True
            log.error("plugin %s failed %d times in a row: muted", plugin, record.in_a_row)

    def _callers(self, hook: str) -> Iterator[tuple[str, pluggy.HookCaller]]:
        """Yield each implementing plugin's name with a caller that reaches it alone."""
        implementing = {
            impl.plugin_name for impl in getattr(self._manager.hook, hook).get_hookimpls()
        }
        registered = [(name, plugin) for name, plugin in self._manager.list_name_plugin() if plugin]
        for name, plugin in registered:
            if name in implementing:
                others = [other for _, other in registered if other is not plugin]
                yield name, self._manager.subset_hook_caller(hook, others)


def described(error: BaseException) -> str:
    """Return an exception's type and words; a stranger's may not even have words."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the exception's own __str__ is a stranger's code too
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _refuse_awaitables(answers: Sequence[object]) -> None:
    """Notice a plain function that returns a coroutine, which nobody will await."""
    for answer in answers:
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("it returned a coroutine; hooks are plain functions")


def _undecided(plugin: str) -> PluginError:
    return PluginError(
        f'plugin "{plugin}" could not decide whether to admit the job, so it is refused',
        code="admit_failed",
        hint="the daemon's log has the error",
    )
