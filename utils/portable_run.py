#!/usr/bin/env python3
"""Trains with a folder that `train_SRWGAN.py --export-step` wrote, on any accelerator that JAX drives.

    python3 -m utils.portable_run FOLDER --seconds 480 --output OUT

Needs JAX and NumPy, nothing else of this project: this file and FOLDER can be copied to a bare machine and run there
with `python3 portable_run.py FOLDER ...`. Then `train_SRWGAN.py --import-state OUT` brings the result back.

The photographs lie on the device; crops are cut, flipped and turned there, and a call runs many steps. OUT gets, once a
minute and at the end, each file written whole:

    state.npz     everything that training changes, to go on from (--resume) and to bring back
    average.npz   the averaged generator's weights alone
    teacher.npz   of a student, the weights of a teacher that --teacher gave
    log.json      losses, PSNR of the held-out crops, rates and images a second
    samples/      pictures of held-out crops: low resolution, what the averaged generator makes of it, the original

With --seconds the learning rate follows the time that has gone, counted from the start of this program, compilation
included; with --steps it follows the steps, as TensorFlow's does. The warm-up on the reconstruction loss has the share
of either that its epochs have.
"""

import time

BEGAN = time.monotonic()

import argparse  # noqa: E402 (the clock starts first)
import contextlib  # noqa: E402
import dataclasses  # noqa: E402
import hashlib  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import struct  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import zlib  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

FORMAT = 1
FROZEN = ("classifier/", "teacher/")  # what the names of inputs begin with that no step changes
MOST_BAD_STEPS = 10  # in a row, without a finite gradient
GRID = 16  # pixels between the places whose texture is known
SAMPLING = {"each": 0.0, "side": 0.5, "area": 1.0}  # the power of its pixels by which a photograph is drawn
GRAY_GRAIN, POISSON_GRAIN, GRAINY = 0.4, 0.5, 0.5  # shares of crops, as srwgan.data.degradations has them
MOST_STEPS_A_CALL, SECONDS_A_CALL = 4096, 1.0
LUMA = np.array([65.481, 128.553, 24.966]) / 255
SHOWN = {
    "reconstruction": "rec",
    "content": "content",
    "adversarial": "adv",
    "wasserstein": "W",
    "gradient_penalty": "GP",
    "bad_steps": "bad",
}


class BadInput(ValueError):
    """What was given cannot be used: one line, exit status 2."""


class Failed(Exception):
    """The run cannot go on: one line, exit status 1."""


