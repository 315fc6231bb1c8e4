"""The speeds as Markdown, from the records of both benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bnnlib.core import files, records
from bnnlib.report import costs
from bnnlib.report.parts.source import Source, table
from bnnlib.sweeps.results import width

PREDICTION, TRAINING, SIZES = "benchmark.json", "benchmark_training.json", costs.RECORD
COMMANDS = {
    PREDICTION: "bnn benchmark --save",
    TRAINING: "bnn benchmark --training --save",
    SIZES: "bnn benchmark --sizes --save",
}
RATIOS = {
    "torch_fp32": "throughput, PyTorch float32",
    "onnxruntime_fp32": "throughput, onnxruntime float32",
    "onnxruntime_int8": "throughput, onnxruntime int8",
    "torch_fp32_latency": "one image alone, PyTorch float32",
    "two_cores": "throughput on two threads, itself on one",
}
PEERS = {"torch_fp32": "PyTorch float32", "onnxruntime_int8": "onnxruntime int8"}  # that the README names
SIZE_WAYS = ("fast", "onnxruntime_fp32", "onnxruntime_int8")
SIZE_HEADS = ["topology", "bits", *SIZE_WAYS]
OURS, BASELINE = "ours", "baseline"
TRAINING_HEADS = [
    *("network", "loop", "batch size", "s per epoch", "middle half", "images/s"),
    *("epochs to the score", "s to the score"),
]


def sentences(source: Source) -> str:
    """Both benchmarks in a sentence each."""
    return "\n".join([_recorded(source, PREDICTION, _prediction), _recorded(source, TRAINING, _training)])


def prediction(source: Source) -> str:
    """The benchmark of prediction."""
    picture = source.image("benchmark.png", "Time per image of each contestant")
    return _recorded(source, PREDICTION, lambda record: prediction_markdown(record, picture))


def training(source: Source) -> str:
    """The benchmark of training."""
    return _recorded(source, TRAINING, training_markdown)


def sizes(source: Source) -> str:
    """The benchmark of the sweep's networks."""
    return _recorded(source, SIZES, sizes_markdown)


def _recorded(source: Source, name: str, write: Callable[[Mapping[str, Any]], str]) -> str:
    """Text from a record in the reports, or the command that makes the record."""
    path = source.reports / name
    if not path.exists():
        return f"Not measured yet: `{COMMANDS[name]}` writes {source.reports.name}/{name}."
    records.check(path)
    return write(files.read_json(path))


def prediction_markdown(record: Mapping[str, Any], picture: str = "") -> str:
    """Machine, times, picture and ratios of reports/benchmark.json. ``picture``: Markdown of it, "" for none."""
    conditions = (
        f"{_conditions(record)} Microseconds per image from uint8 pixels to logits, all preparation included: medians "
        f"of {record['effort']['rounds']} interleaved rounds, on one thread unless the column says otherwise."
    )
    blocks = [conditions, _times(record["contestants"], record["machine"]["cores"]), picture, _ratios(record)]
    return "\n\n".join(filter(None, blocks))


def training_markdown(record: Mapping[str, Any]) -> str:
    """Machine, times and ratios of reports/benchmark_training.json."""
    plan, images, networks = record["plan"], record["images"], record["networks"]
    conditions = (
        f"{_conditions(record)} Both loops run in one process, torch on {_threads(record)}, device {record['device']}. "
        f"Seconds per epoch of {images['train']:,} images: medians of {plan['rounds']} interleaved rounds of "
        f"{plan['images']:,}. Seconds to the score: one training each, until macro-F1 on {images['validation']:,} "
        "validation images reaches it, including the validation pass after each epoch. Ours trains the topology of "
        "params.yaml, the baseline its own."
    )
    rows = [
        [variant, name, f"{network['batch_size'][name]}", *_loop(loop)]
        for variant, network in networks.items()
        for name, loop in network["loops"].items()
    ]
    gains = [f"- {variant}: {_gain(network)}" for variant, network in networks.items()]
    return "\n\n".join([conditions, table(TRAINING_HEADS, rows, left=2), "\n".join(gains)])


def sizes_markdown(record: Mapping[str, Any]) -> str:
    """Machine and times of reports/benchmark_sizes.json, a row for each network."""
    conditions = (
        f"{_conditions(record)} Microseconds per image from uint8 pixels to logits on one thread, all preparation "
        f"included: medians of {record['effort']['rounds']} interleaved rounds, at the faster of two batch sizes, of "
        "networks with random weights."
    )
    rows = [[each["topology"], f"{each['bits']}", *_fastest(each["times"])] for each in record["networks"]]
    lacking = [f"{way} is missing: {reason}" for way, reason in record["missing"].items()]
    return "\n\n".join([conditions, table(SIZE_HEADS, rows), *lacking])


