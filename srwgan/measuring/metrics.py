"""How close a super-resolved picture is to its original, and what it has that no photograph has.

Pictures are uint8 RGB, shape (H, W, 3). PSNR and SSIM follow the protocol of the super-resolution literature: luma of
ITU-R BT.601 in 16..235 as MATLAB's `rgb2ycbcr` gives it, `scale` pixels shaved off each side, a peak value of 255.
"""

import numpy as np

from srwgan.pixels import luma

FLAT = 1.0  # an area is flat when the standard deviation of its luma, in 1/255, is at most this
FLAT_WINDOW = 9
BINS = 16  # spectrum bins between two lattice frequencies


def psnr(picture: np.ndarray, original: np.ndarray, shave: int = 0) -> float:
    """Peak signal-to-noise ratio of the luma in dB. Equal pictures have an infinite one."""
    return decibels(luma(picture, shave) - luma(original, shave))


def psnr_rgb(picture: np.ndarray, original: np.ndarray) -> float:
    """Peak signal-to-noise ratio of all three channels in dB. Equal pictures have an infinite one."""
    return decibels(picture.astype(np.float64) - original)


def decibels(error):
    """The peak signal-to-noise ratio that differences in 1/255 amount to."""
    mean_square = np.mean(np.square(error))
    return float(10 * np.log10(255**2 / mean_square)) if mean_square else float("inf")


def ssim(picture: np.ndarray, original: np.ndarray, shave: int = 0) -> float:
    """Mean structural similarity of the luma, at most 1 (Wang et al. 2004: 11x11 Gaussian window of sigma 1.5)."""
    taps = np.exp(-0.5 * np.square(np.arange(-5, 6) / 1.5))
    taps /= taps.sum()
    x, y = luma(picture, shave), luma(original, shave)
    mean_x, mean_y = window_mean(x, taps), window_mean(y, taps)
    var_x = window_mean(x * x, taps) - mean_x**2
    var_y = window_mean(y * y, taps) - mean_y**2
    covariance = window_mean(x * y, taps) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (var_x + var_y + c2)))


def color_shift(picture: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference of the two pictures' mean red, green or blue, in 1/255.

    Raises:
        ValueError: pictures of different shapes.
    """
    check_same_size(picture, reference)
    means = [np.mean(pixels, axis=(0, 1), dtype=np.float64) for pixels in (picture, reference)]
    return float(np.max(np.abs(means[0] - means[1])))


def flat_texture(picture: np.ndarray, bicubic: np.ndarray) -> float:
    """Root-mean-square local contrast of the luma, in 1/255, where the bicubic picture is flat.

    What is above the original's own figure is texture or noise that the generator invented. A picture without any flat
    area has NaN.

    Raises:
        ValueError: pictures of different shapes.
    """
    check_same_size(picture, bicubic)
    flat = local_variance(luma(bicubic)) <= FLAT**2
    return float(np.sqrt(np.mean(local_variance(luma(picture))[flat]))) if flat.any() else float("nan")


def lattice_peak(picture: np.ndarray, original: np.ndarray, scale: int) -> float:
    """How far a regular grid left by upsampling stands out of the spectrum, in dB: about 0 or less without one.

    A grid repeats every `scale` pixels, so its power is at multiples of 1/scale cycles per pixel. Each ratio of the
    power there to that of the neighboring frequencies is divided by the original's, which may have such a pattern of
    its own. The highest counts.

    Raises:
        ValueError: pictures of different shapes, or less than 16 x scale pixels wide or high.
    """
    check_same_size(picture, original)
    ratios = lattice_ratios(luma(picture), scale) / np.maximum(lattice_ratios(luma(original), scale), 1)
    return float(10 * np.log10(ratios.max()))


def check_same_size(picture, original):
    if picture.shape != original.shape:
        raise ValueError(f"Received: pictures of shapes {picture.shape} and {original.shape}. Expected the same shape.")


def window_mean(image, taps):
    """Weighted mean in a square window around each pixel, (H, W) -> (H - taps + 1, W - taps + 1)."""
    for axis in 0, 1:
        windows = np.lib.stride_tricks.sliding_window_view(image, len(taps), axis=axis)
        image = windows @ taps
    return image


def local_variance(image):
    taps = np.full(FLAT_WINDOW, 1 / FLAT_WINDOW)
    return np.maximum(window_mean(image**2, taps) - window_mean(image, taps) ** 2, 0)


def lattice_ratios(image, scale):
    """Power at each lattice frequency over that of its neighbors, a mean over overlapping Hann-windowed patches.

    A patch's weight is the inverse of its power, since a grid shows most where there is least else to see.
    """
    size = BINS * scale
    if min(image.shape) < size:
        raise ValueError(f"Received: a picture of {image.shape[1]}x{image.shape[0]}. Expected at least {size}x{size}.")
    window = np.hanning(size + 1)[:-1]
    window = np.outer(window, window)
    floor = np.sum(window**2)  # the power of noise of 1/255: rounding's patterns in gradients are below it, unseen
    lattice, neighbors = lattice_bins(scale)

    peak, around = np.zeros(len(lattice)), np.zeros(len(lattice))
    for top in range(0, image.shape[0] - size + 1, size // 2):
        patches = np.lib.stride_tricks.sliding_window_view(image[top : top + size], size, axis=1)[:, :: size // 2]
        patches = patches.transpose(1, 0, 2)
        patches = (patches - patches.mean(axis=(1, 2), keepdims=True)) * window
        power = np.abs(np.fft.fft2(patches)) ** 2 + floor
        at_peak = power[:, lattice[:, 0], lattice[:, 1]]
        near = power[:, neighbors[..., 0], neighbors[..., 1]].mean(axis=2)
        weight = 1 / near.mean(axis=1, keepdims=True)
        peak += (weight * at_peak).sum(axis=0)
        around += (weight * near).sum(axis=0)
    return peak / around


def lattice_bins(scale):
    """Spectrum bins: (K, 2) of the lattice frequencies, and (K, N, 2) of their neighbors.

    The neighbors are 3 to 5 bins away, where the Hann window spreads none of the lattice frequency's power.
    """
    half = scale // 2
    steps = [(v, h) for v in range(half + 1) for h in range(-half + 1, half + 1) if (v, h) > (0, 0)]
    lattice = BINS * np.array(steps)
    # They lie along the frequency's own direction: a picture's upright and level edges raise the axes of its spectrum.
    along = np.sign(lattice)[:, None] * np.array([-5, -4, -3, 3, 4, 5])[:, None]
    return lattice % (BINS * scale), (lattice[:, None] + along) % (BINS * scale)
