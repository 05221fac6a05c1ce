import dataclasses

import jax
import numpy as np
import pytest
from jax import export

from srwgan.networks.edges import image_operator
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator
from utils.export_step import main


@pytest.fixture(scope="module")
def generator(stablehlo, tmp_path_factory):
    """A generator whose last convolution does something, and its folder."""
    generator = Generator(filters=4, blocks=1, scale=2)
    random = np.random.default_rng(0)
    generator.set_weights([random.normal(size=weight.shape, scale=0.2) for weight in generator.get_weights()])
    folder = tmp_path_factory.mktemp("generators") / "SRWGAN_Gen"
    export_generator(generator, folder, served=False)
    return generator, folder


def run(path, low_res, shape):
    """As README does it."""
    alike = jax.jit(lambda x: jax.numpy.zeros(shape, np.float32), keep_unused=True)
    program = path.read_bytes()
    return jax.jit(dataclasses.replace(export.export(alike)(low_res), mlir_module_serialized=program).call)(low_res)


def test_jax_makes_the_picture_that_tensorflow_makes(generator, tmp_path, capsys):
    network, folder = generator
    flags = ["--generator", folder, "--size", "20x12", "--batch", "2", "--precision", "float32"]
    assert main([str(flag) for flag in (tmp_path / "generator.stablehlo", *flags)]) == 0
    assert "low_res (2, 12, 20, 3) to high_res (2, 24, 40, 3), float32" in capsys.readouterr().out
    low_res = np.random.default_rng(1).uniform(-1, 1, (2, 12, 20, 3)).astype(np.float32)
    made = run(tmp_path / "generator.stablehlo", low_res, (2, 24, 40, 3))
    wanted = image_operator(network, low_res)
    assert np.abs(made - wanted).max() < 1e-4
    assert np.abs(network(low_res) - wanted).max() > 1e-2  # edges are not those of the network alone


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size", "20"], "Expected WIDTHxHEIGHT"),
        (["--batch", "0"], "Received: 0. Expected a whole number of 1 or more"),
        (["--generator", "nothing"], "Received: model nothing"),
        (["--fidelity", "1"], "Expected fidelity 0, or a folder with both ends"),
    ],
)
def test_wrong_inputs_are_one_line(generator, tmp_path, capsys, flags, message):
    given = ["--generator", str(generator[1]), *flags]
    with pytest.raises(SystemExit) as exit:
        main([str(tmp_path / "out.stablehlo"), *given])
    assert exit.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
