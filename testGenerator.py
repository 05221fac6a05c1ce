#!/usr/bin/env python3
"""Try a generator: on the sample image and GIF below, or on files and folders named on the command line.

python3 testGenerator.py                                             the sample: edit the paths below
python3 testGenerator.py photo.jpg clip.gif folder/ --output out/    any images, GIFs, videos and folders
python3 testGenerator.py --help                                      all options
"""

import argparse
import contextlib
import functools
import sys
from pathlib import Path

from srwgan.commandline import (
    OneLineParser,
    collect_garbage,
    exit_at_interrupt,
    leave_garbage,
    print_line,
    quiet_start,
    raise_at_interrupt,
    real,
    run_command,
    whole,
)

if __name__ == "__main__":
    exit_at_interrupt()  # during the imports, which take seconds
    leave_garbage()

from srwgan.convert.engines import ENGINES, Settings, choose_engine, is_installed, load_upscaler
from srwgan.convert.files import upscale_paths
from srwgan.convert.jobs import find_jobs, kind_of
from srwgan.convert.options import ALPHAS, PALETTES, Options
from srwgan.media.gif.format import DITHERS
from srwgan.media.video import CODECS
from srwgan.networks.model_folder import NAMED, faithful_end, found, named_model, robust_of
from srwgan.networks.sampling import LARGEST_SEED, MOST_STEPS, SAMPLERS, sampling_of
from srwgan.pixels import import_opencv
from srwgan.whole_files import can_be_made, written_whole

# ---------------------------------------------------------------------------------------------------------------------
# The sample. Put your own paths here, then run this file without arguments.

MODEL = "SRWGAN_Gen"  # as train_SRWGAN.py --savemodel True writes it, or any SavedModel that maps images to images
IMAGE = "Images/sample.png"
GIF = "Images/sample.gif"
OUTPUT = "./generated_samples"


def run_sample():
    if not is_installed("tensorflow"):  # with requirements-lite.txt alone: the files as the command line does them
        return run_command_line([str(found(IMAGE)), str(found(GIF)), "--output", OUTPUT, "--overwrite"])
    # TensorFlow takes seconds to start: so it is imported here, where it is needed, and not at the top.
    with quiet_start():
        from srwgan.upscaling.upscaler import Upscaler
        from utils.testGenerate import generate_one_img, load_gen, load_img

    gen_model, image = load_gen(found(MODEL)), found(IMAGE)

    # One image as an array of floats in [0, 1], height x width x RGB. With resize=(64, 64) it would be cropped to the
    # centered square and resized; None keeps it whole, whatever its size.
    low_res = load_img(image, resize=None)
    super_res = generate_one_img(gen_model, low_res)
    print(f"{image}: {low_res.shape[1]}x{low_res.shape[0]} -> {super_res.shape[1]}x{super_res.shape[0]}")
    figure = Path(OUTPUT) / f"{Path(IMAGE).stem}_comparison.png"
    save_comparison(low_res, super_res, figure)
    print(f"Side by side: {figure}")

    # Files as they are, transparency, timings, profiles and all. `utils.testGenerate` has generate_gif and
    # generate_video too, which write beside their source.
    for_gifs = gif_loader(lambda path: Upscaler(load_gen(path)))
    report = upscale_paths(Upscaler(gen_model), [image, found(GIF)], OUTPUT, overwrite=True, gif_upscaler=for_gifs)
    return 1 if report.failed else 0


def save_comparison(low_res, super_res, path):
    """A figure of the low-resolution image, its bicubic interpolation and the generator's result."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from PIL import Image

    height, width = super_res.shape[:2]
    small = Image.fromarray((low_res * 255 + 0.5).astype(np.uint8))
    bicubic = small.resize((width, height), Image.Resampling.BICUBIC)
    panels = {"Low resolution": small, "Bicubic": bicubic, "Super resolution (SRWGAN)": super_res}

    figure, axes = plt.subplots(1, 3, figsize=(18, 18 / 3 * height / width + 0.6))
    for axis, (title, image) in zip(axes, panels.items(), strict=True):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(title)
        axis.axis("off")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    plt.close(figure)


# ---------------------------------------------------------------------------------------------------------------------
# The command line.

EXIT_STATUS = """exit status:
  0    all is done, or was done before
  1    some files failed, the others are done; the failed ones are listed at the end
  2    nothing could be done: wrong options, no such file, a result that cannot be written, or every file failed
  130  interrupted by Ctrl-C; nothing half-written is left but of a video what --resume goes on from
