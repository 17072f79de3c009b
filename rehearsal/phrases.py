"""How questions are put, by language: what makes a sentence a definition, and the forms of what is asked about it.

English, German and Spanish. A language that is not here gets no questions by rule but the headings that are questions
already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """The forms of one language. `{x}` is the thing, `{y}` what it is asked for."""

    defines: re.Pattern[str]
    """A definition: groups `x` (what is defined), `verb`, and a rest that says what kind of thing it is."""
    is_one: str
    are_many: str
    means: str
    many: frozenset[str]
    """Verbs of a plural."""
    meaning: frozenset[str]
    """Verbs of saying what a word means."""
    field: str
    """A cell of a table, whatever its column is called."""
    property: str
    """The same, where the column is one of `properties`."""
    properties: frozenset[str]
    explaining: frozenset[str]
    """Columns that say what their row means."""
    how: str
    """What is asked under a heading that names a deed, `{x}`; `deed` matches such a heading, its group `x` the deed."""
    deed: re.Pattern[str]
    order: re.Pattern[str] | None
    """A heading that tells to do something, where that can be told from a name; `do` asks how."""
    do: str
    know: str
    """What is asked under a heading that names a thing."""
    asking: frozenset[str]
    """Words that a question begins with."""
    indefinite: frozenset[str]
    alternatives: frozenset[str]
    inverts: bool
    """Whether a sentence may begin with something else than its subject, and the verb still comes second."""
    articles: frozenset[str]
    vague: frozenset[str]
    """Words that a subject may not begin with: they point elsewhere, or count."""
    clausal: frozenset[str]
    """Words that make a clause of what should be a name."""
    labels: frozenset[str]
    """What stands before a colon and names nothing."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _any(text: str) -> str:
    """A pattern of any of these words."""
    return f"(?:{'|'.join(text.split())})"


_SUBJECT = r"(?P<x>[^\W\d_][\w’'/.+ -]{1,60}?)"

_OBJECT = r"(?:the|an?|your|our|my|their|its|his|her|another|all|any|every|each|some)\b"
_PARTICLE = r"(?:(?:up|out|off|back|down)\b|(?:in|on)(?:$| (?:to|my|our|your)\b))"
"""What stands behind an English -ing where it is a deed. "Opening hours" and "Billing address" are things."""

_STRONG = _any(
    "backen blasen braten fahren fallen fangen fressen geben gessen graben halten kommen laden lassen laufen lesen "
    "messen raten rufen schlafen schlagen sehen spalten stoßen tragen treten wachsen waschen "
    "bissen blichen blieben bogen boren boten brochen bunden dorben droschen flochten flogen flohen flossen fohlen "
    "froren funden gangen glichen glitten golten gossen griffen hangen hoben klungen kniffen krochen liehen litten "
    "logen loren loschen lungen mieden nommen nossen pfiffen priesen quollen rieben rissen ritten rochen rungen "
    "schieden schienen schlichen schliffen schlossen schmolzen schnitten schoben schollen scholten schossen "
    "schrieben schrien schritten schwiegen schwollen schwommen schworen schwunden sessen sogen sonnen sprochen "
    "sprossen sprungen standen stiegen stochen stohlen storben strichen stritten sungen sunken trieben troffen "
    "trogen trunken wichen wiesen wogen wonnen worben worden worfen wunden zogen zwungen"
)
"""What participles of German strong verbs end in. Those of the first two lines are infinitives as well."""
_PARTICIPLE = (
    rf"(?:\S*ge(?:{_STRONG}|beten|legen|wesen)"
    rf"|(?:be|emp|ent|er|hinter|miss|über|unter|ver|wider|zer){_STRONG})"
)
"""What was done ("Karte verloren"), or may have been: "Passwort vergessen" is nothing that somebody wants to do."""
_ADVERB = _any("außen dagegen deswegen draußen gegen gestern hinten innen morgen offen sieben unten wegen zwischen")

_NOUN = _any(
    "Alfiler Alquiler Altar Amanecer Anochecer Atardecer Auxiliar Avatar Ayer Bachiller Banner Bar Bazar Calamar "
    "Canciller Celular Circular Collar Container Deber Ejemplar Elixir Escolar Familiar Flyer Hangar Hogar Lugar "
    "Lunar Mar Menester Militar Mujer Newsletter Nuclear Par Parecer Particular Pilar Placer Poder Popular "
    "Porvenir Preliminar Primer Pulgar Quehacer Radar Regular Router Ser Server Similar Singular Solar Taller "
    "Tercer Titular Webinar"
)
"""Spanish words that end as an infinitive does and are none. Nor is one with an accent, or one before "de"."""

