"""Proximal policy optimisation on a pole that has to be balanced (lecture: reinforcement; Schulman et al. 2017).

Many small steps on the same moves, as long as the new policy stays near the one that made them: the ratio of
probabilities counts only inside 1 ± eps. Advantages are sums of what surprised the critic, decaying with distance.

Made from specs/reinforcement/ppo.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/ppo.lee
"""

from __future__ import annotations

import functools
import math
import sys
import weakref

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


class Model(torch.nn.Module):
    """An ordinary module; `members` names its tensors and submodels as the spec does, in declaration order."""

    members: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name is taken

    def parts(self):
        """(name, member) of tensors and submodels; the elements of a list are `layers.0`, `layers.1`, .."""
        for name in self.members:
            member = getattr(self, self.renamed.get(name, name))
            if isinstance(member, torch.nn.ModuleList):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(member))
            else:
                yield name, member

    def tensors(self):
        """Every tensor by its path in the spec, such as "conv1.kernel"."""
        found = {}
        for name, part in self.parts():
            if isinstance(part, Model):
                found |= {f"{name}.{path}": tensor for path, tensor in part.tensors().items()}
            else:
                found[name] = part
        return found

    def state_dict(self, *args, prefix="", **options):
        """Keys are the spec's names, also where an attribute has another one."""
        found = super().state_dict(*args, prefix=prefix, **options)
        for name, attribute in self.renamed.items():
            move_keys(found, prefix + attribute, prefix + name)
        return found

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name, attribute in self.renamed.items():
            move_keys(state_dict, prefix + name, prefix + attribute)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def load_tensors(self, tensors):
        """Copy tensors in by path. Raises ValueError where names or shapes differ."""
        own = self.tensors()
        if own.keys() != tensors.keys():
            raise ValueError(f"{type(self).__name__} has other tensors: {sorted(own.keys() ^ tensors.keys())}")
        for path, tensor in own.items():
            given = torch.as_tensor(tensors[path])
            if tensor.shape != given.shape:
                raise ValueError(f"{path} is {tuple(tensor.shape)} here and {tuple(given.shape)} there")
            tensor.copy_(given)

    def copy(self):
        """The same model with tensors of its own."""
        twin = self.at({})
        for module in twin.modules():
            for name, parameter in module._parameters.items():
                module._parameters[name] = torch.nn.Parameter(parameter.detach().clone())
        return twin

    def at(self, tensors):
        """The model at another point of parameter space: nested dicts of tensors by member replace its own.

        Gradients flow through them. What is not given is shared. Buffers are copied.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for table in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[table] = dict(self.__dict__[table])
        for name, buffer in twin._buffers.items():
            twin._buffers[name] = buffer.clone()
        for name in self.members:
            attribute = self.renamed.get(name, name)
            member = getattr(self, attribute)
            if isinstance(member, torch.nn.ModuleList):
                parts = (part.at(tensors.get(f"{name}.{i}", {})) for i, part in enumerate(member))
                twin._modules[attribute] = torch.nn.ModuleList(parts)
            elif isinstance(member, Model):
                twin._modules[attribute] = member.at(tensors.get(name, {}))
            elif name in tensors and attribute in twin._buffers:
                twin._buffers[attribute] = tensors[name].clone()
            elif name in tensors:
                twin._parameters.pop(attribute, None)
                twin.__dict__[attribute] = tensors[name]
        return twin


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
            state = getattr(self, name, None)
            if state is None or state.device != θ.device or state.dtype != θ.dtype:
                setattr(self, name, torch.full_like(θ, start) if state is None else state.to(θ))
            elif state.shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {state.numel()} parameters, not {θ.numel()}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, tensors):
        """Go on from another's count and states; states that are there are filled, so that steps find them."""
        self.t = int(tensors["t"])
        for name in self.starts.keys() & tensors.keys():
            if hasattr(self, name):
                getattr(self, name).copy_(torch.as_tensor(tensors[name]))
            else:
                setattr(self, name, torch.as_tensor(tensors[name]).clone())

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.starts:
            if hasattr(self, name):
                setattr(twin, name, getattr(self, name).clone())
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
    """A training step as one function over flat vectors, without autograd; generated subclasses say which.

    `moved` pairs the attribute of an optimizer with the paths of the models that it moves, for every update; `counted`
    are the optimizers whose rule stands in the step; `read` names the tensors that the step reads. Everything that it
    touches keeps its address from call to call. On a GPU a step is captured as one CUDA graph for every shape of batch.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    spare: tuple[int | None, ...] = ()  # arrays that an update computes in; None: in none, so it takes no blocks
    waits = False  # for what the device has computed, as `while` does: such a step has no graph
    GRAPHS = 8  # shapes of batches that have a graph; others run without
    BLOCK = 1 << 16  # entries of a vector that an update takes at a time on a CPU, so that they stay in its cache

    def scalars(self):
        """Numbers that differ from step to step."""
        return ()

    def constants(self):
        """Numbers that are written into a graph."""
        return ()

    def numbers(self, *sizes):
        """Numbers that depend on sizes alone."""
        return ()

    def held(self, *sizes):
        """`numbers` as tensors without axes: products with these are faster than with Python numbers."""
        if sizes not in self.known:
            if len(self.known) > 8 * self.GRAPHS:
                self.known.clear()
            self.known[sizes] = [torch.tensor(x, dtype=self.vectors[0].gradient.dtype) for x in self.numbers(*sizes)]
        return self.known[sizes]

    def bind(self):
        """Lay the parameters out and take views of all that the step reads and writes."""
        wanted = [[find_member(self, path) for path in models] for _, models in self.moved]
        for _ in range(len(wanted)):  # laying out one may move another that shares parameters with it
            self.vectors = [Vector.part_of(models, i) for i, models in enumerate(wanted)]
        slots = [find_slot(self, path) for path in self.read]
        self.tensors = tuple(table[name].detach() for table, name in slots)
        self.gradients = tuple(view for vector in self.vectors for view in vector.gradients)
        self.optimizers = [getattr(self, name) for name, _ in self.moved]
        for optimizer, vector in zip(self.optimizers, self.vectors, strict=True):
            optimizer.make_states(vector.values)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        moved = [slot for vector in self.vectors for slot in vector.slots]
        self.slots = [*moved, *(s for s in slots if not any(s[0] is t and s[1] == name for t, name in moved))]
        self.addresses = [table[name].data_ptr() for table, name in self.slots]
        self.owners = [(o.__dict__, name) for o in self.optimizers for name in o.starts]
        self.owned = [id(table[name]) for table, name in self.owners]
        self.blocks = [self.blocks_of(i) for i in range(len(self.moved))]
        self.graphs, self.known = {}, {}
        rules = len(self.counted) == len(self.moved)
        self.captured = self.vectors[0].gradient.is_cuda and rules and not self.waits
        self.quiet = torch.inference_mode()

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks; none for an optimizer's own method."""
        if self.moved[i][0] not in self.counted:
            return []
        vector, start, blocks = self.vectors[i], 0, []
        largest = max(map(len, vector.pieces), default=0)
        whole = vector.gradient.is_cuda or self.spare[i] is None
        step = max(1, largest if whole else min(largest, self.BLOCK))
        spare = [vector.gradient.new_empty(step) for _ in range(self.spare[i] or 0)]
        for piece in vector.pieces:
            beside = [t[start : start + len(piece)] for t in (vector.gradient, *self.states[i])]
            start += len(piece)
            blocks += [
                (*(t[a : a + step] for t in (piece, *beside)), *(s[: len(piece) - a] for s in spare))
                for a in range(0, len(piece), step)
            ]
        return blocks

    def holds(self):
        """Whether the views are still those of the models and optimizers."""
        here = self.addresses == [table[name].data_ptr() for table, name in self.slots]
        return here and self.owned == [id(table[name]) for table, name in self.owners]

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).count()
        with self.quiet:
            if self.captured:
                return self.replayed(batch)
            return self.step(*batch, *self.scalars())

    # ---- on a GPU

    def replayed(self, batch):
        key = (*map(kind, batch), self.constants())
        if key not in self.graphs and len(self.graphs) >= self.GRAPHS:
            return self.step(*batch, *self.scalars())
        if key not in self.graphs:
            self.graphs[key] = Graph(self, batch)
        return self.graphs[key](batch, self.scalars())

    def written(self):
        """All tensors that a step writes into and that outlive it."""
        vectors = [piece for vector in self.vectors for piece in vector.pieces]
        return [*vectors, *self.tensors, *(s for states in self.states for s in states)]


