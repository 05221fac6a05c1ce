"""A page for upscaling images, GIFs and videos in the browser.

python3 -m utils.app                                     the generator SRWGAN_Gen, at http://127.0.0.1:7860
python3 -m utils.app --model SRWGAN_Gen runs/mine_Gen    several to choose from
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from srwgan.commandline import OneLineParser, one_line, quiet_start, real, whole
from srwgan.convert.engines import Settings, choose_engine, is_installed, litert_obstacle
from srwgan.networks.model_folder import MAIN, found
from utils.app.estimates import OVERHEAD
from utils.app.jobs import Device
from utils.app.limits import Limits
from utils.app.models import Models, find_generators
from utils.app.sessions import ServerFolder, Sessions
from utils.app.starting import Start

MEGABYTE = 2**20


def main(argv: list[str] | None = None) -> int:
    args, status = build_parser().parse_args(argv), 0
    starts: list[Start] = []
    try:
        serve(args, starts)
    except KeyboardInterrupt:
        status = 130
    except SystemExit as end:  # SIGTERM
        status = end.code
    except (ValueError, OSError, ImportError) as error:
        print(f"utils.app: {error}", file=sys.stderr)
        status = 2
    for start in starts:
        start.end_with_process(status)
    return status


def serve(args, starts: list[Start]):
    """Serves the page until it is interrupted.

    Args:
        starts: where the start of TensorFlow is added, where there is one.
    """
    limits = limits_of(args)
    accounts = read_accounts(args.auth) if args.auth else None
    models = Models(find_generators(args.model or default_models()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed then too
    with ServerFolder() as folder:
        try:
            from utils.app.serving import PageServer, Service
        except ImportError as error:
            raise ValueError(f"{error}. Expected: python3 -m pip install -r requirements-app.txt") from error
        service = Service(models, limits, Device(args.max_waiting), Sessions(folder, minutes=limits.minutes))
        server = PageServer(service, host=args.host, port=args.port, accounts=accounts)
        try:
            prepare(service)
            starts += [models.start] if models.start else []
            print(f"SRWGAN is at {server.url} (Ctrl-C ends it).", flush=True)
            server.run()
        finally:
            server.stop()


def prepare(service):
    """Loads the first generator: on LiteRT where that can be, so that the page is there at once.

    TensorFlow then starts beside it, where it is installed.

    Raises:
        ValueError, OSError: the generator cannot be read.
        ImportError: neither engine that runs it is installed.
    """
    models = service.models
    folder, by_tensorflow = models.generators[models.first], is_installed("tensorflow")
    if litert_obstacle(folder, Settings()) is None:
        warm_up(service, "litert")
        if by_tensorflow:
            models.start = Start(lambda: start_tensorflow(service), failed=say_failed).begin()
        return
    if by_tensorflow:
        start_tensorflow(service)
    else:
        warm_up(service, choose_engine("auto", [folder], settings=Settings(), jobs=[]))


def start_tensorflow(service):
    with quiet_start(among_others=True):
        warm_up(service, "tensorflow")


def say_failed(error):
    print(f"utils.app: TensorFlow did not start ({one_line(error)}). LiteRT does what it can.", file=sys.stderr)


def warm_up(service, engine):
    """Loads the first generator, so that what is wrong with it shows now, and measures its pace."""
    import numpy as np

    name, pixels = service.models.first, np.zeros((256, 256, 3), np.uint8)
    upscaler = service.models.loaded(engine, name, Settings())
    upscaler.image(pixels)  # the first picture need not wait for a trace
    started = time.perf_counter()
    upscaler.image(pixels)
    seconds = time.perf_counter() - started
    service.pace.learn((name, "auto", "image"), pixels[..., 0].size / 1e6, OVERHEAD + seconds)


def limits_of(args):
    return Limits(
        bytes=int(args.max_megabytes * MEGABYTE),
        pixels=args.max_pixels,
        frames=args.max_frames,
        seconds=args.max_seconds,
        files=args.max_files,
        page_bytes=int(args.max_page_megabytes * MEGABYTE),
        all_bytes=int(args.max_disk_megabytes * MEGABYTE),
        minutes=args.max_minutes,
    )


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
    limits = parser.add_argument_group("limits")
    count, some = whole(1), real(0, above=True)
    for flag, kind, default, meaning in (
        ("--max-megabytes", some, Limits.bytes / MEGABYTE, "of a file"),
        ("--max-pixels", count, Limits.pixels, "of a picture or frame"),
        ("--max-frames", count, Limits.frames, "of a GIF or video"),
        ("--max-seconds", some, Limits.seconds, "of a GIF or video"),
        ("--max-files", count, Limits.files, "of one job"),
        ("--max-waiting", count, 128, "jobs in the queue, three quarters of them at most from one address"),
        ("--max-page-megabytes", some, Limits.page_bytes / MEGABYTE, "of all files of one page"),
        ("--max-disk-megabytes", some, Limits.all_bytes / MEGABYTE, "of all files of all pages"),
        ("--max-minutes", some, Limits.minutes, "until the files of a page at rest are removed"),
    ):
        limits.add_argument(flag, type=kind, default=default, metavar="N", help=meaning)
    return parser
