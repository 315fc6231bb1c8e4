"""Sharing a batch among threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from bnnlib import threads


@pytest.fixture(params=[1, 2, 3])
def count(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("items", [1, 2, 7])
def test_every_item_is_done_once(count: int, items: int) -> None:
    parts: list[tuple[int, int, str]] = []
    threads.share(lambda start, stop, word: parts.append((start, stop, word)), items, "given")
    parts.sort()
    assert [item for start, stop, _ in parts for item in range(start, stop)] == list(range(items))
    assert len(parts) == min(count, items)
    assert {word for _, _, word in parts} == {"given"}


def test_parts_run_at_the_same_time() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=60)
    try:
        threads.share(lambda start, stop: meeting.wait(), 2)
    finally:
        torch.set_num_threads(before)


def test_a_fault_of_the_last_part_is_raised(count: int) -> None:
    def fail(start: int, stop: int) -> None:
        if stop == 6:
            raise ValueError("the last part")

    with pytest.raises(ValueError, match="the last part"):
        threads.share(fail, 6)


def test_after_a_fault_of_the_first_part_the_others_have_ended(count: int) -> None:
    ended = []

    def work(start: int, stop: int) -> None:
        if start == 0:
            raise ValueError("the first part")
        time.sleep(0.05)
        ended.append(start)

    with pytest.raises(ValueError, match="the first part"):
        threads.share(work, 6)
    assert len(ended) == count - 1


def test_of_nothing_nothing_is_done() -> None:
    threads.share(lambda start, stop: pytest.fail("called"), 0)


def test_threads_can_be_taken_from_torch(count: int) -> None:
    parts: list[tuple[int, int]] = []
    with threads.taken_from_torch():
        assert torch.get_num_threads() == 1
        threads.share(lambda start, stop: parts.append((start, stop)), 7)
    assert len(parts) == count
    assert torch.get_num_threads() == count


def test_torch_gets_its_threads_back_after_a_fault(count: int) -> None:
    with pytest.raises(ValueError, match="broken"), threads.taken_from_torch():
        raise ValueError("broken")
    assert torch.get_num_threads() == count
