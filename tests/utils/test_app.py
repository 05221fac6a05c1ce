"""The page's server without a browser: what it takes, who waits, what it shows and what it refuses."""

import json
import shutil
import struct
import sys
import threading
import types
import urllib.error
import urllib.request
import zlib
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwgan.convert.files import upscale_file
from srwgan.convert.options import Options
from srwgan.media.gif import GifReader, GifWriter
from srwgan.media.still.images import read_image
from srwgan.media.video import VideoReader, VideoWriter
from utils.app import view
from utils.app.jobs import BusyError, CancelledError, Device, Job, Sessions
from utils.app.limits import Limits, safe_name
from utils.app.models import Models, find_generators
from utils.app.results import compare, error_map, make_result, make_zip
from utils.studies import app_picture


class Repeat:
    """Stands in for an `Upscaler`: every pixel becomes 2 x 2, a row of tiles for each row of pixels."""

    scale, precision = 2, "float32"

    def image(self, pixels, progress=None):
        for row in range(len(pixels)):
            if progress:
                progress(row + 1, len(pixels))
        return pixels.repeat(2, 0).repeat(2, 1)

    def frames(self, frames, reuse=True):
        for frame in frames:
            yield self.image(frame)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(noise(30, 40, 3)).save(path)
    return path


@pytest.fixture
def gif(tmp_path):
    path = tmp_path / "clip.gif"
    with GifWriter(path, (40, 30), loop=0) as writer:
        for i in range(4):
            writer.write(np.full((30, 40, 3), 60 * i, np.uint8), (0, 200, 50, 70)[i])
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (64, 48), frame_rate=25) as writer:
        for i in range(6):
            writer.write(np.full((48, 64, 3), 40 * i, np.uint8), Fraction(i, 25), Fraction(1, 25))
    return path


def results_folder(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


def result_of(path, folder, limits=None, options=None, original=None, job=None):
    limits, job = limits or Limits(), job or Job()
    return make_result(job, limits, Repeat(), "Repeat", path, folder, options or Options(), original)


# What is taken


@pytest.mark.parametrize(
    "given, safe",
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("Ünïcode 写真 (1).JPG", "Ünïcode 写真 (1).JPG"),
        ('a"<b>&c\n\x00.png', "a__b__c__.png"),
        ("...", "file"),
        ("", "file"),
        (".png", "png"),
        ("x" * 300 + ".gif", "x" * 80 + ".gif"),
        ("{{evil}}${1}.gif", "__evil____1_.gif"),
    ],
)
def test_names_are_made_safe(given, safe):
    assert safe_name(given) == safe


@pytest.mark.parametrize("limit", [{"bytes": 100}, {"pixels": 30 * 40 - 1}])
def test_a_picture_over_a_limit_is_refused_in_a_sentence(picture, limit):
    assert Limits().check(picture) == ("image", (40, 30))
    with pytest.raises(ValueError, match="photo.png: .*Expected at most"):
        Limits(**limit).check(picture)


@pytest.mark.parametrize("name", ["gif", "video"])
@pytest.mark.parametrize("limit", [{"pixels": 1000}, {"frames": 3}, {"seconds": 0.1}])
def test_a_clip_over_a_limit_is_refused(request, name, limit):
    path = request.getfixturevalue(name)
    assert Limits().check(path)[0] == name
    with pytest.raises(ValueError, match=f"{path.name}: .*Expected at most"):
        Limits(**limit).check(path)


def test_limits_are_checked_before_decoding(tmp_path):
    """A PNG that promises a gigapixel and holds nothing."""
    path = tmp_path / "bomb.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    header += struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + b"\0\0\0\0IDAT5\xaf\x06\x1e")
    with pytest.raises(ValueError, match="30000x30000 pixels. Expected at most 16,000,000"):
        Limits().check(path)


