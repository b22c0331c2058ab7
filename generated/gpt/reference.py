"""GPT (inventory G15, G21, I23): a model of what comes next, made of attention to what came before.

As published for GPT-2: it normalises before each branch, takes gelu by its form with tanh, and the table that reads
tokens also writes them.

Made from specs/attention/gpt.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/gpt.lee
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
    """A row for each index; a table that also writes begins small."""

    members = ("table",)

    def __init__(self, count, d, spread, *, key=(0, 0)):
        self.count, self.d, self.spread = count, d, spread
        self.table = spread * normal(fold(key, SITES["table"]), (count, d), FLOAT)  # [count, d]  gpt.lee:16
        self.lay_out()

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[inside(index)]  # [rows, d]  gpt.lee:19

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
        self.count, self.d, self.spread = count, d, spread
        self.table = spread * normal(fold(key, SITES["table"]), (count, d), FLOAT)  # [count, d]  gpt.lee:16
        self.lay_out()

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[inside(index)]  # [rows, d]  gpt.lee:19


class Block(Model):
    """Attention back and layers for each position, added to what came in."""

    members = ("norm1", "attention", "norm2", "up", "down")

    def __init__(self, d, heads, *, key=(0, 0)):
        self.d, self.heads = d, heads
        self.norm1 = LayerNorm(d)  # gpt.lee:24
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # gpt.lee:25
        self.norm2 = LayerNorm(d)  # gpt.lee:26
        self.up = Linear(d, 4 * d, key=fold(key, SITES["up"]))  # gpt.lee:27
        self.down = Linear(4 * d, d, key=fold(key, SITES["down"]))  # gpt.lee:28
        self.lay_out()

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
        fill = np.full((n, 1, self.d), True, dtype=np.bool_)  # bool[n, 1, d]  gpt.lee:42
        # bool[n, context, d]
        unslice_ = unslice(fill, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        reshape = self.attention.key(norm1_out)[:, None]  # [n, 1, d]
        # [n, context, d]
        unslice_2 = unslice(reshape, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        keys_2 = np.where(unslice_, unslice_2, keys)  # [n, context, d]
        reshape_2 = self.attention.value(norm1_out)[:, None]  # [n, 1, d]  gpt.lee:43
        # [n, context, d]
        unslice_3 = unslice(reshape_2, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        values_2 = np.where(unslice_, unslice_3, values)  # [n, context, d]
        add_4 = self.attention.query(norm1_out)  # [n, d]  gpt.lee:44
        q = add_4.reshape(n, 1, self.heads, self.d // self.heads)  # [n, 1, heads, d // heads]
        k = keys_2.reshape(n, context, self.heads, self.d // self.heads)  # [n, context, heads, d // heads]  gpt.lee:45
        # [n, context, heads, d // heads]  gpt.lee:46
        v = values_2.reshape(n, context, self.heads, self.d // self.heads)
        seen = np.broadcast_to(np.arange(context) <= t, (1, 1, 1, context))  # bool[1, 1, 1, context]  gpt.lee:47
        add_5 = self.attention.output(attend_3(q, k, v, seen).reshape(n, self.d))  # [n, d]  gpt.lee:48
        x_2 = x + add_5[:, None]  # [n, 1, d]
        mul_6 = gelu_2(self.up(self.norm2(x_2.reshape(n, self.d)))[:, None])  # [n, 1, 4 * d]  gpt.lee:49
        return x_2 + self.down(mul_6.reshape(n, 4 * self.d))[:, None], keys_2, values_2


class GPT_2(Model):
    """Every position says what comes next; the table that reads words also writes them (Radford et al. 2019)."""

    members = ("token", "position", "blocks", "final")

    def __init__(self, vocab, d, heads, context, spread=0.02, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context, self.spread = vocab, d, heads, context, spread
        self.token = Table(vocab, d, spread, key=fold(key, SITES["token"]))  # gpt.lee:54
        self.position = Table(context, d, spread, key=fold(key, SITES["position"]))  # gpt.lee:55
        # gpt.lee:56
        self.blocks = [
            Block(d, heads, key=fold(key, SITES["blocks.0"])),
            Block(d, heads, key=fold(key, SITES["blocks.1"])),
        ]
        self.final = LayerNorm(d)  # gpt.lee:57
        self.lay_out()

    def scored(self, tokens, mask):
        """tokens int[n, time], mask bool[1, 1, time, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"gpt.lee:60: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  gpt.lee:61
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
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
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
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
        d_position = Table.forward_backward(np.arange(time), self.context, d_x.sum(axis=0))
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
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
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
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
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
        d_position = Table.forward_backward(np.arange(time), self.context, d_x.sum(axis=0))
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
    # int[n, length + time]  gpt.lee:76
    tokens = np.concatenate((prompt, np.zeros((n, length), dtype=np.int64)), axis=1)
    # gpt.lee:77
    for i in range(length):
        tokens = generate_step(net, tokens, temperature, key, i, length, time)
    return tokens  # int[n, length + time]


def generate_step(net, tokens, temperature, key, i, length, time):
    """tokens int[n, length + time] -> int[n, length + time]"""
    n = tokens.shape[0]
    logits = net(tokens)[:, i + time - 1] / temperature  # [n, net.vocab]  gpt.lee:78
    fill = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  gpt.lee:79
    unslice_ = unslice(fill, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))  # bool[n, length + time]
    reshape = drawn(logits, fold(fold(key, SITES["drawn"]), i))[:, None]  # int[n, 1]
    # int[n, length + time]
    unslice_2 = unslice(reshape, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))
    tokens_3 = np.where(unslice_, unslice_2, tokens)  # int[n, length + time]
    return tokens_3  # int[n, length + time]