def main(argv=None):
    """Run the command line; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        return train(args)
    except BadInput as error:
        status, line = 2, error
    except Failed as error:
        status, line = 1, error
    except OSError as error:
        status, line = 1, f"{error.filename or args.output}: {error.strerror or error}"
    except RuntimeError as error:  # of the device
        if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
            raise
        status, line = (
            1,
            (
                f"the device is out of memory ({first_line(error)}). Expected an export with a smaller --batchsz, "
                f"--cropsz or --packed-limit. What was saved before is whole: {args.output}"
            ),
        )
    print(f"{parser.prog}: {' '.join(str(line).split())}", file=sys.stderr)
    return status


def build_parser():
    parser = argparse.ArgumentParser(
        description="Train with a portable training step (train_SRWGAN.py --export-step) on what JAX drives.",
        prog="portable_run.py",
    )
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: {' '.join(message.split())}\n")
    add = parser.add_argument
    add("folder", type=Path, help="what --export-step wrote")
    add("--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    add("--seconds", type=positive, help="stop in time to be done after these, from the start of this program on")
    add("--steps", type=whole, help="stop after these batches")
    add("--resume", action="store_true", help="go on from OUT/state.npz, with the rest of the schedule")
    add(
        "--teacher",
        type=Path,
        metavar="OUT",
        help="of a student: the output folder of its teacher's portable run, or the average.npz in it, in place of the "
        "teacher that was exported; the student begins as it",
    )
    add(
        "--until",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="share of the schedule, 0 to 1, that this run ends at, so that several runs have one schedule (1)",
    )
    add(
        "--photographs",
        type=Path,
        metavar="PATH",
        help="packed pixels elsewhere, their index (.json) beside them, or the folder of the photographs that were "
        "exported, which is less to carry but needs Pillow here",
    )
    add(
        "--wait",
        type=Path,
        metavar="FILE",
        help="compile first, then wait until FILE is there, and the photographs with it; a number in it is the seconds "
        "left from then on",
    )
    add("--compilation-cache", type=Path, metavar="FOLDER", help="keep compiled programs there, and take them from it")
    add("--devices", type=whole, help="how many to use (default: all, or as many as divide the batch)")
    add("--texture", type=share, default=0.0, metavar="SHARE", help="of the crops, drawn by their mean gradient (0)")
    add("--grain", type=positive, metavar="LEVELS", help="noise on half of the crops (default: the export's --grain)")
    add("--save-every", type=positive, default=60.0, metavar="SECONDS", help="(60)")
    add("--margin", type=positive, metavar="SECONDS", help="for writing at the end (default: as writing takes here)")
    add("--seed", type=int, help="of crops and penalty positions (default: the export's --seed)")
    return parser


def positive(text):
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"Received: {text}. Expected a number of 0 or more.")
    return value


def whole(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"Received: {text}. Expected a whole number of 1 or more.")
    return value


def share(text):
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"Received: {text}. Expected a number from 0 to 1.")
    return value


def train(args):
    """The whole run; returns the exit status."""
    if args.seconds is None and args.steps is None:
        raise BadInput("Received: neither --seconds nor --steps. Expected one of them, or both.")
    export = Export.read(args.folder)
    teacher = teacher_of(args, export)
    values, progress, log = starting_point(args, export, teacher)
    stop = StopSignals()
    import_jax(args.compilation_cache)
    mesh = device_mesh(args.devices, export.meta["batch_size"])
    say(f"{mesh.size} x {mesh.devices.flat[0].device_kind}, batches of {export.meta['batch_size']}")
    photographs = Photographs(args.photographs or args.folder / export.meta["photographs"], export, args)
    loading = Background(partial(photographs.load, mesh, args.wait))
    since = time.monotonic()
    programs = Programs.compile(export, photographs, mesh, args)
    log.seconds["compiling"] = time.monotonic() - since
    say(f"compiled in {log.seconds['compiling']:.1f} s")
    since = time.monotonic()
    data, deadline = loading.result(stop)
    log.seconds["waiting for photographs"] = time.monotonic() - since
    run = Training(args, export, programs, data, Saved(args.output, export, log, values, progress), deadline, teacher)
    with stop:
        return run.run(stop)


def starting_point(args, export, teacher=None):
    """(values, progress, log) of the export or, with --resume, of OUT; a student begins as a given teacher."""
    state_file = args.output / "state.npz"
    if not args.resume:
        if state_file.exists():
            raise BadInput(
                f"Received: --output {args.output}, which holds a state. Expected --resume, or a new folder."
            )
        values, progress = read_state(args.folder / "state.npz", export)
        if teacher:
            values |= {f"{part}/{name}": value for name, value in teacher.items() for part in ("generator", "average")}
        return values, progress, Log()
    if not state_file.exists():
        raise BadInput(f"Received: --resume without {state_file}. Expected the --output of a run that saved one.")
    values, progress = read_state(state_file, export)
    if progress.fraction >= args.until:
        say(f"The state is at {progress.fraction:.3g} of its schedule: another one begins")
        progress = dataclasses.replace(progress, fraction=0.0)
    say(f"Going on from {state_file} after {progress.steps} steps")
    return values, progress, Log.read(args.output / "log.json", progress.steps)


def teacher_of(args, export):
    """Name -> array of the teacher of --teacher or, with --resume, of the one that OUT was begun with; {} for none."""
    path = args.teacher
    if args.resume:
        if path:
            raise BadInput("Received: --teacher with --resume. Expected none: a run keeps the one that it began with.")
        path = args.output / "teacher.npz"
        return read_teacher(path, export) if path.exists() else {}
    if not path:
        return {}
    path = path / "average.npz" if path.is_dir() else path
    teacher = read_teacher(path, export)
    say(f"The teacher is {path}")
    return teacher


# What is on disk


@dataclasses.dataclass(frozen=True)
class Export:
    """The folder of an export: `meta.json`, and the files that it names with their checksums."""

    folder: Path
    meta: dict

    @classmethod
    def read(cls, folder):
        """Raises BadInput where it is no such folder, of another version, or a file is cut short or changed."""
        meta = read_json(folder / "meta.json", "a folder that train_SRWGAN.py --export-step wrote")
        check_format(meta, folder)
        for name, facts in meta["files"].items():
            check_file(folder / name, facts)
        return cls(folder, meta)

    def program(self, name):
        """A function of JAX arrays, as the program's `meta.json` entry says what goes in and comes out, in order."""
        import jax
        import jax.numpy as jnp
        from jax import export

        entry = self.meta["programs"][name]
        inputs = [jax.ShapeDtypeStruct(tuple(each["shape"]), each["dtype"]) for each in entry["inputs"]]
        outputs = [(tuple(each["shape"]), each["dtype"]) for each in entry["outputs"]]
        # A function of the same signature is exported for this device, and its module replaced by the program.
        alike = jax.jit(lambda *_: [jnp.zeros(shape, dtype) for shape, dtype in outputs], keep_unused=True)
        artifact = (self.folder / entry["file"]).read_bytes()
        return dataclasses.replace(export.export(alike)(*inputs), mlir_module_serialized=artifact).call

    def input_names(self, name):
        return [each["name"] for each in self.meta["programs"][name]["inputs"]]

    def output_names(self, name):
        return [each["name"] for each in self.meta["programs"][name]["outputs"]]

    def frozen(self, teacher=None):
        """The weights that no step changes by name, float32; kernels stored as bfloat16 get zeros behind.

        They are the classifier's and, of a student, the teacher's: those that are given, or those of the export.
        """
        with np.load(self.folder / "classifier.npz") as stored:
            half = set(self.meta["half_precision"])
            classifier = {
                name: (stored[name].astype(np.uint32) << 16).view(np.float32) if name in half else stored[name]
                for name in stored.files
            }
        if self.teacher_inputs() and not teacher:
            teacher = read_teacher(self.folder / "teacher.npz", self)
        return {**classifier, **{f"teacher/{name}": value for name, value in (teacher or {}).items()}}

    def teacher_inputs(self):
        """Name -> shape of the teacher's weights that its programs take; {} where it is no student's."""
        inputs = [each for phase in self.meta["phases"] for each in self.meta["programs"][phase]["inputs"]]
        return {
            each["name"].removeprefix("teacher/"): tuple(each["shape"])
            for each in inputs
            if each["name"].startswith("teacher/")
        }


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a state has come, see srwgan/training/portable/state.py."""

    steps: int = 0
    warmup_steps: int = 0
    critic_steps: int = 0
    fraction: float = 0.0


def read_state(path, export):
    """(name -> array, `Progress`) of a state that fits the export's programs."""
    try:
        with np.load(path) as stored:
            about = json.loads(str(stored["about"]))
            values = {name: stored[name] for name in stored.files if name != "about"}
    except Exception as error:  # a torn zip file, a missing array, text that is no JSON: each its own kind
        raise BadInput(
            f"Received: {path}, not a readable state ({first_line(error)}). Expected a whole one."
        ) from error
    check_format(about, path)
    for each in export.meta["state"]:
        if each["name"] not in values or values[each["name"]].shape != tuple(each["shape"]):
            raise BadInput(f"Received: {path}, whose {each['name']} does not fit {export.folder}. Expected its state.")
    return values, Progress(**about["progress"])


