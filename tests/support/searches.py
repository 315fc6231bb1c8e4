"""Real searches of tiny trainings."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from support.tiny_sweeps import fill

from bnnlib.config import params
from bnnlib.config.params import Params
from bnnlib.search import plan, search
from bnnlib.search.plan import Asked, Search
from bnnlib.search.search import Places
from bnnlib.search.storage import Storage
from bnnlib.sweeps.backends import Workers

ASKED = Asked(limit=90, trials=10, epochs=4, bits=1, topology="pair")
OPTIONS = ["--bytes", "90", "--trials", "10", "--epochs", "4", "--bits", "1", "--topology", "pair"]
ALONE = Workers(jobs=1)


@dataclass(frozen=True)
class Site:
    """A folder with tiny parameters and data, in which searches run."""

    folder: Path

    @property
    def cfg(self) -> Params:
        """Its parameters."""
        return params.load(self.folder / "params.yaml")

    def places(self, name: str) -> Places:
        """The files of a search of this name."""
        return Places(self.folder / "data", self.folder / f"{name}.csv", self.folder / f"{name}.journal")

    def search(self, **changes: Any) -> Search:
        """The search that is asked for, with changes of `ASKED`."""
        return plan.search(self.cfg, replace(ASKED, **changes), self.folder / "data")[1]

    def storage(self, name: str, **changes: Any) -> Storage:
        """The storage of a search of this name."""
        return Storage(self.places(name).storage, self.search(**changes), create=True)

    def perform(self, name: str, workers: Workers = ALONE, **changes: Any) -> list[str]:
        """Search, with changes of `ASKED`; the lines of the output."""
        return list(search.perform(self.cfg, replace(ASKED, **changes), self.places(name), workers))

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of a search's table."""
        with self.places(name).out.open(newline="") as file:
            return list(csv.DictReader(file))


def site(folder: Path, raw: Path) -> Site:
    """A folder in which searches can run, with a topology of two blocks, `pair`, and an empty one, `flat`."""
    fill(folder, raw)
    yaml, path = YAML(), folder / "params.yaml"
    content = yaml.load(path)
    inputs = content["topologies"]["two"]["input"]
    blocks = [{"channels": 2, "kernel": 5, "pool": 3}, {"channels": 4, "kernel": 3, "pool": 2}]
    content["topologies"]["pair"] = {"input": inputs, "blocks": blocks}
    content["topologies"]["flat"] = {"input": inputs, "blocks": []}
    yaml.dump(content, path)
    return Site(folder)
