"""t-SNE (inventory Q17): neighbours in space stay neighbours in the plane (van der Maaten & Hinton 2008).

Made from specs/unsupervised/tsne.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/tsne.lee
"""

from __future__ import annotations

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


def squares(x):
    """x [n, d] -> [n, n]"""
    sub = x[:, None] - x  # [n, n, d]  tsne.lee:10
    square = (sub**2).sum(dim=2)  # [n, n]
    return square  # [n, n]


def squares_saved(x):
    """As squares, and what its gradient needs."""
    sub = x[:, None] - x  # [n, n, d]  tsne.lee:10
    square = (sub**2).sum(dim=2)  # [n, n]
    return square, sub


def squares_backward(sub, d_square):
    """From d_square to the gradient by x."""
    # gradient of square[i, j] = sum[a]((x[i, a] - x[j, a]) ** 2)   tsne.lee:10
    d_sub_2 = d_square[:, :, None] * sub  # [n, n, d]
    d_x = (-2 * d_sub_2).sum(dim=0) + (2 * d_sub_2).sum(dim=1)  # [n, d]
    return d_x  # [n, d]


def chances(square, precision):
    """P(j | i) ∝ exp(-precisionᵢ |xᵢ - xⱼ|²): whom i would take for a neighbour, never itself.

    square [n, n], precision [n] -> [n, n]
    """
    n = square.shape[0]
    i = torch.arange(n, device=square.device)  # int[n]  tsne.lee:16
    eq = i[:, None] == i  # bool[n, n]
    reshape_2 = precision[:, None]  # [n, 1]
    guard_2 = torch.where(~eq, reshape_2, reshape_2.detach())  # [n, n]
    mul = torch.where(~eq, -square, (-square).detach()) * guard_2  # [n, n]
    logit = torch.where(eq, -torch.inf, mul)  # [n, n]
    return softmax(logit, (1,))  # [n, n]  prelude.lee:122


def doubt(p):
    """The entropy of each row.

    p [n, m] -> [n]
    """
    gt = p > 0  # bool[n, m]  tsne.lee:22
    guard = torch.where(gt, p, p.detach())  # [n, m]
    return -torch.where(gt, guard * torch.log(guard), 0).sum(dim=1)  # [n]


def calibrated(square, perplexity, rounds=60):
    """By bisection every example gets so wide a Gaussian that the entropy of its neighbours is log(perplexity).

    square [n, n] -> [n, n]
    """
    n = square.shape[0]
    low = torch.zeros(n, dtype=FLOAT, device=square.device)  # [n]  tsne.lee:27
    high = torch.full((n,), torch.inf, dtype=FLOAT, device=square.device)  # [n]  tsne.lee:28
    precision = torch.ones(n, dtype=FLOAT, device=square.device)  # [n]  tsne.lee:29
    # tsne.lee:30
    for r in range(rounds):
        high, low, precision = calibrated_step(high, low, precision, perplexity, -square)
    i = torch.arange(n, device=square.device)  # int[n]  tsne.lee:16
    eq = i[:, None] == i  # bool[n, n]
    reshape_2 = precision[:, None]  # [n, 1]
    guard_2 = torch.where(~eq, reshape_2, reshape_2.detach())  # [n, n]
    mul = torch.where(~eq, -square, (-square).detach()) * guard_2  # [n, n]
    return softmax(torch.where(eq, -torch.inf, mul), (1,))  # [n, n]  prelude.lee:122


def calibrated_saved(square, perplexity, rounds=60):
    """As calibrated, and what its gradient needs."""
    n = square.shape[0]
    low = torch.zeros(n, dtype=FLOAT, device=square.device)  # [n]  tsne.lee:27
    high = torch.full((n,), torch.inf, dtype=FLOAT, device=square.device)  # [n]  tsne.lee:28
    precision = torch.ones(n, dtype=FLOAT, device=square.device)  # [n]  tsne.lee:29
    # tsne.lee:30
    for r in range(rounds):
        high, low, precision = calibrated_step(high, low, precision, perplexity, -square)
    i = torch.arange(n, device=square.device)  # int[n]  tsne.lee:16
    eq = i[:, None] == i  # bool[n, n]
    reshape_2 = precision[:, None]  # [n, 1]
    logit = torch.where(eq, -torch.inf, -square * reshape_2)  # [n, n]
    return softmax(logit, (1,)), (eq, reshape_2.expand(n, n))  # prelude.lee:122


