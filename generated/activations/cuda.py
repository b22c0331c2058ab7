"""Activations: what a neuron makes of its weighted sum (inventory C1 to C8).

Steps that are soft or hard, ramps that never saturate, and softmax, which makes shares of scores.

Made from specs/activations/activations.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/activations/activations.lee
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


def soft_step_saved(x, height, bias, weight):
    """As soft_step, and what its gradient needs."""
    sigmoid = torch.sigmoid(bias + weight * x)  # [x_0]  activations.lee:15
    return height * sigmoid, sigmoid  # activations.lee:20


def soft_step_backward(sigmoid, height, weight, d_mul_2):
    """From d_mul_2 to the gradient by x."""
    # gradient of return height * sigmoid(bias + weight * x)   activations.lee:20
    d_x = d_mul_2 * height * (sigmoid * (1 - sigmoid)) * weight  # [x_0]
    return d_x  # [x_0]


def hard_sigmoid_saved(x):
    """As hard_sigmoid, and what its gradient needs."""
    add = x / 6 + 0.5  # [x_0]  activations.lee:25
    maximum = add.clamp(min=0)  # [x_0]
    return maximum.clamp(max=1), (add, maximum)


def hard_sigmoid_backward(saved, d_minimum):
    """From d_minimum to the gradient by x."""
    add, maximum = saved
    # gradient of return min(max(x / 6 + 1 / 2, 0), 1)   activations.lee:25
    d_x = torch.where(maximum <= 1, torch.where(add >= 0, d_minimum / 6, 0), 0)  # [x_0]
    return d_x  # [x_0]


def hard_step_saved(x, start, end, height):
    """As hard_step, and what its gradient needs."""
    slope = height / (end - start)  # activations.lee:30
    sub = x - start  # [x_0]  activations.lee:31
    sub_2 = x - end  # [x_0]
    return slope * relu(sub) - slope * relu(sub_2), (sub, sub_2)


def hard_step_backward(saved, end, height, start, d_sub_3):
    """From d_sub_3 to the gradient by x."""
    sub, sub_2 = saved
    # gradient of slope = height / (end - start)   activations.lee:30
    slope = height / (end - start)
    # gradient of return slope * relu(x - start) - slope * relu(x - end)   activations.lee:31
    mul = slope * d_sub_3  # [x_0]
    d_x = relu_backward(sub_2, -mul) + relu_backward(sub, mul)  # [x_0]
    return d_x  # [x_0]


def relu(x):
    """max(0, x)

    x [x_0] -> [x_0]
    """
    return torch.where(0 >= x, 0, x)  # [x_0]  activations.lee:36


def relu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return max(0, x)   activations.lee:36
    d_x = torch.where(0 >= x, 0, d_y)  # [x_0]
    return d_x  # [x_0]


def leaky_relu_saved(x):
    """As leaky_relu, and what its gradient needs."""
    gt = x > 0  # bool[x_0]  activations.lee:41
    return torch.where(gt, x, x / 100), gt


def leaky_relu_backward(gt, d_select):
    """From d_select to the gradient by x."""
    d_x = torch.where(gt, d_select, 0) + torch.where(gt, 0, d_select / 100)  # [x_0]
    return d_x  # [x_0]


class ParametricReLU(Model):
    """Leaky ReLU whose slope α is learned, one for each channel."""

    members = ("alpha",)

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.alpha = torch.nn.Parameter(torch.full((channels,), 0.25, dtype=FLOAT))  # [channels]  activations.lee:46

    def forward(self, x):
        """x [n, channels] -> [n, channels]"""
        gt = x > 0  # bool[n, channels]  activations.lee:49
        guard = torch.where(~gt, self.alpha, self.alpha.detach())  # [n, channels]
        return torch.where(gt, x, guard * torch.where(~gt, x, x.detach()))  # [n, channels]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        gt = x > 0  # bool[n, channels]  activations.lee:49
        return torch.where(gt, x, self.alpha * x), gt

    def forward_backward(self, x, gt, d_y):
        """From d_y to the gradients by the parameters and x."""
        d_alpha = torch.where(gt, 0, d_y * x).sum(dim=0)  # [channels]
        d_x = torch.where(gt, d_y, 0) + torch.where(gt, 0, d_y * self.alpha)  # [n, channels]
        return {"alpha": d_alpha}, d_x


class Maxout(Model):
    """Each unit is the largest of several sums: a learned convex function; with a piece of 0 it is ReLU."""

    members = ("w", "b")

    def __init__(self, inputs, units, pieces=2, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.units, self.pieces = inputs, units, pieces
        key_2 = fold(key, SITES["w"])  # activations.lee:54
        # [units, pieces, inputs]
        self.w = torch.nn.Parameter(1 / math.sqrt(inputs) * normal(key_2, (units, pieces, inputs), FLOAT))
        # [units, pieces]  activations.lee:55
        self.b = torch.nn.Parameter(normal(fold(key, SITES["b"]), (units, pieces), FLOAT))

    def forward(self, x):
        """x [n, inputs] -> [n, units]"""
        n = x.shape[0]
        # [n, pieces * units]  activations.lee:58
        contract = x @ self.w.reshape(self.pieces * self.units, self.inputs).T
        z = contract.reshape(n, self.units, self.pieces) + self.b  # [n, units, pieces]
        return largest(z, (2,), False)  # [n, units]  activations.lee:59

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        # [n, pieces * units]  activations.lee:58
        contract = x @ self.w.reshape(self.pieces * self.units, self.inputs).T
        z = contract.reshape(n, self.units, self.pieces) + self.b  # [n, units, pieces]
        return largest(z, (2,), False), z  # activations.lee:59

    def forward_backward(self, x, z, d_y):
        """From d_y to the gradients by the parameters and x."""
        n = x.shape[0]
        # gradient of return max(z, axis = 2)   activations.lee:59
        iota = torch.arange(self.pieces, device=x.device)[None, None, :]  # int[1, 1, pieces]
        d_z = torch.where(iota == z.argmax(dim=2)[:, :, None], d_y[:, :, None], 0)  # [n, units, pieces]
        # gradient of z[n, u, p] = sum[i](x[n, i] * w[u, p, i]) + b[u, p]   activations.lee:58
        d_b = d_z.sum(dim=0)  # [units, pieces]
        reshape_3 = d_z.reshape(n, self.pieces * self.units)  # [n, pieces * units]
        d_x = reshape_3 @ self.w.reshape(self.pieces * self.units, self.inputs)  # [n, inputs]
        d_w = (reshape_3.T @ x).reshape(self.units, self.pieces, self.inputs)  # [units, pieces, inputs]
        return {"w": d_w, "b": d_b}, d_x


def softmax_(z):
    """yᵢ = e^zᵢ / Σⱼ e^zⱼ

    z [n, k] -> [n, k]
    """
    share = softmax(z, (1,))  # [n, k]  activations.lee:64
    return share  # [n, k]


def softmaxAsPrinted(z):
    """One set of notes sums over the wrong index, e^zᵢ / Σⱼ e^zᵢ, which is 1 / k whatever z.

    z [n, k] -> [n, k]
    """
    k = z.shape[1]
    exp_z = torch.exp(z)  # [n, k]  activations.lee:70
    share = exp_z / (exp_z * k)  # [n, k]
    return share  # [n, k]


def softmaxAsPrinted_saved(z):
    """As softmaxAsPrinted, and what its gradient needs."""
    k = z.shape[1]
    exp_z = torch.exp(z)  # [n, k]  activations.lee:70
    mul = exp_z * k  # [n, k]
    share = exp_z / mul  # [n, k]
    return share, (exp_z, mul)


def softmaxAsPrinted_backward(saved, share, d_share):
    """From d_share to the gradient by z."""
    exp_z, mul = saved
    k = exp_z.shape[1]
    # gradient of share[n, i] = exp(z[n, i]) / sum[j in k](exp(z[n, i]))   activations.lee:70
    d_z = (d_share / mul - k * (d_share * share / mul)) * exp_z  # [n, k]
    return d_z  # [n, k]


def tanh_saved(x):
    """As tanh, and what its gradient needs."""
    sigmoid = torch.sigmoid(2 * x)  # [x_0]  activations.lee:15
    return 2 * sigmoid - 1, sigmoid  # activations.lee:76


def tanh_backward(sigmoid, d_sub):
    """From d_sub to the gradient by x."""
    # gradient of return 1 / (1 + exp(-x))   activations.lee:15
    d_x = d_sub * 2 * (sigmoid * (1 - sigmoid)) * 2  # [x_0]
    return d_x  # [x_0]


class Learned(Model):
    """A net whose activations are learned too."""

    members = ("first", "second", "ramp", "last")

    def __init__(self, hidden, *, key=(0, 0)):
        super().__init__()
        self.hidden = hidden
        self.first = Maxout(64, hidden, key=fold(key, SITES["first"]))  # activations.lee:81
        self.second = Linear(hidden, hidden, key=fold(key, SITES["second"]))  # activations.lee:82
        self.ramp = ParametricReLU(hidden)  # activations.lee:83
        self.last = Linear(hidden, 10, key=fold(key, SITES["last"]))  # activations.lee:84

    def forward(self, x):
        """x [n, 64] -> [n, 10]"""
        return self.last(self.ramp(self.second(self.first(x))))  # [n, 10]  activations.lee:87


@torch.no_grad()
def fit(epochs=20, batch=64, rate=0.1, *, run=None):
    """Digits."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Learned(hidden=24, key=run.key("net")).to(run.session.place.device)  # activations.lee:93
    opt = SGD(lr=rate)  # activations.lee:94
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # activations.lee:97
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # activations.lee:98
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.first.w", "net.first.b", "net.second.w", "net.second.b", "net.ramp.alpha", "net.last.w", "net.last.b")
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.weight_decay)

    def step(self, x, y):
        first_w, first_b, second_w, second_b, ramp_alpha, last_w, last_b = self.tensors
        d_first_w, d_first_b, d_second_w, d_second_b, d_ramp_alpha, d_last_w, d_last_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        # [batches_n, 24, 2]  activations.lee:58
        z = (x @ first_w.reshape(48, 64).T).reshape(batches_n, 24, 2) + first_b
        first_out = z.amax(dim=2)  # [batches_n, 24]  activations.lee:59
        second_out = torch.addmm(second_b, first_out, second_w)  # [batches_n, 24]  nn.lee:21
        gt = second_out > 0  # bool[batches_n, 24]  activations.lee:49
        ramp_out = torch.where(gt, second_out, ramp_alpha * second_out)  # [batches_n, 24]
        affine = torch.addmm(last_b, ramp_out, last_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_last_b)  # [10]  nn.lee:21
        d_ramp_out = d_add_2 @ last_w.T  # [batches_n, 24]
        torch.mm(ramp_out.T, d_add_2, out=d_last_w)  # [24, 10]
        torch.sum(torch.where(gt, 0, d_ramp_out * second_out), dim=0, out=d_ramp_alpha)  # [24]
        d_x_2 = torch.ops.aten.threshold_backward(d_ramp_out, second_out, 0)  # [batches_n, 24]  activations.lee:49
        d_second_out = d_x_2 + torch.where(gt, 0, d_ramp_out * ramp_alpha)  # [batches_n, 24]
        torch.sum(d_second_out, dim=0, out=d_second_b)  # [24]  nn.lee:21
        torch.mm(first_out.T, d_second_out, out=d_second_w)  # [24, 24]
        iota_2 = torch.arange(2, device=x.device)[None, None, :]  # int[1, 1, 2]  activations.lee:59
        reshape_2_2 = (d_second_out @ second_w.T)[:, :, None]  # [batches_n, 24, 1]
        d_z = masked(reshape_2_2, iota_2 == z.argmax(dim=2)[:, :, None])  # [batches_n, 24, 2]
        torch.sum(d_z, dim=0, out=d_first_b)  # [24, 2]  activations.lee:58
        d_first_w.copy_((d_z.reshape(batches_n, 48).T @ x).reshape(24, 2, 64))  # [24, 2, 64]
        lr = self.opt.lr
        weight_decay = self.opt.weight_decay
        for θ, g, s0 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            θ.sub_(g_, alpha=lr)
        return surprise.sum() / count  # losses.lee:148


