"""A generator's faithful end and the generators in its folder: --fidelity and --model NAME."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import testGenerator
from srwgan.media.gif import GifReader, GifWriter
from srwgan.media.still.images import read_image
from srwgan.networks.generator import Generator
from srwgan.networks.saving import export_generator, load_generator
from utils import testGenerate


def shaken(seed):
    generator = Generator(filters=4, blocks=1, scale=2)
    random = np.random.default_rng(seed)
    generator.set_weights([random.normal(0, 0.1, weight.shape) for weight in generator.get_weights()])
    return generator


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with SRWGAN_Gen, its faithful end and photo.png, clip.gif in it."""
    monkeypatch.chdir(tmp_path)
    export_generator(shaken(0), "SRWGAN_Gen", served=False)
    export_generator(shaken(1), "SRWGAN_Gen/faithful", served=False)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 14, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("photo.png")
    with GifWriter("clip.gif", (14, 12), loop=0) as writer:
        writer.write(pixels, 40)
    return tmp_path


def upscaled(*arguments, source="photo.png"):
    flags = ["--precision", "float32", "--palette", "frame", "--dither", "none", "--no-gifsicle", "--overwrite"]
    assert testGenerator.main([source, "--output", "out", *flags, *map(str, arguments)]) == 0
    result = f"out/{Path(source).stem}_SR{Path(source).suffix}"
    if source.endswith(".png"):
        return read_image(result).pixels
    with GifReader(result) as reader:
        return [frame for frame, _ in reader][0]


def expected(gen_model):
    image = testGenerate.load_img("photo.png")
    return np.round(np.clip(testGenerate.generate_one_img(gen_model, image), 0, 1) * 255)


def close(pixels, others):
    return np.abs(pixels.astype(int) - others).max() <= 1


def test_the_smallest_folder_has_no_saved_model(folder):
    assert sorted(os.listdir("SRWGAN_Gen/faithful")) == ["config.json", "generator.keras"]


def test_fidelity_goes_from_the_sharp_to_the_faithful_end(folder):
    sharp, faithful = (load_generator(path) for path in ("SRWGAN_Gen", "SRWGAN_Gen/faithful"))
    np.testing.assert_array_equal(upscaled(), upscaled("--fidelity", 0))
    assert close(upscaled("--fidelity", 0), expected(sharp))
    assert close(upscaled("--fidelity", 1), expected(faithful))
    assert not close(upscaled("--fidelity", 1), expected(sharp))

    middle = testGenerate.load_gen("SRWGAN_Gen", fidelity=0.25)
    for mixed, a, b in zip(middle.get_weights(), sharp.get_weights(), faithful.get_weights(), strict=True):
        np.testing.assert_allclose(mixed, 0.75 * a + 0.25 * b, rtol=1e-5, atol=1e-7)
    assert close(upscaled("--fidelity", 0.25), expected(middle))


def test_gifs_are_upscaled_by_the_robust_generator_where_it_is_there(folder):
    before, photo = upscaled(source="clip.gif"), upscaled()
    export_generator(shaken(2), "SRWGAN_Gen/robust", served=False)
    robust = expected(testGenerate.load_gen("robust"))
    np.testing.assert_array_equal(upscaled(), photo)
    assert close(upscaled("--model", "robust"), robust)
    by_default = upscaled(source="clip.gif")
    np.testing.assert_array_equal(by_default, upscaled("--model", "robust", source="clip.gif"))
    assert not close(by_default, before)
    np.testing.assert_array_equal(upscaled("--model", "SRWGAN_Gen", source="clip.gif"), before)


def test_generators_in_the_folder_have_names_and_a_path_of_the_same_name_begins_with_a_dot(folder):
    export_generator(shaken(3), "SRWGAN_Gen/fast", served=False)
    export_generator(shaken(4), "fast", served=False)
    of_name, of_path = (expected(load_generator(path)) for path in ("SRWGAN_Gen/fast", "fast"))
    assert close(upscaled("--model", "fast"), of_name) and close(upscaled("--model", "SRWGAN_Gen/fast"), of_name)
    assert close(upscaled("--model", "./fast"), of_path) and not close(upscaled("--model", "./fast"), of_name)
    assert close(expected(testGenerate.load_gen("fast")), of_name)
    np.testing.assert_array_equal(upscaled("--model", "faithful"), upscaled("--fidelity", 1))
    clips = [upscaled("--model", name, source="clip.gif") for name in ("fast", "SRWGAN_Gen/fast")]
    np.testing.assert_array_equal(*clips)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "robust"], "model robust"),
        (["--model", "fast"], "Received: model fast, and SRWGAN_Gen/fast has no generator."),
        (["--fidelity", "1.5"], "Expected a number from 0 to 1"),
        (["--fidelity", "nan"], "Expected a number from 0 to 1"),
        (["--fidelity", "x"], "--fidelity"),
        (["--fidelity", "0.5", "--model", "SRWGAN_Gen/faithful"], "Expected fidelity 0"),
    ],
)
def test_what_is_missing_is_said_in_one_line(folder, capsys, arguments, said):
    try:
        status = testGenerator.main(["photo.png", "--output", "out", *arguments])
    except SystemExit as exited:
        status = exited.code
    printed = capsys.readouterr()
    assert status == 2 and said in printed.err and printed.err.count("\n") == 1 and not printed.out
    assert not os.path.exists("out")


def test_load_gen_says_what_is_missing(folder):
    with pytest.raises(FileNotFoundError, match="model robust"):
        testGenerate.load_gen("robust")
    with pytest.raises(FileNotFoundError, match="Expected fidelity 0"):
        testGenerate.load_gen("SRWGAN_Gen/faithful", fidelity=1)
    with pytest.raises(ValueError, match="from 0 to 1"):
        testGenerate.load_gen(fidelity=-0.1)
