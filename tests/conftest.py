"""What is to be done once, before or after all tests."""

from __future__ import annotations

from tests.cli.program import states


def pytest_unconfigure() -> None:
    """Remove what the tests' programs remembered; workers of xdist skip what `atexit` knows."""
    if states.cache_info().currsize:
        states().cleanup()
