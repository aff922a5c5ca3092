"""The corpus through every harness, and random bytes; the long search is `python -m tests.fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.harnesses import HARNESSES

CORPUS = Path(__file__).parent / "corpus"
SEEDS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def test_every_harness_has_seeds() -> None:
    assert {path.parent.name for path in SEEDS} == set(HARNESSES)


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_no_seed_breaks_its_harness(path: Path) -> None:
    HARNESSES[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", HARNESSES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_mixture_of_seeds_breaks_a_harness(name: str, data: st.DataObject) -> None:
    seeds = [path for path in SEEDS if path.parent.name == name]
    whole = data.draw(st.sampled_from(seeds)).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    HARNESSES[name](whole[:cut] + data.draw(st.binary(max_size=30)) + whole[cut:])
