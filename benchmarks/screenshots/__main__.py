"""The screenshots of docs/images: a small sweep of the phantom, and its pages in a browser.

It needs Debian's `chromium` and `chromium-driver`, and the extra `dev`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.screenshots.browser import DRIVER, Browser, browser
from benchmarks.screenshots.servers import serving
from benchmarks.screenshots.terminal import frames_of, page_of

ROOT = Path(__file__).parents[2]
SWEEP = "quickstart"
KINDS = ("terminal", "mlflow", "report", "dashboard")
"""In this order: the first one runs the sweep."""
SWEEPS = [sys.executable, "-m", "sweeps"]


class Screenshots:
    """What is photographed: one finished sweep in a folder."""

    def __init__(self, folder: Path, out: Path, shown: Browser) -> None:
        """Use the sweep in `folder`, and write the screenshots to `out`."""
        self._folder = folder
        self._out = out
        self._browser = shown
        self._environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
        self._environment |= {"SWEEPS_RUNS": str(folder / "runs"), "PYTHONWARNINGS": "ignore"}

    def terminal(self) -> None:
        """A sweep that runs, in a terminal of 80 columns; the sweep is run here."""
        command = [*SWEEPS, "run", f"experiments/{SWEEP}.toml"]
        frames = frames_of(command, self._folder, self._environment)
        tables = [frame for frame in frames if "epoch" in frame and "state" in frame]
        running = [f for f in tables if "running" in f and "complete" in f and "pruned" in f]
        page = self._folder / "terminal.html"
        frame = (running or tables)[-1]
        page.write_text(page_of(frame, "make sweep"), encoding="utf-8")
        self._browser.open(page.as_uri(), (1000, 900))
        self._browser.save(self._out / "terminal.png", "#terminal")

    def mlflow(self) -> None:
        """MLflow's prepared table, charts and image grid, and pages of single runs."""
        with serving([*SWEEPS, "ui", "--port", "5600"], self._folder, self._environment) as links:
            _, table, charts = links[:3]
            self._open(table, (1500, 720))
            self._browser.wait_text("0008-")
            self._browser.save(self._out / "mlflow.png")
            self._open(charts, (1400, 1400))
            self._browser.wait(".js-plotly-plot", 6)
            self._browser.save(self._out / "mlflow-charts.png")
            self._browser.open(charts, (1400, 1250))
            self._browser.wait_text("figure")
            # The page draws a chart when it is scrolled into view.
            self._browser.scroll_to("//*[normalize-space(text())='figure']")
            self._browser.wait("img[src*='get-artifact']", 8)
            self._browser.save(self._out / "mlflow-images.png")
            self._run_pages(table.partition("/runs?")[0])
            self._browser.leave()

    def _run_pages(self, experiment: str) -> None:
        sweep, best = self._runs()
        pages = {
            "mlflow-sweep": (f"{sweep}?", "sweep/best"),
            "mlflow-study": (f"{sweep}/artifacts/study.html?", "study.html"),
            "mlflow-run": (f"{best}?", "val/ssim"),
        }
        for screenshot, (page, text) in pages.items():
            url = f"{experiment}/runs/{page}workflowType=machine_learning"
            self._open(url, (1400, 1000))
            self._browser.wait_text(text)
            if screenshot == "mlflow-study":
                self._browser.wait("iframe")
            self._browser.save(self._out / f"{screenshot}.png")

    def _open(self, url: str, size: tuple[int, int]) -> None:
        """Open a page of MLflow and close its assistant, which opens at the first visit."""
        self._browser.open(url, size)
        self._browser.click("//button[@aria-label='Close']", seconds=4)

    def _runs(self) -> tuple[str, str]:
        """Return the ids of the sweep's run and of its best trial's."""
        paths = self._folder / "runs" / SWEEP
        status = [*SWEEPS, "status", SWEEP, "--json"]
        found = json.loads(
            subprocess.run(
                status, cwd=self._folder, env=self._environment, capture_output=True, check=True
            ).stdout
        )
        (of_trial,) = paths.glob(f"trials/{found['best']:04d}-*/mlflow.json")
        parent, best = (json.loads(file.read_text()) for file in (paths / "mlflow.json", of_trial))
        return parent["run"], best["run"]

    def report(self) -> None:
        """The first screen of the report, and its figures."""
        page = self._folder / "runs" / SWEEP / "report.html"
        if not page.exists():
            print(f"no screenshot of the report: there is no {page}", flush=True)
            return
        self._browser.open(page.as_uri(), (1400, 1000))
        self._browser.wait(".js-plotly-plot", 3)
        self._browser.save(self._out / "report.png")
        # The page draws a chart when it is scrolled into view.
        for part, content in (
            ("curves", ".svg-container"),
            ("images", "img"),
            ("figures", ".plot svg"),
        ):
            self._browser.open(page.as_uri(), (1400, 1500))
            self._browser.wait(".js-plotly-plot", 3)
            self._browser.scroll_to(f"//*[@id='{part}']")
            self._browser.wait(f"#{part} {content}", 3)
            self._browser.save(self._out / f"report-{part}.png", f"#{part}")

    def dashboard(self) -> None:
        """Optuna's pages of the study."""
        command = [*SWEEPS, "dashboard", SWEEP, "--port", "8600"]
        with serving(command, self._folder, self._environment) as links:
            self._browser.open(links[0], (1500, 900))
            self._browser.wait(".js-plotly-plot", 2)
            self._browser.save(self._out / "dashboard.png")


def main() -> None:
    """Take all screenshots, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("screenshots", nargs="*", choices=[*KINDS, []])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--folder", type=Path, help="keep the sweep there, or use the one there")
    arguments = parser.parse_args()
    if not Path(DRIVER).exists():
        parser.error(f"there is no {DRIVER}; install it: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory() as temporary, browser() as shown:
        folder = (arguments.folder or Path(temporary)).absolute()
        shutil.copytree(ROOT / "experiments", folder / "experiments", dirs_exist_ok=True)
        screenshots = Screenshots(folder, arguments.out.absolute(), shown)
        for name in arguments.screenshots or KINDS:
            take: Callable[[], None] = getattr(screenshots, name)
            take()


if __name__ == "__main__":
    main()
