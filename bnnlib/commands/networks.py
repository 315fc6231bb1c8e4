"""The commands that use a trained network: predict, export, summary, compare."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bnnlib.commands import options

if TYPE_CHECKING:
    from bnnlib.nn.published import Published

PackedFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.bnn", readable=False, help="The packed network.", show_default="the one of the package"),
]

First = Annotated[Path, typer.Argument(metavar="FIRST", readable=False, help="A network, .bnn or .safetensors.")]
Second = Annotated[Path, typer.Argument(metavar="SECOND", readable=False, help="Another network.")]


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", readable=False, help="Image files, or folders of them.")
    ],
    model: PackedFile = None,
    top: Annotated[int, typer.Option(min=1, max=10, help="Number of digits to show for each file.")] = 2,
    multi: Annotated[
        bool, typer.Option("--multi", help="Read several digits in a picture, from left to right.")
    ] = False,
    passes: Annotated[
        int, typer.Option(min=1, help="Look several times, shifted and brighter: more accurate, and slower.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array with an object for each file.")] = False,
) -> None:
    """Name the digit in each image: PNG, JPEG, BMP, GIF, TIFF or WebP, of any size and colours.

    A folder stands for the image files directly in it. A bad file is reported, and the others are still classified.
    `unsure` marks a picture that is unlike the digits of the training data.
    """
    from bnnlib.serving import images, predict

    for path in paths:
        for passed in images.passed_over(path):
            typer.echo(f"warning: {passed}: not read: {images.UNREAD}", err=True)
    outcomes = predict.classify(paths, predict.load(model), multi, passes)
    for outcome in outcomes:
        if outcome.error is not None:
            typer.echo(f"error: {outcome.error}", err=True)
        elif not as_json:
            typer.echo(predict.line(outcome, top))
    if as_json:
        found = predict.records(outcomes, top) if multi else [predict.record(outcome, top) for outcome in outcomes]
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    if any(outcome.error is not None for outcome in outcomes):
        raise typer.Exit(1)


def export(
    target: Annotated[Literal["c", "onnx"], typer.Option("--format", help="C source, or an ONNX model.")],
    model: PackedFile = None,
    out: Annotated[Path, typer.Option(readable=False, help="The folder to write into.")] = Path(),
) -> None:
    """Write the packed network as bnn_model.h and bnn_model.c (C99, no libraries), or as bnn_model.onnx."""
    from bnnlib.core import files
    from bnnlib.export import c_code, onnx_model
    from bnnlib.serving import predict

    packed = predict.load(model)
    if target == "c":
        contents = {name: text.encode() for name, text in c_code.generate(packed).items()}
    else:
        contents = {"bnn_model.onnx": onnx_model.build(packed)}
    for name, content in contents.items():
        files.write_bytes(out / name, content)
        typer.echo(f"{out / name}: {len(content):,} bytes")


def summary(
    model: Annotated[Literal["full", "binary", "both"], typer.Option(help="Which of the two networks.")] = "both",
    networks: Annotated[
        Path | None,
        typer.Option(
            readable=False, help="The folder with full.safetensors and binary.safetensors.", show_default="models"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object with a key for each network.")] = False,
) -> None:
    """Count weights, multiply-adds and bytes, layer by layer."""
    from bnnlib.nn import weights
    from bnnlib.report import summary

    found = {}
    for variant in ("full", "binary") if model == "both" else (model,):
        path = options.networks_folder(networks) / f"{variant}.safetensors"
        published = weights.read(path)
        found[variant] = summary.summarize(variant, published, _packed(path, published))
    if as_json:
        typer.echo(json.dumps({variant: asdict(each) for variant, each in found.items()}, indent=2, allow_nan=False))
    else:
        typer.echo("\n\n".join(map(summary.table, found.values())))


def _packed(path: Path, published: Published) -> bytes | None:
    """The packed form of the network in a file: the one beside it, else packed here; None above 1 bit."""
    from bnnlib.core import files
    from bnnlib.export import pack
    from bnnlib.packed import format as packed_format

    if published.bits != 1:
        return None
    beside = path.with_suffix(".bnn")
    if beside.exists():
        return files.read_bytes(beside)
    try:
        return packed_format.encode(pack.pack(published))
    except pack.PackError as error:
        raise pack.PackError(f"{path}: {error}") from error


def compare(
    first: First,
    second: Second,
    passes: Annotated[
        int, typer.Option(min=1, help="Passes of packed networks over each image; the others see it once.")
    ] = 1,
    data: Annotated[Path, typer.Option(readable=False, help="The folder with validation.npz.")] = Path(
        "data/processed"
    ),
) -> None:
    """Compare two networks on the same validation images, by McNemar's exact test.

    A file is packed (.bnn) or published (.safetensors). The test images are not read: they choose nothing.
    """
    from bnnlib.data import splits
    from bnnlib.report import paired

    if passes > 1 and paired.PACKED not in (first.suffix, second.suffix):
        raise paired.PairError(f"--passes {passes}: {first} and {second}; expected a {paired.PACKED} file among them")
    validation = splits.read(data / "validation.npz")
    right = [paired.predictions(path, validation.images, passes) == validation.labels for path in (first, second)]
    typer.echo(paired.sentence(paired.mcnemar(*right), (str(first), str(second))))
