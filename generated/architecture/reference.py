"""Layers that are small by design (inventory O9, O10): a narrow layer in between, and convolution channel by channel.

Made from specs/compression/architecture.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/architecture.lee
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


def factors(w, k):
    """The two matrices of rank k whose product is nearest to w.

    w [m, n] -> [m, k], [k, n]
    """
    u, s, v = svd(no_wider(w))  # architecture.lee:15
    return u[:, :k] * s[:k], v[:, :k].T  # architecture.lee:16


def factors_saved(w, k):
    """As factors, and what its gradient needs."""
    u, s, v = svd(no_wider(w))  # architecture.lee:15
    return u[:, :k] * s[:k], v[:, :k].T, (u, s, v)  # architecture.lee:16


def factors_backward(saved, d_mul, d_transpose):
    """From d_mul and d_transpose to the gradient by w."""
    u, s, v = saved
    m, n = u.shape
    k = d_mul.shape[1]
    # gradient of return u[:, :k] * s[:k], v[:, :k].T   architecture.lee:16
    d_v = unslice(d_transpose.T, (n, n), (slice(0, n), slice(0, k)))  # [n, n]
    d_s = unslice((d_mul * u[:, :k]).sum(axis=0), (n,), (slice(0, k),))  # [n]
    d_u = unslice(d_mul * s[:k], (m, n), (slice(0, m), slice(0, k)))  # [m, n]
    # gradient of u, s, v = svd(w)   architecture.lee:15
    reshape = s[:, None]  # [n, 1]
    contract = u.T @ d_u  # [n, n]
    max_ = np.abs(s).max(initial=-np.inf)
    reciprocal_2 = reciprocal_or_zero(s - reshape, max_)  # [n, n]
    mul_3 = reciprocal_2 * reciprocal_or_zero(s + reshape, max_)  # [n, n]
    reciprocal_3 = reciprocal_or_zero(s, max_[None, None])  # [1, n]
    contract_3 = v.T @ d_v  # [n, n]
    mul_8 = reshape * (mul_3 * (contract_3 - contract_3.T))  # [n, n]
    contract_4 = u @ (mul_3 * (contract - contract.T) * s + mul_8)  # [m, n]
    d_w = (u * d_s + (d_u - u @ contract) * reciprocal_3 + contract_4) @ v.T  # [m, n]
    return d_w  # [m, n]


class Wide(Model):
    """Wide(d, hidden, classes)"""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # architecture.lee:20
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # architecture.lee:21
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.down(relu(self.up(x)))  # [n, classes]  architecture.lee:24

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.up(x))  # [n, hidden]  architecture.lee:24
        return self.down(select), select

    def forward_backward_parameters(self, x, select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return down(relu(up(x)))   architecture.lee:24
        d_down, d_select = self.down.forward_backward(select, d_y)
        d_up = Linear.forward_backward_parameters(x, relu_backward(select, d_select))
        return {"up": d_up, "down": d_down}


class Narrow(Model):
    """A layer of K neurons in between: (d + hidden) K weights take the place of d · hidden."""

    members = ("u", "v", "b", "down")

    def __init__(self, d, k, hidden, classes, *, key=(0, 0)):
        self.d, self.k, self.hidden, self.classes = d, k, hidden, classes
        self.u = 1 / math.sqrt(d) * normal(fold(key, SITES["u"]), (d, k), FLOAT)  # [d, k]  architecture.lee:29
        # [k, hidden]  architecture.lee:30
        self.v = 1 / math.sqrt(k) * normal(fold(key, SITES["v"]), (k, hidden), FLOAT)
        self.b = np.zeros(hidden, dtype=FLOAT)  # [hidden]  architecture.lee:31
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # architecture.lee:32
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.down(relu(x @ self.u @ self.v + self.b))  # [n, classes]  architecture.lee:35

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.u  # [n, k]  architecture.lee:35
        select = relu(contract @ self.v + self.b)  # [n, hidden]
        return self.down(select), (contract, select)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        contract, select = saved
        # gradient of return down(relu(x @ u @ v + b))   architecture.lee:35
        d_down, d_select = self.down.forward_backward(select, d_y)
        d_add = relu_backward(select, d_select)  # [n, hidden]
        d_b = d_add.sum(axis=0)  # [hidden]
        d_contract = d_add @ self.v.T  # [n, k]
        d_v = contract.T @ d_add  # [k, hidden]
        d_x = d_contract @ self.u.T  # [n, d]
        d_u = x.T @ d_contract  # [d, k]
        return {"u": d_u, "v": d_v, "b": d_b, "down": d_down}, d_x

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        contract, select = saved
        # gradient of return down(relu(x @ u @ v + b))   architecture.lee:35
        d_down, d_select = self.down.forward_backward(select, d_y)
        d_add = relu_backward(select, d_select)  # [n, hidden]
        d_b = d_add.sum(axis=0)  # [hidden]
        d_v = contract.T @ d_add  # [k, hidden]
        d_u = x.T @ (d_add @ self.v.T)  # [d, k]
        return {"u": d_u, "v": d_v, "b": d_b, "down": d_down}


def narrowed(net, k, key):
    """The net whose first layer has rank k."""
    u, v = factors(net.up.w, k)  # architecture.lee:41
    return Narrow(net.d, k, net.hidden, net.classes).at(
        {"u": u, "v": v, "b": net.up.b, "down": {"w": net.down.w, "b": net.down.b}}
    )


def narrowed_saved(net, k, key):
    """As narrowed, and what its gradient needs."""
    u, v, saved_factors = factors_saved(net.up.w, k)  # architecture.lee:41
    return (
        Narrow(net.d, k, net.hidden, net.classes).at(
            {"u": u, "v": v, "b": net.up.b, "down": {"w": net.down.w, "b": net.down.b}}
        ),
        saved_factors,
    )


def narrowed_backward(saved_factors, d_narrow):
    """From d_narrow to the gradient by net."""
    # gradient of u, v = factors(net.up.w, k)   architecture.lee:41
    d_net_up_w = factors_backward(saved_factors, d_narrow["u"], d_narrow["v"])  # [net.d, net.hidden]
    return {"up": {"w": d_net_up_w, "b": d_narrow["b"]}, "down": d_narrow["down"]}


def low_rank(epochs=8, more=4, batch=32, rate=3e-3, k=6, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("low_rank")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Wide(d=64, hidden=64, classes=10, key=run.key("net"))  # architecture.lee:51
    opt = Adam(lr=rate)  # architecture.lee:52
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(low_rank_step(net, opt, x, y))  # architecture.lee:55
    small = Narrow(d=64, k=k, hidden=64, classes=10, key=run.key("small"))  # architecture.lee:56
    x, y = low_rank_small_x_y(net, data.test.x, data.test.y, small, key=run.key("low_rank"))  # architecture.lee:56
    reported_whole, reported_cut, reported_left = low_rank_whole_cut_left(net, x, y, small)  # architecture.lee:58
    run.report(whole=reported_whole, cut=reported_cut, left=reported_left)  # architecture.lee:58
    own = Adam(lr=rate)  # architecture.lee:59
    for epoch in run.loop("epoch_2", 1, more, own=own, small=small):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(low_rank_step_2(small, own, x, y))  # architecture.lee:62
    run.report(tuned=accuracy(small(data.test.x), data.test.y))  # architecture.lee:63
    return small


def low_rank_step(net, opt, x, y):
    """One step of low_rank."""
    add_2, saved_net = net.forward_saved(x)  # architecture.lee:55
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def low_rank_small_x_y(net, data_test_x, data_test_y, small, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    k = small.u.shape[1]
    small_ = narrowed(net, k, fold(key, SITES["small"]))  # architecture.lee:56
    small.u[...] = small_.u  # [64, k]
    small.v[...] = small_.v  # [k, 64]
    small.b[...] = small_.b  # [64]
    small.down.w[...] = small_.down.w  # [64, 10]
    small.down.b[...] = small_.down.b  # [10]
    return data_test_x, data_test_y


def low_rank_whole_cut_left(net, x, y, small):
    """x [data_test_n, 64], y int[data_test_n] -> [], [], []"""
    k = small.u.shape[1]
    return accuracy(net(x), y), accuracy(small(x), y), (128 * k + 714) / 4810  # architecture.lee:58


def low_rank_step_2(small, own, x, y):
    """One step of low_rank."""
    small_out, saved_small = small.forward_saved(x)  # architecture.lee:62
    d_small_out = cross_entropy_backward(small_out, y, FLOAT(1.0))  # [batches_2_n, 10]
    d_small = small.forward_backward_parameters(x, saved_small, d_small_out)
    own.update(small.parameters, small.flat(d_small))
    return cross_entropy(small_out, y)


def depthwise(x, kernel):
    """Every channel has a filter of its own, and none sees another channel.

    x [n, c, h, w], kernel [c, k, k] -> [n, c, h, w]
    """
    n, c, h, w = x.shape
    k = kernel.shape[1]
    # [n, c, h + 2 * (k // 2), w + 2 * (k // 2)]  architecture.lee:72
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)), constant_values=0.0)
    # [n, c, 1, h + k - 1, k + w - 1]  architecture.lee:73
    reshape_2 = padded[:, :, : h + k - 1, : k + w - 1][:, :, None]
    windows_2 = window(window(reshape_2, 4, k, 1, 1), 3, k, 1, 1)  # [n, c, 1, h, k, w, k]
    transpose = windows_2.transpose(0, 1, 2, 4, 6, 3, 5)  # [n, c, 1, k, k, h, w]
    columns = transpose.reshape(n, c, k**2, h * w)  # [n, c, k**2, h * w]
    contract = kernel[:, None].reshape(c, 1, k**2) @ columns  # [n, c, 1, h * w]
    y = contract.reshape(n, c, 1, h, w).reshape(n, c, h, w)  # [n, c, h, w]
    return y  # [n, c, h, w]


def depthwise_saved(x, kernel):
    """As depthwise, and what its gradient needs."""
    n, c, h, w = x.shape
    k = kernel.shape[1]
    # [n, c, h + 2 * (k // 2), w + 2 * (k // 2)]  architecture.lee:72
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)), constant_values=0.0)
    slice_ = padded[:, :, : h + k - 1, : k + w - 1]  # [n, c, h + k - 1, k + w - 1]  architecture.lee:73
    windows_2 = window(window(slice_[:, :, None], 4, k, 1, 1), 3, k, 1, 1)  # [n, c, 1, h, k, w, k]
    transpose = windows_2.transpose(0, 1, 2, 4, 6, 3, 5)  # [n, c, 1, k, k, h, w]
    columns = transpose.reshape(n, c, k**2, h * w)  # [n, c, k**2, h * w]
    contract = kernel[:, None].reshape(c, 1, k**2) @ columns  # [n, c, 1, h * w]
    y = contract.reshape(n, c, 1, h, w).reshape(n, c, h, w)  # [n, c, h, w]
    return y, slice_


def depthwise_backward(kernel, slice_, d_y):
    """From d_y to the gradients by x and kernel."""
    c, k, _ = kernel.shape
    n = slice_.shape[0]
    _, _, h, w = d_y.shape
    # gradient of y[n, c, i in h, j in w] = sum[a in k, b in k](padded[n, c, i + a, j + b] * ke..   architecture.lee:73
    reshape_3 = d_y.reshape(n, c, 1, h * w)  # [n, c, 1, h * w]
    contract = kernel[:, None].reshape(c, 1, k**2).mT @ reshape_3  # [n, c, k**2, h * w]
    reshape_4 = contract.reshape(n, c, 1, k, k, h, w)  # [n, c, 1, k, k, h, w]
    transpose = reshape_4.transpose(0, 1, 2, 5, 3, 6, 4)  # [n, c, 1, h, k, w, k]
    unwindows_ = unwindows(transpose, (3, 5), (h + k - 1, k + w - 1), (1, 1), (1, 1))  # [n, c, 1, h + k - 1, k + w - 1]
    windows_2 = window(window(slice_[:, :, None], 4, k, 1, 1), 3, k, 1, 1)  # [n, c, 1, h, k, w, k]
    transpose_2 = windows_2.transpose(0, 1, 2, 4, 6, 3, 5)  # [n, c, 1, k, k, h, w]
    contract_2 = reshape_3 @ transpose_2.reshape(n, c, k**2, h * w).mT  # [n, c, 1, k**2]
    sum_ = contract_2.reshape(n, c, 1, 1, k, k).sum(axis=0)  # [c, 1, 1, k, k]
    d_slice = unwindows_.reshape(n, c, h + k - 1, k + w - 1)  # [n, c, h + k - 1, k + w - 1]
    # [n, c, h + 2 * (k // 2), w + 2 * (k // 2)]
    d_padded = unslice(
        d_slice,
        (n, c, h + 2 * (k // 2), w + 2 * (k // 2)),
        (slice(0, n), slice(0, c), slice(0, h + k - 1), slice(0, k + w - 1)),
    )
    d_kernel = sum_.reshape(c, 1, k, k).reshape(c, k, k)  # [c, k, k]
    # gradient of padded = pad(x, (0, 0, k // 2, k // 2))   architecture.lee:72
    d_x = d_padded[:, :, k // 2 : h + k // 2, k // 2 : w + k // 2]  # [n, c, h, w]
    return d_x, d_kernel


def depthwise_backward_2(slice_, k, d_y):
    """From d_y to the gradient by kernel."""
    n, c, _, _ = slice_.shape
    _, _, h, w = d_y.shape
    # gradient of y[n, c, i in h, j in w] = sum[a in k, b in k](padded[n, c, i + a, j + b] * ke..   architecture.lee:73
    windows_2 = window(window(slice_[:, :, None], 4, k, 1, 1), 3, k, 1, 1)  # [n, c, 1, h, k, w, k]
    transpose = windows_2.transpose(0, 1, 2, 4, 6, 3, 5)  # [n, c, 1, k, k, h, w]
    columns = transpose.reshape(n, c, k**2, h * w)  # [n, c, k**2, h * w]
    contract = d_y.reshape(n, c, 1, h * w) @ columns.mT  # [n, c, 1, k**2]
    sum_ = contract.reshape(n, c, 1, 1, k, k).sum(axis=0)  # [c, 1, 1, k, k]
    d_kernel = sum_.reshape(c, 1, k, k).reshape(c, k, k)  # [c, k, k]
    return d_kernel  # [c, k, k]


def pointwise(x, weight):
    """1 × 1: channels are mixed, and no pixel sees another pixel.

    x [n, c, h, w], weight [c, o] -> [n, o, h, w]
    """
    n, c, h, w = x.shape
    o = weight.shape[1]
    y = (weight.T @ x.reshape(n, c, h * w)).reshape(n, o, h, w)  # [n, o, h, w]  architecture.lee:79
    return y  # [n, o, h, w]


def pointwise_backward(x, weight, d_y):
    """From d_y to the gradients by x and weight."""
    n, c, h, w = x.shape
    o = weight.shape[1]
    # gradient of y[n, o, i, j] = sum[c](x[n, c, i, j] * weight[c, o])   architecture.lee:79
    reshape = d_y.reshape(n, o, h * w)  # [n, o, h * w]
    d_x = (weight @ reshape).reshape(n, c, h, w)  # [n, c, h, w]
    d_weight = (x.reshape(n, c, h * w) @ reshape.mT).sum(axis=0)  # [c, o]
    return d_x, d_weight


class Separable(Model):
    """k² c + c o weights take the place of k² c o."""

    members = ("kernel", "weight", "bias")

    def __init__(self, inputs, outputs, k=3, *, key=(0, 0)):
        self.inputs, self.outputs, self.k = inputs, outputs, k
        uniform_ = uniform(fold(key, SITES["kernel"]), (inputs, k, k), FLOAT)  # [inputs, k, k]  architecture.lee:85
        key_3 = fold(key, SITES["weight"])  # architecture.lee:86
        sub_2 = 1 / math.sqrt(inputs) - -1 / math.sqrt(inputs)
        self.kernel = -1 / k + (1 / k - -1 / k) * uniform_  # [inputs, k, k]  architecture.lee:85
        # [inputs, outputs]  architecture.lee:86
        self.weight = -1 / math.sqrt(inputs) + sub_2 * uniform(key_3, (inputs, outputs), FLOAT)
        self.bias = np.zeros(outputs, dtype=FLOAT)  # [outputs]  architecture.lee:87
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, h, w]"""
        y_2 = pointwise(depthwise(x, self.kernel), self.weight)  # [n, outputs, h, w]  architecture.lee:90
        return y_2 + self.bias[:, None, None]  # [n, outputs, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        y, saved_depthwise = depthwise_saved(x, self.kernel)  # architecture.lee:90
        return pointwise(y, self.weight) + self.bias[:, None, None], (y, saved_depthwise)

    def forward_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        y, saved_depthwise = saved
        # gradient of return pointwise(depthwise(x, kernel), weight) + bias[:, None, None]   architecture.lee:90
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
        d_y_, d_weight = pointwise_backward(y, self.weight, d_y)
        d_x, d_kernel = depthwise_backward(self.kernel, saved_depthwise, d_y_)
        return {"kernel": d_kernel, "weight": d_weight, "bias": d_bias}, d_x

    def forward_backward_parameters(self, saved, d_y):
        """From d_y to the gradient by the parameters."""
        y, saved_depthwise = saved
        # gradient of return pointwise(depthwise(x, kernel), weight) + bias[:, None, None]   architecture.lee:90
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
        d_y_, d_weight = pointwise_backward(y, self.weight, d_y)
        d_kernel = depthwise_backward_2(saved_depthwise, self.k, d_y_)  # [inputs, k, k]
        return {"kernel": d_kernel, "weight": d_weight, "bias": d_bias}


