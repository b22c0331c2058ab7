"""An actor and a critic that share a trunk, on a pole that has to be balanced (lecture: reinforcement).

An action was as good as what it brought more than the critic expected: A_t = r_t + γ V(s_{t+1}) - V(s_t). The notes
print it without γ. The critic learns by temporal difference, at the same moves.

Made from specs/reinforcement/actor_critic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/actor_critic.lee
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


class ActorCritic(Model):
    """What both have to see of a state is learned once: scores of the actions, and the state's value."""

    members = ("trunk", "actor", "critic")

    def __init__(self, inputs, hidden, actions, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden, self.actions = inputs, hidden, actions
        self.trunk = Linear(inputs, hidden, key=fold(key, SITES["trunk"]))  # actor_critic.lee:20
        self.actor = Linear(hidden, actions, key=fold(key, SITES["actor"]))  # actor_critic.lee:21
        self.critic = Linear(hidden, 1, key=fold(key, SITES["critic"]))  # actor_critic.lee:22

    def forward(self, s):
        """s [s_0, inputs] -> [s_0, actions], [s_0, 1]"""
        h = torch.tanh(self.trunk(s))  # [s_0, hidden]  actor_critic.lee:25
        return self.actor(h), self.critic(h)  # actor_critic.lee:26

    def forward_saved(self, s):
        """As forward, and what its gradient needs."""
        h = torch.tanh(self.trunk(s))  # [s_0, hidden]  actor_critic.lee:25
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

    def value(self, s):
        """s [n, inputs] -> [n]"""
        n = s.shape[0]
        return self.critic(torch.tanh(self.trunk(s))).reshape(n)  # [n]  actor_critic.lee:32

    def score(self, s):
        """s [inputs] -> [actions]"""
        # [1, actions]  actor_critic.lee:29
        actor_out = self.actor(torch.tanh(self.trunk(s[None]).reshape(self.hidden))[None])
        return actor_out.reshape(self.actions)  # [actions]


def advantage(reward, value, after, over, gamma=0.99):
    """reward [n], value [n], after [n], over bool[n] -> [n]"""
    return reward + gamma * torch.where(over, 0, after) - value  # [n]  actor_critic.lee:36


def advantage_backward(over, gamma, d_y):
    """From d_y to the gradients by reward, value and after."""
    # gradient of return reward + gamma * where(over, 0, after) - value   actor_critic.lee:36
    d_value = -d_y  # [n]
    d_after = torch.where(over, 0, d_y * gamma)  # [n]
    return d_y, d_value, d_after


def advantage_backward_2(d_y):
    """From d_y to the gradients by reward and value."""
    # gradient of return reward + gamma * where(over, 0, after) - value   actor_critic.lee:36
    d_value = -d_y  # [n]
    return d_y, d_value


def advantageAsPrinted(reward, value, after, over, gamma=0.99):
    """Without γ.

    reward [n], value [n], after [n], over bool[n] -> [n]
    """
    return reward + torch.where(over, 0, after) - value  # [n]  actor_critic.lee:41


def advantageAsPrinted_backward(over, d_y):
    """From d_y to the gradients by reward, value and after."""
    # gradient of return reward + where(over, 0, after) - value   actor_critic.lee:41
    d_value = -d_y  # [n]
    d_after = torch.where(over, 0, d_y)  # [n]
    return d_y, d_value, d_after


def joint(net, s, a, r, next_, over, gamma=0.99, weight=0.5, bonus=0.01):
    """The actor by the advantage, which is a number to it; the critic by its own error; less a bonus for entropy.

    s [n, net.inputs], a int[n], r [n], next [n, net.inputs], over bool[n] -> []
    """
    n = s.shape[0]
    score, value = net(s)  # actor_critic.lee:56
    error = advantage(r, value.reshape(n), stop(net.value(next_)), over, gamma=gamma)  # [n]  actor_critic.lee:58
    categorical_score = torch.log_softmax(score, dim=1)  # [n, net.actions]  prelude.lee:127
    mean = (of_class(categorical_score, a) * stop(error)).mean()  # actor_critic.lee:59
    sum_ = share(softmax(score, (1,)), categorical_score).sum(dim=1)  # [n]
    return weight * (error**2).mean() - mean + bonus * sum_.mean()


def joint_saved(net, s, a, r, next_, over, gamma=0.99, weight=0.5, bonus=0.01):
    """As joint, and what its gradient needs."""
    n = s.shape[0]
    score, value, saved_net = net.forward_saved(s)  # actor_critic.lee:56
    error = advantage(r, value.reshape(n), stop(net.value(next_)), over, gamma=gamma)  # [n]  actor_critic.lee:58
    softmax_ = softmax(score, (1,))  # [n, net.actions]  prelude.lee:122
    categorical_score = torch.log_softmax(score, dim=1)  # [n, net.actions]  prelude.lee:127
    graft_2 = stop(error)  # [n]  actor_critic.lee:59
    mean = (of_class(categorical_score, a) * graft_2).mean()
    select, saved_share = share_saved(softmax_, categorical_score)
    sub_2 = weight * (error**2).mean() - mean
    saved = saved_net, error, softmax_, categorical_score, graft_2, saved_share
    return sub_2 + bonus * select.sum(dim=1).mean(), saved


def joint_backward(net, s, a, weight, bonus, saved, d_y):
    """From d_y to the gradients by net, s and r."""
    saved_net, error, softmax_, categorical_score, graft_2, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(p, a) * stop(error)) + weight * mean(error ** 2) - bonu..   actor_critic.lee:59
    d_select = (d_y * bonus / n).expand(n, net.actions)  # [n, net.actions]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    d_categorical_score_3 = of_class_backward(a, net.actions, -(d_y / n) * graft_2)  # [n, net.actions]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [n, net.actions]
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [n, net.actions]
    # gradient of error = advantage(r, value[:, 0], stop(net.value(next)), over, gamma)   actor_critic.lee:58
    d_error = 2 * (d_y * weight / n) * error  # [n]
    d_r, d_value_flat = advantage_backward_2(d_error)
    d_value = d_value_flat[:, None]  # [n, 1]
    # gradient of score, value = net(s)   actor_critic.lee:56
    d_score = d_categorical_score - torch.exp(categorical_score) * sum_ + softmax_ * sub  # [n, net.actions]
    d_net, d_s = net.forward_backward(s, saved_net, d_score, d_value)
    return d_net, d_s, d_r


