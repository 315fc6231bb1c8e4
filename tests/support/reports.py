"""Made-up reports, and pages that show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bnnlib.report import readme
from bnnlib.report.parts import markers

# Two draws of each share; the narrow network bears three errors of any bits, the wide one none.
ROBUSTNESS = """bits,bits_flipped,stored_bits,share,flips,draw,images,accuracy,not_finite
1,all,3000,0.0,0,0,50,0.98,0.0
1,all,3000,0.001,3,0,50,0.98,0.0
1,all,3000,0.001,3,1,50,0.96,0.0
1,all,3000,0.1,300,0,50,0.5,0.1
1,all,3000,0.1,300,1,50,0.1,0.3
1,weights,2000,0.0,0,0,50,0.98,0.0
1,weights,2000,0.001,2,0,50,0.98,0.0
1,weights,2000,0.001,2,1,50,0.98,0.0
1,weights,2000,0.1,200,0,50,0.98,0.0
1,weights,2000,0.1,200,1,50,0.97,0.0
16,all,32000,0.0,0,0,50,1.0,0.0
16,all,32000,0.001,32,0,50,0.2,0.0
16,all,32000,0.001,32,1,50,0.0,1.0
16,all,32000,0.1,3200,0,50,0.0,1.0
16,all,32000,0.1,3200,1,50,0.0,1.0
16,weights,30000,0.0,0,0,50,1.0,0.0
16,weights,30000,0.001,30,0,50,0.9,0.0
16,weights,30000,0.001,30,1,50,0.5,0.0
16,weights,30000,0.1,3000,0,50,1.0,0.0
16,weights,30000,0.1,3000,1,50,1.0,0.0
"""
KERNELS = ("kernel_full_1", "kernel_full_2", "kernel_binary_1", "kernel_binary_2")


def write(folder: Path) -> Path:
    """A folder with reports on seven test images."""
    scores = {"macro_f1": 0.98765, "loss": 0.04321, "accuracy": 0.5}
    metrics = {"full": {"bits": 16, "epoch": 7, "test": scores}, "binary": {"bits": 1, "epoch": 9, "test": scores}}
    sizes = {
        "full": {"weight_bytes": 111_424, "file_bytes": 113_656, "packed_bytes": None},
        "binary": {"weight_bytes": 6_964, "file_bytes": 58_424, "packed_bytes": 7_311},
    }
    pairs = {
        "a and b": {"images": 1_000, "dots": 2, "logits": 3, "predictions": 1},
        "a and c": {"images": 1_000, "dots": 0, "logits": 0, "predictions": 0},
    }
    reports = folder / "reports"
    (reports / "figures").mkdir(parents=True)
    (reports / "metrics.json").write_text(json.dumps(metrics))
    (reports / "sizes.json").write_text(json.dumps(sizes))
    (reports / "agreement.json").write_text(json.dumps({"train": pairs, "test": pairs}))
    (reports / "predictions.csv").write_text("label,full,binary\n" + "4,4,9\n" * 3 + "4,9,9\n6,0,6\n0,0,6\n1,1,1\n")
    (reports / "robustness.csv").write_text(ROBUSTNESS)
    for name in KERNELS:
        (reports / "figures" / f"{name}.png").write_bytes(b"")
    return reports


def change(reports: Path, variant: str, **values: Any) -> None:
    """Change values of a variant in metrics.json, at any depth where the name is."""
    metrics = json.loads((reports / "metrics.json").read_text())
    for name, value in values.items():
        place = metrics[variant] if name in metrics[variant] else metrics[variant]["test"]
        place[name] = value
    (reports / "metrics.json").write_text(json.dumps(metrics))


def write_pages(root: Path) -> None:
    """Every page with empty parts, and a line by hand round each."""
    for name, parts in readme.PAGES.items():
        (root / name).parent.mkdir(exist_ok=True)
        lines = [f"by hand\n{markers.begin(part)}\nold\n{markers.end(part)}\n" for part in parts]
        (root / name).write_text("".join(lines))
