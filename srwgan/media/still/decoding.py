"""What Pillow opens, as pixels that a person would recognise; 16-bit colours past Pillow, which reduces them to 8."""

import io

import numpy as np
from PIL import ImageCms


class ReadError(ValueError):
    """An error whose message is already the line to show."""


def decode(image, path):
    """(H, W, C) uint8 or uint16 pixels as stored, before EXIF orientation."""
    if image.mode.startswith(("I", "F")):
        return sixteen_bit_gray(image, path)
    image.load()
    return with_channels(np.asarray(plain_mode(image)))


def deep_png(image):
    """Whether this is a (yet undecoded) PNG of 16 bits a sample, whose colours Pillow would reduce to 8."""
    return image.format == "PNG" and any("16B" in str(tile[3]) for tile in image.tile)


def deep_tiff(image):
    """Whether this is a TIFF of unsigned 16-bit colour samples, which Pillow would reduce to 8."""
    if image.format != "TIFF" or image.mode not in ("RGB", "RGBA", "RGBX"):
        return False
    return set(image.tag_v2.get(258, ())) == {16} and set(image.tag_v2.get(339, (1,))) == {1}


def decode_deep(image, data, path):
    """(H, W, C) uint16 pixels, past Pillow."""
    return decode_deep_png(image, data) if image.format == "PNG" else decode_deep_tiff(data, path)


def decode_deep_png(image, data):
    import tensorflow as tf  # here, since 8-bit pictures need no TensorFlow

    if "transparency" not in image.info:  # one colour that is transparent
        return tf.io.decode_png(data, dtype=tf.uint16).numpy()
    rgba = tf.io.decode_png(data, channels=4, dtype=tf.uint16).numpy()
    return rgba[..., [0, 3]] if image.mode.startswith("I") else rgba


def decode_deep_tiff(data, path):
    tifffile = import_tifffile(path)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        try:
            pixels = page.asarray()
        except (ValueError, KeyError, ImportError) as error:
            if "imagecodecs" not in str(error):
                raise
            name = page.compression.name
            raise ReadError(f"{path}: 16-bit TIFF with {name} compression needs: pip install imagecodecs") from None
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            pixels = np.moveaxis(pixels, 0, -1)
        extra = page.extrasamples
    if pixels.shape[-1] > 3 and not extra or pixels.shape[-1] > 4:
        pixels = pixels[..., : 4 if extra else 3]
    if extra and extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        return straight_alpha(pixels)
    if extra and extra[0] != tifffile.EXTRASAMPLE.UNASSALPHA:
        return pixels[..., :3]
    return pixels


def import_tifffile(path):
    try:
        import tifffile  # here, since only 16-bit TIFF needs it
    except ImportError:
        raise ReadError(f"{path}: 16-bit TIFF needs: pip install tifffile") from None
    return tifffile


def straight_alpha(pixels):
    """Colours divided by their alpha, of premultiplied (H, W, 4) uint16 pixels."""
    alpha = np.maximum(pixels[..., 3:].astype(np.float32), 1)
    colours = np.minimum(pixels[..., :3] * (65535 / alpha) + 0.5, 65535)
    return np.concatenate([colours.astype(np.uint16), pixels[..., 3:]], axis=-1)


def sixteen_bit_gray(image, path):
    pixels = np.asarray(image)
    if image.mode.startswith("F") or pixels.min() < 0 or pixels.max() > 65535:
        raise ReadError(f"{path}: samples of more than 16 bits. Expected 8 or 16 bits unsigned.")
    return with_channels(pixels.astype(np.uint16))


def plain_mode(image):
    """The image in mode L, LA, RGB or RGBA."""
    transparent = "transparency" in image.info
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("LA" if transparent or image.mode in ("LA", "La") else "L")
    if image.mode in ("CMYK", "LAB"):
        return colour_managed(image)
    if image.mode in ("PA", "RGBA", "RGBa") or transparent:
        return image.convert("RGBA")
    return image.convert("RGB")


def colour_managed(image):
    """CMYK or Lab to sRGB by the picture's ICC profile; without one, Lab by definition, CMYK by Pillow's formula."""
    profile = image.info.get("icc_profile")
    try:
        if image.mode == "LAB":
            source = ImageCms.createProfile("LAB")
        elif profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            return image.convert("RGB")
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")  # a damaged profile, or one of another colour space


def with_channels(pixels):
    return pixels[..., None] if pixels.ndim == 2 else pixels
