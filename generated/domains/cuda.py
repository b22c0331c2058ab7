"""Training data from one domain, tests from another (inventory L7 to L11).

Made from specs/transfer/domains.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/transfer/domains.lee
"""

from __future__ import annotations

import functools
import math
import sys
import weakref

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


class Model(torch.nn.Module):
    """An ordinary module; `members` names its tensors and submodels as the spec does, in declaration order."""

    members: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def parts(self):
        """(name, member) of tensors and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, torch.nn.ModuleList):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every tensor by its path in the spec, such as "conv1.kernel"."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": tensor for path, tensor in part.tensors().items()}
            else:
                found[name] = part
        return found

    def state_dict(self, *args, prefix="", **options):
        """Keys are the spec's names, also where an attribute has another one."""
        found = super().state_dict(*args, prefix=prefix, **options)
        for name, attribute in self.renamed.items():
            move_keys(found, prefix + attribute, prefix + name)
        return found

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name, attribute in self.renamed.items():
            move_keys(state_dict, prefix + name, prefix + attribute)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def load_tensors(self, tensors):
        """Copy tensors in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != tensors.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ tensors.keys())}")
        for path, tensor in own.items():
            given = torch.as_tensor(tensors[path])
            if tensor.shape != given.shape:
                raise ValueError(f"{path} is {tuple(tensor.shape)} here and {tuple(given.shape)} there")
            tensor.copy_(given)

    def copy(self):
        """The same model with tensors of its own."""
        twin = self.at({})
        for module in twin.modules():
            for name, parameter in module._parameters.items():
                module._parameters[name] = torch.nn.Parameter(parameter.detach().clone())
        return twin

    def at(self, tensors):
        """The model at another point of parameter space: nested dicts of tensors by member replace its own.

        Gradients flow through them. What is not given is shared. Buffers are copied.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for table in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[table] = dict(self.__dict__[table])
        for name, buffer in twin._buffers.items():
            twin._buffers[name] = buffer.clone()
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            if isinstance(member, torch.nn.ModuleList):
                parts = (part.at(tensors.get(f"{name}.{i}", {})) for i, part in enumerate(member))
                twin._modules[attribute] = torch.nn.ModuleList(parts)
            elif isinstance(member, Model):
                twin._modules[attribute] = member.at(tensors.get(name, {}))
            elif name in tensors and attribute in twin._buffers:
                twin._buffers[attribute] = tensors[name].clone()
            elif name in tensors:
                twin._parameters.pop(attribute, None)
                twin.__dict__[attribute] = tensors[name]
        return twin


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
            state = getattr(self, name, None)
            if state is None or state.device != θ.device or state.dtype != θ.dtype:
                setattr(self, name, torch.full_like(θ, start) if state is None else state.to(θ))
            elif state.shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {state.numel()} parameters, not {θ.numel()}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, tensors):
        """Go on from another's count and states; states that are there are filled, so that steps find them."""
        self.t = int(tensors["t"])
        for name in self.starts.keys() & tensors.keys():
            if hasattr(self, name):
                getattr(self, name).copy_(torch.as_tensor(tensors[name]))
            else:
                setattr(self, name, torch.as_tensor(tensors[name]).clone())

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.starts:
            if hasattr(self, name):
                setattr(twin, name, getattr(self, name).clone())
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


class TrainStep:
    """A training step as one function over flat vectors, without autograd; generated subclasses say which.

    `moved` pairs the attribute of an optimizer with the paths of the models that it moves, for every update; `counted`
    are the optimizers whose rule stands in the step; `read` names the tensors that the step reads. Everything that it
    touches keeps its address from call to call. On a GPU a step is captured as one CUDA graph for every shape of batch.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    spare: tuple[int | None, ...] = ()  # arrays that an update computes in; None: in none, so it takes no blocks
    waits = False  # for what the device has computed, as `while` does: such a step has no graph
    GRAPHS = 8  # shapes of batches that have a graph; others run without
    BLOCK = 1 << 16  # entries of a vector that an update takes at a time on a CPU, so that they stay in its cache

    def scalars(self):
        """Numbers that differ from step to step."""
        return ()

    def constants(self):
        """Numbers that are written into a graph."""
        return ()

    def numbers(self, *sizes):
        """Numbers that depend on sizes alone."""
        return ()

    def held(self, *sizes):
        """`numbers` as tensors without axes: products with these are faster than with Python numbers."""
        if sizes not in self.known:
            if len(self.known) > 8 * self.GRAPHS:
                self.known.clear()
            self.known[sizes] = [torch.tensor(x, dtype=self.vectors[0].gradient.dtype) for x in self.numbers(*sizes)]
        return self.known[sizes]

    def bind(self):
        """Lay the parameters out and take views of all that the step reads and writes."""
        wanted = [[find_member(self, path) for path in models] for _, models in self.moved]
        for _ in range(len(wanted)):  # laying out one may move another that shares parameters with it
            self.vectors = [Vector.part_of(models, i) for i, models in enumerate(wanted)]
        slots = [find_slot(self, path) for path in self.read]
        self.tensors = tuple(table[name].detach() for table, name in slots)
        self.gradients = tuple(view for vector in self.vectors for view in vector.gradients)
        self.optimizers = [getattr(self, name) for name, _ in self.moved]
        for optimizer, vector in zip(self.optimizers, self.vectors, strict=True):
            optimizer.make_states(vector.values)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        moved = [slot for vector in self.vectors for slot in vector.slots]
        self.slots = [*moved, *(s for s in slots if not any(s[0] is t and s[1] == name for t, name in moved))]
        self.addresses = [table[name].data_ptr() for table, name in self.slots]
        self.owners = [(o.__dict__, name) for o in self.optimizers for name in o.starts]
        self.owned = [id(table[name]) for table, name in self.owners]
        self.blocks = [self.blocks_of(i) for i in range(len(self.moved))]
        self.graphs, self.known = {}, {}
        rules = len(self.counted) == len(self.moved)
        self.captured = self.vectors[0].gradient.is_cuda and rules and not self.waits
        self.quiet = torch.inference_mode()

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks; none for an optimizer's own method."""
        if self.moved[i][0] not in self.counted:
            return []
        vector, start, blocks = self.vectors[i], 0, []
        largest = max(map(len, vector.pieces), default=0)
        whole = vector.gradient.is_cuda or self.spare[i] is None
        step = max(1, largest if whole else min(largest, self.BLOCK))
        spare = [vector.gradient.new_empty(step) for _ in range(self.spare[i] or 0)]
        for piece in vector.pieces:
            beside = [t[start : start + len(piece)] for t in (vector.gradient, *self.states[i])]
            start += len(piece)
            blocks += [
                (*(t[a : a + step] for t in (piece, *beside)), *(s[: len(piece) - a] for s in spare))
                for a in range(0, len(piece), step)
            ]
        return blocks

    def holds(self):
        """Whether the views are still those of the models and optimizers."""
        here = self.addresses == [table[name].data_ptr() for table, name in self.slots]
        return here and self.owned == [id(table[name]) for table, name in self.owners]

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).count()
        with self.quiet:
            if self.captured:
                return self.replayed(batch)
            return self.step(*batch, *self.scalars())

    # ---- on a GPU

    def replayed(self, batch):
        key = (*map(kind, batch), self.constants())
        if key not in self.graphs and len(self.graphs) >= self.GRAPHS:
            return self.step(*batch, *self.scalars())
        if key not in self.graphs:
            self.graphs[key] = Graph(self, batch)
        return self.graphs[key](batch, self.scalars())

    def written(self):
        """All tensors that a step writes into and that outlive it."""
        vectors = [piece for vector in self.vectors for piece in vector.pieces]
        return [*vectors, *self.tensors, *(s for states in self.states for s in states)]


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
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.features = Linear(d, hidden, key=fold(key, SITES["features"]))  # domains.lee:20
        self.label = Linear(hidden, classes, key=fold(key, SITES["label"]))  # domains.lee:21
        self.domain = MLP((hidden, hidden, 2), key=fold(key, SITES["domain"]))  # domains.lee:22

    def feature(self, x):
        """x [n, d] -> [n, hidden]"""
        return relu(self.features(x))  # [n, hidden]  domains.lee:25

    def feature_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return relu(features(x))   domains.lee:25
        d_features, d_x = self.features.forward_backward(x, relu_backward(select, d_y))
        return {"features": d_features}, d_x

    def forward(self, x, strength):
        """x [n, d] -> [n, classes], [n, 2]"""
        h = self.feature(x)  # [n, hidden]  domains.lee:28
        return self.label(h), self.domain(reverse_gradient(h, strength=strength))  # domains.lee:29

    def forward_saved(self, x, strength):
        """As forward, and what its gradient needs."""
        h = self.feature(x)  # [n, hidden]  domains.lee:28
        graft_ = reverse_gradient(h, strength=strength)  # [n, hidden]  domains.lee:29
        add_2, saved_domain = self.domain.forward_saved(graft_)
        return self.label(h), add_2, (h, graft_, saved_domain)

    def forward_backward(self, x, strength, saved, d_add_2):
        """From d_add_2 to the gradients by the parameters and x."""
        h, graft_, saved_domain = saved
        # gradient of return label(h), domain(reverse_gradient(h, strength))   domains.lee:29
        d_domain, d_graft = self.domain.forward_backward(graft_, saved_domain, d_add_2)
        d_h = reverse_gradient_backward(strength, d_graft)  # [n, hidden]
        # gradient of h = feature(x)   domains.lee:28
        d_adaptive, d_x = self.feature_backward(x, h, d_h)
        return {"features": d_adaptive["features"], "domain": d_domain}, d_x

    def forward_backward_2(self, x, strength, saved, d_add, d_add_2):
        """From d_add and d_add_2 to the gradients by the parameters and x."""
        h, graft_, saved_domain = saved
        # gradient of return label(h), domain(reverse_gradient(h, strength))   domains.lee:29
        d_domain, d_graft = self.domain.forward_backward(graft_, saved_domain, d_add_2)
        d_label, d_h_3 = self.label.forward_backward(h, d_add)
        # gradient of h = feature(x)   domains.lee:28
        d_h = reverse_gradient_backward(strength, d_graft) + d_h_3  # [n, hidden]
        d_adaptive, d_x = self.feature_backward(x, h, d_h)
        return {"features": d_adaptive["features"], "label": d_label, "domain": d_domain}, d_x

    def forward_2(self, x, strength):
        """x [n, d] -> [n, classes], [n, 2]"""
        h = self.feature(x)  # [n, hidden]  domains.lee:28
        return self.label(h), self.domain(reverse_gradient_2(h, strength=strength))  # domains.lee:29


