"""From logits to probabilities, from files to digits, and the command `bnn predict`."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from PIL import Image
from support import networks
from support.clone import Bnn
from support.paths import ROOT

from bnnlib.core.files import FileError
from bnnlib.data import mnist, splits
from bnnlib.packed import format as packed_format
from bnnlib.packed import reference
from bnnlib.packed.file import PackedFileError
from bnnlib.packed.model import PackedModel
from bnnlib.serving import images, predict
from bnnlib.serving.predict import Guess, Outcome, PredictError


@pytest.fixture(scope="module")
def model() -> PackedModel:
    return predict.read_model(networks.COMMITTED)


# Probabilities and ranks.


def test_probabilities_of_hand_worked_logits() -> None:
    logits = np.log(np.array([[1, 2, 5], [8, 1, 1]], np.float32))
    found = reference.probabilities(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[1 / 8, 2 / 8, 5 / 8], [8 / 10, 1 / 10, 1 / 10]], rtol=3e-7)  # float32's logs


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[3e38, 0, -3e38], [-3e38, -3e38, -3e38]], np.float32)
    assert reference.probabilities(logits).tolist() == [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]]


@given(st_numpy.arrays(np.float32, (4, 10), elements=st.floats(-1e4, 1e4, width=32)))
def test_probabilities_sum_to_one_and_ranks_follow_argmax(logits: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(reference.probabilities(logits).sum(axis=1), 1, rtol=1e-14)  # ten roundings of 1.1e-16
    for ranking, row in zip(predict.rank(logits), logits, strict=True):
        assert ranking[0].digit == int(row.argmax())
        assert [float(row[guess.digit]) for guess in ranking] == sorted(map(float, row), reverse=True)
        assert sorted(guess.digit for guess in ranking) == list(range(10))


def test_of_equals_the_lower_digit_comes_first_and_tiny_ones_keep_their_order() -> None:
    [ranking] = predict.rank(np.array([[-2000, 1, -1000, 1]], np.float32))
    assert [guess.digit for guess in ranking] == [1, 3, 2, 0]
    assert [guess.probability for guess in ranking] == [0.5, 0.5, 0, 0]  # the last two are too small for float64


# The model's file.


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gone.bnn"
    with pytest.raises(FileError) as caught:
        predict.read_model(path)
    reason = "cannot be read (No such file or directory); `dvc repro` makes it"
    assert str(caught.value) == f"{path}: {reason}"


def test_a_damaged_model_is_named_with_its_field(tmp_path: Path) -> None:
    content = networks.COMMITTED.read_bytes()
    path = tmp_path / "a.bnn"
    for damaged, field in (
        (content[:-1], "length"),
        (b"\x89", "magic"),
        (content[:50] + b"~" + content[51:], "checksum"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(PackedFileError, match=rf"^{path}: packed model: {field}: "):
            predict.read_model(path)


def test_a_model_for_other_images(tmp_path: Path) -> None:
    path = tmp_path / "a.bnn"
    path.write_bytes(packed_format.encode(networks.draw("whole words")[0]))
    with pytest.raises(PredictError, match=rf"^{path}: side, classes: 8, 10, expected 28, 10: a model for MNIST's"):
        predict.read_model(path)


# Files.


def test_few_images_and_many_give_the_same(model: PackedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    some = generator.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    few = predict.logits(model, some)
    monkeypatch.setattr(predict, "MANY", 20)
    monkeypatch.setattr(reference, "logits", lambda *_: pytest.fail("the slow engine, for many images"))
    assert np.array_equal(predict.logits(model, some), few)


def test_outcomes_keep_the_order_of_the_files(
    model: PackedModel, parts: dict[str, splits.Split], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "empty").mkdir()
    for number in range(3):
        Image.fromarray(parts["test"].images[number]).save(folder / f"{number}.png")
    (folder / "1a.png").write_text("no image")
    last = tmp_path / "last.gif"
    Image.fromarray(parts["test"].images[3]).save(last)
    found = predict.predict(model, [tmp_path / "gone.png", folder, tmp_path / "empty", last])
    assert [Path(outcome.file).name for outcome in found] == [
        "gone.png", "0.png", "1.png", "1a.png", "2.png", "empty", "last.gif",
    ]  # fmt: skip
    digits = [outcome.ranking[0].digit if outcome.error is None else None for outcome in found]
    assert digits == [None, 7, 2, None, 1, None, 0]  # the first labels of the test set: 7, 2, 1, 0
    assert all(outcome.ranking == () for outcome in found if outcome.error is not None)


def enlarged(image: NDArray[np.uint8], side: int) -> Image.Image:
    """Dark on light, scaled."""
    scaled = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    return Image.fromarray(mnist.WHITE - np.asarray(scaled))


def photographed(image: NDArray[np.uint8]) -> Image.Image:
    """On grey paper under uneven light, with noise."""
    light = np.linspace(0.6, 0.9, 200)
    values = (np.asarray(enlarged(image, 200), np.float64) * 0.8 + 40) * light
    noise = np.random.default_rng(int(image.sum())).normal(0, 4, values.shape)
    return Image.fromarray((values + noise).clip(0, mnist.WHITE).astype(np.uint8))


def transparent(image: NDArray[np.uint8]) -> Image.Image:
    """White ink on a transparent ground."""
    alpha = Image.fromarray(image).resize((100, 100), Image.Resampling.BILINEAR)
    return Image.merge("LA", [Image.new("L", alpha.size, mnist.WHITE), alpha])


def two_levels(image: NDArray[np.uint8]) -> Image.Image:
    return enlarged(image, 120).point([mnist.WHITE * (level >= 128) for level in range(256)]).convert("1")


WAYS: dict[str, tuple[Callable[[NDArray[np.uint8]], Image.Image], str, dict[str, Any]]] = {
    "as they are": (Image.fromarray, "png", {}),
    "dark on light": (lambda image: Image.fromarray(mnist.WHITE - image), "bmp", {}),
    "200x200": (lambda image: enlarged(image, 200), "png", {}),
    "64x64 jpeg": (lambda image: enlarged(image, 64), "jpg", {"quality": 50}),
    "20x20": (lambda image: enlarged(image, 20), "png", {}),
    "transparent": (transparent, "png", {}),
    "16 bits": (lambda image: Image.fromarray(np.asarray(enlarged(image, 90), np.uint16) * 257), "tif", {}),
    "1 bit": (two_levels, "gif", {}),
    "photographed": (photographed, "jpg", {"quality": 80}),
}


@pytest.mark.parametrize("way", WAYS)
def test_real_digits_in_files_are_recognised_as_well_as_in_the_data_set(
    way: str, model: PackedModel, parts: dict[str, splits.Split], tmp_path: Path
) -> None:
    """The accuracy on the first 1,000 test images may differ by 0.012 (12 images) from that of the data set's own."""
    labels = parts["test"].labels[:1000]
    direct = float((predict.logits(model, parts["test"].images[:1000]).argmax(axis=1) == labels).mean())
    draw, suffix, options = WAYS[way]
    for number, image in enumerate(parts["test"].images[:1000]):
        draw(image).save(tmp_path / f"{number:04d}.{suffix}", **options)
    outcomes = predict.predict(model, [tmp_path])
    found = float(np.mean([outcome.ranking[0].digit == label for outcome, label in zip(outcomes, labels, strict=True)]))
    print(f"{way}: {found:.4f}, direct {direct:.4f}")
    assert found == pytest.approx(direct, abs=0.012)


