import logging
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srwgan.media.still.images import read_image
from srwgan.networks.edges import image_operator
from srwgan.networks.generator import Generator
from srwgan.networks.saving import load_generator
from srwgan.upscaling import tiles
from srwgan.upscaling.changed_regions import changed_rectangles, patch_cost
from srwgan.upscaling.tiled import window_span
from srwgan.upscaling.transparency import fill_transparent
from srwgan.upscaling.upscaler import Upscaler

ROOT = Path(__file__).resolve().parents[2]


def make_generator(scale=4, blocks=2, filters=6, seed=0, activation="leaky_relu"):
    """A generator whose weights are far from their start, so that every layer matters to the result."""
    generator = Generator(filters=filters, blocks=blocks, scale=scale, activation=activation)
    rng = np.random.default_rng(seed)
    for layer in generator.layers:
        if "prelu" in layer.name:
            layer.alpha.assign(rng.uniform(-0.5, 1.5, layer.alpha.shape))
    last = generator.get_layer("last")
    last.kernel.assign(rng.normal(0, 0.1, last.kernel.shape))
    last.bias.assign([0.05, -0.02, 0.01])
    return generator


@pytest.fixture(scope="module")
def generator():
    return make_generator()


@pytest.fixture(scope="module")
def upscaler(generator):
    return Upscaler(generator, "float32")


def random_pixels(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def expected_pixels(generator, pixels):
    """What `edges.image_operator` defines, of integer pixels, with the generator as Keras runs it."""
    top = np.iinfo(pixels.dtype).max
    high_res = image_operator(generator, tf.constant(pixels[None] / np.float32(top) * 2 - 1))[0]
    return np.rint((np.clip(high_res, -1, 1) + 1) / 2 * top).astype(int)


def difference(a, b):
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max()


@pytest.mark.parametrize(
    "scale, blocks, activation",
    [
        (2, 1, "leaky_relu"),
        (3, 2, "leaky_relu"),
        (4, 3, "leaky_relu"),
        (8, 1, "leaky_relu"),
        (4, 2, "prelu"),
        (3, 1, "prelu"),
    ],
)
def test_every_scale_is_the_image_operator(scale, blocks, activation):
    generator = make_generator(scale, blocks, activation=activation)
    pixels = random_pixels(13, 22, 3)
    result = Upscaler(generator, "float32").image(pixels)
    assert result.dtype == np.uint8 and result.shape == (13 * scale, 22 * scale, 3)
    assert difference(result, expected_pixels(generator, pixels)) <= 1
    bilinear = np.array(tf.image.resize(pixels, result.shape[:2]))
    assert np.abs(result - bilinear).mean() > 3, "the network's part of the result is too small to test anything"


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (17, 1), (23, 37)])
def test_any_size_and_any_tile_give_the_same_pixels(generator, size):
    pixels = random_pixels(*size, 3)
    expected = expected_pixels(generator, pixels)
    for tile in (None, 7, 16):
        assert difference(Upscaler(generator, "float32", tile=tile).image(pixels), expected) <= 1


def test_the_receptive_field_is_needed_whole(generator):
    """A halo that is one pixel too small would show: the outermost pixel does matter to the result."""
    pixels = random_pixels(1, 2 * generator.receptive_field + 1, 3)
    nearer = pixels.copy()
    nearer[:, :2] = 255 - nearer[:, :2]
    change = np.abs(float_result(generator, pixels) - float_result(generator, nearer))
    middle = generator.receptive_field * generator.scale
    assert change[:, middle - generator.scale : middle].max() > 0


def float_result(generator, pixels):
    return Upscaler(generator, "float32").tensor(pixels[None] / np.float32(127.5) - 1)[0]


def test_batches_of_tiles_and_frames_give_the_same_pixels(generator, upscaler):
    frames = [random_pixels(20, 25, 3, seed=i) for i in range(5)]
    batched = Upscaler(generator, "float32", tile=9, batch_size=3)
    expected = [upscaler.image(frame) for frame in frames]
    assert difference(batched.image(frames[0]), expected[0]) <= 1
    assert difference(list(batched.frames(frames, reuse=False)), expected) <= 1


