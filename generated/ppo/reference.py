"""Proximal policy optimisation on a pole that has to be balanced (lecture: reinforcement; Schulman et al. 2017).

Many small steps on the same moves, as long as the new policy stays near the one that made them: the ratio of
probabilities counts only inside 1 ± eps. Advantages are sums of what surprised the critic, decaying with distance.

Made from specs/reinforcement/ppo.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/ppo.lee
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


def advantages(reward, value, last, done, gamma=0.99, decay=0.95):
    """`last` is the value of the state after the final step; nothing flows across an end of episode.

    reward [time], value [time], done bool[time] -> [time]
    """
    time = reward.shape[0]
    a = FLOAT(0)  # ppo.lee:22
    out = np.empty((time,), dtype=FLOAT)  # [time]
    for t in reversed(range(time)):
        a, last, out[t] = advantages_step(a, last, done[t], reward[t], value[t], gamma, decay)
    return out  # [time]


def advantages_saved(reward, value, last, done, gamma=0.99, decay=0.95):
    """As advantages, and what its gradient needs."""
    time = reward.shape[0]
    a = FLOAT(0)  # ppo.lee:22
    out = np.empty((time,), dtype=FLOAT)  # [time]
    saved_advantages_step = [None] * time
    for t in reversed(range(time)):
        a, last, out[t], saved_advantages_step[t] = advantages_step_saved(
            a, last, done[t], reward[t], value[t], gamma, decay
        )
    return out, saved_advantages_step


def advantages_backward(saved_advantages_step, d_out):
    """From d_out to the gradients by reward, value and last."""
    time = d_out.shape[0]
    # gradient of for t in reversed(time):   ppo.lee:22
    d_a = FLOAT(0.0)
    d_a_2 = d_a
    d_value_t = d_a
    d_reward = np.empty((time,), dtype=FLOAT)  # [time]
    d_value = np.empty((time,), dtype=FLOAT)  # [time]
    for t in range(time):
        d_a_2, d_value_t, d_reward[t], d_value[t] = advantages_step_backward(
            saved_advantages_step[t], d_a_2, d_value_t, d_out[t]
        )
    return d_reward, d_value, d_value_t


def advantages_step(a, after, done_t, reward_t, value_t, gamma, decay):
    alive = np.where(done_t, 0, 1)  # ppo.lee:23
    cast_alive = alive.astype(FLOAT)  # ppo.lee:24
    error = reward_t + gamma * cast_alive * after - value_t
    a_2 = error + gamma * decay * cast_alive * a  # ppo.lee:25
    return a_2, value_t, a_2


def advantages_step_saved(a, after, done_t, reward_t, value_t, gamma, decay):
    """As advantages_step, and what its gradient needs."""
    alive = np.where(done_t, 0, 1)  # ppo.lee:23
    cast_alive = alive.astype(FLOAT)  # ppo.lee:24
    mul = gamma * cast_alive
    error = reward_t + mul * after - value_t
    mul_4 = gamma * decay * cast_alive  # ppo.lee:25
    a_2 = error + mul_4 * a
    return a_2, value_t, a_2, (mul, mul_4)


def advantages_step_backward(saved, d_a_2, d_y, d_out):
    """From d_a_2, d_y and d_out to the gradients by a, after, reward_t and value_t."""
    mul, mul_4 = saved
    # gradient of a = error + gamma * decay * alive * a   ppo.lee:25
    d_a_2_2 = d_a_2 + d_out
    d_a = d_a_2_2 * mul_4
    # gradient of error = reward[t] + gamma * alive * after - value[t]   ppo.lee:24
    d_after = d_a_2_2 * mul
    return d_a, d_after, d_a_2_2, d_y - d_a_2_2


def clipped_saved(policy, s, a, old, advantage, eps=0.2, bonus=0.01):
    """As clipped, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # ppo.lee:33
    softmax_ = softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:122
    categorical_score = log_softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:127
    ratio = np.exp(of_class(categorical_score, a) - old)  # [n]  ppo.lee:34
    mul = ratio * advantage  # [n]  ppo.lee:35
    minimum, saved_clip = clip_saved(ratio, 1 - eps, 1 + eps)
    mul_2 = minimum * advantage  # [n]
    gain = np.minimum(mul, mul_2)  # [n]
    select, saved_share = share_saved(softmax_, categorical_score)  # ppo.lee:36
    saved = saved_policy, softmax_, categorical_score, ratio, mul, minimum, saved_clip, mul_2, saved_share
    return bonus * select.sum(axis=1).mean() - gain.mean(), saved


