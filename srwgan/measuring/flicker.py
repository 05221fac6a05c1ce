"""How steady the frames of an upscaled clip are: by known motion made from stills, and on real clips.

**Known motion.** A still is moved as a camera would move it. Each frame is downscaled, upscaled, and put back to where
the first frame was. A steady upscaler then gives the same picture again and again; what differs flickers.

**Real clips.** tOF and tLP of TecoGAN (Chu et al. 2020, arXiv:1811.09393, section 5) hold an upscaled clip against its
original: tOF compares the optical flow between neighboring frames, tLP how far neighboring frames are apart in LPIPS.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tqdm import tqdm

from srwgan.pixels import BICUBIC, LUMA_SHARES, import_opencv, resize, to_levels, to_range

FRAMES = 8
NOISE_SEED = 20
MARGIN = 8  # low-resolution pixels at a frame's edges that are left out
SMALLEST = 31  # pixels that LPIPS needs
Upscale = Callable[[np.ndarray], np.ndarray]


class OfClips:
    """An `Upscale` that remembers the frames of before, and so has to be told of each clip.

    Args:
        start: called for each clip, gives its function.
    """

    def __init__(self, start: Callable[[], Upscale]):
        self.start = start


def of_one_clip(upscale: Upscale | OfClips | None) -> Upscale | None:
    """The function for the frames of one clip, in order."""
    return upscale.start() if isinstance(upscale, OfClips) else upscale


@dataclass(frozen=True)
class Motion:
    """A camera's motion, and what each frame suffers.

    Attributes:
        name: what tables call it.
        pan: (right, down), whole high-resolution pixels from one frame to the next.
        zoom: how much larger the second frame shows the first's middle, less 1; the same again from frame to frame.
        turn: degrees from one frame to the next.
        noise: the standard deviation of the noise that each low-resolution frame gets, of 255.
    """

    name: str
    pan: tuple[int, int] = (0, 0)
    zoom: float = 0.0
    turn: float = 0.0
    noise: float = 0.0

    def matrix(self, frame: int, size: tuple[int, int]) -> np.ndarray:
        """(2, 3): where the pixel (x, y, 1) of a frame lies in the still of `size` (width, height)."""
        factor, angle = (1 + self.zoom) ** -frame, np.deg2rad(self.turn * frame)
        linear = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.array(size) / 2
        offset = middle - linear @ middle + np.array(self.pan) * frame
        return np.column_stack([linear, offset])

    @property
    def is_pan(self) -> bool:
        """Whether frames are windows of the still, pixel by pixel, so that nothing is interpolated."""
        return not (self.zoom or self.turn)


# A pan of (3, 1) sees every phase of the low-resolution lattice in either direction within four frames.
MOTIONS = (
    Motion("pan", pan=(3, 1)),
    Motion("zoom", zoom=0.01),
    Motion("turn", turn=0.5),
    Motion("noisy pan", pan=(3, 1), noise=2.0),
)


@dataclass(frozen=True)
class Flicker:
    """How unsteady one clip is.

    Attributes:
        variation: the standard deviation of a place's luma over the frames, in 1/255, its mean over all places.
        lpips: LPIPS between neighboring frames, once they lie over each other; the mean.
        to_original: LPIPS of the frames against the original's, once they lie over it; the mean.
    """

    variation: float
    lpips: float
    to_original: float


def flicker_of_still(original, methods, motion: Motion, *, scale: int, distance, frames: int = FRAMES):
    """Each method's `Flicker` on one still, and that of the original moved alike.

    Zooms and turns interpolate, there and back, so that the original's own figure is not 0; that of a pan is.

    Args:
        original: uint8 (H, W, 3).
        methods: functions, uint8 (h, w, 3) -> uint8 (scale h, scale w, 3), or `OfClips` of such.
        distance: an `LPIPS`.

    Returns:
        A list of `Flicker`, the original's last.

    Raises:
        ValueError: a still too small for the motion.
    """
    moved = list(aligned_frames(original, None, motion, scale=scale, frames=frames))
    clips = (aligned_frames(original, method, motion, scale=scale, frames=frames) for method in methods)
    return [flicker(clip, distance, moved) for clip in [*map(list, clips), moved]]


def aligned_frames(
    original: np.ndarray, upscale: Upscale | OfClips | None, motion: Motion, *, scale: int, frames: int = FRAMES
) -> Iterator[np.ndarray]:
    """Yield the frames of a moved still, upscaled and put back over each other, uint8; None upscales nothing.

    What not all frames show is cut off, and a margin within which an upscaler may see the frame's edge.
    """
    height, width = original.shape[:2]
    upscale = of_one_clip(upscale)
    if motion.is_pan:
        yield from panned_frames(original, upscale, motion, scale=scale, frames=frames)
        return
    width, height = width - width % scale, height - height % scale
    still = original[:height, :width]
    top, left, bottom, right = shown_by_all(motion, (width, height), scale, frames)
    random = np.random.default_rng(NOISE_SEED)
    for frame in range(frames):
        there = motion.matrix(frame, (width, height))
        made = upscaled(warped(still, there), upscale, motion, scale=scale, random=random)
        yield warped(made, inverse(there))[top:bottom, left:right]


def panned_frames(original, upscale, motion, *, scale, frames):
    """The same for a pan: windows of the still, of which the part that all show is yielded."""
    across, down = motion.pan
    travel = np.abs([across, down]) * (frames - 1)
    width, height = (np.array(original.shape[1::-1]) - travel) // scale * scale
    margin = MARGIN * scale
    if min(width - travel[0], height - travel[1]) < 2 * margin + SMALLEST:
        raise ValueError(f"Received: a still of {original.shape[1]}x{original.shape[0]}. Expected a larger one.")
    random = np.random.default_rng(NOISE_SEED)
    for frame in range(frames):
        x = frame * across if across >= 0 else travel[0] + frame * across
        y = frame * down if down >= 0 else travel[1] + frame * down
        window = original[y : y + height, x : x + width]
        made = upscaled(window, upscale, motion, scale=scale, random=random)
        yield made[travel[1] - y + margin : height - y - margin, travel[0] - x + margin : width - x - margin]


def upscaled(frame, upscale, motion, *, scale, random):
    if upscale is None:
        return frame
    low_res = resize(np.ascontiguousarray(frame), (frame.shape[1] // scale, frame.shape[0] // scale), BICUBIC)
    if motion.noise:
        low_res = to_levels(low_res + random.normal(0, motion.noise, low_res.shape))
    return upscale(low_res)


def warped(pixels, matrix):
    """pixels (H, W, 3) as a camera sees them whose pixel (x, y) lies at `matrix` (x, y, 1), by cubic interpolation."""
    size = pixels.shape[1::-1]
    return np.asarray(Image.fromarray(pixels).transform(size, Image.Transform.AFFINE, tuple(matrix.ravel()), BICUBIC))


def inverse(matrix):
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def shown_by_all(motion, size, scale, frames):
    """(top, left, bottom, right) of the largest window about the still's middle that all frames show."""
    width, height = size
    margin = MARGIN * scale
    views = [inverse(motion.matrix(frame, size)) for frame in range(frames)]
    for share in np.arange(0, 0.5, 0.005):
        left, top = int(share * width) + margin, int(share * height) + margin
        right, bottom = width - left, height - top
        if min(right - left, bottom - top) < SMALLEST:
            break
        corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1]]).T
        seen = np.stack([view @ corners for view in views])  # (frames, 2, 4)
        if (seen >= margin).all() and (seen <= np.array([[width], [height]]) - margin).all():
            return top, left, bottom, right
    raise ValueError(f"Received: a still of {width}x{height}. Expected a larger one.")


