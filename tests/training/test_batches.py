"""The order of the images, and how they are augmented."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bnnlib.config.spec import Augmentation
from bnnlib.training import augment, batches


def numbered(count: int) -> tuple[Tensor, Tensor]:
    """Images whose pixels all hold the image's number + 1, and the number as label: a wrong pair shows."""
    labels = torch.arange(count)
    return (labels + 1).to(torch.uint8)[:, None, None].expand(-1, 28, 28).contiguous(), labels


def epoch(
    images: Tensor, labels: Tensor, batch_size: int, shift: int, seed: int, share: float = 1.0, contrast: float = 1.0
) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    augmentation = Augmentation(share=share, shift=shift, contrast=contrast)
    return list(batches.shuffled(images, labels, batch_size, augmentation, generator))


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [
        (12, 4, [4, 4, 4]),
        (13, 4, [5, 4, 4]),
        (15, 4, [5, 5, 5]),
        (7, 4, [7]),
        (3, 4, [3]),  # fewer than a batch
        (5, 2, [3, 2]),
    ],
)
def test_every_image_once_in_batches_that_are_never_smaller(images: int, batch_size: int, sizes: list[int]) -> None:
    found = epoch(*numbered(images), batch_size, shift=0, seed=0)
    assert [len(labels) for _, labels in found] == sizes
    assert batches.count(images, batch_size) == len(sizes)
    assert sorted(torch.cat([labels for _, labels in found]).tolist()) == list(range(images))


def test_images_keep_their_labels_and_type() -> None:
    for images, labels in epoch(*numbered(20), batch_size=6, shift=2, seed=0):
        assert images.dtype == torch.uint8
        assert images[:, 14, 14].tolist() == [label + 1 for label in labels.tolist()]


def test_only_the_generator_decides() -> None:
    def order(seed: int, global_seed: int) -> list[int]:
        torch.manual_seed(global_seed)
        return torch.cat([labels for _, labels in epoch(*numbered(50), 10, 2, seed)]).tolist()

    assert order(1, global_seed=1) == order(1, global_seed=2)
    assert order(1, global_seed=1) != order(2, global_seed=1)


def test_two_epochs_differ_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.cat([labels for _, labels in batches.shuffled(*numbered(50), 10, Augmentation(), generator)])
        for _ in range(2)
    )
    assert not torch.equal(first, second)


def test_without_shift_the_images_are_as_they_were() -> None:
    images = torch.randint(0, 256, (9, 28, 28), dtype=torch.uint8)
    for batch, rows in epoch(images, torch.arange(9), batch_size=4, shift=0, seed=0):
        assert torch.equal(batch, images[rows])


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """The image shifted pixel by pixel, black where nothing was."""
    result = torch.zeros_like(image)
    for row in range(28):
        for column in range(28):
            if 0 <= row - down < 28 and 0 <= column - right < 28:
                result[row, column] = image[row - down, column - right]
    return result


