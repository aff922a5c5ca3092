"""Results of runs, as a test wants them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from orchestrator.engine.result import RunResult
from orchestrator.model import ActivationState, Certificate, KeyRef, Outcome, Reason, RunId, Status
from orchestrator.store.base import JobRecord, RunRecord, RunState, StopRecord, TargetRecord

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
HEAD = "5e" * 32


def certificate(thumbprint: str) -> Certificate:
    """Return a certificate that lasts ten years from noon."""
    return Certificate(
        thumbprint=thumbprint,
        not_before=NOON,
        not_after=NOON.replace(year=2036),
        subject="CN=acme",
        signature_hash="sha256",
        key_bits=2048,
    )


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


def target_record(outcome: Outcome, **fields: object) -> TargetRecord:
    """Return what a run knows of a target of its first job."""
    plain: dict[str, object] = {"job": 0, "target": outcome.target, "outcome": outcome}
    return TargetRecord(**(plain | fields))  # type: ignore[arg-type]  # what the tests change


def is_unactivated(record: TargetRecord) -> bool:
    """Say whether a staged target's activation is still to come."""
    if record.activation is not None:
        return record.activation.state is ActivationState.INTENDED
    staged = record.outcome is not None and record.outcome.status.is_staged
    return staged and record.wave is not None


def run_result(
    targets: Iterable[Outcome | TargetRecord] = (),
    *,
    run: RunRecord | None = None,
    jobs: tuple[JobRecord, ...] = (),
    stop: StopRecord | None = None,
    changed: int = 0,
    failed: int = 0,
) -> RunResult:
    """Return the result of a run with these targets, counted."""
    records = tuple(
        each if isinstance(each, TargetRecord) else target_record(each) for each in targets
    )
    outcomes = [record.outcome for record in records if record.outcome is not None]
    known = [record.activation for record in records if record.activation is not None]
    counts = Counter(outcome.status for outcome in outcomes)
    states = Counter(activation.state for activation in known)
    run = run or record()
    return RunResult(
        record=run,
        jobs=jobs,
        records=records,
        counts={status: counts[status] for status in Status},
        activations={state: states[state] for state in ActivationState},
        problems=sum(activation.problem is not None for activation in known),
        unactivated=sum(map(is_unactivated, records)),
        left=sum(outcome.reason is Reason.NOT_REACHED for outcome in outcomes),
        stop=stop,
        started_at=run.created_at,
        finished_at=run.updated_at,
        changed=changed,
        failed=failed,
    )
