"""Inverse reinforcement learning (lecture: reinforcement): a reward under which an expert plays best.

An actor of greatest entropy plays softmax(Q) with Q = r + γ P log Σ exp Q (Ziebart et al. 2010). The reward is moved
until such an actor does what the expert did; the actor is computed anew for every reward.

Made from specs/reinforcement/inverse.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/inverse.lee
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


class Reward(Model):
    """What being in each state brings."""

    members = ("value",)

    def __init__(self, states):
        super().__init__()
        self.states_ = states
        self.value = torch.nn.Parameter(torch.zeros(states, dtype=FLOAT))  # [states]  inverse.lee:18


def soft_values(reward, p, rounds=30, gamma=0.9):
    """Value iteration whose maximum is soft: V = log Σ exp Q. p[i, u, j] leads from i by u to j; from an end nowhere.

    reward [k], p [k, m, k] -> [k, m]
    """
    k = reward.shape[0]
    m = p.shape[1]
    v = torch.zeros(k, dtype=FLOAT, device=reward.device)  # [k]  inverse.lee:23
    q = torch.zeros((k, m), dtype=FLOAT, device=reward.device)  # [k, m]  inverse.lee:24
    # inverse.lee:25
    for round_ in range(rounds):
        q, v = soft_values_step(q, v, p, gamma, reward)
    return q  # [k, m]


def soft_values_saved(reward, p, rounds=30, gamma=0.9):
    """As soft_values, and what its gradient needs."""
    k = reward.shape[0]
    m = p.shape[1]
    v = torch.zeros(k, dtype=FLOAT, device=reward.device)  # [k]  inverse.lee:23
    q = torch.zeros((k, m), dtype=FLOAT, device=reward.device)  # [k, m]  inverse.lee:24
    saved_soft_values_step = [None] * rounds  # inverse.lee:25
    for round_ in range(rounds):
        q, v, saved_soft_values_step[round_] = soft_values_step_saved(q, v, p, gamma, reward)
    return q, saved_soft_values_step


def soft_values_backward(p, gamma, saved_soft_values_step, rounds, d_q_4):
    """From d_q_4 to the gradients by reward and p."""
    k, m, _ = p.shape
    # gradient of for round in rounds:   inverse.lee:25
    d_v_3 = torch.zeros(k, dtype=FLOAT, device=p.device)  # [k]
    d_contract_rows = [None] * rounds
    v_rows_2 = [None] * rounds
    d_reward_rows = [None] * rounds
    for round_ in reversed(range(rounds)):
        d_q_4, d_v_3, d_contract_rows[round_], v_rows_2[round_], d_reward_rows[round_] = soft_values_step_backward(
            saved_soft_values_step[round_], p, gamma, d_q_4, d_v_3
        )
    d_contract_rows = (
        torch.stack(d_contract_rows, 0)
        if d_contract_rows
        else torch.zeros((rounds, k, m), dtype=FLOAT, device=p.device)
    )
    v_rows_2 = torch.stack(v_rows_2, 0) if v_rows_2 else torch.zeros((rounds, k), dtype=FLOAT, device=p.device)
    d_reward_rows = (
        torch.stack(d_reward_rows, 0) if d_reward_rows else torch.zeros((rounds, k), dtype=FLOAT, device=p.device)
    )
    d_p = (d_contract_rows.reshape(rounds, k * m).T @ v_rows_2).reshape(k, m, k)  # [k, m, k]
    d_reward = d_reward_rows.sum(dim=0)  # [k]
    return d_reward, d_p


def soft_values_step(q, v, p, gamma, reward):
    """q [k, m], v [k], p [k, m, k], reward [k] -> [k, m], [k]"""
    q_3 = reward[:, None] + gamma * (p @ v)  # [k, m]  inverse.lee:26
    v_3 = logsumexp(q_3, 1, False)  # [k]  inverse.lee:27
    return q_3, v_3


def soft_values_step_saved(q, v, p, gamma, reward):
    """As soft_values_step, and what its gradient needs."""
    q_3 = reward[:, None] + gamma * (p @ v)  # [k, m]  inverse.lee:26
    v_3 = logsumexp(q_3, 1, False)  # [k]  inverse.lee:27
    return q_3, v_3, (v, q_3)


def soft_values_step_backward(saved, p, gamma, d_q_3, d_v_3):
    """From d_q_3 and d_v_3 to the gradients by q, v, contract and reward."""
    v, q_3 = saved
    k = v.shape[0]
    m = q_3.shape[1]
    # gradient of q[i, u] = reward[i] + gamma * sum[j](p[i, u, j] * v[j])   inverse.lee:26
    d_q_3_2 = d_q_3 + d_v_3[:, None] * softmax(q_3, (1,))  # [k, m]
    d_reward = d_q_3_2.sum(dim=1)  # [k]
    d_contract = d_q_3_2 * gamma  # [k, m]
    d_v = d_contract.reshape(k * m) @ p.reshape(k * m, k)  # [k]
    d_q = torch.zeros((k, m), dtype=FLOAT, device=v.device)  # [k, m]
    return d_q, d_v, d_contract, v, d_reward


def soft_values_step_saved_in_step(q, v, p, gamma, reward):
    """As soft_values_step, and what its gradient needs."""
    q_3 = reward[:, None] + gamma * (p @ v)  # [k, m]  inverse.lee:26
    v_3 = logsumexp(q_3, 1, False)  # [k]  inverse.lee:27
    return q_3, v_3, (v, q_3)


def soft_values_step_backward_2_in_step(p, gamma, saved, d_q_3, d_v_3):
    """From d_q_3 and d_v_3 to the gradients by q, v and reward."""
    _, q_3 = saved
    k, m, _ = p.shape
    # gradient of q[i, u] = reward[i] + gamma * sum[j](p[i, u, j] * v[j])   inverse.lee:26
    d_q_3_2 = d_q_3 + d_v_3[:, None] * softmax(q_3, (1,))  # [k, m]
    d_reward = d_q_3_2.sum(dim=1)  # [k]
    d_v = (d_q_3_2 * gamma).reshape(k * m) @ p.reshape(k * m, k)  # [k]
    d_q = torch.zeros((k, m), dtype=FLOAT, device=p.device)  # [k, m]
    return d_q, d_v, d_reward


def unlike(reward, p, s, a, rounds=30, gamma=0.9, decay=1e-4):
    """-log of the chance that the actor of this reward does what the expert did; large rewards cost.

    reward [k], p [k, m, k], s int[n], a int[n] -> []
    """
    score = soft_values(reward, p, rounds=rounds, gamma=gamma)  # [k, m]  inverse.lee:33
    mean = of_class(torch.log_softmax(score[s], dim=1), a).mean()  # inverse.lee:34
    return decay * (reward**2).sum() - mean


def unlike_saved(reward, p, s, a, rounds=30, gamma=0.9, decay=1e-4):
    """As unlike, and what its gradient needs."""
    score, saved_soft_values = soft_values_saved(reward, p, rounds=rounds, gamma=gamma)  # inverse.lee:33
    categorical_score = torch.log_softmax(score[s], dim=1)  # [n, m]  prelude.lee:127
    mean = of_class(categorical_score, a).mean()  # inverse.lee:34
    return decay * (reward**2).sum() - mean, (saved_soft_values, categorical_score)


def unlike_backward(reward, p, s, a, gamma, decay, saved, rounds, d_y):
    """From d_y to the gradients by reward and p."""
    saved_soft_values, categorical_score = saved
    k, m, _ = p.shape
    n = s.shape[0]
    # gradient of return -mean(log_prob(categorical(score[s]), a)) + decay * sum(reward ** 2)   inverse.lee:34
    d_categorical_score = of_class_backward(a, m, (-(d_y / n)).expand(n))  # [n, m]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    sum_ = d_categorical_score.sum(dim=1, keepdim=True)  # [n, 1]
    d_gather = d_categorical_score - torch.exp(categorical_score) * sum_  # [n, m]
    # gradient of return -mean(log_prob(categorical(score[s]), a)) + decay * sum(reward ** 2)   inverse.lee:34
    d_score = scatter_add(d_gather, (s,), (k, m))  # [k, m]
    # gradient of score = soft_values(reward, p, rounds, gamma)   inverse.lee:33
    d_reward_4, d_p = soft_values_backward(p, gamma, saved_soft_values, rounds, d_score)
    d_reward = 2 * (d_y * decay) * reward + d_reward_4  # [k]
    return d_reward, d_p


def values(reward, p, rounds=200, gamma=0.99):
    """Value iteration: Q = r + γ P max Q.

    reward [k, m], p [k, m, k] -> [k, m]
    """
    k, m = reward.shape
    q = torch.zeros((k, m), dtype=FLOAT, device=reward.device)  # [k, m]  inverse.lee:39
    v = torch.zeros(k, dtype=FLOAT, device=reward.device)  # [k]  inverse.lee:40
    # inverse.lee:41
    for round_ in range(rounds):
        q, v = values_step(q, v, p, gamma, reward)
    return q  # [k, m]


def values_saved(reward, p, rounds=200, gamma=0.99):
    """As values, and what its gradient needs."""
    k, m = reward.shape
    q = torch.zeros((k, m), dtype=FLOAT, device=reward.device)  # [k, m]  inverse.lee:39
    v = torch.zeros(k, dtype=FLOAT, device=reward.device)  # [k]  inverse.lee:40
    saved_values_step = [None] * rounds  # inverse.lee:41
    for round_ in range(rounds):
        q, v, saved_values_step[round_] = values_step_saved(q, v, p, gamma, reward)
    return q, saved_values_step


def values_backward(p, gamma, saved_values_step, rounds, d_q_4):
    """From d_q_4 to the gradients by reward and p."""
    k, m, _ = p.shape
    # gradient of for round in rounds:   inverse.lee:41
    d_v_3 = torch.zeros(k, dtype=FLOAT, device=p.device)  # [k]
    d_reward_later = torch.zeros((k, m), dtype=FLOAT, device=p.device)  # [k, m]
    d_contract_rows = [None] * rounds
    v_rows_2 = [None] * rounds
    for round_ in reversed(range(rounds)):
        d_q_4, d_v_3, d_reward_later, d_contract_rows[round_], v_rows_2[round_] = values_step_backward(
            saved_values_step[round_], p, gamma, d_q_4, d_v_3, d_reward_later
        )
    d_contract_rows = (
        torch.stack(d_contract_rows, 0)
        if d_contract_rows
        else torch.zeros((rounds, k, m), dtype=FLOAT, device=p.device)
    )
    v_rows_2 = torch.stack(v_rows_2, 0) if v_rows_2 else torch.zeros((rounds, k), dtype=FLOAT, device=p.device)
    d_p = (d_contract_rows.reshape(rounds, k * m).T @ v_rows_2).reshape(k, m, k)  # [k, m, k]
    return d_reward_later, d_p


def values_step(q, v, p, gamma, reward):
    """q [k, m], v [k], p [k, m, k], reward [k, m] -> [k, m], [k]"""
    q_3 = reward + gamma * (p @ v)  # [k, m]  inverse.lee:42
    v_3 = largest(q_3, (1,), False)  # [k]  inverse.lee:43
    return q_3, v_3


def values_step_saved(q, v, p, gamma, reward):
    """As values_step, and what its gradient needs."""
    q_3 = reward + gamma * (p @ v)  # [k, m]  inverse.lee:42
    v_3 = largest(q_3, (1,), False)  # [k]  inverse.lee:43
    return q_3, v_3, (v, q_3)


def values_step_backward(saved, p, gamma, d_q_3, d_v_3, d_reward):
    """From d_q_3, d_v_3 and d_reward to the gradients by q, v, reward and contract."""
    v, q_3 = saved
    k, m = q_3.shape
    # gradient of v = max(q, axis = 1)   inverse.lee:43
    iota = torch.arange(m, device=v.device)[None, :]  # int[1, m]
    eq = iota == q_3.argmax(dim=1)[:, None]  # bool[k, m]
    # gradient of q[i, u] = reward[i, u] + gamma * sum[j](p[i, u, j] * v[j])   inverse.lee:42
    d_q_3_2 = d_q_3 + torch.where(eq, d_v_3[:, None], 0)  # [k, m]
    d_contract = d_q_3_2 * gamma  # [k, m]
    d_v = d_contract.reshape(k * m) @ p.reshape(k * m, k)  # [k]
    d_q = torch.zeros((k, m), dtype=FLOAT, device=v.device)  # [k, m]
    return d_q, d_v, d_reward + d_q_3_2, d_contract, v


def example_soft(key):
    reward = normal(fold(key, SITES["reward"]), (4,), FLOAT)  # [4]  inverse.lee:48
    z = normal(fold(key, SITES["z"]), (4, 3, 4), FLOAT)  # [4, 3, 4]  inverse.lee:49
    s = randint(fold(key, SITES["s"]), (8,), 0, 4)  # int[8]  inverse.lee:50
    a = randint(fold(key, SITES["a"]), (8,), 0, 3)  # int[8]  inverse.lee:51
    p = torch.softmax(z, dim=2)  # [4, 3, 4]  prelude.lee:122
    add, saved_unlike = unlike_saved(reward, p, s, a)  # inverse.lee:53
    q_4, saved_soft_values = soft_values_saved(reward, p)
    d_q_4 = torch.ones((4, 3), dtype=FLOAT)  # [4, 3]
    d_reward_2, d_p_2 = soft_values_backward(p, 0.9, saved_soft_values, 30, d_q_4)
    d_value = torch.ones((), dtype=FLOAT)
    d_reward_3, d_p_3 = unlike_backward(reward, p, s, a, 0.9, 1e-4, saved_unlike, 30, d_value)
    d_p = d_p_2 + d_p_3  # [4, 3, 4]  prelude.lee:122
    return add + q_4.sum(), d_reward_2 + d_reward_3, p * (d_p - (d_p * p).sum(dim=2, keepdim=True))


def example_best(key):
    reward = normal(fold(key, SITES["reward"]), (4, 3), FLOAT)  # [4, 3]  inverse.lee:57
    z = normal(fold(key, SITES["z"]), (4, 3, 4), FLOAT)  # [4, 3, 4]  inverse.lee:58
    c = normal(fold(key, SITES["c"]), (4, 3), FLOAT)  # [4, 3]  inverse.lee:59
    softmax_ = torch.softmax(z, dim=2)  # [4, 3, 4]  prelude.lee:122
    d_c, saved_values = values_saved(reward, softmax_)  # inverse.lee:60
    d_reward, d_softmax = values_backward(softmax_, 0.99, saved_values, 200, c)
    sub = d_softmax - (d_softmax * softmax_).sum(dim=2, keepdim=True)  # [4, 3, 4]  prelude.lee:122
    return (c * d_c).sum(), d_reward, softmax_ * sub, d_c


@torch.no_grad()
def inverse(moves=20000, shown=50, steps=200, tests=200, rate=0.2, *, run=None):
    """What moves do is counted; an expert who knows the reward shows how it plays; the pupil has to guess why."""
    from leec.runtime.run import Run

    run = run or Run("inverse", backend="torch")
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
    reward = Reward(states=16).to(run.session.place.device)  # inverse.lee:92
    opt = Adam(lr=rate)  # inverse.lee:93
    step = InverseStep(reward, opt)
    for step_ in run.loop("step", 1, steps, opt=opt, reward=reward):
        run.step(step(p, states, actions))  # inverse.lee:95
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
    count = torch.zeros((16, 4, 16), dtype=FLOAT)  # [16, 4, 16]  inverse.lee:65
    return count  # [16, 4, 16]


def inverse_visits():
    visits = torch.full((16, 4), 1e-9, dtype=FLOAT)  # [16, 4]  inverse.lee:66
    return visits  # [16, 4]


def inverse_gain():
    gain = torch.zeros((16, 4), dtype=FLOAT)  # [16, 4]  inverse.lee:67
    return gain  # [16, 4]


def inverse_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 4)  # inverse.lee:70
    return a


def inverse_visits_item(visits, s, a):
    """visits [16, 4] -> []"""
    visits_item = visits[s, a] + 1  # inverse.lee:72
    return visits_item


def inverse_gain_item(gain, s, a, r):
    """gain [16, 4] -> []"""
    gain_item = gain[s, a] + r  # inverse.lee:73
    return gain_item


def inverse_count_item(count, s, a, next_):
    """count [16, 4, 16] -> []"""
    count_item = count[s, a, next_] + 1  # inverse.lee:74
    return count_item


def inverse_p_expert(count, visits, gain):
    """count [16, 4, 16], visits [16, 4], gain [16, 4] -> [16, 4, 16], [16, 4]"""
    p = count / visits[:, :, None]  # [16, 4, 16]  inverse.lee:78
    expert = values(gain / visits, p)  # [16, 4]  inverse.lee:79
    return p, expert


def inverse_a_2(expert, s):
    """expert [16, 4] -> []"""
    a = expert[s].argmax(dim=0)  # inverse.lee:86
    return a


class InverseStep(TrainStep):
    """One step of inverse for reward, opt: call it with a batch."""

    moved = (("opt", ("reward",)),)
    counted = ("opt",)
    read = ("reward.value",)
    spare = (None,)

    def __init__(self, reward, opt):
        self.reward, self.opt = reward, opt
        self.bind()

    def numbers(self, states_n):
        return (states_n,)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, p, states, actions, t):
        (value,) = self.tensors
        (d_value,) = self.gradients
        states_n = states.shape[0]
        (count,) = self.held(states_n)  # states_n
        v = torch.zeros(16, dtype=FLOAT, device=p.device)  # [16]  inverse.lee:23
        q = torch.zeros((16, 4), dtype=FLOAT, device=p.device)  # [16, 4]  inverse.lee:24
        v_ = v  # inverse.lee:25
        saved_soft_values_step = [None] * 30
        for round_ in range(30):
            q, v_, saved_soft_values_step[round_] = soft_values_step_saved_in_step(q, v_, p, 0.9, value)
        gather = q[states]  # [states_n, 4]  inverse.lee:34
        # [states_n]  distributions.lee:119
        cross_entropy = torch.nn.functional.cross_entropy(gather, actions, reduction="none")
        div = (-cross_entropy).sum() / count  # inverse.lee:34
        neg = -(1.0 / states_n)
        d_found = torch.full((states_n,), neg, dtype=FLOAT, device=p.device)  # [states_n]
        i = torch.arange(states_n, device=p.device)  # int[states_n]  distributions.lee:119
        d_categorical_score = scatter_add(d_found, (i, actions), (states_n, 4))  # [states_n, 4]
        sum_3 = d_categorical_score.sum(dim=1, keepdim=True)  # [states_n, 1]  prelude.lee:127
        mul_3 = torch.exp(torch.log_softmax(gather, dim=1)) * sum_3  # [states_n, 4]
        d_q_3 = scatter_add(d_categorical_score - mul_3, (states,), (16, 4))  # [16, 4]  inverse.lee:34
        d_v_3 = v  # inverse.lee:25
        d_reward_rows = torch.empty((30, 16), dtype=FLOAT, device=p.device)  # [30, 16]
        for round_2 in reversed(range(30)):
            d_q_3, d_v_3, d_reward_rows[round_2] = soft_values_step_backward_2_in_step(
                p, 0.9, saved_soft_values_step[round_2], d_q_3, d_v_3
            )
        torch.mul(value, 2e-4, out=d_value)  # [16]  inverse.lee:33
        d_value.add_(d_reward_rows.sum(dim=0))  # [16]
        loss = 1e-4 * (value * value).sum() - div  # inverse.lee:34
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v_2 in self.blocks[0]:
            adam_(θ, g, m, v_2, lr, beta1, beta2, eps, weight_decay, t)
        return loss


def inverse_actor(reward, p):
    """p [16, 4, 16] -> [16, 4]"""
    actor = soft_values(reward.value, p)  # [16, 4]  inverse.lee:96
    return actor  # [16, 4]


def inverse_a_3(actor, s):
    """actor [16, 4] -> []"""
    a = actor[s].argmax(dim=0)  # inverse.lee:102
    return a


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


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "c": 0x1B2C07CD64633F37,
    "reward": 0xAD098299C4960F31,
    "s": 0xDE6ECFAAC38449E6,
    "z": 0x3041FD28A7B04184,
}


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))); where x is -inf all along, it is so too and the gradient is 0."""
    empty = torch.isneginf(x).all(axes, keepdim=True)
    return torch.logsumexp(torch.where(empty, x.detach(), x), axes, keepdim=keepdims)


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
