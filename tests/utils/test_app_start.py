"""The page by LiteRT: at once while TensorFlow starts beside it, and altogether where TensorFlow is not installed."""

import json
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwgan.convert import engines
from srwgan.networks.saving import export_generator
from srwgan.upscaling.litert import LiteUpscaler, export_litert
from tests.tiny_generators import two_ends
from tests.waiting import LIMIT
from utils.app import models as app_models
from utils.app import server
from utils.app.estimates import Pace
from utils.app.jobs import CancelledError, Job
from utils.app.models import Models, find_generators
from utils.app.starting import Start

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("ai_edge_litert", reason="LiteRT: python3 -m pip install -r requirements-lite.txt")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start") / "Tiny_Gen"
    for place, generator in two_ends(folder):
        export_generator(generator, place, served=place == folder)
        export_litert(generator, place / "generator.tflite")
    return folder


@pytest.fixture(autouse=True)
def own_rates(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "RATES_FILE", tmp_path / "cache" / "rates.json")


@pytest.fixture
def service(exported):
    return types.SimpleNamespace(models=Models(find_generators([exported])), pace=Pace())


@pytest.fixture
def photo(tmp_path, make_photo):
    Image.fromarray(make_photo(20, 30)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_start_is_waited_for_and_tells_its_error():
    release, failed = threading.Event(), []
    start = Start(lambda: release.wait(LIMIT), failed.append).begin()
    assert not start.is_done
    job = Job()
    job.cancel()
    with pytest.raises(CancelledError):
        start.wait(job.check)
    release.set()
    start.wait(lambda: None)
    assert start.is_done and start.error is None and not failed

    start = Start(lambda: 1 / 0, failed.append).begin()
    with pytest.raises(ZeroDivisionError):
        start.wait(lambda: None)
    start.join(LIMIT)
    assert start.is_done and failed == [start.error]


def test_a_process_ends_in_the_midst_of_a_start():
    script = """
import threading
from utils.app.starting import Start
done = Start(lambda: None).begin()
done.join(600)
done.end_with_process(1)
print("goes on")
Start(threading.Event().wait).begin().end_with_process(130)
print("not reached")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "goes on\n", "")


def test_the_first_picture_does_not_wait_for_tensorflow(service, photo, monkeypatch):
    release, start_tensorflow = threading.Event(), server.start_tensorflow
    monkeypatch.setattr(server, "start_tensorflow", lambda service: release.wait(LIMIT) and start_tensorflow(service))
    server.prepare(service)
    models, name = service.models, service.models.first
    assert not models.start.is_done and service.pace.seconds((name, "auto", "image"), 1.0) > 0

    lite = models.upscaler(name, "float32", source=photo)
    assert isinstance(lite, LiteUpscaler) and isinstance(models.upscaler(name, "auto", 1.0, source=photo), LiteUpscaler)
    job = Job()
    threading.Timer(0.3, job.cancel).start()
    with pytest.raises(CancelledError):  # LiteRT does not compute in bfloat16, so that this one waits
        models.upscaler(name, "bfloat16", source=photo, check=job.check)
    monkeypatch.setattr(app_models, "choose_engine", lambda *args, **options: "tensorflow")
    threading.Timer(0.3, release.set).start()
    full = models.upscaler(
        name, "float32", source=photo
    )  # as of a file so large that TensorFlow is done with it sooner
    assert not isinstance(full, LiteUpscaler) and models.upscaler(name, "float32", source=photo) is full
    with Image.open(photo) as picture:
        pixels = np.asarray(picture)
    assert np.abs(lite.image(pixels).astype(int) - full.image(pixels)).max() <= 1
    models.start.join(LIMIT)


def test_what_litert_can_do_goes_on_where_tensorflow_does_not_start(service, photo, monkeypatch, capfd):
    def broken(service):
        raise OSError("no such driver")

    monkeypatch.setattr(server, "start_tensorflow", broken)
    server.prepare(service)
    service.models.start.join(LIMIT)
    assert capfd.readouterr().err == (
        "utils.app: TensorFlow did not start (no such driver). LiteRT does what it can.\n"
    )
    assert isinstance(service.models.upscaler(service.models.first, "auto", source=photo), LiteUpscaler)


def test_without_litert_the_page_waits_for_tensorflow(service, monkeypatch):
    monkeypatch.setattr(server, "litert_obstacle", lambda folder, settings: "LiteRT is not installed")
    server.prepare(service)
    assert service.models.start is None
    assert not isinstance(service.models.upscaler(service.models.first, "auto"), LiteUpscaler)


WITHOUT_TENSORFLOW = f"""
import json, sys
from pathlib import Path
for name in ("tensorflow", "keras", "matplotlib"):
    sys.modules[name] = None  # as if it were not installed
sys.path.insert(0, {str(ROOT / "tests" / "utils")!r})
from app_client import Client
from utils.app.jobs import Device
from utils.app.limits import Limits
from utils.app.models import Models, find_generators
from utils.app.server import prepare
from utils.app.serving import PageServer, Service
from utils.app.sessions import Sessions

folder, photo, original, sessions = map(Path, sys.argv[1:])
service = Service(Models(find_generators([folder])), Limits(), Device(9), Sessions(sessions))
prepare(service)
server = PageServer(service).start()
try:
    client = Client(server.url).open().listen()
    ids = [client.upload(path.name, path.read_bytes()).json["id"] for path in (photo, original)]
    client.start(ids[0], original=ids[1])
    client.wait_for("end")
    client.start(ids[0], precision="bfloat16")
    client.wait_for("end", count=2)
    print(json.dumps(client.of_type("result") + client.of_type("failed")))
    client.close()
finally:
    server.stop()
"""


def test_the_page_needs_no_tensorflow(exported, photo, tmp_path, make_photo):
    Image.fromarray(make_photo(80, 120)).save(tmp_path / "original.png")
    (tmp_path / "sessions").mkdir()
    arguments = map(str, (exported, photo, tmp_path / "original.png", tmp_path / "sessions"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    result, failed = json.loads(done.stdout)
    assert (result["result_size"], result["precision"]) == ([120, 80], "float32")
    scores = result["scores"]["This result"]
    assert scores["PSNR"] > 5 and scores["LPIPS"] is None and result["error_map"] is None
    assert len(result["notes"]) == 2 and "TensorFlow is not installed on this server." in result["notes"][0]
    assert "TensorFlow is not installed, and it computes in float32, not in bfloat16" in failed["text"]


def test_stderr_comes_back_when_the_last_who_held_it_lets_go():
    script = """
import os
from srwgan.commandline import stderr_held_back
outer = stderr_held_back(among_others=True)
outer.__enter__()
inner = stderr_held_back()
inner.__enter__()
os.write(2, b"I0000 00:00:00 of a library\\nof another thread\\n")
outer.__exit__(None, None, None)
os.write(2, b"INFO: held back by the other still\\n")
inner.__exit__(None, None, None)
os.write(2, b"back\\n")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, "of another thread\nback\n")
