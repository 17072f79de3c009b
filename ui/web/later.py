"""What takes its time and is no job of the node, asked for by a thread of its own: the page stays usable meanwhile.

A measurement may take half a minute. A page that waited for it would show a spinner that a click on anything
breaks off, and the measurement with it. So the question lies in the session, and each drawing looks whether the answer
is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.web.plain import escape


class Call:
    """One question under way. `ended` is set when there is an answer or an error."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.started = time.monotonic()
        self.ended = threading.Event()
        self._answer: Any = None
        self._error: Exception | None = None
        threading.Thread(target=self._do, args=(work,), name="later", daemon=True).start()

    def answer(self) -> Any:
        """What came of it.

        Raises:
            RepriseError: what the node said instead.
        """
        if self._error is not None:
            raise self._error
        return self._answer

    def _do(self, work: Callable[[], Any]) -> None:
        try:
            self._answer = work()
        except Exception as error:  # it belongs to whoever reads the answer
            self._error = error
        finally:
            self.ended.set()


def later(key: str, what: Any, work: Callable[[], Any], words: str) -> Any | None:
    """The answer to `what`, or None while it is under way, with `words` drawn in its place.

    It is kept until something else is asked under the same key, or `forget`. `work` runs in another thread: it may use
    a node that was taken before, and nothing of Streamlit.

    Raises:
        RepriseError: what the node said instead.
    """
    kept = st.session_state.get(key)
    if kept is None or kept[0] != what:
        kept = st.session_state[key] = (what, Call(work))
    call: Call = kept[1]
    call.ended.wait(0.3)  # most answers are there at once, and then nothing blinks
    if call.ended.is_set():
        return call.answer()
    _busy(call, words)
    return None


def forget(key: str) -> None:
    """Ask anew the next time."""
    st.session_state.pop(key, None)


@st.fragment(run_every=0.7)
def _busy(call: Call, words: str) -> None:
    if call.ended.is_set():
        st.rerun()
    seconds = int(time.monotonic() - call.started)
    st.html(f'<div class="rp-busy" role="status">{escape(words)} … {f"{seconds} s" if seconds > 1 else ""}</div>')
