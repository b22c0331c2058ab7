"""Few-shot classification of digits: tasks of a few classes with a few examples each (inventory P1, P10).

What is learned, φ, turns the support examples of a task into a classifier; its loss is that of the query examples,
Σ over tasks. Here φ is a net that places examples, and a classifier is who lies near.

Made from specs/meta/few_shot.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/meta/few_shot.lee
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


def episode(x, y, key, ways=5, shots=1, classes=10):
    """`ways` of the classes, and of each as many examples for the support as for the query.

    x [n, d], y int[n] -> [ways, shots, d], [ways, shots, d]
    """
    n = x.shape[0]
    u = uniform(fold(key, SITES["u"]), (classes,), FLOAT)  # [classes]  few_shot.lee:19
    chosen = np.argsort(u, axis=0, kind="stable")[:ways]  # int[ways]  few_shot.lee:20
    v = uniform(fold(key, SITES["v"]), (n,), FLOAT)  # [n]  few_shot.lee:21
    late = np.where(y == chosen[:, None], v, 2)  # [ways, n]  few_shot.lee:22
    rows = np.argsort(late, axis=1, kind="stable")  # int[ways, n]  few_shot.lee:23
    return x[inside(rows[:, :shots])], x[inside(rows[:, shots : 2 * shots])]  # few_shot.lee:24


def near_prototypes(f, q):
    """-‖q - c‖², c being the mean of the support of a class (Snell et al. 2017).

    f [k, s, d], q [m, d] -> [m, k]
    """
    center = f.mean(axis=1)  # [k, d]  few_shot.lee:32
    sub = q[:, None] - center  # [m, k, d]  few_shot.lee:33
    score = -(sub**2).sum(axis=2)  # [m, k]
    return score  # [m, k]


def near_prototypes_saved(f, q):
    """As near_prototypes, and what its gradient needs."""
    center = f.mean(axis=1)  # [k, d]  few_shot.lee:32
    sub = q[:, None] - center  # [m, k, d]  few_shot.lee:33
    score = -(sub**2).sum(axis=2)  # [m, k]
    return score, sub


def near_prototypes_backward(sub, s, d_score):
    """From d_score to the gradients by f and q."""
    _, k, d = sub.shape
    # gradient of score[i, j] = -sum[a]((q[i, a] - center[j, a]) ** 2)   few_shot.lee:33
    d_sub_2 = (-d_score)[:, :, None] * sub  # [m, k, d]
    d_center = (-2 * d_sub_2).sum(axis=0)  # [k, d]
    d_q = (2 * d_sub_2).sum(axis=1)  # [m, d]
    # gradient of center = mean(f, axis = 1)   few_shot.lee:32
    d_f = np.broadcast_to((d_center / s)[:, None], (k, s, d))  # [k, s, d]
    return d_f, d_q


def by_matching(f, q):
    """Each support example votes with the softmax of its cosine (Vinyals et al. 2016); the logarithm of the votes.

    f [k, s, d], q [m, d] -> [m, k]
    """
    k, s, d = f.shape
    m = q.shape[0]
    reshape_2 = (q @ f.reshape(k * s, d).T).reshape(m, k, s)  # [m, k, s]  few_shot.lee:39
    likeness = reshape_2 / (norm(q)[:, None, None] * norm_2(f) + 1e-8)  # [m, k, s]
    log_softmax_ = log_softmax(likeness.reshape(m, k * s), (1,))  # [m, k * s]  few_shot.lee:41
    return logsumexp(log_softmax_.reshape(m, k, s), 2)  # [m, k]


def by_matching_saved(f, q):
    """As by_matching, and what its gradient needs."""
    k, s, d = f.shape
    m = q.shape[0]
    sqrt, saved_norm = norm_saved(q)  # few_shot.lee:39
    sqrt_2, saved_norm_2 = norm_2_saved(f)
    add = sqrt[:, None, None] * sqrt_2 + 1e-8  # [m, k, s]
    likeness = (q @ f.reshape(k * s, d).T).reshape(m, k, s) / add  # [m, k, s]
    log_softmax_ = log_softmax(likeness.reshape(m, k * s), (1,))  # [m, k * s]  few_shot.lee:41
    saved = sqrt, saved_norm, sqrt_2, saved_norm_2, add, likeness, log_softmax_
    return logsumexp(log_softmax_.reshape(m, k, s), 2), saved


def by_matching_backward(f, q, saved, d_y):
    """From d_y to the gradients by f and q."""
    sqrt, saved_norm, sqrt_2, saved_norm_2, add, likeness, log_softmax_ = saved
    k, s, d = f.shape
    m = q.shape[0]
    # gradient of return log(sum(reshape(share, [m, k, s]), axis = 2))   few_shot.lee:41
    softmax_ = softmax(log_softmax_.reshape(m, k, s), (2,))  # [m, k, s]
    d_log_softmax = (d_y[:, :, None] * softmax_).reshape(m, k * s)  # [m, k * s]
    sum_3 = d_log_softmax.sum(axis=1, keepdims=True)  # [m, 1]
    # gradient of share = softmax(reshape(likeness, [m, k * s]), axis = 1)   few_shot.lee:40
    d_likeness = (d_log_softmax - np.exp(log_softmax_) * sum_3).reshape(m, k, s)  # [m, k, s]
    # gradient of likeness[i, j, t] = sum[a](q[i, a] * f[j, t, a]) / (norm(q, axis = 1)[i] * no..   few_shot.lee:39
    d_add = -(d_likeness * likeness / add)  # [m, k, s]
    reshape_4 = (d_likeness / add).reshape(m, k * s)  # [m, k * s]
    d_sqrt_2 = (d_add * sqrt[:, None, None]).sum(axis=0)  # [k, s]
    d_q_3 = norm_backward(q, saved_norm, sqrt, (d_add * sqrt_2).sum(axis=(1, 2)))  # [m, d]
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
    y = np.broadcast_to(np.arange(k)[:, None], (k, m))  # int[k, m]  few_shot.lee:46
    out = cross_entropy(near_prototypes(f, q.reshape(k * m, d)), y.reshape(k * m))  # few_shot.lee:47
    return out


def prototypical_saved(f, q):
    """As prototypical, and what its gradient needs."""
    k, _, d = f.shape
    m = q.shape[1]
    y = np.broadcast_to(np.arange(k)[:, None], (k, m))  # int[k, m]  few_shot.lee:46
    score, saved_near_prototypes = near_prototypes_saved(f, q.reshape(k * m, d))  # few_shot.lee:47
    return cross_entropy(score, y.reshape(k * m)), (score, saved_near_prototypes)


def prototypical_backward(saved, m, s, d_y):
    """From d_y to the gradients by f and q."""
    score, saved_near_prototypes = saved
    k = score.shape[1]
    d = saved_near_prototypes.shape[2]
    # gradient of y[i in k, j in m] = i   few_shot.lee:46
    y = np.broadcast_to(np.arange(k)[:, None], (k, m))  # int[k, m]
    # gradient of return cross_entropy(near_prototypes(f, reshape(q, [k * m, d])), reshape(y, [..   few_shot.lee:47
    d_score = cross_entropy_backward(score, y.reshape(k * m), d_y)  # [k * m, k]
    d_f, d_q_flat = near_prototypes_backward(saved_near_prototypes, s, d_score)
    d_q = d_q_flat.reshape(k, m, d)  # [k, m, d]
    return d_f, d_q


def matching(f, q):
    """f [k, s, d], q [k, m, d] -> []"""
    k, _, d = f.shape
    m = q.shape[1]
    y = np.broadcast_to(np.arange(k)[:, None], (k, m))  # int[k, m]  few_shot.lee:51
    out = cross_entropy(by_matching(f, q.reshape(k * m, d)), y.reshape(k * m))  # few_shot.lee:52
    return out


def matching_saved(f, q):
    """As matching, and what its gradient needs."""
    k, _, d = f.shape
    m = q.shape[1]
    y = np.broadcast_to(np.arange(k)[:, None], (k, m))  # int[k, m]  few_shot.lee:51
    log, saved_by_matching = by_matching_saved(f, q.reshape(k * m, d))  # few_shot.lee:52
    return cross_entropy(log, y.reshape(k * m)), (log, saved_by_matching)


def matching_backward(f, q, saved, d_y):
    """From d_y to the gradients by f and q."""
    log, saved_by_matching = saved
    k, _, d = f.shape
    m = q.shape[1]
    # gradient of y[i in k, j in m] = i   few_shot.lee:51
    y = np.broadcast_to(np.arange(k)[:, None], (k, m))  # int[k, m]
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
    fill = np.ones(k * s, dtype=FLOAT)  # [k * s]
    same = contrastive(f_flat, q.reshape(k * s, d), fill, margin=margin)
    other = q[inside((np.arange(k) + 1) % k)]  # [k, s, d]  few_shot.lee:58
    fill_2 = np.zeros(k * s, dtype=FLOAT)  # [k * s]  few_shot.lee:59
    mean = contrastive(f_flat, other.reshape(k * s, d), fill_2, margin=margin)
    return same + mean


def siamese_saved(f, q, margin=1.0):
    """As siamese, and what its gradient needs."""
    k, s, d = f.shape
    f_flat = f.reshape(k * s, d)  # [k * s, d]  few_shot.lee:57
    fill = np.ones(k * s, dtype=FLOAT)  # [k * s]
    same, saved_contrastive = contrastive_saved(f_flat, q.reshape(k * s, d), fill, margin=margin)
    mod = (np.arange(k) + 1) % k  # int[k]  few_shot.lee:58
    other = q[inside(mod)]  # [k, s, d]
    fill_2 = np.zeros(k * s, dtype=FLOAT)  # [k * s]  few_shot.lee:59
    mean, saved_contrastive_ = contrastive_saved(f_flat, other.reshape(k * s, d), fill_2, margin=margin)
    return same + mean, (saved_contrastive, mod, saved_contrastive_)


def siamese_backward(saved, s, d_y):
    """From d_y to the gradients by f and q."""
    saved_contrastive, mod, saved_contrastive_ = saved
    k = mod.shape[0]
    d = saved_contrastive[0].shape[1]
    # gradient of return same + contrastive(reshape(f, [k * s, d]), reshape(other, [k * s, d]),..   few_shot.lee:59
    d_f_flat_2, d_other_flat = contrastive_backward(np.zeros(k * s, dtype=FLOAT), saved_contrastive_, d_y)
    d_other = d_other_flat.reshape(k, s, d)  # [k, s, d]
    # gradient of same = contrastive(reshape(f, [k * s, d]), reshape(q, [k * s, d]), ones([k * ..   few_shot.lee:57
    d_f_flat_3, d_q_flat = contrastive_backward(np.ones(k * s, dtype=FLOAT), saved_contrastive, d_y)
    d_f = (d_f_flat_2 + d_f_flat_3).reshape(k, s, d)  # [k, s, d]
    d_q = scatter_add(d_other, (mod,), (k, s, d)) + d_q_flat.reshape(k, s, d)  # [k, s, d]
    return d_f, d_q


def right(f, q):
    """The share of query examples whose nearest prototype is that of their class.

    f [k, s, d], q [k, m, d] -> []
    """
    k, _, d = f.shape
    m = q.shape[1]
    y = np.broadcast_to(np.arange(k)[:, None], (k, m))  # int[k, m]  few_shot.lee:64
    out = accuracy(near_prototypes(f, q.reshape(k * m, d)), y.reshape(k * m))  # few_shot.lee:65
    return out


def few_shot(rounds=100, ways=5, shots=1, rate=1e-3, *, run=None):
    """`by` is prototypes, matching or siamese; `before` is what the first weights give.

    Made for by = 'prototypes': with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("few_shot")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 64, 32), key=run.key("net"))  # few_shot.lee:74
    start = net.copy()  # few_shot.lee:75
    opt = Adam(lr=rate)  # few_shot.lee:76
    for round_ in run.loop("round", 1, rounds, net=net, opt=opt):
        run.step(few_shot_step(net, opt, data.train.x, data.train.y, shots, ways, key=run.key("few_shot")))
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


