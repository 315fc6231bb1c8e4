"""The generated parts of the README - results, speed, speed of training: tables and figures, from reports/ alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bnnlib import files
from bnnlib.errors import BnnError


class Markers(NamedTuple):
    """The lines of the page between which a generated part stands."""

    begin: str
    end: str


RESULTS = Markers("<!-- results: written by `bnn readme` from reports/; edits are lost -->", "<!-- end of results -->")
SPEED = Markers(
    "<!-- speed: written by `bnn readme` from reports/benchmark.json; edits are lost -->", "<!-- end of speed -->"
)
TRAINING = Markers(
    "<!-- training: written by `bnn readme` from reports/benchmark_training.json; edits are lost -->",
    "<!-- end of training -->",
)
FIGURES = "figures"
RATIOS = {
    "torch_fp32": "throughput, PyTorch float32",
    "onnxruntime_fp32": "throughput, onnxruntime float32",
    "onnxruntime_int8": "throughput, onnxruntime int8",
    "torch_fp32_latency": "one image alone, PyTorch float32",
    "two_cores": "throughput of two threads, itself on one",
}


class ReadmeError(BnnError):
    """The page lacks its markers, or a generated part is stale."""


def page(text: str, reports: Path, name: str) -> str:
    """The page as it should be: its parts written anew from the reports."""
    for markers, write in ((RESULTS, generate), (SPEED, speed), (TRAINING, training)):
        text = updated(text, write(reports), name, markers)
    return text


def updated(text: str, generated: str, name: str, markers: Markers = RESULTS) -> str:
    """The page with ``generated`` between two markers; `ReadmeError` where one of them is not there exactly once."""
    for marker in markers:
        if text.count(marker) != 1:
            raise ReadmeError(f"{name}: the marker {marker} stands there {text.count(marker)} times, expected once")
    head, _, rest = text.partition(markers.begin)
    _, end, tail = rest.partition(markers.end)
    if not end:
        raise ReadmeError(f"{name}: the marker {markers.end} stands before {markers.begin}")
    return f"{head}{markers.begin}\n\n{generated}\n{markers.end}{tail}"


def generate(reports: Path) -> str:
    """The results as Markdown: tables, curves, confusion matrices, kernels. Links are relative to reports/'s parent."""
    metrics = files.read_json(reports / "metrics.json")
    sizes = files.read_json(reports / "sizes.json")
    agreement = files.read_json(reports / "agreement.json")
    try:
        return _page(reports, metrics, sizes, agreement)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ReadmeError(
            f"{reports}: metrics.json, sizes.json or agreement.json lacks what the page shows ({reason}); "
            "`dvc repro evaluate agreement` writes them"
        ) from error


def speed(reports: Path) -> str:
    """The benchmark as Markdown: machine, times, figure, ratios; without a record, how to make one."""
    return _recorded(reports, "benchmark.json", "bnn benchmark --save", _speed)


def training(reports: Path) -> str:
    """The benchmark of the training as Markdown: machine, times, ratios; without a record, how to make one."""
    return _recorded(reports, "benchmark_training.json", "bnn benchmark --training --save", _training)


