"""What a generated `train` procedure runs on; it knows nothing of the compiler, and imports torch only for tensors.

run.py         Run: data, keys, loops, reports, resuming; start reading here
session.py     what the procedures of a run share         resume.py      marks at loop heads, and going on from them
sources.py     data by name                               data.py        sources, splits, batches, declared fields
preparation.py dividing, standardising, shaping       texts.py       text as data; vocabulary.py: as numbers
draws_*.py     random numbers from keys, NumPy and torch  philox.py      the keys of a run
checkpoint.py  tensors and facts, whole or not at all     state.py       values as plain data and back
metrics.py     metrics.csv and metrics.jsonl              progress.py    bar, lines or nothing
watch.py       losses: their means, and NaN               backend.py     NumPy arrays or torch tensors
faults.py      every mistake met while running            files.py       atomic files; tables.py reads CSV
"""
