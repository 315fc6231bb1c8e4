"""A network's logits, predictions and scores over a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bnnlib.data.mnist import CLASSES
from bnnlib.data.splits import Split
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import NonFiniteError
from bnnlib.scoring import metrics

BATCH = 200


@dataclass(frozen=True)
class Evaluation:
    """Predicted class and loss of each image, (n,), confusion matrix (10, 10) and scores; losses in nats."""

    predictions: NDArray[np.uint8]
    losses: NDArray[np.float64]
    confusion: NDArray[np.int64]
    scores: metrics.Scores


def tensors(data: Split, device: str) -> tuple[Tensor, Tensor]:
    """A data set on a device: images as uint8 (n, 28, 28), labels as int64 (n,)."""
    return torch.from_numpy(data.images).to(device), torch.from_numpy(data.labels).to(device).long()


@torch.inference_mode()
def logits(model: ConvNet, images: Tensor) -> Tensor:
    """uint8 (n, 28, 28) -> float32 (n, 10), a batch at a time."""
    return torch.cat([model(batch) for batch in images.split(BATCH)])


def evaluate(model: ConvNet, images: Tensor, labels: Tensor) -> Evaluation:
    """Evaluate a network in evaluation mode. images: uint8 (n, 28, 28); labels: int64 (n,), on the model's device."""
    return score(logits(model, images), labels)


def score(outputs: Tensor, labels: Tensor) -> Evaluation:
    """Evaluate logits, float32 (n, 10), whatever computed them. labels: int64 (n,), on the same device."""
    losses = functional.cross_entropy(outputs.double(), labels, reduction="none")
    total = losses.sum().item()
    if not math.isfinite(total):
        raise NonFiniteError("the evaluation's loss is not finite: the network's logits overflow")
    predictions = outputs.argmax(dim=1).to(torch.uint8).cpu().numpy()
    matrix = metrics.confusion(labels.cpu().numpy(), predictions, CLASSES)
    return Evaluation(predictions, losses.cpu().numpy(), matrix, metrics.scores(matrix, total))
