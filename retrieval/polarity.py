"""Which way a sentence points: words that are each other's opposite.

A word test for English, with the commonest German and Spanish pairs. It knows no grammar: it says that two sentences
on one matter hold words of opposite sides, not that they disagree. A word stands on one axis only.
"""

from __future__ import annotations

from retrieval import words

_OPPOSITES = """
    increase increased increases increasing rise rises rose risen grow grows grew growth gain gains higher more raise
    raised greater elevated enhance enhanced upregulate upregulated erhöht steigt mehr höher aumenta más
    / decrease decreased decreases decreasing reduce reduced reduces reduction fall falls fell fallen shrink decline
    declined drop dropped lower less fewer lowered smaller diminish diminished downregulate downregulated attenuated
    senkt sinkt weniger niedriger disminuye menos

    promote promotes induce induces activate activates activation stimulate enable enables cause causes
    / inhibit inhibits inhibition suppress suppresses block blocks prevent prevents disable disables impair impairs

    allow allows allowed permit permits permitted may erlaubt permitido
    / forbid forbidden prohibit prohibited prohibits ban banned disallow verboten prohibido

    accept accepts accepted approve approved approves
    / reject rejects rejected refuse refused refuses deny denied denies

    include includes included including / exclude excludes excluded excluding except

    before vor antes / after nach después

    all every always immer siempre / some sometimes manchmal

    must required mandatory obligatory shall muss / optional voluntary freiwillig opcional

    positive / negative

    improve improves improved better / worsen worsens worsened worse

    win wins won / lose loses lost

    open opens opened / close closes closed shut

    warm warming warmer hot / cool cooling cooler cold colder

    strong stronger strengthen / weak weaker weaken

    present / absent

    maximum most / minimum least

    faster fast quickly / slower slow slowly

    public / private confidential

    benefit beneficial helpful safe / harm harmful detrimental dangerous

    possible / impossible

    likely / unlikely

    same / different

    true / false

    begin begins began start starts started / end ends ended stop stops stopped

    north northern / south southern

    full complete / partial incomplete

    internal inside / external outside
"""
"""Axes with a blank line between them, the two sides of each parted by a slash."""


def opposed(one: str, other: str) -> bool:
    """Whether the two stand on opposite sides of an axis, neither with a word of the other's side."""
    here, there = _sides(one), _sides(other)
    return any(
        len(here[axis]) == len(there[axis]) == 1 and here[axis] != there[axis] for axis in here.keys() & there.keys()
    )


def _sides(text: str) -> dict[int, set[int]]:
    """Axis -> the sides (1, -1) that words of `text` stand on."""
    found: dict[int, set[int]] = {}
    for token in words.tokens(text):
        if token in _AXES:
            axis, side = _AXES[token]
            found.setdefault(axis, set()).add(side)
    return found


def _axes(text: str) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for axis, block in enumerate(text.split("\n\n")):
        for side, half in zip((1, -1), block.split("/"), strict=True):
            for word in words.tokens(half):
                found.setdefault(word, (axis, side))
    return found


_AXES = _axes(_OPPOSITES)
