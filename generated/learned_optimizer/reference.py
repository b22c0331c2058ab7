"""Learning to learn by gradient descent: the update rule is an LSTM, one cell for all weights (inventory P5).

Every weight has a memory of its own. The rule is learned through the steps that it takes (Andrychowicz et al. 2016).

Made from specs/meta/learned_optimizer.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/learned_optimizer.lee
"""

from __future__ import annotations

import functools
import math

import numpy as np

FLOAT = np.float32


class Model:
    """What every model has: named arrays in declaration order, the trainable ones side by side in one vector.

    `members` names arrays and submodels (a list of submodels goes by one name), `states` what no gradient changes.
    """

    members: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def parts(self):
        """(name, member) of arrays and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, list):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every array by its path in the spec, such as "conv1.kernel"; they are the model's own."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": array for path, array in part.tensors().items()}
            else:
                found[name] = part
        return found

    def load_tensors(self, arrays):
        """Copy arrays in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != arrays.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ arrays.keys())}")
        for path, array in own.items():
            if array.shape != np.shape(arrays[path]):
                raise ValueError(f"{path} is {array.shape} here and {np.shape(arrays[path])} there")
            array[...] = arrays[path]

    def lay_out(self, vector=None):
        """Move all parameters into one vector; the arrays become views of it, those of submodels too."""
        sizes = [part.parameters.size if isinstance(part, Model) else part.size for _, part in self.trained()]
        self.parameters = np.empty(sum(sizes), FLOAT) if vector is None else vector
        stop = 0
        for (name, part), size in zip(self.trained(), sizes, strict=True):
            start, stop = stop, stop + size
            if isinstance(part, Model):
                part.lay_out(self.parameters[start:stop])
            else:
                view = self.parameters[start:stop].reshape(part.shape)
                view[...] = part
                setattr(self, self.renamed.get(name, name), view)

    def trained(self):
        return [(name, part) for name, part in self.parts() if name not in self.states]

    def shapes(self):
        """Of the parameters, in their order."""
        found = (part.shapes() if isinstance(part, Model) else [part.shape] for _, part in self.trained())
        return [shape for shapes in found for shape in shapes]

    def flat(self, gradient):
        """A gradient, nested dicts of arrays by member, as one vector beside `parameters`; what is missing is 0."""
        vector, stop = np.zeros_like(self.parameters), 0
        for name, part in self.trained():
            is_model = isinstance(part, Model)
            start, stop = stop, stop + (part.parameters.size if is_model else part.size)
            if name in gradient:
                vector[start:stop] = part.flat(gradient[name]) if is_model else gradient[name].ravel()
        return vector

    def copy(self):
        """The same model with arrays of its own."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            setattr(twin, attribute, [part.copy() for part in member] if isinstance(member, list) else member.copy())
        twin.lay_out()
        return twin

    def at(self, tensors):
        """A copy at another point of parameter space: nested dicts of arrays by member, as gradients are."""
        twin = self.copy()
        twin.move_to(tensors)
        return twin

    def move_to(self, tensors):
        for name, part in self.parts():
            if name in tensors and isinstance(part, Model):
                part.move_to(tensors[name])
            elif name in tensors:
                part[...] = tensors[name]


class Optimizer:
    """What every optimizer has: the number `t` of updates so far, and states like the parameters.

    `starts` says with what the entries of a state begin.
    """

    starts: dict[str, float] = {}
    t = 0
    rates: dict | None = None  # hyperparameters that are functions of the count

    def count(self):
        """Count an update; hyperparameters that are functions of the count get their values for it."""
        if self.rates is None:
            self.rates = {name: value for name, value in self.__dict__.items() if callable(value)}
        self.t += 1
        for name, rate in self.rates.items():
            setattr(self, name, rate(self.t))

    def begin(self, θ):
        """Count an update; the first one makes the states."""
        self.count()
        self.make_states(θ)

    def make_states(self, θ):
        """Raises ValueError for parameters of another size."""
        for name, start in self.starts.items():
            if not hasattr(self, name):
                setattr(self, name, np.full_like(θ, start))
            if getattr(self, name).shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {getattr(self, name).size} parameters, not {θ.size}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, arrays):
        """Go on from another's count and states."""
        self.t = int(arrays["t"])
        for name in self.starts.keys() & arrays.keys():
            setattr(self, name, np.array(arrays[name], FLOAT))

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.load_tensors(self.tensors())
        return twin


