"""The embedded node: one process that owns the index and hosts the HTTP API, the Celery worker threads and beat.

Streamlit is a second process and talks to the node over HTTP only. Models load in the background: health checks answer
at once, `/readyz` says when questions do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery

from ingest import sources
from ingest.events import Events
from kernel.celery_app import QUEUES, beat_scheduler, deliver, make_app
from kernel.errors import UserError
from kernel.leases import acquire
from kernel.settings import Settings
from kernel.tables import Fact
from ui.home import HomeLock
from ui.platform import GUIDE, Platform, wait_for
from ui.wiring import Wired, guide_folder

log = logging.getLogger(__name__)
BEAT = "beat"
LOADING_S = 30.0
"""How long a process that ends waits for its models: torch does not survive a thread of it that is cut off."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WEB_FLAGS = (
    "--server.headless=true",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
    "--client.toolbarMode=minimal",
    "--client.showErrorLinks=false",
    "--theme.light.primaryColor=#2b6b6e",
    "--theme.dark.primaryColor=#6fb6b4",
)


class Workers:
    """Celery worker threads, beat, and an ear for folder events inside this process, on the in-process broker."""

    def __init__(self, platform: Platform) -> None:
        settings, ledger = platform.settings, platform.w.ledger
        self._platform = platform
        self.app: Celery = make_app(settings, ledger.run, platform.tick)
        ledger.deliver = deliver(self.app)
        self._worker: Any = None
        self._beat: Any = None
        watches = platform.w.watches
        self.events = Events(watches.folders, platform.hint_look, settings.home)
        watches.changed = self.events.refresh

    def start(self) -> None:
        from celery.beat import EmbeddedService

        self._worker = self.app.WorkController(
            pool_cls="threads",
            concurrency=self._platform.settings.threads,
            queues=list(QUEUES),
            hostname=f"node@{socket.gethostname()}",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            loglevel="WARNING",
        )
        threading.Thread(target=self._worker.start, name="celery-worker", daemon=True).start()
        wired, tick = self._platform.w, self._platform.settings.tick_seconds
        may_beat = partial(acquire, wired.db, BEAT, wired.owner, max(wired.settings.lease_seconds, 3 * tick))
        self._beat = EmbeddedService(self.app, max_interval=1, thread=True, scheduler_cls=beat_scheduler(may_beat))
        self._beat.start()
        self.events.start()

    def stop(self) -> None:
        self.events.stop()
        if self._beat is not None:
            self._beat.stop()
        if self._worker is not None:
            self._worker.stop()


class Node:
    """A started node. `close` stops it cleanly."""

    def __init__(self, settings: Settings, *, guide: bool = True) -> None:
        self.settings = settings
        self.lock = HomeLock(settings.home, wait=3.0)
        try:
            self.wired = Wired(settings)
            self.platform = Platform(self.wired)
            self.wired.recover()
            self.workers = Workers(self.platform)
            self.workers.start()
            self.wired.ledger.sweep(orphaned=True)
        except BaseException:
            self.lock.release()
            raise
        self._loaded = threading.Event()
        self._loader = threading.Thread(target=self._load, name="load-models", daemon=True)
        self._loader.start()
        if guide:
            self._ingest_guide()

    @property
    def ready(self) -> bool:
        return self._loaded.is_set()

    def close(self) -> None:
        self.wired.ledger.hand_back()
        self.workers.stop()
        self._loader.join(LOADING_S)
        self.wired.close()
        self.lock.release()

    def _load(self) -> None:
        try:
            self.wired.embedder.load()
            self.wired.lending.warm()
        except Exception:
            log.exception("the models could not be loaded; questions will say why")
        self._loaded.set()

    def _ingest_guide(self) -> None:
        """On a home's first start only: a guide that a person deleted stays deleted."""
        with self.wired.db.write() as session:
            if session.get(Fact, "guide") is not None:
                return
            session.add(Fact(key="guide", value={"offered": True}))
        folder = guide_folder()
        if folder.is_dir():
            self.platform.enqueue_ingest(sources.read([str(folder)], workspace=GUIDE))


