"""The page in a real browser, with a tiny generator. The browser's path may be given in SRWGAN_BROWSER."""

import os
import threading
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from srwgan.media.gif import GifWriter
from srwgan.media.video import VideoReader, VideoWriter
from utils.app.jobs import CancelledError, Device, Sessions
from utils.app.limits import Limits
from utils.app.models import Models
from utils.studies.app_picture import FLAGS, find_browser

pytest.importorskip("gradio", reason="needs requirements-app.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(not BROWSER, reason="needs Chromium: install it, or set SRWGAN_BROWSER to its path")

PATIENCE = 120_000  # ms until a page counts as hung


class Slow:
    """Stands in for an upscaler: tiles until it is cancelled."""

    scale, precision = 2, "float32"

    def __init__(self):
        self.started, self.ended = threading.Event(), threading.Event()

    def image(self, pixels, progress):
        wait = threading.Event()
        try:
            for tile in range(100_000):
                progress(tile, 100_000)
                self.started.set()
                wait.wait(0.02)
        except CancelledError:
            self.ended.set()
            raise


class ModelsAndSlow(Models):
    slow = None

    def upscaler(self, name, precision, fidelity=0.0):
        return self.slow if name == "Slow_Gen" else super().upscaler(name, precision, fidelity)


@pytest.fixture(scope="module")
def generator_path(tmp_path_factory):
    import keras

    from srwgan.networks.generator import Generator
    from srwgan.networks.saving import export_generator

    path = tmp_path_factory.mktemp("models") / "Tiny_Gen"
    for seed, folder in (1, path), (2, path / "faithful"):
        keras.utils.set_random_seed(seed)
        generator = Generator(filters=8, blocks=1)
        last = generator.get_layer("last").kernel
        last.assign(keras.random.normal(last.shape, stddev=0.05))
        export_generator(generator, folder)
    return path


@pytest.fixture(scope="module")
def service(generator_path, tmp_path_factory):
    from utils.app.page import Service
    from utils.app.server import launch, stop

    models = ModelsAndSlow({"Tiny_Gen": generator_path, "Slow_Gen": generator_path.parent})
    limits = Limits(bytes=2_000_000, pixels=200_000, frames=50)
    service = Service(models, limits, Device(20), Sessions(tmp_path_factory.mktemp("served")))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", "")  # restored afterwards
        page = launch(service, port=None)
        service.url = page.local_url
        yield service
        stop(service, page)
    assert not list(service.sessions.root.glob("session-*"))


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(service, browser):
    """Opens pages, which may send requests to this server only and may not stumble over an error."""
    contexts, strangers, errors = [], [], []

    def open_page(**settings):
        context = browser.new_context(accept_downloads=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: is_own(request.url, service.url) or strangers.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(service.url)
        page.wait_for_selector("#start")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not strangers and not errors


def is_own(url, own):
    return url.startswith((own, "data:", "blob:"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def gif(tmp_path_factory):
    path = tmp_path_factory.mktemp("gifs") / "clip.gif"
    with GifWriter(path, (32, 24), loop=0) as writer:
        for i in range(5):
            frame = np.full((24, 32, 3), 50, np.uint8)
            frame[4:12, 4 + 4 * i : 12 + 4 * i] = 200, 60, 40 * i
            writer.write(frame, 120)
    return path


def choose(page, *paths, box="#files"):
    page.set_input_files(f"{box} input[type=file]", list(map(str, paths)))
    page.locator(f"{box} .file-preview tr.file").nth(len(paths) - 1).wait_for()


def upscale(page, *paths):
    choose(page, *paths)
    page.click("#start")
    page.wait_for_selector(".sr-item")


def download(page, selector, folder):
    with page.expect_download() as waiting:
        page.click(selector)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def command_line(generator_path, folder, *arguments):
    import testGenerator

    assert testGenerator.main([*map(str, arguments), "--output", str(folder), "--model", str(generator_path)]) == 0


def use_slow_model(page, service):
    service.models.slow = Slow()
    page.click("#model input")
    page.click("text=Slow_Gen")
    return service.models.slow


def test_an_image_before_and_after_and_its_download(new_page, generator_path, picture, tmp_path):
    page = new_page()
    upscale(page, picture)
    command_line(generator_path, tmp_path / "expected", picture)
    got = download(page, "a.sr-primary", tmp_path)
    assert got.name == "photo_SR.png"
    assert got.read_bytes() == (tmp_path / "expected" / "photo_SR.png").read_bytes()
    numbers = page.inner_text(".sr-numbers")
    assert "32 × 24 → 128 × 96" in numbers and "Tiny_Gen" in numbers
    sizes = page.evaluate("[...document.querySelectorAll('.sr-canvas img')].map(i => [i.naturalWidth, i.complete])")
    assert sizes == [[128, True], [32, True]]  # after and before, both at full resolution


def shown_before(page):
    """How much of the picture is "before", 0 to 1, by what is cut off it."""
    return page.evaluate("""() => {
        const before = document.querySelector(".sr-before");
        return 1 - parseFloat(before.style.clipPath.split(" ")[1]) / before.offsetWidth; }""")


def test_the_slider_moves_by_mouse_and_by_keyboard_and_zooms(new_page, picture):
    page = new_page()
    upscale(page, picture)
    assert shown_before(page) == pytest.approx(0.5, abs=0.01)
    canvas = page.locator(".sr-canvas").bounding_box()
    page.mouse.move(canvas["x"] + canvas["width"] / 2, canvas["y"] + 20)
    page.mouse.down()
    page.mouse.move(canvas["x"] + canvas["width"] / 4, canvas["y"] + 30, steps=4)
    page.mouse.up()
    assert shown_before(page) == pytest.approx(0.25, abs=0.01)
    page.focus(".sr-tools input[type=range]")
    for _ in range(100):
        page.keyboard.press("ArrowRight")
    assert shown_before(page) == pytest.approx(0.35, abs=0.01)

    page.focus(".sr-stage")
    page.keyboard.press("+")
    assert page.locator(".sr-canvas").bounding_box()["width"] == 128
    page.keyboard.press("+")
    assert page.locator(".sr-canvas").bounding_box()["width"] == 512
    assert page.get_attribute("button[data-zoom='4']", "aria-pressed") == "true"
    page.click("button[data-zoom=fit]")
    assert page.locator(".sr-canvas").bounding_box()["width"] == pytest.approx(canvas["width"], abs=1)


def test_the_whole_page_works_by_keyboard(new_page, picture):
    page = new_page()
    choose(page, picture)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "start":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".sr-item")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.className + document.activeElement.type"))
    assert {"sr-stage" + "undefined", "range"} <= reached and any("sr-primary" in name for name in reached)


def test_a_gif_plays_beside_its_result(new_page, generator_path, gif, tmp_path):
    page = new_page()
    upscale(page, gif)
    command_line(generator_path, tmp_path / "expected", gif)
    got = download(page, "a.sr-primary", tmp_path)
    assert got.read_bytes() == (tmp_path / "expected" / "clip_SR.gif").read_bytes()
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    video = page.evaluate("(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('video'))")
    assert video[:2] == [2 * 128 + 4, 96] and video[2] == pytest.approx(0.6, abs=0.05)


def test_options_are_those_of_the_command_line(new_page, generator_path, gif, tmp_path):
    page = new_page()
    page.click("text=Options")
    page.click("#deband")
    page.get_by_label("Size of the result").click()
    page.get_by_role("option", name="2 ×").click()
    page.fill("#fidelity input[type=number]", "0.3")
    upscale(page, gif)
    command_line(generator_path, tmp_path / "expected", gif, "--deband", "--scale-out", 2, "--fidelity", 0.3)
    got = download(page, "a.sr-primary", tmp_path)
    assert got.read_bytes() == (tmp_path / "expected" / "clip_SR.gif").read_bytes()
    assert "64 × 48" in page.inner_text(".sr-numbers") and "Tiny_Gen at 0.3" in page.inner_text(".sr-numbers")


def test_only_a_model_with_a_faithful_end_has_a_fidelity(new_page):
    page = new_page()
    assert page.is_visible("#fidelity")
    page.get_by_label("Model").click()
    page.get_by_role("option", name="Slow_Gen").click()
    page.wait_for_selector("#fidelity", state="hidden")


def test_several_files_become_a_gallery_and_a_zip(new_page, picture, gif, tmp_path):
    page = new_page()
    upscale(page, picture, gif)
    assert page.locator(".sr-strip button").count() == 2
    assert page.locator(".sr-item:visible video").count() == 0
    page.click(".sr-strip button >> nth=1")
    assert page.locator(".sr-item:visible video").count() == 1
    archive = download(page, "text=Download all", tmp_path)
    with zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == ["clip_SR.gif", "photo_SR.png"] and opened.testzip() is None


def test_an_original_gives_scores_and_an_error_map(new_page, make_photo, tmp_path):
    original, small = tmp_path / "original.png", tmp_path / "small.png"
    Image.fromarray(make_photo(96, 128)).save(original)
    Image.open(original).resize((32, 24), Image.Resampling.BICUBIC).save(small)
    page = new_page()
    page.click("text=Compare with an original")
    choose(page, original, box="#original")
    upscale(page, small)
    table = page.inner_text(".sr-scores")
    assert "Tiny_Gen" in table and "Bicubic" in table and " dB" in table
    assert page.evaluate("document.querySelector('.sr-error img').naturalWidth") == 128


def test_refused_files_are_named_and_the_others_done(new_page, picture, tmp_path):
    text, large = tmp_path / "<b>text.png", tmp_path / "large.png"
    text.write_text("no picture")
    Image.new("RGB", (600, 400)).save(large)
    page = new_page()
    upscale(page, text, large, picture)
    errors = page.locator(".sr-error[role=alert]").all_inner_texts()
    assert len(errors) == 2 and "not an image" in errors[0] and "600x400 pixels. Expected at most 200,000" in errors[1]
    assert "/" not in errors[0] and str(tmp_path) not in page.content()
    assert page.locator(".sr-item").count() == 1
    page.click("#files button[aria-label=Clear]")
    page.click("#start")
    page.wait_for_selector("text=Choose a file first")


def test_cancel_frees_the_device_at_once(new_page, service, picture):
    page = new_page()
    slow = use_slow_model(page, service)
    choose(page, picture)
    page.click("#start")
    page.wait_for_selector("text=/tile \\d+ of 100000/")
    assert page.is_disabled("#start")
    page.click("#cancel")
    page.wait_for_selector("text=Cancelled.")
    assert slow.ended.wait(PATIENCE / 1000)
    page.wait_for_selector("#cancel", state="hidden")
    page.click("#model input")
    page.click("text=Tiny_Gen")
    page.click("#start")
    page.wait_for_selector(".sr-item")


def test_a_closed_page_stops_its_job_and_its_files_go(new_page, service, picture):
    page = new_page()
    slow = use_slow_model(page, service)
    choose(page, picture)
    page.click("#start")
    assert slow.started.wait(PATIENCE / 1000)
    page.context.close()
    assert slow.ended.wait(PATIENCE / 1000)


def test_ten_pages_at_once_each_get_their_own(new_page, service, tmp_path):
    pages = [new_page() for _ in range(10)]
    for i, page in enumerate(pages):
        path = tmp_path / f"photo{i}.png"
        Image.new("RGB", (20 + i, 16), (20 * i, 90, 30)).save(path)
        choose(page, path)
    for page in pages:
        page.click("#start")
    for i, page in enumerate(pages):
        page.wait_for_selector(".sr-item")
        assert f"{20 + i} × 16 → {80 + 4 * i} × 64" in page.inner_text(".sr-numbers")
        assert f"photo{i}_SR.png" in page.inner_text("a.sr-primary")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_in_its_width(new_page, picture, scheme):
    page = new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    upscale(page, picture)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for selector in ("#start", ".sr-compare", ".sr-tools", "a.sr-primary"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, selector
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background.strip("rgba()").split(",")[:3])
    assert brightness < 150 if scheme == "dark" else brightness > 600


def test_uploads_are_gone_when_the_page_is(new_page, service, picture):
    page = new_page()
    upscale(page, picture)
    assert list(service.sessions.root.rglob("photo_SR.png"))
    page.context.close()
    for _ in range(PATIENCE // 100):
        if not pictures_below(service.sessions.root):
            break
        threading.Event().wait(0.1)
    assert not pictures_below(service.sessions.root)


def pictures_below(folder):
    """Unlike Path.rglob, os.walk passes over a folder that goes while it is read."""
    return [name for _, _, names in os.walk(folder) for name in names if name.startswith("photo")]


def test_the_samples_are_a_click_away_and_the_exact_size_is_asked_for(new_page):
    page = new_page()
    page.click("text=Try a GIF")
    page.wait_for_selector("#files >> text=sample")
    page.click("text=Options")
    assert page.locator("text=Width").count() == 0
    page.get_by_label("Size of the result").click()
    page.get_by_role("option", name="Exact").click()
    page.get_by_label("Width").wait_for()


def test_a_video_plays_beside_its_result(new_page, generator_path, tmp_path):
    source = tmp_path / "clip.mp4"
    with VideoWriter(source, (48, 32), frame_rate=25) as writer:
        for i in range(5):
            writer.write(np.full((32, 48, 3), 40 * i, np.uint8), Fraction(i, 25), Fraction(1, 25))
    page = new_page()
    upscale(page, source)
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    got = download(page, "a.sr-primary", tmp_path)
    command_line(generator_path, tmp_path / "expected", source)
    with VideoReader(got) as ours, VideoReader(tmp_path / "expected" / "clip_SR.mp4") as expected:
        for (pixels, time), (other, other_time) in zip(ours, expected, strict=True):
            assert time == other_time
            np.testing.assert_array_equal(pixels, other)


def test_a_password_opens_the_page(service, browser, picture, tmp_path, monkeypatch):
    from utils.app.page import Service
    from utils.app.server import launch

    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # which the other server needs restored afterwards
    sessions = Sessions(tmp_path)
    guarded = launch(
        Service(service.models, service.limits, service.device, sessions), port=None, accounts=[("ann", "secret")]
    )
    context = browser.new_context()
    page = context.new_page()
    for password, expected in (("wrong", "text=Incorrect"), ("secret", "#start")):
        page.goto(guarded.local_url)
        page.locator("input[type=text]").fill("ann")
        page.locator("input[type=password]").fill(password)
        page.get_by_role("button", name="Login").click()
        page.wait_for_selector(expected)
    upscale(page, picture)
    context.close()
    guarded.close(verbose=False)
    sessions.close_all()


def test_a_file_too_large_to_upload_is_refused(new_page, service, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(b"x" * (service.limits.bytes + 1))
    page = new_page()
    page.set_input_files("#files input[type=file]", str(path))
    page.wait_for_selector("text=exceed the maximum allowed size")
    assert not list(service.sessions.root.rglob("large.png"))
