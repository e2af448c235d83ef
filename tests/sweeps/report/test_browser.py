"""The report in a real browser: headless Chromium, without a network."""

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.report.page import write_report
from sweeps.storage.sweep import Sweep
from tests.browser import is_browser_installed, start_browser
from tests.sweeps.conftest import MakeSweep, worker_of

pytestmark = pytest.mark.xdist_group("browser")  # one browser at a time
ROWS = "return [...document.querySelectorAll('#rows tr')].map(r => r.cells[1].textContent)"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Any]:
    if not is_browser_installed():
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail("chromium or chromedriver is not installed")
        pytest.skip("chromium and chromedriver (Debian's chromium-driver) are not installed")
    driver = start_browser(downloads)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, make_sweep: MakeSweep) -> tuple[Any, Sweep]:
    sweep = make_sweep(trials=8, epochs=9)
    worker_of(sweep).run()
    browser.get_log("browser")
    browser.get(write_report(sweep).as_uri())
    return browser, sweep


def wait_for(condition: Callable[[], Any]) -> Any:
    for _ in range(200):
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("the page did not change")


def draw_all(browser: Any) -> None:
    browser.execute_script("document.querySelectorAll('.plot').forEach(p => draw(p.id))")
    undrawn = (
        "return [...document.querySelectorAll('.plot')].filter(p => !p.querySelector('svg')).length"
    )
    wait_for(lambda: browser.execute_script(undrawn) == 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_and_accessible(page: tuple[Any, Sweep], scheme: str) -> None:
    from axe_selenium_python import Axe

    browser, _ = page
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    draw_all(browser)
    axe = Axe(browser)
    axe.inject()
    found = axe.run()["violations"]
    serious = [each["id"] for each in found if each["impact"] in {"serious", "critical"}]
    assert serious == [], axe.report(found)
    problems = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert problems == []


def test_the_table_is_sorted_and_filtered(page: tuple[Any, Sweep]) -> None:
    browser, sweep = page
    assert len(browser.execute_script(ROWS)) == 8
    best_first = browser.execute_script(ROWS)
    browser.execute_script("document.querySelectorAll('#columns button')[0].click()")
    assert browser.execute_script(ROWS) == [str(number) for number in range(8)]
    assert sorted(best_first) == [str(number) for number in range(8)]
    box = browser.find_element("id", "filter")
    box.send_keys("complete batch_size<=16")
    shown = browser.execute_script(ROWS)
    states = {paths.number: paths for paths in sweep.paths.trials()}
    for number, paths in states.items():
        config = json.loads(paths.config.read_text())["config"]["training"]
        complete = json.loads(paths.result.read_text())["state"] == "complete"
        assert (str(number) in shown) == (complete and config["batch_size"] <= 16)
    box.clear()
    box.send_keys("learning_rate<1e-9")
    assert browser.execute_script(ROWS) == []


def test_any_trials_can_be_overlaid(page: tuple[Any, Sweep]) -> None:
    browser, _ = page
    draw_all(browser)
    names = "return document.getElementById('curve-0').data.map(trace => trace.legendgroup)"
    best = browser.execute_script(names)
    assert 1 <= len(best) <= 5
    browser.execute_script("document.querySelector('[data-select=all]').click()")
    wait_for(lambda: len(browser.execute_script(names)) == 8)
    browser.execute_script("document.querySelectorAll('#rows input')[0].click()")
    wait_for(lambda: len(browser.execute_script(names)) == 7)


def test_every_figure_is_saved_as_svg_and_csv(page: tuple[Any, Sweep], downloads: Path) -> None:
    browser, _ = page
    draw_all(browser)
    ids = browser.execute_script("return [...document.querySelectorAll('.plot')].map(p => p.id)")
    assert len(ids) >= 6
    for key in ids:
        text = browser.execute_script(f"return csv(numbersOf('{key}'))")
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) > 1, key
        assert {len(row) for row in rows} == {len(rows[0])}
        browser.execute_script(f"document.querySelector('[data-svg=\"{key}\"]').click()")
        svg = wait_for(lambda: [f for f in downloads.glob("*.svg") if f.stat().st_size])[0]
        assert "<svg" in svg.read_text(encoding="utf-8")
        svg.unlink()
