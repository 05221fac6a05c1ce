"""What --degradation gif and real do to a low-resolution crop: `python3 -m utils.studies.degradation_samples`."""

from pathlib import Path

import numpy as np
from PIL import Image

from srwgan.commandline import OneLineParser, one_line_errors, run_command
from srwgan.data.crops import center_crop
from srwgan.data.degradations import common_palette, degrade, square, to_palette
from srwgan.media.gif.palettes import DITHERS
from srwgan.whole_files import written_whole

ROOT = Path(__file__).resolve().parents[2]
CROP, SCALE = 256, 4
COLORS = (2, 8, 32, 128)
STRENGTHS = (0.2, 0.6, 1.0)


def main(argv=None):
    parser = OneLineParser(prog="python3 -m utils.studies.degradation_samples", description=__doc__)
    photos = sorted((ROOT / "Images" / "train").glob("*.*g"))
    parser.add_argument("--photo", default=photos[0], help="its centre is taken (default: %(default)s)")
    parser.add_argument("--output", default=ROOT / "Images" / "degradations.png", help="(default: %(default)s)")
    args = parser.parse_args(argv)
    with one_line_errors(parser):
        draw(samples(open_photo(args.photo)), args.output)
    print(args.output)
    return 0


def open_photo(path):
    """A photograph, (H, W, 3) uint8.

    Raises:
        ValueError: it is smaller than the crop.
        OSError: it cannot be read.
    """
    with Image.open(path) as image:
        photo = np.asarray(image.convert("RGB"))
    if min(photo.shape[:2]) < CROP:
        raise ValueError(f"Received: {path} of {photo.shape[1]}x{photo.shape[0]}. Expected {CROP}x{CROP} or more.")
    return photo


def samples(photo):
    """Rows of (title, low-resolution picture): the clean downscale and real ones, then a row for each dither."""
    crop = center_crop(photo, CROP)
    small = square(crop, CROP // SCALE)
    drawn = [degrade("real", crop, photo=photo, scale=SCALE, random=np.random.default_rng(seed)) for seed in range(100)]
    nearest = [min(drawn, key=lambda pair, wanted=wanted: abs(pair[1] - wanted)) for wanted in STRENGTHS]
    palettes = {colors: common_palette([small], colors, quantizer="median cut") for colors in COLORS}
    rows = [[("bicubic", small), *[(f"real, strength {strength:.2f}", picture) for picture, strength in nearest]]]
    rows += [
        [
            (f"gif, {colors} colours, {dither}", to_palette(small, palette, dither=dither))
            for colors, palette in palettes.items()
        ]
        for dither in DITHERS
    ]
    return rows


def draw(rows, path):
    """Save a PNG of all rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=(7.2, 1.95 * len(rows)), layout="constrained")
    for axis, (title, picture) in zip(axes.flat, (cell for row in rows for cell in row), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=6.5)
        axis.axis("off")
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    run_command(main)
