"""The platform over HTTP: the same methods as `ui.platform.Platform`, for the command line and the web app."""

from __future__ import annotations

from ui.over_http.documents import Documents
from ui.over_http.merging import Merging
from ui.over_http.people import People
from ui.over_http.questions import Questions
from ui.over_http.tuning import Tuning
from ui.over_http.upkeep import Upkeep
from ui.over_http.versions import Versions
from ui.over_http.watches import Watches


class Remote(Documents, Versions, Watches, Tuning, Questions, People, Merging, Upkeep):
    """A node's operations by URL. Raises the same errors the node raised."""
