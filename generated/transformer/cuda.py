"""The Transformer (inventory G10, G11, G14-G17, G24, G25): attention and layers for each position, nothing recurrent.

Sequences end with a word of their own, `end`; `lengths` are the true lengths, the end included. The same program
translates, answers, or writes a tree as brackets: only the pairs differ.

Made from specs/attention/transformer.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/transformer.lee
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
    """A row for each index; √d times a row is as large as a position."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        super().__init__()
        self.count, self.d = count, d
        # [count, d]  transformer.lee:16
        self.table = torch.nn.Parameter(1 / math.sqrt(d) * normal(fold(key, SITES["table"]), (count, d), FLOAT))

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[index]  # [rows, d]  transformer.lee:19

    @staticmethod
    def forward_backward(index, count, d_y):
        """From d_y to the gradient by the parameters."""
        d = d_y.shape[1]
        # gradient of return table[index]   transformer.lee:19
        d_table = scatter_add(d_y, (index,), (count, d))  # [count, d]
        return {"table": d_table}  # [count, d]


class EncoderLayer(Model):
    """Attention, then layers for each position; each with what came in added, and then normalised."""

    members = ("attention", "up", "down", "norm1", "norm2")

    def __init__(self, d, heads, hidden, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # transformer.lee:24
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # transformer.lee:25
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # transformer.lee:26
        self.norm1 = LayerNorm(d)  # transformer.lee:27
        self.norm2 = LayerNorm(d)  # transformer.lee:28

    def forward(self, x, lengths):
        """x [n, time, d], lengths int[n] -> [n, time, d]"""
        n, time, _ = x.shape
        add = x + self.attention(x, padding_mask(lengths, time))  # [n, time, d]  transformer.lee:31
        norm1_out = self.norm1(add.reshape(n * time, self.d))  # [n * time, d]
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        select = relu(self.up(norm1_out).reshape(n, time, self.hidden))  # [n, time, hidden]  transformer.lee:32
        down_out = self.down(select.reshape(n * time, self.hidden))  # [n * time, d]
        add_2 = x_2 + down_out.reshape(n, time, self.d)  # [n, time, d]
        norm2_out = self.norm2(add_2.reshape(n * time, self.d))  # [n * time, d]
        return norm2_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        inside = padding_mask(lengths, time)  # bool[n, 1, 1, time]  transformer.lee:31
        reshape_12, saved_attention = self.attention.forward_saved(x, inside)
        reshape = (x + reshape_12).reshape(n * time, self.d)  # [n * time, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape)
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        select = relu(self.up(norm1_out).reshape(n, time, self.hidden))  # [n, time, hidden]  transformer.lee:32
        down_out = self.down(select.reshape(n * time, self.hidden))  # [n * time, d]
        reshape_5 = (x_2 + down_out.reshape(n, time, self.d)).reshape(n * time, self.d)  # [n * time, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_5)
        saved = inside, saved_attention, reshape, norm1_out, saved_norm1, select, reshape_5, saved_norm2
        return norm2_out.reshape(n, time, self.d), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        inside, saved_attention, reshape, norm1_out, saved_norm1, select, reshape_5, saved_norm2 = saved
        n, time, _ = x.shape
        # gradient of return norm2(x + down(relu(up(x))))   transformer.lee:32
        d_norm2_out = d_y.reshape(n * time, self.d)  # [n * time, d]
        d_norm2, d_reshape_5 = self.norm2.forward_backward(reshape_5, saved_norm2, d_norm2_out)
        reshape_2 = select.reshape(n * time, self.hidden)  # [n * time, hidden]
        d_down, d_reshape_3 = self.down.forward_backward(reshape_2, d_reshape_5)
        d_reshape_2 = relu_backward(select, d_reshape_3.reshape(n, time, self.hidden))  # [n, time, hidden]
        d_up_out = d_reshape_2.reshape(n * time, self.hidden)  # [n * time, hidden]
        d_up, d_norm1_out_2 = self.up.forward_backward(norm1_out, d_up_out)
        # gradient of x = norm1(x + attention(x, mask = padding_mask(lengths, time)))   transformer.lee:31
        d_norm1_out = d_norm1_out_2 + d_reshape_5  # [n * time, d]
        d_norm1, d_reshape = self.norm1.forward_backward(reshape, saved_norm1, d_norm1_out)
        d_add = d_reshape.reshape(n, time, self.d)  # [n, time, d]
        d_attention, d_x_3 = self.attention.forward_backward(x, inside, saved_attention, d_add)
        d_x = d_add + d_x_3  # [n, time, d]
        return {"attention": d_attention, "up": d_up, "down": d_down, "norm1": d_norm1, "norm2": d_norm2}, d_x


class DecoderLayer(Model):
    """Attention to what was written so far, then to what was read, then layers for each position."""

    members = ("attention", "cross", "up", "down", "norm1", "norm2", "norm3")

    def __init__(self, d, heads, hidden, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # transformer.lee:37
        self.cross = MultiHeadAttention(d, heads, key=fold(key, SITES["cross"]))  # transformer.lee:38
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # transformer.lee:39
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # transformer.lee:40
        self.norm1 = LayerNorm(d)  # transformer.lee:41
        self.norm2 = LayerNorm(d)  # transformer.lee:42
        self.norm3 = LayerNorm(d)  # transformer.lee:43

    def forward(self, y, memory, lengths):
        """y [n, length, d], memory [n, time, d], lengths int[n] -> [n, length, d]"""
        n, length, _ = y.shape
        time = memory.shape[1]
        add = y + self.attention.forward_2(y, causal_mask(length))  # [n, length, d]  transformer.lee:46
        y_2 = self.norm1(add.reshape(length * n, self.d)).reshape(n, length, self.d)  # [n, length, d]
        # [n, length, d]  transformer.lee:47
        reshape_12_2 = self.cross.forward_3(y_2, memory, padding_mask(lengths, time))
        norm2_out = self.norm2((y_2 + reshape_12_2).reshape(length * n, self.d))  # [length * n, d]
        y_3 = norm2_out.reshape(n, length, self.d)  # [n, length, d]
        select = relu(self.up(norm2_out).reshape(n, length, self.hidden))  # [n, length, hidden]  transformer.lee:48
        down_out = self.down(select.reshape(length * n, self.hidden))  # [length * n, d]
        add_3 = y_3 + down_out.reshape(n, length, self.d)  # [n, length, d]
        norm3_out = self.norm3(add_3.reshape(length * n, self.d))  # [length * n, d]
        return norm3_out.reshape(n, length, self.d)  # [n, length, d]

    def forward_saved(self, y, memory, lengths):
        """As forward, and what its gradient needs."""
        n, length, _ = y.shape
        time = memory.shape[1]
        reshape_12, saved_attention = self.attention.forward_2_saved(y, causal_mask(length))  # transformer.lee:46
        reshape = (y + reshape_12).reshape(length * n, self.d)  # [length * n, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape)
        y_2 = norm1_out.reshape(n, length, self.d)  # [n, length, d]
        inside = padding_mask(lengths, time)  # bool[n, 1, 1, time]  transformer.lee:47
        reshape_12_2, saved_cross = self.cross.forward_3_saved(y_2, memory, inside)
        reshape_2 = (y_2 + reshape_12_2).reshape(length * n, self.d)  # [length * n, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_2)
        y_3 = norm2_out.reshape(n, length, self.d)  # [n, length, d]
        select = relu(self.up(norm2_out).reshape(n, length, self.hidden))  # [n, length, hidden]  transformer.lee:48
        down_out = self.down(select.reshape(length * n, self.hidden))  # [length * n, d]
        reshape_6 = (y_3 + down_out.reshape(n, length, self.d)).reshape(length * n, self.d)  # [length * n, d]
        norm3_out, saved_norm3 = self.norm3.forward_saved(reshape_6)
        saved = (
            causal_mask(length),
            saved_attention,
            reshape,
            saved_norm1,
            y_2,
            inside,
            saved_cross,
            reshape_2,
            norm2_out,
            saved_norm2,
            select,
            reshape_6,
            saved_norm3,
        )
        return norm3_out.reshape(n, length, self.d), saved

    def forward_backward(self, y, memory, saved, d_out):
        """From d_out to the gradients by the parameters, y and memory."""
        back, saved_attention, reshape, saved_norm1, y_2, inside, saved_cross, reshape_2, norm2_out, saved_norm2, select, reshape_6, saved_norm3 = saved
        n, length, _ = y.shape
        # gradient of return norm3(y + down(relu(up(y))))   transformer.lee:48
        d_norm3_out = d_out.reshape(length * n, self.d)  # [length * n, d]
        d_norm3, d_reshape_6 = self.norm3.forward_backward(reshape_6, saved_norm3, d_norm3_out)
        reshape_3 = select.reshape(length * n, self.hidden)  # [length * n, hidden]
        d_down, d_reshape_4 = self.down.forward_backward(reshape_3, d_reshape_6)
        d_reshape_3 = relu_backward(select, d_reshape_4.reshape(n, length, self.hidden))  # [n, length, hidden]
        d_up_out = d_reshape_3.reshape(length * n, self.hidden)  # [length * n, hidden]
        d_up, d_norm2_out_2 = self.up.forward_backward(norm2_out, d_up_out)
        # gradient of y = norm2(y + cross(y, memory, mask = padding_mask(lengths, time)))   transformer.lee:47
        d_norm2_out = d_norm2_out_2 + d_reshape_6  # [length * n, d]
        d_norm2, d_reshape_2 = self.norm2.forward_backward(reshape_2, saved_norm2, d_norm2_out)
        d_add_3 = d_reshape_2.reshape(n, length, self.d)  # [n, length, d]
        d_cross, d_y_2_2, d_memory = self.cross.forward_3_backward(y_2, memory, inside, saved_cross, d_add_3)
        # gradient of y = norm1(y + attention(y, mask = causal_mask(length)))   transformer.lee:46
        d_y_2 = d_add_3 + d_y_2_2  # [n, length, d]
        d_norm1_out = d_y_2.reshape(length * n, self.d)  # [length * n, d]
        d_norm1, d_reshape = self.norm1.forward_backward(reshape, saved_norm1, d_norm1_out)
        d_add = d_reshape.reshape(n, length, self.d)  # [n, length, d]
        d_attention, d_y_4 = self.attention.forward_2_backward(y, back, saved_attention, d_add)
        d_y = d_add + d_y_4  # [n, length, d]
        return (
            {
                "attention": d_attention,
                "cross": d_cross,
                "up": d_up,
                "down": d_down,
                "norm1": d_norm1,
                "norm2": d_norm2,
                "norm3": d_norm3,
            },
            d_y,
            d_memory,
        )


class Encoder_2(Model):
    """Words and their positions, through layer after layer."""

    members = ("read", "blocks")

    def __init__(self, vocab, d, heads, hidden, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.heads, self.hidden = vocab, d, heads, hidden
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:53
        # transformer.lee:54
        self.blocks = torch.nn.ModuleList(
            [
                EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"])),
                EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.1"])),
            ]
        )

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = x.shape
        reshape = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:57
        h = math.sqrt(self.d) * reshape + sinusoids(time, self.d)  # [n, time, d]
        h_2 = self.blocks[0](h, lengths)  # [n, time, d]  transformer.lee:59
        h_3 = self.blocks[1](h_2, lengths)  # [n, time, d]
        return h_3  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:57
        h = math.sqrt(self.d) * reshape_2 + sinusoids(time, self.d)  # [n, time, d]
        h_2, saved_blocks_0_ = self.blocks[0].forward_saved(h, lengths)  # transformer.lee:59
        h_3, saved_blocks_1_ = self.blocks[1].forward_saved(h_2, lengths)
        return h_3, (h, h_2, saved_blocks_0_, saved_blocks_1_)

    def forward_backward(self, x, saved, d_mul_2):
        """From d_mul_2 to the gradient by the parameters."""
        h, h_2, saved_blocks_0_, saved_blocks_1_ = saved
        n, time = x.shape
        # gradient of h = block(h, lengths)   transformer.lee:59
        d_blocks_1_, d_h_2 = self.blocks[1].forward_backward(h_2, saved_blocks_1_, d_mul_2)
        d_blocks_0_, d_h = self.blocks[0].forward_backward(h, saved_blocks_0_, d_h_2)
        # gradient of h = sqrt(d) * read(x) + sinusoids(time, d)   transformer.lee:57
        d_read_out = (d_h * math.sqrt(self.d)).reshape(n * time, self.d)  # [n * time, d]
        d_read = Table.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "blocks.0": d_blocks_0_, "blocks.1": d_blocks_1_}


class Encoder_3(Model):
    """Words and their positions, through layer after layer."""

    members = ("read", "blocks")

    def __init__(self, vocab, d, heads, hidden, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.heads, self.hidden = vocab, d, heads, hidden
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:53
        # transformer.lee:54
        self.blocks = torch.nn.ModuleList([EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"]))])

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = x.shape
        reshape = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:57
        h = math.sqrt(self.d) * reshape + sinusoids(time, self.d)  # [n, time, d]
        h_2 = self.blocks[0](h, lengths)  # [n, time, d]  transformer.lee:59
        return h_2  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:57
        h = math.sqrt(self.d) * reshape_2 + sinusoids(time, self.d)  # [n, time, d]
        h_2, saved_blocks_0_ = self.blocks[0].forward_saved(h, lengths)  # transformer.lee:59
        return h_2, (h, saved_blocks_0_)

    def forward_backward(self, x, saved, d_mul_2):
        """From d_mul_2 to the gradient by the parameters."""
        h, saved_blocks_0_ = saved
        n, time = x.shape
        # gradient of h = block(h, lengths)   transformer.lee:59
        d_blocks_0_, d_h = self.blocks[0].forward_backward(h, saved_blocks_0_, d_mul_2)
        # gradient of h = sqrt(d) * read(x) + sinusoids(time, d)   transformer.lee:57
        d_read_out = (d_h * math.sqrt(self.d)).reshape(n * time, self.d)  # [n * time, d]
        d_read = Table.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "blocks.0": d_blocks_0_}


class Transformer_2(Model):
    """Reads all at once, writes word by word (Vaswani et al. 2017)."""

    members = ("encoder", "write", "blocks", "head")

    def __init__(self, source, target, d, heads, hidden, start=1, end=2, *, key=(0, 0)):
        super().__init__()
        self.source, self.target, self.d, self.heads = source, target, d, heads
        self.hidden, self.start, self.end = hidden, start, end
        self.encoder = Encoder_2(source, d, heads, hidden, key=fold(key, SITES["encoder"]))  # transformer.lee:65
        self.write = Table(target, d, key=fold(key, SITES["write"]))  # transformer.lee:66
        # transformer.lee:67
        self.blocks = torch.nn.ModuleList(
            [
                DecoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"])),
                DecoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.1"])),
            ]
        )
        self.head = Linear(d, target, key=fold(key, SITES["head"]))  # transformer.lee:68

    def decode(self, memory, lengths, y):
        """What comes behind each of the words y.

        memory [n, time, d], lengths int[n], y int[n, length] -> [n, length, target]
        """
        n, length = y.shape
        reshape = self.write(y.reshape(length * n)).reshape(n, length, self.d)  # [n, length, d]  transformer.lee:72
        h = math.sqrt(self.d) * reshape + sinusoids(length, self.d)  # [n, length, d]
        h_2 = self.blocks[0](h, memory, lengths)  # [n, length, d]  transformer.lee:74
        h_3 = self.blocks[1](h_2, memory, lengths)  # [n, length, d]
        head_out = self.head(h_3.reshape(length * n, self.d))  # [length * n, target]  transformer.lee:75
        return head_out.reshape(n, length, self.target)  # [n, length, target]

    def decode_saved(self, memory, lengths, y):
        """As decode, and what its gradient needs."""
        n, length = y.shape
        reshape_2 = self.write(y.reshape(length * n)).reshape(n, length, self.d)  # [n, length, d]  transformer.lee:72
        h = math.sqrt(self.d) * reshape_2 + sinusoids(length, self.d)  # [n, length, d]
        h_2, saved_blocks_0_ = self.blocks[0].forward_saved(h, memory, lengths)  # transformer.lee:74
        h_3, saved_blocks_1_ = self.blocks[1].forward_saved(h_2, memory, lengths)
        reshape_3 = h_3.reshape(length * n, self.d)  # [length * n, d]  transformer.lee:75
        return self.head(reshape_3).reshape(n, length, self.target), (
            h,
            h_2,
            saved_blocks_0_,
            saved_blocks_1_,
            reshape_3,
        )

    def decode_backward(self, memory, y, saved, d_out):
        """From d_out to the gradients by the parameters and memory."""
        h, h_2, saved_blocks_0_, saved_blocks_1_, reshape_3 = saved
        n, length = y.shape
        # gradient of return head(h)   transformer.lee:75
        d_head_out = d_out.reshape(length * n, self.target)  # [length * n, target]
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_head_out)
        d_h_3 = d_reshape_3.reshape(n, length, self.d)  # [n, length, d]
        # gradient of h = block(h, memory, lengths)   transformer.lee:74
        d_blocks_1_, d_h_2, d_memory_2 = self.blocks[1].forward_backward(h_2, memory, saved_blocks_1_, d_h_3)
        d_blocks_0_, d_h, d_memory_3 = self.blocks[0].forward_backward(h, memory, saved_blocks_0_, d_h_2)
        # gradient of h = sqrt(d) * write(y) + sinusoids(length, d)   transformer.lee:72
        d_write_out = (d_h * math.sqrt(self.d)).reshape(length * n, self.d)  # [length * n, d]
        d_write = Table.forward_backward(y.reshape(length * n), self.target, d_write_out)
        d_memory = d_memory_2 + d_memory_3  # [n, time, d]
        return {"write": d_write, "blocks.0": d_blocks_0_, "blocks.1": d_blocks_1_, "head": d_head}, d_memory

    def forward(self, x, lengths, y):
        """Teacher forcing: the true words, one place further back, behind the start.

        x int[n, time], lengths int[n], y int[n, length] -> [n, length, target]
        """
        length = y.shape[1]
        t = torch.arange(length, device=x.device)  # int[length]  transformer.lee:79
        minimum = (t + -1).clamp(min=0).clamp(max=length - 1)  # int[length]
        before = torch.where(t > 0, y.permute((1, 0))[minimum].T, self.start)  # int[n, length]
        return self.decode(self.encoder(x, lengths), lengths, before)  # [n, length, target]  transformer.lee:80

    def forward_saved(self, x, lengths, y):
        """As forward, and what its gradient needs."""
        length = y.shape[1]
        t = torch.arange(length, device=x.device)  # int[length]  transformer.lee:79
        minimum = (t + -1).clamp(min=0).clamp(max=length - 1)  # int[length]
        before = torch.where(t > 0, y.permute((1, 0))[minimum].T, self.start)  # int[n, length]
        mul_2, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:80
        reshape_4, saved_self = self.decode_saved(mul_2, lengths, before)
        return reshape_4, (before, mul_2, saved_encoder, saved_self)

    def forward_backward(self, x, saved, d_out):
        """From d_out to the gradient by the parameters."""
        before, mul_2, saved_encoder, saved_self = saved
        # gradient of return decode(encoder(x, lengths), lengths, before)   transformer.lee:80
        d_transformer_2, d_mul_2 = self.decode_backward(mul_2, before, saved_self, d_out)
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_mul_2)
        return {
            "encoder": d_encoder,
            "write": d_transformer_2["write"],
            "blocks.0": d_transformer_2["blocks.0"],
            "blocks.1": d_transformer_2["blocks.1"],
            "head": d_transformer_2["head"],
        }

    def translate_step(self, done, y, stopped, memory, lengths, limit, t):
        """done bool[n], y int[n, limit + 1], memory [n, time, d], lengths int[n] -> bool[n], int[n, limit + 1], []"""
        n = done.shape[0]
        word = self.decode(memory, lengths, y)[:, t].argmax(dim=1)  # int[n]  transformer.lee:89
        fill = torch.full((n, 1), True, dtype=torch.bool, device=done.device)  # bool[n, 1]  transformer.lee:90
        unslice_ = unslice(fill, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # bool[n, limit + 1]
        reshape = torch.where(done, self.end, word)[:, None]  # int[n, 1]
        unslice_2 = unslice(reshape, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # int[n, limit + 1]
        y_4 = torch.where(unslice_, unslice_2, y)  # int[n, limit + 1]
        done_3 = done | (word == self.end)  # bool[n]  transformer.lee:91
        # transformer.lee:88
        return torch.where(stopped, done, done_3), torch.where(stopped, y, y_4), stopped | done_3.all()

    def translate(self, x, lengths, limit=20):
        """From the start the likeliest word is appended, again and again, until every row has ended.

        x int[n, time], lengths int[n] -> int[n, limit]
        """
        n = x.shape[0]
        memory = self.encoder(x, lengths)  # [n, time, d]  transformer.lee:84
        fill = torch.full((n, 1), self.start, dtype=torch.int64, device=x.device)  # int[n, 1]  transformer.lee:86
        fill_2 = torch.full((n, 1), True, dtype=torch.bool, device=x.device)  # bool[n, 1]
        unslice_ = unslice(fill_2, (n, limit + 1), (slice(0, n), slice(0, 1)))  # bool[n, limit + 1]
        unslice_2 = unslice(fill, (n, limit + 1), (slice(0, n), slice(0, 1)))  # int[n, limit + 1]
        y_2 = torch.where(unslice_, unslice_2, self.end)  # int[n, limit + 1]
        done = torch.full((n,), False, dtype=torch.bool, device=x.device)  # bool[n]  transformer.lee:87
        stopped = torch.full((), False, dtype=torch.bool, device=x.device)  # transformer.lee:88
        for t in range(limit):
            done, y_2, stopped = self.translate_step(done, y_2, stopped, memory, lengths, limit, t)
        return y_2[:, 1:]  # int[n, limit]  transformer.lee:94


class Transformer_3(Model):
    """Reads all at once, writes word by word (Vaswani et al. 2017)."""

    members = ("encoder", "write", "blocks", "head")

    def __init__(self, source, target, d, heads, hidden, start=1, end=2, *, key=(0, 0)):
        super().__init__()
        self.source, self.target, self.d, self.heads = source, target, d, heads
        self.hidden, self.start, self.end = hidden, start, end
        self.encoder = Encoder_3(source, d, heads, hidden, key=fold(key, SITES["encoder"]))  # transformer.lee:65
        self.write = Table(target, d, key=fold(key, SITES["write"]))  # transformer.lee:66
        # transformer.lee:67
        self.blocks = torch.nn.ModuleList([DecoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"]))])
        self.head = Linear(d, target, key=fold(key, SITES["head"]))  # transformer.lee:68

    def decode(self, memory, lengths, y):
        """What comes behind each of the words y.

        memory [n, time, d], lengths int[n], y int[n, length] -> [n, length, target]
        """
        n, length = y.shape
        reshape = self.write(y.reshape(length * n)).reshape(n, length, self.d)  # [n, length, d]  transformer.lee:72
        h = math.sqrt(self.d) * reshape + sinusoids(length, self.d)  # [n, length, d]
        h_2 = self.blocks[0](h, memory, lengths)  # [n, length, d]  transformer.lee:74
        head_out = self.head(h_2.reshape(length * n, self.d))  # [length * n, target]  transformer.lee:75
        return head_out.reshape(n, length, self.target)  # [n, length, target]

    def translate_step(self, done, y, stopped, memory, lengths, limit, t):
        """done bool[n], y int[n, limit + 1], memory [n, time, d], lengths int[n] -> bool[n], int[n, limit + 1], []"""
        n = done.shape[0]
        word = self.decode(memory, lengths, y)[:, t].argmax(dim=1)  # int[n]  transformer.lee:89
        fill = torch.full((n, 1), True, dtype=torch.bool, device=done.device)  # bool[n, 1]  transformer.lee:90
        unslice_ = unslice(fill, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # bool[n, limit + 1]
        reshape = torch.where(done, self.end, word)[:, None]  # int[n, 1]
        unslice_2 = unslice(reshape, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # int[n, limit + 1]
        y_4 = torch.where(unslice_, unslice_2, y)  # int[n, limit + 1]
        done_3 = done | (word == self.end)  # bool[n]  transformer.lee:91
        # transformer.lee:88
        return torch.where(stopped, done, done_3), torch.where(stopped, y, y_4), stopped | done_3.all()

    def translate(self, x, lengths, limit=20):
        """From the start the likeliest word is appended, again and again, until every row has ended.

        x int[n, time], lengths int[n] -> int[n, limit]
        """
        n = x.shape[0]
        memory = self.encoder(x, lengths)  # [n, time, d]  transformer.lee:84
        fill = torch.full((n, 1), self.start, dtype=torch.int64, device=x.device)  # int[n, 1]  transformer.lee:86
        fill_2 = torch.full((n, 1), True, dtype=torch.bool, device=x.device)  # bool[n, 1]
        unslice_ = unslice(fill_2, (n, limit + 1), (slice(0, n), slice(0, 1)))  # bool[n, limit + 1]
        unslice_2 = unslice(fill, (n, limit + 1), (slice(0, n), slice(0, 1)))  # int[n, limit + 1]
        y_2 = torch.where(unslice_, unslice_2, self.end)  # int[n, limit + 1]
        done = torch.full((n,), False, dtype=torch.bool, device=x.device)  # bool[n]  transformer.lee:87
        stopped = torch.full((), False, dtype=torch.bool, device=x.device)  # transformer.lee:88
        for t in range(limit):
            done, y_2, stopped = self.translate_step(done, y_2, stopped, memory, lengths, limit, t)
        return y_2[:, 1:]  # int[n, limit]  transformer.lee:94

    def forward(self, x, lengths, y):
        """Teacher forcing: the true words, one place further back, behind the start.

        x int[n, time], lengths int[n], y int[n, length] -> [n, length, target]
        """
        length = y.shape[1]
        t = torch.arange(length, device=x.device)  # int[length]  transformer.lee:79
        minimum = (t + -1).clamp(min=0).clamp(max=length - 1)  # int[length]
        before = torch.where(t > 0, y.permute((1, 0))[minimum].T, self.start)  # int[n, length]
        return self.decode(self.encoder(x, lengths), lengths, before)  # [n, length, target]  transformer.lee:80


class AllAtOnce_2(Model):
    """Without autoregression: a number says how many words there are, and every place guesses its own (Gu et al. 2018)."""

    members = ("encoder", "place", "blocks", "cross", "head", "size")

    def __init__(self, source, target, d, heads, hidden, longest, *, key=(0, 0)):
        super().__init__()
        self.source, self.target, self.d = source, target, d
        self.heads, self.hidden, self.longest = heads, hidden, longest
        self.encoder = Encoder_3(source, d, heads, hidden, key=fold(key, SITES["encoder"]))  # transformer.lee:99
        # [longest, d]  transformer.lee:100
        self.place = torch.nn.Parameter(normal(fold(key, SITES["place"]), (longest, d), FLOAT))
        # transformer.lee:101
        self.blocks = torch.nn.ModuleList([EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"]))])
        # transformer.lee:102
        self.cross = torch.nn.ModuleList([MultiHeadAttention(d, heads, key=fold(key, SITES["cross.0"]))])
        self.head = Linear(d, target, key=fold(key, SITES["head"]))  # transformer.lee:103
        self.size = Linear(d, longest, key=fold(key, SITES["size"]))  # transformer.lee:104

    def forward(self, x, lengths, sizes):
        """x int[n, time], lengths int[n], sizes int[n] -> [n, longest, target], [n, longest]"""
        n, time = x.shape
        memory = self.encoder(x, lengths)  # [n, time, d]  transformer.lee:107
        h = self.place.expand(n, self.longest, self.d)  # [n, longest, d]  transformer.lee:108
        # [n, longest, d]  transformer.lee:110
        reshape_12 = self.cross[0].forward_3(h, memory, padding_mask(lengths, time))
        h_2 = self.blocks[0](self.place + reshape_12, sizes)  # [n, longest, d]
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:111
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        mean_ = torch.where(reshape_2, memory.mT, 0).sum(dim=2) / reshape.to(FLOAT)  # [n, d]
        head_out = self.head(h_2.reshape(self.longest * n, self.d))  # [longest * n, target]  transformer.lee:112
        return head_out.reshape(n, self.longest, self.target), self.size(mean_)

    def forward_saved(self, x, lengths, sizes):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        memory, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:107
        h = self.place.expand(n, self.longest, self.d)  # [n, longest, d]  transformer.lee:108
        inside = padding_mask(lengths, time)  # bool[n, 1, 1, time]  transformer.lee:110
        reshape_12, saved_cross_0_ = self.cross[0].forward_3_saved(h, memory, inside)
        add = self.place + reshape_12  # [n, longest, d]
        h_2, saved_blocks_0_ = self.blocks[0].forward_saved(add, sizes)
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:111
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.to(FLOAT)  # [n, 1]
        mean_ = torch.where(reshape_2, memory.mT, 0).sum(dim=2) / cast  # [n, d]
        reshape_3 = h_2.reshape(self.longest * n, self.d)  # [longest * n, d]  transformer.lee:112
        saved = memory, saved_encoder, inside, saved_cross_0_, add, saved_blocks_0_, reshape_2, cast, mean_, reshape_3
        return self.head(reshape_3).reshape(n, self.longest, self.target), self.size(mean_), saved

    def forward_backward(self, x, saved, d_reshape_5, d_add_3):
        """From d_reshape_5 and d_add_3 to the gradient by the parameters."""
        memory, saved_encoder, inside, saved_cross_0_, add, saved_blocks_0_, reshape_2, cast, mean_, reshape_3 = saved
        n = x.shape[0]
        # gradient of h[b in n, t in longest, a in d] = 1.0 * place[t, a]   transformer.lee:108
        h = self.place.expand(n, self.longest, self.d)  # [n, longest, d]
        # gradient of return head(h), size(mean_)   transformer.lee:112
        d_size, d_mean_ = self.size.forward_backward(mean_, d_add_3)
        d_head_out = d_reshape_5.reshape(self.longest * n, self.target)  # [longest * n, target]
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_head_out)
        d_h_2 = d_reshape_3.reshape(n, self.longest, self.d)  # [n, longest, d]
        # gradient of h = block(h + look(h, memory, mask = padding_mask(lengths, time)), sizes)   transformer.lee:110
        d_blocks_0_, d_add = self.blocks[0].forward_backward(add, saved_blocks_0_, d_h_2)
        d_cross_0_, d_h, d_memory_3 = self.cross[0].forward_3_backward(h, memory, inside, saved_cross_0_, d_add)
        # gradient of memory = encoder(x, lengths)   transformer.lee:107
        d_memory = torch.where(reshape_2, (d_mean_ / cast)[:, :, None], 0).mT + d_memory_3  # [n, time, d]
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_memory)
        d_place = d_add.sum(dim=0) + d_h.sum(dim=0)  # [longest, d]
        return {
            "encoder": d_encoder,
            "place": d_place,
            "blocks.0": d_blocks_0_,
            "cross.0": d_cross_0_,
            "head": d_head,
            "size": d_size,
        }


def per_word(z, y, lengths):
    """The cross-entropy of every word that counts, the end included; what stands behind it does not.

    z [n, length, target], y int[n, length], lengths int[n] -> []
    """
    n, length, target = z.shape
    each = cross_entropy_2(z.reshape(length * n, target), y.reshape(length * n))  # [length * n]  transformer.lee:117
    each_2 = each.reshape(n, length)  # [n, length]
    lt = torch.arange(length, device=z.device) < lengths[:, None]  # bool[n, length]  transformer.lee:118
    return torch.where(lt, each_2, 0).sum() / lengths.sum().to(FLOAT)


def per_word_saved(z, y, lengths):
    """As per_word, and what its gradient needs."""
    n, length, target = z.shape
    each = cross_entropy_2(z.reshape(length * n, target), y.reshape(length * n))  # [length * n]  transformer.lee:117
    each_2 = each.reshape(n, length)  # [n, length]
    lt = torch.arange(length, device=z.device) < lengths[:, None]  # bool[n, length]  transformer.lee:118
    cast = lengths.sum().to(FLOAT)
    return torch.where(lt, each_2, 0).sum() / cast, (lt, cast)


def per_word_backward(z, y, saved, d_out):
    """From d_out to the gradient by z."""
    lt, cast = saved
    n, length, target = z.shape
    # gradient of return sum[b, t in lengths[b]](each[b, t]) / sum(lengths)   transformer.lee:118
    d_each_2 = torch.where(lt, d_out / cast, 0)  # [n, length]
    # gradient of each = cross_entropy(z, y, reduce = false)   transformer.lee:117
    z_flat = z.reshape(length * n, target)  # [length * n, target]
    d_each = d_each_2.reshape(length * n)  # [length * n]
    d_z_flat = cross_entropy_2_backward(z_flat, y.reshape(length * n), d_each)  # [length * n, target]
    d_z = d_z_flat.reshape(n, length, target)  # [n, length, target]
    return d_z  # [n, length, target]


def all_at_once_saved(net, x, lengths, y, sizes):
    """As all_at_once, and what its gradient needs."""
    z, size, saved_net = net.forward_saved(x, lengths, sizes)  # transformer.lee:123
    div, saved_per_word = per_word_saved(z, y, sizes)  # transformer.lee:124
    sub = sizes - 1  # int[n]
    return div + cross_entropy(size, sub), (z, size, saved_net, saved_per_word, sub)


def all_at_once_backward(net, x, y, saved, d_add):
    """From d_add to the gradient by net."""
    z, size, saved_net, saved_per_word, sub = saved
    # gradient of return per_word(z, y, sizes) + cross_entropy(size, sizes - 1)   transformer.lee:124
    d_size = cross_entropy_backward(size, sub, d_add)  # [n, net.longest]
    d_z = per_word_backward(z, y, saved_per_word, d_add)  # [n, net.longest, net.target]
    # gradient of z, size = net(x, lengths, sizes)   transformer.lee:123
    d_net = net.forward_backward(x, saved_net, d_z, d_size)
    return d_net


class Recurrent(Model):
    """Recurrent(vocab, d)"""

    members = ("read", "rnn")

    def __init__(self, vocab, d, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d = vocab, d
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:131
        self.rnn = LSTM(d, d, key=fold(key, SITES["rnn"]))  # transformer.lee:132

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = x.shape
        y = self.rnn(self.read(x.reshape(n * time)).reshape(n, time, self.d))  # [n, time, d]  transformer.lee:135
        return y  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:135
        out, saved_rnn = self.rnn.forward_saved(reshape_2)
        return out, (reshape_2, saved_rnn)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        reshape_2, saved_rnn = saved
        n, time = x.shape
        # gradient of return rnn(read(x))   transformer.lee:135
        d_rnn, d_reshape_2 = self.rnn.forward_backward(reshape_2, saved_rnn, d_y)
        d_read_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        d_read = Table.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "rnn": d_rnn}


class Convolutional(Model):
    """Convolutional(vocab, d)"""

    members = ("read", "conv")

    def __init__(self, vocab, d, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d = vocab, d
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:139
        self.conv = Conv1d(d, d, padding=1, key=fold(key, SITES["conv"]))  # transformer.lee:140

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = x.shape
        z = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:143
        lt = torch.arange(time, device=x.device) < lengths[:, None]  # bool[n, time]  transformer.lee:144
        across = torch.where(lt[:, None], z.mT, 0)  # [n, d, time]
        y = relu(self.conv(across))  # [n, d, time]  transformer.lee:145
        back = y.mT  # [n, time, d]  transformer.lee:146
        return back  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        z = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:143
        # bool[n, 1, time]  transformer.lee:144
        reshape_3 = (torch.arange(time, device=x.device) < lengths[:, None])[:, None]
        across = torch.where(reshape_3, z.mT, 0)  # [n, d, time]
        y = relu(self.conv(across))  # [n, d, time]  transformer.lee:145
        back = y.mT  # [n, time, d]  transformer.lee:146
        return back, (reshape_3, across, y)

    def forward_backward(self, x, saved, d_mul):
        """From d_mul to the gradient by the parameters."""
        reshape_3, across, y = saved
        n, time = x.shape
        # gradient of back[b, t, a] = y[b, a, t]   transformer.lee:146
        d_y = d_mul.mT  # [n, d, time]
        # gradient of y = relu(conv(across))   transformer.lee:145
        d_conv, d_across = self.conv.forward_backward(across, relu_backward(y, d_y))
        # gradient of across[b, a in d, t in time] = where(t < lengths[b], z[b, t, a], 0)   transformer.lee:144
        d_z = torch.where(reshape_3, d_across, 0).mT  # [n, time, d]
        # gradient of z = read(x)   transformer.lee:143
        d_read_out = d_z.reshape(n * time, self.d)  # [n * time, d]
        d_read = Table.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "conv": d_conv}


class Reader(Model):
    """A class of a sequence: whatever turns vectors into vectors may be the encoder."""

    members = ("encoder", "head")

    def __init__(self, encoder, d, classes, *, key=(0, 0)):
        super().__init__()
        self.encoder, self.d, self.classes = encoder, d, classes
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # transformer.lee:152

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, classes]"""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h = self.encoder(x, lengths)  # [n, time, encoder.d]  transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        mean_ = torch.where(reshape_2, h.mT, 0).sum(dim=2) / reshape.to(FLOAT)  # [n, encoder.d]
        return self.head(mean_.reshape(n, self.d))  # [n, classes]  transformer.lee:157

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.to(FLOAT)  # [n, 1]
        mean_ = torch.where(reshape_2, h.mT, 0).sum(dim=2) / cast  # [n, encoder.d]
        reshape_3 = mean_.reshape(n, self.d)  # [n, d]  transformer.lee:157
        return self.head(reshape_3), (saved_encoder, reshape_2, cast, reshape_3)

    def forward_backward(self, x, saved, encoder_vocab, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape_2, cast, reshape_3 = saved
        n = x.shape[0]
        # gradient of return head(mean_)   transformer.lee:157
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_y)
        d_mean_ = d_reshape_3.reshape(n, self.encoder.d)  # [n, encoder.d]
        # gradient of mean_[b, a] = sum[t in lengths[b]](h[b, t, a]) / lengths[b]   transformer.lee:156
        d_h = torch.where(reshape_2, (d_mean_ / cast)[:, :, None], 0).mT  # [n, time, encoder.d]
        # gradient of h = encoder(x, lengths)   transformer.lee:155
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_h)
        return {"encoder": d_encoder, "head": d_head}


class Reader_2(Model):
    """A class of a sequence: whatever turns vectors into vectors may be the encoder."""

    members = ("encoder", "head")

    def __init__(self, encoder, d, classes, *, key=(0, 0)):
        super().__init__()
        self.encoder, self.d, self.classes = encoder, d, classes
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # transformer.lee:152

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, classes]"""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h = self.encoder(x, lengths)  # [n, time, encoder.d]  transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        mean_ = torch.where(reshape_2, h.mT, 0).sum(dim=2) / reshape.to(FLOAT)  # [n, encoder.d]
        return self.head(mean_.reshape(n, self.d))  # [n, classes]  transformer.lee:157

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.to(FLOAT)  # [n, 1]
        mean_ = torch.where(reshape_2, h.mT, 0).sum(dim=2) / cast  # [n, encoder.d]
        reshape_3 = mean_.reshape(n, self.d)  # [n, d]  transformer.lee:157
        return self.head(reshape_3), (saved_encoder, reshape_2, cast, reshape_3)

    def forward_backward(self, x, saved, encoder_vocab, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape_2, cast, reshape_3 = saved
        n = x.shape[0]
        # gradient of return head(mean_)   transformer.lee:157
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_y)
        d_mean_ = d_reshape_3.reshape(n, self.encoder.d)  # [n, encoder.d]
        # gradient of mean_[b, a] = sum[t in lengths[b]](h[b, t, a]) / lengths[b]   transformer.lee:156
        d_h = torch.where(reshape_2, (d_mean_ / cast)[:, :, None], 0).mT  # [n, time, encoder.d]
        # gradient of h = encoder(x, lengths)   transformer.lee:155
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_h)
        return {"encoder": d_encoder, "head": d_head}


class Reader_3(Model):
    """A class of a sequence: whatever turns vectors into vectors may be the encoder."""

    members = ("encoder", "head")

    def __init__(self, encoder, d, classes, *, key=(0, 0)):
        super().__init__()
        self.encoder, self.d, self.classes = encoder, d, classes
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # transformer.lee:152

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, classes]"""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h = self.encoder(x, lengths)  # [n, time, encoder.d]  transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        mean_ = torch.where(reshape_2, h.mT, 0).sum(dim=2) / reshape.to(FLOAT)  # [n, encoder.d]
        return self.head(mean_.reshape(n, self.d))  # [n, classes]  transformer.lee:157

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (torch.arange(time, device=x.device) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.to(FLOAT)  # [n, 1]
        mean_ = torch.where(reshape_2, h.mT, 0).sum(dim=2) / cast  # [n, encoder.d]
        reshape_3 = mean_.reshape(n, self.d)  # [n, d]  transformer.lee:157
        return self.head(reshape_3), (saved_encoder, reshape_2, cast, reshape_3)

    def forward_backward(self, x, saved, encoder_vocab, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape_2, cast, reshape_3 = saved
        n = x.shape[0]
        # gradient of return head(mean_)   transformer.lee:157
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_y)
        d_mean_ = d_reshape_3.reshape(n, self.encoder.d)  # [n, encoder.d]
        # gradient of mean_[b, a] = sum[t in lengths[b]](h[b, t, a]) / lengths[b]   transformer.lee:156
        d_h = torch.where(reshape_2, (d_mean_ / cast)[:, :, None], 0).mT  # [n, time, encoder.d]
        # gradient of h = encoder(x, lengths)   transformer.lee:155
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_h)
        return {"encoder": d_encoder, "head": d_head}


def exact(given, y, lengths):
    """The share of rows that are right from the first word to the end.

    given int[n, length], y int[n, length], lengths int[n] -> []
    """
    length = given.shape[1]
    lt = torch.arange(length, device=given.device) < lengths[:, None]  # bool[n, length]  transformer.lee:162
    wrong = torch.where(lt, (given != y).to(FLOAT), 0).sum(dim=1)  # [n]
    return (wrong == 0).to(FLOAT).mean()  # transformer.lee:163


@torch.no_grad()
def parse(epochs=12, batch=32, rate=2e-3, *, run=None):
    """Expressions of Python become their syntax trees, written as brackets."""
    from leec.runtime.run import Run

    run = run or Run("parse", backend="torch")
    data = run.data(
        "pairs",
        corpus="trees",
        rows=2000,
        level=None,
        most=None,
        valid=0.1,
        test=0.0,
        seed=0,
        fields={
            "x": ("int", ("n", "time")),
            "lengths": ("int", ("n",)),
            "y": ("int", ("n", "length")),
            "y_lengths": ("int", ("n",)),
        },
    )
    net = Transformer_2(
        source=data.source.vocab, target=data.target.vocab, d=48, heads=2, hidden=96, key=run.key("net")
    ).to(run.session.place.device)
    opt = Adam(lr=rate)  # transformer.lee:173
    step = ParseStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, lengths, y, y_lengths in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, lengths, y, y_lengths))  # transformer.lee:176
    v = data.valid  # transformer.lee:177
    run.report(exact=parse_exact(net, v.x, v.lengths, v.y, v.y_lengths))  # transformer.lee:178
    return net


class ParseStep(TrainStep):
    """One step of parse for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.encoder.read.table",
        "net.encoder.blocks.0.attention.query.w",
        "net.encoder.blocks.0.attention.query.b",
        "net.encoder.blocks.0.attention.key.w",
        "net.encoder.blocks.0.attention.key.b",
        "net.encoder.blocks.0.attention.value.w",
        "net.encoder.blocks.0.attention.value.b",
        "net.encoder.blocks.0.attention.output.w",
        "net.encoder.blocks.0.attention.output.b",
        "net.encoder.blocks.0.up.w",
        "net.encoder.blocks.0.up.b",
        "net.encoder.blocks.0.down.w",
        "net.encoder.blocks.0.down.b",
        "net.encoder.blocks.0.norm1.gamma",
        "net.encoder.blocks.0.norm1.beta",
        "net.encoder.blocks.0.norm2.gamma",
        "net.encoder.blocks.0.norm2.beta",
        "net.encoder.blocks.1.attention.query.w",
        "net.encoder.blocks.1.attention.query.b",
        "net.encoder.blocks.1.attention.key.w",
        "net.encoder.blocks.1.attention.key.b",
        "net.encoder.blocks.1.attention.value.w",
        "net.encoder.blocks.1.attention.value.b",
        "net.encoder.blocks.1.attention.output.w",
        "net.encoder.blocks.1.attention.output.b",
        "net.encoder.blocks.1.up.w",
        "net.encoder.blocks.1.up.b",
        "net.encoder.blocks.1.down.w",
        "net.encoder.blocks.1.down.b",
        "net.encoder.blocks.1.norm1.gamma",
        "net.encoder.blocks.1.norm1.beta",
        "net.encoder.blocks.1.norm2.gamma",
        "net.encoder.blocks.1.norm2.beta",
        "net.write.table",
        "net.blocks.0.attention.query.w",
        "net.blocks.0.attention.query.b",
        "net.blocks.0.attention.key.w",
        "net.blocks.0.attention.key.b",
        "net.blocks.0.attention.value.w",
        "net.blocks.0.attention.value.b",
        "net.blocks.0.attention.output.w",
        "net.blocks.0.attention.output.b",
        "net.blocks.0.cross.query.w",
        "net.blocks.0.cross.query.b",
        "net.blocks.0.cross.key.w",
        "net.blocks.0.cross.key.b",
        "net.blocks.0.cross.value.w",
        "net.blocks.0.cross.value.b",
        "net.blocks.0.cross.output.w",
        "net.blocks.0.cross.output.b",
        "net.blocks.0.up.w",
        "net.blocks.0.up.b",
        "net.blocks.0.down.w",
        "net.blocks.0.down.b",
        "net.blocks.0.norm1.gamma",
        "net.blocks.0.norm1.beta",
        "net.blocks.0.norm2.gamma",
        "net.blocks.0.norm2.beta",
        "net.blocks.0.norm3.gamma",
        "net.blocks.0.norm3.beta",
        "net.blocks.1.attention.query.w",
        "net.blocks.1.attention.query.b",
        "net.blocks.1.attention.key.w",
        "net.blocks.1.attention.key.b",
        "net.blocks.1.attention.value.w",
        "net.blocks.1.attention.value.b",
        "net.blocks.1.attention.output.w",
        "net.blocks.1.attention.output.b",
        "net.blocks.1.cross.query.w",
        "net.blocks.1.cross.query.b",
        "net.blocks.1.cross.key.w",
        "net.blocks.1.cross.key.b",
        "net.blocks.1.cross.value.w",
        "net.blocks.1.cross.value.b",
        "net.blocks.1.cross.output.w",
        "net.blocks.1.cross.output.b",
        "net.blocks.1.up.w",
        "net.blocks.1.up.b",
        "net.blocks.1.down.w",
        "net.blocks.1.down.b",
        "net.blocks.1.norm1.gamma",
        "net.blocks.1.norm1.beta",
        "net.blocks.1.norm2.gamma",
        "net.blocks.1.norm2.beta",
        "net.blocks.1.norm3.gamma",
        "net.blocks.1.norm3.beta",
        "net.head.w",
        "net.head.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, lengths, y, y_lengths, t_):
        encoder_read_table, encoder_blocks_0_attention_query_w = self.tensors[:2]
        encoder_blocks_0_attention_query_b, encoder_blocks_0_attention_key_w = self.tensors[2:4]
        encoder_blocks_0_attention_key_b, encoder_blocks_0_attention_value_w = self.tensors[4:6]
        encoder_blocks_0_attention_value_b, encoder_blocks_0_attention_output_w = self.tensors[6:8]
        encoder_blocks_0_attention_output_b, encoder_blocks_0_up_w, encoder_blocks_0_up_b = self.tensors[8:11]
        encoder_blocks_0_down_w, encoder_blocks_0_down_b, encoder_blocks_0_norm1_gamma = self.tensors[11:14]
        encoder_blocks_0_norm1_beta, encoder_blocks_0_norm2_gamma = self.tensors[14:16]
        encoder_blocks_0_norm2_beta, encoder_blocks_1_attention_query_w = self.tensors[16:18]
        encoder_blocks_1_attention_query_b, encoder_blocks_1_attention_key_w = self.tensors[18:20]
        encoder_blocks_1_attention_key_b, encoder_blocks_1_attention_value_w = self.tensors[20:22]
        encoder_blocks_1_attention_value_b, encoder_blocks_1_attention_output_w = self.tensors[22:24]
        encoder_blocks_1_attention_output_b, encoder_blocks_1_up_w, encoder_blocks_1_up_b = self.tensors[24:27]
        encoder_blocks_1_down_w, encoder_blocks_1_down_b, encoder_blocks_1_norm1_gamma = self.tensors[27:30]
        encoder_blocks_1_norm1_beta, encoder_blocks_1_norm2_gamma = self.tensors[30:32]
        encoder_blocks_1_norm2_beta, write_table, blocks_0_attention_query_w = self.tensors[32:35]
        blocks_0_attention_query_b, blocks_0_attention_key_w, blocks_0_attention_key_b = self.tensors[35:38]
        blocks_0_attention_value_w, blocks_0_attention_value_b, blocks_0_attention_output_w = self.tensors[38:41]
        blocks_0_attention_output_b, blocks_0_cross_query_w, blocks_0_cross_query_b = self.tensors[41:44]
        blocks_0_cross_key_w, blocks_0_cross_key_b, blocks_0_cross_value_w = self.tensors[44:47]
        blocks_0_cross_value_b, blocks_0_cross_output_w, blocks_0_cross_output_b = self.tensors[47:50]
        blocks_0_up_w, blocks_0_up_b, blocks_0_down_w, blocks_0_down_b, blocks_0_norm1_gamma = self.tensors[50:55]
        blocks_0_norm1_beta, blocks_0_norm2_gamma, blocks_0_norm2_beta, blocks_0_norm3_gamma = self.tensors[55:59]
        blocks_0_norm3_beta, blocks_1_attention_query_w, blocks_1_attention_query_b = self.tensors[59:62]
        blocks_1_attention_key_w, blocks_1_attention_key_b, blocks_1_attention_value_w = self.tensors[62:65]
        blocks_1_attention_value_b, blocks_1_attention_output_w, blocks_1_attention_output_b = self.tensors[65:68]
        blocks_1_cross_query_w, blocks_1_cross_query_b, blocks_1_cross_key_w = self.tensors[68:71]
        blocks_1_cross_key_b, blocks_1_cross_value_w, blocks_1_cross_value_b = self.tensors[71:74]
        blocks_1_cross_output_w, blocks_1_cross_output_b, blocks_1_up_w, blocks_1_up_b = self.tensors[74:78]
        blocks_1_down_w, blocks_1_down_b, blocks_1_norm1_gamma, blocks_1_norm1_beta = self.tensors[78:82]
        blocks_1_norm2_gamma, blocks_1_norm2_beta, blocks_1_norm3_gamma, blocks_1_norm3_beta = self.tensors[82:86]
        head_w, head_b = self.tensors[86:]
        d_encoder_read_table, d_encoder_blocks_0_attention_query_w = self.gradients[:2]
        d_encoder_blocks_0_attention_query_b, d_encoder_blocks_0_attention_key_w = self.gradients[2:4]
        d_encoder_blocks_0_attention_key_b, d_encoder_blocks_0_attention_value_w = self.gradients[4:6]
        d_encoder_blocks_0_attention_value_b, d_encoder_blocks_0_attention_output_w = self.gradients[6:8]
        d_encoder_blocks_0_attention_output_b, d_encoder_blocks_0_up_w = self.gradients[8:10]
        d_encoder_blocks_0_up_b, d_encoder_blocks_0_down_w, d_encoder_blocks_0_down_b = self.gradients[10:13]
        d_encoder_blocks_0_norm1_gamma, d_encoder_blocks_0_norm1_beta = self.gradients[13:15]
        d_encoder_blocks_0_norm2_gamma, d_encoder_blocks_0_norm2_beta = self.gradients[15:17]
        d_encoder_blocks_1_attention_query_w, d_encoder_blocks_1_attention_query_b = self.gradients[17:19]
        d_encoder_blocks_1_attention_key_w, d_encoder_blocks_1_attention_key_b = self.gradients[19:21]
        d_encoder_blocks_1_attention_value_w, d_encoder_blocks_1_attention_value_b = self.gradients[21:23]
        d_encoder_blocks_1_attention_output_w, d_encoder_blocks_1_attention_output_b = self.gradients[23:25]
        d_encoder_blocks_1_up_w, d_encoder_blocks_1_up_b, d_encoder_blocks_1_down_w = self.gradients[25:28]
        d_encoder_blocks_1_down_b, d_encoder_blocks_1_norm1_gamma = self.gradients[28:30]
        d_encoder_blocks_1_norm1_beta, d_encoder_blocks_1_norm2_gamma = self.gradients[30:32]
        d_encoder_blocks_1_norm2_beta, d_write_table, d_blocks_0_attention_query_w = self.gradients[32:35]
        d_blocks_0_attention_query_b, d_blocks_0_attention_key_w, d_blocks_0_attention_key_b = self.gradients[35:38]
        d_blocks_0_attention_value_w, d_blocks_0_attention_value_b = self.gradients[38:40]
        d_blocks_0_attention_output_w, d_blocks_0_attention_output_b = self.gradients[40:42]
        d_blocks_0_cross_query_w, d_blocks_0_cross_query_b, d_blocks_0_cross_key_w = self.gradients[42:45]
        d_blocks_0_cross_key_b, d_blocks_0_cross_value_w, d_blocks_0_cross_value_b = self.gradients[45:48]
        d_blocks_0_cross_output_w, d_blocks_0_cross_output_b, d_blocks_0_up_w = self.gradients[48:51]
        d_blocks_0_up_b, d_blocks_0_down_w, d_blocks_0_down_b, d_blocks_0_norm1_gamma = self.gradients[51:55]
        d_blocks_0_norm1_beta, d_blocks_0_norm2_gamma, d_blocks_0_norm2_beta = self.gradients[55:58]
        d_blocks_0_norm3_gamma, d_blocks_0_norm3_beta, d_blocks_1_attention_query_w = self.gradients[58:61]
        d_blocks_1_attention_query_b, d_blocks_1_attention_key_w, d_blocks_1_attention_key_b = self.gradients[61:64]
        d_blocks_1_attention_value_w, d_blocks_1_attention_value_b = self.gradients[64:66]
        d_blocks_1_attention_output_w, d_blocks_1_attention_output_b = self.gradients[66:68]
        d_blocks_1_cross_query_w, d_blocks_1_cross_query_b, d_blocks_1_cross_key_w = self.gradients[68:71]
        d_blocks_1_cross_key_b, d_blocks_1_cross_value_w, d_blocks_1_cross_value_b = self.gradients[71:74]
        d_blocks_1_cross_output_w, d_blocks_1_cross_output_b, d_blocks_1_up_w = self.gradients[74:77]
        d_blocks_1_up_b, d_blocks_1_down_w, d_blocks_1_down_b, d_blocks_1_norm1_gamma = self.gradients[77:81]
        d_blocks_1_norm1_beta, d_blocks_1_norm2_gamma, d_blocks_1_norm2_beta = self.gradients[81:84]
        d_blocks_1_norm3_gamma, d_blocks_1_norm3_beta, d_head_w, d_head_b = self.gradients[84:]
        time = x.shape[1]
        batches_n, length = y.shape
        data_source_vocab = self.net.encoder.read.table.shape[0]
        data_target_vocab = self.net.write.table.shape[0]
        t = torch.arange(length, device=x.device)  # int[length]  transformer.lee:79
        minimum = (t + -1).clamp(min=0).clamp(max=length - 1)  # int[length]
        before = torch.where(t > 0, y.permute((1, 0))[minimum].T, 1)  # int[batches_n, length]
        x_flat = x.reshape(batches_n * time)  # int[batches_n * time]  transformer.lee:57
        reshape_2_5 = encoder_read_table[x_flat].reshape(batches_n, time, 48)  # [batches_n, time, 48]
        i = torch.arange(48, device=x.device)  # int[48]  nn.lee:410
        power = torch.pow(10000, (2 * (i // 2)).to(FLOAT) / 48)  # [48]
        t_2 = torch.arange(time, device=x.device)  # int[time]
        angle = t_2[:, None].to(FLOAT) / power  # [time, 48]
        eq = i % 2 == 0  # bool[48]  nn.lee:411
        wave = torch.where(eq, torch.sin(angle), torch.cos(angle))  # [time, 48]
        h_3 = math.sqrt(48) * reshape_2_5 + wave  # [batches_n, time, 48]  transformer.lee:57
        inside_2_2 = (t_2 < lengths[:, None])[:, None, None]  # bool[batches_n, 1, 1, time]  nn.lee:343
        x_flat_2 = h_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        query_out = torch.addmm(encoder_blocks_0_attention_query_b, x_flat_2, encoder_blocks_0_attention_query_w)
        q_2_3 = query_out.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        key_out = torch.addmm(encoder_blocks_0_attention_key_b, x_flat_2, encoder_blocks_0_attention_key_w)
        k_2_3 = key_out.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:365
        # [batches_n * time, 48]  nn.lee:21
        value_out = torch.addmm(encoder_blocks_0_attention_value_b, x_flat_2, encoder_blocks_0_attention_value_w)
        v_2_3 = value_out.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:366
        transpose_2 = q_2_3.permute(0, 2, 1, 3)  # [batches_n, 2, time, 24]  nn.lee:335
        score = transpose_2 @ k_2_3.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, time, time]
        # [batches_n, 2, time, time]  prelude.lee:122
        share_2_3 = softmax(torch.where(inside_2_2, score, -torch.inf), (3,))
        mixed = (share_2_3 @ v_2_3.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:337
        reshape_2_2_2_2 = mixed.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:367
        # [batches_n * time, 48]  nn.lee:21
        output_out = torch.addmm(
            encoder_blocks_0_attention_output_b, reshape_2_2_2_2, encoder_blocks_0_attention_output_w
        )
        add_2 = h_3 + output_out.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        reshape_3_3 = add_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]
        # [batches_n * time, 48]  nn.lee:197
        normalise_2_2_2 = torch.nn.functional.layer_norm(reshape_3_3, (48,), eps=self.net.encoder.blocks[0].norm1.eps)
        # [batches_n * time, 48]
        norm1_out_2 = normalise_2_2_2 * encoder_blocks_0_norm1_gamma + encoder_blocks_0_norm1_beta
        # [batches_n * time, 96]  nn.lee:21
        up_out = torch.addmm(encoder_blocks_0_up_b, norm1_out_2, encoder_blocks_0_up_w)
        select_2_2 = torch.relu(up_out.reshape(batches_n, time, 96))  # [batches_n, time, 96]  prelude.lee:61
        reshape_3_2_3 = select_2_2.reshape(batches_n * time, 96)  # [batches_n * time, 96]  transformer.lee:32
        # [batches_n * time, 48]  nn.lee:21
        down_out = torch.addmm(encoder_blocks_0_down_b, reshape_3_2_3, encoder_blocks_0_down_w)
        x_2 = norm1_out_2.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        # [batches_n * time, 48]  transformer.lee:32
        reshape_5_2 = (x_2 + down_out.reshape(batches_n, time, 48)).reshape(batches_n * time, 48)
        # [batches_n * time, 48]  nn.lee:197
        normalise_3_3 = torch.nn.functional.layer_norm(reshape_5_2, (48,), eps=self.net.encoder.blocks[0].norm2.eps)
        # [batches_n * time, 48]
        norm2_out_3 = normalise_3_3 * encoder_blocks_0_norm2_gamma + encoder_blocks_0_norm2_beta
        h_2_2 = norm2_out_3.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:32
        # [batches_n * time, 48]  nn.lee:21
        query_out_2 = torch.addmm(encoder_blocks_1_attention_query_b, norm2_out_3, encoder_blocks_1_attention_query_w)
        q_4 = query_out_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        key_out_2 = torch.addmm(encoder_blocks_1_attention_key_b, norm2_out_3, encoder_blocks_1_attention_key_w)
        k_4 = key_out_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:365
        # [batches_n * time, 48]  nn.lee:21
        value_out_2 = torch.addmm(encoder_blocks_1_attention_value_b, norm2_out_3, encoder_blocks_1_attention_value_w)
        v_4 = value_out_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:366
        transpose_5 = q_4.permute(0, 2, 1, 3)  # [batches_n, 2, time, 24]  nn.lee:335
        score_2 = transpose_5 @ k_4.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, time, time]
        # [batches_n, 2, time, time]  prelude.lee:122
        share_4 = softmax(torch.where(inside_2_2, score_2, -torch.inf), (3,))
        mixed_2 = (share_4 @ v_4.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:337
        reshape_2_2_3 = mixed_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:367
        # [batches_n * time, 48]  nn.lee:21
        output_out_2 = torch.addmm(
            encoder_blocks_1_attention_output_b, reshape_2_2_3, encoder_blocks_1_attention_output_w
        )
        add_3 = h_2_2 + output_out_2.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        reshape_2 = add_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]
        # [batches_n * time, 48]  nn.lee:197
        normalise_2_3 = torch.nn.functional.layer_norm(reshape_2, (48,), eps=self.net.encoder.blocks[1].norm1.eps)
        norm1_out = normalise_2_3 * encoder_blocks_1_norm1_gamma + encoder_blocks_1_norm1_beta  # [batches_n * time, 48]
        # [batches_n * time, 96]  nn.lee:21
        up_out_2 = torch.addmm(encoder_blocks_1_up_b, norm1_out, encoder_blocks_1_up_w)
        select_3 = torch.relu(up_out_2.reshape(batches_n, time, 96))  # [batches_n, time, 96]  prelude.lee:61
        reshape_3_3_2 = select_3.reshape(batches_n * time, 96)  # [batches_n * time, 96]  transformer.lee:32
        # [batches_n * time, 48]  nn.lee:21
        down_out_2 = torch.addmm(encoder_blocks_1_down_b, reshape_3_3_2, encoder_blocks_1_down_w)
        reshape_4_3 = down_out_2.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:32
        add_2_2_2 = norm1_out.reshape(batches_n, time, 48) + reshape_4_3  # [batches_n, time, 48]
        reshape_5_3 = add_2_2_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]
        # [batches_n * time, 48]  nn.lee:197
        normalise = torch.nn.functional.layer_norm(reshape_5_3, (48,), eps=self.net.encoder.blocks[1].norm2.eps)
        norm2_out_2_2 = normalise * encoder_blocks_1_norm2_gamma + encoder_blocks_1_norm2_beta  # [batches_n * time, 48]
        y_flat = before.reshape(batches_n * length)  # int[batches_n * length]  transformer.lee:72
        reshape_2_6 = write_table[y_flat].reshape(batches_n, length, 48)  # [batches_n, length, 48]
        reshape_3 = t[:, None]  # int[length, 1]  nn.lee:410
        angle_2 = reshape_3.to(FLOAT) / power  # [length, 48]
        wave_2 = torch.where(eq, torch.sin(angle_2), torch.cos(angle_2))  # [length, 48]  nn.lee:411
        h = math.sqrt(48) * reshape_2_6 + wave_2  # [batches_n, length, 48]  transformer.lee:72
        le = t <= reshape_3  # bool[length, length]  nn.lee:349
        x_flat_4 = h.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:364
        # [batches_n * length, 48]  nn.lee:21
        query_out_3 = torch.addmm(blocks_0_attention_query_b, x_flat_4, blocks_0_attention_query_w)
        q_2_2 = query_out_3.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:364
        # [batches_n * length, 48]  nn.lee:21
        key_out_3 = torch.addmm(blocks_0_attention_key_b, x_flat_4, blocks_0_attention_key_w)
        k_2_2 = key_out_3.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:365
        # [batches_n * length, 48]  nn.lee:21
        value_out_3 = torch.addmm(blocks_0_attention_value_b, x_flat_4, blocks_0_attention_value_w)
        v_2_2 = value_out_3.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:366
        transpose_8 = q_2_2.permute(0, 2, 1, 3)  # [batches_n, 2, length, 24]  nn.lee:335
        score_3 = transpose_8 @ k_2_2.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, length, length]
        # [batches_n, 2, length, length]  prelude.lee:122
        share_2_2 = softmax(torch.where(le, score_3, -torch.inf), (3,))
        mixed_3 = (share_2_2 @ v_2_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        reshape_2_2_2 = mixed_3.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:367
        # [batches_n * length, 48]  nn.lee:21
        output_out_3 = torch.addmm(blocks_0_attention_output_b, reshape_2_2_2, blocks_0_attention_output_w)
        add_4 = h + output_out_3.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        reshape_4 = add_4.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_3_2 = torch.nn.functional.layer_norm(reshape_4, (48,), eps=self.net.blocks[0].norm1.eps)
        norm1_out_3 = normalise_3_2 * blocks_0_norm1_gamma + blocks_0_norm1_beta  # [batches_n * length, 48]
        y_2_2 = norm1_out_3.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        # [batches_n * length, 48]  nn.lee:21
        query_out_2_2 = torch.addmm(blocks_0_cross_query_b, norm1_out_3, blocks_0_cross_query_w)
        q_3 = query_out_2_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        key_out_2_2 = torch.addmm(blocks_0_cross_key_b, norm2_out_2_2, blocks_0_cross_key_w)
        k_3 = key_out_2_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:365
        # [batches_n * time, 48]  nn.lee:21
        value_out_2_2 = torch.addmm(blocks_0_cross_value_b, norm2_out_2_2, blocks_0_cross_value_w)
        v_3 = value_out_2_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:366
        transpose_11 = q_3.permute(0, 2, 1, 3)  # [batches_n, 2, length, 24]  nn.lee:335
        score_2_2 = transpose_11 @ k_3.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, length, time]
        # [batches_n, 2, length, time]  prelude.lee:122
        share_3 = softmax(torch.where(inside_2_2, score_2_2, -torch.inf), (3,))
        mixed_2_2 = (share_3 @ v_3.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        reshape_3_2_2 = mixed_2_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:367
        # [batches_n * length, 48]  nn.lee:21
        output_out_2_2 = torch.addmm(blocks_0_cross_output_b, reshape_3_2_2, blocks_0_cross_output_w)
        add_2_3 = y_2_2 + output_out_2_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:47
        reshape_2_4 = add_2_3.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_2_2 = torch.nn.functional.layer_norm(reshape_2_4, (48,), eps=self.net.blocks[0].norm2.eps)
        norm2_out_2 = normalise_2_2 * blocks_0_norm2_gamma + blocks_0_norm2_beta  # [batches_n * length, 48]
        up_out_3 = torch.addmm(blocks_0_up_b, norm2_out_2, blocks_0_up_w)  # [batches_n * length, 96]  nn.lee:21
        select_2 = torch.relu(up_out_3.reshape(batches_n, length, 96))  # [batches_n, length, 96]  prelude.lee:61
        reshape_4_2_3 = select_2.reshape(batches_n * length, 96)  # [batches_n * length, 96]  transformer.lee:48
        down_out_3 = torch.addmm(blocks_0_down_b, reshape_4_2_3, blocks_0_down_w)  # [batches_n * length, 48]  nn.lee:21
        y_3 = norm2_out_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:47
        add_3_2 = y_3 + down_out_3.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:48
        reshape_6_2 = add_3_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_2 = torch.nn.functional.layer_norm(reshape_6_2, (48,), eps=self.net.blocks[0].norm3.eps)
        norm3_out = normalise_2 * blocks_0_norm3_gamma + blocks_0_norm3_beta  # [batches_n * length, 48]
        h_2 = norm3_out.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:48
        # [batches_n * length, 48]  nn.lee:21
        query_out_3_2 = torch.addmm(blocks_1_attention_query_b, norm3_out, blocks_1_attention_query_w)
        q_2 = query_out_3_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:364
        # [batches_n * length, 48]  nn.lee:21
        key_out_3_2 = torch.addmm(blocks_1_attention_key_b, norm3_out, blocks_1_attention_key_w)
        k_2 = key_out_3_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:365
        # [batches_n * length, 48]  nn.lee:21
        value_out_3_2 = torch.addmm(blocks_1_attention_value_b, norm3_out, blocks_1_attention_value_w)
        v_2_4 = value_out_3_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:366
        transpose_14 = q_2.permute(0, 2, 1, 3)  # [batches_n, 2, length, 24]  nn.lee:335
        score_3_2 = transpose_14 @ k_2.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, length, length]
        # [batches_n, 2, length, length]  prelude.lee:122
        share_2 = softmax(torch.where(le, score_3_2, -torch.inf), (3,))
        mixed_3_2 = (share_2 @ v_2_4.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        reshape_2_2 = mixed_3_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:367
        # [batches_n * length, 48]  nn.lee:21
        output_out_3_2 = torch.addmm(blocks_1_attention_output_b, reshape_2_2, blocks_1_attention_output_w)
        add_4_2 = h_2 + output_out_3_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        reshape_5 = add_4_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_3 = torch.nn.functional.layer_norm(reshape_5, (48,), eps=self.net.blocks[1].norm1.eps)
        norm1_out_2_2 = normalise_3 * blocks_1_norm1_gamma + blocks_1_norm1_beta  # [batches_n * length, 48]
        y_2 = norm1_out_2_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        # [batches_n * length, 48]  nn.lee:21
        query_out_2_2_2 = torch.addmm(blocks_1_cross_query_b, norm1_out_2_2, blocks_1_cross_query_w)
        q = query_out_2_2_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        key_out_2_2_2 = torch.addmm(blocks_1_cross_key_b, norm2_out_2_2, blocks_1_cross_key_w)
        k = key_out_2_2_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:365
        # [batches_n * time, 48]  nn.lee:21
        value_out_2_2_2 = torch.addmm(blocks_1_cross_value_b, norm2_out_2_2, blocks_1_cross_value_w)
        v = value_out_2_2_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:366
        transpose_17 = q.permute(0, 2, 1, 3)  # [batches_n, 2, length, 24]  nn.lee:335
        score_2_2_2 = transpose_17 @ k.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, length, time]
        # [batches_n, 2, length, time]  prelude.lee:122
        share = softmax(torch.where(inside_2_2, score_2_2_2, -torch.inf), (3,))
        mixed_2_2_2 = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        reshape_3_2 = mixed_2_2_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:367
        # [batches_n * length, 48]  nn.lee:21
        output_out_2_2_2 = torch.addmm(blocks_1_cross_output_b, reshape_3_2, blocks_1_cross_output_w)
        add_2_2_3 = y_2 + output_out_2_2_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:47
        reshape_2_3 = add_2_2_3.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_4 = torch.nn.functional.layer_norm(reshape_2_3, (48,), eps=self.net.blocks[1].norm2.eps)
        norm2_out = normalise_4 * blocks_1_norm2_gamma + blocks_1_norm2_beta  # [batches_n * length, 48]
        up_out_2_2 = torch.addmm(blocks_1_up_b, norm2_out, blocks_1_up_w)  # [batches_n * length, 96]  nn.lee:21
        select = torch.relu(up_out_2_2.reshape(batches_n, length, 96))  # [batches_n, length, 96]  prelude.lee:61
        reshape_4_3_2 = select.reshape(batches_n * length, 96)  # [batches_n * length, 96]  transformer.lee:48
        # [batches_n * length, 48]  nn.lee:21
        down_out_2_2 = torch.addmm(blocks_1_down_b, reshape_4_3_2, blocks_1_down_w)
        reshape_5_3_2 = down_out_2_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:48
        add_3_2_2 = norm2_out.reshape(batches_n, length, 48) + reshape_5_3_2  # [batches_n, length, 48]
        reshape_6 = add_3_2_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_5 = torch.nn.functional.layer_norm(reshape_6, (48,), eps=self.net.blocks[1].norm3.eps)
        norm3_out_2 = normalise_5 * blocks_1_norm3_gamma + blocks_1_norm3_beta  # [batches_n * length, 48]
        head_out = torch.addmm(head_b, norm3_out_2, head_w)  # [batches_n * length, data_target_vocab]  nn.lee:21
        y_flat_2 = y.reshape(batches_n * length)  # int[batches_n * length]  transformer.lee:117
        # [batches_n * length]  losses.lee:45
        each = torch.nn.functional.cross_entropy(head_out, y_flat_2, reduction="none")
        lt_2 = t < y_lengths[:, None]  # bool[batches_n, length]  transformer.lee:118
        cast_2 = y_lengths.sum().to(FLOAT)
        iota = torch.arange(data_target_vocab, device=x.device)[None, :]  # int[1, data_target_vocab]  losses.lee:45
        one_hot = (iota == y.reshape(batches_n * length, 1)).to(FLOAT)  # [batches_n * length, data_target_vocab]
        reshape_2_7 = masked(1 / cast_2, lt_2).reshape(batches_n * length, 1)  # [batches_n * length, 1]
        d_z_flat = (torch.softmax(head_out, dim=1) - one_hot) * reshape_2_7  # [batches_n * length, data_target_vocab]
        torch.sum(d_z_flat, dim=0, out=d_head_b)  # [data_target_vocab]  nn.lee:21
        d_reshape_3 = d_z_flat @ head_w.T  # [batches_n * length, 48]
        torch.mm(norm3_out_2.T, d_z_flat, out=d_head_w)  # [48, data_target_vocab]
        torch.sum(d_reshape_3, dim=0, out=d_blocks_1_norm3_beta)  # [48]  nn.lee:197
        torch.sum(d_reshape_3 * normalise_5, dim=0, out=d_blocks_1_norm3_gamma)  # [48]
        d_normalise = d_reshape_3 * blocks_1_norm3_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape_6 = normalise_gradient(d_normalise, reshape_6, (48,), self.net.blocks[1].norm3.eps)
        torch.sum(d_reshape_6, dim=0, out=d_blocks_1_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_4_3_2.T, d_reshape_6, out=d_blocks_1_down_w)  # [96, 48]
        d_reshape_4_2 = d_reshape_6 @ blocks_1_down_w.T  # [batches_n * length, 96]
        d_select = d_reshape_4_2.reshape(batches_n, length, 96)  # [batches_n, length, 96]  transformer.lee:48
        # [batches_n, length, 96]  prelude.lee:61
        d_reshape_3_2 = torch.ops.aten.threshold_backward(d_select, select, 0)
        d_up_out = d_reshape_3_2.reshape(batches_n * length, 96)  # [batches_n * length, 96]  transformer.lee:48
        torch.sum(d_up_out, dim=0, out=d_blocks_1_up_b)  # [96]  nn.lee:21
        torch.mm(norm2_out.T, d_up_out, out=d_blocks_1_up_w)  # [48, 96]
        d_norm2_out = d_up_out @ blocks_1_up_w.T + d_reshape_6  # [batches_n * length, 48]  transformer.lee:47
        torch.sum(d_norm2_out, dim=0, out=d_blocks_1_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out * normalise_4, dim=0, out=d_blocks_1_norm2_gamma)  # [48]
        d_normalise_2 = d_norm2_out * blocks_1_norm2_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape_2_2 = normalise_gradient(d_normalise_2, reshape_2_3, (48,), self.net.blocks[1].norm2.eps)
        torch.sum(d_reshape_2_2, dim=0, out=d_blocks_1_cross_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_2.T, d_reshape_2_2, out=d_blocks_1_cross_output_w)  # [48, 48]
        d_reshape_3_2_2 = d_reshape_2_2 @ blocks_1_cross_output_w.T  # [batches_n * length, 48]
        # [batches_n, 2, length, 24]  nn.lee:337
        transpose_20 = d_reshape_3_2_2.reshape(batches_n, length, 2, 24).permute(0, 2, 1, 3)
        d_share = transpose_20 @ v.permute(0, 2, 3, 1)  # [batches_n, 2, length, time]
        sub_2 = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [batches_n, 2, length, time]  prelude.lee:122
        d_contract = masked(share * sub_2 / math.sqrt(24), inside_2_2)  # [batches_n, 2, length, time]  nn.lee:335
        # [batches_n * time, 48]  nn.lee:366
        d_value_out = (share.mT @ transpose_20).permute(0, 2, 1, 3).reshape(batches_n * time, 48)
        torch.sum(d_value_out, dim=0, out=d_blocks_1_cross_value_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_2_2.T, d_value_out, out=d_blocks_1_cross_value_w)  # [48, 48]
        d_k = (d_contract.mT @ transpose_17).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_key_out = d_k.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:365
        torch.sum(d_key_out, dim=0, out=d_blocks_1_cross_key_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_2_2.T, d_key_out, out=d_blocks_1_cross_key_w)  # [48, 48]
        d_memory_flat_2 = d_value_out @ blocks_1_cross_value_w.T  # [batches_n * time, 48]
        d_memory_flat = d_memory_flat_2 + d_key_out @ blocks_1_cross_key_w.T  # [batches_n * time, 48]  nn.lee:365
        d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_query_out = d_q.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:364
        torch.sum(d_query_out, dim=0, out=d_blocks_1_cross_query_b)  # [48]  nn.lee:21
        torch.mm(norm1_out_2_2.T, d_query_out, out=d_blocks_1_cross_query_w)  # [48, 48]
        d_x_flat = d_query_out @ blocks_1_cross_query_w.T  # [batches_n * length, 48]
        d_add_3 = d_reshape_2_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:47
        d_y_2 = d_add_3 + d_x_flat.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        d_norm1_out = d_y_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        torch.sum(d_norm1_out, dim=0, out=d_blocks_1_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out * normalise_3, dim=0, out=d_blocks_1_norm1_gamma)  # [48]
        d_normalise_3 = d_norm1_out * blocks_1_norm1_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape = normalise_gradient(d_normalise_3, reshape_5, (48,), self.net.blocks[1].norm1.eps)
        torch.sum(d_reshape, dim=0, out=d_blocks_1_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2.T, d_reshape, out=d_blocks_1_attention_output_w)  # [48, 48]
        d_reshape_2_2_2 = d_reshape @ blocks_1_attention_output_w.T  # [batches_n * length, 48]
        # [batches_n, 2, length, 24]  nn.lee:337
        transpose_25 = d_reshape_2_2_2.reshape(batches_n, length, 2, 24).permute(0, 2, 1, 3)
        d_share_2 = transpose_25 @ v_2_4.permute(0, 2, 3, 1)  # [batches_n, 2, length, length]
        # [batches_n, 2, length, length]  prelude.lee:122
        sub_2_2 = d_share_2 - (d_share_2 * share_2).sum(dim=3, keepdim=True)
        d_contract_2 = masked(share_2 * sub_2_2 / math.sqrt(24), le)  # [batches_n, 2, length, length]  nn.lee:335
        d_v_2 = (share_2.mT @ transpose_25).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        d_value_out_2 = d_v_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:366
        torch.sum(d_value_out_2, dim=0, out=d_blocks_1_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm3_out.T, d_value_out_2, out=d_blocks_1_attention_value_w)  # [48, 48]
        d_k_2 = (d_contract_2.mT @ transpose_14).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_key_out_2 = d_k_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:365
        torch.sum(d_key_out_2, dim=0, out=d_blocks_1_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm3_out.T, d_key_out_2, out=d_blocks_1_attention_key_w)  # [48, 48]
        d_q_2 = (d_contract_2 @ k_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_query_out_2 = d_q_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:364
        torch.sum(d_query_out_2, dim=0, out=d_blocks_1_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm3_out.T, d_query_out_2, out=d_blocks_1_attention_query_w)  # [48, 48]
        d_x_flat_2 = d_value_out_2 @ blocks_1_attention_value_w.T  # [batches_n * length, 48]
        d_x_flat_5 = d_x_flat_2 + d_key_out_2 @ blocks_1_attention_key_w.T  # [batches_n * length, 48]  nn.lee:364
        d_x_flat_6 = d_x_flat_5 + d_query_out_2 @ blocks_1_attention_query_w.T  # [batches_n * length, 48]
        d_y_4 = d_x_flat_6.reshape(batches_n, length, 48)  # [batches_n, length, 48]
        d_h_2 = d_reshape.reshape(batches_n, length, 48) + d_y_4  # [batches_n, length, 48]  transformer.lee:46
        d_norm3_out_2 = d_h_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  transformer.lee:48
        torch.sum(d_norm3_out_2, dim=0, out=d_blocks_0_norm3_beta)  # [48]  nn.lee:197
        torch.sum(d_norm3_out_2 * normalise_2, dim=0, out=d_blocks_0_norm3_gamma)  # [48]
        d_normalise_4 = d_norm3_out_2 * blocks_0_norm3_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape_6_2 = normalise_gradient(d_normalise_4, reshape_6_2, (48,), self.net.blocks[0].norm3.eps)
        torch.sum(d_reshape_6_2, dim=0, out=d_blocks_0_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_4_2_3.T, d_reshape_6_2, out=d_blocks_0_down_w)  # [96, 48]
        d_reshape_4_3 = d_reshape_6_2 @ blocks_0_down_w.T  # [batches_n * length, 96]
        d_select_2 = d_reshape_4_3.reshape(batches_n, length, 96)  # [batches_n, length, 96]  transformer.lee:48
        # [batches_n, length, 96]  prelude.lee:61
        d_reshape_3_3 = torch.ops.aten.threshold_backward(d_select_2, select_2, 0)
        d_up_out_2 = d_reshape_3_3.reshape(batches_n * length, 96)  # [batches_n * length, 96]  transformer.lee:48
        torch.sum(d_up_out_2, dim=0, out=d_blocks_0_up_b)  # [96]  nn.lee:21
        torch.mm(norm2_out_2.T, d_up_out_2, out=d_blocks_0_up_w)  # [48, 96]
        d_norm2_out_3 = d_up_out_2 @ blocks_0_up_w.T + d_reshape_6_2  # [batches_n * length, 48]  transformer.lee:47
        torch.sum(d_norm2_out_3, dim=0, out=d_blocks_0_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out_3 * normalise_2_2, dim=0, out=d_blocks_0_norm2_gamma)  # [48]
        d_normalise_2_2 = d_norm2_out_3 * blocks_0_norm2_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape_2_3 = normalise_gradient(d_normalise_2_2, reshape_2_4, (48,), self.net.blocks[0].norm2.eps)
        torch.sum(d_reshape_2_3, dim=0, out=d_blocks_0_cross_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_2_2.T, d_reshape_2_3, out=d_blocks_0_cross_output_w)  # [48, 48]
        d_reshape_3_2_3 = d_reshape_2_3 @ blocks_0_cross_output_w.T  # [batches_n * length, 48]
        # [batches_n, 2, length, 24]  nn.lee:337
        transpose_30 = d_reshape_3_2_3.reshape(batches_n, length, 2, 24).permute(0, 2, 1, 3)
        d_share_3 = transpose_30 @ v_3.permute(0, 2, 3, 1)  # [batches_n, 2, length, time]
        # [batches_n, 2, length, time]  prelude.lee:122
        sub_3 = d_share_3 - (d_share_3 * share_3).sum(dim=3, keepdim=True)
        d_contract_3 = masked(share_3 * sub_3 / math.sqrt(24), inside_2_2)  # [batches_n, 2, length, time]  nn.lee:335
        d_v_3 = (share_3.mT @ transpose_30).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:337
        d_value_out_3 = d_v_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:366
        torch.sum(d_value_out_3, dim=0, out=d_blocks_0_cross_value_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_2_2.T, d_value_out_3, out=d_blocks_0_cross_value_w)  # [48, 48]
        d_k_3 = (d_contract_3.mT @ transpose_11).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_key_out_3 = d_k_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:365
        torch.sum(d_key_out_3, dim=0, out=d_blocks_0_cross_key_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_2_2.T, d_key_out_3, out=d_blocks_0_cross_key_w)  # [48, 48]
        d_memory_flat_2_2 = d_value_out_3 @ blocks_0_cross_value_w.T  # [batches_n * time, 48]
        d_memory_flat_4 = d_memory_flat_2_2 + d_key_out_3 @ blocks_0_cross_key_w.T  # [batches_n * time, 48]  nn.lee:365
        d_q_3 = (d_contract_3 @ k_3.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_query_out_3 = d_q_3.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:364
        torch.sum(d_query_out_3, dim=0, out=d_blocks_0_cross_query_b)  # [48]  nn.lee:21
        torch.mm(norm1_out_3.T, d_query_out_3, out=d_blocks_0_cross_query_w)  # [48, 48]
        d_x_flat_7 = d_query_out_3 @ blocks_0_cross_query_w.T  # [batches_n * length, 48]
        d_add_3_2 = d_reshape_2_3.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:47
        d_y_2_3 = d_add_3_2 + d_x_flat_7.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        d_norm1_out_2 = d_y_2_3.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        torch.sum(d_norm1_out_2, dim=0, out=d_blocks_0_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out_2 * normalise_3_2, dim=0, out=d_blocks_0_norm1_gamma)  # [48]
        d_normalise_3_2 = d_norm1_out_2 * blocks_0_norm1_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape_5 = normalise_gradient(d_normalise_3_2, reshape_4, (48,), self.net.blocks[0].norm1.eps)
        torch.sum(d_reshape_5, dim=0, out=d_blocks_0_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_2.T, d_reshape_5, out=d_blocks_0_attention_output_w)  # [48, 48]
        d_reshape_2_2_3 = d_reshape_5 @ blocks_0_attention_output_w.T  # [batches_n * length, 48]
        # [batches_n, 2, length, 24]  nn.lee:337
        transpose_35 = d_reshape_2_2_3.reshape(batches_n, length, 2, 24).permute(0, 2, 1, 3)
        d_share_2_2 = transpose_35 @ v_2_2.permute(0, 2, 3, 1)  # [batches_n, 2, length, length]
        sum_2_2_2 = (d_share_2_2 * share_2_2).sum(dim=3, keepdim=True)  # [batches_n, 2, length, 1]  prelude.lee:122
        # [batches_n, 2, length, length]  nn.lee:335
        d_contract_2_2 = masked(share_2_2 * (d_share_2_2 - sum_2_2_2) / math.sqrt(24), le)
        contract_18 = d_contract_2_2 @ k_2_2.permute(0, 2, 1, 3)  # [batches_n, 2, length, 24]
        d_v_2_2 = (share_2_2.mT @ transpose_35).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        d_value_out_2_2 = d_v_2_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:366
        torch.sum(d_value_out_2_2, dim=0, out=d_blocks_0_attention_value_b)  # [48]  nn.lee:21
        torch.mm(x_flat_4.T, d_value_out_2_2, out=d_blocks_0_attention_value_w)  # [48, 48]
        d_k_2_2 = (d_contract_2_2.mT @ transpose_8).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_key_out_2_2 = d_k_2_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:365
        torch.sum(d_key_out_2_2, dim=0, out=d_blocks_0_attention_key_b)  # [48]  nn.lee:21
        torch.mm(x_flat_4.T, d_key_out_2_2, out=d_blocks_0_attention_key_w)  # [48, 48]
        # [batches_n * length, 48]  nn.lee:364
        d_query_out_2_2 = contract_18.permute(0, 2, 1, 3).reshape(batches_n * length, 48)
        torch.sum(d_query_out_2_2, dim=0, out=d_blocks_0_attention_query_b)  # [48]  nn.lee:21
        torch.mm(x_flat_4.T, d_query_out_2_2, out=d_blocks_0_attention_query_w)  # [48, 48]
        d_x_flat_2_2 = d_value_out_2_2 @ blocks_0_attention_value_w.T  # [batches_n * length, 48]
        d_x_flat_5_2 = d_x_flat_2_2 + d_key_out_2_2 @ blocks_0_attention_key_w.T  # [batches_n * length, 48]  nn.lee:364
        d_x_flat_4_2 = d_query_out_2_2 @ blocks_0_attention_query_w.T  # [batches_n * length, 48]  nn.lee:21
        d_y_4_2 = (d_x_flat_5_2 + d_x_flat_4_2).reshape(batches_n, length, 48)  # [batches_n, length, 48]  nn.lee:364
        d_h = d_reshape_5.reshape(batches_n, length, 48) + d_y_4_2  # [batches_n, length, 48]  transformer.lee:46
        # [batches_n * length, 48]  transformer.lee:72
        d_write_out = (d_h * math.sqrt(48)).reshape(batches_n * length, 48)
        # [data_target_vocab, 48]  transformer.lee:19
        d_write_table.copy_(scatter_add(d_write_out, (y_flat,), (data_target_vocab, 48)))
        d_memory_3 = d_memory_flat_4.reshape(batches_n, time, 48)  # [batches_n, time, 48]  nn.lee:365
        d_mul_2 = d_memory_flat.reshape(batches_n, time, 48) + d_memory_3  # [batches_n, time, 48]  transformer.lee:72
        d_norm2_out_4 = d_mul_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]  transformer.lee:32
        torch.sum(d_norm2_out_4, dim=0, out=d_encoder_blocks_1_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out_4 * normalise, dim=0, out=d_encoder_blocks_1_norm2_gamma)  # [48]
        d_normalise_5 = d_norm2_out_4 * encoder_blocks_1_norm2_gamma  # [batches_n * time, 48]
        # [batches_n * time, 48]
        d_reshape_5_2 = normalise_gradient(d_normalise_5, reshape_5_3, (48,), self.net.encoder.blocks[1].norm2.eps)
        torch.sum(d_reshape_5_2, dim=0, out=d_encoder_blocks_1_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_3_2.T, d_reshape_5_2, out=d_encoder_blocks_1_down_w)  # [96, 48]
        d_reshape_3_4 = d_reshape_5_2 @ encoder_blocks_1_down_w.T  # [batches_n * time, 96]
        d_select_3 = d_reshape_3_4.reshape(batches_n, time, 96)  # [batches_n, time, 96]  transformer.lee:32
        # [batches_n, time, 96]  prelude.lee:61
        d_reshape_2_2_4 = torch.ops.aten.threshold_backward(d_select_3, select_3, 0)
        d_up_out_3 = d_reshape_2_2_4.reshape(batches_n * time, 96)  # [batches_n * time, 96]  transformer.lee:32
        torch.sum(d_up_out_3, dim=0, out=d_encoder_blocks_1_up_b)  # [96]  nn.lee:21
        torch.mm(norm1_out.T, d_up_out_3, out=d_encoder_blocks_1_up_w)  # [48, 96]
        # [batches_n * time, 48]  transformer.lee:31
        d_norm1_out_3 = d_up_out_3 @ encoder_blocks_1_up_w.T + d_reshape_5_2
        torch.sum(d_norm1_out_3, dim=0, out=d_encoder_blocks_1_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out_3 * normalise_2_3, dim=0, out=d_encoder_blocks_1_norm1_gamma)  # [48]
        d_normalise_2_3 = d_norm1_out_3 * encoder_blocks_1_norm1_gamma  # [batches_n * time, 48]
        # [batches_n * time, 48]
        d_reshape_7 = normalise_gradient(d_normalise_2_3, reshape_2, (48,), self.net.encoder.blocks[1].norm1.eps)
        torch.sum(d_reshape_7, dim=0, out=d_encoder_blocks_1_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_3.T, d_reshape_7, out=d_encoder_blocks_1_attention_output_w)  # [48, 48]
        d_reshape_2_2_2_2 = d_reshape_7 @ encoder_blocks_1_attention_output_w.T  # [batches_n * time, 48]
        # [batches_n, 2, time, 24]  nn.lee:337
        transpose_40 = d_reshape_2_2_2_2.reshape(batches_n, time, 2, 24).permute(0, 2, 1, 3)
        d_share_4 = transpose_40 @ v_4.permute(0, 2, 3, 1)  # [batches_n, 2, time, time]
        # [batches_n, 2, time, time]  prelude.lee:122
        sub_4 = d_share_4 - (d_share_4 * share_4).sum(dim=3, keepdim=True)
        d_contract_4 = masked(share_4 * sub_4 / math.sqrt(24), inside_2_2)  # [batches_n, 2, time, time]  nn.lee:335
        d_v_4 = (share_4.mT @ transpose_40).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:337
        d_value_out_4 = d_v_4.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:366
        torch.sum(d_value_out_4, dim=0, out=d_encoder_blocks_1_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_3.T, d_value_out_4, out=d_encoder_blocks_1_attention_value_w)  # [48, 48]
        d_k_4 = (d_contract_4.mT @ transpose_5).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_key_out_4 = d_k_4.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:365
        torch.sum(d_key_out_4, dim=0, out=d_encoder_blocks_1_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_3.T, d_key_out_4, out=d_encoder_blocks_1_attention_key_w)  # [48, 48]
        d_q_4 = (d_contract_4 @ k_4.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_query_out_4 = d_q_4.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:364
        torch.sum(d_query_out_4, dim=0, out=d_encoder_blocks_1_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_3.T, d_query_out_4, out=d_encoder_blocks_1_attention_query_w)  # [48, 48]
        d_x_flat_2_3 = d_value_out_4 @ encoder_blocks_1_attention_value_w.T  # [batches_n * time, 48]
        d_x_flat_3_3 = d_key_out_4 @ encoder_blocks_1_attention_key_w.T  # [batches_n * time, 48]
        d_x_flat_4_3 = d_query_out_4 @ encoder_blocks_1_attention_query_w.T  # [batches_n * time, 48]
        d_x_flat_8 = d_x_flat_2_3 + d_x_flat_3_3 + d_x_flat_4_3  # [batches_n * time, 48]  nn.lee:364
        d_add_4 = d_reshape_7.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        d_h_2_2 = d_add_4 + d_x_flat_8.reshape(batches_n, time, 48)  # [batches_n, time, 48]
        d_norm2_out_2_3 = d_h_2_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]  transformer.lee:32
        torch.sum(d_norm2_out_2_3, dim=0, out=d_encoder_blocks_0_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out_2_3 * normalise_3_3, dim=0, out=d_encoder_blocks_0_norm2_gamma)  # [48]
        d_normalise_3_3 = d_norm2_out_2_3 * encoder_blocks_0_norm2_gamma  # [batches_n * time, 48]
        # [batches_n * time, 48]
        d_reshape_5_2_2 = normalise_gradient(d_normalise_3_3, reshape_5_2, (48,), self.net.encoder.blocks[0].norm2.eps)
        torch.sum(d_reshape_5_2_2, dim=0, out=d_encoder_blocks_0_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_2_3.T, d_reshape_5_2_2, out=d_encoder_blocks_0_down_w)  # [96, 48]
        d_reshape_3_2_4 = d_reshape_5_2_2 @ encoder_blocks_0_down_w.T  # [batches_n * time, 96]
        d_select_2_2 = d_reshape_3_2_4.reshape(batches_n, time, 96)  # [batches_n, time, 96]  transformer.lee:32
        # [batches_n, time, 96]  prelude.lee:61
        d_reshape_2_3_2 = torch.ops.aten.threshold_backward(d_select_2_2, select_2_2, 0)
        d_up_out_2_2 = d_reshape_2_3_2.reshape(batches_n * time, 96)  # [batches_n * time, 96]  transformer.lee:32
        torch.sum(d_up_out_2_2, dim=0, out=d_encoder_blocks_0_up_b)  # [96]  nn.lee:21
        torch.mm(norm1_out_2.T, d_up_out_2_2, out=d_encoder_blocks_0_up_w)  # [48, 96]
        # [batches_n * time, 48]  transformer.lee:31
        d_norm1_out_3_2 = d_up_out_2_2 @ encoder_blocks_0_up_w.T + d_reshape_5_2_2
        torch.sum(d_norm1_out_3_2, dim=0, out=d_encoder_blocks_0_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out_3_2 * normalise_2_2_2, dim=0, out=d_encoder_blocks_0_norm1_gamma)  # [48]
        d_normalise_2_2_2 = d_norm1_out_3_2 * encoder_blocks_0_norm1_gamma  # [batches_n * time, 48]
        # [batches_n * time, 48]
        d_reshape_4_4 = normalise_gradient(d_normalise_2_2_2, reshape_3_3, (48,), self.net.encoder.blocks[0].norm1.eps)
        torch.sum(d_reshape_4_4, dim=0, out=d_encoder_blocks_0_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_2_2.T, d_reshape_4_4, out=d_encoder_blocks_0_attention_output_w)  # [48, 48]
        d_reshape_2_2_3_2 = d_reshape_4_4 @ encoder_blocks_0_attention_output_w.T  # [batches_n * time, 48]
        # [batches_n, 2, time, 24]  nn.lee:337
        transpose_45 = d_reshape_2_2_3_2.reshape(batches_n, time, 2, 24).permute(0, 2, 1, 3)
        d_share_2_3 = transpose_45 @ v_2_3.permute(0, 2, 3, 1)  # [batches_n, 2, time, time]
        sum_2_3 = (d_share_2_3 * share_2_3).sum(dim=3, keepdim=True)  # [batches_n, 2, time, 1]  prelude.lee:122
        # [batches_n, 2, time, time]  nn.lee:335
        d_contract_2_3 = masked(share_2_3 * (d_share_2_3 - sum_2_3) / math.sqrt(24), inside_2_2)
        contract_24 = d_contract_2_3 @ k_2_3.permute(0, 2, 1, 3)  # [batches_n, 2, time, 24]
        d_v_2_3 = (share_2_3.mT @ transpose_45).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:337
        d_value_out_2_3 = d_v_2_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:366
        torch.sum(d_value_out_2_3, dim=0, out=d_encoder_blocks_0_attention_value_b)  # [48]  nn.lee:21
        torch.mm(x_flat_2.T, d_value_out_2_3, out=d_encoder_blocks_0_attention_value_w)  # [48, 48]
        d_k_2_3 = (d_contract_2_3.mT @ transpose_2).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_key_out_2_3 = d_k_2_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:365
        torch.sum(d_key_out_2_3, dim=0, out=d_encoder_blocks_0_attention_key_b)  # [48]  nn.lee:21
        torch.mm(x_flat_2.T, d_key_out_2_3, out=d_encoder_blocks_0_attention_key_w)  # [48, 48]
        # [batches_n * time, 48]  nn.lee:364
        d_query_out_2_3 = contract_24.permute(0, 2, 1, 3).reshape(batches_n * time, 48)
        torch.sum(d_query_out_2_3, dim=0, out=d_encoder_blocks_0_attention_query_b)  # [48]  nn.lee:21
        torch.mm(x_flat_2.T, d_query_out_2_3, out=d_encoder_blocks_0_attention_query_w)  # [48, 48]
        d_x_flat_2_2_2 = d_value_out_2_3 @ encoder_blocks_0_attention_value_w.T  # [batches_n * time, 48]
        d_x_flat_3_2_2 = d_key_out_2_3 @ encoder_blocks_0_attention_key_w.T  # [batches_n * time, 48]
        d_x_flat_4_2_2 = d_query_out_2_3 @ encoder_blocks_0_attention_query_w.T  # [batches_n * time, 48]
        d_x_flat_6_3 = d_x_flat_2_2_2 + d_x_flat_3_2_2 + d_x_flat_4_2_2  # [batches_n * time, 48]  nn.lee:364
        d_add_2_2 = d_reshape_4_4.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        d_h_4 = d_add_2_2 + d_x_flat_6_3.reshape(batches_n, time, 48)  # [batches_n, time, 48]
        d_read_out = (d_h_4 * math.sqrt(48)).reshape(batches_n * time, 48)  # [batches_n * time, 48]  transformer.lee:57
        # [data_source_vocab, 48]  transformer.lee:19
        d_encoder_read_table.copy_(scatter_add(d_read_out, (x_flat,), (data_source_vocab, 48)))
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v_ in self.blocks[0]:
            adam_(θ, g, m, v_, lr, beta1, beta2, eps, weight_decay, t_)
        return masked(each.reshape(batches_n, length), lt_2).sum() / cast_2  # transformer.lee:118


def parse_exact(net, v_x, v_lengths, v_y, v_y_lengths):
    """v_x int[data_valid_n, time], v_lengths int[data_valid_n], v_y int[data_valid_n, length], v_y_lengths
    int[data_valid_n] -> []
    """
    length = v_y.shape[1]
    exact_ = exact(net.translate(v_x, v_lengths, limit=length), v_y, v_y_lengths)  # transformer.lee:178
    return exact_


@torch.no_grad()
def translate(epochs=8, batch=32, rate=3e-3, *, run=None):
    """The same program with other pairs: days as they are written become year-month-day."""
    from leec.runtime.run import Run

    run = run or Run("translate", backend="torch")
    data = run.data(
        "pairs",
        corpus="dates",
        rows=2000,
        level=None,
        most=None,
        valid=0.1,
        test=0.0,
        seed=0,
        fields={
            "x": ("int", ("n", "time")),
            "lengths": ("int", ("n",)),
            "y": ("int", ("n", "length")),
            "y_lengths": ("int", ("n",)),
        },
    )
    net = Transformer_3(
        source=data.source.vocab, target=data.target.vocab, d=48, heads=2, hidden=96, key=run.key("net")
    ).to(run.session.place.device)
    opt = Adam(lr=rate)  # transformer.lee:186
    step = TranslateStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, lengths, y, y_lengths in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, lengths, y, y_lengths))  # transformer.lee:189
    v = data.valid  # transformer.lee:190
    run.report(exact=translate_exact(net, v.x, v.lengths, v.y, v.y_lengths))  # transformer.lee:191
    return net


class TranslateStep(TrainStep):
    """One step of translate for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.encoder.read.table",
        "net.encoder.blocks.0.attention.query.w",
        "net.encoder.blocks.0.attention.query.b",
        "net.encoder.blocks.0.attention.key.w",
        "net.encoder.blocks.0.attention.key.b",
        "net.encoder.blocks.0.attention.value.w",
        "net.encoder.blocks.0.attention.value.b",
        "net.encoder.blocks.0.attention.output.w",
        "net.encoder.blocks.0.attention.output.b",
        "net.encoder.blocks.0.up.w",
        "net.encoder.blocks.0.up.b",
        "net.encoder.blocks.0.down.w",
        "net.encoder.blocks.0.down.b",
        "net.encoder.blocks.0.norm1.gamma",
        "net.encoder.blocks.0.norm1.beta",
        "net.encoder.blocks.0.norm2.gamma",
        "net.encoder.blocks.0.norm2.beta",
        "net.write.table",
        "net.blocks.0.attention.query.w",
        "net.blocks.0.attention.query.b",
        "net.blocks.0.attention.key.w",
        "net.blocks.0.attention.key.b",
        "net.blocks.0.attention.value.w",
        "net.blocks.0.attention.value.b",
        "net.blocks.0.attention.output.w",
        "net.blocks.0.attention.output.b",
        "net.blocks.0.cross.query.w",
        "net.blocks.0.cross.query.b",
        "net.blocks.0.cross.key.w",
        "net.blocks.0.cross.key.b",
        "net.blocks.0.cross.value.w",
        "net.blocks.0.cross.value.b",
        "net.blocks.0.cross.output.w",
        "net.blocks.0.cross.output.b",
        "net.blocks.0.up.w",
        "net.blocks.0.up.b",
        "net.blocks.0.down.w",
        "net.blocks.0.down.b",
        "net.blocks.0.norm1.gamma",
        "net.blocks.0.norm1.beta",
        "net.blocks.0.norm2.gamma",
        "net.blocks.0.norm2.beta",
        "net.blocks.0.norm3.gamma",
        "net.blocks.0.norm3.beta",
        "net.head.w",
        "net.head.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, lengths, y, y_lengths, t_):
        encoder_read_table, encoder_blocks_0_attention_query_w = self.tensors[:2]
        encoder_blocks_0_attention_query_b, encoder_blocks_0_attention_key_w = self.tensors[2:4]
        encoder_blocks_0_attention_key_b, encoder_blocks_0_attention_value_w = self.tensors[4:6]
        encoder_blocks_0_attention_value_b, encoder_blocks_0_attention_output_w = self.tensors[6:8]
        encoder_blocks_0_attention_output_b, encoder_blocks_0_up_w, encoder_blocks_0_up_b = self.tensors[8:11]
        encoder_blocks_0_down_w, encoder_blocks_0_down_b, encoder_blocks_0_norm1_gamma = self.tensors[11:14]
        encoder_blocks_0_norm1_beta, encoder_blocks_0_norm2_gamma = self.tensors[14:16]
        encoder_blocks_0_norm2_beta, write_table, blocks_0_attention_query_w = self.tensors[16:19]
        blocks_0_attention_query_b, blocks_0_attention_key_w, blocks_0_attention_key_b = self.tensors[19:22]
        blocks_0_attention_value_w, blocks_0_attention_value_b, blocks_0_attention_output_w = self.tensors[22:25]
        blocks_0_attention_output_b, blocks_0_cross_query_w, blocks_0_cross_query_b = self.tensors[25:28]
        blocks_0_cross_key_w, blocks_0_cross_key_b, blocks_0_cross_value_w = self.tensors[28:31]
        blocks_0_cross_value_b, blocks_0_cross_output_w, blocks_0_cross_output_b = self.tensors[31:34]
        blocks_0_up_w, blocks_0_up_b, blocks_0_down_w, blocks_0_down_b, blocks_0_norm1_gamma = self.tensors[34:39]
        blocks_0_norm1_beta, blocks_0_norm2_gamma, blocks_0_norm2_beta, blocks_0_norm3_gamma = self.tensors[39:43]
        blocks_0_norm3_beta, head_w, head_b = self.tensors[43:]
        d_encoder_read_table, d_encoder_blocks_0_attention_query_w = self.gradients[:2]
        d_encoder_blocks_0_attention_query_b, d_encoder_blocks_0_attention_key_w = self.gradients[2:4]
        d_encoder_blocks_0_attention_key_b, d_encoder_blocks_0_attention_value_w = self.gradients[4:6]
        d_encoder_blocks_0_attention_value_b, d_encoder_blocks_0_attention_output_w = self.gradients[6:8]
        d_encoder_blocks_0_attention_output_b, d_encoder_blocks_0_up_w = self.gradients[8:10]
        d_encoder_blocks_0_up_b, d_encoder_blocks_0_down_w, d_encoder_blocks_0_down_b = self.gradients[10:13]
        d_encoder_blocks_0_norm1_gamma, d_encoder_blocks_0_norm1_beta = self.gradients[13:15]
        d_encoder_blocks_0_norm2_gamma, d_encoder_blocks_0_norm2_beta, d_write_table = self.gradients[15:18]
        d_blocks_0_attention_query_w, d_blocks_0_attention_query_b = self.gradients[18:20]
        d_blocks_0_attention_key_w, d_blocks_0_attention_key_b, d_blocks_0_attention_value_w = self.gradients[20:23]
        d_blocks_0_attention_value_b, d_blocks_0_attention_output_w = self.gradients[23:25]
        d_blocks_0_attention_output_b, d_blocks_0_cross_query_w, d_blocks_0_cross_query_b = self.gradients[25:28]
        d_blocks_0_cross_key_w, d_blocks_0_cross_key_b, d_blocks_0_cross_value_w = self.gradients[28:31]
        d_blocks_0_cross_value_b, d_blocks_0_cross_output_w, d_blocks_0_cross_output_b = self.gradients[31:34]
        d_blocks_0_up_w, d_blocks_0_up_b, d_blocks_0_down_w, d_blocks_0_down_b = self.gradients[34:38]
        d_blocks_0_norm1_gamma, d_blocks_0_norm1_beta, d_blocks_0_norm2_gamma = self.gradients[38:41]
        d_blocks_0_norm2_beta, d_blocks_0_norm3_gamma, d_blocks_0_norm3_beta, d_head_w = self.gradients[41:45]
        (d_head_b,) = self.gradients[45:]
        time = x.shape[1]
        batches_n, length = y.shape
        data_source_vocab = self.net.encoder.read.table.shape[0]
        data_target_vocab = self.net.write.table.shape[0]
        t = torch.arange(length, device=x.device)  # int[length]  transformer.lee:79
        minimum = (t + -1).clamp(min=0).clamp(max=length - 1)  # int[length]
        before = torch.where(t > 0, y.permute((1, 0))[minimum].T, 1)  # int[batches_n, length]
        x_flat = x.reshape(batches_n * time)  # int[batches_n * time]  transformer.lee:57
        reshape_2_4 = encoder_read_table[x_flat].reshape(batches_n, time, 48)  # [batches_n, time, 48]
        i = torch.arange(48, device=x.device)  # int[48]  nn.lee:410
        power = torch.pow(10000, (2 * (i // 2)).to(FLOAT) / 48)  # [48]
        t_2 = torch.arange(time, device=x.device)  # int[time]
        angle = t_2[:, None].to(FLOAT) / power  # [time, 48]
        eq = i % 2 == 0  # bool[48]  nn.lee:411
        wave = torch.where(eq, torch.sin(angle), torch.cos(angle))  # [time, 48]
        h_2 = math.sqrt(48) * reshape_2_4 + wave  # [batches_n, time, 48]  transformer.lee:57
        inside_2 = (t_2 < lengths[:, None])[:, None, None]  # bool[batches_n, 1, 1, time]  nn.lee:343
        x_flat_2 = h_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        query_out = torch.addmm(encoder_blocks_0_attention_query_b, x_flat_2, encoder_blocks_0_attention_query_w)
        q_3 = query_out.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        key_out = torch.addmm(encoder_blocks_0_attention_key_b, x_flat_2, encoder_blocks_0_attention_key_w)
        k_3 = key_out.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:365
        # [batches_n * time, 48]  nn.lee:21
        value_out = torch.addmm(encoder_blocks_0_attention_value_b, x_flat_2, encoder_blocks_0_attention_value_w)
        v_3 = value_out.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:366
        transpose_2 = q_3.permute(0, 2, 1, 3)  # [batches_n, 2, time, 24]  nn.lee:335
        score = transpose_2 @ k_3.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, time, time]
        share_3 = softmax(torch.where(inside_2, score, -torch.inf), (3,))  # [batches_n, 2, time, time]  prelude.lee:122
        mixed = (share_3 @ v_3.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:337
        reshape_2_2_2 = mixed.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:367
        # [batches_n * time, 48]  nn.lee:21
        output_out = torch.addmm(
            encoder_blocks_0_attention_output_b, reshape_2_2_2, encoder_blocks_0_attention_output_w
        )
        add_2 = h_2 + output_out.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        reshape_2 = add_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]
        # [batches_n * time, 48]  nn.lee:197
        normalise_2_2 = torch.nn.functional.layer_norm(reshape_2, (48,), eps=self.net.encoder.blocks[0].norm1.eps)
        norm1_out = normalise_2_2 * encoder_blocks_0_norm1_gamma + encoder_blocks_0_norm1_beta  # [batches_n * time, 48]
        # [batches_n * time, 96]  nn.lee:21
        up_out = torch.addmm(encoder_blocks_0_up_b, norm1_out, encoder_blocks_0_up_w)
        select_2 = torch.relu(up_out.reshape(batches_n, time, 96))  # [batches_n, time, 96]  prelude.lee:61
        reshape_3_2_2 = select_2.reshape(batches_n * time, 96)  # [batches_n * time, 96]  transformer.lee:32
        # [batches_n * time, 48]  nn.lee:21
        down_out = torch.addmm(encoder_blocks_0_down_b, reshape_3_2_2, encoder_blocks_0_down_w)
        x_2 = norm1_out.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        # [batches_n * time, 48]  transformer.lee:32
        reshape_3 = (x_2 + down_out.reshape(batches_n, time, 48)).reshape(batches_n * time, 48)
        # [batches_n * time, 48]  nn.lee:197
        normalise = torch.nn.functional.layer_norm(reshape_3, (48,), eps=self.net.encoder.blocks[0].norm2.eps)
        norm2_out_2 = normalise * encoder_blocks_0_norm2_gamma + encoder_blocks_0_norm2_beta  # [batches_n * time, 48]
        y_flat = before.reshape(batches_n * length)  # int[batches_n * length]  transformer.lee:72
        reshape_2_5 = write_table[y_flat].reshape(batches_n, length, 48)  # [batches_n, length, 48]
        reshape_5_2 = t[:, None]  # int[length, 1]  nn.lee:410
        angle_2 = reshape_5_2.to(FLOAT) / power  # [length, 48]
        wave_2 = torch.where(eq, torch.sin(angle_2), torch.cos(angle_2))  # [length, 48]  nn.lee:411
        h = math.sqrt(48) * reshape_2_5 + wave_2  # [batches_n, length, 48]  transformer.lee:72
        le = t <= reshape_5_2  # bool[length, length]  nn.lee:349
        x_flat_3 = h.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:364
        # [batches_n * length, 48]  nn.lee:21
        query_out_2 = torch.addmm(blocks_0_attention_query_b, x_flat_3, blocks_0_attention_query_w)
        q_2 = query_out_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:364
        # [batches_n * length, 48]  nn.lee:21
        key_out_2 = torch.addmm(blocks_0_attention_key_b, x_flat_3, blocks_0_attention_key_w)
        k_2 = key_out_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:365
        # [batches_n * length, 48]  nn.lee:21
        value_out_2 = torch.addmm(blocks_0_attention_value_b, x_flat_3, blocks_0_attention_value_w)
        v_2_2 = value_out_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:366
        transpose_5 = q_2.permute(0, 2, 1, 3)  # [batches_n, 2, length, 24]  nn.lee:335
        score_2 = transpose_5 @ k_2.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, length, length]
        share_2 = softmax(torch.where(le, score_2, -torch.inf), (3,))  # [batches_n, 2, length, length]  prelude.lee:122
        mixed_2 = (share_2 @ v_2_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        reshape_2_2 = mixed_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:367
        # [batches_n * length, 48]  nn.lee:21
        output_out_2 = torch.addmm(blocks_0_attention_output_b, reshape_2_2, blocks_0_attention_output_w)
        add_3 = h + output_out_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        reshape_4 = add_3.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_2 = torch.nn.functional.layer_norm(reshape_4, (48,), eps=self.net.blocks[0].norm1.eps)
        norm1_out_2 = normalise_2 * blocks_0_norm1_gamma + blocks_0_norm1_beta  # [batches_n * length, 48]
        y_2 = norm1_out_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        # [batches_n * length, 48]  nn.lee:21
        query_out_2_2 = torch.addmm(blocks_0_cross_query_b, norm1_out_2, blocks_0_cross_query_w)
        q = query_out_2_2.reshape(batches_n, length, 2, 24)  # [batches_n, length, 2, 24]  nn.lee:364
        # [batches_n * time, 48]  nn.lee:21
        key_out_2_2 = torch.addmm(blocks_0_cross_key_b, norm2_out_2, blocks_0_cross_key_w)
        k = key_out_2_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:365
        # [batches_n * time, 48]  nn.lee:21
        value_out_2_2 = torch.addmm(blocks_0_cross_value_b, norm2_out_2, blocks_0_cross_value_w)
        v = value_out_2_2.reshape(batches_n, time, 2, 24)  # [batches_n, time, 2, 24]  nn.lee:366
        transpose_8 = q.permute(0, 2, 1, 3)  # [batches_n, 2, length, 24]  nn.lee:335
        score_2_2 = transpose_8 @ k.permute(0, 2, 3, 1) / math.sqrt(24)  # [batches_n, 2, length, time]
        # [batches_n, 2, length, time]  prelude.lee:122
        share = softmax(torch.where(inside_2, score_2_2, -torch.inf), (3,))
        mixed_2_2 = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        reshape_3_2 = mixed_2_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:367
        # [batches_n * length, 48]  nn.lee:21
        output_out_2_2 = torch.addmm(blocks_0_cross_output_b, reshape_3_2, blocks_0_cross_output_w)
        add_2_3 = y_2 + output_out_2_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:47
        reshape_2_3 = add_2_3.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_3 = torch.nn.functional.layer_norm(reshape_2_3, (48,), eps=self.net.blocks[0].norm2.eps)
        norm2_out = normalise_3 * blocks_0_norm2_gamma + blocks_0_norm2_beta  # [batches_n * length, 48]
        up_out_2 = torch.addmm(blocks_0_up_b, norm2_out, blocks_0_up_w)  # [batches_n * length, 96]  nn.lee:21
        select = torch.relu(up_out_2.reshape(batches_n, length, 96))  # [batches_n, length, 96]  prelude.lee:61
        reshape_4_2_2 = select.reshape(batches_n * length, 96)  # [batches_n * length, 96]  transformer.lee:48
        down_out_2 = torch.addmm(blocks_0_down_b, reshape_4_2_2, blocks_0_down_w)  # [batches_n * length, 48]  nn.lee:21
        reshape_5_2_2 = down_out_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:48
        add_3_2 = norm2_out.reshape(batches_n, length, 48) + reshape_5_2_2  # [batches_n, length, 48]
        reshape_5 = add_3_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        # [batches_n * length, 48]  nn.lee:197
        normalise_4 = torch.nn.functional.layer_norm(reshape_5, (48,), eps=self.net.blocks[0].norm3.eps)
        norm3_out = normalise_4 * blocks_0_norm3_gamma + blocks_0_norm3_beta  # [batches_n * length, 48]
        head_out = torch.addmm(head_b, norm3_out, head_w)  # [batches_n * length, data_target_vocab]  nn.lee:21
        y_flat_2 = y.reshape(batches_n * length)  # int[batches_n * length]  transformer.lee:117
        # [batches_n * length]  losses.lee:45
        each = torch.nn.functional.cross_entropy(head_out, y_flat_2, reduction="none")
        lt_2 = t < y_lengths[:, None]  # bool[batches_n, length]  transformer.lee:118
        cast_2 = y_lengths.sum().to(FLOAT)
        iota = torch.arange(data_target_vocab, device=x.device)[None, :]  # int[1, data_target_vocab]  losses.lee:45
        one_hot = (iota == y.reshape(batches_n * length, 1)).to(FLOAT)  # [batches_n * length, data_target_vocab]
        reshape_2_6 = masked(1 / cast_2, lt_2).reshape(batches_n * length, 1)  # [batches_n * length, 1]
        d_z_flat = (torch.softmax(head_out, dim=1) - one_hot) * reshape_2_6  # [batches_n * length, data_target_vocab]
        torch.sum(d_z_flat, dim=0, out=d_head_b)  # [data_target_vocab]  nn.lee:21
        d_reshape_3 = d_z_flat @ head_w.T  # [batches_n * length, 48]
        torch.mm(norm3_out.T, d_z_flat, out=d_head_w)  # [48, data_target_vocab]
        torch.sum(d_reshape_3, dim=0, out=d_blocks_0_norm3_beta)  # [48]  nn.lee:197
        torch.sum(d_reshape_3 * normalise_4, dim=0, out=d_blocks_0_norm3_gamma)  # [48]
        d_normalise = d_reshape_3 * blocks_0_norm3_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape_6 = normalise_gradient(d_normalise, reshape_5, (48,), self.net.blocks[0].norm3.eps)
        torch.sum(d_reshape_6, dim=0, out=d_blocks_0_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_4_2_2.T, d_reshape_6, out=d_blocks_0_down_w)  # [96, 48]
        d_reshape_4_2 = d_reshape_6 @ blocks_0_down_w.T  # [batches_n * length, 96]
        d_select = d_reshape_4_2.reshape(batches_n, length, 96)  # [batches_n, length, 96]  transformer.lee:48
        # [batches_n, length, 96]  prelude.lee:61
        d_reshape_3_2 = torch.ops.aten.threshold_backward(d_select, select, 0)
        d_up_out = d_reshape_3_2.reshape(batches_n * length, 96)  # [batches_n * length, 96]  transformer.lee:48
        torch.sum(d_up_out, dim=0, out=d_blocks_0_up_b)  # [96]  nn.lee:21
        torch.mm(norm2_out.T, d_up_out, out=d_blocks_0_up_w)  # [48, 96]
        d_norm2_out = d_up_out @ blocks_0_up_w.T + d_reshape_6  # [batches_n * length, 48]  transformer.lee:47
        torch.sum(d_norm2_out, dim=0, out=d_blocks_0_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out * normalise_3, dim=0, out=d_blocks_0_norm2_gamma)  # [48]
        d_normalise_2 = d_norm2_out * blocks_0_norm2_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape_2_2 = normalise_gradient(d_normalise_2, reshape_2_3, (48,), self.net.blocks[0].norm2.eps)
        torch.sum(d_reshape_2_2, dim=0, out=d_blocks_0_cross_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_2.T, d_reshape_2_2, out=d_blocks_0_cross_output_w)  # [48, 48]
        d_reshape_3_2_2 = d_reshape_2_2 @ blocks_0_cross_output_w.T  # [batches_n * length, 48]
        # [batches_n, 2, length, 24]  nn.lee:337
        transpose_11 = d_reshape_3_2_2.reshape(batches_n, length, 2, 24).permute(0, 2, 1, 3)
        d_share = transpose_11 @ v.permute(0, 2, 3, 1)  # [batches_n, 2, length, time]
        sub_2 = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [batches_n, 2, length, time]  prelude.lee:122
        d_contract = masked(share * sub_2 / math.sqrt(24), inside_2)  # [batches_n, 2, length, time]  nn.lee:335
        # [batches_n * time, 48]  nn.lee:366
        d_value_out = (share.mT @ transpose_11).permute(0, 2, 1, 3).reshape(batches_n * time, 48)
        torch.sum(d_value_out, dim=0, out=d_blocks_0_cross_value_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_2.T, d_value_out, out=d_blocks_0_cross_value_w)  # [48, 48]
        d_k = (d_contract.mT @ transpose_8).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_key_out = d_k.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:365
        torch.sum(d_key_out, dim=0, out=d_blocks_0_cross_key_b)  # [48]  nn.lee:21
        torch.mm(norm2_out_2.T, d_key_out, out=d_blocks_0_cross_key_w)  # [48, 48]
        # [batches_n * time, 48]  nn.lee:365
        d_memory_flat = d_value_out @ blocks_0_cross_value_w.T + d_key_out @ blocks_0_cross_key_w.T
        d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_query_out = d_q.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:364
        torch.sum(d_query_out, dim=0, out=d_blocks_0_cross_query_b)  # [48]  nn.lee:21
        torch.mm(norm1_out_2.T, d_query_out, out=d_blocks_0_cross_query_w)  # [48, 48]
        d_x_flat = d_query_out @ blocks_0_cross_query_w.T  # [batches_n * length, 48]
        d_add_3 = d_reshape_2_2.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:47
        d_y_2 = d_add_3 + d_x_flat.reshape(batches_n, length, 48)  # [batches_n, length, 48]  transformer.lee:46
        d_norm1_out = d_y_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]
        torch.sum(d_norm1_out, dim=0, out=d_blocks_0_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out * normalise_2, dim=0, out=d_blocks_0_norm1_gamma)  # [48]
        d_normalise_3 = d_norm1_out * blocks_0_norm1_gamma  # [batches_n * length, 48]
        # [batches_n * length, 48]
        d_reshape = normalise_gradient(d_normalise_3, reshape_4, (48,), self.net.blocks[0].norm1.eps)
        torch.sum(d_reshape, dim=0, out=d_blocks_0_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2.T, d_reshape, out=d_blocks_0_attention_output_w)  # [48, 48]
        d_reshape_2_2_2 = d_reshape @ blocks_0_attention_output_w.T  # [batches_n * length, 48]
        # [batches_n, 2, length, 24]  nn.lee:337
        transpose_16 = d_reshape_2_2_2.reshape(batches_n, length, 2, 24).permute(0, 2, 1, 3)
        d_share_2 = transpose_16 @ v_2_2.permute(0, 2, 3, 1)  # [batches_n, 2, length, length]
        # [batches_n, 2, length, length]  prelude.lee:122
        sub_2_2 = d_share_2 - (d_share_2 * share_2).sum(dim=3, keepdim=True)
        d_contract_2 = masked(share_2 * sub_2_2 / math.sqrt(24), le)  # [batches_n, 2, length, length]  nn.lee:335
        d_v_2 = (share_2.mT @ transpose_16).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:337
        d_value_out_2 = d_v_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:366
        torch.sum(d_value_out_2, dim=0, out=d_blocks_0_attention_value_b)  # [48]  nn.lee:21
        torch.mm(x_flat_3.T, d_value_out_2, out=d_blocks_0_attention_value_w)  # [48, 48]
        d_k_2 = (d_contract_2.mT @ transpose_5).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_key_out_2 = d_k_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:365
        torch.sum(d_key_out_2, dim=0, out=d_blocks_0_attention_key_b)  # [48]  nn.lee:21
        torch.mm(x_flat_3.T, d_key_out_2, out=d_blocks_0_attention_key_w)  # [48, 48]
        d_q_2 = (d_contract_2 @ k_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, length, 2, 24]  nn.lee:335
        d_query_out_2 = d_q_2.reshape(batches_n * length, 48)  # [batches_n * length, 48]  nn.lee:364
        torch.sum(d_query_out_2, dim=0, out=d_blocks_0_attention_query_b)  # [48]  nn.lee:21
        torch.mm(x_flat_3.T, d_query_out_2, out=d_blocks_0_attention_query_w)  # [48, 48]
        d_x_flat_2 = d_value_out_2 @ blocks_0_attention_value_w.T  # [batches_n * length, 48]
        d_x_flat_5 = d_x_flat_2 + d_key_out_2 @ blocks_0_attention_key_w.T  # [batches_n * length, 48]  nn.lee:364
        d_x_flat_6 = d_x_flat_5 + d_query_out_2 @ blocks_0_attention_query_w.T  # [batches_n * length, 48]
        d_y_4 = d_x_flat_6.reshape(batches_n, length, 48)  # [batches_n, length, 48]
        d_h = d_reshape.reshape(batches_n, length, 48) + d_y_4  # [batches_n, length, 48]  transformer.lee:46
        # [batches_n * length, 48]  transformer.lee:72
        d_write_out = (d_h * math.sqrt(48)).reshape(batches_n * length, 48)
        # [data_target_vocab, 48]  transformer.lee:19
        d_write_table.copy_(scatter_add(d_write_out, (y_flat,), (data_target_vocab, 48)))
        torch.sum(d_memory_flat, dim=0, out=d_encoder_blocks_0_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_memory_flat * normalise, dim=0, out=d_encoder_blocks_0_norm2_gamma)  # [48]
        d_normalise_4 = d_memory_flat * encoder_blocks_0_norm2_gamma  # [batches_n * time, 48]
        # [batches_n * time, 48]
        d_reshape_5 = normalise_gradient(d_normalise_4, reshape_3, (48,), self.net.encoder.blocks[0].norm2.eps)
        torch.sum(d_reshape_5, dim=0, out=d_encoder_blocks_0_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_2_2.T, d_reshape_5, out=d_encoder_blocks_0_down_w)  # [96, 48]
        d_reshape_3_3 = d_reshape_5 @ encoder_blocks_0_down_w.T  # [batches_n * time, 96]
        d_select_2 = d_reshape_3_3.reshape(batches_n, time, 96)  # [batches_n, time, 96]  transformer.lee:32
        # [batches_n, time, 96]  prelude.lee:61
        d_reshape_2_2_3 = torch.ops.aten.threshold_backward(d_select_2, select_2, 0)
        d_up_out_2 = d_reshape_2_2_3.reshape(batches_n * time, 96)  # [batches_n * time, 96]  transformer.lee:32
        torch.sum(d_up_out_2, dim=0, out=d_encoder_blocks_0_up_b)  # [96]  nn.lee:21
        torch.mm(norm1_out.T, d_up_out_2, out=d_encoder_blocks_0_up_w)  # [48, 96]
        d_norm1_out_3 = d_up_out_2 @ encoder_blocks_0_up_w.T + d_reshape_5  # [batches_n * time, 48]  transformer.lee:31
        torch.sum(d_norm1_out_3, dim=0, out=d_encoder_blocks_0_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out_3 * normalise_2_2, dim=0, out=d_encoder_blocks_0_norm1_gamma)  # [48]
        d_normalise_2_2 = d_norm1_out_3 * encoder_blocks_0_norm1_gamma  # [batches_n * time, 48]
        # [batches_n * time, 48]
        d_reshape_7 = normalise_gradient(d_normalise_2_2, reshape_2, (48,), self.net.encoder.blocks[0].norm1.eps)
        torch.sum(d_reshape_7, dim=0, out=d_encoder_blocks_0_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_2.T, d_reshape_7, out=d_encoder_blocks_0_attention_output_w)  # [48, 48]
        d_reshape_2_2_2_2 = d_reshape_7 @ encoder_blocks_0_attention_output_w.T  # [batches_n * time, 48]
        # [batches_n, 2, time, 24]  nn.lee:337
        transpose_21 = d_reshape_2_2_2_2.reshape(batches_n, time, 2, 24).permute(0, 2, 1, 3)
        d_share_3 = transpose_21 @ v_3.permute(0, 2, 3, 1)  # [batches_n, 2, time, time]
        # [batches_n, 2, time, time]  prelude.lee:122
        sub_3 = d_share_3 - (d_share_3 * share_3).sum(dim=3, keepdim=True)
        d_contract_3 = masked(share_3 * sub_3 / math.sqrt(24), inside_2)  # [batches_n, 2, time, time]  nn.lee:335
        d_v_3 = (share_3.mT @ transpose_21).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:337
        d_value_out_3 = d_v_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:366
        torch.sum(d_value_out_3, dim=0, out=d_encoder_blocks_0_attention_value_b)  # [48]  nn.lee:21
        torch.mm(x_flat_2.T, d_value_out_3, out=d_encoder_blocks_0_attention_value_w)  # [48, 48]
        d_k_3 = (d_contract_3.mT @ transpose_2).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_key_out_3 = d_k_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:365
        torch.sum(d_key_out_3, dim=0, out=d_encoder_blocks_0_attention_key_b)  # [48]  nn.lee:21
        torch.mm(x_flat_2.T, d_key_out_3, out=d_encoder_blocks_0_attention_key_w)  # [48, 48]
        d_q_3 = (d_contract_3 @ k_3.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, time, 2, 24]  nn.lee:335
        d_query_out_3 = d_q_3.reshape(batches_n * time, 48)  # [batches_n * time, 48]  nn.lee:364
        torch.sum(d_query_out_3, dim=0, out=d_encoder_blocks_0_attention_query_b)  # [48]  nn.lee:21
        torch.mm(x_flat_2.T, d_query_out_3, out=d_encoder_blocks_0_attention_query_w)  # [48, 48]
        d_x_flat_2_2 = d_value_out_3 @ encoder_blocks_0_attention_value_w.T  # [batches_n * time, 48]
        d_x_flat_3_2 = d_key_out_3 @ encoder_blocks_0_attention_key_w.T  # [batches_n * time, 48]
        d_x_flat_4_2 = d_query_out_3 @ encoder_blocks_0_attention_query_w.T  # [batches_n * time, 48]
        d_x_flat_7 = d_x_flat_2_2 + d_x_flat_3_2 + d_x_flat_4_2  # [batches_n * time, 48]  nn.lee:364
        d_add_2 = d_reshape_7.reshape(batches_n, time, 48)  # [batches_n, time, 48]  transformer.lee:31
        d_h_3 = d_add_2 + d_x_flat_7.reshape(batches_n, time, 48)  # [batches_n, time, 48]
        d_read_out = (d_h_3 * math.sqrt(48)).reshape(batches_n * time, 48)  # [batches_n * time, 48]  transformer.lee:57
        # [data_source_vocab, 48]  transformer.lee:19
        d_encoder_read_table.copy_(scatter_add(d_read_out, (x_flat,), (data_source_vocab, 48)))
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v_ in self.blocks[0]:
            adam_(θ, g, m, v_, lr, beta1, beta2, eps, weight_decay, t_)
        return masked(each.reshape(batches_n, length), lt_2).sum() / cast_2  # transformer.lee:118


def translate_exact(net, v_x, v_lengths, v_y, v_y_lengths):
    """v_x int[data_valid_n, time], v_lengths int[data_valid_n], v_y int[data_valid_n, length], v_y_lengths
    int[data_valid_n] -> []
    """
    length = v_y.shape[1]
    exact_ = exact(net.translate(v_x, v_lengths, limit=length), v_y, v_y_lengths)  # transformer.lee:191
    return exact_


def example_layer(key):
    net = EncoderLayer(6, 2, 8, key=fold(key, SITES["net"]))  # transformer.lee:199
    x = normal(fold(key, SITES["x"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  transformer.lee:200
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  transformer.lee:201
    c = normal(fold(key, SITES["c"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  transformer.lee:202
    d_c, saved_net = net.forward_saved(x, lengths)  # transformer.lee:203
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_decoder_layer(key):
    net = DecoderLayer(6, 2, 8, key=fold(key, SITES["net"]))  # transformer.lee:207
    y = normal(fold(key, SITES["y"]), (3, 4, 6), FLOAT)  # [3, 4, 6]  transformer.lee:208
    memory = normal(fold(key, SITES["memory"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  transformer.lee:209
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  transformer.lee:210
    c = normal(fold(key, SITES["c"]), (3, 4, 6), FLOAT)  # [3, 4, 6]  transformer.lee:211
    d_c, saved_net = net.forward_saved(y, memory, lengths)  # transformer.lee:212
    d_net, d_y, d_memory = net.forward_backward(y, memory, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_y, d_memory, d_c


def example_read_by_attention(key):
    self_ = Encoder_2(7, 6, 2, 8, key=fold(key, SITES["net"]))  # transformer.lee:216
    net = Reader(self_, 6, 3, key=fold(key, SITES["net#2"]))
    x = randint(fold(key, SITES["x"]), (4, 5), 0, 7)  # int[4, 5]  transformer.lee:217
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  transformer.lee:218
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  transformer.lee:219
    add, saved_net = net.forward_saved(x, lengths)  # transformer.lee:220
    d_add = cross_entropy_backward(add, y, torch.ones((), dtype=FLOAT))  # [4, 3]
    d_net = net.forward_backward(x, saved_net, 7, d_add)
    return cross_entropy(add, y), net.at(d_net)


def example_read_by_recurrence(key):
    self_ = Recurrent(7, 6, key=fold(key, SITES["net"]))  # transformer.lee:224
    net = Reader_2(self_, 6, 3, key=fold(key, SITES["net#2"]))
    x = randint(fold(key, SITES["x"]), (4, 5), 0, 7)  # int[4, 5]  transformer.lee:225
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  transformer.lee:226
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  transformer.lee:227
    add, saved_net = net.forward_saved(x, lengths)  # transformer.lee:228
    d_add = cross_entropy_backward(add, y, torch.ones((), dtype=FLOAT))  # [4, 3]
    d_net = net.forward_backward(x, saved_net, 7, d_add)
    return cross_entropy(add, y), net.at(d_net)


def example_read_by_convolution(key):
    self_ = Convolutional(7, 6, key=fold(key, SITES["net"]))  # transformer.lee:232
    net = Reader_3(self_, 6, 3, key=fold(key, SITES["net#2"]))
    x = randint(fold(key, SITES["x"]), (4, 5), 0, 7)  # int[4, 5]  transformer.lee:233
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  transformer.lee:234
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  transformer.lee:235
    add, saved_net = net.forward_saved(x, lengths)  # transformer.lee:236
    d_add = cross_entropy_backward(add, y, torch.ones((), dtype=FLOAT))  # [4, 3]
    d_net = net.forward_backward(x, saved_net, 7, d_add)
    return cross_entropy(add, y), net.at(d_net)


def example_translated(key):
    net = Transformer_2(7, 6, 8, 2, 12, key=fold(key, SITES["net"]))  # transformer.lee:240
    x = randint(fold(key, SITES["x"]), (3, 5), 0, 7)  # int[3, 5]  transformer.lee:241
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  transformer.lee:242
    y = randint(fold(key, SITES["y"]), (3, 4), 0, 6)  # int[3, 4]  transformer.lee:243
    sizes = randint(fold(key, SITES["sizes"]), (3,), 1, 5)  # int[3]  transformer.lee:244
    reshape_4, saved_net = net.forward_saved(x, lengths, y)  # transformer.lee:245
    value, saved_per_word = per_word_saved(reshape_4, y, sizes)
    d_reshape_4 = per_word_backward(reshape_4, y, saved_per_word, torch.ones((), dtype=FLOAT))  # [3, 4, 6]
    d_net = net.forward_backward(x, saved_net, d_reshape_4)
    return value, net.at(d_net)


def example_word_by_word(key):
    net = Transformer_3(7, 4, 8, 2, 12, key=fold(key, SITES["net"]))  # transformer.lee:249
    x = randint(fold(key, SITES["x"]), (4, 5), 0, 7)  # int[4, 5]  transformer.lee:250
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  transformer.lee:251
    return net.translate(x, lengths)  # int[4, 20]  transformer.lee:252


def example_at_once(key):
    net = AllAtOnce_2(7, 6, 8, 2, 12, 4, key=fold(key, SITES["net"]))  # transformer.lee:256
    x = randint(fold(key, SITES["x"]), (3, 5), 0, 7)  # int[3, 5]  transformer.lee:257
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  transformer.lee:258
    y = randint(fold(key, SITES["y"]), (3, 4), 0, 6)  # int[3, 4]  transformer.lee:259
    sizes = randint(fold(key, SITES["sizes"]), (3,), 1, 5)  # int[3]  transformer.lee:260
    value, saved_all_at_once = all_at_once_saved(net, x, lengths, y, sizes)  # transformer.lee:261
    d_value = torch.ones((), dtype=FLOAT)
    d_net = all_at_once_backward(net, x, y, saved_all_at_once, d_value)
    return value, net.at(d_net)


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


@packed(0, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> [..]
    """
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced_2(surprise)  # [rows]  losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(d_out)  # [rows]
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


def reduced_2(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_2_backward(d_each):
    """From d_each to the gradient by each."""
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


def conv1d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢ = Σ xₙ,c,sᵢ₊ᵤ Kₒcᵤ

    x [n, c, w], kernel [o, c, k] -> [n, o, out_w]
    """
    # [n, o, out_w]  nn.lee:76
    y = torch.nn.functional.conv1d(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return y  # [n, o, out_w]


def conv1d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    _, c, w = x.shape
    o, _, k = kernel.shape
    out_w = d_y.shape[2]
    # gradient of y[n, o, i in (w + 2*padding - dilation*(k - 1) - 1) // stride + 1] = sum[c, u..   nn.lee:76
    # [n, c, w]
    d_x = torch.nn.functional.conv_transpose1d(
        d_y,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=dilation + 2 * padding + stride + w - dilation * k - out_w * stride - 1,
        dilation=dilation,
    )
    # [o, c, k]
    d_kernel = torch.nn.grad.conv1d_weight(x, (o, c, k), d_y, stride=stride, padding=padding, dilation=dilation)
    return d_x, d_kernel


class Conv1d(Model):
    """Convolution along one axis."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k)  # nn.lee:96
        key_2 = fold(key, SITES["kernel"])
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:97
        # [outputs, inputs, k]  nn.lee:96
        self.kernel = torch.nn.Parameter(div + (div_2 - div) * uniform(key_2, (outputs, inputs, k), FLOAT))
        self.bias = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:97

    def forward(self, x):
        """x [n, inputs, w] -> [n, outputs, out_w]"""
        # [n, outputs, out_w]  nn.lee:100
        y = conv1d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y + self.bias[:, None]  # [n, outputs, out_w]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return conv1d(x, kernel, stride, padding, dilation) + bias[:, None]   nn.lee:100
        d_bias = d_y.sum(dim=0).sum(dim=1)  # [outputs]
        d_x, d_kernel = conv1d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


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


class LSTMCell(Model):
    """c ← f c + i g, h ← o tanh(c), one step: gates i, f, g, o in this order (Hochreiter & Schmidhuber 1997)."""

    members = ("w", "u", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:245
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 4 * hidden), FLOAT)  # [inputs, 4 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 4 * hidden), FLOAT)  # [hidden, 4 * hidden]  nn.lee:246
        uniform_3 = uniform(fold(key, SITES["b"]), (4 * hidden,), FLOAT)  # [4 * hidden]  nn.lee:247
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, 4 * hidden]  nn.lee:245
        self.u = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [hidden, 4 * hidden]  nn.lee:246
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [4 * hidden]  nn.lee:247

    def forward(self, x, h, c):
        """x [n, inputs], h [n, hidden], c [n, hidden] -> [n, hidden], [n, hidden]"""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        memory = torch.sigmoid(z[:, 1]) * c + torch.sigmoid(z[:, 0]) * torch.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        return torch.sigmoid(z[:, 3]) * torch.tanh(memory), memory  # nn.lee:252

    def forward_saved(self, x, h, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        sigmoid = torch.sigmoid(z[:, 1])  # [n, hidden]  prelude.lee:36
        sigmoid_2 = torch.sigmoid(z[:, 0])  # [n, hidden]
        tanh = torch.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        memory = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        sigmoid_3 = torch.sigmoid(z[:, 3])  # [n, hidden]  prelude.lee:36
        tanh_memory = torch.tanh(memory)  # [n, hidden]  nn.lee:252
        return sigmoid_3 * tanh_memory, memory, (sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory)

    def forward_backward(self, x, h, c, saved, d_y, d_memory):
        """From d_y and d_memory to the gradients by the parameters, x, h and c."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory = saved
        n = x.shape[0]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_memory_2 = d_memory + d_y * sigmoid_3 * (1 - tanh_memory**2)  # [n, hidden]
        d_c = d_memory_2 * sigmoid  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_2 = d_memory_2 * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape_4 = d_y * tanh_memory * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape = d_memory_2 * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
        d_reshape_3 = d_memory_2 * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
        d_z = torch.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), dim=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(dim=0)  # [4 * hidden]
        d_h = d_add_2 @ self.u.T  # [n, hidden]
        d_u = h.T @ d_add_2  # [hidden, 4 * hidden]
        d_x = d_add_2 @ self.w.T  # [n, inputs]
        d_w = x.T @ d_add_2  # [inputs, 4 * hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_x, d_h, d_c


class LSTM(Model):
    """LSTMCell at every position, from states of 0."""

    members = ("cell",)

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.cell = LSTMCell(inputs, hidden, key=fold(key, SITES["cell"]))  # nn.lee:293

    def forward_step(self, c, h, x_t):
        """c [n, hidden], h [n, hidden], x_t [n, inputs] -> [n, hidden], [n, hidden], [n, hidden]"""
        h_3, c_3 = self.cell(x_t, h, c)  # nn.lee:299
        return c_3, h_3, h_3

    def forward_step_saved(self, c, h, x_t):
        """As forward_step, and what its gradient needs."""
        h_3, c_3, saved_cell = self.cell.forward_saved(x_t, h, c)  # nn.lee:299
        return c_3, h_3, h_3, (saved_cell, c, h)

    def forward_step_backward(self, saved, x_t, d_c_3, d_h_3, d_out, d_self):
        """From d_c_3, d_h_3, d_out and d_self to the gradients by c, h, the parameters, x_t and cell.b."""
        saved_cell, c, h = saved
        # gradient of h, c = cell(x[:, t], h, c)   nn.lee:299
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        d_cell, d_x_t, d_h, d_c = self.cell.forward_backward(x_t, h, c, saved_cell, d_h_3_2, d_c_3)
        return (
            d_c,
            d_h,
            {"cell": {"w": d_self["cell"]["w"] + d_cell["w"], "u": d_self["cell"]["u"] + d_cell["u"]}},
            d_x_t,
            d_cell["b"],
        )

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = [None] * time
        for t in range(time):
            c, h_, out[t] = self.forward_step(c, h_, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = [None] * time
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[t], saved_forward_step[t] = self.forward_step_saved(c, h_, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   nn.lee:298
        d_c = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_cell_w_2 = torch.zeros((self.inputs, 4 * self.hidden), dtype=FLOAT, device=x.device)  # [inputs, 4 * hidden]
        d_cell_u_2 = torch.zeros((self.hidden, 4 * self.hidden), dtype=FLOAT, device=x.device)  # [hidden, 4 * hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_self = {"cell": {"w": d_cell_w_2, "u": d_cell_u_2}}
        d_x = [None] * time
        d_cell_b_rows = [None] * time
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_self, d_x[t], d_cell_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], d_c_3, d_h_3, d_out[:, t], d_self
            )
        d_x = torch.stack(d_x, 1) if d_x else torch.zeros((n, time, self.inputs), dtype=FLOAT, device=x.device)
        d_cell_b_rows = (
            torch.stack(d_cell_b_rows, 1)
            if d_cell_b_rows
            else torch.zeros((4 * self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_cell_b = d_cell_b_rows.sum(dim=1)  # [4 * hidden]
        return {"cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b}}, d_x


def attend(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[n, 1, 1, time] -> [n,
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

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[1, 1, m, time] -> [n,
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
        """x [n, m, d], mask bool[n, 1, 1, m] -> [n, m, d]"""
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
        """x [n, m, d], mask bool[1, 1, m, m] -> [n, m, d]"""
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

    def forward_3(self, x, memory, mask):
        """x [n, m, d], memory [memory_0, memory_1, d], mask bool[n, 1, 1, memory_1] -> [n, m, d]"""
        n, m, _ = x.shape
        memory_0, memory_1, _ = memory.shape
        if self.d * memory_0 * memory_1 != self.d // self.heads * self.heads * memory_1 * n:
            raise ValueError(
                f"nn.lee:365: d * memory_0 * memory_1 = {self.d * memory_0 * memory_1} "
                f"must equal (d // heads) * heads * memory_1 * n = {self.d // self.heads * self.heads * memory_1 * n}"
            )
        if self.d * memory_0 * memory_1 != self.d // self.heads * self.heads * memory_1 * n:
            raise ValueError(
                f"nn.lee:366: d * memory_0 * memory_1 = {self.d * memory_0 * memory_1} "
                f"must equal (d // heads) * heads * memory_1 * n = {self.d // self.heads * self.heads * memory_1 * n}"
            )
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  nn.lee:364
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(memory_0 * memory_1, self.d)  # [memory_0 * memory_1, d]  nn.lee:365
        # [n, memory_1, heads, d // heads]
        k = self.key(memory_flat).reshape(n, memory_1, self.heads, self.d // self.heads)
        value_out = self.value(memory_flat)  # [memory_0 * memory_1, d]  nn.lee:366
        v = value_out.reshape(n, memory_1, self.heads, self.d // self.heads)  # [n, memory_1, heads, d // heads]
        output_out = self.output(attend(q, k, v, mask).reshape(m * n, self.d))  # [m * n, d]  nn.lee:367
        return output_out.reshape(n, m, self.d)  # [n, m, d]

    def forward_3_saved(self, x, memory, mask):
        """As forward_3, and what its gradient needs."""
        n, m, _ = x.shape
        memory_0, memory_1, _ = memory.shape
        if self.d * memory_0 * memory_1 != self.d // self.heads * self.heads * memory_1 * n:
            raise ValueError(
                f"nn.lee:365: d * memory_0 * memory_1 = {self.d * memory_0 * memory_1} "
                f"must equal (d // heads) * heads * memory_1 * n = {self.d // self.heads * self.heads * memory_1 * n}"
            )
        if self.d * memory_0 * memory_1 != self.d // self.heads * self.heads * memory_1 * n:
            raise ValueError(
                f"nn.lee:366: d * memory_0 * memory_1 = {self.d * memory_0 * memory_1} "
                f"must equal (d // heads) * heads * memory_1 * n = {self.d // self.heads * self.heads * memory_1 * n}"
            )
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  nn.lee:364
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(memory_0 * memory_1, self.d)  # [memory_0 * memory_1, d]  nn.lee:365
        # [n, memory_1, heads, d // heads]
        k = self.key(memory_flat).reshape(n, memory_1, self.heads, self.d // self.heads)
        value_out = self.value(memory_flat)  # [memory_0 * memory_1, d]  nn.lee:366
        v = value_out.reshape(n, memory_1, self.heads, self.d // self.heads)  # [n, memory_1, heads, d // heads]
        mixed, saved_attend = attend_saved(q, k, v, mask)  # nn.lee:367
        reshape_3 = mixed.reshape(m * n, self.d)  # [m * n, d]
        return self.output(reshape_3).reshape(n, m, self.d), (q, k, v, saved_attend, reshape_3)

    def forward_3_backward(self, x, memory, mask, saved, d_y):
        """From d_y to the gradients by the parameters, x and memory."""
        q, k, v, saved_attend, reshape_3 = saved
        n, m, _ = x.shape
        memory_0, memory_1, _ = memory.shape
        # gradient of k = reshape(key(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:365
        memory_flat = memory.reshape(memory_0 * memory_1, self.d)  # [memory_0 * memory_1, d]
        # gradient of return output(reshape(attend(q, k, v, mask), [n, m, d]))   nn.lee:367
        d_output, d_reshape_3 = self.output.forward_backward(reshape_3, d_y.reshape(m * n, self.d))
        d_mixed = d_reshape_3.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        d_q, d_k, d_v = attend_backward(q, k, v, mask, saved_attend, d_mixed)
        # gradient of v = reshape(value(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:366
        d_value_out = d_v.reshape(memory_0 * memory_1, self.d)  # [memory_0 * memory_1, d]
        d_value, d_memory_flat_2 = self.value.forward_backward(memory_flat, d_value_out)
        # gradient of k = reshape(key(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:365
        d_key_out = d_k.reshape(memory_0 * memory_1, self.d)  # [memory_0 * memory_1, d]
        d_key, d_memory_flat_3 = self.key.forward_backward(memory_flat, d_key_out)
        d_memory = (d_memory_flat_2 + d_memory_flat_3).reshape(memory_0, memory_1, self.d)  # [memory_0, memory_1, d]
        # gradient of q = reshape(query(x), [n, m, heads, d // heads])   nn.lee:364
        d_query_out = d_q.reshape(m * n, self.d)  # [m * n, d]
        d_query, d_x_flat = self.query.forward_backward(x.reshape(m * n, self.d), d_query_out)
        d_x = d_x_flat.reshape(n, m, self.d)  # [n, m, d]
        return {"query": d_query, "key": d_key, "value": d_value, "output": d_output}, d_x, d_memory


def sinusoids(time, d):
    """sin(t / 10000^(i / d)) at even i, cos(t / 10000^((i - 1) / d)) at odd ones (Vaswani et al. 2017)."""
    power = torch.pow(10000, (2 * (torch.arange(d) // 2)).to(FLOAT) / d)  # [d]  nn.lee:410
    angle = torch.arange(time)[:, None].to(FLOAT) / power  # [time, d]
    wave = torch.where(torch.arange(d) % 2 == 0, torch.sin(angle), torch.cos(angle))  # [time, d]  nn.lee:411
    return wave  # [time, d]


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

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.relu(x)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "bias": 0x7246FEB96AC500B4,
    "blocks.0": 0x6CE3212D64C10C6D,
    "blocks.1": 0xD0D0BD5FB969D595,
    "c": 0x1B2C07CD64633F37,
    "cell": 0x3FB231439DC63663,
    "conv": 0xBF4928CF149132C4,
    "cross": 0x3F07C725FA58A85A,
    "cross.0": 0xF013DD73E7CACA74,
    "down": 0x672F5B678D49ED61,
    "encoder": 0x651C9E989B434403,
    "head": 0xBD7890018BD219D5,
    "kernel": 0x273FEA903E119357,
    "key": 0xF54CA9C3ADCC7CCE,
    "lengths": 0xDE00C8960E49C03F,
    "memory": 0xE8A0B2FC89DDFBBA,
    "net": 0xF087C76970C91612,
    "net#2": 0x59EFC03AB2BE3D0C,
    "output": 0x02DE2253159F1835,
    "place": 0x49621941663E417B,
    "query": 0x0368BD6C66AB1F7B,
    "read": 0xCF660812E3283339,
    "rnn": 0x68FB173A756887E4,
    "size": 0x3A6A097DE733342D,
    "sizes": 0x6BD3462770941974,
    "table": 0x4F51E0D95EBC91EB,
    "u": 0x08D267E10C593806,
    "up": 0xDD49F622B87D879F,
    "value": 0x196B9BE45174F330,
    "w": 0x20925082A2286B9E,
    "write": 0x931A160AFD5D0A8C,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


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
