"""What Q-learning with a net became (lecture: reinforcement, DQN): six changes, most of which go together.

Double (van Hasselt et al. 2016), dueling (Wang et al. 2016), steps of several moves (Sutton 1988), prioritised memory
(Schaul et al. 2016), noisy nets (Fortunato et al. 2018), values as distributions (Bellemare et al. 2017).

Made from specs/reinforcement/dqn_family.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/dqn_family.lee
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


@packed(0, q=(0, 2), a=(0, 1))
def of(q, a):
    """What q says of the actions a.

    q [.., k], a int[..] -> [..]
    """
    rows = q.shape[0]
    found = q[torch.arange(rows, device=q.device), a]  # [rows]  dqn_family.lee:19
    return found  # [rows]


def of_backward(a, k, d_found):
    """From d_found to the gradient by q."""
    rows = a.shape[0]
    # gradient of found[i] = q[i, a[i]]   dqn_family.lee:19
    d_q = scatter_add(d_found, (torch.arange(rows, device=a.device), a), (rows, k))  # [rows, k]
    return d_q  # [rows, k]


def double_value_saved(q, target, s):
    """As double_value, and what its gradient needs."""
    rows = s.shape[0]
    if q.sizes[0] != target.sizes[0]:
        raise ValueError(f"q.sizes_0 = {q.sizes[0]} must equal target.sizes_0 = {target.sizes[0]}")
    add_2, saved_target = target.forward_saved(s)  # dqn_family.lee:28
    argmax = q(s.reshape(rows, q.sizes[0])).argmax(dim=1)  # int[rows]
    return of(add_2, argmax), (saved_target, argmax)


def double_value_backward(target, s, saved, d_found):
    """From d_found to the gradients by target and s."""
    saved_target, argmax = saved
    # gradient of return of(target(s), argmax(q(s), axis = -1))   dqn_family.lee:28
    d_add_2 = of_backward(argmax, target.sizes[2], d_found)  # [rows, target.sizes_2]
    d_target, d_s = target.forward_backward(s, saved_target, d_add_2)
    return d_target, d_s


def several(reward, over, cut, after, gamma=0.99):
    """Σ γʲ rⱼ of k moves, and γᵏ times what comes after them. An end comes first; where time ran out, `after` does.

    reward [n, k], over bool[n, k], cut bool[n, k], after [n, k] -> [n]
    """
    k = reward.shape[1]
    total = after[:, -1]  # [n]  dqn_family.lee:33
    # dqn_family.lee:34
    for j in reversed(range(k)):
        total = several_step(total, reward[:, j], over[:, j], cut[:, j], after[:, j], gamma)
    return total  # [n]


def several_backward(over, cut, gamma, d_total_4):
    """From d_total_4 to the gradients by reward and after."""
    n, k = over.shape
    # gradient of for j in reversed(k):   dqn_family.lee:34
    d_reward = [None] * k
    d_after_2 = [None] * k
    for j in range(k):
        d_total_4, d_reward[j], d_after_2[j] = several_step_backward(over[:, j], cut[:, j], gamma, d_total_4)
    d_reward = torch.stack(d_reward, 1) if d_reward else torch.zeros((n, k), dtype=FLOAT, device=over.device)
    d_after_2 = torch.stack(d_after_2, 1) if d_after_2 else torch.zeros((n, k), dtype=FLOAT, device=over.device)
    # gradient of total = after[:, k - 1]   dqn_family.lee:33
    d_slice = d_total_4[:, None]  # [n, 1]
    d_after = d_after_2 + unslice(d_slice, (n, k), (slice(0, n), slice(k - 1, k)))  # [n, k]
    return d_reward, d_after


def several_step(total, reward_j, over_j, cut_j, after_j, gamma):
    """total [n], reward_j [n], over_j bool[n], cut_j bool[n], after_j [n] -> [n]"""
    guard = torch.where(~over_j, after_j, after_j.detach())  # [n]
    guard_2 = torch.where(~over_j, total, total.detach())  # [n]
    select_2 = torch.where(over_j, 0, torch.where(cut_j, guard, guard_2))  # [n]  dqn_family.lee:35
    total_3 = reward_j + gamma * select_2  # [n]
    return total_3  # [n]


def several_step_backward(over_j, cut_j, gamma, d_total_3):
    """From d_total_3 to the gradients by total, reward_j and after_j."""
    select = torch.where(over_j, 0, d_total_3 * gamma)  # [n]
    d_total = torch.where(over_j, 0, torch.where(cut_j, 0, select))  # [n]
    return d_total, d_total_3, torch.where(over_j, 0, torch.where(cut_j, select, 0))


def several_step_in_step(total, reward_j, over_j, cut_j, after_j, gamma):
    """total [n], reward_j [n], over_j bool[n], cut_j bool[n], after_j [n] -> [n]"""
    select_2 = torch.where(over_j, 0, torch.where(cut_j, after_j, total))  # [n]  dqn_family.lee:35
    total_3 = reward_j + gamma * select_2  # [n]
    return total_3  # [n]


def priorities(error, whole, alpha=0.6, eps=1e-3):
    """How often a place is drawn: more often if what it holds surprised.

    error [n], whole bool[n] -> [n]
    """
    add = torch.abs(torch.where(whole, error, error.detach())) + eps  # [n]  dqn_family.lee:44
    p = torch.where(whole, add**alpha, 0)  # [n]
    return p / p.sum()  # [n]  dqn_family.lee:45


def priorities_saved(error, whole, alpha=0.6, eps=1e-3):
    """As priorities, and what its gradient needs."""
    add = torch.abs(error) + eps  # [n]  dqn_family.lee:44
    p = torch.where(whole, add**alpha, 0)  # [n]
    p_sum = p.sum()  # dqn_family.lee:45
    return p / p_sum, (add, p_sum)


def priorities_backward(error, whole, alpha, saved, div, d_y):
    """From d_y to the gradient by error."""
    add, p_sum = saved
    # gradient of p = where(whole, (abs(error) + eps) ** alpha, 0)   dqn_family.lee:44
    d_p = d_y / p_sum - (d_y * div / p_sum).sum()  # [n]
    mul_2 = alpha * add ** ((1.0 if alpha == 0.0 else alpha) - 1.0)  # [n]
    d_error = torch.where(whole, d_p * mul_2 * torch.sign(error), 0)  # [n]
    return d_error  # [n]


def complete(t, capacity, moves):
    """Which places of a memory in use since t steps begin with as many moves in a row: not the last ones, nor those yet unused."""
    age = (t - torch.arange(capacity)) % capacity  # int[capacity]  dqn_family.lee:50
    return (age > moves - 2) & (torch.arange(capacity) <= t)  # bool[capacity]  dqn_family.lee:51


def stored(memory, i, x):
    """memory [n], i int[m], x [m] -> [n]"""
    memory_2 = memory.index_put((i,), x)  # [n]
    return memory_2  # [n]


def stored_backward(i, d_memory_2):
    """From d_memory_2 to the gradients by memory and x."""
    m = i.shape[0]
    d_memory = d_memory_2.index_put((i,), torch.zeros(m, dtype=FLOAT, device=i.device))  # [n]
    d_x = d_memory_2[i]  # [m]
    return d_memory, d_x


def corrections_saved(chance, count, beta=0.4):
    """As corrections, and what its gradient needs."""
    mul = count * chance  # [n]  dqn_family.lee:61
    w = mul**-beta  # [n]
    w_max = largest(w, (0,), False)  # dqn_family.lee:62
    return w / w_max, (mul, w, w_max)


def corrections_backward(beta, saved, div, count, d_div):
    """From d_div to the gradient by chance."""
    mul, w, w_max = saved
    n = mul.shape[0]
    # gradient of return w / max(w)   dqn_family.lee:62
    eq = torch.arange(n, device=mul.device) == w.argmax(dim=0)  # bool[n]
    # gradient of w = (count * chance) ** -beta   dqn_family.lee:61
    d_w = d_div / w_max + torch.where(eq, -(d_div * div / w_max).sum(), 0)  # [n]
    mul_3 = -beta * mul ** ((1.0 if -beta == 0.0 else -beta) - 1.0)  # [n]
    d_chance = d_w * mul_3 * count  # [n]
    return d_chance  # [n]


def weighted_saved(q, s, a, goal, weight):
    """As weighted, and what its gradient needs."""
    sub, saved_q = q.forward_saved(s)  # dqn_family.lee:66
    sub_2 = of(sub, a) - stop(goal)  # [n]
    mul = sub_2**2  # [n]
    return (weight * mul).mean(), (saved_q, sub_2, mul)


def weighted_backward(q, s, a, weight, saved, d_mean):
    """From d_mean to the gradients by q, s and weight."""
    saved_q, sub_2, mul = saved
    n = s.shape[0]
    # gradient of return mean(weight * (of(q(s), a) - stop(goal)) ** 2)   dqn_family.lee:66
    div = d_mean / n
    d_weight = div * mul  # [n]
    d_sub = of_backward(a, q.actions, 2 * (div * weight * sub_2))  # [n, q.actions]
    d_q, d_s = q.forward_backward(s, saved_q, d_sub)
    return d_q, d_s, d_weight


class Dueling(Model):
    """A value of the state, and what each action has over the mean of all."""

    members = ("trunk", "value", "gain")

    def __init__(self, inputs, hidden, actions, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden, self.actions = inputs, hidden, actions
        self.trunk = Linear(inputs, hidden, key=fold(key, SITES["trunk"]))  # dqn_family.lee:74
        self.value = Linear(hidden, 1, key=fold(key, SITES["value"]))  # dqn_family.lee:75
        self.gain = Linear(hidden, actions, key=fold(key, SITES["gain"]))  # dqn_family.lee:76

    def forward(self, s):
        """s [s_0, inputs] -> [s_0, actions]"""
        h = relu(self.trunk(s))  # [s_0, hidden]  dqn_family.lee:79
        more = self.gain(h)  # [s_0, actions]  dqn_family.lee:80
        return self.value(h) + more - more.mean(dim=1, keepdim=True)  # [s_0, actions]  dqn_family.lee:81

    def forward_saved(self, s):
        """As forward, and what its gradient needs."""
        h = relu(self.trunk(s))  # [s_0, hidden]  dqn_family.lee:79
        more = self.gain(h)  # [s_0, actions]  dqn_family.lee:80
        return self.value(h) + more - more.mean(dim=1, keepdim=True), h  # dqn_family.lee:81

    def forward_backward(self, s, h, d_y):
        """From d_y to the gradients by the parameters and s."""
        # gradient of return value(h) + more - mean(more, axis = -1, keepdims = true)   dqn_family.lee:81
        sum_ = d_y.sum(dim=1, keepdim=True)  # [s_0, 1]
        d_value, d_h_2 = self.value.forward_backward(h, sum_)
        # gradient of more = gain(h)   dqn_family.lee:80
        d_more = -sum_ / self.actions + d_y  # [s_0, actions]
        d_gain, d_h_3 = self.gain.forward_backward(h, d_more)
        # gradient of h = relu(trunk(s))   dqn_family.lee:79
        d_h = d_h_2 + d_h_3  # [s_0, hidden]
        d_trunk, d_s = self.trunk.forward_backward(s, relu_backward(h, d_h))
        return {"trunk": d_trunk, "value": d_value, "gain": d_gain}, d_s

    def forward_2(self, s):
        """s [inputs] -> [actions]"""
        h = relu_2(self.trunk(s[None]).reshape(self.hidden))  # [hidden]  dqn_family.lee:79
        more = self.gain(h[None]).reshape(self.actions)  # [actions]  dqn_family.lee:80
        add = self.value(h[None]).reshape(1) + more  # [actions]  dqn_family.lee:81
        return add - more.mean(dim=0, keepdim=True)  # [actions]


def signed_root(x):
    """x [x_0] -> [x_0]"""
    return torch.sign(x) * sqrt(torch.abs(x))  # [x_0]  dqn_family.lee:85


def signed_root_saved(x):
    """As signed_root, and what its gradient needs."""
    sign_x = torch.sign(x)  # [x_0]  dqn_family.lee:85
    abs_x = torch.abs(x)  # [x_0]
    sqrt_ = sqrt(abs_x)  # [x_0]
    return sign_x * sqrt_, (sign_x, abs_x, sqrt_)


def signed_root_backward(x, saved, d_y):
    """From d_y to the gradient by x."""
    sign_x, abs_x, sqrt_ = saved
    # gradient of return sign(x) * sqrt(abs(x))   dqn_family.lee:85
    select = torch.where(abs_x > 0, sqrt_, torch.inf)  # [x_0]
    d_x = d_y * sign_x * 0.5 / select * torch.sign(x)  # [x_0]
    return d_x  # [x_0]


class NoisyLinear(Model):
    """Weights w + σ ε with learned σ, so that the net itself says how much is tried; ε is a product of two draws."""

    members = ("w", "b", "w_spread", "b_spread")

    def __init__(self, inputs, outputs, spread=0.5, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.spread = inputs, outputs, spread
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  dqn_family.lee:91
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  dqn_family.lee:92
        div_3 = spread / math.sqrt(inputs)  # dqn_family.lee:93
        # [inputs, outputs]  dqn_family.lee:91
        self.w = torch.nn.Parameter(2 / math.sqrt(inputs) * uniform_ - 1 / math.sqrt(inputs))
        # [outputs]  dqn_family.lee:92
        self.b = torch.nn.Parameter(2 / math.sqrt(inputs) * uniform_2 - 1 / math.sqrt(inputs))
        # [inputs, outputs]  dqn_family.lee:93
        self.w_spread = torch.nn.Parameter(torch.full((inputs, outputs), div_3, dtype=FLOAT))
        self.b_spread = torch.nn.Parameter(torch.full((outputs,), div_3, dtype=FLOAT))  # [outputs]  dqn_family.lee:94
        self.bound = 1 / math.sqrt(inputs)  # dqn_family.lee:90

    def forward(self, x, into, out):
        """x [n, inputs], into [inputs], out [outputs] -> [n, outputs]"""
        e = signed_root(out)  # [outputs]  dqn_family.lee:97
        add = self.w + self.w_spread * outer(signed_root(into), e)  # [inputs, outputs]  dqn_family.lee:98
        return torch.addmm(self.b, x, add) + self.b_spread * e  # [n, outputs]

    def forward_saved(self, x, into, out):
        """As forward, and what its gradient needs."""
        e, saved_signed_root = signed_root_saved(out)  # dqn_family.lee:97
        mul, saved_signed_root_ = signed_root_saved(into)  # dqn_family.lee:98
        product = outer(mul, e)  # [inputs, outputs]
        add = self.w + self.w_spread * product  # [inputs, outputs]
        return torch.addmm(self.b, x, add) + self.b_spread * e, (
            e,
            saved_signed_root,
            mul,
            saved_signed_root_,
            product,
            add,
        )

    def forward_backward(self, x, into, out, saved, d_y):
        """From d_y to the gradients by the parameters, x, into and out."""
        e, saved_signed_root, mul, saved_signed_root_, product, add = saved
        # gradient of return x @ (w + w_spread * outer(signed_root(into), e)) + b + b_spread * e   dqn_family.lee:98
        d_b = d_y.sum(dim=0)  # [outputs]
        d_b_spread = d_b * e  # [outputs]
        d_x = d_y @ add.T  # [n, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        d_w_spread = d_w * product  # [inputs, outputs]
        d_mul, d_e_3 = outer_backward(mul, e, d_w * self.w_spread)
        d_into = signed_root_backward(into, saved_signed_root_, d_mul)  # [inputs]
        # gradient of e = signed_root(out)   dqn_family.lee:97
        d_e = d_b * self.b_spread + d_e_3  # [outputs]
        d_out = signed_root_backward(out, saved_signed_root, d_e)  # [outputs]
        return {"w": d_w, "b": d_b, "w_spread": d_w_spread, "b_spread": d_b_spread}, d_x, d_into, d_out


def projected(p, r, over, low, high, gamma=0.99):
    """The distribution of r + γ z on the k values z between low and high again: each share goes to its two neighbours.

    p [n, k], r [n], over bool[n] -> [n, k]
    """
    n, k = p.shape
    step = (high - low) / (k - 1)  # dqn_family.lee:106
    z = low + step * torch.arange(k, device=p.device).to(FLOAT)  # [k]  dqn_family.lee:107
    add = r[:, None] + gamma * torch.where(over[:, None], 0, z)  # [n, k]  dqn_family.lee:108
    goal = add.clamp(min=low).clamp(max=high)  # [n, k]  prelude.lee:153
    sub_2 = 1 - torch.abs(goal[:, None] - z[:, None]) / step  # [n, k, k]  dqn_family.lee:109
    share = (torch.where(0 >= sub_2, 0, sub_2) @ p[:, :, None]).reshape(n, k)  # [n, k]
    return share  # [n, k]


def distributional(score, goal):
    """The cross-entropy of the distribution that was predicted.

    score [n, k], goal [n, k] -> []
    """
    return -(goal * torch.log_softmax(score, dim=1)).sum(dim=1).mean()  # dqn_family.lee:115


def example_doubled(key):
    q = MLP((4, 8, 3), key=fold(key, SITES["q"]))  # dqn_family.lee:119
    target = MLP((4, 8, 3), key=fold(key, SITES["target"]))  # dqn_family.lee:120
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  dqn_family.lee:121
    c = normal(fold(key, SITES["c"]), (6,), FLOAT)  # [6]  dqn_family.lee:122
    d_c, saved_double_value = double_value_saved(q, target, s)  # dqn_family.lee:123
    d_target, d_s = double_value_backward(target, s, saved_double_value, c)
    return (
        (c * d_c).sum(),
        q.at(
            {
                "layers.0": {"w": torch.zeros((4, 8), dtype=FLOAT), "b": torch.zeros(8, dtype=FLOAT)},
                "layers.1": {"w": torch.zeros((8, 3), dtype=FLOAT), "b": torch.zeros(3, dtype=FLOAT)},
            }
        ),
        q.at(d_target),
        d_s,
        d_c,
    )


def example_three_moves(key):
    reward = normal(fold(key, SITES["reward"]), (4, 3), FLOAT)  # [4, 3]  dqn_family.lee:127
    fill = torch.full((1, 1), True, dtype=torch.bool)  # bool[1, 1]  dqn_family.lee:129
    unslice_ = unslice(fill, (4, 3), (slice(1, 2), slice(1, 2)))  # bool[4, 3]
    over_2 = torch.where(unslice_, unslice_, False)  # bool[4, 3]
    unslice_2 = unslice(fill, (4, 3), (slice(2, 3), slice(2, 3)))  # bool[4, 3]  dqn_family.lee:130
    over_3 = torch.where(unslice_2, unslice_2, over_2)  # bool[4, 3]
    unslice_3 = unslice(fill, (4, 3), (slice(0, 1), slice(1, 2)))  # bool[4, 3]  dqn_family.lee:132
    cut_2 = torch.where(unslice_3, unslice_3, False)  # bool[4, 3]
    unslice_4 = unslice(fill, (4, 3), (slice(3, 4), slice(2, 3)))  # bool[4, 3]  dqn_family.lee:133
    cut_3 = torch.where(unslice_4, unslice_4, cut_2)  # bool[4, 3]
    after = normal(fold(key, SITES["after"]), (4, 3), FLOAT)  # [4, 3]  dqn_family.lee:134
    total_4 = several(reward, over_3, cut_3, after)  # [4]  dqn_family.lee:135
    d_reward, d_after = several_backward(over_3, cut_3, 0.99, 2 * total_4)
    return (total_4**2).sum(), d_reward, d_after


def example_drawn_more(key):
    error = normal(fold(key, SITES["error"]), (6,), FLOAT)  # [6]  dqn_family.lee:139
    c = normal(fold(key, SITES["c"]), (6,), FLOAT)  # [6]  dqn_family.lee:140
    fill_2 = torch.full((1,), True, dtype=torch.bool)  # bool[1]  dqn_family.lee:142
    fill = torch.full((1,), False, dtype=torch.bool)  # bool[1]
    unslice_ = unslice(fill_2, (6,), (slice(4, 5),))  # bool[6]
    whole_2 = torch.where(unslice_, unslice(fill, (6,), (slice(4, 5),)), True)  # bool[6]
    p, saved_priorities = priorities_saved(error, whole_2)  # dqn_family.lee:143
    x = normal(fold(key, SITES["x"]), (2,), FLOAT)  # [2]  dqn_family.lee:144
    slice_ = c[:4]  # [4]  dqn_family.lee:145
    div, saved_corrections = corrections_saved(p[:4], 6)
    mul_3 = 3 * torch.arange(2)  # int[2]
    memory_2 = stored(error, mul_3, x)  # [6]
    d_error_2, d_x = stored_backward(mul_3, c)
    d_slice_2 = corrections_backward(0.4, saved_corrections, div, 6, slice_)  # [4]
    d_p = unslice(d_slice_2, (6,), (slice(0, 4),)) + c  # [6]  dqn_family.lee:143
    d_error_3 = priorities_backward(error, whole_2, 0.6, saved_priorities, p, d_p)  # [6]
    return (
        (c * p).sum() + (slice_ * div).sum() + (c * memory_2).sum(),
        d_error_2 + d_error_3,
        memory_2 + unslice(div, (6,), (slice(0, 4),)) + p,
        d_x,
    )


def example_counted_less(key):
    q = Dueling(4, 8, 3, key=fold(key, SITES["q"]))  # dqn_family.lee:149
    s = normal(fold(key, SITES["s"]), (6, 4), FLOAT)  # [6, 4]  dqn_family.lee:150
    a = randint(fold(key, SITES["a"]), (6,), 0, 3)  # int[6]  dqn_family.lee:151
    goal = normal(fold(key, SITES["goal"]), (6,), FLOAT)  # [6]  dqn_family.lee:152
    weight = uniform(fold(key, SITES["weight"]), (6,), FLOAT)  # [6]  dqn_family.lee:153
    value, saved_weighted = weighted_saved(q, s, a, goal, weight)  # dqn_family.lee:154
    d_value = torch.ones((), dtype=FLOAT)
    d_q, d_s, d_weight = weighted_backward(q, s, a, weight, saved_weighted, d_value)
    return value, q.at(d_q), d_s, torch.zeros(6, dtype=FLOAT), d_weight


def example_noise(key):
    net = NoisyLinear(4, 3, key=fold(key, SITES["net"]))  # dqn_family.lee:158
    x = normal(fold(key, SITES["x"]), (5, 4), FLOAT)  # [5, 4]  dqn_family.lee:159
    into = normal(fold(key, SITES["into"]), (4,), FLOAT)  # [4]  dqn_family.lee:160
    out = normal(fold(key, SITES["out"]), (3,), FLOAT)  # [3]  dqn_family.lee:161
    c = normal(fold(key, SITES["c"]), (5, 3), FLOAT)  # [5, 3]  dqn_family.lee:162
    d_c, saved_net = net.forward_saved(x, into, out)  # dqn_family.lee:163
    d_net, d_x, d_into, d_out = net.forward_backward(x, into, out, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_into, d_out, d_c


def example_spread_out(key):
    """The third move ends an episode."""
    score = normal(fold(key, SITES["score"]), (5, 7), FLOAT)  # [5, 7]  dqn_family.lee:168
    older = normal(fold(key, SITES["older"]), (5, 7), FLOAT)  # [5, 7]  dqn_family.lee:169
    r = normal(fold(key, SITES["r"]), (5,), FLOAT)  # [5]  dqn_family.lee:170
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (5,), (slice(2, 3),))  # bool[5]  dqn_family.lee:172
    over_2 = torch.where(unslice_, unslice_, False)  # bool[5]
    graft_ = stop_2(projected(torch.softmax(older, dim=1), r, over_2, -3, 3))  # [5, 7]  dqn_family.lee:173
    log_softmax_ = torch.log_softmax(score, dim=1)  # [5, 7]  prelude.lee:127
    d_log_softmax = -0.2 * graft_  # [5, 7]  dqn_family.lee:115
    sum_2 = d_log_softmax.sum(dim=1, keepdim=True)  # [5, 1]  prelude.lee:127
    return (
        -(graft_ * log_softmax_).sum(dim=1).mean(),
        d_log_softmax - torch.exp(log_softmax_) * sum_2,
        torch.zeros((5, 7), dtype=FLOAT),
        torch.zeros(5, dtype=FLOAT),
    )


def example_in_a_row(key):
    """7 steps into a memory of 5 the places 2 and 1 were written last; 2 steps into it 3 and 4 are unused."""
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  dqn_family.lee:178
    cast = complete(7, 5, 3).to(FLOAT)  # [5]  dqn_family.lee:179
    cast_2 = complete(2, 5, 2).to(FLOAT)  # [5]
    return (c * cast).sum() + 10 * (c * cast_2).sum(), 10 * cast_2 + cast


@torch.no_grad()
def rainbow(
    steps=10000,
    capacity=2000,
    batch=64,
    moves=3,
    warmup=500,
    sync=200,
    explore=3000,
    rate=1e-3,
    gamma=0.99,
    *,
    run=None,
):
    """Double and dueling, with steps of several moves and a memory by surprise."""
    from leec.runtime.run import Run

    run = run or Run("rainbow", backend="torch")
    cartpole = run.environment("CartPole-v1", observation=("float", (4,)), action=("int", (), 0, 1))
    q = Dueling(inputs=4, hidden=64, actions=2, key=run.key("q")).to(run.session.place.device)  # dqn_family.lee:194
    target = q.copy()  # dqn_family.lee:195
    opt = Adam(lr=rate)  # dqn_family.lee:196
    memory = rainbow_memory(capacity)  # dqn_family.lee:197
    action = rainbow_action(capacity)  # dqn_family.lee:198
    reward = rainbow_reward(capacity)  # dqn_family.lee:199
    after = rainbow_after(capacity)  # dqn_family.lee:200
    over = rainbow_over(capacity)  # dqn_family.lee:201
    cut = rainbow_cut(capacity)  # dqn_family.lee:202
    surprise = rainbow_surprise(capacity)  # dqn_family.lee:203
    s = cartpole.reset(run.key("s"))  # dqn_family.lee:204
    score = 0.0  # dqn_family.lee:205
    action, after, cut, memory, over, reward, s, score, surprise, target = run.restore(
        "t",
        action=action,
        after=after,
        cut=cut,
        memory=memory,
        over=over,
        reward=reward,
        s=s,
        score=score,
        surprise=surprise,
        target=target,
    )
    step = RainbowStep(q, target, opt)
    for t in run.loop("t", 0, steps - 1, opt=opt, q=q, cartpole=cartpole):
        eps = max(0.02, 1 - t / explore)  # dqn_family.lee:207
        condition = rainbow_condition(eps, key=run.key("rainbow"))  # dqn_family.lee:208
        if condition:
            a = rainbow_a(key=run.key("rainbow"))  # dqn_family.lee:210
        else:
            a = rainbow_a_2(q, s)  # dqn_family.lee:212
        next_, r, terminated, truncated = cartpole.step(a)  # dqn_family.lee:213
        slot = t % capacity  # dqn_family.lee:214
        memory[slot] = s  # dqn_family.lee:215
        action[slot] = a  # dqn_family.lee:216
        reward[slot] = r  # dqn_family.lee:217
        after[slot] = next_  # dqn_family.lee:218
        over[slot] = terminated  # dqn_family.lee:219
        cut[slot] = truncated  # dqn_family.lee:220
        surprise_item = rainbow_surprise_item(surprise)  # dqn_family.lee:221
        surprise[slot] = surprise_item  # dqn_family.lee:221
        score = score + r  # dqn_family.lee:222
        s = next_  # dqn_family.lee:223
        if terminated or truncated:
            run.report(score=score)  # dqn_family.lee:225
            score = 0.0  # dqn_family.lee:226
            s = cartpole.reset(run.key("s_2"))  # dqn_family.lee:227
        if t >= warmup:
            surprise, loss = step(
                surprise, after, reward, over, cut, gamma, memory, action, batch, moves, t, run.key("rainbow")
            )
            surprise = run.copy(surprise)
            run.step(loss)
        if t % sync == 0:
            target = q.copy()  # dqn_family.lee:243
            step = RainbowStep(q, target, opt)
        step = RainbowStep(q, target, opt)
        run.keep(
            "t",
            action=action,
            after=after,
            cut=cut,
            memory=memory,
            over=over,
            reward=reward,
            s=s,
            score=score,
            surprise=surprise,
            target=target,
        )
    return q


def rainbow_memory(capacity):
    memory = torch.zeros((capacity, 4), dtype=FLOAT)  # [capacity, 4]  dqn_family.lee:197
    return memory  # [capacity, 4]


def rainbow_action(capacity):
    action = torch.zeros(capacity, dtype=torch.int64)  # int[capacity]  dqn_family.lee:198
    return action  # int[capacity]


def rainbow_reward(capacity):
    reward = torch.zeros(capacity, dtype=FLOAT)  # [capacity]  dqn_family.lee:199
    return reward  # [capacity]


def rainbow_after(capacity):
    after = torch.zeros((capacity, 4), dtype=FLOAT)  # [capacity, 4]  dqn_family.lee:200
    return after  # [capacity, 4]


def rainbow_over(capacity):
    over = torch.full((capacity,), False, dtype=torch.bool)  # bool[capacity]  dqn_family.lee:201
    return over  # bool[capacity]


def rainbow_cut(capacity):
    cut = torch.full((capacity,), False, dtype=torch.bool)  # bool[capacity]  dqn_family.lee:202
    return cut  # bool[capacity]


def rainbow_surprise(capacity):
    surprise = torch.zeros(capacity, dtype=FLOAT)  # [capacity]  dqn_family.lee:203
    return surprise  # [capacity]


def rainbow_condition(eps, key):
    u = uniform(fold(key, SITES["u"]), (), FLOAT)  # dqn_family.lee:208
    condition = u < eps  # dqn_family.lee:209
    return condition


def rainbow_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 2)  # dqn_family.lee:210
    return a


def rainbow_a_2(q, s):
    """s [4] -> []"""
    a = q.forward_2(s).argmax(dim=0)  # dqn_family.lee:212
    return a


def rainbow_surprise_item(surprise):
    """surprise [capacity] -> []"""
    surprise_item = largest(surprise, (0,), False) + 0.01  # dqn_family.lee:221
    return surprise_item


class RainbowStep(TrainStep):
    """One step of rainbow for q, target, opt: call it with a batch."""

    moved = (("opt", ("q",)),)
    counted = ("opt",)
    read = (
        "q.trunk.w",
        "q.trunk.b",
        "q.value.w",
        "q.value.b",
        "q.gain.w",
        "q.gain.b",
        "target.trunk.w",
        "target.trunk.b",
        "target.value.w",
        "target.value.b",
        "target.gain.w",
        "target.gain.b",
    )
    spare = (None,)

    def __init__(self, q, target, opt):
        self.q, self.target, self.opt = q, target, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, surprise, after, reward, over, cut, gamma, memory, action, batch, moves, t, key, t_):
        trunk_w, trunk_b, value_w, value_b, gain_w, gain_b, trunk_w_, trunk_b_, value_w_ = self.tensors[:9]
        value_b_, gain_w_, gain_b_ = self.tensors[9:]
        d_trunk_w, d_trunk_b, d_value_w, d_value_b, d_gain_w, d_gain_b = self.gradients
        capacity = surprise.shape[0]
        i_2 = torch.arange(capacity, device=surprise.device)  # int[capacity]  dqn_family.lee:50
        logical_and = ((t - i_2) % capacity > moves - 2) & (i_2 <= t)  # bool[capacity]  dqn_family.lee:51
        p = masked((torch.abs(surprise) + 1e-3) ** 0.6, logical_and)  # [capacity]  dqn_family.lee:44
        chance = p / p.sum()  # [capacity]  dqn_family.lee:45
        categorical_below = softmax(torch.log(chance + 1e-12), (0,)).cumsum(dim=0)  # [capacity]  dqn_family.lee:230
        key_2 = fold(key, SITES["i"])
        reshape = uniform(key_2, (batch,), FLOAT, surprise.device)[:, None]  # [batch, 1]
        mul = reshape * categorical_below[capacity - 1 :]  # [batch, 1]
        sum_ = (mul >= categorical_below).to(torch.int64).sum(dim=1)  # int[batch]
        i = sum_.clamp(max=capacity - 1)  # int[batch]
        # int[batch, moves]  dqn_family.lee:231
        row = (i[:, None] + torch.arange(moves, device=surprise.device)) % capacity
        reshape_3 = after[row].reshape(batch * moves, 4)  # [batch * moves, 4]  dqn_family.lee:232
        h_2 = torch.relu(torch.addmm(trunk_b_, reshape_3, trunk_w_))  # [batch * moves, 64]  prelude.lee:61
        more = torch.addmm(gain_b_, h_2, gain_w_)  # [batch * moves, 2]  nn.lee:21
        add_4 = torch.addmm(value_b_, h_2, value_w_) + more  # [batch * moves, 2]  dqn_family.lee:81
        h_2_2 = torch.relu(torch.addmm(trunk_b, reshape_3, trunk_w))  # [batch * moves, 64]  prelude.lee:61
        more_2 = torch.addmm(gain_b, h_2_2, gain_w)  # [batch * moves, 2]  nn.lee:21
        add_2_2 = torch.addmm(value_b, h_2_2, value_w) + more_2  # [batch * moves, 2]  dqn_family.lee:81
        argmax = (add_2_2 - more_2.mean(dim=1, keepdim=True)).argmax(dim=1)  # int[batch * moves]  dqn_family.lee:28
        i_3 = torch.arange(batch * moves, device=surprise.device)  # int[batch * moves]  dqn_family.lee:19
        # [batch, moves]  dqn_family.lee:232
        value = (add_4 - more.mean(dim=1, keepdim=True))[i_3, argmax].reshape(batch, moves)
        total = value[:, -1]  # [batch]  dqn_family.lee:33
        gather_2 = reward[row]  # [batch, moves]  dqn_family.lee:233
        gather_3 = over[row]  # bool[batch, moves]
        gather_4 = cut[row]  # bool[batch, moves]
        # dqn_family.lee:34
        for j in reversed(range(moves)):
            total = several_step_in_step(total, gather_2[:, j], gather_3[:, j], gather_4[:, j], value[:, j], gamma)
        gather_5 = memory[i]  # [batch, 4]  dqn_family.lee:236
        gather_6 = action[i]  # int[batch]  dqn_family.lee:237
        w_4 = (min(t + 1, capacity) * chance[i]) ** -0.4  # [batch]  dqn_family.lee:61
        div = w_4 / amax(w_4, (0,), False)  # [batch]  dqn_family.lee:62
        h = torch.relu(torch.addmm(trunk_b, gather_5, trunk_w))  # [batch, 64]  prelude.lee:61
        more_3 = torch.addmm(gain_b, h, gain_w)  # [batch, 2]  nn.lee:21
        add_5 = torch.addmm(value_b, h, value_w) + more_3  # [batch, 2]  dqn_family.lee:81
        i_4 = torch.arange(batch, device=surprise.device)  # int[batch]  dqn_family.lee:19
        sub_2_2 = (add_5 - more_3.mean(dim=1, keepdim=True))[i_4, gather_6] - total  # [batch]  dqn_family.lee:66
        # [batch, 2]  dqn_family.lee:19
        d_sub = scatter_add(2 * (1.0 / batch * div * sub_2_2), (i_4, gather_6), (batch, 2))
        sum_3 = d_sub.sum(dim=1, keepdim=True)  # [batch, 1]  dqn_family.lee:81
        torch.sum(sum_3, dim=0, out=d_value_b)  # [1]  nn.lee:21
        torch.mm(h.T, sum_3, out=d_value_w)  # [64, 1]
        d_more = -sum_3 / 2 + d_sub  # [batch, 2]  dqn_family.lee:80
        torch.sum(d_more, dim=0, out=d_gain_b)  # [2]  nn.lee:21
        torch.mm(h.T, d_more, out=d_gain_w)  # [64, 2]
        d_h = sum_3 @ value_w.T + d_more @ gain_w.T  # [batch, 64]  dqn_family.lee:79
        d_trunk_out = torch.ops.aten.threshold_backward(d_h, h, 0)  # [batch, 64]  prelude.lee:61
        torch.sum(d_trunk_out, dim=0, out=d_trunk_b)  # [64]  nn.lee:21
        torch.mm(gather_5.T, d_trunk_out, out=d_trunk_w)  # [4, 64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        h_3 = torch.relu(torch.addmm(trunk_b, gather_5, trunk_w))  # [batch, 64]  prelude.lee:61
        more_4 = torch.addmm(gain_b, h_3, gain_w)  # [batch, 2]  nn.lee:21
        add_6 = torch.addmm(value_b, h_3, value_w) + more_4  # [batch, 2]  dqn_family.lee:81
        found_2 = (add_6 - more_4.mean(dim=1, keepdim=True))[i_4, gather_6]  # [batch]  dqn_family.lee:19
        surprise_2 = surprise.index_put((i,), torch.abs(total - found_2))  # [capacity]
        return surprise_2, (div * (sub_2_2 * sub_2_2)).sum() / batch


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


def stop_2(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x.detach()  # [x_0, x_1]  prelude.lee:18


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


def outer(x, y):
    """xᵢ yⱼ

    x [n], y [m] -> [n, m]
    """
    product = x[:, None] * y  # [n, m]  prelude.lee:222
    return product  # [n, m]


def outer_backward(x, y, d_product):
    """From d_product to the gradients by x and y."""
    # gradient of product[i, j] = x[i] * y[j]   prelude.lee:222
    d_y = (d_product * x[:, None]).sum(dim=0)  # [m]
    d_x = (d_product * y).sum(dim=1)  # [n]
    return d_x, d_y


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "after": 0xF3470001772D0424,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "error": 0xDCA98C860AEA0E18,
    "gain": 0xDC470A7857C52892,
    "goal": 0xB4BE8C82335884A5,
    "i": 0x3C67888C3C79D1D4,
    "into": 0x6A0BB9853BACF35D,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "older": 0x737E884B3A603E36,
    "out": 0x00B417F045D422B4,
    "q": 0x3514BD29FB70352B,
    "r": 0xF1DC5A7F078E3ACB,
    "reward": 0xAD098299C4960F31,
    "s": 0xDE6ECFAAC38449E6,
    "score": 0xBB12D0B9107F2826,
    "target": 0x41DEDA04111F843F,
    "trunk": 0xFF2A513D7D15F4C6,
    "u": 0x08D267E10C593806,
    "value": 0x196B9BE45174F330,
    "w": 0x20925082A2286B9E,
    "weight": 0x84E02E3EDC717246,
    "x": 0x4F586EF96743DF4A,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def amax(x, axes, keepdims=False):
    """The largest entry, -inf of nothing."""
    some = all(x.shape[axis] for axis in axes)
    return x.amax(axes, keepdim=keepdims) if some else x.sum(axes, keepdim=keepdims) - math.inf


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
