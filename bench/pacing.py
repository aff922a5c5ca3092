"""How late and how often refused the pacing is, in simulated worlds: alone and with a rival.

The bound is what a client could reach that knows the server's windows and its own tokens: it waits
for the edge at which its last token appears, then sends what is left with all workers. The tokens
that the rival really took are not counted as ours.

Usage: python -m bench.pacing [--seeds 40] [--first-seed N]
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from dataclasses import dataclass, replace
from random import Random, SystemRandom

from bench.measure import print_table
from orchestrator.okta.wire import RateHeaders
from tests.property.pacing_world import Server, Simulation, World

WINDOW_SECONDS = 6.0
LIMIT = 120
WORKERS = 16
ROUND_TRIP_SECONDS = 0.07  # the mean of the simulated network
SEEDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One simulated run against its bound."""

    seconds_over: float
    refused: int
    sent: int
    rival_refused: int
    rival_sent: int


class WatchedServer(Server):
    """Also remembers what the rival took, by window."""

    def __init__(self, world: World, random: Random) -> None:
        super().__init__(world, random)
        self.rival_takes: Counter[int] = Counter()
        self.rival_refused = 0

    def take(self, now: float, *, ours: bool) -> tuple[bool, RateHeaders]:
        accepted, rate = super().take(now, ours=ours)
        if not ours:
            self.rival_takes[self.window_at(now)] += accepted
            self.rival_refused += not accepted
        return accepted, rate

    def window_at(self, now: float) -> int:
        """Return the number of a window, 0 for the one that the run begins in."""
        return 1 + math.floor((now - self.phase) / self.world.window)

    def opening(self, window: int) -> float:
        return max(0.0, self.phase + (window - 1) * self.world.window)

    def bound(self) -> float:
        """Return the least time in which every call could have been accepted."""
        window, left = 0, self.world.calls
        while (tokens := self.world.limit - self.rival_takes[window]) < left:
            window, left = window + 1, left - tokens
        rounds = math.ceil(left / self.world.workers)
        return self.opening(window) + rounds * ROUND_TRIP_SECONDS


def run(world: World) -> Run:
    simulation = Simulation(world)
    server = WatchedServer(world, simulation.random)
    simulation.server = server
    story = simulation.run()
    return Run(
        seconds_over=story.seconds - server.bound(),
        refused=story.refused,
        sent=story.sent,
        rival_refused=server.rival_refused,
        rival_sent=server.rival_takes.total() + server.rival_refused,
    )


def world_of(seed: int, rival: float) -> World:
    return World(
        seed=seed,
        calls=3 * LIMIT,
        limit=LIMIT,
        window=WINDOW_SECONDS,
        workers=WORKERS,
        lazy=False,
        rival=rival,
        reset_rounded_up=seed % 2 == 1,
    )


def row(name: str, runs: list[Run]) -> tuple[str, ...]:
    over = sorted(run.seconds_over for run in runs)
    sent, rival_sent = sum(run.sent for run in runs), sum(run.rival_sent for run in runs)
    refused = sum(run.refused for run in runs)
    rival_refused = sum(run.rival_refused for run in runs)
    return (
        name,
        f"{over[len(over) // 2]:.2f}",
        f"{over[len(over) * 9 // 10]:.2f}",
        f"{over[-1]:.2f}",
        f"{sum(seconds > WINDOW_SECONDS / 2 for seconds in over)}/{len(runs)}",
        f"{1000 * refused / sent:.2f}",
        f"{sum(run.refused == 0 for run in runs)}/{len(runs)}",
        f"{100 * rival_refused / rival_sent:.0f} %" if rival_sent else "-",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first-seed", type=int, default=SystemRandom().randrange(10**9))
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    alone = [world_of(seed, rival=0.0) for seed in seeds]
    shared = [replace(world, rival=0.3) for world in alone]
    bursts = [replace(world, rival_burst=20) for world in shared]  # a sixth of the limit at once
    print(f"seeds {seeds.start} to {seeds.stop - 1}; times are simulated seconds over the bound")
    header = (
        "world",
        "median",
        "p90",
        "max",
        "a window late",
        "429 per 1,000",
        "runs without",
        "rival refused",
    )
    worlds = {"alone": alone, "rival 30 %": shared, "rival 30 % in bursts": bursts}
    print_table(header, [row(name, list(map(run, each))) for name, each in worlds.items()])


if __name__ == "__main__":
    main()
