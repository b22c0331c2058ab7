"""Few labels and many examples without (inventory Q5 to Q7): what is linked in a dense region has the same label.

Made from specs/unsupervised/smoothness.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/smoothness.lee
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


def graph(x, k=10, width=0.1):
    """Each example and its k nearest are linked, the more the nearer: exp(-|xᵢ - xⱼ|² / width²).

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    reshape = np.arange(n)[:, None]  # int[n, 1]  smoothness.lee:10
    sub = x[:, None] - x  # [n, n, d]
    square = np.where(reshape == np.arange(n), np.inf, (sub**2).sum(axis=2))  # [n, n]
    near = np.argsort(square, axis=1, kind="stable")[:, :k]  # int[n, k]  smoothness.lee:11
    linked = (near[:, None] == reshape).any(axis=2)  # bool[n, n]  smoothness.lee:12
    w = masked(np.exp(-square / math.pow(width, 2)), linked | linked.T)  # [n, n]  smoothness.lee:13
    return w  # [n, n]


def graph_saved(x, k=10, width=0.1):
    """As graph, and what its gradient needs."""
    n = x.shape[0]
    reshape = np.arange(n)[:, None]  # int[n, 1]  smoothness.lee:10
    eq = reshape == np.arange(n)  # bool[n, n]
    guard = x[:, None] - x  # [n, n, d]
    square = np.where(eq, np.inf, (guard**2).sum(axis=2))  # [n, n]
    near = np.argsort(square, axis=1, kind="stable")[:, :k]  # int[n, k]  smoothness.lee:11
    linked = (near[:, None] == reshape).any(axis=2)  # bool[n, n]  smoothness.lee:12
    logical_or = linked | linked.T  # bool[n, n]  smoothness.lee:13
    exp = np.exp(-square / math.pow(width, 2))  # [n, n]
    w = masked(exp, logical_or)  # [n, n]
    return w, (eq, guard, logical_or, exp)


def graph_backward(width, saved, d_w):
    """From d_w to the gradient by x."""
    eq, guard, logical_or, exp = saved
    # gradient of square[i, j] = where(i == j, inf, sum[a]((x[i, a] - x[j, a]) ** 2))   smoothness.lee:10
    reshape = (~eq)[:, :, None]  # bool[n, n, 1]
    select = np.where(eq, 0, -(d_w * exp / math.pow(width, 2)))  # [n, n]
    d_guard_2 = masked(select, logical_or)[:, :, None] * guard  # [n, n, d]
    d_x_2 = masked(-2 * d_guard_2, reshape).sum(axis=0)  # [n, d]
    d_x = d_x_2 + masked(2 * d_guard_2, reshape).sum(axis=1)  # [n, d]
    return d_x  # [n, d]


def spread(w, marked, y, classes):
    """Known labels stay; every other example is the weighted mean of those it is linked to (Zhu et al. 2003).

    w [n, n], marked int[m], y int[m] -> [n, classes]
    """
    n = w.shape[0]
    reshape = np.arange(n)[:, None]  # int[n, 1]  smoothness.lee:22
    eq = marked == reshape  # bool[n, m]
    is_marked = eq.any(axis=1)  # bool[n]
    logical_and = eq[:, None] & (y == np.arange(classes)[:, None])  # bool[n, classes, m]  smoothness.lee:23
    known = logical_and.astype(FLOAT).sum(axis=2)  # [n, classes]
    degree = w.sum(axis=1)  # [n]  smoothness.lee:24
    cast_2 = (reshape == np.arange(n)).astype(FLOAT)  # [n, n]  smoothness.lee:25
    mul = cast_2 * np.where(is_marked, 1, degree)[:, None]  # [n, n]
    system = mul - np.where(is_marked[:, None], 0, w)  # [n, n]
    return np.linalg.solve(system, known)  # [n, classes]  smoothness.lee:26


