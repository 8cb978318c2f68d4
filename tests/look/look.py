"""Opens TensorBoard on runs, and their reports from disk, in headless Chromium, and takes pictures to look at.

    make look RUN=checkpoints/cis/version_0

Each report is seen at two widths: its first screen, and every section. Prints the path of each picture, and what is
wrong: text of a figure over other text or cut off, a line to a label that crosses another label, a page wider than the
window, an error on the console, or a request for anything beyond the file. Exit code 1 if something is, 2 if there is
nothing to look at.
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
WIDTHS = (1400, 900)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",  # whose room a picture beyond the window lacks, so that it would be cut off
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


# Pairs of texts of one figure whose boxes overlap, texts beyond its edge, and leader lines through texts of others.
FAULTS = """
const faults = [];
const box = (node) => node.getBoundingClientRect();
const seen = (node) => node.textContent.trim() && box(node).width > 0 && getComputedStyle(node).visibility !== "hidden"
  && Number(getComputedStyle(node).opacity) > 0;
const legend = (node) => box(node.closest(".legend").querySelector(".bg"));
const beyond = (a, b) => a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
// Labels side by side run together where less than 3 pixels are between them.
const abreast = (a, b) => Math.abs(a.top - b.top) < 2 && Math.abs(a.height - b.height) < 2;
const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > (abreast(a, b) ? -3 : 1)
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
const end = (path, at) => path.getPointAtLength(at).matrixTransform(path.getScreenCTM());
const within = (point, a) => point.x > a.left && point.x < a.right && point.y > a.top && point.y < a.bottom;
for (const plot of document.querySelectorAll(".plot[data-figure]")) {
  const name = plot.dataset.figure;
  const texts = [...plot.querySelectorAll("svg text")].filter(seen).filter((node) => !node.closest(".hoverlayer"))
    // A legend that is higher than its room scrolls: what is out of it cannot be seen.
    .filter((node) => !node.closest(".scrollbox") || overlap(box(node), legend(node)));
  const frame = box(plot);
  texts.forEach((one, at) => {
    const mine = box(one);
    if (beyond(mine, frame)) faults.push(`${name}: "${one.textContent}" is cut off`);
    for (const other of texts.slice(at + 1))
      if (overlap(mine, box(other))) faults.push(`${name}: "${one.textContent}" overlaps "${other.textContent}"`);
  });
  for (const path of plot.querySelectorAll(".annotation-arrow-g path")) {
    const own = path.closest(".annotation")?.querySelector("text");
    const length = path.getTotalLength();
    for (const text of texts.filter((node) => node.closest(".annotation") && node !== own)) {
      const crossed = [...Array(21).keys()].some((i) => within(end(path, (length * i) / 20), box(text)));
      if (crossed) faults.push(`${name}: the line to "${own?.textContent}" crosses "${text.textContent}"`);
    }
  }
}
if (document.documentElement.scrollWidth > window.innerWidth + 1) faults.push("the page is wider than the window");
for (const cell of document.querySelectorAll("h1, h2, h3, p, li, .answer"))
  if (cell.scrollWidth > cell.clientWidth + 1) faults.push(`text is cut off: "${cell.textContent.slice(0, 60)}"`);
for (const table of document.querySelectorAll(".scroll"))
  if (table.scrollWidth > table.clientWidth + 1)
    faults.push(`the table "${table.parentElement.querySelector("h3, summary")?.textContent}" is wider than its card`);
return faults;
"""


def photograph(chrome: Chrome, path: Path, place: dict[str, float] | None = None) -> None:
    """Writes a picture of a place on the page, or of the whole page."""
    size = chrome.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = place or {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000)}
    settings = {"format": "png", "captureBeyondViewport": True, "clip": {**clip, "scale": 1}}
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
    """Takes pictures of a report at two widths, and returns what is wrong with it."""
    wrong: list[str] = []
    for width in WIDTHS:
        with chromium(width, 1000) as chrome:
            chrome.get(report.resolve().as_uri())
            time.sleep(3)
            photograph(chrome, out / f"report-{width}-first.png", {"x": 0, "y": 0, "width": width, "height": 1000})
            for name, place in chrome.execute_script(SECTIONS).items():
                photograph(chrome, out / f"report-{width}-{name}.png", place)
            wrong += [f"{width} pixels: {fault}" for fault in chrome.execute_script(FAULTS)]
            wrong += _of_console(chrome)
    return wrong


SECTIONS = """
return Object.fromEntries([...document.querySelectorAll("header, section")].map((part) => {
  const { left, top, width, height } = part.getBoundingClientRect();
  return [part.id || "header", { x: left + window.scrollX, y: top + window.scrollY, width, height }];
}));
"""


def _of_console(chrome: Chrome) -> list[str]:
    """Returns errors on the console, and requests to elsewhere."""
    wrong = [entry["message"] for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
    for entry in chrome.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked = message["params"]["request"]["url"]
            wrong += [f"asks for {asked}"] if asked.startswith(("http", "ws")) else []
    return wrong


def main() -> int:
    """Looks at runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--out", type=Path, default=Path("out/look"), help="folder for the pictures")
    parser.add_argument("--only", choices=("report", "tensorboard"), help="look at one of the two")
    arguments = parser.parse_args()
    wrong: list[str] = []
    for run in arguments.runs:
        report, out = run / "report.html", arguments.out / run.resolve().parent.name
        if not run.is_dir():
            parser.error(f"{run} is no folder; give one such as checkpoints/cis/version_0")
        if not report.is_file():
            parser.error(f"{report} is missing; write it with: python analyze.py report {run}")
        out.mkdir(parents=True, exist_ok=True)
        if arguments.only != "report":
            look_at_tensorboard(run, out)
        if arguments.only != "tensorboard":
            wrong += [f"{run}: {fault}" for fault in look_at_report(report, out)]
    for fault in wrong:
        print(f"wrong: {fault}", file=sys.stderr)
    print(f"{len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