def flicker(frames: list[np.ndarray], distance, originals: list[np.ndarray]) -> Flicker:
    """The `Flicker` of frames that lie over each other and over their originals, uint8 (H, W, 3)."""
    luma = np.stack([frame @ LUMA_SHARES for frame in frames])
    images = to_range(np.stack(frames))
    apart = [float(distance(a[None], b[None])[0]) for a, b in zip(images[:-1], images[1:], strict=True)]
    off = [
        float(distance(image[None], to_range(original[None]))[0])
        for image, original in zip(images, originals, strict=True)
    ]
    return Flicker(
        variation=float(luma.std(axis=0).mean()), lpips=float(np.mean(apart)), to_original=float(np.mean(off))
    )


def measure_flicker(methods: dict[str, Upscale], stills: dict[str, np.ndarray], *, scale: int, distance) -> list[dict]:
    """Every method's figures under every motion, means over the stills.

    Returns:
        A dict for each method, and for "original": {"model", MOTION: `Flicker`, ...}.
    """
    rows = {name: {"model": name} for name in [*methods, "original"]}
    for motion in tqdm(MOTIONS, desc="flicker", leave=False, disable=None):
        figures = [
            flicker_of_still(still, methods.values(), motion, scale=scale, distance=distance)
            for still in tqdm(stills.values(), desc=motion.name, leave=False, disable=None)
        ]
        for row, values in zip(rows.values(), zip(*figures, strict=True), strict=True):
            row[motion.name] = Flicker(
                variation=float(np.mean([value.variation for value in values])),
                lpips=float(np.mean([value.lpips for value in values])),
                to_original=float(np.mean([value.to_original for value in values])),
            )
    return list(rows.values())


