"""The commands that call nobody: check plans, print schemas."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import ExitCode, InputError
from orchestrator.plan.jsonschema import plan_schema
from orchestrator.plan.load import load_plan
from orchestrator.plan.schema import Plan
from orchestrator.plan.selectors import selectors_in
from orchestrator.plan.targets import resolve
from orchestrator.writing import on_lines


def validate_plans(paths: Sequence[Path]) -> ExitCode:
    """Check every plan, and say of each what is wrong, or what it would do."""
    code = ExitCode.DONE
    for path in paths:
        try:
            plan = load_plan(path)
            jobs = resolve(plan)
        except InputError as error:
            sys.stderr.write(on_lines(f"{error.diagnostics()}\n"))
            code = error.exit_code
        else:
            sys.stderr.write(f"{path}: valid: {', '.join(what_is_in(plan, jobs))}\n")
    return code


def what_is_in(plan: Plan, jobs: Sequence[ResolvedJob]) -> Iterator[str]:
    """Yield what a plan would do, as far as that can be told without asking the org."""
    yield f"{len(jobs)} jobs"
    yield f"{sum(job.size for job in jobs)} targets"
    left_out = sum(sum(job.dropped.values()) for job in jobs)
    if left_out:
        yield f"{left_out} left out"
    picked = sum(1 for job in plan.jobs for _ in selectors_in(job.targets))
    if picked:
        yield f"and what {selectors(picked, 'pick')}"
    excluded = sum(1 for job in plan.jobs for _ in selectors_in(job.exclude))
    if excluded:
        yield f"less what {selectors(excluded, 'exclude')}"


def selectors(number: int, verb: str) -> str:
    return f"1 selector {verb}s" if number == 1 else f"{number} selectors {verb}"


def print_schema(of: str) -> ExitCode:
    """Print a JSON Schema to stdout."""
    if of == "report":
        from orchestrator.report.parts import report_schema

        schema = report_schema()
    else:
        schema = plan_schema()
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")
    return ExitCode.DONE
