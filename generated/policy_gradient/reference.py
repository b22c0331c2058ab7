"""An actor of a pole that has to be balanced, its policy gradient, and its imitation (lecture: reinforcement).

The actor gives scores, softmax makes probabilities of them, and chance takes an action. ∇ E[R] = E[Σ_t ∇ log π(a_t | s_t)
A_t]: REINFORCE takes for A the discounted gain that followed, less its mean over the episode and over its deviation.
Behaviour cloning is the same with A = 1, at moves of somebody who knows how.

Made from specs/reinforcement/policy_gradient.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/policy_gradient.lee
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


def chances_saved(policy, s):
    """As chances, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # policy_gradient.lee:20
    return softmax(add_2, (1,)), saved_policy  # prelude.lee:122


def chances_backward(policy, s, saved_policy, div, d_div):
    """From d_div to the gradients by policy and s."""
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_add_2 = div * (d_div - (d_div * div).sum(axis=1, keepdims=True))  # [n, policy.sizes_2]
    # gradient of return softmax(policy(s), axis = 1)   policy_gradient.lee:20
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2)
    return d_policy, d_s


def lost(reward):
    """Minus the return.

    reward [time] -> []
    """
    return -reward.sum()  # policy_gradient.lee:25


def discounted(reward, gamma=0.99):
    """gain_t = reward_t + γ gain_{t+1}

    reward [time] -> [time]
    """
    time = reward.shape[0]
    g = FLOAT(0)  # policy_gradient.lee:31
    out = np.empty((time,), dtype=FLOAT)  # [time]
    for t in reversed(range(time)):
        g, out[t] = discounted_step(g, reward[t], gamma)
    return out  # [time]


def discounted_step(g, reward_t, gamma):
    g_2 = reward_t + gamma * g  # policy_gradient.lee:32
    return g_2, g_2


def standard(x):
    """Mean 0 and deviation 1.

    x [n] -> [n]
    """
    return (x - x.mean()) / (std(x) + 1e-8)  # [n]  policy_gradient.lee:39


def standard_saved(x):
    """As standard, and what its gradient needs."""
    sqrt, saved_std = std_saved(x)  # policy_gradient.lee:39
    add = sqrt + 1e-8
    return (x - x.mean()) / add, (sqrt, saved_std, add)


def standard_backward(saved, div, d_y):
    """From d_y to the gradient by x."""
    sqrt, saved_std, add = saved
    n = div.shape[0]
    # gradient of return (x - mean(x)) / (std(x) + 1e-8)   policy_gradient.lee:39
    d_sub = d_y / add  # [n]
    d_x_2 = std_backward(saved_std, sqrt, 0, -(d_y * div / add).sum())  # [n]
    d_x = d_x_2 + d_sub - d_sub.sum() / n  # [n]
    return d_x  # [n]


