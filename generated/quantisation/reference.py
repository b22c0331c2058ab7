"""Weights that take fewer bits (inventory O6 to O8): on a grid, from a small table of means, or by their sign alone.

Made from specs/compression/quantisation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/quantisation.lee
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


@packed(0, w=(0, 1))
def on_grid(w, bits_):
    """The nearest of 2^bits - 1 multiples of one step, 0 in the middle; gradients pass as if nothing were rounded.

    w [..] -> [..]
    """
    levels = math.pow(2, bits_ - 1) - 1  # quantisation.lee:15
    step = np.abs(w).max(initial=-np.inf) / levels  # quantisation.lee:16
    return straight_through(step * np.round(w / step), w)  # [rows]  quantisation.lee:17


def on_grid_backward(d_y):
    """From d_y to the gradient by w."""
    # gradient of return straight_through(step * round(w / step), w)   quantisation.lee:17
    d_w = straight_through_backward(d_y)  # [rows]
    return d_w  # [rows]


class Rounded(Model):
    """Two layers whose weights are on a grid wherever they are used; what is learned has all its digits."""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # quantisation.lee:22
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # quantisation.lee:23
        self.lay_out()

    def forward(self, x, bits_):
        """x [n, d] -> [n, classes]"""
        graft = on_grid(self.up.w.reshape(self.d * self.hidden), bits_)  # [d * hidden]  quantisation.lee:26
        h = relu(x @ graft.reshape(self.d, self.hidden) + self.up.b)  # [n, hidden]
        # [classes * hidden]  quantisation.lee:27
        graft_2 = on_grid(self.down.w.reshape(self.classes * self.hidden), bits_)
        return h @ graft_2.reshape(self.hidden, self.classes) + self.down.b  # [n, classes]

    def forward_saved(self, x, bits_):
        """As forward, and what its gradient needs."""
        graft = on_grid(self.up.w.reshape(self.d * self.hidden), bits_)  # [d * hidden]  quantisation.lee:26
        reshape_2 = graft.reshape(self.d, self.hidden)  # [d, hidden]
        h = relu(x @ reshape_2 + self.up.b)  # [n, hidden]
        # [classes * hidden]  quantisation.lee:27
        graft_2 = on_grid(self.down.w.reshape(self.classes * self.hidden), bits_)
        reshape_4 = graft_2.reshape(self.hidden, self.classes)  # [hidden, classes]
        return h @ reshape_4 + self.down.b, (reshape_2, h, reshape_4)

    @staticmethod
    def forward_backward(x, saved, bits_, d_y):
        """From d_y to the gradients by the parameters and x."""
        reshape_2, h, reshape_4 = saved
        d = x.shape[1]
        hidden, classes = reshape_4.shape
        # gradient of return h @ on_grid(down.w, bits) + down.b   quantisation.lee:27
        d_down_b = d_y.sum(axis=0)  # [classes]
        d_h = d_y @ reshape_4.T  # [n, hidden]
        d_reshape_3 = on_grid_backward((h.T @ d_y).reshape(classes * hidden))  # [classes * hidden]
        d_down_w = d_reshape_3.reshape(hidden, classes)  # [hidden, classes]
        # gradient of h = relu(x @ on_grid(up.w, bits) + up.b)   quantisation.lee:26
        d_add = relu_backward(h, d_h)  # [n, hidden]
        d_up_b = d_add.sum(axis=0)  # [hidden]
        d_x = d_add @ reshape_2.T  # [n, d]
        d_up_w = on_grid_backward((x.T @ d_add).reshape(d * hidden)).reshape(d, hidden)  # [d, hidden]
        return {"up": {"w": d_up_w, "b": d_up_b}, "down": {"w": d_down_w, "b": d_down_b}}, d_x

    @staticmethod
    def forward_backward_parameters(x, saved, bits_, d_y):
        """From d_y to the gradient by the parameters."""
        _, h, reshape_4 = saved
        d = x.shape[1]
        hidden, classes = reshape_4.shape
        # gradient of return h @ on_grid(down.w, bits) + down.b   quantisation.lee:27
        d_down_b = d_y.sum(axis=0)  # [classes]
        d_h = d_y @ reshape_4.T  # [n, hidden]
        d_reshape_3 = on_grid_backward((h.T @ d_y).reshape(classes * hidden))  # [classes * hidden]
        d_down_w = d_reshape_3.reshape(hidden, classes)  # [hidden, classes]
        # gradient of h = relu(x @ on_grid(up.w, bits) + up.b)   quantisation.lee:26
        d_add = relu_backward(h, d_h)  # [n, hidden]
        d_up_b = d_add.sum(axis=0)  # [hidden]
        d_up_w = on_grid_backward((x.T @ d_add).reshape(d * hidden)).reshape(d, hidden)  # [d, hidden]
        return {"up": {"w": d_up_w, "b": d_up_b}, "down": {"w": d_down_w, "b": d_down_b}}


def few_bits(epochs=8, more=4, batch=32, rate=3e-3, bits_=2, ample=16, *, run=None):
    """Rounded after training, and then trained to be rounded."""
    from leec.runtime.run import Run

    run = run or Run("few_bits")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Rounded(d=64, hidden=64, classes=10, key=run.key("net"))  # quantisation.lee:33
    opt = Adam(lr=rate)  # quantisation.lee:34
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(few_bits_step(net, opt, x, y, ample))  # quantisation.lee:37
    x, y = few_bits_x_y(data.test.x, data.test.y)  # quantisation.lee:38
    reported_whole, reported_rounded = few_bits_whole_rounded(net, x, y, ample, bits_)  # quantisation.lee:39
    run.report(whole=reported_whole, rounded=reported_rounded)  # quantisation.lee:39
    own = Adam(lr=rate)  # quantisation.lee:40
    for epoch in run.loop("epoch_2", 1, more, net=net, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(few_bits_step_2(net, own, x, y, bits_))  # quantisation.lee:43
    run.report(tuned=accuracy(net(data.test.x, bits_), data.test.y))  # quantisation.lee:44
    return net


def few_bits_step(net, opt, x, y, ample):
    """One step of few_bits."""
    add_2, saved_net = net.forward_saved(x, ample)  # quantisation.lee:37
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = Rounded.forward_backward_parameters(x, saved_net, ample, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def few_bits_x_y(data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    return data_test_x, data_test_y


def few_bits_whole_rounded(net, x, y, ample, bits_):
    """x [data_test_n, 64], y int[data_test_n] -> [], []"""
    return accuracy(net(x, ample), y), accuracy(net(x, bits_), y)  # quantisation.lee:39


def few_bits_step_2(net, own, x, y, bits_):
    """One step of few_bits."""
    add_2, saved_net = net.forward_saved(x, bits_)  # quantisation.lee:43
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_2_n, 10]
    d_net = Rounded.forward_backward_parameters(x, saved_net, bits_, d_add_2)
    own.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def nearest(w, table):
    """Which entry of the table is closest to each number.

    w [n], table [k] -> int[n]
    """
    sub = w[:, None] - table  # [n, k]  quantisation.lee:53
    away = sub**2  # [n, k]
    return away.argmin(axis=1)  # int[n]  quantisation.lee:54


def clustered(w, k, rounds=30):
    """k-means: a table that begins evenly between the extremes and becomes the means, and the entry for each number.

    w [n] -> [k], int[n]
    """
    w_min = w.min(initial=np.inf)  # quantisation.lee:59
    sub = w.max(initial=-np.inf) - w_min
    table = w_min + sub * np.arange(k).astype(FLOAT) / (k - 1)  # [k]
    # quantisation.lee:60
    for round_ in range(rounds):
        table = clustered_step(table, w)
    return table, nearest(w, table)  # quantisation.lee:65


def clustered_saved(w, k, rounds=30):
    """As clustered, and what its gradient needs."""
    w_min = w.min(initial=np.inf)  # quantisation.lee:59
    cast = np.arange(k).astype(FLOAT)  # [k]
    table = w_min + (w.max(initial=-np.inf) - w_min) * cast / (k - 1)  # [k]
    saved_clustered_step = [None] * rounds  # quantisation.lee:60
    for round_ in range(rounds):
        table, saved_clustered_step[round_] = clustered_step_saved(table, w)
    return table, nearest(w, table), (cast, saved_clustered_step)  # quantisation.lee:65


def clustered_backward(w, saved, rounds, d_table_4):
    """From d_table_4 to the gradient by w."""
    cast, saved_clustered_step = saved
    n = w.shape[0]
    k = cast.shape[0]
    # gradient of for round in rounds:   quantisation.lee:60
    d_w_rows = np.empty((rounds, n), dtype=FLOAT)  # [rounds, n]
    for round_ in reversed(range(rounds)):
        d_table_4, d_w_rows[round_] = clustered_step_backward(saved_clustered_step[round_], d_table_4)
    # gradient of table[c in k] = min(w) + (max(w) - min(w)) * c / (k - 1)   quantisation.lee:59
    d_sub = (d_table_4 / (k - 1) * cast).sum()
    eq_2 = np.arange(n) == w.argmin(axis=0)  # bool[n]
    d_w_3 = masked(d_sub, np.arange(n) == w.argmax(axis=0))  # [n]
    d_w = d_w_rows.sum(axis=0) + d_w_3 + masked(d_table_4.sum() - d_sub, eq_2)  # [n]
    return d_w  # [n]


def clustered_step(table, w):
    """table [k], w [n] -> [k]"""
    k = table.shape[0]
    index = nearest(w, table)  # int[n]  quantisation.lee:61
    eq = index == np.arange(k)[:, None]  # bool[k, n]  quantisation.lee:62
    size_2 = eq.astype(FLOAT).sum(axis=1)  # [k]
    total = masked(w, eq).sum(axis=1)  # [k]  quantisation.lee:63
    table_3 = np.where(size_2 > 0, total / np.maximum(size_2, 1), table)  # [k]  quantisation.lee:64
    return table_3  # [k]


def clustered_step_saved(table, w):
    """As clustered_step, and what its gradient needs."""
    k = table.shape[0]
    index = nearest(w, table)  # int[n]  quantisation.lee:61
    eq = index == np.arange(k)[:, None]  # bool[k, n]  quantisation.lee:62
    size_2 = eq.astype(FLOAT).sum(axis=1)  # [k]
    total = masked(w, eq).sum(axis=1)  # [k]  quantisation.lee:63
    gt = size_2 > 0  # bool[k]  quantisation.lee:64
    maximum = np.maximum(size_2, 1)  # [k]
    table_3 = np.where(gt, total / maximum, table)  # [k]
    return table_3, (eq, gt, maximum)


def clustered_step_backward(saved, d_table_3):
    """From d_table_3 to the gradients by table and w."""
    eq, gt, maximum = saved
    # gradient of table = where(size > 0, total / max(size, 1), table)   quantisation.lee:64
    d_table = np.where(gt, 0, d_table_3)  # [k]
    d_total = masked(d_table_3 / maximum, gt)  # [k]
    # gradient of total[c in k] = sum[i](where(index[i] == c, w[i], 0))   quantisation.lee:63
    d_w = masked(d_total[:, None], eq).sum(axis=0)  # [n]
    return d_table, d_w


def code_length(index, k):
    """Σ -p log₂ p, the bits that an entry of the table takes at least; Huffman's code takes less than one more.

    index int[n] -> []
    """
    share = (index == np.arange(k)[:, None]).astype(FLOAT).mean(axis=1)  # [k]  quantisation.lee:70
    div = -(np.log(share) * share) / 0.6931471805599453  # [k]  quantisation.lee:71
    return masked(div, share > 0).sum()


class Net(Model):
    """Net(d, hidden, classes)"""

    members = ("up", "down")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # quantisation.lee:75
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # quantisation.lee:76
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.down(relu(self.up(x)))  # [n, classes]  quantisation.lee:79

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.up(x))  # [n, hidden]  quantisation.lee:79
        return self.down(select), select

    def forward_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return down(relu(up(x)))   quantisation.lee:79
        d_down, d_select = self.down.forward_backward(select, d_y)
        d_up, d_x = self.up.forward_backward(x, relu_backward(select, d_select))
        return {"up": d_up, "down": d_down}, d_x

    def forward_backward_parameters(self, x, select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return down(relu(up(x)))   quantisation.lee:79
        d_down, d_select = self.down.forward_backward(select, d_y)
        d_up = Linear.forward_backward_parameters(x, relu_backward(select, d_select))
        return {"up": d_up, "down": d_down}


def from_tables(net, k):
    """Every weight becomes the mean of its cluster, layer by layer; biases stay."""
    table, index = clustered(net.up.w.reshape(net.d * net.hidden), k)  # quantisation.lee:84
    table_2, index_2 = clustered(net.down.w.reshape(net.classes * net.hidden), k)  # quantisation.lee:86
    # quantisation.lee:87
    return net.at(
        {
            "up": {"w": table[inside(index)].reshape(net.d, net.hidden), "b": net.up.b},
            "down": {"w": table_2[inside(index_2)].reshape(net.hidden, net.classes), "b": net.down.b},
        }
    )


def from_tables_saved(net, k):
    """As from_tables, and what its gradient needs."""
    table, index, saved_clustered = clustered_saved(net.up.w.reshape(net.d * net.hidden), k)  # quantisation.lee:84
    # quantisation.lee:86
    table_2, index_2, saved_clustered_ = clustered_saved(net.down.w.reshape(net.classes * net.hidden), k)
    # quantisation.lee:87
    return net.at(
        {
            "up": {"w": table[inside(index)].reshape(net.d, net.hidden), "b": net.up.b},
            "down": {"w": table_2[inside(index_2)].reshape(net.hidden, net.classes), "b": net.down.b},
        }
    ), (index, saved_clustered, index_2, saved_clustered_)


def from_tables_backward(net, saved, d_net):
    """From d_net to the gradient by net."""
    index, saved_clustered, index_2, saved_clustered_ = saved
    k = saved_clustered[0].shape[0]
    # gradient of net.down.w = reshape(table[index], net.down.w.dims)   quantisation.lee:87
    d_gather_2 = d_net["down"]["w"].reshape(net.classes * net.hidden)  # [net.classes * net.hidden]
    d_table_2 = scatter_add(d_gather_2, (index_2,), (k,))  # [k]
    # gradient of table, index = clustered(flatten(net.down.w), k)   quantisation.lee:86
    reshape_2 = net.down.w.reshape(net.classes * net.hidden)  # [net.classes * net.hidden]
    d_reshape_3 = clustered_backward(reshape_2, saved_clustered_, 30, d_table_2)  # [net.classes * net.hidden]
    d_net_down_w = d_reshape_3.reshape(net.hidden, net.classes)  # [net.hidden, net.classes]
    # gradient of net.up.w = reshape(table[index], net.up.w.dims)   quantisation.lee:85
    d_table = scatter_add(d_net["up"]["w"].reshape(net.d * net.hidden), (index,), (k,))  # [k]
    # gradient of table, index = clustered(flatten(net.up.w), k)   quantisation.lee:84
    reshape = net.up.w.reshape(net.d * net.hidden)  # [net.d * net.hidden]
    d_reshape = clustered_backward(reshape, saved_clustered, 30, d_table)  # [net.d * net.hidden]
    d_net_up_w = d_reshape.reshape(net.d, net.hidden)  # [net.d, net.hidden]
    return {"up": {"w": d_net_up_w, "b": d_net["up"]["b"]}, "down": {"w": d_net_down_w, "b": d_net["down"]["b"]}}


def by_table(epochs=8, batch=32, rate=3e-3, k=8, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("by_table")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Net(d=64, hidden=64, classes=10, key=run.key("net"))  # quantisation.lee:93
    opt = Adam(lr=rate)  # quantisation.lee:94
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(by_table_step(net, opt, x, y))  # quantisation.lee:97
    small = net.copy()  # quantisation.lee:98
    x, y, index = by_table_small_x_y_index(net, data.test.x, data.test.y, small, k)  # quantisation.lee:98
    reported_whole, reported_shared, reported_bits = by_table_whole_shared_bits(net, x, y, small, index, k)
    run.report(whole=reported_whole, shared=reported_shared, bits=reported_bits)  # quantisation.lee:101
    return small


def by_table_step(net, opt, x, y):
    """One step of by_table."""
    add_2, saved_net = net.forward_saved(x)  # quantisation.lee:97
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def by_table_small_x_y_index(net, data_test_x, data_test_y, small, k):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n],
    int[4096]
    """
    small_ = from_tables(net, k)  # quantisation.lee:98
    _, index = clustered(net.up.w.reshape(4096), k)  # quantisation.lee:100
    small.up.w[...] = small_.up.w  # [64, 64]  quantisation.lee:98
    small.up.b[...] = small_.up.b  # [64]
    small.down.w[...] = small_.down.w  # [64, 10]
    small.down.b[...] = small_.down.b  # [10]
    return data_test_x, data_test_y, index  # quantisation.lee:100


