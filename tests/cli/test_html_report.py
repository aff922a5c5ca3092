"""The reports for people and for builds, of real runs: written, printed, and looked at."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from anyio.to_thread import run_sync

from orchestrator.sandbox.faults import Fault
from tests.cli.rollout_site import SIX, RolloutSite, rollout_plan, rollout_site
from tests.cli.site import APPS

if TYPE_CHECKING:  # it takes long to import, and only one test needs it
    from playwright.sync_api import Browser, Page

FORMATS = "report: {formats: [json, html, junit]}"
LIMITS = "limits: {workers: 1, stop_after_failures: 1}"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
LABELS = (
    "Finance EU",
    "<script>document.title = 'hit'</script>",
    '"><img src="https://evil.example/x" onerror="document.title = \'hit\'">',
    "javascript:document.title='hit'",
    "evil \u202etxt.exe",
    "Bücher 金融 " + "wide" * 40,
)
INTRUDER = """() => {
  window.violations = 0;
  addEventListener("securitypolicyviolation", () => { window.violations += 1; });
  const script = document.createElement("script");
  script.textContent = "document.title = 'hit'";
  const image = document.createElement("img");
  image.src = "https://evil.example/x";
  const style = document.createElement("style");
  style.textContent = "body { display: none }";
  document.body.append(script, image, style);
}"""
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const parts = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data);
  };
  const light = (color) => {
    const [r, g, b] = parts(color).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (parts(color)[3] === 255) return color;
    }
    return "white";
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const nodes = Array.from(element.childNodes);
    const own = nodes.some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.tagName === "SCRIPT") continue;
    const ink = light(getComputedStyle(element).color);
    const paper = light(behind(element));
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (contrast < 4.5) poor.push([element.tagName, element.textContent.slice(0, 40), contrast]);
  }
  return poor;
}"""


def relabel(where: RolloutSite) -> None:
    """Let the admins of the org have typed all sorts of labels."""
    for app, label in zip(SIX, LABELS, strict=True):
        where.org.update_app(app, where.org.apps[app].document() | {"label": label})


def only(folder: Path, end: str) -> Path:
    [path] = folder.glob(f"*{end}")
    return path


async def test_a_run_leaves_its_page_and_any_time_prints_it_again(tmp_path: Path) -> None:
    rejected = Fault(kind="reject", on="clone", targets=(SIX[1],), status=403)
    text = rollout_plan(top=FORMATS, activate="{waves: [1, 100%], stop_after_failures: 100%}")
    async with rollout_site(tmp_path, rejected, text=text) as where:
        relabel(where)
        previewed = await where.preview()
        ran = await where.run()
        page = await where.keys("report", "latest", "--format", "html")
        junit = await where.keys("report", "latest", "--format", "junit")
        made = where.made
    assert (previewed.code, ran.code, page.code, junit.code) == (0, 3, 0, 0), ran.err
    assert page.out == only(where.reports, ".html").read_text(encoding="utf-8")
    assert "Not all is well: 1 of 6 targets failed" in page.out
    assert f'before</span> <span class="id">{where.former[SIX[0]]}' in page.out
    assert f'after</span> <span class="id">{made}' in page.out
    assert "Activation, job finance-signing, wave 2: 4 activated" in page.out
    assert "&lt;script&gt;document.title" in only(tmp_path / "ahead", ".html").read_text("utf-8")
    written = only(where.reports, ".junit.xml").read_text(encoding="utf-8")
    assert junit.out == written
    [suite] = ET.fromstring(written)  # noqa: S314 - our own
    assert [suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")] == list(
        "6100"
    )


async def test_a_run_that_is_cut_short_leaves_them_too(tmp_path: Path) -> None:
    rejected = Fault(kind="reject", on="clone", targets=APPS[1:2], status=403)
    text = rollout_plan(top=f"{FORMATS}\n{LIMITS}")
    async with rollout_site(tmp_path, rejected, text=text) as where:
        ran = await where.run()
    assert ran.code == 6, ran.err
    assert "Stopped before its end: too many targets failed" in only(
        where.reports, ".html"
    ).read_text(encoding="utf-8")
    root = ET.fromstring(only(where.reports, ".junit.xml").read_text("utf-8"))  # noqa: S314
    assert (root.attrib["tests"], root.attrib["failures"]) == ("6", "1")