def advantages(reward, value, last, done, gamma=0.99, decay=0.95):
    """`last` is the value of the state after the final step; nothing flows across an end of episode.

    reward [time], value [time], done bool[time] -> [time]
    """
    time = reward.shape[0]
    a = torch.zeros((), dtype=FLOAT, device=reward.device)  # ppo.lee:22
    out = [None] * time
    for t in reversed(range(time)):
        a, last, out[t] = advantages_step(a, last, done[t], reward[t], value[t], gamma, decay)
    out = torch.stack(out, 0) if out else torch.zeros((time,), dtype=FLOAT, device=reward.device)
    return out  # [time]


def advantages_saved(reward, value, last, done, gamma=0.99, decay=0.95):
    """As advantages, and what its gradient needs."""
    time = reward.shape[0]
    a = torch.zeros((), dtype=FLOAT, device=reward.device)  # ppo.lee:22
    out = [None] * time
    saved_advantages_step = [None] * time
    for t in reversed(range(time)):
        a, last, out[t], saved_advantages_step[t] = advantages_step_saved(
            a, last, done[t], reward[t], value[t], gamma, decay
        )
    out = torch.stack(out, 0) if out else torch.zeros((time,), dtype=FLOAT, device=reward.device)
    return out, saved_advantages_step


def advantages_backward(saved_advantages_step, d_out):
    """From d_out to the gradients by reward, value and last."""
    time = d_out.shape[0]
    # gradient of for t in reversed(time):   ppo.lee:22
    d_a = torch.zeros((), dtype=FLOAT, device=d_out.device)
    d_a_2 = d_a
    d_value_t = d_a
    d_reward = [None] * time
    d_value = [None] * time
    for t in range(time):
        d_a_2, d_value_t, d_reward[t], d_value[t] = advantages_step_backward(
            saved_advantages_step[t], d_a_2, d_value_t, d_out[t]
        )
    d_reward = torch.stack(d_reward, 0) if d_reward else torch.zeros((time,), dtype=FLOAT, device=d_out.device)
    d_value = torch.stack(d_value, 0) if d_value else torch.zeros((time,), dtype=FLOAT, device=d_out.device)
    return d_reward, d_value, d_value_t


