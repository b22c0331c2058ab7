"""From one sequence to another (inventory F16-F21, G26): an encoder reads everything, a decoder writes word by word.

Sequences end with a word of their own, `end`; what stands behind it is no part of them. The decoder's first input is
`start`.

Made from specs/recurrent/seq2seq.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/recurrent/seq2seq.lee
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


class Encoder(Model):
    """All of the input in one vector: the state behind the last word."""

    members = ("read", "rnn")

    def __init__(self, vocab, d, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d = vocab, d
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # seq2seq.lee:18
        self.rnn = GRU(d, d, key=fold(key, SITES["rnn"]))  # seq2seq.lee:19

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, d]"""
        n, time = x.shape
        h = self.rnn(self.read(x.reshape(n * time)).reshape(n, time, self.d))  # [n, time, d]  seq2seq.lee:22
        last = h[torch.arange(n, device=x.device), lengths - 1]  # [n, d]  seq2seq.lee:23
        return last  # [n, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  seq2seq.lee:22
        h, saved_rnn = self.rnn.forward_saved(reshape_2)
        sub = lengths - 1  # int[n]  seq2seq.lee:23
        last = h[torch.arange(n, device=x.device), sub]  # [n, d]
        return last, (reshape_2, saved_rnn, sub)

    def forward_backward(self, x, saved, d_mul):
        """From d_mul to the gradient by the parameters."""
        reshape_2, saved_rnn, sub = saved
        n, time = x.shape
        # gradient of last[r, j] = h[r, lengths[r] - 1, j]   seq2seq.lee:23
        r = torch.arange(n, device=x.device)  # int[n]
        d_h = scatter_add(d_mul, (r, sub), (n, time, self.d))  # [n, time, d]
        # gradient of h = rnn(read(x))   seq2seq.lee:22
        d_rnn, d_reshape_2 = self.rnn.forward_backward(reshape_2, saved_rnn, d_h)
        d_read_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "rnn": d_rnn}


class Decoder(Model):
    """Its state begins as what the encoder hands over; every word depends on the words before it."""

    members = ("write", "cell", "head")

    def __init__(self, vocab, d, start=1, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.start = vocab, d, start
        self.write = Embedding(vocab, d, key=fold(key, SITES["write"]))  # seq2seq.lee:29
        self.cell = GRUCell(d, d, key=fold(key, SITES["cell"]))  # seq2seq.lee:30
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # seq2seq.lee:31

    def forward_step(self, h, word, y_t):
        """h [n, d], word int[n], y_t int[n] -> [n, d], int[n], [n, vocab]"""
        h_2 = self.cell(self.write(word), h)  # [n, d]  seq2seq.lee:37
        return h_2, y_t, self.head(h_2)  # seq2seq.lee:38

    def forward_step_saved(self, h, word, y_t):
        """As forward_step, and what its gradient needs."""
        write_out = self.write(word)  # [n, d]  seq2seq.lee:37
        h_2, saved_cell = self.cell.forward_saved(write_out, h)
        return h_2, y_t, self.head(h_2), (write_out, saved_cell, h, word, h_2)  # seq2seq.lee:38

    def forward_step_backward(self, saved, d_h_2, d_out, d_self):
        """From d_h_2, d_out and d_self to the gradients by h, the parameters, cell.b, cell.c and head.b."""
        write_out, saved_cell, h, word, h_2 = saved
        # gradient of out[:, t] = head(h)   seq2seq.lee:38
        d_head, d_h_2_3 = self.head.forward_backward(h_2, d_out)
        # gradient of h = cell(write(word), h)   seq2seq.lee:37
        d_h_2_2 = d_h_2 + d_h_2_3  # [n, d]
        d_cell, d_write_out, d_h = self.cell.forward_backward(write_out, h, saved_cell, d_h_2_2)
        d_write = Embedding.forward_backward(word, self.vocab, d_write_out)
        # gradient of out[:, t] = head(h)   seq2seq.lee:38
        return (
            d_h,
            {
                "write": {"table": d_self["write"]["table"] + d_write["table"]},
                "cell": {"w": d_self["cell"]["w"] + d_cell["w"], "u": d_self["cell"]["u"] + d_cell["u"]},
                "head": {"w": d_self["head"]["w"] + d_head["w"]},
            },
            d_cell["b"],
            d_cell["c"],
            d_head["b"],
        )

    def forward(self, state, y):
        """state [n, d], y int[n, length] -> [n, length, vocab]"""
        n = state.shape[0]
        length = y.shape[1]
        word = torch.full((n,), self.start, dtype=torch.int64, device=state.device)  # int[n]  seq2seq.lee:35
        out = [None] * length  # seq2seq.lee:36
        for t in range(length):
            state, word, out[t] = self.forward_step(state, word, y[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, length, self.vocab), dtype=FLOAT, device=state.device)
        return out  # [n, length, vocab]

    def forward_saved(self, state, y):
        """As forward, and what its gradient needs."""
        n = state.shape[0]
        length = y.shape[1]
        word = torch.full((n,), self.start, dtype=torch.int64, device=state.device)  # int[n]  seq2seq.lee:35
        out = [None] * length  # seq2seq.lee:36
        saved_forward_step = [None] * length
        for t in range(length):
            state, word, out[t], saved_forward_step[t] = self.forward_step_saved(state, word, y[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, length, self.vocab), dtype=FLOAT, device=state.device)
        return out, saved_forward_step

    def forward_backward(self, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and state."""
        n, length, _ = d_out.shape
        # gradient of for t in length:   seq2seq.lee:36
        d_write_table_2 = torch.zeros((self.vocab, self.d), dtype=FLOAT, device=d_out.device)  # [vocab, d]
        d_cell_w_2 = torch.zeros((self.d, 3 * self.d), dtype=FLOAT, device=d_out.device)  # [d, 3 * d]
        d_head_w_2 = torch.zeros((self.d, self.vocab), dtype=FLOAT, device=d_out.device)  # [d, vocab]
        d_h_2 = torch.zeros((n, self.d), dtype=FLOAT, device=d_out.device)  # [n, d]
        d_self = {
            "write": {"table": d_write_table_2},
            "cell": {"w": d_cell_w_2, "u": d_cell_w_2},
            "head": {"w": d_head_w_2},
        }
        d_cell_b_rows = [None] * length
        d_cell_c_rows = [None] * length
        d_head_b_rows = [None] * length
        for t in reversed(range(length)):
            d_h_2, d_self, d_cell_b_rows[t], d_cell_c_rows[t], d_head_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], d_h_2, d_out[:, t], d_self
            )
        d_cell_b_rows = (
            torch.stack(d_cell_b_rows, 0)
            if d_cell_b_rows
            else torch.zeros((length, 3 * self.d), dtype=FLOAT, device=d_out.device)
        )
        d_cell_c_rows = (
            torch.stack(d_cell_c_rows, 0)
            if d_cell_c_rows
            else torch.zeros((length, self.d), dtype=FLOAT, device=d_out.device)
        )
        d_head_b_rows = (
            torch.stack(d_head_b_rows, 0)
            if d_head_b_rows
            else torch.zeros((length, self.vocab), dtype=FLOAT, device=d_out.device)
        )
        d_cell_b = d_cell_b_rows.sum(dim=0)  # [3 * d]
        d_cell_c = d_cell_c_rows.sum(dim=0)  # [d]
        d_head_b = d_head_b_rows.sum(dim=0)  # [vocab]
        return {
            "write": d_self["write"],
            "cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b, "c": d_cell_c},
            "head": {"w": d_self["head"]["w"], "b": d_head_b},
        }, d_h_2


class ContextDecoder(Model):
    """What the encoder hands over is seen at every step, beside the word before (Cho et al. 2014)."""

    members = ("write", "cell", "head")

    def __init__(self, vocab, d, start=1, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.start = vocab, d, start
        self.write = Embedding(vocab, d, key=fold(key, SITES["write"]))  # seq2seq.lee:45
        self.cell = GRUCell(2 * d, d, key=fold(key, SITES["cell"]))  # seq2seq.lee:46
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # seq2seq.lee:47

    def forward_step(self, h, word, y_t, state):
        """h [n, d], word int[n], y_t int[n], state [n, d] -> [n, d], int[n], [n, vocab]"""
        h_2 = self.cell(torch.cat((self.write(word), state), dim=1), h)  # [n, d]  seq2seq.lee:53
        return h_2, y_t, self.head(h_2)  # seq2seq.lee:54

    def forward_step_saved(self, h, word, y_t, state):
        """As forward_step, and what its gradient needs."""
        concat = torch.cat((self.write(word), state), dim=1)  # [n, 2 * d]  seq2seq.lee:53
        h_2, saved_cell = self.cell.forward_saved(concat, h)
        return h_2, y_t, self.head(h_2), (concat, saved_cell, h, word, h_2)  # seq2seq.lee:54

    def forward_step_backward(self, saved, d_h_2, d_out, d_self, d_state):
        """From d_h_2, d_out, d_self and d_state to the gradients by h, the parameters, state, cell.b, cell.c and head.b."""
        concat, saved_cell, h, word, h_2 = saved
        # gradient of out[:, t] = head(h)   seq2seq.lee:54
        d_head, d_h_2_3 = self.head.forward_backward(h_2, d_out)
        # gradient of h = cell(concat(write(word), state, axis = 1), h)   seq2seq.lee:53
        d_h_2_2 = d_h_2 + d_h_2_3  # [n, d]
        d_cell, d_concat, d_h = self.cell.forward_backward(concat, h, saved_cell, d_h_2_2)
        d_state_ = d_concat[:, self.d :]  # [n, d]
        d_write = Embedding.forward_backward(word, self.vocab, d_concat[:, : self.d])
        return (
            d_h,
            {
                "write": {"table": d_self["write"]["table"] + d_write["table"]},
                "cell": {"w": d_self["cell"]["w"] + d_cell["w"], "u": d_self["cell"]["u"] + d_cell["u"]},
                "head": {"w": d_self["head"]["w"] + d_head["w"]},
            },
            d_state + d_state_,
            d_cell["b"],
            d_cell["c"],
            d_head["b"],
        )

    def forward(self, state, y):
        """state [n, d], y int[n, length] -> [n, length, vocab]"""
        n = state.shape[0]
        length = y.shape[1]
        word = torch.full((n,), self.start, dtype=torch.int64, device=state.device)  # int[n]  seq2seq.lee:51
        h = state  # seq2seq.lee:52
        out = [None] * length
        for t in range(length):
            h, word, out[t] = self.forward_step(h, word, y[:, t], state)
        out = torch.stack(out, 1) if out else torch.zeros((n, length, self.vocab), dtype=FLOAT, device=state.device)
        return out  # [n, length, vocab]

    def forward_saved(self, state, y):
        """As forward, and what its gradient needs."""
        n = state.shape[0]
        length = y.shape[1]
        word = torch.full((n,), self.start, dtype=torch.int64, device=state.device)  # int[n]  seq2seq.lee:51
        h = state  # seq2seq.lee:52
        out = [None] * length
        saved_forward_step = [None] * length
        for t in range(length):
            h, word, out[t], saved_forward_step[t] = self.forward_step_saved(h, word, y[:, t], state)
        out = torch.stack(out, 1) if out else torch.zeros((n, length, self.vocab), dtype=FLOAT, device=state.device)
        return out, saved_forward_step

    def forward_backward(self, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and state."""
        n, length, _ = d_out.shape
        # gradient of for t in length:   seq2seq.lee:52
        d_h = torch.zeros((n, self.d), dtype=FLOAT, device=d_out.device)  # [n, d]
        d_write_table_2 = torch.zeros((self.vocab, self.d), dtype=FLOAT, device=d_out.device)  # [vocab, d]
        d_cell_w_2 = torch.zeros((2 * self.d, 3 * self.d), dtype=FLOAT, device=d_out.device)  # [2 * d, 3 * d]
        d_cell_u_2 = torch.zeros((self.d, 3 * self.d), dtype=FLOAT, device=d_out.device)  # [d, 3 * d]
        d_head_w_2 = torch.zeros((self.d, self.vocab), dtype=FLOAT, device=d_out.device)  # [d, vocab]
        d_h_2 = d_h
        d_self = {
            "write": {"table": d_write_table_2},
            "cell": {"w": d_cell_w_2, "u": d_cell_u_2},
            "head": {"w": d_head_w_2},
        }
        d_state_later = d_h
        d_cell_b_rows = [None] * length
        d_cell_c_rows = [None] * length
        d_head_b_rows = [None] * length
        for t in reversed(range(length)):
            d_h_2, d_self, d_state_later, d_cell_b_rows[t], d_cell_c_rows[t], d_head_b_rows[t] = (
                self.forward_step_backward(saved_forward_step[t], d_h_2, d_out[:, t], d_self, d_state_later)
            )
        d_cell_b_rows = (
            torch.stack(d_cell_b_rows, 0)
            if d_cell_b_rows
            else torch.zeros((length, 3 * self.d), dtype=FLOAT, device=d_out.device)
        )
        d_cell_c_rows = (
            torch.stack(d_cell_c_rows, 0)
            if d_cell_c_rows
            else torch.zeros((length, self.d), dtype=FLOAT, device=d_out.device)
        )
        d_head_b_rows = (
            torch.stack(d_head_b_rows, 0)
            if d_head_b_rows
            else torch.zeros((length, self.vocab), dtype=FLOAT, device=d_out.device)
        )
        d_cell_b = d_cell_b_rows.sum(dim=0)  # [3 * d]
        d_cell_c = d_cell_c_rows.sum(dim=0)  # [d]
        d_head_b = d_head_b_rows.sum(dim=0)  # [vocab]
        d_state = d_h_2 + d_state_later  # [n, d]
        return {
            "write": d_self["write"],
            "cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b, "c": d_cell_c},
            "head": {"w": d_self["head"]["w"], "b": d_head_b},
        }, d_state


class EncoderDecoder(Model):
    """Any encoder and any decoder that agree on the state: decoder(encoder(x), y)."""

    members = ("encoder", "decoder")

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x, lengths, y):
        """x int[n, time], lengths int[n], y int[n, length] -> [n, length, decoder.vocab]"""
        n = x.shape[0]
        if self.decoder.d != self.encoder.d:
            raise ValueError(f"decoder.d = {self.decoder.d} must equal encoder.d = {self.encoder.d}")
        # [n, length, decoder.vocab]  seq2seq.lee:62
        out = self.decoder(self.encoder(x, lengths).reshape(n, self.decoder.d), y)
        return out  # [n, length, decoder.vocab]

    def forward_saved(self, x, lengths, y):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        if self.decoder.d != self.encoder.d:
            raise ValueError(f"decoder.d = {self.decoder.d} must equal encoder.d = {self.encoder.d}")
        mul, saved_encoder = self.encoder.forward_saved(x, lengths)  # seq2seq.lee:62
        out, saved_decoder = self.decoder.forward_saved(mul.reshape(n, self.decoder.d), y)
        return out, (saved_encoder, saved_decoder)

    def forward_backward(self, x, saved, decoder_start, encoder_vocab, d_out):
        """From d_out to the gradient by the parameters."""
        saved_encoder, saved_decoder = saved
        n = x.shape[0]
        # gradient of return decoder(encoder(x, lengths), y)   seq2seq.lee:62
        d_decoder, d_reshape = self.decoder.forward_backward(saved_decoder, d_out)
        d_mul = d_reshape.reshape(n, self.encoder.d)  # [n, encoder.d]
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_mul)
        return {"encoder": d_encoder, "decoder": d_decoder}


