"""What an example is worth: its weight in the loss comes from clean examples (inventory P8).

Made from specs/meta/reweighting.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/reweighting.lee
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


def weights(net, x, y, clean, labels, rate=0.1):
    """How much a step on example i lowers the loss of the clean ones, over the sum of all (Ren et al. 2018).

    θ = φ - ε ∇ Σ wᵢ lᵢ is a function of the weights, which begin at 0; those that would do harm stay there.

    x [n, net.sizes_0], y int[n], clean [m, net.sizes_0], labels int[m] -> [n]
    """
    n = x.shape[0]
    w = np.zeros(n, dtype=FLOAT)  # [n]  reweighting.lee:15
    add_2, saved_net = net.forward_saved(x)  # reweighting.lee:16
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, w)
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_2)
    θ_layers_1_w = net.layers[1].w - rate * d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    θ = net.at(
        {
            "layers.0": {
                "w": net.layers[0].w - rate * d_net["layers.0"]["w"],
                "b": net.layers[0].b - rate * d_net["layers.0"]["b"],
            },
            "layers.1": {"w": θ_layers_1_w, "b": net.layers[1].b - rate * d_net["layers.1"]["b"]},
        }
    )
    add_2_2, saved_θ = θ.forward_saved(clean)  # reweighting.lee:17
    d_add_2_2 = cross_entropy_2_backward(add_2_2, labels, FLOAT(1.0))  # [m, net.sizes_2]
    d_θ = θ.forward_backward_parameters(clean, saved_θ, d_add_2_2)
    d_w_2 = -(rate * d_θ["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]  reweighting.lee:16
    d_b = -(rate * d_θ["layers.0"]["b"])  # [net.sizes_1]
    d_w_3 = -(rate * d_θ["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]
    d_b_2 = -(rate * d_θ["layers.1"]["b"])  # [net.sizes_2]
    # [n, net.sizes_2]
    d_d_add_2 = net.forward_backward_parameters_backward_input(
        x, saved_net, saved_net_, {"layers.0": {"w": d_w_2, "b": d_b}, "layers.1": {"w": d_w_3, "b": d_b_2}}
    )
    d_d_each = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n]
    help_ = np.maximum(-d_d_each, 0)  # [n]  reweighting.lee:17
    return help_ / np.maximum(help_.sum(), 1e-12)  # [n]  reweighting.lee:18


def weights_saved(net, x, y, clean, labels, rate=0.1):
    """As weights, and what its gradient needs."""
    n = x.shape[0]
    w = np.zeros(n, dtype=FLOAT)  # [n]  reweighting.lee:15
    add_2, saved_net = net.forward_saved(x)  # reweighting.lee:16
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, w)
    d_net, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_2)
    θ_layers_0_w = net.layers[0].w - rate * d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    θ_layers_1_w = net.layers[1].w - rate * d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    θ = net.at(
        {
            "layers.0": {"w": θ_layers_0_w, "b": net.layers[0].b - rate * d_net["layers.0"]["b"]},
            "layers.1": {"w": θ_layers_1_w, "b": net.layers[1].b - rate * d_net["layers.1"]["b"]},
        }
    )
    add_2_2, saved_θ = θ.forward_saved(clean)  # reweighting.lee:17
    d_add_2_2, saved_cross_entropy_2_backward = cross_entropy_2_backward_saved(add_2_2, labels, FLOAT(1.0))
    d_θ, saved_θ_ = θ.forward_backward_parameters_saved(clean, saved_θ, d_add_2_2)
    d_w_3 = -(rate * d_θ["layers.1"]["w"])  # [net.sizes_1, net.sizes_2]  reweighting.lee:16
    d_w_2 = -(rate * d_θ["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]
    d_b = -(rate * d_θ["layers.0"]["b"])  # [net.sizes_1]
    d_b_2 = -(rate * d_θ["layers.1"]["b"])  # [net.sizes_2]
    d_d_add_2, saved_net_2 = net.forward_backward_parameters_backward_input_saved(
        x, saved_net, saved_net_, {"layers.0": {"w": d_w_2, "b": d_b}, "layers.1": {"w": d_w_3, "b": d_b_2}}
    )
    d_d_each = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n]
    help_ = np.maximum(-d_d_each, 0)  # [n]  reweighting.lee:17
    help_sum = help_.sum()  # reweighting.lee:18
    maximum = np.maximum(help_sum, 1e-12)
    saved = (
        saved_net,
        d_add_2,
        saved_cross_entropy_backward,
        saved_net_,
        θ,
        saved_θ,
        d_add_2_2,
        saved_cross_entropy_2_backward,
        saved_θ_,
        d_w_3,
        d_w_2,
        d_d_add_2,
        saved_net_2,
        -d_d_each,
        help_sum,
        maximum,
    )
    return help_ / maximum, saved


def weights_backward(net, x, clean, rate, saved, div, d_out):
    """From d_add_2, d_add_3, d_add_2_2, d_add, d_w_3, d_w_2, d_d_add_2, d_d_x_2 and d_out to the gradients by net, x and clean."""
    saved_net, d_add_2, saved_cross_entropy_backward, saved_net_, θ, saved_θ, d_add_2_2, saved_cross_entropy_2_backward, saved_θ_, d_w_3, d_w_2, d_d_add_2, saved_net_2, neg, help_sum, maximum = saved
    # gradient of help = max(-grad(cross_entropy(θ(clean), labels), w), 0)   reweighting.lee:17
    d_help = d_out / maximum + masked(-(d_out * div / maximum).sum(), help_sum >= 1e-12)  # [n]
    # gradient of θ = net - rate * grad(sum(w * cross_entropy(net(x), y, reduce = false)), net)   reweighting.lee:16
    d_d_d_each = masked(-d_help, neg >= 0)  # [n]
    d_sub, d_d_d_add_2 = cross_entropy_backward_backward_backward(
        saved_cross_entropy_backward[0], d_d_add_2, d_d_d_each
    )
    d_net, d_x_3, d_x_2_3, d_d_d_self = net.forward_backward_parameters_backward_input_backward(
        {"layers.0": {"w": d_w_2}, "layers.1": {"w": d_w_3}}, x, saved_net, saved_net_[0], saved_net_2, d_d_d_add_2
    )
    d_d_θ_layers_0_w = -(d_d_d_self["layers.0"]["w"] * rate)  # [net.sizes_0, net.sizes_1]
    d_d_θ_layers_0_b = -(d_d_d_self["layers.0"]["b"] * rate)  # [net.sizes_1]
    d_d_θ_layers_1_w = -(d_d_d_self["layers.1"]["w"] * rate)  # [net.sizes_1, net.sizes_2]
    d_d_θ_layers_1_b = -(d_d_d_self["layers.1"]["b"] * rate)  # [net.sizes_2]
    # gradient of help = max(-grad(cross_entropy(θ(clean), labels), w), 0)   reweighting.lee:17
    d_θ, d_clean_2, d_x_2_2, d_d_add_2_2 = θ.forward_backward_parameters_backward(
        clean,
        saved_θ,
        d_add_2_2,
        saved_θ_,
        {
            "layers.0": {"w": d_d_θ_layers_0_w, "b": d_d_θ_layers_0_b},
            "layers.1": {"w": d_d_θ_layers_1_w, "b": d_d_θ_layers_1_b},
        },
    )
    d_add_2_2_2 = cross_entropy_2_backward_backward(saved_cross_entropy_2_backward, d_d_add_2_2)  # [m, net.sizes_2]
    d_θ_, d_clean_3 = θ.forward_saved_backward(clean, saved_θ, d_add_2_2_2, d_x_2_2)
    # gradient of θ = net - rate * grad(sum(w * cross_entropy(net(x), y, reduce = false)), net)   reweighting.lee:16
    d_θ_layers_1_w = d_θ["layers.1"]["w"] + d_θ_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_w_2_2 = -(rate * d_θ_["layers.0"]["w"])  # [net.sizes_0, net.sizes_1]
    d_b = -(rate * d_θ_["layers.0"]["b"])  # [net.sizes_1]
    d_b_2 = -(rate * d_θ_["layers.1"]["b"])  # [net.sizes_2]
    d_w_3_2 = -(rate * d_θ_layers_1_w)  # [net.sizes_1, net.sizes_2]
    d_net_, d_x_4, d_x_2_4, d_d_add_2_3 = net.forward_backward_parameters_backward(
        x,
        saved_net,
        d_add_2,
        saved_net_,
        {"layers.0": {"w": d_w_2_2, "b": d_b}, "layers.1": {"w": d_w_3_2, "b": d_b_2}},
    )
    # [n, net.sizes_2]
    d_add_2_3 = cross_entropy_backward_saved_backward(saved_cross_entropy_backward, d_d_add_2_3, d_sub)
    d_x_2 = d_x_2_3 + d_x_2_4  # [n, net.sizes_1]
    d_net_2, d_x_5 = net.forward_saved_backward(x, saved_net, d_add_2_3, d_x_2)
    d_net_layers_0_w = d_θ_["layers.0"]["w"] + d_net_2["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_θ_["layers.0"]["b"] + d_net_2["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w_5 = d_net["layers.1"]["w"] + d_θ_layers_1_w  # [net.sizes_1, net.sizes_2]
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w = d_net_layers_1_w_5 + d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]
    d_net_layers_1_b = d_θ_["layers.1"]["b"] + d_net_2["layers.1"]["b"]  # [net.sizes_2]
    d_x = d_x_3 + d_x_4 + d_x_5  # [n, net.sizes_0]
    d_clean = d_clean_2 + d_clean_3  # [m, net.sizes_0]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        d_x,
        d_clean,
    )


def reweighted_saved(net, x, y, clean, labels):
    """As reweighted, and what its gradient needs."""
    graft = stop(weights(net, x, y, clean, labels))  # [n]  reweighting.lee:23
    add_2, saved_net = net.forward_saved(x)
    return (graft * cross_entropy(add_2, y)).sum(), (graft, add_2, saved_net)


def reweighted_backward(net, x, y, saved, d_sum):
    """From d_sum to the gradients by net and x."""
    graft, add_2, saved_net = saved
    # gradient of return sum(stop(weights(net, x, y, clean, labels)) * cross_entropy(net(x), y,..   reweighting.lee:23
    d_add_2 = cross_entropy_backward(add_2, y, d_sum * graft)  # [n, net.sizes_2]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_2)
    return d_net, d_x


def reweighted_backward_parameters(net, x, y, saved, d_sum):
    """From d_sum to the gradient by net."""
    graft, add_2, saved_net = saved
    # gradient of return sum(stop(weights(net, x, y, clean, labels)) * cross_entropy(net(x), y,..   reweighting.lee:23
    d_add_2 = cross_entropy_backward(add_2, y, d_sum * graft)  # [n, net.sizes_2]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    return d_net


def with_noise(y, share, key):
    """A share of the labels is drawn at random.

    y int[n] -> int[n]
    """
    n = y.shape[0]
    wrong = uniform(fold(key, SITES["wrong"]), (n,), FLOAT)  # [n]  reweighting.lee:28
    other = randint(fold(key, SITES["other"]), (n,), 0, 10)  # int[n]  reweighting.lee:29
    return np.where(wrong < share, other, y)  # int[n]  reweighting.lee:30


def noisy(share=0.5, steps=300, batch=100, few=100, rate=1e-3, *, run=None):
    """Half of the labels are drawn at random; a hundred are known to be right. Without `trust` all count alike.

    Made for trust = True: with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("noisy")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    clean, labels, x, y = noisy_clean_labels_x_y(data.train.x, data.train.y, share, few, key=run.key("noisy"))
    net = MLP(sizes=(64, 64, 10), key=run.key("net"))  # reweighting.lee:40
    opt = Adam(lr=rate)  # reweighting.lee:41
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(noisy_step(net, opt, y, x, clean, labels, batch, data.train.x.shape[0], key=run.key("noisy")))
    run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # reweighting.lee:48
    return net


