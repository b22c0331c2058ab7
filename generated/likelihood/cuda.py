"""Generation by likelihood (inventory H1 to H10): pixel by pixel, by a latent code, by invertible maps.

Made from specs/generative/likelihood.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generative/likelihood.lee
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


class PixelRNN(Model):
    """The next of all earlier pixels; each is one of some grey levels."""

    members = ("embed", "inner", "out")

    def __init__(self, levels, hidden, *, key=(0, 0)):
        super().__init__()
        self.levels, self.hidden = levels, hidden
        # [levels, hidden]  likelihood.lee:14
        self.embed = torch.nn.Parameter(0.3 * normal(fold(key, SITES["embed"]), (levels, hidden), FLOAT))
        self.inner = Linear(hidden, hidden, key=fold(key, SITES["inner"]))  # likelihood.lee:15
        self.out = Linear(hidden, levels, key=fold(key, SITES["out"]))  # likelihood.lee:16

    def step(self, h, pixel):
        """h [n, hidden], pixel int[n] -> [n, hidden]"""
        return torch.tanh(self.inner(h) + self.embed[pixel])  # [n, hidden]  likelihood.lee:19

    def step_backward(self, h, pixel, tanh, d_y):
        """From d_y to the gradients by the parameters and h."""
        # gradient of return tanh(inner(h) + embed[pixel])   likelihood.lee:19
        d_add_2 = d_y * (1 - tanh**2)  # [n, hidden]
        d_embed = scatter_add(d_add_2, (pixel,), (self.levels, self.hidden))  # [levels, hidden]
        d_inner, d_h = self.inner.forward_backward(h, d_add_2)
        return {"embed": d_embed, "inner": d_inner}, d_h

    def forward_step(self, h, z, x_t, t):
        """h [n, hidden], z [n, time, levels], x_t int[n] -> [n, hidden], [n, time, levels]"""
        n = h.shape[0]
        time = z.shape[1]
        h_3 = self.step(h, x_t)  # [n, hidden]  likelihood.lee:26
        # bool[n, 1, levels]  likelihood.lee:27
        fill = torch.full((n, 1, self.levels), True, dtype=torch.bool, device=h.device)
        # bool[n, time, levels]
        unslice_ = unslice(fill, (n, time, self.levels), (slice(0, n), slice(t, t + 1), slice(0, self.levels)))
        reshape = self.out(h_3)[:, None]  # [n, 1, levels]
        # [n, time, levels]
        unslice_2 = unslice(reshape, (n, time, self.levels), (slice(0, n), slice(t, t + 1), slice(0, self.levels)))
        z_3 = torch.where(unslice_, unslice_2, z)  # [n, time, levels]
        return h_3, z_3

    def forward_step_saved(self, h, z, x_t, t):
        """As forward_step, and what its gradient needs."""
        n = h.shape[0]
        time = z.shape[1]
        h_3 = self.step(h, x_t)  # [n, hidden]  likelihood.lee:26
        # bool[n, 1, levels]  likelihood.lee:27
        fill = torch.full((n, 1, self.levels), True, dtype=torch.bool, device=h.device)
        # bool[n, time, levels]
        unslice_ = unslice(fill, (n, time, self.levels), (slice(0, n), slice(t, t + 1), slice(0, self.levels)))
        reshape = self.out(h_3)[:, None]  # [n, 1, levels]
        # [n, time, levels]
        unslice_2 = unslice(reshape, (n, time, self.levels), (slice(0, n), slice(t, t + 1), slice(0, self.levels)))
        z_3 = torch.where(unslice_, unslice_2, z)  # [n, time, levels]
        return h_3, z_3, (h, h_3)

    def forward_step_backward(self, saved, x_t, t, d_h_3, d_z_3, d_self):
        """From d_h_3, d_z_3 and d_self to the gradients by h, z, the parameters, inner.b and out.b."""
        h, h_3 = saved
        n = h.shape[0]
        time = d_z_3.shape[1]
        # gradient of z[:, t] = out(h)   likelihood.lee:27
        fill = torch.full((n, 1, self.levels), True, dtype=torch.bool, device=h.device)  # bool[n, 1, levels]
        # bool[n, time, levels]
        unslice_ = unslice(fill, (n, time, self.levels), (slice(0, n), slice(t, t + 1), slice(0, self.levels)))
        d_z = torch.where(unslice_, 0, d_z_3)  # [n, time, levels]
        d_out, d_h_3_3 = self.out.forward_backward(h_3, torch.where(unslice_, d_z_3, 0)[:, t])
        # gradient of h = step(h, x[:, t])   likelihood.lee:26
        d_h_3_2 = d_h_3 + d_h_3_3  # [n, hidden]
        d_pixelrnn, d_h = self.step_backward(h, x_t, h_3, d_h_3_2)
        # gradient of z[:, t] = out(h)   likelihood.lee:27
        return (
            d_h,
            d_z,
            {
                "embed": d_self["embed"] + d_pixelrnn["embed"],
                "inner": {"w": d_self["inner"]["w"] + d_pixelrnn["inner"]["w"]},
                "out": {"w": d_self["out"]["w"] + d_out["w"]},
            },
            d_pixelrnn["inner"]["b"],
            d_out["b"],
        )

    def forward(self, x):
        """The scores of what follows each pixel.

        x int[n, time] -> [n, time, levels]
        """
        n, time = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  likelihood.lee:23
        z = torch.zeros((n, time, self.levels), dtype=FLOAT, device=x.device)  # [n, time, levels]  likelihood.lee:24
        # likelihood.lee:25
        for t in range(time):
            h, z = self.forward_step(h, z, x[:, t], t)
        return z  # [n, time, levels]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  likelihood.lee:23
        z = torch.zeros((n, time, self.levels), dtype=FLOAT, device=x.device)  # [n, time, levels]  likelihood.lee:24
        saved_forward_step = [None] * time  # likelihood.lee:25
        for t in range(time):
            h, z, saved_forward_step[t] = self.forward_step_saved(h, z, x[:, t], t)
        return z, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_z_4):
        """From d_z_4 to the gradient by the parameters."""
        n, time = x.shape
        # gradient of for t in time:   likelihood.lee:25
        d_embed_2 = torch.zeros((self.levels, self.hidden), dtype=FLOAT, device=x.device)  # [levels, hidden]
        d_inner_w_2 = torch.zeros((self.hidden, self.hidden), dtype=FLOAT, device=x.device)  # [hidden, hidden]
        d_out_w_2 = torch.zeros((self.hidden, self.levels), dtype=FLOAT, device=x.device)  # [hidden, levels]
        d_h_3 = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_self = {"embed": d_embed_2, "inner": {"w": d_inner_w_2}, "out": {"w": d_out_w_2}}
        d_inner_b_rows = [None] * time
        d_out_b_rows = [None] * time
        for t in reversed(range(time)):
            d_h_3, d_z_4, d_self, d_inner_b_rows[t], d_out_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], t, d_h_3, d_z_4, d_self
            )
        d_inner_b_rows = (
            torch.stack(d_inner_b_rows, 0)
            if d_inner_b_rows
            else torch.zeros((time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_out_b_rows = (
            torch.stack(d_out_b_rows, 0)
            if d_out_b_rows
            else torch.zeros((time, self.levels), dtype=FLOAT, device=x.device)
        )
        d_inner_b = d_inner_b_rows.sum(dim=0)  # [hidden]
        d_out_b = d_out_b_rows.sum(dim=0)  # [levels]
        return {
            "embed": d_self["embed"],
            "inner": {"w": d_self["inner"]["w"], "b": d_inner_b},
            "out": {"w": d_self["out"]["w"], "b": d_out_b},
        }


def PixelRNN_forward_step_saved_in_step(self_, h, z, x_t, t):
    """As forward_step, and what its gradient needs."""
    n = h.shape[0]
    _, time, levels = z.shape
    inner_out = torch.addmm(self_.inner.b, h, self_.inner.w)  # [n, hidden]  nn.lee:21
    h_3 = torch.tanh(inner_out + self_.embed[x_t])  # [n, hidden]  likelihood.lee:19
    fill = torch.full((n, 1, levels), True, dtype=torch.bool, device=h.device)  # bool[n, 1, levels]  likelihood.lee:27
    # bool[n, time, levels]
    unslice_ = unslice(fill, (n, time, levels), (slice(0, n), slice(t, t + 1), slice(0, levels)))
    reshape = torch.addmm(self_.out.b, h_3, self_.out.w)[:, None]  # [n, 1, levels]
    # [n, time, levels]
    unslice_2 = unslice(reshape, (n, time, levels), (slice(0, n), slice(t, t + 1), slice(0, levels)))
    z_3 = torch.where(unslice_, unslice_2, z)  # [n, time, levels]
    return h_3, z_3, (h, h_3)


def PixelRNN_forward_step_backward_in_step(self_, saved, x_t, t, d_h_3, d_z_3, d_self):
    """From d_h_3, d_z_3 and d_self to the gradients by h, z, the parameters, inner.b and out.b."""
    h, h_3 = saved
    n, hidden = h.shape
    _, time, levels = d_z_3.shape
    # gradient of z[:, t] = out(h)   likelihood.lee:27
    fill = torch.full((n, 1, levels), True, dtype=torch.bool, device=h.device)  # bool[n, 1, levels]
    # bool[n, time, levels]
    unslice_ = unslice(fill, (n, time, levels), (slice(0, n), slice(t, t + 1), slice(0, levels)))
    d_z = torch.where(unslice_, 0, d_z_3)  # [n, time, levels]
    d_out_out = torch.where(unslice_, d_z_3, 0.0)[:, t]  # [n, levels]
    # gradient of return x @ w + b   nn.lee:21
    d_out_b = d_out_out.sum(dim=0)  # [levels]
    d_out_w = h_3.T @ d_out_out  # [hidden, levels]
    # gradient of h = step(h, x[:, t])   likelihood.lee:26
    d_h_3_2 = d_h_3 + d_out_out @ self_.out.w.T  # [n, hidden]
    # gradient of return tanh(inner(h) + embed[pixel])   likelihood.lee:19
    d_add_2 = d_h_3_2 * (1 - h_3 * h_3)  # [n, hidden]
    d_embed = scatter_add(d_add_2, (x_t,), (levels, hidden))  # [levels, hidden]
    # gradient of return x @ w + b   nn.lee:21
    d_inner_b = d_add_2.sum(dim=0)  # [hidden]
    d_h = d_add_2 @ self_.inner.w.T  # [n, hidden]
    d_inner_w = h.T @ d_add_2  # [hidden, hidden]
    # gradient of z[:, t] = out(h)   likelihood.lee:27
    return (
        d_h,
        d_z,
        {
            "embed": d_self["embed"] + d_embed,
            "inner": {"w": d_self["inner"]["w"] + d_inner_w},
            "out": {"w": d_self["out"]["w"] + d_out_w},
        },
        d_inner_b,
        d_out_b,
    )


def next_pixel(net, x):
    """The first pixel is given; what follows the last one is not asked.

    x int[n, time] -> []
    """
    n, time = x.shape
    z = net(x)  # [n, time, net.levels]  likelihood.lee:33
    reshape = z[:, : time - 1].reshape(n * time - n, net.levels)  # [n * time - n, net.levels]  likelihood.lee:34
    return cross_entropy(reshape, x[:, 1:].reshape(n * time - n))


def next_pixel_saved(net, x):
    """As next_pixel, and what its gradient needs."""
    n, time = x.shape
    z, saved_net = net.forward_saved(x)  # likelihood.lee:33
    reshape = z[:, : time - 1].reshape(n * time - n, net.levels)  # [n * time - n, net.levels]  likelihood.lee:34
    return cross_entropy(reshape, x[:, 1:].reshape(n * time - n)), (saved_net, reshape)


def next_pixel_backward(net, x, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, reshape = saved
    n, time = x.shape
    # gradient of return cross_entropy(z[:, : time - 1], x[:, 1:])   likelihood.lee:34
    d_reshape = cross_entropy_backward(reshape, x[:, 1:].reshape(n * time - n), d_y)  # [n * time - n, net.levels]
    d_slice = d_reshape.reshape(n, time - 1, net.levels)  # [n, time - 1, net.levels]
    # [n, time, net.levels]
    d_z = unslice(d_slice, (n, time, net.levels), (slice(0, n), slice(0, time - 1), slice(0, net.levels)))
    # gradient of z = net(x)   likelihood.lee:33
    d_net = net.forward_backward(x, saved_net, d_z)
    return d_net


def painted(net, first, luck):
    """Each pixel is drawn from its distribution: the largest score instead would let the first pixel decide all.

    A uniform number says between which sums of probabilities the pixel lies.

    first int[n], luck [n, time] -> int[n, time]
    """
    n = first.shape[0]
    time = luck.shape[1]
    h = torch.zeros((n, net.hidden), dtype=FLOAT, device=first.device)  # [n, net.hidden]  likelihood.lee:42
    image = torch.zeros((n, time), dtype=torch.int64, device=first.device)  # int[n, time]  likelihood.lee:44
    # likelihood.lee:45
    for t in range(time):
        h, image, first = painted_step(net, h, image, first, luck[:, t], t)
    return image  # int[n, time]


def painted_step(net, h, image, pixel, luck_t, t):
    """h [n, net.hidden], image int[n, time], pixel int[n], luck_t [n] -> [n, net.hidden], int[n, time], int[n]"""
    n = h.shape[0]
    time = image.shape[1]
    fill = torch.full((n, 1), True, dtype=torch.bool, device=h.device)  # bool[n, 1]  likelihood.lee:46
    reshape = pixel[:, None]  # int[n, 1]
    unslice_2 = unslice(reshape, (n, time), (slice(0, n), slice(t, t + 1)))  # int[n, time]
    unslice_ = unslice(fill, (n, time), (slice(0, n), slice(t, t + 1)))  # bool[n, time]
    image_3 = torch.where(unslice_, unslice_2, image)  # int[n, time]
    h_3 = net.step(h, pixel)  # [n, net.hidden]  likelihood.lee:47
    p = softmax(net.out(h_3), (1,))  # [n, net.levels]  prelude.lee:122
    pixel_2 = (p.cumsum(dim=1) < luck_t[:, None]).to(torch.int64).sum(dim=1)  # int[n]  likelihood.lee:49
    pixel_3 = pixel_2.clamp(max=net.levels - 1)  # int[n]  likelihood.lee:50
    return h_3, image_3, pixel_3


def in_levels(x, levels):
    """Pixels between 0 and 1 as the nearest of some levels.

    x [n, d] -> int[n, d]
    """
    return torch.round((levels - 1) * x).to(torch.int64)  # int[n, d]  likelihood.lee:56


@torch.no_grad()
def pixels(epochs=3, batch=64, rate=5e-3, levels=17, *, run=None):
    """Digits of 64 pixels and 17 levels; the report is the loss for a pixel, log 17 = 2.83 without any learning."""
    from leec.runtime.run import Run

    run = run or Run("pixels", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = PixelRNN(levels=levels, hidden=32, key=run.key("net")).to(run.session.place.device)  # likelihood.lee:62
    opt = Adam(lr=rate)  # likelihood.lee:63
    step = PixelsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x))  # likelihood.lee:66
        run.report(test=pixels_test(net, data.test.x))  # likelihood.lee:67
    return net


class PixelsStep(TrainStep):
    """One step of pixels for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.embed", "net.inner.w", "net.inner.b", "net.out.w", "net.out.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, levels, batches_n):
        return (levels - 1, 63 * batches_n, 1.0 / (63 * batches_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, t_2):
        embed, inner_w, inner_b, out_w, out_b = self.tensors
        d_embed, d_inner_w, d_inner_b, d_out_w, d_out_b = self.gradients
        batches_n = x.shape[0]
        levels = self.net.embed.shape[0]
        scale, scale_, scale_2 = self.held(levels, batches_n)  # levels - 1, 63 * batches_n, 1.0 / (63 * batches_n)
        cast = torch.round(scale * x).to(torch.int64)  # int[batches_n, 64]  likelihood.lee:56
        h = torch.zeros((batches_n, 32), dtype=FLOAT, device=x.device)  # [batches_n, 32]  likelihood.lee:23
        # [batches_n, 64, levels]  likelihood.lee:24
        z_2 = torch.zeros((batches_n, 64, levels), dtype=FLOAT, device=x.device)
        h_ = h  # likelihood.lee:25
        saved_forward_step = [None] * 64
        for t in range(64):
            h_, z_2, saved_forward_step[t] = PixelRNN_forward_step_saved_in_step(self.net, h_, z_2, cast[:, t], t)
        slice_2 = cast[:, 1:]  # int[batches_n, 63]  likelihood.lee:34
        reshape = z_2[:, :63].reshape(63 * batches_n, levels)  # [63 * batches_n, levels]
        reshape_2 = slice_2.reshape(63 * batches_n)  # int[63 * batches_n]
        # [63 * batches_n]  losses.lee:45
        surprise_ = torch.nn.functional.cross_entropy(reshape, reshape_2, reduction="none")
        iota = torch.arange(levels, device=x.device)[None, :]  # int[1, levels]
        one_hot = (iota == slice_2.reshape(63 * batches_n, 1)).to(FLOAT)  # [63 * batches_n, levels]
        d_reshape = (torch.softmax(reshape, dim=1) - one_hot) * scale_2  # [63 * batches_n, levels]
        d_slice = d_reshape.reshape(batches_n, 63, levels)  # [batches_n, 63, levels]  likelihood.lee:34
        # [batches_n, 64, levels]
        d_z = unslice(d_slice, (batches_n, 64, levels), (slice(0, batches_n), slice(0, 63), slice(0, levels)))
        d_h_3 = h  # likelihood.lee:25
        d_self = {
            "embed": torch.zeros((levels, 32), dtype=FLOAT, device=x.device),
            "inner": {"w": torch.zeros((32, 32), dtype=FLOAT, device=x.device)},
            "out": {"w": torch.zeros((32, levels), dtype=FLOAT, device=x.device)},
        }
        d_inner_b_rows = torch.empty((64, 32), dtype=FLOAT, device=x.device)  # [64, 32]
        d_out_b_rows = torch.empty((64, levels), dtype=FLOAT, device=x.device)  # [64, levels]
        for t_ in reversed(range(64)):
            d_h_3, d_z, d_self, d_inner_b_rows[t_], d_out_b_rows[t_] = PixelRNN_forward_step_backward_in_step(
                self.net, saved_forward_step[t_], cast[:, t_], t_, d_h_3, d_z, d_self
            )
        torch.sum(d_inner_b_rows, dim=0, out=d_inner_b)  # [32]
        torch.sum(d_out_b_rows, dim=0, out=d_out_b)  # [levels]
        d_embed.copy_(d_self["embed"])  # [levels, 32]  likelihood.lee:66
        d_inner_w.copy_(d_self["inner"]["w"])  # [32, 32]
        d_out_w.copy_(d_self["out"]["w"])  # [32, levels]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_2)
        return surprise_.sum() / scale_  # losses.lee:148


def pixels_test(net, data_test_x):
    """data_test_x [data_test_n, 64] -> []"""
    levels = net.embed.shape[0]
    return next_pixel(net, in_levels(data_test_x, levels))  # likelihood.lee:67


def from_codes_saved(decoder, code, x):
    """As from_codes, and what its gradient needs."""
    add_2, saved_decoder = decoder.forward_saved(code)  # likelihood.lee:76
    sub = add_2 - x  # [n, decoder.sizes_2]
    return (sub**2).sum(dim=1).mean(), (saved_decoder, sub)


def from_codes_backward(decoder, code, saved, d_mean):
    """From d_mean to the gradients by decoder, code and x."""
    saved_decoder, sub = saved
    n = code.shape[0]
    # gradient of return mean(sum((decoder(code) - x) ** 2, axis = 1))   likelihood.lee:76
    d_sub = 2 * (d_mean / n) * sub  # [n, decoder.sizes_2]
    d_x = -d_sub  # [n, decoder.sizes_2]
    d_decoder, d_code = decoder.forward_backward(code, saved_decoder, d_sub)
    return d_decoder, d_code, d_x


class VAE(Model):
    """VAE(d, hidden, latent)"""

    members = ("encoder", "mean_", "spread", "decoder")

    def __init__(self, d, hidden, latent, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.latent = d, hidden, latent
        self.encoder = Linear(d, hidden, key=fold(key, SITES["encoder"]))  # likelihood.lee:80
        self.mean_ = Linear(hidden, latent, key=fold(key, SITES["mean_"]))  # likelihood.lee:81
        self.spread = Linear(hidden, latent, key=fold(key, SITES["spread"]))  # likelihood.lee:82
        self.decoder = MLP((latent, hidden, d), key=fold(key, SITES["decoder"]))  # likelihood.lee:83

    def encode(self, x):
        """x [n, d] -> [n, latent], [n, latent]"""
        h = relu(self.encoder(x))  # [n, hidden]  likelihood.lee:86
        return self.mean_(h), self.spread(h)  # likelihood.lee:87

    def encode_saved(self, x):
        """As encode, and what its gradient needs."""
        h = relu(self.encoder(x))  # [n, hidden]  likelihood.lee:86
        return self.mean_(h), self.spread(h), h  # likelihood.lee:87

    def encode_backward(self, x, h, d_add_2, d_add_3):
        """From d_add_2 and d_add_3 to the gradients by the parameters and x."""
        # gradient of return mean_(h), spread(h)   likelihood.lee:87
        d_spread, d_h_2 = self.spread.forward_backward(h, d_add_3)
        d_mean_, d_h_3 = self.mean_.forward_backward(h, d_add_2)
        # gradient of h = relu(encoder(x))   likelihood.lee:86
        d_h = d_h_2 + d_h_3  # [n, hidden]
        d_encoder, d_x = self.encoder.forward_backward(x, relu_backward(h, d_h))
        return {"encoder": d_encoder, "mean_": d_mean_, "spread": d_spread}, d_x


def elbo(net, x, e, variance=0.5):
    """Reconstruction + ½ Σ (exp(s) - (1 + s) + m²), exp(s) being the variance (Kingma & Welling 2014).

    x [n, net.d], e [n, net.latent] -> []
    """
    m, s = net.encode(x)  # likelihood.lee:92
    y = net.decoder(m + torch.exp(s / 2) * e)  # [n, net.d]  likelihood.lee:93
    divergence = 0.5 * (torch.exp(s) - (1 + s) + m**2).sum(dim=1)  # [n]  likelihood.lee:94
    sub_2 = y - x  # [n, net.d]  likelihood.lee:95
    return ((sub_2**2).sum(dim=1) / (2 * variance) + divergence).mean()


def elbo_saved(net, x, e, variance=0.5):
    """As elbo, and what its gradient needs."""
    m, s, saved_net = net.encode_saved(x)  # likelihood.lee:92
    exp = torch.exp(s / 2)  # [n, net.latent]  likelihood.lee:93
    add = m + exp * e  # [n, net.latent]
    y, saved_net_decoder = net.decoder.forward_saved(add)
    exp_s = torch.exp(s)  # [n, net.latent]  likelihood.lee:94
    divergence = 0.5 * (exp_s - (1 + s) + m**2).sum(dim=1)  # [n]
    sub_2 = y - x  # [n, net.d]  likelihood.lee:95
    return ((sub_2**2).sum(dim=1) / (2 * variance) + divergence).mean(), (
        m,
        saved_net,
        exp,
        add,
        saved_net_decoder,
        exp_s,
        sub_2,
    )


def elbo_backward(net, x, e, variance, saved, d_y):
    """From d_y to the gradients by net, x and e."""
    m, saved_net, exp, add, saved_net_decoder, exp_s, sub_2 = saved
    n = x.shape[0]
    # gradient of return mean(sum((y - x) ** 2, axis = 1) / (2 * variance) + divergence)   likelihood.lee:95
    div = d_y / n
    d_y_ = 2 * (div / (2 * variance)) * sub_2  # [n, net.d]
    # gradient of divergence = 0.5 * sum(exp(s) - (1 + s) + m ** 2, axis = 1)   likelihood.lee:94
    mul_3 = div * 0.5
    # gradient of y = net.decoder(m + exp(s / 2) * e)   likelihood.lee:93
    d_net_decoder, d_add = net.decoder.forward_backward(add, saved_net_decoder, d_y_)
    d_e = d_add * exp  # [n, net.latent]
    # gradient of m, s = net.encode(x)   likelihood.lee:92
    d_m = 2 * mul_3 * m + d_add  # [n, net.latent]
    d_s = -0.5 * div + mul_3 * exp_s + d_add * e * exp / 2  # [n, net.latent]
    d_net, d_x_3 = net.encode_backward(x, saved_net, d_m, d_s)
    d_x = d_x_3 - d_y_  # [n, net.d]
    return (
        {"encoder": d_net["encoder"], "mean_": d_net["mean_"], "spread": d_net["spread"], "decoder": d_net_decoder},
        d_x,
        d_e,
    )


def elboAsPrinted(net, x, e):
    """c = exp(σ) e + m, and Σ (exp(σ) - (1 + σ) + m²): twice the divergence only if exp(σ) were the variance.

    x [n, net.d], e [n, net.latent] -> []
    """
    m, s = net.encode(x)  # likelihood.lee:100
    exp_s = torch.exp(s)  # [n, net.latent]  likelihood.lee:101
    y = net.decoder(m + exp_s * e)  # [n, net.d]
    sub = y - x  # [n, net.d]  likelihood.lee:102
    add_4 = (sub**2).sum(dim=1) + (exp_s - (1 + s) + m**2).sum(dim=1)  # [n]
    return add_4.mean()


def elboAsPrinted_saved(net, x, e):
    """As elboAsPrinted, and what its gradient needs."""
    m, s, saved_net = net.encode_saved(x)  # likelihood.lee:100
    exp_s = torch.exp(s)  # [n, net.latent]  likelihood.lee:101
    add = m + exp_s * e  # [n, net.latent]
    y, saved_net_decoder = net.decoder.forward_saved(add)
    sub = y - x  # [n, net.d]  likelihood.lee:102
    add_4 = (sub**2).sum(dim=1) + (exp_s - (1 + s) + m**2).sum(dim=1)  # [n]
    return add_4.mean(), (m, saved_net, exp_s, add, saved_net_decoder, sub)


def elboAsPrinted_backward(net, x, e, saved, d_y):
    """From d_y to the gradients by net, x and e."""
    m, saved_net, exp_s, add, saved_net_decoder, sub = saved
    n = x.shape[0]
    # gradient of return mean(sum((y - x) ** 2, axis = 1) + sum(exp(s) - (1 + s) + m ** 2, axis..   likelihood.lee:102
    div = d_y / n
    mul = 2 * div
    d_y_ = mul * sub  # [n, net.d]
    # gradient of y = net.decoder(m + exp(s) * e)   likelihood.lee:101
    d_net_decoder, d_add = net.decoder.forward_backward(add, saved_net_decoder, d_y_)
    d_e = d_add * exp_s  # [n, net.latent]
    # gradient of m, s = net.encode(x)   likelihood.lee:100
    d_m = mul * m + d_add  # [n, net.latent]
    d_s = (div + d_add * e) * exp_s - div  # [n, net.latent]
    d_net, d_x_3 = net.encode_backward(x, saved_net, d_m, d_s)
    d_x = d_x_3 - d_y_  # [n, net.d]
    return (
        {"encoder": d_net["encoder"], "mean_": d_net["mean_"], "spread": d_net["spread"], "decoder": d_net_decoder},
        d_x,
        d_e,
    )


def controlled_saved(net, code, first, second, steps):
    """As controlled, and what its gradient needs."""
    latent = code.shape[0]
    k = steps.shape[0]
    j = torch.arange(net.latent, device=code.device)  # int[net.latent]  likelihood.lee:107
    eq = j == first  # bool[net.latent]
    eq_2 = j == second  # bool[net.latent]
    minimum = j.clamp(min=0).clamp(max=latent - 1)  # int[net.latent]
    select = torch.where(eq_2, steps[:, None], code[minimum])  # [k, net.latent]
    moved = torch.where(eq, steps[:, None, None], select)  # [k, k, net.latent]
    moved_flat = moved.reshape(k**2, net.latent)  # [k**2, net.latent]  likelihood.lee:108
    flat, saved_net_decoder = net.decoder.forward_saved(moved_flat)
    return flat.reshape(k, k, net.d), (eq, eq_2, minimum, moved_flat, saved_net_decoder)  # likelihood.lee:109


def controlled_backward(net, saved, latent, d_reshape_4):
    """From d_reshape_4 to the gradients by net, code and steps."""
    eq, eq_2, minimum, moved_flat, saved_net_decoder = saved
    k = d_reshape_4.shape[0]
    # gradient of return reshape(flat, [k, k, net.d])   likelihood.lee:109
    d_flat = d_reshape_4.reshape(k**2, net.d)  # [k**2, net.d]
    # gradient of flat = net.decoder(reshape(moved, [k * k, net.latent]))   likelihood.lee:108
    d_net_decoder, d_moved_flat = net.decoder.forward_backward(moved_flat, saved_net_decoder, d_flat)
    d_moved = d_moved_flat.reshape(k, k, net.latent)  # [k, k, net.latent]
    # gradient of moved[a, b, j in net.latent] = where(j == first, steps[a], where(j == second,..   likelihood.lee:107
    d_select = torch.where(eq, 0, d_moved).sum(dim=0)  # [k, net.latent]
    d_guard_2 = torch.where(eq_2, 0, d_select).sum(dim=0)  # [net.latent]
    select_5 = torch.where(eq_2, torch.where(eq, 0, d_select), 0)  # [k, net.latent]
    d_code = scatter_add(torch.where(eq, 0, d_guard_2), (minimum,), (latent,))  # [latent]
    d_steps = torch.where(eq, d_moved, 0).sum(dim=(1, 2)) + select_5.sum(dim=1)  # [k]
    return {"decoder": d_net_decoder}, d_code, d_steps


@torch.no_grad()
def fit(epochs=10, batch=64, rate=3e-3, *, run=None):
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
    net = VAE(d=64, hidden=64, latent=6, key=run.key("net")).to(run.session.place.device)  # likelihood.lee:114
    opt = Adam(lr=rate)  # likelihood.lee:115
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, run.key("fit")))  # likelihood.lee:118
        e, m = fit_e_m(data.test.x, net, key=run.key("fit"))  # likelihood.lee:120
        reported_test, reported_error = fit_test_error(net, data.test.x, e, m)  # likelihood.lee:122
        run.report(test=reported_test, error=reported_error)  # likelihood.lee:122
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.encoder.w",
        "net.encoder.b",
        "net.mean_.w",
        "net.mean_.b",
        "net.spread.w",
        "net.spread.b",
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
        return (batches_n, 2 / batches_n, 0.5 / batches_n, 2 * (0.5 / batches_n), -0.5 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, key, t):
        encoder_w, encoder_b, mean__w, mean__b, spread_w, spread_b, decoder_layers_0_w = self.tensors[:7]
        decoder_layers_0_b, decoder_layers_1_w, decoder_layers_1_b = self.tensors[7:]
        d_encoder_w, d_encoder_b, d_mean__w, d_mean__b, d_spread_w, d_spread_b = self.gradients[:6]
        d_decoder_layers_0_w, d_decoder_layers_0_b, d_decoder_layers_1_w = self.gradients[6:9]
        (d_decoder_layers_1_b,) = self.gradients[9:]
        batches_n = x.shape[0]
        count, scale, scale_, scale_2, scale_3 = self.held(batches_n)
        e = normal(fold(key, SITES["e"]), (batches_n, 6), FLOAT, x.device)  # [batches_n, 6]  likelihood.lee:118
        h = torch.relu(torch.addmm(encoder_b, x, encoder_w))  # [batches_n, 64]  prelude.lee:61
        m = torch.addmm(mean__b, h, mean__w)  # [batches_n, 6]  nn.lee:21
        s = torch.addmm(spread_b, h, spread_w)  # [batches_n, 6]
        exp = torch.exp(s / 2)  # [batches_n, 6]  likelihood.lee:93
        add = m + exp * e  # [batches_n, 6]
        x_2 = torch.relu(torch.addmm(decoder_layers_0_b, add, decoder_layers_0_w))  # [batches_n, 64]  prelude.lee:61
        exp_s = torch.exp(s)  # [batches_n, 6]  likelihood.lee:94
        sub_2 = torch.addmm(decoder_layers_1_b, x_2, decoder_layers_1_w) - x  # [batches_n, 64]  likelihood.lee:95
        divergence = 0.5 * (exp_s - (1 + s) + m * m).sum(dim=1)  # [batches_n]  likelihood.lee:94
        d_y = scale * sub_2  # [batches_n, 64]  likelihood.lee:95
        torch.sum(d_y, dim=0, out=d_decoder_layers_1_b)  # [64]  nn.lee:21
        torch.mm(x_2.T, d_y, out=d_decoder_layers_1_w)  # [64, 64]
        # [batches_n, 64]  prelude.lee:61
        d_add_2 = torch.ops.aten.threshold_backward(d_y @ decoder_layers_1_w.T, x_2, 0)
        torch.sum(d_add_2, dim=0, out=d_decoder_layers_0_b)  # [64]  nn.lee:21
        d_add = d_add_2 @ decoder_layers_0_w.T  # [batches_n, 6]
        torch.mm(add.T, d_add_2, out=d_decoder_layers_0_w)  # [6, 64]
        d_m = scale_2 * m + d_add  # [batches_n, 6]  likelihood.lee:92
        d_s = scale_3 + scale_ * exp_s + d_add * e * exp / 2  # [batches_n, 6]
        torch.sum(d_s, dim=0, out=d_spread_b)  # [6]  nn.lee:21
        torch.mm(h.T, d_s, out=d_spread_w)  # [64, 6]
        torch.sum(d_m, dim=0, out=d_mean__b)  # [6]
        torch.mm(h.T, d_m, out=d_mean__w)  # [64, 6]
        # [batches_n, 64]  prelude.lee:61
        d_encoder_out = torch.ops.aten.threshold_backward(d_s @ spread_w.T + d_m @ mean__w.T, h, 0)
        torch.sum(d_encoder_out, dim=0, out=d_encoder_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_encoder_out, out=d_encoder_w)  # [64, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m_, v in self.blocks[0]:
            adam_(θ, g, m_, v, lr, beta1, beta2, eps, weight_decay, t)
        return ((sub_2 * sub_2).sum(dim=1) + divergence).sum() / count  # likelihood.lee:95