"""


def main(argv=None):
    raise_at_interrupt()
    collect_garbage()
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return run_command_line(arguments) if arguments else run_sample()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"testGenerator.py: {error}", file=sys.stderr)
        return 2


def run_command_line(arguments):
    args = build_parser().parse_args([as_path(argument) for argument in arguments])
    options = Options(
        scale_out=args.scale_out,
        size=args.size,
        format=args.format,
        quality=args.quality,
        alpha=args.alpha,
        deband=args.deband,
        reuse=args.reuse,
        steady=args.steady,
        palette=args.palette,
        dither=args.dither,
        gifsicle=args.gifsicle,
        codec=args.codec,
        crf=args.crf,
        resume=args.resume,
        max_pixels=args.max_pixels,
    )
    check_before_loading(args, options)
    settings = Settings(
        fidelity=args.fidelity,
        precision=args.precision,
        strength=args.strength,
        tile=args.tile,
        batch_size=args.batch_size,
        sampling=sampling_of(steps=args.steps, seed=args.seed, sampler=args.sampler),
    )
    jobs = find_jobs(args.inputs, args.output, options.suffix).jobs
    model, for_gifs = model_path(args.model), None
    robust = robust_of(model) if args.model is None and not args.fidelity and has_gif(jobs) else None
    folders = [model, robust] if robust else [model]
    engine = choose_engine(args.engine, folders, settings=settings, jobs=jobs)
    load = functools.partial(load_upscaler, engine, settings=settings)
    if robust:
        for_gifs = functools.cache(lambda: load(robust))
    upscaler = load(model)
    report = upscale_paths(
        upscaler, args.inputs, args.output, options=options, overwrite=args.overwrite, gif_upscaler=for_gifs
    )
    return summed_up(report)


def as_path(argument):
    """An argument that starts with a dash and is a file's name, as a path that cannot be taken for an option."""
    return f"./{argument}" if argument.startswith("-") and Path(argument).is_file() else argument


def summed_up(report):
    """Says what became of the files, and returns the exit status."""
    if report.skipped:
        print_line(f"{len(report.skipped)} passed over: done before (--overwrite does them again).")
    if report.failed and (report.done or report.skipped or len(report.failed) > 1):
        print_line(f"{len(report.failed)} failed:")
        for _, reason in report.failed:
            print_line(f"  {reason}")
    if not report.failed:
        return 0
    return 1 if report.done or report.skipped else 2


def check_before_loading(args, options):
    """Everything that can be known to be wrong before TensorFlow's slow start."""
    if not find_jobs(args.inputs, args.output, options.suffix).jobs:
        raise ValueError(f"Received: {', '.join(args.inputs)}. Expected a folder with images, GIFs or videos in it.")
    output = Path(args.output)
    if not can_be_made(output.absolute().parent if output.is_file() else output):
        raise OSError(f"Received: --output {args.output}. Expected a folder that can be written.")
    model = model_path(args.model)
    if not model.exists():
        raise FileNotFoundError(
            f"Received: --model {model}. Expected a folder that is there, e.g. SRWGAN_Gen, or {', '.join(NAMED)}."
        )
    if args.fidelity:
        faithful_end(model)
    if args.steady:
        import_opencv("--steady needs")


def model_path(name):
    """The generator of --model; without it, the one at the top of this file."""
    return found(MODEL) if name is None else found(named_model(name, found(MODEL)))


def has_gif(jobs):
    """Whether one of the jobs is a GIF; what cannot be read is none."""
    for job in jobs:
        with contextlib.suppress(OSError, ValueError):
            if kind_of(job.source) == "gif":
                return True
    return False


def gif_loader(load):
    """What loads the robust generator's upscaler, once, for the first GIF; None where there is none."""
    path = robust_of(found(MODEL))
    return path and functools.cache(lambda: load(path))