def example_one_move(key):
    reward = normal(fold(key, SITES["reward"]), (5,), FLOAT)  # [5]  actor_critic.lee:63
    value = normal(fold(key, SITES["value"]), (5,), FLOAT)  # [5]  actor_critic.lee:64
    after = normal(fold(key, SITES["after"]), (5,), FLOAT)  # [5]  actor_critic.lee:65
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (5,), (slice(2, 3),))  # bool[5]  actor_critic.lee:67
    over_2 = torch.where(unslice_, unslice_, False)  # bool[5]
    sub = advantage(reward, value, after, over_2)  # [5]  actor_critic.lee:68
    d_reward, d_value, d_after = advantage_backward(over_2, 0.99, 2 * sub)
    return (sub**2).sum(), d_reward, d_value, d_after


def example_one_move_as_printed(key):
    reward = normal(fold(key, SITES["reward"]), (5,), FLOAT)  # [5]  actor_critic.lee:72
    value = normal(fold(key, SITES["value"]), (5,), FLOAT)  # [5]  actor_critic.lee:73
    after = normal(fold(key, SITES["after"]), (5,), FLOAT)  # [5]  actor_critic.lee:74
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (5,), (slice(2, 3),))  # bool[5]  actor_critic.lee:76
    over_2 = torch.where(unslice_, unslice_, False)  # bool[5]
    sub = advantageAsPrinted(reward, value, after, over_2)  # [5]  actor_critic.lee:77
    d_reward, d_value, d_after = advantageAsPrinted_backward(over_2, 2 * sub)
    return (sub**2).sum(), d_reward, d_value, d_after