class StackedEncoder(Model):
    """Two layers of recurrence: the states of the upper one, and the last state of each."""

    members = ("read", "lower", "upper")

    def __init__(self, vocab, embed, hidden, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.embed, self.hidden = vocab, embed, hidden
        self.read = Embedding(vocab, embed, key=fold(key, SITES["read"]))  # seq2seq.lee:67
        self.lower = GRU(embed, hidden, key=fold(key, SITES["lower"]))  # seq2seq.lee:68
        self.upper = GRU(hidden, hidden, key=fold(key, SITES["upper"]))  # seq2seq.lee:69

    def forward(self, x):
        """x int[n, time] -> [time, n, hidden], [2, n, hidden]"""
        n, time = x.shape
        a = self.lower(self.read(x.reshape(n * time)).reshape(n, time, self.embed))  # [n, time, hidden]  seq2seq.lee:72
        b = self.upper(a)  # [n, time, hidden]  seq2seq.lee:73
        output = b.permute(1, 0, 2)  # [time, n, hidden]  seq2seq.lee:74
        reshape_2 = a[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]  seq2seq.lee:75
        reshape_3 = b[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]
        return output, torch.cat((reshape_2, reshape_3), dim=0)

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.embed)  # [n, time, embed]  seq2seq.lee:72
        a, saved_lower = self.lower.forward_saved(reshape_2)
        b, saved_upper = self.upper.forward_saved(a)  # seq2seq.lee:73
        output = b.permute(1, 0, 2)  # [time, n, hidden]  seq2seq.lee:74
        reshape = a[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]  seq2seq.lee:75
        reshape_3 = b[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]
        return output, torch.cat((reshape, reshape_3), dim=0), (reshape_2, a, saved_lower, saved_upper)

    def forward_backward(self, x, saved, d_output, d_y):
        """From d_output and d_y to the gradient by the parameters."""
        reshape_2, a, saved_lower, saved_upper = saved
        n, time = x.shape
        # gradient of return output, stack(a[:, -1], b[:, -1], axis = 0)   seq2seq.lee:75
        d_slice_2 = d_y[1:].reshape(n, 1, self.hidden)  # [n, 1, hidden]
        # [n, time, hidden]
        d_b_2 = unslice(d_slice_2, (n, time, self.hidden), (slice(0, n), slice(time - 1, time), slice(0, self.hidden)))
        d_slice = d_y[:1].reshape(n, 1, self.hidden)  # [n, 1, hidden]
        # [n, time, hidden]
        d_a_2 = unslice(d_slice, (n, time, self.hidden), (slice(0, n), slice(time - 1, time), slice(0, self.hidden)))
        # gradient of b = upper(a)   seq2seq.lee:73
        d_b = d_b_2 + d_output.permute(1, 0, 2)  # [n, time, hidden]
        d_upper, d_a_3 = self.upper.forward_backward(a, saved_upper, d_b)
        # gradient of a = lower(read(x))   seq2seq.lee:72
        d_a = d_a_2 + d_a_3  # [n, time, hidden]
        d_lower, d_reshape_2 = self.lower.forward_backward(reshape_2, saved_lower, d_a)
        d_read_out = d_reshape_2.reshape(n * time, self.embed)  # [n * time, embed]
        d_read = Embedding.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "lower": d_lower, "upper": d_upper}


def decoded_saved(net, state, y, own):
    """As decoded, and what its gradient needs."""
    n = state.shape[0]
    length = y.shape[1]
    word = torch.full((n,), net.start, dtype=torch.int64, device=state.device)  # int[n]  seq2seq.lee:84
    out = [None] * length  # seq2seq.lee:85
    saved_decoded_step = [None] * length
    for t in range(length):
        state, word, out[t], saved_decoded_step[t] = decoded_step_saved(net, state, word, y[:, t])
    out = torch.stack(out, 1) if out else torch.zeros((n, length, net.vocab), dtype=FLOAT, device=state.device)
    return out, saved_decoded_step


def decoded_backward(net, saved_decoded_step, d_out):
    """From d_out to the gradients by net and state."""
    n, length, _ = d_out.shape
    # gradient of for t in length:   seq2seq.lee:85
    d_net_write_table_2 = torch.zeros((net.vocab, net.d), dtype=FLOAT, device=d_out.device)  # [net.vocab, net.d]
    d_net_cell_w_2 = torch.zeros((net.d, 3 * net.d), dtype=FLOAT, device=d_out.device)  # [net.d, 3 * net.d]
    d_net_head_w_2 = torch.zeros((net.d, net.vocab), dtype=FLOAT, device=d_out.device)  # [net.d, net.vocab]
    d_h_2 = torch.zeros((n, net.d), dtype=FLOAT, device=d_out.device)  # [n, net.d]
    d_net = {
        "write": {"table": d_net_write_table_2},
        "cell": {"w": d_net_cell_w_2, "u": d_net_cell_w_2},
        "head": {"w": d_net_head_w_2},
    }
    d_net_cell_b_rows = [None] * length
    d_net_cell_c_rows = [None] * length
    d_net_head_b_rows = [None] * length
    for t in reversed(range(length)):
        d_h_2, d_net, d_net_cell_b_rows[t], d_net_cell_c_rows[t], d_net_head_b_rows[t] = decoded_step_backward(
            net, saved_decoded_step[t], d_h_2, d_out[:, t], d_net
        )
    d_net_cell_b_rows = (
        torch.stack(d_net_cell_b_rows, 0)
        if d_net_cell_b_rows
        else torch.zeros((length, 3 * net.d), dtype=FLOAT, device=d_out.device)
    )
    d_net_cell_c_rows = (
        torch.stack(d_net_cell_c_rows, 0)
        if d_net_cell_c_rows
        else torch.zeros((length, net.d), dtype=FLOAT, device=d_out.device)
    )
    d_net_head_b_rows = (
        torch.stack(d_net_head_b_rows, 0)
        if d_net_head_b_rows
        else torch.zeros((length, net.vocab), dtype=FLOAT, device=d_out.device)
    )
    d_net_cell_b = d_net_cell_b_rows.sum(dim=0)  # [3 * net.d]
    d_net_cell_c = d_net_cell_c_rows.sum(dim=0)  # [net.d]
    d_net_head_b = d_net_head_b_rows.sum(dim=0)  # [net.vocab]
    return {
        "write": d_net["write"],
        "cell": {"w": d_net["cell"]["w"], "u": d_net["cell"]["u"], "b": d_net_cell_b, "c": d_net_cell_c},
        "head": {"w": d_net["head"]["w"], "b": d_net_head_b},
    }, d_h_2


def decoded_2_saved(net, state, y, own):
    """As decoded_2, and what its gradient needs."""
    n = state.shape[0]
    length = y.shape[1]
    word = torch.full((n,), net.start, dtype=torch.int64, device=state.device)  # int[n]  seq2seq.lee:84
    out = [None] * length  # seq2seq.lee:85
    saved_decoded_step_2 = [None] * length
    for t in range(length):
        state, word, out[t], saved_decoded_step_2[t] = decoded_step_2_saved(net, state, word)
    out = torch.stack(out, 1) if out else torch.zeros((n, length, net.vocab), dtype=FLOAT, device=state.device)
    return out, saved_decoded_step_2


