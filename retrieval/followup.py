"""Follow-ups: a question that leans on the conversation before it, written so that it stands alone.

By the generator where it can write, its words checked; else by rules that need no model. The rules would rather leave
a follow-up as it is than change a question that stands alone: each needs a sign in the words themselves. What they
write is for search first and for people second: the question, and what it is about in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kernel.errors import RepriseError
from kernel.types import Exchange
from retrieval.anaphora import RELATIONAL, Language, language_of, person_pronoun, points_outside
from retrieval.words import numbers, stem, stems, tokens

Rewrite = Callable[[str, Sequence[Exchange]], str | None]
KEPT = 0.75
"""Share of the question's content words that a generator's rewrite must keep."""
KNOWN = 0.7
"""Share of a rewrite's content words that must stand in the question or the conversation."""
_TOPIC_WORDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Followup:
    """A question as it stands alone, and who wrote it so."""

    question: str
    changed: bool = False
    by: Literal["rules", "generator"] | None = None


def standalone(question: str, history: Sequence[Exchange], rewrite: Rewrite | None = None) -> Followup:
    """`question` so that it can be searched for without `history` (oldest first, its questions standing alone).

    `rewrite` is asked only where the question could lean on something: it is short, or points outside of itself. What
    it writes must keep the question's numbers and most of its words, bring hardly any that nobody said, and not be
    long; else, and where it fails, the rules decide.
    """
    question = " ".join(question.split())
    if not history or not question:
        return Followup(question=question)
    language = language_of(question, language_of(history[-1].question))
    by_rules = _by_rules(question, history[-1], language)
    if rewrite is not None and (by_rules or points_outside(question, language) or len(_content(question)) < 5):
        written = _asked(rewrite, question, history)
        if written is not None:
            changed = _bare(written) != _bare(question)
            return Followup(
                question=written if changed else question, changed=changed, by="generator" if changed else None
            )
    if by_rules is None or _bare(by_rules) == _bare(question):
        return Followup(question=question)
    return Followup(question=by_rules, changed=True, by="rules")


# --- by the generator -------------------------------------------------------------------------------


def _asked(rewrite: Rewrite, question: str, history: Sequence[Exchange]) -> str | None:
    """What the generator writes, if that is the question and nothing else."""
    try:
        written = rewrite(question, history)
    except RepriseError:  # its server does not answer: the rules still do
        return None
    if not written or not written.strip():
        return None
    line = written.strip().splitlines()[0]
    line = (
        re.sub(r"^[\w -]{0,24}(?:question|frage|pregunta)\s*:\s*", "", line, flags=re.I)
        .strip()
        .strip("\"'`“”„«»")
        .strip()
    )
    said = " ".join(f"{e.question} {e.answer}" for e in history)
    if not line or len(line) > 2 * len(question) + 160 or re.search(r"https?://|\[\d+\]|[<>{}]", line):
        return None
    wanted, got = set(_content(question)), set(stems(line))
    if wanted and len(wanted & got) < KEPT * len(wanted):
        return None
    if numbers(question) - numbers(line) or numbers(line) - numbers(f"{question} {said}"):
        return None
    known = set(stems(said)) | set(stems(question))
    if got and len(got & known) < KNOWN * len(got):
        return None
    return line


# --- by rules ---------------------------------------------------------------------------------------

