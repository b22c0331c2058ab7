"""Codes that are learned without labels (inventory I25 to I38): auto-encoders and what is done with their codes.

Made from specs/representation/coding.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/representation/coding.lee
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


class AutoEncoder(Model):
    """AutoEncoder(d, hidden, code)"""

    members = ("encoder", "decoder")

    def __init__(self, d, hidden, code, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.code = d, hidden, code
        self.encoder = MLP((d, hidden, code), key=fold(key, SITES["encoder"]))  # coding.lee:13
        self.decoder = MLP((code, hidden, d), key=fold(key, SITES["decoder"]))  # coding.lee:14

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        return self.decoder(self.encoder(x))  # [n, d]  coding.lee:17

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        add_2, saved_encoder = self.encoder.forward_saved(x)  # coding.lee:17
        add_2_2, saved_decoder = self.decoder.forward_saved(add_2)
        return add_2_2, (add_2, saved_encoder, saved_decoder)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        add_2, saved_encoder, saved_decoder = saved
        # gradient of return decoder(encoder(x))   coding.lee:17
        d_decoder, d_add_2 = self.decoder.forward_backward(add_2, saved_decoder, d_y)
        d_encoder, d_x = self.encoder.forward_backward(x, saved_encoder, d_add_2)
        return {"encoder": d_encoder, "decoder": d_decoder}, d_x


def reconstruction(net, x):
    """x [n, net.d] -> []"""
    sub = net(x) - x  # [n, net.d]  coding.lee:21
    return (sub**2).sum(dim=1).mean()


def reconstruction_saved(net, x):
    """As reconstruction, and what its gradient needs."""
    add_2_2, saved_net = net.forward_saved(x)  # coding.lee:21
    sub = add_2_2 - x  # [n, net.d]
    return (sub**2).sum(dim=1).mean(), (saved_net, sub)


def reconstruction_backward(net, x, saved, d_y):
    """From d_y to the gradients by net and x."""
    saved_net, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((net(x) - x) ** 2, axis = 1))   coding.lee:21
    d_sub = 2 * (d_y / n) * sub  # [n, net.d]
    d_net, d_x_3 = net.forward_backward(x, saved_net, d_sub)
    d_x = d_x_3 - d_sub  # [n, net.d]
    return d_net, d_x


def reconstruction_2_saved(net, x):
    """As reconstruction_2, and what its gradient needs."""
    net_out, saved_net = net.forward_saved(x)  # coding.lee:21
    sub = net_out - x  # [n, net.d]
    return (sub**2).sum(dim=1).mean(), (saved_net, sub)


def reconstruction_2_backward(net, x, saved, d_mean):
    """From d_mean to the gradients by net and x."""
    saved_net, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((net(x) - x) ** 2, axis = 1))   coding.lee:21
    d_sub = 2 * (d_mean / n) * sub  # [n, net.d]
    d_net, d_x_3 = net.forward_backward(x, saved_net, d_sub)
    d_x = d_x_3 - d_sub  # [n, net.d]
    return d_net, d_x


def denoising_saved(net, x, noise):
    """As denoising, and what its gradient needs."""
    add = x + noise  # [n, net.d]  coding.lee:26
    add_2_2, saved_net = net.forward_saved(add)
    sub = add_2_2 - x  # [n, net.d]
    return (sub**2).sum(dim=1).mean(), (add, saved_net, sub)


def denoising_backward(net, saved, d_mean):
    """From d_mean to the gradients by net, x and noise."""
    add, saved_net, sub = saved
    n = add.shape[0]
    # gradient of return mean(sum((net(x + noise) - x) ** 2, axis = 1))   coding.lee:26
    d_sub = 2 * (d_mean / n) * sub  # [n, net.d]
    d_net, d_noise = net.forward_backward(add, saved_net, d_sub)
    d_x = d_noise - d_sub  # [n, net.d]
    return d_net, d_x, d_noise


@torch.no_grad()
def fit(epochs=12, batch=64, rate=3e-3, *, run=None):
    """The code of 8 numbers is what is sent; the report is what decoding loses."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = AutoEncoder(d=64, hidden=48, code=8, key=run.key("net")).to(run.session.place.device)  # coding.lee:32
    opt = Adam(lr=rate)  # coding.lee:33
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x))  # coding.lee:36
    run.report(lost=reconstruction(net, data.test.x))  # coding.lee:37
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.encoder.layers.0.w",
        "net.encoder.layers.0.b",
        "net.encoder.layers.1.w",
        "net.encoder.layers.1.b",
        "net.decoder.layers.0.w",
        "net.decoder.layers.0.b",
        "net.decoder.layers.1.w",
        "net.decoder.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 2 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, t):
        encoder_layers_0_w, encoder_layers_0_b, encoder_layers_1_w, encoder_layers_1_b = self.tensors[:4]
        decoder_layers_0_w, decoder_layers_0_b, decoder_layers_1_w, decoder_layers_1_b = self.tensors[4:]
        d_encoder_layers_0_w, d_encoder_layers_0_b, d_encoder_layers_1_w = self.gradients[:3]
        d_encoder_layers_1_b, d_decoder_layers_0_w, d_decoder_layers_0_b = self.gradients[3:6]
        d_decoder_layers_1_w, d_decoder_layers_1_b = self.gradients[6:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 2 / batches_n
        x_2_2 = torch.relu(torch.addmm(encoder_layers_0_b, x, encoder_layers_0_w))  # [batches_n, 48]  prelude.lee:61
        affine_2 = torch.addmm(encoder_layers_1_b, x_2_2, encoder_layers_1_w)  # [batches_n, 8]  nn.lee:21
        affine_3 = torch.addmm(decoder_layers_0_b, affine_2, decoder_layers_0_w)  # [batches_n, 48]
        x_2 = torch.relu(affine_3)  # [batches_n, 48]  prelude.lee:61
        sub = torch.addmm(decoder_layers_1_b, x_2, decoder_layers_1_w) - x  # [batches_n, 64]  coding.lee:21
        d_sub = scale * sub  # [batches_n, 64]
        torch.sum(d_sub, dim=0, out=d_decoder_layers_1_b)  # [64]  nn.lee:21
        torch.mm(x_2.T, d_sub, out=d_decoder_layers_1_w)  # [48, 64]
        # [batches_n, 48]  prelude.lee:61
        d_add = torch.ops.aten.threshold_backward(d_sub @ decoder_layers_1_w.T, x_2, 0)
        torch.sum(d_add, dim=0, out=d_decoder_layers_0_b)  # [48]  nn.lee:21
        d_add_2 = d_add @ decoder_layers_0_w.T  # [batches_n, 8]
        torch.mm(affine_2.T, d_add, out=d_decoder_layers_0_w)  # [8, 48]
        torch.sum(d_add_2, dim=0, out=d_encoder_layers_1_b)  # [8]
        torch.mm(x_2_2.T, d_add_2, out=d_encoder_layers_1_w)  # [48, 8]
        # [batches_n, 48]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2 @ encoder_layers_1_w.T, x_2_2, 0)
        torch.sum(d_add_3, dim=0, out=d_encoder_layers_0_b)  # [48]  nn.lee:21
        torch.mm(x.T, d_add_3, out=d_encoder_layers_0_w)  # [64, 48]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub * sub).sum(dim=1).sum() / count  # coding.lee:21


class Tied(Model):
    """Linear both ways with one matrix: its best error is that of PCA."""

    members = ("w",)

    def __init__(self, d, code, *, key=(0, 0)):
        super().__init__()
        self.d, self.code = d, code
        self.w = torch.nn.Parameter(0.3 * normal(fold(key, SITES["w"]), (d, code), FLOAT))  # [d, code]  coding.lee:43

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        return x @ self.w @ self.w.T  # [n, d]  coding.lee:46

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        contract = x @ self.w  # [n, code]  coding.lee:46
        return contract @ self.w.T, contract

    def forward_backward(self, x, contract, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w @ w.T   coding.lee:46
        d_contract = d_y @ self.w  # [n, code]
        d_x = d_contract @ self.w.T  # [n, d]
        d_w = d_y.T @ contract + x.T @ d_contract  # [d, code]
        return {"w": d_w}, d_x


def pooled(x, size=2):
    """The largest of each square, and which of them it was.

    x [n, c, h, w] -> [n, c, h // size, w // size], int[n, c, h // size, w // size]
    """
    _, _, h, w = x.shape
    u = torch.arange(size**2, device=x.device)  # int[size**2]  coding.lee:54
    reshape = (torch.arange(h // size, device=x.device) * size)[:, None]  # int[h // size, 1]
    reshape_2 = (torch.arange(w // size, device=x.device) * size)[:, None]  # int[w // size, 1]
    reshape_3 = (reshape + u // size)[:, None]  # int[h // size, 1, size**2]
    gather = x.permute((2, 3, 0, 1))[reshape_3, reshape_2 + u % size]  # [h // size, w // size, size**2, n, c]
    square = gather.permute(3, 4, 0, 1, 2)  # [n, c, h // size, w // size, size**2]
    return largest(square, (4,), False), square.argmax(dim=4)  # coding.lee:55


def pooled_saved(x, size=2):
    """As pooled, and what its gradient needs."""
    _, _, h, w = x.shape
    u = torch.arange(size**2, device=x.device)  # int[size**2]  coding.lee:54
    reshape = (torch.arange(h // size, device=x.device) * size)[:, None]  # int[h // size, 1]
    add_2 = (torch.arange(w // size, device=x.device) * size)[:, None] + u % size  # int[w // size, size**2]
    reshape_3 = (reshape + u // size)[:, None]  # int[h // size, 1, size**2]
    square = x.permute((2, 3, 0, 1))[reshape_3, add_2].permute(3, 4, 0, 1, 2)  # [n, c, h // size, w // size, size**2]
    return largest(square, (4,), False), square.argmax(dim=4), (add_2, reshape_3, square)  # coding.lee:55


def pooled_backward(saved, h, size, w, d_max):
    """From d_max to the gradient by x."""
    add_2, reshape_3, square = saved
    n, c, _, _, _ = square.shape
    # gradient of return max(square, axis = 4), argmax(square, axis = 4)   coding.lee:55
    iota = torch.arange(size**2, device=add_2.device)[None, None, None, None, :]  # int[1, 1, 1, 1, size**2]
    eq = iota == square.argmax(dim=4)[:, :, :, :, None]  # bool[n, c, h // size, w // size, size**2]
    d_square = torch.where(eq, d_max[:, :, :, :, None], 0)  # [n, c, h // size, w // size, size**2]
    # gradient of square[r, k, i in h // size, j in w // size, u in size * size] = x[r, k, size..   coding.lee:54
    d_gather = d_square.permute(2, 3, 4, 0, 1)  # [h // size, w // size, size**2, n, c]
    d_x = scatter_add(d_gather, (reshape_3, add_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def unpooled(y, place, size=2):
    """Every value back at its place, 0 elsewhere.

    y [n, c, h, w], place int[n, c, h, w] -> [n, c, h * size, size * w]
    """
    _, _, h, w = y.shape
    a = torch.arange(h * size, device=y.device)  # int[h * size]  coding.lee:61
    floordiv = a // size  # int[h * size]
    b = torch.arange(size * w, device=y.device)  # int[size * w]
    floordiv_2 = b // size  # int[size * w]
    gather = place.permute((2, 3, 0, 1))[floordiv[:, None], floordiv_2]  # int[h * size, size * w, n, c]
    add = (a % size * size)[:, None] + b % size  # int[h * size, size * w]
    reshape_3 = floordiv.clamp(min=0).clamp(max=h - 1)[:, None]  # int[h * size, 1]
    minimum_2 = floordiv_2.clamp(min=0).clamp(max=w - 1)  # int[size * w]
    gather_2 = y.permute((2, 3, 0, 1))[reshape_3, minimum_2]  # [h * size, size * w, n, c]
    eq = gather.permute(2, 3, 0, 1) == add  # bool[n, c, h * size, size * w]
    x = torch.where(eq, gather_2.permute(2, 3, 0, 1), 0)  # [n, c, h * size, size * w]  coding.lee:60
    return x  # [n, c, h * size, size * w]


def unpooled_saved(y, place, size=2):
    """As unpooled, and what its gradient needs."""
    _, _, h, w = y.shape
    a = torch.arange(h * size, device=y.device)  # int[h * size]  coding.lee:61
    floordiv = a // size  # int[h * size]
    b = torch.arange(size * w, device=y.device)  # int[size * w]
    floordiv_2 = b // size  # int[size * w]
    gather = place.permute((2, 3, 0, 1))[floordiv[:, None], floordiv_2]  # int[h * size, size * w, n, c]
    eq = gather.permute(2, 3, 0, 1) == (a % size * size)[:, None] + b % size  # bool[n, c, h * size, size * w]
    minimum_2 = floordiv_2.clamp(min=0).clamp(max=w - 1)  # int[size * w]
    reshape_3 = floordiv.clamp(min=0).clamp(max=h - 1)[:, None]  # int[h * size, 1]
    gather_2 = y.permute((2, 3, 0, 1))[reshape_3, minimum_2]  # [h * size, size * w, n, c]
    x = torch.where(eq, gather_2.permute(2, 3, 0, 1), 0)  # [n, c, h * size, size * w]  coding.lee:60
    return x, (eq, minimum_2, reshape_3)


def unpooled_backward(saved, h, size, w, d_x):
    """From d_x to the gradient by y."""
    eq, minimum_2, reshape_3 = saved
    n, c, _, _ = eq.shape
    # gradient of place[r, k, a // size, b // size] == (a % size) * size + b % size, y[r, k, a ..   coding.lee:61
    d_gather_2 = torch.where(eq, d_x, 0).permute(2, 3, 0, 1)  # [h * size, size * w, n, c]
    d_y = scatter_add(d_gather_2, (reshape_3, minimum_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_y  # [n, c, h, w]


def copied(y, size=2):
    """Every value over its whole square.

    y [n, c, h, w] -> [n, c, h * size, size * w]
    """
    _, _, h, w = y.shape
    reshape = (torch.arange(h * size, device=y.device) // size)[:, None]  # int[h * size, 1]  coding.lee:68
    floordiv_2 = torch.arange(size * w, device=y.device) // size  # int[size * w]
    x = y.permute((2, 3, 0, 1))[reshape, floordiv_2].permute(2, 3, 0, 1)  # [n, c, h * size, size * w]
    return x  # [n, c, h * size, size * w]


def copied_saved(y, size=2):
    """As copied, and what its gradient needs."""
    _, _, h, w = y.shape
    floordiv_2 = torch.arange(size * w, device=y.device) // size  # int[size * w]  coding.lee:68
    reshape = (torch.arange(h * size, device=y.device) // size)[:, None]  # int[h * size, 1]
    x = y.permute((2, 3, 0, 1))[reshape, floordiv_2].permute(2, 3, 0, 1)  # [n, c, h * size, size * w]
    return x, (floordiv_2, reshape)


def copied_backward(saved, h, size, w, d_x):
    """From d_x to the gradient by y."""
    floordiv_2, reshape = saved
    n, c, _, _ = d_x.shape
    # gradient of x[r, k, a in h * size, b in w * size] = y[r, k, a // size, b // size]   coding.lee:68
    d_gather = d_x.permute(2, 3, 0, 1)  # [h * size, size * w, n, c]
    d_y = scatter_add(d_gather, (reshape, floordiv_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_y  # [n, c, h, w]


def deconvolved(x, kernel):
    """A convolution after padding, with the kernel turned round.

    x [n, c, h, w], kernel [c, o, k, k] -> [n, o, h + k - 1, k + w - 1]
    """
    n, _, h, w = x.shape
    c, o, k, _ = kernel.shape
    # [n, c, h + 2 * k - 2, 2 * k + w - 2]  coding.lee:74
    around = torch.nn.functional.pad(x, (k - 1, k - 1, k - 1, k - 1, 0, 0, 0, 0), value=0.0)
    transpose = torch.flip(kernel, (2, 3)).permute(1, 0, 2, 3)  # [o, c, k, k]  coding.lee:75
    windows_2 = around.unfold(3, k, 1).unfold(2, k, 1).movedim(-1, 3)  # [n, c, h + k - 1, k, k + w - 1, k]
    # [n, c * k**2, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    columns = windows_2.permute(0, 1, 3, 5, 2, 4).reshape(n, c * k**2, -1)
    contract = transpose.reshape(o, c * k**2) @ columns  # [n, o, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    y = contract.reshape(n, o, h + k - 1, k + w - 1)  # [n, o, h + k - 1, k + w - 1]
    return y  # [n, o, h + k - 1, k + w - 1]


def deconvolved_saved(x, kernel):
    """As deconvolved, and what its gradient needs."""
    n, _, h, w = x.shape
    c, o, k, _ = kernel.shape
    # [n, c, h + 2 * k - 2, 2 * k + w - 2]  coding.lee:74
    around = torch.nn.functional.pad(x, (k - 1, k - 1, k - 1, k - 1, 0, 0, 0, 0), value=0.0)
    transpose = torch.flip(kernel, (2, 3)).permute(1, 0, 2, 3)  # [o, c, k, k]  coding.lee:75
    windows_2 = around.unfold(3, k, 1).unfold(2, k, 1).movedim(-1, 3)  # [n, c, h + k - 1, k, k + w - 1, k]
    # [n, c * k**2, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    columns = windows_2.permute(0, 1, 3, 5, 2, 4).reshape(n, c * k**2, -1)
    contract = transpose.reshape(o, c * k**2) @ columns  # [n, o, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    y = contract.reshape(n, o, h + k - 1, k + w - 1)  # [n, o, h + k - 1, k + w - 1]
    return y, around


def deconvolved_backward(kernel, around, h, w, d_y):
    """From d_y to the gradients by x and kernel."""
    c, o, k, _ = kernel.shape
    n = around.shape[0]
    # gradient of y[r, f, i in h + k - 1, j in w + k - 1] = sum[m, u in k, v in k](   coding.lee:75
    transpose = torch.flip(kernel, (2, 3)).permute(0, 2, 3, 1)  # [c, k, k, o]
    reshape_2 = d_y.reshape(n, o, -1)  # [n, o, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    # [n, c * k**2, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    contract = transpose.reshape(c * k**2, o) @ reshape_2
    reshape_3 = contract.reshape(n, c, k, k, h + k - 1, k + w - 1)  # [n, c, k, k, h + k - 1, k + w - 1]
    transpose_2 = reshape_3.permute(0, 1, 4, 2, 5, 3)  # [n, c, h + k - 1, k, k + w - 1, k]
    unwindow_ = unwindow(transpose_2, 4, 2 * k + w - 2, 1, 1)  # [n, c, h + k - 1, k, 2 * k + w - 2]
    d_around = unwindow(unwindow_, 2, h + 2 * k - 2, 1, 1)  # [n, c, h + 2 * k - 2, 2 * k + w - 2]
    windows_2 = around.unfold(3, k, 1).unfold(2, k, 1).movedim(-1, 3)  # [n, c, h + k - 1, k, k + w - 1, k]
    # [c, n, k**2, h * k + h * w + k * w + k**2 + 1 - h - 2 * k - w]
    columns = windows_2.permute(1, 0, 3, 5, 2, 4).reshape(c, n, k**2, -1)
    sum_ = (reshape_2 @ columns.mT).reshape(c, n, o, k, k).sum(dim=1)  # [c, o, k, k]
    d_kernel = torch.flip(sum_, (2, 3))  # [c, o, k, k]
    # gradient of around = pad(x, (0, 0, k - 1, k - 1))   coding.lee:74
    d_x = d_around[:, :, k - 1 : h + k - 1, k - 1 : k + w - 1]  # [n, c, h, w]
    return d_x, d_kernel


@torch.no_grad()
def layer_wise(epochs=5, batch=64, rate=3e-3, *, run=None):
    """The first layer by an auto-encoder, the second by one of the first's codes; then all of it with labels."""
    from leec.runtime.run import Run

    run = run or Run("layer_wise", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    one = Linear(inputs=64, outputs=32, key=run.key("one")).to(run.session.place.device)  # coding.lee:87
    back = Linear(inputs=32, outputs=64, key=run.key("back")).to(run.session.place.device)  # coding.lee:88
    opt = Adam(lr=rate)  # coding.lee:89
    step = LayerWiseStep(one, back, opt)
    for epoch in run.loop("epoch", 1, epochs, back=back, one=one, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x))  # coding.lee:92
    two = Linear(inputs=32, outputs=16, key=run.key("two")).to(run.session.place.device)  # coding.lee:93
    again = Linear(inputs=16, outputs=32, key=run.key("again")).to(run.session.place.device)  # coding.lee:94
    opt_two = Adam(lr=rate)  # coding.lee:95
    step_ = LayerWiseStep2(one, two, again, opt_two)
    for epoch in run.loop("epoch_2", 1, epochs, again=again, opt_two=opt_two, two=two):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            run.step(step_(x))  # coding.lee:98
    head = Linear(inputs=16, outputs=10, key=run.key("head")).to(run.session.place.device)  # coding.lee:100
    opt_all = Adam(lr=rate)  # coding.lee:101
    step_2 = LayerWiseStep3(one, two, head, opt_all)
    for epoch in run.loop("epoch_3", 1, epochs, head=head, one=one, opt_all=opt_all, two=two):
        for x, y in run.batches("batches_3", data.train, batch, shuffle=True):
            run.step(step_2(x, y))  # coding.lee:104
    return one


class LayerWiseStep(TrainStep):
    """One step of layer_wise for one, back, opt: call it with a batch."""

    moved = (("opt", ("one", "back")),)
    counted = ("opt",)
    read = ("one.w", "one.b", "back.w", "back.b")
    spare = (None,)

    def __init__(self, one, back, opt):
        self.one, self.back, self.opt = one, back, opt
        self.bind()

    def numbers(self, batches_n):
        return (64 * batches_n, 2 / (64 * batches_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, t):
        w, b, w_, b_ = self.tensors
        d_w, d_b, d_w_, d_b_ = self.gradients
        batches_n = x.shape[0]
        scale, scale_ = self.held(batches_n)  # 64 * batches_n, 2 / (64 * batches_n)
        select = torch.relu(torch.addmm(b, x, w))  # [batches_n, 32]  prelude.lee:61
        sub = torch.addmm(b_, select, w_) - x  # [batches_n, 64]  losses.lee:13
        d_back_out = scale_ * sub  # [batches_n, 64]
        torch.sum(d_back_out, dim=0, out=d_b_)  # [64]  nn.lee:21
        torch.mm(select.T, d_back_out, out=d_w_)  # [32, 64]
        d_one_out = torch.ops.aten.threshold_backward(d_back_out @ w_.T, select, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_one_out, dim=0, out=d_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_one_out, out=d_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub * sub).sum() / scale  # losses.lee:148


class LayerWiseStep2(TrainStep):
    """One step of layer_wise for one, two, again, opt_two: call it with a batch."""

    moved = (("opt_two", ("two", "again")),)
    counted = ("opt_two",)
    read = ("one.w", "one.b", "two.w", "two.b", "again.w", "again.b")
    spare = (None,)

    def __init__(self, one, two, again, opt_two):
        self.one, self.two, self.again, self.opt_two = one, two, again, opt_two
        self.bind()

    def numbers(self, batches_2_n):
        return (32 * batches_2_n, 2 / (32 * batches_2_n))

    def constants(self):
        return (self.opt_two.lr, self.opt_two.beta1, self.opt_two.beta2, self.opt_two.eps, self.opt_two.weight_decay)

    def scalars(self):
        return (self.opt_two.t,)

    def step(self, x, t):
        w, b, w_, b_, w_2, b_2 = self.tensors
        d_w, d_b, d_w_, d_b_ = self.gradients
        batches_2_n = x.shape[0]
        scale, scale_ = self.held(batches_2_n)  # 32 * batches_2_n, 2 / (32 * batches_2_n)
        h = torch.relu(torch.addmm(b, x, w))  # [batches_2_n, 32]  prelude.lee:61
        select = torch.relu(torch.addmm(b_, h, w_))  # [batches_2_n, 16]
        sub = torch.addmm(b_2, select, w_2) - h  # [batches_2_n, 32]  losses.lee:13
        d_again_out = scale_ * sub  # [batches_2_n, 32]
        torch.sum(d_again_out, dim=0, out=d_b_)  # [32]  nn.lee:21
        torch.mm(select.T, d_again_out, out=d_w_)  # [16, 32]
        # [batches_2_n, 16]  prelude.lee:61
        d_two_out = torch.ops.aten.threshold_backward(d_again_out @ w_2.T, select, 0)
        torch.sum(d_two_out, dim=0, out=d_b)  # [16]  nn.lee:21
        torch.mm(h.T, d_two_out, out=d_w)  # [32, 16]
        lr = self.opt_two.lr
        beta1 = self.opt_two.beta1
        beta2 = self.opt_two.beta2
        eps = self.opt_two.eps
        weight_decay = self.opt_two.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub * sub).sum() / scale  # losses.lee:148


class LayerWiseStep3(TrainStep):
    """One step of layer_wise for one, two, head, opt_all: call it with a batch."""

    moved = (("opt_all", ("one", "two", "head")),)
    counted = ("opt_all",)
    read = ("one.w", "one.b", "two.w", "two.b", "head.w", "head.b")
    spare = (None,)

    def __init__(self, one, two, head, opt_all):
        self.one, self.two, self.head, self.opt_all = one, two, head, opt_all
        self.bind()

    def numbers(self, batches_3_n):
        return (batches_3_n, 1.0 / batches_3_n)

    def constants(self):
        return (self.opt_all.lr, self.opt_all.beta1, self.opt_all.beta2, self.opt_all.eps, self.opt_all.weight_decay)

    def scalars(self):
        return (self.opt_all.t,)

    def step(self, x, y, t):
        w, b, w_, b_, w_2, b_2 = self.tensors
        d_w, d_b, d_w_, d_b_, d_w_2, d_b_2 = self.gradients
        batches_3_n = x.shape[0]
        count, scale = self.held(batches_3_n)  # batches_3_n, 1.0 / batches_3_n
        select = torch.relu(torch.addmm(b, x, w))  # [batches_3_n, 32]  prelude.lee:61
        select_2 = torch.relu(torch.addmm(b_, select, w_))  # [batches_3_n, 16]
        head_out = torch.addmm(b_2, select_2, w_2)  # [batches_3_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(head_out, y, reduction="none")  # [batches_3_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_3_n, 10]
        d_head_out = (torch.softmax(head_out, dim=1) - eq.to(FLOAT)) * scale  # [batches_3_n, 10]
        torch.sum(d_head_out, dim=0, out=d_b_2)  # [10]  nn.lee:21
        torch.mm(select_2.T, d_head_out, out=d_w_2)  # [16, 10]
        # [batches_3_n, 16]  prelude.lee:61
        d_two_out = torch.ops.aten.threshold_backward(d_head_out @ w_2.T, select_2, 0)
        torch.sum(d_two_out, dim=0, out=d_b_)  # [16]  nn.lee:21
        torch.mm(select.T, d_two_out, out=d_w_)  # [32, 16]
        d_one_out = torch.ops.aten.threshold_backward(d_two_out @ w_.T, select, 0)  # [batches_3_n, 32]  prelude.lee:61
        torch.sum(d_one_out, dim=0, out=d_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_one_out, out=d_w)  # [64, 32]
        lr = self.opt_all.lr
        beta1 = self.opt_all.beta1
        beta2 = self.opt_all.beta2
        eps = self.opt_all.eps
        weight_decay = self.opt_all.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


class Matching(Model):
    """Are an image and a code of one another?"""

    members = ("encoder", "judge")

    def __init__(self, d, code, hidden, *, key=(0, 0)):
        super().__init__()
        self.d, self.code, self.hidden = d, code, hidden
        self.encoder = Linear(d, code, key=fold(key, SITES["encoder"]))  # coding.lee:113
        self.judge = MLP((code + d, hidden, 1), key=fold(key, SITES["judge"]))  # coding.lee:114

    def score(self, x, z):
        """x [n, d], z [n, code] -> [n]"""
        n = x.shape[0]
        return self.judge(torch.cat((x, z), dim=1)).reshape(n)  # [n]  coding.lee:117

    def score_saved(self, x, z):
        """As score, and what its gradient needs."""
        n = x.shape[0]
        concat = torch.cat((x, z), dim=1)  # [n, code + d]  coding.lee:117
        add_2, saved_judge = self.judge.forward_saved(concat)
        return add_2.reshape(n), (concat, saved_judge)

    def score_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters, x and z."""
        concat, saved_judge = saved
        # gradient of return judge(concat(x, z, axis = 1))[:, 0]   coding.lee:117
        d_judge, d_concat = self.judge.forward_backward(concat, saved_judge, d_y[:, None])
        d_x = d_concat[:, : self.d]  # [n, d]
        d_z = d_concat[:, self.d :]  # [n, code]
        return {"judge": d_judge}, d_x, d_z


def matched(net, x, other):
    """Its own code towards 1, that of another image towards 0; encoder and judge both make this small.

    x [n, net.d], other [n, net.d] -> []
    """
    z = net.encoder(x)  # [n, net.code]  coding.lee:122
    mean_2 = torch.nn.functional.logsigmoid(-net.score(other, z)).mean()  # coding.lee:123
    mean = torch.nn.functional.logsigmoid(net.score(x, z)).mean()
    return -(mean + mean_2)


def matched_saved(net, x, other):
    """As matched, and what its gradient needs."""
    z = net.encoder(x)  # [n, net.code]  coding.lee:122
    reshape, saved_net = net.score_saved(x, z)  # coding.lee:123
    reshape_2, saved_net_ = net.score_saved(other, z)
    mean_2 = torch.nn.functional.logsigmoid(-reshape_2).mean()
    return -(torch.nn.functional.logsigmoid(reshape).mean() + mean_2), (reshape, saved_net, saved_net_, -reshape_2)


def matched_backward(net, x, saved, d_y):
    """From d_y to the gradients by net, x and other."""
    reshape, saved_net, saved_net_, neg = saved
    n = x.shape[0]
    # gradient of return mean(-log(sigmoid(net.score(x, z)))) + mean(-log(1 - sigmoid(net.score..   coding.lee:123
    neg_2 = -(d_y / n)
    d_net, d_other, d_z_2 = net.score_backward(saved_net_, -(neg_2 * torch.sigmoid(-neg)))
    d_net_, d_x_2, d_z_3 = net.score_backward(saved_net, neg_2 * torch.sigmoid(-reshape))
    # gradient of z = net.encoder(x)   coding.lee:122
    d_z = d_z_2 + d_z_3  # [n, net.code]
    d_net_encoder, d_x_3 = net.encoder.forward_backward(x, d_z)
    # [net.code + net.d, net.hidden]
    d_net_judge_layers_0_w = d_net["judge"]["layers.0"]["w"] + d_net_["judge"]["layers.0"]["w"]
    d_net_judge_layers_0_b = d_net["judge"]["layers.0"]["b"] + d_net_["judge"]["layers.0"]["b"]  # [net.hidden]
    d_net_judge_layers_1_w = d_net["judge"]["layers.1"]["w"] + d_net_["judge"]["layers.1"]["w"]  # [net.hidden, 1]
    d_net_judge_layers_1_b = d_net["judge"]["layers.1"]["b"] + d_net_["judge"]["layers.1"]["b"]  # [1]
    d_x = d_x_2 + d_x_3  # [n, net.d]
    return (
        {
            "encoder": d_net_encoder,
            "judge": {
                "layers.0": {"w": d_net_judge_layers_0_w, "b": d_net_judge_layers_0_b},
                "layers.1": {"w": d_net_judge_layers_1_w, "b": d_net_judge_layers_1_b},
            },
        },
        d_x,
        d_other,
    )


def normalised(h):
    """Instance normalisation takes the speaker out: mean and spread go.

    h [n, d] -> [n, d]
    """
    d = h.shape[1]
    return torch.nn.functional.layer_norm(h, (d,), eps=1e-5)  # [n, d]  coding.lee:132


def normalised_backward(h, d_y):
    """From d_y to the gradient by h."""
    d = h.shape[1]
    # gradient of return centred / sqrt(mean(centred ** 2, axis = 1) + 1e-5)[:, None]   coding.lee:132
    d_h = normalise_gradient(d_y, h, (d,), 1e-5)  # [n, d]
    return d_h  # [n, d]


def exchanged_saved(content, style, decoder, a, b):
    """As exchanged, and what its gradient needs."""
    n = a.shape[0]
    if style.sizes[0] != content.sizes[0]:
        raise ValueError(f"style.sizes_0 = {style.sizes[0]} must equal content.sizes_0 = {content.sizes[0]}")
    if decoder.sizes[0] != content.sizes[2] + style.sizes[2]:
        raise ValueError(
            f"decoder.sizes_0 = {decoder.sizes[0]} "
            f"must equal content.sizes_2 + style.sizes_2 = {content.sizes[2] + style.sizes[2]}"
        )
    if content.sizes[0] != decoder.sizes[2]:
        raise ValueError(
            f"coding.lee:137: content.sizes_0 = {content.sizes[0]} " f"must equal decoder.sizes_2 = {decoder.sizes[2]}"
        )
    add_2, saved_content = content.forward_saved(a)  # coding.lee:137
    add_2_2, saved_style = style.forward_saved(b.reshape(n, style.sizes[0]))
    reshape_2 = torch.cat((normalised(add_2), add_2_2), dim=1).reshape(n, decoder.sizes[0])  # [n, decoder.sizes_0]
    add_2_3, saved_decoder = decoder.forward_saved(reshape_2)
    return add_2_3.reshape(n, content.sizes[0]), (add_2, saved_content, saved_style, reshape_2, saved_decoder)


def exchanged_backward(content, style, decoder, a, b, saved, d_reshape_3):
    """From d_reshape_3 to the gradients by content, style, decoder, a and b."""
    add_2, saved_content, saved_style, reshape_2, saved_decoder = saved
    n = a.shape[0]
    d_add_2_3 = d_reshape_3.reshape(n, decoder.sizes[2])  # [n, decoder.sizes_2]
    # gradient of return decoder(concat(normalised(content(a)), style(b), axis = 1))   coding.lee:137
    d_decoder, d_reshape_2 = decoder.forward_backward(reshape_2, saved_decoder, d_add_2_3)
    d_concat = d_reshape_2.reshape(n, -1)  # [n, content.sizes_2 + style.sizes_2]
    d_add_2_2 = d_concat[:, content.sizes[2] :]  # [n, style.sizes_2]
    d_style, d_reshape = style.forward_backward(b.reshape(n, style.sizes[0]), saved_style, d_add_2_2)
    d_b = d_reshape.reshape(n, content.sizes[0])  # [n, content.sizes_0]
    d_add_2 = normalised_backward(add_2, d_concat[:, : content.sizes[2]])  # [n, content.sizes_2]
    d_content, d_a = content.forward_backward(a, saved_content, d_add_2)
    return d_content, d_style, d_decoder, d_a, d_b


def disentangled_saved(content, style, decoder, speaker, x, who, weight=0.5):
    """As disentangled, and what its gradient needs."""
    n = x.shape[0]
    if speaker.inputs != content.sizes[2]:
        raise ValueError(f"speaker.inputs = {speaker.inputs} must equal content.sizes_2 = {content.sizes[2]}")
    z, saved_content = content.forward_saved(x)  # coding.lee:142
    reshape = reverse_gradient(z, strength=weight).reshape(n, speaker.inputs)  # [n, speaker.inputs]  coding.lee:143
    guess = speaker(reshape)  # [n, speaker.outputs]
    reshape_3, saved_exchanged = exchanged_saved(content, style, decoder, x, x)  # coding.lee:144
    sub = reshape_3 - x  # [n, content.sizes_0]
    return (sub**2).mean() + cross_entropy(guess, who), (saved_content, reshape, guess, saved_exchanged, sub)


def disentangled_backward(content, style, decoder, speaker, x, who, weight, saved, d_add):
    """From d_add to the gradients by content, style, decoder, speaker and x."""
    saved_content, reshape, guess, saved_exchanged, sub = saved
    n = x.shape[0]
    # gradient of return mean((exchanged(content, style, decoder, x, x) - x) ** 2) + cross_entr..   coding.lee:144
    d_guess = cross_entropy_backward(guess, who, d_add)  # [n, speaker.outputs]
    d_sub = 2 * (d_add / (content.sizes[0] * n)) * sub  # [n, content.sizes_0]
    d_content, d_style, d_decoder, d_x_3, d_x_4 = exchanged_backward(
        content, style, decoder, x, x, saved_exchanged, d_sub
    )
    # gradient of guess = speaker(reverse_gradient(z, weight))   coding.lee:143
    d_speaker, d_reshape = speaker.forward_backward(reshape, d_guess)
    d_z = reverse_gradient_backward(weight, d_reshape.reshape(n, content.sizes[2]))  # [n, content.sizes_2]
    # gradient of z = content(x)   coding.lee:142
    d_content_, d_x_5 = content.forward_backward(x, saved_content, d_z)
    # [content.sizes_0, content.sizes_1]
    d_content_layers_0_w = d_content["layers.0"]["w"] + d_content_["layers.0"]["w"]
    d_content_layers_0_b = d_content["layers.0"]["b"] + d_content_["layers.0"]["b"]  # [content.sizes_1]
    # [content.sizes_1, content.sizes_2]
    d_content_layers_1_w = d_content["layers.1"]["w"] + d_content_["layers.1"]["w"]
    d_content_layers_1_b = d_content["layers.1"]["b"] + d_content_["layers.1"]["b"]  # [content.sizes_2]
    d_x = d_x_3 - d_sub + d_x_4 + d_x_5  # [n, content.sizes_0]
    return (
        {
            "layers.0": {"w": d_content_layers_0_w, "b": d_content_layers_0_b},
            "layers.1": {"w": d_content_layers_1_w, "b": d_content_layers_1_b},
        },
        d_style,
        d_decoder,
        d_speaker,
        d_x,
    )


def one_of(z):
    """One-hot forward; the slope is that of the softmax.

    z [n, k] -> [n, k]
    """
    k = z.shape[1]
    y = straight_through(one_hot(z.argmax(dim=1), k), softmax(z, (1,)))  # [n, k]  coding.lee:152
    return y  # [n, k]


def one_of_saved(z):
    """As one_of, and what its gradient needs."""
    k = z.shape[1]
    softmax_ = softmax(z, (1,))  # [n, k]  prelude.lee:122
    return straight_through(one_hot(z.argmax(dim=1), k), softmax_), softmax_  # coding.lee:152


def one_of_backward(softmax_, d_y):
    """From d_y to the gradient by z."""
    # gradient of return straight_through(one_hot(argmax(z, axis = 1), k), softmax(z, axis = 1))   coding.lee:152
    d_softmax = straight_through_backward(d_y)  # [n, k]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_z = softmax_ * (d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True))  # [n, k]
    return d_z  # [n, k]


def binary(z):
    """0 or 1 forward; the slope is that of σ.

    z [n, k] -> [n, k]
    """
    return straight_through((z > 0).to(FLOAT), torch.sigmoid(z))  # [n, k]  coding.lee:157


def binary_saved(z):
    """As binary, and what its gradient needs."""
    sigmoid_z = torch.sigmoid(z)  # [n, k]  prelude.lee:36
    return straight_through((z > 0).to(FLOAT), sigmoid_z), sigmoid_z  # coding.lee:157


def binary_backward(sigmoid_z, d_y):
    """From d_y to the gradient by z."""
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_z = straight_through_backward(d_y) * (sigmoid_z * (1 - sigmoid_z))  # [n, k]
    return d_z  # [n, k]


class Codebook(Model):
    """The nearest of some vectors; the slope goes straight through."""

    members = ("code",)

    def __init__(self, codes, d, *, key=(0, 0)):
        super().__init__()
        self.codes, self.d = codes, d
        uniform_ = uniform(fold(key, SITES["code"]), (codes, d), FLOAT)  # [codes, d]  coding.lee:162
        self.code = torch.nn.Parameter(-1 / codes + (1 / codes - -1 / codes) * uniform_)  # [codes, d]

    def forward(self, z):
        """z [n, d] -> [n, d], [n, d], int[n]"""
        sub = z[:, None] - self.code  # [n, codes, d]  coding.lee:165
        away = (sub**2).sum(dim=2)  # [n, codes]
        index = away.argmin(dim=1)  # int[n]  coding.lee:166
        e = self.code[index]  # [n, d]  coding.lee:167
        return straight_through(e, z), e, index  # coding.lee:168

    @staticmethod
    def forward_backward(index, codes, d_y, d_e):
        """From d_y and d_e to the gradients by the parameters and z."""
        d = d_y.shape[1]
        # gradient of return straight_through(e, z), e, index   coding.lee:168
        d_z = straight_through_backward(d_y)  # [n, d]
        # gradient of e = code[index]   coding.lee:167
        d_code = scatter_add(d_e, (index,), (codes, d))  # [codes, d]
        return {"code": d_code}, d_z


class VQVAE(Model):
    """The code of an image is a vector of a book (van den Oord et al. 2017)."""

    members = ("encoder", "book", "decoder")

    def __init__(self, d, hidden, latent, codes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.latent, self.codes = d, hidden, latent, codes
        self.encoder = MLP((d, hidden, latent), key=fold(key, SITES["encoder"]))  # coding.lee:173
        self.book = Codebook(codes, latent, key=fold(key, SITES["book"]))  # coding.lee:174
        self.decoder = MLP((latent, hidden, d), key=fold(key, SITES["decoder"]))  # coding.lee:175

    def forward(self, x):
        """x [n, d] -> [n, d], [n, latent], [n, latent], int[n]"""
        z = self.encoder(x)  # [n, latent]  coding.lee:178
        q, e_2, index_2 = self.book(z)  # coding.lee:179
        return self.decoder(q), z, e_2, index_2  # coding.lee:180

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        z, saved_encoder = self.encoder.forward_saved(x)  # coding.lee:178
        q, e_2, index_2 = self.book(z)  # coding.lee:179
        add_2, saved_decoder = self.decoder.forward_saved(q)  # coding.lee:180
        return add_2, z, e_2, index_2, (saved_encoder, q, saved_decoder)

    def forward_backward(self, x, saved, index_2, d_y, d_z, d_e_2):
        """From d_y, d_z and d_e_2 to the gradients by the parameters and x."""
        saved_encoder, q, saved_decoder = saved
        # gradient of return decoder(q), z, e, index   coding.lee:180
        d_decoder, d_q = self.decoder.forward_backward(q, saved_decoder, d_y)
        # gradient of q, e, index = book(z)   coding.lee:179
        d_book, d_z_3 = Codebook.forward_backward(index_2, self.codes, d_q, d_e_2)
        # gradient of z = encoder(x)   coding.lee:178
        d_z_2 = d_z + d_z_3  # [n, latent]
        d_encoder, d_x = self.encoder.forward_backward(x, saved_encoder, d_z_2)
        return {"encoder": d_encoder, "book": d_book, "decoder": d_decoder}, d_x


def vq(net, x, commitment=0.25):
    """Reconstruction, the book towards the codes, the codes towards the book.

    x [n, net.d] -> []
    """
    y, z_2, e, _ = net(x)  # coding.lee:185
    sub = y - x  # [n, net.d]  coding.lee:186
    sub_2 = stop(z_2) - e  # [n, net.latent]
    sub_3 = z_2 - stop(e)  # [n, net.latent]
    add = (sub**2).mean() + (sub_2**2).mean()
    return add + commitment * (sub_3**2).mean()


def vq_saved(net, x, commitment=0.25):
    """As vq, and what its gradient needs."""
    y, z_2, e, index_2, saved_net = net.forward_saved(x)  # coding.lee:185
    sub = y - x  # [n, net.d]  coding.lee:186
    sub_2 = stop(z_2) - e  # [n, net.latent]
    sub_3 = z_2 - stop(e)  # [n, net.latent]
    add = (sub**2).mean() + (sub_2**2).mean()
    return add + commitment * (sub_3**2).mean(), (index_2, saved_net, sub, sub_2, sub_3)


def vq_backward(net, x, commitment, saved, d_y):
    """From d_y to the gradients by net and x."""
    index_2, saved_net, sub, sub_2, sub_3 = saved
    n = x.shape[0]
    # gradient of return mean((y - x) ** 2) + mean((stop(z) - e) ** 2) + commitment * mean((z -..   coding.lee:186
    d_z_2 = 2 * (d_y * commitment / (n * net.latent)) * sub_3  # [n, net.latent]
    d_e = -2 * (d_y / (n * net.latent)) * sub_2  # [n, net.latent]
    d_y_ = 2 * (d_y / (n * net.d)) * sub  # [n, net.d]
    # gradient of y, z, e, _ = net(x)   coding.lee:185
    d_net, d_x_3 = net.forward_backward(x, saved_net, index_2, d_y_, d_z_2, d_e)
    d_x = d_x_3 - d_y_  # [n, net.d]
    return d_net, d_x


def perplexity(index, codes):
    """How many codes are in use: e to the entropy of their shares.

    index int[n] -> []
    """
    eq = index == torch.arange(codes, device=index.device)[:, None]  # bool[codes, n]  coding.lee:191
    p = eq.to(FLOAT).mean(dim=1)  # [codes]
    gt = p > 0  # bool[codes]  coding.lee:192
    guard = torch.where(gt, p, p.detach())  # [codes]
    neg = -torch.where(gt, guard * torch.log(guard), 0).sum()
    return torch.exp(neg)


@torch.no_grad()
def vector_quantised(epochs=15, batch=64, rate=3e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("vector_quantised", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = VQVAE(d=64, hidden=48, latent=4, codes=32, key=run.key("net")).to(run.session.place.device)  # coding.lee:197
    opt = Adam(lr=rate)  # coding.lee:198
    step = VectorQuantisedStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x))  # coding.lee:201
    index, y = vector_quantised_index_y(net, data.test.x)  # coding.lee:202
    reported_error, reported_used = vector_quantised_error_used(y, data.test.x, index)  # coding.lee:203
    run.report(error=reported_error, used=reported_used)  # coding.lee:203
    return net


class VectorQuantisedStep(TrainStep):
    """One step of vector_quantised for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.encoder.layers.0.w",
        "net.encoder.layers.0.b",
        "net.encoder.layers.1.w",
        "net.encoder.layers.1.b",
        "net.book.code",
        "net.decoder.layers.0.w",
        "net.decoder.layers.0.b",
        "net.decoder.layers.1.w",
        "net.decoder.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (64 * batches_n, 4 * batches_n, 2 * (0.25 / (4 * batches_n)), -2 / (4 * batches_n), 2 / (64 * batches_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, t):
        encoder_layers_0_w, encoder_layers_0_b, encoder_layers_1_w, encoder_layers_1_b = self.tensors[:4]
        book_code, decoder_layers_0_w, decoder_layers_0_b, decoder_layers_1_w = self.tensors[4:8]
        (decoder_layers_1_b,) = self.tensors[8:]
        d_encoder_layers_0_w, d_encoder_layers_0_b, d_encoder_layers_1_w = self.gradients[:3]
        d_encoder_layers_1_b, d_book_code, d_decoder_layers_0_w, d_decoder_layers_0_b = self.gradients[3:7]
        d_decoder_layers_1_w, d_decoder_layers_1_b = self.gradients[7:]
        batches_n = x.shape[0]
        scale, scale_, scale_2, scale_3, scale_4 = self.held(batches_n)
        x_2_2 = torch.relu(torch.addmm(encoder_layers_0_b, x, encoder_layers_0_w))  # [batches_n, 48]  prelude.lee:61
        z_2 = torch.addmm(encoder_layers_1_b, x_2_2, encoder_layers_1_w)  # [batches_n, 4]  nn.lee:21
        sub = z_2[:, None] - book_code  # [batches_n, 32, 4]  coding.lee:165
        index_2 = (sub * sub).sum(dim=2).argmin(dim=1)  # int[batches_n]  coding.lee:166
        q = book_code[index_2]  # [batches_n, 4]  coding.lee:167
        x_2 = torch.relu(torch.addmm(decoder_layers_0_b, q, decoder_layers_0_w))  # [batches_n, 48]  prelude.lee:61
        sub_2 = torch.addmm(decoder_layers_1_b, x_2, decoder_layers_1_w) - x  # [batches_n, 64]  coding.lee:186
        sub_3 = z_2 - q  # [batches_n, 4]
        div_2 = (sub_3 * sub_3).sum() / scale_
        d_y = scale_4 * sub_2  # [batches_n, 64]
        torch.sum(d_y, dim=0, out=d_decoder_layers_1_b)  # [64]  nn.lee:21
        torch.mm(x_2.T, d_y, out=d_decoder_layers_1_w)  # [48, 64]
        d_add = torch.ops.aten.threshold_backward(d_y @ decoder_layers_1_w.T, x_2, 0)  # [batches_n, 48]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_decoder_layers_0_b)  # [48]  nn.lee:21
        torch.mm(q.T, d_add, out=d_decoder_layers_0_w)  # [4, 48]
        d_book_code.copy_(scatter_add(scale_3 * sub_3, (index_2,), (32, 4)))  # [32, 4]  coding.lee:167
        d_z_2_2 = scale_2 * sub_3 + d_add @ decoder_layers_0_w.T  # [batches_n, 4]  coding.lee:178
        torch.sum(d_z_2_2, dim=0, out=d_encoder_layers_1_b)  # [4]  nn.lee:21
        torch.mm(x_2_2.T, d_z_2_2, out=d_encoder_layers_1_w)  # [48, 4]
        # [batches_n, 48]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_z_2_2 @ encoder_layers_1_w.T, x_2_2, 0)
        torch.sum(d_add_3, dim=0, out=d_encoder_layers_0_b)  # [48]  nn.lee:21
        torch.mm(x.T, d_add_3, out=d_encoder_layers_0_w)  # [64, 48]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub_2 * sub_2).sum() / scale + div_2 + 0.25 * div_2  # coding.lee:186


def vector_quantised_index_y(net, data_test_x):
    """data_test_x [data_test_n, 64] -> int[data_test_n], [data_test_n, 64]"""
    y, _, _, index = net(data_test_x)  # coding.lee:202
    return index, y


def vector_quantised_error_used(y, data_test_x, index):
    """y [data_test_n, 64], data_test_x [data_test_n, 64], index int[data_test_n] -> [], []"""
    sub = y - data_test_x  # [data_test_n, 64]  coding.lee:203
    return (sub**2).sum(dim=1).mean(), perplexity(index, 32)


def oddness(net, x):
    """An auto-encoder of normal data rebuilds what is odd badly.

    x [n, net.d] -> [n]
    """
    sub = net(x) - x  # [n, net.d]  coding.lee:212
    return (sub**2).sum(dim=1)  # [n]


def area_under_curve(score, odd):
    """How often something odd scores above something normal.

    score [n], odd bool[n] -> []
    """
    reshape_2 = score[:, None]  # [n, 1]  coding.lee:217
    mul = 0.5 * (reshape_2 == score).to(FLOAT)  # [n, n]
    above = torch.where(odd[:, None] & ~odd, (reshape_2 > score).to(FLOAT) + mul, 0)  # [n, n]
    return above.sum() / (odd.to(FLOAT).sum() * (~odd).to(FLOAT).sum())  # coding.lee:218


@torch.no_grad()
def without_fours(epochs=12, batch=64, rate=3e-3, *, run=None):
    """Trained on all digits but 4; the fours of the test are to be odd."""
    from leec.runtime.run import Run

    run = run or Run("without_fours", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = AutoEncoder(d=64, hidden=48, code=8, key=run.key("net")).to(run.session.place.device)  # coding.lee:224
    opt = Adam(lr=rate)  # coding.lee:225
    step = WithoutFoursStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(y, x))  # coding.lee:228
    run.report(found=without_fours_found(net, data.test.x, data.test.y))  # coding.lee:229
    return net


class WithoutFoursStep(TrainStep):
    """One step of without_fours for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.encoder.layers.0.w",
        "net.encoder.layers.0.b",
        "net.encoder.layers.1.w",
        "net.encoder.layers.1.b",
        "net.decoder.layers.0.w",
        "net.decoder.layers.0.b",
        "net.decoder.layers.1.w",
        "net.decoder.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, y, x, t):
        encoder_layers_0_w, encoder_layers_0_b, encoder_layers_1_w, encoder_layers_1_b = self.tensors[:4]
        decoder_layers_0_w, decoder_layers_0_b, decoder_layers_1_w, decoder_layers_1_b = self.tensors[4:]
        d_encoder_layers_0_w, d_encoder_layers_0_b, d_encoder_layers_1_w = self.gradients[:3]
        d_encoder_layers_1_b, d_decoder_layers_0_w, d_decoder_layers_0_b = self.gradients[3:6]
        d_decoder_layers_1_w, d_decoder_layers_1_b = self.gradients[6:]
        cast = (y != 4).to(FLOAT)  # [batches_n]  coding.lee:228
        x_2_2 = torch.relu(torch.addmm(encoder_layers_0_b, x, encoder_layers_0_w))  # [batches_n, 48]  prelude.lee:61
        affine_2 = torch.addmm(encoder_layers_1_b, x_2_2, encoder_layers_1_w)  # [batches_n, 8]  nn.lee:21
        affine_3 = torch.addmm(decoder_layers_0_b, affine_2, decoder_layers_0_w)  # [batches_n, 48]
        x_2 = torch.relu(affine_3)  # [batches_n, 48]  prelude.lee:61
        sub = torch.addmm(decoder_layers_1_b, x_2, decoder_layers_1_w) - x  # [batches_n, 64]  coding.lee:212
        d_sub = 2 * ((0.015625 * cast)[:, None] * sub)  # [batches_n, 64]
        torch.sum(d_sub, dim=0, out=d_decoder_layers_1_b)  # [64]  nn.lee:21
        torch.mm(x_2.T, d_sub, out=d_decoder_layers_1_w)  # [48, 64]
        # [batches_n, 48]  prelude.lee:61
        d_add = torch.ops.aten.threshold_backward(d_sub @ decoder_layers_1_w.T, x_2, 0)
        torch.sum(d_add, dim=0, out=d_decoder_layers_0_b)  # [48]  nn.lee:21
        d_add_2 = d_add @ decoder_layers_0_w.T  # [batches_n, 8]
        torch.mm(affine_2.T, d_add, out=d_decoder_layers_0_w)  # [8, 48]
        torch.sum(d_add_2, dim=0, out=d_encoder_layers_1_b)  # [8]
        torch.mm(x_2_2.T, d_add_2, out=d_encoder_layers_1_w)  # [48, 8]
        # [batches_n, 48]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2 @ encoder_layers_1_w.T, x_2_2, 0)
        torch.sum(d_add_3, dim=0, out=d_encoder_layers_0_b)  # [48]  nn.lee:21
        torch.mm(x.T, d_add_3, out=d_encoder_layers_0_w)  # [64, 48]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (cast * (sub * sub).sum(dim=1)).sum() / 64  # coding.lee:228


def without_fours_found(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> []"""
    found = area_under_curve(oddness(net, data_test_x), data_test_y == 4)  # coding.lee:229
    return found


def continuous_bag(table, out, around, word):
    """CBOW: the mean vector of the words around tells the word between them (Mikolov et al. 2013).

    table [words, d], out [words, d], around int[n, c], word int[n] -> []
    """
    return cross_entropy(table[around].mean(dim=1) @ out.T, word)  # coding.lee:238


def continuous_bag_saved(table, out, around, word):
    """As continuous_bag, and what its gradient needs."""
    mean = table[around].mean(dim=1)  # [n, d]  coding.lee:238
    contract = mean @ out.T  # [n, words]
    return cross_entropy(contract, word), (mean, contract)


def continuous_bag_backward(out, around, word, saved, d_y):
    """From d_y to the gradients by table and out."""
    mean, contract = saved
    words, d = out.shape
    n, c = around.shape
    # gradient of return cross_entropy(mean(table[around], axis = 1) @ out.T, word)   coding.lee:238
    d_contract = cross_entropy_backward(contract, word, d_y)  # [n, words]
    d_out = d_contract.T @ mean  # [words, d]
    d_gather = (d_contract @ out / c)[:, None].expand(n, c, d)  # [n, c, d]
    d_table = scatter_add(d_gather, (around,), (words, d))  # [words, d]
    return d_table, d_out


def skip_gram(table, out, word, near):
    """The word tells one near it.

    table [words, d], out [words, d], word int[n], near int[n] -> []
    """
    return cross_entropy(table[word] @ out.T, near)  # coding.lee:243


def skip_gram_saved(table, out, word, near):
    """As skip_gram, and what its gradient needs."""
    gather = table[word]  # [n, d]  coding.lee:243
    contract = gather @ out.T  # [n, words]
    return cross_entropy(contract, near), (gather, contract)


def skip_gram_backward(out, word, near, saved, d_y):
    """From d_y to the gradients by table and out."""
    gather, contract = saved
    words, d = out.shape
    # gradient of return cross_entropy(table[word] @ out.T, near)   coding.lee:243
    d_contract = cross_entropy_backward(contract, near, d_y)  # [n, words]
    d_out = d_contract.T @ gather  # [words, d]
    d_table = scatter_add(d_contract @ out, (word,), (words, d))  # [words, d]
    return d_table, d_out


def analogy(table, a, b, c):
    """a is to b as c is to whom? The word whose vector lies nearest to b - a + c by angle, none of the three.

    table [words, d] -> []
    """
    words = table.shape[0]
    wanted = table[b] - table[a] + table[c]  # [d]  coding.lee:248
    likeness = table @ wanted / (norm(table) * norm_2(wanted))  # [words]  coding.lee:249
    i = torch.arange(words, device=table.device)  # int[words]  coding.lee:250
    free = torch.where((i == a) | (i == b) | (i == c), -torch.inf, likeness)  # [words]
    return free.argmax(dim=0)  # coding.lee:251


def analogy_2(table, a, b, c):
    """a is to b as c is to whom? The word whose vector lies nearest to b - a + c by angle, none of the three.

    table [words, d] -> []
    """
    words = table.shape[0]
    wanted = table[b] - table[a] + table[c]  # [d]  coding.lee:248
    likeness = table @ wanted / (norm(table) * norm_2(wanted))  # [words]  coding.lee:249
    i = torch.arange(words, device=table.device)  # int[words]  coding.lee:250
    free = torch.where((i == a) | (i == b) | (i == c), -torch.inf, likeness)  # [words]
    return free.argmax(dim=0)  # coding.lee:251


def glove(v, u, b, e, count, top=1e2):
    """V(w_i)·V(w_j) ≈ log N_ij, rare pairs counting less (Pennington et al. 2014).

    v [words, d], u [words, d], b [words], e [words], count [words, words] -> []
    """
    fit_ = v @ u.T + b[:, None] + e - torch.log(count.clamp(min=1))  # [words, words]  coding.lee:256
    gt = count > 0  # bool[words, words]  coding.lee:257
    power = (torch.where(gt, count, count.detach()) / top) ** 0.75  # [words, words]
    weight = torch.where(gt, torch.where(1 <= power, 1, power), 0)  # [words, words]
    return (weight * fit_**2).sum()  # coding.lee:258


def glove_saved(v, u, b, e, count, top=1e2):
    """As glove, and what its gradient needs."""
    fit_ = v @ u.T + b[:, None] + e - torch.log(count.clamp(min=1))  # [words, words]  coding.lee:256
    power = (count / top) ** 0.75  # [words, words]  coding.lee:257
    weight = torch.where(count > 0, torch.where(1 <= power, 1, power), 0)  # [words, words]
    return (weight * fit_**2).sum(), (fit_, weight)  # coding.lee:258


def glove_backward(v, u, saved, d_y):
    """From d_y to the gradients by v, u, b and e."""
    fit_, weight = saved
    # gradient of fit[i, j] = sum[k](v[i, k] * u[j, k]) + b[i] + e[j] - log(max(count[i, j], 1))   coding.lee:256
    d_fit = 2 * (d_y * weight * fit_)  # [words, words]
    d_e = d_fit.sum(dim=0)  # [words]
    d_b = d_fit.sum(dim=1)  # [words]
    d_v = d_fit @ u  # [words, d]
    d_u = d_fit.T @ v  # [words, d]
    return d_v, d_u, d_b, d_e


def gloveAsPrinted(v, u, count):
    """The notes' form: no biases, no weights.

    v [words, d], u [words, d], count [words, words] -> []
    """
    sub = v @ u.T - torch.log(count)  # [words, words]  coding.lee:263
    return (sub**2).sum()


def gloveAsPrinted_saved(v, u, count):
    """As gloveAsPrinted, and what its gradient needs."""
    sub = v @ u.T - torch.log(count)  # [words, words]  coding.lee:263
    return (sub**2).sum(), sub


def gloveAsPrinted_backward(v, u, count, sub, d_y):
    """From d_y to the gradients by v, u and count."""
    # gradient of return sum((v @ u.T - log(count)) ** 2)   coding.lee:263
    d_sub = 2 * d_y * sub  # [words, words]
    d_count = -(d_sub / count)  # [words, words]
    d_v = d_sub @ u  # [words, d]
    d_u = d_sub.T @ v  # [words, d]
    return d_v, d_u, d_count


def weighted_layers(h, score):
    """Σ w_l h_l, the weights learned: how important each layer is.

    h [layers, n, d], score [layers] -> [n, d]
    """
    layers, n, d = h.shape
    share = softmax(score, (0,))  # [layers]  prelude.lee:122
    mix = (share @ h.reshape(layers, d * n)).reshape(n, d)  # [n, d]  coding.lee:272
    return mix  # [n, d]


def weighted_layers_saved(h, score):
    """As weighted_layers, and what its gradient needs."""
    layers, n, d = h.shape
    share = softmax(score, (0,))  # [layers]  prelude.lee:122
    mix = (share @ h.reshape(layers, d * n)).reshape(n, d)  # [n, d]  coding.lee:272
    return mix, share


def weighted_layers_backward(h, share, d_mix):
    """From d_mix to the gradients by h and score."""
    layers, n, d = h.shape
    # gradient of mix[i, k] = sum[l](share[l] * h[l, i, k])   coding.lee:272
    d_share = h.reshape(layers, d * n) @ d_mix.reshape(d * n)  # [layers]
    d_h = share[:, None, None] * d_mix  # [layers, n, d]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_score = share * (d_share - (d_share * share).sum(dim=0, keepdim=True))  # [layers]
    return d_h, d_score


class Adapter(Model):
    """A bottleneck that is trained inside a model that is not (Houlsby et al. 2019); it begins as no change at all."""

    members = ("down", "up")

    def __init__(self, d, small, *, key=(0, 0)):
        super().__init__()
        self.d, self.small = d, small
        self.down = Linear(d, small, key=fold(key, SITES["down"]))  # coding.lee:278
        self.up = torch.nn.Parameter(torch.zeros((small, d), dtype=FLOAT))  # [small, d]  coding.lee:279

    def forward(self, x):
        """x [n, d] -> [n, d]"""
        return x + relu(self.down(x)) @ self.up  # [n, d]  coding.lee:282

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.down(x))  # [n, small]  coding.lee:282
        return x + select @ self.up, select

    def forward_backward_parameters(self, x, select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x + relu(down(x)) @ up   coding.lee:282
        d_up = select.T @ d_y  # [small, d]
        d_down_out = relu_backward(select, d_y @ self.up.T)  # [n, small]
        d_down = Linear.forward_backward_parameters(x, d_down_out)
        return {"down": d_down, "up": d_up}


def adapted(frozen, adapter, head, x, y):
    """x [n, frozen.inputs], y int[n] -> []"""
    n = x.shape[0]
    if adapter.d != frozen.outputs:
        raise ValueError(f"adapter.d = {adapter.d} must equal frozen.outputs = {frozen.outputs}")
    if head.inputs != adapter.d:
        raise ValueError(f"head.inputs = {head.inputs} must equal adapter.d = {adapter.d}")
    h = stop(relu(frozen(x)))  # [n, frozen.outputs]  coding.lee:286
    head_out = head(adapter(h.reshape(n, adapter.d)).reshape(n, head.inputs))  # [n, head.outputs]  coding.lee:287
    return cross_entropy(head_out, y)


def adapted_saved(frozen, adapter, head, x, y):
    """As adapted, and what its gradient needs."""
    n = x.shape[0]
    if adapter.d != frozen.outputs:
        raise ValueError(f"adapter.d = {adapter.d} must equal frozen.outputs = {frozen.outputs}")
    if head.inputs != adapter.d:
        raise ValueError(f"head.inputs = {head.inputs} must equal adapter.d = {adapter.d}")
    h = stop(relu(frozen(x)))  # [n, frozen.outputs]  coding.lee:286
    reshape = h.reshape(n, adapter.d)  # [n, adapter.d]  coding.lee:287
    add_2, saved_adapter = adapter.forward_saved(reshape)
    reshape_2 = add_2.reshape(n, head.inputs)  # [n, head.inputs]
    head_out = head(reshape_2)  # [n, head.outputs]
    return cross_entropy(head_out, y), (reshape, saved_adapter, reshape_2, head_out)


def adapted_backward_parameters(adapter, head, y, saved, d_out):
    """From d_out to the gradients by adapter and head."""
    reshape, saved_adapter, reshape_2, head_out = saved
    n = y.shape[0]
    # gradient of return cross_entropy(head(adapter(h)), y)   coding.lee:287
    d_head, d_reshape_2 = head.forward_backward(reshape_2, cross_entropy_backward(head_out, y, d_out))
    d_add_2 = d_reshape_2.reshape(n, adapter.d)  # [n, adapter.d]
    d_adapter = adapter.forward_backward_parameters(reshape, saved_adapter, d_add_2)
    return d_adapter, d_head


def average_score(scores):
    """GLUE: the mean over tasks.

    scores [tasks] -> []
    """
    return scores.mean()  # coding.lee:292


def neighbours(a, b):
    """A sentence is to be likest the one that follows it, among all of the batch (Logeswaran & Lee 2018).

    a [n, d], b [n, d] -> []
    """
    n = a.shape[0]
    return cross_entropy(a @ b.T, torch.arange(n, device=a.device))  # coding.lee:297


def neighbours_saved(a, b):
    """As neighbours, and what its gradient needs."""
    n = a.shape[0]
    contract = a @ b.T  # [n, n]  coding.lee:297
    return cross_entropy(contract, torch.arange(n, device=a.device)), contract


def neighbours_backward(a, b, contract, d_y):
    """From d_y to the gradients by a and b."""
    n = a.shape[0]
    # gradient of return cross_entropy(a @ b.T, arange(n))   coding.lee:297
    d_contract = cross_entropy_backward(contract, torch.arange(n, device=a.device), d_y)  # [n, n]
    d_a = d_contract @ b  # [n, d]
    d_b = d_contract.T @ a  # [n, d]
    return d_a, d_b


def example_rebuilt(key):
    net = AutoEncoder(5, 6, 2, key=fold(key, SITES["net"]))  # coding.lee:301
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:302
    noise = normal(fold(key, SITES["noise"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:303
    mean, saved_reconstruction = reconstruction_saved(net, x)  # coding.lee:304
    mean_2, saved_denoising = denoising_saved(net, x, noise)
    d_net, d_x_2, d_noise = denoising_backward(net, saved_denoising, torch.full((), 2.0, dtype=FLOAT))
    d_value = torch.ones((), dtype=FLOAT)
    d_net_, d_x_3 = reconstruction_backward(net, x, saved_reconstruction, d_value)
    w = d_net["encoder"]["layers.0"]["w"] + d_net_["encoder"]["layers.0"]["w"]  # [5, 6]
    b = d_net["encoder"]["layers.0"]["b"] + d_net_["encoder"]["layers.0"]["b"]  # [6]
    w_2 = d_net["encoder"]["layers.1"]["w"] + d_net_["encoder"]["layers.1"]["w"]  # [6, 2]
    b_2 = d_net["encoder"]["layers.1"]["b"] + d_net_["encoder"]["layers.1"]["b"]  # [2]
    w_3 = d_net["decoder"]["layers.0"]["w"] + d_net_["decoder"]["layers.0"]["w"]  # [2, 6]
    b_3 = d_net["decoder"]["layers.0"]["b"] + d_net_["decoder"]["layers.0"]["b"]  # [6]
    w_4 = d_net["decoder"]["layers.1"]["w"] + d_net_["decoder"]["layers.1"]["w"]  # [6, 5]
    b_4 = d_net["decoder"]["layers.1"]["b"] + d_net_["decoder"]["layers.1"]["b"]  # [5]
    return (
        mean + 2 * mean_2,
        net.at(
            {
                "encoder": {"layers.0": {"w": w, "b": b}, "layers.1": {"w": w_2, "b": b_2}},
                "decoder": {"layers.0": {"w": w_3, "b": b_3}, "layers.1": {"w": w_4, "b": b_4}},
            }
        ),
        d_x_2 + d_x_3,
        d_noise,
    )


def example_rebuilt_by_line(key):
    net = Tied(5, 2, key=fold(key, SITES["net"]))  # coding.lee:308
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:309
    value, saved_reconstruction_2 = reconstruction_2_saved(net, x)  # coding.lee:310
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x = reconstruction_2_backward(net, x, saved_reconstruction_2, d_value)
    return value, net.at(d_net), d_x


def example_back_in_place(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 6), FLOAT)  # [2, 3, 4, 6]  coding.lee:314
    c = normal(fold(key, SITES["c"]), (2, 3, 4, 6), FLOAT)  # [2, 3, 4, 6]  coding.lee:315
    y, place, saved_pooled = pooled_saved(x)  # coding.lee:316
    x_2, saved_unpooled = unpooled_saved(y, place)  # coding.lee:317
    mul_2 = c**2  # [2, 3, 4, 6]
    x_3, saved_copied = copied_saved(y)
    d_y_2 = copied_backward(saved_copied, 2, 2, 3, mul_2)  # [2, 3, 2, 3]
    d_y = d_y_2 + unpooled_backward(saved_unpooled, 2, 2, 3, c)  # [2, 3, 2, 3]  coding.lee:316
    return (c * x_2).sum() + (mul_2 * x_3).sum(), pooled_backward(saved_pooled, 4, 2, 6, d_y), 2 * (x_3 * c) + x_2


def example_spread_out(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  coding.lee:321
    kernel = normal(fold(key, SITES["kernel"]), (3, 2, 3, 3), FLOAT)  # [3, 2, 3, 3]  coding.lee:322
    y, saved_deconvolved = deconvolved_saved(x, kernel)  # coding.lee:323
    d_x, d_kernel = deconvolved_backward(kernel, saved_deconvolved, 4, 5, 2 * y)
    return (y**2).sum(), d_x, d_kernel


def example_belongs(key):
    net = Matching(5, 2, 6, key=fold(key, SITES["net"]))  # coding.lee:327
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:328
    other = normal(fold(key, SITES["other"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:329
    value, saved_matched = matched_saved(net, x, other)  # coding.lee:330
    d_net, d_x, d_other = matched_backward(net, x, saved_matched, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x, d_other


def example_in_parts(key):
    content = MLP((5, 6, 4), key=fold(key, SITES["content"]))  # coding.lee:334
    style = MLP((5, 6, 2), key=fold(key, SITES["style"]))  # coding.lee:335
    decoder = MLP((6, 6, 5), key=fold(key, SITES["decoder"]))  # coding.lee:336
    speaker = Linear(4, 3, key=fold(key, SITES["speaker"]))  # coding.lee:337
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:338
    who = randint(fold(key, SITES["who"]), (7,), 0, 3)  # int[7]  coding.lee:339
    value, saved_disentangled = disentangled_saved(content, style, decoder, speaker, x, who)  # coding.lee:340
    d_value = torch.ones((), dtype=FLOAT)
    d_content, d_style, d_decoder, d_speaker, d_x = disentangled_backward(
        content, style, decoder, speaker, x, who, 0.5, saved_disentangled, d_value
    )
    return value, content.at(d_content), style.at(d_style), decoder.at(d_decoder), speaker.at(d_speaker), d_x


def example_in_bits(key):
    z = normal(fold(key, SITES["z"]), (7, 4), FLOAT)  # [7, 4]  coding.lee:344
    c = normal(fold(key, SITES["c"]), (7, 4), FLOAT)  # [7, 4]  coding.lee:345
    graft_, saved_one_of = one_of_saved(z)  # coding.lee:346
    mul_2 = c**2  # [7, 4]
    graft_2, saved_binary = binary_saved(z)
    d_z_2 = binary_backward(saved_binary, mul_2)  # [7, 4]
    return (
        (c * graft_).sum() + (mul_2 * graft_2).sum(),
        d_z_2 + one_of_backward(saved_one_of, c),
        2 * (graft_2 * c) + graft_,
    )


def example_quantised(key):
    net = VQVAE(5, 6, 3, 4, key=fold(key, SITES["net"]))  # coding.lee:350
    x = 2 * normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  coding.lee:351
    value, saved_vq = vq_saved(net, x)  # coding.lee:352
    d_net, d_x = vq_backward(net, x, 0.25, saved_vq, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x


def example_of_words(key):
    table = normal(fold(key, SITES["table"]), (6, 3), FLOAT)  # [6, 3]  coding.lee:356
    out = normal(fold(key, SITES["out"]), (6, 3), FLOAT)  # [6, 3]  coding.lee:357
    around = randint(fold(key, SITES["around"]), (5, 4), 0, 6)  # int[5, 4]  coding.lee:358
    word = randint(fold(key, SITES["word"]), (5,), 0, 6)  # int[5]  coding.lee:359
    near = randint(fold(key, SITES["near"]), (5,), 0, 6)  # int[5]  coding.lee:360
    mean_2, saved_continuous_bag = continuous_bag_saved(table, out, around, word)  # coding.lee:361
    mean, saved_skip_gram = skip_gram_saved(table, out, word, near)
    d_mean = torch.full((), 2.0, dtype=FLOAT)
    d_table_2, d_out_2 = skip_gram_backward(out, word, near, saved_skip_gram, d_mean)
    d_value = torch.ones((), dtype=FLOAT)
    d_table_3, d_out_3 = continuous_bag_backward(out, around, word, saved_continuous_bag, d_value)
    return mean_2 + 2 * mean, d_table_2 + d_table_3, d_out_2 + d_out_3


def example_counted(key):
    v = normal(fold(key, SITES["v"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:365
    u = normal(fold(key, SITES["u"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:366
    b = normal(fold(key, SITES["b"]), (4,), FLOAT)  # [4]  coding.lee:367
    e = normal(fold(key, SITES["e"]), (4,), FLOAT)  # [4]  coding.lee:368
    draw = randint(fold(key, SITES["draw"]), (4, 4), 0, 6)  # int[4, 4]  coding.lee:369
    cast_draw = draw.to(FLOAT)  # [4, 4]  coding.lee:370
    count = cast_draw**2 * cast_draw  # [4, 4]
    value, saved_glove = glove_saved(v, u, b, e, count)  # coding.lee:371
    d_v, d_u, d_b, d_e = glove_backward(v, u, saved_glove, torch.ones((), dtype=FLOAT))
    return value, d_v, d_u, d_b, d_e


def example_counted_as_printed(key):
    v = normal(fold(key, SITES["v"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:375
    u = normal(fold(key, SITES["u"]), (4, 3), FLOAT)  # [4, 3]  coding.lee:376
    count = 1 + 8 * uniform(fold(key, SITES["count"]), (4, 4), FLOAT)  # [4, 4]  coding.lee:377
    value, saved_gloveAsPrinted = gloveAsPrinted_saved(v, u, count)  # coding.lee:378
    d_value = torch.ones((), dtype=FLOAT)
    d_v, d_u, d_count = gloveAsPrinted_backward(v, u, count, saved_gloveAsPrinted, d_value)
    return value, d_v, d_u, d_count


def example_mixed_layers(key):
    h = normal(fold(key, SITES["h"]), (3, 5, 4), FLOAT)  # [3, 5, 4]  coding.lee:382
    score = normal(fold(key, SITES["score"]), (3,), FLOAT)  # [3]  coding.lee:383
    c = normal(fold(key, SITES["c"]), (5, 4), FLOAT)  # [5, 4]  coding.lee:384
    d_c, saved_weighted_layers = weighted_layers_saved(h, score)  # coding.lee:385
    d_h, d_score = weighted_layers_backward(h, saved_weighted_layers, c)
    return (c * d_c).sum(), d_h, d_score, d_c


def example_with_adapter(key):
    frozen = Linear(5, 6, key=fold(key, SITES["frozen"]))  # coding.lee:389
    adapter = Adapter(6, 2, key=fold(key, SITES["adapter"]))  # coding.lee:390
    head = Linear(6, 3, key=fold(key, SITES["head"]))  # coding.lee:391
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  coding.lee:392
    y = randint(fold(key, SITES["y"]), (7,), 0, 3)  # int[7]  coding.lee:393
    value, saved_adapted = adapted_saved(frozen, adapter, head, x, y)  # coding.lee:394
    d_value = torch.ones((), dtype=FLOAT)
    d_adapter, d_head = adapted_backward_parameters(adapter, head, y, saved_adapted, d_value)
    return (
        value,
        frozen.at({"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)}),
        adapter.at(d_adapter),
        head.at(d_head),
        torch.zeros((7, 5), dtype=FLOAT),
    )


def example_in_order(key):
    a = normal(fold(key, SITES["a"]), (5, 3), FLOAT)  # [5, 3]  coding.lee:398
    b = normal(fold(key, SITES["b"]), (5, 3), FLOAT)  # [5, 3]  coding.lee:399
    value, saved_neighbours = neighbours_saved(a, b)  # coding.lee:400
    d_a, d_b = neighbours_backward(a, b, saved_neighbours, torch.ones((), dtype=FLOAT))
    return value, d_a, d_b


def example_judged(key):
    score = normal(fold(key, SITES["score"]), (8,), FLOAT)  # [8]  coding.lee:404
    odd = uniform(fold(key, SITES["odd"]), (8,), FLOAT) < 0.5  # bool[8]  coding.lee:405
    index = randint(fold(key, SITES["index"]), (8,), 0, 5)  # int[8]  coding.lee:406
    table = normal(fold(key, SITES["table"]), (6, 3), FLOAT)  # [6, 3]  coding.lee:407
    # coding.lee:408
    return area_under_curve(score, odd), perplexity(index, 5), analogy(table, 0, 1, 2), average_score(score)


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

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x.detach()  # [x_0, x_1]  prelude.lee:18


def straight_through(hard, soft):
    """The value of `hard` with the gradient of `soft` (Bengio et al. 2013).

    hard [hard_0, hard_1], soft [hard_0, hard_1] -> [hard_0, hard_1]
    """
    return graft(hard, soft)  # [hard_0, hard_1]  prelude.lee:23


def straight_through_backward(d_y):
    """From d_y to the gradient by soft."""
    return d_y  # [hard_0, hard_1]


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


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return sqrt((x**2).sum(dim=1))  # [x_0]  prelude.lee:163


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return sqrt((x**2).sum())  # prelude.lee:163


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = torch.arange(classes, device=index.device)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).to(FLOAT)  # [rows, classes]  prelude.lee:254


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "adapter": 0x705A9419793EE6A8,
    "around": 0xCA218E0873604B37,
    "b": 0x754F854DE3C27284,
    "book": 0x3513AC389F951365,
    "c": 0x1B2C07CD64633F37,
    "code": 0x3E07E7F942BE430F,
    "content": 0xA3AB977412994AB1,
    "count": 0x4C0115B3A40C3D0F,
    "decoder": 0x461F1F218D809D1B,
    "down": 0x672F5B678D49ED61,
    "draw": 0x6DE1B78C5AC48669,
    "e": 0x4F1D2FB024A5D810,
    "encoder": 0x651C9E989B434403,
    "frozen": 0x7C6E9D9C62911993,
    "h": 0x30335FE014629146,
    "head": 0xBD7890018BD219D5,
    "index": 0xB4E3D649B5070459,
    "judge": 0x984177D58232D409,
    "kernel": 0x273FEA903E119357,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "near": 0xFD10F617D27419E5,
    "net": 0xF087C76970C91612,
    "noise": 0x370359298C8860E5,
    "odd": 0xAD22AC680BE1D052,
    "other": 0xAF93053850CE50D6,
    "out": 0x00B417F045D422B4,
    "score": 0xBB12D0B9107F2826,
    "speaker": 0x0D704B918DA850D8,
    "style": 0x6D52B799F11BF204,
    "table": 0x4F51E0D95EBC91EB,
    "u": 0x08D267E10C593806,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "who": 0x87AFB21DF00C42EA,
    "word": 0x958EC7D727CFA44A,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
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


def unwindow(x, axis, size, stride=1, dilation=1):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    count, width = x.shape[axis : axis + 2]
    whole = x.new_zeros((*x.shape[:axis], size, *x.shape[axis + 2 :]))
    before = (slice(None),) * axis
    for u in range(width):
        start = u * dilation
        whole[(*before, slice(start, start + count * stride, stride))] += x[(*before, slice(None), u)]
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def normalise_gradient(g, x, shape, eps):
    """The gradient of `layer_norm(x, shape, eps=eps)` by x."""
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    return torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, None, None, (True, False, False))[0]


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