def decoded_2_backward(net, saved_decoded_step_2, d_out):
    """From d_out to the gradients by net and state."""
    n, length, _ = d_out.shape
    # gradient of for t in length:   seq2seq.lee:85
    d_net_write_table_2 = torch.zeros((net.vocab, net.d), dtype=FLOAT, device=d_out.device)  # [net.vocab, net.d]
    d_net_cell_w_2 = torch.zeros((net.d, 3 * net.d), dtype=FLOAT, device=d_out.device)  # [net.d, 3 * net.d]
    d_net_head_w_2 = torch.zeros((net.d, net.vocab), dtype=FLOAT, device=d_out.device)  # [net.d, net.vocab]
    d_h_2 = torch.zeros((n, net.d), dtype=FLOAT, device=d_out.device)  # [n, net.d]
    d_net = {
        "write": {"table": d_net_write_table_2},
        "cell": {"w": d_net_cell_w_2, "u": d_net_cell_w_2},
        "head": {"w": d_net_head_w_2},
    }
    d_net_cell_b_rows = [None] * length
    d_net_cell_c_rows = [None] * length
    d_net_head_b_rows = [None] * length
    for t in reversed(range(length)):
        d_h_2, d_net, d_net_cell_b_rows[t], d_net_cell_c_rows[t], d_net_head_b_rows[t] = decoded_step_2_backward(
            net, saved_decoded_step_2[t], d_h_2, d_out[:, t], d_net
        )
    d_net_cell_b_rows = (
        torch.stack(d_net_cell_b_rows, 0)
        if d_net_cell_b_rows
        else torch.zeros((length, 3 * net.d), dtype=FLOAT, device=d_out.device)
    )
    d_net_cell_c_rows = (
        torch.stack(d_net_cell_c_rows, 0)
        if d_net_cell_c_rows
        else torch.zeros((length, net.d), dtype=FLOAT, device=d_out.device)
    )
    d_net_head_b_rows = (
        torch.stack(d_net_head_b_rows, 0)
        if d_net_head_b_rows
        else torch.zeros((length, net.vocab), dtype=FLOAT, device=d_out.device)
    )
    d_net_cell_b = d_net_cell_b_rows.sum(dim=0)  # [3 * net.d]
    d_net_cell_c = d_net_cell_c_rows.sum(dim=0)  # [net.d]
    d_net_head_b = d_net_head_b_rows.sum(dim=0)  # [net.vocab]
    return {
        "write": d_net["write"],
        "cell": {"w": d_net["cell"]["w"], "u": d_net["cell"]["u"], "b": d_net_cell_b, "c": d_net_cell_c},
        "head": {"w": d_net["head"]["w"], "b": d_net_head_b},
    }, d_h_2


def decoded_3_saved(net, state, y, own):
    """As decoded_3, and what its gradient needs."""
    own_0 = state.shape[0]
    length = y.shape[1]
    word = torch.full((own_0,), net.start, dtype=torch.int64, device=state.device)  # int[own_0]  seq2seq.lee:84
    out = [None] * length  # seq2seq.lee:85
    saved_decoded_step_3 = [None] * length
    for t in range(length):
        state, word, out[t], saved_decoded_step_3[t] = decoded_step_3_saved(net, state, word, own[:, t], y[:, t])
    out = torch.stack(out, 1) if out else torch.zeros((own_0, length, net.vocab), dtype=FLOAT, device=state.device)
    return out, saved_decoded_step_3


def decoded_3_backward(net, saved_decoded_step_3, d_out):
    """From d_out to the gradients by net and state."""
    own_0, length, _ = d_out.shape
    # gradient of for t in length:   seq2seq.lee:85
    d_h = torch.zeros((own_0, net.d), dtype=FLOAT, device=d_out.device)  # [own_0, net.d]
    d_net_write_table_2 = torch.zeros((net.vocab, net.d), dtype=FLOAT, device=d_out.device)  # [net.vocab, net.d]
    d_net_cell_w_2 = torch.zeros((net.d, 3 * net.d), dtype=FLOAT, device=d_out.device)  # [net.d, 3 * net.d]
    d_net_head_w_2 = torch.zeros((net.d, net.vocab), dtype=FLOAT, device=d_out.device)  # [net.d, net.vocab]
    d_net = {
        "write": {"table": d_net_write_table_2},
        "cell": {"w": d_net_cell_w_2, "u": d_net_cell_w_2},
        "head": {"w": d_net_head_w_2},
    }
    d_net_cell_b_rows = [None] * length
    d_net_cell_c_rows = [None] * length
    d_net_head_b_rows = [None] * length
    for t in reversed(range(length)):
        d_h, d_net, d_net_cell_b_rows[t], d_net_cell_c_rows[t], d_net_head_b_rows[t] = decoded_step_3_backward(
            net, saved_decoded_step_3[t], d_h, d_out[:, t], d_net
        )
    d_net_cell_b_rows = (
        torch.stack(d_net_cell_b_rows, 0)
        if d_net_cell_b_rows
        else torch.zeros((length, 3 * net.d), dtype=FLOAT, device=d_out.device)
    )
    d_net_cell_c_rows = (
        torch.stack(d_net_cell_c_rows, 0)
        if d_net_cell_c_rows
        else torch.zeros((length, net.d), dtype=FLOAT, device=d_out.device)
    )
    d_net_head_b_rows = (
        torch.stack(d_net_head_b_rows, 0)
        if d_net_head_b_rows
        else torch.zeros((length, net.vocab), dtype=FLOAT, device=d_out.device)
    )
    d_net_cell_b = d_net_cell_b_rows.sum(dim=0)  # [3 * net.d]
    d_net_cell_c = d_net_cell_c_rows.sum(dim=0)  # [net.d]
    d_net_head_b = d_net_head_b_rows.sum(dim=0)  # [net.vocab]
    return {
        "write": d_net["write"],
        "cell": {"w": d_net["cell"]["w"], "u": d_net["cell"]["u"], "b": d_net_cell_b, "c": d_net_cell_c},
        "head": {"w": d_net["head"]["w"], "b": d_net_head_b},
    }, d_h


def decoded_step_saved(net, h, word, y_t):
    """As decoded_step, and what its gradient needs."""
    gather = net.write(word)  # [n, net.d]  seq2seq.lee:86
    h_2, saved_net_cell = net.cell.forward_saved(gather, h)
    logits = net.head(h_2)  # [n, net.vocab]  seq2seq.lee:87
    return h_2, y_t, logits, (gather, saved_net_cell, h, word, h_2)


def decoded_step_backward(net, saved, d_h_2, d_out, d_net):
    """From d_h_2, d_out and d_net to the gradients by h, net, net.cell.b, net.cell.c and net.head.b."""
    gather, saved_net_cell, h, word, h_2 = saved
    # gradient of logits: [n, vocab] = net.head(h)   seq2seq.lee:87
    d_net_head, d_h_2_3 = net.head.forward_backward(h_2, d_out)
    # gradient of h = net.cell(net.write(word), h)   seq2seq.lee:86
    d_h_2_2 = d_h_2 + d_h_2_3  # [n, net.d]
    d_net_cell, d_gather, d_h = net.cell.forward_backward(gather, h, saved_net_cell, d_h_2_2)
    d_net_write = Embedding.forward_backward(word, net.vocab, d_gather)
    # gradient of logits: [n, vocab] = net.head(h)   seq2seq.lee:87
    return (
        d_h,
        {
            "write": {"table": d_net["write"]["table"] + d_net_write["table"]},
            "cell": {"w": d_net["cell"]["w"] + d_net_cell["w"], "u": d_net["cell"]["u"] + d_net_cell["u"]},
            "head": {"w": d_net["head"]["w"] + d_net_head["w"]},
        },
        d_net_cell["b"],
        d_net_cell["c"],
        d_net_head["b"],
    )


def decoded_step_2_saved(net, h, word):
    """As decoded_step_2, and what its gradient needs."""
    gather = net.write(word)  # [n, net.d]  seq2seq.lee:86
    h_2, saved_net_cell = net.cell.forward_saved(gather, h)
    logits = net.head(h_2)  # [n, net.vocab]  seq2seq.lee:87
    word_3 = logits.argmax(dim=1)  # int[n]  seq2seq.lee:92
    return h_2, word_3, logits, (gather, saved_net_cell, h, word, h_2)


def decoded_step_2_backward(net, saved, d_h_2, d_out, d_net):
    """From d_h_2, d_out and d_net to the gradients by h, net, net.cell.b, net.cell.c and net.head.b."""
    gather, saved_net_cell, h, word, h_2 = saved
    # gradient of logits: [n, vocab] = net.head(h)   seq2seq.lee:87
    d_net_head, d_h_2_3 = net.head.forward_backward(h_2, d_out)
    # gradient of h = net.cell(net.write(word), h)   seq2seq.lee:86
    d_h_2_2 = d_h_2 + d_h_2_3  # [n, net.d]
    d_net_cell, d_gather, d_h = net.cell.forward_backward(gather, h, saved_net_cell, d_h_2_2)
    d_net_write = Embedding.forward_backward(word, net.vocab, d_gather)
    # gradient of logits: [n, vocab] = net.head(h)   seq2seq.lee:87
    return (
        d_h,
        {
            "write": {"table": d_net["write"]["table"] + d_net_write["table"]},
            "cell": {"w": d_net["cell"]["w"] + d_net_cell["w"], "u": d_net["cell"]["u"] + d_net_cell["u"]},
            "head": {"w": d_net["head"]["w"] + d_net_head["w"]},
        },
        d_net_cell["b"],
        d_net_cell["c"],
        d_net_head["b"],
    )


def decoded_step_3_saved(net, h, word, own_t, y_t):
    """As decoded_step_3, and what its gradient needs."""
    gather = net.write(word)  # [own_0, net.d]  seq2seq.lee:86
    h_2, saved_net_cell = net.cell.forward_saved(gather, h)
    logits = net.head(h_2)  # [own_0, net.vocab]  seq2seq.lee:87
    word_3 = torch.where(own_t > 0, logits.argmax(dim=1), y_t)  # int[own_0]  seq2seq.lee:94
    return h_2, word_3, logits, (gather, saved_net_cell, h, word, h_2)


def decoded_step_3_backward(net, saved, d_h_2, d_out, d_net):
    """From d_h_2, d_out and d_net to the gradients by h, net, net.cell.b, net.cell.c and net.head.b."""
    gather, saved_net_cell, h, word, h_2 = saved
    # gradient of logits: [n, vocab] = net.head(h)   seq2seq.lee:87
    d_net_head, d_h_2_3 = net.head.forward_backward(h_2, d_out)
    # gradient of h = net.cell(net.write(word), h)   seq2seq.lee:86
    d_h_2_2 = d_h_2 + d_h_2_3  # [own_0, net.d]
    d_net_cell, d_gather, d_h = net.cell.forward_backward(gather, h, saved_net_cell, d_h_2_2)
    d_net_write = Embedding.forward_backward(word, net.vocab, d_gather)
    # gradient of logits: [n, vocab] = net.head(h)   seq2seq.lee:87
    return (
        d_h,
        {
            "write": {"table": d_net["write"]["table"] + d_net_write["table"]},
            "cell": {"w": d_net["cell"]["w"] + d_net_cell["w"], "u": d_net["cell"]["u"] + d_net_cell["u"]},
            "head": {"w": d_net["head"]["w"] + d_net_head["w"]},
        },
        d_net_cell["b"],
        d_net_cell["c"],
        d_net_head["b"],
    )