def few_shot_step(net, opt, data_train_x, data_train_y, shots, ways, key):
    """One step of few_shot."""
    key_2 = fold(key, SITES["episode"])  # few_shot.lee:78
    support, query = episode(data_train_x, data_train_y, key_2, ways=ways, shots=shots)
    reshape_4, saved_net = net.forward_saved(support)  # few_shot.lee:80
    reshape_4_2, saved_net_ = net.forward_saved(query)
    loss, saved_prototypical = prototypical_saved(reshape_4, reshape_4_2)
    d_reshape_4, d_reshape_4_2 = prototypical_backward(saved_prototypical, shots, shots, FLOAT(1.0))
    d_net = net.forward_backward_parameters(query, saved_net_, d_reshape_4_2)
    d_net_ = net.forward_backward_parameters(support, saved_net, d_reshape_4)
    opt.update(
        net.parameters,
        net.flat(
            {
                "layers.0": {
                    "w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"],
                    "b": d_net["layers.0"]["b"] + d_net_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"],
                    "b": d_net["layers.1"]["b"] + d_net_["layers.1"]["b"],
                },
            }
        ),
    )
    return loss


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
    d_f, d_q = prototypical_backward(saved_prototypical, 5, 2, FLOAT(1.0))
    return value, d_f, d_q