def advantages_step(a, after, done_t, reward_t, value_t, gamma, decay):
    alive = torch.where(done_t, 0, 1)  # ppo.lee:23
    cast_alive = alive.to(FLOAT)  # ppo.lee:24
    error = reward_t + gamma * cast_alive * after - value_t
    a_2 = error + gamma * decay * cast_alive * a  # ppo.lee:25
    return a_2, value_t, a_2


def advantages_step_saved(a, after, done_t, reward_t, value_t, gamma, decay):
    """As advantages_step, and what its gradient needs."""
    alive = torch.where(done_t, 0, 1)  # ppo.lee:23
    cast_alive = alive.to(FLOAT)  # ppo.lee:24
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
    categorical_score = torch.log_softmax(add_2, dim=1)  # [n, policy.sizes_2]  prelude.lee:127
    ratio = torch.exp(of_class(categorical_score, a) - old)  # [n]  ppo.lee:34
    mul = ratio * advantage  # [n]  ppo.lee:35
    minimum, saved_clip = clip_saved(ratio, 1 - eps, 1 + eps)
    mul_2 = minimum * advantage  # [n]
    gain = mul.clamp(max=mul_2)  # [n]
    select, saved_share = share_saved(softmax_, categorical_score)  # ppo.lee:36
    saved = saved_policy, softmax_, categorical_score, ratio, mul, minimum, saved_clip, mul_2, saved_share
    return bonus * select.sum(dim=1).mean() - gain.mean(), saved


def clipped_backward(policy, s, a, advantage, eps, bonus, saved, d_sub_3):
    """From d_sub_3 to the gradients by policy, s, old and advantage."""
    saved_policy, softmax_, categorical_score, ratio, mul, minimum, saved_clip, mul_2, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(gain) - bonus * mean(entropy(p))   ppo.lee:36
    d_select = (d_sub_3 * bonus / n).expand(n, policy.sizes[2])  # [n, policy.sizes_2]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    neg = -(d_sub_3 / n)
    # gradient of gain = min(ratio * advantage, clip(ratio, 1 - eps, 1 + eps) * advantage)   ppo.lee:35
    le = mul <= mul_2  # bool[n]
    mul_3 = neg * advantage  # [n]
    d_minimum = torch.where(le, 0, mul_3)  # [n]
    d_ratio_4 = clip_backward(ratio, 1 - eps, 1 + eps, saved_clip, d_minimum)  # [n]
    # gradient of ratio = exp(log_prob(p, a) - old)   ppo.lee:34
    d_ratio = torch.where(le, 0, d_ratio_4) + torch.where(le, mul_3, 0)  # [n]
    d_sub = d_ratio * ratio  # [n]
    d_old = -d_sub  # [n]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + of_class_backward(a, policy.sizes[2], d_sub)  # [n, policy.sizes_2]
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub_2 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_categorical_score - torch.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of p = categorical(policy(s))   ppo.lee:33
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2_2 + softmax_ * sub_2)
    d_advantage = torch.where(le, 0, neg * minimum) + torch.where(le, neg * ratio, 0)  # [n]
    return d_policy, d_s, d_old, d_advantage