def build_parser():
    parser = OneLineParser(
        prog="testGenerator.py",
        description="Upscale images, GIFs and videos of any size. Without arguments: the sample in this file.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_files(parser.add_argument_group("files"))
    add_results(parser.add_argument_group("results"))
    add_samples(parser.add_argument_group("diffusion models (train_SRWGAN.py --family diffusion)"))
    add_machine(parser.add_argument_group("the machine"))
    add_clips(parser.add_argument_group("GIFs, animations and videos"))
    add_gifs(parser.add_argument_group("GIFs"))
    add_videos(parser.add_argument_group("videos (needs requirements-video.txt)"))
    return parser


def add_files(group):
    group.add_argument("inputs", nargs="+", metavar="FILE|FOLDER", help="folders are gone through recursively")
    group.add_argument(
        "--output", default=OUTPUT, metavar="FOLDER|FILE",
        help="where results go, as NAME_SR.EXT, a folder's tree kept; for a single file also the result's own name, "
        "whose extension says the format (clip.gif --output clip.mp4). Default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--model", metavar="FOLDER|NAME",
        help=f"the generator, or the name of one in {MODEL}: robust, for GIFs and compressed pictures; fast, for "
        "videos, with an eighth of the operations; faithful, as --fidelity 1; diffusion, where it is there. "
        f"Default: {MODEL}, and for GIFs robust where it is there",
    )  # fmt: skip
    group.add_argument(
        "--fidelity", type=real(0, 1), default=0.0, metavar="0..1",
        help="0: sharp, FOLDER itself; 1: faithful, FOLDER/faithful, which invents nothing; between: a mix, as fast. "
        f"Above 0, GIFs are upscaled by {MODEL} too. Default: %(default)g",
    )  # fmt: skip
    group.add_argument(
        "--strength", type=real(0, 1), metavar="0..1",
        help="of the pictures' degradation, for a generator trained with --condition noise: 0 none, 1 the strongest. "
        "Default: 0",
    )  # fmt: skip
    group.add_argument(
        "--overwrite", action="store_true", help="do again what has a result that is not older than its source"
    )
    group.add_argument(
        "--max-pixels", type=whole(1), default=Options.max_pixels, metavar="N",
        help="refuse pictures of more pixels than this. Default: %(default)s",
    )  # fmt: skip


def add_results(group):
    size = group.add_mutually_exclusive_group()
    size.add_argument(
        "--scale-out", type=real(), metavar="X",
        help="make results X times as large as their sources: the generator's output is resized (Lanczos). "
        "Default: the generator's scale",
    )  # fmt: skip
    size.add_argument(
        "--size", type=width_x_height, metavar="WxH", help="make results exactly this large, e.g. 1920x1080 (stretches)"
    )
    group.add_argument(
        "--format", metavar="EXT",
        help="png, jpg, webp, avif, heic, bmp or tif for images; gif, webp, apng, avif, mp4, mov, mkv or webm for "
        "GIFs, animations and videos. Default: the source's, or PNG or MP4 where that cannot be",
    )  # fmt: skip
    group.add_argument(
        "--quality", type=whole(), metavar="1-100", help="of JPEG, AVIF, HEIC and WebP (100: lossless). Default: 95"
    )
    group.add_argument(
        "--alpha", choices=ALPHAS, default=Options.alpha,
        help="data: an image's alpha is no transparency but a texture's data, and is upscaled beside the colors. "
        "Default: %(default)s",
    )  # fmt: skip


def add_samples(group):
    group.add_argument(
        "--steps", type=whole(1, MOST_STEPS), metavar="N",
        help=f"runs of the network for a picture, 1 to {MOST_STEPS}. Default: as many as the model was made for",
    )  # fmt: skip
    group.add_argument(
        "--seed", type=whole(0, LARGEST_SEED), metavar="N",
        help="of the noise: another seed draws other detail, the same one the same pixels. Default: 0",
    )  # fmt: skip
    group.add_argument(
        "--sampler", choices=list(SAMPLERS),
        help="stochastic draws a part of the noise anew in each step. Default: deterministic",
    )  # fmt: skip


def add_machine(group):
    group.add_argument(
        "--engine", choices=ENGINES, default="auto",
        help="litert starts at once, computes in float32, and needs no TensorFlow (requirements-lite.txt); auto takes "
        "it where there is little to do. Results are the same to one level. Default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--precision", choices=["auto", "float32", "bfloat16"], default="auto",
        help="auto takes bfloat16 where the hardware is fast at it, measured once and kept in ~/.cache/srwgan, as "
        "LiteRT's speed is; SRWGAN_CACHE= in the environment measures anew. Default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--tile", type=whole(1), metavar="N",
        help="largest side of a tile, in source pixels; any gives the same result (to one level in bfloat16). "
        "Default: by memory",
    )  # fmt: skip
    group.add_argument("--batch-size", type=whole(1), metavar="N", help="frames or tiles at once. Default: by memory")
    group.add_argument(
        "--no-reuse", dest="reuse", action="store_false", help="upscale whole frames, not what changed (same result)"
    )


def add_clips(group):
    group.add_argument(
        "--steady", action="store_true",
        help="carry what was made for a frame along with the motion, so that textures do not shimmer; takes longer "
        "(needs requirements-steady.txt)",
    )  # fmt: skip


def add_gifs(group):
    group.add_argument("--deband", action="store_true", help="smooth the source's dither and bands before upscaling")
    group.add_argument(
        "--palette", choices=PALETTES, default="adaptive",
        help="adaptive: a new one where frames need it; frame: one each; global: one for all. Default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--dither", choices=DITHERS, default="ordered",
        help="ordered stays still where the picture does. Default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--no-gifsicle", dest="gifsicle", action="store_false", help="do not make GIFs smaller with gifsicle: faster"
    )


def add_videos(group):
    group.add_argument(
        "--codec", choices=list(CODECS), help="default: h264, or vp9 in WebM; hevc or av1 for films of 10 bits"
    )
    group.add_argument("--crf", type=whole(), metavar="N", help="0 is best and largest. Default: by codec, h264: 18")
    group.add_argument("--resume", action="store_true", help="go on with an interrupted video where that is safe")


def width_x_height(text):
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"Received: {text}. Expected WxH, e.g. 1920x1080.") from None
    return width, height


if __name__ == "__main__":
    run_command(main)
