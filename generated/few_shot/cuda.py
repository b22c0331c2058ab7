"""Few-shot classification of digits: tasks of a few classes with a few examples each (inventory P1, P10).

What is learned, φ, turns the support examples of a task into a classifier; its loss is that of the query examples,
Σ over tasks. Here φ is a net that places examples, and a classifier is who lies near.

Made from specs/meta/few_shot.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/few_shot.lee
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


def episode(x, y, key, ways=5, shots=1, classes=10):
    """`ways` of the classes, and of each as many examples for the support as for the query.

    x [n, d], y int[n] -> [ways, shots, d], [ways, shots, d]
    """
    n = x.shape[0]
    u = uniform(fold(key, SITES["u"]), (classes,), FLOAT, x.device)  # [classes]  few_shot.lee:19
    chosen = torch.argsort(u, dim=0, stable=True)[:ways]  # int[ways]  few_shot.lee:20
    v = uniform(fold(key, SITES["v"]), (n,), FLOAT, x.device)  # [n]  few_shot.lee:21
    late = torch.where(y == chosen[:, None], v, 2)  # [ways, n]  few_shot.lee:22
    rows = torch.argsort(late, dim=1, stable=True)  # int[ways, n]  few_shot.lee:23
    return x[rows[:, :shots]], x[rows[:, shots : 2 * shots]]  # few_shot.lee:24


def near_prototypes(f, q):
    """-‖q - c‖², c being the mean of the support of a class (Snell et al. 2017).

    f [k, s, d], q [m, d] -> [m, k]
    """
    center = f.mean(dim=1)  # [k, d]  few_shot.lee:32
    sub = q[:, None] - center  # [m, k, d]  few_shot.lee:33
    score = -(sub**2).sum(dim=2)  # [m, k]
    return score  # [m, k]


def near_prototypes_saved(f, q):
    """As near_prototypes, and what its gradient needs."""
    center = f.mean(dim=1)  # [k, d]  few_shot.lee:32
    sub = q[:, None] - center  # [m, k, d]  few_shot.lee:33
    score = -(sub**2).sum(dim=2)  # [m, k]
    return score, sub


def near_prototypes_backward(sub, s, d_score):
    """From d_score to the gradients by f and q."""
    _, k, d = sub.shape
    # gradient of score[i, j] = -sum[a]((q[i, a] - center[j, a]) ** 2)   few_shot.lee:33
    d_sub_2 = (-d_score)[:, :, None] * sub  # [m, k, d]
    d_center = (-2 * d_sub_2).sum(dim=0)  # [k, d]
    d_q = (2 * d_sub_2).sum(dim=1)  # [m, d]
    # gradient of center = mean(f, axis = 1)   few_shot.lee:32
    d_f = (d_center / s)[:, None].expand(k, s, d)  # [k, s, d]
    return d_f, d_q


def by_matching(f, q):
    """Each support example votes with the softmax of its cosine (Vinyals et al. 2016); the logarithm of the votes.

    f [k, s, d], q [m, d] -> [m, k]
    """
    k, s, d = f.shape
    m = q.shape[0]
    reshape_2 = (q @ f.reshape(k * s, d).T).reshape(m, k, s)  # [m, k, s]  few_shot.lee:39
    likeness = reshape_2 / (norm(q)[:, None, None] * norm_2(f) + 1e-8)  # [m, k, s]
    log_softmax_ = torch.log_softmax(likeness.reshape(m, k * s), dim=1)  # [m, k * s]  few_shot.lee:41
    return logsumexp(log_softmax_.reshape(m, k, s), 2, False)  # [m, k]


def by_matching_saved(f, q):
    """As by_matching, and what its gradient needs."""
    k, s, d = f.shape
    m = q.shape[0]
    sqrt_, saved_norm = norm_saved(q)  # few_shot.lee:39
    sqrt_2, saved_norm_2 = norm_2_saved(f)
    add = sqrt_[:, None, None] * sqrt_2 + 1e-8  # [m, k, s]
    likeness = (q @ f.reshape(k * s, d).T).reshape(m, k, s) / add  # [m, k, s]
    log_softmax_ = torch.log_softmax(likeness.reshape(m, k * s), dim=1)  # [m, k * s]  few_shot.lee:41
    saved = sqrt_, saved_norm, sqrt_2, saved_norm_2, add, likeness, log_softmax_
    return logsumexp(log_softmax_.reshape(m, k, s), 2, False), saved


def by_matching_backward(f, q, saved, d_y):
    """From d_y to the gradients by f and q."""
    sqrt_, saved_norm, sqrt_2, saved_norm_2, add, likeness, log_softmax_ = saved
    k, s, d = f.shape
    m = q.shape[0]
    # gradient of return log(sum(reshape(share, [m, k, s]), axis = 2))   few_shot.lee:41
    softmax_ = softmax(log_softmax_.reshape(m, k, s), (2,))  # [m, k, s]
    d_log_softmax = (d_y[:, :, None] * softmax_).reshape(m, k * s)  # [m, k * s]
    sum_3 = d_log_softmax.sum(dim=1, keepdim=True)  # [m, 1]
    # gradient of share = softmax(reshape(likeness, [m, k * s]), axis = 1)   few_shot.lee:40
    d_likeness = (d_log_softmax - torch.exp(log_softmax_) * sum_3).reshape(m, k, s)  # [m, k, s]
    # gradient of likeness[i, j, t] = sum[a](q[i, a] * f[j, t, a]) / (norm(q, axis = 1)[i] * no..   few_shot.lee:39
    d_add = -(d_likeness * likeness / add)  # [m, k, s]
    reshape_4 = (d_likeness / add).reshape(m, k * s)  # [m, k * s]
    d_sqrt_2 = (d_add * sqrt_[:, None, None]).sum(dim=0)  # [k, s]
    d_q_3 = norm_backward(q, saved_norm, sqrt_, (d_add * sqrt_2).sum(dim=(1, 2)))  # [m, d]
    d_f_3 = norm_2_backward(f, saved_norm_2, sqrt_2, d_sqrt_2)  # [k, s, d]
    d_f = (reshape_4.T @ q).reshape(k, s, d) + d_f_3  # [k, s, d]
    d_q = reshape_4 @ f.reshape(k * s, d) + d_q_3  # [m, d]
    return d_f, d_q


def prototypical(f, q):
    """The query examples of a class should lie near its prototype.

    f [k, s, d], q [k, m, d] -> []
    """
    k, _, d = f.shape
    m = q.shape[1]
    y = torch.arange(k, device=f.device)[:, None].expand(k, m)  # int[k, m]  few_shot.lee:46
    out = cross_entropy(near_prototypes(f, q.reshape(k * m, d)), y.reshape(k * m))  # few_shot.lee:47
    return out


def prototypical_saved(f, q):
    """As prototypical, and what its gradient needs."""
    k, _, d = f.shape
    m = q.shape[1]
    y = torch.arange(k, device=f.device)[:, None].expand(k, m)  # int[k, m]  few_shot.lee:46
    score, saved_near_prototypes = near_prototypes_saved(f, q.reshape(k * m, d))  # few_shot.lee:47
    return cross_entropy(score, y.reshape(k * m)), (score, saved_near_prototypes)


def prototypical_backward(saved, m, s, d_y):
    """From d_y to the gradients by f and q."""
    score, saved_near_prototypes = saved
    k = score.shape[1]
    d = saved_near_prototypes.shape[2]
    # gradient of y[i in k, j in m] = i   few_shot.lee:46
    y = torch.arange(k, device=score.device)[:, None].expand(k, m)  # int[k, m]
    # gradient of return cross_entropy(near_prototypes(f, reshape(q, [k * m, d])), reshape(y, [..   few_shot.lee:47
    d_score = cross_entropy_backward(score, y.reshape(k * m), d_y)  # [k * m, k]
    d_f, d_q_flat = near_prototypes_backward(saved_near_prototypes, s, d_score)
    d_q = d_q_flat.reshape(k, m, d)  # [k, m, d]
    return d_f, d_q


def matching(f, q):
    """f [k, s, d], q [k, m, d] -> []"""
    k, _, d = f.shape
    m = q.shape[1]
    y = torch.arange(k, device=f.device)[:, None].expand(k, m)  # int[k, m]  few_shot.lee:51
    out = cross_entropy(by_matching(f, q.reshape(k * m, d)), y.reshape(k * m))  # few_shot.lee:52
    return out


def matching_saved(f, q):
    """As matching, and what its gradient needs."""
    k, _, d = f.shape
    m = q.shape[1]
    y = torch.arange(k, device=f.device)[:, None].expand(k, m)  # int[k, m]  few_shot.lee:51
    log, saved_by_matching = by_matching_saved(f, q.reshape(k * m, d))  # few_shot.lee:52
    return cross_entropy(log, y.reshape(k * m)), (log, saved_by_matching)


def matching_backward(f, q, saved, d_y):
    """From d_y to the gradients by f and q."""
    log, saved_by_matching = saved
    k, _, d = f.shape
    m = q.shape[1]
    # gradient of y[i in k, j in m] = i   few_shot.lee:51
    y = torch.arange(k, device=f.device)[:, None].expand(k, m)  # int[k, m]
    # gradient of return cross_entropy(by_matching(f, reshape(q, [k * m, d])), reshape(y, [k * ..   few_shot.lee:52
    d_log = cross_entropy_backward(log, y.reshape(k * m), d_y)  # [k * m, k]
    d_f, d_q_flat = by_matching_backward(f, q.reshape(k * m, d), saved_by_matching, d_log)
    d_q = d_q_flat.reshape(k, m, d)  # [k, m, d]
    return d_f, d_q


def siamese(f, q, margin=1.0):
    """Pairs of one class lie together, those of neighbouring classes `margin` apart (Koch et al. 2015).

    f [k, s, d], q [k, s, d] -> []
    """
    k, s, d = f.shape
    f_flat = f.reshape(k * s, d)  # [k * s, d]  few_shot.lee:57
    fill = torch.ones(k * s, dtype=FLOAT, device=f.device)  # [k * s]
    same = contrastive(f_flat, q.reshape(k * s, d), fill, margin=margin)
    other = q[(torch.arange(k, device=f.device) + 1) % k]  # [k, s, d]  few_shot.lee:58
    fill_2 = torch.zeros(k * s, dtype=FLOAT, device=f.device)  # [k * s]  few_shot.lee:59
    mean = contrastive(f_flat, other.reshape(k * s, d), fill_2, margin=margin)
    return same + mean


def siamese_saved(f, q, margin=1.0):
    """As siamese, and what its gradient needs."""
    k, s, d = f.shape
    f_flat = f.reshape(k * s, d)  # [k * s, d]  few_shot.lee:57
    fill = torch.ones(k * s, dtype=FLOAT, device=f.device)  # [k * s]
    same, saved_contrastive = contrastive_saved(f_flat, q.reshape(k * s, d), fill, margin=margin)
    mod = (torch.arange(k, device=f.device) + 1) % k  # int[k]  few_shot.lee:58
    other = q[mod]  # [k, s, d]
    fill_2 = torch.zeros(k * s, dtype=FLOAT, device=f.device)  # [k * s]  few_shot.lee:59
    mean, saved_contrastive_ = contrastive_saved(f_flat, other.reshape(k * s, d), fill_2, margin=margin)
    return same + mean, (saved_contrastive, mod, saved_contrastive_)


def siamese_backward(saved, s, d_y):
    """From d_y to the gradients by f and q."""
    saved_contrastive, mod, saved_contrastive_ = saved
    k = mod.shape[0]
    d = saved_contrastive[0].shape[1]
    # gradient of return same + contrastive(reshape(f, [k * s, d]), reshape(other, [k * s, d]),..   few_shot.lee:59
    fill_2 = torch.zeros(k * s, dtype=FLOAT, device=mod.device)  # [k * s]
    d_f_flat_2, d_other_flat = contrastive_backward(fill_2, saved_contrastive_, d_y)
    d_other = d_other_flat.reshape(k, s, d)  # [k, s, d]
    # gradient of same = contrastive(reshape(f, [k * s, d]), reshape(q, [k * s, d]), ones([k * ..   few_shot.lee:57
    fill = torch.ones(k * s, dtype=FLOAT, device=mod.device)  # [k * s]
    d_f_flat_3, d_q_flat = contrastive_backward(fill, saved_contrastive, d_y)
    d_f = (d_f_flat_2 + d_f_flat_3).reshape(k, s, d)  # [k, s, d]
    d_q = scatter_add(d_other, (mod,), (k, s, d)) + d_q_flat.reshape(k, s, d)  # [k, s, d]
    return d_f, d_q


def right(f, q):
    """The share of query examples whose nearest prototype is that of their class.

    f [k, s, d], q [k, m, d] -> []
    """
    k, _, d = f.shape
    m = q.shape[1]
    y = torch.arange(k, device=f.device)[:, None].expand(k, m)  # int[k, m]  few_shot.lee:64
    out = accuracy(near_prototypes(f, q.reshape(k * m, d)), y.reshape(k * m))  # few_shot.lee:65
    return out


@torch.no_grad()
def few_shot(rounds=100, ways=5, shots=1, rate=1e-3, *, run=None):
    """`by` is prototypes, matching or siamese; `before` is what the first weights give.

    Made for by = 'prototypes': with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("few_shot", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 32), key=run.key("net")).to(run.session.place.device)  # few_shot.lee:74
    start = net.copy()  # few_shot.lee:75
    opt = Adam(lr=rate)  # few_shot.lee:76
    step = FewShotStep(net, opt)
    for round_ in run.loop("round", 1, rounds, net=net, opt=opt):
        run.step(step(data.train.x, data.train.y, shots, ways, run.key("few_shot")))  # few_shot.lee:78
    before = 0.0  # few_shot.lee:85
    after = 0.0  # few_shot.lee:86
    after, before = run.restore("task", after=after, before=before)
    for task in run.loop("task", 1, 200):
        before, after = few_shot_before_after(
            data.test.x, data.test.y, before, start, after, net, shots, ways, key=run.key("few_shot")
        )
        run.keep("task", after=after, before=before)
    run.report(before=before, after=after)  # few_shot.lee:91
    return net