def example_both(key):
    net = ActorCritic(4, 6, 3, key=fold(key, SITES["net"]))  # actor_critic.lee:81
    s = normal(fold(key, SITES["s"]), (5, 4), FLOAT)  # [5, 4]  actor_critic.lee:82
    next_ = normal(fold(key, SITES["next"]), (5, 4), FLOAT)  # [5, 4]  actor_critic.lee:83
    a = randint(fold(key, SITES["a"]), (5,), 0, 3)  # int[5]  actor_critic.lee:84
    r = normal(fold(key, SITES["r"]), (5,), FLOAT)  # [5]  actor_critic.lee:85
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (5,), (slice(3, 4),))  # bool[5]  actor_critic.lee:87
    over_2 = torch.where(unslice_, unslice_, False)  # bool[5]
    value, saved_joint = joint_saved(net, s, a, r, next_, over_2)  # actor_critic.lee:88
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_s, d_r = joint_backward(net, s, a, 0.5, 0.01, saved_joint, d_value)
    return value, net.at(d_net), d_s, torch.zeros((5, 4), dtype=FLOAT), d_r


@torch.no_grad()
def advantage_actor_critic(rounds=1500, length=64, gamma=0.99, rate=0.01, *, run=None):
    """A step after `length` moves, wherever episodes end: the critic stands in for what has not happened."""
    from leec.runtime.run import Run

    run = run or Run("advantage_actor_critic", backend="torch")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    net = ActorCritic(inputs=4, hidden=64, actions=2, key=run.key("net")).to(run.session.place.device)
    opt = Adam(lr=rate)  # actor_critic.lee:94
    step = AdvantageActorCriticStep(net, opt)
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
        run.step(step(b.state, b.action, b.reward, b.next, b.over, gamma))  # actor_critic.lee:111
        if len(finished) > 0:
            run.report(score=run.stack(finished).mean())  # actor_critic.lee:113
        run.keep("round", s=s, score=score)
    return net


def advantage_actor_critic_a(net, s, key):
    """s [4] -> []"""
    categorical_below = softmax(net.score(s), (0,)).cumsum(dim=0)  # [2]  actor_critic.lee:101
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT, s.device)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = categorical_passed.to(torch.int64).sum().clamp(max=1)
    return a