def calibrated_backward(saved, div_3, d_y):
    """From d_y to the gradient by square."""
    eq, guard_2 = saved
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_logit = div_3 * (d_y - (d_y * div_3).sum(dim=1, keepdim=True))  # [n, n]
    # gradient of logit[i, j] = where(i == j, -inf, -square[i, j] * precision[i])   tsne.lee:16
    d_square = torch.where(eq, 0, -(d_logit * guard_2))  # [n, n]
    return d_square  # [n, n]


def calibrated_step(high, low, precision, perplexity, neg_2_2):
    """high [n], low [n], precision [n], neg_2_2 [n, n] -> [n], [n], [n]"""
    n = high.shape[0]
    i = torch.arange(n, device=high.device)  # int[n]  tsne.lee:16
    eq = i[:, None] == i  # bool[n, n]
    reshape_2 = precision[:, None]  # [n, 1]
    guard_2_2 = torch.where(~eq, reshape_2, reshape_2.detach())  # [n, n]
    mul = torch.where(~eq, neg_2_2, neg_2_2.detach()) * guard_2_2  # [n, n]
    logit = torch.where(eq, -torch.inf, mul)  # [n, n]
    softmax_ = softmax(logit, (1,))  # [n, n]  prelude.lee:122
    gt = softmax_ > 0  # bool[n, n]  tsne.lee:22
    log_softmax_ = log_softmax(logit, (1,))  # [n, n]
    guard_3 = torch.where(gt, log_softmax_, log_softmax_.detach())  # [n, n]
    mul_2 = torch.where(gt, softmax_, softmax_.detach()) * guard_3  # [n, n]
    wide = -torch.where(gt, mul_2, 0).sum(dim=1) > math.log(perplexity)  # bool[n]  tsne.lee:31
    low_3 = torch.where(wide, precision, low)  # [n]  tsne.lee:32
    high_3 = torch.where(wide, high, precision)  # [n]  tsne.lee:33
    eq_2 = high_3 == torch.inf  # bool[n]  tsne.lee:34
    add = low_3 + high_3  # [n]
    mul_3 = 10 * torch.where(eq_2, precision, precision.detach())  # [n]
    precision_3 = torch.where(eq_2, mul_3, torch.where(~eq_2, add, add.detach()) / 2)  # [n]
    return high_3, low_3, precision_3


