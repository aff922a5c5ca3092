"""Results of runs, as a test wants them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from orchestrator.engine.result import RunResult
from orchestrator.model import KeyRef, Outcome, Reason, RunId, Status
from orchestrator.store.base import JobRecord, RunRecord, RunState, StopRecord

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
HEAD = "5e" * 32


def record(
    run_id: str = "r1",
    *,
    plan: str = "finance",
    org: str = "https://acme.okta.com",
    dry_run: bool = False,
    sessions: int = 1,
) -> RunRecord:
    """Return a run that began at noon and ended an hour later."""
    return RunRecord(
        run_id=RunId(run_id),
        plan=plan,
        org=org,
        plan_digest="ab12",
        dry_run=dry_run,
        created_at=NOON,
        updated_at=NOON.replace(hour=13),
        state=RunState.FINISHED,
        sessions=sessions,
        stop=None,
        exit_code=0,
        events=7,
        head=HEAD,
    )


def job_record(key: KeyRef, **fields: object) -> JobRecord:
    """Return the job `job` with this key."""
    plain: dict[str, object] = {"position": 0, "name": "job", "key": key, "dropped": {}}
    return JobRecord(**(plain | fields))  # type: ignore[arg-type]  # the tests name what they change


def run_result(
    outcomes: Iterable[Outcome] = (),
    *,
    run: RunRecord | None = None,
    jobs: tuple[JobRecord, ...] = (),
    stop: StopRecord | None = None,
    changed: int = 0,
) -> RunResult:
    """Return the result of a run with these outcomes, counted."""
    known, run = tuple(outcomes), run or record()
    counts = Counter(outcome.status for outcome in known)
    return RunResult(
        record=run,
        jobs=jobs,
        outcomes=known,
        counts={status: counts[status] for status in Status},
        left=sum(outcome.reason is Reason.NOT_REACHED for outcome in known),
        stop=stop,
        started_at=run.created_at,
        finished_at=run.updated_at,
        changed=changed,
    )
