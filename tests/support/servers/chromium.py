"""Chromium without a screen, as installed on this machine (Debian: chromium and chromium-driver)."""

import os
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.support.servers import ServerAbsentError

SIZE = (1400, 1000)
SCREENSHOTS = "TEST_SCREENSHOTS"
"""Names a folder that pictures of pages are put into; without it none are taken."""


def programs() -> tuple[str, str]:
    """Return the browser and its driver; ServerAbsentError where one is not installed."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise ServerAbsentError("it is not installed (Debian: apt-get install chromium chromium-driver)")
    return browser, driver


@contextmanager
def browsing(folder: Path, language: str = "en-GB") -> Iterator[Chrome]:
    """Start a browser with a fresh profile in this folder, and end it."""
    browser, driver = programs()
    options = ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        # It refuses to run as root otherwise, and a container's /dev/shm may be small.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        f"--user-data-dir={folder}",
        f"--lang={language}",
        f"--accept-lang={language}",
        f"--window-size={SIZE[0]},{SIZE[1]}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()


def complaints(browser: Chrome) -> list[str]:
    """Return what the page's console told since it was last read: errors, and what the policy refused."""
    entries: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def take_picture(browser: Chrome, name: str) -> None:
    """Keep a picture of the whole page, where a folder for them is named."""
    if folder := os.environ.get(SCREENSHOTS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.execute_script("scrollTo(0, 0)")
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        Path(folder, f"{name}.png").write_bytes(b64decode(shot["data"]))