def pairs(x, perplexity):
    """The chance of a pair, the mean of both ways; all together are 1.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    p = calibrated(squares(x), perplexity)  # [n, n]  tsne.lee:40
    return (p + p.T) / (2 * n)  # [n, n]  tsne.lee:41


def pairs_saved(x, perplexity):
    """As pairs, and what its gradient needs."""
    n = x.shape[0]
    square, saved_squares = squares_saved(x)  # tsne.lee:40
    p, saved_calibrated = calibrated_saved(square, perplexity)
    return (p + p.T) / (2 * n), (saved_squares, p, saved_calibrated)  # tsne.lee:41


def pairs_backward(saved, d_y):
    """From d_y to the gradient by x."""
    saved_squares, p, saved_calibrated = saved
    n = p.shape[0]
    # gradient of return (p + p.T) / (2 * n)   tsne.lee:41
    d_add = d_y / (2 * n)  # [n, n]
    # gradient of p = calibrated(squares(x), perplexity)   tsne.lee:40
    d_p = d_add + d_add.T  # [n, n]
    d_square = calibrated_backward(saved_calibrated, p, d_p)  # [n, n]
    d_x = squares_backward(saved_squares, d_square)  # [n, d]
    return d_x  # [n, d]


def divergence(p, z):
    """KL(p ‖ q), q = near / Σ near with near = 1 / (1 + |zᵢ - zⱼ|²).

    Σ p log near and log Σ near stand apart, so that where p is enlarged pairs pull more and do not push more.

    p [n, n], z [n, k] -> []
    """
    n = p.shape[0]
    i = torch.arange(n, device=p.device)  # int[n]  tsne.lee:52
    eq = i[:, None] == i  # bool[n, n]
    sub = z[:, None] - z  # [n, n, k]
    guard = torch.where((~eq)[:, :, None], sub, sub.detach())  # [n, n, k]
    add = 1 + (guard**2).sum(dim=2)  # [n, n]
    near = torch.where(eq, 0, 1 / torch.where(~eq, add, add.detach()))  # [n, n]
    gt = p > 0  # bool[n, n]  tsne.lee:53
    guard_3 = torch.where(gt, p, p.detach())  # [n, n]
    log = torch.log(guard_3 / torch.where(gt, near, near.detach()))  # [n, n]
    sum_2 = torch.where(gt, guard_3 * log, 0).sum()
    return sum_2 + torch.log(near.sum())


def divergence_saved(p, z):
    """As divergence, and what its gradient needs."""
    n = p.shape[0]
    i = torch.arange(n, device=p.device)  # int[n]  tsne.lee:52
    eq = i[:, None] == i  # bool[n, n]
    guard = z[:, None] - z  # [n, n, k]
    guard_2 = 1 + (guard**2).sum(dim=2)  # [n, n]
    div = 1 / guard_2  # [n, n]
    near = torch.where(eq, 0, div)  # [n, n]
    gt = p > 0  # bool[n, n]  tsne.lee:53
    div_2 = p / near  # [n, n]
    near_sum = near.sum()
    sum_2 = torch.where(gt, p * torch.log(div_2), 0).sum()
    return sum_2 + torch.log(near_sum), (eq, guard, guard_2, div, gt, near, div_2, near_sum)


def divergence_backward(p, saved, d_y):
    """From d_y to the gradient by z."""
    eq, guard, guard_2, div, gt, near, div_2, near_sum = saved
    # gradient of near[i, j] = where(i == j, 0, 1 / (1 + sum[a]((z[i, a] - z[j, a]) ** 2)))   tsne.lee:52
    reshape = (~eq)[:, :, None]  # bool[n, n, 1]
    d_near = d_y / near_sum + torch.where(gt, -(d_y * p / div_2 * div_2 / near), 0)  # [n, n]
    d_guard_2 = torch.where(eq, 0, -(d_near * div / guard_2))[:, :, None] * guard  # [n, n, k]
    d_z_2 = torch.where(reshape, -2 * d_guard_2, 0).sum(dim=0)  # [n, k]
    d_z = d_z_2 + torch.where(reshape, 2 * d_guard_2, 0).sum(dim=1)  # [n, k]
    return d_z  # [n, k]


def divergenceAsPrinted(p, z):
    """near = 1 / (1 + |zᵢ - zⱼ|), the distance not squared.

    p [n, n], z [n, k] -> []
    """
    n = p.shape[0]
    i = torch.arange(n, device=p.device)  # int[n]  tsne.lee:58
    eq = i[:, None] == i  # bool[n, n]
    sub = z[:, None] - z  # [n, n, k]
    guard = torch.where((~eq)[:, :, None], sub, sub.detach())  # [n, n, k]
    sum_ = (guard**2).sum(dim=2)  # [n, n]
    near = torch.where(eq, 0, 1 / (1 + sqrt(torch.where(~eq, sum_, sum_.detach()))))  # [n, n]
    gt = p > 0  # bool[n, n]  tsne.lee:59
    guard_3 = torch.where(gt, p, p.detach())  # [n, n]
    log = torch.log(guard_3 / torch.where(gt, near, near.detach()))  # [n, n]
    sum_2 = torch.where(gt, guard_3 * log, 0).sum()
    return sum_2 + torch.log(near.sum())


def divergenceAsPrinted_saved(p, z):
    """As divergenceAsPrinted, and what its gradient needs."""
    n = p.shape[0]
    i = torch.arange(n, device=p.device)  # int[n]  tsne.lee:58
    eq = i[:, None] == i  # bool[n, n]
    guard = z[:, None] - z  # [n, n, k]
    guard_2 = (guard**2).sum(dim=2)  # [n, n]
    sqrt_ = sqrt(guard_2)  # [n, n]
    add = 1 + sqrt_  # [n, n]
    div = 1 / add  # [n, n]
    near = torch.where(eq, 0, div)  # [n, n]
    gt = p > 0  # bool[n, n]  tsne.lee:59
    div_2 = p / near  # [n, n]
    near_sum = near.sum()
    sum_ = torch.where(gt, p * torch.log(div_2), 0).sum()
    saved = eq, guard, guard_2, sqrt_, add, div, gt, near, div_2, near_sum
    return sum_ + torch.log(near_sum), saved


def divergenceAsPrinted_backward(p, saved, d_y):
    """From d_y to the gradient by z."""
    eq, guard, guard_2, sqrt_, add, div, gt, near, div_2, near_sum = saved
    # gradient of near[i, j] = where(i == j, 0, 1 / (1 + sqrt(sum[a]((z[i, a] - z[j, a]) ** 2))))   tsne.lee:58
    reshape = (~eq)[:, :, None]  # bool[n, n, 1]
    d_near = d_y / near_sum + torch.where(gt, -(d_y * p / div_2 * div_2 / near), 0)  # [n, n]
    select = torch.where(guard_2 > 0, sqrt_, torch.inf)  # [n, n]
    select_2 = torch.where(eq, 0, -0.5 * (d_near * div / add) / select)  # [n, n]
    d_guard_2 = select_2[:, :, None] * guard  # [n, n, k]
    d_z_2 = torch.where(reshape, -2 * d_guard_2, 0).sum(dim=0)  # [n, k]
    d_z = d_z_2 + torch.where(reshape, 2 * d_guard_2, 0).sum(dim=1)  # [n, k]
    return d_z  # [n, k]


def gained(gain, velocity, g):
    """More where the slope keeps its direction, less where it turns (Jacobs 1988).

    gain [g_0, g_1], velocity [g_0, g_1], g [g_0, g_1] -> [g_0, g_1]
    """
    lt = g * velocity < 0  # bool[g_0, g_1]  tsne.lee:64
    mul_2 = torch.where(~lt, gain, gain.detach()) * 0.8  # [g_0, g_1]
    return torch.where(lt, gain + 0.2, mul_2).clamp(min=0.01)  # [g_0, g_1]


def gained_2(gain, velocity, g):
    """More where the slope keeps its direction, less where it turns (Jacobs 1988).

    gain [g_0], velocity [g_0], g [g_0] -> [g_0]
    """
    lt = g * velocity < 0  # bool[g_0]  tsne.lee:64
    mul_2 = torch.where(~lt, gain, gain.detach()) * 0.8  # [g_0]
    return torch.where(lt, gain + 0.2, mul_2).clamp(min=0.01)  # [g_0]


def switched(before, after, turn):
    """One number up to step `turn`, another from then on."""
    return before, after


def switched_2(before, after, turn, s):
    """One number up to step `turn`, another from then on."""
    return before if s <= turn else after  # tsne.lee:70


def at(turn, before, after, s):
    return before if s <= turn else after  # tsne.lee:70


def tsne(x, start, perplexity, steps, rate, early):
    """The whole way in one piece; `of_digits` goes it step by step. In `early` steps pairs pull twelve times as much.

    x [n, d], start [n, k] -> [n, k]
    """
    n = x.shape[0]
    k = start.shape[1]
    p = pairs(x, perplexity)  # [n, n]  tsne.lee:76
    before, after = switched(12.0, 1.0, early)  # tsne.lee:77
    before_2, after_2 = switched(0.5, 0.8, early)  # tsne.lee:78
    velocity = torch.zeros((n, k), dtype=FLOAT, device=x.device)  # [n, k]
    gain = torch.ones((n, k), dtype=FLOAT, device=x.device)  # [n, k]
    # tsne.lee:82
    for s in range(1, steps + 1):
        gain, velocity, start = tsne_step(gain, velocity, start, before, after, p, before_2, after_2, rate, early, s)
    return start  # [n, k]


def tsne_step(gain, velocity, z, before, after, p, before_2, after_2, rate, early, s):
    """gain [n, k], velocity [n, k], z [n, k], p [n, n] -> [n, k], [n, k], [n, k]"""
    mul = at(early, before, after, s) * p  # [n, n]  tsne.lee:83
    _, saved_divergence = divergence_saved(mul, z)
    d_add_2 = torch.ones((), dtype=FLOAT, device=gain.device)
    g = divergence_backward(mul, saved_divergence, d_add_2)  # [n, k]
    gain_3 = gained(gain, velocity, g)  # [n, k]  tsne.lee:84
    velocity_3 = at(early, before_2, after_2, s) * velocity - rate * gain_3 * g  # [n, k]  tsne.lee:85
    z_2 = z + velocity_3  # [n, k]  tsne.lee:86
    z_3 = z_2 - z_2.mean(dim=0)  # [n, k]  tsne.lee:87
    return gain_3, velocity_3, z_3


class Map(Model):
    """A place for every example."""

    members = ("z",)

    def __init__(self, n, k, *, key=(0, 0)):
        super().__init__()
        self.n, self.k = n, k
        self.z = torch.nn.Parameter(1e-4 * normal(fold(key, SITES["z"]), (n, k), FLOAT))  # [n, k]  tsne.lee:93


class Gained(Optimizer):
    """Momentum, and a rate of its own for every number."""

    starts = {"velocity": 0.0, "gain": 1.0}

    def __init__(self, lr, momentum):
        self.lr, self.momentum = lr, momentum

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        self.gain.copy_(gained_2(self.gain, self.velocity, g))  # [count]  tsne.lee:102
        self.velocity.copy_(self.momentum * self.velocity - self.lr * self.gain * g)  # [count]  tsne.lee:103
        θ.add_(self.velocity)  # [count]  tsne.lee:104


def ranks(x):
    """How many examples lie nearer to i than j does; i itself comes last.

    x [n, d] -> int[n, n]
    """
    n = x.shape[0]
    i = torch.arange(n, device=x.device)  # int[n]  tsne.lee:112
    away = torch.where(i[:, None] == i, torch.inf, squares(x))  # [n, n]
    argsort = torch.argsort(away, dim=1, stable=True)  # int[n, n]  tsne.lee:113
    return torch.argsort(argsort, dim=1, stable=True)  # int[n, n]


def trustworthiness(x, z, nearest=5):
    """1 if whoever is among the nearest on the map is so in space; lost by how far away it was (Venna & Kaski 2001).

    x [n, d], z [n, k] -> []
    """
    n = x.shape[0]
    in_space = ranks(x)  # int[n, n]  tsne.lee:118
    on_map = ranks(z)  # int[n, n]  tsne.lee:119
    maximum = (in_space - nearest + 1).clamp(min=0)  # int[n, n]  tsne.lee:120
    false_friends = torch.where(on_map < nearest, maximum, 0).sum()
    size_2 = 2 * n**2 * nearest - 3 * n * nearest**2 - n * nearest  # tsne.lee:121
    return 1 - (2 * false_friends).to(FLOAT) / size_2


def alike(z, y):
    """How often the nearest example has the same label.

    z [n, k], y int[n] -> []
    """
    n = z.shape[0]
    i = torch.arange(n, device=z.device)  # int[n]  tsne.lee:126
    away = torch.where(i[:, None] == i, torch.inf, squares(z))  # [n, n]
    return (y[away.argmin(dim=1)] == y).to(FLOAT).mean()  # tsne.lee:127


def principal(x, k):
    """The plane of the largest variance, for comparison.

    x [n, d] -> [n, k]
    """
    d = x.shape[1]
    centred = x - x.mean(dim=0)  # [n, d]  tsne.lee:132
    _, vectors = eigh(centred.T @ centred)  # tsne.lee:133
    return centred @ vectors[:, d - k :]  # [n, k]  tsne.lee:134


@torch.no_grad()
def of_digits(n=400, perplexity=3e1, steps=500, rate=2e2, early=250, *, run=None):
    """A map without labels; afterwards they tell whether neighbours on it are the same digit."""
    from leec.runtime.run import Run

    run = run or Run("of_digits", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    x, y, p = of_digits_x_y_p(data.x, data.y, perplexity, n)  # tsne.lee:140
    map_ = Map(n=n, k=2, key=run.key("map")).to(run.session.place.device)  # tsne.lee:143
    opt = Gained(lr=rate, momentum=lambda s: switched_2(0.5, 0.8, early, s))  # tsne.lee:144
    step = OfDigitsStep(map_, opt)
    pull_0, pull_1 = of_digits_pull(early)  # tsne.lee:145
    for s in run.loop("s", 1, steps, map=map_, opt=opt):
        run.step(step(pull_0, pull_1, p, early, s))  # tsne.lee:147
    reported_trusted, reported_alike, reported_of_plane = of_digits_trusted_alike_of_plane(x, map_, y)  # tsne.lee:149
    run.report(trusted=reported_trusted, alike=reported_alike, of_plane=reported_of_plane)  # tsne.lee:149
    return map_


def of_digits_x_y_p(data_x, data_y, perplexity, n):
    """data_x [data_train_n, 64], data_y int[data_train_n] -> [n, 64], int[n], [n, n]"""
    x = data_x[:n]  # [n, 64]  tsne.lee:140
    y = data_y[:n]  # int[n]  tsne.lee:141
    p = pairs(x, perplexity)  # [n, n]  tsne.lee:142
    return x, y, p


def of_digits_pull(early):
    pull_0, pull_1 = switched(12.0, 1.0, early)  # tsne.lee:145
    return pull_0, pull_1


class OfDigitsStep(TrainStep):
    """One step of of_digits for map_, opt: call it with a batch."""

    moved = (("opt", ("map_",)),)
    counted = ("opt",)
    read = ("map_.z",)
    spare = (0,)

    def __init__(self, map_, opt):
        self.map_, self.opt = map_, opt
        self.bind()

    def constants(self):
        return (self.opt.lr,)

    def scalars(self):
        return (self.opt.momentum,)

    def step(self, pull_before, pull_after, p, early, s, momentum):
        (z,) = self.tensors
        (d_z,) = self.gradients
        n = p.shape[0]
        mul = (pull_before if s <= early else pull_after) * p  # [n, n]  tsne.lee:147
        i = torch.arange(n, device=p.device)  # int[n]  tsne.lee:52
        eq = i[:, None] == i  # bool[n, n]
        guard = z[:, None] - z  # [n, n, 2]
        guard_2 = 1 + (guard * guard).sum(dim=2)  # [n, n]
        div = 1 / guard_2  # [n, n]
        guard_4 = torch.where(eq, 0, div)  # [n, n]
        div_2 = mul / guard_4  # [n, n]  tsne.lee:53
        mul_2_2 = mul * torch.log(div_2)  # [n, n]
        near_sum = guard_4.sum()
        sum_2 = torch.ops.aten.threshold_backward(mul_2_2, mul, 0).sum()
        reshape_3 = (~eq)[:, :, None]  # bool[n, n, 1]  tsne.lee:52
        neg = -(mul / div_2 * div_2 / guard_4)  # [n, n]  tsne.lee:53
        d_guard_4 = torch.ops.aten.threshold_backward(neg, mul, 0)  # [n, n]
        neg_2 = -((1 / near_sum + d_guard_4) * div / guard_2)  # [n, n]  tsne.lee:52
        d_guard_2 = torch.where(eq, 0, neg_2)[:, :, None] * guard  # [n, n, 2]
        d_z_2 = masked(-2 * d_guard_2, reshape_3).sum(dim=0)  # [n, 2]
        torch.add(d_z_2, masked(2 * d_guard_2, reshape_3).sum(dim=1), out=d_z)  # [n, 2]
        lr = self.opt.lr
        for θ, g, velocity, gain in self.blocks[0]:
            gain.copy_(torch.where(g * velocity < 0, gain + 0.2, gain * 0.8).clamp(min=0.01))
            velocity.mul_(momentum)
            velocity.addcmul_(gain, g, value=-lr)
            θ.add_(velocity)
        z.sub_(z.mean(dim=0))  # [n, 2]  tsne.lee:148
        return sum_2 + torch.log(near_sum)  # tsne.lee:53


def of_digits_trusted_alike_of_plane(x, map_, y):
    """x [n, 64], y int[n] -> [], [], []"""
    return trustworthiness(x, map_.z), alike(map_.z, y), alike(principal(x, 2), y)  # tsne.lee:149


def example_near(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:154
    c = normal(fold(key, SITES["c"]), (12, 12), FLOAT)  # [12, 12]  tsne.lee:155
    d_c, saved_pairs = pairs_saved(x, 4.0)  # tsne.lee:156
    return (c * d_c).sum(), pairs_backward(saved_pairs, c), d_c


def example_apart(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:160
    z = normal(fold(key, SITES["z"]), (12, 2), FLOAT)  # [12, 2]  tsne.lee:161
    p = stop(pairs(x, 4.0))  # [12, 12]  tsne.lee:162
    add_2, saved_divergence = divergence_saved(p, z)  # tsne.lee:163
    mul = 3 * p  # [12, 12]
    add_2_2, saved_divergence_ = divergence_saved(mul, z)
    d_add_2_2 = torch.full((), 2.0, dtype=FLOAT)
    d_z_3 = divergence_backward(p, saved_divergence, torch.ones((), dtype=FLOAT))  # [12, 2]
    d_z_2 = divergence_backward(mul, saved_divergence_, d_add_2_2)  # [12, 2]
    return add_2 + 2 * add_2_2, torch.zeros((12, 3), dtype=FLOAT), d_z_2 + d_z_3


def example_apart_as_printed(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:167
    z = normal(fold(key, SITES["z"]), (12, 2), FLOAT)  # [12, 2]  tsne.lee:168
    mul = 3 * stop(pairs(x, 4.0))  # [12, 12]  tsne.lee:169
    value, saved_divergenceAsPrinted = divergenceAsPrinted_saved(mul, z)
    d_value = torch.ones((), dtype=FLOAT)
    d_z = divergenceAsPrinted_backward(mul, saved_divergenceAsPrinted, d_value)  # [12, 2]
    return value, torch.zeros((12, 3), dtype=FLOAT), d_z


def example_mapped(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  tsne.lee:173
    start = 0.1 * normal(fold(key, SITES["start"]), (12, 2), FLOAT)  # [12, 2]  tsne.lee:174
    return tsne(x, start, 4.0, 6, 2.0, 3)  # [12, 2]  tsne.lee:175


def example_true_to_space(key):
    x = normal(fold(key, SITES["x"]), (20, 3), FLOAT)  # [20, 3]  tsne.lee:179
    z = normal(fold(key, SITES["z"]), (20, 2), FLOAT)  # [20, 2]  tsne.lee:180
    y = randint(fold(key, SITES["y"]), (20,), 0, 3)  # int[20]  tsne.lee:181
    contract_2 = principal(x, 2)  # [20, 2]  tsne.lee:182
    return trustworthiness(x, z), alike(z, y), contract_2**2


def stop(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x.detach()  # [x_0, x_1]  prelude.lee:18


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "c": 0x1B2C07CD64633F37,
    "start": 0xF7091535421F26A0,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
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


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = x.abs() > 100 * torch.finfo(x.dtype).eps * scale
    return torch.where(far, 1 / torch.where(far, x, 1.0), 0.0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = vectors.abs()
    near = size >= 0.999 * size.amax(dim=-2, keepdim=True)
    largest = torch.take_along_dim(vectors, near.int().argmax(dim=-2, keepdim=True), -2)
    return torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def inverse_gaps(values):
    """1 / (values[j] - values[i]), and 0 where both are equal up to rounding."""
    scale = values.abs().amax(dim=-1)[..., None, None]
    return reciprocal_or_zero(values[..., None, :] - values[..., :, None], scale)


class Eigh(torch.autograd.Function):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""

    @staticmethod
    def forward(ctx, a):
        values, vectors = torch.linalg.eigh(symmetric_part(a))
        vectors = vectors * signs_of_columns(vectors)
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx, d_values, d_vectors):
        values, vectors = ctx.saved_tensors
        inner = inverse_gaps(values) * (vectors.mT @ d_vectors)
        return symmetric_part((vectors * d_values[..., None, :] + vectors @ inner) @ vectors.mT)


def eigh(a):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""
    return Eigh.apply(a)


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
