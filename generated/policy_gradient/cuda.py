"""An actor of a pole that has to be balanced, its policy gradient, and its imitation (lecture: reinforcement).

The actor gives scores, softmax makes probabilities of them, and chance takes an action. ∇ E[R] = E[Σ_t ∇ log π(a_t | s_t)
A_t]: REINFORCE takes for A the discounted gain that followed, less its mean over the episode and over its deviation.
Behaviour cloning is the same with A = 1, at moves of somebody who knows how.

Made from specs/reinforcement/policy_gradient.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/policy_gradient.lee
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


def chances_saved(policy, s):
    """As chances, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # policy_gradient.lee:20
    return softmax(add_2, (1,)), saved_policy  # prelude.lee:122


def chances_backward(policy, s, saved_policy, div, d_div):
    """From d_div to the gradients by policy and s."""
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_add_2 = div * (d_div - (d_div * div).sum(dim=1, keepdim=True))  # [n, policy.sizes_2]
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
    g = torch.zeros((), dtype=FLOAT, device=reward.device)  # policy_gradient.lee:31
    out = [None] * time
    for t in reversed(range(time)):
        g, out[t] = discounted_step(g, reward[t], gamma)
    out = torch.stack(out, 0) if out else torch.zeros((time,), dtype=FLOAT, device=reward.device)
    return out  # [time]


def discounted_step(g, reward_t, gamma):
    g_2 = reward_t + gamma * g  # policy_gradient.lee:32
    return g_2, g_2


def discounted_step_in_step(g, reward_t, gamma):
    g_2 = reward_t + gamma * g  # policy_gradient.lee:32
    return g_2, g_2


def standard(x):
    """Mean 0 and deviation 1.

    x [n] -> [n]
    """
    return (x - x.mean()) / (std(x) + 1e-8)  # [n]  policy_gradient.lee:39


def standard_saved(x):
    """As standard, and what its gradient needs."""
    sqrt_, saved_std = std_saved(x)  # policy_gradient.lee:39
    add = sqrt_ + 1e-8
    return (x - x.mean()) / add, (sqrt_, saved_std, add)


def standard_backward(saved, div, d_y):
    """From d_y to the gradient by x."""
    sqrt_, saved_std, add = saved
    n = div.shape[0]
    # gradient of return (x - mean(x)) / (std(x) + 1e-8)   policy_gradient.lee:39
    d_sub = d_y / add  # [n]
    d_x_2 = std_backward(saved_std, sqrt_, 0, -(d_y * div / add).sum())  # [n]
    d_x = d_x_2 + d_sub - d_sub.sum() / n  # [n]
    return d_x  # [n]


