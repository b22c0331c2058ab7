"""The Transformer (inventory G10, G11, G14-G17, G24, G25): attention and layers for each position, nothing recurrent.

Sequences end with a word of their own, `end`; `lengths` are the true lengths, the end included. The same program
translates, answers, or writes a tree as brackets: only the pairs differ.

Made from specs/attention/transformer.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/transformer.lee
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


class Table(Model):
    """A row for each index; √d times a row is as large as a position."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        self.count, self.d = count, d
        # [count, d]  transformer.lee:16
        self.table = 1 / math.sqrt(d) * normal(fold(key, SITES["table"]), (count, d), FLOAT)
        self.lay_out()

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[inside(index)]  # [rows, d]  transformer.lee:19

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
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # transformer.lee:24
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # transformer.lee:25
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # transformer.lee:26
        self.norm1 = LayerNorm(d)  # transformer.lee:27
        self.norm2 = LayerNorm(d)  # transformer.lee:28
        self.lay_out()

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
        inside_ = padding_mask(lengths, time)  # bool[n, 1, 1, time]  transformer.lee:31
        reshape_12, saved_attention = self.attention.forward_saved(x, inside_)
        reshape = (x + reshape_12).reshape(n * time, self.d)  # [n * time, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape)
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        select = relu(self.up(norm1_out).reshape(n, time, self.hidden))  # [n, time, hidden]  transformer.lee:32
        down_out = self.down(select.reshape(n * time, self.hidden))  # [n * time, d]
        reshape_5 = (x_2 + down_out.reshape(n, time, self.d)).reshape(n * time, self.d)  # [n * time, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_5)
        saved = inside_, saved_attention, reshape, norm1_out, saved_norm1, select, reshape_5, saved_norm2
        return norm2_out.reshape(n, time, self.d), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        inside_, saved_attention, reshape, norm1_out, saved_norm1, select, reshape_5, saved_norm2 = saved
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
        d_attention, d_x_3 = self.attention.forward_backward(x, inside_, saved_attention, d_add)
        d_x = d_add + d_x_3  # [n, time, d]
        return {"attention": d_attention, "up": d_up, "down": d_down, "norm1": d_norm1, "norm2": d_norm2}, d_x


