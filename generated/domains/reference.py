"""Training data from one domain, tests from another (inventory L7 to L11).

Made from specs/transfer/domains.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/transfer/domains.lee
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


def other_domain(x, noise):
    """The same digits, pale on a bright and noisy ground.

    x [n, d], noise [n, d] -> [n, d]
    """
    return 0.4 + 0.6 * x + 0.1 * noise  # [n, d]  domains.lee:12


def other_domain_backward(d_y):
    """From d_y to the gradients by x and noise."""
    # gradient of return 0.4 + 0.6 * x + 0.1 * noise   domains.lee:12
    d_noise = d_y * 0.1  # [n, d]
    d_x = d_y * 0.6  # [n, d]
    return d_x, d_noise


class Adaptive(Model):
    """Features, what they say about the class, and what they say about the domain."""

    members = ("features", "label", "domain")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.features = Linear(d, hidden, key=fold(key, SITES["features"]))  # domains.lee:20
        self.label = Linear(hidden, classes, key=fold(key, SITES["label"]))  # domains.lee:21
        self.domain = MLP((hidden, hidden, 2), key=fold(key, SITES["domain"]))  # domains.lee:22
        self.lay_out()

    def feature(self, x):
        """x [n, d] -> [n, hidden]"""
        return relu(self.features(x))  # [n, hidden]  domains.lee:25

    def feature_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return relu(features(x))   domains.lee:25
        d_features, d_x = self.features.forward_backward(x, relu_backward(select, d_y))
        return {"features": d_features}, d_x

    @staticmethod
    def feature_backward_parameters(x, select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return relu(features(x))   domains.lee:25
        d_features = Linear.forward_backward_parameters(x, relu_backward(select, d_y))
        return {"features": d_features}

    def forward(self, x, strength):
        """x [n, d] -> [n, classes], [n, 2]"""
        h = self.feature(x)  # [n, hidden]  domains.lee:28
        return self.label(h), self.domain(reverse_gradient(h, strength=strength))  # domains.lee:29

    def forward_saved(self, x, strength):
        """As forward, and what its gradient needs."""
        h = self.feature(x)  # [n, hidden]  domains.lee:28
        graft = reverse_gradient(h, strength=strength)  # [n, hidden]  domains.lee:29
        add_2, saved_domain = self.domain.forward_saved(graft)
        return self.label(h), add_2, (h, graft, saved_domain)

    def forward_backward(self, x, strength, saved, d_add_2):
        """From d_add_2 to the gradients by the parameters and x."""
        h, graft, saved_domain = saved
        # gradient of return label(h), domain(reverse_gradient(h, strength))   domains.lee:29
        d_domain, d_graft = self.domain.forward_backward(graft, saved_domain, d_add_2)
        d_h = reverse_gradient_backward(strength, d_graft)  # [n, hidden]
        # gradient of h = feature(x)   domains.lee:28
        d_adaptive, d_x = self.feature_backward(x, h, d_h)
        return {"features": d_adaptive["features"], "domain": d_domain}, d_x

    def forward_backward_2(self, x, strength, saved, d_add, d_add_2):
        """From d_add and d_add_2 to the gradients by the parameters and x."""
        h, graft, saved_domain = saved
        # gradient of return label(h), domain(reverse_gradient(h, strength))   domains.lee:29
        d_domain, d_graft = self.domain.forward_backward(graft, saved_domain, d_add_2)
        d_label, d_h_3 = self.label.forward_backward(h, d_add)
        # gradient of h = feature(x)   domains.lee:28
        d_h = reverse_gradient_backward(strength, d_graft) + d_h_3  # [n, hidden]
        d_adaptive, d_x = self.feature_backward(x, h, d_h)
        return {"features": d_adaptive["features"], "label": d_label, "domain": d_domain}, d_x

    def forward_backward_parameters(self, x, strength, saved, d_add_2):
        """From d_add_2 to the gradient by the parameters."""
        h, graft, saved_domain = saved
        # gradient of return label(h), domain(reverse_gradient(h, strength))   domains.lee:29
        d_domain, d_graft = self.domain.forward_backward(graft, saved_domain, d_add_2)
        d_h = reverse_gradient_backward(strength, d_graft)  # [n, hidden]
        # gradient of h = feature(x)   domains.lee:28
        d_adaptive = Adaptive.feature_backward_parameters(x, h, d_h)
        return {"features": d_adaptive["features"], "domain": d_domain}

    def forward_backward_parameters_2(self, x, strength, saved, d_add, d_add_2):
        """From d_add and d_add_2 to the gradient by the parameters."""
        h, graft, saved_domain = saved
        # gradient of return label(h), domain(reverse_gradient(h, strength))   domains.lee:29
        d_domain, d_graft = self.domain.forward_backward(graft, saved_domain, d_add_2)
        d_label, d_h_3 = self.label.forward_backward(h, d_add)
        # gradient of h = feature(x)   domains.lee:28
        d_h = reverse_gradient_backward(strength, d_graft) + d_h_3  # [n, hidden]
        d_adaptive = Adaptive.feature_backward_parameters(x, h, d_h)
        return {"features": d_adaptive["features"], "label": d_label, "domain": d_domain}

    def forward_2(self, x, strength):
        """x [n, d] -> [n, classes], [n, 2]"""
        h = self.feature(x)  # [n, hidden]  domains.lee:28
        return self.label(h), self.domain(reverse_gradient_2(h, strength=strength))  # domains.lee:29


def mean_gap(a, b):
    """How far apart the means of the features of both domains lie (Tzeng et al. 2014).

    a [n, d], b [m, d] -> []
    """
    sub = a.mean(axis=0) - b.mean(axis=0)  # [d]  domains.lee:34
    return (sub**2).sum()


def mean_gap_saved(a, b):
    """As mean_gap, and what its gradient needs."""
    sub = a.mean(axis=0) - b.mean(axis=0)  # [d]  domains.lee:34
    return (sub**2).sum(), sub


def mean_gap_backward(sub, m, n, d_y):
    """From d_y to the gradients by a and b."""
    d = sub.shape[0]
    # gradient of return sum((mean(a, axis = 0) - mean(b, axis = 0)) ** 2)   domains.lee:34
    d_sub = 2 * d_y * sub  # [d]
    d_b = np.broadcast_to(-d_sub / m, (m, d))  # [m, d]
    d_a = np.broadcast_to(d_sub / n, (n, d))  # [n, d]
    return d_a, d_b


def aligned(net, x, y, target, weight=0.3):
    """The label predictor on the source, and features whose means agree.

    x [n, net.d], y int[n], target [m, net.d] -> []
    """
    a = net.feature(x)  # [n, net.hidden]  domains.lee:39
    mul = weight * mean_gap(a, net.feature(target))  # domains.lee:40
    return cross_entropy(net.label(a), y) + mul


def aligned_saved(net, x, y, target, weight=0.3):
    """As aligned, and what its gradient needs."""
    a = net.feature(x)  # [n, net.hidden]  domains.lee:39
    add = net.label(a)  # [n, net.classes]  domains.lee:40
    select = net.feature(target)  # [m, net.hidden]
    sum_, saved_mean_gap = mean_gap_saved(a, select)
    return cross_entropy(add, y) + weight * sum_, (a, add, select, saved_mean_gap)


def aligned_backward(net, x, y, target, weight, saved, d_out):
    """From d_out to the gradients by net, x and target."""
    a, add, select, saved_mean_gap = saved
    n = x.shape[0]
    m = target.shape[0]
    # gradient of return cross_entropy(net.label(a), y) + weight * mean_gap(a, net.feature(targ..   domains.lee:40
    d_a_2, d_select = mean_gap_backward(saved_mean_gap, m, n, d_out * weight)
    d_net, d_target = net.feature_backward(target, select, d_select)
    d_net_label, d_a_3 = net.label.forward_backward(a, cross_entropy_backward(add, y, d_out))
    # gradient of a = net.feature(x)   domains.lee:39
    d_a = d_a_2 + d_a_3  # [n, net.hidden]
    d_net_, d_x = net.feature_backward(x, a, d_a)
    d_net_features_w = d_net["features"]["w"] + d_net_["features"]["w"]  # [net.d, net.hidden]
    d_net_features_b = d_net["features"]["b"] + d_net_["features"]["b"]  # [net.hidden]
    return {"features": {"w": d_net_features_w, "b": d_net_features_b}, "label": d_net_label}, d_x, d_target


def adversarial_saved(net, x, y, target, strength):
    """As adversarial, and what its gradient needs."""
    class_x, domain_x, saved_net = net.forward_saved(x, strength)  # domains.lee:45
    _, domain_z, saved_net_ = net.forward_saved(target, strength)  # domains.lee:46
    sub, saved_told_apart = told_apart_saved(domain_x, domain_z)  # domains.lee:47
    return cross_entropy(class_x, y) + sub, (class_x, saved_net, saved_net_, saved_told_apart)


def adversarial_backward(net, x, y, target, strength, saved, d_add_2):
    """From d_add_2 to the gradients by net, x and target."""
    class_x, saved_net, saved_net_, saved_told_apart = saved
    # gradient of return cross_entropy(class_x, y) + told_apart(domain_x, domain_z)   domains.lee:47
    d_domain_x, d_domain_z = told_apart_backward(saved_told_apart, d_add_2)
    d_class_x = cross_entropy_backward(class_x, y, d_add_2)  # [n, net.classes]
    # gradient of _, domain_z = net(target, strength)   domains.lee:46
    d_net, d_target = net.forward_backward(target, strength, saved_net_, d_domain_z)
    # gradient of class_x, domain_x = net(x, strength)   domains.lee:45
    d_net_, d_x = net.forward_backward_2(x, strength, saved_net, d_class_x, d_domain_x)
    d_net_features_w = d_net["features"]["w"] + d_net_["features"]["w"]  # [net.d, net.hidden]
    d_net_features_b = d_net["features"]["b"] + d_net_["features"]["b"]  # [net.hidden]
    # [net.hidden, net.hidden]
    d_net_domain_layers_0_w = d_net["domain"]["layers.0"]["w"] + d_net_["domain"]["layers.0"]["w"]
    d_net_domain_layers_0_b = d_net["domain"]["layers.0"]["b"] + d_net_["domain"]["layers.0"]["b"]  # [net.hidden]
    d_net_domain_layers_1_w = d_net["domain"]["layers.1"]["w"] + d_net_["domain"]["layers.1"]["w"]  # [net.hidden, 2]
    d_net_domain_layers_1_b = d_net["domain"]["layers.1"]["b"] + d_net_["domain"]["layers.1"]["b"]  # [2]
    return (
        {
            "features": {"w": d_net_features_w, "b": d_net_features_b},
            "label": d_net_["label"],
            "domain": {
                "layers.0": {"w": d_net_domain_layers_0_w, "b": d_net_domain_layers_0_b},
                "layers.1": {"w": d_net_domain_layers_1_w, "b": d_net_domain_layers_1_b},
            },
        },
        d_x,
        d_target,
    )


def adversarial_backward_parameters(net, x, y, target, strength, saved, d_add_2):
    """From d_add_2 to the gradient by net."""
    class_x, saved_net, saved_net_, saved_told_apart = saved
    # gradient of return cross_entropy(class_x, y) + told_apart(domain_x, domain_z)   domains.lee:47
    d_domain_x, d_domain_z = told_apart_backward(saved_told_apart, d_add_2)
    d_class_x = cross_entropy_backward(class_x, y, d_add_2)  # [n, net.classes]
    # gradient of _, domain_z = net(target, strength)   domains.lee:46
    d_net = net.forward_backward_parameters(target, strength, saved_net_, d_domain_z)
    # gradient of class_x, domain_x = net(x, strength)   domains.lee:45
    d_net_ = net.forward_backward_parameters_2(x, strength, saved_net, d_class_x, d_domain_x)
    d_net_features_w = d_net["features"]["w"] + d_net_["features"]["w"]  # [net.d, net.hidden]
    d_net_features_b = d_net["features"]["b"] + d_net_["features"]["b"]  # [net.hidden]
    # [net.hidden, net.hidden]
    d_net_domain_layers_0_w = d_net["domain"]["layers.0"]["w"] + d_net_["domain"]["layers.0"]["w"]
    d_net_domain_layers_0_b = d_net["domain"]["layers.0"]["b"] + d_net_["domain"]["layers.0"]["b"]  # [net.hidden]
    d_net_domain_layers_1_w = d_net["domain"]["layers.1"]["w"] + d_net_["domain"]["layers.1"]["w"]  # [net.hidden, 2]
    d_net_domain_layers_1_b = d_net["domain"]["layers.1"]["b"] + d_net_["domain"]["layers.1"]["b"]  # [2]
    return {
        "features": {"w": d_net_features_w, "b": d_net_features_b},
        "label": d_net_["label"],
        "domain": {
            "layers.0": {"w": d_net_domain_layers_0_w, "b": d_net_domain_layers_0_b},
            "layers.1": {"w": d_net_domain_layers_1_w, "b": d_net_domain_layers_1_b},
        },
    }


def told_apart(domain_x, domain_z):
    """domain_x [n, 2], domain_z [m, 2] -> []"""
    mean = log_softmax(domain_x, (1,))[:, 0].mean()  # domains.lee:51
    return -(mean + log_softmax(domain_z, (1,))[:, 1].mean())


def told_apart_saved(domain_x, domain_z):
    """As told_apart, and what its gradient needs."""
    log_softmax_ = log_softmax(domain_x, (1,))  # [n, 2]  prelude.lee:127
    log_softmax_2 = log_softmax(domain_z, (1,))  # [m, 2]
    return -(log_softmax_[:, 0].mean() + log_softmax_2[:, 1].mean()), (log_softmax_, log_softmax_2)  # domains.lee:51


def told_apart_backward(saved, d_y):
    """From d_y to the gradients by domain_x and domain_z."""
    log_softmax_, log_softmax_2 = saved
    n = log_softmax_.shape[0]
    m = log_softmax_2.shape[0]
    # gradient of return -mean(log_softmax(domain_x, axis = 1)[:, 0]) - mean(log_softmax(domain..   domains.lee:51
    d_slice_2 = np.broadcast_to(-d_y / m, (m, 1))  # [m, 1]
    d_log_softmax_2 = unslice(d_slice_2, (m, 2), (slice(0, m), slice(1, 2)))  # [m, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_2.sum(axis=1, keepdims=True)  # [m, 1]
    d_domain_z = d_log_softmax_2 - np.exp(log_softmax_2) * sum_  # [m, 2]
    # gradient of return -mean(log_softmax(domain_x, axis = 1)[:, 0]) - mean(log_softmax(domain..   domains.lee:51
    d_slice = np.broadcast_to(-d_y / n, (n, 1))  # [n, 1]
    d_log_softmax = unslice(d_slice, (n, 2), (slice(0, n), slice(0, 1)))  # [n, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    d_domain_x = d_log_softmax - np.exp(log_softmax_) * sum_2  # [n, 2]
    return d_domain_x, d_domain_z


def of_features(net, x, y, target):
    """The same by hand: θ_f = argmin L - L_d; the notes say that this is the most primitive way.

    x [n, net.d], y int[n], target [m, net.d] -> []
    """
    class_x, domain_x = net(x, -1.0)  # domains.lee:56
    _, domain_z = net(target, -1.0)  # domains.lee:57
    return cross_entropy(class_x, y) - told_apart(domain_x, domain_z)  # domains.lee:58


def of_features_saved(net, x, y, target):
    """As of_features, and what its gradient needs."""
    class_x, domain_x, saved_net = net.forward_saved(x, -1.0)  # domains.lee:56
    _, domain_z, saved_net_ = net.forward_saved(target, -1.0)  # domains.lee:57
    sub, saved_told_apart = told_apart_saved(domain_x, domain_z)  # domains.lee:58
    return cross_entropy(class_x, y) - sub, (class_x, saved_net, saved_net_, saved_told_apart)


def of_features_backward(net, x, y, target, saved, d_out):
    """From d_out to the gradients by net, x and target."""
    class_x, saved_net, saved_net_, saved_told_apart = saved
    # gradient of return cross_entropy(class_x, y) - told_apart(domain_x, domain_z)   domains.lee:58
    d_domain_x, d_domain_z = told_apart_backward(saved_told_apart, -d_out)
    d_class_x = cross_entropy_backward(class_x, y, d_out)  # [n, net.classes]
    # gradient of _, domain_z = net(target, -1.0)   domains.lee:57
    d_net, d_target = net.forward_backward(target, -1.0, saved_net_, d_domain_z)
    # gradient of class_x, domain_x = net(x, -1.0)   domains.lee:56
    d_net_, d_x = net.forward_backward_2(x, -1.0, saved_net, d_class_x, d_domain_x)
    d_net_features_w = d_net["features"]["w"] + d_net_["features"]["w"]  # [net.d, net.hidden]
    d_net_features_b = d_net["features"]["b"] + d_net_["features"]["b"]  # [net.hidden]
    # [net.hidden, net.hidden]
    d_net_domain_layers_0_w = d_net["domain"]["layers.0"]["w"] + d_net_["domain"]["layers.0"]["w"]
    d_net_domain_layers_0_b = d_net["domain"]["layers.0"]["b"] + d_net_["domain"]["layers.0"]["b"]  # [net.hidden]
    d_net_domain_layers_1_w = d_net["domain"]["layers.1"]["w"] + d_net_["domain"]["layers.1"]["w"]  # [net.hidden, 2]
    d_net_domain_layers_1_b = d_net["domain"]["layers.1"]["b"] + d_net_["domain"]["layers.1"]["b"]  # [2]
    return (
        {
            "features": {"w": d_net_features_w, "b": d_net_features_b},
            "label": d_net_["label"],
            "domain": {
                "layers.0": {"w": d_net_domain_layers_0_w, "b": d_net_domain_layers_0_b},
                "layers.1": {"w": d_net_domain_layers_1_w, "b": d_net_domain_layers_1_b},
            },
        },
        d_x,
        d_target,
    )


def domain_adversarial(epochs=30, batch=64, rate=2e-3, *, run=None):
    """Labels only of the source; those of the target serve the report."""
    from leec.runtime.run import Run

    run = run or Run("domain_adversarial")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Adaptive(d=64, hidden=64, classes=10, key=run.key("net"))  # domains.lee:64
    opt = Adam(lr=rate)  # domains.lee:65
    total = 3e1 * 20  # domains.lee:66
    t = 0  # domains.lee:67
    (t,) = run.restore("epoch", t=t)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            noise = domain_adversarial_noise(x, key=run.key("domain_adversarial"))  # domains.lee:70
            strength = 0.2 / (1 + math.exp(-10 * t / total)) - 0.1  # domains.lee:71
            run.step(domain_adversarial_step(net, opt, x, y, noise, strength))  # domains.lee:72
            t = t + 1  # domains.lee:73
        run.keep("epoch", t=t)
    class_x, class_z, y = domain_adversarial_class_x_class_z_y(
        data.test.x, net, data.test.y, key=run.key("domain_adversarial")
    )
    reported_source, reported_target, reported_lost = domain_adversarial_source_target_lost(class_x, y, class_z)
    run.report(source=reported_source, target=reported_target, lost=reported_lost)  # domains.lee:78
    return net


def domain_adversarial_noise(x, key):
    """x [batches_n, 64] -> [batches_n, 64]"""
    batches_n = x.shape[0]
    noise = normal(fold(key, SITES["noise"]), (batches_n, 64), FLOAT)  # [batches_n, 64]  domains.lee:70
    return noise  # [batches_n, 64]


def domain_adversarial_step(net, opt, x, y, noise, strength):
    """One step of domain_adversarial."""
    add_2 = other_domain(x, noise)  # [batches_n, 64]  domains.lee:72
    loss, saved_adversarial = adversarial_saved(net, x, y, add_2, strength)
    d_loss = FLOAT(1.0)
    d_net = adversarial_backward_parameters(net, x, y, add_2, strength, saved_adversarial, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def domain_adversarial_class_x_class_z_y(data_test_x, net, data_test_y, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], [data_test_n, 10],
    int[data_test_n]
    """
    data_test_n = data_test_x.shape[0]
    other = normal(fold(key, SITES["other"]), (data_test_n, 64), FLOAT)  # [data_test_n, 64]  domains.lee:74
    class_x, _ = net.forward_2(data_test_x, 0)  # domains.lee:75
    class_z, _ = net.forward_2(other_domain(data_test_x, other), 0)  # domains.lee:76
    return class_x, class_z, data_test_y


