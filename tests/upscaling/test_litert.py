"""LiteRT: the file that is written, and that its results are those of TensorFlow to one level."""

import json
import shutil

import numpy as np
import pytest

from srwgan.networks.diffusion import DiffusionGenerator
from srwgan.networks.edges import crop, with_edges
from srwgan.networks.generator import Generator
from srwgan.networks.model_folder import CONFIG_FILE, GENERATOR_FILE, LITERT_FILE, MAIN, found
from srwgan.networks.saving import export_generator, load_generator
from srwgan.pixels import to_pixels, to_range
from srwgan.upscaling import litert
from srwgan.upscaling.fast_generator import FastGenerator
from srwgan.upscaling.litert import LiteUpscaler, export_litert
from srwgan.upscaling.upscaler import Upscaler
from utils.export_litert import main as export_command

pytest.importorskip("ai_edge_litert", reason="LiteRT: python3 -m pip install -r requirements-lite.txt")


@pytest.fixture(scope="module")
def generator():
    generator = Generator(filters=8, blocks=2)
    random = np.random.default_rng(0)
    last = generator.get_layer("last")
    last.kernel.assign(random.normal(0, 0.1, last.kernel.shape))
    return generator


@pytest.fixture(scope="module")
def folder(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite_Gen")
    export_litert(generator, folder / LITERT_FILE)
    facts = {"receptive_field": generator.receptive_field, "alignment": generator.alignment}
    (folder / CONFIG_FILE).write_text(json.dumps({**generator.get_config(), **facts}))
    return folder


@pytest.fixture(scope="module")
def lite(folder):
    return LiteUpscaler(folder)


@pytest.fixture(scope="module")
def upscaler(generator):
    return Upscaler(generator, "float32")


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_are_those_of_tensorflow_to_one_level(lite, upscaler, make_photo, channels, dtype):
    photo = make_photo(21, 34)
    pixels = np.dstack([photo, photo[..., :1]])[..., [[0], [0, 3], [0, 1, 2], [0, 1, 2, 3]][channels - 1]]
    if channels in (2, 4):
        pixels[:9, :9, -1] = 0
        pixels[12:, :, -1] = 255
    pixels = pixels.astype(dtype) * (np.iinfo(dtype).max // 255)
    result = lite.image(pixels)
    assert result.dtype == dtype and result.shape == (84, 136, channels)
    assert difference(result, upscaler.image(pixels)) <= 1


def test_tensors(lite, upscaler):
    low_res = np.random.default_rng(1).uniform(-1, 1, (2, 9, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(lite.tensor(low_res), upscaler.tensor(low_res), atol=1e-4)


def test_a_file_from_before_keeps_its_own_edges(generator, folder, make_photo, tmp_path):
    """Up to version 1.0 `tiles` took the whole halo off its tiles: such a file sees as much of the mirror as that."""
    import tensorflow as tf

    halo, network = generator.receptive_field, FastGenerator(generator, "float32")

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3])])
        def tiles(self, tiles):
            high_res = network.shuffled(network.sub_pixels(tiles))
            return {"output": crop(high_res, (halo - network.margin) * network.scale)}

    module = Module()
    content = litert.converted(module, {"tiles": module.tiles.get_concrete_function()})
    (tmp_path / LITERT_FILE).write_bytes(content)
    shutil.copy(folder / CONFIG_FILE, tmp_path)
    photo = make_photo(26, 31)
    expected = to_pixels(with_edges(generator, halo)(to_range(photo[None])))[0]
    for tile in (None, 16):
        upscaler = LiteUpscaler(tmp_path, tile=tile)
        assert upscaler.network.margin == upscaler.network.halo == halo
        assert difference(upscaler.image(photo), expected) <= 1


def test_every_tile_size_gives_the_same_pixels(folder, lite, make_photo):
    photo = make_photo(40, 50)
    np.testing.assert_array_equal(LiteUpscaler(folder, tile=16).image(photo), lite.image(photo))


def test_frames_and_what_changed_of_them(lite, upscaler, make_photo):
    frames = [make_photo(40, 50) for _ in range(4)]
    frames[2][5:9, 7:12] = 200
    frames[3][:] = make_photo(40, 50, seed=1)
    for reuse in (True, False):
        results = list(lite.frames(frames, reuse=reuse))
        assert len(results) == 4
        for result, expected in zip(results, upscaler.frames(frames, reuse=reuse), strict=True):
            assert difference(result, expected) <= 1


def test_the_signature_that_others_use_has_its_edges(folder, upscaler, make_photo):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(folder / LITERT_FILE)).get_signature_runner("serving_default")
    for height, width in ((20, 30), (33, 17)):
        low_res = make_photo(height, width)[None] / np.float32(127.5) - 1
        np.testing.assert_allclose(run(images=low_res)["output"].clip(-1, 1), upscaler.tensor(low_res), atol=1e-4)


def test_generators_that_it_cannot_run(tmp_path):
    for options in ({"attention": "channel"}, {"upsampling": "fourier"}, {"condition": "noise"}):
        with pytest.raises(ValueError, match="Received: a generator with options that LiteRT does not have"):
            export_litert(Generator(filters=8, blocks=1, **options), tmp_path / LITERT_FILE)
    assert not list(tmp_path.iterdir())


def test_a_folders_generators_get_theirs_but_a_diffusion_model(generator, tmp_path, capsys):
    for network, place in ((generator, "Gen"), (generator, "Gen/fast"), (DiffusionGenerator(8, 1), "Gen/diffusion")):
        export_generator(network, tmp_path / "Aside", served=False)
        (tmp_path / place).mkdir()
        (tmp_path / "Aside" / GENERATOR_FILE).rename(tmp_path / place / GENERATOR_FILE)
        shutil.rmtree(tmp_path / "Aside")
    assert export_command([str(tmp_path / "Gen")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Written", "Written", "Left out, since LiteRT has none"]
    written = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob(LITERT_FILE)}
    assert written == {"Gen", "Gen/fast"}
    assert export_command([str(tmp_path / "Gen" / "diffusion")]) == 2
    assert "Expected a plain one" in capsys.readouterr().err


def test_folders_without_it(tmp_path, folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match="without generator.tflite. Expected a folder with it"):
        LiteUpscaler(tmp_path)
    (tmp_path / LITERT_FILE).write_bytes((folder / LITERT_FILE).read_bytes()[:1000])
    (tmp_path / CONFIG_FILE).write_text((folder / CONFIG_FILE).read_text())
    with pytest.raises(ValueError, match="not a generator that LiteRT reads"):
        LiteUpscaler(tmp_path)
    monkeypatch.setitem(litert.import_interpreter.__globals__["__builtins__"], "__import__", no_litert)
    assert not litert.has_litert()
    with pytest.raises(ImportError, match="python3 -m pip install -r requirements-lite.txt"):
        LiteUpscaler(folder)


real_import = __import__


def no_litert(name, *arguments, **more):
    if name.startswith("ai_edge_litert"):
        raise ImportError(name)
    return real_import(name, *arguments, **more)


@pytest.mark.parametrize("end", [".", "faithful", "robust", "fast"])
def test_the_files_that_come_with_the_repository_are_of_the_weights_beside_them(end):
    folder = found(MAIN) / end
    photo = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    expected = Upscaler(load_generator(folder), "float32").image(photo)
    assert difference(LiteUpscaler(folder).image(photo), expected) <= 1