def clipped_backward(policy, s, a, advantage, eps, bonus, saved, d_sub_3):
    """From d_sub_3 to the gradients by policy, s, old and advantage."""
    saved_policy, softmax_, categorical_score, ratio, mul, minimum, saved_clip, mul_2, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(gain) - bonus * mean(entropy(p))   ppo.lee:36
    d_select = np.broadcast_to(d_sub_3 * bonus / n, (n, policy.sizes[2]))  # [n, policy.sizes_2]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    neg = -(d_sub_3 / n)
    # gradient of gain = min(ratio * advantage, clip(ratio, 1 - eps, 1 + eps) * advantage)   ppo.lee:35
    le = mul <= mul_2  # bool[n]
    mul_3 = neg * advantage  # [n]
    d_ratio_4 = clip_backward(ratio, 1 - eps, 1 + eps, saved_clip, np.where(le, 0, mul_3))  # [n]
    # gradient of ratio = exp(log_prob(p, a) - old)   ppo.lee:34
    d_ratio = np.where(le, 0, d_ratio_4) + masked(mul_3, le)  # [n]
    d_sub = d_ratio * ratio  # [n]
    d_old = -d_sub  # [n]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + of_class_backward(a, policy.sizes[2], d_sub)  # [n, policy.sizes_2]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of p = categorical(policy(s))   ppo.lee:33
    d_add_2 = d_add_2_2 + softmax_ * (d_softmax - sum_2)  # [n, policy.sizes_2]
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2)
    d_advantage = np.where(le, 0, neg * minimum) + masked(neg * ratio, le)  # [n]
    return d_policy, d_s, d_old, d_advantage


def clipped_backward_parameters(policy, s, a, advantage, eps, bonus, saved, d_sub_3):
    """From d_sub_3 to the gradient by policy."""
    saved_policy, softmax_, categorical_score, ratio, mul, _, saved_clip, mul_2, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(gain) - bonus * mean(entropy(p))   ppo.lee:36
    d_select = np.broadcast_to(d_sub_3 * bonus / n, (n, policy.sizes[2]))  # [n, policy.sizes_2]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    # gradient of gain = min(ratio * advantage, clip(ratio, 1 - eps, 1 + eps) * advantage)   ppo.lee:35
    le = mul <= mul_2  # bool[n]
    mul_3 = -(d_sub_3 / n) * advantage  # [n]
    d_ratio_4 = clip_backward(ratio, 1 - eps, 1 + eps, saved_clip, np.where(le, 0, mul_3))  # [n]
    # gradient of ratio = exp(log_prob(p, a) - old)   ppo.lee:34
    d_ratio = np.where(le, 0, d_ratio_4) + masked(mul_3, le)  # [n]
    d_categorical_score_3 = of_class_backward(a, policy.sizes[2], d_ratio * ratio)  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [n, policy.sizes_2]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of p = categorical(policy(s))   ppo.lee:33
    d_add_2 = d_add_2_2 + softmax_ * (d_softmax - sum_2)  # [n, policy.sizes_2]
    d_policy = policy.forward_backward_parameters(s, saved_policy, d_add_2)
    return d_policy


def example_ends(key):
    """Two episodes: nothing of the second reaches the first."""
    reward = normal(fold(key, SITES["reward"]), (5,), FLOAT)  # [5]  ppo.lee:41
    value = normal(fold(key, SITES["value"]), (5,), FLOAT)  # [5]  ppo.lee:42
    last = normal(fold(key, SITES["last"]), (), FLOAT)  # ppo.lee:43
    unslice_ = unslice(np.full(1, True, dtype=np.bool_), (5,), (slice(2, 3),))  # bool[5]  ppo.lee:45
    done_2 = np.where(unslice_, unslice_, False)  # bool[5]
    out, saved_advantages = advantages_saved(reward, value, last, done_2)  # ppo.lee:46
    d_reward, d_value, d_last = advantages_backward(saved_advantages, 2 * out)
    return (out**2).sum(), d_reward, d_value, d_last


