"""Run the command line with `python -m orchestrator`."""

from orchestrator.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
