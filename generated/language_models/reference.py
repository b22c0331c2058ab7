"""Language models made of attention (inventory G15, G20, G21; self-supervised learning): GPT and BERT.

GPT says what comes next, BERT what is hidden. Both as published: GPT-2 normalises before each branch and takes gelu by
its form with tanh, BERT normalises behind each sum and takes the exact one.

Made from specs/attention/language_models.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/language_models.lee
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


class Block(Model):
    """Attention back and layers for each position, added to what came in."""

    members = ("norm1", "attention", "norm2", "up", "down")

    def __init__(self, d, heads, *, key=(0, 0)):
        self.d, self.heads = d, heads
        self.norm1 = LayerNorm(d)  # language_models.lee:16
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # language_models.lee:17
        self.norm2 = LayerNorm(d)  # language_models.lee:18
        self.up = Linear(d, 4 * d, key=fold(key, SITES["up"]))  # language_models.lee:19
        self.down = Linear(4 * d, d, key=fold(key, SITES["down"]))  # language_models.lee:20
        self.lay_out()

    def forward(self, x, mask):
        """x [n, time, d], mask bool[1, 1, time, time] -> [n, time, d]"""
        n, time, _ = x.shape
        norm1_out = self.norm1(x.reshape(n * time, self.d))  # [n * time, d]  language_models.lee:23
        x_2 = x + self.attention(norm1_out.reshape(n, time, self.d), mask)  # [n, time, d]
        up_out = self.up(self.norm2(x_2.reshape(n * time, self.d)))  # [n * time, 4 * d]  language_models.lee:24
        mul_6 = gelu(up_out.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        down_out = self.down(mul_6.reshape(n * time, 4 * self.d))  # [n * time, d]
        return x_2 + down_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_saved(self, x, mask):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        norm1_out, saved_norm1 = self.norm1.forward_saved(x.reshape(n * time, self.d))  # language_models.lee:23
        reshape_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        reshape_12, saved_attention = self.attention.forward_saved(reshape_2, mask)
        x_2 = x + reshape_12  # [n, time, d]
        reshape_3 = x_2.reshape(n * time, self.d)  # [n * time, d]  language_models.lee:24
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_3)
        reshape_4 = self.up(norm2_out).reshape(n, time, 4 * self.d)  # [n, time, 4 * d]
        reshape_5 = gelu(reshape_4).reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        saved = saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5
        return x_2 + self.down(reshape_5).reshape(n, time, self.d), saved

    def forward_backward(self, x, mask, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5 = saved
        n, time, _ = x.shape
        # gradient of return x + down(gelu(up(norm2(x)), approximate = true))   language_models.lee:24
        d_down, d_reshape_5 = self.down.forward_backward(reshape_5, d_y.reshape(n * time, self.d))
        d_reshape_4 = gelu_backward(reshape_4, d_reshape_5.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        d_up_out = d_reshape_4.reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        d_up, d_norm2_out = self.up.forward_backward(norm2_out, d_up_out)
        d_norm2, d_reshape_3 = self.norm2.forward_backward(reshape_3, saved_norm2, d_norm2_out)
        # gradient of x = x + attention(norm1(x), mask = mask)   language_models.lee:23
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
        norm1_out = self.norm1(x.reshape(n * time, self.d))  # [n * time, d]  language_models.lee:23
        reshape_12 = self.attention.forward_2(norm1_out.reshape(n, time, self.d), mask)  # [n, time, d]
        x_2 = x + reshape_12  # [n, time, d]
        up_out = self.up(self.norm2(x_2.reshape(n * time, self.d)))  # [n * time, 4 * d]  language_models.lee:24
        mul_6 = gelu(up_out.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        down_out = self.down(mul_6.reshape(n * time, 4 * self.d))  # [n * time, d]
        return x_2 + down_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_2_saved(self, x, mask):
        """As forward_2, and what its gradient needs."""
        n, time, _ = x.shape
        norm1_out, saved_norm1 = self.norm1.forward_saved(x.reshape(n * time, self.d))  # language_models.lee:23
        reshape_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        reshape_12, saved_attention = self.attention.forward_2_saved(reshape_2, mask)
        x_2 = x + reshape_12  # [n, time, d]
        reshape_3 = x_2.reshape(n * time, self.d)  # [n * time, d]  language_models.lee:24
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_3)
        reshape_4 = self.up(norm2_out).reshape(n, time, 4 * self.d)  # [n, time, 4 * d]
        reshape_5 = gelu(reshape_4).reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        saved = saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5
        return x_2 + self.down(reshape_5).reshape(n, time, self.d), saved

    def forward_2_backward(self, x, mask, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_norm1, reshape_2, saved_attention, reshape_3, norm2_out, saved_norm2, reshape_4, reshape_5 = saved
        n, time, _ = x.shape
        # gradient of return x + down(gelu(up(norm2(x)), approximate = true))   language_models.lee:24
        d_down, d_reshape_5 = self.down.forward_backward(reshape_5, d_y.reshape(n * time, self.d))
        d_reshape_4 = gelu_backward(reshape_4, d_reshape_5.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        d_up_out = d_reshape_4.reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        d_up, d_norm2_out = self.up.forward_backward(norm2_out, d_up_out)
        d_norm2, d_reshape_3 = self.norm2.forward_backward(reshape_3, saved_norm2, d_norm2_out)
        # gradient of x = x + attention(norm1(x), mask = mask)   language_models.lee:23
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
                f"language_models.lee:36: d * n = {self.d * n} "
                f"must equal (d // heads) * heads * n = {self.d // self.heads * self.heads * n}"
            )
        if context * self.d * n != context * (self.d // self.heads) * self.heads * n:
            raise ValueError(
                f"language_models.lee:37: context * d * n = {context * self.d * n} "
                f"must equal context * (d // heads) * heads * n = {context * (self.d // self.heads) * self.heads * n}"
            )
        if context * self.d * n != context * (self.d // self.heads) * self.heads * n:
            raise ValueError(
                f"language_models.lee:38: context * d * n = {context * self.d * n} "
                f"must equal context * (d // heads) * heads * n = {context * (self.d // self.heads) * self.heads * n}"
            )
        if self.d // self.heads * self.heads * n != self.d * n:
            raise ValueError(
                f"language_models.lee:40: (d // heads) * heads * n = {self.d // self.heads * self.heads * n} "
                f"must equal d * n = {self.d * n}"
            )
        norm1_out = self.norm1(x.reshape(n, self.d))  # [n, d]  language_models.lee:33
        fill = np.full((n, 1, self.d), True, dtype=np.bool_)  # bool[n, 1, d]  language_models.lee:34
        # bool[n, context, d]
        unslice_ = unslice(fill, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        reshape = self.attention.key(norm1_out)[:, None]  # [n, 1, d]
        # [n, context, d]
        unslice_2 = unslice(reshape, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        keys_2 = np.where(unslice_, unslice_2, keys)  # [n, context, d]
        reshape_2 = self.attention.value(norm1_out)[:, None]  # [n, 1, d]  language_models.lee:35
        # [n, context, d]
        unslice_3 = unslice(reshape_2, (n, context, self.d), (slice(0, n), slice(t, t + 1), slice(0, self.d)))
        values_2 = np.where(unslice_, unslice_3, values)  # [n, context, d]
        add_4 = self.attention.query(norm1_out)  # [n, d]  language_models.lee:36
        q = add_4.reshape(n, 1, self.heads, self.d // self.heads)  # [n, 1, heads, d // heads]
        # [n, context, heads, d // heads]  language_models.lee:37
        k = keys_2.reshape(n, context, self.heads, self.d // self.heads)
        # [n, context, heads, d // heads]  language_models.lee:38
        v = values_2.reshape(n, context, self.heads, self.d // self.heads)
        # bool[1, 1, 1, context]  language_models.lee:39
        seen = np.broadcast_to(np.arange(context) <= t, (1, 1, 1, context))
        add_5 = self.attention.output(attend_3(q, k, v, seen).reshape(n, self.d))  # [n, d]  language_models.lee:40
        x_2 = x + add_5[:, None]  # [n, 1, d]
        mul_6 = gelu_2(self.up(self.norm2(x_2.reshape(n, self.d)))[:, None])  # [n, 1, 4 * d]  language_models.lee:41
        return x_2 + self.down(mul_6.reshape(n, 4 * self.d))[:, None], keys_2, values_2


class GPT_2(Model):
    """Every position says what comes next; the table that reads words also writes them (Radford et al. 2019)."""

    members = ("token", "position", "blocks", "final")

    def __init__(self, vocab, d=128, heads=4, context=64, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Embedding(vocab, d, key=fold(key, SITES["token"]))  # language_models.lee:46
        self.position = Embedding(context, d, key=fold(key, SITES["position"]))  # language_models.lee:47
        # language_models.lee:48
        self.blocks = [
            Block(d, heads, key=fold(key, SITES["blocks.0"])),
            Block(d, heads, key=fold(key, SITES["blocks.1"])),
        ]
        self.final = LayerNorm(d)  # language_models.lee:49
        self.lay_out()

    def scored(self, tokens, mask):
        """tokens int[n, time], mask bool[1, 1, time, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:52: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:53
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
        x_2 = self.blocks[0](x, mask)  # [n, time, d]  language_models.lee:55
        x_3 = self.blocks[1](x_2, mask)  # [n, time, d]
        final_out = self.final(x_3.reshape(n * time, self.d))  # [n * time, d]  language_models.lee:56
        return final_out.reshape(n, time, self.d) @ self.token.table.T  # [n, time, vocab]

    def scored_saved(self, tokens, mask):
        """As scored, and what its gradient needs."""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:52: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:53
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
        x_2, saved_blocks_0_ = self.blocks[0].forward_saved(x, mask)  # language_models.lee:55
        x_3, saved_blocks_1_ = self.blocks[1].forward_saved(x_2, mask)
        reshape_3 = x_3.reshape(n * time, self.d)  # [n * time, d]  language_models.lee:56
        final_out, saved_final = self.final.forward_saved(reshape_3)
        reshape_4 = final_out.reshape(n, time, self.d)  # [n, time, d]
        saved = x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4
        return reshape_4 @ self.token.table.T, saved

    def scored_backward(self, tokens, mask, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4 = saved
        n, time = tokens.shape
        # gradient of return final(x) @ token.table.T   language_models.lee:56
        reshape_2 = reshape_4.reshape(n * time, self.d)  # [n * time, d]
        d_final_out = (d_y @ self.token.table).reshape(n * time, self.d)  # [n * time, d]
        d_final, d_reshape_3 = self.final.forward_backward(reshape_3, saved_final, d_final_out)
        d_x_3 = d_reshape_3.reshape(n, time, self.d)  # [n, time, d]
        # gradient of x = block(x, mask)   language_models.lee:55
        d_blocks_1_, d_x_2 = self.blocks[1].forward_backward(x_2, mask, saved_blocks_1_, d_x_3)
        d_blocks_0_, d_x = self.blocks[0].forward_backward(x, mask, saved_blocks_0_, d_x_2)
        # gradient of x = token(tokens) + position(arange(time))   language_models.lee:53
        d_position = Embedding.forward_backward(np.arange(time), self.context, d_x.sum(axis=0))
        d_token_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        tokens_flat = tokens.reshape(n * time)  # int[n * time]
        d_token = Embedding.forward_backward(tokens_flat, self.vocab, d_token_out)
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
        return self.scored(tokens, causal_mask(time))  # [n, time, vocab]  language_models.lee:59

    def forward_saved(self, tokens):
        """As forward, and what its gradient needs."""
        time = tokens.shape[1]
        contract, saved_self = self.scored_saved(tokens, causal_mask(time))  # language_models.lee:59
        return contract, (causal_mask(time), saved_self)

    def forward_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        back, saved_self = saved
        # gradient of return scored(tokens, causal_mask(time))   language_models.lee:59
        d_gpt_2 = self.scored_backward(tokens, back, saved_self, d_y)
        return d_gpt_2

    def scored_2(self, tokens, mask):
        """tokens int[n, time], mask bool[n, 1, time, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:52: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:53
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
        x_2 = self.blocks[0].forward_2(x, mask)  # [n, time, d]  language_models.lee:55
        x_3 = self.blocks[1].forward_2(x_2, mask)  # [n, time, d]
        final_out = self.final(x_3.reshape(n * time, self.d))  # [n * time, d]  language_models.lee:56
        return final_out.reshape(n, time, self.d) @ self.token.table.T  # [n, time, vocab]

    def scored_2_saved(self, tokens, mask):
        """As scored_2, and what its gradient needs."""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:52: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:53
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
        x_2, saved_blocks_0_ = self.blocks[0].forward_2_saved(x, mask)  # language_models.lee:55
        x_3, saved_blocks_1_ = self.blocks[1].forward_2_saved(x_2, mask)
        reshape_3 = x_3.reshape(n * time, self.d)  # [n * time, d]  language_models.lee:56
        final_out, saved_final = self.final.forward_saved(reshape_3)
        reshape_4 = final_out.reshape(n, time, self.d)  # [n, time, d]
        saved = x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4
        return reshape_4 @ self.token.table.T, saved

    def scored_2_backward(self, tokens, mask, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, x_2, saved_blocks_0_, saved_blocks_1_, reshape_3, saved_final, reshape_4 = saved
        n, time = tokens.shape
        # gradient of return final(x) @ token.table.T   language_models.lee:56
        reshape_2 = reshape_4.reshape(n * time, self.d)  # [n * time, d]
        d_final_out = (d_y @ self.token.table).reshape(n * time, self.d)  # [n * time, d]
        d_final, d_reshape_3 = self.final.forward_backward(reshape_3, saved_final, d_final_out)
        d_x_3 = d_reshape_3.reshape(n, time, self.d)  # [n, time, d]
        # gradient of x = block(x, mask)   language_models.lee:55
        d_blocks_1_, d_x_2 = self.blocks[1].forward_2_backward(x_2, mask, saved_blocks_1_, d_x_3)
        d_blocks_0_, d_x = self.blocks[0].forward_2_backward(x, mask, saved_blocks_0_, d_x_2)
        # gradient of x = token(tokens) + position(arange(time))   language_models.lee:53
        d_position = Embedding.forward_backward(np.arange(time), self.context, d_x.sum(axis=0))
        d_token_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        tokens_flat = tokens.reshape(n * time)  # int[n * time]
        d_token = Embedding.forward_backward(tokens_flat, self.vocab, d_token_out)
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
        # [n, time, vocab]  language_models.lee:63
        y = self.scored_2(tokens, causal_mask(time) & padding_mask(lengths, time))
        return y  # [n, time, vocab]

    def padded_saved(self, tokens, lengths):
        """As padded, and what its gradient needs."""
        time = tokens.shape[1]
        logical_and = causal_mask(time) & padding_mask(lengths, time)  # bool[n, 1, time, time]  language_models.lee:63
        contract, saved_self = self.scored_2_saved(tokens, logical_and)
        return contract, (logical_and, saved_self)

    def padded_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        logical_and, saved_self = saved
        # gradient of return scored(tokens, causal_mask(time) and padding_mask(lengths, time))   language_models.lee:63
        d_gpt_2 = self.scored_2_backward(tokens, logical_and, saved_self, d_y)
        return d_gpt_2


class GPT_3(Model):
    """Every position says what comes next; the table that reads words also writes them (Radford et al. 2019)."""

    members = ("token", "position", "blocks", "final")

    def __init__(self, vocab, d=128, heads=4, context=64, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Embedding(vocab, d, key=fold(key, SITES["token"]))  # language_models.lee:46
        self.position = Embedding(context, d, key=fold(key, SITES["position"]))  # language_models.lee:47
        # language_models.lee:48
        self.blocks = [
            Block(d, heads, key=fold(key, SITES["blocks.0"])),
            Block(d, heads, key=fold(key, SITES["blocks.1"])),
            Block(d, heads, key=fold(key, SITES["blocks.2"])),
            Block(d, heads, key=fold(key, SITES["blocks.3"])),
        ]
        self.final = LayerNorm(d)  # language_models.lee:49
        self.lay_out()

    def scored(self, tokens, mask):
        """tokens int[n, time], mask bool[1, 1, time, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:52: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:53
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
        x_2 = self.blocks[0](x, mask)  # [n, time, d]  language_models.lee:55
        x_3 = self.blocks[1](x_2, mask)  # [n, time, d]
        x_4 = self.blocks[2](x_3, mask)  # [n, time, d]
        x_5 = self.blocks[3](x_4, mask)  # [n, time, d]
        final_out = self.final(x_5.reshape(n * time, self.d))  # [n * time, d]  language_models.lee:56
        return final_out.reshape(n, time, self.d) @ self.token.table.T  # [n, time, vocab]

    def forward(self, tokens):
        """tokens int[n, time] -> [n, time, vocab]"""
        time = tokens.shape[1]
        return self.scored(tokens, causal_mask(time))  # [n, time, vocab]  language_models.lee:59

    def scored_2(self, tokens, mask):
        """tokens int[n, time], mask bool[n, 1, time, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:52: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:53
        x = token_out.reshape(n, time, self.d) + self.position(np.arange(time))  # [n, time, d]
        x_2 = self.blocks[0].forward_2(x, mask)  # [n, time, d]  language_models.lee:55
        x_3 = self.blocks[1].forward_2(x_2, mask)  # [n, time, d]
        x_4 = self.blocks[2].forward_2(x_3, mask)  # [n, time, d]
        x_5 = self.blocks[3].forward_2(x_4, mask)  # [n, time, d]
        final_out = self.final(x_5.reshape(n * time, self.d))  # [n * time, d]  language_models.lee:56
        return final_out.reshape(n, time, self.d) @ self.token.table.T  # [n, time, vocab]

    def padded(self, tokens, lengths):
        """Rows of different lengths: what stands behind them is seen by nobody.

        tokens int[n, time], lengths int[n] -> [n, time, vocab]
        """
        time = tokens.shape[1]
        # [n, time, vocab]  language_models.lee:63
        y = self.scored_2(tokens, causal_mask(time) & padding_mask(lengths, time))
        return y  # [n, time, vocab]


def generate(net, prompt, length, key, temperature=1.0):
    """Words are drawn one after the other, by what the model makes of all before.

    prompt int[n, time] -> int[n, length + time]
    """
    n, time = prompt.shape
    # int[n, length + time]  language_models.lee:68
    tokens = np.concatenate((prompt, np.zeros((n, length), dtype=np.int64)), axis=1)
    # language_models.lee:69
    for i in range(length):
        tokens = generate_step(net, tokens, temperature, key, i, length, time)
    return tokens  # int[n, length + time]


def generate_step(net, tokens, temperature, key, i, length, time):
    """tokens int[n, length + time] -> int[n, length + time]"""
    n = tokens.shape[0]
    logits = net(tokens)[:, i + time - 1] / temperature  # [n, net.vocab]  language_models.lee:70
    fill = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  language_models.lee:71
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
    u = uniform(fold(key, SITES["u"]), (n, vocab), FLOAT)  # [n, vocab]  language_models.lee:77
    return (logits - np.log(-np.log(u))).argmax(axis=1)  # int[n]  language_models.lee:78


def continued(net, prompt, length):
    """The likeliest word each time, everything computed anew for every word.

    prompt int[n, time] -> int[n, length + time]
    """
    n, time = prompt.shape
    # int[n, length + time]  language_models.lee:83
    tokens = np.concatenate((prompt, np.zeros((n, length), dtype=np.int64)), axis=1)
    # language_models.lee:84
    for i in range(length):
        tokens = continued_step(net, tokens, i, length, time)
    return tokens  # int[n, length + time]


def continued_step(net, tokens, i, length, time):
    """tokens int[n, length + time] -> int[n, length + time]"""
    n = tokens.shape[0]
    fill = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  language_models.lee:85
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
    # int[n, length + time]  language_models.lee:91
    tokens = np.concatenate((prompt, np.zeros((n, length), dtype=np.int64)), axis=1)
    keys = np.zeros((2, n, length + time, net.d), dtype=FLOAT)  # [2, n, length + time, net.d]  language_models.lee:92
    keys_ = keys  # language_models.lee:94
    values = keys
    for t in range(length + time - 1):
        keys_, tokens, values = continued_with_cache_step(net, keys_, tokens, values, length, t, time)
    return tokens  # int[n, length + time]


def continued_with_cache_step(net, keys, tokens, values, length, t, time):
    """keys [2, n, length + time, net.d], tokens int[n, length + time], values [2, n, length + time, net.d] -> [2,
    n, length + time, net.d], int[n, length + time], [2, n, length + time, net.d]
    """
    n = keys.shape[1]
    x = net.token(tokens[:, t])[:, None] + net.position(np.arange(1) + t)  # [n, 1, net.d]  language_models.lee:95
    x_2, k, v = net.blocks[0].extend(x, keys[0], values[0], t)  # language_models.lee:98
    # bool[1, n, length + time, net.d]  language_models.lee:99
    fill = np.full((1, n, length + time, net.d), True, dtype=np.bool_)
    # bool[2, n, length + time, net.d]
    unslice_ = unslice(
        fill, (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    # [2, n, length + time, net.d]
    unslice_2 = unslice(
        k[None], (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    keys_3 = np.where(unslice_, unslice_2, keys)  # [2, n, length + time, net.d]
    # [2, n, length + time, net.d]  language_models.lee:100
    unslice_3 = unslice(
        v[None], (2, n, length + time, net.d), (slice(0, 1), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    values_3 = np.where(unslice_, unslice_3, values)  # [2, n, length + time, net.d]
    x_3, k_2, v_2 = net.blocks[1].extend(x_2, keys_3[1], values_3[1], t)  # language_models.lee:98
    # bool[2, n, length + time, net.d]  language_models.lee:99
    unslice_4 = unslice(
        fill, (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    # [2, n, length + time, net.d]
    unslice_5 = unslice(
        k_2[None], (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    keys_4 = np.where(unslice_4, unslice_5, keys_3)  # [2, n, length + time, net.d]
    # [2, n, length + time, net.d]  language_models.lee:100
    unslice_6 = unslice(
        v_2[None], (2, n, length + time, net.d), (slice(1, 2), slice(0, n), slice(0, length + time), slice(0, net.d))
    )
    values_4 = np.where(unslice_4, unslice_6, values_3)  # [2, n, length + time, net.d]
    reshape_7 = net.final(x_3.reshape(n, net.d))[:, None]  # [n, 1, net.d]  language_models.lee:102
    best = (reshape_7 @ net.token.table.T).reshape(n, net.vocab).argmax(axis=1)  # int[n]
    fill_2 = np.full((n, 1), True, dtype=np.bool_)  # bool[n, 1]  language_models.lee:103
    unslice_7 = unslice(fill_2, (n, length + time), (slice(0, n), slice(t + 1, t + 2)))  # bool[n, length + time]
    reshape_9 = np.where(t + 1 >= time, best, tokens[:, t + 1])[:, None]  # int[n, 1]
    unslice_8 = unslice(reshape_9, (n, length + time), (slice(0, n), slice(t + 1, t + 2)))  # int[n, length + time]
    tokens_3 = np.where(unslice_7, unslice_8, tokens)  # int[n, length + time]
    return keys_4, tokens_3, values_4


class Layer(Model):
    """Attention to all positions, then layers for each; normalised behind each sum."""

    members = ("attention", "norm1", "up", "down", "norm2")

    def __init__(self, d, heads, *, key=(0, 0)):
        self.d, self.heads = d, heads
        self.attention = MultiHeadAttention(d, heads, key=fold(key, SITES["attention"]))  # language_models.lee:112
        self.norm1 = LayerNorm(d, eps=1e-12)  # language_models.lee:113
        self.up = Linear(d, 4 * d, key=fold(key, SITES["up"]))  # language_models.lee:114
        self.down = Linear(4 * d, d, key=fold(key, SITES["down"]))  # language_models.lee:115
        self.norm2 = LayerNorm(d, eps=1e-12)  # language_models.lee:116
        self.lay_out()

    def forward(self, x, lengths):
        """x [n, time, d], lengths int[n] -> [n, time, d]"""
        n, time, _ = x.shape
        add = x + self.attention.forward_3(x, padding_mask(lengths, time))  # [n, time, d]  language_models.lee:119
        norm1_out = self.norm1(add.reshape(n * time, self.d))  # [n * time, d]
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        mul_2 = gelu_3(self.up(norm1_out).reshape(n, time, 4 * self.d))  # [n, time, 4 * d]  language_models.lee:120
        down_out = self.down(mul_2.reshape(n * time, 4 * self.d))  # [n * time, d]
        add_2 = x_2 + down_out.reshape(n, time, self.d)  # [n, time, d]
        norm2_out = self.norm2(add_2.reshape(n * time, self.d))  # [n * time, d]
        return norm2_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        inside_ = padding_mask(lengths, time)  # bool[n, 1, 1, time]  language_models.lee:119
        reshape_12, saved_attention = self.attention.forward_3_saved(x, inside_)
        reshape = (x + reshape_12).reshape(n * time, self.d)  # [n * time, d]
        norm1_out, saved_norm1 = self.norm1.forward_saved(reshape)
        x_2 = norm1_out.reshape(n, time, self.d)  # [n, time, d]
        reshape_2 = self.up(norm1_out).reshape(n, time, 4 * self.d)  # [n, time, 4 * d]  language_models.lee:120
        reshape_3 = gelu_3(reshape_2).reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        add_2 = x_2 + self.down(reshape_3).reshape(n, time, self.d)  # [n, time, d]
        reshape_5 = add_2.reshape(n * time, self.d)  # [n * time, d]
        norm2_out, saved_norm2 = self.norm2.forward_saved(reshape_5)
        saved = inside_, saved_attention, reshape, norm1_out, saved_norm1, reshape_2, reshape_3, reshape_5, saved_norm2
        return norm2_out.reshape(n, time, self.d), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        inside_, saved_attention, reshape, norm1_out, saved_norm1, reshape_2, reshape_3, reshape_5, saved_norm2 = saved
        n, time, _ = x.shape
        # gradient of return norm2(x + down(gelu(up(x))))   language_models.lee:120
        d_norm2_out = d_y.reshape(n * time, self.d)  # [n * time, d]
        d_norm2, d_reshape_5 = self.norm2.forward_backward(reshape_5, saved_norm2, d_norm2_out)
        d_down, d_reshape_3 = self.down.forward_backward(reshape_3, d_reshape_5)
        d_reshape_2 = gelu_3_backward(reshape_2, d_reshape_3.reshape(n, time, 4 * self.d))  # [n, time, 4 * d]
        d_up_out = d_reshape_2.reshape(n * time, 4 * self.d)  # [n * time, 4 * d]
        d_up, d_norm1_out_2 = self.up.forward_backward(norm1_out, d_up_out)
        # gradient of x = norm1(x + attention(x, mask = padding_mask(lengths, time)))   language_models.lee:119
        d_norm1_out = d_norm1_out_2 + d_reshape_5  # [n * time, d]
        d_norm1, d_reshape = self.norm1.forward_backward(reshape, saved_norm1, d_norm1_out)
        d_add = d_reshape.reshape(n, time, self.d)  # [n, time, d]
        d_attention, d_x_3 = self.attention.forward_3_backward(x, inside_, saved_attention, d_add)
        d_x = d_add + d_x_3  # [n, time, d]
        return {"attention": d_attention, "norm1": d_norm1, "up": d_up, "down": d_down, "norm2": d_norm2}, d_x


class Bert_3(Model):
    """Words of one or two parts, each with all others in view (Devlin et al. 2019)."""

    members = ("token", "segment", "position", "norm", "blocks")

    def __init__(self, vocab, d=128, heads=4, context=128, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Embedding(vocab, d, key=fold(key, SITES["token"]))  # language_models.lee:125
        self.segment = Embedding(2, d, key=fold(key, SITES["segment"]))  # language_models.lee:126
        self.position = Embedding(context, d, key=fold(key, SITES["position"]))  # language_models.lee:127
        self.norm = LayerNorm(d, eps=1e-12)  # language_models.lee:128
        # language_models.lee:129
        self.blocks = [
            Layer(d, heads, key=fold(key, SITES["blocks.0"])),
            Layer(d, heads, key=fold(key, SITES["blocks.1"])),
        ]
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:132: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:133
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_2 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        add = token_out.reshape(n, time, self.d) + reshape_2  # [n, time, d]
        add_2 = add + self.position(np.arange(time))  # [n, time, d]
        x = self.norm(add_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
        x_2 = self.blocks[0](x, lengths)  # [n, time, d]  language_models.lee:135
        x_3 = self.blocks[1](x_2, lengths)  # [n, time, d]
        return x_3  # [n, time, d]

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:132: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:133
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_4 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        add = token_out.reshape(n, time, self.d) + reshape_4  # [n, time, d]
        reshape_5 = (add + self.position(np.arange(time))).reshape(n * time, self.d)  # [n * time, d]
        norm_out, saved_norm = self.norm.forward_saved(reshape_5)
        x = norm_out.reshape(n, time, self.d)  # [n, time, d]
        x_2, saved_blocks_0_ = self.blocks[0].forward_saved(x, lengths)  # language_models.lee:135
        x_3, saved_blocks_1_ = self.blocks[1].forward_saved(x_2, lengths)
        saved = reshape_5, saved_norm, x, x_2, saved_blocks_0_, saved_blocks_1_
        return x_3, saved

    def forward_backward(self, tokens, part, saved, d_mul):
        """From d_mul to the gradient by the parameters."""
        reshape_5, saved_norm, x, x_2, saved_blocks_0_, saved_blocks_1_ = saved
        n, time = tokens.shape
        # gradient of x = block(x, lengths)   language_models.lee:135
        d_blocks_1_, d_x_2 = self.blocks[1].forward_backward(x_2, saved_blocks_1_, d_mul)
        d_blocks_0_, d_x = self.blocks[0].forward_backward(x, saved_blocks_0_, d_x_2)
        # gradient of x = norm(token(tokens) + segment(part) + position(arange(time)))   language_models.lee:133
        d_norm_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_norm, d_reshape_5 = self.norm.forward_backward(reshape_5, saved_norm, d_norm_out)
        d_position_out = d_reshape_5.reshape(n, time, self.d).sum(axis=0)  # [time, d]
        d_position = Embedding.forward_backward(np.arange(time), self.context, d_position_out)
        d_segment = Embedding.forward_backward(part.reshape(n * time), 2, d_reshape_5)
        tokens_flat = tokens.reshape(n * time)  # int[n * time]
        d_token = Embedding.forward_backward(tokens_flat, self.vocab, d_reshape_5)
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

    def __init__(self, vocab, d=128, heads=4, context=128, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        self.token = Embedding(vocab, d, key=fold(key, SITES["token"]))  # language_models.lee:125
        self.segment = Embedding(2, d, key=fold(key, SITES["segment"]))  # language_models.lee:126
        self.position = Embedding(context, d, key=fold(key, SITES["position"]))  # language_models.lee:127
        self.norm = LayerNorm(d, eps=1e-12)  # language_models.lee:128
        # language_models.lee:129
        self.blocks = [
            Layer(d, heads, key=fold(key, SITES["blocks.0"])),
            Layer(d, heads, key=fold(key, SITES["blocks.1"])),
            Layer(d, heads, key=fold(key, SITES["blocks.2"])),
            Layer(d, heads, key=fold(key, SITES["blocks.3"])),
        ]
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, d]"""
        n, time = tokens.shape
        if time > self.context:
            raise ValueError(
                f"language_models.lee:132: time <= context must hold: context = {self.context}, time = {time}"
            )
        token_out = self.token(tokens.reshape(n * time))  # [n * time, d]  language_models.lee:133
        segment_out = self.segment(part.reshape(n * time))  # [n * time, d]
        reshape_2 = segment_out.reshape(n, time, self.d)  # [n, time, d]
        add = token_out.reshape(n, time, self.d) + reshape_2  # [n, time, d]
        add_2 = add + self.position(np.arange(time))  # [n, time, d]
        x = self.norm(add_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
        x_2 = self.blocks[0](x, lengths)  # [n, time, d]  language_models.lee:135
        x_3 = self.blocks[1](x_2, lengths)  # [n, time, d]
        x_4 = self.blocks[2](x_3, lengths)  # [n, time, d]
        x_5 = self.blocks[3](x_4, lengths)  # [n, time, d]
        return x_5  # [n, time, d]


class MaskedLM_2(Model):
    """What stands at every position, by what stands around it."""

    members = ("encoder", "change", "norm", "bias")

    def __init__(self, vocab, d=128, heads=4, context=128, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        # language_models.lee:141
        self.encoder = Bert_3(vocab, d=d, heads=heads, context=context, key=fold(key, SITES["encoder"]))
        self.change = Linear(d, d, key=fold(key, SITES["change"]))  # language_models.lee:142
        self.norm = LayerNorm(d, eps=1e-12)  # language_models.lee:143
        self.bias = np.zeros(vocab, dtype=FLOAT)  # [vocab]  language_models.lee:144
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, vocab]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, d]  language_models.lee:147
        change_out = self.change(mul.reshape(n * time, self.d))  # [n * time, d]
        mul_2 = gelu_3(change_out.reshape(n, time, self.d))  # [n, time, d]
        h = self.norm(mul_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
        return h @ self.encoder.token.table.T + self.bias  # [n, time, vocab]  language_models.lee:148

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # language_models.lee:147
        reshape = mul.reshape(n * time, self.d)  # [n * time, d]
        reshape_2 = self.change(reshape).reshape(n, time, self.d)  # [n, time, d]
        reshape_3 = gelu_3(reshape_2).reshape(n * time, self.d)  # [n * time, d]
        norm_out, saved_norm = self.norm.forward_saved(reshape_3)
        h = norm_out.reshape(n, time, self.d)  # [n, time, d]
        # language_models.lee:148
        return h @ self.encoder.token.table.T + self.bias, (saved_encoder, reshape, reshape_2, reshape_3, saved_norm, h)

    def forward_backward(self, tokens, part, saved, d_y):
        """From d_y to the gradient by the parameters."""
        saved_encoder, reshape, reshape_2, reshape_3, saved_norm, h = saved
        n, time = tokens.shape
        # gradient of return h @ encoder.token.table.T + bias   language_models.lee:148
        d_bias = d_y.sum(axis=(0, 1))  # [vocab]
        d_h = d_y @ self.encoder.token.table  # [n, time, d]
        reshape_7 = d_y.reshape(n * time, self.vocab)  # [n * time, vocab]
        # gradient of h = norm(gelu(change(encoder(tokens, part, lengths))))   language_models.lee:147
        d_norm_out = d_h.reshape(n * time, self.d)  # [n * time, d]
        d_norm, d_reshape_3 = self.norm.forward_backward(reshape_3, saved_norm, d_norm_out)
        d_reshape_2 = gelu_3_backward(reshape_2, d_reshape_3.reshape(n, time, self.d))  # [n, time, d]
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


class MaskedLM_3(Model):
    """What stands at every position, by what stands around it."""

    members = ("encoder", "change", "norm", "bias")

    def __init__(self, vocab, d=128, heads=4, context=128, *, key=(0, 0)):
        self.vocab, self.d, self.heads, self.context = vocab, d, heads, context
        # language_models.lee:141
        self.encoder = Bert_4(vocab, d=d, heads=heads, context=context, key=fold(key, SITES["encoder"]))
        self.change = Linear(d, d, key=fold(key, SITES["change"]))  # language_models.lee:142
        self.norm = LayerNorm(d, eps=1e-12)  # language_models.lee:143
        self.bias = np.zeros(vocab, dtype=FLOAT)  # [vocab]  language_models.lee:144
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time, vocab]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, d]  language_models.lee:147
        change_out = self.change(mul.reshape(n * time, self.d))  # [n * time, d]
        mul_2 = gelu_3(change_out.reshape(n, time, self.d))  # [n, time, d]
        h = self.norm(mul_2.reshape(n * time, self.d)).reshape(n, time, self.d)  # [n, time, d]
        return h @ self.encoder.token.table.T + self.bias  # [n, time, vocab]  language_models.lee:148


def corrupt(tokens, lengths, vocab, blank, key, rate=0.15):
    """Of the chosen words 80 % become [MASK], 10 % a random word, 10 % stay.

    tokens int[n, time], lengths int[n] -> int[n, time], bool[n, time]
    """
    n, time = tokens.shape
    pick = uniform(fold(key, SITES["pick"]), (n, time), FLOAT)  # [n, time]  language_models.lee:153
    kind = uniform(fold(key, SITES["kind"]), (n, time), FLOAT)  # [n, time]  language_models.lee:154
    other = randint(fold(key, SITES["other"]), (n, time), 0, vocab)  # int[n, time]  language_models.lee:155
    chosen = (pick < rate) & (np.arange(time) < lengths[:, None])  # bool[n, time]  language_models.lee:156
    changed = np.where(kind < 0.8, blank, np.where(kind < 0.9, other, tokens))  # int[n, time]  language_models.lee:157
    return np.where(chosen, changed, tokens), chosen  # language_models.lee:158


def masked_lm_saved(net, tokens, part, lengths, vocab, blank, key):
    """As masked_lm, and what its gradient needs."""
    n, time = tokens.shape
    seen, chosen_2 = corrupt(tokens, lengths, vocab, blank, fold(key, SITES["corrupt"]))  # language_models.lee:163
    add_3, saved_net = net.forward_saved(seen, part, lengths)  # language_models.lee:164
    reshape = add_3.reshape(n * time, net.vocab)  # [n * time, net.vocab]
    each_2 = cross_entropy_2(reshape, tokens.reshape(n * time)).reshape(n, time)  # [n, time]
    maximum = np.maximum(chosen_2.astype(FLOAT).sum(), 1)  # language_models.lee:165
    return masked(each_2, chosen_2).sum() / maximum, (seen, chosen_2, saved_net, reshape, maximum)


def masked_lm_backward(net, tokens, part, saved, d_div):
    """From d_div to the gradient by net."""
    seen, chosen_2, saved_net, reshape, maximum = saved
    n, time = tokens.shape
    # gradient of return sum(where(chosen, each, 0)) / max(sum(float(chosen)), 1)   language_models.lee:165
    d_each_2 = masked(d_div / maximum, chosen_2)  # [n, time]
    # gradient of each = cross_entropy(net(seen, part, lengths), tokens, reduce = false)   language_models.lee:164
    d_each = d_each_2.reshape(n * time)  # [n * time]
    d_reshape = cross_entropy_2_backward(reshape, tokens.reshape(n * time), d_each)  # [n * time, net.vocab]
    d_add_3 = d_reshape.reshape(n, time, net.vocab)  # [n, time, net.vocab]
    d_net = net.forward_backward(seen, part, saved_net, d_add_3)
    return d_net


class Reader(Model):
    """Fine-tuning: where an answer begins and where it ends."""

    members = ("encoder", "ends")

    def __init__(self, encoder, *, key=(0, 0)):
        self.encoder = encoder
        self.ends = Linear(encoder.d, 2, key=fold(key, SITES["ends"]))  # language_models.lee:170
        self.lay_out()

    def forward(self, tokens, part, lengths):
        """tokens int[n, time], part int[n, time], lengths int[n] -> [n, time], [n, time]"""
        n, time = tokens.shape
        mul = self.encoder(tokens, part, lengths)  # [n, time, encoder.d]  language_models.lee:173
        z = self.ends(mul.reshape(n * time, self.encoder.d)).reshape(n, time, 2)  # [n, time, 2]
        # [n, time, 2]  language_models.lee:174
        z_2 = np.where((np.arange(time) < lengths[:, None])[:, :, None], z, -np.inf)
        return z_2[:, :, 0], z_2[:, :, 1]  # language_models.lee:175

    def forward_saved(self, tokens, part, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        mul, saved_encoder = self.encoder.forward_saved(tokens, part, lengths)  # language_models.lee:173
        reshape = mul.reshape(n * time, self.encoder.d)  # [n * time, encoder.d]
        z = self.ends(reshape).reshape(n, time, 2)  # [n, time, 2]
        reshape_3 = (np.arange(time) < lengths[:, None])[:, :, None]  # bool[n, time, 1]  language_models.lee:174
        z_2 = np.where(reshape_3, z, -np.inf)  # [n, time, 2]
        return z_2[:, :, 0], z_2[:, :, 1], (saved_encoder, reshape, reshape_3)  # language_models.lee:175

    def forward_backward(self, tokens, part, saved, encoder_context, encoder_vocab, d_reshape_5, d_reshape_6):
        """From d_reshape_5 and d_reshape_6 to the gradient by the parameters."""
        saved_encoder, reshape, reshape_3 = saved
        n, time = tokens.shape
        # gradient of z[b, t, e] = where(t < lengths[b], z[b, t, e], -inf)   language_models.lee:174
        d_z_2 = np.stack((d_reshape_5, d_reshape_6), axis=2)  # [n, time, 2]
        d_z = masked(d_z_2, reshape_3)  # [n, time, 2]
        # gradient of z = ends(encoder(tokens, part, lengths))   language_models.lee:173
        d_ends, d_reshape = self.ends.forward_backward(reshape, d_z.reshape(n * time, 2))
        d_mul = d_reshape.reshape(n, time, self.encoder.d)  # [n, time, encoder.d]
        d_encoder = self.encoder.forward_backward(tokens, part, saved_encoder, d_mul)
        return {"encoder": d_encoder, "ends": d_ends}


def span_saved(net, tokens, part, lengths, first, last):
    """As span, and what its gradient needs."""
    a, b, saved_net = net.forward_saved(tokens, part, lengths)  # language_models.lee:180
    return (cross_entropy(a, first) + cross_entropy(b, last)) / 2, (a, b, saved_net)  # language_models.lee:181


def span_backward(net, tokens, part, first, last, saved, net_encoder_context, net_encoder_vocab, d_div):
    """From d_div to the gradient by net."""
    a, b, saved_net = saved
    # gradient of return (cross_entropy(a, first) + cross_entropy(b, last)) / 2   language_models.lee:181
    d_add = d_div / 2
    d_b = cross_entropy_backward(b, last, d_add)  # [n, time]
    d_a = cross_entropy_backward(a, first, d_add)  # [n, time]
    # gradient of a, b = net(tokens, part, lengths)   language_models.lee:180
    d_net = net.forward_backward(tokens, part, saved_net, net_encoder_context, net_encoder_vocab, d_a, d_b)
    return d_net


def best_span(first, last, longest=15):
    """The pair of positions with the largest sum, in order and not too far apart.

    first [n, time], last [n, time] -> int[n], int[n]
    """
    n, time = first.shape
    lt = np.arange(time) < (np.arange(time) + longest)[:, None]  # bool[time, time]  language_models.lee:186
    logical_and = (np.arange(time)[:, None] <= np.arange(time)) & lt  # bool[time, time]
    score = np.where(logical_and, first[:, :, None] + last[:, None], -np.inf)  # [n, time, time]
    place = score.reshape(n, time**2).argmax(axis=1)  # int[n]  language_models.lee:187
    return place // time, place % time  # language_models.lee:188


def example_next_word(key):
    net = GPT_2(11, d=16, heads=2, context=8, key=fold(key, SITES["net"]))  # language_models.lee:195
    tokens = randint(fold(key, SITES["tokens"]), (3, 8), 0, 11)  # int[3, 8]  language_models.lee:196
    slice_ = tokens[:, :7]  # int[3, 7]  language_models.lee:197
    contract, saved_net = net.forward_saved(slice_)
    reshape = contract.reshape(21, 11)  # [21, 11]
    reshape_2 = tokens[:, 1:].reshape(21)  # int[21]
    d_reshape = cross_entropy_backward(reshape, reshape_2, FLOAT(1.0))  # [21, 11]
    d_net = net.forward_backward(slice_, saved_net, d_reshape.reshape(3, 7, 11))
    return cross_entropy(reshape, reshape_2), net.at(d_net)


def example_padded(key):
    net = GPT_2(11, d=16, heads=2, context=8, key=fold(key, SITES["net"]))  # language_models.lee:201
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 11)  # int[3, 6]  language_models.lee:202
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 7)  # int[3]  language_models.lee:203
    contract, saved_net = net.padded_saved(tokens, lengths)  # language_models.lee:204
    reshape = contract.reshape(18, 11)  # [18, 11]
    tokens_flat = tokens.reshape(18)  # int[18]
    d_reshape = cross_entropy_backward(reshape, tokens_flat, FLOAT(1.0))  # [18, 11]
    d_net = net.padded_backward(tokens, saved_net, d_reshape.reshape(3, 6, 11))
    return cross_entropy(reshape, tokens_flat), net.at(d_net)


def example_generated(key):
    net = GPT_2(5, d=8, heads=2, context=12, key=fold(key, SITES["net"]))  # language_models.lee:208
    prompt = randint(fold(key, SITES["prompt"]), (4, 3), 0, 5)  # int[4, 3]  language_models.lee:209
    return generate(net, prompt, 6, fold(key, SITES["generate"]))  # int[4, 9]  language_models.lee:210


def example_greedy(key):
    net = GPT_2(11, d=16, heads=2, context=16, key=fold(key, SITES["net"]))  # language_models.lee:214
    prompt = randint(fold(key, SITES["prompt"]), (4, 3), 0, 11)  # int[4, 3]  language_models.lee:215
    return continued(net, prompt, 8)  # int[4, 11]  language_models.lee:216


def example_greedy_with_cache(key):
    net = GPT_2(11, d=16, heads=2, context=16, key=fold(key, SITES["net"]))  # language_models.lee:220
    prompt = randint(fold(key, SITES["prompt"]), (4, 3), 0, 11)  # int[4, 3]  language_models.lee:221
    return continued_with_cache(net, prompt, 8)  # int[4, 11]  language_models.lee:222


def example_hidden(key):
    net = MaskedLM_2(11, d=8, heads=2, context=8, key=fold(key, SITES["net"]))  # language_models.lee:226
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 10)  # int[3, 6]  language_models.lee:227
    part = randint(fold(key, SITES["part"]), (3, 6), 0, 2)  # int[3, 6]  language_models.lee:228
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 7)  # int[3]  language_models.lee:229
    key_6 = fold(key, SITES["masked_lm"])  # language_models.lee:230
    value, saved_masked_lm = masked_lm_saved(net, tokens, part, lengths, 11, 10, key_6)
    d_net = masked_lm_backward(net, tokens, part, saved_masked_lm, FLOAT(1.0))
    return value, net.at(d_net)


