"""How close a super-resolved picture is to its original, and what it has that no photograph has.

Pictures are uint8 RGB, shape (H, W, 3). PSNR and SSIM follow the protocol of the super-resolution literature: luma of
ITU-R BT.601 in 16..235 as MATLAB's `rgb2ycbcr` gives it, `scale` pixels shaved off each side, a peak value of 255.
"""

import numpy as np

from srwgan.pixels import luma

FLAT = 1.0  # an area is flat when the standard deviation of its luma, in 1/255, is at most this
FLAT_WINDOW = 9
BINS = 16  # spectrum bins between two lattice frequencies


def psnr(picture, original, shave=0):
    """Peak signal-to-noise ratio of the luma in dB; infinite for equal pictures."""
    error = np.mean(np.square(luma(picture, shave) - luma(original, shave)))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(picture, original, shave=0):
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


def colour_shift(picture, reference):
    """Largest difference of the two pictures' mean red, green or blue, in 1/255."""
    check_same_size(picture, reference)
    means = [np.mean(pixels, axis=(0, 1), dtype=np.float64) for pixels in (picture, reference)]
    return float(np.max(np.abs(means[0] - means[1])))


def flat_texture(picture, bicubic):
    """Root-mean-square local contrast of the luma, in 1/255, where the bicubic picture is flat; NaN if it nowhere is.

    Above the original's own figure, it is texture or noise that the generator invented.
    """
    check_same_size(picture, bicubic)
    flat = local_variance(luma(bicubic)) <= FLAT**2
    return float(np.sqrt(np.mean(local_variance(luma(picture))[flat]))) if flat.any() else float("nan")


def lattice_peak(picture, original, scale):
    """How far a regular grid left by upsampling stands out of the spectrum, in dB: about 0 or less without one.

    A grid repeats every `scale` pixels, so its power is at multiples of 1/scale cycles per pixel. The highest ratio
    there of the power to that of neighbouring frequencies counts, relative to the original's, which may have such a
    pattern of its own. Pictures are at least 16 x scale pixels wide and high.
    """
    check_same_size(picture, original)
    ratios = lattice_ratios(luma(picture), scale) / np.maximum(lattice_ratios(luma(original), scale), 1)
    return float(10 * np.log10(ratios.max()))


def check_same_size(picture, original):
    if picture.shape != original.shape:
        raise ValueError(f"Received: pictures of shapes {picture.shape} and {original.shape}. Expected the same shape.")


def window_mean(image, taps):
    """Weighted mean in a square window around each pixel whose window lies in the picture."""
    for axis in 0, 1:
        windows = np.lib.stride_tricks.sliding_window_view(image, len(taps), axis=axis)
        image = windows @ taps
    return image


def local_variance(image):
    taps = np.full(FLAT_WINDOW, 1 / FLAT_WINDOW)
    return np.maximum(window_mean(image**2, taps) - window_mean(image, taps) ** 2, 0)


def lattice_ratios(image, scale):
    """Power at each lattice frequency over that of its neighbours, of overlapping Hann-windowed patches.

    Patches are weighted by the inverse of their power, since a grid shows most where there is least else to see.
    """
    size = BINS * scale
    if min(image.shape) < size:
        raise ValueError(f"Received: a picture of {image.shape[1]}x{image.shape[0]}. Expected at least {size}x{size}.")
    window = np.hanning(size + 1)[:-1]
    window = np.outer(window, window)
    floor = np.sum(window**2)  # noise of 1/255: what is below it, like patterns of rounding in gradients, is not seen
    lattice, neighbours = lattice_bins(scale)

    peak, around = np.zeros(len(lattice)), np.zeros(len(lattice))
    for top in range(0, image.shape[0] - size + 1, size // 2):
        patches = np.lib.stride_tricks.sliding_window_view(image[top : top + size], size, axis=1)[:, :: size // 2]
        patches = patches.transpose(1, 0, 2)
        patches = (patches - patches.mean(axis=(1, 2), keepdims=True)) * window
        power = np.abs(np.fft.fft2(patches)) ** 2 + floor
        at_peak = power[:, lattice[:, 0], lattice[:, 1]]
        near = power[:, neighbours[..., 0], neighbours[..., 1]].mean(axis=2)
        weight = 1 / near.mean(axis=1, keepdims=True)
        peak += (weight * at_peak).sum(axis=0)
        around += (weight * near).sum(axis=0)
    return peak / around


def lattice_bins(scale):
    """Bins (K, 2) of the lattice frequencies and (K, N, 2) of their neighbours, out of the Hann window's reach."""
    half = scale // 2
    steps = [(v, h) for v in range(half + 1) for h in range(-half + 1, half + 1) if (v, h) > (0, 0)]
    lattice = BINS * np.array(steps)
    # Along the frequency's own direction, since a picture's upright and level edges raise the axes of its spectrum.
    along = np.sign(lattice)[:, None] * np.array([-5, -4, -3, 3, 4, 5])[:, None]
    return lattice % (BINS * scale), (lattice[:, None] + along) % (BINS * scale)
