"""From lists and CSV files to targets: what counts, what streams, what is refused."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.errors import PlanError, Problem
from orchestrator.model import AppId, KeyRef, Kid
from orchestrator.plan.job import JobSpec
from orchestrator.plan.keys import SourceSpec
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.refusal import MOST_LISTED
from orchestrator.plan.resolved import ResolvedJob, TargetCounts
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import check_targets, resolve

SOURCE, A, B, C = (AppId(f"0oa{letter * 17}") for letter in "sabc")
KID = Kid("w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI")
OTHER_KID = Kid("k" * 43)


def plan_of(folder: Path, *jobs: str) -> Plan:
    text = "version: 1\nname: plan\njobs:\n"
    for number, job in enumerate(jobs):
        text += f"  - name: job{number}\n    source: {{app: {SOURCE}, key: {KID}}}\n{job}"
    return load_plan_text(text.encode(), file=str(folder / "plan.yaml"), folder=folder)


def one_job(folder: Path, targets: str, exclude: str = "[]") -> ResolvedJob:
    [job] = resolve(plan_of(folder, f"    targets: {targets}\n    exclude: {exclude}\n"))
    return job


def apps(job: ResolvedJob) -> list[str]:
    return [target.app for target in job.stream()]


def counts(targets: int, duplicates: int = 0, excluded: int = 0, source: int = 0) -> TargetCounts:
    return TargetCounts(targets=targets, duplicates=duplicates, excluded=excluded, source=source)


def write_csv(folder: Path, rows: Sequence[str], name: str = "apps.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def test_union_in_order_minus_exclude_minus_source(tmp_path: Path) -> None:
    write_csv(tmp_path, ["app_id", A, C, SOURCE])
    job = one_job(tmp_path, f"[{B}, {{file: apps.csv}}, {B}, {SOURCE}]", f"[{C}]")
    assert apps(job) == [B, A]
    assert job.counts == counts(2, duplicates=1, excluded=1, source=2)
    assert job.key == KeyRef(app=SOURCE, kid=KID)


def test_a_stream_can_be_read_again(tmp_path: Path) -> None:
    job = one_job(tmp_path, f"[{A}, {B}]")
    assert apps(job) == apps(job) == [A, B]


def test_a_later_job_with_the_same_key_does_not_repeat_targets(tmp_path: Path) -> None:
    write_csv(tmp_path, ["app_id", A, B])
    jobs = resolve(
        plan_of(
            tmp_path,
            f"    targets: [{A}, {C}]\n    exclude: [{C}]\n",
            f"    targets: [{{file: apps.csv}}, {C}, {C}]\n",
        )
    )
    assert [apps(job) for job in jobs] == [[A], [B, C]]
    assert [job.counts for job in jobs] == [counts(1, excluded=1), counts(2, duplicates=2)]


def test_jobs_with_other_keys_are_independent() -> None:
    def job(name: str, kid: Kid) -> JobSpec:
        return JobSpec(name=name, source=SourceSpec(app=SOURCE, key=kid), targets=(A,))

    plan = Plan(version=1, name="made-in-code", jobs=(job("a", KID), job("b", OTHER_KID)))
    assert [apps(job) for job in resolve(plan)] == [[A], [A]]


def test_keys_that_are_made_are_never_the_same() -> None:
    for key in ("{generate: {}}", "{generate: each_target}", "{csr: {subject: {common_name: x}}}"):
        assert both_have(A, key, key), key


def test_a_word_for_a_key_is_the_same_as_itself_only() -> None:
    assert not both_have(A, "active", "active")
    assert both_have(A, "active", "newest")
    assert both_have(A, "newest", KID)


def both_have(app: AppId, *keys: str) -> bool:
    """Say whether two jobs of one source with these keys both have the target."""
    text = "version: 1\nname: plan\njobs:\n"
    for number, key in enumerate(keys):
        text += (
            f"  - {{name: j{number}, source: {{app: {SOURCE}, key: {key}}}, targets: [{app}]}}\n"
        )
    jobs = resolve(load_plan_text(text.encode(), file="plan.yaml", folder=Path()))
    return [apps(job) for job in jobs] == [[app], [app]]


def test_a_job_that_activates_does_not_leave_its_targets_to_one_that_only_stages(
    tmp_path: Path,
) -> None:
    jobs = resolve(
        plan_of(
            tmp_path,
            f"    targets: [{A}, {B}]\n",
            f"    targets: [{A}, {C}]\n    activate: {{}}\n",
            f"    targets: [{A}, {C}]\n    activate: {{}}\n",
        )
    )
    assert [apps(job) for job in jobs] == [[A, B], [A, C], []]


def contested(folder: Path, *jobs: str, resources: Sequence[str] = ("app", "app")) -> list[Problem]:
    """Return the problems of two jobs that activate keys of their own."""
    text = "version: 1\nname: plan\njobs:\n"
    for number, (job, resource) in enumerate(zip(jobs, resources, strict=True)):
        source = f"{{{resource}: {SOURCE}, key: {{generate: {{}}}}}}"
        text += f"  - name: job{number}\n    resource: {resource}\n    source: {source}\n{job}"
    plan = load_plan_text(text.encode(), file=str(folder / "plan.yaml"), folder=folder)
    try:
        resolve(plan)
    except PlanError as error:
        return list(error.problems)
    return []


ACTIVATE = "    activate: {}\n"


def test_an_app_cannot_be_activated_by_two_jobs(tmp_path: Path) -> None:
    first = f"    targets: [{A}, {B}]\n{ACTIVATE}"
    [problem] = contested(tmp_path, first, f"    targets: [{C}, {B}, {B}]\n{ACTIVATE}")
    assert (problem.line, problem.path) == (12, "jobs[1].targets[1]")
    assert "'job0'" in problem.message
    assert B in problem.message
    write_csv(tmp_path, ["app_id", C, A])
    [problem] = contested(tmp_path, first, f"    targets: [{{file: apps.csv}}]\n{ACTIVATE}")
    assert (problem.line, problem.path) == (12, "jobs[1].targets")
    assert A in problem.message


def test_what_two_jobs_may_share(tmp_path: Path) -> None:
    both = f"    targets: [{A}, {B}]\n"
    assert not contested(tmp_path, f"{both}{ACTIVATE}", both)
    assert not contested(
        tmp_path, f"{both}{ACTIVATE}", f"{both}    exclude: [{A}, {B}]\n{ACTIVATE}"
    )
    mixed = ("app", "idp")  # their ids are of one kind, but they are not the same thing
    assert not contested(tmp_path, f"{both}{ACTIVATE}", f"{both}{ACTIVATE}", resources=mixed)


def test_many_contested_apps_are_counted(tmp_path: Path) -> None:
    write_csv(tmp_path, ["app_id", *(f"0oa{number:017d}" for number in range(250))])
    job = f"    targets: [{{file: apps.csv}}]\n{ACTIVATE}"
    assert len(contested(tmp_path, job, job)) == MOST_LISTED


def test_the_other_columns_become_tags(tmp_path: Path) -> None:
    write_csv(tmp_path, ["owner, app_id,vendor", f' joe , {A} ,"Smith, ""J"" & Co"', f",{B},  "])
    first, second = one_job(tmp_path, "[{file: apps.csv}]").stream()
    assert (first.job, first.app) == ("job0", A)
    assert first.tags == {"owner": "joe", "vendor": 'Smith, "J" & Co'}
    assert second.tags == {}
    with pytest.raises(TypeError):
        first.tags["owner"] = "ann"  # type: ignore[index] # that is the test


def test_a_csv_file_as_spreadsheets_write_it(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfapp_id,note\r\n" + f'{A},"two\r\nlines"\r\n\r\n{B},'.encode()
    (tmp_path / "apps.csv").write_bytes(data)
    assert apps(one_job(tmp_path, "[{file: apps.csv}]")) == [A, B]


def test_a_header_alone_lists_no_apps(tmp_path: Path) -> None:
    write_csv(tmp_path, ["app_id"])
    assert one_job(tmp_path, "[{file: apps.csv}]").counts == counts(0)


def test_an_absolute_path(tmp_path: Path) -> None:
    path = write_csv(tmp_path, ["app_id", A])
    assert apps(one_job(Path("elsewhere"), f"[{{file: {path}}}]")) == [A]


def refusal_of(folder: Path, targets: str) -> PlanError:
    with pytest.raises(PlanError) as caught:
        check_targets(plan_of(folder, f"    targets: {targets}\n"))
    return caught.value


def test_the_place_of_a_bad_cell_after_quotes_and_line_breaks(tmp_path: Path) -> None:
    write_csv(tmp_path, ["note,app_id", '"a, b', f'c", {A}x'])
    [problem] = refusal_of(tmp_path, "[{file: apps.csv}]").problems
    assert (problem.line, problem.column, problem.path) == (3, 5, "app_id")
    assert problem.file == str(tmp_path / "apps.csv")


def test_a_hundred_bad_rows_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    write_csv(tmp_path, ["app_id", *(f"bad{number}" for number in range(250))])
    error = refusal_of(tmp_path, "[{file: apps.csv}, {file: apps.csv}]")
    assert [problem.line for problem in error.problems] == list(range(2, 2 + MOST_LISTED))
    assert error.hidden == 150


def test_files_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    error = refusal_of(tmp_path, "[{file: pipe}, {file: /dev/zero}, {file: none.csv}]")
    said = [(problem.path, problem.message) for problem in error.problems]
    for index, why in enumerate(["a named pipe", "a device", "no such file"]):
        assert said[index][0] == f"jobs[0].targets[{index}].file"
        assert why in said[index][1]


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "apps.csv").open("wb") as handle:
        handle.write(b"app_id\n")
        handle.truncate(1 << 28)
    tracemalloc.start()
    try:
        error = refusal_of(tmp_path, "[{file: apps.csv}]")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "longer than 1 MiB" in error.problems[0].message
    assert peak < 20_000_000


def test_a_quote_that_swallows_the_file_is_found_early(tmp_path: Path) -> None:
    write_csv(tmp_path, ["app_id,note", f'{A},"oops', *(f"{B}," for _ in range(20_000))])
    error = refusal_of(tmp_path, "[{file: apps.csv}]")
    assert (error.problems[0].line, error.problems[0].column) == (2, 1)
    assert "not closed" in error.problems[0].message


def test_rows_are_streamed(tmp_path: Path) -> None:
    rows = 50_000
    write_csv(tmp_path, ["app_id,note", *(f"0oa{n:017d},{'x' * 200}" for n in range(rows))])
    job = one_job(tmp_path, "[{file: apps.csv}]")
    tracemalloc.start()
    try:
        assert sum(1 for _ in job.stream()) == rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows * 200  # the seen ids, never the rows


def stream_error(job: ResolvedJob) -> str:
    with pytest.raises(PlanError) as caught:
        list(job.stream())
    return caught.value.problems[0].message


def test_a_file_that_changed_since_it_was_checked(tmp_path: Path) -> None:
    path = write_csv(tmp_path, ["app_id", A])
    job = one_job(tmp_path, "[{file: apps.csv}]")
    with path.open("a") as handle:
        handle.write(f"{B}\n")
    assert "has changed" in stream_error(job)


def test_a_file_that_was_replaced_since_it_was_checked(tmp_path: Path) -> None:
    path = write_csv(tmp_path, ["app_id", A])
    job = one_job(tmp_path, "[{file: apps.csv}]")
    times = path.stat()
    write_csv(tmp_path, ["app_id", B], "new.csv").replace(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "has changed" in stream_error(job)


def test_a_file_that_grows_while_it_is_streamed(tmp_path: Path) -> None:
    path = write_csv(tmp_path, ["app_id", A, B])
    stream = one_job(tmp_path, "[{file: apps.csv}]").stream()
    next(stream)
    with path.open("a") as handle:
        handle.write(f"{C}\n")
    with pytest.raises(PlanError, match="1 problem"):
        list(stream)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    path = write_csv(tmp_path, ["app_id", A])
    job = one_job(tmp_path, "[{file: apps.csv}]")
    path.unlink()
    assert "there is no such file" in stream_error(job)
