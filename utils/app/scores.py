"""How close a result comes to the original: PSNR, SSIM, LPIPS, and a map of the errors."""

import functools
from pathlib import Path

import numpy as np
from PIL import Image

from srwgan.convert.engines import is_installed
from srwgan.measuring.metrics import psnr, ssim
from srwgan.media.still.images import read_image
from srwgan.pixels import resize, to_range
from utils.app.previews import as_rgb

LARGEST_ERROR = 64  # in 1/255, the error map's brightest color
SMALLEST_SIDE = 48  # of an original: LPIPS needs it


def compare(job, result, *, before, after, original: Path, scale: int):
    """Adds to `result` the scores of its picture, those of bicubic interpolation, and an error map.

    Where the two cannot be compared, a note says why instead.

    Args:
        job: hears of the progress and can end it (`CancelledError`).
        result: the `Result`.
        before, after: the source and the result, as `read_image` gives them.
        original: the path of the picture in high resolution.
        scale: the generator's; so many pixels are shaved off the edges.
    """
    job.start("Comparing with the original")
    truth, picture = as_rgb(read_image(original).pixels), as_rgb(after.pixels)
    if truth.shape != picture.shape:
        theirs, ours = (f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in (truth, picture))
        result.notes.append(f"Not compared with {original.name}: it has {theirs} pixels, this result {ours}.")
        return
    if min(truth.shape[:2]) < SMALLEST_SIDE:
        result.notes.append(
            f"Not compared with {original.name}: it is too small. Expected {SMALLEST_SIDE} pixels or more each way."
        )
        return
    bicubic = resize(as_rgb(before.pixels), picture.shape[1::-1], Image.Resampling.BICUBIC)
    for method, pixels in (("This result", picture), ("Bicubic enlargement", bicubic)):
        job.check()
        result.scores[method] = {
            "PSNR": psnr(pixels, truth, scale),
            "SSIM": ssim(pixels, truth, scale),
            "LPIPS": lpips(pixels, truth) if is_installed("tensorflow") else None,
        }
    if not is_installed("tensorflow"):
        result.notes.append("LPIPS is not measured: TensorFlow is not installed on this server.")
    if not is_installed("matplotlib"):
        result.notes.append("There is no map of the errors: Matplotlib is not installed on this server.")
        return
    result.error_map = result.path.parent / "views" / f"{result.path.stem}_error.png"
    Image.fromarray(error_map(picture, truth)).save(result.error_map)


def lpips(picture, original):
    return float(lpips_network()(to_range(picture[None]), to_range(original[None]))[0])


@functools.cache
def lpips_network():
    from srwgan.measuring.lpips import LPIPS

    return LPIPS()


def error_map(picture, original):
    """(H, W, 3) uint8: black where equal, bright yellow where the channels' mean error is LARGEST_ERROR or more."""
    from matplotlib import colormaps

    error = np.abs(picture.astype(np.int16) - original).mean(2) / LARGEST_ERROR
    return colormaps["inferno"](np.minimum(error, 1), bytes=True)[..., :3]
