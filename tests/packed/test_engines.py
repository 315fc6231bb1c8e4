"""The choice of the engine, with and without Numba."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support import networks

from bnnlib.packed import engines, reference

MODEL, IMAGES = networks.draw("a bit over")


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter in which `import numba` fails."""
    for module in ("fast", "kernels", "vectors", "jit"):
        monkeypatch.delitem(sys.modules, f"bnnlib.packed.{module}", raising=False)
        monkeypatch.delattr(f"bnnlib.packed.{module}", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "numba"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)


@pytest.mark.usefixtures("no_numba")
def test_without_numba_the_reference_runs_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"needs Numba.*pip install numba.*reference engine runs instead"):
        engine = engines.best(MODEL, threads=2)
    assert np.array_equal(engine.dots(IMAGES), reference.dots(MODEL, IMAGES))
    assert engine.logits(IMAGES).tobytes() == reference.logits(MODEL, IMAGES).tobytes()


@pytest.mark.usefixtures("no_numba")
def test_without_numba_the_fast_engine_is_refused() -> None:
    with pytest.raises(engines.EngineError, match="the fast engine needs Numba"):
        engines.fast(MODEL)


def test_with_numba_the_fast_engine_runs() -> None:
    engine = engines.best(MODEL)
    assert not isinstance(engine, reference.Engine)
    assert np.array_equal(engine.dots(IMAGES), reference.dots(MODEL, IMAGES))
    assert engine.logits(IMAGES).tobytes() == reference.logits(MODEL, IMAGES).tobytes()