class FewShotStep(TrainStep):
    """One step of few_shot for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.layers.0.w", "net.layers.0.b", "net.layers.1.w", "net.layers.1.b")
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, data_train_x, data_train_y, shots, ways, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        data_train_n = data_train_x.shape[0]
        key_2 = fold(key, SITES["episode"])  # few_shot.lee:78
        key_2_2 = fold(key_2, SITES["u"])  # few_shot.lee:19
        u = uniform(key_2_2, (10,), FLOAT, data_train_x.device)  # [10]
        key_3 = fold(key_2, SITES["v"])  # few_shot.lee:21
        reshape = torch.argsort(u, dim=0, stable=True)[:ways][:, None]  # int[ways, 1]  few_shot.lee:22
        v = uniform(key_3, (data_train_n,), FLOAT, data_train_x.device)  # [data_train_n]  few_shot.lee:21
        late = torch.where(data_train_y == reshape, v, 2)  # [ways, data_train_n]  few_shot.lee:22
        rows = torch.argsort(late, dim=1, stable=True)  # int[ways, data_train_n]  few_shot.lee:23
        support = data_train_x[rows[:, :shots]]  # [ways, shots, 64]  few_shot.lee:24
        query = data_train_x[rows[:, shots : 2 * shots]]  # [ways, shots, 64]
        x_flat = support.reshape(shots * ways, 64)  # [shots * ways, 64]  nn.lee:41
        affine = torch.addmm(layers_0_b, x_flat, layers_0_w)  # [shots * ways, 64]  nn.lee:21
        x_2_2 = torch.relu(affine.reshape(ways, shots, 64))  # [ways, shots, 64]  prelude.lee:61
        reshape_2_2 = x_2_2.reshape(shots * ways, 64)  # [shots * ways, 64]  nn.lee:42
        affine_2 = torch.addmm(layers_1_b, reshape_2_2, layers_1_w)  # [shots * ways, 32]  nn.lee:21
        x_flat_2 = query.reshape(shots * ways, 64)  # [shots * ways, 64]  nn.lee:41
        affine_3 = torch.addmm(layers_0_b, x_flat_2, layers_0_w)  # [shots * ways, 64]  nn.lee:21
        x_2 = torch.relu(affine_3.reshape(ways, shots, 64))  # [ways, shots, 64]  prelude.lee:61
        reshape_2_3 = x_2.reshape(shots * ways, 64)  # [shots * ways, 64]  nn.lee:42
        # int[ways, shots]  few_shot.lee:46
        y = torch.arange(ways, device=data_train_x.device)[:, None].expand(ways, shots)
        # [shots * ways, 1, 32]  few_shot.lee:33
        reshape_2_4 = torch.addmm(layers_1_b, reshape_2_3, layers_1_w)[:, None]
        sub = reshape_2_4 - affine_2.reshape(ways, shots, 32).mean(dim=1)  # [shots * ways, ways, 32]
        score = -(sub * sub).sum(dim=2)  # [shots * ways, ways]
        y_flat = y.reshape(shots * ways)  # int[shots * ways]  few_shot.lee:47
        surprise = torch.nn.functional.cross_entropy(score, y_flat, reduction="none")  # [shots * ways]  losses.lee:45
        iota = torch.arange(ways, device=data_train_x.device)[None, :]  # int[1, ways]
        one_hot = (iota == y.reshape(shots * ways, 1)).to(FLOAT)  # [shots * ways, ways]
        sub_2 = torch.softmax(score, dim=1) - one_hot  # [shots * ways, ways]
        d_sub_2 = (-(sub_2 * (1.0 / (shots * ways))))[:, :, None] * sub  # [shots * ways, ways, 32]  few_shot.lee:33
        d_q_flat = (2 * d_sub_2).sum(dim=1)  # [shots * ways, 32]
        reshape_2_3_2 = ((-2 * d_sub_2).sum(dim=0) / shots)[:, None]  # [ways, 1, 32]  few_shot.lee:32
        d_x_2 = (d_q_flat @ layers_1_w.T).reshape(ways, shots, 64)  # [ways, shots, 64]  nn.lee:42
        # [shots * ways, 64]  nn.lee:41
        d_add = torch.ops.aten.threshold_backward(d_x_2, x_2, 0).reshape(shots * ways, 64)
        d_add_2_2 = reshape_2_3_2.expand(ways, shots, 32).reshape(shots * ways, 32)  # [shots * ways, 32]  nn.lee:42
        d_x_2_2 = (d_add_2_2 @ layers_1_w.T).reshape(ways, shots, 64)  # [ways, shots, 64]
        d_reshape_2_2 = torch.ops.aten.threshold_backward(d_x_2_2, x_2_2, 0)  # [ways, shots, 64]  prelude.lee:61
        d_add_3 = d_reshape_2_2.reshape(shots * ways, 64)  # [shots * ways, 64]  nn.lee:41
        torch.mm(x_flat_2.T, d_add, out=d_layers_0_w)  # [64, 64]  few_shot.lee:80
        d_layers_0_w.add_(x_flat.T @ d_add_3)  # [64, 64]
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]
        d_layers_0_b.add_(d_add_3.sum(dim=0))  # [64]
        torch.mm(reshape_2_3.T, d_q_flat, out=d_layers_1_w)  # [64, 32]
        d_layers_1_w.add_(reshape_2_2.T @ d_add_2_2)  # [64, 32]
        torch.sum(d_q_flat, dim=0, out=d_layers_1_b)  # [32]
        d_layers_1_b.add_(d_add_2_2.sum(dim=0))  # [32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v_ in self.blocks[0]:
            adam_(θ, g, m, v_, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / (shots * ways)  # losses.lee:148


def few_shot_before_after(data_test_x, data_test_y, before, start, after, net, shots, ways, key):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [], []"""
    key_2 = fold(key, SITES["episode#2"])  # few_shot.lee:88
    support, query = episode(data_test_x, data_test_y, key_2, ways=ways, shots=shots)
    before_2 = before + right(start(support), start(query)) / 200  # few_shot.lee:89
    after_2 = after + right(net(support), net(query)) / 200  # few_shot.lee:90
    return before_2, after_2