def own_words(n, length, share_, key):
    """1 with probability `share`, 0 else: where the decoder reads what it wrote itself."""
    uniform_ = uniform(fold(key, SITES["own"]), (n, length), FLOAT)  # [n, length]  seq2seq.lee:100
    own = (uniform_ < share_).to(FLOAT)  # [n, length]
    return own  # [n, length]


def share(epoch, epochs, most=0.5):
    """How often the decoder reads its own words: from 0 up to `most`, along a line."""
    return min(most, epoch / epochs)  # seq2seq.lee:106


class Attention(Model):
    """Which positions of the memory fit the state: a mixture of them."""

    members = ("match",)

    def __init__(self, d, *, key=(0, 0)):
        super().__init__()
        self.d = d
        self.match = Linear(d, d, key=fold(key, SITES["match"]))  # seq2seq.lee:114

    def forward(self, z, memory, lengths):
        """z [n, d], memory [n, time, d], lengths int[n] -> [n, d]"""
        n = z.shape[0]
        time = memory.shape[1]
        score = (memory @ self.match(z)[:, :, None]).reshape(n, time)  # [n, time]  seq2seq.lee:117
        lt = torch.arange(time, device=z.device) < lengths[:, None]  # bool[n, time]  seq2seq.lee:118
        weight = softmax(torch.where(lt, score, -torch.inf), (1,))  # [n, time]  prelude.lee:122
        context = (memory.mT @ weight[:, :, None]).reshape(n, self.d)  # [n, d]  seq2seq.lee:119
        return context  # [n, d]

    def forward_saved(self, z, memory, lengths):
        """As forward, and what its gradient needs."""
        n = z.shape[0]
        time = memory.shape[1]
        match_out = self.match(z)  # [n, d]  seq2seq.lee:117
        score = (memory @ match_out[:, :, None]).reshape(n, time)  # [n, time]
        lt = torch.arange(time, device=z.device) < lengths[:, None]  # bool[n, time]  seq2seq.lee:118
        weight = softmax(torch.where(lt, score, -torch.inf), (1,))  # [n, time]  prelude.lee:122
        context = (memory.mT @ weight[:, :, None]).reshape(n, self.d)  # [n, d]  seq2seq.lee:119
        return context, (match_out, lt, weight)

    def forward_backward(self, z, memory, saved, d_context):
        """From d_context to the gradients by the parameters, z and memory."""
        match_out, lt, weight = saved
        n = z.shape[0]
        time = memory.shape[1]
        # gradient of context[b, a] = sum[t](weight[b, t] * memory[b, t, a])   seq2seq.lee:119
        d_weight = (memory @ d_context[:, :, None]).reshape(n, time)  # [n, time]
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        sub = d_weight - (d_weight * weight).sum(dim=1, keepdim=True)  # [n, time]
        # gradient of z = where(mask, x, -inf)   prelude.lee:120
        d_score = torch.where(lt, weight * sub, 0)  # [n, time]
        # gradient of score[b, t] = sum[a](match(z)[b, a] * memory[b, t, a])   seq2seq.lee:117
        reshape_4 = d_score[:, :, None]  # [n, time, 1]
        d_match, d_z = self.match.forward_backward(z, (memory.mT @ reshape_4).reshape(n, self.d))
        d_memory = weight[:, :, None] * d_context[:, None] + match_out[:, None] * reshape_4  # [n, time, d]
        return {"match": d_match}, d_z, d_memory


class Translator(Model):
    """The decoder looks back at what the encoder read (Bahdanau et al. 2015)."""

    members = ("read", "write", "encoder", "cell", "attention", "head")

    def __init__(self, source, target, d=128, start=1, end=2, *, key=(0, 0)):
        super().__init__()
        self.source, self.target, self.d, self.start, self.end = source, target, d, start, end
        self.read = Embedding(source, d, key=fold(key, SITES["read"]))  # seq2seq.lee:125
        self.write = Embedding(target, d, key=fold(key, SITES["write"]))  # seq2seq.lee:126
        self.encoder = LSTM(d, d, key=fold(key, SITES["encoder"]))  # seq2seq.lee:127
        self.cell = LSTMCell(2 * d, d, key=fold(key, SITES["cell"]))  # seq2seq.lee:128
        self.attention = Attention(d, key=fold(key, SITES["attention"]))  # seq2seq.lee:129
        self.head = Linear(2 * d, target, key=fold(key, SITES["head"]))  # seq2seq.lee:130

    def forward_step(self, c, context, h, word, y_t, memory, lengths, key, own, t):
        """c [n, d], context [n, d], h [n, d], word int[n], y_t int[n], memory [n, time, d], lengths int[n] -> [n, d],
        [n, d], [n, d], int[n], [n, target]
        """
        n = c.shape[0]
        h_3, c_3 = self.cell(torch.cat((self.write(word), context), dim=1), h, c)  # seq2seq.lee:139
        context_4 = self.attention(h_3, memory, lengths)  # [n, d]  seq2seq.lee:140
        logits = self.head(torch.cat((h_3, context_4), dim=1))  # [n, target]  seq2seq.lee:141
        key_3 = fold(fold(key, SITES["mine"]), t)  # seq2seq.lee:143
        mine = uniform(key_3, (n,), FLOAT, c.device) < own  # bool[n]
        word_3 = torch.where(mine, logits.argmax(dim=1), y_t)  # int[n]  seq2seq.lee:144
        return c_3, context_4, h_3, word_3, logits

    def forward_step_saved(self, c, context, h, word, y_t, memory, lengths, key, own, t):
        """As forward_step, and what its gradient needs."""
        n = c.shape[0]
        concat = torch.cat((self.write(word), context), dim=1)  # [n, 2 * d]  seq2seq.lee:139
        h_3, c_3, saved_cell = self.cell.forward_saved(concat, h, c)
        context_4, saved_attention = self.attention.forward_saved(h_3, memory, lengths)  # seq2seq.lee:140
        concat_2 = torch.cat((h_3, context_4), dim=1)  # [n, 2 * d]  seq2seq.lee:141
        logits = self.head(concat_2)  # [n, target]
        key_3 = fold(fold(key, SITES["mine"]), t)  # seq2seq.lee:143
        mine = uniform(key_3, (n,), FLOAT, c.device) < own  # bool[n]
        word_3 = torch.where(mine, logits.argmax(dim=1), y_t)  # int[n]  seq2seq.lee:144
        saved = concat, saved_cell, saved_attention, concat_2, c, h, word, h_3
        return c_3, context_4, h_3, word_3, logits, saved

    def forward_step_backward(self, saved, memory, d_c_3, d_context_4, d_h_3, d_out, d_self, d_memory):
        """From d_c_3, d_context_4, d_h_3, d_out, d_self and d_memory to the gradients by c, context, h, the parameters, memory, cell.b, attention.match.b and head.b."""
        concat, saved_cell, saved_attention, concat_2, c, h, word, h_3 = saved
        # gradient of logits = head(concat(h, context, axis = 1))   seq2seq.lee:141
        d_head, d_concat_2 = self.head.forward_backward(concat_2, d_out)
        # gradient of context = attention(h, memory, lengths)   seq2seq.lee:140
        d_context_4_2 = d_context_4 + d_concat_2[:, self.d :]  # [n, d]
        d_attention, d_h_3_4, d_memory_ = self.attention.forward_backward(h_3, memory, saved_attention, d_context_4_2)
        # gradient of h, c = cell(concat(write(word), context, axis = 1), h, c)   seq2seq.lee:139
        d_h_3_2 = d_h_3 + d_concat_2[:, : self.d] + d_h_3_4  # [n, d]
        d_cell, d_concat, d_h, d_c = self.cell.forward_backward(concat, h, c, saved_cell, d_h_3_2, d_c_3)
        d_context = d_concat[:, self.d :]  # [n, d]
        d_write = Embedding.forward_backward(word, self.target, d_concat[:, : self.d])
        # gradient of context = attention(h, memory, lengths)   seq2seq.lee:140
        d_self_attention_match_w_sum = d_self["attention"]["match"]["w"] + d_attention["match"]["w"]  # [d, d]
        return (
            d_c,
            d_context,
            d_h,
            {
                "write": {"table": d_self["write"]["table"] + d_write["table"]},
                "cell": {"w": d_self["cell"]["w"] + d_cell["w"], "u": d_self["cell"]["u"] + d_cell["u"]},
                "attention": {"match": {"w": d_self_attention_match_w_sum}},
                "head": {"w": d_self["head"]["w"] + d_head["w"]},
            },
            d_memory + d_memory_,
            d_cell["b"],
            d_attention["match"]["b"],
            d_head["b"],
        )

    def forward(self, x, lengths, y, key, own=0.0):
        """x int[n, time], lengths int[n], y int[n, length] -> [n, length, target]"""
        n, time = x.shape
        length = y.shape[1]
        memory = self.encoder(self.read(x.reshape(n * time)).reshape(n, time, self.d))  # [n, time, d]  seq2seq.lee:133
        h = torch.zeros((n, self.d), dtype=FLOAT, device=x.device)  # [n, d]  seq2seq.lee:134
        word = torch.full((n,), self.start, dtype=torch.int64, device=x.device)  # int[n]  seq2seq.lee:136
        c = h  # seq2seq.lee:138
        context = h
        h_ = h
        out = [None] * length
        for t in range(length):
            c, context, h_, word, out[t] = self.forward_step(
                c, context, h_, word, y[:, t], memory, lengths, key, own, t
            )
        out = torch.stack(out, 1) if out else torch.zeros((n, length, self.target), dtype=FLOAT, device=x.device)
        return out  # [n, length, target]

    def forward_saved(self, x, lengths, y, key, own=0.0):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        length = y.shape[1]
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  seq2seq.lee:133
        memory, saved_encoder = self.encoder.forward_saved(reshape_2)
        h = torch.zeros((n, self.d), dtype=FLOAT, device=x.device)  # [n, d]  seq2seq.lee:134
        word = torch.full((n,), self.start, dtype=torch.int64, device=x.device)  # int[n]  seq2seq.lee:136
        c = h  # seq2seq.lee:138
        context = h
        h_ = h
        out = [None] * length
        saved_forward_step = [None] * length
        for t in range(length):
            c, context, h_, word, out[t], saved_forward_step[t] = self.forward_step_saved(
                c, context, h_, word, y[:, t], memory, lengths, key, own, t
            )
        out = torch.stack(out, 1) if out else torch.zeros((n, length, self.target), dtype=FLOAT, device=x.device)
        return out, (reshape_2, memory, saved_encoder, saved_forward_step)

    def forward_backward(self, x, saved, d_out):
        """From d_out to the gradient by the parameters."""
        reshape_2, memory, saved_encoder, saved_forward_step = saved
        n, time = x.shape
        length = d_out.shape[1]
        # gradient of for t in length:   seq2seq.lee:138
        d_c = torch.zeros((n, self.d), dtype=FLOAT, device=x.device)  # [n, d]
        d_write_table_2 = torch.zeros((self.target, self.d), dtype=FLOAT, device=x.device)  # [target, d]
        d_cell_w_2 = torch.zeros((2 * self.d, 4 * self.d), dtype=FLOAT, device=x.device)  # [2 * d, 4 * d]
        d_cell_u_2 = torch.zeros((self.d, 4 * self.d), dtype=FLOAT, device=x.device)  # [d, 4 * d]
        d_head_w_2 = torch.zeros((2 * self.d, self.target), dtype=FLOAT, device=x.device)  # [2 * d, target]
        d_memory_later = torch.zeros((n, time, self.d), dtype=FLOAT, device=x.device)  # [n, time, d]
        d_c_3 = d_c
        d_context_4 = d_c
        d_h_3 = d_c
        d_self = {
            "write": {"table": d_write_table_2},
            "cell": {"w": d_cell_w_2, "u": d_cell_u_2},
            "attention": {"match": {"w": torch.zeros((self.d, self.d), dtype=FLOAT, device=x.device)}},
            "head": {"w": d_head_w_2},
        }
        d_cell_b_rows = [None] * length
        d_attention_match_b_rows = [None] * length
        d_head_b_rows = [None] * length
        for t in reversed(range(length)):
            (
                d_c_3,
                d_context_4,
                d_h_3,
                d_self,
                d_memory_later,
                d_cell_b_rows[t],
                d_attention_match_b_rows[t],
                d_head_b_rows[t],
            ) = self.forward_step_backward(
                saved_forward_step[t], memory, d_c_3, d_context_4, d_h_3, d_out[:, t], d_self, d_memory_later
            )
        d_cell_b_rows = (
            torch.stack(d_cell_b_rows, 0)
            if d_cell_b_rows
            else torch.zeros((length, 4 * self.d), dtype=FLOAT, device=x.device)
        )
        d_attention_match_b_rows = (
            torch.stack(d_attention_match_b_rows, 0)
            if d_attention_match_b_rows
            else torch.zeros((length, self.d), dtype=FLOAT, device=x.device)
        )
        d_head_b_rows = (
            torch.stack(d_head_b_rows, 0)
            if d_head_b_rows
            else torch.zeros((length, self.target), dtype=FLOAT, device=x.device)
        )
        d_cell_b = d_cell_b_rows.sum(dim=0)  # [4 * d]
        d_attention_match_b = d_attention_match_b_rows.sum(dim=0)  # [d]
        d_head_b = d_head_b_rows.sum(dim=0)  # [target]
        # gradient of memory = encoder(read(x))   seq2seq.lee:133
        d_encoder, d_reshape_2 = self.encoder.forward_backward(reshape_2, saved_encoder, d_memory_later)
        d_read_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(x.reshape(n * time), self.source, d_read_out)
        return {
            "read": d_read,
            "write": d_self["write"],
            "encoder": d_encoder,
            "cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b},
            "attention": {"match": {"w": d_self["attention"]["match"]["w"], "b": d_attention_match_b}},
            "head": {"w": d_self["head"]["w"], "b": d_head_b},
        }

    def translate_step(self, c, context, done, h, out, t, word, going, memory, lengths):
        """c [n, d], context [n, d], done bool[n], h [n, d], out int[n, limit], word int[n], memory [n, time, d],
        lengths int[n] -> [n, d], [n, d], bool[n], [n, d], int[n, limit], [], int[n], []
        """
        limit = out.shape[1]
        h_3, c_3 = self.cell(torch.cat((self.write(word), context), dim=1), h, c)  # seq2seq.lee:158
        context_4 = self.attention(h_3, memory, lengths)  # [n, d]  seq2seq.lee:159
        argmax = self.head(torch.cat((h_3, context_4), dim=1)).argmax(dim=1)  # int[n]  seq2seq.lee:160
        word_3 = torch.where(done, self.end, argmax)  # int[n]
        out_3 = out.permute((1, 0)).index_put((t,), word_3).permute(1, 0)  # int[n, limit]
        done_3 = done | (word_3 == self.end)  # bool[n]  seq2seq.lee:162
        t_2 = t + 1  # seq2seq.lee:163
        return c_3, context_4, done_3, h_3, out_3, t_2, word_3, (t_2 < limit) & ~done_3.all()  # seq2seq.lee:157

    def translate(self, x, lengths, limit=50):
        """The likeliest word at every step, until every row has ended.

        x int[n, time], lengths int[n] -> int[n, limit]
        """
        n, time = x.shape
        memory = self.encoder(self.read(x.reshape(n * time)).reshape(n, time, self.d))  # [n, time, d]  seq2seq.lee:149
        h = torch.zeros((n, self.d), dtype=FLOAT, device=x.device)  # [n, d]  seq2seq.lee:150
        word = torch.full((n,), self.start, dtype=torch.int64, device=x.device)  # int[n]  seq2seq.lee:152
        done = torch.full((n,), False, dtype=torch.bool, device=x.device)  # bool[n]  seq2seq.lee:154
        out = torch.full((n, limit), self.end, dtype=torch.int64, device=x.device)  # int[n, limit]  seq2seq.lee:155
        t = torch.zeros((), dtype=torch.int64, device=x.device)  # seq2seq.lee:157
        going = torch.full((), 0 < limit, dtype=torch.bool, device=x.device)
        c = h
        context = h
        h_ = h
        while going:
            c, context, done, h_, out, t, word, going = self.translate_step(
                c, context, done, h_, out, t, word, going, memory, lengths
            )
        return out  # int[n, limit]


