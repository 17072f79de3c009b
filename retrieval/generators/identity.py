"""What a language model is, as hashes: its weights, its tokenizer and its chat template.

An adapter belongs to one of each. With another base it is noise; with another tokenizer or template it answers prompts
that it has never seen. It loads no model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kernel.errors import NotFound
from retrieval.encoder import sha256_of

_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json")
_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """SHA-256 each; None where the model has none, or has no files here."""

    weights: str | None
    tokenizer: str | None
    template: str | None

    @property
    def fingerprint(self) -> str:
        """The three as one short word."""
        return hashlib.sha256(repr((self.weights, self.tokenizer, self.template)).encode()).hexdigest()[:16]


def folder_of(source: str) -> Path:
    """The folder of a model that is named by it, or by its name on a hub; only what is here already is looked at.

    Raises:
        NotFound: there is no such folder, and the cache has no such name.
    """
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, local_files_only=True))
    except Exception as error:
        raise NotFound(
            f"there is no model {source!r} on this machine", hint="give a folder, or ask it once so that it is fetched"
        ) from error


def identity_of(source: str) -> Identity:
    """The identity of a model's files. Read once in the life of a process, unless they change.

    Raises:
        NotFound: the model is not on this machine.
    """
    folder = folder_of(source)
    state = tuple((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.iterdir()) if f.is_file())
    return _read(folder, state)


@lru_cache(maxsize=8)
def _read(folder: Path, _state: tuple[tuple[str, int, int], ...]) -> Identity:
    return Identity(
        weights=_of(sorted(folder.glob("*.safetensors"))),
        tokenizer=_of([folder / name for name in _TOKENIZER if (folder / name).is_file()]),
        template=_template(folder),
    )


def _of(files: list[Path]) -> str | None:
    return sha256_of(files) if files else None


def _template(folder: Path) -> str | None:
    file, about = folder / _TEMPLATE, folder / "tokenizer_config.json"
    text = file.read_text(encoding="utf-8") if file.is_file() else None
    if text is None and about.is_file():
        said = json.loads(about.read_text(encoding="utf-8")).get("chat_template")
        text = said if isinstance(said, str) or said is None else json.dumps(said, sort_keys=True)
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
