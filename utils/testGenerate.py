"""Generators in notebooks and scripts: load one, give it images, batches, GIFs and videos.

    gen_model = load_gen("SRWGAN_Gen")
    super_res = generate_one_img(gen_model, load_img("Images/sample.png"))
    super_res = generate_one_img(gen_model, imageio.v3.imread("Images/sample.png"))
    generate_gif(gen_model, "Images/sample.gif", resize=None)

`gen_model` is what `load_gen` gives, or a `srwgan.networks.generator.Generator` that you train. Images are float32 in
[0, 1] or [-1, 1], as each function says; where images go in, uint8 and uint16 levels, as imageio reads them, do too.
Images of any size go through `srwgan.upscaling.upscaler.Upscaler`. Files with all that is in them (transparency, 16
bits, profiles, ...) go through `srwgan.convert.files`.
"""

import hashlib
import warnings
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image

from srwgan.commandline import one_line
from srwgan.convert.files import upscale_file
from srwgan.convert.jobs import Job, kind_of, plan_target
from srwgan.convert.options import Options
from srwgan.media.animation import AnimationReader
from srwgan.media.gif import GifReader, GifWriter, gif_info, optimize_gif
from srwgan.media.still.images import flattened, read_image
from srwgan.media.video import CONTAINERS, VideoReader, VideoWriter
from srwgan.networks.mixing import load_at_fidelity
from srwgan.networks.model_folder import named_model
from srwgan.networks.sampling import sampling_of
from srwgan.pixels import BICUBIC, range_to_unit, resize, to_unit, unit_to_pixels, unit_to_range
from srwgan.upscaling.network import check_strength
from srwgan.upscaling.upscaler import Upscaler, check_sampling

__all__ = [
    "crop2square", "generate_batches", "generate_gif", "generate_one_img", "generate_video", "gif_info", "load_gen",
    "load_gif", "load_img", "save_gif",
]  # fmt: skip

BASE_PATH = "./generated_samples"
LEVELS = (np.uint8, np.uint16)
MODEL = "SRWGAN_Gen"


def load_gen(
    path=MODEL,
    fidelity: float = 0.0,
    strength: float | None = None,
    *,
    steps: int | None = None,
    seed: int | None = None,
    sampler: str | None = None,
):
    """The generator in a folder that `train_SRWGAN.py` exported, or any SavedModel that maps images to images.

    Args:
        path: a folder. "robust" is SRWGAN_Gen/robust, made for GIFs and compressed pictures, "fast" SRWGAN_Gen/fast,
            made for videos, "faithful" SRWGAN_Gen/faithful and "diffusion" SRWGAN_Gen/diffusion, where it is there.
        fidelity: from 0, sharp (`path` itself), to 1, faithful (`path`/faithful); between them their weights are mixed.
        strength: of the degradation of the pictures to come, 0 to 1, for a generator trained with --condition noise.
        steps: of a diffusion model, 1 to 50: how often it is run for a picture. By default as its training said.
        seed: of a diffusion model's noise. Another one draws other detail. By default 0.
        sampler: of a diffusion model, "deterministic" (the default) or "stochastic".

    Raises:
        FileNotFoundError: there is no such folder, or no faithful end where one is needed.
        ValueError: a folder without a generator, or a fidelity, strength, steps, seed or sampler that it cannot take.
    """
    sampling = sampling_of(steps=steps, seed=seed, sampler=sampler)
    gen_model = load_at_fidelity(named_model(path, MODEL), fidelity)
    if strength is not None:
        check_strength(strength, getattr(gen_model, "condition", "none") == "noise")
        gen_model.strength = strength
    if sampling is not None:
        check_sampling(sampling, gen_model)
        gen_model.sampling = sampling
    return gen_model


def load_img(imname, base_path="", resize=None, centralize: bool = False) -> np.ndarray:
    """An image as float32 RGB (H, W, 3) in [0, 1], or in [-1, 1] with `centralize`; transparent parts on white.

    Args:
        imname: its path, as it is or under `base_path`.
        resize: (width, height) that the centered square is resized to; None keeps the picture whole.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an image, or damaged.
    """
    pixels = opaque_rgb(read_image(find_source(imname, base_path)).pixels)
    if resize is not None:
        pixels = resized_square(pixels, resize)
    return unit_to_range(to_unit(pixels)) if centralize else to_unit(pixels)