def _fastest(times: Sequence[Mapping[str, Any]]) -> list[str]:
    """The cells of a network: the least median of each way to compute it, "" for a way that it has not."""
    cells = []
    for way in SIZE_WAYS:
        found = [time["us_per_image"]["median"] for time in times if time["way"] == way]
        cells.append(f"{min(found):,.1f}" if found else "")
    return cells


def _prediction(record: Mapping[str, Any]) -> str:
    times = [time for time in record["contestants"]["fast"]["times"] if time["threads"] == 1]
    fastest = min(time["us_per_image"]["median"] for time in times)
    gains = [
        f"{record['ratios'][key]:.0f} times faster than {name}" for key, name in PEERS.items() if record["ratios"][key]
    ]
    beside = f": {', '.join(gains)}, which run the 16-bit network" if gains else ""
    return (
        f"On one thread ({record['machine']['processor']}) the packed network takes {fastest:.1f} µs per image{beside}."
    )


def _training(record: Mapping[str, Any]) -> str:
    networks = record["networks"].values()
    epochs = [
        f"{each['loops'][OURS]['seconds_per_epoch']['median']:.1f} s ({width(each['bits'])})" for each in networks
    ]
    ratios = [f"{each['epoch_ratio']['median']:.1f}" for each in networks]
    return (
        f"A training epoch takes {' and '.join(epochs)} on {_threads(record)}, {' and '.join(ratios)} times "
        "faster than the baseline's loop with its topology."
    )


def _threads(record: Mapping[str, Any]) -> str:
    return f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"


def _conditions(record: Mapping[str, Any]) -> str:
    """The machine, what it was busy with, the versions, the date."""
    machine, versions = record["machine"], record["versions"]
    installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    return (
        f"{machine['processor']}, {machine['cores']} cores ({machine['architecture']}: {', '.join(machine['isa'])}), "
        f"{machine['memory_gib']} GiB, load average {machine['load_average']} before; {installed}; {record['date']}."
    )


def _times(contestants: Mapping[str, Any], cores: int) -> str:
    """A row for each contestant: medians on one thread by batch size, and the best of any size on all cores."""
    batches = sorted({time["batch"] for each in contestants.values() for time in each["times"]})
    heads = [*(f"batch {batch:,}" for batch in batches), f"{cores} threads, best batch", "validation accuracy"]
    rows = []
    for name, each in contestants.items():
        if each["missing"] is not None:
            rows.append([f"{name} (missing: {each['missing']})", *[""] * len(heads)])
            continue
        single = {time["batch"]: time["us_per_image"]["median"] for time in each["times"] if time["threads"] == 1}
        many = [time["us_per_image"]["median"] for time in each["times"] if time["threads"] == cores]
        cells = [f"{single[batch]:,.1f}" if batch in single else "" for batch in batches]
        rows.append([name, *cells, f"{min(many):,.1f}" if many else "", f"{each['accuracy']:.2%}"])
    return table(["contestant", *heads], rows)


def _ratios(record: Mapping[str, Any]) -> str:
    masked = record["masked"]
    found = [(text, record["ratios"][name], record["ratio_details"][name]) for name, text in RATIOS.items()]
    without = f"throughput, PyTorch float32, both without AVX-512 ({masked['isa']} only)"
    found.append((without, masked["ratios"]["torch_fp32"], masked["ratio_details"]["torch_fp32"]))
    rows = [
        [text, "not measured", details["reason"]]
        if value is None
        else [text, f"{value:.1f}", f"{details['low']:.1f} to {details['high']:.1f}"]
        for text, value, details in found
    ]
    return table(["the fast engine compared with", "times faster", "middle half"], rows)


def _loop(loop: Mapping[str, Any]) -> list[str]:
    """The cells of one loop."""
    seconds, race = loop["seconds_per_epoch"], loop["time_to_score"]
    reached = race["reached"]
    return [
        f"{seconds['median']:.1f}",
        f"{seconds['low']:.1f} to {seconds['high']:.1f}",
        f"{loop['images_per_s']:,.0f}",
        f"{race['epochs']}" if reached else f"not within {race['epochs']}",
        f"{race['seconds']:,.1f}" if reached else f"more than {race['seconds']:,.1f}",
    ]


def _gain(network: Mapping[str, Any]) -> str:
    """The ratios of one network, in a sentence."""
    epoch, score, target = network["epoch_ratio"], network["score_ratio"], network["target"]
    races = {name: loop["time_to_score"] for name, loop in network["loops"].items()}
    if score["value"] is None:
        sooner = f"ours does not reach macro-F1 {target} within {races[OURS]['epochs']} epochs"
    elif score["lower_bound"]:
        missed = f"the baseline does not reach it within {races[BASELINE]['epochs']} epochs"
        sooner = f"macro-F1 {target} more than {score['value']:.1f} times sooner: {missed}"
    else:
        sooner = f"macro-F1 {target} {score['value']:.1f} times sooner"
    middle = f"middle half of the rounds: {epoch['low']:.1f} to {epoch['high']:.1f}"
    return f"an epoch {epoch['median']:.1f} times faster than the baseline's ({middle}); {sooner}."
