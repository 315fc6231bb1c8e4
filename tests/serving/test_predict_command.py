"""The command `bnn predict`: lines and JSON, errors, other models, and what it imports."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from support.clone import Bnn
from support.drawings import enlarged
from support.paths import ROOT

from bnnlib.data import splits
from bnnlib.packed import format as packed_format
from bnnlib.serving import predict


@pytest.fixture
def bnn(bnn: Bnn) -> Bnn:
    """Run the command far from the repository: exit code, output, errors."""
    return partial(bnn, "predict")


@pytest.fixture
def seven(parts: dict[str, splits.Split], tmp_path: Path) -> str:
    enlarged(parts["test"].images[0], 300).save(tmp_path / "seven.png")
    return "seven.png"


def test_a_line_for_a_file(bnn: Bnn, seven: str) -> None:
    code, output, errors = bnn(seven)
    assert (code, errors) == (0, "")
    assert output.startswith("digit 7  ")
    assert output.endswith(")  seven.png\n")


def test_several_passes_change_the_probability_and_there_are_as_many_as_the_file_has(bnn: Bnn, seven: str) -> None:
    once, thrice = (json.loads(bnn("--json", *more, seven)[1])[0] for more in ((), ("--passes", "3")))
    assert once["digit"] == thrice["digit"] == 7
    assert once["probability"] != thrice["probability"]
    assert bnn("--passes", "4", seven)[0] == "error: passes: 4, expected 1 to 3, which this network has"


def test_a_bad_file_is_named_and_the_others_are_done(bnn: Bnn, seven: str) -> None:
    Path("empty.png").touch()
    Image.new("L", (9, 9), 80).save("blank.png")
    code, output, errors = bnn("empty.png", seven, "blank.png", seven, "gone.png")
    assert code == 1
    assert [line.split()[:2] for line in output.splitlines()] == [["digit", "7"]] * 2
    assert [line.split(": ")[:2] for line in errors.splitlines()] == [
        ["error", "empty.png"],
        ["error", "blank.png"],
        ["error", "gone.png"],
    ]


def test_json_is_one_array_with_an_object_for_each_file(bnn: Bnn, seven: str) -> None:
    code, output, errors = bnn("--json", "--top", "3", seven, "gone.png")
    good, bad = json.loads(output)
    assert code == 1
    assert list(good) == ["file", "digit", "probability", "runner_up", "top", "sure", "box"]
    assert (good["file"], good["digit"], len(good["top"])) == ("seven.png", 7, 3)
    assert good["top"][1] == good["runner_up"]
    assert bad == {"file": "gone.png", "error": errors.removeprefix("error: ").rstrip("\n")}


def test_several_digits_from_left_to_right(bnn: Bnn, parts: dict[str, splits.Split]) -> None:
    page = Image.new("L", (650, 300), 255)
    for place in range(3):  # 7, 2, 1
        page.paste(enlarged(parts["test"].images[place], 200), (15 + 205 * place, 50))
    page.save("three.png")
    code, output, errors = bnn("three.png")
    assert (code, output) == (1, "")
    assert "three.png: several shapes: 3" in errors
    assert "--multi" in errors
    code, output, _ = bnn("--multi", "three.png")
    assert (code, [line.split()[1] for line in output.splitlines()]) == (0, ["7", "2", "1"])
    [found] = json.loads(bnn("--multi", "--json", "three.png")[1])
    assert [digit["digit"] for digit in found["digits"]] == [7, 2, 1]
    boxes = [digit["box"] for digit in found["digits"]]
    assert all(15 + 205 * place <= box[0] < box[2] <= 215 + 205 * place for place, box in enumerate(boxes))


def test_what_a_folder_holds_and_is_not_read_is_named(bnn: Bnn, seven: str) -> None:
    Path("photo.heic").write_bytes(b"x")
    code, output, errors = bnn(".")
    assert (code, len(output.splitlines())) == (0, 1)
    assert errors.startswith("warning: photo.heic: not read: images of these kinds are: .bmp, ")


def test_json_of_good_files_alone(bnn: Bnn, seven: str) -> None:
    code, output, errors = bnn("--json", seven)
    assert (code, errors, len(json.loads(output))) == (0, "", 1)


def test_another_model(bnn: Bnn, seven: str, tmp_path: Path) -> None:
    model = predict.load()
    scale = -model.head.scale
    other = dataclasses.replace(model, head=dataclasses.replace(model.head, scale=scale, offset=-model.head.offset))
    (tmp_path / "other.bnn").write_bytes(packed_format.encode(other))
    code, output, _ = bnn("--model", "other.bnn", "--top", "10", seven)
    assert code == 0
    assert "7  0.000)  seven.png" in output  # the other way round: 7 comes last


def test_a_missing_model_ends_the_command(bnn: Bnn, seven: str) -> None:
    code, output, _ = bnn("--model", "gone.bnn", seven)
    assert str(code).startswith("error: gone.bnn: cannot be read (No such file or directory)")
    assert output == ""


@pytest.mark.parametrize("arguments", [(), ("--top", "0", "a.png"), ("--top", "11", "a.png"), ("--tpo", "a.png")])
def test_usage_errors(bnn: Bnn, arguments: tuple[str, ...]) -> None:
    assert bnn(*arguments)[0] == 2


SCRIPT = """
import sys
from bnnlib import cli
heavy = {"torch", "mlflow", "pandas", "matplotlib", "numba", "sklearn", "numpy", "PIL"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
sys.argv = ["bnn", "predict", sys.argv[1]]
try:
    cli.main()
except SystemExit as done:
    assert done.code == 0, done.code
print(*sorted(heavy & set(sys.modules)))
"""


def test_a_prediction_imports_numpy_and_pillow_only(seven: str, tmp_path: Path) -> None:
    """In a fresh interpreter, which also starts within the limit of time, by far (5 s on a machine that is busy)."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / seven)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "PIL numpy"
    assert done.stdout.startswith("digit 7  ")


def test_bytes_that_pillow_cannot_name_pass_through_a_file_name(bnn: Bnn, seven: str, tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe.png")
    try:
        (tmp_path / seven).rename(tmp_path / odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    code, output, _ = bnn(odd)
    assert (code, output.split()[-1]) == (0, "\\udcff\\udcfe.png")