class Classifier(Model):
    """Classifier(width, classes)"""

    members = ("conv1", "conv2", "head")

    def __init__(self, width=16, classes=10, *, key=(0, 0)):
        self.width, self.classes = width, classes
        self.conv1 = Separable(1, width, key=fold(key, SITES["conv1"]))  # architecture.lee:94
        self.conv2 = Separable(width, 2 * width, key=fold(key, SITES["conv2"]))  # architecture.lee:95
        self.head = Linear(8 * width, classes, key=fold(key, SITES["head"]))  # architecture.lee:96
        self.lay_out()

    def forward(self, image):
        """image [n, 1, 8, 8] -> [n, classes]"""
        n = image.shape[0]
        h = relu_2(max_pool_(self.conv1(image)))  # [n, width, 4, 4]  architecture.lee:99
        h_2 = relu_2(max_pool_(self.conv2(h)))  # [n, 2 * width, 2, 2]  architecture.lee:100
        return self.head(h_2.reshape(n, 8 * self.width))  # [n, classes]  architecture.lee:101

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        conv1_out, saved_conv1 = self.conv1.forward_saved(image)  # architecture.lee:99
        y = max_pool_(conv1_out)  # [n, width, 4, 4]
        h = relu_2(y)  # [n, width, 4, 4]
        conv2_out, saved_conv2 = self.conv2.forward_saved(h)  # architecture.lee:100
        y_2 = max_pool_(conv2_out)  # [n, 2 * width, 2, 2]
        h_2 = relu_2(y_2)  # [n, 2 * width, 2, 2]
        saved = conv1_out, saved_conv1, y, h, conv2_out, saved_conv2, y_2, h_2
        return self.head(h_2.reshape(n, 8 * self.width)), saved  # architecture.lee:101

    def forward_backward_parameters(self, saved, d_y):
        """From d_y to the gradient by the parameters."""
        conv1_out, saved_conv1, y, h, conv2_out, saved_conv2, y_2, h_2 = saved
        n = conv1_out.shape[0]
        # gradient of return head(flatten(h, from = 1))   architecture.lee:101
        d_head, d_reshape = self.head.forward_backward(h_2.reshape(n, 8 * self.width), d_y)
        d_h_2 = d_reshape.reshape(n, 2 * self.width, 2, 2)  # [n, 2 * width, 2, 2]
        # gradient of h = relu(max_pool(conv2(h)))   architecture.lee:100
        d_conv2_out = max_pool_backward(conv2_out, y_2, 2, relu_2_backward(h_2, d_h_2))  # [n, 2 * width, 4, 4]
        d_conv2, d_h = self.conv2.forward_backward(saved_conv2, d_conv2_out)
        # gradient of h = relu(max_pool(conv1(image)))   architecture.lee:99
        d_conv1_out = max_pool_backward(conv1_out, y, 2, relu_2_backward(h, d_h))  # [n, width, 8, 8]
        d_conv1 = self.conv1.forward_backward_parameters(saved_conv1, d_conv1_out)
        return {"conv1": d_conv1, "conv2": d_conv2, "head": d_head}


