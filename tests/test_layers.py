"""The architecture, enforced: imports only point down, and there is no cycle."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import orchestrator
from orchestrator.errors import OrchestratorError

ROOT = Path(orchestrator.__file__).parent

# From the bottom up. A module may import from its own layer only within its own package.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"__init__", "errors", "clock", "secret", "scrubbing", "halt", "writing"}),
    frozenset({"model", "holders", "rollout", "events", "plan"}),
    frozenset({"okta", "store", "hooks"}),
    frozenset({"engine"}),
    frozenset({"inventory", "report", "doctor", "settings"}),
    frozenset({"cli", "__main__"}),
)
NEIGHBOURS = {  # within one layer, who may know whom
    "halt": {"errors"},
    "secret": {"errors"},
    "scrubbing": {"secret"},
    "writing": {"errors"},
    "events": {"model"},
    "holders": {"model"},
    "rollout": {"model"},
    "plan": {"model", "holders", "rollout"},
    "__main__": {"cli"},
}
SANDBOX_MAY_KNOW = {"sandbox", "errors", "clock", "__init__"}
MOST_LINES = 400
LONGEST_FUNCTION = 60


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__init__" or len(parts) == 1:
            yield ".".join(parts), path


def imported_modules(path: Path) -> set[str]:
    """Return our modules that a file imports, lazily or not, without the package's name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orchestrator"):
            name = (node.module or "").removeprefix("orchestrator").lstrip(".")
            found.add(name or "__init__")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("orchestrator."):
                    found.add(alias.name.removeprefix("orchestrator."))
    return found


GRAPH = {name: imported_modules(path) for name, path in modules()}


def unit(module: str) -> str:
    """Return the package or top-level module that a module belongs to."""
    return module.split(".", maxsplit=1)[0]


def layer(module: str) -> int:
    return next(number for number, units in enumerate(LAYERS) if unit(module) in units)


def test_every_module_has_a_layer() -> None:
    known = frozenset().union(*LAYERS) | {"sandbox", "schemas"}
    assert {unit(module) for module in GRAPH} <= known


def test_imports_point_down() -> None:
    upward = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        if unit(module) != "sandbox"
        for other in others
        if unit(other) not in (unit(module), "sandbox")
        and layer(other) >= layer(module)
        and unit(other) not in NEIGHBOURS.get(unit(module), set())
    ]
    assert not upward


def test_only_the_command_line_starts_the_sandbox() -> None:
    users = {
        unit(module) for module, others in GRAPH.items() for o in others if unit(o) == "sandbox"
    }
    assert users <= {"sandbox", "cli"}


def test_the_sandbox_shares_nothing_with_the_client() -> None:
    known = {
        unit(o) for module, others in GRAPH.items() if unit(module) == "sandbox" for o in others
    }
    assert known <= SANDBOX_MAY_KNOW


def test_there_is_no_import_cycle() -> None:
    tuple(TopologicalSorter(GRAPH).static_order())  # raises CycleError


def test_the_engine_knows_no_yaml_no_terminal_and_no_web_client() -> None:
    foreign = {"yaml", "rich", "typer", "aiohttp", "sqlite3", "pydantic"}
    for name, path in modules():
        if unit(name) == "engine":
            names = {
                alias.name.split(".")[0]
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Import)
                for alias in node.names
            }
            assert not names & foreign, name


def test_packages_re_export_nothing() -> None:
    for path in ROOT.rglob("__init__.py"):
        if path.parent != ROOT:
            assert path.read_text(encoding="utf-8").strip() == "", path


def test_modules_and_functions_stay_small() -> None:
    large = []
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            large.append(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    large.append(f"{name}.{node.name}: {lines} lines")
    assert not large


def test_every_exception_class_has_our_base() -> None:
    strays = []
    for info in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, kind in inspect.getmembers(module, inspect.isclass):
            ours = kind.__module__ == info.name and issubclass(kind, BaseException)
            if ours and not issubclass(kind, OrchestratorError):
                strays.append(f"{info.name}.{name}")
    assert not strays
