"""Words of a question that point outside of it: pronouns, demonstratives, fragments, and nouns that need an owner.

It knows English, German and Spanish, each by a few closed lists, and is careful: a word that may have its antecedent in
the question itself ("When a document is deleted, does it leave traces?"), or has none anywhere ("Is it possible to
…"), points nowhere. Binding within a clause is what syntax says: an object pronoun is not its own clause's subject,
so "Does the manager approve it?" points outside.
"""

from __future__ import annotations

import re
from typing import Literal

from retrieval.words import tokens

Language = Literal["en", "de", "es"]

_ENGLISH = """
    the is are do does what how when who which why of to and for can it that this these those about there they in my
    must should was were if any
"""
_GERMAN = """
    der die das und ist sind wie wer wo was wann warum welche welcher welches für mit von auf ich wir kann muss darf
    gilt gibt nicht auch ein eine einen im bei zu dem den es werden wird man über oder
"""
_SPANISH = """
    el la los las qué que cómo como cuándo cuánto cuánta cuántos quién dónde por para y es son un una en del se puede
    hay lo con su eso esto cual cuál me debo si al
"""
_TELLING: dict[Language, frozenset[str]] = {
    "en": frozenset(_ENGLISH.split()),
    "de": frozenset(_GERMAN.split()),
    "es": frozenset(_SPANISH.split()),
}
_NEEDY = """
    allowance discount surcharge restriction quota threshold cap
    deadline limit limitation exception condition requirement cost price fee charge rate maximum minimum max min penalty
    duration period procedure process step difference default reason rule advantage disadvantage benefit drawback risk
    option alternative format size amount number detail example information info contact document form proof
    responsible eligible allowed possible mandatory required necessary optional valid different similar better worse
    cheaper faster larger smaller safer side effect symptom dose dosage consequence happen apply work start begin
    end stop need know pay cost take expire change help decide approve sign use long last mean matter depend differ
    next first new same thing way case question answer point
    frist grenze ausnahme bedingung voraussetzung kosten preis gebühr strafe dauer ablauf schritt unterschied grund
    regel vorteil nachteil risiko beispiel zuständig erlaubt nötig möglich pflicht gültig brauche kostet dauert gilt
    passiert zahlen bezahlen ändern unterlagen formular
    plazo límite excepción excepciones condición condiciones requisito costo coste precio tarifa multa duración
    procedimiento paso diferencia motivo razón regla ventaja desventaja riesgo ejemplo responsable permitido obligatorio
    posible válido cuesta tarda dura pasa necesito pagar documento formulario
"""
RELATIONAL = frozenset(_NEEDY.split())
"""Nouns and verbs that say little without whose they are: a question made of these alone is about what was before."""

_AUXILIARY = (
    "is|are|was|were|be|been|do|does|did|can|could|will|would|should|shall|may|might|must|has|have|had|isn't|aren't|"
    "doesn't|don't|didn't|can't|won't|wasn't|weren't|shouldn't|couldn't|wouldn't"
)
_BOUNDARY = (
    r"(?:,|;|\b(?:and|or|but|if|when|whenever|after|before|while|because|once|without|until|unless|so|that|which|who|"
    r"where|than|since|though|although)\b)"
)
_NOT_ANAPHORIC_NOUN = (
    r"year|month|week|day|morning|afternoon|evening|night|time|moment|quarter|century|decade|season|platform|app|"
    r"application|software|page|website|site|chat|tool|program|company|guide|workspace|installation|service"
)


def language_of(text: str, otherwise: Language = "en") -> Language:
    """The language whose function words are most in `text`; `otherwise` where none is ahead."""
    if "¿" in text or "¡" in text:
        return "es"
    words = re.findall(r"[^\W\d_]+", text.lower())
    counts = {name: sum(w in telling for w in words) for name, telling in _TELLING.items()}
    best = max(counts.values())
    ahead = [name for name, n in counts.items() if n == best]
    if best == 0 or len(ahead) > 1:
        return otherwise
    return ahead[0]


def points_outside(question: str, language: Language) -> bool:
    """True if a pronoun, a demonstrative or an adverb of the question has its antecedent before the question."""
    text = " ".join(question.replace("’", "'").lower().split()).rstrip(" ?!.")
    if language == "de":
        return _german(text, question)
    if language == "es":
        return _spanish(text)
    return any(_english(text))


