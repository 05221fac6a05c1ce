"""What every answer carries, and who is answered at all."""

import base64
import binascii
import re
import secrets

from starlette.responses import PlainTextResponse

COOKIE = "srwgan"
COOKIE_VALUE = re.compile(r"[\w-]{32}")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """ASGI middleware: asks for a password where there are accounts, and adds the headers that protect a browser.

    Args:
        accounts: [(user, password)], or None where everybody may come.
    """

    def __init__(self, app, accounts=None):
        self.app, self.accounts = app, accounts

    async def __call__(self, scope, receive, send):
        async def send_more(event):
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event["headers"], *HEADERS]}
            await send(event)

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and not self.is_welcome(dict(scope["headers"]).get(b"authorization", b"")):
            challenge = {"WWW-Authenticate": 'Basic realm="SRWGAN", charset="UTF-8"'}
            await PlainTextResponse("A user and a password, please.", 401, challenge)(scope, receive, send_more)
        elif scope["type"] == "http":
            await self.app(scope, receive, send_more)

    def is_welcome(self, authorization: bytes) -> bool:
        if not self.accounts:
            return True
        try:
            given = base64.b64decode(authorization.removeprefix(b"Basic "), validate=True)
        except binascii.Error:
            return False
        expected = (f"{user}:{password}".encode() for user, password in self.accounts)
        return any([secrets.compare_digest(given, one) for one in expected])  # all of them, whichever fits


def owner_of(request) -> str:
    """The secret of the browser that asks; empty where it sent none."""
    value = request.cookies.get(COOKIE, "")
    return value if COOKIE_VALUE.fullmatch(value) else ""


def with_owner(request, response):
    """Gives the browser a secret of its own, where it has none yet."""
    if not owner_of(request):
        response.set_cookie(COOKIE, secrets.token_urlsafe(24), httponly=True, samesite="lax")
    return response
