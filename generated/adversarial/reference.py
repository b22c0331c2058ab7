"""Generation by two players (inventory H11 to H23): a generator makes, a discriminator judges.

Made from specs/generative/adversarial.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generative/adversarial.lee
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


def discriminates_saved(judge, real, fake):
    """As discriminates, and what its gradient needs."""
    add_2, saved_judge = judge.forward_saved(real)  # adversarial.lee:15
    log_sigmoid = np.minimum(add_2, 0) - np.log1p(np.exp(-np.abs(add_2)))  # [n, judge.sizes_2]
    add_2_2, saved_judge_ = judge.forward_saved(fake)
    log_sigmoid_2 = np.minimum(-add_2_2, 0) - np.log1p(np.exp(-np.abs(-add_2_2)))  # [m, judge.sizes_2]
    return -(log_sigmoid.mean() + log_sigmoid_2.mean()), (add_2, saved_judge, saved_judge_, -add_2_2)


def discriminates_backward(judge, real, fake, saved, d_add):
    """From d_add to the gradients by judge, real and fake."""
    add_2, saved_judge, saved_judge_, neg = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    sigmoid = np.exp(np.minimum(-neg, 0)) / (1 + np.exp(-np.abs(-neg)))  # [m, judge.sizes_2]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_add_2_2 = -(-d_add / (judge.sizes[2] * m) * sigmoid)  # [m, judge.sizes_2]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    d_judge, d_fake = judge.forward_backward(fake, saved_judge_, d_add_2_2)
    sigmoid_2 = np.exp(np.minimum(-add_2, 0)) / (1 + np.exp(-np.abs(-add_2)))  # [n, judge.sizes_2]
    d_add_2 = -d_add / (judge.sizes[2] * n) * sigmoid_2  # [n, judge.sizes_2]
    d_judge_, d_real = judge.forward_backward(real, saved_judge, d_add_2)
    d_judge_layers_0_w = d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]  # [judge.sizes_0, judge.sizes_1]
    d_judge_layers_0_b = d_judge["layers.0"]["b"] + d_judge_["layers.0"]["b"]  # [judge.sizes_1]
    d_judge_layers_1_w = d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]  # [judge.sizes_1, judge.sizes_2]
    d_judge_layers_1_b = d_judge["layers.1"]["b"] + d_judge_["layers.1"]["b"]  # [judge.sizes_2]
    return (
        {
            "layers.0": {"w": d_judge_layers_0_w, "b": d_judge_layers_0_b},
            "layers.1": {"w": d_judge_layers_1_w, "b": d_judge_layers_1_b},
        },
        d_real,
        d_fake,
    )


def discriminates_backward_2(judge, real, fake, saved, d_add):
    """From d_add to the gradients by judge and real."""
    add_2, saved_judge, saved_judge_, neg = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    sigmoid = np.exp(np.minimum(-neg, 0)) / (1 + np.exp(-np.abs(-neg)))  # [m, judge.sizes_2]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_add_2_2 = -(-d_add / (judge.sizes[2] * m) * sigmoid)  # [m, judge.sizes_2]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    d_judge = judge.forward_backward_parameters(fake, saved_judge_, d_add_2_2)
    sigmoid_2 = np.exp(np.minimum(-add_2, 0)) / (1 + np.exp(-np.abs(-add_2)))  # [n, judge.sizes_2]
    d_add_2 = -d_add / (judge.sizes[2] * n) * sigmoid_2  # [n, judge.sizes_2]
    d_judge_, d_real = judge.forward_backward(real, saved_judge, d_add_2)
    d_judge_layers_0_w = d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]  # [judge.sizes_0, judge.sizes_1]
    d_judge_layers_0_b = d_judge["layers.0"]["b"] + d_judge_["layers.0"]["b"]  # [judge.sizes_1]
    d_judge_layers_1_w = d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]  # [judge.sizes_1, judge.sizes_2]
    d_judge_layers_1_b = d_judge["layers.1"]["b"] + d_judge_["layers.1"]["b"]  # [judge.sizes_2]
    return {
        "layers.0": {"w": d_judge_layers_0_w, "b": d_judge_layers_0_b},
        "layers.1": {"w": d_judge_layers_1_w, "b": d_judge_layers_1_b},
    }, d_real


def discriminates_backward_parameters(judge, real, fake, saved, d_add):
    """From d_add to the gradient by judge."""
    add_2, saved_judge, saved_judge_, neg = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    sigmoid = np.exp(np.minimum(-neg, 0)) / (1 + np.exp(-np.abs(-neg)))  # [m, judge.sizes_2]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_add_2_2 = -(-d_add / (judge.sizes[2] * m) * sigmoid)  # [m, judge.sizes_2]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    d_judge = judge.forward_backward_parameters(fake, saved_judge_, d_add_2_2)
    sigmoid_2 = np.exp(np.minimum(-add_2, 0)) / (1 + np.exp(-np.abs(-add_2)))  # [n, judge.sizes_2]
    d_add_2 = -d_add / (judge.sizes[2] * n) * sigmoid_2  # [n, judge.sizes_2]
    d_judge_ = judge.forward_backward_parameters(real, saved_judge, d_add_2)
    d_judge_layers_0_w = d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]  # [judge.sizes_0, judge.sizes_1]
    d_judge_layers_0_b = d_judge["layers.0"]["b"] + d_judge_["layers.0"]["b"]  # [judge.sizes_1]
    d_judge_layers_1_w = d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]  # [judge.sizes_1, judge.sizes_2]
    d_judge_layers_1_b = d_judge["layers.1"]["b"] + d_judge_["layers.1"]["b"]  # [judge.sizes_2]
    return {
        "layers.0": {"w": d_judge_layers_0_w, "b": d_judge_layers_0_b},
        "layers.1": {"w": d_judge_layers_1_w, "b": d_judge_layers_1_b},
    }


def saturating_saved(judge, fake):
    """As saturating, and what its gradient needs."""
    add_2, saved_judge = judge.forward_saved(fake)  # adversarial.lee:20
    log_sigmoid = np.minimum(-add_2, 0) - np.log1p(np.exp(-np.abs(-add_2)))  # [n, judge.sizes_2]
    return log_sigmoid.mean(), (saved_judge, -add_2)


def saturating_backward(judge, fake, saved, d_mean):
    """From d_mean to the gradients by judge and fake."""
    saved_judge, neg = saved
    n = fake.shape[0]
    # gradient of return mean(log(1 - sigmoid(judge(fake))))   adversarial.lee:20
    sigmoid = np.exp(np.minimum(-neg, 0)) / (1 + np.exp(-np.abs(-neg)))  # [n, judge.sizes_2]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_add_2 = -(d_mean / (judge.sizes[2] * n) * sigmoid)  # [n, judge.sizes_2]
    # gradient of return mean(log(1 - sigmoid(judge(fake))))   adversarial.lee:20
    d_judge, d_fake = judge.forward_backward(fake, saved_judge, d_add_2)
    return d_judge, d_fake


def non_saturating_saved(judge, fake):
    """As non_saturating, and what its gradient needs."""
    add_2, saved_judge = judge.forward_saved(fake)  # adversarial.lee:25
    log_sigmoid = np.minimum(add_2, 0) - np.log1p(np.exp(-np.abs(add_2)))  # [n, judge.sizes_2]
    return -log_sigmoid.mean(), (add_2, saved_judge)


def non_saturating_backward(judge, fake, saved, d_mean):
    """From d_mean to the gradients by judge and fake."""
    add_2, saved_judge = saved
    n = fake.shape[0]
    # gradient of return mean(-log(sigmoid(judge(fake))))   adversarial.lee:25
    sigmoid = np.exp(np.minimum(-add_2, 0)) / (1 + np.exp(-np.abs(-add_2)))  # [n, judge.sizes_2]
    d_add_2 = -(d_mean / (judge.sizes[2] * n)) * sigmoid  # [n, judge.sizes_2]
    d_judge, d_fake = judge.forward_backward(fake, saved_judge, d_add_2)
    return d_judge, d_fake


def non_saturating_backward_input(judge, saved, d_mean):
    """From d_mean to the gradient by fake."""
    add_2, saved_judge = saved
    n = add_2.shape[0]
    # gradient of return mean(-log(sigmoid(judge(fake))))   adversarial.lee:25
    sigmoid = np.exp(np.minimum(-add_2, 0)) / (1 + np.exp(-np.abs(-add_2)))  # [n, judge.sizes_2]
    d_add_2 = -(d_mean / (judge.sizes[2] * n)) * sigmoid  # [n, judge.sizes_2]
    d_fake = judge.forward_backward_input(saved_judge, d_add_2)  # [n, judge.sizes_0]
    return d_fake  # [n, judge.sizes_0]


def gan(epochs=200, batch=64, rate=1e-3, latent=16, hidden=128, *, run=None):
    """In turn: D learns while G is fixed, G while D is fixed."""
    from leec.runtime.run import Run

    run = run or Run("gan")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator"))  # adversarial.lee:31
    judge = MLP(sizes=(64, hidden, 1), key=run.key("judge"))  # adversarial.lee:32
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:33
    opt_d = Adam(lr=rate, beta1=0.5)  # adversarial.lee:34
    for epoch in run.loop("epoch", 1, epochs, generator=generator, judge=judge, opt_d=opt_d, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            loss, loss_1 = gan_step(judge, generator, opt_d, opt_g, x, key=run.key("gan"))  # adversarial.lee:37
            run.step(loss)
            run.step(loss_1, "loss_1")
    z = gan_z(data.train.x, latent, key=run.key("gan"))  # adversarial.lee:40
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:41
    return generator


def gan_step(judge, generator, opt_d, opt_g, x, key):
    """One step of gan."""
    batches_n = x.shape[0]
    latent = generator.layers[0].w.shape[0]
    z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT)  # [batches_n, latent]  adversarial.lee:37
    add_2, saved_generator = generator.forward_saved(z)  # adversarial.lee:38
    graft = stop(add_2)  # [batches_n, 64]
    loss, saved_discriminates = discriminates_saved(judge, x, graft)
    d_loss = FLOAT(1.0)
    d_judge = discriminates_backward_parameters(judge, x, graft, saved_discriminates, d_loss)
    opt_d.update(judge.parameters, judge.flat(d_judge))
    loss_1, saved_non_saturating = non_saturating_saved(judge, add_2)  # adversarial.lee:39
    d_add_2 = non_saturating_backward_input(judge, saved_non_saturating, d_loss)  # [batches_n, 64]
    d_generator = generator.forward_backward_parameters(z, saved_generator, d_add_2)  # adversarial.lee:38
    opt_g.update(generator.parameters, generator.flat(d_generator))  # adversarial.lee:39
    return loss, loss_1


def gan_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    z = normal(fold(key, SITES["z#2"]), (data_train_n, latent), FLOAT)  # [data_train_n, latent]  adversarial.lee:40
    return z  # [data_train_n, latent]


def best_judge(p, q):
    """With G fixed, the best D is P / (P + Q).

    p [k], q [k] -> [k]
    """
    return p / (p + q)  # [k]  adversarial.lee:50


def best_judge_saved(p, q):
    """As best_judge, and what its gradient needs."""
    add = p + q  # [k]  adversarial.lee:50
    return p / add, add


def best_judge_backward(add, div, d_y):
    """From d_y to the gradients by p and q."""
    # gradient of return p / (p + q)   adversarial.lee:50
    d_q = -(d_y * div / add)  # [k]
    d_p = d_y / add + d_q  # [k]
    return d_p, d_q


def value_of_game(p, q, d):
    """Σ P log D + Q log (1 - D); at the best D it is -2 log 2 + 2 JSD(P ‖ Q).

    p [k], q [k], d [k] -> []
    """
    masked_2 = masked(q * np.log(1 - d), q > 0)  # [k]  adversarial.lee:55
    return (masked(p * np.log(d), p > 0) + masked_2).sum()


def value_of_game_saved(p, q, d):
    """As value_of_game, and what its gradient needs."""
    gt = p > 0  # bool[k]  adversarial.lee:55
    log = np.log(d)  # [k]
    gt_2 = q > 0  # bool[k]
    guard_3 = 1 - d  # [k]
    log_2 = np.log(guard_3)  # [k]
    return (masked(p * log, gt) + masked(q * log_2, gt_2)).sum(), (gt, log, gt_2, guard_3, log_2)


def value_of_game_backward(p, q, d, saved, d_y):
    """From d_y to the gradients by p, q and d."""
    gt, log, gt_2, guard_3, log_2 = saved
    # gradient of return sum(where(p > 0, p * log(d), 0) + where(q > 0, q * log(1 - d), 0))   adversarial.lee:55
    d_q = masked(d_y * log_2, gt_2)  # [k]
    d_p = masked(d_y * log, gt)  # [k]
    d_d = masked(-(d_y * q / guard_3), gt_2) + masked(d_y * p / d, gt)  # [k]
    return d_p, d_q, d_d


def jensen_shannon(p, q):
    """Half of KL(P ‖ M) + KL(Q ‖ M), M in the middle: log 2 wherever P and Q do not meet, however near they are.

    p [k], q [k] -> []
    """
    m = (p + q) / 2  # [k]  adversarial.lee:60
    masked_ = masked(p * np.log(p / m), p > 0)  # [k]  adversarial.lee:61
    return 0.5 * (masked_ + masked(q * np.log(q / m), q > 0)).sum()


def jensen_shannon_saved(p, q):
    """As jensen_shannon, and what its gradient needs."""
    m = (p + q) / 2  # [k]  adversarial.lee:60
    gt = p > 0  # bool[k]  adversarial.lee:61
    div = p / m  # [k]
    log = np.log(div)  # [k]
    gt_2 = q > 0  # bool[k]
    div_2 = q / m  # [k]
    log_2 = np.log(div_2)  # [k]
    return 0.5 * (masked(p * log, gt) + masked(q * log_2, gt_2)).sum(), (gt, m, div, log, gt_2, div_2, log_2)


def jensen_shannon_backward(p, q, saved, d_y):
    """From d_y to the gradients by p and q."""
    gt, m, div, log, gt_2, div_2, log_2 = saved
    # gradient of return 0.5 * sum(where(p > 0, p * log(p / m), 0) + where(q > 0, q * log(q / m..   adversarial.lee:61
    d_sum = d_y * 0.5
    div_3 = d_sum * q / div_2  # [k]
    d_guard_3 = masked(d_sum * log_2, gt_2) + masked(div_3 / m, gt_2)  # [k]
    div_6 = d_sum * p / div  # [k]
    # gradient of m = (p + q) / 2   adversarial.lee:60
    d_m = masked(-(div_3 * div_2 / m), gt_2) + masked(-(div_6 * div / m), gt)  # [k]
    d_add = d_m / 2  # [k]
    d_p = masked(masked(d_sum * log, gt) + masked(div_6 / m, gt), gt) + d_add  # [k]
    d_q = masked(d_guard_3, gt_2) + d_add  # [k]
    return d_p, d_q


def negatives(judge, start, rate=0.1, steps=5):
    """D fixed, inputs climb to where it scores high.

    start [n, judge.sizes_0] -> [n, judge.sizes_0]
    """
    # adversarial.lee:70
    for k in range(steps):
        start = negatives_step(judge, start, rate)
    return start  # [n, judge.sizes_0]


def negatives_saved(judge, start, rate=0.1, steps=5):
    """As negatives, and what its gradient needs."""
    saved_negatives_step = [None] * steps  # adversarial.lee:70
    for k in range(steps):
        start, saved_negatives_step[k] = negatives_step_saved(judge, start, rate)
    return start, saved_negatives_step


def negatives_backward(judge, rate, saved_negatives_step, steps, d_x_3):
    """From d_add_rows and d_x_3 to the gradients by judge and start."""
    # gradient of for k in steps:   adversarial.lee:70
    d_judge = {
        "layers.0": {"w": np.zeros((judge.sizes[0], judge.sizes[1]), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((judge.sizes[1], judge.sizes[2]), dtype=FLOAT)},
    }
    for k in reversed(range(steps)):
        d_x_3, d_judge = negatives_step_backward(judge, rate, saved_negatives_step[k], d_x_3, d_judge)
    return d_judge, d_x_3


def negatives_step(judge, x, rate):
    """x [n, judge.sizes_0] -> [n, judge.sizes_0]"""
    n = x.shape[0]
    _, saved_judge = judge.forward_saved(x)  # adversarial.lee:71
    d_add_2 = np.ones((n, judge.sizes[2]), dtype=FLOAT)  # [n, judge.sizes_2]
    x_2 = x + rate * judge.forward_backward_input(saved_judge, d_add_2)  # [n, judge.sizes_0]
    return x_2  # [n, judge.sizes_0]


def negatives_step_saved(judge, x, rate):
    """As negatives_step, and what its gradient needs."""
    n = x.shape[0]
    _, saved_judge = judge.forward_saved(x)  # adversarial.lee:71
    d_add_2 = np.ones((n, judge.sizes[2]), dtype=FLOAT)  # [n, judge.sizes_2]
    d_x, saved_judge_ = judge.forward_backward_input_saved(saved_judge, d_add_2)
    x_2 = x + rate * d_x  # [n, judge.sizes_0]
    return x_2, saved_judge_


def negatives_step_backward(judge, rate, saved_judge_, d_x_2, d_judge):
    """From d_add, d_x_2 and d_judge to the gradients by x and judge."""
    n = d_x_2.shape[0]
    # gradient of x = x + rate * grad(sum(judge(x)), x)   adversarial.lee:71
    d_add_2 = np.ones((n, judge.sizes[2]), dtype=FLOAT)  # [n, judge.sizes_2]
    d_d_x = d_x_2 * rate  # [n, judge.sizes_0]
    d_judge_ = judge.forward_backward_input_backward_parameters(d_add_2, saved_judge_, d_d_x)
    return d_x_2, {
        "layers.0": {"w": d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]},
        "layers.1": {"w": d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]},
    }


def against_own_saved(judge, real, start):
    """As against_own, and what its gradient needs."""
    graft = stop(negatives(judge, start))  # [n, judge.sizes_0]  adversarial.lee:77
    add, saved_discriminates = discriminates_saved(judge, real, graft)
    return add, (graft, saved_discriminates)


def against_own_backward(judge, real, saved, d_add):
    """From d_add to the gradients by judge and real."""
    graft, saved_discriminates = saved
    # gradient of return discriminates(judge, real, stop(negatives(judge, start)))   adversarial.lee:77
    d_judge, d_real = discriminates_backward_2(judge, real, graft, saved_discriminates, d_add)
    return d_judge, d_real


def wasserstein_saved(critic, real, fake):
    """As wasserstein, and what its gradient needs."""
    add_2, saved_critic = critic.forward_saved(fake)  # adversarial.lee:85
    add_2_2, saved_critic_ = critic.forward_saved(real)
    return add_2.mean() - add_2_2.mean(), (saved_critic, saved_critic_)


def wasserstein_backward(critic, real, fake, saved, d_sub):
    """From d_sub to the gradients by critic, real and fake."""
    saved_critic, saved_critic_ = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return mean(critic(fake)) - mean(critic(real))   adversarial.lee:85
    neg = -(d_sub / (critic.sizes[2] * n))
    d_add_2_2 = np.broadcast_to(neg, (n, critic.sizes[2]))  # [n, critic.sizes_2]
    d_critic, d_real = critic.forward_backward(real, saved_critic_, d_add_2_2)
    div_2 = d_sub / (critic.sizes[2] * m)
    d_add_2 = np.broadcast_to(div_2, (m, critic.sizes[2]))  # [m, critic.sizes_2]
    d_critic_, d_fake = critic.forward_backward(fake, saved_critic, d_add_2)
    d_critic_layers_0_w = d_critic["layers.0"]["w"] + d_critic_["layers.0"]["w"]  # [critic.sizes_0, critic.sizes_1]
    d_critic_layers_0_b = d_critic["layers.0"]["b"] + d_critic_["layers.0"]["b"]  # [critic.sizes_1]
    d_critic_layers_1_w = d_critic["layers.1"]["w"] + d_critic_["layers.1"]["w"]  # [critic.sizes_1, critic.sizes_2]
    d_critic_layers_1_b = d_critic["layers.1"]["b"] + d_critic_["layers.1"]["b"]  # [critic.sizes_2]
    return (
        {
            "layers.0": {"w": d_critic_layers_0_w, "b": d_critic_layers_0_b},
            "layers.1": {"w": d_critic_layers_1_w, "b": d_critic_layers_1_b},
        },
        d_real,
        d_fake,
    )


def wasserstein_backward_parameters(critic, real, fake, saved, d_sub):
    """From d_sub to the gradient by critic."""
    saved_critic, saved_critic_ = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return mean(critic(fake)) - mean(critic(real))   adversarial.lee:85
    neg = -(d_sub / (critic.sizes[2] * n))
    d_add_2_2 = np.broadcast_to(neg, (n, critic.sizes[2]))  # [n, critic.sizes_2]
    d_critic = critic.forward_backward_parameters(real, saved_critic_, d_add_2_2)
    div_2 = d_sub / (critic.sizes[2] * m)
    d_add_2 = np.broadcast_to(div_2, (m, critic.sizes[2]))  # [m, critic.sizes_2]
    d_critic_ = critic.forward_backward_parameters(fake, saved_critic, d_add_2)
    d_critic_layers_0_w = d_critic["layers.0"]["w"] + d_critic_["layers.0"]["w"]  # [critic.sizes_0, critic.sizes_1]
    d_critic_layers_0_b = d_critic["layers.0"]["b"] + d_critic_["layers.0"]["b"]  # [critic.sizes_1]
    d_critic_layers_1_w = d_critic["layers.1"]["w"] + d_critic_["layers.1"]["w"]  # [critic.sizes_1, critic.sizes_2]
    d_critic_layers_1_b = d_critic["layers.1"]["b"] + d_critic_["layers.1"]["b"]  # [critic.sizes_2]
    return {
        "layers.0": {"w": d_critic_layers_0_w, "b": d_critic_layers_0_b},
        "layers.1": {"w": d_critic_layers_1_w, "b": d_critic_layers_1_b},
    }


def clipped(critic, bound):
    """Every weight between -c and c: the first way to keep D smooth."""
    mlp = clip(critic, -bound, bound)  # adversarial.lee:90
    return mlp.copy()


def clipped_saved(critic, bound):
    """As clipped, and what its gradient needs."""
    mlp, saved_clip = clip_saved(critic, -bound, bound)  # adversarial.lee:90
    return mlp.copy(), saved_clip


def clipped_backward(critic, bound, saved_clip, d_mlp):
    """From d_mlp to the gradient by critic."""
    # gradient of return clip(critic, -bound, bound)   adversarial.lee:90
    d_critic = clip_backward(critic, -bound, bound, saved_clip, d_mlp)
    return d_critic


def wgan(epochs=60, batch=64, rate=1e-3, latent=16, hidden=128, turns=5, bound=0.05, *, run=None):
    """The critic's slope is bounded by clipping its weights; it takes several steps for one of the generator."""
    from leec.runtime.run import Run

    run = run or Run("wgan")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator"))  # adversarial.lee:96
    critic = MLP(sizes=(64, hidden, 1), key=run.key("critic"))  # adversarial.lee:97
    opt_g = RMSProp(lr=rate)  # adversarial.lee:98
    opt_c = RMSProp(lr=rate)  # adversarial.lee:99
    for epoch in run.loop("epoch", 1, epochs, critic=critic, generator=generator, opt_c=opt_c, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            for turn in run.loop("turn", 1, turns, critic=critic, generator=generator, opt_c=opt_c):
                run.step(wgan_step(critic, generator, opt_c, x, bound, key=run.key("wgan")))  # adversarial.lee:103
            run.step(wgan_step_2(generator, critic, opt_g, x, key=run.key("wgan")))  # adversarial.lee:106
    z = wgan_z(data.train.x, latent, key=run.key("wgan"))  # adversarial.lee:108
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:109
    return generator, critic


def wgan_step(critic, generator, opt_c, x, bound, key):
    """One step of wgan."""
    batches_n = x.shape[0]
    latent = generator.layers[0].w.shape[0]
    z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT)  # [batches_n, latent]  adversarial.lee:103
    graft = stop(generator(z))  # [batches_n, 64]  adversarial.lee:104
    loss, saved_wasserstein = wasserstein_saved(critic, x, graft)
    d_loss = FLOAT(1.0)
    d_critic = wasserstein_backward_parameters(critic, x, graft, saved_wasserstein, d_loss)
    opt_c.update(critic.parameters, critic.flat(d_critic))
    mlp = clipped(critic, bound)  # adversarial.lee:105
    critic.layers[0].w[...] = mlp.layers[0].w  # [64, hidden]
    critic.layers[0].b[...] = mlp.layers[0].b  # [hidden]
    critic.layers[1].w[...] = mlp.layers[1].w  # [hidden, 1]
    critic.layers[1].b[...] = mlp.layers[1].b  # [1]
    return loss  # adversarial.lee:104