def Translator_forward_step_saved_in_step(self_, c, context, h, word, y_t, memory, lengths, key, own, t):
    """As forward_step, and what its gradient needs."""
    n, d = c.shape
    time = memory.shape[1]
    concat = torch.cat((self_.write.table[word], context), dim=1)  # [n, 2 * d]  seq2seq.lee:139
    z = (concat @ self_.cell.w + h @ self_.cell.u + self_.cell.b).reshape(n, 4, d)  # [n, 4, d]  nn.lee:250
    sigmoid = torch.sigmoid(z[:, 1])  # [n, d]  prelude.lee:36
    sigmoid_2 = torch.sigmoid(z[:, 0])  # [n, d]
    tanh = torch.tanh(z[:, 2])  # [n, d]  nn.lee:251
    c_3 = sigmoid * c + sigmoid_2 * tanh  # [n, d]
    sigmoid_3 = torch.sigmoid(z[:, 3])  # [n, d]  prelude.lee:36
    tanh_memory = torch.tanh(c_3)  # [n, d]  nn.lee:252
    h_3 = sigmoid_3 * tanh_memory  # [n, d]
    match_out = torch.addmm(self_.attention.match.b, h_3, self_.attention.match.w)  # [n, d]  nn.lee:21
    lt = torch.arange(time, device=c.device) < lengths[:, None]  # bool[n, time]  seq2seq.lee:118
    score = (memory @ match_out[:, :, None]).reshape(n, time)  # [n, time]  seq2seq.lee:117
    weight = softmax(torch.where(lt, score, -torch.inf), (1,))  # [n, time]  prelude.lee:122
    context_4 = (memory.mT @ weight[:, :, None]).reshape(n, d)  # [n, d]  seq2seq.lee:119
    concat_2 = torch.cat((h_3, context_4), dim=1)  # [n, 2 * d]  seq2seq.lee:141
    logits = torch.addmm(self_.head.b, concat_2, self_.head.w)  # [n, target]  nn.lee:21
    key_3 = fold(fold(key, SITES["mine"]), t)  # seq2seq.lee:143
    mine = uniform(key_3, (n,), FLOAT, c.device) < own  # bool[n]
    word_3 = torch.where(mine, logits.argmax(dim=1), y_t)  # int[n]  seq2seq.lee:144
    saved = concat, sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory, match_out, lt, weight, concat_2, c, h, word, h_3
    return c_3, context_4, h_3, word_3, logits, saved


def Translator_forward_step_backward_in_step(
    self_, saved, memory, d_c_3, d_context_4, d_h_3, d_out, d_self, d_memory
):
    """From d_c_3, d_context_4, d_h_3, d_out, d_self and d_memory to the gradients by c, context, h, the parameters, memory, cell.b, attention.match.b and head.b."""
    concat, sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory, match_out, lt, weight, concat_2, c, h, word, h_3 = saved
    n, d = sigmoid.shape
    time = lt.shape[1]
    target = d_out.shape[1]
    # gradient of return x @ w + b   nn.lee:21
    d_head_b = d_out.sum(dim=0)  # [target]
    d_concat_2 = d_out @ self_.head.w.T  # [n, 2 * d]
    d_head_w = concat_2.T @ d_out  # [2 * d, target]
    # gradient of context = attention(h, memory, lengths)   seq2seq.lee:140
    d_context_4_2 = d_context_4 + d_concat_2[:, d:]  # [n, d]
    # gradient of context[b, a] = sum[t](weight[b, t] * memory[b, t, a])   seq2seq.lee:119
    d_weight = (memory @ d_context_4_2[:, :, None]).reshape(n, time)  # [n, time]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_weight - (d_weight * weight).sum(dim=1, keepdim=True)  # [n, time]
    # gradient of score[b, t] = sum[a](match(z)[b, a] * memory[b, t, a])   seq2seq.lee:117
    reshape_4 = torch.where(lt, weight * sub, 0.0)[:, :, None]  # [n, time, 1]
    d_match_out = (memory.mT @ reshape_4).reshape(n, d)  # [n, d]
    # gradient of return x @ w + b   nn.lee:21
    d_attention_match_b = d_match_out.sum(dim=0)  # [d]
    d_attention_match_w = h_3.T @ d_match_out  # [d, d]
    # gradient of score[b, t] = sum[a](match(z)[b, a] * memory[b, t, a])   seq2seq.lee:117
    d_memory_ = weight[:, :, None] * d_context_4_2[:, None] + match_out[:, None] * reshape_4  # [n, time, d]
    # gradient of h, c = cell(concat(write(word), context, axis = 1), h, c)   seq2seq.lee:139
    d_h_3_2 = d_h_3 + d_concat_2[:, :d] + d_match_out @ self_.attention.match.w.T  # [n, d]
    # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
    d_memory_2_2 = d_c_3 + d_h_3_2 * sigmoid_3 * (1 - tanh_memory * tanh_memory)  # [n, d]
    d_c = d_memory_2_2 * sigmoid  # [n, d]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_reshape_4 = d_h_3_2 * tanh_memory * sigmoid_3 * (1 - sigmoid_3)  # [n, d]
    d_reshape_2 = d_memory_2_2 * tanh * sigmoid_2 * (1 - sigmoid_2)  # [n, d]
    # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
    d_reshape_3 = d_memory_2_2 * sigmoid_2 * (1 - tanh * tanh)  # [n, d]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_reshape = d_memory_2_2 * c * sigmoid * (1 - sigmoid)  # [n, d]
    # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
    d_z = torch.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), dim=1)  # [n, 4, d]
    d_add_2 = d_z.reshape(n, 4 * d)  # [n, 4 * d]
    d_cell_b = d_add_2.sum(dim=0)  # [4 * d]
    d_h = d_add_2 @ self_.cell.u.T  # [n, d]
    d_cell_u = h.T @ d_add_2  # [d, 4 * d]
    d_concat = d_add_2 @ self_.cell.w.T  # [n, 2 * d]
    d_cell_w = concat.T @ d_add_2  # [2 * d, 4 * d]
    # gradient of h, c = cell(concat(write(word), context, axis = 1), h, c)   seq2seq.lee:139
    d_context = d_concat[:, d:]  # [n, d]
    # gradient of return table[index]   nn.lee:50
    d_write_table = scatter_add(d_concat[:, :d], (word,), (target, d))  # [target, d]
    # gradient of context = attention(h, memory, lengths)   seq2seq.lee:140
    return (
        d_c,
        d_context,
        d_h,
        {
            "write": {"table": d_self["write"]["table"] + d_write_table},
            "cell": {"w": d_self["cell"]["w"] + d_cell_w, "u": d_self["cell"]["u"] + d_cell_u},
            "attention": {"match": {"w": d_self["attention"]["match"]["w"] + d_attention_match_w}},
            "head": {"w": d_self["head"]["w"] + d_head_w},
        },
        d_memory + d_memory_,
        d_cell_b,
        d_attention_match_b,
        d_head_b,
    )


