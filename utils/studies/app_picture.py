"""The README's picture of the page: `python3 -m utils.studies.app_picture`, with requirements-dev.txt and Chromium.

Chromium's path may be given in SRWGAN_BROWSER.
"""

import os
import shutil
import tempfile
from pathlib import Path

from srwgan.commandline import OneLineParser, one_line_errors, run_command
from srwgan.whole_files import written_whole

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SIZE = {"width": 1280, "height": 800}
HOW_TO_GET_IT = (
    "Expected Chromium, e.g. from `apt-get install chromium`, `brew install chromium` or "
    "`python3 -m playwright install chromium`, or a browser's path in SRWGAN_BROWSER."
)
IMAGES = Path(__file__).resolve().parents[2] / "Images"


def main(argv=None):
    parser = OneLineParser(prog="python3 -m utils.studies.app_picture", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--output", default=IMAGES / "app.png", type=Path, metavar="FILE", help="(Images/app.png)")
    parser.add_argument("--upload", default=IMAGES / "sample.png", type=Path, metavar="FILE", help="what is upscaled")
    args = parser.parse_args(argv)
    with one_line_errors(parser):
        if not args.upload.is_file():
            raise FileNotFoundError(f"{args.upload}: no such file.")
        with tempfile.TemporaryDirectory() as folder, written_whole(args.output) as temporary:
            temporary.write_bytes(picture(args.upload, Path(folder)))
    return 0


def find_browser() -> str | None:
    """The path of a Chromium: that in SRWGAN_BROWSER, one that is installed, or Playwright's own; None without one."""
    known = os.environ.get("SRWGAN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    return known or playwrights_browser()


def playwrights_browser():
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as started:
            path = started.chromium.executable_path
    except Exception:  # no Playwright, or one that cannot start here
        return None
    return path if Path(path).is_file() else None


def picture(upload: Path, folder: Path) -> bytes:
    """PNG of the page after `upload` was upscaled; the server keeps its files in `folder`.

    Raises:
        FileNotFoundError: there is no browser.
    """
    from playwright.sync_api import sync_playwright

    from utils.app.jobs import Device
    from utils.app.limits import Limits
    from utils.app.models import Models, find_generators
    from utils.app.server import default_models
    from utils.app.serving import PageServer, Service
    from utils.app.sessions import Sessions

    browser = find_browser()
    if not browser:
        raise FileNotFoundError(f"No browser is there. {HOW_TO_GET_IT}")
    service = Service(Models(find_generators(default_models())), Limits(), Device(4), Sessions(folder))
    server = PageServer(service).start()
    try:
        with sync_playwright() as started:
            page = started.chromium.launch(executable_path=browser, args=FLAGS).new_page(viewport=SIZE)
            page.goto(server.url)
            page.wait_for_selector("body[data-ready]")
            page.set_input_files("#files", str(upload))
            for number in range(2):  # the first takes longer, for what is done once
                page.wait_for_selector("#plan:not(:empty)")
                page.click("#start")
                page.wait_for_selector("#strip button >> nth=1" if number else ".result", timeout=0)
                page.wait_for_selector("#cancel", state="hidden", timeout=0)
            page.click("#strip button >> nth=0")
            page.click("article.result >> text=Remove")
            page.wait_for_selector("#strip", state="hidden")
            page.wait_for_selector("#plan:not(:empty)")
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(500)  # transitions
            return page.screenshot()
    finally:
        server.stop()


if __name__ == "__main__":
    run_command(main)
