"""The figures of docs/gif.md: palettes, dither and debanding on clips made of photographs.

python3 -m utils.studies.gif photo.jpg ...
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from srwgan.commandline import OneLineParser, one_line_errors, run_command
from srwgan.measuring.metrics import psnr_rgb
from srwgan.media.gif import GifReader, GifWriter, build_palette, deband
from srwgan.media.gif.palettes import DITHERS, PaletteMapper

FRAMES, SIZE = 24, (320, 240)


def main(argv=None):
    parser = OneLineParser(
        prog="python3 -m utils.studies.gif", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path, help="two photographs or more")
    paths = parser.parse_args(argv).photos
    with one_line_errors(parser):
        if len(paths) < 2:
            raise ValueError(f"Received: {len(paths)} photograph. Expected two or more.")
        photos = [Image.open(path).convert("RGB") for path in paths]
    clips = {"head": still_with_moving_part(photos), "pan": pan(photos[0]), "cuts": cuts(photos)}
    print("| clip | palette | dither | PSNR | PSNR seen | crawl | kB | frames per CPU s |\n" + "|---" * 8 + "|")
    for name, frames in clips.items():
        for policy, dither in [*itertools.product(("global", "adaptive"), DITHERS), ("frame", "ordered")]:
            print(f"| {name} | {policy} | {dither} | {' | '.join(written(frames, policy, dither))} |", flush=True)
    print("\n| colours | dither | PSNR | debanded |\n|---|---|---|---|")
    for colors in (16, 32, 64, 128, 255):
        for dither in ("floyd-steinberg", "ordered", "none"):
            before, after = debanded(photos, colors, dither)
            print(f"| {colors} | {dither} | {before:.2f} | {after - before:+.2f} |", flush=True)
    return 0


def still_with_moving_part(photos):
    """A photograph under a camera's noise, and a part of another one that moves over a tenth of it."""
    rng = np.random.default_rng(0)
    back = np.asarray(photos[0].resize(SIZE, Image.Resampling.LANCZOS)).astype(float)
    patch = np.asarray(photos[1].resize((96, 80), Image.Resampling.LANCZOS))
    frames = []
    for number in range(FRAMES):
        frame = np.clip(np.rint(back + rng.normal(0, 0.5, back.shape)), 0, 255).astype(np.uint8)
        frame[120:200, 100 + 4 * number : 196 + 4 * number] = patch
        frames.append(frame)
    return frames


def pan(photo):
    """Frames that move over a photograph, two pixels to the right and one down each time."""
    whole = np.asarray(photo.resize((SIZE[0] + 2 * FRAMES, SIZE[1] + FRAMES), Image.Resampling.LANCZOS))
    return [whole[n : n + SIZE[1], 2 * n : 2 * n + SIZE[0]] for n in range(FRAMES)]


def cuts(photos):
    """Pans over all photographs, one after the other."""
    each = -(-FRAMES // len(photos))
    return [frame for photo in photos for frame in pan(photo)[:each]][:FRAMES]


def written(frames, policy, dither):
    """A row's figures as text.

    They are PSNR, PSNR after a blur of 1.5 pixels (what the eye sees), the mean change from frame to frame in the lower
    left corner, the file's size in kB, and frames for each second of the processor.
    """
    start = time.process_time()
    palette = build_palette(frames[::4]) if policy == "global" else policy
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.gif"
        with GifWriter(path, SIZE, palette=palette, dither=dither) as writer:
            for frame in frames:
                writer.write(frame, 40)
        speed = len(frames) / (time.process_time() - start)
        with GifReader(path) as reader:
            shown = [frame[..., :3] for frame, _ in reader]
        size = path.stat().st_size / 1000
    seen = np.mean([psnr_rgb(blurred(a), blurred(b)) for a, b in zip(shown, frames, strict=True)])
    exact = np.mean([psnr_rgb(a, b) for a, b in zip(shown, frames, strict=True)])
    corner = np.stack(shown)[:, 205:, :90].astype(float)
    return f"{exact:.2f}", f"{seen:.2f}", f"{np.abs(np.diff(corner, axis=0)).mean():.2f}", f"{size:.0f}", f"{speed:.0f}"


def debanded(photos, colors, dither):
    """Mean PSNR of small dithered photographs, before and after."""
    before, after = [], []
    for photo in photos:
        small = np.asarray(photo.resize((160, 120), Image.Resampling.LANCZOS))
        palette = build_palette([small], colors)
        dithered = palette[PaletteMapper(palette, dither).indices(small)]
        before.append(psnr_rgb(dithered, small))
        after.append(psnr_rgb(deband(dithered), small))
    return np.mean(before), np.mean(after)


def blurred(pixels):
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5)))


if __name__ == "__main__":
    run_command(main)