def domain_adversarial_source_target_lost(class_x, y, class_z):
    """class_x [data_test_n, 10], y int[data_test_n], class_z [data_test_n, 10] -> [], [], []"""
    return accuracy(class_x, y), accuracy(class_z, y), cross_entropy(class_z, y)  # domains.lee:78


def source_only(epochs=30, batch=64, rate=2e-3, *, run=None):
    """For comparison."""
    from leec.runtime.run import Run

    run = run or Run("source_only")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Adaptive(d=64, hidden=64, classes=10, key=run.key("net"))  # domains.lee:85
    opt = Adam(lr=rate)  # domains.lee:86
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(source_only_step(net, opt, x, y))  # domains.lee:89
    class_x, class_z, y = source_only_class_x_class_z_y(data.test.x, net, data.test.y, key=run.key("source_only"))
    reported_source, reported_target, reported_lost = source_only_source_target_lost(class_x, y, class_z)
    run.report(source=reported_source, target=reported_target, lost=reported_lost)  # domains.lee:94
    return net


def source_only_step(net, opt, x, y):
    """One step of source_only."""
    select = net.feature(x)  # [batches_n, 64]  domains.lee:89
    add = net.label(select)  # [batches_n, 10]
    d_add = cross_entropy_backward(add, y, FLOAT(1.0))  # [batches_n, 10]
    d_net, d_select = net.label.forward_backward(select, d_add)
    d_net_ = Adaptive.feature_backward_parameters(x, select, d_select)
    opt.update(
        net.parameters,
        net.flat(
            {
                "features": d_net_["features"],
                "label": d_net,
                "domain": {
                    "layers.0": {"w": np.zeros((64, 64), dtype=FLOAT), "b": np.zeros(64, dtype=FLOAT)},
                    "layers.1": {"w": np.zeros((64, 2), dtype=FLOAT), "b": np.zeros(2, dtype=FLOAT)},
                },
            }
        ),
    )
    return cross_entropy(add, y)