class DecoderLayer(Model):
    """Attention to what was written so far, then to what was read, then layers for each position."""

    members = ("attention", "cross", "up", "down", "norm1", "norm2", "norm3")

    def __init__(self, d, heads, hidden, *, key=(0, 0)):
        self.d, self.heads, self.hidden = d, heads, hidden
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # transformer.lee:37
        self.cross = MultiHeadAttention(d, heads, key=fold(key, SITES["cross"]))  # transformer.lee:38
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # transformer.lee:39
        self.down = Linear(hidden, d, key=fold(key, SITES["down"]))  # transformer.lee:40
        self.norm1 = LayerNorm(d)  # transformer.lee:41
        self.norm2 = LayerNorm(d)  # transformer.lee:42
        self.norm3 = LayerNorm(d)  # transformer.lee:43
        self.lay_out()

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
        inside_ = padding_mask(lengths, time)  # bool[n, 1, 1, time]  transformer.lee:47
        reshape_12_2, saved_cross = self.cross.forward_3_saved(y_2, memory, inside_)
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
            inside_,
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
        back, saved_attention, reshape, saved_norm1, y_2, inside_, saved_cross, reshape_2, norm2_out, saved_norm2, select, reshape_6, saved_norm3 = saved
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
        d_cross, d_y_2_2, d_memory = self.cross.forward_3_backward(y_2, memory, inside_, saved_cross, d_add_3)
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
        self.vocab, self.d, self.heads, self.hidden = vocab, d, heads, hidden
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:53
        # transformer.lee:54
        self.blocks = [
            EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"])),
            EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.1"])),
        ]
        self.lay_out()

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
        self.vocab, self.d, self.heads, self.hidden = vocab, d, heads, hidden
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:53
        self.blocks = [EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"]))]  # transformer.lee:54
        self.lay_out()

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
        self.source, self.target, self.d, self.heads = source, target, d, heads
        self.hidden, self.start, self.end = hidden, start, end
        self.encoder = Encoder_2(source, d, heads, hidden, key=fold(key, SITES["encoder"]))  # transformer.lee:65
        self.write = Table(target, d, key=fold(key, SITES["write"]))  # transformer.lee:66
        # transformer.lee:67
        self.blocks = [
            DecoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"])),
            DecoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.1"])),
        ]
        self.head = Linear(d, target, key=fold(key, SITES["head"]))  # transformer.lee:68
        self.lay_out()

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
        maximum = np.maximum(np.arange(length) + -1, 0)  # int[length]  transformer.lee:79
        transpose = y.transpose((1, 0))[np.minimum(maximum, length - 1)].T  # int[n, length]
        before = np.where(np.arange(length) > 0, transpose, self.start)  # int[n, length]
        return self.decode(self.encoder(x, lengths), lengths, before)  # [n, length, target]  transformer.lee:80

    def forward_saved(self, x, lengths, y):
        """As forward, and what its gradient needs."""
        length = y.shape[1]
        maximum = np.maximum(np.arange(length) + -1, 0)  # int[length]  transformer.lee:79
        transpose = y.transpose((1, 0))[np.minimum(maximum, length - 1)].T  # int[n, length]
        before = np.where(np.arange(length) > 0, transpose, self.start)  # int[n, length]
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
        word = self.decode(memory, lengths, y)[:, t].argmax(axis=1)  # int[n]  transformer.lee:89
        fill = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  transformer.lee:90
        unslice_ = unslice(fill, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # bool[n, limit + 1]
        reshape = np.where(done, self.end, word)[:, None]  # int[n, 1]
        unslice_2 = unslice(reshape, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # int[n, limit + 1]
        y_4 = np.where(unslice_, unslice_2, y)  # int[n, limit + 1]
        done_3 = done | (word == self.end)  # bool[n]  transformer.lee:91
        return np.where(stopped, done, done_3), np.where(stopped, y, y_4), stopped | done_3.all()  # transformer.lee:88

    def translate(self, x, lengths, limit=20):
        """From the start the likeliest word is appended, again and again, until every row has ended.

        x int[n, time], lengths int[n] -> int[n, limit]
        """
        n = x.shape[0]
        memory = self.encoder(x, lengths)  # [n, time, d]  transformer.lee:84
        fill_2 = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  transformer.lee:86
        fill = np.full((n, 1), self.start, dtype=np.int64)  # int[n, 1]
        unslice_ = unslice(fill_2, (n, limit + 1), (slice(0, n), slice(0, 1)))  # bool[n, limit + 1]
        unslice_2 = unslice(fill, (n, limit + 1), (slice(0, n), slice(0, 1)))  # int[n, limit + 1]
        y_2 = np.where(unslice_, unslice_2, self.end)  # int[n, limit + 1]
        done = np.full(n, False, dtype=np.bool_)  # bool[n]  transformer.lee:87
        stopped = np.bool_(False)  # transformer.lee:88
        for t in range(limit):
            done, y_2, stopped = self.translate_step(done, y_2, stopped, memory, lengths, limit, t)
        return y_2[:, 1:]  # int[n, limit]  transformer.lee:94


class Transformer_3(Model):
    """Reads all at once, writes word by word (Vaswani et al. 2017)."""

    members = ("encoder", "write", "blocks", "head")

    def __init__(self, source, target, d, heads, hidden, start=1, end=2, *, key=(0, 0)):
        self.source, self.target, self.d, self.heads = source, target, d, heads
        self.hidden, self.start, self.end = hidden, start, end
        self.encoder = Encoder_3(source, d, heads, hidden, key=fold(key, SITES["encoder"]))  # transformer.lee:65
        self.write = Table(target, d, key=fold(key, SITES["write"]))  # transformer.lee:66
        self.blocks = [DecoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"]))]  # transformer.lee:67
        self.head = Linear(d, target, key=fold(key, SITES["head"]))  # transformer.lee:68
        self.lay_out()

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

    def decode_saved(self, memory, lengths, y):
        """As decode, and what its gradient needs."""
        n, length = y.shape
        reshape_2 = self.write(y.reshape(length * n)).reshape(n, length, self.d)  # [n, length, d]  transformer.lee:72
        h = math.sqrt(self.d) * reshape_2 + sinusoids(length, self.d)  # [n, length, d]
        h_2, saved_blocks_0_ = self.blocks[0].forward_saved(h, memory, lengths)  # transformer.lee:74
        reshape_3 = h_2.reshape(length * n, self.d)  # [length * n, d]  transformer.lee:75
        return self.head(reshape_3).reshape(n, length, self.target), (h, saved_blocks_0_, reshape_3)

    def decode_backward(self, memory, y, saved, d_out):
        """From d_out to the gradients by the parameters and memory."""
        h, saved_blocks_0_, reshape_3 = saved
        n, length = y.shape
        # gradient of return head(h)   transformer.lee:75
        d_head_out = d_out.reshape(length * n, self.target)  # [length * n, target]
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_head_out)
        d_h_2 = d_reshape_3.reshape(n, length, self.d)  # [n, length, d]
        # gradient of h = block(h, memory, lengths)   transformer.lee:74
        d_blocks_0_, d_h, d_memory = self.blocks[0].forward_backward(h, memory, saved_blocks_0_, d_h_2)
        # gradient of h = sqrt(d) * write(y) + sinusoids(length, d)   transformer.lee:72
        d_write_out = (d_h * math.sqrt(self.d)).reshape(length * n, self.d)  # [length * n, d]
        d_write = Table.forward_backward(y.reshape(length * n), self.target, d_write_out)
        return {"write": d_write, "blocks.0": d_blocks_0_, "head": d_head}, d_memory

    def translate_step(self, done, y, stopped, memory, lengths, limit, t):
        """done bool[n], y int[n, limit + 1], memory [n, time, d], lengths int[n] -> bool[n], int[n, limit + 1], []"""
        n = done.shape[0]
        word = self.decode(memory, lengths, y)[:, t].argmax(axis=1)  # int[n]  transformer.lee:89
        fill = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  transformer.lee:90
        unslice_ = unslice(fill, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # bool[n, limit + 1]
        reshape = np.where(done, self.end, word)[:, None]  # int[n, 1]
        unslice_2 = unslice(reshape, (n, limit + 1), (slice(0, n), slice(t + 1, t + 2)))  # int[n, limit + 1]
        y_4 = np.where(unslice_, unslice_2, y)  # int[n, limit + 1]
        done_3 = done | (word == self.end)  # bool[n]  transformer.lee:91
        return np.where(stopped, done, done_3), np.where(stopped, y, y_4), stopped | done_3.all()  # transformer.lee:88

    def translate(self, x, lengths, limit=20):
        """From the start the likeliest word is appended, again and again, until every row has ended.

        x int[n, time], lengths int[n] -> int[n, limit]
        """
        n = x.shape[0]
        memory = self.encoder(x, lengths)  # [n, time, d]  transformer.lee:84
        fill_2 = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  transformer.lee:86
        fill = np.full((n, 1), self.start, dtype=np.int64)  # int[n, 1]
        unslice_ = unslice(fill_2, (n, limit + 1), (slice(0, n), slice(0, 1)))  # bool[n, limit + 1]
        unslice_2 = unslice(fill, (n, limit + 1), (slice(0, n), slice(0, 1)))  # int[n, limit + 1]
        y_2 = np.where(unslice_, unslice_2, self.end)  # int[n, limit + 1]
        done = np.full(n, False, dtype=np.bool_)  # bool[n]  transformer.lee:87
        stopped = np.bool_(False)  # transformer.lee:88
        for t in range(limit):
            done, y_2, stopped = self.translate_step(done, y_2, stopped, memory, lengths, limit, t)
        return y_2[:, 1:]  # int[n, limit]  transformer.lee:94

    def forward(self, x, lengths, y):
        """Teacher forcing: the true words, one place further back, behind the start.

        x int[n, time], lengths int[n], y int[n, length] -> [n, length, target]
        """
        length = y.shape[1]
        maximum = np.maximum(np.arange(length) + -1, 0)  # int[length]  transformer.lee:79
        transpose = y.transpose((1, 0))[np.minimum(maximum, length - 1)].T  # int[n, length]
        before = np.where(np.arange(length) > 0, transpose, self.start)  # int[n, length]
        return self.decode(self.encoder(x, lengths), lengths, before)  # [n, length, target]  transformer.lee:80

    def forward_saved(self, x, lengths, y):
        """As forward, and what its gradient needs."""
        length = y.shape[1]
        maximum = np.maximum(np.arange(length) + -1, 0)  # int[length]  transformer.lee:79
        transpose = y.transpose((1, 0))[np.minimum(maximum, length - 1)].T  # int[n, length]
        before = np.where(np.arange(length) > 0, transpose, self.start)  # int[n, length]
        mul_2, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:80
        reshape_4, saved_self = self.decode_saved(mul_2, lengths, before)
        return reshape_4, (before, mul_2, saved_encoder, saved_self)

    def forward_backward(self, x, saved, d_out):
        """From d_out to the gradient by the parameters."""
        before, mul_2, saved_encoder, saved_self = saved
        # gradient of return decode(encoder(x, lengths), lengths, before)   transformer.lee:80
        d_transformer_3, d_mul_2 = self.decode_backward(mul_2, before, saved_self, d_out)
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_mul_2)
        return {
            "encoder": d_encoder,
            "write": d_transformer_3["write"],
            "blocks.0": d_transformer_3["blocks.0"],
            "head": d_transformer_3["head"],
        }


class AllAtOnce_2(Model):
    """Without autoregression: a number says how many words there are, and every place guesses its own (Gu et al. 2018)."""

    members = ("encoder", "place", "blocks", "cross", "head", "size")

    def __init__(self, source, target, d, heads, hidden, longest, *, key=(0, 0)):
        self.source, self.target, self.d = source, target, d
        self.heads, self.hidden, self.longest = heads, hidden, longest
        self.encoder = Encoder_3(source, d, heads, hidden, key=fold(key, SITES["encoder"]))  # transformer.lee:99
        self.place = normal(fold(key, SITES["place"]), (longest, d), FLOAT)  # [longest, d]  transformer.lee:100
        self.blocks = [EncoderLayer(d, heads, hidden, key=fold(key, SITES["blocks.0"]))]  # transformer.lee:101
        self.cross = [MultiHeadAttention(d, heads, key=fold(key, SITES["cross.0"]))]  # transformer.lee:102
        self.head = Linear(d, target, key=fold(key, SITES["head"]))  # transformer.lee:103
        self.size = Linear(d, longest, key=fold(key, SITES["size"]))  # transformer.lee:104
        self.lay_out()

    def forward(self, x, lengths, sizes):
        """x int[n, time], lengths int[n], sizes int[n] -> [n, longest, target], [n, longest]"""
        n, time = x.shape
        memory = self.encoder(x, lengths)  # [n, time, d]  transformer.lee:107
        h = np.broadcast_to(self.place, (n, self.longest, self.d))  # [n, longest, d]  transformer.lee:108
        # [n, longest, d]  transformer.lee:110
        reshape_12 = self.cross[0].forward_3(h, memory, padding_mask(lengths, time))
        h_2 = self.blocks[0](self.place + reshape_12, sizes)  # [n, longest, d]
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:111
        masked_ = masked(memory.mT, (np.arange(time) < reshape)[:, None])  # [n, d, time]
        mean_ = masked_.sum(axis=2) / reshape.astype(FLOAT)  # [n, d]
        head_out = self.head(h_2.reshape(self.longest * n, self.d))  # [longest * n, target]  transformer.lee:112
        return head_out.reshape(n, self.longest, self.target), self.size(mean_)

    def forward_saved(self, x, lengths, sizes):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        memory, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:107
        h = np.broadcast_to(self.place, (n, self.longest, self.d))  # [n, longest, d]  transformer.lee:108
        inside_ = padding_mask(lengths, time)  # bool[n, 1, 1, time]  transformer.lee:110
        reshape_12, saved_cross_0_ = self.cross[0].forward_3_saved(h, memory, inside_)
        add = self.place + reshape_12  # [n, longest, d]
        h_2, saved_blocks_0_ = self.blocks[0].forward_saved(add, sizes)
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:111
        reshape_2 = (np.arange(time) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.astype(FLOAT)  # [n, 1]
        mean_ = masked(memory.mT, reshape_2).sum(axis=2) / cast  # [n, d]
        reshape_3 = h_2.reshape(self.longest * n, self.d)  # [longest * n, d]  transformer.lee:112
        saved = memory, saved_encoder, inside_, saved_cross_0_, add, saved_blocks_0_, reshape_2, cast, mean_, reshape_3
        return self.head(reshape_3).reshape(n, self.longest, self.target), self.size(mean_), saved

    def forward_backward(self, x, saved, d_reshape_5, d_add_3):
        """From d_reshape_5 and d_add_3 to the gradient by the parameters."""
        memory, saved_encoder, inside_, saved_cross_0_, add, saved_blocks_0_, reshape_2, cast, mean_, reshape_3 = saved
        n = x.shape[0]
        # gradient of h[b in n, t in longest, a in d] = 1.0 * place[t, a]   transformer.lee:108
        h = np.broadcast_to(self.place, (n, self.longest, self.d))  # [n, longest, d]
        # gradient of return head(h), size(mean_)   transformer.lee:112
        d_size, d_mean_ = self.size.forward_backward(mean_, d_add_3)
        d_head_out = d_reshape_5.reshape(self.longest * n, self.target)  # [longest * n, target]
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_head_out)
        d_h_2 = d_reshape_3.reshape(n, self.longest, self.d)  # [n, longest, d]
        # gradient of h = block(h + look(h, memory, mask = padding_mask(lengths, time)), sizes)   transformer.lee:110
        d_blocks_0_, d_add = self.blocks[0].forward_backward(add, saved_blocks_0_, d_h_2)
        d_cross_0_, d_h, d_memory_3 = self.cross[0].forward_3_backward(h, memory, inside_, saved_cross_0_, d_add)
        # gradient of memory = encoder(x, lengths)   transformer.lee:107
        d_memory = masked((d_mean_ / cast)[:, :, None], reshape_2).mT + d_memory_3  # [n, time, d]
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_memory)
        d_place = d_add.sum(axis=0) + d_h.sum(axis=0)  # [longest, d]
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
    sum_ = masked(each_2, np.arange(length) < lengths[:, None]).sum()  # transformer.lee:118
    return sum_ / lengths.sum().astype(FLOAT)


def per_word_saved(z, y, lengths):
    """As per_word, and what its gradient needs."""
    n, length, target = z.shape
    each = cross_entropy_2(z.reshape(length * n, target), y.reshape(length * n))  # [length * n]  transformer.lee:117
    each_2 = each.reshape(n, length)  # [n, length]
    lt = np.arange(length) < lengths[:, None]  # bool[n, length]  transformer.lee:118
    cast = lengths.sum().astype(FLOAT)
    return masked(each_2, lt).sum() / cast, (lt, cast)


def per_word_backward(z, y, saved, d_out):
    """From d_out to the gradient by z."""
    lt, cast = saved
    n, length, target = z.shape
    # gradient of return sum[b, t in lengths[b]](each[b, t]) / sum(lengths)   transformer.lee:118
    d_each_2 = masked(d_out / cast, lt)  # [n, length]
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
        self.vocab, self.d = vocab, d
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:131
        self.rnn = LSTM(d, d, key=fold(key, SITES["rnn"]))  # transformer.lee:132
        self.lay_out()

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
        self.vocab, self.d = vocab, d
        self.read = Table(vocab, d, key=fold(key, SITES["read"]))  # transformer.lee:139
        self.conv = Conv1d(d, d, padding=1, key=fold(key, SITES["conv"]))  # transformer.lee:140
        self.lay_out()

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = x.shape
        z = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:143
        across = masked(z.mT, (np.arange(time) < lengths[:, None])[:, None])  # [n, d, time]  transformer.lee:144
        y = relu(self.conv(across))  # [n, d, time]  transformer.lee:145
        back = y.mT  # [n, time, d]  transformer.lee:146
        return back  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        z = self.read(x.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  transformer.lee:143
        reshape_3 = (np.arange(time) < lengths[:, None])[:, None]  # bool[n, 1, time]  transformer.lee:144
        across = masked(z.mT, reshape_3)  # [n, d, time]
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
        d_z = masked(d_across, reshape_3).mT  # [n, time, d]
        # gradient of z = read(x)   transformer.lee:143
        d_read_out = d_z.reshape(n * time, self.d)  # [n * time, d]
        d_read = Table.forward_backward(x.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "conv": d_conv}


class Reader(Model):
    """A class of a sequence: whatever turns vectors into vectors may be the encoder."""

    members = ("encoder", "head")

    def __init__(self, encoder, d, classes, *, key=(0, 0)):
        self.encoder, self.d, self.classes = encoder, d, classes
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # transformer.lee:152
        self.lay_out()

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, classes]"""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h = self.encoder(x, lengths)  # [n, time, encoder.d]  transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        masked_ = masked(h.mT, (np.arange(time) < reshape)[:, None])  # [n, encoder.d, time]
        mean_ = masked_.sum(axis=2) / reshape.astype(FLOAT)  # [n, encoder.d]
        return self.head(mean_.reshape(n, self.d))  # [n, classes]  transformer.lee:157

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (np.arange(time) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.astype(FLOAT)  # [n, 1]
        mean_ = masked(h.mT, reshape_2).sum(axis=2) / cast  # [n, encoder.d]
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
        d_h = masked((d_mean_ / cast)[:, :, None], reshape_2).mT  # [n, time, encoder.d]
        # gradient of h = encoder(x, lengths)   transformer.lee:155
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_h)
        return {"encoder": d_encoder, "head": d_head}


class Reader_2(Model):
    """A class of a sequence: whatever turns vectors into vectors may be the encoder."""

    members = ("encoder", "head")

    def __init__(self, encoder, d, classes, *, key=(0, 0)):
        self.encoder, self.d, self.classes = encoder, d, classes
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # transformer.lee:152
        self.lay_out()

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, classes]"""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h = self.encoder(x, lengths)  # [n, time, encoder.d]  transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        masked_ = masked(h.mT, (np.arange(time) < reshape)[:, None])  # [n, encoder.d, time]
        mean_ = masked_.sum(axis=2) / reshape.astype(FLOAT)  # [n, encoder.d]
        return self.head(mean_.reshape(n, self.d))  # [n, classes]  transformer.lee:157

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (np.arange(time) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.astype(FLOAT)  # [n, 1]
        mean_ = masked(h.mT, reshape_2).sum(axis=2) / cast  # [n, encoder.d]
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
        d_h = masked((d_mean_ / cast)[:, :, None], reshape_2).mT  # [n, time, encoder.d]
        # gradient of h = encoder(x, lengths)   transformer.lee:155
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_h)
        return {"encoder": d_encoder, "head": d_head}


class Reader_3(Model):
    """A class of a sequence: whatever turns vectors into vectors may be the encoder."""

    members = ("encoder", "head")

    def __init__(self, encoder, d, classes, *, key=(0, 0)):
        self.encoder, self.d, self.classes = encoder, d, classes
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # transformer.lee:152
        self.lay_out()

    def forward(self, x, lengths):
        """x int[n, time], lengths int[n] -> [n, classes]"""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h = self.encoder(x, lengths)  # [n, time, encoder.d]  transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        masked_ = masked(h.mT, (np.arange(time) < reshape)[:, None])  # [n, encoder.d, time]
        mean_ = masked_.sum(axis=2) / reshape.astype(FLOAT)  # [n, encoder.d]
        return self.head(mean_.reshape(n, self.d))  # [n, classes]  transformer.lee:157

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time = x.shape
        if self.d != self.encoder.d:
            raise ValueError(f"d = {self.d} must equal encoder.d = {self.encoder.d}")
        h, saved_encoder = self.encoder.forward_saved(x, lengths)  # transformer.lee:155
        reshape = lengths[:, None]  # int[n, 1]  transformer.lee:156
        reshape_2 = (np.arange(time) < reshape)[:, None]  # bool[n, 1, time]
        cast = reshape.astype(FLOAT)  # [n, 1]
        mean_ = masked(h.mT, reshape_2).sum(axis=2) / cast  # [n, encoder.d]
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
        d_h = masked((d_mean_ / cast)[:, :, None], reshape_2).mT  # [n, time, encoder.d]
        # gradient of h = encoder(x, lengths)   transformer.lee:155
        d_encoder = self.encoder.forward_backward(x, saved_encoder, d_h)
        return {"encoder": d_encoder, "head": d_head}


def exact(given, y, lengths):
    """The share of rows that are right from the first word to the end.

    given int[n, length], y int[n, length], lengths int[n] -> []
    """
    length = given.shape[1]
    lt = np.arange(length) < lengths[:, None]  # bool[n, length]  transformer.lee:162
    wrong = masked((given != y).astype(FLOAT), lt).sum(axis=1)  # [n]
    return (wrong == 0).astype(FLOAT).mean()  # transformer.lee:163


def parse(epochs=12, batch=32, rate=2e-3, *, run=None):
    """Expressions of Python become their syntax trees, written as brackets."""
    from leec.runtime.run import Run

    run = run or Run("parse")
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
    )
    opt = Adam(lr=rate)  # transformer.lee:173
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, lengths, y, y_lengths in run.batches("batches", data.train, batch, shuffle=True):
            run.step(parse_step(net, opt, x, lengths, y, y_lengths))  # transformer.lee:176
    v = data.valid  # transformer.lee:177
    run.report(exact=parse_exact(net, v.x, v.lengths, v.y, v.y_lengths))  # transformer.lee:178
    return net


def parse_step(net, opt, x, lengths, y, y_lengths):
    """One step of parse."""
    reshape_4, saved_net = net.forward_saved(x, lengths, y)  # transformer.lee:176
    loss, saved_per_word = per_word_saved(reshape_4, y, y_lengths)
    d_reshape_4 = per_word_backward(reshape_4, y, saved_per_word, FLOAT(1.0))  # [batches_n, length, data_target_vocab]
    d_net = net.forward_backward(x, saved_net, d_reshape_4)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def parse_exact(net, v_x, v_lengths, v_y, v_y_lengths):
    """v_x int[data_valid_n, time], v_lengths int[data_valid_n], v_y int[data_valid_n, length], v_y_lengths
    int[data_valid_n] -> []
    """
    length = v_y.shape[1]
    exact_ = exact(net.translate(v_x, v_lengths, limit=length), v_y, v_y_lengths)  # transformer.lee:178
    return exact_


def translate(epochs=8, batch=32, rate=3e-3, *, run=None):
    """The same program with other pairs: days as they are written become year-month-day."""
    from leec.runtime.run import Run

    run = run or Run("translate")
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
    )
    opt = Adam(lr=rate)  # transformer.lee:186
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, lengths, y, y_lengths in run.batches("batches", data.train, batch, shuffle=True):
            run.step(translate_step(net, opt, x, lengths, y, y_lengths))  # transformer.lee:189
    v = data.valid  # transformer.lee:190
    run.report(exact=translate_exact(net, v.x, v.lengths, v.y, v.y_lengths))  # transformer.lee:191
    return net


