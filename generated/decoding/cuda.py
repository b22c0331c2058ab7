"""Words from a model (inventory G20, G22, G23): beam search, BLEU, and a loss that has no gradient.

Made from specs/attention/decoding.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/decoding.lee
"""

from __future__ import annotations

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


class Bigram(Model):
    """What comes next depends on the last word alone."""

    members = ("next",)

    def __init__(self, vocab, *, key=(0, 0)):
        super().__init__()
        self.vocab = vocab
        # [vocab, vocab]  decoding.lee:6
        self.next = torch.nn.Parameter(normal(fold(key, SITES["next"]), (vocab, vocab), FLOAT))

    def forward(self, tokens):
        """tokens int[n, time] -> [n, time, vocab]"""
        return self.next[tokens]  # [n, time, vocab]  decoding.lee:9


def beam_search(net, prompt, length, beams=4, end=0, penalty=0.6):
    """The `beams` best continuations are kept at every step; a short one is not better for being short.

    prompt int[time] -> int[beams, length + time], [beams]
    """
    time = prompt.shape[0]
    fill = torch.full((beams, time), True, dtype=torch.bool, device=prompt.device)  # bool[beams, time]  decoding.lee:25
    unslice_ = unslice(fill, (beams, length + time), (slice(0, beams), slice(0, time)))  # bool[beams, length + time]
    broadcast = prompt.expand(beams, time)  # int[beams, time]
    # int[beams, length + time]
    unslice_2 = unslice(broadcast, (beams, length + time), (slice(0, beams), slice(0, time)))
    tokens_2 = torch.where(unslice_, unslice_2, end)  # int[beams, length + time]
    eq = torch.arange(beams, device=prompt.device) == 0  # bool[beams]  decoding.lee:26
    const_4 = -torch.inf
    score = torch.where(eq, torch.full((), 0.0, dtype=FLOAT, device=prompt.device), const_4)  # [beams]
    done = torch.full((beams,), False, dtype=torch.bool, device=prompt.device)  # bool[beams]  decoding.lee:27
    size_3 = torch.full((beams,), time, dtype=torch.int64, device=prompt.device)  # int[beams]  decoding.lee:28
    fill_2 = torch.full((), False, dtype=torch.bool, device=prompt.device)  # decoding.lee:29
    for i in range(length):
        done, score, size_3, tokens_2, fill_2 = beam_search_step(
            net, done, score, size_3, tokens_2, fill_2, end, i, length, time
        )
    order = torch.argsort(-(score / size_3.to(FLOAT) ** penalty), dim=0, stable=True)  # int[beams]  decoding.lee:43
    return tokens_2[order], score[order]  # decoding.lee:44


def beam_search_step(net, done, score, size, tokens, stopped, end, i, length, time):
    """done bool[beams], score [beams], size int[beams], tokens int[beams, length + time] -> bool[beams], [beams],
    int[beams], int[beams, length + time], []
    """
    beams = done.shape[0]
    logits = net(tokens)[:, i + time - 1]  # [beams, net.vocab]  decoding.lee:30
    logp = torch.log_softmax(logits, dim=1)  # [beams, net.vocab]  prelude.lee:127
    eq = torch.arange(net.vocab, device=done.device) == end  # bool[net.vocab]  decoding.lee:32
    const_2 = -torch.inf
    select = torch.where(eq, torch.full((), 0.0, dtype=FLOAT, device=done.device), const_2)  # [net.vocab]
    logp_2 = torch.where(done[:, None], select, logp)  # [beams, net.vocab]
    total = score[:, None] + logp_2  # [beams, net.vocab]  decoding.lee:33
    total_flat = total.reshape(beams * net.vocab)  # [beams * net.vocab]  decoding.lee:34
    argsort = torch.argsort(total_flat, dim=0, descending=True, stable=True)  # int[beams * net.vocab]
    slice_ = argsort[:beams]  # int[beams]
    score_3 = torch.take_along_dim(total_flat, slice_, 0)  # [beams]
    parent = slice_ // net.vocab  # int[beams]  decoding.lee:35
    tokens_4 = tokens[parent]  # int[beams, length + time]  decoding.lee:36
    done_3 = done[parent]  # bool[beams]  decoding.lee:37
    size_7 = size[parent] + torch.where(done_3, 0, 1)  # int[beams]  decoding.lee:38
    fill = torch.full((beams, 1), True, dtype=torch.bool, device=done.device)  # bool[beams, 1]  decoding.lee:39
    # bool[beams, length + time]
    unslice_ = unslice(fill, (beams, length + time), (slice(0, beams), slice(i + time, i + time + 1)))
    reshape_3 = (slice_ % net.vocab)[:, None]  # int[beams, 1]
    # int[beams, length + time]
    unslice_2 = unslice(reshape_3, (beams, length + time), (slice(0, beams), slice(i + time, i + time + 1)))
    tokens_5 = torch.where(unslice_, unslice_2, tokens_4)  # int[beams, length + time]
    done_4 = done_3 | (tokens_5[:, i + time] == end)  # bool[beams]  decoding.lee:40
    # decoding.lee:29
    return (
        torch.where(stopped, done, done_4),
        torch.where(stopped, score, score_3),
        torch.where(stopped, size, size_7),
        torch.where(stopped, tokens, tokens_5),
        stopped | done_4.all(),
    )


