"""The addresses that the server answers.

/                                          the page and its scripts, /static/NAME
POST   /sessions                           opens a session: {id, settings}
GET    /sessions/ID/events                 what happens in it, as server-sent events
POST   /sessions/ID/close                  the page was closed
POST   /sessions/ID/uploads                a file: its bytes are the body, its name is in the header X-Name
POST   /sessions/ID/samples/NAME           one of this repository's samples as an upload
DELETE /sessions/ID/uploads/ID
POST   /sessions/ID/estimate               what a wish will take
POST   /sessions/ID/job                    starts a wish; DELETE cancels it
DELETE /sessions/ID/results/ID
GET    /sessions/ID/files/SECRET/NAME      a file that the server made for this session
GET    /sessions/ID/results.zip            all results

A session answers only the browser that opened it, by its cookie. No address holds a path of the server's.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from utils.app.estimates import Pace
from utils.app.guard import Guard, owner_of, with_owner
from utils.app.jobs import BusyError, Device
from utils.app.limits import Limits, safe_name
from utils.app.models import Models
from utils.app.results import make_zip
from utils.app.sessions import GoneError, Sessions, Upload, folder_bytes
from utils.app.wishes import FieldError, originals_note, planned, read_wish
from utils.app.work import DISK_FULL, KEPT_FREE, adopt_all, is_disk_full, run_job, without_folder

PAGE = Path(__file__).resolve().parent / "page"
IMAGES = Path(__file__).resolve().parents[2] / "Images"
SAMPLES = {"image": IMAGES / "sample.png", "gif": IMAGES / "sample.gif"}
EXAMPLE = {"before": IMAGES / "sample.png", "after": IMAGES / "sample_SR.png"}
STATIC = {path.name: path for path in PAGE.iterdir() if path.name != "index.html"}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MOST_JSON = 1 << 20
REFRESH = 0.2  # seconds between two looks at the progress
HEARTBEAT = 5  # seconds of silence after which a page is told that all is well, which shows whether it is there
STALLED = 60  # seconds after which an upload without a byte is given up


@dataclass(eq=False)
class Service:
    """What all pages share."""

    models: Models
    limits: Limits
    device: Device
    sessions: Sessions
    pace: Pace = field(default_factory=Pace)
    arriving: int = 0  # bytes of uploads that have not arrived yet
    tasks: set = field(default_factory=set)


def build_app(service: Service, accounts: list | None = None) -> Starlette:
    """The ASGI application. `accounts` is [(user, password)], or None where everybody may come."""

    def of_session(handler):
        """The handler with the session that the address names, if it belongs to the browser that asks."""

        async def answer(request):
            try:
                session = service.sessions.get(request.path_params["session"], owner_of(request))
                return await handler(service, session, request)
            except GoneError:
                raise HTTPException(404) from None

        return answer

    @contextlib.asynccontextmanager
    async def lifespan(_):
        sweeper = asyncio.create_task(sweep(service))
        yield
        sweeper.cancel()
        service.sessions.close_all()

    async def page(request):
        return with_owner(request, FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-store"}))

    async def open_session(request):
        owner = owner_of(request)
        if not owner:
            return refusal(403, "This page needs its cookie, which says whose files are whose. Please allow it.")
        try:
            session = service.sessions.open(owner, request.client.host if request.client else "")
        except BusyError as error:
            return refusal(503, str(error))
        return JSONResponse({"id": session.id, "settings": settings(service)})

    routes = [
        Route("/", page),
        Route("/static/{name}", static),
        Route("/example/{name}", example),
        Route("/sessions", open_session, methods=["POST"]),
        Route("/sessions/{session}/events", of_session(events)),
        Route("/sessions/{session}/close", of_session(close), methods=["POST"]),
        Route("/sessions/{session}/uploads", of_session(upload), methods=["POST"]),
        Route("/sessions/{session}/samples/{name}", of_session(take_sample), methods=["POST"]),
        Route("/sessions/{session}/uploads/{id}", of_session(remove_upload), methods=["DELETE"]),
        Route("/sessions/{session}/estimate", of_session(estimate), methods=["POST"]),
        Route("/sessions/{session}/job", of_session(start), methods=["POST"]),
        Route("/sessions/{session}/job", of_session(cancel), methods=["DELETE"]),
        Route("/sessions/{session}/results/{id}", of_session(remove_result), methods=["DELETE"]),
        Route("/sessions/{session}/files/{token}/{name}", of_session(published)),
        Route("/sessions/{session}/results.zip", of_session(archive)),
    ]
    handlers = {404: not_found, 405: not_found, ClientDisconnect: gone_away}
    middleware = [Middleware(Guard, accounts=accounts)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)


def settings(service):
    """What the page has to know of this server."""
    limits = service.limits
    return {
        "models": service.models.described(),
        "limits": {name: getattr(limits, name) for name in ("bytes", "pixels", "frames", "seconds", "files")},
        "samples": [name for name, path in SAMPLES.items() if path.is_file()],
        "example": all(path.is_file() for path in EXAMPLE.values()),
    }


async def sweep(service):
    """Closes the pages that nobody has open any more."""
    while True:
        await asyncio.sleep(min(1, service.sessions.grace / 4))
        try:
            service.sessions.close_unheard()
        except OSError:  # a disk in trouble, which may get over it
            logging.getLogger(__name__).exception("Files of closed pages could not be removed.")


# The page


async def static(request):
    path = STATIC.get(request.path_params["name"])
    if path is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=TYPES.get(path.suffix), headers={"Cache-Control": "no-cache"})


async def example(request):
    path = EXAMPLE.get(request.path_params["name"])
    if path is None or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path)


async def not_found(request, error):
    return PlainTextResponse("There is nothing here.", 404)


async def gone_away(request, error):
    return Response(status_code=400)  # nobody is there to read it


def refusal(status, sentence, field=None):
    return JSONResponse({"error": sentence, "field": field}, status)


# What happens in a session


async def events(service, session, request):
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    last = request.headers.get("last-event-id", "0")
    told = int(last) if last.isdecimal() and len(last) < 10 else 0
    return StreamingResponse(stream(service, session, told), media_type="text/event-stream", headers=headers)


async def stream(service, session, told):
    """Yields the events after the first `told`, and what the job is doing, until the page or the session is closed."""
    session.listeners += 1
    state, spoken = None, 0.0
    try:
        yield "retry: 1000\n\n"
        while not (session.closed or service.sessions.ended):
            for number, event in enumerate(session.events[told:], told + 1):
                yield f"id: {number}\ndata: {json.dumps(event)}\n\n"
                told, spoken = number, time.monotonic()
            now = {"type": "state", "job": job_state(service, session)}
            if now != state:
                state, spoken = now, time.monotonic()
                yield f"data: {json.dumps(state)}\n\n"
            elif time.monotonic() - spoken > HEARTBEAT:
                spoken = time.monotonic()
                yield ": all is well\n\n"
            await asyncio.sleep(REFRESH)
        yield f"data: {json.dumps({'type': 'closed'})}\n\n"
    finally:
        session.listeners -= 1
        session.unheard_since = time.monotonic()


def job_state(service, session):
    """What the job is doing, and how long that will still take; None without a job."""
    job = session.job
    if job is None:
        return None
    ahead = service.device.ahead_of(job)
    left = job.seconds_left()
    waiting = sum(other.seconds_left() or 0 for other in ahead or [])
    if left is not None:
        left += waiting + session.later
    share = None if left is None or ahead is not None else job.share(left)
    name, number, count = session.place
    return {
        "step": job.step,
        "done": job.done,
        "total": job.total,
        "ahead": None if ahead is None else len(ahead),
        "wait": round(waiting),
        "left": None if left is None else round(left),
        "share": share,
        "name": name,
        "number": number,
        "count": count,
    }


async def close(service, session, request):
    service.sessions.close(session)
    return Response(status_code=204)


# Uploads


async def upload(service, session, request):
    """Takes a file; what is cut off or refused leaves nothing."""
    limits, name = service.limits, safe_name(unquote(request.headers.get("x-name", "")))
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < 16 else limits.bytes
    session.acted()
    try:
        limits.check_bytes(name, size)
    except ValueError as error:
        return refusal(413, str(error))
    service.arriving += size
    session.arriving += size
    try:
        if refused := await no_room(service, session):
            return refused
        folder = session.new_folder("uploads")
        try:
            path = folder / name
            await receive(session, request, path, most=size)
            facts = await asyncio.to_thread(limits.check, path)
            check_open(session)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            if session.closed:
                shutil.rmtree(session.folder, ignore_errors=True)
            raise
    except (ClientDisconnect, GoneError, asyncio.TimeoutError):
        return Response(status_code=400)  # nobody is there to read it
    except (ValueError, OSError, ImportError) as error:
        if is_disk_full(error):
            return refusal(507, DISK_FULL)
        return refusal(422, without_folder(str(error), session.folder))
    finally:
        service.arriving -= size
        session.arriving -= size
    return JSONResponse(taken(session, path, facts))


async def no_room(service, session):
    """An answer where the disk is full or the page had its share, else None."""
    limits, root = service.limits, service.sessions.root
    if shutil.disk_usage(root).free - service.arriving < KEPT_FREE:
        return refusal(507, DISK_FULL)
    if await asyncio.to_thread(folder_bytes, session.folder) + session.arriving > limits.page_bytes:
        return refusal(507, "This page's files take too much room. Please remove some results first.")
    if await asyncio.to_thread(folder_bytes, root) + service.arriving > limits.all_bytes:
        return refusal(507, "The server has no room for more files just now. Please try again in a few minutes.")
    return None


async def receive(session, request, path, *, most):
    """Writes the request's body to `path`.

    Raises:
        ClientDisconnect, asyncio.TimeoutError: it does not come to its end.
        GoneError: the session was closed meanwhile.
        ValueError: it is longer than it said.
    """
    size, chunks = 0, request.stream()
    with open(path, "wb") as file:
        while chunk := await asyncio.wait_for(next_chunk(chunks), STALLED):
            check_open(session)
            size += len(chunk)
            if size > most:
                raise ValueError(f"{path.name}: longer than announced. Expected {most:,} bytes.")
            await asyncio.to_thread(file.write, chunk)


async def next_chunk(chunks):
    """The next bytes of a body; empty at its end."""
    async for chunk in chunks:
        if chunk:
            return chunk
    return b""


def check_open(session):
    if session.closed:
        raise GoneError


def taken(session, path, facts):
    """Adds an upload to its session; returns what the page is told of it."""
    added = Upload(path.parent.name, path, facts)
    session.uploads[added.id] = added
    size = {"width": facts.width, "height": facts.height, "frames": facts.frames, "bytes": path.stat().st_size}
    return {"id": added.id, "name": path.name, "kind": facts.kind, **size}


async def take_sample(service, session, request):
    source = SAMPLES.get(request.path_params["name"])
    if source is None or not source.is_file():
        raise GoneError
    if refused := await no_room(service, session):
        return refused
    check_open(session)
    session.acted()
    path = session.new_folder("uploads") / source.name
    shutil.copyfile(source, path)
    answer = taken(session, path, service.limits.check(path))
    return JSONResponse({**answer, "url": session.publish(path)})


async def remove_upload(service, session, request):
    session.remove_upload(request.path_params["id"])
    return Response(status_code=204)


# Jobs


async def read_json(request):
    """The body as JSON.

    Raises:
        HTTPException: it is too large, or no JSON.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_JSON:
            raise HTTPException(413, "This request is too large.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "This request is not JSON.") from None


async def estimate(service, session, request):
    """What a wish will take: {seconds, wait, files: [{id, model, size}], note}; the wait is for those before it."""
    session.acted()
    try:
        wish = read_wish(await read_json(request), session, service)
        plans = [planned(wish, upload, service) for upload in wish.files]
    except FieldError as error:
        return refusal(422, str(error), error.field)
    files = [
        {"id": upload.id, "model": service.models.title(plan.model), "size": plan.size}
        for upload, plan in zip(wish.files, plans, strict=True)
    ]
    seconds = sum(plan.seconds for plan in plans)
    wait = sum(job.seconds_left() or 0 for job in service.device.all_jobs())
    return JSONResponse({"seconds": seconds, "wait": wait, "files": files, "note": originals_note(wish)})


async def start(service, session, request):
    session.acted()
    try:
        wish = read_wish(await read_json(request), session, service)
        for one in wish.files:
            planned(wish, one, service)
        job = session.start_job()
    except FieldError as error:
        return refusal(422, str(error), error.field)
    except BusyError as error:
        return refusal(409, str(error))
    try:
        folders = adopt_all(session, wish)
    except OSError as error:
        session.end_job()
        return refusal(507, DISK_FULL if is_disk_full(error) else "The files cannot be read. Please choose them again.")
    task = asyncio.create_task(run_job(service, session, job, wish=wish, folders=folders))
    service.tasks.add(task)  # asyncio itself keeps no hold of it
    task.add_done_callback(service.tasks.discard)
    return JSONResponse({"note": originals_note(wish)}, 202)


async def cancel(service, session, request):
    if session.job:
        session.job.cancel()
    return Response(status_code=204)


# Results


async def published(service, session, request):
    path = session.published(request.path_params["token"])
    kind = "attachment" if "download" in request.query_params else "inline"
    headers = {"Cache-Control": "private, max-age=3600"}
    return FileResponse(path, filename=path.name, content_disposition_type=kind, headers=headers)


async def remove_result(service, session, request):
    session.acted()
    session.remove_result(request.path_params["id"])
    return Response(status_code=204)


async def archive(service, session, request):
    """All results in one ZIP, which is there only while it is sent."""
    session.acted()
    told = [event for event in session.events if event["type"] == "result" and event["id"] in session.results]
    if not told:
        raise GoneError
    paths = [session.results[event["id"]] / event["file"]["name"] for event in told]
    folder = session.new_folder("archives")
    try:
        path = await asyncio.to_thread(make_zip, paths, folder / "SRWGAN.zip")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return PlainTextResponse(DISK_FULL if is_disk_full(error) else "A result is gone.", 507)
    remove = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, background=remove)
