"""The page's server without a browser: what it takes, who waits, what it makes, and what it refuses."""

import dataclasses
import json
import shutil
import struct
import sys
import types
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from app_client import Repeat
from PIL import Image

from srwgan.convert.files import upscale_file
from srwgan.convert.options import Options
from srwgan.media.gif import GifReader, GifWriter
from srwgan.media.still.images import read_image
from srwgan.media.video import VideoReader, VideoWriter
from utils.app.jobs import CancelledError, Job
from utils.app.limits import Limits, safe_name
from utils.app.models import AUTOMATIC, Choice, Models, find_generators
from utils.app.results import described, make_result, make_zip
from utils.app.scores import compare, error_map
from utils.studies import app_picture


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
    return make_result(
        job or Job(),
        path,
        folder,
        limits=limits or Limits(),
        upscaler=Repeat(),
        options=options or Options(),
        original=original,
    )


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
    facts = Limits().check(picture)
    assert (facts.kind, facts.width, facts.height, facts.frames, facts.megapixels) == ("image", 40, 30, 1, 0.0012)
    with pytest.raises(ValueError, match="photo.png: .*Expected at most"):
        Limits(**limit).check(picture)


def test_a_photo_that_a_phone_took_lying_down_is_as_wide_as_it_is_seen(tmp_path):
    path, exif = tmp_path / "phone.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    facts = Limits().check(path)
    assert (facts.width, facts.height) == (30, 40)
    result = result_of(path, results_folder(tmp_path))
    assert (result.size, result.result_size) == ((30, 40), (60, 80))


@pytest.mark.parametrize("name", ["gif", "video"])
@pytest.mark.parametrize("limit", [{"pixels": 1000}, {"frames": 3}, {"seconds": 0.1}])
def test_a_clip_over_a_limit_is_refused(request, name, limit):
    path = request.getfixturevalue(name)
    facts = Limits().check(path)
    assert (facts.kind, facts.frames) == (name, {"gif": 4, "video": 6}[name]) and facts.seconds > 0
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
        with pytest.raises(ValueError, match=rf"{name}.* Expected a picture \(PNG, JPEG, .*GIF, or a video \(MP4"):
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
    monkeypatch.setattr(Limits, "video_facts", without_frames(Limits.video_facts))
    with pytest.raises(ValueError, match="5 frames. Expected at most 4"):
        result_of(video, results_folder(tmp_path), Limits(frames=4))
    assert not list((tmp_path / "results").glob("*.mp4"))


def without_frames(read):
    return lambda limits, path: dataclasses.replace(read(limits, path), frames=None)


def test_a_result_has_a_largest_size(tmp_path, picture):
    with pytest.raises(ValueError, match="its result has 4000x4000 pixels"):
        result_of(picture, results_folder(tmp_path), Limits(pixels=1200), Options(size=(4000, 4000)))


def test_limits_are_positive():
    with pytest.raises(ValueError, match="frames"):
        Limits(frames=0)


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


def test_a_gif_is_shown_beside_its_result_in_step(tmp_path, gif):
    result = result_of(gif, results_folder(tmp_path))
    assert result.kind == "gif"
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
    assert list(result.scores) == ["This result", "Bicubic enlargement"]
    assert result.scores["This result"] == {"PSNR": float("inf"), "SSIM": pytest.approx(1), "LPIPS": pytest.approx(0)}
    assert result.scores["Bicubic enlargement"]["PSNR"] < 60 and result.scores["Bicubic enlargement"]["LPIPS"] > 0
    black = error_map(read_image(original).pixels, read_image(original).pixels)[0, 0]
    assert (read_image(result.error_map).pixels == black).all()
    told = described(result, str)
    assert told["scores"]["This result"]["PSNR"] is None  # JSON knows no infinity
    assert told["error_map"] == str(result.error_map) and json.loads(json.dumps(told)) == json.loads(json.dumps(told))


def test_an_original_of_another_size_or_kind_is_named(tmp_path, picture, gif):
    folder = results_folder(tmp_path)
    other = tmp_path / "other.png"
    Image.fromarray(noise(50, 50, 3)).save(other)
    result = result_of(picture, folder, original=other)
    assert not result.scores and "50x50" in result.notes[-1] and "80x60" in result.notes[-1]
    result = result_of(gif, folder, original=other)  # left over from the picture before
    assert result.path.is_file()
    assert result.notes[-1] == "Not compared with other.png: only pictures are, and clip.gif is a GIF."


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
        compare(job, result, before=read_image(picture), after=read_image(result.path), original=big, scale=2)


def test_the_zip_holds_every_result_as_it_is(tmp_path, picture, gif):
    folder, other = results_folder(tmp_path), tmp_path / "other"
    other.mkdir()
    results = [result_of(picture, folder).path, result_of(gif, folder).path, result_of(picture, other).path]
    shutil.unpack_archive(make_zip(results, tmp_path / "all.zip"), tmp_path / "unpacked")
    names = ["photo_SR.png", "clip_SR.gif", "photo_SR_2.png"]
    for name, result in zip(names, results, strict=True):
        assert (tmp_path / "unpacked" / name).read_bytes() == result.read_bytes()


# Models, accounts, the server


def make_model(path):
    path.mkdir(parents=True)
    (path / "saved_model.pb").touch()
    return path


