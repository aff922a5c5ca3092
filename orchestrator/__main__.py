"""Run the command line with `python -m orchestrator`."""

from orchestrator.cli.main import main_and_exit

if __name__ == "__main__":
    main_and_exit()