def example_ends(key):
    """Two episodes: nothing of the second reaches the first."""
    reward = normal(fold(key, SITES["reward"]), (5,), FLOAT)  # [5]  ppo.lee:41
    value = normal(fold(key, SITES["value"]), (5,), FLOAT)  # [5]  ppo.lee:42
    last = normal(fold(key, SITES["last"]), (), FLOAT)  # ppo.lee:43
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (5,), (slice(2, 3),))  # bool[5]  ppo.lee:45
    done_2 = torch.where(unslice_, unslice_, False)  # bool[5]
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
    categorical_score = torch.log_softmax(add_2, dim=1)  # [20, 2]  prelude.lee:127
    value, saved_clipped = clipped_saved(policy, s, a, of_class(categorical_score, a), advantage)  # ppo.lee:56
    d_value = torch.ones((), dtype=FLOAT)
    d_policy, d_s_2, d_found, d_advantage = clipped_backward(policy, s, a, advantage, 0.2, 0.01, saved_clipped, d_value)
    d_categorical_score = of_class_backward(a, 2, d_found)  # [20, 2]
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [20, 1]  prelude.lee:127
    d_add_2 = d_categorical_score - torch.exp(categorical_score) * sum_  # [20, 2]
    d_older, d_s_3 = older.forward_backward(s, saved_older, d_add_2)  # ppo.lee:56
    return value, policy.at(d_policy), policy.at(d_older), d_s_2 + d_s_3, d_advantage


@torch.no_grad()
def ppo(rounds=20, horizon=2048, epochs=10, batch=64, limit=0.02, gamma=0.99, rate=1e-3, *, run=None):
    """`horizon` moves a round; a round ends early when the policy has drifted from the one that made them."""
    from leec.runtime.run import Run

    run = run or Run("ppo", backend="torch")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))  # ppo.lee:13
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy")).to(run.session.place.device)  # ppo.lee:61
    critic = MLP(sizes=(4, 64, 1), key=run.key("critic")).to(run.session.place.device)  # ppo.lee:62
    opt = Adam(lr=rate)  # ppo.lee:63
    step = PpoStep(policy, critic, opt)
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
                run.step(step(x, a, old, d, v))  # ppo.lee:95
            drift, condition = ppo_drift_condition(b.logp, policy, b.state, b.action, limit)  # ppo.lee:98
            if condition:
                break
        run.report(score=run.stack(finished).mean(), drift=drift)  # ppo.lee:101
        run.keep("round", s=s, score=score)
    return policy


def ppo_p_a(policy, s, key):
    """s [4] -> [2], []"""
    p_0 = policy.forward_2(s)  # [2]  ppo.lee:70
    categorical_below = softmax(p_0, (0,)).cumsum(dim=0)  # [2]  ppo.lee:71
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT, s.device)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = categorical_passed.to(torch.int64).sum().clamp(max=1)
    return p_0, a


def ppo_logp_value_reward(truncated, gamma, critic, next_, p_reshape_4, a, s, r):
    """next [4], p_reshape_4 [2], s [4] -> [], [], []"""
    guard = torch.where(torch.full((), truncated, device=next_.device), next_, next_.detach())  # [4]
    reshape = critic.forward_2(guard).reshape(())  # ppo.lee:74
    guard_2 = torch.where(torch.full((), truncated, device=next_.device), reshape, reshape.detach())
    mul = gamma * guard_2
    cut = torch.where(torch.full((), truncated, device=next_.device), mul, 0)
    found = of_class(torch.log_softmax(p_reshape_4, dim=0)[None], a[None])  # [1]  ppo.lee:78
    logp = found.reshape(())
    value = critic.forward_2(s).reshape(())  # ppo.lee:79
    reward = r + cut  # ppo.lee:80
    return logp, value, reward