def noisy_clean_labels_x_y(data_train_x, data_train_y, share, few, key):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n] -> [few, 64], int[few], [data_train_n - few,
    64], int[data_train_n - few]
    """
    clean = data_train_x[:few]  # [few, 64]  reweighting.lee:36
    labels = data_train_y[:few]  # int[few]  reweighting.lee:37
    x = data_train_x[few:]  # [data_train_n - few, 64]  reweighting.lee:38
    y = with_noise(data_train_y[few:], share, fold(key, SITES["y"]))  # int[data_train_n - few]  reweighting.lee:39
    return clean, labels, x, y


def noisy_step(net, opt, y, x, clean, labels, batch, data_train_n, key):
    """One step of noisy."""
    few = clean.shape[0]
    rows = randint(fold(key, SITES["rows"]), (batch,), 0, data_train_n - few)  # int[batch]  reweighting.lee:43
    gather = x[inside(rows)]  # [batch, 64]  reweighting.lee:45
    gather_2 = y[inside(rows)]  # int[batch]
    loss, saved_reweighted = reweighted_saved(net, gather, gather_2, clean, labels)
    d_loss = FLOAT(1.0)
    d_net = reweighted_backward_parameters(net, gather, gather_2, saved_reweighted, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def example_worth(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # reweighting.lee:53
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  reweighting.lee:54
    y = randint(fold(key, SITES["y"]), (5,), 0, 2)  # int[5]  reweighting.lee:55
    clean = normal(fold(key, SITES["clean"]), (4, 3), FLOAT)  # [4, 3]  reweighting.lee:56
    labels = randint(fold(key, SITES["labels"]), (4,), 0, 2)  # int[4]  reweighting.lee:57
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  reweighting.lee:58
    d_c, saved_weights = weights_saved(net, x, y, clean, labels)  # reweighting.lee:59
    d_net, d_x, d_clean = weights_backward(net, x, clean, 0.1, saved_weights, d_c, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_clean, d_c


def example_weighed(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # reweighting.lee:63
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  reweighting.lee:64
    y = randint(fold(key, SITES["y"]), (5,), 0, 2)  # int[5]  reweighting.lee:65
    clean = normal(fold(key, SITES["clean"]), (4, 3), FLOAT)  # [4, 3]  reweighting.lee:66
    labels = randint(fold(key, SITES["labels"]), (4,), 0, 2)  # int[4]  reweighting.lee:67
    value, saved_reweighted = reweighted_saved(net, x, y, clean, labels)  # reweighting.lee:68
    d_net, d_x = reweighted_backward(net, x, y, saved_reweighted, FLOAT(1.0))
    return value, net.at(d_net), d_x, np.zeros((4, 3), dtype=FLOAT)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


def cross_entropy_backward_saved(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = softmax(z, (1,))  # [rows, k]
    sub = softmax_ - (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = sub * reshape_2  # [rows, k]
    return d_z, (sub, softmax_, reshape_2)


def cross_entropy_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by d_each."""
    sub, _, _ = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_d_surprise = (d_d_z * sub).sum(axis=1)  # [rows]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_d_each = reduced_backward_backward(d_d_surprise)  # [rows]
    return d_d_each  # [rows]