# ---------------------------------------------------------------- in a browser


@dataclass
class Seen:
    """What a browser did, and complained of, while it showed a page."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        code = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(code))

    def shown(self) -> list[str]:
        """Return the ids of the targets that are listed and can be seen."""
        rows = self.page.locator("details.batch tbody > tr:visible .id")
        return [text for text in rows.all_text_contents() if text in SIX]


def look(browser: Browser, path: Path, *, media: str = "screen", **options: Any) -> Seen:
    page = browser.new_context(**options).new_page()
    seen = Seen(page)
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.blockedURI))"
    )
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.emulate_media(media="print" if media == "print" else "screen")
    page.goto(path.as_uri())
    return seen


async def pages_of(folder: Path) -> list[Path]:
    """Return the pages of a preview, of its run with failures, and of the way back."""
    wrong = Fault(kind="reject", on="update_app", targets=(SIX[3],), status=400, times=1)
    lost = Fault(kind="reject", on="clone", targets=(SIX[1],), status=403)
    activate = "{waves: [1, 100%], stop_after_failures: 100%}"
    async with rollout_site(
        folder, lost, wrong, text=rollout_plan(top=FORMATS, activate=activate)
    ) as where:
        relabel(where)
        await where.preview()
        await where.run()
        await where.rollback("--report-dir", "back")
    return [only(folder / name, ".html") for name in ("ahead", "reports", "back")]


def check_pages(pages: list[Path]) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for path in pages:
            check_page(browser, path)
        check_finder(look(browser, pages[1]))
        check_policy(look(browser, pages[1]))
        plain = look(browser, pages[1], java_script_enabled=False)
        assert plain.page.locator("#finder").is_hidden()
        assert len(plain.shown()) == len(SIX)
        browser.close()


def check_page(browser: Browser, path: Path) -> None:
    """Look at a page on a desk, at a phone, in the dark and on paper."""
    views: list[dict[str, Any]] = [
        {"viewport": {"width": 1280, "height": 900}},
        {"viewport": {"width": 380, "height": 800}},
        {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
        {"viewport": {"width": 700, "height": 900}, "media": "print"},
    ]
    for view in views:
        seen = look(browser, path, **view)
        seen.page.evaluate(
            "document.querySelectorAll('details').forEach((each) => each.open = true)"
        )
        assert seen.overflow() <= 0, view
        assert seen.page.evaluate(CONTRASTS) == [], view
        assert "hit" not in seen.page.title()
        assert seen.complaints == []
        assert seen.requests == [path.as_uri()]
        seen.page.context.close()


def check_finder(seen: Seen) -> None:
    """Search, and narrow down, as a person would."""
    page, found = seen.page, seen.page.locator("#found")
    assert sorted(seen.shown()) == sorted(SIX)
    page.get_by_label("Find in targets").fill(SIX[2])
    found.filter(has_text="1 of 6 targets").wait_for()
    assert seen.shown() == [SIX[2]]
    page.get_by_label("Find in targets").fill("no such target")
    found.filter(has_text="0 of 6 targets").wait_for()
    assert seen.shown() == []
    page.get_by_label("Find in targets").fill("")
    page.get_by_label("Show").select_option("wrong")
    found.filter(has_text="2 of 6 targets").wait_for()
    assert seen.shown() == [SIX[1], SIX[3]]
    page.get_by_label("Show").select_option("")
    assert sorted(seen.shown()) == sorted(SIX)
    assert seen.complaints == []


def check_policy(seen: Seen) -> None:
    """See that even markup which had got into the page would neither run nor call anybody."""
    seen.page.evaluate(INTRUDER)
    seen.page.wait_for_function("window.violations === 3")
    assert "hit" not in seen.page.title()
    assert seen.page.locator("body").is_visible()


@pytest.mark.browser
@pytest.mark.long
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="there is no Chromium here")
async def test_the_pages_are_fit_to_be_looked_at(tmp_path: Path) -> None:
    await run_sync(check_pages, await pages_of(tmp_path))