_LEAD = re.compile(r"^(?:(?:and|but|so|or|then(?=,?\s+\w)|ok|okay|also|und|aber|oder|y|pero|o)\b[\s,]*)+", re.I)
_ABOUT = re.compile(
    r"^(?:what about|how about|what of|same for|the same for|and what about|what if it'?s|(?:no,? )?i mean[t]?|"
    r"was ist mit|wie (?:ist|sieht) es (?:mit|bei)|wie wäre es mit|(?:nein,? )?ich meine?(?:te)?|"
    r"qué pasa con|qué hay de|y qué hay de|qué tal|(?:no,? )?me refiero a)\s+(.+)$",
    re.I,
)
_PREPOSITIONS = (
    "for|in|at|on|with|without|from|to|by|of|under|after|before|during|until|since|between|within|outside|per|as|"
    "für|bei|mit|ohne|von|nach|vor|während|bis|seit|im|am|aus|zwischen|"
    "para|en|con|sin|de|desde|hasta|por|según|durante|entre|a"
)
_FRAGMENT = re.compile(rf"^(?:only |just |even |nur |auch |sólo |solo |también )?({_PREPOSITIONS})\s+(.+)$", re.I)
_BARE = re.compile(
    r"^(?:then|(?:what )?next|what then|why(?: not)?|how(?: so| come| long| much| many| often| far| soon)?|when|where|"
    r"who|whom|by (?:when|whom)|until when|since when|for how long|from when|in what way|"
    r"dann|danach|warum(?: nicht)?|wieso|weshalb|wann|wo|wer|wie(?: lange| viel| viele| oft)?|(?:bis|seit|ab) wann|"
    r"entonces|después|por qué(?: no)?|cómo|cuándo|dónde|quién|cuánto(?: tiempo)?|(?:hasta|desde) cuándo)"
    r"(?: (?:exactly|then|genau|dann|exactamente))?$",
    re.I,
)
_WHICH = re.compile(rf"^(?:(?:up )?(?:{_PREPOSITIONS}) )?(?:what|which|how (?:many|much)|welche[rmns]?|qué) \w+$", re.I)
_MORE = re.compile(
    r"^(?:(?:can|could|would) you )?(?:please )?(?:(?:tell|give|show) me )?"
    r"(?:(?:some |a bit )?more(?: details?| information| info)?|(?:more |further )details?|elaborate|go on|continue|"
    r"explain(?: (?:that|this|it))?(?: (?:more|again|further))?|(?:an? |another )?(?:example|details?)|"
    r"mehr(?: details| dazu)?|genauer|(?:ein )?beispiel|más(?: detalles)?|explícame|un ejemplo)"
    r"(?: (?:please|bitte|por favor))?$",
    re.I,
)
_ADDITIVE = re.compile(r"\b(?:too|as well|also|auch|también)$", re.I)
_SUPPOSED = re.compile(r"^(?:(?:and )?what if|was(?: ist)?,? wenn|y si|qué pasa si)\b", re.I)
_OPENING = re.compile(
    r"^(?:what(?:'s| is| are| was| were| does| do| did)?|which|who(?:'s| is| are)?|when|where|why|"
    r"how (?:long|much|many|often|far|old|soon|do|does|can|is|are)|how|is|are|was|were|do|does|did|can|could|may|must|"
    r"should|will|would|has|have|tell me about|explain|"
    r"was|welche[rsnm]?|wer|wann|wo|warum|wie (?:lange|viel|viele|oft)|wie|ist|sind|kann|darf|muss|gibt es|gilt|"
    r"qué|cuál(?:es)?|quién|cuándo|dónde|por qué|cómo|cuánt[oa]s?|hay|puedo|es|son)\b\s*",
    re.I,
)
_ARTICLE = re.compile(r"^(?:the|an?|any|der|die|das|eine?|einen|el|las?|los|una?)\s+", re.I)
_ARTICLE_BEFORE = re.compile(r"\b(?:the|an?|der|die|das|den|dem|eine?|el|la|los|las|una?)\s+$", re.I)
_SMALL = re.compile(
    r"^(?:i|we|you|one|my|our|your|it|there|is|are|was|were|do|does|did|can|could|may|must|should|will|would|has|have|"
    r"to|be|ich|wir|man|mein|meine|ist|sind|kann|darf|muss|yo|se|es|son|mi|puedo|debo|tengo que|me)\s+",
    re.I,
)
_DEFINED = re.compile(
    r"^(?:what(?:'s| is| are)|who(?:'s| is)|tell me about|explain|describe)\s+"
    r"((?:(?:an?|the)\s+)?[\w'’.-]+(?:\s+(?!(?:of|for|in|at|on|to|about|with)\b)[\w'’.-]+){0,3})$",
    re.I,
)
_NAME = re.compile(r"(?<![.!?] )(?<!^)\b[A-ZÀ-Ý][\w&.-]*(?:\s+[A-ZÀ-Ý][\w&.-]*)*")


def _by_rules(question: str, before: Exchange, language: Language) -> str | None:
    """The question with what it leans on; None where nothing in it says that it leans."""
    core = question.strip(" ?!.¿¡")
    bare = _LEAD.sub("", core)
    led = bare != core
    if not bare:
        return None
    asked = _joined(before)
    if _MORE.match(bare):
        return before.question
    if _BARE.match(bare) or _WHICH.match(bare):
        return _capital(f"{bare}: {_about(before, language)}?")
    about = _ABOUT.match(bare)
    if about:
        return _slotted(asked, about[1], language)
    if _phrase(bare, language) and _is_fragment(bare, led):
        return _slotted(asked, bare, language)
    if _one_word(bare, question, led):
        return _slotted(asked, bare, language)
    if points_outside(question, language):
        return _owned(question, before, language)
    short = len(_content(bare)) <= 2 and (_ADDITIVE.search(bare) or _SUPPOSED.match(bare))
    if short or _relational(bare, led):
        return _with(question, _about(before, language))
    return None