class AdvantageActorCriticStep(TrainStep):
    """One step of advantage_actor_critic for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.trunk.w", "net.trunk.b", "net.actor.w", "net.actor.b", "net.critic.w", "net.critic.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, b_state_n):
        return (b_state_n, 0.01 / b_state_n, -(1.0 / b_state_n), -2 * (0.5 / b_state_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, b_state, b_action, b_reward, b_next, b_over, gamma, t):
        trunk_w, trunk_b, actor_w, actor_b, critic_w, critic_b = self.tensors
        d_trunk_w, d_trunk_b, d_actor_w, d_actor_b, d_critic_w, d_critic_b = self.gradients
        b_state_n = b_state.shape[0]
        count, scale, scale_, scale_2 = self.held(b_state_n)
        h = torch.tanh(torch.addmm(trunk_b, b_state, trunk_w))  # [b_state_n, 64]  actor_critic.lee:25
        score = torch.addmm(actor_b, h, actor_w)  # [b_state_n, 2]  nn.lee:21
        tanh_trunk_out = torch.tanh(torch.addmm(trunk_b, b_next, trunk_w))  # [b_state_n, 64]  actor_critic.lee:32
        critic_out = torch.addmm(critic_b, tanh_trunk_out, critic_w)  # [b_state_n, 1]  nn.lee:21
        select = torch.where(b_over, 0, critic_out.reshape(b_state_n))  # [b_state_n]  actor_critic.lee:36
        value_flat = torch.addmm(critic_b, h, critic_w).reshape(b_state_n)  # [b_state_n]  actor_critic.lee:58
        error = b_reward + gamma * select - value_flat  # [b_state_n]  actor_critic.lee:36
        softmax_ = softmax(score, (1,))  # [b_state_n, 2]  prelude.lee:122
        categorical_score = torch.log_softmax(score, dim=1)  # [b_state_n, 2]  prelude.lee:127
        # [b_state_n]  distributions.lee:119
        cross_entropy = torch.nn.functional.cross_entropy(score, b_action, reduction="none")
        div = (-cross_entropy * error).sum() / count  # actor_critic.lee:59
        mul_5 = softmax_ * categorical_score  # [b_state_n, 2]  distributions.lee:114
        relu_gradient = torch.ops.aten.threshold_backward(mul_5, softmax_, 0)  # [b_state_n, 2]
        mul_6 = 0.01 * (relu_gradient.sum(dim=1).sum() / count)  # actor_critic.lee:59
        # [b_state_n, 2]  distributions.lee:114
        d_softmax = torch.ops.aten.threshold_backward(scale * categorical_score, softmax_, 0)
        mul_2_2 = scale * softmax_  # [b_state_n, 2]
        i = torch.arange(b_state_n, device=b_state.device)  # int[b_state_n]  distributions.lee:119
        d_categorical_score_3 = scatter_add(scale_ * error, (i, b_action), (b_state_n, 2))  # [b_state_n, 2]
        # [b_state_n, 2]  distributions.lee:114
        d_categorical_score_2 = torch.ops.aten.threshold_backward(mul_2_2, softmax_, 0)
        d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [b_state_n, 2]  prelude.lee:127
        sum_5 = d_categorical_score.sum(dim=1, keepdim=True)  # [b_state_n, 1]
        sub_3 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [b_state_n, 2]  prelude.lee:122
        d_value = (scale_2 * error)[:, None]  # [b_state_n, 1]  actor_critic.lee:58
        d_score_2 = d_categorical_score - torch.exp(categorical_score) * sum_5  # [b_state_n, 2]  prelude.lee:127
        d_score = d_score_2 + softmax_ * sub_3  # [b_state_n, 2]  actor_critic.lee:56
        torch.sum(d_value, dim=0, out=d_critic_b)  # [1]  nn.lee:21
        torch.mm(h.T, d_value, out=d_critic_w)  # [64, 1]
        torch.sum(d_score, dim=0, out=d_actor_b)  # [2]
        torch.mm(h.T, d_score, out=d_actor_w)  # [64, 2]
        # [b_state_n, 64]  actor_critic.lee:25
        d_trunk_out = torch.ops.aten.tanh_backward(d_value @ critic_w.T + d_score @ actor_w.T, h)
        torch.sum(d_trunk_out, dim=0, out=d_trunk_b)  # [64]  nn.lee:21
        torch.mm(b_state.T, d_trunk_out, out=d_trunk_w)  # [4, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return 0.5 * ((error * error).sum() / count) - div + mul_6  # actor_critic.lee:59


def share(p, of):
    """p · of, 0 where p is 0.

    p [p_0, p_1], of [p_0, p_1] -> [p_0, p_1]
    """
    gt = p > 0  # bool[p_0, p_1]  distributions.lee:114
    guard_2 = torch.where(gt, of, of.detach())  # [p_0, p_1]
    return torch.where(gt, torch.where(gt, p, p.detach()) * guard_2, 0)  # [p_0, p_1]


def share_saved(p, of):
    """As share, and what its gradient needs."""
    gt = p > 0  # bool[p_0, p_1]  distributions.lee:114
    return torch.where(gt, p * of, 0), gt


def share_backward(p, of, gt, d_y):
    """From d_y to the gradients by p and of."""
    # gradient of return where(p > 0, p * of, 0)   distributions.lee:114
    d_p = torch.where(gt, d_y * of, 0)  # [p_0, p_1]
    d_of = torch.where(gt, d_y * p, 0)  # [p_0, p_1]
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


def stop(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x.detach()  # [x_0]  prelude.lee:18


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
