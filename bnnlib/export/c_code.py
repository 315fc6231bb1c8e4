"""The 1-bit network as C99 for microcontrollers: one header, one source, no libraries, no dynamic memory.

Every feature map is one stream of bits in 32-bit words, lowest bit first: pixel after pixel, the channels of a pixel
together. The channels of the input are its planes. The window of a convolution is copied into consecutive words once,
then compared with the kernel of every output channel: dot = length - 2 * popcount(window xor kernel). With pooling, the
comparisons of all windows of an output pixel are combined in its bits, so no map is stored before pooling.
"""

from __future__ import annotations

from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnlib.export.c_templates import CONVOLVE, HEADER, ONE_PASS, SEVERAL_PASSES, SOURCE
from bnnlib.packed.model import PackedModel, Shape

WORD_BITS = 32
PER_LINE = {"uint32_t": 8, "int32_t": 12, "uint16_t": 16, "uint8_t": 24, "float": 5}


def generate(model: PackedModel) -> dict[str, str]:
    """The network as C99: the texts of ``bnn_model.h`` and ``bnn_model.c``, by file name."""
    maps = _map_words(model)
    window_words = max(words.shape[1] for words in _kernels(model))
    buffers = {"even": max(maps[::2]), "odd": max(maps[1::2], default=0)}
    planes, classes = len(model.input_thresholds), len(model.head.weights)
    several = SEVERAL_PASSES if len(model.passes) > 1 else ONE_PASS
    names = ["even", "odd"] * len(maps)
    values: dict[str, Any] = {
        "side": model.side,
        "planes": planes,
        "s": "" if planes == 1 else "s",
        "classes": classes,
        "number_of_passes": len(model.passes),
        "flash": _table_bytes(model),
        "ram": (sum(buffers.values()) + window_words + classes) * WORD_BITS // 8 + several["bytes"] * model.side**2,
        "tables": _tables(model),
        "convolve": CONVOLVE if model.blocks else "",
        "buffers": "\n".join(f"    uint32_t {name}[{words}];" for name, words in buffers.items() if words),
        "window_words": window_words,
        "calls": "\n".join(
            f"    convolve({names[i]}, &BLOCK_{i}, BLOCK_{i}_THRESHOLDS, BLOCK_{i}_FLIPPED, window, {names[i + 1]});"
            for i in range(len(model.blocks))
        ),
        "last": names[len(model.blocks)],
    }
    texts = {"bnn_model.h": HEADER, "bnn_model.c": SOURCE}
    return {name: Template(text.safe_substitute(several)).substitute(values) for name, text in texts.items()}


def kernel_words(weights: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Kernels laid out like windows: bool (out, in, kernel, kernel) -> uint32 (out, words), padded with zero bits."""
    bits = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)  # (out, kernel * kernel * in)
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % WORD_BITS)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def _kernels(model: PackedModel) -> list[NDArray[np.uint32]]:
    """`kernel_words` of each layer, the head's last."""
    return [*(kernel_words(block.weights) for block in model.blocks), kernel_words(model.head.weights)]


def _map_words(model: PackedModel) -> list[int]:
    """Words of the input and of each block's output."""
    channels = [len(model.input_thresholds), *(len(block.weights) for block in model.blocks)]
    return [-(-side * side * depth // WORD_BITS) for side, depth in zip(model.sides(), channels, strict=True)]


def _tables(model: PackedModel) -> str:
    sides, shapes = model.sides(), model.shapes()
    parts = [
        f"#define PLANES {len(model.input_thresholds)}u\n",
        _array("INPUT_THRESHOLDS", "uint16_t", [str(threshold) for threshold in model.input_thresholds]),
    ]
    for i, block in enumerate(model.blocks):
        parts += [
            _layer(f"BLOCK_{i}", sides[i], shapes[i], block.weights),
            _array(f"BLOCK_{i}_THRESHOLDS", "int32_t", [str(t) for t in block.thresholds.tolist()]),
            _array(f"BLOCK_{i}_FLIPPED", "uint8_t", [str(int(f)) for f in block.flipped.tolist()]),
        ]
    parts += [
        _layer("HEAD", sides[-1], shapes[-1], model.head.weights),
        _array("HEAD_OFFSET", "float", _floats(model.head.offset)),
    ]
    if len(model.passes) == 1:
        parts.append(_array("HEAD_SCALE", "float", _floats(model.head.scale)))
    else:
        scales = [_floats(model.head.scale / np.float32(count + 1)) for count in range(len(model.passes))]
        rows = ",\n".join(f"    {{{', '.join(row)}}}" for row in scales)
        parts.append(f"static const float HEAD_SCALE[BNN_PASSES][BNN_CLASSES] = {{\n{rows},\n}};\n")
        numbers = [f"{{{down}, {right}, {brighter}}}" for down, right, brighter in model.passes]
        parts.append(
            f"static const int16_t PASSES[BNN_PASSES][3] = {{{', '.join(numbers)}}}; /* down, right, brighter */\n"
        )
    return "\n".join(parts)


def _layer(name: str, side: int, shape: Shape, weights: NDArray[np.bool_]) -> str:
    words = [f"0x{word:08x}u" for word in kernel_words(weights).ravel().tolist()]
    table = _array(f"{name}_WEIGHTS", "uint32_t", words)
    sizes = f"{side}, {shape.in_channels}, {shape.kernel}, {shape.pool}, {shape.out_channels}"
    return f"{table}\nstatic const bnn_layer {name} = {{{sizes}, {name}_WEIGHTS}};\n"


def _array(name: str, kind: str, values: list[str]) -> str:
    step = PER_LINE[kind]
    lines = ["    " + ", ".join(values[i : i + step]) + "," for i in range(0, len(values), step)]
    return f"static const {kind} {name}[{len(values)}] = {{\n" + "\n".join(lines) + "\n};\n"


def _floats(values: NDArray[np.float32]) -> list[str]:
    """Hexadecimal constants, which every compiler reads exactly."""
    return [float(value).hex() + "f" for value in values]


def _table_bytes(model: PackedModel) -> int:
    """Bytes of all constant tables of the source."""
    weights = sum(words.nbytes for words in _kernels(model))
    channels = sum(len(block.weights) for block in model.blocks)
    passes = len(model.passes)
    norm = model.head.scale.nbytes * passes + model.head.offset.nbytes
    return 2 * len(model.input_thresholds) + weights + 5 * channels + norm + (6 * passes if passes > 1 else 0)
