"""CycleGAN with convolutions (inventory H23; Zhu et al. 2017): two translators, there and back again, and two critics.

The domains are digits and pale digits on a bright and noisy ground; nobody says which image belongs to which.

Made from specs/generative/cyclegan.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generative/cyclegan.lee
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


def standard(x, eps=1e-5):
    """Instance normalisation: every channel of every image by itself.

    x [n, c, h, w] -> [n, c, h, w]
    """
    _, _, h, w = x.shape
    return torch.nn.functional.layer_norm(x, (h, w), eps=eps)  # [n, c, h, w]  cyclegan.lee:16


def standard_backward(x, eps, d_y):
    """From d_y to the gradient by x."""
    _, _, h, w = x.shape
    # gradient of return centred / sqrt(mean(centred ** 2, over = (h, w)) + eps)[:, :, None, None]   cyclegan.lee:16
    d_x = normalise_gradient(d_y, x, (h, w), eps)  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class Residual(Model):
    """Residual(c)"""

    members = ("first", "second")

    def __init__(self, c, *, key=(0, 0)):
        super().__init__()
        self.c = c
        self.first = Conv(c, c, padding=1, key=fold(key, SITES["first"]))  # cyclegan.lee:20
        self.second = Conv(c, c, padding=1, key=fold(key, SITES["second"]))  # cyclegan.lee:21

    def forward(self, x):
        """x [n, c, h, w] -> [n, c, h, w]"""
        return x + standard(self.second(relu(standard(self.first(x)))))  # [n, c, h, w]  cyclegan.lee:24

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        first_out = self.first(x)  # [n, c, h, w]  cyclegan.lee:24
        select = relu(standard(first_out))  # [n, c, h, w]
        second_out = self.second(select)  # [n, c, h, w]
        return x + standard(second_out), (first_out, select, second_out)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        first_out, select, second_out = saved
        # gradient of return x + standard(second(relu(standard(first(x)))))   cyclegan.lee:24
        d_second_out = standard_backward(second_out, 1e-5, d_y)  # [n, c, h, w]
        d_second, d_select = self.second.forward_backward(select, d_second_out)
        d_first_out = standard_backward(first_out, 1e-5, relu_backward(select, d_select))  # [n, c, h, w]
        d_first, d_x_2 = self.first.forward_backward(x, d_first_out)
        d_x = d_y + d_x_2  # [n, c, h, w]
        return {"first": d_first, "second": d_second}, d_x


class Translator_2(Model):
    """An image of the same size, between -1 and 1."""

    members = ("read", "blocks", "write")

    def __init__(self, channels=1, width=8, k=3, *, key=(0, 0)):
        super().__init__()
        self.channels, self.width, self.k = channels, width, k
        if k % 2 != 1:
            raise ValueError(f"cyclegan.lee:29: k % 2 == 1 must hold: k = {k}")
        self.read = Conv(channels, width, k=k, padding=k // 2, key=fold(key, SITES["read"]))  # cyclegan.lee:30
        # cyclegan.lee:31
        self.blocks = torch.nn.ModuleList(
            [Residual(width, key=fold(key, SITES["blocks.0"])), Residual(width, key=fold(key, SITES["blocks.1"]))]
        )
        self.write = Conv(width, channels, k=k, padding=k // 2, key=fold(key, SITES["write"]))  # cyclegan.lee:32

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        x_2 = relu(self.read(x))  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:35
        x_3 = self.blocks[0](x_2)  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:37
        x_4 = self.blocks[1](x_3)  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]
        return torch.tanh(self.write(x_4)).reshape(n, self.channels, h, w)  # [n, channels, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        x_2 = relu(self.read(x))  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:35
        x_3, saved_blocks_0_ = self.blocks[0].forward_saved(x_2)  # cyclegan.lee:37
        x_4, saved_blocks_1_ = self.blocks[1].forward_saved(x_3)
        # [n, channels, h + 4 * (k // 2) + 2 - 2 * k, w + 4 * (k // 2) + 2 - 2 * k]  cyclegan.lee:38
        tanh_write_out = torch.tanh(self.write(x_4))
        saved = x_2, x_3, saved_blocks_0_, x_4, saved_blocks_1_, tanh_write_out
        return tanh_write_out.reshape(n, self.channels, h, w), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, x_3, saved_blocks_0_, x_4, saved_blocks_1_, tanh_write_out = saved
        n, _, h, w = x.shape
        # [n, channels, h + 4 * (k // 2) + 2 - 2 * k, w + 4 * (k // 2) + 2 - 2 * k]
        d_tanh_write_out = d_y.reshape(
            n, self.channels, h + 4 * (self.k // 2) + 2 - 2 * self.k, w + 4 * (self.k // 2) + 2 - 2 * self.k
        )
        # gradient of return tanh(write(x))   cyclegan.lee:38
        d_write, d_x_4 = self.write.forward_backward(x_4, d_tanh_write_out * (1 - tanh_write_out**2))
        # gradient of x = block(x)   cyclegan.lee:37
        d_blocks_1_, d_x_3 = self.blocks[1].forward_backward(x_3, saved_blocks_1_, d_x_4)
        d_blocks_0_, d_x_2 = self.blocks[0].forward_backward(x_2, saved_blocks_0_, d_x_3)
        # gradient of x = relu(read(x))   cyclegan.lee:35
        d_read, d_x = self.read.forward_backward(x, relu_backward(x_2, d_x_2))
        return {"read": d_read, "blocks.0": d_blocks_0_, "blocks.1": d_blocks_1_, "write": d_write}, d_x


class Translator_3(Model):
    """An image of the same size, between -1 and 1."""

    members = ("read", "blocks", "write")

    def __init__(self, channels=1, width=8, k=3, *, key=(0, 0)):
        super().__init__()
        self.channels, self.width, self.k = channels, width, k
        if k % 2 != 1:
            raise ValueError(f"cyclegan.lee:29: k % 2 == 1 must hold: k = {k}")
        self.read = Conv(channels, width, k=k, padding=k // 2, key=fold(key, SITES["read"]))  # cyclegan.lee:30
        self.blocks = torch.nn.ModuleList([Residual(width, key=fold(key, SITES["blocks.0"]))])  # cyclegan.lee:31
        self.write = Conv(width, channels, k=k, padding=k // 2, key=fold(key, SITES["write"]))  # cyclegan.lee:32

    def forward(self, x):
        """x [n, channels, h, w] -> [n, channels, h, w]"""
        n, _, h, w = x.shape
        x_2 = relu(self.read(x))  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:35
        x_3 = self.blocks[0](x_2)  # [n, width, h + 2 * (k // 2) + 1 - k, w + 2 * (k // 2) + 1 - k]  cyclegan.lee:37
        return torch.tanh(self.write(x_3)).reshape(n, self.channels, h, w)  # [n, channels, h, w]


class Critic(Model):
    """A score for every patch of the image."""

    members = ("first", "second", "last")

    def __init__(self, channels=1, width=8, *, key=(0, 0)):
        super().__init__()
        self.channels, self.width = channels, width
        self.first = Conv(channels, width, k=4, stride=2, padding=1, key=fold(key, SITES["first"]))  # cyclegan.lee:43
        # cyclegan.lee:44
        self.second = Conv(width, 2 * width, k=4, stride=2, padding=1, key=fold(key, SITES["second"]))
        self.last = Conv(2 * width, 1, padding=1, key=fold(key, SITES["last"]))  # cyclegan.lee:45

    def forward(self, x):
        """x [n, channels, h, w] -> [n, h // 4, w // 4]"""
        n, _, h, w = x.shape
        x_2 = leaky_relu(self.first(x), slope=0.2)  # [n, width, h // 2, w // 2]  cyclegan.lee:48
        # [n, 1, h // 4, w // 4]  cyclegan.lee:49
        last_out = self.last(leaky_relu(standard(self.second(x_2)), slope=0.2))
        return last_out.reshape(n, h // 4, w // 4)  # [n, h // 4, w // 4]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        x_2, saved_leaky_relu = leaky_relu_saved(self.first(x), slope=0.2)  # cyclegan.lee:48
        second_out = self.second(x_2)  # [n, 2 * width, h // 4, w // 4]  cyclegan.lee:49
        select, saved_leaky_relu_ = leaky_relu_saved(standard(second_out), slope=0.2)
        return self.last(select).reshape(n, h // 4, w // 4), (
            x_2,
            saved_leaky_relu,
            second_out,
            select,
            saved_leaky_relu_,
        )

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, saved_leaky_relu, second_out, select, saved_leaky_relu_ = saved
        # gradient of return last(leaky_relu(standard(second(x)), 0.2))[:, 0]   cyclegan.lee:49
        d_last, d_select = self.last.forward_backward(select, d_y[:, None])
        d_div = leaky_relu_backward(0.2, saved_leaky_relu_, d_select)  # [n, 2 * width, h // 4, w // 4]
        d_second_out = standard_backward(second_out, 1e-5, d_div)  # [n, 2 * width, h // 4, w // 4]
        d_second, d_x_2 = self.second.forward_backward(x_2, d_second_out)
        # gradient of x = leaky_relu(first(x), 0.2)   cyclegan.lee:48
        d_first_out = leaky_relu_backward(0.2, saved_leaky_relu, d_x_2)  # [n, width, h // 2, w // 2]
        d_first, d_x = self.first.forward_backward(x, d_first_out)
        return {"first": d_first, "second": d_second, "last": d_last}, d_x


def towards_saved(score, target):
    """As towards, and what its gradient needs."""
    sub = score - target  # [n, h, w]  cyclegan.lee:54
    return (sub**2).mean(), sub


def towards_backward(sub, d_mean):
    """From d_mean to the gradient by score."""
    n, h, w = sub.shape
    # gradient of return mean((score - target) ** 2)   cyclegan.lee:54
    d_score = 2 * (d_mean / (h * n * w)) * sub  # [n, h, w]
    return d_score  # [n, h, w]


def translators_saved(ab, ba, critic_a, critic_b, a, b, round_trip=5.0, identity=0.5):
    """As translators, and what its gradient needs."""
    n = a.shape[0]
    m, _, h, w = b.shape
    if ba.channels != ab.channels:
        raise ValueError(f"ba.channels = {ba.channels} must equal ab.channels = {ab.channels}")
    if critic_b.channels != ab.channels:
        raise ValueError(f"critic_b.channels = {critic_b.channels} must equal ab.channels = {ab.channels}")
    if critic_a.channels != ba.channels:
        raise ValueError(f"critic_a.channels = {critic_a.channels} must equal ba.channels = {ba.channels}")
    fake_b, saved_ab = ab.forward_saved(a)  # cyclegan.lee:59
    fake_a, saved_ba = ba.forward_saved(b.reshape(m, ba.channels, h, w))  # cyclegan.lee:60
    reshape_2 = fake_b.reshape(n, critic_b.channels, h, w)  # [n, critic_b.channels, h, w]  cyclegan.lee:61
    reshape_4, saved_critic_b = critic_b.forward_saved(reshape_2)
    mean, saved_towards = towards_saved(reshape_4, 1)
    reshape_3 = fake_a.reshape(m, critic_a.channels, h, w)  # [m, critic_a.channels, h, w]
    reshape_6, saved_critic_a = critic_a.forward_saved(reshape_3)
    mean_2, saved_towards_ = towards_saved(reshape_6, 1)
    fool = mean + mean_2
    reshape_5 = fake_b.reshape(n, ba.channels, h, w)  # [n, ba.channels, h, w]  cyclegan.lee:62
    reshape_8, saved_ba_ = ba.forward_saved(reshape_5)
    reshape_7 = a.reshape(n, ba.channels, h, w)  # [n, ba.channels, h, w]
    sub = reshape_8 - reshape_7  # [n, ba.channels, h, w]
    reshape_9 = fake_a.reshape(m, ab.channels, h, w)  # [m, ab.channels, h, w]
    reshape_11, saved_ab_ = ab.forward_saved(reshape_9)
    sub_2 = reshape_11 - b  # [m, ab.channels, h, w]
    back = torch.abs(sub).mean() + torch.abs(sub_2).mean()
    reshape_12, saved_ab_2 = ab.forward_saved(b)  # cyclegan.lee:63
    sub_3 = reshape_12 - b  # [m, ab.channels, h, w]
    reshape_14, saved_ba_2 = ba.forward_saved(reshape_7)
    sub_4 = reshape_14 - reshape_7  # [n, ba.channels, h, w]
    same = torch.abs(sub_3).mean() + torch.abs(sub_4).mean()
    saved = (
        saved_ab,
        saved_ba,
        reshape_2,
        saved_critic_b,
        saved_towards,
        reshape_3,
        saved_critic_a,
        saved_towards_,
        reshape_5,
        saved_ba_,
        sub,
        reshape_9,
        saved_ab_,
        sub_2,
        saved_ab_2,
        sub_3,
        saved_ba_2,
        sub_4,
    )
    return fool + round_trip * back + identity * same, saved  # cyclegan.lee:64


def translators_backward(ab, ba, critic_a, critic_b, a, b, round_trip, identity, saved, d_add_2):
    """From d_add_2 to the gradients by ab, ba, critic_a, critic_b, a and b."""
    saved_ab, saved_ba, reshape_2, saved_critic_b, saved_towards, reshape_3, saved_critic_a, saved_towards_, reshape_5, saved_ba_, sub, reshape_9, saved_ab_, sub_2, saved_ab_2, sub_3, saved_ba_2, sub_4 = saved
    n = a.shape[0]
    m, _, h, w = b.shape
    # gradient of return fool + round_trip * back + identity * same   cyclegan.lee:64
    d_same = d_add_2 * identity
    d_back = d_add_2 * round_trip
    # gradient of same = mean(abs(ab(b) - b)) + mean(abs(ba(a) - a))   cyclegan.lee:63
    d_sub_4 = d_same / (ba.channels * h * n * w) * torch.sign(sub_4)  # [n, ba.channels, h, w]
    d_ba, d_reshape_7_3 = ba.forward_backward(a.reshape(n, ba.channels, h, w), saved_ba_2, d_sub_4)
    d_sub_3 = d_same / (ab.channels * h * m * w) * torch.sign(sub_3)  # [m, ab.channels, h, w]
    d_ab, d_b_3 = ab.forward_backward(b, saved_ab_2, d_sub_3)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_sub_2 = d_back / (ab.channels * h * m * w) * torch.sign(sub_2)  # [m, ab.channels, h, w]
    d_ab_, d_reshape_9 = ab.forward_backward(reshape_9, saved_ab_, d_sub_2)
    d_sub = d_back / (ba.channels * h * n * w) * torch.sign(sub)  # [n, ba.channels, h, w]
    d_reshape_7 = d_reshape_7_3 - d_sub_4 - d_sub  # [n, ba.channels, h, w]
    d_ba_, d_reshape_5 = ba.forward_backward(reshape_5, saved_ba_, d_sub)
    # gradient of fool = towards(critic_b(fake_b), 1) + towards(critic_a(fake_a), 1)   cyclegan.lee:61
    d_reshape_6 = towards_backward(saved_towards_, d_add_2)  # [m, h // 4, w // 4]
    d_critic_a, d_reshape_3 = critic_a.forward_backward(reshape_3, saved_critic_a, d_reshape_6)
    d_reshape_4 = towards_backward(saved_towards, d_add_2)  # [n, h // 4, w // 4]
    d_critic_b, d_reshape_2 = critic_b.forward_backward(reshape_2, saved_critic_b, d_reshape_4)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_fake_a_2 = d_reshape_9.reshape(m, ba.channels, h, w)  # [m, ba.channels, h, w]
    # gradient of fake_a = ba(b)   cyclegan.lee:60
    d_fake_a = d_fake_a_2 + d_reshape_3.reshape(m, ba.channels, h, w)  # [m, ba.channels, h, w]
    d_ba_2, d_reshape = ba.forward_backward(b.reshape(m, ba.channels, h, w), saved_ba, d_fake_a)
    # gradient of back = mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b))   cyclegan.lee:62
    d_fake_b_2 = d_reshape_5.reshape(n, ab.channels, h, w)  # [n, ab.channels, h, w]
    # gradient of fake_b = ab(a)   cyclegan.lee:59
    d_fake_b = d_fake_b_2 + d_reshape_2.reshape(n, ab.channels, h, w)  # [n, ab.channels, h, w]
    d_ab_2, d_a_3 = ab.forward_backward(a, saved_ab, d_fake_b)
    # [ab.width, ab.channels, ab.k, ab.k]
    d_ab_read_kernel = d_ab["read"]["kernel"] + d_ab_["read"]["kernel"] + d_ab_2["read"]["kernel"]
    d_ab_read_bias = d_ab["read"]["bias"] + d_ab_["read"]["bias"] + d_ab_2["read"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_first_kernel_5 = d_ab["blocks.0"]["first"]["kernel"] + d_ab_["blocks.0"]["first"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_first_kernel = d_ab_blocks_0_first_kernel_5 + d_ab_2["blocks.0"]["first"]["kernel"]
    d_ab_blocks_0_first_bias_5 = d_ab["blocks.0"]["first"]["bias"] + d_ab_["blocks.0"]["first"]["bias"]  # [ab.width]
    d_ab_blocks_0_first_bias = d_ab_blocks_0_first_bias_5 + d_ab_2["blocks.0"]["first"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_second_kernel_5 = d_ab["blocks.0"]["second"]["kernel"] + d_ab_["blocks.0"]["second"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_0_second_kernel = d_ab_blocks_0_second_kernel_5 + d_ab_2["blocks.0"]["second"]["kernel"]
    d_ab_blocks_0_second_bias_5 = d_ab["blocks.0"]["second"]["bias"] + d_ab_["blocks.0"]["second"]["bias"]  # [ab.width]
    d_ab_blocks_0_second_bias = d_ab_blocks_0_second_bias_5 + d_ab_2["blocks.0"]["second"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_first_kernel_5 = d_ab["blocks.1"]["first"]["kernel"] + d_ab_["blocks.1"]["first"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_first_kernel = d_ab_blocks_1_first_kernel_5 + d_ab_2["blocks.1"]["first"]["kernel"]
    d_ab_blocks_1_first_bias_5 = d_ab["blocks.1"]["first"]["bias"] + d_ab_["blocks.1"]["first"]["bias"]  # [ab.width]
    d_ab_blocks_1_first_bias = d_ab_blocks_1_first_bias_5 + d_ab_2["blocks.1"]["first"]["bias"]  # [ab.width]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_second_kernel_5 = d_ab["blocks.1"]["second"]["kernel"] + d_ab_["blocks.1"]["second"]["kernel"]
    # [ab.width, ab.width, 3, 3]
    d_ab_blocks_1_second_kernel = d_ab_blocks_1_second_kernel_5 + d_ab_2["blocks.1"]["second"]["kernel"]
    d_ab_blocks_1_second_bias_5 = d_ab["blocks.1"]["second"]["bias"] + d_ab_["blocks.1"]["second"]["bias"]  # [ab.width]
    d_ab_blocks_1_second_bias = d_ab_blocks_1_second_bias_5 + d_ab_2["blocks.1"]["second"]["bias"]  # [ab.width]
    d_ab_write_kernel_5 = d_ab["write"]["kernel"] + d_ab_["write"]["kernel"]  # [ab.channels, ab.width, ab.k, ab.k]
    d_ab_write_kernel = d_ab_write_kernel_5 + d_ab_2["write"]["kernel"]  # [ab.channels, ab.width, ab.k, ab.k]
    d_ab_write_bias = d_ab["write"]["bias"] + d_ab_["write"]["bias"] + d_ab_2["write"]["bias"]  # [ab.channels]
    # [ba.width, ba.channels, ba.k, ba.k]
    d_ba_read_kernel = d_ba["read"]["kernel"] + d_ba_["read"]["kernel"] + d_ba_2["read"]["kernel"]
    d_ba_read_bias = d_ba["read"]["bias"] + d_ba_["read"]["bias"] + d_ba_2["read"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_first_kernel_5 = d_ba["blocks.0"]["first"]["kernel"] + d_ba_["blocks.0"]["first"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_first_kernel = d_ba_blocks_0_first_kernel_5 + d_ba_2["blocks.0"]["first"]["kernel"]
    d_ba_blocks_0_first_bias_5 = d_ba["blocks.0"]["first"]["bias"] + d_ba_["blocks.0"]["first"]["bias"]  # [ba.width]
    d_ba_blocks_0_first_bias = d_ba_blocks_0_first_bias_5 + d_ba_2["blocks.0"]["first"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_second_kernel_5 = d_ba["blocks.0"]["second"]["kernel"] + d_ba_["blocks.0"]["second"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_0_second_kernel = d_ba_blocks_0_second_kernel_5 + d_ba_2["blocks.0"]["second"]["kernel"]
    d_ba_blocks_0_second_bias_5 = d_ba["blocks.0"]["second"]["bias"] + d_ba_["blocks.0"]["second"]["bias"]  # [ba.width]
    d_ba_blocks_0_second_bias = d_ba_blocks_0_second_bias_5 + d_ba_2["blocks.0"]["second"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_first_kernel_5 = d_ba["blocks.1"]["first"]["kernel"] + d_ba_["blocks.1"]["first"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_first_kernel = d_ba_blocks_1_first_kernel_5 + d_ba_2["blocks.1"]["first"]["kernel"]
    d_ba_blocks_1_first_bias_5 = d_ba["blocks.1"]["first"]["bias"] + d_ba_["blocks.1"]["first"]["bias"]  # [ba.width]
    d_ba_blocks_1_first_bias = d_ba_blocks_1_first_bias_5 + d_ba_2["blocks.1"]["first"]["bias"]  # [ba.width]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_second_kernel_5 = d_ba["blocks.1"]["second"]["kernel"] + d_ba_["blocks.1"]["second"]["kernel"]
    # [ba.width, ba.width, 3, 3]
    d_ba_blocks_1_second_kernel = d_ba_blocks_1_second_kernel_5 + d_ba_2["blocks.1"]["second"]["kernel"]
    d_ba_blocks_1_second_bias_5 = d_ba["blocks.1"]["second"]["bias"] + d_ba_["blocks.1"]["second"]["bias"]  # [ba.width]
    d_ba_blocks_1_second_bias = d_ba_blocks_1_second_bias_5 + d_ba_2["blocks.1"]["second"]["bias"]  # [ba.width]
    d_ba_write_kernel_5 = d_ba["write"]["kernel"] + d_ba_["write"]["kernel"]  # [ba.channels, ba.width, ba.k, ba.k]
    d_ba_write_kernel = d_ba_write_kernel_5 + d_ba_2["write"]["kernel"]  # [ba.channels, ba.width, ba.k, ba.k]
    d_ba_write_bias = d_ba["write"]["bias"] + d_ba_["write"]["bias"] + d_ba_2["write"]["bias"]  # [ba.channels]
    d_a = d_reshape_7.reshape(n, ab.channels, h, w) + d_a_3  # [n, ab.channels, h, w]
    d_b = d_b_3 - d_sub_3 - d_sub_2 + d_reshape.reshape(m, ab.channels, h, w)  # [m, ab.channels, h, w]
    return (
        {
            "read": {"kernel": d_ab_read_kernel, "bias": d_ab_read_bias},
            "blocks.0": {
                "first": {"kernel": d_ab_blocks_0_first_kernel, "bias": d_ab_blocks_0_first_bias},
                "second": {"kernel": d_ab_blocks_0_second_kernel, "bias": d_ab_blocks_0_second_bias},
            },
            "blocks.1": {
                "first": {"kernel": d_ab_blocks_1_first_kernel, "bias": d_ab_blocks_1_first_bias},
                "second": {"kernel": d_ab_blocks_1_second_kernel, "bias": d_ab_blocks_1_second_bias},
            },
            "write": {"kernel": d_ab_write_kernel, "bias": d_ab_write_bias},
        },
        {
            "read": {"kernel": d_ba_read_kernel, "bias": d_ba_read_bias},
            "blocks.0": {
                "first": {"kernel": d_ba_blocks_0_first_kernel, "bias": d_ba_blocks_0_first_bias},
                "second": {"kernel": d_ba_blocks_0_second_kernel, "bias": d_ba_blocks_0_second_bias},
            },
            "blocks.1": {
                "first": {"kernel": d_ba_blocks_1_first_kernel, "bias": d_ba_blocks_1_first_bias},
                "second": {"kernel": d_ba_blocks_1_second_kernel, "bias": d_ba_blocks_1_second_bias},
            },
            "write": {"kernel": d_ba_write_kernel, "bias": d_ba_write_bias},
        },
        d_critic_a,
        d_critic_b,
        d_a,
        d_b,
    )


def judged_saved(critic, real, fake):
    """As judged, and what its gradient needs."""
    reshape, saved_critic = critic.forward_saved(real)  # cyclegan.lee:68
    mean, saved_towards = towards_saved(reshape, 1)
    reshape_2, saved_critic_ = critic.forward_saved(fake)
    mean_2, saved_towards_ = towards_saved(reshape_2, 0)
    return (mean + mean_2) / 2, (saved_critic, saved_towards, saved_critic_, saved_towards_)


def judged_backward(critic, real, fake, saved, d_div):
    """From d_div to the gradients by critic, real and fake."""
    saved_critic, saved_towards, saved_critic_, saved_towards_ = saved
    # gradient of return (towards(critic(real), 1) + towards(critic(fake), 0)) / 2   cyclegan.lee:68
    d_add = d_div / 2
    d_reshape_2 = towards_backward(saved_towards_, d_add)  # [m, h // 4, w // 4]
    d_critic, d_fake = critic.forward_backward(fake, saved_critic_, d_reshape_2)
    d_reshape = towards_backward(saved_towards, d_add)  # [n, h // 4, w // 4]
    d_critic_, d_real = critic.forward_backward(real, saved_critic, d_reshape)
    # [critic.width, critic.channels, 4, 4]
    d_critic_first_kernel = d_critic["first"]["kernel"] + d_critic_["first"]["kernel"]
    d_critic_first_bias = d_critic["first"]["bias"] + d_critic_["first"]["bias"]  # [critic.width]
    # [2 * critic.width, critic.width, 4, 4]
    d_critic_second_kernel = d_critic["second"]["kernel"] + d_critic_["second"]["kernel"]
    d_critic_second_bias = d_critic["second"]["bias"] + d_critic_["second"]["bias"]  # [2 * critic.width]
    d_critic_last_kernel = d_critic["last"]["kernel"] + d_critic_["last"]["kernel"]  # [1, 2 * critic.width, 3, 3]
    d_critic_last_bias = d_critic["last"]["bias"] + d_critic_["last"]["bias"]  # [1]
    return (
        {
            "first": {"kernel": d_critic_first_kernel, "bias": d_critic_first_bias},
            "second": {"kernel": d_critic_second_kernel, "bias": d_critic_second_bias},
            "last": {"kernel": d_critic_last_kernel, "bias": d_critic_last_bias},
        },
        d_real,
        d_fake,
    )


@torch.no_grad()
def recall(past, fake, pool, *, run=None):
    """A history of fakes: half of the time an old one is shown instead of the new one."""
    from leec.runtime.run import Run

    run = run or Run("recall", backend="torch")
    past = past.copy()  # cyclegan.lee:71
    if len(past) < pool:
        past.append(fake)  # cyclegan.lee:74
        return fake, past
    condition = recall_condition(key=run.key("recall"))  # cyclegan.lee:76
    if condition:
        return fake, past
    slot = recall_slot(pool, key=run.key("recall"))  # cyclegan.lee:79
    old = past[slot]  # cyclegan.lee:80
    past[slot] = fake  # cyclegan.lee:81
    return old, past


def recall_condition(key):
    coin = uniform(fold(key, SITES["coin"]), (), FLOAT)  # cyclegan.lee:76
    condition = coin < 0.5  # cyclegan.lee:77
    return condition


def recall_slot(pool, key):
    slot = randint(fold(key, SITES["slot"]), (), 0, pool)  # cyclegan.lee:79
    return slot


@torch.no_grad()
def fit(epochs=3, batch=32, pool=20, rate=2e-3, *, run=None):
    """A classifier of plain digits is shown noisy ones, and then what becomes of them on their way to the plain ones."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    plain = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    other = run.data(
        "digits",
        domain="noisy",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    reader = MLP(sizes=(64, 64, 10), key=run.key("reader")).to(run.session.place.device)  # cyclegan.lee:89
    opt_r = Adam(lr=3e-3)  # cyclegan.lee:90
    step = FitStep(reader, opt_r)
    for epoch in run.loop("epoch", 1, 10, opt_r=opt_r, reader=reader):
        for x, y in run.batches("batches", plain.train, 64, shuffle=True):
            run.step(step(x, y))  # cyclegan.lee:93
    ab = Translator_3(key=run.key("ab")).to(run.session.place.device)  # cyclegan.lee:94
    ba = Translator_3(key=run.key("ba")).to(run.session.place.device)  # cyclegan.lee:95
    critic_a = Critic(key=run.key("critic_a")).to(run.session.place.device)  # cyclegan.lee:96
    critic_b = Critic(key=run.key("critic_b")).to(run.session.place.device)  # cyclegan.lee:97
    opt = Adam(lr=rate, beta1=0.5)  # cyclegan.lee:98
    step_ = FitStep2(ab, ba, critic_a, critic_b, opt)
    opt_a = Adam(lr=rate, beta1=0.5)  # cyclegan.lee:99
    opt_b = Adam(lr=rate, beta1=0.5)  # cyclegan.lee:100
    step_2 = FitStep3(critic_a, critic_b, opt_a, opt_b)
    past_a = []  # cyclegan.lee:101
    past_b = []  # cyclegan.lee:102
    past_a, past_b = run.restore("epoch_2", past_a=past_a, past_b=past_b)
    for epoch in run.loop(
        "epoch_2", 1, epochs, ab=ab, ba=ba, critic_a=critic_a, critic_b=critic_b, opt=opt, opt_a=opt_a, opt_b=opt_b
    ):
        past_a, past_b = run.restore("x", past_a=past_a, past_b=past_b)
        for (x, _), (z, _) in run.each(
            "x",
            zip(
                run.stream("batches_2", plain.train, batch, shuffle=True),
                run.stream("batches_3", other.train, batch, shuffle=True),
            ),
            ab=ab,
            ba=ba,
            critic_a=critic_a,
            critic_b=critic_b,
            opt=opt,
            opt_a=opt_a,
            opt_b=opt_b,
        ):
            a, b, loss = step_(x, z)  # cyclegan.lee:105
            run.step(loss)
            fake = fit_fake(ba, b)  # cyclegan.lee:108
            old_a, past_a = recall(past=past_a, fake=fake, pool=pool, run=run.call("recall"))  # cyclegan.lee:108
            fake_2 = fit_fake_2(ab, a)  # cyclegan.lee:109
            old_b, past_b = recall(past=past_b, fake=fake_2, pool=pool, run=run.call("recall_2"))  # cyclegan.lee:109
            loss, loss_1 = step_2(a, old_a, b, old_b)  # cyclegan.lee:110
            run.step(loss)
            run.step(loss_1, "loss_1")
            run.keep("x", past_a=past_a, past_b=past_b)
        made, untouched, translated = fit_made_untouched_translated(ba, other.test.x, reader, other.test.y)
        run.report(untouched=untouched, translated=translated, gap=fit_gap(made, plain.test.x))  # cyclegan.lee:115
        run.keep("epoch_2", past_a=past_a, past_b=past_b)
    return ab, ba


class FitStep(TrainStep):
    """One step of fit for reader, opt_r: call it with a batch."""

    moved = (("opt_r", ("reader",)),)
    counted = ("opt_r",)
    read = ("reader.layers.0.w", "reader.layers.0.b", "reader.layers.1.w", "reader.layers.1.b")
    spare = (None,)

    def __init__(self, reader, opt_r):
        self.reader, self.opt_r = reader, opt_r
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt_r.lr, self.opt_r.beta1, self.opt_r.beta2, self.opt_r.eps, self.opt_r.weight_decay)

    def scalars(self):
        return (self.opt_r.t,)

    def step(self, x, y, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_flat = x.reshape(batches_n, 64)  # [batches_n, 64]  cyclegan.lee:93
        x_2 = torch.relu(torch.addmm(layers_0_b, x_flat, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x_flat.T, d_add, out=d_layers_0_w)  # [64, 64]
        lr = self.opt_r.lr
        beta1 = self.opt_r.beta1
        beta2 = self.opt_r.beta2
        eps = self.opt_r.eps
        weight_decay = self.opt_r.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


class FitStep2(TrainStep):
    """One step of fit for ab, ba, critic_a, critic_b, opt: call it with a batch."""

    moved = (("opt", ("ab", "ba")),)
    counted = ("opt",)
    read = (
        "ab.read.kernel",
        "ab.read.bias",
        "ab.blocks.0.first.kernel",
        "ab.blocks.0.first.bias",
        "ab.blocks.0.second.kernel",
        "ab.blocks.0.second.bias",
        "ab.write.kernel",
        "ab.write.bias",
        "ba.read.kernel",
        "ba.read.bias",
        "ba.blocks.0.first.kernel",
        "ba.blocks.0.first.bias",
        "ba.blocks.0.second.kernel",
        "ba.blocks.0.second.bias",
        "ba.write.kernel",
        "ba.write.bias",
        "critic_a.first.kernel",
        "critic_a.first.bias",
        "critic_a.second.kernel",
        "critic_a.second.bias",
        "critic_a.last.kernel",
        "critic_a.last.bias",
        "critic_b.first.kernel",
        "critic_b.first.bias",
        "critic_b.second.kernel",
        "critic_b.second.bias",
        "critic_b.last.kernel",
        "critic_b.last.bias",
    )
    spare = (None,)

    def __init__(self, ab, ba, critic_a, critic_b, opt):
        self.ab, self.ba, self.critic_a, self.critic_b, self.opt = ab, ba, critic_a, critic_b, opt
        self.bind()

    def numbers(self, x_n, z_n):
        return (
            4 * x_n,
            4 * z_n,
            64 * x_n,
            64 * z_n,
            0.5 / (64 * x_n),
            0.5 / (64 * z_n),
            5.0 / (64 * z_n),
            5.0 / (64 * x_n),
            2 / (4 * z_n),
            2 / (4 * x_n),
        )

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, z, t):
        read_kernel, read_bias, blocks_0_first_kernel, blocks_0_first_bias = self.tensors[:4]
        blocks_0_second_kernel, blocks_0_second_bias, write_kernel, write_bias, read_kernel_ = self.tensors[4:9]
        read_bias_, blocks_0_first_kernel_, blocks_0_first_bias_, blocks_0_second_kernel_ = self.tensors[9:13]
        blocks_0_second_bias_, write_kernel_, write_bias_, first_kernel, first_bias = self.tensors[13:18]
        second_kernel, second_bias, last_kernel, last_bias, first_kernel_, first_bias_ = self.tensors[18:24]
        second_kernel_, second_bias_, last_kernel_, last_bias_ = self.tensors[24:]
        d_read_kernel, d_read_bias, d_blocks_0_first_kernel, d_blocks_0_first_bias = self.gradients[:4]
        d_blocks_0_second_kernel, d_blocks_0_second_bias, d_write_kernel, d_write_bias = self.gradients[4:8]
        d_read_kernel_, d_read_bias_, d_blocks_0_first_kernel_, d_blocks_0_first_bias_ = self.gradients[8:12]
        d_blocks_0_second_kernel_, d_blocks_0_second_bias_, d_write_kernel_, d_write_bias_ = self.gradients[12:]
        x_n = x.shape[0]
        z_n = z.shape[0]
        scale, scale_, scale_2, scale_3, scale_4, scale_5, scale_6, scale_7, scale_8 = self.held(x_n, z_n)[:9]
        (scale_9,) = self.held(x_n, z_n)[9:]
        a = 2 * x - 1  # [x_n, 1, 8, 8]  cyclegan.lee:105
        b = 2 * z - 1  # [z_n, 1, 8, 8]  cyclegan.lee:106
        read_out = torch.nn.functional.conv2d(a, read_kernel, read_bias, padding=1)  # [x_n, 8, 8, 8]  nn.lee:112
        x_2_8 = torch.relu(read_out)  # [x_n, 8, 8, 8]  prelude.lee:61
        # [x_n, 8, 8, 8]  nn.lee:112
        first_out_6 = torch.nn.functional.conv2d(x_2_8, blocks_0_first_kernel, blocks_0_first_bias, padding=1)
        div = torch.nn.functional.layer_norm(first_out_6, (8, 8), eps=1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        select_8 = torch.relu(div)  # [x_n, 8, 8, 8]  prelude.lee:61
        # [x_n, 8, 8, 8]  nn.lee:112
        second_out_8 = torch.nn.functional.conv2d(select_8, blocks_0_second_kernel, blocks_0_second_bias, padding=1)
        div_2 = torch.nn.functional.layer_norm(second_out_8, (8, 8), eps=1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        x_3_6 = x_2_8 + div_2  # [x_n, 8, 8, 8]  cyclegan.lee:24
        y_2_3 = torch.nn.functional.conv2d(x_3_6, write_kernel, padding=1)  # [x_n, 1, 8, 8]  nn.lee:83
        tanh_write_out_6 = torch.tanh(y_2_3 + write_bias)  # [x_n, 1, 8, 8]  cyclegan.lee:38
        read_out_2 = torch.nn.functional.conv2d(b, read_kernel_, read_bias_, padding=1)  # [z_n, 8, 8, 8]  nn.lee:112
        x_2_7 = torch.relu(read_out_2)  # [z_n, 8, 8, 8]  prelude.lee:61
        # [z_n, 8, 8, 8]  nn.lee:112
        first_out_5 = torch.nn.functional.conv2d(x_2_7, blocks_0_first_kernel_, blocks_0_first_bias_, padding=1)
        div_3 = torch.nn.functional.layer_norm(first_out_5, (8, 8), eps=1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        select_7 = torch.relu(div_3)  # [z_n, 8, 8, 8]  prelude.lee:61
        # [z_n, 8, 8, 8]  nn.lee:112
        second_out_7 = torch.nn.functional.conv2d(select_7, blocks_0_second_kernel_, blocks_0_second_bias_, padding=1)
        div_2_2 = torch.nn.functional.layer_norm(second_out_7, (8, 8), eps=1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        x_3_5 = x_2_7 + div_2_2  # [z_n, 8, 8, 8]  cyclegan.lee:24
        y_2_3_2 = torch.nn.functional.conv2d(x_3_5, write_kernel_, padding=1)  # [z_n, 1, 8, 8]  nn.lee:83
        tanh_write_out_5 = torch.tanh(y_2_3_2 + write_bias_)  # [z_n, 1, 8, 8]  cyclegan.lee:38
        # [x_n, 8, 4, 4]  nn.lee:112
        first_out_7 = torch.nn.functional.conv2d(tanh_write_out_6, first_kernel_, first_bias_, stride=2, padding=1)
        gt_2_2 = first_out_7 > 0  # bool[x_n, 8, 4, 4]  prelude.lee:71
        x_2_6 = torch.where(gt_2_2, first_out_7, 0.2 * first_out_7)  # [x_n, 8, 4, 4]
        # [x_n, 16, 2, 2]  nn.lee:112
        second_out_6 = torch.nn.functional.conv2d(x_2_6, second_kernel_, second_bias_, stride=2, padding=1)
        div_4 = torch.nn.functional.layer_norm(second_out_6, (2, 2), eps=1e-5)  # [x_n, 16, 2, 2]  cyclegan.lee:16
        gt = div_4 > 0  # bool[x_n, 16, 2, 2]  prelude.lee:71
        select_5 = torch.where(gt, div_4, 0.2 * div_4)  # [x_n, 16, 2, 2]
        y_2_3_3 = torch.nn.functional.conv2d(select_5, last_kernel_, padding=1)  # [x_n, 1, 2, 2]  nn.lee:83
        sub = (y_2_3_3 + last_bias_).reshape(x_n, 2, 2) - 1  # [x_n, 2, 2]  cyclegan.lee:54
        # [z_n, 8, 4, 4]  nn.lee:112
        first_out_8 = torch.nn.functional.conv2d(tanh_write_out_5, first_kernel, first_bias, stride=2, padding=1)
        gt_2 = first_out_8 > 0  # bool[z_n, 8, 4, 4]  prelude.lee:71
        x_2_5 = torch.where(gt_2, first_out_8, 0.2 * first_out_8)  # [z_n, 8, 4, 4]
        # [z_n, 16, 2, 2]  nn.lee:112
        second_out_5 = torch.nn.functional.conv2d(x_2_5, second_kernel, second_bias, stride=2, padding=1)
        div_5 = torch.nn.functional.layer_norm(second_out_5, (2, 2), eps=1e-5)  # [z_n, 16, 2, 2]  cyclegan.lee:16
        gt_3 = div_5 > 0  # bool[z_n, 16, 2, 2]  prelude.lee:71
        select_6 = torch.where(gt_3, div_5, 0.2 * div_5)  # [z_n, 16, 2, 2]
        y_2_3_4 = torch.nn.functional.conv2d(select_6, last_kernel, padding=1)  # [z_n, 1, 2, 2]  nn.lee:83
        sub_2 = (y_2_3_4 + last_bias).reshape(z_n, 2, 2) - 1  # [z_n, 2, 2]  cyclegan.lee:54
        # [x_n, 8, 8, 8]  nn.lee:112
        read_out_3 = torch.nn.functional.conv2d(tanh_write_out_6, read_kernel_, read_bias_, padding=1)
        x_2_4 = torch.relu(read_out_3)  # [x_n, 8, 8, 8]  prelude.lee:61
        # [x_n, 8, 8, 8]  nn.lee:112
        first_out_4 = torch.nn.functional.conv2d(x_2_4, blocks_0_first_kernel_, blocks_0_first_bias_, padding=1)
        div_6 = torch.nn.functional.layer_norm(first_out_4, (8, 8), eps=1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        select_4 = torch.relu(div_6)  # [x_n, 8, 8, 8]  prelude.lee:61
        # [x_n, 8, 8, 8]  nn.lee:112
        second_out_4 = torch.nn.functional.conv2d(select_4, blocks_0_second_kernel_, blocks_0_second_bias_, padding=1)
        div_2_3 = torch.nn.functional.layer_norm(second_out_4, (8, 8), eps=1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        x_3_4 = x_2_4 + div_2_3  # [x_n, 8, 8, 8]  cyclegan.lee:24
        y_2_3_5 = torch.nn.functional.conv2d(x_3_4, write_kernel_, padding=1)  # [x_n, 1, 8, 8]  nn.lee:83
        tanh_write_out_4 = torch.tanh(y_2_3_5 + write_bias_)  # [x_n, 1, 8, 8]  cyclegan.lee:38
        sub_3 = tanh_write_out_4 - a  # [x_n, 1, 8, 8]  cyclegan.lee:62
        # [z_n, 8, 8, 8]  nn.lee:112
        read_out_4 = torch.nn.functional.conv2d(tanh_write_out_5, read_kernel, read_bias, padding=1)
        x_2_3 = torch.relu(read_out_4)  # [z_n, 8, 8, 8]  prelude.lee:61
        # [z_n, 8, 8, 8]  nn.lee:112
        first_out_3 = torch.nn.functional.conv2d(x_2_3, blocks_0_first_kernel, blocks_0_first_bias, padding=1)
        div_7 = torch.nn.functional.layer_norm(first_out_3, (8, 8), eps=1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        select_3 = torch.relu(div_7)  # [z_n, 8, 8, 8]  prelude.lee:61
        # [z_n, 8, 8, 8]  nn.lee:112
        second_out_3 = torch.nn.functional.conv2d(select_3, blocks_0_second_kernel, blocks_0_second_bias, padding=1)
        div_2_4 = torch.nn.functional.layer_norm(second_out_3, (8, 8), eps=1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        x_3_3 = x_2_3 + div_2_4  # [z_n, 8, 8, 8]  cyclegan.lee:24
        y_2_3_6 = torch.nn.functional.conv2d(x_3_3, write_kernel, padding=1)  # [z_n, 1, 8, 8]  nn.lee:83
        tanh_write_out_3 = torch.tanh(y_2_3_6 + write_bias)  # [z_n, 1, 8, 8]  cyclegan.lee:38
        sub_4 = tanh_write_out_3 - b  # [z_n, 1, 8, 8]  cyclegan.lee:62
        div_12 = torch.abs(sub_3).sum() / scale_2
        read_out_5 = torch.nn.functional.conv2d(b, read_kernel, read_bias, padding=1)  # [z_n, 8, 8, 8]  nn.lee:112
        x_2_2 = torch.relu(read_out_5)  # [z_n, 8, 8, 8]  prelude.lee:61
        # [z_n, 8, 8, 8]  nn.lee:112
        first_out_2 = torch.nn.functional.conv2d(x_2_2, blocks_0_first_kernel, blocks_0_first_bias, padding=1)
        div_8 = torch.nn.functional.layer_norm(first_out_2, (8, 8), eps=1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        select_2 = torch.relu(div_8)  # [z_n, 8, 8, 8]  prelude.lee:61
        # [z_n, 8, 8, 8]  nn.lee:112
        second_out_2 = torch.nn.functional.conv2d(select_2, blocks_0_second_kernel, blocks_0_second_bias, padding=1)
        div_2_5 = torch.nn.functional.layer_norm(second_out_2, (8, 8), eps=1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        x_3_2 = x_2_2 + div_2_5  # [z_n, 8, 8, 8]  cyclegan.lee:24
        y_2_3_7 = torch.nn.functional.conv2d(x_3_2, write_kernel, padding=1)  # [z_n, 1, 8, 8]  nn.lee:83
        tanh_write_out_2 = torch.tanh(y_2_3_7 + write_bias)  # [z_n, 1, 8, 8]  cyclegan.lee:38
        sub_5 = tanh_write_out_2 - b  # [z_n, 1, 8, 8]  cyclegan.lee:63
        read_out_6 = torch.nn.functional.conv2d(a, read_kernel_, read_bias_, padding=1)  # [x_n, 8, 8, 8]  nn.lee:112
        x_2 = torch.relu(read_out_6)  # [x_n, 8, 8, 8]  prelude.lee:61
        # [x_n, 8, 8, 8]  nn.lee:112
        first_out = torch.nn.functional.conv2d(x_2, blocks_0_first_kernel_, blocks_0_first_bias_, padding=1)
        # [x_n, 8, 8, 8]  prelude.lee:61
        select = torch.relu(torch.nn.functional.layer_norm(first_out, (8, 8), eps=1e-5))
        # [x_n, 8, 8, 8]  nn.lee:112
        second_out = torch.nn.functional.conv2d(select, blocks_0_second_kernel_, blocks_0_second_bias_, padding=1)
        x_3 = x_2 + torch.nn.functional.layer_norm(second_out, (8, 8), eps=1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:24
        y_2_3_8 = torch.nn.functional.conv2d(x_3, write_kernel_, padding=1)  # [x_n, 1, 8, 8]  nn.lee:83
        tanh_write_out = torch.tanh(y_2_3_8 + write_bias_)  # [x_n, 1, 8, 8]  cyclegan.lee:38
        sub_6 = tanh_write_out - a  # [x_n, 1, 8, 8]  cyclegan.lee:63
        div_14 = torch.abs(sub_5).sum() / scale_3
        fool = (sub * sub).sum() / scale + (sub_2 * sub_2).sum() / scale_  # cyclegan.lee:61
        add = fool + 5 * (div_12 + torch.abs(sub_4).sum() / scale_3)  # cyclegan.lee:64
        # [x_n, 1, 8, 8]  cyclegan.lee:38
        d_write_out = torch.ops.aten.tanh_backward(scale_4 * torch.sign(sub_6), tanh_write_out)
        d_x_3 = torch.nn.functional.conv_transpose2d(d_write_out, write_kernel_, padding=1)  # [x_n, 8, 8, 8]  nn.lee:83
        d_ba_write_kernel_2 = torch.nn.grad.conv2d_weight(x_3, (1, 8, 3, 3), d_write_out, padding=1)  # [1, 8, 3, 3]
        d_second_out = normalise_gradient(d_x_3, second_out, (8, 8), 1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        # [x_n, 8, 8, 8]  nn.lee:83
        d_select = torch.nn.functional.conv_transpose2d(d_second_out, blocks_0_second_kernel_, padding=1)
        # [8, 8, 3, 3]
        d_ba_blocks_0_second_kernel_2 = torch.nn.grad.conv2d_weight(select, (8, 8, 3, 3), d_second_out, padding=1)
        d_div = torch.ops.aten.threshold_backward(d_select, select, 0)  # [x_n, 8, 8, 8]  prelude.lee:61
        d_first_out = normalise_gradient(d_div, first_out, (8, 8), 1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        # [x_n, 8, 8, 8]  nn.lee:83
        d_x_2_2 = torch.nn.functional.conv_transpose2d(d_first_out, blocks_0_first_kernel_, padding=1)
        # [8, 8, 3, 3]
        d_ba_blocks_0_first_kernel_2 = torch.nn.grad.conv2d_weight(x_2, (8, 8, 3, 3), d_first_out, padding=1)
        d_read_out = torch.ops.aten.threshold_backward(d_x_3 + d_x_2_2, x_2, 0)  # [x_n, 8, 8, 8]  prelude.lee:61
        # [8, 1, 3, 3]  nn.lee:83
        d_ba_read_kernel_2 = torch.nn.grad.conv2d_weight(a, (8, 1, 3, 3), d_read_out, padding=1)
        # [z_n, 1, 8, 8]  cyclegan.lee:38
        d_write_out_2 = torch.ops.aten.tanh_backward(scale_5 * torch.sign(sub_5), tanh_write_out_2)
        # [z_n, 8, 8, 8]  nn.lee:83
        d_x_3_2 = torch.nn.functional.conv_transpose2d(d_write_out_2, write_kernel, padding=1)
        d_ab_write_kernel_2 = torch.nn.grad.conv2d_weight(x_3_2, (1, 8, 3, 3), d_write_out_2, padding=1)  # [1, 8, 3, 3]
        d_second_out_2 = normalise_gradient(d_x_3_2, second_out_2, (8, 8), 1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        # [z_n, 8, 8, 8]  nn.lee:83
        d_select_2 = torch.nn.functional.conv_transpose2d(d_second_out_2, blocks_0_second_kernel, padding=1)
        # [8, 8, 3, 3]
        d_ab_blocks_0_second_kernel_2 = torch.nn.grad.conv2d_weight(select_2, (8, 8, 3, 3), d_second_out_2, padding=1)
        d_div_2 = torch.ops.aten.threshold_backward(d_select_2, select_2, 0)  # [z_n, 8, 8, 8]  prelude.lee:61
        d_first_out_2 = normalise_gradient(d_div_2, first_out_2, (8, 8), 1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        # [z_n, 8, 8, 8]  nn.lee:83
        d_x_2_2_2 = torch.nn.functional.conv_transpose2d(d_first_out_2, blocks_0_first_kernel, padding=1)
        # [8, 8, 3, 3]
        d_ab_blocks_0_first_kernel_2 = torch.nn.grad.conv2d_weight(x_2_2, (8, 8, 3, 3), d_first_out_2, padding=1)
        # [z_n, 8, 8, 8]  prelude.lee:61
        d_read_out_2 = torch.ops.aten.threshold_backward(d_x_3_2 + d_x_2_2_2, x_2_2, 0)
        # [8, 1, 3, 3]  nn.lee:83
        d_ab_read_kernel_2 = torch.nn.grad.conv2d_weight(b, (8, 1, 3, 3), d_read_out_2, padding=1)
        # [z_n, 1, 8, 8]  cyclegan.lee:38
        d_write_out_3 = torch.ops.aten.tanh_backward(scale_6 * torch.sign(sub_4), tanh_write_out_3)
        # [z_n, 8, 8, 8]  nn.lee:83
        d_x_3_3 = torch.nn.functional.conv_transpose2d(d_write_out_3, write_kernel, padding=1)
        d_ab_write_kernel_3 = torch.nn.grad.conv2d_weight(x_3_3, (1, 8, 3, 3), d_write_out_3, padding=1)  # [1, 8, 3, 3]
        d_second_out_3 = normalise_gradient(d_x_3_3, second_out_3, (8, 8), 1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        # [z_n, 8, 8, 8]  nn.lee:83
        d_select_3 = torch.nn.functional.conv_transpose2d(d_second_out_3, blocks_0_second_kernel, padding=1)
        # [8, 8, 3, 3]
        d_ab_blocks_0_second_kernel_3 = torch.nn.grad.conv2d_weight(select_3, (8, 8, 3, 3), d_second_out_3, padding=1)
        d_div_3 = torch.ops.aten.threshold_backward(d_select_3, select_3, 0)  # [z_n, 8, 8, 8]  prelude.lee:61
        d_first_out_3 = normalise_gradient(d_div_3, first_out_3, (8, 8), 1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        # [z_n, 8, 8, 8]  nn.lee:83
        d_x_2_2_3 = torch.nn.functional.conv_transpose2d(d_first_out_3, blocks_0_first_kernel, padding=1)
        # [8, 8, 3, 3]
        d_ab_blocks_0_first_kernel_3 = torch.nn.grad.conv2d_weight(x_2_3, (8, 8, 3, 3), d_first_out_3, padding=1)
        # [z_n, 8, 8, 8]  prelude.lee:61
        d_read_out_3 = torch.ops.aten.threshold_backward(d_x_3_3 + d_x_2_2_3, x_2_3, 0)
        # [z_n, 1, 8, 8]  nn.lee:83
        d_reshape_9 = torch.nn.functional.conv_transpose2d(d_read_out_3, read_kernel, padding=1)
        # [8, 1, 3, 3]
        d_ab_read_kernel_3 = torch.nn.grad.conv2d_weight(tanh_write_out_5, (8, 1, 3, 3), d_read_out_3, padding=1)
        # [x_n, 1, 8, 8]  cyclegan.lee:38
        d_write_out_4 = torch.ops.aten.tanh_backward(scale_7 * torch.sign(sub_3), tanh_write_out_4)
        # [x_n, 8, 8, 8]  nn.lee:83
        d_x_3_4 = torch.nn.functional.conv_transpose2d(d_write_out_4, write_kernel_, padding=1)
        d_ba_write_kernel_3 = torch.nn.grad.conv2d_weight(x_3_4, (1, 8, 3, 3), d_write_out_4, padding=1)  # [1, 8, 3, 3]
        d_second_out_4 = normalise_gradient(d_x_3_4, second_out_4, (8, 8), 1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        # [x_n, 8, 8, 8]  nn.lee:83
        d_select_4 = torch.nn.functional.conv_transpose2d(d_second_out_4, blocks_0_second_kernel_, padding=1)
        # [8, 8, 3, 3]
        d_ba_blocks_0_second_kernel_3 = torch.nn.grad.conv2d_weight(select_4, (8, 8, 3, 3), d_second_out_4, padding=1)
        d_div_4 = torch.ops.aten.threshold_backward(d_select_4, select_4, 0)  # [x_n, 8, 8, 8]  prelude.lee:61
        d_first_out_4 = normalise_gradient(d_div_4, first_out_4, (8, 8), 1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        # [x_n, 8, 8, 8]  nn.lee:83
        d_x_2_2_4 = torch.nn.functional.conv_transpose2d(d_first_out_4, blocks_0_first_kernel_, padding=1)
        # [8, 8, 3, 3]
        d_ba_blocks_0_first_kernel_3 = torch.nn.grad.conv2d_weight(x_2_4, (8, 8, 3, 3), d_first_out_4, padding=1)
        # [x_n, 8, 8, 8]  prelude.lee:61
        d_read_out_4 = torch.ops.aten.threshold_backward(d_x_3_4 + d_x_2_2_4, x_2_4, 0)
        # [x_n, 1, 8, 8]  nn.lee:83
        d_reshape_5 = torch.nn.functional.conv_transpose2d(d_read_out_4, read_kernel_, padding=1)
        # [8, 1, 3, 3]
        d_ba_read_kernel_3 = torch.nn.grad.conv2d_weight(tanh_write_out_6, (8, 1, 3, 3), d_read_out_4, padding=1)
        d_last_out = (scale_8 * sub_2)[:, None]  # [z_n, 1, 2, 2]  cyclegan.lee:49
        # [z_n, 16, 2, 2]  nn.lee:83
        d_select_5 = torch.nn.functional.conv_transpose2d(d_last_out, last_kernel, padding=1)
        d_x_2_2_5 = torch.ops.aten.threshold_backward(d_select_5, div_5, 0)  # [z_n, 16, 2, 2]  prelude.lee:71
        d_div_5 = d_x_2_2_5 + torch.where(gt_3, 0, d_select_5 * 0.2)  # [z_n, 16, 2, 2]
        d_second_out_5 = normalise_gradient(d_div_5, second_out_5, (2, 2), 1e-5)  # [z_n, 16, 2, 2]  cyclegan.lee:16
        # [z_n, 8, 4, 4]  nn.lee:83
        d_x_2_6 = torch.nn.functional.conv_transpose2d(d_second_out_5, second_kernel, stride=2, padding=1)
        d_x_2_3_2 = torch.ops.aten.threshold_backward(d_x_2_6, first_out_8, 0)  # [z_n, 8, 4, 4]  prelude.lee:71
        d_first_out_5 = d_x_2_3_2 + torch.where(gt_2, 0, d_x_2_6 * 0.2)  # [z_n, 8, 4, 4]
        # [z_n, 1, 8, 8]  nn.lee:83
        d_reshape_3 = torch.nn.functional.conv_transpose2d(d_first_out_5, first_kernel, stride=2, padding=1)
        d_last_out_2 = (scale_9 * sub)[:, None]  # [x_n, 1, 2, 2]  cyclegan.lee:49
        # [x_n, 16, 2, 2]  nn.lee:83
        d_select_6 = torch.nn.functional.conv_transpose2d(d_last_out_2, last_kernel_, padding=1)
        d_x_2_2_6 = torch.ops.aten.threshold_backward(d_select_6, div_4, 0)  # [x_n, 16, 2, 2]  prelude.lee:71
        d_div_6 = d_x_2_2_6 + torch.where(gt, 0, d_select_6 * 0.2)  # [x_n, 16, 2, 2]
        d_second_out_6 = normalise_gradient(d_div_6, second_out_6, (2, 2), 1e-5)  # [x_n, 16, 2, 2]  cyclegan.lee:16
        # [x_n, 8, 4, 4]  nn.lee:83
        d_x_2_7 = torch.nn.functional.conv_transpose2d(d_second_out_6, second_kernel_, stride=2, padding=1)
        d_x_2_3_3 = torch.ops.aten.threshold_backward(d_x_2_7, first_out_7, 0)  # [x_n, 8, 4, 4]  prelude.lee:71
        d_first_out_6 = d_x_2_3_3 + torch.where(gt_2_2, 0, d_x_2_7 * 0.2)  # [x_n, 8, 4, 4]
        # [x_n, 1, 8, 8]  nn.lee:83
        d_reshape_2 = torch.nn.functional.conv_transpose2d(d_first_out_6, first_kernel_, stride=2, padding=1)
        # [z_n, 1, 8, 8]  cyclegan.lee:38
        d_write_out_5 = torch.ops.aten.tanh_backward(d_reshape_9 + d_reshape_3, tanh_write_out_5)
        # [z_n, 8, 8, 8]  nn.lee:83
        d_x_3_5 = torch.nn.functional.conv_transpose2d(d_write_out_5, write_kernel_, padding=1)
        d_ba_write_kernel_4 = torch.nn.grad.conv2d_weight(x_3_5, (1, 8, 3, 3), d_write_out_5, padding=1)  # [1, 8, 3, 3]
        d_second_out_7 = normalise_gradient(d_x_3_5, second_out_7, (8, 8), 1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        # [z_n, 8, 8, 8]  nn.lee:83
        d_select_7 = torch.nn.functional.conv_transpose2d(d_second_out_7, blocks_0_second_kernel_, padding=1)
        # [8, 8, 3, 3]
        d_ba_blocks_0_second_kernel_4 = torch.nn.grad.conv2d_weight(select_7, (8, 8, 3, 3), d_second_out_7, padding=1)
        d_div_7 = torch.ops.aten.threshold_backward(d_select_7, select_7, 0)  # [z_n, 8, 8, 8]  prelude.lee:61
        d_first_out_7 = normalise_gradient(d_div_7, first_out_5, (8, 8), 1e-5)  # [z_n, 8, 8, 8]  cyclegan.lee:16
        # [z_n, 8, 8, 8]  nn.lee:83
        d_x_2_2_7 = torch.nn.functional.conv_transpose2d(d_first_out_7, blocks_0_first_kernel_, padding=1)
        # [8, 8, 3, 3]
        d_ba_blocks_0_first_kernel_4 = torch.nn.grad.conv2d_weight(x_2_7, (8, 8, 3, 3), d_first_out_7, padding=1)
        # [z_n, 8, 8, 8]  prelude.lee:61
        d_read_out_5 = torch.ops.aten.threshold_backward(d_x_3_5 + d_x_2_2_7, x_2_7, 0)
        # [8, 1, 3, 3]  nn.lee:83
        d_ba_read_kernel_4 = torch.nn.grad.conv2d_weight(b, (8, 1, 3, 3), d_read_out_5, padding=1)
        # [x_n, 1, 8, 8]  cyclegan.lee:38
        d_write_out_6 = torch.ops.aten.tanh_backward(d_reshape_5 + d_reshape_2, tanh_write_out_6)
        # [x_n, 8, 8, 8]  nn.lee:83
        d_x_3_6 = torch.nn.functional.conv_transpose2d(d_write_out_6, write_kernel, padding=1)
        d_ab_write_kernel_4 = torch.nn.grad.conv2d_weight(x_3_6, (1, 8, 3, 3), d_write_out_6, padding=1)  # [1, 8, 3, 3]
        d_second_out_8 = normalise_gradient(d_x_3_6, second_out_8, (8, 8), 1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        # [x_n, 8, 8, 8]  nn.lee:83
        d_select_8 = torch.nn.functional.conv_transpose2d(d_second_out_8, blocks_0_second_kernel, padding=1)
        # [8, 8, 3, 3]
        d_ab_blocks_0_second_kernel_4 = torch.nn.grad.conv2d_weight(select_8, (8, 8, 3, 3), d_second_out_8, padding=1)
        d_div_8 = torch.ops.aten.threshold_backward(d_select_8, select_8, 0)  # [x_n, 8, 8, 8]  prelude.lee:61
        d_first_out_8 = normalise_gradient(d_div_8, first_out_6, (8, 8), 1e-5)  # [x_n, 8, 8, 8]  cyclegan.lee:16
        # [x_n, 8, 8, 8]  nn.lee:83
        d_x_2_2_8 = torch.nn.functional.conv_transpose2d(d_first_out_8, blocks_0_first_kernel, padding=1)
        # [8, 8, 3, 3]
        d_ab_blocks_0_first_kernel_4 = torch.nn.grad.conv2d_weight(x_2_8, (8, 8, 3, 3), d_first_out_8, padding=1)
        # [x_n, 8, 8, 8]  prelude.lee:61
        d_read_out_6 = torch.ops.aten.threshold_backward(d_x_3_6 + d_x_2_2_8, x_2_8, 0)
        # [8, 1, 3, 3]  nn.lee:83
        d_ab_read_kernel_4 = torch.nn.grad.conv2d_weight(a, (8, 1, 3, 3), d_read_out_6, padding=1)
        torch.add(d_ab_read_kernel_2, d_ab_read_kernel_3, out=d_read_kernel)  # [8, 1, 3, 3]  cyclegan.lee:59
        d_read_kernel.add_(d_ab_read_kernel_4)  # [8, 1, 3, 3]
        d_ab_read_bias_2 = d_read_out_2.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        d_ab_read_bias_5 = d_ab_read_bias_2 + d_read_out_3.sum(dim=(0, 2, 3))  # [8]  cyclegan.lee:59
        torch.add(d_ab_read_bias_5, d_read_out_6.sum(dim=(0, 2, 3)), out=d_read_bias)  # [8]
        d_ab_blocks_0_first_kernel_5 = d_ab_blocks_0_first_kernel_2 + d_ab_blocks_0_first_kernel_3  # [8, 8, 3, 3]
        # [8, 8, 3, 3]
        torch.add(d_ab_blocks_0_first_kernel_5, d_ab_blocks_0_first_kernel_4, out=d_blocks_0_first_kernel)
        d_ab_blocks_0_first_bias_2 = d_first_out_2.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        d_ab_blocks_0_first_bias_3 = d_first_out_3.sum(dim=(0, 2, 3))  # [8]
        d_ab_blocks_0_first_bias_5 = d_ab_blocks_0_first_bias_2 + d_ab_blocks_0_first_bias_3  # [8]  cyclegan.lee:59
        d_ab_blocks_0_first_bias_4 = d_first_out_8.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        # [8]  cyclegan.lee:59
        torch.add(d_ab_blocks_0_first_bias_5, d_ab_blocks_0_first_bias_4, out=d_blocks_0_first_bias)
        d_ab_blocks_0_second_kernel_5 = d_ab_blocks_0_second_kernel_2 + d_ab_blocks_0_second_kernel_3  # [8, 8, 3, 3]
        # [8, 8, 3, 3]
        torch.add(d_ab_blocks_0_second_kernel_5, d_ab_blocks_0_second_kernel_4, out=d_blocks_0_second_kernel)
        d_ab_blocks_0_second_bias_2 = d_second_out_2.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        d_ab_blocks_0_second_bias_3 = d_second_out_3.sum(dim=(0, 2, 3))  # [8]
        d_ab_blocks_0_second_bias_5 = d_ab_blocks_0_second_bias_2 + d_ab_blocks_0_second_bias_3  # [8]  cyclegan.lee:59
        d_ab_blocks_0_second_bias_4 = d_second_out_8.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        # [8]  cyclegan.lee:59
        torch.add(d_ab_blocks_0_second_bias_5, d_ab_blocks_0_second_bias_4, out=d_blocks_0_second_bias)
        d_ab_write_kernel_5 = d_ab_write_kernel_2 + d_ab_write_kernel_3  # [1, 8, 3, 3]
        torch.add(d_ab_write_kernel_5, d_ab_write_kernel_4, out=d_write_kernel)  # [1, 8, 3, 3]
        d_ab_write_bias_2 = d_write_out_2.sum(dim=(0, 2, 3))  # [1]  nn.lee:112
        d_ab_write_bias_5 = d_ab_write_bias_2 + d_write_out_3.sum(dim=(0, 2, 3))  # [1]  cyclegan.lee:59
        torch.add(d_ab_write_bias_5, d_write_out_6.sum(dim=(0, 2, 3)), out=d_write_bias)  # [1]
        torch.add(d_ba_read_kernel_2, d_ba_read_kernel_3, out=d_read_kernel_)  # [8, 1, 3, 3]
        d_read_kernel_.add_(d_ba_read_kernel_4)  # [8, 1, 3, 3]
        d_ba_read_bias_3 = d_read_out_4.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        d_ba_read_bias_5 = d_read_out.sum(dim=(0, 2, 3)) + d_ba_read_bias_3  # [8]  cyclegan.lee:59
        torch.add(d_ba_read_bias_5, d_read_out_5.sum(dim=(0, 2, 3)), out=d_read_bias_)  # [8]
        d_ba_blocks_0_first_kernel_5 = d_ba_blocks_0_first_kernel_2 + d_ba_blocks_0_first_kernel_3  # [8, 8, 3, 3]
        # [8, 8, 3, 3]
        torch.add(d_ba_blocks_0_first_kernel_5, d_ba_blocks_0_first_kernel_4, out=d_blocks_0_first_kernel_)
        d_ba_blocks_0_first_bias_3 = d_first_out_4.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        d_ba_blocks_0_first_bias_5 = d_first_out.sum(dim=(0, 2, 3)) + d_ba_blocks_0_first_bias_3  # [8]  cyclegan.lee:59
        d_ba_blocks_0_first_bias_4 = d_first_out_7.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        # [8]  cyclegan.lee:59
        torch.add(d_ba_blocks_0_first_bias_5, d_ba_blocks_0_first_bias_4, out=d_blocks_0_first_bias_)
        d_ba_blocks_0_second_kernel_5 = d_ba_blocks_0_second_kernel_2 + d_ba_blocks_0_second_kernel_3  # [8, 8, 3, 3]
        # [8, 8, 3, 3]
        torch.add(d_ba_blocks_0_second_kernel_5, d_ba_blocks_0_second_kernel_4, out=d_blocks_0_second_kernel_)
        d_ba_blocks_0_second_bias_3 = d_second_out_4.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        d_ba_blocks_0_second_bias_2 = d_second_out.sum(dim=(0, 2, 3))  # [8]
        d_ba_blocks_0_second_bias_5 = d_ba_blocks_0_second_bias_2 + d_ba_blocks_0_second_bias_3  # [8]  cyclegan.lee:59
        d_ba_blocks_0_second_bias_4 = d_second_out_7.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        # [8]  cyclegan.lee:59
        torch.add(d_ba_blocks_0_second_bias_5, d_ba_blocks_0_second_bias_4, out=d_blocks_0_second_bias_)
        d_ba_write_kernel_5 = d_ba_write_kernel_2 + d_ba_write_kernel_3  # [1, 8, 3, 3]
        torch.add(d_ba_write_kernel_5, d_ba_write_kernel_4, out=d_write_kernel_)  # [1, 8, 3, 3]
        d_ba_write_bias_3 = d_write_out_4.sum(dim=(0, 2, 3))  # [1]  nn.lee:112
        d_ba_write_bias_5 = d_write_out.sum(dim=(0, 2, 3)) + d_ba_write_bias_3  # [1]  cyclegan.lee:59
        torch.add(d_ba_write_bias_5, d_write_out_5.sum(dim=(0, 2, 3)), out=d_write_bias_)  # [1]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return a, b, add + 0.5 * (div_14 + torch.abs(sub_6).sum() / scale_2)  # cyclegan.lee:64


def fit_fake(ba, b):
    """b [z_n, 1, 8, 8] -> [z_n, 1, 8, 8]"""
    fake = ba(b)  # [z_n, 1, 8, 8]  cyclegan.lee:108
    return fake  # [z_n, 1, 8, 8]


def fit_fake_2(ab, a):
    """a [x_n, 1, 8, 8] -> [x_n, 1, 8, 8]"""
    fake_2 = ab(a)  # [x_n, 1, 8, 8]  cyclegan.lee:109
    return fake_2  # [x_n, 1, 8, 8]


class FitStep3(TrainStep):
    """One step of fit for critic_a, critic_b, opt_a, opt_b: call it with a batch."""

    moved = (("opt_a", ("critic_a",)), ("opt_b", ("critic_b",)))
    counted = ("opt_a", "opt_b")
    read = (
        "critic_a.first.kernel",
        "critic_a.first.bias",
        "critic_a.second.kernel",
        "critic_a.second.bias",
        "critic_a.last.kernel",
        "critic_a.last.bias",
        "critic_b.first.kernel",
        "critic_b.first.bias",
        "critic_b.second.kernel",
        "critic_b.second.bias",
        "critic_b.last.kernel",
        "critic_b.last.bias",
    )
    spare = (None, None)

    def __init__(self, critic_a, critic_b, opt_a, opt_b):
        self.critic_a, self.critic_b, self.opt_a, self.opt_b = critic_a, critic_b, opt_a, opt_b
        self.bind()

    def numbers(self, x_n, old_a_n, z_n, old_b_n):
        return (
            4 * x_n,
            4 * old_a_n,
            2 * (0.5 / (4 * old_a_n)),
            2 * (0.5 / (4 * x_n)),
            4 * z_n,
            4 * old_b_n,
            2 * (0.5 / (4 * old_b_n)),
            2 * (0.5 / (4 * z_n)),
        )

    def constants(self):
        return (
            self.opt_a.lr,
            self.opt_a.beta1,
            self.opt_a.beta2,
            self.opt_a.eps,
            self.opt_a.weight_decay,
            self.opt_b.lr,
            self.opt_b.beta1,
            self.opt_b.beta2,
            self.opt_b.eps,
            self.opt_b.weight_decay,
        )

    def scalars(self):
        return (self.opt_a.t, self.opt_b.t)

    def step(self, a, old_a, b, old_b, t, t_):
        first_kernel, first_bias, second_kernel, second_bias, last_kernel, last_bias = self.tensors[:6]
        first_kernel_, first_bias_, second_kernel_, second_bias_, last_kernel_, last_bias_ = self.tensors[6:]
        d_first_kernel, d_first_bias, d_second_kernel, d_second_bias, d_last_kernel = self.gradients[:5]
        d_last_bias, d_first_kernel_, d_first_bias_, d_second_kernel_, d_second_bias_ = self.gradients[5:10]
        d_last_kernel_, d_last_bias_ = self.gradients[10:]
        x_n = a.shape[0]
        old_a_n = old_a.shape[0]
        z_n = b.shape[0]
        old_b_n = old_b.shape[0]
        scale, scale_, scale_2, scale_3, scale_4, scale_5, scale_6, scale_7 = self.held(x_n, old_a_n, z_n, old_b_n)
        # [x_n, 8, 4, 4]  nn.lee:112
        first_out = torch.nn.functional.conv2d(a, first_kernel, first_bias, stride=2, padding=1)
        gt_2_2 = first_out > 0  # bool[x_n, 8, 4, 4]  prelude.lee:71
        x_2_2 = torch.where(gt_2_2, first_out, 0.2 * first_out)  # [x_n, 8, 4, 4]
        # [x_n, 16, 2, 2]  nn.lee:112
        second_out_2 = torch.nn.functional.conv2d(x_2_2, second_kernel, second_bias, stride=2, padding=1)
        div_2_2 = torch.nn.functional.layer_norm(second_out_2, (2, 2), eps=1e-5)  # [x_n, 16, 2, 2]  cyclegan.lee:16
        gt = div_2_2 > 0  # bool[x_n, 16, 2, 2]  prelude.lee:71
        select = torch.where(gt, div_2_2, 0.2 * div_2_2)  # [x_n, 16, 2, 2]
        y_2_3 = torch.nn.functional.conv2d(select, last_kernel, padding=1)  # [x_n, 1, 2, 2]  nn.lee:83
        sub = (y_2_3 + last_bias).reshape(x_n, 2, 2) - 1  # [x_n, 2, 2]  cyclegan.lee:54
        # [old_a_n, 8, 4, 4]  nn.lee:112
        first_out_2 = torch.nn.functional.conv2d(old_a, first_kernel, first_bias, stride=2, padding=1)
        gt_2 = first_out_2 > 0  # bool[old_a_n, 8, 4, 4]  prelude.lee:71
        x_2 = torch.where(gt_2, first_out_2, 0.2 * first_out_2)  # [old_a_n, 8, 4, 4]
        # [old_a_n, 16, 2, 2]  nn.lee:112
        second_out = torch.nn.functional.conv2d(x_2, second_kernel, second_bias, stride=2, padding=1)
        div_3 = torch.nn.functional.layer_norm(second_out, (2, 2), eps=1e-5)  # [old_a_n, 16, 2, 2]  cyclegan.lee:16
        gt_3 = div_3 > 0  # bool[old_a_n, 16, 2, 2]  prelude.lee:71
        select_2 = torch.where(gt_3, div_3, 0.2 * div_3)  # [old_a_n, 16, 2, 2]
        y_2_3_2 = torch.nn.functional.conv2d(select_2, last_kernel, padding=1)  # [old_a_n, 1, 2, 2]  nn.lee:83
        sub_2 = (y_2_3_2 + last_bias).reshape(old_a_n, 2, 2) - 0  # [old_a_n, 2, 2]  cyclegan.lee:54
        add = (sub * sub).sum() / scale + (sub_2 * sub_2).sum() / scale_  # cyclegan.lee:68
        d_last_out = (scale_2 * sub_2)[:, None]  # [old_a_n, 1, 2, 2]  cyclegan.lee:49
        # [old_a_n, 16, 2, 2]  nn.lee:83
        d_select = torch.nn.functional.conv_transpose2d(d_last_out, last_kernel, padding=1)
        # [1, 16, 3, 3]
        d_critic_last_kernel_2 = torch.nn.grad.conv2d_weight(select_2, (1, 16, 3, 3), d_last_out, padding=1)
        d_x_2_2 = torch.ops.aten.threshold_backward(d_select, div_3, 0)  # [old_a_n, 16, 2, 2]  prelude.lee:71
        d_loss_1 = d_x_2_2 + torch.where(gt_3, 0, d_select * 0.2)  # [old_a_n, 16, 2, 2]
        d_second_out = normalise_gradient(d_loss_1, second_out, (2, 2), 1e-5)  # [old_a_n, 16, 2, 2]  cyclegan.lee:16
        # [old_a_n, 8, 4, 4]  nn.lee:83
        d_x_2 = torch.nn.functional.conv_transpose2d(d_second_out, second_kernel, stride=2, padding=1)
        # [16, 8, 4, 4]
        d_critic_second_kernel_2 = torch.nn.grad.conv2d_weight(x_2, (16, 8, 4, 4), d_second_out, stride=2, padding=1)
        d_x_2_3 = torch.ops.aten.threshold_backward(d_x_2, first_out_2, 0)  # [old_a_n, 8, 4, 4]  prelude.lee:71
        d_first_out = d_x_2_3 + torch.where(gt_2, 0, d_x_2 * 0.2)  # [old_a_n, 8, 4, 4]
        # [8, 1, 4, 4]  nn.lee:83
        d_critic_first_kernel_2 = torch.nn.grad.conv2d_weight(old_a, (8, 1, 4, 4), d_first_out, stride=2, padding=1)
        d_last_out_2 = (scale_3 * sub)[:, None]  # [x_n, 1, 2, 2]  cyclegan.lee:49
        # [x_n, 16, 2, 2]  nn.lee:83
        d_select_2 = torch.nn.functional.conv_transpose2d(d_last_out_2, last_kernel, padding=1)
        # [1, 16, 3, 3]
        d_critic_last_kernel_3 = torch.nn.grad.conv2d_weight(select, (1, 16, 3, 3), d_last_out_2, padding=1)
        d_x_2_2_2 = torch.ops.aten.threshold_backward(d_select_2, div_2_2, 0)  # [x_n, 16, 2, 2]  prelude.lee:71
        d_div_3 = d_x_2_2_2 + torch.where(gt, 0, d_select_2 * 0.2)  # [x_n, 16, 2, 2]
        d_second_out_2 = normalise_gradient(d_div_3, second_out_2, (2, 2), 1e-5)  # [x_n, 16, 2, 2]  cyclegan.lee:16
        # [x_n, 8, 4, 4]  nn.lee:83
        d_x_2_4 = torch.nn.functional.conv_transpose2d(d_second_out_2, second_kernel, stride=2, padding=1)
        # [16, 8, 4, 4]
        d_critic_second_kernel_3 = torch.nn.grad.conv2d_weight(
            x_2_2, (16, 8, 4, 4), d_second_out_2, stride=2, padding=1
        )
        d_x_2_3_2 = torch.ops.aten.threshold_backward(d_x_2_4, first_out, 0)  # [x_n, 8, 4, 4]  prelude.lee:71
        d_first_out_2 = d_x_2_3_2 + torch.where(gt_2_2, 0, d_x_2_4 * 0.2)  # [x_n, 8, 4, 4]
        # [8, 1, 4, 4]  nn.lee:83
        d_critic_first_kernel_3 = torch.nn.grad.conv2d_weight(a, (8, 1, 4, 4), d_first_out_2, stride=2, padding=1)
        torch.add(d_critic_first_kernel_2, d_critic_first_kernel_3, out=d_first_kernel)  # [8, 1, 4, 4]  cyclegan.lee:68
        d_critic_first_bias_3 = d_first_out_2.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        torch.sum(d_first_out, dim=(0, 2, 3), out=d_first_bias)  # [8]  cyclegan.lee:68
        d_first_bias.add_(d_critic_first_bias_3)  # [8]
        torch.add(d_critic_second_kernel_2, d_critic_second_kernel_3, out=d_second_kernel)  # [16, 8, 4, 4]
        d_critic_second_bias_3 = d_second_out_2.sum(dim=(0, 2, 3))  # [16]  nn.lee:112
        torch.sum(d_second_out, dim=(0, 2, 3), out=d_second_bias)  # [16]  cyclegan.lee:68
        d_second_bias.add_(d_critic_second_bias_3)  # [16]
        torch.add(d_critic_last_kernel_2, d_critic_last_kernel_3, out=d_last_kernel)  # [1, 16, 3, 3]
        d_critic_last_bias_3 = d_last_out_2.sum(dim=(0, 2, 3))  # [1]  nn.lee:112
        torch.sum(d_last_out, dim=(0, 2, 3), out=d_last_bias)  # [1]  cyclegan.lee:68
        d_last_bias.add_(d_critic_last_bias_3)  # [1]
        lr = self.opt_a.lr
        beta1 = self.opt_a.beta1
        beta2 = self.opt_a.beta2
        eps = self.opt_a.eps
        weight_decay = self.opt_a.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        # [z_n, 8, 4, 4]  nn.lee:112
        first_out_3 = torch.nn.functional.conv2d(b, first_kernel_, first_bias_, stride=2, padding=1)
        gt_2_2_2 = first_out_3 > 0  # bool[z_n, 8, 4, 4]  prelude.lee:71
        x_2_2_2 = torch.where(gt_2_2_2, first_out_3, 0.2 * first_out_3)  # [z_n, 8, 4, 4]
        # [z_n, 16, 2, 2]  nn.lee:112
        second_out_2_2 = torch.nn.functional.conv2d(x_2_2_2, second_kernel_, second_bias_, stride=2, padding=1)
        div_2_4 = torch.nn.functional.layer_norm(second_out_2_2, (2, 2), eps=1e-5)  # [z_n, 16, 2, 2]  cyclegan.lee:16
        gt_3_2 = div_2_4 > 0  # bool[z_n, 16, 2, 2]  prelude.lee:71
        select_2_2 = torch.where(gt_3_2, div_2_4, 0.2 * div_2_4)  # [z_n, 16, 2, 2]
        y_2_3_3 = torch.nn.functional.conv2d(select_2_2, last_kernel_, padding=1)  # [z_n, 1, 2, 2]  nn.lee:83
        sub_2_2 = (y_2_3_3 + last_bias_).reshape(z_n, 2, 2) - 1  # [z_n, 2, 2]  cyclegan.lee:54
        # [old_b_n, 8, 4, 4]  nn.lee:112
        first_out_2_2 = torch.nn.functional.conv2d(old_b, first_kernel_, first_bias_, stride=2, padding=1)
        gt_2_3 = first_out_2_2 > 0  # bool[old_b_n, 8, 4, 4]  prelude.lee:71
        x_2_3 = torch.where(gt_2_3, first_out_2_2, 0.2 * first_out_2_2)  # [old_b_n, 8, 4, 4]
        # [old_b_n, 16, 2, 2]  nn.lee:112
        second_out_3 = torch.nn.functional.conv2d(x_2_3, second_kernel_, second_bias_, stride=2, padding=1)
        div_3_2 = torch.nn.functional.layer_norm(second_out_3, (2, 2), eps=1e-5)  # [old_b_n, 16, 2, 2]  cyclegan.lee:16
        gt_4 = div_3_2 > 0  # bool[old_b_n, 16, 2, 2]  prelude.lee:71
        select_3 = torch.where(gt_4, div_3_2, 0.2 * div_3_2)  # [old_b_n, 16, 2, 2]
        y_2_3_2_2 = torch.nn.functional.conv2d(select_3, last_kernel_, padding=1)  # [old_b_n, 1, 2, 2]  nn.lee:83
        sub_3 = (y_2_3_2_2 + last_bias_).reshape(old_b_n, 2, 2) - 0  # [old_b_n, 2, 2]  cyclegan.lee:54
        div_8 = (sub_2_2 * sub_2_2).sum() / scale_4
        d_last_out_3 = (scale_6 * sub_3)[:, None]  # [old_b_n, 1, 2, 2]  cyclegan.lee:49
        # [old_b_n, 16, 2, 2]  nn.lee:83
        d_select_3 = torch.nn.functional.conv_transpose2d(d_last_out_3, last_kernel_, padding=1)
        # [1, 16, 3, 3]
        d_critic_last_kernel_2_2 = torch.nn.grad.conv2d_weight(select_3, (1, 16, 3, 3), d_last_out_3, padding=1)
        d_x_2_2_3 = torch.ops.aten.threshold_backward(d_select_3, div_3_2, 0)  # [old_b_n, 16, 2, 2]  prelude.lee:71
        d_div_2_2 = d_x_2_2_3 + torch.where(gt_4, 0, d_select_3 * 0.2)  # [old_b_n, 16, 2, 2]
        # [old_b_n, 16, 2, 2]  cyclegan.lee:16
        d_second_out_3 = normalise_gradient(d_div_2_2, second_out_3, (2, 2), 1e-5)
        # [old_b_n, 8, 4, 4]  nn.lee:83
        d_x_2_5 = torch.nn.functional.conv_transpose2d(d_second_out_3, second_kernel_, stride=2, padding=1)
        # [16, 8, 4, 4]
        d_critic_second_kernel_2_2 = torch.nn.grad.conv2d_weight(
            x_2_3, (16, 8, 4, 4), d_second_out_3, stride=2, padding=1
        )
        d_x_2_3_3 = torch.ops.aten.threshold_backward(d_x_2_5, first_out_2_2, 0)  # [old_b_n, 8, 4, 4]  prelude.lee:71
        d_first_out_3 = d_x_2_3_3 + torch.where(gt_2_3, 0, d_x_2_5 * 0.2)  # [old_b_n, 8, 4, 4]
        # [8, 1, 4, 4]  nn.lee:83
        d_critic_first_kernel_2_2 = torch.nn.grad.conv2d_weight(old_b, (8, 1, 4, 4), d_first_out_3, stride=2, padding=1)
        d_last_out_2_2 = (scale_7 * sub_2_2)[:, None]  # [z_n, 1, 2, 2]  cyclegan.lee:49
        # [z_n, 16, 2, 2]  nn.lee:83
        d_select_2_2 = torch.nn.functional.conv_transpose2d(d_last_out_2_2, last_kernel_, padding=1)
        # [1, 16, 3, 3]
        d_critic_last_kernel_3_2 = torch.nn.grad.conv2d_weight(select_2_2, (1, 16, 3, 3), d_last_out_2_2, padding=1)
        d_x_2_2_2_2 = torch.ops.aten.threshold_backward(d_select_2_2, div_2_4, 0)  # [z_n, 16, 2, 2]  prelude.lee:71
        d_div_3_2 = d_x_2_2_2_2 + torch.where(gt_3_2, 0, d_select_2_2 * 0.2)  # [z_n, 16, 2, 2]
        # [z_n, 16, 2, 2]  cyclegan.lee:16
        d_second_out_2_2 = normalise_gradient(d_div_3_2, second_out_2_2, (2, 2), 1e-5)
        # [z_n, 8, 4, 4]  nn.lee:83
        d_x_2_4_2 = torch.nn.functional.conv_transpose2d(d_second_out_2_2, second_kernel_, stride=2, padding=1)
        # [16, 8, 4, 4]
        d_critic_second_kernel_3_2 = torch.nn.grad.conv2d_weight(
            x_2_2_2, (16, 8, 4, 4), d_second_out_2_2, stride=2, padding=1
        )
        d_x_2_3_2_2 = torch.ops.aten.threshold_backward(d_x_2_4_2, first_out_3, 0)  # [z_n, 8, 4, 4]  prelude.lee:71
        d_first_out_2_2 = d_x_2_3_2_2 + torch.where(gt_2_2_2, 0, d_x_2_4_2 * 0.2)  # [z_n, 8, 4, 4]
        # [8, 1, 4, 4]  nn.lee:83
        d_critic_first_kernel_3_2 = torch.nn.grad.conv2d_weight(b, (8, 1, 4, 4), d_first_out_2_2, stride=2, padding=1)
        # [8, 1, 4, 4]  cyclegan.lee:68
        torch.add(d_critic_first_kernel_2_2, d_critic_first_kernel_3_2, out=d_first_kernel_)
        d_critic_first_bias_3_2 = d_first_out_2_2.sum(dim=(0, 2, 3))  # [8]  nn.lee:112
        torch.sum(d_first_out_3, dim=(0, 2, 3), out=d_first_bias_)  # [8]  cyclegan.lee:68
        d_first_bias_.add_(d_critic_first_bias_3_2)  # [8]
        torch.add(d_critic_second_kernel_2_2, d_critic_second_kernel_3_2, out=d_second_kernel_)  # [16, 8, 4, 4]
        d_critic_second_bias_3_2 = d_second_out_2_2.sum(dim=(0, 2, 3))  # [16]  nn.lee:112
        torch.sum(d_second_out_3, dim=(0, 2, 3), out=d_second_bias_)  # [16]  cyclegan.lee:68
        d_second_bias_.add_(d_critic_second_bias_3_2)  # [16]
        torch.add(d_critic_last_kernel_2_2, d_critic_last_kernel_3_2, out=d_last_kernel_)  # [1, 16, 3, 3]
        d_critic_last_bias_3_2 = d_last_out_2_2.sum(dim=(0, 2, 3))  # [1]  nn.lee:112
        torch.sum(d_last_out_3, dim=(0, 2, 3), out=d_last_bias_)  # [1]  cyclegan.lee:68
        d_last_bias_.add_(d_critic_last_bias_3_2)  # [1]
        lr = self.opt_b.lr
        beta1 = self.opt_b.beta1
        beta2 = self.opt_b.beta2
        eps = self.opt_b.eps
        weight_decay = self.opt_b.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        return add / 2, (div_8 + (sub_3 * sub_3).sum() / scale_5) / 2


def fit_made_untouched_translated(ba, other_test_x, reader, other_test_y):
    """other_test_x [other_test_n, 1, 8, 8], other_test_y int[other_test_n] -> [other_test_n, 1, 8, 8], [], []"""
    other_test_n = other_test_x.shape[0]
    made = (ba(2 * other_test_x - 1) + 1) / 2  # [other_test_n, 1, 8, 8]  cyclegan.lee:112
    untouched = accuracy(reader(other_test_x.reshape(other_test_n, 64)), other_test_y)  # cyclegan.lee:113
    translated = accuracy(reader(made.reshape(other_test_n, 64)), other_test_y)  # cyclegan.lee:114
    return made, untouched, translated


def fit_gap(made, plain_test_x):
    """made [other_test_n, 1, 8, 8], plain_test_x [plain_test_n, 1, 8, 8] -> []"""
    other_test_n = made.shape[0]
    plain_test_n = plain_test_x.shape[0]
    if other_test_n != plain_test_n:
        raise ValueError(f"cyclegan.lee:115: other_test_n = {other_test_n} must equal plain_test_n = {plain_test_n}")
    sub = made - plain_test_x.reshape(other_test_n, 1, 8, 8)  # [other_test_n, 1, 8, 8]  cyclegan.lee:115
    return torch.abs(sub).mean()


def example_translated(key):
    ab = Translator_2(channels=2, width=4, key=fold(key, SITES["ab"]))  # cyclegan.lee:120
    ba = Translator_2(channels=2, width=4, key=fold(key, SITES["ba"]))  # cyclegan.lee:121
    critic_a = Critic(channels=2, width=3, key=fold(key, SITES["critic_a"]))  # cyclegan.lee:122
    critic_b = Critic(channels=2, width=3, key=fold(key, SITES["critic_b"]))  # cyclegan.lee:123
    a = -1 + 2 * uniform(fold(key, SITES["a"]), (3, 2, 8, 8), FLOAT)  # [3, 2, 8, 8]  cyclegan.lee:124
    b = -1 + 2 * uniform(fold(key, SITES["b"]), (2, 2, 8, 8), FLOAT)  # [2, 2, 8, 8]  cyclegan.lee:125
    add_2, saved_translators = translators_saved(ab, ba, critic_a, critic_b, a, b)  # cyclegan.lee:126
    reshape, saved_ba = ba.forward_saved(b)
    div, saved_judged = judged_saved(critic_a, a, reshape)
    d_value = torch.ones((), dtype=FLOAT)
    d_critic_a, d_a_2, d_reshape = judged_backward(critic_a, a, reshape, saved_judged, d_value)
    d_ba, d_b_2 = ba.forward_backward(b, saved_ba, d_reshape)
    d_ab, d_ba_, d_critic_a_, d_critic_b, d_a_3, d_b_3 = translators_backward(
        ab, ba, critic_a, critic_b, a, b, 5.0, 0.5, saved_translators, d_value
    )
    kernel_8 = d_ba["blocks.0"]["first"]["kernel"] + d_ba_["blocks.0"]["first"]["kernel"]  # [4, 4, 3, 3]
    bias_8 = d_ba["blocks.0"]["first"]["bias"] + d_ba_["blocks.0"]["first"]["bias"]  # [4]
    kernel_9 = d_ba["blocks.0"]["second"]["kernel"] + d_ba_["blocks.0"]["second"]["kernel"]  # [4, 4, 3, 3]
    bias_9 = d_ba["blocks.0"]["second"]["bias"] + d_ba_["blocks.0"]["second"]["bias"]  # [4]
    kernel_10 = d_ba["blocks.1"]["first"]["kernel"] + d_ba_["blocks.1"]["first"]["kernel"]  # [4, 4, 3, 3]
    bias_10 = d_ba["blocks.1"]["first"]["bias"] + d_ba_["blocks.1"]["first"]["bias"]  # [4]
    kernel_11 = d_ba["blocks.1"]["second"]["kernel"] + d_ba_["blocks.1"]["second"]["kernel"]  # [4, 4, 3, 3]
    bias_11 = d_ba["blocks.1"]["second"]["bias"] + d_ba_["blocks.1"]["second"]["bias"]  # [4]
    kernel_13 = d_critic_a["first"]["kernel"] + d_critic_a_["first"]["kernel"]  # [3, 2, 4, 4]
    kernel_14 = d_critic_a["second"]["kernel"] + d_critic_a_["second"]["kernel"]  # [6, 3, 4, 4]
    return (
        add_2 + div,
        ab.at(d_ab),
        ab.at(
            {
                "read": {
                    "kernel": d_ba["read"]["kernel"] + d_ba_["read"]["kernel"],
                    "bias": d_ba["read"]["bias"] + d_ba_["read"]["bias"],
                },
                "blocks.0": {
                    "first": {"kernel": kernel_8, "bias": bias_8},
                    "second": {"kernel": kernel_9, "bias": bias_9},
                },
                "blocks.1": {
                    "first": {"kernel": kernel_10, "bias": bias_10},
                    "second": {"kernel": kernel_11, "bias": bias_11},
                },
                "write": {
                    "kernel": d_ba["write"]["kernel"] + d_ba_["write"]["kernel"],
                    "bias": d_ba["write"]["bias"] + d_ba_["write"]["bias"],
                },
            }
        ),
        critic_a.at(
            {
                "first": {"kernel": kernel_13, "bias": d_critic_a["first"]["bias"] + d_critic_a_["first"]["bias"]},
                "second": {"kernel": kernel_14, "bias": d_critic_a["second"]["bias"] + d_critic_a_["second"]["bias"]},
                "last": {
                    "kernel": d_critic_a["last"]["kernel"] + d_critic_a_["last"]["kernel"],
                    "bias": d_critic_a["last"]["bias"] + d_critic_a_["last"]["bias"],
                },
            }
        ),
        critic_a.at(d_critic_b),
        d_a_2 + d_a_3,
        d_b_2 + d_b_3,
    )


def example_by_itself(key):
    """A bright image and a dark one are alike after normalisation, whatever is added and multiplied."""
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  cyclegan.lee:131
    div_5 = standard(x)  # [2, 3, 4, 5]  cyclegan.lee:133
    mul = div_5**2  # [2, 3, 4, 5]
    return (mul * div_5).sum(), standard_backward(x, 1e-5, 2 * mul + mul)


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
        x_2 = relu_2(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    # [n, o, out_h, out_w]  nn.lee:83
    y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    _, c, h, w = x.shape
    o, _, kh, kw = kernel.shape
    _, _, out_h, out_w = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=(
            dilation + h + 2 * padding + stride - dilation * kh - out_h * stride - 1,
            dilation + 2 * padding + stride + w - dilation * kw - out_w * stride - 1,
        ),
        dilation=dilation,
    )
    # [o, c, kh, kw]
    d_kernel = torch.nn.grad.conv2d_weight(x, (o, c, kh, kw), d_y, stride=stride, padding=padding, dilation=dilation)
    return d_x, d_kernel


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:107
        self.kernel = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [outputs, inputs, k, k]  nn.lee:105
        self.bias = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:107

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2 + self.bias[:, None, None]  # [n, outputs, out_h, out_w]  nn.lee:112

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


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

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def leaky_relu(x, slope=0.01):
    """x where it is positive, else slope · x.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    gt = x > 0  # bool[x_0, x_1, x_2, x_3]  prelude.lee:71
    return torch.where(gt, x, slope * torch.where(~gt, x, x.detach()))  # [x_0, x_1, x_2, x_3]


def leaky_relu_saved(x, slope=0.01):
    """As leaky_relu, and what its gradient needs."""
    gt = x > 0  # bool[x_0, x_1, x_2, x_3]  prelude.lee:71
    return torch.where(gt, x, slope * x), gt


def leaky_relu_backward(slope, gt, d_y):
    """From d_y to the gradient by x."""
    d_x = torch.where(gt, d_y, 0) + torch.where(gt, 0, d_y * slope)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "ab": 0x8810DE87F1B5520E,
    "b": 0x754F854DE3C27284,
    "ba": 0x7A6C1A99406B3FEE,
    "bias": 0x7246FEB96AC500B4,
    "blocks.0": 0x6CE3212D64C10C6D,
    "blocks.1": 0xD0D0BD5FB969D595,
    "coin": 0x903D9983BA03DE14,
    "critic_a": 0xFC6312FA098B9E69,
    "critic_b": 0xC45EB2A6FBE2E2BC,
    "first": 0xA31DFC4F51C2A8A2,
    "kernel": 0x273FEA903E119357,
    "last": 0x840C26AC856B94B1,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "read": 0xCF660812E3283339,
    "second": 0xF4C52D43B87F6485,
    "slot": 0xC4625598645E759B,
    "w": 0x20925082A2286B9E,
    "write": 0x931A160AFD5D0A8C,
    "x": 0x4F586EF96743DF4A,
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
