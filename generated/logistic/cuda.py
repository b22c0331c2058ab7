"""Classifiers that draw a line (inventory R5 to R8, R10, R11), and a line that explains another classifier.

Made from specs/classification/logistic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/classification/logistic.lee
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


class Logistic(Model):
    """f = w · x + b; the class is 1 where σ(f) > 0.5."""

    members = ("w", "b")

    def __init__(self, features):
        super().__init__()
        self.features = features
        self.w = torch.nn.Parameter(torch.zeros(features, dtype=FLOAT))  # [features]  logistic.lee:11
        self.b = torch.nn.Parameter(torch.zeros((), dtype=FLOAT))  # logistic.lee:12

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


def likelihood(net, x, y):
    """-Σ y ln σ(f) + (1 - y) ln (1 - σ(f)): the most likely line has the least of it.

    x [n, net.features], y [n] -> []
    """
    f = net(x)  # [n]  logistic.lee:20
    mul_2 = (1 - y) * torch.nn.functional.logsigmoid(-f)  # [n]  logistic.lee:21
    return -(y * torch.nn.functional.logsigmoid(f) + mul_2).sum()


def likelihood_saved(net, x, y):
    """As likelihood, and what its gradient needs."""
    f = net(x)  # [n]  logistic.lee:20
    log_sigmoid_f = torch.nn.functional.logsigmoid(f)  # [n]  logistic.lee:21
    sub = 1 - y  # [n]
    log_sigmoid_2 = torch.nn.functional.logsigmoid(-f)  # [n]
    return -(y * log_sigmoid_f + sub * log_sigmoid_2).sum(), (f, -f, log_sigmoid_f, sub, log_sigmoid_2)


def likelihood_backward(net, x, y, saved, d_out):
    """From d_out to the gradients by net, x and y."""
    f, neg_f, log_sigmoid_f, sub, log_sigmoid_2 = saved
    # gradient of f = net(x)   logistic.lee:20
    d_f = -d_out * y * torch.sigmoid(-f) - -d_out * sub * torch.sigmoid(-neg_f)  # [n]
    d_net, d_x = net.forward_backward(x, d_f)
    d_y = -d_out * log_sigmoid_f - -d_out * log_sigmoid_2  # [n]
    return d_net, d_x, d_y


def step_saved(w, x, y, rate):
    """As step, and what its gradient needs."""
    sigmoid = torch.sigmoid(x @ w)  # [n]  prelude.lee:36
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
    sigmoid = torch.sigmoid(x @ w)  # [n]  prelude.lee:36
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
        super().__init__()
        self.features, self.classes = features, classes
        # [features, classes]  logistic.lee:36
        self.w = torch.nn.Parameter(torch.zeros((features, classes), dtype=FLOAT))
        self.b = torch.nn.Parameter(torch.zeros(classes, dtype=FLOAT))  # [classes]  logistic.lee:37

    def forward(self, x):
        """x [n, features] -> [n, classes]"""
        return torch.addmm(self.b, x, self.w)  # [n, classes]  logistic.lee:40

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   logistic.lee:40
        d_b = d_y.sum(dim=0)  # [classes]
        d_x = d_y @ self.w.T  # [n, features]
        d_w = x.T @ d_y  # [features, classes]
        return {"w": d_w, "b": d_b}, d_x


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
    d_net, d_x = net.forward_backward(x, cross_entropy_backward(net_out, y, d_out.expand(n)))
    d_net_w = 2 * (d_out * (strength / 2)) * net.w + d_net["w"]  # [net.features, net.classes]
    return {"w": d_net_w, "b": d_net["b"]}, d_x


def as_regression(x, y, asked):
    """Class numbers as targets of a least-squares line: points that are right beyond doubt turn it too.

    x [n, d], y [n], asked [m, d] -> bool[m]
    """
    n = x.shape[0]
    m = asked.shape[0]
    known = torch.cat((x, torch.ones((n, 1), dtype=FLOAT, device=x.device)), dim=1)  # [n, d + 1]  logistic.lee:50
    contract = known.T @ known  # [d + 1, d + 1]  logistic.lee:51
    w = torch.linalg.solve(contract, (y @ known)[Ellipsis, None])[Ellipsis, 0]  # [d + 1]
    fill_2 = torch.ones((m, 1), dtype=FLOAT, device=x.device)  # [m, 1]  logistic.lee:52
    return torch.cat((asked, fill_2), dim=1) @ w > 0.5  # bool[m]


def distances(x):
    """x₁' is the distance to (0, 0), x₂' that to (1, 1): exclusive or becomes a matter of one line.

    x [n, 2] -> [n, 2]
    """
    return torch.stack((norm(x), norm(x - 1)), dim=1)  # [n, 2]  logistic.lee:57


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
    d_mul_3 = -relu_backward(select, (d_out * cost).expand(n))  # [n]
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
    div = -(sub**2).sum(dim=1) / math.pow(width, 2)  # [n]
    weight = torch.exp(div)  # [n]
    share = softmax(div, (0,))  # [n]  logistic.lee:71
    z = near - share @ near  # [n, d]  logistic.lee:72
    s = score - share @ score  # [n]  logistic.lee:73
    add = z.T @ (weight[:, None] * z) + strength * eye(d)  # [d, d]  logistic.lee:74
    contract_4 = weight * s @ z  # [d]
    y = torch.linalg.solve(add, contract_4[Ellipsis, None])[Ellipsis, 0]  # [d]
    return y  # [d]


def explanation_saved(x, near, score, width=0.75, strength=1.0):
    """As explanation, and what its gradient needs."""
    d = x.shape[0]
    sub = near - x  # [n, d]  logistic.lee:70
    div = -(sub**2).sum(dim=1) / math.pow(width, 2)  # [n]
    weight = torch.exp(div)  # [n]
    share = softmax(div, (0,))  # [n]  logistic.lee:71
    z = near - share @ near  # [n, d]  logistic.lee:72
    s = score - share @ score  # [n]  logistic.lee:73
    mul_2 = weight[:, None] * z  # [n, d]  logistic.lee:74
    add = z.T @ mul_2 + strength * eye(d)  # [d, d]
    mul_4 = weight * s  # [n]
    contract_4 = mul_4 @ z  # [d]
    solve = torch.linalg.solve(add, contract_4[Ellipsis, None])[Ellipsis, 0]  # [d]
    return solve, (sub, weight, share, z, s, mul_2, add, mul_4)


def explanation_backward(near, score, width, saved, solve, d_y):
    """From d_y to the gradients by x, near and score."""
    sub, weight, share, z, s, mul_2, add, mul_4 = saved
    # gradient of return solve(z.T @ (weight[:, None] * z) + strength * eye(d), z.T @ (weight *..   logistic.lee:74
    d_contract_4 = torch.linalg.solve(add.T, d_y[Ellipsis, None])[Ellipsis, 0]  # [d]
    d_add = -(d_contract_4[:, None] @ solve[:, None].T)  # [d, d]
    d_mul_4 = z @ d_contract_4  # [n]
    d_s = d_mul_4 * weight  # [n]
    d_mul_2 = z @ d_add  # [n, d]
    # gradient of s = score - share @ score   logistic.lee:73
    d_contract_2 = -d_s.sum()
    # gradient of z = near - share @ near   logistic.lee:72
    d_z = mul_4[:, None] * d_contract_4 + mul_2 @ d_add.T + d_mul_2 * weight[:, None]  # [n, d]
    d_contract = -d_z.sum(dim=0)  # [d]
    # gradient of share = weight / sum(weight)   logistic.lee:71
    d_share = d_contract_2 * score + near @ d_contract  # [n]
    sub_2 = d_share - (d_share * share).sum(dim=0, keepdim=True)  # [n]
    # gradient of weight = exp(-sum((near - x) ** 2, axis = 1) / width ** 2)   logistic.lee:70
    d_weight = d_mul_4 * s + (d_mul_2 * z).sum(dim=1)  # [n]
    d_sum = -((share * sub_2 + d_weight * weight) / math.pow(width, 2))  # [n]
    d_sub_2 = d_sum[:, None] * sub  # [n, d]
    d_x = (-2 * d_sub_2).sum(dim=0)  # [d]
    d_near = d_z + share[:, None] * d_contract + 2 * d_sub_2  # [n, d]
    d_score = d_s + share * d_contract_2  # [n]
    return d_x, d_near, d_score


@torch.no_grad()
def tumours(epochs=40, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("tumours", backend="torch")
    data = run.data(
        "breast_cancer", standardize=True, test=0.2, fields={"x": ("float", ("n", 30)), "y": ("int", ("n",))}
    )
    net = Logistic(features=30).to(run.session.place.device)  # logistic.lee:79
    opt = Adam(lr=0.01)  # logistic.lee:80
    step = TumoursStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 64, shuffle=True):
            run.step(step(x, y))  # logistic.lee:83
        run.report(accuracy=binary_accuracy(net(data.test.x), data.test.y.to(FLOAT)))  # logistic.lee:84
    return net


class TumoursStep(TrainStep):
    """One step of tumours for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.w", "net.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        w, b = self.tensors
        d_w, d_b = self.gradients
        cast_y = y.to(FLOAT)  # [batches_n]  logistic.lee:83
        f = x @ w + b  # [batches_n]  logistic.lee:15
        mul_2 = (1 - cast_y) * torch.nn.functional.logsigmoid(-f)  # [batches_n]  logistic.lee:21
        d_f = -(torch.sigmoid(-f) * cast_y + (cast_y - 1) * torch.sigmoid(f))  # [batches_n]  logistic.lee:20
        d_b.copy_(d_f.sum())  # logistic.lee:15
        torch.mv(x.T, d_f, out=d_w)  # [30]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return -(cast_y * torch.nn.functional.logsigmoid(f) + mul_2).sum()  # logistic.lee:21