def fit_e_m(data_test_x, net, key):
    """data_test_x [data_test_n, 64] -> [data_test_n, 6], [data_test_n, 6]"""
    data_test_n = data_test_x.shape[0]
    # [data_test_n, 6]  likelihood.lee:120
    e = normal(fold(key, SITES["e#2"]), (data_test_n, 6), FLOAT, data_test_x.device)
    m, _ = net.encode(data_test_x)  # likelihood.lee:121
    return e, m


def fit_test_error(net, data_test_x, e, m):
    """data_test_x [data_test_n, 64], e [data_test_n, 6], m [data_test_n, 6] -> [], []"""
    sub = net.decoder(m) - data_test_x  # [data_test_n, 64]  likelihood.lee:122
    return elbo(net, data_test_x, e), (sub**2).sum(dim=1).mean()


def evidence_saved(x, slope, noise, z):
    """As evidence, and what its gradient needs."""
    width = z[1] - z[0]  # likelihood.lee:135
    div = (x[:, None] - torch.tanh(slope * z)) / noise  # [n, grid]  likelihood.lee:130
    sub_4 = -0.5 * div**2 - math.log(noise) - 0.9189385332046727  # [n, grid]
    each = -0.5 * z**2 - 0.9189385332046727 + sub_4  # [n, grid]  likelihood.lee:136
    return logsumexp(each, 1, False) + torch.log(width), (div, each)  # likelihood.lee:137


def evidence_backward(noise, saved, d_add):
    """From d_add to the gradient by x."""
    div, each = saved
    # gradient of return logsumexp(each, axis = 1) + log(width)   likelihood.lee:137
    d_each = d_add[:, None] * softmax(each, (1,))  # [n, grid]
    # gradient of return -0.5 * ((x - mu) / sigma) ** 2 - log(sigma) - 0.5 * log(2 * pi)   likelihood.lee:130
    d_x = (2 * (d_each * -0.5 * div) / noise).sum(dim=1)  # [n]
    return d_x  # [n]


def bound_saved(x, mu, sigma, slope, noise, z):
    """As bound, and what its gradient needs."""
    width = z[1] - z[0]  # likelihood.lee:142
    div = (z - mu[:, None]) / sigma[:, None]  # [n, grid]  likelihood.lee:130
    log_sigma = torch.log(sigma)  # [n]
    exp = torch.exp(-0.5 * div**2 - log_sigma[:, None] - 0.9189385332046727)  # [n, grid]  likelihood.lee:143
    div_2 = (x[:, None] - torch.tanh(slope * z)) / noise  # [n, grid]  likelihood.lee:130
    sub_6 = -0.5 * div_2**2 - math.log(noise) - 0.9189385332046727  # [n, grid]
    expected = (exp * sub_6).sum(dim=1) * width  # [n]  likelihood.lee:143
    # likelihood.lee:144
    return expected - 0.5 * (sigma**2 + mu**2 - 1 - 2 * log_sigma), (width, div, exp, div_2, sub_6)


def bound_backward(mu, sigma, noise, saved, d_sub_9):
    """From d_sub_9 to the gradients by x, mu and sigma."""
    width, div, exp, div_2, sub_6 = saved
    n = mu.shape[0]
    # gradient of return -0.5 * ((x - mu) / sigma) ** 2 - log(sigma) - 0.5 * log(2 * pi)   likelihood.lee:130
    reshape = sigma[:, None]  # [n, 1]
    # gradient of return expected - 0.5 * (sigma ** 2 + mu ** 2 - 1 - 2 * log(sigma))   likelihood.lee:144
    d_sub_8 = -0.5 * d_sub_9  # [n]
    # gradient of expected[i] = sum[g](exp(log_normal(z[g], mu[i], sigma[i])) * log_normal(x[i]..   likelihood.lee:143
    reshape_2 = (d_sub_9 * width)[:, None]  # [n, 1]
    # gradient of return -0.5 * ((x - mu) / sigma) ** 2 - log(sigma) - 0.5 * log(2 * pi)   likelihood.lee:130
    d_x = (2 * (exp * reshape_2 * -0.5 * div_2) / noise).sum(dim=1)  # [n]
    # gradient of expected[i] = sum[g](exp(log_normal(z[g], mu[i], sigma[i])) * log_normal(x[i]..   likelihood.lee:143
    d_sub_3 = reshape_2 * sub_6 * exp  # [n, grid]
    # gradient of return -0.5 * ((x - mu) / sigma) ** 2 - log(sigma) - 0.5 * log(2 * pi)   likelihood.lee:130
    d_log_sigma = d_sub_9 + (-d_sub_3.sum(dim=1, keepdim=True)).reshape(n)  # [n]
    d_div = 2 * (d_sub_3 * -0.5 * div)  # [n, grid]
    d_reshape_4 = -(d_div * div / reshape).sum(dim=1, keepdim=True)  # [n, 1]
    d_mu_4 = (-(d_div / reshape).sum(dim=1, keepdim=True)).reshape(n)  # [n]
    d_mu = 2 * (d_sub_8 * mu) + d_mu_4  # [n]
    d_sigma = 2 * (d_sub_8 * sigma) + d_log_sigma / sigma + d_reshape_4.reshape(n)  # [n]
    return d_x, d_mu, d_sigma


