"""Classifiers that draw a line (inventory R5 to R8, R10, R11), and a line that explains another classifier.

Made from specs/classification/logistic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/classification/logistic.lee
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


class Logistic(Model):
    """f = w · x + b; the class is 1 where σ(f) > 0.5."""

    members = ("w", "b")

    def __init__(self, features):
        self.features = features
        self.w = np.zeros(features, dtype=FLOAT)  # [features]  logistic.lee:11
        self.b = FLOAT(0)  # logistic.lee:12
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n]"""
        return x @ self.w + self.b  # [n]  logistic.lee:15

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   logistic.lee:15
        d_b = d_y.sum()
        d_x = d_y[:, None] * self.w  # [n, features]
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   logistic.lee:15
        d_b = d_y.sum()
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}


def likelihood(net, x, y):
    """-Σ y ln σ(f) + (1 - y) ln (1 - σ(f)): the most likely line has the least of it.

    x [n, net.features], y [n] -> []
    """
    f = net(x)  # [n]  logistic.lee:20
    log_sigmoid = np.minimum(-f, 0) - np.log1p(np.exp(-np.abs(-f)))  # [n]  logistic.lee:21
    mul = y * (np.minimum(f, 0) - np.log1p(np.exp(-np.abs(f))))  # [n]
    return -(mul + (1 - y) * log_sigmoid).sum()


def likelihood_saved(net, x, y):
    """As likelihood, and what its gradient needs."""
    f = net(x)  # [n]  logistic.lee:20
    log_sigmoid_f = np.minimum(f, 0) - np.log1p(np.exp(-np.abs(f)))  # [n]  logistic.lee:21
    sub = 1 - y  # [n]
    log_sigmoid_2 = np.minimum(-f, 0) - np.log1p(np.exp(-np.abs(-f)))  # [n]
    return -(y * log_sigmoid_f + sub * log_sigmoid_2).sum(), (f, -f, log_sigmoid_f, sub, log_sigmoid_2)


def likelihood_backward(net, x, y, saved, d_out):
    """From d_out to the gradients by net, x and y."""
    f, neg_f, log_sigmoid_f, sub, log_sigmoid_2 = saved
    # gradient of return -sum(y * log(sigmoid(f)) + (1 - y) * log(1 - sigmoid(f)))   logistic.lee:21
    sigmoid = np.exp(np.minimum(-neg_f, 0)) / (1 + np.exp(-np.abs(-neg_f)))  # [n]
    sigmoid_2 = np.exp(np.minimum(-f, 0)) / (1 + np.exp(-np.abs(-f)))  # [n]
    # gradient of f = net(x)   logistic.lee:20
    d_f = -d_out * y * sigmoid_2 - -d_out * sub * sigmoid  # [n]
    d_net, d_x = net.forward_backward(x, d_f)
    d_y = -d_out * log_sigmoid_f - -d_out * log_sigmoid_2  # [n]
    return d_net, d_x, d_y


def likelihood_backward_parameters(x, y, saved, d_out):
    """From d_out to the gradient by net."""
    f, neg_f, _, sub, _ = saved
    # gradient of return -sum(y * log(sigmoid(f)) + (1 - y) * log(1 - sigmoid(f)))   logistic.lee:21
    sigmoid = np.exp(np.minimum(-neg_f, 0)) / (1 + np.exp(-np.abs(-neg_f)))  # [n]
    sigmoid_2 = np.exp(np.minimum(-f, 0)) / (1 + np.exp(-np.abs(-f)))  # [n]
    # gradient of f = net(x)   logistic.lee:20
    d_f = -d_out * y * sigmoid_2 - -d_out * sub * sigmoid  # [n]
    d_net = Logistic.forward_backward_parameters(x, d_f)
    return d_net


def step_saved(w, x, y, rate):
    """As step, and what its gradient needs."""
    contract = x @ w  # [n]  logistic.lee:26
    sigmoid = np.exp(np.minimum(contract, 0)) / (1 + np.exp(-np.abs(contract)))  # [n]  prelude.lee:36
    sub = y - sigmoid  # [n]  logistic.lee:26
    return w + rate * (sub @ x), (sigmoid, sub)


