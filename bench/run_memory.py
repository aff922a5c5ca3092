"""Peak memory of a run with its journal on disk, as the number of targets grows.

Usage: python -m bench.run_memory [--sizes 10000 50000 200000]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from bench.clone_cpu import static_org
from bench.measure import in_own_process, print_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    sizes: list[int] = parser.parse_args().sizes
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder, "ca.pem")
        environ = os.environ | {"SSL_CERT_FILE": str(ca_file), "HOME": folder}
        with static_org(ca_file) as url:
            peaks = [
                in_own_process("bench.clone_clients", ["engine", url, str(size)], environ)[
                    "peak_mib"
                ]
                for size in sizes
            ]
    rows = [
        (f"{size:,}", f"{peak:.0f}", f"{peak / peaks[0]:.2f}")
        for size, peak in zip(sizes, peaks, strict=True)
    ]
    print_table(("targets", "peak MiB", "ratio to the first"), rows)


if __name__ == "__main__":
    main()
