"""Handwritten digits: a small convolutional network (lecture: CNN).

Two convolutions with pooling look at ever larger parts of the image, a linear layer decides.

Made from specs/digits.lee by leec 0.1.0. Change that file, not this one, and run: leec compile -O2 specs/digits.lee
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


class TrainStep:
    """A training step as one function that makes no arrays once it has run; generated subclasses say which.

    `moved` pairs the attribute of an optimizer with those of the models that it moves, for every update; `counted` are
    the optimizers whose rule stands in the step, `spare` says how many arrays each rule computes in, and `read` names
    the tensors that the step reads. What a step returns is the caller's own.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()
    spare: tuple[int, ...] = ()
    read: tuple[str, ...] = ()
    PLANS = 8  # sizes of batches whose arrays are kept
    BLOCK = 1 << 14  # entries of a vector that an update takes at a time, so that they stay in the cache

    def bind(self):
        """Take hold of all that the step reads and writes."""
        self.optimizers = [getattr(self, name) for name, _ in self.moved]
        models = [[member(self, path) for path in paths] for _, paths in self.moved]
        self.vectors = [[model.parameters for model in some] for some in models]
        self.shapes = [[shape for model in some for shape in model.shapes()] for some in models]
        self.gradient = [np.zeros(sum(v.size for v in some), some[0].dtype) for some in self.vectors]
        self.gradients = tuple(
            view for g, shapes in zip(self.gradient, self.shapes, strict=True) for view in cut(g, shapes)
        )
        for optimizer, gradient in zip(self.optimizers, self.gradient, strict=True):
            optimizer.make_states(gradient)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        self.blocks = [list(self.blocks_of(i)) for i in range(len(self.moved))]
        self.tensors = tuple(member(self, path) for path in self.read)
        paths = [*self.read, *(path for _, some in self.moved for path in some)]
        self.holders = {name: getattr(self, name).parameters for name in {path.partition(".")[0] for path in paths}}
        self.plans = {}

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks; none for an optimizer's own method."""
        if self.moved[i][0] not in self.counted:
            return
        others, stop = (self.gradient[i], *self.states[i]), 0
        spare = [np.empty(self.BLOCK, others[0].dtype) for _ in range(self.spare[i])]
        for θ in self.vectors[i]:
            start, stop = stop, stop + θ.size
            for a in range(0, θ.size, self.BLOCK):
                b = min(a + self.BLOCK, θ.size)
                yield θ[a:b], *(v[start + a : start + b] for v in others), *(s[: b - a] for s in spare)

    def holds(self):
        """Whether these are still the arrays of the models and optimizers."""
        models = all(getattr(self, name).parameters is vector for name, vector in self.holders.items())
        pairs = zip(self.optimizers, self.states, strict=True)
        return models and all(
            getattr(o, name) is s for o, kept in pairs for name, s in zip(o.starts, kept, strict=True)
        )

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).count()
        return self.step(*batch)

    def planned(self, *sizes):
        """The arrays for these sizes, made when they are first asked for."""
        if sizes not in self.plans:
            if len(self.plans) >= self.PLANS:
                del self.plans[next(iter(self.plans))]
            self.plans[sizes] = self.plan(*sizes)
        return self.plans[sizes]

    def update(self, i, *shapes):
        """One update by the optimizer's own method, which takes the vectors whole."""
        θ = self.vectors[i][0] if len(self.vectors[i]) == 1 else np.concatenate(self.vectors[i])
        self.optimizers[i].update(θ, self.gradient[i], *shapes)
        if len(self.vectors[i]) > 1:
            for v, part in zip(self.vectors[i], cut(θ, [(v.size,) for v in self.vectors[i]]), strict=True):
                v[...] = part


