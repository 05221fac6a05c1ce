"""Generators for LiteRT, TensorFlow's runtime for phones and small computers: `generator.tflite`, and running it.

The file has two signatures that share the weights, both float32, RGB in [-1, 1], of any height and width:

    serving_default   images (1, H, W, 3) -> output (1, scale H, scale W, 3)               edges included
    tiles             tiles (1, h + 2 margin, w + 2 margin, 3) -> output (1, scale h, scale w, 3)

The size of a tile's result tells the margin: files up to version 1.0 take a whole halo off their tiles.

LiteRT starts in a twentieth of the time that TensorFlow takes, and needs no TensorFlow. See `TiledUpscaler` for what
both engines share.
"""

import json
import tempfile
import threading
from pathlib import Path

import numpy as np

from srwgan.commandline import stderr_held_back
from srwgan.memory import usable_cores
from srwgan.networks.model_folder import CONFIG_FILE, LITERT_FILE
from srwgan.upscaling.tiled import TiledUpscaler
from srwgan.upscaling.transparency import pixels_within_neighbors
from srwgan.whole_files import written_whole


def export_litert(generator, path) -> None:
    """Write a generator as a LiteRT file, in float32.

    Args:
        generator: a `Generator` without attention, Fourier upsampling or a condition.
        path: of the file.

    Raises:
        ValueError: a generator with one of these.
        OSError: the file cannot be written.
    """
    import tensorflow as tf

    from srwgan.networks.edges import with_margin
    from srwgan.upscaling.network import network_for

    if not getattr(generator, "is_plain", False):
        raise ValueError("Received: a generator with options that LiteRT does not have. Expected a plain one.")
    network = network_for(generator, "float32")
    spec = [tf.TensorSpec([1, None, None, 3], tf.float32)]

    class Module(tf.Module):
        @tf.function(input_signature=spec, autograph=False)
        def tiles(self, tiles):
            return {"output": network.shuffled(network.sub_pixels(tiles))}

        @tf.function(input_signature=spec, autograph=False)
        def images(self, images):
            return self.tiles(with_margin(images, network.margin))

    module = Module()
    signatures = {"serving_default": module.images, "tiles": module.tiles}
    concrete = [function.get_concrete_function() for function in signatures.values()]
    content = converted(module, dict(zip(signatures, concrete, strict=True)))
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def add_litert(generator, folder) -> bool:
    """Write `generator.tflite` into a generator's folder, where LiteRT has its options; returns whether it has."""
    plain = getattr(generator, "is_plain", False)
    if plain:
        export_litert(generator, Path(folder) / LITERT_FILE)
    return plain


def converted(module, signatures) -> bytes:
    """A module's functions as a LiteRT file, through a SavedModel, which alone has named signatures."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        return converter.convert()


class LiteNetwork:
    """A folder's `generator.tflite`: what `TiledUpscaler` asks of a network.

    Args:
        folder: with `generator.tflite` and `config.json`.

    Raises:
        ImportError: LiteRT is not installed.
        FileNotFoundError: one of the files is missing.
        ValueError: one of them cannot be read.
    """

    precision, whole = "float32", False

    def __init__(self, folder):
        interpreter = import_interpreter()
        folder = Path(folder)
        for name in (LITERT_FILE, CONFIG_FILE):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"Received: model {folder}, without {name}. Expected a folder with it.")
        try:
            config = json.loads((folder / CONFIG_FILE).read_text())
            self.scale, self.halo = config["scale"], config["receptive_field"]
            self.alignment, self.filters = config["alignment"], config["filters"]
            with stderr_held_back():  # where LiteRT tells, at its first run, of the kernels that it takes
                self.interpreter = interpreter(str(folder / LITERT_FILE), num_threads=usable_cores())
                self.run = self.interpreter.get_signature_runner("tiles")
                side = 2 * self.halo + 1
                result = self.run(tiles=np.zeros((1, side, side, 3), np.float32))["output"]
                self.margin = (side - result.shape[1] // self.scale) // 2
                self.halo = max(self.halo, self.margin)
        except (ValueError, KeyError, RuntimeError) as error:
            raise ValueError(f"Received: {folder / LITERT_FILE}, not a generator that LiteRT reads.") from error
        self.lock = threading.Lock()  # an interpreter runs one input at a time

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """(1, h + 2 margin, w + 2 margin, 3) float32 in [-1, 1] -> (1, scale h, scale w, 3) float32."""
        with self.lock:
            return self.run(tiles=np.ascontiguousarray(tile))["output"]

    def bytes_per_pixel(self) -> int:
        """Memory that a tile needs, for each low-resolution pixel: the activations that live at once, in float32."""
        return 4 * self.filters * 4 * self.scale**2 // 2


class LiteGraph:
    """A `LiteNetwork` between pixels of one kind, as `PixelGraph` is a TensorFlow network between them.

    Args:
        dtype: of the pixels, in and out: "uint8", "uint16", or "float32" in [-1, 1].
        is_alpha: whether the one channel is transparency, which stays within the range of its neighbors.
    """

    def __init__(self, network: LiteNetwork, dtype: str, *, is_alpha: bool):
        self.network, self.dtype, self.is_alpha = network, np.dtype(dtype), is_alpha
        self.half_range = np.iinfo(self.dtype).max / 2 if self.dtype.kind == "u" else None

    def windows(self, pixels: np.ndarray) -> np.ndarray:
        """(B, h + 2 margin, w + 2 margin, C) -> (B, scale h, scale w, C)."""
        return np.concatenate([self.window(window) for window in np.split(pixels, len(pixels))])

    def window(self, pixels):
        low_res = pixels.astype(np.float32)
        if self.half_range:
            low_res = low_res / np.float32(self.half_range) - 1
        channels = pixels.shape[-1]
        high_res = self.network(np.repeat(low_res, 3, axis=-1) if channels == 1 else low_res)
        np.clip(high_res, -1, 1, out=high_res)  # in place, here and below: a first use of memory costs as much
        if channels == 1:
            high_res = high_res.mean(axis=-1, keepdims=True)
        if self.half_range is None:
            return high_res
        high_res += 1
        high_res *= np.float32(self.half_range)
        if self.is_alpha:
            low_levels = pixels.astype(np.float32)
            high_res = pixels_within_neighbors(high_res, low_levels, self.network.scale, halo=self.network.margin)
        high_res += np.float32(0.5)
        return high_res.astype(self.dtype)


class LiteUpscaler(TiledUpscaler):
    """`Upscaler` on LiteRT: the same pixels to one level, without TensorFlow.

    Args:
        folder: with `generator.tflite`, as `--savemodel True` writes it.
        tile: side of square tiles in low-resolution pixels. By default a tile is as large as memory allows.
    """

    def __init__(self, folder, tile: int | None = None):
        super().__init__(LiteNetwork(folder), tile=tile)
        self.folder = Path(folder)

    def make_graph(self, dtype: str, channels: int, *, is_alpha: bool) -> LiteGraph:
        return LiteGraph(self.network, dtype, is_alpha=is_alpha)


def has_litert() -> bool:
    """Whether LiteRT is installed."""
    try:
        import_interpreter()
    except ImportError:
        return False
    return True


def import_interpreter():
    """The class that runs a file.

    Raises:
        ImportError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError("LiteRT is not installed. Run: python3 -m pip install -r requirements-lite.txt") from error
    return Interpreter