def _recorded(reports: Path, name: str, command: str, write: Callable[[Path, Mapping[str, Any]], str]) -> str:
    """A part written from a record in the reports, or the command that makes this."""
    path = reports / name
    if not path.exists():
        return f"Nothing measured yet: `{command}` writes {reports.name}/{name}.\n"
    record = files.read_json(path)
    try:
        return write(reports, record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ReadmeError(f"{path}: lacks what the page shows ({reason}); `{command}` writes it") from error


def _page(reports: Path, metrics: dict[str, Any], sizes: dict[str, Any], agreement: dict[str, Any]) -> str:
    folder = f"{reports.name}/{FIGURES}"
    return "\n".join(
        [
            *_results(metrics, sizes),
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
        cells = (f"![{path.stem}]({reports.name}/{FIGURES}/{path.name})" for path in paths)
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines


def _conditions(record: Mapping[str, Any]) -> str:
    """The machine, what it was busy with, the versions, the date."""
    machine, versions = record["machine"], record["versions"]
    installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    return (
        f"{machine['processor']}, {machine['cores']} cores ({machine['architecture']}: {', '.join(machine['isa'])}), "
        f"{machine['memory_gib']} GiB, load average {machine['load_average']} before; {installed}; {record['date']}."
    )


def _speed(reports: Path, record: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            f"{_conditions(record)} Microseconds an image from uint8 pixels to logits, all preparation included: "
            f"medians of {record['effort']['rounds']} interleaved rounds, one thread unless the column says otherwise.",
            "",
            *_times(record["contestants"], record["machine"]["cores"]),
            "",
            f"![Time an image of each contestant]({reports.name}/benchmark.png)",
            "",
            *_ratios(record),
            "",
            *_where(record),
            "",
        ]
    )


def _times(contestants: Mapping[str, Any], cores: int) -> list[str]:
    """A row for each contestant: medians on one thread by batch size, and the best of any size on all cores."""
    batches = sorted({time["batch"] for each in contestants.values() for time in each["times"]})
    heads = [*(f"batch {batch:,}" for batch in batches), f"{cores} threads, best batch", "validation accuracy"]
    lines = [f"| contestant | {' | '.join(heads)} |", f"| --- | {' | '.join('---:' for _ in heads)} |"]
    for name, each in contestants.items():
        if each["missing"] is not None:
            lines.append(f"| {name} (missing: {each['missing']}) |{' |' * len(heads)}")
            continue
        single = {time["batch"]: time["us_per_image"]["median"] for time in each["times"] if time["threads"] == 1}
        many = [time["us_per_image"]["median"] for time in each["times"] if time["threads"] == cores]
        cells = [f"{single[batch]:,.1f}" if batch in single else "" for batch in batches]
        cells += [f"{min(many):,.1f}" if many else "", f"{each['accuracy']:.2%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _ratios(record: Mapping[str, Any]) -> list[str]:
    masked = record["masked"]
    rows = [(text, record["ratios"][name], record["ratio_details"][name]) for name, text in RATIOS.items()]
    without = f"throughput, PyTorch float32, both without AVX-512 ({masked['isa']} only)"
    rows.append((without, masked["ratios"]["torch_fp32"], masked["ratio_details"]["torch_fp32"]))
    lines = ["| the fast engine beside | times better | half of the rounds |", "| --- | ---: | ---: |"]
    for text, value, details in rows:
        if value is None:
            lines.append(f"| {text} | not measured | {details['reason']} |")
        else:
            lines.append(f"| {text} | {value:.1f} | {details['low']:.1f} to {details['high']:.1f} |")
    return lines


def _where(record: Mapping[str, Any]) -> list[str]:
    """Where the time goes, the ceiling, the memory."""
    layer, parts, memory = record["largest_layer"], record["parts"], record["memory"]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in parts["shares"].items())
    times = {name: each["median"] for name, each in layer["us_per_image"].items()}
    lines = [f"- Where the time of the fast engine's kernel goes: {shares}."]
    if layer["ceiling"] is None:
        lines.append(f"- Ceiling of {layer['name']}: not measured, {layer['missing']['ceiling']}.")
    else:
        lines.append(
            f"- {layer['name']} alone ({layer['shape']}): {times['fast']:.2f} us; a kernel by hand in AVX-512 "
            f"intrinsics {times[layer['ceiling']]:.2f} us, of whose rate the engine reaches "
            f"{record['ratios']['ceiling_fraction']:.0%}."
        )
    if "numkong" in times:
        lines.append(f"- NumKong's packed Hamming product, on patches made before: {times['numkong']:.2f} us.")
    if memory["reason"] is None:
        lines.append(
            f"- {memory['images']:,} images at once: {memory['growth_mb']} MB more memory, {memory['process_mb']} MB "
            "for the whole process."
        )
    return lines


def _training(_reports: Path, record: Mapping[str, Any]) -> str:
    plan, images, networks = record["plan"], record["images"], record["networks"]
    threads = f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"
    lines = [
        f"{_conditions(record)} Both loops in one process, {threads} of torch, device {record['device']}. Seconds an "
        f"epoch of {images['train']:,} images: medians of {plan['rounds']} interleaved turns of {plan['images']:,}. "
        f"Seconds to the score: one training of each, until macro-F1 on {images['validation']:,} validation images is "
        "there; the validation pass after each epoch counts on both sides.",
        "",
        "| network | loop | s an epoch | half of the turns | images/s | share of the matrix product's rate "
        "| epochs to the score | s to the score |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for variant, network in networks.items():
        lines += [f"| {variant} | {name} | {_loop(loop)} |" for name, loop in network["loops"].items()]
    lines.append("")
    lines += [f"- {variant}: {_gain(network)}" for variant, network in networks.items()]
    lines.append(
        f"- The matrix product is that of two float32 matrices of {record['matrix_product_side']:,} rows and columns, "
        f"timed in the same turns; training takes {record['step_macs_per_image']:,} multiply-adds an image by the "
        "plain formula, whatever a loop really does."
    )
    return "\n".join([*lines, ""])


def _loop(loop: Mapping[str, Any]) -> str:
    """The cells of one loop."""
    seconds, race = loop["seconds_per_epoch"], loop["time_to_score"]
    cells = [
        f"{seconds['median']:.1f}",
        f"{seconds['low']:.1f} to {seconds['high']:.1f}",
        f"{loop['images_per_s']:,.0f}",
        f"{loop['matrix_product_fraction']:.0%}",
        f"{race['epochs']}" if race["reached"] else f"not within {race['epochs']}",
        f"{race['seconds']:,.1f}" if race["reached"] else f"more than {race['seconds']:,.1f}",
    ]
    return " | ".join(cells)


def _gain(network: Mapping[str, Any]) -> str:
    """The ratios of one network, in a sentence."""
    epoch, score, target = network["epoch_ratio"], network["score_ratio"], network["target"]
    races = {name: loop["time_to_score"] for name, loop in network["loops"].items()}
    if score["value"] is None:
        sooner = f"ours does not reach macro-F1 {target} within {races['ours']['epochs']} epochs"
    elif score["lower_bound"]:
        missed = f"the reference does not reach it within {races['reference']['epochs']} epochs"
        sooner = f"macro-F1 {target} more than {score['value']:.1f} times sooner, for {missed}"
    else:
        sooner = f"macro-F1 {target} {score['value']:.1f} times sooner"
    quartiles = f"half of the turns: {epoch['low']:.1f} to {epoch['high']:.1f}"
    return f"an epoch {epoch['median']:.1f} times quicker than the reference's ({quartiles}); {sooner}."
