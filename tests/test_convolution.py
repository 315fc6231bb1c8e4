"""The fast convolution against torch's own operator."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bnnlib.convolution import convolve, convolve_fast

# side, kernel, in channels, out channels, images: the network's four layers, then every road with other sizes
LAYERS = [(28, 9, 1, 32, 3), (20, 9, 32, 16, 3), (12, 9, 16, 8, 3), (4, 4, 8, 10, 3)]
OTHERS = [
    (5, 3, 1, 2, 4),  # one channel, one pixel a patch
    (8, 3, 1, 2, 4),  # two
    (10, 3, 1, 2, 4),  # four
    (1, 1, 3, 2, 5),  # one pixel
    (6, 1, 2, 3, 1),  # a kernel of one tap, an even side
    (7, 2, 2, 3, 4),  # an odd side has no middle frequency
    (8, 7, 3, 1, 2),
    (3, 2, 2, 2, 6),
    (20, 9, 17, 33, 2),  # a group of channels that is not full
    (21, 3, 2, 3, 2),  # larger than the transform
]


def operands(shape: tuple[int, ...], *, signs: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Map (n, side, side, in), kernel (out, in, k, k) and the gradient that arrives (n, side', side', out)."""
    side, kernel, in_channels, out_channels, n = shape
    generator = torch.Generator().manual_seed(7)
    sizes = [
        (n, side, side, in_channels),
        (out_channels, in_channels, kernel, kernel),
        (n, side - kernel + 1, side - kernel + 1, out_channels),
    ]
    x, w, g = (torch.randn(size, generator=generator) for size in sizes)
    return (x.sign(), w.sign(), g) if signs else (x, w, g)


def reference(x: Tensor, w: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output and both gradients by torch's operator in float64, in its own layout (n, channels, height, width)."""
    x, w, g = (
        x.double().permute(0, 3, 1, 2).requires_grad_(),
        w.double().requires_grad_(),
        g.double().permute(0, 3, 1, 2),
    )
    y = functional.conv2d(x, w)
    gx, gw = torch.autograd.grad(y, (x, w), g)
    return y.detach().permute(0, 2, 3, 1), gx.permute(0, 2, 3, 1), gw


def close(actual: Tensor, expected: Tensor, side: int, terms: int) -> bool:
    """Whether the difference is what rounding explains; ``terms``: products that each result sums.

    The operands are random, so partial sums of L terms grow like a random walk and so do their rounding errors: about
    sqrt(L) * 2**-24 of the result's size. Results pass at most four transforms (sums of 2 * side terms) and one sum of
    no more than ``terms``. The largest of 10**5 normal errors is 5 times their size.
    """
    size = expected.square().mean().sqrt()
    return bool((actual - expected).abs().max() <= 5 * (4 * math.sqrt(2 * side) + math.sqrt(terms)) * 2**-24 * size)


@pytest.mark.parametrize("shape", LAYERS + OTHERS)
def test_agrees_with_torch_forward_and_backward(shape: tuple[int, ...]) -> None:
    side, kernel, in_channels, out_channels, n = shape
    x, w, g = operands(shape)
    y_expected, gx_expected, gw_expected = reference(x, w, g)
    x.requires_grad_()
    w.requires_grad_()
    y = convolve_fast(x, w, integers=False)
    gx, gw = torch.autograd.grad(y, (x, w), g)
    assert y.shape == g.shape
    assert close(y, y_expected, side, terms=kernel**2 * in_channels)
    assert close(gx, gx_expected, side, terms=kernel**2 * out_channels)
    assert close(gw, gw_expected, side, terms=(side - kernel + 1) ** 2 * n)


@pytest.mark.parametrize("shape", LAYERS + OTHERS)
def test_signs_give_exact_integers(shape: tuple[int, ...]) -> None:
    x, w, g = operands(shape, signs=True)
    expected, _, _ = reference(x, w, g)
    y = convolve_fast(x, w, integers=True)
    assert torch.equal(y.double(), expected)
    # All of one sign: the largest sums there are.
    ones = convolve_fast(torch.ones_like(x), torch.ones_like(w), integers=True)
    assert torch.equal(ones, torch.full_like(y, w[0].numel()))


@pytest.mark.parametrize("shape", LAYERS)
def test_rounding_to_integers_leaves_the_gradients_alone(shape: tuple[int, ...]) -> None:
    x, w, g = operands(shape, signs=True)
    x.requires_grad_()
    w.requires_grad_()
    plain = torch.autograd.grad(convolve_fast(x, w, integers=False), (x, w), g)
    rounded = torch.autograd.grad(convolve_fast(x, w, integers=True), (x, w), g)
    assert all(map(torch.equal, plain, rounded))
    assert all(bool(gradient.any()) for gradient in rounded)


@pytest.mark.parametrize("shape", LAYERS)
def test_plain_convolution_is_torch_in_the_other_layout(shape: tuple[int, ...]) -> None:
    x, w, g = operands(shape, signs=True)
    expected, _, _ = reference(x, w, g)
    assert torch.equal(convolve(x, w).double(), expected)


def test_a_kernel_of_one_tap_picks_its_pixel() -> None:
    # Cross-correlation: tap (1, 0) reads one row below; a flipped kernel would read one row above.
    x = torch.arange(9.0).view(1, 3, 3, 1).expand(1, 3, 3, 2).contiguous()
    w = torch.zeros(1, 2, 2, 2)
    w[0, 1, 1, 0] = 1
    for y in (convolve(x, w), convolve_fast(x, w, integers=True)):
        assert y[0, :, :, 0].tolist() == [[3, 4], [6, 7]]
