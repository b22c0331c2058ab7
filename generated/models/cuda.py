"""Models of the first lectures (inventory A1, A13 to A15): a line, sums of steps, layers, and how errors go back.

Made from specs/regression/models.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/regression/models.lee
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


class Linear(Model):
    """y = b + Σ wᵢ xᵢ"""

    members = ("w", "b")

    def __init__(self, features):
        super().__init__()
        self.features = features
        self.w = torch.nn.Parameter(torch.zeros(features, dtype=FLOAT))  # [features]  models.lee:11
        self.b = torch.nn.Parameter(torch.zeros((), dtype=FLOAT))  # models.lee:12

    def forward(self, x):
        """x [n, features] -> [n]"""
        return self.b + x @ self.w  # [n]  models.lee:15

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return b + x @ w   models.lee:15
        d_b = d_y.sum()
        d_x = d_y[:, None] * self.w  # [n, features]
        d_w = d_y @ x  # [features]
        return {"w": d_w, "b": d_b}, d_x


class SigmoidSum(Model):
    """y = a + Σᵢ cᵢ σ(bᵢ + Σⱼ wᵢⱼ xⱼ): a constant and soft steps fit any curve."""

    members = ("w", "b", "c", "a")

    def __init__(self, features, pieces, *, key=(0, 0)):
        super().__init__()
        self.features, self.pieces = features, pieces
        # [features, pieces]  models.lee:20
        self.w = torch.nn.Parameter(normal(fold(key, SITES["w"]), (features, pieces), FLOAT))
        self.b = torch.nn.Parameter(normal(fold(key, SITES["b"]), (pieces,), FLOAT))  # [pieces]  models.lee:21
        self.c = torch.nn.Parameter(normal(fold(key, SITES["c"]), (pieces,), FLOAT))  # [pieces]  models.lee:22
        self.a = torch.nn.Parameter(torch.zeros((), dtype=FLOAT))  # models.lee:23

    def forward(self, x):
        """x [n, features] -> [n]"""
        contract = torch.sigmoid(torch.addmm(self.b, x, self.w)) @ self.c  # [n]  models.lee:26
        return self.a + contract  # [n]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        sigmoid = torch.sigmoid(torch.addmm(self.b, x, self.w))  # [n, pieces]  prelude.lee:36
        return self.a + sigmoid @ self.c, sigmoid  # models.lee:26

    def forward_backward(self, x, sigmoid, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return a + sigmoid(x @ w + b) @ c   models.lee:26
        d_a = d_y.sum()
        d_c = d_y @ sigmoid  # [pieces]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_add = d_y[:, None] * self.c * (sigmoid * (1 - sigmoid))  # [n, pieces]
        # gradient of return a + sigmoid(x @ w + b) @ c   models.lee:26
        d_b = d_add.sum(dim=0)  # [pieces]
        d_x = d_add @ self.w.T  # [n, features]
        d_w = x.T @ d_add  # [features, pieces]
        return {"w": d_w, "b": d_b, "c": d_c, "a": d_a}, d_x


class ReluSum(Model):
    """The same with rectified lines; two of them make a hard step."""

    members = ("w", "b", "c", "a")

    def __init__(self, features, pieces, *, key=(0, 0)):
        super().__init__()
        self.features, self.pieces = features, pieces
        # [features, pieces]  models.lee:31
        self.w = torch.nn.Parameter(normal(fold(key, SITES["w"]), (features, pieces), FLOAT))
        self.b = torch.nn.Parameter(normal(fold(key, SITES["b"]), (pieces,), FLOAT))  # [pieces]  models.lee:32
        self.c = torch.nn.Parameter(normal(fold(key, SITES["c"]), (pieces,), FLOAT))  # [pieces]  models.lee:33
        self.a = torch.nn.Parameter(torch.zeros((), dtype=FLOAT))  # models.lee:34

    def forward(self, x):
        """x [n, features] -> [n]"""
        return self.a + relu(torch.addmm(self.b, x, self.w)) @ self.c  # [n]  models.lee:37

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(torch.addmm(self.b, x, self.w))  # [n, pieces]  models.lee:37
        return self.a + select @ self.c, select

    def forward_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return a + relu(x @ w + b) @ c   models.lee:37
        d_a = d_y.sum()
        d_c = d_y @ select  # [pieces]
        d_add = relu_backward(select, d_y[:, None] * self.c)  # [n, pieces]
        d_b = d_add.sum(dim=0)  # [pieces]
        d_x = d_add @ self.w.T  # [n, features]
        d_w = x.T @ d_add  # [features, pieces]
        return {"w": d_w, "b": d_b, "c": d_c, "a": d_a}, d_x


class Layer(Model):
    """W a + b: every neuron sees every output of the layer before."""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        normal_ = normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  models.lee:42
        self.w = torch.nn.Parameter(1 / math.sqrt(inputs) * normal_)  # [inputs, outputs]
        self.b = torch.nn.Parameter(torch.zeros(outputs, dtype=FLOAT))  # [outputs]  models.lee:43

    def forward(self, a):
        """a [n, inputs] -> [n, outputs]"""
        return torch.addmm(self.b, a, self.w)  # [n, outputs]  models.lee:46

    def forward_backward(self, a, d_y):
        """From d_y to the gradients by the parameters and a."""
        # gradient of return a @ w + b   models.lee:46
        d_b = d_y.sum(dim=0)  # [outputs]
        d_a = d_y @ self.w.T  # [n, inputs]
        d_w = a.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_a


class FullyConnected(Model):
    """Layers with σ between them: a = σ(W a + b); the last one gives scores."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        super().__init__()
        self.sizes = sizes
        # models.lee:51
        self.layers = torch.nn.ModuleList(
            [
                Layer(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
                Layer(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
                Layer(sizes[2], sizes[3], key=fold(key, SITES["layers.2"])),
            ]
        )

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_3]"""
        x_2 = torch.sigmoid(self.layers[0](x))  # [x_0, sizes_1]  prelude.lee:36
        x_3 = torch.sigmoid(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3)  # [x_0, sizes_3]  models.lee:56

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = torch.sigmoid(self.layers[0](x))  # [x_0, sizes_1]  prelude.lee:36
        x_3 = torch.sigmoid(self.layers[1](x_2))  # [x_0, sizes_2]
        return self.layers[2](x_3), (x_2, x_3)  # models.lee:56

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, x_3 = saved
        # gradient of return layers[-1](x)   models.lee:56
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, d_y)
        # gradient of x = sigmoid(layer(x))   models.lee:55
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_x_3 * (x_3 * (1 - x_3)))
        d_layers_0_, d_x = self.layers[0].forward_backward(x, d_x_2 * (x_2 * (1 - x_2)))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_, "layers.2": d_layers_2_}, d_x


class FullyConnected_2(Model):
    """Layers with σ between them: a = σ(W a + b); the last one gives scores."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        super().__init__()
        self.sizes = sizes
        # models.lee:51
        self.layers = torch.nn.ModuleList(
            [
                Layer(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
                Layer(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            ]
        )

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        x_2 = torch.sigmoid(self.layers[0](x))  # [x_0, sizes_1]  prelude.lee:36
        return self.layers[1](x_2)  # [x_0, sizes_2]  models.lee:56


class TwoLayers(Model):
    """TwoLayers(features, hidden)"""

    members = ("w1", "b1", "w2", "b2")

    def __init__(self, features, hidden, *, key=(0, 0)):
        super().__init__()
        self.features, self.hidden = features, hidden
        # [features, hidden]  models.lee:60
        self.w1 = torch.nn.Parameter(normal(fold(key, SITES["w1"]), (features, hidden), FLOAT))
        self.b1 = torch.nn.Parameter(torch.zeros(hidden, dtype=FLOAT))  # [hidden]  models.lee:61
        self.w2 = torch.nn.Parameter(normal(fold(key, SITES["w2"]), (hidden,), FLOAT))  # [hidden]  models.lee:62
        self.b2 = torch.nn.Parameter(torch.zeros((), dtype=FLOAT))  # models.lee:63


def back_propagation(net, x, y):
    """Forward, every layer keeps its input; backward, ∂C/∂z = σ'(z) Σ w ∂C/∂z of the layer above.

    x [n, net.features], y [n] -> [], [net.features, net.hidden], [net.hidden], [net.hidden], []
    """
    a1 = torch.sigmoid(torch.addmm(net.b1, x, net.w1))  # [n, net.hidden]  prelude.lee:36
    a2 = torch.sigmoid(a1 @ net.w2 + net.b2)  # [n]
    sub = a2 - y  # [n]  models.lee:70
    cost = 0.5 * (sub**2).sum()
    d_z2 = a2 * (1 - a2) * sub  # [n]  models.lee:71
    d_z1 = a1 * (1 - a1) * net.w2 * d_z2[:, None]  # [n, net.hidden]  models.lee:72
    return cost, x.T @ d_z1, d_z1.sum(dim=0), d_z2 @ a1, d_z2.sum()  # models.lee:73


@torch.no_grad()
def fit(epochs=60, batch=32, *, run=None):
    """Three kinds of wine, from 13 measurements."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data("wine", standardize=True, test=0.25, fields={"x": ("float", ("n", 13)), "y": ("int", ("n",))})
    net = FullyConnected_2(sizes=(13, 16, 3), key=run.key("net")).to(run.session.place.device)  # models.lee:79
    opt = Adam(lr=0.02)  # models.lee:80
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # models.lee:83
        run.report(accuracy=accuracy(net(data.test.x), data.test.y))  # models.lee:84
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
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
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.sigmoid(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 16]  prelude.lee:36
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 3]  models.lee:46
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(3, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 3]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 3]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [3]  models.lee:46
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [16, 3]
        d_add = torch.ops.aten.sigmoid_backward(d_add_2 @ layers_1_w.T, x_2)  # [batches_n, 16]  prelude.lee:36
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [16]  models.lee:46
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [13, 16]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def example_line(key):
    net = Linear(4)  # models.lee:89
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:90
    y = normal(fold(key, SITES["y"]), (9,), FLOAT)  # [9]  models.lee:91
    sub = net(x) - y  # [9]  models.lee:92
    d_net, d_x = net.forward_backward(x, 0.2222222222222222 * sub)
    return (sub**2).mean(), net.at(d_net), d_x, -0.2222222222222222 * sub


def example_steps(key):
    net = SigmoidSum(4, 5, key=fold(key, SITES["net"]))  # models.lee:96
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:97
    net_out, saved_net = net.forward_saved(x)  # models.lee:98
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_lines(key):
    net = ReluSum(4, 5, key=fold(key, SITES["net"]))  # models.lee:102
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:103
    net_out, saved_net = net.forward_saved(x)  # models.lee:104
    d_net, d_x = net.forward_backward(x, saved_net, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_classes(key):
    net = FullyConnected((4, 6, 5, 3), key=fold(key, SITES["net"]))  # models.lee:108
    x = normal(fold(key, SITES["x"]), (9, 4), FLOAT)  # [9, 4]  models.lee:109
    label = randint(fold(key, SITES["label"]), (9,), 0, 3)  # int[9]  models.lee:110
    add_3, saved_net = net.forward_saved(x)  # models.lee:111
    d_add_3 = cross_entropy_backward(add_3, label, torch.ones((), dtype=FLOAT))  # [9, 3]
    d_net, d_x = net.forward_backward(x, saved_net, d_add_3)
    return cross_entropy(add_3, label), net.at(d_net), d_x


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "net": 0xF087C76970C91612,
    "w": 0x20925082A2286B9E,
    "w1": 0xB8398C5E8A843CF2,
    "w2": 0xD2AB21D399353084,
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
