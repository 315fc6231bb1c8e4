"""The benchmark of the sweep's networks: what is timed, what is recorded, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from support import benchmarks, peers, sweeps
from support.clone import Bnn
from support.paths import ROOT

from bnnlib.benchmark import sizes
from bnnlib.benchmark.prediction import contestants
from bnnlib.benchmark.prediction.contestants import Contestant, ContestantError
from bnnlib.config import params
from bnnlib.core import files, records
from bnnlib.report import comparison, costs
from bnnlib.sweeps.tables import Tables

TINY = {"channels": 6, "kernel": 5, "pool": 6}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with parameters that have a tiny topology, and a table of its networks and of one that is not there."""
    yaml = YAML(typ="safe")
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["topologies"]["tiny"] = {"input": content["topologies"]["pooled"]["input"], "blocks": [TINY]}
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(content, file)
    rows = [("mnist", "tiny", bits, "ste" if bits == 1 else "none", 0, 0.9) for bits in (1, 2, 8)]
    rows += [("mnist", "tiny", 1, "ste", 1, 0.9), ("mnist", "gone", 1, "ste", 0, 0.9)]
    rows += [("kmnist", "tiny", 4, "none", 0, 0.9)]
    sweeps.write(tmp_path / "reports/sweep.csv", tuple(rows))
    return tmp_path


def test_every_network_of_the_table_is_timed_once_and_the_record_is_noted(
    bnn: Bnn, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.package("onnxruntime")
    monkeypatch.setattr("psutil.getloadavg", lambda: (1.5, 0.0, 0.0))
    code, output, errors = bnn("benchmark", "--sizes", "--rounds", "1", "--json", "--save")
    assert code == 0, errors
    found = json.loads(output)
    assert files.read_json(Path("reports") / costs.RECORD) == found
    assert records.check_all(Path("reports")) == []
    assert "warning: gone: not among the topologies of the parameters" in errors
    assert "warning: load average 1.5" in errors
    assert "3 networks of 1 topologies; rounds: 1" in errors
    assert [(each["topology"], each["bits"]) for each in found["networks"]] == [("tiny", 1), ("tiny", 2), ("tiny", 8)]
    ways = [{time["way"] for time in each["times"]} for each in found["networks"]]
    assert ways == [{sizes.FAST}, {sizes.FLOAT32}, {sizes.FLOAT32, sizes.INT8}]
    for each in found["networks"]:
        for way in {time["way"] for time in each["times"]}:
            assert [time["batch"] for time in each["times"] if time["way"] == way] == list(sizes.BATCHES)
        assert all(time["us_per_image"]["median"] > 0 for time in each["times"])
    one, two, eight = found["networks"]
    assert two["times"] == eight["times"][:2]  # the same float32 network
    assert str(study) not in output
    topologies = params.load(study / "params.yaml").topologies
    for each in (one, two):
        assert each["shape"] == topologies["tiny"].of("mnist", each["bits"]).model_dump(mode="json")


def test_the_times_are_shown_as_markdown_and_nothing_is_written_without_save(bnn: Bnn, study: Path) -> None:
    peers.package("onnxruntime")
    before = sorted(path.name for path in (study / "reports").iterdir())
    code, output, _ = bnn("benchmark", "--sizes", "--rounds", "1")
    assert code == 0
    assert "| topology | bits | fast | onnxruntime_fp32 | onnxruntime_int8 |" in output
    assert sorted(path.name for path in (study / "reports").iterdir()) == before


def test_the_reports_show_what_the_record_has(study: Path) -> None:
    files.write_json(study / "reports" / costs.RECORD, benchmarks.sizes_as_json())
    records.note(study / "reports" / costs.RECORD)
    cfg = params.load(study / "params.yaml")
    size = {bits: cfg.topologies["pooled"].of("mnist", bits).weight_bytes(bits) for bits in (1, 4, 8)}
    rows = [("mnist", "pooled", bits, "none", 0, 0.9) for bits in (1, 4, 8)]
    sweeps.write(study / "reports/other.csv", tuple(rows), sizes=size)
    widths = comparison.widths(Tables(study / "reports/other.csv").runs.values())
    found = costs.networks(widths, "mnist", cfg.topologies, costs.read(study / "reports"))
    assert [each.microseconds for each in found] == [2.0, 30.0, 20.0]  # at 8 bits, int8 is faster


def test_without_onnxruntime_the_wider_networks_have_no_times_and_the_reason_is_kept() -> None:
    found = benchmarks.sizes_as_json(ways=[sizes.FAST], missing="no onnxruntime")
    assert [len(each["times"]) for each in found["networks"]] == [2, 0, 0]
    assert found["missing"] == {sizes.FLOAT32: "no onnxruntime", sizes.INT8: "no onnxruntime"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("rows", [(), (("kmnist", "tiny", 1, "ste", 0, 0.9),), (("mnist", "gone", 1, "ste", 0, 0.9),)])
def test_a_table_without_a_network_to_time_is_named(bnn: Bnn, study: Path, rows: Any) -> None:
    (study / "reports/sweep.csv").unlink()
    (study / "reports/sweep_histories.csv").unlink()
    sweeps.write(study / "reports/sweep.csv", rows)
    code, *_ = bnn("benchmark", "--sizes", "--rounds", "1")
    assert str(code).startswith("error: reports/sweep.csv: no row on mnist of a topology of the parameters; ")
    assert "`bnn sweep`" in str(code)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--training",), "either --training or --sizes"),
        (("--images", "3"), "not with --sizes: --images"),
        (("--data", "data"), "not with --sizes: --data"),
        (("--networks", "models"), "not with --sizes: --networks"),
        (("--epochs", "3"), "only with --training: --epochs"),
    ],
)
def test_options_of_other_benchmarks_are_refused(arguments: tuple[str, ...], message: str, bnn: Bnn) -> None:
    code, _, errors = bnn("benchmark", "--sizes", *arguments)
    assert code == 2
    assert message in " ".join(errors.replace("│", " ").split())


def test_a_contestant_that_predicts_otherwise_is_not_timed() -> None:
    images = np.zeros((sizes.CHECKED, 28, 28), np.uint8)
    wrong = Contestant("fast", 1, lambda given: np.eye(10, dtype=np.float32)[np.full(len(given), 3)])
    with pytest.raises(ContestantError, match=r"fast: 0.00% of 64 predictions"):
        sizes._check([wrong], images, np.eye(10, dtype=np.float32)[np.full(sizes.CHECKED, 4)], 1.0)
    assert contestants.agreement("fast", np.array([1, 2]), np.array([1, 3]), 0.5) == 0.5
