"""The `bnn` command: what it prints and how it exits."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from support.clone import Bnn
from support.paths import ROOT
from support.reports import ROBUSTNESS
from typer.models import ParameterInfo

from bnnlib import cli
from bnnlib.config import params
from bnnlib.core.extras import MissingExtraError, needed
from bnnlib.report import readme, thresholds
from bnnlib.report.parts import markers

COMMITTED = ROOT / "params.yaml"
BOUNDS = thresholds.of_data_set(params.load(COMMITTED)).model_dump()


@pytest.fixture
def bnn(bnn: Bnn) -> Bnn:
    """Run the command in a folder with the parameters, empty pages and reports on the bound of every threshold."""
    Path("params.yaml").write_bytes(COMMITTED.read_bytes())
    Path("reports/figures").mkdir(parents=True)
    write_metrics()
    sizes = {variant: {"weight_bytes": 1, "file_bytes": 2, "packed_bytes": None} for variant in BOUNDS}
    Path("reports/sizes.json").write_text(json.dumps(sizes))
    write_agreement()
    Path("reports/predictions.csv").write_text("label,full,binary\n7,7,1\n")
    Path("reports/robustness.csv").write_text(ROBUSTNESS)
    for name, parts in readme.PAGES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("".join(f"{markers.begin(part)}\n{markers.end(part)}\n" for part in parts))
    return bnn


def ask_for_two_bits() -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("bits: 1 #", "bits: 2 #"))


def write_metrics(**changes: Any) -> None:
    """Write metrics on their bounds, except the changes, whose names are like full_loss."""
    metrics: dict[str, Any] = {
        variant: {"bits": 1, "epoch": 2, "test": {**bounds, "accuracy": 0.5}} for variant, bounds in BOUNDS.items()
    }
    for name, value in changes.items():
        variant, _, metric = name.partition("_")
        (metrics[variant] if metric == "bits" else metrics[variant]["test"])[metric] = value
    Path("reports/metrics.json").write_text(json.dumps(metrics))


def write_agreement(**changes: int) -> None:
    """Write that the engines agree on all of MNIST, except the changes in one pair and split."""
    counts = {"train": 48_000, "validation": 12_000, "test": 10_000}
    report = {
        split: {pair: {"images": n, "dots": 0, "logits": 0, "predictions": 0} for pair in thresholds.PAIRS}
        for split, n in counts.items()
    }
    report["validation"]["torch and fast"].update(changes)
    Path("reports/agreement.json").write_text(json.dumps(report))


def test_the_command_is_installed() -> None:
    [found] = entry_points(group="console_scripts", name="bnn")
    assert found.load() is cli.main


def test_check_refuses_reports_of_another_width(bnn: Bnn) -> None:
    ask_for_two_bits()
    assert bnn("check")[0] == (
        "error: the reports are of model.bits 1, but the parameters say 2; `dvc repro` makes them again"
    )


def test_check_passes_on_the_bounds(bnn: Bnn) -> None:
    code, output, _ = bnn("check")
    assert code == 0
    thresholds, agreement = output.splitlines()[:4], output.splitlines()[4:]
    assert [line.split()[:2] for line in thresholds] == [
        ["ok", "full.test.macro_f1:"],
        ["ok", "full.test.loss:"],
        ["ok", "binary.test.macro_f1:"],
        ["ok", "binary.test.loss:"],
    ]
    assert len(agreement) == 12
    assert all(line.startswith("ok     agreement.") for line in agreement)


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"images": 11_999}, "torch and fast.images"),
        ({"logits": 1}, "torch and fast.logits"),
        ({"dots": 3, "predictions": 1}, "torch and fast.dots, agreement.torch and fast.predictions"),
    ],
)
def test_check_fails_where_the_engines_differ(bnn: Bnn, changes: dict[str, int], missed: str) -> None:
    write_agreement(**changes)
    assert bnn("check")[0] == f"error: {len(changes)} of 16 bounds missed: agreement.{missed}"


def test_check_needs_the_agreement_of_a_network_that_is_packed(bnn: Bnn) -> None:
    Path("reports/agreement.json").write_text("{}")
    assert str(bnn("check")[0]).startswith("error: metric agreement.train.torch and reference.images is missing")
    Path("reports/agreement.json").unlink()
    code, *_ = bnn("check")
    assert isinstance(code, str)
    assert code.startswith("error: reports/agreement.json: cannot be read")
    write_metrics(binary_bits=2)
    ask_for_two_bits()
    assert bnn("check")[0] == 0


def test_check_needs_the_images_that_the_limit_leaves(bnn: Bnn) -> None:
    text = Path("params.yaml").read_text()
    assert text.count("limit: null") == 1
    Path("params.yaml").write_text(text.replace("limit: null", "limit: 11000"))
    write_agreement()  # 70,000 are more than the 11,000 and 10,000 there are
    assert "(bound >= 21000)" in bnn("check")[1]


def test_check_fails_below_them_and_still_shows_all(bnn: Bnn) -> None:
    write_metrics(full_loss=9.0, binary_macro_f1=0.1)
    code, output, _ = bnn("check")
    assert code == "error: 2 of 16 bounds missed: full.test.loss, binary.test.macro_f1"  # printed, exit status 1
    assert [line.split()[0] for line in output.splitlines()[:4]] == ["ok", "MISSED", "MISSED", "ok"]


def test_check_takes_other_files(bnn: Bnn, tmp_path: Path) -> None:
    Path("reports").rename("results")
    text = Path("params.yaml").read_text()
    old = f"macro_f1: {BOUNDS['full']['macro_f1']}"
    assert text.count(old) == 1
    Path("other.yaml").write_text(text.replace(old, "macro_f1: 1.0"))
    assert bnn("check", "--reports", "results")[0] == 0
    code, *_ = bnn("check", "--reports", "results", "--params-yaml", "other.yaml")
    assert code == "error: 1 of 16 bounds missed: full.test.macro_f1"


def test_check_takes_the_thresholds_of_the_data_set(bnn: Bnn) -> None:
    text = Path("params.yaml").read_text()
    other = text.replace("name: mnist", "name: kmnist", 1)
    Path("params.yaml").write_text(other)
    code, output, _ = bnn("check")
    assert str(code).startswith("error: thresholds.kmnist is null in the parameters")
    assert output == ""
    bounds = "{full: {macro_f1: 1, loss: 9}, binary: {macro_f1: 0, loss: 9}}"
    Path("params.yaml").write_text(other.replace("kmnist: null", f"kmnist: {bounds}"))
    code, *_ = bnn("check")
    assert code == "error: 1 of 16 bounds missed: full.test.macro_f1"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: Path("reports/metrics.json").unlink(), "error: reports/metrics.json: cannot be read"),
        (lambda: Path("reports/metrics.json").write_text("{"), "error: reports/metrics.json: not valid JSON"),
        (lambda: Path("reports/metrics.json").write_text("{}"), "error: metric full.test.macro_f1 is missing"),
        (lambda: write_metrics(full_loss=None), "error: metric full.test.loss is None, expected a number"),
        (lambda: Path("params.yaml").write_text("seed: 1"), "error: params.yaml: 10 "),
        (lambda: Path("params.yaml").unlink(), "error: params.yaml: cannot be read (No such file"),
    ],
)
def test_an_error_ends_the_command_with_its_message(bnn: Bnn, spoil: Callable[[], object], message: str) -> None:
    spoil()
    code, output, _ = bnn("check")
    assert isinstance(code, str)  # printed to stderr, exit status 1
    assert code.startswith(message)
    assert output == ""


def test_readme_check_fails_on_a_stale_page_and_passes_once_it_is_written(bnn: Bnn) -> None:
    pages = [Path(name) for name in readme.PAGES]
    before = [page.read_bytes() for page in pages]
    code, output, _ = bnn("readme", "--check")
    assert isinstance(code, str)
    assert all(str(page) in code for page in pages)
    assert "`bnn readme`" in code
    assert output == ""
    assert [page.read_bytes() for page in pages] == before
    assert bnn("readme")[:2] == (0, "".join(f"{page} written\n" for page in pages))
    assert not {page.read_bytes() for page in pages} & set(before)
    up_to_date = (0, "".join(f"{page} is up to date\n" for page in pages))
    assert bnn("readme", "--check")[:2] == bnn("readme")[:2] == up_to_date
    write_metrics(full_loss=0.01234)
    assert str(bnn("readme", "--check")[0]).startswith("error: README.md, docs/results.md, models/README.md: ")


def test_readme_names_the_classes_of_the_data_set(bnn: Bnn) -> None:
    text = Path("params.yaml").read_text()
    Path("other.yaml").write_text(text.replace("name: mnist", "name: fashion_mnist", 1))
    assert bnn("readme", "--params-yaml", "other.yaml")[0] == 0
    assert "| Sneaker | Trouser | 1 | 0 |" in Path("docs/results.md").read_text()
    assert bnn("readme")[0] == 0
    assert "| 7 | 1 | 1 | 0 |" in Path("docs/results.md").read_text()


def test_readme_without_markers_is_left_alone(bnn: Bnn) -> None:
    Path("README.md").write_text("# Title\n")
    code, output, _ = bnn("readme")
    assert str(code).startswith("error: README.md: the marker <!-- scores: ")
    assert output == ""
    assert Path("README.md").read_text() == "# Title\n"


def test_readme_takes_another_folder(bnn: Bnn) -> None:
    Path("elsewhere").mkdir()
    for name in ("README.md", "docs", "models"):
        Path(name).rename(f"elsewhere/{name}")
    assert bnn("readme", "--root", "elsewhere")[1].startswith("elsewhere/README.md written\n")


@pytest.mark.parametrize("arguments", [("chekc",), ("check", "--report", "x"), ("ui", "--port", "0")])
def test_a_misspelt_command_is_a_usage_error(bnn: Bnn, arguments: tuple[str, ...]) -> None:
    assert bnn(*arguments)[0] == 2


def test_help_names_the_commands(bnn: Bnn) -> None:
    code, output, _ = bnn("--help")
    assert code == 0
    assert all(command.__name__ in output for command in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_has_a_help_without_gaps(bnn: Bnn, command: Callable[..., None]) -> None:
    """Typer takes words in square brackets for markup and leaves them out."""
    code, output, _ = bnn(command.__name__, "--help")
    assert code == 0
    assert str(command.__doc__).splitlines()[0] in " ".join(output.split())
    texts = [str(command.__doc__), *(str(each.help) for each in options_of(command))]
    assert not any("[" in text for text in texts)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_path_that_may_not_be_read_is_no_wrong_usage(command: Callable[..., None]) -> None:
    """Typer would end a `bnn predict` of many files at the first of them."""
    hints = get_type_hints(command, include_extras=True).values()
    paths = [hint for hint in hints if "pathlib" in str(hint)]
    assert not [each for hint in paths for each in get_args(hint) if getattr(each, "readable", False)]


def options_of(command: Callable[..., None]) -> list[ParameterInfo]:
    hints = get_type_hints(command, include_extras=True).values()
    return [each for hint in hints for each in get_args(hint) if isinstance(each, ParameterInfo)]


def test_the_version_is_that_of_the_installed_package(bnn: Bnn) -> None:
    assert bnn("--version")[:2] == (0, f"bnn {version('bnnlib')}\n")


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    @needed("train", "this test")
    def work() -> None:
        importlib.import_module("no_such_package.part")

    with pytest.raises(MissingExtraError, match=r"^this test needs no_such_package, .*pip install 'bnnlib\[train\]'$"):
        work()
