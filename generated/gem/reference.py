"""Gradient episodic memory: no step may raise the loss on a remembered task (lecture: lifelong; Lopez-Paz, Ranzato 2017).

A few rows of every task are kept. A gradient that points against that of a memory is moved as little as possible, until
it does not.

Made from specs/lifelong/gem.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/lifelong/gem.lee
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


def project(g, past, steps=100, margin=0.0):
    """min |z - g|² with past @ z >= 0, by projected gradient on the dual.

    g [p], past [k, p] -> [p]
    """
    k = past.shape[0]
    gram = past @ past.T  # [k, k]  gem.lee:16
    inner = past @ g  # [k]  gem.lee:17
    rate = 1 / (norm(gram) + 1e-12)  # gem.lee:18
    v = np.full(k, margin, dtype=FLOAT)  # [k]  gem.lee:19
    # gem.lee:20
    for s in range(steps):
        v = project_step(v, gram, inner, rate, margin)
    return np.where((inner >= 0).all(), g, g + v @ past)  # [p]  gem.lee:22


def project_saved(g, past, steps=100, margin=0.0):
    """As project, and what its gradient needs."""
    k = past.shape[0]
    gram = past @ past.T  # [k, k]  gem.lee:16
    inner = past @ g  # [k]  gem.lee:17
    sqrt, saved_norm = norm_saved(gram)  # gem.lee:18
    add = sqrt + 1e-12
    rate = 1 / add
    v = np.full(k, margin, dtype=FLOAT)  # [k]  gem.lee:19
    saved_project_step = [None] * steps  # gem.lee:20
    for s in range(steps):
        v, saved_project_step[s] = project_step_saved(v, gram, inner, rate, margin)
    all_ = (inner >= 0).all()  # gem.lee:22
    saved = gram, sqrt, saved_norm, add, rate, v, saved_project_step, all_
    return np.where(all_, g, g + v @ past), saved


def project_backward(g, past, margin, saved, steps, d_y):
    """From d_y to the gradients by g and past."""
    gram, sqrt, saved_norm, add, rate, v_4, saved_project_step, all_ = saved
    k = past.shape[0]
    # gradient of return where(all(inner >= 0), g, g + v @ past)   gem.lee:22
    d_add_2 = np.where(all_, 0, d_y)  # [p]
    d_v_4 = past @ d_add_2  # [k]
    # gradient of for s in steps:   gem.lee:20
    d_inner_rows = np.empty((steps, k), dtype=FLOAT)  # [steps, k]
    v_rows_2 = np.empty((steps, k), dtype=FLOAT)  # [steps, k]
    d_rate_rows = np.empty((steps,), dtype=FLOAT)  # [steps]
    for s in reversed(range(steps)):
        d_v_4, d_inner_rows[s], v_rows_2[s], d_rate_rows[s] = project_step_backward(
            saved_project_step[s], gram, rate, margin, d_v_4
        )
    d_inner = d_inner_rows.sum(axis=0)  # [k]
    d_rate = d_rate_rows.sum()
    # gradient of rate = 1 / (norm(gram) + 1e-12)   gem.lee:18
    d_gram_3 = norm_backward(gram, saved_norm, sqrt, -(d_rate * rate / add))  # [k, k]
    # gradient of gram = past @ past.T   gem.lee:16
    d_gram = d_inner_rows.T @ v_rows_2 + d_gram_3  # [k, k]
    d_g = masked(d_y, all_) + d_add_2 + d_inner @ past  # [p]
    d_past_6 = v_4[:, None] * d_add_2 + d_inner[:, None] * g  # [k, p]
    d_past = d_past_6 + d_gram @ past + d_gram.T @ past  # [k, p]
    return d_g, d_past


def project_step(v, gram, inner, rate, margin):
    """v [k], gram [k, k], inner [k] -> [k]"""
    v_3 = np.maximum(v - rate * (gram @ v + inner), margin)  # [k]  gem.lee:21
    return v_3  # [k]


def project_step_saved(v, gram, inner, rate, margin):
    """As project_step, and what its gradient needs."""
    add = gram @ v + inner  # [k]  gem.lee:21
    sub = v - rate * add  # [k]
    v_3 = np.maximum(sub, margin)  # [k]
    return v_3, (add, sub, v)


def project_step_backward(saved, gram, rate, margin, d_v_3):
    """From d_v_3 to the gradients by v, inner and rate."""
    add, sub, v = saved
    # gradient of v = max(v - rate * (gram @ v + inner), margin)   gem.lee:21
    ge = sub >= margin  # bool[k]
    d_rate = masked(-d_v_3 * add, ge).sum()
    d_inner = masked(-d_v_3 * rate, ge)  # [k]
    d_v = masked(d_v_3, ge) + d_inner @ gram  # [k]
    return d_v, d_inner, v, d_rate


def example_against_the_past(key):
    g = normal(fold(key, SITES["g"]), (6,), FLOAT)  # [6]  gem.lee:26
    past = normal(fold(key, SITES["past"]), (2, 6), FLOAT)  # [2, 6]  gem.lee:27
    select, saved_project = project_saved(g, past)  # gem.lee:28
    d_g, d_past = project_backward(g, past, 0.0, saved_project, 100, 2 * select)
    return (select**2).sum(), d_g, d_past


def lifelong(tasks, kept=64, batch=32, epochs=5, rate=0.1, *, run=None):
    """One task after the other; what is learned of each is reported for all of them at the end."""
    from leec.runtime.run import Run

    run = run or Run("lifelong")
    net = MLP(sizes=(3, 64, 5), key=run.key("net"))  # gem.lee:33
    opt = SGD(lr=rate)  # gem.lee:34
    memory = []  # gem.lee:35
    (memory,) = run.restore("task", memory=memory)
    for task in run.each("task", tasks, net=net, opt=opt):
        for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
            for x, y in run.batches("batches", task.train, batch, shuffle=True):
                g = lifelong_g(net, x, y)  # gem.lee:39
                if len(memory) > 0:
                    past_each = []  # gem.lee:41
                    for m in run.each("m", memory):
                        past_each_item = lifelong_past_each_item(net, m.x, m.y)  # gem.lee:41
                        past_each.append(past_each_item)  # gem.lee:41
                    past = run.stack(past_each)  # gem.lee:41
                    g = lifelong_g_2(g, past)  # gem.lee:42
                lifelong_step(net, opt, g)  # gem.lee:43
        memory_item = run.sample("memory_item_2", task.train, kept)  # gem.lee:44
        memory.append(memory_item)  # gem.lee:44
        run.keep("task", memory=memory)
    total = 0.0  # gem.lee:45
    (total,) = run.restore("k", total=total)
    for k in run.loop("k", 0, len(tasks) - 1):
        right = lifelong_right(net, tasks[k].test.x, tasks[k].test.y)  # gem.lee:47
        run.report({f"accuracy[{k}]": right})  # gem.lee:48
        total = total + right  # gem.lee:49
        run.keep("k", total=total)
    run.report(kept=total / len(tasks))  # gem.lee:50
    return net


def lifelong_g(net, x, y):
    """x [batches_n, 3], y int[batches_n] -> [581]"""
    add_2, saved_net = net.forward_saved(x)  # gem.lee:39
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 5]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    # [581]
    g = np.concatenate(
        (d_net["layers.0"]["w"].ravel(), d_net["layers.0"]["b"], d_net["layers.1"]["w"].ravel(), d_net["layers.1"]["b"])
    )
    return g  # [581]


def lifelong_past_each_item(net, m_x, m_y):
    """m_x [kept, 3], m_y int[kept] -> [581]"""
    add_2, saved_net = net.forward_saved(m_x)  # gem.lee:41
    d_add_2 = cross_entropy_backward(add_2, m_y, FLOAT(1.0))  # [kept, 5]
    d_net = net.forward_backward_parameters(m_x, saved_net, d_add_2)
    # [581]
    past_each_item = np.concatenate(
        (d_net["layers.0"]["w"].ravel(), d_net["layers.0"]["b"], d_net["layers.1"]["w"].ravel(), d_net["layers.1"]["b"])
    )
    return past_each_item  # [581]


def lifelong_g_2(g, past):
    """g [581], past [past_n, 581] -> [581]"""
    g_2 = project(g, past)  # [581]  gem.lee:42
    return g_2  # [581]


def lifelong_step(net, opt, g):
    """One step of lifelong."""
    unflatten_, unflatten_2, unflatten_3, unflatten_4 = unflatten(g, ((3, 64), (64,), (64, 5), (5,)))  # gem.lee:43
    opt.update(
        net.parameters,
        net.flat({"layers.0": {"w": unflatten_, "b": unflatten_2}, "layers.1": {"w": unflatten_3, "b": unflatten_4}}),
    )


def lifelong_right(net, tasks_item_test_x, tasks_item_test_y):
    """tasks_item_test_x [tasks_n_3, 3], tasks_item_test_y int[tasks_n_3] -> []"""
    right = accuracy(net(tasks_item_test_x), tasks_item_test_y)  # gem.lee:47
    return right


def in_turn(epochs=5, kept=64, *, run=None):
    """Three sets of clouds with the same names for other places."""
    from leec.runtime.run import Run

    run = run or Run("in_turn")
    first = run.data(
        "blobs",
        n=600,
        classes=5,
        features=3,
        spread=3.0,
        seed=1,
        standardize=True,
        test=0.2,
        fields={"x": ("float", ("n", 3)), "y": ("int", ("n",))},
    )
    second = run.data(
        "blobs",
        n=600,
        classes=5,
        features=3,
        spread=3.0,
        seed=2,
        standardize=True,
        test=0.2,
        fields={"x": ("float", ("n", 3)), "y": ("int", ("n",))},
    )
    third = run.data(
        "blobs",
        n=600,
        classes=5,
        features=3,
        spread=3.0,
        seed=3,
        standardize=True,
        test=0.2,
        fields={"x": ("float", ("n", 3)), "y": ("int", ("n",))},
    )
    net = lifelong(tasks=[first, second, third], kept=kept, batch=32, epochs=epochs, run=run.call("lifelong"))
    return net


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def cross_entropy_backward(z, y, d_mean):
    """From d_mean to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_mean)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced_backward(each_0, d_mean):
    """From d_mean to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_mean / each_0, (each_0,))  # [each_0]
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


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_2]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [x_0, sizes_2]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g in blocks(parameters, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


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


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_y * 0.5 / np.where(sum_ > 0, sqrt, np.inf)) * x  # [x_0, x_1]
    return d_x  # [x_0, x_1]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "g": 0xBC30DBAED87C766C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "past": 0xE8C08E8A8E7D4FE6,
    "w": 0x20925082A2286B9E,
}


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def unflatten(x, shapes):
    """The arrays of given shapes that lie one after the other in a vector."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True))


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