class Digits(Model):
    """Digits(side, classes)"""

    members = ("conv1", "norm1", "conv2", "norm2", "head")

    def __init__(self, side=8, classes=10, *, key=(0, 0)):
        self.side, self.classes = side, classes
        self.conv1 = Conv(1, 16, padding=1, key=fold(key, SITES["conv1"]))  # digits.lee:14
        self.norm1 = BatchNorm(16)  # digits.lee:15
        self.conv2 = Conv(16, 32, padding=1, key=fold(key, SITES["conv2"]))  # digits.lee:16
        self.norm2 = BatchNorm(32)  # digits.lee:17
        self.head = Linear(32 * (side // 4) ** 2, classes, key=fold(key, SITES["head"]))  # digits.lee:18
        self.lay_out()

    def forward(self, image, training=False):
        """image [n, 1, side, side] -> [n, classes]"""
        if training:
            return self.forward_training(image)
        n = image.shape[0]
        norm1_out = self.norm1(self.conv1(image).reshape(n, 16, self.side**2))  # [n, 16, side, side]
        h = max_pool_(relu(norm1_out.reshape(n, 16, self.side, self.side)))  # [n, 16, side // 2, side // 2]
        # [n, 32, (side // 2)**2]  digits.lee:22
        norm2_out = self.norm2(self.conv2(h).reshape(n, 32, (self.side // 2) ** 2))
        select_2 = relu(norm2_out.reshape(n, 32, self.side // 2, self.side // 2))  # [n, 32, side // 2, side // 2]
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  digits.lee:23

    def forward_training(self, image):
        """image [n, 1, side, side] -> [n, classes]"""
        n = image.shape[0]
        # [n, 16, side**2]  digits.lee:21
        norm1_out = self.norm1(self.conv1(image).reshape(n, 16, self.side**2), training=True)
        h = max_pool_(relu(norm1_out.reshape(n, 16, self.side, self.side)))  # [n, 16, side // 2, side // 2]
        # [n, 32, (side // 2)**2]  digits.lee:22
        norm2_out = self.norm2(self.conv2(h).reshape(n, 32, (self.side // 2) ** 2), training=True)
        select_2 = relu(norm2_out.reshape(n, 32, self.side // 2, self.side // 2))  # [n, 32, side // 2, side // 2]
        h_2 = max_pool_(select_2)  # [n, 32, side // 4, side // 4]
        return self.head(h_2.reshape(n, 32 * (self.side // 4) ** 2))  # [n, classes]  digits.lee:23


def example_small(key):
    """One gradient of the whole network, on noise."""
    net = Digits(key=fold(key, SITES["net"]))  # digits.lee:28
    image = normal(fold(key, SITES["image"]), (3, 1, 8, 8), FLOAT)  # [3, 1, 8, 8]  digits.lee:29
    label = randint(fold(key, SITES["label"]), (3,), 0, 10)  # int[3]  digits.lee:30
    pad = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.0)  # [3, 1, 10, 10]  nn.lee:83
    reshape = net.conv1.kernel.reshape(16, 9)  # [16, 9]
    transpose = window(window(pad, 3, 3, 1, 1), 2, 3, 1, 1).transpose(0, 1, 3, 5, 2, 4)  # [3, 1, 3, 3, 8, 8]
    columns = transpose.reshape(3, 9, 64)  # [3, 9, 64]
    contract = reshape @ columns  # [3, 16, 64]
    reshape_2_2 = net.norm1.gamma[:, None]  # [16, 1]  nn.lee:186
    # centred = contract.reshape(3, 16, 8, 8).reshape(3, 16, 64) - contract.reshape(3, 16, 8, 8).reshape(3, 16..
    s = contract.reshape(3, 16, 8, 8).reshape(3, 16, 64).mean(axis=(0, 2), keepdims=True)
    centred = np.subtract(contract.reshape(3, 16, 8, 8).reshape(3, 16, 64), s, out=contract)  # [3, 16, 64]
    # deviation = np.sqrt((centred**2).mean(axis=(0, 2), keepdims=True) + net.norm1.eps)
    s_ = centred**2
    s_.mean(axis=(0, 2), keepdims=True, out=s)
    s += net.norm1.eps
    deviation = np.sqrt(s, out=s)  # [1, 16, 1]
    div = np.divide(centred, deviation, out=contract)  # [3, 16, 64]
    # norm1_out = div * reshape_2_2 + net.norm1.beta[:, None]
    np.multiply(div, reshape_2_2, out=s_)
    norm1_out = np.add(s_, net.norm1.beta[:, None], out=s_)  # [3, 16, 64]
    reshape_2 = norm1_out.reshape(3, 16, 8, 8)  # [3, 16, 8, 8]  digits.lee:21
    max_pool_2 = max_pool(reshape_2, (2, 2), (2, 2), (1, 1))  # [3, 16, 4, 4]  nn.lee:130
    h = np.maximum(max_pool_2, 0)  # [3, 16, 4, 4]
    pad_2 = np.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.0)  # [3, 16, 6, 6]  nn.lee:83
    reshape_3 = net.conv2.kernel.reshape(32, 144)  # [32, 144]
    transpose_2 = window(window(pad_2, 3, 3, 1, 1), 2, 3, 1, 1).transpose(0, 1, 3, 5, 2, 4)  # [3, 16, 3, 3, 4, 4]
    columns_2 = transpose_2.reshape(3, 144, 16)  # [3, 144, 16]
    contract_2 = reshape_3 @ columns_2  # [3, 32, 16]
    reshape_2_3 = net.norm2.gamma[:, None]  # [32, 1]  nn.lee:186
    # centred_2 = contract_2.reshape(3, 32, 4, 4).reshape(3, 32, 16) - contract_2.reshape(3, 32, 4, 4).reshape..
    s_2 = contract_2.reshape(3, 32, 4, 4).reshape(3, 32, 16).mean(axis=(0, 2), keepdims=True)
    centred_2 = np.subtract(contract_2.reshape(3, 32, 4, 4).reshape(3, 32, 16), s_2, out=contract_2)  # [3, 32, 16]
    # deviation_2 = np.sqrt((centred_2**2).mean(axis=(0, 2), keepdims=True) + net.norm2.eps)
    s_3 = centred_2**2
    s_3.mean(axis=(0, 2), keepdims=True, out=s_2)
    s_2 += net.norm2.eps
    deviation_2 = np.sqrt(s_2, out=s_2)  # [1, 32, 1]
    div_2 = np.divide(centred_2, deviation_2, out=contract_2)  # [3, 32, 16]
    # norm2_out = div_2 * reshape_2_3 + net.norm2.beta[:, None]
    np.multiply(div_2, reshape_2_3, out=s_3)
    norm2_out = np.add(s_3, net.norm2.beta[:, None], out=s_3)  # [3, 32, 16]
    reshape_4 = norm2_out.reshape(3, 32, 4, 4)  # [3, 32, 4, 4]  digits.lee:22
    max_pool_2_ = max_pool(reshape_4, (2, 2), (2, 2), (1, 1))  # [3, 32, 2, 2]  nn.lee:130
    h_2 = np.maximum(max_pool_2_, 0)  # [3, 32, 2, 2]
    reshape_5 = h_2.reshape(3, 128)  # [3, 128]  digits.lee:23
    contract_3 = reshape_5 @ net.head.w  # [3, 10]  nn.lee:21
    add_3 = np.add(contract_3, net.head.b, out=contract_3)  # [3, 10]
    iota = np.arange(3)  # int[3]  losses.lee:45
    log_softmax_ = log_softmax(add_3, (1,))  # [3, 10]
    gather = log_softmax_[iota, inside(label)]  # [3]
    # value = (-gather).mean()
    s_4 = -gather
    value = s_4.mean()  # losses.lee:148
    softmax_ = softmax(add_3, (1,))  # [3, 10]  losses.lee:45
    iota_2 = np.arange(10)[None, :]  # int[1, 10]
    # d_add = (softmax_ - (iota_2 == label[:, None]).astype(FLOAT)) * (1.0 / 3)
    s_5 = iota_2 == label[:, None]
    np.subtract(softmax_, s_5.astype(FLOAT), out=contract_3)
    d_add = np.multiply(contract_3, 1.0 / 3, out=contract_3)  # [3, 10]
    b = d_add.sum(axis=0)  # [10]  nn.lee:21
    d_reshape_5 = d_add @ net.head.w.T  # [3, 128]
    w = reshape_5.T @ d_add  # [128, 10]
    # masked_ = masked(d_reshape_5.reshape(3, 32, 2, 2), h_2 > 0)
    s_6 = h_2 > 0
    masked_ = masked(d_reshape_5.reshape(3, 32, 2, 2), s_6, out=h_2)  # [3, 32, 2, 2]  prelude.lee:61
    d_reshape_4 = max_pool_gradient(masked_, reshape_4, max_pool_2_, (2, 2), (2, 2), (1, 1))  # [3, 32, 4, 4]
    d_norm2_out = d_reshape_4.reshape(3, 32, 16)  # [3, 32, 16]  digits.lee:22
    sum_ = d_norm2_out.sum(axis=0)  # [32, 16]  nn.lee:186
    beta_2 = sum_.sum(axis=1)  # [32]
    # sum_2 = (d_norm2_out * div_2).sum(axis=0)
    np.multiply(d_norm2_out, div_2, out=s_3)
    sum_2 = s_3.sum(axis=0, out=sum_)  # [32, 16]
    # d_conv2_out_flat = (d_normalise - d_normalise.mean(axis=(0, 2), keepdims=True) - div_2 * (d_normalise * ..
    d_normalise = np.multiply(d_norm2_out, reshape_2_3, out=s_3)
    s_7 = d_normalise.mean(axis=(0, 2), keepdims=True)
    s_8 = d_normalise - s_7
    np.multiply(d_normalise, div_2, out=s_3)
    s_3.mean(axis=(0, 2), keepdims=True, out=s_7)
    np.multiply(div_2, s_7, out=contract_2)
    np.subtract(s_8, contract_2, out=contract_2)
    d_conv2_out_flat = np.divide(contract_2, deviation_2, out=contract_2)  # [3, 32, 16]
    gamma_2 = sum_2.sum(axis=1)  # [32]
    contract_4 = reshape_3.T @ d_conv2_out_flat  # [3, 144, 16]  nn.lee:83
    transpose_3 = contract_4.reshape(3, 16, 3, 3, 4, 4).transpose(0, 1, 4, 2, 5, 3)  # [3, 16, 4, 3, 4, 3]
    unwindows_ = unwindows(transpose_3, (2, 4), (6, 6), (1, 1), (1, 1))  # [3, 16, 6, 6]
    contract_5 = d_conv2_out_flat @ columns_2.mT  # [3, 32, 144]
    kernel_2 = contract_5.reshape(3, 32, 16, 3, 3).sum(axis=0)  # [32, 16, 3, 3]
    # masked_2 = masked(unwindows_[:, :, 1:5, 1:5], h > 0)
    s_9 = h > 0
    masked_2 = masked(unwindows_[:, :, 1:5, 1:5], s_9, out=h)  # [3, 16, 4, 4]  prelude.lee:61
    d_reshape_2 = max_pool_gradient(masked_2, reshape_2, max_pool_2, (2, 2), (2, 2), (1, 1))  # [3, 16, 8, 8]
    d_norm1_out = d_reshape_2.reshape(3, 16, 64)  # [3, 16, 64]  digits.lee:21
    sum_3 = d_norm1_out.sum(axis=0)  # [16, 64]  nn.lee:186
    beta = sum_3.sum(axis=1)  # [16]
    # sum_2_2 = (d_norm1_out * div).sum(axis=0)
    np.multiply(d_norm1_out, div, out=s_)
    sum_2_2 = s_.sum(axis=0, out=sum_3)  # [16, 64]
    # d_conv1_out_flat = (d_normalise_2 - d_normalise_2.mean(axis=(0, 2), keepdims=True) - div * (d_normalise_..
    d_normalise_2 = np.multiply(d_norm1_out, reshape_2_2, out=s_)
    s_10 = d_normalise_2.mean(axis=(0, 2), keepdims=True)
    s_11 = d_normalise_2 - s_10
    np.multiply(d_normalise_2, div, out=s_)
    s_.mean(axis=(0, 2), keepdims=True, out=s_10)
    np.multiply(div, s_10, out=contract)
    np.subtract(s_11, contract, out=contract)
    d_conv1_out_flat = np.divide(contract, deviation, out=contract)  # [3, 16, 64]
    gamma = sum_2_2.sum(axis=1)  # [16]
    contract_6 = reshape.T @ d_conv1_out_flat  # [3, 9, 64]  nn.lee:83
    transpose_4 = contract_6.reshape(3, 1, 3, 3, 8, 8).transpose(0, 1, 4, 2, 5, 3)  # [3, 1, 8, 3, 8, 3]
    unwindows_2 = unwindows(transpose_4, (2, 4), (10, 10), (1, 1), (1, 1))  # [3, 1, 10, 10]
    contract_7 = d_conv1_out_flat @ columns.mT  # [3, 16, 9]
    kernel = contract_7.reshape(3, 16, 1, 3, 3).sum(axis=0)  # [16, 1, 3, 3]
    return (
        value,
        net.at(
            {
                "conv1": {"kernel": kernel},
                "norm1": {"gamma": gamma, "beta": beta},
                "conv2": {"kernel": kernel_2},
                "norm2": {"gamma": gamma_2, "beta": beta_2},
                "head": {"w": w, "b": b},
            }
        ),
        unwindows_2[:, :, 1:9, 1:9],
    )


def fit(epochs=12, batch=64, rate=2e-3, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = Digits(key=run.key("net"))  # digits.lee:36
    opt = Adam(lr=rate)  # digits.lee:37
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(image, label))  # digits.lee:40
        run.report(accuracy=fit_accuracy(net, data.test.x, data.test.y))  # digits.lee:41
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.conv1.kernel",
        "net.norm1.gamma",
        "net.norm1.beta",
        "net.norm1.mean_",
        "net.norm1.var_",
        "net.conv2.kernel",
        "net.norm2.gamma",
        "net.norm2.beta",
        "net.norm2.mean_",
        "net.norm2.var_",
        "net.head.w",
        "net.head.b",
    )
    spare = (3,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def plan(self, batches_n):
        """The arrays that a step computes in, for the sizes of its batch."""
        return (
            np.empty((batches_n, 9, 64), FLOAT),
            np.empty((batches_n, 16, 64), FLOAT),
            np.empty((16,), FLOAT),
            np.empty((batches_n, 16, 64), FLOAT),
            np.empty((16,), FLOAT),
            np.empty((16,), FLOAT),
            np.empty((1, 16, 1), FLOAT),
            np.empty((batches_n, 16, 4, 4), FLOAT),
            np.empty((batches_n, 16, 4, 4), FLOAT),
            np.empty((batches_n, 144, 16), FLOAT),
            np.empty((batches_n, 32, 16), FLOAT),
            np.empty((32,), FLOAT),
            np.empty((batches_n, 32, 16), FLOAT),
            np.empty((32,), FLOAT),
            np.empty((32,), FLOAT),
            np.empty((1, 32, 1), FLOAT),
            np.empty((batches_n, 32, 2, 2), FLOAT),
            np.empty((batches_n, 32, 2, 2), FLOAT),
            np.empty((batches_n, 10), FLOAT),
            np.empty((batches_n,), FLOAT),
            np.empty((batches_n, 10), np.bool_),
            np.empty((batches_n, 128), FLOAT),
            np.empty((batches_n, 32, 2, 2), np.bool_),
            np.empty((batches_n, 32, 4, 4), FLOAT),
            np.empty((32, 16), FLOAT),
            np.empty((1, 32, 1), FLOAT),
            np.empty((batches_n, 32, 16), FLOAT),
            np.empty((batches_n, 144, 16), FLOAT),
            np.empty((batches_n, 16, 6, 6), FLOAT),
            np.empty((batches_n, 32, 144), FLOAT),
            np.empty((batches_n, 16, 4, 4), np.bool_),
            np.empty((batches_n, 16, 8, 8), FLOAT),
            np.empty((16, 64), FLOAT),
            np.empty((1, 16, 1), FLOAT),
            np.empty((batches_n, 16, 64), FLOAT),
            np.empty((batches_n, 16, 9), FLOAT),
            np.arange(batches_n),
            np.arange(10)[None, :],
        )

    def step(self, image, label):
        conv1_kernel, norm1_gamma, norm1_beta, norm1_mean_, norm1_var_, conv2_kernel = self.tensors[:6]
        norm2_gamma, norm2_beta, norm2_mean_, norm2_var_, head_w, head_b = self.tensors[6:]
        d_conv1_kernel, d_norm1_gamma, d_norm1_beta, d_conv2_kernel, d_norm2_gamma = self.gradients[:5]
        d_norm2_beta, d_head_w, d_head_b = self.gradients[5:]
        batches_n = image.shape[0]
        arrays = self.planned(batches_n)
        s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15, s16, s17, s18 = arrays[:19]
        s19, s20, s21, s22, s23, s24, s25, s26, s27, s28, s29, s30, s31, s32, s33, s34, s35 = arrays[19:36]
        iota, iota_2 = arrays[36:]
        pad = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.0)  # [batches_n, 1, 10, 10]  nn.lee:83
        # [batches_n, 1, 3, 3, 8, 8]
        transpose = window(window(pad, 3, 3, 1, 1), 2, 3, 1, 1).transpose(0, 1, 3, 5, 2, 4)
        np.copyto(s0.reshape(batches_n, 1, 3, 3, 8, 8), transpose)  # [batches_n, 9, 64]
        contract = np.matmul(conv1_kernel.reshape(16, 9), s0, out=s1)  # [batches_n, 16, 64]
        # [batches_n, 16, 64]  digits.lee:21
        conv1_out_flat = contract.reshape(batches_n, 16, 8, 8).reshape(batches_n, 16, 64)
        mu = conv1_out_flat.mean(axis=(0, 2), out=s2)  # [16]  nn.lee:178
        # var = (sub**2).mean(axis=(0, 2))
        sub = np.subtract(conv1_out_flat, mu[:, None], out=s3)
        np.square(sub, out=s3)
        var = s3.mean(axis=(0, 2), out=s4)  # [16]  nn.lee:179
        sub_2 = 1 - self.net.norm1.momentum  # nn.lee:181
        # mean__2 = sub_2 * norm1_mean_ + self.net.norm1.momentum * mu
        np.multiply(sub_2, norm1_mean_, out=s5)
        np.multiply(self.net.norm1.momentum, mu, out=s2)
        mean__2 = np.add(s5, s2, out=s2)  # [16]
        # var__2 = sub_2 * norm1_var_ + self.net.norm1.momentum * var * (64 * batches_n) / (64 * batches_n - 1)
        np.multiply(sub_2, norm1_var_, out=s5)
        np.multiply(self.net.norm1.momentum, var, out=s4)
        s4 *= 64 * batches_n
        s4 /= 64 * batches_n - 1
        var__2 = np.add(s5, s4, out=s4)  # [16]  nn.lee:182
        reshape_2_2 = norm1_gamma[:, None]  # [16, 1]  nn.lee:186
        # centred = conv1_out_flat - conv1_out_flat.mean(axis=(0, 2), keepdims=True)
        conv1_out_flat.mean(axis=(0, 2), keepdims=True, out=s6)
        centred = np.subtract(conv1_out_flat, s6, out=s1)  # [batches_n, 16, 64]
        # deviation = np.sqrt((centred**2).mean(axis=(0, 2), keepdims=True) + self.net.norm1.eps)
        np.square(centred, out=s3)
        s3.mean(axis=(0, 2), keepdims=True, out=s6)
        s6 += self.net.norm1.eps
        deviation = np.sqrt(s6, out=s6)  # [1, 16, 1]
        div_2 = np.divide(centred, deviation, out=s1)  # [batches_n, 16, 64]
        # norm1_out = div_2 * reshape_2_2 + norm1_beta[:, None]
        np.multiply(div_2, reshape_2_2, out=s3)
        norm1_out = np.add(s3, norm1_beta[:, None], out=s3)  # [batches_n, 16, 64]
        reshape_3 = norm1_out.reshape(batches_n, 16, 8, 8)  # [batches_n, 16, 8, 8]  digits.lee:21
        max_pool_2 = max_pool(reshape_3, (2, 2), (2, 2), (1, 1), out=s7)  # [batches_n, 16, 4, 4]  nn.lee:130
        h = np.maximum(max_pool_2, 0, out=s8)  # [batches_n, 16, 4, 4]
        pad_2 = np.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.0)  # [batches_n, 16, 6, 6]  nn.lee:83
        reshape_4 = conv2_kernel.reshape(32, 144)  # [32, 144]
        # [batches_n, 16, 3, 3, 4, 4]
        transpose_2 = window(window(pad_2, 3, 3, 1, 1), 2, 3, 1, 1).transpose(0, 1, 3, 5, 2, 4)
        np.copyto(s9.reshape(batches_n, 16, 3, 3, 4, 4), transpose_2)  # [batches_n, 144, 16]
        contract_2 = np.matmul(reshape_4, s9, out=s10)  # [batches_n, 32, 16]
        # [batches_n, 32, 16]  digits.lee:22
        conv2_out_flat = contract_2.reshape(batches_n, 32, 4, 4).reshape(batches_n, 32, 16)
        mu_2 = conv2_out_flat.mean(axis=(0, 2), out=s11)  # [32]  nn.lee:178
        # var_2 = (sub_3**2).mean(axis=(0, 2))
        sub_3 = np.subtract(conv2_out_flat, mu_2[:, None], out=s12)
        np.square(sub_3, out=s12)
        var_2 = s12.mean(axis=(0, 2), out=s13)  # [32]  nn.lee:179
        sub_2_2 = 1 - self.net.norm2.momentum  # nn.lee:181
        # mean__2_2 = sub_2_2 * norm2_mean_ + self.net.norm2.momentum * mu_2
        np.multiply(sub_2_2, norm2_mean_, out=s14)
        np.multiply(self.net.norm2.momentum, mu_2, out=s11)
        mean__2_2 = np.add(s14, s11, out=s11)  # [32]
        # var__2_2 = sub_2_2 * norm2_var_ + self.net.norm2.momentum * var_2 * (16 * batches_n) / (16 * batches_n -..
        np.multiply(sub_2_2, norm2_var_, out=s14)
        np.multiply(self.net.norm2.momentum, var_2, out=s13)
        s13 *= 16 * batches_n
        s13 /= 16 * batches_n - 1
        var__2_2 = np.add(s14, s13, out=s13)  # [32]  nn.lee:182
        reshape_2_3 = norm2_gamma[:, None]  # [32, 1]  nn.lee:186
        # centred_2 = conv2_out_flat - conv2_out_flat.mean(axis=(0, 2), keepdims=True)
        conv2_out_flat.mean(axis=(0, 2), keepdims=True, out=s15)
        centred_2 = np.subtract(conv2_out_flat, s15, out=s10)  # [batches_n, 32, 16]
        # deviation_2 = np.sqrt((centred_2**2).mean(axis=(0, 2), keepdims=True) + self.net.norm2.eps)
        np.square(centred_2, out=s12)
        s12.mean(axis=(0, 2), keepdims=True, out=s15)
        s15 += self.net.norm2.eps
        deviation_2 = np.sqrt(s15, out=s15)  # [1, 32, 1]
        div_4 = np.divide(centred_2, deviation_2, out=s10)  # [batches_n, 32, 16]
        # norm2_out = div_4 * reshape_2_3 + norm2_beta[:, None]
        np.multiply(div_4, reshape_2_3, out=s12)
        norm2_out = np.add(s12, norm2_beta[:, None], out=s12)  # [batches_n, 32, 16]
        reshape_6 = norm2_out.reshape(batches_n, 32, 4, 4)  # [batches_n, 32, 4, 4]  digits.lee:22
        max_pool_2_ = max_pool(reshape_6, (2, 2), (2, 2), (1, 1), out=s16)  # [batches_n, 32, 2, 2]  nn.lee:130
        h_2 = np.maximum(max_pool_2_, 0, out=s17)  # [batches_n, 32, 2, 2]
        reshape_7 = h_2.reshape(batches_n, 128)  # [batches_n, 128]  digits.lee:23
        contract_3 = np.dot(reshape_7, head_w, out=s18)  # [batches_n, 10]  nn.lee:21
        add_3 = np.add(contract_3, head_b, out=s18)  # [batches_n, 10]
        log_softmax_ = log_softmax(add_3, (1,))  # [batches_n, 10]  losses.lee:45
        gather = log_softmax_[iota, inside(label)]  # [batches_n]
        # loss = (-gather).mean()
        np.negative(gather, out=s19)
        loss = s19.mean()  # losses.lee:148
        softmax_ = softmax(add_3, (1,))  # [batches_n, 10]  losses.lee:45
        # d_add = (softmax_ - (iota_2 == label[:, None]).astype(FLOAT)) * (1.0 / batches_n)
        np.equal(iota_2, label[:, None], out=s20)
        np.subtract(softmax_, s20.astype(FLOAT), out=s18)
        d_add = np.multiply(s18, 1.0 / batches_n, out=s18)  # [batches_n, 10]
        d_add.sum(axis=0, out=d_head_b)  # [10]  nn.lee:21
        d_reshape_5 = np.dot(d_add, head_w.T, out=s21)  # [batches_n, 128]
        np.dot(reshape_7.T, d_add, out=d_head_w)  # [128, 10]
        # masked_ = masked(d_reshape_5.reshape(batches_n, 32, 2, 2), h_2 > 0)
        np.greater(h_2, 0, out=s22)
        # [batches_n, 32, 2, 2]  prelude.lee:61
        masked_ = masked(d_reshape_5.reshape(batches_n, 32, 2, 2), s22, out=s17)
        # [batches_n, 32, 4, 4]
        d_reshape_4 = max_pool_gradient(masked_, reshape_6, max_pool_2_, (2, 2), (2, 2), (1, 1), out=s23)
        d_norm2_out = d_reshape_4.reshape(batches_n, 32, 16)  # [batches_n, 32, 16]  digits.lee:22
        d_norm2_out.sum(axis=(0, 2), out=d_norm2_beta)  # [32]  nn.lee:186
        # sum_ = (d_norm2_out * div_4).sum(axis=0)
        np.multiply(d_norm2_out, div_4, out=s12)
        sum_ = s12.sum(axis=0, out=s24)  # [32, 16]
        # d_conv2_out_flat = (d_normalise - d_normalise.mean(axis=(0, 2), keepdims=True) - div_4 * (d_normalise * ..
        d_normalise = np.multiply(d_norm2_out, reshape_2_3, out=s12)
        d_normalise.mean(axis=(0, 2), keepdims=True, out=s25)
        np.subtract(d_normalise, s25, out=s26)
        np.multiply(d_normalise, div_4, out=s12)
        s12.mean(axis=(0, 2), keepdims=True, out=s25)
        np.multiply(div_4, s25, out=s10)
        np.subtract(s26, s10, out=s10)
        d_conv2_out_flat = np.divide(s10, deviation_2, out=s10)  # [batches_n, 32, 16]
        sum_.sum(axis=1, out=d_norm2_gamma)  # [32]
        contract_4 = np.matmul(reshape_4.T, d_conv2_out_flat, out=s27)  # [batches_n, 144, 16]  nn.lee:83
        # [batches_n, 16, 4, 3, 4, 3]
        transpose_3 = contract_4.reshape(batches_n, 16, 3, 3, 4, 4).transpose(0, 1, 4, 2, 5, 3)
        unwindows_ = unwindows(transpose_3, (2, 4), (6, 6), (1, 1), (1, 1), out=s28)  # [batches_n, 16, 6, 6]
        contract_5 = np.matmul(d_conv2_out_flat, s9.mT, out=s29)  # [batches_n, 32, 144]
        contract_5.reshape(batches_n, 32, 16, 3, 3).sum(axis=0, out=d_conv2_kernel)  # [32, 16, 3, 3]
        # masked_2 = masked(unwindows_[:, :, 1:5, 1:5], h > 0)
        np.greater(h, 0, out=s30)
        masked_2 = masked(unwindows_[:, :, 1:5, 1:5], s30, out=s8)  # [batches_n, 16, 4, 4]  prelude.lee:61
        # [batches_n, 16, 8, 8]
        d_reshape_2 = max_pool_gradient(masked_2, reshape_3, max_pool_2, (2, 2), (2, 2), (1, 1), out=s31)
        d_norm1_out = d_reshape_2.reshape(batches_n, 16, 64)  # [batches_n, 16, 64]  digits.lee:21
        d_norm1_out.sum(axis=(0, 2), out=d_norm1_beta)  # [16]  nn.lee:186
        # sum_2_2 = (d_norm1_out * div_2).sum(axis=0)
        np.multiply(d_norm1_out, div_2, out=s3)
        sum_2_2 = s3.sum(axis=0, out=s32)  # [16, 64]
        # d_conv1_out_flat = (d_normalise_2 - d_normalise_2.mean(axis=(0, 2), keepdims=True) - div_2 * (d_normalis..
        d_normalise_2 = np.multiply(d_norm1_out, reshape_2_2, out=s3)
        d_normalise_2.mean(axis=(0, 2), keepdims=True, out=s33)
        np.subtract(d_normalise_2, s33, out=s34)
        np.multiply(d_normalise_2, div_2, out=s3)
        s3.mean(axis=(0, 2), keepdims=True, out=s33)
        np.multiply(div_2, s33, out=s1)
        np.subtract(s34, s1, out=s1)
        d_conv1_out_flat = np.divide(s1, deviation, out=s1)  # [batches_n, 16, 64]
        sum_2_2.sum(axis=1, out=d_norm1_gamma)  # [16]
        contract_6 = np.matmul(d_conv1_out_flat, s0.mT, out=s35)  # [batches_n, 16, 9]  nn.lee:83
        contract_6.reshape(batches_n, 16, 1, 3, 3).sum(axis=0, out=d_conv1_kernel)  # [16, 1, 3, 3]
        scale = 1 - math.pow(self.opt.beta1, self.opt.t)
        scale_ = 1 - math.pow(self.opt.beta2, self.opt.t)
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v, u0, u1, u2 in self.blocks[0]:
            np.multiply(weight_decay, θ, out=u0)
            u0 += g
            np.multiply(beta1, m, out=m)
            np.multiply(1 - beta1, u0, out=u1)
            m += u1
            np.multiply(beta2, v, out=v)
            np.square(u0, out=u1)
            np.multiply(1 - beta2, u1, out=u1)
            v += u1
            np.divide(m, scale, out=u1)
            np.multiply(lr, u1, out=u1)
            np.divide(v, scale_, out=u2)
            np.sqrt(u2, out=u2)
            u2 += eps
            np.divide(u1, u2, out=u2)
            θ -= u2
        norm1_mean_[...] = mean__2  # [16]  digits.lee:40
        norm1_var_[...] = var__2  # [16]
        norm2_mean_[...] = mean__2_2  # [32]
        norm2_var_[...] = var__2_2  # [32]
        return loss  # losses.lee:148


def fit_accuracy(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 1, 8, 8], data_test_y int[data_test_n] -> []"""
    data_test_n = data_test_x.shape[0]
    # [data_test_n, 1, 10, 10]  nn.lee:83
    pad = np.pad(data_test_x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.0)
    transpose = window(window(pad, 3, 3, 1, 1), 2, 3, 1, 1).transpose(0, 1, 3, 5, 2, 4)  # [data_test_n, 1, 3, 3, 8, 8]
    columns = transpose.reshape(data_test_n, 9, 64)  # [data_test_n, 9, 64]
    contract = net.conv1.kernel.reshape(16, 9) @ columns  # [data_test_n, 16, 64]
    # [data_test_n, 16, 64]  digits.lee:21
    conv1_out_flat = contract.reshape(data_test_n, 16, 8, 8).reshape(data_test_n, 16, 64)
    # norm1_out = net.norm1.gamma[:, None] * (conv1_out_flat - net.norm1.mean_[:, None]) / np.sqrt(net.norm1.v..
    np.subtract(conv1_out_flat, net.norm1.mean_[:, None], out=contract)
    np.multiply(net.norm1.gamma[:, None], contract, out=contract)
    s = net.norm1.var_[:, None] + net.norm1.eps
    np.sqrt(s, out=s)
    contract /= s
    norm1_out = np.add(contract, net.norm1.beta[:, None], out=contract)  # [data_test_n, 16, 64]  nn.lee:186
    # [data_test_n, 16, 4, 4]  nn.lee:130
    max_pool_2 = max_pool(norm1_out.reshape(data_test_n, 16, 8, 8), (2, 2), (2, 2), (1, 1))
    h = np.maximum(max_pool_2, 0, out=max_pool_2)  # [data_test_n, 16, 4, 4]
    pad_2 = np.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.0)  # [data_test_n, 16, 6, 6]  nn.lee:83
    # [data_test_n, 16, 3, 3, 4, 4]
    transpose_2 = window(window(pad_2, 3, 3, 1, 1), 2, 3, 1, 1).transpose(0, 1, 3, 5, 2, 4)
    columns_2 = transpose_2.reshape(data_test_n, 144, 16)  # [data_test_n, 144, 16]
    contract_2 = net.conv2.kernel.reshape(32, 144) @ columns_2  # [data_test_n, 32, 16]
    # [data_test_n, 32, 16]  digits.lee:22
    conv2_out_flat = contract_2.reshape(data_test_n, 32, 4, 4).reshape(data_test_n, 32, 16)
    # norm2_out = net.norm2.gamma[:, None] * (conv2_out_flat - net.norm2.mean_[:, None]) / np.sqrt(net.norm2.v..
    np.subtract(conv2_out_flat, net.norm2.mean_[:, None], out=contract_2)
    np.multiply(net.norm2.gamma[:, None], contract_2, out=contract_2)
    s_ = net.norm2.var_[:, None] + net.norm2.eps
    np.sqrt(s_, out=s_)
    contract_2 /= s_
    norm2_out = np.add(contract_2, net.norm2.beta[:, None], out=contract_2)  # [data_test_n, 32, 16]  nn.lee:186
    # [data_test_n, 32, 2, 2]  nn.lee:130
    max_pool_2_ = max_pool(norm2_out.reshape(data_test_n, 32, 4, 4), (2, 2), (2, 2), (1, 1))
    h_2 = np.maximum(max_pool_2_, 0, out=max_pool_2_)  # [data_test_n, 32, 2, 2]
    contract_3 = h_2.reshape(data_test_n, 128) @ net.head.w  # [data_test_n, 10]  nn.lee:21
    add_3 = np.add(contract_3, net.head.b, out=contract_3)  # [data_test_n, 10]
    argmax = add_3.argmax(axis=1)  # int[data_test_n]  metrics.lee:9
    # accuracy = (argmax == data_test_y).astype(FLOAT).mean()
    s_2 = argmax == data_test_y
    accuracy = s_2.astype(FLOAT).mean()
    return accuracy


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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
        contract = x @ self.w  # [rows, outputs]  nn.lee:21
        y = np.add(contract, self.b, out=contract)  # [rows, outputs]
        return y  # [rows, outputs]


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    n, _, _, w = x.shape
    o, c, kh, kw = kernel.shape
    out_w = (dilation + 2 * padding + w - dilation * kw - 1) // stride + 1
    # [n, c, h + 2 * padding, 2 * padding + w]  nn.lee:83
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows_2 = window(window(pad, 3, kw, stride, dilation), 2, kh, stride, dilation)  # [n, c, out_h, kh, out_w, kw]
    columns = windows_2.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * kh * kw, -1)  # [n, c * kh * kw, out_h * out_w]
    contract = kernel.reshape(o, c * kh * kw) @ columns  # [n, o, out_h * out_w]
    return contract.reshape(n, o, -1, out_w)  # [n, o, out_h, out_w]


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel",)

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        self.kernel = div + (div_2 - div) * uniform_  # [outputs, inputs, k, k]
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2  # [n, outputs, out_h, out_w]


def max_pool_(x, size=2):
    """The largest entry of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = max_pool(x, (size, size), (size, size), (1, 1))  # [n, c, h // size, w // size]  nn.lee:130
    return y  # [n, c, h // size, w // size]


class BatchNorm(Model):
    """(x - μ) / √(σ² + ε) · γ + β, over the batch and all positions (Ioffe & Szegedy 2015).

    Running averages serve when not training; the one of σ² takes the unbiased estimate.
    """

    members = ("gamma", "beta", "mean_", "var_")
    states = ("mean_", "var_")

    def __init__(self, channels, momentum=0.1, eps=1e-5):
        self.channels, self.momentum, self.eps = channels, momentum, eps
        self.gamma = np.ones(channels, dtype=FLOAT)  # [channels]  nn.lee:171
        self.beta = np.zeros(channels, dtype=FLOAT)  # [channels]  nn.lee:172
        self.mean_ = np.zeros(channels, dtype=FLOAT)  # [channels]
        self.var_ = np.ones(channels, dtype=FLOAT)  # [channels]  nn.lee:171
        self.lay_out()

    @packed(2, x=(2, 3))
    def forward(self, x, training=False):
        """x [n, channels, ..] -> [n, channels, ..]"""
        if training:
            return self.forward_training(x)
        # y = self.gamma[:, None] * (x - self.mean_[:, None]) / np.sqrt(self.var_[:, None] + self.eps) + self.beta..
        s = x - self.mean_[:, None]
        np.multiply(self.gamma[:, None], s, out=s)
        s_ = self.var_[:, None] + self.eps
        np.sqrt(s_, out=s_)
        s /= s_
        y = np.add(s, self.beta[:, None], out=s)  # [n, channels, rows]  nn.lee:186
        return y  # [n, channels, rows]

    def forward_training(self, x):
        """x [n, channels, rows] -> [n, channels, rows]"""
        n, _, rows = x.shape
        mu = x.mean(axis=(0, 2))  # [channels]  nn.lee:178
        # var = (sub**2).mean(axis=(0, 2))
        sub = x - mu[:, None]
        np.square(sub, out=sub)
        var = sub.mean(axis=(0, 2))  # [channels]  nn.lee:179
        # mean__2 = (1 - self.momentum) * self.mean_ + self.momentum * mu
        s = (1 - self.momentum) * self.mean_
        np.multiply(self.momentum, mu, out=mu)
        mean__2 = np.add(s, mu, out=mu)  # [channels]  nn.lee:181
        # var__2 = (1 - self.momentum) * self.var_ + self.momentum * var * (n * rows) / (n * rows - 1)
        np.multiply(1 - self.momentum, self.var_, out=s)
        np.multiply(self.momentum, var, out=var)
        var *= n * rows
        var /= n * rows - 1
        var__2 = np.add(s, var, out=var)  # [channels]  nn.lee:182
        # y = centred / np.sqrt((centred**2).mean(axis=(0, 2), keepdims=True) + self.eps) * self.gamma[:, None] + ..
        s_ = x.mean(axis=(0, 2), keepdims=True)
        centred = np.subtract(x, s_, out=sub)
        s_2 = centred**2
        s_2.mean(axis=(0, 2), keepdims=True, out=s_)
        s_ += self.eps
        np.sqrt(s_, out=s_)
        np.divide(centred, s_, out=sub)
        sub *= self.gamma[:, None]
        y = np.add(sub, self.beta[:, None], out=sub)  # [n, channels, rows]  nn.lee:186
        self.mean_[...] = mean__2  # [channels]  nn.lee:181
        self.var_[...] = var__2  # [channels]  nn.lee:182
        return y  # [n, channels, rows]  nn.lee:186


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

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    y = np.maximum(x, 0)  # [x_0, x_1, x_2, x_3]  prelude.lee:61
    return y  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "head": 0xBD7890018BD219D5,
    "image": 0x86C9701471CF0710,
    "kernel": 0x273FEA903E119357,
    "label": 0x97BB9DAEC28EDB5C,
    "net": 0xF087C76970C91612,
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


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


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


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def max_pool(x, size, stride, dilation, out=None):
    """The largest entry of every window along the last axes."""
    first, *others = window_entries(x, size, stride, dilation)
    y = np.empty(first.shape, x.dtype) if out is None else out
    np.copyto(y, first)
    for entries in others:
        np.maximum(y, entries, out=y)
    return y


def max_pool_gradient(g, x, y, size, stride, dilation, out=None):
    """g at the first entry of its window that is the largest, row by row; entries of several windows add up."""
    d_x = np.empty(x.shape, x.dtype) if out is None else out
    d_x.fill(0)
    how = size, stride, dilation
    apart = all(e * (k - 1) < s for k, s, e in zip(*how, strict=True))
    waiting, part = np.ones(y.shape, bool), np.empty(y.shape, y.dtype)
    for entries, d_entries in zip(window_entries(x, *how), window_entries(d_x, *how), strict=True):
        first = entries == y
        first &= waiting
        waiting ^= first
        if apart:
            masked(g, first, out=d_entries)
        else:
            d_entries += masked(g, first, out=part)
    return d_x


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


def member(holder, path):
    """The model or tensor at a path such as `net.layers.0.w`."""
    for step in path.split("."):
        holder = (
            holder[int(step)] if step.isdigit() else getattr(holder, getattr(holder, "renamed", {}).get(step, step))
        )
    return holder


def cut(vector, shapes):
    """Views of a vector, one after the other."""
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + int(np.prod(shape))
        yield vector[start:stop].reshape(shape)
