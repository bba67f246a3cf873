"""A plugin of pytest that runs Ignite's own tests with the classes of this package in place of Ignite's.

`differences.txt` lists the tests that do not pass, and the reasons. A listed test that passes is an error, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ignite_torch
import pytest


def replace_classes() -> None:
    """Replaces each class in `ignite.handlers` and in the module that defines it."""
    import ignite.handlers
    import training_monitor.ignite as package

    for name in package.__all__:
        module = sys.modules[getattr(ignite.handlers, name).__module__]
        for place in (ignite.handlers, module):
            setattr(place, name, getattr(package, name))


def differences() -> dict[str, str]:
    """Reads the list of the tests that do not pass."""
    found = {}
    for line in Path(__file__).with_name("differences.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(": ", 1)
            found[name] = reason
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    expected = differences()
    for item in items:
        name = f"{item.path.name}::{item.name}"
        if name in expected:
            item.add_marker(pytest.mark.xfail(reason=expected.pop(name), strict=True))
    if expected:
        raise pytest.UsageError(f"differences.txt lists tests that do not exist: {', '.join(expected)}")


# The files of Ignite import its classes, also before the first hook of pytest.
ignite_torch.adapt()
replace_classes()