class ShapedOptimizer(Optimizer):
    """An optimizer with states of shapes of their own, or with models that take part in its rule.

    `shapes` has the states that are not like the parameters, `models` names the models.
    """

    models: tuple[str, ...] = ()

    def shapes(self, count):
        return {}

    def count(self):
        if self.rates is None:  # a model can be called, too
            found = {name: value for name, value in self.__dict__.items() if callable(value)}
            self.rates = {name: rate for name, rate in found.items() if name not in self.models}
        super().count()

    def make_states(self, θ):
        """Raises ValueError for parameters of another size."""
        shapes = self.shapes(θ.size)
        for name, start in self.starts.items():
            shape = shapes.get(name, θ.shape)
            if not hasattr(self, name):
                setattr(self, name, np.full(shape, start, θ.dtype))
            if getattr(self, name).shape != shape:
                raise ValueError(f"{type(self).__name__} has moved other parameters than these {θ.size}")

    def tensors(self):
        """The count, the states that there are by now, and the models' tensors by path."""
        held = {f"{m}.{path}": x for m in self.models for path, x in getattr(self, m).tensors().items()}
        return {**super().tensors(), **held}

    def load_tensors(self, arrays):
        super().load_tensors(arrays)
        for m in self.models:
            getattr(self, m).load_tensors({p: arrays[f"{m}.{p}"] for p in getattr(self, m).tensors()})

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, **{m: getattr(self, m).copy() for m in self.models})
        twin.load_tensors(self.tensors())
        return twin


def packed(*outputs, **inputs):
    """For a function that sees the axes of `..` as one: it takes, and gives back, any number of axes there.

    `inputs` has for an argument the place of that axis and its rank, `outputs` the place in every result.
    """

    def decorate(function):
        names = function.__code__.co_varnames

        @functools.wraps(function)
        def outer(*args, **options):
            given = {**dict(zip(names, args, strict=False)), **options}
            if all(name not in given or given[name].ndim == rank for name, (_, rank) in inputs.items()):
                return function(*args, **options)
            axes = None
            for name, (first, rank) in inputs.items():
                x = given[name]
                last = first + x.ndim - rank + 1
                if last < first or axes not in (None, x.shape[first:last]):
                    raise ValueError(f"{function.__qualname__}: {name} has the shape {tuple(x.shape)}")
                axes = x.shape[first:last]
                given[name] = x.reshape(*x.shape[:first], math.prod(axes), *x.shape[last:])
            results = function(**given)
            several = results if isinstance(results, tuple) else (results,)
            whole = tuple(
                y if place is None else y.reshape(*y.shape[:place], *axes, *y.shape[place + 1 :])
                for y, place in zip(several, outputs, strict=True)
            )
            return whole if isinstance(results, tuple) else whole[0]

        return outer

    return decorate