def test_tensor_takes_and_gives_floats(generator, upscaler):
    low_res = np.random.default_rng(0).uniform(-1, 1, (2, 9, 11, 3)).astype(np.float32)
    result = upscaler.tensor(low_res)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.clip(image_operator(generator, tf.constant(low_res)), -1, 1), atol=1e-4)


def test_one_trace_serves_all_sizes(generator):
    upscaler = Upscaler(generator, "float32", tile=16)
    calls, network = [], type(upscaler.network)

    class Counting(network):
        def sub_pixels(self, low_res, **output):
            calls.append("tile")
            return network.sub_pixels(self, low_res, **output)

    upscaler.network.__class__ = Counting
    for size in ((5, 5), (16, 40), (33, 18), (7, 16)):
        upscaler.image(random_pixels(*size, 3))
    assert calls == ["tile"]


@pytest.mark.parametrize(("start", "expected"), [(0, (0, 18)), (9, (4, 22)), (20, (15, 33)), (24, (16, 34))])
def test_windows_are_moved_inwards_at_the_edges(start, expected):
    """Of a picture of 30 pixels, with a margin of 2 on each side, a tile of 4 and a halo of 7."""
    assert window_span(start, 4, 34, halo=7, margin=2) == slice(*expected)
    assert window_span(start, 4, 17, halo=7, margin=2) == slice(0, 17), "a small picture is a window"


def test_edge_tiles_have_the_shape_of_the_others(generator):
    shapes = set()
    tiled = Upscaler(generator, "float32", tile=16)
    graph = tiled.graph_for(np.uint8, 3, is_alpha=False)
    run = graph.windows
    graph.windows = lambda windows: shapes.add(windows.shape) or run(windows)
    tiled.image(random_pixels(37, 50, 3))
    assert len(shapes) == 1


def test_bfloat16_is_within_two_hundredths_of_a_decibel(generator):
    """Against an original at the distance of a good result, about 30 dB."""
    picture = smooth_pixels(40, 50)
    exact = Upscaler(generator, "float32").image(picture).astype(float)
    original = exact + np.random.default_rng(0).normal(0, 8, exact.shape)
    fast = Upscaler(generator, "bfloat16").image(picture)
    assert (fast != exact).any()
    assert abs(psnr(fast, original) - psnr(exact, original)) < 0.02


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def smooth_pixels(height, width):
    y, x = np.mgrid[:height, :width]
    gray = 128 + 60 * np.sin(x / 5) + 50 * np.cos(y / 4)
    return np.stack([gray, gray * 0.9, 255 - gray], -1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("precision", "differs_by"), [("float32", 0), ("bfloat16", 1)])
def test_the_shipped_generator_gives_the_same_pixels_whatever_the_tile(precision, differs_by):
    """What README.md and --help say. In bfloat16 the order of a processor's sums, which may depend on sizes, shows."""
    generator, picture = (
        load_generator(ROOT / "SRWGAN_Gen"),
        read_image(ROOT / "Images" / "sample.png").pixels[:50, :90],
    )
    whole, tiled = (Upscaler(generator, precision, tile=tile).image(picture).astype(int) for tile in (None, 37))
    assert np.abs(tiled - whole).max() <= differs_by and (tiled != whole).mean() < 0.1


def test_auto_precision_is_one_of_the_two(generator):
    assert Upscaler(generator).precision in ("float32", "bfloat16")


# Gray, alpha, 16 bits


def test_gray_stays_gray_and_equals_gray_rgb(upscaler):
    gray = random_pixels(12, 15, 1)
    result = upscaler.image(gray)
    as_rgb = upscaler.image(np.repeat(gray, 3, -1)).astype(float).mean(-1, keepdims=True)
    assert result.shape == (48, 60, 1)
    assert np.abs(result - as_rgb).max() <= 1


def test_16_bits_are_kept(generator):
    ramp = np.linspace(0, 65535, 40 * 30).reshape(40, 30, 1).astype(np.uint16)
    quiet = Generator(filters=4, blocks=1, scale=4)  # starts as bilinear upsampling
    result = Upscaler(quiet, "bfloat16").image(ramp)
    assert result.dtype == np.uint16
    assert len(np.unique(result)) > 2000
    assert difference(result[::4, ::4], ramp) < 3000


