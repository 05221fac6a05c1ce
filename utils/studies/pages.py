"""Pages of text, lines and shapes, to train on beside photographs: `python3 -m utils.studies.pages OUT`.

People upscale screenshots, slides and drawings too, and photographs hold little of what these are made of: lettering,
thin lines at any angle, flat areas with sharp borders. A page has some of each in random colors, in Matplotlib's own
fonts. It is drawn at twice its size and made smaller, so that edges are smooth. Page N is the same wherever it is
drawn, as long as Matplotlib has the same fonts.

OUT/000_page_000.png, ... are pages; with photographs in the same folder, --datapath OUT trains on both. Their names
come before those of photographs, whose last ones by name are held out.
"""

import argparse
import functools
import string
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from srwgan.commandline import OneLineParser, run_command, whole
from srwgan.media.still.images import Picture, write_image

WIDTH, HEIGHT = 960, 720
LARGER = 2  # times, that a page is drawn at
PAGES = 5  # what NumPy's generators are for, the last part of their key
FONTS = ("DejaVuSans", "DejaVuSerif", "cmr10", "STIXGeneral")  # families of letters, by the beginning of their files
LETTERS = {False: list(string.ascii_lowercase), True: list(string.ascii_letters)}


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    names = [args.out / f"000_page_{number:03d}.png" for number in range(args.number)]
    try:
        there = [name for name in names if name.exists()]
        if there:
            raise ValueError(f"Received: OUT {args.out}, with {there[0].name}. Expected a folder without such pages.")
        args.out.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(tqdm(names, desc="pages", disable=None)):
            write_image(Picture(page(number)), name)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{args.out}: {args.number} pages of {WIDTH}x{HEIGHT}")


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.studies.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder, which may have photographs in it")
    parser.add_argument("--number", type=whole(1, 1000), default=60, metavar="N", help="pages (60)")
    return parser


def page(number: int) -> np.ndarray:
    """Page `number`, (HEIGHT, WIDTH, 3) uint8: shapes on a plain or a graded ground, and lines of text over them."""
    random = np.random.default_rng([number, PAGES])
    light = random.random() < 0.65
    image = ground(random, light)
    draw = ImageDraw.Draw(image)
    for _ in range(random.integers(25)):
        draw_shape(draw, random)
    y = int(random.integers(60))
    while y < LARGER * HEIGHT:
        y = draw_paragraph(draw, random, y, light=light)
    resizer = random.choice([Image.Resampling.LANCZOS, Image.Resampling.BOX])
    return np.asarray(image.resize((WIDTH, HEIGHT), int(resizer)))


def ground(random, light):
    """A page that is white, of one color, or of two that pass into each other from its top to its end."""
    width, height = LARGER * WIDTH, LARGER * HEIGHT
    if random.random() < 0.3:
        top, end = (np.array(color(random, dark=not light)) for _ in range(2))
        rows = top + (end - top) * np.linspace(0, 1, height)[:, None, None]
        return Image.fromarray(np.broadcast_to(rows, (height, width, 3)).astype(np.uint8))
    white = light and random.random() < 0.5
    return Image.new("RGB", (width, height), (255, 255, 255) if white else color(random, dark=not light))


def color(random, dark=None):
    """RGB, any, or of the darkest or the lightest quarter."""
    levels = random.integers(256, size=3)
    levels = levels if dark is None else levels // 4 if dark else 255 - levels // 4
    return tuple(int(level) for level in levels)


def draw_shape(draw, random):
    """A rectangle, an ellipse, a line, a row of parallel lines, or a path that wanders."""
    kind = random.choice(["rectangle", "ellipse", "line", "stripes", "path"])
    x, y = (int(random.integers(LARGER * side)) for side in (WIDTH, HEIGHT))
    width, height, thickness = (int(random.integers(*limits)) for limits in ((20, 500), (20, 400), (1, 12)))
    stroke = color(random)
    if kind in ("rectangle", "ellipse"):
        inside = color(random) if random.random() < 0.5 else None
        drawn = draw.rectangle if kind == "rectangle" else draw.ellipse
        drawn([x, y, x + width, y + height], outline=stroke, width=thickness, fill=inside)
    elif kind == "line":
        dx, dy = (int(step) for step in random.integers(-600, 600, size=2))
        draw.line([x, y, x + dx, y + dy], fill=stroke, width=thickness)
    elif kind == "stripes":
        step, slant = int(random.integers(6, 30)), int(0.3 * width)
        for i in range(random.integers(4, 20)):
            draw.line([x + i * step, y, x + i * step + slant, y + height], fill=stroke, width=max(1, step // 3))
    else:
        path = np.cumsum(random.normal(0, 40, (20, 2)), axis=0) + [x, y]
        draw.line([tuple(point) for point in path], fill=stroke, width=thickness, joint="curve")


def draw_paragraph(draw, random, y, *, light):
    """One to four lines of text of one font, size and color from y on; returns where the next may begin."""
    size = int(2 ** random.uniform(4.3, 7.2))
    font = ImageFont.truetype(str(random.choice(fonts())), size)
    ink, x = color(random, dark=light if random.random() < 0.8 else None), int(random.integers(200))
    for _ in range(random.integers(1, 5)):
        draw.text((x, y), words(random, int(LARGER * WIDTH / size / 2.5)), font=font, fill=ink)
        y += int(1.3 * size)
    return y + int(random.integers(120))


@functools.cache
def fonts():
    files = sorted((Path(get_data_path()) / "fonts" / "ttf").glob("*.ttf"))
    return [file for file in files if file.stem.startswith(FONTS) and "Display" not in file.stem]


def words(random, number):
    """So many words and numbers, of letters at random."""
    return " ".join(word(random) for _ in range(number))


def word(random):
    if random.random() < 0.1:
        return str(random.integers(9999))
    return "".join(random.choice(LETTERS[bool(random.random() < 0.15)], random.integers(1, 10)))


if __name__ == "__main__":
    run_command(main)
