"""A verdict as a page shows it."""

from __future__ import annotations

import pytest

from finetune.case import ALL_NEW, FEW, FEW_NEW, TOGETHER, UNSEEN

pytest.importorskip("streamlit")


def test_a_row_that_is_no_slice_has_a_name_for_people() -> None:
    from ui.web.views.verdict import _ROWS

    assert {FEW, FEW_NEW, TOGETHER, ALL_NEW, UNSEEN, "(all)", "(pinned)"} == set(_ROWS)
