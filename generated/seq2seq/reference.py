"""From one sequence to another (inventory F16-F21, G26): an encoder reads everything, a decoder writes word by word.

Sequences end with a word of their own, `end`; what stands behind it is no part of them. The decoder's first input is
`start`.

Made from specs/recurrent/seq2seq.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/recurrent/seq2seq.lee
"""

from __future__ import annotations

import functools
import math

import numpy as np

FLOAT = np.float32


class Model:
    """What every model has: named arrays in declaration order, the trainable ones side by side in one vector.

    `members` names arrays and submodels (a list of submodels goes by one name), `states` what no gradient changes.
    """

    members: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def parts(self):
        """(name, member) of arrays and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, list):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every array by its path in the spec, such as "conv1.kernel"; they are the model's own."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": array for path, array in part.tensors().items()}
            else:
                found[name] = part
        return found

    def load_tensors(self, arrays):
        """Copy arrays in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != arrays.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ arrays.keys())}")
        for path, array in own.items():
            if array.shape != np.shape(arrays[path]):
                raise ValueError(f"{path} is {array.shape} here and {np.shape(arrays[path])} there")
            array[...] = arrays[path]

    def lay_out(self, vector=None):
        """Move all parameters into one vector; the arrays become views of it, those of submodels too."""
        sizes = [part.parameters.size if isinstance(part, Model) else part.size for _, part in self.trained()]
        self.parameters = np.empty(sum(sizes), FLOAT) if vector is None else vector
        stop = 0
        for (name, part), size in zip(self.trained(), sizes, strict=True):
            start, stop = stop, stop + size
            if isinstance(part, Model):
                part.lay_out(self.parameters[start:stop])
            else:
                view = self.parameters[start:stop].reshape(part.shape)
                view[...] = part
                setattr(self, self.renamed.get(name, name), view)

    def trained(self):
        return [(name, part) for name, part in self.parts() if name not in self.states]

    def shapes(self):
        """Of the parameters, in their order."""
        found = (part.shapes() if isinstance(part, Model) else [part.shape] for _, part in self.trained())
        return [shape for shapes in found for shape in shapes]

    def flat(self, gradient):
        """A gradient, nested dicts of arrays by member, as one vector beside `parameters`; what is missing is 0."""
        vector, stop = np.zeros_like(self.parameters), 0
        for name, part in self.trained():
            is_model = isinstance(part, Model)
            start, stop = stop, stop + (part.parameters.size if is_model else part.size)
            if name in gradient:
                vector[start:stop] = part.flat(gradient[name]) if is_model else gradient[name].ravel()
        return vector

    def copy(self):
        """The same model with arrays of its own."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            setattr(twin, attribute, [part.copy() for part in member] if isinstance(member, list) else member.copy())
        twin.lay_out()
        return twin

    def at(self, tensors):
        """A copy at another point of parameter space: nested dicts of arrays by member, as gradients are."""
        twin = self.copy()
        twin.move_to(tensors)
        return twin

    def move_to(self, tensors):
        for name, part in self.parts():
            if name in tensors and isinstance(part, Model):
                part.move_to(tensors[name])
            elif name in tensors:
                part[...] = tensors[name]


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
            if not hasattr(self, name):
                setattr(self, name, np.full_like(θ, start))
            if getattr(self, name).shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {getattr(self, name).size} parameters, not {θ.size}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, arrays):
        """Go on from another's count and states."""
        self.t = int(arrays["t"])
        for name in self.starts.keys() & arrays.keys():
            setattr(self, name, np.array(arrays[name], FLOAT))

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.load_tensors(self.tensors())
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


class Encoder(Model):
    """All of the input in one vector: the state behind the last word."""

    members = ("read", "rnn")

    def __init__(self, vocab, d, *, key=(0, 0)):
        self.vocab, self.d = vocab, d
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # seq2seq.lee:18
        self.rnn = GRU(d, d, key=fold(key, SITES["rnn"]))  # seq2seq.lee:19
        self.lay_out()

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, d]"""
        n, time = x.shape
        h = self.rnn(self.read(x.reshape(n * time)).reshape(n, time, self.d))  # [n, time, d]  seq2seq.lee:22
        last = h[np.arange(n), inside(lengths - 1)]  # [n, d]  seq2seq.lee:23
        return last  # [n, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  seq2seq.lee:22
        h, saved_rnn = self.rnn.forward_saved(reshape_2)
        sub = lengths - 1  # int[n]  seq2seq.lee:23
        last = h[np.arange(n), inside(sub)]  # [n, d]
        return last, (reshape_2, saved_rnn, sub)

    def forward_backward(self, x, saved, d_mul):
        """From d_mul to the gradient by the parameters."""
        reshape_2, saved_rnn, sub = saved
        n, time = x.shape
        # gradient of last[r, j] = h[r, lengths[r] - 1, j]   seq2seq.lee:23
        d_h = scatter_add(d_mul, (np.arange(n), sub), (n, time, self.d))  # [n, time, d]
        # gradient of h = rnn(read(x))   seq2seq.lee:22
        d_rnn, d_reshape_2 = self.rnn.forward_backward(reshape_2, saved_rnn, d_h)
        d_read_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "rnn": d_rnn}


class Decoder(Model):
    """Its state begins as what the encoder hands over; every word depends on the words before it."""

    members = ("write", "cell", "head")

    def __init__(self, vocab, d, start=1, *, key=(0, 0)):
        self.vocab, self.d, self.start = vocab, d, start
        self.write = Embedding(vocab, d, key=fold(key, SITES["write"]))  # seq2seq.lee:29
        self.cell = GRUCell(d, d, key=fold(key, SITES["cell"]))  # seq2seq.lee:30
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # seq2seq.lee:31
        self.lay_out()

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
        word = np.full(n, self.start, dtype=np.int64)  # int[n]  seq2seq.lee:35
        out = np.empty((n, length, self.vocab), dtype=FLOAT)  # [n, length, vocab]  seq2seq.lee:36
        for t in range(length):
            state, word, out[:, t] = self.forward_step(state, word, y[:, t])
        return out  # [n, length, vocab]

    def forward_saved(self, state, y):
        """As forward, and what its gradient needs."""
        n = state.shape[0]
        length = y.shape[1]
        word = np.full(n, self.start, dtype=np.int64)  # int[n]  seq2seq.lee:35
        out = np.empty((n, length, self.vocab), dtype=FLOAT)  # [n, length, vocab]  seq2seq.lee:36
        saved_forward_step = [None] * length
        for t in range(length):
            state, word, out[:, t], saved_forward_step[t] = self.forward_step_saved(state, word, y[:, t])
        return out, saved_forward_step

    def forward_backward(self, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and state."""
        n, length, _ = d_out.shape
        # gradient of for t in length:   seq2seq.lee:36
        d_cell_w_2 = np.zeros((self.d, 3 * self.d), dtype=FLOAT)  # [d, 3 * d]
        d_h_2 = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]
        d_self = {
            "write": {"table": np.zeros((self.vocab, self.d), dtype=FLOAT)},
            "cell": {"w": d_cell_w_2, "u": d_cell_w_2},
            "head": {"w": np.zeros((self.d, self.vocab), dtype=FLOAT)},
        }
        d_cell_b_rows = np.empty((length, 3 * self.d), dtype=FLOAT)  # [length, 3 * d]
        d_cell_c_rows = np.empty((length, self.d), dtype=FLOAT)  # [length, d]
        d_head_b_rows = np.empty((length, self.vocab), dtype=FLOAT)  # [length, vocab]
        for t in reversed(range(length)):
            d_h_2, d_self, d_cell_b_rows[t], d_cell_c_rows[t], d_head_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], d_h_2, d_out[:, t], d_self
            )
        d_cell_b = d_cell_b_rows.sum(axis=0)  # [3 * d]
        d_cell_c = d_cell_c_rows.sum(axis=0)  # [d]
        d_head_b = d_head_b_rows.sum(axis=0)  # [vocab]
        return {
            "write": d_self["write"],
            "cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b, "c": d_cell_c},
            "head": {"w": d_self["head"]["w"], "b": d_head_b},
        }, d_h_2


