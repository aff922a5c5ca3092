"""Read a plan file: bytes to text, text to placed data, data to a plan, or every problem."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from orchestrator.errors import PlanError, Problem
from orchestrator.plan.files import read_regular, reason
from orchestrator.plan.part import Part
from orchestrator.plan.problems import problems_of, refuse
from orchestrator.plan.refusal import EMPTY
from orchestrator.plan.schema import Origin, Plan
from orchestrator.plan.tree import PlacedMap
from orchestrator.plan.yaml_events import MANY_APPS, YamlTree, read_tree
from orchestrator.plan.yaml_syntax import decode

MAX_BYTES = 64 * 1024 * 1024
BEGIN = "begin with version: 1, name: and jobs:"

P = TypeVar("P", bound=Part)


def load_plan(path: Path) -> Plan:
    """Read and check a plan file. The CSV files that it names are not opened: see targets.py.

    Raises:
        PlanError: with every problem and its place.
    """
    data = read_bytes(path, what="the plan", most=MAX_BYTES, hint=MANY_APPS)
    return load_plan_text(data, file=str(path), folder=path.parent)


def load_plan_text(text: bytes, *, file: str, folder: Path) -> Plan:
    """Check the bytes of a plan; `file` names them in messages, paths start from `folder`.

    Raises:
        PlanError: with every problem and its place.
    """
    with without_gc():
        tree = read_tree(decode(text, file), file)
        if not isinstance(tree.root, PlacedMap):
            message = "a plan is a mapping, not a single value or a list"
            if tree.root is EMPTY:
                message = "the plan is empty"
            raise refuse([*tree.problems, problem_with_all(tree, file, message, BEGIN)])
        digest = hashlib.sha256(text).hexdigest()
        origin = Origin(file=file, folder=folder, digest=digest, tree=tree.root)
        return validate(Plan, origin, tree.problems)


def validate(kind: type[P], origin: Origin, found: list[Problem]) -> P:
    """Return the plan of that origin; `found` is what was wrong with it as YAML.

    The validation error is not chained to ours: it holds the values that it refuses.

    Raises:
        PlanError: with every problem and its place.
    """
    taken = {(problem.line, problem.column) for problem in found}
    try:
        part = kind.model_validate(origin.tree, context=origin)
    except ValidationError as error:
        # A place has one cause: where the YAML is wrong, what follows from it is not said.
        found += [
            problem
            for problem in problems_of(error, origin.tree, origin.file)
            if (problem.line, problem.column) not in taken or problem.message == "is missing"
        ]
    else:
        if not found:
            return part
    raise refuse(found)


def problem_with_all(tree: YamlTree, file: str, message: str, hint: str) -> Problem:
    """Return the problem of a file that is no mapping at all."""
    line, column = tree.place
    return Problem(file=file, line=line, column=column, path="", message=message, hint=hint)


def read_bytes(
    path: Path,
    *,
    what: str,
    most: int,
    hint: str | None = None,
    accept: Callable[[os.stat_result], None] | None = None,
) -> bytes:
    """Return what is in a file of at most so many bytes; `hint` says what to do about a larger one.

    Raises:
        PlanError: it cannot be read, or is larger.
    """
    try:
        data = read_regular(path, most, accept=accept)
    except (OSError, ValueError) as error:
        message, hint = f"{what} cannot be read: {reason(error)}", None
    else:
        if data is not None:
            return data
        message = f"{what} is larger than {most // 2**20} MiB"
    problem = Problem(file=str(path), line=1, column=1, path="", message=message, hint=hint)
    raise PlanError([problem])


@contextmanager
def without_gc() -> Iterator[None]:
    """Switch the garbage collector off: it would walk a growing tree again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
