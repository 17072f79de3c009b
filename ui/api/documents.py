"""Routes of documents: upload, list, text, history, diff, restore, delete, changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from pydantic import BaseModel
from starlette.formparsers import MultiPartParser

from ingest.incoming import Incoming
from ingest.names import plain_path, safe_name
from ingest.tags import normalised
from kernel.errors import FileRefused, UserError
from kernel.ids import parse_time
from ui.api.access import Epoch, Narrow, Node, Number, Offset

router = APIRouter(prefix="/v1", tags=["documents"])
MultiPartParser.spool_max_size = 2**16
"""How much of each file of an upload is in memory while it arrives; a request has a thousand files at most."""


class Restore(BaseModel):
    version: Number


class Listing(Narrow):
    workspace: str | None = None


class TagChange(BaseModel):
    add: list[str] = []
    remove: list[str] = []


@router.post("/documents", status_code=202)
def upload(
    node: Node,
    files: Annotated[list[UploadFile], File(description="one or more files")],
    workspace: Annotated[str | None, Form()] = None,
    as_name: Annotated[str | None, Form(alias="as", description="the document's name, for a single file")] = None,
    at: Annotated[str | None, Form(description="ISO 8601 time from which the version counts")] = None,
    source: Annotated[list[str] | None, Form(description="where each file came from; default `upload`")] = None,
    name: Annotated[list[str] | None, Form(description="each document's name; default: its file's name")] = None,
    root: Annotated[list[str] | None, Form(description="the folder of the node in which each file was found")] = None,
    together: Annotated[bool, Form(description="all files become visible in one epoch")] = False,
    tag: Annotated[list[str] | None, Form(description="a tag for each document; repeat it for more")] = None,
) -> dict[str, Any]:
    """Accept files. The answer is a job; its `result` is the JSON of `reprise ingest`."""
    limit = node.settings.max_upload_mb
    if as_name is not None and len(files) != 1:
        raise UserError("`as` names one document", hint="send one file with `as`")
    valid_from = parse_time(at) if at else None
    tags = normalised(tag or ())
    names = []
    for i, file in enumerate(files):
        told = name[i] if name and i < len(name) else file.filename or ""
        known = safe_name(as_name if as_name is not None else told)
        if file.size is not None and file.size > limit * 2**20:
            raise FileRefused(
                f"{known!r} is larger than {limit} MiB",
                hint="split it, or raise REPRISE_MAX_UPLOAD_MB",
                code="too_large",
            )
        names.append(known)

    def read() -> Iterator[Incoming]:  # one at a time: they may be many, and large
        for i, (file, known) in enumerate(zip(files, names, strict=True)):
            yield Incoming(
                path=plain_path(file.filename or "") or known,
                name=known,
                source=source[i] if source and i < len(source) else "upload",
                workspace=workspace or node.settings.workspace,
                content=file.file.read(),
                at=valid_from,
                explicit=as_name is not None,
                root=(root[i] or None) if root and i < len(root) else None,
                tags=tags,
            )
            file.file.close()

    return node.enqueue_ingest(read(), together=together)


@router.get("/documents")
def documents(node: Node, asked: Annotated[Listing, Query()]) -> list[dict[str, Any]]:
    """Live documents; with filters those whose version that counts now fits them."""
    return node.documents(asked.workspace, filters=asked.model_dump(exclude={"workspace"}))


@router.post("/documents/{doc:path}/tags")
def tag(node: Node, doc: str, body: TagChange) -> dict[str, Any]:
    """Give a document tags and take others away; what it has then."""
    return node.tag(doc, body.add, body.remove)


@router.get("/documents/{doc:path}/history")
def history(node: Node, doc: str) -> list[dict[str, Any]]:
    """Published versions, newest first."""
    return node.history(doc)


@router.get("/documents/{doc:path}/text")
def text(node: Node, doc: str, version: Number | None = None) -> dict[str, Any]:
    """The text that offsets refer to."""
    return node.text(doc, version)


@router.get("/documents/{doc:path}/section")
def section(node: Node, doc: str, start: Offset, version: Number | None = None) -> dict[str, Any]:
    """The whole section around a hit or a citation that starts at character `start`."""
    return node.section(doc, start, version)


@router.get("/documents/{doc:path}/original")
def original(node: Node, doc: str, version: Number | None = None) -> Response:
    """The bytes as they came in, always as a download: a browser must not run what a document holds."""
    name, _media_type, content = node.original(doc, version)
    from urllib.parse import quote

    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/documents/{doc:path}/diff")
def diff(node: Node, doc: str, a: Number, b: Number) -> dict[str, Any]:
    """What changed between versions a and b, by passage."""
    return node.diff(doc, a, b)


@router.post("/documents/{doc:path}/restore")
def restore(node: Node, doc: str, body: Restore) -> dict[str, Any]:
    """Publish an older version's bytes again, as a new version."""
    return node.restore(doc, body.version)


@router.delete("/documents/{doc:path}")
def delete(node: Node, doc: str) -> dict[str, Any]:
    """Delete with a receipt."""
    return node.delete(doc)


@router.get("/changes")
def changes(
    node: Node, since: Epoch = 0, after: Epoch | None = None, limit: Number | None = None
) -> list[dict[str, Any]]:
    """What happened after an epoch or, as `after`, after a row's `seq`: to read on, give the last `seq` you saw."""
    return node.changes(since, after=after, limit=limit)