def separable(epochs=8, batch=32, rate=5e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("separable")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = Classifier(key=run.key("net"))  # architecture.lee:106
    opt = Adam(lr=rate)  # architecture.lee:107
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(separable_step(net, opt, x, y))  # architecture.lee:110
    reported_accuracy, reported_weights = separable_accuracy_weights(net, data.test.x, data.test.y)
    run.report(accuracy=reported_accuracy, weights=reported_weights)  # architecture.lee:111
    return net


def separable_step(net, opt, x, y):
    """One step of separable."""
    add_3, saved_net = net.forward_saved(x)  # architecture.lee:110
    d_add_3 = cross_entropy_backward(add_3, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(saved_net, d_add_3)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_3, y)


def separable_accuracy_weights(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 1, 8, 8], data_test_y int[data_test_n] -> [], []"""
    return accuracy(net(data_test_x), data_test_y), 2019  # architecture.lee:111


def example_cut_down(key):
    net = Wide(7, 5, 3, key=fold(key, SITES["net"]))  # architecture.lee:116
    x = normal(fold(key, SITES["x"]), (9, 7), FLOAT)  # [9, 7]  architecture.lee:117
    c = normal(fold(key, SITES["c"]), (9, 3), FLOAT)  # [9, 3]  architecture.lee:118
    narrow, saved_narrowed = narrowed_saved(net, 3, fold(key, SITES["narrowed"]))  # architecture.lee:119
    d_c, saved_narrow = narrow.forward_saved(x)
    d_narrow, d_x = narrow.forward_backward(x, saved_narrow, c)
    d_net = narrowed_backward(saved_narrowed, d_narrow)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_narrow(key):
    net = Narrow(5, 2, 7, 3, key=fold(key, SITES["net"]))  # architecture.lee:123
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  architecture.lee:124
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  architecture.lee:125
    net_out, saved_net = net.forward_saved(x)  # architecture.lee:126
    d_net_out = cross_entropy_backward(net_out, y, FLOAT(1.0))  # [9, 3]
    d_net, d_x = net.forward_backward(x, saved_net, d_net_out)
    return cross_entropy(net_out, y), net.at(d_net), d_x


def example_separated(key):
    net = Separable(3, 4, key=fold(key, SITES["net"]))  # architecture.lee:130
    x = normal(fold(key, SITES["x"]), (2, 3, 5, 6), FLOAT)  # [2, 3, 5, 6]  architecture.lee:131
    c = normal(fold(key, SITES["c"]), (2, 4, 5, 6), FLOAT)  # [2, 4, 5, 6]  architecture.lee:132
    d_c, saved_net = net.forward_saved(x)  # architecture.lee:133
    d_net, d_x = net.forward_backward(saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


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

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


def max_pool_(x, size=2):
    """The largest entry of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = max_pool(x, (size, size), (size, size), (1, 1))  # [n, c, h // size, w // size]  nn.lee:130
    return y  # [n, c, h // size, w // size]


def max_pool_backward(x, y, size, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = max[u in size, v in size](x[n, c, s..   nn.lee:130
    d_x = max_pool_gradient(d_y, x, y, (size, size), (size, size), (1, 1))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


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


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "down": 0x672F5B678D49ED61,
    "head": 0xBD7890018BD219D5,
    "kernel": 0x273FEA903E119357,
    "narrowed": 0x3B08CC4CD0350C90,
    "net": 0xF087C76970C91612,
    "small": 0x430EAE656157EF30,
    "u": 0x08D267E10C593806,
    "up": 0xDD49F622B87D879F,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "weight": 0x84E02E3EDC717246,
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


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


def window(x, axis, size, stride=1, dilation=1):
    """A view of windows along an axis: entry (i, u) is i * stride + u * dilation, as many i as fit."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    step = x.strides[axis]
    strides = (*x.strides[:axis], step * stride, step * dilation, *x.strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def unwindows(x, axes, sizes, strides, dilations, out=None):
    """The same along several axes, counted before any is folded, in increasing order."""
    widths = [x.shape[axis + 1] for axis in axes]
    shape = list(x.shape)
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        shape[axis : axis + 2] = [size]
    whole = np.empty(shape, x.dtype) if out is None else out
    whole.fill(0)
    for offsets in np.ndindex(*widths):
        source, target = [slice(None)] * x.ndim, [slice(None)] * whole.ndim
        for i, (axis, u, stride, dilation) in enumerate(zip(axes, offsets, strides, dilations, strict=True)):
            start = u * dilation
            source[axis + 1], target[axis - i] = u, slice(start, start + x.shape[axis] * stride, stride)
        whole[tuple(target)] += x[tuple(source)]
    return whole


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def max_pool(x, size, stride, dilation, out=None):
    """The largest entry of every window along the last axes."""
    first, *others = window_entries(x, size, stride, dilation)
    y = np.empty(first.shape, x.dtype) if out is None else out
    np.copyto(y, first)
    for entries in others:
        np.maximum(y, entries, out=y)
    return y


def max_pool_gradient(g, x, y, size, stride, dilation, out=None):
    """g at the first entry of its window that is the largest, row by row; entries of several windows add up."""
    d_x = np.empty(x.shape, x.dtype) if out is None else out
    d_x.fill(0)
    how = size, stride, dilation
    apart = all(e * (k - 1) < s for k, s, e in zip(*how, strict=True))
    waiting, part = np.ones(y.shape, bool), np.empty(y.shape, y.dtype)
    for entries, d_entries in zip(window_entries(x, *how), window_entries(d_x, *how), strict=True):
        first = entries == y
        first &= waiting
        waiting ^= first
        if apart:
            masked(g, first, out=d_entries)
        else:
            d_entries += masked(g, first, out=part)
    return d_x


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = np.abs(x) > 100 * np.finfo(x.dtype).eps * scale
    return np.where(far, 1 / np.where(far, x, 1), 0)


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = np.abs(vectors)
    first = np.argmax(size >= 0.999 * size.max(axis=-2, keepdims=True), axis=-2)
    largest = np.take_along_axis(vectors, first[..., None, :], axis=-2)
    return np.where(largest < 0, -1, 1).astype(vectors.dtype)


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    sign = signs_of_columns(u)
    return u * sign, s, vt.mT * sign


def no_wider(a):
    """a itself. Raises ValueError where it has more columns than rows."""
    if a.shape[-2] < a.shape[-1]:
        raise ValueError(f"a matrix of {a.shape[-2]} rows and {a.shape[-1]} columns: factorise its transpose")
    return a


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


def cut(vector, shapes):
    """Views of a vector, one after the other."""
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + int(np.prod(shape))
        yield vector[start:stop].reshape(shape)