def cross_entropy_backward_backward_backward(sub, d_d_z, d_d_d_each):
    """From d_d_z and d_d_d_each to the gradients by sub and d_d_z."""
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_d_d_surprise = reduced_backward_backward_backward(d_d_d_each)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_d_reshape_2 = d_d_d_surprise[:, None]  # [rows, 1]
    d_d_d_z = d_d_reshape_2 * sub  # [rows, k]
    return d_d_reshape_2 * d_d_z, d_d_d_z


def cross_entropy_backward_saved_backward(saved, d_d_z, d_sub):
    """From d_d_z and d_sub to the gradient by z."""
    _, softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub_2 = d_sub + d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub_2 - (d_sub_2 * softmax_).sum(axis=1, keepdims=True))  # [rows, k]
    return d_z  # [rows, k]


def cross_entropy_2_backward(z, y, d_mean):
    """From d_mean to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_mean)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def cross_entropy_2_backward_saved(z, y, d_mean):
    """From d_mean to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_mean)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = softmax(z, (1,))  # [rows, k]
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = (softmax_ - one_hot) * reshape_2  # [rows, k]
    return d_z, (softmax_, reshape_2)


def cross_entropy_2_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub - (d_sub * softmax_).sum(axis=1, keepdims=True))  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_backward(d_each):
    """From d_each to the gradient by each."""
    return d_each  # [each_0]