def read_teacher(path, export):
    """Name -> array of the averaged network in `path`, an average.npz or a state.npz, that fits a student's export."""
    wanted = export.teacher_inputs()
    if not wanted:
        raise BadInput(f"Received: a teacher for {export.folder}, which is no student. Expected one with --student.")
    try:
        with np.load(path) as stored:
            names = [name for name in stored.files if name.startswith("average/")]
            values = {name.removeprefix("average/"): stored[name] for name in names}
    except Exception as error:  # no such file, a torn zip file, something else: each its own kind
        raise BadInput(
            f"Received: {path}, not readable ({first_line(error)}). Expected the average.npz of a diffusion model."
        ) from error
    shapes = {name: value.shape for name, value in values.items()}
    different = sorted(name for name in {*shapes, *wanted} if shapes.get(name) != wanted.get(name))
    if different:
        name = different[0]
        raise BadInput(
            f"Received: {path}, whose {name} is {shapes.get(name, 'not there')}, where {export.folder} has "
            f"{wanted.get(name, 'none')}. Expected a diffusion model of the student's filters and blocks."
        )
    return values


def check_format(content, path):
    if content.get("format") != FORMAT:
        raise BadInput(
            f"Received: {path}, of format {content.get('format')}. Expected {FORMAT}, which this file reads: "
            "take the portable_run.py in the folder of the export."
        )


def check_file(path, facts):
    size = path.stat().st_size if path.is_file() else None
    if size != facts["bytes"]:
        what = "missing" if size is None else f"of {size} bytes"
        raise BadInput(f"Received: {path}, {what}. Expected {facts['bytes']} bytes: the folder is cut short.")
    if "sha256" in facts and sha256(path.read_bytes()) != facts["sha256"]:
        raise BadInput(f"Received: {path}, which is not what was exported. Expected the checksum of meta.json.")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def read_json(path, expected):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"Received: {path}, not readable ({first_line(error)}). Expected {expected}.") from error


