"""What a failed benchmark shows in the reports of other plugins: its verdicts, its pictures and the page."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from pytest_diffbench.session.mode import MeasuredCase
    from pytest_diffbench.session.verdicts import Concluded

Extra: TypeAlias = dict[str, str | None]
"""An extra of pytest-html, as its module `extras` makes them."""


def attach(
    config: pytest.Config, concluded: Sequence[Concluded], measured: Sequence[MeasuredCase], page: str | None
) -> list[Extra]:
    """Attach to Allure's test what failed; gives the same as extras for pytest-html. Nothing where neither is there.

    Args:
        config: of the session.
        concluded: cases of a test that is over.
        measured: what they returned, in the same order.
        page: of `--diffbench-report`; None where none is made.
    """
    html_path = getattr(config.option, "htmlpath", None) if config.pluginmanager.hasplugin("html") else None
    allure = bool(getattr(config.option, "allure_report_dir", None))
    extras: list[Extra] = []
    if html_path is None and not allure:
        return extras
    for case, source in zip(concluded, measured, strict=False):
        if case.failure is None:
            continue
        name = case.report.observation.case.id
        if allure:
            _attach_to_allure(name, case.failure, source)
        if html_path is not None:
            extras += [_extra("image", f"{name}: image {i}", png) for i, png in enumerate(_pngs(source))]
    if html_path is not None and page is not None and extras:
        link = os.path.relpath(page, Path(html_path).resolve().parent)
        extras.append({**_extra("url", "diffbench report", None), "content": Path(link).as_posix()})
    return extras


def _pngs(source: MeasuredCase) -> Iterator[bytes]:
    for pixels in source.artifacts.images:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        yield buffer.getvalue()


def _extra(kind: str, name: str, data: bytes | None) -> Extra:
    content = None if data is None else base64.b64encode(data).decode()
    picture = data is not None
    return {
        "name": name,
        "format_type": kind,
        "content": content,
        "mime_type": "image/png" if picture else None,
        "extension": "png" if picture else None,
    }


def _attach_to_allure(name: str, failure: str, source: MeasuredCase) -> None:
    import allure  # type: ignore[import-not-found,unused-ignore]  # there, since its option is

    types: Any = allure.attachment_type
    allure.attach(failure, f"{name}: verdicts", types.TEXT)
    for number, png in enumerate(_pngs(source)):
        allure.attach(png, f"{name}: image {number}", types.PNG)
