"""Which modules may use which libraries, and that dvc.yaml names what the stages really use."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import Any

import pytest
from ruamel.yaml import YAML
from support import imports

from bnnlib.config import params
from bnnlib.report import thresholds
from bnnlib.report.thresholds import ThresholdError
from bnnlib.sweeps import grid
from stages import robustness

ROOT = imports.ROOT
GRAPH: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES: dict[str, Any] = GRAPH["stages"]
MODULES = sorted(str(path.relative_to(ROOT)) for package in imports.PACKAGES for path in (ROOT / package).rglob("*.py"))
HOMES = {
    "mlflow": {"bnnlib/commands/ui.py", "bnnlib/sweeps/logbook.py"}
    | {module for module in MODULES if module.startswith("bnnlib/tracking/")},
    "matplotlib": {module for module in MODULES if module.startswith("bnnlib/report/figures/")},
    "typer": {"bnnlib/cli.py"} | {module for module in MODULES if module.startswith(("bnnlib/commands/", "stages/"))},
    "requests": {"bnnlib/data/sources.py", "bnnlib/tracking/outbox.py"},
    "pypi_simple": {"bnnlib/data/sources.py"},
    "torchvision": {"bnnlib/data/sources.py", "bnnlib/benchmark/training/baseline_loop.py"},
    "PIL": {
        "bnnlib/serving/cleaning.py",
        "bnnlib/serving/decoding.py",
        "bnnlib/serving/preparation.py",
        "bnnlib/serving/shading.py",
        "bnnlib/benchmark/training/baseline_loop.py",
    },
    "numba": {"bnnlib/packed/jit.py", "bnnlib/packed/kernels.py", "bnnlib/packed/vectors.py"},
    "joblib": {"bnnlib/sweeps/backends.py"},
    "optuna": {"bnnlib/search/storage.py", "bnnlib/search/trial.py"},
    "dask": set(),  # through distributed
    "distributed": {"bnnlib/sweeps/backends.py"},
    "onnx": {"bnnlib/export/onnx_graph.py", "bnnlib/benchmark/prediction/onnx_peer.py"},
    "onnxruntime": {"bnnlib/benchmark/prediction/onnx_peer.py"},
}


WRITING = {"write_text", "write_bytes", "open", "savefig", "save", "savez", "to_csv", "to_json", "copyfile", "dump"}
# Where such a call writes no file of ours in place, or the file is written whole in another way.
HARMLESS = {
    ("bnnlib/benchmark/prediction/onnx_peer.py", "plain.write_bytes"),  # in a folder that is removed
    ("bnnlib/commands/benchmark.py", "record.to_json"),  # to objects
    ("bnnlib/core/checkpoint.py", "torch.save"),  # into memory
    ("bnnlib/training/loop.py", "checkpoint.save"),
    ("bnnlib/commands/ui.py", "webbrowser.open"),
    ("bnnlib/core/files.py", "frame.to_csv"),  # to text
    ("bnnlib/core/files.py", "temporary.open"),
    ("bnnlib/core/system.py", "os.open"),  # of the null device
    ("bnnlib/data/sources.py", "source.open"),
    ("bnnlib/data/splits.py", "np.save"),  # into memory
    ("bnnlib/nn/weights.py", "safetensors.torch.save"),  # to bytes
    ("bnnlib/report/figures/style.py", "figure.savefig"),  # into memory
    ("bnnlib/serving/decoding.py", "Image.open"),
}


def module_of(stage: str) -> str:
    """The file that a stage's command runs."""
    words = STAGES[stage]["cmd"].split()
    assert words[:2] == ["python", "-m"]
    return words[2].replace(".", "/") + ".py"


