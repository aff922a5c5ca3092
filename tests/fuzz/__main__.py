"""Fuzz what reads the bytes of others: `python -m tests.fuzz [NAME...] [--seconds N]`.

Each harness runs in a process of its own, from its corpus in the repository, until its time or
its number of inputs is used up. An input that breaks one is kept, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
COVERED = re.compile(r"\bft: (\d+)")
MOST_BYTES = 16 * 1024  # of one input
MOST_MEMORY_MB = 2048
SLOWEST_SECONDS = 20  # for one input, on a machine with other work
LONG_RUN = 10_000_000  # inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What became of one harness."""

    name: str
    inputs: int
    seconds: float
    features: int  # of coverage, as libFuzzer counts them
    finding: str | None  # where the input is kept that broke it

    def __str__(self) -> str:
        end = f"broken by {self.finding}" if self.finding else "held"
        return (
            f"{self.name:14}{self.inputs:>12,} inputs in {self.seconds:>6,.0f} s"
            f"{self.features:>8,} features  {end}"
        )


def fuzz(name: str, *, seconds: int, inputs: int, keep: Path) -> Figures:
    """Run one harness; what breaks it is kept in the folder `keep`."""
    seeds = CORPUS / name
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as grown:
        command = [
            *(sys.executable, "-m", "tests.fuzz.child", name),
            *(f"-max_total_time={seconds}", f"-runs={inputs}", f"-max_len={MOST_BYTES}"),
            *(f"-timeout={SLOWEST_SECONDS}", f"-rss_limit_mb={MOST_MEMORY_MB}"),
            *("-print_final_stats=1", f"-artifact_prefix={keep}/{name}-"),
            *(grown, str(seeds)),
        ]
        started = time.monotonic()
        ended = subprocess.run(
            command, cwd=HERE.parents[1], capture_output=True, check=False, text=True
        )
        took = time.monotonic() - started
    said = ended.stderr + ended.stdout
    executed, covered = EXECUTED.findall(said), COVERED.findall(said)
    finding = None
    if ended.returncode != 0 or not executed:
        (keep / f"{name}.log").write_text(said, encoding="utf-8")
        finding = f"{keep}/{name}-*, see {name}.log there"
    return Figures(
        name=name,
        inputs=int(executed[-1]) if executed else 0,
        seconds=took,
        features=int(covered[-1]) if covered else 0,
        finding=finding,
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = sorted(folder.name for folder in CORPUS.iterdir() if folder.is_dir())
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME", help=str(names))
    parser.add_argument("--seconds", type=int, default=1800, help="of each harness at most")
    parser.add_argument("--inputs", type=int, default=LONG_RUN, help="of each harness at most")
    parser.add_argument("--jobs", type=int, default=2, help="harnesses at a time")
    parser.add_argument("--keep", type=Path, help="folder for what breaks a harness")
    given = parser.parse_args(arguments)
    given.names = given.names or names
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harnesses side by side, print their figures, and return the exit code."""
    given = parse(arguments)
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed: make fuzz installs it, on Linux\n")
        return 4
    keep = given.keep or Path(tempfile.mkdtemp(prefix="okta-keys-findings-"))
    keep.mkdir(parents=True, exist_ok=True)

    def run(name: str) -> Figures:
        figures = fuzz(name, seconds=given.seconds, inputs=given.inputs, keep=keep)
        print(figures, flush=True)
        return figures

    with ThreadPoolExecutor(given.jobs) as pool:
        every = list(pool.map(run, given.names))
    return int(any(figures.finding for figures in every))


if __name__ == "__main__":
    raise SystemExit(main())
