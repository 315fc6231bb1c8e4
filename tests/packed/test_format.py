"""The packed file: golden bytes of both versions, round trips, and the example of the documentation."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from support import networks
from support.packed_files import AT, CONTENT, CONTENT_1, GOLDEN, TINY, TINY_1, assert_equal
from support.paths import ROOT

from bnnlib.packed import format as packed_format

PAGE = ROOT / "docs/format.md"


def test_golden_bytes() -> None:
    assert (GOLDEN / "tiny_v2.bnn").read_bytes() == CONTENT
    assert packed_format.encode(TINY) == CONTENT
    assert_equal(packed_format.decode(CONTENT), TINY)


def test_golden_bytes_of_version_1() -> None:
    assert (GOLDEN / "tiny_v1.bnn").read_bytes() == CONTENT_1
    assert_equal(packed_format.decode(CONTENT_1), TINY_1)


def test_a_file_of_version_1_becomes_the_same_model_in_version_2() -> None:
    for name in ("tiny_v1.bnn", "baseline_v1.bnn"):
        old = (GOLDEN / name).read_bytes()
        model = packed_format.decode(old)
        new = packed_format.encode(model)
        assert new[4:6] == b"\2\0"
        assert_equal(packed_format.decode(new), model)
        layers = len(model.layers())
        assert new[18 + 6 * layers : -4] == old[16 + 4 * layers : -4]  # everything after the sizes of the layers


def test_the_baseline_is_the_network_that_the_study_started_from() -> None:
    model = networks.baseline()
    assert len(networks.BASELINE.read_bytes()) == 7311
    assert len(packed_format.encode(model)) == 7321
    assert (model.side, model.input_thresholds) == (28, (64,))
    assert [tuple(shape) for shape in model.shapes()] == [(32, 1, 9, 1), (16, 32, 9, 1), (8, 16, 9, 1), (10, 8, 4, 1)]


def test_the_documented_example_is_the_golden_file() -> None:
    example = PAGE.read_text(encoding="utf-8").partition("## Worked example")[2]
    rows = [line.split("|") for line in example.splitlines() if re.match(r"\| \d+ \| `", line)]
    fields = [(int(row[1]), bytes.fromhex(row[2].replace("`", ""))) for row in rows]
    assert b"".join(field for _, field in fields) == CONTENT
    assert [offset for offset, _ in fields] == list(AT.values())[: len(fields)]


@pytest.mark.parametrize("name", networks.SIZES)
def test_round_trip(name: str) -> None:
    model, _ = networks.draw(name)
    content = packed_format.encode(model)
    assert_equal(packed_format.decode(content), model)
    assert packed_format.encode(packed_format.decode(content)) == content


def test_a_negative_zero_is_kept() -> None:
    offset = np.array([-0.0, 0.0], np.float32)
    model = dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, offset=offset))
    assert_equal(packed_format.decode(packed_format.encode(model)), model)
