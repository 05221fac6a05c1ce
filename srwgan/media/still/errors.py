"""Why a picture cannot be read, in one line: it is damaged, of a kind that is not supported, or not an image."""

import errno
import io
import re
from contextlib import contextmanager

from PIL import Image

from srwgan.media.kinds import AUDIO_SUFFIXES, HEAD_BYTES, VIDEO_TYPES, type_of


class ReadError(ValueError):
    """An error whose message is already the line to show."""


class Damaged(ReadError):
    """A file that was a picture: cut off, or overwritten."""


class CutOff(Damaged):
    """A file that ends too early."""


class Unsupported(ReadError):
    """A whole picture of a kind that no decoder here reads."""


# What decoders say of files that are whole but not for them. All else is taken for damage.
UNSUPPORTED_WORDS = re.compile(
    r"unsupported|not (yet )?support|not implemented|unimplemented|cannot (handle|decode|load)|can't|ghostscript|"
    r"unknown (pixel mode|compression|format|encoding|pixel format|photometric)|unrecogni[sz]ed (pixel|image) mode|"
    r"only .* supported|no decoder|library not available|codec .* not found|decoder \w+ not available|"
    r"cannot find loader|needs \w+ installed",
    re.IGNORECASE,
)
CUT_OFF_WORDS = re.compile(r"truncated|not enough|too short|end of file|unexpected eof|premature|incomplete", re.I)


@contextmanager
def decoding_errors(path, data=None):
    """Decoders' many kinds of error as one `ReadError` in one line, without what the decoder says.

    Args:
        path: the file.
        data: its bytes, or their start, where they were read; otherwise they are read after an error.
    """
    try:
        yield
    except (ReadError, PermissionError):
        raise
    except MemoryError:
        raise ReadError(f"{path}: too large for this machine's memory.") from None
    except NameError as error:
        if type(error) is NameError:
            raise  # a fault of this project
        raise explained(error, path, data) from error
    except Exception as error:  # plugins raise OSError, SyntaxError, struct.error, IndexError, zlib.error, ...
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the system: no such file, a disk that fails; a decoder that seeks nowhere gets EINVAL
        raise explained(error, path, data) from error


def explained(error, path, data=None):
    """The `ReadError` to show for what a decoder raised on the file `path`."""
    if data is None:
        with open(path, "rb") as file:
            data = file.read()
    found = type_of(data[:HEAD_BYTES])
    unidentified = isinstance(error, Image.UnidentifiedImageError)
    if found is None and unidentified:
        return not_an_image(path)
    if found in VIDEO_TYPES or found == "audio":
        return ReadError(f"{path}: not an image but {'a sound file' if found == 'audio' else 'a video'} ({found}).")
    name = found or "picture"
    texts = [str(error)] if not unidentified else plugin_errors(data)
    if unidentified and not texts:  # no plugin knows such files
        return unsupported(path, name)
    if isinstance(error, NotImplementedError) or any(UNSUPPORTED_WORDS.search(text) for text in texts):
        return unsupported(path, name)
    if any(CUT_OFF_WORDS.search(text) for text in texts):
        return CutOff(f"{path}: damaged: the {name} is cut off.")
    return Damaged(f"{path}: damaged: the {name} cannot be decoded.")


def not_an_image(path):
    if str(path).lower().endswith(tuple(AUDIO_SUFFIXES)):
        return ReadError(f"{path}: not an image but a sound file. Expected an image, GIF or video.")
    return ReadError(f"{path}: not an image. Expected an image, GIF or video.")


def unsupported(path, name, what=None, expected="a PNG, JPEG, WebP or TIFF of 8 or 16 bits"):
    """An `Unsupported` error for a whole file of the type `name`, about `what` of it where that is known."""
    what = f" with {what}" if what else ""
    article = "an" if name[0] in "AEIOX" or name in ("MPEG", "SGI") else "a"
    return Unsupported(f"{path}: {article} {name}{what}, which is not supported. Expected {expected}.")


def plugin_errors(data):
    """What Pillow's plugins say of a file that none of them opens; `Image.open` itself keeps it to itself."""
    texts = []
    for factory, accept in list(Image.OPEN.values()):
        try:
            accepted = not accept or accept(data[:16])
            if isinstance(accepted, str):
                texts.append(accepted)
            elif accept and accepted:
                factory(io.BytesIO(data), "")
        except Exception as error:
            texts.append(str(error))
    return texts