def test_no_dark_fringe_round_a_white_disc(upscaler):
    """White on transparent black, composited on white, is as white as this network makes a white picture."""
    y, x = np.mgrid[:32, :32]
    disc = (np.hypot(y - 16, x - 15) < 9).astype(np.uint8) * 255
    result = upscaler.image(np.dstack([disc, disc, disc, disc])).astype(float)
    alpha = result[..., 3:] / 255
    composited = result[..., :3] * alpha + 255 * (1 - alpha)
    white = upscaler.image(np.full((32, 32, 3), 255, np.uint8)).min()
    assert composited.min() >= white - 1
    assert ((alpha > 0) & (alpha < 1)).any(), "the edge is smooth"


def test_flat_alpha_stays_exactly_flat(upscaler):
    pixels = random_pixels(24, 24, 4)
    pixels[..., 3] = 255
    pixels[:12, :, 3] = 0
    alpha = upscaler.image(pixels)[..., 3]
    assert (alpha[: 11 * 4] == 0).all() and (alpha[13 * 4 :] == 255).all()


def test_constant_alpha_costs_no_run(upscaler):
    pixels = random_pixels(8, 8, 2)
    pixels[..., 1] = 77
    steps = []
    result = upscaler.image(pixels, progress=lambda done, total: steps.append((done, total)))
    assert (result[..., 1] == 77).all()
    np.testing.assert_array_equal(result[..., :1], upscaler.image(pixels[..., :1]))
    assert steps == [(1, 1)]


def test_transparent_pixels_take_the_colors_beside_them():
    colors, alpha = np.zeros((1, 60, 3), np.uint8), np.zeros((1, 60, 1), np.uint8)
    colors[0, 0], alpha[0, 0] = (250, 40, 10), 255
    colors[0, 8], alpha[0, 8] = (10, 40, 250), 1
    filled = fill_transparent(colors, alpha)
    assert filled.dtype == np.uint8
    np.testing.assert_array_equal(filled[0, [0, 1, 2]], [(250, 40, 10)] * 3)
    np.testing.assert_array_equal(filled[0, [7, 8, 9, 20]], [(10, 40, 250)] * 4)
    np.testing.assert_array_equal(filled[0, -1], (128, 128, 128))


# Reuse


def moving_patches(count, channels=3, size=(50, 60)):
    """Frames in which 0, 1, 2 or 3 random boxes change, at the edges too."""
    rng = np.random.default_rng(1)
    frames = [random_pixels(*size, channels)]
    for i in range(count - 1):
        frame = frames[-1].copy()
        for _ in range(i % 4):
            y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
            frame[y : y + 5, x : x + 7] = rng.integers(0, 256, channels)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("tile", [None, 16])
def test_reuse_gives_the_same_pixels(generator, upscaler, tile, channels):
    frames = moving_patches(9, channels)
    results = list(Upscaler(generator, "float32", tile=tile).frames(frames))
    assert len(results) == len(frames)
    for frame, result in zip(frames, results, strict=True):
        assert difference(result, upscaler.image(frame)) <= 1


def test_reuse_runs_only_what_changed(generator):
    upscaler = Upscaler(generator, "float32", tile=24)
    areas = []
    graph = upscaler.graph_for(np.uint8, 3, is_alpha=False)
    run = graph.windows
    graph.windows = lambda windows: areas.append(windows.shape[1] * windows.shape[2]) or run(windows)
    frame = random_pixels(100, 120, 3)
    moved = frame.copy()
    moved[50, 60] ^= 255
    run_by_frame = []
    for _ in upscaler.reusing(item for item in [frame, frame.copy(), moved]):
        run_by_frame.append(sum(areas))
        areas.clear()
    assert run_by_frame[1] == 0, "a still frame costs nothing"
    assert 0 < run_by_frame[2] < run_by_frame[0] / 3