ENGLISH = Phrases(
    defines=re.compile(
        rf"^{_SUBJECT}\s+(?P<verb>is|are|means|mean|refers to|stands for|denotes)\s+(?!the same|that\b)"
        r"(?:(?<=means )|(?<=mean )|(?<=to )|(?<=for )|(?<=denotes )|(?P<rest>an?|the|one|any|anything|what"
        r"|words|texts|people|those|ways?|kinds?|sets?|parts?)\b)",
    ),
    is_one="What is {x}?",
    are_many="What are {x}?",
    means="What does {x} mean?",
    many=_words("are mean"),
    meaning=_words("means mean refers stands denotes"),
    field="What is given as {y} for {x}?",
    property="What is the {y} of {x}?",
    properties=_words(
        "purpose effect default value price cost amount limit unit type size status state date deadline name "
        "title owner author location address country region number rate share percentage total minimum maximum "
        "range duration length height width weight version category class role capital population area currency "
        "language reason source result aim goal task subject topic scope format method port path url email phone "
        "licence license"
    ),
    explaining=_words("meaning description definition content contents explanation"),
    how="How do I go about {x}?",
    deed=re.compile(
        r"(?P<x>(?!(?:Nothing|Something|Everything|Anything|During|Morning|Evening|King|String|Spring)\b)"
        rf"[A-Z][a-z-]+ing (?:{_OBJECT}|{_PARTICLE}|and [A-Za-z-]+ing\b).*)$"
    ),
    order=re.compile(r"(?P<x>[A-Z][a-z]{1,8} (?:the|an?|your|our|this|another|all|any)\b.+)$"),
    do="How do I {x}?",
    know="What should I know about {x}?",
    asking=_words(
        "what how who whom whose when where why which is are was were do does did can could may must should shall "
        "will would has have"
    ),
    indefinite=_words("a an one any"),
    alternatives=_words("or versus vs"),
    inverts=False,
    articles=_words("a an the"),
    vague=_words(
        "without following latter former above below rest remainder own this that these those it its there here "
        "he she they we you i his her their our your my what which who whom whose when where why how all some "
        "each every any most many few several one two both either neither another other others such same only "
        "first second third last next more less much none nothing no not if while as because since although "
        "though so then thus also however but and or in on at by for from with under over after before during "
        "within according among between to of is are was were do does did unless once until everything everyone "
        "anyone someone something anything nobody somebody today now yes"
    ),
    clausal=_words(
        "this these those such them which that who when where if is are was were be been can could must should "
        "will would may might has have had do does did not we you it they"
    ),
    labels=_words(
        "description resolution summary solution issue issues similar reason status overview introduction "
        "background conclusion conclusions references contents appendix general miscellaneous usage details "
        "changelog added changed fixed removed deprecated security links faq requirements note notes warning tip "
        "example examples important caution see hint remark update answer question"
    ),
)

