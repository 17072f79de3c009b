"""How the web app is started: the flags of `streamlit run`, and nothing else, so that a launcher may import this."""

from __future__ import annotations

from pathlib import Path

APP = Path(__file__).with_name("app.py")

FLAGS = (
    *("--server.headless", "true"),
    *("--server.fileWatcherType", "none"),
    *("--server.maxUploadSize", "250"),
    *("--browser.gatherUsageStats", "false"),
    *("--client.toolbarMode", "minimal"),
    *("--client.showErrorDetails", "none"),  # details are for the log: a message may hold words of a document
    *("--client.showErrorLinks", "false"),
    *("--theme.light.primaryColor", "#2b6b6e"),
    *("--theme.dark.primaryColor", "#6fb6b4"),
)


def command(python: str, port: int, address: str = "127.0.0.1") -> list[str]:
    """The command line that serves the web app."""
    place = ("--server.port", str(port), "--server.address", address)
    return [python, "-m", "streamlit", "run", str(APP), *place, *_hosts(address), *FLAGS]


def _hosts(address: str) -> tuple[str, ...]:
    """On loopback no other name may lead here: a page on the web could re-point its own (DNS rebinding)."""
    if address not in ("127.0.0.1", "localhost", "::1"):
        return ()
    return ("--server.allowedHosts", "127.0.0.1", "--server.allowedHosts", "localhost")