class ContextDecoder(Model):
    """What the encoder hands over is seen at every step, beside the word before (Cho et al. 2014)."""

    members = ("write", "cell", "head")

    def __init__(self, vocab, d, start=1, *, key=(0, 0)):
        self.vocab, self.d, self.start = vocab, d, start
        self.write = Embedding(vocab, d, key=fold(key, SITES["write"]))  # seq2seq.lee:45
        self.cell = GRUCell(2 * d, d, key=fold(key, SITES["cell"]))  # seq2seq.lee:46
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # seq2seq.lee:47
        self.lay_out()

    def forward_step(self, h, word, y_t, state):
        """h [n, d], word int[n], y_t int[n], state [n, d] -> [n, d], int[n], [n, vocab]"""
        h_2 = self.cell(np.concatenate((self.write(word), state), axis=1), h)  # [n, d]  seq2seq.lee:53
        return h_2, y_t, self.head(h_2)  # seq2seq.lee:54

    def forward_step_saved(self, h, word, y_t, state):
        """As forward_step, and what its gradient needs."""
        concat = np.concatenate((self.write(word), state), axis=1)  # [n, 2 * d]  seq2seq.lee:53
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
        word = np.full(n, self.start, dtype=np.int64)  # int[n]  seq2seq.lee:51
        h = state  # seq2seq.lee:52
        out = np.empty((n, length, self.vocab), dtype=FLOAT)  # [n, length, vocab]
        for t in range(length):
            h, word, out[:, t] = self.forward_step(h, word, y[:, t], state)
        return out  # [n, length, vocab]

    def forward_saved(self, state, y):
        """As forward, and what its gradient needs."""
        n = state.shape[0]
        length = y.shape[1]
        word = np.full(n, self.start, dtype=np.int64)  # int[n]  seq2seq.lee:51
        h = state  # seq2seq.lee:52
        out = np.empty((n, length, self.vocab), dtype=FLOAT)  # [n, length, vocab]
        saved_forward_step = [None] * length
        for t in range(length):
            h, word, out[:, t], saved_forward_step[t] = self.forward_step_saved(h, word, y[:, t], state)
        return out, saved_forward_step

    def forward_backward(self, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and state."""
        n, length, _ = d_out.shape
        # gradient of for t in length:   seq2seq.lee:52
        d_h = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]
        d_h_2 = d_h
        d_self = {
            "write": {"table": np.zeros((self.vocab, self.d), dtype=FLOAT)},
            "cell": {
                "w": np.zeros((2 * self.d, 3 * self.d), dtype=FLOAT),
                "u": np.zeros((self.d, 3 * self.d), dtype=FLOAT),
            },
            "head": {"w": np.zeros((self.d, self.vocab), dtype=FLOAT)},
        }
        d_state_later = d_h
        d_cell_b_rows = np.empty((length, 3 * self.d), dtype=FLOAT)  # [length, 3 * d]
        d_cell_c_rows = np.empty((length, self.d), dtype=FLOAT)  # [length, d]
        d_head_b_rows = np.empty((length, self.vocab), dtype=FLOAT)  # [length, vocab]
        for t in reversed(range(length)):
            d_h_2, d_self, d_state_later, d_cell_b_rows[t], d_cell_c_rows[t], d_head_b_rows[t] = (
                self.forward_step_backward(saved_forward_step[t], d_h_2, d_out[:, t], d_self, d_state_later)
            )
        d_cell_b = d_cell_b_rows.sum(axis=0)  # [3 * d]
        d_cell_c = d_cell_c_rows.sum(axis=0)  # [d]
        d_head_b = d_head_b_rows.sum(axis=0)  # [vocab]
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
        self.encoder, self.decoder = encoder, decoder
        self.lay_out()

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
        self.vocab, self.embed, self.hidden = vocab, embed, hidden
        self.read = Embedding(vocab, embed, key=fold(key, SITES["read"]))  # seq2seq.lee:67
        self.lower = GRU(embed, hidden, key=fold(key, SITES["lower"]))  # seq2seq.lee:68
        self.upper = GRU(hidden, hidden, key=fold(key, SITES["upper"]))  # seq2seq.lee:69
        self.lay_out()

    def forward(self, x):
        """x int[n, time] -> [time, n, hidden], [2, n, hidden]"""
        n, time = x.shape
        a = self.lower(self.read(x.reshape(n * time)).reshape(n, time, self.embed))  # [n, time, hidden]  seq2seq.lee:72
        b = self.upper(a)  # [n, time, hidden]  seq2seq.lee:73
        output = b.transpose(1, 0, 2)  # [time, n, hidden]  seq2seq.lee:74
        reshape_2 = a[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]  seq2seq.lee:75
        reshape_3 = b[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]
        return output, np.concatenate((reshape_2, reshape_3), axis=0)

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.embed)  # [n, time, embed]  seq2seq.lee:72
        a, saved_lower = self.lower.forward_saved(reshape_2)
        b, saved_upper = self.upper.forward_saved(a)  # seq2seq.lee:73
        output = b.transpose(1, 0, 2)  # [time, n, hidden]  seq2seq.lee:74
        reshape = a[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]  seq2seq.lee:75
        reshape_3 = b[:, time - 1 :].reshape(1, n, self.hidden)  # [1, n, hidden]
        return output, np.concatenate((reshape, reshape_3), axis=0), (reshape_2, a, saved_lower, saved_upper)

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
        d_b = d_b_2 + d_output.transpose(1, 0, 2)  # [n, time, hidden]
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
    word = np.full(n, net.start, dtype=np.int64)  # int[n]  seq2seq.lee:84
    out = np.empty((n, length, net.vocab), dtype=FLOAT)  # [n, length, net.vocab]  seq2seq.lee:85
    saved_decoded_step = [None] * length
    for t in range(length):
        state, word, out[:, t], saved_decoded_step[t] = decoded_step_saved(net, state, word, y[:, t])
    return out, saved_decoded_step


def decoded_backward(net, saved_decoded_step, d_out):
    """From d_out to the gradients by net and state."""
    n, length, _ = d_out.shape
    # gradient of for t in length:   seq2seq.lee:85
    d_net_cell_w_2 = np.zeros((net.d, 3 * net.d), dtype=FLOAT)  # [net.d, 3 * net.d]
    d_h_2 = np.zeros((n, net.d), dtype=FLOAT)  # [n, net.d]
    d_net = {
        "write": {"table": np.zeros((net.vocab, net.d), dtype=FLOAT)},
        "cell": {"w": d_net_cell_w_2, "u": d_net_cell_w_2},
        "head": {"w": np.zeros((net.d, net.vocab), dtype=FLOAT)},
    }
    d_net_cell_b_rows = np.empty((length, 3 * net.d), dtype=FLOAT)  # [length, 3 * net.d]
    d_net_cell_c_rows = np.empty((length, net.d), dtype=FLOAT)  # [length, net.d]
    d_net_head_b_rows = np.empty((length, net.vocab), dtype=FLOAT)  # [length, net.vocab]
    for t in reversed(range(length)):
        d_h_2, d_net, d_net_cell_b_rows[t], d_net_cell_c_rows[t], d_net_head_b_rows[t] = decoded_step_backward(
            net, saved_decoded_step[t], d_h_2, d_out[:, t], d_net
        )
    d_net_cell_b = d_net_cell_b_rows.sum(axis=0)  # [3 * net.d]
    d_net_cell_c = d_net_cell_c_rows.sum(axis=0)  # [net.d]
    d_net_head_b = d_net_head_b_rows.sum(axis=0)  # [net.vocab]
    return {
        "write": d_net["write"],
        "cell": {"w": d_net["cell"]["w"], "u": d_net["cell"]["u"], "b": d_net_cell_b, "c": d_net_cell_c},
        "head": {"w": d_net["head"]["w"], "b": d_net_head_b},
    }, d_h_2


def decoded_2_saved(net, state, y, own):
    """As decoded_2, and what its gradient needs."""
    n = state.shape[0]
    length = y.shape[1]
    word = np.full(n, net.start, dtype=np.int64)  # int[n]  seq2seq.lee:84
    out = np.empty((n, length, net.vocab), dtype=FLOAT)  # [n, length, net.vocab]  seq2seq.lee:85
    saved_decoded_step_2 = [None] * length
    for t in range(length):
        state, word, out[:, t], saved_decoded_step_2[t] = decoded_step_2_saved(net, state, word)
    return out, saved_decoded_step_2


def decoded_2_backward(net, saved_decoded_step_2, d_out):
    """From d_out to the gradients by net and state."""
    n, length, _ = d_out.shape
    # gradient of for t in length:   seq2seq.lee:85
    d_net_cell_w_2 = np.zeros((net.d, 3 * net.d), dtype=FLOAT)  # [net.d, 3 * net.d]
    d_h_2 = np.zeros((n, net.d), dtype=FLOAT)  # [n, net.d]
    d_net = {
        "write": {"table": np.zeros((net.vocab, net.d), dtype=FLOAT)},
        "cell": {"w": d_net_cell_w_2, "u": d_net_cell_w_2},
        "head": {"w": np.zeros((net.d, net.vocab), dtype=FLOAT)},
    }
    d_net_cell_b_rows = np.empty((length, 3 * net.d), dtype=FLOAT)  # [length, 3 * net.d]
    d_net_cell_c_rows = np.empty((length, net.d), dtype=FLOAT)  # [length, net.d]
    d_net_head_b_rows = np.empty((length, net.vocab), dtype=FLOAT)  # [length, net.vocab]
    for t in reversed(range(length)):
        d_h_2, d_net, d_net_cell_b_rows[t], d_net_cell_c_rows[t], d_net_head_b_rows[t] = decoded_step_2_backward(
            net, saved_decoded_step_2[t], d_h_2, d_out[:, t], d_net
        )
    d_net_cell_b = d_net_cell_b_rows.sum(axis=0)  # [3 * net.d]
    d_net_cell_c = d_net_cell_c_rows.sum(axis=0)  # [net.d]
    d_net_head_b = d_net_head_b_rows.sum(axis=0)  # [net.vocab]
    return {
        "write": d_net["write"],
        "cell": {"w": d_net["cell"]["w"], "u": d_net["cell"]["u"], "b": d_net_cell_b, "c": d_net_cell_c},
        "head": {"w": d_net["head"]["w"], "b": d_net_head_b},
    }, d_h_2


def decoded_3_saved(net, state, y, own):
    """As decoded_3, and what its gradient needs."""
    own_0 = state.shape[0]
    length = y.shape[1]
    word = np.full(own_0, net.start, dtype=np.int64)  # int[own_0]  seq2seq.lee:84
    out = np.empty((own_0, length, net.vocab), dtype=FLOAT)  # [own_0, length, net.vocab]  seq2seq.lee:85
    saved_decoded_step_3 = [None] * length
    for t in range(length):
        state, word, out[:, t], saved_decoded_step_3[t] = decoded_step_3_saved(net, state, word, own[:, t], y[:, t])
    return out, saved_decoded_step_3


def decoded_3_backward(net, saved_decoded_step_3, d_out):
    """From d_out to the gradients by net and state."""
    own_0, length, _ = d_out.shape
    # gradient of for t in length:   seq2seq.lee:85
    d_net_cell_w_2 = np.zeros((net.d, 3 * net.d), dtype=FLOAT)  # [net.d, 3 * net.d]
    d_h_2 = np.zeros((own_0, net.d), dtype=FLOAT)  # [own_0, net.d]
    d_net = {
        "write": {"table": np.zeros((net.vocab, net.d), dtype=FLOAT)},
        "cell": {"w": d_net_cell_w_2, "u": d_net_cell_w_2},
        "head": {"w": np.zeros((net.d, net.vocab), dtype=FLOAT)},
    }
    d_net_cell_b_rows = np.empty((length, 3 * net.d), dtype=FLOAT)  # [length, 3 * net.d]
    d_net_cell_c_rows = np.empty((length, net.d), dtype=FLOAT)  # [length, net.d]
    d_net_head_b_rows = np.empty((length, net.vocab), dtype=FLOAT)  # [length, net.vocab]
    for t in reversed(range(length)):
        d_h_2, d_net, d_net_cell_b_rows[t], d_net_cell_c_rows[t], d_net_head_b_rows[t] = decoded_step_3_backward(
            net, saved_decoded_step_3[t], d_h_2, d_out[:, t], d_net
        )
    d_net_cell_b = d_net_cell_b_rows.sum(axis=0)  # [3 * net.d]
    d_net_cell_c = d_net_cell_c_rows.sum(axis=0)  # [net.d]
    d_net_head_b = d_net_head_b_rows.sum(axis=0)  # [net.vocab]
    return {
        "write": d_net["write"],
        "cell": {"w": d_net["cell"]["w"], "u": d_net["cell"]["u"], "b": d_net_cell_b, "c": d_net_cell_c},
        "head": {"w": d_net["head"]["w"], "b": d_net_head_b},
    }, d_h_2


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
    word_3 = logits.argmax(axis=1)  # int[n]  seq2seq.lee:92
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
    word_3 = np.where(own_t > 0, logits.argmax(axis=1), y_t)  # int[own_0]  seq2seq.lee:94
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
    own = (uniform_ < share_).astype(FLOAT)  # [n, length]
    return own  # [n, length]


def share(epoch, epochs, most=0.5):
    """How often the decoder reads its own words: from 0 up to `most`, along a line."""
    return min(most, epoch / epochs)  # seq2seq.lee:106


class Attention(Model):
    """Which positions of the memory fit the state: a mixture of them."""

    members = ("match",)

    def __init__(self, d, *, key=(0, 0)):
        self.d = d
        self.match = Linear(d, d, key=fold(key, SITES["match"]))  # seq2seq.lee:114
        self.lay_out()

    def forward(self, z, memory, lengths):
        """z [n, d], memory [n, time, d], lengths int[n] -> [n, d]"""
        n = z.shape[0]
        time = memory.shape[1]
        score = (memory @ self.match(z)[:, :, None]).reshape(n, time)  # [n, time]  seq2seq.lee:117
        # [n, time]  prelude.lee:122
        weight = softmax(np.where(np.arange(time) < lengths[:, None], score, -np.inf), (1,))
        context = (memory.mT @ weight[:, :, None]).reshape(n, self.d)  # [n, d]  seq2seq.lee:119
        return context  # [n, d]

    def forward_saved(self, z, memory, lengths):
        """As forward, and what its gradient needs."""
        n = z.shape[0]
        time = memory.shape[1]
        match_out = self.match(z)  # [n, d]  seq2seq.lee:117
        score = (memory @ match_out[:, :, None]).reshape(n, time)  # [n, time]
        lt = np.arange(time) < lengths[:, None]  # bool[n, time]  seq2seq.lee:118
        weight = softmax(np.where(lt, score, -np.inf), (1,))  # [n, time]  prelude.lee:122
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
        sub = d_weight - (d_weight * weight).sum(axis=1, keepdims=True)  # [n, time]
        # gradient of z = where(mask, x, -inf)   prelude.lee:120
        d_score = masked(weight * sub, lt)  # [n, time]
        # gradient of score[b, t] = sum[a](match(z)[b, a] * memory[b, t, a])   seq2seq.lee:117
        reshape_4 = d_score[:, :, None]  # [n, time, 1]
        d_match, d_z = self.match.forward_backward(z, (memory.mT @ reshape_4).reshape(n, self.d))
        d_memory = weight[:, :, None] * d_context[:, None] + match_out[:, None] * reshape_4  # [n, time, d]
        return {"match": d_match}, d_z, d_memory


class Translator(Model):
    """The decoder looks back at what the encoder read (Bahdanau et al. 2015)."""

    members = ("read", "write", "encoder", "cell", "attention", "head")

    def __init__(self, source, target, d=128, start=1, end=2, *, key=(0, 0)):
        self.source, self.target, self.d, self.start, self.end = source, target, d, start, end
        self.read = Embedding(source, d, key=fold(key, SITES["read"]))  # seq2seq.lee:125
        self.write = Embedding(target, d, key=fold(key, SITES["write"]))  # seq2seq.lee:126
        self.encoder = LSTM(d, d, key=fold(key, SITES["encoder"]))  # seq2seq.lee:127
        self.cell = LSTMCell(2 * d, d, key=fold(key, SITES["cell"]))  # seq2seq.lee:128
        self.attention = Attention(d, key=fold(key, SITES["attention"]))  # seq2seq.lee:129
        self.head = Linear(2 * d, target, key=fold(key, SITES["head"]))  # seq2seq.lee:130
        self.lay_out()

    def forward_step(self, c, context, h, word, y_t, memory, lengths, key, own, t):
        """c [n, d], context [n, d], h [n, d], word int[n], y_t int[n], memory [n, time, d], lengths int[n] -> [n, d],
        [n, d], [n, d], int[n], [n, target]
        """
        n = c.shape[0]
        h_3, c_3 = self.cell(np.concatenate((self.write(word), context), axis=1), h, c)  # seq2seq.lee:139
        context_4 = self.attention(h_3, memory, lengths)  # [n, d]  seq2seq.lee:140
        logits = self.head(np.concatenate((h_3, context_4), axis=1))  # [n, target]  seq2seq.lee:141
        mine = uniform(fold(fold(key, SITES["mine"]), t), (n,), FLOAT) < own  # bool[n]  seq2seq.lee:143
        word_3 = np.where(mine, logits.argmax(axis=1), y_t)  # int[n]  seq2seq.lee:144
        return c_3, context_4, h_3, word_3, logits

    def forward_step_saved(self, c, context, h, word, y_t, memory, lengths, key, own, t):
        """As forward_step, and what its gradient needs."""
        n = c.shape[0]
        concat = np.concatenate((self.write(word), context), axis=1)  # [n, 2 * d]  seq2seq.lee:139
        h_3, c_3, saved_cell = self.cell.forward_saved(concat, h, c)
        context_4, saved_attention = self.attention.forward_saved(h_3, memory, lengths)  # seq2seq.lee:140
        concat_2 = np.concatenate((h_3, context_4), axis=1)  # [n, 2 * d]  seq2seq.lee:141
        logits = self.head(concat_2)  # [n, target]
        mine = uniform(fold(fold(key, SITES["mine"]), t), (n,), FLOAT) < own  # bool[n]  seq2seq.lee:143
        word_3 = np.where(mine, logits.argmax(axis=1), y_t)  # int[n]  seq2seq.lee:144
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
        h = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]  seq2seq.lee:134
        word = np.full(n, self.start, dtype=np.int64)  # int[n]  seq2seq.lee:136
        c = h  # seq2seq.lee:138
        context = h
        h_ = h
        out = np.empty((n, length, self.target), dtype=FLOAT)  # [n, length, target]
        for t in range(length):
            c, context, h_, word, out[:, t] = self.forward_step(
                c, context, h_, word, y[:, t], memory, lengths, key, own, t
            )
        return out  # [n, length, target]

    def forward_saved(self, x, lengths, y, key, own=0.0):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        length = y.shape[1]
        reshape_2 = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  seq2seq.lee:133
        memory, saved_encoder = self.encoder.forward_saved(reshape_2)
        h = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]  seq2seq.lee:134
        word = np.full(n, self.start, dtype=np.int64)  # int[n]  seq2seq.lee:136
        c = h  # seq2seq.lee:138
        context = h
        h_ = h
        out = np.empty((n, length, self.target), dtype=FLOAT)  # [n, length, target]
        saved_forward_step = [None] * length
        for t in range(length):
            c, context, h_, word, out[:, t], saved_forward_step[t] = self.forward_step_saved(
                c, context, h_, word, y[:, t], memory, lengths, key, own, t
            )
        return out, (reshape_2, memory, saved_encoder, saved_forward_step)

    def forward_backward(self, x, saved, d_out):
        """From d_out to the gradient by the parameters."""
        reshape_2, memory, saved_encoder, saved_forward_step = saved
        n, time = x.shape
        length = d_out.shape[1]
        # gradient of for t in length:   seq2seq.lee:138
        d_c = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]
        d_memory_later = np.zeros((n, time, self.d), dtype=FLOAT)  # [n, time, d]
        d_c_3 = d_c
        d_context_4 = d_c
        d_h_3 = d_c
        d_self = {
            "write": {"table": np.zeros((self.target, self.d), dtype=FLOAT)},
            "cell": {
                "w": np.zeros((2 * self.d, 4 * self.d), dtype=FLOAT),
                "u": np.zeros((self.d, 4 * self.d), dtype=FLOAT),
            },
            "attention": {"match": {"w": np.zeros((self.d, self.d), dtype=FLOAT)}},
            "head": {"w": np.zeros((2 * self.d, self.target), dtype=FLOAT)},
        }
        d_cell_b_rows = np.empty((length, 4 * self.d), dtype=FLOAT)  # [length, 4 * d]
        d_attention_match_b_rows = np.empty((length, self.d), dtype=FLOAT)  # [length, d]
        d_head_b_rows = np.empty((length, self.target), dtype=FLOAT)  # [length, target]
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
        d_cell_b = d_cell_b_rows.sum(axis=0)  # [4 * d]
        d_attention_match_b = d_attention_match_b_rows.sum(axis=0)  # [d]
        d_head_b = d_head_b_rows.sum(axis=0)  # [target]
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
        h_3, c_3 = self.cell(np.concatenate((self.write(word), context), axis=1), h, c)  # seq2seq.lee:158
        context_4 = self.attention(h_3, memory, lengths)  # [n, d]  seq2seq.lee:159
        head_out = self.head(np.concatenate((h_3, context_4), axis=1))  # [n, target]  seq2seq.lee:160
        word_3 = np.where(done, self.end, head_out.argmax(axis=1))  # int[n]
        out_3 = scatter_set(out, word_3, (t,), (1,))  # int[n, limit]
        done_3 = done | (word_3 == self.end)  # bool[n]  seq2seq.lee:162
        t_2 = t + 1  # seq2seq.lee:163
        return c_3, context_4, done_3, h_3, out_3, t_2, word_3, (t_2 < limit) & ~done_3.all()  # seq2seq.lee:157

    def translate(self, x, lengths, limit=50):
        """The likeliest word at every step, until every row has ended.

        x int[n, time], lengths int[n] -> int[n, limit]
        """
        n, time = x.shape
        memory = self.encoder(self.read(x.reshape(n * time)).reshape(n, time, self.d))  # [n, time, d]  seq2seq.lee:149
        h = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]  seq2seq.lee:150
        word = np.full(n, self.start, dtype=np.int64)  # int[n]  seq2seq.lee:152
        done = np.full(n, False, dtype=np.bool_)  # bool[n]  seq2seq.lee:154
        out = np.full((n, limit), self.end, dtype=np.int64)  # int[n, limit]  seq2seq.lee:155
        t = np.int64(0)  # seq2seq.lee:157
        going = np.bool_(0 < limit)
        c = h
        context = h
        h_ = h
        while going:
            c, context, done, h_, out, t, word, going = self.translate_step(
                c, context, done, h_, out, t, word, going, memory, lengths
            )
        return out  # int[n, limit]


def translation(z, y, lengths):
    """The mean cross-entropy of the words that count, the end included.

    z [n, length, target], y int[n, length], lengths int[n] -> []
    """
    n, length, target = z.shape
    each = cross_entropy(z.reshape(length * n, target), y.reshape(length * n))  # [length * n]  seq2seq.lee:169
    each_2 = each.reshape(n, length)  # [n, length]
    sum_ = masked(each_2, np.arange(length) < lengths[:, None]).sum()  # seq2seq.lee:170
    return sum_ / lengths.sum().astype(FLOAT)


def translation_saved(z, y, lengths):
    """As translation, and what its gradient needs."""
    n, length, target = z.shape
    each = cross_entropy(z.reshape(length * n, target), y.reshape(length * n))  # [length * n]  seq2seq.lee:169
    each_2 = each.reshape(n, length)  # [n, length]
    lt = np.arange(length) < lengths[:, None]  # bool[n, length]  seq2seq.lee:170
    cast = lengths.sum().astype(FLOAT)
    return masked(each_2, lt).sum() / cast, (lt, cast)


def translation_backward(z, y, saved, d_out):
    """From d_out to the gradient by z."""
    lt, cast = saved
    n, length, target = z.shape
    # gradient of return sum[b, t in lengths[b]](each[b, t]) / sum(lengths)   seq2seq.lee:170
    d_each_2 = masked(d_out / cast, lt)  # [n, length]
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
    lt = np.arange(length) < lengths[:, None]  # bool[n, length]  seq2seq.lee:175
    wrong = masked((given != y).astype(FLOAT), lt).sum(axis=1)  # [n]
    return (wrong == 0).astype(FLOAT).mean()  # seq2seq.lee:176


def fit(epochs=8, batch=32, rate=5e-3, *, run=None):
    """Days as they are written become year-month-day; the decoder is fed its own words more and more often."""
    from leec.runtime.run import Run

    run = run or Run("fit")
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
    net = Translator(source=data.source.vocab, target=data.target.vocab, d=48, key=run.key("net"))  # seq2seq.lee:185
    opt = Adam(lr=rate)  # seq2seq.lee:186
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        own = min(0.5, epoch / epochs)  # seq2seq.lee:188
        for x, lengths, y, y_lengths in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x, lengths, y, own, y_lengths, key=run.key("fit")))  # seq2seq.lee:190
        v = data.valid  # seq2seq.lee:191
        run.report(exact=fit_exact(net, v.x, v.lengths, v.y, v.y_lengths))  # seq2seq.lee:192
    return net


def fit_step(net, opt, x, lengths, y, own, y_lengths, key):
    """One step of fit."""
    key_2 = fold(key, SITES["Translator.forward"])  # seq2seq.lee:190
    out, saved_net = net.forward_saved(x, lengths, y, key_2, own=own)
    loss, saved_translation = translation_saved(out, y, y_lengths)
    d_out = translation_backward(out, y, saved_translation, FLOAT(1.0))  # [batches_n, length, data_target_vocab]
    d_net = net.forward_backward(x, saved_net, d_out)
    opt.update(net.parameters, net.flat(d_net))
    return loss


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
    d_out = translation_backward(out, y, saved_translation, FLOAT(1.0))  # [3, 4, 6]
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
    d_out = translation_backward(out, y, saved_translation, FLOAT(1.0))  # [3, 4, 6]
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
    d_out = translation_backward(out, y, saved_translation, FLOAT(1.0))  # [3, 4, 6]
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
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # [rows]  losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
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
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = div + (div_2 - div) * uniform_  # [inputs, outputs]  nn.lee:15
        self.b = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:17
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return x @ self.w + self.b  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


class Embedding(Model):
    """A row of a table for each index."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        self.count, self.d = count, d
        self.table = normal(fold(key, SITES["table"]), (count, d), FLOAT)  # [count, d]  nn.lee:47
        self.lay_out()

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[inside(index)]  # [rows, d]  nn.lee:50

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
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:245
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 4 * hidden), FLOAT)  # [inputs, 4 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 4 * hidden), FLOAT)  # [hidden, 4 * hidden]  nn.lee:246
        uniform_3 = uniform(fold(key, SITES["b"]), (4 * hidden,), FLOAT)  # [4 * hidden]  nn.lee:247
        self.w = div + (div_2 - div) * uniform_  # [inputs, 4 * hidden]  nn.lee:245
        self.u = div + (div_2 - div) * uniform_2  # [hidden, 4 * hidden]  nn.lee:246
        self.b = div + (div_2 - div) * uniform_3  # [4 * hidden]  nn.lee:247
        self.lay_out()

    def forward(self, x, h, c):
        """x [n, inputs], h [n, hidden], c [n, hidden] -> [n, hidden], [n, hidden]"""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        entry = z[:, 1]  # [n, hidden]  nn.lee:251
        sigmoid = np.exp(np.minimum(entry, 0)) / (1 + np.exp(-np.abs(entry)))  # [n, hidden]  prelude.lee:36
        entry_2 = z[:, 0]  # [n, hidden]  nn.lee:251
        sigmoid_2 = np.exp(np.minimum(entry_2, 0)) / (1 + np.exp(-np.abs(entry_2)))  # [n, hidden]  prelude.lee:36
        memory = sigmoid * c + sigmoid_2 * np.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        entry_4 = z[:, 3]  # [n, hidden]  nn.lee:252
        sigmoid_3 = np.exp(np.minimum(entry_4, 0)) / (1 + np.exp(-np.abs(entry_4)))  # [n, hidden]  prelude.lee:36
        return sigmoid_3 * np.tanh(memory), memory  # nn.lee:252

    def forward_saved(self, x, h, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        z = (x @ self.w + h @ self.u + self.b).reshape(n, 4, self.hidden)  # [n, 4, hidden]  nn.lee:250
        entry = z[:, 1]  # [n, hidden]  nn.lee:251
        sigmoid = np.exp(np.minimum(entry, 0)) / (1 + np.exp(-np.abs(entry)))  # [n, hidden]  prelude.lee:36
        entry_2 = z[:, 0]  # [n, hidden]  nn.lee:251
        sigmoid_2 = np.exp(np.minimum(entry_2, 0)) / (1 + np.exp(-np.abs(entry_2)))  # [n, hidden]  prelude.lee:36
        tanh = np.tanh(z[:, 2])  # [n, hidden]  nn.lee:251
        memory = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        entry_4 = z[:, 3]  # [n, hidden]  nn.lee:252
        sigmoid_3 = np.exp(np.minimum(entry_4, 0)) / (1 + np.exp(-np.abs(entry_4)))  # [n, hidden]  prelude.lee:36
        tanh_memory = np.tanh(memory)  # [n, hidden]  nn.lee:252
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
        d_z = np.stack((d_reshape_2, d_reshape, d_reshape_3, d_reshape_4), axis=1)  # [n, 4, hidden]
        d_add_2 = d_z.reshape(n, 4 * self.hidden)  # [n, 4 * hidden]
        d_b = d_add_2.sum(axis=0)  # [4 * hidden]
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
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:261
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, 3 * hidden), FLOAT)  # [inputs, 3 * hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, 3 * hidden), FLOAT)  # [hidden, 3 * hidden]  nn.lee:262
        uniform_3 = uniform(fold(key, SITES["b"]), (3 * hidden,), FLOAT)  # [3 * hidden]  nn.lee:263
        uniform_4 = uniform(fold(key, SITES["c"]), (hidden,), FLOAT)  # [hidden]  nn.lee:265
        self.w = div + (div_2 - div) * uniform_  # [inputs, 3 * hidden]  nn.lee:261
        self.u = div + (div_2 - div) * uniform_2  # [hidden, 3 * hidden]  nn.lee:262
        self.b = div + (div_2 - div) * uniform_3  # [3 * hidden]  nn.lee:263
        self.c = div + (div_2 - div) * uniform_4  # [hidden]  nn.lee:265
        self.lay_out()

    def forward(self, x, h):
        """x [n, inputs], h [n, hidden] -> [n, hidden]"""
        seen = x @ self.w + self.b  # [n, 3 * hidden]  nn.lee:268
        contract_2 = h @ self.u[:, : 2 * self.hidden]  # [n, 2 * hidden]  nn.lee:269
        add = seen[:, : 2 * self.hidden] + contract_2  # [n, 2 * hidden]
        gates = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [n, 2 * hidden]  prelude.lee:36
        r = gates[:, : self.hidden]  # [n, hidden]  nn.lee:270
        z = gates[:, self.hidden :]  # [n, hidden]  nn.lee:271
        mul = r * (h @ self.u[:, 2 * self.hidden :] + self.c)  # [n, hidden]  nn.lee:273
        candidate = np.tanh(seen[:, 2 * self.hidden :] + mul)  # [n, hidden]
        return z * h + (1 - z) * candidate  # [n, hidden]  nn.lee:276

    def forward_saved(self, x, h):
        """As forward, and what its gradient needs."""
        seen = x @ self.w + self.b  # [n, 3 * hidden]  nn.lee:268
        contract_2 = h @ self.u[:, : 2 * self.hidden]  # [n, 2 * hidden]  nn.lee:269
        add = seen[:, : 2 * self.hidden] + contract_2  # [n, 2 * hidden]
        gates = np.exp(np.minimum(add, 0)) / (1 + np.exp(-np.abs(add)))  # [n, 2 * hidden]  prelude.lee:36
        r = gates[:, : self.hidden]  # [n, hidden]  nn.lee:270
        z = gates[:, self.hidden :]  # [n, hidden]  nn.lee:271
        add_2 = h @ self.u[:, 2 * self.hidden :] + self.c  # [n, hidden]  nn.lee:273
        candidate = np.tanh(seen[:, 2 * self.hidden :] + r * add_2)  # [n, hidden]
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
        d_c = d_add_2.sum(axis=0)  # [hidden]
        # gradient of z = gates[:, hidden:]   nn.lee:271
        d_z = d_y * h - d_y * candidate  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_gates = np.concatenate((d_r, d_z), axis=1)  # [n, 2 * hidden]
        d_add = d_gates * (gates * (1 - gates))  # [n, 2 * hidden]
        # gradient of seen = x @ w + b   nn.lee:268
        d_seen = np.concatenate((d_add, d_add_3), axis=1)  # [n, 3 * hidden]
        d_b = d_seen.sum(axis=0)  # [3 * hidden]
        d_x = d_seen @ self.w.T  # [n, inputs]
        d_w = x.T @ d_seen  # [inputs, 3 * hidden]
        d_u = np.concatenate((h.T @ d_add, h.T @ d_add_2), axis=1)  # [hidden, 3 * hidden]
        d_h_5 = d_y * z + d_add_2 @ self.u[:, 2 * self.hidden :].T  # [n, hidden]
        d_h = d_h_5 + d_add @ self.u[:, : 2 * self.hidden].T  # [n, hidden]
        return {"w": d_w, "u": d_u, "b": d_b, "c": d_c}, d_x, d_h


