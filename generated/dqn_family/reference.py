"""What Q-learning with a net became (lecture: reinforcement, DQN): six changes, most of which go together.

Double (van Hasselt et al. 2016), dueling (Wang et al. 2016), steps of several moves (Sutton 1988), prioritised memory
(Schaul et al. 2016), noisy nets (Fortunato et al. 2018), values as distributions (Bellemare et al. 2017).

Made from specs/reinforcement/dqn_family.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/dqn_family.lee
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


@packed(0, q=(0, 2), a=(0, 1))
def of(q, a):
    """What q says of the actions a.

    q [.., k], a int[..] -> [..]
    """
    rows = q.shape[0]
    found = q[np.arange(rows), inside(a)]  # [rows]  dqn_family.lee:19
    return found  # [rows]


def of_backward(a, k, d_found):
    """From d_found to the gradient by q."""
    rows = a.shape[0]
    # gradient of found[i] = q[i, a[i]]   dqn_family.lee:19
    d_q = scatter_add(d_found, (np.arange(rows), a), (rows, k))  # [rows, k]
    return d_q  # [rows, k]


def double_value_saved(q, target, s):
    """As double_value, and what its gradient needs."""
    rows = s.shape[0]
    if q.sizes[0] != target.sizes[0]:
        raise ValueError(f"q.sizes_0 = {q.sizes[0]} must equal target.sizes_0 = {target.sizes[0]}")
    add_2, saved_target = target.forward_saved(s)  # dqn_family.lee:28
    argmax = q(s.reshape(rows, q.sizes[0])).argmax(axis=1)  # int[rows]
    return of(add_2, argmax), (saved_target, argmax)


def double_value_backward(target, s, saved, d_found):
    """From d_found to the gradients by target and s."""
    saved_target, argmax = saved
    # gradient of return of(target(s), argmax(q(s), axis = -1))   dqn_family.lee:28
    d_add_2 = of_backward(argmax, target.sizes[2], d_found)  # [rows, target.sizes_2]
    d_target, d_s = target.forward_backward(s, saved_target, d_add_2)
    return d_target, d_s


@packed(0, s=(0, 2))
def double_value_2(q, target, s):
    """The net chooses the action, its older copy says what it is worth: no maximum of errors.

    s [.., target.inputs] -> [..]
    """
    rows = s.shape[0]
    if q.inputs != target.inputs:
        raise ValueError(f"q.inputs = {q.inputs} must equal target.inputs = {target.inputs}")
    return of(target(s), q(s.reshape(rows, q.inputs)).argmax(axis=1))  # [rows]  dqn_family.lee:28


def several(reward, over, cut_, after, gamma=0.99):
    """Σ γʲ rⱼ of k moves, and γᵏ times what comes after them. An end comes first; where time ran out, `after` does.

    reward [n, k], over bool[n, k], cut bool[n, k], after [n, k] -> [n]
    """
    k = reward.shape[1]
    total = after[:, -1]  # [n]  dqn_family.lee:33
    # dqn_family.lee:34
    for j in reversed(range(k)):
        total = several_step(total, reward[:, j], over[:, j], cut_[:, j], after[:, j], gamma)
    return total  # [n]


def several_backward(over, cut_, gamma, d_total_4):
    """From d_total_4 to the gradients by reward and after."""
    n, k = over.shape
    # gradient of for j in reversed(k):   dqn_family.lee:34
    d_reward = np.empty((n, k), dtype=FLOAT)  # [n, k]
    d_after_2 = np.empty((n, k), dtype=FLOAT)  # [n, k]
    for j in range(k):
        d_total_4, d_reward[:, j], d_after_2[:, j] = several_step_backward(over[:, j], cut_[:, j], gamma, d_total_4)
    # gradient of total = after[:, k - 1]   dqn_family.lee:33
    d_slice = d_total_4[:, None]  # [n, 1]
    d_after = d_after_2 + unslice(d_slice, (n, k), (slice(0, n), slice(k - 1, k)))  # [n, k]
    return d_reward, d_after


def several_step(total, reward_j, over_j, cut_j, after_j, gamma):
    """total [n], reward_j [n], over_j bool[n], cut_j bool[n], after_j [n] -> [n]"""
    total_3 = reward_j + gamma * np.where(over_j, 0, np.where(cut_j, after_j, total))  # [n]  dqn_family.lee:35
    return total_3  # [n]


def several_step_backward(over_j, cut_j, gamma, d_total_3):
    """From d_total_3 to the gradients by total, reward_j and after_j."""
    select = np.where(over_j, 0, d_total_3 * gamma)  # [n]
    d_total = np.where(over_j, 0, np.where(cut_j, 0, select))  # [n]
    return d_total, d_total_3, np.where(over_j, 0, masked(select, cut_j))


def priorities(error, whole, alpha=0.6, eps=1e-3):
    """How often a place is drawn: more often if what it holds surprised.

    error [n], whole bool[n] -> [n]
    """
    p = masked((np.abs(error) + eps) ** alpha, whole)  # [n]  dqn_family.lee:44
    return p / p.sum()  # [n]  dqn_family.lee:45


def priorities_saved(error, whole, alpha=0.6, eps=1e-3):
    """As priorities, and what its gradient needs."""
    add = np.abs(error) + eps  # [n]  dqn_family.lee:44
    p = masked(add**alpha, whole)  # [n]
    p_sum = p.sum()  # dqn_family.lee:45
    return p / p_sum, (add, p_sum)


def priorities_backward(error, whole, alpha, saved, div, d_y):
    """From d_y to the gradient by error."""
    add, p_sum = saved
    # gradient of p = where(whole, (abs(error) + eps) ** alpha, 0)   dqn_family.lee:44
    d_p = d_y / p_sum - (d_y * div / p_sum).sum()  # [n]
    mul_2 = alpha * add ** ((1.0 if alpha == 0.0 else alpha) - 1.0)  # [n]
    d_error = masked(d_p * mul_2 * np.sign(error), whole)  # [n]
    return d_error  # [n]


def complete(t, capacity, moves):
    """Which places of a memory in use since t steps begin with as many moves in a row: not the last ones, nor those yet unused."""
    age = (t - np.arange(capacity)) % capacity  # int[capacity]  dqn_family.lee:50
    return (age > moves - 2) & (np.arange(capacity) <= t)  # bool[capacity]  dqn_family.lee:51


def stored(memory, i, x):
    """memory [n], i int[m], x [m] -> [n]"""
    memory_2 = scatter_set(memory, x, (i,))  # [n]
    return memory_2  # [n]


def stored_backward(i, d_memory_2):
    """From d_memory_2 to the gradients by memory and x."""
    m = i.shape[0]
    d_memory = scatter_set(d_memory_2, np.zeros(m, dtype=FLOAT), (i,))  # [n]
    d_x = d_memory_2[i]  # [m]
    return d_memory, d_x


def corrections_saved(chance, count, beta=0.4):
    """As corrections, and what its gradient needs."""
    mul = count * chance  # [n]  dqn_family.lee:61
    w = mul**-beta  # [n]
    w_max = w.max(initial=-np.inf)  # dqn_family.lee:62
    return w / w_max, (mul, w, w_max)


def corrections_backward(beta, saved, div, count, d_div):
    """From d_div to the gradient by chance."""
    mul, w, w_max = saved
    n = mul.shape[0]
    # gradient of return w / max(w)   dqn_family.lee:62
    eq = np.arange(n) == w.argmax(axis=0)  # bool[n]
    # gradient of w = (count * chance) ** -beta   dqn_family.lee:61
    d_w = d_div / w_max + masked(-(d_div * div / w_max).sum(), eq)  # [n]
    mul_3 = -beta * mul ** ((1.0 if -beta == 0.0 else -beta) - 1.0)  # [n]
    d_chance = d_w * mul_3 * count  # [n]
    return d_chance  # [n]


def corrections_2(chance, count, beta=0.4):
    """(1 / (N p))^β, over the largest: what is drawn more often counts less.

    chance [n] -> [n]
    """
    w = (count * chance) ** -beta  # [n]  dqn_family.lee:61
    return w / w.max(initial=-np.inf)  # [n]  dqn_family.lee:62


def weighted_saved(q, s, a, goal, weight):
    """As weighted, and what its gradient needs."""
    sub, saved_q = q.forward_saved(s)  # dqn_family.lee:66
    sub_2 = of(sub, a) - stop(goal)  # [n]
    mul = sub_2**2  # [n]
    return (weight * mul).mean(), (saved_q, sub_2, mul)


def weighted_backward(q, s, a, weight, saved, d_mean):
    """From d_mean to the gradients by q, s and weight."""
    saved_q, sub_2, mul = saved
    n = s.shape[0]
    # gradient of return mean(weight * (of(q(s), a) - stop(goal)) ** 2)   dqn_family.lee:66
    div = d_mean / n
    d_weight = div * mul  # [n]
    d_sub = of_backward(a, q.actions, 2 * (div * weight * sub_2))  # [n, q.actions]
    d_q, d_s = q.forward_backward(s, saved_q, d_sub)
    return d_q, d_s, d_weight


def weighted_backward_parameters(q, s, a, weight, saved, d_mean):
    """From d_mean to the gradient by q."""
    saved_q, sub_2, _ = saved
    n = s.shape[0]
    # gradient of return mean(weight * (of(q(s), a) - stop(goal)) ** 2)   dqn_family.lee:66
    d_sub = of_backward(a, q.actions, 2 * (d_mean / n * weight * sub_2))  # [n, q.actions]
    d_q = q.forward_backward_parameters(s, saved_q, d_sub)
    return d_q


class Dueling(Model):
    """A value of the state, and what each action has over the mean of all."""

    members = ("trunk", "value", "gain")

    def __init__(self, inputs, hidden, actions, *, key=(0, 0)):
        self.inputs, self.hidden, self.actions = inputs, hidden, actions
        self.trunk = Linear(inputs, hidden, key=fold(key, SITES["trunk"]))  # dqn_family.lee:74
        self.value = Linear(hidden, 1, key=fold(key, SITES["value"]))  # dqn_family.lee:75
        self.gain = Linear(hidden, actions, key=fold(key, SITES["gain"]))  # dqn_family.lee:76
        self.lay_out()

    def forward(self, s):
        """s [s_0, inputs] -> [s_0, actions]"""
        h = relu(self.trunk(s))  # [s_0, hidden]  dqn_family.lee:79
        more = self.gain(h)  # [s_0, actions]  dqn_family.lee:80
        return self.value(h) + more - more.mean(axis=1, keepdims=True)  # [s_0, actions]  dqn_family.lee:81

    def forward_saved(self, s):
        """As forward, and what its gradient needs."""
        h = relu(self.trunk(s))  # [s_0, hidden]  dqn_family.lee:79
        more = self.gain(h)  # [s_0, actions]  dqn_family.lee:80
        return self.value(h) + more - more.mean(axis=1, keepdims=True), h  # dqn_family.lee:81

    def forward_backward(self, s, h, d_y):
        """From d_y to the gradients by the parameters and s."""
        # gradient of return value(h) + more - mean(more, axis = -1, keepdims = true)   dqn_family.lee:81
        sum_ = d_y.sum(axis=1, keepdims=True)  # [s_0, 1]
        d_value, d_h_2 = self.value.forward_backward(h, sum_)
        # gradient of more = gain(h)   dqn_family.lee:80
        d_more = -sum_ / self.actions + d_y  # [s_0, actions]
        d_gain, d_h_3 = self.gain.forward_backward(h, d_more)
        # gradient of h = relu(trunk(s))   dqn_family.lee:79
        d_h = d_h_2 + d_h_3  # [s_0, hidden]
        d_trunk, d_s = self.trunk.forward_backward(s, relu_backward(h, d_h))
        return {"trunk": d_trunk, "value": d_value, "gain": d_gain}, d_s

    def forward_backward_parameters(self, s, h, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return value(h) + more - mean(more, axis = -1, keepdims = true)   dqn_family.lee:81
        sum_ = d_y.sum(axis=1, keepdims=True)  # [s_0, 1]
        d_value, d_h_2 = self.value.forward_backward(h, sum_)
        # gradient of more = gain(h)   dqn_family.lee:80
        d_more = -sum_ / self.actions + d_y  # [s_0, actions]
        d_gain, d_h_3 = self.gain.forward_backward(h, d_more)
        # gradient of h = relu(trunk(s))   dqn_family.lee:79
        d_h = d_h_2 + d_h_3  # [s_0, hidden]
        d_trunk = Linear.forward_backward_parameters(s, relu_backward(h, d_h))
        return {"trunk": d_trunk, "value": d_value, "gain": d_gain}

    def forward_2(self, s):
        """s [inputs] -> [actions]"""
        h = relu_2(self.trunk(s[None]).reshape(self.hidden))  # [hidden]  dqn_family.lee:79
        more = self.gain(h[None]).reshape(self.actions)  # [actions]  dqn_family.lee:80
        add = self.value(h[None]).reshape(1) + more  # [actions]  dqn_family.lee:81
        return add - more.mean(axis=0, keepdims=True)  # [actions]


def signed_root(x):
    """x [x_0] -> [x_0]"""
    return np.sign(x) * np.sqrt(np.abs(x))  # [x_0]  dqn_family.lee:85


def signed_root_saved(x):
    """As signed_root, and what its gradient needs."""
    sign_x = np.sign(x)  # [x_0]  dqn_family.lee:85
    abs_x = np.abs(x)  # [x_0]
    sqrt = np.sqrt(abs_x)  # [x_0]
    return sign_x * sqrt, (sign_x, abs_x, sqrt)


def signed_root_backward(x, saved, d_y):
    """From d_y to the gradient by x."""
    sign_x, abs_x, sqrt = saved
    # gradient of return sign(x) * sqrt(abs(x))   dqn_family.lee:85
    d_x = d_y * sign_x * 0.5 / np.where(abs_x > 0, sqrt, np.inf) * np.sign(x)  # [x_0]
    return d_x  # [x_0]


class NoisyLinear(Model):
    """Weights w + σ ε with learned σ, so that the net itself says how much is tried; ε is a product of two draws."""

    members = ("w", "b", "w_spread", "b_spread")

    def __init__(self, inputs, outputs, spread=0.5, *, key=(0, 0)):
        self.inputs, self.outputs, self.spread = inputs, outputs, spread
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  dqn_family.lee:91
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  dqn_family.lee:92
        div_3 = spread / math.sqrt(inputs)  # dqn_family.lee:93
        self.w = 2 / math.sqrt(inputs) * uniform_ - 1 / math.sqrt(inputs)  # [inputs, outputs]  dqn_family.lee:91
        self.b = 2 / math.sqrt(inputs) * uniform_2 - 1 / math.sqrt(inputs)  # [outputs]  dqn_family.lee:92
        self.w_spread = np.full((inputs, outputs), div_3, dtype=FLOAT)  # [inputs, outputs]  dqn_family.lee:93
        self.b_spread = np.full(outputs, div_3, dtype=FLOAT)  # [outputs]  dqn_family.lee:94
        self.bound = 1 / math.sqrt(inputs)  # dqn_family.lee:90
        self.lay_out()

    def forward(self, x, into, out):
        """x [n, inputs], into [inputs], out [outputs] -> [n, outputs]"""
        e = signed_root(out)  # [outputs]  dqn_family.lee:97
        contract = x @ (self.w + self.w_spread * outer(signed_root(into), e))  # [n, outputs]  dqn_family.lee:98
        return contract + self.b + self.b_spread * e  # [n, outputs]

    def forward_saved(self, x, into, out):
        """As forward, and what its gradient needs."""
        e, saved_signed_root = signed_root_saved(out)  # dqn_family.lee:97
        mul, saved_signed_root_ = signed_root_saved(into)  # dqn_family.lee:98
        product = outer(mul, e)  # [inputs, outputs]
        add = self.w + self.w_spread * product  # [inputs, outputs]
        return x @ add + self.b + self.b_spread * e, (e, saved_signed_root, mul, saved_signed_root_, product, add)

    def forward_backward(self, x, into, out, saved, d_y):
        """From d_y to the gradients by the parameters, x, into and out."""
        e, saved_signed_root, mul, saved_signed_root_, product, add = saved
        # gradient of return x @ (w + w_spread * outer(signed_root(into), e)) + b + b_spread * e   dqn_family.lee:98
        d_b = d_y.sum(axis=0)  # [outputs]
        d_b_spread = d_b * e  # [outputs]
        d_x = d_y @ add.T  # [n, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        d_w_spread = d_w * product  # [inputs, outputs]
        d_mul, d_e_3 = outer_backward(mul, e, d_w * self.w_spread)
        d_into = signed_root_backward(into, saved_signed_root_, d_mul)  # [inputs]
        # gradient of e = signed_root(out)   dqn_family.lee:97
        d_e = d_b * self.b_spread + d_e_3  # [outputs]
        d_out = signed_root_backward(out, saved_signed_root, d_e)  # [outputs]
        return {"w": d_w, "b": d_b, "w_spread": d_w_spread, "b_spread": d_b_spread}, d_x, d_into, d_out


def projected(p, r, over, low, high, gamma=0.99):
    """The distribution of r + γ z on the k values z between low and high again: each share goes to its two neighbours.

    p [n, k], r [n], over bool[n] -> [n, k]
    """
    n, k = p.shape
    step = (high - low) / (k - 1)  # dqn_family.lee:106
    z = low + step * np.arange(k).astype(FLOAT)  # [k]  dqn_family.lee:107
    add = r[:, None] + gamma * np.where(over[:, None], 0, z)  # [n, k]  dqn_family.lee:108
    goal = np.minimum(np.maximum(add, low), high)  # [n, k]  prelude.lee:153
    maximum_2 = np.maximum(0, 1 - np.abs(goal[:, None] - z[:, None]) / step)  # [n, k, k]  dqn_family.lee:109
    share = (maximum_2 @ p[:, :, None]).reshape(n, k)  # [n, k]
    return share  # [n, k]


def distributional(score, goal):
    """The cross-entropy of the distribution that was predicted.

    score [n, k], goal [n, k] -> []
    """
    return -(goal * log_softmax(score, (1,))).sum(axis=1).mean()  # dqn_family.lee:115


def example_doubled(key):
    q = MLP((4, 8, 3), key=fold(key, SITES["q"]))  # dqn_family.lee:119
    target = MLP((4, 8, 3), key=fold(key, SITES["target"]))  # dqn_family.lee:120
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  dqn_family.lee:121
    c = normal(fold(key, SITES["c"]), (6,), FLOAT)  # [6]  dqn_family.lee:122
    d_c, saved_double_value = double_value_saved(q, target, s)  # dqn_family.lee:123
    d_target, d_s = double_value_backward(target, s, saved_double_value, c)
    return (
        (c * d_c).sum(),
        q.at(
            {
                "layers.0": {"w": np.zeros((4, 8), dtype=FLOAT), "b": np.zeros(8, dtype=FLOAT)},
                "layers.1": {"w": np.zeros((8, 3), dtype=FLOAT), "b": np.zeros(3, dtype=FLOAT)},
            }
        ),
        q.at(d_target),
        d_s,
        d_c,
    )


def example_three_moves(key):
    reward = normal(fold(key, SITES["reward"]), (4, 3), FLOAT)  # [4, 3]  dqn_family.lee:127
    fill = np.full((1, 1), True, dtype=np.bool_)  # bool[1, 1]  dqn_family.lee:129
    unslice_ = unslice(fill, (4, 3), (slice(1, 2), slice(1, 2)))  # bool[4, 3]
    over_2 = np.where(unslice_, unslice_, False)  # bool[4, 3]
    unslice_2 = unslice(fill, (4, 3), (slice(2, 3), slice(2, 3)))  # bool[4, 3]  dqn_family.lee:130
    over_3 = np.where(unslice_2, unslice_2, over_2)  # bool[4, 3]
    unslice_3 = unslice(fill, (4, 3), (slice(0, 1), slice(1, 2)))  # bool[4, 3]  dqn_family.lee:132
    cut_2 = np.where(unslice_3, unslice_3, False)  # bool[4, 3]
    unslice_4 = unslice(fill, (4, 3), (slice(3, 4), slice(2, 3)))  # bool[4, 3]  dqn_family.lee:133
    cut_3 = np.where(unslice_4, unslice_4, cut_2)  # bool[4, 3]
    after = normal(fold(key, SITES["after"]), (4, 3), FLOAT)  # [4, 3]  dqn_family.lee:134
    total_4 = several(reward, over_3, cut_3, after)  # [4]  dqn_family.lee:135
    d_reward, d_after = several_backward(over_3, cut_3, 0.99, 2 * total_4)
    return (total_4**2).sum(), d_reward, d_after


def example_drawn_more(key):
    error = normal(fold(key, SITES["error"]), (6,), FLOAT)  # [6]  dqn_family.lee:139
    c = normal(fold(key, SITES["c"]), (6,), FLOAT)  # [6]  dqn_family.lee:140
    fill_2 = np.full(1, True, dtype=np.bool_)  # bool[1]  dqn_family.lee:142
    fill = np.full(1, False, dtype=np.bool_)  # bool[1]
    unslice_ = unslice(fill_2, (6,), (slice(4, 5),))  # bool[6]
    whole_2 = np.where(unslice_, unslice(fill, (6,), (slice(4, 5),)), True)  # bool[6]
    p, saved_priorities = priorities_saved(error, whole_2)  # dqn_family.lee:143
    x = normal(fold(key, SITES["x"]), (2,), FLOAT)  # [2]  dqn_family.lee:144
    slice_ = c[:4]  # [4]  dqn_family.lee:145
    div, saved_corrections = corrections_saved(p[:4], 6)
    mul_3 = 3 * np.arange(2)  # int[2]
    memory_2 = stored(error, mul_3, x)  # [6]
    d_error_2, d_x = stored_backward(mul_3, c)
    d_slice_2 = corrections_backward(0.4, saved_corrections, div, 6, slice_)  # [4]
    d_p = unslice(d_slice_2, (6,), (slice(0, 4),)) + c  # [6]  dqn_family.lee:143
    d_error_3 = priorities_backward(error, whole_2, 0.6, saved_priorities, p, d_p)  # [6]
    return (
        (c * p).sum() + (slice_ * div).sum() + (c * memory_2).sum(),
        d_error_2 + d_error_3,
        memory_2 + unslice(div, (6,), (slice(0, 4),)) + p,
        d_x,
    )


def example_counted_less(key):
    q = Dueling(4, 8, 3, key=fold(key, SITES["q"]))  # dqn_family.lee:149
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  dqn_family.lee:150
    a = randint(fold(key, SITES["a"]), (6,), 0, 3)  # int[6]  dqn_family.lee:151
    goal = normal(fold(key, SITES["goal"]), (6,), FLOAT)  # [6]  dqn_family.lee:152
    weight = uniform(fold(key, SITES["weight"]), (6,), FLOAT)  # [6]  dqn_family.lee:153
    value, saved_weighted = weighted_saved(q, s, a, goal, weight)  # dqn_family.lee:154
    d_q, d_s, d_weight = weighted_backward(q, s, a, weight, saved_weighted, FLOAT(1.0))
    return value, q.at(d_q), d_s, np.zeros(6, dtype=FLOAT), d_weight


def example_noise(key):
    net = NoisyLinear(4, 3, key=fold(key, SITES["net"]))  # dqn_family.lee:158
    x = normal(fold(key, SITES["x"]), (5, 4), FLOAT)  # [5, 4]  dqn_family.lee:159
    into = normal(fold(key, SITES["into"]), (4,), FLOAT)  # [4]  dqn_family.lee:160
    out = normal(fold(key, SITES["out"]), (3,), FLOAT)  # [3]  dqn_family.lee:161
    c = normal(fold(key, SITES["c"]), (5, 3), FLOAT)  # [5, 3]  dqn_family.lee:162
    d_c, saved_net = net.forward_saved(x, into, out)  # dqn_family.lee:163
    d_net, d_x, d_into, d_out = net.forward_backward(x, into, out, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_into, d_out, d_c


def example_spread_out(key):
    """The third move ends an episode."""
    score = normal(fold(key, SITES["score"]), (5, 7), FLOAT)  # [5, 7]  dqn_family.lee:168
    older = normal(fold(key, SITES["older"]), (5, 7), FLOAT)  # [5, 7]  dqn_family.lee:169
    r = normal(fold(key, SITES["r"]), (5,), FLOAT)  # [5]  dqn_family.lee:170
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (5,), (slice(2, 3),))  # bool[5]  dqn_family.lee:172
    over_2 = np.where(unslice_, unslice_, False)  # bool[5]
    graft = stop_2(projected(softmax(older, (1,)), r, over_2, -3, 3))  # [5, 7]  dqn_family.lee:173
    log_softmax_ = log_softmax(score, (1,))  # [5, 7]  prelude.lee:127
    d_log_softmax = -0.2 * graft  # [5, 7]  dqn_family.lee:115
    sum_2 = d_log_softmax.sum(axis=1, keepdims=True)  # [5, 1]  prelude.lee:127
    return (
        -(graft * log_softmax_).sum(axis=1).mean(),
        d_log_softmax - np.exp(log_softmax_) * sum_2,
        np.zeros((5, 7), dtype=FLOAT),
        np.zeros(5, dtype=FLOAT),
    )


def example_in_a_row(key):
    """7 steps into a memory of 5 the places 2 and 1 were written last; 2 steps into it 3 and 4 are unused."""
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  dqn_family.lee:178
    cast = complete(7, 5, 3).astype(FLOAT)  # [5]  dqn_family.lee:179
    cast_2 = complete(2, 5, 2).astype(FLOAT)  # [5]
    return (c * cast).sum() + 10 * (c * cast_2).sum(), 10 * cast_2 + cast


def rainbow(
    steps=10000,
    capacity=2000,
    batch=64,
    moves=3,
    warmup=500,
    sync=200,
    explore=3000,
    rate=1e-3,
    gamma=0.99,
    *,
    run=None,
):
    """Double and dueling, with steps of several moves and a memory by surprise."""
    from leec.runtime.run import Run

    run = run or Run("rainbow")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    q = Dueling(inputs=4, hidden=64, actions=2, key=run.key("q"))  # dqn_family.lee:194
    target = q.copy()  # dqn_family.lee:195
    opt = Adam(lr=rate)  # dqn_family.lee:196
    memory = rainbow_memory(capacity)  # dqn_family.lee:197
    action = rainbow_action(capacity)  # dqn_family.lee:198
    reward = rainbow_reward(capacity)  # dqn_family.lee:199
    after = rainbow_after(capacity)  # dqn_family.lee:200
    over = rainbow_over(capacity)  # dqn_family.lee:201
    cut_ = rainbow_cut(capacity)  # dqn_family.lee:202
    surprise = rainbow_surprise(capacity)  # dqn_family.lee:203
    s = cartpole.reset(run.key("s"))  # dqn_family.lee:204
    score = 0.0  # dqn_family.lee:205
    action, after, cut_, memory, over, reward, s, score, surprise, target = run.restore(
        "t",
        action=action,
        after=after,
        cut=cut_,
        memory=memory,
        over=over,
        reward=reward,
        s=s,
        score=score,
        surprise=surprise,
        target=target,
    )
    for t in run.loop("t", 0, steps - 1, opt=opt, q=q, cartpole=cartpole):
        eps = max(0.02, 1 - t / explore)  # dqn_family.lee:207
        condition = rainbow_condition(eps, key=run.key("rainbow"))  # dqn_family.lee:208
        if condition:
            a = rainbow_a(key=run.key("rainbow"))  # dqn_family.lee:210
        else:
            a = rainbow_a_2(q, s)  # dqn_family.lee:212
        next_, r, terminated, truncated = cartpole.step(a)  # dqn_family.lee:213
        slot = t % capacity  # dqn_family.lee:214
        memory[slot] = s  # dqn_family.lee:215
        action[slot] = a  # dqn_family.lee:216
        reward[slot] = r  # dqn_family.lee:217
        after[slot] = next_  # dqn_family.lee:218
        over[slot] = terminated  # dqn_family.lee:219
        cut_[slot] = truncated  # dqn_family.lee:220
        surprise_item = rainbow_surprise_item(surprise)  # dqn_family.lee:221
        surprise[slot] = surprise_item  # dqn_family.lee:221
        score = score + r  # dqn_family.lee:222
        s = next_  # dqn_family.lee:223
        if terminated or truncated:
            run.report(score=score)  # dqn_family.lee:225
            score = 0.0  # dqn_family.lee:226
            s = cartpole.reset(run.key("s_2"))  # dqn_family.lee:227
        if t >= warmup:
            surprise, loss = rainbow_step(
                q,
                target,
                opt,
                surprise,
                after,
                reward,
                over,
                cut_,
                gamma,
                memory,
                action,
                batch,
                moves,
                t,
                key=run.key("rainbow"),
            )
            surprise = run.copy(surprise)
            run.step(loss)
        if t % sync == 0:
            target = q.copy()  # dqn_family.lee:243
        run.keep(
            "t",
            action=action,
            after=after,
            cut=cut_,
            memory=memory,
            over=over,
            reward=reward,
            s=s,
            score=score,
            surprise=surprise,
            target=target,
        )
    return q


def rainbow_memory(capacity):
    memory = np.zeros((capacity, 4), dtype=FLOAT)  # [capacity, 4]  dqn_family.lee:197
    return memory  # [capacity, 4]


def rainbow_action(capacity):
    action = np.zeros(capacity, dtype=np.int64)  # int[capacity]  dqn_family.lee:198
    return action  # int[capacity]


def rainbow_reward(capacity):
    reward = np.zeros(capacity, dtype=FLOAT)  # [capacity]  dqn_family.lee:199
    return reward  # [capacity]


def rainbow_after(capacity):
    after = np.zeros((capacity, 4), dtype=FLOAT)  # [capacity, 4]  dqn_family.lee:200
    return after  # [capacity, 4]


def rainbow_over(capacity):
    over = np.full(capacity, False, dtype=np.bool_)  # bool[capacity]  dqn_family.lee:201
    return over  # bool[capacity]


def rainbow_cut(capacity):
    cut_ = np.full(capacity, False, dtype=np.bool_)  # bool[capacity]  dqn_family.lee:202
    return cut_  # bool[capacity]


def rainbow_surprise(capacity):
    surprise = np.zeros(capacity, dtype=FLOAT)  # [capacity]  dqn_family.lee:203
    return surprise  # [capacity]


def rainbow_condition(eps, key):
    u = uniform(fold(key, SITES["u"]), (), FLOAT)  # dqn_family.lee:208
    condition = u < eps  # dqn_family.lee:209
    return condition


def rainbow_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 2)  # dqn_family.lee:210
    return a


def rainbow_a_2(q, s):
    """s [4] -> []"""
    a = q.forward_2(s).argmax(axis=0)  # dqn_family.lee:212
    return a


def rainbow_surprise_item(surprise):
    """surprise [capacity] -> []"""
    surprise_item = surprise.max(initial=-np.inf) + 0.01  # dqn_family.lee:221
    return surprise_item


def rainbow_step(q, target, opt, surprise, after, reward, over, cut_, gamma, memory, action, batch, moves, t, key):
    """One step of rainbow."""
    capacity = surprise.shape[0]
    chance = priorities(surprise, complete(t, capacity, moves))  # [capacity]  dqn_family.lee:229
    categorical_below = np.cumsum(softmax(np.log(chance + 1e-12), (0,)), axis=0)  # [capacity]  dqn_family.lee:230
    reshape = uniform(fold(key, SITES["i"]), (batch,), FLOAT)[:, None]  # [batch, 1]
    mul = reshape * categorical_below[capacity - 1 :]  # [batch, 1]
    sum_ = (mul >= categorical_below).astype(np.int64).sum(axis=1)  # int[batch]
    i = np.minimum(sum_, capacity - 1)  # int[batch]
    row = (i[:, None] + np.arange(moves)) % capacity  # int[batch, moves]  dqn_family.lee:231
    # [batch * moves]  dqn_family.lee:232
    found = double_value_2(q, target, after[inside(row)].reshape(batch * moves, 4))
    value = found.reshape(batch, moves)  # [batch, moves]
    gather_2 = reward[inside(row)]  # [batch, moves]  dqn_family.lee:233
    goal = several(gather_2, over[inside(row)], cut_[inside(row)], value, gamma=gamma)  # [batch]
    gather_5 = memory[inside(i)]  # [batch, 4]  dqn_family.lee:236
    gather_6 = action[inside(i)]  # int[batch]  dqn_family.lee:237
    div_2 = corrections_2(chance[inside(i)], min(t + 1, capacity))  # [batch]  dqn_family.lee:239
    loss, saved_weighted = weighted_saved(q, gather_5, gather_6, goal, div_2)  # dqn_family.lee:234
    d_loss = FLOAT(1.0)
    d_q = weighted_backward_parameters(q, gather_5, gather_6, div_2, saved_weighted, d_loss)
    opt.update(q.parameters, q.flat(d_q))
    surprise_2 = stored(surprise, i, np.abs(goal - of(q(gather_5), gather_6)))  # [capacity]  dqn_family.lee:241
    return surprise_2, loss


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


def stop_2(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


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


def outer(x, y):
    """xᵢ yⱼ

    x [n], y [m] -> [n, m]
    """
    product = x[:, None] * y  # [n, m]  prelude.lee:222
    return product  # [n, m]


def outer_backward(x, y, d_product):
    """From d_product to the gradients by x and y."""
    # gradient of product[i, j] = x[i] * y[j]   prelude.lee:222
    d_y = (d_product * x[:, None]).sum(axis=0)  # [m]
    d_x = (d_product * y).sum(axis=1)  # [n]
    return d_x, d_y


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "after": 0xF3470001772D0424,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "error": 0xDCA98C860AEA0E18,
    "gain": 0xDC470A7857C52892,
    "goal": 0xB4BE8C82335884A5,
    "i": 0x3C67888C3C79D1D4,
    "into": 0x6A0BB9853BACF35D,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "older": 0x737E884B3A603E36,
    "out": 0x00B417F045D422B4,
    "q": 0x3514BD29FB70352B,
    "r": 0xF1DC5A7F078E3ACB,
    "reward": 0xAD098299C4960F31,
    "s": 0xDE6ECFAAC38449E6,
    "score": 0xBB12D0B9107F2826,
    "target": 0x41DEDA04111F843F,
    "trunk": 0xFF2A513D7D15F4C6,
    "u": 0x08D267E10C593806,
    "value": 0x196B9BE45174F330,
    "w": 0x20925082A2286B9E,
    "weight": 0x84E02E3EDC717246,
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


def scatter_set(x, v, index, axes=None):
    """A copy of x with v written at positions of some axes (the first ones)."""
    whole = x.copy()
    fronted(whole, axes)[index] = v
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


def cut(vector, shapes):
    """Views of a vector, one after the other."""
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + int(np.prod(shape))
        yield vector[start:stop].reshape(shape)