def surprise_saved(policy, s, a, advantage, bonus=0.0):
    """As surprise, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # policy_gradient.lee:44
    softmax_ = softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:122
    categorical_score = log_softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:127
    found = of_class(categorical_score, a)  # [n]  policy_gradient.lee:45
    select, saved_share = share_saved(softmax_, categorical_score)
    mul_2 = bonus * select.sum(axis=1).mean()
    saved = saved_policy, softmax_, categorical_score, found, saved_share
    return mul_2 - (found * advantage).mean(), saved


def surprise_backward(policy, s, a, advantage, bonus, saved, d_sub):
    """From d_sub to the gradients by policy, s and advantage."""
    saved_policy, softmax_, categorical_score, found, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(p, a) * advantage) - bonus * mean(entropy(p))   policy_gradient.lee:45
    d_select = np.broadcast_to(d_sub * bonus / n, (n, policy.sizes[2]))  # [n, policy.sizes_2]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    neg = -(d_sub / n)
    d_advantage = neg * found  # [n]
    d_categorical_score_3 = of_class_backward(a, policy.sizes[2], neg * advantage)  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [n, policy.sizes_2]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of p = categorical(policy(s))   policy_gradient.lee:44
    d_add_2 = d_add_2_2 + softmax_ * (d_softmax - sum_2)  # [n, policy.sizes_2]
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2)
    return d_policy, d_s, d_advantage


def surprise_backward_parameters(policy, s, a, advantage, bonus, saved, d_sub):
    """From d_sub to the gradient by policy."""
    saved_policy, softmax_, categorical_score, _, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(p, a) * advantage) - bonus * mean(entropy(p))   policy_gradient.lee:45
    d_select = np.broadcast_to(d_sub * bonus / n, (n, policy.sizes[2]))  # [n, policy.sizes_2]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    d_categorical_score_3 = of_class_backward(a, policy.sizes[2], -(d_sub / n) * advantage)  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [n, policy.sizes_2]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of p = categorical(policy(s))   policy_gradient.lee:44
    d_add_2 = d_add_2_2 + softmax_ * (d_softmax - sum_2)  # [n, policy.sizes_2]
    d_policy = policy.forward_backward_parameters(s, saved_policy, d_add_2)
    return d_policy


def imitation_saved(policy, s, a):
    """As imitation, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # policy_gradient.lee:50
    categorical_score = log_softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:127
    return -of_class(categorical_score, a).mean(), (saved_policy, categorical_score)  # policy_gradient.lee:50


def imitation_backward(policy, s, a, saved, d_neg):
    """From d_neg to the gradients by policy and s."""
    saved_policy, categorical_score = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(categorical(policy(s)), a))   policy_gradient.lee:50
    # [n, policy.sizes_2]
    d_categorical_score = of_class_backward(a, policy.sizes[2], np.broadcast_to(-(d_neg / n), (n,)))
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    d_add_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of return -mean(log_prob(categorical(policy(s)), a))   policy_gradient.lee:50
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2)
    return d_policy, d_s


def imitation_backward_parameters(policy, s, a, saved, d_neg):
    """From d_neg to the gradient by policy."""
    saved_policy, categorical_score = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(categorical(policy(s)), a))   policy_gradient.lee:50
    # [n, policy.sizes_2]
    d_categorical_score = of_class_backward(a, policy.sizes[2], np.broadcast_to(-(d_neg / n), (n,)))
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    d_add_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of return -mean(log_prob(categorical(policy(s)), a))   policy_gradient.lee:50
    d_policy = policy.forward_backward_parameters(s, saved_policy, d_add_2)
    return d_policy


def example_gains():
    """After an hour of nothing comes a reward of 1."""
    fill_2 = np.full(1, True, dtype=np.bool_)  # bool[1]  policy_gradient.lee:56
    unslice_2 = unslice(np.ones(1, dtype=FLOAT), (4,), (slice(3, 4),))  # [4]
    reward_2 = masked(unslice_2, unslice(fill_2, (4,), (slice(3, 4),)))  # [4]
    return discounted(reward_2).sum()  # policy_gradient.lee:57


def example_episode(key):
    policy = MLP((4, 8, 2), key=fold(key, SITES["policy"]))  # policy_gradient.lee:61
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  policy_gradient.lee:62
    a = randint(fold(key, SITES["a"]), (6,), 0, 2)  # int[6]  policy_gradient.lee:63
    advantage = normal(fold(key, SITES["advantage"]), (6,), FLOAT)  # [6]  policy_gradient.lee:64
    div, saved_standard = standard_saved(advantage)  # policy_gradient.lee:65
    value, saved_surprise = surprise_saved(policy, s, a, div, bonus=0.01)
    d_policy, d_s, d_div = surprise_backward(policy, s, a, div, 0.01, saved_surprise, FLOAT(1.0))
    return value, policy.at(d_policy), d_s, standard_backward(saved_standard, div, d_div)