def crop2square(img):
    """The centered square of an array (H, W, C) or a PIL image, as the same type."""
    height, width = (img.height, img.width) if isinstance(img, Image.Image) else img.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    if isinstance(img, Image.Image):
        return img.crop((left, top, left + side, top + side))
    return img[top : top + side, left : left + side]


def generate_one_img(gen_model, img) -> np.ndarray:
    """Upscale one image.

    Args:
        img: (H, W, 3) in [0, 1], or a batch of one; also levels, uint8 or uint16, with 1 to 4 channels or none.

    Returns:
        float32 (scale H, scale W, 3) in [0, 1]; of a batch, a batch.

    Raises:
        ValueError: other shapes.
    """
    img = np.asarray(img)
    img = to_unit(opaque_rgb(img)) if img.dtype in LEVELS else np.asarray(img, np.float32)
    batch = img if img.ndim == 4 else img[None]
    result = range_to_unit(generate_batches(gen_model, unit_to_range(batch), 1))
    return result if img.ndim == 4 else result[0]


def generate_batches(gen_model, imgs, batch_size: int = 8) -> np.ndarray:
    """Upscale images of one size, `batch_size` at a time.

    Args:
        imgs: (N, H, W, 3) in [-1, 1]; also levels, uint8 or uint16, with 1 to 4 channels.

    Returns:
        float32 (N, scale H, scale W, 3) in [-1, 1].

    Raises:
        ValueError: other shapes, or a batch_size below 1.
    """
    imgs = np.asarray(imgs)
    if imgs.dtype in LEVELS and imgs.ndim == 4:
        imgs = unit_to_range(to_unit(opaque_rgb(imgs)))
    imgs = np.asarray(imgs, np.float32)
    if imgs.ndim != 4 or imgs.shape[-1] != 3 or 0 in imgs.shape:
        raise ValueError(f"Received: images of shape {imgs.shape}. Expected (N, H, W, 3).")
    return upscaler_for(gen_model, batch_size).tensor(imgs)


def load_gif(src_filename, base_path="", resize=None, centralize: bool = True) -> np.ndarray:
    """An animation's frames as played, float32 RGB (N, H, W, 3) in [-1, 1] (in [0, 1] without `centralize`), on white.

    All frames are held in memory. `gif_info` has a GIF's durations and loop count.

    Args:
        src_filename: the path of a GIF, of an animated PNG, WebP or AVIF, or of other pictures in one file that imageio
            reads, such as a TIFF's pages.
        base_path, resize: as in `load_img`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an animation or an image, or damaged.
    """
    frames = read_frames(find_source(src_filename, base_path))
    if resize is not None:
        frames = (resized_square(frame, resize) for frame in frames)
    frames = to_unit(np.stack([opaque_rgb(frame) for frame in frames]))
    return unit_to_range(frames) if centralize else frames


def read_frames(path):
    """Yield the frames of an animation, uint8 (H, W, 4).

    Animations are composed as browsers do (see `GifReader` and `AnimationReader`), other files are read by imageio.
    """
    reader_class = {"gif": GifReader, "animation": AnimationReader}.get(kind_of(path))
    if reader_class:
        with reader_class(path) as reader:
            yield from (frame for frame, _ in reader)
        return
    try:
        yield from iio.imiter(path, plugin="pillow", mode="RGBA")
    except OSError as error:
        raise ValueError(f"Received: {path}, which cannot be read ({one_line(error)}). Expected frames.") from error


def save_gif(frames, filename, duration=100, loop: int | None = 0, centralized: bool = True):
    """Write frames as a GIF, which gifsicle makes smaller; where none runs, a warning says so.

    Args:
        frames: (N, H, W, 3) in [-1, 1], in [0, 1] without `centralized`; or uint8, (N, H, W, 3 or 4).
        duration: ms of each frame: one number, or a sequence of N.
        loop: how often it plays, 0 for ever, None once.

    Raises:
        ValueError: other shapes, or durations that are not one or N.
        OSError: the file cannot be written.
    """
    frames = np.asarray(frames)
    durations = [duration] * len(frames) if np.isscalar(duration) else list(duration)
    if frames.ndim != 4 or len(frames) == 0 or len(durations) != len(frames):
        received = f"frames of shape {frames.shape} and {len(durations)} durations"
        raise ValueError(f"Received: {received}. Expected (N, H, W, 3) and one or N.")
    with GifWriter(filename, frames.shape[2:0:-1], loop) as writer:
        for frame, milliseconds in zip(frames, durations, strict=True):
            if frame.dtype != np.uint8:
                frame = unit_to_pixels(range_to_unit(frame) if centralized else frame)
            writer.write(frame, milliseconds)
    optimize_gif(filename)