def test_images_are_shifted_by_every_number_of_pixels_up_to_the_shift() -> None:
    # No two pixels in a row or a column are equal, so every shift gives another picture.
    pattern = (1 + torch.arange(28)[:, None] + 7 * torch.arange(28)).to(torch.uint8)
    wanted = {(down, right): shifted(pattern, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    images = pattern.expand(200, -1, -1).contiguous()
    found = []
    for batch, _ in epoch(images, torch.arange(200), batch_size=50, shift=1, seed=0):
        found += [next(shift for shift, picture in wanted.items() if torch.equal(image, picture)) for image in batch]
    assert len(found) == 200
    assert set(found) == set(wanted)  # 9 shifts in 200 draws: one is missing with a chance of 9 * (8/9)**200 < 1e-9


@pytest.mark.parametrize(
    ("augmentation", "changes"),  # the chance that a drawn change differs from none
    [
        (Augmentation(share=0.3, shift=1), 8 / 9),
        (Augmentation(share=0.3, contrast=2.0), 1),
        (Augmentation(share=0.3, rotation=20.0), 1),
        (Augmentation(share=0.3, zoom=1.5), 1),
        (Augmentation(share=0.6, mirror=True), 1 / 2),
        (Augmentation(share=0.3, mirror=True, shift=1, contrast=2.0, rotation=20.0, zoom=1.5), 1),
    ],
    ids=str,
)
def test_a_share_of_the_images_is_changed(augmentation: Augmentation, changes: float) -> None:
    pattern = (1 + torch.arange(28)[:, None] + 7 * torch.arange(28)).to(torch.uint8)
    images = pattern.expand(900, -1, -1).contiguous()
    generator = torch.Generator().manual_seed(0)
    found = batches.shuffled(images, torch.arange(900), 50, augmentation, generator)
    changed = sum(not torch.equal(image, pattern) for batch, _ in found for image in batch)
    # 240 to 270 with a standard deviation of at most 15; all other images are as they were, to the last bit.
    assert abs(changed - 900 * augmentation.share * changes) < 60


def test_half_of_the_images_are_mirrored_left_to_right() -> None:
    images = torch.randint(0, 256, (400, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    mirrored = 0
    for batch, rows in batches.shuffled(images, torch.arange(400), 50, Augmentation(mirror=True), generator):
        for image, row in zip(batch, rows.tolist(), strict=True):
            assert torch.equal(image, images[row]) or torch.equal(image, torch.fliplr(images[row]))
            mirrored += torch.equal(image, torch.fliplr(images[row]))
    assert 150 < mirrored < 250  # 200 with a standard deviation of 10


def test_contrast_multiplies_the_pixels_of_an_image_by_one_factor() -> None:
    images = torch.tensor([0, 40, 100, 120], dtype=torch.uint8).repeat(400, 7 * 28).view(400, 28, 28)
    factors = []
    for batch, _ in epoch(images, torch.arange(400), batch_size=50, shift=0, seed=0, contrast=2.0):
        assert batch.dtype == torch.uint8
        pixels = batch.flatten(1)[:, :4].double()
        assert torch.equal(batch.flatten(1), batch.flatten(1)[:, :4].repeat(1, 7 * 28))  # the same everywhere
        factor = pixels[:, 2] / 100  # rounded down to a hundredth
        assert bool((pixels[:, 0] == 0).all())
        assert bool(((pixels[:, 1] / 40 - factor).abs() <= 1 / 40).all())
        assert bool(((pixels[:, 3] / 120 - factor).abs() <= 1 / 100).all())
        factors += factor.tolist()
    assert min(factors) >= 0.5
    assert max(factors) <= 2
    # Their logarithms are uniform: of 400 factors 200, with a standard deviation of 10, are below 1.
    assert 150 < sum(factor < 1 for factor in factors) < 250
    assert min(factors) < 0.55
    assert max(factors) > 1.8


def test_contrast_is_limited_by_white() -> None:
    images = torch.full((200, 28, 28), 200, dtype=torch.uint8)
    found = torch.cat([batch for batch, _ in epoch(images, torch.arange(200), 50, shift=0, seed=0, contrast=3.0)])
    assert int(found.max()) == 255
    assert int(found.min()) >= 66


def test_a_rotation_is_clockwise() -> None:
    images = torch.randint(0, 256, (3, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    quarter = torch.full((3,), math.pi / 2)
    assert torch.equal(augment.warp(images, quarter, torch.ones(2, 3)), torch.rot90(images, -1, (1, 2)))


def test_zoom_scales_width_and_height_each_by_its_factor() -> None:
    block = torch.zeros(1, 28, 28, dtype=torch.uint8)
    block[0, 12:16, 10:18] = 200  # 4 high, 8 wide, in the middle
    doubled = augment.warp(block, torch.zeros(1), torch.tensor([[1.0], [2.0]]))
    assert (doubled[0] == 200).sum(dim=0).tolist() == [0] * 10 + [6] * 8 + [0] * 10  # its edges are grey
    halved = augment.warp(block, torch.zeros(1), torch.tensor([[0.5], [1.0]]))
    assert (halved[0] == 200).sum(dim=1).tolist() == [0] * 12 + [4] * 4 + [0] * 12


def test_an_image_is_zoomed_along_its_own_axes_before_it_is_rotated() -> None:
    block = torch.zeros(1, 28, 28, dtype=torch.uint8)
    block[0, 12:16, 10:18] = 200  # 4 high, 8 wide, in the middle
    found = augment.warp(block, torch.full((1,), math.pi / 2), torch.tensor([[2.0], [1.0]]))
    # Twice as wide, then upright: 16 high, 4 wide; its edges above and below are grey.
    assert (found[0] == 200).sum(dim=0).tolist() == [0] * 12 + [14] * 4 + [0] * 12


def test_rotations_and_zooms_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = []

    def spy(images: Tensor, angles: Tensor, factors: Tensor) -> Tensor:
        passed.append((angles, factors))
        return torch.full_like(images, 7)

    monkeypatch.setattr(augment, "warp", spy)
    generator = torch.Generator().manual_seed(0)
    found = list(batches.shuffled(*numbered(400), 50, Augmentation(rotation=10.0, zoom=1.25), generator))
    assert all((images == 7).all() for images, _ in found)  # training uses what `warp` returns
    angles = torch.cat([angles for angles, _ in passed])
    factors = torch.cat([factors for _, factors in passed], dim=1)
    assert len(angles) == 400
    assert 9 < torch.rad2deg(angles).abs().max() <= 10 + 1e-5
    assert 0.8 <= factors.min() < 0.82 < 1.23 < factors.max() <= 1.25
    assert not torch.equal(factors[0], factors[1])
    below = (factors < 1).double().mean(dim=1)  # a half, with a standard deviation of 0.025
    assert bool(((below > 0.4) & (below < 0.6)).all())
