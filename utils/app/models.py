"""The generators that the page offers, loaded when they are first asked for."""

import json
import threading
from collections import OrderedDict
from pathlib import Path

from srwgan.networks.model_folder import ROBUST, has_faithful_end, robust_of

KEPT = 4  # upscalers in memory, each a generator in one precision


def find_generators(paths):
    """{name: path} of generators: each path one, or a folder that holds some; after each its robust one, where it has.

    Raises FileNotFoundError, ValueError.
    """
    found = {}
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"Received: --model {path}. Expected a folder that is there, e.g. SRWGAN_Gen.")
        inside = [path] if is_generator(path) else sorted(child for child in path.iterdir() if is_generator(child))
        if not inside:
            raise ValueError(f"Received: --model {path}. Expected a generator, or a folder with generators in it.")
        for generator in inside:
            generator = generator.resolve()
            if generator not in found.values():
                found[name := unused_name(generator, found)] = generator
                if robust := robust_of(generator):
                    found[f"{name}/{ROBUST}"] = Path(robust)
    return found


def is_generator(path):
    if path.is_dir():
        return (path / "saved_model.pb").is_file() and not (path / "discriminator.keras").is_file()
    return path.suffix == ".keras"


def unused_name(path, names):
    name, folder = path.stem if path.suffix == ".keras" else path.name, path.parent
    while name in names:
        name, folder = f"{folder.name}/{name}", folder.parent
    return name


def stated_scale(path):
    """What a generator's config says of its scale, without loading it; None where it has none."""
    try:
        return json.loads((path / "config.json").read_text())["scale"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Models:
    """Upscalers by name, precision and fidelity, the latest few kept in memory."""

    def __init__(self, generators):
        self.generators = generators
        self._upscalers, self._lock = OrderedDict(), threading.Lock()

    def has_faithful_end(self, name):
        return name in self.generators and has_faithful_end(self.generators[name])

    def upscaler(self, name, precision, fidelity=0.0):
        """Raises ValueError for a name that is not offered, a generator that cannot be read or has no such fidelity."""
        if name not in self.generators:
            raise ValueError(f"Received: model {name}. Expected one of {', '.join(self.generators)}.")
        if fidelity and not self.has_faithful_end(name):
            raise ValueError(f"Received: fidelity {fidelity:g} for {name}, which has no faithful end. Expected 0.")
        with self._lock:
            key = name, precision, fidelity
            if key not in self._upscalers:
                self._upscalers[key] = load_upscaler(self.generators[name], precision, fidelity)
                while len(self._upscalers) > KEPT:
                    self._upscalers.popitem(last=False)
            self._upscalers.move_to_end(key)
            return self._upscalers[key]


def load_upscaler(path, precision, fidelity):
    from srwgan.networks.mixing import load_at_fidelity  # starts TensorFlow
    from srwgan.upscaling.upscaler import Upscaler

    return Upscaler(load_at_fidelity(path, fidelity), precision)
