"""Frames a second of a video and a GIF that become 1280x720, file to file: the generator and its fast one, in turns."""

import tempfile
from pathlib import Path
from statistics import median

from srwgan.networks.model_folder import FAST, generator_inside
from utils.benchmark.results import Section, Target
from utils.benchmark.subjects import generator_for, make_clip, model_of
from utils.benchmark.turns import in_turns, median_ratio

SIZE = 180, 320  # height and width of the frames; a scale of 4 makes them 720p
FRAME_RATE = 24  # of films: what upscales as many is done as soon as the film is over


def measure_realtime(options) -> Section:
    """Everything moves in these clips, so that no frame is upscaled in part.

    "model" is the generator alone, on frames in memory; "video" and "GIF" are files, the GIF through gifsicle too.
    """
    from srwgan.networks.saving import load_generator
    from srwgan.upscaling.upscaler import Upscaler

    count, repeats = (24, 1) if options.quick else (96, 3)
    model = model_of(options)
    fast = model and generator_inside(model, FAST)
    generators = {"generator": generator_for(options)} | ({FAST: load_generator(fast)} if fast else {})
    with tempfile.TemporaryDirectory() as folder:
        folder, tasks, warming = Path(folder), {}, {}
        for name, generator in generators.items():
            upscaler = Upscaler(generator)
            for these, frames in (tasks, count), (warming, 4):
                clip = make_clip(folder, f"{frames} frames", count=frames, share=1, size=SIZE)
                these |= {(name, kind): task for kind, task in clip_tasks(upscaler, clip, folder).items()}
        seconds = in_turns(tasks, repeats, warming=warming)
    rates = {key: count / median(times) for key, times in seconds.items()}
    lines = [f"{name}, {kind}: {rate:.1f} frames/s" for (name, kind), rate in rates.items()]
    targets = []
    if fast:
        gain = median_ratio(seconds["generator", "model"], seconds[FAST, "model"])
        lines.append(f"{FAST} : generator, model: {gain:.1f} times as many frames")
        targets = [
            Target(f"{FAST}, {kind}, frames/s", rates[FAST, kind], least=FRAME_RATE) for kind in ("video", "GIF")
        ]
    return Section({f"{name}, {kind}": rate for (name, kind), rate in rates.items()}, lines, targets)


def clip_tasks(upscaler, clip, folder):
    """{kind: function} of every way of upscaling a `Clip`."""
    from srwgan.convert.files import upscale_file
    from srwgan.convert.options import Options

    def model():
        for _ in upscaler.frames(clip.frames(), reuse=False):
            pass

    def file(source, name, **how):
        return lambda: upscale_file(upscaler, source, folder / name, options=Options(**how))

    return {
        "model": model,
        "video": file(clip.video, "result.mp4"),
        "GIF": file(clip.gif, "result.gif"),
        "GIF without gifsicle": file(clip.gif, "result.gif", gifsicle=False),
    }
