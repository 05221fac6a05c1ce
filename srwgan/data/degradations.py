"""What pictures suffer besides being made smaller: a GIF's palette and dither, or a camera's blur and the web's JPEGs.

A degradation takes a high-resolution crop to its low-resolution partner. It also says how strong it was: from 0, nearly
the clean bicubic downscale, to 1. All that is random is drawn from the `numpy.random.Generator` that it is given.
Pictures are uint8 RGB. Every step keeps a picture in its place: resizing maps borders to borders, and kernels are
symmetric.
"""

import io
from functools import partial

import numpy as np
from PIL import Image

from srwgan.media.gif.palettes import DITHERS, PaletteMapper
from srwgan.pixels import BICUBIC, resize, to_levels

DEGRADATIONS = ("bicubic", "gif", "jpeg", "real", "mixed")

QUANTIZERS = {"median cut": Image.Quantize.MEDIANCUT, "octree": Image.Quantize.FASTOCTREE}
MOST_COLORS = 256
MOST_OTHER_FRAMES = 3

RESIZERS = {"area": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR, "bicubic": BICUBIC}
LEFT_OUT = 0.25  # how often a step of the chain is left out
GRAY_SHARE = 0.4  # how often noise is gray


def check_degradation(degradation: str, condition: str = "none"):
    """Makes sure that a degradation is known and that a generator's condition can be told something by it.

    The names of conditions are the generator's, see `srwgan.networks.generator.CONDITIONS`.

    Raises:
        ValueError: an unknown degradation, or a condition on a strength that is always 0.
    """
    if degradation not in DEGRADATIONS:
        raise ValueError(f"Received: --degradation {degradation}. Expected one of {', '.join(DEGRADATIONS)}.")
    if condition != "none" and degradation == "bicubic":
        raise ValueError(
            f"Received: --condition {condition} with --degradation bicubic, whose strength is always 0. "
            "Expected --degradation gif, jpeg, real or mixed."
        )


def degrade(degradation: str, crop: np.ndarray, *, photo: np.ndarray, scale: int, random: np.random.Generator):
    """The low-resolution partner of a crop, and the strength of its degradation.

    Args:
        degradation: "bicubic", "gif", "jpeg", "real", or "mixed", which is one of the four with equal chances.
        crop: (c, c, 3) uint8, c a multiple of scale.
        photo: (H, W, 3) uint8, what the crop was cut from; a GIF's palette may have its colors too.
        scale: how many times smaller the partner is.
        random: the source of all draws.

    Returns:
        ((c / scale, c / scale, 3) uint8, strength in [0, 1]).
    """
    kinds = {"bicubic": bicubic, "gif": gif, "jpeg": jpeg, "real": real}
    if degradation == "mixed":
        degradation = random.choice(list(kinds))
    return kinds[degradation](crop, photo=photo, scale=scale, random=random)