def example_steps(key):
    x = 2 * normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:103
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:104
    sigmoid_x = torch.sigmoid(x)  # [50]  activations.lee:15
    mul_2 = c**2  # [50]  activations.lee:105
    mul_2_2, saved_soft_step = soft_step_saved(x, 3, 1, 2)
    d_x_2 = soft_step_backward(saved_soft_step, 3, 2, mul_2)  # [50]
    # activations.lee:15
    return (
        (c * sigmoid_x).sum() + (mul_2 * mul_2_2).sum(),
        d_x_2 + c * (sigmoid_x * (1 - sigmoid_x)),
        2 * (mul_2_2 * c) + sigmoid_x,
    )


def example_ramps(key):
    x = 3 * normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:109
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:110
    minimum, saved_hard_sigmoid = hard_sigmoid_saved(x)  # activations.lee:111
    mul_2 = c**2  # [50]
    sub_3, saved_hard_step = hard_step_saved(x, -1, 2, 5)
    d_x_2 = hard_step_backward(saved_hard_step, 2, 5, -1, mul_2)  # [50]
    return (
        (c * minimum).sum() + (mul_2 * sub_3).sum(),
        d_x_2 + hard_sigmoid_backward(saved_hard_sigmoid, c),
        2 * (sub_3 * c) + minimum,
    )


