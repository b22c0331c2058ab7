"""What sequences are good for (inventory F1, F4, F5, F12, F14, F15, F22, F23): layers on layers, one class or many.

`lengths` are the true lengths of the rows of a batch; what stands behind them changes nothing.

Made from specs/recurrent/networks.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/recurrent/networks.lee
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


def bigram(tokens, vocab, prior=1.0):
    """p(b | a): how often b came next to a, each pair counted `prior` times beforehand.

    tokens int[n] -> [vocab, vocab]
    """
    n = tokens.shape[0]
    first = tokens[: n - 1]  # int[n - 1]  networks.lee:15
    second = tokens[1:]  # int[n - 1]  networks.lee:16
    fill = torch.ones(n - 1, dtype=FLOAT, device=tokens.device)  # [n - 1]  networks.lee:18
    pairs_2 = prior + scatter_add(fill, (first, second), (vocab, vocab))  # [vocab, vocab]
    return pairs_2 / pairs_2.sum(dim=1, keepdim=True)  # [vocab, vocab]  networks.lee:19


def log_likelihood(start, next_, tokens):
    """log p(x) = log p(x₁) + Σ log p(xₜ | xₜ₋₁)

    start [vocab], next [vocab, vocab], tokens int[n, time] -> [n]
    """
    time = tokens.shape[1]
    total = torch.log(start[tokens[:, 0]])  # [n]  networks.lee:24
    # networks.lee:25
    for t in range(1, time):
        total = log_likelihood_step(total, tokens[:, t - 1], tokens[:, t], next_)
    return total  # [n]


def log_likelihood_saved(start, next_, tokens):
    """As log_likelihood, and what its gradient needs."""
    time = tokens.shape[1]
    contract = tokens[:, 0]  # int[n]  networks.lee:24
    gather = start[contract]  # [n]
    total = torch.log(gather)  # [n]
    # networks.lee:25
    for t in range(1, time):
        total = log_likelihood_step(total, tokens[:, t - 1], tokens[:, t], next_)
    return total, (contract, gather)


def log_likelihood_backward(saved, time, vocab, d_total_4):
    """From d_total_4 to the gradient by start."""
    contract, gather = saved
    # gradient of for t in 1..time - 1:   networks.lee:25
    for t in reversed(range(1, time)):
        d_total_4 = log_likelihood_step_backward(d_total_4)
    # gradient of total[r] = log(start[tokens[r, 0]])   networks.lee:24
    d_start = scatter_add(d_total_4 / gather, (contract,), (vocab,))  # [vocab]
    return d_start  # [vocab]


def log_likelihood_step(total, tokens_t, tokens_t_2, next_):
    """total [n], tokens_t int[n], tokens_t_2 int[n], next [vocab, vocab] -> [n]"""
    total_3 = total + torch.log(next_[tokens_t, tokens_t_2])  # [n]  networks.lee:26
    return total_3  # [n]


def log_likelihood_step_backward(d_total_3):
    """From d_total_3 to the gradient by total."""
    return d_total_3  # [n]


class DeepRNN_2(Model):
    """Every layer reads the states of the one below, and carries its own."""

    members = ("first", "above")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.first = RNN(inputs, hidden, key=fold(key, SITES["first"]))  # networks.lee:35
        self.above = torch.nn.ModuleList([RNN(hidden, hidden, key=fold(key, SITES["above.0"]))])  # networks.lee:36

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        h = self.first(x)  # [n, time, hidden]  networks.lee:39
        h_2 = self.above[0](h)  # [n, time, hidden]  networks.lee:41
        return h_2  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        h, saved_first = self.first.forward_saved(x)  # networks.lee:39
        h_2, saved_above_0_ = self.above[0].forward_saved(h)  # networks.lee:41
        return h_2, (h, saved_first, saved_above_0_)

    def forward_backward(self, x, saved, h_2, d_mul):
        """From d_mul to the gradients by the parameters and x."""
        h, saved_first, saved_above_0_ = saved
        # gradient of h = layer(h)   networks.lee:41
        d_above_0_, d_h = self.above[0].forward_backward(h, h_2, saved_above_0_, d_mul)
        # gradient of h = first(x)   networks.lee:39
        d_first, d_x = self.first.forward_backward(x, h, saved_first, d_h)
        return {"first": d_first, "above.0": d_above_0_}, d_x


class BidirectionalLSTM(Model):
    """Every position knows what came before and what comes after: for labels, not for forecasts."""

    members = ("ahead", "back")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.ahead = LSTM(inputs, hidden, key=fold(key, SITES["ahead"]))  # networks.lee:47
        self.back = LSTM(inputs, hidden, key=fold(key, SITES["back"]))  # networks.lee:48

    def forward(self, x, lengths):
        """x [n, time, inputs], lengths int[n] -> [n, time, 2 * hidden]"""
        time = x.shape[1]
        inside = torch.arange(time, device=x.device) < lengths[:, None]  # bool[n, time]  networks.lee:51
        there = within(self.back(within(x, lengths)), lengths)  # [n, time, hidden]  networks.lee:52
        concat = torch.cat((self.ahead(x), there), dim=2)  # [n, time, 2 * hidden]  networks.lee:53
        return torch.where(inside[:, :, None], concat, 0)  # [n, time, 2 * hidden]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        time = x.shape[1]
        inside = torch.arange(time, device=x.device) < lengths[:, None]  # bool[n, time]  networks.lee:51
        y, saved_within = within_saved(x, lengths)  # networks.lee:52
        out, saved_back = self.back.forward_saved(y)
        there, saved_within_ = within_saved(out, lengths)
        reshape_2 = inside[:, :, None]  # bool[n, time, 1]  networks.lee:53
        out_2, saved_ahead = self.ahead.forward_saved(x)
        saved = y, saved_within, saved_back, saved_within_, reshape_2, saved_ahead
        return torch.where(reshape_2, torch.cat((out_2, there), dim=2), 0), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        y, saved_within, saved_back, saved_within_, reshape_2, saved_ahead = saved
        # gradient of return where(inside[:, :, None], concat(ahead(x), there, axis = -1), 0)   networks.lee:53
        d_concat = torch.where(reshape_2, d_y, 0)  # [n, time, 2 * hidden]
        d_there = d_concat[:, :, self.hidden :]  # [n, time, hidden]
        d_ahead, d_x_2 = self.ahead.forward_backward(x, saved_ahead, d_concat[:, :, : self.hidden])
        # gradient of there = within(back(within(x, lengths)), lengths)   networks.lee:52
        d_out = within_backward(saved_within_, d_there)  # [n, time, hidden]
        d_back, d_y_ = self.back.forward_backward(y, saved_back, d_out)
        d_x = d_x_2 + within_backward(saved_within, d_y_)  # [n, time, inputs]
        return {"ahead": d_ahead, "back": d_back}, d_x


def within(x, lengths):
    """Each row back to front, as far as its length goes.

    x [n, time, d], lengths int[n] -> [n, time, d]
    """
    n, time, _ = x.shape
    t = torch.arange(time, device=x.device)  # int[time]  networks.lee:58
    maximum = ((lengths - 1)[:, None] - t).clamp(min=0)  # int[n, time]
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]
    reshape_3 = maximum_2.clamp(max=n - 1)[:, None]  # int[n, 1]
    gather = x[reshape_3, maximum.clamp(max=time - 1)]  # [n, time, d]
    y = torch.where((t < lengths[:, None])[:, :, None], gather, 0)  # [n, time, d]
    return y  # [n, time, d]


def within_saved(x, lengths):
    """As within, and what its gradient needs."""
    n, time, _ = x.shape
    t = torch.arange(time, device=x.device)  # int[time]  networks.lee:58
    minimum = ((lengths - 1)[:, None] - t).clamp(min=0).clamp(max=time - 1)  # int[n, time]
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]
    reshape_3 = maximum_2.clamp(max=n - 1)[:, None]  # int[n, 1]
    reshape_4 = (t < lengths[:, None])[:, :, None]  # bool[n, time, 1]
    y = torch.where(reshape_4, x[reshape_3, minimum], 0)  # [n, time, d]
    return y, (minimum, reshape_3, reshape_4)


def within_backward(saved, d_y):
    """From d_y to the gradient by x."""
    minimum, reshape_3, reshape_4 = saved
    n, time = minimum.shape
    d = d_y.shape[2]
    # gradient of y[r, t in time, j] = where(t < lengths[r], x[r, lengths[r] - 1 - t, j], 0)   networks.lee:58
    d_gather = torch.where(reshape_4, d_y, 0)  # [n, time, d]
    d_x = scatter_add(d_gather, (reshape_3, minimum), (n, time, d))  # [n, time, d]
    return d_x  # [n, time, d]


class Classifier(Model):
    """Many to one: the state behind the last token says the class."""

    members = ("read", "rnn", "head")

    def __init__(self, vocab, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.hidden, self.classes = vocab, d, hidden, classes
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # networks.lee:67
        self.rnn = RNN(d, hidden, key=fold(key, SITES["rnn"]))  # networks.lee:68
        self.head = Linear(hidden, classes, key=fold(key, SITES["head"]))  # networks.lee:69

    def forward(self, tokens, lengths):
        """tokens int[n, time], lengths int[n] -> [n, classes]"""
        n, time = tokens.shape
        h = self.rnn(self.read(tokens.reshape(n * time)).reshape(n, time, self.d))  # [n, time, hidden]  networks.lee:72
        last = h[torch.arange(n, device=tokens.device), lengths - 1]  # [n, hidden]  networks.lee:73
        return self.head(last)  # [n, classes]  networks.lee:74

    def forward_saved(self, tokens, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        reshape_2 = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  networks.lee:72
        h, saved_rnn = self.rnn.forward_saved(reshape_2)
        sub = lengths - 1  # int[n]  networks.lee:73
        last = h[torch.arange(n, device=tokens.device), sub]  # [n, hidden]
        return self.head(last), (reshape_2, h, saved_rnn, sub, last)  # networks.lee:74

    def forward_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        reshape_2, h, saved_rnn, sub, last = saved
        n, time = tokens.shape
        # gradient of return head(last)   networks.lee:74
        d_head, d_last = self.head.forward_backward(last, d_y)
        # gradient of last[r, j] = h[r, lengths[r] - 1, j]   networks.lee:73
        r = torch.arange(n, device=tokens.device)  # int[n]
        d_h = scatter_add(d_last, (r, sub), (n, time, self.hidden))  # [n, time, hidden]
        # gradient of h = rnn(read(tokens))   networks.lee:72
        d_rnn, d_reshape_2 = self.rnn.forward_backward(reshape_2, h, saved_rnn, d_h)
        d_read_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(tokens.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "rnn": d_rnn, "head": d_head}


class Tagger(Model):
    """Many to many: every token gets a tag, which both directions know."""

    members = ("read", "ahead", "back", "head")

    def __init__(self, vocab, d, hidden, tags, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.hidden, self.tags = vocab, d, hidden, tags
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # networks.lee:79
        self.ahead = LSTM(d, hidden, key=fold(key, SITES["ahead"]))  # networks.lee:80
        self.back = LSTM(d, hidden, key=fold(key, SITES["back"]))  # networks.lee:81
        self.head = Linear(2 * hidden, tags, key=fold(key, SITES["head"]))  # networks.lee:82

    def forward(self, tokens, lengths):
        """tokens int[n, time], lengths int[n] -> [n, time, tags]"""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  networks.lee:85
        there = within(self.back(within(x, lengths)), lengths)  # [n, time, hidden]  networks.lee:86
        concat = torch.cat((self.ahead(x), there), dim=2)  # [n, time, 2 * hidden]  networks.lee:87
        head_out = self.head(concat.reshape(n * time, 2 * self.hidden))  # [n * time, tags]
        return head_out.reshape(n, time, self.tags)  # [n, time, tags]

    def forward_saved(self, tokens, lengths):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        x = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  networks.lee:85
        y, saved_within = within_saved(x, lengths)  # networks.lee:86
        out, saved_back = self.back.forward_saved(y)
        there, saved_within_ = within_saved(out, lengths)
        out_2, saved_ahead = self.ahead.forward_saved(x)  # networks.lee:87
        reshape_2 = torch.cat((out_2, there), dim=2).reshape(n * time, 2 * self.hidden)  # [n * time, 2 * hidden]
        saved = x, y, saved_within, saved_back, saved_within_, saved_ahead, reshape_2
        return self.head(reshape_2).reshape(n, time, self.tags), saved

    def forward_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x, y, saved_within, saved_back, saved_within_, saved_ahead, reshape_2 = saved
        n, time = tokens.shape
        # gradient of return head(concat(ahead(x), there, axis = -1))   networks.lee:87
        d_head, d_reshape_2 = self.head.forward_backward(reshape_2, d_y.reshape(n * time, self.tags))
        d_concat = d_reshape_2.reshape(n, time, 2 * self.hidden)  # [n, time, 2 * hidden]
        d_there = d_concat[:, :, self.hidden :]  # [n, time, hidden]
        d_ahead, d_x_2 = self.ahead.forward_backward(x, saved_ahead, d_concat[:, :, : self.hidden])
        # gradient of there = within(back(within(x, lengths)), lengths)   networks.lee:86
        d_out = within_backward(saved_within_, d_there)  # [n, time, hidden]
        d_back, d_y_ = self.back.forward_backward(y, saved_back, d_out)
        # gradient of x = read(tokens)   networks.lee:85
        d_x = d_x_2 + within_backward(saved_within, d_y_)  # [n, time, d]
        d_read_out = d_x.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(tokens.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "ahead": d_ahead, "back": d_back, "head": d_head}


class WindowTagger(Model):
    """Every position with `reach` neighbours on both sides, side by side, through fully connected layers."""

    members = ("below", "head")

    def __init__(self, inputs, hidden, tags, reach=2, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden, self.tags, self.reach = inputs, hidden, tags, reach
        self.below = Linear(2 * inputs * reach + inputs, hidden, key=fold(key, SITES["below"]))  # networks.lee:92
        self.head = Linear(hidden, tags, key=fold(key, SITES["head"]))  # networks.lee:93

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, tags]"""
        n, time, _ = x.shape
        # [n, 2 * reach + time, inputs]  networks.lee:96
        padded = torch.nn.functional.pad(x, (0, 0, self.reach, self.reach, 0, 0), value=0.0)
        # [n, time, 2 * reach + 1, inputs]  networks.lee:97
        near = padded.unfold(1, time, 1).movedim(-1, 2).permute(0, 2, 1, 3)
        # [n * time, 2 * inputs * reach + inputs]  networks.lee:98
        near_flat = near.reshape(n * time, 2 * self.inputs * self.reach + self.inputs)
        select = relu(self.below(near_flat).reshape(n, time, self.hidden))  # [n, time, hidden]
        head_out = self.head(select.reshape(n * time, self.hidden))  # [n * time, tags]
        return head_out.reshape(n, time, self.tags)  # [n, time, tags]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        # [n, 2 * reach + time, inputs]  networks.lee:96
        padded = torch.nn.functional.pad(x, (0, 0, self.reach, self.reach, 0, 0), value=0.0)
        # [n, time, 2 * reach + 1, inputs]  networks.lee:97
        near = padded.unfold(1, time, 1).movedim(-1, 2).permute(0, 2, 1, 3)
        # [n * time, 2 * inputs * reach + inputs]  networks.lee:98
        near_flat = near.reshape(n * time, 2 * self.inputs * self.reach + self.inputs)
        select = relu(self.below(near_flat).reshape(n, time, self.hidden))  # [n, time, hidden]
        head_out = self.head(select.reshape(n * time, self.hidden))  # [n * time, tags]
        return head_out.reshape(n, time, self.tags), (near_flat, select)

    def forward_backward(self, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        near_flat, select = saved
        n, time, _ = select.shape
        # gradient of return head(relu(below(reshape(near, [n, time, (2*reach + 1) * inputs]))))   networks.lee:98
        reshape = select.reshape(n * time, self.hidden)  # [n * time, hidden]
        d_head, d_reshape_3 = self.head.forward_backward(reshape, d_y.reshape(n * time, self.tags))
        d_reshape_2 = relu_backward(select, d_reshape_3.reshape(n, time, self.hidden))  # [n, time, hidden]
        d_below_out = d_reshape_2.reshape(n * time, self.hidden)  # [n * time, hidden]
        d_below, d_near_flat = self.below.forward_backward(near_flat, d_below_out)
        d_near = d_near_flat.reshape(n, time, 2 * self.reach + 1, self.inputs)  # [n, time, 2 * reach + 1, inputs]
        # gradient of near[r, t in time, u in 2*reach + 1, j] = padded[r, t + u, j]   networks.lee:97
        d_padded = unwindow(d_near.permute(0, 2, 1, 3), 1, 2 * self.reach + time, 1, 1)  # [n, 2 * reach + time, inputs]
        # gradient of padded = pad(x, (0, reach, 0))   networks.lee:96
        d_x = d_padded[:, self.reach : self.reach + time]  # [n, time, inputs]
        return {"below": d_below, "head": d_head}, d_x


def tagging(z, y, lengths):
    """The cross-entropy of the true positions.

    z [n, time, tags], y int[n, time], lengths int[n] -> []
    """
    n, time, tags = z.shape
    each = cross_entropy_2(z.reshape(n * time, tags), y.reshape(n * time))  # [n * time]  networks.lee:103
    each_2 = each.reshape(n, time)  # [n, time]
    lt = torch.arange(time, device=z.device) < lengths[:, None]  # bool[n, time]  networks.lee:104
    return torch.where(lt, each_2, 0).sum() / lengths.sum().to(FLOAT)


def tagging_saved(z, y, lengths):
    """As tagging, and what its gradient needs."""
    n, time, tags = z.shape
    each = cross_entropy_2(z.reshape(n * time, tags), y.reshape(n * time))  # [n * time]  networks.lee:103
    each_2 = each.reshape(n, time)  # [n, time]
    lt = torch.arange(time, device=z.device) < lengths[:, None]  # bool[n, time]  networks.lee:104
    cast = lengths.sum().to(FLOAT)
    return torch.where(lt, each_2, 0).sum() / cast, (lt, cast)


def tagging_backward(z, y, saved, d_out):
    """From d_out to the gradient by z."""
    lt, cast = saved
    n, time, tags = z.shape
    # gradient of return sum[r, t in lengths[r]](each[r, t]) / sum(lengths)   networks.lee:104
    d_each_2 = torch.where(lt, d_out / cast, 0)  # [n, time]
    # gradient of each = cross_entropy(z, y, reduce = false)   networks.lee:103
    d_each = d_each_2.reshape(n * time)  # [n * time]
    z_flat = z.reshape(n * time, tags)  # [n * time, tags]
    d_z_flat = cross_entropy_2_backward(z_flat, y.reshape(n * time), d_each)  # [n * time, tags]
    d_z = d_z_flat.reshape(n, time, tags)  # [n, time, tags]
    return d_z  # [n, time, tags]


class LanguageModel(Model):
    """What has been read says what comes next."""

    members = ("read", "rnn", "head")

    def __init__(self, vocab, d, hidden, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d, self.hidden = vocab, d, hidden
        self.read = Embedding(vocab, d, key=fold(key, SITES["read"]))  # networks.lee:109
        self.rnn = LSTM(d, hidden, key=fold(key, SITES["rnn"]))  # networks.lee:110
        self.head = Linear(hidden, vocab, key=fold(key, SITES["head"]))  # networks.lee:111

    def forward(self, tokens):
        """tokens int[n, time] -> [n, time, vocab]"""
        n, time = tokens.shape
        # [n, time, hidden]  networks.lee:114
        out = self.rnn(self.read(tokens.reshape(n * time)).reshape(n, time, self.d))
        head_out = self.head(out.reshape(n * time, self.hidden))  # [n * time, vocab]
        return head_out.reshape(n, time, self.vocab)  # [n, time, vocab]

    def forward_saved(self, tokens):
        """As forward, and what its gradient needs."""
        n, time = tokens.shape
        reshape_2 = self.read(tokens.reshape(n * time)).reshape(n, time, self.d)  # [n, time, d]  networks.lee:114
        out, saved_rnn = self.rnn.forward_saved(reshape_2)
        reshape_3 = out.reshape(n * time, self.hidden)  # [n * time, hidden]
        return self.head(reshape_3).reshape(n, time, self.vocab), (reshape_2, saved_rnn, reshape_3)

    def forward_backward(self, tokens, saved, d_y):
        """From d_y to the gradient by the parameters."""
        reshape_2, saved_rnn, reshape_3 = saved
        n, time = tokens.shape
        # gradient of return head(rnn(read(tokens)))   networks.lee:114
        d_head, d_reshape_3 = self.head.forward_backward(reshape_3, d_y.reshape(n * time, self.vocab))
        d_out = d_reshape_3.reshape(n, time, self.hidden)  # [n, time, hidden]
        d_rnn, d_reshape_2 = self.rnn.forward_backward(reshape_2, saved_rnn, d_out)
        d_read_out = d_reshape_2.reshape(n * time, self.d)  # [n * time, d]
        d_read = Embedding.forward_backward(tokens.reshape(n * time), self.vocab, d_read_out)
        return {"read": d_read, "rnn": d_rnn, "head": d_head}


def next_token(net, tokens):
    """The cross-entropy of every token but the first, by those before it.

    tokens int[n, time] -> []
    """
    n, time = tokens.shape
    reshape = net(tokens[:, : time - 1]).reshape(n * time - n, net.vocab)  # [n * time - n, net.vocab]  networks.lee:119
    return cross_entropy(reshape, tokens[:, 1:].reshape(n * time - n))


def next_token_saved(net, tokens):
    """As next_token, and what its gradient needs."""
    n, time = tokens.shape
    reshape_4, saved_net = net.forward_saved(tokens[:, : time - 1])  # networks.lee:119
    reshape = reshape_4.reshape(n * time - n, net.vocab)  # [n * time - n, net.vocab]
    return cross_entropy(reshape, tokens[:, 1:].reshape(n * time - n)), (saved_net, reshape)


def next_token_backward(net, tokens, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, reshape = saved
    n, time = tokens.shape
    # gradient of return cross_entropy(net(tokens[:, :-1]), tokens[:, 1:])   networks.lee:119
    d_reshape = cross_entropy_backward(reshape, tokens[:, 1:].reshape(n * time - n), d_y)  # [n * time - n, net.vocab]
    d_reshape_4 = d_reshape.reshape(n, time - 1, net.vocab)  # [n, time - 1, net.vocab]
    d_net = net.forward_backward(tokens[:, : time - 1], saved_net, d_reshape_4)
    return d_net


def perplexity(net, tokens):
    """e to the mean cross-entropy: among how many equally likely tokens the model hesitates.

    tokens int[n, time] -> []
    """
    return torch.exp(next_token(net, tokens))  # networks.lee:124


def perplexity_saved(net, tokens):
    """As perplexity, and what its gradient needs."""
    mean, saved_next_token = next_token_saved(net, tokens)  # networks.lee:124
    return torch.exp(mean), saved_next_token


def perplexity_backward(net, tokens, saved_next_token, exp, d_y):
    """From d_y to the gradient by net."""
    # gradient of return exp(next_token(net, tokens))   networks.lee:124
    d_net = next_token_backward(net, tokens, saved_next_token, d_y * exp)
    return d_net


def frames(sound, window, hop):
    """A vector for every `hop` samples: the `window` samples that begin there.

    sound [n, samples] -> [n, out_samples, window]
    """
    frame = sound.unfold(1, window, hop)  # [n, out_samples, window]  networks.lee:132
    return frame  # [n, out_samples, window]


def frames_backward(hop, samples, d_mul):
    """From d_mul to the gradient by sound."""
    # gradient of frame[r, t in (samples - window) // hop + 1, u in window] = sound[r, hop*t + u]   networks.lee:132
    d_sound = unwindow(d_mul, 1, samples, hop, 1)  # [n, samples]
    return d_sound  # [n, samples]


def atoms(symbols, kinds):
    """A molecule or a graph as a set of vectors, one of each node's kind.

    symbols int[n, m] -> [n, m, kinds]
    """
    n, m = symbols.shape
    return one_hot(symbols.reshape(m * n), kinds).reshape(n, m, kinds)  # [n, m, kinds]  networks.lee:138


def example_product(key):
    tokens = randint(fold(key, SITES["tokens"]), (40,), 0, 5)  # int[40]  networks.lee:145
    probe = randint(fold(key, SITES["probe"]), (3, 4), 0, 5)  # int[3, 4]  networks.lee:146
    start = 0.1 + 0.9 * uniform(fold(key, SITES["start"]), (5,), FLOAT)  # [5]  networks.lee:147
    c = normal(fold(key, SITES["c"]), (3,), FLOAT)  # [3]  networks.lee:148
    d_c, saved_log_likelihood = log_likelihood_saved(start, bigram(tokens, 5), probe)  # networks.lee:149
    return (c * d_c).sum(), log_likelihood_backward(saved_log_likelihood, 4, 5, c), d_c


def example_deep(key):
    net = DeepRNN_2(3, 4, key=fold(key, SITES["net"]))  # networks.lee:153
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  networks.lee:154
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  networks.lee:155
    d_c, saved_net = net.forward_saved(x)  # networks.lee:156
    d_net, d_x = net.forward_backward(x, saved_net, d_c, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_both_directions(key):
    net = BidirectionalLSTM(3, 4, key=fold(key, SITES["net"]))  # networks.lee:160
    x = normal(fold(key, SITES["x"]), (3, 5, 3), FLOAT)  # [3, 5, 3]  networks.lee:161
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  networks.lee:162
    c = normal(fold(key, SITES["c"]), (3, 5, 8), FLOAT)  # [3, 5, 8]  networks.lee:163
    d_c, saved_net = net.forward_saved(x, lengths)  # networks.lee:164
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_library_directions(key):
    self_ = LSTM(3, 4, key=fold(key, SITES["net"]))  # networks.lee:168
    self_2 = LSTM(3, 4, key=fold(key, SITES["net#2"]))
    net = Bidirectional(self_, self_2)
    x = normal(fold(key, SITES["x"]), (3, 5, 3), FLOAT)  # [3, 5, 3]  networks.lee:169
    lengths = randint(fold(key, SITES["lengths"]), (3,), 1, 6)  # int[3]  networks.lee:170
    c = normal(fold(key, SITES["c"]), (3, 5, 8), FLOAT)  # [3, 5, 8]  networks.lee:171
    d_c, saved_net = net.forward_saved(x, lengths)  # networks.lee:172
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_classified(key):
    net = Classifier(7, 3, 4, 5, key=fold(key, SITES["net"]))  # networks.lee:176
    tokens = randint(fold(key, SITES["tokens"]), (4, 6), 0, 7)  # int[4, 6]  networks.lee:177
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 7)  # int[4]  networks.lee:178
    y = randint(fold(key, SITES["y"]), (4,), 0, 5)  # int[4]  networks.lee:179
    add, saved_net = net.forward_saved(tokens, lengths)  # networks.lee:180
    d_add = cross_entropy_backward(add, y, torch.ones((), dtype=FLOAT))  # [4, 5]
    d_net = net.forward_backward(tokens, saved_net, d_add)
    return cross_entropy(add, y), net.at(d_net)


def example_tagged(key):
    net = Tagger(7, 3, 4, 5, key=fold(key, SITES["net"]))  # networks.lee:184
    tokens = randint(fold(key, SITES["tokens"]), (4, 6), 0, 7)  # int[4, 6]  networks.lee:185
    lengths = randint(fold(key, SITES["lengths"]), (4,), 1, 7)  # int[4]  networks.lee:186
    y = randint(fold(key, SITES["y"]), (4, 6), 0, 5)  # int[4, 6]  networks.lee:187
    reshape_4, saved_net = net.forward_saved(tokens, lengths)  # networks.lee:188
    value, saved_tagging = tagging_saved(reshape_4, y, lengths)
    d_reshape_4 = tagging_backward(reshape_4, y, saved_tagging, torch.ones((), dtype=FLOAT))  # [4, 6, 5]
    d_net = net.forward_backward(tokens, saved_net, d_reshape_4)
    return value, net.at(d_net)


def example_by_window(key):
    net = WindowTagger(3, 4, 5, key=fold(key, SITES["net"]))  # networks.lee:192
    x = normal(fold(key, SITES["x"]), (2, 6, 3), FLOAT)  # [2, 6, 3]  networks.lee:193
    lengths = randint(fold(key, SITES["lengths"]), (2,), 1, 7)  # int[2]  networks.lee:194
    y = randint(fold(key, SITES["y"]), (2, 6), 0, 5)  # int[2, 6]  networks.lee:195
    reshape_5, saved_net = net.forward_saved(x)  # networks.lee:196
    value, saved_tagging = tagging_saved(reshape_5, y, lengths)
    d_reshape_5 = tagging_backward(reshape_5, y, saved_tagging, torch.ones((), dtype=FLOAT))  # [2, 6, 5]
    d_net, d_x = net.forward_backward(saved_net, d_reshape_5)
    return value, net.at(d_net), d_x


def example_next(key):
    net = LanguageModel(7, 3, 4, key=fold(key, SITES["net"]))  # networks.lee:200
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 7)  # int[3, 6]  networks.lee:201
    value, saved_next_token = next_token_saved(net, tokens)  # networks.lee:202
    d_value = torch.ones((), dtype=FLOAT)
    d_net = next_token_backward(net, tokens, saved_next_token, d_value)
    return value, net.at(d_net)


def example_hesitates(key):
    net = LanguageModel(7, 3, 4, key=fold(key, SITES["net"]))  # networks.lee:206
    tokens = randint(fold(key, SITES["tokens"]), (3, 6), 0, 7)  # int[3, 6]  networks.lee:207
    value, saved_perplexity = perplexity_saved(net, tokens)  # networks.lee:208
    d_value = torch.ones((), dtype=FLOAT)
    d_net = perplexity_backward(net, tokens, saved_perplexity, value, d_value)
    return value, net.at(d_net)


def example_framed(key):
    sound = normal(fold(key, SITES["sound"]), (2, 50), FLOAT)  # [2, 50]  networks.lee:212
    c = normal(fold(key, SITES["c"]), (2, 9, 8), FLOAT)  # [2, 9, 8]  networks.lee:213
    d_c = frames(sound, 8, 5)  # [2, 9, 8]  networks.lee:214
    return (c * d_c).sum(), frames_backward(5, 50, c), d_c


def example_molecule(key):
    symbols = randint(fold(key, SITES["symbols"]), (2, 6), 0, 4)  # int[2, 6]  networks.lee:218
    c = normal(fold(key, SITES["c"]), (2, 6, 4), FLOAT)  # [2, 6, 4]  networks.lee:219
    d_c = atoms(symbols, 4)  # [2, 6, 4]  networks.lee:220
    return (c * d_c).sum(), d_c


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


class RNNCell(Model):
    """tanh(x W + h U + b), one step (Elman 1990)."""

    members = ("w", "u", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # nn.lee:235
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, hidden), FLOAT)  # [inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (hidden, hidden), FLOAT)  # [hidden, hidden]  nn.lee:236
        uniform_3 = uniform(fold(key, SITES["b"]), (hidden,), FLOAT)  # [hidden]  nn.lee:237
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, hidden]  nn.lee:235
        self.u = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [hidden, hidden]  nn.lee:236
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [hidden]  nn.lee:237

    def forward(self, x, h):
        """x [n, inputs], h [n, hidden] -> [n, hidden]"""
        return torch.tanh(x @ self.w + h @ self.u + self.b)  # [n, hidden]  nn.lee:240

    def forward_backward(self, x, h, tanh, d_y):
        """From d_y to the gradients by the parameters, x and h."""
        # gradient of return tanh(x @ w + h @ u + b)   nn.lee:240
        d_add_2 = d_y * (1 - tanh**2)  # [n, hidden]
        d_b = d_add_2.sum(dim=0)  # [hidden]
        d_h = d_add_2 @ self.u.T  # [n, hidden]
        d_u = h.T @ d_add_2  # [hidden, hidden]
        d_x = d_add_2 @ self.w.T  # [n, inputs]
        d_w = x.T @ d_add_2  # [inputs, hidden]
        return {"w": d_w, "u": d_u, "b": d_b}, d_x, d_h


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


