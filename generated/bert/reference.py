"""BERT (inventory I3, I4, I6-I9): what is hidden, by what stands around it; then fine-tuned for other tasks.

As published: it normalises behind each sum, and takes gelu as it is.

Made from specs/attention/bert.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/bert.lee
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
    """A row for each index, small at first."""

    members = ("table",)

    def __init__(self, count, d, *, key=(0, 0)):
        self.count, self.d = count, d
        self.table = 0.02 * normal(fold(key, SITES["table"]), (count, d), FLOAT)  # [count, d]  bert.lee:15
        self.lay_out()

    @packed(0, index=(0, 1))
    def forward(self, index):
        """index int[..] -> [.., d]"""
        return self.table[inside(index)]  # [rows, d]  bert.lee:18

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
        self.d, self.heads = d, heads
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # bert.lee:23
        self.norm1 = LayerNorm(d, eps=1e-12)  # bert.lee:24
        self.up = Linear(d, 4 * d, key=fold(key, SITES["up"]))  # bert.lee:25
        self.down = Linear(4 * d, d, key=fold(key, SITES["down"]))  # bert.lee:26
        self.norm2 = LayerNorm(d, eps=1e-12)  # bert.lee:27
        self.lay_out()

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
        inside_ = padding_mask(lengths, time)  # bool[n, 1, 1, time]  bert.lee:30
        reshape_12, saved_attention = self.attention.forward_saved(x, inside_)
        reshape = (x + reshape_12).reshape(n * time, self.d)  # [n * time, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape)
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        reshape_2 = self.up(norm1_out).reshape(n, time, 4 * self.d)  # [n, time, 4 * d]  bert.lee:31
        reshape_3 = gelu(reshape_2).reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        add_2 = x_2 + self.down(reshape_3).reshape(n, time, self.d)  # [n, time, d]
        reshape_5 = add_2.reshape(n * time, self.d)  # [n * time, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_5)
        saved = inside_, saved_attention, reshape, norm1_out, saved_norm1, reshape_2, reshape_3, reshape_5, saved_norm2
        return norm2_out.reshape(n, time, self.d), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        inside_, saved_attention, reshape, norm1_out, saved_norm1, reshape_2, reshape_3, reshape_5, saved_norm2 = saved
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
        d_attention, d_x_3 = self.attention.forward_backward(x, inside_, saved_attention, d_add)
        d_x = d_add + d_x_3  # [n, time, d]
        return {"attention": d_attention, "norm1": d_norm1, "up": d_up, "down": d_down, "norm2": d_norm2}, d_x


class Bert_3(Model):
    """Words of one or two parts, each with all others in view (Devlin et al. 2019)."""

    members = ("token", "segment", "position", "norm", "blocks")

    def __init__(self, vocab, d, heads, context, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Table(vocab, d, key=fold(key, SITES["token"]))  # bert.lee:36
        self.segment = Table(2, d, key=fold(key, SITES["segment"]))  # bert.lee:37
        self.position = Table(context, d, key=fold(key, SITES["position"]))  # bert.lee:38
        self.norm = LayerNorm(d, eps=1e-12)  # bert.lee:39
        # bert.lee:40
        self.blocks = [
            Layer(d, heads, key=fold(key, SITES["blocks.0"])),
            Layer(d, heads, key=fold(key, SITES["blocks.1"])),
        ]
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"bert.lee:43: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  bert.lee:44
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_2 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        add = token_out.reshape(n, time, self.d) + reshape_2  # [n, time, d]
        add_2 = add + self.position(np.arange(time))  # [n, time, d]
        x = self.norm(add_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
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
        add = token_out.reshape(n, time, self.d) + reshape_4  # [n, time, d]
        reshape_5 = (add + self.position(np.arange(time))).reshape(n * time, self.d)  # [n * time, d]
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
        d_position_out = d_reshape_5.reshape(n, time, self.d).sum(axis=0)  # [time, d]
        d_position = Table.forward_backward(np.arange(time), self.context, d_position_out)
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
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Table(vocab, d, key=fold(key, SITES["token"]))  # bert.lee:36
        self.segment = Table(2, d, key=fold(key, SITES["segment"]))  # bert.lee:37
        self.position = Table(context, d, key=fold(key, SITES["position"]))  # bert.lee:38
        self.norm = LayerNorm(d, eps=1e-12)  # bert.lee:39
        self.blocks = [Layer(d, heads, key=fold(key, SITES["blocks.0"]))]  # bert.lee:40
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(f"bert.lee:43: time <= context must hold: context = {self.context}, time = {time}")
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  bert.lee:44
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_2 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        add = token_out.reshape(n, time, self.d) + reshape_2  # [n, time, d]
        add_2 = add + self.position(np.arange(time))  # [n, time, d]
        x = self.norm(add_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
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
        add = token_out.reshape(n, time, self.d) + reshape_4  # [n, time, d]
        reshape_5 = (add + self.position(np.arange(time))).reshape(n * time, self.d)  # [n * time, d]
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
        d_position_out = d_reshape_5.reshape(n, time, self.d).sum(axis=0)  # [time, d]
        d_position = Table.forward_backward(np.arange(time), self.context, d_position_out)
        d_segment = Table.forward_backward(part.reshape(n * time), 2, d_reshape_5)
        d_token = Table.forward_backward(tokens.reshape(n * time), self.vocab, d_reshape_5)
        return {"token": d_token, "segment": d_segment, "position": d_position, "norm": d_norm, "blocks.0": d_blocks_0_}


class MaskedLM_2(Model):
    """What stands at every position, by what stands around it."""

    members = ("encoder", "change", "norm", "bias")

    def __init__(self, vocab, d, heads, context, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.encoder = Bert_3(vocab, d, heads, context, key=fold(key, SITES["encoder"]))  # bert.lee:52
        self.change = Linear(d, d, key=fold(key, SITES["change"]))  # bert.lee:53
        self.norm = LayerNorm(d, eps=1e-12)  # bert.lee:54
        self.bias = np.zeros(vocab, dtype=FLOAT)  # [vocab]  bert.lee:55
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, vocab]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, d]  bert.lee:58
        change_out = self.change(mul.reshape(n * time, self.d))  # [n * time, d]
        mul_2 = gelu(change_out.reshape(n, time, self.d))  # [n, time, d]
        h = self.norm(mul_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
        return h @ self.encoder.token.table.T + self.bias  # [n, time, vocab]  bert.lee:59

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:58
        reshape = mul.reshape(n * time, self.d)  # [n * time, d]
        reshape_2 = self.change(reshape).reshape(n, time, self.d)  # [n, time, d]
        reshape_3 = gelu(reshape_2).reshape(n * time, self.d)  # [n * time, d]
        norm_out, saved_norm = self.norm.forward_saved(reshape_3)
        h = norm_out.reshape(n, time, self.d)  # [n, time, d]
        # bert.lee:59
        return h @ self.encoder.token.table.T + self.bias, (saved_encoder, reshape, reshape_2, reshape_3, saved_norm, h)

    def forward_backward(self, tokens, part, saved, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape, reshape_2, reshape_3, saved_norm, h = saved
        n, time = tokens.shape
        # gradient of return h @ encoder.token.table.T + bias   bert.lee:59
        d_bias = d_y.sum(axis=(0, 1))  # [vocab]
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


def hide(tokens, lengths, pick, kind, other, blank, rate=0.15):
    """Where `pick` is below the rate, a token is chosen: `kind` says whether it becomes [MASK], another, or stays.

    tokens int[n, time], lengths int[n], pick [n, time], kind [n, time], other int[n, time] -> int[n, time],
    bool[n, time]
    """
    time = tokens.shape[1]
    chosen = (pick < rate) & (np.arange(time) < lengths[:, None])  # bool[n, time]  bert.lee:72
    changed = np.where(kind < 0.8, blank, np.where(kind < 0.9, other, tokens))  # int[n, time]  bert.lee:73
    return np.where(chosen, changed, tokens), chosen  # bert.lee:74


def corrupt(tokens, lengths, vocab, blank, key):
    """Of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

    tokens int[n, time], lengths int[n] -> int[n, time], bool[n, time]
    """
    n, time = tokens.shape
    pick = uniform(fold(key, SITES["pick"]), (n, time), FLOAT)  # [n, time]  bert.lee:79
    kind = uniform(fold(key, SITES["kind"]), (n, time), FLOAT)  # [n, time]  bert.lee:80
    other = randint(fold(key, SITES["other"]), (n, time), 0, vocab)  # int[n, time]  bert.lee:81
    select_3, chosen = hide(tokens, lengths, pick, kind, other, blank)  # bert.lee:82
    return select_3, chosen


def recovered(net, tokens, seen, chosen, part, lengths):
    """The cross-entropy of the tokens that were chosen.

    tokens int[n, time], seen int[n, time], chosen bool[n, time], part int[n, time], lengths int[n] -> []
    """
    n, time = tokens.shape
    reshape = net(seen, part, lengths).reshape(n * time, net.vocab)  # [n * time, net.vocab]  bert.lee:94
    each_2 = cross_entropy(reshape, tokens.reshape(n * time)).reshape(n, time)  # [n, time]
    maximum = np.maximum(chosen.astype(FLOAT).sum(), 1)  # bert.lee:95
    return masked(each_2, chosen).sum() / maximum


def recovered_saved(net, tokens, seen, chosen, part, lengths):
    """As recovered, and what its gradient needs."""
    n, time = tokens.shape
    add_3, saved_net = net.forward_saved(seen, part, lengths)  # bert.lee:94
    reshape = add_3.reshape(n * time, net.vocab)  # [n * time, net.vocab]
    each_2 = cross_entropy(reshape, tokens.reshape(n * time)).reshape(n, time)  # [n, time]
    maximum = np.maximum(chosen.astype(FLOAT).sum(), 1)  # bert.lee:95
    return masked(each_2, chosen).sum() / maximum, (saved_net, reshape, maximum)


def recovered_backward(net, tokens, seen, chosen, part, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, reshape, maximum = saved
    n, time = tokens.shape
    # gradient of return sum(where(chosen, each, 0)) / max(sum(float(chosen)), 1)   bert.lee:95
    d_each_2 = masked(d_y / maximum, chosen)  # [n, time]
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


def masked_lm_saved(net, tokens, part, lengths, vocab, blank, key):
    """As masked_lm, and what its gradient needs."""
    seen, chosen_2 = corrupt(tokens, lengths, vocab, blank, fold(key, SITES["corrupt"]))  # bert.lee:100
    div, saved_recovered = recovered_saved(net, tokens, seen, chosen_2, part, lengths)  # bert.lee:101
    return div, (seen, chosen_2, saved_recovered)


def masked_lm_backward(net, tokens, part, saved, d_y):
    """From d_y to the gradient by net."""
    seen, chosen_2, saved_recovered = saved
    # gradient of return recovered(net, tokens, seen, chosen, part, lengths)   bert.lee:101
    d_net = recovered_backward(net, tokens, seen, chosen_2, part, saved_recovered, d_y)
    return d_net


class Classifier(Model):
    """A class of a text, or of two of them: the vector of the first position, changed once, stands for all."""

    members = ("encoder", "pool", "head")

    def __init__(self, encoder, classes, *, key=(0, 0)):
        self.encoder, self.classes = encoder, classes
        self.pool = Linear(encoder.d, encoder.d, key=fold(key, SITES["pool"]))  # bert.lee:109
        self.head = Linear(encoder.d, classes, key=fold(key, SITES["head"]))  # bert.lee:110
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, classes]"""
        pool_out = self.pool(self.encoder(tokens, part, lengths)[:, 0])  # [n, encoder.d]  bert.lee:113
        return self.head(np.tanh(pool_out))  # [n, classes]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:113
        reshape = mul[:, 0]  # [n, encoder.d]
        tanh_pool_out = np.tanh(self.pool(reshape))  # [n, encoder.d]
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
        self.encoder, self.classes = encoder, classes
        self.pool = Linear(encoder.d, encoder.d, key=fold(key, SITES["pool"]))  # bert.lee:109
        self.head = Linear(encoder.d, classes, key=fold(key, SITES["head"]))  # bert.lee:110
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, classes]"""
        pool_out = self.pool(self.encoder(tokens, part, lengths)[:, 0])  # [n, encoder.d]  bert.lee:113
        return self.head(np.tanh(pool_out))  # [n, classes]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:113
        reshape = mul[:, 0]  # [n, encoder.d]
        tanh_pool_out = np.tanh(self.pool(reshape))  # [n, encoder.d]
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
        self.encoder, self.classes = encoder, classes
        self.head = Linear(encoder.d, classes, key=fold(key, SITES["head"]))  # bert.lee:118
        self.lay_out()

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
    lt = np.arange(time) < lengths[:, None]  # bool[n, time]  bert.lee:127
    cast = lengths.sum().astype(FLOAT)
    return masked(each_2, lt).sum() / cast, (saved_net, reshape, lt, cast)


def tagging_backward(net, tokens, part, y, saved, net_encoder_context, net_encoder_vocab, d_div):
    """From d_div to the gradient by net."""
    saved_net, reshape, lt, cast = saved
    n, time = tokens.shape
    # gradient of return sum[b, t in lengths[b]](each[b, t]) / sum(lengths)   bert.lee:127
    d_each_2 = masked(d_div / cast, lt)  # [n, time]
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
        self.encoder = encoder
        self.ends = Linear(encoder.d, 2, key=fold(key, SITES["ends"]))  # bert.lee:137
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time], [n, time]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, encoder.d]  bert.lee:140
        z = self.ends(mul.reshape(n * time, self.encoder.d)).reshape(n, time, 2)  # [n, time, 2]
        z_2 = np.where((np.arange(time) < lengths[:, None])[:, :, None], z, -np.inf)  # [n, time, 2]  bert.lee:141
        return z_2[:, :, 0], z_2[:, :, 1]  # bert.lee:142

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # bert.lee:140
        reshape = mul.reshape(n * time, self.encoder.d)  # [n * time, encoder.d]
        z = self.ends(reshape).reshape(n, time, 2)  # [n, time, 2]
        reshape_3 = (np.arange(time) < lengths[:, None])[:, :, None]  # bool[n, time, 1]  bert.lee:141
        z_2 = np.where(reshape_3, z, -np.inf)  # [n, time, 2]
        return z_2[:, :, 0], z_2[:, :, 1], (saved_encoder, reshape, reshape_3)  # bert.lee:142

    def forward_backward(self, tokens, part, saved, encoder_context, encoder_vocab, d_reshape_5, d_reshape_6):
        """From d_reshape_5 and d_reshape_6 to the gradient by the parameters."""
        saved_encoder, reshape, reshape_3 = saved
        n, time = tokens.shape
        # gradient of z[b, t, e] = where(t < lengths[b], z[b, t, e], -inf)   bert.lee:141
        d_z_2 = np.stack((d_reshape_5, d_reshape_6), axis=2)  # [n, time, 2]
        d_z = masked(d_z_2, reshape_3)  # [n, time, 2]
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
    select = np.where(np.arange(time) < lengths[:, None], z, -np.inf)  # [n, time]  bert.lee:147
    surprise = logsumexp(select, 1) - z[np.arange(n), inside(y)]  # [n]
    return surprise.mean()  # bert.lee:148


def edge_saved(z, y, lengths):
    """As edge, and what its gradient needs."""
    n, time = z.shape
    lt = np.arange(time) < lengths[:, None]  # bool[n, time]  bert.lee:147
    select = np.where(lt, z, -np.inf)  # [n, time]
    surprise = logsumexp(select, 1) - z[np.arange(n), inside(y)]  # [n]
    return surprise.mean(), (lt, select)  # bert.lee:148


def edge_backward(y, saved, d_out):
    """From d_out to the gradient by z."""
    lt, select = saved
    n = y.shape[0]
    time = lt.shape[1]
    # gradient of return mean(surprise)   bert.lee:148
    div = d_out / n
    # gradient of surprise[b] = logsumexp[t in lengths[b]](z[b, t]) - z[b, y[b]]   bert.lee:147
    d_gather = np.broadcast_to(-div, (n,))  # [n]
    d_z_2 = scatter_add(d_gather, (np.arange(n), y), (n, time))  # [n, time]
    d_z = d_z_2 + masked(div * softmax(select, (1,)), lt)  # [n, time]
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
    lt = np.arange(time) < (np.arange(time) + longest)[:, None]  # bool[time, time]  bert.lee:159
    logical_and = (np.arange(time)[:, None] <= np.arange(time)) & lt  # bool[time, time]
    score = np.where(logical_and, first[:, :, None] + last[:, None], -np.inf)  # [n, time, time]
    place = score.reshape(n, time**2).argmax(axis=1)  # int[n]  bert.lee:160
    return place // time, place % time  # bert.lee:161


def pretrain(steps=300, batch=16, context=32, rate=2e-3, *, run=None):
    """Sentences in pairs; the perplexity of the words that are hidden, 109 by their frequency alone."""
    from leec.runtime.run import Run

    run = run or Run("pretrain")
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
    net = MaskedLM_2(vocab=data.vocab, d=48, heads=4, context=context, key=run.key("net"))  # bert.lee:170
    opt = AdamW(lr=lambda t: warmup_linear(rate, 50, steps, t), weight_decay=0.01)  # bert.lee:171
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        tokens, part, lengths = run.sample("tokens", data.train, batch)  # bert.lee:173
        run.step(pretrain_step(net, opt, tokens, part, lengths, data.mask, key=run.key("pretrain")))  # bert.lee:174
        if step % 100 == 0:
            v = data.valid  # bert.lee:176
            run.report(
                perplexity=pretrain_perplexity(net, v.tokens, v.part, v.lengths, data.mask, key=run.key("pretrain"))
            )
    return net


def pretrain_step(net, opt, tokens, part, lengths, data_mask, key):
    """One step of pretrain."""
    data_vocab = net.encoder.token.table.shape[0]
    key_2 = fold(key, SITES["masked_lm"])  # bert.lee:174
    loss, saved_masked_lm = masked_lm_saved(net, tokens, part, lengths, data_vocab, data_mask, key_2)
    d_net = masked_lm_backward(net, tokens, part, saved_masked_lm, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def pretrain_perplexity(net, v_tokens, v_part, v_lengths, data_mask, key):
    """v_tokens int[data_valid_n, context], v_part int[data_valid_n, context], v_lengths int[data_valid_n] -> []"""
    data_vocab = net.encoder.token.table.shape[0]
    key_2 = fold(key, SITES["masked_lm#2"])  # bert.lee:177
    div = masked_lm(net, v_tokens, v_part, v_lengths, data_vocab, data_mask, key_2)
    return np.exp(div)


def finetune(epochs=5, batch=16, rate=2e-3, *, run=None):
    """Where the answer stands: how often both ends are right."""
    from leec.runtime.run import Run

    run = run or Run("finetune")
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
    pretrained = MaskedLM_2(vocab=data.vocab, d=48, heads=4, context=32, key=run.key("pretrained"))  # bert.lee:184
    net = Reader(encoder=pretrained.encoder.copy(), key=run.key("net"))  # bert.lee:185
    slow = AdamW(lr=rate)  # bert.lee:186
    fast = AdamW(lr=rate)  # bert.lee:187
    for epoch in run.loop("epoch", 1, epochs, fast=fast, net=net, slow=slow):
        for tokens, part, lengths, first, last in run.batches("batches", data.train, batch, shuffle=True):
            run.step(finetune_step(net, slow, fast, tokens, part, lengths, first, last))  # bert.lee:190
        v = data.valid  # bert.lee:191
        i, j = finetune_i_j(net, v.tokens, v.part, v.lengths)  # bert.lee:192
        run.report(exact=((i == v.first) & (j == v.last)).astype(FLOAT).mean())  # bert.lee:194
    return net


def finetune_step(net, slow, fast, tokens, part, lengths, first, last):
    """One step of finetune."""
    data_vocab = net.encoder.token.table.shape[0]
    loss, saved_span = span_saved(net, tokens, part, lengths, first, last)  # bert.lee:190
    d_loss = FLOAT(1.0)
    d_net = span_backward(net, tokens, part, first, last, saved_span, 32, data_vocab, d_loss)
    slow.update(net.encoder.parameters, net.encoder.flat(d_net["encoder"]))
    fast.update(net.ends.parameters, net.ends.flat(d_net["ends"]))
    return loss


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
    d_value = FLOAT(1.0)
    d_net = recovered_backward(net, tokens, shown, picked, part, saved_recovered, d_value)
    return value, net.at(d_net)


def example_covered(key):
    tokens = randint(fold(key, SITES["tokens"]), (100, 60), 0, 20)  # int[100, 60]  bert.lee:211
    lengths = randint(fold(key, SITES["lengths"]), (100,), 1, 61)  # int[100]  bert.lee:212
    pick = uniform(fold(key, SITES["pick"]), (100, 60), FLOAT)  # [100, 60]  bert.lee:213
    kind = uniform(fold(key, SITES["kind"]), (100, 60), FLOAT)  # [100, 60]  bert.lee:214
    other = randint(fold(key, SITES["other"]), (100, 60), 0, 21)  # int[100, 60]  bert.lee:215
    value, value_1 = hide(tokens, lengths, pick, kind, other, 20)  # bert.lee:216
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
    d_net = follows_backward(net, tokens, part, y, saved_follows, 8, 11, FLOAT(1.0))
    return value, net.at(d_net)


def example_tagged(key):
    self_ = Bert_4(11, 8, 2, 8, key=fold(key, SITES["net"]))  # bert.lee:238
    net = Tagger(self_, 3, key=fold(key, SITES["net#2"]))
    tokens = randint(fold(key, SITES["tokens"]), (4, 6), 0, 11)  # int[4, 6]  bert.lee:239
    part = randint(fold(key, SITES["part"]), (4, 6), 0, 2)  # int[4, 6]  bert.lee:240
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 7)  # int[4]  bert.lee:241
    y = randint(fold(key, SITES["y"]), (4, 6), 0, 3)  # int[4, 6]  bert.lee:242
    value, saved_tagging = tagging_saved(net, tokens, part, lengths, y)  # bert.lee:243
    d_net = tagging_backward(net, tokens, part, y, saved_tagging, 8, 11, FLOAT(1.0))
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
    d_net = span_backward(net, tokens, part, first, last, saved_span, 8, 11, FLOAT(1.0))
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


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced_2(surprise)  # losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_out)  # [rows]
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


def reduced_2(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_2_backward(each_0, d_y):
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


def padding_mask(lengths, time):
    """True at the positions before each length.

    lengths int[n] -> bool[n, 1, 1, time]
    """
    inside_ = (np.arange(time) < lengths[:, None])[:, None, None]  # bool[n, 1, 1, time]  nn.lee:343
    return inside_  # bool[n, 1, 1, time]


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
    return x * 0.5 * (erf(x / 1.4142135623730951) + 1)  # [x_0, x_1, x_2]  prelude.lee:113


def gelu_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return 0.5 * x * (1 + erf(x / sqrt(2)))   prelude.lee:113
    mul_3 = x * (np.exp(x**2 * -0.5) * 0.3989422804014327)  # [x_0, x_1, x_2]
    d_x = d_y * ((erf(x / 1.4142135623730951) + 1) * 0.5 + mul_3)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


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


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))), shifted by the maximum; of nothing, or of -inf alone, it is -inf."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return total if keepdims else total.squeeze(axes)


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


def polynomial(x, *coefficients):
    """The polynomial with these coefficients, the highest power first."""
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


def erf(x):
    """Error function, by the rational approximations of Sun's fdlibm (s_erf.c)."""
    a, s = np.abs(x), x * x
    p = polynomial(
        s,
        *(-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02),
        *(-3.25042107247001499370e-01, 1.28379167095512558561e-01),
    )
    q = polynomial(
        s,
        *(-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03),
        *(6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0),
    )
    return np.where(a < 0.84375, x + x * (p / q), np.sign(x) * (1 - erfc_tail(np.maximum(a, 0.84375))))