def ppo_adv_target(b_reward, b_value, critic, s, b_done, gamma):
    """b_reward [b_state_n], b_value [b_state_n], s [4], b_done bool[b_state_n] -> [b_state_n], [b_state_n]"""
    reshape = critic.forward_2(s).reshape(())  # ppo.lee:90
    adv = advantages(b_reward, b_value, reshape, b_done, gamma=gamma)  # [b_state_n]
    target = adv + b_value  # [b_state_n]  ppo.lee:91
    adv_2 = (adv - adv.mean()) / (std(adv) + 1e-8)  # [b_state_n]  ppo.lee:92
    return adv_2, target


class PpoStep(TrainStep):
    """One step of ppo for policy, critic, opt: call it with a batch."""

    moved = (("opt", ("policy", "critic")),)
    counted = ("opt",)
    read = (
        "policy.layers.0.w",
        "policy.layers.0.b",
        "policy.layers.1.w",
        "policy.layers.1.b",
        "critic.layers.0.w",
        "critic.layers.0.b",
        "critic.layers.1.w",
        "critic.layers.1.b",
    )
    spare = (None,)

    def __init__(self, policy, critic, opt):
        self.policy, self.critic, self.opt = policy, critic, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n, 0.01 / batches_n, -(1.0 / batches_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, a, old, d, v, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_ = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_0_w_, d_layers_0_b_ = self.gradients[:6]
        d_layers_1_w_, d_layers_1_b_ = self.gradients[6:]
        batches_n = x.shape[0]
        count, scale, scale_, scale_2 = self.held(batches_n)
        x_2_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        add_2_2 = torch.addmm(layers_1_b, x_2_2, layers_1_w)  # [batches_n, 2]  nn.lee:21
        softmax_ = softmax(add_2_2, (1,))  # [batches_n, 2]  prelude.lee:122
        categorical_score = torch.log_softmax(add_2_2, dim=1)  # [batches_n, 2]  prelude.lee:127
        # [batches_n]  distributions.lee:119
        cross_entropy = torch.nn.functional.cross_entropy(add_2_2, a, reduction="none")
        ratio = torch.exp(-cross_entropy - old)  # [batches_n]  ppo.lee:34
        mul = ratio * d  # [batches_n]  ppo.lee:35
        maximum = ratio.clamp(min=0.8)  # [batches_n]  prelude.lee:153
        mul_2_2 = maximum.clamp(max=1.2) * d  # [batches_n]  ppo.lee:35
        mul_4_2 = softmax_ * categorical_score  # [batches_n, 2]  distributions.lee:114
        relu_gradient = torch.ops.aten.threshold_backward(mul_4_2, softmax_, 0)  # [batches_n, 2]
        mul_3_2 = 0.01 * (relu_gradient.sum(dim=1).sum() / count)  # ppo.lee:36
        x_2 = torch.relu(torch.addmm(layers_0_b_, x, layers_0_w_))  # [batches_n, 64]  prelude.lee:61
        affine_3 = torch.addmm(layers_1_b_, x_2, layers_1_w_)  # [batches_n, 1]  nn.lee:21
        sub_3 = affine_3.reshape(batches_n) - v  # [batches_n]  ppo.lee:96
        sub_2 = mul_3_2 - mul.clamp(max=mul_2_2).sum() / count  # ppo.lee:36
        d_add_2 = (scale * sub_3)[:, None]  # [batches_n, 1]  ppo.lee:96
        torch.sum(d_add_2, dim=0, out=d_layers_1_b_)  # [1]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w_)  # [64, 1]
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w_.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add_3, dim=0, out=d_layers_0_b_)  # [64]  nn.lee:21
        torch.mm(x.T, d_add_3, out=d_layers_0_w_)  # [4, 64]
        # [batches_n, 2]  distributions.lee:114
        d_softmax = torch.ops.aten.threshold_backward(scale_ * categorical_score, softmax_, 0)
        mul_2_2_2 = scale_ * softmax_  # [batches_n, 2]
        le = mul <= mul_2_2  # bool[batches_n]  ppo.lee:35
        mul_3_3 = scale_2 * d  # [batches_n]
        masked_ = masked(torch.where(le, 0, mul_3_3), ratio >= 0.8)  # [batches_n]  prelude.lee:153
        d_ratio_2 = torch.where(le, 0, masked(masked_, maximum <= 1.2))  # [batches_n]  ppo.lee:35
        d_sub_2 = (d_ratio_2 + masked(mul_3_3, le)) * ratio  # [batches_n]  ppo.lee:34
        i = torch.arange(batches_n, device=x.device)  # int[batches_n]  distributions.lee:119
        # [batches_n, 2]  distributions.lee:114
        d_categorical_score_2 = torch.ops.aten.threshold_backward(mul_2_2_2, softmax_, 0)
        # [batches_n, 2]  prelude.lee:127
        d_categorical_score = d_categorical_score_2 + scatter_add(d_sub_2, (i, a), (batches_n, 2))
        sum_5 = d_categorical_score.sum(dim=1, keepdim=True)  # [batches_n, 1]
        sub_2_3 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [batches_n, 2]  prelude.lee:122
        d_add_2_2 = d_categorical_score - torch.exp(categorical_score) * sum_5  # [batches_n, 2]  prelude.lee:127
        d_add_2_4 = d_add_2_2 + softmax_ * sub_2_3  # [batches_n, 2]  ppo.lee:33
        torch.sum(d_add_2_4, dim=0, out=d_layers_1_b)  # [2]  nn.lee:21
        torch.mm(x_2_2.T, d_add_2_4, out=d_layers_1_w)  # [64, 2]
        # [batches_n, 64]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2_4 @ layers_1_w.T, x_2_2, 0)
        torch.sum(d_add_4, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add_4, out=d_layers_0_w)  # [4, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v_ in self.blocks[0]:
            adam_(θ, g, m, v_, lr, beta1, beta2, eps, weight_decay, t)
        return sub_2 + 0.5 * ((sub_3 * sub_3).sum() / count)  # ppo.lee:95


