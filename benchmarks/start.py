"""What a generated reference costs from its import to its first step, beyond what importing NumPy costs.

Processor time and memory of one process, read after `import numpy` and after the step; so the load of the machine and
the size of NumPy play no part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import leec
from benchmarks.workloads import WORKLOADS, Workload

GOALS = {"seconds": 0.15, "megabytes": 40.0}
TOY = next(w for w in WORKLOADS if w.name == "toy")
PROGRAM = """
import json, re, sys, time
from pathlib import Path

def spent():
    memory = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # the most there ever was
    return time.process_time(), int(memory[1]) / 1024

import numpy as np
arrays = [np.asarray(a, dtype) for a, dtype in json.loads(sys.stdin.read())]
known, before = set(sys.modules), spent()
import reference
net, opt = reference.Net(*map(int, sys.argv[1:]), key=(7, 1)), reference.Adam(lr=1e-3)
loss = reference.fit_step(net, opt, *arrays)
after = spent()
print(json.dumps([b - a for a, b in zip(before, after)] + [float(loss), sorted(set(sys.modules) - known)]))
"""


def first_step(workload: Workload = TOY, runs: int = 5) -> dict[str, object]:
    """Median seconds and megabytes, the loss, and what was imported beside NumPy's own modules. Linux only."""
    import numpy as np

    text = leec.compile(workload.text(), backend="numpy").files["reference.py"]
    given = json.dumps([(a.tolist(), str(a.dtype)) for a in workload.arrays(np.random.default_rng(0))])
    with TemporaryDirectory() as folder:
        Path(folder, "reference.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-c", PROGRAM, *map(str, workload.sizes)]
        environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        answers = [subprocess.check_output(command, input=given, env=environment, text=True) for _ in range(runs)]
    found = list(map(json.loads, answers))
    seconds, megabytes = (round(median(f[i] for f in found), 3) for i in (0, 1))
    modules = [name for name in found[0][3] if not name.startswith("numpy.")]
    return {"seconds": seconds, "megabytes": megabytes, "loss": found[0][2], "modules": modules}