GERMAN = Phrases(
    defines=re.compile(
        rf"^{_SUBJECT}\s+(?P<verb>ist|sind|bedeutet|bedeuten|bezeichnet|bezeichnen)\s+"
        r"(?!dass\b|die gleiche|der gleiche|das gleiche|dasselbe)"
        r"(?:(?<=bedeutet )|(?<=bedeuten )|(?<=bezeichnet )|(?<=bezeichnen )"
        r"|(?P<rest>eine?[rs]?|der|die|das|jede[rs]?|alles)\b)",
    ),
    is_one="Was ist {x}?",
    are_many="Was sind {x}?",
    means="Was bedeutet {x}?",
    many=_words("sind bedeuten bezeichnen"),
    meaning=_words("bedeutet bedeuten"),
    field="Was steht unter {y} bei {x}?",
    property="Was steht unter {y} bei {x}?",
    properties=frozenset(),
    explaining=_words("bedeutung beschreibung definition erklärung inhalt erläuterung"),
    how="Wie kann ich {x}?",
    deed=re.compile(rf"(?P<x>\S+ (?:.* )?(?!(?:{_PARTICIPLE}|{_ADVERB})$)[a-zäöüß]{{3,}}(?:en|ern|eln))$"),
    order=None,
    do="",
    know="Was sollte ich über {x} wissen?",
    asking=_words(
        "was wie wer wen wem wessen wann wo wohin woher warum wieso weshalb welche welcher welches welchen "
        "wieviel ist sind kann können darf dürfen muss müssen soll sollte gibt hat haben werden wird"
    ),
    indefinite=_words("ein eine einer eines"),
    alternatives=_words("oder"),
    inverts=True,
    articles=_words("ein eine der die das"),
    vague=_words(
        "zweiten ersten dritten letzten darüber innerhalb außerhalb folgende folgender folgendes folgenden rest "
        "übrige dies diese dieser dieses das es er sie wir ihr ich man hier da dort dabei damit dafür davon dazu "
        "darin was wer welche welcher welches wann wo warum wie alle alles jede jeder jedes einige viele manche "
        "mehrere beide andere anderer solche kein keine keiner ein eines einer erste zweite dritte letzte nächste "
        "mehr weniger nur auch wenn falls weil obwohl während als so dann also aber und oder in im an am auf bei "
        "für von vom mit unter über nach vor seit bis zu zum zur ist sind war waren sein ihre seine unser unsere "
        "grund ziel heute nun ja nein dadurch deshalb daher ebenso zudem außerdem"
    ),
    clausal=_words(
        "dieser diese dieses diesem diesen solche solches solcher solchen welche welcher welches dass wenn kann "
        "können muss müssen soll wird werden hat haben nicht wer wo ist sind war waren wir sie es man"
    ),
    labels=_words(
        "grund hauptgrund ursache ziel lehrbuchbeispiel beschreibung lösung zusammenfassung überblick einleitung "
        "einführung hintergrund fazit literatur inhalt anhang allgemeines sonstiges details links hinweis achtung "
        "beispiel beispiele wichtig tipp anmerkung siehe bemerkung antwort frage"
    ),
)

SPANISH = Phrases(
    defines=re.compile(
        rf"^{_SUBJECT}\s+(?P<verb>es|son|significa|significan|se refiere a|designa)\s+"
        r"(?!que\b|el mismo|la misma|lo mismo|(?:el|la|los|las) (?:más|de|del)\b)"
        r"(?:(?<=significa )|(?<=significan )|(?<=refiere a )|(?<=designa )|(?P<rest>una?s?|unos|el|la|los|las|lo)\b)",
    ),
    is_one="¿Qué es {x}?",
    are_many="¿Qué son {x}?",
    means="¿Qué significa {x}?",
    many=_words("son significan"),
    meaning=_words("significa significan"),
    field="¿Qué figura como {y} en {x}?",
    property="¿Qué figura como {y} en {x}?",
    properties=frozenset(),
    explaining=_words("significado descripción definición contenido explicación"),
    how="¿Cómo puedo {x}?",
    deed=re.compile(rf"(?P<x>(?!{_NOUN}\b)[A-ZÑ][a-zñü]+(?:ar|er|ir)\b(?! del?\b).*)$"),
    order=None,
    do="",
    know="¿Qué debería saber sobre {x}?",
    asking=frozenset(),
    indefinite=_words("un una unos unas"),
    alternatives=_words("o u"),
    inverts=True,
    articles=_words("un una unos unas el la los las"),
    vague=_words(
        "tercer dos segundos primer siguiente siguientes resto esto este esta estos estas eso ese esa esos esas "
        "aquel aquello ello él ella ellos ellas nosotros usted ustedes yo aquí allí ahí qué quién cuál cuándo "
        "dónde cómo que quien cual cuando donde como todo toda todos todas algunos algunas cada muchos muchas "
        "pocos varios ambos otro otra otros otras tal mismo misma solo primero primera segundo tercero último "
        "próximo más menos nada nadie no si mientras porque aunque así entonces también pero y o en con por para "
        "de del al a sobre según entre desde hasta su sus nuestro mi tu hoy ahora sí lo"
    ),
    clausal=_words(
        "este esta estos estas ese esa esos esas tal tales que cuando donde si puede pueden debe deben ha han no "
        "es son era fue fueron se lo"
    ),
    labels=_words(
        "razón causa motivo objetivo descripción solución resumen introducción conclusión conclusiones "
        "referencias contenido anexo general generales detalles enlaces antecedentes nota aviso ejemplo ejemplos "
        "importante atención consejo véase respuesta pregunta"
    ),
)

LANGUAGES = {"en": ENGLISH, "de": GERMAN, "es": SPANISH}