def ppo_drift_condition(b_logp, policy, b_state, b_action, limit):
    """b_logp [b_state_n], b_state [b_state_n, 4], b_action int[b_state_n] -> [], []"""
    found = of_class(torch.log_softmax(policy(b_state), dim=1), b_action)  # [b_state_n]  ppo.lee:98
    drift = (b_logp - found).mean()
    condition = drift > limit  # ppo.lee:99
    return drift, condition


def share_saved(p, of):
    """As share, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  distributions.lee:114
    return torch.where(gt, p * of, 0), gt


def share_backward(p, of, gt, d_select):
    """From d_select to the gradients by p and of."""
    # gradient of return where(p > 0, p * of, 0)   distributions.lee:114
    d_p = torch.where(gt, d_select * of, 0)  # [p_0, p_1]
    d_of = torch.where(gt, d_select * p, 0)  # [p_0, p_1]
    return d_p, d_of


@packed(0, score=(0, 2), x=(0, 1))
def of_class(score, x):
    """The score of the class that x names.

    score [.., k], x int[..] -> [..]
    """
    rows = score.shape[0]
    found = score[torch.arange(rows, device=score.device), x]  # [rows]  distributions.lee:119
    return found  # [rows]


def of_class_backward(x, k, d_found):
    """From d_found to the gradient by score."""
    rows = x.shape[0]
    # gradient of found[i] = score[i, x[i]]   distributions.lee:119
    d_score = scatter_add(d_found, (torch.arange(rows, device=x.device), x), (rows, k))  # [rows, k]
    return d_score  # [rows, k]


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, outputs]  nn.lee:15
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:17

    @packed(0, x=(0, 2))
    def forward(self, x):
        """x [.., inputs] -> [.., outputs]"""
        return torch.addmm(self.b, x, self.w)  # [rows, outputs]  nn.lee:21

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


class MLP(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        super().__init__()
        self.sizes = sizes
        # nn.lee:37
        self.layers = torch.nn.ModuleList(
            [
                Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
                Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            ]
        )

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

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        # optim.lee:79
        adam_(θ, g, self.m, self.v, self.lr, self.beta1, self.beta2, self.eps, self.weight_decay, self.t)


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0] -> [x_0]
    """
    return torch.relu(x)  # [x_0]  prelude.lee:61


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = x.clamp(min=low)  # [x_0]  prelude.lee:153
    return maximum.clamp(max=high), maximum


