"""Deep Q-learning on a pole that has to be balanced (lecture: reinforcement; Mnih et al. 2015).

q(s)_a learns r + γ max q'(s'), at moves drawn from a memory of the latest `capacity` ones, towards an older copy q' of
itself. Chance plays less and less.

Made from specs/reinforcement/dqn.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/dqn.lee
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


def temporal_difference_saved(q, target, s, a, r, next_, done, gamma=0.99):
    """As temporal_difference, and what its gradient needs."""
    n = s.shape[0]
    if target.sizes[0] != q.sizes[0]:
        raise ValueError(f"target.sizes_0 = {target.sizes[0]} must equal q.sizes_0 = {q.sizes[0]}")
    add_2, saved_q = q.forward_saved(s)  # dqn.lee:19
    taken = add_2[np.arange(n), inside(a)]  # [n]
    best = target(next_.reshape(n, target.sizes[0])).max(axis=1, initial=-np.inf)  # [n]  dqn.lee:20
    goal = r + np.where(done, 0, gamma * best)  # [n]  dqn.lee:21
    mean, saved_mse = mse_saved(taken, stop(goal))  # dqn.lee:22
    return mean, (saved_q, saved_mse)


def temporal_difference_backward(q, s, a, saved, d_mean):
    """From d_mean to the gradients by q and s."""
    saved_q, saved_mse = saved
    n = s.shape[0]
    # gradient of return mse(taken, stop(goal))   dqn.lee:22
    d_taken = mse_backward(saved_mse, d_mean)  # [n]
    # gradient of taken[i] = q(s)[i, a[i]]   dqn.lee:19
    d_add_2 = scatter_add(d_taken, (np.arange(n), a), (n, q.sizes[2]))  # [n, q.sizes_2]
    d_q, d_s = q.forward_backward(s, saved_q, d_add_2)
    return d_q, d_s


def temporal_difference_backward_parameters(q, s, a, saved, d_mean):
    """From d_mean to the gradient by q."""
    saved_q, saved_mse = saved
    n = s.shape[0]
    # gradient of return mse(taken, stop(goal))   dqn.lee:22
    d_taken = mse_backward(saved_mse, d_mean)  # [n]
    # gradient of taken[i] = q(s)[i, a[i]]   dqn.lee:19
    d_add_2 = scatter_add(d_taken, (np.arange(n), a), (n, q.sizes[2]))  # [n, q.sizes_2]
    d_q = q.forward_backward_parameters(s, saved_q, d_add_2)
    return d_q


def example_remembered(key):
    """Five moves, the last one the end of an episode."""
    q = MLP((4, 8, 2), key=fold(key, SITES["q"]))  # dqn.lee:27
    target = MLP((4, 8, 2), key=fold(key, SITES["target"]))  # dqn.lee:28
    s = normal(fold(key, SITES["s"]), (5, 4), FLOAT)  # [5, 4]  dqn.lee:29
    next_ = normal(fold(key, SITES["next"]), (5, 4), FLOAT)  # [5, 4]  dqn.lee:30
    a = randint(fold(key, SITES["a"]), (5,), 0, 2)  # int[5]  dqn.lee:31
    r = normal(fold(key, SITES["r"]), (5,), FLOAT)  # [5]  dqn.lee:32
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (5,), (slice(4, 5),))  # bool[5]  dqn.lee:34
    done_2 = np.where(unslice_, unslice_, False)  # bool[5]
    value, saved_temporal_difference = temporal_difference_saved(q, target, s, a, r, next_, done_2)  # dqn.lee:35
    d_q, d_s = temporal_difference_backward(q, s, a, saved_temporal_difference, FLOAT(1.0))
    return (
        value,
        q.at(d_q),
        q.at(
            {
                "layers.0": {"w": np.zeros((4, 8), dtype=FLOAT), "b": np.zeros(8, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((8, 2), dtype=FLOAT), "b": np.zeros(2, dtype=FLOAT)},
            }
        ),
        d_s,
        np.zeros((5, 4), dtype=FLOAT),
        np.zeros(5, dtype=FLOAT),
    )


def dqn(steps=30000, capacity=10000, batch=128, warmup=500, sync=200, explore=5000, rate=1e-3, *, run=None):
    """By chance at first; from step `explore` on one move in twenty."""
    from leec.runtime.run import Run

    run = run or Run("dqn")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))  # dqn.lee:13
    q = MLP(sizes=(4, 64, 2), key=run.key("q"))  # dqn.lee:40
    target = q.copy()  # dqn.lee:41
    opt = Adam(lr=rate)  # dqn.lee:42
    memory = dqn_memory(capacity)  # dqn.lee:43
    action = dqn_action(capacity)  # dqn.lee:44
    reward = dqn_reward(capacity)  # dqn.lee:45
    after = dqn_after(capacity)  # dqn.lee:46
    ended = dqn_ended(capacity)  # dqn.lee:47
    s = cartpole.reset(run.key("s"))  # dqn.lee:48
    score = 0.0  # dqn.lee:49
    action, after, ended, memory, reward, s, score, target = run.restore(
        "t", action=action, after=after, ended=ended, memory=memory, reward=reward, s=s, score=score, target=target
    )
    for t in run.loop("t", 0, steps - 1, opt=opt, q=q, cartpole=cartpole):
        eps = max(0.05, 1 - t / explore)  # dqn.lee:51
        condition = dqn_condition(eps, key=run.key("dqn"))  # dqn.lee:52
        if condition:
            a = dqn_a(key=run.key("dqn"))  # dqn.lee:54
        else:
            a = dqn_a_2(q, s)  # dqn.lee:56
        next_, r, terminated, truncated = cartpole.step(a)  # dqn.lee:57
        slot = t % capacity  # dqn.lee:58
        memory[slot] = s  # dqn.lee:59
        action[slot] = a  # dqn.lee:60
        reward[slot] = r  # dqn.lee:61
        after[slot] = next_  # dqn.lee:62
        ended[slot] = terminated  # dqn.lee:63
        score = score + r  # dqn.lee:64
        s = next_  # dqn.lee:65
        if terminated or truncated:
            run.report(score=score)  # dqn.lee:67
            score = 0.0  # dqn.lee:68
            s = cartpole.reset(run.key("s_2"))  # dqn.lee:69
        if t >= warmup:
            run.step(dqn_step(q, target, opt, memory, action, reward, after, ended, batch, t, key=run.key("dqn")))
        if t % sync == 0:
            target = q.copy()  # dqn.lee:74
        run.keep(
            "t", action=action, after=after, ended=ended, memory=memory, reward=reward, s=s, score=score, target=target
        )
    return q


def dqn_memory(capacity):
    memory = np.zeros((capacity, 4), dtype=FLOAT)  # [capacity, 4]  dqn.lee:43
    return memory  # [capacity, 4]


def dqn_action(capacity):
    action = np.zeros(capacity, dtype=np.int64)  # int[capacity]  dqn.lee:44
    return action  # int[capacity]


def dqn_reward(capacity):
    reward = np.zeros(capacity, dtype=FLOAT)  # [capacity]  dqn.lee:45
    return reward  # [capacity]


def dqn_after(capacity):
    after = np.zeros((capacity, 4), dtype=FLOAT)  # [capacity, 4]  dqn.lee:46
    return after  # [capacity, 4]


def dqn_ended(capacity):
    ended = np.full(capacity, False, dtype=np.bool_)  # bool[capacity]  dqn.lee:47
    return ended  # bool[capacity]


def dqn_condition(eps, key):
    u = uniform(fold(key, SITES["u"]), (), FLOAT)  # dqn.lee:52
    condition = u < eps  # dqn.lee:53
    return condition


def dqn_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 2)  # dqn.lee:54
    return a


def dqn_a_2(q, s):
    """s [4] -> []"""
    a = q.forward_2(s).argmax(axis=0)  # dqn.lee:56
    return a


def dqn_step(q, target, opt, memory, action, reward, after, ended, batch, t, key):
    """One step of dqn."""
    capacity = memory.shape[0]
    i = randint(fold(key, SITES["i"]), (batch,), 0, min(t + 1, capacity))  # int[batch]  dqn.lee:71
    gather = memory[inside(i)]  # [batch, 4]  dqn.lee:72
    gather_2 = action[inside(i)]  # int[batch]
    gather_3 = reward[inside(i)]  # [batch]
    gather_4 = after[inside(i)]  # [batch, 4]
    gather_5 = ended[inside(i)]  # bool[batch]
    loss, saved_temporal_difference = temporal_difference_saved(
        q, target, gather, gather_2, gather_3, gather_4, gather_5
    )
    d_loss = FLOAT(1.0)
    d_q = temporal_difference_backward_parameters(q, gather, gather_2, saved_temporal_difference, d_loss)
    opt.update(q.parameters, q.flat(d_q))
    return loss


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub**2), sub


def mse_backward(sub, d_mean):
    """From d_mean to the gradient by y."""
    y_0 = sub.shape[0]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, d_mean) * sub)  # [y_0]
    return d_y  # [y_0]


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

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}

    def forward_2(self, x):
        """x [sizes_0] -> [sizes_2]"""
        x_2 = relu_2(self.layers[0](x[None]).reshape(self.sizes[1]))  # [sizes_1]  nn.lee:41
        return self.layers[1](x_2[None]).reshape(self.sizes[2])  # [sizes_2]  nn.lee:42


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


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x  # [x_0]


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


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0] -> [x_0]
    """
    return np.maximum(x, 0)  # [x_0]  prelude.lee:61


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "i": 0x3C67888C3C79D1D4,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "next": 0x1637742F7A98A1A9,
    "q": 0x3514BD29FB70352B,
    "r": 0xF1DC5A7F078E3ACB,
    "s": 0xDE6ECFAAC38449E6,
    "target": 0x41DEDA04111F843F,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
}


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
