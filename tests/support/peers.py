"""Programs and packages that some tests need: without them these tests are skipped, but fail on CI."""

from __future__ import annotations

import importlib
import os
from typing import Any, NoReturn

import pytest


def missing(message: str) -> NoReturn:
    """Skip the test, or fail if the environment variable CI is set."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message, allow_module_level=True)


def package(name: str) -> Any:
    """Import an optional package."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing(f"{name} cannot be imported ({error}); try: pip install 'bnnlib[peers]'")
