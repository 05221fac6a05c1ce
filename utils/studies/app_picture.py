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
            temporary.write_bytes(picture(args.upload, folder))
    return 0


def find_browser():
    """The path of a Chromium, None where none is found."""
    return os.environ.get("SRWGAN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


def picture(upload, folder):
    """The bytes of a PNG of the page after `upload` was upscaled; the server keeps its files in `folder`.

    Raises:
        FileNotFoundError: there is no browser.
        ImportError: there is no playwright.
    """
    from playwright.sync_api import sync_playwright

    from utils.app.jobs import Device, Sessions
    from utils.app.limits import Limits
    from utils.app.models import Models, find_generators
    from utils.app.page import Service
    from utils.app.server import default_models, launch, stop

    browser = find_browser()
    if not browser:
        names = ", ".join(NAMES)
        raise FileNotFoundError(f"No browser is there. Expected one of {names}, or its path in SRWGAN_BROWSER.")
    service = Service(Models(find_generators(default_models())), Limits(), Device(1), Sessions(folder))
    server = launch(service, port=None)
    try:
        with sync_playwright() as started:
            page = started.chromium.launch(executable_path=browser, args=FLAGS).new_page(
                viewport={"width": 1280, "height": 900}
            )
            for _ in range(2):  # the first time shows a longer duration, since something is done once
                page.goto(server.local_url)
                page.set_input_files("#files input[type=file]", str(upload))
                page.locator("#files .file-preview tr.file").wait_for()
                page.click("#start")
                page.wait_for_selector(".sr-item", timeout=120_000)
            page.mouse.move(0, 0)
            page.wait_for_timeout(500)  # for transitions to end
            return page.screenshot()
    finally:
        stop(service, server)


if __name__ == "__main__":
    run_command(main)