class Rule(Model):
    """Rule(hidden, p, scale)"""

    members = ("cell", "out")

    def __init__(self, hidden=20, p=1e1, scale=0.1, *, key=(0, 0)):
        self.hidden, self.p, self.scale = hidden, p, scale
        self.cell = LSTMCell(2, hidden, key=fold(key, SITES["cell"]))  # learned_optimizer.lee:11
        self.out = Linear(hidden, 1, key=fold(key, SITES["out"]))  # learned_optimizer.lee:12
        self.lay_out()

    def forward(self, g, h, c):
        """Large slopes enter as logarithm and sign, small ones scaled up.

        g [w], h [w, hidden], c [w, hidden] -> [w], [w, hidden], [w, hidden]
        """
        w = g.shape[0]
        abs_g = np.abs(g)  # [w]  learned_optimizer.lee:16
        big = abs_g >= math.exp(-self.p)  # bool[w]
        size = np.where(big, np.log(np.maximum(abs_g, 1e-30)) / self.p, -1)  # [w]  learned_optimizer.lee:17
        direction = np.where(big, np.sign(g), math.exp(self.p) * g)  # [w]  learned_optimizer.lee:18
        h_2, c_2 = self.cell(np.stack((size, direction), axis=1), h, c)  # learned_optimizer.lee:19
        return self.scale * self.out(h_2).reshape(w), h_2, c_2  # learned_optimizer.lee:20

    def forward_saved(self, g, h, c):
        """As forward, and what its gradient needs."""
        w = g.shape[0]
        abs_2 = np.abs(g)  # [w]  learned_optimizer.lee:16
        big = abs_2 >= math.exp(-self.p)  # bool[w]
        maximum = np.maximum(abs_2, 1e-30)  # [w]  learned_optimizer.lee:17
        size = np.where(big, np.log(maximum) / self.p, -1)  # [w]
        direction = np.where(big, np.sign(g), math.exp(self.p) * g)  # [w]  learned_optimizer.lee:18
        concat = np.stack((size, direction), axis=1)  # [w, 2]  learned_optimizer.lee:19
        h_2, c_2, saved_cell = self.cell.forward_saved(concat, h, c)
        # learned_optimizer.lee:20
        return self.scale * self.out(h_2).reshape(w), h_2, c_2, (concat, saved_cell, big, abs_2, maximum)

    def forward_backward(self, h, c, saved, h_2, d_y, d_h_2, d_c_2):
        """From d_y, d_h_2 and d_c_2 to the gradients by the parameters, h and c."""
        concat, saved_cell, _, _, _ = saved
        # gradient of return scale * out(h)[:, 0], h, c   learned_optimizer.lee:20
        d_out, d_h_2_3 = self.out.forward_backward(h_2, (d_y * self.scale)[:, None])
        # gradient of h, c = cell(stack(size, direction, axis = 1), h, c)   learned_optimizer.lee:19
        d_h_2_2 = d_h_2 + d_h_2_3  # [w, hidden]
        d_cell, d_h, d_c = self.cell.forward_backward(concat, h, c, saved_cell, d_h_2_2, d_c_2)
        return {"cell": d_cell, "out": d_out}, d_h, d_c

    def forward_backward_2(self, g, h, c, saved, h_2, d_y):
        """From d_y to the gradients by the parameters and g."""
        concat, saved_cell, big, abs_2, maximum = saved
        # gradient of return scale * out(h)[:, 0], h, c   learned_optimizer.lee:20
        d_out, d_h_2 = self.out.forward_backward(h_2, (d_y * self.scale)[:, None])
        # gradient of h, c = cell(stack(size, direction, axis = 1), h, c)   learned_optimizer.lee:19
        d_cell, d_concat = self.cell.forward_backward_2(concat, h, c, saved_cell, d_h_2)
        d_direction = d_concat[:, 1]  # [w]
        d_size = d_concat[:, 0]  # [w]
        masked_ = masked(d_size / self.p / maximum * np.sign(g), big)  # [w]
        select = np.where(big, 0, d_direction * math.exp(self.p))  # [w]
        d_g = select + masked(masked(masked_, abs_2 >= 1e-30), big)  # [w]
        return {"cell": d_cell, "out": d_out}, d_g


class Learned(ShapedOptimizer):
    """A rule that was learned, at work on any net."""

    starts = {"h": 0.0, "c": 0.0}
    models = ("rule",)

    def __init__(self, rule):
        self.rule = rule

    def shapes(self, count):
        """Of the states, for so many parameters."""
        return {"h": (count, self.rule.hidden), "c": (count, self.rule.hidden)}

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        step, h_next, c_next = self.rule(g, self.h, self.c)  # learned_optimizer.lee:29
        θ += step  # [count]  learned_optimizer.lee:32
        self.h[...] = h_next  # [count, rule.hidden]  learned_optimizer.lee:29
        self.c[...] = c_next  # [count, rule.hidden]


def quadratic(θ, a, b):
    """‖a θ - b‖²

    θ [d], a [d, d], b [d] -> []
    """
    sub = a @ θ - b  # [d]  learned_optimizer.lee:40
    return (sub**2).sum()


def quadratic_saved(θ, a, b):
    """As quadratic, and what its gradient needs."""
    sub = a @ θ - b  # [d]  learned_optimizer.lee:40
    return (sub**2).sum(), sub


def quadratic_backward(a, sub, d_y):
    """From d_y to the gradient by θ."""
    # gradient of return sum((a @ θ - b) ** 2)   learned_optimizer.lee:40
    d_θ = 2 * d_y * sub @ a  # [d]
    return d_θ  # [d]


def quadratic_backward_2(θ, a, sub, d_y):
    """From d_y to the gradients by θ, a and b."""
    # gradient of return sum((a @ θ - b) ** 2)   learned_optimizer.lee:40
    d_sub = 2 * d_y * sub  # [d]
    d_b = -d_sub  # [d]
    d_a = d_sub[:, None] * θ  # [d, d]
    d_θ = d_sub @ a  # [d]
    return d_θ, d_a, d_b


