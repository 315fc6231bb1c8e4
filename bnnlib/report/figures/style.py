"""The style of all figures: readable for colour-blind people, the same bytes each time."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bnnlib.sweeps import results

# Two colours of Okabe and Ito's palette for colour-blind readers; dashes distinguish the parts without colour.
COLOURS = {"full": "#0072B2", "binary": "#D55E00"}
DASHES = {"train": "--", "validation": "-"}
STYLE: Any = {  # matplotlib's type lists all its 300 names
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
}
DPI = 110


def style() -> AbstractContextManager[None]:
    """Our style over matplotlib's defaults: a user's own matplotlibrc would change the bytes."""
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    return matplotlib.rc_context({**defaults, **STYLE})


def png(figure: Figure) -> bytes:
    """The figure as PNG, without metadata."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    with style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def name(variant: str, bits: int) -> str:
    """The name of a network in figures and tables: "full (16 bits)", "binary (1 bit)"."""
    return f"{variant} ({results.width(bits)})"
