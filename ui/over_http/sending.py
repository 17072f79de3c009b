"""Sending a large file in pieces (tus 1.0): a connection that drops, or a node that starts again, costs one piece."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any

import httpx

from kernel.errors import Failed
from kernel.ids import iso
from ui.over_http.connection import Connection, as_error, body_of

LARGE_BYTES = 8 * 2**20
"""Larger files are sent in pieces, smaller ones several to a request."""
_PIECE_BYTES = 4 * 2**20
_PATIENCE_SECONDS = 60.0
"""How long no byte may get through before we give up."""
_AGAIN = (408, 409, 423, 460, 503)
"""Broke off, another offset, held by another request, damaged on the way, not now: ask where it stands, go on."""


class Sending(Connection):
    def _send_in_pieces(self, file: Any) -> str:
        """Upload one file; the job it became.

        Raises:
            Failed: the connection broke and did not come back (`node_unreachable`).
        """
        told = {"Upload-Length": str(len(file.content)), "Upload-Metadata": _metadata(file)}
        where = self._send("POST", "/v1/uploads", headers=_TUS | told).headers["location"]
        offset: int | None = 0
        moved, pause = time.monotonic(), 0.1
        while True:
            trouble: Exception | None = None
            try:
                response = self._next(where, file.content, offset)
            except httpx.TransportError as error:
                trouble, offset = error, None
            else:
                if response.is_success:
                    if "upload-job" in response.headers:
                        return response.headers["upload-job"]
                    now = int(response.headers["upload-offset"])
                    if offset is not None:
                        moved, pause = time.monotonic(), 0.1
                    offset = now if offset is None or now < len(file.content) else None
                    continue
                trouble, offset = as_error(response.status_code, body_of(response)), None
                if response.status_code not in _AGAIN:
                    raise trouble
            if time.monotonic() - moved > _PATIENCE_SECONDS:
                raise Failed(
                    f"the upload of {file.path!r} broke off: {trouble}",
                    hint="look whether the node runs, then do the same again",
                    code="node_unreachable",
                ) from trouble
            time.sleep(pause)
            pause = min(5.0, 2 * pause)

    def _next(self, where: str, content: bytes, offset: int | None) -> httpx.Response:
        """Send the piece at `offset`, or ask for the offset where it is not known."""
        if offset is None:
            return self._http.head(where, headers=_TUS)
        piece = content[offset : offset + _PIECE_BYTES]
        checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
        told = {"Upload-Offset": str(offset), "Upload-Checksum": f"sha256 {checksum}"}
        return self._http.patch(where, content=piece, headers=_TUS | told | _PIECE)


_TUS = {"Tus-Resumable": "1.0.0"}
_PIECE = {"Content-Type": "application/offset+octet-stream"}


def _metadata(file: Any) -> str:
    told = {"filename": file.path, "name": file.name, "workspace": file.workspace, "source": file.source}
    if file.explicit:
        told["as"] = file.name
    if file.root is not None:
        told["root"] = file.root
    if file.at is not None:
        told["at"] = iso(file.at) or ""
    if file.tags:
        told["tags"] = ",".join(file.tags)  # none has a comma
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