def mean_gap(a, b):
    """How far apart the means of the features of both domains lie (Tzeng et al. 2014).

    a [n, d], b [m, d] -> []
    """
    sub = a.mean(dim=0) - b.mean(dim=0)  # [d]  domains.lee:34
    return (sub**2).sum()


def mean_gap_saved(a, b):
    """As mean_gap, and what its gradient needs."""
    sub = a.mean(dim=0) - b.mean(dim=0)  # [d]  domains.lee:34
    return (sub**2).sum(), sub


def mean_gap_backward(sub, m, n, d_y):
    """From d_y to the gradients by a and b."""
    d = sub.shape[0]
    # gradient of return sum((mean(a, axis = 0) - mean(b, axis = 0)) ** 2)   domains.lee:34
    d_sub = 2 * d_y * sub  # [d]
    d_b = (-d_sub / m).expand(m, d)  # [m, d]
    d_a = (d_sub / n).expand(n, d)  # [n, d]
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


def told_apart(domain_x, domain_z):
    """domain_x [n, 2], domain_z [m, 2] -> []"""
    mean = torch.log_softmax(domain_x, dim=1)[:, 0].mean()  # domains.lee:51
    return -(mean + torch.log_softmax(domain_z, dim=1)[:, 1].mean())


def told_apart_saved(domain_x, domain_z):
    """As told_apart, and what its gradient needs."""
    log_softmax_ = torch.log_softmax(domain_x, dim=1)  # [n, 2]  prelude.lee:127
    log_softmax_2 = torch.log_softmax(domain_z, dim=1)  # [m, 2]
    return -(log_softmax_[:, 0].mean() + log_softmax_2[:, 1].mean()), (log_softmax_, log_softmax_2)  # domains.lee:51


def told_apart_backward(saved, d_y):
    """From d_y to the gradients by domain_x and domain_z."""
    log_softmax_, log_softmax_2 = saved
    n = log_softmax_.shape[0]
    m = log_softmax_2.shape[0]
    # gradient of return -mean(log_softmax(domain_x, axis = 1)[:, 0]) - mean(log_softmax(domain..   domains.lee:51
    d_log_softmax_2 = unslice((-d_y / m).expand(m, 1), (m, 2), (slice(0, m), slice(1, 2)))  # [m, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_2.sum(dim=1, keepdim=True)  # [m, 1]
    d_domain_z = d_log_softmax_2 - torch.exp(log_softmax_2) * sum_  # [m, 2]
    # gradient of return -mean(log_softmax(domain_x, axis = 1)[:, 0]) - mean(log_softmax(domain..   domains.lee:51
    d_log_softmax = unslice((-d_y / n).expand(n, 1), (n, 2), (slice(0, n), slice(0, 1)))  # [n, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_domain_x = d_log_softmax - torch.exp(log_softmax_) * sum_2  # [n, 2]
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


