"""Steady frames: what a generator invented for a frame is carried along with the motion, in place of inventing anew.

A generator sees each frame by itself. What it invents changes with every sub-pixel of motion, so that what moves
shimmers. Here each result is made of the last one, put in place by the motion, and of the generator's own:

    last result ---> moved ---> its low resolution made that of the generator's ---+
                       ^                                                           +---> mixed, as sharp ---> result
                     motion <--- both frames' low resolution                       |      as the generator's
    generator's result of this frame --------------------------------------------- +

- The motion is dense optical flow, found in either direction (DIS, Kroeger et al. 2016, arXiv:1603.03590).
- Where there and back do not meet, or the moved result's low resolution is another's, the generator's own result is
  taken: at what was covered before, at the edges, after a cut. That result's low resolution is what the moved one is
  held against, not the frame itself, whose noise or dither the generator took away.
- What moved is made consistent with it (back-projection, Irani and Peleg 1991), but for differences as of noise.
- Averages are softer than what they are made of, so that the result's detail is raised to the generator's.
- Where the low-resolution frame is that of before, the result is that of before, exactly.

The idea of feeding the last result back by its motion is that of FRVSR (Sajjadi et al. 2018, arXiv:1801.04590) and
TecoGAN (Chu et al. 2020, arXiv:1811.09393). Nothing is trained here, so that it goes with every generator.
"""

from __future__ import annotations

import numpy as np

from srwgan.pixels import LUMA_SHARES, import_opencv

FRESH_SHARE = 0.02  # of the generator's own result where the moved one fits
MEETING = 0.7  # low-resolution pixels that there and back may be apart
MISMATCH = 16.0  # of 255: the low resolutions' difference at which a moved result counts exp(-1) = 0.37
SMALLEST_FIT = 0.3  # mean confidence below which all is taken to be a new scene
TOLERATED = 1.0  # of 255: differences of the low resolution that are left alone
MOST_GAIN = 1.25  # that the luma's detail is raised by: raised over and over, colors would grow
REACH = 2  # low-resolution pixels round a changed one whose results change too
CONTEXT = 24  # low-resolution pixels round what changed that motion is looked for in
SMALLEST_SIDE = 32  # that optical flow is given
STRIP = 1 << 20  # pixels of a result that are worked on at once
STRIP_MARGIN = 8  # low-resolution rows on either side of a strip that its pixels depend on


