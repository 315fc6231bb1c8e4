"""The generated parts of the README - results, evidence, speeds - from reports/ alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import DataName
from bnnlib.report import readme_comparison, readme_speed


class Markers(NamedTuple):
    """The lines of the page between which a generated part stands."""

    begin: str
    end: str


RESULTS = Markers("<!-- results: written by `bnn readme` from reports/; edits are lost -->", "<!-- end of results -->")
EVIDENCE = Markers(
    "<!-- evidence: written by `bnn readme` from reports/; edits are lost -->", "<!-- end of evidence -->"
)
SPEED = Markers(
    "<!-- speed: written by `bnn readme` from reports/benchmark.json; edits are lost -->", "<!-- end of speed -->"
)
TRAINING = Markers(
    "<!-- training: written by `bnn readme` from reports/benchmark_training.json; edits are lost -->",
    "<!-- end of training -->",
)
FIGURES = "figures"


class ReadmeError(BnnError):
    """The page lacks its markers, or a generated part is stale."""


def page(text: str, reports: Path, name: str, data: DataName) -> str:
    """The page as it should be: all parts written again from the reports on a data set."""
    parts = (
        (generate(reports, data), RESULTS),
        (evidence(reports, data), EVIDENCE),
        (speed(reports), SPEED),
        (training(reports), TRAINING),
    )
    for generated, markers in parts:
        text = updated(text, generated, name, markers)
    return text


def updated(text: str, generated: str, name: str, markers: Markers = RESULTS) -> str:
    """The page with ``generated`` between two markers; `ReadmeError` where one of them is not there exactly once."""
    way_out = f"; put it right, or take the last commit's page, without your edits: `git checkout -- {name}`"
    for marker in markers:
        if text.count(marker) != 1:
            raise ReadmeError(f"{name}: the marker {marker} stands there {text.count(marker)} times, not once{way_out}")
    head, _, rest = text.partition(markers.begin)
    _, end, tail = rest.partition(markers.end)
    if not end:
        raise ReadmeError(f"{name}: the marker {markers.end} stands before {markers.begin}{way_out}")
    return f"{head}{markers.begin}\n\n{generated}\n{markers.end}{tail}"


def generate(reports: Path, data: DataName) -> str:
    """The results as Markdown: tables, curves, confusion matrices, kernels. Links are relative to reports/'s parent."""
    metrics = files.read_json(reports / "metrics.json")
    sizes = files.read_json(reports / "sizes.json")
    agreement = files.read_json(reports / "agreement.json")
    remedy = "`dvc repro evaluate agreement` writes them"
    with _complete(f"{reports}: metrics.json, sizes.json or agreement.json", remedy):
        return _page(reports, metrics, sizes, agreement, data)


def evidence(reports: Path, data: DataName) -> str:
    """Seeds, comparison, flips and mistakes as Markdown."""
    metrics = files.read_json(reports / "metrics.json")
    predictions = files.read_csv(reports / "predictions.csv")
    remedy = "`dvc repro evaluate` writes the first two, `bnn sweep` the last"
    with _complete(f"{reports}: metrics.json, predictions.csv or sweep.csv", remedy):
        return readme_comparison.markdown(reports, metrics, predictions, data)


