"""The command that times prediction, or training with --training, or the networks of the sweep with --sizes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bnnlib.commands import options
from bnnlib.commands.options import PARAMS_YAML, REPORTS, Reports

# The three benchmarks have other defaults, and each takes other options, so None stands for an option not given.
Rounds = Annotated[
    int | None, typer.Option(min=1, help="Number of timing rounds.", show_default="15; with --training: 7")
]
Images = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Validation images to predict before the timing; no batch is larger. --training: images of a round. "
        "Not with --sizes.",
        show_default="1024; with --training: 4800",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="--training: epochs in which our loop should reach the score.", show_default="2"),
]
EpochsAtMost = Annotated[
    int | None, typer.Option(min=1, help="--training: epochs after which the baseline gives up.", show_default="60")
]
Save = Annotated[
    bool,
    typer.Option(
        "--save",
        help="Write benchmark.json and benchmark.png to the reports; --training: benchmark_training.json; "
        "--sizes: benchmark_sizes.json.",
    ),
]
Networks = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="The folder with full.safetensors and binary.bnn. Not with --training or --sizes.",
        show_default="models",
    ),
]
Prepared = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="The folder with train.npz and validation.npz. Not with --sizes.",
        show_default="data/processed",
    ),
]
Recipes = Annotated[
    Path | None,
    typer.Option(readable=False, help="--training: the recipes; --sizes: the topologies.", show_default="params.yaml"),
]
Measured = tuple[dict[str, Any], str]  # the record, and the same as Markdown


def benchmark(
    training: Annotated[bool, typer.Option("--training", help="Time training instead, beside the baseline.")] = False,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Time an image in every network of the table sweep.csv in the reports.")
    ] = False,
    rounds: Rounds = None,
    images: Images = None,
    epochs: Epochs = None,
    epochs_at_most: EpochsAtMost = None,
    save: Save = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    reports: Reports = REPORTS,
    networks: Networks = None,
    data: Prepared = None,
    params_yaml: Recipes = None,
) -> None:
    """Time the packed network beside torch and onnxruntime: minutes on all cores of an otherwise idle machine.

    Contestants that are not installed are left out with a warning; the extra peers has them.

    --training takes half an hour. It measures the seconds of an epoch, and of a training until it has the score of the
    baseline, the training loop that the study started from.

    --sizes takes some minutes. It measures one thread on networks of random weights, so nothing has to be trained.
    """
    counts, race = {"images": images}, {"epochs": epochs, "epochs_at_most": epochs_at_most}
    if training and sizes:
        raise typer.BadParameter("either --training or --sizes")
    if not training:
        _refuse("only with --training", race)
    if training or sizes:
        _refuse(f"not with {'--training' if training else '--sizes'}", {"networks": networks})
    else:
        _refuse("only with --training or --sizes", {"params_yaml": params_yaml})
    if sizes:
        _refuse("not with --sizes", {**counts, "data": data})
    out, recipes = reports if save else None, PARAMS_YAML if params_yaml is None else params_yaml
    prepared = Path("data/processed") if data is None else data
    if sizes:
        result, text = _of_sizes(reports, recipes, _given(rounds=rounds), out)
    elif training:
        result, text = _of_training(prepared, recipes, _given(rounds=rounds, **counts, **race), out)
    else:
        folder = options.networks_folder(networks)
        result, text = _of_prediction(folder, prepared, _given(rounds=rounds, **counts), out)
    typer.echo(json.dumps(result, indent=2, allow_nan=False) if as_json else text)


def _refuse(why: str, given: Mapping[str, object]) -> None:
    """Wrong usage, if any of these options was given."""
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if named:
        raise typer.BadParameter(f"{why}: {', '.join(named)}")


def _given(**numbers: int | None) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if number is not None}


def _of_prediction(networks: Path, data: Path, sizes: dict[str, int], reports: Path | None) -> Measured:
    """Time the prediction; saved where ``reports`` is given. ``sizes``: images, rounds."""
    from bnnlib.benchmark.prediction import record
    from bnnlib.benchmark.timing import Effort
    from bnnlib.core import files, records
    from bnnlib.report.figures import benchmark, style
    from bnnlib.report.parts import speed

    images = sizes.pop("images", record.IMAGES)
    effort = Effort(**sizes)
    found = record.run(networks, data, images, effort, _tell)
    result = record.to_json(found, effort, _today())
    if reports is not None:
        picture = style.png(benchmark.benchmark(result))
        files.write_json(reports / "benchmark.json", result)
        files.write_bytes(reports / "benchmark.png", picture)
        for name in ("benchmark.json", "benchmark.png"):
            records.note(reports / name)
    return result, speed.prediction_markdown(result)


def _of_training(data: Path, params_yaml: Path, sizes: dict[str, int], reports: Path | None) -> Measured:
    """Time the training; saved where ``reports`` is given. ``sizes``: the fields of a `Plan`."""
    from bnnlib.benchmark.training import record
    from bnnlib.benchmark.training.contest import Plan
    from bnnlib.config import params
    from bnnlib.core import files, records
    from bnnlib.report.parts import speed

    plan = Plan(**sizes)
    found = record.run(data, params.load(params_yaml), plan, _tell)
    result = record.to_json(found, plan, _today())
    if reports is not None:
        files.write_json(reports / "benchmark_training.json", result)
        records.note(reports / "benchmark_training.json")
    return result, speed.training_markdown(result)


def _of_sizes(reports: Path, params_yaml: Path, sizes: dict[str, int], out: Path | None) -> Measured:
    """Time the networks of the sweep; saved in ``out`` where it is given. ``sizes``: rounds."""
    from bnnlib.benchmark import sizes as record
    from bnnlib.benchmark.timing import Effort
    from bnnlib.config import params
    from bnnlib.core import files, records
    from bnnlib.report import costs
    from bnnlib.report.parts import speed

    effort = Effort(**sizes)
    found = record.run(reports, params.load(params_yaml), effort, _tell)
    result = record.to_json(found, effort, _today())
    if out is not None:
        files.write_json(out / costs.RECORD, result)
        records.note(out / costs.RECORD)
    return result, speed.sizes_markdown(result)


def _today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()


def _tell(line: str) -> None:
    typer.echo(line, err=True)
