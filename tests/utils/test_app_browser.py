"""The page in a real browser, with a tiny generator. The browser's path may be given in SRWGAN_BROWSER."""

import os
import threading
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwgan.media.gif import GifWriter
from srwgan.media.video import VideoReader, VideoWriter
from tests.waiting import LIMIT, until
from utils.app.jobs import CancelledError, Device
from utils.app.limits import Limits
from utils.app.models import AUTOMATIC, Models, find_generators
from utils.app.sessions import Sessions
from utils.studies.app_picture import FLAGS, HOW_TO_GET_IT, find_browser

pytest.importorskip("uvicorn", reason="needs requirements-app.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="needs requirements-dev.txt (the package playwright)")

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(not BROWSER, reason=f"There is no browser. {HOW_TO_GET_IT}")

AXE = Path(__file__).resolve().parents[1] / "axe-core" / "axe.min.js"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SIZES = pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])


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

    def upscaler(self, name, precision, fidelity=0.0, **how):
        return self.slow if name == "Slow_Gen" else super().upscaler(name, precision, fidelity, **how)


@pytest.fixture(scope="module")
def generator_path(tmp_path_factory):
    """A generator with a faithful end and a robust one, all different."""
    import keras

    from srwgan.networks.generator import Generator
    from srwgan.networks.saving import export_generator

    path = tmp_path_factory.mktemp("models") / "Tiny_Gen"
    for seed, folder in (1, path), (2, path / "faithful"), (3, path / "robust"):
        keras.utils.set_random_seed(seed)
        generator = Generator(filters=8, blocks=1)
        last = generator.get_layer("last").kernel
        last.assign(keras.random.normal(last.shape, stddev=0.05))
        export_generator(generator, folder)
    return path


@pytest.fixture(scope="module")
def service(generator_path, tmp_path_factory):
    from utils.app.serving import PageServer, Service

    models = ModelsAndSlow({**find_generators([generator_path]), "Slow_Gen": generator_path.parent})
    limits = Limits(bytes=2_000_000, pixels=200_000, frames=50)
    root = tmp_path_factory.mktemp("served")
    service = Service(models, limits, Device(40), Sessions(root, grace=600))
    server = PageServer(service).start()
    service.url = server.url
    yield service
    server.stop()
    assert not list(root.iterdir())


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=FLAGS, timeout=1000 * LIMIT)
        yield browser
        browser.close()


@pytest.fixture
def new_page(service, browser):
    """Opens pages, which may send requests to this server only and may not stumble over an error."""
    contexts, strangers, errors = [], [], []

    def open_page(url=service.url, **settings):
        context = browser.new_context(accept_downloads=True, **{"viewport": DESK, **settings})
        context.set_default_timeout(1000 * LIMIT)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: is_own(request.url, url) or strangers.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("crash", lambda: errors.append("the page crashed"))
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
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


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    with VideoWriter(path, (48, 32), frame_rate=25) as writer:
        for i in range(5):
            writer.write(np.full((32, 48, 3), 40 * i, np.uint8), Fraction(i, 25), Fraction(1, 25))
    return path


def choose(page, *paths, box="files"):
    """Chooses files and waits until all are sent and checked."""
    page.set_input_files(f"#{box}", list(map(str, paths)))
    shown = "#chosen" if box == "files" else "#original-chosen"
    wait_until(page, ALL_CHECKED, [shown, len(paths)])


ALL_CHECKED = """([list, count]) => {
    const details = [...document.querySelectorAll(`${list} li small`)].map((one) => one.textContent);
    return details.length >= count && details.every((text) => !/^(Waiting|Sending|Checking|$)/.test(text)); }"""


def wait_until(page, condition, argument=None):
    """Playwright's own `wait_for_function` evaluates strings in the page, which its policy forbids."""
    until(lambda: page.evaluate(condition, argument), what=condition, pause=lambda: page.wait_for_timeout(50))


