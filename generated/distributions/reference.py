"""Distributions as values: a variational auto-encoder, a posterior fitted by draws, and a decoder that is fed its own words.

Made from specs/probability/distributions.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/probability/distributions.lee
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


class Auto(Model):
    """A code z of a few numbers, normal around what the encoder says, and the picture that it stands for."""

    members = ("into", "center", "width", "back", "out")

    def __init__(self, pixels, hidden, latent, *, key=(0, 0)):
        self.pixels, self.hidden, self.latent = pixels, hidden, latent
        self.into = Linear(pixels, hidden, key=fold(key, SITES["into"]))  # distributions.lee:11
        self.center = Linear(hidden, latent, key=fold(key, SITES["center"]))  # distributions.lee:12
        self.width = Linear(hidden, latent, key=fold(key, SITES["width"]))  # distributions.lee:13
        self.back = Linear(latent, hidden, key=fold(key, SITES["back"]))  # distributions.lee:14
        self.out = Linear(hidden, pixels, key=fold(key, SITES["out"]))  # distributions.lee:15
        self.lay_out()

    def encode(self, x):
        """x [n, pixels] -> [n, latent], [n, latent]"""
        h = np.tanh(self.into(x))  # [n, hidden]  distributions.lee:18
        return self.center(h), np.exp(self.width(h))  # distributions.lee:19

    def encode_with_log(self, x):
        """x [n, pixels] -> [n, latent], [n, latent], [n, latent]"""
        h = np.tanh(self.into(x))  # [n, hidden]  distributions.lee:18
        log_exp = self.width(h)  # [n, latent]  distributions.lee:19
        return self.center(h), np.exp(log_exp), log_exp

    def encode_with_log_saved(self, x):
        """As encode_with_log, and what its gradient needs."""
        h = np.tanh(self.into(x))  # [n, hidden]  distributions.lee:18
        log_exp = self.width(h)  # [n, latent]  distributions.lee:19
        return self.center(h), np.exp(log_exp), log_exp, h

    def encode_with_log_backward(self, x, h, exp, d_add_2, d_exp, d_log_exp):
        """From d_add_2, d_exp and d_log_exp to the gradients by the parameters and x."""
        # gradient of return normal(center(h), exp(width(h)))   distributions.lee:19
        d_width, d_h_2 = self.width.forward_backward(h, d_log_exp + d_exp * exp)
        d_center, d_h_3 = self.center.forward_backward(h, d_add_2)
        # gradient of h = tanh(into(x))   distributions.lee:18
        d_h = d_h_2 + d_h_3  # [n, hidden]
        d_into, d_x = self.into.forward_backward(x, d_h * (1 - h**2))
        return {"into": d_into, "center": d_center, "width": d_width}, d_x

    def encode_with_log_backward_parameters(self, x, h, exp, d_add_2, d_exp, d_log_exp):
        """From d_add_2, d_exp and d_log_exp to the gradient by the parameters."""
        # gradient of return normal(center(h), exp(width(h)))   distributions.lee:19
        d_width, d_h_2 = self.width.forward_backward(h, d_log_exp + d_exp * exp)
        d_center, d_h_3 = self.center.forward_backward(h, d_add_2)
        # gradient of h = tanh(into(x))   distributions.lee:18
        d_h = d_h_2 + d_h_3  # [n, hidden]
        d_into = Linear.forward_backward_parameters(x, d_h * (1 - h**2))
        return {"into": d_into, "center": d_center, "width": d_width}

    def decode(self, z):
        """z [n, latent] -> [n, pixels]"""
        out_out = self.out(np.tanh(self.back(z)))  # [n, pixels]  distributions.lee:22
        y = np.exp(np.minimum(out_out, 0)) / (1 + np.exp(-np.abs(out_out)))  # [n, pixels]  prelude.lee:36
        return y  # [n, pixels]

    def decode_with_log(self, z):
        """z [n, latent] -> [n, pixels], [n, pixels]"""
        out_out = self.out(np.tanh(self.back(z)))  # [n, pixels]  distributions.lee:22
        div = np.exp(np.minimum(out_out, 0)) / (1 + np.exp(-np.abs(out_out)))  # [n, pixels]  prelude.lee:36
        return div, np.minimum(out_out, 0) - np.log1p(np.exp(-np.abs(out_out)))

    def decode_with_log_saved(self, z):
        """As decode_with_log, and what its gradient needs."""
        tanh_back_out = np.tanh(self.back(z))  # [n, hidden]  distributions.lee:22
        out_out = self.out(tanh_back_out)  # [n, pixels]
        div = np.exp(np.minimum(out_out, 0)) / (1 + np.exp(-np.abs(out_out)))  # [n, pixels]  prelude.lee:36
        return div, np.minimum(out_out, 0) - np.log1p(np.exp(-np.abs(out_out))), (tanh_back_out, out_out)

    def decode_with_log_backward(self, z, saved, div, d_div, d_log_div):
        """From d_div and d_log_div to the gradients by the parameters and z."""
        tanh_back_out, out_out = saved
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        sigmoid = np.exp(np.minimum(-out_out, 0)) / (1 + np.exp(-np.abs(-out_out)))  # [n, pixels]
        # gradient of return bernoulli(sigmoid(out(tanh(back(z)))))   distributions.lee:22
        d_out_out = d_log_div * sigmoid + d_div * (div * (1 - div))  # [n, pixels]
        d_out, d_tanh_back_out = self.out.forward_backward(tanh_back_out, d_out_out)
        d_back, d_z = self.back.forward_backward(z, d_tanh_back_out * (1 - tanh_back_out**2))
        return {"back": d_back, "out": d_out}, d_z


def elbo(net, x, key):
    """-log p(x | z) + KL(q(z | x) ‖ p(z)), z ~ q(z | x), the mean over pictures (Kingma & Welling 2013).

    x [n, net.pixels] -> []
    """
    n = x.shape[0]
    add_2, exp, log_exp = net.encode_with_log(x)  # distributions.lee:27
    z = add_2 + exp * normal(fold(key, SITES["z"]), (n, net.latent), FLOAT)  # [n, net.latent]  distributions.lee:28
    div, log_div = net.decode_with_log(z)  # distributions.lee:29
    wrong = -np.where(x > 0.5, log_div, np.log(1 - div)).sum(axis=1)  # [n]
    sum_2 = ((exp**2 + add_2**2) / 2 - log_exp - 0.5).sum(axis=1)  # [n]  distributions.lee:30
    return (wrong + sum_2).mean()


def elbo_saved(net, x, key):
    """As elbo, and what its gradient needs."""
    n = x.shape[0]
    add_2, exp, log_exp, saved_net = net.encode_with_log_saved(x)  # distributions.lee:27
    normal_ = normal(fold(key, SITES["z"]), (n, net.latent), FLOAT)  # [n, net.latent]  distributions.lee:28
    z = add_2 + exp * normal_  # [n, net.latent]
    div, log_div, saved_net_ = net.decode_with_log_saved(z)  # distributions.lee:29
    gt = x > 0.5  # bool[n, net.pixels]
    guard = 1 - div  # [n, net.pixels]
    wrong = -np.where(gt, log_div, np.log(guard)).sum(axis=1)  # [n]
    sum_2 = ((exp**2 + add_2**2) / 2 - log_exp - 0.5).sum(axis=1)  # [n]  distributions.lee:30
    saved = add_2, exp, saved_net, normal_, z, div, saved_net_, gt, guard
    return (wrong + sum_2).mean(), saved


def elbo_backward(net, x, saved, d_y):
    """From d_y to the gradients by net and x."""
    add_2, exp, saved_net, normal_, z, div, saved_net_, gt, guard = saved
    n = x.shape[0]
    # gradient of return mean(wrong + sum(kl(q, normal(0, 1)), axis = 1))   distributions.lee:30
    div_2 = d_y / n
    # gradient of wrong = -sum(log_prob(net.decode(z), x), axis = 1)   distributions.lee:29
    select = np.where(gt, 0, -(-div_2 / guard))  # [n, net.pixels]
    d_net, d_z = net.decode_with_log_backward(z, saved_net_, div, select, masked(-div_2, gt))
    # gradient of q = net.encode(x)   distributions.lee:27
    mul = 2 * (div_2 / 2)
    # gradient of return mean(wrong + sum(kl(q, normal(0, 1)), axis = 1))   distributions.lee:30
    d_log_exp = np.broadcast_to(-div_2, (n, net.latent))  # [n, net.latent]
    # gradient of q = net.encode(x)   distributions.lee:27
    d_exp = mul * exp + d_z * normal_  # [n, net.latent]
    d_add_2 = mul * add_2 + d_z  # [n, net.latent]
    d_net_, d_x = net.encode_with_log_backward(x, saved_net, exp, d_add_2, d_exp, d_log_exp)
    return {
        "into": d_net_["into"],
        "center": d_net_["center"],
        "width": d_net_["width"],
        "back": d_net["back"],
        "out": d_net["out"],
    }, d_x


def elbo_backward_parameters(net, x, saved, d_y):
    """From d_y to the gradient by net."""
    add_2, exp, saved_net, normal_, z, div, saved_net_, gt, guard = saved
    n = x.shape[0]
    # gradient of return mean(wrong + sum(kl(q, normal(0, 1)), axis = 1))   distributions.lee:30
    div_2 = d_y / n
    # gradient of wrong = -sum(log_prob(net.decode(z), x), axis = 1)   distributions.lee:29
    select = np.where(gt, 0, -(-div_2 / guard))  # [n, net.pixels]
    d_net, d_z = net.decode_with_log_backward(z, saved_net_, div, select, masked(-div_2, gt))
    # gradient of q = net.encode(x)   distributions.lee:27
    mul = 2 * (div_2 / 2)
    # gradient of return mean(wrong + sum(kl(q, normal(0, 1)), axis = 1))   distributions.lee:30
    d_log_exp = np.broadcast_to(-div_2, (n, net.latent))  # [n, net.latent]
    # gradient of q = net.encode(x)   distributions.lee:27
    d_exp = mul * exp + d_z * normal_  # [n, net.latent]
    d_add_2 = mul * add_2 + d_z  # [n, net.latent]
    d_net_ = net.encode_with_log_backward_parameters(x, saved_net, exp, d_add_2, d_exp, d_log_exp)
    return {
        "into": d_net_["into"],
        "center": d_net_["center"],
        "width": d_net_["width"],
        "back": d_net["back"],
        "out": d_net["out"],
    }


class Rates(Model):
    """A gamma distribution for each of k rates."""

    members = ("shape", "rate")

    def __init__(self, k):
        self.k = k
        self.shape = np.zeros(k, dtype=FLOAT)  # [k]  distributions.lee:35
        self.rate = np.zeros(k, dtype=FLOAT)  # [k]
        self.lay_out()

    def belief(self):
        return np.exp(self.shape), np.exp(self.rate)  # distributions.lee:39

    def belief_log(self):
        return np.exp(self.shape), self.rate  # distributions.lee:39

    @staticmethod
    def belief_log_backward(exp, d_y, d_log_exp_2):
        """From d_y and d_log_exp_2 to the gradient by the parameters."""
        # gradient of return gamma(exp(shape), exp(rate))   distributions.lee:39
        d_shape = d_y * exp  # [k]
        return {"shape": d_shape, "rate": d_log_exp_2}


def surprise(net, count, key, samples=16):
    """How far the belief is from the posterior of Poisson rates, the prior being gamma(2, 1); up to a constant.

    count [n, net.k] -> []
    """
    exp, log_exp_2 = net.belief_log()  # distributions.lee:44
    broadcast = np.broadcast_to(exp, (samples, net.k))  # [samples, net.k]  distributions.lee:45
    graft_3 = standard_gamma(broadcast.reshape(net.k * samples), fold(key, SITES["r"]))  # [net.k * samples]
    reshape_2 = graft_3.reshape(samples, net.k)  # [samples, net.k]
    exp_2 = np.exp(-log_exp_2)  # [net.k]
    r = reshape_2 * exp_2  # [samples, net.k]
    mul = count.T * (np.log(reshape_2) - log_exp_2)[:, :, None]  # [samples, net.k, n]  distributions.lee:46
    likelihood = (mul - r[:, :, None]).sum(axis=2)  # [samples, net.k]
    add = (exp - 2) * digamma(exp) - lgamma(exp) + 2 * log_exp_2  # [net.k]  distributions.lee:47
    sum_ = (add + exp * (exp_2 - 1)).sum()
    return sum_ - likelihood.mean(axis=0).sum()


def surprise_saved(net, count, key, samples=16):
    """As surprise, and what its gradient needs."""
    exp, log_exp_2 = net.belief_log()  # distributions.lee:44
    broadcast = np.broadcast_to(exp, (samples, net.k))  # [samples, net.k]  distributions.lee:45
    reshape = broadcast.reshape(net.k * samples)  # [net.k * samples]
    graft_3, saved_standard_gamma = standard_gamma_saved(reshape, fold(key, SITES["r"]))
    reshape_2 = graft_3.reshape(samples, net.k)  # [samples, net.k]
    exp_2 = np.exp(-log_exp_2)  # [net.k]
    r = reshape_2 * exp_2  # [samples, net.k]
    mul = count.T * (np.log(reshape_2) - log_exp_2)[:, :, None]  # [samples, net.k, n]  distributions.lee:46
    likelihood = (mul - r[:, :, None]).sum(axis=2)  # [samples, net.k]
    sub_3 = exp - 2  # [net.k]  distributions.lee:47
    digamma_ = digamma(exp)  # [net.k]
    sub_6 = exp_2 - 1  # [net.k]
    add_2 = sub_3 * digamma_ - lgamma(exp) + 2 * log_exp_2 + exp * sub_6  # [net.k]
    saved = exp, saved_standard_gamma, reshape_2, exp_2, sub_3, digamma_, sub_6
    return add_2.sum() - likelihood.mean(axis=0).sum(), saved


def surprise_backward_parameters(count, saved, d_y):
    """From d_y to the gradient by net."""
    exp, saved_standard_gamma, reshape_2, exp_2, sub_3, digamma_, sub_6 = saved
    n, net_k = count.shape
    samples = reshape_2.shape[0]
    # gradient of return sum(kl(q, gamma(2, 1))) - sum(mean(likelihood, axis = 0))   distributions.lee:47
    div = -d_y / samples
    # gradient of likelihood[s, j] = sum[i](count[i, j] * log(r[s, j]) - r[s, j])   distributions.lee:46
    mul_2 = -div * n
    sum_ = (div * count.T).sum(axis=1, keepdims=True)  # [net.k, 1]
    d_sub = np.broadcast_to(sum_, (samples, net_k, 1)).reshape(samples, net_k)  # [samples, net.k]
    # gradient of r: [samples, k] ~ q   distributions.lee:45
    d_graft_3 = (d_sub / reshape_2 + mul_2 * exp_2).reshape(net_k * samples)  # [net.k * samples]
    d_reshape = standard_gamma_backward(saved_standard_gamma, d_graft_3)  # [net.k * samples]
    # gradient of q = net.belief()   distributions.lee:44
    d_exp_7 = d_y * sub_6 + -d_y * digamma(exp)  # [net.k]
    d_exp_9 = d_exp_7 + d_y * sub_3 * polygamma(1, exp) + d_y * digamma_  # [net.k]
    # gradient of r: [samples, k] ~ q   distributions.lee:45
    d_neg = (d_y * exp + (mul_2 * reshape_2).sum(axis=0)) * exp_2  # [net.k]
    # gradient of q = net.belief()   distributions.lee:44
    d_exp = d_exp_9 + d_reshape.reshape(samples, net_k).sum(axis=0)  # [net.k]
    d_net = Rates.belief_log_backward(exp, d_exp, d_y * 2 - d_sub.sum(axis=0) - d_neg)
    return d_net


class Speaker(Model):
    """A recurrent decoder that is fed its own word in place of the right one with probability `own` (Bengio et al. 2015)."""

    members = ("first", "again", "head")

    def __init__(self, vocab, d, *, key=(0, 0)):
        self.vocab, self.d = vocab, d
        uniform_ = uniform(fold(key, SITES["z"]), (vocab, d), FLOAT)  # [vocab, d]  distributions.lee:52
        mul_2 = 2 * (below(-2.0) + (below(2.0) - below(-2.0)) * uniform_)  # [vocab, d]
        maximum = np.maximum(1.4142135623730951 * erfinv(mul_2 - 1), -2)  # [vocab, d]
        again, _ = qr(normal(fold(key, SITES["again"]), (d, d), FLOAT))  # distributions.lee:53
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # distributions.lee:54
        self.first = 1 / math.sqrt(d) * np.minimum(maximum, 2)  # [vocab, d]  distributions.lee:52
        self.again = again.copy()  # [d, d]  distributions.lee:53
        self.lay_out()

    def forward_step(self, h, word, y_t, key, own, t):
        """h [n, d], word int[n], y_t int[n] -> [n, d], int[n], [n, vocab]"""
        n = h.shape[0]
        h_3 = np.tanh(self.first[inside(word)] + h @ self.again)  # [n, d]  distributions.lee:60
        logits = self.head(h_3)  # [n, vocab]  distributions.lee:61
        categorical_below = np.cumsum(softmax(logits, (1,)), axis=1)  # [n, vocab]  distributions.lee:63
        categorical_u = uniform(fold(fold(key, SITES["said"]), t), (n,), FLOAT)  # [n]
        slice_ = categorical_below[:, self.vocab - 1 :]  # [n, 1]
        categorical_passed = categorical_u[:, None] * slice_ >= categorical_below  # bool[n, vocab]
        said = np.minimum(categorical_passed.astype(np.int64).sum(axis=1), self.vocab - 1)  # int[n]
        mine = uniform(fold(fold(key, SITES["mine"]), t), (n,), FLOAT) < own  # bool[n]  distributions.lee:64
        word_3 = np.where(mine, said, y_t)  # int[n]  distributions.lee:65
        return h_3, word_3, logits

    def forward_step_saved(self, h, word, y_t, key, own, t):
        """As forward_step, and what its gradient needs."""
        n = h.shape[0]
        h_3 = np.tanh(self.first[inside(word)] + h @ self.again)  # [n, d]  distributions.lee:60
        logits = self.head(h_3)  # [n, vocab]  distributions.lee:61
        categorical_below = np.cumsum(softmax(logits, (1,)), axis=1)  # [n, vocab]  distributions.lee:63
        categorical_u = uniform(fold(fold(key, SITES["said"]), t), (n,), FLOAT)  # [n]
        slice_ = categorical_below[:, self.vocab - 1 :]  # [n, 1]
        categorical_passed = categorical_u[:, None] * slice_ >= categorical_below  # bool[n, vocab]
        said = np.minimum(categorical_passed.astype(np.int64).sum(axis=1), self.vocab - 1)  # int[n]
        mine = uniform(fold(fold(key, SITES["mine"]), t), (n,), FLOAT) < own  # bool[n]  distributions.lee:64
        word_3 = np.where(mine, said, y_t)  # int[n]  distributions.lee:65
        return h_3, word_3, logits, (h, word, h_3)

    def forward_step_backward(self, saved, d_h_3, d_out, d_self):
        """From d_h_3, d_out and d_self to the gradients by h, the parameters, add and head.b."""
        h, word, h_3 = saved
        # gradient of logits = head(h)   distributions.lee:61
        d_head, d_h_3_3 = self.head.forward_backward(h_3, d_out)
        # gradient of h = tanh(first[word] + h @ again)   distributions.lee:60
        d_h_3_2 = d_h_3 + d_h_3_3  # [n, d]
        d_add = d_h_3_2 * (1 - h_3**2)  # [n, d]
        d_h = d_add @ self.again.T  # [n, d]
        d_first = scatter_add(d_add, (word,), (self.vocab, self.d))  # [vocab, d]
        # gradient of logits = head(h)   distributions.lee:61
        return (
            d_h,
            {"first": d_self["first"] + d_first, "head": {"w": d_self["head"]["w"] + d_head["w"]}},
            h,
            d_add,
            d_head["b"],
        )

    def forward(self, y, key, own=0.5):
        """y int[n, time] -> [n, time, vocab]"""
        n, time = y.shape
        h = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]  distributions.lee:57
        word = np.zeros(n, dtype=np.int64)  # int[n]  distributions.lee:58
        out = np.empty((n, time, self.vocab), dtype=FLOAT)  # [n, time, vocab]  distributions.lee:59
        for t in range(time):
            h, word, out[:, t] = self.forward_step(h, word, y[:, t], key, own, t)
        return out  # [n, time, vocab]

    def forward_saved(self, y, key, own=0.5):
        """As forward, and what its gradient needs."""
        n, time = y.shape
        h = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]  distributions.lee:57
        word = np.zeros(n, dtype=np.int64)  # int[n]  distributions.lee:58
        out = np.empty((n, time, self.vocab), dtype=FLOAT)  # [n, time, vocab]  distributions.lee:59
        saved_forward_step = [None] * time
        for t in range(time):
            h, word, out[:, t], saved_forward_step[t] = self.forward_step_saved(h, word, y[:, t], key, own, t)
        return out, saved_forward_step

    def forward_backward(self, saved_forward_step, d_out):
        """From d_out to the gradient by the parameters."""
        n, time, _ = d_out.shape
        # gradient of for t in time:   distributions.lee:59
        d_h_3 = np.zeros((n, self.d), dtype=FLOAT)  # [n, d]
        d_self = {
            "first": np.zeros((self.vocab, self.d), dtype=FLOAT),
            "head": {"w": np.zeros((self.d, self.vocab), dtype=FLOAT)},
        }
        h_rows_2 = np.empty((n, time, self.d), dtype=FLOAT)  # [n, time, d]
        d_add_rows = np.empty((n, time, self.d), dtype=FLOAT)  # [n, time, d]
        d_head_b_rows = np.empty((time, self.vocab), dtype=FLOAT)  # [time, vocab]
        for t in reversed(range(time)):
            d_h_3, d_self, h_rows_2[:, t], d_add_rows[:, t], d_head_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], d_h_3, d_out[:, t], d_self
            )
        d_again = h_rows_2.reshape(n * time, self.d).T @ d_add_rows.reshape(n * time, self.d)  # [d, d]
        d_head_b = d_head_b_rows.sum(axis=0)  # [vocab]
        return {"first": d_self["first"], "again": d_again, "head": {"w": d_self["head"]["w"], "b": d_head_b}}


def fit(epochs=1, batch=64, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Auto(pixels=64, hidden=32, latent=4, key=run.key("net"))  # distributions.lee:71
    opt = Adam(lr=3e-3)  # distributions.lee:72
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x, key=run.key("fit")))  # distributions.lee:75
        run.report(valid=fit_valid(net, data.test.x, key=run.key("fit")))  # distributions.lee:76
    return net


def fit_step(net, opt, x, key):
    """One step of fit."""
    cast = (x > 0.5).astype(FLOAT)  # [batches_n, 64]  distributions.lee:75
    loss, saved_elbo = elbo_saved(net, cast, fold(key, SITES["elbo"]))
    d_net = elbo_backward_parameters(net, cast, saved_elbo, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fit_valid(net, data_test_x, key):
    """data_test_x [data_test_n, 64] -> []"""
    valid = elbo(net, (data_test_x > 0.5).astype(FLOAT), fold(key, SITES["elbo#2"]))  # distributions.lee:76
    return valid


def believe(steps=400, n=5, *, run=None):
    """After enough steps the belief is gamma(2 + Σ count, 1 + n), the posterior."""
    from leec.runtime.run import Run

    run = run or Run("believe")
    net = Rates(k=3)  # distributions.lee:82
    opt = Adam(lr=0.03)  # distributions.lee:83
    count = believe_count(n, key=run.key("believe"))  # distributions.lee:84
    for step in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(believe_step(net, opt, count, key=run.key("believe")))  # distributions.lee:87
    run.report(far=believe_far(net, count))  # distributions.lee:88
    return net


def believe_count(n, key):
    graft_3 = standard_gamma(np.full(3 * n, 2.0, dtype=FLOAT), fold(key, SITES["x"]))  # [3 * n]  distributions.lee:84
    x = graft_3.reshape(n, 3)  # [n, 3]
    count = np.floor(x)  # [n, 3]  distributions.lee:85
    return count  # [n, 3]


def believe_step(net, opt, count, key):
    """One step of believe."""
    loss, saved_surprise = surprise_saved(net, count, fold(key, SITES["surprise"]))  # distributions.lee:87
    d_net = surprise_backward_parameters(count, saved_surprise, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def believe_far(net, count):
    """count [n, 3] -> []"""
    n = count.shape[0]
    exp, log_exp_2 = net.belief_log()  # distributions.lee:88
    add = 2 + count.sum(axis=0)  # [3]
    gamma_shape = (exp - add) * digamma(exp) - lgamma(exp) + lgamma(add)  # [3]
    add_3 = gamma_shape + add * (log_exp_2 + math.log(1.0 / (n + 1)))  # [3]
    return (add_3 + exp * ((n + 1) * np.exp(-log_exp_2) - 1)).mean()


def example_encoded(key):
    net = Auto(6, 5, 3, key=fold(key, SITES["net"]))  # distributions.lee:93
    x = (uniform(fold(key, SITES["x"]), (4, 6), FLOAT) < 0.4).astype(FLOAT)  # [4, 6]  distributions.lee:94
    value, saved_elbo = elbo_saved(net, x, fold(key, SITES["elbo"]))  # distributions.lee:95
    d_net, d_x = elbo_backward(net, x, saved_elbo, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_believed(key):
    net = Rates(3)  # distributions.lee:99
    graft_3 = standard_gamma(np.full(15, 2.0, dtype=FLOAT), fold(key, SITES["x"]))  # [15]  distributions.lee:100
    x = graft_3.reshape(5, 3)  # [5, 3]
    floor_x = np.floor(x)  # [5, 3]  distributions.lee:101
    value, saved_surprise = surprise_saved(net, floor_x, fold(key, SITES["surprise"]))
    d_net = surprise_backward_parameters(floor_x, saved_surprise, FLOAT(1.0))
    return value, net.at(d_net), np.zeros((5, 3), dtype=FLOAT)


def example_spoken(key):
    net = Speaker(7, 5, key=fold(key, SITES["net"]))  # distributions.lee:105
    y = randint(fold(key, SITES["y"]), (4, 6), 0, 7)  # int[4, 6]  distributions.lee:106
    net_out, saved_net = net.forward_saved(y, fold(key, SITES["Speaker.forward"]))  # distributions.lee:107
    net_out_flat = net_out.reshape(24, 7)  # [24, 7]
    y_flat = y.reshape(24)  # int[24]
    d_net_out_flat = cross_entropy_backward(net_out_flat, y_flat, FLOAT(1.0))  # [24, 7]
    d_net = net.forward_backward(saved_net, d_net_out_flat.reshape(4, 6, 7))
    return cross_entropy(net_out_flat, y_flat), net.at(d_net)


def below(z):
    """Φ(z): the share of standard normal numbers up to z."""
    return (1 + math.erf(z / 1.4142135623730951)) / 2  # distributions.lee:333


@packed(0, a=(0, 1))
def standard_gamma(a, key):
    """Gamma variables of rate 1 (Marsaglia & Tsang 2000), with the gradient by their concentration a.

    A proposal is taken with more than 95 %, so after eight rounds all but one of 10¹⁰ are; that one is d.

    a [..] -> [..]
    """
    rows = a.shape[0]
    lt = a < 1  # bool[rows]  distributions.lee:364
    d = np.where(lt, a + 1, a) - 0.3333333333333333  # [rows]
    done = a < 0  # bool[rows]  distributions.lee:366
    z = normal(fold(key, SITES["z"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u = uniform(fold(key, SITES["u"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    mul = 3 * np.sqrt(d)  # [rows]  distributions.lee:370
    add_2 = 1 + z / mul  # [rows]
    v = add_2**2 * add_2  # [rows]
    mul_4 = d * v  # [rows]  distributions.lee:371
    add_4 = z**2 / 2 + d - mul_4 + d * np.log(np.maximum(v, 1e-30))  # [rows]
    fits = (v > 0) & (np.log(u) < add_4)  # bool[rows]
    found = np.where(fits & ~done, mul_4, d)  # [rows]  distributions.lee:372
    done_2 = done | fits  # bool[rows]  distributions.lee:373
    z_2 = normal(fold(key, SITES["z#2"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_2 = uniform(fold(key, SITES["u#2"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_5 = 1 + z_2 / mul  # [rows]  distributions.lee:370
    v_2 = add_5**2 * add_5  # [rows]
    mul_8 = d * v_2  # [rows]  distributions.lee:371
    add_7 = z_2**2 / 2 + d - mul_8 + d * np.log(np.maximum(v_2, 1e-30))  # [rows]
    fits_2 = (v_2 > 0) & (np.log(u_2) < add_7)  # bool[rows]
    found_2 = np.where(fits_2 & ~done_2, mul_8, found)  # [rows]  distributions.lee:372
    done_3 = done_2 | fits_2  # bool[rows]  distributions.lee:373
    z_3 = normal(fold(key, SITES["z#3"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_3 = uniform(fold(key, SITES["u#3"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_8 = 1 + z_3 / mul  # [rows]  distributions.lee:370
    v_3 = add_8**2 * add_8  # [rows]
    mul_12 = d * v_3  # [rows]  distributions.lee:371
    add_10 = z_3**2 / 2 + d - mul_12 + d * np.log(np.maximum(v_3, 1e-30))  # [rows]
    fits_3 = (v_3 > 0) & (np.log(u_3) < add_10)  # bool[rows]
    found_3 = np.where(fits_3 & ~done_3, mul_12, found_2)  # [rows]  distributions.lee:372
    done_4 = done_3 | fits_3  # bool[rows]  distributions.lee:373
    z_4 = normal(fold(key, SITES["z#4"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_4 = uniform(fold(key, SITES["u#4"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_11 = 1 + z_4 / mul  # [rows]  distributions.lee:370
    v_4 = add_11**2 * add_11  # [rows]
    mul_16 = d * v_4  # [rows]  distributions.lee:371
    add_13 = z_4**2 / 2 + d - mul_16 + d * np.log(np.maximum(v_4, 1e-30))  # [rows]
    fits_4 = (v_4 > 0) & (np.log(u_4) < add_13)  # bool[rows]
    found_4 = np.where(fits_4 & ~done_4, mul_16, found_3)  # [rows]  distributions.lee:372
    done_5 = done_4 | fits_4  # bool[rows]  distributions.lee:373
    z_5 = normal(fold(key, SITES["z#5"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_5 = uniform(fold(key, SITES["u#5"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_14 = 1 + z_5 / mul  # [rows]  distributions.lee:370
    v_5 = add_14**2 * add_14  # [rows]
    mul_20 = d * v_5  # [rows]  distributions.lee:371
    add_16 = z_5**2 / 2 + d - mul_20 + d * np.log(np.maximum(v_5, 1e-30))  # [rows]
    fits_5 = (v_5 > 0) & (np.log(u_5) < add_16)  # bool[rows]
    found_5 = np.where(fits_5 & ~done_5, mul_20, found_4)  # [rows]  distributions.lee:372
    done_6 = done_5 | fits_5  # bool[rows]  distributions.lee:373
    z_6 = normal(fold(key, SITES["z#6"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_6 = uniform(fold(key, SITES["u#6"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_17 = 1 + z_6 / mul  # [rows]  distributions.lee:370
    v_6 = add_17**2 * add_17  # [rows]
    mul_24 = d * v_6  # [rows]  distributions.lee:371
    add_19 = z_6**2 / 2 + d - mul_24 + d * np.log(np.maximum(v_6, 1e-30))  # [rows]
    fits_6 = (v_6 > 0) & (np.log(u_6) < add_19)  # bool[rows]
    found_6 = np.where(fits_6 & ~done_6, mul_24, found_5)  # [rows]  distributions.lee:372
    done_7 = done_6 | fits_6  # bool[rows]  distributions.lee:373
    z_7 = normal(fold(key, SITES["z#7"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_7 = uniform(fold(key, SITES["u#7"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_20 = 1 + z_7 / mul  # [rows]  distributions.lee:370
    v_7 = add_20**2 * add_20  # [rows]
    mul_28 = d * v_7  # [rows]  distributions.lee:371
    add_22 = z_7**2 / 2 + d - mul_28 + d * np.log(np.maximum(v_7, 1e-30))  # [rows]
    fits_7 = (v_7 > 0) & (np.log(u_7) < add_22)  # bool[rows]
    found_7 = np.where(fits_7 & ~done_7, mul_28, found_6)  # [rows]  distributions.lee:372
    done_8 = done_7 | fits_7  # bool[rows]  distributions.lee:373
    z_8 = normal(fold(key, SITES["z#8"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_8 = uniform(fold(key, SITES["u#8"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_23 = 1 + z_8 / mul  # [rows]  distributions.lee:370
    v_8 = add_23**2 * add_23  # [rows]
    mul_32 = d * v_8  # [rows]  distributions.lee:371
    add_25 = z_8**2 / 2 + d - mul_32 + d * np.log(np.maximum(v_8, 1e-30))  # [rows]
    fits_8 = (v_8 > 0) & (np.log(u_8) < add_25)  # bool[rows]
    found_8 = np.where(fits_8 & ~done_8, mul_32, found_7)  # [rows]  distributions.lee:372
    boost = uniform(fold(key, SITES["boost"]), (rows,), FLOAT)  # [rows]  distributions.lee:374
    power = np.maximum(boost, 2.9802322387695312e-8) ** (1 / a)  # [rows]  distributions.lee:375
    x = stop(np.maximum(np.where(lt, found_8 * power, found_8), 1e-37))  # [rows]
    return x  # [rows]


def standard_gamma_saved(a, key):
    """As standard_gamma, and what its gradient needs."""
    rows = a.shape[0]
    lt = a < 1  # bool[rows]  distributions.lee:364
    d = np.where(lt, a + 1, a) - 0.3333333333333333  # [rows]
    done = a < 0  # bool[rows]  distributions.lee:366
    z = normal(fold(key, SITES["z"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u = uniform(fold(key, SITES["u"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    mul = 3 * np.sqrt(d)  # [rows]  distributions.lee:370
    add_2 = 1 + z / mul  # [rows]
    v = add_2**2 * add_2  # [rows]
    mul_4 = d * v  # [rows]  distributions.lee:371
    add_4 = z**2 / 2 + d - mul_4 + d * np.log(np.maximum(v, 1e-30))  # [rows]
    fits = (v > 0) & (np.log(u) < add_4)  # bool[rows]
    found = np.where(fits & ~done, mul_4, d)  # [rows]  distributions.lee:372
    done_2 = done | fits  # bool[rows]  distributions.lee:373
    z_2 = normal(fold(key, SITES["z#2"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_2 = uniform(fold(key, SITES["u#2"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_5 = 1 + z_2 / mul  # [rows]  distributions.lee:370
    v_2 = add_5**2 * add_5  # [rows]
    mul_8 = d * v_2  # [rows]  distributions.lee:371
    add_7 = z_2**2 / 2 + d - mul_8 + d * np.log(np.maximum(v_2, 1e-30))  # [rows]
    fits_2 = (v_2 > 0) & (np.log(u_2) < add_7)  # bool[rows]
    found_2 = np.where(fits_2 & ~done_2, mul_8, found)  # [rows]  distributions.lee:372
    done_3 = done_2 | fits_2  # bool[rows]  distributions.lee:373
    z_3 = normal(fold(key, SITES["z#3"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_3 = uniform(fold(key, SITES["u#3"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_8 = 1 + z_3 / mul  # [rows]  distributions.lee:370
    v_3 = add_8**2 * add_8  # [rows]
    mul_12 = d * v_3  # [rows]  distributions.lee:371
    add_10 = z_3**2 / 2 + d - mul_12 + d * np.log(np.maximum(v_3, 1e-30))  # [rows]
    fits_3 = (v_3 > 0) & (np.log(u_3) < add_10)  # bool[rows]
    found_3 = np.where(fits_3 & ~done_3, mul_12, found_2)  # [rows]  distributions.lee:372
    done_4 = done_3 | fits_3  # bool[rows]  distributions.lee:373
    z_4 = normal(fold(key, SITES["z#4"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_4 = uniform(fold(key, SITES["u#4"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_11 = 1 + z_4 / mul  # [rows]  distributions.lee:370
    v_4 = add_11**2 * add_11  # [rows]
    mul_16 = d * v_4  # [rows]  distributions.lee:371
    add_13 = z_4**2 / 2 + d - mul_16 + d * np.log(np.maximum(v_4, 1e-30))  # [rows]
    fits_4 = (v_4 > 0) & (np.log(u_4) < add_13)  # bool[rows]
    found_4 = np.where(fits_4 & ~done_4, mul_16, found_3)  # [rows]  distributions.lee:372
    done_5 = done_4 | fits_4  # bool[rows]  distributions.lee:373
    z_5 = normal(fold(key, SITES["z#5"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_5 = uniform(fold(key, SITES["u#5"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_14 = 1 + z_5 / mul  # [rows]  distributions.lee:370
    v_5 = add_14**2 * add_14  # [rows]
    mul_20 = d * v_5  # [rows]  distributions.lee:371
    add_16 = z_5**2 / 2 + d - mul_20 + d * np.log(np.maximum(v_5, 1e-30))  # [rows]
    fits_5 = (v_5 > 0) & (np.log(u_5) < add_16)  # bool[rows]
    found_5 = np.where(fits_5 & ~done_5, mul_20, found_4)  # [rows]  distributions.lee:372
    done_6 = done_5 | fits_5  # bool[rows]  distributions.lee:373
    z_6 = normal(fold(key, SITES["z#6"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_6 = uniform(fold(key, SITES["u#6"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_17 = 1 + z_6 / mul  # [rows]  distributions.lee:370
    v_6 = add_17**2 * add_17  # [rows]
    mul_24 = d * v_6  # [rows]  distributions.lee:371
    add_19 = z_6**2 / 2 + d - mul_24 + d * np.log(np.maximum(v_6, 1e-30))  # [rows]
    fits_6 = (v_6 > 0) & (np.log(u_6) < add_19)  # bool[rows]
    found_6 = np.where(fits_6 & ~done_6, mul_24, found_5)  # [rows]  distributions.lee:372
    done_7 = done_6 | fits_6  # bool[rows]  distributions.lee:373
    z_7 = normal(fold(key, SITES["z#7"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_7 = uniform(fold(key, SITES["u#7"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_20 = 1 + z_7 / mul  # [rows]  distributions.lee:370
    v_7 = add_20**2 * add_20  # [rows]
    mul_28 = d * v_7  # [rows]  distributions.lee:371
    add_22 = z_7**2 / 2 + d - mul_28 + d * np.log(np.maximum(v_7, 1e-30))  # [rows]
    fits_7 = (v_7 > 0) & (np.log(u_7) < add_22)  # bool[rows]
    found_7 = np.where(fits_7 & ~done_7, mul_28, found_6)  # [rows]  distributions.lee:372
    done_8 = done_7 | fits_7  # bool[rows]  distributions.lee:373
    z_8 = normal(fold(key, SITES["z#8"]), (rows,), FLOAT)  # [rows]  distributions.lee:368
    u_8 = uniform(fold(key, SITES["u#8"]), (rows,), FLOAT)  # [rows]  distributions.lee:369
    add_23 = 1 + z_8 / mul  # [rows]  distributions.lee:370
    v_8 = add_23**2 * add_23  # [rows]
    mul_32 = d * v_8  # [rows]  distributions.lee:371
    add_25 = z_8**2 / 2 + d - mul_32 + d * np.log(np.maximum(v_8, 1e-30))  # [rows]
    fits_8 = (v_8 > 0) & (np.log(u_8) < add_25)  # bool[rows]
    found_8 = np.where(fits_8 & ~done_8, mul_32, found_7)  # [rows]  distributions.lee:372
    boost = uniform(fold(key, SITES["boost"]), (rows,), FLOAT)  # [rows]  distributions.lee:374
    power = np.maximum(boost, 2.9802322387695312e-8) ** (1 / a)  # [rows]  distributions.lee:375
    x = stop(np.maximum(np.where(lt, found_8 * power, found_8), 1e-37))  # [rows]
    return x, gamma_slope(x, stop(a))


def standard_gamma_backward(graft_2, d_graft_3):
    """From d_graft_3 to the gradient by a."""
    # gradient of return graft(x, gamma_slope(x, stop(a)) * a)   distributions.lee:376
    d_a = d_graft_3 * graft_2  # [rows]
    return d_a  # [rows]


@packed(0, x=(0, 1), a=(0, 1))
def gamma_slope(x, a):
    """How a gamma variable x of rate 1 moves with its concentration where its rank P(a, x) stays (Figurnov et al. 2018).

    -(∂P/∂a) / (∂P/∂x) by the series of P: Σ xⁿ⁺¹ / (a (a + 1) .. (a + n)) · (ψ(a + n + 1) - log x)

    x [..], a [..] -> [..]
    """
    term = x / a  # [rows]  distributions.lee:384
    psi = digamma(a) + 1 / a - np.log(x)  # [rows]  distributions.lee:385
    slope = term * psi  # [rows]  distributions.lee:386
    n = FLOAT(0.0)  # distributions.lee:388
    going = (term * (1 + np.abs(psi)) > 1e-17 * np.abs(slope)).any()
    psi_ = psi
    slope_ = slope
    term_ = term
    while going:
        n, psi_, slope_, term_, going = gamma_slope_step(n, psi_, slope_, term_, going, x, a)
    return stop(slope_)  # [rows]  distributions.lee:393


def gamma_slope_step(n, psi, slope, term, going, x, a):
    """psi [rows], slope [rows], term [rows], x [rows], a [rows] -> [], [rows], [rows], [rows], []"""
    n_2 = n + 1  # distributions.lee:389
    add = a + n_2  # [rows]  distributions.lee:390
    term_3 = term * x / add  # [rows]
    psi_3 = psi + 1 / add  # [rows]  distributions.lee:391
    slope_3 = slope + term_3 * psi_3  # [rows]  distributions.lee:392
    gt = term_3 * (1 + np.abs(psi_3)) > 1e-17 * np.abs(slope_3)  # bool[rows]  distributions.lee:388
    return n_2, psi_3, slope_3, term_3, gt.any() & (n_2 < 10000)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise_ = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced(surprise_)  # losses.lee:46


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

    x [x_0] -> [x_0]
    """
    return x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "Speaker.forward": 0x118185400B12A1E5,
    "again": 0xC38127D6CB8E448E,
    "b": 0x754F854DE3C27284,
    "back": 0xA268154DB481E555,
    "boost": 0x95EDB96C5983A1F6,
    "center": 0xBFF882B019B2B7E9,
    "elbo": 0xD6F8EA2482A8879D,
    "elbo#2": 0xC8603C4F01893EE4,
    "head": 0xBD7890018BD219D5,
    "into": 0x6A0BB9853BACF35D,
    "mine": 0xEEEC08F14191DA14,
    "net": 0xF087C76970C91612,
    "out": 0x00B417F045D422B4,
    "r": 0xF1DC5A7F078E3ACB,
    "said": 0xCF2A781806601535,
    "surprise": 0x46D51739BC7B83F1,
    "u": 0x08D267E10C593806,
    "u#2": 0xE9EDBA96EE81FF58,
    "u#3": 0x3BA7B40DC1585ACD,
    "u#4": 0x2ED296AEC5C8CD5B,
    "u#5": 0xFB685AA8F020AF5A,
    "u#6": 0x2A2A8E35D2381C00,
    "u#7": 0xF19EDA58D050D91B,
    "u#8": 0xB0130107C08DD93D,
    "w": 0x20925082A2286B9E,
    "width": 0xF9101E2B361FFC65,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
    "z#2": 0x92DBAFFF7C3F8640,
    "z#3": 0xC3C89541B821509A,
    "z#4": 0x7B350385336D1B05,
    "z#5": 0xA1A83BF89B7E5F98,
    "z#6": 0x5BBE3A83834F3C00,
    "z#7": 0x6C5D12BF2FB4AC55,
    "z#8": 0x1E610EBAF6248AB0,
}


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


