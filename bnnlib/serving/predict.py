"""Digits in image files by the packed 1-bit network, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import CLASSES, SIDE
from bnnlib.packed import engines, file, reference
from bnnlib.packed import passes as several
from bnnlib.packed.model import PackedModel
from bnnlib.serving import images
from bnnlib.serving.cleaning import Box
from bnnlib.serving.images import ImageError
from bnnlib.serving.preparation import Digit

# For this many images the reference engine, at about 0.4 ms an image, takes as long as Numba does to be imported and to
# load its compiled kernels, 0.75 s or so.
MANY = 2048

# A digit whose largest logit is less is not sure. Of the validation images 2 % have less under the default network;
# the largest logit tells pictures of other things apart better than the probability and the margin do.
LEAST_LOGIT = 7.73


class PredictError(BnnError):
    """The model is not one for digits of 28x28 pixels."""


@dataclass(frozen=True)
class Guess:
    """A digit, and the probability that the network gives it."""

    digit: int
    probability: float


@dataclass(frozen=True)
class Outcome:
    """The result for one file: ``ranking`` has every digit, the likeliest first; or ``error`` says why it is empty.

    ``sure``: False where the picture is unlike the digits that the network was trained with. ``box``: where the digit
    is in the picture (left, top, right, bottom; pixels); ``place``: 0, 1, ... of several digits from left to right.
    """

    file: str
    ranking: tuple[Guess, ...]
    error: str | None = None
    sure: bool = True
    box: Box | None = None
    place: int = 0

    @property
    def digit(self) -> int | None:
        """The likeliest digit; None where there is an error."""
        return self.ranking[0].digit if self.ranking else None


def default_model() -> Path:
    """The file of the default network: in the installed package, else in the repository that the package runs from."""
    packaged = Path(__file__).with_name("default.bnn")  # pyproject.toml puts models/binary.bnn there
    return packaged if packaged.exists() else Path(__file__).resolve().parents[2] / "models" / "binary.bnn"


def load(path: str | Path | None = None) -> PackedModel:
    """Read a packed network (.bnn), or the default one; `PackedFileError` or `FileError` where that fails.

    >>> model = load()
    >>> model.side, len(model.head.weights)  # it reads images of 28 x 28 pixels and knows 10 digits
    (28, 10)
    """
    return file.read(default_model() if path is None else Path(path))


def classify(
    paths: str | Path | Iterable[str | Path], model: PackedModel | None = None, multi: bool = False, passes: int = 1
) -> list[Outcome]:
    """The digit in each image file, in order; a folder stands for the image files in it.

    Files may be PNG, JPEG, BMP, GIF, TIFF or WebP, of any size and colours. A file that cannot be read, or that does
    not show one digit, has an error in its outcome. ``model``: None is the default network. ``multi``: a file may show
    several digits, and has an outcome for each, from left to right. ``passes``: see `passes.logits`. `PredictError` for
    a network of other images than MNIST's.

    >>> from PIL import Image
    >>> paper = Image.new("L", (60, 80), "white")
    >>> paper.paste("black", (28, 10, 33, 70))  # an upright stroke
    >>> paper.save("one.png")
    >>> [(outcome.file, outcome.digit, outcome.sure) for outcome in classify(["one.png"])]
    [('one.png', 1, True)]
    >>> classify("gone.png")[0].digit is None
    True
    """
    used = load() if model is None else model
    _check(used)
    given = [paths] if isinstance(paths, str | Path) else paths
    found = [item for path in given for item in _prepared(Path(path), multi)]
    digits = [digit.image for _, result in found if not isinstance(result, ImageError) for digit in result]
    values = logits(used, np.stack(digits), passes) if digits else np.zeros((0, CLASSES), np.float32)
    rankings = iter(zip(rank(values), (values.max(axis=1) >= LEAST_LOGIT).tolist(), strict=True))
    outcomes = []
    for path, result in found:
        if isinstance(result, ImageError):
            outcomes.append(Outcome(str(path), (), str(result)))
            continue
        for place, digit in enumerate(result):
            ranking, sure = next(rankings)
            outcomes.append(Outcome(str(path), ranking, None, sure, digit.box, place))
    return outcomes


def _check(model: PackedModel) -> None:
    found = (model.side, len(model.head.weights))
    if found != (SIDE, CLASSES):
        raise PredictError(
            f"the packed model: side, classes: {found[0]}, {found[1]}, expected {SIDE}, {CLASSES}, as in MNIST"
        )


def _prepared(path: Path, multi: bool) -> Iterator[tuple[Path, list[Digit] | ImageError]]:
    """Each file that ``path`` stands for, with its digits or what is wrong with it."""
    try:
        found = images.find(path)
    except ImageError as error:
        yield path, error
        return
    for item in found:
        try:
            yield item, images.load_digits(item, multi)
        except ImageError as error:
            yield item, error


def logits(model: PackedModel, prepared: NDArray[np.uint8], passes: int = 1) -> NDArray[np.float32]:
    """Logits, float32 (n, classes), of images, uint8 (n, 28, 28)."""
    few = len(prepared) * passes < MANY
    return several.logits(reference.Engine(model) if few else engines.best(model), prepared, passes)


def rank(logits: NDArray[np.float32]) -> list[tuple[Guess, ...]]:
    """Every class of each row of logits, the likeliest first; of equals the lower digit, as argmax has it."""
    # By the logits: of two small probabilities that both round to 0 one is still the larger.
    orders = np.argsort(-logits, axis=1, kind="stable")
    return [
        tuple(Guess(int(digit), float(row[digit])) for digit in order)
        for order, row in zip(orders, reference.probabilities(logits), strict=True)
    ]


def line(outcome: Outcome, top: int) -> str:
    """A result for people: `digit 7  0.998  (then 9  0.001)  path`, with ``top`` digits in all."""
    first, *others = outcome.ranking[:top]
    then = ", ".join(f"{guess.digit}  {guess.probability:.3f}" for guess in others)
    name = outcome.file.encode("utf-8", "backslashreplace").decode()  # a name may hold bytes that are no UTF-8
    doubt = "" if outcome.sure else "unsure  "
    return f"digit {first.digit}  {first.probability:.3f}  {doubt}{f'(then {then})  ' if then else ''}{name}"


def record(outcome: Outcome, top: int) -> dict[str, object]:
    """A result for programs: file, digit, probability, runner_up, the ``top`` likeliest, sure, box; or file, error."""
    if outcome.error is not None:
        return {"file": outcome.file, "error": outcome.error}
    ranking = [asdict(guess) for guess in outcome.ranking]
    found = {**ranking[0], "runner_up": ranking[1], "top": ranking[:top], "sure": outcome.sure}
    return {"file": outcome.file, **found, "box": outcome.box and list(outcome.box)}


def records(outcomes: Iterable[Outcome], top: int) -> list[dict[str, object]]:
    """Results for programs, of pictures with several digits: an object for each file, its digits in a list."""
    found: list[dict[str, object]] = []
    listed: list[dict[str, object]] = []
    for outcome in outcomes:
        each = record(outcome, top)
        name = each.pop("file")
        if outcome.error is not None:
            found.append({"file": name, **each})
            continue
        if outcome.place == 0:
            listed = []
            found.append({"file": name, "digits": listed})
        listed.append(each)
    return found
