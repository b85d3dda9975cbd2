"""Runs attacks by name: the entry of a step. Standard library only."""

import importlib
import json
import os

import attack_kit

MODULES = (
    "attack_privileges",
    "attack_kernel",
    "attack_sockets",
    "attack_reach",
    "attack_amounts",
    "attack_ends",
    "attack_outputs",
    "attack_standby",
)
REPORT = "attacks.json"


def find(name):
    for module in MODULES:
        function = getattr(importlib.import_module(module), name, None)
        if function is not None:
            return function
    raise LookupError(name)


def run(step):
    """Run the attacks in ``params["attacks"]``: one by itself, many in a process each."""
    attack_kit.TOLD.update(step.params["told"])
    names = step.params["attacks"]
    report = {}
    for name in names:
        function = find(name)
        report[name] = function() if len(names) == 1 else attack_kit.in_child(function)
        part = os.path.join(attack_kit.SCRATCH, REPORT)
        with open(part, "w") as file:
            json.dump(report, file)
        os.replace(part, os.path.join(attack_kit.SCRATCH, "done-" + REPORT))
