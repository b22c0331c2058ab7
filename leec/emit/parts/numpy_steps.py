"""Steps of generated NumPy modules: flat gradients, arrays that live from call to call, updates block by block."""

import numpy as np


class TrainStep:
    """A training step as one function that makes no arrays once it has run; generated subclasses say which.

    `moved` pairs the attribute of an optimizer with those of the models that it moves, for every update; `counted` are
    the optimizers whose rule stands in the step, `spare` says how many arrays each rule computes in, and `read` names
    the tensors that the step reads. What a step returns is the caller's own.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()
    spare: tuple[int, ...] = ()
    read: tuple[str, ...] = ()
    PLANS = 8  # sizes of batches whose arrays are kept
    BLOCK = 1 << 14  # entries of a vector that an update takes at a time, so that they stay in the cache

    def bind(self):
        """Take hold of all that the step reads and writes."""
        self.optimizers = [getattr(self, name) for name, _ in self.moved]
        models = [[member(self, path) for path in paths] for _, paths in self.moved]
        self.vectors = [[model.parameters for model in some] for some in models]
        self.shapes = [[shape for model in some for shape in model.shapes()] for some in models]
        self.gradient = [np.zeros(sum(v.size for v in some), some[0].dtype) for some in self.vectors]
        self.gradients = tuple(
            view for g, shapes in zip(self.gradient, self.shapes, strict=True) for view in cut(g, shapes)
        )
        for optimizer, gradient in zip(self.optimizers, self.gradient, strict=True):
            optimizer.make_states(gradient)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        self.blocks = [list(self.blocks_of(i)) for i in range(len(self.moved))]
        self.tensors = tuple(member(self, path) for path in self.read)
        paths = [*self.read, *(path for _, some in self.moved for path in some)]
        self.holders = {name: getattr(self, name).parameters for name in {path.partition(".")[0] for path in paths}}
        self.plans = {}

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks; none for an optimizer's own method."""
        if self.moved[i][0] not in self.counted:
            return
        others, stop = (self.gradient[i], *self.states[i]), 0
        spare = [np.empty(self.BLOCK, others[0].dtype) for _ in range(self.spare[i])]
        for θ in self.vectors[i]:
            start, stop = stop, stop + θ.size
            for a in range(0, θ.size, self.BLOCK):
                b = min(a + self.BLOCK, θ.size)
                yield θ[a:b], *(v[start + a : start + b] for v in others), *(s[: b - a] for s in spare)

    def holds(self):
        """Whether these are still the arrays of the models and optimizers."""
        models = all(getattr(self, name).parameters is vector for name, vector in self.holders.items())
        pairs = zip(self.optimizers, self.states, strict=True)
        return models and all(
            getattr(o, name) is s for o, kept in pairs for name, s in zip(o.starts, kept, strict=True)
        )

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).count()
        return self.step(*batch)

    def planned(self, *sizes):
        """The arrays for these sizes, made when they are first asked for."""
        if sizes not in self.plans:
            if len(self.plans) >= self.PLANS:
                del self.plans[next(iter(self.plans))]
            self.plans[sizes] = self.plan(*sizes)
        return self.plans[sizes]

    def update(self, i, *shapes):
        """One update by the optimizer's own method, which takes the vectors whole."""
        θ = self.vectors[i][0] if len(self.vectors[i]) == 1 else np.concatenate(self.vectors[i])
        self.optimizers[i].update(θ, self.gradient[i], *shapes)
        if len(self.vectors[i]) > 1:
            for v, part in zip(self.vectors[i], cut(θ, [(v.size,) for v in self.vectors[i]]), strict=True):
                v[...] = part


def member(holder, path):
    """The model or tensor at a path such as `net.layers.0.w`."""
    for step in path.split("."):
        holder = (
            holder[int(step)] if step.isdigit() else getattr(holder, getattr(holder, "renamed", {}).get(step, step))
        )
    return holder


def cut(vector, shapes):
    """Views of a vector, one after the other."""
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + int(np.prod(shape))
        yield vector[start:stop].reshape(shape)