def reduced_backward_backward(d_d_each):
    """From d_d_each to the gradient by d_each."""
    return d_d_each  # [each_0]


def reduced_backward_backward_backward(d_d_d_each):
    """From d_d_d_each to the gradient by d_d_each."""
    return d_d_d_each  # [each_0]


def reduced_2_backward(each_0, d_mean):
    """From d_mean to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_mean / each_0, (each_0,))  # [each_0]
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

    def forward_backward_backward_input(self, x, d_d_self, d_d_x):
        """From d_d_self and d_d_x to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return d_d_add  # [rows, outputs]

    def forward_backward_backward_input_backward(self, d_d_self, x, d_d_x, d_d_d_add):
        """From d_d_self, d_d_x and d_d_d_add to the gradients by the parameters, x, d_d_self and d_d_x."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(axis=0)  # [outputs]
        d_d_d_x = d_d_d_add @ self.w.T  # [rows, inputs]
        d_w = d_d_x.T @ d_d_d_add  # [inputs, outputs]
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_d_w = x.T @ d_d_d_add  # [inputs, outputs]
        return {"w": d_w}, d_x, {"w": d_d_d_w, "b": d_d_d_b}, d_d_d_x

    def forward_backward_backward(self, x, d_add, d_d_self, d_d_x):
        """From d_add, d_d_self and d_d_x to the gradients by the parameters, x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return {"w": d_w}, d_x, d_d_add

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_parameters_backward(x, d_d_self):
        """From d_d_self to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_d_add  # [rows, outputs]

    @staticmethod
    def forward_backward_parameters_backward_backward(d_d_self, x, d_d_d_add):
        """From d_d_self and d_d_d_add to the gradients by x and d_d_self."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(axis=0)  # [outputs]
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_d_w = x.T @ d_d_d_add  # [inputs, outputs]
        return d_x, {"w": d_d_d_w, "b": d_d_d_b}

    @staticmethod
    def forward_backward_parameters_backward_2(x, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_x, d_d_add


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

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}

    def forward_backward_parameters_saved(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, (saved_relu_backward, d_add)

    def forward_backward_parameters_backward_input(self, x, x_2, saved, d_d_self):
        """From d_d_self to the gradient by d_add_2."""
        saved_relu_backward, _ = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_d_add_2 = self.layers[1].forward_backward_backward_input(x_2, d_d_self["layers.1"], d_d_x_2)  # [x_0, sizes_2]
        return d_d_add_2  # [x_0, sizes_2]

    def forward_backward_parameters_backward_input_saved(self, x, x_2, saved, d_d_self):
        """From d_d_self to the gradients by d_add_2 and d_x_2."""
        saved_relu_backward, _ = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_d_add_2 = self.layers[1].forward_backward_backward_input(x_2, d_d_self["layers.1"], d_d_x_2)  # [x_0, sizes_2]
        return d_d_add_2, d_d_x_2

    def forward_backward_parameters_backward_input_backward(self, d_d_self, x, x_2, gt, d_d_x_2, d_d_d_add_2):
        """From d_d_self, d_d_x_2 and d_d_d_add_2 to the gradients by the parameters, x, x_2 and d_d_self."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_d_layers_1, d_d_d_x_2 = self.layers[1].forward_backward_backward_input_backward(
            d_d_self["layers.1"], x_2, d_d_x_2, d_d_d_add_2
        )
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_d_add = relu_backward_backward_backward(gt, d_d_d_x_2)  # [x_0, sizes_1]
        d_x, d_d_d_layers_0 = Linear.forward_backward_parameters_backward_backward(d_d_self["layers.0"], x, d_d_d_add)
        return {"layers.1": d_layers_1_}, d_x, d_x_2, {"layers.0": d_d_d_layers_0, "layers.1": d_d_d_layers_1}

    def forward_backward_parameters_backward(self, x, x_2, d_add_2, saved, d_d_self):
        """From d_add_2, d_add and d_d_self to the gradients by the parameters, x, x_2 and d_add_2."""
        saved_relu_backward, d_add = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x, d_d_add = Linear.forward_backward_parameters_backward_2(x, d_add, d_d_self["layers.0"])
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        return {"layers.1": d_layers_1_}, d_x, d_x_2, d_d_add_2

    def forward_saved_backward(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


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


def relu_backward_backward_backward(gt, d_d_d_select):
    """From d_d_d_select to the gradient by d_d_x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_d_x = masked(d_d_d_select, gt)  # [x_0, x_1]
    return d_d_d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "clean": 0xB97F249A6305C035,
    "labels": 0xA180C7DE21361E13,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "other": 0xAF93053850CE50D6,
    "rows": 0x7157F64E97D70F72,
    "w": 0x20925082A2286B9E,
    "wrong": 0x041D713E9C50EE2C,
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
