"""A document that is a ZIP archive (Word, PowerPoint, Excel, OpenDocument, EPUB), opened within the limits.

Sizes are judged by the archive's directory before anything is unpacked; zipfile never unpacks more of a member than
is declared there, so that the sum holds for what is read later, too. It knows nothing of the formats.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from ingest.parse.limits import Limits

FREE_MB = 50
"""An archive that unpacks to less than this is no bomb, however well it was packed."""


def refuse_bomb(content: bytes, name: str, limits: Limits) -> None:
    """Raise if the archive holds too many members or too much content.

    Raises:
        FileRefused: `limit_max_members`, `limit_max_ratio`, or `limit_parse_memory_mb` for an archive that unpacks to
            more than the process that parses may take.
        zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = archive.infolist()
    limits.check(name, "max_members", len(members), "files inside it")
    unpacked = sum(member.file_size for member in members)
    # Several members may share their packed bytes, so the whole counts, not each.
    if unpacked > FREE_MB * 2**20:
        limits.check(name, "max_ratio", unpacked / max(len(content), 1), "times its size once it is unpacked")
        limits.check(name, "parse_memory_mb", unpacked / 2**20, "MiB once it is unpacked")


@contextmanager
def opened(content: bytes, name: str, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """The archive, after `refuse_bomb`."""
    refuse_bomb(content, name, limits)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        yield archive


def xml_root(markup: bytes) -> Any:
    """The root of an XML member as lxml sees it: no entity is expanded, nothing is fetched, depth is bounded.

    Raises:
        lxml.etree.XMLSyntaxError: it is not well-formed.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    return etree.fromstring(markup, parser)
