"""GPT (inventory G15, G21, I23): a model of what comes next, made of attention to what came before.

As published for GPT-2: it normalises before each branch, takes gelu by its form with tanh, and the table that reads
tokens also writes them.

Made from specs/attention/gpt.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/gpt.lee
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


class Table(Model):
    """A row for each index; a table that also writes begins small."""

    members = ("table",)

    def __init__(self, count, d, spread, *, key=(0, 0)):
        super().__init__()
        self.count, self.d, self.spread = count, d, spread
        # [count, d]  gpt.lee:16
        self.table = torch.nn.Parameter(spread * normal(fold(key, SITES["table"]), (count, d), FLOAT))

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[index]  # [rows, d]  gpt.lee:19

    @staticmethod
    def forward_backward(index, count, d_y):
        """From d_y to the gradient by the parameters."""
        d = d_y.shape[1]
        # gradient of return table[index]   gpt.lee:19
        d_table = scatter_add(d_y, (index,), (count, d))  # [count, d]
        return {"table": d_table}  # [count, d]


class Table_2(Model):
    """A row for each index; a table that also writes begins small."""

    members = ("table",)

    def __init__(self, count, d, spread, *, key=(0, 0)):
        super().__init__()
        self.count, self.d, self.spread = count, d, spread
        # [count, d]  gpt.lee:16
        self.table = torch.nn.Parameter(spread * normal(fold(key, SITES["table"]), (count, d), FLOAT))

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[index]  # [rows, d]  gpt.lee:19


class Block(Model):
    """Attention back and layers for each position, added to what came in."""

    members = ("norm1", "attention", "norm2", "up", "down")

    def __init__(self, d, heads, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads = d, heads
        self.norm1 = LayerNorm(d)  # gpt.lee:24
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # gpt.lee:25
        self.norm2 = LayerNorm(d)  # gpt.lee:26
        self.up = Linear(d, 4 * d, key=fold(key, SITES["up"]))  # gpt.lee:27
        self.down = Linear(4 * d, d, key=fold(key, SITES["down"]))  # gpt.lee:28

    def forward(self, x, mask):
        """x [n, time, d], mask bool[1, 1, time, time] -> [n, time, d]"""
        n, time, _ = x.shape
        norm1_out = self.norm1(x.reshape(n * time, self.d))  # [n * time, d]  gpt.lee:31
        x_2 = x + self.attention(norm1_out.reshape(n, time, self.d), mask)  # [n, time, d]
        up_out = self.up(self.norm2(x_2.reshape(n * time, self.d)))  # [n * time, 4 * d]  gpt.lee:32
        mul_6 = gelu(up_out.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        down_out = self.down(mul_6.reshape(n * time, 4 * self.d))  # [n * time, d]
        return x_2 + down_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_saved(self, x, mask):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        norm1_out, saved_norm1 = self.norm1.forward_saved(x.reshape(n * time, self.d))  # gpt.lee:31
        reshape_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        reshape_12, saved_attention = self.attention.forward_saved(reshape_2, mask)
        x_2 = x + reshape_12  # [n, time, d]
        reshape_3 = x_2.reshape(n * time, self.d)  # [n * time, d]  gpt.lee:32
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_3)
        reshape_4 = self.up(norm2_out).reshape(n, time, 4 * self.d)  # [n, time, 4 * d]
        reshape_5 = gelu(reshape_4).reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        saved = saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5
        return x_2 + self.down(reshape_5).reshape(n, time, self.d), saved

    def forward_backward(self, x, mask, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5 = saved
        n, time, _ = x.shape
        # gradient of return x + down(gelu(up(norm2(x)), approximate = true))   gpt.lee:32
        d_down, d_reshape_5 = self.down.forward_backward(reshape_5, d_y.reshape(n * time, self.d))
        d_reshape_4 = gelu_backward(reshape_4, d_reshape_5.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        d_up_out = d_reshape_4.reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        d_up, d_norm2_out = self.up.forward_backward(norm2_out, d_up_out)
        d_norm2, d_reshape_3 = self.norm2.forward_backward(reshape_3, saved_norm2, d_norm2_out)
        # gradient of x = x + attention(norm1(x), mask = mask)   gpt.lee:31
        d_x_2 = d_y + d_reshape_3.reshape(n, time, self.d)  # [n, time, d]
        d_attention, d_reshape_2 = self.attention.forward_backward(reshape_2, mask, saved_attention, d_x_2)
        d_norm1_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        x_flat = x.reshape(n * time, self.d)  # [n * time, d]
        d_norm1, d_x_flat = self.norm1.forward_backward(x_flat, saved_norm1, d_norm1_out)
        d_x = d_x_2 + d_x_flat.reshape(n, time, self.d)  # [n, time, d]
        return {"norm1": d_norm1, "attention": d_attention, "norm2": d_norm2, "up": d_up, "down": d_down}, d_x

    def forward_2(self, x, mask):
        """x [n, time, d], mask bool[n, 1, time, time] -> [n, time, d]"""
        n, time, _ = x.shape
        norm1_out = self.norm1(x.reshape(n * time, self.d))  # [n * time, d]  gpt.lee:31
        reshape_12 = self.attention.forward_2(norm1_out.reshape(n, time, self.d), mask)  # [n, time, d]
        x_2 = x + reshape_12  # [n, time, d]
        up_out = self.up(self.norm2(x_2.reshape(n * time, self.d)))  # [n * time, 4 * d]  gpt.lee:32
        mul_6 = gelu(up_out.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        down_out = self.down(mul_6.reshape(n * time, 4 * self.d))  # [n * time, d]
        return x_2 + down_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_2_saved(self, x, mask):
        """As forward_2, and what its gradient needs."""
        n, time, _ = x.shape
        norm1_out, saved_norm1 = self.norm1.forward_saved(x.reshape(n * time, self.d))  # gpt.lee:31
        reshape_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        reshape_12, saved_attention = self.attention.forward_2_saved(reshape_2, mask)
        x_2 = x + reshape_12  # [n, time, d]
        reshape_3 = x_2.reshape(n * time, self.d)  # [n * time, d]  gpt.lee:32
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_3)
        reshape_4 = self.up(norm2_out).reshape(n, time, 4 * self.d)  # [n, time, 4 * d]
        reshape_5 = gelu(reshape_4).reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        saved = saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5
        return x_2 + self.down(reshape_5).reshape(n, time, self.d), saved

    def forward_2_backward(self, x, mask, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5 = saved
        n, time, _ = x.shape
        # gradient of return x + down(gelu(up(norm2(x)), approximate = true))   gpt.lee:32
        d_down, d_reshape_5 = self.down.forward_backward(reshape_5, d_y.reshape(n * time, self.d))
        d_reshape_4 = gelu_backward(reshape_4, d_reshape_5.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        d_up_out = d_reshape_4.reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        d_up, d_norm2_out = self.up.forward_backward(norm2_out, d_up_out)
        d_norm2, d_reshape_3 = self.norm2.forward_backward(reshape_3, saved_norm2, d_norm2_out)
        # gradient of x = x + attention(norm1(x), mask = mask)   gpt.lee:31
        d_x_2 = d_y + d_reshape_3.reshape(n, time, self.d)  # [n, time, d]
        d_attention, d_reshape_2 = self.attention.forward_2_backward(reshape_2, mask, saved_attention, d_x_2)
        d_norm1_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        x_flat = x.reshape(n * time, self.d)  # [n * time, d]
        d_norm1, d_x_flat = self.norm1.forward_backward(x_flat, saved_norm1, d_norm1_out)
        d_x = d_x_2 + d_x_flat.reshape(n, time, self.d)  # [n, time, d]
        return {"norm1": d_norm1, "attention": d_attention, "norm2": d_norm2, "up": d_up, "down": d_down}, d_x

    def extend(self, x, keys, values, t):
        """One position more: what earlier ones offer and give is kept, that of position t is added.

        x [n, 1, d], keys [n, context, d], values [n, context, d] -> [n, 1, d], [n, context, d], [n, context, d]
        """
        n = x.shape[0]
        context = keys.shape[1]
        if self.d * n != self.d // self.heads * self.heads * n:
            raise ValueError(
                f"gpt.lee:44: d * n = {self.d * n} "
                f"must equal (d // heads) * heads * n = {self.d // self.heads * self.heads * n}"
            )
        if context * self.d * n != context * (self.d // self.heads) * self.heads * n:
            raise ValueError(
                f"gpt.lee:45: context * d * n = {context * self.d * n} "
                f"must equal context * (d // heads) * heads * n = {context * (self.d // self.heads) * self.heads * n}"
            )
        if context * self.d * n != context * (self.d // self.heads) * self.heads * n:
            raise ValueError(
                f"gpt.lee:46: context * d * n = {context * self.d * n} "
                f"must equal context * (d // heads) * heads * n = {context * (self.d // self.heads) * self.heads * n}"
            )
        if self.d // self.heads * self.heads * n != self.d * n:
            raise ValueError(
                f"gpt.lee:48: (d // heads) * heads * n = {self.d // self.heads * self.heads * n} "
                f"must equal d * n = {self.d * n}"
            )
        norm1_out = self.norm1(x.reshape(n, self.d))  # [n, d]  gpt.lee:41
        fill = torch.full((n, 1, self.d), True, dtype=torch.bool, device=x.device)  # bool[n, 1, d]  gpt.lee:42
        # bool[n, context, d]
        unslice_ = unslice(fill, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        reshape = self.attention.key(norm1_out)[:, None]  # [n, 1, d]
        # [n, context, d]
        unslice_2 = unslice(reshape, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        keys_2 = torch.where(unslice_, unslice_2, keys)  # [n, context, d]
        reshape_2 = self.attention.value(norm1_out)[:, None]  # [n, 1, d]  gpt.lee:43
        # [n, context, d]
        unslice_3 = unslice(reshape_2, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        values_2 = torch.where(unslice_, unslice_3, values)  # [n, context, d]
        add_4 = self.attention.query(norm1_out)  # [n, d]  gpt.lee:44
        q = add_4.reshape(n, 1, self.heads, self.d // self.heads)  # [n, 1, heads, d // heads]
        k = keys_2.reshape(n, context, self.heads, self.d // self.heads)  # [n, context, heads, d // heads]  gpt.lee:45
        # [n, context, heads, d // heads]  gpt.lee:46
        v = values_2.reshape(n, context, self.heads, self.d // self.heads)
        # bool[1, 1, 1, context]  gpt.lee:47
        seen = (torch.arange(context, device=x.device) <= t).expand(1, 1, 1, context)
        add_5 = self.attention.output(attend_3(q, k, v, seen).reshape(n, self.d))  # [n, d]  gpt.lee:48
        x_2 = x + add_5[:, None]  # [n, 1, d]
        mul_6 = gelu_2(self.up(self.norm2(x_2.reshape(n, self.d)))[:, None])  # [n, 1, 4 * d]  gpt.lee:49
        return x_2 + self.down(mul_6.reshape(n, 4 * self.d))[:, None], keys_2, values_2


class GPT_2(Model):
    """Every position says what comes next; the table that reads words also writes them (Radford et al. 2019)."""

    members = ("token", "position", "blocks", "final")

    def __init__(self, vocab, d, heads, context, spread=0.02, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.heads, self.context, self.spread = vocab, d, heads, context, spread
        self.token = Table(vocab, d, spread, key=fold(key, SITES["token"]))  # gpt.lee:54
        self.position = Table(context, d, spread, key=fold(key, SITES["position"]))  # gpt.lee:55
        # gpt.lee:56
        self.blocks = torch.nn.ModuleList(
            [Block(d, heads, key=fold(key, SITES["blocks.0"])), Block(d, heads, key=fold(key, SITES["blocks.1"]))]
        )
        self.final = LayerNorm(d)  # gpt.lee:57

    def scored(self, tokens, mask):
        """tokens int[n, time], mask bool[1, 1, time, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"gpt.lee:60: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  gpt.lee:61
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        x = token_out.reshape(n, time, self.d) + position_out  # [n, time, d]
        x_2 = self.blocks[0](x, mask)  # [n, time, d]  gpt.lee:63
        x_3 = self.blocks[1](x_2, mask)  # [n, time, d]
        final_out = self.final(x_3.reshape(n * time, self.d))  # [n * time, d]  gpt.lee:64
        return final_out.reshape(n, time, self.d) @ self.token.table.T  # [n, time, vocab]

    def scored_saved(self, tokens, mask):
        """As scored, and what its gradient needs."""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"gpt.lee:60: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  gpt.lee:61
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        x = token_out.reshape(n, time, self.d) + position_out  # [n, time, d]
        x_2, saved_blocks_0_ = self.blocks[0].forward_saved(x, mask)  # gpt.lee:63
        x_3, saved_blocks_1_ = self.blocks[1].forward_saved(x_2, mask)
        reshape_3 = x_3.reshape(n * time, self.d)  # [n * time, d]  gpt.lee:64
        final_out, saved_final = self.final.forward_saved(reshape_3)
        reshape_4 = final_out.reshape(n, time, self.d)  # [n, time, d]
        saved = x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4
        return reshape_4 @ self.token.table.T, saved

    def scored_backward(self, tokens, mask, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4 = saved
        n, time = tokens.shape
        # gradient of return final(x) @ token.table.T   gpt.lee:64
        reshape_2 = reshape_4.reshape(n * time, self.d)  # [n * time, d]
        d_final_out = (d_y @ self.token.table).reshape(n * time, self.d)  # [n * time, d]
        d_final, d_reshape_3 = self.final.forward_backward(reshape_3, saved_final, d_final_out)
        d_x_3 = d_reshape_3.reshape(n, time, self.d)  # [n, time, d]
        # gradient of x = block(x, mask)   gpt.lee:63
        d_blocks_1_, d_x_2 = self.blocks[1].forward_backward(x_2, mask, saved_blocks_1_, d_x_3)
        d_blocks_0_, d_x = self.blocks[0].forward_backward(x, mask, saved_blocks_0_, d_x_2)
        # gradient of x = token(tokens) + position(arange(time))   gpt.lee:61
        iota = torch.arange(time, device=tokens.device)  # int[time]
        d_position = Table.forward_backward(iota, self.context, d_x.sum(dim=0))
        d_token_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_token = Table.forward_backward(tokens.reshape(n * time), self.vocab, d_token_out)
        d_token_table = d_y.reshape(n * time, self.vocab).T @ reshape_2 + d_token["table"]  # [vocab, d]
        return {
            "token": {"table": d_token_table},
            "position": d_position,
            "blocks.0": d_blocks_0_,
            "blocks.1": d_blocks_1_,
            "final": d_final,
        }

    def forward(self, tokens):
        """tokens int[n, time] -> [n, time, vocab]"""
        time = tokens.shape[1]
        return self.scored(tokens, causal_mask(time))  # [n, time, vocab]  gpt.lee:67

    def forward_saved(self, tokens):
        """As forward, and what its gradient needs."""
        time = tokens.shape[1]
        contract, saved_self = self.scored_saved(tokens, causal_mask(time))  # gpt.lee:67
        return contract, (causal_mask(time), saved_self)

    def forward_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        back, saved_self = saved
        # gradient of return scored(tokens, causal_mask(time))   gpt.lee:67
        d_gpt_2 = self.scored_backward(tokens, back, saved_self, d_y)
        return d_gpt_2

    def scored_2(self, tokens, mask):
        """tokens int[n, time], mask bool[n, 1, time, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"gpt.lee:60: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  gpt.lee:61
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        x = token_out.reshape(n, time, self.d) + position_out  # [n, time, d]
        x_2 = self.blocks[0].forward_2(x, mask)  # [n, time, d]  gpt.lee:63
        x_3 = self.blocks[1].forward_2(x_2, mask)  # [n, time, d]
        final_out = self.final(x_3.reshape(n * time, self.d))  # [n * time, d]  gpt.lee:64
        return final_out.reshape(n, time, self.d) @ self.token.table.T  # [n, time, vocab]

    def scored_2_saved(self, tokens, mask):
        """As scored_2, and what its gradient needs."""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"gpt.lee:60: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  gpt.lee:61
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        x = token_out.reshape(n, time, self.d) + position_out  # [n, time, d]
        x_2, saved_blocks_0_ = self.blocks[0].forward_2_saved(x, mask)  # gpt.lee:63
        x_3, saved_blocks_1_ = self.blocks[1].forward_2_saved(x_2, mask)
        reshape_3 = x_3.reshape(n * time, self.d)  # [n * time, d]  gpt.lee:64
        final_out, saved_final = self.final.forward_saved(reshape_3)
        reshape_4 = final_out.reshape(n, time, self.d)  # [n, time, d]
        saved = x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4
        return reshape_4 @ self.token.table.T, saved

    def scored_2_backward(self, tokens, mask, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4 = saved
        n, time = tokens.shape
        # gradient of return final(x) @ token.table.T   gpt.lee:64
        reshape_2 = reshape_4.reshape(n * time, self.d)  # [n * time, d]
        d_final_out = (d_y @ self.token.table).reshape(n * time, self.d)  # [n * time, d]
        d_final, d_reshape_3 = self.final.forward_backward(reshape_3, saved_final, d_final_out)
        d_x_3 = d_reshape_3.reshape(n, time, self.d)  # [n, time, d]
        # gradient of x = block(x, mask)   gpt.lee:63
        d_blocks_1_, d_x_2 = self.blocks[1].forward_2_backward(x_2, mask, saved_blocks_1_, d_x_3)
        d_blocks_0_, d_x = self.blocks[0].forward_2_backward(x, mask, saved_blocks_0_, d_x_2)
        # gradient of x = token(tokens) + position(arange(time))   gpt.lee:61
        iota = torch.arange(time, device=tokens.device)  # int[time]
        d_position = Table.forward_backward(iota, self.context, d_x.sum(dim=0))
        d_token_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_token = Table.forward_backward(tokens.reshape(n * time), self.vocab, d_token_out)
        d_token_table = d_y.reshape(n * time, self.vocab).T @ reshape_2 + d_token["table"]  # [vocab, d]
        return {
            "token": {"table": d_token_table},
            "position": d_position,
            "blocks.0": d_blocks_0_,
            "blocks.1": d_blocks_1_,
            "final": d_final,
        }

    def padded(self, tokens, lengths):
        """Rows of different lengths: what stands behind them is seen by nobody.

        tokens int[n, time], lengths int[n] -> [n, time, vocab]
        """
        time = tokens.shape[1]
        y = self.scored_2(tokens, causal_mask(time) & padding_mask(lengths, time))  # [n, time, vocab]  gpt.lee:71
        return y  # [n, time, vocab]

    def padded_saved(self, tokens, lengths):
        """As padded, and what its gradient needs."""
        time = tokens.shape[1]
        logical_and = causal_mask(time) & padding_mask(lengths, time)  # bool[n, 1, time, time]  gpt.lee:71
        contract, saved_self = self.scored_2_saved(tokens, logical_and)
        return contract, (logical_and, saved_self)

    def padded_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        logical_and, saved_self = saved
        # gradient of return scored(tokens, causal_mask(time) and padding_mask(lengths, time))   gpt.lee:71
        d_gpt_2 = self.scored_2_backward(tokens, logical_and, saved_self, d_y)
        return d_gpt_2


def generate(net, prompt, length, key, temperature=1.0):
    """Words are drawn one after the other, by what the model makes of all before.

    prompt int[n, time] -> int[n, length + time]
    """
    n, time = prompt.shape
    fill = torch.zeros((n, length), dtype=torch.int64, device=prompt.device)  # int[n, length]  gpt.lee:76
    tokens = torch.cat((prompt, fill), dim=1)  # int[n, length + time]
    # gpt.lee:77
    for i in range(length):
        tokens = generate_step(net, tokens, temperature, key, i, length, time)
    return tokens  # int[n, length + time]


def generate_step(net, tokens, temperature, key, i, length, time):
    """tokens int[n, length + time] -> int[n, length + time]"""
    n = tokens.shape[0]
    logits = net(tokens)[:, i + time - 1] / temperature  # [n, net.vocab]  gpt.lee:78
    fill = torch.full((n, 1), True, dtype=torch.bool, device=tokens.device)  # bool[n, 1]  gpt.lee:79
    unslice_ = unslice(fill, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))  # bool[n, length + time]
    reshape = drawn(logits, fold(fold(key, SITES["drawn"]), i))[:, None]  # int[n, 1]
    # int[n, length + time]
    unslice_2 = unslice(reshape, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))
    tokens_3 = torch.where(unslice_, unslice_2, tokens)  # int[n, length + time]
    return tokens_3  # int[n, length + time]


def drawn(logits, key):
    """A word with the probabilities softmax(logits): the largest after noise -log(-log u) is added.

    logits [n, vocab] -> int[n]
    """
    n, vocab = logits.shape
    u = uniform(fold(key, SITES["u"]), (n, vocab), FLOAT, logits.device)  # [n, vocab]  gpt.lee:85
    return (logits - torch.log(-torch.log(u))).argmax(dim=1)  # int[n]  gpt.lee:86


def continued(net, prompt, length):
    """The likeliest word each time, everything computed anew for every word.

    prompt int[n, time] -> int[n, length + time]
    """
    n, time = prompt.shape
    fill = torch.zeros((n, length), dtype=torch.int64, device=prompt.device)  # int[n, length]  gpt.lee:91
    tokens = torch.cat((prompt, fill), dim=1)  # int[n, length + time]
    # gpt.lee:92
    for i in range(length):
        tokens = continued_step(net, tokens, i, length, time)
    return tokens  # int[n, length + time]


def continued_step(net, tokens, i, length, time):
    """tokens int[n, length + time] -> int[n, length + time]"""
    n = tokens.shape[0]
    fill = torch.full((n, 1), True, dtype=torch.bool, device=tokens.device)  # bool[n, 1]  gpt.lee:93
    unslice_ = unslice(fill, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))  # bool[n, length + time]
    reshape = net(tokens)[:, i + time - 1].argmax(dim=1)[:, None]  # int[n, 1]
    # int[n, length + time]
    unslice_2 = unslice(reshape, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))
    tokens_3 = torch.where(unslice_, unslice_2, tokens)  # int[n, length + time]
    return tokens_3  # int[n, length + time]


def continued_with_cache(net, prompt, length):
    """The same words: keys and values of every block are kept, so each word costs one position.

    prompt int[n, time] -> int[n, length + time]
    """
    n, time = prompt.shape
    fill = torch.zeros((n, length), dtype=torch.int64, device=prompt.device)  # int[n, length]  gpt.lee:99
    tokens = torch.cat((prompt, fill), dim=1)  # int[n, length + time]
    # [2, n, length + time, net.d]  gpt.lee:100
    keys = torch.zeros((2, n, length + time, net.d), dtype=FLOAT, device=prompt.device)
    keys_ = keys  # gpt.lee:102
    values = keys
    for t in range(length + time - 1):
        keys_, tokens, values = continued_with_cache_step(net, keys_, tokens, values, length, t, time)
    return tokens  # int[n, length + time]


def continued_with_cache_step(net, keys, tokens, values, length, t, time):
    """keys [2, n, length + time, net.d], tokens int[n, length + time], values [2, n, length + time, net.d] -> [2,
    n, length + time, net.d], int[n, length + time], [2, n, length + time, net.d]
    """
    n = keys.shape[1]
    gather_2 = net.position(torch.arange(1, device=keys.device) + t)  # [1, net.d]  gpt.lee:103
    x = net.token(tokens[:, t])[:, None] + gather_2  # [n, 1, net.d]
    x_2, k, v = net.blocks[0].extend(x, keys[0], values[0], t)  # gpt.lee:106
    # bool[1, n, length + time, net.d]  gpt.lee:107
    fill = torch.full((1, n, length + time, net.d), True, dtype=torch.bool, device=keys.device)
    # bool[2, n, length + time, net.d]
    unslice_ = unslice(
        fill, (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    # [2, n, length + time, net.d]
    unslice_2 = unslice(
        k[None], (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    keys_3 = torch.where(unslice_, unslice_2, keys)  # [2, n, length + time, net.d]
    # [2, n, length + time, net.d]  gpt.lee:108
    unslice_3 = unslice(
        v[None], (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    values_3 = torch.where(unslice_, unslice_3, values)  # [2, n, length + time, net.d]
    x_3, k_2, v_2 = net.blocks[1].extend(x_2, keys_3[1], values_3[1], t)  # gpt.lee:106
    # bool[2, n, length + time, net.d]  gpt.lee:107
    unslice_4 = unslice(
        fill, (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    # [2, n, length + time, net.d]
    unslice_5 = unslice(
        k_2[None], (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    keys_4 = torch.where(unslice_4, unslice_5, keys_3)  # [2, n, length + time, net.d]
    # [2, n, length + time, net.d]  gpt.lee:108
    unslice_6 = unslice(
        v_2[None], (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    values_4 = torch.where(unslice_4, unslice_6, values_3)  # [2, n, length + time, net.d]
    reshape_7 = net.final(x_3.reshape(n, net.d))[:, None]  # [n, 1, net.d]  gpt.lee:110
    best = (reshape_7 @ net.token.table.T).reshape(n, net.vocab).argmax(dim=1)  # int[n]
    entry_6 = tokens[:, t + 1]  # int[n]  gpt.lee:111
    ge = t + 1 >= time
    select = torch.where(torch.full((), ge, device=keys.device), best, entry_6)  # int[n]
    fill_2 = torch.full((n, 1), True, dtype=torch.bool, device=keys.device)  # bool[n, 1]
    unslice_7 = unslice(fill_2, (n, length + time), (slice(0, n), slice(t + 1, t + 2)))  # bool[n, length + time]
    reshape_9 = select[:, None]  # int[n, 1]
    unslice_8 = unslice(reshape_9, (n, length + time), (slice(0, n), slice(t + 1, t + 2)))  # int[n, length + time]
    tokens_3 = torch.where(unslice_7, unslice_8, tokens)  # int[n, length + time]
    return keys_4, tokens_3, values_4


@torch.no_grad()
def fit(steps=500, batch=16, context=32, rate=0.01, *, run=None):
    """By characters; perplexity is what is left of the choice between all of them, 26 by their frequency alone."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "text",
        corpus="topics",
        context=context,
        level="characters",
        most=None,
        valid=0.1,
        test=0.0,
        seed=0,
        fields={"tokens": ("int", ("n", context + 1))},
    )
    net = GPT_2(vocab=data.vocab, d=48, heads=4, context=context, key=run.key("net")).to(run.session.place.device)
    opt = AdamW(lr=lambda t: warmup_cosine(rate, 50, steps, t), weight_decay=0.1)  # gpt.lee:122
    step = FitStep(net, opt)
    for step_ in run.loop("step", 1, steps, net=net, opt=opt):
        tokens = run.sample("tokens", data.train, batch)  # gpt.lee:124
        run.step(step(tokens))  # gpt.lee:125
        if step_ % 100 == 0:
            valid = data.valid.tokens  # gpt.lee:127
            run.report(perplexity=fit_perplexity(net, valid))  # gpt.lee:128
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.token.table",
        "net.position.table",
        "net.blocks.0.norm1.gamma",
        "net.blocks.0.norm1.beta",
        "net.blocks.0.attention.query.w",
        "net.blocks.0.attention.query.b",
        "net.blocks.0.attention.key.w",
        "net.blocks.0.attention.key.b",
        "net.blocks.0.attention.value.w",
        "net.blocks.0.attention.value.b",
        "net.blocks.0.attention.output.w",
        "net.blocks.0.attention.output.b",
        "net.blocks.0.norm2.gamma",
        "net.blocks.0.norm2.beta",
        "net.blocks.0.up.w",
        "net.blocks.0.up.b",
        "net.blocks.0.down.w",
        "net.blocks.0.down.b",
        "net.blocks.1.norm1.gamma",
        "net.blocks.1.norm1.beta",
        "net.blocks.1.attention.query.w",
        "net.blocks.1.attention.query.b",
        "net.blocks.1.attention.key.w",
        "net.blocks.1.attention.key.b",
        "net.blocks.1.attention.value.w",
        "net.blocks.1.attention.value.b",
        "net.blocks.1.attention.output.w",
        "net.blocks.1.attention.output.b",
        "net.blocks.1.norm2.gamma",
        "net.blocks.1.norm2.beta",
        "net.blocks.1.up.w",
        "net.blocks.1.up.b",
        "net.blocks.1.down.w",
        "net.blocks.1.down.b",
        "net.final.gamma",
        "net.final.beta",
    )
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, context, batch):
        return (batch * context, 1.0 / (batch * context))

    def constants(self):
        return (self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay, self.opt.clip)

    def scalars(self):
        return (self.opt.lr, self.opt.t)

    def step(self, tokens, lr, t):
        token_table, position_table, blocks_0_norm1_gamma, blocks_0_norm1_beta = self.tensors[:4]
        blocks_0_attention_query_w, blocks_0_attention_query_b, blocks_0_attention_key_w = self.tensors[4:7]
        blocks_0_attention_key_b, blocks_0_attention_value_w, blocks_0_attention_value_b = self.tensors[7:10]
        blocks_0_attention_output_w, blocks_0_attention_output_b, blocks_0_norm2_gamma = self.tensors[10:13]
        blocks_0_norm2_beta, blocks_0_up_w, blocks_0_up_b, blocks_0_down_w, blocks_0_down_b = self.tensors[13:18]
        blocks_1_norm1_gamma, blocks_1_norm1_beta, blocks_1_attention_query_w = self.tensors[18:21]
        blocks_1_attention_query_b, blocks_1_attention_key_w, blocks_1_attention_key_b = self.tensors[21:24]
        blocks_1_attention_value_w, blocks_1_attention_value_b, blocks_1_attention_output_w = self.tensors[24:27]
        blocks_1_attention_output_b, blocks_1_norm2_gamma, blocks_1_norm2_beta = self.tensors[27:30]
        blocks_1_up_w, blocks_1_up_b, blocks_1_down_w, blocks_1_down_b, final_gamma = self.tensors[30:35]
        (final_beta,) = self.tensors[35:]
        d_token_table, d_position_table, d_blocks_0_norm1_gamma, d_blocks_0_norm1_beta = self.gradients[:4]
        d_blocks_0_attention_query_w, d_blocks_0_attention_query_b = self.gradients[4:6]
        d_blocks_0_attention_key_w, d_blocks_0_attention_key_b, d_blocks_0_attention_value_w = self.gradients[6:9]
        d_blocks_0_attention_value_b, d_blocks_0_attention_output_w = self.gradients[9:11]
        d_blocks_0_attention_output_b, d_blocks_0_norm2_gamma, d_blocks_0_norm2_beta = self.gradients[11:14]
        d_blocks_0_up_w, d_blocks_0_up_b, d_blocks_0_down_w, d_blocks_0_down_b = self.gradients[14:18]
        d_blocks_1_norm1_gamma, d_blocks_1_norm1_beta, d_blocks_1_attention_query_w = self.gradients[18:21]
        d_blocks_1_attention_query_b, d_blocks_1_attention_key_w, d_blocks_1_attention_key_b = self.gradients[21:24]
        d_blocks_1_attention_value_w, d_blocks_1_attention_value_b = self.gradients[24:26]
        d_blocks_1_attention_output_w, d_blocks_1_attention_output_b, d_blocks_1_norm2_gamma = self.gradients[26:29]
        d_blocks_1_norm2_beta, d_blocks_1_up_w, d_blocks_1_up_b, d_blocks_1_down_w = self.gradients[29:33]
        d_blocks_1_down_b, d_final_gamma, d_final_beta = self.gradients[33:]
        batch = tokens.shape[0]
        data_vocab = self.net.token.table.shape[0]
        context = self.net.position.table.shape[0]
        scale, scale_ = self.held(context, batch)  # batch * context, 1.0 / (batch * context)
        j = torch.arange(context, device=tokens.device)  # int[context]  nn.lee:349
        le = j <= j[:, None]  # bool[context, context]
        tokens_flat = tokens[:, :context].reshape(batch * context)  # int[batch * context]  gpt.lee:61
        x = token_table[tokens_flat].reshape(batch, context, 48) + position_table[j]  # [batch, context, 48]
        x_flat = x.reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:31
        # [batch * context, 48]  nn.lee:197
        normalise_2_2 = torch.nn.functional.layer_norm(x_flat, (48,), eps=self.net.blocks[0].norm1.eps)
        norm1_out = normalise_2_2 * blocks_0_norm1_gamma + blocks_0_norm1_beta  # [batch * context, 48]
        # [batch * context, 48]  nn.lee:21
        query_out = torch.addmm(blocks_0_attention_query_b, norm1_out, blocks_0_attention_query_w)
        q_2 = query_out.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:364
        # [batch * context, 48]  nn.lee:21
        key_out = torch.addmm(blocks_0_attention_key_b, norm1_out, blocks_0_attention_key_w)
        k_2 = key_out.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:365
        # [batch * context, 48]  nn.lee:21
        value_out = torch.addmm(blocks_0_attention_value_b, norm1_out, blocks_0_attention_value_w)
        v_2_2 = value_out.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:366
        transpose = q_2.permute(0, 2, 1, 3)  # [batch, 4, context, 12]  nn.lee:335
        score = transpose @ k_2.permute(0, 2, 3, 1) / math.sqrt(12)  # [batch, 4, context, context]
        share_2 = softmax(torch.where(le, score, -torch.inf), (3,))  # [batch, 4, context, context]  prelude.lee:122
        mixed = (share_2 @ v_2_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:337
        reshape_2_2_3 = mixed.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:367
        # [batch * context, 48]  nn.lee:21
        output_out = torch.addmm(blocks_0_attention_output_b, reshape_2_2_3, blocks_0_attention_output_w)
        x_2_2 = x + output_out.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:31
        reshape_3_3 = x_2_2.reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:32
        # [batch * context, 48]  nn.lee:197
        normalise = torch.nn.functional.layer_norm(reshape_3_3, (48,), eps=self.net.blocks[0].norm2.eps)
        norm2_out_2 = normalise * blocks_0_norm2_gamma + blocks_0_norm2_beta  # [batch * context, 48]
        up_out = torch.addmm(blocks_0_up_b, norm2_out_2, blocks_0_up_w)  # [batch * context, 192]  nn.lee:21
        reshape_4_3 = up_out.reshape(batch, context, 192)  # [batch, context, 192]  gpt.lee:32
        mul_6 = torch.nn.functional.gelu(reshape_4_3, approximate="tanh")  # [batch, context, 192]  prelude.lee:112
        reshape_5_2 = mul_6.reshape(batch * context, 192)  # [batch * context, 192]  gpt.lee:32
        down_out = torch.addmm(blocks_0_down_b, reshape_5_2, blocks_0_down_w)  # [batch * context, 48]  nn.lee:21
        x_2 = x_2_2 + down_out.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:32
        x_flat_3 = x_2.reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:31
        # [batch * context, 48]  nn.lee:197
        normalise_2 = torch.nn.functional.layer_norm(x_flat_3, (48,), eps=self.net.blocks[1].norm1.eps)
        norm1_out_2 = normalise_2 * blocks_1_norm1_gamma + blocks_1_norm1_beta  # [batch * context, 48]
        # [batch * context, 48]  nn.lee:21
        query_out_2 = torch.addmm(blocks_1_attention_query_b, norm1_out_2, blocks_1_attention_query_w)
        q = query_out_2.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:364
        # [batch * context, 48]  nn.lee:21
        key_out_2 = torch.addmm(blocks_1_attention_key_b, norm1_out_2, blocks_1_attention_key_w)
        k = key_out_2.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:365
        # [batch * context, 48]  nn.lee:21
        value_out_2 = torch.addmm(blocks_1_attention_value_b, norm1_out_2, blocks_1_attention_value_w)
        v = value_out_2.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:366
        transpose_4 = q.permute(0, 2, 1, 3)  # [batch, 4, context, 12]  nn.lee:335
        score_2 = transpose_4 @ k.permute(0, 2, 3, 1) / math.sqrt(12)  # [batch, 4, context, context]
        share = softmax(torch.where(le, score_2, -torch.inf), (3,))  # [batch, 4, context, context]  prelude.lee:122
        mixed_2 = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:337
        reshape_2_2_2 = mixed_2.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:367
        # [batch * context, 48]  nn.lee:21
        output_out_2 = torch.addmm(blocks_1_attention_output_b, reshape_2_2_2, blocks_1_attention_output_w)
        x_2_3 = x_2 + output_out_2.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:31
        reshape_3_2 = x_2_3.reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:32
        # [batch * context, 48]  nn.lee:197
        normalise_3 = torch.nn.functional.layer_norm(reshape_3_2, (48,), eps=self.net.blocks[1].norm2.eps)
        norm2_out = normalise_3 * blocks_1_norm2_gamma + blocks_1_norm2_beta  # [batch * context, 48]
        up_out_2 = torch.addmm(blocks_1_up_b, norm2_out, blocks_1_up_w)  # [batch * context, 192]  nn.lee:21
        reshape_4_2 = up_out_2.reshape(batch, context, 192)  # [batch, context, 192]  gpt.lee:32
        mul_6_2 = torch.nn.functional.gelu(reshape_4_2, approximate="tanh")  # [batch, context, 192]  prelude.lee:112
        reshape_3 = mul_6_2.reshape(batch * context, 192)  # [batch * context, 192]  gpt.lee:32
        down_out_2 = torch.addmm(blocks_1_down_b, reshape_3, blocks_1_down_w)  # [batch * context, 48]  nn.lee:21
        x_3 = x_2_3 + down_out_2.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:32
        reshape_5 = x_3.reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:64
        # [batch * context, 48]  nn.lee:197
        normalise_4 = torch.nn.functional.layer_norm(reshape_5, (48,), eps=self.net.final.eps)
        final_out = normalise_4 * final_gamma + final_beta  # [batch * context, 48]
        slice_2 = tokens[:, 1:]  # int[batch, context]  gpt.lee:125
        net_out = final_out.reshape(batch, context, 48) @ token_table.T  # [batch, context, data_vocab]  gpt.lee:64
        net_out_flat = net_out.reshape(batch * context, data_vocab)  # [batch * context, data_vocab]  gpt.lee:125
        reshape_7 = slice_2.reshape(batch * context)  # int[batch * context]
        # [batch * context]  losses.lee:45
        surprise = torch.nn.functional.cross_entropy(net_out_flat, reshape_7, reduction="none")
        iota = torch.arange(data_vocab, device=tokens.device)[None, :]  # int[1, data_vocab]
        one_hot = (iota == slice_2.reshape(batch * context, 1)).to(FLOAT)  # [batch * context, data_vocab]
        d_net_out_flat = (torch.softmax(net_out_flat, dim=1) - one_hot) * scale_  # [batch * context, data_vocab]
        d_net_out = d_net_out_flat.reshape(batch, context, data_vocab)  # [batch, context, data_vocab]  gpt.lee:125
        d_final_out = (d_net_out @ token_table).reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:64
        torch.sum(d_final_out, dim=0, out=d_final_beta)  # [48]  nn.lee:197
        torch.sum(d_final_out * normalise_4, dim=0, out=d_final_gamma)  # [48]
        d_normalise = d_final_out * final_gamma  # [batch * context, 48]
        d_reshape_3 = normalise_gradient(d_normalise, reshape_5, (48,), self.net.final.eps)  # [batch * context, 48]
        torch.sum(d_reshape_3, dim=0, out=d_blocks_1_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3.T, d_reshape_3, out=d_blocks_1_down_w)  # [192, 48]
        d_reshape_5 = d_reshape_3 @ blocks_1_down_w.T  # [batch * context, 192]
        d_mul_6 = d_reshape_5.reshape(batch, context, 192)  # [batch, context, 192]  gpt.lee:32
        # [batch, context, 192]  prelude.lee:112
        d_reshape_4_2 = torch.ops.aten.gelu_backward(d_mul_6, reshape_4_2, approximate="tanh")
        d_up_out = d_reshape_4_2.reshape(batch * context, 192)  # [batch * context, 192]  gpt.lee:32
        torch.sum(d_up_out, dim=0, out=d_blocks_1_up_b)  # [192]  nn.lee:21
        d_norm2_out = d_up_out @ blocks_1_up_w.T  # [batch * context, 48]
        torch.mm(norm2_out.T, d_up_out, out=d_blocks_1_up_w)  # [48, 192]
        torch.sum(d_norm2_out, dim=0, out=d_blocks_1_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out * normalise_3, dim=0, out=d_blocks_1_norm2_gamma)  # [48]
        d_normalise_2 = d_norm2_out * blocks_1_norm2_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_reshape_3_2 = normalise_gradient(d_normalise_2, reshape_3_2, (48,), self.net.blocks[1].norm2.eps)
        d_x_2_2 = d_reshape_3_2.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:32
        d_x_2_3 = d_reshape_3.reshape(batch, context, 48) + d_x_2_2  # [batch, context, 48]  gpt.lee:31
        d_output_out = d_x_2_3.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:367
        torch.sum(d_output_out, dim=0, out=d_blocks_1_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_2.T, d_output_out, out=d_blocks_1_attention_output_w)  # [48, 48]
        d_reshape_2_2 = d_output_out @ blocks_1_attention_output_w.T  # [batch * context, 48]
        # [batch, 4, context, 12]  nn.lee:337
        transpose_7 = d_reshape_2_2.reshape(batch, context, 4, 12).permute(0, 2, 1, 3)
        d_share = transpose_7 @ v.permute(0, 2, 3, 1)  # [batch, 4, context, context]
        sub_2 = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [batch, 4, context, context]  prelude.lee:122
        d_contract_2 = masked(share * sub_2 / math.sqrt(12), le)  # [batch, 4, context, context]  nn.lee:335
        # [batch * context, 48]  nn.lee:366
        d_value_out = (share.mT @ transpose_7).permute(0, 2, 1, 3).reshape(batch * context, 48)
        torch.sum(d_value_out, dim=0, out=d_blocks_1_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm1_out_2.T, d_value_out, out=d_blocks_1_attention_value_w)  # [48, 48]
        d_k = (d_contract_2.mT @ transpose_4).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_key_out = d_k.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:365
        torch.sum(d_key_out, dim=0, out=d_blocks_1_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm1_out_2.T, d_key_out, out=d_blocks_1_attention_key_w)  # [48, 48]
        d_q = (d_contract_2 @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_query_out = d_q.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:364
        torch.sum(d_query_out, dim=0, out=d_blocks_1_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm1_out_2.T, d_query_out, out=d_blocks_1_attention_query_w)  # [48, 48]
        d_x_flat_2 = d_value_out @ blocks_1_attention_value_w.T  # [batch * context, 48]
        d_x_flat_5 = d_x_flat_2 + d_key_out @ blocks_1_attention_key_w.T  # [batch * context, 48]  nn.lee:364
        d_x_flat_6 = d_x_flat_5 + d_query_out @ blocks_1_attention_query_w.T  # [batch * context, 48]
        torch.sum(d_x_flat_6, dim=0, out=d_blocks_1_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_x_flat_6 * normalise_2, dim=0, out=d_blocks_1_norm1_gamma)  # [48]
        d_normalise_2_2 = d_x_flat_6 * blocks_1_norm1_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_x_flat = normalise_gradient(d_normalise_2_2, x_flat_3, (48,), self.net.blocks[1].norm1.eps)
        d_x_2 = d_x_2_3 + d_x_flat.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:31
        d_down_out_2 = d_x_2.reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:32
        torch.sum(d_down_out_2, dim=0, out=d_blocks_0_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_5_2.T, d_down_out_2, out=d_blocks_0_down_w)  # [192, 48]
        d_reshape_5_2 = d_down_out_2 @ blocks_0_down_w.T  # [batch * context, 192]
        d_mul_6_2 = d_reshape_5_2.reshape(batch, context, 192)  # [batch, context, 192]  gpt.lee:32
        # [batch, context, 192]  prelude.lee:112
        d_reshape_4_3 = torch.ops.aten.gelu_backward(d_mul_6_2, reshape_4_3, approximate="tanh")
        d_up_out_2 = d_reshape_4_3.reshape(batch * context, 192)  # [batch * context, 192]  gpt.lee:32
        torch.sum(d_up_out_2, dim=0, out=d_blocks_0_up_b)  # [192]  nn.lee:21
        d_norm2_out_2 = d_up_out_2 @ blocks_0_up_w.T  # [batch * context, 48]
        torch.mm(norm2_out_2.T, d_up_out_2, out=d_blocks_0_up_w)  # [48, 192]
        torch.sum(d_norm2_out_2, dim=0, out=d_blocks_0_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out_2 * normalise, dim=0, out=d_blocks_0_norm2_gamma)  # [48]
        d_normalise_3 = d_norm2_out_2 * blocks_0_norm2_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_reshape_3_3 = normalise_gradient(d_normalise_3, reshape_3_3, (48,), self.net.blocks[0].norm2.eps)
        d_x_2_4 = d_x_2 + d_reshape_3_3.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:31
        d_output_out_2 = d_x_2_4.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:367
        torch.sum(d_output_out_2, dim=0, out=d_blocks_0_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_3.T, d_output_out_2, out=d_blocks_0_attention_output_w)  # [48, 48]
        d_reshape_2_2_2 = d_output_out_2 @ blocks_0_attention_output_w.T  # [batch * context, 48]
        # [batch, 4, context, 12]  nn.lee:337
        transpose_12 = d_reshape_2_2_2.reshape(batch, context, 4, 12).permute(0, 2, 1, 3)
        d_share_2 = transpose_12 @ v_2_2.permute(0, 2, 3, 1)  # [batch, 4, context, context]
        # [batch, 4, context, context]  prelude.lee:122
        sub_2_2 = d_share_2 - (d_share_2 * share_2).sum(dim=3, keepdim=True)
        d_contract_3 = masked(share_2 * sub_2_2 / math.sqrt(12), le)  # [batch, 4, context, context]  nn.lee:335
        # [batch * context, 48]  nn.lee:366
        d_value_out_2 = (share_2.mT @ transpose_12).permute(0, 2, 1, 3).reshape(batch * context, 48)
        torch.sum(d_value_out_2, dim=0, out=d_blocks_0_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm1_out.T, d_value_out_2, out=d_blocks_0_attention_value_w)  # [48, 48]
        d_k_2 = (d_contract_3.mT @ transpose).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_key_out_2 = d_k_2.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:365
        torch.sum(d_key_out_2, dim=0, out=d_blocks_0_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm1_out.T, d_key_out_2, out=d_blocks_0_attention_key_w)  # [48, 48]
        d_q_2 = (d_contract_3 @ k_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_query_out_2 = d_q_2.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:364
        torch.sum(d_query_out_2, dim=0, out=d_blocks_0_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm1_out.T, d_query_out_2, out=d_blocks_0_attention_query_w)  # [48, 48]
        d_x_flat_2_2 = d_value_out_2 @ blocks_0_attention_value_w.T  # [batch * context, 48]
        d_x_flat_5_2 = d_x_flat_2_2 + d_key_out_2 @ blocks_0_attention_key_w.T  # [batch * context, 48]  nn.lee:364
        d_x_flat_6_2 = d_x_flat_5_2 + d_query_out_2 @ blocks_0_attention_query_w.T  # [batch * context, 48]
        torch.sum(d_x_flat_6_2, dim=0, out=d_blocks_0_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_x_flat_6_2 * normalise_2_2, dim=0, out=d_blocks_0_norm1_gamma)  # [48]
        d_normalise_2_3 = d_x_flat_6_2 * blocks_0_norm1_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_x_flat_7 = normalise_gradient(d_normalise_2_3, x_flat, (48,), self.net.blocks[0].norm1.eps)
        d_x = d_x_2_4 + d_x_flat_7.reshape(batch, context, 48)  # [batch, context, 48]  gpt.lee:31
        d_position_table.copy_(scatter_add(d_x.sum(dim=0), (j,), (context, 48)))  # [context, 48]  gpt.lee:19
        d_token_out = d_x.reshape(batch * context, 48)  # [batch * context, 48]  gpt.lee:61
        d_token_table_3 = scatter_add(d_token_out, (tokens_flat,), (data_vocab, 48))  # [data_vocab, 48]  gpt.lee:19
        torch.mm(d_net_out_flat.T, final_out, out=d_token_table)  # [data_vocab, 48]  gpt.lee:61
        d_token_table.add_(d_token_table_3)  # [data_vocab, 48]
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        clip = self.opt.clip
        g_all = self.vectors[0].gradient
        sum_ = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_)
        add = sqrt_ + 1e-6
        div = clip / add
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v_, s0 in self.blocks[0]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v_, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / scale  # losses.lee:148


def fit_perplexity(net, valid):
    """valid int[data_valid_n, context + 1] -> []"""
    data_valid_n = valid.shape[0]
    data_vocab = net.token.table.shape[0]
    context = net.position.table.shape[0]
    net_out = net(valid[:, :context])  # [data_valid_n, context, data_vocab]  gpt.lee:128
    net_out_flat = net_out.reshape(context * data_valid_n, data_vocab)  # [context * data_valid_n, data_vocab]
    mean = cross_entropy(net_out_flat, valid[:, 1:].reshape(context * data_valid_n))
    return torch.exp(mean)


def example_next_word(key):
    net = GPT_2(11, 16, 2, 8, spread=1.0, key=fold(key, SITES["net"]))  # gpt.lee:136
    tokens = randint(fold(key, SITES["tokens"]), (3, 8), 0, 11)  # int[3, 8]  gpt.lee:137
    slice_ = tokens[:, :7]  # int[3, 7]  gpt.lee:138
    net_out, saved_net = net.forward_saved(slice_)
    net_out_flat = net_out.reshape(21, 11)  # [21, 11]
    reshape = tokens[:, 1:].reshape(21)  # int[21]
    d_net_out_flat = cross_entropy_backward(net_out_flat, reshape, torch.ones((), dtype=FLOAT))  # [21, 11]
    d_net = net.forward_backward(slice_, saved_net, d_net_out_flat.reshape(3, 7, 11))
    return cross_entropy(net_out_flat, reshape), net.at(d_net)


def example_padded(key):
    net = GPT_2(11, 16, 2, 8, spread=1.0, key=fold(key, SITES["net"]))  # gpt.lee:142
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 11)  # int[3, 6]  gpt.lee:143
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 7)  # int[3]  gpt.lee:144
    net_out, saved_net = net.padded_saved(tokens, lengths)  # gpt.lee:145
    net_out_flat = net_out.reshape(18, 11)  # [18, 11]
    tokens_flat = tokens.reshape(18)  # int[18]
    d_value = torch.ones((), dtype=FLOAT)
    d_net_out_flat = cross_entropy_backward(net_out_flat, tokens_flat, d_value)  # [18, 11]
    d_net = net.padded_backward(tokens, saved_net, d_net_out_flat.reshape(3, 6, 11))
    return cross_entropy(net_out_flat, tokens_flat), net.at(d_net)


