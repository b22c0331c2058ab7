"""Self-attention and its variants (inventory G1-G9, G12, G13, G18, G19): which vectors of a set matter to which.

Made from specs/attention/attention.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/attention.lee
"""

from __future__ import annotations

import functools
import math
import sys

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


class SelfAttention(Model):
    """Every vector asks (q), offers (k) and gives (v): shares softmax(k q) of what the others give.

    The lecture's form, without the 1 / √d of later ones; vectors are rows here and columns there.
    """

    members = ("ask", "offer", "give")

    def __init__(self, inputs, d, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.d = inputs, d
        self.ask = Linear(inputs, d, key=fold(key, SITES["ask"]))  # attention.lee:11
        self.offer = Linear(inputs, d, key=fold(key, SITES["offer"]))  # attention.lee:12
        self.give = Linear(inputs, d, key=fold(key, SITES["give"]))  # attention.lee:13

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, d]"""
        n, time, _ = x.shape
        x_flat = x.reshape(n * time, self.inputs)  # [n * time, inputs]  attention.lee:16
        q = self.ask(x_flat).reshape(n, time, self.d)  # [n, time, d]
        k = self.offer(x_flat).reshape(n, time, self.d)  # [n, time, d]  attention.lee:17
        v = self.give(x_flat).reshape(n, time, self.d)  # [n, time, d]  attention.lee:18
        score = q @ k.mT  # [n, time, time]  attention.lee:19
        share = torch.softmax(score, dim=2)  # [n, time, time]  prelude.lee:122
        mixed = share @ v  # [n, time, d]  attention.lee:21
        return mixed  # [n, time, d]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        x_flat = x.reshape(n * time, self.inputs)  # [n * time, inputs]  attention.lee:16
        q = self.ask(x_flat).reshape(n, time, self.d)  # [n, time, d]
        k = self.offer(x_flat).reshape(n, time, self.d)  # [n, time, d]  attention.lee:17
        v = self.give(x_flat).reshape(n, time, self.d)  # [n, time, d]  attention.lee:18
        score = q @ k.mT  # [n, time, time]  attention.lee:19
        share = torch.softmax(score, dim=2)  # [n, time, time]  prelude.lee:122
        mixed = share @ v  # [n, time, d]  attention.lee:21
        return mixed, (q, k, v, share)

    def forward_backward(self, x, saved, d_mul):
        """From d_mul to the gradients by the parameters and x."""
        q, k, v, share = saved
        n, time, _ = x.shape
        # gradient of q = ask(x)   attention.lee:16
        x_flat = x.reshape(n * time, self.inputs)  # [n * time, inputs]
        # gradient of mixed[b, i, a] = sum[j](share[b, i, j] * v[b, j, a])   attention.lee:21
        d_share = d_mul @ v.mT  # [n, time, time]
        d_v = share.mT @ d_mul  # [n, time, d]
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        d_score = share * (d_share - (d_share * share).sum(dim=2, keepdim=True))  # [n, time, time]
        # gradient of score[b, i, j] = sum[a](q[b, i, a] * k[b, j, a])   attention.lee:19
        d_q = d_score @ k  # [n, time, d]
        d_k = d_score.mT @ q  # [n, time, d]
        # gradient of v = give(x)   attention.lee:18
        d_give, d_x_flat_2 = self.give.forward_backward(x_flat, d_v.reshape(n * time, self.d))
        # gradient of k = offer(x)   attention.lee:17
        d_offer, d_x_flat_3 = self.offer.forward_backward(x_flat, d_k.reshape(n * time, self.d))
        # gradient of q = ask(x)   attention.lee:16
        d_ask, d_x_flat_4 = self.ask.forward_backward(x_flat, d_q.reshape(n * time, self.d))
        d_x = (d_x_flat_2 + d_x_flat_3 + d_x_flat_4).reshape(n, time, self.inputs)  # [n, time, inputs]
        return {"ask": d_ask, "offer": d_offer, "give": d_give}, d_x


def additive(q, k, w):
    """wᵀ tanh(q + k)

    q [n, time, d], k [n, source, d], w [d] -> [n, time, source]
    """
    score = torch.tanh(q[:, :, None] + k[:, None]) @ w  # [n, time, source]  attention.lee:30
    return score  # [n, time, source]


def additive_saved(q, k, w):
    """As additive, and what its gradient needs."""
    tanh = torch.tanh(q[:, :, None] + k[:, None])  # [n, time, source, d]  attention.lee:30
    score = tanh @ w  # [n, time, source]
    return score, tanh


def additive_backward(w, tanh, d_mul):
    """From d_mul to the gradients by q, k and w."""
    n, time, source, d = tanh.shape
    # gradient of score[b, i, j] = sum[a](w[a] * tanh(q[b, i, a] + k[b, j, a]))   attention.lee:30
    d_w = d_mul.reshape(n * source * time) @ tanh.reshape(n * source * time, d)  # [d]
    d_add = w * d_mul[:, :, :, None] * (1 - tanh**2)  # [n, time, source, d]
    d_k = d_add.sum(dim=1)  # [n, source, d]
    d_q = d_add.sum(dim=2)  # [n, time, d]
    return d_q, d_k, d_w


def rectified(score, v):
    """Without softmax: what is positive counts as it is.

    score [n, time, source], v [n, source, d] -> [n, time, d]
    """
    mixed = torch.relu(score) @ v  # [n, time, d]  attention.lee:36
    return mixed  # [n, time, d]


def rectified_saved(score, v):
    """As rectified, and what its gradient needs."""
    relu_score = torch.relu(score)  # [n, time, source]  prelude.lee:61
    mixed = relu_score @ v  # [n, time, d]  attention.lee:36
    return mixed, relu_score


def rectified_backward(v, relu_score, d_mul):
    """From d_mul to the gradients by score and v."""
    # gradient of mixed[b, i, a] = sum[j](relu(score[b, i, j]) * v[b, j, a])   attention.lee:36
    d_v = relu_score.mT @ d_mul  # [n, source, d]
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_score = torch.where(relu_score > 0, d_mul @ v.mT, 0)  # [n, time, source]
    return d_score, d_v


class MultiHead(Model):
    """Heads of size d / heads attend by themselves; an output matrix mixes them."""

    members = ("ask", "offer", "give", "mix")

    def __init__(self, d, heads, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads = d, heads
        if d % heads != 0:
            raise ValueError(f"attention.lee:45: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.ask = Linear(d, d, key=fold(key, SITES["ask"]))  # attention.lee:46
        self.offer = Linear(d, d, key=fold(key, SITES["offer"]))  # attention.lee:47
        self.give = Linear(d, d, key=fold(key, SITES["give"]))  # attention.lee:48
        self.mix = Linear(d, d, key=fold(key, SITES["mix"]))  # attention.lee:49

    def forward(self, x, memory, allowed):
        """`memory` is x for self-attention, and what the encoder gave for cross-attention.

        x [n, time, d], memory [n, source, d], allowed bool[n, time, source] -> [n, time, d]
        """
        n, time, _ = x.shape
        source = memory.shape[1]
        ask_out = self.ask(x.reshape(n * time, self.d))  # [n * time, d]  attention.lee:53
        q = ask_out.reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        memory_flat = memory.reshape(n * source, self.d)  # [n * source, d]  attention.lee:54
        # [n, source, heads, d // heads]
        k = self.offer(memory_flat).reshape(n, source, self.heads, self.d // self.heads)
        # [n, source, heads, d // heads]  attention.lee:55
        v = self.give(memory_flat).reshape(n, source, self.heads, self.d // self.heads)
        contract = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1)  # [n, heads, time, source]  attention.lee:56
        score = contract / math.sqrt(self.d // self.heads)  # [n, heads, time, source]
        # [n, heads, time, source]  prelude.lee:122
        share = softmax(torch.where(allowed[:, None], score, -torch.inf), (3,))
        mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, time, heads, d // heads]  attention.lee:58
        mix_out = self.mix(mixed.reshape(n * time, self.d))  # [n * time, d]  attention.lee:59
        return mix_out.reshape(n, time, self.d)  # [n, time, d]

    def forward_saved(self, x, memory, allowed):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        source = memory.shape[1]
        ask_out = self.ask(x.reshape(n * time, self.d))  # [n * time, d]  attention.lee:53
        q = ask_out.reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        memory_flat = memory.reshape(n * source, self.d)  # [n * source, d]  attention.lee:54
        # [n, source, heads, d // heads]
        k = self.offer(memory_flat).reshape(n, source, self.heads, self.d // self.heads)
        # [n, source, heads, d // heads]  attention.lee:55
        v = self.give(memory_flat).reshape(n, source, self.heads, self.d // self.heads)
        contract = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1)  # [n, heads, time, source]  attention.lee:56
        score = contract / math.sqrt(self.d // self.heads)  # [n, heads, time, source]
        # [n, heads, time, source]  prelude.lee:122
        share = softmax(torch.where(allowed[:, None], score, -torch.inf), (3,))
        mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, time, heads, d // heads]  attention.lee:58
        mixed_flat = mixed.reshape(n * time, self.d)  # [n * time, d]  attention.lee:59
        return self.mix(mixed_flat).reshape(n, time, self.d), (q, k, v, share, mixed_flat)

    def forward_backward(self, x, memory, allowed, saved, d_y):
        """From d_y to the gradients by the parameters, x and memory."""
        q, k, v, share, mixed_flat = saved
        n, time, _ = x.shape
        source = memory.shape[1]
        # gradient of k = reshape(offer(memory), [n, source, heads, d // heads])   attention.lee:54
        memory_flat = memory.reshape(n * source, self.d)  # [n * source, d]
        # gradient of return mix(reshape(mixed, [n, time, d]))   attention.lee:59
        d_mix, d_mixed_flat = self.mix.forward_backward(mixed_flat, d_y.reshape(n * time, self.d))
        d_mixed = d_mixed_flat.reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        # gradient of mixed[b, i, h, a] = sum[j](share[b, h, i, j] * v[b, j, h, a])   attention.lee:58
        transpose = d_mixed.permute(0, 2, 1, 3)  # [n, heads, time, d // heads]
        d_share = transpose @ v.permute(0, 2, 3, 1)  # [n, heads, time, source]
        d_v = (share.mT @ transpose).permute(0, 2, 1, 3)  # [n, source, heads, d // heads]
        # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
        sub = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [n, heads, time, source]
        # gradient of score[b, h, i, j] = sum[a](q[b, i, h, a] * k[b, j, h, a]) / sqrt(d // heads)   attention.lee:56
        div = share * sub / math.sqrt(self.d // self.heads)  # [n, heads, time, source]
        d_contract_4 = torch.where(allowed[:, None], div, 0)  # [n, heads, time, source]
        d_q = (d_contract_4 @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, time, heads, d // heads]
        d_k = (d_contract_4.mT @ q.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, source, heads, d // heads]
        # gradient of v = reshape(give(memory), [n, source, heads, d // heads])   attention.lee:55
        d_give, d_memory_flat_2 = self.give.forward_backward(memory_flat, d_v.reshape(n * source, self.d))
        # gradient of k = reshape(offer(memory), [n, source, heads, d // heads])   attention.lee:54
        d_offer, d_memory_flat_3 = self.offer.forward_backward(memory_flat, d_k.reshape(n * source, self.d))
        d_memory = (d_memory_flat_2 + d_memory_flat_3).reshape(n, source, self.d)  # [n, source, d]
        # gradient of q = reshape(ask(x), [n, time, heads, d // heads])   attention.lee:53
        d_ask_out = d_q.reshape(n * time, self.d)  # [n * time, d]
        d_ask, d_x_flat = self.ask.forward_backward(x.reshape(n * time, self.d), d_ask_out)
        d_x = d_x_flat.reshape(n, time, self.d)  # [n, time, d]
        return {"ask": d_ask, "offer": d_offer, "give": d_give, "mix": d_mix}, d_x, d_memory


def everywhere(n, time, source):
    """Every position sees every other."""
    reshape = (torch.arange(time) >= 0)[:, None]  # bool[time, 1]  attention.lee:67
    allowed = (reshape & (torch.arange(source) >= 0)).expand(n, time, source)  # bool[n, time, source]
    return allowed  # bool[n, time, source]


def causal(n, time):
    """No position sees what comes after it."""
    # bool[n, time, time]  attention.lee:73
    allowed = (torch.arange(time) <= torch.arange(time)[:, None]).expand(n, time, time)
    return allowed  # bool[n, time, time]


def truncated(n, time, reach=2):
    """Only neighbours, `reach` positions away at most."""
    le_2 = (-torch.arange(time))[:, None] + torch.arange(time) <= reach  # bool[time, time]  attention.lee:79
    le = torch.arange(time)[:, None] - torch.arange(time) <= reach  # bool[time, time]
    allowed = (le & le_2).expand(n, time, time)  # bool[n, time, time]
    return allowed  # bool[n, time, time]


def along_edges(edge):
    """A graph says who sees whom; every node sees itself.

    edge [n, m, m] -> bool[n, m, m]
    """
    m = edge.shape[1]
    i = torch.arange(m, device=edge.device)  # int[m]  attention.lee:85
    allowed = (edge > 0) | (i[:, None] == i)  # bool[n, m, m]
    return allowed  # bool[n, m, m]


def masked_(score, v, edge):
    """Scores are -∞ off the edges before the softmax.

    score [n, m, m], v [n, m, d], edge [n, m, m] -> [n, m, d]
    """
    share = softmax(torch.where(along_edges(edge), score, -torch.inf), (2,))  # [n, m, m]  prelude.lee:122
    mixed = share @ v  # [n, m, d]  attention.lee:92
    return mixed  # [n, m, d]


def masked_saved(score, v, edge):
    """As masked, and what its gradient needs."""
    allowed = along_edges(edge)  # bool[n, m, m]  attention.lee:91
    share = softmax(torch.where(allowed, score, -torch.inf), (2,))  # [n, m, m]  prelude.lee:122
    mixed = share @ v  # [n, m, d]  attention.lee:92
    return mixed, (allowed, share)


def masked_backward(v, saved, d_mul):
    """From d_mul to the gradients by score and v."""
    allowed, share = saved
    # gradient of mixed[b, i, a] = sum[j](share[b, i, j] * v[b, j, a])   attention.lee:92
    d_share = d_mul @ v.mT  # [n, m, m]
    d_v = share.mT @ d_mul  # [n, m, d]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(dim=2, keepdim=True)  # [n, m, m]
    # gradient of z = where(mask, x, -inf)   prelude.lee:120
    d_score = torch.where(allowed, share * sub, 0)  # [n, m, m]
    return d_score, d_v


def maskedAsPrinted(score, v, edge):
    """Scores set to 0 off the edges, as the notes have it: every node still gets a share e⁰.

    score [n, m, m], v [n, m, d], edge [n, m, m] -> [n, m, d]
    """
    share = softmax(torch.where(along_edges(edge), score, 0), (2,))  # [n, m, m]  prelude.lee:122
    mixed = share @ v  # [n, m, d]  attention.lee:99
    return mixed  # [n, m, d]


def maskedAsPrinted_saved(score, v, edge):
    """As maskedAsPrinted, and what its gradient needs."""
    allowed = along_edges(edge)  # bool[n, m, m]  attention.lee:98
    share = softmax(torch.where(allowed, score, 0), (2,))  # [n, m, m]  prelude.lee:122
    mixed = share @ v  # [n, m, d]  attention.lee:99
    return mixed, (allowed, share)


def maskedAsPrinted_backward(v, saved, d_mul):
    """From d_mul to the gradients by score and v."""
    allowed, share = saved
    # gradient of mixed[b, i, a] = sum[j](share[b, i, j] * v[b, j, a])   attention.lee:99
    d_share = d_mul @ v.mT  # [n, m, m]
    d_v = share.mT @ d_mul  # [n, m, d]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(dim=2, keepdim=True)  # [n, m, m]
    # gradient of share = softmax(where(along_edges(edge), score, 0), axis = 2)   attention.lee:98
    d_score = torch.where(allowed, share * sub, 0)  # [n, m, m]
    return d_score, d_v


def positioned(x):
    """A vector for every position is added: waves of many lengths, made by hand.

    x [n, time, d] -> [n, time, d]
    """
    _, time, d = x.shape
    return x + sinusoids(time, d)  # [n, time, d]  attention.lee:108


def positioned_backward(d_y):
    """From d_y to the gradient by x."""
    return d_y  # [n, time, d]


class LearnedPosition(Model):
    """A vector for every position, learned from data."""

    members = ("table",)

    def __init__(self, context, d, *, key=(0, 0)):
        super().__init__()
        self.context, self.d = context, d
        # [context, d]  attention.lee:113
        self.table = torch.nn.Parameter(normal(fold(key, SITES["table"]), (context, d), FLOAT))

    def forward(self, x):
        """x [n, time, d] -> [n, time, d]"""
        time = x.shape[1]
        if time > self.context:
            raise ValueError(f"attention.lee:116: time <= context must hold: context = {self.context}, time = {time}")
        return x + self.table[:time]  # [n, time, d]  attention.lee:117

    @staticmethod
    def forward_backward(context, d_y):
        """From d_y to the gradients by the parameters and x."""
        _, time, d = d_y.shape
        # gradient of return x + table[:time]   attention.lee:117
        d_table = unslice(d_y.sum(dim=0), (context, d), (slice(0, time), slice(0, d)))  # [context, d]
        return {"table": d_table}, d_y


def pixels(image):
    """An image as a set of vectors, one a pixel.

    image [n, c, h, w] -> [n, h * w, c]
    """
    n, c, h, w = image.shape
    vector = image.permute(0, 2, 3, 1)  # [n, h, w, c]  attention.lee:125
    return vector.reshape(n, h * w, c)  # [n, h * w, c]  attention.lee:126


def pixels_backward(h, w, d_y):
    """From d_y to the gradient by image."""
    n, _, c = d_y.shape
    # gradient of return 1.0 * reshape(vector, [n, h * w, c])   attention.lee:126
    d_vector = d_y.reshape(n, h, w, c)  # [n, h, w, c]
    # gradient of vector[b, i in h, j in w, k] = image[b, k, i, j]   attention.lee:125
    d_image = d_vector.permute(0, 3, 1, 2)  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def convolved(image, kernel):
    """Convolution as attention whose window and shares are fixed: a share of 1 for the one pixel at each offset.

    image [n, c, h, w], kernel [o, c, k, k] -> [n, o, h + 1 - k, w + 1 - k]
    """
    n, _, h, w = image.shape
    o, _, k, _ = kernel.shape
    # [n, o, h + 1 - k, w + 1 - k]  attention.lee:131
    y = torch.zeros((n, o, h + 1 - k, w + 1 - k), dtype=FLOAT, device=image.device)
    # attention.lee:132
    for u in range(k):
        y = convolved_step_2(y, kernel[:, :, u], image, u)
    return y  # [n, o, h + 1 - k, w + 1 - k]


def convolved_saved(image, kernel):
    """As convolved, and what its gradient needs."""
    n, _, h, w = image.shape
    o, _, k, _ = kernel.shape
    # [n, o, h + 1 - k, w + 1 - k]  attention.lee:131
    y = torch.zeros((n, o, h + 1 - k, w + 1 - k), dtype=FLOAT, device=image.device)
    saved_convolved_step_2 = [None] * k  # attention.lee:132
    for u in range(k):
        y, saved_convolved_step_2[u] = convolved_step_2_saved(y, kernel[:, :, u], image, u)
    return y, saved_convolved_step_2


def convolved_backward(kernel, saved_convolved_step_2, h, w, d_y_6):
    """From d_y_6 to the gradients by image and kernel."""
    o, c, k, _ = kernel.shape
    n = d_y_6.shape[0]
    # gradient of for u in k:   attention.lee:132
    d_image_later = torch.zeros((n, c, h, w), dtype=FLOAT, device=kernel.device)  # [n, c, h, w]
    d_kernel = [None] * k
    for u in reversed(range(k)):
        d_y_6, d_image_later, d_kernel[u] = convolved_step_2_backward(
            kernel[:, :, u], saved_convolved_step_2[u], h, u, w, d_y_6, d_image_later
        )
    d_kernel = torch.stack(d_kernel, 2) if d_kernel else torch.zeros((o, c, k, k), dtype=FLOAT, device=kernel.device)
    return d_image_later, d_kernel


def convolved_step_2(y, kernel_u, image, u):
    """y [n, o, h + 1 - k, w + 1 - k], kernel_u [o, c, k], image [n, c, h, w] -> [n, o, h + 1 - k, w + 1 - k]"""
    k = kernel_u.shape[2]
    # attention.lee:133
    for v in range(k):
        y = convolved_step(y, kernel_u[:, :, v], image, k, u, v)
    return y  # [n, o, h + 1 - k, w + 1 - k]


def convolved_step_2_saved(y, kernel_u, image, u):
    """As convolved_step_2, and what its gradient needs."""
    k = kernel_u.shape[2]
    saved_convolved_step = [None] * k  # attention.lee:133
    for v in range(k):
        y, saved_convolved_step[v] = convolved_step_saved(y, kernel_u[:, :, v], image, k, u, v)
    return y, saved_convolved_step


def convolved_step_2_backward(kernel_u, saved_convolved_step, h, u, w, d_y_5, d_image):
    """From d_y_5 and d_image to the gradients by y, image and kernel_u."""
    o, c, k = kernel_u.shape
    n = d_y_5.shape[0]
    # gradient of for v in k:   attention.lee:133
    d_kernel_u = [None] * k
    share_rows_2 = [None] * k
    across_rows_2 = [None] * k
    d_seen_rows = [None] * k
    for v in reversed(range(k)):
        d_y_5, d_kernel_u[v], share_rows_2[v], across_rows_2[v], d_seen_rows[v] = convolved_step_backward(
            kernel_u[:, :, v], saved_convolved_step[v], k, d_y_5
        )
    d_kernel_u = (
        torch.stack(d_kernel_u, 2) if d_kernel_u else torch.zeros((o, c, k), dtype=FLOAT, device=kernel_u.device)
    )
    share_rows_2 = (
        torch.stack(share_rows_2, 2)
        if share_rows_2
        else torch.zeros((h + 1 - k, h, k), dtype=FLOAT, device=kernel_u.device)
    )
    across_rows_2 = (
        torch.stack(across_rows_2, 2)
        if across_rows_2
        else torch.zeros((w + 1 - k, w, k), dtype=FLOAT, device=kernel_u.device)
    )
    d_seen_rows = (
        torch.stack(d_seen_rows, 2)
        if d_seen_rows
        else torch.zeros((n, c, k, h + 1 - k, w + 1 - k), dtype=FLOAT, device=kernel_u.device)
    )
    reshape = share_rows_2[:, :, :, None, None]  # [h + 1 - k, h, k, 1, 1]
    mul = reshape * across_rows_2.permute(2, 0, 1)  # [h + 1 - k, h, k, w + 1 - k, w]
    # [h * k * w + k**3 + h * k + k * w + k - h * k**2 - k**2 * w - 2 * k**2, h * w]
    reshape_3 = mul.permute(2, 0, 3, 1, 4).reshape(-1, h * w)
    d_image_ = (d_seen_rows.reshape(c * n, -1) @ reshape_3).reshape(n, c, h, w)  # [n, c, h, w]
    return d_y_5, d_image + d_image_, d_kernel_u


def convolved_step(y, kernel_u_v, image, k, u, v):
    """y [n, o, h + 1 - k, w + 1 - k], kernel_u_v [o, c], image [n, c, h, w] -> [n, o, h + 1 - k, w + 1 - k]"""
    o = y.shape[1]
    n, c, h, w = image.shape
    reshape = (torch.arange(h + 1 - k, device=y.device) + u)[:, None]  # int[h + 1 - k, 1]  attention.lee:134
    eq = torch.arange(h, device=y.device) == reshape  # bool[h + 1 - k, h]
    share = torch.where(eq, torch.full((), 1.0, dtype=FLOAT, device=y.device), 0.0)  # [h + 1 - k, h]
    reshape_2 = (torch.arange(w + 1 - k, device=y.device) + v)[:, None]  # int[w + 1 - k, 1]  attention.lee:135
    eq_2 = torch.arange(w, device=y.device) == reshape_2  # bool[w + 1 - k, w]
    across = torch.where(eq_2, torch.full((), 1.0, dtype=FLOAT, device=y.device), 0.0)  # [w + 1 - k, w]
    # [h, w, h + 1 - k, w + 1 - k]  attention.lee:136
    transpose = (share[:, :, None, None] * across).permute(1, 3, 0, 2)
    # [c * n, h * w + k**2 + h + w + 1 - h * k - k * w - 2 * k]
    contract = image.reshape(c * n, h * w) @ transpose.reshape(h * w, -1)
    # [n, o, h * w + k**2 + h + w + 1 - h * k - k * w - 2 * k]  attention.lee:137
    contract_2 = kernel_u_v @ contract.reshape(n, c, -1)
    y_4 = y + contract_2.reshape(n, o, h + 1 - k, w + 1 - k)  # [n, o, h + 1 - k, w + 1 - k]
    return y_4  # [n, o, h + 1 - k, w + 1 - k]


def convolved_step_saved(y, kernel_u_v, image, k, u, v):
    """As convolved_step, and what its gradient needs."""
    o = y.shape[1]
    n, c, h, w = image.shape
    reshape = (torch.arange(h + 1 - k, device=y.device) + u)[:, None]  # int[h + 1 - k, 1]  attention.lee:134
    eq = torch.arange(h, device=y.device) == reshape  # bool[h + 1 - k, h]
    share = torch.where(eq, torch.full((), 1.0, dtype=FLOAT, device=y.device), 0.0)  # [h + 1 - k, h]
    reshape_2 = (torch.arange(w + 1 - k, device=y.device) + v)[:, None]  # int[w + 1 - k, 1]  attention.lee:135
    eq_2 = torch.arange(w, device=y.device) == reshape_2  # bool[w + 1 - k, w]
    across = torch.where(eq_2, torch.full((), 1.0, dtype=FLOAT, device=y.device), 0.0)  # [w + 1 - k, w]
    # [h, w, h + 1 - k, w + 1 - k]  attention.lee:136
    transpose = (share[:, :, None, None] * across).permute(1, 3, 0, 2)
    # [c * n, h * w + k**2 + h + w + 1 - h * k - k * w - 2 * k]
    contract = image.reshape(c * n, h * w) @ transpose.reshape(h * w, -1)
    seen = contract.reshape(n, c, h + 1 - k, w + 1 - k)  # [n, c, h + 1 - k, w + 1 - k]
    # [n, o, h * w + k**2 + h + w + 1 - h * k - k * w - 2 * k]  attention.lee:137
    contract_2 = kernel_u_v @ contract.reshape(n, c, -1)
    y_4 = y + contract_2.reshape(n, o, h + 1 - k, w + 1 - k)  # [n, o, h + 1 - k, w + 1 - k]
    return y_4, (share, across, seen)


def convolved_step_backward(kernel_u_v, saved, k, d_y_4):
    """From d_y_4 to the gradients by y, kernel_u_v and seen."""
    share, across, seen = saved
    o, c = kernel_u_v.shape
    h = share.shape[1]
    w = across.shape[1]
    n = seen.shape[0]
    # gradient of y[b, o, i, j] = y[b, o, i, j] + sum[c](seen[b, c, i, j] * kernel[o, c, u, v])   attention.lee:137
    reshape = d_y_4.reshape(n, o, -1)  # [n, o, h * w + k**2 + h + w + 1 - h * k - k * w - 2 * k]
    d_seen = (kernel_u_v.T @ reshape).reshape(n, c, h + 1 - k, w + 1 - k)  # [n, c, h + 1 - k, w + 1 - k]
    return d_y_4, (reshape @ seen.reshape(n, c, -1).mT).sum(dim=0), share, across, d_seen


def linear_attention(q, k, v):
    """φ(q) (φ(k)ᵀ v) / φ(q) Σ φ(k), with φ = elu + 1: linear in time (Katharopoulos et al. 2020).

    q [n, time, d], k [n, time, d], v [n, time, m] -> [n, time, m]
    """
    n, time, _ = q.shape
    f = elu(q) + 1  # [n, time, d]  attention.lee:146
    g = elu(k) + 1  # [n, time, d]  attention.lee:147
    sums = g.mT @ v  # [n, d, m]  attention.lee:148
    total = g.mT.sum(dim=2)  # [n, d]  attention.lee:149
    top = f @ sums  # [n, time, m]  attention.lee:150
    weight = (f @ total[:, :, None]).reshape(n, time)  # [n, time]  attention.lee:151
    return top / weight[:, :, None]  # [n, time, m]  attention.lee:152


def linear_attention_saved(q, k, v):
    """As linear_attention, and what its gradient needs."""
    n, time, _ = q.shape
    select, saved_elu = elu_saved(q)  # attention.lee:146
    f = select + 1  # [n, time, d]
    select_2, saved_elu_ = elu_saved(k)  # attention.lee:147
    g = select_2 + 1  # [n, time, d]
    sums = g.mT @ v  # [n, d, m]  attention.lee:148
    total = g.mT.sum(dim=2)  # [n, d]  attention.lee:149
    top = f @ sums  # [n, time, m]  attention.lee:150
    weight = (f @ total[:, :, None]).reshape(n, time)  # [n, time]  attention.lee:151
    reshape = weight[:, :, None]  # [n, time, 1]  attention.lee:152
    return top / reshape, (saved_elu, f, saved_elu_, g, sums, total, reshape)


def linear_attention_backward(v, saved, div, d_y):
    """From d_y to the gradients by q, k and v."""
    saved_elu, f, saved_elu_, g, sums, total, reshape = saved
    n, time, _ = v.shape
    d = f.shape[2]
    # gradient of return top / weight[:, :, None]   attention.lee:152
    d_top = d_y / reshape  # [n, time, m]
    d_reshape = -(d_y * div / reshape).sum(dim=2, keepdim=True)  # [n, time, 1]
    # gradient of weight[b, i] = sum[a](f[b, i, a] * total[b, a])   attention.lee:151
    d_total = (f.mT @ d_reshape).reshape(n, d)  # [n, d]
    # gradient of top[b, i, c] = sum[a](f[b, i, a] * sums[b, a, c])   attention.lee:150
    d_sums = f.mT @ d_top  # [n, d, m]
    # gradient of sums[b, a, c] = sum[j](g[b, j, a] * v[b, j, c])   attention.lee:148
    d_v = g @ d_sums  # [n, time, m]
    # gradient of g = elu(k) + 1   attention.lee:147
    d_g = d_total[:, :, None].expand(n, d, time).mT + v @ d_sums.mT  # [n, time, d]
    d_k = elu_backward(1.0, saved_elu_, d_g)  # [n, time, d]
    # gradient of f = elu(q) + 1   attention.lee:146
    d_f = d_reshape * total[:, None] + d_top @ sums.mT  # [n, time, d]
    d_q = elu_backward(1.0, saved_elu, d_f)  # [n, time, d]
    return d_q, d_k, d_v


def local_and_global(n, time, reach=1, everywhere_=1):
    """Neighbours see each other; the first positions see all and are seen by all."""
    le_2 = (-torch.arange(time))[:, None] + torch.arange(time) <= reach  # bool[time, time]  attention.lee:157
    le = torch.arange(time)[:, None] - torch.arange(time) <= reach  # bool[time, time]
    lt = torch.arange(time) < everywhere_  # bool[time]
    allowed = (le & le_2 | lt[:, None] | lt).expand(n, time, time)  # bool[n, time, time]
    return allowed  # bool[n, time, time]


def copied(vocabulary, share, tokens, gate):
    """p = g · p_vocabulary + (1 - g) · Σ of the shares of the positions that hold the word (See et al. 2017).

    vocabulary [n, classes], share [n, time], tokens int[n, time], gate [n] -> [n, classes]
    """
    n, classes = vocabulary.shape
    k = torch.arange(classes, device=vocabulary.device)  # int[classes]  attention.lee:166
    word = (tokens[:, :, None] == k).to(FLOAT)  # [n, time, classes]
    pointed = (word.mT @ share[:, :, None]).reshape(n, classes)  # [n, classes]  attention.lee:167
    reshape_3 = gate[:, None]  # [n, 1]  attention.lee:168
    return reshape_3 * vocabulary + (1 - reshape_3) * pointed  # [n, classes]


def copied_saved(vocabulary, share, tokens, gate):
    """As copied, and what its gradient needs."""
    n, classes = vocabulary.shape
    k = torch.arange(classes, device=vocabulary.device)  # int[classes]  attention.lee:166
    word = (tokens[:, :, None] == k).to(FLOAT)  # [n, time, classes]
    pointed = (word.mT @ share[:, :, None]).reshape(n, classes)  # [n, classes]  attention.lee:167
    reshape_3 = gate[:, None]  # [n, 1]  attention.lee:168
    sub = 1 - reshape_3  # [n, 1]
    return reshape_3 * vocabulary + sub * pointed, (word, pointed, sub)


def copied_backward(vocabulary, gate, saved, d_y):
    """From d_y to the gradients by vocabulary, share and gate."""
    word, pointed, sub = saved
    n = vocabulary.shape[0]
    time = word.shape[1]
    # gradient of return gate[:, None] * vocabulary + (1 - gate[:, None]) * pointed   attention.lee:168
    d_pointed = d_y * sub  # [n, classes]
    d_vocabulary = d_y * gate[:, None]  # [n, classes]
    d_reshape_2_3 = (d_y * vocabulary).sum(dim=1, keepdim=True)  # [n, 1]
    d_gate = (d_reshape_2_3 - (d_y * pointed).sum(dim=1, keepdim=True)).reshape(n)  # [n]
    # gradient of pointed[b, k] = sum[t](share[b, t] * word[b, t, k])   attention.lee:167
    d_share = (word @ d_pointed[:, :, None]).reshape(n, time)  # [n, time]
    return d_vocabulary, d_share, d_gate


def guided(share, width=0.2):
    """Σ Aᵢⱼ (1 - exp(-(i/N - j/T)² / 2g²)): attention should go from left to right (Tachibana et al. 2018).

    share [n, out, source] -> []
    """
    _, out, source = share.shape
    div = torch.arange(out, device=share.device).to(FLOAT) / out  # [out]  attention.lee:173
    sub = div[:, None] - torch.arange(source, device=share.device).to(FLOAT) / source  # [out, source]
    away = 1 - torch.exp(-(sub**2) / (2 * math.pow(width, 2)))  # [out, source]
    return (share * away).mean()  # attention.lee:174


def guided_saved(share, width=0.2):
    """As guided, and what its gradient needs."""
    _, out, source = share.shape
    div = torch.arange(out, device=share.device).to(FLOAT) / out  # [out]  attention.lee:173
    sub = div[:, None] - torch.arange(source, device=share.device).to(FLOAT) / source  # [out, source]
    away = 1 - torch.exp(-(sub**2) / (2 * math.pow(width, 2)))  # [out, source]
    return (share * away).mean(), away  # attention.lee:174


def guided_backward(away, n, d_y):
    """From d_y to the gradient by share."""
    out, source = away.shape
    # gradient of return mean(share * away)   attention.lee:174
    d_share = (d_y / (n * out * source) * away).expand(n, out, source)  # [n, out, source]
    return d_share  # [n, out, source]


def example_self_attention(key):
    net = SelfAttention(3, 4, key=fold(key, SITES["net"]))  # attention.lee:181
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:182
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  attention.lee:183
    d_c, saved_net = net.forward_saved(x)  # attention.lee:184
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_by_sums(key):
    q = normal(fold(key, SITES["q"]), (2, 4, 3), FLOAT)  # [2, 4, 3]  attention.lee:188
    k = normal(fold(key, SITES["k"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:189
    w = normal(fold(key, SITES["w"]), (3,), FLOAT)  # [3]  attention.lee:190
    c = normal(fold(key, SITES["c"]), (2, 4, 5), FLOAT)  # [2, 4, 5]  attention.lee:191
    d_c, saved_additive = additive_saved(q, k, w)  # attention.lee:192
    d_q, d_k, d_w = additive_backward(w, saved_additive, c)
    return (c * d_c).sum(), d_q, d_k, d_w, d_c


def example_without_softmax(key):
    score = normal(fold(key, SITES["score"]), (2, 4, 5), FLOAT)  # [2, 4, 5]  attention.lee:196
    v = normal(fold(key, SITES["v"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:197
    c = normal(fold(key, SITES["c"]), (2, 4, 3), FLOAT)  # [2, 4, 3]  attention.lee:198
    d_c, saved_rectified = rectified_saved(score, v)  # attention.lee:199
    d_score, d_v = rectified_backward(v, saved_rectified, c)
    return (c * d_c).sum(), d_score, d_v, d_c


def example_heads(key):
    net = MultiHead(6, 2, key=fold(key, SITES["net"]))  # attention.lee:203
    x = normal(fold(key, SITES["x"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:204
    c = normal(fold(key, SITES["c"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:205
    d_c, saved_net = net.forward_saved(x, x, everywhere(2, 5, 5))  # attention.lee:206
    d_net, d_x_2, d_x_3 = net.forward_backward(x, x, everywhere(2, 5, 5), saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x_2 + d_x_3, d_c


def example_backwards_only(key):
    net = MultiHead(6, 2, key=fold(key, SITES["net"]))  # attention.lee:210
    x = normal(fold(key, SITES["x"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:211
    c = normal(fold(key, SITES["c"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:212
    d_c, saved_net = net.forward_saved(x, x, causal(2, 5))  # attention.lee:213
    d_net, d_x_2, d_x_3 = net.forward_backward(x, x, causal(2, 5), saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x_2 + d_x_3, d_c


def example_across(key):
    net = MultiHead(6, 2, key=fold(key, SITES["net"]))  # attention.lee:217
    x = normal(fold(key, SITES["x"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:218
    memory = normal(fold(key, SITES["memory"]), (2, 4, 6), FLOAT)  # [2, 4, 6]  attention.lee:219
    c = normal(fold(key, SITES["c"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:220
    d_c, saved_net = net.forward_saved(x, memory, everywhere(2, 5, 4))  # attention.lee:221
    d_net, d_x, d_memory = net.forward_backward(x, memory, everywhere(2, 5, 4), saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_memory, d_c


def example_near(key):
    net = MultiHead(6, 2, key=fold(key, SITES["net"]))  # attention.lee:225
    x = normal(fold(key, SITES["x"]), (2, 7, 6), FLOAT)  # [2, 7, 6]  attention.lee:226
    c = normal(fold(key, SITES["c"]), (2, 7, 6), FLOAT)  # [2, 7, 6]  attention.lee:227
    d_c, saved_net = net.forward_saved(x, x, truncated(2, 7))  # attention.lee:228
    d_net, d_x_2, d_x_3 = net.forward_backward(x, x, truncated(2, 7), saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x_2 + d_x_3, d_c


def example_graph(key):
    score = normal(fold(key, SITES["score"]), (2, 5, 5), FLOAT)  # [2, 5, 5]  attention.lee:232
    v = normal(fold(key, SITES["v"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:233
    edge = -1 + 2 * uniform(fold(key, SITES["edge"]), (2, 5, 5), FLOAT)  # [2, 5, 5]  attention.lee:234
    c = normal(fold(key, SITES["c"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:235
    d_c, saved_masked = masked_saved(score, v, edge)  # attention.lee:236
    d_score, d_v = masked_backward(v, saved_masked, c)
    return (c * d_c).sum(), d_score, d_v, torch.zeros((2, 5, 5), dtype=FLOAT), d_c


def example_graph_as_printed(key):
    score = normal(fold(key, SITES["score"]), (2, 5, 5), FLOAT)  # [2, 5, 5]  attention.lee:240
    v = normal(fold(key, SITES["v"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:241
    edge = -1 + 2 * uniform(fold(key, SITES["edge"]), (2, 5, 5), FLOAT)  # [2, 5, 5]  attention.lee:242
    c = normal(fold(key, SITES["c"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:243
    d_c, saved_maskedAsPrinted = maskedAsPrinted_saved(score, v, edge)  # attention.lee:244
    d_score, d_v = maskedAsPrinted_backward(v, saved_maskedAsPrinted, c)
    return (c * d_c).sum(), d_score, d_v, torch.zeros((2, 5, 5), dtype=FLOAT), d_c


def example_waves(key):
    x = normal(fold(key, SITES["x"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:248
    c = normal(fold(key, SITES["c"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:249
    d_c = positioned(x)  # [2, 5, 6]  attention.lee:250
    return (c * d_c).sum(), positioned_backward(c), d_c


def example_learned(key):
    net = LearnedPosition(8, 6, key=fold(key, SITES["net"]))  # attention.lee:254
    x = normal(fold(key, SITES["x"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:255
    c = normal(fold(key, SITES["c"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  attention.lee:256
    d_c = net(x)  # [2, 5, 6]  attention.lee:257
    d_learnedposition, d_x = LearnedPosition.forward_backward(8, c)
    return (c * d_c).sum(), net.at(d_learnedposition), d_x, d_c


def example_image(key):
    net = SelfAttention(3, 4, key=fold(key, SITES["net"]))  # attention.lee:261
    image = normal(fold(key, SITES["image"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  attention.lee:262
    c = normal(fold(key, SITES["c"]), (2, 20, 4), FLOAT)  # [2, 20, 4]  attention.lee:263
    mul_3 = pixels(image)  # [2, 20, 3]  attention.lee:264
    d_c, saved_net = net.forward_saved(mul_3)
    d_net, d_mul_3 = net.forward_backward(mul_3, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), pixels_backward(4, 5, d_mul_3), d_c


def example_windows(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 5, 6), FLOAT)  # [2, 3, 5, 6]  attention.lee:268
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  attention.lee:269
    c = normal(fold(key, SITES["c"]), (2, 4, 3, 4), FLOAT)  # [2, 4, 3, 4]  attention.lee:270
    d_c, saved_convolved = convolved_saved(image, kernel)  # attention.lee:271
    d_image, d_kernel = convolved_backward(kernel, saved_convolved, 5, 6, c)
    return (c * d_c).sum(), d_image, d_kernel, d_c


def example_linear(key):
    q = normal(fold(key, SITES["q"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:275
    k = normal(fold(key, SITES["k"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  attention.lee:276
    v = normal(fold(key, SITES["v"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  attention.lee:277
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  attention.lee:278
    d_c, saved_linear_attention = linear_attention_saved(q, k, v)  # attention.lee:279
    d_q, d_k, d_v = linear_attention_backward(v, saved_linear_attention, d_c, c)
    return (c * d_c).sum(), d_q, d_k, d_v, d_c


def example_few(key):
    net = MultiHead(6, 2, key=fold(key, SITES["net"]))  # attention.lee:283
    x = normal(fold(key, SITES["x"]), (2, 7, 6), FLOAT)  # [2, 7, 6]  attention.lee:284
    c = normal(fold(key, SITES["c"]), (2, 7, 6), FLOAT)  # [2, 7, 6]  attention.lee:285
    d_c, saved_net = net.forward_saved(x, x, local_and_global(2, 7))  # attention.lee:286
    d_net, d_x_2, d_x_3 = net.forward_backward(x, x, local_and_global(2, 7), saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x_2 + d_x_3, d_c


def example_pointed(key):
    z = normal(fold(key, SITES["z"]), (3, 6), FLOAT)  # [3, 6]  attention.lee:290
    s = normal(fold(key, SITES["s"]), (3, 5), FLOAT)  # [3, 5]  attention.lee:291
    tokens = randint(fold(key, SITES["tokens"]), (3, 5), 0, 6)  # int[3, 5]  attention.lee:292
    gate = uniform(fold(key, SITES["gate"]), (3,), FLOAT)  # [3]  attention.lee:293
    c = normal(fold(key, SITES["c"]), (3, 6), FLOAT)  # [3, 6]  attention.lee:294
    softmax_ = torch.softmax(z, dim=1)  # [3, 6]  prelude.lee:122
    softmax_2 = torch.softmax(s, dim=1)  # [3, 5]
    d_c, saved_copied = copied_saved(softmax_, softmax_2, tokens, gate)  # attention.lee:295
    d_softmax, d_softmax_2, d_gate = copied_backward(softmax_, gate, saved_copied, c)
    sum_2 = (d_softmax_2 * softmax_2).sum(dim=1, keepdim=True)  # [3, 1]  prelude.lee:122
    sub_3 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [3, 6]
    return (c * d_c).sum(), softmax_ * sub_3, softmax_2 * (d_softmax_2 - sum_2), d_gate, d_c


def example_left_to_right(key):
    s = normal(fold(key, SITES["s"]), (2, 4, 5), FLOAT)  # [2, 4, 5]  attention.lee:299
    softmax_ = torch.softmax(s, dim=2)  # [2, 4, 5]  prelude.lee:122
    value, saved_guided = guided_saved(softmax_)  # attention.lee:300
    d_softmax = guided_backward(saved_guided, 2, torch.ones((), dtype=FLOAT))  # [2, 4, 5]
    sub = d_softmax - (d_softmax * softmax_).sum(dim=2, keepdim=True)  # [2, 4, 5]  prelude.lee:122
    return value, softmax_ * sub


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


class Linear(Model):
    """x W + b"""

    members = ("w",)

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, outputs]

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return x @ self.w  # [rows, outputs]  nn.lee:22

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w   nn.lee:22
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w}, d_x


def sinusoids(time, d):
    """sin(t / 10000^(i / d)) at even i, cos(t / 10000^((i - 1) / d)) at odd ones (Vaswani et al. 2017)."""
    power = torch.pow(10000, (2 * (torch.arange(d) // 2)).to(FLOAT) / d)  # [d]  nn.lee:410
    angle = torch.arange(time)[:, None].to(FLOAT) / power  # [time, d]
    wave = torch.where(torch.arange(d) % 2 == 0, torch.sin(angle), torch.cos(angle))  # [time, d]  nn.lee:411
    return wave  # [time, d]


def elu(x, alpha=1.0):
    """x where it is positive, else α (eˣ - 1) (Clevert et al. 2015).

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    gt = x > 0  # bool[x_0, x_1, x_2]  prelude.lee:76
    mul = alpha * (torch.exp(torch.where(~gt, x, x.detach())) - 1)  # [x_0, x_1, x_2]
    return torch.where(gt, x, mul)  # [x_0, x_1, x_2]


