"""Play a run ahead: which calls it makes, and when each part of it is done. Pure.

Staging and activation go on side by side, in different buckets, so their times do not add up: a
wave begins when its targets are staged and the wave before is over. This plays what `run` and
`waves` do, on the outlook of every bucket.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import ceil

from orchestrator.engine.confirm import LOG_MARGIN
from orchestrator.engine.waves import LOOK_AGAIN_SECONDS
from orchestrator.engine.workload import JobLoad, WaveLoad
from orchestrator.okta.api import LARGEST_LOG_PAGE, LARGEST_PAGE
from orchestrator.okta.endpoints import Endpoints
from orchestrator.okta.outlook import Outlook
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.pacing import MOST_IN_FLIGHT, BucketView

USUAL_ROUND_TRIP = 0.2  # seconds, of a bucket that was not called yet
EVENTS_PER_WRITE = 2  # in the System Log: the update of an app, and the rotation of its key
NOTICED_AFTER = LOOK_AGAIN_SECONDS / 2  # seconds, until a run that still stages sees a ready wave


@dataclass(slots=True)
class JobProgress:
    """How far the activation of a job has come."""

    job: JobLoad
    signing: int  # with the key
    staged: deque[WaveLoad] = field(default_factory=deque)  # waves that are ready to go
    is_busy: bool = False


class Timetable:
    """What a run will do. Times are seconds from its beginning."""

    def __init__(self, views: Mapping[Bucket, BucketView | None], *, workers: int) -> None:
        self.views = views
        self.outlooks = {bucket: Outlook(views.get(bucket)) for bucket in Bucket}
        self.workers = max(1, min(workers, MOST_IN_FLIGHT))
        self.calls: Counter[Bucket] = Counter()
        self.seconds = 0.0
        self.written: list[tuple[float, float, int]] = []  # waves: from when to when, how many
        self.queue: list[tuple[float, int, Iterator[float]]] = []
        self.order = count()  # of what is to be done at the same time

    def play(self, jobs: Sequence[JobLoad], announced: Mapping[Bucket, int]) -> None:
        """Do everything, each time what comes first; may be called once.

        `announced`: the calls that the run tells the pacing of at its beginning.
        """
        for bucket, calls in announced.items():
            self.outlooks[bucket].expect(calls)
        self.begin(self.staging(jobs), 0.0)
        while self.queue:
            self.seconds, _, process = heappop(self.queue)
            then = next(process, None)
            if then is not None:
                self.begin(process, then)

    def begin(self, process: Iterator[float], at: float) -> None:
        """Go on with a process at a time; it yields the time at which to go on once more."""
        heappush(self.queue, (at, next(self.order), process))

    def round_trip(self, bucket: Bucket) -> float:
        view = self.views.get(bucket)
        return view.round_trip if view else USUAL_ROUND_TRIP

    def spend(self, bucket: Bucket, calls: int, at: float, *, seconds_each: float) -> float:
        self.calls[bucket] += calls
        return self.outlooks[bucket].spend(calls, at, seconds_per_call=seconds_each)

    def one_by_one(self, bucket: Bucket, calls: int, at: float) -> float:
        return self.spend(bucket, calls, at, seconds_each=self.round_trip(bucket))

    def staging(self, jobs: Sequence[JobLoad]) -> Iterator[float]:
        """Stage job after job, the workers' calls at a time: lists and logs come between."""
        now = 0.0
        for job in jobs:
            for bucket, calls in job.source.items():
                now = self.one_by_one(bucket, calls, now)
                yield now
            bucket, progress = job.endpoints.bucket, JobProgress(job, job.signers)
            each = self.round_trip(bucket) / self.workers
            for wave in job.waves:
                for done in range(0, wave.staging, self.workers):
                    calls = min(self.workers, wave.staging - done)
                    now = self.spend(bucket, calls, now, seconds_each=each)
                    yield now
                is_last = job is jobs[-1] and wave is job.waves[-1]
                self.release(progress, wave, now if is_last else now + NOTICED_AFTER)

    def release(self, progress: JobProgress, wave: WaveLoad, at: float) -> None:
        """Let a wave go, behind those of its job that are under way."""
        if wave.reads:
            progress.staged.append(wave)
            if not progress.is_busy:
                progress.is_busy = True
                self.begin(self.activation(progress, at), at)

    def activation(self, progress: JobProgress, now: float) -> Iterator[float]:
        """Activate the waves that are staged, one after the other."""
        while progress.staged:
            wave, began = progress.staged.popleft(), now
            now = self.switch(progress.job.endpoints, wave, now)
            yield now
            self.written.append((began, now, wave.writes))
            progress.signing += wave.writes
            for bucket, calls in self.confirming(progress, wave, began):
                now = self.one_by_one(bucket, calls, now)
                yield now
        progress.is_busy = False

    def switch(self, endpoints: Endpoints, wave: WaveLoad, now: float) -> float:
        """Read and write the targets of a wave; return when the last is written."""
        buckets = (endpoints.read_bucket, endpoints.write_bucket)
        to_read, to_write = (self.round_trip(bucket) / self.workers for bucket in buckets)
        if endpoints.write_bucket is not endpoints.read_bucket:
            to_write += to_read  # a worker writes only what it has read
        for bucket in buckets:
            self.outlooks[bucket].expect(wave.reads)
        read = self.spend(endpoints.read_bucket, wave.reads, now, seconds_each=to_read)
        written = self.spend(endpoints.write_bucket, wave.writes, now, seconds_each=to_write)
        for bucket in buckets:
            self.outlooks[bucket].expect(-wave.reads)
        return max(read, written)

    def confirming(
        self, progress: JobProgress, wave: WaveLoad, began: float
    ) -> Iterator[tuple[Bucket, int]]:
        """Yield what it costs to see that a wave is active, for what has become active in it."""
        if not wave.signing:
            return
        job, endpoints = progress.job, progress.job.endpoints
        if job.cross_checks:
            events = EVENTS_PER_WRITE * self.writes_since(began - LOG_MARGIN.total_seconds())
            yield Bucket.LOGS, max(1, ceil(events / LARGEST_LOG_PAGE))
        if not job.confirms:
            return
        if not job.each_its_own:  # the list names all that sign with the key
            yield endpoints.bucket, job.pages or ceil(progress.signing / LARGEST_PAGE)
        elif wave.signing > 1:
            yield endpoints.read_bucket, wave.signing
        else:
            yield endpoints.bucket, 1

    def writes_since(self, since: float) -> int:
        """Return how many apps were written, in any job; evenly within each wave."""
        found = 0.0
        for began, ended, writes in self.written:
            if began >= since:
                found += writes
            elif ended > since:
                found += writes * (ended - since) / (ended - began)
        return ceil(found)