def example_asked(key):
    self_ = Bert_3(11, d=8, heads=2, context=8, key=fold(key, SITES["net"]))  # language_models.lee:234
    net = Reader(self_, key=fold(key, SITES["net#2"]))
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 11)  # int[3, 6]  language_models.lee:235
    part = randint(fold(key, SITES["part"]), (3, 6), 0, 2)  # int[3, 6]  language_models.lee:236
    lengths = randint(fold(key, SITES["lengths"]), (3,), 4, 7)  # int[3]  language_models.lee:237
    first = randint(fold(key, SITES["first"]), (3,), 0, 4)  # int[3]  language_models.lee:238
    last = randint(fold(key, SITES["last"]), (3,), 0, 4)  # int[3]  language_models.lee:239
    value, saved_span = span_saved(net, tokens, part, lengths, first, last)  # language_models.lee:240
    d_net = span_backward(net, tokens, part, first, last, saved_span, 8, 11, FLOAT(1.0))
    return value, net.at(d_net)


def example_answered(key):
    first = normal(fold(key, SITES["first"]), (3, 9), FLOAT)  # [3, 9]  language_models.lee:244
    last = normal(fold(key, SITES["last"]), (3, 9), FLOAT)  # [3, 9]  language_models.lee:245
    value, value_1 = best_span(first, last, longest=3)  # language_models.lee:246
    return value, value_1


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