def test_files_that_are_not_what_they_say_are_refused(tmp_path):
    contents = {
        "text.png": b"not a picture",
        "text.mp4": b"not a video",
        "text.gif": b"GIF89a?",
        "empty.jpg": b"",
        "picture.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=name):
            Limits().check(path)


def test_a_playlist_called_a_video_opens_no_other_file(tmp_path, video):
    playlists = {
        "concat.mp4": f"ffconcat version 1.0\nfile {video.name}\n",
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile://{video}\n#EXT-X-ENDLIST\n",
    }
    for name, content in playlists.items():
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(ValueError, match="not a video that can be read"):
            Limits().check(path)


def test_more_frames_than_a_header_says_are_noticed_while_they_come(tmp_path, video, monkeypatch):
    monkeypatch.setattr(Limits, "check_clip", lambda *args: None)
    with pytest.raises(ValueError, match="5 frames. Expected at most 4"):
        result_of(video, results_folder(tmp_path), Limits(frames=4))
    assert not list((tmp_path / "results").glob("*.mp4"))


def test_a_result_has_a_largest_size(tmp_path, picture):
    with pytest.raises(ValueError, match="its result has 4000x4000 pixels"):
        result_of(picture, results_folder(tmp_path), Limits(pixels=1200), Options(size=(4000, 4000)))


def test_limits_are_positive():
    with pytest.raises(ValueError, match="frames"):
        Limits(frames=0)


# Who waits


def test_jobs_run_one_at_a_time_in_order_and_a_long_one_lets_others_between():
    device, order, running = Device(10), [], []

    def work(name):
        running.append(name)
        order.append((name, len(running)))
        running.remove(name)

    gate = threading.Event()
    blocker = device.submit(Job(), gate.wait)
    many, one = Job(), Job()
    first = device.submit(many, work, "many 1")
    other = device.submit(one, work, "one")
    assert (device.ahead_of(many), device.ahead_of(one)) == (1, 2)
    gate.set()
    blocker.result(), first.result()
    device.submit(many, work, "many 2").result()
    other.result()
    assert order == [("many 1", 1), ("one", 1), ("many 2", 1)]
    assert device.ahead_of(one) is None
    device.close()


def test_a_running_job_ends_at_its_next_tile_and_a_waiting_one_at_once():
    device, started, go_on = Device(10), threading.Event(), threading.Event()
    running, waiting = Job(), Job()

    def work():
        running.progress(1, 3)
        started.set()
        go_on.wait()
        running.progress(2, 3)

    first, second = device.submit(running, work), device.submit(waiting, lambda: "never")
    started.wait()
    waiting.cancel()
    with pytest.raises(FutureCancelled):
        second.result()
    assert device.ahead_of(waiting) is None
    running.cancel()
    go_on.set()
    with pytest.raises(CancelledError):
        first.result()
    assert running.done == 1
    assert device.submit(Job(), lambda: "free").result() == "free"
    device.close()


def test_too_many_waiting_are_refused():
    device, gate = Device(2), threading.Event()
    started = threading.Event()
    device.submit(Job(), lambda: (started.set(), gate.wait()))
    started.wait()
    for _ in range(2):
        device.submit(Job(), lambda: None)
    with pytest.raises(BusyError, match="2 others are waiting"):
        device.submit(Job(), lambda: None)
    gate.set()
    device.close()


def test_a_closed_page_stops_its_job_and_leaves_no_file(tmp_path):
    sessions = Sessions(tmp_path)
    one, other = sessions.get("one"), sessions.get("other")
    assert sessions.get("one") is one
    mine, ours = (tmp_path / name / "photo.png" for name in ("aa", "bb"))
    for upload in (mine, ours):
        upload.parent.mkdir()
        upload.write_bytes(b"x")
    one.uploads |= {mine, ours}
    other.uploads |= {ours}
    job = one.start_job()
    (one.new_folder() / "result.png").write_bytes(b"x")
    with pytest.raises(BusyError, match="at work already"):
        one.start_job()
    sessions.close("one")
    assert job.cancelled and not mine.parent.exists() and ours.exists()
    one.end_job()
    assert not one.folder.exists()
    sessions.close("one")
    sessions.close_all()
    assert not list(tmp_path.iterdir())


# Results


@pytest.mark.parametrize("name", ["picture", "gif"])
@pytest.mark.parametrize("options", [Options(), Options(scale_out=3, deband=True), Options(size=(50, 44))])
def test_a_result_is_that_of_the_command_line(tmp_path, request, name, options):
    source = request.getfixturevalue(name)
    result = result_of(source, results_folder(tmp_path), options=options)
    expected = tmp_path / f"expected{result.path.suffix}"
    upscale_file(Repeat(), source, expected, options=options)
    assert result.path.read_bytes() == expected.read_bytes()
    assert result.path.name == f"{source.stem}_SR{source.suffix}"
    assert (result.size, result.result_size) == ((40, 30), options.result_size(40, 30, 2))
    assert result.thumbnail.is_file()


def test_pictures_are_shown_as_they_are_where_browsers_can(tmp_path, picture):
    folder = results_folder(tmp_path)
    result = result_of(picture, folder)
    assert (result.before, result.after) == (picture, result.path)
    deep = tmp_path / "deep.tif"
    Image.fromarray(noise(20, 24, 3)).save(deep)
    result = result_of(deep, folder)
    assert result.path.suffix == ".tif" and (result.before.suffix, result.after.suffix) == (".png", ".png")
    np.testing.assert_array_equal(read_image(result.after).pixels, read_image(result.path).pixels)


def test_results_of_equal_names_do_not_overwrite_each_other(tmp_path, picture):
    folder = results_folder(tmp_path)
    paths = [result_of(picture, folder).path for _ in range(2)]
    assert [path.name for path in paths] == ["photo_SR.png", "photo_SR_2.png"]


def test_a_gif_is_shown_beside_its_result_in_step(tmp_path, gif):
    result = result_of(gif, results_folder(tmp_path))
    assert result.preview == "clip"
    with VideoReader(result.after) as preview, GifReader(gif) as source:
        assert preview.size == (2 * 80 + 4, 60)
        frames = list(preview)
        assert len(frames) == source.frame_count == 4
        assert [float(start) for _, start in frames] == pytest.approx([0, 0.1, 0.3, 0.35])  # 0 ms plays as 100
        assert float(preview.end) == pytest.approx(0.42)
        for i, (pixels, _) in enumerate(frames):
            left, right = pixels[10:50, 10:70].astype(int), pixels[10:50, 94:154].astype(int)
            assert abs(left.mean() - 60 * i) < 4 and abs(right.mean() - 60 * i) < 4


def test_a_video_is_shown_beside_its_result(tmp_path, video):
    result = result_of(video, results_folder(tmp_path))
    with VideoReader(result.after) as preview, VideoReader(result.path) as after:
        assert preview.size == (2 * 128 + 4, 96) and after.size == (128, 96)
        assert [start for _, start in preview] == [start for _, start in after]


def test_cancelling_leaves_no_result(tmp_path, gif):
    class Cancelling(Job):
        def progress(self, done, total):
            if done == 2:
                self.cancel()
            super().progress(done, total)

    folder = results_folder(tmp_path)
    with pytest.raises(CancelledError):
        result_of(gif, folder, job=Cancelling())
    assert not list(folder.rglob("*.*"))


def test_an_original_equal_to_the_result_has_the_best_scores(tmp_path, make_photo):
    source, original = tmp_path / "photo.png", tmp_path / "original.png"
    photo = make_photo(40, 60)
    Image.fromarray(photo).save(source)
    Image.fromarray(photo.repeat(2, 0).repeat(2, 1)).save(original)
    result = result_of(source, results_folder(tmp_path), original=original)
    assert list(result.scores) == ["Repeat", "Bicubic"]
    assert result.scores["Repeat"] == {"PSNR": float("inf"), "SSIM": pytest.approx(1), "LPIPS": pytest.approx(0)}
    assert result.scores["Bicubic"]["PSNR"] < 60 and result.scores["Bicubic"]["LPIPS"] > 0
    black = error_map(read_image(original).pixels, read_image(original).pixels)[0, 0]
    assert (read_image(result.error_map).pixels == black).all()
    html = view.results_html([result])
    assert "∞" in html and "Error map" in html


def test_an_original_of_another_size_or_kind_is_named(tmp_path, picture, gif):
    folder = results_folder(tmp_path)
    other = tmp_path / "other.png"
    Image.fromarray(noise(50, 50, 3)).save(other)
    result = result_of(picture, folder, original=other)
    assert not result.scores and "50x50" in result.notes[-1] and "80x60" in result.notes[-1]
    with pytest.raises(ValueError, match="with an image, not with a gif"):
        result_of(gif, folder, original=other)
    with pytest.raises(ValueError, match="clip.gif: not an image"):
        result_of(picture, folder, original=gif)


def test_the_error_map_is_brighter_where_the_error_is_larger():
    truth = np.zeros((4, 3, 3), np.uint8)
    picture = truth.copy()
    picture[1], picture[2], picture[3] = 20, 64, 255
    rows = error_map(picture, truth).astype(int).sum(2)[:, 0]
    assert rows[0] < rows[1] < rows[2] == rows[3]


def test_scores_keep_to_cancelling(tmp_path, picture):
    result = result_of(picture, results_folder(tmp_path))
    big, job = tmp_path / "big.png", Job()
    Image.fromarray(noise(60, 80, 3)).save(big)
    job.cancel()
    with pytest.raises(CancelledError):
        compare(job, result, read_image(picture), read_image(result.path), big, 2)


def test_the_zip_holds_every_result_as_it_is(tmp_path, picture, gif):
    folder = results_folder(tmp_path)
    results = [result_of(picture, folder), result_of(gif, folder)]
    shutil.unpack_archive(make_zip(results, tmp_path / "all.zip"), tmp_path / "unpacked")
    for result in results:
        assert (tmp_path / "unpacked" / result.path.name).read_bytes() == result.path.read_bytes()


def test_names_and_notes_are_no_html(tmp_path, picture):
    result = result_of(picture, results_folder(tmp_path))
    result.name, result.notes = "<img src=x onerror=alert(1)>", ["<script>"]
    html = view.results_html([result, result], result.path)
    assert "<img src=x" not in html and "<script>" not in html and "&lt;script&gt;" in html


# Models, accounts, the server


def make_model(path):
    path.mkdir(parents=True)
    (path / "saved_model.pb").touch()
    return path


def test_generators_are_found_alone_and_in_folders(tmp_path):
    first = make_model(tmp_path / "a" / "SRWGAN_Gen")
    second, third = make_model(tmp_path / "b" / "SRWGAN_Gen"), make_model(tmp_path / "b" / "Other_Gen")
    (make_model(tmp_path / "b" / "SRWGAN_Dis") / "discriminator.keras").touch()
    found = find_generators([first, tmp_path / "b", first])
    assert found == {"SRWGAN_Gen": first, "Other_Gen": third, "b/SRWGAN_Gen": second}
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_generators([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="Expected a generator"):
        find_generators([tmp_path / "a" / "SRWGAN_Gen" / ".." / ".."])


def test_a_generators_robust_one_is_offered_after_it(tmp_path):
    first, second = make_model(tmp_path / "SRWGAN_Gen"), make_model(tmp_path / "Other_Gen")
    (first / "robust").mkdir()
    (first / "robust" / "generator.keras").touch()
    found = find_generators([first, second])
    assert list(found.items()) == [
        ("SRWGAN_Gen", first),
        ("SRWGAN_Gen/robust", first / "robust"),
        ("Other_Gen", second),
    ]


def test_only_offered_models_are_loaded():
    with pytest.raises(ValueError, match="Expected one of A, B"):
        Models({"A": Path("a"), "B": Path("b")}).upscaler("../C", "auto")


def test_a_fidelity_needs_a_faithful_end(tmp_path):
    models = Models({"One": make_model(tmp_path / "One"), "Both": make_model(tmp_path / "Both")})
    (tmp_path / "Both" / "faithful").mkdir()
    (tmp_path / "Both" / "faithful" / "generator.keras").touch()
    assert [models.has_faithful_end(name) for name in ("One", "Both", "../Both")] == [False, True, False]
    with pytest.raises(ValueError, match="fidelity 0.5 for One, which has no faithful end. Expected 0"):
        models.upscaler("One", "auto", 0.5)


def test_accounts_are_read_from_a_file(tmp_path):
    from utils.app.server import read_accounts

    path = tmp_path / "accounts"
    path.write_text("# who may come\nann:secret\n\nbob:with:colon\n")
    assert read_accounts(path) == [("ann", "secret"), ("bob", "with:colon")]
    path.write_text("ann:secret\nbob\n")
    with pytest.raises(ValueError, match="line 2"):
        read_accounts(path)
    path.write_text("")
    with pytest.raises(ValueError, match="no account"):
        read_accounts(path)


def test_wrong_arguments_end_with_one_line_and_status_2(tmp_path, capsys):
    from utils.app.server import main

    for arguments in (["--model", str(tmp_path / "nowhere")], ["--auth", str(tmp_path / "nobody")]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and arguments[1] in error
    with pytest.raises(SystemExit) as end:
        main(["--port", "many"])
    assert end.value.code == 2


class RepeatModels(Models):
    def __init__(self):
        super().__init__({"Repeat": Path("Repeat")})

    def upscaler(self, name, precision, fidelity=0.0):
        return Repeat()


@pytest.fixture(params=[None, [("ann", "secret")]], ids=["open", "auth"])
def server(request, tmp_path, monkeypatch):
    """(address, Service) of a running page."""
    pytest.importorskip("gradio", reason="needs requirements-app.txt")
    from utils.app.page import Service
    from utils.app.server import launch, stop

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # restored afterwards
    service = Service(RepeatModels(), Limits(bytes=100_000), Device(4), Sessions(tmp_path / "served"))
    service.sessions.root.mkdir()
    page = launch(service, port=None, accounts=request.param)
    yield page.local_url.rstrip("/"), service
    stop(service, page)


def status_of(url, data=None, headers=()):
    """(HTTP status, body)"""
    request = urllib.request.Request(url, data, dict(headers))
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def upload(url, name, content):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n' % name.encode()
    body += content + b"\r\n--x--\r\n"
    return status_of(f"{url}/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"})


def test_the_server_serves_what_it_made_and_nothing_else(server, picture):
    url, service = server
    secret = service.sessions.root.parent / "secret.txt"
    secret.write_text("not to be seen")
    refused = [
        f"/gradio_api/file={secret}",
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={service.sessions.root}/../secret.txt",
        f"/gradio_api/file={service.sessions.root}/%2e%2e/secret.txt",
        f"/gradio_api/file={Path(__file__).resolve()}",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/gradio_api/runs",
        "/monitoring",
        "/docs",
        "/static/../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    ]
    for path in refused:
        status, body = status_of(url + path)
        assert status >= 400 and b"not to be seen" not in body and b"root:" not in body, path
    assert status_of(f"{url}/gradio_api/run/predict", b"{}", {"Content-Type": "application/json"})[0] == 404
    assert status_of(url + "/")[0] == 200


def test_without_a_password_nothing_is_done(server):
    url, service = server
    status, _ = upload(url, "photo.png", b"x")
    needed = service_needs_password(url)
    assert status == (401 if needed else 200)
    assert bool(list(service.sessions.root.rglob("*.png"))) != needed


def service_needs_password(url):
    return status_of(f"{url}/config")[0] == 401


def test_uploads_are_bounded_and_their_names_made_harmless(server):
    url, service = server
    if service_needs_password(url):
        pytest.skip("the same behind a password")
    status, body = upload(url, "large.png", b"x" * 200_000)
    assert status == 413
    status, body = upload(url, "../../../evil.png", b"x")
    assert status == 200
    (path,) = json.loads(body)
    assert Path(path).resolve().is_relative_to(service.sessions.root.resolve())
    assert [path.name for path in service.sessions.root.rglob("*.png")] == ["evil.png"]


def test_hundreds_of_requests_at_once_are_answered(server):
    url, _ = server
    join = f"{url}/gradio_api/queue/join"
    bodies = [
        b"{}",
        b"not json",
        b'{"data":[' + b"0," * 600_000 + b"0]}",
        json.dumps({"data": [[{"path": "http://127.0.0.1:1/x"}]], "fn_index": 0, "session_hash": "a"}).encode(),
        json.dumps({"data": [[{"path": "/etc/passwd"}]], "fn_index": 0, "session_hash": "b"}).encode(),
        b"[" * 100_000,
    ]

    def ask(number):
        return status_of(join, bodies[number % len(bodies)], {"Content-Type": "application/json"})[0]

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(ask, range(300)))
    assert {status // 100 for status in statuses} <= {2, 4}
    assert status_of(url + "/")[0] == 200


def test_a_request_too_large_or_naming_another_server_is_refused():
    from utils.app.guard import names_address, refused_body

    assert refused_body(None, "/login")[0] == 413
    assert refused_body(b"x", "/gradio_api/queue/join")[0] == 400
    assert refused_body(b"[]", "/gradio_api/queue/join") is None
    assert names_address({"data": [[{"path": "https://example.org/a.png"}]]})
    assert names_address([{"path": "//example.org/a.png"}])
    assert not names_address({"data": [[{"path": "/tmp/a.png", "url": "http://127.0.0.1/a.png"}]]})


def test_the_pages_picture_needs_a_file_and_a_browser_and_leaves_the_old_one(tmp_path, monkeypatch, capsys):
    old, upload = tmp_path / "app.png", tmp_path / "photo.png"
    old.write_bytes(b"old")
    with pytest.raises(SystemExit, match="2"):
        app_picture.main(["--output", str(old), "--upload", str(upload)])
    assert f"{upload}: no such file." in capsys.readouterr().err
    upload.write_bytes(b"")
    monkeypatch.setattr(app_picture, "find_browser", lambda: None)
    monkeypatch.setitem(sys.modules, "playwright.sync_api", types.SimpleNamespace(sync_playwright=None))
    with pytest.raises(SystemExit, match="2"):
        app_picture.main(["--output", str(old), "--upload", str(upload)])
    assert "No browser is there." in capsys.readouterr().err
    assert old.read_bytes() == b"old" and sorted(tmp_path.iterdir()) == [old, upload]
