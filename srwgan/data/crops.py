"""Photographs -> a stream of (low_res, high_res) crops, every draw keyed by (seed, epoch, sample)."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from srwgan.data.degradations import add_grain, check_degradation, degrade
from srwgan.data.shares import sampling_weights
from srwgan.pixels import downscale, to_range, turned

TRAINING, VALIDATION, GRAIN = 1, 2, 3  # what a NumPy generator is for, the last part of its key
PLACE_KEY, TURN_KEY, POSITION_KEY = 0, 1 << 40, 2 << 40  # what TensorFlow's key[0] is for, see `CropStream`


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """What crops are cut from photographs, and what their low-resolution partners are.

    Args:
        crop: side of the high-resolution crops in pixels, a multiple of scale.
        scale: how many times smaller the low-resolution partner is.
        batch_size: samples in a batch of one replica.
        seed: of all draws.
        crops_per_photo: samples of each photograph in an epoch.
        sampling: "each" takes every photograph equally often, "side" and "area" in proportion to `sampling_weights`.
        draws: how many penalty positions e are drawn for each sample.
        interpolation: "gaussian" draws e from N(0, 1), "uniform" from U(0, 1).
        degradation: "bicubic", "gif", "jpeg", "real" or "mixed", see `degradations.degrade`.
        condition: "noise" puts the degradation's strength beside the low-resolution partner.
        grain: largest standard deviation, in levels, of the grain that half of the crops get before anything else, see
            `degradations.add_grain`; 0: none.

    Raises:
        ValueError: an unknown degradation, or a condition without a degradation.
    """

    crop: int = 256
    scale: int = 4
    batch_size: int = 4
    seed: int = 0
    crops_per_photo: int = 1
    sampling: str = "each"
    draws: int = 1
    interpolation: str = "gaussian"
    degradation: str = "bicubic"
    condition: str = "none"
    grain: float = 0.0

    def __post_init__(self):
        check_degradation(self.degradation, self.condition)


class CropStream:
    """Random crops with flips and quarter turns, and their low-resolution partners, antialiased bicubic or degraded.

    What sample i of epoch e is depends on (seed, e, i) alone, not on threads, workers or earlier draws. So a resumed or
    a distributed run sees what an uninterrupted one sees.

    TensorFlow's stateless draws take a key of two int64. key[1] is the sample. key[0] holds three numbers, each with
    room for all values of the next:

    ```
    key[0] = use + seed x 1,000,003 + epoch

    0           1,000,003    2,000,006          2^40                            2 x 2^40
    |-----------|-----------|-----------|- ... -|-----------|-----------|- ... -|-----------|- ...
      seed 0      seed 1      seed 2              seed 0      seed 1              seed 0
      epoch 0, 1, 2, ... in each
    '------------- place ---------------- ... --'------------- turn ----- ... --'-- penalty positions
    ```

    So keys differ for up to a million epochs and a million seeds. NumPy's generators, which draw degradations and
    grain, take the key [seed, epoch, sample, use] as it is.

    Args:
        photos: a `Photos`, or a list of (H, W, 3) uint8 arrays, each at least crop x crop.
        options: a `CropOptions`.
    """

    def __init__(self, photos, options: CropOptions):
        self.photos, self.options = photos, options

    def steps(self, replicas: int = 1) -> int:
        """Batches in an epoch: all samples once, the last batch filled up with further crops."""
        return -(-len(self.photos) * self.options.crops_per_photo // (self.options.batch_size * replicas))

    def epoch(
        self, epoch: int, first_step: int = 0, *, worker: int = 0, workers: int = 1, replicas_per_worker: int = 1
    ) -> tf.data.Dataset:
        """A tf.data.Dataset of one epoch from `first_step` on: a batch for each replica of this worker, in turn.

        Each batch is (low_res (B, c/s, c/s, 3), high_res (B, c, c, 3), e (B, draws)), images float32 in [-1, 1]; with a
        condition it is ((low_res, strength (B,) in [0, 1]), high_res, e).
        """
        replicas = workers * replicas_per_worker
        steps = self.steps(replicas)
        samples = np.arange(steps * replicas * self.options.batch_size, dtype=np.int64)
        chosen = self.photo_of_each_sample(epoch, len(samples))
        shape = (steps, workers, replicas_per_worker * self.options.batch_size)
        samples, chosen = samples.reshape(shape)[first_step:, worker], chosen.reshape(shape)[first_step:, worker]

        dataset = tf.data.Dataset.from_tensor_slices((samples.reshape(-1), chosen.reshape(-1)))
        dataset = dataset.map(lambda *drawn: self.draw(epoch, *drawn), num_parallel_calls=tf.data.AUTOTUNE)
        dataset = dataset.batch(self.options.batch_size, drop_remainder=True)
        dataset = dataset.map(self.finish, num_parallel_calls=tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)

    def photo_of_each_sample(self, epoch: int, number: int) -> np.ndarray:
        """(number,) indices of the photographs that an epoch's samples are cut from."""
        random = np.random.default_rng([self.options.seed, epoch])
        if self.options.sampling != "each":
            weights = sampling_weights(self.shapes(), self.options.sampling)
            return random.choice(len(self.photos), number, p=weights / weights.sum())
        rounds = -(-number // len(self.photos))
        return np.concatenate([random.permutation(len(self.photos)) for _ in range(rounds)])[:number]

    def shapes(self):
        """(H, W) of each photograph."""
        return getattr(self.photos, "shapes", None) or [photo.shape[:2] for photo in self.photos]

    def draw(self, epoch, sample, photo):
        """A uint8 crop of photograph number `photo`, turned, and the penalty positions of this sample.

        Where it is degraded, its uint8 low-resolution partner and the strength follow.
        """
        key = tf.stack([tf.cast(self.options.seed, tf.int64) * 1_000_003 + epoch, sample])
        place = tf.random.stateless_uniform([2], key + [PLACE_KEY, 0])
        turn = tf.random.stateless_uniform([], key + [TURN_KEY, 0], 0, 8, tf.int32)
        draw = tf.random.stateless_normal if self.options.interpolation == "gaussian" else tf.random.stateless_uniform
        e = draw([self.options.draws], key + [POSITION_KEY, 0])
        side = self.options.crop
        if self.options.degradation == "bicubic":
            crop = tf.numpy_function(self.cut, [photo, place, turn, epoch, sample], tf.uint8)
            return tf.ensure_shape(crop, (side, side, 3)), e
        crop, low_res, strength = tf.numpy_function(
            self.cut_degraded, [photo, place, turn, epoch, sample], [tf.uint8, tf.uint8, tf.float32]
        )
        small = side // self.options.scale
        return (
            tf.ensure_shape(crop, (side, side, 3)),
            e,
            tf.ensure_shape(low_res, (small, small, 3)),
            tf.ensure_shape(strength, ()),
        )

    def cut_degraded(self, photo, place, turn, epoch, sample):
        """What `cut` gives, its degraded low-resolution partner and the strength."""
        crop = self.cut(photo, place, turn, epoch, sample)
        random = np.random.default_rng([self.options.seed, epoch, sample, TRAINING])
        low_res, strength = degrade(
            self.options.degradation, crop, photo=self.photos[int(photo)], scale=self.options.scale, random=random
        )
        return crop, low_res, np.float32(strength)

    def cut(self, photo, place, turn, epoch, sample):
        """A crop, uint8.

        Args:
            photo: the photograph's index.
            place: (2,) in [0, 1), of the top and the left among all that are possible.
            turn: 0 to 7: quarter turns, mirrored first from 4 on.
            epoch, sample: the key of the grain.
        """
        pixels, side = self.photos[int(photo)], self.options.crop
        top, left = (np.array(pixels.shape[:2]) - side + 1) * place.astype(np.float64)
        top, left = min(int(top), pixels.shape[0] - side), min(int(left), pixels.shape[1] - side)
        crop = turned(pixels[top : top + side, left : left + side], turn)
        if not self.options.grain:
            return crop
        return add_grain(crop, np.random.default_rng([self.options.seed, epoch, sample, GRAIN]), self.options.grain)

    def finish(self, crops, e, low_res=None, strength=None):
        """A batch as `epoch` gives it; clean low resolutions are made here, for the whole batch at once."""
        low_res = to_range(downscale(crops, self.options.scale) if low_res is None else low_res)
        return low_res if self.options.condition == "none" else (low_res, strength), to_range(crops), e


def held_out_crops(photos, number: int, options: CropOptions):
    """Fixed crops for validation, the centers of the first `number` photographs: (low_res, high_res) in [-1, 1].

    With a condition: ((low_res, strength), high_res). Degradations are the same in every run, whatever its seed.
    """
    photos = [photos[i] for i in range(min(number, len(photos)))]
    crops = [center_crop(photo, options.crop) for photo in photos]
    high_res = tf.constant(np.stack(crops))
    if options.degradation == "bicubic":
        return to_range(downscale(high_res, options.scale)), to_range(high_res)
    pairs = []
    for i, (photo, crop) in enumerate(zip(photos, crops, strict=True)):
        random = np.random.default_rng([i, 0, 0, VALIDATION])
        pairs.append(degrade(options.degradation, crop, photo=photo, scale=options.scale, random=random))
    low_res, strength = zip(*pairs, strict=True)
    low_res, strength = to_range(tf.constant(np.stack(low_res))), tf.constant(strength, tf.float32)
    return low_res if options.condition == "none" else (low_res, strength), to_range(high_res)


def center_crop(photo, side):
    """The (side, side, 3) in the middle of a photograph."""
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    return photo[top : top + side, left : left + side]


def images_of(inputs):
    """The images of what a generator takes: those alone, or (images, strength) with a condition."""
    return tf.nest.flatten(inputs)[0]