@torch.no_grad()
def domain_adversarial(epochs=30, batch=64, rate=2e-3, *, run=None):
    """Labels only of the source; those of the target serve the report."""
    from leec.runtime.run import Run

    run = run or Run("domain_adversarial", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Adaptive(d=64, hidden=64, classes=10, key=run.key("net")).to(run.session.place.device)  # domains.lee:64
    opt = Adam(lr=rate)  # domains.lee:65
    step = DomainAdversarialStep(net, opt)
    total = 3e1 * 20  # domains.lee:66
    t = 0  # domains.lee:67
    (t,) = run.restore("epoch", t=t)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            noise = domain_adversarial_noise(x, key=run.key("domain_adversarial"))  # domains.lee:70
            strength = 0.2 / (1 + math.exp(-10 * t / total)) - 0.1  # domains.lee:71
            run.step(step(x, y, noise, strength))  # domains.lee:72
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
    noise = normal(fold(key, SITES["noise"]), (batches_n, 64), FLOAT, x.device)  # [batches_n, 64]  domains.lee:70
    return noise  # [batches_n, 64]


class DomainAdversarialStep(TrainStep):
    """One step of domain_adversarial for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.features.w",
        "net.features.b",
        "net.label.w",
        "net.label.b",
        "net.domain.layers.0.w",
        "net.domain.layers.0.b",
        "net.domain.layers.1.w",
        "net.domain.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, noise, strength, t):
        features_w, features_b, label_w, label_b, domain_layers_0_w, domain_layers_0_b = self.tensors[:6]
        domain_layers_1_w, domain_layers_1_b = self.tensors[6:]
        d_features_w, d_features_b, d_label_w, d_label_b, d_domain_layers_0_w = self.gradients[:5]
        d_domain_layers_0_b, d_domain_layers_1_w, d_domain_layers_1_b = self.gradients[5:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        add_2 = 0.4 + 0.6 * x + 0.1 * noise  # [batches_n, 64]  domains.lee:12
        h_2 = torch.relu(torch.addmm(features_b, x, features_w))  # [batches_n, 64]  prelude.lee:61
        class_x = torch.addmm(label_b, h_2, label_w)  # [batches_n, 10]  nn.lee:21
        x_2_2 = torch.relu(torch.addmm(domain_layers_0_b, h_2, domain_layers_0_w))  # [batches_n, 64]  prelude.lee:61
        h = torch.relu(torch.addmm(features_b, add_2, features_w))  # [batches_n, 64]
        x_2 = torch.relu(torch.addmm(domain_layers_0_b, h, domain_layers_0_w))  # [batches_n, 64]
        surprise = torch.nn.functional.cross_entropy(class_x, y, reduction="none")  # [batches_n]  losses.lee:45
        domain_x = torch.addmm(domain_layers_1_b, x_2_2, domain_layers_1_w)  # [batches_n, 2]  nn.lee:21
        log_softmax_ = torch.log_softmax(domain_x, dim=1)  # [batches_n, 2]  prelude.lee:127
        domain_z = torch.addmm(domain_layers_1_b, x_2, domain_layers_1_w)  # [batches_n, 2]  nn.lee:21
        log_softmax_2 = torch.log_softmax(domain_z, dim=1)  # [batches_n, 2]  prelude.lee:127
        mean_2_2 = log_softmax_2[:, 1].sum() / count  # domains.lee:51
        add_4_2 = log_softmax_[:, 0].sum() / count + mean_2_2
        d_slice_2 = torch.full((batches_n, 1), -1.0 / batches_n, dtype=FLOAT, device=x.device)  # [batches_n, 1]
        d_log_softmax_2 = unslice(d_slice_2, (batches_n, 2), (slice(0, batches_n), slice(1, 2)))  # [batches_n, 2]
        sum_4 = d_log_softmax_2.sum(dim=1, keepdim=True)  # [batches_n, 1]  prelude.lee:127
        d_domain_z = d_log_softmax_2 - torch.exp(log_softmax_2) * sum_4  # [batches_n, 2]
        # [batches_n, 2]  domains.lee:51
        d_log_softmax = unslice(d_slice_2, (batches_n, 2), (slice(0, batches_n), slice(0, 1)))
        sum_5 = d_log_softmax.sum(dim=1, keepdim=True)  # [batches_n, 1]  prelude.lee:127
        d_domain_x = d_log_softmax - torch.exp(log_softmax_) * sum_5  # [batches_n, 2]
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]  losses.lee:45
        d_class_x = (torch.softmax(class_x, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        # [batches_n, 64]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_domain_z @ domain_layers_1_w.T, x_2, 0)
        d_h = d_add_3 @ domain_layers_0_w.T * -strength  # [batches_n, 64]  prelude.lee:28
        d_features_out = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 64]  prelude.lee:61
        d_x_2_2 = d_domain_x @ domain_layers_1_w.T  # [batches_n, 64]  nn.lee:21
        d_add_3_2 = torch.ops.aten.threshold_backward(d_x_2_2, x_2_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_class_x, dim=0, out=d_label_b)  # [10]  nn.lee:21
        torch.mm(h_2.T, d_class_x, out=d_label_w)  # [64, 10]
        d_h_2 = d_add_3_2 @ domain_layers_0_w.T * -strength  # [batches_n, 64]  prelude.lee:28
        # [batches_n, 64]  prelude.lee:61
        d_features_out_2 = torch.ops.aten.threshold_backward(d_h_2 + d_class_x @ label_w.T, h_2, 0)
        torch.mm(add_2.T, d_features_out, out=d_features_w)  # [64, 64]  domains.lee:45
        d_features_w.add_(x.T @ d_features_out_2)  # [64, 64]
        torch.sum(d_features_out, dim=0, out=d_features_b)  # [64]
        d_features_b.add_(d_features_out_2.sum(dim=0))  # [64]
        torch.mm(h.T, d_add_3, out=d_domain_layers_0_w)  # [64, 64]
        d_domain_layers_0_w.add_(h_2.T @ d_add_3_2)  # [64, 64]
        torch.sum(d_add_3, dim=0, out=d_domain_layers_0_b)  # [64]
        d_domain_layers_0_b.add_(d_add_3_2.sum(dim=0))  # [64]
        torch.mm(x_2.T, d_domain_z, out=d_domain_layers_1_w)  # [64, 2]
        d_domain_layers_1_w.add_(x_2_2.T @ d_domain_x)  # [64, 2]
        torch.sum(d_domain_z, dim=0, out=d_domain_layers_1_b)  # [2]
        d_domain_layers_1_b.add_(d_domain_x.sum(dim=0))  # [2]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count - add_4_2  # domains.lee:47


def domain_adversarial_class_x_class_z_y(data_test_x, net, data_test_y, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], [data_test_n, 10],
    int[data_test_n]
    """
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["other"])  # domains.lee:74
    other = normal(key_2, (data_test_n, 64), FLOAT, data_test_x.device)  # [data_test_n, 64]
    class_x, _ = net.forward_2(data_test_x, 0)  # domains.lee:75
    class_z, _ = net.forward_2(other_domain(data_test_x, other), 0)  # domains.lee:76
    return class_x, class_z, data_test_y


def domain_adversarial_source_target_lost(class_x, y, class_z):
    """class_x [data_test_n, 10], y int[data_test_n], class_z [data_test_n, 10] -> [], [], []"""
    return accuracy(class_x, y), accuracy(class_z, y), cross_entropy(class_z, y)  # domains.lee:78


@torch.no_grad()
def source_only(epochs=30, batch=64, rate=2e-3, *, run=None):
    """For comparison."""
    from leec.runtime.run import Run

    run = run or Run("source_only", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Adaptive(d=64, hidden=64, classes=10, key=run.key("net")).to(run.session.place.device)  # domains.lee:85
    opt = Adam(lr=rate)  # domains.lee:86
    step = SourceOnlyStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # domains.lee:89
    class_x, class_z, y = source_only_class_x_class_z_y(data.test.x, net, data.test.y, key=run.key("source_only"))
    reported_source, reported_target, reported_lost = source_only_source_target_lost(class_x, y, class_z)
    run.report(source=reported_source, target=reported_target, lost=reported_lost)  # domains.lee:94
    return net


class SourceOnlyStep(TrainStep):
    """One step of source_only for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.features.w",
        "net.features.b",
        "net.label.w",
        "net.label.b",
        "net.domain.layers.0.w",
        "net.domain.layers.0.b",
        "net.domain.layers.1.w",
        "net.domain.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        features_w, features_b, label_w, label_b, domain_layers_0_w, domain_layers_0_b = self.tensors[:6]
        domain_layers_1_w, domain_layers_1_b = self.tensors[6:]
        d_features_w, d_features_b, d_label_w, d_label_b, d_domain_layers_0_w = self.gradients[:5]
        d_domain_layers_0_b, d_domain_layers_1_w, d_domain_layers_1_b = self.gradients[5:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        select = torch.relu(torch.addmm(features_b, x, features_w))  # [batches_n, 64]  prelude.lee:61
        affine = torch.addmm(label_b, select, label_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add, dim=0, out=d_label_b)  # [10]  nn.lee:21
        torch.mm(select.T, d_add, out=d_label_w)  # [64, 10]
        # [batches_n, 64]  prelude.lee:61
        d_features_out = torch.ops.aten.threshold_backward(d_add @ label_w.T, select, 0)
        torch.sum(d_features_out, dim=0, out=d_features_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_features_out, out=d_features_w)  # [64, 64]
        d_domain_layers_0_w.copy_(torch.zeros((64, 64), dtype=FLOAT, device=x.device))  # [64, 64]  domains.lee:89
        d_domain_layers_0_b.copy_(torch.zeros(64, dtype=FLOAT, device=x.device))  # [64]
        d_domain_layers_1_w.copy_(torch.zeros((64, 2), dtype=FLOAT, device=x.device))  # [64, 2]
        d_domain_layers_1_b.copy_(torch.zeros(2, dtype=FLOAT, device=x.device))  # [2]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def source_only_class_x_class_z_y(data_test_x, net, data_test_y, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], [data_test_n, 10],
    int[data_test_n]
    """
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["other"])  # domains.lee:90
    other = normal(key_2, (data_test_n, 64), FLOAT, data_test_x.device)  # [data_test_n, 64]
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
    sum_ = (softmax(z, (1,)) * torch.log_softmax(z, dim=1)).sum(dim=1)  # [n]  domains.lee:103
    return -sum_.mean()


def discrepancy(a, b):
    """How much two classifiers differ, mean |p - q| (Saito et al. 2018).

    a [n, k], b [n, k] -> []
    """
    return torch.abs(softmax(a, (1,)) - softmax(b, (1,))).mean()  # domains.lee:108


def discrepancy_saved(a, b):
    """As discrepancy, and what its gradient needs."""
    softmax_ = softmax(a, (1,))  # [n, k]  prelude.lee:122
    softmax_2 = softmax(b, (1,))  # [n, k]
    sub = softmax_ - softmax_2  # [n, k]  domains.lee:108
    return torch.abs(sub).mean(), (softmax_, softmax_2, sub)


