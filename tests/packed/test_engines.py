"""The choice of the engine, with Numba, without it, and where it fails."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from support import networks
from support.paths import ROOT

from bnnlib.core.errors import BnnError
from bnnlib.packed import engines, kernels, reference

MODEL, IMAGES = networks.draw("a bit over")

X86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="LLVM for x86 ends the process")

# For another process. It prints the warnings, and ends with an error.
CHOICE = """
import warnings
from support import networks
from bnnlib.packed import engines, reference
model, images = networks.draw("a bit over")
with warnings.catch_warnings(record=True) as found:
    engine = engines.best(model, threads=2)
print(*[warning.message for warning in found], sep="\\n")
assert engine.logits(images).tobytes() == reference.logits(model, images).tobytes()
engines.fast(model)
"""


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
    with pytest.warns(UserWarning, match=r"needs Numba.*pip install --upgrade numba.*reference engine runs instead"):
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


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, "disabled"),
        pytest.param({"NUMBA_CPU_FEATURES": "garbage"}, "processor", marks=X86),
        pytest.param({"NUMBA_CPU_NAME": "nonsense", "NUMBA_CPU_FEATURES": ""}, "processor", marks=X86),
        ({"NUMBA_NUM_THREADS": "-1"}, "must be > 0"),
    ],
)
def test_settings_with_which_numba_fails_are_named(setting: dict[str, str], cause: str) -> None:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), **setting}
    done = subprocess.run([sys.executable, "-c", CHOICE], env=variables, text=True, capture_output=True, check=False)
    (warning,) = done.stdout.splitlines()
    *_, error = done.stderr.splitlines()
    assert error.startswith("bnnlib.packed.engines.EngineError: ")
    for message in (warning, error):
        assert cause in message
        for name, value in setting.items():
            assert f"{name}={value}" in message


def test_code_that_numba_cannot_compile_makes_the_reference_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "run", numba.njit(lambda images, plan, scratch, dots: images.nothing))
    with pytest.raises(engines.EngineError, match=r"TypingError: [^\n]+$"):
        engines.fast(MODEL)
    with pytest.warns(UserWarning, match="TypingError"):
        engine = engines.best(MODEL)
    assert isinstance(engine, reference.Engine)


def test_a_wrong_number_of_threads_is_no_failure_of_numba() -> None:
    with pytest.raises(BnnError, match="threads: 0"):
        engines.best(MODEL, threads=0)