def spread_saved(w, marked, y, classes):
    """As spread, and what its gradient needs."""
    n = w.shape[0]
    reshape = np.arange(n)[:, None]  # int[n, 1]  smoothness.lee:22
    eq = marked == reshape  # bool[n, m]
    is_marked = eq.any(axis=1)  # bool[n]
    logical_and = eq[:, None] & (y == np.arange(classes)[:, None])  # bool[n, classes, m]  smoothness.lee:23
    known = logical_and.astype(FLOAT).sum(axis=2)  # [n, classes]
    degree = w.sum(axis=1)  # [n]  smoothness.lee:24
    cast_2 = (reshape == np.arange(n)).astype(FLOAT)  # [n, n]  smoothness.lee:25
    mul = cast_2 * np.where(is_marked, 1, degree)[:, None]  # [n, n]
    system = mul - np.where(is_marked[:, None], 0, w)  # [n, n]
    return np.linalg.solve(system, known), (is_marked, cast_2, system)  # smoothness.lee:26


def spread_backward(saved, solve, d_out):
    """From d_out to the gradient by w."""
    is_marked, cast_2, system = saved
    # gradient of return solve(system, known)   smoothness.lee:26
    contract = np.linalg.solve(system.T, d_out) @ solve.T  # [n, n]
    d_system = -contract  # [n, n]
    # gradient of system[i, j] = float(i == j) * where(is_marked[i], 1, degree[i]) - where(is_m..   smoothness.lee:25
    d_degree = np.where(is_marked, 0, (d_system * cast_2).sum(axis=1))  # [n]
    # gradient of degree[i] = sum[j](w[i, j])   smoothness.lee:24
    d_w = np.where(is_marked[:, None], 0, contract) + d_degree[:, None]  # [n, n]
    return d_w  # [n, n]


def laplacian(w):
    """L = D - W.

    w [n, n] -> [n, n]
    """
    return diag(w.sum(axis=1)) - w  # [n, n]  smoothness.lee:34


def laplacian_saved(w):
    """As laplacian, and what its gradient needs."""
    matrix, saved_diag = diag_saved(w.sum(axis=1))  # smoothness.lee:34
    return matrix - w, saved_diag


def laplacian_backward(saved_diag, d_y):
    """From d_y to the gradient by w."""
    # gradient of return diag(sum(w, axis = 1)) - w   smoothness.lee:34
    d_w = diag_backward(saved_diag, d_y)[:, None] - d_y  # [n, n]
    return d_w  # [n, n]


def roughness(w, p):
    """S = Σ_c p_cᵀ L p_c = ½ Σ wᵢⱼ |pᵢ - pⱼ|²: small if what is linked is alike.

    w [n, n], p [n, k] -> []
    """
    return (p * (laplacian(w) @ p)).sum()  # smoothness.lee:39


def roughness_saved(w, p):
    """As roughness, and what its gradient needs."""
    sub, saved_laplacian = laplacian_saved(w)  # smoothness.lee:39
    contract = sub @ p  # [n, k]
    return (p * contract).sum(), (sub, saved_laplacian, contract)


def roughness_backward(p, saved, d_y):
    """From d_y to the gradients by w and p."""
    sub, saved_laplacian, contract = saved
    # gradient of return sum(p * (laplacian(w) @ p))   smoothness.lee:39
    d_contract = d_y * p  # [n, k]
    d_w = laplacian_backward(saved_laplacian, d_contract @ p.T)  # [n, n]
    d_p = d_y * contract + sub.T @ d_contract  # [n, k]
    return d_w, d_p


def roughness_backward_2(p, saved, d_y):
    """From d_y to the gradient by p."""
    sub, _, contract = saved
    # gradient of return sum(p * (laplacian(w) @ p))   smoothness.lee:39
    d_p = d_y * contract + sub.T @ (d_y * p)  # [n, k]
    return d_p  # [n, k]


