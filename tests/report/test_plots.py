"""Figures: the same bytes each time, only pixels in them, and no error with little data."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Iterator

import matplotlib
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from support import benchmarks, figure_data, reports

from bnnlib.data import mnist
from bnnlib.report import robustness as bit_errors
from bnnlib.report.figures import benchmark, cost, curves, frontier, pictures, robustness, style

NAMES = {"full": "full (16 bits)", "binary": "binary (1 bit)"}


def history(*values: float) -> pd.DataFrame:
    """The same values for every metric."""
    columns = {f"{part}_{name}": values for part in ("train", "validation") for name in ("loss", "macro_f1")}
    return pd.DataFrame({"epoch": range(1, len(values) + 1), **columns})


def curve(metric: str, *values: float) -> Figure:
    return curves.curve({"full": history(*values), "binary": history(*values)}, NAMES, metric)


def confusion() -> Figure:
    matrix = np.diag(np.arange(10)) * 50  # label 0 has no images
    matrix[3, 5] = 1
    return pictures.confusion(matrix, "title", mnist.CLASS_NAMES["mnist"])


def kernel(side: int = 5, planes: int = 1) -> Figure:
    return pictures.kernel(np.linspace(-1, 1, planes * side**2, dtype=np.float32).reshape(side, planes * side))


def mistakes(*numbers: int) -> Figure:
    return pictures.mistakes(figure_data.IMAGES, figure_data.worst(*numbers), mnist.CLASS_NAMES["mnist"])


FIGURES: dict[str, Callable[[], Figure]] = {
    "loss": lambda: curve("loss", 2.0, 0.5, 0.01),
    "macro-F1": lambda: curve("macro_f1", 0.5, 0.9, 0.99),
    "loss of one epoch": lambda: curve("loss", 0.5),
    "macro-F1 of one epoch": lambda: curve("macro_f1", 0.5),
    "loss that reaches 0": lambda: curve("loss", 0.5, 0.0),  # a logarithm cannot show 0
    "macro-F1 that reaches 0 and 1": lambda: curve("macro_f1", 0.0, 0.5, 1.0),
    "confusion": confusion,
    "kernel": kernel,
    "kernel of three planes": lambda: kernel(planes=3),
    "kernel of one pixel and 64 planes": lambda: kernel(side=1, planes=64),
    "benchmark": lambda: benchmark.benchmark(benchmarks.as_json()),
    "benchmark without peers": lambda: benchmark.benchmark(benchmarks.as_json_without_peers()),
    "frontier": lambda: frontier.frontier(figure_data.POINTS),
    "frontier without literature": lambda: frontier.frontier(figure_data.OWN),
    "cost": lambda: cost.cost(figure_data.NETWORKS),
    "cost of nothing": lambda: cost.cost([]),
    "flips": lambda: curves.flips(figure_data.history(0.05, 0.0, 0.01)),
    "mistakes": lambda: mistakes(3, 1, 4),
    "no mistakes": mistakes,
    "robustness": lambda: robustness.robustness(bit_errors.summary(pd.read_csv(io.StringIO(reports.ROBUSTNESS)))),
}


def chunks(png: bytes) -> Iterator[str]:
    """The types of a PNG's chunks: length (4 bytes), type (4), content, checksum (4)."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    position = 8
    while position < len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        yield kind.decode("ascii")
        position += 12 + length


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_two_draws_give_the_same_bytes_and_no_metadata(draw: Callable[[], Figure]) -> None:
    first, second = style.png(draw()), style.png(draw())
    assert first == second
    assert set(chunks(first)) == {"IHDR", "pHYs", "IDAT", "IEND"}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_the_settings_of_a_user_do_not_matter(draw: Callable[[], Figure]) -> None:
    first = style.png(draw())
    # As a matplotlibrc sets them.
    with matplotlib.rc_context(
        {"font.size": 30, "lines.linewidth": 5, "savefig.facecolor": "red", "ytick.right": True}
    ):
        second = style.png(draw())
    assert first == second


def pixels(figure: Figure) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(style.png(figure)), format="png")


def test_other_data_give_another_picture() -> None:
    drawn = [style.png(curve(metric, 0.1, last)) for metric in curves.AXES for last in (0.2, 0.3)]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize(("metric", "scale"), [("loss", "log"), ("macro_f1", "logit")])
def test_curves_show_both_parts_of_both_networks(metric: str, scale: str) -> None:
    [axes] = curve(metric, 0.4, 0.2, 0.1).axes
    assert axes.get_yscale() == scale
    shown = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert shown == {
        f"{NAMES[variant]}, {part}": (style.COLOURS[variant], style.DASHES[part])
        for variant in NAMES
        for part in ("train", "validation")
    }
    for line in axes.lines:
        assert np.array_equal(line.get_xdata(), [1, 2, 3])
        assert np.array_equal(line.get_ydata(), [0.4, 0.2, 0.1])


