"""From logits to probabilities, from files to digits, and how results are shown."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from PIL import Image
from support import drawings, networks

from bnnlib.core.files import FileError
from bnnlib.data import mnist, splits
from bnnlib.packed import reference
from bnnlib.packed.file import PackedFileError
from bnnlib.packed.model import PackedModel
from bnnlib.serving import predict
from bnnlib.serving.predict import Guess, Outcome, PredictError


@pytest.fixture(scope="module")
def model() -> PackedModel:
    return predict.load()


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


def test_the_default_model_of_a_repository_is_the_committed_one() -> None:
    assert predict.default_model() == networks.COMMITTED


def test_a_model_beside_the_module_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "default.bnn").touch()
    monkeypatch.setattr(predict, "__file__", str(tmp_path / "predict.py"))
    assert predict.default_model() == tmp_path / "default.bnn"


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gone.bnn"
    with pytest.raises(FileError, match=rf"^{path}: cannot be read \(No such file or directory\)"):
        predict.load(path)


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
            predict.load(str(path))


def test_a_model_for_other_images_is_refused() -> None:
    other, _ = networks.draw("whole words")
    with pytest.raises(PredictError, match=r"side, classes: 8, 10, expected 28, 10"):
        predict.classify([], other)


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
    found = predict.classify([tmp_path / "gone.png", folder, str(tmp_path / "empty"), last], model)
    assert [Path(outcome.file).name for outcome in found] == [
        "gone.png", "0.png", "1.png", "1a.png", "2.png", "empty", "last.gif",
    ]  # fmt: skip
    # The first labels of the test set are 7, 2, 1, 0.
    assert [outcome.digit for outcome in found] == [None, 7, 2, None, 1, None, 0]
    assert all((outcome.ranking == ()) == (outcome.error is not None) for outcome in found)


def test_one_path_alone_is_read_with_the_default_model(parts: dict[str, splits.Split], tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    Image.fromarray(parts["test"].images[0]).save(path)
    for each in (path, str(path)):
        assert [outcome.digit for outcome in predict.classify(each)] == [7]


def test_the_field_of_the_prepared_image_is_what_the_model_takes(model: PackedModel) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.eye(30, dtype=np.uint8) * 255).save(buffer, "PNG")
    prepared = drawings.read(buffer.getvalue())
    assert predict.logits(model, prepared[None]).shape == (1, mnist.CLASSES)


# How results are shown.

SURE = Outcome("a b.png", (Guess(7, 0.99751), Guess(9, 0.00149), Guess(0, 0.001)))


def test_lines_for_people() -> None:
    assert predict.line(SURE, 2) == "digit 7  0.998  (then 9  0.001)  a b.png"
    assert predict.line(SURE, 1) == "digit 7  0.998  a b.png"
    assert predict.line(dataclasses.replace(SURE, sure=False), 2) == "digit 7  0.998  unsure  (then 9  0.001)  a b.png"
    assert predict.line(SURE, 10) == "digit 7  0.998  (then 9  0.001, 0  0.001)  a b.png"
    assert predict.line(dataclasses.replace(SURE, file=os.fsdecode(b"\xff.png")), 1).endswith("  \\udcff.png")


def test_records_for_programs() -> None:
    runner_up = {"digit": 9, "probability": 0.00149}
    first = {"digit": 7, "probability": 0.99751}
    assert predict.record(SURE, 2) == {
        "file": "a b.png", **first, "runner_up": runner_up, "top": [first, runner_up], "sure": True, "box": None,
    }  # fmt: skip
    boxed = dataclasses.replace(SURE, sure=False, box=(1, 2, 30, 40))
    assert predict.record(boxed, 1) == {
        "file": "a b.png", **first, "runner_up": runner_up, "top": [first], "sure": False, "box": [1, 2, 30, 40],
    }  # fmt: skip
    assert predict.record(Outcome("x", (), "x: gone"), 2) == {"file": "x", "error": "x: gone"}


def test_records_of_several_digits_are_one_for_each_file() -> None:
    second = dataclasses.replace(SURE, place=1, box=(5, 0, 9, 9))
    found = predict.records([SURE, second, Outcome("x", (), "x: gone"), dataclasses.replace(SURE, file="c")], 1)
    assert [(each["file"], len(each["digits"]) if "digits" in each else each["error"]) for each in found] == [
        ("a b.png", 2), ("x", "x: gone"), ("c", 1),
    ]  # fmt: skip
    assert found[0]["digits"][1]["box"] == [5, 0, 9, 9]