def smooth_saved(net, x, w, marked, y, strength):
    """As smooth, and what its gradient needs."""
    n = x.shape[0]
    add_2, saved_net = net.forward_saved(x)  # smoothness.lee:44
    softmax_ = softmax(add_2, (1,))  # [n, net.sizes_2]  prelude.lee:122
    z = log_softmax(add_2, (1,))  # [n, net.sizes_2]  prelude.lee:127
    supervised = -z[inside(marked), inside(y)].mean()  # smoothness.lee:45
    sum_, saved_roughness = roughness_saved(w, softmax_)  # smoothness.lee:46
    return supervised + strength * sum_ / n, (saved_net, softmax_, z, saved_roughness)


def smooth_backward(net, x, marked, y, strength, saved, d_add):
    """From d_add to the gradients by net, x and w."""
    saved_net, softmax_, z, saved_roughness = saved
    n = x.shape[0]
    m = marked.shape[0]
    # gradient of return supervised + strength * roughness(w, exp(z)) / n   smoothness.lee:46
    d_w, d_softmax = roughness_backward(softmax_, saved_roughness, d_add / n * strength)
    # gradient of supervised = -mean[i](z[marked[i], y[i]])   smoothness.lee:45
    d_gather = np.broadcast_to(-(d_add / m), (m,))  # [m]
    d_z = scatter_add(d_gather, (marked, y), (n, net.sizes[2]))  # [n, net.sizes_2]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_z - np.exp(z) * d_z.sum(axis=1, keepdims=True)  # [n, net.sizes_2]
    # gradient of z = log_softmax(net(x), axis = 1)   smoothness.lee:44
    d_add_2 = d_add_2_2 + softmax_ * (d_softmax - sum_2)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    return d_net, d_x, d_w


def smooth_2_saved(net, x, w, marked, y, strength):
    """As smooth_2, and what its gradient needs."""
    n = x.shape[0]
    add_3, saved_net = net.forward_saved(x)  # smoothness.lee:44
    softmax_ = softmax(add_3, (1,))  # [n, net.sizes_3]  prelude.lee:122
    z = log_softmax(add_3, (1,))  # [n, net.sizes_3]  prelude.lee:127
    supervised = -z[inside(marked), inside(y)].mean()  # smoothness.lee:45
    sum_, saved_roughness = roughness_saved(w, softmax_)  # smoothness.lee:46
    return supervised + strength * sum_ / n, (saved_net, softmax_, z, saved_roughness)


def smooth_2_backward_parameters(net, x, marked, y, strength, saved, d_add):
    """From d_add to the gradient by net."""
    saved_net, softmax_, z, saved_roughness = saved
    n = x.shape[0]
    m = marked.shape[0]
    # gradient of return supervised + strength * roughness(w, exp(z)) / n   smoothness.lee:46
    d_softmax = roughness_backward_2(softmax_, saved_roughness, d_add / n * strength)  # [n, net.sizes_3]
    # gradient of supervised = -mean[i](z[marked[i], y[i]])   smoothness.lee:45
    d_gather = np.broadcast_to(-(d_add / m), (m,))  # [m]
    d_z = scatter_add(d_gather, (marked, y), (n, net.sizes[3]))  # [n, net.sizes_3]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_3_2 = d_z - np.exp(z) * d_z.sum(axis=1, keepdims=True)  # [n, net.sizes_3]
    # gradient of z = log_softmax(net(x), axis = 1)   smoothness.lee:44
    d_add_3 = d_add_3_2 + softmax_ * (d_softmax - sum_2)  # [n, net.sizes_3]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_3)
    return d_net


