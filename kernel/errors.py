"""Every error Reprise raises on purpose.

    RepriseError                     code, message, hint; transient says whether trying again can help
    ├── UserError                    the caller's mistake; exit code 2, HTTP 4xx
    │   ├── NotFound                 no such document, version, example, adapter, run, …      (404)
    │   ├── Conflict                 the name, state or lock is taken                          (409)
    │   ├── Refused                  the platform will not do it: a file, a promote            (422)
    │   │   └── FileRefused          a file that cannot or must not become a document          (422)
    │   └── Unauthorized             a key is asked for and was not given                      (401)
    ├── Failed                       something broke; nothing acknowledged is lost             (500)
    │   ├── DiskFull                 no room to write                                          (507)
    │   ├── IndexMismatch            the index was made by another embedder                    (500)
    │   ├── TrainingFailed           the training process ended badly                          (500)
    │   └── Upstream                 a server we asked did not answer well                     (502)
    └── TryAgain                     lost a race or a lease; the same call may succeed         (503)

A message says what was wrong (with `!r`), and the hint what was expected and what to do. Errors stay picklable.
"""

from __future__ import annotations

import errno
from typing import Any


class RepriseError(Exception):
    """Root of the tree. `code` is stable and lower_snake_case; `hint` tells a person what to do next."""

    code = "error"
    status = 500
    exit_code = 1
    transient = False

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.code))

    def as_json(self) -> dict[str, str]:
        """The shape printed under `--json` and returned over HTTP: code, message, hint."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


def _rebuild(kind: type[RepriseError], message: str, hint: str, code: str) -> RepriseError:
    return kind(message, hint=hint, code=code)


class UserError(RepriseError, ValueError):
    code, status, exit_code = "bad_request", 400, 2


class NotFound(UserError, LookupError):
    code, status = "not_found", 404


class Conflict(UserError):
    code, status = "conflict", 409


class Refused(UserError):
    """The platform understood and will not do it. A refusal is exit code 1: the request was well formed."""

    code, status, exit_code = "refused", 422, 1


class FileRefused(Refused):
    code = "file_refused"


class Unauthorized(UserError):
    code, status = "unauthorized", 401


class Failed(RepriseError, RuntimeError):
    code, status = "failed", 500


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when it cannot write for want of room: a full disk, a quota, a limit on files."""


class DiskFull(Failed):
    code, status = "disk_full", 507


class IndexMismatch(Failed):
    code = "index_mismatch"


class TrainingFailed(Failed):
    code = "training_failed"


class Upstream(Failed):
    code, status = "upstream", 502


class TryAgain(RepriseError):
    code, status, transient = "try_again", 503, True
