"""GIFs in and out: the names that the rest of the project uses."""

from srwgan.deband import Debander, deband
from srwgan.gif_optimizer import optimize_gif
from srwgan.gif_reader import GifReader, gif_info
from srwgan.gif_writer import GifWriter
from srwgan.palettes import build_palette

__all__ = ["Debander", "GifReader", "GifWriter", "build_palette", "deband", "gif_info", "optimize_gif"]
