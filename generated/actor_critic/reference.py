"""An actor and a critic that share a trunk, on a pole that has to be balanced (lecture: reinforcement).

An action was as good as what it brought more than the critic expected: A_t = r_t + γ V(s_{t+1}) - V(s_t). The notes
print it without γ. The critic learns by temporal difference, at the same moves.

Made from specs/reinforcement/actor_critic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/actor_critic.lee
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


class ActorCritic(Model):
    """What both have to see of a state is learned once: scores of the actions, and the state's value."""

    members = ("trunk", "actor", "critic")

    def __init__(self, inputs, hidden, actions, *, key=(0, 0)):
        self.inputs, self.hidden, self.actions = inputs, hidden, actions
        self.trunk = Linear(inputs, hidden, key=fold(key, SITES["trunk"]))  # actor_critic.lee:20
        self.actor = Linear(hidden, actions, key=fold(key, SITES["actor"]))  # actor_critic.lee:21
        self.critic = Linear(hidden, 1, key=fold(key, SITES["critic"]))  # actor_critic.lee:22
        self.lay_out()

    def forward(self, s):
        """s [s_0, inputs] -> [s_0, actions], [s_0, 1]"""
        h = np.tanh(self.trunk(s))  # [s_0, hidden]  actor_critic.lee:25
        return self.actor(h), self.critic(h)  # actor_critic.lee:26

    def forward_saved(self, s):
        """As forward, and what its gradient needs."""
        h = np.tanh(self.trunk(s))  # [s_0, hidden]  actor_critic.lee:25
        return self.actor(h), self.critic(h), h  # actor_critic.lee:26

    def forward_backward(self, s, h, d_add_2, d_add_3):
        """From d_add_2 and d_add_3 to the gradients by the parameters and s."""
        # gradient of return actor(h), critic(h)   actor_critic.lee:26
        d_critic, d_h_2 = self.critic.forward_backward(h, d_add_3)
        d_actor, d_h_3 = self.actor.forward_backward(h, d_add_2)
        # gradient of h = tanh(trunk(s))   actor_critic.lee:25
        d_h = d_h_2 + d_h_3  # [s_0, hidden]
        d_trunk, d_s = self.trunk.forward_backward(s, d_h * (1 - h**2))
        return {"trunk": d_trunk, "actor": d_actor, "critic": d_critic}, d_s

    def forward_backward_parameters(self, s, h, d_add_2, d_add_3):
        """From d_add_2 and d_add_3 to the gradient by the parameters."""
        # gradient of return actor(h), critic(h)   actor_critic.lee:26
        d_critic, d_h_2 = self.critic.forward_backward(h, d_add_3)
        d_actor, d_h_3 = self.actor.forward_backward(h, d_add_2)
        # gradient of h = tanh(trunk(s))   actor_critic.lee:25
        d_h = d_h_2 + d_h_3  # [s_0, hidden]
        d_trunk = Linear.forward_backward_parameters(s, d_h * (1 - h**2))
        return {"trunk": d_trunk, "actor": d_actor, "critic": d_critic}

    def value(self, s):
        """s [n, inputs] -> [n]"""
        n = s.shape[0]
        return self.critic(np.tanh(self.trunk(s))).reshape(n)  # [n]  actor_critic.lee:32

    def score(self, s):
        """s [inputs] -> [actions]"""
        # [1, actions]  actor_critic.lee:29
        actor_out = self.actor(np.tanh(self.trunk(s[None]).reshape(self.hidden))[None])
        return actor_out.reshape(self.actions)  # [actions]


def advantage(reward, value, after, over, gamma=0.99):
    """reward [n], value [n], after [n], over bool[n] -> [n]"""
    return reward + gamma * np.where(over, 0, after) - value  # [n]  actor_critic.lee:36


def advantage_backward(over, gamma, d_y):
    """From d_y to the gradients by reward, value and after."""
    # gradient of return reward + gamma * where(over, 0, after) - value   actor_critic.lee:36
    d_value = -d_y  # [n]
    d_after = np.where(over, 0, d_y * gamma)  # [n]
    return d_y, d_value, d_after


