"""The HTTP server: uvicorn, which tells the application when it is to stop, so that streams end by themselves."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI


class Server(uvicorn.Server):
    """Serves an application of `ui.api.app`, with options as for `uvicorn.Config`."""

    def __init__(self, app: FastAPI, **config: Any) -> None:
        # Handlers log their own errors; uvicorn's access log would only repeat every poll of the web app.
        super().__init__(uvicorn.Config(app, **{"log_level": "warning"} | config))
        app.state.closing = lambda: self.should_exit
