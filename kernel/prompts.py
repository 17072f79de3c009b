"""What a model wants to read before a question, and before a document.

Many embedders were trained with an instruction before each text and are worse without it. A sentence-transformers model
may say so in its configuration; of well-known families that do not, the table below knows it from their model cards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Put before a text as it is; empty for nothing."""

    query: str = ""
    document: str = ""

    @property
    def fingerprint(self) -> str:
        """A part of the embedder's fingerprint; empty where there are none, as of every model before there were."""
        return f":{self.query!r}:{self.document!r}" if self.query or self.document else ""


NONE = Prompts()
_SEARCHING = "Represent this sentence for searching relevant passages: "
_FAMILIES = (
    (
        r"e5-.*-instruct",
        Prompts(query="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "),
    ),
    (r"(multilingual-)?e5-", Prompts(query="query: ", document="passage: ")),
    (r"bge-(small|base|large)-en", Prompts(query=_SEARCHING)),
    (r"mxbai-embed-", Prompts(query=_SEARCHING)),
    (r"snowflake-arctic-embed-(?!.*v2)", Prompts(query=_SEARCHING)),
    (r"nomic-embed-text", Prompts(query="search_query: ", document="search_document: ")),
    (
        r"gte-qwen",
        Prompts(query="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "),
    ),
)
"""By the beginning of a model's name. The other models of GTE, and BGE-M3, want none."""
_OF_QUERY, _OF_DOCUMENT = ("query",), ("document", "passage", "corpus")


def prompts_of(name: str, said: Mapping[str, str | None] | None, default: str | None) -> Prompts:
    """The prompts of a model.

    Args:
        name: its name or folder; the last part tells the family.
        said: `prompts` of its configuration.
        default: `default_prompt_name` of its configuration: what it reads before any text that has no other.
    """
    said = said or {}
    otherwise = (said.get(default) or "") if default else ""
    query = next((said[key] for key in _OF_QUERY if said.get(key)), None) or otherwise
    # A default that names the question's prompt is not meant for documents.
    of_all = "" if default in _OF_QUERY else otherwise
    document = next((said[key] for key in _OF_DOCUMENT if said.get(key)), None) or of_all
    if query or document:
        return Prompts(query=query, document=document)
    last = name.rstrip("/").rsplit("/", 1)[-1].lower()
    return next((prompts for family, prompts in _FAMILIES if re.match(family, last)), NONE)