def example_scores(key):
    policy = MLP((4, 8, 3), key=fold(key, SITES["policy"]))  # policy_gradient.lee:69
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  policy_gradient.lee:70
    c = normal(fold(key, SITES["c"]), (6, 3), FLOAT)  # [6, 3]  policy_gradient.lee:71
    d_c, saved_chances = chances_saved(policy, s)  # policy_gradient.lee:72
    d_policy, d_s = chances_backward(policy, s, saved_chances, d_c, c)
    return (c * d_c).sum(), policy.at(d_policy), d_s, d_c


def example_shown(key):
    policy = MLP((4, 8, 3), key=fold(key, SITES["policy"]))  # policy_gradient.lee:76
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  policy_gradient.lee:77
    a = randint(fold(key, SITES["a"]), (6,), 0, 3)  # int[6]  policy_gradient.lee:78
    value, saved_imitation = imitation_saved(policy, s, a)  # policy_gradient.lee:79
    d_policy, d_s = imitation_backward(policy, s, a, saved_imitation, FLOAT(1.0))
    return value, policy.at(d_policy), d_s


def reinforce(episodes=500, gamma=0.99, rate=3e-3, *, run=None):
    """One step after every episode, with all that was seen in it."""
    from leec.runtime.run import Run

    run = run or Run("reinforce")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy"))  # policy_gradient.lee:84
    opt = Adam(lr=rate)  # policy_gradient.lee:85
    for episode in run.loop("episode", 1, episodes, opt=opt, policy=policy, cartpole=cartpole):
        s = cartpole.reset(run.key("s"))  # policy_gradient.lee:87
        path = []  # policy_gradient.lee:88
        done = False  # policy_gradient.lee:89
        while run.again("while", not done):
            a = reinforce_a(policy, s, key=run.key("reinforce"))  # policy_gradient.lee:91
            next_, r, terminated, truncated = cartpole.step(a)  # policy_gradient.lee:92
            path.append((s, a, r))  # policy_gradient.lee:93
            done = terminated or truncated  # policy_gradient.lee:94
            s = next_  # policy_gradient.lee:95
        states, actions, rewards = run.stack(path)  # policy_gradient.lee:96
        run.step(reinforce_step(policy, opt, states, actions, rewards, gamma))  # policy_gradient.lee:97
        run.report(score=rewards.sum())  # policy_gradient.lee:98
    return policy


def reinforce_2(episodes=500, gamma=0.99, rate=3e-3, *, run=None):
    """One step after every episode, with all that was seen in it."""
    from leec.runtime.run import Run

    run = run or Run("reinforce_2")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy"))  # policy_gradient.lee:84
    opt = Adam(lr=rate)  # policy_gradient.lee:85
    for episode in run.loop("episode", 1, episodes, opt=opt, policy=policy, cartpole=cartpole):
        s = cartpole.reset(run.key("s"))  # policy_gradient.lee:87
        path = []  # policy_gradient.lee:88
        done = False  # policy_gradient.lee:89
        while run.again("while", not done):
            a = reinforce_2_a(policy, s, key=run.key("reinforce_2"))  # policy_gradient.lee:91
            next_, r, terminated, truncated = cartpole.step(a)  # policy_gradient.lee:92
            path.append((s, a, r))  # policy_gradient.lee:93
            done = terminated or truncated  # policy_gradient.lee:94
            s = next_  # policy_gradient.lee:95
        states, actions, rewards = run.stack(path)  # policy_gradient.lee:96
        run.step(reinforce_2_step(policy, opt, states, actions, rewards, gamma))  # policy_gradient.lee:97
        run.report(score=rewards.sum())  # policy_gradient.lee:98
    return policy


def reinforce_a(policy, s, key):
    """s [4] -> []"""
    categorical_below = np.cumsum(softmax(policy.forward_2(s), (0,)), axis=0)  # [2]  policy_gradient.lee:91
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = np.minimum(categorical_passed.astype(np.int64).sum(), 1)
    return a


def reinforce_2_a(policy, s, key):
    """s [4] -> []"""
    categorical_below = np.cumsum(softmax(policy.forward_2(s), (0,)), axis=0)  # [2]  policy_gradient.lee:91
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = np.minimum(categorical_passed.astype(np.int64).sum(), 1)
    return a