@contextlib.contextmanager
def written_whole(path):
    """A temporary name beside `path`, which takes that name once the block has ended well."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# Photographs, on the device


class Photographs:
    """The packed pixels: photographs to cut crops from, or ready pairs of a crop and its degraded partner.

    Args:
        path: the file of pixels, or a folder of the photographs themselves. The index, which has shapes, size and
            checksum, lies beside the file, or in the export's folder.
    """

    def __init__(self, path, export, args):
        self.path, self.meta = path, export.meta
        self.index_file = (export.folder / export.meta["photographs"] if path.is_dir() else path).with_suffix(".json")
        self.index = self.read_index()
        self.pairs = self.index["kind"] == "pairs"
        if self.pairs != self.meta["degraded"]:
            raise BadInput(f"Received: {path}, {self.index['kind']}. Expected what {export.folder} was exported with.")
        self.texture = 0.0 if self.pairs else args.texture
        self.grain = self.meta["grain"] if args.grain is None else args.grain
        if self.pairs and (args.texture or args.grain):
            raise BadInput(
                "Received: --texture or --grain with ready pairs. Expected neither: they were cut at export."
            )
        self.shapes = np.array(self.index["shapes"], np.int64).reshape(-1, 2)
        if not self.pairs and self.shapes.min(initial=1 << 40) < self.meta["crop"]:
            raise BadInput(f"Received: {path}, with a photograph below {self.meta['crop']} pixels. Expected none.")

    def read_index(self):
        index = read_json(self.index_file, "the index that was exported beside the pixels")
        check_format(index, self.index_file)
        return index

    def tables(self):
        """Arrays by name beside the pixels, known before these are there; `chances` is filled when they are."""
        if self.pairs:  # those that are made here, by utils/portable_pairs.py, have their number first
            strengths = self.index["strengths"]
            return {"strengths": np.array([0] * self.index["number"] if strengths is None else strengths, np.float32)}
        areas = self.shapes.prod(1)
        tables = {
            "starts": np.concatenate([[0], areas[:-1].cumsum() * 3]).astype(np.int64),
            "heights": self.shapes[:, 0].astype(np.int32),
            "widths": self.shapes[:, 1].astype(np.int32),
            "weights": np.power(areas, SAMPLING[self.meta["sampling"]]).cumsum(),
        }
        if self.texture:
            places = [self.places(shape) for shape in self.shapes]
            tables["place_photo"] = np.repeat(np.arange(len(places)), [len(each) for each in places]).astype(np.int32)
            tables["places"] = np.concatenate(places).astype(np.int32)
            tables["chances"] = np.zeros(len(tables["places"]))
        return tables

    def places(self, shape):
        """(N, 2), the corners on the grid that a crop of a photograph may have."""
        top, left = (np.arange(0, side - self.meta["crop"] + 1, GRID) for side in shape)
        return np.stack(np.meshgrid(top, left, indexing="ij"), -1).reshape(-1, 2)

    def shapes_on_device(self):
        import jax

        arrays = {"pixels": np.broadcast_to(np.uint8(0), self.index["bytes"]), **self.tables()}
        return {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}

    def load(self, mesh, wait):
        """(arrays on the device, the deadline that the awaited file sets or None), once everything is there."""
        deadline = self.wait_for(wait) if wait else None
        if self.path.is_dir():
            pixels = self.decoded()
        else:
            self.index = self.read_index()  # pairs that are made meanwhile have their strengths now
            if self.pairs and self.index["strengths"] is None:
                raise BadInput(
                    f"Received: {self.path}, of which there is the index alone. Expected --wait {self.path}."
                )
            check_file(self.path, self.index)
            pixels = np.fromfile(self.path, np.uint8)
        tables = self.tables()
        if self.texture:
            tables["chances"] = self.chances(pixels, tables)
        put = partial(put_everywhere, mesh)
        arrays = {"pixels": put(pixels), **{name: put(table) for name, table in tables.items()}}
        number = len(tables["strengths"]) if self.pairs else len(self.shapes)
        say(f"{number} {self.index['kind']}, {self.index['bytes'] / 1e6:.0f} MB, are on the device")
        return arrays, deadline

    def decoded(self):
        """The pixels of the index's photographs from their own files, at the sizes that they were exported with."""
        if self.pairs:
            raise BadInput(f"Received: --photographs {self.path}, a folder. Expected the file of the ready pairs.")
        pixels = np.empty(self.index["bytes"], np.uint8)
        starts = [*self.tables()["starts"], self.index["bytes"]]
        for i, photo in enumerate(read_photographs(self.path, self.index["names"], self.index["shapes"])):
            pixels[starts[i] : starts[i + 1]] = photo.reshape(-1)
        return pixels

    @staticmethod
    def wait_for(path):
        while not path.exists():
            time.sleep(0.2)
        found = time.monotonic()
        time.sleep(0.2)  # written, not only made
        if path.stat().st_size > 99:  # not the seconds, but what is waited for itself
            return None
        text = path.read_text().strip()
        try:
            return found + float(text) if text else None
        except ValueError:
            raise BadInput(f"Received: {path} with {text[:40]}. Expected the seconds left, or nothing.") from None

    def chances(self, pixels, tables):
        """Cumulative chances of the places by the mean gradient of the crops there."""
        photos = [
            pixels[start : start + height * width * 3].reshape(height, width, 3)
            for start, (height, width) in zip(tables["starts"], self.shapes, strict=True)
        ]
        with ThreadPoolExecutor() as pool:
            gradients = list(pool.map(self.mean_gradients, photos))
        sampling = self.meta["sampling"]
        if sampling == "each":
            gradients = [each / max(each.sum(), 1e-9) for each in gradients]
        elif sampling == "side":
            gradients = [each / math.sqrt(len(each)) for each in gradients]
        chances = np.cumsum(np.concatenate(gradients) + 1e-12)
        return chances / chances[-1]

    def mean_gradients(self, photo):
        """(N,), of the luma of the crops at `places`."""
        crop, luma = self.meta["crop"], photo.mean(-1, dtype=np.float32)
        gradient = np.zeros_like(luma)
        gradient[:, 1:] = np.abs(np.diff(luma, axis=1))
        gradient[1:] += np.abs(np.diff(luma, axis=0))
        sums = np.pad(gradient.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
        top, left = self.places(photo.shape[:2]).T
        bottom, right = top + crop, left + crop
        return (sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]) / crop**2


def read_photographs(folder, names, shapes):
    """Yields photographs (H, W, 3) uint8 of the folder by their names, at these sizes. Pillow decodes them in threads.

    Raises:
        BadInput: one is missing, or there is no Pillow.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise BadInput("Received: a folder of photographs without Pillow. Expected: pip install pillow") from error
    files = {file.name: file for file in folder.rglob("*")}
    missing = [name for name in names if name not in files]
    if missing:
        raise BadInput(
            f"Received: {folder} without {len(missing)} photographs, such as {missing[0]}. Expected all of "
            f"{len(set(names))} that were exported."
        )

    def read(name, shape):
        with Image.open(files[name]) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
        height, width = shape
        whole = picture.size == (width, height)
        return np.asarray(picture if whole else picture.resize((width, height), Image.Resampling.LANCZOS))

    with ThreadPoolExecutor() as pool:
        yield from pool.map(read, names, shapes)


def draw_batch(data, step, *, batch_size, crop, seed, texture, grain):
    """The crops of a batch, all draws keyed by (seed, step): uint8 (B, C, C, 3), turned, with grain."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), step), 8)
    drawn = jax.random.uniform(keys[0], (batch_size,), data["weights"].dtype) * data["weights"][-1]
    photo = jnp.minimum(jnp.searchsorted(data["weights"], drawn, "right"), len(data["weights"]) - 1)

    def corner(key, sides):
        return jax.random.randint(key, (batch_size,), 0, sides[photo] - crop + 1)

    top, left = corner(keys[1], data["heights"]), corner(keys[2], data["widths"])
    if texture:
        place = jnp.searchsorted(data["chances"], jax.random.uniform(keys[3], (batch_size,), data["chances"].dtype))
        place = jnp.minimum(place, len(data["chances"]) - 1)
        textured = jax.random.uniform(keys[4], (batch_size,)) < texture
        photo = jnp.where(textured, data["place_photo"][place], photo)
        within = jax.random.randint(keys[5], (batch_size, 2), 0, GRID)  # the grid has one place for each such square
        there = jnp.stack([data["heights"][photo], data["widths"][photo]], 1) - crop
        there = jnp.minimum(data["places"][place] + within, there)
        top, left = (jnp.where(textured, there[:, i], old) for i, old in enumerate((top, left)))
    turns = jax.random.randint(keys[6], (batch_size,), 0, 8)
    crops = turned(cut(data, photo, top, left, crop), turns)
    return grainy(crops, keys[7], grain) if grain else crops


