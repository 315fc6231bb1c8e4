"""The block with the most multiply-adds, alone, on one thread: ours, a hand-written kernel, and a ready-made product.

The hand-written kernel (ceiling.c) is the ceiling of the method on this machine. NumKong's packed Hamming product
stands for what a library offers: it is given the patches of every image ready made, which takes longer than the
product itself and is not timed.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bnnlib.benchmark.timing import Effort, Entry, Key, Times, measure
from bnnlib.errors import BnnError
from bnnlib.packed import fast
from bnnlib.packed import model as packed
from bnnlib.packed.model import Block, PackedModel
from bnnlib.packed.plan import WORD, lay_out

IMAGES = 16  # at a time: their maps stay in the nearest caches, as those of the engine do
PIXELS = (4, 6, 8)  # variants of the hand-written kernel: output pixels at once
NEEDED = "avx512_vpopcntdq"
COMPILERS = ("cc", "gcc", "clang")
OPTIONS = ("-O3", "-march=native", "-shared", "-fPIC")


class CeilingError(BnnError):
    """The hand-written kernel cannot be had here, or does not compute what the engine does."""


@dataclass(frozen=True)
class Layer:
    """The block, by number, and the words of some images as the fast engine leaves them: (n, words)."""

    model: PackedModel
    number: int
    words: NDArray[np.uint32]

    @property
    def block(self) -> Block:
        """Weights and thresholds."""
        return self.model.blocks[self.number]

    @property
    def sides(self) -> tuple[int, int]:
        """Pixels of a side of its input and of its output."""
        return self.model.sides()[self.number], self.model.sides()[self.number + 1]

    def maps(self, block: int) -> slice:
        """Where the output of a block, by number, lies among the words."""
        plan = lay_out(self.model, fast.LANES, fast.TILE)
        row = plan.layers[block]
        return slice(int(row["target"]), int(row["target"] + row["pixels"] * row["stride"]))


def prepare(model: PackedModel, images: NDArray[np.uint8]) -> Layer:
    """The largest block, with its input for some images."""
    macs = [
        block.weights.size * side**2 for block, side in zip(model.blocks, model.sides()[1:], strict=True)
    ]  # every weight meets every output pixel once
    words = np.zeros((len(images), lay_out(model, fast.LANES, fast.TILE).size), np.uint32)
    for n in range(len(images)):
        whole_run(model, images[n : n + 1], words[n])()
    return Layer(model, int(np.argmax(macs)), words)


def whole_run(model: PackedModel, images: NDArray[np.uint8], words: NDArray[np.uint32]) -> Callable[[], None]:
    """The engine's kernel on some images, all with the same scratch, (words,)."""
    plan = lay_out(model, fast.LANES, fast.TILE)
    flat = images.reshape(len(images), -1).copy()
    flat.flags.writeable = False  # as the engine passes them, so that nothing is compiled anew
    found = np.empty((len(flat), int(plan.layers[-1]["groups"]) * fast.LANES), np.int32)
    rest = plan.planes, plan.layers, plan.starts, plan.offsets, plan.weights, plan.limits, plan.flips
    return lambda: fast.run(flat, model.input_threshold, *rest, words, found)


def block_run(model: PackedModel, number: int, words: NDArray[np.uint32]) -> Callable[[], None]:
    """The engine's kernel for one block, on the words of some images."""
    plan = lay_out(model, fast.LANES, fast.TILE)
    rest = plan.layers, plan.starts, plan.offsets, plan.weights, plan.limits, plan.flips
    return lambda: fast.run_block(words, number, *rest)


def ceiling_run(layer: Layer, pixels: int, isa: Sequence[str], folder: Path) -> Callable[[], None]:
    """The hand-written kernel, built in a folder; `CeilingError` where it cannot be, or computes something else."""
    function = _compile(layer, pixels, isa, folder)
    plan = lay_out(layer.model, fast.LANES, fast.TILE)
    row = plan.layers[layer.number]
    weights = plan.weights[row["weights"] :][: row["words"] * fast.LANES].copy()
    limits = plan.limits[row["limits"] :][: fast.LANES].copy()
    source, target = layer.maps(layer.number - 1).start, layer.maps(layer.number).start
    expected = layer.words.copy()
    words = layer.words.copy()
    words[:, layer.maps(layer.number)] = 0

    def address(array: NDArray[np.uint32] | NDArray[np.int32], at: int = 0) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data + at * array.itemsize)

    arguments = (
        address(words, source),
        address(words, target),
        ctypes.c_int64(words.shape[1]),
        ctypes.c_int64(len(words)),
        address(weights),
        address(limits),
        ctypes.c_uint32(int(plan.flips[row["flips"]])),
    )
    kept = words, weights, limits  # the addresses hold nothing alive

    def run(_kept: tuple[NDArray[np.generic], ...] = kept) -> None:
        function(*arguments)

    run()
    if not np.array_equal(words, expected):
        raise CeilingError("the hand-written kernel gives other bits than the fast engine: it is no yardstick")
    return run