def test_feature_maps_are_kept_where_a_patch_may_follow(generator):
    upscaler = Upscaler(generator, "float32")
    graph, run = upscaler.graph_for(np.uint8, 3, is_alpha=False), []
    for name in ("windows", "windows_with_maps", "patch"):
        function = getattr(graph, name)
        setattr(graph, name, lambda *args, name=name, function=function: run.append(name) or function(*args))
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 90, 100, 3), np.uint8))
    for _ in range(2):
        frames.append(frames[-1].copy())
        frames[-1][:4, :4] ^= 255
    frames.append(frames[0])
    results = list(upscaler.frames(frames))
    patched = ["windows_with_maps", "patch"]
    assert run == ["windows_with_maps", "windows", "windows", "windows", *patched, "windows_with_maps"]
    np.testing.assert_array_equal(results[3][:, 200:], results[4][:, 200:])
    for frame, result in zip(frames, results, strict=True):
        assert difference(result, upscaler.image(frame)) <= 1


@pytest.mark.parametrize("tile", [None, 24])
def test_still_areas_stay_bit_identical(generator, tile):
    frame = random_pixels(90, 100, 3)
    moved = frame.copy()
    moved[:4, :4] ^= 255
    first, second, third = Upscaler(generator, "float32", tile=tile).frames([frame, moved, moved])
    assert (first != second).any()
    np.testing.assert_array_equal(first[200:], second[200:])
    np.testing.assert_array_equal(first[:, 200:], second[:, 200:])
    np.testing.assert_array_equal(second, third)


def test_results_are_not_changed_by_later_frames(upscaler):
    frames = moving_patches(6)
    kept = []
    for result in upscaler.frames(frames):
        kept.append((result, result.copy()))
    for result, copy in kept:
        np.testing.assert_array_equal(result, copy)


def test_frames_of_another_size_or_kind_start_afresh(upscaler):
    frames = [random_pixels(10, 12, 3), random_pixels(12, 10, 3), random_pixels(12, 10, 1)]
    for reuse in (True, False):
        for frame, result in zip(frames, upscaler.frames(frames, reuse), strict=True):
            assert difference(result, upscaler.image(frame)) <= 1


def test_changed_rectangles_cover_everything_and_split_far_apart_changes():
    changed = np.zeros((200, 300), bool)
    changed[10:14, 20:25] = changed[180:, 290:] = changed[100, 150] = True
    rectangles = changed_rectangles(changed, lambda h, w: patch_cost([5], h, w, frame=(190, 290)))
    covered = np.zeros_like(changed)
    for top, bottom, left, right in rectangles:
        covered[top:bottom, left:right] = True
    assert len(rectangles) == 3
    assert covered[changed].all() and covered.sum() < 1000
    near = np.zeros((200, 300), bool)
    near[50, 50] = near[52, 52] = True
    assert len(changed_rectangles(near, lambda h, w: patch_cost([5], h, w, frame=(190, 290)))) == 1
    assert changed_rectangles(np.zeros((5, 5), bool), None) == []


# Other models


class NearestModel:
    """Repeats pixels, with the receptive field and the alignment that it is given."""

    scale = 2

    def __init__(self, receptive_field, alignment=1):
        self.receptive_field, self.alignment, self.shapes = receptive_field, alignment, []

    def __call__(self, low_res):
        tf.py_function(lambda shape: self.shapes.append(tuple(shape.numpy())), [tf.shape(low_res)], [])
        return tf.repeat(tf.repeat(low_res, 2, axis=1), 2, axis=2)


def nearest(pixels):
    return pixels.repeat(2, 0).repeat(2, 1)


