"""Weights that hardly count become 0 (inventory O1, O3), and what the net that is left owes to its first weights.

Made from specs/compression/pruning.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/pruning.lee
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


def heavy(net, fraction):
    """1 at every parameter whose size lies above that of a fraction of all of them, 0 elsewhere."""
    abs_ = np.abs(net.layers[0].w)  # [net.sizes_0, net.sizes_1]  pruning.lee:12
    abs_2 = np.abs(net.layers[0].b)  # [net.sizes_1]
    abs_3 = np.abs(net.layers[1].w)  # [net.sizes_1, net.sizes_2]
    abs_4 = np.abs(net.layers[1].b)  # [net.sizes_2]
    mlp = net.at({"layers.0": {"w": abs_, "b": abs_2}, "layers.1": {"w": abs_3, "b": abs_4}})
    add = quantile_2(mlp, fraction)
    return net.at(
        {
            "layers.0": {"w": (abs_ > add).astype(FLOAT), "b": (abs_2 > add).astype(FLOAT)},
            "layers.1": {"w": (abs_3 > add).astype(FLOAT), "b": (abs_4 > add).astype(FLOAT)},
        }
    )


def light_saved(w, fraction):
    """As light, and what its gradient needs."""
    abs_w = np.abs(w)  # [rows]  pruning.lee:17
    gt = abs_w > quantile_3(abs_w, fraction)  # bool[rows]
    return masked(w, gt), gt


def light_backward(gt, d_select):
    """From d_select to the gradient by w."""
    # gradient of return where(abs(w) > quantile(abs(w), fraction), w, 0)   pruning.lee:17
    d_w = masked(d_select, gt)  # [rows]
    return d_w  # [rows]


def pruned(epochs=8, more=4, batch=32, rate=3e-3, fraction=0.9, *, run=None):
    """Train, prune, train again what is left: the places of the zeros stay, so nothing is smaller or faster."""
    from leec.runtime.run import Run

    run = run or Run("pruned")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 100, 10), key=run.key("net"))  # pruning.lee:23
    opt = Adam(lr=rate)  # pruning.lee:24
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(pruned_step(net, opt, x, y))  # pruning.lee:27
    mask = net.copy()  # pruning.lee:28
    pruned_mask_net(net, fraction, mask)  # pruning.lee:28
    run.report(whole=accuracy(net(data.test.x), data.test.y))  # pruning.lee:30
    own = Adam(lr=rate)  # pruning.lee:31
    for epoch in run.loop("epoch_2", 1, more, mask=mask, net=net, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(pruned_step_2(net, mask, own, x, y))  # pruning.lee:34
    reported_pruned, reported_kept = pruned_pruned_kept(net, data.test.x, data.test.y, mask)  # pruning.lee:35
    run.report(pruned=reported_pruned, kept=reported_kept)  # pruning.lee:35
    return net


def pruned_step(net, opt, x, y):
    """One step of pruned."""
    add_2, saved_net = net.forward_saved(x)  # pruning.lee:27
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def pruned_mask_net(net, fraction, mask):
    mask_ = heavy(net, fraction)  # pruning.lee:28
    net.layers[0].w[...] = net.layers[0].w * mask_.layers[0].w  # [64, 100]  pruning.lee:29
    net.layers[0].b[...] = net.layers[0].b * mask_.layers[0].b  # [100]
    net.layers[1].w[...] = net.layers[1].w * mask_.layers[1].w  # [100, 10]
    net.layers[1].b[...] = net.layers[1].b * mask_.layers[1].b  # [10]
    mask.layers[0].w[...] = mask_.layers[0].w  # [64, 100]  pruning.lee:28
    mask.layers[0].b[...] = mask_.layers[0].b  # [100]
    mask.layers[1].w[...] = mask_.layers[1].w  # [100, 10]
    mask.layers[1].b[...] = mask_.layers[1].b  # [10]


def pruned_step_2(net, mask, own, x, y):
    """One step of pruned."""
    mul_3 = net.layers[1].w * mask.layers[1].w  # [100, 10]  pruning.lee:34
    mlp = net.at(
        {
            "layers.0": {"w": net.layers[0].w * mask.layers[0].w, "b": net.layers[0].b * mask.layers[0].b},
            "layers.1": {"w": mul_3, "b": net.layers[1].b * mask.layers[1].b},
        }
    )
    add_2, saved_mlp = mlp.forward_saved(x)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_2_n, 10]
    d_mlp = mlp.forward_backward_parameters(x, saved_mlp, d_add_2)
    own.update(
        net.parameters,
        net.flat(
            {
                "layers.0": {
                    "w": d_mlp["layers.0"]["w"] * mask.layers[0].w,
                    "b": d_mlp["layers.0"]["b"] * mask.layers[0].b,
                },
                "layers.1": {
                    "w": d_mlp["layers.1"]["w"] * mask.layers[1].w,
                    "b": d_mlp["layers.1"]["b"] * mask.layers[1].b,
                },
            }
        ),
    )
    return cross_entropy(add_2, y)


def pruned_pruned_kept(net, data_test_x, data_test_y, mask):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [], []"""
    add = mask.layers[0].w.sum() + mask.layers[0].b.sum()
    add_4 = add + mask.layers[1].w.sum() + mask.layers[1].b.sum()
    return accuracy(net(data_test_x), data_test_y), add_4 / 7510  # pruning.lee:35


