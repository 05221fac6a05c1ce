"""Many clients at once: PYTHONPATH=. python3 tests/utils/app_crowd.py [CLIENTS ...], by default 30, then 60.

Half of the clients upload the same file, every third closes its page in the middle, a sixth of all in the middle of the
upload. Expected: every client that stays gets its own result, pixel by pixel; no message but what is expected; a minute
later no file. The generator is tiny and random. Prints what was found; exit status 1 where something was wrong.
"""

import argparse
import io
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from app_client import Client
from PIL import Image

from utils.app.jobs import Device
from utils.app.limits import Limits
from utils.app.models import Models
from utils.app.sessions import GRACE, Sessions

LEFT_OVER_SECONDS = 60


@dataclass
class Outcome:
    """What a crowd met: results that were right, wrong things in words, pages that closed, files left."""

    right: int = 0
    closed: int = 0
    wrong: list = field(default_factory=list)
    left: list = field(default_factory=list)
    seconds_to_empty: float = 0.0

    @property
    def is_good(self):
        return not self.wrong and not self.left

    def __str__(self):
        lines = [f"{self.right} right results, {self.closed} pages closed in the middle, {len(self.wrong)} wrong"]
        lines += [f"  {line}" for line in self.wrong]
        lines.append(
            f"files left: {len(self.left)}, none after {self.seconds_to_empty:.1f} s"
            if not self.left
            else f"files left after {LEFT_OVER_SECONDS} s: {self.left}"
        )
        return "\n".join(lines)


def tiny_generator(folder):
    """The path of a small random generator."""
    import keras

    from srwgan.networks.generator import Generator
    from srwgan.networks.saving import export_generator

    keras.utils.set_random_seed(1)
    generator = Generator(filters=8, blocks=1)
    last = generator.get_layer("last").kernel
    last.assign(keras.random.normal(last.shape, stddev=0.05))
    export_generator(generator, folder / "Tiny_Gen")
    return folder / "Tiny_Gen"


def picture_of(number):
    """Half of the clients have the same picture."""
    seed, side = (0, 40) if number % 2 else (number + 1, 32 + number % 13)
    return np.random.default_rng(seed).integers(0, 256, (side, side + 4, 3)).astype(np.uint8)


def run_crowd(count, models, root, *, grace=GRACE, grace_at_end=GRACE):
    """The `Outcome` of `count` clients at once on a server with these models, whose files are below `root`.

    `grace` is that of `Sessions`, and `grace_at_end` the one from when all clients have gone.
    """
    from utils.app.serving import PageServer, Service

    upscaler = models.upscaler(models.first, "auto")
    expected = {number: upscaler.image(picture_of(number)) for number in range(count)}
    service = Service(models, Limits(bytes=2**20), Device(128), Sessions(root, grace=grace))
    server, outcome = PageServer(service).start(), Outcome()
    lock, clients, start = threading.Lock(), [], threading.Barrier(count)

    def visit(number):
        try:
            client = Client(server.url).open().listen()
            clients.append(client)
            start.wait()
            if number % 6 == 2:
                cut_off(server.url, client)
                client.close()
                told = None
            else:
                told = use(client, number, leaves=number % 3 == 2)
            with lock:
                if told is None:
                    outcome.closed += 1
                elif problem := what_is_wrong(told, expected[number]):
                    outcome.wrong.append(f"client {number}: {problem}")
                else:
                    outcome.right += 1
        except Exception as error:
            with lock:
                outcome.wrong.append(f"client {number}: {type(error).__name__}: {error}")

    try:
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(visit, range(count)))
        for client in clients:
            client.stop_listening()
        service.sessions.grace = grace_at_end
        ended = time.monotonic()
        while (left := files_below(root)) and time.monotonic() - ended < LEFT_OVER_SECONDS:
            time.sleep(0.1)
        outcome.left, outcome.seconds_to_empty = left, time.monotonic() - ended
    finally:
        server.stop()
    return outcome


def use(client, number, leaves):
    """(events, result's bytes) of a client that stays; None of one that closes its page in the middle of its job."""
    file = io.BytesIO()
    Image.fromarray(picture_of(number)).save(file, "PNG")
    answer = client.upload("photo.png", file.getvalue())
    assert answer.status == 200, answer.body
    answer = client.start(answer.json["id"])
    assert answer.status == 202, answer.body
    if leaves:
        time.sleep(random.Random(number).uniform(0, 0.3))
        client.close() if number % 2 else client.stop_listening()
        return None
    client.wait_for("end")
    (result,) = client.of_type("result")
    return client.events, client.ask("GET", result["file"]["url"]).body


def cut_off(url, client):
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port))
    head = f"POST /{client.at('uploads')} HTTP/1.1\r\nHost: x\r\nCookie: {client.cookie}\r\nX-Name: a.png\r\n"
    connection.sendall(f"{head}Content-Length: 900000\r\n\r\n".encode() + b"x" * 100_000)
    connection.close()


def what_is_wrong(told, expected):
    events, content = told
    others = [event for event in events if event["type"] not in ("state", "result", "end")]
    if others:
        return f"a message that nobody expected: {json.dumps(others)}"
    if not np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected):
        return "another picture's result"
    return None


def files_below(folder):
    return [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[1], formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "clients", nargs="*", type=int, default=[30, 60], help="how many at once, one crowd after another"
    )
    good = True
    for count in parser.parse_args().clients:
        with tempfile.TemporaryDirectory() as folder:
            folder, root = Path(folder), Path(folder) / "served"
            root.mkdir()
            started = time.monotonic()
            outcome = run_crowd(count, Models({"Tiny_Gen": tiny_generator(folder)}), root)
            print(f"{count} clients, {time.monotonic() - started:.0f} s: {outcome}", flush=True)
            good &= outcome.is_good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