class LSTM(Model):
    """LSTMCell at every position, from states of 0."""

    members = ("cell",)

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        self.inputs, self.hidden = inputs, hidden
        self.cell = LSTMCell(inputs, hidden, key=fold(key, SITES["cell"]))  # nn.lee:293
        self.lay_out()

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
        h = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = np.empty((n, time, self.hidden), dtype=FLOAT)  # [n, time, hidden]
        for t in range(time):
            c, h_, out[:, t] = self.forward_step(c, h_, x[:, t])
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]  nn.lee:296
        c = h  # nn.lee:298
        h_ = h
        out = np.empty((n, time, self.hidden), dtype=FLOAT)  # [n, time, hidden]
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[:, t], saved_forward_step[t] = self.forward_step_saved(c, h_, x[:, t])
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   nn.lee:298
        d_c = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_self = {
            "cell": {
                "w": np.zeros((self.inputs, 4 * self.hidden), dtype=FLOAT),
                "u": np.zeros((self.hidden, 4 * self.hidden), dtype=FLOAT),
            }
        }
        d_x = np.empty((n, time, self.inputs), dtype=FLOAT)  # [n, time, inputs]
        d_cell_b_rows = np.empty((4 * self.hidden, time), dtype=FLOAT)  # [4 * hidden, time]
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_self, d_x[:, t], d_cell_b_rows[:, t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], d_c_3, d_h_3, d_out[:, t], d_self
            )
        d_cell_b = d_cell_b_rows.sum(axis=1)  # [4 * hidden]
        return {"cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b}}, d_x


class GRU(Model):
    """GRUCell at every position, from a state of 0."""

    members = ("cell",)

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        self.inputs, self.hidden = inputs, hidden
        self.cell = GRUCell(inputs, hidden, key=fold(key, SITES["cell"]))  # nn.lee:306
        self.lay_out()

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
        h = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]  nn.lee:309
        out = np.empty((n, time, self.hidden), dtype=FLOAT)  # [n, time, hidden]  nn.lee:310
        for t in range(time):
            h, out[:, t] = self.forward_step(h, x[:, t])
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]  nn.lee:309
        out = np.empty((n, time, self.hidden), dtype=FLOAT)  # [n, time, hidden]  nn.lee:310
        saved_forward_step = [None] * time
        for t in range(time):
            h, out[:, t], saved_forward_step[t] = self.forward_step_saved(h, x[:, t])
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   nn.lee:310
        d_h_3 = np.zeros((n, self.hidden), dtype=FLOAT)  # [n, hidden]
        d_self = {
            "cell": {
                "w": np.zeros((self.inputs, 3 * self.hidden), dtype=FLOAT),
                "u": np.zeros((self.hidden, 3 * self.hidden), dtype=FLOAT),
            }
        }
        d_x = np.empty((n, time, self.inputs), dtype=FLOAT)  # [n, time, inputs]
        d_cell_b_rows = np.empty((3 * self.hidden, time), dtype=FLOAT)  # [3 * hidden, time]
        d_cell_c_rows = np.empty((self.hidden, time), dtype=FLOAT)  # [hidden, time]
        for t in reversed(range(time)):
            d_h_3, d_self, d_x[:, t], d_cell_b_rows[:, t], d_cell_c_rows[:, t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], d_h_3, d_out[:, t], d_self
            )
        d_cell_b = d_cell_b_rows.sum(axis=1)  # [3 * hidden]
        d_cell_c = d_cell_c_rows.sum(axis=1)  # [hidden]
        return {"cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b, "c": d_cell_c}}, d_x


class Adam(Optimizer):
    """m, v: averages of g and g², each over its bias; θ ← θ - η m̂ / (√v̂ + ε) (Kingma & Ba 2015).

    `weight_decay` adds λ θ to the gradient; AdamW keeps it apart.
    """

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
        self.lr, self.beta1, self.beta2, self.eps, self.weight_decay = lr, beta1, beta2, eps, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            g_2 = g + self.weight_decay * θ  # [count]  optim.lee:74
            m[...] = self.beta1 * m + (1 - self.beta1) * g_2  # [count]  optim.lee:75
            v[...] = self.beta2 * v + (1 - self.beta2) * g_2**2  # [count]  optim.lee:76
            m_hat = m / (1 - math.pow(self.beta1, self.t))  # [count]  optim.lee:77
            v_hat = v / (1 - math.pow(self.beta2, self.t))  # [count]  optim.lee:78
            θ -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)  # [count]  optim.lee:79


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


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isneginf(top), 0, top)
    total = np.exp(shifted).sum(axis=axes, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def fronted(x, axes=None):
    """A view of x with some axes in front (None: as they are)."""
    return x if axes is None else np.moveaxis(x, axes, range(len(axes)))


def scatter(combine, x, v, index, axes=None):
    """A copy of x with v combined (by np.maximum, say) into positions of some axes (the first ones), one after another."""
    whole = x.copy()
    combine.at(fronted(whole, axes), index, v)
    return whole


def scatter_set(x, v, index, axes=None):
    """A copy of x with v written at positions of some axes (the first ones)."""
    whole = x.copy()
    fronted(whole, axes)[index] = v
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


def recurrence(x, y, axis, reverse=False):
    """h with h[t] = x[t] * h[t - 1] + y[t] along an axis, in the other direction if `reverse`."""
    h = np.empty_like(y)
    rows, factors, terms = (np.moveaxis(v, axis, 0)[:: -1 if reverse else 1] for v in (h, x, y))
    total = 0.0
    for t in range(len(rows)):
        rows[t] = total = factors[t] * total + terms[t]
    return h


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


MASK = 0xFFFFFFFF


Key = tuple[int, int]


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words of the counter are Python integers or uint64 arrays below 2**32, those of the key integers.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key: Key, word: int) -> Key:
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    word = int(word)  # a NumPy integer would wrap
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int) -> np.ndarray:
    """n random words, uint32[n], all four words of a block used; at most 2**34 from one key."""
    words = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(words), 8192):  # a stretch that stays in the cache
        part = words[start : start + 8192]
        blocks = np.arange(start, start + len(part), dtype=np.uint64)
        for column, word in enumerate(philox(key, (blocks, 0, 0, 0))):
            part[:, column] = word
    return words.ravel()[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape)) >> 8).reshape(shape).astype(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape)).reshape(shape).astype(np.uint64)
    return (words * np.uint64(high - low) >> 32).astype(np.int64) + low


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