def test_stages_have_the_names_that_users_type() -> None:
    names = ["download", "preprocess", "train_full", "train_binary", "pack", "agreement", "evaluate", "visualize"]
    assert list(STAGES) == [*names, "report", "sweep", "robustness"]


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_a_stage_imports_lies_inside_what_it_lists(stage: str) -> None:
    listed = STAGES[stage]["deps"]
    for file in imports.closure(module_of(stage)):
        assert any(file == name or file.startswith(f"{name}/") for name in listed), f"{file} is in no deps"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_no_code_that_it_does_not_import(stage: str) -> None:
    real = imports.closure(module_of(stage))
    for name in STAGES[stage]["deps"]:
        if name.startswith(("bnnlib/", "stages/")):
            assert any(file == name or file.startswith(f"{name}/") for file in real), f"{name} is not imported"


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_a_command_is_a_dependency_or_an_output(stage: str) -> None:
    paths = [word for word in STAGES[stage]["cmd"].split() if "/" in word]
    known = [*STAGES[stage]["deps"], *outputs(stage)]
    for path in paths:
        assert any(path == name or name.startswith(f"{path}/") for name in known), f"{path} is in no deps or outs"


def replaced(text: str, words: dict[str, str]) -> str:
    for word, other in words.items():
        text = text.replace(word, other)
    return text


def outputs(stage: str) -> list[str]:
    return [out if isinstance(out, str) else next(iter(out)) for out in STAGES[stage].get("outs", [])]


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_the_ones_the_stage_reads(stage: str) -> None:
    cfg = params.load(ROOT / "params.yaml")
    known = params.flatten(cfg)
    names = {"${model.topology}": cfg.model.topology, "${data.name}": cfg.data.name}
    declared = {
        leaf
        for name in (replaced(text, names) for text in STAGES[stage].get("params", []))
        for leaf in known
        if leaf == name or leaf.startswith(f"{name}.")
    }
    read = read_by(stage)
    needed = {leaf for leaf in known if any(leaf == r or leaf.startswith(f"{r}.") for r in read)}
    assert declared >= needed
    if stage != "sweep":  # it is frozen, and names whole sections
        assert declared == needed


def read_by(stage: str) -> set[str]:
    """Names of the parameters, or of their sections, that a stage reads from `cfg`."""
    if stage.startswith("train_"):
        variant: Any = stage.removeprefix("train_")
        return leaves_that_matter(lambda cfg: cfg.training(variant))
    if stage == "sweep":
        return leaves_that_matter(jobs_of_a_sweep)
    if stage == "robustness":
        return {"model.topology"} | leaves_that_matter(lambda cfg: robustness.middle(cfg).training("binary"))
    if stage == "report":  # which counts operations, and makes the networks the champions if `bnn check` would pass
        return {"data.name", "topologies"} | leaves_that_matter(verdict_of_check)
    tree = ast.parse((ROOT / module_of(stage)).read_text(encoding="utf-8"))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    chains = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and id(n) not in inner]
    return {chain.removeprefix("cfg.") for chain in chains if chain.startswith("cfg.")}


# Another value of a parameter where one more, or half, is not allowed. Thresholds that are null are not changed.
OTHERS = {
    "device": "cuda",
    "bits": 2,
    "name": "fashion_mnist",
    "limit": 300,
    "epochs": 1,
    "norm_images": 100,
    "contrast": 2.0,
    "zoom": 1.5,
    "surrogate": "approx",
    "model.topology": "baseline",
    "blocks": [],
    "model.passes": [],
    "sweep": [],
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"name": "adam", "rate": 0.1, "weight_decay": 0.0},
    "muon": {"name": "muon", "rate": 0.1, "adam_rate": 0.1, "weight_decay": 0.0},
    "bop": {"name": "bop", "rate": 0.1, "threshold": 0.1, "adam_rate": 0.1},
}


def jobs_of_a_sweep(cfg: params.Params) -> list[str]:
    """The keys of a grid like those of the stage, and these."""
    axes: dict[str, list[str | int]] = {"bits": [1, 2, 16], "seeds": [0]}
    axes |= {"datasets": ["mnist", "fashion_mnist"], "topologies": ["pooled"]}
    return [str(cfg.sweep), *(grid.job(point, {}, "").key for point in grid.variants(cfg, axes))]