def translation(z, y, lengths):
    """The mean cross-entropy of the words that count, the end included.

    z [n, length, target], y int[n, length], lengths int[n] -> []
    """
    n, length, target = z.shape
    each = cross_entropy(z.reshape(length * n, target), y.reshape(length * n))  # [length * n]  seq2seq.lee:169
    each_2 = each.reshape(n, length)  # [n, length]
    lt = torch.arange(length, device=z.device) < lengths[:, None]  # bool[n, length]  seq2seq.lee:170
    return torch.where(lt, each_2, 0).sum() / lengths.sum().to(FLOAT)


def translation_saved(z, y, lengths):
    """As translation, and what its gradient needs."""
    n, length, target = z.shape
    each = cross_entropy(z.reshape(length * n, target), y.reshape(length * n))  # [length * n]  seq2seq.lee:169
    each_2 = each.reshape(n, length)  # [n, length]
    lt = torch.arange(length, device=z.device) < lengths[:, None]  # bool[n, length]  seq2seq.lee:170
    cast = lengths.sum().to(FLOAT)
    return torch.where(lt, each_2, 0).sum() / cast, (lt, cast)


def translation_backward(z, y, saved, d_out):
    """From d_out to the gradient by z."""
    lt, cast = saved
    n, length, target = z.shape
    # gradient of return sum[b, t in lengths[b]](each[b, t]) / sum(lengths)   seq2seq.lee:170
    d_each_2 = torch.where(lt, d_out / cast, 0)  # [n, length]
    # gradient of each = cross_entropy(z, y, reduce = false)   seq2seq.lee:169
    z_flat = z.reshape(length * n, target)  # [length * n, target]
    d_each = d_each_2.reshape(length * n)  # [length * n]
    d_z_flat = cross_entropy_backward(z_flat, y.reshape(length * n), d_each)  # [length * n, target]
    d_z = d_z_flat.reshape(n, length, target)  # [n, length, target]
    return d_z  # [n, length, target]


def exact(given, y, lengths):
    """The share of rows that are right from the first word to the end.

    given int[n, length], y int[n, length], lengths int[n] -> []
    """
    length = given.shape[1]
    lt = torch.arange(length, device=given.device) < lengths[:, None]  # bool[n, length]  seq2seq.lee:175
    wrong = torch.where(lt, (given != y).to(FLOAT), 0).sum(dim=1)  # [n]
    return (wrong == 0).to(FLOAT).mean()  # seq2seq.lee:176