def attend_4(q, k, v, mask):
    """Shares softmax(q k / √size) of the values, in several heads; only where `mask` is true (Vaswani et al. 2017).

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], mask bool[n, 1, 1, time] -> [n,
    m, heads, size]
    """
    size = q.shape[3]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(np.where(mask, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed  # [n, m, heads, size]


def attend_4_saved(q, k, v, mask):
    """As attend_4, and what its gradient needs."""
    size = q.shape[3]
    score = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  nn.lee:335
    share = softmax(np.where(mask, score, -np.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # [n, m, heads, size]  nn.lee:337
    return mixed, share


def attend_4_backward(q, k, v, mask, share, d_mixed):
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

    def forward_3(self, x, mask):
        """x [n, m, d], mask bool[n, 1, 1, m] -> [n, m, d]"""
        n, m, _ = x.shape
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]  nn.lee:364
        q = self.query(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        k = self.key(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:365
        v = self.value(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:366
        output_out = self.output(attend_4(q, k, v, mask).reshape(m * n, self.d))  # [m * n, d]  nn.lee:367
        return output_out.reshape(n, m, self.d)  # [n, m, d]

    def forward_3_saved(self, x, mask):
        """As forward_3, and what its gradient needs."""
        n, m, _ = x.shape
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]  nn.lee:364
        q = self.query(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        k = self.key(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:365
        v = self.value(x_flat).reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]  nn.lee:366
        mixed, saved_attend_4 = attend_4_saved(q, k, v, mask)  # nn.lee:367
        reshape_2 = mixed.reshape(m * n, self.d)  # [m * n, d]
        return self.output(reshape_2).reshape(n, m, self.d), (q, k, v, saved_attend_4, reshape_2)

    def forward_3_backward(self, x, mask, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        q, k, v, saved_attend_4, reshape_2 = saved
        n, m, _ = x.shape
        # gradient of q = reshape(query(x), [n, m, heads, d // heads])   nn.lee:364
        x_flat = x.reshape(m * n, self.d)  # [m * n, d]
        # gradient of return output(reshape(attend(q, k, v, mask), [n, m, d]))   nn.lee:367
        d_output, d_reshape_2 = self.output.forward_backward(reshape_2, d_y.reshape(m * n, self.d))
        d_mixed = d_reshape_2.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        d_q, d_k, d_v = attend_4_backward(q, k, v, mask, saved_attend_4, d_mixed)
        # gradient of v = reshape(value(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:366
        d_value, d_x_flat_2 = self.value.forward_backward(x_flat, d_v.reshape(m * n, self.d))
        # gradient of k = reshape(key(memory), [n, memory.dims[1], heads, d // heads])   nn.lee:365
        d_key, d_x_flat_3 = self.key.forward_backward(x_flat, d_k.reshape(m * n, self.d))
        # gradient of q = reshape(query(x), [n, m, heads, d // heads])   nn.lee:364
        d_query, d_x_flat_4 = self.query.forward_backward(x_flat, d_q.reshape(m * n, self.d))
        d_x = (d_x_flat_2 + d_x_flat_3 + d_x_flat_4).reshape(n, m, self.d)  # [n, m, d]
        return {"query": d_query, "key": d_key, "value": d_value, "output": d_output}, d_x


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


def gelu_3(x):
    """x · Φ(x), Φ the normal distribution function; or its form by tanh (Hendrycks & Gimpel 2016).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return x * 0.5 * (erf(x / 1.4142135623730951) + 1)  # [x_0, x_1, x_2]  prelude.lee:113


def gelu_3_backward(x, d_y):
    """From d_y to the gradient by x."""
    # gradient of return 0.5 * x * (1 + erf(x / sqrt(2)))   prelude.lee:113
    mul_3 = x * (np.exp(x**2 * -0.5) * 0.3989422804014327)  # [x_0, x_1, x_2]
    d_x = d_y * ((erf(x / 1.4142135623730951) + 1) * 0.5 + mul_3)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "blocks.0": 0x6CE3212D64C10C6D,
    "blocks.1": 0xD0D0BD5FB969D595,
    "blocks.2": 0x762B1768D0E6E703,
    "blocks.3": 0xAFF7BFD989845012,
    "change": 0x18ED08D5759AC95E,
    "corrupt": 0x8CAA74165F60A197,
    "down": 0x672F5B678D49ED61,
    "drawn": 0x987C648E5228A0E1,
    "encoder": 0x651C9E989B434403,
    "ends": 0xC5BD593B09217EE1,
    "first": 0xA31DFC4F51C2A8A2,
    "generate": 0xED3CD6285D44F1B2,
    "key": 0xF54CA9C3ADCC7CCE,
    "kind": 0x59F77F5C0BDD245A,
    "last": 0x840C26AC856B94B1,
    "lengths": 0xDE00C8960E49C03F,
    "masked_lm": 0x43261D4CE906259B,
    "net": 0xF087C76970C91612,
    "net#2": 0x59EFC03AB2BE3D0C,
    "other": 0xAF93053850CE50D6,
    "output": 0x02DE2253159F1835,
    "part": 0xE4F808109F8B917C,
    "pick": 0x35CADA6132A6B8E7,
    "position": 0xB1E70806EEF9B6AE,
    "prompt": 0xCDD6BE63AF8F0FB8,
    "query": 0x0368BD6C66AB1F7B,
    "segment": 0xE6129885B6DDCC87,
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