class Point(Model):
    """What a task moves."""

    members = ("θ",)

    def __init__(self, d, *, key=(0, 0)):
        self.d = d
        self.θ = normal(fold(key, SITES["θ"]), (d,), FLOAT)  # [d]  learned_optimizer.lee:45
        self.lay_out()

    def forward(self, a, b):
        """a [d, d], b [d] -> []"""
        return quadratic(self.θ, a, b)  # learned_optimizer.lee:48

    def forward_saved(self, a, b):
        """As forward, and what its gradient needs."""
        sum_, saved_quadratic = quadratic_saved(self.θ, a, b)  # learned_optimizer.lee:48
        return sum_, saved_quadratic

    @staticmethod
    def forward_backward_parameters(a, saved_quadratic, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return quadratic(θ, a, b)   learned_optimizer.lee:48
        d_θ = quadratic_backward(a, saved_quadratic, d_y)  # [d]
        return {"θ": d_θ}  # [d]


def unroll_saved(rule, θ, h, c, a, b, steps):
    """As unroll, and what its gradient needs."""
    total = FLOAT(0)  # learned_optimizer.lee:54
    saved_unroll_step = [None] * steps
    for s in range(steps):
        c, h, total, θ, saved_unroll_step[s] = unroll_step_saved(rule, c, h, total, θ, a, b)
    sum_, saved_quadratic = quadratic_saved(θ, a, b)  # learned_optimizer.lee:60
    return total + sum_, θ, h, c, (saved_unroll_step, saved_quadratic)


def unroll_backward(rule, a, θ_4, saved, steps, d_add):
    """From d_add to the gradients by rule, θ, h, c, a and b."""
    saved_unroll_step, saved_quadratic = saved
    d = a.shape[0]
    # gradient of return total + quadratic(θ, a, b), θ, h, c   learned_optimizer.lee:60
    d_θ_4, d_a_2, d_b_2 = quadratic_backward_2(θ_4, a, saved_quadratic, d_add)
    # gradient of for s in steps:   learned_optimizer.lee:54
    d_c_2 = np.zeros((d, rule.hidden), dtype=FLOAT)  # [d, rule.hidden]
    d_a_later = np.zeros((d, d), dtype=FLOAT)  # [d, d]
    d_c_3 = d_c_2
    d_h_3 = d_c_2
    d_total_2 = d_add
    d_rule = {
        "cell": {
            "w": np.zeros((2, 4 * rule.hidden), dtype=FLOAT),
            "u": np.zeros((rule.hidden, 4 * rule.hidden), dtype=FLOAT),
        },
        "out": {"w": np.zeros((rule.hidden, 1), dtype=FLOAT)},
    }
    d_rule_cell_b_rows = np.empty((steps, 4 * rule.hidden), dtype=FLOAT)  # [steps, 4 * rule.hidden]
    d_rule_out_b_rows = np.empty((steps, 1), dtype=FLOAT)  # [steps, 1]
    d_b_rows = np.empty((steps, d), dtype=FLOAT)  # [steps, d]
    for s in reversed(range(steps)):
        d_c_3, d_h_3, d_total_2, d_θ_4, d_rule, d_a_later, d_rule_cell_b_rows[s], d_rule_out_b_rows[s], d_b_rows[s] = (
            unroll_step_backward(rule, saved_unroll_step[s], a, d_c_3, d_h_3, d_total_2, d_θ_4, d_rule, d_a_later)
        )
    d_rule_cell_b = d_rule_cell_b_rows.sum(axis=0)  # [4 * rule.hidden]
    d_rule_out_b = d_rule_out_b_rows.sum(axis=0)  # [1]
    d_a = d_a_2 + d_a_later  # [d, d]
    d_b = d_b_2 + d_b_rows.sum(axis=0)  # [d]
    return (
        {
            "cell": {"w": d_rule["cell"]["w"], "u": d_rule["cell"]["u"], "b": d_rule_cell_b},
            "out": {"w": d_rule["out"]["w"], "b": d_rule_out_b},
        },
        d_θ_4,
        d_h_3,
        d_c_3,
        d_a,
        d_b,
    )


def unroll_backward_parameters(rule, a, saved, steps, d_add):
    """From d_add to the gradient by rule."""
    saved_unroll_step, saved_quadratic = saved
    d = a.shape[0]
    # gradient of return total + quadratic(θ, a, b), θ, h, c   learned_optimizer.lee:60
    d_θ_4 = quadratic_backward(a, saved_quadratic, d_add)  # [d]
    # gradient of for s in steps:   learned_optimizer.lee:54
    d_c = np.zeros((d, rule.hidden), dtype=FLOAT)  # [d, rule.hidden]
    d_c_3 = d_c
    d_h_3 = d_c
    d_total_2 = d_add
    d_rule = {
        "cell": {
            "w": np.zeros((2, 4 * rule.hidden), dtype=FLOAT),
            "u": np.zeros((rule.hidden, 4 * rule.hidden), dtype=FLOAT),
        },
        "out": {"w": np.zeros((rule.hidden, 1), dtype=FLOAT)},
    }
    d_rule_cell_b_rows = np.empty((steps, 4 * rule.hidden), dtype=FLOAT)  # [steps, 4 * rule.hidden]
    d_rule_out_b_rows = np.empty((steps, 1), dtype=FLOAT)  # [steps, 1]
    for s in reversed(range(steps)):
        d_c_3, d_h_3, d_total_2, d_θ_4, d_rule, d_rule_cell_b_rows[s], d_rule_out_b_rows[s] = unroll_step_backward_2(
            rule, saved_unroll_step[s], a, d_c_3, d_h_3, d_total_2, d_θ_4, d_rule
        )
    d_rule_cell_b = d_rule_cell_b_rows.sum(axis=0)  # [4 * rule.hidden]
    d_rule_out_b = d_rule_out_b_rows.sum(axis=0)  # [1]
    return {
        "cell": {"w": d_rule["cell"]["w"], "u": d_rule["cell"]["u"], "b": d_rule_cell_b},
        "out": {"w": d_rule["out"]["w"], "b": d_rule_out_b},
    }


def unroll_step_saved(rule, c, h, total, θ, a, b):
    """As unroll_step, and what its gradient needs."""
    loss, saved_quadratic = quadratic_saved(θ, a, b)  # learned_optimizer.lee:55
    total_2 = total + loss  # learned_optimizer.lee:56
    g = stop(quadratic_backward(a, saved_quadratic, FLOAT(1.0)))  # [d]  learned_optimizer.lee:57
    step, h_3, c_3, saved_rule = rule.forward_saved(g, h, c)  # learned_optimizer.lee:58
    θ_3 = θ + step  # [d]  learned_optimizer.lee:59
    return c_3, h_3, total_2, θ_3, (saved_quadratic, saved_rule, c, h, θ, h_3)


def unroll_step_backward(rule, saved, a, d_c_3, d_h_3, d_total_2, d_θ_3, d_rule, d_a):
    """From d_c_3, d_h_3, d_total_2, d_θ_3, d_rule and d_a to the gradients by c, h, total, θ, rule, a, rule.cell.b, rule.out.b and b."""
    saved_quadratic, saved_rule, c, h, θ, h_3 = saved
    # gradient of step, h, c = rule(g, h, c)   learned_optimizer.lee:58
    d_rule_, d_h, d_c = rule.forward_backward(h, c, saved_rule, h_3, d_θ_3, d_h_3, d_c_3)
    # gradient of loss = quadratic(θ, a, b)   learned_optimizer.lee:55
    d_θ_2, d_a_, d_b = quadratic_backward_2(θ, a, saved_quadratic, d_total_2)
    d_θ = d_θ_3 + d_θ_2  # [d]
    return (
        d_c,
        d_h,
        d_total_2,
        d_θ,
        {
            "cell": {"w": d_rule["cell"]["w"] + d_rule_["cell"]["w"], "u": d_rule["cell"]["u"] + d_rule_["cell"]["u"]},
            "out": {"w": d_rule["out"]["w"] + d_rule_["out"]["w"]},
        },
        d_a + d_a_,
        d_rule_["cell"]["b"],
        d_rule_["out"]["b"],
        d_b,
    )


def unroll_step_backward_2(rule, saved, a, d_c_3, d_h_3, d_total_2, d_θ_3, d_rule):
    """From d_c_3, d_h_3, d_total_2, d_θ_3 and d_rule to the gradients by c, h, total, θ, rule, rule.cell.b and rule.out.b."""
    saved_quadratic, saved_rule, c, h, _, h_3 = saved
    # gradient of step, h, c = rule(g, h, c)   learned_optimizer.lee:58
    d_rule_, d_h, d_c = rule.forward_backward(h, c, saved_rule, h_3, d_θ_3, d_h_3, d_c_3)
    # gradient of loss = quadratic(θ, a, b)   learned_optimizer.lee:55
    d_θ = d_θ_3 + quadratic_backward(a, saved_quadratic, d_total_2)  # [d]
    # gradient of step, h, c = rule(g, h, c)   learned_optimizer.lee:58
    return (
        d_c,
        d_h,
        d_total_2,
        d_θ,
        {
            "cell": {"w": d_rule["cell"]["w"] + d_rule_["cell"]["w"], "u": d_rule["cell"]["u"] + d_rule_["cell"]["u"]},
            "out": {"w": d_rule["out"]["w"] + d_rule_["out"]["w"]},
        },
        d_rule_["cell"]["b"],
        d_rule_["out"]["b"],
    )


def learned(rounds=400, d=10, length=100, segment=20, hidden=20, tasks=20, *, run=None):
    """Truncated back-propagation through `segment` steps at a time; then the rule at work on tasks never met."""
    from leec.runtime.run import Run

    run = run or Run("learned")
    rule = Rule(hidden=hidden, key=run.key("rule"))  # learned_optimizer.lee:68
    opt = Adam(lr=3e-3)  # learned_optimizer.lee:69
    for round_ in run.loop("round", 1, rounds, opt=opt, rule=rule):
        a, b, θ, h, c = learned_a_b_θ_h_c(d, hidden, key=run.key("learned"))  # learned_optimizer.lee:71
        c, h, θ = run.restore("part", c=c, h=h, θ=θ)
        for part in run.loop("part", 0, length // segment - 1, opt=opt, rule=rule):
            c, h, θ, loss = learned_step(rule, opt, θ, h, c, a, b, segment)  # learned_optimizer.lee:77
            run.step(loss)
            run.keep("part", c=c, h=h, θ=θ)
    left = 0.0  # learned_optimizer.lee:79
    a, b, left = run.restore("task", a=a, b=b, left=left)
    for task in run.loop("task", 1, tasks):
        a, b = learned_a_b(d, key=run.key("learned"))  # learned_optimizer.lee:81
        point = Point(d=d, key=run.key("point"))  # learned_optimizer.lee:83
        own = Learned(rule=rule.copy())  # learned_optimizer.lee:84
        for step in run.loop("step", 1, length, own=own, point=point):
            run.step(learned_step_2(point, own, a, b))  # learned_optimizer.lee:86
        left = learned_left(left, point, a, b, tasks)  # learned_optimizer.lee:87
        run.keep("task", a=a, b=b, left=left)
    run.report(left=left)  # learned_optimizer.lee:88
    return rule


def learned_a_b_θ_h_c(d, hidden, key):
    a = normal(fold(key, SITES["a"]), (d, d), FLOAT)  # [d, d]  learned_optimizer.lee:71
    b = normal(fold(key, SITES["b"]), (d,), FLOAT)  # [d]  learned_optimizer.lee:72
    θ = normal(fold(key, SITES["θ"]), (d,), FLOAT)  # [d]  learned_optimizer.lee:73
    h = np.zeros((d, hidden), dtype=FLOAT)  # [d, hidden]  learned_optimizer.lee:74
    return a, b, θ, h, h


def learned_step(rule, opt, θ, h, c, a, b, segment):
    """One step of learned."""
    total, θ_2, h_2, c_2, saved_unroll = unroll_saved(rule, θ, h, c, a, b, segment)  # learned_optimizer.lee:77
    d_rule = unroll_backward_parameters(rule, a, saved_unroll, segment, FLOAT(1.0))
    opt.update(rule.parameters, rule.flat(d_rule))  # learned_optimizer.lee:78
    return c_2, h_2, θ_2, total  # learned_optimizer.lee:77


def learned_a_b(d, key):
    a = normal(fold(key, SITES["a#2"]), (d, d), FLOAT)  # [d, d]  learned_optimizer.lee:81
    b = normal(fold(key, SITES["b#2"]), (d,), FLOAT)  # [d]  learned_optimizer.lee:82
    return a, b


def learned_step_2(point, own, a, b):
    """One step of learned."""
    loss, saved_point = point.forward_saved(a, b)  # learned_optimizer.lee:86
    d_point = Point.forward_backward_parameters(a, saved_point, FLOAT(1.0))
    own.update(point.parameters, point.flat(d_point))
    return loss


def learned_left(left, point, a, b, tasks):
    """a [d, d], b [d] -> []"""
    left_2 = left + point(a, b) / tasks  # learned_optimizer.lee:87
    return left_2


def example_unrolled(key):
    rule = Rule(hidden=4, key=fold(key, SITES["rule"]))  # learned_optimizer.lee:96
    θ = normal(fold(key, SITES["θ"]), (3,), FLOAT)  # [3]  learned_optimizer.lee:97
    a = normal(fold(key, SITES["a"]), (3, 3), FLOAT)  # [3, 3]  learned_optimizer.lee:98
    b = normal(fold(key, SITES["b"]), (3,), FLOAT)  # [3]  learned_optimizer.lee:99
    h = normal(fold(key, SITES["h"]), (3, 4), FLOAT)  # [3, 4]  learned_optimizer.lee:100
    c = normal(fold(key, SITES["c"]), (3, 4), FLOAT)  # [3, 4]  learned_optimizer.lee:101
    total, θ_after, _, _, saved_unroll = unroll_saved(rule, θ, h, c, a, b, 3)  # learned_optimizer.lee:102
    d_rule, d_θ, d_h, d_c, d_a, d_b = unroll_backward(rule, a, θ_after, saved_unroll, 3, FLOAT(1.0))
    return total, rule.at(d_rule), d_θ, d_a, d_b, d_h, d_c


def example_small_slopes(key):
    rule = Rule(hidden=4, key=fold(key, SITES["rule"]))  # learned_optimizer.lee:107
    g = 1e-4 * normal(fold(key, SITES["g"]), (5,), FLOAT)  # [5]  learned_optimizer.lee:108
    fill = np.zeros((5, 4), dtype=FLOAT)  # [5, 4]  learned_optimizer.lee:109
    step, h, _, saved_rule = rule.forward_saved(g, fill, fill)
    d_step = 2 * step  # [5]
    d_rule, d_g = rule.forward_backward_2(g, fill, fill, saved_rule, h, d_step)
    return (step**2).sum(), rule.at(d_rule), d_g


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = div + (div_2 - div) * uniform_  # [inputs, outputs]  nn.lee:15
        self.b = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:17
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return x @ self.w + self.b  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


class LSTMCell(Model):
    """c ← f c + i g, h ← o tanh(c), one step: gates i, f, g, o in this order (Hochreiter & Schmidhuber 1997)."""

    members = ("w", "u", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:245
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 4 * hidden), FLOAT)  # [inputs, 4 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 4 * hidden), FLOAT)  # [hidden, 4 * hidden]  nn.lee:246
        uniform_3 = uniform(fold(key, SITES["b"]), (4 * hidden,), FLOAT)  # [4 * hidden]  nn.lee:247
        self.w = div + (div_2 - div) * uniform_  # [inputs, 4 * hidden]  nn.lee:245
        self.u = div + (div_2 - div) * uniform_2  # [hidden, 4 * hidden]  nn.lee:246
        self.b = div + (div_2 - div) * uniform_3  # [4 * hidden]  nn.lee:247
        self.lay_out()

    def forward(self, x, h, c):
        """x [n, inputs], h [n, hidden], c [n, hidden] -> [n, hidden], [n, hidden]"""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        entry = z[:, 1]  # [n, hidden]  nn.lee:251
        sigmoid = np.exp(np.minimum(entry, 0)) / (1 + np.exp(-np.abs(entry)))  # [n, hidden]  prelude.lee:36
        entry_2 = z[:, 0]  # [n, hidden]  nn.lee:251
        sigmoid_2 = np.exp(np.minimum(entry_2, 0)) / (1 + np.exp(-np.abs(entry_2)))  # [n, hidden]  prelude.lee:36
        memory = sigmoid * c + sigmoid_2 * np.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        entry_4 = z[:, 3]  # [n, hidden]  nn.lee:252
        sigmoid_3 = np.exp(np.minimum(entry_4, 0)) / (1 + np.exp(-np.abs(entry_4)))  # [n, hidden]  prelude.lee:36
        return sigmoid_3 * np.tanh(memory), memory  # nn.lee:252

    def forward_saved(self, x, h, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        entry = z[:, 1]  # [n, hidden]  nn.lee:251
        sigmoid = np.exp(np.minimum(entry, 0)) / (1 + np.exp(-np.abs(entry)))  # [n, hidden]  prelude.lee:36
        entry_2 = z[:, 0]  # [n, hidden]  nn.lee:251
        sigmoid_2 = np.exp(np.minimum(entry_2, 0)) / (1 + np.exp(-np.abs(entry_2)))  # [n, hidden]  prelude.lee:36
        tanh = np.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        memory = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        entry_4 = z[:, 3]  # [n, hidden]  nn.lee:252
        sigmoid_3 = np.exp(np.minimum(entry_4, 0)) / (1 + np.exp(-np.abs(entry_4)))  # [n, hidden]  prelude.lee:36
        tanh_memory = np.tanh(memory)  # [n, hidden]  nn.lee:252
        return sigmoid_3 * tanh_memory, memory, (sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory)

    def forward_backward(self, x, h, c, saved, d_y, d_memory):
        """From d_y and d_memory to the gradients by the parameters, h and c."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory = saved
        n = x.shape[0]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_memory_2 = d_memory + d_y * sigmoid_3 * (1 - tanh_memory**2)  # [n, hidden]
        d_c = d_memory_2 * sigmoid  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_2 = d_memory_2 * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape_4 = d_y * tanh_memory * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape = d_memory_2 * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_reshape_3 = d_memory_2 * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
        d_z = np.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), axis=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(axis=0)  # [4 * hidden]
        d_h = d_add_2 @ self.u.T  # [n, hidden]
        d_u = h.T @ d_add_2  # [hidden, 4 * hidden]
        d_w = x.T @ d_add_2  # [inputs, 4 * hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_h, d_c

    def forward_backward_2(self, x, h, c, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory = saved
        n = x.shape[0]
        # gradient of return sigmoid(z[:, 3]) * tanh(memory), memory   nn.lee:252
        d_memory = d_y * sigmoid_3 * (1 - tanh_memory**2)  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_4 = d_y * tanh_memory * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape_2 = d_memory * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape = d_memory * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_reshape_3 = d_memory * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
        d_z = np.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), axis=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(axis=0)  # [4 * hidden]
        d_u = h.T @ d_add_2  # [hidden, 4 * hidden]
        d_x = d_add_2 @ self.w.T  # [n, inputs]
        d_w = x.T @ d_add_2  # [inputs, 4 * hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_x


class Adam(Optimizer):
    """m, v: averages of g and g², each over its bias; θ ← θ - η m̂ / (√v̂ + ε) (Kingma & Ba 2015).

    `weight_decay` adds λ θ to the gradient; AdamW keeps it apart.
    """

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
        self.lr, self.beta1, self.beta2, self.eps, self.weight_decay = lr, beta1, beta2, eps, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            g_2 = g + self.weight_decay * θ  # [count]  optim.lee:74
            m[...] = self.beta1 * m + (1 - self.beta1) * g_2  # [count]  optim.lee:75
            v[...] = self.beta2 * v + (1 - self.beta2) * g_2**2  # [count]  optim.lee:76
            m_hat = m / (1 - math.pow(self.beta1, self.t))  # [count]  optim.lee:77
            v_hat = v / (1 - math.pow(self.beta2, self.t))  # [count]  optim.lee:78
            θ -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)  # [count]  optim.lee:79


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "a#2": 0x2E3E65391061D440,
    "b": 0x754F854DE3C27284,
    "b#2": 0x6D197797A1B1B9F0,
    "c": 0x1B2C07CD64633F37,
    "cell": 0x3FB231439DC63663,
    "g": 0xBC30DBAED87C766C,
    "h": 0x30335FE014629146,
    "out": 0x00B417F045D422B4,
    "rule": 0xB4D88ECFC30D4842,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
    "θ": 0x543291B86F539084,
}


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


MASK = 0xFFFFFFFF


Key = tuple[int, int]


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words of the counter are Python integers or uint64 arrays below 2**32, those of the key integers.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key: Key, word: int) -> Key:
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    word = int(word)  # a NumPy integer would wrap
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int) -> np.ndarray:
    """n random words, uint32[n], all four words of a block used; at most 2**34 from one key."""
    words = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(words), 8192):  # a stretch that stays in the cache
        part = words[start : start + 8192]
        blocks = np.arange(start, start + len(part), dtype=np.uint64)
        for column, word in enumerate(philox(key, (blocks, 0, 0, 0))):
            part[:, column] = word
    return words.ravel()[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape)) >> 8).reshape(shape).astype(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