def reinforce_step(policy, opt, states, actions, rewards, gamma):
    """One step of reinforce."""
    div = standard(discounted(rewards, gamma=gamma))  # [states_n]  policy_gradient.lee:97
    loss, saved_surprise = surprise_saved(policy, states, actions, div)
    d_loss = FLOAT(1.0)
    d_policy = surprise_backward_parameters(policy, states, actions, div, 0.0, saved_surprise, d_loss)
    opt.update(policy.parameters, policy.flat(d_policy))
    return loss


def reinforce_2_step(policy, opt, states, actions, rewards, gamma):
    """One step of reinforce_2."""
    div = standard(discounted(rewards, gamma=gamma))  # [states_n]  policy_gradient.lee:97
    loss, saved_surprise = surprise_saved(policy, states, actions, div)
    d_loss = FLOAT(1.0)
    d_policy = surprise_backward_parameters(policy, states, actions, div, 0.0, saved_surprise, d_loss)
    opt.update(policy.parameters, policy.flat(d_policy))
    return loss


def play(episodes=20, *, run=None):
    """An actor that has learned nothing; its loss is what it collects, with the sign turned."""
    from leec.runtime.run import Run

    run = run or Run("play")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy"))  # policy_gradient.lee:104
    for episode in run.loop("episode", 1, episodes, cartpole=cartpole):
        s = cartpole.reset(run.key("s"))  # policy_gradient.lee:106
        rewards = []  # policy_gradient.lee:107
        done = False  # policy_gradient.lee:108
        while run.again("while", not done):
            a = play_a(policy, s, key=run.key("play"))  # policy_gradient.lee:110
            s, r, terminated, truncated = cartpole.step(a)  # policy_gradient.lee:111
            rewards.append(r)  # policy_gradient.lee:112
            done = terminated or truncated  # policy_gradient.lee:113
        run.report(loss=lost(run.stack(rewards)))  # policy_gradient.lee:114
    return policy


def play_a(policy, s, key):
    """s [4] -> []"""
    categorical_below = np.cumsum(softmax(policy.forward_2(s), (0,)), axis=0)  # [2]  policy_gradient.lee:110
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = np.minimum(categorical_passed.astype(np.int64).sum(), 1)
    return a


def cloned(episodes=5, steps=200, tests=20, rate=0.01, *, run=None):
    """An expert shows some episodes; the pupil does what it did, and is then tested alone."""
    from leec.runtime.run import Run

    run = run or Run("cloned")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    expert = reinforce_2(run=run.call("reinforce_2"))  # policy_gradient.lee:120
    path = []  # policy_gradient.lee:121
    (path,) = run.restore("episode", path=path)
    for episode in run.loop("episode", 1, episodes, cartpole=cartpole):
        s = cartpole.reset(run.key("s"))  # policy_gradient.lee:123
        done = False  # policy_gradient.lee:124
        while run.again("while", not done):
            a = cloned_a(expert, s, key=run.key("cloned"))  # policy_gradient.lee:126
            path.append((s, a))  # policy_gradient.lee:127
            s, r, terminated, truncated = cartpole.step(a)  # policy_gradient.lee:128
            done = terminated or truncated  # policy_gradient.lee:129
        run.keep("episode", path=path)
    states, actions = run.stack(path)  # policy_gradient.lee:130
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy"))  # policy_gradient.lee:131
    opt = Adam(lr=rate)  # policy_gradient.lee:132
    for step in run.loop("step", 1, steps, opt=opt, policy=policy):
        run.step(cloned_step(policy, opt, states, actions))  # policy_gradient.lee:134
    total = 0.0  # policy_gradient.lee:135
    a, done, r, s, terminated, total, truncated = run.restore(
        "episode_2", a=a, done=done, r=r, s=s, terminated=terminated, total=total, truncated=truncated
    )
    for episode in run.loop("episode_2", 1, tests, cartpole=cartpole):
        s = cartpole.reset(run.key("s_2"))  # policy_gradient.lee:137
        done = False  # policy_gradient.lee:138
        while run.again("while_2", not done):
            a = cloned_a_2(policy, s)  # policy_gradient.lee:140
            s, r, terminated, truncated = cartpole.step(a)  # policy_gradient.lee:141
            total = total + r  # policy_gradient.lee:142
            done = terminated or truncated  # policy_gradient.lee:143
        run.keep("episode_2", a=a, done=done, r=r, s=s, terminated=terminated, total=total, truncated=truncated)
    run.report(shown=len(path) / episodes, score=total / tests)  # policy_gradient.lee:144
    return policy


