"""A missing package skips tests on a developer's machine and fails them in CI."""

from __future__ import annotations

import json

import pytest
from support import peers


def test_an_installed_package_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert peers.package("json") is json


@pytest.mark.parametrize(("value", "kind"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_package_skips_or_fails(
    value: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(kind, match="no_such_package cannot be imported"):
        peers.package("no_such_package")