def surprise_saved(policy, s, a, advantage, bonus=0.0):
    """As surprise, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # policy_gradient.lee:44
    softmax_ = softmax(add_2, (1,))  # [n, policy.sizes_2]  prelude.lee:122
    categorical_score = torch.log_softmax(add_2, dim=1)  # [n, policy.sizes_2]  prelude.lee:127
    found = of_class(categorical_score, a)  # [n]  policy_gradient.lee:45
    select, saved_share = share_saved(softmax_, categorical_score)
    mul_2 = bonus * select.sum(dim=1).mean()
    saved = saved_policy, softmax_, categorical_score, found, saved_share
    return mul_2 - (found * advantage).mean(), saved


def surprise_backward(policy, s, a, advantage, bonus, saved, d_sub):
    """From d_sub to the gradients by policy, s and advantage."""
    saved_policy, softmax_, categorical_score, found, saved_share = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(p, a) * advantage) - bonus * mean(entropy(p))   policy_gradient.lee:45
    d_select = (d_sub * bonus / n).expand(n, policy.sizes[2])  # [n, policy.sizes_2]
    d_softmax, d_categorical_score_2 = share_backward(softmax_, categorical_score, saved_share, d_select)
    neg = -(d_sub / n)
    d_advantage = neg * found  # [n]
    d_categorical_score_3 = of_class_backward(a, policy.sizes[2], neg * advantage)  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [n, policy.sizes_2]
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sub = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_add_2_2 = d_categorical_score - torch.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of p = categorical(policy(s))   policy_gradient.lee:44
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2_2 + softmax_ * sub)
    return d_policy, d_s, d_advantage


def imitation_saved(policy, s, a):
    """As imitation, and what its gradient needs."""
    add_2, saved_policy = policy.forward_saved(s)  # policy_gradient.lee:50
    categorical_score = torch.log_softmax(add_2, dim=1)  # [n, policy.sizes_2]  prelude.lee:127
    return -of_class(categorical_score, a).mean(), (saved_policy, categorical_score)  # policy_gradient.lee:50


def imitation_backward(policy, s, a, saved, d_neg):
    """From d_neg to the gradients by policy and s."""
    saved_policy, categorical_score = saved
    n = s.shape[0]
    # gradient of return -mean(log_prob(categorical(policy(s)), a))   policy_gradient.lee:50
    d_categorical_score = of_class_backward(a, policy.sizes[2], (-(d_neg / n)).expand(n))  # [n, policy.sizes_2]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [n, 1]
    d_add_2 = d_categorical_score - torch.exp(categorical_score) * sum_  # [n, policy.sizes_2]
    # gradient of return -mean(log_prob(categorical(policy(s)), a))   policy_gradient.lee:50
    d_policy, d_s = policy.forward_backward(s, saved_policy, d_add_2)
    return d_policy, d_s


def example_gains():
    """After an hour of nothing comes a reward of 1."""
    fill_2 = torch.full((1,), True, dtype=torch.bool)  # bool[1]  policy_gradient.lee:56
    unslice_2 = unslice(torch.ones(1, dtype=FLOAT), (4,), (slice(3, 4),))  # [4]
    reward_2 = torch.where(unslice(fill_2, (4,), (slice(3, 4),)), unslice_2, 0)  # [4]
    return discounted(reward_2).sum()  # policy_gradient.lee:57


def example_episode(key):
    policy = MLP((4, 8, 2), key=fold(key, SITES["policy"]))  # policy_gradient.lee:61
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  policy_gradient.lee:62
    a = randint(fold(key, SITES["a"]), (6,), 0, 2)  # int[6]  policy_gradient.lee:63
    advantage = normal(fold(key, SITES["advantage"]), (6,), FLOAT)  # [6]  policy_gradient.lee:64
    div, saved_standard = standard_saved(advantage)  # policy_gradient.lee:65
    value, saved_surprise = surprise_saved(policy, s, a, div, bonus=0.01)
    d_value = torch.ones((), dtype=FLOAT)
    d_policy, d_s, d_div = surprise_backward(policy, s, a, div, 0.01, saved_surprise, d_value)
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
    d_value = torch.ones((), dtype=FLOAT)
    d_policy, d_s = imitation_backward(policy, s, a, saved_imitation, d_value)
    return value, policy.at(d_policy), d_s


@torch.no_grad()
def reinforce(episodes=500, gamma=0.99, rate=3e-3, *, run=None):
    """One step after every episode, with all that was seen in it."""
    from leec.runtime.run import Run

    run = run or Run("reinforce", backend="torch")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy")).to(run.session.place.device)  # policy_gradient.lee:84
    opt = Adam(lr=rate)  # policy_gradient.lee:85
    step = ReinforceStep(policy, opt)
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
        run.step(step(states, actions, rewards, gamma))  # policy_gradient.lee:97
        run.report(score=rewards.sum())  # policy_gradient.lee:98
    return policy


@torch.no_grad()
def reinforce_2(episodes=500, gamma=0.99, rate=3e-3, *, run=None):
    """One step after every episode, with all that was seen in it."""
    from leec.runtime.run import Run

    run = run or Run("reinforce_2", backend="torch")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy")).to(run.session.place.device)  # policy_gradient.lee:84
    opt = Adam(lr=rate)  # policy_gradient.lee:85
    step = Reinforce2Step(policy, opt)
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
        run.step(step(states, actions, rewards, gamma))  # policy_gradient.lee:97
        run.report(score=rewards.sum())  # policy_gradient.lee:98
    return policy


def reinforce_a(policy, s, key):
    """s [4] -> []"""
    categorical_below = softmax(policy.forward_2(s), (0,)).cumsum(dim=0)  # [2]  policy_gradient.lee:91
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT, s.device)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = categorical_passed.to(torch.int64).sum().clamp(max=1)
    return a


def reinforce_2_a(policy, s, key):
    """s [4] -> []"""
    categorical_below = softmax(policy.forward_2(s), (0,)).cumsum(dim=0)  # [2]  policy_gradient.lee:91
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT, s.device)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = categorical_passed.to(torch.int64).sum().clamp(max=1)
    return a


class ReinforceStep(TrainStep):
    """One step of reinforce for policy, opt: call it with a batch."""

    moved = (("opt", ("policy",)),)
    counted = ("opt",)
    read = ("policy.layers.0.w", "policy.layers.0.b", "policy.layers.1.w", "policy.layers.1.b")
    spare = (None,)

    def __init__(self, policy, opt):
        self.policy, self.opt = policy, opt
        self.bind()

    def numbers(self, states_n):
        return (states_n, 0.0 / states_n, -(1.0 / states_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, states, actions, rewards, gamma, t_):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        states_n = states.shape[0]
        count, scale, scale_ = self.held(states_n)  # states_n, 0.0 / states_n, -(1.0 / states_n)
        g = torch.zeros((), dtype=FLOAT, device=states.device)  # policy_gradient.lee:31
        out = torch.empty((states_n,), dtype=FLOAT, device=states.device)  # [states_n]
        for t in reversed(range(states_n)):
            g, out[t] = discounted_step_in_step(g, rewards[t], gamma)
        sub_2_2 = out - out.mean(dim=0, keepdim=True)  # [states_n]  prelude.lee:168
        add = torch.sqrt((sub_2_2 * sub_2_2).sum() / count) + 1e-8  # policy_gradient.lee:39
        div_2 = (out - out.sum() / count) / add  # [states_n]
        x_2 = torch.relu(torch.addmm(layers_0_b, states, layers_0_w))  # [states_n, 64]  prelude.lee:61
        add_2_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [states_n, 2]  nn.lee:21
        softmax_ = softmax(add_2_2, (1,))  # [states_n, 2]  prelude.lee:122
        categorical_score = torch.log_softmax(add_2_2, dim=1)  # [states_n, 2]  prelude.lee:127
        # [states_n]  distributions.lee:119
        cross_entropy = torch.nn.functional.cross_entropy(add_2_2, actions, reduction="none")
        mul_3 = softmax_ * categorical_score  # [states_n, 2]  distributions.lee:114
        relu_gradient = torch.ops.aten.threshold_backward(mul_3, softmax_, 0)  # [states_n, 2]
        mul_2_2 = 0 * (relu_gradient.sum(dim=1).sum() / count)  # policy_gradient.lee:45
        # [states_n, 2]  distributions.lee:114
        d_softmax = torch.ops.aten.threshold_backward(scale * categorical_score, softmax_, 0)
        mul_2_2_2 = scale * softmax_  # [states_n, 2]
        i = torch.arange(states_n, device=states.device)  # int[states_n]  distributions.lee:119
        # [states_n, 2]  distributions.lee:114
        d_categorical_score_2 = torch.ops.aten.threshold_backward(mul_2_2_2, softmax_, 0)
        # [states_n, 2]  distributions.lee:119
        d_categorical_score_3 = scatter_add(scale_ * div_2, (i, actions), (states_n, 2))
        d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [states_n, 2]  prelude.lee:127
        sum_5 = d_categorical_score.sum(dim=1, keepdim=True)  # [states_n, 1]
        sub_3 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [states_n, 2]  prelude.lee:122
        d_add_2_2 = d_categorical_score - torch.exp(categorical_score) * sum_5  # [states_n, 2]  prelude.lee:127
        d_add_2 = d_add_2_2 + softmax_ * sub_3  # [states_n, 2]  policy_gradient.lee:44
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [2]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 2]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [states_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(states.T, d_add, out=d_layers_0_w)  # [4, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g_, m, v in self.blocks[0]:
            adam_(θ, g_, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        return mul_2_2 - (-cross_entropy * div_2).sum() / count  # policy_gradient.lee:45


class Reinforce2Step(TrainStep):
    """One step of reinforce_2 for policy, opt: call it with a batch."""

    moved = (("opt", ("policy",)),)
    counted = ("opt",)
    read = ("policy.layers.0.w", "policy.layers.0.b", "policy.layers.1.w", "policy.layers.1.b")
    spare = (None,)

    def __init__(self, policy, opt):
        self.policy, self.opt = policy, opt
        self.bind()

    def numbers(self, states_n):
        return (states_n, 0.0 / states_n, -(1.0 / states_n))

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, states, actions, rewards, gamma, t_):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        states_n = states.shape[0]
        count, scale, scale_ = self.held(states_n)  # states_n, 0.0 / states_n, -(1.0 / states_n)
        g = torch.zeros((), dtype=FLOAT, device=states.device)  # policy_gradient.lee:31
        out = torch.empty((states_n,), dtype=FLOAT, device=states.device)  # [states_n]
        for t in reversed(range(states_n)):
            g, out[t] = discounted_step_in_step(g, rewards[t], gamma)
        sub_2_2 = out - out.mean(dim=0, keepdim=True)  # [states_n]  prelude.lee:168
        add = torch.sqrt((sub_2_2 * sub_2_2).sum() / count) + 1e-8  # policy_gradient.lee:39
        div_2 = (out - out.sum() / count) / add  # [states_n]
        x_2 = torch.relu(torch.addmm(layers_0_b, states, layers_0_w))  # [states_n, 64]  prelude.lee:61
        add_2_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [states_n, 2]  nn.lee:21
        softmax_ = softmax(add_2_2, (1,))  # [states_n, 2]  prelude.lee:122
        categorical_score = torch.log_softmax(add_2_2, dim=1)  # [states_n, 2]  prelude.lee:127
        # [states_n]  distributions.lee:119
        cross_entropy = torch.nn.functional.cross_entropy(add_2_2, actions, reduction="none")
        mul_3 = softmax_ * categorical_score  # [states_n, 2]  distributions.lee:114
        relu_gradient = torch.ops.aten.threshold_backward(mul_3, softmax_, 0)  # [states_n, 2]
        mul_2_2 = 0 * (relu_gradient.sum(dim=1).sum() / count)  # policy_gradient.lee:45
        # [states_n, 2]  distributions.lee:114
        d_softmax = torch.ops.aten.threshold_backward(scale * categorical_score, softmax_, 0)
        mul_2_2_2 = scale * softmax_  # [states_n, 2]
        i = torch.arange(states_n, device=states.device)  # int[states_n]  distributions.lee:119
        # [states_n, 2]  distributions.lee:114
        d_categorical_score_2 = torch.ops.aten.threshold_backward(mul_2_2_2, softmax_, 0)
        # [states_n, 2]  distributions.lee:119
        d_categorical_score_3 = scatter_add(scale_ * div_2, (i, actions), (states_n, 2))
        d_categorical_score = d_categorical_score_2 + d_categorical_score_3  # [states_n, 2]  prelude.lee:127
        sum_5 = d_categorical_score.sum(dim=1, keepdim=True)  # [states_n, 1]
        sub_3 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [states_n, 2]  prelude.lee:122
        d_add_2_2 = d_categorical_score - torch.exp(categorical_score) * sum_5  # [states_n, 2]  prelude.lee:127
        d_add_2 = d_add_2_2 + softmax_ * sub_3  # [states_n, 2]  policy_gradient.lee:44
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [2]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 2]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [states_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(states.T, d_add, out=d_layers_0_w)  # [4, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g_, m, v in self.blocks[0]:
            adam_(θ, g_, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        return mul_2_2 - (-cross_entropy * div_2).sum() / count  # policy_gradient.lee:45


@torch.no_grad()
def play(episodes=20, *, run=None):
    """An actor that has learned nothing; its loss is what it collects, with the sign turned."""
    from leec.runtime.run import Run

    run = run or Run("play", backend="torch")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy")).to(run.session.place.device)  # policy_gradient.lee:104
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
    categorical_below = softmax(policy.forward_2(s), (0,)).cumsum(dim=0)  # [2]  policy_gradient.lee:110
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT, s.device)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = categorical_passed.to(torch.int64).sum().clamp(max=1)
    return a


@torch.no_grad()
def cloned(episodes=5, steps=200, tests=20, rate=0.01, *, run=None):
    """An expert shows some episodes; the pupil does what it did, and is then tested alone."""
    from leec.runtime.run import Run

    run = run or Run("cloned", backend="torch")
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
    policy = MLP(sizes=(4, 64, 2), key=run.key("policy")).to(run.session.place.device)  # policy_gradient.lee:131
    opt = Adam(lr=rate)  # policy_gradient.lee:132
    step = ClonedStep(policy, opt)
    for step_ in run.loop("step", 1, steps, opt=opt, policy=policy):
        run.step(step(states, actions))  # policy_gradient.lee:134
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
    categorical_below = softmax(expert.forward_2(s), (0,)).cumsum(dim=0)  # [2]  policy_gradient.lee:126
    categorical_u = uniform(fold(key, SITES["a"]), (), FLOAT, s.device)
    categorical_passed = categorical_u * categorical_below[1:] >= categorical_below  # bool[2]
    a = categorical_passed.to(torch.int64).sum().clamp(max=1)
    return a


class ClonedStep(TrainStep):
    """One step of cloned for policy, opt: call it with a batch."""

    moved = (("opt", ("policy",)),)
    counted = ("opt",)
    read = ("policy.layers.0.w", "policy.layers.0.b", "policy.layers.1.w", "policy.layers.1.b")
    spare = (None,)

    def __init__(self, policy, opt):
        self.policy, self.opt = policy, opt
        self.bind()

    def numbers(self, states_n):
        return (states_n,)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, states, actions, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        states_n = states.shape[0]
        (count,) = self.held(states_n)  # states_n
        x_2 = torch.relu(torch.addmm(layers_0_b, states, layers_0_w))  # [states_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [states_n, 2]  nn.lee:21
        # [states_n]  distributions.lee:119
        cross_entropy = torch.nn.functional.cross_entropy(affine_2, actions, reduction="none")
        neg_2 = -(1.0 / states_n)  # policy_gradient.lee:50
        d_found = torch.full((states_n,), neg_2, dtype=FLOAT, device=states.device)  # [states_n]
        i = torch.arange(states_n, device=states.device)  # int[states_n]  distributions.lee:119
        d_categorical_score = scatter_add(d_found, (i, actions), (states_n, 2))  # [states_n, 2]
        exp = torch.exp(torch.log_softmax(affine_2, dim=1))  # [states_n, 2]  prelude.lee:127
        d_add_2 = d_categorical_score - exp * d_categorical_score.sum(dim=1, keepdim=True)  # [states_n, 2]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [2]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 2]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [states_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(states.T, d_add, out=d_layers_0_w)  # [4, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return -((-cross_entropy).sum() / count)  # policy_gradient.lee:50


def cloned_a_2(policy, s):
    """s [4] -> []"""
    a = policy.forward_2(s).argmax(dim=0)  # policy_gradient.lee:140
    return a


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


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0] -> []
    """
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0]  prelude.lee:168
    total = (sub**2).sum()
    return total / (x_0 - ddof)  # prelude.lee:169


def var_saved(x, ddof=0):
    """As var, and what its gradient needs."""
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0]  prelude.lee:168
    total = (sub**2).sum()
    return total / (x_0 - ddof), sub  # prelude.lee:169


def var_backward(sub, ddof, d_y):
    """From d_y to the gradient by x."""
    x_0 = sub.shape[0]
    # gradient of return total / (count(x) // count(total) - ddof)   prelude.lee:169
    d_total = d_y / (x_0 - ddof)
    # gradient of total = sum((x - mean(x, axis = axis, keepdims = true)) ** 2, axis = axis, ke..   prelude.lee:168
    d_sub = 2 * d_total * sub  # [x_0]
    d_x = d_sub + -d_sub.sum(dim=0, keepdim=True) / x_0  # [x_0]
    return d_x  # [x_0]


def std(x, ddof=0):
    """√var

    x [x_0] -> []
    """
    return sqrt(var(x, ddof=ddof))  # prelude.lee:174


def std_saved(x, ddof=0):
    """As std, and what its gradient needs."""
    div, saved_var = var_saved(x, ddof=ddof)  # prelude.lee:174
    return sqrt(div), (div, saved_var)


def std_backward(saved, sqrt_, ddof, d_y):
    """From d_y to the gradient by x."""
    div, saved_var = saved
    # gradient of return sqrt(var(x, axis = axis, ddof = ddof, keepdims = keepdims))   prelude.lee:174
    d_div = d_y * 0.5 / torch.where(div > 0, sqrt_, torch.inf)
    d_x = var_backward(saved_var, ddof, d_div)  # [x_0]
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
