"""What the figures of flips and of mistakes show; test_plots checks that they are the same bytes each time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from support.figure_data import IMAGES, history, worst

from bnnlib.data import mnist
from bnnlib.report.figures import curves, pictures, style


def test_flips_are_drawn_on_a_logarithm() -> None:
    [axes] = curves.flips(history(0.05, 0.02, 0.001)).axes
    [line] = axes.lines
    assert axes.get_yscale() == "log"
    assert np.asarray(line.get_ydata()).tolist() == [0.05, 0.02, 0.001]
    ticks = ["0.05 %", "0.1 %", "0.2 %", "0.5 %", "1 %", "2 %", "5 %", "10 %"]
    assert [label.get_text() for label in axes.get_yticklabels()][-len(ticks) :] == ticks


@pytest.mark.parametrize("ratios", [(0.0,), (0.0, 0.0), (0.1, 0.0)])
def test_an_epoch_without_flips_leaves_a_gap(ratios: tuple[float, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = curves.flips(history(*ratios))
        style.png(figure)
    shown = np.asarray(figure.axes[0].lines[0].get_ydata(), float)
    assert np.array_equal(shown, [np.nan if ratio == 0 else ratio for ratio in ratios], equal_nan=True)


@pytest.mark.parametrize("numbers", [(7,), (30, 2, 11), tuple(range(16))])
def test_mistakes_are_shown_in_their_order_with_all_three_classes(numbers: tuple[int, ...]) -> None:
    figure = pictures.mistakes(IMAGES, worst(*numbers), mnist.CLASS_NAMES["fashion_mnist"])
    assert len(figure.axes) == len(numbers)
    for axes, number in zip(figure.axes, numbers, strict=True):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), IMAGES[number])
        assert axes.get_title() == "is: Sneaker\nbinary: Sandal\nfull: Sneaker"


def test_without_mistakes_the_figure_says_so() -> None:
    figure = pictures.mistakes(IMAGES, worst(), mnist.CLASS_NAMES["mnist"])
    assert figure.axes == []
    assert [text.get_text() for text in figure.texts] == ["no image is predicted wrongly"]