def person_pronoun(question: str) -> bool:
    """True if the question speaks of one person by a pronoun alone."""
    text = question.lower()
    found = re.search(r"\b(?:he|she|him|her|his|hers)\b", text)
    return found is not None and not _names_before(question, found.start())


def _english(text: str) -> list[bool]:
    return [
        _it(text),
        _they(text),
        _demonstrative(text),
        _there(text),
        bool(re.search(r"\b(?:he|she|him|hers)\b|\b(?:his|her)\b", text)) and not _person_in(text),
        bool(re.search(r"\b(?!(?:no|any|every|some|number|version|step|day|phase|page|part)\b)[a-z]+ one$", text)),
        bool(re.search(r"\b(?:which|the (?:first|second|third|last|other|cheaper|latter)) ones?\b", text)),
        bool(re.search(r"\bthe (?:latter|former|second|third|other)$|\bin (?:that|this) case\b|\botherwise$", text)),
        bool(re.search(r"\b(?:the|do the|does the) same(?: (?:apply|go|hold|true|for|thing)|$)|^is it the same", text)),
        bool(re.search(r"^(?:so |and |but )?if (?:so|not)\b|\b(?:what|anything|something|who|where) else$", text)),
    ]


def _it(text: str) -> bool:
    """`it`, `its`, `itself`: expletives, and those with a singular noun in an earlier clause, do not count."""
    for found in re.finditer(r"\b(its|it|itself)\b(?!')", text):
        before, after = text[: found.start()].rstrip(), text[found.end() :].strip()
        if found[1] == "its":
            if not _noun_in(before):
                return True
            continue
        if found[1] == "it" and _expletive(before, after):
            continue
        if not _earlier_clause_has_noun(before):
            return True
    return False


def _expletive(before: str, after: str) -> bool:
    """`it` that stands for nothing, or for what follows: "is it possible to …", "how long does it take to …"."""
    if re.match(r"(?:is|'s|was|rains?|snows?)\b", after) and not before:
        return True
    follows = re.search(r"\b(?:to [a-z]{2,}|that|if|when|whether|for (?:a|an|the|my|our|your)? ?\w+ to)\b(.*)", after)
    if follows is None:
        return False
    rest = [w for w in tokens(follows[0]) if len(w) > 2]
    return len(rest) >= 2 and not re.search(r"\b(?:apply|belong|lead|relate|happen|go) to\b", after)


def _they(text: str) -> bool:
    for found in re.finditer(r"\b(they|them|their|theirs|themselves)\b", text):
        before = text[: found.start()].rstrip()
        if found[1] in ("their", "theirs", "themselves"):
            if not _noun_in(before, plural=True):
                return True
        elif not _earlier_clause_has_noun(before):
            return True
    return False


def _demonstrative(text: str) -> bool:
    if ":" in text:  # "which of these is best: a or b?"
        return False
    words = text.split()
    last = words[-1] if words else ""
    if last in ("this", "that", "these", "those"):
        return True
    if re.search(rf"\b(?:this|these|that|those) (?:{_NOT_ANAPHORIC_NOUN})s?\b", text):
        return False
    if re.search(
        r"\b(?:this|these|those) (?!(?:who|whom|that|which|in|of|from|with|without|on|at|having|not)\b)", text
    ):
        return True
    aux = rf"(?:^|\b)(?:{_AUXILIARY}|like|about|for|with|of|after|before|during|under|from|by|to|on|at|without|than)"
    found = re.search(rf"{aux} that (?!(?:the|a|an|my|our|your|i|we|you|he|she|they|it)\b)", text)
    clause = re.search(
        rf"\b(?:if|when|because|and|but|why|how|unless|until) that (?:{_AUXILIARY}|happens|fails)\b", text
    )
    return bool(found or clause) or text.startswith("that ")


def _there(text: str) -> bool:
    if re.search(r"\bthen$", text) and " if " not in f" {text}":
        return True
    if re.search(rf"\b(?:{_AUXILIARY}) there\b|\bthere (?:{_AUXILIARY}|any|a|an|exists?)\b|there's", text):
        return False
    return bool(re.search(r"\b(?:there|thereby|thereof)\b(?!.* (?:at|in|on) )", text))


