"""The server itself: it listens, and when it ends, so do the pages' jobs and files."""

import signal
import socket
import threading
import time

import uvicorn

from utils.app.routes import Service, build_app

__all__ = ["PageServer", "Service"]
LAST_WORDS = 5  # seconds that open connections have when the server ends


class PageServer(uvicorn.Server):
    """Serves the page at `url`, from `run` or `start` on until `stop` or a signal.

    Args:
        service: what all pages share.
        host: the address to listen at; "0.0.0.0" is that of the whole network.
        port: 0 takes one that is free.
        accounts: [(user, password)], or None where everybody may come.

    Raises:
        OSError: the port is taken, or the host is none of this machine's.
    """

    def __init__(self, service: Service, *, host: str = "127.0.0.1", port: int = 0, accounts: list | None = None):
        config = uvicorn.Config(
            build_app(service, accounts),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_WORDS,
        )
        super().__init__(config)
        self.service = service
        self._socket, self._thread = listen(host, port), None
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._socket.getsockname()[1]}"

    def run(self):
        super().run(sockets=[self._socket])

    def start(self) -> "PageServer":
        """Serves in a thread of its own; returns when it does."""
        self._thread = threading.Thread(target=self.run, name="srwgan-page")
        self._thread.start()
        while not self.started and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def stop(self):
        """Ends all jobs, removes all files, and waits until that is done."""
        self.service.sessions.end()
        self.should_exit = True
        if self._thread:
            self._thread.join()
        self._socket.close()
        self.service.device.close()

    def handle_exit(self, sig: signal.Signals, frame):
        self.service.sessions.end()  # the pages' event streams would keep the server waiting
        super().handle_exit(sig, frame)


def listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        problem = error.strerror or str(error)
        raise OSError(
            f"Received: --host {host} --port {port}. Expected an address that is free ({problem})."
        ) from error
