"""Routes of resumable uploads: tus 1.0 (https://tus.io/protocols/resumable-upload), and where one stands as JSON.

Core, creation, creation-with-upload, expiration, checksum and termination. A request that breaks off keeps what had
come; one with a checksum counts whole or not at all. The last byte makes a job, named in `Upload-Job`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable
from email.utils import formatdate
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from ingest.names import plain_path, safe_name
from ingest.tags import normalised
from ingest.uploads import Held, Uploads, Writer
from kernel.errors import Conflict, RepriseError, UserError
from kernel.ids import parse_time
from ui.api.access import Node

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
_HASHES = {"sha256": hashlib.sha256, "sha1": hashlib.sha1}
_OFFSET_TYPE = "application/offset+octet-stream"
_PATIENCE_SECONDS = 60.0
"""How long a request may send nothing before it is taken for dead, so that another can go on."""
_PIECE_BYTES = 2**20
_STATUS = {"too_large": 413, "too_long": 413, "upload_locked": 423, "checksum_mismatch": 460, "tus_version": 412}
"""Where the protocol names another status than our error has."""


class _Tus(APIRoute):
    """A route whose every answer, an error too, says which protocol it speaks."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def handle_tus(request: Request) -> Response:
            try:
                response: Response = await handle(request)
            except RepriseError as error:
                status = _STATUS.get(error.code, error.status)
                response = JSONResponse({"error": error.as_json()}, status_code=status)
            response.headers["Tus-Resumable"] = VERSION
            if response.status_code == 412:
                response.headers["Tus-Version"] = VERSION
            return response

        return handle_tus


router = APIRouter(prefix="/v1", tags=["uploads"], route_class=_Tus)
Resumable = Annotated[str | None, Header(alias="Tus-Resumable", description=f"the protocol's version: {VERSION}")]
Length = Annotated[int | None, Header(alias="Upload-Length", ge=0, lt=2**53, description="bytes of the whole file")]
Offset = Annotated[int | None, Header(alias="Upload-Offset", ge=0, lt=2**53, description="where the body begins")]
Metadata = Annotated[
    str,
    Header(
        alias="Upload-Metadata",
        description="`filename` and any of `workspace`, `as`, `at`, `source`, `tags`: KEY BASE64,KEY BASE64,…",
    ),
]


@router.options("/uploads", status_code=204)
def abilities(node: Node) -> Response:
    """What this server can do."""
    headers = {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(node.settings.max_upload_mb * 2**20),
        "Tus-Checksum-Algorithm": ",".join(_HASHES),
    }
    return Response(status_code=204, headers=headers)


@router.post("/uploads", status_code=201)
async def create_upload(
    node: Node, request: Request, resumable: Resumable = None, length: Length = None, metadata: Metadata = ""
) -> Response:
    """Begin an upload; `Location` is where its bytes go. A body is its first bytes."""
    _check(resumable)
    if length is None:
        raise UserError("`Upload-Length` is missing", hint="say how many bytes the whole file has", code="no_length")
    ticket = _ticket(metadata, node.settings.workspace)
    held = await run_in_threadpool(node.w.uploads.create, length, **ticket)
    if request.headers.get("content-type") == _OFFSET_TYPE:
        held = await _append(node.w.uploads, request, held, 0)
    return _answer(held, 201, {"Location": f"/v1/uploads/{held.id}"})


@router.head("/uploads/{upload}")
def upload_offset(node: Node, upload: str, resumable: Resumable = None) -> Response:
    """How many bytes are safe: where to go on."""
    _check(resumable)
    held = node.w.uploads.finish(upload)  # unless a crash came just before that
    return _answer(held, 200, {"Upload-Length": str(held.size), "Cache-Control": "no-store"})


@router.get("/uploads/{upload}")
def upload(node: Node, upload: str) -> dict[str, Any]:
    """Where an upload stands, and the job it became."""
    return node.w.uploads.find(upload).as_json()


@router.patch("/uploads/{upload}", status_code=204)
async def append_upload(
    node: Node, request: Request, upload: str, resumable: Resumable = None, offset: Offset = None
) -> Response:
    """Send the bytes from `Upload-Offset` on, all that are left or some of them."""
    _check(resumable)
    if request.headers.get("content-type") != _OFFSET_TYPE:
        raise _with_status(415, UserError("the body's type is not right", hint=f"send it as {_OFFSET_TYPE}"))
    if offset is None:
        raise UserError("`Upload-Offset` is missing", hint="say where the body begins", code="no_offset")
    held = await run_in_threadpool(node.w.uploads.find, upload)
    if held.job is None:
        held = await _append(node.w.uploads, request, held, offset)
    elif held.offset != offset:
        raise Conflict(f"upload {upload!r} is complete", hint="nothing is left to send", code="offset_mismatch")
    return _answer(held, 204)


