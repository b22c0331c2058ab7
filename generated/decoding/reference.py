"""Words from a model (inventory G20, G22, G23): beam search, BLEU, and a loss that has no gradient.

Made from specs/attention/decoding.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/attention/decoding.lee
"""

from __future__ import annotations

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


class Bigram(Model):
    """What comes next depends on the last word alone."""

    members = ("next",)

    def __init__(self, vocab, *, key=(0, 0)):
        self.vocab = vocab
        self.next = normal(fold(key, SITES["next"]), (vocab, vocab), FLOAT)  # [vocab, vocab]  decoding.lee:6
        self.lay_out()

    def forward(self, tokens):
        """tokens int[n, time] -> [n, time, vocab]"""
        return self.next[inside(tokens)]  # [n, time, vocab]  decoding.lee:9


def beam_search(net, prompt, length, beams=4, end=0, penalty=0.6):
    """The `beams` best continuations are kept at every step; a short one is not better for being short.

    prompt int[time] -> int[beams, length + time], [beams]
    """
    time = prompt.shape[0]
    fill = np.full((beams, time), True, dtype=np.bool_)  # bool[beams, time]  decoding.lee:25
    unslice_ = unslice(fill, (beams, length + time), (slice(0, beams), slice(0, time)))  # bool[beams, length + time]
    broadcast = np.broadcast_to(prompt, (beams, time))  # int[beams, time]
    # int[beams, length + time]
    unslice_2 = unslice(broadcast, (beams, length + time), (slice(0, beams), slice(0, time)))
    tokens_2 = np.where(unslice_, unslice_2, end)  # int[beams, length + time]
    score = np.where(np.arange(beams) == 0, FLOAT(0.0), -np.inf)  # [beams]  decoding.lee:26
    done = np.full(beams, False, dtype=np.bool_)  # bool[beams]  decoding.lee:27
    size_3 = np.full(beams, time, dtype=np.int64)  # int[beams]  decoding.lee:28
    stopped = np.bool_(False)  # decoding.lee:29
    for i in range(length):
        done, score, size_3, tokens_2, stopped = beam_search_step(
            net, done, score, size_3, tokens_2, stopped, end, i, length, time
        )
    neg = -(score / size_3.astype(FLOAT) ** penalty)  # [beams]  decoding.lee:43
    order = np.argsort(neg, axis=0, kind="stable")  # int[beams]
    return tokens_2[inside(order)], score[inside(order)]  # decoding.lee:44


def beam_search_step(net, done, score, size, tokens, stopped, end, i, length, time):
    """done bool[beams], score [beams], size int[beams], tokens int[beams, length + time] -> bool[beams], [beams],
    int[beams], int[beams, length + time], []
    """
    beams = done.shape[0]
    logits = net(tokens)[:, i + time - 1]  # [beams, net.vocab]  decoding.lee:30
    logp = log_softmax(logits, (1,))  # [beams, net.vocab]  prelude.lee:127
    select = np.where(np.arange(net.vocab) == end, FLOAT(0.0), -np.inf)  # [net.vocab]  decoding.lee:32
    logp_2 = np.where(done[:, None], select, logp)  # [beams, net.vocab]
    total = score[:, None] + logp_2  # [beams, net.vocab]  decoding.lee:33
    total_flat = total.reshape(beams * net.vocab)  # [beams * net.vocab]  decoding.lee:34
    slice_ = np.argsort(-total_flat, axis=0, kind="stable")[:beams]  # int[beams]
    score_3 = np.take_along_axis(total_flat, slice_, 0)  # [beams]
    parent = slice_ // net.vocab  # int[beams]  decoding.lee:35
    tokens_4 = tokens[inside(parent)]  # int[beams, length + time]  decoding.lee:36
    done_3 = done[inside(parent)]  # bool[beams]  decoding.lee:37
    size_7 = size[inside(parent)] + np.where(done_3, 0, 1)  # int[beams]  decoding.lee:38
    fill = np.full((beams, 1), True, dtype=np.bool_)  # bool[beams, 1]  decoding.lee:39
    # bool[beams, length + time]
    unslice_ = unslice(fill, (beams, length + time), (slice(0, beams), slice(i + time, i + time + 1)))
    reshape_3 = (slice_ % net.vocab)[:, None]  # int[beams, 1]
    # int[beams, length + time]
    unslice_2 = unslice(reshape_3, (beams, length + time), (slice(0, beams), slice(i + time, i + time + 1)))
    tokens_5 = np.where(unslice_, unslice_2, tokens_4)  # int[beams, length + time]
    done_4 = done_3 | (tokens_5[:, i + time] == end)  # bool[beams]  decoding.lee:40
    # decoding.lee:29
    return (
        np.where(stopped, done, done_4),
        np.where(stopped, score, score_3),
        np.where(stopped, size, size_7),
        np.where(stopped, tokens, tokens_5),
        stopped | done_4.all(),
    )