def source_only_class_x_class_z_y(data_test_x, net, data_test_y, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], [data_test_n, 10],
    int[data_test_n]
    """
    data_test_n = data_test_x.shape[0]
    other = normal(fold(key, SITES["other"]), (data_test_n, 64), FLOAT)  # [data_test_n, 64]  domains.lee:90
    class_x, _ = net.forward_2(data_test_x, 0)  # domains.lee:91
    class_z, _ = net.forward_2(other_domain(data_test_x, other), 0)  # domains.lee:92
    return class_x, class_z, data_test_y


def source_only_source_target_lost(class_x, y, class_z):
    """class_x [data_test_n, 10], y int[data_test_n], class_z [data_test_n, 10] -> [], [], []"""
    return accuracy(class_x, y), accuracy(class_z, y), cross_entropy(class_z, y)  # domains.lee:94


def uncertainty(z):
    """The entropy of the answers to unlabelled inputs: small where no boundary is near.

    z [n, k] -> []
    """
    mean = (softmax(z, (1,)) * log_softmax(z, (1,))).sum(axis=1).mean()  # domains.lee:103
    return -mean


def discrepancy(a, b):
    """How much two classifiers differ, mean |p - q| (Saito et al. 2018).

    a [n, k], b [n, k] -> []
    """
    return np.abs(softmax(a, (1,)) - softmax(b, (1,))).mean()  # domains.lee:108


def discrepancy_saved(a, b):
    """As discrepancy, and what its gradient needs."""
    softmax_ = softmax(a, (1,))  # [n, k]  prelude.lee:122
    softmax_2 = softmax(b, (1,))  # [n, k]
    sub = softmax_ - softmax_2  # [n, k]  domains.lee:108
    return np.abs(sub).mean(), (softmax_, softmax_2, sub)


def discrepancy_backward(saved, d_y):
    """From d_y to the gradients by a and b."""
    softmax_, softmax_2, sub = saved
    n, k = softmax_.shape
    # gradient of return mean(abs(softmax(a, axis = 1) - softmax(b, axis = 1)))   domains.lee:108
    d_sub = d_y / (k * n) * np.sign(sub)  # [n, k]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_b = softmax_2 * (-d_sub - (-d_sub * softmax_2).sum(axis=1, keepdims=True))  # [n, k]
    d_a = softmax_ * (d_sub - (d_sub * softmax_).sum(axis=1, keepdims=True))  # [n, k]
    return d_a, d_b


def max_discrepancy(epochs=12, batch=64, rate=2e-3, *, run=None):
    """Two heads: both right on the source, then as different as can be on the target, then the features against that."""
    from leec.runtime.run import Run

    run = run or Run("max_discrepancy")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    features = Linear(inputs=64, outputs=64, key=run.key("features"))  # domains.lee:114
    one = Linear(inputs=64, outputs=10, key=run.key("one"))  # domains.lee:115
    two = Linear(inputs=64, outputs=10, key=run.key("two"))  # domains.lee:116
    opt = Adam(lr=rate)  # domains.lee:117
    opt_heads = Adam(lr=rate)  # domains.lee:118
    opt_features = Adam(lr=0.1 * rate)  # domains.lee:119
    for epoch in run.loop(
        "epoch", 1, epochs, features=features, one=one, opt=opt, opt_features=opt_features, opt_heads=opt_heads, two=two
    ):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            target, loss, loss_1, loss_2 = max_discrepancy_step(
                features, one, two, opt, opt_heads, opt_features, x, y, key=run.key("max_discrepancy")
            )
            run.step(loss)
            run.step(loss_1, "loss_1")
            run.step(loss_2, "loss_2")
    class_x, class_z, y = max_discrepancy_class_x_class_z_y(
        data.test.x, one, features, data.test.y, key=run.key("max_discrepancy")
    )
    reported_source, reported_target, reported_lost = max_discrepancy_source_target_lost(class_x, y, class_z)
    run.report(source=reported_source, target=reported_target, lost=reported_lost)  # domains.lee:136
    return features, one


def max_discrepancy_step(features, one, two, opt, opt_heads, opt_features, x, y, key):
    """One step of max_discrepancy."""
    batches_n = x.shape[0]
    noise = normal(fold(key, SITES["noise"]), (batches_n, 64), FLOAT)  # [batches_n, 64]  domains.lee:122
    target = other_domain(x, noise)  # [batches_n, 64]  domains.lee:123
    h = relu(features(x))  # [batches_n, 64]  domains.lee:124
    one_out = one(h)  # [batches_n, 10]  domains.lee:125
    two_out = two(h)  # [batches_n, 10]
    d_two, d_h_2 = two.forward_backward(h, cross_entropy_backward(two_out, y, FLOAT(1.0)))
    d_one, d_h_3 = one.forward_backward(h, cross_entropy_backward(one_out, y, FLOAT(1.0)))
    d_h = d_h_2 + d_h_3  # [batches_n, 64]  domains.lee:124
    d_features = Linear.forward_backward_parameters(x, relu_backward(h, d_h))
    update_together(opt, (features, d_features), (one, d_one), (two, d_two))  # domains.lee:125
    h_2 = relu(features(x))  # [batches_n, 64]  domains.lee:126
    g_2 = relu(features(target))  # [batches_n, 64]  domains.lee:127
    add_7 = one(h_2)  # [batches_n, 10]  domains.lee:128
    add_8 = two(h_2)  # [batches_n, 10]
    right = cross_entropy(add_7, y) + cross_entropy(add_8, y)
    mean_5, saved_discrepancy = discrepancy_saved(one(g_2), two(g_2))  # domains.lee:129
    d_add_10, d_add_11 = discrepancy_backward(saved_discrepancy, FLOAT(-1.0))
    d_linear = Linear.forward_backward_parameters(g_2, d_add_11)
    d_linear_ = Linear.forward_backward_parameters(g_2, d_add_10)
    d_add_8 = cross_entropy_backward(add_8, y, FLOAT(1.0))  # [batches_n, 10]  domains.lee:128
    d_linear_2 = Linear.forward_backward_parameters(h_2, d_add_8)
    d_add_7 = cross_entropy_backward(add_7, y, FLOAT(1.0))  # [batches_n, 10]
    d_linear_3 = Linear.forward_backward_parameters(h_2, d_add_7)
    # domains.lee:129
    update_together(
        opt_heads,
        (one, {"w": d_linear_["w"] + d_linear_3["w"], "b": d_linear_["b"] + d_linear_3["b"]}),
        (two, {"w": d_linear["w"] + d_linear_2["w"], "b": d_linear["b"] + d_linear_2["b"]}),
    )
    loss_2, saved_discrepancy_ = discrepancy_saved(one(g_2), two(g_2))  # domains.lee:131
    d_add_13, d_add_14 = discrepancy_backward(saved_discrepancy_, FLOAT(1.0))
    # [batches_n, 64]  domains.lee:127
    d_g_2 = two.forward_backward_input(d_add_14) + one.forward_backward_input(d_add_13)
    d_linear_4 = Linear.forward_backward_parameters(target, relu_backward(g_2, d_g_2))
    opt_features.update(features.parameters, features.flat(d_linear_4))  # domains.lee:131
    return target, cross_entropy(one_out, y) + cross_entropy(two_out, y), right - mean_5, loss_2


def max_discrepancy_class_x_class_z_y(data_test_x, one, features, data_test_y, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], [data_test_n, 10],
    int[data_test_n]
    """
    data_test_n = data_test_x.shape[0]
    other = normal(fold(key, SITES["other"]), (data_test_n, 64), FLOAT)  # [data_test_n, 64]  domains.lee:132
    class_x = one(relu(features(data_test_x)))  # [data_test_n, 10]  domains.lee:133
    class_z = one(relu(features(other_domain(data_test_x, other))))  # [data_test_n, 10]  domains.lee:134
    return class_x, class_z, data_test_y