def widths(page, selector):
    """Of the pictures there, once all are loaded."""
    pictures = f"[...document.querySelectorAll('{selector}')]"
    wait_until(page, f"{pictures}.every((one) => one.complete)")
    return page.evaluate(f"{pictures}.map((one) => one.naturalWidth)")


def upscale(page, *paths):
    choose(page, *paths)
    page.click("#start")
    finish(page)


def finish(page):
    page.wait_for_selector("article.result")
    page.wait_for_selector("#cancel", state="hidden")


def download(page, selector, folder):
    with page.expect_download() as waiting:
        page.click(selector)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def command_line(generator_path, folder, *arguments, chosen=False):
    """The command line's results in `folder`, with this generator as the one that it takes by itself, or as --model.

    Small files it may give to LiteRT, whose pixels are equal to within one level.
    """
    import testGenerator

    arguments = [*map(str, arguments), "--output", str(folder), "--engine", "tensorflow"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(testGenerator, "MODEL", str(generator_path))
        assert testGenerator.main([*arguments, *(["--model", str(generator_path)] if chosen else [])]) == 0


def choose_model(page, name):
    page.check(f"input[name=model][value='{name}']")


def use_slow_model(page, service):
    service.models.slow = Slow()
    choose_model(page, "Slow_Gen")
    return service.models.slow


def check_accessibility(page, state):
    """No violation of WCAG 2.1 AA that axe-core finds."""
    page.evaluate(AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
    found = page.evaluate("tags => axe.run(document, { runOnly: tags })", tags)["violations"]
    told = [(rule["id"], [node["html"][:200] + node["failureSummary"] for node in rule["nodes"]]) for rule in found]
    assert not told, (state, told)


def check_width(page):
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def is_in_view(page, selector):
    box = page.locator(selector).bounding_box()
    size = page.viewport_size
    return 0 <= box["y"] and box["y"] + box["height"] <= size["height"] and box["x"] + box["width"] <= size["width"]


# The same as the command line


@pytest.mark.parametrize("kind", ["picture", "gif"])
def test_a_file_gets_by_itself_what_the_command_line_gives_it(new_page, request, generator_path, tmp_path, kind):
    """The first GIF that a visitor saw was speckled: it got the generator for photos."""
    source = request.getfixturevalue(kind)
    page = new_page()
    upscale(page, source)
    command_line(generator_path, tmp_path / "expected", source)
    got = download(page, "a.download", tmp_path)
    (expected,) = (tmp_path / "expected").iterdir()
    assert got.name == expected.name and got.read_bytes() == expected.read_bytes()
    command_line(generator_path, tmp_path / "chosen", source, chosen=True)
    (chosen,) = (tmp_path / "chosen").iterdir()
    assert (chosen.read_bytes() == expected.read_bytes()) == (kind == "picture")  # a GIF's is the robust one


def test_an_image_before_and_after(new_page, picture):
    page = new_page()
    upscale(page, picture)
    facts = page.inner_text("article.result dl")
    assert "32 × 24 → 128 × 96" in facts and "Tiny_Gen" in facts and "PNG" in facts
    assert widths(page, ".canvas img") == [128, 32]  # after and before, both at full resolution


def test_options_are_those_of_the_command_line(new_page, generator_path, gif, tmp_path):
    page = new_page()
    page.click("text=Options")
    page.check("#deband")
    page.check("#steady")
    page.select_option("#size", "2")
    page.fill("#fidelity", "0.3")
    upscale(page, gif)
    command_line(
        generator_path, tmp_path / "expected", gif, "--deband", "--steady", "--scale-out", 2, "--fidelity", 0.3
    )
    got = download(page, "a.download", tmp_path)
    assert got.read_bytes() == (tmp_path / "expected" / "clip_SR.gif").read_bytes()
    facts = page.inner_text("article.result dl")
    assert "64 × 48" in facts and "Tiny_Gen, 30% faithful" in facts


def test_a_video_plays_before_and_after(new_page, generator_path, video, tmp_path):
    page = new_page()
    upscale(page, video)
    got = download(page, "a.download", tmp_path)
    command_line(generator_path, tmp_path / "expected", video)
    with VideoReader(got) as ours, VideoReader(tmp_path / "expected" / "clip_SR.mp4") as expected:
        for (pixels, time), (other, other_time) in zip(ours, expected, strict=True):
            assert time == other_time
            np.testing.assert_array_equal(pixels, other)
    check_in_step(page)


def test_a_gif_plays_before_and_after(new_page, gif):
    page = new_page()
    upscale(page, gif)
    check_in_step(page)
    page.click("text=Pause")
    page.wait_for_selector("text=Play")
    page.evaluate("document.querySelector('video').currentTime = 0.5")  # the last frame, of 0.48 to 0.6 s
    wait_until(page, "!document.querySelector('video').seeking")
    page.wait_for_timeout(100)
    left = page.evaluate(FIRST_BRIGHT, "before") / 128, page.evaluate(FIRST_BRIGHT, "after") / 128
    assert left == pytest.approx((20 / 32, 20 / 32), abs=0.06)  # the square is at the same place on both sides


FIRST_BRIGHT = """kind => {
    const canvas = document.querySelector(`canvas.${kind}`), row = Math.round(canvas.height / 3);
    const pixels = canvas.getContext("2d").getImageData(0, row, canvas.width, 1).data;
    for (let x = 0; x < canvas.width; x++) if (pixels[4 * x] > 110) return x;
    return -1; }"""


def check_in_step(page):
    """Both halves come from one video, which plays."""
    wait_until(page, "document.querySelector('video').readyState >= 2")
    wait_until(page, "document.querySelector('video').currentTime > 0")
    wait_until(page, "document.querySelector('canvas.after').width > 0")
    sizes = page.evaluate("[...document.querySelectorAll('canvas')].map((one) => [one.width, one.height])")
    assert sizes[0] == sizes[1] and page.locator("article video").count() == 1


# Clear to everybody


@SIZES
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_is_accessible_and_keeps_upscale_in_view(
    new_page, service, picture, gif, make_photo, tmp_path, viewport, scheme
):
    page = new_page(viewport=viewport, color_scheme=scheme)

    def check(state, in_view=True):
        check_accessibility(page, state)
        check_width(page)
        assert not in_view or is_in_view(page, "#start"), state

    check("empty")
    page.click("#start")
    page.wait_for_selector("text=Choose a file first.")
    check("nothing chosen")
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no picture")
    choose(page, wrong, picture)
    check("one is refused")
    page.click("text=Options")
    page.select_option("#size", "exact")
    page.fill("#width", "0")
    page.wait_for_selector("text=The width has to be a whole number")
    check("a wrong number", in_view=False)
    page.select_option("#size", "own")
    page.click("text=Options")
    slow = use_slow_model(page, service)
    page.click("#start")
    assert slow.started.wait(LIMIT)
    page.wait_for_selector("text=/of 100000/")
    page.evaluate("scrollTo(0, 0)")
    check("running")
    other = new_page(viewport=viewport, color_scheme=scheme)
    choose(other, picture)
    other.wait_for_selector("text=/for those before you|in about/")
    other.click("#start")
    other.wait_for_selector("text=/Waiting:/")
    check_accessibility(other, "waiting")
    other.click("#cancel")
    page.click("#cancel")
    page.wait_for_selector("text=Cancelled.")
    check("cancelled")
    choose_model(page, AUTOMATIC)
    original, small = tmp_path / "original.png", tmp_path / "small.png"
    Image.fromarray(make_photo(96, 128)).save(original)
    Image.open(original).resize((32, 24), Image.Resampling.BICUBIC).save(small)
    page.click("text=Compare with an original")
    choose(page, original, box="original")
    upscale(page, small, gif)
    check("several results with scores", in_view=False)
    page.click("#strip button >> nth=-1")
    page.wait_for_selector("video", state="attached")
    check("a GIF's result", in_view=False)
    page.click("text=Side by side")
    check("side by side", in_view=False)
    page.evaluate("scrollTo(0, 0)")
    assert is_in_view(page, "#start")


@SIZES
def test_words_are_for_people(new_page, picture, viewport):
    """Labels read `common.upload`, `SRWGAN_Gen/robust`, "Model's own" and "Precision"."""
    page = new_page(viewport=viewport)
    text = page.inner_text("body")
    assert "Choose files" in text and "Automatic" in text and "for compressed pictures" in text
    for word in ("common.", "/robust", "Model's own", "Precision", "undefined", "null", "NaN"):
        assert word not in text, word
    upscale(page, picture)
    assert "undefined" not in page.inner_text("body") and "NaN" not in page.inner_text("body")


def test_the_model_and_the_options_follow_the_button(new_page):
    page = new_page()
    order = page.evaluate(
        "[...document.querySelectorAll('#start, #models, #options, #comparing')].map((one) => one.id)"
    )
    assert order == ["start", "models", "options", "comparing"]


def test_a_refused_file_names_the_formats_and_the_others_are_done(new_page, picture, tmp_path):
    text, large = tmp_path / "<b>text.png", tmp_path / "large.png"
    text.write_text("no picture")
    Image.new("RGB", (600, 400)).save(large)
    page = new_page()
    upscale(page, text, large, picture)
    refused = page.locator("#chosen li.refused").all_inner_texts()
    assert len(refused) == 2 and "Expected a picture (PNG, JPEG, WebP" in refused[0] and "MP4" in refused[0]
    assert "600x400 pixels. Expected at most 200,000" in refused[1]
    assert str(tmp_path) not in page.content() and page.locator("#chosen b").count() == 0
    assert page.locator("article.result").count() == 1 and page.locator("#strip").is_hidden()


def test_a_file_too_large_to_upload_is_refused(new_page, service, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(b"x" * (service.limits.bytes + 1))
    page = new_page()
    choose(page, path)
    assert "Expected at most 1.9 MB" in page.inner_text("#chosen li.refused")
    assert not list(service.sessions.root.rglob("large.png"))


def test_the_time_is_told_before_and_during_the_work(new_page, service, picture):
    page = new_page()
    choose(page, picture)
    page.wait_for_selector("#plan >> text=/Becomes 128 × 96 in about (a second|\\d+ seconds)/")
    slow = use_slow_model(page, service)
    page.click("#start")
    assert slow.started.wait(LIMIT)
    page.wait_for_selector("#job-left >> text=/About .* left/")
    other = new_page()
    choose(other, picture)
    other.wait_for_selector("#plan >> text=/for those before you/")
    other.click("#start")
    other.wait_for_selector("text=Waiting: 1 before you")
    other.wait_for_selector("#job-left >> text=/About .* left/")
    page.click("#cancel")
    finish(other)


def test_results_come_one_by_one_and_are_kept(new_page, service, picture, gif, tmp_path):
    page = new_page()
    upscale(page, picture)
    use_slow_model(page, service)
    page.click("#start")
    page.wait_for_selector("text=/of 100000/")
    assert page.locator("article.result").count() == 1  # that of the job before
    page.click("#cancel")
    page.wait_for_selector("text=Cancelled.")
    choose_model(page, AUTOMATIC)
    choose(page, picture, gif)
    page.click("#start")
    page.wait_for_selector("#strip button >> nth=2")  # more files were chosen: the first choice is still there
    page.wait_for_selector("#cancel", state="hidden")
    count = page.locator("#strip button").count()
    assert count == 4
    archive = download(page, "text=/Download all 4/", tmp_path)
    with zipfile.ZipFile(archive) as opened:
        names = ["clip_SR.gif", "photo_SR.png", "photo_SR_2.png", "photo_SR_3.png"]
        assert sorted(opened.namelist()) == names and opened.testzip() is None
    page.click("article.result >> text=Remove")
    wait_until(page, "document.querySelectorAll('#strip button').length === 3")


def test_the_focus_stays_and_a_screen_reader_hears_that_it_is_done(new_page, service, picture):
    page = new_page()
    said = []
    page.expose_function("hear", lambda text: said.append(text))
    page.evaluate("""() => new MutationObserver(() => document.getElementById("live").textContent
        && hear(document.getElementById("live").textContent))
        .observe(document.getElementById("live"), { childList: true, characterData: true, subtree: true })""")
    choose(page, picture)
    page.focus("#start")
    page.keyboard.press("Enter")
    finish(page)
    assert page.evaluate("document.activeElement.id") == "start"
    ready = "photo.png is ready: 128 by 96 pixels."
    until(lambda: any(ready in text for text in said), what=ready, pause=lambda: page.wait_for_timeout(50))
    slow = use_slow_model(page, service)
    page.focus("#start")
    page.keyboard.press("Enter")
    assert slow.started.wait(LIMIT)
    page.focus("#cancel")
    page.keyboard.press("Enter")
    page.wait_for_selector("#cancel", state="hidden")
    assert page.evaluate("document.activeElement.id") == "start"


def test_what_is_said_at_once_is_all_heard(new_page):
    page = new_page()
    page.evaluate("import('/static/dom.js').then(({ say }) => { say('One.'); say('Two.'); })")
    wait_until(page, "document.getElementById('live').textContent === 'One. Two.'")


def test_numbers_are_checked_at_the_field(new_page, picture):
    """A width of 0 showed "Error" over both halves of the page."""
    page = new_page()
    upscale(page, picture)
    page.click("text=Options")
    page.select_option("#size", "exact")
    for wrong in ("0", "", "2.5", "200000", "-3"):
        page.fill("#width", wrong)
        page.wait_for_selector("#size-error >> text=The width has to be a whole number from 1 to 100,000.")
        assert page.get_attribute("#width", "aria-invalid") == "true"
        assert page.get_attribute("#height", "aria-invalid") == "false"
    page.click("#start")
    assert page.evaluate("document.activeElement.id") == "width" and page.locator("article.result").count() == 1
    page.fill("#width", "90000")
    page.fill("#height", "90000")
    page.wait_for_selector("#size-error >> text=/its result has 90000x90000 pixels/")
    page.fill("#width", "50")
    page.fill("#height", "44")
    page.wait_for_selector("#plan >> text=/Becomes 50 × 44/")
    page.click("#start")
    page.wait_for_selector("text=/→ 50 × 44/")


def test_a_left_over_original_is_left_out_with_a_word(new_page, picture, gif, make_photo, tmp_path):
    original, small = tmp_path / "original.png", tmp_path / "small.png"
    Image.fromarray(make_photo(96, 128)).save(original)
    Image.open(original).resize((32, 24), Image.Resampling.BICUBIC).save(small)
    page = new_page()
    page.click("text=Compare with an original")
    choose(page, original, box="original")
    upscale(page, small)
    table = page.inner_text(".scores")
    assert "This result" in table and "Bicubic" in table and " dB" in table
    assert widths(page, ".map") == [128]
    page.click("#chosen li button")
    choose(page, gif)
    page.wait_for_selector("text=original.png is left out: only pictures are compared.")
    page.click("#start")
    page.wait_for_selector("text=/Download clip_SR.gif/")
    assert not page.locator("#problems p").count()


def test_only_a_model_with_a_faithful_end_has_a_fidelity(new_page):
    page = new_page()
    assert page.is_visible("#fidelity")
    choose_model(page, "Tiny_Gen/robust")
    page.wait_for_selector("#fidelity", state="hidden")


# Before and after


def shown_before(page):
    """How much of the picture is "before", 0 to 1, by what is cut off it."""
    return page.evaluate("""() => {
        const before = document.querySelector(".before");
        return 1 - parseFloat(before.style.clipPath.split(" ")[1]) / before.offsetWidth; }""")


def test_the_slider_moves_by_mouse_and_by_keyboard_and_zooms(new_page, picture):
    page = new_page()
    upscale(page, picture)
    assert shown_before(page) == pytest.approx(0.5, abs=0.01)
    canvas = page.locator(".stage:visible .canvas").bounding_box()
    page.mouse.move(canvas["x"] + canvas["width"] / 2, canvas["y"] + 20)
    page.mouse.down()
    page.mouse.move(canvas["x"] + canvas["width"] / 4, canvas["y"] + 30, steps=4)
    page.mouse.up()
    assert shown_before(page) == pytest.approx(0.25, abs=0.01)
    page.focus(".compare .tools input[type=range]")
    for _ in range(100):
        page.keyboard.press("ArrowRight")
    assert shown_before(page) == pytest.approx(0.35, abs=0.01)

    page.focus(".stage[tabindex]")
    for width in (128, 256, 512):
        page.keyboard.press("+")
        assert page.locator(".stage:visible .canvas").bounding_box()["width"] == width
    assert page.get_attribute("button[data-zoom='4']", "aria-pressed") == "true"
    page.click("button[data-zoom=fit]")
    assert page.locator(".stage:visible .canvas").bounding_box()["width"] == pytest.approx(canvas["width"], abs=1)


def test_side_by_side_both_scroll_together(new_page, picture):
    page = new_page()
    upscale(page, picture)
    page.click("text=Side by side")
    boxes = [page.locator(f".{kind}").bounding_box() for kind in ("before", "after")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1 and boxes[0]["width"] == boxes[1]["width"]
    page.click("button[data-zoom='4']")
    page.locator(".stage[tabindex]").evaluate("stage => stage.scrollTo(77, 33)")
    wait_until(page, "document.querySelector('.stage').scrollLeft === 77")
    page.click("text=Side by side")
    assert shown_before(page) > 0


def test_tags_and_buttons_do_not_overlap(new_page, tmp_path):
    """Of a narrow picture, "Before" and "After" lay over each other."""
    path = tmp_path / "narrow.png"
    Image.new("RGB", (4, 60), (200, 30, 30)).save(path)
    for viewport in (DESK, PHONE):
        page = new_page(viewport=viewport)
        upscale(page, path)
        parts = ".tags span, .frame, .tools button, .compare .tools > input, .actions > *, dl"
        boxes = page.locator(parts).evaluate_all("all => all.map((one) => one.getBoundingClientRect().toJSON())")
        for number, one in enumerate(boxes):
            for other in boxes[:number]:
                apart = one["left"] >= other["right"] - 1 or other["left"] >= one["right"] - 1  # borders are shared
                assert apart or one["top"] >= other["bottom"] or other["top"] >= one["bottom"]


def test_the_whole_page_works_by_keyboard(new_page, picture):
    page = new_page()
    choose(page, picture)
    press_tab_until(page, "document.activeElement.id === 'start'")
    page.keyboard.press("Enter")
    finish(page)
    for target in (
        "name === 'model'",
        "matches('summary')",
        "matches('.stage')",
        "type === 'range'",
        "matches('.download')",
    ):
        press_tab_until(page, f"document.activeElement.{target}")


def press_tab_until(page, condition):
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(condition):
            return
    raise AssertionError(f"No Tab reaches {condition}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_in_its_width(new_page, picture, scheme):
    page = new_page(viewport=PHONE, color_scheme=scheme, reduced_motion="reduce")
    upscale(page, picture)
    scrolled = "the page scrolls to the result by itself"
    until(lambda: is_in_view(page, "a.download"), what=scrolled, pause=lambda: page.wait_for_timeout(50))
    for selector in ("#start", ".compare", ".tools", "a.download"):
        box = page.locator(selector).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, selector
    page.click("button[data-zoom='4']")
    check_width(page)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background.strip("rgba()").split(",")[:3])
    assert brightness < 150 if scheme == "dark" else brightness > 600


# Many pages, and the end of one


def test_cancel_frees_the_device_at_once(new_page, service, picture):
    page = new_page()
    slow = use_slow_model(page, service)
    choose(page, picture)
    page.click("#start")
    page.wait_for_selector("text=/of 100000/")
    assert page.get_attribute("#start", "aria-disabled") == "true"
    page.dispatch_event("#start", "click")  # does nothing
    page.click("#cancel")
    page.wait_for_selector("text=Cancelled.")
    assert slow.ended.wait(LIMIT)
    choose_model(page, AUTOMATIC)
    page.click("#start")
    finish(page)


def test_a_closed_page_stops_its_job_and_its_files_go(new_page, service, picture):
    others = pictures_below(service.sessions.root, "photo")  # of pages of other tests, which may go later
    page = new_page()
    upscale(page, picture)
    slow = use_slow_model(page, service)
    page.click("#start")
    assert slow.started.wait(LIMIT)
    page.close(run_before_unload=False)
    assert slow.ended.wait(LIMIT)
    until_gone(service, "photo", others)


def test_uploads_are_gone_when_the_page_is(new_page, service, picture):
    others = pictures_below(service.sessions.root, "photo")
    page = new_page()
    choose(page, picture)
    assert pictures_below(service.sessions.root, "photo") - others
    page.goto("about:blank")
    until_gone(service, "photo", others)


def until_gone(service, name, others):
    until(lambda: not pictures_below(service.sessions.root, name) - others, what=f"{name} is gone")


def pictures_below(folder, name):
    """Paths of files; unlike Path.rglob, os.walk passes over a folder that goes while it is read."""
    return {os.path.join(parent, one) for parent, _, names in os.walk(folder) for one in names if one.startswith(name)}


def test_two_pages_with_the_same_sample_do_not_harm_each_other(new_page):
    """When the one was closed, the other read "the upload is gone", with the server's path."""
    one, other = new_page(), new_page()
    for page in (one, other):
        page.click("text=a photo")
        page.wait_for_selector("#chosen >> text=sample.png")
    one.close()
    other.click("#start")
    finish(other)
    assert not other.locator("#problems p").count()


def test_ten_pages_at_once_each_get_their_own(new_page, tmp_path):
    pages = [new_page() for _ in range(10)]
    for i, page in enumerate(pages):
        path = tmp_path / f"photo{i}.png"
        Image.new("RGB", (20 + i, 16), (20 * i, 90, 30)).save(path)
        choose(page, path)
    for page in pages:
        page.click("#start")
    for i, page in enumerate(pages):
        finish(page)
        assert f"{20 + i} × 16 → {80 + 4 * i} × 64" in page.inner_text("article.result dl")
        assert f"photo{i}_SR.png" in page.inner_text("a.download")


def test_a_page_whose_server_forgot_it_says_so_and_goes_on(new_page, service, picture):
    page = new_page()
    upscale(page, picture)
    page.wait_for_selector("#plan:not(:empty)")  # the page's last word to the server
    url = page.get_attribute("a.download", "href")
    (id,) = [id for id in service.sessions._sessions if id in url]
    service.sessions._sessions[id].acted_at -= 60 * service.limits.minutes + 1
    page.wait_for_selector("text=/has removed this page's files/")
    page.wait_for_selector("article.example")
    upscale(page, picture)


def test_a_password_opens_the_page(service, new_page, picture, tmp_path):
    from utils.app.serving import PageServer, Service

    guarded = Service(service.models, service.limits, Device(4), Sessions(tmp_path / "guarded"))
    guarded.sessions.root.mkdir()
    server = PageServer(guarded, accounts=[("ann", "secret")]).start()
    page = new_page(server.url, http_credentials={"username": "ann", "password": "secret"})
    upscale(page, picture)
    page.context.close()
    server.stop()


def test_the_samples_are_a_click_away(new_page):
    page = new_page()
    page.click("text=a GIF")
    page.wait_for_selector("#chosen >> text=sample.gif")
    page.wait_for_selector("#plan >> text=/Becomes 512 × 384/")