def translate_step(net, opt, x, lengths, y, y_lengths):
    """One step of translate."""
    reshape_4, saved_net = net.forward_saved(x, lengths, y)  # transformer.lee:189
    loss, saved_per_word = per_word_saved(reshape_4, y, y_lengths)
    d_reshape_4 = per_word_backward(reshape_4, y, saved_per_word, FLOAT(1.0))  # [batches_n, length, data_target_vocab]
    d_net = net.forward_backward(x, saved_net, d_reshape_4)
    opt.update(net.parameters, net.flat(d_net))
    return loss


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
    d_add = cross_entropy_backward(add, y, FLOAT(1.0))  # [4, 3]
    d_net = net.forward_backward(x, saved_net, 7, d_add)
    return cross_entropy(add, y), net.at(d_net)


def example_read_by_recurrence(key):
    self_ = Recurrent(7, 6, key=fold(key, SITES["net"]))  # transformer.lee:224
    net = Reader_2(self_, 6, 3, key=fold(key, SITES["net#2"]))
    x = randint(fold(key, SITES["x"]), (4, 5), 0, 7)  # int[4, 5]  transformer.lee:225
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  transformer.lee:226
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  transformer.lee:227
    add, saved_net = net.forward_saved(x, lengths)  # transformer.lee:228
    d_add = cross_entropy_backward(add, y, FLOAT(1.0))  # [4, 3]
    d_net = net.forward_backward(x, saved_net, 7, d_add)
    return cross_entropy(add, y), net.at(d_net)