def example_ratio(key):
    """Moves of an older policy."""
    policy = MLP((4, 8, 2), key=fold(key, SITES["policy"]))  # ppo.lee:51
    older = MLP((4, 8, 2), key=fold(key, SITES["older"]))  # ppo.lee:52
    s = normal(fold(key, SITES["s"]), (20, 4), FLOAT)  # [20, 4]  ppo.lee:53
    a = randint(fold(key, SITES["a"]), (20,), 0, 2)  # int[20]  ppo.lee:54
    advantage = normal(fold(key, SITES["advantage"]), (20,), FLOAT)  # [20]  ppo.lee:55
    add_2, saved_older = older.forward_saved(s)  # ppo.lee:56
    categorical_score = log_softmax(add_2, (1,))  # [20, 2]  prelude.lee:127
    value, saved_clipped = clipped_saved(policy, s, a, of_class(categorical_score, a), advantage)  # ppo.lee:56
    d_value = FLOAT(1.0)
    d_policy, d_s_2, d_found, d_advantage = clipped_backward(policy, s, a, advantage, 0.2, 0.01, saved_clipped, d_value)
    d_categorical_score = of_class_backward(a, 2, d_found)  # [20, 2]
    sum_ = d_categorical_score.sum(axis=1, keepdims=True)  # [20, 1]  prelude.lee:127
    d_add_2 = d_categorical_score - np.exp(categorical_score) * sum_  # [20, 2]
    d_older, d_s_3 = older.forward_backward(s, saved_older, d_add_2)  # ppo.lee:56
    return value, policy.at(d_policy), policy.at(d_older), d_s_2 + d_s_3, d_advantage


def ppo(rounds=20, horizon=2048, epochs=10, batch=64, limit=0.02, gamma=0.99, rate=1e-3, *, run=None):
    """`horizon` moves a round; a round ends early when the policy has drifted from the one that made them."""
    from leec.runtime.run import Run

    run = run or Run("ppo")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))  # ppo.lee:13
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy"))  # ppo.lee:61
    critic = MLP(sizes=(4, 64, 1), key=run.key("critic"))  # ppo.lee:62
    opt = Adam(lr=rate)  # ppo.lee:63
    s = cartpole.reset(run.key("s"))  # ppo.lee:64
    score = 0.0  # ppo.lee:65
    s, score = run.restore("round", s=s, score=score)
    for round_ in run.loop("round", 1, rounds, critic=critic, opt=opt, policy=policy, cartpole=cartpole):
        path = []  # ppo.lee:67
        finished = []  # ppo.lee:68
        for t in run.loop("t", 0, horizon - 1):
            p_0, a = ppo_p_a(policy, s, key=run.key("ppo"))  # ppo.lee:70
            next_, r, terminated, truncated = cartpole.step(a)  # ppo.lee:72
            done = terminated or truncated  # ppo.lee:73
            logp, value, reward = ppo_logp_value_reward(truncated, gamma, critic, next_, p_0, a, s, r)  # ppo.lee:74
            path.append(run.record(state=s, action=a, logp=logp, value=value, reward=reward, done=done))  # ppo.lee:75
            score = score + r  # ppo.lee:83
            s = next_  # ppo.lee:84
            if done:
                finished.append(score)  # ppo.lee:86
                score = 0.0  # ppo.lee:87
                s = cartpole.reset(run.key("s_2"))  # ppo.lee:88
        b = run.stack(path)  # ppo.lee:89
        adv, target = ppo_adv_target(b.reward, b.value, critic, s, b.done, gamma)  # ppo.lee:90
        for epoch in run.loop("epoch", 1, epochs, critic=critic, opt=opt, policy=policy):
            for x, a, old, d, v in run.batches(
                "batches", (b.state, b.action, b.logp, adv, target), batch, shuffle=True
            ):
                run.step(ppo_step(policy, critic, opt, x, a, old, d, v))  # ppo.lee:95
            drift, condition = ppo_drift_condition(b.logp, policy, b.state, b.action, limit)  # ppo.lee:98
            if condition:
                break
        run.report(score=run.stack(finished).mean(), drift=drift)  # ppo.lee:101
        run.keep("round", s=s, score=score)
    return policy


def ppo_p_a(policy, s, key):
    """s [4] -> [2], []"""
    p_0 = policy.forward_2(s)  # [2]  ppo.lee:70
    categorical_below = np.cumsum(softmax(p_0, (0,)), axis=0)  # [2]  ppo.lee:71
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = np.minimum(categorical_passed.astype(np.int64).sum(), 1)
    return p_0, a