def lottery(epochs=8, batch=32, rate=3e-3, fraction=0.9, *, run=None):
    """A trained net says which weights count; those learn again from where they began, and from elsewhere."""
    from leec.runtime.run import Run

    run = run or Run("lottery")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    start = MLP(sizes=(64, 100, 10), key=run.key("start"))  # pruning.lee:42
    elsewhere = MLP(sizes=(64, 100, 10), key=run.key("elsewhere"))  # pruning.lee:43
    net = start.copy()  # pruning.lee:44
    opt = Adam(lr=rate)  # pruning.lee:45
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(lottery_step(net, opt, x, y))  # pruning.lee:48
    mask = start.copy()  # pruning.lee:49
    ticket = start.copy()  # pruning.lee:50
    other = start.copy()  # pruning.lee:51
    lottery_mask_ticket_other(net, fraction, start, elsewhere, mask, ticket, other)  # pruning.lee:49
    first = Adam(lr=rate)  # pruning.lee:52
    second = Adam(lr=rate)  # pruning.lee:53
    for epoch in run.loop("epoch_2", 1, epochs, first=first, mask=mask, other=other, second=second, ticket=ticket):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            loss, loss_1 = lottery_step_2(ticket, mask, other, first, second, x, y)  # pruning.lee:56
            run.step(loss)
            run.step(loss_1, "loss_1")
    x, y = lottery_x_y(data.test.x, data.test.y)  # pruning.lee:58
    reported_ticket, reported_ahead = lottery_ticket_ahead(ticket, x, y, other)  # pruning.lee:59
    run.report(ticket=reported_ticket, ahead=reported_ahead)  # pruning.lee:59
    return ticket


def lottery_step(net, opt, x, y):
    """One step of lottery."""
    add_2, saved_net = net.forward_saved(x)  # pruning.lee:48
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def lottery_mask_ticket_other(net, fraction, start, elsewhere, mask, ticket, other):
    mask_ = heavy(net, fraction)  # pruning.lee:49
    ticket.layers[0].w[...] = start.layers[0].w * mask_.layers[0].w  # [64, 100]  pruning.lee:50
    ticket.layers[0].b[...] = start.layers[0].b * mask_.layers[0].b  # [100]
    ticket.layers[1].w[...] = start.layers[1].w * mask_.layers[1].w  # [100, 10]
    ticket.layers[1].b[...] = start.layers[1].b * mask_.layers[1].b  # [10]
    other.layers[0].w[...] = elsewhere.layers[0].w * mask_.layers[0].w  # [64, 100]  pruning.lee:51
    other.layers[0].b[...] = elsewhere.layers[0].b * mask_.layers[0].b  # [100]
    other.layers[1].w[...] = elsewhere.layers[1].w * mask_.layers[1].w  # [100, 10]
    other.layers[1].b[...] = elsewhere.layers[1].b * mask_.layers[1].b  # [10]
    mask.layers[0].w[...] = mask_.layers[0].w  # [64, 100]  pruning.lee:49
    mask.layers[0].b[...] = mask_.layers[0].b  # [100]
    mask.layers[1].w[...] = mask_.layers[1].w  # [100, 10]
    mask.layers[1].b[...] = mask_.layers[1].b  # [10]


def lottery_step_2(ticket, mask, other, first, second, x, y):
    """One step of lottery."""
    mul_3 = ticket.layers[1].w * mask.layers[1].w  # [100, 10]  pruning.lee:56
    mlp = ticket.at(
        {
            "layers.0": {"w": ticket.layers[0].w * mask.layers[0].w, "b": ticket.layers[0].b * mask.layers[0].b},
            "layers.1": {"w": mul_3, "b": ticket.layers[1].b * mask.layers[1].b},
        }
    )
    add_2, saved_mlp = mlp.forward_saved(x)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_2_n, 10]
    d_mlp = mlp.forward_backward_parameters(x, saved_mlp, d_add_2)
    first.update(
        ticket.parameters,
        ticket.flat(
            {
                "layers.0": {
                    "w": d_mlp["layers.0"]["w"] * mask.layers[0].w,
                    "b": d_mlp["layers.0"]["b"] * mask.layers[0].b,
                },
                "layers.1": {
                    "w": d_mlp["layers.1"]["w"] * mask.layers[1].w,
                    "b": d_mlp["layers.1"]["b"] * mask.layers[1].b,
                },
            }
        ),
    )
    mul_7 = other.layers[1].w * mask.layers[1].w  # [100, 10]  pruning.lee:57
    mlp_ = ticket.at(
        {
            "layers.0": {"w": other.layers[0].w * mask.layers[0].w, "b": other.layers[0].b * mask.layers[0].b},
            "layers.1": {"w": mul_7, "b": other.layers[1].b * mask.layers[1].b},
        }
    )
    add_2_2, saved_mlp_ = mlp_.forward_saved(x)
    d_add_2_2 = cross_entropy_backward(add_2_2, y, FLOAT(1.0))  # [batches_2_n, 10]
    d_mlp_ = mlp_.forward_backward_parameters(x, saved_mlp_, d_add_2_2)
    second.update(
        other.parameters,
        other.flat(
            {
                "layers.0": {
                    "w": d_mlp_["layers.0"]["w"] * mask.layers[0].w,
                    "b": d_mlp_["layers.0"]["b"] * mask.layers[0].b,
                },
                "layers.1": {
                    "w": d_mlp_["layers.1"]["w"] * mask.layers[1].w,
                    "b": d_mlp_["layers.1"]["b"] * mask.layers[1].b,
                },
            }
        ),
    )
    return cross_entropy(add_2, y), cross_entropy(add_2_2, y)