def matches(given, wanted, size, given_length, wanted_length):
    """How many stretches of `size` words are in both, each as often as in the reference at most; and how many there are.

    given int[time], wanted int[length] -> [], []
    """
    time = given.shape[0]
    length = wanted.shape[0]
    windows = window(given, 0, size, 1, 1)  # int[time + 1 - size, size]  decoding.lee:52
    reshape = windows[:, None]  # int[time + 1 - size, 1, size]
    alike = (reshape == windows).all(axis=2)  # bool[time + 1 - size, time + 1 - size]
    # bool[time + 1 - size, length + 1 - size]  decoding.lee:53
    hit = (reshape == window(wanted, 0, size, 1, 1)).all(axis=2)
    i = np.arange(time + 1 - size)  # int[time + 1 - size]  decoding.lee:54
    there = i + size <= given_length  # bool[time + 1 - size]
    within = np.arange(length + 1 - size) + size <= wanted_length  # bool[length + 1 - size]  decoding.lee:55
    often = (hit & within).astype(FLOAT).sum(axis=1)  # [time + 1 - size]  decoding.lee:56
    before = (alike & (i < i[:, None])).astype(FLOAT).sum(axis=1)  # [time + 1 - size]  decoding.lee:57
    return (there & (before < often)).astype(FLOAT).sum(), there.astype(FLOAT).sum()  # decoding.lee:58


