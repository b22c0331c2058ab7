"""What a state is worth under a policy (lecture: reinforcement): a critic learned from whole episodes, and from moves.

V(s) = E[Σ γᵗ rₜ] over all that follows s. By Monte Carlo V is regressed on the gains themselves, known when an episode
is over; by temporal difference on r + γ V(next), known after one move. With the moves counted, V solves V = r + γ P V.
The policy plays by chance, on a frozen lake where two of three moves slip.

Made from specs/reinforcement/critic.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/critic.lee
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


class Table(Model):
    """A value for each state."""

    members = ("value",)

    def __init__(self, states, spread=0.0, *, key=(0, 0)):
        super().__init__()
        self.states_, self.spread = states, spread
        # [states]  critic.lee:20
        self.value = torch.nn.Parameter(spread * normal(fold(key, SITES["value"]), (states,), FLOAT))

    def forward(self, s):
        """s int[n] -> [n]"""
        return self.value[s]  # [n]  critic.lee:23

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
    g = torch.zeros((), dtype=FLOAT, device=reward.device)  # critic.lee:29
    out = [None] * time
    for t in reversed(range(time)):
        g, out[t] = gains_step(g, reward[t], done[t], gamma)
    out = torch.stack(out, 0) if out else torch.zeros((time,), dtype=FLOAT, device=reward.device)
    return out  # [time]


def gains_backward(done, gamma, d_out):
    """From d_out to the gradient by reward."""
    time = done.shape[0]
    # gradient of for t in reversed(time):   critic.lee:29
    d_g_2 = torch.zeros((), dtype=FLOAT, device=done.device)
    d_reward = [None] * time
    for t in range(time):
        d_g_2, d_reward[t] = gains_step_backward(done[t], gamma, d_g_2, d_out[t])
    d_reward = torch.stack(d_reward, 0) if d_reward else torch.zeros((time,), dtype=FLOAT, device=done.device)
    return d_reward  # [time]


def gains_step(g, reward_t, done_t, gamma):
    g_2 = reward_t + gamma * torch.where(done_t, 0, g)  # critic.lee:30
    return g_2, g_2


def gains_step_backward(done_t, gamma, d_g_2, d_out):
    """From d_g_2 and d_out to the gradients by g and reward_t."""
    # gradient of g = reward[t] + gamma * where(done[t], 0, g)   critic.lee:30
    d_g_2_2 = d_g_2 + d_out
    d_g = torch.where(done_t, 0, d_g_2_2 * gamma)
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


def temporal_difference_saved(critic, s, r, next_, over, gamma=0.99):
    """As temporal_difference, and what its gradient needs."""
    goal = r + torch.where(over, 0, gamma * critic(next_))  # [n]  critic.lee:41
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
    visits = seen.sum(dim=0).clamp(min=1)  # [states]  critic.lee:48
    follows = one_hot(next_, states)  # [n, states]  critic.lee:49
    p = seen.T @ torch.where(over, 0, follows.T).T / visits[:, None]  # [states, states]  critic.lee:50
    mean_reward = r @ seen / visits  # [states]  critic.lee:51
    sub = eye(states) - gamma * p  # [states, states]  critic.lee:52
    y = torch.linalg.solve(sub, mean_reward[Ellipsis, None])[Ellipsis, 0]  # [states]
    return y  # [states]


def expected_saved(s, r, next_, over, states, gamma=0.99):
    """As expected, and what its gradient needs."""
    seen = one_hot(s, states)  # [n, states]  critic.lee:47
    visits = seen.sum(dim=0).clamp(min=1)  # [states]  critic.lee:48
    follows = one_hot(next_, states)  # [n, states]  critic.lee:49
    p = seen.T @ torch.where(over, 0, follows.T).T / visits[:, None]  # [states, states]  critic.lee:50
    mean_reward = r @ seen / visits  # [states]  critic.lee:51
    sub = eye(states) - gamma * p  # [states, states]  critic.lee:52
    solve = torch.linalg.solve(sub, mean_reward[Ellipsis, None])[Ellipsis, 0]  # [states]
    return solve, (seen, visits, sub)


def expected_backward(saved, d_y):
    """From d_y to the gradient by r."""
    seen, visits, sub = saved
    # gradient of return solve(eye(states) - gamma * p, mean_reward)   critic.lee:52
    d_mean_reward = torch.linalg.solve(sub.T, d_y[Ellipsis, None])[Ellipsis, 0]  # [states]
    # gradient of mean_reward[i] = sum[k](seen[k, i] * r[k]) / visits[i]   critic.lee:51
    d_r = seen @ (d_mean_reward / visits)  # [n]
    return d_r  # [n]


def example_episodes(key):
    """The third move ends one."""
    critic = Table(5, spread=1.0, key=fold(key, SITES["critic"]))  # critic.lee:57
    s = randint(fold(key, SITES["s"]), (6,), 0, 5)  # int[6]  critic.lee:58
    r = normal(fold(key, SITES["r"]), (6,), FLOAT)  # [6]  critic.lee:59
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (6,), (slice(2, 3),))  # bool[6]  critic.lee:61
    done_2 = torch.where(unslice_, unslice_, False)  # bool[6]
    mean, saved_monte_carlo = monte_carlo_saved(critic, s, gains(r, done_2))  # critic.lee:62
    d_critic, d_out = monte_carlo_backward(s, saved_monte_carlo, 5, torch.ones((), dtype=FLOAT))
    return mean, critic.at(d_critic), gains_backward(done_2, 0.99, d_out)


def example_moves(key):
    """The fourth move ends an episode."""
    critic = Table(5, spread=1.0, key=fold(key, SITES["critic"]))  # critic.lee:67
    s = randint(fold(key, SITES["s"]), (6,), 0, 5)  # int[6]  critic.lee:68
    next_ = randint(fold(key, SITES["next"]), (6,), 0, 5)  # int[6]  critic.lee:69
    r = normal(fold(key, SITES["r"]), (6,), FLOAT)  # [6]  critic.lee:70
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (6,), (slice(3, 4),))  # bool[6]  critic.lee:72
    over_2 = torch.where(unslice_, unslice_, False)  # bool[6]
    mean, saved_temporal_difference = temporal_difference_saved(critic, s, r, next_, over_2)  # critic.lee:73
    d_mean = torch.ones((), dtype=FLOAT)
    d_critic = temporal_difference_backward_parameters(s, saved_temporal_difference, 5, d_mean)
    return mean, critic.at(d_critic), torch.zeros(6, dtype=FLOAT)


def example_counted(key):
    s = randint(fold(key, SITES["s"]), (12,), 0, 5)  # int[12]  critic.lee:77
    next_ = randint(fold(key, SITES["next"]), (12,), 0, 5)  # int[12]  critic.lee:78
    r = normal(fold(key, SITES["r"]), (12,), FLOAT)  # [12]  critic.lee:79
    u = uniform(fold(key, SITES["u"]), (12,), FLOAT)  # [12]  critic.lee:80
    solve, saved_expected = expected_saved(s, r, next_, u < 0.5, 5)  # critic.lee:81
    return (solve**2).sum(), expected_backward(saved_expected, 2 * solve)


@torch.no_grad()
def by_monte_carlo(episodes=2000, steps=300, gamma=0.99, rate=0.02, *, run=None):
    """Whole episodes first; then a regression on what followed each visit."""
    from leec.runtime.run import Run

    run = run or Run("by_monte_carlo", backend="torch")
    lake = run.environment("FrozenLake-v1", observation=("int", (), 0, 15), action=("int", (), 0, 3))  # critic.lee:13
    critic = Table(states=16, key=run.key("critic")).to(run.session.place.device)  # critic.lee:86
    opt = Adam(lr=rate)  # critic.lee:87
    step = ByMonteCarloStep(critic, opt)
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
    for step_ in run.loop("step", 1, steps, critic=critic, opt=opt):
        run.step(step(b.state, gain))  # critic.lee:101
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


class ByMonteCarloStep(TrainStep):
    """One step of by_monte_carlo for critic, opt: call it with a batch."""

    moved = (("opt", ("critic",)),)
    counted = ("opt",)
    read = ("critic.value",)
    spare = (None,)

    def __init__(self, critic, opt):
        self.critic, self.opt = critic, opt
        self.bind()

    def numbers(self, b_state_n):
        return (b_state_n, 2 / b_state_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, b_state, gain, t):
        (value,) = self.tensors
        (d_value,) = self.gradients
        b_state_n = b_state.shape[0]
        count, scale = self.held(b_state_n)  # b_state_n, 2 / b_state_n
        sub = value[b_state] - gain  # [b_state_n]  losses.lee:13
        d_value.copy_(scatter_add(scale * sub, (b_state,), (16,)))  # [16]  critic.lee:23
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub * sub).sum() / count  # losses.lee:148


def by_monte_carlo_start_gap(critic, b_state, b_reward, b_next, b_over, gamma):
    """b_state int[b_state_n], b_reward [b_state_n], b_next int[b_state_n], b_over bool[b_state_n] -> [], []"""
    solve = expected(b_state, b_reward, b_next, b_over, 16, gamma=gamma)  # [16]  critic.lee:103
    return critic.value[0], torch.abs(critic.value - solve).max(0).values  # critic.lee:102


@torch.no_grad()
def by_difference(moves=20000, steps=400, gamma=0.99, rate=0.02, *, run=None):
    """Moves in any number: no episode has to end."""
    from leec.runtime.run import Run

    run = run or Run("by_difference", backend="torch")
    lake = run.environment("FrozenLake-v1", observation=("int", (), 0, 15), action=("int", (), 0, 3))  # critic.lee:13
    critic = Table(states=16, key=run.key("critic")).to(run.session.place.device)  # critic.lee:110
    opt = Adam(lr=rate)  # critic.lee:111
    step = ByDifferenceStep(critic, opt)
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
    for step_ in run.loop("step", 1, steps, critic=critic, opt=opt):
        run.step(step(b.state, b.reward, b.next, b.over, gamma))  # critic.lee:123
    reported_start, reported_gap = by_difference_start_gap(critic, b.state, b.reward, b.next, b.over, gamma)
    run.report(start=reported_start, gap=reported_gap)  # critic.lee:124
    return critic


def by_difference_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 4)  # critic.lee:115
    return a


class ByDifferenceStep(TrainStep):
    """One step of by_difference for critic, opt: call it with a batch."""

    moved = (("opt", ("critic",)),)
    counted = ("opt",)
    read = ("critic.value",)
    spare = (None,)

    def __init__(self, critic, opt):
        self.critic, self.opt = critic, opt
        self.bind()

    def numbers(self, b_state_n):
        return (b_state_n, 2 / b_state_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, b_state, b_reward, b_next, b_over, gamma, t):
        (value,) = self.tensors
        (d_value,) = self.gradients
        b_state_n = b_state.shape[0]
        count, scale = self.held(b_state_n)  # b_state_n, 2 / b_state_n
        sub = value[b_state] - (b_reward + torch.where(b_over, 0, gamma * value[b_next]))  # [b_state_n]  losses.lee:13
        d_value.copy_(scatter_add(scale * sub, (b_state,), (16,)))  # [16]  critic.lee:23
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub * sub).sum() / count  # losses.lee:148


def by_difference_start_gap(critic, b_state, b_reward, b_next, b_over, gamma):
    """b_state int[b_state_n], b_reward [b_state_n], b_next int[b_state_n], b_over bool[b_state_n] -> [], []"""
    solve = expected(b_state, b_reward, b_next, b_over, 16, gamma=gamma)  # [16]  critic.lee:125
    return critic.value[0], torch.abs(critic.value - solve).max(0).values  # critic.lee:124


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
    d_each = (d_y / each_0).expand(each_0)  # [each_0]
    return d_each  # [each_0]


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


def eye(n):
    """The unit matrix."""
    eq = torch.arange(n)[:, None] == torch.arange(n)  # bool[n, n]  prelude.lee:247
    matrix = torch.where(eq, torch.full((), 1.0, dtype=FLOAT), 0.0)  # [n, n]
    return matrix  # [n, n]


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = torch.arange(classes, device=index.device)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).to(FLOAT)  # [rows, classes]  prelude.lee:254


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