def example_by_votes(key):
    f = normal(fold(key, SITES["f"]), (3, 2, 4), FLOAT)  # [3, 2, 4]  few_shot.lee:111
    q = normal(fold(key, SITES["q"]), (3, 5, 4), FLOAT)  # [3, 5, 4]  few_shot.lee:112
    value, saved_matching = matching_saved(f, q)  # few_shot.lee:113
    d_f, d_q = matching_backward(f, q, saved_matching, FLOAT(1.0))
    return value, d_f, d_q


def example_in_pairs(key):
    f = 0.2 * normal(fold(key, SITES["f"]), (3, 2, 4), FLOAT)  # [3, 2, 4]  few_shot.lee:117
    q = 0.2 * normal(fold(key, SITES["q"]), (3, 2, 4), FLOAT)  # [3, 2, 4]  few_shot.lee:118
    value, saved_siamese = siamese_saved(f, q)  # few_shot.lee:119
    d_f, d_q = siamese_backward(saved_siamese, 2, FLOAT(1.0))
    return value, d_f, d_q


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
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
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
    return d_each  # [each_0]


@packed(None, z=(0, 2), y=(0, 1))
def accuracy(z, y):
    """The share of rows whose largest score is at the right class.

    z [.., k], y int[..] -> []
    """
    return (z.argmax(axis=1) == y).astype(FLOAT).mean()  # metrics.lee:9


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
        """x [x_0, x_1, sizes_0] -> [x_0, x_1, sizes_2]"""
        x_0, x_1, _ = x.shape
        add = self.layers[0](x.reshape(x_0 * x_1, self.sizes[0]))  # [x_0 * x_1, sizes_1]  nn.lee:41
        x_2 = relu_2(add.reshape(x_0, x_1, self.sizes[1]))  # [x_0, x_1, sizes_1]
        add_2 = self.layers[1](x_2.reshape(x_0 * x_1, self.sizes[1]))  # [x_0 * x_1, sizes_2]  nn.lee:42
        return add_2.reshape(x_0, x_1, self.sizes[2])  # [x_0, x_1, sizes_2]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_0, x_1, _ = x.shape
        add = self.layers[0](x.reshape(x_0 * x_1, self.sizes[0]))  # [x_0 * x_1, sizes_1]  nn.lee:41
        x_2 = relu_2(add.reshape(x_0, x_1, self.sizes[1]))  # [x_0, x_1, sizes_1]
        add_2 = self.layers[1](x_2.reshape(x_0 * x_1, self.sizes[1]))  # [x_0 * x_1, sizes_2]  nn.lee:42
        return add_2.reshape(x_0, x_1, self.sizes[2]), x_2

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        x_0, x_1, _ = x.shape
        # gradient of return layers[-1](x)   nn.lee:42
        reshape = x_2.reshape(x_0 * x_1, self.sizes[1])  # [x_0 * x_1, sizes_1]
        d_add_2 = d_y.reshape(x_0 * x_1, self.sizes[2])  # [x_0 * x_1, sizes_2]
        d_layers_1_, d_reshape_3 = self.layers[1].forward_backward(reshape, d_add_2)
        d_x_2 = d_reshape_3.reshape(x_0, x_1, self.sizes[1])  # [x_0, x_1, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_reshape_2 = relu_2_backward(x_2, d_x_2)  # [x_0, x_1, sizes_1]
        d_add = d_reshape_2.reshape(x_0 * x_1, self.sizes[1])  # [x_0 * x_1, sizes_1]
        x_flat = x.reshape(x_0 * x_1, self.sizes[0])  # [x_0 * x_1, sizes_0]
        d_layers_0 = Linear.forward_backward_parameters(x_flat, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


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

    x [x_0] -> [x_0]
    """
    return np.maximum(x, 0)  # [x_0]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0]
    return d_x  # [x_0]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1] -> [x_0]
    """
    return np.sqrt((x**2).sum(axis=1))  # [x_0]  prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(axis=1)  # [x_0]  prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * ((d_y * 0.5 / np.where(sum_ > 0, sqrt, np.inf))[:, None] * x)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0, x_1, x_2] -> [x_0, x_1]
    """
    return np.sqrt((x**2).sum(axis=2))  # [x_0, x_1]  prelude.lee:163


def norm_2_saved(x):
    """As norm_2, and what its gradient needs."""
    sum_ = (x**2).sum(axis=2)  # [x_0, x_1]  prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_2_backward(x, sum_, sqrt, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    reshape = (d_y * 0.5 / np.where(sum_ > 0, sqrt, np.inf))[:, :, None]  # [x_0, x_1, 1]
    d_x = 2 * (reshape * x)  # [x_0, x_1, x_2]
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


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))), shifted by the maximum; of nothing, or of -inf alone, it is -inf."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return total if keepdims else total.squeeze(axes)


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
