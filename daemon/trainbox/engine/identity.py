"""When two jobs would do the same: one digest over everything that decides what a sandbox does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.registry import Registry
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import StepPlan


class Identity:
    """Digests of jobs.

    Args:
        catalogue: tasks and environments by name.
        versions: of plugins, by name.
    """

    def __init__(self, catalogue: Registry, versions: Mapping[str, str]) -> None:
        self._catalogue = catalogue
        self._versions = versions
        self._environments: dict[str, str] = {}

    def of(
        self,
        task: str,
        params: Mapping[str, Any],
        dataset: DatasetView | None,
        resources: Resources,
        steps: Sequence[StepPlan],
    ) -> str:
        """Return the same text for jobs that would do the same.

        Left out is what does not reach the code: name, labels, priority, backend. Resources are in,
        since a number of threads or a time limit may change a result.
        """
        plugin = self._catalogue.owners.get(f"task:{task}", "")
        facts = {
            "task": task,
            "plugin": [plugin, self._versions.get(plugin, "")],
            "params": params,
            "dataset": dataset.digest if dataset else None,
            "columns": [[c.name, c.type] for c in dataset.columns] if dataset else None,
            "resources": vars(resources),
            "steps": [_plain(step) for step in steps],
            "environments": {step.environment: self._content(step.environment) for step in steps},
        }
        text = json.dumps(facts, sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()

    def _content(self, environment: str) -> str:
        if environment not in self._environments:
            known = self._catalogue.environments.get(environment)
            self._environments[environment] = known.digest if known else ""
        return self._environments[environment]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return vars(value) if hasattr(value, "__dict__") else str(value)
