"""Entry of the web app: `streamlit run ui/web/app.py`. It asks whether the node is there, then shows a page."""

from __future__ import annotations

import streamlit as st

from ui.web import look
from ui.web.client import node, told
from ui.web.pages import all_pages


def main() -> None:
    st.set_page_config(page_title="Reprise", page_icon=":material/replay:", layout="wide")
    st.html(look.CSS)
    st.logo(_LOGO, size="large")
    page = st.navigation(list(all_pages().values()))
    with told():  # a view shows the node's errors itself where it can say more; this is for the rest
        if not node().ready():
            node().jobs(1)  # raises when nobody answers
            _loading()
        page.run()


@st.fragment(run_every=2.0)
def _loading() -> None:
    if node().ready():
        st.rerun()
    st.info("The models are being loaded. The pages open already; a first question may have to wait a little.")


_LOGO = (
    "data:image/svg+xml;utf8,"
    "<svg xmlns='http://www.w3.org/2000/svg' width='150' height='32' viewBox='0 0 150 32'>"
    "<g fill='none' stroke='%232b8a86' stroke-width='2.6' stroke-linecap='round'>"
    "<path d='M6 12a11 11 0 0 1 19-2'/><path d='M26 20a11 11 0 0 1-19 2'/><path d='M25 4v6h-6'/><path d='M7 28v-6h6'/></g>"
    "<text x='38' y='22.5' font-family='Source Sans,sans-serif' font-size='19' font-weight='600' fill='%232b8a86'>"
    "Reprise</text></svg>"
)

if __name__ == "__main__":
    main()