def fit(epochs=500, rate=0.01, strength=1e2, *, run=None):
    """Two half moons and three labels in each; the same net by the labels alone for comparison."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "two_moons",
        n=400,
        noise=0.1,
        labelled=6,
        seed=0,
        standardize=False,
        test=0.0,
        fields={"x": ("float", ("n", 2)), "y": ("int", ("n",)), "marked": ("int", (6,))},
    )
    known, w = fit_known_w(data.y, data.marked, data.x)  # smoothness.lee:52
    net = MLP_2(sizes=(2, 64, 64, 2), key=run.key("net"))  # smoothness.lee:54
    opt = Adam(lr=rate)  # smoothness.lee:55
    alone = net.copy()  # smoothness.lee:56
    opt_alone = Adam(lr=rate)  # smoothness.lee:57
    for epoch in run.loop("epoch", 1, epochs, alone=alone, net=net, opt=opt, opt_alone=opt_alone):
        loss, loss_1 = fit_step(net, alone, opt, opt_alone, data.x, w, data.marked, known, strength)
        run.step(loss)
        run.step(loss_1, "loss_1")
    flowed, by_net, by_labels = fit_flowed_by_net_by_labels(w, data.marked, known, data.y, net, data.x, alone)
    run.report(accuracy=by_net, flowed=flowed, by_labels=by_labels)  # smoothness.lee:64
    return net


def fit_known_w(data_y, data_marked, data_x):
    """data_y int[data_train_n], data_marked int[6], data_x [data_train_n, 2] -> int[6], [data_train_n,
    data_train_n]
    """
    known = data_y[inside(data_marked)]  # int[6]  smoothness.lee:52
    w_2 = graph(data_x)  # [data_train_n, data_train_n]  smoothness.lee:53
    return known, w_2


def fit_step(net, alone, opt, opt_alone, data_x, w, data_marked, known, strength):
    """One step of fit."""
    loss, saved_smooth_2 = smooth_2_saved(net, data_x, w, data_marked, known, strength)  # smoothness.lee:59
    d_loss = FLOAT(1.0)
    d_net = smooth_2_backward_parameters(net, data_x, data_marked, known, strength, saved_smooth_2, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    loss_1, saved_smooth_2_ = smooth_2_saved(alone, data_x, w, data_marked, known, 0.0)  # smoothness.lee:60
    d_alone = smooth_2_backward_parameters(alone, data_x, data_marked, known, 0.0, saved_smooth_2_, d_loss)
    opt_alone.update(alone.parameters, alone.flat(d_alone))
    return loss, loss_1


def fit_flowed_by_net_by_labels(w, data_marked, known, data_y, net, data_x, alone):
    """w [data_train_n, data_train_n], data_marked int[6], known int[6], data_y int[data_train_n], data_x
    [data_train_n, 2] -> [], [], []
    """
    eq = spread(w, data_marked, known, 2).argmax(axis=1) == data_y  # bool[data_train_n]  smoothness.lee:61
    flowed = eq.astype(FLOAT).mean()
    by_net = (net(data_x).argmax(axis=1) == data_y).astype(FLOAT).mean()  # smoothness.lee:62
    by_labels = (alone(data_x).argmax(axis=1) == data_y).astype(FLOAT).mean()  # smoothness.lee:63
    return flowed, by_net, by_labels


def example_linked(key):
    x = 0.1 * normal(fold(key, SITES["x"]), (24, 2), FLOAT)  # [24, 2]  smoothness.lee:69
    c = normal(fold(key, SITES["c"]), (24, 24), FLOAT)  # [24, 24]  smoothness.lee:70
    d_c, saved_graph = graph_saved(x)  # smoothness.lee:71
    return (c * d_c).sum(), graph_backward(0.1, saved_graph, c), d_c


def example_flowing(key):
    x = normal(fold(key, SITES["x"]), (12, 2), FLOAT)  # [12, 2]  smoothness.lee:75
    fill_2 = np.full(1, True, dtype=np.bool_)  # bool[1]  smoothness.lee:77
    unslice_2 = unslice(np.full(1, 5, dtype=np.int64), (3,), (slice(1, 2),))  # int[3]
    marked_2 = np.where(unslice(fill_2, (3,), (slice(1, 2),)), unslice_2, 0)  # int[3]
    unslice_4 = unslice(np.full(1, 7, dtype=np.int64), (3,), (slice(2, 3),))  # int[3]  smoothness.lee:78
    marked_3 = np.where(unslice(fill_2, (3,), (slice(2, 3),)), unslice_4, marked_2)  # int[3]
    y = randint(fold(key, SITES["y"]), (3,), 0, 2)  # int[3]  smoothness.lee:79
    c = normal(fold(key, SITES["c"]), (12, 2), FLOAT)  # [12, 2]  smoothness.lee:80
    w, saved_graph = graph_saved(x, k=5, width=2.0)  # smoothness.lee:81
    d_c, saved_spread = spread_saved(w, marked_3, y, 2)
    d_x = graph_backward(2.0, saved_graph, spread_backward(saved_spread, d_c, c))  # [12, 2]
    return (c * d_c).sum(), d_x, d_c


def example_uneven(key):
    net = MLP((2, 4, 3), key=fold(key, SITES["net"]))  # smoothness.lee:85
    x = normal(fold(key, SITES["x"]), (12, 2), FLOAT)  # [12, 2]  smoothness.lee:86
    y = randint(fold(key, SITES["y"]), (3,), 0, 3)  # int[3]  smoothness.lee:87
    p = normal(fold(key, SITES["p"]), (12, 3), FLOAT)  # [12, 3]  smoothness.lee:88
    w_2, saved_graph = graph_saved(x, k=3, width=0.8)  # smoothness.lee:89
    add, saved_smooth = smooth_saved(net, x, w_2, np.arange(3), y, 0.7)  # smoothness.lee:90
    sum_, saved_roughness = roughness_saved(w_2, p)
    d_w_2_2, d_p = roughness_backward(p, saved_roughness, FLOAT(1.0))
    d_net, d_x_2, d_w_2_3 = smooth_backward(net, x, np.arange(3), y, 0.7, saved_smooth, FLOAT(1.0))
    d_w_2 = d_w_2_2 + d_w_2_3  # [12, 12]  smoothness.lee:89
    return add + sum_, net.at(d_net), d_x_2 + graph_backward(0.8, saved_graph, d_w_2), d_p


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
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


class MLP_2(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            Linear(sizes[2], sizes[3], key=fold(key, SITES["layers.2"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_3]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3)  # [x_0, sizes_3]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3), (x_2, x_3)  # nn.lee:42

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3))
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_, "layers.2": d_layers_2_}


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.maximum(x, 0)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def diag(x):
    """The matrix with the vector x on its diagonal and 0 elsewhere; of a matrix its diagonal.

    x [x_0] -> [x_0, x_0]
    """
    x_0 = x.shape[0]
    matrix = masked(x[:, None], np.arange(x_0)[:, None] == np.arange(x_0))  # [x_0, x_0]  prelude.lee:230
    return matrix  # [x_0, x_0]


def diag_saved(x):
    """As diag, and what its gradient needs."""
    x_0 = x.shape[0]
    eq = np.arange(x_0)[:, None] == np.arange(x_0)  # bool[x_0, x_0]  prelude.lee:230
    matrix = masked(x[:, None], eq)  # [x_0, x_0]
    return matrix, eq


def diag_backward(eq, d_matrix):
    """From d_matrix to the gradient by x."""
    # gradient of matrix[i in size(x), j in size(x)] = where(i == j, x[i], 0)   prelude.lee:230
    d_x = masked(d_matrix, eq).sum(axis=1)  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "p": 0x1F69F389BDD5720D,
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


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def fronted(x, axes=None):
    """A view of x with some axes in front (None: as they are)."""
    return x if axes is None else np.moveaxis(x, axes, range(len(axes)))


def scatter(combine, x, v, index, axes=None):
    """A copy of x with v combined (by np.maximum, say) into positions of some axes (the first ones), one after another."""
    whole = x.copy()
    combine.at(fronted(whole, axes), index, v)
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


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
