"""What is to be done once, before or after all tests."""

from __future__ import annotations

import os

from tests.cli.program import states


def pytest_configure() -> None:
    """Keep the configuration of whoever runs the tests out of them."""
    os.environ["XDG_CONFIG_HOME"] = f"{states().name}/config"
    os.environ.pop("OKTA_KEYS_CONFIG", None)


def pytest_unconfigure() -> None:
    """Remove what the tests' programs remembered; workers of xdist skip what `atexit` knows."""
    if states.cache_info().currsize:
        states().cleanup()