def verdict_of_check(cfg: params.Params) -> str:
    """What `bnn check` says of the committed reports."""
    try:
        return "\n".join(map(str, thresholds.check(ROOT / "reports", cfg)))
    except ThresholdError as error:
        return str(error)


def leaves_that_matter(given: Callable[[params.Params], object]) -> set[str]:
    """The parameters that change what ``given`` returns, found by changing one at a time.

    At 1 bit, at 4, with Bop and with Muon, because each has parameters that matter only there. The names of the data
    set and the topology are left out: they choose sections, which dvc.yaml names itself. So are all other topologies.
    """
    narrow = params.load(ROOT / "params.yaml").model_dump()
    narrow["topologies"] = {name: narrow["topologies"][name] for name in ("pooled", "baseline")}
    wider, flipping = with_other(narrow, "model.bits", 4), with_other(narrow, "binary.optimizer", OPTIMIZERS["bop"])
    muon = with_other(narrow, "binary.optimizer", OPTIMIZERS["muon"])
    found = set()
    for base in (narrow, wider, flipping, muon):
        expected = given(params.parse(base, "base"))
        for leaf, value in params.flatten(base).items():
            refused = base is flipping and leaf in {"binary.quantizer.channel_scale", "binary.quantizer.real_share"}
            if refused or leaf in {"data.name", "model.topology"}:
                continue
            if leaf.endswith(".optimizer.name"):
                other = with_other(base, leaf.removesuffix(".name"), OPTIMIZERS["muon" if value == "adam" else "adam"])
            elif (changed := another(leaf, value)) is not None:
                other = with_other(base, leaf, changed)
            else:
                continue
            if given(params.parse(other, leaf)) != expected:
                found.add(leaf)
    return found


def another(leaf: str, value: Any) -> Any:
    """Another value that is allowed, or None."""
    if isinstance(value, bool):
        return not value
    if leaf.startswith("topologies.") and ".input." in leaf:
        return (1,)
    other = OTHERS.get(leaf, OTHERS.get(leaf.split(".")[-1], value))
    if other is None or (isinstance(value, str) and other == value):
        return None
    return other if other != value else value + 1 if isinstance(value, int) else value / 2 + 0.01


def with_other(base: dict[str, Any], leaf: str, value: Any) -> dict[str, Any]:
    *path, last = leaf.split(".")
    changed = copy.deepcopy(base)
    section = changed
    for step in path:
        section = section[step]
    section[last] = value
    return changed


@pytest.mark.parametrize("library", HOMES)
def test_each_heavy_library_is_used_only_in_its_modules(library: str) -> None:
    assert {module for module in MODULES if library in imports.top_level(module)} <= HOMES[library]


@pytest.mark.parametrize("module", MODULES)
def test_no_circular_imports(module: str) -> None:
    for direct in imports.direct(module) - {module}:
        assert module not in imports.closure(direct)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_runs_at_import(module: str) -> None:
    """Only definitions, imports, constants and the guarded call at the end: no statement with an effect."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), ast.unparse(node)
        assert not isinstance(node, (ast.For, ast.While, ast.With, ast.Try)), ast.unparse(node)


def test_every_file_is_written_by_the_one_function_that_writes_it_whole() -> None:
    found = {
        (module, name)
        for module in MODULES
        for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)).rpartition(".")[2] in WRITING
    }
    ours = {(module, name) for module, name in found if name.startswith("files.") or name in WRITING}
    assert {module for module, name in ours if name in WRITING} == {"bnnlib/core/files.py"}
    assert found - ours == HARMLESS


def test_every_report_is_an_output_and_every_output_exists() -> None:
    committed = {out for stage in STAGES for out in outputs(stage) if out.startswith(("models/", "reports/"))}
    for out in committed:
        assert (ROOT / out).exists(), f"{out} is not committed"
    for path in [*GRAPH["metrics"], *(artifact["path"] for artifact in GRAPH["artifacts"].values())]:
        assert path in committed
