"""The compiled C source gives the digits and the bits of the logits of the reference, whatever the options."""

from __future__ import annotations

import dataclasses
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import exports, networks

from bnnlib.data import mnist, splits
from bnnlib.export import c_code
from bnnlib.packed import passes, reference
from bnnlib.packed.model import PackedModel, Pass

# Each may round a product and a sum once instead of twice, or keep them in wider registers.
OPTIONS = {
    "plain": ["-O2"],
    "contracted": ["-O2", "-ffp-contract=fast", "-march=native"],
    "fast math": ["-O3", "-ffast-math", "-march=native"],
    "x87": ["-O2", "-mfpmath=387"],
}


@pytest.fixture(scope="session")
def compiler() -> str:
    return exports.find_compiler()


@pytest.fixture(scope="module")
def packed_model() -> PackedModel:
    return networks.committed()


@pytest.fixture(scope="module")
def images(parts: dict[str, splits.Split]) -> NDArray[np.uint8]:
    return parts["test"].images[:2000]  # the reference takes seconds for each thousand


@pytest.fixture(scope="module")
def expected_logits(packed_model: PackedModel, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return reference.logits(packed_model, images)


def assert_as_reference(program: Path, model: PackedModel, images: NDArray[np.uint8]) -> None:
    expected = reference.logits(model, images)
    digits, bits = exports.run_c(program, images, expected.shape[1])
    assert np.array_equal(bits, expected.view(np.uint32))
    assert np.array_equal(digits, expected.argmax(axis=1))


@pytest.mark.parametrize("options", OPTIONS)
def test_two_thousand_test_images_give_the_logits_of_the_reference(
    options: str,
    compiler: str,
    packed_model: PackedModel,
    images: NDArray[np.uint8],
    expected_logits: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    if options == "x87" and platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip("only x86 processors have x87 registers")
    digits, bits = exports.run_c(
        exports.build_c(compiler, packed_model, tmp_path, OPTIONS[options]), images, mnist.CLASSES
    )
    assert np.array_equal(bits, expected_logits.view(np.uint32))
    assert np.array_equal(digits, expected_logits.argmax(axis=1))


@pytest.mark.parametrize("options", ["plain", "fast math"])
@pytest.mark.parametrize("count", [None, 1, 2, 3])
def test_several_passes_give_the_logits_of_the_reference(
    count: int | None,
    options: str,
    compiler: str,
    packed_model: PackedModel,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    model = dataclasses.replace(packed_model, passes=(Pass(), Pass(2, -1, 10), Pass(-1, 1, -45)))
    program = exports.build_c(compiler, model, tmp_path, OPTIONS[options], count)
    digits, bits = exports.run_c(program, images[:300], mnist.CLASSES)
    expected = passes.logits(reference.Engine(model), images[:300], count or 1)
    assert np.array_equal(bits, expected.view(np.uint32))
    assert np.array_equal(digits, expected.argmax(axis=1))


@pytest.mark.parametrize("name", networks.SIZES)
def test_any_shape_stays_within_its_buffers_and_gives_the_logits_of_the_reference(
    name: str, compiler: str, tmp_path: Path
) -> None:
    model, images = networks.draw(name)
    options = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    assert_as_reference(exports.build_c(compiler, model, tmp_path, options), model, images)


def test_the_source_needs_no_library(compiler: str, packed_model: PackedModel, tmp_path: Path) -> None:
    """The source links on its own, without any library, and includes only its header and <stdint.h>."""
    exports.build_c(compiler, packed_model, tmp_path, ["-O2"])
    options = ["-ffreestanding", "-nostdlib", "-shared", "-fPIC", "-Wl,--no-undefined", "-o", "alone.so"]
    done = subprocess.run(
        [compiler, *exports.STRICT, *options, "bnn_model.c"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for text in c_code.generate(packed_model).values():
        assert set(re.findall(r"#include\s+(\S+)", text)) <= {"<stdint.h>", '"bnn_model.h"'}


def test_sizes_in_the_comment() -> None:
    # Words of 4 bytes. Weights: 32 * 3 + 16 * 81 + 8 * 41 + 10 * 4; thresholds and flips: 5 bytes for each of 56
    # channels; scales and offsets: 20 floats; 2 bytes for the input's threshold. Maps: 25 and 16 * 12 * 12 / 32 = 72
    # words share one buffer, 20 * 20 and 4 the other; the largest window takes 81, the dot products 10.
    header = c_code.generate(networks.baseline())["bnn_model.h"]
    assert "Input: one image of 28 x 28 bytes, compared with 1 threshold. Output: 10 floats and a class." in header
    assert f"Constant tables: {4 * (96 + 1296 + 328 + 40) + 5 * 56 + 4 * 20 + 2} bytes." in header
    assert f"Working memory: {4 * (72 + 400 + 81 + 10)} bytes" in header


def test_sizes_with_planes_and_pooling_in_the_comment() -> None:
    # Weights: 20 kernels of 27 bits, 48 of 180, 64 of 192, 10 of 64. Maps: 14 * 14 * 3 bits take 19 words and
    # 2 * 2 * 48 take 6, 6 * 6 * 20 take 23 and 64 take 2.
    header = c_code.generate(networks.draw("pooled")[0])["bnn_model.h"]
    assert "Input: one image of 14 x 14 bytes, compared with 3 thresholds." in header
    assert f"Constant tables: {4 * (20 + 48 * 6 + 64 * 6 + 10 * 2) + 5 * 132 + 4 * 20 + 2 * 3} bytes." in header
    assert f"Working memory: {4 * (19 + 23 + 6 + 10)} bytes" in header


@pytest.mark.parametrize("name", networks.SIZES)
def test_the_sizes_in_the_comment_are_those_of_the_arrays(name: str) -> None:
    text = c_code.generate(networks.draw(name)[0])
    width = {"uint8_t": 1, "uint16_t": 2, "uint32_t": 4, "int32_t": 4, "float": 4}
    tables = re.findall(r"^static const (\w+) \w+\[(\d+)\]", text["bnn_model.c"], re.MULTILINE)
    buffers = re.findall(r"^    (\w+) \w+\[(\d+)\];", text["bnn_model.c"], re.MULTILINE)
    buffers.append(("int32_t", text["bnn_model.h"].partition("BNN_CLASSES ")[2].split()[0]))
    for label, arrays in (("Constant tables", tables), ("Working memory", buffers)):
        size = sum(width[kind] * int(count) for kind, count in arrays)
        assert f"{label}: {size} bytes" in text["bnn_model.h"]


def test_a_kernel_is_laid_out_pixel_by_pixel_the_channels_of_a_pixel_together() -> None:
    weights = np.zeros((2, 3, 4, 4), bool)
    weights[0, 1, 0, 0] = True  # channel 1 of pixel 0: bit 1
    weights[1, 2, 3, 3] = True  # channel 2 of pixel 15: bit 47, so bit 15 of the second word
    assert c_code.kernel_words(weights).tolist() == [[2, 0], [0, 1 << 15]]


def test_the_same_text_each_time(packed_model: PackedModel) -> None:
    assert c_code.generate(packed_model) == c_code.generate(packed_model)
