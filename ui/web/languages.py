"""Names of languages by their ISO 639 code. A language that is not here is called by its code."""

from __future__ import annotations

from collections.abc import Iterable

NAMES = {
    "en": "English", "de": "German", "es": "Spanish", "fr": "French", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "pl": "Polish", "sv": "Swedish", "cs": "Czech", "tr": "Turkish", "ru": "Russian", "uk": "Ukrainian",
    "ar": "Arabic", "hi": "Hindi", "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "und": "a language not told",
}  # fmt: skip


def called(code: str) -> str:
    """What a language is called."""
    return NAMES.get(code, code)


def either(codes: Iterable[str]) -> str:
    """Languages to choose from, for a sentence: `German or English`."""
    return " or ".join(called(code) for code in codes)