def _owned(question: str, before: Exchange, language: Language) -> str:
    """The question with the antecedent of what points outside: in place of the pronoun where that is certain."""
    named = _person(before) if person_pronoun(question) else None
    defined = _DEFINED.match(before.question.strip(" ?!.¿¡"))
    if named is None and defined and language == "en":
        named = defined[1]
    if named is not None and language == "en":
        put = re.sub(r"\b(?:he|she|they|it|him|them)\b(?!')", lambda _: named, question, count=1, flags=re.I)
        if put == question:
            put = re.sub(r"\b(?:his|her|its|their)\b", lambda _: f"{named}'s", question, count=1, flags=re.I)
        if put != question:
            return put
    return _with(question, _about(before, language))


def _with(question: str, topic: str) -> str:
    """The question, and behind it in brackets what it is about, from the first word on that it has not already."""
    have, about = set(stems(question)), topic.split()
    fresh = next((at for at, word in enumerate(about) if set(stems(word)) - have), None)
    if fresh is None:
        return question
    if stems(" ".join(about[:fresh])):
        about = about[fresh:]
    stripped = question.rstrip(" ?!.")
    return f"{_capital(_LEAD.sub('', stripped))} ({' '.join(about)})?"


def _slotted(asked: str, slot: str, language: Language) -> str:
    """The question before with `slot` put in: in place of its like, where one is, else behind it in brackets."""
    slot = slot.strip(" ?!.")
    stripped = asked.rstrip(" ?!.")
    fragment = _phrase(slot, language)
    slot = slot[:1].lower() + slot[1:] if fragment else slot
    year = re.compile(r"\b(?:19|20)\d\d\b")
    if year.search(slot) and len(year.findall(stripped)) == 1:
        return f"{year.sub(year.search(slot)[0], stripped)}?"  # type: ignore[index]
    if fragment:
        place = list(
            re.finditer(rf"\b{fragment[1]}\s+(?:[^\s,]+(?:\s+(?!(?:{_PREPOSITIONS})\b)[^\s,]+)*)", stripped, re.I)
        )
        if place and place[-1].end() == len(stripped) and _alike(place[-1][0], slot):
            return f"{stripped[: place[-1].start()]}{slot}?"
        return f"{stripped} {slot}?"
    like = _like(stripped, slot, language)
    if like is not None:
        put = _ARTICLE.sub("", slot) if _ARTICLE_BEFORE.search(stripped[: like[0]]) else slot
        return f"{stripped[: like[0]]}{put}{stripped[like[1] :]}?"
    if set(stems(slot)) <= RELATIONAL_STEMS:  # "and the penalty?": another property of the same thing
        return f"{_capital(slot)} ({_topic(asked)})?"
    return f"{stripped} ({slot})?"


def _like(asked: str, slot: str, language: Language) -> tuple[int, int] | None:
    """Where in the question before something of the kind of `slot` stands, if that is one place: a code, a name."""
    bare = _ARTICLE.sub("", slot)
    if re.fullmatch(r"(?=\S*\d)(?=\S*[A-Za-z])[\w.-]+", bare):
        codes = list(re.finditer(r"\b(?=\S*\d)(?=\S*[A-Za-z])[\w.-]+\b", asked))
        return codes[0].span() if len(codes) == 1 else None
    if language != "de" and re.fullmatch(r"[A-ZÀ-Ý][\w.-]*(?:\s+[A-ZÀ-Ý][\w.-]*)*", bare):
        names = [n for n in _NAME.finditer(asked) if n.start() > 0 and n[0] != "I"]
        if len(names) == 1:
            return names[0].span()
    group = re.search(r"\b(?:for|für|para)\s+((?:the |my )?[a-zäöüß][\w-]*(?: [a-z][\w-]*)?)$", asked)
    if group and _plural(group[1]) and _plural(bare) and bare == bare.lower():
        return group.span(1)
    return None


def _alike(phrase: str, slot: str) -> bool:
    """Two phrases of one preposition that fill one place. After `of` and `to` only names do."""
    if slot.split()[0].lower() not in ("of", "to", "de", "von", "a"):
        return True
    return all(words.split()[-1][:1].isupper() for words in (phrase, slot))


def _plural(words: str) -> bool:
    return bool(re.search(r"(?:[^s]s|children|people|men|women|staff|n)$", words))


