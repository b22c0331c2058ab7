"""Inverse reinforcement learning (lecture: reinforcement): a reward under which an expert plays best.

An actor of greatest entropy plays softmax(Q) with Q = r + γ P log Σ exp Q (Ziebart et al. 2010). The reward is moved
until such an actor does what the expert did; the actor is computed anew for every reward.

Made from specs/reinforcement/inverse.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/inverse.lee
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


class Reward(Model):
    """What being in each state brings."""

    members = ("value",)

    def __init__(self, states):
        self.states_ = states
        self.value = np.zeros(states, dtype=FLOAT)  # [states]  inverse.lee:18
        self.lay_out()


def soft_values(reward, p, rounds=30, gamma=0.9):
    """Value iteration whose maximum is soft: V = log Σ exp Q. p[i, u, j] leads from i by u to j; from an end nowhere.

    reward [k], p [k, m, k] -> [k, m]
    """
    k = reward.shape[0]
    m = p.shape[1]
    v = np.zeros(k, dtype=FLOAT)  # [k]  inverse.lee:23
    q = np.zeros((k, m), dtype=FLOAT)  # [k, m]  inverse.lee:24
    # inverse.lee:25
    for round_ in range(rounds):
        q, v = soft_values_step(q, v, p, gamma, reward)
    return q  # [k, m]


def soft_values_saved(reward, p, rounds=30, gamma=0.9):
    """As soft_values, and what its gradient needs."""
    k = reward.shape[0]
    m = p.shape[1]
    v = np.zeros(k, dtype=FLOAT)  # [k]  inverse.lee:23
    q = np.zeros((k, m), dtype=FLOAT)  # [k, m]  inverse.lee:24
    saved_soft_values_step = [None] * rounds  # inverse.lee:25
    for round_ in range(rounds):
        q, v, saved_soft_values_step[round_] = soft_values_step_saved(q, v, p, gamma, reward)
    return q, saved_soft_values_step


def soft_values_backward(p, gamma, saved_soft_values_step, rounds, d_q_4):
    """From d_q_4 to the gradients by reward and p."""
    k, m, _ = p.shape
    # gradient of for round in rounds:   inverse.lee:25
    d_v_3 = np.zeros(k, dtype=FLOAT)  # [k]
    d_contract_rows = np.empty((rounds, k, m), dtype=FLOAT)  # [rounds, k, m]
    v_rows_2 = np.empty((rounds, k), dtype=FLOAT)  # [rounds, k]
    d_reward_rows = np.empty((rounds, k), dtype=FLOAT)  # [rounds, k]
    for round_ in reversed(range(rounds)):
        d_q_4, d_v_3, d_contract_rows[round_], v_rows_2[round_], d_reward_rows[round_] = soft_values_step_backward(
            saved_soft_values_step[round_], p, gamma, d_q_4, d_v_3
        )
    d_p = (d_contract_rows.reshape(rounds, k * m).T @ v_rows_2).reshape(k, m, k)  # [k, m, k]
    d_reward = d_reward_rows.sum(axis=0)  # [k]
    return d_reward, d_p


def soft_values_backward_2(p, gamma, saved_soft_values_step, rounds, d_q_4):
    """From d_q_4 to the gradient by reward."""
    k = p.shape[0]
    # gradient of for round in rounds:   inverse.lee:25
    d_v_3 = np.zeros(k, dtype=FLOAT)  # [k]
    d_reward_rows = np.empty((rounds, k), dtype=FLOAT)  # [rounds, k]
    for round_ in reversed(range(rounds)):
        d_q_4, d_v_3, d_reward_rows[round_] = soft_values_step_backward_2(
            p, gamma, saved_soft_values_step[round_], d_q_4, d_v_3
        )
    d_reward = d_reward_rows.sum(axis=0)  # [k]
    return d_reward  # [k]


def soft_values_step(q, v, p, gamma, reward):
    """q [k, m], v [k], p [k, m, k], reward [k] -> [k, m], [k]"""
    q_3 = reward[:, None] + gamma * (p @ v)  # [k, m]  inverse.lee:26
    v_3 = logsumexp(q_3, 1)  # [k]  inverse.lee:27
    return q_3, v_3


def soft_values_step_saved(q, v, p, gamma, reward):
    """As soft_values_step, and what its gradient needs."""
    q_3 = reward[:, None] + gamma * (p @ v)  # [k, m]  inverse.lee:26
    v_3 = logsumexp(q_3, 1)  # [k]  inverse.lee:27
    return q_3, v_3, (v, q_3)


def soft_values_step_backward(saved, p, gamma, d_q_3, d_v_3):
    """From d_q_3 and d_v_3 to the gradients by q, v, contract and reward."""
    v, q_3 = saved
    k = v.shape[0]
    m = q_3.shape[1]
    # gradient of q[i, u] = reward[i] + gamma * sum[j](p[i, u, j] * v[j])   inverse.lee:26
    d_q_3_2 = d_q_3 + d_v_3[:, None] * softmax(q_3, (1,))  # [k, m]
    d_reward = d_q_3_2.sum(axis=1)  # [k]
    d_contract = d_q_3_2 * gamma  # [k, m]
    d_v = d_contract.reshape(k * m) @ p.reshape(k * m, k)  # [k]
    d_q = np.zeros((k, m), dtype=FLOAT)  # [k, m]
    return d_q, d_v, d_contract, v, d_reward


def soft_values_step_backward_2(p, gamma, saved, d_q_3, d_v_3):
    """From d_q_3 and d_v_3 to the gradients by q, v and reward."""
    _, q_3 = saved
    k, m, _ = p.shape
    # gradient of q[i, u] = reward[i] + gamma * sum[j](p[i, u, j] * v[j])   inverse.lee:26
    d_q_3_2 = d_q_3 + d_v_3[:, None] * softmax(q_3, (1,))  # [k, m]
    d_reward = d_q_3_2.sum(axis=1)  # [k]
    d_v = (d_q_3_2 * gamma).reshape(k * m) @ p.reshape(k * m, k)  # [k]
    d_q = np.zeros((k, m), dtype=FLOAT)  # [k, m]
    return d_q, d_v, d_reward


def unlike(reward, p, s, a, rounds=30, gamma=0.9, decay=1e-4):
    """-log of the chance that the actor of this reward does what the expert did; large rewards cost.

    reward [k], p [k, m, k], s int[n], a int[n] -> []
    """
    score = soft_values(reward, p, rounds=rounds, gamma=gamma)  # [k, m]  inverse.lee:33
    mean = of_class(log_softmax(score[inside(s)], (1,)), a).mean()  # inverse.lee:34
    return decay * (reward**2).sum() - mean


def unlike_saved(reward, p, s, a, rounds=30, gamma=0.9, decay=1e-4):
    """As unlike, and what its gradient needs."""
    score, saved_soft_values = soft_values_saved(reward, p, rounds=rounds, gamma=gamma)  # inverse.lee:33
    categorical_score = log_softmax(score[inside(s)], (1,))  # [n, m]  prelude.lee:127
    mean = of_class(categorical_score, a).mean()  # inverse.lee:34
    return decay * (reward**2).sum() - mean, (saved_soft_values, categorical_score)


def unlike_backward(reward, p, s, a, gamma, decay, saved, rounds, d_y):
    """From d_y to the gradients by reward and p."""
    saved_soft_values, categorical_score = saved
    k, m, _ = p.shape
    n = s.shape[0]
    # gradient of return -mean(log_prob(categorical(score[s]), a)) + decay * sum(reward ** 2)   inverse.lee:34
    d_categorical_score = of_class_backward(a, m, np.broadcast_to(-(d_y / n), (n,)))  # [n, m]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    d_gather = d_categorical_score - np.exp(categorical_score) * sum_  # [n, m]
    # gradient of return -mean(log_prob(categorical(score[s]), a)) + decay * sum(reward ** 2)   inverse.lee:34
    d_score = scatter_add(d_gather, (s,), (k, m))  # [k, m]
    # gradient of score = soft_values(reward, p, rounds, gamma)   inverse.lee:33
    d_reward_4, d_p = soft_values_backward(p, gamma, saved_soft_values, rounds, d_score)
    d_reward = 2 * (d_y * decay) * reward + d_reward_4  # [k]
    return d_reward, d_p


def unlike_backward_2(reward, p, s, a, gamma, decay, saved, rounds, d_y):
    """From d_y to the gradient by reward."""
    saved_soft_values, categorical_score = saved
    k, m, _ = p.shape
    n = s.shape[0]
    # gradient of return -mean(log_prob(categorical(score[s]), a)) + decay * sum(reward ** 2)   inverse.lee:34
    d_categorical_score = of_class_backward(a, m, np.broadcast_to(-(d_y / n), (n,)))  # [n, m]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    d_gather = d_categorical_score - np.exp(categorical_score) * sum_  # [n, m]
    # gradient of return -mean(log_prob(categorical(score[s]), a)) + decay * sum(reward ** 2)   inverse.lee:34
    d_score = scatter_add(d_gather, (s,), (k, m))  # [k, m]
    # gradient of score = soft_values(reward, p, rounds, gamma)   inverse.lee:33
    d_reward_4 = soft_values_backward_2(p, gamma, saved_soft_values, rounds, d_score)  # [k]
    d_reward = 2 * (d_y * decay) * reward + d_reward_4  # [k]
    return d_reward  # [k]


def values(reward, p, rounds=200, gamma=0.99):
    """Value iteration: Q = r + γ P max Q.

    reward [k, m], p [k, m, k] -> [k, m]
    """
    k, m = reward.shape
    q = np.zeros((k, m), dtype=FLOAT)  # [k, m]  inverse.lee:39
    v = np.zeros(k, dtype=FLOAT)  # [k]  inverse.lee:40
    # inverse.lee:41
    for round_ in range(rounds):
        q, v = values_step(q, v, p, gamma, reward)
    return q  # [k, m]


def values_saved(reward, p, rounds=200, gamma=0.99):
    """As values, and what its gradient needs."""
    k, m = reward.shape
    q = np.zeros((k, m), dtype=FLOAT)  # [k, m]  inverse.lee:39
    v = np.zeros(k, dtype=FLOAT)  # [k]  inverse.lee:40
    saved_values_step = [None] * rounds  # inverse.lee:41
    for round_ in range(rounds):
        q, v, saved_values_step[round_] = values_step_saved(q, v, p, gamma, reward)
    return q, saved_values_step


def values_backward(p, gamma, saved_values_step, rounds, d_q_4):
    """From d_q_4 to the gradients by reward and p."""
    k, m, _ = p.shape
    # gradient of for round in rounds:   inverse.lee:41
    d_v_3 = np.zeros(k, dtype=FLOAT)  # [k]
    d_reward_later = np.zeros((k, m), dtype=FLOAT)  # [k, m]
    d_contract_rows = np.empty((rounds, k, m), dtype=FLOAT)  # [rounds, k, m]
    v_rows_2 = np.empty((rounds, k), dtype=FLOAT)  # [rounds, k]
    for round_ in reversed(range(rounds)):
        d_q_4, d_v_3, d_reward_later, d_contract_rows[round_], v_rows_2[round_] = values_step_backward(
            saved_values_step[round_], p, gamma, d_q_4, d_v_3, d_reward_later
        )
    d_p = (d_contract_rows.reshape(rounds, k * m).T @ v_rows_2).reshape(k, m, k)  # [k, m, k]
    return d_reward_later, d_p


def values_step(q, v, p, gamma, reward):
    """q [k, m], v [k], p [k, m, k], reward [k, m] -> [k, m], [k]"""
    q_3 = reward + gamma * (p @ v)  # [k, m]  inverse.lee:42
    v_3 = q_3.max(axis=1, initial=-np.inf)  # [k]  inverse.lee:43
    return q_3, v_3


def values_step_saved(q, v, p, gamma, reward):
    """As values_step, and what its gradient needs."""
    q_3 = reward + gamma * (p @ v)  # [k, m]  inverse.lee:42
    v_3 = q_3.max(axis=1, initial=-np.inf)  # [k]  inverse.lee:43
    return q_3, v_3, (v, q_3)


def values_step_backward(saved, p, gamma, d_q_3, d_v_3, d_reward):
    """From d_q_3, d_v_3 and d_reward to the gradients by q, v, reward and contract."""
    v, q_3 = saved
    k, m = q_3.shape
    # gradient of v = max(q, axis = 1)   inverse.lee:43
    eq = np.arange(m)[None, :] == q_3.argmax(axis=1)[:, None]  # bool[k, m]
    # gradient of q[i, u] = reward[i, u] + gamma * sum[j](p[i, u, j] * v[j])   inverse.lee:42
    d_q_3_2 = d_q_3 + masked(d_v_3[:, None], eq)  # [k, m]
    d_contract = d_q_3_2 * gamma  # [k, m]
    d_v = d_contract.reshape(k * m) @ p.reshape(k * m, k)  # [k]
    d_q = np.zeros((k, m), dtype=FLOAT)  # [k, m]
    return d_q, d_v, d_reward + d_q_3_2, d_contract, v


def example_soft(key):
    reward = normal(fold(key, SITES["reward"]), (4,), FLOAT)  # [4]  inverse.lee:48
    z = normal(fold(key, SITES["z"]), (4, 3, 4), FLOAT)  # [4, 3, 4]  inverse.lee:49
    s = randint(fold(key, SITES["s"]), (8,), 0, 4)  # int[8]  inverse.lee:50
    a = randint(fold(key, SITES["a"]), (8,), 0, 3)  # int[8]  inverse.lee:51
    p = softmax(z, (2,))  # [4, 3, 4]  prelude.lee:122
    add, saved_unlike = unlike_saved(reward, p, s, a)  # inverse.lee:53
    q_4, saved_soft_values = soft_values_saved(reward, p)
    d_q_4 = np.ones((4, 3), dtype=FLOAT)  # [4, 3]
    d_reward_2, d_p_2 = soft_values_backward(p, 0.9, saved_soft_values, 30, d_q_4)
    d_reward_3, d_p_3 = unlike_backward(reward, p, s, a, 0.9, 1e-4, saved_unlike, 30, FLOAT(1.0))
    d_p = d_p_2 + d_p_3  # [4, 3, 4]  prelude.lee:122
    return add + q_4.sum(), d_reward_2 + d_reward_3, p * (d_p - (d_p * p).sum(axis=2, keepdims=True))


def example_best(key):
    reward = normal(fold(key, SITES["reward"]), (4, 3), FLOAT)  # [4, 3]  inverse.lee:57
    z = normal(fold(key, SITES["z"]), (4, 3, 4), FLOAT)  # [4, 3, 4]  inverse.lee:58
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  inverse.lee:59
    softmax_ = softmax(z, (2,))  # [4, 3, 4]  prelude.lee:122
    d_c, saved_values = values_saved(reward, softmax_)  # inverse.lee:60
    d_reward, d_softmax = values_backward(softmax_, 0.99, saved_values, 200, c)
    sum_2 = (d_softmax * softmax_).sum(axis=2, keepdims=True)  # [4, 3, 1]  prelude.lee:122
    return (c * d_c).sum(), d_reward, softmax_ * (d_softmax - sum_2), d_c


def inverse(moves=20000, shown=50, steps=200, tests=200, rate=0.2, *, run=None):
    """What moves do is counted; an expert who knows the reward shows how it plays; the pupil has to guess why."""
    from leec.runtime.run import Run

    run = run or Run("inverse")
    lake = run.environment("FrozenLake-v1", observation=("int", (), 0, 15), action=("int", (), 0, 3))  # inverse.lee:11
    count = inverse_count()  # inverse.lee:65
    visits = inverse_visits()  # inverse.lee:66
    gain = inverse_gain()  # inverse.lee:67
    s = lake.reset(run.key("s"))  # inverse.lee:68
    count, gain, s, visits = run.restore("t", count=count, gain=gain, s=s, visits=visits)
    for t in run.loop("t", 0, moves - 1, lake=lake):
        a = inverse_a(key=run.key("inverse"))  # inverse.lee:70
        next_, r, terminated, truncated = lake.step(a)  # inverse.lee:71
        visits_item = inverse_visits_item(visits, s, a)  # inverse.lee:72
        visits[s, a] = visits_item  # inverse.lee:72
        gain_item = inverse_gain_item(gain, s, a, r)  # inverse.lee:73
        gain[s, a] = gain_item  # inverse.lee:73
        count_item = inverse_count_item(count, s, a, next_)  # inverse.lee:74
        count[s, a, next_] = count_item  # inverse.lee:74
        s = next_  # inverse.lee:75
        if terminated or truncated:
            s = lake.reset(run.key("s_2"))  # inverse.lee:77
        run.keep("t", count=count, gain=gain, s=s, visits=visits)
    p, expert = inverse_p_expert(count, visits, gain)  # inverse.lee:78
    path = []  # inverse.lee:80
    worth = 0.0  # inverse.lee:81
    a, path, r, s, terminated, truncated, worth = run.restore(
        "episode", a=a, path=path, r=r, s=s, terminated=terminated, truncated=truncated, worth=worth
    )
    for episode in run.loop("episode", 1, shown, lake=lake):
        s = lake.reset(run.key("s_3"))  # inverse.lee:83
        done = False  # inverse.lee:84
        while run.again("while", not done):
            a = inverse_a_2(expert, s)  # inverse.lee:86
            path.append((s, a))  # inverse.lee:87
            s, r, terminated, truncated = lake.step(a)  # inverse.lee:88
            worth = worth + r  # inverse.lee:89
            done = terminated or truncated  # inverse.lee:90
        run.keep("episode", a=a, path=path, r=r, s=s, terminated=terminated, truncated=truncated, worth=worth)
    states, actions = run.stack(path)  # inverse.lee:91
    reward = Reward(states=16)  # inverse.lee:92
    opt = Adam(lr=rate)  # inverse.lee:93
    for step in run.loop("step", 1, steps, opt=opt, reward=reward):
        run.step(inverse_step(reward, opt, p, states, actions))  # inverse.lee:95
    actor = inverse_actor(reward, p)  # inverse.lee:96
    total = 0.0  # inverse.lee:97
    a, done, r, s, terminated, total, truncated = run.restore(
        "episode_2", a=a, done=done, r=r, s=s, terminated=terminated, total=total, truncated=truncated
    )
    for episode in run.loop("episode_2", 1, tests, lake=lake):
        s = lake.reset(run.key("s_4"))  # inverse.lee:99
        done = False  # inverse.lee:100
        while run.again("while_2", not done):
            a = inverse_a_3(actor, s)  # inverse.lee:102
            s, r, terminated, truncated = lake.step(a)  # inverse.lee:103
            total = total + r  # inverse.lee:104
            done = terminated or truncated  # inverse.lee:105
        run.keep("episode_2", a=a, done=done, r=r, s=s, terminated=terminated, total=total, truncated=truncated)
    run.report(expert=worth / shown, pupil=total / tests)  # inverse.lee:106
    return reward


def inverse_count():
    count = np.zeros((16, 4, 16), dtype=FLOAT)  # [16, 4, 16]  inverse.lee:65
    return count  # [16, 4, 16]


def inverse_visits():
    visits = np.full((16, 4), 1e-9, dtype=FLOAT)  # [16, 4]  inverse.lee:66
    return visits  # [16, 4]


def inverse_gain():
    gain = np.zeros((16, 4), dtype=FLOAT)  # [16, 4]  inverse.lee:67
    return gain  # [16, 4]


def inverse_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 4)  # inverse.lee:70
    return a


def inverse_visits_item(visits, s, a):
    """visits [16, 4] -> []"""
    visits_item = visits[inside(s), inside(a)] + 1  # inverse.lee:72
    return visits_item


def inverse_gain_item(gain, s, a, r):
    """gain [16, 4] -> []"""
    gain_item = gain[inside(s), inside(a)] + r  # inverse.lee:73
    return gain_item


def inverse_count_item(count, s, a, next_):
    """count [16, 4, 16] -> []"""
    count_item = count[inside(s), inside(a), inside(next_)] + 1  # inverse.lee:74
    return count_item


def inverse_p_expert(count, visits, gain):
    """count [16, 4, 16], visits [16, 4], gain [16, 4] -> [16, 4, 16], [16, 4]"""
    p = count / visits[:, :, None]  # [16, 4, 16]  inverse.lee:78
    expert = values(gain / visits, p)  # [16, 4]  inverse.lee:79
    return p, expert


def inverse_a_2(expert, s):
    """expert [16, 4] -> []"""
    a = expert[inside(s)].argmax(axis=0)  # inverse.lee:86
    return a


def inverse_step(reward, opt, p, states, actions):
    """One step of inverse."""
    loss, saved_unlike = unlike_saved(reward.value, p, states, actions)  # inverse.lee:95
    d_loss = FLOAT(1.0)
    d_value = unlike_backward_2(reward.value, p, states, actions, 0.9, 1e-4, saved_unlike, 30, d_loss)  # [16]
    opt.update(reward.parameters, reward.flat({"value": d_value}))
    return loss


def inverse_actor(reward, p):
    """p [16, 4, 16] -> [16, 4]"""
    actor = soft_values(reward.value, p)  # [16, 4]  inverse.lee:96
    return actor  # [16, 4]


def inverse_a_3(actor, s):
    """actor [16, 4] -> []"""
    a = actor[inside(s)].argmax(axis=0)  # inverse.lee:102
    return a


@packed(0, score=(0, 2), x=(0, 1))
def of_class(score, x):
    """The score of the class that x names.

    score [.., k], x int[..] -> [..]
    """
    rows = score.shape[0]
    found = score[np.arange(rows), inside(x)]  # [rows]  distributions.lee:119
    return found  # [rows]


def of_class_backward(x, k, d_found):
    """From d_found to the gradient by score."""
    rows = x.shape[0]
    # gradient of found[i] = score[i, x[i]]   distributions.lee:119
    d_score = scatter_add(d_found, (np.arange(rows), x), (rows, k))  # [rows, k]
    return d_score  # [rows, k]


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "c": 0x1B2C07CD64633F37,
    "reward": 0xAD098299C4960F31,
    "s": 0xDE6ECFAAC38449E6,
    "z": 0x3041FD28A7B04184,
}


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))), shifted by the maximum; of nothing, or of -inf alone, it is -inf."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return total if keepdims else total.squeeze(axes)


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