def matches(given, wanted, size, given_length, wanted_length):
    """How many stretches of `size` words are in both, each as often as in the reference at most; and how many there are.

    given int[time], wanted int[length] -> [], []
    """
    time = given.shape[0]
    length = wanted.shape[0]
    windows = given.unfold(0, size, 1)  # int[time + 1 - size, size]  decoding.lee:52
    reshape = windows[:, None]  # int[time + 1 - size, 1, size]
    alike = (reshape == windows).all(dim=2)  # bool[time + 1 - size, time + 1 - size]
    hit = (reshape == wanted.unfold(0, size, 1)).all(dim=2)  # bool[time + 1 - size, length + 1 - size]  decoding.lee:53
    i = torch.arange(time + 1 - size, device=given.device)  # int[time + 1 - size]  decoding.lee:54
    there = i + size <= given_length  # bool[time + 1 - size]
    # bool[length + 1 - size]  decoding.lee:55
    within = torch.arange(length + 1 - size, device=given.device) + size <= wanted_length
    often = (hit & within).to(FLOAT).sum(dim=1)  # [time + 1 - size]  decoding.lee:56
    before = (alike & (i < i[:, None])).to(FLOAT).sum(dim=1)  # [time + 1 - size]  decoding.lee:57
    return (there & (before < often)).to(FLOAT).sum(), there.to(FLOAT).sum()  # decoding.lee:58


def bleu(given, wanted, given_lengths, wanted_lengths):
    """(Π pₖ)^¼ over stretches of 1 to 4 words of a corpus, times e^(1 - r/c) where it is shorter (Papineni et al. 2002).

    given int[n, time], wanted int[n, length], given_lengths int[n], wanted_lengths int[n] -> []
    """
    n = given.shape[0]
    fill = torch.zeros((), dtype=FLOAT, device=given.device)  # decoding.lee:67
    found = fill
    total = fill
    for r in range(n):
        found, total = bleu_step(found, total, given[r], wanted[r], given_lengths[r], wanted_lengths[r])
    logs = torch.log(found / total) / 4  # decoding.lee:71
    found_ = fill  # decoding.lee:67
    total_ = fill
    for r_ in range(n):
        found_, total_ = bleu_step_2(found_, total_, given[r_], wanted[r_], given_lengths[r_], wanted_lengths[r_])
    logs_2 = logs + torch.log(found_ / total_) / 4  # decoding.lee:71
    found_2 = fill  # decoding.lee:67
    total_2 = fill
    for r_2 in range(n):
        found_2, total_2 = bleu_step_3(
            found_2, total_2, given[r_2], wanted[r_2], given_lengths[r_2], wanted_lengths[r_2]
        )
    logs_3 = logs_2 + torch.log(found_2 / total_2) / 4  # decoding.lee:71
    found_3 = fill  # decoding.lee:67
    total_3 = fill
    for r_3 in range(n):
        found_3, total_3 = bleu_step_4(
            found_3, total_3, given[r_3], wanted[r_3], given_lengths[r_3], wanted_lengths[r_3]
        )
    logs_4 = logs_3 + torch.log(found_3 / total_3) / 4  # decoding.lee:71
    c = given_lengths.to(FLOAT).sum()  # decoding.lee:72
    w = wanted_lengths.to(FLOAT).sum()  # decoding.lee:73
    exp = torch.exp(1 - w / c)  # decoding.lee:74
    return torch.where(1 <= exp, 1, exp) * torch.exp(logs_4)