def example_tasks(key):
    x = normal(fold(key, SITES["x"]), (40, 2), FLOAT)  # [40, 2]  few_shot.lee:99
    y = randint(fold(key, SITES["y"]), (40,), 0, 4)  # int[40]  few_shot.lee:100
    value, value_1 = episode(x, y, fold(key, SITES["episode"]), ways=3, shots=2, classes=4)  # few_shot.lee:101
    return value, value_1


def example_by_distance(key):
    f = normal(fold(key, SITES["f"]), (3, 2, 4), FLOAT)  # [3, 2, 4]  few_shot.lee:105
    q = normal(fold(key, SITES["q"]), (3, 5, 4), FLOAT)  # [3, 5, 4]  few_shot.lee:106
    value, saved_prototypical = prototypical_saved(f, q)  # few_shot.lee:107
    d_f, d_q = prototypical_backward(saved_prototypical, 5, 2, torch.ones((), dtype=FLOAT))
    return value, d_f, d_q


def example_by_votes(key):
    f = normal(fold(key, SITES["f"]), (3, 2, 4), FLOAT)  # [3, 2, 4]  few_shot.lee:111
    q = normal(fold(key, SITES["q"]), (3, 5, 4), FLOAT)  # [3, 5, 4]  few_shot.lee:112
    value, saved_matching = matching_saved(f, q)  # few_shot.lee:113
    d_f, d_q = matching_backward(f, q, saved_matching, torch.ones((), dtype=FLOAT))
    return value, d_f, d_q