def ppo_logp_value_reward(truncated, gamma, critic, next_, p_reshape_4, a, s, r):
    """next [4], p_reshape_4 [2], s [4] -> [], [], []"""
    cut_ = np.where(truncated, gamma * critic.forward_2(next_).reshape(()), 0)  # ppo.lee:74
    logp = of_class(log_softmax(p_reshape_4, (0,))[None], a[None]).reshape(())  # ppo.lee:78
    value = critic.forward_2(s).reshape(())  # ppo.lee:79
    reward = r + cut_  # ppo.lee:80
    return logp, value, reward


def ppo_adv_target(b_reward, b_value, critic, s, b_done, gamma):
    """b_reward [b_state_n], b_value [b_state_n], s [4], b_done bool[b_state_n] -> [b_state_n], [b_state_n]"""
    reshape = critic.forward_2(s).reshape(())  # ppo.lee:90
    adv = advantages(b_reward, b_value, reshape, b_done, gamma=gamma)  # [b_state_n]
    target = adv + b_value  # [b_state_n]  ppo.lee:91
    adv_2 = (adv - adv.mean()) / (std(adv) + 1e-8)  # [b_state_n]  ppo.lee:92
    return adv_2, target


def ppo_step(policy, critic, opt, x, a, old, d, v):
    """One step of ppo."""
    batches_n = x.shape[0]
    sub_3, saved_clipped = clipped_saved(policy, x, a, old, d)  # ppo.lee:95
    add_2, saved_critic = critic.forward_saved(x)  # ppo.lee:96
    sub = add_2.reshape(batches_n) - v  # [batches_n]
    d_add_2 = (0.5 / batches_n * 2 * sub)[:, None]  # [batches_n, 1]
    d_critic = critic.forward_backward_parameters(x, saved_critic, d_add_2)
    d_loss = FLOAT(1.0)  # ppo.lee:95
    d_policy = clipped_backward_parameters(policy, x, a, d, 0.2, 0.01, saved_clipped, d_loss)
    update_together(opt, (policy, d_policy), (critic, d_critic))
    return sub_3 + 0.5 * (sub**2).mean()


def ppo_drift_condition(b_logp, policy, b_state, b_action, limit):
    """b_logp [b_state_n], b_state [b_state_n, 4], b_action int[b_state_n] -> [], []"""
    found = of_class(log_softmax(policy(b_state), (1,)), b_action)  # [b_state_n]  ppo.lee:98
    drift = (b_logp - found).mean()
    condition = drift > limit  # ppo.lee:99
    return drift, condition


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


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = np.maximum(x, low)  # [x_0]  prelude.lee:153
    return np.minimum(maximum, high), maximum


def clip_backward(x, low, high, maximum, d_minimum):
    """From d_minimum to the gradient by x."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    d_x = masked(masked(d_minimum, x >= low), maximum <= high)  # [x_0]
    return d_x  # [x_0]


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0] -> []
    """
    x_0 = x.shape[0]
    sub = x - x.mean(axis=0, keepdims=True)  # [x_0]  prelude.lee:168
    total = (sub**2).sum()
    return total / (x_0 - ddof)  # prelude.lee:169


def std(x, ddof=0):
    """√var

    x [x_0] -> []
    """
    return np.sqrt(var(x, ddof=ddof))  # prelude.lee:174


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "advantage": 0x59CE0E8B7E2FB719,
    "b": 0x754F854DE3C27284,
    "last": 0x840C26AC856B94B1,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "older": 0x737E884B3A603E36,
    "policy": 0x1B4CD66C6FC3ACDF,
    "reward": 0xAD098299C4960F31,
    "s": 0xDE6ECFAAC38449E6,
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


def update_together(optimizer, *pairs, each=False):
    """One update of several models, given with their gradients, as one vector; `each` for a rule of single tensors."""
    θ = np.concatenate([model.parameters for model, _ in pairs])
    shapes = [[shape for model, _ in pairs for shape in model.shapes()]] if each else []
    optimizer.update(θ, np.concatenate([model.flat(gradient) for model, gradient in pairs]), *shapes)
    stop = 0
    for model, _ in pairs:
        start, stop = stop, stop + model.parameters.size
        model.parameters[...] = θ[start:stop]
