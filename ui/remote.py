"""The platform over HTTP: the same methods as `ui.platform.Platform`, for the command line and the web app."""

from __future__ import annotations

from ui.over_http.advice import Advice
from ui.over_http.documents import Documents
from ui.over_http.examples import Examples
from ui.over_http.judging import Judging
from ui.over_http.lineage import Lineage
from ui.over_http.merging import Merging
from ui.over_http.people import People
from ui.over_http.questions import Questions
from ui.over_http.rehearsal import Rehearsal
from ui.over_http.rejudging import Rejudging
from ui.over_http.rollout import Rollout
from ui.over_http.schedules import Schedules
from ui.over_http.tuning import Tuning
from ui.over_http.upkeep import Upkeep
from ui.over_http.versions import Versions
from ui.over_http.watches import Watches


class Remote(
    Documents, Versions, Watches, Tuning, Questions, People,
    Examples, Rehearsal, Schedules, Rollout, Lineage, Merging, Advice, Judging, Rejudging, Upkeep,
):  # fmt: skip
    """A node's operations by URL. Raises the same errors the node raised."""
