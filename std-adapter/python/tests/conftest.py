"""Settings of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A failure prints the seed and the smallest example. `HYPOTHESIS_PROFILE=long` runs more examples.
settings.register_profile("short", max_examples=100, deadline=None, derandomize=True, database=None)
settings.register_profile("long", max_examples=5000, deadline=None, print_blob=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def golden() -> Path:
    """The committed checkpoints of the Rust packages."""
    return REPOSITORY / "tests" / "golden"
