"""Frames a second of GIFs and videos, file to file, beside the model alone."""

import tempfile
from pathlib import Path
from statistics import median

from utils.benchmark.results import Section, Target
from utils.benchmark.subjects import fast_bfloat16, generator_for, make_clip
from utils.benchmark.turns import in_turns, median_ratio

MOVING = {"moving": 1.0, "tenth": 0.1}  # kind of clip -> the share of its pixels that moves


def measure_animation(options) -> Section:
    """Every way of running a clip, in turn with the others."""
    from srwgan.upscaling.upscaler import Upscaler

    generator = generator_for(options)
    count, repeats = (30, 2) if options.quick else (200, 3)
    figures, lines, targets = {}, [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        clips, first_frames = (
            {kind: make_clip(folder, f"{kind} of {n}", count=n, share=share) for kind, share in MOVING.items()}
            for n in (count, 10)
        )
        for precision in ("float32", "bfloat16") if fast_bfloat16() else ("float32",):
            upscaler = Upscaler(generator, precision=precision)
            warming, tasks = (animation_tasks(upscaler, each, folder) for each in (first_frames, clips))
            seconds = in_turns(tasks, repeats, warming=warming)
            figures[precision] = {name: count / median(times) for name, times in seconds.items()}
            lines += [f"{precision}, {name}: {rate:.1f} frames/s" for name, rate in figures[precision].items()]
            share = median_ratio(seconds["moving: model"], seconds["moving: GIF"])
            least = 0.85 if precision == "float32" else 0.75
            targets.append(Target(f"GIF, all moving, {precision}, share of the model's speed", share, least=least))
            for kind in ("model", "GIF"):
                gain = median_ratio(seconds[f"tenth: {kind}, no reuse"], seconds[f"tenth: {kind}"])
                targets.append(Target(f"reuse, a tenth moving, {precision}, {kind}", gain, least=3))
    return Section(figures, lines, targets)


def animation_tasks(upscaler, clips, folder):
    """{name: function} of every way of running the clips, {kind: `Clip`}."""
    from srwgan.convert.files import upscale_file
    from srwgan.convert.options import Options

    def model(clip, **how):
        for _ in upscaler.frames(clip.frames(), **how):
            pass

    def files(source, target, gifsicle=False, **how):
        upscale_file(upscaler, source, target, options=Options(gifsicle=gifsicle, **how))

    moving, tenth = clips["moving"], clips["tenth"]
    gif, video = folder / "result.gif", folder / "result.mp4"
    return {
        "moving: model": lambda: model(moving, reuse=False),
        "moving: model, reuse": lambda: model(moving),
        "moving: GIF": lambda: files(moving.gif, gif),
        "moving: GIF, gifsicle": lambda: files(moving.gif, gif, gifsicle=True),
        "moving: video": lambda: files(moving.video, video),
        "tenth: model, no reuse": lambda: model(tenth, reuse=False),
        "tenth: model": lambda: model(tenth),
        "tenth: GIF, no reuse": lambda: files(tenth.gif, gif, reuse=False),
        "tenth: GIF": lambda: files(tenth.gif, gif),
        "tenth: GIF, gifsicle": lambda: files(tenth.gif, gif, gifsicle=True),
        "tenth: video": lambda: files(tenth.video, video),
    }