class RNN(Model):
    """RNNCell at every position, from a state of 0."""

    members = ("cell",)

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.cell = RNNCell(inputs, hidden, key=fold(key, SITES["cell"]))  # nn.lee:281

    def forward_step(self, h, x_t):
        """h [n, hidden], x_t [n, inputs] -> [n, hidden], [n, hidden]"""
        h_3 = self.cell(x_t, h)  # [n, hidden]  nn.lee:286
        return h_3, h_3

    def forward_step_saved(self, h, x_t):
        """As forward_step, and what its gradient needs."""
        h_3 = self.cell(x_t, h)  # [n, hidden]  nn.lee:286
        return h_3, h_3, h

    def forward_step_backward(self, h, x_t, h_3, d_h_3, d_out, d_self):
        """From d_h_3, d_out and d_self to the gradients by h, the parameters, x_t and cell.b."""
        # gradient of h = cell(x[:, t], h)   nn.lee:286
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        d_cell, d_x_t, d_h = self.cell.forward_backward(x_t, h, h_3, d_h_3_2)
        return (
            d_h,
            {"cell": {"w": d_self["cell"]["w"] + d_cell["w"], "u": d_self["cell"]["u"] + d_cell["u"]}},
            d_x_t,
            d_cell["b"],
        )

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:284
        out = [None] * time  # nn.lee:285
        for t in range(time):
            h, out[t] = self.forward_step(h, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  nn.lee:284
        out = [None] * time  # nn.lee:285
        saved_forward_step = [None] * time
        for t in range(time):
            h, out[t], saved_forward_step[t] = self.forward_step_saved(h, x[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, out, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   nn.lee:285
        d_cell_w_2 = torch.zeros((self.inputs, self.hidden), dtype=FLOAT, device=x.device)  # [inputs, hidden]
        d_cell_u_2 = torch.zeros((self.hidden, self.hidden), dtype=FLOAT, device=x.device)  # [hidden, hidden]
        d_h_3 = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_self = {"cell": {"w": d_cell_w_2, "u": d_cell_u_2}}
        d_x = [None] * time
        d_cell_b_rows = [None] * time
        for t in reversed(range(time)):
            d_h_3, d_self, d_x[t], d_cell_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], x[:, t], out[:, t], d_h_3, d_out[:, t], d_self
            )
        d_x = torch.stack(d_x, 1) if d_x else torch.zeros((n, time, self.inputs), dtype=FLOAT, device=x.device)
        d_cell_b_rows = (
            torch.stack(d_cell_b_rows, 1)
            if d_cell_b_rows
            else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_cell_b = d_cell_b_rows.sum(dim=1)  # [hidden]
        return {"cell": {"w": d_self["cell"]["w"], "u": d_self["cell"]["u"], "b": d_cell_b}}, d_x


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


class Bidirectional(Model):
    """Two recurrent layers of a kind, one reading from the end; what lies behind the lengths is 0 and not read."""

    members = ("ahead", "back")

    def __init__(self, ahead, back):
        super().__init__()
        self.ahead, self.back = ahead, back

    def forward(self, x, lengths):
        """x [n, time, back.inputs], lengths int[n] -> [n, time, ahead.hidden + back.hidden]"""
        n, time, _ = x.shape
        if self.ahead.inputs != self.back.inputs:
            raise ValueError(f"ahead.inputs = {self.ahead.inputs} must equal back.inputs = {self.back.inputs}")
        inside = torch.arange(time, device=x.device) < lengths[:, None]  # bool[n, time]  nn.lee:319
        there = reversed_within(self.back(reversed_within(x, lengths)), lengths)  # [n, time, back.hidden]  nn.lee:320
        out_2 = self.ahead(x.reshape(n, time, self.ahead.inputs))  # [n, time, ahead.hidden]  nn.lee:321
        concat = torch.cat((out_2, there), dim=2)  # [n, time, ahead.hidden + back.hidden]
        return torch.where(inside[:, :, None], concat, 0)  # [n, time, ahead.hidden + back.hidden]

    def forward_saved(self, x, lengths):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        if self.ahead.inputs != self.back.inputs:
            raise ValueError(f"ahead.inputs = {self.ahead.inputs} must equal back.inputs = {self.back.inputs}")
        inside = torch.arange(time, device=x.device) < lengths[:, None]  # bool[n, time]  nn.lee:319
        y, saved_reversed_within = reversed_within_saved(x, lengths)  # nn.lee:320
        out, saved_back = self.back.forward_saved(y)
        there, saved_reversed_within_ = reversed_within_saved(out, lengths)
        reshape_2 = inside[:, :, None]  # bool[n, time, 1]  nn.lee:321
        out_2, saved_ahead = self.ahead.forward_saved(x.reshape(n, time, self.ahead.inputs))
        saved = y, saved_reversed_within, saved_back, saved_reversed_within_, reshape_2, saved_ahead
        return torch.where(reshape_2, torch.cat((out_2, there), dim=2), 0), saved

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        y, saved_reversed_within, saved_back, saved_reversed_within_, reshape_2, saved_ahead = saved
        n, time, _ = x.shape
        # gradient of return where(inside[:, :, None], concat(ahead(x), there, axis = -1), 0)   nn.lee:321
        d_concat = torch.where(reshape_2, d_y, 0)  # [n, time, ahead.hidden + back.hidden]
        d_there = d_concat[:, :, self.ahead.hidden :]  # [n, time, back.hidden]
        reshape = x.reshape(n, time, self.ahead.inputs)  # [n, time, ahead.inputs]
        d_out_2 = d_concat[:, :, : self.ahead.hidden]  # [n, time, ahead.hidden]
        d_ahead, d_reshape_3 = self.ahead.forward_backward(reshape, saved_ahead, d_out_2)
        # gradient of there = reversed_within(back(reversed_within(x, lengths)), lengths)   nn.lee:320
        d_out = reversed_within_backward(saved_reversed_within_, d_there)  # [n, time, back.hidden]
        d_back, d_y_ = self.back.forward_backward(y, saved_back, d_out)
        d_x_3 = reversed_within_backward(saved_reversed_within, d_y_)  # [n, time, back.inputs]
        d_x = d_reshape_3.reshape(n, time, self.back.inputs) + d_x_3  # [n, time, back.inputs]
        return {"ahead": d_ahead, "back": d_back}, d_x


def reversed_within(x, lengths):
    """The first entries of each row, as many as its length, in the opposite order; 0 behind them.

    x [n, time, d], lengths int[n] -> [n, time, d]
    """
    n, time, _ = x.shape
    t = torch.arange(time, device=x.device)  # int[time]  nn.lee:326
    maximum = ((lengths - 1)[:, None] - t).clamp(min=0)  # int[n, time]
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]
    reshape_3 = maximum_2.clamp(max=n - 1)[:, None]  # int[n, 1]
    gather = x[reshape_3, maximum.clamp(max=time - 1)]  # [n, time, d]
    y = torch.where((t < lengths[:, None])[:, :, None], gather, 0)  # [n, time, d]
    return y  # [n, time, d]


def reversed_within_saved(x, lengths):
    """As reversed_within, and what its gradient needs."""
    n, time, _ = x.shape
    t = torch.arange(time, device=x.device)  # int[time]  nn.lee:326
    minimum = ((lengths - 1)[:, None] - t).clamp(min=0).clamp(max=time - 1)  # int[n, time]
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]
    reshape_3 = maximum_2.clamp(max=n - 1)[:, None]  # int[n, 1]
    reshape_4 = (t < lengths[:, None])[:, :, None]  # bool[n, time, 1]
    y = torch.where(reshape_4, x[reshape_3, minimum], 0)  # [n, time, d]
    return y, (minimum, reshape_3, reshape_4)


