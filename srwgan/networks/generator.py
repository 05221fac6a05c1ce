"""The generator: a residual network whose output is added to the bilinearly upsampled picture.

Residual blocks without batch normalization follow EDSR (Lim et al. 2017, arXiv:1707.02921). Pixel shuffle is Shi et al.
2016 (arXiv:1609.05158). The parts are in `blocks.py`, the layers of its own in `layers.py`, `attention.py` and
`fourier.py`.

The constructor is the one description of the network:

- `receptive_field.py` derives how far the network looks from the layers that the constructor made.
- `srwgan/upscaling/fast_generator.py` runs the same layers in another order, and follows the constructor: who changes
  one changes the other. `tests/upscaling/test_fast_generator.py` fails where they differ.
"""

from typing import Any

import keras

from srwgan.networks.blocks import Parts
from srwgan.networks.layers import AddUpsampled
from srwgan.networks.receptive_field import alignment_of, receptive_field_of

ACTIVATIONS = ("leaky_relu", "prelu")
UPSAMPLINGS = ("pixelshuffle", "pixelshuffledirect", "fourier", "resize-conv")
ATTENTIONS = ("none", "channel", "window")
CONDITIONS = ("none", "noise")
SCALES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # scale -> the factors of its upsampling blocks


@keras.saving.register_keras_serializable("srwgan")
class Generator(keras.Model):
    """(B, H, W, 3) -> (B, scale H, scale W, 3), RGB in [-1, 1], float32 in and out, any H and W.

    With a condition it takes (images, strength), strength (B,) float32 in [0, 1].

        low_res (H, W, 3) --------------------------------+
           |                                              |
         first           convolution to `filters`         |
           |---------+                                    |
         block1      |   residual blocks                  |
          ...        |                                    |
         blockN      |                                    | bilinear
           |         | long skip                          | upsampling
         last_low_res    convolution                      |
           |         |                                    |
          (+)--------+                                    |
           |                                              |
         upsampling1     one block for each factor of     |
          ...            the scale; each halves the       |
         upsamplingM     channels                         |
           |                                              |
         last            convolution to 3 channels        |
           |                                              |
          (+)---------------------------------------------+
           |
        high_res (scale H, scale W, 3)

    All convolutions are 3x3 and pad with zeros, which is what training sees beyond a crop's edges. What a picture has
    beyond its edges when it is upscaled is defined by `edges.image_operator`.

    Args:
        filters: channels of the residual blocks. Each upsampling block halves them.
        blocks: number of residual blocks.
        scale: 2, 3, 4 or 8.
        activation: "leaky_relu" has slope 0.2 and runs inside the convolution before it. "prelu" has a trained slope
            for each channel (He et al. 2015, arXiv:1502.01852), which ends near 0.2 and costs passes over memory.
        upsampling: "pixelshuffle"; "pixelshuffledirect" (in place of the upsampling blocks an activation, and the last
            convolution gives all sub-pixels of a low-resolution pixel, as in ESPCN, Shi et al. 2016,
            arXiv:1609.05158: for small networks); "fourier" (zeros beyond the features' spectrum); "resize-conv"
            (nearest neighbor before the convolution, Odena et al. 2016, doi:10.23915/distill.00003).
        attention: "none", or in every residual block "channel" or "window".
        condition: "none"; "noise" is the strength of the pictures' degradation, from 0 (none) to 1 (the strongest).
        dtype: Keras dtype policy of the convolutions, e.g. "mixed_bfloat16".

    Attributes:
        receptive_field: low-resolution pixels on each side of a pixel that its result depends on. None where that is
            the whole picture ("fourier").
        alignment: origins and sizes of tiles have to be multiples of this many low-resolution pixels.

    Raises:
        ValueError: an argument outside of these.
    """

    def __init__(
        self,
        filters: int = 64,
        blocks: int = 8,
        scale: int = 4,
        activation: str = "leaky_relu",
        upsampling: str = "pixelshuffle",
        attention: str = "none",
        condition: str = "none",
        dtype: Any = None,
        **kwargs,
    ):
        check_arguments(filters=filters, blocks=blocks, scale=scale)
        check_choices(activation=activation, upsampling=upsampling, attention=attention, condition=condition)
        make = Parts(activation, keras.dtype_policies.get(dtype or keras.config.dtype_policy()))
        low_res = inputs = keras.Input((None, None, 3), dtype="float32", name="low_res")
        embedding = None
        if condition == "noise":
            strength = keras.Input((), dtype="float32", name="strength")
            embedding = make.embedding(strength, filters)
            inputs = (low_res, strength)

        x = first = make.convolution(low_res, filters, "first")
        for i in range(blocks):
            x = make.residual_block(x, f"block{i + 1}", attention=attention, embedding=embedding)
            if attention == "window":
                x = make.window_attention(x, f"block{i + 1}_attention", shifted=i % 2 == 1)
        x = make.convolution(x, filters, "last_low_res")
        x = make.sum(x, first, "long_skip")
        if upsampling == "pixelshuffledirect":
            x = make.activate(x, "last_low_res")
            x = make.convolution(x, 3 * scale**2, "last", initializer=near_zero())
            residual = make.shuffle(x, "last", factor=scale)
        else:
            for i, factor in enumerate(SCALES[scale]):
                fewer = max(filters // 2 ** (i + 1), 3)  # at a higher resolution every channel costs more
                x = make.upsampling_block(x, f"upsampling{i + 1}", kind=upsampling, filters=fewer, factor=factor)
            residual = make.convolution(x, 3, "last", initializer=near_zero())
        high_res = AddUpsampled(scale, name="add_upsampled")([residual, low_res])

        super().__init__(inputs=inputs, outputs=high_res, **kwargs)
        self.filters, self.blocks, self.scale, self.activation = filters, blocks, scale, activation
        self.upsampling, self.attention, self.condition = upsampling, attention, condition
        self.receptive_field, self.alignment = receptive_field_of(self), alignment_of(self)

    @property
    def is_plain(self) -> bool:
        """Whether it has none of the options beyond its size, its activation and the number of its pixel shuffles."""
        plain = self.upsampling in ("pixelshuffle", "pixelshuffledirect")
        return plain and (self.attention, self.condition) == ("none", "none")

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "blocks", "scale", "activation", "upsampling", "attention", "condition", "name")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Generator":
        return cls(
            **{"activation": "prelu", **config}
        )  # configurations without an activation are from before the option


