"""Crops of texture and of straight lines, to judge generators on: `python3 -m utils.studies.texture_crops DIR OUT`.

Means over whole photographs are means over sky and blur too. What a generator makes of fine texture (rock, grass, fur)
and of repeated lines (facades, planks) shows on crops that hold little else. OUT/texture and OUT/structure become
folders of originals, OUT/crops.csv says where each is from and its figures, and

  python3 -m utils.evaluate --model GENERATOR --data OUT/texture OUT/structure

measures on them. Photographs that were trained on say nothing: DIR holds others, or --last N takes those that a run
held out.

A crop's figures come from the gradient of its luma and from the structure tensor, which is the Gaussian-weighted mean
of the gradient's outer product around each pixel (Bigun and Granlund 1987):

  gradient   its mean magnitude, in levels for each pixel
  density    the share of pixels around which its root mean square is at least half of the whole crop's: near 1 where
             the crop is covered all over
  coherence  ((a - b) / (a + b))^2 of the tensor's eigenvalues a >= b, weighted by a + b: 1 where all edges are straight
             lines, 0 where they run in all directions around every pixel
  alignment  |mean of e^(4i angle)| of the gradients, weighted by their squares: 1 where all of them are parallel or at
             right angles to each other, as on a facade
  texture    gradient x density x (1 - coherence)
  structure  gradient x density x coherence x alignment

The crops of the highest texture and of the highest structure are taken that do not overlap.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srwgan.commandline import OneLineParser, one_line, print_line, real, run_command, whole
from srwgan.data.photos import find_photos
from srwgan.measuring.metrics import window_mean
from srwgan.measuring.pairs import read_measured
from srwgan.media.still.images import Picture, write_image
from srwgan.pixels import luma, resize
from srwgan.whole_files import written_whole

KINDS = ("texture", "structure")
SIGMA = 3.0  # of the structure tensor's Gaussian, in pixels
REACH = 9  # pixels that it is cut off at


@dataclass(frozen=True)
class Crop:
    """A square of a photograph.

    Attributes:
        photo: the photograph's file.
        scale: the share of its size that the photograph is taken at.
        left, top: the corner, in pixels of that size.
        side: height and width, in pixels of that size.
        figures: the crop's figures by name.
    """

    photo: Path
    scale: float
    left: int
    top: int
    side: int
    figures: dict[str, float]

    def overlaps(self, other: "Crop") -> bool:
        """Whether both show a part of the same photograph, at whatever scales."""
        return self.photo == other.photo and all(
            mine / self.scale < (its + other.side) / other.scale and its / other.scale < (mine + self.side) / self.scale
            for mine, its in ((self.left, other.left), (self.top, other.top))
        )


def main(argv=None):
    args = (parser := build_parser()).parse_args(argv)
    try:
        if args.out.is_dir() and any(args.out.iterdir()):
            raise ValueError(f"Received: OUT {args.out}, not empty. Expected a new or an empty folder.")
        photos = [Path(path) for path in find_photos(args.folder, subfolders=())][-args.last :]
        crops = all_crops(photos, scales=args.scales, side=args.size)
        if not crops:
            raise ValueError(
                f"Received: {args.folder}, without a readable photograph of {args.size + 2 * REACH} pixels a side or "
                "more. Expected some, or a smaller --size."
            )
        chosen = {kind: choose(crops, kind, number=args.number, most=args.most) for kind in KINDS}
        write_crops(chosen, args.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for kind, taken in chosen.items():
        print(f"{args.out / kind}: {len(taken)} crops of {len({crop.photo for crop in taken})} photographs")


def build_parser():
    parser = OneLineParser(
        prog="python3 -m utils.studies.texture_crops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", help="photographs, in subfolders too")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or an empty folder")
    parser.add_argument(
        "--last", type=whole(1), default=0, metavar="N", help="only the last N, as training has them (all)"
    )
    parser.add_argument("--number", type=whole(1), default=40, metavar="N", help="crops of each kind (40)")
    parser.add_argument("--most", type=whole(1), default=5, metavar="N", help="of one photograph and kind at most (5)")
    parser.add_argument("--size", type=whole(64), default=256, metavar="PIXELS", help="a crop's height and width (256)")
    scales = {"type": real(0, 1, above=True), "nargs": "+", "default": [1.0, 0.5], "metavar": "SCALE"}
    parser.add_argument("--scales", **scales, help="shares of their size to take photographs at, by Lanczos (1 0.5)")
    return parser


def all_crops(photos: list[Path], *, scales: list[float], side: int) -> list[Crop]:
    """Crops of all photographs at all scales; a photograph that cannot be read is named and passed over."""
    crops = []
    for photo in tqdm(photos, desc="photographs", disable=None):
        try:
            pixels = read_measured(photo)
        except (ValueError, OSError) as error:
            print_line(f"Passed over: {one_line(error, photo)}")
            continue
        for scale in scales:
            crops += crops_at(photo, scaled(pixels, scale), scale=scale, side=side)
    return crops


def scaled(pixels: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(scale * length)) for length in pixels.shape[:2])
    return resize(pixels, (width, height))


def crops_at(photo: Path, pixels: np.ndarray, *, scale: float, side: int) -> list[Crop]:
    """Crops at half their side from one another, but for those whose tensor reaches beyond the edges."""
    if min(pixels.shape[:2]) < side + 2 * REACH:
        return []
    maps = structure_tensor(luma(pixels))
    height, width = maps[0].shape
    crops = []
    for top in range(0, height - side + 1, side // 2):
        for left in range(0, width - side + 1, side // 2):
            figures = measure(*(each[top : top + side, left : left + side] for each in maps))
            crops.append(Crop(photo, scale, left + REACH, top + REACH, side, figures))
    return crops


def structure_tensor(image: np.ndarray) -> tuple[np.ndarray, ...]:
    """(H, W) -> dx, dy and the Gaussian means of dx^2, dx dy, dy^2, each (H - 2 REACH, W - 2 REACH)."""
    dy, dx = np.gradient(image)
    taps = np.exp(-0.5 * np.square(np.arange(-REACH, REACH + 1) / SIGMA))
    taps /= taps.sum()
    inner = (slice(REACH, -REACH),) * 2
    return dx[inner], dy[inner], *(window_mean(product, taps) for product in (dx * dx, dx * dy, dy * dy))


def measure(dx, dy, mean_xx, mean_xy, mean_yy) -> dict[str, float]:
    """The figures of a crop, of its part of the maps of `structure_tensor`; all 0 where it has no gradient."""
    squares, energy = dx * dx + dy * dy, mean_xx + mean_yy
    if squares.mean() < 1e-6:
        return dict.fromkeys(("gradient", "density", "coherence", "alignment", *KINDS), 0.0)
    gradient = np.sqrt(squares).mean()
    density = np.mean(energy >= squares.mean() / 4)
    anisotropy = (mean_xx - mean_yy) ** 2 + 4 * mean_xy**2  # (a - b)^2
    coherence = np.sum(anisotropy / np.maximum(energy, 1e-9)) / np.sum(energy)
    alignment = np.abs(np.sum((dx + 1j * dy) ** 4 / np.maximum(squares, 1e-9))) / np.sum(squares)
    figures = {
        "gradient": gradient,
        "density": density,
        "coherence": coherence,
        "alignment": alignment,
        "texture": gradient * density * (1 - coherence),
        "structure": gradient * density * coherence * alignment,
    }
    return {name: float(value) for name, value in figures.items()}


def choose(crops: list[Crop], kind: str, *, number: int, most: int) -> list[Crop]:
    """Up to `number` crops of the highest figure `kind`, none overlapping, at most `most` of one photograph."""
    chosen: list[Crop] = []
    for crop in sorted(crops, key=lambda crop: -crop.figures[kind]):
        same = [other for other in chosen if other.photo == crop.photo]
        if len(chosen) == number or crop.figures[kind] <= 0:
            break
        if len(same) < most and not any(map(crop.overlaps, same)):
            chosen.append(crop)
    return chosen


def write_crops(chosen: dict[str, list[Crop]], out: Path):
    """Writes OUT/KIND/RANK_PHOTO.png of every crop and then OUT/crops.csv."""
    rows = []
    for kind, crops in chosen.items():
        (out / kind).mkdir(parents=True, exist_ok=True)
        for rank, crop in enumerate(crops, 1):
            name = f"{rank:03d}_{crop.photo.stem}.png"
            pixels = scaled(read_measured(crop.photo), crop.scale)
            square = pixels[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
            write_image(Picture(np.ascontiguousarray(square)), out / kind / name)
            place = {"photo": crop.photo, "scale": crop.scale, "left": crop.left, "top": crop.top, "side": crop.side}
            figures = {figure: f"{value:.4g}" for figure, value in crop.figures.items()}
            rows.append({"crop": f"{kind}/{name}", **place, **figures})
    with written_whole(out / "crops.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["crop"])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    run_command(main)
