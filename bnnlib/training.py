"""Train one network; the loop yields a record and the published network of every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from bnnlib import batches, evaluation, metrics, models, optimizers, threads
from bnnlib.metrics import Scores
from bnnlib.mnist import CLASSES, Split
from bnnlib.models import ConvNet, NonFiniteError, Published
from bnnlib.params import Training

NORM_BATCH = 500  # images at a time, where batch norm is re-estimated


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    ``train`` scores are means over the epoch's images as the network met them, in training mode; ``validation`` scores
    are those of ``published``. ``flip_ratio`` is the share of binary weights whose sign differs from the epoch before,
    None for wider weights. ``learning_rate`` is Adam's in the last step.
    """

    epoch: int
    learning_rate: float
    flip_ratio: float | None
    train: Scores
    validation: Scores
    published: Published

    def row(self) -> dict[str, float | None]:
        """The record as one flat row: epoch, learning_rate, flip_ratio, train_loss, ... validation_accuracy."""
        scores = {
            f"{part}_{name}": getattr(getattr(self, part), name)
            for part in ("train", "validation")
            for name in ("loss", "macro_f1", "accuracy")
        }
        return {"epoch": self.epoch, "learning_rate": self.learning_rate, "flip_ratio": self.flip_ratio, **scores}


def best(epochs: Sequence[Epoch]) -> Epoch:
    """The epoch of highest validation macro-F1; the earlier one on a tie."""
    return max(epochs, key=lambda epoch: epoch.validation.macro_f1)


def fit(train: Split, validation: Split, cfg: Training) -> Iterator[Epoch]:
    """Train by `optimizers` with a one-cycle schedule; yield after each epoch.

    Latent weights of a 1-bit network are clipped to [-latent_clip, latent_clip] after each step (arXiv:1602.02830).
    Raises `NonFiniteError` naming the first faulty step.
    """
    torch.manual_seed(cfg.seed)
    order = torch.Generator().manual_seed(cfg.seed)
    device, recipe, epochs = cfg.runtime.device, cfg.recipe, cfg.train.epochs
    images, labels = evaluation.tensors(train, device)
    held_out = evaluation.tensors(validation, device)
    model = ConvNet(cfg.quantization).to(device)
    steps = batches.count(len(images), recipe.batch_size)
    used = optimizers.build(model, cfg)
    schedules = [optimizers.schedule(optimizer, epochs, steps) for optimizer in used]
    augmentation = batches.Augmentation(recipe.shift, recipe.shift_share, recipe.contrast, recipe.rotation, recipe.zoom)
    for epoch in range(1, epochs + 1):
        with threads.taken_from_torch() if device == "cpu" and model.trains_by_kernels() else nullcontext():
            signs_before = _weight_signs(model)
            model.train()
            met = _Met.nothing(len(images), steps, device)
            for step, batch in enumerate(batches.shuffled(images, labels, recipe.batch_size, augmentation, order)):
                model.progress = (epoch - 1 + step / steps) / epochs
                met.add(*_step(model, used, batch, cfg.latent_clip), batch[1])
                learning_rate = float(schedules[0].get_last_lr()[0])
                for schedule in schedules:
                    schedule.step()
            train_scores = met.scores(epoch)
            if cfg.train.norm_images is not None:
                reestimate_norms(model, images[: cfg.train.norm_images])
            published = models.publish(model, epoch)
            validation_scores = evaluation.evaluate(models.restore(published).to(device), *held_out).scores
        yield Epoch(
            epoch=epoch,
            learning_rate=learning_rate,
            flip_ratio=_flip_ratio(signs_before, _weight_signs(model)) if cfg.bits == 1 else None,
            train=train_scores,
            validation=validation_scores,
            published=published,
        )


@dataclass
class _Met:
    """What the network made of an epoch's images, as it met them in training: filled step by step.

    The tensors stay on the device, for reading them would make it wait, and are made once: thousands of small ones
    that live for an epoch would lie scattered between the large ones of each step, and the process would grow.
    """

    losses: Tensor  # (steps,), mean over the batch
    sizes: list[int]
    labels: Tensor  # (n,)
    predictions: Tensor  # (n,)

    @classmethod
    def nothing(cls, images: int, steps: int, device: str) -> _Met:
        """Room for an epoch."""
        classes = torch.zeros(2, images, dtype=torch.int64, device=device)
        return cls(torch.zeros(steps, device=device), [], classes[0], classes[1])

    def add(self, loss: Tensor, predictions: Tensor, labels: Tensor) -> None:
        """Note a step."""
        start = sum(self.sizes)
        self.losses[len(self.sizes)] = loss
        self.labels[start : start + len(labels)] = labels
        self.predictions[start : start + len(labels)] = predictions
        self.sizes.append(len(labels))

    def scores(self, epoch: int) -> Scores:
        """Scores over all images of an epoch, each image counted once."""
        losses = self.losses.double().cpu()
        faulty = torch.nonzero(~torch.isfinite(losses))
        if len(faulty):
            at = int(faulty[0])
            raise NonFiniteError(
                f"training loss is {losses[at].item()} at epoch {epoch}, step {at + 1} of {len(losses)}; "
                "a smaller learning_rate may help"
            )
        matrix = metrics.confusion(self.labels.cpu().numpy(), self.predictions.cpu().numpy(), CLASSES)
        return metrics.scores(matrix, float(losses @ torch.tensor(self.sizes, dtype=torch.float64)))


@torch.no_grad()
def reestimate_norms(model: ConvNet, images: Tensor) -> None:
    """Give each batch norm the statistics of these images, the mean over batches. images: uint8 (n, 28, 28), n >= 2.

    The running averages of the training follow its last few batches alone, of images that augmentation has changed
    and of weights that have moved since. The training goes on as it would have, for there batch norm takes the
    statistics of each batch.
    """
    model.progress = 1.0  # with the weights that will be published
    update_bn(images.tensor_split(batches.count(len(images), NORM_BATCH)), model)


def _step(
    model: ConvNet, used: Sequence[Optimizer], batch: tuple[Tensor, Tensor], latent_clip: float | None
) -> tuple[Tensor, Tensor]:
    """One step of the optimizers; returns the batch's mean loss (scalar) and the predictions (batch,)."""
    images, labels = batch
    logits = model(images)
    loss = functional.cross_entropy(logits, labels)
    model.zero_grad()
    loss.backward()
    for optimizer in used:
        optimizer.step()
    if latent_clip is not None:
        _clip_latent_weights(model, latent_clip)
    return loss.detach(), logits.detach().argmax(dim=1)


@torch.no_grad()
def _clip_latent_weights(model: ConvNet, bound: float) -> None:
    for layer in model.layers():
        layer.weight.clamp_(-bound, bound)


def _weight_signs(model: ConvNet) -> Tensor:
    """Signs of all weights as one bool tensor (55712,)."""
    return torch.cat([(layer.weight.detach() >= 0).flatten() for layer in model.layers()])


def _flip_ratio(before: Tensor, after: Tensor) -> float:
    return (before != after).double().mean().item()