def serve(settings: Settings, *, web: bool, guide: bool, announce: Any) -> None:
    """Run a node, and the web app beside it, until interrupted. Calls `announce(api, web)` when both answer."""
    from ui.api.app import make_app as make_api
    from ui.api.server import Server

    check_exposure(settings)
    api_socket = bind(settings.api_host, settings.api_port)
    try:
        node = Node(settings, guide=guide)
    except BaseException:
        api_socket.close()
        raise
    web_process: subprocess.Popen[bytes] | None = None
    try:
        api = make_api(node.platform)
        api.state.ready = lambda: node.ready
        server = Server(api, timeout_graceful_shutdown=3)
        api_url = _url(settings.api_host, api_socket)
        web_url = None
        if web:
            web_process, web_url = start_web(settings, api_url)
        node.lock.announce(api=api_url, web=web_url)

        def when_ready() -> None:
            wait_for(lambda: server.started, 60, 0.05)
            if web_process is not None and not wait_for(lambda: _answers(str(web_url), web_process), 60, 0.1):
                log.error("the web app did not start; the API is at %s", api_url)
            announce(api_url, web_url)

        threading.Thread(target=when_ready, name="announce", daemon=True).start()
        with _terminate_as_interrupt():
            server.run(sockets=[api_socket])
    finally:
        if web_process is not None:
            stop_process(web_process)
        node.close()
        api_socket.close()


def check_exposure(settings: Settings) -> None:
    """Raises:
    UserError: the API would answer to other machines and ask nobody for a key.
    """
    if settings.api_host not in LOOPBACK and settings.api_key is None:
        raise UserError(
            f"the API would be open to everybody who can reach {settings.api_host}",
            hint="set REPRISE_API_KEY, or keep REPRISE_API_HOST at 127.0.0.1",
            code="no_key",
        )


def start_web(settings: Settings, api_url: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start Streamlit on the settings' port; its process and URL."""
    free = bind(settings.api_host, settings.web_port)
    port = free.getsockname()[1]
    free.close()  # Streamlit binds itself; another process could take the port in between, and would be told so
    script = Path(__file__).parent / "web" / "app.py"
    environment = os.environ | {"REPRISE_API": api_url}
    if settings.api_key:
        environment["REPRISE_API_KEY"] = settings.api_key
    command = [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}"]
    command += [f"--server.address={settings.api_host}", f"--server.maxUploadSize={settings.max_upload_mb}", *WEB_FLAGS]
    if settings.api_host in LOOPBACK:  # a name that was re-pointed to loopback (DNS rebinding) is refused
        command += ["--server.allowedHosts=127.0.0.1", "--server.allowedHosts=localhost"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return process, f"http://{_shown(settings.api_host)}:{port}"


def stop_process(process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def bind(host: str, port: int) -> socket.socket:
    """A listening-to-be socket, bound before anything heavy starts, so that a taken port is said at once."""
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it every answer waits 40 ms for an ACK.
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise UserError(
            f"port {port} on {host} cannot be used: {error.strerror or error}",
            hint="another program has it; give another with --port or --web-port, or 0 for any free one",
            code="port_in_use",
        ) from error
    return bound


def _url(host: str, bound: socket.socket) -> str:
    return f"http://{_shown(host)}:{bound.getsockname()[1]}"


def _shown(host: str) -> str:
    """The host a browser on this machine can open."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    import httpx

    if process.poll() is not None:
        return False
    try:
        return httpx.get(f"{url}/_stcore/health", timeout=1, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """uvicorn re-raises the signal that stopped it; swallow that, so that a stop is exit code 0 and cleans up."""
    previous = (
        signal.signal(signal.SIGTERM, lambda _s, _f: None),
        signal.signal(signal.SIGINT, lambda _s, _f: None),
    )
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous[0])
        signal.signal(signal.SIGINT, previous[1])