def clip_backward(x, low, high, maximum, d_minimum):
    """From d_minimum to the gradient by x."""
    # gradient of return min(max(x, low), high)   prelude.lee:153
    d_x = torch.where(maximum <= high, torch.where(x >= low, d_minimum, 0), 0)  # [x_0]
    return d_x  # [x_0]


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0] -> []
    """
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0]  prelude.lee:168
    total = (sub**2).sum()
    return total / (x_0 - ddof)  # prelude.lee:169


def std(x, ddof=0):
    """√var

    x [x_0] -> []
    """
    return sqrt(var(x, ddof=ddof))  # prelude.lee:174


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


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


def adam_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of Adam in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adam_", x, lr)
    if kernel is None:
        adamw_(x, g + decay * x, m, v, lr, beta1, beta2, eps, 0.0, t)
    else:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)


def adamw_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of AdamW in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adamw_", x, lr)
    if kernel is not None:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)
        return
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    x.mul_(1 - lr * decay)
    x.sub_(m / ((v / (1 - beta2**t)).sqrt_() + eps) * (lr / (1 - beta1**t)))


def fused(name, x, lr):
    """A kernel of the library; None where it has none as exact as x: a rate that is a tensor it takes in float32."""
    rounds = isinstance(lr, torch.Tensor) and x.dtype == torch.float64
    return None if rounds else getattr(torch, name, None)


def fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step by a kernel of the library, which wants lists of tensors, and the count as a tensor."""
    step = t.float() if isinstance(t, torch.Tensor) else torch.scalar_tensor(t, device=x.device)
    lr = lr.float() if isinstance(lr, torch.Tensor) else lr
    how = {"amsgrad": False, "maximize": False}
    kernel([x], [g], [m], [v], [], [step], lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay, eps=eps, **how)


MASK = 0xFFFFFFFF


Key = tuple[int, int] | torch.Tensor


Device = torch.device | str | None


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words are Python integers or int64 tensors below 2**32.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1 = (p1 >> 32 & MASK) ^ x1 ^ k0, p1 & MASK
        x2, x3 = (p0 >> 32 & MASK) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key, word):
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int, device: Device = None) -> torch.Tensor:
    """n random words, int64[n], all four words of a block used; at most 2**34 from one key."""
    blocks = torch.arange(-(-n // 4), dtype=torch.int64, device=device)
    return torch.stack(philox(key, (blocks, 0, 0, 0)), dim=1).reshape(-1)[:n]


def uniform(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape), device) >> 8).reshape(shape).to(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int, device: Device = None) -> torch.Tensor:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape), device).reshape(shape)
    return (words * (high - low) >> 32 & MASK) + low


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)


class Vector:
    """Parameters side by side in one tensor; they become views of `values`.

    Moving or casting a model severs them silently, so parts are asked whether they hold before every step.
    """

    def __init__(self, slots):
        self.owners = [(weakref.ref(module), name) for module, name in slots]
        self.positions = {slot: i for i, slot in enumerate(self.owners)}
        self.parts = {}
        with torch.no_grad():
            parameters = [module._parameters[name] for module, name in slots]
            self.values = torch.cat([p.reshape(-1) for p in parameters])
            self.sizes = [p.numel() for p in parameters]
            for (module, name), p, part in zip(slots, parameters, self.values.split(self.sizes), strict=True):
                p.data = part.view(p.shape)
                HOMES.setdefault(module, {})[name] = self

    @staticmethod
    def part_of(models, use=0):
        """The parameters of these models where they stand side by side for all steps; `use` counts those in a step.

        What shares parameters shares a vector: it is laid out anew when a step moves more than what stood there.
        """
        slots = [slot for model in models for slot in parameter_slots(model)]
        homes = list(dict.fromkeys(HOMES.get(module, {}).get(name) for module, name in slots))
        if len(homes) != 1 or homes[0] is None or not homes[0].part(slots, use).holds():
            homes = [Vector(side_by_side(slots, [home for home in homes if home is not None]))]
        return homes[0].part(slots, use)

    def part(self, slots, use):
        positions = tuple(self.positions[weakref.ref(module), name] for module, name in slots)
        if (positions, use) not in self.parts:
            self.parts[positions, use] = Part(self, slots, positions)
        return self.parts[positions, use]


HOMES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def side_by_side(slots, homes):
    """The slots in their order, among those that share a vector with them: what was together stays so if it can."""
    known = [(ref(), name) for home in homes for ref, name in home.owners if ref() is not None]
    if set(known) <= set(slots):
        return slots
    before = slots[: next(i for i, slot in enumerate(slots) if slot in known)]
    return [*before, *known, *(slot for slot in slots if slot not in known and slot not in before)]