def generate_gif(gen_model, src_filename, resize=(64, 64), batch_size=8, base_path=BASE_PATH, **options):
    """Upscale a GIF; durations, loop count and transparency stay its own.

    Beside the source, NAME_resized.gif is what went into the generator and NAME_SR.gif what came out. Both are made
    smaller by gifsicle; where none runs, a warning says so.

    Args:
        src_filename: its path, as it is or under `base_path`.
        resize: (width, height) that the centered square is resized to before the generator; with None the GIF goes in
            as it is, and there is no NAME_resized.gif.
        batch_size: frames at once.
        options: of `srwgan.convert.options.Options`: steady, deband, palette, dither, ...

    Returns:
        The path of NAME_SR.gif.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a GIF, or damaged; or options that do not fit.
    """
    source = find_source(src_filename, base_path)
    if kind_of(source) != "gif":
        raise ValueError(f"{source} is not a GIF.")
    result, low_res = source.with_name(f"{source.stem}_SR.gif"), source
    if resize is not None:
        low_res = source.with_name(f"{source.stem}_resized.gif")
        resize_gif(source, low_res, resize)
    upscale_with_warnings(upscaler_for(gen_model, batch_size), low_res, result, Options(**options))
    return str(result)


def generate_video(gen_model, src_filename, resize=None, batch_size=8, base_path=BASE_PATH, **options):
    """Upscale a video into NAME_SR.EXT beside it, with its times and its sound.

    Args:
        src_filename, resize, batch_size: as in `generate_gif`; with `resize`, NAME_resized.EXT is written too.
        options: of `srwgan.convert.options.Options`: steady, codec, crf, resume, size, format, ...

    Returns:
        The path of the result.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a video, or damaged; or options that do not fit.
        ImportError: PyAV is not installed.
    """
    source = find_source(src_filename, base_path)
    if kind_of(source) != "video":
        raise ValueError(f"{source} is not a video.")
    options = Options(**options)
    result, low_res = plan_target(Job(source, source.parent), scale=gen_model.scale, options=options)[0], source
    if resize is not None:
        low_res = result.with_name(f"{source.stem}_resized{result.suffix if result.suffix in CONTAINERS else '.mp4'}")
        resize_video(source, low_res, resize)
    upscale_with_warnings(upscaler_for(gen_model, batch_size), low_res, result, options)
    return str(result)


def find_source(name, base_path):
    for path in (Path(name), Path(base_path) / name):
        if path.exists():
            return path
    raise FileNotFoundError(f"{name}: no such file, neither as it is nor in {base_path or 'the current folder'}.")


def opaque_rgb(pixels):
    """Levels with 1 to 4 channels, or a gray picture without that axis, as RGB; transparent parts on white."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = flattened(pixels) if pixels.shape[-1] in (2, 4) else pixels
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3)) if pixels.shape[-1] == 1 else pixels


def resized_square(pixels, size):
    """The centered square at (width, height), by the antialiased bicubic filter that the generator was trained on."""
    return resize(crop2square(pixels), size, BICUBIC)


def resize_gif(source, target, size):
    with GifReader(source) as reader, GifWriter(target, size, reader.loop, reader.comments) as writer:
        for frame, milliseconds in reader:
            writer.write(resized_square(frame, size), milliseconds)
    optimize_gif(target)


def resize_video(source, target, size):
    with VideoReader(source) as reader, VideoWriter(target, size, source=reader, crf=10) as writer:
        for frame, time in reader:
            writer.write(resized_square(frame, size), time)


def upscale_with_warnings(upscaler, source, target, options):
    for line in upscale_file(upscaler, source, target, options=options):
        warnings.warn(line, stacklevel=3)


UPSCALERS = {}  # holds the one last used, since compiling takes seconds


def upscaler_for(gen_model, batch_size):
    """An Upscaler of a generator with the weights that it has now."""
    if batch_size < 1:
        raise ValueError(f"Received: batch_size={batch_size}. Expected 1 or more.")
    weights = gen_model.get_weights() if hasattr(gen_model, "get_weights") else []
    digest = hashlib.sha256(b"".join(array.tobytes() for array in weights)).digest()
    key = id(gen_model), digest, batch_size, *(getattr(gen_model, name, None) for name in ("strength", "sampling"))
    if key not in UPSCALERS:
        UPSCALERS.clear()
        UPSCALERS[key] = Upscaler(gen_model, batch_size=batch_size)
    return UPSCALERS[key]