def step_backward(w, x, rate, saved, d_sub_2):
    """From d_sub_2 to the gradients by w, x and y."""
    sigmoid, sub = saved
    # gradient of return w - rate * -((y - sigmoid(x @ w)) @ x)   logistic.lee:26
    d_contract_2 = d_sub_2 * rate  # [d]
    d_y = x @ d_contract_2  # [n]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_contract = -(sigmoid * (1 - sigmoid) * d_y)  # [n]
    # gradient of return w - rate * -((y - sigmoid(x @ w)) @ x)   logistic.lee:26
    d_w = d_sub_2 + d_contract @ x  # [d]
    d_x = sub[:, None] * d_contract_2 + d_contract[:, None] * w  # [n, d]
    return d_w, d_x, d_y


def stepAsPrinted_saved(w, x, y, rate):
    """As stepAsPrinted, and what its gradient needs."""
    contract = x @ w  # [n]  logistic.lee:31
    sigmoid = np.exp(np.minimum(contract, 0)) / (1 + np.exp(-np.abs(contract)))  # [n]  prelude.lee:36
    sub = y - sigmoid  # [n]  logistic.lee:31
    return w - rate * (sub @ x), (sigmoid, sub)


def stepAsPrinted_backward(w, x, rate, saved, d_add):
    """From d_add to the gradients by w, x and y."""
    sigmoid, sub = saved
    # gradient of return w + rate * -((y - sigmoid(x @ w)) @ x)   logistic.lee:31
    d_contract_2 = -(rate * d_add)  # [d]
    d_y = x @ d_contract_2  # [n]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_contract = -(sigmoid * (1 - sigmoid) * d_y)  # [n]
    # gradient of return w + rate * -((y - sigmoid(x @ w)) @ x)   logistic.lee:31
    d_w = d_add + d_contract @ x  # [d]
    d_x = sub[:, None] * d_contract_2 + d_contract[:, None] * w  # [n, d]
    return d_w, d_x, d_y