@torch.no_grad()
def flowers(epochs=60, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("flowers", backend="torch")
    data = run.data("iris", standardize=True, test=0.2, fields={"x": ("float", ("n", 4)), "y": ("int", ("n",))})
    net = Softmax(features=4, classes=3).to(run.session.place.device)  # logistic.lee:90
    opt = Adam(lr=0.05)  # logistic.lee:91
    step = FlowersStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, 16, shuffle=True):
            run.step(step(x, y))  # logistic.lee:94
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # logistic.lee:95
    return net


class FlowersStep(TrainStep):
    """One step of flowers for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.w", "net.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, y, t):
        w, b = self.tensors
        d_w, d_b = self.gradients
        net_out = torch.addmm(b, x, w)  # [batches_n, 3]  logistic.lee:40
        each = torch.nn.functional.cross_entropy(net_out, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(3, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 3]
        sub = torch.softmax(net_out, dim=1) - eq.to(FLOAT)  # [batches_n, 3]
        torch.sum(sub, dim=0, out=d_b)  # [3]  logistic.lee:40
        torch.mul(w, 0.01, out=d_w)  # [4, 3]  logistic.lee:45
        d_w.add_(x.T @ sub)  # [4, 3]
        loss = each.sum() + 5e-3 * (w * w).sum()
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return loss


def example_unlikely(key):
    net = Logistic(3)  # logistic.lee:100
    x = normal(fold(key, SITES["x"]), (9, 3), FLOAT)  # [9, 3]  logistic.lee:101
    y = (uniform(fold(key, SITES["y"]), (9,), FLOAT) < 0.5).to(FLOAT)  # [9]  logistic.lee:102
    value, saved_likelihood = likelihood_saved(net, x, y)  # logistic.lee:103
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_y = likelihood_backward(net, x, y, saved_likelihood, d_value)
    return value, net.at(d_net), d_x, d_y


def example_shares(key):
    net = Softmax(3, 4)  # logistic.lee:107
    x = normal(fold(key, SITES["x"]), (9, 3), FLOAT)  # [9, 3]  logistic.lee:108
    y = randint(fold(key, SITES["y"]), (9,), 0, 4)  # int[9]  logistic.lee:109
    value, saved_multi_class = multi_class_saved(net, x, y)  # logistic.lee:110
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x = multi_class_backward(net, x, y, 1.0, saved_multi_class, d_value)
    return value, net.at(d_net), d_x


def example_stepped(key):
    w = normal(fold(key, SITES["w"]), (3,), FLOAT)  # [3]  logistic.lee:114
    x = normal(fold(key, SITES["x"]), (9, 3), FLOAT)  # [9, 3]  logistic.lee:115
    y = (uniform(fold(key, SITES["y"]), (9,), FLOAT) < 0.5).to(FLOAT)  # [9]  logistic.lee:116
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
    y = (uniform(fold(key, SITES["y"]), (9,), FLOAT) < 0.5).to(FLOAT)  # [9]  logistic.lee:125
    sub = 2 * y - 1  # [9]  logistic.lee:126
    value, saved_hinge = hinge_saved(w, b, x, sub)
    d_w, d_b, d_x, d_sub = hinge_backward(w, x, sub, 1.0, saved_hinge, torch.ones((), dtype=FLOAT))
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
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise)  # [rows]  losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
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
    return (z.argmax(dim=1) == y).to(FLOAT).mean()  # metrics.lee:9


def binary_accuracy(z, y):
    """The share of logits on the right side of 0.

    z [z_0], y [z_0] -> []
    """
    return ((z > 0) == (y > 0.5)).to(FLOAT).mean()  # metrics.lee:26


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


def relu(x):
    """x where it is positive, else 0.

    x [x_0] -> [x_0]
    """
    return torch.relu(x)  # [x_0]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0]
    return d_x  # [x_0]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return sqrt((x**2).sum(dim=1))  # [x_0]  prelude.lee:163


def eye(n):
    """The unit matrix."""
    eq = torch.arange(n)[:, None] == torch.arange(n)  # bool[n, n]  prelude.lee:247
    matrix = torch.where(eq, torch.full((), 1.0, dtype=FLOAT), 0.0)  # [n, n]
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


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


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
