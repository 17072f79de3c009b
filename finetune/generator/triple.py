"""The three libraries that train a generator, which are tested together and change together.

Each of them reaches into the others' insides (a renamed attribute of transformers breaks an adapter of PEFT, a moved
method breaks a trainer of TRL), so all three have bounds on both sides. TRL is an extra: who only serves needs none of
it.
"""

from __future__ import annotations

from importlib import metadata

from kernel.errors import UserError

BOUNDS = {"trl": ((1, 16), (2, 0)), "transformers": ((5, 23), (6, 0)), "peft": ((0, 21), (0, 22))}
"""Library to the first release that works and the first that is not tested. pyproject.toml says the same."""

VERSIONS_OF = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "safetensors", "tokenizers", "numpy")
_INSTALL = "pip install 'reprise[generator]'"


def require() -> None:
    """Nothing, if generator adapters can be trained with what is installed.

    Raises:
        UserError: something is missing, or of another release than was tested.
    """
    for name, (first, beyond) in BOUNDS.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError as error:
            raise UserError(
                f"training a generator needs {name!r}, which is not installed", hint=_INSTALL, code="not_installed"
            ) from error
        if not first <= _parts(version) < beyond:
            raise UserError(
                f"training a generator was not tested with {name} {version}",
                hint=f"{_INSTALL} takes the tested release ({_spoken(first)} or later, before {_spoken(beyond)})",
                code="not_installed",
            )


def installed() -> dict[str, str]:
    """Versions of what takes part in a training, of what is there."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in version.split(".")[:2])


def _spoken(parts: tuple[int, ...]) -> str:
    return ".".join(map(str, parts))
