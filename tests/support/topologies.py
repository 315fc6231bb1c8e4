"""Topologies for the networks of tests."""

from __future__ import annotations

from support.paths import ROOT

from bnnlib.benchmark.training import baseline_loop
from bnnlib.config import params
from bnnlib.config.topology import Block, Topology

PARAMS = params.load(ROOT / "params.yaml")
DEFAULT = PARAMS.topology(bits=1)
BASELINE = baseline_loop.TOPOLOGY.model_copy(update={"input": (64,)})
# Quick. Sides 28 -> 12 -> 5 -> 3, so pooling leaves nothing out; no number of channels fills a word.
SMALL = Topology(
    input=(34, 128),
    blocks=(
        Block(channels=6, kernel=5, pool=2),
        Block(channels=7, kernel=3, pool=2),
        Block(channels=8, kernel=3, pool=1),
    ),
)
# Sides 28 -> 9 -> 3: pooling leaves out the last of 28 rows and columns, then of 7.
UNEVEN = Topology(input=(64,), blocks=(Block(channels=5, kernel=1, pool=3), Block(channels=33, kernel=3, pool=2)))
