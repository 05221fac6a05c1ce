"""What the page's tests share: an upscaler that repeats pixels, and a client that does what the page's scripts do."""

import http.client
import json
import threading
from pathlib import Path
from urllib.parse import quote, urlsplit

from utils.app.models import Models


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


class RepeatModels(Models):
    """Offers `Repeat` under the name that is the default."""

    def __init__(self, upscaler=None):
        super().__init__({"Repeat": Path("Repeat")})
        self.one = upscaler or Repeat()

    def scale(self, name):
        return self.one.scale

    def upscaler(self, name, precision, fidelity=0.0, **how):
        return self.one


class Answer:
    """An HTTP answer: its status, headers (lower case) and body."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """One open page. `listen` has to be called, as the page does; whoever does not listen is dropped."""

    def __init__(self, url, headers=()):
        self.url, self.headers = url, dict(headers)
        self.cookie = self.session = None
        self.events, self._heard, self._stream = [], threading.Condition(), None
        self.last_event = "0"

    def ask(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc)
        try:
            connection.request(method, f"/{path.lstrip('/')}", body, {**self._own_headers(), **dict(headers)})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def _own_headers(self):
        return {**self.headers, **({"Cookie": self.cookie} if self.cookie else {})}

    def open(self):
        """Loads the page and opens a session."""
        self.cookie = self.ask("GET", "/").headers["set-cookie"].split(";")[0]
        answer = self.ask("POST", "sessions")
        assert answer.status == 200, answer.body
        self.session = answer.json["id"]
        return self

    def at(self, path):
        return f"sessions/{self.session}/{path}"

    def listen(self):
        """Hears of events, in a thread, until `stop_listening`."""
        self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc)
        self._connection.request("GET", "/" + self.at("events"), headers=self._own_headers())
        self._stream = self._connection.getresponse()
        assert self._stream.status == 200
        threading.Thread(target=self._read, args=(self._stream,), daemon=True).start()
        return self

    def _read(self, stream):
        try:
            for line in stream:
                if line.startswith(b"data: "):
                    with self._heard:
                        self.events.append(json.loads(line[6:]))
                        self._heard.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # the connection was closed, here or there
        with self._heard:
            self.events.append({"type": "silence"})
            self._heard.notify_all()

    def stop_listening(self):
        """Breaks the connection off, as a closed lid does."""
        self._connection.sock.shutdown(2)
        self._connection.close()

    def wait_for(self, *types, count=1):
        """The event of one of these types with this count; fails where the connection ends before it came."""
        with self._heard:

            def found():
                fitting = [event for event in self.events if event["type"] in types]
                return len(fitting) >= count or any(event["type"] == "silence" for event in self.events)

            self._heard.wait_for(found)
        fitting = [event for event in self.events if event["type"] in types]
        assert len(fitting) >= count, self.events
        return fitting[count - 1]

    def of_type(self, type):
        return [event for event in self.events if event["type"] == type]

    def upload(self, name, content, **headers):
        return self.ask("POST", self.at("uploads"), content, {"X-Name": quote(name), **headers})

    def start(self, *ids, **wish):
        return self.ask("POST", self.at("job"), json.dumps({"files": list(ids), **wish}))

    def close(self):
        return self.ask("POST", self.at("close"))