def discrepancy_backward(saved, d_y):
    """From d_y to the gradients by a and b."""
    softmax_, softmax_2, sub = saved
    n, k = softmax_.shape
    # gradient of return mean(abs(softmax(a, axis = 1) - softmax(b, axis = 1)))   domains.lee:108
    d_sub = d_y / (k * n) * torch.sign(sub)  # [n, k]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_b = softmax_2 * (-d_sub - (-d_sub * softmax_2).sum(dim=1, keepdim=True))  # [n, k]
    d_a = softmax_ * (d_sub - (d_sub * softmax_).sum(dim=1, keepdim=True))  # [n, k]
    return d_a, d_b


@torch.no_grad()
def max_discrepancy(epochs=12, batch=64, rate=2e-3, *, run=None):
    """Two heads: both right on the source, then as different as can be on the target, then the features against that."""
    from leec.runtime.run import Run

    run = run or Run("max_discrepancy", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    features = Linear(inputs=64, outputs=64, key=run.key("features")).to(run.session.place.device)  # domains.lee:114
    one = Linear(inputs=64, outputs=10, key=run.key("one")).to(run.session.place.device)  # domains.lee:115
    two = Linear(inputs=64, outputs=10, key=run.key("two")).to(run.session.place.device)  # domains.lee:116
    opt = Adam(lr=rate)  # domains.lee:117
    opt_heads = Adam(lr=rate)  # domains.lee:118
    opt_features = Adam(lr=0.1 * rate)  # domains.lee:119
    step = MaxDiscrepancyStep(features, one, two, opt, opt_heads, opt_features)
    for epoch in run.loop(
        "epoch", 1, epochs, features=features, one=one, opt=opt, opt_features=opt_features, opt_heads=opt_heads, two=two
    ):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            target, loss, loss_1, loss_2 = step(x, y, run.key("max_discrepancy"))  # domains.lee:122
            run.step(loss)
            run.step(loss_1, "loss_1")
            run.step(loss_2, "loss_2")
    class_x, class_z, y = max_discrepancy_class_x_class_z_y(
        data.test.x, one, features, data.test.y, key=run.key("max_discrepancy")
    )
    reported_source, reported_target, reported_lost = max_discrepancy_source_target_lost(class_x, y, class_z)
    run.report(source=reported_source, target=reported_target, lost=reported_lost)  # domains.lee:136
    return features, one


class MaxDiscrepancyStep(TrainStep):
    """One step of max_discrepancy for features, one, two, opt, opt_heads, opt_features: call it with a batch."""

    moved = (("opt", ("features", "one", "two")), ("opt_heads", ("one", "two")), ("opt_features", ("features",)))
    counted = ("opt", "opt_heads", "opt_features")
    read = ("features.w", "features.b", "one.w", "one.b", "two.w", "two.b")
    spare = (None, None, None)

    def __init__(self, features, one, two, opt, opt_heads, opt_features):
        self.features, self.one, self.two, self.opt, self.opt_heads, self.opt_features = features, one, two, opt, opt_heads, opt_features
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n, 10 * batches_n, -1.0 / (10 * batches_n), 1.0 / (10 * batches_n))

    def constants(self):
        return (
            self.opt.lr,
            self.opt.beta1,
            self.opt.beta2,
            self.opt.eps,
            self.opt.weight_decay,
            self.opt_heads.lr,
            self.opt_heads.beta1,
            self.opt_heads.beta2,
            self.opt_heads.eps,
            self.opt_heads.weight_decay,
            self.opt_features.lr,
            self.opt_features.beta1,
            self.opt_features.beta2,
            self.opt_features.eps,
            self.opt_features.weight_decay,
        )

    def scalars(self):
        return (self.opt.t, self.opt_heads.t, self.opt_features.t)

    def step(self, x, y, key, t, t_, t_2):
        w, b, w_, b_, w_2, b_2 = self.tensors
        d_w, d_b, d_w_, d_b_, d_w_2, d_b_2, d_w_3, d_b_3, d_w_4, d_b_4, d_w_5, d_b_5 = self.gradients
        batches_n = x.shape[0]
        count, scale, scale_, scale_2, scale_3 = self.held(batches_n)
        noise = normal(fold(key, SITES["noise"]), (batches_n, 64), FLOAT, x.device)  # [batches_n, 64]  domains.lee:122
        target = 0.4 + 0.6 * x + 0.1 * noise  # [batches_n, 64]  domains.lee:12
        h = torch.relu(torch.addmm(b, x, w))  # [batches_n, 64]  prelude.lee:61
        one_out = torch.addmm(b_, h, w_)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(one_out, y, reduction="none")  # [batches_n]  losses.lee:45
        two_out = torch.addmm(b_2, h, w_2)  # [batches_n, 10]  nn.lee:21
        surprise_2 = torch.nn.functional.cross_entropy(two_out, y, reduction="none")  # [batches_n]  losses.lee:45
        one_hot = (torch.arange(10, device=x.device)[None, :] == y[:, None]).to(FLOAT)  # [batches_n, 10]
        d_two_out = (torch.softmax(two_out, dim=1) - one_hot) * scale  # [batches_n, 10]
        torch.sum(d_two_out, dim=0, out=d_b_2)  # [10]  nn.lee:21
        torch.mm(h.T, d_two_out, out=d_w_2)  # [64, 10]
        d_one_out = (torch.softmax(one_out, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        torch.sum(d_one_out, dim=0, out=d_b_)  # [10]  nn.lee:21
        torch.mm(h.T, d_one_out, out=d_w_)  # [64, 10]
        d_h = d_two_out @ w_2.T + d_one_out @ w_.T  # [batches_n, 64]  domains.lee:124
        d_features_out = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_features_out, dim=0, out=d_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_features_out, out=d_w)  # [64, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        h_2 = torch.relu(torch.addmm(b, x, w))  # [batches_n, 64]  prelude.lee:61
        g_2 = torch.relu(torch.addmm(b, target, w))  # [batches_n, 64]
        affine_3 = torch.addmm(b_, h_2, w_)  # [batches_n, 10]  nn.lee:21
        surprise_3 = torch.nn.functional.cross_entropy(affine_3, y, reduction="none")  # [batches_n]  losses.lee:45
        affine_4 = torch.addmm(b_2, h_2, w_2)  # [batches_n, 10]  nn.lee:21
        surprise_4 = torch.nn.functional.cross_entropy(affine_4, y, reduction="none")  # [batches_n]  losses.lee:45
        right = surprise_3.sum() / count + surprise_4.sum() / count  # domains.lee:128
        softmax_3 = softmax(torch.addmm(b_, g_2, w_), (1,))  # [batches_n, 10]  prelude.lee:122
        softmax_4 = softmax(torch.addmm(b_2, g_2, w_2), (1,))  # [batches_n, 10]
        sub_4 = softmax_3 - softmax_4  # [batches_n, 10]  domains.lee:108
        d_loss_1 = scale_2 * torch.sign(sub_4)  # [batches_n, 10]
        # [batches_n, 10]  prelude.lee:122
        d_add_11 = softmax_4 * (-d_loss_1 - (-d_loss_1 * softmax_4).sum(dim=1, keepdim=True))
        d_add_10 = softmax_3 * (d_loss_1 - (d_loss_1 * softmax_3).sum(dim=1, keepdim=True))  # [batches_n, 10]
        d_add_8 = (torch.softmax(affine_4, dim=1) - one_hot) * scale  # [batches_n, 10]  losses.lee:45
        d_add_7 = (torch.softmax(affine_3, dim=1) - one_hot) * scale  # [batches_n, 10]
        torch.mm(g_2.T, d_add_10, out=d_w_3)  # [64, 10]  domains.lee:128
        d_w_3.add_(h_2.T @ d_add_7)  # [64, 10]
        torch.sum(d_add_10, dim=0, out=d_b_3)  # [10]
        d_b_3.add_(d_add_7.sum(dim=0))  # [10]
        torch.mm(g_2.T, d_add_11, out=d_w_4)  # [64, 10]
        d_w_4.add_(h_2.T @ d_add_8)  # [64, 10]
        torch.sum(d_add_11, dim=0, out=d_b_4)  # [10]
        d_b_4.add_(d_add_8.sum(dim=0))  # [10]
        lr = self.opt_heads.lr
        beta1 = self.opt_heads.beta1
        beta2 = self.opt_heads.beta2
        eps = self.opt_heads.eps
        weight_decay = self.opt_heads.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        softmax_7 = softmax(torch.addmm(b_, g_2, w_), (1,))  # [batches_n, 10]  prelude.lee:122
        softmax_2_2 = softmax(torch.addmm(b_2, g_2, w_2), (1,))  # [batches_n, 10]
        sub_7 = softmax_7 - softmax_2_2  # [batches_n, 10]  domains.lee:108
        d_sub_2 = scale_3 * torch.sign(sub_7)  # [batches_n, 10]
        sub_2_3 = -d_sub_2 - (-d_sub_2 * softmax_2_2).sum(dim=1, keepdim=True)  # [batches_n, 10]  prelude.lee:122
        sub_3_3 = d_sub_2 - (d_sub_2 * softmax_7).sum(dim=1, keepdim=True)  # [batches_n, 10]
        d_g_2 = softmax_2_2 * sub_2_3 @ w_2.T + softmax_7 * sub_3_3 @ w_.T  # [batches_n, 64]  domains.lee:127
        d_add_6 = torch.ops.aten.threshold_backward(d_g_2, g_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add_6, dim=0, out=d_b_5)  # [64]  nn.lee:21
        torch.mm(target.T, d_add_6, out=d_w_5)  # [64, 64]
        lr = self.opt_features.lr
        beta1 = self.opt_features.beta1
        beta2 = self.opt_features.beta2
        eps = self.opt_features.eps
        weight_decay = self.opt_features.weight_decay
        for θ, g, m, v in self.blocks[2]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_2)
        # domains.lee:108
        return (
            target,
            surprise.sum() / count + surprise_2.sum() / count,
            right - torch.abs(sub_4).sum() / scale_,
            torch.abs(sub_7).sum() / scale_,
        )


