"""MNIST and the data sets in its format: names, sizes, classes, constants of normalisation."""

from __future__ import annotations

from typing import Literal

DataName = Literal["mnist", "fashion_mnist", "kmnist"]
CLASSES = 10
# What the labels 0 to 9 mean, in torchvision's spelling; KMNIST's are kana.
CLASS_NAMES: dict[DataName, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
SIDE = 28
WHITE = 255
# Mean and standard deviation of the 60,000 training images scaled to [0, 1], as in PyTorch's MNIST example.
MEAN = 0.1307
STD = 0.3081

# The raw files of each part, images and labels.
PARTS = {
    "development": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
PART_SIZES = {"development": 60_000, "test": 10_000}  # images, the same in all data sets
SPLITS = ("train", "validation", "test")  # what the stages work on: the first two share the development part