def test_a_model_of_unknown_receptive_field_is_run_whole_and_said(caplog):
    model = NearestModel(receptive_field=None)
    with caplog.at_level(logging.WARNING):
        upscaler = Upscaler(model, tile=8)
    assert sum("whole" in record.message for record in caplog.records) == 1
    frames = [random_pixels(21, 30, 3, seed=i // 2) for i in range(3)]
    np.testing.assert_array_equal(upscaler.image(frames[0]), nearest(frames[0]))
    np.testing.assert_array_equal(list(upscaler.frames(frames)), list(map(nearest, frames)))
    assert set(model.shapes) == {(1, 21, 30, 3)} and len(model.shapes) == 3


@pytest.mark.parametrize("reuse", [True, False])
def test_alignment_is_honoured(reuse):
    model = NearestModel(receptive_field=3, alignment=4)
    frames = moving_patches(5, size=(21, 30))
    results = list(Upscaler(model, tile=10).frames(frames, reuse))
    np.testing.assert_array_equal(results, list(map(nearest, frames)))
    assert model.shapes and all(height % 4 == width % 4 == 0 for _, height, width, _ in model.shapes)


# Streams


def upscaling_threads():
    return [thread for thread in threading.enumerate() if thread.name == "srwgan-pull"]


@pytest.mark.parametrize("reuse", [True, False])
def test_frames_are_pulled_lazily_and_stopping_early_ends_the_threads(upscaler, reuse):
    pulled, closed = [], []

    def endless():
        try:
            while True:
                pulled.append(None)
                yield random_pixels(6, 6, 3, seed=len(pulled))
        finally:
            closed.append(True)

    iterator = upscaler.frames(endless(), reuse)
    assert not pulled
    next(iterator), next(iterator)
    iterator.close()
    assert closed == [True] and not upscaling_threads()
    assert len(pulled) < 12


def test_an_error_of_the_source_comes_out_in_its_place(upscaler):
    def failing():
        yield random_pixels(6, 6, 3)
        yield random_pixels(6, 6, 3)
        raise OSError("truncated")

    iterator = upscaler.frames(failing())
    assert len([next(iterator), next(iterator)]) == 2
    with pytest.raises(OSError, match="truncated"):
        next(iterator)
    assert not upscaling_threads()


def test_progress_counts_tiles_and_its_exception_ends_the_run(generator):
    upscaler = Upscaler(generator, "float32", tile=8)
    pixels, steps = random_pixels(16, 20, 4), []
    upscaler.image(pixels, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i, 12) for i in range(1, 13)]

    def stop(done, total):
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        upscaler.image(pixels, progress=stop)


def test_two_threads_may_share_one_upscaler(upscaler):
    clips = [moving_patches(5, size=(24, 30)), [frame[:, ::-1] for frame in moving_patches(5, size=(24, 30))]]
    results = [None, None]

    def run(i):
        results[i] = list(upscaler.frames(clips[i]))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for clip, result in zip(clips, results, strict=True):
        assert difference(result[-1], upscaler.image(clip[-1])) <= 1


# Arguments and memory


@pytest.mark.parametrize("arguments", [{"tile": 0}, {"batch_size": -1}, {"precision": "int8"}])
def test_bad_arguments_are_named(generator, arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}={next(iter(arguments.values()))}"):
        Upscaler(generator, **arguments)


@pytest.mark.parametrize(
    "shape, dtype", [((4, 4), np.uint8), ((4, 4, 5), np.uint8), ((4, 4, 3), np.float32), ((0, 4, 3), np.uint8)]
)
def test_bad_pixels_are_named(upscaler, shape, dtype):
    with pytest.raises(ValueError, match="Received: .*Expected"):
        upscaler.image(np.zeros(shape, dtype))
    with pytest.raises(ValueError, match="Received: .*Expected"):
        next(upscaler.frames([np.zeros(shape, dtype)]))


@pytest.mark.parametrize("alignment", [1, 4])
@pytest.mark.parametrize("height, width", [(540, 960), (4, 4000), (1000, 4), (300, 300)])
def test_tiles_stay_within_their_area(height, width, alignment):
    for area in (400, 5000, 70_000, 10**7):
        rows, columns = tiles.tile_shape(height, width, halo=20, area=area, alignment=alignment)
        assert rows <= height and columns <= width and rows * columns <= area
        assert rows % alignment == columns % alignment == 0
        if area >= height * width:
            assert (rows, columns) == (height, width)


def test_tiles_shrink_with_the_memory(monkeypatch):
    monkeypatch.setattr(tiles, "available_memory", lambda: 1 << 30)
    large = tiles.tile_area(5000, 20)
    assert 5000 * large < 1 << 30
    monkeypatch.setattr(tiles, "available_memory", lambda: 1 << 26)
    assert tiles.SMALLEST_TILE <= tiles.tile_area(5000, 20) < large
