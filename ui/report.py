"""The demo's report: one HTML page with no scripts and nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #dde3ea; vertical-align: top; }
blockquote { margin: .5rem 0; padding: .5rem 1rem; border-left: 4px solid #4a7dbd; background: #f4f7fb; }
.no { color: #a3261f; } .yes { color: #1d7a46; } small { color: #667; }
"""


def render(steps: list[dict[str, Any]], seen: dict[str, Any]) -> str:
    """The page. Sections of steps that did not happen are left out."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Reprise demo</title>",
        f"<style>{_STYLE}</style><h1>Reprise demo</h1>",
        "<p>The whole loop on the project's own guide, as it happened. Nothing was scripted to succeed. "
        "Held-out questions are new wordings; most of their passages were also asked about in training.</p>",
        _table(
            ["step", "ok", "seconds", "what came back"],
            [[s["name"], _mark(s["ok"]), s["seconds"], s["detail"]] for s in steps],
        ),
    ]
    for title, keys, section in _SECTIONS:
        if all(key in seen for key in keys):
            parts.append(f"<h2>{escape(title)}</h2>" + section(seen))
    return "".join(parts)


def _change(seen: dict[str, Any]) -> str:
    out = f"<p>Question: <b>{escape(seen['asked'])}</b></p>"
    for key, when in (
        ("before", "before"),
        ("after", "after the page changed"),
        ("as_of", "asked again as of before"),
    ):
        shown = seen[key]
        cited = "".join(
            f"<small>[{c['n']}] {escape(c['name'])} version {c['version']}, "
            f"characters {c['start']}–{c['end']}</small><br>"
            for c in shown["citations"]
        )
        out += f"<p>{when} (epoch {shown['epoch']}):</p><blockquote>{escape(shown['answer'])}<br>{cited}</blockquote>"
    return out


def _feedback(seen: dict[str, Any]) -> str:
    taken = seen["feedback"]
    return (
        f"<p>Asked: {escape(taken['question'])}</p><blockquote>{escape(taken['shown']['answer'])}</blockquote>"
        f"<p>Corrected to:</p><blockquote>{escape(str(taken['example']['answer']))}</blockquote>"
        f"<p>Kept as {escape(taken['example']['example'])}: {escape(taken['example']['status'])} "
        f"{escape(taken['example']['reason'])}</p>"
    )


def _run(key: str) -> Any:
    def section(seen: dict[str, Any]) -> str:
        run = seen[key]
        verdict, metrics = run["verdict"], run["metrics"]
        rows = [
            [who, _number(metrics[who]["ndcg@10"]), _number(metrics[who]["served_ndcg@10"])]
            for who in ("base", "champion", "challenger")
        ]
        slices = [
            [
                s["slice"],
                s["part"],
                s["n"],
                *(_number(s[c]) for c in ("base", "champion", "challenger", "low", "high")),
            ]
            for s in verdict["slices"]
        ]
        return (
            f"<p>{escape(run['run'])}: {_mark(verdict['accepted'], 'accepted', 'refused')}, {run['seconds']} s, "
            f"{metrics['examples']} examples, loss {_number(metrics.get('first_loss'))} → "
            f"{_number(metrics.get('last_loss'))}</p>"
            "<ul>"
            + "".join(f"<li>{escape(r)}</li>" for r in verdict["reasons"])
            + "</ul>"
            + _table(["model", "nDCG@10, dense arm", "nDCG@10, as served"], rows)
            + _table(["slice", "part", "n", "base", "champion", "challenger", "low", "high"], slices)
        )

    return section


def _mix(seen: dict[str, Any]) -> str:
    mix = seen["mix"]
    recalled = [row for row in mix["rows"] if row["part"] == "recalled"]
    rows = [[row["part"], row["slice"], row.get("question") or row["example"], row["reason"]] for row in recalled]
    return (
        f"<p>{mix['new']} new and {mix['recalled']} recalled examples at epoch {mix['epoch']}, "
        f"replay ratio {mix['rho']}, seed {mix['seed']}. The recalled ones:</p>"
        + _table(["part", "slice", "question", "reason"], rows)
    )


def _moves(seen: dict[str, Any]) -> str:
    promoted, back = seen["promote"], seen["rollback"]
    out = f"<p>{escape(promoted['told'])}</p>"
    return out + f"<p>Rolled back to {escape(str(back['champion'] or 'the base model'))} in {back['ms']:.1f} ms.</p>"


def _audit(seen: dict[str, Any]) -> str:
    rows = [[e["seq"], e["at"], e["action"], e["subject"], str(e["detail"])] for e in seen["audit"]["entries"]]
    intact = _mark(seen["audit"]["intact"], "intact", "broken")
    return f"<p>Chain: {intact}</p>" + _table(["#", "at", "action", "subject", "detail"], rows)


_SECTIONS = (
    ("An answer before and after a document changed", ("before", "after", "as_of"), _change),
    ("Feedback", ("feedback",), _feedback),
    ("The first adapter", ("first",), _run("first")),
    ("The mix of the rehearsal retrain", ("mix",), _mix),
    ("The rehearsal retrain", ("second",), _run("second")),
    ("Promotion and rollback", ("promote", "rollback"), _moves),
    ("The control: shuffled labels", ("shuffled",), _run("shuffled")),
    ("The audit log", ("audit",), _audit),
)


class _Markup(str):
    """Text that is HTML already."""


def _table(head: list[str], rows: list[list[Any]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{v if isinstance(v, _Markup) else escape(str(v))}</td>" for v in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def _mark(ok: bool, yes: str = "yes", no: str = "no") -> _Markup:
    return _Markup(f'<b class="{"yes" if ok else "no"}">{escape(yes if ok else no)}</b>')


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"