def lottery_x_y(data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 64], int[data_test_n]"""
    return data_test_x, data_test_y


def lottery_ticket_ahead(ticket, x, y, other):
    """x [data_test_n, 64], y int[data_test_n] -> [], []"""
    mean = accuracy(ticket(x), y)  # pruning.lee:59
    return mean, mean - accuracy(other(x), y)


def example_without_light(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # pruning.lee:64
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  pruning.lee:65
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  pruning.lee:66
    mask = heavy(net, 0.6)  # pruning.lee:67
    mul = net.layers[0].w * mask.layers[0].w  # [5, 6]  pruning.lee:68
    mul_3 = net.layers[1].w * mask.layers[1].w  # [6, 3]
    mlp = net.at(
        {
            "layers.0": {"w": mul, "b": net.layers[0].b * mask.layers[0].b},
            "layers.1": {"w": mul_3, "b": net.layers[1].b * mask.layers[1].b},
        }
    )
    add_2, saved_mlp = mlp.forward_saved(x)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [9, 3]
    d_mlp, d_x = mlp.forward_backward(x, saved_mlp, d_add_2)
    return (
        cross_entropy(add_2, y),
        net.at(
            {
                "layers.0": {
                    "w": d_mlp["layers.0"]["w"] * mask.layers[0].w,
                    "b": d_mlp["layers.0"]["b"] * mask.layers[0].b,
                },
                "layers.1": {
                    "w": d_mlp["layers.1"]["w"] * mask.layers[1].w,
                    "b": d_mlp["layers.1"]["b"] * mask.layers[1].b,
                },
            }
        ),
        d_x,
        net.at(
            {
                "layers.0": {
                    "w": d_mlp["layers.0"]["w"] * net.layers[0].w,
                    "b": d_mlp["layers.0"]["b"] * net.layers[0].b,
                },
                "layers.1": {
                    "w": d_mlp["layers.1"]["w"] * net.layers[1].w,
                    "b": d_mlp["layers.1"]["b"] * net.layers[1].b,
                },
            }
        ),
    )


def example_one_tensor(key):
    w = normal(fold(key, SITES["w"]), (5, 6), FLOAT)  # [5, 6]  pruning.lee:72
    c = normal(fold(key, SITES["c"]), (5, 6), FLOAT)  # [5, 6]  pruning.lee:73
    select, saved_light = light_saved(w.reshape(30), 0.6)  # pruning.lee:74
    d_c = select.reshape(5, 6)  # [5, 6]
    return (c * d_c).sum(), light_backward(saved_light, c.reshape(30)).reshape(5, 6), d_c


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

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


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


def quantile(x, q):
    """The entry below which a share q of the sorted entries lies, on a line between neighbours; of a point, of all its parameters.

    x [x_0] -> []
    """
    x_0 = x.shape[0]
    place = q * (x_0 - 1)  # prelude.lee:181
    rest = place - float(math.floor(place))  # prelude.lee:182
    y = np.sort(x, axis=0)  # [x_0]  prelude.lee:183
    mul = (1 - rest) * y[inside(int(float(math.floor(place))))]  # prelude.lee:184
    return mul + rest * y[inside(int(float(math.ceil(place))))]


def quantile_2(x, q):
    """The entry below which a share q of the sorted entries lies, on a line between neighbours; of a point, of all its parameters."""
    # [x.sizes_0 * x.sizes_1 + x.sizes_1 * x.sizes_2 + x.sizes_1 + x.sizes_2]  prelude.lee:180
    flatten = np.concatenate((x.layers[0].w.ravel(), x.layers[0].b, x.layers[1].w.ravel(), x.layers[1].b))
    return quantile(flatten, q)


def quantile_3(x, q):
    """The entry below which a share q of the sorted entries lies, on a line between neighbours; of a point, of all its parameters.

    x [x_0] -> []
    """
    return quantile(x, q)  # prelude.lee:180


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
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
