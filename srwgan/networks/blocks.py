"""The parts that a generator is made of: convolutions, residual blocks, upsampling blocks and the condition."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import KerasTensor, layers

from srwgan.networks.attention import channel_attention, window_attention
from srwgan.networks.fourier import FourierUpsampling
from srwgan.networks.layers import ICNR, LeakyReLU, PixelShuffle, ScaleAndShift

SLOPE = 0.2  # of the leaky ReLU


@dataclass(frozen=True)
class Parts:
    """Makes a generator's parts, all with one activation and one Keras dtype policy.

    Every method takes features (B, H, W, C) and the name of the part, which its layers' names begin with. Except for
    upsampling blocks, height and width stay.
    """

    activation: str
    policy: keras.DTypePolicy

    def convolution(
        self, x: KerasTensor, filters: int, name: str, *, initializer: Any = "glorot_uniform"
    ) -> KerasTensor:
        """3x3, padded with zeros, to `filters` channels."""
        options = {"padding": "same", "kernel_initializer": initializer, "dtype": self.policy}
        return layers.Conv2D(filters, 3, name=name, **options)(x)

    def activate(self, x: KerasTensor, name: str) -> KerasTensor:
        if self.activation == "leaky_relu":
            return LeakyReLU(SLOPE, dtype=self.policy, name=f"{name}_lrelu")(x)
        start = keras.initializers.Constant(0.25)
        return layers.PReLU(shared_axes=[1, 2], alpha_initializer=start, dtype=self.policy, name=f"{name}_prelu")(x)

    def sum(self, x: KerasTensor, y: KerasTensor, name: str) -> KerasTensor:
        return layers.Add(dtype=self.policy, name=name)([x, y])

    def residual_block(
        self, x: KerasTensor, name: str, *, attention: str = "none", embedding: KerasTensor | None = None
    ) -> KerasTensor:
        """x + convolution, activation, convolution [, condition] [, channel attention]."""
        filters = x.shape[-1]
        y = self.convolution(x, filters, f"{name}_conv1")
        y = self.activate(y, name)
        y = self.convolution(y, filters, f"{name}_conv2")
        if embedding is not None:
            y = self.conditioned(y, name, embedding)
        if attention == "channel":
            y = channel_attention(y, f"{name}_attention", policy=self.policy)
        return self.sum(x, y, f"{name}_add")

    def window_attention(self, x: KerasTensor, name: str, *, shifted: bool) -> KerasTensor:
        return window_attention(x, name, shifted=shifted, policy=self.policy)

    def embedding(self, strength: KerasTensor, filters: int) -> KerasTensor:
        """Strength (B,) -> features (B, filters) of it, in float32."""
        x = layers.Reshape((1,), dtype="float32", name="strength_column")(strength)
        return layers.Dense(filters, activation="silu", dtype="float32", name="strength_embedding")(x)

    def conditioned(self, x: KerasTensor, name: str, embedding: KerasTensor) -> KerasTensor:
        """x (1 + scale) + shift, with a scale and a shift for each channel that depend on the embedding.

        Both start at 0, so that the condition starts without effect.
        """
        size = 2 * x.shape[-1]
        scale_and_shift = layers.Dense(size, kernel_initializer="zeros", dtype="float32", name=f"{name}_condition")
        return ScaleAndShift(dtype=self.policy, name=f"{name}_modulated")([x, scale_and_shift(embedding)])

    def upsampling_block(self, x: KerasTensor, name: str, *, kind: str, filters: int, factor: int) -> KerasTensor:
        """(B, H, W, C) -> (B, factor H, factor W, filters) in one of three ways, see `Generator`'s `upsampling`."""
        block = {"pixelshuffle": self.pixel_shuffle, "fourier": self.fourier, "resize-conv": self.resized}[kind]
        return block(x, name, filters=filters, factor=factor)

    def pixel_shuffle(self, x: KerasTensor, name: str, *, filters: int, factor: int) -> KerasTensor:
        """Convolution to factor^2 times the channels, activation, pixel shuffle.

        PReLU comes after the shuffle, since it has a slope for each channel of the result.
        """
        x = self.convolution(x, filters * factor**2, f"{name}_conv", initializer=ICNR(factor))
        if self.activation == "leaky_relu":
            x = self.activate(x, name)
        x = self.shuffle(x, name, factor=factor)
        return self.activate(x, name) if self.activation == "prelu" else x

    def shuffle(self, x: KerasTensor, name: str, *, factor: int) -> KerasTensor:
        return PixelShuffle(factor, dtype=self.policy, name=f"{name}_shuffle")(x)

    def fourier(self, x: KerasTensor, name: str, *, filters: int, factor: int) -> KerasTensor:
        """Convolution, band-limited interpolation, activation. Only the activation makes higher frequencies."""
        x = self.convolution(x, filters, f"{name}_conv")
        x = FourierUpsampling(factor, dtype=self.policy, name=f"{name}_fourier")(x)
        return self.activate(x, name)

    def resized(self, x: KerasTensor, name: str, *, filters: int, factor: int) -> KerasTensor:
        """Nearest-neighbor upsampling, convolution at the higher resolution, activation."""
        x = layers.UpSampling2D(factor, dtype=self.policy, name=f"{name}_resize")(x)
        x = self.convolution(x, filters, f"{name}_conv")
        return self.activate(x, name)
