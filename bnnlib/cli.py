"""The `bnn` command."""

from __future__ import annotations

import datetime
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bnnlib.core.errors import BnnError

# Each command imports what it needs itself: pandas alone takes longer than a whole `bnn predict`.

app = typer.Typer(
    help="Tools around the study: check its results, write its README, look at its logbook, name digits, train a grid.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Reports = Annotated[Path, typer.Option(help="The folder with the results.")]
REPORTS = Path("reports")
PARAMS_YAML = Path("params.yaml")
PackedFile = Annotated[Path, typer.Option(help="The packed model.", show_default="models/binary.bnn")]
# Of the repository that this file is in: `bnn predict` is for files anywhere.
MODEL = Path(__file__).resolve().parents[1] / "models" / "binary.bnn"


@app.command()
def check(reports: Reports = REPORTS, params_yaml: Annotated[Path, typer.Option()] = PARAMS_YAML) -> None:
    """Compare the test metrics with the thresholds, and the engines with one another; exit with 1 on a miss."""
    from bnnlib.config import params
    from bnnlib.core import files
    from bnnlib.report import thresholds

    cfg = params.load(params_yaml)
    metrics = files.read_json(reports / "metrics.json")
    found = thresholds.verdicts(metrics, thresholds.thresholds(cfg))
    if thresholds.is_packed(metrics):
        found += thresholds.agreement(files.read_json(reports / "agreement.json"), cfg.data.limit)
    for verdict in found:
        typer.echo(verdict)
    missed = [verdict.name for verdict in found if not verdict.passed]
    if missed:
        raise thresholds.GateError(f"{len(missed)} of {len(found)} bounds missed: {', '.join(missed)}")


@app.command(name="readme")
def write_readme(
    reports: Reports = REPORTS,
    page: Annotated[Path, typer.Option(help="The page whose generated parts are written.")] = Path("README.md"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 when the page is stale.")] = False,
    params_yaml: Annotated[Path, typer.Option()] = PARAMS_YAML,
) -> None:
    """Write the tables and the figures of the README from the reports."""
    from bnnlib.config import params
    from bnnlib.core import files
    from bnnlib.report import readme

    text = files.read_text(page)
    wanted = readme.page(text, reports, str(page), params.load(params_yaml).data.name)
    if text == wanted:
        typer.echo(f"{page} is up to date")
    elif check:
        raise readme.ReadmeError(f"{page} is stale: it does not show what {reports} holds; run `bnn readme`")
    else:
        files.write_text(page, wanted)
        typer.echo(f"{page} written")


@app.command()
def mend() -> None:
    """Clear away what a killed DVC left half-written in this folder; for when no DVC runs."""
    from bnnlib import dvc_repair

    for done in dvc_repair.mend(Path.cwd()):
        typer.echo(done)


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000, host: str = "127.0.0.1") -> None:
    """Show the logbook in MLflow's pages, until Ctrl-C."""
    from bnnlib import tracking

    tracking.set_defaults()
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # a dozen processes that only run jobs
    store = tracking.find_store(os.environ, Path.cwd())
    if store.lock is None:
        typer.echo(f"The logbook is the server at {store.uri}; open that address.")
        return
    tracking.ready(store)
    typer.echo(f"MLflow shows {store.uri} at http://{host}:{port} in about ten seconds; Ctrl-C ends it.")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store.uri]
    os.execv(sys.executable, [*command, "--host", host, "--port", str(port), "--workers", "1"])


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Image files, or folders of them.")],
    model: PackedFile = MODEL,
    top: Annotated[int, typer.Option(min=1, max=10, help="How many digits to name for each file.")] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON array, with an object for each file.")
    ] = False,
) -> None:
    """Name the digit in each image: PNG, JPEG, BMP, GIF or TIFF, of any size and colours.

    A folder stands for the image files directly in it. A bad file is reported, the others are still done.
    """
    from bnnlib.serving import predict

    outcomes = predict.predict(predict.read_model(model), paths)
    for outcome in outcomes:
        if outcome.error is not None:
            typer.echo(f"error: {outcome.error}", err=True)
        elif not as_json:
            typer.echo(predict.line(outcome, top))
    if as_json:
        typer.echo(json.dumps([predict.record(outcome, top) for outcome in outcomes], indent=2, allow_nan=False))
    if any(outcome.error is not None for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def export(
    target: Annotated[Literal["c", "onnx"], typer.Option("--format", help="C source, or an ONNX model.")],
    model: PackedFile = MODEL,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder to write into.")] = Path(),
) -> None:
    """Write the packed model as bnn_model.h and bnn_model.c (C99, no libraries), or as bnn_model.onnx."""
    from bnnlib.core import files
    from bnnlib.export import c_code, onnx_model
    from bnnlib.packed import file

    packed = file.read(model)
    if target == "c":
        contents = {name: text.encode() for name, text in c_code.generate(packed).items()}
    else:
        contents = {"bnn_model.onnx": onnx_model.build(packed)}
    for name, content in contents.items():
        files.write_bytes(out / name, content)
        typer.echo(f"{out / name}: {len(content):,} bytes")


@app.command()
def sweep(
    seeds: Annotated[str | None, typer.Option(help="Seeds of the trainings, as 0,1,2.")] = None,
    bits: Annotated[str | None, typer.Option(help="Bit widths, as 1,16; 16 by the recipe full.")] = None,
    surrogates: Annotated[str | None, typer.Option(help="Surrogate gradients at 1 bit, as ste,approx.")] = None,
    topologies: Annotated[str | None, typer.Option(help="Topologies of params.yaml, as pooled,baseline.")] = None,
    datasets: Annotated[str | None, typer.Option(help="Names of data sets.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each training, instead of its recipe's.")] = None,
    out: Annotated[Path, typer.Option(help="The table; a row for each run, its epochs in a file beside it.")] = REPORTS
    / "sweep.csv",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes on this machine.", show_default="cores")] = None,
    backend: Annotated[Literal["loky", "dask"], typer.Option(help="Processes here, or a Dask cluster.")] = "loky",
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The cluster's scheduler.")] = None,
    data: Annotated[Path, typer.Option(help="The folder with the manifests of the data, and raw/.")] = Path("data"),
    params_yaml: Annotated[Path, typer.Option()] = PARAMS_YAML,
) -> None:
    """Train a grid of networks by params.yaml; what is left out keeps the value there.

    Each result is stored at once: after an interruption the same command goes on from there, and a larger grid adds
    what is missing.
    """
    from bnnlib.config import params
    from bnnlib.sweeps import backends, grid, sweep

    texts = {
        "seeds": seeds,
        "bits": bits,
        "surrogates": surrogates,
        "topologies": topologies,
        "datasets": datasets,
    }
    axes: dict[str, list[int | str]] = {axis: grid.values(text) for axis, text in texts.items() if text is not None}
    if epochs is not None:
        axes["epochs"] = [epochs]
    engine = backends.Engine(backend, jobs, scheduler)
    for line in sweep.perform(params.load(params_yaml), axes, data, out, engine):
        typer.echo(line)


@app.command()
def summary(
    model: Annotated[Literal["full", "binary", "both"], typer.Option(help="Which of the two networks.")] = "both",
    networks: Annotated[
        Path, typer.Option(help="The folder with the published networks.", show_default="models")
    ] = MODEL.parent,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with a key for each network.")
    ] = False,
) -> None:
    """Count weights, multiply-adds and bytes, layer by layer."""
    from bnnlib.export import pack
    from bnnlib.nn import weights
    from bnnlib.packed import format as packed_format
    from bnnlib.report import summary

    found = {}
    for variant in ("full", "binary") if model == "both" else (model,):
        path = networks / f"{variant}.safetensors"
        published = weights.read(path)
        try:
            packed = packed_format.encode(pack.pack(published)) if published.bits == 1 else None
        except pack.ExportError as error:
            raise pack.ExportError(f"{path}: {error}") from error
        found[variant] = summary.summarize(variant, published, packed)
    if as_json:
        typer.echo(json.dumps({variant: asdict(each) for variant, each in found.items()}, indent=2, allow_nan=False))
    else:
        typer.echo("\n\n".join(map(summary.table, found.values())))


