"""Where an answer that is still being written may be cut, so that what stands before a cut can no longer change.

Two rooms in a row: `Visible` takes out what a model thinks aloud and ends where it begins to write our side of the
page; `Cutter` cuts what is left into segments, each a sentence or more with the marks behind it. Both give the same
whatever pieces the text arrives in, because a place is decided from a bounded stretch of text behind it, and only
once that stretch is there. That is why the sentences of a whole answer are not simply split: a splitter that may
look at the end of the text (a table row is one only if a second bar follows) takes back what was shown already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from retrieval.sentences import units

NUMBERS = r"\d{1,9}(?:\s*(?:,|;|-|–|and|&)\s*\^?\d{1,9})*"
MARK = re.compile(rf"\s*(?:\[\s*(?:passages?|sources?|documents?|\^)?\s*({NUMBERS})\s*\]|【({NUMBERS})[^】]*】)", re.I)
"""A mark as models write them, with the blanks before it. One of the two groups holds its numbers."""

WINDOW = 160
"""Characters behind a place that may be looked at to decide it; a longer mark is none."""

LONGEST = 2_000
"""Characters after which a segment is cut at the next full stop, whatever seems to be open in it."""

_THINKS = re.compile(r"<(/?)think(?:ing)?>", re.I)
_TAGS = ("<think>", "<thinking>", "</think>", "</thinking>")

_STOP = re.compile(r"[.!?…]+[\"'”’»)*_`]*|[。！？]+[」』”）]*|\n")
_BREAK = re.compile(r"[ \t]*\n[ \t]*(?:\n|[-*+•‣◦▪–][ \t]|\(?(?:\d{1,3}|[a-zA-Z])[.)][ \t]|#{1,6}[ \t]|\||```|~~~)")
_BREAK_LENGTH = 8
_NEXT = re.compile(r"\s+[^\w\s]{0,8}\s?[^\w\s]{0,4}\w+(?=\W)")
_WIDE = "。！？"
_WHOLE_LINE = re.compile(r"[ \t]*(?:#{1,6}[ \t]|\|)")
_BEFORE = 80

_HIDDEN = re.compile(
    r"<!--.*?(-->|\Z)|<(script|style|iframe|object|svg|template)\b.*?(</\2\s*>|\Z)", re.S | re.I
)  # the groups are empty where it is not closed
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})", re.M)
_OPEN_LABEL = re.compile(r"(?:\[[^\[\]]{0,200}|\]\([^()\n]{0,300})$")


class Visible:
    """What of a model's text is meant for the reader. `over` once a stop was found: nothing more comes."""

    def __init__(self, stops: Sequence[str], *, thinking: bool = False) -> None:
        self._stops, self._thinking = tuple(stops), thinking
        self._find = re.compile("|".join([_THINKS.pattern, *(f"(?-i:{re.escape(s)})" for s in self._stops)]), re.I)
        self._held, self.over = "", False

    def feed(self, piece: str) -> str:
        """The readable part of what is certain now; a tag or a stop may still be unfinished behind it."""
        shown, self._held = "", self._held + piece
        while not self.over:
            found = (_THINKS if self._thinking else self._find).search(self._held)
            if found is None:
                keep = self._unfinished()
                shown += "" if self._thinking else self._held[: len(self._held) - keep]
                self._held = self._held[len(self._held) - keep :]
                return shown
            shown += "" if self._thinking else self._held[: found.start()] + " "
            if found.group(1) is None:
                self.over, self._held = True, ""
            else:
                self._held = self._held[found.end() :]
                self._thinking = found.group(1) == ""
        return shown

    def finish(self) -> str:
        """The rest, when no more text comes."""
        rest, self._held = "" if self._thinking or self.over else self._held, ""
        self.over = True
        return rest

    def _unfinished(self) -> int:
        """Length of the longest end of what is held that a tag or a stop begins with."""
        ends = [self._held[-n:] for n in range(min(len(self._held), max(map(len, (*_TAGS, *self._stops)))), 0, -1)]
        return next((len(e) for e in ends if any(self._begins(e, whole) for whole in (*_TAGS, *self._stops))), 0)

    @staticmethod
    def _begins(end: str, whole: str) -> bool:
        return whole.startswith(end.lower() if whole in _TAGS else end)


class Cutter:
    """Cuts a growing text into segments behind full stops and at the ends of items, rows and paragraphs."""

    def __init__(self) -> None:
        self._text, self._scan = "", 0

    def feed(self, text: str, *, over: bool = False) -> Iterator[str]:
        """The segments that are complete now; with `over` all of them, as no more text comes."""
        self._text += text
        while True:
            stop = _STOP.search(self._text, self._scan)
            if stop is None:
                self._scan = len(self._text)
                break
            if stop.end() == len(self._text) and not over:
                self._scan = stop.start()
                break  # it may go on: "." may become "...", or a quotation mark may follow
            at = self._place(stop, over)
            if at is None:
                self._scan = stop.start()
                break
            if at == 0:
                self._scan = stop.end()
                continue
            yield self._text[:at]
            self._text, self._scan = self._text[at:], 0
        if over and self._text:
            yield self._text
            self._text, self._scan = "", 0

    def _place(self, stop: re.Match[str], over: bool) -> int | None:
        """Where to cut behind `stop`; 0 if not here; None if that cannot be said yet."""
        text, line = self._text, stop.group() == "\n"
        at = _behind_marks(text, stop.start() if line else stop.end(), over)
        if at is None:
            return None
        rest = text[at : at + WINDOW]
        whole = over or len(rest) == WINDOW
        if line:
            broken = _BREAK.match(rest)
            if not broken and not whole and len(rest.lstrip()) < _BREAK_LENGTH:
                return None
            ends = broken is not None
        elif stop.group()[0] in _WIDE:
            if not rest.strip() and not whole:
                return None
            ends = True
        else:
            following = _NEXT.match(rest)
            if not following and not whole and not rest[:1].strip():
                return None
            ahead = rest[: following.end() + 1] if following else rest
            ends = rest[:1].isspace() and (at > LONGEST or _apart(text[: stop.end()], ahead))
        return at if ends and (at > LONGEST or not _open(text[:at])) else 0


def _behind_marks(text: str, at: int, over: bool) -> int | None:
    """The place behind all marks that follow `at`; None while another may be coming."""
    while True:
        rest = text[at : at + WINDOW]
        mark = MARK.match(rest)
        if mark and mark.group().count("\n") < 2:  # behind a blank line stands a list of sources rather
            at += mark.end()
            continue
        begun = rest.lstrip()
        closed = begun[:1] not in ("[", "【") or ("]" if begun[0] == "[" else "】") in begun
        if not over and len(rest) < WINDOW and (not begun or not closed):
            return None
        return at


def _apart(body: str, ahead: str) -> bool:
    """Whether a sentence ends between the two, by the rules for sentences of documents (abbreviations, numbers)."""
    line = body.rfind("\n") + 1
    if _WHOLE_LINE.match(body, line):
        return False
    body = MARK.sub("", body[max(line, len(body) - _BEFORE) :]).rstrip()
    found = units(body + ahead)
    return any(u.start >= len(body) for u in found) and not any(u.start < len(body) < u.end for u in found)


def _open(text: str) -> bool:
    """Whether something has begun that should not be cut: what is hidden, code, the words of a link or its target."""
    if any(not (m.group(1) or m.group(3)) for m in _HIDDEN.finditer(text)):
        return True
    if len(_FENCE.findall(text)) % 2 or text[text.rfind("\n") + 1 :].count("`") % 2:
        return True
    return _OPEN_LABEL.search(text[-320:]) is not None
