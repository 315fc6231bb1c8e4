"""Run exported networks on images: compiled C, and ONNX in onnxruntime."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support import peers

from bnnlib.export import c_code
from bnnlib.packed.model import PackedModel

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pedantic"]
# Reads images from standard input; writes the digit and the logits of each.
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
BATCH = 1000  # images that onnxruntime gets at a time


def find_compiler() -> str:
    """The C compiler. Without one the test is skipped, but fails on CI."""
    found = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if found is None:
        peers.missing(
            "no C compiler (cc, gcc, clang or $CC), so the exported C code is not tested; try: apt install gcc"
        )
    return found


def build_c(compiler: str, model: PackedModel, folder: Path, options: list[str], passes: int | None = None) -> Path:
    """Write the C code and a program that uses it into the folder, and compile them; return the program.

    ``passes``: how many it makes, by the function for that.
    """
    for name, text in c_code.generate(model).items():
        (folder / name).write_text(text)
    call = "bnn_predict(image, " if passes is None else f"bnn_predict_passes(image, {passes}, "
    (folder / "main.c").write_text(PROGRAM.replace("bnn_predict(image, ", call))
    program = folder / "main"
    command = [compiler, *STRICT, *options, "-o", str(program), "main.c", "bnn_model.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def run_c(program: Path, images: NDArray[np.uint8], classes: int) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Digits (n,), and the bits of the logits (n, classes)."""
    done = subprocess.run([program], input=images.tobytes(), capture_output=True, check=True)
    assert done.stderr == b""
    words = np.frombuffer(done.stdout, np.uint32).reshape(len(images), 1 + classes)
    return words[:, 0].view(np.int32), words[:, 1:]


def run_onnx(
    content: bytes, images: NDArray[np.uint8], level: str = "ORT_ENABLE_ALL", threads: int = 1
) -> NDArray[np.float32]:
    """Logits of onnxruntime at a level of optimization, (n, classes)."""
    ort = peers.package("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
    return np.concatenate([session.run(["logits"], {"images": batch})[0] for batch in batches])
