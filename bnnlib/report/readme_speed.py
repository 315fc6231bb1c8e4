"""The speeds as Markdown, from the records of both benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RATIOS = {
    "torch_fp32": "throughput, PyTorch float32",
    "onnxruntime_fp32": "throughput, onnxruntime float32",
    "onnxruntime_int8": "throughput, onnxruntime int8",
    "torch_fp32_latency": "one image alone, PyTorch float32",
    "two_cores": "throughput of two threads, itself on one",
}


def markdown(record: Mapping[str, Any], figure: str) -> str:
    """Machine, times, figure, ratios of reports/benchmark.json; ``figure``: the link to its picture."""
    return "\n".join(
        [
            f"{_conditions(record)} Microseconds an image from uint8 pixels to logits, all preparation included: "
            f"medians of {record['effort']['rounds']} interleaved rounds, one thread unless the column says otherwise.",
            "",
            *_times(record["contestants"], record["machine"]["cores"]),
            "",
            f"![Time an image of each contestant]({figure})",
            "",
            *_ratios(record),
            "",
        ]
    )


def training_markdown(record: Mapping[str, Any]) -> str:
    """Machine, times and ratios of reports/benchmark_training.json."""
    plan, images, networks = record["plan"], record["images"], record["networks"]
    threads = f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"
    lines = [
        f"{_conditions(record)} Both loops in one process, {threads} of torch, device {record['device']}. Seconds an "
        f"epoch of {images['train']:,} images: medians of {plan['rounds']} interleaved turns of {plan['images']:,}. "
        f"Seconds to the score: one training of each, until macro-F1 on {images['validation']:,} validation images is "
        "there; the validation pass after each epoch counts on both sides. Ours trains the topology of "
        "params.yaml, the reference its own.",
        "",
        "| network | loop | batch size | s an epoch | half of the turns | images/s | epochs to the score "
        "| s to the score |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for variant, network in networks.items():
        sizes = network["batch_size"]
        lines += [f"| {variant} | {name} | {sizes[name]} | {_loop(loop)} |" for name, loop in network["loops"].items()]
    lines.append("")
    lines += [f"- {variant}: {_gain(network)}" for variant, network in networks.items()]
    return "\n".join([*lines, ""])


def _conditions(record: Mapping[str, Any]) -> str:
    """The machine, what it was busy with, the versions, the date."""
    machine, versions = record["machine"], record["versions"]
    installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    return (
        f"{machine['processor']}, {machine['cores']} cores ({machine['architecture']}: {', '.join(machine['isa'])}), "
        f"{machine['memory_gib']} GiB, load average {machine['load_average']} before; {installed}; {record['date']}."
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


def _loop(loop: Mapping[str, Any]) -> str:
    """The cells of one loop."""
    seconds, race = loop["seconds_per_epoch"], loop["time_to_score"]
    cells = [
        f"{seconds['median']:.1f}",
        f"{seconds['low']:.1f} to {seconds['high']:.1f}",
        f"{loop['images_per_s']:,.0f}",
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
        sooner = f"macro-F1 {target} more than {score['value']:.1f} times sooner: {missed}"
    else:
        sooner = f"macro-F1 {target} {score['value']:.1f} times sooner"
    quartiles = f"half of the turns: {epoch['low']:.1f} to {epoch['high']:.1f}"
    return f"an epoch {epoch['median']:.1f} times quicker than the reference's ({quartiles}); {sooner}."