@contextmanager
def _complete(source: str, remedy: str) -> Iterator[None]:
    """A `ReadmeError` with the remedy where the source lacks what a part shows."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ReadmeError(f"{source} lacks what the page shows ({reason}); {remedy}") from error


def speed(reports: Path) -> str:
    """The benchmark as Markdown: machine, times, figure, ratios; without a record, how to make one."""
    figure = f"{reports.name}/benchmark.png"
    return _recorded(
        reports, "benchmark.json", "bnn benchmark --save", lambda record: readme_speed.markdown(record, figure)
    )


def training(reports: Path) -> str:
    """The benchmark of the training as Markdown: machine, times, ratios; without a record, how to make one."""
    return _recorded(
        reports, "benchmark_training.json", "bnn benchmark --training --save", readme_speed.training_markdown
    )


def _recorded(reports: Path, name: str, command: str, write: Callable[[Mapping[str, Any]], str]) -> str:
    """A part written from a record in the reports, or the command that makes this."""
    path = reports / name
    if not path.exists():
        return f"Nothing measured yet: `{command}` writes {reports.name}/{name}.\n"
    record = files.read_json(path)
    with _complete(f"{path}:", f"`{command}` writes it"):
        return write(record)


def _page(
    reports: Path,
    metrics: dict[str, Any],
    sizes: dict[str, Any],
    agreement: dict[str, Any],
    data: DataName,
) -> str:
    folder = f"{reports.name}/{FIGURES}"
    return "\n".join(
        [
            *_results(metrics, sizes),
            *readme_comparison.means(reports, metrics, data),
            "",
            *_agreement(agreement),
            "",
            f"![Loss over the epochs]({folder}/loss.png)",
            f"![Macro-F1 over the epochs]({folder}/macro_f1.png)",
            "",
            *_side_by_side({f"{variant} network": f"{folder}/confusion_{variant}.png" for variant in metrics}),
            "",
            *_kernels(reports, list(metrics)),
            "",
        ]
    )


def _results(metrics: dict[str, Any], sizes: dict[str, Any]) -> list[str]:
    lines = [
        "| model | bits | epoch | macro-F1 | loss | accuracy | weight bytes | file bytes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for variant, result in metrics.items():
        test, size = result["test"], sizes[variant]
        link, file_bytes = f"[{variant}](models/{variant}.safetensors)", size["file_bytes"]
        if size["packed_bytes"] is not None:
            link, file_bytes = f"{link}, [packed](models/{variant}.bnn)", size["packed_bytes"]
        lines.append(
            f"| {link} | {result['bits']} | {result['epoch']} "
            f"| {test['macro_f1']:.4f} | {test['loss']:.4f} | {test['accuracy']:.4f} "
            f"| {size['weight_bytes']:,} | {file_bytes:,} |"
        )
    return lines


def _agreement(splits: dict[str, Any]) -> list[str]:
    """How many images the engines were compared on, and a row for each pair: what differs, over all splits."""
    if not splits:
        return ["No engines were compared: only a 1-bit network has a packed form."]
    images = {name: min(pair["images"] for pair in pairs.values()) for name, pairs in splits.items()}
    each = ", ".join(f"{count:,} {name}" for name, count in images.items())
    lines = [
        f"The trained 1-bit network and both engines of its packed form, compared on {sum(images.values()):,} images "
        f"({each}), integers exactly and float32 logits bit for bit:",
        "",
        "| engines | dot products that differ | logits that differ | predictions that differ |",
        "| --- | ---: | ---: | ---: |",
    ]
    for pair in next(iter(splits.values())):
        sums = (sum(pairs[pair][kind] for pairs in splits.values()) for kind in ("dots", "logits", "predictions"))
        lines.append(f"| {pair} | {' | '.join(f'{count:,}' for count in sums)} |")
    return lines


def _side_by_side(images: dict[str, str]) -> list[str]:
    """A table of one row of pictures, their captions above."""
    return [
        f"| {' | '.join(images)} |",
        f"| {' | '.join(':---:' for _ in images)} |",
        f"| {' | '.join(f'![{caption}]({path})' for caption, path in images.items())} |",
    ]


def _kernels(reports: Path, variants: list[str]) -> list[str]:
    """A table of the kernel pictures that the folder holds, a row for each network."""
    rows = {variant: sorted((reports / FIGURES).glob(f"kernel_{variant}_*.png")) for variant in variants}
    columns = range(1, max(map(len, rows.values())) + 1)
    lines = [
        f"| first-layer kernel | {' | '.join(map(str, columns))} |",
        f"| --- | {' | '.join(':---:' for _ in columns)} |",
    ]
    for variant, paths in rows.items():
        cells = [f"![{path.stem}]({reports.name}/{FIGURES}/{path.name})" for path in paths]
        cells += [""] * (len(columns) - len(cells))  # a network with fewer kernels in its first layer
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines
