"""BERT (inventory I3, I4, I6-I9): what is hidden, by what stands around it; then fine-tuned for other tasks.

As published: it normalises behind each sum, and takes gelu as it is.

Made from specs/attention/bert.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/bert.lee
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
    """A row for each index, small at first."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        super().__init__()
        self.count, self.d = count, d
        # [count, d]  bert.lee:15
        self.table = torch.nn.Parameter(0.02 * normal(fold(key, SITES["table"]), (count, d), FLOAT))

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[index]  # [rows, d]  bert.lee:18

    @staticmethod
    def forward_backward(index, count, d_y):
        """From d_y to the gradient by the parameters."""
        d = d_y.shape[1]
        # gradient of return table[index]   bert.lee:18
        d_table = scatter_add(d_y, (index,), (count, d))  # [count, d]
        return {"table": d_table}  # [count, d]


class Layer(Model):
    """Attention to all positions, then layers for each; normalised behind each sum."""

    members = ("attention", "norm1", "up", "down", "norm2")

    def __init__(self, d, heads, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads = d, heads
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # bert.lee:23
        self.norm1 = LayerNorm(d, eps=1e-12)  # bert.lee:24
        self.up = Linear(d, 4 * d, key=fold(key, SITES["up"]))  # bert.lee:25
        self.down = Linear(4 * d, d, key=fold(key, SITES["down"]))  # bert.lee:26
        self.norm2 = LayerNorm(d, eps=1e-12)  # bert.lee:27

    def forward(self, x, lengths):
        """x [n, time, d], lengths int[n] -> [n, time, d]"""
        n, time, _ = x.shape
        add = x + self.attention(x, padding_mask(lengths, time))  # [n, time, d]  bert.lee:30
        norm1_out = self.norm1(add.reshape(n * time, self.d))  # [n * time, d]
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        mul_2 = gelu(self.up(norm1_out).reshape(n, time, 4 * self.d))  # [n, time, 4 * d]  bert.lee:31
        down_out = self.down(mul_2.reshape(n * time, 4 * self.d))  # [n * time, d]
        add_2 = x_2 + down_out.reshape(n, time, self.d)  # [n, time, d]
        norm2_out = self.norm2(add_2.reshape(n * time, self.d))  # [n * time, d]
        return norm2_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        inside = padding_mask(lengths, time)  # bool[n, 1, 1, time]  bert.lee:30
        reshape_12, saved_attention = self.attention.forward_saved(x, inside)
        reshape = (x + reshape_12).reshape(n * time, self.d)  # [n * time, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape)
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        reshape_2 = self.up(norm1_out).reshape(n, time, 4 * self.d)  # [n, time, 4 * d]  bert.lee:31
        reshape_3 = gelu(reshape_2).reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        add_2 = x_2 + self.down(reshape_3).reshape(n, time, self.d)  # [n, time, d]
        reshape_5 = add_2.reshape(n * time, self.d)  # [n * time, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_5)
        saved = inside, saved_attention, reshape, norm1_out, saved_norm1, reshape_2, reshape_3, reshape_5, saved_norm2
        return norm2_out.reshape(n, time, self.d), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        inside, saved_attention, reshape, norm1_out, saved_norm1, reshape_2, reshape_3, reshape_5, saved_norm2 = saved
        n, time, _ = x.shape
        # gradient of return norm2(x + down(gelu(up(x))))   bert.lee:31
        d_norm2_out = d_y.reshape(n * time, self.d)  # [n * time, d]
        d_norm2, d_reshape_5 = self.norm2.forward_backward(reshape_5, saved_norm2, d_norm2_out)
        d_down, d_reshape_3 = self.down.forward_backward(reshape_3, d_reshape_5)
        d_reshape_2 = gelu_backward(reshape_2, d_reshape_3.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        d_up_out = d_reshape_2.reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        d_up, d_norm1_out_2 = self.up.forward_backward(norm1_out, d_up_out)
        # gradient of x = norm1(x + attention(x, mask = padding_mask(lengths, time)))   bert.lee:30
        d_norm1_out = d_norm1_out_2 + d_reshape_5  # [n * time, d]
        d_norm1, d_reshape = self.norm1.forward_backward(reshape, saved_norm1, d_norm1_out)
        d_add = d_reshape.reshape(n, time, self.d)  # [n, time, d]
        d_attention, d_x_3 = self.attention.forward_backward(x, inside, saved_attention, d_add)
        d_x = d_add + d_x_3  # [n, time, d]
        return {"attention": d_attention, "norm1": d_norm1, "up": d_up, "down": d_down, "norm2": d_norm2}, d_x


class Bert_3(Model):
    """Words of one or two parts, each with all others in view (Devlin et al. 2019)."""

    members = ("token", "segment", "position", "norm", "blocks")

    def __init__(self, vocab, d, heads, context, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Table(vocab, d, key=fold(key, SITES["token"]))  # bert.lee:36
        self.segment = Table(2, d, key=fold(key, SITES["segment"]))  # bert.lee:37
        self.position = Table(context, d, key=fold(key, SITES["position"]))  # bert.lee:38
        self.norm = LayerNorm(d, eps=1e-12)  # bert.lee:39
        # bert.lee:40
        self.blocks = torch.nn.ModuleList(
            [Layer(d, heads, key=fold(key, SITES["blocks.0"])), Layer(d, heads, key=fold(key, SITES["blocks.1"]))]
        )

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"bert.lee:43: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  bert.lee:44
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_2 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        add = token_out.reshape(n, time, self.d) + reshape_2  # [n, time, d]
        norm_out = self.norm((add + position_out).reshape(n * time, self.d))  # [n * time, d]
        x = norm_out.reshape(n, time, self.d)  # [n, time, d]
        x_2 = self.blocks[0](x, lengths)  # [n, time, d]  bert.lee:46
        x_3 = self.blocks[1](x_2, lengths)  # [n, time, d]
        return x_3  # [n, time, d]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"bert.lee:43: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  bert.lee:44
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_4 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        add = token_out.reshape(n, time, self.d) + reshape_4  # [n, time, d]
        reshape_5 = (add + position_out).reshape(n * time, self.d)  # [n * time, d]
        norm_out, saved_norm = self.norm.forward_saved(reshape_5)
        x = norm_out.reshape(n, time, self.d)  # [n, time, d]
        x_2, saved_blocks_0_ = self.blocks[0].forward_saved(x, lengths)  # bert.lee:46
        x_3, saved_blocks_1_ = self.blocks[1].forward_saved(x_2, lengths)
        saved = reshape_5, saved_norm, x, x_2, saved_blocks_0_, saved_blocks_1_
        return x_3, saved

    def forward_backward(self, tokens, part, saved, d_mul):
        """From d_mul to the gradient by the parameters."""
        reshape_5, saved_norm, x, x_2, saved_blocks_0_, saved_blocks_1_ = saved
        n, time = tokens.shape
        # gradient of x = block(x, lengths)   bert.lee:46
        d_blocks_1_, d_x_2 = self.blocks[1].forward_backward(x_2, saved_blocks_1_, d_mul)
        d_blocks_0_, d_x = self.blocks[0].forward_backward(x, saved_blocks_0_, d_x_2)
        # gradient of x = norm(token(tokens) + segment(part) + position(arange(time)))   bert.lee:44
        d_norm_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_norm, d_reshape_5 = self.norm.forward_backward(reshape_5, saved_norm, d_norm_out)
        d_position_out = d_reshape_5.reshape(n, time, self.d).sum(dim=0)  # [time, d]
        iota = torch.arange(time, device=tokens.device)  # int[time]
        d_position = Table.forward_backward(iota, self.context, d_position_out)
        d_segment = Table.forward_backward(part.reshape(n * time), 2, d_reshape_5)
        d_token = Table.forward_backward(tokens.reshape(n * time), self.vocab, d_reshape_5)
        return {
            "token": d_token,
            "segment": d_segment,
            "position": d_position,
            "norm": d_norm,
            "blocks.0": d_blocks_0_,
            "blocks.1": d_blocks_1_,
        }


class Bert_4(Model):
    """Words of one or two parts, each with all others in view (Devlin et al. 2019)."""

    members = ("token", "segment", "position", "norm", "blocks")

    def __init__(self, vocab, d, heads, context, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Table(vocab, d, key=fold(key, SITES["token"]))  # bert.lee:36
        self.segment = Table(2, d, key=fold(key, SITES["segment"]))  # bert.lee:37
        self.position = Table(context, d, key=fold(key, SITES["position"]))  # bert.lee:38
        self.norm = LayerNorm(d, eps=1e-12)  # bert.lee:39
        self.blocks = torch.nn.ModuleList([Layer(d, heads, key=fold(key, SITES["blocks.0"]))])  # bert.lee:40

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"bert.lee:43: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  bert.lee:44
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_2 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        add = token_out.reshape(n, time, self.d) + reshape_2  # [n, time, d]
        norm_out = self.norm((add + position_out).reshape(n * time, self.d))  # [n * time, d]
        x = norm_out.reshape(n, time, self.d)  # [n, time, d]
        x_2 = self.blocks[0](x, lengths)  # [n, time, d]  bert.lee:46
        return x_2  # [n, time, d]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"bert.lee:43: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  bert.lee:44
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_4 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        position_out = self.position(torch.arange(time, device=tokens.device))  # [time, d]
        add = token_out.reshape(n, time, self.d) + reshape_4  # [n, time, d]
        reshape_5 = (add + position_out).reshape(n * time, self.d)  # [n * time, d]
        norm_out, saved_norm = self.norm.forward_saved(reshape_5)
        x = norm_out.reshape(n, time, self.d)  # [n, time, d]
        x_2, saved_blocks_0_ = self.blocks[0].forward_saved(x, lengths)  # bert.lee:46
        return x_2, (reshape_5, saved_norm, x, saved_blocks_0_)

    def forward_backward(self, tokens, part, saved, d_mul):
        """From d_mul to the gradient by the parameters."""
        reshape_5, saved_norm, x, saved_blocks_0_ = saved
        n, time = tokens.shape
        # gradient of x = block(x, lengths)   bert.lee:46
        d_blocks_0_, d_x = self.blocks[0].forward_backward(x, saved_blocks_0_, d_mul)
        # gradient of x = norm(token(tokens) + segment(part) + position(arange(time)))   bert.lee:44
        d_norm_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_norm, d_reshape_5 = self.norm.forward_backward(reshape_5, saved_norm, d_norm_out)
        d_position_out = d_reshape_5.reshape(n, time, self.d).sum(dim=0)  # [time, d]
        iota = torch.arange(time, device=tokens.device)  # int[time]
        d_position = Table.forward_backward(iota, self.context, d_position_out)
        d_segment = Table.forward_backward(part.reshape(n * time), 2, d_reshape_5)
        d_token = Table.forward_backward(tokens.reshape(n * time), self.vocab, d_reshape_5)
        return {"token": d_token, "segment": d_segment, "position": d_position, "norm": d_norm, "blocks.0": d_blocks_0_}


class MaskedLM_2(Model):
    """What stands at every position, by what stands around it."""

    members = ("encoder", "change", "norm", "bias")

    def __init__(self, vocab, d, heads, context, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.encoder = Bert_3(vocab, d, heads, context, key=fold(key, SITES["encoder"]))  # bert.lee:52
        self.change = Linear(d, d, key=fold(key, SITES["change"]))  # bert.lee:53
        self.norm = LayerNorm(d, eps=1e-12)  # bert.lee:54
        self.bias = torch.nn.Parameter(torch.zeros(vocab, dtype=FLOAT))  # [vocab]  bert.lee:55

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, vocab]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, d]  bert.lee:58
        change_out = self.change(mul.reshape(n * time, self.d))  # [n * time, d]
        mul_2 = gelu(change_out.reshape(n, time, self.d))  # [n, time, d]
        h = self.norm(mul_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
        y = torch.nn.functional.linear(h, self.encoder.token.table, self.bias)  # [n, time, vocab]  bert.lee:59
        return y  # [n, time, vocab]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:58
        reshape = mul.reshape(n * time, self.d)  # [n * time, d]
        reshape_2 = self.change(reshape).reshape(n, time, self.d)  # [n, time, d]
        reshape_3 = gelu(reshape_2).reshape(n * time, self.d)  # [n * time, d]
        norm_out, saved_norm = self.norm.forward_saved(reshape_3)
        h = norm_out.reshape(n, time, self.d)  # [n, time, d]
        add_3 = torch.nn.functional.linear(h, self.encoder.token.table, self.bias)  # [n, time, vocab]  bert.lee:59
        return add_3, (saved_encoder, reshape, reshape_2, reshape_3, saved_norm, h)

    def forward_backward(self, tokens, part, saved, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape, reshape_2, reshape_3, saved_norm, h = saved
        n, time = tokens.shape
        # gradient of return h @ encoder.token.table.T + bias   bert.lee:59
        d_bias = d_y.sum(dim=(0, 1))  # [vocab]
        d_h = d_y @ self.encoder.token.table  # [n, time, d]
        reshape_7 = d_y.reshape(n * time, self.vocab)  # [n * time, vocab]
        # gradient of h = norm(gelu(change(encoder(tokens, part, lengths))))   bert.lee:58
        d_norm_out = d_h.reshape(n * time, self.d)  # [n * time, d]
        d_norm, d_reshape_3 = self.norm.forward_backward(reshape_3, saved_norm, d_norm_out)
        d_reshape_2 = gelu_backward(reshape_2, d_reshape_3.reshape(n, time, self.d))  # [n, time, d]
        d_change, d_reshape = self.change.forward_backward(reshape, d_reshape_2.reshape(n * time, self.d))
        d_mul = d_reshape.reshape(n, time, self.d)  # [n, time, d]
        d_encoder = self.encoder.forward_backward(tokens, part, saved_encoder, d_mul)
        d_encoder_token_table = reshape_7.T @ h.reshape(n * time, self.d) + d_encoder["token"]["table"]  # [vocab, d]
        return {
            "encoder": {
                "token": {"table": d_encoder_token_table},
                "segment": d_encoder["segment"],
                "position": d_encoder["position"],
                "norm": d_encoder["norm"],
                "blocks.0": d_encoder["blocks.0"],
                "blocks.1": d_encoder["blocks.1"],
            },
            "change": d_change,
            "norm": d_norm,
            "bias": d_bias,
        }


def hide(tokens, lengths, pick, kind_, other, blank, rate=0.15):
    """Where `pick` is below the rate, a token is chosen: `kind` says whether it becomes [MASK], another, or stays.

    tokens int[n, time], lengths int[n], pick [n, time], kind [n, time], other int[n, time] -> int[n, time],
    bool[n, time]
    """
    time = tokens.shape[1]
    lt_2 = torch.arange(time, device=tokens.device) < lengths[:, None]  # bool[n, time]  bert.lee:72
    chosen = (pick < rate) & lt_2  # bool[n, time]
    changed = torch.where(kind_ < 0.8, blank, torch.where(kind_ < 0.9, other, tokens))  # int[n, time]  bert.lee:73
    return torch.where(chosen, changed, tokens), chosen  # bert.lee:74


def corrupt(tokens, lengths, vocab, blank, key):
    """Of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

    tokens int[n, time], lengths int[n] -> int[n, time], bool[n, time]
    """
    n, time = tokens.shape
    pick = uniform(fold(key, SITES["pick"]), (n, time), FLOAT, tokens.device)  # [n, time]  bert.lee:79
    kind_ = uniform(fold(key, SITES["kind"]), (n, time), FLOAT, tokens.device)  # [n, time]  bert.lee:80
    other = randint(fold(key, SITES["other"]), (n, time), 0, vocab, tokens.device)  # int[n, time]  bert.lee:81
    select_3, chosen = hide(tokens, lengths, pick, kind_, other, blank)  # bert.lee:82
    return select_3, chosen


def recovered(net, tokens, seen, chosen, part, lengths):
    """The cross-entropy of the tokens that were chosen.

    tokens int[n, time], seen int[n, time], chosen bool[n, time], part int[n, time], lengths int[n] -> []
    """
    n, time = tokens.shape
    reshape = net(seen, part, lengths).reshape(n * time, net.vocab)  # [n * time, net.vocab]  bert.lee:94
    each_2 = cross_entropy(reshape, tokens.reshape(n * time)).reshape(n, time)  # [n, time]
    sum_ = torch.where(chosen, each_2, 0).sum()  # bert.lee:95
    return sum_ / chosen.to(FLOAT).sum().clamp(min=1)


def recovered_saved(net, tokens, seen, chosen, part, lengths):
    """As recovered, and what its gradient needs."""
    n, time = tokens.shape
    add_3, saved_net = net.forward_saved(seen, part, lengths)  # bert.lee:94
    reshape = add_3.reshape(n * time, net.vocab)  # [n * time, net.vocab]
    each_2 = cross_entropy(reshape, tokens.reshape(n * time)).reshape(n, time)  # [n, time]
    maximum = chosen.to(FLOAT).sum().clamp(min=1)  # bert.lee:95
    return torch.where(chosen, each_2, 0).sum() / maximum, (saved_net, reshape, maximum)


def recovered_backward(net, tokens, seen, chosen, part, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, reshape, maximum = saved
    n, time = tokens.shape
    # gradient of return sum(where(chosen, each, 0)) / max(sum(float(chosen)), 1)   bert.lee:95
    d_each_2 = torch.where(chosen, d_y / maximum, 0)  # [n, time]
    # gradient of each = cross_entropy(net(seen, part, lengths), tokens, reduce = false)   bert.lee:94
    d_each = d_each_2.reshape(n * time)  # [n * time]
    d_reshape = cross_entropy_backward(reshape, tokens.reshape(n * time), d_each)  # [n * time, net.vocab]
    d_add_3 = d_reshape.reshape(n, time, net.vocab)  # [n, time, net.vocab]
    d_net = net.forward_backward(seen, part, saved_net, d_add_3)
    return d_net


def masked_lm(net, tokens, part, lengths, vocab, blank, key):
    """What is hidden, anew every time.

    tokens int[n, time], part int[n, time], lengths int[n] -> []
    """
    seen, chosen_2 = corrupt(tokens, lengths, vocab, blank, fold(key, SITES["corrupt"]))  # bert.lee:100
    return recovered(net, tokens, seen, chosen_2, part, lengths)  # bert.lee:101


class Classifier(Model):
    """A class of a text, or of two of them: the vector of the first position, changed once, stands for all."""

    members = ("encoder", "pool", "head")

    def __init__(self, encoder, classes, *, key=(0, 0)):
        super().__init__()
        self.encoder, self.classes = encoder, classes
        self.pool = Linear(encoder.d, encoder.d, key=fold(key, SITES["pool"]))  # bert.lee:109
        self.head = Linear(encoder.d, classes, key=fold(key, SITES["head"]))  # bert.lee:110

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, classes]"""
        pool_out = self.pool(self.encoder(tokens, part, lengths)[:, 0])  # [n, encoder.d]  bert.lee:113
        return self.head(torch.tanh(pool_out))  # [n, classes]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:113
        reshape = mul[:, 0]  # [n, encoder.d]
        tanh_pool_out = torch.tanh(self.pool(reshape))  # [n, encoder.d]
        return self.head(tanh_pool_out), (saved_encoder, reshape, tanh_pool_out)

    def forward_backward(self, tokens, part, saved, encoder_context, encoder_vocab, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape, tanh_pool_out = saved
        n, time = tokens.shape
        # gradient of return head(tanh(pool(encoder(tokens, part, lengths)[:, 0])))   bert.lee:113
        d_head, d_tanh_pool_out = self.head.forward_backward(tanh_pool_out, d_y)
        d_pool_out = d_tanh_pool_out * (1 - tanh_pool_out**2)  # [n, encoder.d]
        d_pool, d_reshape = self.pool.forward_backward(reshape, d_pool_out)
        d_slice = d_reshape[:, None]  # [n, 1, encoder.d]
        # [n, time, encoder.d]
        d_mul = unslice(d_slice, (n, time, self.encoder.d), (slice(0, n), slice(0, 1), slice(0, self.encoder.d)))
        d_encoder = self.encoder.forward_backward(tokens, part, saved_encoder, d_mul)
        return {"encoder": d_encoder, "pool": d_pool, "head": d_head}


class Classifier_2(Model):
    """A class of a text, or of two of them: the vector of the first position, changed once, stands for all."""

    members = ("encoder", "pool", "head")

    def __init__(self, encoder, classes, *, key=(0, 0)):
        super().__init__()
        self.encoder, self.classes = encoder, classes
        self.pool = Linear(encoder.d, encoder.d, key=fold(key, SITES["pool"]))  # bert.lee:109
        self.head = Linear(encoder.d, classes, key=fold(key, SITES["head"]))  # bert.lee:110

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, classes]"""
        pool_out = self.pool(self.encoder(tokens, part, lengths)[:, 0])  # [n, encoder.d]  bert.lee:113
        return self.head(torch.tanh(pool_out))  # [n, classes]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:113
        reshape = mul[:, 0]  # [n, encoder.d]
        tanh_pool_out = torch.tanh(self.pool(reshape))  # [n, encoder.d]
        return self.head(tanh_pool_out), (saved_encoder, reshape, tanh_pool_out)

    def forward_backward(self, tokens, part, saved, encoder_context, encoder_vocab, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape, tanh_pool_out = saved
        n, time = tokens.shape
        # gradient of return head(tanh(pool(encoder(tokens, part, lengths)[:, 0])))   bert.lee:113
        d_head, d_tanh_pool_out = self.head.forward_backward(tanh_pool_out, d_y)
        d_pool_out = d_tanh_pool_out * (1 - tanh_pool_out**2)  # [n, encoder.d]
        d_pool, d_reshape = self.pool.forward_backward(reshape, d_pool_out)
        d_slice = d_reshape[:, None]  # [n, 1, encoder.d]
        # [n, time, encoder.d]
        d_mul = unslice(d_slice, (n, time, self.encoder.d), (slice(0, n), slice(0, 1), slice(0, self.encoder.d)))
        d_encoder = self.encoder.forward_backward(tokens, part, saved_encoder, d_mul)
        return {"encoder": d_encoder, "pool": d_pool, "head": d_head}


class Tagger(Model):
    """A class of every token."""

    members = ("encoder", "head")

    def __init__(self, encoder, classes, *, key=(0, 0)):
        super().__init__()
        self.encoder, self.classes = encoder, classes
        self.head = Linear(encoder.d, classes, key=fold(key, SITES["head"]))  # bert.lee:118

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, classes]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, encoder.d]  bert.lee:121
        head_out = self.head(mul.reshape(n * time, self.encoder.d))  # [n * time, classes]
        return head_out.reshape(n, time, self.classes)  # [n, time, classes]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:121
        reshape = mul.reshape(n * time, self.encoder.d)  # [n * time, encoder.d]
        return self.head(reshape).reshape(n, time, self.classes), (saved_encoder, reshape)

    def forward_backward(self, tokens, part, saved, encoder_context, encoder_vocab, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape = saved
        n, time = tokens.shape
        # gradient of return head(encoder(tokens, part, lengths))   bert.lee:121
        d_head, d_reshape = self.head.forward_backward(reshape, d_y.reshape(n * time, self.classes))
        d_mul = d_reshape.reshape(n, time, self.encoder.d)  # [n, time, encoder.d]
        d_encoder = self.encoder.forward_backward(tokens, part, saved_encoder, d_mul)
        return {"encoder": d_encoder, "head": d_head}


def tagging_saved(net, tokens, part, lengths, y):
    """As tagging, and what its gradient needs."""
    n, time = tokens.shape
    reshape_2, saved_net = net.forward_saved(tokens, part, lengths)  # bert.lee:126
    reshape = reshape_2.reshape(n * time, net.classes)  # [n * time, net.classes]
    each_2 = cross_entropy(reshape, y.reshape(n * time)).reshape(n, time)  # [n, time]
    lt = torch.arange(time, device=tokens.device) < lengths[:, None]  # bool[n, time]  bert.lee:127
    cast = lengths.sum().to(FLOAT)
    return torch.where(lt, each_2, 0).sum() / cast, (saved_net, reshape, lt, cast)


def tagging_backward(net, tokens, part, y, saved, net_encoder_context, net_encoder_vocab, d_div):
    """From d_div to the gradient by net."""
    saved_net, reshape, lt, cast = saved
    n, time = tokens.shape
    # gradient of return sum[b, t in lengths[b]](each[b, t]) / sum(lengths)   bert.lee:127
    d_each_2 = torch.where(lt, d_div / cast, 0)  # [n, time]
    # gradient of each = cross_entropy(net(tokens, part, lengths), y, reduce = false)   bert.lee:126
    d_each = d_each_2.reshape(n * time)  # [n * time]
    d_reshape = cross_entropy_backward(reshape, y.reshape(n * time), d_each)  # [n * time, net.classes]
    d_reshape_2 = d_reshape.reshape(n, time, net.classes)  # [n, time, net.classes]
    d_net = net.forward_backward(tokens, part, saved_net, net_encoder_context, net_encoder_vocab, d_reshape_2)
    return d_net


def follows_saved(net, tokens, part, lengths, y):
    """As follows, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(tokens, part, lengths)  # bert.lee:132
    return cross_entropy_2(add_2, y), (add_2, saved_net)


def follows_backward(net, tokens, part, y, saved, net_encoder_context, net_encoder_vocab, d_mean):
    """From d_mean to the gradient by net."""
    add_2, saved_net = saved
    # gradient of return cross_entropy(net(tokens, part, lengths), y)   bert.lee:132
    d_add_2 = cross_entropy_2_backward(add_2, y, d_mean)  # [n, net.classes]
    d_net = net.forward_backward(tokens, part, saved_net, net_encoder_context, net_encoder_vocab, d_add_2)
    return d_net


class Reader(Model):
    """Where an answer begins and where it ends."""

    members = ("encoder", "ends")

    def __init__(self, encoder, *, key=(0, 0)):
        super().__init__()
        self.encoder = encoder
        self.ends = Linear(encoder.d, 2, key=fold(key, SITES["ends"]))  # bert.lee:137

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time], [n, time]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, encoder.d]  bert.lee:140
        z = self.ends(mul.reshape(n * time, self.encoder.d)).reshape(n, time, 2)  # [n, time, 2]
        lt = torch.arange(time, device=tokens.device) < lengths[:, None]  # bool[n, time]  bert.lee:141
        z_2 = torch.where(lt[:, :, None], z, -torch.inf)  # [n, time, 2]
        return z_2[:, :, 0], z_2[:, :, 1]  # bert.lee:142

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:140
        reshape = mul.reshape(n * time, self.encoder.d)  # [n * time, encoder.d]
        z = self.ends(reshape).reshape(n, time, 2)  # [n, time, 2]
        # bool[n, time, 1]  bert.lee:141
        reshape_3 = (torch.arange(time, device=tokens.device) < lengths[:, None])[:, :, None]
        z_2 = torch.where(reshape_3, z, -torch.inf)  # [n, time, 2]
        return z_2[:, :, 0], z_2[:, :, 1], (saved_encoder, reshape, reshape_3)  # bert.lee:142

    def forward_backward(self, tokens, part, saved, encoder_context, encoder_vocab, d_reshape_5, d_reshape_6):
        """From d_reshape_5 and d_reshape_6 to the gradient by the parameters."""
        saved_encoder, reshape, reshape_3 = saved
        n, time = tokens.shape
        # gradient of z[b, t, e] = where(t < lengths[b], z[b, t, e], -inf)   bert.lee:141
        d_z_2 = torch.stack((d_reshape_5, d_reshape_6), dim=2)  # [n, time, 2]
        d_z = torch.where(reshape_3, d_z_2, 0)  # [n, time, 2]
        # gradient of z = ends(encoder(tokens, part, lengths))   bert.lee:140
        d_ends, d_reshape = self.ends.forward_backward(reshape, d_z.reshape(n * time, 2))
        d_mul = d_reshape.reshape(n, time, self.encoder.d)  # [n, time, encoder.d]
        d_encoder = self.encoder.forward_backward(tokens, part, saved_encoder, d_mul)
        return {"encoder": d_encoder, "ends": d_ends}


def edge(z, y, lengths):
    """The cross-entropy of a position among those before each length.

    z [n, time], y int[n], lengths int[n] -> []
    """
    n, time = z.shape
    lt = torch.arange(time, device=z.device) < lengths[:, None]  # bool[n, time]  bert.lee:147
    logsumexp_ = logsumexp(torch.where(lt, z, -torch.inf), 1, False)  # [n]
    surprise = logsumexp_ - z[torch.arange(n, device=z.device), y]  # [n]
    return surprise.mean()  # bert.lee:148


def edge_saved(z, y, lengths):
    """As edge, and what its gradient needs."""
    n, time = z.shape
    lt = torch.arange(time, device=z.device) < lengths[:, None]  # bool[n, time]  bert.lee:147
    select = torch.where(lt, z, -torch.inf)  # [n, time]
    surprise = logsumexp(select, 1, False) - z[torch.arange(n, device=z.device), y]  # [n]
    return surprise.mean(), (lt, select)  # bert.lee:148


def edge_backward(y, saved, d_out):
    """From d_out to the gradient by z."""
    lt, select = saved
    n = y.shape[0]
    time = lt.shape[1]
    # gradient of return mean(surprise)   bert.lee:148
    div = d_out / n
    # gradient of surprise[b] = logsumexp[t in lengths[b]](z[b, t]) - z[b, y[b]]   bert.lee:147
    b = torch.arange(n, device=y.device)  # int[n]
    d_z_2 = scatter_add((-div).expand(n), (b, y), (n, time))  # [n, time]
    d_z = d_z_2 + torch.where(lt, div * softmax(select, (1,)), 0)  # [n, time]
    return d_z  # [n, time]


def span_saved(net, tokens, part, lengths, first, last):
    """As span, and what its gradient needs."""
    a, b, saved_net = net.forward_saved(tokens, part, lengths)  # bert.lee:153
    mean, saved_edge = edge_saved(a, first, lengths)  # bert.lee:154
    mean_2, saved_edge_ = edge_saved(b, last, lengths)
    return (mean + mean_2) / 2, (saved_net, saved_edge, saved_edge_)


def span_backward(net, tokens, part, first, last, saved, net_encoder_context, net_encoder_vocab, d_div):
    """From d_div to the gradient by net."""
    saved_net, saved_edge, saved_edge_ = saved
    # gradient of return (edge(a, first, lengths) + edge(b, last, lengths)) / 2   bert.lee:154
    d_add = d_div / 2
    d_b = edge_backward(last, saved_edge_, d_add)  # [n, time]
    d_a = edge_backward(first, saved_edge, d_add)  # [n, time]
    # gradient of a, b = net(tokens, part, lengths)   bert.lee:153
    d_net = net.forward_backward(tokens, part, saved_net, net_encoder_context, net_encoder_vocab, d_a, d_b)
    return d_net


def best_span(first, last, longest=15):
    """The pair of positions with the largest sum, in order and not too far apart.

    first [n, time], last [n, time] -> int[n], int[n]
    """
    n, time = first.shape
    i = torch.arange(time, device=first.device)  # int[time]  bert.lee:159
    logical_and = (i[:, None] <= i) & (i < (i + longest)[:, None])  # bool[time, time]
    score = torch.where(logical_and, first[:, :, None] + last[:, None], -torch.inf)  # [n, time, time]
    place = score.reshape(n, time**2).argmax(dim=1)  # int[n]  bert.lee:160
    return place // time, place % time  # bert.lee:161


@torch.no_grad()
def pretrain(steps=300, batch=16, context=32, rate=2e-3, *, run=None):
    """Sentences in pairs; the perplexity of the words that are hidden, 109 by their frequency alone."""
    from leec.runtime.run import Run

    run = run or Run("pretrain", backend="torch")
    data = run.data(
        "text_pairs",
        corpus="topics",
        context=context,
        most=500,
        valid=0.1,
        test=0.0,
        seed=0,
        fields={"tokens": ("int", ("n", context)), "part": ("int", ("n", context)), "lengths": ("int", ("n",))},
    )
    net = MaskedLM_2(vocab=data.vocab, d=48, heads=4, context=context, key=run.key("net")).to(run.session.place.device)
    opt = AdamW(lr=lambda t: warmup_linear(rate, 50, steps, t), weight_decay=0.01)  # bert.lee:171
    step = PretrainStep(net, opt)
    for step_ in run.loop("step", 1, steps, net=net, opt=opt):
        tokens, part, lengths = run.sample("tokens", data.train, batch)  # bert.lee:173
        run.step(step(tokens, part, lengths, data.mask, run.key("pretrain")))  # bert.lee:174
        if step_ % 100 == 0:
            v = data.valid  # bert.lee:176
            run.report(
                perplexity=pretrain_perplexity(net, v.tokens, v.part, v.lengths, data.mask, key=run.key("pretrain"))
            )
    return net


class PretrainStep(TrainStep):
    """One step of pretrain for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.encoder.token.table",
        "net.encoder.segment.table",
        "net.encoder.position.table",
        "net.encoder.norm.gamma",
        "net.encoder.norm.beta",
        "net.encoder.blocks.0.attention.query.w",
        "net.encoder.blocks.0.attention.query.b",
        "net.encoder.blocks.0.attention.key.w",
        "net.encoder.blocks.0.attention.key.b",
        "net.encoder.blocks.0.attention.value.w",
        "net.encoder.blocks.0.attention.value.b",
        "net.encoder.blocks.0.attention.output.w",
        "net.encoder.blocks.0.attention.output.b",
        "net.encoder.blocks.0.norm1.gamma",
        "net.encoder.blocks.0.norm1.beta",
        "net.encoder.blocks.0.up.w",
        "net.encoder.blocks.0.up.b",
        "net.encoder.blocks.0.down.w",
        "net.encoder.blocks.0.down.b",
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
        "net.encoder.blocks.1.norm1.gamma",
        "net.encoder.blocks.1.norm1.beta",
        "net.encoder.blocks.1.up.w",
        "net.encoder.blocks.1.up.b",
        "net.encoder.blocks.1.down.w",
        "net.encoder.blocks.1.down.b",
        "net.encoder.blocks.1.norm2.gamma",
        "net.encoder.blocks.1.norm2.beta",
        "net.change.w",
        "net.change.b",
        "net.norm.gamma",
        "net.norm.beta",
        "net.bias",
    )
    spare = (1,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay, self.opt.clip)

    def scalars(self):
        return (self.opt.lr, self.opt.t)

    def step(self, tokens, part, lengths, data_mask, key, lr, t_):
        encoder_token_table, encoder_segment_table, encoder_position_table = self.tensors[:3]
        encoder_norm_gamma, encoder_norm_beta, encoder_blocks_0_attention_query_w = self.tensors[3:6]
        encoder_blocks_0_attention_query_b, encoder_blocks_0_attention_key_w = self.tensors[6:8]
        encoder_blocks_0_attention_key_b, encoder_blocks_0_attention_value_w = self.tensors[8:10]
        encoder_blocks_0_attention_value_b, encoder_blocks_0_attention_output_w = self.tensors[10:12]
        encoder_blocks_0_attention_output_b, encoder_blocks_0_norm1_gamma = self.tensors[12:14]
        encoder_blocks_0_norm1_beta, encoder_blocks_0_up_w, encoder_blocks_0_up_b = self.tensors[14:17]
        encoder_blocks_0_down_w, encoder_blocks_0_down_b, encoder_blocks_0_norm2_gamma = self.tensors[17:20]
        encoder_blocks_0_norm2_beta, encoder_blocks_1_attention_query_w = self.tensors[20:22]
        encoder_blocks_1_attention_query_b, encoder_blocks_1_attention_key_w = self.tensors[22:24]
        encoder_blocks_1_attention_key_b, encoder_blocks_1_attention_value_w = self.tensors[24:26]
        encoder_blocks_1_attention_value_b, encoder_blocks_1_attention_output_w = self.tensors[26:28]
        encoder_blocks_1_attention_output_b, encoder_blocks_1_norm1_gamma = self.tensors[28:30]
        encoder_blocks_1_norm1_beta, encoder_blocks_1_up_w, encoder_blocks_1_up_b = self.tensors[30:33]
        encoder_blocks_1_down_w, encoder_blocks_1_down_b, encoder_blocks_1_norm2_gamma = self.tensors[33:36]
        encoder_blocks_1_norm2_beta, change_w, change_b, norm_gamma, norm_beta, bias = self.tensors[36:]
        d_encoder_token_table, d_encoder_segment_table, d_encoder_position_table = self.gradients[:3]
        d_encoder_norm_gamma, d_encoder_norm_beta, d_encoder_blocks_0_attention_query_w = self.gradients[3:6]
        d_encoder_blocks_0_attention_query_b, d_encoder_blocks_0_attention_key_w = self.gradients[6:8]
        d_encoder_blocks_0_attention_key_b, d_encoder_blocks_0_attention_value_w = self.gradients[8:10]
        d_encoder_blocks_0_attention_value_b, d_encoder_blocks_0_attention_output_w = self.gradients[10:12]
        d_encoder_blocks_0_attention_output_b, d_encoder_blocks_0_norm1_gamma = self.gradients[12:14]
        d_encoder_blocks_0_norm1_beta, d_encoder_blocks_0_up_w, d_encoder_blocks_0_up_b = self.gradients[14:17]
        d_encoder_blocks_0_down_w, d_encoder_blocks_0_down_b, d_encoder_blocks_0_norm2_gamma = self.gradients[17:20]
        d_encoder_blocks_0_norm2_beta, d_encoder_blocks_1_attention_query_w = self.gradients[20:22]
        d_encoder_blocks_1_attention_query_b, d_encoder_blocks_1_attention_key_w = self.gradients[22:24]
        d_encoder_blocks_1_attention_key_b, d_encoder_blocks_1_attention_value_w = self.gradients[24:26]
        d_encoder_blocks_1_attention_value_b, d_encoder_blocks_1_attention_output_w = self.gradients[26:28]
        d_encoder_blocks_1_attention_output_b, d_encoder_blocks_1_norm1_gamma = self.gradients[28:30]
        d_encoder_blocks_1_norm1_beta, d_encoder_blocks_1_up_w, d_encoder_blocks_1_up_b = self.gradients[30:33]
        d_encoder_blocks_1_down_w, d_encoder_blocks_1_down_b, d_encoder_blocks_1_norm2_gamma = self.gradients[33:36]
        d_encoder_blocks_1_norm2_beta, d_change_w, d_change_b, d_norm_gamma, d_norm_beta = self.gradients[36:41]
        (d_bias,) = self.gradients[41:]
        batch, context = tokens.shape
        data_vocab = self.net.encoder.token.table.shape[0]
        key_2_2 = fold(fold(key, SITES["masked_lm"]), SITES["corrupt"])  # bert.lee:100
        key_2_2_2 = fold(key_2_2, SITES["pick"])  # bert.lee:79
        key_3 = fold(key_2_2, SITES["kind"])  # bert.lee:80
        kind_ = uniform(key_3, (batch, context), FLOAT, tokens.device)  # [batch, context]
        key_4 = fold(key_2_2, SITES["other"])  # bert.lee:81
        other = randint(key_4, (batch, context), 0, data_vocab, tokens.device)  # int[batch, context]
        pick = uniform(key_2_2_2, (batch, context), FLOAT, tokens.device)  # [batch, context]  bert.lee:79
        t = torch.arange(context, device=tokens.device)  # int[context]  bert.lee:72
        lt_2 = t < lengths[:, None]  # bool[batch, context]
        chosen_2 = (pick < 0.15) & lt_2  # bool[batch, context]
        select = torch.where(kind_ < 0.9, other, tokens)  # int[batch, context]  bert.lee:73
        # int[batch, context]  bert.lee:74
        seen = torch.where(chosen_2, torch.where(kind_ < 0.8, data_mask, select), tokens)
        tokens_flat_2 = seen.reshape(batch * context)  # int[batch * context]  bert.lee:44
        token_out = encoder_token_table[tokens_flat_2]  # [batch * context, 48]  bert.lee:18
        part_flat = part.reshape(batch * context)  # int[batch * context]  bert.lee:44
        reshape_4_2 = encoder_segment_table[part_flat].reshape(batch, context, 48)  # [batch, context, 48]
        add = token_out.reshape(batch, context, 48) + reshape_4_2  # [batch, context, 48]
        reshape_2 = (add + encoder_position_table[t]).reshape(batch * context, 48)  # [batch * context, 48]
        # [batch * context, 48]  nn.lee:197
        normalise = torch.nn.functional.layer_norm(reshape_2, (48,), eps=self.net.encoder.norm.eps)
        norm_out_2 = normalise * encoder_norm_gamma + encoder_norm_beta  # [batch * context, 48]
        x = norm_out_2.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:44
        inside_2 = lt_2[:, None, None]  # bool[batch, 1, 1, context]  nn.lee:343
        # [batch * context, 48]  nn.lee:21
        query_out = torch.addmm(encoder_blocks_0_attention_query_b, norm_out_2, encoder_blocks_0_attention_query_w)
        q_2 = query_out.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:364
        # [batch * context, 48]  nn.lee:21
        key_out = torch.addmm(encoder_blocks_0_attention_key_b, norm_out_2, encoder_blocks_0_attention_key_w)
        k_2 = key_out.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:365
        # [batch * context, 48]  nn.lee:21
        value_out = torch.addmm(encoder_blocks_0_attention_value_b, norm_out_2, encoder_blocks_0_attention_value_w)
        v_2_2 = value_out.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:366
        transpose = q_2.permute(0, 2, 1, 3)  # [batch, 4, context, 12]  nn.lee:335
        score = transpose @ k_2.permute(0, 2, 3, 1) / math.sqrt(12)  # [batch, 4, context, context]
        # [batch, 4, context, context]  prelude.lee:122
        share_2 = softmax(torch.where(inside_2, score, -torch.inf), (3,))
        mixed = (share_2 @ v_2_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:337
        reshape_2_2_2 = mixed.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:367
        # [batch * context, 48]  nn.lee:21
        output_out = torch.addmm(
            encoder_blocks_0_attention_output_b, reshape_2_2_2, encoder_blocks_0_attention_output_w
        )
        # [batch * context, 48]  bert.lee:30
        reshape_4 = (x + output_out.reshape(batch, context, 48)).reshape(batch * context, 48)
        # [batch * context, 48]  nn.lee:197
        normalise_2_2 = torch.nn.functional.layer_norm(reshape_4, (48,), eps=self.net.encoder.blocks[0].norm1.eps)
        # [batch * context, 48]
        norm1_out_2 = normalise_2_2 * encoder_blocks_0_norm1_gamma + encoder_blocks_0_norm1_beta
        # [batch * context, 192]  nn.lee:21
        up_out = torch.addmm(encoder_blocks_0_up_b, norm1_out_2, encoder_blocks_0_up_w)
        reshape_2_4 = up_out.reshape(batch, context, 192)  # [batch, context, 192]  bert.lee:31
        reshape_3_2 = torch.nn.functional.gelu(reshape_2_4).reshape(batch * context, 192)  # [batch * context, 192]
        # [batch * context, 48]  nn.lee:21
        down_out = torch.addmm(encoder_blocks_0_down_b, reshape_3_2, encoder_blocks_0_down_w)
        x_2_2 = norm1_out_2.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:30
        # [batch * context, 48]  bert.lee:31
        reshape_5_3 = (x_2_2 + down_out.reshape(batch, context, 48)).reshape(batch * context, 48)
        # [batch * context, 48]  nn.lee:197
        normalise_2 = torch.nn.functional.layer_norm(reshape_5_3, (48,), eps=self.net.encoder.blocks[0].norm2.eps)
        norm2_out = normalise_2 * encoder_blocks_0_norm2_gamma + encoder_blocks_0_norm2_beta  # [batch * context, 48]
        x_2 = norm2_out.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:31
        # [batch * context, 48]  nn.lee:21
        query_out_2 = torch.addmm(encoder_blocks_1_attention_query_b, norm2_out, encoder_blocks_1_attention_query_w)
        q = query_out_2.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:364
        # [batch * context, 48]  nn.lee:21
        key_out_2 = torch.addmm(encoder_blocks_1_attention_key_b, norm2_out, encoder_blocks_1_attention_key_w)
        k = key_out_2.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:365
        # [batch * context, 48]  nn.lee:21
        value_out_2 = torch.addmm(encoder_blocks_1_attention_value_b, norm2_out, encoder_blocks_1_attention_value_w)
        v = value_out_2.reshape(batch, context, 4, 12)  # [batch, context, 4, 12]  nn.lee:366
        transpose_4 = q.permute(0, 2, 1, 3)  # [batch, 4, context, 12]  nn.lee:335
        score_2 = transpose_4 @ k.permute(0, 2, 3, 1) / math.sqrt(12)  # [batch, 4, context, context]
        # [batch, 4, context, context]  prelude.lee:122
        share = softmax(torch.where(inside_2, score_2, -torch.inf), (3,))
        mixed_2 = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:337
        reshape_2_2 = mixed_2.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:367
        # [batch * context, 48]  nn.lee:21
        output_out_2 = torch.addmm(
            encoder_blocks_1_attention_output_b, reshape_2_2, encoder_blocks_1_attention_output_w
        )
        add_3 = x_2 + output_out_2.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:30
        reshape_5 = add_3.reshape(batch * context, 48)  # [batch * context, 48]
        # [batch * context, 48]  nn.lee:197
        normalise_3 = torch.nn.functional.layer_norm(reshape_5, (48,), eps=self.net.encoder.blocks[1].norm1.eps)
        norm1_out = normalise_3 * encoder_blocks_1_norm1_gamma + encoder_blocks_1_norm1_beta  # [batch * context, 48]
        # [batch * context, 192]  nn.lee:21
        up_out_2 = torch.addmm(encoder_blocks_1_up_b, norm1_out, encoder_blocks_1_up_w)
        reshape_2_3 = up_out_2.reshape(batch, context, 192)  # [batch, context, 192]  bert.lee:31
        reshape_3_3 = torch.nn.functional.gelu(reshape_2_3).reshape(batch * context, 192)  # [batch * context, 192]
        # [batch * context, 48]  nn.lee:21
        down_out_2 = torch.addmm(encoder_blocks_1_down_b, reshape_3_3, encoder_blocks_1_down_w)
        reshape_4_3 = down_out_2.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:31
        add_2_3 = norm1_out.reshape(batch, context, 48) + reshape_4_3  # [batch, context, 48]
        reshape_5_2 = add_2_3.reshape(batch * context, 48)  # [batch * context, 48]
        # [batch * context, 48]  nn.lee:197
        normalise_4 = torch.nn.functional.layer_norm(reshape_5_2, (48,), eps=self.net.encoder.blocks[1].norm2.eps)
        norm2_out_2 = normalise_4 * encoder_blocks_1_norm2_gamma + encoder_blocks_1_norm2_beta  # [batch * context, 48]
        # [batch, context, 48]  bert.lee:58
        reshape_2_5 = torch.addmm(change_b, norm2_out_2, change_w).reshape(batch, context, 48)
        reshape_6 = torch.nn.functional.gelu(reshape_2_5).reshape(batch * context, 48)  # [batch * context, 48]
        # [batch * context, 48]  nn.lee:197
        normalise_5 = torch.nn.functional.layer_norm(reshape_6, (48,), eps=self.net.norm.eps)
        norm_out = normalise_5 * norm_gamma + norm_beta  # [batch * context, 48]
        h = norm_out.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:58
        affine = torch.nn.functional.linear(h, encoder_token_table, bias)  # [batch, context, data_vocab]  bert.lee:59
        reshape_7 = affine.reshape(batch * context, data_vocab)  # [batch * context, data_vocab]  bert.lee:94
        tokens_flat = tokens.reshape(batch * context)  # int[batch * context]
        # [batch * context]  losses.lee:45
        each = torch.nn.functional.cross_entropy(reshape_7, tokens_flat, reduction="none")
        maximum = chosen_2.to(FLOAT).sum().clamp(min=1)  # bert.lee:95
        sum_ = masked(each.reshape(batch, context), chosen_2).sum()
        iota = torch.arange(data_vocab, device=tokens.device)[None, :]  # int[1, data_vocab]  losses.lee:45
        one_hot = (iota == tokens.reshape(batch * context, 1)).to(FLOAT)  # [batch * context, data_vocab]
        reshape_2_6 = masked(1 / maximum, chosen_2).reshape(batch * context, 1)  # [batch * context, 1]
        d_reshape = (torch.softmax(reshape_7, dim=1) - one_hot) * reshape_2_6  # [batch * context, data_vocab]
        d_add_3 = d_reshape.reshape(batch, context, data_vocab)  # [batch, context, data_vocab]  bert.lee:94
        torch.sum(d_add_3, dim=(0, 1), out=d_bias)  # [data_vocab]  bert.lee:59
        d_norm_out = (d_add_3 @ encoder_token_table).reshape(batch * context, 48)  # [batch * context, 48]  bert.lee:58
        torch.sum(d_norm_out, dim=0, out=d_norm_beta)  # [48]  nn.lee:197
        torch.sum(d_norm_out * normalise_5, dim=0, out=d_norm_gamma)  # [48]
        d_normalise = d_norm_out * norm_gamma  # [batch * context, 48]
        d_reshape_3 = normalise_gradient(d_normalise, reshape_6, (48,), self.net.norm.eps)  # [batch * context, 48]
        d_mul_2 = d_reshape_3.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:58
        d_reshape_2 = torch.ops.aten.gelu_backward(d_mul_2, reshape_2_5)  # [batch, context, 48]  prelude.lee:113
        d_change_out = d_reshape_2.reshape(batch * context, 48)  # [batch * context, 48]  bert.lee:58
        torch.sum(d_change_out, dim=0, out=d_change_b)  # [48]  nn.lee:21
        d_reshape_4 = d_change_out @ change_w.T  # [batch * context, 48]
        torch.mm(norm2_out_2.T, d_change_out, out=d_change_w)  # [48, 48]
        torch.sum(d_reshape_4, dim=0, out=d_encoder_blocks_1_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_reshape_4 * normalise_4, dim=0, out=d_encoder_blocks_1_norm2_gamma)  # [48]
        d_normalise_2 = d_reshape_4 * encoder_blocks_1_norm2_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_reshape_5_2 = normalise_gradient(d_normalise_2, reshape_5_2, (48,), self.net.encoder.blocks[1].norm2.eps)
        torch.sum(d_reshape_5_2, dim=0, out=d_encoder_blocks_1_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_3.T, d_reshape_5_2, out=d_encoder_blocks_1_down_w)  # [192, 48]
        d_reshape_3_2 = d_reshape_5_2 @ encoder_blocks_1_down_w.T  # [batch * context, 192]
        d_mul_2_2 = d_reshape_3_2.reshape(batch, context, 192)  # [batch, context, 192]  bert.lee:31
        d_reshape_2_2 = torch.ops.aten.gelu_backward(d_mul_2_2, reshape_2_3)  # [batch, context, 192]  prelude.lee:113
        d_up_out = d_reshape_2_2.reshape(batch * context, 192)  # [batch * context, 192]  bert.lee:31
        torch.sum(d_up_out, dim=0, out=d_encoder_blocks_1_up_b)  # [192]  nn.lee:21
        torch.mm(norm1_out.T, d_up_out, out=d_encoder_blocks_1_up_w)  # [48, 192]
        d_norm1_out = d_up_out @ encoder_blocks_1_up_w.T + d_reshape_5_2  # [batch * context, 48]  bert.lee:30
        torch.sum(d_norm1_out, dim=0, out=d_encoder_blocks_1_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out * normalise_3, dim=0, out=d_encoder_blocks_1_norm1_gamma)  # [48]
        d_normalise_2_2 = d_norm1_out * encoder_blocks_1_norm1_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_reshape_4_2 = normalise_gradient(d_normalise_2_2, reshape_5, (48,), self.net.encoder.blocks[1].norm1.eps)
        torch.sum(d_reshape_4_2, dim=0, out=d_encoder_blocks_1_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2.T, d_reshape_4_2, out=d_encoder_blocks_1_attention_output_w)  # [48, 48]
        d_reshape_2_2_2 = d_reshape_4_2 @ encoder_blocks_1_attention_output_w.T  # [batch * context, 48]
        # [batch, 4, context, 12]  nn.lee:337
        transpose_7 = d_reshape_2_2_2.reshape(batch, context, 4, 12).permute(0, 2, 1, 3)
        d_share = transpose_7 @ v.permute(0, 2, 3, 1)  # [batch, 4, context, context]
        sub_2 = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [batch, 4, context, context]  prelude.lee:122
        d_contract = masked(share * sub_2 / math.sqrt(12), inside_2)  # [batch, 4, context, context]  nn.lee:335
        # [batch * context, 48]  nn.lee:366
        d_value_out = (share.mT @ transpose_7).permute(0, 2, 1, 3).reshape(batch * context, 48)
        torch.sum(d_value_out, dim=0, out=d_encoder_blocks_1_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm2_out.T, d_value_out, out=d_encoder_blocks_1_attention_value_w)  # [48, 48]
        d_k = (d_contract.mT @ transpose_4).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_key_out = d_k.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:365
        torch.sum(d_key_out, dim=0, out=d_encoder_blocks_1_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm2_out.T, d_key_out, out=d_encoder_blocks_1_attention_key_w)  # [48, 48]
        d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_query_out = d_q.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:364
        torch.sum(d_query_out, dim=0, out=d_encoder_blocks_1_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm2_out.T, d_query_out, out=d_encoder_blocks_1_attention_query_w)  # [48, 48]
        d_x_flat_2 = d_value_out @ encoder_blocks_1_attention_value_w.T  # [batch * context, 48]
        d_x_flat_5 = d_x_flat_2 + d_key_out @ encoder_blocks_1_attention_key_w.T  # [batch * context, 48]  nn.lee:364
        d_x_flat_4 = d_query_out @ encoder_blocks_1_attention_query_w.T  # [batch * context, 48]  nn.lee:21
        d_x_3 = (d_x_flat_5 + d_x_flat_4).reshape(batch, context, 48)  # [batch, context, 48]  nn.lee:364
        d_x_2 = d_reshape_4_2.reshape(batch, context, 48) + d_x_3  # [batch, context, 48]  bert.lee:30
        d_norm2_out_2 = d_x_2.reshape(batch * context, 48)  # [batch * context, 48]  bert.lee:31
        torch.sum(d_norm2_out_2, dim=0, out=d_encoder_blocks_0_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out_2 * normalise_2, dim=0, out=d_encoder_blocks_0_norm2_gamma)  # [48]
        d_normalise_3 = d_norm2_out_2 * encoder_blocks_0_norm2_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_reshape_5_3 = normalise_gradient(d_normalise_3, reshape_5_3, (48,), self.net.encoder.blocks[0].norm2.eps)
        torch.sum(d_reshape_5_3, dim=0, out=d_encoder_blocks_0_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_2.T, d_reshape_5_3, out=d_encoder_blocks_0_down_w)  # [192, 48]
        d_reshape_3_2_2 = d_reshape_5_3 @ encoder_blocks_0_down_w.T  # [batch * context, 192]
        d_mul_2_2_2 = d_reshape_3_2_2.reshape(batch, context, 192)  # [batch, context, 192]  bert.lee:31
        d_reshape_2_3 = torch.ops.aten.gelu_backward(d_mul_2_2_2, reshape_2_4)  # [batch, context, 192]  prelude.lee:113
        d_up_out_2 = d_reshape_2_3.reshape(batch * context, 192)  # [batch * context, 192]  bert.lee:31
        torch.sum(d_up_out_2, dim=0, out=d_encoder_blocks_0_up_b)  # [192]  nn.lee:21
        torch.mm(norm1_out_2.T, d_up_out_2, out=d_encoder_blocks_0_up_w)  # [48, 192]
        d_norm1_out_3 = d_up_out_2 @ encoder_blocks_0_up_w.T + d_reshape_5_3  # [batch * context, 48]  bert.lee:30
        torch.sum(d_norm1_out_3, dim=0, out=d_encoder_blocks_0_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out_3 * normalise_2_2, dim=0, out=d_encoder_blocks_0_norm1_gamma)  # [48]
        d_normalise_2_2_2 = d_norm1_out_3 * encoder_blocks_0_norm1_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_reshape_4_2_2 = normalise_gradient(d_normalise_2_2_2, reshape_4, (48,), self.net.encoder.blocks[0].norm1.eps)
        torch.sum(d_reshape_4_2_2, dim=0, out=d_encoder_blocks_0_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_2.T, d_reshape_4_2_2, out=d_encoder_blocks_0_attention_output_w)  # [48, 48]
        d_reshape_2_2_2_2 = d_reshape_4_2_2 @ encoder_blocks_0_attention_output_w.T  # [batch * context, 48]
        # [batch, 4, context, 12]  nn.lee:337
        transpose_12 = d_reshape_2_2_2_2.reshape(batch, context, 4, 12).permute(0, 2, 1, 3)
        d_share_2 = transpose_12 @ v_2_2.permute(0, 2, 3, 1)  # [batch, 4, context, context]
        # [batch, 4, context, context]  prelude.lee:122
        sub_2_2 = d_share_2 - (d_share_2 * share_2).sum(dim=3, keepdim=True)
        d_contract_2 = masked(share_2 * sub_2_2 / math.sqrt(12), inside_2)  # [batch, 4, context, context]  nn.lee:335
        # [batch * context, 48]  nn.lee:366
        d_value_out_2 = (share_2.mT @ transpose_12).permute(0, 2, 1, 3).reshape(batch * context, 48)
        torch.sum(d_value_out_2, dim=0, out=d_encoder_blocks_0_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm_out_2.T, d_value_out_2, out=d_encoder_blocks_0_attention_value_w)  # [48, 48]
        d_k_2 = (d_contract_2.mT @ transpose).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_key_out_2 = d_k_2.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:365
        torch.sum(d_key_out_2, dim=0, out=d_encoder_blocks_0_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm_out_2.T, d_key_out_2, out=d_encoder_blocks_0_attention_key_w)  # [48, 48]
        d_q_2 = (d_contract_2 @ k_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batch, context, 4, 12]  nn.lee:335
        d_query_out_2 = d_q_2.reshape(batch * context, 48)  # [batch * context, 48]  nn.lee:364
        torch.sum(d_query_out_2, dim=0, out=d_encoder_blocks_0_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm_out_2.T, d_query_out_2, out=d_encoder_blocks_0_attention_query_w)  # [48, 48]
        d_x_flat_2_2 = d_value_out_2 @ encoder_blocks_0_attention_value_w.T  # [batch * context, 48]
        d_x_flat_3_2 = d_key_out_2 @ encoder_blocks_0_attention_key_w.T  # [batch * context, 48]
        d_x_flat_4_2 = d_query_out_2 @ encoder_blocks_0_attention_query_w.T  # [batch * context, 48]
        d_x_flat_6 = d_x_flat_2_2 + d_x_flat_3_2 + d_x_flat_4_2  # [batch * context, 48]  nn.lee:364
        d_add_3_2 = d_reshape_4_2_2.reshape(batch, context, 48)  # [batch, context, 48]  bert.lee:30
        d_x = d_add_3_2 + d_x_flat_6.reshape(batch, context, 48)  # [batch, context, 48]
        d_norm_out_2 = d_x.reshape(batch * context, 48)  # [batch * context, 48]  bert.lee:44
        torch.sum(d_norm_out_2, dim=0, out=d_encoder_norm_beta)  # [48]  nn.lee:197
        torch.sum(d_norm_out_2 * normalise, dim=0, out=d_encoder_norm_gamma)  # [48]
        d_normalise_4 = d_norm_out_2 * encoder_norm_gamma  # [batch * context, 48]
        # [batch * context, 48]
        d_reshape_5 = normalise_gradient(d_normalise_4, reshape_2, (48,), self.net.encoder.norm.eps)
        d_position_out = d_reshape_5.reshape(batch, context, 48).sum(dim=0)  # [context, 48]  bert.lee:44
        d_encoder_position_table.copy_(scatter_add(d_position_out, (t,), (context, 48)))  # [context, 48]  bert.lee:18
        d_encoder_segment_table.copy_(scatter_add(d_reshape_5, (part_flat,), (2, 48)))  # [2, 48]
        d_encoder_token_table_3 = scatter_add(d_reshape_5, (tokens_flat_2,), (data_vocab, 48))  # [data_vocab, 48]
        torch.mm(d_reshape.T, norm_out, out=d_encoder_token_table)  # [data_vocab, 48]  bert.lee:58
        d_encoder_token_table.add_(d_encoder_token_table_3)  # [data_vocab, 48]
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        clip = self.opt.clip
        g_all = self.vectors[0].gradient
        sum_2 = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_2)
        add_ = sqrt_ + 1e-6
        div = clip / add_
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v_, s0 in self.blocks[0]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v_, lr, beta1, beta2, eps, weight_decay, t_)
        return sum_ / maximum  # bert.lee:95


def pretrain_perplexity(net, v_tokens, v_part, v_lengths, data_mask, key):
    """v_tokens int[data_valid_n, context], v_part int[data_valid_n, context], v_lengths int[data_valid_n] -> []"""
    data_vocab = net.encoder.token.table.shape[0]
    key_2 = fold(key, SITES["masked_lm#2"])  # bert.lee:177
    div = masked_lm(net, v_tokens, v_part, v_lengths, data_vocab, data_mask, key_2)
    return torch.exp(div)


@torch.no_grad()
def finetune(epochs=5, batch=16, rate=2e-3, *, run=None):
    """Where the answer stands: how often both ends are right."""
    from leec.runtime.run import Run

    run = run or Run("finetune", backend="torch")
    data = run.data(
        "questions",
        corpus="topics",
        rows=2000,
        context=32,
        most=200,
        valid=0.1,
        test=0.0,
        seed=0,
        fields={
            "tokens": ("int", ("n", 32)),
            "part": ("int", ("n", 32)),
            "lengths": ("int", ("n",)),
            "first": ("int", ("n",)),
            "last": ("int", ("n",)),
        },
    )
    pretrained = MaskedLM_2(vocab=data.vocab, d=48, heads=4, context=32, key=run.key("pretrained")).to(
        run.session.place.device
    )
    net = Reader(encoder=pretrained.encoder.copy(), key=run.key("net")).to(run.session.place.device)  # bert.lee:185
    slow = AdamW(lr=rate)  # bert.lee:186
    fast = AdamW(lr=rate)  # bert.lee:187
    step = FinetuneStep(net, slow, fast)
    for epoch in run.loop("epoch", 1, epochs, fast=fast, net=net, slow=slow):
        for tokens, part, lengths, first, last in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(tokens, part, lengths, first, last))  # bert.lee:190
        v = data.valid  # bert.lee:191
        i, j = finetune_i_j(net, v.tokens, v.part, v.lengths)  # bert.lee:192
        run.report(exact=((i == v.first) & (j == v.last)).to(FLOAT).mean())  # bert.lee:194
    return net


class FinetuneStep(TrainStep):
    """One step of finetune for net, slow, fast: call it with a batch."""

    moved = (("slow", ("net.encoder",)), ("fast", ("net.ends",)))
    counted = ("slow", "fast")
    read = (
        "net.encoder.token.table",
        "net.encoder.segment.table",
        "net.encoder.position.table",
        "net.encoder.norm.gamma",
        "net.encoder.norm.beta",
        "net.encoder.blocks.0.attention.query.w",
        "net.encoder.blocks.0.attention.query.b",
        "net.encoder.blocks.0.attention.key.w",
        "net.encoder.blocks.0.attention.key.b",
        "net.encoder.blocks.0.attention.value.w",
        "net.encoder.blocks.0.attention.value.b",
        "net.encoder.blocks.0.attention.output.w",
        "net.encoder.blocks.0.attention.output.b",
        "net.encoder.blocks.0.norm1.gamma",
        "net.encoder.blocks.0.norm1.beta",
        "net.encoder.blocks.0.up.w",
        "net.encoder.blocks.0.up.b",
        "net.encoder.blocks.0.down.w",
        "net.encoder.blocks.0.down.b",
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
        "net.encoder.blocks.1.norm1.gamma",
        "net.encoder.blocks.1.norm1.beta",
        "net.encoder.blocks.1.up.w",
        "net.encoder.blocks.1.up.b",
        "net.encoder.blocks.1.down.w",
        "net.encoder.blocks.1.down.b",
        "net.encoder.blocks.1.norm2.gamma",
        "net.encoder.blocks.1.norm2.beta",
        "net.ends.w",
        "net.ends.b",
    )
    spare = (1, 1)

    def __init__(self, net, slow, fast):
        self.net, self.slow, self.fast = net, slow, fast
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 0.5 / batches_n)

    def constants(self):
        return (
            self.slow.beta1,
            self.slow.beta2,
            self.slow.eps,
            self.slow.weight_decay,
            self.slow.clip,
            self.fast.beta1,
            self.fast.beta2,
            self.fast.eps,
            self.fast.weight_decay,
            self.fast.clip,
        )

    def scalars(self):
        return (self.slow.lr, self.slow.t, self.fast.lr, self.fast.t)

    def step(self, tokens, part, lengths, first, last, lr, t, lr_, t_):
        encoder_token_table, encoder_segment_table, encoder_position_table = self.tensors[:3]
        encoder_norm_gamma, encoder_norm_beta, encoder_blocks_0_attention_query_w = self.tensors[3:6]
        encoder_blocks_0_attention_query_b, encoder_blocks_0_attention_key_w = self.tensors[6:8]
        encoder_blocks_0_attention_key_b, encoder_blocks_0_attention_value_w = self.tensors[8:10]
        encoder_blocks_0_attention_value_b, encoder_blocks_0_attention_output_w = self.tensors[10:12]
        encoder_blocks_0_attention_output_b, encoder_blocks_0_norm1_gamma = self.tensors[12:14]
        encoder_blocks_0_norm1_beta, encoder_blocks_0_up_w, encoder_blocks_0_up_b = self.tensors[14:17]
        encoder_blocks_0_down_w, encoder_blocks_0_down_b, encoder_blocks_0_norm2_gamma = self.tensors[17:20]
        encoder_blocks_0_norm2_beta, encoder_blocks_1_attention_query_w = self.tensors[20:22]
        encoder_blocks_1_attention_query_b, encoder_blocks_1_attention_key_w = self.tensors[22:24]
        encoder_blocks_1_attention_key_b, encoder_blocks_1_attention_value_w = self.tensors[24:26]
        encoder_blocks_1_attention_value_b, encoder_blocks_1_attention_output_w = self.tensors[26:28]
        encoder_blocks_1_attention_output_b, encoder_blocks_1_norm1_gamma = self.tensors[28:30]
        encoder_blocks_1_norm1_beta, encoder_blocks_1_up_w, encoder_blocks_1_up_b = self.tensors[30:33]
        encoder_blocks_1_down_w, encoder_blocks_1_down_b, encoder_blocks_1_norm2_gamma = self.tensors[33:36]
        encoder_blocks_1_norm2_beta, ends_w, ends_b = self.tensors[36:]
        d_encoder_token_table, d_encoder_segment_table, d_encoder_position_table = self.gradients[:3]
        d_encoder_norm_gamma, d_encoder_norm_beta, d_encoder_blocks_0_attention_query_w = self.gradients[3:6]
        d_encoder_blocks_0_attention_query_b, d_encoder_blocks_0_attention_key_w = self.gradients[6:8]
        d_encoder_blocks_0_attention_key_b, d_encoder_blocks_0_attention_value_w = self.gradients[8:10]
        d_encoder_blocks_0_attention_value_b, d_encoder_blocks_0_attention_output_w = self.gradients[10:12]
        d_encoder_blocks_0_attention_output_b, d_encoder_blocks_0_norm1_gamma = self.gradients[12:14]
        d_encoder_blocks_0_norm1_beta, d_encoder_blocks_0_up_w, d_encoder_blocks_0_up_b = self.gradients[14:17]
        d_encoder_blocks_0_down_w, d_encoder_blocks_0_down_b, d_encoder_blocks_0_norm2_gamma = self.gradients[17:20]
        d_encoder_blocks_0_norm2_beta, d_encoder_blocks_1_attention_query_w = self.gradients[20:22]
        d_encoder_blocks_1_attention_query_b, d_encoder_blocks_1_attention_key_w = self.gradients[22:24]
        d_encoder_blocks_1_attention_key_b, d_encoder_blocks_1_attention_value_w = self.gradients[24:26]
        d_encoder_blocks_1_attention_value_b, d_encoder_blocks_1_attention_output_w = self.gradients[26:28]
        d_encoder_blocks_1_attention_output_b, d_encoder_blocks_1_norm1_gamma = self.gradients[28:30]
        d_encoder_blocks_1_norm1_beta, d_encoder_blocks_1_up_w, d_encoder_blocks_1_up_b = self.gradients[30:33]
        d_encoder_blocks_1_down_w, d_encoder_blocks_1_down_b, d_encoder_blocks_1_norm2_gamma = self.gradients[33:36]
        d_encoder_blocks_1_norm2_beta, d_ends_w, d_ends_b = self.gradients[36:]
        batches_n = tokens.shape[0]
        data_vocab = self.net.encoder.token.table.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 0.5 / batches_n
        tokens_flat = tokens.reshape(32 * batches_n)  # int[32 * batches_n]  bert.lee:44
        part_flat = part.reshape(32 * batches_n)  # int[32 * batches_n]
        reshape_2_5 = encoder_token_table[tokens_flat].reshape(batches_n, 32, 48)  # [batches_n, 32, 48]
        reshape_4_2 = encoder_segment_table[part_flat].reshape(batches_n, 32, 48)  # [batches_n, 32, 48]
        iota = torch.arange(32, device=tokens.device)  # int[32]
        add_2_2 = reshape_2_5 + reshape_4_2 + encoder_position_table[iota]  # [batches_n, 32, 48]
        reshape_5_2 = add_2_2.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]
        # [32 * batches_n, 48]  nn.lee:197
        normalise = torch.nn.functional.layer_norm(reshape_5_2, (48,), eps=self.net.encoder.norm.eps)
        norm_out = normalise * encoder_norm_gamma + encoder_norm_beta  # [32 * batches_n, 48]
        x = norm_out.reshape(batches_n, 32, 48)  # [batches_n, 32, 48]  bert.lee:44
        lt_2_2 = iota < lengths[:, None]  # bool[batches_n, 32]  nn.lee:343
        inside_2 = lt_2_2[:, None, None]  # bool[batches_n, 1, 1, 32]
        # [32 * batches_n, 48]  nn.lee:21
        query_out = torch.addmm(encoder_blocks_0_attention_query_b, norm_out, encoder_blocks_0_attention_query_w)
        q_2 = query_out.reshape(batches_n, 32, 4, 12)  # [batches_n, 32, 4, 12]  nn.lee:364
        # [32 * batches_n, 48]  nn.lee:21
        key_out = torch.addmm(encoder_blocks_0_attention_key_b, norm_out, encoder_blocks_0_attention_key_w)
        k_2 = key_out.reshape(batches_n, 32, 4, 12)  # [batches_n, 32, 4, 12]  nn.lee:365
        # [32 * batches_n, 48]  nn.lee:21
        value_out = torch.addmm(encoder_blocks_0_attention_value_b, norm_out, encoder_blocks_0_attention_value_w)
        v_2_3 = value_out.reshape(batches_n, 32, 4, 12)  # [batches_n, 32, 4, 12]  nn.lee:366
        transpose = q_2.permute(0, 2, 1, 3)  # [batches_n, 4, 32, 12]  nn.lee:335
        score = transpose @ k_2.permute(0, 2, 3, 1) / math.sqrt(12)  # [batches_n, 4, 32, 32]
        share_2 = softmax(torch.where(inside_2, score, -torch.inf), (3,))  # [batches_n, 4, 32, 32]  prelude.lee:122
        mixed = (share_2 @ v_2_3.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, 32, 4, 12]  nn.lee:337
        reshape_2_2_2 = mixed.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]  nn.lee:367
        # [32 * batches_n, 48]  nn.lee:21
        output_out = torch.addmm(
            encoder_blocks_0_attention_output_b, reshape_2_2_2, encoder_blocks_0_attention_output_w
        )
        # [32 * batches_n, 48]  bert.lee:30
        reshape_6_2 = (x + output_out.reshape(batches_n, 32, 48)).reshape(32 * batches_n, 48)
        # [32 * batches_n, 48]  nn.lee:197
        normalise_2_2 = torch.nn.functional.layer_norm(reshape_6_2, (48,), eps=self.net.encoder.blocks[0].norm1.eps)
        norm1_out_2 = normalise_2_2 * encoder_blocks_0_norm1_gamma + encoder_blocks_0_norm1_beta  # [32 * batches_n, 48]
        # [32 * batches_n, 192]  nn.lee:21
        up_out = torch.addmm(encoder_blocks_0_up_b, norm1_out_2, encoder_blocks_0_up_w)
        reshape_2_4 = up_out.reshape(batches_n, 32, 192)  # [batches_n, 32, 192]  bert.lee:31
        reshape_3_2 = torch.nn.functional.gelu(reshape_2_4).reshape(32 * batches_n, 192)  # [32 * batches_n, 192]
        # [32 * batches_n, 48]  nn.lee:21
        down_out = torch.addmm(encoder_blocks_0_down_b, reshape_3_2, encoder_blocks_0_down_w)
        x_2_2 = norm1_out_2.reshape(batches_n, 32, 48)  # [batches_n, 32, 48]  bert.lee:30
        # [32 * batches_n, 48]  bert.lee:31
        reshape_5_3 = (x_2_2 + down_out.reshape(batches_n, 32, 48)).reshape(32 * batches_n, 48)
        # [32 * batches_n, 48]  nn.lee:197
        normalise_2 = torch.nn.functional.layer_norm(reshape_5_3, (48,), eps=self.net.encoder.blocks[0].norm2.eps)
        norm2_out = normalise_2 * encoder_blocks_0_norm2_gamma + encoder_blocks_0_norm2_beta  # [32 * batches_n, 48]
        x_2 = norm2_out.reshape(batches_n, 32, 48)  # [batches_n, 32, 48]  bert.lee:31
        # [32 * batches_n, 48]  nn.lee:21
        query_out_2 = torch.addmm(encoder_blocks_1_attention_query_b, norm2_out, encoder_blocks_1_attention_query_w)
        q = query_out_2.reshape(batches_n, 32, 4, 12)  # [batches_n, 32, 4, 12]  nn.lee:364
        # [32 * batches_n, 48]  nn.lee:21
        key_out_2 = torch.addmm(encoder_blocks_1_attention_key_b, norm2_out, encoder_blocks_1_attention_key_w)
        k = key_out_2.reshape(batches_n, 32, 4, 12)  # [batches_n, 32, 4, 12]  nn.lee:365
        # [32 * batches_n, 48]  nn.lee:21
        value_out_2 = torch.addmm(encoder_blocks_1_attention_value_b, norm2_out, encoder_blocks_1_attention_value_w)
        v = value_out_2.reshape(batches_n, 32, 4, 12)  # [batches_n, 32, 4, 12]  nn.lee:366
        transpose_4 = q.permute(0, 2, 1, 3)  # [batches_n, 4, 32, 12]  nn.lee:335
        score_2 = transpose_4 @ k.permute(0, 2, 3, 1) / math.sqrt(12)  # [batches_n, 4, 32, 32]
        share = softmax(torch.where(inside_2, score_2, -torch.inf), (3,))  # [batches_n, 4, 32, 32]  prelude.lee:122
        mixed_2 = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, 32, 4, 12]  nn.lee:337
        reshape_2_2 = mixed_2.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]  nn.lee:367
        # [32 * batches_n, 48]  nn.lee:21
        output_out_2 = torch.addmm(
            encoder_blocks_1_attention_output_b, reshape_2_2, encoder_blocks_1_attention_output_w
        )
        # [32 * batches_n, 48]  bert.lee:30
        reshape_2 = (x_2 + output_out_2.reshape(batches_n, 32, 48)).reshape(32 * batches_n, 48)
        # [32 * batches_n, 48]  nn.lee:197
        normalise_3 = torch.nn.functional.layer_norm(reshape_2, (48,), eps=self.net.encoder.blocks[1].norm1.eps)
        norm1_out = normalise_3 * encoder_blocks_1_norm1_gamma + encoder_blocks_1_norm1_beta  # [32 * batches_n, 48]
        # [32 * batches_n, 192]  nn.lee:21
        up_out_2 = torch.addmm(encoder_blocks_1_up_b, norm1_out, encoder_blocks_1_up_w)
        reshape_2_3 = up_out_2.reshape(batches_n, 32, 192)  # [batches_n, 32, 192]  bert.lee:31
        reshape_3_3 = torch.nn.functional.gelu(reshape_2_3).reshape(32 * batches_n, 192)  # [32 * batches_n, 192]
        # [32 * batches_n, 48]  nn.lee:21
        down_out_2 = torch.addmm(encoder_blocks_1_down_b, reshape_3_3, encoder_blocks_1_down_w)
        reshape_4_3 = down_out_2.reshape(batches_n, 32, 48)  # [batches_n, 32, 48]  bert.lee:31
        add_2_3 = norm1_out.reshape(batches_n, 32, 48) + reshape_4_3  # [batches_n, 32, 48]
        reshape_5_2_2 = add_2_3.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]
        # [32 * batches_n, 48]  nn.lee:197
        normalise_4 = torch.nn.functional.layer_norm(reshape_5_2_2, (48,), eps=self.net.encoder.blocks[1].norm2.eps)
        norm2_out_2 = normalise_4 * encoder_blocks_1_norm2_gamma + encoder_blocks_1_norm2_beta  # [32 * batches_n, 48]
        ends_out = torch.addmm(ends_b, norm2_out_2, ends_w)  # [32 * batches_n, 2]  nn.lee:21
        reshape_3 = lt_2_2[:, :, None]  # bool[batches_n, 32, 1]  bert.lee:141
        z_2 = torch.where(reshape_3, ends_out.reshape(batches_n, 32, 2), -torch.inf)  # [batches_n, 32, 2]
        a = z_2[:, :, 0]  # [batches_n, 32]  bert.lee:142
        b_14 = z_2[:, :, 1]  # [batches_n, 32]
        select = torch.where(lt_2_2, a, -torch.inf)  # [batches_n, 32]  bert.lee:147
        b_2_2 = torch.arange(batches_n, device=tokens.device)  # int[batches_n]
        sum_ = (torch.logsumexp(select, dim=1) - a[b_2_2, first]).sum()  # bert.lee:148
        select_2 = torch.where(lt_2_2, b_14, -torch.inf)  # [batches_n, 32]  bert.lee:147
        sum_2 = (torch.logsumexp(select_2, dim=1) - b_14[b_2_2, last]).sum()  # bert.lee:148
        neg = -(0.5 / batches_n)  # bert.lee:147
        d_gather = torch.full((batches_n,), neg, dtype=FLOAT, device=tokens.device)  # [batches_n]
        d_z_2 = scatter_add(d_gather, (b_2_2, last), (batches_n, 32))  # [batches_n, 32]
        d_z_2_2 = scatter_add(d_gather, (b_2_2, first), (batches_n, 32))  # [batches_n, 32]
        d_a = d_z_2_2 + masked(scale * softmax(select, (1,)), lt_2_2)  # [batches_n, 32]
        d_b_14 = d_z_2 + masked(scale * softmax(select_2, (1,)), lt_2_2)  # [batches_n, 32]
        d_z = masked(torch.stack((d_a, d_b_14), dim=2), reshape_3)  # [batches_n, 32, 2]  bert.lee:141
        d_ends_out = d_z.reshape(32 * batches_n, 2)  # [32 * batches_n, 2]  bert.lee:140
        torch.sum(d_ends_out, dim=0, out=d_ends_b)  # [2]  nn.lee:21
        d_reshape = d_ends_out @ ends_w.T  # [32 * batches_n, 48]
        torch.mm(norm2_out_2.T, d_ends_out, out=d_ends_w)  # [48, 2]
        torch.sum(d_reshape, dim=0, out=d_encoder_blocks_1_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_reshape * normalise_4, dim=0, out=d_encoder_blocks_1_norm2_gamma)  # [48]
        d_normalise = d_reshape * encoder_blocks_1_norm2_gamma  # [32 * batches_n, 48]
        # [32 * batches_n, 48]
        d_reshape_5_2 = normalise_gradient(d_normalise, reshape_5_2_2, (48,), self.net.encoder.blocks[1].norm2.eps)
        torch.sum(d_reshape_5_2, dim=0, out=d_encoder_blocks_1_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_3.T, d_reshape_5_2, out=d_encoder_blocks_1_down_w)  # [192, 48]
        d_reshape_3 = d_reshape_5_2 @ encoder_blocks_1_down_w.T  # [32 * batches_n, 192]
        d_mul_2 = d_reshape_3.reshape(batches_n, 32, 192)  # [batches_n, 32, 192]  bert.lee:31
        d_reshape_2 = torch.ops.aten.gelu_backward(d_mul_2, reshape_2_3)  # [batches_n, 32, 192]  prelude.lee:113
        d_up_out = d_reshape_2.reshape(32 * batches_n, 192)  # [32 * batches_n, 192]  bert.lee:31
        torch.sum(d_up_out, dim=0, out=d_encoder_blocks_1_up_b)  # [192]  nn.lee:21
        torch.mm(norm1_out.T, d_up_out, out=d_encoder_blocks_1_up_w)  # [48, 192]
        d_norm1_out = d_up_out @ encoder_blocks_1_up_w.T + d_reshape_5_2  # [32 * batches_n, 48]  bert.lee:30
        torch.sum(d_norm1_out, dim=0, out=d_encoder_blocks_1_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out * normalise_3, dim=0, out=d_encoder_blocks_1_norm1_gamma)  # [48]
        d_normalise_2 = d_norm1_out * encoder_blocks_1_norm1_gamma  # [32 * batches_n, 48]
        # [32 * batches_n, 48]
        d_reshape_4 = normalise_gradient(d_normalise_2, reshape_2, (48,), self.net.encoder.blocks[1].norm1.eps)
        torch.sum(d_reshape_4, dim=0, out=d_encoder_blocks_1_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2.T, d_reshape_4, out=d_encoder_blocks_1_attention_output_w)  # [48, 48]
        d_reshape_2_2 = d_reshape_4 @ encoder_blocks_1_attention_output_w.T  # [32 * batches_n, 48]
        # [batches_n, 4, 32, 12]  nn.lee:337
        transpose_7 = d_reshape_2_2.reshape(batches_n, 32, 4, 12).permute(0, 2, 1, 3)
        d_share = transpose_7 @ v.permute(0, 2, 3, 1)  # [batches_n, 4, 32, 32]
        sub = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [batches_n, 4, 32, 32]  prelude.lee:122
        d_contract = masked(share * sub / math.sqrt(12), inside_2)  # [batches_n, 4, 32, 32]  nn.lee:335
        # [32 * batches_n, 48]  nn.lee:366
        d_value_out = (share.mT @ transpose_7).permute(0, 2, 1, 3).reshape(32 * batches_n, 48)
        torch.sum(d_value_out, dim=0, out=d_encoder_blocks_1_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm2_out.T, d_value_out, out=d_encoder_blocks_1_attention_value_w)  # [48, 48]
        d_k = (d_contract.mT @ transpose_4).permute(0, 2, 1, 3)  # [batches_n, 32, 4, 12]  nn.lee:335
        d_key_out = d_k.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]  nn.lee:365
        torch.sum(d_key_out, dim=0, out=d_encoder_blocks_1_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm2_out.T, d_key_out, out=d_encoder_blocks_1_attention_key_w)  # [48, 48]
        d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, 32, 4, 12]  nn.lee:335
        d_query_out = d_q.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]  nn.lee:364
        torch.sum(d_query_out, dim=0, out=d_encoder_blocks_1_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm2_out.T, d_query_out, out=d_encoder_blocks_1_attention_query_w)  # [48, 48]
        d_x_flat_2 = d_value_out @ encoder_blocks_1_attention_value_w.T  # [32 * batches_n, 48]
        d_x_flat_5 = d_x_flat_2 + d_key_out @ encoder_blocks_1_attention_key_w.T  # [32 * batches_n, 48]  nn.lee:364
        d_x_flat_4 = d_query_out @ encoder_blocks_1_attention_query_w.T  # [32 * batches_n, 48]  nn.lee:21
        d_x_3 = (d_x_flat_5 + d_x_flat_4).reshape(batches_n, 32, 48)  # [batches_n, 32, 48]  nn.lee:364
        # [32 * batches_n, 48]  bert.lee:31
        d_norm2_out_2 = (d_reshape_4.reshape(batches_n, 32, 48) + d_x_3).reshape(32 * batches_n, 48)
        torch.sum(d_norm2_out_2, dim=0, out=d_encoder_blocks_0_norm2_beta)  # [48]  nn.lee:197
        torch.sum(d_norm2_out_2 * normalise_2, dim=0, out=d_encoder_blocks_0_norm2_gamma)  # [48]
        d_normalise_3 = d_norm2_out_2 * encoder_blocks_0_norm2_gamma  # [32 * batches_n, 48]
        # [32 * batches_n, 48]
        d_reshape_5_3 = normalise_gradient(d_normalise_3, reshape_5_3, (48,), self.net.encoder.blocks[0].norm2.eps)
        torch.sum(d_reshape_5_3, dim=0, out=d_encoder_blocks_0_down_b)  # [48]  nn.lee:21
        torch.mm(reshape_3_2.T, d_reshape_5_3, out=d_encoder_blocks_0_down_w)  # [192, 48]
        d_reshape_3_2 = d_reshape_5_3 @ encoder_blocks_0_down_w.T  # [32 * batches_n, 192]
        d_mul_2_2 = d_reshape_3_2.reshape(batches_n, 32, 192)  # [batches_n, 32, 192]  bert.lee:31
        d_reshape_2_3 = torch.ops.aten.gelu_backward(d_mul_2_2, reshape_2_4)  # [batches_n, 32, 192]  prelude.lee:113
        d_up_out_2 = d_reshape_2_3.reshape(32 * batches_n, 192)  # [32 * batches_n, 192]  bert.lee:31
        torch.sum(d_up_out_2, dim=0, out=d_encoder_blocks_0_up_b)  # [192]  nn.lee:21
        torch.mm(norm1_out_2.T, d_up_out_2, out=d_encoder_blocks_0_up_w)  # [48, 192]
        d_norm1_out_3 = d_up_out_2 @ encoder_blocks_0_up_w.T + d_reshape_5_3  # [32 * batches_n, 48]  bert.lee:30
        torch.sum(d_norm1_out_3, dim=0, out=d_encoder_blocks_0_norm1_beta)  # [48]  nn.lee:197
        torch.sum(d_norm1_out_3 * normalise_2_2, dim=0, out=d_encoder_blocks_0_norm1_gamma)  # [48]
        d_normalise_2_2 = d_norm1_out_3 * encoder_blocks_0_norm1_gamma  # [32 * batches_n, 48]
        # [32 * batches_n, 48]
        d_reshape_4_2 = normalise_gradient(d_normalise_2_2, reshape_6_2, (48,), self.net.encoder.blocks[0].norm1.eps)
        torch.sum(d_reshape_4_2, dim=0, out=d_encoder_blocks_0_attention_output_b)  # [48]  nn.lee:21
        torch.mm(reshape_2_2_2.T, d_reshape_4_2, out=d_encoder_blocks_0_attention_output_w)  # [48, 48]
        d_reshape_2_2_2 = d_reshape_4_2 @ encoder_blocks_0_attention_output_w.T  # [32 * batches_n, 48]
        # [batches_n, 4, 32, 12]  nn.lee:337
        transpose_12 = d_reshape_2_2_2.reshape(batches_n, 32, 4, 12).permute(0, 2, 1, 3)
        d_share_2 = transpose_12 @ v_2_3.permute(0, 2, 3, 1)  # [batches_n, 4, 32, 32]
        sub_2 = d_share_2 - (d_share_2 * share_2).sum(dim=3, keepdim=True)  # [batches_n, 4, 32, 32]  prelude.lee:122
        d_contract_2 = masked(share_2 * sub_2 / math.sqrt(12), inside_2)  # [batches_n, 4, 32, 32]  nn.lee:335
        # [32 * batches_n, 48]  nn.lee:366
        d_value_out_2 = (share_2.mT @ transpose_12).permute(0, 2, 1, 3).reshape(32 * batches_n, 48)
        torch.sum(d_value_out_2, dim=0, out=d_encoder_blocks_0_attention_value_b)  # [48]  nn.lee:21
        torch.mm(norm_out.T, d_value_out_2, out=d_encoder_blocks_0_attention_value_w)  # [48, 48]
        d_k_2 = (d_contract_2.mT @ transpose).permute(0, 2, 1, 3)  # [batches_n, 32, 4, 12]  nn.lee:335
        d_key_out_2 = d_k_2.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]  nn.lee:365
        torch.sum(d_key_out_2, dim=0, out=d_encoder_blocks_0_attention_key_b)  # [48]  nn.lee:21
        torch.mm(norm_out.T, d_key_out_2, out=d_encoder_blocks_0_attention_key_w)  # [48, 48]
        d_q_2 = (d_contract_2 @ k_2.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, 32, 4, 12]  nn.lee:335
        d_query_out_2 = d_q_2.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]  nn.lee:364
        torch.sum(d_query_out_2, dim=0, out=d_encoder_blocks_0_attention_query_b)  # [48]  nn.lee:21
        torch.mm(norm_out.T, d_query_out_2, out=d_encoder_blocks_0_attention_query_w)  # [48, 48]
        d_x_flat_2_2 = d_value_out_2 @ encoder_blocks_0_attention_value_w.T  # [32 * batches_n, 48]
        d_x_flat_3_2 = d_key_out_2 @ encoder_blocks_0_attention_key_w.T  # [32 * batches_n, 48]
        d_x_flat_4_2 = d_query_out_2 @ encoder_blocks_0_attention_query_w.T  # [32 * batches_n, 48]
        d_x_flat_6 = d_x_flat_2_2 + d_x_flat_3_2 + d_x_flat_4_2  # [32 * batches_n, 48]  nn.lee:364
        d_add_3 = d_reshape_4_2.reshape(batches_n, 32, 48)  # [batches_n, 32, 48]  bert.lee:30
        d_x = d_add_3 + d_x_flat_6.reshape(batches_n, 32, 48)  # [batches_n, 32, 48]
        d_norm_out = d_x.reshape(32 * batches_n, 48)  # [32 * batches_n, 48]  bert.lee:44
        torch.sum(d_norm_out, dim=0, out=d_encoder_norm_beta)  # [48]  nn.lee:197
        torch.sum(d_norm_out * normalise, dim=0, out=d_encoder_norm_gamma)  # [48]
        d_normalise_4 = d_norm_out * encoder_norm_gamma  # [32 * batches_n, 48]
        # [32 * batches_n, 48]
        d_reshape_5_4 = normalise_gradient(d_normalise_4, reshape_5_2, (48,), self.net.encoder.norm.eps)
        d_position_out = d_reshape_5_4.reshape(batches_n, 32, 48).sum(dim=0)  # [32, 48]  bert.lee:44
        d_encoder_position_table.copy_(scatter_add(d_position_out, (iota,), (32, 48)))  # [32, 48]  bert.lee:18
        d_encoder_segment_table.copy_(scatter_add(d_reshape_5_4, (part_flat,), (2, 48)))  # [2, 48]
        d_encoder_token_table.copy_(scatter_add(d_reshape_5_4, (tokens_flat,), (data_vocab, 48)))  # [data_vocab, 48]
        beta1 = self.slow.beta1
        beta2 = self.slow.beta2
        eps = self.slow.eps
        weight_decay = self.slow.weight_decay
        clip = self.slow.clip
        g_all = self.vectors[0].gradient
        sum_3 = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_3)
        add = sqrt_ + 1e-6
        div = clip / add
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v_, s0 in self.blocks[0]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v_, lr, beta1, beta2, eps, weight_decay, t)
        beta1 = self.fast.beta1
        beta2 = self.fast.beta2
        eps = self.fast.eps
        weight_decay = self.fast.weight_decay
        clip = self.fast.clip
        g_all = self.vectors[1].gradient
        sum_3 = g_all.dot(g_all)
        sqrt_ = torch.sqrt(sum_3)
        add = sqrt_ + 1e-6
        div = clip / add
        minimum = torch.where(1 <= div, 1, div)
        for θ, g, m, v_, s0 in self.blocks[1]:
            torch.mul(g, minimum, out=s0)
            adamw_(θ, s0, m, v_, lr_, beta1, beta2, eps, weight_decay, t_)
        return (sum_ / count + sum_2 / count) / 2  # bert.lee:154


def finetune_i_j(net, v_tokens, v_part, v_lengths):
    """v_tokens int[data_valid_n, 32], v_part int[data_valid_n, 32], v_lengths int[data_valid_n] ->
    int[data_valid_n], int[data_valid_n]
    """
    a, b = net(v_tokens, v_part, v_lengths)  # bert.lee:192
    i, j = best_span(a, b)  # bert.lee:193
    return i, j


def example_hidden(key):
    net = MaskedLM_2(11, 8, 2, 8, key=fold(key, SITES["net"]))  # bert.lee:202
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 10)  # int[3, 6]  bert.lee:203
    part = randint(fold(key, SITES["part"]), (3, 6), 0, 2)  # int[3, 6]  bert.lee:204
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 7)  # int[3]  bert.lee:205
    shown, picked = corrupt(tokens, lengths, 11, 10, fold(key, SITES["corrupt"]))  # bert.lee:206
    value, saved_recovered = recovered_saved(net, tokens, shown, picked, part, lengths)  # bert.lee:207
    d_value = torch.ones((), dtype=FLOAT)
    d_net = recovered_backward(net, tokens, shown, picked, part, saved_recovered, d_value)
    return value, net.at(d_net)


def example_covered(key):
    tokens = randint(fold(key, SITES["tokens"]), (100, 60), 0, 20)  # int[100, 60]  bert.lee:211
    lengths = randint(fold(key, SITES["lengths"]), (100,), 1, 61)  # int[100]  bert.lee:212
    pick = uniform(fold(key, SITES["pick"]), (100, 60), FLOAT)  # [100, 60]  bert.lee:213
    kind_ = uniform(fold(key, SITES["kind"]), (100, 60), FLOAT)  # [100, 60]  bert.lee:214
    other = randint(fold(key, SITES["other"]), (100, 60), 0, 21)  # int[100, 60]  bert.lee:215
    value, value_1 = hide(tokens, lengths, pick, kind_, other, 20)  # bert.lee:216
    return value, value_1


def example_classified(key):
    self_ = Bert_3(11, 8, 2, 8, key=fold(key, SITES["net"]))  # bert.lee:220
    net = Classifier(self_, 3, key=fold(key, SITES["net#2"]))
    tokens = randint(fold(key, SITES["tokens"]), (4, 6), 0, 11)  # int[4, 6]  bert.lee:221
    part = randint(fold(key, SITES["part"]), (4, 6), 0, 2)  # int[4, 6]  bert.lee:222
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 7)  # int[4]  bert.lee:223
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  bert.lee:224
    d_c, saved_net = net.forward_saved(tokens, part, lengths)  # bert.lee:225
    d_net = net.forward_backward(tokens, part, saved_net, 8, 11, c)
    return (c * d_c).sum(), net.at(d_net), d_c


def example_in_order(key):
    self_ = Bert_4(11, 8, 2, 8, key=fold(key, SITES["net"]))  # bert.lee:229
    net = Classifier_2(self_, 2, key=fold(key, SITES["net#2"]))
    tokens = randint(fold(key, SITES["tokens"]), (4, 6), 0, 11)  # int[4, 6]  bert.lee:230
    part = randint(fold(key, SITES["part"]), (4, 6), 0, 2)  # int[4, 6]  bert.lee:231
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 7)  # int[4]  bert.lee:232
    y = randint(fold(key, SITES["y"]), (4,), 0, 2)  # int[4]  bert.lee:233
    value, saved_follows = follows_saved(net, tokens, part, lengths, y)  # bert.lee:234
    d_value = torch.ones((), dtype=FLOAT)
    d_net = follows_backward(net, tokens, part, y, saved_follows, 8, 11, d_value)
    return value, net.at(d_net)


def example_tagged(key):
    self_ = Bert_4(11, 8, 2, 8, key=fold(key, SITES["net"]))  # bert.lee:238
    net = Tagger(self_, 3, key=fold(key, SITES["net#2"]))
    tokens = randint(fold(key, SITES["tokens"]), (4, 6), 0, 11)  # int[4, 6]  bert.lee:239
    part = randint(fold(key, SITES["part"]), (4, 6), 0, 2)  # int[4, 6]  bert.lee:240
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 7)  # int[4]  bert.lee:241
    y = randint(fold(key, SITES["y"]), (4, 6), 0, 3)  # int[4, 6]  bert.lee:242
    value, saved_tagging = tagging_saved(net, tokens, part, lengths, y)  # bert.lee:243
    d_value = torch.ones((), dtype=FLOAT)
    d_net = tagging_backward(net, tokens, part, y, saved_tagging, 8, 11, d_value)
    return value, net.at(d_net)


def example_asked(key):
    self_ = Bert_3(11, 8, 2, 8, key=fold(key, SITES["net"]))  # bert.lee:247
    net = Reader(self_, key=fold(key, SITES["net#2"]))
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 11)  # int[3, 6]  bert.lee:248
    part = randint(fold(key, SITES["part"]), (3, 6), 0, 2)  # int[3, 6]  bert.lee:249
    lengths = randint(fold(key, SITES["lengths"]), (3,), 4, 7)  # int[3]  bert.lee:250
    first = randint(fold(key, SITES["first"]), (3,), 0, 4)  # int[3]  bert.lee:251
    last = randint(fold(key, SITES["last"]), (3,), 0, 4)  # int[3]  bert.lee:252
    value, saved_span = span_saved(net, tokens, part, lengths, first, last)  # bert.lee:253
    d_value = torch.ones((), dtype=FLOAT)
    d_net = span_backward(net, tokens, part, first, last, saved_span, 8, 11, d_value)
    return value, net.at(d_net)


