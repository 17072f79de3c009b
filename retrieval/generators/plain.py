"""Text that calls nobody: no image, no link, no HTML, whatever a model or a document put into it.

It knows nothing of sentences, and of marks only that `[1](…)` may be one whose link has to go.
"""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """The text without images, links and HTML; the words of links and the descriptions of images stay.

    What is shown must not make a reader's browser call anyone: an image's address can carry away the conversation.
    What cannot be taken out cleanly is broken so that no renderer sees it. Code is not exempt, as a renderer may
    see other code spans than we do; there, tags keep their words behind ‹ and ›.
    """
    for _ in range(8):  # what is taken out may join what stood around it
        before = text
        text = _HIDDEN.sub(" ", text)
        text = _CODE_TAG.sub(r"\1‹\2›\3", text)
        text = _TAG.sub("", text)
        text = _AUTOLINK.sub(r"\1", text)
        text = _IMAGE.sub(lambda m: m.group(1), text)
        text = _LINK.sub(lambda m: f"[{m.group(1)}]" if m.group(1).strip().isdigit() else m.group(1), text)
        text = _REFERENCE.sub(r"\1", text)
        text = _DEFINITION.sub("", text)
        if text == before:
            break
    return _OPEN_TAG.sub("‹", text.replace("![", "! [").replace("](", "] (").replace("][", "] ["))


def unlinked(text: str) -> str:
    """The text with addresses as code, so that a renderer that makes links of them makes none.

    A backtick without a partner goes: it would pair with one of ours, and lay the address open again. So would those
    of other code right beside it, or a stroke that takes its meaning from it: they are kept apart by a space.
    """
    shown, at = [""], 0
    for found in _ADDRESS.finditer(text):
        shown += [text[at : found.start()]] if at < found.start() else []
        at = found.end()
        code = found.group(1) or (f"`{found.group(3)}`" if found.group(3) else "")
        if code:
            shown.append(f" {code}" if shown[-1].endswith(("`", "\\")) else code)
    return "".join([*shown, text[at:]])


_ADDRESS = re.compile(
    r"((`+)(?!`).+?(?<!`)\2(?!`))|((?:(?:https?|ftp)://|www\.)[^\s`<>]*[^\s`<>.,;:!?)\]'\"])|`", re.I | re.S
)
_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style|iframe|object|svg|template)\b.*?(?:</\1\s*>|\Z)", re.S | re.I)
_NAMES = (
    "a|abbr|audio|b|base|blockquote|body|br|button|canvas|center|code|dd|del|details|dialog|div|dl|dt|em|embed|font|"
    "footer|form|frame|frameset|h[1-6]|head|header|hr|html|i|iframe|img|image|input|ins|kbd|label|li|link|main|map|"
    "mark|marquee|math|meta|nav|object|ol|option|p|param|picture|pre|s|samp|script|section|select|small|source|span|"
    "strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|title|tr|track|tt|u|ul|"
    "video|wbr"
)
# A known tag, or any tag with an attribute; `List<String>` and `<name>` stay.
_TAG_BODY = rf"/?(?:(?:{_NAMES})\b[^<>]*|[a-z][\w:-]*\s[^<>]*=[^<>]*)"
_TAG = re.compile(rf"<{_TAG_BODY}>", re.I)
_CODE_TAG = re.compile(rf"(`[^`\n<]*)<({_TAG_BODY})>([^`\n]*`)", re.I)
_OPEN_TAG = re.compile(rf"<(?=/?(?:{_NAMES})\b|[a-z][\w:-]*\s[^<>]*=|!|\?)", re.I)
_AUTOLINK = re.compile(r"<((?:[a-z][a-z0-9+.-]{1,31}:|[\w.+-]+@)[^\s<>]*)>", re.I)
_TARGET = r"\(\s*(?:<[^<>\n]*>|(?:[^\s()<>]|\([^\s()]*\))*)(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\)"
_IMAGE = re.compile(rf"!\[([^\[\]]*)\](?:{_TARGET}|\[[^\[\]]*\])")
_LINK = re.compile(rf"\[([^\[\]]*)\]{_TARGET}")
_REFERENCE = re.compile(r"\[((?!\s*[\d^])[^\[\]]+)\]\[[^\[\]]*\]")
_DEFINITION = re.compile(r"^[ ]{0,3}\[[^\[\]]+\]:\s*(?:<[^<>]*>|\S*[:/]\S*).*$", re.M)
