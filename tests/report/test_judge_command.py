"""`diffbench judge`: images are compared where they are at hand, and where they aren't that is no success."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import report_factories as make
import report_records

from pytest_diffbench.commands import main as cli
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records import ImageFacts
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report import session_json
from pytest_diffbench.store import Store, keep

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_diffbench.records import Observation, SessionReport

PICTURE = np.random.default_rng(0).integers(30, 220, (128, 128, 3), dtype=np.uint8)
NEAR = PICTURE + (np.indices(PICTURE.shape).sum(axis=0) % 5 == 0).astype(np.uint8)
FAR = PICTURE[::-1].copy()

WORSE, UNUSABLE, UNJUDGED = 1, 2, 3


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")


def of(*pixels: NDArray[np.uint8], name: str = "t") -> Observation:
    """A case that returned these images."""
    observation = report_records.flux(name)
    assert observation.output is not None
    images = tuple(
        ImageFacts(
            width_px=image.shape[1], height_px=image.shape[0], mode="RGB", constant=False, digest=image_digest(image)
        )
        for image in pixels
    )
    return msgspec.structs.replace(observation, output=msgspec.structs.replace(observation.output, images=images))


class Files:
    """Sessions' files, each in a folder of its own, with or without their images."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, *cases: Observation, images: str | None = None, **changed: Any) -> str:
        session: SessionReport = make.session(*map(make.report, cases), **changed)
        if images is not None:
            session = msgspec.structs.replace(session, settings=session.settings | {"images": images})
        path = self.root / name / "session.json"
        session_json.write(path, session)
        return str(path)

    def keep(self, name: str, *pixels: NDArray[np.uint8]) -> str:
        for image in pixels:
            keep(self.root / name, of(image).output, Artifacts(images=(image,)))
        return str(self.root / name)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_differing_images_out_of_reach_are_no_success(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = files.write("old", of(PICTURE)), files.write("new", of(FAR))
    assert cli.main(["judge", new, old]) == UNJUDGED
    out = capsys.readouterr().out
    assert "output.not_kept" in out
    assert "not judged" in out
    assert "the output can't be judged from this file: The images differ, but their pixels were not kept" in out
    assert "--images FOLDER, or leave the gate out: --gates work,guidance,memory,time." in out
    assert cli.main(["judge", new, old, "--gates", "work,guidance,memory,time"]) == 0
    assert "not judged" not in capsys.readouterr().out
    assert cli.main(["judge", new, old, "--gates", "output"]) == UNJUDGED
    assert "leave the gate out" not in capsys.readouterr().out


def test_equal_digests_need_no_images(files: Files) -> None:
    path = files.write("one", of(PICTURE))
    assert cli.main(["judge", path, path]) == 0


@pytest.mark.parametrize(("pixels", "status"), [(NEAR, 0), (FAR, WORSE)])
def test_images_at_hand_are_compared(
    pixels: NDArray[np.uint8], status: int, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = files.write("old", of(PICTURE)), files.write("new", of(pixels))
    new_folder, old_folder = files.keep("mine", pixels), files.keep("theirs", PICTURE)
    assert cli.main(["judge", new, old, "--images", new_folder, "--images", old_folder]) == status
    assert ("output.differs" if status else "output.within_tolerance") in capsys.readouterr().out
    assert cli.main(["judge", new, old, "--images", new_folder]) == UNJUDGED  # one side alone
    assert cli.main(["judge", new, old, "--images", old_folder]) == UNJUDGED


def test_images_beside_the_session_are_located(files: Files) -> None:
    old = files.write("old", of(PICTURE), images="/where/it/ran/kept")
    new = files.write("new", of(FAR), images=files.keep("elsewhere", FAR))
    assert cli.main(["judge", new, old]) == UNJUDGED
    files.keep("old/kept", PICTURE)
    assert cli.main(["judge", new, old]) == WORSE


@pytest.mark.parametrize("as_old", [True, False])
def test_baselines_hold_images_and_may_be_judged_against(
    as_old: bool, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    root = files.root / "baselines"
    Store(root).save(of(PICTURE), Artifacts(images=(PICTURE,)), None, False)
    new, new_folder = files.write("new", of(FAR)), files.keep("mine", FAR)
    old = [str(root)] if as_old else [files.write("old", of(PICTURE)), "--images", str(root)]
    assert cli.main(["judge", new, *old, "--images", new_folder]) == WORSE
    assert "output.differs" in capsys.readouterr().out
    assert cli.main(["judge", new, *old]) == UNJUDGED
    same = files.write("same", of(PICTURE))
    assert cli.main(["judge", same, *old]) == 0


def test_images_are_never_mixed_up(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Baselines that hold the case with other pixels are passed over; a kept file that changed is refused."""
    root = files.root / "baselines"
    Store(root).save(of(NEAR), Artifacts(images=(NEAR,)), None, False)
    old, new = files.write("old", of(PICTURE)), files.write("new", of(FAR))
    new_folder = files.keep("mine", FAR)
    assert cli.main(["judge", new, old, "--images", new_folder, "--images", str(root)]) == UNJUDGED
    old_folder = files.root / "theirs"
    keep(old_folder, of(PICTURE).output, Artifacts(images=(PICTURE,)))
    kept = next(old_folder.iterdir())
    other = files.root / "mine" / f"{image_digest(FAR)}.png"
    kept.write_bytes(other.read_bytes())
    capsys.readouterr()
    assert cli.main(["judge", new, old, "--images", new_folder, "--images", str(old_folder)]) == UNUSABLE
    assert "isn't the image whose digest is its name" in capsys.readouterr().err


def test_of_several_images_all_have_to_be_there(files: Files) -> None:
    old, new = files.write("old", of(PICTURE, NEAR)), files.write("new", of(PICTURE, FAR))
    folder = files.keep("kept", PICTURE, FAR)
    assert cli.main(["judge", new, old, "--images", folder]) == UNJUDGED
    files.keep("kept", NEAR)
    assert cli.main(["judge", new, old, "--images", folder]) == WORSE


def test_what_is_worse_goes_before_what_is_not_judged(files: Files) -> None:
    worse = of(PICTURE, name="a")
    assert worse.work is not None
    more = msgspec.structs.replace(worse.work, component_calls=worse.work.component_calls | {"vae.decode": 9})
    old = files.write("old", of(PICTURE, name="a"), of(PICTURE, name="b"))
    new = files.write("new", msgspec.structs.replace(worse, work=more), of(FAR, name="b"))
    assert cli.main(["judge", new, old]) == WORSE


def test_a_differently_defined_case_is_not_judged(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    observation = of(PICTURE)
    definition = msgspec.structs.replace(observation.case.definition, seed=77)
    other = msgspec.structs.replace(
        observation, case=msgspec.structs.replace(observation.case, definition=definition)
    )
    assert cli.main(["judge", files.write("new", other), files.write("old", observation)]) == UNJUDGED
    assert "can't be judged: the definitions of the case differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gates", "work,colour"], "is one of work, guidance, output, memory, time, not 'work,colour'"),
        (["--gates", ","], "is a list of gates, separated by commas"),
        (["--images", "nowhere"], "--images nowhere: isn't a folder"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.write("one", of(PICTURE))
    assert cli.main(["judge", path, path, *arguments]) == UNUSABLE
    assert said in capsys.readouterr().err


def test_baselines_of_other_tests_are_no_success(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    (files.root / "baselines").mkdir()
    assert cli.main(["judge", files.write("new", of(PICTURE)), str(files.root / "baselines")]) == UNUSABLE
    assert "none of its 1 cases has a baseline in" in capsys.readouterr().err