def max_discrepancy_class_x_class_z_y(data_test_x, one, features, data_test_y, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 10], [data_test_n, 10],
    int[data_test_n]
    """
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["other"])  # domains.lee:132
    other = normal(key_2, (data_test_n, 64), FLOAT, data_test_x.device)  # [data_test_n, 64]
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
    entropy = -(softmax(z, (1,)) * torch.log_softmax(z, dim=1)).sum(dim=1) / math.log(k)  # [n]  domains.lee:149
    return entropy - d, d - entropy  # domains.lee:150


def universal(domain_x, z_x, domain_t, z_t):
    """The domain classifier's loss, every input by its weight.

    domain_x [n, 2], z_x [n, k], domain_t [m, 2], z_t [m, k] -> []
    """
    w, _ = shared_weights(domain_x, z_x)  # domains.lee:155
    _, v = shared_weights(domain_t, z_t)  # domains.lee:156
    source = -(stop(w) * torch.log_softmax(domain_x, dim=1)[:, 0]).mean()  # domains.lee:157
    mean_2 = (stop(v) * torch.log_softmax(domain_t, dim=1)[:, 1]).mean()  # domains.lee:158
    return source - mean_2


def universal_saved(domain_x, z_x, domain_t, z_t):
    """As universal, and what its gradient needs."""
    w, _ = shared_weights(domain_x, z_x)  # domains.lee:155
    _, v = shared_weights(domain_t, z_t)  # domains.lee:156
    graft_ = stop(w)  # [n]  domains.lee:157
    log_softmax_ = torch.log_softmax(domain_x, dim=1)  # [n, 2]  prelude.lee:127
    source = -(graft_ * log_softmax_[:, 0]).mean()  # domains.lee:157
    graft_2 = stop(v)  # [m]  domains.lee:158
    log_softmax_2 = torch.log_softmax(domain_t, dim=1)  # [m, 2]  prelude.lee:127
    # domains.lee:158
    return source - (graft_2 * log_softmax_2[:, 1]).mean(), (graft_, log_softmax_, graft_2, log_softmax_2)


def universal_backward(saved, d_y):
    """From d_y to the gradients by domain_x and domain_t."""
    graft_, log_softmax_, graft_2, log_softmax_2 = saved
    n = graft_.shape[0]
    m = graft_2.shape[0]
    # gradient of return source - mean(stop(v) * log_softmax(domain_t, axis = 1)[:, 1])   domains.lee:158
    d_log_softmax_2 = unslice((-d_y / m * graft_2)[:, None], (m, 2), (slice(0, m), slice(1, 2)))  # [m, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_2.sum(dim=1, keepdim=True)  # [m, 1]
    d_domain_t = d_log_softmax_2 - torch.exp(log_softmax_2) * sum_  # [m, 2]
    # gradient of source = -mean(stop(w) * log_softmax(domain_x, axis = 1)[:, 0])   domains.lee:157
    d_log_softmax = unslice((-d_y / n * graft_)[:, None], (n, 2), (slice(0, n), slice(0, 1)))  # [n, 2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_domain_x = d_log_softmax - torch.exp(log_softmax_) * sum_2  # [n, 2]
    return d_domain_x, d_domain_t


class Turned(Model):
    """Features, a head for classes and one that says by how many quarters an image was turned."""

    members = ("features", "label", "turn")

    def __init__(self, side, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.side, self.hidden, self.classes = side, hidden, classes
        self.features = Linear(side**2, hidden, key=fold(key, SITES["features"]))  # domains.lee:163
        self.label = Linear(hidden, classes, key=fold(key, SITES["label"]))  # domains.lee:164
        self.turn = Linear(hidden, 4, key=fold(key, SITES["turn"]))  # domains.lee:165

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
    y = torch.flip(image, (2,)).mT  # [n, s, s]  domains.lee:173
    return y  # [n, s, s]


def quarter_backward(d_y):
    """From d_y to the gradient by image."""
    # gradient of y[r, i in s, j in s] = image[r, j, s - 1 - i]   domains.lee:173
    d_image = torch.flip(d_y.mT, (2,))  # [n, s, s]
    return d_image  # [n, s, s]


def turning(net, image):
    """Self-supervision needs no labels: by how many quarters?

    image [n, s, s] -> []
    """
    n, s, _ = image.shape
    if net.side**2 != s**2:
        raise ValueError(f"net.side**2 = {net.side**2} must equal s**2 = {s**2}")
    score = net.turn(relu(net.features(image.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total = -torch.log_softmax(score, dim=1)[:, 0].mean()  # domains.lee:182
    image_2 = quarter(image)  # [n, s, s]  domains.lee:183
    score_2 = net.turn(relu(net.features(image_2.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total_2 = total - torch.log_softmax(score_2, dim=1)[:, 1].mean()  # domains.lee:182
    image_3 = quarter(image_2)  # [n, s, s]  domains.lee:183
    score_3 = net.turn(relu(net.features(image_3.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total_3 = total_2 - torch.log_softmax(score_3, dim=1)[:, 2].mean()  # domains.lee:182
    image_4 = quarter(image_3)  # [n, s, s]  domains.lee:183
    score_4 = net.turn(relu(net.features(image_4.reshape(n, net.side**2))))  # [n, 4]  domains.lee:181
    total_4 = total_3 - torch.log_softmax(score_4, dim=1)[:, 3].mean()  # domains.lee:182
    return total_4 / 4  # domains.lee:184


def turning_saved(net, image):
    """As turning, and what its gradient needs."""
    n, s, _ = image.shape
    if net.side**2 != s**2:
        raise ValueError(f"net.side**2 = {net.side**2} must equal s**2 = {s**2}")
    select = relu(net.features(image.reshape(n, net.side**2)))  # [n, net.hidden]  domains.lee:181
    score = net.turn(select)  # [n, 4]
    log_softmax_ = torch.log_softmax(score, dim=1)  # [n, 4]  prelude.lee:127
    total = -log_softmax_[:, 0].mean()  # domains.lee:182
    image_2 = quarter(image)  # [n, s, s]  domains.lee:183
    reshape_3 = image_2.reshape(n, net.side**2)  # [n, net.side**2]  domains.lee:181
    select_2 = relu(net.features(reshape_3))  # [n, net.hidden]
    score_2 = net.turn(select_2)  # [n, 4]
    log_softmax_2 = torch.log_softmax(score_2, dim=1)  # [n, 4]  prelude.lee:127
    total_2 = total - log_softmax_2[:, 1].mean()  # domains.lee:182
    image_3 = quarter(image_2)  # [n, s, s]  domains.lee:183
    reshape_5 = image_3.reshape(n, net.side**2)  # [n, net.side**2]  domains.lee:181
    select_3 = relu(net.features(reshape_5))  # [n, net.hidden]
    score_3 = net.turn(select_3)  # [n, 4]
    log_softmax_3 = torch.log_softmax(score_3, dim=1)  # [n, 4]  prelude.lee:127
    total_3 = total_2 - log_softmax_3[:, 2].mean()  # domains.lee:182
    image_4 = quarter(image_3)  # [n, s, s]  domains.lee:183
    reshape_7 = image_4.reshape(n, net.side**2)  # [n, net.side**2]  domains.lee:181
    select_4 = relu(net.features(reshape_7))  # [n, net.hidden]
    score_4 = net.turn(select_4)  # [n, 4]
    log_softmax_4 = torch.log_softmax(score_4, dim=1)  # [n, 4]  prelude.lee:127
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
    d_slice_4 = (-(d_total_4 / n)).expand(n, 1)  # [n, 1]
    d_log_softmax_4 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(3, 4)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_4.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - torch.exp(log_softmax_4) * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7 = relu_backward(select_4, d_select_4)  # [n, net.hidden]
    d_net_features = Linear.forward_backward_parameters(reshape_7, d_add_7)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_3 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(2, 3)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax_3.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - torch.exp(log_softmax_3) * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5 = relu_backward(select_3, d_select_3)  # [n, net.hidden]
    d_net_features_ = Linear.forward_backward_parameters(reshape_5, d_add_5)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_2 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(1, 2)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_3 = d_log_softmax_2.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - torch.exp(log_softmax_2) * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3 = relu_backward(select_2, d_select_2)  # [n, net.hidden]
    d_net_features_2 = Linear.forward_backward_parameters(reshape_3, d_add_3)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax = unslice(d_slice_4, (n, 4), (slice(0, n), slice(0, 1)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_4 = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_score = d_log_softmax - torch.exp(log_softmax_) * sum_4  # [n, 4]
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
    d_slice_4 = (-(d_total_4 / n)).expand(n, 1)  # [n, 1]
    d_log_softmax_4 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(3, 4)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp = torch.exp(log_softmax_4)  # [n, 4]
    sum_ = d_log_softmax_4.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - exp * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7, saved_relu_backward = relu_backward_saved(select_4, d_select_4)
    d_net_features = Linear.forward_backward_parameters(reshape_7, d_add_7)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_3 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(2, 3)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp_2 = torch.exp(log_softmax_3)  # [n, 4]
    sum_2 = d_log_softmax_3.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - exp_2 * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5, saved_relu_backward_ = relu_backward_saved(select_3, d_select_3)
    d_net_features_ = Linear.forward_backward_parameters(reshape_5, d_add_5)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_2 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(1, 2)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp_3 = torch.exp(log_softmax_2)  # [n, 4]
    sum_3 = d_log_softmax_2.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - exp_3 * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3, saved_relu_backward_2 = relu_backward_saved(select_2, d_select_2)
    d_net_features_2 = Linear.forward_backward_parameters(reshape_3, d_add_3)
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax = unslice(d_slice_4, (n, 4), (slice(0, n), slice(0, 1)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    exp_4 = torch.exp(log_softmax_)  # [n, 4]
    sum_4 = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
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
    d_slice_4 = (-(d_total_4 / n)).expand(n, 1)  # [n, 1]
    d_log_softmax_4 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(3, 4)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_log_softmax_4.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - torch.exp(log_softmax_4) * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7 = relu_backward(select_4, d_select_4)  # [n, net.hidden]
    d_net_features, d_reshape_7 = net.features.forward_backward(reshape_7, d_add_7)
    d_image_4 = d_reshape_7.reshape(n, s, s)  # [n, s, s]
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_3 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(2, 3)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax_3.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - torch.exp(log_softmax_3) * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5 = relu_backward(select_3, d_select_3)  # [n, net.hidden]
    d_net_features_, d_reshape_5 = net.features.forward_backward(reshape_5, d_add_5)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_3 = quarter_backward(d_image_4) + d_reshape_5.reshape(n, s, s)  # [n, s, s]
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax_2 = unslice(d_slice_4, (n, 4), (slice(0, n), slice(1, 2)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_3 = d_log_softmax_2.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - torch.exp(log_softmax_2) * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3 = relu_backward(select_2, d_select_2)  # [n, net.hidden]
    d_net_features_2, d_reshape_3 = net.features.forward_backward(reshape_3, d_add_3)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_2 = quarter_backward(d_image_3) + d_reshape_3.reshape(n, s, s)  # [n, s, s]
    # gradient of total = total - mean(log_softmax(score, axis = 1)[:, k])   domains.lee:182
    d_log_softmax = unslice(d_slice_4, (n, 4), (slice(0, n), slice(0, 1)))  # [n, 4]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_4 = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_score = d_log_softmax - torch.exp(log_softmax_) * sum_4  # [n, 4]
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
    sum_ = d_log_softmax_4.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_4 = d_log_softmax_4 - torch.exp(log_softmax_4) * sum_  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn, d_select_4_3 = net.turn.forward_backward(select_4, d_score_4)
    d_add_7 = relu_backward(select_4, d_select_4 + d_select_4_3)  # [n, net.hidden]
    d_net_features, d_reshape_7_3 = net.features.forward_backward(reshape_7, d_add_7)
    d_image_4 = (d_reshape_7 + d_reshape_7_3).reshape(n, s, s)  # [n, s, s]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_2 = d_log_softmax_3.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_3 = d_log_softmax_3 - torch.exp(log_softmax_3) * sum_2  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_, d_select_3_3 = net.turn.forward_backward(select_3, d_score_3)
    d_add_5 = relu_backward(select_3, d_select_3 + d_select_3_3)  # [n, net.hidden]
    d_net_features_, d_reshape_5_3 = net.features.forward_backward(reshape_5, d_add_5)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_3 = quarter_backward(d_image_4) + (d_reshape_5 + d_reshape_5_3).reshape(n, s, s)  # [n, s, s]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_3 = d_log_softmax_2.sum(dim=1, keepdim=True)  # [n, 1]
    d_score_2 = d_log_softmax_2 - torch.exp(log_softmax_2) * sum_3  # [n, 4]
    # gradient of score = net.turn(relu(net.features(flatten(image, from = 1))))   domains.lee:181
    d_net_turn_2, d_select_2_3 = net.turn.forward_backward(select_2, d_score_2)
    d_add_3 = relu_backward(select_2, d_select_2 + d_select_2_3)  # [n, net.hidden]
    d_net_features_2, d_reshape_3_3 = net.features.forward_backward(reshape_3, d_add_3)
    # gradient of image = quarter(image)   domains.lee:183
    d_image_2 = quarter_backward(d_image_3) + (d_reshape_3 + d_reshape_3_3).reshape(n, s, s)  # [n, s, s]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_4 = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_score = d_log_softmax - torch.exp(log_softmax_) * sum_4  # [n, 4]
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
    d_adapted_turn_w = torch.zeros((net_hidden, 4), dtype=FLOAT, device=image.device)  # [net.hidden, 4]
    d_image_4 = torch.zeros((n, net_side, net_side), dtype=FLOAT, device=image.device)  # [n, net.side, net.side]
    d_adapted_ = {
        "features": d_adapted["features"],
        "label": d_adapted["label"],
        "turn": {"w": d_adapted_turn_w, "b": torch.zeros(4, dtype=FLOAT, device=image.device)},
    }
    for k in reversed(range(steps)):
        d_adapted_, d_image_4 = at_test_time_step_backward(
            saved_at_test_time_step[k], image, rate, d_adapted_, d_image_4
        )
    d_image = d_image_2 + d_image_4  # [n, net.side, net.side]
    return d_adapted_, d_image


def at_test_time_step(adapted, image, rate):
    """image [n, net.side, net.side] -> Turned"""
    _, saved_turning = turning_saved(adapted, image)  # domains.lee:191
    d_div = torch.ones((), dtype=FLOAT, device=image.device)
    d_adapted = turning_backward_parameters(adapted, image, saved_turning, d_div)
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
    d_div = torch.ones((), dtype=FLOAT, device=image.device)
    d_adapted, saved_turning_backward_parameters = turning_backward_parameters_saved(
        adapted, image, saved_turning, d_div
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
    z = torch.log_softmax(reshape_4, dim=2)  # [domains, n, net.sizes_2]  prelude.lee:127
    reshape = torch.arange(domains, device=x.device)[:, None]  # int[domains, 1]  domains.lee:198
    each = -z[reshape, torch.arange(n, device=x.device), y].mean(dim=1)  # [domains]
    graft_ = stop(softmax(sharpness * each, (0,)))  # [domains]  domains.lee:199
    return (graft_ * each).sum(), (saved_net, z, graft_)


def worst_domain_backward(net, x, y, saved, d_sum):
    """From d_sum to the gradients by net and x."""
    saved_net, z, graft_ = saved
    domains, n, _ = x.shape
    # gradient of return sum(stop(softmax(sharpness * each)) * each)   domains.lee:199
    d_each = d_sum * graft_  # [domains]
    # gradient of each[a] = mean[i](-z[a, i, y[a, i]])   domains.lee:198
    reshape = torch.arange(domains, device=x.device)[:, None]  # int[domains, 1]
    d_gather = (-d_each / n)[:, None].expand(domains, n)  # [domains, n]
    i = torch.arange(n, device=x.device)  # int[n]
    d_z = scatter_add(d_gather, (reshape, i, y), (domains, n, net.sizes[2]))  # [domains, n, net.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_reshape_4 = d_z - torch.exp(z) * d_z.sum(dim=2, keepdim=True)  # [domains, n, net.sizes_2]
    # gradient of z = log_softmax(net(x), axis = 2)   domains.lee:197
    d_net, d_x = net.forward_2_backward(x, saved_net, d_reshape_4)
    return d_net, d_x


def example_means(key):
    net = Adaptive(5, 6, 3, key=fold(key, SITES["net"]))  # domains.lee:203
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  domains.lee:204
    y = randint(fold(key, SITES["y"]), (7,), 0, 3)  # int[7]  domains.lee:205
    target = 0.5 + normal(fold(key, SITES["target"]), (9, 5), FLOAT)  # [9, 5]  domains.lee:206
    value, saved_aligned = aligned_saved(net, x, y, target)  # domains.lee:207
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_target = aligned_backward(net, x, y, target, 0.3, saved_aligned, d_value)
    return (
        value,
        net.at(
            {
                "features": d_net["features"],
                "label": d_net["label"],
                "domain": {
                    "layers.0": {"w": torch.zeros((6, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                    "layers.1": {"w": torch.zeros((6, 2), dtype=FLOAT), "b": torch.zeros(2, dtype=FLOAT)},
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
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_target = adversarial_backward(net, x, y, target, 0.7, saved_adversarial, d_value)
    return value, net.at(d_net), d_x, d_target


def example_by_hand(key):
    net = Adaptive(5, 6, 3, key=fold(key, SITES["net"]))  # domains.lee:219
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  domains.lee:220
    y = randint(fold(key, SITES["y"]), (7,), 0, 3)  # int[7]  domains.lee:221
    target = 0.5 + normal(fold(key, SITES["target"]), (9, 5), FLOAT)  # [9, 5]  domains.lee:222
    value, saved_of_features = of_features_saved(net, x, y, target)  # domains.lee:223
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_target = of_features_backward(net, x, y, target, saved_of_features, d_value)
    return value, net.at(d_net), d_x, d_target


def example_unsure(key):
    a = normal(fold(key, SITES["a"]), (7, 3), FLOAT)  # [7, 3]  domains.lee:227
    b = normal(fold(key, SITES["b"]), (7, 3), FLOAT)  # [7, 3]  domains.lee:228
    softmax_ = torch.softmax(a, dim=1)  # [7, 3]  prelude.lee:122
    log_softmax_ = torch.log_softmax(a, dim=1)  # [7, 3]  prelude.lee:127
    mean, saved_discrepancy = discrepancy_saved(a, b)  # domains.lee:229
    d_a_2, d_b = discrepancy_backward(saved_discrepancy, torch.ones((), dtype=FLOAT))
    d_softmax = -0.14285714285714285 * log_softmax_  # [7, 3]  domains.lee:103
    d_log_softmax = -0.14285714285714285 * softmax_  # [7, 3]
    sum_2 = d_log_softmax.sum(dim=1, keepdim=True)  # [7, 1]  prelude.lee:127
    sub_2 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [7, 3]  prelude.lee:122
    d_a_5 = d_a_2 + (d_log_softmax - torch.exp(log_softmax_) * sum_2)  # [7, 3]
    return mean - (softmax_ * log_softmax_).sum(dim=1).mean(), d_a_5 + softmax_ * sub_2, d_b


def example_some_shared(key):
    domain_x = normal(fold(key, SITES["domain_x"]), (7, 2), FLOAT)  # [7, 2]  domains.lee:233
    z_x = normal(fold(key, SITES["z_x"]), (7, 3), FLOAT)  # [7, 3]  domains.lee:234
    domain_t = normal(fold(key, SITES["domain_t"]), (9, 2), FLOAT)  # [9, 2]  domains.lee:235
    z_t = normal(fold(key, SITES["z_t"]), (9, 3), FLOAT)  # [9, 3]  domains.lee:236
    value, saved_universal = universal_saved(domain_x, z_x, domain_t, z_t)  # domains.lee:237
    d_domain_x, d_domain_t = universal_backward(saved_universal, torch.ones((), dtype=FLOAT))
    return value, d_domain_x, torch.zeros((7, 3), dtype=FLOAT), d_domain_t, torch.zeros((9, 3), dtype=FLOAT)


def example_turned(key):
    net = Turned(4, 6, 3, key=fold(key, SITES["net"]))  # domains.lee:241
    image = normal(fold(key, SITES["image"]), (5, 4, 4), FLOAT)  # [5, 4, 4]  domains.lee:242
    c = normal(fold(key, SITES["c"]), (5, 3), FLOAT)  # [5, 3]  domains.lee:243
    d_c, saved_at_test_time = at_test_time_saved(net, image)  # domains.lee:244
    div, saved_turning = turning_saved(net, image)
    d_net, d_image_2 = turning_backward(net, image, saved_turning, torch.ones((), dtype=FLOAT))
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
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x = worst_domain_backward(net, x, y, saved_worst_domain, d_value)
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
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = (d_y / each_0).expand(each_0)  # [each_0]
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(dim=1) == y).to(FLOAT).mean()  # metrics.lee:9


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, outputs]  nn.lee:15
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:17

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return torch.addmm(self.b, x, self.w)  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
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
        d_b = d_y.sum(dim=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_parameters_backward(x, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = torch.addmm(d_d_self["b"], x, d_d_self["w"])  # [rows, outputs]
        return d_x, d_d_add


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        super().__init__()
        self.sizes = sizes
        # nn.lee:37
        self.layers = torch.nn.ModuleList(
            [
                Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
                Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            ]
        )

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

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        # optim.lee:79
        adam_(θ, g, self.m, self.v, self.lr, self.beta1, self.beta2, self.eps, self.weight_decay, self.t)


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x.detach()  # [x_0]  prelude.lee:18


def reverse_gradient(x, strength=1.0):
    """x, whose gradient comes back multiplied by -strength (Ganin & Lempitsky 2015).

    x [x_0, x_1] -> [x_0, x_1]
    """
    return graft(x, -strength * x)  # [x_0, x_1]  prelude.lee:28


def reverse_gradient_backward(strength, d_y):
    """From d_y to the gradient by x."""
    # gradient of return graft(x, -strength * x)   prelude.lee:28
    d_x = d_y * -strength  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def reverse_gradient_2(x, strength=1.0):
    """x, whose gradient comes back multiplied by -strength (Ganin & Lempitsky 2015).

    x [x_0, x_1] -> [x_0, x_1]
    """
    return graft(x, -strength * x)  # [x_0, x_1]  prelude.lee:28


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def relu_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1]
    d_x = torch.where(gt, d_y, 0)  # [x_0, x_1]
    return d_x, gt


def relu_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = torch.where(gt, d_d_x, 0)  # [x_0, x_1]
    return d_d_select  # [x_0, x_1]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.relu(x)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2]
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


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


class Graft(torch.autograd.Function):
    """The value of x with the derivative of y."""

    @staticmethod
    def forward(ctx, x, y):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return None, g if ctx.needs_input_grad[1] else None


def graft(x, y):
    """The value of x with the derivative of y."""
    return Graft.apply(x, y)


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def adam_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of Adam in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adam_", x, lr)
    if kernel is None:
        adamw_(x, g + decay * x, m, v, lr, beta1, beta2, eps, 0.0, t)
    else:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)


def adamw_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of AdamW in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adamw_", x, lr)
    if kernel is not None:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)
        return
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    x.mul_(1 - lr * decay)
    x.sub_(m / ((v / (1 - beta2**t)).sqrt_() + eps) * (lr / (1 - beta1**t)))


def fused(name, x, lr):
    """A kernel of the library; None where it has none as exact as x: a rate that is a tensor it takes in float32."""
    rounds = isinstance(lr, torch.Tensor) and x.dtype == torch.float64
    return None if rounds else getattr(torch, name, None)


def fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step by a kernel of the library, which wants lists of tensors, and the count as a tensor."""
    step = t.float() if isinstance(t, torch.Tensor) else torch.scalar_tensor(t, device=x.device)
    lr = lr.float() if isinstance(lr, torch.Tensor) else lr
    how = {"amsgrad": False, "maximize": False}
    kernel([x], [g], [m], [v], [], [step], lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay, eps=eps, **how)


