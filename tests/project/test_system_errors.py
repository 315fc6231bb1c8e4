"""Read-only clones, full disks, unknown users, files in the way: every command says what to do, and loses nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import drawings, system_errors, tiny_sweeps
from support.clone import Bnn, Checkout
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.data import prepare, sources
from bnnlib.sweeps import grid, worker
from bnnlib.sweeps.grid import Job, SweepError

NETWORKS = "models/binary.safetensors models/binary.bnn"
SPLITS = "data/processed/validation.npz data/processed/test.npz"
SWEEP = "--seeds 0 --bits 1 --surrogates ste --topologies two --datasets mnist"
# Commands that write, with the file that each writes first.
WRITERS = {
    "bnnlib export --format c --out out": "out/bnn_model.h",
    "bnnlib readme": "README.md",
    f"bnnlib sweep {SWEEP} --jobs 1 --out reports/small.csv": "reports/small.csv",
    "stages.download data/mnist.sha256 data/new": "data/new/train-images-idx3-ubyte",
    "stages.preprocess data/mnist.sha256 data/raw data/processed": "data/processed/train.npz",
    f"stages.train binary {SPLITS} models/binary.safetensors reports/history.csv": "reports/history.csv",
    f"stages.pack {NETWORKS}": "models/binary.bnn",
    f"stages.evaluate models/full.safetensors {NETWORKS} {SPLITS} reports": "reports/predictions.csv",
    "stages.visualize models reports docs/literature.md data/processed/test.npz reports/figures": (
        "reports/figures/loss.png"
    ),
    "stages.report reports models .": "README.md",
}
# Some of them with a limit on the size of a file, in bytes, and the first file that is larger.
LIMITED = {
    "bnnlib export --format c --out out": (2_000, "out/bnn_model.c"),
    "bnnlib export --format onnx --out out": (2_000, "out/bnn_model.onnx"),
    "bnnlib readme": (2_000, "README.md"),
    "stages.download data/mnist.sha256 data/new": (30_000_000, "data/new/train-images-idx3-ubyte"),
}


@pytest.fixture(scope="module")
def study(raw_dir: Path, environment: dict[str, str]) -> Iterator[Checkout]:
    """A study with tiny parameters and data, the committed networks, their scores on these data, and old pages."""
    with system_errors.open_folder() as folder:
        tiny_sweeps.fill(folder, raw_dir)
        cfg, manifest = params.load(folder / "params.yaml"), sources.read_manifest(folder / "data/mnist.sha256")
        prepare.write(folder / "data/processed", prepare.from_raw(raw_dir, manifest, cfg.data))
        for name in ("docs", "models", "reports"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("README.md", "dvc.yaml", "dvc.lock"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "seven.png").write_bytes(drawings.saved(drawings.drawing()))
        elsewhere = {"MLFLOW_TRACKING_URI": "nowhere://", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        checkout = Checkout(folder, {**environment, **elsewhere})
        checkout.run("python", "-m", *f"stages.evaluate models/full.safetensors {NETWORKS} {SPLITS} reports".split())
        yield checkout


@pytest.fixture
def locked(study: Checkout) -> Iterator[Checkout]:
    """The study, in which nothing can be written, by a user without a name, a home and rights."""
    system_errors.lock(study.folder, True)
    try:
        yield Checkout(study.folder, system_errors.of_unknown_user(study.environment))
    finally:
        system_errors.lock(study.folder, False)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a command that ends with an error, and with nothing that looks like a crash."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last.removeprefix("error: ")


@pytest.mark.parametrize("command", WRITERS)
def test_an_unknown_user_in_a_read_only_clone_is_told_what_cannot_be_written(command: str, locked: Checkout) -> None:
    before = system_errors.tree(locked.folder)
    way = system_errors.unknown_user(locked.folder)
    message = said(locked.run(*way, "python", "-m", *command.split(), check=False))
    assert WRITERS[command] in message
    assert "(Permission denied)" in message
    assert ";" in message
    assert system_errors.tree(locked.folder) == before


def test_an_unknown_user_in_a_read_only_clone_can_predict_and_look(locked: Checkout) -> None:
    python = [*system_errors.unknown_user(locked.folder), "python", "-m", "bnnlib"]
    assert locked.run(*python, "predict", "seven.png").stdout.startswith("digit 7 ")
    assert "packed file" in locked.run(*python, "summary").stdout
    done = locked.run(*python, "check", check=False)  # of so few images, so it may pass or not
    assert "binary.test.macro_f1" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_unknown_user_is_told_to_name_a_folder_for_prepared_data(locked: Checkout) -> None:
    way = system_errors.unknown_user(locked.folder)
    with system_errors.open_folder() as results:
        results.chmod(0o777)
        command = [
            "python",
            "-m",
            "bnnlib",
            "sweep",
            *SWEEP.split(),
            "--jobs",
            "1",
            "--out",
            str(results / "small.csv"),
        ]
        message = said(locked.run(*way, *command, check=False))
    assert message.startswith(
        "/dev/null/.cache/bnn: prepared data cannot be kept there (Not a directory); BNN_CACHE_DIR"
    )


def test_what_an_unknown_user_may_not_read_is_named_and_the_rest_is_done(locked: Checkout) -> None:
    way = [*system_errors.unknown_user(locked.folder), "python", "-m", "bnnlib"]
    secret = locked.folder / "params.yaml"
    secret.chmod(0)
    done = locked.run(*way, "predict", "params.yaml", "seven.png", check=False)
    assert said(done).startswith("params.yaml: cannot be read (Permission denied); ")
    assert done.stdout.startswith("digit 7 ")
    message = said(locked.run(*way, "check", check=False))
    assert message.startswith("params.yaml: cannot be read (Permission denied); check the permissions")
    secret.chmod(0o444)


def test_repair_tells_an_unknown_user_what_dvc_needs(environment: dict[str, str]) -> None:
    with system_errors.open_folder() as folder:
        (folder / "locked").mkdir(mode=0o555)
        way = system_errors.unknown_user(folder / "locked")
        checkout = Checkout(folder, system_errors.of_unknown_user(environment) | {"PYTHONPATH": str(ROOT)})
        checkout.run("dvc", "init", "--quiet", "--no-scm", HOME=str(folder), USER="tests")
        (folder / "dvc.yaml").write_text("stages: {nothing: {cmd: 'true'}}\n")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)
        repair = [*way, "python", "-m", "bnnlib", "repair"]
        message = said(checkout.run(*repair, check=False))
        given = dict(each.split("=") for each in re.findall(r"[A-Z]+=[\w/]+", message))
        assert set(given) == {"USER", "HOME"}
        assert checkout.run(*way, "dvc", "repro", check=False).returncode != 0
        checkout.run(*repair, **given)
        assert "Running stage 'nothing'" in checkout.run(*way, "dvc", "repro", **given).stdout


@pytest.mark.parametrize("command", LIMITED)
def test_without_room_for_a_file_it_is_named_with_its_size_and_nothing_is_left(command: str, study: Checkout) -> None:
    limit, name = LIMITED[command]
    before = system_errors.tree(study.folder)
    words = ["python", "-m", *command.split()]
    message = said(study.run("prlimit", f"--fsize={limit}", *words, check=False, PYTHONDONTWRITEBYTECODE="1"))
    assert message.startswith(f"{name}: cannot be written (File too large); it needs ")
    assert message.endswith(" bytes; raise the limit on the size of a file (`ulimit -f`)")
    [needed] = (int(number.replace(",", "")) for number in re.findall(r"[\d,]{2,}", message.partition(";")[2]))
    assert needed > limit
    left = system_errors.tree(study.folder)
    assert {path: left[path] for path in before} == before
    assert not [path for path in left if path.endswith(".tmp") or (path == name and path not in before)]
    study.run(*words)
    assert (study.folder / name).stat().st_size == needed
    system_errors.restore(study.folder, before)


FULL = """
echo old > "$1/bnn_model.onnx"; head -c 200000 /dev/zero > "$1/filler"
python -m bnnlib export --format onnx --out "$1"; echo "exit $?"
ls -A "$1"; cat "$1/bnn_model.onnx"; rm "$1/filler"
python -m bnnlib export --format onnx --out "$1" && ls -A "$1"
"""


def test_on_a_full_disk_the_old_file_stays_and_later_the_same_command_works(study: Checkout, tmp_path: Path) -> None:
    way = system_errors.small_disk()
    done = study.run(*way, f"{system_errors.MOUNT} {{ {FULL} }}", "300k", str(tmp_path))
    [message] = done.stderr.splitlines()
    path = tmp_path / "bnn_model.onnx"
    pattern = (
        rf"error: {path}: cannot be written \(No space left on device\); it needs ([\d,]+) bytes, ([\d,]+) are free"
    )
    needed, free = (int(number.replace(",", "")) for number in re.match(pattern, message).groups())
    assert free < 110_000 < needed
    written = f"{path}: {needed:,} bytes"
    assert done.stdout.splitlines() == ["exit 1", "bnn_model.onnx", "filler", "old", written, "bnn_model.onnx"]


@pytest.mark.parametrize("arguments", ["--version", "--help", "summary"])
def test_an_output_that_cannot_be_written_is_told(arguments: str, study: Checkout) -> None:
    done = study.run("sh", "-c", f"python -m bnnlib {arguments} > /dev/full", check=False)
    assert said(done).startswith("standard output: No space left on device; ")
    assert len(done.stderr.splitlines()) == 1


def test_an_output_that_is_closed_is_no_error(study: Checkout) -> None:
    assert study.run("sh", "-c", "python -m bnnlib check --help >&-").stderr == ""


TOO_LONG = "x" * 300
IN_THE_WAY = [
    ("export --format c --out file", "file/bnn_model.h: cannot be written (File exists); "),
    ("export --format c --out file/deep", "file/deep/bnn_model.h: cannot be written (Not a directory); "),
    ("export --format c --out broken", "broken/bnn_model.h: cannot be written (File exists); "),
    ("export --format c --out folder", "folder/bnn_model.h: cannot be written (Is a directory); "),
    (f"export --format c --out {TOO_LONG}", f"{TOO_LONG}/bnn_model.h: cannot be written (File name too long); "),
    ("export --format c --model folder", "folder: cannot be read (Is a directory); "),
    ("predict --model file/deep a.png", "file/deep: cannot be read (Not a directory); "),
    ("check --params-yaml folder", "folder: cannot be read (Is a directory); "),
    (
        "check --params-yaml broken",
        "broken: cannot be read (No such file or directory); run from the repository's root",
    ),
    ("check --reports file", "file/metrics.json: cannot be read (Not a directory); "),
    (f"check --reports {TOO_LONG}", f"{TOO_LONG}/metrics.json: cannot be read (File name too long); "),
    ("summary --networks file", "file/full.safetensors: cannot be read (Not a directory); "),
    ("summary --networks folder", "folder/full.safetensors: cannot be read (No such file or directory); `dvc repro`"),
    ("readme --root file", "file/README.md: cannot be read (Not a directory); "),
    ("readme --root folder", "folder/README.md: cannot be read (Is a directory); "),
    ("sweep --data file", "file/mnist.sha256: cannot be read (Not a directory); "),
    ("sweep --out folder", "folder: a folder, "),
    ("sweep --out .", ".: a folder, "),
    (f"sweep --out {TOO_LONG}", f"{TOO_LONG}: File name too long; "),
    ("repair", ".dvc/tmp/rwlock: Is a directory; "),
]


@pytest.mark.parametrize(("arguments", "message"), IN_THE_WAY)
def test_what_is_in_the_way_is_named_with_the_way_out(
    arguments: str, message: str, bnn: Bnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("mine")
    Path("broken").symlink_to("nowhere/at/all")
    for name in ("folder/bnn_model.h", "folder/README.md", ".dvc/tmp/rwlock"):
        Path(name).mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    shutil.copytree(ROOT / "reports", "reports")
    shutil.copytree(ROOT / "data", "data", ignore=shutil.ignore_patterns("raw", "processed"))
    before = system_errors.tree(Path())
    code, output, _ = bnn(*arguments.split())
    assert str(code).removeprefix(f"error: {Path.cwd()}/").removeprefix("error: ").startswith(message)
    assert str(code).partition("; ")[2] or "a folder, expected" in str(code)
    assert output == ""
    assert system_errors.tree(Path()) == before


@pytest.mark.parametrize("named", ["file", "file/deep", "broken", TOO_LONG])
def test_a_wrong_folder_for_prepared_data_is_named(
    named: str, study: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("broken").symlink_to("nowhere/at/all")
    monkeypatch.setenv("BNN_CACHE_DIR", named)
    with pytest.raises(
        SweepError, match=rf"^{named}: prepared data .* \([\w ]+\); BNN_CACHE_DIR names another folder$"
    ):
        worker.prepared_folder(job_of(study), [])


def test_a_full_folder_for_prepared_data_is_named(
    study: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(study)
    monkeypatch.setenv("BNN_CACHE_DIR", str(tmp_path))
    raw = sources.folder(study.folder / "data/raw")
    blocked = worker.prepared_folder(job, [raw]) / "test.npz"
    blocked.unlink()
    blocked.mkdir()
    with pytest.raises(SweepError, match=rf"^{blocked}: cannot be written \(Is a directory\); .*BNN_CACHE_DIR names"):
        worker.prepared_folder(job, [raw])


def test_the_home_of_nobody_is_no_folder_for_prepared_data() -> None:
    with pytest.raises(SweepError, match=r"BNN_CACHE_DIR: ~nobody-at-all/x: .*; name a folder"):
        worker.cache_folder({"BNN_CACHE_DIR": "~nobody-at-all/x"})


def job_of(study: Checkout) -> Job:
    manifest = sources.read_manifest(study.folder / "data/mnist.sha256")
    return grid.job(params.load(study.folder / "params.yaml"), manifest, worker.code_fingerprint())