def cloned_a(expert, s, key):
    """s [4] -> []"""
    categorical_below = np.cumsum(softmax(expert.forward_2(s), (0,)), axis=0)  # [2]  policy_gradient.lee:126
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = np.minimum(categorical_passed.astype(np.int64).sum(), 1)
    return a


def cloned_step(policy, opt, states, actions):
    """One step of cloned."""
    loss, saved_imitation = imitation_saved(policy, states, actions)  # policy_gradient.lee:134
    d_loss = FLOAT(1.0)
    d_policy = imitation_backward_parameters(policy, states, actions, saved_imitation, d_loss)
    opt.update(policy.parameters, policy.flat(d_policy))
    return loss


def cloned_a_2(policy, s):
    """s [4] -> []"""
    a = policy.forward_2(s).argmax(axis=0)  # policy_gradient.lee:140
    return a


def share_saved(p, of):
    """As share, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  distributions.lee:114
    return masked(p * of, gt), gt


def share_backward(p, of, gt, d_select):
    """From d_select to the gradients by p and of."""
    # gradient of return where(p > 0, p * of, 0)   distributions.lee:114
    d_p = masked(d_select * of, gt)  # [p_0, p_1]
    d_of = masked(d_select * p, gt)  # [p_0, p_1]
    return d_p, d_of


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


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0] -> []
    """
    x_0 = x.shape[0]
    sub = x - x.mean(axis=0, keepdims=True)  # [x_0]  prelude.lee:168
    total = (sub**2).sum()
    return total / (x_0 - ddof)  # prelude.lee:169


def var_saved(x, ddof=0):
    """As var, and what its gradient needs."""
    x_0 = x.shape[0]
    sub = x - x.mean(axis=0, keepdims=True)  # [x_0]  prelude.lee:168
    total = (sub**2).sum()
    return total / (x_0 - ddof), sub  # prelude.lee:169


def var_backward(sub, ddof, d_y):
    """From d_y to the gradient by x."""
    x_0 = sub.shape[0]
    # gradient of return total / (count(x) // count(total) - ddof)   prelude.lee:169
    d_total = d_y / (x_0 - ddof)
    # gradient of total = sum((x - mean(x, axis = axis, keepdims = true)) ** 2, axis = axis, ke..   prelude.lee:168
    d_sub = 2 * d_total * sub  # [x_0]
    d_x = d_sub + -d_sub.sum(axis=0, keepdims=True) / x_0  # [x_0]
    return d_x  # [x_0]


def std(x, ddof=0):
    """√var

    x [x_0] -> []
    """
    return np.sqrt(var(x, ddof=ddof))  # prelude.lee:174


def std_saved(x, ddof=0):
    """As std, and what its gradient needs."""
    div, saved_var = var_saved(x, ddof=ddof)  # prelude.lee:174
    return np.sqrt(div), (div, saved_var)


def std_backward(saved, sqrt, ddof, d_y):
    """From d_y to the gradient by x."""
    div, saved_var = saved
    # gradient of return sqrt(var(x, axis = axis, ddof = ddof, keepdims = keepdims))   prelude.lee:174
    d_x = var_backward(saved_var, ddof, d_y * 0.5 / np.where(div > 0, sqrt, np.inf))  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "advantage": 0x59CE0E8B7E2FB719,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "policy": 0x1B4CD66C6FC3ACDF,
    "s": 0xDE6ECFAAC38449E6,
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
