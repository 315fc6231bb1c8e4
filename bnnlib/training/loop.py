"""Train one network; the loop yields a record and the published network of every epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from bnnlib.config.spec import Training
from bnnlib.data.mnist import CLASSES
from bnnlib.data.splits import Split
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import NonFiniteError, Published, publish, restore
from bnnlib.scoring import evaluation, metrics
from bnnlib.scoring.metrics import Scores
from bnnlib.training import batches, optimizers

if TYPE_CHECKING:
    from bnnlib.core.checkpoint import Checkpoint

NORM_BATCH = 500  # batch size for re-estimating batch norm


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch.

    ``train`` scores are means over the epoch's images, as they were trained on, in training mode; ``validation`` scores
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


def fit(train: Split, validation: Split, cfg: Training, checkpoint: Checkpoint | None = None) -> Iterator[Epoch]:
    """Train by `optimizers` with a one-cycle schedule; yield after each epoch.

    Latent weights of a 1-bit network are clipped to [-latent_clip, latent_clip] after each step (arXiv:1602.02830).
    ``checkpoint`` keeps the state after each epoch: the epochs in it come first and are not trained again, and the
    others are the same, to the last bit, as without the interruption.
    Raises `NonFiniteError`, which names the first step whose loss is not finite.
    """
    torch.manual_seed(cfg.seed)
    device, recipe = cfg.runtime.device, cfg.recipe
    images, labels = evaluation.tensors(train, device)
    held_out = evaluation.tensors(validation, device)
    steps = batches.count(len(images), recipe.batch_size)
    state = _State(cfg, steps)
    state.restore(None if checkpoint is None else checkpoint.load())
    yield from state.epochs
    for epoch in range(len(state.epochs) + 1, recipe.epochs + 1):
        signs_before = _weight_signs(state.model)
        train_scores, learning_rate = _train(state, images, labels, epoch, steps)
        if cfg.norm_images is not None:
            reestimate_norms(state.model, images[: cfg.norm_images])
        published = publish(state.model, epoch)
        flips = _flip_ratio(signs_before, _weight_signs(state.model)) if state.model.quantizer.binary else None
        done = Epoch(
            epoch=epoch,
            learning_rate=learning_rate,
            flip_ratio=flips,
            train=train_scores,
            validation=evaluation.evaluate(restore(published).to(device), *held_out).scores,
            published=published,
        )
        state.epochs.append(done)
        if checkpoint is not None:
            checkpoint.save(state.stored())
        yield done


class _State:
    """All of a training that changes with it."""

    def __init__(self, cfg: Training, steps: int) -> None:
        """At the start; ``steps``: of an epoch."""
        self.cfg = cfg
        self.order = torch.Generator().manual_seed(cfg.seed)
        self.model = ConvNet(cfg.topology, cfg.quantization).to(cfg.runtime.device)
        self.optimizers = optimizers.build(self.model, cfg.recipe)
        self.schedules = [optimizers.schedule(each, cfg.recipe.epochs, steps) for each in self.optimizers]
        self.epochs: list[Epoch] = []

    def stored(self) -> dict[str, Any]:
        """As tensors, numbers, text, lists and mappings."""
        return {
            "parts": [part.state_dict() for part in self._parts()],
            "random": [self.order.get_state(), torch.get_rng_state()],
            "epochs": [_stored(each) for each in self.epochs],
        }

    def restore(self, stored: Mapping[str, Any] | None) -> None:
        """Go on from what `stored` gave; None: stay as it is."""
        if stored is None:
            return
        for part, state in zip(self._parts(), stored["parts"], strict=True):
            part.load_state_dict(state)
        order, everywhere = stored["random"]
        self.order.set_state(order)
        torch.set_rng_state(everywhere)
        self.epochs = [self._epoch(each) for each in stored["epochs"]]

    def _parts(self) -> list[Any]:  # torch has no common type for what has a state_dict
        return [self.model, *self.optimizers, *self.schedules]

    def _epoch(self, stored: Mapping[str, Any]) -> Epoch:
        scores = {part: Scores(**stored[part]) for part in ("train", "validation")}
        published = Published(stored["published"], self.model.topology, self.model.bits, stored["epoch"])
        return Epoch(**{**stored, **scores, "published": published})


def _stored(epoch: Epoch) -> dict[str, Any]:
    scores = {"train": dataclasses.asdict(epoch.train), "validation": dataclasses.asdict(epoch.validation)}
    return {**vars(epoch), **scores, "published": epoch.published.tensors}


def _train(state: _State, images: Tensor, labels: Tensor, epoch: int, steps: int) -> tuple[Scores, float]:
    """One epoch of the training; its scores, and the learning rate of the last step."""
    recipe, model = state.cfg.recipe, state.model
    seen, learning_rate = [], 0.0
    model.train()
    for step, batch in enumerate(batches.shuffled(images, labels, recipe.batch_size, recipe.augmentation, state.order)):
        model.progress = (epoch - 1 + step / steps) / recipe.epochs
        seen.append(_step(model, state.optimizers, batch, state.cfg.latent_clip))
        learning_rate = float(state.schedules[0].get_last_lr()[0])
        for schedule in state.schedules:
            schedule.step()
    return _scores(seen, epoch), learning_rate


class _Seen(NamedTuple):
    """Loss and predictions of one batch. On the device, because reading a number would make the training wait."""

    loss: Tensor  # scalar, mean over the batch
    predictions: Tensor  # (batch,)
    labels: Tensor  # (batch,)


def _scores(seen: Sequence[_Seen], epoch: int) -> Scores:
    """Scores over all images of an epoch, as they were trained on, each image counted once."""
    losses = torch.stack([each.loss for each in seen]).double().cpu()
    bad = torch.nonzero(~torch.isfinite(losses))
    if len(bad):
        at = int(bad[0])
        raise NonFiniteError(
            f"training loss is {losses[at].item()} at epoch {epoch}, step {at + 1} of {len(losses)}; "
            "a smaller learning rate may help"
        )
    sizes = torch.tensor([len(each.labels) for each in seen], dtype=torch.float64)
    labels = torch.cat([each.labels for each in seen]).cpu().numpy()
    predictions = torch.cat([each.predictions for each in seen]).cpu().numpy()
    return metrics.scores(metrics.confusion(labels, predictions, CLASSES), float(losses @ sizes))


@torch.no_grad()
def reestimate_norms(model: ConvNet, images: Tensor) -> None:
    """Give each batch norm the statistics of these images, the mean over batches. images: uint8 (n, 28, 28), n >= 2.

    The running averages of the training follow only its last few batches, whose images were augmented and whose
    weights have changed since. The training itself is not affected, because there batch norm takes the statistics of
    each batch.
    """
    model.progress = 1.0  # with the weights that will be published
    update_bn(images.tensor_split(batches.count(len(images), NORM_BATCH)), model)


def _step(model: ConvNet, used: Sequence[Optimizer], batch: tuple[Tensor, Tensor], latent_clip: float | None) -> _Seen:
    """One step of the optimizers."""
    images, labels = batch
    logits = model(images)
    loss = functional.cross_entropy(logits, labels)
    model.zero_grad()
    loss.backward()
    for optimizer in used:
        optimizer.step()
    if latent_clip is not None:
        _clip_latent_weights(model, latent_clip)
    return _Seen(loss.detach(), logits.detach().argmax(dim=1), labels)


@torch.no_grad()
def _clip_latent_weights(model: ConvNet, bound: float) -> None:
    for layer in model.layers():
        layer.weight.clamp_(-bound, bound)


def _weight_signs(model: ConvNet) -> Tensor:
    """Signs of all weights as one bool tensor (weights,)."""
    return torch.cat([(layer.weight.detach() >= 0).flatten() for layer in model.layers()])


def _flip_ratio(before: Tensor, after: Tensor) -> float:
    return (before != after).double().mean().item()
