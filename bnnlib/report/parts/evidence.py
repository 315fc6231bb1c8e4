"""How sure the results are: seeds and widths, networks from the literature, flips of signs, mistakes."""

from __future__ import annotations

from bnnlib.data import mnist
from bnnlib.report.comparison import Width
from bnnlib.report.mistakes import confused, errors
from bnnlib.report.parts.results import origin, spread
from bnnlib.report.parts.source import Source, table
from bnnlib.sweeps.results import NONE

LITERATURE = "docs/literature.md"
PAIRS = 8  # of the classes most often confused
TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}
SWEPT = ("macro_f1", "loss", "accuracy", "validation_macro_f1")
HEADS = [
    *("data set", "topology", "surrogate", "bits", "seeds", "macro-F1", "loss", "accuracy"),
    *("validation macro-F1", "weight bytes", "measured at"),
]


def seeds(source: Source) -> str:
    """A row for each data set, topology, bit width and surrogate of the sweeps, and how to measure what is missing."""
    swept = source.report("sweep.csv")
    lines = []
    if all(width.commit for width in source.swept):
        lines = [
            f"Not measured yet: the commands of the frozen stage `sweep` in {source.link('dvc.yaml')} fill {swept}, "
            "and `dvc repro` then shows it here."
        ]
    if source.swept:
        lines += [
            "Each row retrains from scratch on one thread, with the same split into training and validation images. "
            "Cells show mean ± sample standard deviation over the seeds, or the single value for one seed. Scores are "
            f"on the test images, except in the validation column. From {swept}.{origin(source, source.swept)}",
            table(HEADS, [_row(width) for width in source.swept], left=3),
        ]
    return "\n\n".join(lines)


def _row(width: Width) -> list[str]:
    summary, group = width.summary, width.summary.group
    surrogate = "" if group.surrogate == NONE else group.surrogate
    return [
        *(TITLES[group.dataset], group.topology, surrogate, f"{group.bits}", f"{summary.n}"),
        *(spread(summary.scores[name]) for name in SWEPT),
        *(f"{width.weight_bytes:,}", f"`{width.commit}`" if width.commit else ""),
    ]


def passes(source: Source) -> str:
    """A row for each topology of the sweep at 1 bit: one pass over each image beside several, small networks first."""
    found = [
        width
        for width in source.swept
        if width.summary.group.dataset == source.data and "passes_macro_f1" in width.summary.scores
    ]
    if not found:
        return f"Not known yet: {source.report('sweep.csv')} has no network of 1 bit that made several passes."
    heads = ["topology", "weight bytes", "seeds", "macro-F1", "loss", "several passes: macro-F1", "loss"]
    return table(heads, [_row_of_passes(width) for width in sorted(found, key=lambda width: width.weight_bytes)])


def _row_of_passes(width: Width) -> list[str]:
    scores = width.summary.scores
    cells = [spread(scores[name]) for name in ("macro_f1", "loss", "passes_macro_f1", "passes_loss")]
    return [width.summary.group.topology, f"{width.weight_bytes:,}", f"{width.summary.n}", *cells]


def frontier(source: Source) -> str:
    """The figure of score against size; on MNIST with networks from the literature."""
    figure = source.figure("frontier", "Macro-F1 against weight bytes")
    if source.data != "mnist":
        return figure
    return f"{figure}\n\nSources and conditions of the other networks: {source.link(LITERATURE)}."


def flips(source: Source) -> str:
    """The figure of the weights that change sign in each epoch."""
    bits = source.metrics["binary"]["bits"]
    if bits > 1:
        return f"None: the binary network of these reports has {bits} bits, and only 1-bit weights are signs."
    return source.figure("flips", "Share of the binary weights that change sign in each epoch")


def mistakes(source: Source) -> str:
    """How many images are wrong, the worst of them, and the pairs of classes most often confused."""
    found = errors(source.predictions)
    classes = mnist.CLASS_NAMES[source.data]
    lines = [
        f"Of {found.images:,} test images the binary network gets {found.binary:,} wrong and the full network "
        f"{found.full:,}; {found.both:,} are wrong in both. The binary network's worst, by loss:",
        source.figure("mistakes", "Test images that the binary network gets wrong"),
    ]
    rows = [
        [classes[pair.label], classes[pair.prediction], f"{pair.binary}", f"{pair.full}"]
        for pair in confused(source.predictions, PAIRS)
    ]
    if rows:
        lines += ["Its most frequent confusions:", table(["true", "predicted", "binary", "full"], rows, left=2)]
    return "\n\n".join(lines)