def max_discrepancy_source_target_lost(class_x, y, class_z):
    """class_x [data_test_n, 10], y int[data_test_n], class_z [data_test_n, 10] -> [], [], []"""
    return accuracy(class_x, y), accuracy(class_z, y), cross_entropy(class_z, y)  # domains.lee:136


def shared_weights(domain, z):
    """Universal adaptation (You et al. 2019): how likely an input of the source, or of the target, has a shared class.

    d is the chance of the source by the domain classifier; the entropy of the answer is divided by its largest value.

    domain [n, 2], z [n, k] -> [n], [n]
    """
    k = z.shape[1]
    d = softmax(domain, (1,))[:, 0]  # [n]  domains.lee:148
    entropy = -(softmax(z, (1,)) * log_softmax(z, (1,))).sum(axis=1) / math.log(k)  # [n]  domains.lee:149
    return entropy - d, d - entropy  # domains.lee:150


def universal(domain_x, z_x, domain_t, z_t):
    """The domain classifier's loss, every input by its weight.

    domain_x [n, 2], z_x [n, k], domain_t [m, 2], z_t [m, k] -> []
    """
    w, _ = shared_weights(domain_x, z_x)  # domains.lee:155
    _, v = shared_weights(domain_t, z_t)  # domains.lee:156
    source = -(stop(w) * log_softmax(domain_x, (1,))[:, 0]).mean()  # domains.lee:157
    mean_2 = (stop(v) * log_softmax(domain_t, (1,))[:, 1]).mean()  # domains.lee:158
    return source - mean_2


def universal_saved(domain_x, z_x, domain_t, z_t):
    """As universal, and what its gradient needs."""
    w, _ = shared_weights(domain_x, z_x)  # domains.lee:155
    _, v = shared_weights(domain_t, z_t)  # domains.lee:156
    graft = stop(w)  # [n]  domains.lee:157
    log_softmax_ = log_softmax(domain_x, (1,))  # [n, 2]  prelude.lee:127
    source = -(graft * log_softmax_[:, 0]).mean()  # domains.lee:157
    graft_2 = stop(v)  # [m]  domains.lee:158
    log_softmax_2 = log_softmax(domain_t, (1,))  # [m, 2]  prelude.lee:127
    # domains.lee:158
    return source - (graft_2 * log_softmax_2[:, 1]).mean(), (graft, log_softmax_, graft_2, log_softmax_2)


def universal_backward(saved, d_y):
    """From d_y to the gradients by domain_x and domain_t."""
    graft, log_softmax_, graft_2, log_softmax_2 = saved
    n = graft.shape[0]
    m = graft_2.shape[0]
    # gradient of return source - mean(stop(v) * log_softmax(domain_t, axis = 1)[:, 1])   domains.lee:158
    d_log_softmax_2 = unslice((-d_y / m * graft_2)[:, None], (m, 2), (slice(0, m), slice(1, 2)))  # [m, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_2.sum(axis=1, keepdims=True)  # [m, 1]
    d_domain_t = d_log_softmax_2 - np.exp(log_softmax_2) * sum_  # [m, 2]
    # gradient of source = -mean(stop(w) * log_softmax(domain_x, axis = 1)[:, 0])   domains.lee:157
    d_log_softmax = unslice((-d_y / n * graft)[:, None], (n, 2), (slice(0, n), slice(0, 1)))  # [n, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    d_domain_x = d_log_softmax - np.exp(log_softmax_) * sum_2  # [n, 2]
    return d_domain_x, d_domain_t


class Turned(Model):
    """Features, a head for classes and one that says by how many quarters an image was turned."""

    members = ("features", "label", "turn")

    def __init__(self, side, hidden, classes, *, key=(0, 0)):
        self.side, self.hidden, self.classes = side, hidden, classes
        self.features = Linear(side**2, hidden, key=fold(key, SITES["features"]))  # domains.lee:163
        self.label = Linear(hidden, classes, key=fold(key, SITES["label"]))  # domains.lee:164
        self.turn = Linear(hidden, 4, key=fold(key, SITES["turn"]))  # domains.lee:165
        self.lay_out()

    def forward(self, image):
        """image [n, side, side] -> [n, classes]"""
        n = image.shape[0]
        y = self.label(relu(self.features(image.reshape(n, self.side**2))))  # [n, classes]  domains.lee:168
        return y  # [n, classes]

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        select = relu(self.features(image.reshape(n, self.side**2)))  # [n, hidden]  domains.lee:168
        return self.label(select), select

    def forward_backward(self, image, select, d_y):
        """From d_y to the gradients by the parameters and image."""
        n = image.shape[0]
        # gradient of return label(relu(features(flatten(image, from = 1))))   domains.lee:168
        d_label, d_select = self.label.forward_backward(select, d_y)
        d_features_out = relu_backward(select, d_select)  # [n, hidden]
        image_flat = image.reshape(n, self.side**2)  # [n, side**2]
        d_features, d_image_flat = self.features.forward_backward(image_flat, d_features_out)
        d_image = d_image_flat.reshape(n, self.side, self.side)  # [n, side, side]
        return {"features": d_features, "label": d_label}, d_image


def quarter(image):
    """Turned to the left by 90°.

    image [n, s, s] -> [n, s, s]
    """
    y = np.flip(image, (2,)).mT  # [n, s, s]  domains.lee:173
    return y  # [n, s, s]


def quarter_backward(d_y):
    """From d_y to the gradient by image."""
    # gradient of y[r, i in s, j in s] = image[r, j, s - 1 - i]   domains.lee:173
    d_image = np.flip(d_y.mT, (2,))  # [n, s, s]
    return d_image  # [n, s, s]


