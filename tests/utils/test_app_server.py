"""The page's server over HTTP: whose files are whose, what is refused in which words, and what is left behind."""

import errno
import json
import logging
import os
import socket
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from urllib.parse import urlsplit

import numpy as np
import pytest
from app_client import Client, Repeat, RepeatModels
from PIL import Image

from tests.waiting import LIMIT, until
from utils.app.jobs import Device
from utils.app.limits import Limits
from utils.app.sessions import Sessions, folder_bytes

pytest.importorskip("starlette", reason="needs requirements-app.txt")
pytest.importorskip("uvicorn", reason="needs requirements-app.txt")

LONG, SHORT = 600, 0.1  # seconds of grace: on a slow day too a page listens in time, and what is closed soon goes


class Gate(Repeat):
    """Tells when a picture begins, and upscales it when it may."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def image(self, pixels, progress=None):
        self.begun.set()
        while not self.open.wait(0.01):
            progress(0, 10)
        return super().image(pixels, progress)


@pytest.fixture
def serve(tmp_path, caplog):
    """(upscaler, accounts, limits) -> a running PageServer; what it logs is an error of the test's."""
    from utils.app.serving import PageServer, Service

    servers = []

    def start(upscaler=None, accounts=None, waiting=8, grace=LONG, **limits):
        limits = Limits(**{"bytes": 100_000, **limits})
        root = tmp_path / f"served{len(servers)}"
        root.mkdir()
        sessions = Sessions(root, grace=grace, minutes=limits.minutes)
        service = Service(RepeatModels(upscaler), limits, Device(waiting), sessions)
        servers.append(PageServer(service, accounts=accounts).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
        assert not list(server.service.sessions.root.iterdir())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def png(width=20, height=16, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels_of(content):
    return np.asarray(Image.open(BytesIO(content)))


def files_below(folder):
    return [name for _, _, names in os.walk(folder) for name in names]


# Nobody harms anybody


def test_two_pages_with_the_same_file_do_not_harm_each_other(serve):
    """When one of two pages with equal uploads was closed, the other read "the upload is gone"."""
    gate = Gate()
    server = serve(gate)
    content = png()
    one, other = (Client(server.url).open().listen() for _ in range(2))
    ids = [client.upload("photo.png", content).json["id"] for client in (one, other)]
    assert ids[0] != ids[1]
    assert [client.start(id).status for client, id in zip((one, other), ids, strict=True)] == [202, 202]
    assert gate.begun.wait(LIMIT)
    one.close()
    gate.open.set()
    result = other.wait_for("result")
    got = other.ask("GET", result["file"]["url"])
    np.testing.assert_array_equal(pixels_of(got.body), pixels_of(content).repeat(2, 0).repeat(2, 1))
    assert other.wait_for("end") and not other.of_type("failed")


def test_no_address_and_no_answer_shows_where_files_are(serve):
    server = serve()
    client = Client(server.url).open().listen()
    id = client.upload("photo.png", png()).json["id"]
    refused = client.upload("notes.txt", b"hello")
    client.start(id)
    client.wait_for("end")
    root = str(server.service.sessions.root)
    assert root not in json.dumps(client.events) and root not in refused.body.decode()
    assert refused.json["error"].startswith("notes.txt: ")


def test_another_browser_gets_nothing_of_a_session(serve):
    """Who knew root, hash and name could fetch an upload, and the refusal repeated the path."""
    server = serve()
    client, stranger = Client(server.url).open().listen(), Client(server.url).open()
    id = client.upload("photo.png", png()).json["id"]
    client.start(id)
    url = client.wait_for("result")["file"]["url"]
    client.wait_for("end")
    assert client.ask("GET", url).status == 200
    tried = [
        ("GET", url),
        ("GET", client.at("results.zip")),
        ("GET", client.at("events")),
        ("DELETE", client.at("job")),
    ]
    tried += [("POST", client.at("uploads")), ("POST", client.at("close")), ("DELETE", client.at(f"uploads/{id}"))]
    for method, path in tried:
        for browser in (stranger, Client(server.url)):
            answer = browser.ask(method, path)
            assert answer.status == 404 and answer.body == b"There is nothing here.", path
    assert client.ask("GET", url).status == 200
    stranger.session = client.session
    assert stranger.start(id).status == 404


def test_what_is_not_listened_to_is_dropped(serve):
    """45 jobs that nobody listened to held the whole queue."""
    gate = Gate()
    server = serve(gate)
    blocker = Client(server.url).open().listen()
    blocker.start(blocker.upload("photo.png", png()).json["id"])
    assert gate.begun.wait(LIMIT)
    clients = [Client(server.url).open() for _ in range(20)]
    answers = [client.start(client.upload("photo.png", png()).json["id"]) for client in clients]
    assert {answer.status for answer in answers} == {202}
    server.service.sessions.grace = SHORT
    until(lambda: len(server.service.device.all_jobs()) == 1)
    until(lambda: len(list(server.service.sessions.root.iterdir())) == 1)
    server.service.sessions.grace = LONG
    late = Client(server.url).open().listen()
    late.start(late.upload("late.png", png()).json["id"])
    gate.open.set()
    assert late.wait_for("result")["name"] == "late.png"


def test_a_place_in_the_queue_is_refused_in_words(serve):
    gate = Gate()
    server = serve(gate, waiting=4)
    clients = [Client(server.url).open().listen() for _ in range(5)]
    for client in clients:
        client.start(client.upload("photo.png", png()).json["id"])
        assert gate.begun.wait(LIMIT)
    refused = next(client for client in clients if client.of_type("end") or client is clients[-1])
    assert "3 are waiting from your address already. Please try again" in refused.wait_for("failed")["text"]
    gate.open.set()
    assert all(client.wait_for("result") for client in clients if client is not refused)


def test_uploads_that_are_cut_off_leave_nothing(serve):
    """200 MB stayed on the disk after five uploads of 40 MB that the client had cut off."""
    server = serve(bytes=10_000_000)
    client = Client(server.url).open().listen()
    address = urlsplit(server.url)
    for _ in range(3):
        connection = socket.create_connection((address.hostname, address.port))
        head = f"POST /{client.at('uploads')} HTTP/1.1\r\nHost: x\r\nCookie: {client.cookie}\r\nX-Name: a.png\r\n"
        connection.sendall(f"{head}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 400_000)
        until(lambda: folder_bytes(server.service.sessions.root) > 0)
        connection.close()
        until(lambda: not files_below(server.service.sessions.root))
    until(lambda: server.service.arriving == 0)


def test_a_page_closed_during_an_upload_leaves_nothing(serve):
    server = serve(bytes=10_000_000)
    client = Client(server.url).open().listen()
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port))
    head = f"POST /{client.at('uploads')} HTTP/1.1\r\nHost: x\r\nCookie: {client.cookie}\r\nX-Name: a.png\r\n"
    connection.sendall(f"{head}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 400_000)
    until(lambda: folder_bytes(server.service.sessions.root) > 0)
    client.close()
    connection.sendall(b"x" * 400_000)
    until(lambda: not list(server.service.sessions.root.iterdir()))
    connection.close()


@pytest.mark.parametrize("how", ["close", "stop_listening"])
def test_a_page_that_is_closed_leaves_nothing(serve, how):
    gate = Gate()
    server = serve(gate)
    client, uploader = (Client(server.url).open().listen() for _ in range(2))
    uploader.upload("only.png", png())
    client.start(client.upload("photo.png", png()).json["id"])
    assert gate.begun.wait(LIMIT)
    for one in (client, uploader):
        getattr(one, how)()
    server.service.sessions.grace = SHORT
    until(lambda: not list(server.service.sessions.root.iterdir()))
    until(lambda: not server.service.device.all_jobs())
    assert client.ask("GET", client.at("events")).status == 404


def test_the_disk_is_bounded_for_a_page_and_for_all(serve):
    server = serve(page_bytes=100_000, all_bytes=150_000)
    client = Client(server.url).open().listen()
    content = b"x" * 90_000
    assert client.upload("a.png", content).status == 422  # no picture, but there was room
    session = next(iter(server.service.sessions._sessions.values()))
    (session.new_folder("results") / "filler").write_bytes(content)
    refused = client.upload("a.png", content)
    assert refused.status == 507 and "remove some results" in refused.json["error"]
    other = Client(server.url).open().listen()
    refused = other.upload("a.png", content)
    assert refused.status == 507 and "no room for more files" in refused.json["error"]


@pytest.mark.parametrize("words", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "; No space left on device"])
def test_a_full_disk_is_said_first(serve, words):
    """TensorFlow's messages end with the reason, behind the names of nodes."""

    class Full(Repeat):
        def image(self, pixels, progress=None):
            raise (
                words if isinstance(words, OSError) else RuntimeError("{{node save/SaveV2}} /tmp/a_temp/part-0" + words)
            )

    client = Client(serve(Full()).url).open().listen()
    client.start(client.upload("photo.png", png()).json["id"])
    text = client.wait_for("failed")["text"]
    assert text == "photo.png: The server's disk is full (no space left on device). Please try again later."


# What a page gets


def test_results_come_one_by_one_and_stay(serve):
    """All results came at the end of a job, and the next job wiped them."""
    server = serve()
    client = Client(server.url).open().listen()
    ids = [client.upload(f"{name}.png", png(seed=i)).json["id"] for i, name in enumerate("ab")]
    client.start(*ids)
    client.wait_for("end")
    types = [event["type"] for event in client.events if event["type"] in ("result", "end")]
    assert types == ["result", "result", "end"]
    client.start(ids[0])
    client.wait_for("end", count=2)
    results = client.of_type("result")
    assert all(client.ask("GET", result["file"]["url"]).status == 200 for result in results)
    with zipfile.ZipFile(BytesIO(client.ask("GET", client.at("results.zip")).body)) as archive:
        assert archive.namelist() == ["a_SR.png", "b_SR.png", "a_SR_2.png"]
    assert client.ask("DELETE", client.at(f"results/{results[0]['id']}")).status == 204
    assert [client.ask("GET", result["file"]["url"]).status for result in results] == [404, 200, 200]
    assert (
        client.ask("GET", results[1]["file"]["url"] + "?download").headers["content-disposition"].startswith("attach")
    )


def test_the_time_is_told_before_and_during_the_work_with_the_queue(serve):
    gate = Gate()
    server = serve(gate)
    first, second = (Client(server.url).open().listen() for _ in range(2))
    id = first.upload("photo.png", png(100, 100)).json["id"]
    estimate = first.ask("POST", first.at("estimate"), json.dumps({"files": [id]})).json
    assert estimate["seconds"] == pytest.approx(0.3 + 4 * 0.01) and estimate["wait"] == 0
    assert estimate["files"] == [{"id": id, "model": "Repeat", "size": [200, 200]}]
    server.service.pace.learn(("Repeat", "auto", "image"), 0.01, 1000)
    first.start(id)
    assert gate.begun.wait(LIMIT)
    id = second.upload("photo.png", png(100, 100)).json["id"]
    estimate = second.ask("POST", second.at("estimate"), json.dumps({"files": [id]})).json
    assert estimate["wait"] > 900 and estimate["seconds"] > 900
    second.start(id)
    until(lambda: any((event["job"] or {}).get("ahead") == 1 for event in second.of_type("state")))
    state = second.of_type("state")[-1]["job"]
    assert state["wait"] > 900 and state["left"] > 1800
    gate.open.set()
    second.wait_for("end")


def test_a_page_that_lost_its_connection_hears_what_it_missed(serve):
    server = serve()
    client = Client(server.url).open().listen()
    id = client.upload("photo.png", png()).json["id"]
    client.stop_listening()
    client.wait_for("silence")
    client.events.clear()
    client.start(id)
    until(lambda: not server.service.device.all_jobs() and not server.service.tasks)
    client.listen()
    assert client.wait_for("result")["name"] == "photo.png" and client.wait_for("end")


def test_cancelling_ends_a_job_and_keeps_what_is_done(serve):
    gate = Gate()
    client = Client(serve(gate).url).open().listen()
    ids = [client.upload(f"{name}.png", png()).json["id"] for name in "ab"]
    gate.open.set()
    client.start(ids[0])
    client.wait_for("result")
    client.wait_for("end")
    gate.open.clear()
    gate.begun.clear()
    client.start(*ids)
    assert gate.begun.wait(LIMIT)
    assert client.ask("DELETE", client.at("job")).status == 204
    assert client.wait_for("end", count=2)["cancelled"]
    assert len(client.of_type("result")) == 1


WRONG_WISHES = [
    ({"files": []}, "files", "Choose a file first."),
    ({"files": ["../../etc/passwd"]}, "files", "not on the server any more"),
    ({"files": ["x"] * 51}, "files", "51 files at once. Expected at most 50"),
    ({"original": "nothing"}, "original", "not on the server any more"),
    ({"model": "../Other"}, "model", "Expected one of Repeat"),
    ({"precision": "float8"}, "precision", "Expected one of auto"),
    ({"fidelity": 2}, "fidelity", "Received: 2. Expected a number from 0 to 1."),
    ({"fidelity": float("nan")}, "fidelity", "Received: nan."),
    ({"size": "huge"}, "size", "Expected one of own, 2"),
    ({"size": "exact", "width": 0, "height": 5}, "width", "Received: 0. Expected a number from 1 to 100,000."),
    ({"size": "exact", "width": None, "height": 5}, "width", "Received: nothing."),
    ({"size": "exact", "width": 3, "height": "tall"}, "height", "Received: tall."),
    ({"size": "exact", "width": 2.5, "height": 5}, "width", "Expected whole numbers"),
    ({"size": "exact", "width": 90_000, "height": 90_000}, "size", "its result has 90000x90000 pixels"),
]


@pytest.mark.parametrize("wish, field, words", WRONG_WISHES)
def test_a_wrong_wish_is_refused_at_its_field(serve, wish, field, words):
    client = Client(serve().url).open().listen()
    id = client.upload("photo.png", png()).json["id"]
    for address in ("estimate", "job"):
        answer = client.ask("POST", client.at(address), json.dumps({"files": [id], **wish}))
        assert answer.status == 422 and answer.json["field"] == field and words in answer.json["error"]


def test_a_left_over_original_is_left_out_with_a_word(serve):
    client = Client(serve().url).open().listen()
    gif = BytesIO()
    Image.new("P", (20, 16)).save(gif, "GIF")
    image, gif = client.upload("photo.png", png()).json["id"], client.upload("clip.gif", gif.getvalue()).json["id"]
    assert client.start(gif, original=image).json["note"] == "photo.png is left out: only pictures are compared."
    client.wait_for("end")
    answer = client.start(image, original=gif)
    assert answer.json["note"] == "clip.gif is a GIF: only a picture is compared with, so it is left out."
    client.wait_for("end", count=2)
    assert len(client.of_type("result")) == 2 and not client.of_type("failed")


# What is refused


def test_the_server_serves_what_it_made_and_nothing_else(serve):
    server = serve()
    secret = server.service.sessions.root.parent / "secret.txt"
    secret.write_text("not to be seen")
    client = Client(server.url).open().listen()
    root = server.service.sessions.root
    refused = [
        f"/{secret}",
        f"/{client.at('files')}/x/{secret}",
        f"/{client.at('files')}/../../../secret.txt",
        f"/{client.at('files')}/%2e%2e/%2e%2e/secret.txt",
        f"/{client.at('uploads')}/{root}",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/index.html",
        "/static/..%2fserver.py",
        "/example/../../README.md",
        "/sessions",
        "/docs",
        "/openapi.json",
    ]
    for path in refused:
        answer = client.ask("GET", path)
        assert answer.status == 404 and answer.body == b"There is nothing here.", path
    page = client.ask("GET", "/")
    assert page.status == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert all(client.ask("GET", f"/static/{name}").status == 200 for name in ("page.js", "style.css", "icon.svg"))


def test_uploads_are_bounded_and_their_names_made_harmless(serve):
    client = Client(serve().url).open().listen()
    large = client.upload("large.png", b"x" * 200_000)
    assert large.status == 413 and "large.png: 0.2 MB. Expected at most 0.0954 MB." == large.json["error"]
    for name in ("../../../evil.png", "..\\evil.png", "evil\x00.png"):
        answer = client.upload(name, png())
        assert answer.status == 200 and answer.json["name"] in ("evil.png", "evil_.png")
    longer = client.ask("POST", client.at("uploads"), iter([png(), b"x" * 300_000]))
    assert longer.status == 422 and "longer than announced" in longer.json["error"]


def test_a_password_is_asked_for(serve):
    server = serve(accounts=[("ann", "secret"), ("bob", "pässword")])
    for headers in (
        {},
        {"Authorization": "Basic YW5uOndyb25n"},
        {"Authorization": "Basic ###"},
        {"Authorization": "x"},
    ):
        for method, path in (("GET", "/"), ("POST", "sessions"), ("GET", "static/page.js")):
            answer = Client(server.url, headers).ask(method, path)
            assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Basic")
    Client(server.url, {"Authorization": "Basic YW5uOnNlY3JldA=="}).open()
    Client(server.url, {"Authorization": "Basic Ym9iOnDDpHNzd29yZA=="}).open()


def test_hundreds_of_requests_at_once_are_answered(serve):
    client = Client(serve().url).open().listen()
    bodies = [b"{}", b"not json", b'{"files":[' + b"0," * 600_000 + b"0]}", b'{"files":[{"path":"/etc/passwd"}]}']
    bodies += [b"[" * 100_000, b"[]", b'{"files":[[]]}']

    def ask(number):
        return client.ask("POST", client.at(("job", "estimate")[number % 2]), bodies[number % len(bodies)]).status

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(ask, range(300)))
    assert set(statuses) == {400, 413, 422}
    assert client.ask("GET", "/").status == 200


def test_without_its_cookie_a_page_is_told_so(serve):
    answer = Client(serve().url).ask("POST", "sessions")
    assert answer.status == 403 and "cookie" in answer.json["error"]


def test_a_port_that_is_taken_is_named(serve):
    from utils.app.serving import PageServer

    server = serve()
    port = urlsplit(server.url).port
    with pytest.raises(OSError, match=f"Received: --host 127.0.0.1 --port {port}. Expected an address that is free"):
        PageServer(server.service, port=port)


def test_a_crowd_gets_its_own_results_and_leaves_nothing(tmp_path):
    """Small here; `tests/utils/app_crowd.py` is the same with thirty and sixty clients and a generator."""
    from app_crowd import run_crowd

    outcome = run_crowd(12, RepeatModels(), tmp_path, grace=LONG, grace_at_end=SHORT)
    assert outcome.is_good and (outcome.right, outcome.closed) == (8, 4), str(outcome)
