"""The page of a report in a real browser, from a file: nothing is fetched or refused, and all can be reached."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import html_factories as make
import pytest

from pytest_diffbench.report.html import page as html_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
SIZES = {"wide": (1440, 1000), "phone": (390, 844)}
MODES = ("side", "swipe", "onion", "blink", "difference", "heat", "tile", "all")


class Browser:
    """A headless Chromium."""

    def __init__(self) -> None:
        selenium = pytest.importorskip("selenium.webdriver")
        options = selenium.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver: Any = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))

    def open(self, address: str, size: str = "wide", *, dark: bool = False, scripts: bool = True) -> None:
        """Load a page anew."""
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        self.driver.get("about:blank")
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened, data within it aside."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        addresses = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in addresses if not address.startswith(("data:", "about:"))]

    def shown(self) -> list[str]:
        """Names in the list."""
        names: list[str] = self.run(
            "return [...document.querySelectorAll('#list li:not([hidden]) .name')].map(name => name.textContent)"
        )
        return names

    def case(self) -> str | None:
        """Name of the case that is open."""
        name: str | None = self.run(
            "return [...document.querySelectorAll('.case')].find(each => each.offsetHeight)"
            "?.querySelector('h2 .name').textContent ?? null"
        )
        return name


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        if os.environ.get("DIFFBENCH_REQUIRE_BROWSER") == "1":
            pytest.fail("needs chromium and chromedriver: apt-get install chromium chromium-driver")
        pytest.skip("needs chromium and chromedriver")
    started = Browser()
    yield started
    started.driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    sources = [make.gallery().source()]
    return {
        "file": html_page.write(folder / "one.html", sources).as_uri(),
        "folder": html_page.write(folder / "beside", sources).as_uri(),
    }


def wait(until: Callable[[], bool]) -> None:
    """Give the browser time."""
    end_s = time.monotonic() + 20
    while not until():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def slug_of(browser: Browser, name: str) -> str:
    slug: str = browser.run(
        "return [...document.querySelectorAll('#list li')].find(row => row.querySelector('.name').textContent"
        " === arguments[0]).dataset.slug",
        name,
    )
    return slug


WORST = "test_cfg_trunc[0.5]"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_is_refused_or_fetched(browser: Browser, pages: dict[str, str], kind: str) -> None:
    browser.open(pages[kind])
    browser.press("j", "j", "8")
    broken = (
        "return [...document.images].filter(image => image.offsetWidth && image.complete"
        " && !image.naturalWidth).map(image => image.alt)"
    )
    loaded = "return [...document.images].filter(image => image.offsetWidth).every(image => image.complete)"
    wait(lambda: bool(browser.run(loaded)))
    assert browser.run(broken) == []
    assert [entry["message"] for entry in browser.driver.get_log("browser")] == []
    beside = pages[kind].removesuffix("index.html") + "data/"
    asked = [address for address in browser.requests() if not address.startswith(pages[kind])]
    assert [address for address in asked if kind == "file" or not address.startswith(beside)] == []
    assert bool(asked) == (kind == "folder")


def test_what_a_prompt_holds_stays_text(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["file"])
    hostile = next(name for name in browser.shown() if "script" in name)
    browser.run("location.hash = arguments[0]", slug_of(browser, hostile))
    wait(lambda: browser.case() == hostile)
    assert browser.run("return document.scripts.length") == 2
    texts = browser.run("return [...document.querySelectorAll('.arguments dd')].map(each => each.textContent)")
    assert make.HOSTILE in texts


def test_the_list_is_filtered_sorted_and_kept_in_the_address(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["file"])
    everything = browser.shown()
    assert everything[:3] == ["test_huge", WORST, "test_every_kind"], "the gravest first"
    browser.press("/", *"trunc")
    assert set(browser.shown()) == {name for name in everything if "trunc" in name}
    browser.run("document.querySelector('.chip[data-status=worse]').click()")
    assert browser.shown() == [WORST]
    browser.driver.refresh()
    assert browser.shown() == [WORST], "the address holds the filters"
    browser.run("document.getElementById('clear').click()")
    assert browser.shown() == everything
    choose = "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event("
    choose += "'input', {bubbles: true}))"
    browser.run(choose, "gate", "memory")
    assert "test_tiled_decode" in browser.shown()
    assert WORST not in browser.shown()
    browser.run(choose, "gate", "")
    browser.run(choose, "stage", "vae_decode")
    assert "test_tiled_decode" in browser.shown()
    browser.run(choose, "stage", "")
    browser.run(choose, "model", "flux random")
    assert browser.shown() == ["test_flux"]
    browser.run(choose, "model", "")
    browser.run(choose, "sort", "name")
    assert browser.shown() == sorted(everything)


def test_keys_go_through_cases_and_views(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["file"])
    assert browser.case() is None
    browser.press("\ue014", "\ue014")  # the right arrow
    assert browser.case() == WORST
    for key, mode in enumerate(MODES, start=1):
        browser.press(str(key))
        assert browser.run("return document.querySelector('.case.current .viewer').dataset.mode") == mode
        panes = browser.run(
            "return [...document.querySelectorAll('.case.current .pane')].filter(each => each.offsetWidth)"
            ".map(each => each.classList[1])"
        )
        assert panes == {"heat": ["heat"], "tile": ["tile"], "all": ["base", "now", "heat"]}.get(
            mode, ["base", "now"]
        )
    browser.press("2")
    browser.driver.refresh()
    assert (browser.case(), browser.run("return document.querySelector('.case.current .viewer').dataset.mode")) == (
        WORST,
        "swipe",
    ), "the address holds case and view"
    browser.press("\ue012")  # the left arrow
    assert browser.case() == "test_huge"
    browser.press("?")
    assert browser.run("return document.getElementById('help').open") is True
    browser.run("document.querySelector('#help button').click()")
    assert browser.run("return document.getElementById('help').open") is False
    browser.press("o")
    assert browser.case() is None
    browser.driver.back()
    assert browser.case() == "test_huge"


def test_a_link_opens_the_case_and_zoom_moves_all_sides(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["file"])
    slug = slug_of(browser, WORST)
    browser.open(f"{pages['file']}#{slug}")
    assert browser.case() == WORST
    browser.press("8", "+", "+")
    transforms = browser.run(
        "return [...document.querySelectorAll('.case.current .frame img')].filter(each => each.offsetWidth)"
        ".map(each => getComputedStyle(each).transform)"
    )
    assert len(transforms) == 3
    assert len(set(transforms)) == 1
    assert transforms[0].startswith("matrix(2.25")
    browser.press("0")
    assert browser.run("return document.querySelector('.case.current .viewer.zoomed')") is None


def test_frames_of_a_video_and_views_of_a_recording_can_be_picked(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["file"])
    browser.open(f"{pages['file']}#{slug_of(browser, 'test_every_kind')}")
    assert browser.run("return document.querySelector('.case.current .pick output').textContent") == "frame 11"
    browser.run(
        "const s = document.querySelector('.case.current .frame-slider'); s.value = 0;"
        "s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    shown = "return [...document.querySelectorAll('.case.current .look:nth-of-type(1) .picture')].filter(each =>"
    shown += " each.offsetHeight).map(each => each.dataset.label)"
    assert browser.run(shown) == ["frame 0"]
    browser.run("document.querySelectorAll('.case.current .picker')[1].click()")
    pressed = "return document.querySelector('.case.current .picker[aria-pressed=true]').textContent"
    assert browser.run(pressed) == "waveform"
    audio = browser.driver.execute_async_script(
        "const done = arguments[0], audio = document.querySelector('.case.current audio');"
        "audio.onloadedmetadata = () => done(audio.duration); audio.onerror = () => done('failed'); audio.load();"
        "audio.preload = 'auto'"
    )
    assert audio == pytest.approx(3, abs=0.1)


def test_the_page_can_be_read_without_scripts(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["file"], scripts=False)
    try:
        snapshot = browser.driver.execute_cdp_cmd("DOMSnapshot.captureSnapshot", {"computedStyles": ["display"]})
        texts = " ".join(snapshot["strings"])
        layout = {snapshot["strings"][index] for index in snapshot["documents"][0]["layout"]["text"] if index >= 0}
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Search cases" in texts
    drawn = " ".join(layout)
    assert "15 unconditional transformer calls" in drawn, "failing cases are open"
    assert "heat map" in drawn
    assert "Keyboard" not in drawn


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious(browser: Browser, pages: dict[str, str], size: str, dark: bool) -> None:
    browser.open(pages["file"], size, dark=dark)
    slugs = [slug_of(browser, name) for name in (WORST, "test_every_kind", "test_cfg_trunc[0.7]", "test_saved")]
    browser.run(AXE)
    serious: set[str] = set()
    for slug in ["overview", *slugs]:
        browser.run("location.hash = arguments[0]", slug)
        wait(lambda: browser.run("return document.querySelector('.case.current')?.id ?? 'overview'") == slug)  # noqa: B023
        violations = browser.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations'], preload: false})"
            ".then(result => done(result.violations))"
        )
        serious |= {
            f"{slug} {violation['id']}: {violation['nodes'][0]['html'][:160]}"
            for violation in violations
            if violation["impact"] in ("serious", "critical")
        }
    assert sorted(serious) == []


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(browser: Browser, pages: dict[str, str], size: str) -> None:
    browser.open(pages["file"], size)
    for name in (WORST, "test_every_kind"):
        browser.run("location.hash = arguments[0]", slug_of(browser, name))
        for view in "1678":
            browser.press(view)
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), (name, view)


def test_a_thousand_cases_can_be_searched(browser: Browser, tmp_path: Path) -> None:
    sources = [make.many(1000, 50, 128).source()]
    browser.open(html_page.write(tmp_path / "many.html", sources).as_uri())
    assert len(browser.shown()) == 1000
    browser.press("/", *"worse")
    assert len(browser.shown()) == 50
    browser.press("\ue007", "1")  # Enter opens the first
    assert browser.case() == browser.shown()[0]