def near_zero() -> keras.initializers.Initializer:
    """The last convolution's start. An initializer takes its seed when it is made, so each is made with its layer."""
    return keras.initializers.RandomNormal(stddev=1e-3)


def with_precision(network: keras.Model, policy: str) -> keras.Model:
    """A copy of a generator or discriminator that computes in another Keras dtype policy, e.g. "mixed_bfloat16"."""
    twin = type(network)(**network.get_config(), dtype=policy)
    twin.set_weights(network.get_weights())
    return twin


def check_arguments(*, filters: int, blocks: int, scale: int) -> None:
    """Raises ValueError for numbers that no `Generator` has."""
    if scale not in SCALES:
        raise ValueError(f"Received: scale={scale}. Expected one of {', '.join(map(str, SCALES))}.")
    if filters < 4:
        raise ValueError(f"Received: filters={filters}. Expected 4 or more.")
    if blocks < 1:
        raise ValueError(f"Received: blocks={blocks}. Expected 1 or more.")


def check_choices(*, activation: str, upsampling: str, attention: str, condition: str) -> None:
    """Raises ValueError for options that no `Generator` has."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"Received: activation={activation}. Expected {' or '.join(ACTIVATIONS)}.")
    if upsampling not in UPSAMPLINGS:
        raise ValueError(f"Received: upsampling={upsampling}. Expected one of {', '.join(UPSAMPLINGS)}.")
    if attention not in ATTENTIONS:
        raise ValueError(f"Received: attention={attention}. Expected one of {', '.join(ATTENTIONS)}.")
    if condition not in CONDITIONS:
        raise ValueError(f"Received: condition={condition}. Expected {' or '.join(CONDITIONS)}.")