def _person_in(text: str) -> bool:
    """A clause before the pronoun names somebody: "Can an employee name her own successor?"."""
    found = re.search(r"\b(?:he|she|him|hers|his|her)\b", text)
    return found is not None and _noun_in(text[: found.start()])


def _names_before(question: str, at: int) -> bool:
    return bool(re.search(r"(?<!^)\b[A-Z][a-zà-ÿ]+", question[1:at])) or _noun_in(question[:at].lower())


def _earlier_clause_has_noun(before: str) -> bool:
    """A noun stands before the last boundary of clauses: there a pronoun of the next clause may have its antecedent."""
    bounds = list(re.finditer(_BOUNDARY, before))
    for bound in reversed(bounds):
        if bound.end() < len(before.rstrip()) or bound.start() > 0:
            return _noun_in(before[: bound.start()])
    return False


def _noun_in(text: str, *, plural: bool = False) -> bool:
    """A noun, told by what stands before it: an article, a possessive, a preposition, a number; or, as the subject,
    an auxiliary verb or `which`. `plural` also takes the first word with a plural ending.
    """
    determined = (
        r"\b(?:a|an|the|my|our|your|each|every|any|some|no|all|both|several|many|which|what|another|one|of|for|in|on|at|"
        r"with|from|by|under|about|without|\d+)\s+(?:[a-z][\w-]*\s+)?(?!(?:it|them|they|he|she|i|we|you|else|"
        rf"happens|counts|changes|applies|means|{_AUXILIARY})\b)[a-z][\w-]{{2,}}"
    )
    if re.search(determined, text):
        return True
    subject = re.search(rf"(?:^|\b)(?:{_AUXILIARY})\s+([a-z][\w-]{{2,}})", text)
    if subject and subject[1] not in ("you", "they", "she", "not", "there", "this", "that", "these", "those", "its"):
        return True
    return plural and bool(re.search(r"\b[a-z]{3,}[^s\W]s\b", text))


_GERMAN_ADVERBS = (
    "davon|dafür|damit|dazu|dabei|darüber|daran|darauf|dagegen|danach|daraus|darin|dadurch|dort|dorthin|derselbe|"
    "dieselbe|dasselbe|letzteres|ersteres|deren|dessen"
)


def _german(text: str, question: str) -> bool:
    if re.search(r",\s*(?:dass|ob|wie|wer|wann|zu|wenn|falls|sobald)\b", text):
        return False
    noun = bool(re.search(r"(?<!^)(?<![.!?] )\b[A-ZÄÖÜ][a-zäöüß]{2,}", question.strip()[1:]))
    if re.search(rf"\b(?:{_GERMAN_ADVERBS})\b", text):
        return True
    if re.search(r"\b(?:dies|diese|dieser|dieses|diesen|diesem|solche|solchen)\b", text):
        return not re.search(r"\bdies\w* (?:jahr|monat|woche|tag|seite|programm|software|plattform)", text)
    if re.search(
        r"\bdas$|\bdas (?:auch|nicht|dann|für|bei|in|auf|wirklich|genau|immer|noch|so|mit|ohne|von|bis)\b", text
    ):
        return True
    person = re.search(r"\b(?:ihn|ihm|er)\b", question)
    if person and not re.search(r"\b[A-ZÄÖÜ][a-zäöüß]{2,}", question[1 : person.start()]):
        return True
    if re.search(r"\bes\b", text) and not re.search(r"\bgibt es|es gibt|geht es|es möglich|ist es|es sich\b", text):
        return not noun
    return bool(re.search(r"(?:dauern|kosten|gelten|sind|müssen|können|werden|haben) sie\b", question)) and not noun


def _spanish(text: str) -> bool:
    text = text.replace("¿", "").strip()
    if re.search(r"\b(?:eso|esto|aquello|ello|ellos|ellas|dicho|dicha|ahí|allí)\b", text):
        return True
    if re.search(r"\bél\b|\bella\b", text):
        return True
    if re.search(r"\b(?:ese|esa|esos|esas|estos|estas|este|esta)\b(?! (?:año|mes|semana|día|página|programa))", text):
        return True
    if re.search(r"\bentonces$|en (?:ese|este) caso", text):
        return True
    return bool(
        re.search(
            r"(?:^|\b(?:quién|cómo|cuándo|dónde|quien|no|se)\s)(?:lo|las?|los)\s[^\W\d_]+(?:a|e|o|an|en|go)$", text
        )
    )