@torch.no_grad()
def fit(epochs=8, batch=32, rate=5e-3, *, run=None):
    """Days as they are written become year-month-day; the decoder is fed its own words more and more often."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
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
    net = Translator(source=data.source.vocab, target=data.target.vocab, d=48, key=run.key("net")).to(
        run.session.place.device
    )
    opt = Adam(lr=rate)  # seq2seq.lee:186
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        own = min(0.5, epoch / epochs)  # seq2seq.lee:188
        for x, lengths, y, y_lengths in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, lengths, y, own, y_lengths, run.key("fit")))  # seq2seq.lee:190
        v = data.valid  # seq2seq.lee:191
        run.report(exact=fit_exact(net, v.x, v.lengths, v.y, v.y_lengths))  # seq2seq.lee:192
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.read.table",
        "net.write.table",
        "net.encoder.cell.w",
        "net.encoder.cell.u",
        "net.encoder.cell.b",
        "net.cell.w",
        "net.cell.u",
        "net.cell.b",
        "net.attention.match.w",
        "net.attention.match.b",
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

    def step(self, x, lengths, y, own, y_lengths, key, t_4):
        read_table, write_table, encoder_cell_w, encoder_cell_u, encoder_cell_b, cell_w = self.tensors[:6]
        cell_u, cell_b, attention_match_w, attention_match_b, head_w, head_b = self.tensors[6:]
        d_read_table, d_write_table, d_encoder_cell_w, d_encoder_cell_u, d_encoder_cell_b = self.gradients[:5]
        d_cell_w, d_cell_u, d_cell_b, d_attention_match_w, d_attention_match_b, d_head_w = self.gradients[5:11]
        (d_head_b,) = self.gradients[11:]
        batches_n, time = x.shape
        length = y.shape[1]
        data_source_vocab = self.net.read.table.shape[0]
        data_target_vocab = self.net.write.table.shape[0]
        x_flat = x.reshape(batches_n * time)  # int[batches_n * time]  seq2seq.lee:133
        reshape = read_table[x_flat].reshape(batches_n, time, 48)  # [batches_n, time, 48]
        h_2 = torch.zeros((batches_n, 48), dtype=FLOAT, device=x.device)  # [batches_n, 48]  nn.lee:296
        c = h_2  # nn.lee:298
        h = h_2
        memory = torch.empty((batches_n, time, 48), dtype=FLOAT, device=x.device)  # [batches_n, time, 48]
        saved_forward_step = [None] * time
        for t in range(time):
            c, h, memory[:, t], saved_forward_step[t] = LSTM_forward_step_saved_in_step(
                self.net.encoder, c, h, reshape[:, t]
            )
        word = torch.ones(batches_n, dtype=torch.int64, device=x.device)  # int[batches_n]  seq2seq.lee:136
        key_2 = fold(key, SITES["Translator.forward"])  # seq2seq.lee:190
        c_ = h_2  # seq2seq.lee:138
        context = h_2
        h_ = h_2
        # [batches_n, length, data_target_vocab]
        out = torch.empty((batches_n, length, data_target_vocab), dtype=FLOAT, device=x.device)
        saved_forward_step_ = [None] * length
        for t_ in range(length):
            c_, context, h_, word, out[:, t_], saved_forward_step_[t_] = Translator_forward_step_saved_in_step(
                self.net, c_, context, h_, word, y[:, t_], memory, lengths, key_2, own, t_
            )
        # [batches_n * length, data_target_vocab]  seq2seq.lee:169
        z_flat = out.reshape(batches_n * length, data_target_vocab)
        y_flat = y.reshape(batches_n * length)  # int[batches_n * length]
        # [batches_n * length]  losses.lee:45
        each = torch.nn.functional.cross_entropy(z_flat, y_flat, reduction="none")
        lt = torch.arange(length, device=x.device) < y_lengths[:, None]  # bool[batches_n, length]  seq2seq.lee:170
        cast = y_lengths.sum().to(FLOAT)
        iota = torch.arange(data_target_vocab, device=x.device)[None, :]  # int[1, data_target_vocab]  losses.lee:45
        one_hot = (iota == y.reshape(batches_n * length, 1)).to(FLOAT)  # [batches_n * length, data_target_vocab]
        reshape_2_2 = masked(1 / cast, lt).reshape(batches_n * length, 1)  # [batches_n * length, 1]
        d_z_flat = (torch.softmax(z_flat, dim=1) - one_hot) * reshape_2_2  # [batches_n * length, data_target_vocab]
        d_c = torch.zeros((batches_n, 48), dtype=FLOAT, device=x.device)  # [batches_n, 48]  seq2seq.lee:138
        d_write_table_2 = torch.zeros((data_target_vocab, 48), dtype=FLOAT, device=x.device)  # [data_target_vocab, 48]
        d_cell_u_2 = torch.zeros((48, 192), dtype=FLOAT, device=x.device)  # [48, 192]
        d_head_w_2 = torch.zeros((96, data_target_vocab), dtype=FLOAT, device=x.device)  # [96, data_target_vocab]
        d_memory_2 = torch.zeros((batches_n, time, 48), dtype=FLOAT, device=x.device)  # [batches_n, time, 48]
        # [batches_n, length, data_target_vocab]  seq2seq.lee:169
        d_out = d_z_flat.reshape(batches_n, length, data_target_vocab)
        d_c_3 = d_c  # seq2seq.lee:138
        d_context_4 = d_c
        d_h_3 = d_c
        d_self = {
            "write": {"table": d_write_table_2},
            "cell": {"w": torch.zeros((96, 192), dtype=FLOAT, device=x.device), "u": d_cell_u_2},
            "attention": {"match": {"w": torch.zeros((48, 48), dtype=FLOAT, device=x.device)}},
            "head": {"w": d_head_w_2},
        }
        d_cell_b_rows = torch.empty((length, 192), dtype=FLOAT, device=x.device)  # [length, 192]
        d_attention_match_b_rows = torch.empty((length, 48), dtype=FLOAT, device=x.device)  # [length, 48]
        # [length, data_target_vocab]
        d_head_b_rows = torch.empty((length, data_target_vocab), dtype=FLOAT, device=x.device)
        for t_2 in reversed(range(length)):
            (
                d_c_3,
                d_context_4,
                d_h_3,
                d_self,
                d_memory_2,
                d_cell_b_rows[t_2],
                d_attention_match_b_rows[t_2],
                d_head_b_rows[t_2],
            ) = Translator_forward_step_backward_in_step(
                self.net, saved_forward_step_[t_2], memory, d_c_3, d_context_4, d_h_3, d_out[:, t_2], d_self, d_memory_2
            )
        torch.sum(d_cell_b_rows, dim=0, out=d_cell_b)  # [192]
        torch.sum(d_attention_match_b_rows, dim=0, out=d_attention_match_b)  # [48]
        torch.sum(d_head_b_rows, dim=0, out=d_head_b)  # [data_target_vocab]
        d_c_3_ = d_c  # nn.lee:298
        d_h_3_ = d_c
        d_self_ = {"cell": {"w": d_cell_u_2, "u": d_cell_u_2}}
        d_reshape_2 = torch.empty((batches_n, time, 48), dtype=FLOAT, device=x.device)  # [batches_n, time, 48]
        d_cell_b_rows_2 = torch.empty((192, time), dtype=FLOAT, device=x.device)  # [192, time]
        for t_3 in reversed(range(time)):
            d_c_3_, d_h_3_, d_self_, d_reshape_2[:, t_3], d_cell_b_rows_2[:, t_3] = LSTM_forward_step_backward_in_step(
                self.net.encoder, saved_forward_step[t_3], reshape[:, t_3], d_c_3_, d_h_3_, d_memory_2[:, t_3], d_self_
            )
        torch.sum(d_cell_b_rows_2, dim=1, out=d_encoder_cell_b)  # [192]
        d_read_out = d_reshape_2.reshape(batches_n * time, 48)  # [batches_n * time, 48]  seq2seq.lee:133
        # [data_source_vocab, 48]  nn.lee:50
        d_read_table.copy_(scatter_add(d_read_out, (x_flat,), (data_source_vocab, 48)))
        d_write_table.copy_(d_self["write"]["table"])  # [data_target_vocab, 48]  seq2seq.lee:190
        d_encoder_cell_w.copy_(d_self_["cell"]["w"])  # [48, 192]
        d_encoder_cell_u.copy_(d_self_["cell"]["u"])  # [48, 192]
        d_cell_w.copy_(d_self["cell"]["w"])  # [96, 192]
        d_cell_u.copy_(d_self["cell"]["u"])  # [48, 192]
        d_attention_match_w.copy_(d_self["attention"]["match"]["w"])  # [48, 48]
        d_head_w.copy_(d_self["head"]["w"])  # [96, data_target_vocab]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_4)
        return masked(each.reshape(batches_n, length), lt).sum() / cast  # seq2seq.lee:170


def fit_exact(net, v_x, v_lengths, v_y, v_y_lengths):
    """v_x int[data_valid_n, time], v_lengths int[data_valid_n], v_y int[data_valid_n, length], v_y_lengths
    int[data_valid_n] -> []
    """
    length = v_y.shape[1]
    exact_ = exact(net.translate(v_x, v_lengths, limit=length), v_y, v_y_lengths)  # seq2seq.lee:192
    return exact_


def example_handed_over(key):
    encoder = Encoder(7, 4, key=fold(key, SITES["encoder"]))  # seq2seq.lee:200
    net = Decoder(6, 4, key=fold(key, SITES["net"]))  # seq2seq.lee:201
    x = randint(fold(key, SITES["x"]), (3, 5), 0, 7)  # int[3, 5]  seq2seq.lee:202
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  seq2seq.lee:203
    y = randint(fold(key, SITES["y"]), (3, 4), 0, 6)  # int[3, 4]  seq2seq.lee:204
    y_lengths = randint(fold(key, SITES["y_lengths"]), (3,), 1, 5)  # int[3]  seq2seq.lee:205
    mul, saved_encoder = encoder.forward_saved(x, lengths)  # seq2seq.lee:206
    out, saved_net = net.forward_saved(mul, y)
    value, saved_translation = translation_saved(out, y, y_lengths)
    d_out = translation_backward(out, y, saved_translation, torch.ones((), dtype=FLOAT))  # [3, 4, 6]
    d_net, d_mul = net.forward_backward(saved_net, d_out)
    d_encoder = encoder.forward_backward(x, saved_encoder, d_mul)
    return value, encoder.at(d_encoder), net.at(d_net)


def example_through_the_interface(key):
    self_ = Encoder(7, 4, key=fold(key, SITES["net"]))  # seq2seq.lee:210
    self_2 = ContextDecoder(6, 4, key=fold(key, SITES["net#2"]))
    net = EncoderDecoder(self_, self_2)
    x = randint(fold(key, SITES["x"]), (3, 5), 0, 7)  # int[3, 5]  seq2seq.lee:211
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  seq2seq.lee:212
    y = randint(fold(key, SITES["y"]), (3, 4), 0, 6)  # int[3, 4]  seq2seq.lee:213
    y_lengths = randint(fold(key, SITES["y_lengths"]), (3,), 1, 5)  # int[3]  seq2seq.lee:214
    out, saved_net = net.forward_saved(x, lengths, y)  # seq2seq.lee:215
    value, saved_translation = translation_saved(out, y, y_lengths)
    d_out = translation_backward(out, y, saved_translation, torch.ones((), dtype=FLOAT))  # [3, 4, 6]
    d_net = net.forward_backward(x, saved_net, 1, 7, d_out)
    return value, net.at(d_net)


def example_stacked(key):
    net = StackedEncoder(10, 8, 16, key=fold(key, SITES["net"]))  # seq2seq.lee:219
    x = randint(fold(key, SITES["x"]), (4, 7), 0, 10)  # int[4, 7]  seq2seq.lee:220
    a = normal(fold(key, SITES["a"]), (7, 4, 16), FLOAT)  # [7, 4, 16]  seq2seq.lee:221
    b = normal(fold(key, SITES["b"]), (2, 4, 16), FLOAT)  # [2, 4, 16]  seq2seq.lee:222
    output_2, state, saved_net = net.forward_saved(x)  # seq2seq.lee:223
    d_net = net.forward_backward(x, saved_net, a, b)
    return (a * output_2).sum() + (b * state).sum(), net.at(d_net), output_2, state


def example_taught(key):
    net = Decoder(6, 4, key=fold(key, SITES["net"]))  # seq2seq.lee:228
    state = normal(fold(key, SITES["state"]), (3, 4), FLOAT)  # [3, 4]  seq2seq.lee:229
    y = randint(fold(key, SITES["y"]), (3, 5), 0, 6)  # int[3, 5]  seq2seq.lee:230
    c = normal(fold(key, SITES["c"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  seq2seq.lee:231
    d_c, saved_decoded = decoded_saved(net, state, y, 0)  # seq2seq.lee:232
    d_net, d_state = decoded_backward(net, saved_decoded, c)
    return (c * d_c).sum(), net.at(d_net), d_state, d_c


def example_free(key):
    net = Decoder(6, 4, key=fold(key, SITES["net"]))  # seq2seq.lee:236
    state = normal(fold(key, SITES["state"]), (3, 4), FLOAT)  # [3, 4]  seq2seq.lee:237
    y = randint(fold(key, SITES["y"]), (3, 5), 0, 6)  # int[3, 5]  seq2seq.lee:238
    c = normal(fold(key, SITES["c"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  seq2seq.lee:239
    d_c, saved_decoded_2 = decoded_2_saved(net, state, y, 0)  # seq2seq.lee:240
    d_net, d_state = decoded_2_backward(net, saved_decoded_2, c)
    return (c * d_c).sum(), net.at(d_net), d_state, d_c


def example_now_and_then(key):
    net = Decoder(6, 4, key=fold(key, SITES["net"]))  # seq2seq.lee:244
    state = normal(fold(key, SITES["state"]), (3, 4), FLOAT)  # [3, 4]  seq2seq.lee:245
    y = randint(fold(key, SITES["y"]), (3, 5), 0, 6)  # int[3, 5]  seq2seq.lee:246
    own = own_words(3, 5, share(4, 10), fold(key, SITES["own"]))  # [3, 5]  seq2seq.lee:247
    c = normal(fold(key, SITES["c"]), (3, 5, 6), FLOAT)  # [3, 5, 6]  seq2seq.lee:248
    d_c, saved_decoded_3 = decoded_3_saved(net, state, y, own)  # seq2seq.lee:249
    d_net, d_state = decoded_3_backward(net, saved_decoded_3, c)
    return (c * d_c).sum(), net.at(d_net), d_state, d_c


def example_attended(key):
    net = Translator(7, 6, d=4, key=fold(key, SITES["net"]))  # seq2seq.lee:253
    x = randint(fold(key, SITES["x"]), (3, 5), 0, 7)  # int[3, 5]  seq2seq.lee:254
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  seq2seq.lee:255
    y = randint(fold(key, SITES["y"]), (3, 4), 0, 6)  # int[3, 4]  seq2seq.lee:256
    y_lengths = randint(fold(key, SITES["y_lengths"]), (3,), 1, 5)  # int[3]  seq2seq.lee:257
    out, saved_net = net.forward_saved(x, lengths, y, fold(key, SITES["Translator.forward"]))  # seq2seq.lee:258
    value, saved_translation = translation_saved(out, y, y_lengths)
    d_out = translation_backward(out, y, saved_translation, torch.ones((), dtype=FLOAT))  # [3, 4, 6]
    d_net = net.forward_backward(x, saved_net, d_out)
    return value, net.at(d_net)


def example_mixed(key):
    net = Translator(7, 6, d=4, key=fold(key, SITES["net"]))  # seq2seq.lee:262
    x = randint(fold(key, SITES["x"]), (3, 5), 0, 7)  # int[3, 5]  seq2seq.lee:263
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  seq2seq.lee:264
    y = randint(fold(key, SITES["y"]), (3, 4), 0, 6)  # int[3, 4]  seq2seq.lee:265
    key_6 = fold(key, SITES["Translator.forward"])  # seq2seq.lee:266
    out, saved_net = net.forward_saved(x, lengths, y, key_6, own=0.5)
    d_net = net.forward_backward(x, saved_net, 0.027777777777777776 * out)
    return (out**2).mean(), net.at(d_net)


def example_translated(key):
    net = Translator(7, 4, d=4, end=0, key=fold(key, SITES["net"]))  # seq2seq.lee:270
    x = randint(fold(key, SITES["x"]), (40, 5), 0, 7)  # int[40, 5]  seq2seq.lee:271
    lengths = randint(fold(key, SITES["lengths"]), (40,), 1, 6)  # int[40]  seq2seq.lee:272
    return net.translate(x, lengths, limit=8)  # int[40, 8]  seq2seq.lee:273


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


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> [each_0]
    """
    return each  # [each_0]


def reduced_backward(d_each):
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


class Embedding(Model):
    """A row of a table for each index."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        super().__init__()
        self.count, self.d = count, d
        self.table = torch.nn.Parameter(normal(fold(key, SITES["table"]), (count, d), FLOAT))  # [count, d]  nn.lee:47

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[index]  # [rows, d]  nn.lee:50

    @staticmethod
    def forward_backward(index, count, d_y):
        """From d_y to the gradient by the parameters."""
        d = d_y.shape[1]
        # gradient of return table[index]   nn.lee:50
        d_table = scatter_add(d_y, (index,), (count, d))  # [count, d]
        return {"table": d_table}  # [count, d]


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


class GRUCell(Model):
    """h ← z h + (1 - z) h̃, one step (Cho et al. 2014).

    The reset gate r acts on the product, h̃ = tanh(x W + b + r (h U + c)), as in the libraries, or with
    `reset_after = false` on the state, h̃ = tanh(x W + b + (r h) U).
    """

    members = ("w", "u", "b", "c")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:261
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 3 * hidden), FLOAT)  # [inputs, 3 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 3 * hidden), FLOAT)  # [hidden, 3 * hidden]  nn.lee:262
        uniform_3 = uniform(fold(key, SITES["b"]), (3 * hidden,), FLOAT)  # [3 * hidden]  nn.lee:263
        uniform_4 = uniform(fold(key, SITES["c"]), (hidden,), FLOAT)  # [hidden]  nn.lee:265
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, 3 * hidden]  nn.lee:261
        self.u = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [hidden, 3 * hidden]  nn.lee:262
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [3 * hidden]  nn.lee:263
        self.c = torch.nn.Parameter(div + (div_2 - div) * uniform_4)  # [hidden]  nn.lee:265

    def forward(self, x, h):
        """x [n, inputs], h [n, hidden] -> [n, hidden]"""
        seen = torch.addmm(self.b, x, self.w)  # [n, 3 * hidden]  nn.lee:268
        contract = h @ self.u[:, : 2 * self.hidden]  # [n, 2 * hidden]  nn.lee:269
        gates = torch.sigmoid(seen[:, : 2 * self.hidden] + contract)  # [n, 2 * hidden]  prelude.lee:36
        r = gates[:, : self.hidden]  # [n, hidden]  nn.lee:270
        z = gates[:, self.hidden :]  # [n, hidden]  nn.lee:271
        mul = r * torch.addmm(self.c, h, self.u[:, 2 * self.hidden :])  # [n, hidden]  nn.lee:273
        candidate = torch.tanh(seen[:, 2 * self.hidden :] + mul)  # [n, hidden]
        return z * h + (1 - z) * candidate  # [n, hidden]  nn.lee:276

    def forward_saved(self, x, h):
        """As forward, and what its gradient needs."""
        seen = torch.addmm(self.b, x, self.w)  # [n, 3 * hidden]  nn.lee:268
        contract = h @ self.u[:, : 2 * self.hidden]  # [n, 2 * hidden]  nn.lee:269
        gates = torch.sigmoid(seen[:, : 2 * self.hidden] + contract)  # [n, 2 * hidden]  prelude.lee:36
        r = gates[:, : self.hidden]  # [n, hidden]  nn.lee:270
        z = gates[:, self.hidden :]  # [n, hidden]  nn.lee:271
        add_2 = torch.addmm(self.c, h, self.u[:, 2 * self.hidden :])  # [n, hidden]  nn.lee:273
        candidate = torch.tanh(seen[:, 2 * self.hidden :] + r * add_2)  # [n, hidden]
        sub = 1 - z  # [n, hidden]  nn.lee:276
        return z * h + sub * candidate, (gates, add_2, candidate, sub)

    def forward_backward(self, x, h, saved, d_y):
        """From d_y to the gradients by the parameters, x and h."""
        gates, add_2, candidate, sub = saved
        # gradient of r = gates[:, :hidden]   nn.lee:270
        r = gates[:, : self.hidden]  # [n, hidden]
        # gradient of z = gates[:, hidden:]   nn.lee:271
        z = gates[:, self.hidden :]  # [n, hidden]
        # gradient of return z * h + (1 - z) * candidate   nn.lee:276
        d_candidate = d_y * sub  # [n, hidden]
        # gradient of candidate = tanh(seen[:, 2*hidden :] + r * (h @ u[:, 2*hidden :] + c))   nn.lee:273
        d_add_3 = d_candidate * (1 - candidate**2)  # [n, hidden]
        d_r = d_add_3 * add_2  # [n, hidden]
        d_add_2 = d_add_3 * r  # [n, hidden]
        d_c = d_add_2.sum(dim=0)  # [hidden]
        # gradient of z = gates[:, hidden:]   nn.lee:271
        d_z = d_y * h - d_y * candidate  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_gates = torch.cat((d_r, d_z), dim=1)  # [n, 2 * hidden]
        d_add = d_gates * (gates * (1 - gates))  # [n, 2 * hidden]
        # gradient of seen = x @ w + b   nn.lee:268
        d_seen = torch.cat((d_add, d_add_3), dim=1)  # [n, 3 * hidden]
        d_b = d_seen.sum(dim=0)  # [3 * hidden]
        d_x = d_seen @ self.w.T  # [n, inputs]
        d_w = x.T @ d_seen  # [inputs, 3 * hidden]
        d_u = torch.cat((h.T @ d_add, h.T @ d_add_2), dim=1)  # [hidden, 3 * hidden]
        d_h_5 = d_y * z + d_add_2 @ self.u[:, 2 * self.hidden :].T  # [n, hidden]
        d_h = d_h_5 + d_add @ self.u[:, : 2 * self.hidden].T  # [n, hidden]
        return {"w": d_w, "u": d_u, "b": d_b, "c": d_c}, d_x, d_h


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


def LSTM_forward_step_saved_in_step(self_, c, h, x_t):
    """As forward_step, and what its gradient needs."""
    n, hidden = c.shape
    z = (x_t @ self_.cell.w + h @ self_.cell.u + self_.cell.b).reshape(n, 4, hidden)  # [n, 4, hidden]  nn.lee:250
    sigmoid = torch.sigmoid(z[:, 1])  # [n, hidden]  prelude.lee:36
    sigmoid_2 = torch.sigmoid(z[:, 0])  # [n, hidden]
    tanh = torch.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
    c_3 = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
    sigmoid_3 = torch.sigmoid(z[:, 3])  # [n, hidden]  prelude.lee:36
    tanh_memory = torch.tanh(c_3)  # [n, hidden]  nn.lee:252
    h_3 = sigmoid_3 * tanh_memory  # [n, hidden]
    return c_3, h_3, h_3, (sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory, c, h)


def LSTM_forward_step_backward_in_step(self_, saved, x_t, d_c_3, d_h_3, d_out, d_self):
    """From d_c_3, d_h_3, d_out and d_self to the gradients by c, h, the parameters, x_t and cell.b."""
    sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_memory, c, h = saved
    n, hidden = sigmoid.shape
    # gradient of h, c = cell(x[:, t], h, c)   nn.lee:299
    d_h_3_2 = d_h_3 + d_out  # [n, hidden]
    # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
    d_memory_2 = d_c_3 + d_h_3_2 * sigmoid_3 * (1 - tanh_memory * tanh_memory)  # [n, hidden]
    d_c = d_memory_2 * sigmoid  # [n, hidden]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_reshape_4 = d_h_3_2 * tanh_memory * sigmoid_3 * (1 - sigmoid_3)  # [n, hidden]
    d_reshape_2 = d_memory_2 * tanh * sigmoid_2 * (1 - sigmoid_2)  # [n, hidden]
    # gradient of memory = sigmoid(z[:, 1]) * c + sigmoid(z[:, 0]) * tanh(z[:, 2])   nn.lee:251
    d_reshape_3 = d_memory_2 * sigmoid_2 * (1 - tanh * tanh)  # [n, hidden]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_reshape = d_memory_2 * c * sigmoid * (1 - sigmoid)  # [n, hidden]
    # gradient of z = reshape(x @ w + h @ u + b, [n, 4, hidden])   nn.lee:250
    d_z = torch.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), dim=1)  # [n, 4, hidden]
    d_add_2 = d_z.reshape(n, 4 * hidden)  # [n, 4 * hidden]
    d_cell_b = d_add_2.sum(dim=0)  # [4 * hidden]
    d_h = d_add_2 @ self_.cell.u.T  # [n, hidden]
    d_cell_u = h.T @ d_add_2  # [hidden, 4 * hidden]
    d_cell_w = x_t.T @ d_add_2  # [inputs, 4 * hidden]
    # gradient of h, c = cell(x[:, t], h, c)   nn.lee:299
    return (
        d_c,
        d_h,
        {"cell": {"w": d_self["cell"]["w"] + d_cell_w, "u": d_self["cell"]["u"] + d_cell_u}},
        d_add_2 @ self_.cell.w.T,
        d_cell_b,
    )


class GRU(Model):
    """GRUCell at every position, from a state of 0."""

    members = ("cell",)

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.cell = GRUCell(inputs, hidden, key=fold(key, SITES["cell"]))  # nn.lee:306

    def forward_step(self, h, x_t):
        """h [n, hidden], x_t [n, inputs] -> [n, hidden], [n, hidden]"""
        h_3 = self.cell(x_t, h)  # [n, hidden]  nn.lee:311
        return h_3, h_3

    def forward_step_saved(self, h, x_t):
        """As forward_step, and what its gradient needs."""
        h_3, saved_cell = self.cell.forward_saved(x_t, h)  # nn.lee:311
        return h_3, h_3, (saved_cell, h)

    def forward_step_backward(self, saved, x_t, d_h_3, d_out, d_self):
        """From d_h_3, d_out and d_self to the gradients by h, the parameters, x_t, cell.b and cell.c."""
        saved_cell, h = saved
        # gradient of h = cell(x[:, t], h)   nn.lee:311
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        d_cell, d_x_t, d_h = self.cell.forward_backward(x_t, h, saved_cell, d_h_3_2)
        return (
            d_h,
            {"cell": {"w": d_self["cell"]["w"] + d_cell["w"], "u": d_self["cell"]["u"] + d_cell["u"]}},
            d_x_t,
            d_cell["b"],
            d_cell["c"],
        )

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:309
        out = [None] * time  # nn.lee:310
        for t in range(time):
            h, out[t] = self.forward_step(h, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:309
        out = [None] * time  # nn.lee:310
        saved_forward_step = [None] * time
        for t in range(time):
            h, out[t], saved_forward_step[t] = self.forward_step_saved(h, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   nn.lee:310
        d_cell_w_2 = torch.zeros((self.inputs, 3 * self.hidden), dtype=FLOAT, device=x.device)  # [inputs, 3 * hidden]
        d_cell_u_2 = torch.zeros((self.hidden, 3 * self.hidden), dtype=FLOAT, device=x.device)  # [hidden, 3 * hidden]
        d_h_3 = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_self = {"cell": {"w": d_cell_w_2, "u": d_cell_u_2}}
        d_x = [None] * time
        d_cell_b_rows = [None] * time
        d_cell_c_rows = [None] * time
        for t in reversed(range(time)):
            d_h_3, d_self, d_x[t], d_cell_b_rows[t], d_cell_c_rows[t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], d_h_3, d_out[:, t], d_self
            )
        d_x = torch.stack(d_x, 1) if d_x else torch.zeros((n, time, self.inputs), dtype=FLOAT, device=x.device)
        d_cell_b_rows = (
            torch.stack(d_cell_b_rows, 1)
            if d_cell_b_rows
            else torch.zeros((3 * self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_cell_c_rows = (
            torch.stack(d_cell_c_rows, 1)
            if d_cell_c_rows
            else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_cell_b = d_cell_b_rows.sum(dim=1)  # [3 * hidden]
        d_cell_c = d_cell_c_rows.sum(dim=1)  # [hidden]
        return {"cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b, "c": d_cell_c}}, d_x


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "Translator.forward": 0xC73D22448A37520B,
    "a": 0x2F42665B399EF840,
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "cell": 0x3FB231439DC63663,
    "encoder": 0x651C9E989B434403,
    "head": 0xBD7890018BD219D5,
    "lengths": 0xDE00C8960E49C03F,
    "lower": 0x7F1D0025FF203118,
    "match": 0xE16B6EB36FA10E31,
    "mine": 0xEEEC08F14191DA14,
    "net": 0xF087C76970C91612,
    "net#2": 0x59EFC03AB2BE3D0C,
    "own": 0x1650B87DB45BDCEC,
    "read": 0xCF660812E3283339,
    "rnn": 0x68FB173A756887E4,
    "state": 0x21CDA221091FD223,
    "table": 0x4F51E0D95EBC91EB,
    "u": 0x08D267E10C593806,
    "upper": 0x4788846A75166F9F,
    "w": 0x20925082A2286B9E,
    "write": 0x931A160AFD5D0A8C,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "y_lengths": 0x5271A6B5CBB8DD39,
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


def recurrence(x, y, axis, reverse=False):
    """h with h[t] = x[t] * h[t - 1] + y[t] along an axis, in the other direction if `reverse`."""
    pairs = list(zip(x.unbind(axis), y.unbind(axis), strict=True))
    total, rows = torch.zeros_like(y.select(axis, 0)), []
    for factor, term in reversed(pairs) if reverse else pairs:
        total = factor * total + term
        rows.append(total)
    return torch.stack(rows[::-1] if reverse else rows, axis)


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


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