MASK = 0xFFFFFFFF


Key = tuple[int, int] | torch.Tensor


Device = torch.device | str | None


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words are Python integers or int64 tensors below 2**32.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1 = (p1 >> 32 & MASK) ^ x1 ^ k0, p1 & MASK
        x2, x3 = (p0 >> 32 & MASK) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key, word):
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int, device: Device = None) -> torch.Tensor:
    """n random words, int64[n], all four words of a block used; at most 2**34 from one key."""
    blocks = torch.arange(-(-n // 4), dtype=torch.int64, device=device)
    return torch.stack(philox(key, (blocks, 0, 0, 0)), dim=1).reshape(-1)[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape), device) >> 8).reshape(shape).to(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int, device: Device = None) -> torch.Tensor:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape), device).reshape(shape)
    return (words * (high - low) >> 32 & MASK) + low


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)


class Vector:
    """Parameters side by side in one tensor; they become views of `values`.

    Moving or casting a model severs them silently, so parts are asked whether they hold before every step.
    """

    def __init__(self, slots):
        self.owners = [(weakref.ref(module), name) for module, name in slots]
        self.positions = {slot: i for i, slot in enumerate(self.owners)}
        self.parts = {}
        with torch.no_grad():
            parameters = [module._parameters[name] for module, name in slots]
            self.values = torch.cat([p.reshape(-1) for p in parameters])
            self.sizes = [p.numel() for p in parameters]
            for (module, name), p, part in zip(slots, parameters, self.values.split(self.sizes), strict=True):
                p.data = part.view(p.shape)
                HOMES.setdefault(module, {})[name] = self

    @staticmethod
    def part_of(models, use=0):
        """The parameters of these models where they stand side by side for all steps; `use` counts those in a step.

        What shares parameters shares a vector: it is laid out anew when a step moves more than what stood there.
        """
        slots = [slot for model in models for slot in parameter_slots(model)]
        homes = list(dict.fromkeys(HOMES.get(module, {}).get(name) for module, name in slots))
        if len(homes) != 1 or homes[0] is None or not homes[0].part(slots, use).holds():
            homes = [Vector(side_by_side(slots, [home for home in homes if home is not None]))]
        return homes[0].part(slots, use)

    def part(self, slots, use):
        positions = tuple(self.positions[weakref.ref(module), name] for module, name in slots)
        if (positions, use) not in self.parts:
            self.parts[positions, use] = Part(self, slots, positions)
        return self.parts[positions, use]


