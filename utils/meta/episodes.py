"""Episodes: short training runs of small networks, from starts that are made once, in graphs that are traced once."""

import shlex
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from srwgan.data.crops import CropOptions, CropStream
from srwgan.data.photos import DEFAULT_CACHE, Photos, find_photos, open_photos
from srwgan.training.control.controls import CONTROLS, bounded
from srwgan.training.control.observation import HeldOut
from srwgan.training.flags import build_parser
from srwgan.training.portable.state import assign_values, read_values
from srwgan.training.setup import build_networks, build_trainer, crop_options

ROOT = Path(__file__).resolve().parents[2]
# What recipes/sharp.txt asks for, on small networks and crops: its shares of the losses and its optimizers, at twice
# its rates, since an episode is short. The rates stay, since when they fall is for a policy to find. The content loss
# is on features of the bundled discriminator, which need no download, and are none of the metric's.
BASE = (
    "--filters 16 --blocks 2 --dfilters 16 --cropsz 64 --batchsz 2 --precision float32 "
    "--weighting gradient --cweight 1 --advweight 0.05 --rweight 0.05 --latweight 0.3 "
    "--reconstruction l1 --interpolation uniform --content-norm unit "
    "--goptimizer muon --glr 1e-3 --doptimizer muon --dlr 1e-3 --beta1 0 --beta2 0.9 --ema 0.98 "
    f"--pretrained {shlex.quote(str(ROOT / 'SRWGAN_Gen' / 'discriminator.keras'))} "
    "--hyperpixel-layers conv2_lrelu,conv3_lrelu"
)
SHARES = (0.7, 0.15)  # of the photographs, for training and for the reward; the rest is for the final test
DB_PER_POINT, LPIPS_PER_POINT = 2.0, 0.05  # a point of the score, see `score`
STARTS = 4  # of the episodes that policies are trained on; those of the final test follow them
WARMUP, CRITIC_WARMUP = 300, 40  # batches of a start


@dataclass(frozen=True, kw_only=True)
class EpisodeOptions:
    """What an episode is.

    Args:
        decisions: in an episode.
        interval: batches between two decisions.
        measured: crops that reward and final test are each measured on.
        warmup: batches on the reconstruction loss alone, before the episodes of a start.
        critic_warmup: batches on the discriminator alone, after those.
        base: flags of train_SRWGAN.py.
    """

    decisions: int = 8
    interval: int = 6
    measured: int = 16
    warmup: int = WARMUP
    critic_warmup: int = CRITIC_WARMUP
    base: str = BASE

    @property
    def batches(self) -> int:
        return self.decisions * self.interval

    def flags(self, more: str = "") -> Namespace:
        """The base's flags as train_SRWGAN.py reads them; `more` go before them."""
        return build_parser().parse_args([*shlex.split(self.base), *shlex.split(more), "--controller", "POLICY"])


@dataclass(frozen=True)
class PhotoSets:
    """Three sets of photographs that have none in common."""

    training: Photos
    reward: Photos
    test: Photos


def open_sets(datapath: str, *, smallest: int, number: int = 10**6, cache: str = DEFAULT_CACHE) -> PhotoSets:
    """Divide a folder's photographs by `SHARES`, in an order that has nothing to do with their names.

    Args:
        datapath: a folder, searched recursively.
        smallest: pixels that the shorter side has at least.
        number: how many photographs are taken at most.
        cache: folder of decoded photographs.

    Raises:
        FileNotFoundError, ValueError: no such folder, or fewer than three usable photographs.
    """
    paths = find_photos(datapath)
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))]
    photos = open_photos(paths, number=number, smallest=smallest, cache=cache)
    if len(photos) < 3:
        raise ValueError(
            f"Received: datapath {datapath}, with {len(photos)} photographs of {smallest}x{smallest} or more. "
            "Expected three: one to train on, one for the reward, one for the final test."
        )
    first = min(max(1, round(SHARES[0] * len(photos))), len(photos) - 2)
    second = min(first + max(1, round(SHARES[1] * len(photos))), len(photos) - 1)
    everything = range(len(photos))
    return PhotoSets(
        *(photos.subset(part) for part in (everything[:first], everything[first:second], everything[second:]))
    )


