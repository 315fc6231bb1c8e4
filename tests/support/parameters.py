"""Good parameters to change one by one, and the errors that a change gives."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from bnnlib.config import params
from bnnlib.config.params import ParamsError

PLAIN = {"share": 1.0, "mirror": False, "shift": 0, "contrast": 1.0, "rotation": 0.0, "zoom": 1.0}
DRAWN = {"share": 0.5, "mirror": False, "shift": 2, "contrast": 1.0, "rotation": 10.0, "zoom": 1.25}
MIRRORED = {"share": 1.0, "mirror": True, "shift": 0, "contrast": 2.0, "rotation": 10.0, "zoom": 1.25}
GOOD: dict[str, Any] = {
    "seed": 7,
    "runtime": {"device": "cpu", "threads": 2},
    "data": {"name": "mnist", "split_seed": 5, "validation_fraction": 0.2, "limit": None},
    "topologies": {
        "mine": {
            "input": {"mnist": (100,), "fashion_mnist": (1, 255), "kmnist": (34, 64, 128)},
            "blocks": (
                {"channels": 1024, "kernel": 5, "pool": 2},
                {"channels": 1, "kernel": 12, "pool": 1},
            ),
        },
        "other": {"input": {"mnist": (1,), "fashion_mnist": (1,), "kmnist": (1,)}, "blocks": ()},
    },
    "model": {"bits": 1, "topology": "mine", "passes": ({"down": 0, "right": 1, "brighter": 0},)},
    "train": {"norm_images": None},
    "full": {
        "epochs": 2,
        "batch_size": 60,
        "augmentation": {"mnist": {**DRAWN}, "fashion_mnist": {**MIRRORED}, "kmnist": {**PLAIN}},
        "optimizer": {"name": "muon", "rate": 0.02, "adam_rate": 0.003, "weight_decay": 0.0001},
    },
    "binary": {
        "epochs": 3,
        "batch_size": 50,
        "augmentation": {"mnist": {**DRAWN}, "fashion_mnist": {**MIRRORED}, "kmnist": {**PLAIN}},
        "optimizer": {"name": "bop", "rate": 0.01, "threshold": 0.0, "adam_rate": 0.005},
        "quantizer": {"surrogate": "ste", "channel_scale": False, "real_share": 0.0},
        "latent_clip": 1.0,
    },
    "multibit": {
        "epochs": 4,
        "batch_size": 40,
        "augmentation": {"mnist": {**DRAWN}, "fashion_mnist": {**MIRRORED}, "kmnist": {**PLAIN}},
        "optimizer": {"name": "adam", "rate": 0.004, "weight_decay": 0.0},
        "quantizer": {"learned_step": True},
    },
    "sweep": ({"datasets": ("mnist",), "topologies": ("mine", "other"), "bits": (1, 2), "seeds": (0, 1)},),
    "thresholds": {
        "mnist": {"full": {"macro_f1": 0.99, "loss": 0.02}, "binary": {"macro_f1": 0.98, "loss": 0.05}},
        "fashion_mnist": None,
        "kmnist": None,
    },
}
MISSING = object()


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The good parameters with some replaced, added or removed (`MISSING`); names are dotted."""
    content = deepcopy(GOOD)
    for name, value in changes:
        *path, last = name.split(".")
        section = content
        for step in path:
            section = section[step]
        if value is MISSING:
            del section[last]
        else:
            section[last] = value
    return content


def errors(content: object) -> list[str]:
    """The lines of the message with which the content is refused, after the heading."""
    with pytest.raises(ParamsError) as caught:
        params.parse(content, "params.yaml")
    first, *rest = str(caught.value).splitlines()
    assert first == f"params.yaml: {len(rest)} error{'s' if len(rest) > 1 else ''}"
    assert all(line.startswith("  ") for line in rest)
    return [line.strip() for line in rest]