@pytest.mark.parametrize("metric", ["loss", "macro_f1"])
def test_a_curve_takes_the_columns_of_its_metric(metric: str) -> None:
    table = history(9.0, 9.0)
    table[f"train_{metric}"], table[f"validation_{metric}"] = [0.3, 0.2], [0.4, 0.1]
    [axes] = curves.curve({"full": table}, NAMES, metric).axes
    drawn = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert drawn == {"full (16 bits), train": [0.3, 0.2], "full (16 bits), validation": [0.4, 0.1]}


def test_confusion_rows_sum_to_one_and_every_cell_with_images_says_its_share() -> None:
    axes = confusion().axes[0]
    shares = np.asarray(axes.images[0].get_array())
    assert shares.sum(axis=1) == pytest.approx([0] + [1] * 9, abs=10 * 2**-53)
    texts = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert texts == {**{(i, i): "100.0" for i in range(1, 10)}, (3, 3): "99.3", (3, 5): "0.7"}  # 150 and 1 of 151


@pytest.mark.parametrize(("data", "rotation"), [("mnist", 0), ("kmnist", 0), ("fashion_mnist", 90)])
def test_a_confusion_matrix_names_its_classes(data: mnist.DataName, rotation: int) -> None:
    axes = pictures.confusion(np.eye(10, dtype=np.int64), "title", mnist.CLASS_NAMES[data]).axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert tuple(label.get_text() for label in labels) == mnist.CLASS_NAMES[data]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}


def test_a_kernel_runs_from_black_through_grey_to_white() -> None:
    found = pixels(pictures.kernel(np.array([[-2, 0, 2]] * 3, np.float32)))
    grey = found[found.shape[0] // 2, :, 0]
    # 5 / 6 of the picture's width or more belong to the axes; each column of the kernel is sampled away from its edges.
    assert [round(float(grey[int(len(grey) * at)]), 1) for at in (0.25, 0.5, 0.75)] == [0.0, 0.5, 1.0]


def test_the_planes_of_a_kernel_are_framed_tiles_side_by_side() -> None:
    weights = np.arange(12, dtype=np.float32).reshape(2, 6)
    figure = pictures.kernel(weights)
    [axes] = figure.axes
    tiles = [np.asarray(image.get_array()).tolist() for image in axes.images]
    assert tiles == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]
    frames = [patch.get_bbox().extents.tolist() for patch in axes.patches]
    assert frames == [[image.get_extent()[0], 0, image.get_extent()[1], 2] for image in axes.images]
    for (_, _, end, _), (start, _, _, _) in itertools.pairwise(frames):
        assert start > end
    assert {image.get_clim() for image in axes.images} == {(-11, 11)}  # one scale for all


def test_black_and_white_planes_can_be_told_apart() -> None:
    """A white plane ends in a frame, a black one in a gap."""
    for value in (-1, 1):
        grey = pixels(pictures.kernel(np.full((3, 6), value, np.float32)))[33, :, 0]
        changes = np.flatnonzero(np.diff(grey > 0.5))
        middle = changes[(changes > len(grey) * 0.4) & (changes < len(grey) * 0.6)]
        assert len(middle) >= 2, value


@pytest.mark.parametrize(("planes", "size"), [(1, (1.2, 1.2)), (3, (1.8, 0.6)), (10, (6, 0.6)), (64, (6, 0.6))])
def test_the_size_of_a_kernel_follows_from_its_planes(planes: int, size: tuple[float, float]) -> None:
    assert kernel(planes=planes).get_size_inches().tolist() == pytest.approx(size)


@pytest.mark.parametrize(("bits", "text"), [(1, "binary (1 bit)"), (2, "binary (2 bits)")])
def test_names(bits: int, text: str) -> None:
    assert style.name("binary", bits) == text


def test_the_benchmark_shows_the_medians_on_one_thread_with_their_quartiles() -> None:
    [axes] = benchmark.benchmark(benchmarks.as_json()).axes
    assert axes.get_xscale() == "log"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [*benchmarks.MEDIANS]
    shown: dict[str, list[float]] = {name: [] for name in names}
    for container in axes.containers:
        point, _, [bar] = container.lines
        name = names[int(point.get_ydata()[0])]
        shown[name].append(float(point.get_xdata()[0]))
        assert point.get_color() == style.COLOURS["binary" if name in benchmark.ONE_BIT else "full"]
        assert point.get_marker() == benchmark.BATCH_MARKERS[1 if len(shown[name]) == 1 else 64]
        [[[low, _], [high, _]]] = bar.get_segments()
        assert [low, high] == pytest.approx([shown[name][-1], shown[name][-1]])  # the samples are all alike
    assert shown == {name: [*medians.values()] for name, medians in benchmarks.MEDIANS.items()}
