"""The C source: compiled, it gives the reference engine's logits bit for bit and its digits, whatever the options."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import networks
import numpy as np
import peers
import pytest
from numpy.typing import NDArray

from bnnlib import mnist
from bnnlib.packed import c_code, reference
from bnnlib.packed.model import PackedModel

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pedantic"]
# Each may round a product and a sum once instead of twice, or keep them in wider registers.
OPTIONS = {
    "plain": ["-O2"],
    "contracted": ["-O2", "-ffp-contract=fast", "-march=native"],
    "fast math": ["-O3", "-ffast-math", "-march=native"],
    "x87": ["-O2", "-mfpmath=387"],
}
# Reads images from its input; writes the digit and the logits of each.
PROGRAM = """
#include <stdio.h>
#include "bnn_model.h"
int main(void)
{
    uint8_t image[BNN_SIDE * BNN_SIDE];
    float logits[BNN_CLASSES];
    while (fread(image, 1, sizeof image, stdin) == sizeof image) {
        int32_t digit = bnn_predict(image, logits);
        fwrite(&digit, sizeof digit, 1, stdout);
        fwrite(logits, sizeof logits, 1, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="session")
def compiler() -> str:
    """The C compiler; a machine without one skips these tests and says so, but a CI machine must have one."""
    found = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if found is None:
        peers.missing(
            "no C compiler (cc, gcc, clang or $CC), so the exported C code is not tested; try: apt install gcc"
        )
    return found


@pytest.fixture(scope="module")
def packed_model() -> PackedModel:
    return networks.committed()


@pytest.fixture(scope="module")
def expected_logits(packed_model: PackedModel, parts: dict[str, mnist.Split]) -> NDArray[np.float32]:
    return reference.logits(packed_model, parts["test"].images)


def build(compiler: str, model: PackedModel, folder: Path, options: list[str]) -> Path:
    """Write the code and the program around it, and compile them."""
    for name, text in c_code.generate(model).items():
        (folder / name).write_text(text)
    (folder / "main.c").write_text(PROGRAM)
    program = folder / "main"
    command = [compiler, *STRICT, *options, "-o", str(program), "main.c", "bnn_model.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, images: NDArray[np.uint8], classes: int) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Digits, and the bits of the logits."""
    done = subprocess.run([program], input=images.tobytes(), capture_output=True, check=True)
    assert done.stderr == b""
    words = np.frombuffer(done.stdout, np.uint32).reshape(len(images), 1 + classes)
    return words[:, 0].view(np.int32), words[:, 1:]


@pytest.mark.parametrize("options", OPTIONS)
def test_all_test_images_give_the_logits_of_the_reference(
    options: str,
    compiler: str,
    packed_model: PackedModel,
    parts: dict[str, mnist.Split],
    expected_logits: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    if options == "x87" and platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip("x87 registers are those of x86 processors")
    digits, bits = run(build(compiler, packed_model, tmp_path, OPTIONS[options]), parts["test"].images, mnist.CLASSES)
    assert np.array_equal(bits, expected_logits.view(np.uint32))
    assert np.array_equal(digits, expected_logits.argmax(axis=1))


@pytest.mark.parametrize("name", networks.SHAPES)
def test_any_shape_stays_within_its_buffers_and_gives_the_logits_of_the_reference(
    name: str, compiler: str, tmp_path: Path
) -> None:
    model, images = networks.draw(name)
    program = build(compiler, model, tmp_path, ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
    expected = reference.logits(model, images)
    digits, bits = run(program, images, expected.shape[1])
    assert np.array_equal(bits, expected.view(np.uint32))
    assert np.array_equal(digits, expected.argmax(axis=1))


def test_the_source_needs_no_library(compiler: str, packed_model: PackedModel, tmp_path: Path) -> None:
    """Nothing but the one function is defined for others, and nothing of others is used."""
    build(compiler, packed_model, tmp_path, ["-O2"])
    options = ["-ffreestanding", "-nostdlib", "-shared", "-fPIC", "-Wl,--no-undefined", "-o", "alone.so"]
    done = subprocess.run(
        [compiler, *STRICT, *options, "bnn_model.c"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for text in c_code.generate(packed_model).values():
        assert set(re.findall(r"#include\s+(\S+)", text)) <= {"<stdint.h>", '"bnn_model.h"'}


def test_sizes_in_the_comment(packed_model: PackedModel) -> None:
    # Words of 4 bytes. Weights: 32 * 3 + 16 * 81 + 8 * 41 + 10 * 4; thresholds and flips: 5 bytes for each of 56
    # channels; scales and offsets: 20 floats. Maps: 25 and 16 * 12 * 12 / 32 = 72 words share one buffer, 20 * 20 and
    # 4 the other; the largest window takes 81.
    header = c_code.generate(packed_model)["bnn_model.h"]
    assert f"Constant tables: {4 * (96 + 1296 + 328 + 40) + 5 * 56 + 4 * 20} bytes." in header
    assert f"Working memory: {4 * (72 + 400 + 81)} bytes" in header


def test_a_kernel_is_laid_out_pixel_by_pixel_with_its_channels_together() -> None:
    weights = np.zeros((2, 3, 4, 4), bool)
    weights[0, 1, 0, 0] = True  # channel 1 of pixel 0: bit 1
    weights[1, 2, 3, 3] = True  # channel 2 of pixel 15: bit 47, so bit 15 of the second word
    assert c_code.kernel_words(weights).tolist() == [[2, 0], [0, 1 << 15]]


def test_the_same_text_each_time(packed_model: PackedModel) -> None:
    assert c_code.generate(packed_model) == c_code.generate(packed_model)
