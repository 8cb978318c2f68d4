"""Opens TensorBoard on a run, and its report from disk, in headless Chromium, and takes pictures to look at.

    make look RUN=checkpoints/cis/version_0

Prints the path of each picture and what the report wrote to the console. Exit code 1 if the report has an error there
or asks for anything beyond its own file, 2 if there is nothing to look at.
"""

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

DASHBOARDS = ("custom_scalars", "timeseries", "images")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--force-color-profile=srgb",
)


@contextmanager
def chromium(width: int, height: int) -> Iterator[Chrome]:
    """Starts Chromium with a new profile."""
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        sys.exit("Chromium and its driver are needed; on Debian: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        chrome = Chrome(options=options, service=Service(executable_path=driver))
        try:
            yield chrome
        finally:
            chrome.quit()


@contextmanager
def tensorboard(run: Path) -> Iterator[str]:
    """Serves a run's event files on a free port of this machine."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run), "--host", "127.0.0.1", "--port", "0"]
    with tempfile.TemporaryFile("w+") as told, subprocess.Popen(command, stdout=told, stderr=told) as server:
        try:
            for _ in range(120):
                time.sleep(0.5)
                told.seek(0)
                address = re.search(r"http://127\.0\.0\.1:\d+/", told.read())
                if address:
                    yield address[0]
                    return
            told.seek(0)
            raise TimeoutError(f"TensorBoard did not start: {told.read()[-500:]}")
        finally:
            server.terminate()


def photograph(chrome: Chrome, path: Path) -> None:
    """Writes a picture of the whole page."""
    size = chrome.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}
    settings = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    path.write_bytes(base64.b64decode(chrome.execute_cdp_cmd("Page.captureScreenshot", settings)["data"]))
    print(path, flush=True)


def look_at_tensorboard(run: Path, out: Path) -> None:
    """Takes a picture of each dashboard that a run prepares."""
    with tensorboard(run) as address:
        for dashboard in DASHBOARDS:
            with chromium(1600, 2200) as chrome:
                chrome.get(f"{address}#{dashboard}")
                time.sleep(8)  # charts load after the page says that it is ready
                photograph(chrome, out / f"tensorboard-{dashboard}.png")


def look_at_report(report: Path, out: Path) -> list[str]:
    """Takes pictures of a report, wide and narrow, and returns its console errors and requests to elsewhere."""
    wrong: list[str] = []
    for name, width in (("report", 1400), ("report-narrow", 480)):
        with chromium(width, 1000) as chrome:
            chrome.get(report.resolve().as_uri())
            time.sleep(3)
            photograph(chrome, out / f"{name}.png")
            for entry in chrome.get_log("browser"):
                print(f"console {entry['level']}: {entry['message']}")
                wrong += [entry["message"]] if entry["level"] == "SEVERE" else []
            for entry in chrome.get_log("performance"):
                message = json.loads(entry["message"])["message"]
                if message["method"] == "Network.requestWillBeSent":
                    asked = message["params"]["request"]["url"]
                    wrong += [f"asks for {asked}"] if asked.startswith(("http", "ws")) else []
    return wrong


def main() -> int:
    """Looks at a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--out", type=Path, default=Path("out/look"), help="folder for the pictures")
    arguments = parser.parse_args()
    if not arguments.run.is_dir():
        parser.error(f"{arguments.run} is no folder; give one such as checkpoints/cis/version_0")
    arguments.out.mkdir(parents=True, exist_ok=True)
    look_at_tensorboard(arguments.run, arguments.out)
    report = arguments.run / "report.html"
    if not report.is_file():
        parser.error(f"{report} is missing; write it with: python analyze.py report {arguments.run}")
    wrong = look_at_report(report, arguments.out)
    for fault in wrong:
        print(f"wrong: {fault}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
