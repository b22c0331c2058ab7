"""What a run reported, as rows: metrics.jsonl (a row a line) and metrics.csv (for a spreadsheet), always in step.

A row is a number for each label. A label that comes later gets a column then. A resumed run goes back to the rows
its checkpoint counted, so the files end as those of a run that nothing interrupted.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import IO

from leec.runtime import faults
from leec.runtime.files import write_whole

Number = float | int | bool
Row = dict[str, Number]
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # JSON has no numbers for these


class Metrics:
    """The rows of a run in memory and, with a folder, in its two files, which keep the first `keep` rows they have."""

    def __init__(self, folder: Path | None = None, keep: int = 0):
        self.rows: list[Row] = []
        self.columns: list[str] = []
        self.folder = folder
        self.files: dict[str, IO[str]] = {}
        if folder:
            self.rows = read_rows(folder / "metrics.jsonl", keep)
            self.columns = list(dict.fromkeys(label for row in self.rows for label in row))
            self.rewrite("metrics.jsonl", "".join(map(json_line, self.rows)))
            self.rewrite("metrics.csv", self.csv_text())

    def write(self, row: Row) -> None:
        """Add a row; it is in the files when this returns, though perhaps not yet on the disk."""
        self.rows.append(row)
        new = [label for label in row if label not in self.columns]
        self.columns += new
        if not self.files:
            return
        self.append("metrics.jsonl", json_line(row))
        if new:
            self.rewrite("metrics.csv", self.csv_text())
        else:
            self.append("metrics.csv", csv_lines([[row.get(column) for column in self.columns]]))

    def sync(self) -> None:
        """Have every row on the disk: a checkpoint that counts them must never know more rows than the files."""
        for file in self.files.values():
            os.fsync(file.fileno())

    def close(self) -> None:
        while self.files:
            self.files.popitem()[1].close()

    def append(self, name: str, text: str) -> None:
        self.files[name].write(text)
        self.files[name].flush()

    def rewrite(self, name: str, text: str) -> None:
        """Replace a whole file, then go on appending to the new one."""
        assert self.folder
        if name in self.files:
            self.files[name].close()
        write_whole(self.folder / name, text.encode())
        self.files[name] = (self.folder / name).open("a", encoding="utf-8", newline="")

    def csv_text(self) -> str:
        if not self.columns:
            return ""
        return csv_lines([self.columns, *([row.get(column) for column in self.columns] for row in self.rows)])


def read_rows(path: Path, keep: int) -> list[Row]:
    """The first rows of a metrics.jsonl. Raises LEE708 if it has fewer."""
    if not keep:
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1][:keep] if path.exists() else []
    if len(lines) < keep:
        raise faults.bad_file(path, f"has {len(lines)} rows, fewer than the {keep} its checkpoint counted")
    return [{k: WORDS[v] if isinstance(v, str) else v for k, v in json.loads(line).items()} for line in lines]


def json_line(row: Row) -> str:
    plain = {k: v if math.isfinite(v) else word(v) for k, v in row.items()}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"


def word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def csv_lines(rows: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
