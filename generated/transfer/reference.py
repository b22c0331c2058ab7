"""What was learned on other data or for other tasks serves this one (inventory L1 to L6, L12).

Made from specs/transfer/transfer.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/transfer/transfer.lee
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


def among(z, y, chosen):
    """Cross-entropy of the chosen examples.

    z [n, k], y int[n], chosen bool[n] -> []
    """
    sum_ = (chosen.astype(FLOAT) * cross_entropy(z, y)).sum()  # transfer.lee:12
    return sum_ / chosen.astype(np.int64).sum().astype(FLOAT)


def among_saved(z, y, chosen):
    """As among, and what its gradient needs."""
    cast_chosen = chosen.astype(FLOAT)  # [n]  transfer.lee:12
    cast_3 = chosen.astype(np.int64).sum().astype(FLOAT)
    return (cast_chosen * cross_entropy(z, y)).sum() / cast_3, (cast_chosen, cast_3)


def among_backward(z, y, saved, d_out):
    """From d_out to the gradient by z."""
    cast_chosen, cast_3 = saved
    # gradient of return sum(float(chosen) * cross_entropy(z, y, reduce = false)) / sum(chosen)   transfer.lee:12
    d_z = cross_entropy_backward(z, y, d_out / cast_3 * cast_chosen)  # [n, k]
    return d_z  # [n, k]


def accuracy_among(z, y, chosen):
    """The share of the chosen examples that are called right.

    z [n, k], y int[n], chosen bool[n] -> []
    """
    sum_ = (chosen & (z.argmax(axis=1) == y)).astype(np.int64).sum()  # transfer.lee:17
    cast_3 = chosen.astype(np.int64).sum().astype(FLOAT)
    return sum_.astype(FLOAT) / cast_3


def fine_tuned(epochs=6, more=3, batch=32, rate=3e-3, small=0.05, *, run=None):
    """Learned on 0 to 4, then trained further on 5 to 9."""
    from leec.runtime.run import Run

    run = run or Run("fine_tuned")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net"))  # transfer.lee:26
    opt = Adam(lr=rate)  # transfer.lee:27
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fine_tuned_step(net, opt, x, y))  # transfer.lee:30
    own = SGD(lr=small)  # transfer.lee:31
    for epoch in run.loop("epoch_2", 1, more, net=net, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(fine_tuned_step_2(net, own, x, y))  # transfer.lee:34
    run.report(own=fine_tuned_own(net, data.test.x, data.test.y))  # transfer.lee:35
    return net


def fine_tuned_step(net, opt, x, y):
    """One step of fine_tuned."""
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:30
    loss, saved_among = among_saved(add_2, y, y < 5)
    d_add_2 = among_backward(add_2, y, saved_among, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fine_tuned_step_2(net, own, x, y):
    """One step of fine_tuned."""
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:34
    loss, saved_among = among_saved(add_2, y, y >= 5)
    d_add_2 = among_backward(add_2, y, saved_among, FLOAT(1.0))  # [batches_2_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    own.update(net.parameters, net.flat(d_net))
    return loss


def fine_tuned_own(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    own = accuracy_among(net(data_test_x), data_test_y, data_test_y >= 5)  # transfer.lee:35
    return own


def near_source_saved(net, source, x, y, weight=0.01):
    """As near_source, and what its gradient needs."""
    if net.sizes[0] != source.sizes[0]:
        raise ValueError(
            f"transfer.lee:44: net.sizes_0 = {net.sizes[0]} " f"must equal source.sizes_0 = {source.sizes[0]}"
        )
    if net.sizes[1] != source.sizes[1]:
        raise ValueError(
            f"transfer.lee:44: net.sizes_1 = {net.sizes[1]} " f"must equal source.sizes_1 = {source.sizes[1]}"
        )
    if net.sizes[2] != source.sizes[2]:
        raise ValueError(
            f"transfer.lee:44: net.sizes_2 = {net.sizes[2]} " f"must equal source.sizes_2 = {source.sizes[2]}"
        )
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:44
    sub = net.layers[0].w - source.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    sub_2 = net.layers[0].b - source.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    sub_3 = net.layers[1].w - source.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    sub_4 = net.layers[1].b - source.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    add_3 = (sub**2).sum() + (sub_2**2).sum() + (sub_3**2).sum()
    mul_5 = weight * (add_3 + (sub_4**2).sum())
    return cross_entropy_2(add_2, y) + mul_5, (add_2, saved_net, sub, sub_2, sub_3, sub_4)


def near_source_backward(net, x, y, weight, saved, source_sizes_0, source_sizes_1, source_sizes_2, d_add_5):
    """From d_add_5 to the gradients by net, source and x."""
    add_2, saved_net, sub, sub_2, sub_3, sub_4 = saved
    # gradient of return cross_entropy(net(x), y) + weight * sum((net - source) ** 2)   transfer.lee:44
    mul = 2 * (d_add_5 * weight)
    d_sub_4 = mul * sub_4  # [net.sizes_2]
    d_source_layers_1_b = (-d_sub_4).reshape(source_sizes_2)  # [source.sizes_2]
    d_sub_3 = mul * sub_3  # [net.sizes_1, net.sizes_2]
    d_source_layers_1_w = (-d_sub_3).reshape(source_sizes_1, source_sizes_2)  # [source.sizes_1, source.sizes_2]
    d_sub_2 = mul * sub_2  # [net.sizes_1]
    d_source_layers_0_b = (-d_sub_2).reshape(source_sizes_1)  # [source.sizes_1]
    d_sub = mul * sub  # [net.sizes_0, net.sizes_1]
    d_source_layers_0_w = (-d_sub).reshape(source_sizes_0, source_sizes_1)  # [source.sizes_0, source.sizes_1]
    d_add_2 = cross_entropy_2_backward(add_2, y, d_add_5)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    d_net_layers_0_w = d_sub + d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_sub_2 + d_net["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_sub_3 + d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_sub_4 + d_net["layers.1"]["b"]  # [net.sizes_2]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        {
            "layers.0": {"w": d_source_layers_0_w, "b": d_source_layers_0_b},
            "layers.1": {"w": d_source_layers_1_w, "b": d_source_layers_1_b},
        },
        d_x,
    )


def like_source_saved(net, source, x, y, weight=0.5):
    """As like_source, and what its gradient needs."""
    n = x.shape[0]
    if source.sizes[0] != net.sizes[0]:
        raise ValueError(f"source.sizes_0 = {source.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if net.sizes[2] != source.sizes[2]:
        raise ValueError(f"net.sizes_2 = {net.sizes[2]} must equal source.sizes_2 = {source.sizes[2]}")
    z, saved_net = net.forward_saved(x)  # transfer.lee:49
    log_softmax_ = log_softmax(z, (1,))  # [n, net.sizes_2]  prelude.lee:127
    softmax_ = softmax(stop(source(x.reshape(n, source.sizes[0]))), (1,))  # [n, source.sizes_2]  prelude.lee:122
    reshape_2 = softmax_.reshape(n, net.sizes[2])  # [n, net.sizes_2]  transfer.lee:50
    mean_2, saved_kl = kl_saved(log_softmax_, reshape_2)
    return cross_entropy_2(z, y) + weight * mean_2, (z, saved_net, log_softmax_, reshape_2, saved_kl)


def like_source_backward(net, x, y, weight, saved, d_add):
    """From d_add to the gradients by net and x."""
    z, saved_net, log_softmax_, reshape_2, saved_kl = saved
    # gradient of return cross_entropy(z, y) + weight * kl(log_softmax(z, axis = 1), softmax(st..   transfer.lee:50
    d_log_softmax = kl_backward(reshape_2, saved_kl, d_add * weight)  # [n, net.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    d_z_2 = d_log_softmax - np.exp(log_softmax_) * sum_  # [n, net.sizes_2]
    # gradient of z = net(x)   transfer.lee:49
    d_z = d_z_2 + cross_entropy_2_backward(z, y, d_add)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_z)
    return d_net, d_x


def conservative(epochs=6, more=3, batch=32, rate=3e-3, small=0.05, weight=0.1, *, run=None):
    """Held near the source, the net learns 5 to 9 and keeps more of 0 to 4."""
    from leec.runtime.run import Run

    run = run or Run("conservative")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net"))  # transfer.lee:56
    opt = Adam(lr=rate)  # transfer.lee:57
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(conservative_step(net, opt, x, y))  # transfer.lee:60
    source = net.copy()  # transfer.lee:61
    own = SGD(lr=small)  # transfer.lee:62
    for epoch in run.loop("epoch_2", 1, more, net=net, own=own, source=source):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(conservative_step_2(net, source, own, x, y, weight))  # transfer.lee:65
    z, y = conservative_z_y(net, data.test.x, data.test.y)  # transfer.lee:66
    reported_own, reported_kept = conservative_own_kept(z, y)  # transfer.lee:68
    run.report(own=reported_own, kept=reported_kept)  # transfer.lee:68
    return net


def conservative_step(net, opt, x, y):
    """One step of conservative."""
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:60
    loss, saved_among = among_saved(add_2, y, y < 5)
    d_add_2 = among_backward(add_2, y, saved_among, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def conservative_step_2(net, source, own, x, y, weight):
    """One step of conservative."""
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:65
    div, saved_among = among_saved(add_2, y, y >= 5)
    sub = net.layers[0].w - source.layers[0].w  # [64, 32]
    sub_2 = net.layers[0].b - source.layers[0].b  # [32]
    sub_3 = net.layers[1].w - source.layers[1].w  # [32, 10]
    sub_4 = net.layers[1].b - source.layers[1].b  # [10]
    add_3 = (sub**2).sum() + (sub_2**2).sum() + (sub_3**2).sum()
    d_add_2 = among_backward(add_2, y, saved_among, FLOAT(1.0))  # [batches_2_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    own.update(
        net.parameters,
        net.flat(
            {
                "layers.0": {
                    "w": 2 * (weight * sub) + d_net["layers.0"]["w"],
                    "b": 2 * (weight * sub_2) + d_net["layers.0"]["b"],
                },
                "layers.1": {
                    "w": 2 * (weight * sub_3) + d_net["layers.1"]["w"],
                    "b": 2 * (weight * sub_4) + d_net["layers.1"]["b"],
                },
            }
        ),
    )
    return div + weight * (add_3 + (sub_4**2).sum())


def conservative_z_y(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], int[data_test_n]"""
    z = net(data_test_x)  # [data_test_n, 10]  transfer.lee:66
    return z, data_test_y


