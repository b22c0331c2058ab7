"""Normalisation (inventory D1 to D9): values of mean 0 and variance 1, over a batch, an example, a channel or a weight.

Made from specs/normalisation/normalisation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/normalisation/normalisation.lee
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


def batch_norm(z, gamma, beta, eps=1e-5):
    """γ ⊙ (z - μ) / σ + β, entry by entry; gradients flow through μ and σ too.

    z [n, d], gamma [d], beta [d] -> [n, d]
    """
    centred = z - z.mean(axis=0, keepdims=True)  # [n, d]  normalisation.lee:17
    deviation = np.sqrt((centred**2).mean(axis=0, keepdims=True) + eps)  # [1, d]
    return centred / deviation * gamma + beta  # [n, d]


def batch_norm_saved(z, gamma, beta, eps=1e-5):
    """As batch_norm, and what its gradient needs."""
    centred = z - z.mean(axis=0, keepdims=True)  # [n, d]  normalisation.lee:17
    normalise = centred / np.sqrt((centred**2).mean(axis=0, keepdims=True) + eps)  # [n, d]
    return normalise * gamma + beta, normalise


def batch_norm_backward(z, gamma, eps, normalise, d_y):
    """From d_y to the gradients by z, gamma and beta."""
    # gradient of return gamma * (z - mu) / sqrt(variance + eps) + beta   normalisation.lee:17
    d_beta = d_y.sum(axis=0)  # [d]
    d_normalise = d_y * gamma  # [n, d]
    d_gamma = (d_y * normalise).sum(axis=0)  # [d]
    centred = z - z.mean(axis=0, keepdims=True)  # [n, d]
    deviation = np.sqrt((centred**2).mean(axis=0, keepdims=True) + eps)  # [1, d]
    normal_ = centred / deviation  # [n, d]
    mean_2 = (d_normalise * normal_).mean(axis=0, keepdims=True)  # [1, d]
    sub = d_normalise - d_normalise.mean(axis=0, keepdims=True)  # [n, d]
    d_z = (sub - normal_ * mean_2) / deviation  # [n, d]
    return d_z, d_gamma, d_beta


def batch_normAsPrinted(z, gamma, beta, eps=1e-5):
    """One set of notes takes the inner product with γ, one number for an example, where entries should be scaled.

    z [n, d], gamma [d], beta [d] -> [n, d]
    """
    centred = z - z.mean(axis=0, keepdims=True)  # [n, d]  normalisation.lee:24
    deviation = np.sqrt((centred**2).mean(axis=0, keepdims=True) + eps)  # [1, d]
    scaled = centred / deviation @ gamma  # [n]
    return scaled[:, None] + beta  # [n, d]  normalisation.lee:25


def batch_normAsPrinted_saved(z, gamma, beta, eps=1e-5):
    """As batch_normAsPrinted, and what its gradient needs."""
    centred = z - z.mean(axis=0, keepdims=True)  # [n, d]  normalisation.lee:24
    normalise = centred / np.sqrt((centred**2).mean(axis=0, keepdims=True) + eps)  # [n, d]
    scaled = normalise @ gamma  # [n]
    return scaled[:, None] + beta, normalise  # normalisation.lee:25


def batch_normAsPrinted_backward(z, gamma, eps, normalise, d_y):
    """From d_y to the gradients by z, gamma and beta."""
    # gradient of return scaled[:, None] + beta   normalisation.lee:25
    d_beta = d_y.sum(axis=0)  # [d]
    d_scaled = d_y.sum(axis=1)  # [n]
    # gradient of scaled = ((z - mu) / sqrt(variance + eps)) @ gamma   normalisation.lee:24
    d_normalise = d_scaled[:, None] * gamma  # [n, d]
    d_gamma = d_scaled @ normalise  # [d]
    centred = z - z.mean(axis=0, keepdims=True)  # [n, d]
    deviation = np.sqrt((centred**2).mean(axis=0, keepdims=True) + eps)  # [1, d]
    normal_ = centred / deviation  # [n, d]
    mean_2 = (d_normalise * normal_).mean(axis=0, keepdims=True)  # [1, d]
    sub = d_normalise - d_normalise.mean(axis=0, keepdims=True)  # [n, d]
    d_z = (sub - normal_ * mean_2) / deviation  # [n, d]
    return d_z, d_gamma, d_beta


class BatchNorm(Model):
    """When testing there may be no batch: running averages of μ and σ² serve, each new batch weighing 0.1."""

    members = ("gamma", "beta", "mean_", "var_")
    states = ("mean_", "var_")

    def __init__(self, d, momentum=0.1, eps=1e-5):
        self.d, self.momentum, self.eps = d, momentum, eps
        self.gamma = np.ones(d, dtype=FLOAT)  # [d]  normalisation.lee:30
        self.beta = np.zeros(d, dtype=FLOAT)  # [d]  normalisation.lee:31
        self.mean_ = np.zeros(d, dtype=FLOAT)  # [d]
        self.var_ = np.ones(d, dtype=FLOAT)  # [d]  normalisation.lee:30
        self.lay_out()

    def forward(self, z, training=False):
        """z [n, d] -> [n, d]"""
        if training:
            return self.forward_training(z)
        mul = self.gamma * (z - self.mean_)  # [n, d]  normalisation.lee:42
        return mul / np.sqrt(self.var_ + self.eps) + self.beta  # [n, d]

    def forward_training(self, z):
        """z [n, d] -> [n, d]"""
        n = z.shape[0]
        mu = z.mean(axis=0)  # [d]  normalisation.lee:37
        sub = z - mu  # [n, d]  normalisation.lee:38
        variance = (sub**2).mean(axis=0)  # [d]
        self.mean_[...] = (1 - self.momentum) * self.mean_ + self.momentum * mu  # [d]  normalisation.lee:39
        # [d]  normalisation.lee:40
        self.var_[...] = (1 - self.momentum) * self.var_ + self.momentum * variance * n / (n - 1)
        return batch_norm(z, self.gamma, self.beta, eps=self.eps)  # [n, d]  normalisation.lee:41

    def forward_saved(self, z):
        """As forward, and what its gradient needs."""
        n = z.shape[0]
        mu = z.mean(axis=0)  # [d]  normalisation.lee:37
        sub = z - mu  # [n, d]  normalisation.lee:38
        variance = (sub**2).mean(axis=0)  # [d]
        self.mean_[...] = (1 - self.momentum) * self.mean_ + self.momentum * mu  # [d]  normalisation.lee:39
        # [d]  normalisation.lee:40
        self.var_[...] = (1 - self.momentum) * self.var_ + self.momentum * variance * n / (n - 1)
        add_2_2, saved_batch_norm = batch_norm_saved(z, self.gamma, self.beta, eps=self.eps)  # normalisation.lee:41
        return add_2_2, saved_batch_norm

    def forward_backward(self, z, saved_batch_norm, d_y):
        """From d_y to the gradients by the parameters and z."""
        # gradient of return batch_norm(z, gamma, beta, eps)   normalisation.lee:41
        d_z, d_gamma, d_beta = batch_norm_backward(z, self.gamma, self.eps, saved_batch_norm, d_y)
        return {"gamma": d_gamma, "beta": d_beta}, d_z

    def forward_eval_saved(self, z):
        """As forward_eval, and what its gradient needs."""
        sub = z - self.mean_  # [n, d]  normalisation.lee:42
        sqrt = np.sqrt(self.var_ + self.eps)  # [d]
        return self.gamma * sub / sqrt + self.beta, (sub, sqrt)

    def forward_eval_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        sub, sqrt = saved
        # gradient of return gamma * (z - mean_) / sqrt(var_ + eps) + beta   normalisation.lee:42
        d_beta = d_y.sum(axis=0)  # [d]
        d_mul = d_y / sqrt  # [n, d]
        d_z = d_mul * self.gamma  # [n, d]
        d_gamma = (d_mul * sub).sum(axis=0)  # [d]
        return {"gamma": d_gamma, "beta": d_beta}, d_z


class BatchNormAsPrinted(Model):
    """The notes write μ̄ ← p μ̄ + (1 - p) μ with the same p = 0.1: the new batch weighs 0.9."""

    members = ("gamma", "beta", "mean_", "var_")
    states = ("mean_", "var_")

    def __init__(self, d, momentum=0.1, eps=1e-5):
        self.d, self.momentum, self.eps = d, momentum, eps
        self.gamma = np.ones(d, dtype=FLOAT)  # [d]  normalisation.lee:47
        self.beta = np.zeros(d, dtype=FLOAT)  # [d]  normalisation.lee:48
        self.mean_ = np.zeros(d, dtype=FLOAT)  # [d]
        self.var_ = np.ones(d, dtype=FLOAT)  # [d]  normalisation.lee:47
        self.lay_out()

    def forward(self, z, training=False):
        """z [n, d] -> [n, d]"""
        if training:
            return self.forward_training(z)
        mul = self.gamma * (z - self.mean_)  # [n, d]  normalisation.lee:59
        return mul / np.sqrt(self.var_ + self.eps) + self.beta  # [n, d]

    def forward_training(self, z):
        """z [n, d] -> [n, d]"""
        mu = z.mean(axis=0)  # [d]  normalisation.lee:54
        sub = z - mu  # [n, d]  normalisation.lee:55
        variance = (sub**2).mean(axis=0)  # [d]
        self.mean_[...] = self.momentum * self.mean_ + (1 - self.momentum) * mu  # [d]  normalisation.lee:56
        self.var_[...] = self.momentum * self.var_ + (1 - self.momentum) * variance  # [d]  normalisation.lee:57
        return batch_norm(z, self.gamma, self.beta, eps=self.eps)  # [n, d]  normalisation.lee:58

    def forward_saved(self, z):
        """As forward, and what its gradient needs."""
        mu = z.mean(axis=0)  # [d]  normalisation.lee:54
        sub = z - mu  # [n, d]  normalisation.lee:55
        variance = (sub**2).mean(axis=0)  # [d]
        self.mean_[...] = self.momentum * self.mean_ + (1 - self.momentum) * mu  # [d]  normalisation.lee:56
        self.var_[...] = self.momentum * self.var_ + (1 - self.momentum) * variance  # [d]  normalisation.lee:57
        add_2_2, saved_batch_norm = batch_norm_saved(z, self.gamma, self.beta, eps=self.eps)  # normalisation.lee:58
        return add_2_2, saved_batch_norm

    def forward_backward(self, z, saved_batch_norm, d_y):
        """From d_y to the gradients by the parameters and z."""
        # gradient of return batch_norm(z, gamma, beta, eps)   normalisation.lee:58
        d_z, d_gamma, d_beta = batch_norm_backward(z, self.gamma, self.eps, saved_batch_norm, d_y)
        return {"gamma": d_gamma, "beta": d_beta}, d_z

    def forward_eval_saved(self, z):
        """As forward_eval, and what its gradient needs."""
        sub = z - self.mean_  # [n, d]  normalisation.lee:59
        sqrt = np.sqrt(self.var_ + self.eps)  # [d]
        return self.gamma * sub / sqrt + self.beta, (sub, sqrt)

    def forward_eval_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        sub, sqrt = saved
        # gradient of return gamma * (z - mean_) / sqrt(var_ + eps) + beta   normalisation.lee:59
        d_beta = d_y.sum(axis=0)  # [d]
        d_mul = d_y / sqrt  # [n, d]
        d_z = d_mul * self.gamma  # [n, d]
        d_gamma = (d_mul * sub).sum(axis=0)  # [d]
        return {"gamma": d_gamma, "beta": d_beta}, d_z


class Normalised(Model):
    """A layer that normalises its sums z before the activation, or its outputs a after it."""

    members = ("w", "norm")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  normalisation.lee:64
        self.w = 1 / math.sqrt(inputs) * normal_  # [inputs, outputs]  normalisation.lee:64
        self.norm = BatchNorm(outputs)  # normalisation.lee:65
        self.lay_out()

    def forward(self, x, training=False):
        """x [n, inputs] -> [n, outputs]"""
        if training:
            return self.forward_training(x)
        norm_out = self.norm(x @ self.w)  # [n, outputs]  normalisation.lee:69
        y = np.exp(np.minimum(norm_out, 0)) / (1 + np.exp(-np.abs(norm_out)))  # [n, outputs]  prelude.lee:36
        return y  # [n, outputs]

    def forward_training(self, x):
        """x [n, inputs] -> [n, outputs]"""
        norm_out = self.norm(x @ self.w, training=True)  # [n, outputs]  normalisation.lee:69
        y = np.exp(np.minimum(norm_out, 0)) / (1 + np.exp(-np.abs(norm_out)))  # [n, outputs]  prelude.lee:36
        return y  # [n, outputs]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.w  # [n, outputs]  normalisation.lee:69
        norm_out, saved_norm = self.norm.forward_saved(contract)
        div = np.exp(np.minimum(norm_out, 0)) / (1 + np.exp(-np.abs(norm_out)))  # [n, outputs]  prelude.lee:36
        return div, (contract, saved_norm)

    def forward_backward(self, x, saved, div, d_y):
        """From d_y to the gradients by the parameters and x."""
        contract, saved_norm = saved
        # gradient of return sigmoid(norm(x @ w))   normalisation.lee:69
        d_norm, d_contract = self.norm.forward_backward(contract, saved_norm, d_y * (div * (1 - div)))
        d_x = d_contract @ self.w.T  # [n, inputs]
        d_w = x.T @ d_contract  # [inputs, outputs]
        return {"w": d_w, "norm": d_norm}, d_x

    def forward_backward_parameters(self, x, saved, div, d_y):
        """From d_y to the gradient by the parameters."""
        contract, saved_norm = saved
        # gradient of return sigmoid(norm(x @ w))   normalisation.lee:69
        d_norm, d_contract = self.norm.forward_backward(contract, saved_norm, d_y * (div * (1 - div)))
        d_w = x.T @ d_contract  # [inputs, outputs]
        return {"w": d_w, "norm": d_norm}


class Normalised_2(Model):
    """A layer that normalises its sums z before the activation, or its outputs a after it."""

    members = ("w", "norm")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  normalisation.lee:64
        self.w = 1 / math.sqrt(inputs) * normal_  # [inputs, outputs]  normalisation.lee:64
        self.norm = BatchNorm(outputs)  # normalisation.lee:65
        self.lay_out()

    def forward(self, x):
        """x [n, inputs] -> [n, outputs]"""
        contract = x @ self.w  # [n, outputs]  normalisation.lee:70
        sigmoid = np.exp(np.minimum(contract, 0)) / (1 + np.exp(-np.abs(contract)))  # [n, outputs]  prelude.lee:36
        y = self.norm(sigmoid, training=True)  # [n, outputs]  normalisation.lee:70
        return y  # [n, outputs]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.w  # [n, outputs]  normalisation.lee:70
        sigmoid = np.exp(np.minimum(contract, 0)) / (1 + np.exp(-np.abs(contract)))  # [n, outputs]  prelude.lee:36
        add_2_2, saved_norm = self.norm.forward_saved(sigmoid)  # normalisation.lee:70
        return add_2_2, (sigmoid, saved_norm)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sigmoid, saved_norm = saved
        # gradient of return norm(sigmoid(x @ w))   normalisation.lee:70
        d_norm, d_sigmoid = self.norm.forward_backward(sigmoid, saved_norm, d_y)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_contract = d_sigmoid * (sigmoid * (1 - sigmoid))  # [n, outputs]
        # gradient of return norm(sigmoid(x @ w))   normalisation.lee:70
        d_x = d_contract @ self.w.T  # [n, inputs]
        d_w = x.T @ d_contract  # [inputs, outputs]
        return {"w": d_w, "norm": d_norm}, d_x


class BatchRenorm(Model):
    """x̂ = (x - μ) / σ · r + s, where r and s, seen as constants, lead from the batch to the running averages.

    r = σ / σ̄ within [1 / r_max, r_max], s = (μ - μ̄) / σ̄ within ± d_max (Ioffe 2017).
    """

    members = ("gamma", "beta", "mean_", "std_")
    states = ("mean_", "std_")

    def __init__(self, d, momentum=0.01, r_max=3, d_max=5, eps=1e-5):
        self.d, self.momentum, self.r_max, self.d_max, self.eps = d, momentum, r_max, d_max, eps
        self.gamma = np.ones(d, dtype=FLOAT)  # [d]  normalisation.lee:78
        self.beta = np.zeros(d, dtype=FLOAT)  # [d]  normalisation.lee:79
        self.mean_ = np.zeros(d, dtype=FLOAT)  # [d]
        self.std_ = np.ones(d, dtype=FLOAT)  # [d]  normalisation.lee:78
        self.lay_out()

    def forward(self, x, training=False):
        """x [n, d] -> [n, d]"""
        if training:
            return self.forward_training(x)
        return self.gamma * (x - self.mean_) / self.std_ + self.beta  # [n, d]  normalisation.lee:92

    def forward_training(self, x):
        """x [n, d] -> [n, d]"""
        mu = x.mean(axis=0)  # [d]  normalisation.lee:85
        sub = x - mu  # [n, d]  normalisation.lee:86
        sigma = np.sqrt((sub**2).mean(axis=0) + self.eps)  # [d]
        r = stop(clip(sigma / self.std_, 1 / self.r_max, self.r_max))  # [d]  normalisation.lee:87
        sub_2 = mu - self.mean_  # [d]  normalisation.lee:88
        s = stop(clip_2(sub_2 / self.std_, -self.d_max, self.d_max))  # [d]
        self.mean_ += self.momentum * sub_2  # [d]  normalisation.lee:89
        self.std_ += self.momentum * (sigma - self.std_)  # [d]  normalisation.lee:90
        centred = x - x.mean(axis=0, keepdims=True)  # [n, d]  normalisation.lee:91
        deviation = np.sqrt((centred**2).mean(axis=0, keepdims=True) + self.eps)  # [1, d]
        return self.gamma * (centred / deviation * r + s) + self.beta  # [n, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        mu = x.mean(axis=0)  # [d]  normalisation.lee:85
        sub = x - mu  # [n, d]  normalisation.lee:86
        sigma = np.sqrt((sub**2).mean(axis=0) + self.eps)  # [d]
        r = stop(clip(sigma / self.std_, 1 / self.r_max, self.r_max))  # [d]  normalisation.lee:87
        sub_2 = mu - self.mean_  # [d]  normalisation.lee:88
        s = stop(clip_2(sub_2 / self.std_, -self.d_max, self.d_max))  # [d]
        self.mean_ += self.momentum * sub_2  # [d]  normalisation.lee:89
        self.std_ += self.momentum * (sigma - self.std_)  # [d]  normalisation.lee:90
        centred = x - x.mean(axis=0, keepdims=True)  # [n, d]  normalisation.lee:91
        deviation = np.sqrt((centred**2).mean(axis=0, keepdims=True) + self.eps)  # [1, d]
        add_4 = centred / deviation * r + s  # [n, d]
        return self.gamma * add_4 + self.beta, (r, add_4)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        r, add_4 = saved
        # gradient of return gamma * ((x - mu) / sigma * r + s) + beta   normalisation.lee:91
        d_beta = d_y.sum(axis=0)  # [d]
        d_gamma = (d_y * add_4).sum(axis=0)  # [d]
        d_normalise = d_y * self.gamma * r  # [n, d]
        centred = x - x.mean(axis=0, keepdims=True)  # [n, d]
        deviation = np.sqrt((centred**2).mean(axis=0, keepdims=True) + self.eps)  # [1, d]
        normal_ = centred / deviation  # [n, d]
        mean_2 = (d_normalise * normal_).mean(axis=0, keepdims=True)  # [1, d]
        sub = d_normalise - d_normalise.mean(axis=0, keepdims=True)  # [n, d]
        d_x = (sub - normal_ * mean_2) / deviation  # [n, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x

    def forward_eval_saved(self, x):
        """As forward_eval, and what its gradient needs."""
        sub = x - self.mean_  # [n, d]  normalisation.lee:92
        return self.gamma * sub / self.std_ + self.beta, sub

    def forward_eval_backward(self, sub, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * (x - mean_) / std_ + beta   normalisation.lee:92
        d_beta = d_y.sum(axis=0)  # [d]
        d_mul = d_y / self.std_  # [n, d]
        d_x = d_mul * self.gamma  # [n, d]
        d_gamma = (d_mul * sub).sum(axis=0)  # [d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class LayerNorm(Model):
    """Mean and variance over the dimensions of one example, with a scale and a shift for each."""

    members = ("gamma", "beta")

    def __init__(self, d, eps=1e-5):
        self.d, self.eps = d, eps
        self.gamma = np.ones(d, dtype=FLOAT)  # [d]  normalisation.lee:100
        self.beta = np.zeros(d, dtype=FLOAT)  # [d]  normalisation.lee:101
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        return self.gamma * standard(x, self.eps) + self.beta  # [rows, d]  normalisation.lee:104

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        div = standard(x, self.eps)  # [rows, d]  normalisation.lee:104
        return self.gamma * div + self.beta, div

    def forward_backward(self, x, div, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * standard(x, eps) + beta   normalisation.lee:104
        d_beta = d_y.sum(axis=0)  # [d]
        d_gamma = (d_y * div).sum(axis=0)  # [d]
        d_x = standard_backward(x, self.eps, d_y * self.gamma)  # [rows, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class LayerNormAsPrinted(Model):
    """One set of notes says that layer normalisation has no scale and no shift."""

    members = ()

    def __init__(self, d, eps=1e-5):
        self.d, self.eps = d, eps
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        return standard(x, self.eps)  # [rows, d]  normalisation.lee:110

    def forward_backward(self, x, d_y):
        """From d_y to the gradient by x."""
        # gradient of return standard(x, eps)   normalisation.lee:110
        d_x = standard_backward(x, self.eps, d_y)  # [rows, d]
        return d_x  # [rows, d]


def standard(x, eps):
    """Rows of mean 0 and variance 1.

    x [n, d] -> [n, d]
    """
    centred = x - x.mean(axis=1, keepdims=True)  # [n, d]  normalisation.lee:117
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)  # [n, 1]
    return centred / deviation  # [n, d]


def standard_backward(x, eps, d_y):
    """From d_y to the gradient by x."""
    # gradient of return (x - mu) / sqrt(variance + eps)   normalisation.lee:117
    centred = x - x.mean(axis=1, keepdims=True)  # [n, d]
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)  # [n, 1]
    normal_ = centred / deviation  # [n, d]
    mul_3 = normal_ * (d_y * normal_).mean(axis=1, keepdims=True)  # [n, d]
    d_x = (d_y - d_y.mean(axis=1, keepdims=True) - mul_3) / deviation  # [n, d]
    return d_x  # [n, d]


class InstanceNorm(Model):
    """Every channel of every example over its positions."""

    members = ()

    def __init__(self, channels, eps=1e-5):
        self.channels, self.eps = channels, eps
        self.lay_out()

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        rows = x.reshape(self.channels * n, h * w)  # [channels * n, h * w]  normalisation.lee:123
        return standard(rows, self.eps).reshape(n, self.channels, h, w)  # [n, channels, h, w]  normalisation.lee:124

    def forward_backward(self, x, d_y):
        """From d_y to the gradient by x."""
        n, _, h, w = x.shape
        # gradient of rows = reshape(x, [n * channels, h * w])   normalisation.lee:123
        rows = x.reshape(self.channels * n, h * w)  # [channels * n, h * w]
        # gradient of return reshape(standard(rows, eps), [n, channels, h, w])   normalisation.lee:124
        d_rows = standard_backward(rows, self.eps, d_y.reshape(self.channels * n, h * w))  # [channels * n, h * w]
        # gradient of rows = reshape(x, [n * channels, h * w])   normalisation.lee:123
        d_x = d_rows.reshape(n, self.channels, h, w)  # [n, channels, h, w]
        return d_x  # [n, channels, h, w]


class GroupNorm(Model):
    """Every group of channels of every example, over the group and its positions."""

    members = ("gamma", "beta")

    def __init__(self, groups, channels, eps=1e-5):
        self.groups, self.channels, self.eps = groups, channels, eps
        if channels % groups != 0:
            raise ValueError(
                f"normalisation.lee:129: channels % groups == 0 must hold: channels = {channels}, groups = {groups}"
            )
        self.gamma = np.ones(channels, dtype=FLOAT)  # [channels]  normalisation.lee:130
        self.beta = np.zeros(channels, dtype=FLOAT)  # [channels]  normalisation.lee:131
        self.lay_out()

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        # [groups * n, (channels // groups) * h * w]  normalisation.lee:134
        rows = x.reshape(self.groups * n, self.channels // self.groups * h * w)
        z = standard(rows, self.eps).reshape(n, self.channels, h, w)  # [n, channels, h, w]  normalisation.lee:135
        return self.gamma[:, None, None] * z + self.beta[:, None, None]  # [n, channels, h, w]  normalisation.lee:136

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        # [groups * n, (channels // groups) * h * w]  normalisation.lee:134
        rows = x.reshape(self.groups * n, self.channels // self.groups * h * w)
        z = standard(rows, self.eps).reshape(n, self.channels, h, w)  # [n, channels, h, w]  normalisation.lee:135
        return self.gamma[:, None, None] * z + self.beta[:, None, None], z  # normalisation.lee:136

    def forward_backward(self, x, z, d_y):
        """From d_y to the gradients by the parameters and x."""
        n, _, h, w = x.shape
        # gradient of rows = reshape(x, [n * groups, channels // groups * h * w])   normalisation.lee:134
        # [groups * n, (channels // groups) * h * w]
        rows = x.reshape(self.groups * n, self.channels // self.groups * h * w)
        # gradient of return gamma[:, None, None] * z + beta[:, None, None]   normalisation.lee:136
        d_beta = d_y.sum(axis=0).sum(axis=(1, 2))  # [channels]
        d_z = d_y * self.gamma[:, None, None]  # [n, channels, h, w]
        d_gamma = (d_y * z).sum(axis=0).sum(axis=(1, 2))  # [channels]
        # gradient of z = reshape(standard(rows, eps), [n, channels, h, w])   normalisation.lee:135
        # [groups * n, (channels // groups) * h * w]
        d_div = d_z.reshape(self.groups * n, self.channels // self.groups * h * w)
        d_rows = standard_backward(rows, self.eps, d_div)  # [groups * n, (channels // groups) * h * w]
        # gradient of rows = reshape(x, [n * groups, channels // groups * h * w])   normalisation.lee:134
        d_x = d_rows.reshape(n, self.channels, h, w)  # [n, channels, h, w]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


class WeightNorm(Model):
    """w = g v / ‖v‖ for each output: length and direction are learned apart (Salimans & Kingma 2016)."""

    members = ("v", "g", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["v"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  normalisation.lee:144
        self.v = 1 / math.sqrt(inputs) * normal_  # [inputs, outputs]
        self.g = np.ones(outputs, dtype=FLOAT)  # [outputs]  normalisation.lee:145
        self.b = np.zeros(outputs, dtype=FLOAT)  # [outputs]  normalisation.lee:146
        self.lay_out()

    def forward(self, x):
        """x [n, inputs] -> [n, outputs]"""
        return x @ (self.g * self.v / norm(self.v)) + self.b  # [n, outputs]  normalisation.lee:149

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        sqrt, saved_norm = norm_saved(self.v)  # normalisation.lee:149
        div = self.g * self.v / sqrt  # [inputs, outputs]
        return x @ div + self.b, (sqrt, saved_norm, div)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        sqrt, saved_norm, div = saved
        # gradient of return x @ (g * v / norm(v, axis = 0)) + b   normalisation.lee:149
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ div.T  # [n, inputs]
        d_div = x.T @ d_y  # [inputs, outputs]
        d_mul = d_div / sqrt  # [inputs, outputs]
        d_v_2 = norm_backward(self.v, saved_norm, sqrt, -(d_div * div / sqrt).sum(axis=0))  # [inputs, outputs]
        d_g = (d_mul * self.v).sum(axis=0)  # [outputs]
        d_v = d_v_2 + d_mul * self.g  # [inputs, outputs]
        return {"v": d_v, "g": d_g, "b": d_b}, d_x


def largest_singular(w, steps):
    """σ_max(w), by power iteration; its gradient is that of uᵀ w v.

    w [r, c] -> []
    """
    r = w.shape[0]
    u = unit(np.ones(r, dtype=FLOAT))  # [r]  normalisation.lee:154
    v = unit(u @ w)  # [c]  normalisation.lee:155
    u_ = u  # normalisation.lee:156
    for s in range(steps):
        u_, v = largest_singular_step(u_, v, w)
    return stop(u_) @ w @ stop(v)  # normalisation.lee:159


def largest_singular_saved(w, steps):
    """As largest_singular, and what its gradient needs."""
    r = w.shape[0]
    u = unit(np.ones(r, dtype=FLOAT))  # [r]  normalisation.lee:154
    v = unit(u @ w)  # [c]  normalisation.lee:155
    u_ = u  # normalisation.lee:156
    for s in range(steps):
        u_, v = largest_singular_step(u_, v, w)
    graft = stop(u_)  # [r]  normalisation.lee:159
    graft_2 = stop(v)  # [c]
    return graft @ w @ graft_2, (graft, graft_2)


def largest_singular_backward(saved, d_y):
    """From d_y to the gradient by w."""
    graft, graft_2 = saved
    # gradient of return stop(u) @ w @ stop(v)   normalisation.lee:159
    d_w = graft[:, None] * (d_y * graft_2)  # [r, c]
    return d_w  # [r, c]


def largest_singular_step(u, v, w):
    """u [r], v [c], w [r, c] -> [r], [c]"""
    u_3 = unit(w @ v)  # [r]  normalisation.lee:157
    v_3 = unit(u_3 @ w)  # [c]  normalisation.lee:158
    return u_3, v_3


def unit(x):
    """x at length 1.

    x [n] -> [n]
    """
    return x / norm_2(x)  # [n]  normalisation.lee:164


def spectral(w, x, y, strength=0.1):
    """The cited paper adds λ/2 σ_max(W)² to the loss (Yoshida & Miyato 2017).

    w [d, k], x [n, d], y [n, k] -> []
    """
    sub = x @ w - y  # [n, k]  normalisation.lee:169
    contract_5 = largest_singular(w, 60)
    return (sub**2).mean() + strength / 2 * contract_5**2


def spectral_saved(w, x, y, strength=0.1):
    """As spectral, and what its gradient needs."""
    sub = x @ w - y  # [n, k]  normalisation.lee:169
    contract_5, saved_largest_singular = largest_singular_saved(w, 60)
    return (sub**2).mean() + strength / 2 * contract_5**2, (sub, contract_5, saved_largest_singular)


def spectral_backward(w, x, strength, saved, d_out):
    """From d_out to the gradients by w, x and y."""
    sub, contract_5, saved_largest_singular = saved
    k = w.shape[1]
    n = x.shape[0]
    # gradient of return mean((x @ w - y) ** 2) + strength / 2 * largest_singular(w, 60) ** 2   normalisation.lee:169
    d_contract_5 = 2 * (d_out * (strength / 2) * contract_5)
    d_w_2 = largest_singular_backward(saved_largest_singular, d_contract_5)  # [d, k]
    d_sub = 2 * (d_out / (k * n)) * sub  # [n, k]
    d_y = -d_sub  # [n, k]
    d_x = d_sub @ w.T  # [n, d]
    d_w = d_w_2 + x.T @ d_sub  # [d, k]
    return d_w, d_x, d_y


def spectralAsPrinted(w, x, y, strength=0.1):
    """What the printed name means elsewhere: W / σ_max(W) takes the place of W, and nothing is added.

    w [d, k], x [n, d], y [n, k] -> []
    """
    sub = x @ w / largest_singular(w, 60) - y  # [n, k]  normalisation.lee:174
    return (sub**2).mean()


def spectralAsPrinted_saved(w, x, y, strength=0.1):
    """As spectralAsPrinted, and what its gradient needs."""
    contract_5, saved_largest_singular = largest_singular_saved(w, 60)  # normalisation.lee:174
    div = x @ w / contract_5  # [n, k]
    sub = div - y  # [n, k]
    return (sub**2).mean(), (contract_5, saved_largest_singular, div, sub)


def spectralAsPrinted_backward(w, x, saved, d_out):
    """From d_out to the gradients by w, x and y."""
    contract_5, saved_largest_singular, div, sub = saved
    k = w.shape[1]
    n = x.shape[0]
    # gradient of return mean((x @ w / largest_singular(w, 60) - y) ** 2)   normalisation.lee:174
    d_sub = 2 * (d_out / (k * n)) * sub  # [n, k]
    d_y = -d_sub  # [n, k]
    d_contract = d_sub / contract_5  # [n, k]
    d_contract_5 = -(d_sub * div / contract_5).sum()
    d_w_2 = largest_singular_backward(saved_largest_singular, d_contract_5)  # [d, k]
    d_x = d_contract @ w.T  # [n, d]
    d_w = d_w_2 + x.T @ d_contract  # [d, k]
    return d_w, d_x, d_y


class Network(Model):
    """Two normalised layers of σ, which otherwise would hardly learn at such a rate."""

    members = ("first", "second", "last")

    def __init__(self, hidden, *, key=(0, 0)):
        self.hidden = hidden
        self.first = Normalised(64, hidden, key=fold(key, SITES["first"]))  # normalisation.lee:179
        self.second = Normalised(hidden, hidden, key=fold(key, SITES["second"]))  # normalisation.lee:180
        self.last = Linear(hidden, 10, key=fold(key, SITES["last"]))  # normalisation.lee:181
        self.lay_out()

    def forward(self, x, training=False):
        """x [n, 64] -> [n, 10]"""
        if training:
            return self.forward_training(x)
        return self.last(self.second(self.first(x)))  # [n, 10]  normalisation.lee:184

    def forward_training(self, x):
        """x [n, 64] -> [n, 10]"""
        first_out = self.first(x, training=True)  # [n, hidden]  normalisation.lee:184
        second_out = self.second(first_out, training=True)  # [n, hidden]
        return self.last(second_out)  # [n, 10]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        first_out, saved_first = self.first.forward_saved(x)  # normalisation.lee:184
        second_out, saved_second = self.second.forward_saved(first_out)
        return self.last(second_out), (first_out, saved_first, second_out, saved_second)

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        first_out, saved_first, second_out, saved_second = saved
        # gradient of return last(second(first(x)))   normalisation.lee:184
        d_last, d_second_out = self.last.forward_backward(second_out, d_y)
        d_second, d_first_out = self.second.forward_backward(first_out, saved_second, second_out, d_second_out)
        d_first = self.first.forward_backward_parameters(x, saved_first, first_out, d_first_out)
        return {"first": d_first, "second": d_second, "last": d_last}


def fit(epochs=8, batch=64, rate=0.5, *, run=None):
    """Digits; the running averages serve in the test."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Network(hidden=32, key=run.key("net"))  # normalisation.lee:190
    opt = SGD(lr=rate)  # normalisation.lee:191
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x, y))  # normalisation.lee:194
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # normalisation.lee:195
    return net


