"""What the server answers at all: the page's own addresses, files that it made, bodies of a sensible size.

Gradio's server has more: fetching addresses of others on a client's behalf, calls without the queue, run histories.
"""

import json
import re
import shutil
from urllib.parse import unquote

SERVED = re.compile(
    r"/(|config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?|login/?|logout/?"
    r"|(assets|static|svelte)/.*"
    r"|gradio_api/(startup-events|theme\.css|app_id/?|login_check/?|user/?|token/?|upload|upload_progress|cancel|reset/?"
    r"|queue/(join/?|data)|heartbeat/[\w-]+|file=/.*))"
)
MOST_JSON = 1 << 20
KEPT_FREE = 1 << 30  # bytes of disk
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """ASGI middleware in front of Gradio; `folder` is where uploads and results are."""

    def __init__(self, app, folder):
        self.app, self.folder = app, folder

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is None and scope["method"] == "POST" and not scope["path"].startswith("/gradio_api/upload"):
            body = await read_body(receive)
            refusal = refused_body(body, scope["path"])
            receive = replay(body, receive)
        if refusal is not None:
            await answer(send, *refusal)
        else:
            await self.app(scope, receive, with_headers(send))

    def refusal(self, scope):
        """(status, sentence), or None for what is served."""
        path = unquote(scope["path"])
        if scope["method"] not in ("GET", "HEAD", "POST", "OPTIONS") or not SERVED.fullmatch(path):
            return 404, "There is nothing here."
        if path == "/gradio_api/upload" and shutil.disk_usage(self.folder).free < KEPT_FREE:
            return 507, "The server's disk is full. Please try again later."
        return None


def refused_body(body, path):
    if body is None:
        return 413, "This request is too large."
    if not path.startswith("/gradio_api/queue/join"):
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return 400, "This request is not JSON."
    return (400, "Files have to be uploaded.") if names_address(content) else None


def names_address(content):
    """Whether a file's "path" anywhere in it is one of another server, which Gradio would fetch."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and "//" in path:
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


async def read_body(receive):
    """The whole body, or None when it is larger than MOST_JSON."""
    parts, size = [], 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return b""  # the client has gone
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        if size > MOST_JSON:
            return None
        if not event.get("more_body"):
            return b"".join(parts)


def replay(body, receive):
    given = False

    async def receive_again():
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def with_headers(send):
    async def send_more(event):
        if event["type"] == "http.response.start":
            event = {**event, "headers": [*event["headers"], *HEADERS]}
        await send(event)

    return send_more


async def answer(send, status, sentence):
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