def bleu(given, wanted, given_lengths, wanted_lengths):
    """(Π pₖ)^¼ over stretches of 1 to 4 words of a corpus, times e^(1 - r/c) where it is shorter (Papineni et al. 2002).

    given int[n, time], wanted int[n, length], given_lengths int[n], wanted_lengths int[n] -> []
    """
    n = given.shape[0]
    fill = FLOAT(0.0)  # decoding.lee:67
    found = fill
    total = fill
    for r in range(n):
        found, total = bleu_step(found, total, given[r], wanted[r], given_lengths[r], wanted_lengths[r])
    logs = np.log(found / total) / 4  # decoding.lee:71
    found_ = fill  # decoding.lee:67
    total_ = fill
    for r_ in range(n):
        found_, total_ = bleu_step_2(found_, total_, given[r_], wanted[r_], given_lengths[r_], wanted_lengths[r_])
    logs_2 = logs + np.log(found_ / total_) / 4  # decoding.lee:71
    found_2 = fill  # decoding.lee:67
    total_2 = fill
    for r_2 in range(n):
        found_2, total_2 = bleu_step_3(
            found_2, total_2, given[r_2], wanted[r_2], given_lengths[r_2], wanted_lengths[r_2]
        )
    logs_3 = logs_2 + np.log(found_2 / total_2) / 4  # decoding.lee:71
    found_3 = fill  # decoding.lee:67
    total_3 = fill
    for r_3 in range(n):
        found_3, total_3 = bleu_step_4(
            found_3, total_3, given[r_3], wanted[r_3], given_lengths[r_3], wanted_lengths[r_3]
        )
    logs_4 = logs_3 + np.log(found_3 / total_3) / 4  # decoding.lee:71
    c = given_lengths.astype(FLOAT).sum()  # decoding.lee:72
    w = wanted_lengths.astype(FLOAT).sum()  # decoding.lee:73
    return np.minimum(1, np.exp(1 - w / c)) * np.exp(logs_4)  # decoding.lee:74


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
        self.vocab, self.time = vocab, time
        self.z = normal(fold(key, SITES["z"]), (time, vocab), FLOAT)  # [time, vocab]  decoding.lee:82
        self.lay_out()

    def forward(self, words):
        """log p of some sentences.

        words int[n, time] -> [n]
        """
        logp = log_softmax(self.z, (1,))  # [time, vocab]  prelude.lee:127
        total = logp[np.arange(self.time), inside(words)].sum(axis=1)  # [n]  decoding.lee:87
        return total  # [n]

    def forward_saved(self, words):
        """As forward, and what its gradient needs."""
        logp = log_softmax(self.z, (1,))  # [time, vocab]  prelude.lee:127
        total = logp[np.arange(self.time), inside(words)].sum(axis=1)  # [n]  decoding.lee:87
        return total, logp

    @staticmethod
    def forward_backward(words, logp, d_total):
        """From d_total to the gradient by the parameters."""
        n, time = words.shape
        vocab = logp.shape[1]
        # gradient of total[r] = sum[t](logp[t, words[r, t]])   decoding.lee:87
        d_gather = np.broadcast_to(d_total[:, None], (n, time))  # [n, time]
        d_logp = scatter_add(d_gather, (np.arange(time), words), (time, vocab))  # [time, vocab]
        # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
        d_z = d_logp - np.exp(logp) * d_logp.sum(axis=1, keepdims=True)  # [time, vocab]
        return {"z": d_z}  # [time, vocab]


def surrogate(net, words, reward, baseline=0.0):
    """Its gradient is that of the expected reward: -mean (reward - baseline) ∇ log p (Williams 1992).

    words int[n, net.time], reward [n] -> []
    """
    return -(stop(reward - baseline) * net(words)).mean()  # decoding.lee:93


def surrogate_saved(net, words, reward, baseline=0.0):
    """As surrogate, and what its gradient needs."""
    graft = stop(reward - baseline)  # [n]  decoding.lee:93
    net_out, saved_net = net.forward_saved(words)
    return -(graft * net_out).mean(), (graft, saved_net)


def surrogate_backward_parameters(words, saved, d_y):
    """From d_y to the gradient by net."""
    graft, saved_net = saved
    n = words.shape[0]
    # gradient of return -mean(stop(reward - baseline) * net(words))   decoding.lee:93
    d_net = Policy.forward_backward(words, saved_net, -(d_y / n) * graft)
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
    d_net = surrogate_backward_parameters(words, saved_surrogate, FLOAT(1.0))
    return value, net.at(d_net), np.zeros(7, dtype=FLOAT)


def example_exact(key):
    """All sentences, each as often as it is drawn."""
    net = Policy(3, 2, key=fold(key, SITES["net"]))  # decoding.lee:125
    reshape = (np.arange(9) // 3)[:, None]  # int[9, 1]  decoding.lee:126
    words = np.where(np.arange(2) == 0, reshape, (np.arange(9) % 3)[:, None])  # int[9, 2]
    reward = normal(fold(key, SITES["reward"]), (9,), FLOAT)  # [9]  decoding.lee:127
    value, saved_surrogate = surrogate_saved(net, words, 9 * np.exp(net(words)) * reward)  # decoding.lee:128
    d_net = surrogate_backward_parameters(words, saved_surrogate, FLOAT(1.0))
    return value, net.at(d_net), np.zeros(9, dtype=FLOAT)


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x  # [x_0]


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


def window(x, axis, size, stride=1, dilation=1):
    """A view of windows along an axis: entry (i, u) is i * stride + u * dilation, as many i as fit."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    step = x.strides[axis]
    strides = (*x.strides[:axis], step * stride, step * dilation, *x.strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


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
