"""How large gradients are, and where they vanish, burst or are followed (inventory S6, S8, S10, S11, S15).

Made from specs/analysis/gradients.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/analysis/gradients.lee
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


def slope_of_mse(z, target):
    """(σ(z) - y)² hardly slopes where σ is flat, also far from the target.

    z [n], target [n] -> [n]
    """
    sigmoid_z = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [n]  prelude.lee:36
    return 2 * (sigmoid_z - target) * (sigmoid_z * (1 - sigmoid_z))  # [n]


def slope_of_mse_saved(z, target):
    """As slope_of_mse, and what its gradient needs."""
    sigmoid_z = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [n]  prelude.lee:36
    d_sub = 2 * (sigmoid_z - target)  # [n]  gradients.lee:15
    sub_2 = 1 - sigmoid_z  # [n]  prelude.lee:36
    mul_2 = sigmoid_z * sub_2  # [n]
    return d_sub * mul_2, (sigmoid_z, d_sub, sub_2, mul_2)


def slope_of_mse_backward(saved, d_y):
    """From d_sub and d_y to the gradients by z and target."""
    sigmoid_z, d_sub, sub_2, mul_2 = saved
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_d_sub = d_y * mul_2  # [n]
    d_mul_2 = d_y * d_sub  # [n]
    # gradient of return grad(sum((sigmoid(z) - target) ** 2), z)   gradients.lee:15
    d_target = -2 * d_d_sub  # [n]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_sigmoid_z = d_mul_2 * sub_2 - d_mul_2 * sigmoid_z + 2 * d_d_sub  # [n]
    d_z = d_sigmoid_z * (sigmoid_z * (1 - sigmoid_z))  # [n]
    return d_z, d_target


def slope_of_cross_entropy(z, target):
    """-y ln σ(z) - (1 - y) ln (1 - σ(z)) slopes by σ(z) - y, the more the farther.

    z [n], target [n] -> [n]
    """
    sigmoid = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [n]  gradients.lee:20
    sigmoid_2 = np.exp(np.minimum(-z, 0)) / (1 + np.exp(-np.abs(-z)))  # [n]
    return -(sigmoid_2 * target + (target - 1) * sigmoid)  # [n]  prelude.lee:36


def slope_of_cross_entropy_saved(z, target):
    """As slope_of_cross_entropy, and what its gradient needs."""
    n = z.shape[0]
    d_log_sigmoid_2 = target - 1  # [n]  gradients.lee:20
    sigmoid = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [n]
    sigmoid_2 = np.exp(np.minimum(-z, 0)) / (1 + np.exp(-np.abs(-z)))  # [n]
    saved = np.full(n, -1.0, dtype=FLOAT), d_log_sigmoid_2, sigmoid, -target, sigmoid_2
    return -target * sigmoid_2 - d_log_sigmoid_2 * sigmoid, saved  # prelude.lee:36


def slope_of_cross_entropy_backward(saved, d_y):
    """From d_add, d_log_sigmoid_2, d_log_sigmoid_z and d_y to the gradients by z and target."""
    d_add, d_log_sigmoid_2, sigmoid, d_log_sigmoid_z, sigmoid_2 = saved
    # gradient of return grad(-sum(target * log(sigmoid(z)) + (1 - target) * log(1 - sigmoid(z)..   gradients.lee:20
    d_neg_3 = d_y * d_log_sigmoid_z * (sigmoid_2 * (1 - sigmoid_2))  # [n]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_z = -d_y * d_log_sigmoid_2 * (sigmoid * (1 - sigmoid)) - d_neg_3  # [n]
    d_target = d_y * sigmoid_2 * d_add - -d_y * sigmoid * d_add  # [n]
    return d_z, d_target


class Deep_2(Model):
    """Layers of equal width, with σ or ReLU between them."""

    members = ("weights",)

    def __init__(self, width, *, key=(0, 0)):
        self.width = width
        # gradients.lee:28
        self.weights = [
            Weight(width, key=fold(key, SITES["weights.0"])),
            Weight(width, key=fold(key, SITES["weights.1"])),
            Weight(width, key=fold(key, SITES["weights.2"])),
            Weight(width, key=fold(key, SITES["weights.3"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [n, width] -> [n, width]"""
        contract = self.weights[0](x)  # [n, width]  gradients.lee:32
        x_2 = np.exp(np.minimum(contract, 0)) / (1 + np.exp(-np.abs(contract)))  # [n, width]  prelude.lee:36
        contract_2 = self.weights[1](x_2)  # [n, width]  gradients.lee:32
        x_3 = np.exp(np.minimum(contract_2, 0)) / (1 + np.exp(-np.abs(contract_2)))  # [n, width]  prelude.lee:36
        contract_3 = self.weights[2](x_3)  # [n, width]  gradients.lee:32
        x_4 = np.exp(np.minimum(contract_3, 0)) / (1 + np.exp(-np.abs(contract_3)))  # [n, width]  prelude.lee:36
        contract_4 = self.weights[3](x_4)  # [n, width]  gradients.lee:32
        x_5 = np.exp(np.minimum(contract_4, 0)) / (1 + np.exp(-np.abs(contract_4)))  # [n, width]  prelude.lee:36
        return x_5  # [n, width]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = self.weights[0](x)  # [n, width]  gradients.lee:32
        x_2 = np.exp(np.minimum(contract, 0)) / (1 + np.exp(-np.abs(contract)))  # [n, width]  prelude.lee:36
        contract_2 = self.weights[1](x_2)  # [n, width]  gradients.lee:32
        x_3 = np.exp(np.minimum(contract_2, 0)) / (1 + np.exp(-np.abs(contract_2)))  # [n, width]  prelude.lee:36
        contract_3 = self.weights[2](x_3)  # [n, width]  gradients.lee:32
        x_4 = np.exp(np.minimum(contract_3, 0)) / (1 + np.exp(-np.abs(contract_3)))  # [n, width]  prelude.lee:36
        contract_4 = self.weights[3](x_4)  # [n, width]  gradients.lee:32
        x_5 = np.exp(np.minimum(contract_4, 0)) / (1 + np.exp(-np.abs(contract_4)))  # [n, width]  prelude.lee:36
        return x_5, (x_2, x_3, x_4)

    def forward_backward_parameters_saved(self, x, saved, x_5, d_x_5):
        """From d_x_5 to the gradients by the parameters, contract_4, x_4, contract_3, x_3, contract_2, x_2 and contract."""
        x_2, x_3, x_4 = saved
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub = 1 - x_5  # [n, width]
        mul = x_5 * sub  # [n, width]
        d_contract_4 = d_x_5 * mul  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4 = self.weights[3].forward_backward(x_4, d_contract_4)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub_2 = 1 - x_4  # [n, width]
        mul_2 = x_4 * sub_2  # [n, width]
        d_contract_3 = d_x_4 * mul_2  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_2_, d_x_3 = self.weights[2].forward_backward(x_3, d_contract_3)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub_3 = 1 - x_3  # [n, width]
        mul_3 = x_3 * sub_3  # [n, width]
        d_contract_2 = d_x_3 * mul_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_1_, d_x_2 = self.weights[1].forward_backward(x_2, d_contract_2)
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sub_4 = 1 - x_2  # [n, width]
        mul_4 = x_2 * sub_4  # [n, width]
        d_contract = d_x_2 * mul_4  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_0 = Weight.forward_backward_parameters(x, d_contract)
        saved = (
            sub,
            mul,
            d_contract_4,
            d_x_4,
            sub_2,
            mul_2,
            d_contract_3,
            d_x_3,
            sub_3,
            mul_3,
            d_contract_2,
            d_x_2,
            sub_4,
            mul_4,
            d_contract,
        )
        return {
            "weights.0": d_weights_0,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, saved

    def forward_backward_parameters_backward(self, x, x_2, x_3, x_4, x_5, d_x_5, saved, d_d_self):
        """From d_x_5, d_contract_4, d_x_4, d_contract_3, d_x_3, d_contract_2, d_x_2, d_contract and d_d_self to the gradients by the parameters, x, x_2, x_3, x_4, x_5 and d_x_5."""
        sub, mul, d_contract_4, d_x_4, sub_2, mul_2, d_contract_3, d_x_3, sub_3, mul_3, d_contract_2, d_x_2, sub_4, mul_4, d_contract = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_x, d_d_contract = Weight.forward_backward_parameters_backward(x, d_contract, d_d_self["weights.0"])
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_2 = d_d_contract * mul_4  # [n, width]
        d_mul_4 = d_d_contract * d_x_2  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_1_, d_x_2_5, d_d_contract_2 = self.weights[1].forward_backward_backward(
            x_2, d_contract_2, d_d_self["weights.1"], d_d_x_2
        )
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_3 = d_d_contract_2 * mul_3  # [n, width]
        d_mul_3 = d_d_contract_2 * d_x_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_2_, d_x_3_5, d_d_contract_3 = self.weights[2].forward_backward_backward(
            x_3, d_contract_3, d_d_self["weights.2"], d_d_x_3
        )
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_4 = d_d_contract_3 * mul_2  # [n, width]
        d_mul_2 = d_d_contract_3 * d_x_4  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4_5, d_d_contract_4 = self.weights[3].forward_backward_backward(
            x_4, d_contract_4, d_d_self["weights.3"], d_d_x_4
        )
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_d_x_5 = d_d_contract_4 * mul  # [n, width]
        d_mul = d_d_contract_4 * d_x_5  # [n, width]
        d_x_2_2 = d_mul_4 * sub_4 - d_mul_4 * x_2 + d_x_2_5  # [n, width]
        d_x_3_2 = d_mul_3 * sub_3 - d_mul_3 * x_3 + d_x_3_5  # [n, width]
        d_x_4_2 = d_mul_2 * sub_2 - d_mul_2 * x_4 + d_x_4_5  # [n, width]
        d_x_5_2 = d_mul * sub - d_mul * x_5  # [n, width]
        return (
            {"weights.1": d_weights_1_, "weights.2": d_weights_2_, "weights.3": d_weights_3_},
            d_x,
            d_x_2_2,
            d_x_3_2,
            d_x_4_2,
            d_x_5_2,
            d_d_x_5,
        )

    def forward_saved_backward(self, x, saved, x_5, d_x_5, d_x_2, d_x_3, d_x_4):
        """From d_x_5, d_x_2, d_x_3 and d_x_4 to the gradients by the parameters and x."""
        x_2, x_3, x_4 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4_3 = self.weights[3].forward_backward(x_4, d_x_5 * (x_5 * (1 - x_5)))
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_x_4_2 = d_x_4 + d_x_4_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_2_, d_x_3_3 = self.weights[2].forward_backward(x_3, d_x_4_2 * (x_4 * (1 - x_4)))
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_x_3_2 = d_x_3 + d_x_3_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_1_, d_x_2_3 = self.weights[1].forward_backward(x_2, d_x_3_2 * (x_3 * (1 - x_3)))
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_x_2_2 = d_x_2 + d_x_2_3  # [n, width]
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_0_, d_x = self.weights[0].forward_backward(x, d_x_2_2 * (x_2 * (1 - x_2)))
        return {
            "weights.0": d_weights_0_,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, d_x


class Deep_3(Model):
    """Layers of equal width, with σ or ReLU between them."""

    members = ("weights",)

    def __init__(self, width, *, key=(0, 0)):
        self.width = width
        # gradients.lee:28
        self.weights = [
            Weight(width, key=fold(key, SITES["weights.0"])),
            Weight(width, key=fold(key, SITES["weights.1"])),
            Weight(width, key=fold(key, SITES["weights.2"])),
            Weight(width, key=fold(key, SITES["weights.3"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [n, width] -> [n, width]"""
        x_2 = relu(self.weights[0](x))  # [n, width]  gradients.lee:32
        x_3 = relu(self.weights[1](x_2))  # [n, width]
        x_4 = relu(self.weights[2](x_3))  # [n, width]
        x_5 = relu(self.weights[3](x_4))  # [n, width]
        return x_5  # [n, width]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.weights[0](x))  # [n, width]  gradients.lee:32
        x_3 = relu(self.weights[1](x_2))  # [n, width]
        x_4 = relu(self.weights[2](x_3))  # [n, width]
        x_5 = relu(self.weights[3](x_4))  # [n, width]
        return x_5, (x_2, x_3, x_4)

    def forward_backward_parameters_saved(self, x, saved, x_5, d_x_5):
        """From d_x_5 to the gradients by the parameters, contract_4, contract_3, contract_2 and contract."""
        x_2, x_3, x_4 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_contract_4, saved_relu_backward = relu_backward_saved(x_5, d_x_5)
        d_weights_3_, d_x_4 = self.weights[3].forward_backward(x_4, d_contract_4)
        d_contract_3, saved_relu_backward_ = relu_backward_saved(x_4, d_x_4)
        d_weights_2_, d_x_3 = self.weights[2].forward_backward(x_3, d_contract_3)
        d_contract_2, saved_relu_backward_2 = relu_backward_saved(x_3, d_x_3)
        d_weights_1_, d_x_2 = self.weights[1].forward_backward(x_2, d_contract_2)
        d_contract, saved_relu_backward_3 = relu_backward_saved(x_2, d_x_2)
        d_weights_0 = Weight.forward_backward_parameters(x, d_contract)
        saved = (
            d_contract_4,
            saved_relu_backward,
            d_contract_3,
            saved_relu_backward_,
            d_contract_2,
            saved_relu_backward_2,
            d_contract,
            saved_relu_backward_3,
        )
        return {
            "weights.0": d_weights_0,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, saved

    def forward_backward_parameters_backward(self, x, x_2, x_3, x_4, saved, d_d_self):
        """From d_contract_4, d_contract_3, d_contract_2, d_contract and d_d_self to the gradients by the parameters, x, x_2, x_3, x_4 and d_x_5."""
        d_contract_4, saved_relu_backward, d_contract_3, saved_relu_backward_, d_contract_2, saved_relu_backward_2, d_contract, saved_relu_backward_3 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_x, d_d_contract = Weight.forward_backward_parameters_backward(x, d_contract, d_d_self["weights.0"])
        d_d_x_2 = relu_backward_backward(saved_relu_backward_3, d_d_contract)  # [n, width]
        d_weights_1_, d_x_2, d_d_contract_2 = self.weights[1].forward_backward_backward(
            x_2, d_contract_2, d_d_self["weights.1"], d_d_x_2
        )
        d_d_x_3 = relu_backward_backward(saved_relu_backward_2, d_d_contract_2)  # [n, width]
        d_weights_2_, d_x_3, d_d_contract_3 = self.weights[2].forward_backward_backward(
            x_3, d_contract_3, d_d_self["weights.2"], d_d_x_3
        )
        d_d_x_4 = relu_backward_backward(saved_relu_backward_, d_d_contract_3)  # [n, width]
        d_weights_3_, d_x_4, d_d_contract_4 = self.weights[3].forward_backward_backward(
            x_4, d_contract_4, d_d_self["weights.3"], d_d_x_4
        )
        d_d_x_5 = relu_backward_backward(saved_relu_backward, d_d_contract_4)  # [n, width]
        return (
            {"weights.1": d_weights_1_, "weights.2": d_weights_2_, "weights.3": d_weights_3_},
            d_x,
            d_x_2,
            d_x_3,
            d_x_4,
            d_d_x_5,
        )

    def forward_saved_backward(self, x, saved, x_5, d_x_5, d_x_2, d_x_3, d_x_4):
        """From d_x_5, d_x_2, d_x_3 and d_x_4 to the gradients by the parameters and x."""
        x_2, x_3, x_4 = saved
        # gradient of x = sigmoid(weight(x)) if saturating else relu(weight(x))   gradients.lee:32
        d_weights_3_, d_x_4_3 = self.weights[3].forward_backward(x_4, relu_backward(x_5, d_x_5))
        d_x_4_2 = d_x_4 + d_x_4_3  # [n, width]
        d_weights_2_, d_x_3_3 = self.weights[2].forward_backward(x_3, relu_backward(x_4, d_x_4_2))
        d_x_3_2 = d_x_3 + d_x_3_3  # [n, width]
        d_weights_1_, d_x_2_3 = self.weights[1].forward_backward(x_2, relu_backward(x_3, d_x_3_2))
        d_x_2_2 = d_x_2 + d_x_2_3  # [n, width]
        d_weights_0_, d_x = self.weights[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {
            "weights.0": d_weights_0_,
            "weights.1": d_weights_1_,
            "weights.2": d_weights_2_,
            "weights.3": d_weights_3_,
        }, d_x


class Weight(Model):
    """Weight(width)"""

    members = ("w",)

    def __init__(self, width, *, key=(0, 0)):
        self.width = width
        # [width, width]  gradients.lee:37
        self.w = math.sqrt(2 / width) * normal(fold(key, SITES["w"]), (width, width), FLOAT)
        self.lay_out()

    def forward(self, x):
        """x [n, width] -> [n, width]"""
        return x @ self.w  # [n, width]  gradients.lee:40

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w   gradients.lee:40
        d_x = d_y @ self.w.T  # [n, width]
        d_w = x.T @ d_y  # [width, width]
        return {"w": d_w}, d_x

    def forward_backward_backward(self, x, d_contract, d_d_self, d_d_x):
        """From d_contract, d_d_self and d_d_x to the gradients by the parameters, x and d_contract."""
        # gradient of return x @ w   gradients.lee:40
        d_x = d_contract @ d_d_self["w"].T  # [n, width]
        d_w = d_d_x.T @ d_contract  # [width, width]
        d_d_contract = x @ d_d_self["w"] + d_d_x @ self.w  # [n, width]
        return {"w": d_w}, d_x, d_d_contract

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w   gradients.lee:40
        d_w = x.T @ d_y  # [width, width]
        return {"w": d_w}  # [width, width]

    @staticmethod
    def forward_backward_parameters_backward(x, d_contract, d_d_self):
        """From d_contract and d_d_self to the gradients by x and d_contract."""
        # gradient of return x @ w   gradients.lee:40
        d_x = d_contract @ d_d_self["w"].T  # [n, width]
        d_d_contract = x @ d_d_self["w"]  # [n, width]
        return d_x, d_d_contract


def norms_by_layer_saved(net, x):
    """As norms_by_layer, and what its gradient needs."""
    n = x.shape[0]
    x_5, saved_net = net.forward_saved(x)  # gradients.lee:45
    d_x_5 = 2 / (n * net.width) * x_5  # [n, net.width]
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, x_5, d_x_5)
    sqrt, saved_norm = norm_saved(d_net["weights.0"]["w"])  # gradients.lee:48
    sqrt_2, saved_norm_ = norm_saved(d_net["weights.1"]["w"])
    sqrt_3, saved_norm_2 = norm_saved(d_net["weights.2"]["w"])
    sqrt_4, saved_norm_3 = norm_saved(d_net["weights.3"]["w"])
    saved = (
        x_5,
        saved_net,
        np.full((n, net.width), 1.0 / (n * net.width), dtype=FLOAT),
        d_x_5,
        d_net["weights.0"]["w"],
        d_net["weights.1"]["w"],
        d_net["weights.2"]["w"],
        d_net["weights.3"]["w"],
        saved_net_,
        sqrt,
        saved_norm,
        sqrt_2,
        saved_norm_,
        sqrt_3,
        saved_norm_2,
        sqrt_4,
        saved_norm_3,
    )
    return np.stack((sqrt, sqrt_2, sqrt_3, sqrt_4)), saved  # gradients.lee:49


def norms_by_layer_backward(net, x, saved, d_concat):
    """From d_mul, d_x_5, d_contract_4, d_x_4, d_contract_3, d_x_3, d_contract_2, d_x_2, d_contract and d_concat to the gradients by net and x."""
    x_5, saved_net, d_mul, d_x_5, slope_weights_0_w, slope_weights_1_w, slope_weights_2_w, slope_weights_3_w, saved_net_, sqrt, saved_norm, sqrt_2, saved_norm_, sqrt_3, saved_norm_2, sqrt_4, saved_norm_3 = saved
    # gradient of found = found + (norm(slope.weights[layer].w),)   gradients.lee:48
    d_slope_weights_3_w = norm_backward(slope_weights_3_w, saved_norm_3, sqrt_4, d_concat[3])  # [net.width, net.width]
    d_slope_weights_2_w = norm_backward(slope_weights_2_w, saved_norm_2, sqrt_3, d_concat[2])  # [net.width, net.width]
    d_slope_weights_1_w = norm_backward(slope_weights_1_w, saved_norm_, sqrt_2, d_concat[1])  # [net.width, net.width]
    d_slope_weights_0_w = norm_backward(slope_weights_0_w, saved_norm, sqrt, d_concat[0])  # [net.width, net.width]
    # gradient of slope = grad(mean(net(x) ** 2), net)   gradients.lee:45
    d_net, d_x_6, d_x_2_2, d_x_3_2, d_x_4_2, d_x_5_3, d_d_x_5 = net.forward_backward_parameters_backward(
        x,
        saved_net[0],
        saved_net[1],
        saved_net[2],
        x_5,
        d_x_5,
        saved_net_,
        {
            "weights.0": {"w": d_slope_weights_0_w},
            "weights.1": {"w": d_slope_weights_1_w},
            "weights.2": {"w": d_slope_weights_2_w},
            "weights.3": {"w": d_slope_weights_3_w},
        },
    )
    d_x_5_4 = d_d_x_5 * d_mul  # [n, net.width]
    d_x_5_2 = d_x_5_3 + d_x_5_4 + d_x_5_4  # [n, net.width]
    d_net_, d_x_7 = net.forward_saved_backward(x, saved_net, x_5, d_x_5_2, d_x_2_2, d_x_3_2, d_x_4_2)
    d_net_weights_1_w = d_net["weights.1"]["w"] + d_net_["weights.1"]["w"]  # [net.width, net.width]
    d_net_weights_2_w = d_net["weights.2"]["w"] + d_net_["weights.2"]["w"]  # [net.width, net.width]
    d_net_weights_3_w = d_net["weights.3"]["w"] + d_net_["weights.3"]["w"]  # [net.width, net.width]
    d_x = d_x_6 + d_x_7  # [n, net.width]
    return {
        "weights.0": d_net_["weights.0"],
        "weights.1": {"w": d_net_weights_1_w},
        "weights.2": {"w": d_net_weights_2_w},
        "weights.3": {"w": d_net_weights_3_w},
    }, d_x


def norms_by_layer_2_saved(net, x):
    """As norms_by_layer_2, and what its gradient needs."""
    n = x.shape[0]
    x_5, saved_net = net.forward_saved(x)  # gradients.lee:45
    d_x_5 = 2 / (n * net.width) * x_5  # [n, net.width]
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, x_5, d_x_5)
    sqrt, saved_norm = norm_saved(d_net["weights.0"]["w"])  # gradients.lee:48
    sqrt_2, saved_norm_ = norm_saved(d_net["weights.1"]["w"])
    sqrt_3, saved_norm_2 = norm_saved(d_net["weights.2"]["w"])
    sqrt_4, saved_norm_3 = norm_saved(d_net["weights.3"]["w"])
    saved = (
        x_5,
        saved_net,
        np.full((n, net.width), 1.0 / (n * net.width), dtype=FLOAT),
        d_net["weights.0"]["w"],
        d_net["weights.1"]["w"],
        d_net["weights.2"]["w"],
        d_net["weights.3"]["w"],
        saved_net_,
        sqrt,
        saved_norm,
        sqrt_2,
        saved_norm_,
        sqrt_3,
        saved_norm_2,
        sqrt_4,
        saved_norm_3,
    )
    return np.stack((sqrt, sqrt_2, sqrt_3, sqrt_4)), saved  # gradients.lee:49


def norms_by_layer_2_backward(net, x, saved, d_concat):
    """From d_mul, d_contract_4, d_contract_3, d_contract_2, d_contract and d_concat to the gradients by net and x."""
    x_5, saved_net, d_mul, slope_weights_0_w, slope_weights_1_w, slope_weights_2_w, slope_weights_3_w, saved_net_, sqrt, saved_norm, sqrt_2, saved_norm_, sqrt_3, saved_norm_2, sqrt_4, saved_norm_3 = saved
    # gradient of found = found + (norm(slope.weights[layer].w),)   gradients.lee:48
    d_slope_weights_3_w = norm_backward(slope_weights_3_w, saved_norm_3, sqrt_4, d_concat[3])  # [net.width, net.width]
    d_slope_weights_2_w = norm_backward(slope_weights_2_w, saved_norm_2, sqrt_3, d_concat[2])  # [net.width, net.width]
    d_slope_weights_1_w = norm_backward(slope_weights_1_w, saved_norm_, sqrt_2, d_concat[1])  # [net.width, net.width]
    d_slope_weights_0_w = norm_backward(slope_weights_0_w, saved_norm, sqrt, d_concat[0])  # [net.width, net.width]
    # gradient of slope = grad(mean(net(x) ** 2), net)   gradients.lee:45
    d_net, d_x_6, d_x_2, d_x_3, d_x_4, d_d_x_5 = net.forward_backward_parameters_backward(
        x,
        saved_net[0],
        saved_net[1],
        saved_net[2],
        saved_net_,
        {
            "weights.0": {"w": d_slope_weights_0_w},
            "weights.1": {"w": d_slope_weights_1_w},
            "weights.2": {"w": d_slope_weights_2_w},
            "weights.3": {"w": d_slope_weights_3_w},
        },
    )
    d_x_5 = 2 * (d_d_x_5 * d_mul)  # [n, net.width]
    d_net_, d_x_7 = net.forward_saved_backward(x, saved_net, x_5, d_x_5, d_x_2, d_x_3, d_x_4)
    d_net_weights_1_w = d_net["weights.1"]["w"] + d_net_["weights.1"]["w"]  # [net.width, net.width]
    d_net_weights_2_w = d_net["weights.2"]["w"] + d_net_["weights.2"]["w"]  # [net.width, net.width]
    d_net_weights_3_w = d_net["weights.3"]["w"] + d_net_["weights.3"]["w"]  # [net.width, net.width]
    d_x = d_x_6 + d_x_7  # [n, net.width]
    return {
        "weights.0": d_net_["weights.0"],
        "weights.1": {"w": d_net_weights_1_w},
        "weights.2": {"w": d_net_weights_2_w},
        "weights.3": {"w": d_net_weights_3_w},
    }, d_x


def cliff_saved(w, length):
    """As cliff, and what its gradient needs."""
    n = w.shape[0]
    state = np.ones(n, dtype=FLOAT)  # [n]  gradients.lee:57
    saved_cliff_step = [None] * length  # gradients.lee:58
    for step in range(length):
        state, saved_cliff_step[step] = cliff_step_saved(state, w)
    return state, saved_cliff_step


def cliff_backward_saved(w, saved_cliff_step, length, d_state_4):
    """From d_state_4 to the gradients by w and state_3_rows."""
    n = w.shape[0]
    # gradient of for step in length:   gradients.lee:58
    d_w_rows = np.empty((length, n), dtype=FLOAT)  # [length, n]
    saved_cliff_step_backward = [None] * length
    for step in reversed(range(length)):
        d_state_4, d_w_rows[step], saved_cliff_step_backward[step] = cliff_step_backward_saved(
            saved_cliff_step[step], w, d_state_4
        )
    d_w = d_w_rows.sum(axis=0)  # [n]
    return d_w, saved_cliff_step_backward


def cliff_backward_backward(w, state_rows, saved_cliff_step_backward, length, d_d_w):
    """From d_state_3_rows and d_d_w to the gradients by w and state_rows."""
    n = w.shape[0]
    # gradient of for step in length:   gradients.lee:58
    d_d_state = np.zeros(n, dtype=FLOAT)  # [n]
    d_state_rows = np.empty((length, n), dtype=FLOAT)  # [length, n]
    d_w_rows = np.empty((length, n), dtype=FLOAT)  # [length, n]
    for step in range(length):
        d_d_state, d_d_w, d_state_rows[step], d_w_rows[step] = cliff_step_backward_backward(
            state_rows[step], w, saved_cliff_step_backward[step], d_d_state, d_d_w
        )
    d_w = d_w_rows.sum(axis=0)  # [n]
    return d_w, d_state_rows


def cliff_saved_backward(w, saved_cliff_step, d_y):
    """From d_y to the gradient by w."""
    n = w.shape[0]
    length = d_y.shape[0]
    # gradient of for step in length:   gradients.lee:58
    d_state_3 = np.zeros(n, dtype=FLOAT)  # [n]
    d_w_rows = np.empty((length, n), dtype=FLOAT)  # [length, n]
    for step in reversed(range(length)):
        d_state_3, d_w_rows[step] = cliff_step_saved_backward(saved_cliff_step[step], w, d_state_3, d_y[step])
    d_w = d_w_rows.sum(axis=0)  # [n]
    return d_w  # [n]


def cliff_step_saved(state, w):
    """As cliff_step, and what its gradient needs."""
    state_3 = w * state  # [n]  gradients.lee:59
    return state_3, state


def cliff_step_backward_saved(state, w, d_state_3):
    """From d_state_3 to the gradients by state, w and state_3."""
    # gradient of state = w * state   gradients.lee:59
    d_w = d_state_3 * state  # [n]
    d_state = d_state_3 * w  # [n]
    return d_state, d_w, d_state_3


def cliff_step_backward_backward(state, w, d_state_3, d_d_state, d_d_w):
    """From d_state_3, d_d_state and d_d_w to the gradients by d_state_3, d_w_later, state and w."""
    # gradient of state = w * state   gradients.lee:59
    d_w = d_d_state * d_state_3  # [n]
    d_state = d_d_w * d_state_3  # [n]
    d_d_state_3 = d_d_state * w + d_d_w * state  # [n]
    return d_d_state_3, d_d_w, d_state, d_w


def cliff_step_saved_backward(state, w, d_state_3, d_state):
    """From d_state_3 and d_state to the gradients by state and w."""
    # gradient of state = w * state   gradients.lee:59
    d_w = d_state_3 * state  # [n]
    d_state_2 = d_state + d_state_3 * w  # [n]
    return d_state_2, d_w


def slope_of_cliff_saved(w, length):
    """As slope_of_cliff, and what its gradient needs."""
    n = w.shape[0]
    _, saved_cliff = cliff_saved(w, length)  # gradients.lee:65
    d_w, saved_cliff_backward = cliff_backward_saved(w, saved_cliff, length, np.ones(n, dtype=FLOAT))
    return d_w, (saved_cliff, saved_cliff_backward)


def slope_of_cliff_backward(w, saved, length, d_d_w):
    """From d_state_3_rows and d_d_w to the gradient by w."""
    saved_cliff, saved_cliff_backward = saved
    n = w.shape[0]
    state_rows = np.stack(saved_cliff, 0) if saved_cliff else np.zeros((length, n), dtype=FLOAT)  # [length, n]
    # gradient of return grad(sum(cliff(w, length)), w)   gradients.lee:65
    d_w_2, d_state_rows = cliff_backward_backward(w, state_rows, saved_cliff_backward, length, d_d_w)
    d_w = d_w_2 + cliff_saved_backward(w, saved_cliff, d_state_rows)  # [n]
    return d_w  # [n]


def scores_along_saved(net, x, direction, steps):
    """As scores_along, and what its gradient needs."""
    sqrt, saved_norm_2 = norm_2_saved(direction)  # gradients.lee:73
    div = steps[:, None] * direction / sqrt  # [k, net.sizes_0]
    add = x + div  # [k, net.sizes_0]
    add_2, saved_net = net.forward_2_saved(add)
    return add_2, (sqrt, saved_norm_2, div, add, saved_net)


def scores_along_backward(net, direction, steps, saved, d_add_2):
    """From d_add_2 to the gradients by net, x, direction and steps."""
    sqrt, saved_norm_2, div, add, saved_net = saved
    # gradient of return net(x + steps[:, None] * direction / norm(direction))   gradients.lee:73
    d_net, d_add = net.forward_2_backward(add, saved_net, d_add_2)
    d_x = d_add.sum(axis=0)  # [net.sizes_0]
    d_mul = d_add / sqrt  # [k, net.sizes_0]
    d_direction_2 = norm_2_backward(direction, saved_norm_2, sqrt, -(d_add * div / sqrt).sum())  # [net.sizes_0]
    d_steps = (d_mul * direction).sum(axis=1)  # [k]
    d_direction = d_direction_2 + (d_mul * steps[:, None]).sum(axis=0)  # [net.sizes_0]
    return d_net, d_x, d_direction, d_steps


def attack_direction_saved(net, x, label):
    """As attack_direction, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(x[None])  # gradients.lee:78
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, label[None], FLOAT(1.0))
    d_reshape, saved_net_ = net.forward_backward_input_saved(saved_net, d_add_2)
    return d_reshape.reshape(net.sizes[0]), (saved_net, d_add_2, saved_cross_entropy_backward, saved_net_)


def attack_direction_backward(net, x, saved, d_d_x):
    """From d_add_2, d_add and d_d_x to the gradients by net and x."""
    saved_net, d_add_2, saved_cross_entropy_backward, saved_net_ = saved
    # gradient of return grad(cross_entropy(net(x[None, :]), stack((label,))), x)   gradients.lee:78
    d_net, d_d_add_2 = net.forward_backward_input_backward(d_add_2, saved_net_, d_d_x[None])
    d_add_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [1, net.sizes_2]
    d_net_, d_reshape = net.forward_backward(x[None], saved_net, d_add_2_2)
    d_x = d_reshape.reshape(net.sizes[0])  # [net.sizes_0]
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_["layers.0"]["b"]},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_["layers.1"]["b"]},
    }, d_x


def watched(steps=20, rate=0.5, *, run=None):
    """Loss and the size of its gradient: a loss that no longer falls need not have a small gradient."""
    from leec.runtime.run import Run

    run = run or Run("watched")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 16, 10), key=run.key("net"))  # gradients.lee:87
    opt = SGD(lr=rate)  # gradients.lee:88
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        reported_loss, reported_slope = watched_loss_slope(net, data.train.x, data.train.y)  # gradients.lee:90
        run.report(loss=reported_loss, slope=reported_slope)  # gradients.lee:90
        run.step(watched_step(net, opt, data.train.x, data.train.y))  # gradients.lee:93
    return net


