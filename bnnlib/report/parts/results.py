"""Scores and sizes, agreement of the engines, and the figures of the published networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from bnnlib.core import files
from bnnlib.report.comparison import BASELINE_TOPOLOGY, Width
from bnnlib.report.parts.source import FIGURES, Source, table
from bnnlib.scoring.metrics import standard_error
from bnnlib.sweeps.results import NONE, Spread
from bnnlib.sweeps.tables import BASELINE_TABLE

SCORES = ["macro_f1", "loss", "accuracy"]
HEADS = ["model", "bits", "epoch", "macro-F1", "loss", "accuracy", "weight bytes", "file bytes"]


def scores(source: Source) -> str:
    """For each bit width a row for the published network, then one for the seeds of its like and of the baseline."""
    sizes = files.read_json(source.reports / "sizes.json")
    images = len(source.predictions)
    means = _means(source, {(each["bits"], sizes[name]["weight_bytes"]) for name, each in source.metrics.items()})
    rows: list[list[str]] = []
    for variant, result in source.metrics.items():
        count = result["passes"]["count"] if "passes" in result else None
        rows.append(_published(source, variant, sizes[variant], images))
        if count is not None:
            rows.append(_passes(result, images))
        for width in (each for each in means if each.summary.group.bits == result["bits"]):
            rows.append(_mean(width, means))
            if count is not None and "passes_macro_f1" in width.summary.scores:
                rows.append(_mean_of_passes(width, count))
    note = f"In parentheses: the standard error of one network's score on {images:,} test images."
    if means:
        note += " ±: the standard deviation over the seeds."
    return f"{table(HEADS, rows)}\n\n{note}{origin(source, means)}"


def origin(source: Source, widths: list[Width]) -> str:
    """Where the rows with a commit come from, if there are any."""
    if not any(width.commit for width in widths):
        return ""
    return (
        " Rows with a commit were measured at that commit, with the topology `baseline` and the recipe of that time "
        f"({source.report(BASELINE_TABLE)})."
    )


def spread(found: Spread) -> str:
    """Mean and standard deviation, or the value of a single seed."""
    return f"{found.mean:.4f}" if found.sd is None else f"{found.mean:.4f} ± {found.sd:.4f}"


def _means(source: Source, published: Set[tuple[int, int]]) -> list[Width]:
    """Groups of several seeds on the same data: with bits and bytes that are published, then the baseline's."""
    found = [width for width in source.swept if width.summary.n > 1 and width.summary.group.dataset == source.data]
    like = [width for width in found if not _is_baseline(width) and _size(width) in published]
    bits = {bits for bits, _ in published}
    return like + [width for width in found if _is_baseline(width) and width.summary.group.bits in bits]


def _is_baseline(width: Width) -> bool:
    return width.summary.group.topology == BASELINE_TOPOLOGY


def _size(width: Width) -> tuple[int, int]:
    return width.summary.group.bits, width.weight_bytes


def _published(source: Source, variant: str, size: Mapping[str, Any], images: int) -> list[str]:
    result = source.metrics[variant]
    test = result["test"]
    file, file_bytes = f"{variant}.safetensors", size["file_bytes"]
    if size["packed_bytes"] is not None:  # the scores are those of the packed file
        file, file_bytes = f"{variant}.bnn", size["packed_bytes"]
    name, sizes = f"ours, [{file}]({source.up}models/{file})", [f"{size['weight_bytes']:,}", f"{file_bytes:,}"]
    return [name, f"{result['bits']}", f"{result['epoch']}", *_scores(test, images), *sizes]


def _passes(result: Mapping[str, Any], images: int) -> list[str]:
    """The row of several passes of the network in the row above."""
    name = f"the same, {result['passes']['count']} passes"
    return [name, f"{result['bits']}", f"{result['epoch']}", *_scores(result["passes"]["test"], images), "", ""]


def _scores(test: Mapping[str, float], images: int) -> list[str]:
    """The cells of `SCORES`, the shares with their standard error."""
    cells = [f"{test[name]:.4f}" for name in SCORES]
    for column, score in ((0, "macro_f1"), (2, "accuracy")):
        cells[column] += f" ({standard_error(test[score], images):.4f})"
    return cells


def _mean(width: Width, among: list[Width]) -> list[str]:
    summary, group = width.summary, width.summary.group
    names = ["baseline" if _is_baseline(width) else f"ours ({group.topology})"]
    if group.surrogate != NONE and len({each.summary.group.surrogate for each in among} - {NONE}) > 1:
        names.append(group.surrogate)
    names.append(f"{summary.n} seeds")
    if _is_baseline(width):
        names.append(f"`{width.commit}`" if width.commit else "today's recipe")
    cells = [spread(summary.scores[name]) for name in SCORES]
    return [", ".join(names), f"{group.bits}", "", *cells, f"{width.weight_bytes:,}", ""]


def _mean_of_passes(width: Width, count: int) -> list[str]:
    """The row of several passes of the networks in the row above."""
    cells = [spread(width.summary.scores[f"passes_{name}"]) for name in ("macro_f1", "loss")]
    return [f"the same, {count} passes", f"{width.summary.group.bits}", "", *cells, "", "", ""]


def agreement(source: Source) -> str:
    """How many images the engines were compared on, and a row for each pair: what differs, over all splits."""
    splits = files.read_json(source.reports / "agreement.json")
    if not splits:
        return "No engines were compared: only a 1-bit network has a packed form."
    images = {name: min(pair["images"] for pair in pairs.values()) for name, pairs in splits.items()}
    each = ", ".join(f"{count:,} {name}" for name, count in images.items())
    heads = ["engines", "dot products that differ", "logits that differ", "predictions that differ"]
    rows = []
    for pair in next(iter(splits.values())):
        sums = (sum(pairs[pair][kind] for pairs in splits.values()) for kind in ("dots", "logits", "predictions"))
        rows.append([pair, *(f"{count:,}" for count in sums)])
    return (
        f"Compared on {sum(images.values()):,} images ({each}): integers exactly, float32 logits bit for bit.\n\n"
        f"{table(heads, rows)}"
    )


def curves(source: Source) -> str:
    """Loss and macro-F1 over the epochs."""
    return "\n".join(
        [source.figure("loss", "Loss over the epochs"), source.figure("macro_f1", "Macro-F1 over the epochs")]
    )


def confusion(source: Source) -> str:
    """The confusion matrices of both networks, side by side."""
    captions = [f"{variant} network" for variant in source.metrics]
    pictures = [
        source.figure(f"confusion_{variant}", f"Confusion matrix of the {variant} network")
        for variant in source.metrics
    ]
    return table(captions, [pictures], left=len(captions))


def kernels(source: Source) -> str:
    """The pictures of first-layer kernels, a row for each network; one with fewer kernels has empty cells."""
    rows = {variant: list(_kernels(source, variant)) for variant in source.metrics}
    columns = max(map(len, rows.values()))
    cells = [[variant, *pictures, *[""] * (columns - len(pictures))] for variant, pictures in rows.items()]
    return table(["network", *(f"{number}" for number in range(1, columns + 1))], cells, left=columns + 1)


def _kernels(source: Source, variant: str) -> Iterator[str]:
    for path in sorted((source.reports / FIGURES).glob(f"kernel_{variant}_*.png")):
        number = path.stem.rpartition("_")[2]
        yield source.figure(path.stem, f"Kernel {number} of the {variant} network")