class Coupling(Model):
    """One half stays, and says how the other is scaled and shifted; layers take turns (Dinh et al. 2017)."""

    members = ("scale", "shift")

    def __init__(self, d, hidden, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden = d, hidden
        if d % 2 != 0:
            raise ValueError(f"likelihood.lee:152: d % 2 == 0 must hold: d = {d}")
        self.scale = MLP((d // 2, hidden, d // 2), key=fold(key, SITES["scale"]))  # likelihood.lee:153
        self.shift = MLP((d // 2, hidden, d // 2), key=fold(key, SITES["shift"]))  # likelihood.lee:154

    def halves(self, x):
        """x [n, d] -> [n, d // 2], [n, d - d // 2]"""
        return x[:, : self.d // 2], x[:, self.d // 2 :]  # likelihood.lee:159

    @staticmethod
    def halves_backward_input(d, d_slice, d_slice_2):
        """From d_slice and d_slice_2 to the gradient by x."""
        # gradient of return x[:, : d // 2], x[:, d // 2 :]   likelihood.lee:159
        d_x = torch.cat((d_slice, d_slice_2), dim=1)  # [n, d]
        return d_x  # [n, d]

    @staticmethod
    def halves_backward_input_backward(d_d_x):
        """From d_d_x to the gradients by d_slice and d_slice_2."""
        d = d_d_x.shape[1]
        # gradient of return x[:, : d // 2], x[:, d // 2 :]   likelihood.lee:159
        d_d_slice = d_d_x[:, : d // 2]  # [n, d // 2]
        d_d_slice_2 = d_d_x[:, d // 2 :]  # [n, d - d // 2]
        return d_d_slice, d_d_slice_2

    def joined(self, a, b):
        """a [n, d // 2], b [n, d // 2] -> [n, d]"""
        n = a.shape[0]
        return torch.cat((a, b), dim=1).reshape(n, self.d)  # [n, d]

    @staticmethod
    def joined_backward_input(d_y):
        """From d_y to the gradients by a and b."""
        n, d = d_y.shape
        d_concat = d_y.reshape(n, 2 * (d // 2))  # [n, 2 * (d // 2)]
        # gradient of return concat(a, b, axis = 1)   likelihood.lee:164
        d_a = d_concat[:, : d // 2]  # [n, d // 2]
        d_b = d_concat[:, d // 2 :]  # [n, d // 2]
        return d_a, d_b

    @staticmethod
    def joined_backward_input_backward(d, d_d_a, d_d_b):
        """From d_d_a and d_d_b to the gradient by d_reshape."""
        n = d_d_a.shape[0]
        d_d_reshape = torch.cat((d_d_a, d_d_b), dim=1).reshape(n, d)  # [n, d]
        return d_d_reshape  # [n, d]

    def forward(self, x):
        """The result and log |det J|: the Jacobian is triangular.

        x [n, d] -> [n, d], [n]
        """
        n = x.shape[0]
        a, b = self.halves(x)  # likelihood.lee:168
        s = torch.tanh(self.scale(a))  # [n, d // 2]  likelihood.lee:169
        mul = b * torch.exp(s).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]  likelihood.lee:170
        add = mul + self.shift(a).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        return self.joined(a, add.reshape(n, self.d // 2)), s.sum(dim=1)

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        a, b = self.halves(x)  # likelihood.lee:168
        add_2, saved_scale = self.scale.forward_saved(a)  # likelihood.lee:169
        s = torch.tanh(add_2)  # [n, d // 2]
        exp_s = torch.exp(s)  # [n, d // 2]  likelihood.lee:170
        add_2_2, saved_shift = self.shift.forward_saved(a)
        mul = b * exp_s.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        add = mul + add_2_2.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        return self.joined(a, add.reshape(n, self.d // 2)), s.sum(dim=1), (a, b, saved_scale, s, exp_s, saved_shift)

    def forward_backward(self, saved, d_reshape_4, d_sum):
        """From d_reshape_4 and d_sum to the gradients by the parameters and x."""
        a, b, saved_scale, s, exp_s, saved_shift = saved
        n = a.shape[0]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_a_2, d_reshape_3 = Coupling.joined_backward_input(d_reshape_4)
        d_add = d_reshape_3.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_shift, d_a_3 = self.shift.forward_backward(a, saved_shift, d_reshape_3)
        d_b = d_add * exp_s.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_s = d_sum[:, None] + (d_add * b).reshape(n, self.d // 2) * exp_s  # [n, d // 2]
        d_scale, d_a_4 = self.scale.forward_backward(a, saved_scale, d_s * (1 - s**2))
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_a = d_a_2 + d_a_3 + d_a_4  # [n, d // 2]
        d_x = Coupling.halves_backward_input(self.d, d_a, d_b)  # [n, d]
        return {"scale": d_scale, "shift": d_shift}, d_x

    def forward_backward_input_saved(self, saved, d_reshape_4):
        """From d_reshape_4 to the gradients by x, add, add_4, exp_s, s, add_2 and add_3."""
        _, b, saved_scale, s, exp_s, saved_shift = saved
        n = b.shape[0]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_a_2, d_reshape_3 = Coupling.joined_backward_input(d_reshape_4)
        d_add = d_reshape_3.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_a_3, saved_shift_ = self.shift.forward_backward_input_saved(saved_shift, d_reshape_3)
        d_b = d_add * exp_s.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_exp_s = (d_add * b).reshape(n, self.d // 2)  # [n, d // 2]
        d_s = d_exp_s * exp_s  # [n, d // 2]
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        sub = 1 - s**2  # [n, d // 2]
        d_add_2 = d_s * sub  # [n, d // 2]
        d_a_4, saved_scale_ = self.scale.forward_backward_input_saved(saved_scale, d_add_2)
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_a = d_a_2 + d_a_3 + d_a_4  # [n, d // 2]
        d_x = Coupling.halves_backward_input(self.d, d_a, d_b)  # [n, d]
        saved = d_add, saved_shift_, d_exp_s, d_s, sub, d_add_2, saved_scale_
        return d_x, saved

    def forward_backward_input_backward(self, b, s, exp_s, saved, d_d_x):
        """From d_add, d_add_4, d_exp_s, d_s, d_add_2, d_add_3 and d_d_x to the gradients by the parameters, b, s, exp_s and d_reshape_4."""
        d_add, saved_shift_, d_exp_s, d_s, sub, d_add_2, saved_scale_ = saved
        n = b.shape[0]
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_d_a, d_d_b = Coupling.halves_backward_input_backward(d_d_x)
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_scale, d_d_add_2 = self.scale.forward_backward_input_backward(d_add_2, saved_scale_, d_d_a)
        d_d_s = d_d_add_2 * sub  # [n, d // 2]
        d_d_reshape = (d_d_s * exp_s).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_b = d_d_reshape * d_add  # [n, d - d // 2]
        d_add_2_2 = d_add.reshape(n, self.d // 2)  # [n, d // 2]
        d_shift, d_d_add_2_2 = self.shift.forward_backward_input_backward(d_add_2_2, saved_shift_, d_d_a)
        d_d_add_4 = d_d_b * exp_s.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_d_add_5 = d_d_add_2_2.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_d_add = d_d_reshape * b + d_d_add_4 + d_d_add_5  # [n, d - d // 2]
        d_d_reshape_3 = d_d_add.reshape(n, self.d // 2)  # [n, d // 2]
        d_d_reshape_4 = Coupling.joined_backward_input_backward(self.d, d_d_a, d_d_reshape_3)  # [n, d]
        d_s_2 = -2 * (s * (d_d_add_2 * d_s))  # [n, d // 2]
        return (
            {"scale": d_scale, "shift": d_shift},
            d_b,
            d_s_2,
            d_d_s * d_exp_s + (d_d_b * d_add).reshape(n, self.d // 2),
            d_d_reshape_4,
        )

    def forward_saved_backward(self, saved, d_reshape_4, d_b, d_s, d_exp_s):
        """From d_reshape_4, d_b, d_s and d_exp_s to the gradients by the parameters and x."""
        a, b, saved_scale, s, exp_s, saved_shift = saved
        n = a.shape[0]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_a_2, d_reshape_3 = Coupling.joined_backward_input(d_reshape_4)
        d_add = d_reshape_3.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_shift, d_a_3 = self.shift.forward_backward(a, saved_shift, d_reshape_3)
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_s_2 = d_s + (d_exp_s + (d_add * b).reshape(n, self.d // 2)) * exp_s  # [n, d // 2]
        d_scale, d_a_4 = self.scale.forward_backward(a, saved_scale, d_s_2 * (1 - s**2))
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_a = d_a_2 + d_a_3 + d_a_4  # [n, d // 2]
        d_b_2 = d_b + d_add * exp_s.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_x = Coupling.halves_backward_input(self.d, d_a, d_b_2)  # [n, d]
        return {"scale": d_scale, "shift": d_shift}, d_x

    def inverse(self, y):
        """y [n, d] -> [n, d]"""
        n = y.shape[0]
        a, b = self.halves(y)  # likelihood.lee:173
        exp = torch.exp(-torch.tanh(self.scale(a)))  # [n, d // 2]  likelihood.lee:174
        sub = b - self.shift(a).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        mul = sub * exp.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        return self.joined(a, mul.reshape(n, self.d // 2))  # [n, d]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n = y.shape[0]
        a, b = self.halves(y)  # likelihood.lee:173
        add_2, saved_shift = self.shift.forward_saved(a)  # likelihood.lee:174
        sub = b - add_2.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        add_2_2, saved_scale = self.scale.forward_saved(a)
        tanh = torch.tanh(add_2_2)  # [n, d // 2]
        exp = torch.exp(-tanh)  # [n, d // 2]
        mul = sub * exp.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        return self.joined(a, mul.reshape(n, self.d // 2)), (a, saved_shift, sub, saved_scale, tanh, exp)

    def inverse_backward(self, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        a, saved_shift, sub, saved_scale, tanh, exp = saved
        n = a.shape[0]
        # gradient of return joined(a, (b - shift(a)) * exp(-tanh(scale(a))))   likelihood.lee:174
        d_a_2, d_reshape_3 = Coupling.joined_backward_input(d_out)
        d_mul = d_reshape_3.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_b = d_mul * exp.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        d_neg = (d_mul * sub).reshape(n, self.d // 2) * exp  # [n, d // 2]
        d_scale, d_a_3 = self.scale.forward_backward(a, saved_scale, -((1 - tanh**2) * d_neg))
        d_shift, d_a_4 = self.shift.forward_backward(a, saved_shift, (-d_b).reshape(n, self.d // 2))
        # gradient of a, b = halves(y)   likelihood.lee:173
        d_a = d_a_2 + d_a_3 + d_a_4  # [n, d // 2]
        d_y = Coupling.halves_backward_input(self.d, d_a, d_b)  # [n, d]
        return {"scale": d_scale, "shift": d_shift}, d_y


class Coupling_2(Model):
    """One half stays, and says how the other is scaled and shifted; layers take turns (Dinh et al. 2017)."""

    members = ("scale", "shift")

    def __init__(self, d, hidden, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden = d, hidden
        if d % 2 != 0:
            raise ValueError(f"likelihood.lee:152: d % 2 == 0 must hold: d = {d}")
        self.scale = MLP((d // 2, hidden, d // 2), key=fold(key, SITES["scale"]))  # likelihood.lee:153
        self.shift = MLP((d // 2, hidden, d // 2), key=fold(key, SITES["shift"]))  # likelihood.lee:154

    def halves(self, x):
        """x [n, d] -> [n, d - d // 2], [n, d // 2]"""
        return x[:, self.d // 2 :], x[:, : self.d // 2]  # likelihood.lee:158

    @staticmethod
    def halves_backward_input(d, d_slice, d_slice_2):
        """From d_slice and d_slice_2 to the gradient by x."""
        # gradient of return x[:, d // 2 :], x[:, : d // 2]   likelihood.lee:158
        d_x = torch.cat((d_slice_2, d_slice), dim=1)  # [n, d]
        return d_x  # [n, d]

    @staticmethod
    def halves_backward_input_backward(d_d_x):
        """From d_d_x to the gradients by d_slice and d_slice_2."""
        d = d_d_x.shape[1]
        # gradient of return x[:, d // 2 :], x[:, : d // 2]   likelihood.lee:158
        d_d_slice = d_d_x[:, d // 2 :]  # [n, d - d // 2]
        d_d_slice_2 = d_d_x[:, : d // 2]  # [n, d // 2]
        return d_d_slice, d_d_slice_2

    def joined(self, a, b):
        """a [n, d // 2], b [n, d // 2] -> [n, d]"""
        n = a.shape[0]
        return torch.cat((b, a), dim=1).reshape(n, self.d)  # [n, d]

    @staticmethod
    def joined_backward_input(d_y):
        """From d_y to the gradients by a and b."""
        n, d = d_y.shape
        d_concat = d_y.reshape(n, 2 * (d // 2))  # [n, 2 * (d // 2)]
        # gradient of return concat(b, a, axis = 1)   likelihood.lee:163
        d_b = d_concat[:, : d // 2]  # [n, d // 2]
        d_a = d_concat[:, d // 2 :]  # [n, d // 2]
        return d_a, d_b

    @staticmethod
    def joined_backward_input_backward(d, d_d_a, d_d_b):
        """From d_d_a and d_d_b to the gradient by d_reshape."""
        n = d_d_a.shape[0]
        d_d_reshape = torch.cat((d_d_b, d_d_a), dim=1).reshape(n, d)  # [n, d]
        return d_d_reshape  # [n, d]

    def forward(self, x):
        """The result and log |det J|: the Jacobian is triangular.

        x [n, d] -> [n, d], [n]
        """
        n = x.shape[0]
        a, b = self.halves(x)  # likelihood.lee:168
        reshape = a.reshape(n, self.d // 2)  # [n, d // 2]  likelihood.lee:169
        s = torch.tanh(self.scale(reshape))  # [n, d // 2]
        return self.joined(reshape, b * torch.exp(s) + self.shift(reshape)), s.sum(dim=1)  # likelihood.lee:170

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        a, b = self.halves(x)  # likelihood.lee:168
        reshape = a.reshape(n, self.d // 2)  # [n, d // 2]  likelihood.lee:169
        add_2, saved_scale = self.scale.forward_saved(reshape)
        s = torch.tanh(add_2)  # [n, d // 2]
        exp_s = torch.exp(s)  # [n, d // 2]  likelihood.lee:170
        add_2_2, saved_shift = self.shift.forward_saved(reshape)
        return self.joined(reshape, b * exp_s + add_2_2), s.sum(dim=1), (b, reshape, saved_scale, s, exp_s, saved_shift)

    def forward_backward(self, saved, d_reshape_4, d_sum):
        """From d_reshape_4 and d_sum to the gradients by the parameters and x."""
        b, reshape, saved_scale, s, exp_s, saved_shift = saved
        n = b.shape[0]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_reshape_2, d_add = Coupling_2.joined_backward_input(d_reshape_4)
        d_shift, d_reshape_3 = self.shift.forward_backward(reshape, saved_shift, d_add)
        d_b = d_add * exp_s  # [n, d // 2]
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_s = d_sum[:, None] + d_add * b * exp_s  # [n, d // 2]
        d_scale, d_reshape_5 = self.scale.forward_backward(reshape, saved_scale, d_s * (1 - s**2))
        d_a = (d_reshape_2 + d_reshape_3 + d_reshape_5).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_x = Coupling_2.halves_backward_input(self.d, d_a, d_b)  # [n, d]
        return {"scale": d_scale, "shift": d_shift}, d_x

    def forward_backward_input_saved(self, saved, d_reshape_4):
        """From d_reshape_4 to the gradients by x, add, add_4, exp_s, s, add_2 and add_3."""
        b, _, saved_scale, s, exp_s, saved_shift = saved
        n = b.shape[0]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_reshape_2, d_add = Coupling_2.joined_backward_input(d_reshape_4)
        d_reshape_3, saved_shift_ = self.shift.forward_backward_input_saved(saved_shift, d_add)
        d_b = d_add * exp_s  # [n, d // 2]
        d_exp_s = d_add * b  # [n, d // 2]
        d_s = d_exp_s * exp_s  # [n, d // 2]
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        sub = 1 - s**2  # [n, d // 2]
        d_add_2 = d_s * sub  # [n, d // 2]
        d_reshape_5, saved_scale_ = self.scale.forward_backward_input_saved(saved_scale, d_add_2)
        d_a = (d_reshape_2 + d_reshape_3 + d_reshape_5).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_x = Coupling_2.halves_backward_input(self.d, d_a, d_b)  # [n, d]
        saved = d_add, saved_shift_, d_exp_s, d_s, sub, d_add_2, saved_scale_
        return d_x, saved

    def forward_backward_input_backward(self, b, s, exp_s, saved, d_d_x):
        """From d_add, d_add_4, d_exp_s, d_s, d_add_2, d_add_3 and d_d_x to the gradients by the parameters, b, s, exp_s and d_reshape_4."""
        d_add, saved_shift_, d_exp_s, d_s, sub, d_add_2, saved_scale_ = saved
        n = b.shape[0]
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_d_a, d_d_b = Coupling_2.halves_backward_input_backward(d_d_x)
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_d_reshape = d_d_a.reshape(n, self.d // 2)  # [n, d // 2]
        d_scale, d_d_add_2 = self.scale.forward_backward_input_backward(d_add_2, saved_scale_, d_d_reshape)
        d_d_s = d_d_add_2 * sub  # [n, d // 2]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_d_exp_s = d_d_s * exp_s  # [n, d // 2]
        d_b = d_d_exp_s * d_add  # [n, d // 2]
        d_shift, d_d_add_5 = self.shift.forward_backward_input_backward(d_add, saved_shift_, d_d_reshape)
        d_d_add = d_d_exp_s * b + d_d_b * exp_s + d_d_add_5  # [n, d // 2]
        d_d_reshape_4 = Coupling_2.joined_backward_input_backward(self.d, d_d_reshape, d_d_add)  # [n, d]
        d_s_2 = -2 * (s * (d_d_add_2 * d_s))  # [n, d // 2]
        return {"scale": d_scale, "shift": d_shift}, d_b, d_s_2, d_d_s * d_exp_s + d_d_b * d_add, d_d_reshape_4

    def forward_backward_input_backward_2(self, s, exp_s, saved, d_d_x):
        """From d_add, d_add_4, d_exp_s, d_s, d_add_2, d_add_3 and d_d_x to the gradients by the parameters, b, s and exp_s."""
        d_add, saved_shift_, d_exp_s, d_s, sub, d_add_2, saved_scale_ = saved
        n = s.shape[0]
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_d_a, d_d_b = Coupling_2.halves_backward_input_backward(d_d_x)
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_d_reshape = d_d_a.reshape(n, self.d // 2)  # [n, d // 2]
        d_scale, d_d_add_2 = self.scale.forward_backward_input_backward(d_add_2, saved_scale_, d_d_reshape)
        d_d_s = d_d_add_2 * sub  # [n, d // 2]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_b = d_d_s * exp_s * d_add  # [n, d // 2]
        d_shift = self.shift.forward_backward_input_backward_parameters(d_add, saved_shift_, d_d_reshape)
        d_s_2 = -2 * (s * (d_d_add_2 * d_s))  # [n, d // 2]
        return {"scale": d_scale, "shift": d_shift}, d_b, d_s_2, d_d_s * d_exp_s + d_d_b * d_add

    def forward_saved_backward(self, saved, d_b, d_s, d_exp_s):
        """From d_b, d_s and d_exp_s to the gradients by the parameters and x."""
        _, reshape, saved_scale, s, exp_s, _ = saved
        n = reshape.shape[0]
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_s_2 = d_s + d_exp_s * exp_s  # [n, d // 2]
        d_scale, d_reshape = self.scale.forward_backward(reshape, saved_scale, d_s_2 * (1 - s**2))
        d_a = d_reshape.reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_x = Coupling_2.halves_backward_input(self.d, d_a, d_b)  # [n, d]
        return {"scale": d_scale}, d_x

    def forward_saved_backward_2(self, saved, d_reshape_4, d_b, d_s, d_exp_s):
        """From d_reshape_4, d_b, d_s and d_exp_s to the gradients by the parameters and x."""
        b, reshape, saved_scale, s, exp_s, saved_shift = saved
        n = b.shape[0]
        # gradient of return joined(a, b * exp(s) + shift(a)), sum(s, axis = 1)   likelihood.lee:170
        d_reshape_2, d_add = Coupling_2.joined_backward_input(d_reshape_4)
        d_shift, d_reshape_3 = self.shift.forward_backward(reshape, saved_shift, d_add)
        # gradient of s = tanh(scale(a))   likelihood.lee:169
        d_s_2 = d_s + (d_exp_s + d_add * b) * exp_s  # [n, d // 2]
        d_scale, d_reshape_5 = self.scale.forward_backward(reshape, saved_scale, d_s_2 * (1 - s**2))
        d_a = (d_reshape_2 + d_reshape_3 + d_reshape_5).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        # gradient of a, b = halves(x)   likelihood.lee:168
        d_b_2 = d_b + d_add * exp_s  # [n, d // 2]
        d_x = Coupling_2.halves_backward_input(self.d, d_a, d_b_2)  # [n, d]
        return {"scale": d_scale, "shift": d_shift}, d_x

    def inverse(self, y):
        """y [n, d] -> [n, d]"""
        n = y.shape[0]
        a, b = self.halves(y)  # likelihood.lee:173
        reshape = a.reshape(n, self.d // 2)  # [n, d // 2]  likelihood.lee:174
        exp = torch.exp(-torch.tanh(self.scale(reshape)))  # [n, d // 2]
        return self.joined(reshape, (b - self.shift(reshape)) * exp)  # [n, d]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n = y.shape[0]
        a, b = self.halves(y)  # likelihood.lee:173
        reshape = a.reshape(n, self.d // 2)  # [n, d // 2]  likelihood.lee:174
        add_2, saved_shift = self.shift.forward_saved(reshape)
        sub = b - add_2  # [n, d // 2]
        add_2_2, saved_scale = self.scale.forward_saved(reshape)
        tanh = torch.tanh(add_2_2)  # [n, d // 2]
        exp = torch.exp(-tanh)  # [n, d // 2]
        return self.joined(reshape, sub * exp), (reshape, saved_shift, sub, saved_scale, tanh, exp)

    def inverse_backward(self, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        reshape, saved_shift, sub, saved_scale, tanh, exp = saved
        n = reshape.shape[0]
        # gradient of return joined(a, (b - shift(a)) * exp(-tanh(scale(a))))   likelihood.lee:174
        d_reshape_2, d_mul = Coupling_2.joined_backward_input(d_out)
        d_b = d_mul * exp  # [n, d // 2]
        d_add_2_2 = -((1 - tanh**2) * (d_mul * sub * exp))  # [n, d // 2]
        d_scale, d_reshape_3 = self.scale.forward_backward(reshape, saved_scale, d_add_2_2)
        d_shift, d_reshape_5 = self.shift.forward_backward(reshape, saved_shift, -d_b)
        d_a = (d_reshape_2 + d_reshape_3 + d_reshape_5).reshape(n, self.d - self.d // 2)  # [n, d - d // 2]
        # gradient of a, b = halves(y)   likelihood.lee:173
        d_y = Coupling_2.halves_backward_input(self.d, d_a, d_b)  # [n, d]
        return {"scale": d_scale, "shift": d_shift}, d_y


class RealNVP(Model):
    """RealNVP(d, hidden)"""

    members = ("one", "two", "three", "four")

    def __init__(self, d, hidden, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden = d, hidden
        self.one = Coupling(d, hidden, key=fold(key, SITES["one"]))  # likelihood.lee:178
        self.two = Coupling_2(d, hidden, key=fold(key, SITES["two"]))  # likelihood.lee:179
        self.three = Coupling(d, hidden, key=fold(key, SITES["three"]))  # likelihood.lee:180
        self.four = Coupling_2(d, hidden, key=fold(key, SITES["four"]))  # likelihood.lee:181

    def forward(self, x):
        """From data to codes, and log |det J| of that way.

        x [n, d] -> [n, d], [n]
        """
        x_2, a = self.one(x)  # likelihood.lee:185
        x_3, b = self.two(x_2)  # likelihood.lee:186
        x_4, c = self.three(x_3)  # likelihood.lee:187
        x_5, e = self.four(x_4)  # likelihood.lee:188
        return x_5, a + b + c + e  # likelihood.lee:189

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, a, saved_one = self.one.forward_saved(x)  # likelihood.lee:185
        x_3, b, saved_two = self.two.forward_saved(x_2)  # likelihood.lee:186
        x_4, c, saved_three = self.three.forward_saved(x_3)  # likelihood.lee:187
        x_5, e, saved_four = self.four.forward_saved(x_4)  # likelihood.lee:188
        return x_5, a + b + c + e, (saved_one, saved_two, saved_three, saved_four)  # likelihood.lee:189

    def forward_backward(self, saved, d_x_5, d_y):
        """From d_x_5 and d_y to the gradients by the parameters and x."""
        saved_one, saved_two, saved_three, saved_four = saved
        # gradient of x, e = four(x)   likelihood.lee:188
        d_four, d_x_4 = self.four.forward_backward(saved_four, d_x_5, d_y)
        # gradient of x, c = three(x)   likelihood.lee:187
        d_three, d_x_3 = self.three.forward_backward(saved_three, d_x_4, d_y)
        # gradient of x, b = two(x)   likelihood.lee:186
        d_two, d_x_2 = self.two.forward_backward(saved_two, d_x_3, d_y)
        # gradient of x, a = one(x)   likelihood.lee:185
        d_one, d_x = self.one.forward_backward(saved_one, d_x_2, d_y)
        return {"one": d_one, "two": d_two, "three": d_three, "four": d_four}, d_x

    def forward_backward_input_saved(self, saved, d_x_5):
        """From d_x_5 to the gradients by x, add_7, add_4_4, exp_s_4, s_4, add_2_4, add_3_4, add_6, add_4_3, exp_s_3, s_3, add_2_3, add_3_3, add_5, add_4_2, exp_s_2, s_2, add_2_2, add_3_2, add, add_4, exp_s, s, add_2 and add_3."""
        saved_one, saved_two, saved_three, saved_four = saved
        # gradient of x, e = four(x)   likelihood.lee:188
        d_x_4, saved_four_ = self.four.forward_backward_input_saved(saved_four, d_x_5)
        # gradient of x, c = three(x)   likelihood.lee:187
        d_x_3, saved_three_ = self.three.forward_backward_input_saved(saved_three, d_x_4)
        # gradient of x, b = two(x)   likelihood.lee:186
        d_x_2, saved_two_ = self.two.forward_backward_input_saved(saved_two, d_x_3)
        # gradient of x, a = one(x)   likelihood.lee:185
        d_x, saved_one_ = self.one.forward_backward_input_saved(saved_one, d_x_2)
        return d_x, (saved_four_, saved_three_, saved_two_, saved_one_)

    def forward_backward_input_backward(
        self, b_5, s_4, exp_s_4, b_4, s_3, exp_s_3, b_3, s_2, exp_s_2, s, exp_s, saved, d_d_x
    ):
        """From d_add_7, d_add_4_4, d_exp_s_4, d_s_4, d_add_2_4, d_add_3_4, d_add_6, d_add_4_3, d_exp_s_3, d_s_3, d_add_2_3, d_add_3_3, d_add_5, d_add_4_2, d_exp_s_2, d_s_2, d_add_2_2, d_add_3_2, d_add, d_add_4, d_exp_s, d_s, d_add_2, d_add_3 and d_d_x to the gradients by the parameters, b_5, s_4, exp_s_4, b_4, s_3, exp_s_3, b_3, s_2, exp_s_2, b_2, s and exp_s."""
        saved_four_, saved_three_, saved_two_, saved_one_ = saved
        # gradient of x, a = one(x)   likelihood.lee:185
        d_one, d_b_5, d_s_4_2, d_exp_s_4_2, d_d_x_2 = self.one.forward_backward_input_backward(
            b_5, s_4, exp_s_4, saved_one_, d_d_x
        )
        # gradient of x, b = two(x)   likelihood.lee:186
        d_two, d_b_4, d_s_3_2, d_exp_s_3_2, d_d_x_3 = self.two.forward_backward_input_backward(
            b_4, s_3, exp_s_3, saved_two_, d_d_x_2
        )
        # gradient of x, c = three(x)   likelihood.lee:187
        d_three, d_b_3, d_s_2_2, d_exp_s_2_2, d_d_x_4 = self.three.forward_backward_input_backward(
            b_3, s_2, exp_s_2, saved_three_, d_d_x_3
        )
        # gradient of x, e = four(x)   likelihood.lee:188
        d_four, d_b_2, d_s_5, d_exp_s_5 = self.four.forward_backward_input_backward_2(s, exp_s, saved_four_, d_d_x_4)
        return (
            {"one": d_one, "two": d_two, "three": d_three, "four": d_four},
            d_b_5,
            d_s_4_2,
            d_exp_s_4_2,
            d_b_4,
            d_s_3_2,
            d_exp_s_3_2,
            d_b_3,
            d_s_2_2,
            d_exp_s_2_2,
            d_b_2,
            d_s_5,
            d_exp_s_5,
        )

    def forward_saved_backward(
        self, saved, d_b_5, d_s_4, d_exp_s_4, d_b_4, d_s_3, d_exp_s_3, d_b_3, d_s_2, d_exp_s_2, d_b_2, d_s, d_exp_s
    ):
        """From d_b_5, d_s_4, d_exp_s_4, d_b_4, d_s_3, d_exp_s_3, d_b_3, d_s_2, d_exp_s_2, d_b_2, d_s and d_exp_s to the gradients by the parameters and x."""
        saved_one, saved_two, saved_three, saved_four = saved
        # gradient of x, e = four(x)   likelihood.lee:188
        d_four, d_x_4 = self.four.forward_saved_backward(saved_four, d_b_2, d_s, d_exp_s)
        # gradient of x, c = three(x)   likelihood.lee:187
        d_three, d_x_3 = self.three.forward_saved_backward(saved_three, d_x_4, d_b_3, d_s_2, d_exp_s_2)
        # gradient of x, b = two(x)   likelihood.lee:186
        d_two, d_x_2 = self.two.forward_saved_backward_2(saved_two, d_x_3, d_b_4, d_s_3, d_exp_s_3)
        # gradient of x, a = one(x)   likelihood.lee:185
        d_one, d_x = self.one.forward_saved_backward(saved_one, d_x_2, d_b_5, d_s_4, d_exp_s_4)
        return {"one": d_one, "two": d_two, "three": d_three, "four": d_four}, d_x

    def inverse(self, z):
        """z [n, d] -> [n, d]"""
        y = self.one.inverse(self.two.inverse(self.three.inverse(self.four.inverse(z))))  # [n, d]  likelihood.lee:192
        return y  # [n, d]

    def inverse_saved(self, z):
        """As inverse, and what its gradient needs."""
        reshape_4, saved_four = self.four.inverse_saved(z)  # likelihood.lee:192
        reshape_4_2, saved_three = self.three.inverse_saved(reshape_4)
        reshape_4_3, saved_two = self.two.inverse_saved(reshape_4_2)
        reshape_4_4, saved_one = self.one.inverse_saved(reshape_4_3)
        return reshape_4_4, (saved_four, saved_three, saved_two, saved_one)

    def inverse_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        saved_four, saved_three, saved_two, saved_one = saved
        # gradient of return one.inverse(two.inverse(three.inverse(four.inverse(z))))   likelihood.lee:192
        d_one, d_reshape_4_3 = self.one.inverse_backward(saved_one, d_y)
        d_two, d_reshape_4_2 = self.two.inverse_backward(saved_two, d_reshape_4_3)
        d_three, d_reshape_4 = self.three.inverse_backward(saved_three, d_reshape_4_2)
        d_four, d_z = self.four.inverse_backward(saved_four, d_reshape_4)
        return {"one": d_one, "two": d_two, "three": d_three, "four": d_four}, d_z


def surprise(net, x):
    """-log p(x) = -log π(G⁻¹(x)) - log |det J of G⁻¹|, π normal.

    x [n, net.d] -> []
    """
    z, log_det = net(x)  # likelihood.lee:197
    sub = 0.5 * (z**2 + 1.8378770664093453).sum(dim=1) - log_det  # [n]  likelihood.lee:198
    return sub.mean()


def surprise_saved(net, x):
    """As surprise, and what its gradient needs."""
    z, log_det, saved_net = net.forward_saved(x)  # likelihood.lee:197
    sub = 0.5 * (z**2 + 1.8378770664093453).sum(dim=1) - log_det  # [n]  likelihood.lee:198
    return sub.mean(), (z, saved_net)


def surprise_backward(net, saved, d_y):
    """From d_y to the gradients by net and x."""
    z, saved_net = saved
    n = z.shape[0]
    # gradient of return mean(0.5 * sum(z ** 2 + log(2 * pi), axis = 1) - log_det)   likelihood.lee:198
    div = d_y / n
    d_log_det = (-div).expand(n)  # [n]
    # gradient of z, log_det = net(x)   likelihood.lee:197
    d_z = 2 * (div * 0.5) * z  # [n, net.d]
    d_net, d_x = net.forward_backward(saved_net, d_z, d_log_det)
    return d_net, d_x


def mapped_saved(net, x):
    """As mapped, and what its gradient needs."""
    z, _, saved_net = net.forward_saved(x[None])  # likelihood.lee:202
    return z.reshape(net.d), saved_net  # likelihood.lee:203


def mapped_backward_input_saved(net, saved_net, d_reshape_2):
    """From d_reshape_2 to the gradients by x, add_7, add_4_4, exp_s_4, s_4, add_2_4, add_3_4, add_6, add_4_3, exp_s_3, s_3, add_2_3, add_3_3, add_5, add_4_2, exp_s_2, s_2, add_2_2, add_3_2, add, add_4, exp_s, s, add_2 and add_3."""
    # gradient of return z[0]   likelihood.lee:203
    d_z = d_reshape_2[None]  # [1, net.d]
    # gradient of z, _ = net(x[None])   likelihood.lee:202
    d_reshape, saved_net_ = net.forward_backward_input_saved(saved_net, d_z)
    d_x = d_reshape.reshape(net.d)  # [net.d]
    return d_x, saved_net_


def mapped_backward_input_backward(
    net, b_5, s_4, exp_s_4, b_4, s_3, exp_s_3, b_3, s_2, exp_s_2, s, exp_s, saved_net_, d_d_x
):
    """From d_add_7, d_add_4_4, d_exp_s_4, d_s_4, d_add_2_4, d_add_3_4, d_add_6, d_add_4_3, d_exp_s_3, d_s_3, d_add_2_3, d_add_3_3, d_add_5, d_add_4_2, d_exp_s_2, d_s_2, d_add_2_2, d_add_3_2, d_add, d_add_4, d_exp_s, d_s, d_add_2, d_add_3 and d_d_x to the gradients by net, b_5, s_4, exp_s_4, b_4, s_3, exp_s_3, b_3, s_2, exp_s_2, b_2, s and exp_s."""
    # gradient of z, _ = net(x[None])   likelihood.lee:202
    d_net, d_b_5, d_s_4_2, d_exp_s_4_2, d_b_4, d_s_3_2, d_exp_s_3_2, d_b_3, d_s_2_2, d_exp_s_2_2, d_b_2, d_s_5, d_exp_s_5 = net.forward_backward_input_backward(
        b_5, s_4, exp_s_4, b_4, s_3, exp_s_3, b_3, s_2, exp_s_2, s, exp_s, saved_net_, d_d_x[None]
    )
    return (
        d_net,
        d_b_5,
        d_s_4_2,
        d_exp_s_4_2,
        d_b_4,
        d_s_3_2,
        d_exp_s_3_2,
        d_b_3,
        d_s_2_2,
        d_exp_s_2_2,
        d_b_2,
        d_s_5,
        d_exp_s_5,
    )


def mapped_saved_backward(
    net, saved_net, d_b_5, d_s_4, d_exp_s_4, d_b_4, d_s_3, d_exp_s_3, d_b_3, d_s_2, d_exp_s_2, d_b_2, d_s, d_exp_s
):
    """From d_b_5, d_s_4, d_exp_s_4, d_b_4, d_s_3, d_exp_s_3, d_b_3, d_s_2, d_exp_s_2, d_b_2, d_s and d_exp_s to the gradients by net and x."""
    # gradient of z, _ = net(x[None])   likelihood.lee:202
    d_net, d_reshape = net.forward_saved_backward(
        saved_net, d_b_5, d_s_4, d_exp_s_4, d_b_4, d_s_3, d_exp_s_3, d_b_3, d_s_2, d_exp_s_2, d_b_2, d_s, d_exp_s
    )
    d_x = d_reshape.reshape(net.d)  # [net.d]
    return d_net, d_x


def volume_saved(net, x):
    """As volume, and what its gradient needs."""
    rows = [None] * net.d  # likelihood.lee:208
    saved_volume_step = [None] * net.d
    for row in range(net.d):
        rows[row], saved_volume_step[row] = volume_step_saved(net, x, row)
    rows = torch.stack(rows, 0) if rows else torch.zeros((net.d, net.d), dtype=FLOAT, device=x.device)
    return rows, det(rows), saved_volume_step  # likelihood.lee:209


def volume_backward(net, rows, saved_volume_step, d_rows, d_det):
    """From d_add_7_rows, d_add_4_4_rows, d_exp_s_4_rows, d_s_4_rows, d_add_2_4_rows, d_add_3_4_rows, d_add_6_rows, d_add_4_3_rows, d_exp_s_3_rows, d_s_3_rows, d_add_2_3_rows, d_add_3_3_rows, d_add_5_rows, d_add_4_2_rows, d_exp_s_2_rows, d_s_2_rows, d_add_2_2_rows, d_add_3_2_rows, d_add_rows, d_add_4_rows, d_exp_s_rows, d_s_rows, d_add_2_rows, d_add_3_rows, d_rows and d_det to the gradients by net and x."""
    # gradient of j = jacobian(mapped(net, x), x)   likelihood.lee:208
    d_rows_2 = d_rows + d_det * cofactor(rows)  # [net.d, net.d]
    # [net.d // 2, net.hidden]
    d_net_one_scale_layers_0_w_2 = torch.zeros((net.d // 2, net.hidden), dtype=FLOAT, device=rows.device)
    # [net.hidden, net.d // 2]
    d_net_one_scale_layers_1_w_2 = torch.zeros((net.hidden, net.d // 2), dtype=FLOAT, device=rows.device)
    d_net = {
        "one": {
            "scale": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
            "shift": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
        },
        "two": {
            "scale": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
            "shift": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
        },
        "three": {
            "scale": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
            "shift": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
        },
        "four": {
            "scale": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
            "shift": {"layers.0": {"w": d_net_one_scale_layers_0_w_2}, "layers.1": {"w": d_net_one_scale_layers_1_w_2}},
        },
    }
    d_net_one_scale_layers_0_b_rows = [None] * net.d
    d_net_one_scale_layers_1_b_rows = [None] * net.d
    d_net_one_shift_layers_0_b_rows = [None] * net.d
    d_net_one_shift_layers_1_b_rows = [None] * net.d
    d_net_two_scale_layers_0_b_rows = [None] * net.d
    d_net_two_scale_layers_1_b_rows = [None] * net.d
    d_net_two_shift_layers_0_b_rows = [None] * net.d
    d_net_two_shift_layers_1_b_rows = [None] * net.d
    d_net_three_scale_layers_0_b_rows = [None] * net.d
    d_net_three_scale_layers_1_b_rows = [None] * net.d
    d_net_three_shift_layers_0_b_rows = [None] * net.d
    d_net_three_shift_layers_1_b_rows = [None] * net.d
    d_net_four_scale_layers_0_b_rows = [None] * net.d
    d_net_four_scale_layers_1_b_rows = [None] * net.d
    d_x_rows = [None] * net.d
    for row in reversed(range(net.d)):
        (
            d_net,
            d_net_one_scale_layers_0_b_rows[row],
            d_net_one_scale_layers_1_b_rows[row],
            d_net_one_shift_layers_0_b_rows[row],
            d_net_one_shift_layers_1_b_rows[row],
            d_net_two_scale_layers_0_b_rows[row],
            d_net_two_scale_layers_1_b_rows[row],
            d_net_two_shift_layers_0_b_rows[row],
            d_net_two_shift_layers_1_b_rows[row],
            d_net_three_scale_layers_0_b_rows[row],
            d_net_three_scale_layers_1_b_rows[row],
            d_net_three_shift_layers_0_b_rows[row],
            d_net_three_shift_layers_1_b_rows[row],
            d_net_four_scale_layers_0_b_rows[row],
            d_net_four_scale_layers_1_b_rows[row],
            d_x_rows[row],
        ) = volume_step_backward(net, saved_volume_step[row], d_rows_2[row], d_net)
    d_net_one_scale_layers_0_b_rows = (
        torch.stack(d_net_one_scale_layers_0_b_rows, 0)
        if d_net_one_scale_layers_0_b_rows
        else torch.zeros((net.d, net.hidden), dtype=FLOAT, device=rows.device)
    )
    d_net_one_scale_layers_1_b_rows = (
        torch.stack(d_net_one_scale_layers_1_b_rows, 0)
        if d_net_one_scale_layers_1_b_rows
        else torch.zeros((net.d, net.d // 2), dtype=FLOAT, device=rows.device)
    )
    d_net_one_shift_layers_0_b_rows = (
        torch.stack(d_net_one_shift_layers_0_b_rows, 0)
        if d_net_one_shift_layers_0_b_rows
        else torch.zeros((net.d, net.hidden), dtype=FLOAT, device=rows.device)
    )
    d_net_one_shift_layers_1_b_rows = (
        torch.stack(d_net_one_shift_layers_1_b_rows, 0)
        if d_net_one_shift_layers_1_b_rows
        else torch.zeros((net.d, net.d // 2), dtype=FLOAT, device=rows.device)
    )
    d_net_two_scale_layers_0_b_rows = (
        torch.stack(d_net_two_scale_layers_0_b_rows, 0)
        if d_net_two_scale_layers_0_b_rows
        else torch.zeros((net.d, net.hidden), dtype=FLOAT, device=rows.device)
    )
    d_net_two_scale_layers_1_b_rows = (
        torch.stack(d_net_two_scale_layers_1_b_rows, 0)
        if d_net_two_scale_layers_1_b_rows
        else torch.zeros((net.d, net.d // 2), dtype=FLOAT, device=rows.device)
    )
    d_net_two_shift_layers_0_b_rows = (
        torch.stack(d_net_two_shift_layers_0_b_rows, 0)
        if d_net_two_shift_layers_0_b_rows
        else torch.zeros((net.d, net.hidden), dtype=FLOAT, device=rows.device)
    )
    d_net_two_shift_layers_1_b_rows = (
        torch.stack(d_net_two_shift_layers_1_b_rows, 0)
        if d_net_two_shift_layers_1_b_rows
        else torch.zeros((net.d, net.d // 2), dtype=FLOAT, device=rows.device)
    )
    d_net_three_scale_layers_0_b_rows = (
        torch.stack(d_net_three_scale_layers_0_b_rows, 0)
        if d_net_three_scale_layers_0_b_rows
        else torch.zeros((net.d, net.hidden), dtype=FLOAT, device=rows.device)
    )
    d_net_three_scale_layers_1_b_rows = (
        torch.stack(d_net_three_scale_layers_1_b_rows, 0)
        if d_net_three_scale_layers_1_b_rows
        else torch.zeros((net.d, net.d // 2), dtype=FLOAT, device=rows.device)
    )
    d_net_three_shift_layers_0_b_rows = (
        torch.stack(d_net_three_shift_layers_0_b_rows, 0)
        if d_net_three_shift_layers_0_b_rows
        else torch.zeros((net.d, net.hidden), dtype=FLOAT, device=rows.device)
    )
    d_net_three_shift_layers_1_b_rows = (
        torch.stack(d_net_three_shift_layers_1_b_rows, 0)
        if d_net_three_shift_layers_1_b_rows
        else torch.zeros((net.d, net.d // 2), dtype=FLOAT, device=rows.device)
    )
    d_net_four_scale_layers_0_b_rows = (
        torch.stack(d_net_four_scale_layers_0_b_rows, 0)
        if d_net_four_scale_layers_0_b_rows
        else torch.zeros((net.d, net.hidden), dtype=FLOAT, device=rows.device)
    )
    d_net_four_scale_layers_1_b_rows = (
        torch.stack(d_net_four_scale_layers_1_b_rows, 0)
        if d_net_four_scale_layers_1_b_rows
        else torch.zeros((net.d, net.d // 2), dtype=FLOAT, device=rows.device)
    )
    d_x_rows = torch.stack(d_x_rows, 0) if d_x_rows else torch.zeros((net.d, net.d), dtype=FLOAT, device=rows.device)
    d_net_one_scale_layers_0_b = d_net_one_scale_layers_0_b_rows.sum(dim=0)  # [net.hidden]
    d_net_one_scale_layers_1_b = d_net_one_scale_layers_1_b_rows.sum(dim=0)  # [net.d // 2]
    d_net_one_shift_layers_0_b = d_net_one_shift_layers_0_b_rows.sum(dim=0)  # [net.hidden]
    d_net_one_shift_layers_1_b = d_net_one_shift_layers_1_b_rows.sum(dim=0)  # [net.d // 2]
    d_net_two_scale_layers_0_b = d_net_two_scale_layers_0_b_rows.sum(dim=0)  # [net.hidden]
    d_net_two_scale_layers_1_b = d_net_two_scale_layers_1_b_rows.sum(dim=0)  # [net.d // 2]
    d_net_two_shift_layers_0_b = d_net_two_shift_layers_0_b_rows.sum(dim=0)  # [net.hidden]
    d_net_two_shift_layers_1_b = d_net_two_shift_layers_1_b_rows.sum(dim=0)  # [net.d // 2]
    d_net_three_scale_layers_0_b = d_net_three_scale_layers_0_b_rows.sum(dim=0)  # [net.hidden]
    d_net_three_scale_layers_1_b = d_net_three_scale_layers_1_b_rows.sum(dim=0)  # [net.d // 2]
    d_net_three_shift_layers_0_b = d_net_three_shift_layers_0_b_rows.sum(dim=0)  # [net.hidden]
    d_net_three_shift_layers_1_b = d_net_three_shift_layers_1_b_rows.sum(dim=0)  # [net.d // 2]
    d_net_four_scale_layers_0_b = d_net_four_scale_layers_0_b_rows.sum(dim=0)  # [net.hidden]
    d_net_four_scale_layers_1_b = d_net_four_scale_layers_1_b_rows.sum(dim=0)  # [net.d // 2]
    d_x = d_x_rows.sum(dim=0)  # [net.d]
    return {
        "one": {
            "scale": {
                "layers.0": {"w": d_net["one"]["scale"]["layers.0"]["w"], "b": d_net_one_scale_layers_0_b},
                "layers.1": {"w": d_net["one"]["scale"]["layers.1"]["w"], "b": d_net_one_scale_layers_1_b},
            },
            "shift": {
                "layers.0": {"w": d_net["one"]["shift"]["layers.0"]["w"], "b": d_net_one_shift_layers_0_b},
                "layers.1": {"w": d_net["one"]["shift"]["layers.1"]["w"], "b": d_net_one_shift_layers_1_b},
            },
        },
        "two": {
            "scale": {
                "layers.0": {"w": d_net["two"]["scale"]["layers.0"]["w"], "b": d_net_two_scale_layers_0_b},
                "layers.1": {"w": d_net["two"]["scale"]["layers.1"]["w"], "b": d_net_two_scale_layers_1_b},
            },
            "shift": {
                "layers.0": {"w": d_net["two"]["shift"]["layers.0"]["w"], "b": d_net_two_shift_layers_0_b},
                "layers.1": {"w": d_net["two"]["shift"]["layers.1"]["w"], "b": d_net_two_shift_layers_1_b},
            },
        },
        "three": {
            "scale": {
                "layers.0": {"w": d_net["three"]["scale"]["layers.0"]["w"], "b": d_net_three_scale_layers_0_b},
                "layers.1": {"w": d_net["three"]["scale"]["layers.1"]["w"], "b": d_net_three_scale_layers_1_b},
            },
            "shift": {
                "layers.0": {"w": d_net["three"]["shift"]["layers.0"]["w"], "b": d_net_three_shift_layers_0_b},
                "layers.1": {"w": d_net["three"]["shift"]["layers.1"]["w"], "b": d_net_three_shift_layers_1_b},
            },
        },
        "four": {
            "scale": {
                "layers.0": {"w": d_net["four"]["scale"]["layers.0"]["w"], "b": d_net_four_scale_layers_0_b},
                "layers.1": {"w": d_net["four"]["scale"]["layers.1"]["w"], "b": d_net_four_scale_layers_1_b},
            },
            "shift": d_net["four"]["shift"],
        },
    }, d_x


def volume_step_saved(net, x, row):
    """As volume_step, and what its gradient needs."""
    _, saved_mapped = mapped_saved(net, x)  # likelihood.lee:208
    d_select = torch.ones(net.d, dtype=FLOAT, device=x.device)  # [net.d]
    eq = torch.arange(net.d, device=x.device) == row  # bool[net.d]
    rows, saved_mapped_backward_input = mapped_backward_input_saved(net, saved_mapped, torch.where(eq, d_select, 0))
    return rows, (saved_mapped, saved_mapped_backward_input)


def volume_step_backward(net, saved, d_rows, d_net):
    """From d_add_7, d_add_4_4, d_exp_s_4, d_s_4, d_add_2_4, d_add_3_4, d_add_6, d_add_4_3, d_exp_s_3, d_s_3, d_add_2_3, d_add_3_3, d_add_5, d_add_4_2, d_exp_s_2, d_s_2, d_add_2_2, d_add_3_2, d_add, d_add_4, d_exp_s, d_s, d_add_2, d_add_3, d_rows and d_net to the gradients by net, net.one.scale.layers.0.b, net.one.scale.layers.1.b, net.one.shift.layers.0.b, net.one.shift.layers.1.b, net.two.scale.layers.0.b, net.two.scale.layers.1.b, net.two.shift.layers.0.b, net.two.shift.layers.1.b, net.three.scale.layers.0.b, net.three.scale.layers.1.b, net.three.shift.layers.0.b, net.three.shift.layers.1.b, net.four.scale.layers.0.b, net.four.scale.layers.1.b and x."""
    saved_mapped, saved_mapped_backward_input = saved
    # gradient of j = jacobian(mapped(net, x), x)   likelihood.lee:208
    d_net_, d_b_5, d_s_4_2, d_exp_s_4_2, d_b_4, d_s_3_2, d_exp_s_3_2, d_b_3, d_s_2_2, d_exp_s_2_2, d_b_2, d_s_5, d_exp_s_5 = mapped_backward_input_backward(
        net,
        saved_mapped[0][1],
        saved_mapped[0][3],
        saved_mapped[0][4],
        saved_mapped[1][0],
        saved_mapped[1][3],
        saved_mapped[1][4],
        saved_mapped[2][1],
        saved_mapped[2][3],
        saved_mapped[2][4],
        saved_mapped[3][3],
        saved_mapped[3][4],
        saved_mapped_backward_input,
        d_rows,
    )
    d_net_2, d_x = mapped_saved_backward(
        net,
        saved_mapped,
        d_b_5,
        d_s_4_2,
        d_exp_s_4_2,
        d_b_4,
        d_s_3_2,
        d_exp_s_3_2,
        d_b_3,
        d_s_2_2,
        d_exp_s_2_2,
        d_b_2,
        d_s_5,
        d_exp_s_5,
    )
    # [net.d // 2, net.hidden]
    d_net_one_scale_layers_0_w = d_net_["one"]["scale"]["layers.0"]["w"] + d_net_2["one"]["scale"]["layers.0"]["w"]
    # [net.hidden, net.d // 2]
    d_net_one_scale_layers_1_w = d_net_["one"]["scale"]["layers.1"]["w"] + d_net_2["one"]["scale"]["layers.1"]["w"]
    # [net.d // 2, net.hidden]
    d_net_one_shift_layers_0_w = d_net_["one"]["shift"]["layers.0"]["w"] + d_net_2["one"]["shift"]["layers.0"]["w"]
    # [net.hidden, net.d // 2]
    d_net_one_shift_layers_1_w = d_net_["one"]["shift"]["layers.1"]["w"] + d_net_2["one"]["shift"]["layers.1"]["w"]
    # [net.d // 2, net.hidden]
    d_net_two_scale_layers_0_w = d_net_["two"]["scale"]["layers.0"]["w"] + d_net_2["two"]["scale"]["layers.0"]["w"]
    # [net.hidden, net.d // 2]
    d_net_two_scale_layers_1_w = d_net_["two"]["scale"]["layers.1"]["w"] + d_net_2["two"]["scale"]["layers.1"]["w"]
    # [net.d // 2, net.hidden]
    d_net_two_shift_layers_0_w = d_net_["two"]["shift"]["layers.0"]["w"] + d_net_2["two"]["shift"]["layers.0"]["w"]
    # [net.hidden, net.d // 2]
    d_net_two_shift_layers_1_w = d_net_["two"]["shift"]["layers.1"]["w"] + d_net_2["two"]["shift"]["layers.1"]["w"]
    # [net.d // 2, net.hidden]
    d_net_three_scale_layers_0_w = (
        d_net_["three"]["scale"]["layers.0"]["w"] + d_net_2["three"]["scale"]["layers.0"]["w"]
    )
    # [net.hidden, net.d // 2]
    d_net_three_scale_layers_1_w = (
        d_net_["three"]["scale"]["layers.1"]["w"] + d_net_2["three"]["scale"]["layers.1"]["w"]
    )
    # [net.d // 2, net.hidden]
    d_net_three_shift_layers_0_w = (
        d_net_["three"]["shift"]["layers.0"]["w"] + d_net_2["three"]["shift"]["layers.0"]["w"]
    )
    # [net.hidden, net.d // 2]
    d_net_three_shift_layers_1_w = (
        d_net_["three"]["shift"]["layers.1"]["w"] + d_net_2["three"]["shift"]["layers.1"]["w"]
    )
    # [net.d // 2, net.hidden]
    d_net_four_scale_layers_0_w = d_net_["four"]["scale"]["layers.0"]["w"] + d_net_2["four"]["scale"]["layers.0"]["w"]
    # [net.hidden, net.d // 2]
    d_net_four_scale_layers_1_w = d_net_["four"]["scale"]["layers.1"]["w"] + d_net_2["four"]["scale"]["layers.1"]["w"]
    # [net.d // 2, net.hidden]
    d_net_one_scale_layers_0_w_sum = d_net["one"]["scale"]["layers.0"]["w"] + d_net_one_scale_layers_0_w
    # [net.hidden, net.d // 2]
    d_net_one_scale_layers_1_w_sum = d_net["one"]["scale"]["layers.1"]["w"] + d_net_one_scale_layers_1_w
    # [net.d // 2, net.hidden]
    d_net_one_shift_layers_0_w_sum = d_net["one"]["shift"]["layers.0"]["w"] + d_net_one_shift_layers_0_w
    # [net.hidden, net.d // 2]
    d_net_one_shift_layers_1_w_sum = d_net["one"]["shift"]["layers.1"]["w"] + d_net_one_shift_layers_1_w
    # [net.d // 2, net.hidden]
    d_net_two_scale_layers_0_w_sum = d_net["two"]["scale"]["layers.0"]["w"] + d_net_two_scale_layers_0_w
    # [net.hidden, net.d // 2]
    d_net_two_scale_layers_1_w_sum = d_net["two"]["scale"]["layers.1"]["w"] + d_net_two_scale_layers_1_w
    # [net.d // 2, net.hidden]
    d_net_two_shift_layers_0_w_sum = d_net["two"]["shift"]["layers.0"]["w"] + d_net_two_shift_layers_0_w
    # [net.hidden, net.d // 2]
    d_net_two_shift_layers_1_w_sum = d_net["two"]["shift"]["layers.1"]["w"] + d_net_two_shift_layers_1_w
    # [net.d // 2, net.hidden]
    d_net_three_scale_layers_0_w_sum = d_net["three"]["scale"]["layers.0"]["w"] + d_net_three_scale_layers_0_w
    # [net.hidden, net.d // 2]
    d_net_three_scale_layers_1_w_sum = d_net["three"]["scale"]["layers.1"]["w"] + d_net_three_scale_layers_1_w
    # [net.d // 2, net.hidden]
    d_net_three_shift_layers_0_w_sum = d_net["three"]["shift"]["layers.0"]["w"] + d_net_three_shift_layers_0_w
    # [net.hidden, net.d // 2]
    d_net_three_shift_layers_1_w_sum = d_net["three"]["shift"]["layers.1"]["w"] + d_net_three_shift_layers_1_w
    # [net.d // 2, net.hidden]
    d_net_four_scale_layers_0_w_sum = d_net["four"]["scale"]["layers.0"]["w"] + d_net_four_scale_layers_0_w
    # [net.hidden, net.d // 2]
    d_net_four_scale_layers_1_w_sum = d_net["four"]["scale"]["layers.1"]["w"] + d_net_four_scale_layers_1_w
    # [net.d // 2, net.hidden]
    d_net_four_shift_layers_0_w_sum = d_net["four"]["shift"]["layers.0"]["w"] + d_net_["four"]["shift"]["layers.0"]["w"]
    # [net.hidden, net.d // 2]
    d_net_four_shift_layers_1_w_sum = d_net["four"]["shift"]["layers.1"]["w"] + d_net_["four"]["shift"]["layers.1"]["w"]
    return (
        {
            "one": {
                "scale": {
                    "layers.0": {"w": d_net_one_scale_layers_0_w_sum},
                    "layers.1": {"w": d_net_one_scale_layers_1_w_sum},
                },
                "shift": {
                    "layers.0": {"w": d_net_one_shift_layers_0_w_sum},
                    "layers.1": {"w": d_net_one_shift_layers_1_w_sum},
                },
            },
            "two": {
                "scale": {
                    "layers.0": {"w": d_net_two_scale_layers_0_w_sum},
                    "layers.1": {"w": d_net_two_scale_layers_1_w_sum},
                },
                "shift": {
                    "layers.0": {"w": d_net_two_shift_layers_0_w_sum},
                    "layers.1": {"w": d_net_two_shift_layers_1_w_sum},
                },
            },
            "three": {
                "scale": {
                    "layers.0": {"w": d_net_three_scale_layers_0_w_sum},
                    "layers.1": {"w": d_net_three_scale_layers_1_w_sum},
                },
                "shift": {
                    "layers.0": {"w": d_net_three_shift_layers_0_w_sum},
                    "layers.1": {"w": d_net_three_shift_layers_1_w_sum},
                },
            },
            "four": {
                "scale": {
                    "layers.0": {"w": d_net_four_scale_layers_0_w_sum},
                    "layers.1": {"w": d_net_four_scale_layers_1_w_sum},
                },
                "shift": {
                    "layers.0": {"w": d_net_four_shift_layers_0_w_sum},
                    "layers.1": {"w": d_net_four_shift_layers_1_w_sum},
                },
            },
        },
        d_net_2["one"]["scale"]["layers.0"]["b"],
        d_net_2["one"]["scale"]["layers.1"]["b"],
        d_net_2["one"]["shift"]["layers.0"]["b"],
        d_net_2["one"]["shift"]["layers.1"]["b"],
        d_net_2["two"]["scale"]["layers.0"]["b"],
        d_net_2["two"]["scale"]["layers.1"]["b"],
        d_net_2["two"]["shift"]["layers.0"]["b"],
        d_net_2["two"]["shift"]["layers.1"]["b"],
        d_net_2["three"]["scale"]["layers.0"]["b"],
        d_net_2["three"]["scale"]["layers.1"]["b"],
        d_net_2["three"]["shift"]["layers.0"]["b"],
        d_net_2["three"]["shift"]["layers.1"]["b"],
        d_net_2["four"]["scale"]["layers.0"]["b"],
        d_net_2["four"]["scale"]["layers.1"]["b"],
        d_x,
    )


def checkerboard_saved(image, odd):
    """As checkerboard, and what its gradient needs."""
    _, h, w = image.shape
    reshape = torch.arange(h, device=image.device)[:, None]  # int[h, 1]  likelihood.lee:214
    eq = (reshape + torch.arange(w, device=image.device)) % 2 == odd  # bool[h, w]
    half = torch.where(eq, image, 0)  # [n, h, w]
    return half, eq


def checkerboard_backward(eq, d_half):
    """From d_half to the gradient by image."""
    # gradient of half[r, i, j] = where((i + j) % 2 == odd, image[r, i, j], 0)   likelihood.lee:214
    d_image = torch.where(eq, d_half, 0)  # [n, h, w]
    return d_image  # [n, h, w]


@torch.no_grad()
def moons(epochs=60, batch=64, rate=5e-3, *, run=None):
    """Two half moons; the report is -log p, 2.0 for the best normal distribution."""
    from leec.runtime.run import Run

    run = run or Run("moons", backend="torch")
    data = run.data(
        "two_moons",
        n=800,
        noise=0.08,
        labelled=0,
        seed=0,
        standardize=True,
        test=0.25,
        fields={"x": ("float", ("n", 2)), "y": ("int", ("n",)), "marked": ("int", (0,))},
    )
    net = RealNVP(d=2, hidden=24, key=run.key("net")).to(run.session.place.device)  # likelihood.lee:221
    opt = Adam(lr=rate)  # likelihood.lee:222
    step = MoonsStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x))  # likelihood.lee:225
    run.report(test=surprise(net, data.test.x))  # likelihood.lee:226
    return net


class MoonsStep(TrainStep):
    """One step of moons for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.one.scale.layers.0.w",
        "net.one.scale.layers.0.b",
        "net.one.scale.layers.1.w",
        "net.one.scale.layers.1.b",
        "net.one.shift.layers.0.w",
        "net.one.shift.layers.0.b",
        "net.one.shift.layers.1.w",
        "net.one.shift.layers.1.b",
        "net.two.scale.layers.0.w",
        "net.two.scale.layers.0.b",
        "net.two.scale.layers.1.w",
        "net.two.scale.layers.1.b",
        "net.two.shift.layers.0.w",
        "net.two.shift.layers.0.b",
        "net.two.shift.layers.1.w",
        "net.two.shift.layers.1.b",
        "net.three.scale.layers.0.w",
        "net.three.scale.layers.0.b",
        "net.three.scale.layers.1.w",
        "net.three.scale.layers.1.b",
        "net.three.shift.layers.0.w",
        "net.three.shift.layers.0.b",
        "net.three.shift.layers.1.w",
        "net.three.shift.layers.1.b",
        "net.four.scale.layers.0.w",
        "net.four.scale.layers.0.b",
        "net.four.scale.layers.1.w",
        "net.four.scale.layers.1.b",
        "net.four.shift.layers.0.w",
        "net.four.shift.layers.0.b",
        "net.four.shift.layers.1.w",
        "net.four.shift.layers.1.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 2 * (0.5 / batches_n), 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, t):
        one_scale_layers_0_w, one_scale_layers_0_b, one_scale_layers_1_w = self.tensors[:3]
        one_scale_layers_1_b, one_shift_layers_0_w, one_shift_layers_0_b = self.tensors[3:6]
        one_shift_layers_1_w, one_shift_layers_1_b, two_scale_layers_0_w = self.tensors[6:9]
        two_scale_layers_0_b, two_scale_layers_1_w, two_scale_layers_1_b = self.tensors[9:12]
        two_shift_layers_0_w, two_shift_layers_0_b, two_shift_layers_1_w = self.tensors[12:15]
        two_shift_layers_1_b, three_scale_layers_0_w, three_scale_layers_0_b = self.tensors[15:18]
        three_scale_layers_1_w, three_scale_layers_1_b, three_shift_layers_0_w = self.tensors[18:21]
        three_shift_layers_0_b, three_shift_layers_1_w, three_shift_layers_1_b = self.tensors[21:24]
        four_scale_layers_0_w, four_scale_layers_0_b, four_scale_layers_1_w = self.tensors[24:27]
        four_scale_layers_1_b, four_shift_layers_0_w, four_shift_layers_0_b = self.tensors[27:30]
        four_shift_layers_1_w, four_shift_layers_1_b = self.tensors[30:]
        d_one_scale_layers_0_w, d_one_scale_layers_0_b, d_one_scale_layers_1_w = self.gradients[:3]
        d_one_scale_layers_1_b, d_one_shift_layers_0_w, d_one_shift_layers_0_b = self.gradients[3:6]
        d_one_shift_layers_1_w, d_one_shift_layers_1_b, d_two_scale_layers_0_w = self.gradients[6:9]
        d_two_scale_layers_0_b, d_two_scale_layers_1_w, d_two_scale_layers_1_b = self.gradients[9:12]
        d_two_shift_layers_0_w, d_two_shift_layers_0_b, d_two_shift_layers_1_w = self.gradients[12:15]
        d_two_shift_layers_1_b, d_three_scale_layers_0_w, d_three_scale_layers_0_b = self.gradients[15:18]
        d_three_scale_layers_1_w, d_three_scale_layers_1_b, d_three_shift_layers_0_w = self.gradients[18:21]
        d_three_shift_layers_0_b, d_three_shift_layers_1_w, d_three_shift_layers_1_b = self.gradients[21:24]
        d_four_scale_layers_0_w, d_four_scale_layers_0_b, d_four_scale_layers_1_w = self.gradients[24:27]
        d_four_scale_layers_1_b, d_four_shift_layers_0_w, d_four_shift_layers_0_b = self.gradients[27:30]
        d_four_shift_layers_1_w, d_four_shift_layers_1_b = self.gradients[30:]
        batches_n = x.shape[0]
        count, scale, scale_ = self.held(batches_n)  # batches_n, 2 * (0.5 / batches_n), 1.0 / batches_n
        a_3 = x[:, :1]  # [batches_n, 1]  likelihood.lee:159
        b_5_2 = x[:, 1:]  # [batches_n, 1]
        # [batches_n, 24]  prelude.lee:61
        x_2_2_4 = torch.relu(torch.addmm(one_scale_layers_0_b, a_3, one_scale_layers_0_w))
        add_2_2 = torch.addmm(one_scale_layers_1_b, x_2_2_4, one_scale_layers_1_w)  # [batches_n, 1]  nn.lee:21
        s_4 = torch.tanh(add_2_2)  # [batches_n, 1]  likelihood.lee:169
        exp_s_4 = torch.exp(s_4)  # [batches_n, 1]  likelihood.lee:170
        # [batches_n, 24]  prelude.lee:61
        x_2_6 = torch.relu(torch.addmm(one_shift_layers_0_b, a_3, one_shift_layers_0_w))
        add_2_2_2 = torch.addmm(one_shift_layers_1_b, x_2_6, one_shift_layers_1_w)  # [batches_n, 1]  nn.lee:21
        b_3_2 = b_5_2 * exp_s_4 + add_2_2_2  # [batches_n, 1]  likelihood.lee:170
        add_3_3 = torch.addmm(two_scale_layers_0_b, b_3_2, two_scale_layers_0_w)  # [batches_n, 24]  nn.lee:21
        x_2_2_3 = torch.relu(add_3_3)  # [batches_n, 24]  prelude.lee:61
        add_2_3 = torch.addmm(two_scale_layers_1_b, x_2_2_3, two_scale_layers_1_w)  # [batches_n, 1]  nn.lee:21
        s_3 = torch.tanh(add_2_3)  # [batches_n, 1]  likelihood.lee:169
        exp_s_3 = torch.exp(s_3)  # [batches_n, 1]  likelihood.lee:170
        add_4_2 = torch.addmm(two_shift_layers_0_b, b_3_2, two_shift_layers_0_w)  # [batches_n, 24]  nn.lee:21
        x_2_5 = torch.relu(add_4_2)  # [batches_n, 24]  prelude.lee:61
        add_2_2_3 = torch.addmm(two_shift_layers_1_b, x_2_5, two_shift_layers_1_w)  # [batches_n, 1]  nn.lee:21
        a_2 = a_3 * exp_s_3 + add_2_2_3  # [batches_n, 1]  likelihood.lee:170
        add_3_4 = torch.addmm(three_scale_layers_0_b, a_2, three_scale_layers_0_w)  # [batches_n, 24]  nn.lee:21
        x_2_2_2 = torch.relu(add_3_4)  # [batches_n, 24]  prelude.lee:61
        add_2_4 = torch.addmm(three_scale_layers_1_b, x_2_2_2, three_scale_layers_1_w)  # [batches_n, 1]  nn.lee:21
        s_2 = torch.tanh(add_2_4)  # [batches_n, 1]  likelihood.lee:169
        exp_s_2 = torch.exp(s_2)  # [batches_n, 1]  likelihood.lee:170
        add_4_3 = torch.addmm(three_shift_layers_0_b, a_2, three_shift_layers_0_w)  # [batches_n, 24]  nn.lee:21
        x_2_4 = torch.relu(add_4_3)  # [batches_n, 24]  prelude.lee:61
        add_2_2_4 = torch.addmm(three_shift_layers_1_b, x_2_4, three_shift_layers_1_w)  # [batches_n, 1]  nn.lee:21
        add = b_3_2 * exp_s_2 + add_2_2_4  # [batches_n, 1]  likelihood.lee:170
        add_3_5 = torch.addmm(four_scale_layers_0_b, add, four_scale_layers_0_w)  # [batches_n, 24]  nn.lee:21
        x_2_2 = torch.relu(add_3_5)  # [batches_n, 24]  prelude.lee:61
        add_2_5 = torch.addmm(four_scale_layers_1_b, x_2_2, four_scale_layers_1_w)  # [batches_n, 1]  nn.lee:21
        s = torch.tanh(add_2_5)  # [batches_n, 1]  likelihood.lee:169
        exp_s = torch.exp(s)  # [batches_n, 1]  likelihood.lee:170
        add_4_4 = torch.addmm(four_shift_layers_0_b, add, four_shift_layers_0_w)  # [batches_n, 24]  nn.lee:21
        x_2_3 = torch.relu(add_4_4)  # [batches_n, 24]  prelude.lee:61
        add_2_2_5 = torch.addmm(four_shift_layers_1_b, x_2_3, four_shift_layers_1_w)  # [batches_n, 1]  nn.lee:21
        z = torch.cat((a_2 * exp_s + add_2_2_5, add), dim=1)  # [batches_n, 2]  likelihood.lee:163
        add_3 = s_4.reshape(batches_n) + s_3.reshape(batches_n)  # [batches_n]  likelihood.lee:189
        log_det = add_3 + s_2.reshape(batches_n) + s.reshape(batches_n)  # [batches_n]
        sub = 0.5 * (z * z + 1.8378770664093453).sum(dim=1) - log_det  # [batches_n]  likelihood.lee:198
        d_z = scale * z  # [batches_n, 2]  likelihood.lee:197
        d_add = d_z[:, :1]  # [batches_n, 1]  likelihood.lee:163
        torch.sum(d_add, dim=0, out=d_four_shift_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_3.T, d_add, out=d_four_shift_layers_1_w)  # [24, 1]
        # [batches_n, 24]  prelude.lee:61
        d_add_3_2 = torch.ops.aten.threshold_backward(d_add @ four_shift_layers_1_w.T, x_2_3, 0)
        torch.sum(d_add_3_2, dim=0, out=d_four_shift_layers_0_b)  # [24]  nn.lee:21
        torch.mm(add.T, d_add_3_2, out=d_four_shift_layers_0_w)  # [1, 24]
        d_add_2 = torch.ops.aten.tanh_backward(d_add * a_2 * exp_s - scale_, s)  # [batches_n, 1]  likelihood.lee:169
        torch.sum(d_add_2, dim=0, out=d_four_scale_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_2.T, d_add_2, out=d_four_scale_layers_1_w)  # [24, 1]
        d_x_2_2_2 = d_add_2 @ four_scale_layers_1_w.T  # [batches_n, 24]
        d_add_4 = torch.ops.aten.threshold_backward(d_x_2_2_2, x_2_2, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add_4, dim=0, out=d_four_scale_layers_0_b)  # [24]  nn.lee:21
        torch.mm(add.T, d_add_4, out=d_four_scale_layers_0_w)  # [1, 24]
        d_reshape_6 = d_z[:, 1:] + d_add_3_2 @ four_shift_layers_0_w.T  # [batches_n, 1]  likelihood.lee:169
        d_reshape = d_reshape_6 + d_add_4 @ four_scale_layers_0_w.T  # [batches_n, 1]
        torch.sum(d_reshape, dim=0, out=d_three_shift_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_4.T, d_reshape, out=d_three_shift_layers_1_w)  # [24, 1]
        d_x_2_3 = d_reshape @ three_shift_layers_1_w.T  # [batches_n, 24]
        d_add_3_3 = torch.ops.aten.threshold_backward(d_x_2_3, x_2_4, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add_3_3, dim=0, out=d_three_shift_layers_0_b)  # [24]  nn.lee:21
        torch.mm(a_2.T, d_add_3_3, out=d_three_shift_layers_0_w)  # [1, 24]
        # [batches_n, 1]  likelihood.lee:169
        d_add_2_2 = torch.ops.aten.tanh_backward(d_reshape * b_3_2 * exp_s_2 - scale_, s_2)
        torch.sum(d_add_2_2, dim=0, out=d_three_scale_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_2_2.T, d_add_2_2, out=d_three_scale_layers_1_w)  # [24, 1]
        d_x_2_2_3 = d_add_2_2 @ three_scale_layers_1_w.T  # [batches_n, 24]
        d_add_4_2 = torch.ops.aten.threshold_backward(d_x_2_2_3, x_2_2_2, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add_4_2, dim=0, out=d_three_scale_layers_0_b)  # [24]  nn.lee:21
        torch.mm(a_2.T, d_add_4_2, out=d_three_scale_layers_0_w)  # [1, 24]
        d_a_5 = d_add * exp_s + d_add_3_3 @ three_shift_layers_0_w.T  # [batches_n, 1]  likelihood.lee:168
        d_a_6 = d_a_5 + d_add_4_2 @ three_scale_layers_0_w.T  # [batches_n, 1]
        torch.sum(d_a_6, dim=0, out=d_two_shift_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_5.T, d_a_6, out=d_two_shift_layers_1_w)  # [24, 1]
        # [batches_n, 24]  prelude.lee:61
        d_add_3_4 = torch.ops.aten.threshold_backward(d_a_6 @ two_shift_layers_1_w.T, x_2_5, 0)
        torch.sum(d_add_3_4, dim=0, out=d_two_shift_layers_0_b)  # [24]  nn.lee:21
        torch.mm(b_3_2.T, d_add_3_4, out=d_two_shift_layers_0_w)  # [1, 24]
        # [batches_n, 1]  likelihood.lee:169
        d_add_2_3 = torch.ops.aten.tanh_backward(d_a_6 * a_3 * exp_s_3 - scale_, s_3)
        torch.sum(d_add_2_3, dim=0, out=d_two_scale_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_2_3.T, d_add_2_3, out=d_two_scale_layers_1_w)  # [24, 1]
        d_x_2_2_4 = d_add_2_3 @ two_scale_layers_1_w.T  # [batches_n, 24]
        d_add_4_3 = torch.ops.aten.threshold_backward(d_x_2_2_4, x_2_2_3, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add_4_3, dim=0, out=d_two_scale_layers_0_b)  # [24]  nn.lee:21
        torch.mm(b_3_2.T, d_add_4_3, out=d_two_scale_layers_0_w)  # [1, 24]
        d_reshape_6_2 = d_reshape * exp_s_2 + d_add_3_4 @ two_shift_layers_0_w.T  # [batches_n, 1]  likelihood.lee:169
        d_reshape_7 = d_reshape_6_2 + d_add_4_3 @ two_scale_layers_0_w.T  # [batches_n, 1]
        torch.sum(d_reshape_7, dim=0, out=d_one_shift_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_6.T, d_reshape_7, out=d_one_shift_layers_1_w)  # [24, 1]
        d_x_2_5 = d_reshape_7 @ one_shift_layers_1_w.T  # [batches_n, 24]
        d_add_3_5 = torch.ops.aten.threshold_backward(d_x_2_5, x_2_6, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add_3_5, dim=0, out=d_one_shift_layers_0_b)  # [24]  nn.lee:21
        torch.mm(a_3.T, d_add_3_5, out=d_one_shift_layers_0_w)  # [1, 24]
        # [batches_n, 1]  likelihood.lee:169
        d_add_2_4 = torch.ops.aten.tanh_backward(d_reshape_7 * b_5_2 * exp_s_4 - scale_, s_4)
        torch.sum(d_add_2_4, dim=0, out=d_one_scale_layers_1_b)  # [1]  nn.lee:21
        torch.mm(x_2_2_4.T, d_add_2_4, out=d_one_scale_layers_1_w)  # [24, 1]
        d_x_2_2_5 = d_add_2_4 @ one_scale_layers_1_w.T  # [batches_n, 24]
        d_add_4_4 = torch.ops.aten.threshold_backward(d_x_2_2_5, x_2_2_4, 0)  # [batches_n, 24]  prelude.lee:61
        torch.sum(d_add_4_4, dim=0, out=d_one_scale_layers_0_b)  # [24]  nn.lee:21
        torch.mm(a_3.T, d_add_4_4, out=d_one_scale_layers_0_w)  # [1, 24]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return sub.sum() / count  # likelihood.lee:198


class Mixing(Model):
    """An invertible matrix for each pixel (Glow, Kingma & Dhariwal 2018)."""

    members = ("w",)

    def __init__(self, channels, *, key=(0, 0)):
        super().__init__()
        self.channels = channels
        # [channels, channels]  likelihood.lee:235
        self.w = torch.nn.Parameter(normal(fold(key, SITES["w"]), (channels, channels), FLOAT))

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        n, _, rows, cols = x.shape
        contract = self.w @ x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  likelihood.lee:238
        y = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        _, log_abs = torch.linalg.slogdet(self.w)  # likelihood.lee:239
        return y, cols * rows * log_abs  # likelihood.lee:240

    def forward_backward(self, x, d_y, d_y_):
        """From d_y and d_y to the gradients by the parameters and x."""
        n, _, rows, cols = x.shape
        # gradient of return y, rows * cols * log_abs   likelihood.lee:240
        d_log_abs = d_y_ * (cols * rows)
        # gradient of y[b, o, i, j] = sum[c](w[o, c] * x[b, c, i, j])   likelihood.lee:238
        reshape = d_y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]
        contract = reshape @ x.reshape(n, self.channels, cols * rows).mT  # [n, channels, channels]
        d_x = (self.w.T @ reshape).reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        d_w = d_log_abs * torch.linalg.inv(self.w).T + contract.sum(dim=0)  # [channels, channels]
        return {"w": d_w}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        back = torch.linalg.inv(self.w)  # [channels, channels]  likelihood.lee:243
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  likelihood.lee:244
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        back = torch.linalg.inv(self.w)  # [channels, channels]  likelihood.lee:243
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  likelihood.lee:244
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x, back

    @staticmethod
    def inverse_backward(y, back, d_x):
        """From d_x to the gradients by the parameters and y."""
        n, channels, rows, cols = y.shape
        # gradient of x[b, o, i, j] = sum[c](back[o, c] * y[b, c, i, j])   likelihood.lee:244
        reshape = d_x.reshape(n, channels, cols * rows)  # [n, channels, cols * rows]
        d_back = (reshape @ y.reshape(n, channels, cols * rows).mT).sum(dim=0)  # [channels, channels]
        d_y = (back.T @ reshape).reshape(n, channels, rows, cols)  # [n, channels, rows, cols]
        # gradient of back = inv(w)   likelihood.lee:243
        d_w = -(back.T @ d_back @ back.T)  # [channels, channels]
        return {"w": d_w}, d_y


class ActNorm(Model):
    """ActNorm(channels)"""

    members = ("shift", "log_scale")

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.shift = torch.nn.Parameter(torch.full((channels,), 0.1, dtype=FLOAT))  # [channels]  likelihood.lee:249
        self.log_scale = torch.nn.Parameter(torch.full((channels,), 0.2, dtype=FLOAT))  # [channels]  likelihood.lee:250

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        _, _, rows, cols = x.shape
        reshape_2 = torch.exp(self.log_scale)[:, None, None]  # [channels, 1, 1]  likelihood.lee:253
        return (x + self.shift[:, None, None]) * reshape_2, cols * rows * self.log_scale.sum()

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        _, _, rows, cols = x.shape
        add = x + self.shift[:, None, None]  # [n, channels, rows, cols]  likelihood.lee:253
        exp_log_scale = torch.exp(self.log_scale)  # [channels]
        return add * exp_log_scale[:, None, None], cols * rows * self.log_scale.sum(), (add, exp_log_scale)

    @staticmethod
    def forward_backward(saved, d_mul, d_mul_2):
        """From d_mul and d_mul_2 to the gradients by the parameters and x."""
        add, exp_log_scale = saved
        _, _, rows, cols = add.shape
        # gradient of return (x + shift[:, None, None]) * exp(log_scale)[:, None, None], rows * col..   likelihood.lee:253
        d_x = d_mul * exp_log_scale[:, None, None]  # [n, channels, rows, cols]
        d_shift = d_x.sum(dim=0).sum(dim=(1, 2))  # [channels]
        d_log_scale_3 = (d_mul * add).sum(dim=0).sum(dim=(1, 2)) * exp_log_scale  # [channels]
        d_log_scale = d_mul_2 * (cols * rows) + d_log_scale_3  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        mul = y * torch.exp(-self.log_scale)[:, None, None]  # [n, channels, rows, cols]  likelihood.lee:256
        return mul - self.shift[:, None, None]  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        exp = torch.exp(-self.log_scale)  # [channels]  likelihood.lee:256
        return y * exp[:, None, None] - self.shift[:, None, None], exp

    @staticmethod
    def inverse_backward(y, exp, d_out):
        """From d_out to the gradients by the parameters and y."""
        channels = y.shape[1]
        # gradient of return y * exp(-log_scale)[:, None, None] - shift[:, None, None]   likelihood.lee:256
        d_shift = (-d_out.sum(dim=0).sum(dim=(1, 2), keepdim=True)).reshape(channels)  # [channels]
        d_y = d_out * exp[:, None, None]  # [n, channels, rows, cols]
        d_log_scale = -((d_out * y).sum(dim=0).sum(dim=(1, 2)) * exp)  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_y


class ByChannels(Model):
    """Half of the channels says how the other half is scaled and shifted."""

    members = ("inner", "outer")

    def __init__(self, channels, hidden, *, key=(0, 0)):
        super().__init__()
        self.channels, self.hidden = channels, hidden
        if channels % 2 != 0:
            raise ValueError(f"likelihood.lee:261: channels % 2 == 0 must hold: channels = {channels}")
        self.inner = Conv(channels // 2, hidden, padding=1, key=fold(key, SITES["inner"]))  # likelihood.lee:262
        self.outer = Conv(hidden, channels, padding=1, key=fold(key, SITES["outer"]))  # likelihood.lee:263

    def change(self, a):
        """a [n, channels // 2, rows, cols] -> [n, channels // 2, rows, cols], [n, channels - channels // 2, rows,
        cols]
        """
        h = self.outer(relu_2(self.inner(a)))  # [n, channels, rows, cols]  likelihood.lee:266
        return torch.tanh(h[:, : self.channels // 2]), h[:, self.channels // 2 :]  # likelihood.lee:267

    def change_saved(self, a):
        """As change, and what its gradient needs."""
        select = relu_2(self.inner(a))  # [n, hidden, rows, cols]  likelihood.lee:266
        h = self.outer(select)  # [n, channels, rows, cols]
        return torch.tanh(h[:, : self.channels // 2]), h[:, self.channels // 2 :], select  # likelihood.lee:267

    def change_backward(self, a, select, tanh, d_tanh, d_slice_2):
        """From d_tanh and d_slice_2 to the gradients by the parameters and a."""
        # gradient of h = outer(relu(inner(a)))   likelihood.lee:266
        d_h = torch.cat((d_tanh * (1 - tanh**2), d_slice_2), dim=1)  # [n, channels, rows, cols]
        d_outer, d_select = self.outer.forward_backward(select, d_h)
        d_inner, d_a = self.inner.forward_backward(a, relu_2_backward(select, d_select))
        return {"inner": d_inner, "outer": d_outer}, d_a

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]"""
        n, _, rows, cols = x.shape
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  likelihood.lee:270
        s, t = self.change(a)  # likelihood.lee:271
        exp_s = torch.exp(s)  # [n, channels // 2, rows, cols]  likelihood.lee:272
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        add = x[:, self.channels // 2 :] * reshape + t  # [n, channels - channels // 2, rows, cols]
        return torch.cat((a, add), dim=1), s.sum(dim=(1, 2, 3))

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, rows, cols = x.shape
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  likelihood.lee:270
        s, t, saved_self = self.change_saved(a)  # likelihood.lee:271
        exp_s = torch.exp(s)  # [n, channels // 2, rows, cols]  likelihood.lee:272
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        add = x[:, self.channels // 2 :] * reshape + t  # [n, channels - channels // 2, rows, cols]
        return torch.cat((a, add), dim=1), s.sum(dim=(1, 2, 3)), (s, saved_self, exp_s)

    def forward_backward(self, x, saved, d_concat, d_sum):
        """From d_concat and d_sum to the gradients by the parameters and x."""
        s, saved_self, exp_s = saved
        n, _, rows, cols = x.shape
        # gradient of a = x[:, : channels // 2]   likelihood.lee:270
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        # gradient of return concat(a, x[:, channels // 2 :] * exp(s) + t, axis = 1), sum(s, axis =..   likelihood.lee:272
        d_t = d_concat[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_reshape = d_t * x[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_s_3 = d_reshape.reshape(n, self.channels // 2, rows, cols) * exp_s  # [n, channels // 2, rows, cols]
        # gradient of s, t = change(a)   likelihood.lee:271
        d_s = d_sum[:, None, None, None] + d_s_3  # [n, channels // 2, rows, cols]
        d_bychannels, d_a_3 = self.change_backward(a, saved_self, s, d_s, d_t)
        # gradient of a = x[:, : channels // 2]   likelihood.lee:270
        d_a = d_concat[:, : self.channels // 2] + d_a_3  # [n, channels // 2, rows, cols]
        d_x = torch.cat((d_a, d_t * reshape), dim=1)  # [n, channels, rows, cols]
        return d_bychannels, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  likelihood.lee:275
        s, t = self.change(a)  # likelihood.lee:276
        exp = torch.exp(-s)  # [n, channels // 2, rows, cols]  likelihood.lee:277
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        mul = (y[:, self.channels // 2 :] - t) * reshape  # [n, channels - channels // 2, rows, cols]
        return torch.cat((a, mul), dim=1)  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  likelihood.lee:275
        s, t, saved_self = self.change_saved(a)  # likelihood.lee:276
        sub = y[:, self.channels // 2 :] - t  # [n, channels - channels // 2, rows, cols]  likelihood.lee:277
        exp = torch.exp(-s)  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        return torch.cat((a, sub * reshape), dim=1), (s, saved_self, sub, exp)

    def inverse_backward(self, y, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        s, saved_self, sub, exp = saved
        n, _, rows, cols = y.shape
        # gradient of a = y[:, : channels // 2]   likelihood.lee:275
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        # gradient of return concat(a, (y[:, channels // 2 :] - t) * exp(-s), axis = 1)   likelihood.lee:277
        d_mul = d_out[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_sub = d_mul * reshape  # [n, channels - channels // 2, rows, cols]
        d_exp = (d_mul * sub).reshape(n, self.channels // 2, rows, cols)  # [n, channels // 2, rows, cols]
        d_s = -(d_exp * exp)  # [n, channels // 2, rows, cols]
        d_t = -d_sub  # [n, channels - channels // 2, rows, cols]
        # gradient of s, t = change(a)   likelihood.lee:276
        d_bychannels, d_a_3 = self.change_backward(a, saved_self, s, d_s, d_t)
        # gradient of a = y[:, : channels // 2]   likelihood.lee:275
        d_a = d_out[:, : self.channels // 2] + d_a_3  # [n, channels // 2, rows, cols]
        d_y = torch.cat((d_a, d_sub), dim=1)  # [n, channels, rows, cols]
        return d_bychannels, d_y


class GlowStep(Model):
    """GlowStep(channels, hidden)"""

    members = ("norm1", "mix", "couple")

    def __init__(self, channels, hidden, *, key=(0, 0)):
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.norm1 = ActNorm(channels)  # likelihood.lee:281
        self.mix = Mixing(channels, key=fold(key, SITES["mix"]))  # likelihood.lee:282
        self.couple = ByChannels(channels, hidden, key=fold(key, SITES["couple"]))  # likelihood.lee:283

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]"""
        x_2, one = self.norm1(x)  # likelihood.lee:286
        x_3, two = self.mix(x_2)  # likelihood.lee:287
        x_4, three = self.couple(x_3)  # likelihood.lee:288
        return x_4, one + two + three  # likelihood.lee:289

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, one, saved_norm1 = self.norm1.forward_saved(x)  # likelihood.lee:286
        x_3, two = self.mix(x_2)  # likelihood.lee:287
        x_4, three, saved_couple = self.couple.forward_saved(x_3)  # likelihood.lee:288
        return x_4, one + two + three, (x_2, saved_norm1, x_3, saved_couple)  # likelihood.lee:289

    def forward_backward(self, saved, d_x_4, d_y):
        """From d_x_4 and d_y to the gradients by the parameters and x."""
        x_2, saved_norm1, x_3, saved_couple = saved
        # gradient of return x, one + two + three   likelihood.lee:289
        d_two = d_y.sum()
        # gradient of x, three = couple(x)   likelihood.lee:288
        d_couple, d_x_3 = self.couple.forward_backward(x_3, saved_couple, d_x_4, d_y)
        # gradient of x, two = mix(x)   likelihood.lee:287
        d_mix, d_x_2 = self.mix.forward_backward(x_2, d_x_3, d_two)
        # gradient of x, one = norm1(x)   likelihood.lee:286
        d_norm1, d_x = ActNorm.forward_backward(saved_norm1, d_x_2, d_two)
        return {"norm1": d_norm1, "mix": d_mix, "couple": d_couple}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        # [n, channels, rows, cols]  likelihood.lee:292
        return self.norm1.inverse(self.mix.inverse(self.couple.inverse(y)))

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        concat, saved_couple = self.couple.inverse_saved(y)  # likelihood.lee:292
        mix_out, saved_mix = self.mix.inverse_saved(concat)
        sub, saved_norm1 = self.norm1.inverse_saved(mix_out)
        return sub, (concat, saved_couple, mix_out, saved_mix, saved_norm1)

    def inverse_backward(self, y, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        concat, saved_couple, mix_out, saved_mix, saved_norm1 = saved
        # gradient of return norm1.inverse(mix.inverse(couple.inverse(y)))   likelihood.lee:292
        d_norm1, d_mix_out = ActNorm.inverse_backward(mix_out, saved_norm1, d_out)
        d_mix, d_concat = Mixing.inverse_backward(concat, saved_mix, d_mix_out)
        d_couple, d_y = self.couple.inverse_backward(y, saved_couple, d_concat)
        return {"norm1": d_norm1, "mix": d_mix, "couple": d_couple}, d_y


def of_images_saved(net, x):
    """As of_images, and what its gradient needs."""
    _, _, rows, cols = x.shape
    z, log_det, saved_net = net.forward_saved(x)  # likelihood.lee:297
    prior = -0.5 * (z**2 + 1.8378770664093453).sum(dim=(1, 2, 3))  # [n]  likelihood.lee:298
    return -((prior + log_det).mean() / (cols * net.channels * rows)), (z, saved_net)  # likelihood.lee:299


def of_images_backward(net, saved, d_div):
    """From d_div to the gradients by net and x."""
    z, saved_net = saved
    n, _, rows, cols = z.shape
    # gradient of return -mean(prior + log_det) / (c * rows * cols)   likelihood.lee:299
    neg = -(d_div / (cols * net.channels * rows) / n)
    d_prior = neg.expand(n)  # [n]
    # gradient of z, log_det = net(x)   likelihood.lee:297
    d_z = 2 * (neg * -0.5) * z  # [n, net.channels, rows, cols]
    d_net, d_x = net.forward_backward(saved_net, d_z, d_prior)
    return d_net, d_x


def squeezed(x):
    """Neighbouring samples of a sound become channels.

    x [n, time] -> [n, 2, time // 2]
    """
    time = x.shape[1]
    if time % 2 != 0:
        raise ValueError(f"likelihood.lee:304: time % 2 == 0 must hold: time = {time}")
    y = x.unfold(1, 2, 2).mT  # [n, 2, time // 2]  likelihood.lee:305
    return y  # [n, 2, time // 2]


def squeezed_backward(time, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[r, c in 2, t in time // 2] = x[r, 2*t + c]   likelihood.lee:305
    d_x = unwindow(d_y.mT, 1, time, 2, 1)  # [n, time]
    return d_x  # [n, time]


class WaveGlow(Model):
    """A coupling of two channels of sound, told by a spectrogram what is said (Prenger et al. 2019)."""

    members = ("heard", "condition", "out")

    def __init__(self, bands, hidden, k=3, *, key=(0, 0)):
        super().__init__()
        self.bands, self.hidden, self.k = bands, hidden, k
        if k % 2 != 1:
            raise ValueError(f"likelihood.lee:311: k % 2 == 1 must hold: k = {k}")
        # [hidden, k]  likelihood.lee:312
        self.heard = torch.nn.Parameter(0.5 * normal(fold(key, SITES["heard"]), (hidden, k), FLOAT))
        self.condition = Linear(bands, hidden, key=fold(key, SITES["condition"]))  # likelihood.lee:313
        self.out = Linear(hidden, 2, key=fold(key, SITES["out"]))  # likelihood.lee:314

    def change(self, a, spectrum):
        """a [n, m], spectrum [n, m, bands] -> [n, m], [n, m]"""
        n, m = a.shape
        # [n, m + 2 * (k // 2)]  likelihood.lee:317
        around = torch.nn.functional.pad(a, (self.k // 2, self.k // 2, 0, 0), value=0.0)
        slice_ = around[:, None][:, :, : self.k + m - 1]  # [n, 1, k + m - 1]  likelihood.lee:318
        h = torch.nn.functional.conv1d(slice_, self.heard[:, None]).mT  # [n, m, hidden]
        condition_out = self.condition(spectrum.reshape(m * n, self.bands))  # [m * n, hidden]  likelihood.lee:319
        tanh = torch.tanh(h + condition_out.reshape(n, m, self.hidden))  # [n, m, hidden]
        z = self.out(tanh.reshape(m * n, self.hidden)).reshape(n, m, 2)  # [n, m, 2]
        return torch.tanh(z[:, :, 0]), z[:, :, 1]  # likelihood.lee:320

    def change_saved(self, a, spectrum):
        """As change, and what its gradient needs."""
        n, m = a.shape
        # [n, m + 2 * (k // 2)]  likelihood.lee:317
        around = torch.nn.functional.pad(a, (self.k // 2, self.k // 2, 0, 0), value=0.0)
        slice_ = around[:, None][:, :, : self.k + m - 1]  # [n, 1, k + m - 1]  likelihood.lee:318
        h = torch.nn.functional.conv1d(slice_, self.heard[:, None]).mT  # [n, m, hidden]
        condition_out = self.condition(spectrum.reshape(m * n, self.bands))  # [m * n, hidden]  likelihood.lee:319
        tanh = torch.tanh(h + condition_out.reshape(n, m, self.hidden))  # [n, m, hidden]
        z = self.out(tanh.reshape(m * n, self.hidden)).reshape(n, m, 2)  # [n, m, 2]
        return torch.tanh(z[:, :, 0]), z[:, :, 1], (slice_, tanh)  # likelihood.lee:320

    def change_backward(self, spectrum, saved, tanh_2, d_tanh_2, d_reshape_6):
        """From d_tanh_2 and d_reshape_6 to the gradients by the parameters, a and spectrum."""
        slice_, tanh = saved
        n, m, _ = spectrum.shape
        # gradient of z = out(tanh(h + condition(spectrum)))   likelihood.lee:319
        d_z = torch.stack((d_tanh_2 * (1 - tanh_2**2), d_reshape_6), dim=2)  # [n, m, 2]
        reshape_2 = tanh.reshape(m * n, self.hidden)  # [m * n, hidden]
        d_out, d_reshape_5 = self.out.forward_backward(reshape_2, d_z.reshape(m * n, 2))
        d_h = d_reshape_5.reshape(n, m, self.hidden) * (1 - tanh**2)  # [n, m, hidden]
        spectrum_flat = spectrum.reshape(m * n, self.bands)  # [m * n, bands]
        d_condition_out = d_h.reshape(m * n, self.hidden)  # [m * n, hidden]
        d_condition, d_spectrum_flat = self.condition.forward_backward(spectrum_flat, d_condition_out)
        d_spectrum = d_spectrum_flat.reshape(n, m, self.bands)  # [n, m, bands]
        # gradient of h[r, t in m, o] = sum[u in k](around[r, t + u] * heard[o, u])   likelihood.lee:318
        reshape = self.heard[:, None]  # [hidden, 1, k]
        d_reshape_2 = torch.nn.grad.conv1d_weight(slice_, (self.hidden, 1, self.k), d_h.mT)  # [hidden, 1, k]
        d_slice = torch.nn.functional.conv_transpose1d(d_h.mT, reshape)  # [n, 1, k + m - 1]
        # [n, 1, m + 2 * (k // 2)]
        d_reshape = unslice(
            d_slice, (n, 1, m + 2 * (self.k // 2)), (slice(0, n), slice(0, 1), slice(0, self.k + m - 1))
        )
        d_heard = d_reshape_2.reshape(self.hidden, self.k)  # [hidden, k]
        d_around = d_reshape.reshape(n, m + 2 * (self.k // 2))  # [n, m + 2 * (k // 2)]
        # gradient of around = pad(a, (0, k // 2))   likelihood.lee:317
        d_a = d_around[:, self.k // 2 : m + self.k // 2]  # [n, m]
        return {"heard": d_heard, "condition": d_condition, "out": d_out}, d_a, d_spectrum

    def forward(self, x, spectrum):
        """x [n, 2, m], spectrum [n, m, bands] -> [n, 2, m], [n]"""
        s, t = self.change(x[:, 0], spectrum)  # likelihood.lee:323
        reshape = (x[:, 1] * torch.exp(s) + t)[:, None]  # [n, 1, m]  likelihood.lee:324
        return torch.cat((x[:, :1], reshape), dim=1), s.sum(dim=1)

    def forward_saved(self, x, spectrum):
        """As forward, and what its gradient needs."""
        s, t, saved_self = self.change_saved(x[:, 0], spectrum)  # likelihood.lee:323
        exp_s = torch.exp(s)  # [n, m]  likelihood.lee:324
        return torch.cat((x[:, :1], (x[:, 1] * exp_s + t)[:, None]), dim=1), s.sum(dim=1), (s, saved_self, exp_s)

    def forward_backward(self, x, spectrum, saved, d_concat, d_sum):
        """From d_concat and d_sum to the gradients by the parameters, x and spectrum."""
        s, saved_self, exp_s = saved
        # gradient of return stack(x[:, 0], x[:, 1] * exp(s) + t, axis = 1), sum(s, axis = 1)   likelihood.lee:324
        d_t = d_concat[:, 1]  # [n, m]
        # gradient of s, t = change(x[:, 0], spectrum)   likelihood.lee:323
        d_s = d_sum[:, None] + d_t * x[:, 1] * exp_s  # [n, m]
        d_waveglow, d_reshape, d_spectrum = self.change_backward(spectrum, saved_self, s, d_s, d_t)
        d_slice = d_concat[:, :1] + d_reshape[:, None]  # [n, 1, m]
        d_x = torch.cat((d_slice, (d_t * exp_s)[:, None]), dim=1)  # [n, 2, m]
        return d_waveglow, d_x, d_spectrum

    def inverse(self, y, spectrum):
        """y [n, 2, m], spectrum [n, m, bands] -> [n, 2, m]"""
        s, t = self.change(y[:, 0], spectrum)  # likelihood.lee:327
        reshape = ((y[:, 1] - t) * torch.exp(-s))[:, None]  # [n, 1, m]  likelihood.lee:328
        return torch.cat((y[:, :1], reshape), dim=1)  # [n, 2, m]

    def inverse_saved(self, y, spectrum):
        """As inverse, and what its gradient needs."""
        s, t, saved_self = self.change_saved(y[:, 0], spectrum)  # likelihood.lee:327
        sub = y[:, 1] - t  # [n, m]  likelihood.lee:328
        exp = torch.exp(-s)  # [n, m]
        return torch.cat((y[:, :1], (sub * exp)[:, None]), dim=1), (s, saved_self, sub, exp)

    def inverse_backward(self, spectrum, saved, d_out):
        """From d_out to the gradients by the parameters, y and spectrum."""
        s, saved_self, sub, exp = saved
        # gradient of return stack(y[:, 0], (y[:, 1] - t) * exp(-s), axis = 1)   likelihood.lee:328
        d_mul = d_out[:, 1]  # [n, m]
        d_sub = d_mul * exp  # [n, m]
        d_s = -(d_mul * sub * exp)  # [n, m]
        d_t = -d_sub  # [n, m]
        # gradient of s, t = change(y[:, 0], spectrum)   likelihood.lee:327
        d_waveglow, d_reshape, d_spectrum = self.change_backward(spectrum, saved_self, s, d_s, d_t)
        d_y = torch.cat((d_out[:, :1] + d_reshape[:, None], d_sub[:, None]), dim=1)  # [n, 2, m]
        return d_waveglow, d_y, d_spectrum


def of_sound(net, x, spectrum):
    """x [n, 2, m], spectrum [n, m, net.bands] -> []"""
    z, log_det = net(x, spectrum)  # likelihood.lee:332
    sub = 0.5 * (z**2 + 1.8378770664093453).sum(dim=(1, 2)) - log_det  # [n]  likelihood.lee:333
    return sub.mean()


def of_sound_saved(net, x, spectrum):
    """As of_sound, and what its gradient needs."""
    z, log_det, saved_net = net.forward_saved(x, spectrum)  # likelihood.lee:332
    sub = 0.5 * (z**2 + 1.8378770664093453).sum(dim=(1, 2)) - log_det  # [n]  likelihood.lee:333
    return sub.mean(), (z, saved_net)


def of_sound_backward(net, x, spectrum, saved, d_y):
    """From d_y to the gradients by net, x and spectrum."""
    z, saved_net = saved
    n = x.shape[0]
    # gradient of return mean(0.5 * sum(z ** 2 + log(2 * pi), axis = (1, 2)) - log_det)   likelihood.lee:333
    div = d_y / n
    d_log_det = (-div).expand(n)  # [n]
    # gradient of z, log_det = net(x, spectrum)   likelihood.lee:332
    d_z = 2 * (div * 0.5) * z  # [n, 2, m]
    d_net, d_x, d_spectrum = net.forward_backward(x, spectrum, saved_net, d_z, d_log_det)
    return d_net, d_x, d_spectrum


def example_following(key):
    net = PixelRNN(5, 6, key=fold(key, SITES["net"]))  # likelihood.lee:340
    x = randint(fold(key, SITES["x"]), (3, 7), 0, 5)  # int[3, 7]  likelihood.lee:341
    value, saved_next_pixel = next_pixel_saved(net, x)  # likelihood.lee:342
    d_net = next_pixel_backward(net, x, saved_next_pixel, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net)


def example_sampled(key):
    net = PixelRNN(5, 6, key=fold(key, SITES["net"]))  # likelihood.lee:346
    first = randint(fold(key, SITES["first"]), (3,), 0, 5)  # int[3]  likelihood.lee:347
    luck = uniform(fold(key, SITES["luck"]), (3, 7), FLOAT)  # [3, 7]  likelihood.lee:348
    return painted(net, first, luck)  # int[3, 7]  likelihood.lee:349


def example_with_codes(key):
    decoder = MLP((3, 6, 5), key=fold(key, SITES["decoder"]))  # likelihood.lee:353
    code = normal(fold(key, SITES["code"]), (7, 3), FLOAT)  # [7, 3]  likelihood.lee:354
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  likelihood.lee:355
    value, saved_from_codes = from_codes_saved(decoder, code, x)  # likelihood.lee:356
    d_value = torch.ones((), dtype=FLOAT)
    d_decoder, d_code, d_x = from_codes_backward(decoder, code, saved_from_codes, d_value)
    return value, decoder.at(d_decoder), d_code, d_x


def example_coded(key):
    net = VAE(5, 6, 3, key=fold(key, SITES["net"]))  # likelihood.lee:360
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  likelihood.lee:361
    e = normal(fold(key, SITES["e"]), (7, 3), FLOAT)  # [7, 3]  likelihood.lee:362
    value, saved_elbo = elbo_saved(net, x, e)  # likelihood.lee:363
    d_net, d_x, d_e = elbo_backward(net, x, e, 0.5, saved_elbo, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x, d_e


def example_coded_as_printed(key):
    net = VAE(5, 6, 3, key=fold(key, SITES["net"]))  # likelihood.lee:367
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  likelihood.lee:368
    e = normal(fold(key, SITES["e"]), (7, 3), FLOAT)  # [7, 3]  likelihood.lee:369
    value, saved_elboAsPrinted = elboAsPrinted_saved(net, x, e)  # likelihood.lee:370
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_x, d_e = elboAsPrinted_backward(net, x, e, saved_elboAsPrinted, d_value)
    return value, net.at(d_net), d_x, d_e


def example_swept(key):
    net = VAE(5, 6, 3, key=fold(key, SITES["net"]))  # likelihood.lee:374
    code = normal(fold(key, SITES["code"]), (3,), FLOAT)  # [3]  likelihood.lee:375
    steps = normal(fold(key, SITES["steps"]), (4,), FLOAT)  # [4]  likelihood.lee:376
    c = normal(fold(key, SITES["c"]), (4, 4, 5), FLOAT)  # [4, 4, 5]  likelihood.lee:377
    d_c, saved_controlled = controlled_saved(net, code, 0, 2, steps)  # likelihood.lee:378
    d_net, d_code, d_steps = controlled_backward(net, saved_controlled, 3, c)
    w_2 = torch.zeros((6, 3), dtype=FLOAT)  # [6, 3]
    b_2 = torch.zeros(3, dtype=FLOAT)  # [3]
    return (
        (c * d_c).sum(),
        net.at(
            {
                "encoder": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": torch.zeros(6, dtype=FLOAT)},
                "mean_": {"w": w_2, "b": b_2},
                "spread": {"w": w_2, "b": b_2},
                "decoder": d_net["decoder"],
            }
        ),
        d_code,
        d_steps,
        d_c,
    )


def example_likely(key):
    x = 0.5 * normal(fold(key, SITES["x"]), (4,), FLOAT)  # [4]  likelihood.lee:382
    mu = 0.5 * normal(fold(key, SITES["mu"]), (4,), FLOAT)  # [4]  likelihood.lee:383
    uniform_ = uniform(fold(key, SITES["sigma"]), (4,), FLOAT)  # [4]  likelihood.lee:384
    sigma = 0.3 + 0.6000000000000001 * uniform_  # [4]
    z = (torch.arange(401) - 200).to(FLOAT) / 25  # [401]  likelihood.lee:385
    add, saved_evidence = evidence_saved(x, 1.3, 0.4, z)  # likelihood.lee:386
    sub_9, saved_bound = bound_saved(x, mu, sigma, 1.3, 0.4, z)
    d_sub_9 = torch.full((4,), 2.0, dtype=FLOAT)  # [4]
    d_x_2, d_mu, d_sigma = bound_backward(mu, sigma, 0.4, saved_bound, d_sub_9)
    d_x_3 = evidence_backward(0.4, saved_evidence, torch.ones(4, dtype=FLOAT))  # [4]
    return add.sum() + 2 * sub_9.sum(), d_x_2 + d_x_3, d_mu, d_sigma


def example_coupled(key):
    net = RealNVP(4, 5, key=fold(key, SITES["net"]))  # likelihood.lee:390
    x = normal(fold(key, SITES["x"]), (6, 4), FLOAT)  # [6, 4]  likelihood.lee:391
    value, saved_surprise = surprise_saved(net, x)  # likelihood.lee:392
    d_net, d_x = surprise_backward(net, saved_surprise, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x


def example_there_and_back(key):
    net = RealNVP(4, 5, key=fold(key, SITES["net"]))  # likelihood.lee:396
    x = normal(fold(key, SITES["x"]), (6, 4), FLOAT)  # [6, 4]  likelihood.lee:397
    c = normal(fold(key, SITES["c"]), (6, 4), FLOAT)  # [6, 4]  likelihood.lee:398
    d_c, saved_net = net.inverse_saved(x)  # likelihood.lee:399
    d_net, d_x = net.inverse_backward(saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_stretched(key):
    net = RealNVP(4, 5, key=fold(key, SITES["net"]))  # likelihood.lee:403
    x = normal(fold(key, SITES["x"]), (4,), FLOAT)  # [4]  likelihood.lee:404
    j, d, saved_volume = volume_saved(net, x)  # likelihood.lee:405
    d_j = torch.ones((4, 4), dtype=FLOAT)  # [4, 4]  likelihood.lee:406
    d_net, d_x = volume_backward(net, j, saved_volume, d_j, torch.ones((), dtype=FLOAT))  # likelihood.lee:405
    return (
        d + j.sum(),
        net.at(
            {
                "one": d_net["one"],
                "two": d_net["two"],
                "three": d_net["three"],
                "four": {
                    "scale": d_net["four"]["scale"],
                    "shift": {
                        "layers.0": {"w": d_net["four"]["shift"]["layers.0"]["w"], "b": torch.zeros(5, dtype=FLOAT)},
                        "layers.1": {"w": d_net["four"]["shift"]["layers.1"]["w"], "b": torch.zeros(2, dtype=FLOAT)},
                    },
                },
            }
        ),
        d_x,
    )


def example_of_pixels(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 4), FLOAT)  # [2, 3, 4]  likelihood.lee:410
    half, saved_checkerboard = checkerboard_saved(image, 0)  # likelihood.lee:411
    half_2, saved_checkerboard_ = checkerboard_saved(image, 1)
    mul_2 = half_2**2  # [2, 3, 4]
    d_image_2 = checkerboard_backward(saved_checkerboard_, 2 * mul_2 + mul_2)  # [2, 3, 4]
    d_image_3 = checkerboard_backward(saved_checkerboard, 2 * half)  # [2, 3, 4]
    return (half**2).sum() + (mul_2 * half_2).sum(), d_image_2 + d_image_3


def example_glowing(key):
    net = GlowStep(4, 5, key=fold(key, SITES["net"]))  # likelihood.lee:415
    x = normal(fold(key, SITES["x"]), (2, 4, 3, 2), FLOAT)  # [2, 4, 3, 2]  likelihood.lee:416
    c = normal(fold(key, SITES["c"]), (2, 4, 3, 2), FLOAT)  # [2, 4, 3, 2]  likelihood.lee:417
    div, saved_of_images = of_images_saved(net, x)  # likelihood.lee:418
    d_c, saved_net = net.inverse_saved(x)
    d_net, d_x_2 = net.inverse_backward(x, saved_net, c)
    d_net_, d_x_3 = of_images_backward(net, saved_of_images, torch.ones((), dtype=FLOAT))
    kernel = d_net["couple"]["inner"]["kernel"] + d_net_["couple"]["inner"]["kernel"]  # [5, 2, 3, 3]
    bias = d_net["couple"]["inner"]["bias"] + d_net_["couple"]["inner"]["bias"]  # [5]
    kernel_2 = d_net["couple"]["outer"]["kernel"] + d_net_["couple"]["outer"]["kernel"]  # [4, 5, 3, 3]
    bias_2 = d_net["couple"]["outer"]["bias"] + d_net_["couple"]["outer"]["bias"]  # [4]
    return (
        div + (c * d_c).sum(),
        net.at(
            {
                "norm1": {
                    "shift": d_net["norm1"]["shift"] + d_net_["norm1"]["shift"],
                    "log_scale": d_net["norm1"]["log_scale"] + d_net_["norm1"]["log_scale"],
                },
                "mix": {"w": d_net["mix"]["w"] + d_net_["mix"]["w"]},
                "couple": {"inner": {"kernel": kernel, "bias": bias}, "outer": {"kernel": kernel_2, "bias": bias_2}},
            }
        ),
        d_x_2 + d_x_3,
        d_c,
    )


def example_spoken(key):
    net = WaveGlow(3, 5, key=fold(key, SITES["net"]))  # likelihood.lee:422
    x = normal(fold(key, SITES["x"]), (2, 12), FLOAT)  # [2, 12]  likelihood.lee:423
    spectrum = normal(fold(key, SITES["spectrum"]), (2, 6, 3), FLOAT)  # [2, 6, 3]  likelihood.lee:424
    c = normal(fold(key, SITES["c"]), (2, 2, 6), FLOAT)  # [2, 2, 6]  likelihood.lee:425
    y = squeezed(x)  # [2, 2, 6]  likelihood.lee:426
    mean, saved_of_sound = of_sound_saved(net, y, spectrum)
    d_c, saved_net = net.inverse_saved(y, spectrum)
    d_net, d_y_2, d_spectrum_2 = net.inverse_backward(spectrum, saved_net, c)
    d_value = torch.ones((), dtype=FLOAT)
    d_net_, d_y_3, d_spectrum_3 = of_sound_backward(net, y, spectrum, saved_of_sound, d_value)
    return (
        mean + (c * d_c).sum(),
        net.at(
            {
                "heard": d_net["heard"] + d_net_["heard"],
                "condition": {
                    "w": d_net["condition"]["w"] + d_net_["condition"]["w"],
                    "b": d_net["condition"]["b"] + d_net_["condition"]["b"],
                },
                "out": {"w": d_net["out"]["w"] + d_net_["out"]["w"], "b": d_net["out"]["b"] + d_net_["out"]["b"]},
            }
        ),
        squeezed_backward(12, d_y_2 + d_y_3),
        d_spectrum_2 + d_spectrum_3,
        d_c,
    )


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    surprise_ = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise_)  # losses.lee:46


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

    def forward_backward_input(self, d_y):
        """From d_y to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_y @ self.w.T  # [rows, inputs]
        return d_x  # [rows, inputs]

    def forward_backward_input_backward(self, d_add, d_d_x):
        """From d_add and d_d_x to the gradients by the parameters and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = d_d_x @ self.w  # [rows, outputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}, d_d_add

    @staticmethod
    def forward_backward_input_backward_parameters(d_add, d_d_x):
        """From d_add and d_d_x to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}  # [inputs, outputs]


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

    def forward_backward_input_saved(self, x_2, d_y):
        """From d_y to the gradients by x and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [x_0, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_x = self.layers[0].forward_backward_input(d_add)  # [x_0, sizes_0]
        return d_x, (d_add, saved_relu_backward)

    def forward_backward_input_backward(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradients by the parameters and d_add_2."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_d_add_2 = self.layers[1].forward_backward_input_backward(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_d_add_2

    def forward_backward_input_backward_parameters(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradient by the parameters."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1 = Linear.forward_backward_input_backward_parameters(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1}


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

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "code": 0x3E07E7F942BE430F,
    "condition": 0xAC952B0E748B8374,
    "couple": 0x65E21FC424F0070A,
    "decoder": 0x461F1F218D809D1B,
    "e": 0x4F1D2FB024A5D810,
    "e#2": 0xD06E1C06430B8AD6,
    "embed": 0x27E955C38790254E,
    "encoder": 0x651C9E989B434403,
    "first": 0xA31DFC4F51C2A8A2,
    "four": 0x646F3539E125224E,
    "heard": 0xB36F4040021C378B,
    "image": 0x86C9701471CF0710,
    "inner": 0xB0FF036CB99EC5F6,
    "kernel": 0x273FEA903E119357,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "luck": 0x66286CB757D479B9,
    "mean_": 0x8D65B8EC6BBCBEFA,
    "mix": 0x8568467C7E8A80DF,
    "mu": 0xFEC63872DC35BD31,
    "net": 0xF087C76970C91612,
    "one": 0xC915768BAADDF234,
    "out": 0x00B417F045D422B4,
    "outer": 0x6AC5915904F79757,
    "scale": 0x0E7C446449309221,
    "shift": 0xDD38B998DBF6412D,
    "sigma": 0xB5C0FCDB99C647E6,
    "spectrum": 0xD35CF9F3A01954FD,
    "spread": 0x9033BFCA0CA632CE,
    "steps": 0x8BBEE750046E0E58,
    "three": 0x9E43B6FAAED0B532,
    "two": 0x03074A796C55EEF5,
    "w": 0x20925082A2286B9E,
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


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))); where x is -inf all along, it is so too and the gradient is 0."""
    empty = torch.isneginf(x).all(axes, keepdim=True)
    return torch.logsumexp(torch.where(empty, x.detach(), x), axes, keepdim=keepdims)


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


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


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = x.abs() > 100 * torch.finfo(x.dtype).eps * scale
    return torch.where(far, 1 / torch.where(far, x, 1.0), 0.0)


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = vectors.abs()
    near = size >= 0.999 * size.amax(dim=-2, keepdim=True)
    largest = torch.take_along_dim(vectors, near.int().argmax(dim=-2, keepdim=True), -2)
    return torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def inverse_gaps(values):
    """1 / (values[j] - values[i]), and 0 where both are equal up to rounding."""
    scale = values.abs().amax(dim=-1)[..., None, None]
    return reciprocal_or_zero(values[..., None, :] - values[..., :, None], scale)


class Svd(torch.autograd.Function):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""

    @staticmethod
    def forward(ctx, a):
        u, s, vt = torch.linalg.svd(a, full_matrices=False)
        sign = signs_of_columns(u)
        u, v = u * sign, vt.mT * sign
        ctx.save_for_backward(u, s, v)
        return u, s, v

    @staticmethod
    def backward(ctx, d_u, d_s, d_v):
        u, s, v = ctx.saved_tensors
        scale = s.amax(dim=-1)[..., None, None]
        gaps = inverse_gaps(s) * reciprocal_or_zero(s[..., None, :] + s[..., :, None], scale)
        turn_u, turn_v = u.mT @ d_u, v.mT @ d_v
        inner = gaps * (turn_u - turn_u.mT) * s[..., None, :] + s[..., :, None] * gaps * (turn_v - turn_v.mT)
        inverse = reciprocal_or_zero(s[..., None, :], scale)
        left = u @ inner + u * d_s[..., None, :] + (d_u - u @ turn_u) * inverse
        return left @ v.mT + u * inverse @ (d_v - v @ turn_v).mT


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    return Svd.apply(a)


def cofactor(a):
    """The derivative of det(a) by a, also where a is singular: from its singular values, all but one multiplied."""
    u, s, v = svd(a)
    one = torch.eye(s.shape[-1], dtype=torch.bool, device=a.device)
    others = torch.where(one, 1.0, s[..., None, :]).prod(dim=-1)
    sign = torch.sign(torch.linalg.det((u @ v.mT).detach()))[..., None, None]
    return sign * (u * others[..., None, :]) @ v.mT


class Det(torch.autograd.Function):
    """The determinant, which has a derivative where a is singular, too."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.linalg.det(a)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g[..., None, None] * cofactor(a)


def det(a):
    """The determinant, which has a derivative where a is singular, too."""
    return Det.apply(a)


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
