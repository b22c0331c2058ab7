"""The passes in their order. Each maps a program to a program with the same results, and the verifier runs after each.

-O0 is as written: only gradients are made. -O1 keeps the functions that the user wrote and is readable; -O2 makes
every step one function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from leec.ir.graph import Program
from leec.ir.verify import verify_program
from leec.passes.cse import cse
from leec.passes.dce import dce
from leec.passes.differentiate import differentiate
from leec.passes.fold import fold
from leec.passes.fuse import fuse_through
from leec.passes.hoist import hoist
from leec.passes.inline import inline_all, inline_small
from leec.passes.names import name_values
from leec.passes.recognise import recognise
from leec.passes.segments import segments
from leec.passes.simplify import release, simplify
from leec.passes.stabilise import stabilise
from leec.passes.sums import sums

Observer = Callable[[str, Program], None]


@dataclass(frozen=True)
class Stage:
    """A pass under the name that `leec show --stage` knows, and the lowest level that runs it."""

    name: str
    change: Callable[..., Program]
    level: int = 1
    recognises: bool = False
    takes: str = ""  # its second argument: the names of functions `given` at the start, or whether loops `recompute`


PIPELINE = (
    Stage("inline", inline_small),  # first: what follows sees through small calls
    Stage("fold", fold),  # before patterns: what a number is made of must be that number
    Stage("cse", cse),  # before patterns: what stands twice in one must be one value
    Stage("hoist", hoist),  # before differentiation: the gradient of what went before a loop is no loop
    Stage("simplify", simplify),  # one spelling of each thing, so that patterns need only one
    Stage("stabilise", stabilise),  # before differentiation: gradients are of the stable forms
    Stage("recognise", recognise, recognises=True),  # before differentiation: composites bring their own gradients
    Stage("names", name_values),  # before differentiation: cotangents and what is saved are called after these
    Stage("segments", segments, takes="recompute"),  # right before it: what is kept is what gradients read
    Stage("differentiate", differentiate, level=0),  # as late as can be: what is simple before has a simple gradient
    Stage("sums", sums),  # right after it: the sums are those of gradients
    Stage("release", release),  # after the last gradient: grafts and guards only altered those
    Stage("inline_steps", inline_all, level=2),  # after differentiation: forward, backward and update meet in a step
    Stage("simplify_gradients", simplify),  # the ones, zeros and broadcasts that gradient rules leave behind
    Stage("recognise_gradients", recognise, recognises=True),  # contractions that only gradients contain
    Stage("cse_gradients", cse),  # before fuse: a value that two groups read must exist once
    Stage("fuse", fuse_through, level=2),  # groups are final, so nothing may look for patterns after this
    Stage("dce", dce, level=0, takes="given"),  # after all: anything above may leave what nobody reads or calls
)

BEFORE_GRADIENTS = tuple(s.name for s in PIPELINE[: [s.name for s in PIPELINE].index("differentiate")])


def run(
    program: Program,
    level: int,
    observer: Observer | None = None,
    only: Collection[str] | None = None,
    recognise: bool = True,
    recompute: str = "auto",
) -> Program:
    """The program after the stages of a level, or after those in `only`; the observer sees each stage's result.

    Raises InternalError if a pass breaks the program.
    """
    second = {"given": tuple(program.functions), "recompute": recompute}
    verify_program(program, "elaborate")
    for stage in PIPELINE:
        wanted = stage.level <= level if only is None else stage.name in only
        if not wanted or (stage.recognises and not recognise):
            continue
        before = program
        program = stage.change(program, second[stage.takes]) if stage.takes else stage.change(program)
        verify_program(program, stage.name, before)
        if observer is not None:
            observer(stage.name, program)
    return program
