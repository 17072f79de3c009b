"""Figures that are read at a glance, as HTML: intervals around zero, heat tables, bars, the steps of a rollout.

Every figure stands as a number beside its picture, so nobody has to guess it from a length or a colour. It draws
nothing itself; what it is given as text is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ui.web.plain import escape

_HEAT = "#2f8486"
_HERE = ' aria-current="step"'


def signed(value: float | None, digits: int = 3) -> str:
    """`+0.031`, with a real minus; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


def percent(share: float | None) -> str:
    """`5 %`; whole where it is one."""
    return "–" if share is None else f"{share * 100:.3g} %"


def interval(
    low: float | None, high: float | None, middle: float, scale: float, *, allowed: float | None = None
) -> str:
    """An interval on a line from -scale to +scale, zero in the middle; `allowed` is the loss that would pass."""
    if low is None or high is None or not scale:
        return ""
    tone = "good" if low > 0 else "bad" if high < 0 else ""
    if allowed is not None:
        tone = "bad" if -middle > allowed + 1e-9 else ("good" if low > 0 else "")

    def at(value: float) -> float:
        return 50 + 50 * max(-1.0, min(1.0, value / scale))

    left, right = at(low), at(high)
    limit = f'<s style="left:{at(-allowed):.1f}%"></s>' if allowed is not None and allowed <= scale else ""
    say = f"between {signed(low)} and {signed(high)}"
    if allowed is not None:
        say += f"; a loss of up to {allowed:.3f} is let pass"
    return (
        f'<div class="rp-ci rp-{tone or "plain"}" role="img" aria-label="{escape(say)}" title="{escape(say)}"><u></u>'
        f'{limit}<i style="left:{left:.1f}%;width:{max(1.0, right - left):.1f}%"></i>'
        f'<b style="left:{at(middle):.1f}%"></b></div>'
    )


def scale_of(bounds: Sequence[tuple[float | None, float | None]]) -> float:
    """A common scale for several intervals: the farthest bound from zero, rounded up a little."""
    known = [abs(v) for pair in bounds for v in pair if v is not None]
    return max([0.02, *known]) * 1.05


def bar(share: float, about: str = "", tone: str = "") -> str:
    """A bar filled to a share from 0 to 1."""
    width = 100 * max(0.0, min(1.0, share))
    return (
        f'<div class="rp-bar {f"rp-{tone}" if tone else ""}" title="{escape(about)}">'
        f'<s style="width:{width:.1f}%"></s></div>'
    )


def heat(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    marked: Sequence[int | None],
    below: Sequence[tuple[str, Sequence[str]]] = (),
) -> str:
    """A table whose cells are tinted by their value, 0 to 1; in column j the cell of row `marked[j]` has a frame.

    `below` are further rows, of words.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *columns))
    body = []
    for i, name in enumerate(rows):
        cells = []
        for j, value in enumerate(values[i]):
            tint = 0 if value is None else 6 + 62 * max(0.0, min(1.0, value))
            style = f"background:color-mix(in srgb, {_HEAT} {tint:.0f}%, transparent)"
            frame = ' class="rp-learnt"' if marked[j] == i else ""
            cells.append(f'<td{frame} style="{style}">{"–" if value is None else f"{value:.3f}"}</td>')
        body.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    for name, words in below:
        body.append(f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(w)}</td>' for w in words)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="rp-grid rp-heat">{table}</div>'


def steps(names: Sequence[str], at: int) -> str:
    """The way of a rollout: what is behind, where it stands, what is to come."""
    states = ["rp-done" if n < at else "rp-here" if n == at else "" for n in range(len(names))]
    said = "".join(
        f'<li class="{state}"{_HERE if n == at else ""}>{escape(name)}</li>'
        for n, (name, state) in enumerate(zip(names, states, strict=True))
    )
    return f'<ol class="rp-steps">{said}</ol>'