def erfc_tail(x):
    """erfc for x of at least 0.84375: near 1 a quotient of polynomials, beyond with exp(-x * x) split in two."""
    s = x - 1
    p = polynomial(
        s,
        *(-2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01),
        *(3.18346619901161753674e-01, -3.72207876035701323847e-01, 4.14856118683748331666e-01),
        -2.36211856075265944077e-03,
    )
    q = polynomial(
        s,
        *(1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01),
        *(7.18286544141962662868e-02, 5.40397917702171048937e-01, 1.06420880400844228286e-01, 1.0),
    )
    near = 1 - 8.45062911510467529297e-01 - p / q
    x = np.minimum(x, 28)  # beyond it is 0
    s = 1 / (x * x)
    r = polynomial(
        s,
        *(-9.81432934416914548592e00, -8.12874355063065934246e01, -1.84605092906711035994e02),
        *(-1.62396669462573470355e02, -6.23753324503260060396e01, -1.05586262253232909814e01),
        *(-6.93858572707181764372e-01, -9.86494403484714822705e-03),
    ) / polynomial(
        s,
        *(-6.04244152148580987438e-02, 6.57024977031928170135e00, 1.08635005541779435134e02),
        *(4.29008140027567833386e02, 6.45387271733267880336e02, 4.34565877475229228821e02),
        *(1.37657754143519042600e02, 1.96512716674392571292e01, 1.0),
    )
    far = polynomial(
        s,
        *(-4.83519191608651397019e02, -1.02509513161107724954e03, -6.37566443368389627722e02),
        *(-1.60636384855821916062e02, -1.77579549177547519889e01, -7.99283237680523006574e-01),
        -9.86494292470009928597e-03,
    ) / polynomial(
        s,
        *(-2.24409524465858183362e01, 4.74528541206955367215e02, 2.55305040643316442583e03),
        *(3.19985821950859553908e03, 1.53672958608443695994e03, 3.25792512996573918826e02),
        *(3.03380607434824582924e01, 1.0),
    )
    top = x.astype(np.float32).astype(x.dtype)  # its square is exact
    power = np.exp(-top * top - 0.5625) * np.exp((top - x) * (top + x) + np.where(x < 1 / 0.35, r, far))
    return np.where(x < 1.25, near, power / x)


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
