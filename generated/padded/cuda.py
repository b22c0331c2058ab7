"""Attention over sequences of different lengths, padded to one: what stands behind a length is seen by nobody.

The mask makes shares of 0 there; what is summed, averaged or picked out goes up to the length.

Made from specs/attention/padded.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/padded.lee
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


def inside(lengths, time):
    """True before each length.

    lengths int[n] -> bool[n, time]
    """
    before = torch.arange(time, device=lengths.device) < lengths[:, None]  # bool[n, time]  padded.lee:15
    return before  # bool[n, time]


def attend(q, k, v, lengths):
    """Shares softmax(q k / √size) of the values before each length, in several heads.

    q [n, m, heads, size], k [n, time, heads, size], v [n, time, heads, size], lengths int[n] -> [n, m, heads,
    size]
    """
    size = q.shape[3]
    time = k.shape[1]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  padded.lee:26
    reshape = inside(lengths, time)[:, None, None]  # bool[n, 1, 1, time]  padded.lee:27
    share = softmax(torch.where(reshape, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  padded.lee:28
    return mixed  # [n, m, heads, size]


def attend_saved(q, k, v, lengths):
    """As attend, and what its gradient needs."""
    size = q.shape[3]
    time = k.shape[1]
    score = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / math.sqrt(size)  # [n, heads, m, time]  padded.lee:26
    reshape = inside(lengths, time)[:, None, None]  # bool[n, 1, 1, time]  padded.lee:27
    share = softmax(torch.where(reshape, score, -torch.inf), (3,))  # [n, heads, m, time]  prelude.lee:122
    mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]  padded.lee:28
    return mixed, (reshape, share)


def attend_backward(q, k, v, saved, d_mixed):
    """From d_mixed to the gradients by q, k and v."""
    reshape, share = saved
    size = q.shape[3]
    # gradient of mixed[b, i, g, a] = sum[j](share[b, g, i, j] * v[b, j, g, a])   padded.lee:28
    transpose = d_mixed.permute(0, 2, 1, 3)  # [n, heads, m, size]
    d_share = transpose @ v.permute(0, 2, 3, 1)  # [n, heads, m, time]
    d_v = (share.mT @ transpose).permute(0, 2, 1, 3)  # [n, time, heads, size]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [n, heads, m, time]
    # gradient of score[b, g, i, j] = sum[a](q[b, i, g, a] * k[b, j, g, a]) / sqrt(size)   padded.lee:26
    d_contract = torch.where(reshape, share * sub / math.sqrt(size), 0)  # [n, heads, m, time]
    d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, m, heads, size]
    d_k = (d_contract.mT @ q.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [n, time, heads, size]
    return d_q, d_k, d_v


def mean_pool(x, lengths):
    """The mean of the vectors before each length; 0 where there are none.

    x [n, time, d], lengths int[n] -> [n, d]
    """
    time = x.shape[1]
    lt = torch.arange(time, device=x.device) < lengths[:, None]  # bool[n, time]  padded.lee:34
    sum_ = torch.where(lt[:, None], x.mT, 0).sum(dim=2)  # [n, d]
    pooled = sum_ / lengths.clamp(min=1)[:, None].to(FLOAT)  # [n, d]
    return pooled  # [n, d]


def mean_pool_saved(x, lengths):
    """As mean_pool, and what its gradient needs."""
    time = x.shape[1]
    reshape_2 = (torch.arange(time, device=x.device) < lengths[:, None])[:, None]  # bool[n, 1, time]  padded.lee:34
    cast = lengths.clamp(min=1)[:, None].to(FLOAT)  # [n, 1]
    pooled = torch.where(reshape_2, x.mT, 0).sum(dim=2) / cast  # [n, d]
    return pooled, (reshape_2, cast)


def mean_pool_backward(saved, d_pooled):
    """From d_pooled to the gradient by x."""
    reshape_2, cast = saved
    # gradient of pooled[b, a] = sum[t in lengths[b]](x[b, t, a]) / max(lengths[b], 1)   padded.lee:34
    d_x = torch.where(reshape_2, (d_pooled / cast)[:, :, None], 0).mT  # [n, time, d]
    return d_x  # [n, time, d]


def last_state(x, lengths):
    """The vector right before each length; 0 where there is none.

    x [n, time, d], lengths int[n] -> [n, d]
    """
    n, time, _ = x.shape
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]  padded.lee:40
    minimum = (lengths - 1).clamp(min=0).clamp(max=time - 1)  # int[n]
    gather = x[maximum_2.clamp(max=n - 1), minimum]  # [n, d]
    last = torch.where((lengths > 0)[:, None], gather, 0)  # [n, d]
    return last  # [n, d]


def last_state_saved(x, lengths):
    """As last_state, and what its gradient needs."""
    n, time, _ = x.shape
    minimum = (lengths - 1).clamp(min=0).clamp(max=time - 1)  # int[n]  padded.lee:40
    minimum_2 = torch.arange(n, device=x.device).clamp(min=0).clamp(max=n - 1)  # int[n]
    reshape = (lengths > 0)[:, None]  # bool[n, 1]
    last = torch.where(reshape, x[minimum_2, minimum], 0)  # [n, d]
    return last, (minimum, minimum_2, reshape)


def last_state_backward(saved, time, d_last):
    """From d_last to the gradient by x."""
    minimum, minimum_2, reshape = saved
    n = minimum.shape[0]
    d = d_last.shape[1]
    # gradient of last[b, a] = where(lengths[b] > 0, x[b, lengths[b] - 1, a], 0)   padded.lee:40
    d_gather = torch.where(reshape, d_last, 0)  # [n, d]
    d_x = scatter_add(d_gather, (minimum_2, minimum), (n, time, d))  # [n, time, d]
    return d_x  # [n, time, d]


class PaddedAttention(Model):
    """Positions of x attend to those of `memory` that are before its lengths."""

    members = ("query", "key", "value", "output")

    def __init__(self, d, heads, *, key=(0, 0)):
        super().__init__()
        self.d, self.heads = d, heads
        self.size = d // heads
        if d % heads != 0:
            raise ValueError(f"padded.lee:46: d % heads == 0 must hold: d = {d}, heads = {heads}")
        self.query = Linear(d, d, key=fold(key, SITES["query"]))  # padded.lee:48
        self.key = Linear(d, d, key=fold(key, SITES["key"]))  # padded.lee:49
        self.value = Linear(d, d, key=fold(key, SITES["value"]))  # padded.lee:50
        self.output = Linear(d, d, key=fold(key, SITES["output"]))  # padded.lee:51

    def forward(self, x, memory, lengths):
        """x [n, m, d], memory [n, time, d], lengths int[n] -> [n, m, d]"""
        n, m, _ = x.shape
        time = memory.shape[1]
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  padded.lee:54
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]  padded.lee:55
        k = self.key(memory_flat).reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        # [n, time, heads, d // heads]  padded.lee:56
        v = self.value(memory_flat).reshape(n, time, self.heads, self.d // self.heads)
        output_out = self.output(attend(q, k, v, lengths).reshape(m * n, self.d))  # [m * n, d]  padded.lee:57
        return output_out.reshape(n, m, self.d)  # [n, m, d]

    def forward_saved(self, x, memory, lengths):
        """As forward, and what its gradient needs."""
        n, m, _ = x.shape
        time = memory.shape[1]
        query_out = self.query(x.reshape(m * n, self.d))  # [m * n, d]  padded.lee:54
        q = query_out.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]  padded.lee:55
        k = self.key(memory_flat).reshape(n, time, self.heads, self.d // self.heads)  # [n, time, heads, d // heads]
        # [n, time, heads, d // heads]  padded.lee:56
        v = self.value(memory_flat).reshape(n, time, self.heads, self.d // self.heads)
        mixed, saved_attend = attend_saved(q, k, v, lengths)  # padded.lee:57
        reshape_3 = mixed.reshape(m * n, self.d)  # [m * n, d]
        return self.output(reshape_3).reshape(n, m, self.d), (q, k, v, saved_attend, reshape_3)

    def forward_backward(self, x, memory, saved, d_y):
        """From d_y to the gradients by the parameters, x and memory."""
        q, k, v, saved_attend, reshape_3 = saved
        n, m, _ = x.shape
        time = memory.shape[1]
        # gradient of k = reshape(key(memory), [n, time, heads, size])   padded.lee:55
        memory_flat = memory.reshape(n * time, self.d)  # [n * time, d]
        # gradient of return output(reshape(attend(q, k, v, lengths), [n, m, d]))   padded.lee:57
        d_output, d_reshape_3 = self.output.forward_backward(reshape_3, d_y.reshape(m * n, self.d))
        d_mixed = d_reshape_3.reshape(n, m, self.heads, self.d // self.heads)  # [n, m, heads, d // heads]
        d_q, d_k, d_v = attend_backward(q, k, v, saved_attend, d_mixed)
        # gradient of v = reshape(value(memory), [n, time, heads, size])   padded.lee:56
        d_value, d_memory_flat_2 = self.value.forward_backward(memory_flat, d_v.reshape(n * time, self.d))
        # gradient of k = reshape(key(memory), [n, time, heads, size])   padded.lee:55
        d_key, d_memory_flat_3 = self.key.forward_backward(memory_flat, d_k.reshape(n * time, self.d))
        d_memory = (d_memory_flat_2 + d_memory_flat_3).reshape(n, time, self.d)  # [n, time, d]
        # gradient of q = reshape(query(x), [n, m, heads, size])   padded.lee:54
        d_query_out = d_q.reshape(m * n, self.d)  # [m * n, d]
        d_query, d_x_flat = self.query.forward_backward(x.reshape(m * n, self.d), d_query_out)
        d_x = d_x_flat.reshape(n, m, self.d)  # [n, m, d]
        return {"query": d_query, "key": d_key, "value": d_value, "output": d_output}, d_x, d_memory


class Reader(Model):
    """A class of a sentence: every word looks at the others, then the mean of all."""

    members = ("read", "attention", "head")

    def __init__(self, vocab, d, heads, classes, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.heads, self.classes = vocab, d, heads, classes
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # padded.lee:62
        self.attention = PaddedAttention(d, heads, key=fold(key, SITES["attention"]))  # padded.lee:63
        self.head = Linear(d, classes, key=fold(key, SITES["head"]))  # padded.lee:64

    def forward(self, tokens, lengths):
        """tokens int[n, time], lengths int[n] -> [n, classes]"""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  padded.lee:67
        y = self.head(mean_pool(x + self.attention(x, x, lengths), lengths))  # [n, classes]  padded.lee:68
        return y  # [n, classes]

    def forward_saved(self, tokens, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  padded.lee:67
        reshape_12, saved_attention = self.attention.forward_saved(x, x, lengths)  # padded.lee:68
        pooled, saved_mean_pool = mean_pool_saved(x + reshape_12, lengths)
        return self.head(pooled), (x, saved_attention, pooled, saved_mean_pool)

    def forward_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, saved_attention, pooled, saved_mean_pool = saved
        n, time = tokens.shape
        # gradient of return head(mean_pool(x + attention(x, x, lengths), lengths))   padded.lee:68
        d_head, d_pooled = self.head.forward_backward(pooled, d_y)
        d_add = mean_pool_backward(saved_mean_pool, d_pooled)  # [n, time, d]
        d_attention, d_x_2, d_x_3 = self.attention.forward_backward(x, x, saved_attention, d_add)
        # gradient of x = read(tokens)   padded.lee:67
        d_x = d_add + d_x_2 + d_x_3  # [n, time, d]
        d_read_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(tokens.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "attention": d_attention, "head": d_head}


@torch.no_grad()
def fit(epochs=8, batch=16, rate=3e-3, *, run=None):
    """From which of four chapters on Python a sentence is."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "sentences",
        corpus="topics",
        classes=4,
        context=24,
        most=500,
        valid=0.0,
        test=0.2,
        seed=0,
        fields={"tokens": ("int", ("n", 24)), "lengths": ("int", ("n",)), "y": ("int", ("n",))},
    )
    net = Reader(vocab=data.vocab, d=32, heads=4, classes=4, key=run.key("net")).to(run.session.place.device)
    opt = Adam(lr=rate)  # padded.lee:78
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for tokens, lengths, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(tokens, lengths, y))  # padded.lee:81
        run.report(accuracy=fit_accuracy(net, data.test.tokens, data.test.lengths, data.test.y))  # padded.lee:82
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.read.table",
        "net.attention.query.w",
        "net.attention.query.b",
        "net.attention.key.w",
        "net.attention.key.b",
        "net.attention.value.w",
        "net.attention.value.b",
        "net.attention.output.w",
        "net.attention.output.b",
        "net.head.w",
        "net.head.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, tokens, lengths, y, t):
        read_table, attention_query_w, attention_query_b, attention_key_w, attention_key_b = self.tensors[:5]
        attention_value_w, attention_value_b, attention_output_w, attention_output_b, head_w = self.tensors[5:10]
        (head_b,) = self.tensors[10:]
        d_read_table, d_attention_query_w, d_attention_query_b, d_attention_key_w = self.gradients[:4]
        d_attention_key_b, d_attention_value_w, d_attention_value_b, d_attention_output_w = self.gradients[4:8]
        d_attention_output_b, d_head_w, d_head_b = self.gradients[8:]
        batches_n = tokens.shape[0]
        data_vocab = self.net.read.table.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        tokens_flat = tokens.reshape(24 * batches_n)  # int[24 * batches_n]  padded.lee:67
        read_out = read_table[tokens_flat]  # [24 * batches_n, 32]  nn.lee:50
        x = read_out.reshape(batches_n, 24, 32)  # [batches_n, 24, 32]  padded.lee:67
        query_out = torch.addmm(attention_query_b, read_out, attention_query_w)  # [24 * batches_n, 32]  nn.lee:21
        q = query_out.reshape(batches_n, 24, 4, 8)  # [batches_n, 24, 4, 8]  padded.lee:54
        key_out = torch.addmm(attention_key_b, read_out, attention_key_w)  # [24 * batches_n, 32]  nn.lee:21
        k = key_out.reshape(batches_n, 24, 4, 8)  # [batches_n, 24, 4, 8]  padded.lee:55
        value_out = torch.addmm(attention_value_b, read_out, attention_value_w)  # [24 * batches_n, 32]  nn.lee:21
        v = value_out.reshape(batches_n, 24, 4, 8)  # [batches_n, 24, 4, 8]  padded.lee:56
        transpose = q.permute(0, 2, 1, 3)  # [batches_n, 4, 24, 8]  padded.lee:26
        before = torch.arange(24, device=tokens.device) < lengths[:, None]  # bool[batches_n, 24]  padded.lee:15
        reshape = before[:, None, None]  # bool[batches_n, 1, 1, 24]  padded.lee:27
        score = transpose @ k.permute(0, 2, 3, 1) / math.sqrt(8)  # [batches_n, 4, 24, 24]  padded.lee:26
        share = softmax(torch.where(reshape, score, -torch.inf), (3,))  # [batches_n, 4, 24, 24]  prelude.lee:122
        mixed = (share @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, 24, 4, 8]  padded.lee:28
        reshape_2 = mixed.reshape(24 * batches_n, 32)  # [24 * batches_n, 32]  padded.lee:57
        output_out = torch.addmm(attention_output_b, reshape_2, attention_output_w)  # [24 * batches_n, 32]  nn.lee:21
        reshape_4 = before[:, None]  # bool[batches_n, 1, 24]  padded.lee:34
        transpose_4 = (x + output_out.reshape(batches_n, 24, 32)).mT  # [batches_n, 32, 24]
        cast = lengths.clamp(min=1)[:, None].to(FLOAT)  # [batches_n, 1]
        pooled = masked(transpose_4, reshape_4).sum(dim=2) / cast  # [batches_n, 32]
        affine = torch.addmm(head_b, pooled, head_w)  # [batches_n, 4]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(4, device=tokens.device)[None, :] == y[:, None]  # bool[batches_n, 4]
        d_add_2 = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 4]
        torch.sum(d_add_2, dim=0, out=d_head_b)  # [4]  nn.lee:21
        torch.mm(pooled.T, d_add_2, out=d_head_w)  # [32, 4]
        d_add = masked((d_add_2 @ head_w.T / cast)[:, :, None], reshape_4).mT  # [batches_n, 24, 32]  padded.lee:34
        d_output_out = d_add.reshape(24 * batches_n, 32)  # [24 * batches_n, 32]  padded.lee:57
        torch.sum(d_output_out, dim=0, out=d_attention_output_b)  # [32]  nn.lee:21
        torch.mm(reshape_2.T, d_output_out, out=d_attention_output_w)  # [32, 32]
        d_reshape_3 = d_output_out @ attention_output_w.T  # [24 * batches_n, 32]
        # [batches_n, 4, 24, 8]  padded.lee:28
        transpose_5 = d_reshape_3.reshape(batches_n, 24, 4, 8).permute(0, 2, 1, 3)
        d_share = transpose_5 @ v.permute(0, 2, 3, 1)  # [batches_n, 4, 24, 24]
        sub_2 = d_share - (d_share * share).sum(dim=3, keepdim=True)  # [batches_n, 4, 24, 24]  prelude.lee:122
        d_contract = masked(share * sub_2 / math.sqrt(8), reshape)  # [batches_n, 4, 24, 24]  padded.lee:26
        # [24 * batches_n, 32]  padded.lee:56
        d_value_out = (share.mT @ transpose_5).permute(0, 2, 1, 3).reshape(24 * batches_n, 32)
        torch.sum(d_value_out, dim=0, out=d_attention_value_b)  # [32]  nn.lee:21
        torch.mm(read_out.T, d_value_out, out=d_attention_value_w)  # [32, 32]
        # [24 * batches_n, 32]  padded.lee:55
        d_key_out = (d_contract.mT @ transpose).permute(0, 2, 1, 3).reshape(24 * batches_n, 32)
        torch.sum(d_key_out, dim=0, out=d_attention_key_b)  # [32]  nn.lee:21
        torch.mm(read_out.T, d_key_out, out=d_attention_key_w)  # [32, 32]
        d_memory_flat_2 = d_value_out @ attention_value_w.T  # [24 * batches_n, 32]
        d_memory_flat = d_memory_flat_2 + d_key_out @ attention_key_w.T  # [24 * batches_n, 32]  padded.lee:55
        d_q = (d_contract @ k.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # [batches_n, 24, 4, 8]  padded.lee:26
        d_query_out = d_q.reshape(24 * batches_n, 32)  # [24 * batches_n, 32]  padded.lee:54
        torch.sum(d_query_out, dim=0, out=d_attention_query_b)  # [32]  nn.lee:21
        torch.mm(read_out.T, d_query_out, out=d_attention_query_w)  # [32, 32]
        d_x_flat = d_query_out @ attention_query_w.T  # [24 * batches_n, 32]
        d_x_4 = d_add + d_x_flat.reshape(batches_n, 24, 32)  # [batches_n, 24, 32]  padded.lee:67
        d_x = d_x_4 + d_memory_flat.reshape(batches_n, 24, 32)  # [batches_n, 24, 32]
        d_read_out = d_x.reshape(24 * batches_n, 32)  # [24 * batches_n, 32]
        d_read_table.copy_(scatter_add(d_read_out, (tokens_flat,), (data_vocab, 32)))  # [data_vocab, 32]  nn.lee:50
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v_ in self.blocks[0]:
            adam_(θ, g, m, v_, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


def fit_accuracy(net, data_test_tokens, data_test_lengths, data_test_y):
    """data_test_tokens int[data_test_n, 24], data_test_lengths int[data_test_n], data_test_y int[data_test_n] ->
    []
    """
    accuracy_ = accuracy(net(data_test_tokens, data_test_lengths), data_test_y)  # padded.lee:82
    return accuracy_


def example_attended(key):
    net = PaddedAttention(6, 2, key=fold(key, SITES["net"]))  # padded.lee:90
    x = normal(fold(key, SITES["x"]), (4, 3, 6), FLOAT)  # [4, 3, 6]  padded.lee:91
    memory = normal(fold(key, SITES["memory"]), (4, 5, 6), FLOAT)  # [4, 5, 6]  padded.lee:92
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  padded.lee:93
    c = normal(fold(key, SITES["c"]), (4, 3, 6), FLOAT)  # [4, 3, 6]  padded.lee:94
    d_c, saved_net = net.forward_saved(x, memory, lengths)  # padded.lee:95
    d_net, d_x, d_memory = net.forward_backward(x, memory, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_memory, d_c


def example_nothing_there(key):
    """A length of 0: all shares are 0, and so are the mean and the last state."""
    q = normal(fold(key, SITES["q"]), (2, 3, 2, 4), FLOAT)  # [2, 3, 2, 4]  padded.lee:100
    k = normal(fold(key, SITES["k"]), (2, 5, 2, 4), FLOAT)  # [2, 5, 2, 4]  padded.lee:101
    v = normal(fold(key, SITES["v"]), (2, 5, 2, 4), FLOAT)  # [2, 5, 2, 4]  padded.lee:102
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  padded.lee:103
    lengths = torch.zeros(2, dtype=torch.int64)  # int[2]  padded.lee:104
    mixed, saved_attend = attend_saved(q, k, v, lengths)  # padded.lee:105
    pooled, saved_mean_pool = mean_pool_saved(x, lengths)
    last, saved_last_state = last_state_saved(x, lengths)
    d_last = torch.ones((2, 3), dtype=FLOAT)  # [2, 3]
    d_mixed = torch.ones((2, 3, 2, 4), dtype=FLOAT)  # [2, 3, 2, 4]
    d_q, d_k, d_v = attend_backward(q, k, v, saved_attend, d_mixed)
    d_x_2 = last_state_backward(saved_last_state, 5, d_last)  # [2, 5, 3]
    return mixed.sum() + pooled.sum() + last.sum(), d_q, d_k, d_v, d_x_2 + mean_pool_backward(saved_mean_pool, d_last)


def example_pooled(key):
    x = normal(fold(key, SITES["x"]), (4, 5, 3), FLOAT)  # [4, 5, 3]  padded.lee:109
    lengths = randint(fold(key, SITES["lengths"]), (4,), 0, 6)  # int[4]  padded.lee:110
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  padded.lee:111
    d_c, saved_mean_pool = mean_pool_saved(x, lengths)  # padded.lee:112
    return (c * d_c).sum(), mean_pool_backward(saved_mean_pool, c), d_c


def example_last(key):
    x = normal(fold(key, SITES["x"]), (4, 5, 3), FLOAT)  # [4, 5, 3]  padded.lee:116
    lengths = randint(fold(key, SITES["lengths"]), (4,), 0, 6)  # int[4]  padded.lee:117
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  padded.lee:118
    d_c, saved_last_state = last_state_saved(x, lengths)  # padded.lee:119
    return (c * d_c).sum(), last_state_backward(saved_last_state, 5, c), d_c


def example_read(key):
    net = Reader(7, 6, 2, 3, key=fold(key, SITES["net"]))  # padded.lee:123
    tokens = randint(fold(key, SITES["tokens"]), (4, 5), 0, 7)  # int[4, 5]  padded.lee:124
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 6)  # int[4]  padded.lee:125
    y = randint(fold(key, SITES["y"]), (4,), 0, 3)  # int[4]  padded.lee:126
    add_2, saved_net = net.forward_saved(tokens, lengths)  # padded.lee:127
    d_add_2 = cross_entropy_backward(add_2, y, torch.ones((), dtype=FLOAT))  # [4, 3]
    d_net = net.forward_backward(tokens, saved_net, d_add_2)
    return cross_entropy(add_2, y), net.at(d_net)


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


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(dim=1) == y).to(FLOAT).mean()  # metrics.lee:9


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
    "attention": 0x9C3F13C526941895,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "head": 0xBD7890018BD219D5,
    "k": 0x63D485F95FCB52AC,
    "key": 0xF54CA9C3ADCC7CCE,
    "lengths": 0xDE00C8960E49C03F,
    "memory": 0xE8A0B2FC89DDFBBA,
    "net": 0xF087C76970C91612,
    "output": 0x02DE2253159F1835,
    "q": 0x3514BD29FB70352B,
    "query": 0x0368BD6C66AB1F7B,
    "read": 0xCF660812E3283339,
    "table": 0x4F51E0D95EBC91EB,
    "tokens": 0x0C6CD902DB662605,
    "v": 0x9DF7DC769517EBA3,
    "value": 0x196B9BE45174F330,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
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


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


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
