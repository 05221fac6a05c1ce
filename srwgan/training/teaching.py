"""Learning from another generator: knowledge distillation (Hinton et al. 2015, arXiv:1503.02531), of pictures."""

import tensorflow as tf

from srwgan.networks.diffusion import DiffusionGenerator
from srwgan.networks.edges import with_edges
from srwgan.networks.foreign_generator import ForeignGenerator
from srwgan.networks.saving import load_generator


class Teacher:
    """Trained generators whose results take a share of what a training compares with.

    A photograph holds detail that its low resolution does not tell. To a generator this part is noise, and most of the
    difference that a converged one is trained on is such noise. A better generator's result holds none of it.

    Args:
        generators: each a `Generator` without a condition, or a `ForeignGenerator`. They stay as they are, and compute
            in float32: in bfloat16 their own rounding would be learnt too.
        share: of the mean of their results in the targets, 0 to 1; the rest is the photograph's.
    """

    def __init__(self, generators: list, share: float):
        self.generators, self.share = generators, share

    def targets(self, low_res, high_res: tf.Tensor, *, margin: int, edges: str) -> tf.Tensor:
        """The photographs' crops and the teachers' results of their low resolution, by their shares.

        Args:
            low_res: (B, H, W, 3) in [-1, 1], or with a condition (images, strength (B,)); teachers get the images.
            high_res: (B, sH, sW, 3) in [-1, 1].
            margin, edges: what is beyond the crops' edges, see `with_edges`.

        Returns:
            (B, sH, sW, 3) in [-1, 1]. No gradient flows to them.
        """
        images, *_ = tf.nest.flatten(low_res)
        results = [with_edges(each, margin, edges)(images, training=False) for each in self.generators]
        results = [tf.clip_by_value(tf.cast(each, high_res.dtype), -1.0, 1.0) for each in results]
        mean = tf.stop_gradient(tf.add_n(results) / len(results))
        return high_res + self.share * (tf.ensure_shape(mean, high_res.shape) - high_res)


def load_teacher(folders: list[str], share: float, *, scale: int) -> Teacher:
    """The teachers in these folders, for a generator of this scale.

    Raises:
        FileNotFoundError, ValueError: in one is no generator, or one of another scale, with a condition, of pictures of
            one size alone, or one that draws samples.
    """
    return Teacher([load_one(folder, scale) for folder in folders], share)


def load_one(folder, scale):
    generator = load_generator(folder)
    if isinstance(generator, DiffusionGenerator):
        raise ValueError(f"Received: --teacher {folder}, a diffusion model. Expected a generator (see --student).")
    if getattr(generator, "condition", "none") != "none":
        raise ValueError(f"Received: --teacher {folder}, with a condition. Expected one that takes images alone.")
    if generator.scale != scale:
        raise ValueError(f"Received: --teacher {folder}, of scale {generator.scale}. Expected --scale {scale}.")
    if isinstance(generator, ForeignGenerator) and None not in generator.input.shape[1:3]:
        size = "x".join(str(side) for side in generator.input.shape[1:3])
        raise ValueError(
            f"Received: --teacher {folder}, for {size} pixels alone. Expected one for pictures of any size."
        )
    return generator
