"""What the benchmarks share: what a process has used, spreads of ratios, and child processes."""

from __future__ import annotations

import json
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Several rounds of one figure."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value."""
        ordered = sorted(values)
        return cls(low=ordered[0], median=statistics.median(ordered), high=ordered[-1])

    def __str__(self) -> str:
        return f"{self.low:.2f} - {self.median:.2f} - {self.high:.2f}"


def cpu_seconds() -> float:
    """Return user and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mebibytes() -> float:
    """Return the largest resident size of this process so far. Linux only."""
    # NOTE: ru_maxrss would begin with the size of the parent, which survives an exec.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / MIB if found else float("nan")


def in_own_process(
    module: str, arguments: Sequence[str], environ: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Run a module of the benchmarks and return the figures that it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def rotated(names: Sequence[str], round_number: int) -> list[str]:
    """Return the names in another order for every round, so that none always comes first."""
    start = round_number % len(names)
    return [*names[start:], *names[:start]]


def paired(
    rounds: Sequence[Mapping[str, Mapping[str, float]]], figure: str, above: str, below: str
) -> Spread:
    """Return one contender's figure over another's, divided within each round."""
    return Spread.of(row[above][figure] / row[below][figure] for row in rounds)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns: the first to the left, the others to the right."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        numbers = [cell.strip().rjust(len(cell)) for cell in others]
        print("  ".join([first, *numbers]))
