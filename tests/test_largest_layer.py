"""The largest layer alone: the yardsticks compute what the engine does, or say why they do not."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import networks
import numpy as np
import peers
import pytest
from conftest import ROOT

from bnnlib import mnist
from bnnlib.benchmark import largest_layer, machine
from bnnlib.benchmark.largest_layer import CeilingError, Layer
from bnnlib.benchmark.timing import Effort, Key
from bnnlib.packed import fast, reference

MODEL = networks.committed()
ISA = machine.describe().isa
QUICK = Effort(rounds=1, settle_s=0, sample_s=0)


@pytest.fixture(scope="module")
def layer(parts: dict[str, mnist.Split]) -> Layer:
    return largest_layer.prepare(MODEL, parts["development"].images[:4])


def reference_bits(block: int, images: np.ndarray) -> np.ndarray:
    """Output of a block, by number, bool (n, out, side, side), in plain NumPy."""
    bits = (images >= MODEL.input_threshold).transpose(1, 2, 0)[None]  # (1, side, side, n)
    for each in MODEL.blocks[: block + 1]:
        sums = reference._convolve(bits, each.weights)
        bits = (sums >= each.thresholds[:, None, None, None]) != each.flipped[:, None, None, None]
    return bits.transpose(3, 0, 1, 2)


def test_the_second_block_is_the_largest_and_its_maps_are_those_of_the_reference(
    layer: Layer, parts: dict[str, mnist.Split]
) -> None:
    assert (layer.number, layer.sides) == (1, (20, 12))
    images = parts["development"].images[:4]
    found = largest_layer._input_bits(layer).transpose(0, 3, 1, 2)
    assert np.array_equal(found, reference_bits(0, images))
    found = largest_layer._output_bits(layer).reshape(4, 12, 12, 16).transpose(0, 3, 1, 2)
    assert np.array_equal(found, reference_bits(1, images))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_block_alone_repeats_its_output(number: int, layer: Layer) -> None:
    words = layer.words.copy()
    words[:, layer.maps(number)] = 0
    assert not np.array_equal(words, layer.words)
    largest_layer.block_run(MODEL, number, words)()
    assert np.array_equal(words, layer.words)


needs_the_instructions = pytest.mark.skipif(
    largest_layer.NEEDED not in ISA or not any(map(shutil.which, largest_layer.COMPILERS)),
    reason=f"the hand-written kernel needs {largest_layer.NEEDED} and a C compiler",
)


@needs_the_instructions
@pytest.mark.parametrize("pixels", largest_layer.PIXELS)
def test_the_kernel_by_hand_gives_the_same_bits(pixels: int, layer: Layer, tmp_path: Path) -> None:
    largest_layer.ceiling_run(layer, pixels, ISA, tmp_path)()  # which compares


@needs_the_instructions
def test_a_kernel_by_hand_that_gives_other_bits_is_no_yardstick(layer: Layer, tmp_path: Path) -> None:
    words = layer.words.copy()
    words[-1, layer.maps(1).stop - 1] ^= 1
    with pytest.raises(CeilingError, match="gives other bits than the fast engine"):
        largest_layer.ceiling_run(dataclasses.replace(layer, words=words), 4, ISA, tmp_path)


def test_without_the_instructions_there_is_no_kernel_by_hand(layer: Layer, tmp_path: Path) -> None:
    with pytest.raises(CeilingError, match="the processor lacks avx512_vpopcntdq"):
        largest_layer.ceiling_run(layer, 4, ["avx2"], tmp_path)


def test_without_a_compiler_there_is_no_kernel_by_hand(
    layer: Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(CeilingError, match=r"no C compiler \(cc, gcc, clang\) for the hand-written kernel; try: apt"):
        largest_layer.ceiling_run(layer, 4, [largest_layer.NEEDED], tmp_path)


def test_a_compiler_that_refuses(layer: Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "cc"
    script.write_text("#!/bin/sh\necho 'cc: error: no such option' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(script))
    with pytest.raises(CeilingError, match="the C compiler refused the hand-written kernel: cc: error: no such option"):
        largest_layer.ceiling_run(layer, 4, [largest_layer.NEEDED], tmp_path)


def test_numkong_counts_the_same(layer: Layer) -> None:
    peers.package("numkong")
    largest_layer.numkong_run(layer)()  # which compares
    words = layer.words.copy()
    words[0, layer.maps(1).start] ^= 1
    with pytest.raises(CeilingError, match="NumKong counts other bits"):
        largest_layer.numkong_run(dataclasses.replace(layer, words=words))


def test_a_largest_layer_that_the_yardsticks_do_not_know(tmp_path: Path) -> None:
    peers.package("numkong")
    model, images = networks.draw("window of the whole map")  # whose first and only block is the largest
    layer = largest_layer.prepare(model, images[:2])
    message = "the largest block is number 0 with 1 input channels"
    with pytest.raises(CeilingError, match=message):
        largest_layer.numkong_run(layer)
    with pytest.raises(CeilingError, match=message):
        largest_layer.ceiling_run(layer, 4, ISA, tmp_path)


def test_what_is_missing_is_told_and_the_rest_is_timed(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numkong", None)
    times, missing = largest_layer.compare(layer, ["avx2"], QUICK)
    assert list(times) == [Key("fast", 1, 4)]
    assert missing["ceiling"] == "the processor lacks avx512_vpopcntdq, for which the hand-written kernel is made"
    assert missing["numkong"].startswith("needs the package numkong (")


def test_parts_are_the_whole_kernel_and_every_block(parts: dict[str, mnist.Split]) -> None:
    images = parts["development"].images[:2]
    fast.Engine(MODEL).dots(images)
    compiled = len(fast.run.signatures)
    times = largest_layer.parts(MODEL, images, QUICK)
    assert len(fast.run.signatures) == compiled  # what is timed is what the engine runs
    assert [key.name for key in times] == ["whole", "blocks[0]", "blocks[1]", "blocks[2]"]


def test_the_source_is_part_of_the_package() -> None:
    assert (ROOT / "bnnlib/benchmark/ceiling.c").is_file()