def turning(net, image):
    """Self-supervision needs no labels: by how many quarters?

    image [n, s, s] -> []
    """
    n, s, _ = image.shape
    if net.side**2 != s**2:
        raise ValueError(f"net.side**2 = {net.side**2} must equal s**2 = {s**2}")
    score = net.turn(relu(net.features(image.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total = -log_softmax(score, (1,))[:, 0].mean()  # domains.lee:182
    image_2 = quarter(image)  # [n, s, s]  domains.lee:183
    score_2 = net.turn(relu(net.features(image_2.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total_2 = total - log_softmax(score_2, (1,))[:, 1].mean()  # domains.lee:182
    image_3 = quarter(image_2)  # [n, s, s]  domains.lee:183
    score_3 = net.turn(relu(net.features(image_3.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total_3 = total_2 - log_softmax(score_3, (1,))[:, 2].mean()  # domains.lee:182
    image_4 = quarter(image_3)  # [n, s, s]  domains.lee:183
    score_4 = net.turn(relu(net.features(image_4.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total_4 = total_3 - log_softmax(score_4, (1,))[:, 3].mean()  # domains.lee:182
    return total_4 / 4  # domains.lee:184


def turning_saved(net, image):
    """As turning, and what its gradient needs."""
    n, s, _ = image.shape
    if net.side**2 != s**2:
        raise ValueError(f"net.side**2 = {net.side**2} must equal s**2 = {s**2}")
    select = relu(net.features(image.reshape(n, net.side**2)))  # [n, net.hidden]  domains.lee:181
    score = net.turn(select)  # [n, 4]
    log_softmax_ = log_softmax(score, (1,))  # [n, 4]  prelude.lee:127
    total = -log_softmax_[:, 0].mean()  # domains.lee:182
    image_2 = quarter(image)  # [n, s, s]  domains.lee:183
    reshape_3 = image_2.reshape(n, net.side**2)  # [n, net.side**2]  domains.lee:181
    select_2 = relu(net.features(reshape_3))  # [n, net.hidden]
    score_2 = net.turn(select_2)  # [n, 4]
    log_softmax_2 = log_softmax(score_2, (1,))  # [n, 4]  prelude.lee:127
    total_2 = total - log_softmax_2[:, 1].mean()  # domains.lee:182
    image_3 = quarter(image_2)  # [n, s, s]  domains.lee:183
    reshape_5 = image_3.reshape(n, net.side**2)  # [n, net.side**2]  domains.lee:181
    select_3 = relu(net.features(reshape_5))  # [n, net.hidden]
    score_3 = net.turn(select_3)  # [n, 4]
    log_softmax_3 = log_softmax(score_3, (1,))  # [n, 4]  prelude.lee:127
    total_3 = total_2 - log_softmax_3[:, 2].mean()  # domains.lee:182
    image_4 = quarter(image_3)  # [n, s, s]  domains.lee:183
    reshape_7 = image_4.reshape(n, net.side**2)  # [n, net.side**2]  domains.lee:181
    select_4 = relu(net.features(reshape_7))  # [n, net.hidden]
    score_4 = net.turn(select_4)  # [n, 4]
    log_softmax_4 = log_softmax(score_4, (1,))  # [n, 4]  prelude.lee:127
    total_4 = total_3 - log_softmax_4[:, 3].mean()  # domains.lee:182
    saved = (
        select,
        log_softmax_,
        reshape_3,
        select_2,
        log_softmax_2,
        reshape_5,
        select_3,
        log_softmax_3,
        reshape_7,
        select_4,
        log_softmax_4,
    )
    return total_4 / 4, saved  # domains.lee:184


def turning_backward_parameters(net, image, saved, d_y):
    """From d_y to the gradient by net."""
    select, log_softmax_, reshape_3, select_2, log_softmax_2, reshape_5, select_3, log_softmax_3, reshape_7, select_4, log_softmax_4 = saved
    n = image.shape[0]
    # gradient of return total / 4   domains.lee:184
    d_total_4 = d_y / 4
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_slice_4 = np.broadcast_to(-(d_total_4 / n), (n, 1))  # [n, 1]
    d_log_softmax_4 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(3, 4)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_4.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - np.exp(log_softmax_4) * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7 = relu_backward(select_4, d_select_4)  # [n, net.hidden]
    d_net_features = Linear.forward_backward_parameters(reshape_7, d_add_7)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_3 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(2, 3)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax_3.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - np.exp(log_softmax_3) * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5 = relu_backward(select_3, d_select_3)  # [n, net.hidden]
    d_net_features_ = Linear.forward_backward_parameters(reshape_5, d_add_5)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_2 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(1, 2)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_3 = d_log_softmax_2.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - np.exp(log_softmax_2) * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3 = relu_backward(select_2, d_select_2)  # [n, net.hidden]
    d_net_features_2 = Linear.forward_backward_parameters(reshape_3, d_add_3)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax = unslice(d_slice_4, (n, 4), (slice(0, n), slice(0, 1)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_4 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    d_score = d_log_softmax - np.exp(log_softmax_) * sum_4  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_3, d_select = net.turn.forward_backward(select, d_score)
    d_add = relu_backward(select, d_select)  # [n, net.hidden]
    d_net_features_3 = Linear.forward_backward_parameters(image.reshape(n, net.side**2), d_add)
    d_net_features_w_6 = d_net_features["w"] + d_net_features_["w"]  # [net.side**2, net.hidden]
    d_net_features_w = d_net_features_w_6 + d_net_features_2["w"] + d_net_features_3["w"]  # [net.side**2, net.hidden]
    d_net_features_b_6 = d_net_features["b"] + d_net_features_["b"]  # [net.hidden]
    d_net_features_b = d_net_features_b_6 + d_net_features_2["b"] + d_net_features_3["b"]  # [net.hidden]
    d_net_turn_w = d_net_turn["w"] + d_net_turn_["w"] + d_net_turn_2["w"] + d_net_turn_3["w"]  # [net.hidden, 4]
    d_net_turn_b = d_net_turn["b"] + d_net_turn_["b"] + d_net_turn_2["b"] + d_net_turn_3["b"]  # [4]
    return {"features": {"w": d_net_features_w, "b": d_net_features_b}, "turn": {"w": d_net_turn_w, "b": d_net_turn_b}}


def turning_backward_parameters_saved(net, image, saved, d_y):
    """From d_y to the gradients by net, score_4, add_7, score_3, add_5, score_2, add_3, score and add."""
    select, log_softmax_, reshape_3, select_2, log_softmax_2, reshape_5, select_3, log_softmax_3, reshape_7, select_4, log_softmax_4 = saved
    n = image.shape[0]
    # gradient of return total / 4   domains.lee:184
    d_total_4 = d_y / 4
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_slice_4 = np.broadcast_to(-(d_total_4 / n), (n, 1))  # [n, 1]
    d_log_softmax_4 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(3, 4)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp = np.exp(log_softmax_4)  # [n, 4]
    sum_ = d_log_softmax_4.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - exp * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7, saved_relu_backward = relu_backward_saved(select_4, d_select_4)
    d_net_features = Linear.forward_backward_parameters(reshape_7, d_add_7)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_3 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(2, 3)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp_2 = np.exp(log_softmax_3)  # [n, 4]
    sum_2 = d_log_softmax_3.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - exp_2 * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5, saved_relu_backward_ = relu_backward_saved(select_3, d_select_3)
    d_net_features_ = Linear.forward_backward_parameters(reshape_5, d_add_5)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_2 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(1, 2)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp_3 = np.exp(log_softmax_2)  # [n, 4]
    sum_3 = d_log_softmax_2.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - exp_3 * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3, saved_relu_backward_2 = relu_backward_saved(select_2, d_select_2)
    d_net_features_2 = Linear.forward_backward_parameters(reshape_3, d_add_3)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax = unslice(d_slice_4, (n, 4), (slice(0, n), slice(0, 1)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp_4 = np.exp(log_softmax_)  # [n, 4]
    sum_4 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    d_score = d_log_softmax - exp_4 * sum_4  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_3, d_select = net.turn.forward_backward(select, d_score)
    d_add, saved_relu_backward_3 = relu_backward_saved(select, d_select)
    d_net_features_3 = Linear.forward_backward_parameters(image.reshape(n, net.side**2), d_add)
    d_net_features_w_6 = d_net_features["w"] + d_net_features_["w"]  # [net.side**2, net.hidden]
    d_net_features_w = d_net_features_w_6 + d_net_features_2["w"] + d_net_features_3["w"]  # [net.side**2, net.hidden]
    d_net_features_b_6 = d_net_features["b"] + d_net_features_["b"]  # [net.hidden]
    d_net_features_b = d_net_features_b_6 + d_net_features_2["b"] + d_net_features_3["b"]  # [net.hidden]
    d_net_turn_w = d_net_turn["w"] + d_net_turn_["w"] + d_net_turn_2["w"] + d_net_turn_3["w"]  # [net.hidden, 4]
    d_net_turn_b = d_net_turn["b"] + d_net_turn_["b"] + d_net_turn_2["b"] + d_net_turn_3["b"]  # [4]
    saved = (
        exp,
        sum_,
        d_score_4,
        d_add_7,
        saved_relu_backward,
        exp_2,
        sum_2,
        d_score_3,
        d_add_5,
        saved_relu_backward_,
        exp_3,
        sum_3,
        d_score_2,
        d_add_3,
        saved_relu_backward_2,
        exp_4,
        sum_4,
        d_score,
        d_add,
        saved_relu_backward_3,
    )
    return {
        "features": {"w": d_net_features_w, "b": d_net_features_b},
        "turn": {"w": d_net_turn_w, "b": d_net_turn_b},
    }, saved


def turning_backward_parameters_backward(
    net, image, select, reshape_3, select_2, reshape_5, select_3, reshape_7, select_4, saved, d_d_net
):
    """From d_score_4, d_add_7, d_score_3, d_add_5, d_score_2, d_add_3, d_score, d_add and d_d_net to the gradients by net, image, select, log_softmax, reshape_3, select_2, log_softmax_2, reshape_5, select_3, log_softmax_3, reshape_7, select_4 and log_softmax_4."""
    exp, sum_, d_score_4, d_add_7, saved_relu_backward, exp_2, sum_2, d_score_3, d_add_5, saved_relu_backward_, exp_3, sum_3, d_score_2, d_add_3, saved_relu_backward_2, exp_4, sum_4, d_score, d_add, saved_relu_backward_3 = saved
    n, s, _ = image.shape
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    image_flat = image.reshape(n, net.side**2)  # [n, net.side**2]
    d_image_flat, d_d_add = Linear.forward_backward_parameters_backward(image_flat, d_add, d_d_net["features"])
    d_d_select = relu_backward_backward(saved_relu_backward_3, d_d_add)  # [n, net.hidden]
    d_net_turn, d_select, d_d_score = net.turn.forward_backward_backward(select, d_score, d_d_net["turn"], d_d_select)
    d_reshape_3, d_d_add_3 = Linear.forward_backward_parameters_backward(reshape_3, d_add_3, d_d_net["features"])
    d_d_select_2 = relu_backward_backward(saved_relu_backward_2, d_d_add_3)  # [n, net.hidden]
    d_net_turn_, d_select_2, d_d_score_2 = net.turn.forward_backward_backward(
        select_2, d_score_2, d_d_net["turn"], d_d_select_2
    )
    d_reshape_5, d_d_add_5 = Linear.forward_backward_parameters_backward(reshape_5, d_add_5, d_d_net["features"])
    d_d_select_3 = relu_backward_backward(saved_relu_backward_, d_d_add_5)  # [n, net.hidden]
    d_net_turn_2, d_select_3, d_d_score_3 = net.turn.forward_backward_backward(
        select_3, d_score_3, d_d_net["turn"], d_d_select_3
    )
    d_reshape_7, d_d_add_7 = Linear.forward_backward_parameters_backward(reshape_7, d_add_7, d_d_net["features"])
    d_d_select_4 = relu_backward_backward(saved_relu_backward, d_d_add_7)  # [n, net.hidden]
    d_net_turn_3, d_select_4, d_d_score_4 = net.turn.forward_backward_backward(
        select_4, d_score_4, d_d_net["turn"], d_d_select_4
    )
    d_image = d_image_flat.reshape(n, s, s)  # [n, s, s]
    d_net_turn_w = d_net_turn["w"] + d_net_turn_["w"] + d_net_turn_2["w"] + d_net_turn_3["w"]  # [net.hidden, 4]
    return (
        {"turn": {"w": d_net_turn_w}},
        d_image,
        d_select,
        -(exp_4 * (sum_4 * d_d_score)),
        d_reshape_3,
        d_select_2,
        -(exp_3 * (sum_3 * d_d_score_2)),
        d_reshape_5,
        d_select_3,
        -(exp_2 * (sum_2 * d_d_score_3)),
        d_reshape_7,
        d_select_4,
        -(exp * (sum_ * d_d_score_4)),
    )


def turning_backward(net, image, saved, d_y):
    """From d_y to the gradients by net and image."""
    select, log_softmax_, reshape_3, select_2, log_softmax_2, reshape_5, select_3, log_softmax_3, reshape_7, select_4, log_softmax_4 = saved
    n, s, _ = image.shape
    # gradient of return total / 4   domains.lee:184
    d_total_4 = d_y / 4
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_slice_4 = np.broadcast_to(-(d_total_4 / n), (n, 1))  # [n, 1]
    d_log_softmax_4 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(3, 4)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_4.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - np.exp(log_softmax_4) * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7 = relu_backward(select_4, d_select_4)  # [n, net.hidden]
    d_net_features, d_reshape_7 = net.features.forward_backward(reshape_7, d_add_7)
    d_image_4 = d_reshape_7.reshape(n, s, s)  # [n, s, s]
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_3 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(2, 3)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax_3.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - np.exp(log_softmax_3) * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5 = relu_backward(select_3, d_select_3)  # [n, net.hidden]
    d_net_features_, d_reshape_5 = net.features.forward_backward(reshape_5, d_add_5)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_3 = quarter_backward(d_image_4) + d_reshape_5.reshape(n, s, s)  # [n, s, s]
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_2 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(1, 2)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_3 = d_log_softmax_2.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - np.exp(log_softmax_2) * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3 = relu_backward(select_2, d_select_2)  # [n, net.hidden]
    d_net_features_2, d_reshape_3 = net.features.forward_backward(reshape_3, d_add_3)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_2 = quarter_backward(d_image_3) + d_reshape_3.reshape(n, s, s)  # [n, s, s]
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax = unslice(d_slice_4, (n, 4), (slice(0, n), slice(0, 1)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_4 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    d_score = d_log_softmax - np.exp(log_softmax_) * sum_4  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_3, d_select = net.turn.forward_backward(select, d_score)
    d_add = relu_backward(select, d_select)  # [n, net.hidden]
    d_net_features_3, d_image_flat = net.features.forward_backward(image.reshape(n, net.side**2), d_add)
    d_net_features_w_6 = d_net_features["w"] + d_net_features_["w"]  # [net.side**2, net.hidden]
    d_net_features_w = d_net_features_w_6 + d_net_features_2["w"] + d_net_features_3["w"]  # [net.side**2, net.hidden]
    d_net_features_b_6 = d_net_features["b"] + d_net_features_["b"]  # [net.hidden]
    d_net_features_b = d_net_features_b_6 + d_net_features_2["b"] + d_net_features_3["b"]  # [net.hidden]
    d_net_turn_w = d_net_turn["w"] + d_net_turn_["w"] + d_net_turn_2["w"] + d_net_turn_3["w"]  # [net.hidden, 4]
    d_net_turn_b = d_net_turn["b"] + d_net_turn_["b"] + d_net_turn_2["b"] + d_net_turn_3["b"]  # [4]
    d_image = quarter_backward(d_image_2) + d_image_flat.reshape(n, s, s)  # [n, s, s]
    return {
        "features": {"w": d_net_features_w, "b": d_net_features_b},
        "turn": {"w": d_net_turn_w, "b": d_net_turn_b},
    }, d_image


def turning_saved_backward(
    net,
    image,
    saved,
    d_select,
    d_log_softmax,
    d_reshape_3,
    d_select_2,
    d_log_softmax_2,
    d_reshape_5,
    d_select_3,
    d_log_softmax_3,
    d_reshape_7,
    d_select_4,
    d_log_softmax_4,
):
    """From d_select, d_log_softmax, d_reshape_3, d_select_2, d_log_softmax_2, d_reshape_5, d_select_3, d_log_softmax_3, d_reshape_7, d_select_4 and d_log_softmax_4 to the gradients by net and image."""
    select, log_softmax_, reshape_3, select_2, log_softmax_2, reshape_5, select_3, log_softmax_3, reshape_7, select_4, log_softmax_4 = saved
    n, s, _ = image.shape
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_4.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - np.exp(log_softmax_4) * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4_3 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7 = relu_backward(select_4, d_select_4 + d_select_4_3)  # [n, net.hidden]
    d_net_features, d_reshape_7_3 = net.features.forward_backward(reshape_7, d_add_7)
    d_image_4 = (d_reshape_7 + d_reshape_7_3).reshape(n, s, s)  # [n, s, s]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax_3.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - np.exp(log_softmax_3) * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5 = relu_backward(select_3, d_select_3 + d_select_3_3)  # [n, net.hidden]
    d_net_features_, d_reshape_5_3 = net.features.forward_backward(reshape_5, d_add_5)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_3 = quarter_backward(d_image_4) + (d_reshape_5 + d_reshape_5_3).reshape(n, s, s)  # [n, s, s]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_3 = d_log_softmax_2.sum(axis=1, keepdims=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - np.exp(log_softmax_2) * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2_3 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3 = relu_backward(select_2, d_select_2 + d_select_2_3)  # [n, net.hidden]
    d_net_features_2, d_reshape_3_3 = net.features.forward_backward(reshape_3, d_add_3)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_2 = quarter_backward(d_image_3) + (d_reshape_3 + d_reshape_3_3).reshape(n, s, s)  # [n, s, s]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_4 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    d_score = d_log_softmax - np.exp(log_softmax_) * sum_4  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_3, d_select_6 = net.turn.forward_backward(select, d_score)
    d_add = relu_backward(select, d_select + d_select_6)  # [n, net.hidden]
    d_net_features_3, d_image_flat = net.features.forward_backward(image.reshape(n, net.side**2), d_add)
    d_net_features_w_6 = d_net_features["w"] + d_net_features_["w"]  # [net.side**2, net.hidden]
    d_net_features_w = d_net_features_w_6 + d_net_features_2["w"] + d_net_features_3["w"]  # [net.side**2, net.hidden]
    d_net_features_b_6 = d_net_features["b"] + d_net_features_["b"]  # [net.hidden]
    d_net_features_b = d_net_features_b_6 + d_net_features_2["b"] + d_net_features_3["b"]  # [net.hidden]
    d_net_turn_w = d_net_turn["w"] + d_net_turn_["w"] + d_net_turn_2["w"] + d_net_turn_3["w"]  # [net.hidden, 4]
    d_net_turn_b = d_net_turn["b"] + d_net_turn_["b"] + d_net_turn_2["b"] + d_net_turn_3["b"]  # [4]
    d_image = quarter_backward(d_image_2) + d_image_flat.reshape(n, s, s)  # [n, s, s]
    return {
        "features": {"w": d_net_features_w, "b": d_net_features_b},
        "turn": {"w": d_net_turn_w, "b": d_net_turn_b},
    }, d_image


def at_test_time(net, image, rate=0.1, steps=3):
    """Test-time training (Sun et al. 2020): some steps on the unlabelled test images, then the answer.

    image [n, net.side, net.side] -> [n, net.classes]
    """
    adapted = net  # domains.lee:190
    for k in range(steps):
        adapted = at_test_time_step(adapted, image, rate)
    return adapted(image)  # [n, net.classes]  domains.lee:192


def at_test_time_saved(net, image, rate=0.1, steps=3):
    """As at_test_time, and what its gradient needs."""
    adapted = net  # domains.lee:190
    saved_at_test_time_step = [None] * steps
    for k in range(steps):
        adapted, saved_at_test_time_step[k] = at_test_time_step_saved(adapted, image, rate)
    add_2, saved_adapted = adapted.forward_saved(image)  # domains.lee:192
    return add_2, (adapted, saved_at_test_time_step, saved_adapted)


def at_test_time_backward(image, rate, saved, steps, d_y):
    """From d_score_4_rows, d_add_7_rows, d_score_3_rows, d_add_5_rows, d_score_2_rows, d_add_3_rows, d_score_rows, d_add_rows and d_y to the gradients by net and image."""
    adapted, saved_at_test_time_step, saved_adapted = saved
    n, net_side, _ = image.shape
    net_hidden = adapted.features.w.shape[1]
    # gradient of return adapted(image)   domains.lee:192
    d_adapted, d_image_2 = adapted.forward_backward(image, saved_adapted, d_y)
    # gradient of for k in steps:   domains.lee:190
    d_image_later = np.zeros((n, net_side, net_side), dtype=FLOAT)  # [n, net.side, net.side]
    d_adapted_ = {
        "features": d_adapted["features"],
        "label": d_adapted["label"],
        "turn": {"w": np.zeros((net_hidden, 4), dtype=FLOAT), "b": np.zeros(4, dtype=FLOAT)},
    }
    for k in reversed(range(steps)):
        d_adapted_, d_image_later = at_test_time_step_backward(
            saved_at_test_time_step[k], image, rate, d_adapted_, d_image_later
        )
    d_image = d_image_2 + d_image_later  # [n, net.side, net.side]
    return d_adapted_, d_image


def at_test_time_step(adapted, image, rate):
    """image [n, net.side, net.side] -> Turned"""
    _, saved_turning = turning_saved(adapted, image)  # domains.lee:191
    d_adapted = turning_backward_parameters(adapted, image, saved_turning, FLOAT(1.0))
    return adapted.at(
        {
            "features": {
                "w": adapted.features.w - rate * d_adapted["features"]["w"],
                "b": adapted.features.b - rate * d_adapted["features"]["b"],
            },
            "label": {"w": adapted.label.w - rate * 0.0, "b": adapted.label.b - rate * 0.0},
            "turn": {
                "w": adapted.turn.w - rate * d_adapted["turn"]["w"],
                "b": adapted.turn.b - rate * d_adapted["turn"]["b"],
            },
        }
    )


def at_test_time_step_saved(adapted, image, rate):
    """As at_test_time_step, and what its gradient needs."""
    _, saved_turning = turning_saved(adapted, image)  # domains.lee:191
    d_adapted, saved_turning_backward_parameters = turning_backward_parameters_saved(
        adapted, image, saved_turning, FLOAT(1.0)
    )
    return adapted.at(
        {
            "features": {
                "w": adapted.features.w - rate * d_adapted["features"]["w"],
                "b": adapted.features.b - rate * d_adapted["features"]["b"],
            },
            "label": {"w": adapted.label.w - rate * 0.0, "b": adapted.label.b - rate * 0.0},
            "turn": {
                "w": adapted.turn.w - rate * d_adapted["turn"]["w"],
                "b": adapted.turn.b - rate * d_adapted["turn"]["b"],
            },
        }
    ), (saved_turning, saved_turning_backward_parameters, adapted)


def at_test_time_step_backward(saved, image, rate, d_adapted, d_image):
    """From d_score_4, d_add_7, d_score_3, d_add_5, d_score_2, d_add_3, d_score, d_add, d_adapted and d_image to the gradients by adapted and image."""
    saved_turning, saved_turning_backward_parameters, adapted = saved
    # gradient of adapted = adapted - rate * grad(turning(adapted, image), adapted)   domains.lee:191
    d_w = -(rate * d_adapted["features"]["w"])  # [net.side**2, net.hidden]
    d_b = -(rate * d_adapted["features"]["b"])  # [net.hidden]
    d_w_3 = -(rate * d_adapted["turn"]["w"])  # [net.hidden, 4]
    d_b_3 = -(rate * d_adapted["turn"]["b"])  # [4]
    d_adapted_, d_image_2, d_select, d_log_softmax, d_reshape_3, d_select_2, d_log_softmax_2, d_reshape_5, d_select_3, d_log_softmax_3, d_reshape_7, d_select_4, d_log_softmax_4 = turning_backward_parameters_backward(
        adapted,
        image,
        saved_turning[0],
        saved_turning[2],
        saved_turning[3],
        saved_turning[5],
        saved_turning[6],
        saved_turning[8],
        saved_turning[9],
        saved_turning_backward_parameters,
        {"features": {"w": d_w, "b": d_b}, "turn": {"w": d_w_3, "b": d_b_3}},
    )
    d_adapted_2, d_image_3 = turning_saved_backward(
        adapted,
        image,
        saved_turning,
        d_select,
        d_log_softmax,
        d_reshape_3,
        d_select_2,
        d_log_softmax_2,
        d_reshape_5,
        d_select_3,
        d_log_softmax_3,
        d_reshape_7,
        d_select_4,
        d_log_softmax_4,
    )
    d_adapted_features_w = d_adapted["features"]["w"] + d_adapted_2["features"]["w"]  # [net.side**2, net.hidden]
    d_adapted_features_b = d_adapted["features"]["b"] + d_adapted_2["features"]["b"]  # [net.hidden]
    d_adapted_turn_w = d_adapted["turn"]["w"] + d_adapted_["turn"]["w"] + d_adapted_2["turn"]["w"]  # [net.hidden, 4]
    d_adapted_turn_b = d_adapted["turn"]["b"] + d_adapted_2["turn"]["b"]  # [4]
    d_image_ = d_image_2 + d_image_3  # [n, net.side, net.side]
    return {
        "features": {"w": d_adapted_features_w, "b": d_adapted_features_b},
        "label": d_adapted["label"],
        "turn": {"w": d_adapted_turn_w, "b": d_adapted_turn_b},
    }, d_image + d_image_


def worst_domain_saved(net, x, y, sharpness=5.0):
    """As worst_domain, and what its gradient needs."""
    domains, n, _ = x.shape
    reshape_4, saved_net = net.forward_2_saved(x)  # domains.lee:197
    z = log_softmax(reshape_4, (2,))  # [domains, n, net.sizes_2]  prelude.lee:127
    gather = z[np.arange(domains)[:, None], np.arange(n), inside(y)]  # [domains, n]  domains.lee:198
    each = -gather.mean(axis=1)  # [domains]
    graft = stop(softmax(sharpness * each, (0,)))  # [domains]  domains.lee:199
    return (graft * each).sum(), (saved_net, z, graft)


def worst_domain_backward(net, x, y, saved, d_sum):
    """From d_sum to the gradients by net and x."""
    saved_net, z, graft = saved
    domains, n, _ = x.shape
    # gradient of return sum(stop(softmax(sharpness * each)) * each)   domains.lee:199
    d_each = d_sum * graft  # [domains]
    # gradient of each[a] = mean[i](-z[a, i, y[a, i]])   domains.lee:198
    d_gather = np.broadcast_to((-d_each / n)[:, None], (domains, n))  # [domains, n]
    reshape = np.arange(domains)[:, None]  # int[domains, 1]
    i = np.arange(n)  # int[n]
    d_z = scatter_add(d_gather, (reshape, i, y), (domains, n, net.sizes[2]))  # [domains, n, net.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_reshape_4 = d_z - np.exp(z) * d_z.sum(axis=2, keepdims=True)  # [domains, n, net.sizes_2]
    # gradient of z = log_softmax(net(x), axis = 2)   domains.lee:197
    d_net, d_x = net.forward_2_backward(x, saved_net, d_reshape_4)
    return d_net, d_x


def example_means(key):
    net = Adaptive(5, 6, 3, key=fold(key, SITES["net"]))  # domains.lee:203
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  domains.lee:204
    y = randint(fold(key, SITES["y"]), (7,), 0, 3)  # int[7]  domains.lee:205
    target = 0.5 + normal(fold(key, SITES["target"]), (9, 5), FLOAT)  # [9, 5]  domains.lee:206
    value, saved_aligned = aligned_saved(net, x, y, target)  # domains.lee:207
    d_net, d_x, d_target = aligned_backward(net, x, y, target, 0.3, saved_aligned, FLOAT(1.0))
    return (
        value,
        net.at(
            {
                "features": d_net["features"],
                "label": d_net["label"],
                "domain": {
                    "layers.0": {"w": np.zeros((6, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                    "layers.1": {"w": np.zeros((6, 2), dtype=FLOAT), "b": np.zeros(2, dtype=FLOAT)},
                },
            }
        ),
        d_x,
        d_target,
    )


def example_reversed_gradient(key):
    net = Adaptive(5, 6, 3, key=fold(key, SITES["net"]))  # domains.lee:211
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  domains.lee:212
    y = randint(fold(key, SITES["y"]), (7,), 0, 3)  # int[7]  domains.lee:213
    target = 0.5 + normal(fold(key, SITES["target"]), (9, 5), FLOAT)  # [9, 5]  domains.lee:214
    value, saved_adversarial = adversarial_saved(net, x, y, target, 0.7)  # domains.lee:215
    d_net, d_x, d_target = adversarial_backward(net, x, y, target, 0.7, saved_adversarial, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_target


def example_by_hand(key):
    net = Adaptive(5, 6, 3, key=fold(key, SITES["net"]))  # domains.lee:219
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  domains.lee:220
    y = randint(fold(key, SITES["y"]), (7,), 0, 3)  # int[7]  domains.lee:221
    target = 0.5 + normal(fold(key, SITES["target"]), (9, 5), FLOAT)  # [9, 5]  domains.lee:222
    value, saved_of_features = of_features_saved(net, x, y, target)  # domains.lee:223
    d_net, d_x, d_target = of_features_backward(net, x, y, target, saved_of_features, FLOAT(1.0))
    return value, net.at(d_net), d_x, d_target


def example_unsure(key):
    a = normal(fold(key, SITES["a"]), (7, 3), FLOAT)  # [7, 3]  domains.lee:227
    b = normal(fold(key, SITES["b"]), (7, 3), FLOAT)  # [7, 3]  domains.lee:228
    softmax_ = softmax(a, (1,))  # [7, 3]  prelude.lee:122
    log_softmax_ = log_softmax(a, (1,))  # [7, 3]  prelude.lee:127
    mean, saved_discrepancy = discrepancy_saved(a, b)  # domains.lee:229
    d_a_2, d_b = discrepancy_backward(saved_discrepancy, FLOAT(1.0))
    d_softmax = -0.14285714285714285 * log_softmax_  # [7, 3]  domains.lee:103
    d_log_softmax = -0.14285714285714285 * softmax_  # [7, 3]
    sum_2 = d_log_softmax.sum(axis=1, keepdims=True)  # [7, 1]  prelude.lee:127
    sum_3 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [7, 1]  prelude.lee:122
    d_a_5 = d_a_2 + (d_log_softmax - np.exp(log_softmax_) * sum_2)  # [7, 3]
    return mean - (softmax_ * log_softmax_).sum(axis=1).mean(), d_a_5 + softmax_ * (d_softmax - sum_3), d_b


def example_some_shared(key):
    domain_x = normal(fold(key, SITES["domain_x"]), (7, 2), FLOAT)  # [7, 2]  domains.lee:233
    z_x = normal(fold(key, SITES["z_x"]), (7, 3), FLOAT)  # [7, 3]  domains.lee:234
    domain_t = normal(fold(key, SITES["domain_t"]), (9, 2), FLOAT)  # [9, 2]  domains.lee:235
    z_t = normal(fold(key, SITES["z_t"]), (9, 3), FLOAT)  # [9, 3]  domains.lee:236
    value, saved_universal = universal_saved(domain_x, z_x, domain_t, z_t)  # domains.lee:237
    d_domain_x, d_domain_t = universal_backward(saved_universal, FLOAT(1.0))
    return value, d_domain_x, np.zeros((7, 3), dtype=FLOAT), d_domain_t, np.zeros((9, 3), dtype=FLOAT)


def example_turned(key):
    net = Turned(4, 6, 3, key=fold(key, SITES["net"]))  # domains.lee:241
    image = normal(fold(key, SITES["image"]), (5, 4, 4), FLOAT)  # [5, 4, 4]  domains.lee:242
    c = normal(fold(key, SITES["c"]), (5, 3), FLOAT)  # [5, 3]  domains.lee:243
    d_c, saved_at_test_time = at_test_time_saved(net, image)  # domains.lee:244
    div, saved_turning = turning_saved(net, image)
    d_net, d_image_2 = turning_backward(net, image, saved_turning, FLOAT(1.0))
    d_net_, d_image_3 = at_test_time_backward(image, 0.1, saved_at_test_time, 3, c)
    return (
        (c * d_c).sum() + div,
        net.at(
            {
                "features": {
                    "w": d_net["features"]["w"] + d_net_["features"]["w"],
                    "b": d_net["features"]["b"] + d_net_["features"]["b"],
                },
                "label": d_net_["label"],
                "turn": {"w": d_net["turn"]["w"] + d_net_["turn"]["w"], "b": d_net["turn"]["b"] + d_net_["turn"]["b"]},
            }
        ),
        d_image_2 + d_image_3,
        d_c,
    )


def example_several(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # domains.lee:248
    x = normal(fold(key, SITES["x"]), (4, 7, 5), FLOAT)  # [4, 7, 5]  domains.lee:249
    y = randint(fold(key, SITES["y"]), (4, 7), 0, 3)  # int[4, 7]  domains.lee:250
    value, saved_worst_domain = worst_domain_saved(net, x, y)  # domains.lee:251
    d_net, d_x = worst_domain_backward(net, x, y, saved_worst_domain, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_seen_differently(key):
    x = uniform(fold(key, SITES["x"]), (3, 4), FLOAT)  # [3, 4]  domains.lee:255
    noise = normal(fold(key, SITES["noise"]), (3, 4), FLOAT)  # [3, 4]  domains.lee:256
    add_2 = other_domain(x, noise)  # [3, 4]  domains.lee:257
    d_x, d_noise = other_domain_backward(2 * add_2)
    return (add_2**2).sum(), d_x, d_noise


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
    def forward_backward_parameters_backward(x, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_x, d_d_add

    def forward_backward_input(self, d_y):
        """From d_y to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_y @ self.w.T  # [rows, inputs]
        return d_x  # [rows, inputs]


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

    def forward_2(self, x):
        """x [x_0, x_1, sizes_0] -> [x_0, x_1, sizes_2]"""
        x_0, x_1, _ = x.shape
        add = self.layers[0](x.reshape(x_0 * x_1, self.sizes[0]))  # [x_0 * x_1, sizes_1]  nn.lee:41
        x_2 = relu_2(add.reshape(x_0, x_1, self.sizes[1]))  # [x_0, x_1, sizes_1]
        add_2 = self.layers[1](x_2.reshape(x_0 * x_1, self.sizes[1]))  # [x_0 * x_1, sizes_2]  nn.lee:42
        return add_2.reshape(x_0, x_1, self.sizes[2])  # [x_0, x_1, sizes_2]

    def forward_2_saved(self, x):
        """As forward_2, and what its gradient needs."""
        x_0, x_1, _ = x.shape
        add = self.layers[0](x.reshape(x_0 * x_1, self.sizes[0]))  # [x_0 * x_1, sizes_1]  nn.lee:41
        x_2 = relu_2(add.reshape(x_0, x_1, self.sizes[1]))  # [x_0, x_1, sizes_1]
        add_2 = self.layers[1](x_2.reshape(x_0 * x_1, self.sizes[1]))  # [x_0 * x_1, sizes_2]  nn.lee:42
        return add_2.reshape(x_0, x_1, self.sizes[2]), x_2

    def forward_2_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_0, x_1, _ = x.shape
        # gradient of return layers[-1](x)   nn.lee:42
        reshape = x_2.reshape(x_0 * x_1, self.sizes[1])  # [x_0 * x_1, sizes_1]
        d_add_2 = d_y.reshape(x_0 * x_1, self.sizes[2])  # [x_0 * x_1, sizes_2]
        d_layers_1_, d_reshape_3 = self.layers[1].forward_backward(reshape, d_add_2)
        d_x_2 = d_reshape_3.reshape(x_0, x_1, self.sizes[1])  # [x_0, x_1, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_reshape_2 = relu_2_backward(x_2, d_x_2)  # [x_0, x_1, sizes_1]
        d_add = d_reshape_2.reshape(x_0 * x_1, self.sizes[1])  # [x_0 * x_1, sizes_1]
        d_layers_0_, d_x_flat = self.layers[0].forward_backward(x.reshape(x_0 * x_1, self.sizes[0]), d_add)
        d_x = d_x_flat.reshape(x_0, x_1, self.sizes[0])  # [x_0, x_1, sizes_0]
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


def reverse_gradient(x, strength=1.0):
    """x, whose gradient comes back multiplied by -strength (Ganin & Lempitsky 2015).

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


def reverse_gradient_backward(strength, d_graft):
    """From d_graft to the gradient by x."""
    # gradient of return graft(x, -strength * x)   prelude.lee:28
    d_x = d_graft * -strength  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def reverse_gradient_2(x, strength=1.0):
    """x, whose gradient comes back multiplied by -strength (Ganin & Lempitsky 2015).

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

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "domain": 0x8533D04CD1249880,
    "domain_t": 0x0C99FD641D68D72C,
    "domain_x": 0x5C8D29E54FF54A12,
    "features": 0x68EC62D07E1EEF3E,
    "image": 0x86C9701471CF0710,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "noise": 0x370359298C8860E5,
    "other": 0xAF93053850CE50D6,
    "target": 0x41DEDA04111F843F,
    "turn": 0xCEFAEE1B5C0C8873,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z_t": 0x01910A7EBFCDB19C,
    "z_x": 0xEE2B7F1F996C7C52,
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


def update_together(optimizer, *pairs, each=False):
    """One update of several models, given with their gradients, as one vector; `each` for a rule of single tensors."""
    θ = np.concatenate([model.parameters for model, _ in pairs])
    shapes = [[shape for model, _ in pairs for shape in model.shapes()]] if each else []
    optimizer.update(θ, np.concatenate([model.flat(gradient) for model, gradient in pairs]), *shapes)
    stop = 0
    for model, _ in pairs:
        start, stop = stop, stop + model.parameters.size
        model.parameters[...] = θ[start:stop]