def bleu_step(found, total, given_r, wanted_r, given_lengths_r, wanted_lengths_r):
    """given_r int[time], wanted_r int[length] -> [], []"""
    a, b = matches(given_r, wanted_r, 1, given_lengths_r, wanted_lengths_r)  # decoding.lee:68
    found_2 = found + a  # decoding.lee:69
    total_2 = total + b  # decoding.lee:70
    return found_2, total_2


def bleu_step_2(found, total, given_r_2, wanted_r_2, given_lengths_r_2, wanted_lengths_r_2):
    """given_r_2 int[time], wanted_r_2 int[length] -> [], []"""
    a_2, b_2 = matches(given_r_2, wanted_r_2, 2, given_lengths_r_2, wanted_lengths_r_2)  # decoding.lee:68
    found_5 = found + a_2  # decoding.lee:69
    total_5 = total + b_2  # decoding.lee:70
    return found_5, total_5


def bleu_step_3(found, total, given_r_3, wanted_r_3, given_lengths_r_3, wanted_lengths_r_3):
    """given_r_3 int[time], wanted_r_3 int[length] -> [], []"""
    a_3, b_3 = matches(given_r_3, wanted_r_3, 3, given_lengths_r_3, wanted_lengths_r_3)  # decoding.lee:68
    found_8 = found + a_3  # decoding.lee:69
    total_8 = total + b_3  # decoding.lee:70
    return found_8, total_8


def bleu_step_4(found, total, given_r_4, wanted_r_4, given_lengths_r_4, wanted_lengths_r_4):
    """given_r_4 int[time], wanted_r_4 int[length] -> [], []"""
    a_4, b_4 = matches(given_r_4, wanted_r_4, 4, given_lengths_r_4, wanted_lengths_r_4)  # decoding.lee:68
    found_11 = found + a_4  # decoding.lee:69
    total_11 = total + b_4  # decoding.lee:70
    return found_11, total_11


