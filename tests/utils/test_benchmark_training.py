import types

import keras
import numpy as np
import pytest

from srwgan.networks.discriminator import Discriminator
from srwgan.networks.generator import Generator
from srwgan.upscaling.network import network_for
from utils.benchmark import command as benchmark
from utils.benchmark import training as benchmark_train
from utils.benchmark.training import convolutions


def conv(side, kernel, channels_in, channels_out):
    return 2 * side**2 * kernel**2 * channels_in * channels_out


def test_convolutions_of_the_generator_agree_with_those_of_its_inference():
    generator = Generator(8, 2, 4)
    assert sum(convolutions(generator, 12)) == 2 * 12**2 * network_for(generator, "float32").multiply_adds_per_pixel()


def test_convolutions_of_the_discriminator_by_hand():
    """An odd side is padded to an even one before space to depth."""
    for side, half in (32, 16), (31, 16):
        assert convolutions(Discriminator(8), side) == [
            conv(half, 3, 12, 8),
            conv(half // 2, 4, 8, 12),
            conv(half // 4, 4, 12, 24),
            conv(half // 4, 3, 24, 24),
            conv(half // 4, 3, 24, 1),
        ]


def test_convolutions_up_to_the_chosen_layers_of_a_classifier():
    image = x = keras.Input((None, None, 3))
    for filters in 4, 5, 6:
        x = keras.layers.Conv2D(filters, 3, 2, padding="same", name=f"conv{filters}")(x)
    whole = keras.Model(image, x)
    features = keras.Model(image, [whole.get_layer("conv4").output, whole.get_layer("conv5").output])
    assert convolutions(features, 16) == [conv(8, 3, 3, 4), conv(4, 3, 4, 5)]


def test_a_step_is_the_sum_of_its_parts():
    trainer = types.SimpleNamespace(
        generator=Generator(4, 1, 4), discriminator=Discriminator(4), options=types.SimpleNamespace(shift=4)
    )
    image = keras.Input((None, None, 3))
    features = keras.Model(image, keras.layers.Conv2D(4, 1)(image))
    found = benchmark_train.operations_of(trainer, {"resnet50": types.SimpleNamespace(features=features)})
    g, d = convolutions(trainer.generator, 64), convolutions(trainer.discriminator, 252)
    steps = {
        "generator": 3 * sum(g) - g[0],
        "penalty": 4 * sum(d) - 2 * d[-1],
        "discriminator": 10 * sum(d) - 2 * d[0] - 2 * d[-1] + sum(g),
        "content loss, resnet50": 3 * conv(252, 1, 3, 4),
    }
    for name, count in steps.items():
        assert found[name] == 4 * count
    assert found["whole step"] == 4 * (sum(steps.values()) - steps["penalty"] + 2 * sum(d))


def test_shares_are_of_the_matrix_product_of_the_same_precision(monkeypatch):
    seconds = {"matrix product": [2.0, 1.0], "generator": [0.5, 0.9], "whole step": [3.0, 3.0]}
    operations = {"matrix product": 8e9, "generator": 3e9, "whole step": 6e9}
    monkeypatch.setattr(benchmark_train, "parts_of_a_step", lambda precision: ({}, operations))
    monkeypatch.setattr(benchmark_train, "in_turns", lambda tasks, repeats: seconds)
    monkeypatch.setattr(benchmark_train, "fast_bfloat16", lambda: False)
    section = benchmark_train.measure_steps(types.SimpleNamespace(quick=True))
    generator = section.figures["float32"]["generator"]
    assert generator["GFLOP/s"] == pytest.approx(6) and generator["share of the matrix product"] == pytest.approx(0.75)
    assert "float32, generator: 0.500 s, 8.0 images/s, 6 GFLOP/s (75%)" in section.lines
    (target,) = section.targets
    assert target.name == "generator, float32, share of the matrix product"
    assert (target.value, target.least, target.verdict) == (pytest.approx(0.75), 0.7, "reached")


def test_the_stand_in_classifiers_have_the_default_layers():
    network = benchmark_train.random_hyperpixels("vgg16", "float32")
    assert [maps.shape[-1] for maps in network(np.zeros((1, 16, 16, 3), np.float32))] == [64, 128, 256, 512]


def test_training_is_asked_for_by_a_flag(capsys):
    parser = benchmark.build_parser()
    assert benchmark.parse_arguments(parser, ["--train"]).sections == ["steps", "data", "workers", "portable"]
    assert "steps" not in benchmark.parse_arguments(parser, []).sections
    with pytest.raises(SystemExit):
        benchmark.parse_arguments(parser, ["--train", "memory"])
    assert "Received: memory. Expected of steps, data, workers, portable." in capsys.readouterr().err