@router.delete("/uploads/{upload}", status_code=204)
def remove_upload(node: Node, upload: str, resumable: Resumable = None) -> Response:
    """Call an upload off; its bytes go at once. A job that it became goes on."""
    _check(resumable)
    node.w.uploads.remove(upload)
    return Response(status_code=204)


@router.post("/uploads/{upload}", status_code=204, include_in_schema=False)
async def overridden(
    node: Node,
    request: Request,
    upload: str,
    method: Annotated[str, Header(alias="X-HTTP-Method-Override")],
    resumable: Resumable = None,
    offset: Offset = None,
) -> Response:
    """For clients that can only POST."""
    if method == "PATCH":
        return await append_upload(node, request, upload, resumable, offset)
    if method == "DELETE":
        return await run_in_threadpool(remove_upload, node, upload, resumable)
    raise _with_status(405, UserError(f"{method!r} is no method of an upload", hint="PATCH or DELETE"))


async def _append(uploads: Uploads, request: Request, held: Held, offset: int) -> Held:
    told = _checksum(request.headers.get("upload-checksum"))
    writing = uploads.writing(held.id, offset)
    writer = await run_in_threadpool(writing.__enter__)
    try:
        try:
            hashed = await _receive(request, writer, told[0] if told else None)
            if told and hashed != told[1]:
                raise UserError(
                    f"the bytes do not match their {told[0]} checksum",
                    hint="they were damaged on the way and not taken: send them again",
                    code="checksum_mismatch",
                )
            await run_in_threadpool(writer.keep)
        except (ClientDisconnect, TimeoutError):
            if told is None:
                await run_in_threadpool(writer.keep)
            error = UserError("the request broke off", hint="ask for the offset and go on from there", code="broke_off")
            raise _with_status(408, error) from None
        except asyncio.CancelledError:
            if told is None:
                writer.keep()  # here and now: a request that is being cancelled cannot wait for a thread
            raise
    finally:
        writing.__exit__(None, None, None)
    return await run_in_threadpool(uploads.finish, held.id)


async def _receive(request: Request, writer: Writer, algorithm: str | None) -> bytes:
    """Write the body as it comes; its digest, if one is asked for."""
    hashed = _HASHES[algorithm]() if algorithm else None
    piece = bytearray()

    async def write() -> None:
        content = bytes(piece)
        piece.clear()
        if hashed is not None:
            hashed.update(content)
        await run_in_threadpool(writer.write, content, keep=hashed is None)

    stream = aiter(request.stream())
    try:
        while True:
            try:
                piece += await asyncio.wait_for(anext(stream), _PATIENCE_SECONDS)
            except StopAsyncIteration:
                break
            if len(piece) >= _PIECE_BYTES:
                await write()
    except (ClientDisconnect, TimeoutError):
        await write()
        raise
    await write()
    return hashed.digest() if hashed is not None else b""


def _check(resumable: str | None) -> None:
    if resumable != VERSION:
        raise UserError(
            f"`Tus-Resumable` is {resumable!r}", hint=f"this server speaks tus {VERSION}", code="tus_version"
        )


def _checksum(told: str | None) -> tuple[str, bytes] | None:
    if told is None:
        return None
    algorithm, _, encoded = told.strip().partition(" ")
    if algorithm not in _HASHES:
        raise UserError(f"no checksum {algorithm!r}", hint=f"there are: {', '.join(_HASHES)}", code="no_such_checksum")
    return algorithm, _decoded(encoded)


def _ticket(metadata: str, workspace: str) -> dict[str, Any]:
    """The fields of an `Incoming`, but for its bytes.

    Raises:
        UserError: what is told does not fit.
    """
    told: dict[str, str] = {}
    for pair in filter(None, (pair.strip() for pair in metadata.split(","))):
        key, _, encoded = pair.partition(" ")
        try:
            told[key] = _decoded(encoded).decode()
        except UnicodeDecodeError:
            raise UserError(f"`Upload-Metadata` {key!r} is not UTF-8", hint="encode UTF-8 text as Base64") from None
    name = told.get("as") or told.get("name") or told.get("filename") or ""
    return {
        "name": safe_name(name),
        "path": plain_path(told.get("filename", "")) or safe_name(name),
        "workspace": told.get("workspace") or workspace,
        "source": told.get("source") or "upload",
        "at": parse_time(told["at"]) if told.get("at") else None,
        "explicit": "as" in told,
        "root": told.get("root") or None,
        "tags": normalised(told["tags"].split(",")) if told.get("tags") else (),
    }


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise UserError(f"{encoded[:80]!r} is not Base64", hint="encode each value as Base64") from None


def _answer(held: Held, status: int, headers: dict[str, str] | None = None) -> Response:
    told = {"Upload-Offset": str(held.offset), "Upload-Expires": formatdate(held.expires / 1000, usegmt=True)}
    if held.job is not None:
        told["Upload-Job"] = held.job
    return Response(status_code=status, headers=told | (headers or {}))


def _with_status(status: int, error: RepriseError) -> RepriseError:
    error.status = status
    return error