class Policy(Model):
    """A word at every place, each drawn by itself."""

    members = ("z",)

    def __init__(self, vocab, time, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.time = vocab, time
        # [time, vocab]  decoding.lee:82
        self.z = torch.nn.Parameter(normal(fold(key, SITES["z"]), (time, vocab), FLOAT))

    def forward(self, words):
        """log p of some sentences.

        words int[n, time] -> [n]
        """
        logp = torch.log_softmax(self.z, dim=1)  # [time, vocab]  prelude.lee:127
        total = logp[torch.arange(self.time, device=words.device), words].sum(dim=1)  # [n]  decoding.lee:87
        return total  # [n]

    def forward_saved(self, words):
        """As forward, and what its gradient needs."""
        logp = torch.log_softmax(self.z, dim=1)  # [time, vocab]  prelude.lee:127
        total = logp[torch.arange(self.time, device=words.device), words].sum(dim=1)  # [n]  decoding.lee:87
        return total, logp

    @staticmethod
    def forward_backward(words, logp, d_total):
        """From d_total to the gradient by the parameters."""
        n, time = words.shape
        vocab = logp.shape[1]
        # gradient of total[r] = sum[t](logp[t, words[r, t]])   decoding.lee:87
        t = torch.arange(time, device=words.device)  # int[time]
        d_logp = scatter_add(d_total[:, None].expand(n, time), (t, words), (time, vocab))  # [time, vocab]
        # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
        d_z = d_logp - torch.exp(logp) * d_logp.sum(dim=1, keepdim=True)  # [time, vocab]
        return {"z": d_z}  # [time, vocab]


def surrogate(net, words, reward, baseline=0.0):
    """Its gradient is that of the expected reward: -mean (reward - baseline) ∇ log p (Williams 1992).

    words int[n, net.time], reward [n] -> []
    """
    return -(stop(reward - baseline) * net(words)).mean()  # decoding.lee:93


def surrogate_saved(net, words, reward, baseline=0.0):
    """As surrogate, and what its gradient needs."""
    graft_ = stop(reward - baseline)  # [n]  decoding.lee:93
    net_out, saved_net = net.forward_saved(words)
    return -(graft_ * net_out).mean(), (graft_, saved_net)


def surrogate_backward_parameters(words, saved, d_y):
    """From d_y to the gradient by net."""
    graft_, saved_net = saved
    n = words.shape[0]
    # gradient of return -mean(stop(reward - baseline) * net(words))   decoding.lee:93
    d_net = Policy.forward_backward(words, saved_net, -(d_y / n) * graft_)
    return d_net  # [net.time, net.vocab]


def example_searched(key):
    net = Bigram(6, key=fold(key, SITES["net"]))  # decoding.lee:97
    prompt = randint(fold(key, SITES["prompt"]), (2,), 1, 6)  # int[2]  decoding.lee:98
    value, value_1 = beam_search(net, prompt, 5, beams=2)  # decoding.lee:99
    return value, value_1


def example_exhaustive(key):
    net = Bigram(3, key=fold(key, SITES["net"]))  # decoding.lee:103
    prompt = randint(fold(key, SITES["prompt"]), (1,), 1, 3)  # int[1]  decoding.lee:104
    value, value_1 = beam_search(net, prompt, 3, beams=27)  # decoding.lee:105
    return value, value_1


def example_compared(key):
    given = randint(fold(key, SITES["given"]), (6, 9), 0, 2)  # int[6, 9]  decoding.lee:109
    wanted = randint(fold(key, SITES["wanted"]), (6, 8), 0, 2)  # int[6, 8]  decoding.lee:110
    given_lengths = randint(fold(key, SITES["given_lengths"]), (6,), 5, 10)  # int[6]  decoding.lee:111
    wanted_lengths = randint(fold(key, SITES["wanted_lengths"]), (6,), 5, 9)  # int[6]  decoding.lee:112
    return bleu(given, wanted, given_lengths, wanted_lengths)  # decoding.lee:113


def example_rewarded(key):
    net = Policy(3, 2, key=fold(key, SITES["net"]))  # decoding.lee:117
    words = randint(fold(key, SITES["words"]), (7, 2), 0, 3)  # int[7, 2]  decoding.lee:118
    reward = normal(fold(key, SITES["reward"]), (7,), FLOAT)  # [7]  decoding.lee:119
    value, saved_surrogate = surrogate_saved(net, words, reward, baseline=0.3)  # decoding.lee:120
    d_value = torch.ones((), dtype=FLOAT)
    d_net = surrogate_backward_parameters(words, saved_surrogate, d_value)
    return value, net.at(d_net), torch.zeros(7, dtype=FLOAT)


def example_exact(key):
    """All sentences, each as often as it is drawn."""
    net = Policy(3, 2, key=fold(key, SITES["net"]))  # decoding.lee:125
    reshape = (torch.arange(9) // 3)[:, None]  # int[9, 1]  decoding.lee:126
    words = torch.where(torch.arange(2) == 0, reshape, (torch.arange(9) % 3)[:, None])  # int[9, 2]
    reward = normal(fold(key, SITES["reward"]), (9,), FLOAT)  # [9]  decoding.lee:127
    value, saved_surrogate = surrogate_saved(net, words, 9 * torch.exp(net(words)) * reward)  # decoding.lee:128
    d_value = torch.ones((), dtype=FLOAT)
    d_net = surrogate_backward_parameters(words, saved_surrogate, d_value)
    return value, net.at(d_net), torch.zeros(9, dtype=FLOAT)


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x.detach()  # [x_0]  prelude.lee:18


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "given": 0xE33AA9A4E5EB1F21,
    "given_lengths": 0xAA691CD82FBFBBF2,
    "net": 0xF087C76970C91612,
    "next": 0x1637742F7A98A1A9,
    "prompt": 0xCDD6BE63AF8F0FB8,
    "reward": 0xAD098299C4960F31,
    "wanted": 0x58C92CF0247275B3,
    "wanted_lengths": 0x23943F131451A845,
    "words": 0x00F658E1AEE31D49,
    "z": 0x3041FD28A7B04184,
}


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


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