def test_generators_are_found_alone_and_in_folders(tmp_path):
    first = make_model(tmp_path / "a" / "SRWGAN_Gen")
    second, third = make_model(tmp_path / "b" / "SRWGAN_Gen"), make_model(tmp_path / "b" / "Other_Gen")
    (make_model(tmp_path / "b" / "SRWGAN_Dis") / "discriminator.keras").touch()
    for name in "generator.keras", "discriminator.keras":
        (second / name).touch()  # a generator that comes with its discriminator, to go on training
    found = find_generators([first, tmp_path / "b", first])
    assert found == {"SRWGAN_Gen": first, "Other_Gen": third, "b/SRWGAN_Gen": second}
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_generators([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="Expected a generator"):
        find_generators([tmp_path / "a" / "SRWGAN_Gen" / ".." / ".."])


def test_a_generators_robust_and_fast_ones_are_offered_after_it(tmp_path):
    first, second = make_model(tmp_path / "SRWGAN_Gen"), make_model(tmp_path / "Other_Gen")
    for folder in first / "robust", first / "fast", second / "fast":
        folder.mkdir()
        (folder / "generator.keras").touch()
    found = find_generators([first, second])
    assert list(found.items()) == [
        ("SRWGAN_Gen", first),
        ("SRWGAN_Gen/robust", first / "robust"),
        ("SRWGAN_Gen/fast", first / "fast"),
        ("Other_Gen", second),
        ("Other_Gen/fast", second / "fast"),
    ]
    models = Models(found)
    assert {name: models.title(name) for name in found} == {
        "SRWGAN_Gen": "Photos",
        "SRWGAN_Gen/robust": "GIFs and compressed pictures",
        "SRWGAN_Gen/fast": "Videos, quickly",
        "Other_Gen": "Other_Gen",
        "Other_Gen/fast": "Other_Gen, for videos",
    }
    assert models.name_for("video", Choice("SRWGAN_Gen/fast")) == "SRWGAN_Gen/fast"


def test_a_smaller_generator_is_expected_to_take_less_time(tmp_path):
    first = make_model(tmp_path / "SRWGAN_Gen")
    (first / "fast").mkdir()
    (first / "fast" / "generator.keras").touch()
    models = Models(find_generators([first]))
    assert models.cost("SRWGAN_Gen") == models.cost("SRWGAN_Gen/fast") == 1  # nothing is known of either
    for folder, parameters in (first, 800), (first / "fast", 100):
        (folder / "config.json").write_text(json.dumps({"scale": 4, "parameters": parameters}))
    models = Models(find_generators([first]))
    assert models.cost("SRWGAN_Gen") == 1
    assert models.cost("SRWGAN_Gen/fast") == pytest.approx(0.3)  # a fifth of the time is no generator's


def test_a_diffusion_model_says_that_it_is_one_and_takes_its_steps_time(tmp_path):
    first, own = make_model(tmp_path / "SRWGAN_Gen"), make_model(tmp_path / "Own_Gen")
    (first / "diffusion").mkdir()
    (first / "diffusion" / "generator.keras").touch()
    for folder, steps in (first, {}), (first / "diffusion", {"steps": 4}), (own, {"steps": 1}):
        (folder / "config.json").write_text(json.dumps({"scale": 4, "parameters": 800, **steps}))
    models = Models(find_generators([first, own]))
    assert list(models.generators) == ["SRWGAN_Gen", "SRWGAN_Gen/diffusion", "Own_Gen"]
    lines = {offer["name"]: (offer["title"], "noise" in offer["line"]) for offer in models.described()}
    assert lines["SRWGAN_Gen/diffusion"] == ("Diffusion", True)
    assert lines["Own_Gen"] == ("Own_Gen", True) and lines["SRWGAN_Gen"] == ("Photos", False)
    assert models.cost("SRWGAN_Gen/diffusion") == pytest.approx(0.2 + 0.8 * 2 * 4)  # a step takes two generators' time
    assert models.cost("Own_Gen") == pytest.approx(0.2 + 0.8 * 2)


def test_each_kind_of_file_gets_what_the_command_line_gives_it(tmp_path):
    """A GIF got SRWGAN_Gen/robust there and the sharp end here."""
    main = make_model(tmp_path / "SRWGAN_Gen")
    for end in ("robust", "faithful"):
        (main / end).mkdir()
        (main / end / "generator.keras").touch()
    models = Models(find_generators([main]))
    given = {kind: models.name_for(kind, Choice()) for kind in ("image", "gif", "video")}
    assert given == {"image": "SRWGAN_Gen", "gif": "SRWGAN_Gen/robust", "video": "SRWGAN_Gen"}
    assert models.name_for("gif", Choice(fidelity=0.5)) == "SRWGAN_Gen"  # robust has no faithful end
    assert models.name_for("gif", Choice("SRWGAN_Gen")) == "SRWGAN_Gen"  # chosen by hand
    titles = [offer["title"] for offer in models.described()]
    assert titles == ["Automatic", "Photos", "GIFs and compressed pictures"]
    assert models.described()[0]["name"] == AUTOMATIC and all(offer["line"] for offer in models.described())
    with pytest.raises(ValueError, match="Expected one of SRWGAN_Gen"):
        models.name_for("gif", Choice("../Other"))


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
