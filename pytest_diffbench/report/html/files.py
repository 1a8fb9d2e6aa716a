"""Where a page's pictures go: into the page itself, within a bound, or into files beside it."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Protocol

from pytest_diffbench.errors import DiffbenchError

if TYPE_CHECKING:
    from pathlib import Path

MOST_INLINE_BYTES = 30_000_000
"""Of all pictures and recordings of a page in a single file, as they stand in it."""

DATA = "data"
"""Folder beside a page's `index.html`."""

_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "wav": "audio/wav"}


class Files(Protocol):
    """Takes what a page shows.

    Attributes:
        whole: whether pictures are taken without loss, all of them, and recordings in full.
    """

    whole: bool

    def put(self, data: bytes, kind: str) -> str | None:
        """Take a file; gives its address on the page, or None where there is no room for it."""
        ...


class Inline:
    """Files within the page, as data URLs. Those that come first have room first."""

    whole = False

    def __init__(self, most_bytes: int = MOST_INLINE_BYTES) -> None:
        self._left_bytes = most_bytes

    def put(self, data: bytes, kind: str) -> str | None:
        """See `Files`."""
        address = f"data:{_TYPES[kind]};base64,{base64.b64encode(data).decode()}"
        if len(address) > self._left_bytes:
            return None
        self._left_bytes -= len(address)
        return address


class Beside:
    """Files in a folder beside the page, by their digest, each written once; it is made where it isn't there."""

    whole = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, kind: str) -> str | None:
        """See `Files`.

        Raises:
            DiffbenchError: the folder can't be written.
        """
        name = f"{hashlib.blake2b(data, digest_size=8).hexdigest()}.{kind}"
        path = self._folder / DATA / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(data)
        except OSError as error:
            raise DiffbenchError(
                f"{path}: can't be written ({error.strerror or error}). Name another place."
            ) from None
        return f"{DATA}/{name}"
