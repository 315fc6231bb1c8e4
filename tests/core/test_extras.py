"""A package that is missing or broken is named with the extra that brings it; our own errors pass."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bnnlib.core.extras import MissingExtraError, needed


def test_a_missing_package_is_named() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"x needs no_such_package, which is not installed: .*bnnlib\[train\]"),
        needed("train", "x"),
    ):
        import no_such_package.inside  # noqa: F401


def test_a_package_that_cannot_be_imported_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("raise ImportError('no shared library', name='broken_package')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with (
        pytest.raises(
            MissingExtraError, match=r"x needs broken_package, which cannot be imported \(no shared library\)"
        ),
        needed("train", "x"),
    ):
        import broken_package  # noqa: F401


def test_the_inner_extra_wins() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"bnnlib\[onnx\]"),
        needed("pipeline", "outer"),
        needed("onnx", "inner"),
    ):
        import no_such_package  # noqa: F401


@pytest.mark.parametrize("name", ["bnnlib.no_such_module", None])
def test_an_error_of_our_own_is_not_hidden(name: str | None) -> None:
    with pytest.raises(ModuleNotFoundError) as caught, needed("train", "x"):
        raise ModuleNotFoundError("ours", name=name)
    assert not isinstance(caught.value, MissingExtraError)
    assert "no_such_module" not in sys.modules
