import functools
import hashlib
import http.server
import io
import os
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from srwgan.data.div2k import download_div2k
from srwgan.data.photos import find_photos


def archive(folder="DIV2K_train_HR"):
    """A small zip file of two photographs and its MD5."""
    content, picture = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, "PNG")
    with zipfile.ZipFile(content, "w") as file:
        for name in ("0001.png", "0002.png"):
            file.writestr(f"{folder}/{name}", picture.getvalue())
    return content.getvalue(), hashlib.md5(content.getvalue()).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """A loopback server of the folder `served`; `.url` is its address and `.requests` counts."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(Handler, directory=tmp_path / "served")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.requests = 0
    server.url = f"http://127.0.0.1:{server.server_address[1]}/DIV2K_train_HR.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_photographs_are_fetched_once_unpacked_and_found(server, tmp_path):
    content, md5 = archive()
    (tmp_path / "served" / "DIV2K_train_HR.zip").write_bytes(content)
    datapath = str(tmp_path / "Datasets")
    folder = download_div2k(datapath, server.url, md5)
    assert sorted(os.listdir(folder)) == ["0001.png", "0002.png"]
    assert find_photos(datapath) == [os.path.join(folder, "0001.png"), os.path.join(folder, "0002.png")]
    assert server.requests == 1
    assert download_div2k(datapath, server.url, md5) == folder
    assert server.requests == 1


def test_an_archive_fetched_before_is_unpacked_without_another_download(server, tmp_path):
    content, md5 = archive()
    (tmp_path / "DIV2K_train_HR.zip").write_bytes(content)
    download_div2k(str(tmp_path), server.url, md5)
    assert server.requests == 0
    assert len(find_photos(str(tmp_path))) == 2


def test_a_wrong_checksum(server, tmp_path):
    (tmp_path / "served" / "DIV2K_train_HR.zip").write_bytes(archive()[0])
    with pytest.raises(ValueError, match="could not be downloaded from http://127.0.0.1.* md5"):
        download_div2k(str(tmp_path / "Datasets"), server.url, "0" * 32)
    assert find_photos(str(tmp_path / "Datasets")) == []


def test_an_archive_of_something_else(server, tmp_path):
    content, md5 = archive("cats")
    (tmp_path / "served" / "DIV2K_train_HR.zip").write_bytes(content)
    with pytest.raises(ValueError, match="without a folder DIV2K_train_HR"):
        download_div2k(str(tmp_path / "Datasets"), server.url, md5)
    assert os.listdir(tmp_path / "Datasets") == ["DIV2K_train_HR.zip"]


def test_no_server_or_no_such_file(server, tmp_path):
    with pytest.raises(ValueError, match="could not be downloaded.*404"):
        download_div2k(str(tmp_path / "Datasets"), server.url, "0" * 32)
    with pytest.raises(ValueError, match="could not be downloaded"):
        download_div2k(str(tmp_path / "Datasets"), "http://127.0.0.1:9/DIV2K_train_HR.zip", "0" * 32)
    assert os.listdir(tmp_path / "Datasets") == []


def test_a_datapath_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        download_div2k(str(tmp_path / "file"), "http://127.0.0.1:9/x.zip", "0" * 32)
