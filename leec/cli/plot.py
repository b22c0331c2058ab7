"""The reported numbers of a run as curves: one panel a label, over the rows in which it was reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, HEIGHT = 8.0, 2.2  # inches of a panel


def draw_curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write an image; of no rows an empty one. The first column of a row counts the rounds of the outermost loop."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(label for row in rows for label in list(row)[1:]))
    figure = Figure(figsize=(WIDTH, HEIGHT * max(len(labels), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(max(len(labels), 1), 1, squeeze=False, sharex=True)[:, 0]
    for panel, label in zip(panels, labels, strict=False):
        shown = [(i, row[label]) for i, row in enumerate(rows, 1) if label in row]
        panel.plot([i for i, _ in shown], [x for _, x in shown], marker="." if len(shown) < 60 else None)
        panel.set_ylabel(label, parse_math=False)
        panel.grid(alpha=0.3)
    panels[-1].set_xlabel(next((next(iter(row)) for row in rows if row), "row"), parse_math=False)
    figure.savefig(path, dpi=120)
