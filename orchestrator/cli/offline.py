"""The commands that call nobody: check plans, print schemas."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import ExitCode, InputError
from orchestrator.plan.jsonschema import plan_schema
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve


def validate_plans(paths: Sequence[Path]) -> ExitCode:
    """Check every plan, and say of each what is wrong, or what it would do."""
    code = ExitCode.DONE
    for path in paths:
        try:
            jobs = resolve(load_plan(path))
        except InputError as error:
            sys.stderr.write(f"{error.diagnostics()}\n")
            code = error.exit_code
        else:
            targets = sum(job.size for job in jobs)
            left_out = sum(sum(job.dropped.values()) for job in jobs)
            more = f", {left_out} left out" if left_out else ""
            sys.stderr.write(f"{path}: valid: {len(jobs)} jobs, {targets} targets{more}\n")
    return code


def print_schema(of: str) -> ExitCode:
    """Print a JSON Schema to stdout."""
    if of == "report":
        from orchestrator.report.document import report_schema

        schema = report_schema()
    else:
        schema = plan_schema()
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")
    return ExitCode.DONE