def wgan_step_2(generator, critic, opt_g, x, key):
    """One step of wgan."""
    batches_n = x.shape[0]
    latent = generator.layers[0].w.shape[0]
    z = normal(fold(key, SITES["z#2"]), (batches_n, latent), FLOAT)  # [batches_n, latent]  adversarial.lee:106
    add_2, saved_generator = generator.forward_saved(z)  # adversarial.lee:107
    add_2_2, saved_critic = critic.forward_saved(add_2)
    d_add_2_2 = np.full((batches_n, 1), -1.0 / batches_n, dtype=FLOAT)  # [batches_n, 1]
    d_add_2 = critic.forward_backward_input(saved_critic, d_add_2_2)  # [batches_n, 64]
    d_generator = generator.forward_backward_parameters(z, saved_generator, d_add_2)
    opt_g.update(generator.parameters, generator.flat(d_generator))
    return -add_2_2.mean()


def wgan_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    z = normal(fold(key, SITES["z#3"]), (data_train_n, latent), FLOAT)  # [data_train_n, latent]  adversarial.lee:108
    return z  # [data_train_n, latent]


def gradient_penalty_saved(critic, real, fake, mix):
    """As gradient_penalty, and what its gradient needs."""
    n = real.shape[0]
    reshape = mix[:, None]  # [n, 1]  adversarial.lee:115
    between = reshape * real + (1 - reshape) * fake  # [n, critic.sizes_0]
    _, saved_critic = critic.forward_saved(between)  # adversarial.lee:116
    d_add_2 = np.ones((n, critic.sizes[2]), dtype=FLOAT)  # [n, critic.sizes_2]
    slope, saved_critic_ = critic.forward_backward_input_saved(saved_critic, d_add_2)
    sqrt, saved_norm = norm_saved(slope)  # adversarial.lee:117
    sub_2 = sqrt - 1  # [n]
    return (sub_2**2).mean(), (slope, saved_critic_, sqrt, saved_norm, sub_2)


def gradient_penalty_backward_parameters(critic, saved, d_mean):
    """From d_add and d_mean to the gradient by critic."""
    slope, saved_critic_, sqrt, saved_norm, sub_2 = saved
    n = slope.shape[0]
    # gradient of return mean((norm(slope, axis = 1) - 1) ** 2)   adversarial.lee:117
    d_slope = norm_backward(slope, saved_norm, sqrt, 2 * (d_mean / n) * sub_2)  # [n, critic.sizes_0]
    # gradient of slope = grad(sum(critic(between)), between)   adversarial.lee:116
    d_add_2 = np.ones((n, critic.sizes[2]), dtype=FLOAT)  # [n, critic.sizes_2]
    d_critic = critic.forward_backward_input_backward_parameters(d_add_2, saved_critic_, d_slope)
    return d_critic