HOMES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def side_by_side(slots, homes):
    """The slots in their order, among those that share a vector with them: what was together stays so if it can."""
    known = [(ref(), name) for home in homes for ref, name in home.owners if ref() is not None]
    if set(known) <= set(slots):
        return slots
    before = slots[: next(i for i, slot in enumerate(slots) if slot in known)]
    return [*before, *known, *(slot for slot in slots if slot not in known and slot not in before)]


class Part:
    """The parameters that one update moves, as pieces of a vector, with a gradient of their own."""

    def __init__(self, vector, slots, positions):
        starts = [sum(vector.sizes[:i]) for i in positions]
        sizes = [vector.sizes[i] for i in positions]
        bounds = []
        for start, size in zip(starts, sizes, strict=True):
            if bounds and bounds[-1][1] == start:
                bounds[-1][1] += size
            else:
                bounds.append([start, start + size])
        self.pieces = [vector.values[start:stop] for start, stop in bounds]
        self.slots = [(module._parameters, name) for module, name in slots]
        parameters = [table[name] for table, name in self.slots]
        self.shapes = [tuple(p.shape) for p in parameters]
        self.addresses = [p.data_ptr() for p in parameters]
        self.gradient = vector.values.new_zeros(sum(sizes))
        self.gradients = [part.view(p.shape) for part, p in zip(self.gradient.split(sizes), parameters, strict=True)]

    @property
    def values(self):
        """All parameters in one tensor: themselves if they stand together, else copies."""
        return self.pieces[0] if len(self.pieces) == 1 else torch.cat(self.pieces)

    def moved_by(self, update, *more):
        """Let a rule move the whole vector at once."""
        values = self.values
        update(values, self.gradient, *more)
        if len(self.pieces) > 1:
            for piece, moved in zip(self.pieces, values.split([len(p) for p in self.pieces]), strict=True):
                piece.copy_(moved)

    def holds(self):
        return self.addresses == [table[name].data_ptr() for table, name in self.slots]