# How results are shown.

SURE = Outcome("a b.png", (Guess(7, 0.99751), Guess(9, 0.00149), Guess(0, 0.001)))


def test_lines_for_people() -> None:
    assert predict.line(SURE, 2) == "digit 7  0.998  (then 9  0.001)  a b.png"
    assert predict.line(SURE, 1) == "digit 7  0.998  a b.png"
    assert predict.line(SURE, 10) == "digit 7  0.998  (then 9  0.001, 0  0.001)  a b.png"
    assert predict.line(dataclasses.replace(SURE, file=os.fsdecode(b"\xff.png")), 1).endswith("  \\udcff.png")


def test_records_for_programs() -> None:
    runner_up = {"digit": 9, "probability": 0.00149}
    first = {"digit": 7, "probability": 0.99751}
    assert predict.record(SURE, 2) == {
        "file": "a b.png", **first, "runner_up": runner_up, "top": [first, runner_up],
    }  # fmt: skip
    assert predict.record(SURE, 1) == {"file": "a b.png", **first, "runner_up": runner_up, "top": [first]}
    assert predict.record(Outcome("x", (), "x: gone"), 2) == {"file": "x", "error": "x: gone"}


# The command.


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
    assert list(good) == ["file", "digit", "probability", "runner_up", "top"]
    assert (good["file"], good["digit"], len(good["top"])) == ("seven.png", 7, 3)
    assert good["top"][1] == good["runner_up"]
    assert bad == {"file": "gone.png", "error": errors.removeprefix("error: ").rstrip("\n")}


def test_json_of_good_files_alone(bnn: Bnn, seven: str) -> None:
    code, output, errors = bnn("--json", seven)
    assert (code, errors, len(json.loads(output))) == (0, "", 1)


def test_another_model(bnn: Bnn, seven: str, model: PackedModel, tmp_path: Path) -> None:
    scale = -model.head.scale
    other = dataclasses.replace(model, head=dataclasses.replace(model.head, scale=scale, offset=-model.head.offset))
    (tmp_path / "other.bnn").write_bytes(packed_format.encode(other))
    code, output, _ = bnn("--model", "other.bnn", "--top", "10", seven)
    assert code == 0
    assert "7  0.000)  seven.png" in output  # all turned round: 7 comes last


def test_a_missing_model_ends_the_command(bnn: Bnn, seven: str) -> None:
    code, output, _ = bnn("--model", "gone.bnn", seven)
    assert (code, output) == (
        "error: gone.bnn: cannot be read (No such file or directory); `dvc repro` makes it",
        "",
    )


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


def test_the_field_of_the_prepared_image_is_what_the_model_takes(model: PackedModel) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.eye(30, dtype=np.uint8) * 255).save(buffer, "PNG")
    prepared = images.prepare(images.decode(buffer.getvalue(), "x"), "x")
    assert predict.logits(model, prepared[None]).shape == (1, mnist.CLASSES)