def polynomial(x, *coefficients):
    """The polynomial with these coefficients, the highest power first."""
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


def erf(x):
    """Error function, by the rational approximations of Sun's fdlibm (s_erf.c)."""
    a, s = np.abs(x), x * x
    p = polynomial(
        s,
        *(-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02),
        *(-3.25042107247001499370e-01, 1.28379167095512558561e-01),
    )
    q = polynomial(
        s,
        *(-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03),
        *(6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0),
    )
    return np.where(a < 0.84375, x + x * (p / q), np.sign(x) * (1 - erfc_tail(np.maximum(a, 0.84375))))


def erfc(x):
    """1 - erf(x), to full relative precision where it is small."""
    tail = erfc_tail(np.maximum(np.abs(x), 0.84375))
    return np.where(np.abs(x) < 0.84375, 1 - erf(np.clip(x, -0.84375, 0.84375)), np.where(x > 0, tail, 2 - tail))


def erfc_tail(x):
    """erfc for x of at least 0.84375: near 1 a quotient of polynomials, beyond with exp(-x * x) split in two."""
    s = x - 1
    p = polynomial(
        s,
        *(-2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01),
        *(3.18346619901161753674e-01, -3.72207876035701323847e-01, 4.14856118683748331666e-01),
        -2.36211856075265944077e-03,
    )
    q = polynomial(
        s,
        *(1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01),
        *(7.18286544141962662868e-02, 5.40397917702171048937e-01, 1.06420880400844228286e-01, 1.0),
    )
    near = 1 - 8.45062911510467529297e-01 - p / q
    x = np.minimum(x, 28)  # beyond it is 0
    s = 1 / (x * x)
    r = polynomial(
        s,
        *(-9.81432934416914548592e00, -8.12874355063065934246e01, -1.84605092906711035994e02),
        *(-1.62396669462573470355e02, -6.23753324503260060396e01, -1.05586262253232909814e01),
        *(-6.93858572707181764372e-01, -9.86494403484714822705e-03),
    ) / polynomial(
        s,
        *(-6.04244152148580987438e-02, 6.57024977031928170135e00, 1.08635005541779435134e02),
        *(4.29008140027567833386e02, 6.45387271733267880336e02, 4.34565877475229228821e02),
        *(1.37657754143519042600e02, 1.96512716674392571292e01, 1.0),
    )
    far = polynomial(
        s,
        *(-4.83519191608651397019e02, -1.02509513161107724954e03, -6.37566443368389627722e02),
        *(-1.60636384855821916062e02, -1.77579549177547519889e01, -7.99283237680523006574e-01),
        -9.86494292470009928597e-03,
    ) / polynomial(
        s,
        *(-2.24409524465858183362e01, 4.74528541206955367215e02, 2.55305040643316442583e03),
        *(3.19985821950859553908e03, 1.53672958608443695994e03, 3.25792512996573918826e02),
        *(3.03380607434824582924e01, 1.0),
    )
    top = x.astype(np.float32).astype(x.dtype)  # its square is exact
    power = np.exp(-top * top - 0.5625) * np.exp((top - x) * (top + x) + np.where(x < 1 / 0.35, r, far))
    return np.where(x < 1.25, near, power / x)