def advantage_backward_2(d_y):
    """From d_y to the gradients by reward and value."""
    # gradient of return reward + gamma * where(over, 0, after) - value   actor_critic.lee:36
    d_value = -d_y  # [n]
    return d_y, d_value


def advantage_backward_3(d_y):
    """From d_y to the gradient by value."""
    # gradient of return reward + gamma * where(over, 0, after) - value   actor_critic.lee:36
    d_value = -d_y  # [n]
    return d_value  # [n]


def advantageAsPrinted(reward, value, after, over, gamma=0.99):
    """Without γ.

    reward [n], value [n], after [n], over bool[n] -> [n]
    """
    return reward + np.where(over, 0, after) - value  # [n]  actor_critic.lee:41


def advantageAsPrinted_backward(over, d_y):
    """From d_y to the gradients by reward, value and after."""
    # gradient of return reward + where(over, 0, after) - value   actor_critic.lee:41
    d_value = -d_y  # [n]
    d_after = np.where(over, 0, d_y)  # [n]
    return d_y, d_value, d_after


def joint(net, s, a, r, next_, over, gamma=0.99, weight=0.5, bonus=0.01):
    """The actor by the advantage, which is a number to it; the critic by its own error; less a bonus for entropy.

    s [n, net.inputs], a int[n], r [n], next [n, net.inputs], over bool[n] -> []
    """
    n = s.shape[0]
    score, value = net(s)  # actor_critic.lee:56
    error = advantage(r, value.reshape(n), stop(net.value(next_)), over, gamma=gamma)  # [n]  actor_critic.lee:58
    categorical_score = log_softmax(score, (1,))  # [n, net.actions]  prelude.lee:127
    mean = (of_class(categorical_score, a) * stop(error)).mean()  # actor_critic.lee:59
    sum_ = share(softmax(score, (1,)), categorical_score).sum(axis=1)  # [n]
    return weight * (error**2).mean() - mean + bonus * sum_.mean()


def joint_saved(net, s, a, r, next_, over, gamma=0.99, weight=0.5, bonus=0.01):
    """As joint, and what its gradient needs."""
    n = s.shape[0]
    score, value, saved_net = net.forward_saved(s)  # actor_critic.lee:56
    error = advantage(r, value.reshape(n), stop(net.value(next_)), over, gamma=gamma)  # [n]  actor_critic.lee:58
    softmax_ = softmax(score, (1,))  # [n, net.actions]  prelude.lee:122
    categorical_score = log_softmax(score, (1,))  # [n, net.actions]  prelude.lee:127
    graft_2 = stop(error)  # [n]  actor_critic.lee:59
    mean = (of_class(categorical_score, a) * graft_2).mean()
    select, saved_share = share_saved(softmax_, categorical_score)
    sub_2 = weight * (error**2).mean() - mean
    saved = saved_net, error, softmax_, categorical_score, graft_2, saved_share
    return sub_2 + bonus * select.sum(axis=1).mean(), saved


def joint_backward(net, s, a, weight, bonus, saved, d_y):
    """From d_y to the gradients by net, s and r."""
    saved_net, error, softmax_, categorical_score, graft_2, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(p, a) * stop(error)) + weight * mean(error ** 2) - bonu..   actor_critic.lee:59
    d_select = np.broadcast_to(d_y * bonus / n, (n, net.actions))  # [n, net.actions]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    d_categorical_score_3 = of_class_backward(a, net.actions, -(d_y / n) * graft_2)  # [n, net.actions]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [n, net.actions]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of error = advantage(r, value[:, 0], stop(net.value(next)), over, gamma)   actor_critic.lee:58
    d_error = 2 * (d_y * weight / n) * error  # [n]
    d_r, d_value_flat = advantage_backward_2(d_error)
    d_value = d_value_flat[:, None]  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_score_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, net.actions]
    # gradient of score, value = net(s)   actor_critic.lee:56
    d_score = d_score_2 + softmax_ * (d_softmax - sum_2)  # [n, net.actions]
    d_net, d_s = net.forward_backward(s, saved_net, d_score, d_value)
    return d_net, d_s, d_r


