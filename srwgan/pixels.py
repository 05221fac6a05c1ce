"""Pixels: the ranges that they come in, their luma, and resizing.

    levels   0..255 uint8, or 0..65535 uint16   files, and everything that reads, writes or measures them
    unit     0..1 float32                       the functions of utils.testGenerate
    range    -1..1 float32                      networks and losses

Functions on tensors import TensorFlow when they are called, since media files need none.
"""

import numpy as np
from PIL import Image

LUMA_SHARES = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
LUMA = 219 / 255 * LUMA_SHARES
BICUBIC = Image.Resampling.BICUBIC


# Ranges


def to_range(levels):
    """Levels 0..255 of any numeric type, a tensor or an array -> a float32 tensor in [-1, 1]."""
    import tensorflow as tf

    return tf.cast(levels, tf.float32) / 127.5 - 1.0


def range_to_levels(images):
    """Images in [-1, 1], a tensor or an array -> 0 to 255 of the same type, not rounded."""
    return (images + 1.0) * 127.5


def to_pixels(images) -> np.ndarray:
    """Images in [-1, 1], a tensor or an array -> an array of uint8 levels. What lies outside of [-1, 1] is clipped."""
    import tensorflow as tf

    return tf.cast(tf.round(range_to_levels(tf.clip_by_value(images, -1.0, 1.0))), tf.uint8).numpy()


def to_unit(levels: np.ndarray) -> np.ndarray:
    """Levels of uint8 or uint16 -> float32 in [0, 1]."""
    return levels / np.float32(np.iinfo(levels.dtype).max)


def unit_to_pixels(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] -> uint8 levels. What lies outside of [0, 1] is clipped."""
    return (np.clip(images, 0, 1) * 255 + 0.5).astype(np.uint8)


def unit_to_range(images):
    """Images in [0, 1], a tensor or an array -> in [-1, 1]."""
    return images * 2 - 1


def range_to_unit(images):
    """Images in [-1, 1], a tensor or an array -> in [0, 1]."""
    return (images + 1) / 2


def to_levels(values: np.ndarray) -> np.ndarray:
    """Numbers around 0..255 -> uint8 levels, rounded and clipped."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


# Luma


def luma(pixels: np.ndarray, shave: int = 0) -> np.ndarray:
    """The luma of ITU-R BT.601 as MATLAB's `rgb2ycbcr` gives it, but not rounded.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        shave: pixels left out at each side.

    Returns:
        (H - 2 shave, W - 2 shave) float64, 16 to 235.

    Raises:
        ValueError: other shapes or types.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"Received: a picture of shape {pixels.shape}, {pixels.dtype}. Expected (H, W, 3), uint8.")
    height, width = pixels.shape[:2]
    return 16 + pixels[shave : height - shave, shave : width - shave] @ LUMA


# Resizing


def resize(pixels: np.ndarray, size: tuple[int, int], filter=Image.Resampling.LANCZOS) -> np.ndarray:
    """Pixels at another size, by one of Pillow's filters, antialiased where the picture shrinks.

    Args:
        pixels: (H, W, C) uint8 or uint16; C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA. Colors count by their alpha, so
            that no fringe appears.
        size: (width, height).

    Returns:
        (height, width, C) of the same type.
    """
    size, channels = tuple(size), pixels.shape[-1]
    if pixels.shape[1::-1] == size:
        return pixels
    if channels in (1, 3) and pixels.dtype == np.uint8:
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        return np.asarray(image.resize(size, filter)).reshape(size[1], size[0], channels)
    if channels in (1, 3):
        return rounded([resize_plane(pixels[..., c], size, filter) for c in range(channels)], pixels.dtype)
    alpha = pixels[..., -1].astype(np.float32)
    new_alpha = resize_plane(alpha, size, filter)
    divisor = np.maximum(new_alpha, 1e-3)
    colors = [resize_plane(pixels[..., c] * alpha, size, filter) / divisor for c in range(channels - 1)]
    return rounded([*colors, new_alpha], pixels.dtype)


def resize_plane(plane, size, filter):
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, filter))


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """A square picture (S, S, C) in one of its eight positions.

    Args:
        turn: 0 to 7: quarter turns, mirrored first from 4 on.
    """
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if turn > 3 else pixels, turn))


def rounded(planes, dtype):
    return np.clip(np.stack(planes, -1) + 0.5, 0, np.iinfo(dtype).max).astype(dtype)


# Bicubic is the cubic convolution of Keys 1981 with a = -1/2, antialiased where the picture shrinks: that of MATLAB's
# imresize, of Pillow and of tf.image.resize(antialias=True). Low resolutions are made by it, and it is the upscaling
# that a generator has to beat.


def bicubic(pixels: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, C) levels -> (scale H, scale W, C) by bicubic interpolation."""
    height, width = pixels.shape[:2]
    return resize(pixels, (width * scale, height * scale), BICUBIC)


def upscale_bicubic(images, scale: int):
    """(B, H, W, 3) in [-1, 1] -> a tensor (B, scale H, scale W, 3) in [-1, 1] by bicubic interpolation."""
    import tensorflow as tf

    return tf.clip_by_value(resize_tensor(images, images.shape[1] * scale, images.shape[2] * scale), -1.0, 1.0)


def downscale(images, scale: int):
    """(B, H, W, 3) uint8 -> a float32 tensor (B, H / scale, W / scale, 3) of whole levels, by antialiased bicubic.

    The levels are rounded since a low-resolution file holds whole ones.
    """
    import tensorflow as tf

    small = resize_tensor(images, images.shape[1] // scale, images.shape[2] // scale)
    return tf.round(tf.clip_by_value(small, 0.0, 255.0))


def downscale_by_sums(images, scale: int):
    """`downscale` as weighted sums of rows and columns, for XLA, which has no kernel for an antialiased resize.

    The weights are those of that resize of an identity. A product with that matrix would be shorter, but accelerators
    round the factors of float32 products. The levels are those of `downscale` but for exact halves, of which sums in
    another order round some to the other side.

    Args:
        images: (B, S, S, 3) levels of any numeric type.

    Returns:
        (B, S / scale, S / scale, 3) float32, whole levels.
    """
    import tensorflow as tf

    side = images.shape[1]
    with tf.init_scope():  # a constant, whatever is traced
        matrix = resize_tensor(tf.eye(side)[None, :, :, None], side // scale, side)[0, :, :, 0].numpy()
    first, last = np.argmax(matrix != 0, axis=1), side - np.argmax(matrix[:, ::-1] != 0, axis=1)
    number = (last - first).max()
    places = np.minimum(first, side - number)[:, None] + np.arange(number)
    weights = np.take_along_axis(matrix, places, axis=1)  # (S / scale, number), all others are 0
    rows = tf.reduce_sum(tf.gather(tf.cast(images, tf.float32), places, axis=1) * weights[:, :, None, None], axis=2)
    small = tf.reduce_sum(tf.gather(rows, places, axis=2) * weights[:, :, None], axis=3)
    return tf.round(tf.clip_by_value(small, 0.0, 255.0))


def resize_tensor(images, height, width):
    import tensorflow as tf

    return tf.image.resize(images, [height, width], tf.image.ResizeMethod.BICUBIC, antialias=True)


# Optical flow


def import_opencv(needs: str):
    """The module `cv2`, which only what finds motion needs.

    Args:
        needs: who does, for the message: "Steady frames need".

    Raises:
        ImportError: it is not installed. The message says what to install.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"{needs} OpenCV, which is not installed. Run: python3 -m pip install -r requirements-steady.txt"
        ) from error
    return cv2
