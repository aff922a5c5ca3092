"""Foretell when calls to a bucket will be done, from what its gate knows now. Pure.

This plays `pacing.WindowGate` ahead with nobody else in the bucket: in each window it lets a share
through, spread over the window as long as more calls are expected than are left in it. Times are
seconds from now.
"""

from __future__ import annotations

import math

from orchestrator.okta.pacing import EDGE_SLACK_SECONDS, BucketView

LOST_IN_A_ROW = 1.0  # seconds between two windows, if one is opened as soon as the last is over:
# it begins just after a whole second, so the second in which it ends is nearly all waited for
LOST_AT_FIRST = 0.5 + EDGE_SLACK_SECONDS  # as above, for a window that begins at any moment
UNSURE_SECONDS = 2.0 + EDGE_SLACK_SECONDS  # from the first to the last moment of an announced end


class Outlook:
    """One bucket from now on, as calls of the future are planned into it, one after the other."""

    def __init__(self, view: BucketView | None) -> None:
        """Begin with what is known of the bucket; None: it lets everything through."""
        self.view = view
        self.now = 0.0  # when all that is planned is done
        self.edge = view.seconds_to_edge if view else 0.0  # by which the open window is surely over
        self.end = max(0.0, self.edge - LOST_AT_FIRST)  # at which it is, as far as can be guessed
        self.free = view.free if view else 0
        self.expected = 0

    def expect(self, calls: int) -> None:
        """Announce calls that are still to come; see `Pacer.expect`."""
        self.expected = max(0, self.expected + calls)

    def spend(self, calls: int, start: float = 0.0, *, seconds_per_call: float) -> float:
        """Plan calls from `start` on, behind those planned before; return when they are done.

        `seconds_per_call` is what one takes where nothing is waited for: its round trip, divided by
        how many are in flight at a time.
        """
        if calls <= 0:
            return start
        self.now = max(self.now, start)
        while calls > 0:
            if self.view is None:
                self.free, self.end = calls, math.inf
            elif self.free == 0 and self.now < self.edge:
                self.now = self.edge
            if self.view is not None and self.now >= self.end:
                self.open_window(self.view)
            calls -= self.send(calls, seconds_per_call)
        return self.now

    def open_window(self, view: BucketView) -> None:
        """Begin a window: the first call after the last one has ended does that."""
        lost = LOST_IN_A_ROW if 0 < self.edge == self.now else LOST_AT_FIRST
        self.end = self.now + view.window_seconds
        self.edge = self.end + lost
        self.free = view.share

    def send(self, calls: int, seconds_per_call: float) -> int:
        """Send as many of the calls as the open window has room and time for; at least one."""
        gap, sent = seconds_per_call, min(calls, self.free)
        if self.view is not None and self.expected > self.free:
            gap = max(gap, (self.edge - UNSURE_SECONDS - self.now) / self.free)
        if sent * gap > self.end - self.now:
            sent = max(1, int((self.end - self.now) / gap))
        self.now += sent * gap
        self.free -= sent
        self.expect(-sent)
        return sent


def estimated_seconds(calls: int, bucket: BucketView | None, *, seconds_per_call: float) -> float:
    """Return how long `calls` calls to one bucket will take from now on, if they are announced."""
    outlook = Outlook(bucket)
    outlook.expect(calls)
    return outlook.spend(calls, seconds_per_call=seconds_per_call)
