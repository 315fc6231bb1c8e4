"""The command that times prediction, or training with --training."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bnnlib.commands import options
from bnnlib.commands.options import PARAMS_YAML, REPORTS, Reports

# --training has other defaults, so None stands for the default of either.
Rounds = Annotated[
    int | None, typer.Option(min=1, help="Number of timing rounds.", show_default="15; with --training: 7")
]
Images = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Validation images to predict before the timing; no batch is larger. --training: images of a round.",
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
        "--save", help="Write benchmark.json and benchmark.png to the reports; --training: benchmark_training.json."
    ),
]
Networks = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="The folder with full.safetensors and binary.bnn. Not with --training.",
        show_default="models",
    ),
]
Recipes = Annotated[
    Path | None, typer.Option(readable=False, help="--training: the recipes.", show_default="params.yaml")
]
Measured = tuple[dict[str, Any], str]  # the record, and the same as Markdown


def benchmark(
    training: Annotated[bool, typer.Option("--training", help="Time training instead, beside the baseline.")] = False,
    rounds: Rounds = None,
    images: Images = None,
    epochs: Epochs = None,
    epochs_at_most: EpochsAtMost = None,
    save: Save = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    reports: Reports = REPORTS,
    networks: Networks = None,
    data: Annotated[Path, typer.Option(readable=False, help="The folder with train.npz and validation.npz.")] = Path(
        "data/processed"
    ),
    params_yaml: Recipes = None,
) -> None:
    """Time the packed network beside torch and onnxruntime: minutes on all cores of an otherwise idle machine.

    Contestants that are not installed are left out with a warning; the extra peers has them.

    --training takes half an hour. It measures the seconds of an epoch, and of a training until it has the score of the
    baseline, the training loop that the study started from.
    """
    sizes = _given(rounds=rounds, images=images)
    longest = _given(epochs=epochs, epochs_at_most=epochs_at_most)
    out = reports if save else None
    if training:
        if networks is not None:
            raise typer.BadParameter("not with --training: --networks")
        recipes = PARAMS_YAML if params_yaml is None else params_yaml
        result, text = _of_training(data, recipes, sizes | longest, out)
    else:
        if longest or params_yaml is not None:
            raise typer.BadParameter("only with --training: --epochs, --epochs-at-most, --params-yaml")
        result, text = _of_prediction(options.networks_folder(networks), data, sizes, out)
    typer.echo(json.dumps(result, indent=2, allow_nan=False) if as_json else text)


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


def _today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()


def _tell(line: str) -> None:
    typer.echo(line, err=True)
