"""What a state is worth under a policy (lecture: reinforcement): a critic learned from whole episodes, and from moves.

V(s) = E[Σ γᵗ rₜ] over all that follows s. By Monte Carlo V is regressed on the gains themselves, known when an episode
is over; by temporal difference on r + γ V(next), known after one move. With the moves counted, V solves V = r + γ P V.
The policy plays by chance, on a frozen lake where two of three moves slip.

Made from specs/reinforcement/critic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/critic.lee
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


class Table(Model):
    """A value for each state."""

    members = ("value",)

    def __init__(self, states, spread=0.0, *, key=(0, 0)):
        self.states_, self.spread = states, spread
        self.value = spread * normal(fold(key, SITES["value"]), (states,), FLOAT)  # [states]  critic.lee:20
        self.lay_out()

    def forward(self, s):
        """s int[n] -> [n]"""
        return self.value[inside(s)]  # [n]  critic.lee:23

    @staticmethod
    def forward_backward(s, states, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return value[s]   critic.lee:23
        d_value = scatter_add(d_y, (s,), (states,))  # [states]
        return {"value": d_value}  # [states]


def gains(reward, done, gamma=0.99):
    """gain_t = reward_t + γ gain_{t+1}, which is nothing after the end of an episode.

    reward [time], done bool[time] -> [time]
    """
    time = reward.shape[0]
    g = FLOAT(0)  # critic.lee:29
    out = np.empty((time,), dtype=FLOAT)  # [time]
    for t in reversed(range(time)):
        g, out[t] = gains_step(g, reward[t], done[t], gamma)
    return out  # [time]


def gains_backward(done, gamma, d_out):
    """From d_out to the gradient by reward."""
    time = done.shape[0]
    # gradient of for t in reversed(time):   critic.lee:29
    d_g_2 = FLOAT(0.0)
    d_reward = np.empty((time,), dtype=FLOAT)  # [time]
    for t in range(time):
        d_g_2, d_reward[t] = gains_step_backward(done[t], gamma, d_g_2, d_out[t])
    return d_reward  # [time]


def gains_step(g, reward_t, done_t, gamma):
    g_2 = reward_t + gamma * np.where(done_t, 0, g)  # critic.lee:30
    return g_2, g_2


def gains_step_backward(done_t, gamma, d_g_2, d_out):
    """From d_g_2 and d_out to the gradients by g and reward_t."""
    # gradient of g = reward[t] + gamma * where(done[t], 0, g)   critic.lee:30
    d_g_2_2 = d_g_2 + d_out
    d_g = np.where(done_t, 0, d_g_2_2 * gamma)
    return d_g, d_g_2_2


def monte_carlo_saved(critic, s, gain):
    """As monte_carlo, and what its gradient needs."""
    mean, saved_mse = mse_saved(critic(s), gain)  # critic.lee:36
    return mean, saved_mse


def monte_carlo_backward(s, saved_mse, critic_states, d_mean):
    """From d_mean to the gradients by critic and gain."""
    # gradient of return mse(critic(s), gain)   critic.lee:36
    d_critic_out, d_gain = mse_backward(saved_mse, d_mean)
    d_critic = Table.forward_backward(s, critic_states, d_critic_out)
    return d_critic, d_gain


def monte_carlo_backward_parameters(s, saved_mse, critic_states, d_mean):
    """From d_mean to the gradient by critic."""
    # gradient of return mse(critic(s), gain)   critic.lee:36
    d_critic = Table.forward_backward(s, critic_states, mse_backward_2(saved_mse, d_mean))
    return d_critic  # [critic.states]


def temporal_difference_saved(critic, s, r, next_, over, gamma=0.99):
    """As temporal_difference, and what its gradient needs."""
    goal = r + np.where(over, 0, gamma * critic(next_))  # [n]  critic.lee:41
    mean, saved_mse = mse_saved(critic(s), stop(goal))  # critic.lee:42
    return mean, saved_mse


def temporal_difference_backward_parameters(s, saved_mse, critic_states, d_mean):
    """From d_mean to the gradient by critic."""
    # gradient of return mse(critic(s), stop(goal))   critic.lee:42
    d_critic = Table.forward_backward(s, critic_states, mse_backward_2(saved_mse, d_mean))
    return d_critic  # [critic.states]


def expected(s, r, next_, over, states, gamma=0.99):
    """V of the moves as they were counted: V = r + γ P V, where nothing follows an end. A state not seen has V = 0.

    s int[n], r [n], next int[n], over bool[n] -> [states]
    """
    seen = one_hot(s, states)  # [n, states]  critic.lee:47
    visits = np.maximum(seen.sum(axis=0), 1)  # [states]  critic.lee:48
    follows = one_hot(next_, states)  # [n, states]  critic.lee:49
    p = seen.T @ np.where(over, 0, follows.T).T / visits[:, None]  # [states, states]  critic.lee:50
    mean_reward = r @ seen / visits  # [states]  critic.lee:51
    return np.linalg.solve(eye(states) - gamma * p, mean_reward)  # [states]  critic.lee:52


def expected_saved(s, r, next_, over, states, gamma=0.99):
    """As expected, and what its gradient needs."""
    seen = one_hot(s, states)  # [n, states]  critic.lee:47
    visits = np.maximum(seen.sum(axis=0), 1)  # [states]  critic.lee:48
    follows = one_hot(next_, states)  # [n, states]  critic.lee:49
    p = seen.T @ np.where(over, 0, follows.T).T / visits[:, None]  # [states, states]  critic.lee:50
    mean_reward = r @ seen / visits  # [states]  critic.lee:51
    sub = eye(states) - gamma * p  # [states, states]  critic.lee:52
    return np.linalg.solve(sub, mean_reward), (seen, visits, sub)


def expected_backward(saved, d_y):
    """From d_y to the gradient by r."""
    seen, visits, sub = saved
    # gradient of return solve(eye(states) - gamma * p, mean_reward)   critic.lee:52
    d_mean_reward = np.linalg.solve(sub.T, d_y)  # [states]
    # gradient of mean_reward[i] = sum[k](seen[k, i] * r[k]) / visits[i]   critic.lee:51
    d_r = seen @ (d_mean_reward / visits)  # [n]
    return d_r  # [n]


def example_episodes(key):
    """The third move ends one."""
    critic = Table(5, spread=1.0, key=fold(key, SITES["critic"]))  # critic.lee:57
    s = randint(fold(key, SITES["s"]), (6,), 0, 5)  # int[6]  critic.lee:58
    r = normal(fold(key, SITES["r"]), (6,), FLOAT)  # [6]  critic.lee:59
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (6,), (slice(2, 3),))  # bool[6]  critic.lee:61
    done_2 = np.where(unslice_, unslice_, False)  # bool[6]
    mean, saved_monte_carlo = monte_carlo_saved(critic, s, gains(r, done_2))  # critic.lee:62
    d_critic, d_out = monte_carlo_backward(s, saved_monte_carlo, 5, FLOAT(1.0))
    return mean, critic.at(d_critic), gains_backward(done_2, 0.99, d_out)


def example_moves(key):
    """The fourth move ends an episode."""
    critic = Table(5, spread=1.0, key=fold(key, SITES["critic"]))  # critic.lee:67
    s = randint(fold(key, SITES["s"]), (6,), 0, 5)  # int[6]  critic.lee:68
    next_ = randint(fold(key, SITES["next"]), (6,), 0, 5)  # int[6]  critic.lee:69
    r = normal(fold(key, SITES["r"]), (6,), FLOAT)  # [6]  critic.lee:70
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (6,), (slice(3, 4),))  # bool[6]  critic.lee:72
    over_2 = np.where(unslice_, unslice_, False)  # bool[6]
    mean, saved_temporal_difference = temporal_difference_saved(critic, s, r, next_, over_2)  # critic.lee:73
    d_mean = FLOAT(1.0)
    d_critic = temporal_difference_backward_parameters(s, saved_temporal_difference, 5, d_mean)
    return mean, critic.at(d_critic), np.zeros(6, dtype=FLOAT)


def example_counted(key):
    s = randint(fold(key, SITES["s"]), (12,), 0, 5)  # int[12]  critic.lee:77
    next_ = randint(fold(key, SITES["next"]), (12,), 0, 5)  # int[12]  critic.lee:78
    r = normal(fold(key, SITES["r"]), (12,), FLOAT)  # [12]  critic.lee:79
    u = uniform(fold(key, SITES["u"]), (12,), FLOAT)  # [12]  critic.lee:80
    solve, saved_expected = expected_saved(s, r, next_, u < 0.5, 5)  # critic.lee:81
    return (solve**2).sum(), expected_backward(saved_expected, 2 * solve)


def by_monte_carlo(episodes=2000, steps=300, gamma=0.99, rate=0.02, *, run=None):
    """Whole episodes first; then a regression on what followed each visit."""
    from leec.runtime.run import Run

    run = run or Run("by_monte_carlo")
    lake = run.environment("FrozenLake-v1", observation=("int", (), 0, 15), action=("int", (), 0, 3))  # critic.lee:13
    critic = Table(states=16, key=run.key("critic"))  # critic.lee:86
    opt = Adam(lr=rate)  # critic.lee:87
    path = []  # critic.lee:88
    (path,) = run.restore("episode", path=path)
    for episode in run.loop("episode", 1, episodes, lake=lake):
        s = lake.reset(run.key("s"))  # critic.lee:90
        done = False  # critic.lee:91
        while run.again("while", not done):
            a = by_monte_carlo_a(key=run.key("by_monte_carlo"))  # critic.lee:93
            next_, r, terminated, truncated = lake.step(a)  # critic.lee:94
            done = terminated or truncated  # critic.lee:95
            path.append(run.record(state=s, reward=r, next=next_, over=terminated, done=done))  # critic.lee:96
            s = next_  # critic.lee:97
        run.keep("episode", path=path)
    b = run.stack(path)  # critic.lee:98
    gain = by_monte_carlo_gain(b.reward, b.done, gamma)  # critic.lee:99
    for step in run.loop("step", 1, steps, critic=critic, opt=opt):
        run.step(by_monte_carlo_step(critic, opt, b.state, gain))  # critic.lee:101
    reported_start, reported_gap = by_monte_carlo_start_gap(critic, b.state, b.reward, b.next, b.over, gamma)
    run.report(start=reported_start, gap=reported_gap)  # critic.lee:102
    return critic


def by_monte_carlo_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 4)  # critic.lee:93
    return a


def by_monte_carlo_gain(b_reward, b_done, gamma):
    """b_reward [b_state_n], b_done bool[b_state_n] -> [b_state_n]"""
    gain = gains(b_reward, b_done, gamma=gamma)  # [b_state_n]  critic.lee:99
    return gain  # [b_state_n]


def by_monte_carlo_step(critic, opt, b_state, gain):
    """One step of by_monte_carlo."""
    loss, saved_monte_carlo = monte_carlo_saved(critic, b_state, gain)  # critic.lee:101
    d_critic = monte_carlo_backward_parameters(b_state, saved_monte_carlo, 16, FLOAT(1.0))
    opt.update(critic.parameters, critic.flat(d_critic))
    return loss


def by_monte_carlo_start_gap(critic, b_state, b_reward, b_next, b_over, gamma):
    """b_state int[b_state_n], b_reward [b_state_n], b_next int[b_state_n], b_over bool[b_state_n] -> [], []"""
    solve = expected(b_state, b_reward, b_next, b_over, 16, gamma=gamma)  # [16]  critic.lee:103
    return critic.value[0], np.abs(critic.value - solve).max()  # critic.lee:102


def by_difference(moves=20000, steps=400, gamma=0.99, rate=0.02, *, run=None):
    """Moves in any number: no episode has to end."""
    from leec.runtime.run import Run

    run = run or Run("by_difference")
    lake = run.environment("FrozenLake-v1", observation=("int", (), 0, 15), action=("int", (), 0, 3))  # critic.lee:13
    critic = Table(states=16, key=run.key("critic"))  # critic.lee:110
    opt = Adam(lr=rate)  # critic.lee:111
    path = []  # critic.lee:112
    s = lake.reset(run.key("s"))  # critic.lee:113
    path, s = run.restore("t", path=path, s=s)
    for t in run.loop("t", 0, moves - 1, lake=lake):
        a = by_difference_a(key=run.key("by_difference"))  # critic.lee:115
        next_, r, terminated, truncated = lake.step(a)  # critic.lee:116
        path.append(run.record(state=s, reward=r, next=next_, over=terminated))  # critic.lee:117
        s = next_  # critic.lee:118
        if terminated or truncated:
            s = lake.reset(run.key("s_2"))  # critic.lee:120
        run.keep("t", path=path, s=s)
    b = run.stack(path)  # critic.lee:121
    for step in run.loop("step", 1, steps, critic=critic, opt=opt):
        run.step(by_difference_step(critic, opt, b.state, b.reward, b.next, b.over, gamma))  # critic.lee:123
    reported_start, reported_gap = by_difference_start_gap(critic, b.state, b.reward, b.next, b.over, gamma)
    run.report(start=reported_start, gap=reported_gap)  # critic.lee:124
    return critic


def by_difference_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 4)  # critic.lee:115
    return a


def by_difference_step(critic, opt, b_state, b_reward, b_next, b_over, gamma):
    """One step of by_difference."""
    # critic.lee:123
    loss, saved_temporal_difference = temporal_difference_saved(critic, b_state, b_reward, b_next, b_over, gamma=gamma)
    d_loss = FLOAT(1.0)
    d_critic = temporal_difference_backward_parameters(b_state, saved_temporal_difference, 16, d_loss)
    opt.update(critic.parameters, critic.flat(d_critic))
    return loss


def by_difference_start_gap(critic, b_state, b_reward, b_next, b_over, gamma):
    """b_state int[b_state_n], b_reward [b_state_n], b_next int[b_state_n], b_over bool[b_state_n] -> [], []"""
    solve = expected(b_state, b_reward, b_next, b_over, 16, gamma=gamma)  # [16]  critic.lee:125
    return critic.value[0], np.abs(critic.value - solve).max()  # critic.lee:124


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub**2), sub


def mse_backward(sub, d_mean):
    """From d_mean to the gradients by y and target."""
    y_0 = sub.shape[0]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, d_mean) * sub)  # [y_0]
    d_target = -d_y  # [y_0]
    return d_y, d_target


def mse_backward_2(sub, d_mean):
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


def eye(n):
    """The unit matrix."""
    matrix = np.where(np.arange(n)[:, None] == np.arange(n), FLOAT(1.0), 0.0)  # [n, n]  prelude.lee:247
    return matrix  # [n, n]


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = np.arange(classes)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).astype(FLOAT)  # [rows, classes]  prelude.lee:254


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "critic": 0x0D9D494E3292A8F3,
    "next": 0x1637742F7A98A1A9,
    "r": 0xF1DC5A7F078E3ACB,
    "s": 0xDE6ECFAAC38449E6,
    "u": 0x08D267E10C593806,
    "value": 0x196B9BE45174F330,
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