def example_in_pairs(key):
    f = 0.2 * normal(fold(key, SITES["f"]), (3, 2, 4), FLOAT)  # [3, 2, 4]  few_shot.lee:117
    q = 0.2 * normal(fold(key, SITES["q"]), (3, 2, 4), FLOAT)  # [3, 2, 4]  few_shot.lee:118
    value, saved_siamese = siamese_saved(f, q)  # few_shot.lee:119
    d_f, d_q = siamese_backward(saved_siamese, 2, torch.ones((), dtype=FLOAT))
    return value, d_f, d_q


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def contrastive(a, b, same, margin=1.0):
    """‖a - b‖² for pairs of a kind, else max(0, margin - ‖a - b‖)² (Hadsell et al. 2006).

    a [n, d], b [n, d], same [n] -> []
    """
    distance = norm(a - b)  # [n]  losses.lee:130
    select = relu(margin - distance)  # [n]  losses.lee:131
    return reduced(same * distance**2 + (1 - same) * select**2)


def contrastive_saved(a, b, same, margin=1.0):
    """As contrastive, and what its gradient needs."""
    sub = a - b  # [n, d]  losses.lee:130
    distance, saved_norm = norm_saved(sub)
    sub_2 = 1 - same  # [n]  losses.lee:131
    select = relu(margin - distance)  # [n]
    return reduced(same * distance**2 + sub_2 * select**2), (sub, distance, saved_norm, sub_2, select)


