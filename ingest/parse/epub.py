"""EPUB: the chapters in the order of the book's spine, each read as the HTML it is.

A chapter that has no heading of its own takes the one that the table of contents gives it. Books that are locked
(DRM) are refused.
"""

from __future__ import annotations

import posixpath
import zipfile
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from ingest.parse import html
from ingest.parse.compose import Composer
from ingest.parse.container import opened, xml_root
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, wordless
from ingest.parse.titles import MAX_HEADING_CHARS, one_line, plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Heading, Parsed

MEDIA_TYPE = "application/epub+zip"

_CHAPTERS = ("application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/x-dtbook+xml")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The book's text. The title is the metadata's, else the first heading of level 1, else the stem.

    Raises:
        FileRefused: `broken_epub`, `encrypted_epub`, a limit of what it unpacks to, or `no_text`.
    """
    composer = Composer(name, limits)
    try:
        with opened(content, name, limits) as archive:
            title = _Book(archive, name, limits).write(composer)
    except FileRefused:
        raise
    except Exception as exc:
        raise damaged(name, "EPUB book", f"{type(exc).__name__}: {exc}", "broken_epub") from exc
    if composer.is_empty:
        raise wordless(name, "If its pages are images, save them as images and give those.")
    return composer.finish(title=title or composer.first_title or stem(name), media_type=MEDIA_TYPE)


class _Book:
    def __init__(self, archive: zipfile.ZipFile, name: str, limits: Limits) -> None:
        self._archive, self._name, self._limits = archive, name, limits
        self._members = set(archive.namelist())
        rootfile = _first(self._xml("META-INF/container.xml"), "rootfile")
        package = (rootfile.get("full-path") if rootfile is not None else None) or ""
        self._folder = posixpath.dirname(package)
        self._package = self._xml(package)
        self._items = {item.get("id"): item for item in _every(self._package, "item")}

    def write(self, composer: Composer) -> str | None:
        """Write all chapters; the title that the book's metadata gives."""
        chapters = self._spine()
        self._refuse_locked(chapters)
        titles = self._contents()
        missing = 0
        for member in chapters:
            if member not in self._members:
                missing += 1
                continue
            chapter = self._chapter(member)
            if chapter is None:
                continue
            composer.part(chapter if chapter.headings or member not in titles else _headed(chapter, titles[member]))
        if missing:
            composer.note(f"{missing} chapter(s) that the book lists are not in the file.")
        title = _first(self._package, "title")
        return plausible_title(title.text) if title is not None else None

    def _chapter(self, member: str) -> Parsed | None:
        try:
            return html.read(self._archive.read(member), member, self._limits)
        except FileRefused as refused:
            if refused.code in ("no_text", "empty_file"):
                return None  # a cover, or a page of pictures
            raise

    def _spine(self) -> list[str]:
        members = []
        for reference in _every(self._package, "itemref"):
            item = self._items.get(reference.get("idref"))
            if item is None or (item.get("media-type") or _CHAPTERS[0]) not in _CHAPTERS:
                continue
            if "nav" not in (item.get("properties") or "").split():
                members.append(self._resolved(item.get("href") or ""))
        return members

    def _contents(self) -> dict[str, str]:
        """What the table of contents calls the files of the book, by EPUB 3's `nav` or EPUB 2's `ncx`."""
        titles: dict[str, str] = {}
        for item in self._items.values():
            properties, media_type = (item.get("properties") or "").split(), item.get("media-type") or ""
            member = self._resolved(item.get("href") or "")
            if ("nav" not in properties and "ncx" not in media_type) or member not in self._members:
                continue
            try:
                root = self._xml(member)
            except Exception:
                continue  # a damaged table of contents costs headings, never text
            folder = posixpath.dirname(member)
            for link in _every(root, "a"):
                titles.setdefault(_target(folder, link.get("href") or ""), one_line("".join(link.itertext())))
            for point in _every(root, "navPoint"):
                label, place = _first(point, "text"), _first(point, "content")
                if label is not None and place is not None:
                    titles.setdefault(_target(folder, place.get("src") or ""), one_line(label.text or ""))
        return {member: title for member, title in titles.items() if title}

    def _refuse_locked(self, chapters: list[str]) -> None:
        if "META-INF/encryption.xml" not in self._members:
            return
        locked = {
            unquote(place.get("URI") or "") for place in _every(self._xml("META-INF/encryption.xml"), "CipherReference")
        }
        if locked & set(chapters):  # fonts are often scrambled in books that can be read
            raise FileRefused(
                f"{self._name!r} is locked by its shop (DRM)",
                hint="Give a copy without copy protection, as PDF or EPUB.",
                code="encrypted_epub",
            )

    def _resolved(self, href: str) -> str:
        return _target(self._folder, href)

    def _xml(self, member: str) -> Any:
        return xml_root(self._archive.read(member))


def _headed(chapter: Parsed, title: str) -> Parsed:
    """The chapter under its title, which may be its first line already."""
    title = title[:MAX_HEADING_CHARS]
    if one_line(chapter.text.partition("\n")[0]).casefold() == title.casefold():
        return replace(chapter, headings=(Heading(start=0, level=1, title=title),))
    headed = Composer()
    headed.heading(1, title)
    headed.part(chapter)
    return headed.finish(title=title, media_type=chapter.media_type)


def _target(folder: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))


def _every(root: Any, tag: str) -> Any:
    return root.iter(f"{{*}}{tag}", tag) if root is not None else ()


def _first(root: Any, tag: str) -> Any:
    return next(iter(_every(root, tag)), None)
