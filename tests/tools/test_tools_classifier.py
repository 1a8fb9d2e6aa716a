"""The classifier that judges the trained minis, on drawn pictures: as they are drawn, and as a small model paints."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from minis import pictures
from minis.agreement import Agreement, agreement
from minis.classifier import classify, named_colour
from minis.pictures import COLOURS, SHAPES, SIDE_PX, DrawnObject, Scene, Style
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STYLES: tuple[Style, ...] = get_args(Style)
ALONE = Scene((DrawnObject("square", "red", 64, 64, 30),), "white")
PAIR = Scene((DrawnObject("circle", "red", 32, 60, 22), DrawnObject("square", "blue", 96, 66, 22)), "white")


def masked(mask: NDArray[np.bool_], colour: str, ground: str) -> NDArray[np.uint8]:
    return np.where(mask[..., None], COLOURS[colour], COLOURS[ground]).astype(np.uint8)


def grid_px() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y from the middle."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] + 0.5 - SIDE_PX / 2
    return x, y


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shape", SHAPES)
def test_measures_centre_and_extent(shape: str, style: Style) -> None:
    scene = Scene((DrawnObject(shape, "purple", 50.0, 71.0, 35.0),), "yellow")
    (classified_object,) = classify(pictures.draw(scene, style)).objects
    assert classified_object.shape == shape
    assert classified_object.iou > 0.9
    assert (classified_object.x_px, classified_object.y_px, classified_object.radius_px) == pytest.approx(
        (50.0, 71.0, 35.0), abs=1.5
    )


def test_an_outgrowth_moves_neither_centre_nor_extent() -> None:
    picture = pictures.draw(Scene((DrawnObject("circle", "purple", 60.0, 64.0, 30.0),), "yellow"))
    picture[60:65, 88:104] = COLOURS["purple"]
    (classified_object,) = classify(picture).objects
    assert classified_object.shape == "circle"
    assert (classified_object.x_px, classified_object.y_px, classified_object.radius_px) == pytest.approx(
        (60.0, 64.0, 30.0), abs=1.0
    )


@pytest.mark.parametrize("style", STYLES)
def test_a_ring_keeps_the_hole_and_hatching_leaves_none(style: Style) -> None:
    radius_px = 40.0
    areas_px = {}
    for shape in ("circle", "ring"):
        (classified_object,) = classify(
            pictures.draw(Scene((DrawnObject(shape, "red", 64, 64, radius_px),), "blue"), style)
        ).objects
        areas_px[shape] = classified_object.area_px
    whole_px, hole_px = math.pi * radius_px**2, math.pi * (0.48 * radius_px) ** 2
    assert areas_px == pytest.approx({"circle": whole_px, "ring": whole_px - hole_px}, rel=0.06)


@pytest.mark.parametrize("style", STYLES)
def test_the_colour_is_the_colour_of_the_marks_not_mixed_with_the_ground(style: Style) -> None:
    classified = classify(pictures.draw(Scene((DrawnObject("square", "red", 64, 64, 40),), "blue"), style))
    assert classified.objects[0].rgb == pytest.approx(COLOURS["red"], abs=8)
    assert classified.ground_rgb == pytest.approx(COLOURS["blue"])


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "ring"])
def test_an_outline_with_a_faint_inside_is_filled(shape: str) -> None:
    x, y = grid_px()
    distance = pictures.signed_distance_px(shape, x, y, 40.0)
    cover = np.where(distance < -5, 0.15, distance < 0)[..., None]
    picture = cover * np.array(COLOURS["black"]) + (1 - cover) * np.array(COLOURS["green"])
    (classified_object,) = classify(picture.astype(np.uint8)).objects
    assert (classified_object.shape, classified_object.colour) == (shape, "black")


@pytest.mark.parametrize("shape", SHAPES)
def test_thin_lines_are_a_single_object(shape: str) -> None:
    x, y = grid_px()
    distance = pictures.signed_distance_px(shape, x, y, 40.0)
    lines = np.mod(x + y, 10) < 2
    (classified_object,) = classify(masked((distance < 0) & ((distance > -5) | lines), "orange", "purple")).objects
    assert (classified_object.shape, classified_object.colour) == (shape, "orange")
    assert classified_object.area_px == pytest.approx(np.count_nonzero(distance < 0), rel=0.1)


def stretched(shape: str, ratio: float) -> NDArray[np.uint8]:
    x, y = grid_px()
    return masked(pictures.signed_distance_px(shape, x / ratio**0.5, y * ratio**0.5, 36.0) < 0, "white", "purple")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_little_stretched_shape_keeps_the_name(shape: str) -> None:
    assert [classified_object.shape for classified_object in classify(stretched(shape, 1.15)).objects] == [shape]


@pytest.mark.parametrize("shape", ["circle", "square", "cross", "ring"])  # a stretched triangle still is one
def test_a_much_stretched_shape_has_no_name(shape: str) -> None:
    assert [classified_object.shape for classified_object in classify(stretched(shape, 1.6)).objects] == [None]


@pytest.mark.parametrize("name", COLOURS)
def test_wrong_tints_keep_their_name(name: str) -> None:
    tints = itertools.product((-25, 0, 25), repeat=3)
    tinted = [np.clip(np.add(COLOURS[name], tint), 0, 255).tolist() for tint in tints]
    assert {named_colour(rgb) for rgb in tinted} == {name}


@pytest.mark.parametrize("rgb", [(128, 128, 128), (0, 255, 255), (255, 190, 200), (128, 64, 0), (90, 90, 90)])
def test_a_colour_far_from_all_names_has_none(rgb: tuple[int, int, int]) -> None:
    assert named_colour(rgb) is None


@pytest.mark.parametrize("ground", [*COLOURS.values(), (0, 0, 0)])
@pytest.mark.parametrize("deviation", [0, 6, 15])
def test_a_plain_picture_has_no_objects(ground: tuple[int, int, int], deviation: int) -> None:
    noise = np.random.default_rng(3).normal(0, deviation, size=(SIDE_PX, SIDE_PX, 3))
    classified = classify(np.clip(np.rint(noise + ground), 0, 255).astype(np.uint8))
    assert classified.objects == ()
    assert classified.ground == {**{rgb: name for name, rgb in COLOURS.items()}, (0, 0, 0): "black"}[ground]


def uniform_noise(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform(0, 256, size=(SIDE_PX, SIDE_PX, 3))


def smooth_noise(rng: np.random.Generator) -> NDArray[np.float64]:
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(rng.normal(size=(SIDE_PX, SIDE_PX, 3)), (4, 4, 0))
    return 128 + 50 * smooth / float(smooth.std())


def blocks(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform(0, 256, size=(16, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)


@pytest.mark.parametrize("make", [uniform_noise, smooth_noise, blocks])
def test_noise_has_neither_ground_nor_objects(make: Callable[[np.random.Generator], NDArray[np.float64]]) -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        classified = classify(np.clip(make(rng), 0, 255).astype(np.uint8))
        assert (classified.ground, classified.objects) == (None, ())


def other_shapes() -> dict[str, NDArray[np.bool_]]:
    x, y = grid_px()
    angle = np.arctan2(y, x)
    return {
        "half disc": (np.hypot(x, y) < 40) & (y < 0),
        "star": np.hypot(x, y) < 30 + 14 * np.cos(5 * angle),
        "long oval": np.hypot(x / 2, y) < 20,
        "bar": (np.abs(x) < 40) & (np.abs(y) < 12),
        "triangle on its head": pictures.signed_distance_px("triangle", x, -y, 40.0) < 0,
        "chevron": (pictures.signed_distance_px("triangle", x, y, 40.0) < 0)
        & (pictures.signed_distance_px("triangle", x, y - 30, 40.0) > 0),
        "thin ring": np.abs(np.hypot(x, y) - 36) < 4,
        "corner": (np.maximum(np.abs(x), np.abs(y)) < 36) & ((x < 0) | (y > 0)),
    }


@pytest.mark.parametrize("name", other_shapes())
def test_what_fits_no_shape_has_no_name_but_a_colour(name: str) -> None:
    (classified_object,) = classify(masked(other_shapes()[name], "green", "black")).objects
    assert (classified_object.shape, classified_object.colour) == (None, "green")


def test_specks_are_no_objects_but_a_small_square_is_an_object() -> None:
    picture = pictures.draw(ALONE)
    for index in range(6):
        picture[6 + 20 * index : 9 + 20 * index, 8:11] = COLOURS["blue"]
    assert [classified_object.colour for classified_object in classify(picture).objects] == ["red"]
    picture[100:116, 100:116] = COLOURS["green"]
    assert [
        (classified_object.colour, classified_object.shape) for classified_object in classify(picture).objects
    ] == [
        ("red", "square"),
        ("green", "square"),
    ]


def test_an_object_of_two_colours_has_no_colour() -> None:
    x, y = grid_px()
    picture = masked(np.hypot(x, y) < 35, "red", "white")
    picture[(np.hypot(x, y) < 35) & (x > 0)] = COLOURS["green"]
    (classified_object,) = classify(picture).objects
    assert (classified_object.shape, classified_object.colour) == ("circle", None)


def test_an_object_cut_by_the_edge_is_detected() -> None:
    (classified_object,) = classify(
        pictures.draw(Scene((DrawnObject("square", "blue", 64, 10, 20),), "orange"))
    ).objects
    assert classified_object.colour == "blue"
    assert classified_object.y_px < 20


@pytest.mark.parametrize(
    "image", [np.zeros((128, 128)), np.zeros((128, 128, 4), np.uint8), np.zeros((9, 9), np.uint8)]
)
def test_other_arrays_are_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="8-bit pixels of shape"):
        classify(image)


def wrong_facts(agreed: Agreement) -> set[str]:
    return {name for name, value in dataclasses.asdict(agreed).items() if value is False}


def with_object(scene: Scene, index: int = 0, **changes: object) -> Scene:
    objects = list(scene.objects)
    objects[index] = dataclasses.replace(objects[index], **changes)  # type: ignore[arg-type]  # by each case below
    return Scene(tuple(objects), scene.ground)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("drawn", "wrong"),
    [
        (ALONE, set()),
        (with_object(ALONE, colour="orange"), {"object_colour"}),
        (with_object(ALONE, shape="circle"), {"shape"}),
        (with_object(ALONE, radius_px=21), {"size"}),
        (with_object(ALONE, x_px=88), {"place"}),
        (with_object(ALONE, y_px=40), {"place"}),
        (dataclasses.replace(ALONE, ground="yellow"), {"ground"}),
        (Scene((), "white"), {"count", "object_colour", "shape", "size", "place"}),
        (Scene((), "black"), {"count", "object_colour", "shape", "size", "place", "ground"}),
        (Scene((*ALONE.objects, DrawnObject("circle", "blue", 16, 16, 11)), "white"), {"count"}),
        (with_object(PAIR, 0, radius_px=24), {"count", "shape", "size", "place"}),
    ],
)
def test_every_wrong_fact_of_a_single_object_is_noticed(style: Style, drawn: Scene, wrong: set[str]) -> None:
    agreed = agreement(ALONE, classify(pictures.draw(drawn, style)))
    assert wrong_facts(agreed) == wrong
    assert agreed.order is None
    assert agreed.colours_and_shape == (not wrong & {"object_colour", "shape", "ground"})


FIRST, SECOND = PAIR.objects


@pytest.mark.parametrize(
    ("drawn", "wrong"),
    [
        (PAIR, set()),
        (with_object(PAIR, 0, colour="green"), {"object_colour"}),
        (with_object(PAIR, 1, colour="green"), {"object_colour"}),
        (with_object(PAIR, 0, shape="ring"), {"shape"}),
        (with_object(PAIR, 1, shape="cross"), {"shape"}),
        (with_object(with_object(PAIR, 0, colour="blue"), 1, colour="red"), {"object_colour"}),
        (with_object(with_object(PAIR, 0, x_px=96), 1, x_px=32), {"order"}),
        (with_object(with_object(PAIR, 0, x_px=60, y_px=32), 1, x_px=68, y_px=96), {"order"}),
        (dataclasses.replace(PAIR, ground="black"), {"ground"}),
        (Scene((FIRST,), "white"), {"count", "object_colour", "shape", "order"}),
        (Scene((), "white"), {"count", "object_colour", "shape", "order"}),
        (Scene((FIRST, SECOND, DrawnObject("circle", "green", 64, 110, 10)), "white"), {"count"}),
    ],
)
def test_every_wrong_fact_of_two_objects_is_noticed(drawn: Scene, wrong: set[str]) -> None:
    agreed = agreement(PAIR, classify(pictures.draw(drawn)))
    assert wrong_facts(agreed) == wrong
    assert (agreed.size, agreed.place) == (None, None)


def test_above_and_beside_are_different_orders() -> None:
    above = with_object(with_object(PAIR, 0, x_px=60, y_px=32), 1, x_px=66, y_px=96)
    upside_down = with_object(with_object(above, 0, y_px=96), 1, y_px=32)
    wrong_by_scene = [
        wrong_facts(agreement(above, classify(pictures.draw(scene)))) for scene in (above, upside_down, PAIR)
    ]
    assert wrong_by_scene == [set(), {"order"}, {"order"}]
