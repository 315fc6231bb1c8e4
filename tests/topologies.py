"""Topologies that tests build networks of."""

from __future__ import annotations

from pathlib import Path

from bnnlib import params
from bnnlib.benchmark import reference_loop
from bnnlib.topology import Block, Topology

PARAMS = params.load(Path(__file__).resolve().parents[1] / "params.yaml")
DEFAULT = PARAMS.topology(bits=1)
BASELINE = reference_loop.TOPOLOGY.model_copy(update={"input": (64,)})
# Quick; 28 -> 12 -> 5 -> 3, where no pooling leaves out anything, and channels that fill no word.
SMALL = Topology(
    input=(34, 128),
    blocks=(
        Block(channels=6, kernel=5, pool=2),
        Block(channels=7, kernel=3, pool=2),
        Block(channels=8, kernel=3, pool=1),
    ),
)
# 28 -> 9 -> 3: of 28 and of 7 rows and columns, each pooling leaves out the last.
UNEVEN = Topology(input=(64,), blocks=(Block(channels=5, kernel=1, pool=3), Block(channels=33, kernel=3, pool=2)))