class Softmax(Model):
    """One line for each class; their shares are softmax(x W + b)."""

    members = ("w", "b")

    def __init__(self, features, classes):
        self.features, self.classes = features, classes
        self.w = np.zeros((features, classes), dtype=FLOAT)  # [features, classes]  logistic.lee:36
        self.b = np.zeros(classes, dtype=FLOAT)  # [classes]  logistic.lee:37
        self.lay_out()

    def forward(self, x):
        """x [n, features] -> [n, classes]"""
        return x @ self.w + self.b  # [n, classes]  logistic.lee:40

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   logistic.lee:40
        d_b = d_y.sum(axis=0)  # [classes]
        d_x = d_y @ self.w.T  # [n, features]
        d_w = x.T @ d_y  # [features, classes]
        return {"w": d_w, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   logistic.lee:40
        d_b = d_y.sum(axis=0)  # [classes]
        d_w = x.T @ d_y  # [features, classes]
        return {"w": d_w, "b": d_b}


def multi_class(net, x, y, strength=1.0):
    """Σ cross-entropy, with ½ λ ‖W‖².

    x [n, net.features], y int[n] -> []
    """
    mul_2 = strength / 2 * (net.w * net.w).sum()  # logistic.lee:45
    return cross_entropy(net(x), y).sum() + mul_2


def multi_class_saved(net, x, y, strength=1.0):
    """As multi_class, and what its gradient needs."""
    net_out = net(x)  # [n, net.classes]  logistic.lee:45
    mul_2 = strength / 2 * (net.w * net.w).sum()
    return cross_entropy(net_out, y).sum() + mul_2, net_out


def multi_class_backward(net, x, y, strength, net_out, d_out):
    """From d_out to the gradients by net and x."""
    n = x.shape[0]
    # gradient of return sum(cross_entropy(net(x), y, reduce = false)) + strength / 2 * sum(net..   logistic.lee:45
    d_net_out = cross_entropy_backward(net_out, y, np.broadcast_to(d_out, (n,)))  # [n, net.classes]
    d_net, d_x = net.forward_backward(x, d_net_out)
    d_net_w = 2 * (d_out * (strength / 2)) * net.w + d_net["w"]  # [net.features, net.classes]
    return {"w": d_net_w, "b": d_net["b"]}, d_x


def multi_class_backward_parameters(net, x, y, strength, net_out, d_out):
    """From d_out to the gradient by net."""
    n = x.shape[0]
    # gradient of return sum(cross_entropy(net(x), y, reduce = false)) + strength / 2 * sum(net..   logistic.lee:45
    d_net_out = cross_entropy_backward(net_out, y, np.broadcast_to(d_out, (n,)))  # [n, net.classes]
    d_net = Softmax.forward_backward_parameters(x, d_net_out)
    d_net_w = 2 * (d_out * (strength / 2)) * net.w + d_net["w"]  # [net.features, net.classes]
    return {"w": d_net_w, "b": d_net["b"]}


def as_regression(x, y, asked):
    """Class numbers as targets of a least-squares line: points that are right beyond doubt turn it too.

    x [n, d], y [n], asked [m, d] -> bool[m]
    """
    n = x.shape[0]
    m = asked.shape[0]
    known = np.concatenate((x, np.ones((n, 1), dtype=FLOAT)), axis=1)  # [n, d + 1]  logistic.lee:50
    w = np.linalg.solve(known.T @ known, y @ known)  # [d + 1]  logistic.lee:51
    fill_2 = np.ones((m, 1), dtype=FLOAT)  # [m, 1]  logistic.lee:52
    return np.concatenate((asked, fill_2), axis=1) @ w > 0.5  # bool[m]


def distances(x):
    """x₁' is the distance to (0, 0), x₂' that to (1, 1): exclusive or becomes a matter of one line.

    x [n, 2] -> [n, 2]
    """
    return np.stack((norm(x), norm(x - 1)), axis=1)  # [n, 2]  logistic.lee:57


def hinge(w, b, x, y, cost=1.0):
    """½ ‖w‖² + C Σ max(0, 1 - y f), y being -1 or 1: a support vector machine.

    w [d], x [n, d], y [n] -> []
    """
    return 0.5 * (w**2).sum() + cost * relu(1 - y * (x @ w + b)).sum()  # logistic.lee:62


def hinge_saved(w, b, x, y, cost=1.0):
    """As hinge, and what its gradient needs."""
    add = x @ w + b  # [n]  logistic.lee:62
    select = relu(1 - y * add)  # [n]
    return 0.5 * (w**2).sum() + cost * select.sum(), (add, select)


def hinge_backward(w, x, y, cost, saved, d_out):
    """From d_out to the gradients by w, b, x and y."""
    add, select = saved
    n = x.shape[0]
    # gradient of return 0.5 * sum(w ** 2) + cost * sum(relu(1 - y * (x @ w + b)))   logistic.lee:62
    d_mul_3 = -relu_backward(select, np.broadcast_to(d_out * cost, (n,)))  # [n]
    d_y = d_mul_3 * add  # [n]
    d_add = d_mul_3 * y  # [n]
    d_b = d_add.sum()
    d_x = d_add[:, None] * w  # [n, d]
    d_w_3 = d_out * 0.5 * w  # [d]
    d_w = d_add @ x + d_w_3 + d_w_3  # [d]
    return d_w, d_b, d_x, d_y


def explanation(x, near, score, width=0.75, strength=1.0):
    """A line fitted to what a black box says near x, nearer points weighing more: its weights explain x.

    Weights fall as e^(-‖z - x‖² / width²), and the line is held flat by λ ‖w‖².

    x [d], near [n, d], score [n] -> [d]
    """
    d = x.shape[0]
    sub = near - x  # [n, d]  logistic.lee:70
    div = -(sub**2).sum(axis=1) / math.pow(width, 2)  # [n]
    weight = np.exp(div)  # [n]
    share = softmax(div, (0,))  # [n]  logistic.lee:71
    z = near - share @ near  # [n, d]  logistic.lee:72
    s = score - share @ score  # [n]  logistic.lee:73
    add = z.T @ (weight[:, None] * z) + strength * eye(d)  # [d, d]  logistic.lee:74
    return np.linalg.solve(add, weight * s @ z)  # [d]


def explanation_saved(x, near, score, width=0.75, strength=1.0):
    """As explanation, and what its gradient needs."""
    d = x.shape[0]
    sub = near - x  # [n, d]  logistic.lee:70
    div = -(sub**2).sum(axis=1) / math.pow(width, 2)  # [n]
    weight = np.exp(div)  # [n]
    share = softmax(div, (0,))  # [n]  logistic.lee:71
    z = near - share @ near  # [n, d]  logistic.lee:72
    s = score - share @ score  # [n]  logistic.lee:73
    mul_2 = weight[:, None] * z  # [n, d]  logistic.lee:74
    add = z.T @ mul_2 + strength * eye(d)  # [d, d]
    mul_4 = weight * s  # [n]
    return np.linalg.solve(add, mul_4 @ z), (sub, weight, share, z, s, mul_2, add, mul_4)


def explanation_backward(near, score, width, saved, solve, d_y):
    """From d_y to the gradients by x, near and score."""
    sub, weight, share, z, s, mul_2, add, mul_4 = saved
    # gradient of return solve(z.T @ (weight[:, None] * z) + strength * eye(d), z.T @ (weight *..   logistic.lee:74
    d_contract_4 = np.linalg.solve(add.T, d_y)  # [d]
    d_add = -(d_contract_4[:, None] @ solve[:, None].T)  # [d, d]
    d_mul_4 = z @ d_contract_4  # [n]
    d_s = d_mul_4 * weight  # [n]
    d_mul_2 = z @ d_add  # [n, d]
    # gradient of s = score - share @ score   logistic.lee:73
    d_contract_2 = -d_s.sum()
    # gradient of z = near - share @ near   logistic.lee:72
    d_z = mul_4[:, None] * d_contract_4 + mul_2 @ d_add.T + d_mul_2 * weight[:, None]  # [n, d]
    d_contract = -d_z.sum(axis=0)  # [d]
    # gradient of share = weight / sum(weight)   logistic.lee:71
    d_share = d_contract_2 * score + near @ d_contract  # [n]
    sub_2 = d_share - (d_share * share).sum(axis=0, keepdims=True)  # [n]
    # gradient of weight = exp(-sum((near - x) ** 2, axis = 1) / width ** 2)   logistic.lee:70
    d_weight = d_mul_4 * s + (d_mul_2 * z).sum(axis=1)  # [n]
    d_sum = -((share * sub_2 + d_weight * weight) / math.pow(width, 2))  # [n]
    d_sub_2 = d_sum[:, None] * sub  # [n, d]
    d_x = (-2 * d_sub_2).sum(axis=0)  # [d]
    d_near = d_z + share[:, None] * d_contract + 2 * d_sub_2  # [n, d]
    d_score = d_s + share * d_contract_2  # [n]
    return d_x, d_near, d_score


def tumours(epochs=40, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("tumours")
    data = run.data(
        "breast_cancer", standardize=True, test=0.2, fields={"x": ("float", ("n", 30)), "y": ("int", ("n",))}
    )
    net = Logistic(features=30)  # logistic.lee:79
    opt = Adam(lr=0.01)  # logistic.lee:80
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 64, shuffle=True):
            run.step(tumours_step(net, opt, x, y))  # logistic.lee:83
        run.report(accuracy=binary_accuracy(net(data.test.x), data.test.y.astype(FLOAT)))  # logistic.lee:84
    return net


def tumours_step(net, opt, x, y):
    """One step of tumours."""
    cast_y = y.astype(FLOAT)  # [batches_n]  logistic.lee:83
    loss, saved_likelihood = likelihood_saved(net, x, cast_y)
    d_net = likelihood_backward_parameters(x, cast_y, saved_likelihood, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def flowers(epochs=60, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("flowers")
    data = run.data("iris", standardize=True, test=0.2, fields={"x": ("float", ("n", 4)), "y": ("int", ("n",))})
    net = Softmax(features=4, classes=3)  # logistic.lee:90
    opt = Adam(lr=0.05)  # logistic.lee:91
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 16, shuffle=True):
            run.step(flowers_step(net, opt, x, y))  # logistic.lee:94
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # logistic.lee:95
    return net


def flowers_step(net, opt, x, y):
    """One step of flowers."""
    loss, saved_multi_class = multi_class_saved(net, x, y, strength=0.01)  # logistic.lee:94
    d_loss = FLOAT(1.0)
    d_net = multi_class_backward_parameters(net, x, y, 0.01, saved_multi_class, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def example_unlikely(key):
    net = Logistic(3)  # logistic.lee:100
    x = normal(fold(key, SITES["x"]), (9, 3), FLOAT)  # [9, 3]  logistic.lee:101
    y = (uniform(fold(key, SITES["y"]), (9,), FLOAT) < 0.5).astype(FLOAT)  # [9]  logistic.lee:102
    value, saved_likelihood = likelihood_saved(net, x, y)  # logistic.lee:103
    d_net, d_x, d_y = likelihood_backward(net, x, y, saved_likelihood, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_y


def example_shares(key):
    net = Softmax(3, 4)  # logistic.lee:107
    x = normal(fold(key, SITES["x"]), (9, 3), FLOAT)  # [9, 3]  logistic.lee:108
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  logistic.lee:109
    value, saved_multi_class = multi_class_saved(net, x, y)  # logistic.lee:110
    d_net, d_x = multi_class_backward(net, x, y, 1.0, saved_multi_class, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_stepped(key):
    w = normal(fold(key, SITES["w"]), (3,), FLOAT)  # [3]  logistic.lee:114
    x = normal(fold(key, SITES["x"]), (9, 3), FLOAT)  # [9, 3]  logistic.lee:115
    y = (uniform(fold(key, SITES["y"]), (9,), FLOAT) < 0.5).astype(FLOAT)  # [9]  logistic.lee:116
    c = normal(fold(key, SITES["c"]), (3,), FLOAT)  # [3]  logistic.lee:117
    sub_2, saved_step = step_saved(w, x, y, 0.1)  # logistic.lee:118
    mul_2 = c**2  # [3]
    add, saved_stepAsPrinted = stepAsPrinted_saved(w, x, y, 0.1)
    d_w_2, d_x_2, d_y_2 = stepAsPrinted_backward(w, x, 0.1, saved_stepAsPrinted, mul_2)
    d_w_3, d_x_3, d_y_3 = step_backward(w, x, 0.1, saved_step, c)
    return (c * sub_2).sum() + (mul_2 * add).sum(), d_w_2 + d_w_3, d_x_2 + d_x_3, d_y_2 + d_y_3, 2 * (add * c) + sub_2


def example_margin(key):
    w = normal(fold(key, SITES["w"]), (3,), FLOAT)  # [3]  logistic.lee:122
    b = normal(fold(key, SITES["b"]), (), FLOAT)  # logistic.lee:123
    x = normal(fold(key, SITES["x"]), (9, 3), FLOAT)  # [9, 3]  logistic.lee:124
    y = (uniform(fold(key, SITES["y"]), (9,), FLOAT) < 0.5).astype(FLOAT)  # [9]  logistic.lee:125
    sub = 2 * y - 1  # [9]  logistic.lee:126
    value, saved_hinge = hinge_saved(w, b, x, sub)
    d_w, d_b, d_x, d_sub = hinge_backward(w, x, sub, 1.0, saved_hinge, FLOAT(1.0))
    return value, d_w, d_b, d_x, d_sub * 2


def example_explained(key):
    x = normal(fold(key, SITES["x"]), (3,), FLOAT)  # [3]  logistic.lee:130
    near = normal(fold(key, SITES["near"]), (20, 3), FLOAT)  # [20, 3]  logistic.lee:131
    score = uniform(fold(key, SITES["score"]), (20,), FLOAT)  # [20]  logistic.lee:132
    solve, saved_explanation = explanation_saved(x, near, score)  # logistic.lee:133
    d_x, d_near, d_score = explanation_backward(near, score, 0.75, saved_explanation, solve, 2 * solve)
    return (solve**2).sum(), d_x, d_near, d_score


@packed(0, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> [..]
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # [rows]  losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_backward(d_each):
    """From d_each to the gradient by each."""
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(axis=1) == y).astype(FLOAT).mean()  # metrics.lee:9


def binary_accuracy(z, y):
    """The share of logits on the right side of 0.

    z [z_0], y [z_0] -> []
    """
    return ((z > 0) == (y > 0.5)).astype(FLOAT).mean()  # metrics.lee:26


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


def relu(x):
    """x where it is positive, else 0.

    x [x_0] -> [x_0]
    """
    return np.maximum(x, 0)  # [x_0]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0]
    return d_x  # [x_0]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return np.sqrt((x**2).sum(axis=1))  # [x_0]  prelude.lee:163


def eye(n):
    """The unit matrix."""
    matrix = np.where(np.arange(n)[:, None] == np.arange(n), FLOAT(1.0), 0.0)  # [n, n]  prelude.lee:247
    return matrix  # [n, n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "near": 0xFD10F617D27419E5,
    "score": 0xBB12D0B9107F2826,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
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