def elu_saved(x, alpha=1.0):
    """As elu, and what its gradient needs."""
    gt = x > 0  # bool[x_0, x_1, x_2]  prelude.lee:76
    exp = torch.exp(x)  # [x_0, x_1, x_2]
    return torch.where(gt, x, alpha * (exp - 1)), (gt, exp)


def elu_backward(alpha, saved, d_y):
    """From d_y to the gradient by x."""
    gt, exp = saved
    d_x = torch.where(gt, d_y, 0) + torch.where(gt, 0, d_y * alpha * exp)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "ask": 0xAE5F88760703DE74,
    "c": 0x1B2C07CD64633F37,
    "edge": 0x1B6E6A487F744253,
    "gate": 0xC0D073DFC6EC3AC2,
    "give": 0x393BBA5B40AB5D31,
    "image": 0x86C9701471CF0710,
    "k": 0x63D485F95FCB52AC,
    "kernel": 0x273FEA903E119357,
    "memory": 0xE8A0B2FC89DDFBBA,
    "mix": 0x8568467C7E8A80DF,
    "net": 0xF087C76970C91612,
    "offer": 0xC9FF3BA917F47E10,
    "q": 0x3514BD29FB70352B,
    "s": 0xDE6ECFAAC38449E6,
    "score": 0xBB12D0B9107F2826,
    "table": 0x4F51E0D95EBC91EB,
    "tokens": 0x0C6CD902DB662605,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "z": 0x3041FD28A7B04184,
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


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


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
