"""Entry of the web app: `streamlit run ui/web/app.py`. It asks for the node, then shows a page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui.web.client import node, told
from ui.web.pages import all_pages

_HERE = Path(__file__).parent


def main() -> None:
    st.set_page_config(page_title="Reprise", page_icon=_HERE / "icon.svg", layout="wide")
    st.html(_HERE / "style.css")
    st.logo(_HERE / "logo.svg", size="large")
    page = st.navigation(list(all_pages().values()))
    with told():  # a view shows the node's errors itself where it can say more; this is for the rest
        with st.container():  # always there, so that what follows keeps its place, and what was typed
            if not node().ready():
                node().jobs(1)  # raises when nobody answers
                _loading()
        page.run()


@st.fragment(run_every=2.0)
def _loading() -> None:
    if node().ready():
        st.rerun()
    st.info("The models are being loaded. The pages open already; a first question may have to wait a little.")


if __name__ == "__main__":
    main()