def example_generated(key):
    net = GPT_2(5, 8, 2, 12, spread=1.0, key=fold(key, SITES["net"]))  # gpt.lee:149
    prompt = randint(fold(key, SITES["prompt"]), (4, 3), 0, 5)  # int[4, 3]  gpt.lee:150
    return generate(net, prompt, 6, fold(key, SITES["generate"]))  # int[4, 9]  gpt.lee:151


def example_greedy(key):
    net = GPT_2(11, 16, 2, 16, spread=1.0, key=fold(key, SITES["net"]))  # gpt.lee:155
    prompt = randint(fold(key, SITES["prompt"]), (4, 3), 0, 11)  # int[4, 3]  gpt.lee:156
    return continued(net, prompt, 8)  # int[4, 11]  gpt.lee:157


def example_greedy_with_cache(key):
    net = GPT_2(11, 16, 2, 16, spread=1.0, key=fold(key, SITES["net"]))  # gpt.lee:161
    prompt = randint(fold(key, SITES["prompt"]), (4, 3), 0, 11)  # int[4, 3]  gpt.lee:162
    return continued_with_cache(net, prompt, 8)  # int[4, 11]  gpt.lee:163


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


class LayerNorm(Model):
    """(x - μ) / √(σ² + ε) · γ + β, over the last axis (Ba et al. 2016)."""

    members = ("gamma", "beta")

    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.d, self.eps = d, eps
        self.gamma = torch.nn.Parameter(torch.ones(d, dtype=FLOAT))  # [d]  nn.lee:191
        self.beta = torch.nn.Parameter(torch.zeros(d, dtype=FLOAT))  # [d]  nn.lee:192

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        y = torch.nn.functional.layer_norm(x, (self.d,), self.gamma, self.beta, self.eps)  # [rows, d]  nn.lee:197
        return y  # [rows, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        normalise = torch.nn.functional.layer_norm(x, (self.d,), eps=self.eps)  # [rows, d]  nn.lee:197
        return normalise * self.gamma + self.beta, normalise

    def forward_backward(self, x, normalise, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * (x - mu) / sqrt(var + eps) + beta   nn.lee:197
        d_beta = d_y.sum(dim=0)  # [d]
        d_gamma = (d_y * normalise).sum(dim=0)  # [d]
        d_x = normalise_gradient(d_y * self.gamma, x, (self.d,), self.eps)  # [rows, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


def attend(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[1, 1, m, time] -> [n,
    m, heads, size]
    """
    size = q.shape[3]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(torch.where(mask, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed  # [n, m, heads, size]


def attend_saved(q, k, v, mask):
    """As attend, and what its gradient needs."""
    size = q.shape[3]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(torch.where(mask, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed, share


def attend_backward(q, k, v, mask, share, d_mixed):
    """From d_mixed to the gradients by q, k and v."""
    size = q.shape[3]
    # gradient of mixed[b, i, h, a] = sum[j](share[b, h, i, j] * v[b, j, h, a])   nn.lee:337
    transpose = d_mixed.permute(0, 2, 1, 3)  # [n, heads, m, size]
    d_share = transpose @ v.permute(0, 2, 3, 1)  # [n, heads, m, time]
    d_v = (share.mT @ transpose).permute(0, 2, 1, 3)  # [n, time, heads, size]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [n, heads, m, time]
    # gradient of score[b, h, i, j] = sum[a](q[b, i, h, a] * k[b, j, h, a]) / sqrt(size)   nn.lee:335
    d_contract = torch.where(mask, share * sub / math.sqrt(size), 0)  # [n, heads, m, time]
    d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]
    d_k = (d_contract.mT @ q.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, time, heads, size]
    return d_q, d_k, d_v


def attend_2(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[n, 1, m, time] -> [n,
    m, heads, size]
    """
    size = q.shape[3]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(torch.where(mask, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed  # [n, m, heads, size]


def attend_2_saved(q, k, v, mask):
    """As attend_2, and what its gradient needs."""
    size = q.shape[3]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(torch.where(mask, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed, share


def attend_2_backward(q, k, v, mask, share, d_mixed):
    """From d_mixed to the gradients by q, k and v."""
    size = q.shape[3]
    # gradient of mixed[b, i, h, a] = sum[j](share[b, h, i, j] * v[b, j, h, a])   nn.lee:337
    transpose = d_mixed.permute(0, 2, 1, 3)  # [n, heads, m, size]
    d_share = transpose @ v.permute(0, 2, 3, 1)  # [n, heads, m, time]
    d_v = (share.mT @ transpose).permute(0, 2, 1, 3)  # [n, time, heads, size]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [n, heads, m, time]
    # gradient of score[b, h, i, j] = sum[a](q[b, i, h, a] * k[b, j, h, a]) / sqrt(size)   nn.lee:335
    d_contract = torch.where(mask, share * sub / math.sqrt(size), 0)  # [n, heads, m, time]
    d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]
    d_k = (d_contract.mT @ q.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, time, heads, size]
    return d_q, d_k, d_v


def attend_3(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[1, 1, 1, time] -> [n,
    m, heads, size]
    """
    size = q.shape[3]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(torch.where(mask, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed  # [n, m, heads, size]


def padding_mask(lengths, time):
    """True at the positions before each length.

    lengths int[n] -> bool[n, 1, 1, time]
    """
    lt = torch.arange(time, device=lengths.device) < lengths[:, None]  # bool[n, time]  nn.lee:343
    inside = lt[:, None, None]  # bool[n, 1, 1, time]
    return inside  # bool[n, 1, 1, time]


def causal_mask(time):
    """True where a position looks at itself or back."""
    # bool[1, 1, time, time]  nn.lee:349
    back = (torch.arange(time) <= torch.arange(time)[:, None]).expand(1, 1, time, time)
    return back  # bool[1, 1, time, time]


class MultiHeadAttention(Model):
    """Positions of x attend to those of `memory`, which is x itself unless given."""

    members = ("query", "key", "value", "output")

    def __init__(self, d, heads, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads = d, heads
        if d % heads != 0:
            raise ValueError(f"nn.lee:355: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.query = Linear(d, d, key=fold(key, SITES["query"]))  # nn.lee:356
        self.key = Linear(d, d, key=fold(key, SITES["key"]))  # nn.lee:357
        self.value = Linear(d, d, key=fold(key, SITES["value"]))  # nn.lee:358
        self.output = Linear(d, d, key=fold(key, SITES["output"]))  # nn.lee:359

    def forward(self, x, mask):
        """x [n, m, d], mask bool[1, 1, m, m] -> [n, m, d]"""
        n, m, _ = x.shape
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]  nn.lee:364
        q = self.query(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        k = self.key(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:365
        v = self.value(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:366
        output_out = self.output(attend(q, k, v, mask).reshape(m * n, self.d))  # [m * n, d]  nn.lee:367
        return output_out.reshape(n, m, self.d)  # [n, m, d]

    def forward_saved(self, x, mask):
        """As forward, and what its gradient needs."""
        n, m, _ = x.shape
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]  nn.lee:364
        q = self.query(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        k = self.key(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:365
        v = self.value(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:366
        mixed, saved_attend = attend_saved(q, k, v, mask)  # nn.lee:367
        reshape_2 = mixed.reshape(m * n, self.d)  # [m * n, d]
        return self.output(reshape_2).reshape(n, m, self.d), (q, k, v, saved_attend, reshape_2)

    def forward_backward(self, x, mask, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        q, k, v, saved_attend, reshape_2 = saved
        n, m, _ = x.shape
        # gradient of q = reshape(query(x), [n, m, heads, d // heads])   nn.lee:364
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]
        # gradient of return output(reshape(attend(q, k, v, mask), [n, m, d]))   nn.lee:367
        d_output, d_reshape_2 = self.output.forward_backward(reshape_2, d_y.reshape(m * n, self.d))
        d_mixed = d_reshape_2.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        d_q, d_k, d_v = attend_backward(q, k, v, mask, saved_attend, d_mixed)
        # gradient of v = reshape(value(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:366
        d_value, d_x_flat_2 = self.value.forward_backward(x_flat, d_v.reshape(m * n, self.d))
        # gradient of k = reshape(key(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:365
        d_key, d_x_flat_3 = self.key.forward_backward(x_flat, d_k.reshape(m * n, self.d))
        # gradient of q = reshape(query(x), [n, m, heads, d // heads])   nn.lee:364
        d_query, d_x_flat_4 = self.query.forward_backward(x_flat, d_q.reshape(m * n, self.d))
        d_x = (d_x_flat_2 + d_x_flat_3 + d_x_flat_4).reshape(n, m, self.d)  # [n, m, d]
        return {"query": d_query, "key": d_key, "value": d_value, "output": d_output}, d_x

    def forward_2(self, x, mask):
        """x [n, m, d], mask bool[n, 1, m, m] -> [n, m, d]"""
        n, m, _ = x.shape
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]  nn.lee:364
        q = self.query(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        k = self.key(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:365
        v = self.value(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:366
        output_out = self.output(attend_2(q, k, v, mask).reshape(m * n, self.d))  # [m * n, d]  nn.lee:367
        return output_out.reshape(n, m, self.d)  # [n, m, d]

    def forward_2_saved(self, x, mask):
        """As forward_2, and what its gradient needs."""
        n, m, _ = x.shape
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]  nn.lee:364
        q = self.query(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        k = self.key(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:365
        v = self.value(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:366
        mixed, saved_attend_2 = attend_2_saved(q, k, v, mask)  # nn.lee:367
        reshape_2 = mixed.reshape(m * n, self.d)  # [m * n, d]
        return self.output(reshape_2).reshape(n, m, self.d), (q, k, v, saved_attend_2, reshape_2)

    def forward_2_backward(self, x, mask, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        q, k, v, saved_attend_2, reshape_2 = saved
        n, m, _ = x.shape
        # gradient of q = reshape(query(x), [n, m, heads, d // heads])   nn.lee:364
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]
        # gradient of return output(reshape(attend(q, k, v, mask), [n, m, d]))   nn.lee:367
        d_output, d_reshape_2 = self.output.forward_backward(reshape_2, d_y.reshape(m * n, self.d))
        d_mixed = d_reshape_2.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        d_q, d_k, d_v = attend_2_backward(q, k, v, mask, saved_attend_2, d_mixed)
        # gradient of v = reshape(value(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:366
        d_value, d_x_flat_2 = self.value.forward_backward(x_flat, d_v.reshape(m * n, self.d))
        # gradient of k = reshape(key(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:365
        d_key, d_x_flat_3 = self.key.forward_backward(x_flat, d_k.reshape(m * n, self.d))
        # gradient of q = reshape(query(x), [n, m, heads, d // heads])   nn.lee:364
        d_query, d_x_flat_4 = self.query.forward_backward(x_flat, d_q.reshape(m * n, self.d))
        d_x = (d_x_flat_2 + d_x_flat_3 + d_x_flat_4).reshape(n, m, self.d)  # [n, m, d]
        return {"query": d_query, "key": d_key, "value": d_value, "output": d_output}, d_x


class AdamW(Optimizer):
    """Adam with a decay of the weights apart from the gradient (Loshchilov & Hutter 2019).

    `clip` bounds the global norm of the gradient.
    """

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, clip=torch.inf):
        self.lr, self.beta1, self.beta2 = lr, beta1, beta2
        self.eps, self.weight_decay, self.clip = eps, weight_decay, clip

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        div = self.clip / (norm(g) + 1e-6)  # optim.lee:91
        g_2 = g * torch.where(1 <= div, 1, div)  # [count]
        # optim.lee:96
        adamw_(θ, g_2, self.m, self.v, self.lr, self.beta1, self.beta2, self.eps, self.weight_decay, self.t)


def gelu(x):
    """x · Φ(x), Φ the normal distribution function; or its form by tanh (Hendrycks & Gimpel 2016).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.nn.functional.gelu(x, approximate="tanh")  # [x_0, x_1, x_2]  prelude.lee:112


def gelu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)))   prelude.lee:112
    d_x = torch.ops.aten.gelu_backward(d_y, x, approximate="tanh")  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


def gelu_2(x):
    """x · Φ(x), Φ the normal distribution function; or its form by tanh (Hendrycks & Gimpel 2016).

    x [x_0, 1, x_2] -> [x_0, 1, x_2]
    """
    return torch.nn.functional.gelu(x, approximate="tanh")  # [x_0, 1, x_2]  prelude.lee:112


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return sqrt((x**2).sum())  # prelude.lee:163


def warmup_cosine(peak, warmup, total, t):
    """Up to the peak in `warmup` updates, then down to 0 along half a wave."""
    ramp = peak * t / warmup  # schedules.lee:62
    done = float(min((t - warmup) / (total - warmup), 1))  # schedules.lee:63
    wave = 0.5 * peak * (1 + math.cos(3.141592653589793 * done))  # schedules.lee:64
    return ramp if t < warmup else wave  # schedules.lee:65


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "blocks.0": 0x6CE3212D64C10C6D,
    "blocks.1": 0xD0D0BD5FB969D595,
    "down": 0x672F5B678D49ED61,
    "drawn": 0x987C648E5228A0E1,
    "generate": 0xED3CD6285D44F1B2,
    "key": 0xF54CA9C3ADCC7CCE,
    "lengths": 0xDE00C8960E49C03F,
    "net": 0xF087C76970C91612,
    "output": 0x02DE2253159F1835,
    "position": 0xB1E70806EEF9B6AE,
    "prompt": 0xCDD6BE63AF8F0FB8,
    "query": 0x0368BD6C66AB1F7B,
    "table": 0x4F51E0D95EBC91EB,
    "token": 0x749B6B869AC2013F,
    "tokens": 0x0C6CD902DB662605,
    "u": 0x08D267E10C593806,
    "up": 0xDD49F622B87D879F,
    "value": 0x196B9BE45174F330,
    "w": 0x20925082A2286B9E,
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


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


def normalise_gradient(g, x, shape, eps):
    """The gradient of `layer_norm(x, shape, eps=eps)` by x."""
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    return torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, None, None, (True, False, False))[0]


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
