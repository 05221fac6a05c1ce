"""The generators that the page offers: their names for people, and which one a file gets; loaded when first needed."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from srwgan.convert import engines
from srwgan.convert.engines import Settings, choose_engine, is_installed, litert_obstacle
from srwgan.convert.jobs import Job
from srwgan.networks.model_folder import (
    DIFFUSION,
    DISCRIMINATOR_FILE,
    FAST,
    GENERATOR_FILE,
    MAIN,
    ROBUST,
    generator_inside,
    has_faithful_end,
)
from utils.app.starting import Start

KEPT = 4  # upscalers in memory, each a generator in one precision on one engine
AUTOMATIC = ""  # the name of no generator: each kind of file gets the one that the command line gives it
STEP_COST = 2.0  # of a diffusion model's step, of a generator with as many parameters: 1.5 in float32 to 2 in bfloat16
OTHER_WORK = 0.2  # of a file's time that no generator takes: reading, encoding
TITLES = {
    MAIN: ("Photos", "Adds fine, sharp detail. For clean photos and drawings."),
    f"{MAIN}/{ROBUST}": ("GIFs and compressed pictures", "Smooths a GIF's dots and a JPEG's blocks while it enlarges."),
    f"{MAIN}/{FAST}": ("Videos, quickly", "Takes a fraction of the time, with less fine detail."),
    f"{MAIN}/{DIFFUSION}": (
        "Diffusion",
        "Draws detail from noise, in one step or several, each of which takes twice a generator's time.",
    ),
}
INSIDE = {
    ROBUST: "for compressed pictures",
    FAST: "for videos",
    DIFFUSION: "a diffusion model",
}  # generators in another one's folder -> their titles


@dataclass(frozen=True)
class Choice:
    """How a file is to be upscaled.

    Attributes:
        model: a generator's name, or `AUTOMATIC`.
        precision: as `Upscaler` takes it.
        fidelity: 0 (sharp) to 1 (faithful).
    """

    model: str = AUTOMATIC
    precision: str = "auto"
    fidelity: float = 0.0


def find_generators(paths: list) -> dict[str, Path]:
    """{name: path} of the generators at `paths`, each followed by the ones inside its folder, such as its robust one.

    A path may be a generator or a folder that holds some.

    Raises:
        FileNotFoundError: a path is not there.
        ValueError: a path holds no generator.
    """
    found = {}
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"Received: --model {path}. Expected a folder that is there, e.g. SRWGAN_Gen.")
        there = [path] if is_generator(path) else sorted(child for child in path.iterdir() if is_generator(child))
        if not there:
            raise ValueError(f"Received: --model {path}. Expected a generator, or a folder with generators in it.")
        for generator in there:
            generator = generator.resolve()
            if generator not in found.values():
                found[name := unused_name(generator, found)] = generator
                for inside in INSIDE:
                    if path_inside := generator_inside(generator, inside):
                        found[f"{name}/{inside}"] = path_inside
    return found


def is_generator(path):
    """Whether there is a generator at `path`, which may have the discriminator that it was trained with beside it."""
    if path.is_dir():
        has_generator, has_discriminator = ((path / name).is_file() for name in (GENERATOR_FILE, DISCRIMINATOR_FILE))
        return (path / "saved_model.pb").is_file() and (has_generator or not has_discriminator)
    return path.suffix == ".keras" and path.name != DISCRIMINATOR_FILE


def unused_name(path, names):
    name, folder = path.stem if path.suffix == ".keras" else path.name, path.parent
    while name in names:
        name, folder = f"{folder.name}/{name}", folder.parent
    return name


def stated(path: Path, name: str) -> int | str | None:
    """What a generator's config says, which is read without loading the generator; None where it is not stated."""
    try:
        return json.loads((path / "config.json").read_text())[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Models:
    """Upscalers by name, precision and fidelity; the few that were used last are kept in memory.

    Args:
        generators: {name: path}, as `find_generators` gives them; the first is the default.

    Attributes:
        start: the `Start` of TensorFlow, during which LiteRT does what it can. Where it is None, TensorFlow is loaded
            when it is needed.
    """

    start: Start | None = None

    def __init__(self, generators: dict[str, Path]):
        self.generators = generators
        self._upscalers, self._lock = OrderedDict(), threading.Lock()
        self._scales = {name: stated(path, "scale") for name, path in generators.items()}
        self._parameters = {name: stated(path, "parameters") for name, path in generators.items()}
        self._steps = {name: stated(path, "steps") for name, path in generators.items()}  # of diffusion models

    def scale(self, name: str) -> int:
        """A generator's scale; of one that states none, 4 until it was loaded."""
        return self._scales.get(name) or 4

    def cost(self, name: str) -> float:
        """A file's expected time with a generator, as a share of that with the first one: by parameters and steps.

        1 where a generator does not state them.
        """
        own, first = (
            (self._parameters.get(each) or 0) * (STEP_COST * steps if (steps := self._steps.get(each)) else 1)
            for each in (name, self.first)
        )
        return OTHER_WORK + (1 - OTHER_WORK) * own / first if own and first else 1.0

    @property
    def first(self) -> str:
        return next(iter(self.generators))

    def has_faithful_end(self, name: str) -> bool:
        return name in self.generators and has_faithful_end(self.generators[name])

    def name_for(self, kind: str, choice: Choice) -> str:
        """The generator's name for a file of this kind: the one chosen, or the one that the command line would take.

        As there, GIFs get the robust generator unless a fidelity is asked for, which it does not have.

        Raises:
            ValueError: the name is not offered.
        """
        if choice.model in self.generators:
            return choice.model
        if choice.model != AUTOMATIC:
            raise ValueError(f"Received: model {choice.model}. Expected one of {', '.join(self.generators)}.")
        robust = f"{self.first}/{ROBUST}"
        return robust if kind == "gif" and not choice.fidelity and robust in self.generators else self.first

    def described(self) -> list[dict]:
        """What the page shows of each choice: name, title, line, scale, and whether it has a faithful end."""
        offers = [self._described(name) for name in self.generators]
        if f"{self.first}/{ROBUST}" in self.generators:
            line = "“GIFs and compressed pictures” for GIFs, “Photos” for all else."
            if self.first != MAIN:
                line = f"{self.first} for photos and videos, its version for compressed pictures for GIFs."
            offers.insert(0, {**offers[0], "name": AUTOMATIC, "title": "Automatic", "line": line})
        return offers

    def _described(self, name):
        base, _, inside = name.rpartition("/")
        diffusion = self._steps.get(name) is not None
        other = TITLES[f"{MAIN}/{DIFFUSION}"][1] if diffusion else "Another generator of this server."
        title, line = TITLES.get(name, (name, other))
        if name not in TITLES and base in self.generators and inside in INSIDE:
            title, line = f"{base}, {INSIDE[inside]}", TITLES[f"{MAIN}/{inside}"][1]
        return {
            "name": name,
            "title": title,
            "line": line,
            "scale": self.scale(name),
            "faithful": self.has_faithful_end(name),
        }

    def title(self, name: str) -> str:
        """A generator's name for people."""
        return self._described(name)["title"]

    def upscaler(
        self,
        name: str,
        precision: str,
        fidelity: float = 0.0,
        *,
        source: Path | None = None,
        check: Callable[[], None] = lambda: None,
    ):
        """The `Upscaler` or `LiteUpscaler` of a generator.

        Args:
            source: the file that it is for, which says how much there is to do.
            check: called again and again where TensorFlow has to be waited for; what it raises ends that.

        Raises:
            ValueError: the name is not offered, its generator cannot be read, or it has no such fidelity.
            ImportError: it needs TensorFlow, which is not installed.
        """
        if name not in self.generators:
            raise ValueError(f"Received: model {name}. Expected one of {', '.join(self.generators)}.")
        if fidelity and not self.has_faithful_end(name):
            raise ValueError(f"Received: fidelity {fidelity:g} for {name}, which has no faithful end. Expected 0.")
        settings = Settings(fidelity=fidelity, precision=precision)
        return self.loaded(self.engine(name, settings, source=source, check=check), name, settings)

    def engine(self, name: str, settings: Settings, *, source=None, check=lambda: None) -> str:
        """The engine for a file: that of the command line while TensorFlow starts, and TensorFlow once it runs."""
        folder = self.generators[name]
        if not is_installed("tensorflow"):
            return choose_engine("auto", [folder], settings=settings, jobs=[])
        start = self.start
        if start is None or (start.is_done and not start.error):
            return "tensorflow"
        if start.error:  # what LiteRT can do goes on
            return "tensorflow" if litert_obstacle(folder, settings) else "litert"
        jobs = [Job(source, source.parent)] if source else []
        if choose_engine("auto", [folder], settings=settings, jobs=jobs) == "tensorflow":
            start.wait(check)
            return "tensorflow"
        return "litert"

    def loaded(self, engine: str, name: str, settings: Settings):
        """A generator on that engine, from memory or from its file."""
        key = engine, name, settings
        with self._lock:
            if key in self._upscalers:
                self._upscalers.move_to_end(key)
                return self._upscalers[key]
        upscaler = engines.load_upscaler(engine, self.generators[name], settings)  # unlocked: it may take seconds
        with self._lock:
            self._upscalers[key] = upscaler
            self._scales[name] = upscaler.scale
            while len(self._upscalers) > KEPT:
                self._upscalers.popitem(last=False)
        return upscaler
