"""A page for upscaling images, GIFs and videos in the browser.

python3 -m utils.app                                     the generator SRWGAN_Gen, at http://127.0.0.1:7860
python3 -m utils.app --model SRWGAN_Gen runs/mine_Gen    several to choose from
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from srwgan.commandline import OneLineParser, quiet_start, real, whole
from srwgan.networks.model_folder import MAIN, found
from utils.app.jobs import Device, Sessions
from utils.app.limits import Limits
from utils.app.models import Models, find_generators


def main(argv=None):
    args = build_parser().parse_args(argv)
    try:
        serve(args)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        print(f"utils.app: {error}", file=sys.stderr)
        return 2
    return 0


def serve(args):
    limits = Limits(int(args.max_megabytes * 2**20), args.max_pixels, args.max_frames, args.max_seconds, args.max_files)
    accounts = read_accounts(args.auth) if args.auth else None
    models = Models(find_generators(args.model or default_models()))
    with tempfile.TemporaryDirectory(prefix="srwgan-app-", ignore_cleanup_errors=True) as folder:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed then too
        try:
            from utils.app.page import Service
        except ImportError as error:
            raise ValueError(f"{error}. Expected: python3 -m pip install -r requirements-app.txt") from error
        with quiet_start():
            import numpy as np

            upscaler = models.upscaler(next(iter(models.generators)), "auto")  # what is wrong with it shows now
            upscaler.image(np.zeros((8, 8, 3), np.uint8))  # and the first picture need not wait for a trace
        service = Service(models, limits, Device(args.max_waiting), Sessions(folder))
        page = launch(service, args.host, args.port, accounts)
        try:
            page.block_thread()
        finally:
            stop(service, page)


def launch(service, host="127.0.0.1", port=7860, accounts=None):
    """Start the server; returns the Gradio Blocks, whose `local_url` says where."""
    from starlette.middleware import Middleware

    from utils.app.guard import Guard
    from utils.app.page import HERE, build_page, theme

    os.environ["GRADIO_TEMP_DIR"] = str(service.sessions.root)  # Gradio's name for where uploads go
    page = build_page(service)
    page.queue(max_size=None, default_concurrency_limit=None, api_open=False)
    page.launch(
        server_name=host,
        server_port=port,
        auth=accounts,
        prevent_thread_lock=True,
        quiet=True,
        show_error=False,  # Gradio's own name paths
        share=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        inbrowser=False,
        allowed_paths=[],
        max_file_size=service.limits.bytes,
        app_kwargs={"middleware": [Middleware(Guard, folder=service.sessions.root)]},
        theme=theme(),
        css=(HERE / "view.css").read_text(),
    )
    print(f"SRWGAN is at {page.local_url} (Ctrl-C ends it).", flush=True)
    return page


def stop(service, page):
    service.sessions.close_all()
    service.device.close()
    page.close(verbose=False)


def default_models():
    """SRWGAN_Gen first, then other generators beside it."""
    first = found(MAIN)
    beside = [path for path in sorted(first.absolute().parent.glob("*_Gen")) if path.name != first.name]
    return [first, *(path for path in beside if (path / "saved_model.pb").is_file())]


def read_accounts(path):
    """[(user, password)] of a file with a line "user:password" for each; empty lines and comments (#) are left out."""
    accounts = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        user, colon, password = line.strip().partition(":")
        if not (user and colon and password):
            raise ValueError(f"{path}, line {number}: Expected user:password.")
        accounts.append((user, password))
    if not accounts:
        raise ValueError(f"{path}: holds no account. Expected lines of user:password.")
    return accounts


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.app",
        description="Upscale images, GIFs and videos in the browser.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--model", nargs="+", metavar="FOLDER",
        help="generators to choose from, or folders with some in them; default: SRWGAN_Gen and what is beside it",
    )  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 serves the network, too: then consider --auth")
    parser.add_argument("--port", type=whole(1), default=7860)
    parser.add_argument("--auth", metavar="FILE", help="ask for a user and password, those of its lines user:password")
    count = whole(1)
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-megabytes", type=real(), default=Limits.bytes / 2**20, metavar="N", help="of a file")
    limits.add_argument("--max-pixels", type=count, default=Limits.pixels, metavar="N", help="of a picture or frame")
    limits.add_argument("--max-frames", type=count, default=Limits.frames, metavar="N", help="of a GIF or video")
    limits.add_argument("--max-seconds", type=real(), default=Limits.seconds, metavar="N", help="of a GIF or video")
    limits.add_argument("--max-files", type=count, default=Limits.files, metavar="N", help="of one job")
    limits.add_argument("--max-waiting", type=count, default=32, metavar="N", help="jobs in the queue")
    return parser