def fit_step(net, opt, x, y):
    """One step of fit."""
    add, saved_net = net.forward_saved(x)  # normalisation.lee:194
    d_add = cross_entropy_backward(add, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add, y)


def example_batch(key):
    z = 1 + 0.1 * normal(fold(key, SITES["z"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:200
    gamma = 1 + normal(fold(key, SITES["gamma"]), (5,), FLOAT)  # [5]  normalisation.lee:201
    beta = normal(fold(key, SITES["beta"]), (5,), FLOAT)  # [5]  normalisation.lee:202
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:203
    d_c, saved_batch_norm = batch_norm_saved(z, gamma, beta)  # normalisation.lee:204
    d_z, d_gamma, d_beta = batch_norm_backward(z, gamma, 1e-5, saved_batch_norm, c)
    return (c * d_c).sum(), d_z, d_gamma, d_beta, d_c


def example_batch_as_printed(key):
    z = 1 + 0.1 * normal(fold(key, SITES["z"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:208
    gamma = 1 + normal(fold(key, SITES["gamma"]), (5,), FLOAT)  # [5]  normalisation.lee:209
    beta = normal(fold(key, SITES["beta"]), (5,), FLOAT)  # [5]  normalisation.lee:210
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:211
    d_c, saved_batch_normAsPrinted = batch_normAsPrinted_saved(z, gamma, beta)  # normalisation.lee:212
    d_z, d_gamma, d_beta = batch_normAsPrinted_backward(z, gamma, 1e-5, saved_batch_normAsPrinted, c)
    return (c * d_c).sum(), d_z, d_gamma, d_beta, d_c


def example_running(key):
    net = BatchNorm(5)  # normalisation.lee:216
    a = 1 + 0.1 * normal(fold(key, SITES["a"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:217
    b = 2 + 0.2 * normal(fold(key, SITES["b"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:218
    c = normal(fold(key, SITES["c"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:219
    net_out, saved_net = net.forward_saved(a)  # normalisation.lee:220
    mul_3 = net_out**2  # [8, 5]
    first = (mul_3 * net_out).sum()
    net_out_2, saved_net_ = net.forward_saved(b)  # normalisation.lee:221
    mul_5 = net_out_2**2  # [6, 5]
    second = (mul_5 * net_out_2).sum()
    net_out_3, saved_net_2 = net.forward_eval_saved(b)  # normalisation.lee:222
    d_c = net_out_3**2  # [6, 5]
    d_net, d_b_2 = net.forward_eval_backward(saved_net_2, 2 * (c * net_out_3))
    d_net_, d_b_3 = net.forward_backward(b, saved_net_, 2 * mul_5 + mul_5)  # normalisation.lee:221
    d_net_2, d_a = net.forward_backward(a, saved_net, 2 * mul_3 + mul_3)  # normalisation.lee:220
    return (
        first + second + (c * d_c).sum(),
        net.at(
            {
                "gamma": d_net["gamma"] + d_net_["gamma"] + d_net_2["gamma"],
                "beta": d_net["beta"] + d_net_["beta"] + d_net_2["beta"],
            }
        ),
        d_a,
        d_b_2 + d_b_3,
        d_c,
    )


def example_running_as_printed(key):
    net = BatchNormAsPrinted(5)  # normalisation.lee:226
    a = 1 + 0.1 * normal(fold(key, SITES["a"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:227
    b = 2 + 0.2 * normal(fold(key, SITES["b"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:228
    c = normal(fold(key, SITES["c"]), (6, 5), FLOAT)  # [6, 5]  normalisation.lee:229
    net_out, saved_net = net.forward_saved(a)  # normalisation.lee:230
    mul_3 = net_out**2  # [8, 5]
    first = (mul_3 * net_out).sum()
    net_out_2, saved_net_ = net.forward_saved(b)  # normalisation.lee:231
    mul_5 = net_out_2**2  # [6, 5]
    second = (mul_5 * net_out_2).sum()
    net_out_3, saved_net_2 = net.forward_eval_saved(b)  # normalisation.lee:232
    d_c = net_out_3**2  # [6, 5]
    d_net, d_b_2 = net.forward_eval_backward(saved_net_2, 2 * (c * net_out_3))
    d_net_, d_b_3 = net.forward_backward(b, saved_net_, 2 * mul_5 + mul_5)  # normalisation.lee:231
    d_net_2, d_a = net.forward_backward(a, saved_net, 2 * mul_3 + mul_3)  # normalisation.lee:230
    return (
        first + second + (c * d_c).sum(),
        net.at(
            {
                "gamma": d_net["gamma"] + d_net_["gamma"] + d_net_2["gamma"],
                "beta": d_net["beta"] + d_net_["beta"] + d_net_2["beta"],
            }
        ),
        d_a,
        d_b_2 + d_b_3,
        d_c,
    )


def example_before_activation(key):
    net = Normalised(4, 5, key=fold(key, SITES["net"]))  # normalisation.lee:236
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:237
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:238
    d_c, saved_net = net.copy().forward_saved(x)  # normalisation.lee:239
    d_net, d_x = net.forward_backward(x, saved_net, d_c, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_after_activation(key):
    net = Normalised_2(4, 5, key=fold(key, SITES["net"]))  # normalisation.lee:243
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:244
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:245
    d_c, saved_net = net.copy().forward_saved(x)  # normalisation.lee:246
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_renormalised(key):
    net = BatchRenorm(5)  # normalisation.lee:250
    a = 1 + 0.1 * normal(fold(key, SITES["a"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:251
    b = 7 + 5 * normal(fold(key, SITES["b"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:252
    c = normal(fold(key, SITES["c"]), (8, 5), FLOAT)  # [8, 5]  normalisation.lee:253
    net_out, saved_net = net.forward_saved(a)  # normalisation.lee:254
    first = (c * net_out).sum()
    net_out_2, saved_net_ = net.forward_saved(b)  # normalisation.lee:255
    second = (c * net_out_2).sum()
    net_out_3, saved_net_2 = net.forward_eval_saved(a)  # normalisation.lee:256
    d_net, d_a_2 = net.forward_eval_backward(saved_net_2, c)
    d_net_, d_b = net.forward_backward(b, saved_net_, c)  # normalisation.lee:255
    d_net_2, d_a_3 = net.forward_backward(a, saved_net, c)  # normalisation.lee:254
    return (
        first + second + (c * net_out_3).sum(),
        net.at(
            {
                "gamma": d_net["gamma"] + d_net_["gamma"] + d_net_2["gamma"],
                "beta": d_net["beta"] + d_net_["beta"] + d_net_2["beta"],
            }
        ),
        d_a_2 + d_a_3,
        d_b,
        net_out_3 + net_out_2 + net_out,
    )


def example_layer(key):
    net = LayerNorm(5)  # normalisation.lee:260
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:261
    c = normal(fold(key, SITES["c"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:262
    x_flat = x.reshape(6, 5)  # [6, 5]  normalisation.lee:263
    net_out, saved_net = net.forward_saved(x_flat)
    d_c = net_out.reshape(2, 3, 5)  # [2, 3, 5]
    d_net, d_x_flat = net.forward_backward(x_flat, saved_net, c.reshape(6, 5))
    return (c * d_c).sum(), net.at(d_net), d_x_flat.reshape(2, 3, 5), d_c


def example_layer_as_printed(key):
    net = LayerNormAsPrinted(5)  # normalisation.lee:267
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:268
    c = normal(fold(key, SITES["c"]), (2, 3, 5), FLOAT)  # [2, 3, 5]  normalisation.lee:269
    x_flat = x.reshape(6, 5)  # [6, 5]  normalisation.lee:270
    d_c = net(x_flat).reshape(2, 3, 5)  # [2, 3, 5]
    d_x_flat = net.forward_backward(x_flat, c.reshape(6, 5))  # [6, 5]
    return (c * d_c).sum(), d_x_flat.reshape(2, 3, 5), d_c


def example_instance(key):
    net = InstanceNorm(3)  # normalisation.lee:274
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  normalisation.lee:275
    c = normal(fold(key, SITES["c"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  normalisation.lee:276
    d_c = net(x)  # [2, 3, 4, 5]  normalisation.lee:277
    return (c * d_c).sum(), net.forward_backward(x, c), d_c


def example_group(key):
    net = GroupNorm(2, 6)  # normalisation.lee:281
    x = 1 + 0.1 * normal(fold(key, SITES["x"]), (2, 6, 4, 5), FLOAT)  # [2, 6, 4, 5]  normalisation.lee:282
    c = normal(fold(key, SITES["c"]), (2, 6, 4, 5), FLOAT)  # [2, 6, 4, 5]  normalisation.lee:283
    d_c, saved_net = net.forward_saved(x)  # normalisation.lee:284
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_weight(key):
    net = WeightNorm(4, 5, key=fold(key, SITES["net"]))  # normalisation.lee:288
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:289
    net_out, saved_net = net.forward_saved(x)  # normalisation.lee:290
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_spectrum(key):
    w = normal(fold(key, SITES["w"]), (4, 3), FLOAT)  # [4, 3]  normalisation.lee:294
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:295
    y = normal(fold(key, SITES["y"]), (8, 3), FLOAT)  # [8, 3]  normalisation.lee:296
    value, saved_spectral = spectral_saved(w, x, y)  # normalisation.lee:297
    d_w, d_x, d_y = spectral_backward(w, x, 0.1, saved_spectral, FLOAT(1.0))
    return value, d_w, d_x, d_y


def example_spectrum_as_printed(key):
    w = normal(fold(key, SITES["w"]), (4, 3), FLOAT)  # [4, 3]  normalisation.lee:301
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  normalisation.lee:302
    y = normal(fold(key, SITES["y"]), (8, 3), FLOAT)  # [8, 3]  normalisation.lee:303
    value, saved_spectralAsPrinted = spectralAsPrinted_saved(w, x, y)  # normalisation.lee:304
    d_w, d_x, d_y = spectralAsPrinted_backward(w, x, saved_spectralAsPrinted, FLOAT(1.0))
    return value, d_w, d_x, d_y


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(axis=1) == y).astype(FLOAT).mean()  # metrics.lee:9


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


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x  # [x_0]


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return np.minimum(np.maximum(x, low), high)  # [x_0]  prelude.lee:153


def clip_2(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return np.minimum(np.maximum(x, low), high)  # [x_0]  prelude.lee:153


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_1]
    """
    return np.sqrt((x**2).sum(axis=0))  # [x_1]  prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(axis=0)  # [x_1]  prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_y * 0.5 / np.where(sum_ > 0, sqrt, np.inf) * x)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "beta": 0xAE2E3FAC884C4C13,
    "c": 0x1B2C07CD64633F37,
    "first": 0xA31DFC4F51C2A8A2,
    "gamma": 0xF588132ED85947F8,
    "last": 0x840C26AC856B94B1,
    "net": 0xF087C76970C91612,
    "second": 0xF4C52D43B87F6485,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
}


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isneginf(top), 0, top)
    total = np.exp(shifted).sum(axis=axes, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


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