def joint_backward_parameters(net, s, a, weight, bonus, saved, d_y):
    """From d_y to the gradient by net."""
    saved_net, error, softmax_, categorical_score, graft_2, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(p, a) * stop(error)) + weight * mean(error ** 2) - bonu..   actor_critic.lee:59
    d_select = np.broadcast_to(d_y * bonus / n, (n, net.actions))  # [n, net.actions]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    d_categorical_score_3 = of_class_backward(a, net.actions, -(d_y / n) * graft_2)  # [n, net.actions]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [n, net.actions]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of error = advantage(r, value[:, 0], stop(net.value(next)), over, gamma)   actor_critic.lee:58
    d_error = 2 * (d_y * weight / n) * error  # [n]
    d_value = advantage_backward_3(d_error)[:, None]  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_score_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, net.actions]
    # gradient of score, value = net(s)   actor_critic.lee:56
    d_score = d_score_2 + softmax_ * (d_softmax - sum_2)  # [n, net.actions]
    d_net = net.forward_backward_parameters(s, saved_net, d_score, d_value)
    return d_net


def example_one_move(key):
    reward = normal(fold(key, SITES["reward"]), (5,), FLOAT)  # [5]  actor_critic.lee:63
    value = normal(fold(key, SITES["value"]), (5,), FLOAT)  # [5]  actor_critic.lee:64
    after = normal(fold(key, SITES["after"]), (5,), FLOAT)  # [5]  actor_critic.lee:65
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (5,), (slice(2, 3),))  # bool[5]  actor_critic.lee:67
    over_2 = np.where(unslice_, unslice_, False)  # bool[5]
    sub = advantage(reward, value, after, over_2)  # [5]  actor_critic.lee:68
    d_reward, d_value, d_after = advantage_backward(over_2, 0.99, 2 * sub)
    return (sub**2).sum(), d_reward, d_value, d_after


def example_one_move_as_printed(key):
    reward = normal(fold(key, SITES["reward"]), (5,), FLOAT)  # [5]  actor_critic.lee:72
    value = normal(fold(key, SITES["value"]), (5,), FLOAT)  # [5]  actor_critic.lee:73
    after = normal(fold(key, SITES["after"]), (5,), FLOAT)  # [5]  actor_critic.lee:74
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (5,), (slice(2, 3),))  # bool[5]  actor_critic.lee:76
    over_2 = np.where(unslice_, unslice_, False)  # bool[5]
    sub = advantageAsPrinted(reward, value, after, over_2)  # [5]  actor_critic.lee:77
    d_reward, d_value, d_after = advantageAsPrinted_backward(over_2, 2 * sub)
    return (sub**2).sum(), d_reward, d_value, d_after


def example_both(key):
    net = ActorCritic(4, 6, 3, key=fold(key, SITES["net"]))  # actor_critic.lee:81
    s = normal(fold(key, SITES["s"]), (5, 4), FLOAT)  # [5, 4]  actor_critic.lee:82
    next_ = normal(fold(key, SITES["next"]), (5, 4), FLOAT)  # [5, 4]  actor_critic.lee:83
    a = randint(fold(key, SITES["a"]), (5,), 0, 3)  # int[5]  actor_critic.lee:84
    r = normal(fold(key, SITES["r"]), (5,), FLOAT)  # [5]  actor_critic.lee:85
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (5,), (slice(3, 4),))  # bool[5]  actor_critic.lee:87
    over_2 = np.where(unslice_, unslice_, False)  # bool[5]
    value, saved_joint = joint_saved(net, s, a, r, next_, over_2)  # actor_critic.lee:88
    d_net, d_s, d_r = joint_backward(net, s, a, 0.5, 0.01, saved_joint, FLOAT(1.0))
    return value, net.at(d_net), d_s, np.zeros((5, 4), dtype=FLOAT), d_r


