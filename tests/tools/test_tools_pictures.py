"""The pictures and captions that the minis learn from: captions tell the truth, and chance is all in the seed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import get_args

import numpy as np
import pytest
from minis import pictures
from minis.pictures import COLOURS, SHAPES, SIDE_PX, DrawnObject, Scene, Style

STYLES: tuple[Style, ...] = get_args(Style)
MIDDLE_PX = SIDE_PX / 2

_OBJECT = rf"(?:(?P<size>small|medium|large) )?(?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)})"
_PLACE = r"(?P<place>in the center|on the (?:left|right)|at the (?:top|bottom)(?: (?:left|right))?)"
_GROUND = rf"an? (?P<ground>{'|'.join(COLOURS)}) background"
CAPTION = re.compile(rf"(?:a picture of )?an? {_OBJECT}(?: {_PLACE})?(?: on {_GROUND})?")
BARE_CAPTION = re.compile(rf"{_OBJECT}, (?P<ground>{'|'.join(COLOURS)}) background")
PAIR_CAPTION = re.compile(
    rf"an? (?P<colour>\w+) (?P<shape>\w+) (?P<relation>left of|above|and) an? (?P<colour2>\w+) (?P<shape2>\w+)"
    rf" on {_GROUND}"
)


def drawn_by_lot(count: int, objects: int, seed: int = 1) -> list[tuple[Scene, str]]:
    rng = np.random.default_rng(seed)
    scenes = [pictures.scene(rng, objects=objects) for _ in range(count)]
    return [(scene, pictures.caption(scene, rng)) for scene in scenes]


def facts_in(caption: str) -> dict[str, str]:
    """What a caption of one object names."""
    match = CAPTION.fullmatch(caption) or BARE_CAPTION.fullmatch(caption)
    assert match, caption
    return {name: value for name, value in match.groupdict().items() if value}


def test_captions_of_a_single_object_tell_the_truth() -> None:
    for scene, caption in drawn_by_lot(3000, objects=1):
        facts, (drawn_object,) = facts_in(caption), scene.objects
        assert (facts["colour"], facts["shape"]) == (drawn_object.colour, drawn_object.shape), caption
        assert facts.get("ground", scene.ground) == scene.ground, caption
        range_px = {"small": (0, 23), "medium": (26, 34), "large": (38, 50), None: (0, 50)}[facts.get("size")]
        assert range_px[0] < drawn_object.radius_px < range_px[1], caption
        if "place" in facts:
            words = set(facts["place"].split())
            right, down = drawn_object.x_px - MIDDLE_PX, drawn_object.y_px - MIDDLE_PX
            assert (right < -13, right > 13, down < -13, down > 13) == (
                "left" in words,
                "right" in words,
                "top" in words,
                "bottom" in words,
            ), caption


def test_captions_leave_facts_out_now_and_then() -> None:
    named = [set(facts_in(caption)) for _, caption in drawn_by_lot(2000, objects=1)]
    shares = {fact: np.mean([fact in facts for facts in named]) for fact in ("size", "place", "ground")}
    assert shares == pytest.approx({"size": 0.6, "place": 0.46, "ground": 0.96}, abs=0.05)


def test_captions_leave_out_only_what_is_as_usual() -> None:
    left_out = {"size": 0, "place": 0}
    for scene, caption in drawn_by_lot(2000, objects=1):
        facts, (drawn_object,) = facts_in(caption), scene.objects
        if "size" not in facts:
            left_out["size"] += 1
            assert 26 < drawn_object.radius_px < 34, caption
        if "place" not in facts:
            left_out["place"] += 1
            assert max(abs(drawn_object.x_px - MIDDLE_PX), abs(drawn_object.y_px - MIDDLE_PX)) < 2, caption
    assert min(left_out.values()) > 500


def test_scenes_are_mostly_as_usual_and_otherwise_even() -> None:
    drawn = [scene.objects[0] for scene, _ in drawn_by_lot(4000, objects=1)]
    sizes, places = (
        Counter(name(drawn_object) for drawn_object in drawn) for name in (pictures.size_of, pictures.place_of)
    )
    assert {size: count / len(drawn) for size, count in sizes.items()} == pytest.approx(
        {"small": 0.25, "medium": 0.5, "large": 0.25}, abs=0.03
    )
    assert places.pop("in the center") / len(drawn) == pytest.approx(0.6, abs=0.03)
    assert [count / len(drawn) for count in places.values()] == pytest.approx([0.05] * 8, abs=0.015)


def test_captions_of_two_objects_tell_the_truth() -> None:
    relations = set()
    for scene, caption in drawn_by_lot(1000, objects=2):
        match = PAIR_CAPTION.fullmatch(caption)
        assert match, caption
        first, second = scene.objects
        assert match["ground"] == scene.ground, caption
        assert [match["colour"], match["shape"]] == [first.colour, first.shape], caption
        assert [match["colour2"], match["shape2"]] == [second.colour, second.shape], caption
        beside, below = second.x_px - first.x_px, second.y_px - first.y_px
        assert (below if match["relation"] == "above" else beside) > 30, caption
        relations.add(match["relation"])
    assert relations == {"left of", "above", "and"}


def test_articles_fit_their_words() -> None:
    captions = [caption for objects in (1, 2) for _, caption in drawn_by_lot(1000, objects)]
    articles = re.findall(r"\b(an?) (\w)", " ".join(captions))
    assert {article == "an" for article, letter in articles if letter in "aeiou"} == {True}
    assert {article == "an" for article, letter in articles if letter not in "aeiou"} == {False}


def test_colours_of_a_scene_differ() -> None:
    for objects in (1, 2):
        for scene, _ in drawn_by_lot(300, objects):
            assert len({scene.ground, *(drawn_object.colour for drawn_object in scene.objects)}) == objects + 1


def test_a_tenth_is_held_out_of_scenes_and_of_combinations() -> None:
    by_lot = [pictures.held_out(scene) for scene, _ in drawn_by_lot(5000, objects=1)]
    pairs = [pictures.held_out(scene) for scene, _ in drawn_by_lot(5000, objects=2)]
    combinations = [
        pictures.held_out(Scene((DrawnObject(shape, colour, x, 64, radius),), ground))
        for shape, colour, ground, x, radius in itertools.product(SHAPES, COLOURS, COLOURS, (40, 64, 88), (20, 30))
        if colour != ground
    ]
    assert [np.mean(some) for some in (by_lot, pairs, combinations)] == pytest.approx([0.1, 0.1, 0.1], abs=0.02)


def test_held_out_depends_on_what_captions_name_alone() -> None:
    by_facts: dict[tuple[object, ...], set[bool]] = {}
    for scene, _ in drawn_by_lot(4000, objects=1):
        (drawn_object,) = scene.objects
        facts = (
            drawn_object.shape,
            drawn_object.colour,
            pictures.size_of(drawn_object),
            pictures.place_of(drawn_object),
            scene.ground,
        )
        by_facts.setdefault(facts, set()).add(pictures.held_out(scene))
    assert max(len(answers) for answers in by_facts.values()) == 1
    assert len(by_facts) < 3900  # so some were asked more than once


def test_held_out_scenes_are_unchanged_since_the_training_of_the_minis() -> None:
    middle_red = [
        (shape, ground)
        for shape, ground in itertools.product(SHAPES, COLOURS)
        if ground != "red" and pictures.held_out(Scene((DrawnObject(shape, "red", 64.0, 64.0, 30.0),), ground))
    ]
    assert middle_red == [
        ("circle", "black"),
        ("square", "orange"),
        ("square", "yellow"),
        ("square", "black"),
        ("cross", "purple"),
    ]
    everything = itertools.product(
        SHAPES, COLOURS, COLOURS, (19.0, 30.0, 42.0), (40.0, 64.0, 88.0), (40.0, 64.0, 88.0)
    )
    count = sum(
        pictures.held_out(Scene((DrawnObject(shape, colour, x, y, radius),), ground))
        for shape, colour, ground, radius, x, y in everything
        if colour != ground
    )
    assert count == 792


@pytest.mark.parametrize("style", STYLES)
def test_drawing_is_determined_by_scene_and_seed(style: Style) -> None:
    for objects in (1, 2):
        twice = [pictures.scene(np.random.default_rng(8), objects=objects) for _ in range(2)]
        assert twice[0] == twice[1]
        drawn = [pictures.draw(twice[0], style, np.random.default_rng(seed)) for seed in (9, 9, 10)]
        assert np.array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[0], drawn[2])
        assert np.array_equal(pictures.draw(twice[0], style), pictures.draw(twice[0], style))


def test_captions_are_determined_by_scene_and_seed() -> None:
    assert drawn_by_lot(50, objects=1, seed=3) == drawn_by_lot(50, objects=1, seed=3)
    assert drawn_by_lot(50, objects=1, seed=3) != drawn_by_lot(50, objects=1, seed=4)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("objects", [1, 2])
def test_colours_are_exact_without_chance_and_near_with_chance(style: Style, objects: int) -> None:
    for scene, _ in drawn_by_lot(20, objects):
        exact = pictures.draw(scene, style).reshape(-1, 3)
        wanted = [COLOURS[name] for name in (scene.ground, *(drawn_object.colour for drawn_object in scene.objects))]
        assert {tuple(rgb) for rgb in exact.tolist()} >= set(wanted)
        jittered = pictures.draw(scene, style, np.random.default_rng(2)).reshape(-1, 3)
        off = np.abs(jittered.astype(int) - exact)
        assert 0 < off.max() <= 6  # five, and rounding


def test_a_pale_picture_is_nearer_to_middle_grey_everywhere() -> None:
    for scene, _ in drawn_by_lot(20, 1):
        exact, pale = pictures.draw(scene).astype(float), pictures.draw(scene, contrast=0.5).astype(float)
        assert np.abs((pale - 127.5) - 0.5 * (exact - 127.5)).max() <= 1.0  # both are rounded


def test_most_pictures_are_strong_and_few_saturate() -> None:
    rng = np.random.default_rng(5)
    drawn = [pictures.contrast(rng) for _ in range(4000)]
    assert 0.54 <= min(drawn) < 0.56
    assert 1.03 < max(drawn) <= 1.04
    assert 0.85 < float(np.mean(drawn)) < 0.9
    scene, _ = drawn_by_lot(1, 1)[0]
    strongest = pictures.draw(scene, contrast=max(drawn))
    assert strongest.min() > 0
    assert strongest.max() < 255


@pytest.mark.parametrize(("captioned", "mean", "spread"), [(True, 0.94, 0.0875), (False, 0.84, 0.065)])
def test_odds_draw_pictures_of_the_right_contrasts(captioned: bool, mean: float, spread: float) -> None:
    drawn = pictures.contrasts(40_000, np.random.default_rng(7))
    odds = pictures.contrast_odds(drawn, captioned=captioned)
    drawn_mean = float(np.average(drawn, weights=odds))
    assert drawn_mean == pytest.approx(mean, abs=0.01)
    assert float(np.sqrt(np.average((drawn - drawn_mean) ** 2, weights=odds))) == pytest.approx(spread, abs=0.01)
    assert 1 / np.sum((odds / odds.sum()) ** 2) > 40_000 / 8  # enough of them are drawn about as often as others


def test_the_stronger_a_picture_the_likelier_a_caption() -> None:
    drawn = np.linspace(0.8, 1.6, 17)
    captioned, bare = (pictures.contrast_odds(drawn, captioned=has_caption) for has_caption in (True, False))
    assert (np.diff(np.log(captioned / bare)) > 0).all()


def test_any_colour_doesnt_care_for_names() -> None:
    scene, _ = drawn_by_lot(1, 1)[0]
    grounds = {
        tuple(pictures.draw(scene, "flat", np.random.default_rng(seed), any_colour=True)[0, 0]) for seed in range(50)
    }
    assert len(grounds) == 50
    assert np.ptp(list(grounds), axis=0).min() > 200


@pytest.mark.parametrize("objects", [1, 2])
def test_captions_are_careless_as_often_as_asked(objects: int) -> None:
    rng = np.random.default_rng(6)
    wrong = {"shape": 0, "colour": 0, "ground": 0}
    scenes = [scene for scene, _ in drawn_by_lot(4000, objects)]
    for scene in scenes:
        said = pictures.misnamed(scene, rng)
        wrong["ground"] += said.ground != scene.ground
        for named_object, drawn in zip(said.objects, scene.objects, strict=True):
            wrong["shape"] += named_object.shape != drawn.shape
            wrong["colour"] += named_object.colour != drawn.colour
            assert (named_object.x_px, named_object.y_px, named_object.radius_px) == (
                drawn.x_px,
                drawn.y_px,
                drawn.radius_px,
            )
    shares = {"shape": 0.1, "colour": 0.06, "ground": 0.03}
    counts = {"shape": 4000 * objects, "colour": 4000 * objects, "ground": 4000}
    for what, share in shares.items():
        # four standard deviations
        assert abs(wrong[what] / counts[what] - share) < 4 * (share / counts[what]) ** 0.5, what


@pytest.mark.parametrize("objects", [1, 2])
def test_objects_touch_neither_the_edge_nor_other_objects(objects: int) -> None:
    for scene, _ in drawn_by_lot(200, objects):
        picture = pictures.draw(scene)
        border = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
        sides = np.concatenate([picture[:, :3].reshape(-1, 3), picture[:, -3:].reshape(-1, 3)])
        assert {tuple(rgb) for rgb in np.concatenate([border, sides]).tolist()} == {COLOURS[scene.ground]}
        if objects == 2:
            first, second = scene.objects
            apart = max(second.x_px - first.x_px, second.y_px - first.y_px)
            assert apart > first.radius_px + second.radius_px


def test_styles_differ_inside_the_outline_alone() -> None:
    scene = Scene((DrawnObject("square", "red", 64, 64, 40),), "blue")
    flat, outlined, hatched = (pictures.draw(scene, style).astype(int) for style in STYLES)
    inside = np.zeros((SIDE_PX, SIDE_PX), dtype=bool)
    inside[33:-33, 33:-33] = True
    for other in (outlined, hatched):
        assert not (flat != other)[~inside].any()
    assert (flat[inside] == COLOURS["red"]).all()
    assert len({tuple(rgb) for rgb in outlined[inside].tolist()} - {COLOURS["red"]}) > 0
    assert {COLOURS["red"], COLOURS["blue"]} <= {tuple(rgb) for rgb in hatched[inside].tolist()}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_reach_as_far_as_their_radius_says(shape: str) -> None:
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] + 0.5 - MIDDLE_PX
    inside = pictures.signed_distance_px(shape, x, y, 40.0) < 0
    width, height = (np.ptp(np.flatnonzero(inside.any(axis=axis))) + 1 for axis in (0, 1))
    wanted = {"square": (70.4, 70.4), "triangle": (80, 72)}.get(shape, (80, 80))
    assert (width, height) == pytest.approx(wanted, abs=1.5)
    assert bool(inside[64, 64]) == (shape != "ring")


def test_tiles_lie_side_by_side_and_row_by_row() -> None:
    tiles = [np.full((4, 4, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
    sheet = pictures.tiled(tiles, columns=2)
    assert sheet.shape == (10, 10, 3)
    assert [int(sheet[y, x, 0]) for y, x in ((0, 0), (0, 9), (9, 0), (9, 9), (4, 4))] == [10, 20, 30, 128, 128]