@app.command()
def benchmark(
    training: Annotated[
        bool, typer.Option("--training", help="Time the training instead, beside the loop that the study started from.")
    ] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="How often each contestant has its turn.", show_default="15; --training: 7"),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Validation images to predict before the timing; no batch is larger. --training: images of a turn.",
            show_default="1024; --training: 4800",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="--training: epochs in which our loop is to reach the score.", show_default="2"),
    ] = None,
    epochs_at_most: Annotated[
        int | None, typer.Option(min=1, help="--training: epochs after which the other gives up.", show_default="60")
    ] = None,
    save: Annotated[
        bool,
        typer.Option(
            "--save", help="Write benchmark.json and benchmark.png to the reports; --training: benchmark_training.json."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    reports: Reports = REPORTS,
    networks: Annotated[
        Path | None,
        typer.Option(help="The folder with full.safetensors and binary.bnn, not --training.", show_default="models"),
    ] = None,
    data: Annotated[Path, typer.Option(help="The folder with train.npz and validation.npz.")] = Path("data/processed"),
    params_yaml: Annotated[
        Path | None, typer.Option(help="--training: the recipes.", show_default="params.yaml")
    ] = None,
) -> None:
    """Time the packed network beside torch and onnxruntime, on an otherwise idle machine: minutes, all cores.

    What is not installed is left out with a warning: pip install -e '.[peers]'. With --training, which takes half an
    hour: seconds of an epoch, and of a training until it has the score of the loop that the study started from.
    """
    date = datetime.datetime.now(tz=datetime.UTC).date()
    given = {"rounds": rounds, "images": images, "epochs": epochs, "epochs_at_most": epochs_at_most}
    effort = {name: value for name, value in given.items() if value is not None}
    out = reports if save else None
    if training:
        if networks is not None:
            raise typer.BadParameter("not with --training, which trains its own: --networks")
        result, text = _benchmark_training(data, params_yaml or PARAMS_YAML, effort, date, out)
    elif effort.keys() & {"epochs", "epochs_at_most"} or params_yaml is not None:
        raise typer.BadParameter("only with --training: --epochs, --epochs-at-most, --params-yaml")
    else:
        result, text = _benchmark_prediction(networks or MODEL.parent, data, effort, date, out)
    typer.echo(json.dumps(result, indent=2, allow_nan=False) if as_json else text)


def _benchmark_prediction(
    networks: Path, data: Path, effort: dict[str, int], date: datetime.date, reports: Path | None
) -> tuple[dict[str, Any], str]:
    """The record, and as Markdown, saved where reports are given."""
    from bnnlib.benchmark.prediction import record
    from bnnlib.benchmark.timing import Effort
    from bnnlib.core import files
    from bnnlib.report import readme_speed
    from bnnlib.report.figures import benchmark, style

    images = effort.pop("images", record.IMAGES)
    rounds = Effort(**effort)
    found = record.run(networks, data, images, rounds, _tell)
    result = record.to_json(found, rounds, date)
    if reports is not None:
        files.write_json(reports / "benchmark.json", result)
        files.write_bytes(reports / "benchmark.png", style.png(benchmark.benchmark(result)))
    return result, readme_speed.markdown(result, "benchmark.png")


def _benchmark_training(
    data: Path, params_yaml: Path, effort: dict[str, int], date: datetime.date, reports: Path | None
) -> tuple[dict[str, Any], str]:
    """The same of the training."""
    from bnnlib.benchmark.training import record
    from bnnlib.benchmark.training.contest import Plan
    from bnnlib.config import params
    from bnnlib.core import files
    from bnnlib.report import readme_speed

    plan = Plan(**effort)
    found = record.run(data, params.load(params_yaml), plan, _tell)
    result = record.to_json(found, plan, date)
    if reports is not None:
        files.write_json(reports / "benchmark_training.json", result)
    return result, readme_speed.training_markdown(result)


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def main() -> None:
    """Run the command; a fault that the user can mend ends it with its message and exit code 1."""
    try:
        app()
    except BnnError as error:
        sys.exit(f"error: {error}")
