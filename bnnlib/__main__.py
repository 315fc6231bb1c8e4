"""`python -m bnnlib` is the command `bnn`."""

from __future__ import annotations

from bnnlib.cli import main

if __name__ == "__main__":
    main()
