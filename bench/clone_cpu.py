"""CPU of the client per 1,000 clones over TLS: our engine next to aiohttp alone and Okta's SDK.

Usage: python -m bench.clone_cpu [--rounds 5] [--calls 3000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.clone_clients import CLIENTS
from bench.measure import ROOT, Spread, in_own_process, paired, print_table, rotated

Round = Mapping[str, Mapping[str, float]]


@contextmanager
def static_org(ca_file: Path) -> Iterator[str]:
    """Serve in a process of its own; say at the end what the server took."""
    command = [sys.executable, "-m", "bench.static_org", str(ca_file)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout is not None  # noqa: S101 - it is a pipe
        yield json.loads(server.stdout.readline())["url"]
        said, _ = server.communicate()
        print(f"\nserver: {json.loads(said)['cpu_per_1000']:.3f} CPU s per 1,000 answers")


def run_rounds(rounds: int, calls: int) -> list[Round]:
    """Run every client once a round, each in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder, "ca.pem")
        # HOME, since the SDK reads a file of settings there.
        environ = os.environ | {"SSL_CERT_FILE": str(ca_file), "HOME": folder}
        with static_org(ca_file) as url:
            return [
                {
                    name: in_own_process("bench.clone_clients", [name, url, str(calls)], environ)
                    for name in rotated(list(CLIENTS), number)
                }
                for number in range(rounds)
            ]


def show(rounds: list[Round]) -> None:
    rows = []
    for name in CLIENTS:
        cpu = Spread.of(row[name]["cpu_per_1000"] for row in rounds)
        peak = Spread.of(row[name]["peak_mib"] for row in rounds)
        rows.append((name, f"{cpu.median:.4f}", f"{peak.median:.0f}"))
    print_table(("client", "CPU s per 1,000 (median)", "peak MiB"), rows)
    print("\npaired ratios of CPU, min - median - max of the rounds:")
    for other in ("raw aiohttp", "okta SDK", "engine without journal"):
        print(f"engine / {other}: {paired(rounds, 'cpu_per_1000', 'engine', other)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3000)
    options = parser.parse_args()
    show(run_rounds(options.rounds, options.calls))


if __name__ == "__main__":
    main()
