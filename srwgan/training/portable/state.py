"""All that training changes, by name: the same names, in the same order, at every export."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from srwgan.training.portable import FORMAT
from srwgan.whole_files import written_whole

ABOUT = "about"  # the array of a state file that holds, as JSON, its format, progress and the flags of its export


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a state has come."""

    steps: int = 0  # batches
    warmup_steps: int = 0  # of these, on the reconstruction loss alone
    critic_steps: int = 0  # of these, on the discriminator alone
    fraction: float = 0.0  # of the learning rate's schedule


@dataclasses.dataclass(frozen=True)
class State:
    """What a state file holds."""

    values: dict  # name -> array, see `named_variables`
    progress: Progress
    flags: dict  # of train_SRWGAN.py, that it was exported with


def named_variables(trainer) -> dict:
    """Name -> tf.Variable of a `Trainer`: networks, optimizers, running norms, counts.

    A diffusion model has no discriminator. Learning rates are not among them: a constant one is a flag, the others
    follow a schedule.
    """
    networks = {"generator": trainer.generator, "discriminator": trainer.discriminator, "average": trainer.average}
    optimizers = {
        "generator_optimizer": trainer.generator_optimizer,
        "discriminator_optimizer": trainer.discriminator_optimizer,
    }
    networks, optimizers = ({name: x for name, x in parts.items() if x} for parts in (networks, optimizers))
    named = {f"{part}/{weight.path}": weight.value for part, network in networks.items() for weight in network.weights}
    for part, optimizer in optimizers.items():
        named |= {f"{part}/{variable.path.split('/', 1)[-1]}": variable.value for variable in optimizer.variables}
        named.pop(f"{part}/learning_rate", None)
    for part, variables in (("running_norms", trainer.balance.running_norms), ("adaptive", trainer.balance.adaptive)):
        named |= {f"{part}/{term}": variable for term, variable in variables.items()}
    named["averaged_steps"] = trainer.weight_average.steps
    return named | {name: getattr(trainer, name) for name in ("loss_scale", "bad_steps", "bad_in_a_row")}


def read_values(trainer) -> dict:
    """Name -> array of the trainer's variables."""
    return {name: variable.numpy() for name, variable in named_variables(trainer).items()}


def assign_values(trainer, values: dict) -> None:
    """Put a state's values into the trainer's variables.

    Raises:
        ValueError: other names or shapes than this trainer's.
    """
    variables = named_variables(trainer)
    different = sorted(set(values) ^ set(variables))
    if different:
        where = "state" if different[0] in values else "networks"
        raise ValueError(
            f"Received: a state of other networks or options ({different[0]} is in the {where} alone). "
            "Expected the flags of its export."
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != values[name].shape:
            raise ValueError(
                f"Received: a state whose {name} has shape {values[name].shape}. "
                f"Expected {tuple(variable.shape)}, that of the flags' networks."
            )
    for name, variable in variables.items():
        variable.assign(values[name])


def write_state(path, state: State) -> None:
    """An .npz of a state; written whole."""
    about = {"format": FORMAT, "progress": dataclasses.asdict(state.progress), "flags": state.flags}
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{ABOUT: np.array(json.dumps(about))}, **state.values)


def read_state(path) -> State:
    """The state in a file, or in `state.npz` of a folder.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or one of another version.
    """
    path = Path(path)
    path = path / "state.npz" if path.is_dir() else path
    try:
        with np.load(path) as stored:
            about = json.loads(str(stored[ABOUT]))
            values = {name: stored[name] for name in stored.files if name != ABOUT}
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Received: {path}, which is not there. Expected the state of a portable run."
        ) from None
    except Exception as error:  # a torn zip file, a missing array, text that is no JSON: each its own kind
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"Received: {path}, not a readable state ({reason}). Expected that of a portable run."
        ) from error
    if about.get("format") != FORMAT:
        raise ValueError(f"Received: {path}, of format {about.get('format')}. Expected {FORMAT}, of this version.")
    return State(values, Progress(**about["progress"]), about["flags"])