def example_read_by_convolution(key):
    self_ = Convolutional(7, 6, key=fold(key, SITES["net"]))  # transformer.lee:232
    net = Reader_3(self_, 6, 3, key=fold(key, SITES["net#2"]))
    x = randint(fold(key, SITES["x"]), (4, 5), 0, 7)  # int[4, 5]  transformer.lee:233
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  transformer.lee:234
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  transformer.lee:235
    add, saved_net = net.forward_saved(x, lengths)  # transformer.lee:236
    d_add = cross_entropy_backward(add, y, FLOAT(1.0))  # [4, 3]
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
    d_reshape_4 = per_word_backward(reshape_4, y, saved_per_word, FLOAT(1.0))  # [3, 4, 6]
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
    d_net = all_at_once_backward(net, x, y, saved_all_at_once, FLOAT(1.0))
    return value, net.at(d_net)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


@packed(0, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> [..]
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced_2(surprise)  # [rows]  losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
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


def conv1d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢ = Σ xₙ,c,sᵢ₊ᵤ Kₒcᵤ

    x [n, c, w], kernel [o, c, k] -> [n, o, out_w]
    """
    n = x.shape[0]
    o, c, k = kernel.shape
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding)), constant_values=0.0)  # [n, c, 2 * padding + w]  nn.lee:76
    columns = window(pad, 2, k, stride, dilation).mT.reshape(n, c * k, -1)  # [n, c * k, out_w]
    y = kernel.reshape(o, c * k) @ columns  # [n, o, out_w]
    return y  # [n, o, out_w]


def conv1d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    n, _, w = x.shape
    o, c, k = kernel.shape
    # gradient of y[n, o, i in (w + 2*padding - dilation*(k - 1) - 1) // stride + 1] = sum[c, u..   nn.lee:76
    transpose = (kernel.reshape(o, c * k).T @ d_y).reshape(n, c, k, -1).mT  # [n, c, out_w, k]
    unwindow_ = unwindow(transpose, 2, 2 * padding + w, stride, dilation)  # [n, c, 2 * padding + w]
    d_x = unwindow_[:, :, padding : padding + w]  # [n, c, w]
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding)), constant_values=0.0)  # [n, c, 2 * padding + w]
    columns = window(pad, 2, k, stride, dilation).mT.reshape(n, c * k, -1)  # [n, c * k, out_w]
    d_kernel = (d_y @ columns.mT).reshape(n, o, c, k).sum(axis=0)  # [o, c, k]
    return d_x, d_kernel


class Conv1d(Model):
    """Convolution along one axis."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k)  # nn.lee:96
        key_2 = fold(key, SITES["kernel"])
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:97
        # [outputs, inputs, k]  nn.lee:96
        self.kernel = div + (div_2 - div) * uniform(key_2, (outputs, inputs, k), FLOAT)
        self.bias = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:97
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, w] -> [n, outputs, out_w]"""
        # [n, outputs, out_w]  nn.lee:100
        y = conv1d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y + self.bias[:, None]  # [n, outputs, out_w]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return conv1d(x, kernel, stride, padding, dilation) + bias[:, None]   nn.lee:100
        d_bias = d_y.sum(axis=0).sum(axis=1)  # [outputs]
        d_x, d_kernel = conv1d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


class LayerNorm(Model):
    """(x - μ) / √(σ² + ε) · γ + β, over the last axis (Ba et al. 2016)."""

    members = ("gamma", "beta")

    def __init__(self, d, eps=1e-5):
        self.d, self.eps = d, eps
        self.gamma = np.ones(d, dtype=FLOAT)  # [d]  nn.lee:191
        self.beta = np.zeros(d, dtype=FLOAT)  # [d]  nn.lee:192
        self.lay_out()

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., d] -> [.., d]"""
        centred = x - x.mean(axis=1, keepdims=True)  # [rows, d]  nn.lee:197
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps)  # [rows, 1]
        return centred / deviation * self.gamma + self.beta  # [rows, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        centred = x - x.mean(axis=1, keepdims=True)  # [rows, d]  nn.lee:197
        normalise = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps)  # [rows, d]
        return normalise * self.gamma + self.beta, normalise

    def forward_backward(self, x, normalise, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return gamma * (x - mu) / sqrt(var + eps) + beta   nn.lee:197
        d_beta = d_y.sum(axis=0)  # [d]
        d_normalise = d_y * self.gamma  # [rows, d]
        d_gamma = (d_y * normalise).sum(axis=0)  # [d]
        centred = x - x.mean(axis=1, keepdims=True)  # [rows, d]
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps)  # [rows, 1]
        normal_ = centred / deviation  # [rows, d]
        mean_2 = (d_normalise * normal_).mean(axis=1, keepdims=True)  # [rows, 1]
        sub = d_normalise - d_normalise.mean(axis=1, keepdims=True)  # [rows, d]
        d_x = (sub - normal_ * mean_2) / deviation  # [rows, d]
        return {"gamma": d_gamma, "beta": d_beta}, d_x


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