class Part:
    """The parameters that one update moves, as pieces of a vector, with a gradient of their own."""

    def __init__(self, vector, slots, positions):
        starts = [sum(vector.sizes[:i]) for i in positions]
        sizes = [vector.sizes[i] for i in positions]
        bounds = []
        for start, size in zip(starts, sizes, strict=True):
            if bounds and bounds[-1][1] == start:
                bounds[-1][1] += size
            else:
                bounds.append([start, start + size])
        self.pieces = [vector.values[start:stop] for start, stop in bounds]
        self.slots = [(module._parameters, name) for module, name in slots]
        parameters = [table[name] for table, name in self.slots]
        self.shapes = [tuple(p.shape) for p in parameters]
        self.addresses = [p.data_ptr() for p in parameters]
        self.gradient = vector.values.new_zeros(sum(sizes))
        self.gradients = [part.view(p.shape) for part, p in zip(self.gradient.split(sizes), parameters, strict=True)]

    @property
    def values(self):
        """All parameters in one tensor: themselves if they stand together, else copies."""
        return self.pieces[0] if len(self.pieces) == 1 else torch.cat(self.pieces)

    def moved_by(self, update, *more):
        """Let a rule move the whole vector at once."""
        values = self.values
        update(values, self.gradient, *more)
        if len(self.pieces) > 1:
            for piece, moved in zip(self.pieces, values.split([len(p) for p in self.pieces]), strict=True):
                piece.copy_(moved)

    def holds(self):
        return self.addresses == [table[name].data_ptr() for table, name in self.slots]


def parameter_slots(model):
    """Where the parameters of a model are kept: (module, name), in declaration order."""
    for name in model.members:
        attribute = model.renamed.get(name, name)
        if attribute in model._parameters:
            yield model, attribute
        elif attribute in model._modules:
            member = model._modules[attribute]
            for part in member if isinstance(member, torch.nn.ModuleList) else [member]:
                yield from parameter_slots(part)


def find_slot(step, path):
    """(table, name) of the tensor at a path such as `net.layers.0.w`."""
    owner, _, last = path.rpartition(".")
    module = find_member(step, owner)
    name = module.renamed.get(last, last)
    return (module._parameters if name in module._parameters else module._buffers), name


def find_member(step, path):
    """The model at a path such as `net.layers.0`."""
    module = step
    for name in path.split("."):
        module = (
            module[int(name)] if name.isdigit() else getattr(module, getattr(module, "renamed", {}).get(name, name))
        )
    return module


def kind(x):
    """What a graph depends on: of tensors the shape, nothing of the keys of draws, sizes themselves."""
    return (x.shape, x.dtype) if isinstance(x, torch.Tensor) else "key" if isinstance(x, tuple) else x


class Graph:
    """One captured step: batches, keys and numbers are put into tensors of fixed address, then everything is replayed.

    Numbers are filled in by kernels, since a copy from the host would wait for the device.
    """

    def __init__(self, step, batch):
        self.device = step.vectors[0].gradient.device
        self.batch = [self.hold(x) for x in batch]
        self.numbers = [torch.tensor(x, dtype=torch.float64, device=self.device) for x in step.scalars()]
        before = [(tensor, tensor.clone()) for tensor in step.written()]
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # libraries choose their algorithms before anything is captured
            for _ in range(3):
                step.step(*self.batch, *self.numbers)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = step.step(*self.batch, *self.numbers)
        for tensor, value in before:
            tensor.copy_(value)

    def hold(self, x):
        if isinstance(x, tuple):
            return torch.tensor(x, dtype=torch.int64, device=self.device)
        return x.clone() if isinstance(x, torch.Tensor) else x

    def __call__(self, batch, numbers):
        for held, x in zip(self.batch, batch, strict=True):
            if isinstance(x, torch.Tensor):
                held.copy_(x, non_blocking=True)
            elif isinstance(x, tuple):
                for word, value in zip(held.unbind(), x, strict=True):
                    word.fill_(value)
        for held, x in zip(self.numbers, numbers, strict=True):
            held.fill_(x)
        self.graph.replay()
        return own_copy(self.result)


def own_copy(result):
    """What a step returns, if anything, before the next replay writes over it."""
    return result.clone() if isinstance(result, torch.Tensor) else result and tuple(map(own_copy, result))
