"""The cluster's files agree with the code: commands, settings, secrets. No engine is needed to see that."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kernel.celery_app import QUEUES
from kernel.settings import Settings

OURS = "reprise:"
SECRETS = re.compile(r"PASSWORD|API_KEY|SECRET|TOKEN")
REQUIRED = re.compile(r"\$\{\w+:\?[^}]+\}")


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((root / "docker" / "compose.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "docker" / "Dockerfile").read_text()


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"].startswith(OURS)}


def test_every_process_of_the_cluster_is_there(compose: dict[str, Any]) -> None:
    assert set(ours(compose)) == {"api", "worker", "trainer", "beat", "web"}
    assert set(compose["services"]) - set(ours(compose)) == {"qdrant", "redis", "postgres"}


def test_every_command_is_one_of_the_command_line(compose: dict[str, Any], parses: Callable[[str], None]) -> None:
    for service in ours(compose).values():
        parses(" ".join(["reprise", *service["command"]]))


def test_every_queue_has_a_worker(compose: dict[str, Any]) -> None:
    commands = [service["command"] for service in ours(compose).values() if service["command"][0] == "worker"]
    assert sorted(queue for command in commands for queue in command[2].split(",")) == sorted(QUEUES)


def test_every_variable_is_a_setting(compose: dict[str, Any], dockerfile: str, root: Path) -> None:
    known = {f"REPRISE_{name.upper()}" for name in Settings.model_fields}
    set_by_services = {name for service in ours(compose).values() for name in service["environment"]}
    set_by_image = set(re.findall(r"\b(REPRISE_\w+)=", dockerfile))
    in_example = set(re.findall(r"\b(REPRISE_\w+)=", (root / "docker" / ".env.example").read_text()))
    interpolated = set(re.findall(r"\$\{(REPRISE_\w+)", (root / "docker" / "compose.yaml").read_text()))
    assert set_by_services | set_by_image | in_example | interpolated <= known


def test_all_workers_and_the_api_see_the_same_data(compose: dict[str, Any]) -> None:
    names = ("REPRISE_HOME", "REPRISE_DATABASE_URL", "REPRISE_QDRANT_URL", "REPRISE_BROKER_URL")
    parts = [
        [ours(compose)[service]["environment"][name] for name in names]
        for service in ("api", "worker", "trainer", "beat")
    ]
    assert all(part == parts[0] for part in parts)
    assert all("home:/data" in service["volumes"] for service in ours(compose).values())


def test_no_secret_has_a_default(compose: dict[str, Any], root: Path) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if SECRETS.search(variable):
                assert REQUIRED.fullmatch(value), f"{name}: {variable}"
            elif "://" in str(value) and "@" in value:
                assert REQUIRED.search(value.partition("://")[2].partition("@")[0]), f"{name}: {variable}"
    for line in (root / "docker" / ".env.example").read_text().splitlines():
        if SECRETS.search(line.partition("=")[0]) and not line.startswith("#"):
            assert line.endswith("="), line


def test_ports_are_bound_to_this_machine(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) == {"api", "web"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_images_of_others_are_pinned_to_a_release(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+", service["image"]), name


def test_the_images_version_is_the_projects(compose: dict[str, Any]) -> None:
    from importlib.metadata import version

    assert {service["image"] for service in ours(compose).values()} == {f"{OURS}{version('reprise')}"}


def test_the_image_runs_the_command_line_as_an_ordinary_user(dockerfile: str, parses: Callable[[str], None]) -> None:
    runtime = dockerfile.split("\nFROM ")[-1]
    assert re.search(r'^ENTRYPOINT \["reprise"\]$', runtime, re.MULTILINE)
    assert re.search(r"^USER (?!root|0\b)\S+$", runtime, re.MULTILINE)
    assert "/healthz" in re.search(r"^HEALTHCHECK .*?\n    CMD .*$", runtime, re.MULTILINE).group()  # type: ignore[union-attr]
    command = re.search(r'^CMD \["(.*)"\]$', runtime, re.MULTILINE)
    assert command is not None
    parses(f"reprise {command[1]}")


def test_what_the_image_copies_is_there_and_let_through(dockerfile: str, root: Path) -> None:
    allowed = set(re.findall(r"^!(.+)$", (root / "docker" / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert all((root / source).exists() for source in copied)


def test_compose_itself_takes_the_file(root: Path) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker client with the compose plugin")
    command = ["docker", "compose", "-f", str(root / "docker" / "compose.yaml"), "config", "-q"]
    secrets = {"POSTGRES_PASSWORD": "x", "REPRISE_API_KEY": "y"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**_path(), **secrets})
    assert done.returncode == 0, done.stderr
    missing = subprocess.run(command, capture_output=True, text=True, check=False, env=_path())
    assert missing.returncode != 0


def _path() -> dict[str, str]:
    import os

    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
