"""Drive one harness by coverage, in a process of its own: libFuzzer ends the process it runs in."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["orchestrator"]):
    from tests.fuzz.harnesses import HARNESSES


def main() -> None:
    """Fuzz the harness that the first argument names; the others are libFuzzer's."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, HARNESSES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