def _phrase(words: str, language: Language) -> re.Match[str] | None:
    """A phrase that begins with a preposition. `a` is one in Spanish only."""
    found = _FRAGMENT.match(words)
    return found if found and (language == "es" or found[1].lower() != "a") else None


def _is_fragment(bare: str, led: bool) -> bool:
    """A phrase without a verb of its own, as far as that can be seen: short, and no auxiliary in it."""
    words = tokens(bare)
    if len(words) > (7 if led else 5):
        return False
    return not re.search(
        r"\b(?:is|are|was|were|do|does|did|can|could|must|should|will|would|has|have|what|how|when|who|which|why|where|"
        r"ist|sind|kann|darf|muss|gibt|welche\w*|wie|wer|wann|was|es|son|puede|hay|qué|cómo|cuándo|quién|cuál)\b",
        bare,
        re.I,
    )


def _one_word(bare: str, question: str, led: bool) -> bool:
    """ "Contractors?", "And Berlin?", "2022?": a name or thing, with nothing said of it."""
    if not _is_fragment(bare, led):
        return False
    content = _content(bare) or tokens(bare)
    return (led and len(content) <= 3) or (question.rstrip().endswith("?") and len(bare.split()) == 1 and bool(content))


def _relational(bare: str, led: bool) -> bool:
    """Nothing but words that need an owner: "What is the deadline?"; one more is let in behind a leading `and`."""
    if re.search(r"\b(?:my|our|your|meine?[rnms]?|unsere?[rnms]?|mis?|nuestr[oa]s?)\b", bare, re.I):
        return False  # it says itself whose
    content = _content(bare)
    foreign = [s for s in content if s not in RELATIONAL_STEMS]
    if not content:
        return not _BARE.match(bare) and len(tokens(bare)) > 2 and bool(re.search(r"\b(?:any|else|more)\b", bare, re.I))
    return not foreign or (led and len(foreign) <= 1 and len(content) <= 2)


# --- what the conversation is about -----------------------------------------------------------------


def _about(before: Exchange, language: Language) -> str:
    """The topic of the exchange: of the question, and the name that the answer gave to what was asked for."""
    topic = _topic(_joined(before))
    if (
        re.match(r"(?:which|who|what|welche|wer|cuál|quién|qué)\b", before.question.lower().strip("¿ "))
        and before.answer
    ):
        first = re.split(r"(?<=[.!?])\s", before.answer, maxsplit=1)[0]
        have = set(stems(topic))
        names = [] if language == "de" else [n[0] for n in _NAME.finditer(first) if set(stems(n[0])) - have]
        if len(names) == 1 and len(tokens(names[0])) <= 4:
            topic = f"{topic}, {names[0]}" if topic else names[0]
    return topic


def _joined(before: Exchange) -> str:
    """The question before as one sentence: what stands in brackets from the last rewriting joins the rest."""
    return re.sub(r"\s*\(([^()]*)\)\s*\?$", r" \1?", before.question.strip())


def _topic(asked: str) -> str:
    """What a question asks about: its words without how it asks."""
    text = asked.strip(" ?!.¿¡")
    text = _LEAD.sub("", text)
    text = _OPENING.sub("", text, count=1)
    while shorter := _SMALL.match(text):
        text = text[shorter.end() :]
    text = _ARTICLE.sub("", text, count=1)
    words = text.split()
    if len(words) > _TOPIC_WORDS:
        words = [w for w in words if stems(w)][:_TOPIC_WORDS]
    return " ".join(words)


def _person(before: Exchange) -> str | None:
    """The one person named in the answer, else in the question: a run of two or three capitalised words."""
    for text in (before.answer, before.question):
        found = {n[0] for n in re.finditer(r"\b[A-ZÀ-Ý][a-zà-ÿ'’-]+(?:\s+[A-ZÀ-Ý][a-zà-ÿ'’-]+){1,2}\b", text)}
        if len(found) == 1:
            return found.pop()
    return None


def _content(text: str) -> list[str]:
    """Stems of the words that carry meaning, without those that only ask or point."""
    return [s for s in stems(text) if s not in _ASKING]


def _bare(text: str) -> str:
    return " ".join(tokens(text))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


RELATIONAL_STEMS = frozenset(stem(t) for word in RELATIONAL for t in tokens(word))
_FILLERS = """
    get got give want like tell explain say said exactly still ever even just really actually else there this that
    these those it they them one next please thanks okay ok yes no long much often let see dann denn eigentlich genau
    noch auch das dies diese dieser hat haben etwas entonces eso esto también tiene tienen algún alguna
"""
_ASKING = frozenset(stem(t) for word in _FILLERS.split() for t in tokens(word))