def reversed_within_backward(saved, d_y):
    """From d_y to the gradient by x."""
    minimum, reshape_3, reshape_4 = saved
    n, time = minimum.shape
    d = d_y.shape[2]
    # gradient of y[r, t in time, j] = where(t < lengths[r], x[r, lengths[r] - 1 - t, j], 0)   nn.lee:326
    d_gather = torch.where(reshape_4, d_y, 0)  # [n, time, d]
    d_x = scatter_add(d_gather, (reshape_3, minimum), (n, time, d))  # [n, time, d]
    return d_x  # [n, time, d]


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


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = torch.arange(classes, device=index.device)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).to(FLOAT)  # [rows, classes]  prelude.lee:254


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "above.0": 0x6F09977381D255A0,
    "ahead": 0x4F1ACBD9E4312925,
    "b": 0x754F854DE3C27284,
    "back": 0xA268154DB481E555,
    "below": 0x2CE6CF983376FDE2,
    "c": 0x1B2C07CD64633F37,
    "cell": 0x3FB231439DC63663,
    "first": 0xA31DFC4F51C2A8A2,
    "head": 0xBD7890018BD219D5,
    "lengths": 0xDE00C8960E49C03F,
    "net": 0xF087C76970C91612,
    "net#2": 0x59EFC03AB2BE3D0C,
    "probe": 0xF6FBA61659FAE96D,
    "read": 0xCF660812E3283339,
    "rnn": 0x68FB173A756887E4,
    "sound": 0x037F62FE3081EEDF,
    "start": 0xF7091535421F26A0,
    "symbols": 0xFD597D09B826997B,
    "table": 0x4F51E0D95EBC91EB,
    "tokens": 0x0C6CD902DB662605,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
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


def unwindow(x, axis, size, stride=1, dilation=1):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    count, width = x.shape[axis : axis + 2]
    whole = x.new_zeros((*x.shape[:axis], size, *x.shape[axis + 2 :]))
    before = (slice(None),) * axis
    for u in range(width):
        start = u * dilation
        whole[(*before, slice(start, start + count * stride, stride))] += x[(*before, slice(None), u)]
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


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


def kind(x):
    """What a graph depends on: of tensors the shape, nothing of the keys of draws, sizes themselves."""
    return (x.shape, x.dtype) if isinstance(x, torch.Tensor) else "key" if isinstance(x, tuple) else x
