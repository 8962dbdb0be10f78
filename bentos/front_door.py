"""What stands before the service: it lets in JSON requests of a bounded size and refuses everything else with a 4xx.

BentoML chooses a decoder by content type (pickle and uploads fetched from a URL among them), reads bodies of any size
and writes a stack trace for each wrong request. None of that is reached: only a request that is already known to be
right passes this door. It also serves the page at `/`, because BentoML's own loads a script from an analytics host.
"""

import asyncio
import html
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.schemas import Problem, RequestRefusedError, Serving, WireTypes, check_request

PREDICT = "/predict"
MAX_BODY_BYTES = 8 * 1024 * 1024
MODEL_HEADER = "x-headrace-model"
_BODY_SECONDS = 10.0  # how long a client may take to send its body
_DISCARDED_BYTES = 8 * MAX_BODY_BYTES  # read and thrown away, so that the client hears the 413 and not a reset
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{product}: predictions</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body style="font-family: sans-serif; margin: 1.5rem">
<h1>{product}</h1>
<p>Model <code>{model_id}</code>, promoted as of {as_of}: {meaning}.</p>
<p><a href="./docs.json">OpenAPI</a> &middot; <a href="./metrics">metrics</a> &middot; <a href="./readyz">ready?</a></p>
<div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "./docs.json", dom_id: "#swagger-ui", validatorUrl: null}});</script>
</body>
</html>
"""


class _RefusedError(Exception):
    """A request that is turned away before it is read as JSON."""

    def __init__(self, status: int, message: str, field: str = "body") -> None:
        self.status = status
        self.problem = Problem(field, message)
        super().__init__(message)


class FrontDoor:
    """ASGI middleware around the service's application."""

    def __init__(self, app: ASGIApp, *, types: WireTypes, serving: Serving, meaning: str) -> None:
        self.app = app
        self._types = types
        self._model_header = (MODEL_HEADER.encode(), serving.model_id.encode())
        self._page = landing_page(serving, meaning)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse or pass on one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], self._model_header]}
            await send(message)

        if scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            await HTMLResponse(self._page, headers=_PAGE_HEADERS)(scope, receive, send_named)
        elif scope["path"] == PREDICT and scope["method"] == "POST":
            await self._predict(scope, receive, send_named)
        else:
            await self.app(scope, receive, send_named)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _read_json_body(scope, receive)
            check_request(self._types, body)
        except _ClientGoneError:
            return
        except _RefusedError as error:
            await problem_response(error.status, [error.problem])(scope, receive, send)
        except RequestRefusedError as error:
            await problem_response(400, error.problems)(scope, receive, send)
        else:
            await self.app(scope, _replayed(body, receive), send)


class _ClientGoneError(Exception):
    """The client closed the connection before its request was whole: there is nobody to answer."""


def problem_response(status: int, problems: Iterable[Problem]) -> Response:
    """A refusal: `error` and `detail` as BentoML documents them, and the same problems one by one in `fields`."""
    listed = tuple(problems)
    return JSONResponse(
        {
            "error": "the request was refused",
            "detail": "; ".join(f"{problem.field}: {problem.message}" for problem in listed),
            "fields": [{"field": problem.field, "message": problem.message} for problem in listed],
        },
        status_code=status,
        headers={"connection": "close"} if status in (408, 413) else None,
    )


def landing_page(serving: Serving, meaning: str) -> str:
    """The page at `/`: what is served, and the OpenAPI document to try it with. It loads nothing from elsewhere."""
    values = {**serving.model_dump(), "meaning": meaning}
    return _PAGE.format(**{name: html.escape(str(value)) for name, value in values.items()})


async def _read_json_body(scope: Scope, receive: Receive) -> bytes:
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    media_type = _media_type(headers)
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read(receive, _declared_bytes(headers))
    except TimeoutError:
        raise _RefusedError(408, f"the whole body is expected within {_BODY_SECONDS:.0f} seconds") from None
    if body is None:
        raise _RefusedError(413, f"at most {MAX_BODY_BYTES:,} bytes; send fewer rows at a time")
    # asked for even where it is missing: a page of another site may post anything else to this address unasked
    if media_type != "application/json":
        raise _RefusedError(415, "send JSON with content-type: application/json", field="content-type")
    return body


def _media_type(headers: Mapping[bytes, str]) -> str:
    return headers.get(b"content-type", "").partition(";")[0].strip().lower()


def _declared_bytes(headers: Mapping[bytes, str]) -> int:
    """What the client says it will send; 0 if it doesn't say. The server has refused what is no number."""
    return int(headers.get(b"content-length", "0"))


async def _read(receive: Receive, declared_bytes: int) -> bytes | None:
    """The body; None if it is too large, of which a bounded part is read and forgotten."""
    body = bytearray()
    seen = 0
    more = declared_bytes <= _DISCARDED_BYTES
    while more and seen < _DISCARDED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        chunk = message.get("body", b"")
        seen += len(chunk)
        more = message.get("more_body", False)
        if max(seen, declared_bytes) <= MAX_BODY_BYTES:
            body += chunk
        else:
            body.clear()
    return bytes(body) if max(seen, declared_bytes) <= MAX_BODY_BYTES else None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body again, for the application behind; after it, whatever the connection says."""
    pending: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again
