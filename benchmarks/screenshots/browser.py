"""A headless Chromium, and screenshots of its pages that are small files."""

import base64
import io
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

LARGEST = 150_000
"""The most bytes of a screenshot."""
DRIVER = "/usr/bin/chromedriver"
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-US"),
)
_WAIT_SECONDS = 90
_STILL_SECONDS = 1.0
_HIGHEST = 1400


class Browser:
    """A browser whose window is made as large as each screenshot."""

    def __init__(self, driver: Chrome) -> None:
        """Use a driver."""
        self._driver = driver

    def open(self, url: str, size: tuple[int, int]) -> None:
        """Open a page in a window whose page area has this width and height."""
        self.leave()  # a change behind the # alone would load nothing
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self._driver.get(url)

    def wait(self, css: str, number: int = 1) -> list[WebElement]:
        """Return the elements that are shown, as soon as there are so many of them."""

        def shown(driver: Chrome) -> list[WebElement]:
            found = [each for each in driver.find_elements(By.CSS_SELECTOR, css) if _is_shown(each)]
            return found if len(found) >= number else []

        return self._until(shown, f"{number} of {css}")

    def wait_text(self, text: str) -> None:
        """Wait until the page shows a text."""
        self._until(lambda driver: text in driver.find_element(By.TAG_NAME, "body").text, text)

    def click(self, xpath: str, *, seconds: float = _WAIT_SECONDS) -> bool:
        """Click the first such element that is shown; return whether there was one in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for element in self._driver.find_elements(By.XPATH, xpath):
                if _is_shown(element):
                    self._driver.execute_script("arguments[0].click()", element)
                    return True
            time.sleep(0.2)
        return False

    def scroll_to(self, xpath: str) -> None:
        """Scroll the last such element to the top."""
        element = self._driver.find_elements(By.XPATH, xpath)[-1]
        self._driver.execute_script("arguments[0].scrollIntoView(true)", element)

    def leave(self) -> None:
        """Leave the page, which closes its connections."""
        self._driver.get("about:blank")

    def save(self, file: Path, css: str = "") -> None:
        """Write a screenshot of the page, or of one element of it, once the page stands still."""
        screenshot = self._still(css)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(small_png(screenshot))
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB", flush=True)

    def _still(self, css: str) -> bytes:
        before, deadline = b"", time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            now = self._capture(css)
            if now == before:
                break
            before = now
            time.sleep(_STILL_SECONDS)
        return before

    def _capture(self, css: str) -> bytes:
        """Return a screenshot of the window, or of an element, which may be longer."""
        options: dict[str, Any] = {"format": "png"}
        if css:
            script = "const r = arguments[0].getBoundingClientRect(); "
            script += "return [r.x + scrollX, r.y + scrollY, r.width, r.height]"
            x, y, width, height = self._driver.execute_script(script, self.wait(css)[0])
            clip = {"x": x, "y": y, "width": width, "height": min(height, _HIGHEST), "scale": 1}
            options |= {"clip": clip, "captureBeyondViewport": True}
        captured = self._driver.execute_cdp_cmd("Page.captureScreenshot", options)
        return base64.b64decode(captured["data"])

    def _until(self, condition: Callable[[Chrome], Any], what: str) -> Any:
        return WebDriverWait(self._driver, _WAIT_SECONDS).until(condition, f"no {what}")


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser with a profile of its own, which is removed at the end."""
    with tempfile.TemporaryDirectory() as profile:
        options = ChromeOptions()
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = Chrome(options=options, service=Service(DRIVER))
        try:
            yield Browser(driver)
        finally:
            driver.quit()


def small_png(screenshot: bytes) -> bytes:
    """Return a screenshot as PNG with a palette; smaller, or of fewer colours, if too large."""
    with Image.open(io.BytesIO(screenshot)) as opened:
        image = opened.convert("RGB")
    for share, colours in itertools.product((1.0, 0.8, 0.6, 0.5), (256, 128, 64)):
        size = (round(image.width * share), round(image.height * share))
        resized = image.resize(size, Image.Resampling.LANCZOS) if share < 1 else image
        few = resized.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        few.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()


def _is_shown(element: WebElement) -> bool:
    try:
        return element.is_displayed()
    except Exception:  # noqa: BLE001 (a page replaces elements while it loads)
        return False
