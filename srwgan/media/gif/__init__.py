"""GIFs in and out: the names that the rest of the project uses."""

from srwgan.media.gif.deband import Debander, deband
from srwgan.media.gif.optimizer import optimize_gif
from srwgan.media.gif.palettes import build_palette
from srwgan.media.gif.reader import GifReader, gif_info
from srwgan.media.gif.writer import GifWriter

__all__ = ["Debander", "GifReader", "GifWriter", "build_palette", "deband", "gif_info", "optimize_gif"]