def advantage_actor_critic(rounds=1500, length=64, gamma=0.99, rate=0.01, *, run=None):
    """A step after `length` moves, wherever episodes end: the critic stands in for what has not happened."""
    from leec.runtime.run import Run

    run = run or Run("advantage_actor_critic")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    net = ActorCritic(inputs=4, hidden=64, actions=2, key=run.key("net"))  # actor_critic.lee:93
    opt = Adam(lr=rate)  # actor_critic.lee:94
    s = cartpole.reset(run.key("s"))  # actor_critic.lee:95
    score = 0.0  # actor_critic.lee:96
    s, score = run.restore("round", s=s, score=score)
    for round_ in run.loop("round", 1, rounds, net=net, opt=opt, cartpole=cartpole):
        path = []  # actor_critic.lee:98
        finished = []  # actor_critic.lee:99
        for t in run.loop("t", 0, length - 1):
            a = advantage_actor_critic_a(net, s, key=run.key("advantage_actor_critic"))  # actor_critic.lee:101
            next_, r, terminated, truncated = cartpole.step(a)  # actor_critic.lee:102
            path.append(run.record(state=s, action=a, reward=r, next=next_, over=terminated))  # actor_critic.lee:103
            score = score + r  # actor_critic.lee:104
            s = next_  # actor_critic.lee:105
            if terminated or truncated:
                finished.append(score)  # actor_critic.lee:107
                score = 0.0  # actor_critic.lee:108
                s = cartpole.reset(run.key("s_2"))  # actor_critic.lee:109
        b = run.stack(path)  # actor_critic.lee:110
        run.step(advantage_actor_critic_step(net, opt, b.state, b.action, b.reward, b.next, b.over, gamma))
        if len(finished) > 0:
            run.report(score=run.stack(finished).mean())  # actor_critic.lee:113
        run.keep("round", s=s, score=score)
    return net


def advantage_actor_critic_a(net, s, key):
    """s [4] -> []"""
    categorical_below = np.cumsum(softmax(net.score(s), (0,)), axis=0)  # [2]  actor_critic.lee:101
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = np.minimum(categorical_passed.astype(np.int64).sum(), 1)
    return a


def advantage_actor_critic_step(net, opt, b_state, b_action, b_reward, b_next, b_over, gamma):
    """One step of advantage_actor_critic."""
    # actor_critic.lee:111
    loss, saved_joint = joint_saved(net, b_state, b_action, b_reward, b_next, b_over, gamma=gamma)
    d_loss = FLOAT(1.0)
    d_net = joint_backward_parameters(net, b_state, b_action, 0.5, 0.01, saved_joint, d_loss)
    opt.update(net.parameters, net.flat(d_net))
    return loss


def share(p, of):
    """p · of, 0 where p is 0.

    p [p_0, p_1], of [p_0, p_1] -> [p_0, p_1]
    """
    return masked(p * of, p > 0)  # [p_0, p_1]  distributions.lee:114


def share_saved(p, of):
    """As share, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  distributions.lee:114
    return masked(p * of, gt), gt


def share_backward(p, of, gt, d_y):
    """From d_y to the gradients by p and of."""
    # gradient of return where(p > 0, p * of, 0)   distributions.lee:114
    d_p = masked(d_y * of, gt)  # [p_0, p_1]
    d_of = masked(d_y * p, gt)  # [p_0, p_1]
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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "actor": 0x24C4E80237A6BD04,
    "after": 0xF3470001772D0424,
    "b": 0x754F854DE3C27284,
    "critic": 0x0D9D494E3292A8F3,
    "net": 0xF087C76970C91612,
    "next": 0x1637742F7A98A1A9,
    "r": 0xF1DC5A7F078E3ACB,
    "reward": 0xAD098299C4960F31,
    "s": 0xDE6ECFAAC38449E6,
    "trunk": 0xFF2A513D7D15F4C6,
    "value": 0x196B9BE45174F330,
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