def numkong_run(layer: Layer) -> Callable[[], None]:
    """NumKong's packed Hamming product of all patches and kernels; `CeilingError` without NumKong or on other counts.

    A row holds the bits of one window, K of them, (n * pixels, K / 8) bytes.
    """
    try:
        import numkong
    except ImportError as error:
        raise CeilingError(f"needs the package numkong ({error}): pip install 'bnnlib[peers]'") from error

    _require_words(layer)
    patches, kernels = _patches(layer), _kernel_rows(layer.block)
    ready = numkong.hammings_pack(kernels, dtype="uint1")
    found = numkong.zeros((len(patches), len(kernels)), dtype="uint32")

    def run() -> None:
        numkong.hammings_packed(patches, ready, out=found)

    run()
    mismatches = np.asarray(found)
    dots = layer.block.weights[0].size - 2 * mismatches.astype(np.int32)
    bits = (dots >= layer.block.thresholds) != layer.block.flipped  # (n * pixels, out)
    if not np.array_equal(bits, _output_bits(layer)):
        raise CeilingError("NumKong counts other bits than the fast engine: it is no yardstick")
    return run


def compare(layer: Layer, isa: Sequence[str], effort: Effort) -> tuple[Times, dict[str, str]]:
    """Times of the block by "fast", "numkong" and "ceiling_P" (P pixels at once); reasons for those that are missing.

    ``isa``: the processor's extensions, as `machine.parse_cpuinfo` gives them.
    """
    runs: dict[str, Callable[[], None]] = {"fast": block_run(layer.model, layer.number, layer.words)}
    missing = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            runs |= {f"ceiling_{pixels}": ceiling_run(layer, pixels, isa, Path(folder)) for pixels in PIXELS}
        except CeilingError as error:
            missing["ceiling"] = str(error)
        try:
            runs["numkong"] = numkong_run(layer)
        except CeilingError as error:
            missing["numkong"] = str(error)
        batch = len(layer.words)
        return measure([Entry(Key(name, 1, batch), run) for name, run in runs.items()], effort), missing


def parts(model: PackedModel, images: NDArray[np.uint8], effort: Effort) -> Times:
    """Times of the whole kernel ("whole") and of each block alone, by its name."""
    words = prepare(model, images).words
    runs = {"whole": whole_run(model, images, words[0].copy())}
    for number, name in enumerate(packed.names(len(model.blocks))[:-1]):
        runs[name] = block_run(model, number, words)
    return measure([Entry(Key(name, 1, len(images)), run) for name, run in runs.items()], effort)


def _compile(layer: Layer, pixels: int, isa: Sequence[str], folder: Path) -> Callable[..., None]:
    _require_words(layer)
    side, left = layer.sides
    channels = layer.block.weights.shape[0]
    if channels > fast.LANES or left**2 % pixels:
        raise CeilingError(
            f"{channels} channels of {left} x {left} pixels, expected at most {fast.LANES} channels and a multiple of "
            f"{pixels} pixels for the hand-written kernel"
        )
    if NEEDED not in isa:
        raise CeilingError(f"the processor lacks {NEEDED}, for which the hand-written kernel is made")
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise CeilingError(f"no C compiler ({', '.join(COMPILERS)}) for the hand-written kernel; try: apt install gcc")
    library = folder / f"ceiling_{pixels}.so"
    sizes = [f"-DSIDE={side}", f"-DKERNEL={layer.block.weights.shape[2]}", f"-DPIXELS={pixels}"]
    with resources.as_file(resources.files("bnnlib.benchmark") / "ceiling.c") as source:
        command = [compiler, *OPTIONS, *sizes, "-o", str(library), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CeilingError(f"the C compiler refused the hand-written kernel: {done.stderr.strip().splitlines()[0]}")
    function: Callable[..., None] = ctypes.CDLL(str(library)).ceiling
    return function


def _require_words(layer: Layer) -> None:
    """Both yardsticks want the block's input as one word for each pixel."""
    inputs = layer.block.weights.shape[1]
    if layer.number == 0 or inputs > WORD:
        raise CeilingError(
            f"the largest block is number {layer.number} with {inputs} input channels; the yardsticks are made for "
            f"a later one than 0 with at most {WORD}"
        )


def _input_bits(layer: Layer) -> NDArray[np.bool_]:
    """The block's input, (n, side, side, in)."""
    inputs, side = layer.block.weights.shape[1], layer.sides[0]
    words = layer.words[:, layer.maps(layer.number - 1)][:, : side**2]
    return (words.reshape(-1, side, side, 1) >> np.arange(inputs, dtype=np.uint32) & 1).astype(np.bool_)


def _output_bits(layer: Layer) -> NDArray[np.bool_]:
    """The block's output, (n * pixels, out)."""
    outputs, left = layer.block.weights.shape[0], layer.sides[1]
    words = layer.words[:, layer.maps(layer.number)][:, : left**2]
    return (words.reshape(-1, 1) >> np.arange(outputs, dtype=np.uint32) & 1).astype(np.bool_)


def _patches(layer: Layer) -> NDArray[np.uint8]:
    kernel = layer.block.weights.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(_input_bits(layer), (kernel, kernel), axis=(1, 2))
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, layer.block.weights[0].size)  # (n * pixels, K)
    return np.packbits(rows, axis=1)


def _kernel_rows(block: Block) -> NDArray[np.uint8]:
    return np.packbits(block.weights.transpose(0, 2, 3, 1).reshape(len(block.weights), -1), axis=1)