def example_rectified(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:115
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:116
    d_c = relu(x)  # [50]  activations.lee:117
    return (c * d_c).sum(), relu_backward(x, c), d_c


def example_leaky(key):
    x = normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:121
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:122
    d_c, saved_leaky_relu = leaky_relu_saved(x)  # activations.lee:123
    return (c * d_c).sum(), leaky_relu_backward(saved_leaky_relu, c), d_c


def example_learned_slope(key):
    net = ParametricReLU(4)  # activations.lee:127
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  activations.lee:128
    net_out, saved_net = net.forward_saved(x)  # activations.lee:129
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_largest_piece(key):
    net = Maxout(5, 3, pieces=4, key=fold(key, SITES["net"]))  # activations.lee:133
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:134
    net_out, saved_net = net.forward_saved(x)  # activations.lee:135
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_shares(key):
    z = 2 * normal(fold(key, SITES["z"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:139
    c = normal(fold(key, SITES["c"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:140
    d_c = torch.softmax(z, dim=1)  # [9, 5]  activations.lee:64
    mul = c * d_c  # [9, 5]  activations.lee:141
    return mul.sum(), d_c * (c - mul.sum(dim=1, keepdim=True)), d_c  # activations.lee:64


def example_shares_as_printed(key):
    z = 2 * normal(fold(key, SITES["z"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:145
    c = normal(fold(key, SITES["c"]), (9, 5), FLOAT)  # [9, 5]  activations.lee:146
    d_c, saved_softmaxAsPrinted = softmaxAsPrinted_saved(z)  # activations.lee:147
    return (c * d_c).sum(), softmaxAsPrinted_backward(saved_softmaxAsPrinted, d_c, c), d_c


def example_hyperbolic(key):
    x = 2 * normal(fold(key, SITES["x"]), (50,), FLOAT)  # [50]  activations.lee:151
    c = normal(fold(key, SITES["c"]), (50,), FLOAT)  # [50]  activations.lee:152
    d_c, saved_tanh = tanh_saved(x)  # activations.lee:153
    return (c * d_c).sum(), tanh_backward(saved_tanh, c), d_c


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        θ.sub_(self.lr * (g + self.weight_decay * θ))  # [count]  optim.lee:11


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "first": 0xA31DFC4F51C2A8A2,
    "last": 0x840C26AC856B94B1,
    "net": 0xF087C76970C91612,
    "second": 0xF4C52D43B87F6485,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "z": 0x3041FD28A7B04184,
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


def amax(x, axes, keepdims=False):
    """The largest entry, -inf of nothing."""
    some = all(x.shape[axis] for axis in axes)
    return x.amax(axes, keepdim=keepdims) if some else x.sum(axes, keepdim=keepdims) - math.inf


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


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
