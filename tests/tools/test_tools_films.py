"""The films and captions that the video mini learns from, and how its videos are judged."""

from __future__ import annotations

import re

import numpy as np
import pytest
from minis import data, films, pictures
from minis.film_agreement import film_agreement, see

CAPTION = re.compile(
    rf"(?:(?:a video of )?an? )?(?P<colour>{'|'.join(pictures.COLOURS)}) (?P<shape>{'|'.join(films.SHAPES)})"
    rf" moving (?P<direction>{'|'.join(films.DIRECTIONS)})(?:(?: on an?|,) (?P<ground>\w+) background)?"
)


def drawn_by_lot(count: int, seed: int = 1) -> list[films.Film]:
    rng = np.random.default_rng(seed)
    return [films.film(rng) for _ in range(count)]


def test_captions_tell_the_truth() -> None:
    rng = np.random.default_rng(2)
    grounds = 0
    for film in drawn_by_lot(600):
        match = CAPTION.fullmatch(films.caption(film, rng))
        assert match
        (drawn_object,) = film.middle.objects
        assert (match["colour"], match["shape"], match["direction"]) == (
            drawn_object.colour,
            drawn_object.shape,
            film.direction,
        )
        assert match["ground"] in (film.middle.ground, None)
        assert drawn_object.colour != film.middle.ground
        grounds += match["ground"] is not None
    assert 550 < grounds < 600


def test_careless_captions_name_wrong_facts_now_and_then_but_none_absent_from_all_films() -> None:
    rng = np.random.default_rng(3)
    captioned = [(film, films.misnamed(film, rng)) for film in drawn_by_lot(1000)]
    changed = [film.direction != said.direction for film, said in captioned]
    assert 30 < sum(changed) < 100
    assert {said.middle.objects[0].shape for _, said in captioned} == set(films.SHAPES)


def test_about_a_tenth_is_held_out() -> None:
    assert 60 < sum(films.held_out(film) for film in drawn_by_lot(1000)) < 150


@pytest.mark.parametrize("direction", films.DIRECTIONS)
def test_an_object_moves_steadily_the_named_way_and_stays_inside(direction: str) -> None:
    for film in (film for film in drawn_by_lot(80) if film.direction == direction):
        places = np.array(
            [
                [(drawn_object.x_px, drawn_object.y_px) for drawn_object in films.scene_at(film, n).objects]
                for n in range(films.FRAMES)
            ]
        )[:, 0]
        steps = np.diff(places, axis=0)
        assert np.allclose(steps, steps[0])
        assert np.sign(np.rint(8 * steps[0])).tolist() == list(films.DIRECTIONS[direction])
        radius_px = film.middle.objects[0].radius_px
        assert places.min() - radius_px > 0
        assert places.max() + radius_px < pictures.SIDE_PX


def test_a_film_has_the_colours_in_all_frames() -> None:
    film = drawn_by_lot(1)[0]
    drawn = films.draw(film, np.random.default_rng(5))
    assert drawn.shape == (films.FRAMES, films.SIDE_PX, films.SIDE_PX, 3)
    assert (drawn[:, 0, 0] == drawn[0, 0, 0]).all()
    assert len({frame.tobytes() for frame in drawn}) == films.FRAMES
    assert np.array_equal(films.draw(film, np.random.default_rng(5), frames=range(3, 5)), drawn[3:5])


def test_what_a_drawn_film_shows_is_classified_and_nothing_else() -> None:
    for film in drawn_by_lot(12, seed=7):
        video = films.draw(film, np.random.default_rng(0))
        assert film_agreement(film, see(video)).everything
        backwards = film_agreement(film, see(video[::-1]))
        assert (backwards.direction, backwards.object_colour, backwards.ground) == (False, True, True)
        still = film_agreement(film, see(np.repeat(video[8:9], films.FRAMES, axis=0)))
        assert (still.direction, still.shape) == (False, True)
    noise = np.random.default_rng(0).integers(0, 256, (films.FRAMES, films.SIDE_PX, films.SIDE_PX, 3), np.uint8)
    shown = see(noise)
    assert (shown.ground, shown.shape, shown.direction) == (None, None, None)


def test_texts_of_films_are_captions_or_unrelated() -> None:
    drawn = drawn_by_lot(100)
    bare = np.arange(100) % 2 == 0
    texts = data.texts(data.FILMS, drawn, bare, np.zeros(100), np.random.default_rng(1))
    assert all(CAPTION.fullmatch(text.words) for text in texts[1::2])
    assert not any(CAPTION.fullmatch(text.words) for text in texts[::2])
