"""The plane is the one of largest spread and always looks the same; the map puts each label by its point and covers none."""

import math

import pytest
import torch
from matplotlib.text import Text

from toolslm_helpers.teaching import plots
from toolslm_helpers.teaching.embedding_plots import principal_plane, word_map


def flat_cloud(rows=50, width=6):
    """Vectors that spread 3 along one direction, 2 along another, and 0.1 elsewhere: (vectors, the two directions)."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(width, 2, generator=generator, dtype=torch.float64)).Q.T  # (2, width)
    amounts = torch.randn(rows, 2, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 2.0])
    noise = 0.1 * torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return amounts @ directions + noise + 5.0, directions


# --- the plane


def test_the_plane_is_the_one_on_which_the_vectors_spread():
    vectors, directions = flat_cloud()
    plane = principal_plane(vectors)
    assert torch.allclose(plane.axes @ plane.axes.T, torch.eye(2, dtype=torch.float64), atol=1e-9)
    inside = (plane.axes @ directions.T).square().sum(dim=1)  # 1 for an axis that lies in the plane of the two directions
    assert (inside > 0.99).all()
    assert plane.shares[0] > plane.shares[1] and 0.98 < sum(plane.shares) < 1


def test_the_axes_are_the_eigenvectors_of_the_covariance():
    vectors, _ = flat_cloud()
    values, columns = torch.linalg.eigh(torch.cov(vectors.T))
    plane = principal_plane(vectors)
    assert torch.allclose((plane.axes * columns.T.flip(0)[:2]).sum(dim=1).abs(), torch.ones(2, dtype=torch.float64), atol=1e-9)
    assert plane.shares == pytest.approx((values.flip(0)[:2] / values.sum()).tolist())


def test_a_place_is_measured_from_the_mean():
    vectors, _ = flat_cloud()
    plane = principal_plane(vectors)
    assert torch.allclose(plane.place(vectors).mean(dim=0), torch.zeros(2, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(plane.place(vectors[:1] + plane.axes[1]), plane.place(vectors[:1]) + torch.tensor([0.0, 1.0]))


def test_the_sign_is_fixed():
    vectors, _ = flat_cloud()
    plane = principal_plane(vectors)
    assert all(row[row.abs().argmax()] > 0 for row in plane.axes)
    mirrored = principal_plane(-vectors)
    assert torch.allclose(mirrored.axes, plane.axes)


@pytest.mark.parametrize("shape", [(2, 5), (5, 1), (5,)])
def test_too_few_vectors_are_refused(shape):
    with pytest.raises(ValueError, match="at least three vectors of two numbers"):
        principal_plane(torch.zeros(shape))


# --- the picture

LABELS = ["price", "fee", "7", "8", "Action"]
GROUPS = ["noun", "noun", "digit", "digit", "protocol"]
BEFORE = [(0.0, 0.0), (0.1, 0.0), (2.0, 1.0), (2.1, 1.0), (-1.0, -1.0)]
AFTER = [(0.0, 0.5), (0.1, 0.0), (2.0, 1.0), (2.1, 1.2), (1.0, -1.0)]


def boxes(plot):
    """Of each panel: the box of each label in pixels as it is drawn, without the line that leads to its point."""
    plot.figure.draw_without_rendering()
    renderer = plot.figure.canvas.get_renderer()
    return [[Text.get_window_extent(t, renderer) for t in axes.texts] for axes in plot.figure.axes]


def test_points_are_drawn_where_they_are_and_groups_differ_without_colour():
    plot = word_map({"before": BEFORE, "after": AFTER}, LABELS, GROUPS, "Rows", "Two axes keep 40%")
    for axes, points in zip(plot.figure.axes, (BEFORE, AFTER), strict=True):
        drawn = [tuple(map(float, pair)) for line in axes.lines for pair in zip(*line.get_data(), strict=True)]
        assert drawn == points
        assert len({line.get_marker() for line in axes.lines}) == len({line.get_color() for line in axes.lines}) == 3
        assert [t.get_text() for t in axes.texts] == LABELS
    one, other = plot.figure.axes
    assert one.get_xlim() == other.get_xlim() and one.get_ylim() == other.get_ylim()
    assert [axes.get_title(loc="left") for axes in plot.figure.axes] == ["before", "after"]
    assert [text.get_text() for text in plot.figure.legends[0].get_texts()] == ["noun", "digit", "protocol"]


def test_the_alt_text_says_where_each_word_is():
    alt = word_map({"before": BEFORE, "after": AFTER}, LABELS, GROUPS, "Rows", "Two axes keep 40%").alt
    assert alt.startswith("Rows. Two axes keep 40%. A map of 5 words")
    assert "before, noun: price (0.00, 0.00), fee (0.10, 0.00)" in alt and "after, protocol: Action (1.00, -1.00)" in alt


def test_labels_cover_neither_each_other_nor_a_point():
    generator = torch.Generator().manual_seed(1)
    crowd = (torch.randn(34, 2, generator=generator) * 0.4).tolist()
    plot = word_map({"crowd": crowd}, [f"piece {k}" for k in range(34)], ["all"] * 34)
    ((*drawn,),) = boxes(plot)
    for k, box in enumerate(drawn):
        assert not any(box.overlaps(other) for other in drawn[k + 1 :]), k
    (axes,) = plot.figure.axes
    centers = axes.transData.transform(crowd)
    assert not any(box.contains(x, y) for box in drawn for x, y in centers)
    frame = axes.get_window_extent()
    assert all(frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1 for box in drawn)


def test_each_label_is_nearer_to_its_point_than_half_the_picture():
    plot = word_map({"before": BEFORE}, LABELS, GROUPS)
    (drawn,), (axes,) = boxes(plot), plot.figure.axes
    for box, (x, y) in zip(drawn, axes.transData.transform(BEFORE), strict=True):
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        assert math.dist(middle, (x, y)) < 120


def test_a_thin_line_leads_to_a_label_that_had_to_move_away():
    alone, heap = word_map({"one": BEFORE}, LABELS, GROUPS), word_map({"heap": [(1.0, 1.0)] * 12}, ["piece"] * 12, ["all"] * 12)
    lines = [[t.arrow_patch is not None for t in plot.figure.axes[0].texts] for plot in (alone, heap)]
    assert not any(lines[0]) and any(lines[1]) and not all(lines[1])


def test_equal_points_and_a_single_line_can_be_drawn():
    plot = word_map({"heap": [(1.0, 1.0)] * 5}, LABELS, GROUPS)
    (drawn,) = boxes(plot)
    assert not any(box.overlaps(other) for k, box in enumerate(drawn) for other in drawn[k + 1 :])


def test_it_is_shown_as_a_png_with_alt_text_and_letters_are_large_enough():
    plot = word_map({"before": BEFORE}, LABELS, GROUPS)
    assert plot._repr_html_().startswith("<img alt=") and plot.png().startswith(b"\x89PNG")
    (axes,) = plot.figure.axes
    ticks = [t for t in [*axes.get_xticklabels(), *axes.get_yticklabels()] if t.get_text()]
    assert all(t.get_fontsize() >= plots.FONT_SIZE for t in ticks)
    assert all(t.get_fontsize() >= plots.FONT_SIZE for t in axes.texts)


def test_a_piece_with_dollar_signs_is_no_formula():
    plot = word_map({"before": BEFORE}, ["$x_1$", "$", "_for_", "^", "{"], GROUPS)
    assert not any(text.get_parse_math() for text in plot.figure.axes[0].texts)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="5 labels need as many groups"):
        word_map({"before": BEFORE[:4]}, LABELS, GROUPS)
    with pytest.raises(ValueError, match="5 labels need as many groups"):
        word_map({"before": BEFORE}, LABELS, GROUPS[:3])
    with pytest.raises(ValueError, match="6 groups, at most 5"):
        word_map({"many": [(0.0, 0.0)] * 6}, list("abcdef"), list("abcdef"))