def by_table_whole_shared_bits(net, x, y, small, index, k):
    """x [data_test_n, 64], y int[data_test_n], index int[4096] -> [], [], []"""
    return accuracy(net(x), y), accuracy(small(x), y), code_length(index, k)  # quantisation.lee:101


@packed(0, w=(0, 1))
def binary(w):
    """1 or -1; the gradient by what was chosen moves what was chosen from (Courbariaux et al. 2015).

    w [..] -> [..]
    """
    return straight_through(np.where(w >= 0, FLOAT(1.0), -1.0), w)  # [rows]  quantisation.lee:110


def binary_backward(d_y):
    """From d_y to the gradient by w."""
    # gradient of return straight_through(where(w >= 0, 1.0, -1.0), w)   quantisation.lee:110
    d_w = straight_through_backward(d_y)  # [rows]
    return d_w  # [rows]


class Binary(Model):
    """Two layers of weights 1 and -1; what is between them is scaled by how much is added up."""

    members = ("up", "down", "a", "b")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        # [hidden, classes]  quantisation.lee:116
        uniform_2 = uniform(fold(key, SITES["down"]), (hidden, classes), FLOAT)
        self.up = -1 + 2 * uniform(fold(key, SITES["up"]), (d, hidden), FLOAT)  # [d, hidden]  quantisation.lee:115
        self.down = -1 + 2 * uniform_2  # [hidden, classes]  quantisation.lee:116
        self.a = np.zeros(hidden, dtype=FLOAT)  # [hidden]  quantisation.lee:117
        self.b = np.zeros(classes, dtype=FLOAT)  # [classes]  quantisation.lee:118
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        graft = binary(self.up.reshape(self.d * self.hidden))  # [d * hidden]  quantisation.lee:121
        div = x @ graft.reshape(self.d, self.hidden) / math.sqrt(self.d)  # [n, hidden]
        h = relu(div + self.a)  # [n, hidden]
        graft_2 = binary(self.down.reshape(self.classes * self.hidden))  # [classes * hidden]  quantisation.lee:122
        contract_2 = h @ graft_2.reshape(self.hidden, self.classes)  # [n, classes]
        return contract_2 / math.sqrt(self.hidden) + self.b  # [n, classes]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        # [d, hidden]  quantisation.lee:121
        reshape_2 = binary(self.up.reshape(self.d * self.hidden)).reshape(self.d, self.hidden)
        h = relu(x @ reshape_2 / math.sqrt(self.d) + self.a)  # [n, hidden]
        graft_2 = binary(self.down.reshape(self.classes * self.hidden))  # [classes * hidden]  quantisation.lee:122
        reshape_4 = graft_2.reshape(self.hidden, self.classes)  # [hidden, classes]
        return h @ reshape_4 / math.sqrt(self.hidden) + self.b, (reshape_2, h, reshape_4)

    @staticmethod
    def forward_backward(x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        reshape_2, h, reshape_4 = saved
        d = x.shape[1]
        hidden = reshape_2.shape[1]
        classes = reshape_4.shape[1]
        # gradient of return h @ binary(down) / sqrt(hidden) + b   quantisation.lee:122
        d_b = d_y.sum(axis=0)  # [classes]
        d_contract_2 = d_y / math.sqrt(hidden)  # [n, classes]
        d_h = d_contract_2 @ reshape_4.T  # [n, hidden]
        d_down_flat = binary_backward((h.T @ d_contract_2).reshape(classes * hidden))  # [classes * hidden]
        d_down = d_down_flat.reshape(hidden, classes)  # [hidden, classes]
        # gradient of h = relu(x @ binary(up) / sqrt(d) + a)   quantisation.lee:121
        d_add = relu_backward(h, d_h)  # [n, hidden]
        d_a = d_add.sum(axis=0)  # [hidden]
        d_contract = d_add / math.sqrt(d)  # [n, hidden]
        d_x = d_contract @ reshape_2.T  # [n, d]
        d_up = binary_backward((x.T @ d_contract).reshape(d * hidden)).reshape(d, hidden)  # [d, hidden]
        return {"up": d_up, "down": d_down, "a": d_a, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        _, h, reshape_4 = saved
        d = x.shape[1]
        hidden = h.shape[1]
        classes = reshape_4.shape[1]
        # gradient of return h @ binary(down) / sqrt(hidden) + b   quantisation.lee:122
        d_b = d_y.sum(axis=0)  # [classes]
        d_contract_2 = d_y / math.sqrt(hidden)  # [n, classes]
        d_h = d_contract_2 @ reshape_4.T  # [n, hidden]
        d_down_flat = binary_backward((h.T @ d_contract_2).reshape(classes * hidden))  # [classes * hidden]
        d_down = d_down_flat.reshape(hidden, classes)  # [hidden, classes]
        # gradient of h = relu(x @ binary(up) / sqrt(d) + a)   quantisation.lee:121
        d_add = relu_backward(h, d_h)  # [n, hidden]
        d_a = d_add.sum(axis=0)  # [hidden]
        d_up_flat = binary_backward((x.T @ (d_add / math.sqrt(d))).reshape(d * hidden))  # [d * hidden]
        d_up = d_up_flat.reshape(d, hidden)  # [d, hidden]
        return {"up": d_up, "down": d_down, "a": d_a, "b": d_b}


class Kept(Optimizer):
    """Descent inside [-1, 1]: beyond, a weight could never change its sign again."""

    def __init__(self, lr=0.1):
        self.lr = lr

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ[...] = clip(θ - self.lr * g, -1, 1)  # [count]  quantisation.lee:128


def signs(hidden=128, epochs=25, batch=32, rate=2.0, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("signs")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Binary(d=64, hidden=hidden, classes=10, key=run.key("net"))  # quantisation.lee:133
    opt = Kept(lr=rate)  # quantisation.lee:134
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(signs_step(net, opt, x, y))  # quantisation.lee:137
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # quantisation.lee:138
    return net


def signs_step(net, opt, x, y):
    """One step of signs."""
    net_out, saved_net = net.forward_saved(x)  # quantisation.lee:137
    d_net_out = cross_entropy_backward(net_out, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = Binary.forward_backward_parameters(x, saved_net, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(net_out, y)


def example_rounded(key):
    w = normal(fold(key, SITES["w"]), (5, 6), FLOAT)  # [5, 6]  quantisation.lee:143
    c = normal(fold(key, SITES["c"]), (5, 6), FLOAT)  # [5, 6]  quantisation.lee:144
    reshape = on_grid(w.reshape(30), 3).reshape(5, 6)  # [5, 6]  quantisation.lee:145
    d_c = reshape**2  # [5, 6]
    d_w_flat = on_grid_backward((2 * (c * reshape)).reshape(30))  # [30]
    return (c * d_c).sum(), d_w_flat.reshape(5, 6), d_c


def example_used_rounded(key):
    net = Rounded(4, 6, 3, key=fold(key, SITES["net"]))  # quantisation.lee:149
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  quantisation.lee:150
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  quantisation.lee:151
    add_2, saved_net = net.forward_saved(x, 3)  # quantisation.lee:152
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [9, 3]
    d_rounded, d_x = Rounded.forward_backward(x, saved_net, 3, d_add_2)
    return cross_entropy(add_2, y), net.at(d_rounded), d_x


def example_tabled(key):
    net = Net(4, 6, 3, key=fold(key, SITES["net"]))  # quantisation.lee:156
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  quantisation.lee:157
    net_, saved_from_tables = from_tables_saved(net, 4)  # quantisation.lee:158
    add_2, saved_net_ = net_.forward_saved(x)
    d_net_, d_x = net_.forward_backward(x, saved_net_, 2 * add_2)
    d_net = from_tables_backward(net, saved_from_tables, d_net_)
    return (add_2**2).sum(), net.at(d_net), d_x


def example_counted(key):
    w = normal(fold(key, SITES["w"]), (40,), FLOAT)  # [40]  quantisation.lee:162
    table, index = clustered(w, 4)  # quantisation.lee:163
    return (table**2).sum(), code_length(index, 4)  # quantisation.lee:164


def example_signed(key):
    net = Binary(4, 6, 3, key=fold(key, SITES["net"]))  # quantisation.lee:168
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  quantisation.lee:169
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  quantisation.lee:170
    net_out, saved_net = net.forward_saved(x)  # quantisation.lee:171
    d_net_out = cross_entropy_backward(net_out, y, FLOAT(1.0))  # [9, 3]
    d_binary, d_x = Binary.forward_backward(x, saved_net, d_net_out)
    return cross_entropy(net_out, y), net.at(d_binary), d_x


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


def straight_through(hard, soft):
    """The value of `hard` with the gradient of `soft` (Bengio et al. 2013).

    hard [hard_0], soft [hard_0] -> [hard_0]
    """
    return hard  # [hard_0]


def straight_through_backward(d_graft):
    """From d_graft to the gradient by soft."""
    return d_graft  # [hard_0]


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


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1.

    x [x_0] -> [x_0]
    """
    return np.minimum(np.maximum(x, low), high)  # [x_0]  prelude.lee:153


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "down": 0x672F5B678D49ED61,
    "net": 0xF087C76970C91612,
    "up": 0xDD49F622B87D879F,
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
