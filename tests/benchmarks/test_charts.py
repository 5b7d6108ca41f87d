import math
import re

import pytest
from benchmarks.charts import Frame, Line, Point, compact, line_chart, smooth, thin, ticks
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.0, 10.0, [0.0, 2.5, 5.0, 7.5, 10.0]),
        (-0.3, 0.5, [-0.2, 0.0, 0.2, 0.4]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 4) == expected


finite = st.floats(-1e6, 1e6)


@given(st.lists(st.builds(Point, finite, finite), max_size=20))
def test_any_finite_points_make_a_chart_inside_its_frame(points: list[Point]) -> None:
    svg = line_chart([Line("a", points)], Frame(width=360, height=190))
    assert bool(svg) == bool(points)
    assert "nan" not in svg
    for pair in svg.partition('points="')[2].partition('"')[0].split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 360
        assert 0 <= y <= 190


@pytest.mark.parametrize("y", [0.0, 5e-324, 3.5, -2e6])
def test_a_flat_line_stands_in_the_middle(y: float) -> None:
    svg = line_chart([Line("a", [Point(0, y), Point(1, y)])], Frame(height=190))
    heights = [float(pair.split(",")[1]) for pair in re.findall(r"[\d.]+,[\d.]+", svg)]
    assert all(40 < height < 140 for height in heights)


def test_points_that_are_not_finite_are_left_out() -> None:
    points = [Point(0, 1), Point(1, math.nan), Point(math.inf, 1), Point(2, 3)]
    assert thin(points) == [Point(0, 1), Point(2, 3)]
    assert line_chart([Line("a", points[1:3])], Frame()) == ""


def test_a_long_line_keeps_its_ends_and_its_mean() -> None:
    points = [Point(i, i) for i in range(10_000)]
    shown = thin(points, most=100)
    assert len(shown) == 100
    assert sum(p.y for p in shown) / 100 == pytest.approx(sum(p.y for p in points) / 10_000)


def test_smoothing_averages_the_points_up_to_each_one() -> None:
    points = [Point(i, y) for i, y in enumerate([0, 2, 4, 6])]
    assert [p.y for p in smooth(points, 2)] == [0, 1, 3, 5]


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (21000, "21k"), (2.5e6, "2.5M"), (-1500, "-1.5k")]
)
def test_numbers_on_axes_are_short(value: float, text: str) -> None:
    assert compact(value) == text


def test_texts_in_charts_are_escaped() -> None:
    bad = "<script>x</script>"
    chart = line_chart([Line(bad, [Point(0, 0)])], Frame(x_label=bad))
    assert "<script" not in chart
    assert "&lt;script&gt;" in chart