class Steadier:
    """Makes the frames of one clip steady: `steadier(low_res, high_res)` for each frame, in order.

    Memory does not grow with the number of frames: the last frame and its result are held.

    Args:
        scale: of high to low resolution.
        first_result: what the first frame's result was in an earlier run, with which this one goes on.

    Raises:
        ImportError: OpenCV is not installed.
    """

    def __init__(self, scale: int, first_result: np.ndarray | None = None):
        self.scale, self.cv2 = scale, import_opencv("Steady frames need")
        self.flow = motion_finder(self.cv2)
        self.low_res = self.reference = self.result = None
        self.first_result = first_result

    def __call__(self, low_res: np.ndarray, high_res: np.ndarray) -> np.ndarray:
        """The frame's steady result.

        Args:
            low_res: the frame, (H, W, C) uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
            high_res: the generator's own result, (scale H, scale W, C) of the same type. It is not changed.

        Returns:
            Pixels like `high_res`. Its alpha, where it has some, is the generator's.
        """
        changed = self.changed(low_res)
        if changed is None:
            result, reference = high_res if self.first_result is None else self.first_result, self.reduced(high_res)
            self.first_result = None
        elif not changed.any():
            result, reference = self.result, self.reference
        else:
            result, reference = self.updated(high_res, changed)
        self.low_res, self.reference, self.result = low_res, reference, result
        return result.copy()

    def changed(self, low_res):
        """Where results may change, (H, W) bool; None for a first frame and one of another kind."""
        if self.low_res is None or (self.low_res.shape, self.low_res.dtype) != (low_res.shape, low_res.dtype):
            return None
        changed = (low_res != self.low_res).any(axis=-1).astype(np.uint8)
        return self.cv2.dilate(changed, np.ones([2 * REACH + 1] * 2, np.uint8)).astype(bool)

    def updated(self, high_res, changed):
        """(result, reference) of a frame that changed in part or all over."""
        rows, columns = window_round(changed)
        scale = self.scale
        window = slice(rows.start * scale, rows.stop * scale), slice(columns.start * scale, columns.stop * scale)
        colors = color_channels(high_res)
        fresh, last = high_res[window][..., colors], self.result[window][..., colors]
        reference, inside = self.reference.copy(), changed[rows, columns]
        target = self.reduced(fresh)
        steady = self.steadied(fresh, last, target=target, before=self.reference[rows, columns], changed=inside)
        reference[rows, columns][inside] = target[inside]
        result, where = self.result.copy(), inside.repeat(scale, axis=0).repeat(scale, axis=1)
        result[window][..., colors][where] = steady[where]
        if colors.stop is not None:
            result[..., colors.stop :] = high_res[..., colors.stop :]
        return result, reference

    def steadied(self, fresh, last, *, target, before, changed):
        """A window's result.

        Args:
            fresh: the generator's, (scale h, scale w, C) pixels.
            last: the last result.
            target, before: the low resolutions of the generator's results, this and the last one, see `reduced`.
            changed: where the frame did, (h, w).
        """
        there, back = self.motion(before, target), self.motion(target, before)
        moved = self.moved(last, there)
        fit = self.fit(self.reduced(moved), target, there=there, back=back)
        if fit[changed].mean() < SMALLEST_FIT:
            return fresh
        return self.mixed(fresh, moved, target=target, fit=fit)

    def reduced(self, high_res):
        """The low resolution of a result's colors, (h, w, C) float32 of 255. Pixels that are float32 already are so."""
        scale = self.scale
        height, width = high_res.shape[0] // scale, high_res.shape[1] * scale
        colors, parts = color_channels(high_res), []
        for rows, around in strips(height, width, STRIP_MARGIN):
            pixels = to_float(high_res[around.start * scale : around.stop * scale, :, colors])
            parts.append(self.low_resolution(pixels)[rows.start - around.start : rows.stop - around.start])
        return np.concatenate(parts)

    def low_resolution(self, pixels):
        """(scale h, scale w, C) -> (h, w, C), with little aliasing, which would change with every sub-pixel."""
        size = pixels.shape[1] // self.scale, pixels.shape[0] // self.scale
        smooth = self.cv2.GaussianBlur(pixels, (0, 0), self.scale / 4)
        return with_channels(self.cv2.resize(smooth, size, interpolation=self.cv2.INTER_AREA))

    def motion(self, before, after):
        """(h, w, 2): how far from a place in `after`, across and down, what it shows lies in `before`."""
        height, width = after.shape[:2]
        grow = [(0, max(SMALLEST_SIDE - side, 0)) for side in (height, width)]
        images = (np.pad(np.rint(luma_of(x).clip(0, 255)).astype(np.uint8), grow, mode="edge") for x in (after, before))
        return self.flow.calc(*images, None)[:height, :width]

    def moved(self, last, there):
        """The last result at its new place, (scale h, scale w, C) float32, by Lanczos interpolation."""
        cv2, scale = self.cv2, self.scale
        height, width = last.shape[:2]
        source, result = to_float(last), np.empty(last.shape, np.float32)
        steps = scale * cv2.resize(there, (width, height), interpolation=cv2.INTER_LINEAR)
        across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        for rows, _ in strips(height, width, 1):
            places = steps[rows, :, 0] + across, steps[rows, :, 1] + down[rows]
            strip = cv2.remap(source, *places, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
            result[rows] = with_channels(strip)
        return result

    def fit(self, moved, target, *, there, back):
        """How far to trust what moved, (h, w), 0 to 1. Arguments are of low resolution."""
        cv2 = self.cv2
        height, width = target.shape[:2]
        x = there[..., 0] + np.arange(width, dtype=np.float32)
        y = there[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        apart = np.square(there + cv2.remap(back, x, y, cv2.INTER_LINEAR)).sum(axis=-1)
        mismatch = cv2.GaussianBlur(np.abs(moved - target).max(axis=-1), (0, 0), 0.7)
        fit = inside * np.exp(-apart / MEETING**2 - np.square(mismatch / MISMATCH))
        return cv2.GaussianBlur(cv2.erode(fit.astype(np.float32), np.ones((3, 3))), (0, 0), 1)

    def mixed(self, fresh, moved, *, target, fit):
        """What moved, made consistent, mixed with the generator's own, and as sharp as that, pixels."""
        result, width = np.empty_like(fresh), fresh.shape[1]
        for rows, around in strips(len(target), width * self.scale, STRIP_MARGIN):
            high = slice(around.start * self.scale, around.stop * self.scale)
            strip = self.mixed_strip(to_float(fresh[high]), moved[high], target=target[around], fit=fit[around])
            start, stop = ((row - around.start) * self.scale for row in (rows.start, rows.stop))
            result[rows.start * self.scale : rows.stop * self.scale] = to_pixels(strip[start:stop], fresh.dtype)
        return result

    def mixed_strip(self, fresh, moved, *, target, fit):
        cv2, size = self.cv2, fresh.shape[1::-1]
        missing = target - self.low_resolution(moved)
        missing = np.sign(missing) * np.maximum(np.abs(missing) - TOLERATED, 0)
        moved = moved + with_channels(cv2.resize(missing, size, interpolation=cv2.INTER_CUBIC))
        share = (1 - FRESH_SHARE) * cv2.resize(fit, size, interpolation=cv2.INTER_LINEAR)[..., None]
        mixed = fresh + share * (moved - fresh)
        detail = self.detail(luma_of(mixed))
        gain = np.sqrt((self.energy(self.detail(luma_of(fresh))) + 1) / (self.energy(detail) + 1)).clip(1, MOST_GAIN)
        return mixed + ((gain - 1) * detail)[..., None]

    def detail(self, luma):
        """(H, W): what differs from the pixels around."""
        return luma - self.cv2.GaussianBlur(luma, (0, 0), 0.375 * self.scale)

    def energy(self, detail):
        """(H, W): the mean square of detail round each pixel."""
        return self.cv2.GaussianBlur(np.square(detail), (0, 0), self.scale)


def motion_finder(cv2):
    """DIS optical flow to the finest scale, with more steps than any preset takes: textures have to lie exactly."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(0)
    flow.setPatchSize(8)
    flow.setPatchStride(2)
    flow.setGradientDescentIterations(25)
    flow.setVariationalRefinementIterations(10)
    return flow


def window_round(changed):
    """(rows, columns) of what changed, with `CONTEXT` about it."""
    sides = []
    for axis in (1, 0):
        places = np.flatnonzero(changed.any(axis=axis))
        sides.append(slice(max(places[0] - CONTEXT, 0), min(places[-1] + 1 + CONTEXT, changed.shape[1 - axis])))
    return tuple(sides)


def strips(height, width, margin):
    """Yields (rows, the same with a margin as far as there are any) of parts of about `STRIP` pixels."""
    step = max(STRIP // max(width, 1), 1)
    for start in range(0, height, step):
        stop = min(start + step, height)
        yield slice(start, stop), slice(max(start - margin, 0), min(stop + margin, height))


def color_channels(pixels):
    """The channels that hold colors: all but alpha."""
    return slice(pixels.shape[-1] - 1) if pixels.shape[-1] in (2, 4) else slice(None)


def with_channels(pixels):
    """(H, W, C) of what OpenCV gives back, which is (H, W) of one channel."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


def luma_of(colors):
    """(H, W, 1 or 3) float32 -> (H, W)."""
    return colors[..., 0] if colors.shape[-1] == 1 else colors @ LUMA_SHARES.astype(np.float32)


def to_float(pixels):
    """uint8 or uint16 -> float32, 0 to 255; float32 stays as it is."""
    if pixels.dtype == np.float32:
        return pixels
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max / 255)


def to_pixels(values, dtype):
    """float32, 0 to 255, -> uint8 or uint16, rounded and clipped."""
    most = np.iinfo(dtype).max
    return (values * np.float32(most / 255)).round().clip(0, most).astype(dtype)