def cut(data, photo, top, left, crop):
    """Crops (B, C, C, 3) of the photographs of these numbers, each row a slice of the packed pixels."""
    import jax
    import jax.numpy as jnp

    rows = top[:, None].astype(jnp.int64) + jnp.arange(crop)
    starts = data["starts"][photo][:, None] + (rows * data["widths"][photo][:, None] + left[:, None]) * 3
    slices = jax.vmap(lambda start: jax.lax.dynamic_slice(data["pixels"], (start,), (crop * 3,)))(starts.reshape(-1))
    return slices.reshape(-1, crop, crop, 3)


def turned(crops, turns):
    """Crops (B, C, C, 3) mirrored where `turns` is above 3, then turned by `turns` quarters, as np.rot90 does."""
    import jax.numpy as jnp

    def where(condition, yes, no):
        return jnp.where(condition[:, None, None, None], yes, no)

    crops = where(turns > 3, crops[:, :, ::-1], crops)
    crops = where(turns % 2 == 1, crops.swapaxes(1, 2)[:, ::-1], crops)
    return where(turns // 2 % 2 == 1, crops[:, ::-1, ::-1], crops)


def grainy(crops, key, largest):
    """Half of the crops with the noise of `srwgan.data.degradations.add_grain`; its Poisson noise is a normal one here.

    The deviation is uniform from 0 to `largest` levels, for Poisson's at level 100.
    """
    import jax
    import jax.numpy as jnp

    keys, levels = jax.random.split(key, 6), crops.astype(jnp.float32)
    each = (len(crops), 1, 1, 1)
    gray, poisson, grained = (
        jax.random.bernoulli(keys[i], share, each) for i, share in enumerate((GRAY_GRAIN, POISSON_GRAIN, GRAINY))
    )
    noise = jax.random.normal(keys[3], crops.shape, jnp.float32)
    noise = jnp.where(gray, noise[..., :1], noise)
    brightness = jnp.where(gray, levels.mean(-1, keepdims=True), levels)
    noise *= jnp.where(poisson, jnp.sqrt(brightness) / 10, 1.0)
    amount = largest * jax.random.uniform(keys[4], each, jnp.float32)
    return jnp.clip(jnp.round(levels + jnp.where(grained, amount * noise, 0.0)), 0, 255).astype(jnp.uint8)


def ready_pairs(data, step, *, batch_size, crop, scale):
    """(crops, low_res, strength) of the next pairs, in the order in which they were packed, again and again."""
    import jax
    import jax.numpy as jnp

    small = crop // scale
    parts = (crop * crop * 3, small * small * 3)
    numbers = (step * batch_size + jnp.arange(batch_size)) % len(data["strengths"])
    records = jax.vmap(lambda start: jax.lax.dynamic_slice(data["pixels"], (start,), (sum(parts),)))(
        numbers.astype(jnp.int64) * sum(parts)
    )
    crops = records[:, : parts[0]].reshape(-1, crop, crop, 3)
    return crops, records[:, parts[0] :].reshape(-1, small, small, 3), data["strengths"][numbers]


# The device


def import_jax(cache):
    """JAX with 64 bits, as Keras counts iterations, and its compilation cache in a folder."""
    try:
        import jax
    except ImportError as error:
        raise BadInput(
            f"Received: a Python without JAX ({error}). Expected: pip install jax, or jax[cuda13]."
        ) from error
    jax.config.update("jax_enable_x64", True)
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(cache.resolve()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def device_mesh(number, batch_size):
    """A mesh of one axis, `batch`, over this machine's devices, of as many as divide the batch."""
    import jax

    devices = jax.local_devices()
    if number and number > len(devices):
        raise BadInput(f"Received: --devices {number}. Expected at most {len(devices)}, those of this machine.")
    if number and batch_size % number:
        raise BadInput(f"Received: --devices {number}. Expected a divisor of the batch of {batch_size}.")
    number = number or max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    if number < len(devices):
        say(f"{number} of {len(devices)} devices are used, for a batch of {batch_size}")
    return jax.sharding.Mesh(np.array(devices[:number]), ("batch",))


def loops(mesh):
    """Whether a call runs many steps: not on processors, where convolutions within a loop are many times slower."""
    return mesh.devices.flat[0].platform != "cpu"


def put_everywhere(mesh, array):
    """A copy of the array on each device."""
    import jax

    return jax.device_put(array, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled functions: phase -> many steps in a call, and the samples."""

    phases: dict
    sample: object
    mesh: object

    @classmethod
    def compile(cls, export, photographs, mesh, args):
        """All at once, in threads."""
        import jax

        phases = export.meta["phases"]
        data = photographs.shapes_on_device()
        with ThreadPoolExecutor(len(phases) + 1) as pool:
            compiled = [pool.submit(compile_steps, export, name, photographs, data, mesh, args) for name in phases]
            alone = jax.sharding.SingleDeviceSharding(mesh.devices.flat[0])
            shapes = [
                jax.ShapeDtypeStruct(tuple(each["shape"]), each["dtype"], sharding=alone)
                for each in export.meta["programs"]["sample"]["inputs"]
            ]
            sample = pool.submit(lambda: jax.jit(export.program("sample")).lower(*shapes).compile())
            return cls(dict(zip(phases, [each.result() for each in compiled], strict=True)), sample.result(), mesh)


def compile_steps(export, phase, photographs, data, mesh, args):
    """Compiled: (state, frozen, data, first step, number, fraction, its growth) -> (state, metrics).

    state is a dict of arrays, donated; metrics is (M,), means over the steps, or the last of what is counted. It ends
    before `number` where too many steps in a row are bad. Without `loops`, `number` is 1.
    """
    import jax
    import jax.numpy as jnp

    meta, program = export.meta, export.program(phase)
    names, metrics = [each["name"] for each in meta["state"]], meta["programs"][phase]["metrics"]
    counted = np.array([name in meta["counts"] for name in metrics])
    seed = meta["seed"] if args.seed is None else args.seed
    options = {"batch_size": meta["batch_size"], "crop": meta["crop"]}
    divided = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    bad = metrics.index("bad_in_a_row")

    def batch(data, step):
        if photographs.pairs:
            parts = ready_pairs(data, step, scale=meta["scale"], **options)
        else:
            draws = {"texture": photographs.texture, "grain": photographs.grain}
            parts = (draw_batch(data, step, seed=seed, **options, **draws),)
        parts = [jax.lax.with_sharding_constraint(part, divided) for part in parts]
        return dict(zip(("crops", "low_res", "strength"), parts, strict=False))

    def many(state, frozen, data, first, number, fraction, growth):
        def step(carry):
            i, state, sums, counts, _ = carry
            rates = learning_rates(meta["schedule"], fraction + i * growth, state, jnp)
            key = jnp.stack([jnp.int64(seed), first + i])
            given = {**state, **frozen, **batch(data, first + i), "rates": rates, "key": key}
            *values, now = program(*[given[name] for name in export.input_names(phase)])
            good = jnp.isfinite(now)
            sums = jnp.where(counted, now, sums + jnp.where(good, now, 0.0))
            return i + 1, dict(zip(names, values, strict=True)), sums, counts + good, now[bad]

        def going(carry):
            return (carry[0] < number) & (carry[-1] < MOST_BAD_STEPS)

        zeros = jnp.zeros(len(metrics), jnp.float32)
        start = (jnp.int64(0), state, zeros, zeros, jnp.float32(0))
        _, state, sums, counts, _ = jax.lax.while_loop(going, step, start) if loops(mesh) else step(start)
        return state, jnp.where(counted, sums, sums / jnp.maximum(counts, 1))

    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def struct(shape, dtype):
        return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=everywhere)

    described = meta["programs"][phase]["inputs"]
    state = {each["name"]: struct(each["shape"], each["dtype"]) for each in meta["state"]}
    frozen = {
        each["name"]: struct(each["shape"], each["dtype"]) for each in described if each["name"].startswith(FROZEN)
    }
    data = {name: struct(each.shape, each.dtype) for name, each in data.items()}
    numbers = [struct((), kind) for kind in ("int64", "int64", "float64", "float64")]
    jitted = jax.jit(many, donate_argnums=0, out_shardings=everywhere)
    return jitted.lower(state, frozen, data, *numbers).compile()


def learning_rates(schedule, fraction, state, np):
    """(2,) float32, the generator's and the discriminator's, as srwgan.training.optimizers.build_optimizer has them.

    The discriminator's schedule begins after the warm-up, of which it has no part.

    Args:
        fraction: how much of the schedule is gone, 0 to 1.
        state: whose iterations tell how far the rates have risen.
        np: the module to compute with, NumPy or JAX's.
    """
    rates, warmup_share = [], schedule["warmup_epochs"] / schedule["epochs"]
    for part, begun in (("generator", 0.0), ("discriminator", warmup_share)):
        rate = highest = schedule["rates"][part]
        if schedule["lr_schedule"] == "cosine":
            rate = highest * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * np.clip(fraction - begun, 0.0, 1.0))))
        if schedule["lr_warmup"] and f"{part}_optimizer/iteration" in state:  # a diffusion model has no discriminator
            risen = state[f"{part}_optimizer/iteration"] / schedule["lr_warmup"]
            rate = np.where(risen < 1, highest * (0.01 + 0.99 * risen), rate)
        rates.append(rate)
    return np.stack([np.asarray(rate, "float32") for rate in rates])


# The run


class Training:
    """Calls of many steps until the time or the steps are over, with saving, showing and stopping between them."""

    def __init__(self, args, export, programs, data, saved, deadline, teacher=None):
        self.args, self.export, self.programs, self.data, self.saved = args, export, programs, data, saved
        self.progress, self.first = saved.progress, saved.progress
        self.schedule = export.meta["schedule"]
        put = partial(put_everywhere, programs.mesh)
        self.state = {each["name"]: put(saved.values[each["name"]]) for each in export.meta["state"]}
        self.frozen = {name: put(value) for name, value in export.frozen(teacher).items()}
        self.steps_a_second = 0.0
        if teacher and not args.resume:
            write_arrays(saved.folder / "teacher.npz", {f"average/{name}": value for name, value in teacher.items()})
        self.saved.write(self.values(), self.progress, self.samples())  # so that a full disk is known before training
        self.started = time.monotonic()
        if deadline is None and args.seconds is not None:
            deadline = BEGAN + args.seconds
        self.seconds = math.inf if deadline is None else deadline - self.margin() - self.started

    def margin(self):
        """Seconds that the last saving may take."""
        return self.args.margin if self.args.margin is not None else 1.0 + 3 * self.saved.writing

    def run(self, stop):
        """Train to the end; returns the exit status."""
        if self.seconds <= 0:
            raise Failed(f"no time is left of {self.args.seconds} seconds after compiling. Expected more --seconds.")
        bar = Bar()
        saved = shown = time.monotonic()
        with bar:
            while not stop.number and (number := self.steps_to_go(phase := self.phase())):
                metrics = self.call(phase, number)
                now = time.monotonic()
                if now - shown > 2 or not self.steps_to_go(self.phase()):
                    entry, shown = self.entry(phase, metrics), now
                    bar.show(self.share(), entry)
                if now - saved > self.args.save_every:
                    self.save()
                    saved = time.monotonic()
        self.save()
        took = time.monotonic() - self.started
        done = self.progress.steps - self.first.steps
        say(
            f"{done} steps of {self.export.meta['batch_size']} crops of {self.export.meta['crop']}x"
            f"{self.export.meta['crop']} in {took:.0f} s; the state is in {self.args.output}"
        )
        if stop.number:
            say(f"stopped by {signal.Signals(stop.number).name}; go on with --resume")
        return 128 + stop.number if stop.number else 0

    def call(self, phase, number):
        """So many steps of a phase; returns their metrics by name."""
        before, fraction, growth = time.monotonic(), self.fraction(), self.growth()
        counts = [np.int64(self.progress.steps), np.int64(number), np.float64(fraction), np.float64(growth)]
        put = partial(put_everywhere, self.programs.mesh)
        frozen = {name: self.frozen[name] for name in self.export.input_names(phase) if name in self.frozen}
        self.state, metrics = self.programs.phases[phase](
            self.state, frozen, self.data, *[put(each) for each in counts]
        )
        metrics = dict(
            zip(self.export.meta["programs"][phase]["metrics"], map(float, np.asarray(metrics)), strict=True)
        )
        if metrics["bad_in_a_row"] >= MOST_BAD_STEPS:
            raise Failed(
                f"{MOST_BAD_STEPS} steps in a row had a gradient that is not finite. The state of "
                f"{self.saved.progress.steps} steps is in {self.args.output}."
            )
        self.progress = dataclasses.replace(
            self.progress,
            steps=self.progress.steps + number,
            warmup_steps=self.progress.warmup_steps + number * (phase == "warmup"),
            critic_steps=self.progress.critic_steps + number * (phase == "critic"),
        )
        self.progress = dataclasses.replace(self.progress, fraction=self.fraction())
        self.steps_a_second = number / (time.monotonic() - before)
        return metrics

    def phase(self):
        """The phase by the schedule: a share of warm-up, some steps of the critic alone, then everything."""
        warmup_share = self.schedule["warmup_epochs"] / self.schedule["epochs"]
        if warmup_share == 1 or self.fraction() < warmup_share - 1e-9:
            return "warmup"
        return "critic" if self.progress.critic_steps < self.schedule["critic_warmup"] else "full"

    def share(self):
        """Of what this run is to do, how much is done: by time or by steps, whichever is further."""
        by_time = (time.monotonic() - self.started) / self.seconds
        by_steps = (self.progress.steps - self.first.steps) / self.args.steps if self.args.steps else 0.0
        return min(max(by_time, by_steps), 1.0)

    def fraction(self):
        """How much of the schedule is gone."""
        return self.first.fraction + (self.args.until - self.first.fraction) * self.share()

    def growth(self):
        """Of that fraction with each step, where steps measure it."""
        return (self.args.until - self.first.fraction) / self.args.steps if math.isinf(self.seconds) else 0.0

    def steps_to_go(self, phase):
        """Steps of the next call: what takes about a second, within the phase and what is left; 0 at the end."""
        number = max(1, min(MOST_STEPS_A_CALL, int(self.steps_a_second * SECONDS_A_CALL)))
        number = number if loops(self.programs.mesh) else 1
        if self.args.steps:
            number = min(number, self.first.steps + self.args.steps - self.progress.steps)
        left = max(0.0, self.seconds - (time.monotonic() - self.started))  # 0: the last call may end late
        if left * self.steps_a_second < number:
            number = int(left * self.steps_a_second) if self.steps_a_second else min(number, int(left > 0))
        if phase == "critic":
            number = min(number, self.schedule["critic_warmup"] - self.progress.critic_steps)
        elif phase == "warmup" and self.growth():
            share = self.schedule["warmup_epochs"] / self.schedule["epochs"] - self.fraction()
            number = min(number, max(1, math.ceil(share / self.growth() - 1e-6)))
        return number

    def entry(self, phase, metrics):
        """A line of the log."""
        rates = learning_rates(self.schedule, self.fraction(), self.state_counts(), np)
        entry = {
            "step": self.progress.steps,
            "phase": phase,
            "seconds": round(time.monotonic() - self.started, 2),
            "fraction": self.progress.fraction,
            "images_per_second": self.steps_a_second * self.export.meta["batch_size"],
            "rates": [float(rate) for rate in rates],
            **{name: value if math.isfinite(value) else None for name, value in metrics.items()},
        }
        self.saved.log.entries.append(entry)
        return entry

    def state_counts(self):
        return {name: np.asarray(self.state[name]) for name in self.state if name.endswith("_optimizer/iteration")}

    def values(self):
        import jax

        values = jax.device_get(self.state)
        return {each["name"]: values[each["name"]] for each in self.export.meta["state"]}  # JAX sorts a dict's names

    def samples(self):
        """What the averaged generator makes of the held-out crops, (N, C, C, 3) uint8."""
        import jax

        device = self.programs.mesh.devices.flat[0]
        given = {**{name: self.state[name] for name in self.export.input_names("sample") if name in self.state}}
        given |= {"low_res": self.saved.low_res, "strength": self.saved.strength}
        inputs = [jax.device_put(given[name], device) for name in self.export.input_names("sample")]
        (pictures,) = self.programs.sample(*inputs)
        return np.asarray(pictures)

    def save(self):
        self.saved.log.seconds["training"] = time.monotonic() - self.started
        self.saved.write(self.values(), self.progress, self.samples())


class Saved:
    """The results in OUT: what is there is always whole."""

    def __init__(self, folder, export, log, values, progress):
        self.folder, self.meta, self.log, self.values, self.progress = folder, export.meta, log, values, progress
        with np.load(export.folder / "validation.npz") as stored:
            self.low_res, self.high_res, self.strength = (stored[name] for name in ("low_res", "high_res", "strength"))
        self.writing = 0.0  # seconds that it takes
        (folder / "samples").mkdir(parents=True, exist_ok=True)

    def write(self, values, progress, samples):
        began = time.monotonic()
        self.progress = progress
        quality = [psnr(*pair, self.meta["scale"]) for pair in zip(samples, self.high_res, strict=True)]
        before = [each for each in self.log.quality if each["step"] < progress.steps]
        self.log.quality = [*before, {"step": progress.steps, "psnr": float(np.mean(quality))}]
        about = {"format": FORMAT, "progress": dataclasses.asdict(progress), "flags": self.meta["flags"]}
        write_arrays(self.folder / "state.npz", {"about": np.array(json.dumps(about)), **values})
        average = {name: value for name, value in values.items() if name.startswith("average/")}
        write_arrays(self.folder / "average.npz", average)
        with written_whole(self.folder / "log.json") as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self.log), indent=1) + "\n", encoding="utf-8")
        picture = comparison(self.low_res[:4], samples[:4], self.high_res[:4])
        with written_whole(self.folder / "samples" / f"step_{progress.steps:08d}.png") as temporary:
            temporary.write_bytes(png(picture))
        self.writing = max(self.writing, time.monotonic() - began)


@dataclasses.dataclass
class Log:
    """What log.json holds."""

    entries: list = dataclasses.field(default_factory=list)
    quality: list = dataclasses.field(default_factory=list)  # step and PSNR-Y of the held-out crops
    seconds: dict = dataclasses.field(default_factory=dict)  # of the last session's parts

    @classmethod
    def read(cls, path, steps):
        """What it says up to so many steps."""
        if not path.exists():
            return cls()
        content = read_json(path, "the log of a portable run")
        return cls(*[[each for each in content[name] if each["step"] <= steps] for name in ("entries", "quality")])


def write_arrays(path, arrays):
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def psnr(picture, original, shave):
    """PSNR-Y of uint8 pictures (H, W, 3) in dB, `shave` pixels off each side."""
    inner = slice(shave, -shave)
    error = (picture[inner, inner].astype(np.float64) - original[inner, inner]) @ LUMA
    mean_square = np.mean(np.square(error))
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf


def comparison(low_res, samples, high_res):
    """A picture of rows of low resolution, enlarged by repeating pixels, super resolution and the original."""
    scale = high_res.shape[1] // low_res.shape[1]
    columns = low_res.repeat(scale, 1).repeat(scale, 2), samples, high_res
    rows = [np.concatenate(list(column), 1) for column in columns]
    return np.concatenate(rows, 0)


def png(pixels):
    """A PNG file of (H, W, 3) uint8."""
    height, width, _ = pixels.shape
    rows = np.pad(pixels.reshape(height, width * 3), ((0, 0), (1, 0))).tobytes()  # each after its filter: none

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class Background:
    """A function that runs in a thread; its result can be waited for, its error is raised then."""

    def __init__(self, function):
        self.outcome, self.error = None, None
        self.thread = threading.Thread(target=self.run, args=(function,), daemon=True)
        self.thread.start()

    def run(self, function):
        try:
            self.outcome = function()
        except BaseException as error:  # is raised where the result is asked for
            self.error = error

    def result(self, stop):
        while self.thread.is_alive():
            self.thread.join(0.2)
            if stop.number:
                raise Failed("stopped before training began.")
        if self.error:
            raise self.error
        return self.outcome


class StopSignals:
    """SIGTERM and Ctrl-C: the first is noted, so that the run saves and ends; a second one ends it at once."""

    def __init__(self):
        self.number, self.before = None, {}
        for number in (signal.SIGTERM, signal.SIGINT):
            self.before[number] = signal.signal(number, self.note)

    def note(self, number, frame):
        self.number = number
        self.restore()

    def restore(self):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.restore()


class Bar:
    """A progress bar of tqdm, or without it a line every ten seconds."""

    def __init__(self):
        self.printed = time.monotonic()
        try:
            from tqdm import tqdm
        except ImportError:
            tqdm = None
        layout = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self.bar = tqdm(total=1.0, bar_format=layout, disable=None, dynamic_ncols=True) if tqdm else None

    def show(self, share, entry):
        text = {"step": entry["step"], "img/s": f"{entry['images_per_second']:.1f}"}
        text |= {short: f"{entry[name]:.3g}" for name, short in SHOWN.items() if entry.get(name)}
        if self.bar is not None and not self.bar.disable:
            self.bar.n = share
            self.bar.set_postfix(text)
        elif time.monotonic() - self.printed > 10 or share == 1.0:
            self.printed = time.monotonic()
            say(f"{share:4.0%} " + ", ".join(f"{name} {value}" for name, value in text.items()))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.bar is not None:
            self.bar.close()


def say(text):
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)


def first_line(error):
    return " ".join(str(error).split())[:200]


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads that still wait or load have nothing to lose