def attend(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[n, 1, 1, time] -> [n,
    m, heads, size]
    """
    size = q.shape[3]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(np.where(mask, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed  # [n, m, heads, size]


def attend_saved(q, k, v, mask):
    """As attend, and what its gradient needs."""
    size = q.shape[3]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(np.where(mask, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed, share


def attend_backward(q, k, v, mask, share, d_mixed):
    """From d_mixed to the gradients by q, k and v."""
    size = q.shape[3]
    # gradient of mixed[b, i, h, a] = sum[j](share[b, h, i, j] * v[b, j, h, a])   nn.lee:337
    transpose = d_mixed.transpose(0, 2, 1, 3)  # [n, heads, m, size]
    d_share = transpose @ v.transpose(0, 2, 3, 1)  # [n, heads, m, time]
    d_v = (share.mT @ transpose).transpose(0, 2, 1, 3)  # [n, time, heads, size]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(axis=3, keepdims=True)  # [n, heads, m, time]
    # gradient of score[b, h, i, j] = sum[a](q[b, i, h, a] * k[b, j, h, a]) / sqrt(size)   nn.lee:335
    d_contract = masked(share * sub / math.sqrt(size), mask)  # [n, heads, m, time]
    d_q = (d_contract @ k.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]
    d_k = (d_contract.mT @ q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, time, heads, size]
    return d_q, d_k, d_v


def attend_2(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[1, 1, m, time] -> [n,
    m, heads, size]
    """
    size = q.shape[3]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(np.where(mask, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed  # [n, m, heads, size]


def attend_2_saved(q, k, v, mask):
    """As attend_2, and what its gradient needs."""
    size = q.shape[3]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(np.where(mask, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed, share


def attend_2_backward(q, k, v, mask, share, d_mixed):
    """From d_mixed to the gradients by q, k and v."""
    size = q.shape[3]
    # gradient of mixed[b, i, h, a] = sum[j](share[b, h, i, j] * v[b, j, h, a])   nn.lee:337
    transpose = d_mixed.transpose(0, 2, 1, 3)  # [n, heads, m, size]
    d_share = transpose @ v.transpose(0, 2, 3, 1)  # [n, heads, m, time]
    d_v = (share.mT @ transpose).transpose(0, 2, 1, 3)  # [n, time, heads, size]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(axis=3, keepdims=True)  # [n, heads, m, time]
    # gradient of score[b, h, i, j] = sum[a](q[b, i, h, a] * k[b, j, h, a]) / sqrt(size)   nn.lee:335
    d_contract = masked(share * sub / math.sqrt(size), mask)  # [n, heads, m, time]
    d_q = (d_contract @ k.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]
    d_k = (d_contract.mT @ q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, time, heads, size]
    return d_q, d_k, d_v


def padding_mask(lengths, time):
    """True at the positions before each length.

    lengths int[n] -> bool[n, 1, 1, time]
    """
    inside_ = (np.arange(time) < lengths[:, None])[:, None, None]  # bool[n, 1, 1, time]  nn.lee:343
    return inside_  # bool[n, 1, 1, time]


def causal_mask(time):
    """True where a position looks at itself or back."""
    le = np.arange(time) <= np.arange(time)[:, None]  # bool[time, time]  nn.lee:349
    back = np.broadcast_to(le, (1, 1, time, time))  # bool[1, 1, time, time]
    return back  # bool[1, 1, time, time]


class MultiHeadAttention(Model):
    """Positions of x attend to those of `memory`, which is x itself unless given."""

    members = ("query", "key", "value", "output")

    def __init__(self, d, heads, *, key=(0, 0)):
        self.d, self.heads = d, heads
        if d % heads != 0:
            raise ValueError(f"nn.lee:355: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.query = Linear(d, d, key=fold(key, SITES["query"]))  # nn.lee:356
        self.key = Linear(d, d, key=fold(key, SITES["key"]))  # nn.lee:357
        self.value = Linear(d, d, key=fold(key, SITES["value"]))  # nn.lee:358
        self.output = Linear(d, d, key=fold(key, SITES["output"]))  # nn.lee:359
        self.lay_out()

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
    power = 10000 ** ((2 * (np.arange(d) // 2)).astype(FLOAT) / d)  # [d]  nn.lee:410
    angle = np.arange(time)[:, None].astype(FLOAT) / power  # [time, d]
    wave = np.where(np.arange(d) % 2 == 0, np.sin(angle), np.cos(angle))  # [time, d]  nn.lee:411
    return wave  # [time, d]


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


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2]
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


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


def window(x, axis, size, stride=1, dilation=1):
    """A view of windows along an axis: entry (i, u) is i * stride + u * dilation, as many i as fit."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    step = x.strides[axis]
    strides = (*x.strides[:axis], step * stride, step * dilation, *x.strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def unwindow(x, axis, size, stride=1, dilation=1, out=None):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    return unwindows(x, (axis,), (size,), (stride,), (dilation,), out)


def unwindows(x, axes, sizes, strides, dilations, out=None):
    """The same along several axes, counted before any is folded, in increasing order."""
    widths = [x.shape[axis + 1] for axis in axes]
    shape = list(x.shape)
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        shape[axis : axis + 2] = [size]
    whole = np.empty(shape, x.dtype) if out is None else out
    whole.fill(0)
    for offsets in np.ndindex(*widths):
        source, target = [slice(None)] * x.ndim, [slice(None)] * whole.ndim
        for i, (axis, u, stride, dilation) in enumerate(zip(axes, offsets, strides, dilations, strict=True)):
            start = u * dilation
            source[axis + 1], target[axis - i] = u, slice(start, start + x.shape[axis] * stride, stride)
        whole[tuple(target)] += x[tuple(source)]
    return whole


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