def wgan_gp(epochs=50, batch=64, rate=1e-3, latent=16, hidden=128, turns=5, weight=1e1, *, run=None):
    """The critic takes several steps for one of the generator: it is to be near the best one, whose slope says where to."""
    from leec.runtime.run import Run

    run = run or Run("wgan_gp")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator"))  # adversarial.lee:123
    critic = MLP(sizes=(64, hidden, 1), key=run.key("critic"))  # adversarial.lee:124
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:125
    opt_c = Adam(lr=rate, beta1=0.5)  # adversarial.lee:126
    for epoch in run.loop("epoch", 1, epochs, critic=critic, generator=generator, opt_c=opt_c, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            for turn in run.loop("turn", 1, turns, critic=critic, opt_c=opt_c):
                run.step(wgan_gp_step(generator, critic, opt_c, x, weight, key=run.key("wgan_gp")))
            run.step(wgan_gp_step_2(generator, critic, opt_g, x, key=run.key("wgan_gp")))  # adversarial.lee:135
    z = wgan_gp_z(data.train.x, latent, key=run.key("wgan_gp"))  # adversarial.lee:137
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:138
    return generator, critic


def wgan_gp_step(generator, critic, opt_c, x, weight, key):
    """One step of wgan_gp."""
    batches_n = x.shape[0]
    latent = generator.layers[0].w.shape[0]
    z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT)  # [batches_n, latent]  adversarial.lee:130
    mix = uniform(fold(key, SITES["mix"]), (batches_n,), FLOAT)  # [batches_n]  adversarial.lee:131
    fake = stop(generator(z))  # [batches_n, 64]  adversarial.lee:132
    penalty, saved_gradient_penalty = gradient_penalty_saved(critic, x, fake, mix)  # adversarial.lee:133
    sub, saved_wasserstein = wasserstein_saved(critic, x, fake)  # adversarial.lee:134
    d_penalty = FLOAT(weight)
    d_add_2 = FLOAT(1.0)
    d_critic = wasserstein_backward_parameters(critic, x, fake, saved_wasserstein, d_add_2)
    d_critic_ = gradient_penalty_backward_parameters(critic, saved_gradient_penalty, d_penalty)  # adversarial.lee:133
    # adversarial.lee:134
    opt_c.update(
        critic.parameters,
        critic.flat(
            {
                "layers.0": {
                    "w": d_critic["layers.0"]["w"] + d_critic_["layers.0"]["w"],
                    "b": d_critic["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_critic["layers.1"]["w"] + d_critic_["layers.1"]["w"],
                    "b": d_critic["layers.1"]["b"],
                },
            }
        ),
    )
    return sub + weight * penalty


def wgan_gp_step_2(generator, critic, opt_g, x, key):
    """One step of wgan_gp."""
    batches_n = x.shape[0]
    latent = generator.layers[0].w.shape[0]
    z = normal(fold(key, SITES["z#2"]), (batches_n, latent), FLOAT)  # [batches_n, latent]  adversarial.lee:135
    add_2, saved_generator = generator.forward_saved(z)  # adversarial.lee:136
    add_2_2, saved_critic = critic.forward_saved(add_2)
    d_add_2_2 = np.full((batches_n, 1), -1.0 / batches_n, dtype=FLOAT)  # [batches_n, 1]
    d_add_2 = critic.forward_backward_input(saved_critic, d_add_2_2)  # [batches_n, 64]
    d_generator = generator.forward_backward_parameters(z, saved_generator, d_add_2)
    opt_g.update(generator.parameters, generator.flat(d_generator))
    return -add_2_2.mean()


def wgan_gp_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    z = normal(fold(key, SITES["z#3"]), (data_train_n, latent), FLOAT)  # [data_train_n, latent]  adversarial.lee:137
    return z  # [data_train_n, latent]


def unit(v):
    """v [d] -> [d]"""
    return v / norm_2(v)  # [d]  adversarial.lee:146


class SpectralLinear(Model):
    """One step of power iteration a call, kept as state (Miyato et al. 2018)."""

    members = ("w", "b", "right")
    states = ("right",)

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        self.inputs, self.outputs = inputs, outputs
        self.w = normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]  adversarial.lee:151
        self.b = np.zeros(outputs, dtype=FLOAT)  # [outputs]  adversarial.lee:152
        self.right = normal(fold(key, SITES["right"]), (outputs,), FLOAT)  # [outputs]  adversarial.lee:153
        self.lay_out()

    def forward(self, x, training=False):
        """x [n, inputs] -> [n, outputs]"""
        if training:
            return self.forward_training(x)
        graft_2 = stop_2(self.right)  # [outputs]  adversarial.lee:158
        left = unit(stop(self.w) @ graft_2)  # [inputs]
        sigma = left @ self.w @ graft_2  # adversarial.lee:159
        return x @ (self.w / sigma) + self.b  # [n, outputs]  adversarial.lee:160

    def forward_training(self, x):
        """x [n, inputs] -> [n, outputs]"""
        graft = stop(self.w)  # [inputs, outputs]  adversarial.lee:157
        self.right[...] = unit(unit(graft @ self.right) @ graft)  # [outputs]
        graft_4 = stop_2(self.right)  # [outputs]  adversarial.lee:158
        left = unit(graft @ graft_4)  # [inputs]
        sigma = left @ self.w @ graft_4  # adversarial.lee:159
        return x @ (self.w / sigma) + self.b  # [n, outputs]  adversarial.lee:160

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        graft = stop(self.w)  # [inputs, outputs]  adversarial.lee:157
        self.right[...] = unit(unit(graft @ self.right) @ graft)  # [outputs]
        graft_4 = stop_2(self.right)  # [outputs]  adversarial.lee:158
        graft_4_2 = graft_4.copy()  # [outputs]
        left = unit(graft @ graft_4)  # [inputs]
        sigma = left @ self.w @ graft_4  # adversarial.lee:159
        div_3 = self.w / sigma  # [inputs, outputs]  adversarial.lee:160
        return x @ div_3 + self.b, (graft_4_2, left, sigma, div_3)

    @staticmethod
    def forward_backward(x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        graft_4_2, left, sigma, div_3 = saved
        # gradient of return x @ (w / sigma) + b   adversarial.lee:160
        d_b = d_y.sum(axis=0)  # [outputs]
        d_x = d_y @ div_3.T  # [n, inputs]
        d_div_3 = x.T @ d_y  # [inputs, outputs]
        d_sigma = -(d_div_3 * div_3 / sigma).sum()
        # gradient of sigma = left @ w @ stop(right)   adversarial.lee:159
        d_w = d_div_3 / sigma + left[:, None] * (d_sigma * graft_4_2)  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x

    @staticmethod
    def forward_backward_parameters(x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        graft_4_2, left, sigma, div_3 = saved
        # gradient of return x @ (w / sigma) + b   adversarial.lee:160
        d_b = d_y.sum(axis=0)  # [outputs]
        d_div_3 = x.T @ d_y  # [inputs, outputs]
        d_sigma = -(d_div_3 * div_3 / sigma).sum()
        # gradient of sigma = left @ w @ stop(right)   adversarial.lee:159
        d_w = d_div_3 / sigma + left[:, None] * (d_sigma * graft_4_2)  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_input(saved, d_y):
        """From d_y to the gradient by x."""
        _, _, _, div_3 = saved
        # gradient of return x @ (w / sigma) + b   adversarial.lee:160
        d_x = d_y @ div_3.T  # [n, inputs]
        return d_x  # [n, inputs]


class SpectralCritic(Model):
    """SpectralCritic(d, hidden)"""

    members = ("first", "second")

    def __init__(self, d, hidden, *, key=(0, 0)):
        self.d, self.hidden = d, hidden
        self.first = SpectralLinear(d, hidden, key=fold(key, SITES["first"]))  # adversarial.lee:164
        self.second = SpectralLinear(hidden, 1, key=fold(key, SITES["second"]))  # adversarial.lee:165
        self.lay_out()

    def forward(self, x, training=False):
        """x [n, d] -> [n, 1]"""
        if training:
            return self.forward_training(x)
        return self.second(leaky_relu(self.first(x), slope=0.2))  # [n, 1]  adversarial.lee:168

    def forward_training(self, x):
        """x [n, d] -> [n, 1]"""
        first_out = self.first(x, training=True)  # [n, hidden]  adversarial.lee:168
        y = self.second(leaky_relu(first_out, slope=0.2), training=True)  # [n, 1]
        return y  # [n, 1]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        first_out, saved_first = self.first.forward_saved(x)  # adversarial.lee:168
        select, saved_leaky_relu = leaky_relu_saved(first_out, slope=0.2)
        add_2, saved_second = self.second.forward_saved(select)
        return add_2, (saved_first, select, saved_leaky_relu, saved_second)

    @staticmethod
    def forward_backward(x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        saved_first, select, saved_leaky_relu, saved_second = saved
        # gradient of return second(leaky_relu(first(x), 0.2))   adversarial.lee:168
        d_second, d_select = SpectralLinear.forward_backward(select, saved_second, d_y)
        d_first_out = leaky_relu_backward(0.2, saved_leaky_relu, d_select)  # [n, hidden]
        d_first, d_x = SpectralLinear.forward_backward(x, saved_first, d_first_out)
        return {"first": d_first, "second": d_second}, d_x

    @staticmethod
    def forward_backward_parameters(x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        saved_first, select, saved_leaky_relu, saved_second = saved
        # gradient of return second(leaky_relu(first(x), 0.2))   adversarial.lee:168
        d_second, d_select = SpectralLinear.forward_backward(select, saved_second, d_y)
        d_first_out = leaky_relu_backward(0.2, saved_leaky_relu, d_select)  # [n, hidden]
        d_first = SpectralLinear.forward_backward_parameters(x, saved_first, d_first_out)
        return {"first": d_first, "second": d_second}

    @staticmethod
    def forward_backward_input(saved, d_y):
        """From d_y to the gradient by x."""
        saved_first, _, saved_leaky_relu, saved_second = saved
        # gradient of return second(leaky_relu(first(x), 0.2))   adversarial.lee:168
        d_select = SpectralLinear.forward_backward_input(saved_second, d_y)  # [n, hidden]
        d_first_out = leaky_relu_backward(0.2, saved_leaky_relu, d_select)  # [n, hidden]
        d_x = SpectralLinear.forward_backward_input(saved_first, d_first_out)  # [n, d]
        return d_x  # [n, d]


def hinge_saved(critic, real, fake):
    """As hinge, and what its gradient needs."""
    add_2, saved_critic = critic.forward_saved(real)  # adversarial.lee:172
    select = relu_2(1 - add_2)  # [n, 1]
    add_2_2, saved_critic_ = critic.forward_saved(fake)
    select_2 = relu_2(1 + add_2_2)  # [m, 1]
    return select.mean() + select_2.mean(), (saved_critic, select, saved_critic_, select_2)


def hinge_backward(real, fake, saved, d_add_3):
    """From d_add_3 to the gradients by critic, real and fake."""
    saved_critic, select, saved_critic_, select_2 = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return mean(relu(1 - critic(real))) + mean(relu(1 + critic(fake)))   adversarial.lee:172
    d_add = relu_2_backward(select_2, np.broadcast_to(d_add_3 / m, (m, 1)))  # [m, 1]
    d_critic, d_fake = SpectralCritic.forward_backward(fake, saved_critic_, d_add)
    d_sub = relu_2_backward(select, np.broadcast_to(d_add_3 / n, (n, 1)))  # [n, 1]
    d_critic_, d_real = SpectralCritic.forward_backward(real, saved_critic, -d_sub)
    d_critic_first_w = d_critic["first"]["w"] + d_critic_["first"]["w"]  # [critic.d, critic.hidden]
    d_critic_first_b = d_critic["first"]["b"] + d_critic_["first"]["b"]  # [critic.hidden]
    d_critic_second_w = d_critic["second"]["w"] + d_critic_["second"]["w"]  # [critic.hidden, 1]
    d_critic_second_b = d_critic["second"]["b"] + d_critic_["second"]["b"]  # [1]
    return (
        {
            "first": {"w": d_critic_first_w, "b": d_critic_first_b},
            "second": {"w": d_critic_second_w, "b": d_critic_second_b},
        },
        d_real,
        d_fake,
    )


def hinge_backward_parameters(real, fake, saved, d_add_3):
    """From d_add_3 to the gradient by critic."""
    saved_critic, select, saved_critic_, select_2 = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return mean(relu(1 - critic(real))) + mean(relu(1 + critic(fake)))   adversarial.lee:172
    d_add = relu_2_backward(select_2, np.broadcast_to(d_add_3 / m, (m, 1)))  # [m, 1]
    d_critic = SpectralCritic.forward_backward_parameters(fake, saved_critic_, d_add)
    d_sub = relu_2_backward(select, np.broadcast_to(d_add_3 / n, (n, 1)))  # [n, 1]
    d_critic_ = SpectralCritic.forward_backward_parameters(real, saved_critic, -d_sub)
    d_critic_first_w = d_critic["first"]["w"] + d_critic_["first"]["w"]  # [critic.d, critic.hidden]
    d_critic_first_b = d_critic["first"]["b"] + d_critic_["first"]["b"]  # [critic.hidden]
    d_critic_second_w = d_critic["second"]["w"] + d_critic_["second"]["w"]  # [critic.hidden, 1]
    d_critic_second_b = d_critic["second"]["b"] + d_critic_["second"]["b"]  # [1]
    return {
        "first": {"w": d_critic_first_w, "b": d_critic_first_b},
        "second": {"w": d_critic_second_w, "b": d_critic_second_b},
    }


def sngan(epochs=60, batch=64, rate=3e-4, critic_rate=0.01, latent=16, hidden=128, turns=5, *, run=None):
    """No layer of the critic stretches anything; its weights begin large and take larger steps."""
    from leec.runtime.run import Run

    run = run or Run("sngan")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator"))  # adversarial.lee:178
    critic = SpectralCritic(d=64, hidden=hidden, key=run.key("critic"))  # adversarial.lee:179
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:180
    opt_c = Adam(lr=critic_rate, beta1=0.5)  # adversarial.lee:181
    for epoch in run.loop("epoch", 1, epochs, critic=critic, generator=generator, opt_c=opt_c, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            for turn in run.loop("turn", 1, turns, critic=critic, generator=generator, opt_c=opt_c):
                run.step(sngan_step(critic, generator, opt_c, x, key=run.key("sngan")))  # adversarial.lee:185
            run.step(sngan_step_2(generator, critic, opt_g, x, key=run.key("sngan")))  # adversarial.lee:187
    z = sngan_z(data.train.x, latent, key=run.key("sngan"))  # adversarial.lee:189
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:190
    return generator, critic


def sngan_step(critic, generator, opt_c, x, key):
    """One step of sngan."""
    batches_n = x.shape[0]
    latent = generator.layers[0].w.shape[0]
    z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT)  # [batches_n, latent]  adversarial.lee:185
    graft = stop(generator(z))  # [batches_n, 64]  adversarial.lee:186
    loss, saved_hinge = hinge_saved(critic, x, graft)
    d_critic = hinge_backward_parameters(x, graft, saved_hinge, FLOAT(1.0))
    opt_c.update(critic.parameters, critic.flat(d_critic))
    return loss


def sngan_step_2(generator, critic, opt_g, x, key):
    """One step of sngan."""
    batches_n = x.shape[0]
    latent = generator.layers[0].w.shape[0]
    z = normal(fold(key, SITES["z#2"]), (batches_n, latent), FLOAT)  # [batches_n, latent]  adversarial.lee:187
    add_2, saved_generator = generator.forward_saved(z)  # adversarial.lee:188
    add_2_2, saved_critic = critic.forward_saved(add_2)
    d_add_2_2 = np.full((batches_n, 1), -1.0 / batches_n, dtype=FLOAT)  # [batches_n, 1]
    d_add_2 = SpectralCritic.forward_backward_input(saved_critic, d_add_2_2)  # [batches_n, 64]
    d_generator = generator.forward_backward_parameters(z, saved_generator, d_add_2)
    opt_g.update(generator.parameters, generator.flat(d_generator))
    return -add_2_2.mean()


def sngan_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    z = normal(fold(key, SITES["z#3"]), (data_train_n, latent), FLOAT)  # [data_train_n, latent]  adversarial.lee:189
    return z  # [data_train_n, latent]


class Conditional(Model):
    """G(c, z)"""

    members = ("word", "net")

    def __init__(self, latent, classes, hidden, d, *, key=(0, 0)):
        self.latent, self.classes, self.hidden, self.d = latent, classes, hidden, d
        self.word = normal(fold(key, SITES["word"]), (classes, latent), FLOAT)  # [classes, latent]  adversarial.lee:199
        self.net = MLP((2 * latent, hidden, d), key=fold(key, SITES["net"]))  # adversarial.lee:200
        self.lay_out()

    def forward(self, c, z):
        """c int[n], z [n, latent] -> [n, d]"""
        return self.net(np.concatenate((self.word[inside(c)], z), axis=1))  # [n, d]  adversarial.lee:203

    def forward_saved(self, c, z):
        """As forward, and what its gradient needs."""
        concat = np.concatenate((self.word[inside(c)], z), axis=1)  # [n, 2 * latent]  adversarial.lee:203
        add_2, saved_net = self.net.forward_saved(concat)
        return add_2, (concat, saved_net)

    def forward_backward(self, c, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        concat, saved_net = saved
        # gradient of return net(concat(word[c], z, axis = 1))   adversarial.lee:203
        d_net, d_concat = self.net.forward_backward(concat, saved_net, d_y)
        d_z = d_concat[:, self.latent :]  # [n, latent]
        d_word = scatter_add(d_concat[:, : self.latent], (c,), (self.classes, self.latent))  # [classes, latent]
        return {"word": d_word, "net": d_net}, d_z

    def forward_backward_parameters(self, c, saved, d_y):
        """From d_y to the gradient by the parameters."""
        concat, saved_net = saved
        # gradient of return net(concat(word[c], z, axis = 1))   adversarial.lee:203
        d_net, d_concat = self.net.forward_backward(concat, saved_net, d_y)
        d_word = scatter_add(d_concat[:, : self.latent], (c,), (self.classes, self.latent))  # [classes, latent]
        return {"word": d_word, "net": d_net}


class PairJudge(Model):
    """A score for an input together with its condition."""

    members = ("word", "net")

    def __init__(self, classes, hidden, d, *, key=(0, 0)):
        self.classes, self.hidden, self.d = classes, hidden, d
        self.word = normal(fold(key, SITES["word"]), (classes, d), FLOAT)  # [classes, d]  adversarial.lee:208
        self.net = MLP((2 * d, hidden, 1), key=fold(key, SITES["net"]))  # adversarial.lee:209
        self.lay_out()

    def forward(self, x, c):
        """x [n, d], c int[n] -> [n]"""
        n = x.shape[0]
        add_2 = self.net(np.concatenate((x, self.word[inside(c)]), axis=1))  # [n, 1]  adversarial.lee:212
        return add_2.reshape(n)  # [n]

    def forward_saved(self, x, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        concat = np.concatenate((x, self.word[inside(c)]), axis=1)  # [n, 2 * d]  adversarial.lee:212
        add_2, saved_net = self.net.forward_saved(concat)
        return add_2.reshape(n), (concat, saved_net)

    def forward_backward(self, c, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        concat, saved_net = saved
        # gradient of return net(concat(x, word[c], axis = 1))[:, 0]   adversarial.lee:212
        d_net, d_concat = self.net.forward_backward(concat, saved_net, d_y[:, None])
        d_x = d_concat[:, : self.d]  # [n, d]
        d_word = scatter_add(d_concat[:, self.d :], (c,), (self.classes, self.d))  # [classes, d]
        return {"word": d_word, "net": d_net}, d_x

    def forward_backward_parameters(self, c, saved, d_y):
        """From d_y to the gradient by the parameters."""
        concat, saved_net = saved
        # gradient of return net(concat(x, word[c], axis = 1))[:, 0]   adversarial.lee:212
        d_net, d_concat = self.net.forward_backward(concat, saved_net, d_y[:, None])
        d_word = scatter_add(d_concat[:, self.d :], (c,), (self.classes, self.d))  # [classes, d]
        return {"word": d_word, "net": d_net}

    def forward_backward_input(self, saved, d_y):
        """From d_y to the gradient by x."""
        _, saved_net = saved
        # gradient of return net(concat(x, word[c], axis = 1))[:, 0]   adversarial.lee:212
        d_x = self.net.forward_backward_input(saved_net, d_y[:, None])[:, : self.d]  # [n, d]
        return d_x  # [n, d]


def judges_pairs(judge, x, c, fake, other):
    """Right pairs towards 1; made ones towards 0, and also good pictures under a wrong label.

    x [n, judge.d], c int[n], fake [n, judge.d], other int[n] -> []
    """
    judge_out = judge(x, c)  # [n]  adversarial.lee:217
    log_sigmoid = np.minimum(judge_out, 0) - np.log1p(np.exp(-np.abs(judge_out)))  # [n]
    right = -log_sigmoid.mean()
    neg = -judge(fake, c)  # [n]  prelude.lee:36
    mean_2 = (np.minimum(neg, 0) - np.log1p(np.exp(-np.abs(neg)))).mean()  # adversarial.lee:218
    neg_2 = -judge(x, other)  # [n]  prelude.lee:36
    log_sigmoid_3 = np.minimum(neg_2, 0) - np.log1p(np.exp(-np.abs(neg_2)))  # [n]  adversarial.lee:218
    return right - mean_2 - log_sigmoid_3.mean()


def judges_pairs_saved(judge, x, c, fake, other):
    """As judges_pairs, and what its gradient needs."""
    judge_out, saved_judge = judge.forward_saved(x, c)  # adversarial.lee:217
    log_sigmoid = np.minimum(judge_out, 0) - np.log1p(np.exp(-np.abs(judge_out)))  # [n]
    right = -log_sigmoid.mean()
    judge_out_2, saved_judge_ = judge.forward_saved(fake, c)  # adversarial.lee:218
    log_sigmoid_2 = np.minimum(-judge_out_2, 0) - np.log1p(np.exp(-np.abs(-judge_out_2)))  # [n]
    judge_out_3, saved_judge_2 = judge.forward_saved(x, other)
    log_sigmoid_3 = np.minimum(-judge_out_3, 0) - np.log1p(np.exp(-np.abs(-judge_out_3)))  # [n]
    saved = judge_out, saved_judge, saved_judge_, -judge_out_2, saved_judge_2, -judge_out_3
    return right - log_sigmoid_2.mean() - log_sigmoid_3.mean(), saved


def judges_pairs_backward(judge, c, other, saved, d_y):
    """From d_y to the gradients by judge, x and fake."""
    judge_out, saved_judge, saved_judge_, neg, saved_judge_2, neg_2 = saved
    n = c.shape[0]
    # gradient of return right + mean(-log(1 - sigmoid(judge(fake, c)))) + mean(-log(1 - sigmoi..   adversarial.lee:218
    neg_3 = -(d_y / n)
    sigmoid = np.exp(np.minimum(-neg_2, 0)) / (1 + np.exp(-np.abs(-neg_2)))  # [n]
    d_judge, d_x_2 = judge.forward_backward(other, saved_judge_2, -(neg_3 * sigmoid))
    sigmoid_2 = np.exp(np.minimum(-neg, 0)) / (1 + np.exp(-np.abs(-neg)))  # [n]
    d_judge_, d_fake = judge.forward_backward(c, saved_judge_, -(neg_3 * sigmoid_2))
    # gradient of right = mean(-log(sigmoid(judge(x, c))))   adversarial.lee:217
    sigmoid_3 = np.exp(np.minimum(-judge_out, 0)) / (1 + np.exp(-np.abs(-judge_out)))  # [n]
    d_judge_2, d_x_3 = judge.forward_backward(c, saved_judge, neg_3 * sigmoid_3)
    d_judge_word = d_judge["word"] + d_judge_["word"] + d_judge_2["word"]  # [judge.classes, judge.d]
    # [2 * judge.d, judge.hidden]
    d_judge_net_layers_0_w_5 = d_judge["net"]["layers.0"]["w"] + d_judge_["net"]["layers.0"]["w"]
    d_judge_net_layers_0_w = d_judge_net_layers_0_w_5 + d_judge_2["net"]["layers.0"]["w"]  # [2 * judge.d, judge.hidden]
    d_judge_net_layers_0_b_5 = d_judge["net"]["layers.0"]["b"] + d_judge_["net"]["layers.0"]["b"]  # [judge.hidden]
    d_judge_net_layers_0_b = d_judge_net_layers_0_b_5 + d_judge_2["net"]["layers.0"]["b"]  # [judge.hidden]
    d_judge_net_layers_1_w_5 = d_judge["net"]["layers.1"]["w"] + d_judge_["net"]["layers.1"]["w"]  # [judge.hidden, 1]
    d_judge_net_layers_1_w = d_judge_net_layers_1_w_5 + d_judge_2["net"]["layers.1"]["w"]  # [judge.hidden, 1]
    d_judge_net_layers_1_b_5 = d_judge["net"]["layers.1"]["b"] + d_judge_["net"]["layers.1"]["b"]  # [1]
    d_judge_net_layers_1_b = d_judge_net_layers_1_b_5 + d_judge_2["net"]["layers.1"]["b"]  # [1]
    d_x = d_x_2 + d_x_3  # [n, judge.d]
    return (
        {
            "word": d_judge_word,
            "net": {
                "layers.0": {"w": d_judge_net_layers_0_w, "b": d_judge_net_layers_0_b},
                "layers.1": {"w": d_judge_net_layers_1_w, "b": d_judge_net_layers_1_b},
            },
        },
        d_x,
        d_fake,
    )


def judges_pairs_backward_parameters(judge, c, other, saved, d_y):
    """From d_y to the gradient by judge."""
    judge_out, saved_judge, saved_judge_, neg, saved_judge_2, neg_2 = saved
    n = c.shape[0]
    # gradient of return right + mean(-log(1 - sigmoid(judge(fake, c)))) + mean(-log(1 - sigmoi..   adversarial.lee:218
    neg_3 = -(d_y / n)
    sigmoid = np.exp(np.minimum(-neg_2, 0)) / (1 + np.exp(-np.abs(-neg_2)))  # [n]
    d_judge = judge.forward_backward_parameters(other, saved_judge_2, -(neg_3 * sigmoid))
    sigmoid_2 = np.exp(np.minimum(-neg, 0)) / (1 + np.exp(-np.abs(-neg)))  # [n]
    d_judge_ = judge.forward_backward_parameters(c, saved_judge_, -(neg_3 * sigmoid_2))
    # gradient of right = mean(-log(sigmoid(judge(x, c))))   adversarial.lee:217
    sigmoid_3 = np.exp(np.minimum(-judge_out, 0)) / (1 + np.exp(-np.abs(-judge_out)))  # [n]
    d_judge_2 = judge.forward_backward_parameters(c, saved_judge, neg_3 * sigmoid_3)
    d_judge_word = d_judge["word"] + d_judge_["word"] + d_judge_2["word"]  # [judge.classes, judge.d]
    # [2 * judge.d, judge.hidden]
    d_judge_net_layers_0_w_5 = d_judge["net"]["layers.0"]["w"] + d_judge_["net"]["layers.0"]["w"]
    d_judge_net_layers_0_w = d_judge_net_layers_0_w_5 + d_judge_2["net"]["layers.0"]["w"]  # [2 * judge.d, judge.hidden]
    d_judge_net_layers_0_b_5 = d_judge["net"]["layers.0"]["b"] + d_judge_["net"]["layers.0"]["b"]  # [judge.hidden]
    d_judge_net_layers_0_b = d_judge_net_layers_0_b_5 + d_judge_2["net"]["layers.0"]["b"]  # [judge.hidden]
    d_judge_net_layers_1_w_5 = d_judge["net"]["layers.1"]["w"] + d_judge_["net"]["layers.1"]["w"]  # [judge.hidden, 1]
    d_judge_net_layers_1_w = d_judge_net_layers_1_w_5 + d_judge_2["net"]["layers.1"]["w"]  # [judge.hidden, 1]
    d_judge_net_layers_1_b_5 = d_judge["net"]["layers.1"]["b"] + d_judge_["net"]["layers.1"]["b"]  # [1]
    d_judge_net_layers_1_b = d_judge_net_layers_1_b_5 + d_judge_2["net"]["layers.1"]["b"]  # [1]
    return {
        "word": d_judge_word,
        "net": {
            "layers.0": {"w": d_judge_net_layers_0_w, "b": d_judge_net_layers_0_b},
            "layers.1": {"w": d_judge_net_layers_1_w, "b": d_judge_net_layers_1_b},
        },
    }


def by_label(epochs=60, batch=64, rate=1e-3, latent=8, *, run=None):
    """Digits to order; a reader that learned from real ones says whether they are what was ordered."""
    from leec.runtime.run import Run

    run = run or Run("by_label")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    reader = MLP(sizes=(64, 64, 10), key=run.key("reader"))  # adversarial.lee:224
    opt_r = Adam(lr=3e-3)  # adversarial.lee:225
    for epoch in run.loop("epoch", 1, 10, opt_r=opt_r, reader=reader):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(by_label_step(reader, opt_r, x, y))  # adversarial.lee:228
    generator = Conditional(latent=latent, classes=10, hidden=64, d=64, key=run.key("generator"))  # adversarial.lee:229
    judge = PairJudge(classes=10, hidden=64, d=64, key=run.key("judge"))  # adversarial.lee:230
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:231
    opt_d = Adam(lr=rate, beta1=0.5)  # adversarial.lee:232
    for epoch in run.loop("epoch_2", 1, epochs, generator=generator, judge=judge, opt_d=opt_d, opt_g=opt_g):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            loss, loss_1 = by_label_step_2(judge, generator, opt_d, opt_g, x, y, key=run.key("by_label"))
            run.step(loss)
            run.step(loss_1, "loss_1")
    y, z = by_label_y_z(data.test.y, latent, key=run.key("by_label"))  # adversarial.lee:239
    reported_as_ordered, reported_of_real = by_label_as_ordered_of_real(reader, generator, y, z, data.test.x)
    run.report(as_ordered=reported_as_ordered, of_real=reported_of_real)  # adversarial.lee:241
    return generator, judge


def by_label_step(reader, opt_r, x, y):
    """One step of by_label."""
    add_2, saved_reader = reader.forward_saved(x)  # adversarial.lee:228
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_reader = reader.forward_backward_parameters(x, saved_reader, d_add_2)
    opt_r.update(reader.parameters, reader.flat(d_reader))
    return cross_entropy(add_2, y)


def by_label_step_2(judge, generator, opt_d, opt_g, x, y, key):
    """One step of by_label."""
    batches_2_n = x.shape[0]
    latent = generator.word.shape[1]
    z = normal(fold(key, SITES["z"]), (batches_2_n, latent), FLOAT)  # [batches_2_n, latent]  adversarial.lee:235
    away = randint(fold(key, SITES["away"]), (batches_2_n,), 1, 10)  # int[batches_2_n]  adversarial.lee:236
    generator_out, saved_generator = generator.forward_saved(y, z)  # adversarial.lee:237
    mod = (y + away) % 10  # int[batches_2_n]
    loss, saved_judges_pairs = judges_pairs_saved(judge, x, y, stop(generator_out), mod)
    d_loss = FLOAT(1.0)
    d_judge = judges_pairs_backward_parameters(judge, y, mod, saved_judges_pairs, d_loss)
    opt_d.update(judge.parameters, judge.flat(d_judge))
    reshape, saved_judge = judge.forward_saved(generator_out, y)  # adversarial.lee:238
    log_sigmoid = np.minimum(reshape, 0) - np.log1p(np.exp(-np.abs(reshape)))  # [batches_2_n]
    sigmoid = np.exp(np.minimum(-reshape, 0)) / (1 + np.exp(-np.abs(-reshape)))  # [batches_2_n]
    d_generator_out = judge.forward_backward_input(saved_judge, -1.0 / batches_2_n * sigmoid)  # [batches_2_n, 64]
    d_generator = generator.forward_backward_parameters(y, saved_generator, d_generator_out)  # adversarial.lee:237
    opt_g.update(generator.parameters, generator.flat(d_generator))  # adversarial.lee:238
    return loss, -log_sigmoid.mean()


def by_label_y_z(data_test_y, latent, key):
    """data_test_y int[data_test_n] -> int[data_test_n], [data_test_n, latent]"""
    data_test_n = data_test_y.shape[0]
    z = normal(fold(key, SITES["z#2"]), (data_test_n, latent), FLOAT)  # [data_test_n, latent]  adversarial.lee:240
    return data_test_y, z


def by_label_as_ordered_of_real(reader, generator, y, z, data_test_x):
    """y int[data_test_n], z [data_test_n, latent], data_test_x [data_test_n, 64] -> [], []"""
    return accuracy(reader(generator(y, z)), y), accuracy(reader(data_test_x), y)  # adversarial.lee:241


def paired_saved(judge, made, source, target, weight=1e1):
    """As paired, and what its gradient needs."""
    n, d = made.shape
    if judge.sizes[0] != 2 * d:
        raise ValueError(f"judge.sizes_0 = {judge.sizes[0]} must equal 2 * d = {2 * d}")
    # [n, judge.sizes_0]  adversarial.lee:247
    reshape = np.concatenate((source, made), axis=1).reshape(n, judge.sizes[0])
    add_2, saved_judge = judge.forward_saved(reshape)
    log_sigmoid = np.minimum(add_2, 0) - np.log1p(np.exp(-np.abs(add_2)))  # [n, judge.sizes_2]
    sub = made - target  # [n, d]
    return weight * np.abs(sub).mean() - log_sigmoid.mean(), (reshape, add_2, saved_judge, sub)


def paired_backward(judge, weight, saved, d_add):
    """From d_add to the gradients by judge, made, source and target."""
    reshape, add_2, saved_judge, sub = saved
    n, d = sub.shape
    # gradient of return mean(-log(sigmoid(judge(concat(source, made, axis = 1))))) + weight * ..   adversarial.lee:247
    d_sub = d_add * weight / (d * n) * np.sign(sub)  # [n, d]
    d_target = -d_sub  # [n, d]
    sigmoid = np.exp(np.minimum(-add_2, 0)) / (1 + np.exp(-np.abs(-add_2)))  # [n, judge.sizes_2]
    d_add_2 = -(d_add / (judge.sizes[2] * n)) * sigmoid  # [n, judge.sizes_2]
    d_judge, d_reshape = judge.forward_backward(reshape, saved_judge, d_add_2)
    d_concat = d_reshape.reshape(n, 2 * d)  # [n, 2 * d]
    d_source = d_concat[:, :d]  # [n, d]
    d_made = d_sub + d_concat[:, d:]  # [n, d]
    return d_judge, d_made, d_source, d_target


def cycle_saved(ab, ba, judge_a, judge_b, a, b, weight=1e1):
    """As cycle, and what its gradient needs."""
    n = a.shape[0]
    m = b.shape[0]
    if ba.sizes[0] != ab.sizes[0]:
        raise ValueError(f"ba.sizes_0 = {ba.sizes[0]} must equal ab.sizes_0 = {ab.sizes[0]}")
    if judge_b.sizes[0] != ab.sizes[2]:
        raise ValueError(f"judge_b.sizes_0 = {judge_b.sizes[0]} must equal ab.sizes_2 = {ab.sizes[2]}")
    if judge_a.sizes[0] != ba.sizes[2]:
        raise ValueError(f"judge_a.sizes_0 = {judge_a.sizes[0]} must equal ba.sizes_2 = {ba.sizes[2]}")
    if ba.sizes[0] != ab.sizes[2]:
        raise ValueError(f"ba.sizes_0 = {ba.sizes[0]} must equal ab.sizes_2 = {ab.sizes[2]}")
    if ba.sizes[2] != ab.sizes[0]:
        raise ValueError(f"adversarial.lee:258: ba.sizes_2 = {ba.sizes[2]} must equal ab.sizes_0 = {ab.sizes[0]}")
    if ab.sizes[2] != ab.sizes[0]:
        raise ValueError(f"adversarial.lee:258: ab.sizes_2 = {ab.sizes[2]} must equal ab.sizes_0 = {ab.sizes[0]}")
    fake_b, saved_ab = ab.forward_saved(a)  # adversarial.lee:255
    fake_a, saved_ba = ba.forward_saved(b.reshape(m, ba.sizes[0]))  # adversarial.lee:256
    reshape_2 = fake_b.reshape(n, judge_b.sizes[0])  # [n, judge_b.sizes_0]  adversarial.lee:257
    add_2, saved_judge_b = judge_b.forward_saved(reshape_2)
    sub = add_2 - 1  # [n, judge_b.sizes_2]
    reshape_3 = fake_a.reshape(m, judge_a.sizes[0])  # [m, judge_a.sizes_0]
    add_2_2, saved_judge_a = judge_a.forward_saved(reshape_3)
    sub_2 = add_2_2 - 1  # [m, judge_a.sizes_2]
    fool = (sub**2).mean() + (sub_2**2).mean()
    reshape_4 = fake_b.reshape(n, ba.sizes[0])  # [n, ba.sizes_0]  adversarial.lee:258
    add_2_3, saved_ba_ = ba.forward_saved(reshape_4)
    sub_3 = add_2_3 - a.reshape(n, ba.sizes[2])  # [n, ba.sizes_2]
    reshape_6 = fake_a.reshape(m, ab.sizes[0])  # [m, ab.sizes_0]
    add_2_4, saved_ab_ = ab.forward_saved(reshape_6)
    sub_4 = add_2_4 - b.reshape(m, ab.sizes[2])  # [m, ab.sizes_2]
    mul_3 = weight * (np.abs(sub_3).mean() + np.abs(sub_4).mean())
    saved = (
        saved_ab,
        saved_ba,
        reshape_2,
        saved_judge_b,
        sub,
        reshape_3,
        saved_judge_a,
        sub_2,
        reshape_4,
        saved_ba_,
        sub_3,
        reshape_6,
        saved_ab_,
        sub_4,
    )
    return fool + mul_3, saved


def cycle_backward(ab, ba, judge_a, judge_b, a, b, weight, saved, d_add_3):
    """From d_add_3 to the gradients by ab, ba, judge_a, judge_b, a and b."""
    saved_ab, saved_ba, reshape_2, saved_judge_b, sub, reshape_3, saved_judge_a, sub_2, reshape_4, saved_ba_, sub_3, reshape_6, saved_ab_, sub_4 = saved
    n = a.shape[0]
    m = b.shape[0]
    # gradient of return fool + weight * (mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b)))   adversarial.lee:258
    d_add = d_add_3 * weight
    d_sub_4 = d_add / (ab.sizes[2] * m) * np.sign(sub_4)  # [m, ab.sizes_2]
    d_ab, d_reshape_6 = ab.forward_backward(reshape_6, saved_ab_, d_sub_4)
    d_sub_3 = d_add / (ba.sizes[2] * n) * np.sign(sub_3)  # [n, ba.sizes_2]
    d_ba, d_reshape_4 = ba.forward_backward(reshape_4, saved_ba_, d_sub_3)
    # gradient of fool = mean((judge_b(fake_b) - 1) ** 2) + mean((judge_a(fake_a) - 1) ** 2)   adversarial.lee:257
    d_sub_2 = 2 * (d_add_3 / (judge_a.sizes[2] * m)) * sub_2  # [m, judge_a.sizes_2]
    d_judge_a, d_reshape_3 = judge_a.forward_backward(reshape_3, saved_judge_a, d_sub_2)
    d_sub = 2 * (d_add_3 / (judge_b.sizes[2] * n)) * sub  # [n, judge_b.sizes_2]
    d_judge_b, d_reshape_2 = judge_b.forward_backward(reshape_2, saved_judge_b, d_sub)
    # gradient of fake_a = ba(b)   adversarial.lee:256
    d_fake_a = d_reshape_6.reshape(m, ba.sizes[2]) + d_reshape_3.reshape(m, ba.sizes[2])  # [m, ba.sizes_2]
    d_ba_, d_reshape = ba.forward_backward(b.reshape(m, ba.sizes[0]), saved_ba, d_fake_a)
    # gradient of fake_b = ab(a)   adversarial.lee:255
    d_fake_b = d_reshape_4.reshape(n, ab.sizes[2]) + d_reshape_2.reshape(n, ab.sizes[2])  # [n, ab.sizes_2]
    d_ab_, d_a_3 = ab.forward_backward(a, saved_ab, d_fake_b)
    d_ab_layers_0_w = d_ab["layers.0"]["w"] + d_ab_["layers.0"]["w"]  # [ab.sizes_0, ab.sizes_1]
    d_ab_layers_0_b = d_ab["layers.0"]["b"] + d_ab_["layers.0"]["b"]  # [ab.sizes_1]
    d_ab_layers_1_w = d_ab["layers.1"]["w"] + d_ab_["layers.1"]["w"]  # [ab.sizes_1, ab.sizes_2]
    d_ab_layers_1_b = d_ab["layers.1"]["b"] + d_ab_["layers.1"]["b"]  # [ab.sizes_2]
    d_ba_layers_0_w = d_ba["layers.0"]["w"] + d_ba_["layers.0"]["w"]  # [ba.sizes_0, ba.sizes_1]
    d_ba_layers_0_b = d_ba["layers.0"]["b"] + d_ba_["layers.0"]["b"]  # [ba.sizes_1]
    d_ba_layers_1_w = d_ba["layers.1"]["w"] + d_ba_["layers.1"]["w"]  # [ba.sizes_1, ba.sizes_2]
    d_ba_layers_1_b = d_ba["layers.1"]["b"] + d_ba_["layers.1"]["b"]  # [ba.sizes_2]
    d_a = (-d_sub_3).reshape(n, ab.sizes[0]) + d_a_3  # [n, ab.sizes_0]
    d_b = (-d_sub_4).reshape(m, ab.sizes[0]) + d_reshape.reshape(m, ab.sizes[0])  # [m, ab.sizes_0]
    return (
        {
            "layers.0": {"w": d_ab_layers_0_w, "b": d_ab_layers_0_b},
            "layers.1": {"w": d_ab_layers_1_w, "b": d_ab_layers_1_b},
        },
        {
            "layers.0": {"w": d_ba_layers_0_w, "b": d_ba_layers_0_b},
            "layers.1": {"w": d_ba_layers_1_w, "b": d_ba_layers_1_b},
        },
        d_judge_a,
        d_judge_b,
        d_a,
        d_b,
    )


def cycle_backward_parameters(ab, ba, judge_a, judge_b, a, b, weight, saved, d_add_3):
    """From d_add_3 to the gradients by ab and ba."""
    saved_ab, saved_ba, _, saved_judge_b, sub, _, saved_judge_a, sub_2, reshape_4, saved_ba_, sub_3, reshape_6, saved_ab_, sub_4 = saved
    n = a.shape[0]
    m = b.shape[0]
    # gradient of return fool + weight * (mean(abs(ba(fake_b) - a)) + mean(abs(ab(fake_a) - b)))   adversarial.lee:258
    d_add = d_add_3 * weight
    d_sub_4 = d_add / (ab.sizes[2] * m) * np.sign(sub_4)  # [m, ab.sizes_2]
    d_ab, d_reshape_6 = ab.forward_backward(reshape_6, saved_ab_, d_sub_4)
    d_sub_3 = d_add / (ba.sizes[2] * n) * np.sign(sub_3)  # [n, ba.sizes_2]
    d_ba, d_reshape_4 = ba.forward_backward(reshape_4, saved_ba_, d_sub_3)
    # gradient of fool = mean((judge_b(fake_b) - 1) ** 2) + mean((judge_a(fake_a) - 1) ** 2)   adversarial.lee:257
    d_sub_2 = 2 * (d_add_3 / (judge_a.sizes[2] * m)) * sub_2  # [m, judge_a.sizes_2]
    d_reshape_3 = judge_a.forward_backward_input(saved_judge_a, d_sub_2)  # [m, judge_a.sizes_0]
    d_sub = 2 * (d_add_3 / (judge_b.sizes[2] * n)) * sub  # [n, judge_b.sizes_2]
    d_reshape_2 = judge_b.forward_backward_input(saved_judge_b, d_sub)  # [n, judge_b.sizes_0]
    # gradient of fake_a = ba(b)   adversarial.lee:256
    d_fake_a = d_reshape_6.reshape(m, ba.sizes[2]) + d_reshape_3.reshape(m, ba.sizes[2])  # [m, ba.sizes_2]
    reshape = b.reshape(m, ba.sizes[0])  # [m, ba.sizes_0]
    d_ba_ = ba.forward_backward_parameters(reshape, saved_ba, d_fake_a)
    # gradient of fake_b = ab(a)   adversarial.lee:255
    d_fake_b = d_reshape_4.reshape(n, ab.sizes[2]) + d_reshape_2.reshape(n, ab.sizes[2])  # [n, ab.sizes_2]
    d_ab_ = ab.forward_backward_parameters(a, saved_ab, d_fake_b)
    d_ab_layers_0_w = d_ab["layers.0"]["w"] + d_ab_["layers.0"]["w"]  # [ab.sizes_0, ab.sizes_1]
    d_ab_layers_0_b = d_ab["layers.0"]["b"] + d_ab_["layers.0"]["b"]  # [ab.sizes_1]
    d_ab_layers_1_w = d_ab["layers.1"]["w"] + d_ab_["layers.1"]["w"]  # [ab.sizes_1, ab.sizes_2]
    d_ab_layers_1_b = d_ab["layers.1"]["b"] + d_ab_["layers.1"]["b"]  # [ab.sizes_2]
    d_ba_layers_0_w = d_ba["layers.0"]["w"] + d_ba_["layers.0"]["w"]  # [ba.sizes_0, ba.sizes_1]
    d_ba_layers_0_b = d_ba["layers.0"]["b"] + d_ba_["layers.0"]["b"]  # [ba.sizes_1]
    d_ba_layers_1_w = d_ba["layers.1"]["w"] + d_ba_["layers.1"]["w"]  # [ba.sizes_1, ba.sizes_2]
    d_ba_layers_1_b = d_ba["layers.1"]["b"] + d_ba_["layers.1"]["b"]  # [ba.sizes_2]
    return {
        "layers.0": {"w": d_ab_layers_0_w, "b": d_ab_layers_0_b},
        "layers.1": {"w": d_ab_layers_1_w, "b": d_ab_layers_1_b},
    }, {
        "layers.0": {"w": d_ba_layers_0_w, "b": d_ba_layers_0_b},
        "layers.1": {"w": d_ba_layers_1_w, "b": d_ba_layers_1_b},
    }


def judged_saved(judge, real, fake):
    """As judged, and what its gradient needs."""
    add_2, saved_judge = judge.forward_saved(real)  # adversarial.lee:263
    sub = add_2 - 1  # [n, judge.sizes_2]
    add_2_2, saved_judge_ = judge.forward_saved(fake)
    return ((sub**2).mean() + (add_2_2**2).mean()) / 2, (saved_judge, sub, add_2_2, saved_judge_)


def judged_backward(judge, real, fake, saved, d_div):
    """From d_div to the gradients by judge, real and fake."""
    saved_judge, sub, add_2_2, saved_judge_ = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return (mean((judge(real) - 1) ** 2) + mean(judge(fake) ** 2)) / 2   adversarial.lee:263
    d_add = d_div / 2
    d_add_2_2 = 2 * (d_add / (judge.sizes[2] * m)) * add_2_2  # [m, judge.sizes_2]
    d_judge, d_fake = judge.forward_backward(fake, saved_judge_, d_add_2_2)
    d_sub = 2 * (d_add / (judge.sizes[2] * n)) * sub  # [n, judge.sizes_2]
    d_judge_, d_real = judge.forward_backward(real, saved_judge, d_sub)
    d_judge_layers_0_w = d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]  # [judge.sizes_0, judge.sizes_1]
    d_judge_layers_0_b = d_judge["layers.0"]["b"] + d_judge_["layers.0"]["b"]  # [judge.sizes_1]
    d_judge_layers_1_w = d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]  # [judge.sizes_1, judge.sizes_2]
    d_judge_layers_1_b = d_judge["layers.1"]["b"] + d_judge_["layers.1"]["b"]  # [judge.sizes_2]
    return (
        {
            "layers.0": {"w": d_judge_layers_0_w, "b": d_judge_layers_0_b},
            "layers.1": {"w": d_judge_layers_1_w, "b": d_judge_layers_1_b},
        },
        d_real,
        d_fake,
    )


def judged_backward_parameters(judge, real, fake, saved, d_div):
    """From d_div to the gradient by judge."""
    saved_judge, sub, add_2_2, saved_judge_ = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return (mean((judge(real) - 1) ** 2) + mean(judge(fake) ** 2)) / 2   adversarial.lee:263
    d_add = d_div / 2
    d_add_2_2 = 2 * (d_add / (judge.sizes[2] * m)) * add_2_2  # [m, judge.sizes_2]
    d_judge = judge.forward_backward_parameters(fake, saved_judge_, d_add_2_2)
    d_sub = 2 * (d_add / (judge.sizes[2] * n)) * sub  # [n, judge.sizes_2]
    d_judge_ = judge.forward_backward_parameters(real, saved_judge, d_sub)
    d_judge_layers_0_w = d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]  # [judge.sizes_0, judge.sizes_1]
    d_judge_layers_0_b = d_judge["layers.0"]["b"] + d_judge_["layers.0"]["b"]  # [judge.sizes_1]
    d_judge_layers_1_w = d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]  # [judge.sizes_1, judge.sizes_2]
    d_judge_layers_1_b = d_judge["layers.1"]["b"] + d_judge_["layers.1"]["b"]  # [judge.sizes_2]
    return {
        "layers.0": {"w": d_judge_layers_0_w, "b": d_judge_layers_0_b},
        "layers.1": {"w": d_judge_layers_1_w, "b": d_judge_layers_1_b},
    }


def cycle_gan(epochs=4, batch=64, rate=1e-3, *, run=None):
    """Digits and dark digits on bright ground, no two of them the same."""
    from leec.runtime.run import Run

    run = run or Run("cycle_gan")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    ab = MLP(sizes=(64, 64, 64), key=run.key("ab"))  # adversarial.lee:269
    ba = MLP(sizes=(64, 64, 64), key=run.key("ba"))  # adversarial.lee:270
    judge_a = MLP(sizes=(64, 32, 1), key=run.key("judge_a"))  # adversarial.lee:271
    judge_b = MLP(sizes=(64, 32, 1), key=run.key("judge_b"))  # adversarial.lee:272
    opt = Adam(lr=rate, beta1=0.5)  # adversarial.lee:273
    opt_a = Adam(lr=rate, beta1=0.5)  # adversarial.lee:274
    opt_b = Adam(lr=rate, beta1=0.5)  # adversarial.lee:275
    for epoch in run.loop(
        "epoch", 1, epochs, ab=ab, ba=ba, judge_a=judge_a, judge_b=judge_b, opt=opt, opt_a=opt_a, opt_b=opt_b
    ):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            loss, loss_1, loss_2 = cycle_gan_step(ab, ba, judge_a, judge_b, opt, opt_a, opt_b, x)  # adversarial.lee:278
            run.step(loss)
            run.step(loss_1, "loss_1")
            run.step(loss_2, "loss_2")
    return ab, ba


def cycle_gan_step(ab, ba, judge_a, judge_b, opt, opt_a, opt_b, x):
    """One step of cycle_gan."""
    batches_n = x.shape[0]
    a = x[: batches_n // 2]  # [batches_n // 2, 64]  adversarial.lee:278
    b = 1 - x[batches_n // 2 :]  # [batches_n - batches_n // 2, 64]  adversarial.lee:279
    loss, saved_cycle = cycle_saved(ab, ba, judge_a, judge_b, a, b)  # adversarial.lee:280
    d_loss = FLOAT(1.0)
    d_ab, d_ba = cycle_backward_parameters(ab, ba, judge_a, judge_b, a, b, 1e1, saved_cycle, d_loss)
    update_together(opt, (ab, d_ab), (ba, d_ba))
    graft = stop(ba(b))  # [batches_n - batches_n // 2, 64]  adversarial.lee:281
    loss_1, saved_judged = judged_saved(judge_a, a, graft)
    d_judge_a = judged_backward_parameters(judge_a, a, graft, saved_judged, d_loss)
    opt_a.update(judge_a.parameters, judge_a.flat(d_judge_a))
    graft_2 = stop(ab(a))  # [batches_n // 2, 64]  adversarial.lee:282
    loss_2, saved_judged_ = judged_saved(judge_b, b, graft_2)
    d_judge_b = judged_backward_parameters(judge_b, b, graft_2, saved_judged_, d_loss)
    opt_b.update(judge_b.parameters, judge_b.flat(d_judge_b))
    return loss, loss_1, loss_2


def frechet(a, b):
    """FID of features: ‖μ - μ'‖² + tr(Σ + Σ' - 2 (Σ Σ')^½), the covariances of n - 1 (Heusel et al. 2017).

    a [n, d], b [m, d] -> []
    """
    first = covariance(a)  # [d, d]  adversarial.lee:291
    second = covariance(b)  # [d, d]  adversarial.lee:292
    root = matrix_sqrt(first)  # [d, d]  adversarial.lee:293
    both = matrix_sqrt(root @ second @ root)  # [d, d]  adversarial.lee:294
    sub = a.mean(axis=0) - b.mean(axis=0)  # [d]  adversarial.lee:295
    return (sub**2).sum() + trace(first + second - 2 * both)


def frechet_saved(a, b):
    """As frechet, and what its gradient needs."""
    first, saved_covariance = covariance_saved(a)  # adversarial.lee:291
    second, saved_covariance_ = covariance_saved(b)  # adversarial.lee:292
    root = matrix_sqrt(first)  # [d, d]  adversarial.lee:293
    contract = root @ second  # [d, d]  adversarial.lee:294
    both = matrix_sqrt(contract @ root)  # [d, d]
    sub = a.mean(axis=0) - b.mean(axis=0)  # [d]  adversarial.lee:295
    saved = saved_covariance, second, saved_covariance_, root, contract, both, sub
    return (sub**2).sum() + trace(first + second - 2 * both), saved


def frechet_backward(saved, d_y):
    """From d_y to the gradients by a and b."""
    saved_covariance, second, saved_covariance_, root, contract, both, sub = saved
    d = second.shape[0]
    n = saved_covariance.shape[0]
    m = saved_covariance_.shape[0]
    # gradient of return sum((mean(a, axis = 0) - mean(b, axis = 0)) ** 2) + trace(first + seco..   adversarial.lee:295
    d_sub_2 = trace_backward(d, d_y)  # [d, d]
    d_both = -2 * d_sub_2  # [d, d]
    d_sub = 2 * d_y * sub  # [d]
    # gradient of both = matrix_sqrt(root @ second @ root)   adversarial.lee:294
    d_contract_2 = lyapunov(both, (d_both + d_both.T) * 0.5)  # [d, d]
    d_contract = d_contract_2 @ root.T  # [d, d]
    # gradient of root = matrix_sqrt(first)   adversarial.lee:293
    d_root = contract.T @ d_contract_2 + d_contract @ second.T  # [d, d]
    # gradient of second = covariance(b)   adversarial.lee:292
    d_second = d_sub_2 + root.T @ d_contract  # [d, d]
    # gradient of first = covariance(a)   adversarial.lee:291
    d_first = d_sub_2 + lyapunov(root, (d_root + d_root.T) * 0.5)  # [d, d]
    d_a = d_sub / n + covariance_backward(saved_covariance, d_first)  # [n, d]
    d_b = -d_sub / m + covariance_backward(saved_covariance_, d_second)  # [m, d]
    return d_a, d_b


def covariance(x):
    """x [n, d] -> [d, d]"""
    n = x.shape[0]
    centred = x - x.mean(axis=0)  # [n, d]  adversarial.lee:299
    return centred.T @ centred / (n - 1)  # [d, d]  adversarial.lee:300


def covariance_saved(x):
    """As covariance, and what its gradient needs."""
    n = x.shape[0]
    centred = x - x.mean(axis=0)  # [n, d]  adversarial.lee:299
    return centred.T @ centred / (n - 1), centred  # adversarial.lee:300


def covariance_backward(centred, d_y):
    """From d_y to the gradient by x."""
    n = centred.shape[0]
    # gradient of return centred.T @ centred / (n - 1)   adversarial.lee:300
    d_contract = d_y / (n - 1)  # [d, d]
    # gradient of centred = x - mean(x, axis = 0)   adversarial.lee:299
    d_centred = centred @ d_contract.T + centred @ d_contract  # [n, d]
    d_x = d_centred + -d_centred.sum(axis=0) / n  # [n, d]
    return d_x  # [n, d]


def inception_score(z):
    """exp E KL(p(y|x) ‖ p(y)): each answer sure, all together diverse.

    z [n, k] -> []
    """
    n = z.shape[0]
    p = softmax(z, (1,))  # [n, k]  prelude.lee:122
    log_softmax_ = log_softmax(z, (1,))  # [n, k]  prelude.lee:127
    sub_2 = log_softmax_ - (logsumexp(log_softmax_, 0) - math.log(n))  # [n, k]  adversarial.lee:307
    return np.exp((p * sub_2).sum(axis=1).mean())


def inception_score_saved(z):
    """As inception_score, and what its gradient needs."""
    n = z.shape[0]
    p = softmax(z, (1,))  # [n, k]  prelude.lee:122
    log_softmax_ = log_softmax(z, (1,))  # [n, k]  prelude.lee:127
    sub_2 = log_softmax_ - (logsumexp(log_softmax_, 0) - math.log(n))  # [n, k]  adversarial.lee:307
    return np.exp((p * sub_2).sum(axis=1).mean()), (p, log_softmax_, sub_2)


def inception_score_backward(saved, exp, d_y):
    """From d_y to the gradient by z."""
    p, log_softmax_, sub_2 = saved
    n = p.shape[0]
    # gradient of return exp(mean(sum(p * (log_softmax(z, axis = 1) - log(share)), axis = 1)))   adversarial.lee:307
    div = d_y * exp / n
    d_p = div * sub_2  # [n, k]
    d_sub_2 = div * p  # [n, k]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_log_softmax = d_sub_2 + -d_sub_2.sum(axis=0) * softmax(log_softmax_, (0,))  # [n, k]
    sum_2 = d_log_softmax.sum(axis=1, keepdims=True)  # [n, 1]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_z_3 = p * (d_p - (d_p * p).sum(axis=1, keepdims=True))  # [n, k]
    d_z = d_log_softmax - np.exp(log_softmax_) * sum_2 + d_z_3  # [n, k]
    return d_z  # [n, k]


def memory(made, known):
    """The distance to the nearest training example: 0 where a sample is only remembered.

    made [n, d], known [m, d] -> [n]
    """
    return distances(made, known).min(axis=1, initial=np.inf)  # [n]  adversarial.lee:312


def distances(a, b):
    """a [n, d], b [m, d] -> [n, m]"""
    sub = a[:, None] - b  # [n, m, d]  adversarial.lee:316
    apart = np.sqrt((sub**2).sum(axis=2))  # [n, m]
    return apart  # [n, m]


def covered_modes(made, centres, reach):
    """How many of the clusters of the data some sample comes near: few after a collapse.

    made [n, d], centres [k, d] -> []
    """
    lt = distances(centres, made).min(axis=1, initial=np.inf) < reach  # bool[k]  adversarial.lee:322
    return lt.astype(np.int64).sum()


def gumbel_softmax(z, luck, temperature=0.5):
    """A token as nearly one-hot, whose draw has a slope (Jang et al. 2017): softmax((z + g) / τ), g = -log(-log u).

    z [n, k], luck [n, k] -> [n, k]
    """
    return softmax((z - np.log(-np.log(luck))) / temperature, (1,))  # [n, k]  prelude.lee:122


def reinforced(z, reward):
    """What REINFORCE estimates, here as its expectation: Σ p R ∇log p, the slope of the mean reward.

    z [k], reward [k] -> [k]
    """
    p = stop_2(softmax(z, (0,)))  # [k]  adversarial.lee:335
    mul = p * reward  # [k]  adversarial.lee:336
    sum_ = mul.sum(axis=0, keepdims=True)  # [1]  prelude.lee:127
    return mul - np.exp(log_softmax(z, (0,))) * sum_  # [k]


def reinforced_saved(z, reward):
    """As reinforced, and what its gradient needs."""
    p = stop_2(softmax(z, (0,)))  # [k]  adversarial.lee:335
    mul = p * reward  # [k]  adversarial.lee:336
    log_softmax_ = log_softmax(z, (0,))  # [k]  prelude.lee:127
    exp = np.exp(log_softmax_)  # [k]
    sum_2 = mul.sum(axis=0, keepdims=True)  # [1]
    return mul - exp * sum_2, (p, log_softmax_, exp, sum_2)


def reinforced_backward(saved, d_y):
    """From d_y to the gradients by z and reward."""
    p, log_softmax_, exp, sum_2 = saved
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_log_softmax = -d_y * sum_2 * exp  # [k]
    sum_ = d_log_softmax.sum(axis=0, keepdims=True)  # [1]
    d_z = d_log_softmax - np.exp(log_softmax_) * sum_  # [k]
    # gradient of return grad(sum(p * reward * log_softmax(z)), z)   adversarial.lee:336
    d_reward = (d_y + (-d_y * exp).sum(axis=0, keepdims=True)) * p  # [k]
    return d_z, d_reward


def example_judged_both(key):
    judge = MLP((5, 6, 1), key=fold(key, SITES["judge"]))  # adversarial.lee:340
    real = normal(fold(key, SITES["real"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:341
    fake = normal(fold(key, SITES["fake"]), (6, 5), FLOAT)  # [6, 5]  adversarial.lee:342
    value, saved_discriminates = discriminates_saved(judge, real, fake)  # adversarial.lee:343
    d_judge, d_real, d_fake = discriminates_backward(judge, real, fake, saved_discriminates, FLOAT(1.0))
    return value, judge.at(d_judge), d_real, d_fake


def example_fooling(key):
    judge = MLP((5, 6, 1), key=fold(key, SITES["judge"]))  # adversarial.lee:347
    generator = MLP((3, 6, 5), key=fold(key, SITES["generator"]))  # adversarial.lee:348
    z = normal(fold(key, SITES["z"]), (7, 3), FLOAT)  # [7, 3]  adversarial.lee:349
    add_2, saved_generator = generator.forward_saved(z)  # adversarial.lee:350
    mean, saved_non_saturating = non_saturating_saved(judge, add_2)
    mean_2, saved_saturating = saturating_saved(judge, add_2)
    d_judge, d_add_2_2 = saturating_backward(judge, add_2, saved_saturating, FLOAT(2.0))
    d_judge_, d_add_2_3 = non_saturating_backward(judge, add_2, saved_non_saturating, FLOAT(1.0))
    d_generator, d_z = generator.forward_backward(z, saved_generator, d_add_2_2 + d_add_2_3)
    return (
        mean + 2 * mean_2,
        judge.at(
            {
                "layers.0": {
                    "w": d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"],
                    "b": d_judge["layers.0"]["b"] + d_judge_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"],
                    "b": d_judge["layers.1"]["b"] + d_judge_["layers.1"]["b"],
                },
            }
        ),
        generator.at(d_generator),
        d_z,
    )


def example_theory(key):
    p = 0.1 + 0.9 * uniform(fold(key, SITES["p"]), (6,), FLOAT)  # [6]  adversarial.lee:354
    q = 0.1 + 0.9 * uniform(fold(key, SITES["q"]), (6,), FLOAT)  # [6]  adversarial.lee:355
    p_sum = p.sum()  # adversarial.lee:356
    div = p / p_sum  # [6]
    q_sum = q.sum()
    div_2 = q / q_sum  # [6]
    d, saved_best_judge = best_judge_saved(div, div_2)
    sum_5, saved_value_of_game = value_of_game_saved(div, div_2, d)  # adversarial.lee:357
    mul_3, saved_jensen_shannon = jensen_shannon_saved(div, div_2)
    d_div_3, d_div_2_2 = jensen_shannon_backward(div, div_2, saved_jensen_shannon, FLOAT(3.0))
    d_div_4, d_div_2_3, d_d = value_of_game_backward(div, div_2, d, saved_value_of_game, FLOAT(1.0))
    d_div_5, d_div_2_4 = best_judge_backward(saved_best_judge, d, d_d)  # adversarial.lee:356
    d_div_2 = d_div_2_2 + d_div_2_3 + d_div_2_4  # [6]
    d_div = d_div_3 + d_div_4 + d_div_5  # [6]
    return (
        sum_5 + 3 * mul_3,
        d_div / p_sum - (d_div * div / p_sum).sum(),
        d_div_2 / q_sum - (d_div_2 * div_2 / q_sum).sum(),
    )


def example_alone(key):
    judge = MLP((5, 6, 1), key=fold(key, SITES["judge"]))  # adversarial.lee:361
    real = normal(fold(key, SITES["real"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:362
    start = normal(fold(key, SITES["start"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:363
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:364
    add, saved_against_own = against_own_saved(judge, real, start)  # adversarial.lee:365
    d_c, saved_negatives = negatives_saved(judge, start)
    d_judge, d_start = negatives_backward(judge, 0.1, saved_negatives, 5, c)
    d_judge_, d_real = against_own_backward(judge, real, saved_against_own, FLOAT(1.0))
    return (
        add + (c * d_c).sum(),
        judge.at(
            {
                "layers.0": {"w": d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"], "b": d_judge_["layers.0"]["b"]},
                "layers.1": {"w": d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"], "b": d_judge_["layers.1"]["b"]},
            }
        ),
        d_real,
        d_start,
        d_c,
    )


def example_moved(key):
    critic = MLP((5, 6, 1), key=fold(key, SITES["critic"]))  # adversarial.lee:369
    real = normal(fold(key, SITES["real"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:370
    fake = normal(fold(key, SITES["fake"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:371
    mix = uniform(fold(key, SITES["mix"]), (7,), FLOAT)  # [7]  adversarial.lee:372
    sub, saved_wasserstein = wasserstein_saved(critic, real, fake)  # adversarial.lee:373
    mean, saved_gradient_penalty = gradient_penalty_saved(critic, real, fake, mix)
    d_mean = FLOAT(1e1)
    d_critic = gradient_penalty_backward_parameters(critic, saved_gradient_penalty, d_mean)
    d_critic_, d_real, d_fake = wasserstein_backward(critic, real, fake, saved_wasserstein, FLOAT(1.0))
    return (
        sub + 10 * mean,
        critic.at(
            {
                "layers.0": {
                    "w": d_critic["layers.0"]["w"] + d_critic_["layers.0"]["w"],
                    "b": d_critic_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_critic["layers.1"]["w"] + d_critic_["layers.1"]["w"],
                    "b": d_critic_["layers.1"]["b"],
                },
            }
        ),
        d_real,
        d_fake,
        np.zeros(7, dtype=FLOAT),
    )


def example_cut(key):
    critic = MLP((5, 6, 1), key=fold(key, SITES["critic"]))  # adversarial.lee:377
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:378
    mlp, saved_clipped = clipped_saved(critic, 0.2)  # adversarial.lee:379
    add_2, saved_mlp = mlp.forward_saved(x)
    d_mlp, d_x = mlp.forward_backward(x, saved_mlp, 2 * add_2)
    d_critic = clipped_backward(critic, 0.2, saved_clipped, d_mlp)
    return (add_2**2).sum(), critic.at(d_critic), d_x


def example_normalised(key):
    critic = SpectralCritic(5, 6, key=fold(key, SITES["critic"]))  # adversarial.lee:383
    real = normal(fold(key, SITES["real"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:384
    fake = normal(fold(key, SITES["fake"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:385
    value, saved_hinge = hinge_saved(critic, real, fake)  # adversarial.lee:386
    d_critic, d_real, d_fake = hinge_backward(real, fake, saved_hinge, FLOAT(1.0))
    return value, critic.at(d_critic), d_real, d_fake


def example_to_order(key):
    generator = Conditional(2, 3, 6, 5, key=fold(key, SITES["generator"]))  # adversarial.lee:390
    judge = PairJudge(3, 6, 5, key=fold(key, SITES["judge"]))  # adversarial.lee:391
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:392
    z = normal(fold(key, SITES["z"]), (7, 2), FLOAT)  # [7, 2]  adversarial.lee:393
    c = randint(fold(key, SITES["c"]), (7,), 0, 3)  # int[7]  adversarial.lee:394
    other = randint(fold(key, SITES["other"]), (7,), 0, 3)  # int[7]  adversarial.lee:395
    generator_out, saved_generator = generator.forward_saved(c, z)  # adversarial.lee:396
    value, saved_judges_pairs = judges_pairs_saved(judge, x, c, generator_out, other)
    d_judge, d_x, d_generator_out = judges_pairs_backward(judge, c, other, saved_judges_pairs, FLOAT(1.0))
    d_generator, d_z = generator.forward_backward(c, saved_generator, d_generator_out)
    return value, generator.at(d_generator), judge.at(d_judge), d_x, d_z


def example_with_pairs(key):
    judge = MLP((10, 6, 1), key=fold(key, SITES["judge"]))  # adversarial.lee:400
    net = MLP((5, 6, 5), key=fold(key, SITES["net"]))  # adversarial.lee:401
    source = normal(fold(key, SITES["source"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:402
    target = normal(fold(key, SITES["target"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:403
    add_2, saved_net = net.forward_saved(source)  # adversarial.lee:404
    value, saved_paired = paired_saved(judge, add_2, source, target)
    d_judge, d_add_2, d_source_2, d_target = paired_backward(judge, 1e1, saved_paired, FLOAT(1.0))
    d_net, d_source_3 = net.forward_backward(source, saved_net, d_add_2)
    return value, judge.at(d_judge), net.at(d_net), d_source_2 + d_source_3, d_target


def example_without_pairs(key):
    ab = MLP((5, 6, 5), key=fold(key, SITES["ab"]))  # adversarial.lee:408
    ba = MLP((5, 6, 5), key=fold(key, SITES["ba"]))  # adversarial.lee:409
    judge_a = MLP((5, 4, 1), key=fold(key, SITES["judge_a"]))  # adversarial.lee:410
    judge_b = MLP((5, 4, 1), key=fold(key, SITES["judge_b"]))  # adversarial.lee:411
    a = normal(fold(key, SITES["a"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:412
    b = normal(fold(key, SITES["b"]), (6, 5), FLOAT)  # [6, 5]  adversarial.lee:413
    add_3, saved_cycle = cycle_saved(ab, ba, judge_a, judge_b, a, b)  # adversarial.lee:414
    add_2, saved_ba = ba.forward_saved(b)
    div, saved_judged = judged_saved(judge_a, a, add_2)
    d_judge_a, d_a_2, d_add_2 = judged_backward(judge_a, a, add_2, saved_judged, FLOAT(1.0))
    d_ba, d_b_2 = ba.forward_backward(b, saved_ba, d_add_2)
    d_ab, d_ba_, d_judge_a_, d_judge_b, d_a_3, d_b_3 = cycle_backward(
        ab, ba, judge_a, judge_b, a, b, 1e1, saved_cycle, FLOAT(1.0)
    )
    return (
        add_3 + div,
        ab.at(d_ab),
        ab.at(
            {
                "layers.0": {
                    "w": d_ba["layers.0"]["w"] + d_ba_["layers.0"]["w"],
                    "b": d_ba["layers.0"]["b"] + d_ba_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_ba["layers.1"]["w"] + d_ba_["layers.1"]["w"],
                    "b": d_ba["layers.1"]["b"] + d_ba_["layers.1"]["b"],
                },
            }
        ),
        judge_a.at(
            {
                "layers.0": {
                    "w": d_judge_a["layers.0"]["w"] + d_judge_a_["layers.0"]["w"],
                    "b": d_judge_a["layers.0"]["b"] + d_judge_a_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_judge_a["layers.1"]["w"] + d_judge_a_["layers.1"]["w"],
                    "b": d_judge_a["layers.1"]["b"] + d_judge_a_["layers.1"]["b"],
                },
            }
        ),
        judge_a.at(d_judge_b),
        d_a_2 + d_a_3,
        d_b_2 + d_b_3,
    )


def example_compared(key):
    a = normal(fold(key, SITES["a"]), (20, 3), FLOAT)  # [20, 3]  adversarial.lee:418
    b = 0.5 + 2 * normal(fold(key, SITES["b"]), (30, 3), FLOAT)  # [30, 3]  adversarial.lee:419
    value, saved_frechet = frechet_saved(a, b)  # adversarial.lee:420
    d_a, d_b = frechet_backward(saved_frechet, FLOAT(1.0))
    return value, d_a, d_b


def example_sure_and_diverse(key):
    z = 2 * normal(fold(key, SITES["z"]), (9, 4), FLOAT)  # [9, 4]  adversarial.lee:424
    value, saved_inception_score = inception_score_saved(z)  # adversarial.lee:425
    d_z = inception_score_backward(saved_inception_score, value, FLOAT(1.0))  # [9, 4]
    return value, d_z


def example_remembered(key):
    made = normal(fold(key, SITES["made"]), (6, 3), FLOAT)  # [6, 3]  adversarial.lee:429
    known = normal(fold(key, SITES["known"]), (9, 3), FLOAT)  # [9, 3]  adversarial.lee:430
    return memory(made, known).sum(), covered_modes(made, known, 0.9)  # adversarial.lee:431


def example_of_tokens(key):
    z = normal(fold(key, SITES["z"]), (5, 4), FLOAT)  # [5, 4]  adversarial.lee:435
    luck = 0.01 + 0.98 * uniform(fold(key, SITES["luck"]), (5, 4), FLOAT)  # [5, 4]  adversarial.lee:436
    c = normal(fold(key, SITES["c"]), (5, 4), FLOAT)  # [5, 4]  adversarial.lee:437
    neg = -np.log(luck)  # [5, 4]  adversarial.lee:330
    d_c = softmax((z - np.log(neg)) / 0.5, (1,))  # [5, 4]  prelude.lee:122
    mul_2 = c * d_c  # [5, 4]  adversarial.lee:438
    d_div = d_c * (c - mul_2.sum(axis=1, keepdims=True))  # [5, 4]  prelude.lee:122
    return mul_2.sum(), d_div / 0.5, -(d_div / -0.5 / neg / luck), d_c  # adversarial.lee:330


def example_by_rewards(key):
    z = normal(fold(key, SITES["z"]), (4,), FLOAT)  # [4]  adversarial.lee:442
    reward = normal(fold(key, SITES["reward"]), (4,), FLOAT)  # [4]  adversarial.lee:443
    d_z, saved_reinforced = reinforced_saved(z, reward)  # adversarial.lee:444
    d_z_2, d_reward = reinforced_backward(saved_reinforced, 2 * d_z)
    return (d_z**2).sum(), d_z_2, d_reward


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

    def forward_backward_input(self, d_y):
        """From d_y to the gradient by x."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_y @ self.w.T  # [rows, inputs]
        return d_x  # [rows, inputs]

    def forward_backward_input_backward(self, d_add, d_d_x):
        """From d_add and d_d_x to the gradients by the parameters and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = d_d_x @ self.w  # [rows, outputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}, d_d_add

    @staticmethod
    def forward_backward_input_backward_parameters(d_add, d_d_x):
        """From d_add and d_d_x to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        return {"w": d_w}  # [inputs, outputs]

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

    def forward_backward_input(self, x_2, d_y):
        """From d_y to the gradient by x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [x_0, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x = self.layers[0].forward_backward_input(relu_backward(x_2, d_x_2))  # [x_0, sizes_0]
        return d_x  # [x_0, sizes_0]

    def forward_backward_input_saved(self, x_2, d_y):
        """From d_y to the gradients by x and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_x_2 = self.layers[1].forward_backward_input(d_y)  # [x_0, sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_x = self.layers[0].forward_backward_input(d_add)  # [x_0, sizes_0]
        return d_x, (d_add, saved_relu_backward)

    def forward_backward_input_backward_parameters(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradient by the parameters."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1 = Linear.forward_backward_input_backward_parameters(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1}

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class RMSProp(Optimizer):
    """v ← α v + (1 - α) g²; θ ← θ - η g / (√v + ε) (Tieleman & Hinton 2012)."""

    starts = {"v": 0.0}

    def __init__(self, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0):
        self.lr, self.alpha, self.eps, self.weight_decay = lr, alpha, eps, weight_decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, v in blocks(parameters, gradient, self.v):
            g_2 = g + self.weight_decay * θ  # [count]  optim.lee:60
            v[...] = self.alpha * v + (1 - self.alpha) * g_2**2  # [count]  optim.lee:61
            θ -= self.lr * g_2 / (np.sqrt(v) + self.eps)  # [count]  optim.lee:62


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


def stop(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x  # [x_0, x_1]


def stop_2(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x  # [x_0]


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


def relu_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1]
    d_x = masked(d_y, gt)  # [x_0, x_1]
    return d_x, gt


def relu_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = masked(d_d_x, gt)  # [x_0, x_1]
    return d_d_select  # [x_0, x_1]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, 1] -> [x_0, 1]
    """
    return np.maximum(x, 0)  # [x_0, 1]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, 1]
    return d_x  # [x_0, 1]


def leaky_relu(x, slope=0.01):
    """x where it is positive, else slope · x.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return np.where(x > 0, x, slope * x)  # [x_0, x_1]  prelude.lee:71


def leaky_relu_saved(x, slope=0.01):
    """As leaky_relu, and what its gradient needs."""
    gt = x > 0  # bool[x_0, x_1]  prelude.lee:71
    return np.where(gt, x, slope * x), gt


def leaky_relu_backward(slope, gt, d_y):
    """From d_y to the gradient by x."""
    d_x = masked(d_y, gt) + np.where(gt, 0, d_y * slope)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1."""
    # prelude.lee:153
    return x.at(
        {
            "layers.0": {
                "w": np.minimum(np.maximum(x.layers[0].w, low), high),
                "b": np.minimum(np.maximum(x.layers[0].b, low), high),
            },
            "layers.1": {
                "w": np.minimum(np.maximum(x.layers[1].w, low), high),
                "b": np.minimum(np.maximum(x.layers[1].b, low), high),
            },
        }
    )


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = np.maximum(x.layers[0].w, low)  # [x.sizes_0, x.sizes_1]  prelude.lee:153
    maximum_2 = np.maximum(x.layers[0].b, low)  # [x.sizes_1]
    maximum_3 = np.maximum(x.layers[1].w, low)  # [x.sizes_1, x.sizes_2]
    maximum_4 = np.maximum(x.layers[1].b, low)  # [x.sizes_2]
    return x.at(
        {
            "layers.0": {"w": np.minimum(maximum, high), "b": np.minimum(maximum_2, high)},
            "layers.1": {"w": np.minimum(maximum_3, high), "b": np.minimum(maximum_4, high)},
        }
    ), (maximum, maximum_2, maximum_3, maximum_4)


def clip_backward(x, low, high, saved, d_mlp):
    """From d_mlp to the gradient by x."""
    maximum, maximum_2, maximum_3, maximum_4 = saved
    # gradient of return min(max(x, low), high)   prelude.lee:153
    masked_ = masked(d_mlp["layers.1"]["b"], x.layers[1].b >= low)  # [x.sizes_2]
    d_x_layers_1_b = masked(masked_, maximum_4 <= high)  # [x.sizes_2]
    masked_2 = masked(d_mlp["layers.1"]["w"], x.layers[1].w >= low)  # [x.sizes_1, x.sizes_2]
    d_x_layers_1_w = masked(masked_2, maximum_3 <= high)  # [x.sizes_1, x.sizes_2]
    masked_3 = masked(d_mlp["layers.0"]["b"], x.layers[0].b >= low)  # [x.sizes_1]
    d_x_layers_0_b = masked(masked_3, maximum_2 <= high)  # [x.sizes_1]
    masked_4 = masked(d_mlp["layers.0"]["w"], x.layers[0].w >= low)  # [x.sizes_0, x.sizes_1]
    d_x_layers_0_w = masked(masked_4, maximum <= high)  # [x.sizes_0, x.sizes_1]
    return {
        "layers.0": {"w": d_x_layers_0_w, "b": d_x_layers_0_b},
        "layers.1": {"w": d_x_layers_1_w, "b": d_x_layers_1_b},
    }


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(axis=1)  # [x_0]  prelude.lee:163
    return np.sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    reshape = (d_sqrt * 0.5 / np.where(sum_ > 0, sqrt, np.inf))[:, None]  # [x_0, 1]
    d_x = 2 * (reshape * x)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


def trace(x):
    """Σ xᵢᵢ

    x [n, n] -> []
    """
    return np.einsum("ii->i", x).sum()  # prelude.lee:242


def trace_backward(n, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sum[i](x[i, i])   prelude.lee:242
    eq = np.arange(n)[:, None] == np.arange(n)[None, :]  # bool[n, n]
    d_x = masked(np.broadcast_to(d_y, (n,))[:, None], eq)  # [n, n]
    return d_x  # [n, n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "ab": 0x8810DE87F1B5520E,
    "away": 0x7347B1E4F50542DE,
    "b": 0x754F854DE3C27284,
    "ba": 0x7A6C1A99406B3FEE,
    "c": 0x1B2C07CD64633F37,
    "critic": 0x0D9D494E3292A8F3,
    "fake": 0x3168B9CBFB73C851,
    "first": 0xA31DFC4F51C2A8A2,
    "generator": 0xB688FD1493371AF3,
    "judge": 0x984177D58232D409,
    "judge_a": 0x00DF67758F7735EC,
    "judge_b": 0x264F5A38273317A2,
    "known": 0x64655861A3D40AB2,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "luck": 0x66286CB757D479B9,
    "made": 0x9C1EB1A48623117E,
    "mix": 0x8568467C7E8A80DF,
    "net": 0xF087C76970C91612,
    "other": 0xAF93053850CE50D6,
    "p": 0x1F69F389BDD5720D,
    "q": 0x3514BD29FB70352B,
    "real": 0x5899F8A6C9946CD9,
    "reward": 0xAD098299C4960F31,
    "right": 0xB5F8407035B97742,
    "second": 0xF4C52D43B87F6485,
    "source": 0x32059B96193B42A7,
    "start": 0xF7091535421F26A0,
    "target": 0x41DEDA04111F843F,
    "w": 0x20925082A2286B9E,
    "word": 0x958EC7D727CFA44A,
    "x": 0x4F586EF96743DF4A,
    "z": 0x3041FD28A7B04184,
    "z#2": 0x92DBAFFF7C3F8640,
    "z#3": 0xC3C89541B821509A,
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


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = np.abs(x) > 100 * np.finfo(x.dtype).eps * scale
    return np.where(far, 1 / np.where(far, x, 1), 0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def matrix_sqrt(a):
    """The root of the symmetric part, which has no negative eigenvalues but for rounding."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :] @ vectors.mT


def lyapunov(a, y):
    """x with a @ x + x @ a = y, where a is the symmetric part; where eigenvalues of a cancel, x has no share."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    sums = values[..., :, None] + values[..., None, :]
    scale = np.abs(values).max(axis=-1)[..., None, None]
    return vectors @ (vectors.mT @ y @ vectors * reciprocal_or_zero(sums, scale)) @ vectors.mT


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
