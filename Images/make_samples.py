"""Rebuild sample.png, sample_HR.png and sample.gif from the photographs in originals/.

python3 Images/make_samples.py [--output FOLDER]
"""

import argparse
import math
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # where srwgan is, since this script is run by its path

from srwgan.whole_files import written_whole  # noqa: E402

SCALE = 4
RED_PANDA_CROP = (133, 0, 933, 600)

GIF_SIZE = (128, 96)
GIF_FRAMES = 24
GIF_FRAME_MS = 80
KITTEN_CROP = (60, 43, 728, 544)
# The kitten's head in the photograph, in pixels. Its turn fades to nothing between two radii around the center. It also
# fades between two heights, since planks that must stay straight begin at the cheek.
HEAD_CENTER, FADE_RADII, FADE_HEIGHTS = (397, 262), (205, 300), (300, 400)
NECK = (405, 385)  # the point that the head turns about
TILT_DEGREES = 7.0
MESH_STEP = 10


def main():
    parser = argparse.ArgumentParser(description="Rebuild the sample picture and the sample GIF.")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    make_picture(folder)
    make_gif(folder)


def make_picture(folder):
    """A high-resolution crop, and its antialiased bicubic downscale by 4."""
    with Image.open(HERE / "originals" / "red-panda.jpg") as photo:
        high_res = photo.convert("RGB").crop(RED_PANDA_CROP)
    low_res = high_res.resize((high_res.width // SCALE, high_res.height // SCALE), Image.Resampling.BICUBIC)
    _save(high_res, folder / "sample_HR.png", optimize=True)
    _save(low_res, folder / "sample.png", optimize=True)


def make_gif(folder):
    """A kitten that tilts its head to and fro before a still background, looping without a seam."""
    with Image.open(HERE / "originals" / "kitten.jpg") as photo:
        photo = photo.convert("RGB")
    angles = [math.radians(TILT_DEGREES) * math.sin(2 * math.pi * i / GIF_FRAMES) for i in range(GIF_FRAMES)]
    frames = [tilt_head(photo, angle).resize(GIF_SIZE, Image.Resampling.BICUBIC, box=KITTEN_CROP) for angle in angles]
    # One palette for all frames and no dithering: a still background stays the same from frame to frame.
    palette = _strip(frames).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=3)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    _save(indexed[0], folder / "sample.gif", save_all=True, append_images=indexed[1:], duration=GIF_FRAME_MS, loop=0)


def tilt_head(photo, angle):
    """`photo` with the head turned by `angle` (radians) about the neck; the turn fades to nothing around it."""
    mesh = []
    for top in range(0, photo.height, MESH_STEP):
        for left in range(0, photo.width, MESH_STEP):
            right, bottom = min(left + MESH_STEP, photo.width), min(top + MESH_STEP, photo.height)
            corners = [(left, top), (left, bottom), (right, bottom), (right, top)]
            source = [value for corner in corners for value in _source_of(corner, angle)]
            mesh.append(((left, top, right, bottom), source))
    return photo.transform(photo.size, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)


def _source_of(point, angle):
    """Where in the photograph the pixel at `point` comes from."""
    turn = angle * _fade(math.dist(point, HEAD_CENTER), *FADE_RADII) * _fade(point[1], *FADE_HEIGHTS)
    x, y = point[0] - NECK[0], point[1] - NECK[1]
    cosine, sine = math.cos(turn), math.sin(turn)
    return NECK[0] + cosine * x + sine * y, NECK[1] - sine * x + cosine * y


def _fade(value, start, end):
    """1 up to `start`, 0 from `end` on, smooth between."""
    t = min(1.0, max(0.0, (end - value) / (end - start)))
    return t * t * (3 - 2 * t)


def _strip(frames):
    """All frames below each other, for a palette that they have in common."""
    strip = Image.new("RGB", (GIF_SIZE[0], GIF_SIZE[1] * len(frames)))
    for index, frame in enumerate(frames):
        strip.paste(frame, (0, index * GIF_SIZE[1]))
    return strip


def _save(image, path, **options):
    with written_whole(path) as unfinished:
        image.save(unfinished, format=path.suffix[1:].upper(), **options)


if __name__ == "__main__":
    main()