def column_over_time(frames: Iterable[np.ndarray], x: int) -> np.ndarray:
    """One column of pixels of each frame beside that of the frame before, uint8 (H, frames, 3).

    Of frames that lie over each other it has level stripes; what flickers breaks them.
    """
    return np.stack([frame[:, x] for frame in frames], axis=1)


# Real clips


@dataclass(frozen=True)
class ClipFigures:
    """How an upscaled clip moves beside its original.

    Attributes:
        tof: mean absolute difference of the optical flow between neighboring frames, in pixels, across and down
            together. Lower is better.
        tlp: mean absolute difference of LPIPS between neighboring frames, times 100. Lower is better.
        lpips: LPIPS against the original's frames, the mean.
    """

    tof: float
    tlp: float
    lpips: float


class ClipMeter:
    """Measures a clip frame by frame, so that one of any length fits in memory.

    Args:
        distance: an `LPIPS`.
    """

    def __init__(self, distance):
        self.distance, self.before = distance, None
        self.tof, self.tlp, self.lpips = [], [], []

    def add(self, made: np.ndarray, original: np.ndarray):
        """Take the next frame and its original, uint8 (H, W, 3).

        Raises:
            ImportError: OpenCV, which computes the optical flow, is not installed.
        """
        pictures, images = (made, original), [to_range(picture[None]) for picture in (made, original)]
        self.lpips.append(float(self.distance(*images)[0]))
        if self.before is not None:
            flows = [optical_flow(*pair) for pair in zip(self.before[0], pictures, strict=True)]
            self.tof.append(float(np.abs(flows[0] - flows[1]).sum(axis=-1).mean()))
            steps = [float(self.distance(*pair)[0]) for pair in zip(self.before[1], images, strict=True)]
            self.tlp.append(abs(steps[0] - steps[1]))
        self.before = pictures, images

    def figures(self) -> ClipFigures:
        """The means over the frames.

        Raises:
            ValueError: fewer than two frames were added.
        """
        if not self.tof:
            raise ValueError(f"Received: a clip of {len(self.lpips)} frames. Expected two or more.")
        means = [float(np.mean(values)) for values in (self.tof, self.tlp, self.lpips)]
        return ClipFigures(tof=means[0], tlp=100 * means[1], lpips=means[2])


def optical_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W, 2) pixels that a place moves, by Farnebäck's method with TecoGAN's settings.

    Raises:
        ImportError: OpenCV is not installed.
    """
    cv2 = import_opencv("Optical flow needs")
    gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
    return cv2.calcOpticalFlowFarneback(
        *gray, None, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
    )
