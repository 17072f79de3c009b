"""What kind of document a ZIP archive is, by what it says of itself and by what lies in it."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

from ingest.parse.refusal import damaged, locked

if TYPE_CHECKING:
    from ingest.parse.detect import Kind

_MAIN_PARTS: tuple[tuple[bytes, Kind], ...] = (
    (rb"(?:wordprocessingml|ms-word)\.(?:document|template)(?:\.macroEnabled(?:Template)?)?\.main\+xml", "docx"),
    (
        rb"(?:presentationml|ms-powerpoint)\.(?:presentation|slideshow|template)(?:\.macroEnabled)?\.main\+xml",
        "pptx",
    ),
    (
        rb"(?:spreadsheetml|ms-excel)\.(?:sheet|template)(?:\.macroEnabled)?\.main\+xml|ms-excel\.sheet\.binary"
        rb"\.macroEnabled\.main",
        "xlsx",
    ),
)
_FOLDERS: tuple[tuple[str, Kind], ...] = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))
_MIMETYPES: tuple[tuple[bytes, Kind], ...] = (
    (b"application/epub+zip", "epub"),
    (b"application/vnd.oasis.opendocument.text", "odt"),
    (b"application/vnd.oasis.opendocument.spreadsheet", "ods"),
)
WORDS: dict[Kind, str] = {
    "docx": "Word document",
    "pptx": "PowerPoint presentation",
    "xlsx": "Excel workbook",
    "odt": "OpenDocument text",
    "ods": "OpenDocument spreadsheet",
    "epub": "EPUB book",
}


def kind_in_zip(content: bytes, name: str, suffix: str) -> Kind:
    """Which parser reads this archive.

    Raises:
        FileRefused: `unsupported_type` for an archive of files, `encrypted_<type>`, or `broken_<type>` for one that is
            damaged or lacks what its name promises.
    """
    from ingest.parse.detect import unread

    promised = next((kind for kind in WORDS if suffix == f".{kind}"), None)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            members = set(archive.namelist())
            types = _start(archive, "[Content_Types].xml", 1 << 20) if "[Content_Types].xml" in members else b""
            mimetype = _start(archive, "mimetype", 200).strip() if "mimetype" in members else b""
            manifest = _start(archive, "META-INF/manifest.xml", 1 << 18) if mimetype else b""
    except Exception as exc:  # zipfile raises many kinds on broken archives, among them NotImplementedError
        if promised:
            raise damaged(name, WORDS[promised], str(exc), f"broken_{promised}") from exc
        raise unread(name, "a ZIP archive (damaged)") from exc
    for mark, kind in _MIMETYPES:
        if mimetype.startswith(mark):
            if b"encryption-data" in manifest and kind != "epub":
                raise locked(name, f"an {WORDS[kind]}", f"encrypted_{kind}")
            return kind
    for pattern, kind in _MAIN_PARTS:
        if re.search(pattern, types):
            return kind
    for folder, kind in _FOLDERS:
        if any(member.startswith(folder) for member in members):
            return kind
    if "META-INF/container.xml" in members and suffix == ".epub":
        return "epub"
    if mimetype.startswith(b"application/") or (mimetype and not promised):
        raise unread(name, f"a file of type {mimetype.decode('ascii', 'replace')}")
    if promised:
        raise damaged(name, WORDS[promised], "it has no document part", f"broken_{promised}")
    raise unread(name, "a ZIP archive")


def _start(archive: zipfile.ZipFile, member: str, size: int) -> bytes:
    try:
        with archive.open(member) as file:
            return file.read(size)
    except KeyError:
        return b""
