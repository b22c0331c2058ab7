"""Distributions as values: a variational auto-encoder, a posterior fitted by draws, and a decoder that is fed its own words.

Made from specs/probability/distributions.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/probability/distributions.lee
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


class Auto(Model):
    """A code z of a few numbers, normal around what the encoder says, and the picture that it stands for."""

    members = ("into", "center", "width", "back", "out")

    def __init__(self, pixels, hidden, latent, *, key=(0, 0)):
        super().__init__()
        self.pixels, self.hidden, self.latent = pixels, hidden, latent
        self.into = Linear(pixels, hidden, key=fold(key, SITES["into"]))  # distributions.lee:11
        self.center = Linear(hidden, latent, key=fold(key, SITES["center"]))  # distributions.lee:12
        self.width = Linear(hidden, latent, key=fold(key, SITES["width"]))  # distributions.lee:13
        self.back = Linear(latent, hidden, key=fold(key, SITES["back"]))  # distributions.lee:14
        self.out = Linear(hidden, pixels, key=fold(key, SITES["out"]))  # distributions.lee:15

    def encode(self, x):
        """x [n, pixels] -> [n, latent], [n, latent]"""
        h = torch.tanh(self.into(x))  # [n, hidden]  distributions.lee:18
        return self.center(h), torch.exp(self.width(h))  # distributions.lee:19

    def encode_with_log(self, x):
        """x [n, pixels] -> [n, latent], [n, latent], [n, latent]"""
        h = torch.tanh(self.into(x))  # [n, hidden]  distributions.lee:18
        log_exp = self.width(h)  # [n, latent]  distributions.lee:19
        return self.center(h), torch.exp(log_exp), log_exp

    def encode_with_log_saved(self, x):
        """As encode_with_log, and what its gradient needs."""
        h = torch.tanh(self.into(x))  # [n, hidden]  distributions.lee:18
        log_exp = self.width(h)  # [n, latent]  distributions.lee:19
        return self.center(h), torch.exp(log_exp), log_exp, h

    def encode_with_log_backward(self, x, h, exp, d_add_2, d_exp, d_log_exp):
        """From d_add_2, d_exp and d_log_exp to the gradients by the parameters and x."""
        # gradient of return normal(center(h), exp(width(h)))   distributions.lee:19
        d_width, d_h_2 = self.width.forward_backward(h, d_log_exp + d_exp * exp)
        d_center, d_h_3 = self.center.forward_backward(h, d_add_2)
        # gradient of h = tanh(into(x))   distributions.lee:18
        d_h = d_h_2 + d_h_3  # [n, hidden]
        d_into, d_x = self.into.forward_backward(x, d_h * (1 - h**2))
        return {"into": d_into, "center": d_center, "width": d_width}, d_x

    def decode(self, z):
        """z [n, latent] -> [n, pixels]"""
        return torch.sigmoid(self.out(torch.tanh(self.back(z))))  # [n, pixels]  prelude.lee:36

    def decode_with_log(self, z):
        """z [n, latent] -> [n, pixels], [n, pixels]"""
        out_out = self.out(torch.tanh(self.back(z)))  # [n, pixels]  distributions.lee:22
        return torch.sigmoid(out_out), torch.nn.functional.logsigmoid(out_out)  # prelude.lee:36

    def decode_with_log_saved(self, z):
        """As decode_with_log, and what its gradient needs."""
        tanh_back_out = torch.tanh(self.back(z))  # [n, hidden]  distributions.lee:22
        out_out = self.out(tanh_back_out)  # [n, pixels]
        # prelude.lee:36
        return torch.sigmoid(out_out), torch.nn.functional.logsigmoid(out_out), (tanh_back_out, out_out)

    def decode_with_log_backward(self, z, saved, div, d_div, d_log_div):
        """From d_div and d_log_div to the gradients by the parameters and z."""
        tanh_back_out, out_out = saved
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_out_out_2 = d_log_div * torch.sigmoid(-out_out)  # [n, pixels]
        # gradient of return bernoulli(sigmoid(out(tanh(back(z)))))   distributions.lee:22
        d_out_out = d_out_out_2 + d_div * (div * (1 - div))  # [n, pixels]
        d_out, d_tanh_back_out = self.out.forward_backward(tanh_back_out, d_out_out)
        d_back, d_z = self.back.forward_backward(z, d_tanh_back_out * (1 - tanh_back_out**2))
        return {"back": d_back, "out": d_out}, d_z


def elbo(net, x, key):
    """-log p(x | z) + KL(q(z | x) ‖ p(z)), z ~ q(z | x), the mean over pictures (Kingma & Welling 2013).

    x [n, net.pixels] -> []
    """
    n = x.shape[0]
    add_2, exp, log_exp = net.encode_with_log(x)  # distributions.lee:27
    key_2 = fold(key, SITES["z"])  # distributions.lee:28
    z = add_2 + exp * normal(key_2, (n, net.latent), FLOAT, x.device)  # [n, net.latent]
    div, log_div = net.decode_with_log(z)  # distributions.lee:29
    gt = x > 0.5  # bool[n, net.pixels]
    sub = 1 - div  # [n, net.pixels]
    log = torch.log(torch.where(~gt, sub, sub.detach()))  # [n, net.pixels]
    wrong = -torch.where(gt, log_div, log).sum(dim=1)  # [n]
    add_3 = wrong + ((exp**2 + add_2**2) / 2 - log_exp - 0.5).sum(dim=1)  # [n]  distributions.lee:30
    return add_3.mean()


def elbo_saved(net, x, key):
    """As elbo, and what its gradient needs."""
    n = x.shape[0]
    add_2, exp, log_exp, saved_net = net.encode_with_log_saved(x)  # distributions.lee:27
    normal_ = normal(fold(key, SITES["z"]), (n, net.latent), FLOAT, x.device)  # [n, net.latent]  distributions.lee:28
    z = add_2 + exp * normal_  # [n, net.latent]
    div, log_div, saved_net_ = net.decode_with_log_saved(z)  # distributions.lee:29
    gt = x > 0.5  # bool[n, net.pixels]
    guard = 1 - div  # [n, net.pixels]
    wrong = -torch.where(gt, log_div, torch.log(guard)).sum(dim=1)  # [n]
    add_3 = wrong + ((exp**2 + add_2**2) / 2 - log_exp - 0.5).sum(dim=1)  # [n]  distributions.lee:30
    saved = add_2, exp, saved_net, normal_, z, div, saved_net_, gt, guard
    return add_3.mean(), saved


def elbo_backward(net, x, saved, d_y):
    """From d_y to the gradients by net and x."""
    add_2, exp, saved_net, normal_, z, div, saved_net_, gt, guard = saved
    n = x.shape[0]
    # gradient of return mean(wrong + sum(kl(q, normal(0, 1)), axis = 1))   distributions.lee:30
    div_2 = d_y / n
    # gradient of wrong = -sum(log_prob(net.decode(z), x), axis = 1)   distributions.lee:29
    select = torch.where(gt, 0, -(-div_2 / guard))  # [n, net.pixels]
    d_log_div = torch.where(gt, -div_2, 0)  # [n, net.pixels]
    d_net, d_z = net.decode_with_log_backward(z, saved_net_, div, select, d_log_div)
    # gradient of q = net.encode(x)   distributions.lee:27
    mul = 2 * (div_2 / 2)
    # gradient of return mean(wrong + sum(kl(q, normal(0, 1)), axis = 1))   distributions.lee:30
    d_log_exp = (-div_2).expand(n, net.latent)  # [n, net.latent]
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


class Rates(Model):
    """A gamma distribution for each of k rates."""

    members = ("shape", "rate")

    def __init__(self, k):
        super().__init__()
        self.k = k
        self.shape = torch.nn.Parameter(torch.zeros(k, dtype=FLOAT))  # [k]  distributions.lee:35
        self.rate = torch.nn.Parameter(torch.zeros(k, dtype=FLOAT))  # [k]

    def belief(self):
        return torch.exp(self.shape), torch.exp(self.rate)  # distributions.lee:39

    def belief_log(self):
        return torch.exp(self.shape), self.rate  # distributions.lee:39

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
    reshape = exp.expand(samples, net.k).reshape(net.k * samples)  # [net.k * samples]  distributions.lee:45
    reshape_2 = standard_gamma(reshape, fold(key, SITES["r"])).reshape(samples, net.k)  # [samples, net.k]
    exp_2 = torch.exp(-log_exp_2)  # [net.k]
    r = reshape_2 * exp_2  # [samples, net.k]
    mul = count.T * (torch.log(reshape_2) - log_exp_2)[:, :, None]  # [samples, net.k, n]  distributions.lee:46
    likelihood = (mul - r[:, :, None]).sum(dim=2)  # [samples, net.k]
    sub_4 = (exp - 2) * torch.digamma(exp) - torch.lgamma(exp)  # [net.k]  distributions.lee:47
    sum_ = (sub_4 + 2 * log_exp_2 + exp * (exp_2 - 1)).sum()
    return sum_ - likelihood.mean(dim=0).sum()


def surprise_saved(net, count, key, samples=16):
    """As surprise, and what its gradient needs."""
    exp, log_exp_2 = net.belief_log()  # distributions.lee:44
    reshape = exp.expand(samples, net.k).reshape(net.k * samples)  # [net.k * samples]  distributions.lee:45
    graft_3, saved_standard_gamma = standard_gamma_saved(reshape, fold(key, SITES["r"]))
    reshape_2 = graft_3.reshape(samples, net.k)  # [samples, net.k]
    exp_2 = torch.exp(-log_exp_2)  # [net.k]
    r = reshape_2 * exp_2  # [samples, net.k]
    mul = count.T * (torch.log(reshape_2) - log_exp_2)[:, :, None]  # [samples, net.k, n]  distributions.lee:46
    likelihood = (mul - r[:, :, None]).sum(dim=2)  # [samples, net.k]
    sub_3 = exp - 2  # [net.k]  distributions.lee:47
    digamma = torch.digamma(exp)  # [net.k]
    sub_6 = exp_2 - 1  # [net.k]
    add = sub_3 * digamma - torch.lgamma(exp) + 2 * log_exp_2  # [net.k]
    saved = exp, saved_standard_gamma, reshape_2, exp_2, sub_3, digamma, sub_6
    return (add + exp * sub_6).sum() - likelihood.mean(dim=0).sum(), saved


def surprise_backward_parameters(count, saved, d_y):
    """From d_y to the gradient by net."""
    exp, saved_standard_gamma, reshape_2, exp_2, sub_3, digamma, sub_6 = saved
    n, net_k = count.shape
    samples = reshape_2.shape[0]
    # gradient of return sum(kl(q, gamma(2, 1))) - sum(mean(likelihood, axis = 0))   distributions.lee:47
    div = -d_y / samples
    # gradient of likelihood[s, j] = sum[i](count[i, j] * log(r[s, j]) - r[s, j])   distributions.lee:46
    mul_2 = -div * n
    sum_ = (div * count.T).sum(dim=1, keepdim=True)  # [net.k, 1]
    d_sub = sum_.expand(samples, net_k, 1).reshape(samples, net_k)  # [samples, net.k]
    # gradient of r: [samples, k] ~ q   distributions.lee:45
    d_graft_3 = (d_sub / reshape_2 + mul_2 * exp_2).reshape(net_k * samples)  # [net.k * samples]
    d_reshape = standard_gamma_backward(saved_standard_gamma, d_graft_3)  # [net.k * samples]
    # gradient of return sum(kl(q, gamma(2, 1))) - sum(mean(likelihood, axis = 0))   distributions.lee:47
    d_exp_5 = d_y * sub_3 * (1 * torch.special.zeta(2, exp))  # [net.k]
    # gradient of q = net.belief()   distributions.lee:44
    d_exp_8 = d_y * sub_6 + -d_y * torch.digamma(exp) + d_exp_5  # [net.k]
    # gradient of r: [samples, k] ~ q   distributions.lee:45
    d_exp_6 = d_reshape.reshape(samples, net_k).sum(dim=0)  # [net.k]
    d_neg = (d_y * exp + (mul_2 * reshape_2).sum(dim=0)) * exp_2  # [net.k]
    # gradient of q = net.belief()   distributions.lee:44
    d_log_exp_2 = d_y * 2 - d_sub.sum(dim=0) - d_neg  # [net.k]
    d_exp = d_exp_8 + d_y * digamma + d_exp_6  # [net.k]
    d_net = Rates.belief_log_backward(exp, d_exp, d_log_exp_2)
    return d_net


class Speaker(Model):
    """A recurrent decoder that is fed its own word in place of the right one with probability `own` (Bengio et al. 2015)."""

    members = ("first", "again", "head")

    def __init__(self, vocab, d, *, key=(0, 0)):
        super().__init__()
        self.vocab, self.d = vocab, d
        uniform_ = uniform(fold(key, SITES["z"]), (vocab, d), FLOAT)  # [vocab, d]  distributions.lee:52
        mul_2 = 2 * (below(-2.0) + (below(2.0) - below(-2.0)) * uniform_)  # [vocab, d]
        maximum = (1.4142135623730951 * torch.erfinv(mul_2 - 1)).clamp(min=-2)  # [vocab, d]
        again, _ = qr(normal(fold(key, SITES["again"]), (d, d), FLOAT))  # distributions.lee:53
        self.head = Linear(d, vocab, key=fold(key, SITES["head"]))  # distributions.lee:54
        self.first = torch.nn.Parameter(1 / math.sqrt(d) * maximum.clamp(max=2))  # [vocab, d]  distributions.lee:52
        self.again = torch.nn.Parameter(again.clone())  # [d, d]  distributions.lee:53

    def forward_step(self, h, word, y_t, key, own, t):
        """h [n, d], word int[n], y_t int[n] -> [n, d], int[n], [n, vocab]"""
        n = h.shape[0]
        h_3 = torch.tanh(self.first[word] + h @ self.again)  # [n, d]  distributions.lee:60
        logits = self.head(h_3)  # [n, vocab]  distributions.lee:61
        categorical_below = softmax(logits, (1,)).cumsum(dim=1)  # [n, vocab]  distributions.lee:63
        key_3 = fold(fold(key, SITES["said"]), t)
        reshape = uniform(key_3, (n,), FLOAT, h.device)[:, None]  # [n, 1]
        mul = reshape * categorical_below[:, self.vocab - 1 :]  # [n, 1]
        sum_ = (mul >= categorical_below).to(torch.int64).sum(dim=1)  # int[n]
        said = sum_.clamp(max=self.vocab - 1)  # int[n]
        key_5 = fold(fold(key, SITES["mine"]), t)  # distributions.lee:64
        mine = uniform(key_5, (n,), FLOAT, h.device) < own  # bool[n]
        word_3 = torch.where(mine, said, y_t)  # int[n]  distributions.lee:65
        return h_3, word_3, logits

    def forward_step_saved(self, h, word, y_t, key, own, t):
        """As forward_step, and what its gradient needs."""
        n = h.shape[0]
        h_3 = torch.tanh(self.first[word] + h @ self.again)  # [n, d]  distributions.lee:60
        logits = self.head(h_3)  # [n, vocab]  distributions.lee:61
        categorical_below = softmax(logits, (1,)).cumsum(dim=1)  # [n, vocab]  distributions.lee:63
        key_3 = fold(fold(key, SITES["said"]), t)
        reshape = uniform(key_3, (n,), FLOAT, h.device)[:, None]  # [n, 1]
        mul = reshape * categorical_below[:, self.vocab - 1 :]  # [n, 1]
        sum_ = (mul >= categorical_below).to(torch.int64).sum(dim=1)  # int[n]
        said = sum_.clamp(max=self.vocab - 1)  # int[n]
        key_5 = fold(fold(key, SITES["mine"]), t)  # distributions.lee:64
        mine = uniform(key_5, (n,), FLOAT, h.device) < own  # bool[n]
        word_3 = torch.where(mine, said, y_t)  # int[n]  distributions.lee:65
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
        h = torch.zeros((n, self.d), dtype=FLOAT, device=y.device)  # [n, d]  distributions.lee:57
        word = torch.zeros(n, dtype=torch.int64, device=y.device)  # int[n]  distributions.lee:58
        out = [None] * time  # distributions.lee:59
        for t in range(time):
            h, word, out[t] = self.forward_step(h, word, y[:, t], key, own, t)
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.vocab), dtype=FLOAT, device=y.device)
        return out  # [n, time, vocab]

    def forward_saved(self, y, key, own=0.5):
        """As forward, and what its gradient needs."""
        n, time = y.shape
        h = torch.zeros((n, self.d), dtype=FLOAT, device=y.device)  # [n, d]  distributions.lee:57
        word = torch.zeros(n, dtype=torch.int64, device=y.device)  # int[n]  distributions.lee:58
        out = [None] * time  # distributions.lee:59
        saved_forward_step = [None] * time
        for t in range(time):
            h, word, out[t], saved_forward_step[t] = self.forward_step_saved(h, word, y[:, t], key, own, t)
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.vocab), dtype=FLOAT, device=y.device)
        return out, saved_forward_step

    def forward_backward(self, saved_forward_step, d_out):
        """From d_out to the gradient by the parameters."""
        n, time, _ = d_out.shape
        # gradient of for t in time:   distributions.lee:59
        d_first_2 = torch.zeros((self.vocab, self.d), dtype=FLOAT, device=d_out.device)  # [vocab, d]
        d_head_w_2 = torch.zeros((self.d, self.vocab), dtype=FLOAT, device=d_out.device)  # [d, vocab]
        d_h_3 = torch.zeros((n, self.d), dtype=FLOAT, device=d_out.device)  # [n, d]
        d_self = {"first": d_first_2, "head": {"w": d_head_w_2}}
        h_rows_2 = [None] * time
        d_add_rows = [None] * time
        d_head_b_rows = [None] * time
        for t in reversed(range(time)):
            d_h_3, d_self, h_rows_2[t], d_add_rows[t], d_head_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], d_h_3, d_out[:, t], d_self
            )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.d), dtype=FLOAT, device=d_out.device)
        )
        d_add_rows = (
            torch.stack(d_add_rows, 1)
            if d_add_rows
            else torch.zeros((n, time, self.d), dtype=FLOAT, device=d_out.device)
        )
        d_head_b_rows = (
            torch.stack(d_head_b_rows, 0)
            if d_head_b_rows
            else torch.zeros((time, self.vocab), dtype=FLOAT, device=d_out.device)
        )
        d_again = h_rows_2.reshape(n * time, self.d).T @ d_add_rows.reshape(n * time, self.d)  # [d, d]
        d_head_b = d_head_b_rows.sum(dim=0)  # [vocab]
        return {"first": d_self["first"], "again": d_again, "head": {"w": d_self["head"]["w"], "b": d_head_b}}


@torch.no_grad()
def fit(epochs=1, batch=64, *, run=None):
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Auto(pixels=64, hidden=32, latent=4, key=run.key("net")).to(run.session.place.device)  # distributions.lee:71
    opt = Adam(lr=3e-3)  # distributions.lee:72
    step = FitStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, label in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, run.key("fit")))  # distributions.lee:75
        run.report(valid=fit_valid(net, data.test.x, key=run.key("fit")))  # distributions.lee:76
    return net


class FitStep(TrainStep):
    """One step of fit for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.into.w",
        "net.into.b",
        "net.center.w",
        "net.center.b",
        "net.width.w",
        "net.width.b",
        "net.back.w",
        "net.back.b",
        "net.out.w",
        "net.out.b",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, key, t):
        into_w, into_b, center_w, center_b, width_w, width_b, back_w, back_b, out_w, out_b = self.tensors
        d_into_w, d_into_b, d_center_w, d_center_b, d_width_w, d_width_b, d_back_w, d_back_b = self.gradients[:8]
        d_out_w, d_out_b = self.gradients[8:]
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        cast = (x > 0.5).to(FLOAT)  # [batches_n, 64]  distributions.lee:75
        h = torch.tanh(torch.addmm(into_b, cast, into_w))  # [batches_n, 32]  distributions.lee:18
        affine = torch.addmm(center_b, h, center_w)  # [batches_n, 4]  nn.lee:21
        log_exp = torch.addmm(width_b, h, width_w)  # [batches_n, 4]
        exp = torch.exp(log_exp)  # [batches_n, 4]  distributions.lee:19
        key_2_2 = fold(fold(key, SITES["elbo"]), SITES["z"])  # distributions.lee:28
        normal_ = normal(key_2_2, (batches_n, 4), FLOAT, x.device)  # [batches_n, 4]
        z = affine + exp * normal_  # [batches_n, 4]
        tanh_back_out = torch.tanh(torch.addmm(back_b, z, back_w))  # [batches_n, 32]  distributions.lee:22
        out_out = torch.addmm(out_b, tanh_back_out, out_w)  # [batches_n, 64]  nn.lee:21
        div = torch.sigmoid(out_out)  # [batches_n, 64]  prelude.lee:36
        gt_2 = cast > 0.5  # bool[batches_n, 64]  distributions.lee:29
        guard = 1 - div  # [batches_n, 64]
        log_div = torch.nn.functional.logsigmoid(out_out)  # [batches_n, 64]  prelude.lee:36
        sub_2 = (exp * exp + affine * affine) / 2 - log_exp - 0.5  # [batches_n, 4]  distributions.lee:30
        sum_ = torch.where(gt_2, log_div, torch.log(guard)).sum(dim=1)  # [batches_n]  distributions.lee:29
        neg = -(1.0 / batches_n)  # distributions.lee:30
        fill = torch.full((), neg, dtype=FLOAT, device=x.device)
        select_2 = torch.where(gt_2, 0, -(neg / guard))  # [batches_n, 64]  distributions.lee:29
        d_out_out_3 = torch.ops.aten.sigmoid_backward(select_2, div)  # [batches_n, 64]  prelude.lee:36
        d_out_out = masked(fill, gt_2) * torch.sigmoid(-out_out) + d_out_out_3  # [batches_n, 64]  distributions.lee:22
        torch.sum(d_out_out, dim=0, out=d_out_b)  # [64]  nn.lee:21
        torch.mm(tanh_back_out.T, d_out_out, out=d_out_w)  # [32, 64]
        # [batches_n, 32]  distributions.lee:22
        d_back_out = torch.ops.aten.tanh_backward(d_out_out @ out_w.T, tanh_back_out)
        torch.sum(d_back_out, dim=0, out=d_back_b)  # [32]  nn.lee:21
        d_z = d_back_out @ back_w.T  # [batches_n, 4]
        torch.mm(z.T, d_back_out, out=d_back_w)  # [4, 32]
        mul_4 = 2 * (1.0 / batches_n / 2.0)  # distributions.lee:27
        d_add_2 = mul_4 * affine + d_z  # [batches_n, 4]
        d_log_exp_2 = (mul_4 * exp + d_z * normal_) * exp - scale  # [batches_n, 4]  distributions.lee:19
        torch.sum(d_log_exp_2, dim=0, out=d_width_b)  # [4]  nn.lee:21
        torch.mm(h.T, d_log_exp_2, out=d_width_w)  # [32, 4]
        torch.sum(d_add_2, dim=0, out=d_center_b)  # [4]
        torch.mm(h.T, d_add_2, out=d_center_w)  # [32, 4]
        d_h = d_log_exp_2 @ width_w.T + d_add_2 @ center_w.T  # [batches_n, 32]  distributions.lee:18
        d_into_out = torch.ops.aten.tanh_backward(d_h, h)  # [batches_n, 32]
        torch.sum(d_into_out, dim=0, out=d_into_b)  # [32]  nn.lee:21
        torch.mm(cast.T, d_into_out, out=d_into_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return (sub_2.sum(dim=1) - sum_).sum() / count  # distributions.lee:30


def fit_valid(net, data_test_x, key):
    """data_test_x [data_test_n, 64] -> []"""
    valid = elbo(net, (data_test_x > 0.5).to(FLOAT), fold(key, SITES["elbo#2"]))  # distributions.lee:76
    return valid


@torch.no_grad()
def believe(steps=400, n=5, *, run=None):
    """After enough steps the belief is gamma(2 + Σ count, 1 + n), the posterior."""
    from leec.runtime.run import Run

    run = run or Run("believe", backend="torch")
    net = Rates(k=3).to(run.session.place.device)  # distributions.lee:82
    opt = Adam(lr=0.03)  # distributions.lee:83
    step = BelieveStep(net, opt)
    count = believe_count(n, key=run.key("believe"))  # distributions.lee:84
    for step_ in run.loop("step", 1, steps, net=net, opt=opt):
        run.step(step(count, run.key("believe")))  # distributions.lee:87
    run.report(far=believe_far(net, count))  # distributions.lee:88
    return net


def believe_count(n, key):
    fill = torch.full((3 * n,), 2.0, dtype=FLOAT)  # [3 * n]  distributions.lee:84
    x = standard_gamma(fill, fold(key, SITES["x"])).reshape(n, 3)  # [n, 3]
    count = torch.floor(x)  # [n, 3]  distributions.lee:85
    return count  # [n, 3]


class BelieveStep(TrainStep):
    """One step of believe for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.shape", "net.rate")
    spare = (None,)
    waits = True

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, n_):
        return (-(-1.0 / 16) * n_,)

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, count, key, t):
        shape, rate = self.tensors
        d_shape, d_rate = self.gradients
        n_ = count.shape[0]
        (scale,) = self.held(n_)  # -(-1.0 / 16) * n_
        exp = torch.exp(shape)  # [3]  distributions.lee:39
        reshape = exp.expand(16, 3).reshape(48)  # [48]  distributions.lee:45
        key_2_2 = fold(fold(key, SITES["surprise"]), SITES["r"])
        lt = reshape < 1  # bool[48]  distributions.lee:364
        d = torch.where(lt, reshape + 1, reshape) - 0.3333333333333333  # [48]
        done = reshape < 0  # bool[48]  distributions.lee:366
        z = normal(fold(key_2_2, SITES["z"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_3 = fold(key_2_2, SITES["u"])  # distributions.lee:369
        mul = 3 * torch.sqrt(d)  # [48]  distributions.lee:370
        add_2_2 = 1 + z / mul  # [48]
        v = add_2_2 * add_2_2 * add_2_2  # [48]
        mul_4_2 = d * v  # [48]  distributions.lee:371
        add_2 = z * z / 2 + d - mul_4_2 + d * torch.log(v.clamp(min=1e-30))  # [48]
        log_u = torch.log(uniform(key_3, (48,), FLOAT, count.device))  # [48]
        fits = (v > 0) & (log_u < add_2)  # bool[48]
        done_2 = done | fits  # bool[48]  distributions.lee:373
        z_2 = normal(fold(key_2_2, SITES["z#2"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_5 = fold(key_2_2, SITES["u#2"])  # distributions.lee:369
        add_3 = 1 + z_2 / mul  # [48]  distributions.lee:370
        v_2_2 = add_3 * add_3 * add_3  # [48]
        mul_4 = d * v_2_2  # [48]  distributions.lee:371
        mul_5 = d * torch.log(v_2_2.clamp(min=1e-30))  # [48]
        log_2_2 = torch.log(uniform(key_5, (48,), FLOAT, count.device))  # [48]
        fits_2 = (v_2_2 > 0) & (log_2_2 < z_2 * z_2 / 2 + d - mul_4 + mul_5)  # bool[48]
        found = torch.where(fits & ~done, mul_4_2, d)  # [48]  distributions.lee:372
        done_3 = done_2 | fits_2  # bool[48]  distributions.lee:373
        z_3 = normal(fold(key_2_2, SITES["z#3"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_7 = fold(key_2_2, SITES["u#3"])  # distributions.lee:369
        add_6 = 1 + z_3 / mul  # [48]  distributions.lee:370
        v_3 = add_6 * add_6 * add_6  # [48]
        mul_8 = d * v_3  # [48]  distributions.lee:371
        mul_9 = d * torch.log(v_3.clamp(min=1e-30))  # [48]
        log_3 = torch.log(uniform(key_7, (48,), FLOAT, count.device))  # [48]
        fits_3 = (v_3 > 0) & (log_3 < z_3 * z_3 / 2 + d - mul_8 + mul_9)  # bool[48]
        found_2 = torch.where(fits_2 & ~done_2, mul_4, found)  # [48]  distributions.lee:372
        done_4 = done_3 | fits_3  # bool[48]  distributions.lee:373
        z_4 = normal(fold(key_2_2, SITES["z#4"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_9 = fold(key_2_2, SITES["u#4"])  # distributions.lee:369
        add_9 = 1 + z_4 / mul  # [48]  distributions.lee:370
        v_4 = add_9 * add_9 * add_9  # [48]
        mul_12 = d * v_4  # [48]  distributions.lee:371
        mul_13 = d * torch.log(v_4.clamp(min=1e-30))  # [48]
        log_5 = torch.log(uniform(key_9, (48,), FLOAT, count.device))  # [48]
        fits_4 = (v_4 > 0) & (log_5 < z_4 * z_4 / 2 + d - mul_12 + mul_13)  # bool[48]
        found_3 = torch.where(fits_3 & ~done_3, mul_8, found_2)  # [48]  distributions.lee:372
        done_5 = done_4 | fits_4  # bool[48]  distributions.lee:373
        z_5 = normal(fold(key_2_2, SITES["z#5"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_11 = fold(key_2_2, SITES["u#5"])  # distributions.lee:369
        add_12 = 1 + z_5 / mul  # [48]  distributions.lee:370
        v_5 = add_12 * add_12 * add_12  # [48]
        mul_16 = d * v_5  # [48]  distributions.lee:371
        mul_17 = d * torch.log(v_5.clamp(min=1e-30))  # [48]
        log_7 = torch.log(uniform(key_11, (48,), FLOAT, count.device))  # [48]
        fits_5 = (v_5 > 0) & (log_7 < z_5 * z_5 / 2 + d - mul_16 + mul_17)  # bool[48]
        found_4 = torch.where(fits_4 & ~done_4, mul_12, found_3)  # [48]  distributions.lee:372
        done_6 = done_5 | fits_5  # bool[48]  distributions.lee:373
        z_6 = normal(fold(key_2_2, SITES["z#6"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_13 = fold(key_2_2, SITES["u#6"])  # distributions.lee:369
        add_15 = 1 + z_6 / mul  # [48]  distributions.lee:370
        v_6 = add_15 * add_15 * add_15  # [48]
        mul_20 = d * v_6  # [48]  distributions.lee:371
        mul_21 = d * torch.log(v_6.clamp(min=1e-30))  # [48]
        log_9 = torch.log(uniform(key_13, (48,), FLOAT, count.device))  # [48]
        fits_6 = (v_6 > 0) & (log_9 < z_6 * z_6 / 2 + d - mul_20 + mul_21)  # bool[48]
        found_5 = torch.where(fits_5 & ~done_5, mul_16, found_4)  # [48]  distributions.lee:372
        done_7 = done_6 | fits_6  # bool[48]  distributions.lee:373
        z_7 = normal(fold(key_2_2, SITES["z#7"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_15 = fold(key_2_2, SITES["u#7"])  # distributions.lee:369
        add_18 = 1 + z_7 / mul  # [48]  distributions.lee:370
        v_7 = add_18 * add_18 * add_18  # [48]
        mul_24 = d * v_7  # [48]  distributions.lee:371
        mul_25 = d * torch.log(v_7.clamp(min=1e-30))  # [48]
        log_11 = torch.log(uniform(key_15, (48,), FLOAT, count.device))  # [48]
        fits_7 = (v_7 > 0) & (log_11 < z_7 * z_7 / 2 + d - mul_24 + mul_25)  # bool[48]
        found_6 = torch.where(fits_6 & ~done_6, mul_20, found_5)  # [48]  distributions.lee:372
        z_8 = normal(fold(key_2_2, SITES["z#8"]), (48,), FLOAT, count.device)  # [48]  distributions.lee:368
        key_17 = fold(key_2_2, SITES["u#8"])  # distributions.lee:369
        add_21 = 1 + z_8 / mul  # [48]  distributions.lee:370
        v_8 = add_21 * add_21 * add_21  # [48]
        mul_28 = d * v_8  # [48]  distributions.lee:371
        mul_29 = d * torch.log(v_8.clamp(min=1e-30))  # [48]
        log_13 = torch.log(uniform(key_17, (48,), FLOAT, count.device))  # [48]
        fits_8 = (v_8 > 0) & (log_13 < z_8 * z_8 / 2 + d - mul_28 + mul_29)  # bool[48]
        found_7 = torch.where(fits_7 & ~done_7, mul_24, found_6)  # [48]  distributions.lee:372
        found_8 = torch.where(fits_8 & ~(done_7 | fits_7), mul_28, found_7)  # [48]
        key_18 = fold(key_2_2, SITES["boost"])  # distributions.lee:374
        boost = uniform(key_18, (48,), FLOAT, count.device)  # [48]
        div_17 = 1 / reshape  # [48]  distributions.lee:375
        mul_30 = found_8 * boost.clamp(min=2.9802322387695312e-8) ** div_17  # [48]
        graft_3 = torch.where(lt, mul_30, found_8).clamp(min=1e-37)  # [48]
        term = graft_3 / reshape  # [48]  distributions.lee:384
        psi = torch.digamma(reshape) + div_17 - torch.log(graft_3)  # [48]  distributions.lee:385
        slope = term * psi  # [48]  distributions.lee:386
        gt_9 = term * (1 + torch.abs(psi)) > 1e-17 * torch.abs(slope)  # bool[48]  distributions.lee:388
        n = torch.zeros((), dtype=FLOAT, device=count.device)
        going = gt_9.any()
        psi_ = psi
        slope_ = slope
        term_ = term
        while going:
            n, psi_, slope_, term_, going = gamma_slope_step_in_step(n, psi_, slope_, term_, going, graft_3, reshape)
        reshape_2 = graft_3.reshape(16, 3)  # [16, 3]  distributions.lee:45
        exp_2 = torch.exp(-rate)  # [3]
        mul_32 = count.T * (torch.log(reshape_2) - rate)[:, :, None]  # [16, 3, n]  distributions.lee:46
        sub_6 = exp - 2  # [3]  distributions.lee:47
        digamma = torch.digamma(exp)  # [3]
        sub_8 = exp_2 - 1  # [3]
        add_26 = sub_6 * digamma - torch.lgamma(exp) + 2 * rate + exp * sub_8  # [3]
        likelihood = (mul_32 - (reshape_2 * exp_2)[:, :, None]).sum(dim=2)  # [16, 3]  distributions.lee:46
        sum_3 = (-1.0 / 16 * count.T).sum(dim=1, keepdim=True)  # [3, 1]
        d_sub = sum_3.expand(16, 3, 1).reshape(16, 3)  # [16, 3]
        d_reshape = (d_sub / reshape_2 + scale * exp_2).reshape(48) * slope_  # [48]  distributions.lee:376
        d_exp_8 = sub_8 - digamma + sub_6 * (1 * torch.special.zeta(2, exp))  # [3]  distributions.lee:44
        d_neg = (exp + (scale * reshape_2).sum(dim=0)) * exp_2  # [3]  distributions.lee:45
        torch.sum(d_sub, dim=0, out=d_rate)  # [3]  distributions.lee:44
        d_rate.neg_()  # [3]
        d_rate.add_(2)  # [3]
        d_rate.sub_(d_neg)  # [3]
        d_exp = d_exp_8 + digamma + d_reshape.reshape(16, 3).sum(dim=0)  # [3]
        torch.mul(d_exp, exp, out=d_shape)  # [3]  distributions.lee:39
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v_ in self.blocks[0]:
            adam_(θ, g, m, v_, lr, beta1, beta2, eps, weight_decay, t)
        return add_26.sum() - likelihood.mean(dim=0).sum()  # distributions.lee:47


def believe_far(net, count):
    """count [n, 3] -> []"""
    n = count.shape[0]
    exp, log_exp_2 = net.belief_log()  # distributions.lee:88
    add = 2 + count.sum(dim=0)  # [3]
    sub_2 = (exp - add) * torch.digamma(exp) - torch.lgamma(exp)  # [3]
    mul_2 = add * (log_exp_2 + math.log(1.0 / (n + 1)))  # [3]
    mul_4 = exp * ((n + 1) * torch.exp(-log_exp_2) - 1)  # [3]
    return (sub_2 + torch.lgamma(add) + mul_2 + mul_4).mean()


def example_encoded(key):
    net = Auto(6, 5, 3, key=fold(key, SITES["net"]))  # distributions.lee:93
    x = (uniform(fold(key, SITES["x"]), (4, 6), FLOAT) < 0.4).to(FLOAT)  # [4, 6]  distributions.lee:94
    value, saved_elbo = elbo_saved(net, x, fold(key, SITES["elbo"]))  # distributions.lee:95
    d_net, d_x = elbo_backward(net, x, saved_elbo, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x


def example_believed(key):
    net = Rates(3)  # distributions.lee:99
    graft_3 = standard_gamma(torch.full((15,), 2.0, dtype=FLOAT), fold(key, SITES["x"]))  # [15]  distributions.lee:100
    x = graft_3.reshape(5, 3)  # [5, 3]
    floor_x = torch.floor(x)  # [5, 3]  distributions.lee:101
    value, saved_surprise = surprise_saved(net, floor_x, fold(key, SITES["surprise"]))
    d_value = torch.ones((), dtype=FLOAT)
    d_net = surprise_backward_parameters(floor_x, saved_surprise, d_value)
    return value, net.at(d_net), torch.zeros((5, 3), dtype=FLOAT)


def example_spoken(key):
    net = Speaker(7, 5, key=fold(key, SITES["net"]))  # distributions.lee:105
    y = randint(fold(key, SITES["y"]), (4, 6), 0, 7)  # int[4, 6]  distributions.lee:106
    net_out, saved_net = net.forward_saved(y, fold(key, SITES["Speaker.forward"]))  # distributions.lee:107
    net_out_flat = net_out.reshape(24, 7)  # [24, 7]
    y_flat = y.reshape(24)  # int[24]
    d_net_out_flat = cross_entropy_backward(net_out_flat, y_flat, torch.ones((), dtype=FLOAT))  # [24, 7]
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
    d = torch.where(lt, a + 1, a) - 0.3333333333333333  # [rows]
    done = a < 0  # bool[rows]  distributions.lee:366
    z = normal(fold(key, SITES["z"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u = uniform(fold(key, SITES["u"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    mul = 3 * sqrt(d)  # [rows]  distributions.lee:370
    add_2 = 1 + z / mul  # [rows]
    v = add_2**2 * add_2  # [rows]
    add_4 = z**2 / 2 + d - d * v + d * torch.log(v.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits = (v > 0) & (torch.log(u) < add_4)  # bool[rows]
    logical_and = fits & ~done  # bool[rows]  distributions.lee:372
    guard = torch.where(logical_and, d, d.detach())  # [rows]
    found = torch.where(logical_and, guard * torch.where(logical_and, v, v.detach()), d)  # [rows]
    done_2 = done | fits  # bool[rows]  distributions.lee:373
    z_2 = normal(fold(key, SITES["z#2"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_2 = uniform(fold(key, SITES["u#2"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_5 = 1 + z_2 / mul  # [rows]  distributions.lee:370
    v_2 = add_5**2 * add_5  # [rows]
    mul_10 = d * torch.log(v_2.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits_2 = (v_2 > 0) & (torch.log(u_2) < z_2**2 / 2 + d - d * v_2 + mul_10)  # bool[rows]
    logical_and_2 = fits_2 & ~done_2  # bool[rows]  distributions.lee:372
    guard_4 = torch.where(logical_and_2, v_2, v_2.detach())  # [rows]
    mul_11 = torch.where(logical_and_2, d, d.detach()) * guard_4  # [rows]
    found_2 = torch.where(logical_and_2, mul_11, found)  # [rows]
    done_3 = done_2 | fits_2  # bool[rows]  distributions.lee:373
    z_3 = normal(fold(key, SITES["z#3"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_3 = uniform(fold(key, SITES["u#3"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_8 = 1 + z_3 / mul  # [rows]  distributions.lee:370
    v_3 = add_8**2 * add_8  # [rows]
    mul_15 = d * torch.log(v_3.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits_3 = (v_3 > 0) & (torch.log(u_3) < z_3**2 / 2 + d - d * v_3 + mul_15)  # bool[rows]
    logical_and_3 = fits_3 & ~done_3  # bool[rows]  distributions.lee:372
    guard_6 = torch.where(logical_and_3, v_3, v_3.detach())  # [rows]
    mul_16 = torch.where(logical_and_3, d, d.detach()) * guard_6  # [rows]
    found_3 = torch.where(logical_and_3, mul_16, found_2)  # [rows]
    done_4 = done_3 | fits_3  # bool[rows]  distributions.lee:373
    z_4 = normal(fold(key, SITES["z#4"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_4 = uniform(fold(key, SITES["u#4"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_11 = 1 + z_4 / mul  # [rows]  distributions.lee:370
    v_4 = add_11**2 * add_11  # [rows]
    mul_20 = d * torch.log(v_4.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits_4 = (v_4 > 0) & (torch.log(u_4) < z_4**2 / 2 + d - d * v_4 + mul_20)  # bool[rows]
    logical_and_4 = fits_4 & ~done_4  # bool[rows]  distributions.lee:372
    guard_8 = torch.where(logical_and_4, v_4, v_4.detach())  # [rows]
    mul_21 = torch.where(logical_and_4, d, d.detach()) * guard_8  # [rows]
    found_4 = torch.where(logical_and_4, mul_21, found_3)  # [rows]
    done_5 = done_4 | fits_4  # bool[rows]  distributions.lee:373
    z_5 = normal(fold(key, SITES["z#5"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_5 = uniform(fold(key, SITES["u#5"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_14 = 1 + z_5 / mul  # [rows]  distributions.lee:370
    v_5 = add_14**2 * add_14  # [rows]
    mul_25 = d * torch.log(v_5.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits_5 = (v_5 > 0) & (torch.log(u_5) < z_5**2 / 2 + d - d * v_5 + mul_25)  # bool[rows]
    logical_and_5 = fits_5 & ~done_5  # bool[rows]  distributions.lee:372
    guard_10 = torch.where(logical_and_5, v_5, v_5.detach())  # [rows]
    mul_26 = torch.where(logical_and_5, d, d.detach()) * guard_10  # [rows]
    found_5 = torch.where(logical_and_5, mul_26, found_4)  # [rows]
    done_6 = done_5 | fits_5  # bool[rows]  distributions.lee:373
    z_6 = normal(fold(key, SITES["z#6"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_6 = uniform(fold(key, SITES["u#6"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_17 = 1 + z_6 / mul  # [rows]  distributions.lee:370
    v_6 = add_17**2 * add_17  # [rows]
    mul_30 = d * torch.log(v_6.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits_6 = (v_6 > 0) & (torch.log(u_6) < z_6**2 / 2 + d - d * v_6 + mul_30)  # bool[rows]
    logical_and_6 = fits_6 & ~done_6  # bool[rows]  distributions.lee:372
    guard_12 = torch.where(logical_and_6, v_6, v_6.detach())  # [rows]
    mul_31 = torch.where(logical_and_6, d, d.detach()) * guard_12  # [rows]
    found_6 = torch.where(logical_and_6, mul_31, found_5)  # [rows]
    done_7 = done_6 | fits_6  # bool[rows]  distributions.lee:373
    z_7 = normal(fold(key, SITES["z#7"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_7 = uniform(fold(key, SITES["u#7"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_20 = 1 + z_7 / mul  # [rows]  distributions.lee:370
    v_7 = add_20**2 * add_20  # [rows]
    mul_35 = d * torch.log(v_7.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits_7 = (v_7 > 0) & (torch.log(u_7) < z_7**2 / 2 + d - d * v_7 + mul_35)  # bool[rows]
    logical_and_7 = fits_7 & ~done_7  # bool[rows]  distributions.lee:372
    guard_14 = torch.where(logical_and_7, v_7, v_7.detach())  # [rows]
    mul_36 = torch.where(logical_and_7, d, d.detach()) * guard_14  # [rows]
    found_7 = torch.where(logical_and_7, mul_36, found_6)  # [rows]
    done_8 = done_7 | fits_7  # bool[rows]  distributions.lee:373
    z_8 = normal(fold(key, SITES["z#8"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_8 = uniform(fold(key, SITES["u#8"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_23 = 1 + z_8 / mul  # [rows]  distributions.lee:370
    v_8 = add_23**2 * add_23  # [rows]
    mul_40 = d * torch.log(v_8.clamp(min=1e-30))  # [rows]  distributions.lee:371
    fits_8 = (v_8 > 0) & (torch.log(u_8) < z_8**2 / 2 + d - d * v_8 + mul_40)  # bool[rows]
    logical_and_8 = fits_8 & ~done_8  # bool[rows]  distributions.lee:372
    guard_16 = torch.where(logical_and_8, v_8, v_8.detach())  # [rows]
    mul_41 = torch.where(logical_and_8, d, d.detach()) * guard_16  # [rows]
    found_8 = torch.where(logical_and_8, mul_41, found_7)  # [rows]
    boost = uniform(fold(key, SITES["boost"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:374
    guard_17 = torch.where(lt, boost, boost.detach())  # [rows]
    maximum_9 = guard_17.clamp(min=2.9802322387695312e-8)  # [rows]  distributions.lee:375
    power = maximum_9 ** (1 / torch.where(lt, a, a.detach()))  # [rows]
    mul_42 = torch.where(lt, found_8, found_8.detach()) * power  # [rows]
    x = stop(torch.where(lt, mul_42, found_8).clamp(min=1e-37))  # [rows]
    return graft(x, gamma_slope(x, stop(a)) * a)  # [rows]  distributions.lee:376


def standard_gamma_saved(a, key):
    """As standard_gamma, and what its gradient needs."""
    rows = a.shape[0]
    lt = a < 1  # bool[rows]  distributions.lee:364
    d = torch.where(lt, a + 1, a) - 0.3333333333333333  # [rows]
    done = a < 0  # bool[rows]  distributions.lee:366
    z = normal(fold(key, SITES["z"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u = uniform(fold(key, SITES["u"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    mul = 3 * sqrt(d)  # [rows]  distributions.lee:370
    add_2 = 1 + z / mul  # [rows]
    v = add_2**2 * add_2  # [rows]
    mul_4 = d * v  # [rows]  distributions.lee:371
    add_4 = z**2 / 2 + d - mul_4 + d * torch.log(v.clamp(min=1e-30))  # [rows]
    fits = (v > 0) & (torch.log(u) < add_4)  # bool[rows]
    found = torch.where(fits & ~done, mul_4, d)  # [rows]  distributions.lee:372
    done_2 = done | fits  # bool[rows]  distributions.lee:373
    z_2 = normal(fold(key, SITES["z#2"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_2 = uniform(fold(key, SITES["u#2"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_5 = 1 + z_2 / mul  # [rows]  distributions.lee:370
    v_2 = add_5**2 * add_5  # [rows]
    mul_8 = d * v_2  # [rows]  distributions.lee:371
    add_7 = z_2**2 / 2 + d - mul_8 + d * torch.log(v_2.clamp(min=1e-30))  # [rows]
    fits_2 = (v_2 > 0) & (torch.log(u_2) < add_7)  # bool[rows]
    found_2 = torch.where(fits_2 & ~done_2, mul_8, found)  # [rows]  distributions.lee:372
    done_3 = done_2 | fits_2  # bool[rows]  distributions.lee:373
    z_3 = normal(fold(key, SITES["z#3"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_3 = uniform(fold(key, SITES["u#3"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_8 = 1 + z_3 / mul  # [rows]  distributions.lee:370
    v_3 = add_8**2 * add_8  # [rows]
    mul_12 = d * v_3  # [rows]  distributions.lee:371
    mul_13 = d * torch.log(v_3.clamp(min=1e-30))  # [rows]
    fits_3 = (v_3 > 0) & (torch.log(u_3) < z_3**2 / 2 + d - mul_12 + mul_13)  # bool[rows]
    found_3 = torch.where(fits_3 & ~done_3, mul_12, found_2)  # [rows]  distributions.lee:372
    done_4 = done_3 | fits_3  # bool[rows]  distributions.lee:373
    z_4 = normal(fold(key, SITES["z#4"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_4 = uniform(fold(key, SITES["u#4"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_11 = 1 + z_4 / mul  # [rows]  distributions.lee:370
    v_4 = add_11**2 * add_11  # [rows]
    mul_16 = d * v_4  # [rows]  distributions.lee:371
    mul_17 = d * torch.log(v_4.clamp(min=1e-30))  # [rows]
    fits_4 = (v_4 > 0) & (torch.log(u_4) < z_4**2 / 2 + d - mul_16 + mul_17)  # bool[rows]
    found_4 = torch.where(fits_4 & ~done_4, mul_16, found_3)  # [rows]  distributions.lee:372
    done_5 = done_4 | fits_4  # bool[rows]  distributions.lee:373
    z_5 = normal(fold(key, SITES["z#5"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_5 = uniform(fold(key, SITES["u#5"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_14 = 1 + z_5 / mul  # [rows]  distributions.lee:370
    v_5 = add_14**2 * add_14  # [rows]
    mul_20 = d * v_5  # [rows]  distributions.lee:371
    mul_21 = d * torch.log(v_5.clamp(min=1e-30))  # [rows]
    fits_5 = (v_5 > 0) & (torch.log(u_5) < z_5**2 / 2 + d - mul_20 + mul_21)  # bool[rows]
    found_5 = torch.where(fits_5 & ~done_5, mul_20, found_4)  # [rows]  distributions.lee:372
    done_6 = done_5 | fits_5  # bool[rows]  distributions.lee:373
    z_6 = normal(fold(key, SITES["z#6"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_6 = uniform(fold(key, SITES["u#6"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_17 = 1 + z_6 / mul  # [rows]  distributions.lee:370
    v_6 = add_17**2 * add_17  # [rows]
    mul_24 = d * v_6  # [rows]  distributions.lee:371
    mul_25 = d * torch.log(v_6.clamp(min=1e-30))  # [rows]
    fits_6 = (v_6 > 0) & (torch.log(u_6) < z_6**2 / 2 + d - mul_24 + mul_25)  # bool[rows]
    found_6 = torch.where(fits_6 & ~done_6, mul_24, found_5)  # [rows]  distributions.lee:372
    done_7 = done_6 | fits_6  # bool[rows]  distributions.lee:373
    z_7 = normal(fold(key, SITES["z#7"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_7 = uniform(fold(key, SITES["u#7"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_20 = 1 + z_7 / mul  # [rows]  distributions.lee:370
    v_7 = add_20**2 * add_20  # [rows]
    mul_28 = d * v_7  # [rows]  distributions.lee:371
    mul_29 = d * torch.log(v_7.clamp(min=1e-30))  # [rows]
    fits_7 = (v_7 > 0) & (torch.log(u_7) < z_7**2 / 2 + d - mul_28 + mul_29)  # bool[rows]
    found_7 = torch.where(fits_7 & ~done_7, mul_28, found_6)  # [rows]  distributions.lee:372
    done_8 = done_7 | fits_7  # bool[rows]  distributions.lee:373
    z_8 = normal(fold(key, SITES["z#8"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:368
    u_8 = uniform(fold(key, SITES["u#8"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:369
    add_23 = 1 + z_8 / mul  # [rows]  distributions.lee:370
    v_8 = add_23**2 * add_23  # [rows]
    mul_32 = d * v_8  # [rows]  distributions.lee:371
    mul_33 = d * torch.log(v_8.clamp(min=1e-30))  # [rows]
    fits_8 = (v_8 > 0) & (torch.log(u_8) < z_8**2 / 2 + d - mul_32 + mul_33)  # bool[rows]
    found_8 = torch.where(fits_8 & ~done_8, mul_32, found_7)  # [rows]  distributions.lee:372
    boost = uniform(fold(key, SITES["boost"]), (rows,), FLOAT, a.device)  # [rows]  distributions.lee:374
    mul_34 = found_8 * boost.clamp(min=2.9802322387695312e-8) ** (1 / a)  # [rows]  distributions.lee:375
    x = stop(torch.where(lt, mul_34, found_8).clamp(min=1e-37))  # [rows]
    return x, gamma_slope(x, stop(a))


def standard_gamma_backward(graft_2, d_y):
    """From d_y to the gradient by a."""
    # gradient of return graft(x, gamma_slope(x, stop(a)) * a)   distributions.lee:376
    d_a = d_y * graft_2  # [rows]
    return d_a  # [rows]


@packed(0, x=(0, 1), a=(0, 1))
def gamma_slope(x, a):
    """How a gamma variable x of rate 1 moves with its concentration where its rank P(a, x) stays (Figurnov et al. 2018).

    -(∂P/∂a) / (∂P/∂x) by the series of P: Σ xⁿ⁺¹ / (a (a + 1) .. (a + n)) · (ψ(a + n + 1) - log x)

    x [..], a [..] -> [..]
    """
    term = x / a  # [rows]  distributions.lee:384
    psi = torch.digamma(a) + 1 / a - torch.log(x)  # [rows]  distributions.lee:385
    slope = term * psi  # [rows]  distributions.lee:386
    gt = term * (1 + torch.abs(psi)) > 1e-17 * torch.abs(slope)  # bool[rows]  distributions.lee:388
    n = torch.zeros((), dtype=FLOAT, device=x.device)
    going = gt.any()
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
    gt = term_3 * (1 + torch.abs(psi_3)) > 1e-17 * torch.abs(slope_3)  # bool[rows]  distributions.lee:388
    return n_2, psi_3, slope_3, term_3, gt.any() & (n_2 < 10000)


def gamma_slope_step_in_step(n, psi, slope, term, going, x, a):
    """psi [rows], slope [rows], term [rows], x [rows], a [rows] -> [], [rows], [rows], [rows], []"""
    n_2 = n + 1  # distributions.lee:389
    add = a + n_2  # [rows]  distributions.lee:390
    term_3 = term * x / add  # [rows]
    psi_3 = psi + 1 / add  # [rows]  distributions.lee:391
    slope_3 = slope + term_3 * psi_3  # [rows]  distributions.lee:392
    gt = term_3 * (1 + torch.abs(psi_3)) > 1e-17 * torch.abs(slope_3)  # bool[rows]  distributions.lee:388
    return n_2, psi_3, slope_3, term_3, gt.any() & (n_2 < 10000)


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    surprise_ = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced(surprise_)  # losses.lee:46


def cross_entropy_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


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


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


class Graft(torch.autograd.Function):
    """The value of x with the derivative of y."""

    @staticmethod
    def forward(ctx, x, y):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return None, g if ctx.needs_input_grad[1] else None


def graft(x, y):
    """The value of x with the derivative of y."""
    return Graft.apply(x, y)


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


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


def qr(a):
    """q with orthonormal columns and r, upper triangular, with a = q @ r; the diagonal of r is never negative."""
    q, r = torch.linalg.qr(a)
    sign = torch.where(torch.diagonal(r.detach(), dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(a.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


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