def conservative_own_kept(z, y):
    """z [data_test_n, 10], y int[data_test_n] -> [], []"""
    return accuracy_among(z, y, y >= 5), accuracy_among(z, y, y < 5)  # transfer.lee:68


class Parts(Model):
    """Parts(d, hidden, classes)"""

    members = ("features", "head")

    def __init__(self, d=64, hidden=32, classes=10, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.features = Linear(d, hidden, key=fold(key, SITES["features"]))  # transfer.lee:76
        self.head = Linear(hidden, classes, key=fold(key, SITES["head"]))  # transfer.lee:77
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.head(relu(self.features(x)))  # [n, classes]  transfer.lee:80

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.features(x))  # [n, hidden]  transfer.lee:80
        return self.head(select), select

    def forward_backward_parameters(self, x, select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return head(relu(features(x)))   transfer.lee:80
        d_head, d_select = self.head.forward_backward(select, d_y)
        d_features = Linear.forward_backward_parameters(x, relu_backward(select, d_select))
        return {"features": d_features, "head": d_head}

    @staticmethod
    def forward_backward_parameters_2(select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return head(relu(features(x)))   transfer.lee:80
        d_head = Linear.forward_backward_parameters(select, d_y)
        return {"head": d_head}


def layer_transfer(epochs=6, batch=32, rate=3e-3, *, run=None):
    """The first layer is copied, the last one learned; then all of it."""
    from leec.runtime.run import Run

    run = run or Run("layer_transfer")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    source = Parts(key=run.key("source"))  # transfer.lee:86
    opt = Adam(lr=rate)  # transfer.lee:87
    for epoch in run.loop("epoch", 1, epochs, opt=opt, source=source):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(layer_transfer_step(source, opt, x, y))  # transfer.lee:90
    net = Parts(key=run.key("net"))  # transfer.lee:91
    layer_transfer_net(source, net)  # transfer.lee:92
    own = Adam(lr=rate)  # transfer.lee:93
    for epoch in run.loop("epoch_2", 1, epochs, net=net, own=own):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(layer_transfer_step_2(net, own, x, y))  # transfer.lee:96
    run.report(copied=layer_transfer_copied(net, data.test.x, data.test.y))  # transfer.lee:97
    whole = Adam(lr=rate)  # transfer.lee:98
    for epoch in run.loop("epoch_3", 1, epochs, net=net, whole=whole):
        for x, y in run.batches("batches_3", data.train, batch, shuffle=True):
            run.step(layer_transfer_step_3(net, whole, x, y))  # transfer.lee:101
    run.report(tuned=layer_transfer_tuned(net, data.test.x, data.test.y))  # transfer.lee:102
    return net


def layer_transfer_step(source, opt, x, y):
    """One step of layer_transfer."""
    add_2, saved_source = source.forward_saved(x)  # transfer.lee:90
    loss, saved_among = among_saved(add_2, y, y < 5)
    d_add_2 = among_backward(add_2, y, saved_among, FLOAT(1.0))  # [batches_n, 10]
    d_source = source.forward_backward_parameters(x, saved_source, d_add_2)
    opt.update(source.parameters, source.flat(d_source))
    return loss


def layer_transfer_net(source, net):
    net.features.w[...] = source.features.w  # [64, 32]
    net.features.b[...] = source.features.b  # [32]


def layer_transfer_step_2(net, own, x, y):
    """One step of layer_transfer."""
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:96
    loss, saved_among = among_saved(add_2, y, y >= 5)
    d_add_2 = among_backward(add_2, y, saved_among, FLOAT(1.0))  # [batches_2_n, 10]
    d_net = Parts.forward_backward_parameters_2(saved_net, d_add_2)
    own.update(net.head.parameters, net.head.flat(d_net["head"]))
    return loss


def layer_transfer_copied(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    copied = accuracy_among(net(data_test_x), data_test_y, data_test_y >= 5)  # transfer.lee:97
    return copied


def layer_transfer_step_3(net, whole, x, y):
    """One step of layer_transfer."""
    add_2, saved_net = net.forward_saved(x)  # transfer.lee:101
    loss, saved_among = among_saved(add_2, y, y >= 5)
    d_add_2 = among_backward(add_2, y, saved_among, FLOAT(1.0))  # [batches_3_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    whole.update(net.parameters, net.flat(d_net))
    return loss


def layer_transfer_tuned(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    tuned = accuracy_among(net(data_test_x), data_test_y, data_test_y >= 5)  # transfer.lee:102
    return tuned


class MultiTask(Model):
    """A trunk that tasks share, and a head for each."""

    members = ("trunk", "kind", "parity")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.trunk = Linear(d, hidden, key=fold(key, SITES["trunk"]))  # transfer.lee:111
        self.kind = Linear(hidden, classes, key=fold(key, SITES["kind"]))  # transfer.lee:112
        self.parity = Linear(hidden, 2, key=fold(key, SITES["parity"]))  # transfer.lee:113
        self.lay_out()

    def forward(self, x):
        """x [n, d] -> [n, classes], [n, 2]"""
        h = relu(self.trunk(x))  # [n, hidden]  transfer.lee:116
        return self.kind(h), self.parity(h)  # transfer.lee:117

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        h = relu(self.trunk(x))  # [n, hidden]  transfer.lee:116
        return self.kind(h), self.parity(h), h  # transfer.lee:117

    def forward_backward(self, x, h, d_add_2, d_add_3):
        """From d_add_2 and d_add_3 to the gradients by the parameters and x."""
        # gradient of return kind(h), parity(h)   transfer.lee:117
        d_parity, d_h_2 = self.parity.forward_backward(h, d_add_3)
        d_kind, d_h_3 = self.kind.forward_backward(h, d_add_2)
        # gradient of h = relu(trunk(x))   transfer.lee:116
        d_h = d_h_2 + d_h_3  # [n, hidden]
        d_trunk, d_x = self.trunk.forward_backward(x, relu_backward(h, d_h))
        return {"trunk": d_trunk, "kind": d_kind, "parity": d_parity}, d_x

    def forward_backward_parameters(self, x, h, d_add_2, d_add_3):
        """From d_add_2 and d_add_3 to the gradient by the parameters."""
        # gradient of return kind(h), parity(h)   transfer.lee:117
        d_parity, d_h_2 = self.parity.forward_backward(h, d_add_3)
        d_kind, d_h_3 = self.kind.forward_backward(h, d_add_2)
        # gradient of h = relu(trunk(x))   transfer.lee:116
        d_h = d_h_2 + d_h_3  # [n, hidden]
        d_trunk = Linear.forward_backward_parameters(x, relu_backward(h, d_h))
        return {"trunk": d_trunk, "kind": d_kind, "parity": d_parity}


def both_tasks(net, x, y, weight=0.5):
    """Which digit it is, and whether it is odd.

    x [n, net.d], y int[n] -> []
    """
    kind, parity = net(x)  # transfer.lee:122
    mul = weight * cross_entropy_2(parity, y % 2)  # transfer.lee:123
    return cross_entropy_2(kind, y) + mul


def both_tasks_saved(net, x, y, weight=0.5):
    """As both_tasks, and what its gradient needs."""
    kind, parity, saved_net = net.forward_saved(x)  # transfer.lee:122
    mod = y % 2  # int[n]  transfer.lee:123
    mul = weight * cross_entropy_2(parity, mod)
    return cross_entropy_2(kind, y) + mul, (kind, parity, saved_net, mod)


def both_tasks_backward(net, x, y, weight, saved, d_out):
    """From d_out to the gradients by net and x."""
    kind, parity, saved_net, mod = saved
    # gradient of return cross_entropy(kind, y) + weight * cross_entropy(parity, y % 2)   transfer.lee:123
    d_parity = cross_entropy_2_backward(parity, mod, d_out * weight)  # [n, 2]
    d_kind = cross_entropy_2_backward(kind, y, d_out)  # [n, net.classes]
    # gradient of kind, parity = net(x)   transfer.lee:122
    d_net, d_x = net.forward_backward(x, saved_net, d_kind, d_parity)
    return d_net, d_x


def both_tasks_backward_parameters(net, x, y, weight, saved, d_out):
    """From d_out to the gradient by net."""
    kind, parity, saved_net, mod = saved
    # gradient of return cross_entropy(kind, y) + weight * cross_entropy(parity, y % 2)   transfer.lee:123
    d_parity = cross_entropy_2_backward(parity, mod, d_out * weight)  # [n, 2]
    d_kind = cross_entropy_2_backward(kind, y, d_out)  # [n, net.classes]
    # gradient of kind, parity = net(x)   transfer.lee:122
    d_net = net.forward_backward_parameters(x, saved_net, d_kind, d_parity)
    return d_net


def multi_task(epochs=10, batch=32, rate=3e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("multi_task")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MultiTask(d=64, hidden=32, classes=10, key=run.key("net"))  # transfer.lee:128
    opt = Adam(lr=rate)  # transfer.lee:129
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(multi_task_step(net, opt, x, y))  # transfer.lee:132
    kind, parity = multi_task_kind_parity(net, data.test.x)  # transfer.lee:133
    reported_kind, reported_parity = multi_task_kind_parity_2(kind, data.test.y, parity)  # transfer.lee:134
    run.report(kind=reported_kind, parity=reported_parity)  # transfer.lee:134
    return net


def multi_task_step(net, opt, x, y):
    """One step of multi_task."""
    loss, saved_both_tasks = both_tasks_saved(net, x, y)  # transfer.lee:132
    d_net = both_tasks_backward_parameters(net, x, y, 0.5, saved_both_tasks, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def multi_task_kind_parity(net, data_test_x):
    """data_test_x [data_test_n, 64] -> [data_test_n, 10], [data_test_n, 2]"""
    kind, parity = net(data_test_x)  # transfer.lee:133
    return kind, parity


def multi_task_kind_parity_2(kind, data_test_y, parity):
    """kind [data_test_n, 10], data_test_y int[data_test_n], parity [data_test_n, 2] -> [], []"""
    return accuracy(kind, data_test_y), accuracy(parity, data_test_y % 2)  # transfer.lee:134


def of_attributes(z, y, table):
    """Every attribute of the class is a question of yes or no.

    z [n, a], y int[n], table [k, a] -> []
    """
    wanted = table[inside(y)]  # [n, a]  transfer.lee:143
    log_sigmoid = np.minimum(-z, 0) - np.log1p(np.exp(-np.abs(-z)))  # [n, a]  transfer.lee:144
    mul = wanted * (np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z))))  # [n, a]
    return -(mul + (1 - wanted) * log_sigmoid).sum(axis=1).mean()


def by_attributes(z, table):
    """The class whose attributes are nearest, seen or not.

    z [n, a], table [k, a] -> int[n]
    """
    sigmoid_z = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [n, a]  prelude.lee:36
    sub = sigmoid_z[:, None] - table  # [n, k, a]  transfer.lee:149
    away = (sub**2).sum(axis=2)  # [n, k]
    return away.argmin(axis=1)  # int[n]  transfer.lee:150


def in_one_space(f, g, y, margin=0.5):
    """max(0, k - f(x)·g(y) + max over other classes of f(x)·g(y')): alike, and by a margin more than any other.

    f [n, d], g [k, d], y int[n] -> []
    """
    n = f.shape[0]
    k = g.shape[0]
    likeness = f @ g.T  # [n, k]  transfer.lee:155
    other = np.where(np.arange(k) == y[:, None], -np.inf, likeness)  # [n, k]  transfer.lee:156
    sub = margin - likeness[np.arange(n), inside(y)]  # [n]  transfer.lee:157
    maximum = np.maximum(0, sub + other.max(axis=1, initial=-np.inf))  # [n]
    return maximum.mean()


def in_one_space_saved(f, g, y, margin=0.5):
    """As in_one_space, and what its gradient needs."""
    n = f.shape[0]
    k = g.shape[0]
    likeness = f @ g.T  # [n, k]  transfer.lee:155
    eq = np.arange(k) == y[:, None]  # bool[n, k]  transfer.lee:156
    other = np.where(eq, -np.inf, likeness)  # [n, k]
    sub = margin - likeness[np.arange(n), inside(y)]  # [n]  transfer.lee:157
    add = sub + other.max(axis=1, initial=-np.inf)  # [n]
    return np.maximum(0, add).mean(), (eq, other, add)


def in_one_space_backward(f, g, y, saved, d_out):
    """From d_out to the gradients by f and g."""
    eq, other, add = saved
    n = f.shape[0]
    k = g.shape[0]
    # gradient of return mean[i](max(0, margin - likeness[i, y[i]] + max[c](other[i, c])))   transfer.lee:157
    div = d_out / n
    ge = 0 >= add  # bool[n]
    d_gather = np.where(ge, 0, -div)  # [n]
    eq_2 = np.arange(k)[None, :] == other.argmax(axis=1)[:, None]  # bool[n, k]
    # gradient of other[i, c] = where(c == y[i], -inf, likeness[i, c])   transfer.lee:156
    d_likeness_3 = masked(np.where(eq, 0, np.where(ge, 0, div)[:, None]), eq_2)  # [n, k]
    # gradient of likeness = f @ g.T   transfer.lee:155
    d_likeness = scatter_add(d_gather, (np.arange(n), y), (n, k)) + d_likeness_3  # [n, k]
    d_f = d_likeness @ g  # [n, d]
    d_g = d_likeness.T @ f  # [k, d]
    return d_f, d_g


def in_one_spaceAsPrinted(f, g, y):
    """The first form of the notes, ‖f(x) - g(y)‖², lets f and g be 0.

    f [n, d], g [k, d], y int[n] -> []
    """
    sub = f - g[inside(y)]  # [n, d]  transfer.lee:162
    return (sub**2).sum(axis=1).mean()


def in_one_spaceAsPrinted_saved(f, g, y):
    """As in_one_spaceAsPrinted, and what its gradient needs."""
    sub = f - g[inside(y)]  # [n, d]  transfer.lee:162
    return (sub**2).sum(axis=1).mean(), sub


def in_one_spaceAsPrinted_backward(y, sub, k, d_out):
    """From d_out to the gradients by f and g."""
    n = y.shape[0]
    d = sub.shape[1]
    # gradient of return mean(sum((f - g[y]) ** 2, axis = 1))   transfer.lee:162
    d_f = 2 * (d_out / n) * sub  # [n, d]
    d_g = scatter_add(-d_f, (y,), (k, d))  # [k, d]
    return d_f, d_g


def convex_mix(z, words, unseen, most=2):
    """ConSE (Norouzi et al. 2014): the mean of the words of the likeliest classes, and the unseen word nearest by angle.

    z [n, k], words [k, d], unseen [m, d] -> int[n]
    """
    p = softmax(z, (1,))  # [n, k]  prelude.lee:122
    rank_of = (p[:, None] > p[:, :, None]).astype(FLOAT).sum(axis=2)  # [n, k]  transfer.lee:168
    share = masked(p, rank_of < most)  # [n, k]  transfer.lee:169
    mix = share @ words / share.sum(axis=1, keepdims=True)  # [n, d]  transfer.lee:170
    div = mix @ unseen.T / (norm(mix)[:, None] * norm(unseen))  # [n, m]  transfer.lee:171
    return div.argmax(axis=1)  # int[n]


def self_taught(epochs=10, batch=32, rate=3e-3, few=100, *, run=None):
    """Features from unlabelled digits by an auto-encoder, then a classifier of their codes from a hundred labels."""
    from leec.runtime.run import Run

    run = run or Run("self_taught")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    encoder = Linear(inputs=64, outputs=24, key=run.key("encoder"))  # transfer.lee:180
    decoder = Linear(inputs=24, outputs=64, key=run.key("decoder"))  # transfer.lee:181
    opt = Adam(lr=rate)  # transfer.lee:182
    for epoch in run.loop("epoch", 1, epochs, decoder=decoder, encoder=encoder, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(self_taught_step(encoder, decoder, opt, x))  # transfer.lee:185
    head = Linear(inputs=24, outputs=10, key=run.key("head"))  # transfer.lee:186
    own = Adam(lr=rate)  # transfer.lee:187
    x, y = self_taught_x_y(encoder, data.train.x, data.train.y, few)  # transfer.lee:188
    for step in run.loop("step", 1, 300, head=head, own=own):
        run.step(self_taught_step_2(head, own, x, y))  # transfer.lee:191
    run.report(accuracy=accuracy(head(relu(encoder(data.test.x))), data.test.y))  # transfer.lee:192
    return head


def self_taught_step(encoder, decoder, opt, x):
    """One step of self_taught."""
    select = relu(encoder(x))  # [batches_n, 24]  transfer.lee:185
    loss, saved_mse = mse_saved(decoder(select), x)
    d_decoder, d_select = decoder.forward_backward(select, mse_backward(saved_mse, FLOAT(1.0)))
    d_encoder = Linear.forward_backward_parameters(x, relu_backward(select, d_select))
    update_together(opt, (encoder, d_encoder), (decoder, d_decoder))
    return loss


def self_taught_x_y(encoder, data_train_x, data_train_y, few):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n] -> [few, 24], int[few]"""
    x = relu(encoder(data_train_x[:few]))  # [few, 24]  transfer.lee:188
    y = data_train_y[:few]  # int[few]  transfer.lee:189
    return x, y


def self_taught_step_2(head, own, x, y):
    """One step of self_taught."""
    head_out = head(x)  # [few, 10]  transfer.lee:191
    d_head_out = cross_entropy_2_backward(head_out, y, FLOAT(1.0))  # [few, 10]
    d_head = Linear.forward_backward_parameters(x, d_head_out)
    own.update(head.parameters, head.flat(d_head))
    return cross_entropy_2(head_out, y)


def example_some_classes(key):
    z = normal(fold(key, SITES["z"]), (9, 4), FLOAT)  # [9, 4]  transfer.lee:200
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:201
    gt = y > 0  # bool[9]  transfer.lee:202
    return among(z, y, gt), accuracy_among(z, y, gt)


def example_kept_near(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # transfer.lee:206
    source = MLP((5, 6, 3), key=fold(key, SITES["source"]))  # transfer.lee:207
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:208
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  transfer.lee:209
    value, saved_near_source = near_source_saved(net, source, x, y)  # transfer.lee:210
    d_value = FLOAT(1.0)
    d_net, d_source, d_x = near_source_backward(net, x, y, 0.01, saved_near_source, 5, 6, 3, d_value)
    return value, net.at(d_net), net.at(d_source), d_x


def example_kept_alike(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # transfer.lee:214
    source = MLP((5, 6, 3), key=fold(key, SITES["source"]))  # transfer.lee:215
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:216
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  transfer.lee:217
    value, saved_like_source = like_source_saved(net, source, x, y)  # transfer.lee:218
    d_net, d_x = like_source_backward(net, x, y, 0.5, saved_like_source, FLOAT(1.0))
    return (
        value,
        net.at(d_net),
        net.at(
            {
                "layers.0": {"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((6, 3), dtype=FLOAT), "b": np.zeros(3, dtype=FLOAT)},
            }
        ),
        d_x,
    )


def example_two_tasks(key):
    net = MultiTask(5, 6, 3, key=fold(key, SITES["net"]))  # transfer.lee:222
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:223
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  transfer.lee:224
    value, saved_both_tasks = both_tasks_saved(net, x, y)  # transfer.lee:225
    d_net, d_x = both_tasks_backward(net, x, y, 0.5, saved_both_tasks, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_described(key):
    z = normal(fold(key, SITES["z"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:229
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:230
    table = (uniform(fold(key, SITES["table"]), (4, 5), FLOAT) < 0.5).astype(FLOAT)  # [4, 5]  transfer.lee:231
    return of_attributes(z, y, table), by_attributes(z, table)  # transfer.lee:232


def example_embedded(key):
    f = normal(fold(key, SITES["f"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:236
    g = normal(fold(key, SITES["g"]), (4, 5), FLOAT)  # [4, 5]  transfer.lee:237
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:238
    value, saved_in_one_space = in_one_space_saved(f, g, y)  # transfer.lee:239
    d_f, d_g = in_one_space_backward(f, g, y, saved_in_one_space, FLOAT(1.0))
    return value, d_f, d_g


def example_embedded_as_printed(key):
    f = normal(fold(key, SITES["f"]), (9, 5), FLOAT)  # [9, 5]  transfer.lee:243
    g = normal(fold(key, SITES["g"]), (4, 5), FLOAT)  # [4, 5]  transfer.lee:244
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  transfer.lee:245
    value, saved_in_one_spaceAsPrinted = in_one_spaceAsPrinted_saved(f, g, y)  # transfer.lee:246
    d_value = FLOAT(1.0)
    d_f, d_g = in_one_spaceAsPrinted_backward(y, saved_in_one_spaceAsPrinted, 4, d_value)
    return value, d_f, d_g


def example_mixed(key):
    z = normal(fold(key, SITES["z"]), (9, 4), FLOAT)  # [9, 4]  transfer.lee:250
    words = normal(fold(key, SITES["words"]), (4, 5), FLOAT)  # [4, 5]  transfer.lee:251
    unseen = normal(fold(key, SITES["unseen"]), (3, 5), FLOAT)  # [3, 5]  transfer.lee:252
    return convex_mix(z, words, unseen)  # int[9]  transfer.lee:253


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0, y_1]  losses.lee:13
    return reduced_3(sub**2), sub


def mse_backward(sub, d_mean):
    """From d_mean to the gradient by y."""
    y_0, y_1 = sub.shape
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_3_backward(y_0, y_1, d_mean) * sub)  # [y_0, y_1]
    return d_y  # [y_0, y_1]


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


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced_2(surprise)  # losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def kl_saved(log_q, p):
    """As kl, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  losses.lee:99
    share = masked(p * (np.log(np.where(gt, p, 1)) - log_q), gt)  # [p_0, p_1]
    return reduced_2(share.sum(axis=1)), gt  # losses.lee:100


def kl_backward(p, gt, d_mean):
    """From d_mean to the gradient by log_q."""
    p_0 = p.shape[0]
    # gradient of share = where(p > 0, p * (log(where(p > 0, p, 1)) - log_q), 0)   losses.lee:99
    d_log_q = masked(-(reduced_2_backward(p_0, d_mean)[:, None] * p), gt)  # [p_0, p_1]
    return d_log_q  # [p_0, p_1]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_backward(d_each):
    """From d_each to the gradient by each."""
    return d_each  # [each_0]


def reduced_2(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_2_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
    return d_each  # [each_0]


def reduced_3(each):
    """The mean of all, or each by itself.

    each [each_0, each_1] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_3_backward(each_0, each_1, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / (each_0 * each_1), (each_0, each_1))  # [each_0, each_1]
    return d_each  # [each_0, each_1]


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


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


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


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return np.sqrt((x**2).sum(axis=1))  # [x_0]  prelude.lee:163


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "f": 0xDB8E39B68F0C962E,
    "features": 0x68EC62D07E1EEF3E,
    "g": 0xBC30DBAED87C766C,
    "head": 0xBD7890018BD219D5,
    "kind": 0x59F77F5C0BDD245A,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "parity": 0x768AC4F8095D28C7,
    "source": 0x32059B96193B42A7,
    "table": 0x4F51E0D95EBC91EB,
    "trunk": 0xFF2A513D7D15F4C6,
    "unseen": 0x73DAEA400DC50011,
    "w": 0x20925082A2286B9E,
    "words": 0x00F658E1AEE31D49,
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


def update_together(optimizer, *pairs, each=False):
    """One update of several models, given with their gradients, as one vector; `each` for a rule of single tensors."""
    θ = np.concatenate([model.parameters for model, _ in pairs])
    shapes = [[shape for model, _ in pairs for shape in model.shapes()]] if each else []
    optimizer.update(θ, np.concatenate([model.flat(gradient) for model, gradient in pairs]), *shapes)
    stop = 0
    for model, _ in pairs:
        start, stop = stop, stop + model.parameters.size
        model.parameters[...] = θ[start:stop]