def watched_loss_slope(net, data_train_x, data_train_y):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n] -> [], []"""
    add_2, saved_net = net.forward_2_saved(data_train_x)  # gradients.lee:90
    d_add_2 = cross_entropy_backward(add_2, data_train_y, FLOAT(1.0))  # [data_train_n, 10]
    d_net = net.forward_2_backward_parameters(data_train_x, saved_net, d_add_2)
    slope = norm_3(net.at({"layers.0": d_net["layers.0"], "layers.1": d_net["layers.1"]}))
    return cross_entropy(add_2, data_train_y), slope


def watched_step(net, opt, data_train_x, data_train_y):
    """One step of watched."""
    add_2, saved_net = net.forward_2_saved(data_train_x)  # gradients.lee:93
    d_add_2 = cross_entropy_backward(add_2, data_train_y, FLOAT(1.0))  # [data_train_n, 10]
    d_net = net.forward_2_backward_parameters(data_train_x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, data_train_y)


def example_flat(key):
    z = 4 * normal(fold(key, SITES["z"]), (20,), FLOAT)  # [20]  gradients.lee:98
    target = (uniform(fold(key, SITES["target"]), (20,), FLOAT) < 0.5).astype(FLOAT)  # [20]  gradients.lee:99
    d_z, saved_slope_of_mse = slope_of_mse_saved(z, target)  # gradients.lee:100
    d_z_2, saved_slope_of_cross_entropy = slope_of_cross_entropy_saved(z, target)
    d_z_4, d_target_2 = slope_of_cross_entropy_backward(saved_slope_of_cross_entropy, 2 * d_z_2)
    d_z_5, d_target_3 = slope_of_mse_backward(saved_slope_of_mse, 2 * d_z)
    return (d_z**2).sum() + (d_z_2**2).sum(), d_z_4 + d_z_5, d_target_2 + d_target_3


def example_saturated(key):
    net = Deep_2(5, key=fold(key, SITES["net"]))  # gradients.lee:104
    x = normal(fold(key, SITES["x"]), (6, 5), FLOAT)  # [6, 5]  gradients.lee:105
    concat, saved_norms_by_layer = norms_by_layer_saved(net, x)  # gradients.lee:106
    d_net, d_x = norms_by_layer_backward(net, x, saved_norms_by_layer, 2 * concat)
    return (concat**2).sum(), net.at(d_net), d_x


def example_rectified(key):
    net = Deep_3(5, key=fold(key, SITES["net"]))  # gradients.lee:110
    x = normal(fold(key, SITES["x"]), (6, 5), FLOAT)  # [6, 5]  gradients.lee:111
    concat, saved_norms_by_layer_2 = norms_by_layer_2_saved(net, x)  # gradients.lee:112
    d_net, d_x = norms_by_layer_2_backward(net, x, saved_norms_by_layer_2, 2 * concat)
    return (concat**2).sum(), net.at(d_net), d_x


def example_wall(key):
    w = 0.9 + 0.12 * uniform(fold(key, SITES["w"]), (5,), FLOAT)  # [5]  gradients.lee:116
    d_w, saved_slope_of_cliff = slope_of_cliff_saved(w, 100)  # gradients.lee:117
    d_d_w = np.ones(5, dtype=FLOAT)  # [5]
    return d_w.sum(), slope_of_cliff_backward(w, saved_slope_of_cliff, 100, d_d_w)


def example_moved(key):
    net = MLP((6, 5, 3), key=fold(key, SITES["net"]))  # gradients.lee:121
    x = normal(fold(key, SITES["x"]), (6,), FLOAT)  # [6]  gradients.lee:122
    label = randint(fold(key, SITES["label"]), (), 0, 3)  # gradients.lee:123
    steps = 2 * uniform(fold(key, SITES["steps"]), (4,), FLOAT)  # [4]  gradients.lee:124
    direction, saved_attack_direction = attack_direction_saved(net, x, label)  # gradients.lee:125
    add_2, saved_scores_along = scores_along_saved(net, x, direction, steps)  # gradients.lee:126
    d_net, d_x_2, d_direction_4, d_steps = scores_along_backward(net, direction, steps, saved_scores_along, 2 * add_2)
    d_direction = 2 * direction + d_direction_4  # [6]  gradients.lee:125
    d_net_, d_x_3 = attack_direction_backward(net, x, saved_attack_direction, d_direction)
    return (
        (add_2**2).sum() + (direction**2).sum(),
        net.at(
            {
                "layers.0": {
                    "w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"],
                    "b": d_net["layers.0"]["b"] + d_net_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"],
                    "b": d_net["layers.1"]["b"] + d_net_["layers.1"]["b"],
                },
            }
        ),
        d_x_2 + d_x_3,
        d_steps,
    )


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


def cross_entropy_backward_saved(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = softmax(z, (1,))  # [rows, k]
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = (softmax_ - one_hot) * reshape_2  # [rows, k]
    return d_z, (softmax_, reshape_2)


def cross_entropy_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub - (d_sub * softmax_).sum(axis=1, keepdims=True))  # [rows, k]
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

    def forward_backward_input(self, d_y):
        """From d_y to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_y @ self.w.T  # [rows, inputs]
        return d_x  # [rows, inputs]

    def forward_backward_input_backward(self, d_add, d_d_x):
        """From d_add and d_d_x to the gradients by the parameters and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = d_d_x @ self.w  # [rows, outputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}, d_d_add

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [1, sizes_0] -> [1, sizes_2]"""
        x_2 = relu_2(self.layers[0](x))  # [1, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [1, sizes_2]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu_2(self.layers[0](x))  # [1, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_backward_input_saved(self, x_2, d_y):
        """From d_y to the gradients by x and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [1, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_2_backward = relu_2_backward_saved(x_2, d_x_2)
        d_x = self.layers[0].forward_backward_input(d_add)  # [1, sizes_0]
        return d_x, (d_add, saved_relu_2_backward)

    def forward_backward_input_backward(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradients by the parameters and d_add_2."""
        d_add, saved_relu_2_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_2_backward_backward(saved_relu_2_backward, d_d_add)  # [1, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_d_add_2 = self.layers[1].forward_backward_input_backward(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_d_add_2

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_2_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_2(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42

    def forward_2_saved(self, x):
        """As forward_2, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_2_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_2_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.maximum(x, 0)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def relu_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1]
    d_x = masked(d_y, gt)  # [x_0, x_1]
    return d_x, gt


def relu_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = masked(d_d_x, gt)  # [x_0, x_1]
    return d_d_select  # [x_0, x_1]


def relu_2(x):
    """x where it is positive, else 0.

    x [1, x_1] -> [1, x_1]
    """
    return np.maximum(x, 0)  # [1, x_1]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [1, x_1]
    return d_x  # [1, x_1]


def relu_2_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[1, x_1]
    d_x = masked(d_y, gt)  # [1, x_1]
    return d_x, gt


def relu_2_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = masked(d_d_x, gt)  # [1, x_1]
    return d_d_select  # [1, x_1]


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_sqrt * 0.5 / np.where(sum_ > 0, sqrt, np.inf)) * x  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2_saved(x):
    """As norm_2, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_2_backward(x, sum_, sqrt, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_sqrt * 0.5 / np.where(sum_ > 0, sqrt, np.inf)) * x  # [x_0]
    return d_x  # [x_0]


def norm_3(x):
    """√(Σ xᵢ²); at 0 the gradient is 0."""
    sum_ = (x.layers[0].w * x.layers[0].w).sum()
    add = sum_ + (x.layers[0].b * x.layers[0].b).sum()
    add_2 = add + (x.layers[1].w * x.layers[1].w).sum()
    return np.sqrt(add_2 + (x.layers[1].b * x.layers[1].b).sum())  # prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "steps": 0x8BBEE750046E0E58,
    "target": 0x41DEDA04111F843F,
    "w": 0x20925082A2286B9E,
    "weights.0": 0x6683546EE3C5C3C4,
    "weights.1": 0x391CCEC1F7A07B87,
    "weights.2": 0xAC25F9AD2D699B04,
    "weights.3": 0x1C399F14F1C6CEFB,
    "x": 0x4F586EF96743DF4A,
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


def randint(key: Key, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape)).reshape(shape).astype(np.uint64)
    return (words * np.uint64(high - low) >> 32).astype(np.int64) + low


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