def parameter_slots(model):
    """Where the parameters of a model are kept: (module, name), in declaration order."""
    for name in model.members:
        attribute = model.renamed.get(name, name)
        if attribute in model._parameters:
            yield model, attribute
        elif attribute in model._modules:
            member = model._modules[attribute]
            for part in member if isinstance(member, torch.nn.ModuleList) else [member]:
                yield from parameter_slots(part)


def find_slot(step, path):
    """(table, name) of the tensor at a path such as `net.layers.0.w`."""
    owner, _, last = path.rpartition(".")
    module = find_member(step, owner)
    name = module.renamed.get(last, last)
    return (module._parameters if name in module._parameters else module._buffers), name


def find_member(step, path):
    """The model at a path such as `net.layers.0`."""
    module = step
    for name in path.split("."):
        module = (
            module[int(name)] if name.isdigit() else getattr(module, getattr(module, "renamed", {}).get(name, name))
        )
    return module


def kind(x):
    """What a graph depends on: of tensors the shape, nothing of the keys of draws, sizes themselves."""
    return (x.shape, x.dtype) if isinstance(x, torch.Tensor) else "key" if isinstance(x, tuple) else x


class Graph:
    """One captured step: batches, keys and numbers are put into tensors of fixed address, then everything is replayed.

    Numbers are filled in by kernels, since a copy from the host would wait for the device.
    """

    def __init__(self, step, batch):
        self.device = step.vectors[0].gradient.device
        self.batch = [self.hold(x) for x in batch]
        self.numbers = [torch.tensor(x, dtype=torch.float64, device=self.device) for x in step.scalars()]
        before = [(tensor, tensor.clone()) for tensor in step.written()]
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # libraries choose their algorithms before anything is captured
            for _ in range(3):
                step.step(*self.batch, *self.numbers)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = step.step(*self.batch, *self.numbers)
        for tensor, value in before:
            tensor.copy_(value)

    def hold(self, x):
        if isinstance(x, tuple):
            return torch.tensor(x, dtype=torch.int64, device=self.device)
        return x.clone() if isinstance(x, torch.Tensor) else x

    def __call__(self, batch, numbers):
        for held, x in zip(self.batch, batch, strict=True):
            if isinstance(x, torch.Tensor):
                held.copy_(x, non_blocking=True)
            elif isinstance(x, tuple):
                for word, value in zip(held.unbind(), x, strict=True):
                    word.fill_(value)
        for held, x in zip(self.numbers, numbers, strict=True):
            held.fill_(x)
        self.graph.replay()
        return own_copy(self.result)


def own_copy(result):
    """What a step returns, if anything, before the next replay writes over it."""
    return result.clone() if isinstance(result, torch.Tensor) else result and tuple(map(own_copy, result))
