"""Whole neurons go, a few at a time, and what is left is a smaller network (inventory O2).

Made from specs/compression/neurons.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/compression/neurons.lee
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


class Net(Model):
    """Net(d, hidden, classes)"""

    members = ("up", "down")

    def __init__(self, d, hidden, classes=10, *, key=(0, 0)):
        self.d, self.hidden, self.classes = d, hidden, classes
        self.up = Linear(d, hidden, key=fold(key, SITES["up"]))  # neurons.lee:11
        self.down = Linear(hidden, classes, key=fold(key, SITES["down"]))  # neurons.lee:12
        self.lay_out()

    def active(self, x):
        """x [n, d] -> [n, hidden]"""
        return relu(self.up(x))  # [n, hidden]  neurons.lee:15

    def active_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return relu(up(x))   neurons.lee:15
        d_up, d_x = self.up.forward_backward(x, relu_backward(select, d_y))
        return {"up": d_up}, d_x

    @staticmethod
    def active_backward_parameters(x, select, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return relu(up(x))   neurons.lee:15
        d_up = Linear.forward_backward_parameters(x, relu_backward(select, d_y))
        return {"up": d_up}

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        return self.down(self.active(x))  # [n, classes]  neurons.lee:18

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        up_out = self.active(x)  # [n, hidden]  neurons.lee:18
        return self.down(up_out), up_out

    def forward_backward(self, x, up_out, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return down(active(x))   neurons.lee:18
        d_down, d_up_out = self.down.forward_backward(up_out, d_y)
        d_net, d_x = self.active_backward(x, up_out, d_up_out)
        return {"up": d_net["up"], "down": d_down}, d_x

    def forward_backward_parameters(self, x, up_out, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return down(active(x))   neurons.lee:18
        d_down, d_up_out = self.down.forward_backward(up_out, d_y)
        d_net = Net.active_backward_parameters(x, up_out, d_up_out)
        return {"up": d_net["up"], "down": d_down}


def usefulness(net, x):
    """How strongly a neuron speaks on average, and with what weight it is heard.

    x [n, net.d] -> [net.hidden]
    """
    h = net.active(x)  # [n, net.hidden]  neurons.lee:23
    score = h.T.mean(axis=1) * np.sqrt((net.down.w * net.down.w).sum(axis=1))  # [net.hidden]  neurons.lee:24
    return score  # [net.hidden]


def usefulness_saved(net, x):
    """As usefulness, and what its gradient needs."""
    h = net.active(x)  # [n, net.hidden]  neurons.lee:23
    mean = h.T.mean(axis=1)  # [net.hidden]  neurons.lee:24
    sum_ = (net.down.w * net.down.w).sum(axis=1)  # [net.hidden]
    sqrt = np.sqrt(sum_)  # [net.hidden]
    score = mean * sqrt  # [net.hidden]
    return score, (h, mean, sum_, sqrt)


def usefulness_backward(net, x, saved, d_score):
    """From d_score to the gradients by net and x."""
    h, mean, sum_, sqrt = saved
    n = x.shape[0]
    # gradient of score[j] = mean[i](h[i, j]) * sqrt(sum[c](net.down.w[j, c] ** 2))   neurons.lee:24
    d_sum = d_score * mean * 0.5 / np.where(sum_ > 0, sqrt, np.inf)  # [net.hidden]
    reshape_2 = (d_score * sqrt / n)[:, None]  # [net.hidden, 1]
    d_h = np.broadcast_to(reshape_2, (net.hidden, n)).T  # [n, net.hidden]
    # gradient of h = net.active(x)   neurons.lee:23
    d_net, d_x = net.active_backward(x, h, d_h)
    d_net_down_w = 2 * (d_sum[:, None] * net.down.w)  # [net.hidden, net.classes]
    return {"up": d_net["up"], "down": {"w": d_net_down_w}}, d_x


def shrunk(net, keep, key):
    """The net of these neurons alone.

    keep int[m] -> Net
    """
    m = keep.shape[0]
    # neurons.lee:33
    return Net(net.d, m, classes=net.classes).at(
        {
            "up": {"w": net.up.w.transpose((1, 0))[inside(keep)].T, "b": net.up.b[inside(keep)]},
            "down": {"w": net.down.w[inside(keep)], "b": net.down.b},
        }
    )


def shrunk_backward(keep, net_hidden, d_net):
    """From d_net to the gradient by net."""
    net_d = d_net["up"]["w"].shape[0]
    net_classes = d_net["down"]["w"].shape[1]
    # gradient of small.down.w = net.down.w[keep]   neurons.lee:33
    d_net_down_w = scatter_add(d_net["down"]["w"], (keep,), (net_hidden, net_classes))  # [net.hidden, net.classes]
    # gradient of small.up.b = net.up.b[keep]   neurons.lee:32
    d_net_up_b = scatter_add(d_net["up"]["b"], (keep,), (net_hidden,))  # [net.hidden]
    # gradient of small.up.w = net.up.w[:, keep]   neurons.lee:31
    d_net_up_w = scatter_add(d_net["up"]["w"].T, (keep,), (net_d, net_hidden), (1,))  # [net.d, net.hidden]
    return {"up": {"w": d_net_up_w, "b": d_net_up_b}, "down": {"w": d_net_down_w, "b": d_net["down"]["b"]}}


def prune(rounds=6, hidden=256, fraction=0.2, epochs=3, batch=64, rate=1e-3, *, run=None):
    """A large net is easier to train than a small one: train, drop the neurons that say least, train again."""
    from leec.runtime.run import Run

    run = run or Run("prune")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Net(d=64, hidden=hidden, key=run.key("net"))  # neurons.lee:41
    opt = Adam(lr=rate)  # neurons.lee:42
    net, opt = run.restore("round", net=net, opt=opt)
    for round_ in run.loop("round", 1, rounds):
        for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
            for x, y in run.batches("batches", data.train, batch, shuffle=True):
                run.step(prune_step(net, opt, x, y))  # neurons.lee:46
        run.report(hidden=net.hidden, accuracy=accuracy(net(data.test.x), data.test.y))  # neurons.lee:47
        left = int((1 - fraction) * net.hidden)  # neurons.lee:48
        new_net = Net(d=64, hidden=left, classes=10, key=run.key("new_net"))  # neurons.lee:50
        prune_net(net, data.train.x, new_net, key=run.key("prune"))  # neurons.lee:49
        net = new_net  # neurons.lee:50
        opt = Adam(lr=rate)  # neurons.lee:51
        run.keep("round", net=net, opt=opt)
    return net


def prune_step(net, opt, x, y):
    """One step of prune."""
    add, saved_net = net.forward_saved(x)  # neurons.lee:46
    d_add = cross_entropy_backward(add, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add, y)


def prune_net(net, data_train_x, new_net, key):
    left = new_net.up.w.shape[1]
    neg = -usefulness(net, data_train_x)  # [net_hidden]  neurons.lee:49
    keep = np.argsort(neg, axis=0, kind="stable")[:left]  # int[left]
    net_ = shrunk(net, keep, fold(key, SITES["net"]))  # neurons.lee:50
    new_net.up.w[...] = net_.up.w  # [64, left]
    new_net.up.b[...] = net_.up.b  # [left]
    new_net.down.w[...] = net_.down.w  # [left, 10]
    new_net.down.b[...] = net_.down.b  # [10]


def example_without_some(key):
    net = Net(5, 7, classes=3, key=fold(key, SITES["net"]))  # neurons.lee:56
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  neurons.lee:57
    c = normal(fold(key, SITES["c"]), (9, 3), FLOAT)  # [9, 3]  neurons.lee:58
    score, saved_usefulness = usefulness_saved(net, x)  # neurons.lee:59
    keep = np.argsort(-score, axis=0, kind="stable")[:4]  # int[4]
    net_ = shrunk(net, keep, fold(key, SITES["shrunk"]))  # neurons.lee:60
    d_c, saved_net_ = net_.forward_saved(x)
    d_net_, d_x_2 = net_.forward_backward(x, saved_net_, c)
    d_net = shrunk_backward(keep, 7, d_net_)
    d_net_2, d_x_3 = usefulness_backward(net, x, saved_usefulness, 2 * score)  # neurons.lee:59
    return (
        (c * d_c).sum() + (score**2).sum(),
        net.at(
            {
                "up": {"w": d_net["up"]["w"] + d_net_2["up"]["w"], "b": d_net["up"]["b"] + d_net_2["up"]["b"]},
                "down": {"w": d_net["down"]["w"] + d_net_2["down"]["w"], "b": d_net["down"]["b"]},
            }
        ),
        d_x_2 + d_x_3,
        d_c,
    )


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


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(axis=1) == y).astype(FLOAT).mean()  # metrics.lee:9


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

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.maximum(x, 0)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "down": 0x672F5B678D49ED61,
    "net": 0xF087C76970C91612,
    "shrunk": 0xAFC242589A92B516,
    "up": 0xDD49F622B87D879F,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
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


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