def bicubic(crop, *, photo, scale, random):
    """The clean downscale: antialiased bicubic, of strength 0."""
    return square(crop, crop.shape[0] // scale), 0.0


def gif(crop, *, photo, scale, random):
    """A frame of a GIF: bicubic, then a palette of 2 to 256 colors (log-uniform), with or without dither.

    In half of the cases the palette is made for the frame alone. In the others it is made for one to three more crops
    of the photograph too, as a clip's global palette is. Strength is (8 - log2 colors) / 7.
    """
    colors = round(2 ** random.uniform(1, np.log2(MOST_COLORS)))
    small = square(crop, crop.shape[0] // scale)
    frames = [small]
    if random.random() < 0.5:
        others = random.integers(MOST_OTHER_FRAMES) + 1
        frames += [thinned_crop(photo, crop.shape[0], scale=scale, random=random) for _ in range(others)]
    palette = common_palette(frames, colors, quantizer=random.choice(list(QUANTIZERS)))
    dithered = to_palette(small, palette, dither=random.choice(DITHERS), origin=random.integers(8, size=2))
    return dithered, float(1 - np.log2(colors / 2) / np.log2(MOST_COLORS / 2))


def thinned_crop(photo, side, *, scale, random):
    """Every scale-th pixel of a random crop, which has a frame's colors."""
    top, left = random.integers(np.array(photo.shape[:2]) - side + 1)
    return photo[top : top + side : scale, left : left + side : scale]


def common_palette(frames: list[np.ndarray], colors: int, *, quantizer: str) -> np.ndarray:
    """A palette for all frames, as GIF encoders make it.

    Args:
        frames: uint8 (H, W, 3) of one width.
        colors: how many at most.
        quantizer: "median cut" or "octree", both Pillow's.

    Returns:
        (N, 3) uint8.
    """
    image = Image.fromarray(np.concatenate(frames)).quantize(colors, QUANTIZERS[quantizer])
    palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    return palette[: int(np.asarray(image).max()) + 1]  # an int, since 255 + 1 is 0 in uint8


def to_palette(pixels, palette, *, dither, origin=(0, 0)):
    """The picture in the palette's colors; `origin` is where in its pattern an ordered dither starts."""
    return palette[PaletteMapper(palette, dither).indices(pixels, origin)]


def jpeg(crop, *, photo, scale, random):
    """A picture that the web passed on without spoiling it: bicubic, and one or two JPEGs of qualities 100 to 30.

    In half of the cases it was a larger JPEG before, which a web site made smaller. Its side is log-uniform, from the
    low resolution's to the crop's. The amount of each JPEG (see `compress`) is uniform, and strength is the larger.
    """
    size = crop.shape[0] // scale
    last, before = random.random(), random.random()
    if random.random() < 0.5:
        crop = compress(square(crop, round(size * scale ** random.random())), random, amount=before)
    else:
        before = 0.0
    return compress(square(crop, size), random, amount=last), max(last, before)


def real(crop, *, photo, scale, random):
    """A picture that was taken, resized, compressed and passed on, twice: the second-order chain of Real-ESRGAN.

    The first round is blur, resizing, noise and JPEG in random order. The second is the same, but for its JPEG. That
    comes before or after the last resize, to crop / scale, and a sinc filter. The chain is that of Wang et al. 2021,
    arXiv:2107.10833, with the ranges of its code; but all resizing is antialiased, and kernels are Gaussian or sinc.

    Every step has an amount in [0, 1], 0 where it is left out. Strength is the largest of them, and is uniform.
    """
    size = crop.shape[0] // scale
    blur1, resize1, noise1, jpeg1, blur2, resize2, noise2, jpeg2, ringing = amounts = draw_amounts(9, random)
    first_round = [
        partial(blur, amount=blur1, widest=0.75, size=size),
        partial(
            random_resize,
            amount=resize1,
            start=scale * size,
            least=0.6 * size,
            most=1.5 * scale * size,
            shares=(0.2, 0.7, 0.1),
        ),
        partial(add_noise, amount=noise1, deviation=30),
        partial(compress, amount=jpeg1),
    ]
    second_round = [
        partial(blur, amount=blur2, widest=0.4, size=size),
        partial(random_resize, amount=resize2, start=size, least=0.3 * size, most=1.2 * size, shares=(0.3, 0.4, 0.3)),
        partial(add_noise, amount=noise2, deviation=25),
    ]
    last_steps = [partial(finish, amount=ringing, size=size), partial(compress, amount=jpeg2)]
    pixels = crop
    for steps in first_round, second_round, last_steps:
        pixels = in_random_order(pixels, random, steps)
    return pixels, float(amounts.max())


def draw_amounts(number, random):
    """Uniform amounts, some left out, scaled so that the largest is uniform too."""
    amounts = random.random(number) * (random.random(number) >= LEFT_OUT)
    return amounts * random.random() / max(amounts.max(), 1e-9)


def in_random_order(pixels, random, steps):
    """The picture after all steps, functions of (pixels, random)."""
    for i in random.permutation(len(steps)):
        pixels = steps[i](pixels, random)
    return pixels


def blur(pixels, random, *, amount, widest, size):
    """A Gaussian or, one time in ten, a sinc filter.

    Args:
        amount: 0 to 1; 1 is a standard deviation of `widest` pixels, or a cutoff of 0.8 pi.
        widest: in pixels of the low-resolution picture, as the cutoff is.
        size: the low-resolution picture's side; that of `pixels` may have been changed by earlier steps.
    """
    if not amount:
        return pixels
    zoom = pixels.shape[0] / size
    shape = random.choice(["isotropic", "anisotropic", "sinc"], p=[0.6, 0.3, 0.1])
    if shape == "sinc":
        return convolve(pixels, sinc_kernel(min(np.pi, 4 * np.pi * 0.2**amount / zoom), random.integers(3, 11)))
    along = across = amount * widest * zoom
    if shape == "anisotropic":
        across *= random.uniform(0.1, 1)
    return convolve(pixels, gaussian_kernel(along, across, random.uniform(0, np.pi)))


def gaussian_kernel(along, across, angle):
    """(K, K) of sum 1, with standard deviations in pixels along an axis at `angle` (radians) and across it."""
    radius = int(np.ceil(3 * max(along, across)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-((u / max(along, 0.1)) ** 2 + (v / max(across, 0.1)) ** 2) / 2)
    return kernel / kernel.sum()


def sinc_kernel(cutoff, radius):
    """(K, K) of sum 1: a circular low-pass filter, which makes edges ring. The cutoff is in radians a pixel."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    distance = np.hypot(x, y)
    distance[radius, radius] = 1
    kernel = bessel_j1(cutoff * distance) / distance
    kernel[radius, radius] = cutoff / 2
    return kernel / kernel.sum()


def bessel_j1(x):
    """J1 from Bessel's integral, to machine precision for |x| < 80."""
    t = np.arange(128) * (2 * np.pi / 128)
    return np.cos(t - x[..., None] * np.sin(t)).mean(-1)


def convolve(pixels, kernel):
    """The picture, mirrored at its borders, under an odd kernel (K, K)."""
    radius = len(kernel) // 2
    channels = np.pad(
        pixels.transpose(2, 0, 1).astype(np.float32), ((0, 0), (radius, radius), (radius, radius)), "symmetric"
    )
    shape = channels.shape[1:]
    spectrum = np.fft.rfft2(channels) * np.fft.rfft2(kernel.astype(np.float32), shape)
    return to_levels(np.fft.irfft2(spectrum, shape)[:, 2 * radius :, 2 * radius :].transpose(1, 2, 0))


def random_resize(pixels, random, *, amount, start, least, most, shares):
    """The picture at a side between `start` and one of three ends, by one of `RESIZERS`.

    Args:
        amount: 0 to 1; the side is start^(1 - amount) x end^amount.
        start: the side before any resizing.
        least, most: two of the ends; the third is `start` itself.
        shares: how often the end is `most`, `least` and `start`.
    """
    if not amount:
        return pixels
    end = random.choice([most, least, start], p=shares)
    return square(pixels, max(1, round(start ** (1 - amount) * end**amount)), RESIZERS[random.choice(list(RESIZERS))])


def square(pixels, side, resizer=BICUBIC):
    """(H, W, 3) -> (side, side, 3), antialiased where it shrinks."""
    return resize(pixels, (side, side), resizer)


def add_noise(pixels, random, *, amount, deviation):
    """Gaussian or Poisson noise with equal chances. A share of either is gray, the same in all channels.

    Args:
        amount: 0 to 1, of `deviation`.
        deviation: the largest standard deviation in levels; of Poisson noise, whose own grows with the level, at 100.
    """
    if not amount:
        return pixels
    gray = random.random() < GRAY_SHARE
    if random.random() < 0.5:
        noise = deviation * random.standard_normal((*pixels.shape[:2], 1 if gray else 3), np.float32)
    else:
        mean = pixels.mean(-1, keepdims=True) if gray else pixels
        noise = deviation / 10 * (random.poisson(mean) - mean)
    return to_levels(pixels + amount * noise)


def add_grain(pixels: np.ndarray, random: np.random.Generator, largest: float) -> np.ndarray:
    """The noise of `add_noise` on half of the pictures, its deviation there uniform from 0 to `largest` levels.

    Where the high resolution has grain, the low resolution keeps a trace of it. From that a generator learns which
    pictures have grain, and that a clean one stays clean.
    """
    return pixels if random.random() < 0.5 else add_noise(pixels, random, amount=random.random(), deviation=largest)


def compress(pixels, random, *, amount):
    """A JPEG of quality 100 to 30, by the amount alone. Below 90 its colors have half the resolution."""
    if not amount:
        return pixels
    quality, file = round(100 - 70 * amount), io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:4:4" if quality >= 90 else "4:2:0")
    return np.asarray(Image.open(file))


def finish(pixels, random, *, amount, size):
    """The last resize, to `size`, and a sharpened picture's ringing: a sinc filter with a cutoff of pi to pi / 3."""
    pixels = square(pixels, size)
    return convolve(pixels, sinc_kernel(np.pi * 3**-amount, random.integers(3, 11))) if amount else pixels
