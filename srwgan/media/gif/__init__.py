"""GIFs in and out: the names that the rest of the project uses, imported when they are first used."""

from srwgan.lazy import lazily

PUBLIC = {  # name -> the module that it is in
    "Debander": "srwgan.media.gif.debanding",
    "GifReader": "srwgan.media.gif.reader",
    "GifWriter": "srwgan.media.gif.writer",
    "Trial": "srwgan.media.gif.optimizer",
    "build_palette": "srwgan.media.gif.palettes",
    "deband": "srwgan.media.gif.debanding",
    "gif_info": "srwgan.media.gif.reader",
    "optimize_gif": "srwgan.media.gif.optimizer",
}
__all__ = sorted(PUBLIC)
__getattr__, __dir__ = lazily(__name__, PUBLIC)