def erfinv(x):
    """Inverse of erf: a guess by Winitzki's formula, then steps of Halley's rule; near 1 by erfc, which stays precise."""
    a = np.abs(x)
    inner = np.minimum(a, 1 - np.finfo(x.dtype).epsneg)
    s = np.log((1 - inner) * (1 + inner))
    t = 2 / (0.147 * np.pi) + s / 2
    y = np.sqrt(np.sqrt(t * t - s / 0.147) - t)
    for _ in range(3):
        missed = np.where(inner < 0.5, erf(y) - inner, (1 - inner) - erfc(y))
        step = missed * (0.5 * math.sqrt(math.pi)) * np.exp(y * y)
        y = y - step / (1 + y * step)
    return np.sign(x) * np.where(a < 1, y, np.inf)


def lgamma(x):
    """Logarithm of |gamma(x)|, infinite at 0, -1, -2, .."""
    poles = [math.inf if v <= 0 and v % 1 == 0 else math.lgamma(v) for v in np.ravel(x).tolist()]
    return np.array(poles, x.dtype).reshape(x.shape)


def digamma(x):
    """Derivative of lgamma: reflected below 1/2, moved up by 8, then a series (Abramowitz and Stegun 6.3.18)."""
    y = np.where(x < 0.5, 1 - x, x)
    below = sum(1 / (y + k) for k in range(8))
    y = y + 8
    s = 1 / (y * y)
    series = polynomial(s, -1 / 12, 691 / 32760, -1 / 132, 1 / 240, -1 / 252, 1 / 120, -1 / 12) * s
    above = np.log(y) - 0.5 / y + series - below
    mirrored = above - np.pi / np.tan(np.pi * np.where(x < 0.5, x, 0.25))
    return np.where(x < 0.5, np.where((x < 0) & (x % 1 == 0), np.nan, mirrored), above)


def polygamma(n, x):
    """n-th derivative of digamma for positive x: n! times a Hurwitz zeta sum by Euler and Maclaurin."""
    s, y = n + 1, x + 12
    total = sum((x + k) ** -s for k in range(12)) + y**-n / n + 0.5 * y**-s
    term, bernoulli = s * y ** (-s - 1) / 2, (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
    for j, b in enumerate(bernoulli, 1):
        total = total + b * term
        term = term * (s + 2 * j - 1) * (s + 2 * j) / ((2 * j + 1) * (2 * j + 2)) / (y * y)
    return (-1) ** (n + 1) * math.factorial(n) * total


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


def qr(a):
    """q with orthonormal columns and r, upper triangular, with a = q @ r; the diagonal of r is never negative."""
    q, r = np.linalg.qr(a)
    sign = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1, 1).astype(a.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


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
