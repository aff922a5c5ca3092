"""A world in virtual time: workers, a network, Okta's windows and other tenants.

The gate under test sees what the wire would show it: whole seconds, late answers, nothing else.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from random import Random

from orchestrator.okta.pacing import ServerClock, WindowGate
from orchestrator.okta.wire import RateHeaders


@dataclass(kw_only=True)
class World:
    """The parameters of one simulated run."""

    seed: int
    calls: int
    limit: int = 120
    window: float = 6.0
    capacity: float = 1.0
    workers: int = 10
    lazy: bool = True  # windows open with the first call, as Okta's do; else they follow each other
    rival: float = 0.0  # share of the limit that others take, on average
    rival_burst: int = 1
    skew: float = 0.0  # of the server's clock
    reset_rounded_up: bool = False
    hold: float = 0.0  # seconds for which slots are held before their call, on average
    unused: float = 0.0  # share of the held slots that are given back instead


@dataclass(kw_only=True)
class Story:
    """What came of a run."""

    seconds: float = 0.0
    refused: int = 0  # our calls that met a 429
    sent: int = 0
    ours_by_window: list[int] = field(default_factory=list)


class Server:
    """One bucket, counted as Okta counts."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.epoch = 1.7e9 + random.random() * 100 + world.skew
        self.phase = random.random() * world.window
        self.ends = -math.inf
        self.count = 0
        self.story = Story()

    def take(self, now: float, *, ours: bool) -> tuple[bool, RateHeaders]:
        self.turn_over(now)
        accepted = self.count < self.world.limit
        self.count += accepted
        if ours:
            self.story.sent += 1
            self.story.refused += not accepted
            self.story.ours_by_window[-1] += accepted
        end = self.ends + self.epoch
        rate = RateHeaders(
            limit=self.world.limit,
            remaining=self.world.limit - self.count,
            reset=math.ceil(end) if self.world.reset_rounded_up else math.floor(end),
            date=math.floor(now + self.epoch),
        )
        return accepted, rate

    def turn_over(self, now: float) -> None:
        if now < self.ends:
            return
        window = self.world.window
        if self.world.lazy:
            self.ends = now + window
        else:
            self.ends = self.phase + (math.floor((now - self.phase) / window) + 1) * window
        self.count = 0
        self.story.ours_by_window.append(0)


def simulate(world: World) -> Story:
    """Run the gate until every call has been accepted."""
    return Simulation(world).run()


class Simulation:
    """Discrete events: a call arrives, its answer arrives, a rival calls, a worker may send."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = Random(world.seed)
        self.server = Server(world, self.random)
        self.gate = WindowGate(
            ServerClock(), capacity=world.capacity, random=Random(world.seed + 1)
        )
        self.gate.expected = world.calls
        self.now = 0.0
        self.waiting = world.calls
        self.flying = 0
        self.done = 0
        self.order = 0
        self.arrivals: list[tuple[float, int, float]] = []
        self.answers: list[tuple[float, int, float, bool, RateHeaders]] = []
        self.held: list[tuple[float, int, float]] = []
        self.next_rival = self.rival_pause()

    def run(self) -> Story:
        while self.done < self.world.calls:
            pause = self.send()
            pending = [heap[0][0] for heap in (self.arrivals, self.answers, self.held) if heap]
            self.now = min([self.now + pause, self.next_rival, *pending])
            assert self.now < math.inf, "everybody waits for somebody else"
            self.step()
        self.server.story.seconds = self.now
        return self.server.story

    def send(self) -> float:
        """Let idle workers send; return how long the gate keeps the next one waiting."""
        while self.waiting and self.flying < self.world.workers:
            delay = self.gate.reserve(self.now)
            if delay > 0:
                return max(delay, 1e-6)
            self.waiting -= 1
            self.flying += 1
            self.order += 1
            if self.world.hold:
                use = self.now + self.random.uniform(0.0, 2 * self.world.hold)
                heapq.heappush(self.held, (use, self.order, self.now))
            else:
                self.launch(self.order)
        return math.inf

    def launch(self, order: int) -> None:
        arrival = self.now + self.random.uniform(0.01, 0.03)
        heapq.heappush(self.arrivals, (arrival, order, self.now))

    def use_held(self) -> None:
        while self.held and self.held[0][0] <= self.now:
            _, order, reserved = heapq.heappop(self.held)
            if self.random.random() < self.world.unused:
                self.gate.cancel(reserved)
                self.flying -= 1
                self.done += 1
            else:
                self.gate.depart(self.now)
                self.launch(order)

    def step(self) -> None:
        self.use_held()
        while self.next_rival <= self.now:
            for _ in range(self.random.randint(1, self.world.rival_burst)):
                self.server.take(self.next_rival, ours=False)
            self.next_rival += self.rival_pause()
        while self.arrivals and self.arrivals[0][0] <= self.now:
            at, order, sent = heapq.heappop(self.arrivals)
            accepted, rate = self.server.take(at, ours=True)
            back = at + self.random.uniform(0.02, 0.08)
            heapq.heappush(self.answers, (back, order, sent, accepted, rate))
        while self.answers and self.answers[0][0] <= self.now:
            at, _, sent, accepted, rate = heapq.heappop(self.answers)
            self.flying -= 1
            self.gate.observe(rate, 201 if accepted else 429, sent, at)
            self.done += accepted
            self.waiting += not accepted

    def rival_pause(self) -> float:
        if self.world.rival == 0:
            return math.inf
        mean_burst = (1 + self.world.rival_burst) / 2
        takes = self.world.rival * self.world.limit / self.world.window / mean_burst
        return self.random.expovariate(takes)