def drawn(logits, key):
    """A word with the probabilities softmax(logits): the largest after noise -log(-log u) is added.

    logits [n, vocab] -> int[n]
    """
    n, vocab = logits.shape
    u = uniform(fold(key, SITES["u"]), (n, vocab), FLOAT)  # [n, vocab]  gpt.lee:85
    return (logits - np.log(-np.log(u))).argmax(axis=1)  # int[n]  gpt.lee:86


def continued(net, prompt, length):
    """The likeliest word each time, everything computed anew for every word.

    prompt int[n, time] -> int[n, length + time]
    """
    n, time = prompt.shape
    # int[n, length + time]  gpt.lee:91
    tokens = np.concatenate((prompt, np.zeros((n, length), dtype=np.int64)), axis=1)
    # gpt.lee:92
    for i in range(length):
        tokens = continued_step(net, tokens, i, length, time)
    return tokens  # int[n, length + time]


def continued_step(net, tokens, i, length, time):
    """tokens int[n, length + time] -> int[n, length + time]"""
    n = tokens.shape[0]
    fill = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  gpt.lee:93
    unslice_ = unslice(fill, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))  # bool[n, length + time]
    reshape = net(tokens)[:, i + time - 1].argmax(axis=1)[:, None]  # int[n, 1]
    # int[n, length + time]
    unslice_2 = unslice(reshape, (n, length + time), (slice(0, n), slice(i + time, i + time + 1)))
    tokens_3 = np.where(unslice_, unslice_2, tokens)  # int[n, length + time]
    return tokens_3  # int[n, length + time]


