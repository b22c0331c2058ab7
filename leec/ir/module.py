"""What elaboration gives and the emitters read: the functions of a spec, and how they group into classes.

A model class is a constructor function `Name.init` (hyperparameters -> leaves) and methods; an optimizer class is a
constructor of its state and `update`. Names are those of the spec, made unique among specialisations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leec.diagnostics import Source, Span
from leec.dims import Dim, Facts
from leec.ir.graph import Function, Program
from leec.ir.host import Procedure
from leec.types import TensorType


@dataclass(frozen=True)
class Hyper:
    """A constructor argument that survives to run time: a shape integer (`kind` int), a float, a tuple of these, or a
    model, which becomes a member (decision 43); the `default` of a tuple are its items' symbols, of a model its class.
    """

    name: str
    kind: str
    default: object = None
    has_default: bool = False


@dataclass(frozen=True)
class Leaf:
    """A tensor of a model: its path, its type over the class's hyperparameters, param or state."""

    path: str
    type: TensorType
    kind: str  # "param" or "state"
    span: Span | None = None


@dataclass(frozen=True)
class Submodel:
    """A member that is a model; `path` holds the position for an element of a list (`layers.0`)."""

    path: str
    model: str  # class name
    arguments: Mapping[str, object]  # hyperparameter -> Dim, number or bool, over the owner's hyperparameters


@dataclass(frozen=True)
class ModelClass:
    """`leaves` are all tensors, those of submodels included, in declaration order (R32)."""

    name: str
    hypers: tuple[Hyper, ...]
    members: tuple[Leaf | Submodel, ...]
    leaves: tuple[Leaf, ...]
    facts: Facts = Facts()
    doc: str = ""
    span: Span | None = None
    statics: tuple[tuple[str, Dim], ...] = ()  # named integers of the body, such as `size = d // heads`


@dataclass(frozen=True)
class OptimizerClass:
    """`update` works on the flat vector, `update_each` on one tensor (a function a rank). States are like θ or fixed.

    `schedules` are hyperparameters that may be functions of t (R31), by name, with the function's IR name.
    """

    name: str
    hypers: tuple[Hyper, ...]
    states: tuple[tuple[str, TensorType | None], ...]  # None: like θ
    update: str | None
    update_each: Mapping[int, str] = field(default_factory=dict)
    doc: str = ""
    span: Span | None = None
    starts: Mapping[str, float] = field(default_factory=dict)  # the first entry of every state like θ


@dataclass(frozen=True)
class Requirements:
    """A function from the key of an example to the conditions that it requires, and where these stand."""

    function: Function
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Module:
    """A compiled spec. `functions` holds every IR function; `public` are the names a user may call, in spec order."""

    source: Source
    doc: str
    functions: Program
    models: Mapping[str, ModelClass]
    optimizers: Mapping[str, OptimizerClass]
    procedures: Mapping[str, Procedure]
    examples: Mapping[str, str]  # example -> function
    public: tuple[str, ...] = ()
    requirements: Mapping[str, Requirements] = field(default_factory=dict)  # of examples, that only a run can test
    followed: Program | None = None  # the functions as a library's autograd has to see them, where that differs
