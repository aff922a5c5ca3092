"""What selectors pick out of an org, and what is said when that cannot be what was meant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time

import pytest

from orchestrator.engine.resume import digest_of
from orchestrator.errors import PlanError, Problem
from orchestrator.holders import OIDC, SAML_IDP, Holder, Picture, Questions
from orchestrator.model import AppId, Kid, Resource
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.refusal import MOST_LISTED
from orchestrator.plan.resolved import ResolvedJob
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import questions_of_plan, resolve

NOW = datetime(2026, 7, 1, tzinfo=UTC)
OLD, NEW, OTHER = (Kid(letter * 43) for letter in "onx")


def app_id(number: int) -> AppId:
    return AppId(f"0oa{number:017d}")


HQ, EU, US, TEST, BOOKMARK, WEB, OFF = map(app_id, range(7))
HOLDERS = (
    Holder(id=HQ, label="Finance HQ", name="saml", sign_on_mode="SAML_2_0", kid=NEW),
    Holder(id=EU, label="Finance EU", name="amazon_aws", sign_on_mode="SAML_2_0", kid=OLD),
    Holder(id=US, label="Finance US", name="amazon_aws", sign_on_mode="SAML_2_0", kid=OLD),
    Holder(id=TEST, label="Test Finance", sign_on_mode="SAML_2_0", kid=OTHER),
    Holder(id=BOOKMARK, label="Finance wiki", name="bookmark", sign_on_mode="BOOKMARK"),
    Holder(id=WEB, label="Finance web", sign_on_mode=OIDC, kid=OTHER),
    Holder(id=OFF, label="Legacy", sign_on_mode="SAML_2_0", kid=OLD, status="INACTIVE"),
)
ENDS = {OLD: NOW + timedelta(days=30), NEW: NOW + timedelta(days=900)}


def picture(*holders: Holder, is_whole: bool = True, **more: object) -> Picture:
    listed = {
        resource: [holder for holder in holders or HOLDERS if holder.resource is resource]
        for resource in Resource
    }
    return Picture(at=NOW, holders=listed, ends=ENDS, is_whole=is_whole, **more)  # type: ignore[arg-type] # the tests name what they change


def plan_of(targets: str, more: str = "", source: str = f"app: {HQ}, key: {NEW}") -> Plan:
    text = (
        f"version: 1\nname: plan\njobs:\n  - name: one\n    source: {{{source}}}\n"
        f"    targets: {targets}\n{more}"
    )
    return load_plan_text(text.encode(), file="plan.yaml", folder=Path())


def job_of(targets: str, more: str = "", of: Picture | None = None, **given: str) -> ResolvedJob:
    [job] = resolve(plan_of(targets, more, **given), of or picture())
    return job


def apps(job: ResolvedJob) -> list[AppId]:
    return [target.app for target in job.stream()]


@pytest.mark.parametrize(
    ("selector", "picked"),
    [
        ("label: Finance EU", [EU]),
        ("label_prefix: Finance", [EU, US]),
        ("label_regex: '^Fin.* (EU|US)$'", [EU, US]),
        ("label_regex: inance", [EU, US, TEST]),
        ("""filter: name EQ  "amazon_aws" """, [EU, US]),
        ("""filter: 'status eq "INACTIVE"'""", [OFF]),
        (f"""filter: 'credentials.signing.kid eq "{OLD}"'""", [EU, US, OFF]),
        ("filter: settings.slo.enabled eq TRUE", [US]),
        (f"signing_with: {OLD}", [EU, US, OFF]),
        ("expiring_within: 30d", [EU, US, OFF]),
    ],
)
def test_what_a_selector_picks(selector: str, picked: list[AppId]) -> None:
    of = picture(filtered={"settings.slo.enabled eq true": frozenset({US, BOOKMARK})})
    job = job_of(f"[{{{selector}}}]", of=of)
    assert apps(job) == apps(job) == picked
    assert job.size == len(picked)
    assert not job.is_open
    assert len(job.asks) == 1


def test_what_cannot_be_a_target_is_left_out_and_counted_once() -> None:
    job = job_of("[{label_prefix: Finance}, {label_regex: ^Finance}]")
    assert apps(job) == [EU, US]
    assert job.dropped == {
        "duplicates": 4,
        "excluded": 0,
        "source": 2,
        "not_signing": 1,
        "oidc": 1,
    }


def test_oidc_apps_are_picked_where_the_plan_insists() -> None:
    job = job_of("[{label_prefix: Finance}]", "    allow_oidc: true\n")
    assert apps(job) == [EU, US, WEB]
    assert job.asks == ("target, also OIDC label_prefix: Finance",)
    assert "oidc" not in job.dropped


@pytest.mark.parametrize("targets", ["[{label_prefix: Fin}, %s]", "[%s, {label_prefix: Fin}]"])
@pytest.mark.parametrize("app", [BOOKMARK, WEB])
def test_an_id_is_a_target_whatever_selectors_leave_out(targets: str, app: AppId) -> None:
    assert app in apps(job_of(targets % app))


def test_exclude_wins_and_may_match_nothing_or_what_cannot_be_a_target() -> None:
    exclude = (
        f"    exclude: [{{label: Finance wiki}}, {{label: no such}}, {{signing_with: {OLD}}}]\n"
    )
    job = job_of(f"[{{label_prefix: Fin}}, {EU}, {TEST}]", exclude)
    assert apps(job) == [TEST]
    assert job.counts.excluded == 4
    assert job.asks[1:] == (
        "exclude label: Finance wiki",
        "exclude label: no such",
        f"exclude signing_with: {OLD}",
    )


def test_an_excluded_label_may_be_that_of_many() -> None:
    twins = [Holder(id=app_id(n), label="Twin", kid=OLD) for n in range(2, 5)]
    exclude = "    exclude: [{label: Twin}]\n"
    assert apps(job_of(f"[{{signing_with: {OLD}}}, {EU}]", exclude, picture(*twins))) == [EU]


IDPS = tuple(
    Holder(id=app_id(n), resource=Resource.IDP, label=f"Partner {n}", sign_on_mode=mode, kid=OLD)
    for n, mode in enumerate([SAML_IDP, SAML_IDP, "GOOGLE"], 1)
)


def test_identity_providers_are_selected_among_themselves() -> None:
    of = picture(*HOLDERS, *IDPS)
    source = "idp: {label: Partner 1}, key: active"
    job = job_of(f"[{{signing_with: {OLD}}}]", "    resource: idp\n", of, source=source)
    assert job.key.app == app_id(1)
    assert apps(job) == [app_id(2)]
    assert job.counts.not_signing == 1


def test_a_source_by_its_label() -> None:
    source = f"app: {{label: Finance HQ}}, key: {NEW}"
    job = job_of("[{label_prefix: Finance}]", source=source)
    assert job.key.app == HQ
    assert apps(job) == [EU, US]
    assert job.counts.source == 1
    assert job.asks == ("source label: Finance HQ", "target label_prefix: Finance")


def test_offline_selectors_are_left_open() -> None:
    source = f"app: {{label: Finance HQ}}, key: {NEW}"
    more = f"    exclude: [{US}, {{label_prefix: T}}]\n    activate: {{source: true}}\n"
    [job] = resolve(plan_of(f"[{EU}, {{label: Legacy}}, {US}]", more, source))
    assert apps(job) == [EU]
    assert (job.is_open, job.key.app) == (True, "")
    assert job.asks == (
        "source and target label: Finance HQ",
        "target label: Legacy",
        "exclude label_prefix: T",
    )


def test_a_plan_without_selectors_asks_for_nothing() -> None:
    plan = plan_of(f"[{EU}]", f"    exclude: [{US}]\n")
    [job] = resolve(plan)
    assert (job.asks, job.is_open) == ((), False)
    assert questions_of_plan(plan) == Questions()
    assert resolve(plan, picture()) == (job,)


def test_jobs_whose_sources_only_the_org_knows_do_not_repeat_each_other_offline() -> None:
    text = "version: 1\nname: plan\njobs:\n"
    for name, label in (("a", "Finance HQ"), ("b", "Legacy")):
        source = f"{{app: {{label: {label}}}, key: {NEW}}}"
        text += f"  - {{name: {name}, source: {source}, targets: [{EU}]}}\n"
    plan = load_plan_text(text.encode(), file="plan.yaml", folder=Path())
    assert [apps(job) for job in resolve(plan)] == [[EU], [EU]]
    assert [apps(job) for job in resolve(plan, picture())] == [[EU], [EU]]
    same = load_plan_text(text.replace("Legacy", "Finance HQ").encode(), file="p", folder=Path())
    assert [apps(job) for job in resolve(same, picture())] == [[EU], []]


@pytest.mark.parametrize(
    ("targets", "exclude", "activated"),
    [
        (f"[{EU}]", "", [EU, HQ]),
        (f"[{HQ}, {EU}, {HQ}]", "", [EU, HQ]),
        ("[{label_prefix: Finance}]", "", [EU, US, HQ]),
        (f"[{EU}]", f"    exclude: [{HQ}]\n", [EU]),
        (f"[{EU}, {HQ}]", "    exclude: [{label: Finance HQ}]\n", [EU]),
    ],
)
def test_the_source_as_the_last_target(targets: str, exclude: str, activated: list[AppId]) -> None:
    job = job_of(targets, f"{exclude}    activate: {{source: true}}\n")
    assert apps(job) == apps(job) == activated
    assert job.size == len(activated)
    assert job.counts.source == 0
    assert job.counts.duplicates == max(0, targets.count(HQ) - 1) * (not exclude)


def test_the_source_keeps_its_row_when_it_moves_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"app_id,owner\n{HQ},ann\n{EU},joe\n")
    job = job_of(f"[{{file: {path}}}]", "    activate: {source: true}\n")
    assert [(target.app, target.tags["owner"]) for target in job.stream()] == [
        (EU, "joe"),
        (HQ, "ann"),
    ]


def test_an_activated_source_is_not_repeated_by_a_later_job() -> None:
    text = "version: 1\nname: plan\njobs:\n"
    for name, target in (("a", EU), ("b", US)):
        text += (
            f"  - {{name: {name}, source: {{app: {HQ}, key: {NEW}}}, targets: [{target}], "
            "activate: {source: true}}\n"
        )
    first, second = resolve(load_plan_text(text.encode(), file="plan.yaml", folder=Path()))
    assert (apps(first), apps(second)) == ([EU, HQ], [US])
    assert (second.size, second.counts.duplicates) == (1, 1)


def problems(
    targets: str, more: str = "", of: Picture | None = None, **given: str
) -> list[Problem]:
    with pytest.raises(PlanError) as caught:
        job_of(targets, more, of, **given)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        (
            "label: Finance Eu",
            "no app has the label 'Finance Eu' (the closest labels are 'Finance EU', ",
        ),
        ("label: Zzz", "no app has the label 'Zzz' (`okta-keys inventory` shows what there is)"),
        ("label_prefix: Finanze ", "selects no app (the closest labels are 'Finance HQ')"),
        ("label_regex: ^Legasy$", "selects no app (the closest labels are 'Legacy')"),
        (
            f"signing_with: {'y' * 43}",
            f"selects no app (the keys most in use are {OLD} (3), {OTHER} (2), {NEW} (1))",
        ),
        (
            "expiring_within: 29d",
            "selects no app (the next to end are 'Finance EU' on 2026-07-31, ",
        ),
        ("filter: 'name eq \"none\"'", "selects no app (`okta-keys inventory` shows"),
        (
            "label: Finance wiki",
            "selects only apps that cannot be targets: 1 with no signing key of their own (`okta",
        ),
        (
            "label: Finance web",
            "cannot be targets: 1 of OpenID Connect (allow_oidc: true takes those",
        ),
        (
            "label_regex: '^F.* w[ie][kb]'",
            "cannot be targets: 1 with no signing key of their own, 1 of OpenID Connect (allow_",
        ),
    ],
)
def test_a_selector_that_picks_nothing_shows_what_may_be_meant(selector: str, said: str) -> None:
    [problem] = problems(f"[{EU}, {{{selector}}}]")
    assert said in f"{problem.message} ({problem.hint})"
    assert problem.path == f"jobs[0].targets[1].{selector.partition(':')[0]}"
    assert (problem.line, problem.column) == (6, 39 + selector.index(" "))


def test_a_label_of_several_shows_them() -> None:
    twins = [
        Holder(id=app_id(n), label="Twin", kid=OLD, status=status)
        for n, status in enumerate(["ACTIVE", "INACTIVE", None, "ACTIVE", "ACTIVE", "ACTIVE"], 1)
    ]
    of = picture(*twins)
    [target] = problems("[{label: Twin}]", of=of)
    assert f"6 apps have the label 'Twin': {app_id(1)} (ACTIVE), {app_id(2)} (INACTIVE), " in (
        target.message
    )
    assert f"{app_id(3)} (no status)" in target.message
    assert target.message.endswith("and 1 more")
    [source] = problems(f"[{EU}]", of=of, source=f"app: {{label: Twin}}, key: {NEW}")
    assert source.message == target.message
    assert source.path == "jobs[0].source.app.label"


def test_a_source_that_is_not_there() -> None:
    [problem] = problems(f"[{EU}]", source=f"app: {{label: Finance  HQ}}, key: {NEW}")
    assert (problem.line, problem.path) == (5, "jobs[0].source.app.label")
    assert "no app has the label 'Finance  HQ'" in problem.message
    assert "'Finance HQ'" in str(problem.hint)


def test_all_that_is_wrong_is_said_at_once() -> None:
    source = f"app: {{label: none}}, key: {NEW}"
    found = problems(
        "[{label: none}, {signing_with: %s}, {file: none.csv}]" % ("y" * 43), source=source
    )
    assert [problem.path for problem in found] == [
        "jobs[0].source.app.label",
        "jobs[0].targets[0].label",
        "jobs[0].targets[1].signing_with",
        "jobs[0].targets[2].file",
    ]


def test_an_org_that_shows_nothing() -> None:
    [problem] = problems("[{label: a}]", of=Picture(at=NOW, holders={}))
    assert problem.hint == "the org shows us no apps at all"


def test_a_narrowed_picture_does_not_say_which_keys_are_in_use() -> None:
    [problem] = problems(f"[{{signing_with: {'y' * 43}}}]", of=picture(is_whole=False))
    assert problem.hint is not None
    assert OLD not in problem.hint


def test_ends_that_are_not_known_are_told() -> None:
    of = picture(HOLDERS[3], unknown={OTHER: "it is no certificate"})
    [problem] = problems("[{expiring_within: 9d}]", of=of)
    assert problem.hint == "when 1 certificates end is not known"


def test_what_an_org_says_is_shown_escaped() -> None:
    nasty = Holder(id=AppId("0oa\x1b[2J"), label="Fin\x1b[31mance\n", kid=OLD, status="\x07")
    twin = Holder(id=app_id(2), label="Fin\x1b[31mance\n", kid=OLD)
    [problem] = problems('["0oa00000000000000009", {label: "Fin[31mance"}]', of=picture(nasty))
    assert r"'Fin\x1b[31mance\n'" in str(problem.hint)
    assert str(problem).isprintable()
    [problem] = problems(
        '[{label: "Fin\\e[31mance\\n"}]'.replace("\\e", "\\x1b"), of=picture(nasty, twin)
    )
    assert str(problem).isprintable()
    assert r"\x1b" in problem.message


def test_two_jobs_that_select_an_app_to_activate_it() -> None:
    text = "version: 1\nname: plan\njobs:\n"
    for name, targets in (
        ("a", f"[{US}, {{label: Finance EU}}]"),
        ("b", f"[{OFF}, {{label_prefix: F}}]"),
    ):
        text += (
            f"  - name: {name}\n    source: {{app: {TEST}, key: {{generate: {{}}}}}}\n"
            f"    targets: {targets}\n    activate: {{}}\n"
        )
    plan = load_plan_text(text.encode(), file="plan.yaml", folder=Path())
    assert len(resolve(plan)) == 2
    with pytest.raises(PlanError) as caught:
        resolve(plan, picture())
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [
        (10, "jobs[1].targets[1]"),
        (10, "jobs[1].targets[1]"),
    ]


def test_a_hint_about_a_pattern_steers_no_terminal() -> None:
    with pytest.raises(PlanError) as caught:
        plan_of(r'[{label_regex: "(?<\e[31m>x)"}]')
    said = caught.value.diagnostics()
    assert "is not a regular expression" in said
    assert said.replace("\n", "").isprintable()


def test_many_wrong_selectors_in_a_large_org_are_told_soon() -> None:
    crowd = [
        Holder(id=app_id(n), label=f"{n:05d} Payroll of {n % 97}", kid=OLD) for n in range(5000)
    ]
    targets = f"[{', '.join(f'{{label: Payrol of {n}}}' for n in range(150))}]"
    began = process_time()
    with pytest.raises(PlanError) as caught:
        job_of(targets, of=picture(*crowd))
    assert len(caught.value.problems) == MOST_LISTED
    assert caught.value.hidden == 50
    assert process_time() - began < 5.0


def questions(targets: str, more: str = "", limits: str = "") -> Questions:
    return questions_of_plan(plan_of(targets, f"{more}{limits}"))


def test_a_lone_selector_narrows_the_list() -> None:
    assert questions(f"[{EU}, {{signing_with: {OLD}}}]") == Questions(
        resources=(Resource.APP,), narrow=f'credentials.signing.kid eq "{OLD}"'
    )
    asked = questions('[{filter: user.id eq "00u1"}]')
    assert asked == Questions(resources=(Resource.APP,), narrow='user.id eq "00u1"')
    both = questions('[{filter: user.id eq "00u1"}]', "    exclude: [{label: x}]\n")
    assert both == Questions(resources=(Resource.APP,), filters=('user.id eq "00u1"',))


@pytest.mark.parametrize(
    ("oidc", "key", "asks"),
    [("true", "targets", True), ("false", "targets", False), ("false", "exclude", True)],
)
def test_when_certificates_end(oidc: str, key: str, asks: bool) -> None:
    more = f"    allow_oidc: {oidc}\n"
    selector = "[{expiring_within: 60d}]"
    if key == "targets":
        asked = questions(selector, more)
    else:
        asked = questions(f"[{EU}]", f"{more}    exclude: {selector}\n")
    assert (asked.asks_ends, asked.asks_oidc) == (True, asks)


def test_a_percentage_is_one_of_the_org() -> None:
    assert questions(f"[{EU}]", limits="limits: {max_changes: 30}\n").are_none
    asked = questions(f"[{EU}]", limits="limits: {max_changes: 30%}\n")
    assert asked == Questions(resources=(Resource.APP,))
    whole = questions(f"[{{signing_with: {OLD}}}]", limits="limits: {max_changes: 30%}\n")
    assert whole.narrow is None


def digest(targets: str, more: str = "", source: str = f"app: {HQ}, key: {NEW}") -> str:
    return digest_of(resolve(plan_of(targets, more, source)))


def test_selectors_are_part_of_what_a_plan_comes_to() -> None:
    label = f"app: {{label: Finance HQ}}, key: {NEW}"
    variants: Sequence[tuple[str, ...]] = [
        (f"[{EU}]",),
        (f"[{EU}, {{label: a}}]",),
        (f"[{EU}, {{label: b}}]",),
        (f"[{EU}, {{label_prefix: a}}]",),
        (f"[{EU}, {{label: a}}]", "    exclude: [{label: b}]\n"),
        (f"[{EU}, {{label: a}}]", "    allow_oidc: true\n"),
        (f"[{EU}]", "", label),
        (f"[{EU}]", "    activate: {}\n", label.replace("HQ", "EU")),
        (f"[{EU}]", "    activate: {source: true}\n", label),
        (f"[{EU}]", "    activate: {source: true}\n"),
    ]
    assert len({digest(*variant) for variant in variants}) == len(variants)
    assert digest(f"[{EU}, {{label: a}}]") == digest(f"[{EU}, {{label: 'a'}}]  # why")


def test_the_digest_of_a_plan_without_selectors_is_what_it_always_was() -> None:
    """A run that an earlier version has begun is found again."""
    known = "402ae552ae29841a32a8901483a93b7ab538783a791e41c264c09866dab6bc24"
    assert digest(f"[{EU}, {US}]", f"    exclude: [{US}]\n") == known
