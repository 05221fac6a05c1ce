"""What a page asks for, read from its JSON and checked; and what that will take."""

import math
from dataclasses import dataclass

from srwgan.convert.options import Options
from utils.app.models import AUTOMATIC, Choice
from utils.app.results import KINDS
from utils.app.sessions import GoneError, Upload

OWN_SIZE, EXACT_SIZE = "own", "exact"
SIZES = {"2": 2.0, "3": 3.0, "4": 4.0, "8": 8.0}
PRECISIONS = ("auto", "float32", "bfloat16")
LONGEST_SIDE = 100_000


class FieldError(ValueError):
    """Something in a form is wrong; `field` is the name of what."""

    def __init__(self, field: str, sentence: str):
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True)
class Wish:
    """Which files, and what of them.

    Attributes:
        files: the uploads to upscale.
        original: the upload to compare results with, or None.
        choice: the generator.
        options: the sizes and so on.
    """

    files: tuple[Upload, ...]
    original: Upload | None
    choice: Choice
    options: Options


@dataclass(frozen=True)
class Plan:
    """What one file will take and give.

    Attributes:
        model: the generator's name.
        key: what its pace is known by, see `Pace`.
        megapixels: of low resolution, all frames together, times the generator's cost, see `Models.cost`.
        seconds: expected.
        size: (width, height) of the result.
    """

    model: str
    key: tuple
    megapixels: float
    seconds: float
    size: tuple[int, int]


def read_wish(content, session, service) -> Wish:
    """The wish that a page's JSON states.

    Raises:
        FieldError: a field is missing or wrong.
    """
    if not isinstance(content, dict):
        raise FieldError("files", "Received: no JSON object. Expected one.")
    ids = content.get("files")
    if not isinstance(ids, list) or not ids:
        raise FieldError("files", "Choose a file first.")
    if len(ids) > service.limits.files:
        raise FieldError("files", f"{len(ids)} files at once. Expected at most {service.limits.files}.")
    original = content.get("original")
    return Wish(
        files=tuple(uploaded(session, "files", id) for id in ids),
        original=None if original is None else uploaded(session, "original", original),
        choice=read_choice(content, service.models),
        options=read_options(content, service.limits),
    )


def uploaded(session, field, id):
    try:
        return session.upload(id) if isinstance(id, str) else session.upload("")
    except GoneError:
        raise FieldError(field, "This file is not on the server any more. Please choose it again.") from None


def read_choice(content, models):
    model, precision = content.get("model", AUTOMATIC), content.get("precision", "auto")
    if not isinstance(model, str) or model not in (AUTOMATIC, *models.generators):
        raise FieldError("model", f"Received: model {model}. Expected one of {', '.join(models.generators)}.")
    if precision not in PRECISIONS:
        raise FieldError("precision", f"Received: {precision}. Expected one of {', '.join(PRECISIONS)}.")
    fidelity = number(content, "fidelity", least=0, most=1, default=0)
    if not models.has_faithful_end(model or models.first):
        fidelity = 0.0
    return Choice(model, precision, fidelity)


def read_options(content, limits):
    size, exact = content.get("size", OWN_SIZE), None
    if size not in (OWN_SIZE, EXACT_SIZE, *SIZES):
        raise FieldError("size", f"Received: {size}. Expected one of {', '.join((OWN_SIZE, *SIZES, EXACT_SIZE))}.")
    if size == EXACT_SIZE:
        sides = [number(content, side, least=1, most=LONGEST_SIDE) for side in ("width", "height")]
        if not all(side == int(side) for side in sides):
            raise FieldError("width", f"Received: {sides[0]:g} x {sides[1]:g}. Expected whole numbers.")
        exact = int(sides[0]), int(sides[1])
    return Options(
        scale_out=SIZES.get(size),
        size=exact,
        deband=content.get("deband") is True,
        steady=content.get("steady") is True,
        max_pixels=limits.pixels,
    )


def number(content, field, *, least, most, default=None):
    """A number from `least` to `most`."""
    value = content.get(field, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not least <= value <= most:
        received = "nothing" if value is None else str(value)[:20]
        raise FieldError(field, f"Received: {received}. Expected a number from {least:,} to {most:,}.")
    return float(value)


def planned(wish: Wish, upload: Upload, service) -> Plan:
    """What one of the wish's files will take and give.

    Raises:
        FieldError: the result would be too large.
    """
    facts, choice = upload.facts, wish.choice
    model = service.models.name_for(facts.kind, choice)
    scale = service.models.scale(model)
    size = wish.options.result_size(facts.width, facts.height, scale)
    try:
        service.limits.check_result(upload.path.name, *size)
    except ValueError as error:
        raise FieldError("size", str(error)) from error
    kind = f"steady {facts.kind}" if wish.options.steady and facts.kind != "image" else facts.kind
    key, megapixels = (model, choice.precision, kind), facts.megapixels * service.models.cost(model)
    return Plan(model, key, megapixels, service.pace.seconds(key, megapixels), size)


def originals_note(wish: Wish) -> str | None:
    """A word on an original that will not be compared with; None where it may be."""
    if wish.original is None:
        return None
    name = wish.original.path.name
    if wish.original.facts.kind != "image":
        return f"{name} is {KINDS[wish.original.facts.kind]}: only a picture is compared with, so it is left out."
    if all(upload.facts.kind != "image" for upload in wish.files):
        return f"{name} is left out: only pictures are compared."
    return None
