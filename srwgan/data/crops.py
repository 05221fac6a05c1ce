"""Photographs -> a stream of (low_res, high_res) crops, every draw keyed by (seed, epoch, sample)."""

import numpy as np
import tensorflow as tf

from srwgan.data.degradations import add_grain, check_degradation, degrade
from srwgan.pixels import downscale, to_range

TRAINING, VALIDATION, GRAIN = 1, 2, 3  # the last part of the key of a degradation or of grain


class CropStream:
    """Random crops with flips and quarter turns, and their low-resolution partners, antialiased bicubic or degraded.

    What sample i of epoch e is depends on (seed, e, i) alone, not on threads, workers or earlier draws, so a resumed or
    a distributed run sees what an uninterrupted one sees.

    Args:
        photos: a `Photos`, or a list of (H, W, 3) uint8 arrays, each at least crop x crop.
        crop: side of the high-resolution crops in pixels, a multiple of scale.
        scale: how many times smaller the low-resolution partner is.
        batch_size: samples in a batch of one replica.
        crops_per_photo: samples of each photograph in an epoch.
        sampling: "each" takes every photograph equally often, "area" in proportion to its pixels.
        draws: how many penalty positions e are drawn for each sample.
        interpolation: "gaussian" draws e from N(0, 1), "uniform" from U(0, 1).
        degradation: "bicubic", "gif", "real" or "mixed", see `degradations.degrade`.
        condition: "noise" puts the degradation's strength beside the low-resolution partner.
        grain: largest standard deviation, in levels, of the grain that half of the crops get before anything else, see
            `degradations.add_grain`; 0: none.

    Raises:
        ValueError: unknown names, or a condition without a degradation.
    """

    def __init__(
        self,
        photos,
        crop=256,
        scale=4,
        batch_size=4,
        seed=0,
        crops_per_photo=1,
        sampling="each",
        draws=1,
        interpolation="gaussian",
        degradation="bicubic",
        condition="none",
        grain=0.0,
    ):
        check_degradation(degradation, condition)
        self.photos, self.crop, self.scale, self.batch_size, self.seed = photos, crop, scale, batch_size, seed
        self.crops_per_photo, self.sampling = crops_per_photo, sampling
        self.draws, self.interpolation = draws, interpolation
        self.degradation, self.condition, self.grain = degradation, condition, grain

    def steps(self, replicas=1):
        """Batches in an epoch: all samples once, the last batch filled up with further crops."""
        return -(-len(self.photos) * self.crops_per_photo // (self.batch_size * replicas))

    def epoch(self, epoch, first_step=0, worker=0, workers=1, replicas_per_worker=1):
        """A tf.data.Dataset of one epoch from `first_step` on: a batch for each replica of this worker, in turn.

        Each batch is (low_res (B, c/s, c/s, 3), high_res (B, c, c, 3), e (B, draws)), images float32 in [-1, 1]; with a
        condition it is ((low_res, strength (B,) in [0, 1]), high_res, e).
        """
        replicas = workers * replicas_per_worker
        steps = self.steps(replicas)
        samples = np.arange(steps * replicas * self.batch_size, dtype=np.int64)
        chosen = self.photo_of_each_sample(epoch, len(samples))
        shape = (steps, workers, replicas_per_worker * self.batch_size)
        samples, chosen = samples.reshape(shape)[first_step:, worker], chosen.reshape(shape)[first_step:, worker]

        dataset = tf.data.Dataset.from_tensor_slices((samples.reshape(-1), chosen.reshape(-1)))
        dataset = dataset.map(lambda *drawn: self.draw(epoch, *drawn), num_parallel_calls=tf.data.AUTOTUNE)
        dataset = dataset.batch(self.batch_size, drop_remainder=True)
        dataset = dataset.map(self.finish, num_parallel_calls=tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)

    def photo_of_each_sample(self, epoch, number):
        random = np.random.default_rng([self.seed, epoch])
        if self.sampling == "area":
            areas = np.array([height * width for height, width in self.shapes()], np.float64)
            return random.choice(len(self.photos), number, p=areas / areas.sum())
        rounds = -(-number // len(self.photos))
        return np.concatenate([random.permutation(len(self.photos)) for _ in range(rounds)])[:number]

    def shapes(self):
        return getattr(self.photos, "shapes", None) or [photo.shape[:2] for photo in self.photos]

    def draw(self, epoch, sample, photo):
        """A uint8 crop of photograph number `photo`, turned, and the penalty positions of this sample.

        Where it is degraded, its uint8 low-resolution partner and the strength follow.
        """
        keys = tf.stack([tf.cast(self.seed, tf.int64) * 1_000_003 + epoch, sample])
        place = tf.random.stateless_uniform([2], keys)
        turn = tf.random.stateless_uniform([], keys + [1 << 40, 0], 0, 8, tf.int32)
        draw = tf.random.stateless_normal if self.interpolation == "gaussian" else tf.random.stateless_uniform
        e = draw([self.draws], keys + [2 << 40, 0])
        if self.degradation == "bicubic":
            crop = tf.numpy_function(self.cut, [photo, place, turn, epoch, sample], tf.uint8)
            return tf.ensure_shape(crop, (self.crop, self.crop, 3)), e
        crop, low_res, strength = tf.numpy_function(
            self.cut_degraded, [photo, place, turn, epoch, sample], [tf.uint8, tf.uint8, tf.float32]
        )
        small = self.crop // self.scale
        return (
            tf.ensure_shape(crop, (self.crop, self.crop, 3)),
            e,
            tf.ensure_shape(low_res, (small, small, 3)),
            tf.ensure_shape(strength, ()),
        )

    def cut_degraded(self, photo, place, turn, epoch, sample):
        crop = self.cut(photo, place, turn, epoch, sample)
        random = np.random.default_rng([self.seed, epoch, sample, TRAINING])
        low_res, strength = degrade(self.degradation, crop, self.photos[int(photo)], self.scale, random)
        return crop, low_res, np.float32(strength)

    def cut(self, photo, place, turn, epoch, sample):
        pixels = self.photos[int(photo)]
        top, left = (np.array(pixels.shape[:2]) - self.crop + 1) * place.astype(np.float64)
        top, left = min(int(top), pixels.shape[0] - self.crop), min(int(left), pixels.shape[1] - self.crop)
        crop = pixels[top : top + self.crop, left : left + self.crop]
        crop = np.ascontiguousarray(np.rot90(crop[:, ::-1] if turn > 3 else crop, turn))
        if not self.grain:
            return crop
        return add_grain(crop, np.random.default_rng([self.seed, epoch, sample, GRAIN]), self.grain)

    def finish(self, crops, e, low_res=None, strength=None):
        low_res = to_range(downscale(crops, self.scale) if low_res is None else low_res)
        return low_res if self.condition == "none" else (low_res, strength), to_range(crops), e


def held_out_crops(photos, crop, scale, number, degradation="bicubic", condition="none"):
    """Fixed crops for validation, the centres of the photographs: (low_res, high_res) in [-1, 1].

    With a condition: ((low_res, strength), high_res). Degradations are the same in every run, whatever its seed.
    """
    check_degradation(degradation, condition)
    number = min(number, len(photos))
    crops = np.stack([centre(photos[i], crop) for i in range(number)])
    if degradation == "bicubic":
        return to_range(downscale(tf.constant(crops), scale)), to_range(tf.constant(crops))
    randoms = [np.random.default_rng([i, 0, 0, VALIDATION]) for i in range(number)]
    low_res, strength = zip(
        *[degrade(degradation, crops[i], photos[i], scale, randoms[i]) for i in range(number)], strict=True
    )
    low_res, strength = to_range(tf.constant(np.stack(low_res))), tf.constant(strength, tf.float32)
    return low_res if condition == "none" else (low_res, strength), to_range(tf.constant(crops))


def centre(photo, size):
    top, left = (photo.shape[0] - size) // 2, (photo.shape[1] - size) // 2
    return photo[top : top + size, left : left + size]


def images_of(inputs):
    """The images of what a generator takes: those alone, or (images, strength) with a condition."""
    return tf.nest.flatten(inputs)[0]
