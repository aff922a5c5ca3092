"""Time and memory of loading large plans, next to the fastest plain reader of the same file.

A YAML plan is held against `yaml.CSafeLoader`, a CSV file against `csv.reader` keeping one set of
ids. Neither of them checks anything or knows a line number.

Usage: python -m bench.plan_load [--rounds 3]. With READER and FILE: one reading, figures as JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.measure import Spread, in_own_process, paired, peak_mebibytes, print_table, rotated

HEAD = """\
version: 1
name: bench
jobs:
  - name: bench-signing
    source:
      app: 0oa8ae1t5yev2ajDs0h7
      key: w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI
    targets:
"""


def app_ids(number: int) -> Iterable[str]:
    return (f"0oa8{index:012d}0h7x" for index in range(number))


def write_yaml(folder: Path, number: int) -> Path:
    """Write a plan that names its targets one by one."""
    path = folder / f"{number}.yaml"
    path.write_text(HEAD + "".join(f"      - {app}\n" for app in app_ids(number)), "ascii")
    return path


def write_csv(folder: Path, number: int) -> Path:
    """Write targets with two more columns, and beside them the plan that names the file."""
    path = folder / f"{number}.csv"
    with path.open("w", encoding="ascii", newline="") as handle:
        handle.write("app_id,owner,ticket\n")
        handle.writelines(f"{app},team-{app[-7:-4]},CHG-1234\n" for app in app_ids(number))
    path.with_suffix(".yaml").write_text(f"{HEAD}      - file: {path.name}\n", "ascii")
    return path


def read_as_plan(path: Path) -> int:
    from orchestrator.plan.load import load_plan
    from orchestrator.plan.targets import resolve

    return sum(job.size for job in resolve(load_plan(path.with_suffix(".yaml"))))


def read_as_yaml(path: Path) -> int:
    import yaml

    with path.open("rb") as handle:
        plan = yaml.load(handle, yaml.CSafeLoader)
    return len(plan["jobs"][0]["targets"])


def read_as_csv(path: Path) -> int:
    with path.open(encoding="ascii", newline="") as handle:
        rows = csv.reader(handle)
        next(rows)
        return len({row[0] for row in rows})


READERS = {"plan": read_as_plan, "CSafeLoader": read_as_yaml, "csv.reader": read_as_csv}


def measure(reader: str, small: Path, path: Path) -> dict[str, float]:
    """Read once; the small file first, so that imports are not counted."""
    READERS[reader](small)
    base, started = peak_mebibytes(), time.perf_counter()
    targets = READERS[reader](path)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "extra_mib": peak_mebibytes() - base, "targets": targets}


def compare(small: Path, path: Path, plain: str, rounds: int) -> list[tuple[str, ...]]:
    """Return one row for our reader and one for the plain one."""
    names = ["plan", plain]
    rows: list[Mapping[str, Mapping[str, float]]] = [
        {
            name: in_own_process("bench.plan_load", [name, str(small), str(path)])
            for name in rotated(names, number)
        }
        for number in range(rounds)
    ]
    return [
        (
            f"{path.name} {name}",
            f"{Spread.of(row[name]['seconds'] for row in rows).median:.2f}",
            str(paired(rows, "seconds", name, plain)),
            f"{Spread.of(row[name]['extra_mib'] for row in rows).median:.0f}",
            str(paired(rows, "extra_mib", name, plain)),
        )
        for name in names
    ]


def compare_all(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small_yaml, small_csv = write_yaml(folder, 10), write_csv(folder, 11)
        table = [
            *compare(small_yaml, write_yaml(folder, 10_000), "CSafeLoader", rounds),
            *compare(small_yaml, write_yaml(folder, 100_000), "CSafeLoader", rounds),
            *compare(small_csv, write_csv(folder, 1_000_000), "csv.reader", rounds),
        ]
    print("ratios are paired, min - median - max of the rounds")
    print_table(("file and reader", "seconds", "ratio", "extra MiB", "ratio"), table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("reader", nargs="?", choices=READERS)
    parser.add_argument("files", nargs="*", type=Path, help="a small file, then the measured one")
    options = parser.parse_args()
    if options.reader:
        print(json.dumps(measure(options.reader, *options.files)))
    else:
        compare_all(options.rounds)


if __name__ == "__main__":
    main()
