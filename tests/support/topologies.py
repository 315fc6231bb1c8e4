"""Topologies that tests build networks of."""

from __future__ import annotations

from support.paths import ROOT

from bnnlib.benchmark.training import baseline_loop
from bnnlib.config import params
from bnnlib.config.topology import Block, Topology

PARAMS = params.load(ROOT / "params.yaml")
DEFAULT = PARAMS.topology(bits=1)
BASELINE = baseline_loop.TOPOLOGY.model_copy(update={"input": (64,)})
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