def continued_with_cache(net, prompt, length):
    """The same words: keys and values of every block are kept, so each word costs one position.

    prompt int[n, time] -> int[n, length + time]
    """
    n, time = prompt.shape
    # int[n, length + time]  gpt.lee:99
    tokens = np.concatenate((prompt, np.zeros((n, length), dtype=np.int64)), axis=1)
    keys = np.zeros((2, n, length + time, net.d), dtype=FLOAT)  # [2, n, length + time, net.d]  gpt.lee:100
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
    x = net.token(tokens[:, t])[:, None] + net.position(np.arange(1) + t)  # [n, 1, net.d]  gpt.lee:103
    x_2, k, v = net.blocks[0].extend(x, keys[0], values[0], t)  # gpt.lee:106
    fill = np.full((1, n, length + time, net.d), True, dtype=np.bool_)  # bool[1, n, length + time, net.d]  gpt.lee:107
    # bool[2, n, length + time, net.d]
    unslice_ = unslice(
        fill, (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    # [2, n, length + time, net.d]
    unslice_2 = unslice(
        k[None], (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    keys_3 = np.where(unslice_, unslice_2, keys)  # [2, n, length + time, net.d]
    # [2, n, length + time, net.d]  gpt.lee:108
    unslice_3 = unslice(
        v[None], (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    values_3 = np.where(unslice_, unslice_3, values)  # [2, n, length + time, net.d]
    x_3, k_2, v_2 = net.blocks[1].extend(x_2, keys_3[1], values_3[1], t)  # gpt.lee:106
    # bool[2, n, length + time, net.d]  gpt.lee:107
    unslice_4 = unslice(
        fill, (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    # [2, n, length + time, net.d]
    unslice_5 = unslice(
        k_2[None], (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    keys_4 = np.where(unslice_4, unslice_5, keys_3)  # [2, n, length + time, net.d]
    # [2, n, length + time, net.d]  gpt.lee:108
    unslice_6 = unslice(
        v_2[None], (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    values_4 = np.where(unslice_4, unslice_6, values_3)  # [2, n, length + time, net.d]
    reshape_7 = net.final(x_3.reshape(n, net.d))[:, None]  # [n, 1, net.d]  gpt.lee:110
    best = (reshape_7 @ net.token.table.T).reshape(n, net.vocab).argmax(axis=1)  # int[n]
    fill_2 = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  gpt.lee:111
    unslice_7 = unslice(fill_2, (n, length + time), (slice(0, n), slice(t + 1, t + 2)))  # bool[n, length + time]
    reshape_9 = np.where(t + 1 >= time, best, tokens[:, t + 1])[:, None]  # int[n, 1]
    unslice_8 = unslice(reshape_9, (n, length + time), (slice(0, n), slice(t + 1, t + 2)))  # int[n, length + time]
    tokens_3 = np.where(unslice_7, unslice_8, tokens)  # int[n, length + time]
    return keys_4, tokens_3, values_4


def fit(steps=500, batch=16, context=32, rate=0.01, *, run=None):
    """By characters; perplexity is what is left of the choice between all of them, 26 by their frequency alone."""
    from leec.runtime.run import Run

    run = run or Run("fit")
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
    net = GPT_2(vocab=data.vocab, d=48, heads=4, context=context, key=run.key("net"))  # gpt.lee:121
    opt = AdamW(lr=lambda t: warmup_cosine(rate, 50, steps, t), weight_decay=0.1)  # gpt.lee:122
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        tokens = run.sample("tokens", data.train, batch)  # gpt.lee:124
        run.step(fit_step(net, opt, tokens))  # gpt.lee:125
        if step % 100 == 0:
            valid = data.valid.tokens  # gpt.lee:127
            run.report(perplexity=fit_perplexity(net, valid))  # gpt.lee:128
    return net


def fit_step(net, opt, tokens):
    """One step of fit."""
    batch = tokens.shape[0]
    data_vocab = net.token.table.shape[0]
    context = net.position.table.shape[0]
    slice_ = tokens[:, :context]  # int[batch, context]  gpt.lee:125
    net_out, saved_net = net.forward_saved(slice_)
    net_out_flat = net_out.reshape(batch * context, data_vocab)  # [batch * context, data_vocab]
    reshape = tokens[:, 1:].reshape(batch * context)  # int[batch * context]
    d_net_out_flat = cross_entropy_backward(net_out_flat, reshape, FLOAT(1.0))  # [batch * context, data_vocab]
    d_net_out = d_net_out_flat.reshape(batch, context, data_vocab)  # [batch, context, data_vocab]
    d_net = net.forward_backward(slice_, saved_net, d_net_out)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(net_out_flat, reshape)


def fit_perplexity(net, valid):
    """valid int[data_valid_n, context + 1] -> []"""
    data_valid_n = valid.shape[0]
    data_vocab = net.token.table.shape[0]
    context = net.position.table.shape[0]
    net_out = net(valid[:, :context])  # [data_valid_n, context, data_vocab]  gpt.lee:128
    net_out_flat = net_out.reshape(context * data_valid_n, data_vocab)  # [context * data_valid_n, data_vocab]
    mean = cross_entropy(net_out_flat, valid[:, 1:].reshape(context * data_valid_n))
    return np.exp(mean)


def example_next_word(key):
    net = GPT_2(11, 16, 2, 8, spread=1.0, key=fold(key, SITES["net"]))  # gpt.lee:136
    tokens = randint(fold(key, SITES["tokens"]), (3, 8), 0, 11)  # int[3, 8]  gpt.lee:137
    slice_ = tokens[:, :7]  # int[3, 7]  gpt.lee:138
    net_out, saved_net = net.forward_saved(slice_)
    net_out_flat = net_out.reshape(21, 11)  # [21, 11]
    reshape = tokens[:, 1:].reshape(21)  # int[21]
    d_net_out_flat = cross_entropy_backward(net_out_flat, reshape, FLOAT(1.0))  # [21, 11]
    d_net = net.forward_backward(slice_, saved_net, d_net_out_flat.reshape(3, 7, 11))
    return cross_entropy(net_out_flat, reshape), net.at(d_net)


def example_padded(key):
    net = GPT_2(11, 16, 2, 8, spread=1.0, key=fold(key, SITES["net"]))  # gpt.lee:142
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 11)  # int[3, 6]  gpt.lee:143
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 7)  # int[3]  gpt.lee:144
    net_out, saved_net = net.padded_saved(tokens, lengths)  # gpt.lee:145
    net_out_flat = net_out.reshape(18, 11)  # [18, 11]
    tokens_flat = tokens.reshape(18)  # int[18]
    d_net_out_flat = cross_entropy_backward(net_out_flat, tokens_flat, FLOAT(1.0))  # [18, 11]
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


def attend(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[1, 1, m, time] -> [n,
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

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[n, 1, m, time] -> [n,
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


def attend_3(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[1, 1, 1, time] -> [n,
    m, heads, size]
    """
    size = q.shape[3]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(np.where(mask, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed  # [n, m, heads, size]


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

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, clip=np.inf):
        self.lr, self.beta1, self.beta2 = lr, beta1, beta2
        self.eps, self.weight_decay, self.clip = eps, weight_decay, clip

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        g_2 = g * np.minimum(1, self.clip / (norm(g) + 1e-6))  # [count]  optim.lee:91
        self.m[...] = self.beta1 * self.m + (1 - self.beta1) * g_2  # [count]  optim.lee:92
        self.v[...] = self.beta2 * self.v + (1 - self.beta2) * g_2**2  # [count]  optim.lee:93
        m_hat = self.m / (1 - math.pow(self.beta1, self.t))  # [count]  optim.lee:94
        v_hat = self.v / (1 - math.pow(self.beta2, self.t))  # [count]  optim.lee:95
        add_3 = m_hat / (np.sqrt(v_hat) + self.eps) + self.weight_decay * θ  # [count]  optim.lee:96
        θ -= self.lr * add_3  # [count]


def gelu(x):
    """x · Φ(x), Φ the normal distribution function; or its form by tanh (Hendrycks & Gimpel 2016).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    add_2 = np.tanh((x + x**2 * x * 0.044715) * 0.7978845608028654) + 1  # [x_0, x_1, x_2]  prelude.lee:112
    return x * 0.5 * add_2  # [x_0, x_1, x_2]


def gelu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)))   prelude.lee:112
    mul = x**2  # [x_0, x_1, x_2]
    tanh = np.tanh((x + mul * x * 0.044715) * 0.7978845608028654)  # [x_0, x_1, x_2]
    density = (1 - tanh**2) * ((mul * 0.134145 + 1) * 0.3989422804014327)  # [x_0, x_1, x_2]
    d_x = d_y * ((tanh + 1) * 0.5 + x * density)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


def gelu_2(x):
    """x · Φ(x), Φ the normal distribution function; or its form by tanh (Hendrycks & Gimpel 2016).

    x [x_0, 1, x_2] -> [x_0, 1, x_2]
    """
    add_2 = np.tanh((x + x**2 * x * 0.044715) * 0.7978845608028654) + 1  # [x_0, 1, x_2]  prelude.lee:112
    return x * 0.5 * add_2  # [x_0, 1, x_2]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


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