def contrastive_backward(same, saved, d_y):
    """From d_y to the gradients by a and b."""
    sub, distance, saved_norm, sub_2, select = saved
    n = same.shape[0]
    # gradient of return reduced(same * distance ** 2 + (1 - same) * relu(margin - distance) **..   losses.lee:131
    d_add = reduced_backward(n, d_y)  # [n]
    d_distance_3 = d_add * same * distance  # [n]
    d_sub_3 = relu_backward(select, 2 * (d_add * sub_2 * select))  # [n]
    # gradient of distance = norm(a - b, axis = 1)   losses.lee:130
    d_distance = d_distance_3 - d_sub_3 + d_distance_3  # [n]
    d_a = norm_backward(sub, saved_norm, distance, d_distance)  # [n, d]
    d_b = -d_a  # [n, d]
    return d_a, d_b


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


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(dim=1) == y).to(FLOAT).mean()  # metrics.lee:9


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
        """x [x_0, x_1, sizes_0] -> [x_0, x_1, sizes_2]"""
        x_0, x_1, _ = x.shape
        add = self.layers[0](x.reshape(x_0 * x_1, self.sizes[0]))  # [x_0 * x_1, sizes_1]  nn.lee:41
        x_2 = relu_2(add.reshape(x_0, x_1, self.sizes[1]))  # [x_0, x_1, sizes_1]
        add_2 = self.layers[1](x_2.reshape(x_0 * x_1, self.sizes[1]))  # [x_0 * x_1, sizes_2]  nn.lee:42
        return add_2.reshape(x_0, x_1, self.sizes[2])  # [x_0, x_1, sizes_2]


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

    x [x_0] -> [x_0]
    """
    return torch.relu(x)  # [x_0]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0]
    return d_x  # [x_0]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.relu(x)  # [x_0, x_1, x_2]  prelude.lee:61


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return sqrt((x**2).sum(dim=1))  # [x_0]  prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(dim=1)  # [x_0]  prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_sum = d_y * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)  # [x_0]
    d_x = 2 * (d_sum[:, None] * x)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1, x_2] -> [x_0, x_1]
    """
    return sqrt((x**2).sum(dim=2))  # [x_0, x_1]  prelude.lee:163


def norm_2_saved(x):
    """As norm_2, and what its gradient needs."""
    sum_ = (x**2).sum(dim=2)  # [x_0, x_1]  prelude.lee:163
    return sqrt(sum_), sum_


def norm_2_backward(x, sum_, sqrt_, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_sum = d_y * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)  # [x_0, x_1]
    d_x = 2 * (d_sum[:, :, None] * x)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "episode": 0xEB10C6BEE3080DA1,
    "episode#2": 0xDFCFC486C2321B69,
    "f": 0xDB8E39B68F0C962E,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "q": 0x3514BD29FB70352B,
    "u": 0x08D267E10C593806,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
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
