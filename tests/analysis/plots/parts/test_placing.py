"""Labels beside their points: off one another while there is room, and inside the frame."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering_lab.analysis.plots.parts.placing import LETTER, LINE, Box, label_boxes

FRAME = Box(0.0, 600.0, 0.0, 400.0)


def test_overlap_is_the_common_area() -> None:
    assert Box(0.0, 10.0, 0.0, 10.0).overlap(Box(8.0, 20.0, 5.0, 30.0)) == 10
    assert Box(0.0, 10.0, 0.0, 10.0).overlap(Box(10.0, 20.0, 0.0, 10.0)) == 0


def test_a_lone_label_stands_to_the_right_at_its_points_height() -> None:
    (box,) = label_boxes([(100.0, 100.0)], ["name"], FRAME, reach=9.0)
    assert box == pytest.approx((109, 109 + 4 * LETTER, 100 - LINE / 2, 100 + LINE / 2))


def test_at_the_right_edge_a_label_stands_to_the_left() -> None:
    (box,) = label_boxes([(595.0, 100.0)], ["a longer name"], FRAME)
    assert box.right < 595


def test_a_label_of_two_lines_is_as_wide_as_the_longer_and_twice_as_high() -> None:
    (box,) = label_boxes([(100.0, 100.0)], ["a\nlong"], FRAME)
    assert box.right - box.left == pytest.approx(4 * LETTER)
    assert box.top - box.bottom == pytest.approx(2 * LINE)


def test_a_label_leaves_the_line_through_its_point() -> None:
    line = Box(0.0, 600.0, 98.0, 102.0)
    (box,) = label_boxes([(100.0, 100.0)], ["name"], FRAME, [line])
    assert box.overlap(line) == 0


places = st.tuples(st.integers(0, 5), st.integers(0, 7))


@given(st.lists(places, min_size=1, max_size=12, unique=True))
def test_labels_of_points_on_a_coarse_grid_touch_neither_each_other_nor_a_point(grid: list[tuple[int, int]]) -> None:
    points = [(20.0 + 95 * x, 20.0 + 50 * y) for x, y in grid]
    boxes = label_boxes(points, ["ten chars."] * len(points), Box(0.0, 700.0, 0.0, 400.0))
    assert all(a.overlap(b) == 0 for a, b in combinations(boxes, 2))
    assert all(box.overlap(Box(x - 4, x + 4, y - 4, y + 4)) == 0 for box in boxes for x, y in points)
