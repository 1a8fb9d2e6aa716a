"""The page of a report: what stands on it, in which order, how large it may be, and what it needs to be made."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import subprocess
import sys
import wave
from typing import TYPE_CHECKING, Any

import html_factories as make
import msgspec
import numpy as np
import pytest
import report_factories
import returned_parts as returned
from PIL import Image
from report_records import lumina

from pytest_diffbench.commands import main as cli
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.outputs.kinds import KINDS
from pytest_diffbench.records import Check, OutputDistance, Verification, baseline_of
from pytest_diffbench.records.artifacts import Artifacts, Reference, Sides
from pytest_diffbench.records.details import TraceDetails
from pytest_diffbench.report import session_json
from pytest_diffbench.report.figures import STATUSES
from pytest_diffbench.report.html import charts, page, pictures
from pytest_diffbench.report.html.files import Beside, Inline
from pytest_diffbench.report.html.looks import looks_of
from pytest_diffbench.report.html.svg import element
from pytest_diffbench.store import keep, keep_sides, sides_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def gallery() -> make.Gallery:
    return make.gallery(128)


@pytest.fixture(scope="module")
def text(gallery: make.Gallery) -> str:
    return page.render([gallery.source()], Inline())


def listed(text: str) -> list[tuple[str, str]]:
    """Status and name of each case in the list."""
    rows = re.findall(r'<li data-slug="[^"]*" data-status="([a-z]+)".*?class="name"[^>]*>(.*?)</span>', text)
    return [(status, html.unescape(name)) for status, name in rows]


def test_the_gravest_stand_first_and_every_status_is_there(text: str, gallery: make.Gallery) -> None:
    rows = listed(text)
    assert len(rows) == len(gallery.session.cases)
    assert [STATUSES.index(status) for status, _ in rows] == sorted(STATUSES.index(status) for status, _ in rows)
    assert {status for status, _ in rows} == set(STATUSES) - {"measured"}
    assert rows[1] == ("worse", "test_cfg_trunc[0.5]"), "of several, the one that is worse at most gates"


def test_what_comes_from_outside_is_escaped(text: str) -> None:
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "{{ 7 * 7 }}" in html.unescape(text), "no template is made of it"
    assert text.count("<script>") == text.count("</script>") == 2


def test_the_policy_lets_nothing_in(text: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    policy = html.unescape(policy)
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        for inside in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert not re.search(r'\s(style|on[a-z]+)="', text), "what the policy refuses"
    assert not re.search(r'(src|href)="(?!data:|#)', text)


def test_reason_meaning_remedy_and_commands_are_reported(text: str) -> None:
    plain = html.unescape(re.sub(r"<[^>]*>", "", text))
    for words in (
        "guidance.extra_steps",
        "steps were guided that shouldn't be",
        "Check the truncation condition: step i of N (from 0) is guided where (i + 1) / N <= cfg_trunc_ratio.",
        "pytest --diffbench-weights=mini --diffbench 'benchmarks/test_guidance.py::test_cfg_trunc[0.5]'",
        "pytest --diffbench-weights=mini --diffbench-save 'benchmarks/test_guidance.py::test_new_prompt[a|b]'",
        "torch 2.12.0 -> 2.13.0",
        "truncation 0.5 (calls predict 25 %)",
        "aten::copy_",
        "dominated, 0.7 is faster and more alike",
    ):
        assert words in plain, words


def test_every_kind_of_output_has_a_look(gallery: make.Gallery) -> None:
    case = next(case for case in gallery.session.cases if "every_kind" in case.observation.case.id)
    looks = looks_of(case.observation.output, gallery.sides[case.observation.case.id], None)
    assert {look.kind for look in looks} == set(KINDS)
    film, recording = looks[0], looks[1]
    assert [pair.label for pair in film.worst] == [f"frame {number}" for number in (8, 9, 10, 11)]
    assert film.pairs[film.first].label == "frame 11"
    assert [pair.label for pair in recording.pairs] == ["spectrogram", "waveform"]
    for look in looks:
        for pair in look.pairs:
            assert pair.now is not None
            assert pair.base is not None
            assert pair.now.dtype == np.uint8
            assert pair.now.shape == pair.base.shape


def test_sides_are_drawn_on_a_shared_scale() -> None:
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4, 1)
    parts = [returned.read("prediction", array[None].astype(np.float64))[0].kept for array in (values, values * 0.5)]
    first, second = KINDS["map"].pictures(parts)
    assert first is not None
    assert second is not None
    assert (int(first.max()), int(second.max())) == (255, 128)


def test_differences_in_colour_and_the_place_of_the_largest() -> None:
    base = np.full((130, 200, 3), 40, np.uint8)
    now = base.copy()
    now[70:90, 140:150, 1] = 44
    now[75, 145, 2] = 255
    levels = pictures.levels_between(now, base)
    assert levels is not None
    assert (levels[0, 0], levels[71, 141], levels[75, 145]) == (0, 4, 215)
    assert pictures.worst_area(levels) == pictures.Area(128, 64, 64, 64)
    heat = pictures.heat_map(levels)
    with Image.open(io.BytesIO(heat.data)) as image:
        brightness = np.asarray(image.convert("L")).astype(int)
    assert brightness[0, 0] < brightness[71, 141] < brightness[75, 145]
    assert pictures.levels_between(now, base[:-1]) is None


def test_a_reduced_heat_map_keeps_a_single_pixel() -> None:
    levels = np.zeros((1500, 1200), np.uint8)
    levels[777, 333] = 255
    heat = pictures.heat_map(levels)
    with Image.open(io.BytesIO(heat.data)) as image:
        assert max(image.size) <= 512
        assert int(np.asarray(image).max()) == 255
    assert (heat.width_px, heat.height_px, heat.exact) == (1200, 1500, False)


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
@pytest.mark.parametrize("side_px", [16, 400])
def test_pictures_are_whole_if_small_or_required(side_px: int, channels: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (side_px, side_px, *channels), np.uint8)
    for whole in (False, True):
        done = pictures.encoded(picture, whole=whole)
        assert done.exact == (whole or picture.size <= 256 * 256 * 3)
        with Image.open(io.BytesIO(done.data)) as image:
            if done.exact:
                assert (np.array(image) == picture.squeeze()).all()


def test_a_recording_is_a_wave_file() -> None:
    samples = np.stack([np.linspace(-1, 1, 1600), np.full(1600, 1.5)]).astype(np.float32)
    with wave.open(io.BytesIO(pictures.wav(samples, 16000.0))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 16000, 1600)
        frames = np.frombuffer(file.readframes(1600), "<i2").reshape(-1, 2)
    assert (frames[0, 0], frames[-1, 0], frames[0, 1]) == (-32767, 32767, 32767)
    assert len(pictures.wav(samples, 16000.0, most_bytes=400)) <= 444


def test_a_loud_note_is_bright_at_the_right_place() -> None:
    time_s = np.arange(16000) / 16000
    note = np.sin(2 * np.pi * 4000 * time_s).astype(np.float32)[None]
    loud, quiet = pictures.spectrograms([note, note * 0.01])
    row = int(loud.mean(axis=1).argmax())
    assert row == pytest.approx(64, abs=2), "half of the highest note, counted from the top"
    assert loud.max() == 255
    assert int(loud.max()) - int(quiet.max()) == pytest.approx(40 / 80 * 255, abs=2)


def test_a_page_is_bounded_and_what_fails_has_room_first() -> None:
    large = make.many(60, 10, 96)
    text = page.render([large.source()], Inline(250_000))
    shown = sum(len(address) for address in re.findall(r'src="(data:[^"]*)"', text))
    assert shown <= 3 * 250_000, "thumbnails repeat a picture"
    assert "Left out to keep this page small" in text
    first, *_, last = re.findall(r'<article class="case is-([a-z]+)".*?</article>', text, re.DOTALL)
    assert (first, last) == ("worse", "same")
    articles = re.findall(r"<article.*?</article>", text, re.DOTALL)
    assert "heat map" in articles[0]
    assert "data:image" not in articles[-1]


def test_passing_cases_beyond_a_number_have_tables() -> None:
    text = page.render([make.many(70, 2, 32).source()], Inline())
    articles = re.findall(r"<article.*?</article>", text, re.DOTALL)
    assert sum("data:image" in article for article in articles) == 2 + 60
    assert all("<table" in article for article in articles)


def test_a_folder_has_every_picture_once_and_whole(tmp_path: Path) -> None:
    few = make.many(12, 3, 300)
    index = page.write(tmp_path / "report", [few.source()])
    assert index == tmp_path / "report" / "index.html"
    text = index.read_text(encoding="utf-8")
    files = {path.name for path in (tmp_path / "report" / "data").iterdir()}
    assert set(re.findall(r'src="data/([^"]*)"', text)) == files
    assert "data:image" not in text
    shown = re.findall(r'src="data/([^"]*)"', "".join(re.findall(r"<article.*?</article>", text, re.DOTALL)))
    assert all(name.endswith(".png") for name in shown), "those in lists aside"


def test_lists_show_small_copies_of_a_large_picture(tmp_path: Path) -> None:
    index = page.write(tmp_path / "report", [make.many(3, 1, 300).source()])
    lists = re.sub(r"<article.*?</article>", "", index.read_text(encoding="utf-8"), flags=re.DOTALL)
    sides_px = set()
    for name in re.findall(r'src="data/([^"]*)"', lists):
        with Image.open(index.parent / "data" / name) as picture:
            sides_px.add(max(picture.size))
    assert sides_px == {128}


def test_a_case_named_twice_has_two_links() -> None:
    twice = report_factories.report(lumina("test_twice"))
    sources = [page.SessionSource(report_factories.session(twice, twice), lambda *_: Sides(), "first")]
    text = page.render(
        [*sources, page.SessionSource(report_factories.session(twice), lambda *_: Sides(), "second")], Inline()
    )
    slugs = re.findall(r'<article class="[^"]*" id="([^"]*)"', text)
    assert len(set(slugs)) == 3
    assert slugs[1] == f"{slugs[0]}-2"
    assert "first" in text
    assert "second" in text


@pytest.mark.parametrize(
    "session", [report_factories.empty, report_factories.interrupted, report_factories.all_pass, report_factories.red]
)
def test_any_session_makes_a_page(session: Any) -> None:
    rendered = page.render([page.SessionSource(session(), lambda *_: Sides())], Inline())
    assert rendered.startswith("<!DOCTYPE html>")
    if session is report_factories.red:
        assert "2 failed" in rendered
        assert "weren&#39;t at hand" in rendered


def test_what_is_wrong_without_a_baseline_is_on_the_page() -> None:
    check = Check(
        code="batch.prompts",
        answer="broken",
        distance=OutputDistance(distance_rel=0.03, limit_rel=1e-4),
        where=("sample 0",),
    )
    verification = Verification(
        pipeline="<b>CogView4Pipeline</b>",
        test="test_verify.py::test_sound",
        arguments={},
        seed=0,
        calls=25,
        duration_s=8.0,
        digest=None,
        rounding_rel=None,
        checks=(check, msgspec.structs.replace(check, code="batch.order", waived="known upstream")),
        software={},
    )
    session = msgspec.structs.replace(report_factories.empty(), verifications=(verification,))
    text = " ".join(page.render([page.SessionSource(session, lambda *_: Sides())], Inline()).split())
    for part in (
        "<h1>1 of 1 pipeline is wrong without any baseline</h1>",
        "Verified without a baseline",
        "&lt;b&gt;CogView4Pipeline&lt;/b&gt;: 1 broken, 1 waived",
        "3 % apart, limit 0.01 %",
        "Mask the padding of the shorter prompt",
        "accepted: known upstream",
    ):
        assert part in text, part


def test_an_unwritable_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sources = [page.SessionSource(report_factories.empty(), lambda *_: Sides())]
    for path in (tmp_path / "file" / "report.html", tmp_path / "file"):
        with pytest.raises(DiffbenchError, match=r"can't be written .* Name another place"):
            page.write(path, sources)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_curves_show_where_calls_part() -> None:
    series = tuple((f"latents/{step}", 10.0 ** (step - 6)) for step in range(5))
    drawn = charts.divergence(TraceDetails(place="latents/3", threshold_rel=0.005, series=series))
    assert drawn is not None
    heights = [float(down) for down in re.findall(r'cy="([\d.]+)"', drawn)]
    assert len(heights) == 5
    assert heights == sorted(heights, reverse=True)
    (limit,) = re.findall(r'y1="([\d.]+)"[^>]*class="limit"', drawn)
    assert heights[3] > float(limit) > heights[4]
    assert charts.divergence(TraceDetails(series=(("latents/0", 0.0),))) is None


def test_elements_are_escaped() -> None:
    drawn = element("text", "<b>&", element("title", '"'), x=1.5, aria_label='a"b<', y=None)
    assert drawn == '<text x="1.5" aria-label="a&quot;b&lt;">&lt;b&gt;&amp;<title>&quot;</title></text>'


def test_both_sides_are_kept_and_read_back(tmp_path: Path) -> None:
    base, now = make.painted(0), make.moved(make.painted(0))
    then, after = make.imaged(lumina("test_it"), base), make.imaged(lumina("test_it"), now)
    baseline = baseline_of(then, report_factories.past_runs(then))
    reference = Reference(baseline, "machine", "baselines/x", lambda: Artifacts(images=(base,)))
    keep_sides(tmp_path, after, Artifacts(images=(now,)), reference)
    sides = sides_of([tmp_path], after)
    assert sides.baseline == baseline
    assert (sides.now.images[0] == now).all()
    assert (sides.base.images[0] == base).all()
    keep_sides(tmp_path, then, Artifacts(images=(base,)), reference)
    same = sides_of([tmp_path], then)
    assert same.now is same.base
    assert sides_of([tmp_path], after, arrays=False) == Sides(baseline=baseline)
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"damaged")
    assert sides_of([tmp_path], after) == Sides(baseline=baseline), "figures are shown all the same"


def test_the_command_makes_a_page_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = make.painted(0)
    case = report_factories.report(make.imaged(lumina("test_it"), picture))
    (tmp_path / "s.json").write_bytes(session_json.dump(report_factories.session(case)))
    keep(tmp_path / "images", case.observation.output, Artifacts(images=(picture,)))
    page_path = tmp_path / "made" / "report.html"
    images = f"--images={tmp_path / 'images'}"
    assert cli.main(["report", str(tmp_path / "s.json"), images, "-o", str(page_path)]) == 0
    assert capsys.readouterr().out == f"{page_path}\n"
    assert "data:image" in page_path.read_text(encoding="utf-8")
    assert cli.main(["report", str(tmp_path / "s.json"), "--images=absent", "-o", str(page_path)]) == 2
    assert "--images absent: isn't a folder" in capsys.readouterr().err


def test_the_page_is_written_where_torch_and_pytest_are_absent(tmp_path: Path) -> None:
    session = msgspec.structs.replace(report_factories.red(), finished="2025-06-03T09:15:31+00:00")
    (tmp_path / "s.json").write_bytes(session_json.dump(session))
    code = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'transformers', 'pytest', '_pytest'): sys.modules[name] = None\n"
        "from pytest_diffbench.commands import main\n"
        f"print(main.main(['report', {str(tmp_path / 's.json')!r}, '-o', {str(tmp_path / 'r.html')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("0\n"), done.stderr
    assert (tmp_path / "r.html").stat().st_size > 50_000


def test_files_beside_a_page_are_written_once(tmp_path: Path) -> None:
    files = Beside(tmp_path)
    assert files.put(b"abc", "png") == files.put(b"abc", "png")
    assert len(list((tmp_path / "data").iterdir())) == 1