def fixed_crops(photos: Photos, number: int, options: CropOptions) -> tuple[np.ndarray, np.ndarray]:
    """(low_res, high_res) of `number` crops, the same in every run, whatever its seed."""
    rounds = -(-number // len(photos))
    options = CropOptions(crop=options.crop, scale=options.scale, batch_size=number, crops_per_photo=rounds)
    low_res, high_res, _ = next(iter(CropStream(photos, options).epoch(0)))
    return low_res, high_res


def score(psnr: float, lpips: float) -> float:
    """What a policy is rewarded for: 2 dB of PSNR-Y are a point, 0.05 of LPIPS less are a point.

    From the faithful end to the sharp end, `SRWGAN_Gen` loses 1.7 dB and gains 0.12: both ends of a trade that this
    score leans to the eye's side of, but in which each still costs the other.
    """
    return psnr / DB_PER_POINT - lpips / LPIPS_PER_POINT


class Simulator:
    """Runs episodes. One at a time is under way; what it changes is put back when the next one begins.

    Episode n is trained from start n mod `STARTS`, on crops that follow from n. A start is a generator that was warmed
    up on the reconstruction loss, and a discriminator that was trained against it, from weights of their own.

    Args:
        sets: photographs.
        options: what an episode is.
        more: flags of train_SRWGAN.py that go before the base's.
    """

    def __init__(self, sets: PhotoSets, options: EpisodeOptions, more: str = ""):
        self.options, self.sets = options, sets
        self.args = options.flags(more)
        self.crops = crop_options(self.args)
        self.trainer = build_trainer(self.args, build_networks(self.args), updates=options.batches)
        self.controls = self.trainer.controls
        self.fresh = read_values(self.trainer)
        self.held_out = {
            name: HeldOut(*fixed_crops(getattr(sets, name), options.measured, self.crops), self.args.scale)
            for name in ("reward", "test")
        }
        self.starts, self.batches, self.source, self.steps = {}, None, None, 0

    def start(self, number: int) -> dict:
        """The values of all variables at a start, which is made when it is first asked for."""
        if number not in self.starts and self.source:
            known = self.source.start(number)
            self.starts[number] = {name: known.get(name, value) for name, value in self.fresh.items()}
        if number not in self.starts:
            assign_values(self.trainer, self.fresh)
            self.reset_controls()
            args = Namespace(**{**vars(self.args), "seed": number})
            for mine, new in zip(self.networks(), build_networks(args), strict=True):
                mine.set_weights(new.get_weights())
            batches = self.stream(number, self.options.warmup + self.options.critic_warmup)
            for phase, count in (("warmup", self.options.warmup), ("critic", self.options.critic_warmup)):
                if count:
                    self.trainer.train_batches(batches, tf.constant(count), phase)
            self.starts[number] = self.new_optimizers(read_values(self.trainer))
        return self.starts[number]

    def starts_from(self, other: "Simulator") -> None:
        """Take over another simulator's starts, whose networks are of the same shapes."""
        self.source = other

    @staticmethod
    def start_of(number: int) -> int:
        """Which start an episode of training begins from."""
        return number % STARTS

    def networks(self) -> tuple:
        return self.trainer.generator, self.trainer.discriminator, self.trainer.average

    def new_optimizers(self, values: dict) -> dict:
        """Values from which a run begins that an exported generator is given to: the average, and a new optimizer."""
        new = {
            name: self.fresh[name] if name.startswith(("generator_optimizer", "averaged_steps")) else value
            for name, value in values.items()
        }
        for mine, mean in zip(self.trainer.generator.weights, self.trainer.average.weights, strict=True):
            new[f"average/{mean.path}"] = new[f"generator/{mine.path}"] = values[f"average/{mean.path}"]
        return new

    def stream(self, epoch: int, batches: int):
        """An iterator over the batches of an epoch of the crop stream."""
        size = batches * self.crops.batch_size
        options = CropOptions(**{**vars(self.crops), "crops_per_photo": -(-size // len(self.sets.training))})
        return iter(CropStream(self.sets.training, options).epoch(epoch))

    def begin(self, episode: int, start: int | None = None) -> None:
        """Begin episode `episode`, 0 or more, from its own start or another one."""
        values = self.start(self.start_of(episode) if start is None else start)
        assign_values(self.trainer, values)
        self.reset_controls()
        self.batches = self.stream(100_000 + episode, self.options.batches)  # not those of the starts

    def reset_controls(self) -> None:
        self.controls.levels.assign(tf.zeros(len(CONTROLS)))
        self.controls.batches.assign(0)

    def interval(self, levels: np.ndarray) -> dict[str, float]:
        """Train on the batches up to the next decision with these levels (6,); returns the means of the metrics."""
        self.controls.levels.assign(bounded(levels).astype(np.float32))
        number, dstep = self.options.interval, self.controls.dstep
        metrics = self.trainer.train_batches(self.batches, tf.constant(number), "full", 0.0, dstep)
        self.steps += number
        return {name: float(value) for name, value in metrics.items()}

    def measure(self, which: str = "reward") -> tuple[float, float]:
        """PSNR-Y in dB and LPIPS of the averaged generator on the photographs of the reward or of the test."""
        return self.held_out[which](self.trainer.generate_average)

    def snapshot(self) -> dict:
        """The values of all variables now, for `restore`."""
        return read_values(self.trainer)

    def restore(self, values: dict) -> None:
        assign_values(self.trainer, values)