def example_answered(key):
    first = normal(fold(key, SITES["first"]), (200, 20), FLOAT)  # [200, 20]  bert.lee:257
    last = normal(fold(key, SITES["last"]), (200, 20), FLOAT)  # [200, 20]  bert.lee:258
    value, value_1 = best_span(first, last)  # bert.lee:259
    return value, value_1


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced_2(surprise)  # losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_out)  # [rows]
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


def reduced_2(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_2_backward(each_0, d_y):
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


def padding_mask(lengths, time):
    """True at the positions before each length.

    lengths int[n] -> bool[n, 1, 1, time]
    """
    lt = torch.arange(time, device=lengths.device) < lengths[:, None]  # bool[n, time]  nn.lee:343
    inside = lt[:, None, None]  # bool[n, 1, 1, time]
    return inside  # bool[n, 1, 1, time]


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
    return torch.nn.functional.gelu(x)  # [x_0, x_1, x_2]  prelude.lee:113


def gelu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return 0.5 * x * (1 + erf(x / sqrt(2)))   prelude.lee:113
    d_x = torch.ops.aten.gelu_backward(d_y, x)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return sqrt((x**2).sum())  # prelude.lee:163


def warmup_linear(peak, warmup, total, t):
    """Up to the peak in `warmup` updates, then down to 0 along a line."""
    ramp = peak * t / warmup  # schedules.lee:53
    fall = peak * float(max((total - t) / (total - warmup), 0))  # schedules.lee:54
    return ramp if t < warmup else fall  # schedules.lee:55


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "blocks.0": 0x6CE3212D64C10C6D,
    "blocks.1": 0xD0D0BD5FB969D595,
    "c": 0x1B2C07CD64633F37,
    "change": 0x18ED08D5759AC95E,
    "corrupt": 0x8CAA74165F60A197,
    "down": 0x672F5B678D49ED61,
    "encoder": 0x651C9E989B434403,
    "ends": 0xC5BD593B09217EE1,
    "first": 0xA31DFC4F51C2A8A2,
    "head": 0xBD7890018BD219D5,
    "key": 0xF54CA9C3ADCC7CCE,
    "kind": 0x59F77F5C0BDD245A,
    "last": 0x840C26AC856B94B1,
    "lengths": 0xDE00C8960E49C03F,
    "masked_lm": 0x43261D4CE906259B,
    "masked_lm#2": 0xA783A714E0F8651E,
    "net": 0xF087C76970C91612,
    "net#2": 0x59EFC03AB2BE3D0C,
    "other": 0xAF93053850CE50D6,
    "output": 0x02DE2253159F1835,
    "part": 0xE4F808109F8B917C,
    "pick": 0x35CADA6132A6B8E7,
    "pool": 0x64830E61854004AA,
    "position": 0xB1E70806EEF9B6AE,
    "query": 0x0368BD6C66AB1F7B,
    "segment": 0xE6129885B6DDCC87,
    "table": 0x4F51E0D95EBC91EB,
    "token": 0x749B6B869AC2013F,
    "tokens": 0x0C6CD902DB662605,
    "up": 0xDD49F622B87D879F,
    "value": 0x196B9BE45174F330,
    "w": 0x20925082A2286B9E,
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
