"""Generation by two players (inventory H11 to H23): a generator makes, a discriminator judges.

Made from specs/generative/adversarial.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generative/adversarial.lee
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


def discriminates_saved(judge, real, fake):
    """As discriminates, and what its gradient needs."""
    add_2, saved_judge = judge.forward_saved(real)  # adversarial.lee:15
    add_2_2, saved_judge_ = judge.forward_saved(fake)
    mean_2 = torch.nn.functional.logsigmoid(-add_2_2).mean()
    return -(torch.nn.functional.logsigmoid(add_2).mean() + mean_2), (add_2, saved_judge, saved_judge_, -add_2_2)


def discriminates_backward(judge, real, fake, saved, d_add):
    """From d_add to the gradients by judge, real and fake."""
    add_2, saved_judge, saved_judge_, neg = saved
    n = real.shape[0]
    m = fake.shape[0]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_add_2_2 = -(-d_add / (judge.sizes[2] * m) * torch.sigmoid(-neg))  # [m, judge.sizes_2]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    d_judge, d_fake = judge.forward_backward(fake, saved_judge_, d_add_2_2)
    d_add_2 = -d_add / (judge.sizes[2] * n) * torch.sigmoid(-add_2)  # [n, judge.sizes_2]
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
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_add_2_2 = -(-d_add / (judge.sizes[2] * m) * torch.sigmoid(-neg))  # [m, judge.sizes_2]
    # gradient of return mean(-log(sigmoid(judge(real)))) + mean(-log(1 - sigmoid(judge(fake))))   adversarial.lee:15
    d_judge = judge.forward_backward_parameters(fake, saved_judge_, d_add_2_2)
    d_add_2 = -d_add / (judge.sizes[2] * n) * torch.sigmoid(-add_2)  # [n, judge.sizes_2]
    d_judge_, d_real = judge.forward_backward(real, saved_judge, d_add_2)
    d_judge_layers_0_w = d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]  # [judge.sizes_0, judge.sizes_1]
    d_judge_layers_0_b = d_judge["layers.0"]["b"] + d_judge_["layers.0"]["b"]  # [judge.sizes_1]
    d_judge_layers_1_w = d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]  # [judge.sizes_1, judge.sizes_2]
    d_judge_layers_1_b = d_judge["layers.1"]["b"] + d_judge_["layers.1"]["b"]  # [judge.sizes_2]
    return {
        "layers.0": {"w": d_judge_layers_0_w, "b": d_judge_layers_0_b},
        "layers.1": {"w": d_judge_layers_1_w, "b": d_judge_layers_1_b},
    }, d_real


def saturating_saved(judge, fake):
    """As saturating, and what its gradient needs."""
    add_2, saved_judge = judge.forward_saved(fake)  # adversarial.lee:20
    return torch.nn.functional.logsigmoid(-add_2).mean(), (saved_judge, -add_2)


def saturating_backward(judge, fake, saved, d_mean):
    """From d_mean to the gradients by judge and fake."""
    saved_judge, neg = saved
    n = fake.shape[0]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_add_2 = -(d_mean / (judge.sizes[2] * n) * torch.sigmoid(-neg))  # [n, judge.sizes_2]
    # gradient of return mean(log(1 - sigmoid(judge(fake))))   adversarial.lee:20
    d_judge, d_fake = judge.forward_backward(fake, saved_judge, d_add_2)
    return d_judge, d_fake


def non_saturating_saved(judge, fake):
    """As non_saturating, and what its gradient needs."""
    add_2, saved_judge = judge.forward_saved(fake)  # adversarial.lee:25
    return -torch.nn.functional.logsigmoid(add_2).mean(), (add_2, saved_judge)


def non_saturating_backward(judge, fake, saved, d_mean):
    """From d_mean to the gradients by judge and fake."""
    add_2, saved_judge = saved
    n = fake.shape[0]
    # gradient of return mean(-log(sigmoid(judge(fake))))   adversarial.lee:25
    d_add_2 = -(d_mean / (judge.sizes[2] * n)) * torch.sigmoid(-add_2)  # [n, judge.sizes_2]
    d_judge, d_fake = judge.forward_backward(fake, saved_judge, d_add_2)
    return d_judge, d_fake


@torch.no_grad()
def gan(epochs=200, batch=64, rate=1e-3, latent=16, hidden=128, *, run=None):
    """In turn: D learns while G is fixed, G while D is fixed."""
    from leec.runtime.run import Run

    run = run or Run("gan", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator")).to(run.session.place.device)
    judge = MLP(sizes=(64, hidden, 1), key=run.key("judge")).to(run.session.place.device)  # adversarial.lee:32
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:33
    opt_d = Adam(lr=rate, beta1=0.5)  # adversarial.lee:34
    step = GanStep(judge, generator, opt_d, opt_g)
    for epoch in run.loop("epoch", 1, epochs, generator=generator, judge=judge, opt_d=opt_d, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            loss, loss_1 = step(x, run.key("gan"))  # adversarial.lee:37
            run.step(loss)
            run.step(loss_1, "loss_1")
    z = gan_z(data.train.x, latent, key=run.key("gan"))  # adversarial.lee:40
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:41
    return generator


class GanStep(TrainStep):
    """One step of gan for judge, generator, opt_d, opt_g: call it with a batch."""

    moved = (("opt_d", ("judge",)), ("opt_g", ("generator",)))
    counted = ("opt_d", "opt_g")
    read = (
        "judge.layers.0.w",
        "judge.layers.0.b",
        "judge.layers.1.w",
        "judge.layers.1.b",
        "generator.layers.0.w",
        "generator.layers.0.b",
        "generator.layers.1.w",
        "generator.layers.1.b",
    )
    spare = (None, None)

    def __init__(self, judge, generator, opt_d, opt_g):
        self.judge, self.generator, self.opt_d, self.opt_g = judge, generator, opt_d, opt_g
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, -1.0 / batches_n, -(1.0 / batches_n))

    def constants(self):
        return (
            self.opt_d.lr,
            self.opt_d.beta1,
            self.opt_d.beta2,
            self.opt_d.eps,
            self.opt_d.weight_decay,
            self.opt_g.lr,
            self.opt_g.beta1,
            self.opt_g.beta2,
            self.opt_g.eps,
            self.opt_g.weight_decay,
        )

    def scalars(self):
        return (self.opt_d.t, self.opt_g.t)

    def step(self, x, key, t, t_):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_ = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_0_w_, d_layers_0_b_ = self.gradients[:6]
        d_layers_1_w_, d_layers_1_b_ = self.gradients[6:]
        batches_n = x.shape[0]
        latent = self.generator.layers[0].w.shape[0]
        count, scale, scale_ = self.held(batches_n)  # batches_n, -1.0 / batches_n, -(1.0 / batches_n)
        # [batches_n, latent]  adversarial.lee:37
        z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT, x.device)
        x_2_4 = torch.relu(torch.addmm(layers_0_b_, z, layers_0_w_))  # [batches_n, hidden]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b_, x_2_4, layers_1_w_)  # [batches_n, 64]  nn.lee:21
        x_2_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        add_2_2 = torch.addmm(layers_1_b, x_2_2, layers_1_w)  # [batches_n, 1]  nn.lee:21
        x_2 = torch.relu(torch.addmm(layers_0_b, affine_2, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        add_2_2_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 1]  nn.lee:21
        mean_2_2 = torch.nn.functional.logsigmoid(-add_2_2_2).sum() / count  # adversarial.lee:15
        div = torch.nn.functional.logsigmoid(add_2_2).sum() / count
        d_add_2_2 = -(scale * torch.sigmoid(add_2_2_2))  # [batches_n, 1]  prelude.lee:36
        # [batches_n, hidden]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2_2 @ layers_1_w.T, x_2, 0)
        d_add_2_3 = scale * torch.sigmoid(-add_2_2)  # [batches_n, 1]  adversarial.lee:15
        # [batches_n, hidden]  prelude.lee:61
        d_add_5 = torch.ops.aten.threshold_backward(d_add_2_3 @ layers_1_w.T, x_2_2, 0)
        torch.mm(affine_2.T, d_add_4, out=d_layers_0_w)  # [64, hidden]  adversarial.lee:15
        d_layers_0_w.add_(x.T @ d_add_5)  # [64, hidden]
        torch.sum(d_add_4, dim=0, out=d_layers_0_b)  # [hidden]
        d_layers_0_b.add_(d_add_5.sum(dim=0))  # [hidden]
        torch.mm(x_2.T, d_add_2_2, out=d_layers_1_w)  # [hidden, 1]
        d_layers_1_w.add_(x_2_2.T @ d_add_2_3)  # [hidden, 1]
        torch.sum(d_add_2_2, dim=0, out=d_layers_1_b)  # [1]
        d_layers_1_b.add_(d_add_2_3.sum(dim=0))  # [1]
        lr = self.opt_d.lr
        beta1 = self.opt_d.beta1
        beta2 = self.opt_d.beta2
        eps = self.opt_d.eps
        weight_decay = self.opt_d.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        x_2_3 = torch.relu(torch.addmm(layers_0_b, affine_2, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        add_2_3 = torch.addmm(layers_1_b, x_2_3, layers_1_w)  # [batches_n, 1]  nn.lee:21
        d_x_2_3 = scale_ * torch.sigmoid(-add_2_3) @ layers_1_w.T  # [batches_n, hidden]
        d_add_2 = torch.ops.aten.threshold_backward(d_x_2_3, x_2_3, 0) @ layers_0_w.T  # [batches_n, 64]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b_)  # [64]
        torch.mm(x_2_4.T, d_add_2, out=d_layers_1_w_)  # [hidden, 64]
        # [batches_n, hidden]  prelude.lee:61
        d_add_7 = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w_.T, x_2_4, 0)
        torch.sum(d_add_7, dim=0, out=d_layers_0_b_)  # [hidden]  nn.lee:21
        torch.mm(z.T, d_add_7, out=d_layers_0_w_)  # [latent, hidden]
        lr = self.opt_g.lr
        beta1 = self.opt_g.beta1
        beta2 = self.opt_g.beta2
        eps = self.opt_g.eps
        weight_decay = self.opt_g.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        return -(div + mean_2_2), -(torch.nn.functional.logsigmoid(add_2_3).sum() / count)  # adversarial.lee:25


def gan_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    key_2 = fold(key, SITES["z#2"])  # adversarial.lee:40
    z = normal(key_2, (data_train_n, latent), FLOAT, data_train_x.device)  # [data_train_n, latent]
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
    gt = p > 0  # bool[k]  adversarial.lee:55
    log = torch.log(torch.where(gt, d, d.detach()))  # [k]
    gt_2 = q > 0  # bool[k]
    sub = 1 - d  # [k]
    log_2 = torch.log(torch.where(gt_2, sub, sub.detach()))  # [k]
    mul_2 = torch.where(gt_2, q, q.detach()) * log_2  # [k]
    select = torch.where(gt, torch.where(gt, p, p.detach()) * log, 0)  # [k]
    return (select + torch.where(gt_2, mul_2, 0)).sum()


def value_of_game_saved(p, q, d):
    """As value_of_game, and what its gradient needs."""
    gt = p > 0  # bool[k]  adversarial.lee:55
    log = torch.log(d)  # [k]
    gt_2 = q > 0  # bool[k]
    guard_3 = 1 - d  # [k]
    log_2 = torch.log(guard_3)  # [k]
    select_2 = torch.where(gt_2, q * log_2, 0)  # [k]
    return (torch.where(gt, p * log, 0) + select_2).sum(), (gt, log, gt_2, guard_3, log_2)


def value_of_game_backward(p, q, d, saved, d_y):
    """From d_y to the gradients by p, q and d."""
    gt, log, gt_2, guard_3, log_2 = saved
    # gradient of return sum(where(p > 0, p * log(d), 0) + where(q > 0, q * log(1 - d), 0))   adversarial.lee:55
    d_q = torch.where(gt_2, d_y * log_2, 0)  # [k]
    d_p = torch.where(gt, d_y * log, 0)  # [k]
    d_d = torch.where(gt_2, -(d_y * q / guard_3), 0) + torch.where(gt, d_y * p / d, 0)  # [k]
    return d_p, d_q, d_d


def jensen_shannon(p, q):
    """Half of KL(P ‖ M) + KL(Q ‖ M), M in the middle: log 2 wherever P and Q do not meet, however near they are.

    p [k], q [k] -> []
    """
    m = (p + q) / 2  # [k]  adversarial.lee:60
    gt = p > 0  # bool[k]  adversarial.lee:61
    guard = torch.where(gt, p, p.detach())  # [k]
    mul = guard * torch.log(guard / torch.where(gt, m, m.detach()))  # [k]
    gt_2 = q > 0  # bool[k]
    guard_3 = torch.where(gt_2, q, q.detach())  # [k]
    log_2 = torch.log(guard_3 / torch.where(gt_2, m, m.detach()))  # [k]
    select_2 = torch.where(gt_2, guard_3 * log_2, 0)  # [k]
    return 0.5 * (torch.where(gt, mul, 0) + select_2).sum()


def jensen_shannon_saved(p, q):
    """As jensen_shannon, and what its gradient needs."""
    m = (p + q) / 2  # [k]  adversarial.lee:60
    gt = p > 0  # bool[k]  adversarial.lee:61
    div = p / m  # [k]
    log = torch.log(div)  # [k]
    gt_2 = q > 0  # bool[k]
    div_2 = q / m  # [k]
    log_2 = torch.log(div_2)  # [k]
    select_2 = torch.where(gt_2, q * log_2, 0)  # [k]
    return 0.5 * (torch.where(gt, p * log, 0) + select_2).sum(), (gt, m, div, log, gt_2, div_2, log_2)


def jensen_shannon_backward(p, q, saved, d_y):
    """From d_y to the gradients by p and q."""
    gt, m, div, log, gt_2, div_2, log_2 = saved
    # gradient of return 0.5 * sum(where(p > 0, p * log(p / m), 0) + where(q > 0, q * log(q / m..   adversarial.lee:61
    d_sum = d_y * 0.5
    div_3 = d_sum * q / div_2  # [k]
    d_guard_3_2 = torch.where(gt_2, d_sum * log_2, 0)  # [k]
    d_guard_3 = d_guard_3_2 + torch.where(gt_2, div_3 / m, 0)  # [k]
    div_6 = d_sum * p / div  # [k]
    d_guard_5 = torch.where(gt, d_sum * log, 0)  # [k]
    d_guard = d_guard_5 + torch.where(gt, div_6 / m, 0)  # [k]
    d_guard_4 = torch.where(gt_2, -(div_3 * div_2 / m), 0)  # [k]
    # gradient of m = (p + q) / 2   adversarial.lee:60
    d_m = d_guard_4 + torch.where(gt, -(div_6 * div / m), 0)  # [k]
    d_add = d_m / 2  # [k]
    d_p = torch.where(gt, d_guard, 0) + d_add  # [k]
    d_q = torch.where(gt_2, d_guard_3, 0) + d_add  # [k]
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
    # [judge.sizes_0, judge.sizes_1]
    d_judge_layers_0_w_2 = torch.zeros((judge.sizes[0], judge.sizes[1]), dtype=FLOAT, device=d_x_3.device)
    # [judge.sizes_1, judge.sizes_2]
    d_judge_layers_1_w_2 = torch.zeros((judge.sizes[1], judge.sizes[2]), dtype=FLOAT, device=d_x_3.device)
    d_judge = {"layers.0": {"w": d_judge_layers_0_w_2}, "layers.1": {"w": d_judge_layers_1_w_2}}
    for k in reversed(range(steps)):
        d_x_3, d_judge = negatives_step_backward(judge, rate, saved_negatives_step[k], d_x_3, d_judge)
    return d_judge, d_x_3


def negatives_step(judge, x, rate):
    """x [n, judge.sizes_0] -> [n, judge.sizes_0]"""
    n = x.shape[0]
    _, saved_judge = judge.forward_saved(x)  # adversarial.lee:71
    d_add_2 = torch.ones((n, judge.sizes[2]), dtype=FLOAT, device=x.device)  # [n, judge.sizes_2]
    x_2 = x + rate * judge.forward_backward_input(saved_judge, d_add_2)  # [n, judge.sizes_0]
    return x_2  # [n, judge.sizes_0]


def negatives_step_saved(judge, x, rate):
    """As negatives_step, and what its gradient needs."""
    n = x.shape[0]
    _, saved_judge = judge.forward_saved(x)  # adversarial.lee:71
    d_add_2 = torch.ones((n, judge.sizes[2]), dtype=FLOAT, device=x.device)  # [n, judge.sizes_2]
    d_x, saved_judge_ = judge.forward_backward_input_saved(saved_judge, d_add_2)
    x_2 = x + rate * d_x  # [n, judge.sizes_0]
    return x_2, saved_judge_


def negatives_step_backward(judge, rate, saved_judge_, d_x_2, d_judge):
    """From d_add, d_x_2 and d_judge to the gradients by x and judge."""
    n = d_x_2.shape[0]
    # gradient of x = x + rate * grad(sum(judge(x)), x)   adversarial.lee:71
    d_add_2 = torch.ones((n, judge.sizes[2]), dtype=FLOAT, device=d_x_2.device)  # [n, judge.sizes_2]
    d_d_x = d_x_2 * rate  # [n, judge.sizes_0]
    d_judge_ = judge.forward_backward_input_backward_parameters(d_add_2, saved_judge_, d_d_x)
    return d_x_2, {
        "layers.0": {"w": d_judge["layers.0"]["w"] + d_judge_["layers.0"]["w"]},
        "layers.1": {"w": d_judge["layers.1"]["w"] + d_judge_["layers.1"]["w"]},
    }


def against_own_saved(judge, real, start):
    """As against_own, and what its gradient needs."""
    graft_ = stop(negatives(judge, start))  # [n, judge.sizes_0]  adversarial.lee:77
    add, saved_discriminates = discriminates_saved(judge, real, graft_)
    return add, (graft_, saved_discriminates)


def against_own_backward(judge, real, saved, d_add):
    """From d_add to the gradients by judge and real."""
    graft_, saved_discriminates = saved
    # gradient of return discriminates(judge, real, stop(negatives(judge, start)))   adversarial.lee:77
    d_judge, d_real = discriminates_backward_2(judge, real, graft_, saved_discriminates, d_add)
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
    d_critic, d_real = critic.forward_backward(real, saved_critic_, neg.expand(n, critic.sizes[2]))
    d_add_2 = (d_sub / (critic.sizes[2] * m)).expand(m, critic.sizes[2])  # [m, critic.sizes_2]
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


def clipped_saved(critic, bound):
    """As clipped, and what its gradient needs."""
    mlp, saved_clip = clip_saved(critic, -bound, bound)  # adversarial.lee:90
    return mlp.copy(), saved_clip


def clipped_backward(critic, bound, saved_clip, d_mlp):
    """From d_mlp to the gradient by critic."""
    # gradient of return clip(critic, -bound, bound)   adversarial.lee:90
    d_critic = clip_backward(critic, -bound, bound, saved_clip, d_mlp)
    return d_critic


@torch.no_grad()
def wgan(epochs=60, batch=64, rate=1e-3, latent=16, hidden=128, turns=5, bound=0.05, *, run=None):
    """The critic's slope is bounded by clipping its weights; it takes several steps for one of the generator."""
    from leec.runtime.run import Run

    run = run or Run("wgan", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator")).to(run.session.place.device)
    critic = MLP(sizes=(64, hidden, 1), key=run.key("critic")).to(run.session.place.device)  # adversarial.lee:97
    opt_g = RMSProp(lr=rate)  # adversarial.lee:98
    step = WganStep2(generator, critic, opt_g)
    opt_c = RMSProp(lr=rate)  # adversarial.lee:99
    step_ = WganStep(critic, generator, opt_c)
    for epoch in run.loop("epoch", 1, epochs, critic=critic, generator=generator, opt_c=opt_c, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            for turn in run.loop("turn", 1, turns, critic=critic, generator=generator, opt_c=opt_c):
                run.step(step_(x, bound, run.key("wgan")))  # adversarial.lee:103
            run.step(step(x, run.key("wgan")))  # adversarial.lee:106
    z = wgan_z(data.train.x, latent, key=run.key("wgan"))  # adversarial.lee:108
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:109
    return generator, critic


class WganStep(TrainStep):
    """One step of wgan for critic, generator, opt_c: call it with a batch."""

    moved = (("opt_c", ("critic",)),)
    counted = ("opt_c",)
    read = (
        "critic.layers.0.w",
        "critic.layers.0.b",
        "critic.layers.1.w",
        "critic.layers.1.b",
        "generator.layers.0.w",
        "generator.layers.0.b",
        "generator.layers.1.w",
        "generator.layers.1.b",
    )
    spare = (2,)

    def __init__(self, critic, generator, opt_c):
        self.critic, self.generator, self.opt_c = critic, generator, opt_c
        self.bind()

    def numbers(self, batches_n):
        return (batches_n,)

    def constants(self):
        return (self.opt_c.lr, self.opt_c.alpha, self.opt_c.eps, self.opt_c.weight_decay)

    def step(self, x, bound, key):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_ = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        latent = self.generator.layers[0].w.shape[0]
        (count,) = self.held(batches_n)  # batches_n
        # [batches_n, latent]  adversarial.lee:103
        z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT, x.device)
        x_2_3 = torch.relu(torch.addmm(layers_0_b_, z, layers_0_w_))  # [batches_n, hidden]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b_, x_2_3, layers_1_w_)  # [batches_n, 64]  nn.lee:21
        x_2_2 = torch.relu(torch.addmm(layers_0_b, affine_2, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, hidden]
        div = torch.addmm(layers_1_b, x_2_2, layers_1_w).sum() / count  # adversarial.lee:85
        d_add_2_2 = torch.full((batches_n, 1), -(1.0 / batches_n), dtype=FLOAT, device=x.device)  # [batches_n, 1]
        # [batches_n, hidden]  prelude.lee:61
        d_add = torch.ops.aten.threshold_backward(d_add_2_2 @ layers_1_w.T, x_2, 0)
        # [batches_n, 1]  adversarial.lee:85
        d_add_2 = torch.full((batches_n, 1), 1.0 / batches_n, dtype=FLOAT, device=x.device)
        # [batches_n, hidden]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2_2, 0)
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, hidden]  adversarial.lee:85
        d_layers_0_w.add_(affine_2.T @ d_add_3)  # [64, hidden]
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [hidden]
        d_layers_0_b.add_(d_add_3.sum(dim=0))  # [hidden]
        torch.mm(x_2.T, d_add_2_2, out=d_layers_1_w)  # [hidden, 1]
        d_layers_1_w.add_(x_2_2.T @ d_add_2)  # [hidden, 1]
        add = -(1.0 / batches_n) * batches_n + 1.0
        d_layers_1_b.copy_(torch.full((1,), add, dtype=FLOAT, device=x.device))  # [1]
        loss = div - torch.addmm(layers_1_b, x_2, layers_1_w).sum() / count
        lr = self.opt_c.lr
        alpha = self.opt_c.alpha
        eps = self.opt_c.eps
        weight_decay = self.opt_c.weight_decay
        for θ, g, v, s0, s1 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            v.mul_(alpha)
            v.addcmul_(g_, g_, value=1 - alpha)
            torch.sqrt(v, out=s1)
            s1.add_(eps)
            θ.addcdiv_(g_, s1, value=-lr)
        layers_0_w.copy_(layers_0_w.clamp(min=-bound).clamp(max=bound))  # [64, hidden]  prelude.lee:153
        layers_0_b.copy_(layers_0_b.clamp(min=-bound).clamp(max=bound))  # [hidden]
        layers_1_w.copy_(layers_1_w.clamp(min=-bound).clamp(max=bound))  # [hidden, 1]
        layers_1_b.copy_(layers_1_b.clamp(min=-bound).clamp(max=bound))  # [1]
        return loss  # adversarial.lee:85


class WganStep2(TrainStep):
    """One step of wgan for generator, critic, opt_g: call it with a batch."""

    moved = (("opt_g", ("generator",)),)
    counted = ("opt_g",)
    read = (
        "generator.layers.0.w",
        "generator.layers.0.b",
        "generator.layers.1.w",
        "generator.layers.1.b",
        "critic.layers.0.w",
        "critic.layers.0.b",
        "critic.layers.1.w",
        "critic.layers.1.b",
    )
    spare = (2,)

    def __init__(self, generator, critic, opt_g):
        self.generator, self.critic, self.opt_g = generator, critic, opt_g
        self.bind()

    def numbers(self, batches_n):
        return (batches_n,)

    def constants(self):
        return (self.opt_g.lr, self.opt_g.alpha, self.opt_g.eps, self.opt_g.weight_decay)

    def step(self, x, key):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_ = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        latent = self.generator.layers[0].w.shape[0]
        (count,) = self.held(batches_n)  # batches_n
        # [batches_n, latent]  adversarial.lee:106
        z = normal(fold(key, SITES["z#2"]), (batches_n, latent), FLOAT, x.device)
        x_2_2 = torch.relu(torch.addmm(layers_0_b, z, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2_2, layers_1_w)  # [batches_n, 64]  nn.lee:21
        x_2 = torch.relu(torch.addmm(layers_0_b_, affine_2, layers_0_w_))  # [batches_n, hidden]  prelude.lee:61
        div_2 = -1.0 / batches_n  # adversarial.lee:107
        d_add_2_2 = torch.full((batches_n, 1), div_2, dtype=FLOAT, device=x.device)  # [batches_n, 1]
        d_x_2 = d_add_2_2 @ layers_1_w_.T  # [batches_n, hidden]  nn.lee:21
        d_add_2 = torch.ops.aten.threshold_backward(d_x_2, x_2, 0) @ layers_0_w_.T  # [batches_n, 64]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [64]
        torch.mm(x_2_2.T, d_add_2, out=d_layers_1_w)  # [hidden, 64]
        # [batches_n, hidden]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2_2, 0)
        torch.sum(d_add_3, dim=0, out=d_layers_0_b)  # [hidden]  nn.lee:21
        torch.mm(z.T, d_add_3, out=d_layers_0_w)  # [latent, hidden]
        lr = self.opt_g.lr
        alpha = self.opt_g.alpha
        eps = self.opt_g.eps
        weight_decay = self.opt_g.weight_decay
        for θ, g, v, s0, s1 in self.blocks[0]:
            g_ = torch.add(g, θ, alpha=weight_decay, out=s0) if weight_decay else g
            v.mul_(alpha)
            v.addcmul_(g_, g_, value=1 - alpha)
            torch.sqrt(v, out=s1)
            s1.add_(eps)
            θ.addcdiv_(g_, s1, value=-lr)
        return -(torch.addmm(layers_1_b_, x_2, layers_1_w_).sum() / count)  # adversarial.lee:107


def wgan_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    key_2 = fold(key, SITES["z#3"])  # adversarial.lee:108
    z = normal(key_2, (data_train_n, latent), FLOAT, data_train_x.device)  # [data_train_n, latent]
    return z  # [data_train_n, latent]


def gradient_penalty_saved(critic, real, fake, mix):
    """As gradient_penalty, and what its gradient needs."""
    n = real.shape[0]
    reshape = mix[:, None]  # [n, 1]  adversarial.lee:115
    between = reshape * real + (1 - reshape) * fake  # [n, critic.sizes_0]
    _, saved_critic = critic.forward_saved(between)  # adversarial.lee:116
    d_add_2 = torch.ones((n, critic.sizes[2]), dtype=FLOAT, device=real.device)  # [n, critic.sizes_2]
    slope, saved_critic_ = critic.forward_backward_input_saved(saved_critic, d_add_2)
    sqrt_, saved_norm = norm_saved(slope)  # adversarial.lee:117
    sub_2 = sqrt_ - 1  # [n]
    return (sub_2**2).mean(), (slope, saved_critic_, sqrt_, saved_norm, sub_2)


def gradient_penalty_backward_parameters(critic, saved, d_mean):
    """From d_add and d_mean to the gradient by critic."""
    slope, saved_critic_, sqrt_, saved_norm, sub_2 = saved
    n = slope.shape[0]
    # gradient of slope = grad(sum(critic(between)), between)   adversarial.lee:116
    d_add_2 = torch.ones((n, critic.sizes[2]), dtype=FLOAT, device=slope.device)  # [n, critic.sizes_2]
    # gradient of return mean((norm(slope, axis = 1) - 1) ** 2)   adversarial.lee:117
    d_slope = norm_backward(slope, saved_norm, sqrt_, 2 * (d_mean / n) * sub_2)  # [n, critic.sizes_0]
    # gradient of slope = grad(sum(critic(between)), between)   adversarial.lee:116
    d_critic = critic.forward_backward_input_backward_parameters(d_add_2, saved_critic_, d_slope)
    return d_critic


@torch.no_grad()
def wgan_gp(epochs=50, batch=64, rate=1e-3, latent=16, hidden=128, turns=5, weight=1e1, *, run=None):
    """The critic takes several steps for one of the generator: it is to be near the best one, whose slope says where to."""
    from leec.runtime.run import Run

    run = run or Run("wgan_gp", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator")).to(run.session.place.device)
    critic = MLP(sizes=(64, hidden, 1), key=run.key("critic")).to(run.session.place.device)  # adversarial.lee:124
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:125
    step = WganGpStep2(generator, critic, opt_g)
    opt_c = Adam(lr=rate, beta1=0.5)  # adversarial.lee:126
    step_ = WganGpStep(generator, critic, opt_c)
    for epoch in run.loop("epoch", 1, epochs, critic=critic, generator=generator, opt_c=opt_c, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            for turn in run.loop("turn", 1, turns, critic=critic, opt_c=opt_c):
                run.step(step_(x, weight, run.key("wgan_gp")))  # adversarial.lee:130
            run.step(step(x, run.key("wgan_gp")))  # adversarial.lee:135
    z = wgan_gp_z(data.train.x, latent, key=run.key("wgan_gp"))  # adversarial.lee:137
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:138
    return generator, critic


class WganGpStep(TrainStep):
    """One step of wgan_gp for generator, critic, opt_c: call it with a batch."""

    moved = (("opt_c", ("critic",)),)
    counted = ("opt_c",)
    read = (
        "generator.layers.0.w",
        "generator.layers.0.b",
        "generator.layers.1.w",
        "generator.layers.1.b",
        "critic.layers.0.w",
        "critic.layers.0.b",
        "critic.layers.1.w",
        "critic.layers.1.b",
    )
    spare = (None,)

    def __init__(self, generator, critic, opt_c):
        self.generator, self.critic, self.opt_c = generator, critic, opt_c
        self.bind()

    def numbers(self, batches_n):
        return (batches_n,)

    def constants(self):
        return (self.opt_c.lr, self.opt_c.beta1, self.opt_c.beta2, self.opt_c.eps, self.opt_c.weight_decay)

    def scalars(self):
        return (self.opt_c.t,)

    def step(self, x, weight, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_ = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        latent = self.generator.layers[0].w.shape[0]
        (count,) = self.held(batches_n)  # batches_n
        # [batches_n, latent]  adversarial.lee:130
        z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT, x.device)
        mix = uniform(fold(key, SITES["mix"]), (batches_n,), FLOAT, x.device)  # [batches_n]  adversarial.lee:131
        x_2_3 = torch.relu(torch.addmm(layers_0_b, z, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        fake = torch.addmm(layers_1_b, x_2_3, layers_1_w)  # [batches_n, 64]  nn.lee:21
        reshape = mix[:, None]  # [batches_n, 1]  adversarial.lee:115
        between = reshape * x + (1 - reshape) * fake  # [batches_n, 64]
        x_2_4 = torch.relu(torch.addmm(layers_0_b_, between, layers_0_w_))  # [batches_n, hidden]  prelude.lee:61
        d_add_2_2 = torch.ones((batches_n, 1), dtype=FLOAT, device=x.device)  # [batches_n, 1]  adversarial.lee:116
        # [batches_n, hidden]  prelude.lee:61
        d_loss = torch.ops.aten.threshold_backward(d_add_2_2 @ layers_1_w_.T, x_2_4, 0)
        slope = d_loss @ layers_0_w_.T  # [batches_n, 64]  nn.lee:21
        sum_ = (slope * slope).sum(dim=1)  # [batches_n]  prelude.lee:163
        sqrt_ = torch.sqrt(sum_)  # [batches_n]
        sub_2 = sqrt_ - 1  # [batches_n]  adversarial.lee:117
        penalty = (sub_2 * sub_2).sum() / count
        x_2_2 = torch.relu(torch.addmm(layers_0_b_, fake, layers_0_w_))  # [batches_n, hidden]  prelude.lee:61
        x_2 = torch.relu(torch.addmm(layers_0_b_, x, layers_0_w_))  # [batches_n, hidden]
        div = torch.addmm(layers_1_b_, x_2_2, layers_1_w_).sum() / count  # adversarial.lee:85
        div_2 = torch.addmm(layers_1_b_, x_2, layers_1_w_).sum() / count
        d_add_2_2_2 = torch.full((batches_n, 1), -(1.0 / batches_n), dtype=FLOAT, device=x.device)  # [batches_n, 1]
        # [batches_n, hidden]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2_2_2 @ layers_1_w_.T, x_2, 0)
        # [batches_n, 1]  adversarial.lee:85
        d_add_2_3 = torch.full((batches_n, 1), 1.0 / batches_n, dtype=FLOAT, device=x.device)
        # [batches_n, hidden]  prelude.lee:61
        d_add_3_2 = torch.ops.aten.threshold_backward(d_add_2_3 @ layers_1_w_.T, x_2_2, 0)
        torch.sum(d_add_3, dim=0, out=d_layers_0_b)  # [hidden]  adversarial.lee:85
        d_layers_0_b.add_(d_add_3_2.sum(dim=0))  # [hidden]
        add_2 = -(1.0 / batches_n) * batches_n + 1.0
        d_layers_1_b.copy_(torch.full((1,), add_2, dtype=FLOAT, device=x.device))  # [1]
        select = torch.where(sum_ > 0, sqrt_, torch.inf)  # [batches_n]  prelude.lee:163
        reshape_2 = (2 * (weight / batches_n) * sub_2 * 0.5 / select)[:, None]  # [batches_n, 1]
        d_slope = 2 * (reshape_2 * slope)  # [batches_n, 64]
        d_d_add = d_slope @ layers_0_w_  # [batches_n, hidden]  nn.lee:21
        d_d_x_2 = torch.ops.aten.threshold_backward(d_d_add, x_2_4, 0)  # [batches_n, hidden]  prelude.lee:61
        torch.mm(x.T, d_add_3, out=d_layers_0_w)  # [64, hidden]  adversarial.lee:133
        d_layers_0_w.add_(fake.T @ d_add_3_2)  # [64, hidden]
        d_layers_0_w.add_(d_slope.T @ d_loss)  # [64, hidden]
        d_critic_layers_1_w = x_2.T @ d_add_2_2_2 + x_2_2.T @ d_add_2_3  # [hidden, 1]  adversarial.lee:85
        torch.add(d_critic_layers_1_w, d_d_x_2.T @ d_add_2_2, out=d_layers_1_w)  # [hidden, 1]  adversarial.lee:133
        lr = self.opt_c.lr
        beta1 = self.opt_c.beta1
        beta2 = self.opt_c.beta2
        eps = self.opt_c.eps
        weight_decay = self.opt_c.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return div - div_2 + weight * penalty  # adversarial.lee:134


class WganGpStep2(TrainStep):
    """One step of wgan_gp for generator, critic, opt_g: call it with a batch."""

    moved = (("opt_g", ("generator",)),)
    counted = ("opt_g",)
    read = (
        "generator.layers.0.w",
        "generator.layers.0.b",
        "generator.layers.1.w",
        "generator.layers.1.b",
        "critic.layers.0.w",
        "critic.layers.0.b",
        "critic.layers.1.w",
        "critic.layers.1.b",
    )
    spare = (None,)

    def __init__(self, generator, critic, opt_g):
        self.generator, self.critic, self.opt_g = generator, critic, opt_g
        self.bind()

    def numbers(self, batches_n):
        return (batches_n,)

    def constants(self):
        return (self.opt_g.lr, self.opt_g.beta1, self.opt_g.beta2, self.opt_g.eps, self.opt_g.weight_decay)

    def scalars(self):
        return (self.opt_g.t,)

    def step(self, x, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_ = self.tensors[6:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        latent = self.generator.layers[0].w.shape[0]
        (count,) = self.held(batches_n)  # batches_n
        # [batches_n, latent]  adversarial.lee:135
        z = normal(fold(key, SITES["z#2"]), (batches_n, latent), FLOAT, x.device)
        x_2_2 = torch.relu(torch.addmm(layers_0_b, z, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2_2, layers_1_w)  # [batches_n, 64]  nn.lee:21
        x_2 = torch.relu(torch.addmm(layers_0_b_, affine_2, layers_0_w_))  # [batches_n, hidden]  prelude.lee:61
        div_2 = -1.0 / batches_n  # adversarial.lee:136
        d_add_2_2 = torch.full((batches_n, 1), div_2, dtype=FLOAT, device=x.device)  # [batches_n, 1]
        d_x_2 = d_add_2_2 @ layers_1_w_.T  # [batches_n, hidden]  nn.lee:21
        d_add_2 = torch.ops.aten.threshold_backward(d_x_2, x_2, 0) @ layers_0_w_.T  # [batches_n, 64]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [64]
        torch.mm(x_2_2.T, d_add_2, out=d_layers_1_w)  # [hidden, 64]
        # [batches_n, hidden]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2_2, 0)
        torch.sum(d_add_3, dim=0, out=d_layers_0_b)  # [hidden]  nn.lee:21
        torch.mm(z.T, d_add_3, out=d_layers_0_w)  # [latent, hidden]
        lr = self.opt_g.lr
        beta1 = self.opt_g.beta1
        beta2 = self.opt_g.beta2
        eps = self.opt_g.eps
        weight_decay = self.opt_g.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return -(torch.addmm(layers_1_b_, x_2, layers_1_w_).sum() / count)  # adversarial.lee:136


def wgan_gp_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    key_2 = fold(key, SITES["z#3"])  # adversarial.lee:137
    z = normal(key_2, (data_train_n, latent), FLOAT, data_train_x.device)  # [data_train_n, latent]
    return z  # [data_train_n, latent]


def unit(v):
    """v [d] -> [d]"""
    return v / norm_2(v)  # [d]  adversarial.lee:146


class SpectralLinear(Model):
    """One step of power iteration a call, kept as state (Miyato et al. 2018)."""

    members = ("w", "b", "right")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        # [inputs, outputs]  adversarial.lee:151
        self.w = torch.nn.Parameter(normal(fold(key, SITES["w"]), (inputs, outputs), FLOAT))
        self.b = torch.nn.Parameter(torch.zeros(outputs, dtype=FLOAT))  # [outputs]  adversarial.lee:152
        # [outputs]  adversarial.lee:153
        self.register_buffer("right", normal(fold(key, SITES["right"]), (outputs,), FLOAT))

    def forward(self, x):
        """x [n, inputs] -> [n, outputs]"""
        if not self.training:
            return self.forward_eval(x)
        graft_ = stop(self.w)  # [inputs, outputs]  adversarial.lee:157
        right_2 = unit(unit(graft_ @ self.right) @ graft_).detach()  # [outputs]
        graft_4 = stop_2(right_2)  # [outputs]  adversarial.lee:158
        left = unit(graft_ @ graft_4)  # [inputs]
        sigma = left @ self.w @ graft_4  # adversarial.lee:159
        with torch.no_grad():
            self.right.copy_(right_2)  # [outputs]  adversarial.lee:157
        return torch.addmm(self.b, x, self.w / sigma)  # [n, outputs]  adversarial.lee:160

    def forward_eval(self, x):
        """x [n, inputs] -> [n, outputs]"""
        graft_2 = stop_2(self.right)  # [outputs]  adversarial.lee:158
        left = unit(stop(self.w) @ graft_2)  # [inputs]
        sigma = left @ self.w @ graft_2  # adversarial.lee:159
        return torch.addmm(self.b, x, self.w / sigma)  # [n, outputs]  adversarial.lee:160

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        graft_ = stop(self.w)  # [inputs, outputs]  adversarial.lee:157
        right_2 = unit(unit(graft_ @ self.right) @ graft_)  # [outputs]
        graft_4 = stop_2(right_2)  # [outputs]  adversarial.lee:158
        graft_4_2 = graft_4.clone()  # [outputs]
        left = unit(graft_ @ graft_4)  # [inputs]
        sigma = left @ self.w @ graft_4  # adversarial.lee:159
        div_3 = self.w / sigma  # [inputs, outputs]  adversarial.lee:160
        with torch.no_grad():
            self.right.copy_(right_2)  # [outputs]  adversarial.lee:157
        return torch.addmm(self.b, x, div_3), (graft_4_2, left, sigma, div_3)  # adversarial.lee:160

    @staticmethod
    def forward_backward(x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        graft_4_2, left, sigma, div_3 = saved
        # gradient of return x @ (w / sigma) + b   adversarial.lee:160
        d_b = d_y.sum(dim=0)  # [outputs]
        d_x = d_y @ div_3.T  # [n, inputs]
        d_div_3 = x.T @ d_y  # [inputs, outputs]
        d_sigma = -(d_div_3 * div_3 / sigma).sum()
        # gradient of sigma = left @ w @ stop(right)   adversarial.lee:159
        d_w = d_div_3 / sigma + left[:, None] * (d_sigma * graft_4_2)  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


class SpectralCritic(Model):
    """SpectralCritic(d, hidden)"""

    members = ("first", "second")

    def __init__(self, d, hidden, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden = d, hidden
        self.first = SpectralLinear(d, hidden, key=fold(key, SITES["first"]))  # adversarial.lee:164
        self.second = SpectralLinear(hidden, 1, key=fold(key, SITES["second"]))  # adversarial.lee:165

    def forward(self, x):
        """x [n, d] -> [n, 1]"""
        if not self.training:
            return self.forward_eval(x)
        first_out = self.first(x)  # [n, hidden]  adversarial.lee:168
        y = self.second(leaky_relu(first_out, slope=0.2))  # [n, 1]
        return y  # [n, 1]

    def forward_eval(self, x):
        """x [n, d] -> [n, 1]"""
        y = self.second.forward_eval(leaky_relu(self.first.forward_eval(x), slope=0.2))  # [n, 1]  adversarial.lee:168
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
    d_add = relu_2_backward(select_2, (d_add_3 / m).expand(m, 1))  # [m, 1]
    d_critic, d_fake = SpectralCritic.forward_backward(fake, saved_critic_, d_add)
    d_add_2 = -relu_2_backward(select, (d_add_3 / n).expand(n, 1))  # [n, 1]
    d_critic_, d_real = SpectralCritic.forward_backward(real, saved_critic, d_add_2)
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


@torch.no_grad()
def sngan(epochs=60, batch=64, rate=3e-4, critic_rate=0.01, latent=16, hidden=128, turns=5, *, run=None):
    """No layer of the critic stretches anything; its weights begin large and take larger steps."""
    from leec.runtime.run import Run

    run = run or Run("sngan", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    generator = MLP(sizes=(latent, hidden, 64), key=run.key("generator")).to(run.session.place.device)
    critic = SpectralCritic(d=64, hidden=hidden, key=run.key("critic")).to(run.session.place.device)
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:180
    step = SnganStep2(generator, critic, opt_g)
    opt_c = Adam(lr=critic_rate, beta1=0.5)  # adversarial.lee:181
    step_ = SnganStep(critic, generator, opt_c)
    for epoch in run.loop("epoch", 1, epochs, critic=critic, generator=generator, opt_c=opt_c, opt_g=opt_g):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            for turn in run.loop("turn", 1, turns, critic=critic, generator=generator, opt_c=opt_c):
                run.step(step_(x, run.key("sngan")))  # adversarial.lee:185
            run.step(step(x, run.key("sngan")))  # adversarial.lee:187
    z = sngan_z(data.train.x, latent, key=run.key("sngan"))  # adversarial.lee:189
    run.report(apart=frechet(data.train.x, generator(z)))  # adversarial.lee:190
    return generator, critic


class SnganStep(TrainStep):
    """One step of sngan for critic, generator, opt_c: call it with a batch."""

    moved = (("opt_c", ("critic",)),)
    counted = ("opt_c",)
    read = (
        "critic.first.w",
        "critic.first.b",
        "critic.first.right",
        "critic.second.w",
        "critic.second.b",
        "critic.second.right",
        "generator.layers.0.w",
        "generator.layers.0.b",
        "generator.layers.1.w",
        "generator.layers.1.b",
    )
    spare = (None,)

    def __init__(self, critic, generator, opt_c):
        self.critic, self.generator, self.opt_c = critic, generator, opt_c
        self.bind()

    def numbers(self, batches_n):
        return (batches_n,)

    def constants(self):
        return (self.opt_c.lr, self.opt_c.beta1, self.opt_c.beta2, self.opt_c.eps, self.opt_c.weight_decay)

    def scalars(self):
        return (self.opt_c.t,)

    def step(self, x, key, t):
        first_w, first_b, first_right, second_w, second_b, second_right, layers_0_w = self.tensors[:7]
        layers_0_b, layers_1_w, layers_1_b = self.tensors[7:]
        d_first_w, d_first_b, d_second_w, d_second_b = self.gradients
        batches_n = x.shape[0]
        latent = self.generator.layers[0].w.shape[0]
        (count,) = self.held(batches_n)  # batches_n
        # [batches_n, latent]  adversarial.lee:185
        z = normal(fold(key, SITES["z"]), (batches_n, latent), FLOAT, x.device)
        x_2 = torch.relu(torch.addmm(layers_0_b, z, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 64]  nn.lee:21
        contract = first_w @ first_right  # [64]  adversarial.lee:157
        contract_2_2 = contract / torch.sqrt((contract * contract).sum()) @ first_w  # [hidden]
        graft_4_2_2 = contract_2_2 / torch.sqrt((contract_2_2 * contract_2_2).sum())  # [hidden]  adversarial.lee:146
        contract_3_2 = first_w @ graft_4_2_2  # [64]  adversarial.lee:158
        left_2_2 = contract_3_2 / torch.sqrt((contract_3_2 * contract_3_2).sum())  # [64]  adversarial.lee:146
        contract_2 = left_2_2 @ first_w  # [hidden]  adversarial.lee:159
        sigma_2_2 = contract_2 @ graft_4_2_2
        div_3_2_2 = first_w / sigma_2_2  # [64, hidden]  adversarial.lee:160
        first_out = torch.addmm(first_b, x, div_3_2_2)  # [batches_n, hidden]
        gt = first_out > 0  # bool[batches_n, hidden]  prelude.lee:71
        select_3 = torch.where(gt, first_out, 0.2 * first_out)  # [batches_n, hidden]
        contract_3 = second_w @ second_right  # [hidden]  adversarial.lee:157
        contract_2_2_2 = contract_3 / torch.sqrt((contract_3 * contract_3).sum()) @ second_w  # [1]
        # [1]  adversarial.lee:146
        graft_4_3 = contract_2_2_2 / torch.sqrt((contract_2_2_2 * contract_2_2_2).reshape(()))
        contract_3_2_2 = second_w @ graft_4_3  # [hidden]  adversarial.lee:158
        left_3 = contract_3_2_2 / torch.sqrt((contract_3_2_2 * contract_3_2_2).sum())  # [hidden]  adversarial.lee:146
        contract_4_2 = left_3 @ second_w  # [1]  adversarial.lee:159
        sigma_3 = contract_4_2 @ graft_4_3
        div_3_3 = second_w / sigma_3  # [hidden, 1]  adversarial.lee:160
        select = torch.relu(1 - torch.addmm(second_b, select_3, div_3_3))  # [batches_n, 1]  prelude.lee:61
        first_right.copy_(contract_2 / torch.sqrt((contract_2 * contract_2).sum()))  # [hidden]  adversarial.lee:146
        contract_3_3 = first_w @ first_right  # [64]  adversarial.lee:158
        left_2 = contract_3_3 / torch.sqrt((contract_3_3 * contract_3_3).sum())  # [64]  adversarial.lee:146
        sigma_2 = left_2 @ first_w @ first_right  # adversarial.lee:159
        div_3_2 = first_w / sigma_2  # [64, hidden]  adversarial.lee:160
        first_out_2 = torch.addmm(first_b, affine_2, div_3_2)  # [batches_n, hidden]
        gt_2 = first_out_2 > 0  # bool[batches_n, hidden]  prelude.lee:71
        select_4 = torch.where(gt_2, first_out_2, 0.2 * first_out_2)  # [batches_n, hidden]
        # [1]  adversarial.lee:146
        second_right.copy_(contract_4_2 / torch.sqrt((contract_4_2 * contract_4_2).reshape(())))
        contract_3_2_2_2 = second_w @ second_right  # [hidden]  adversarial.lee:158
        # [hidden]  adversarial.lee:146
        left = contract_3_2_2_2 / torch.sqrt((contract_3_2_2_2 * contract_3_2_2_2).sum())
        sigma = left @ second_w @ second_right  # adversarial.lee:159
        div_4 = second_w / sigma  # [hidden, 1]  adversarial.lee:160
        select_2 = torch.relu(1 + torch.addmm(second_b, select_4, div_4))  # [batches_n, 1]  prelude.lee:61
        # [batches_n, 1]  adversarial.lee:172
        d_select_2 = torch.full((batches_n, 1), 1.0 / batches_n, dtype=FLOAT, device=x.device)
        d_add = torch.ops.aten.threshold_backward(d_select_2, select_2, 0)  # [batches_n, 1]  prelude.lee:61
        d_select_3 = d_add @ div_4.T  # [batches_n, hidden]  adversarial.lee:160
        d_div_3 = select_4.T @ d_add  # [hidden, 1]
        d_contract_4 = -(d_div_3 * div_4 / sigma).sum() * second_right  # [1]  adversarial.lee:159
        d_x_2 = torch.ops.aten.threshold_backward(d_select_3, first_out_2, 0)  # [batches_n, hidden]  prelude.lee:71
        d_first_out = d_x_2 + torch.where(gt_2, 0, d_select_3 * 0.2)  # [batches_n, hidden]
        d_div_3_2 = affine_2.T @ d_first_out  # [64, hidden]  adversarial.lee:160
        d_contract_4_2 = -(d_div_3_2 * div_3_2 / sigma_2).sum() * first_right  # [hidden]  adversarial.lee:159
        d_add_2 = -torch.ops.aten.threshold_backward(d_select_2, select, 0)  # [batches_n, 1]  adversarial.lee:172
        d_select_4 = d_add_2 @ div_3_3.T  # [batches_n, hidden]  adversarial.lee:160
        d_div_3_3 = select_3.T @ d_add_2  # [hidden, 1]
        d_contract_4_3 = -(d_div_3_3 * div_3_3 / sigma_3).sum() * graft_4_3  # [1]  adversarial.lee:159
        d_x_2_2 = torch.ops.aten.threshold_backward(d_select_4, first_out, 0)  # [batches_n, hidden]  prelude.lee:71
        d_first_out_2 = d_x_2_2 + torch.where(gt, 0, d_select_4 * 0.2)  # [batches_n, hidden]
        d_div_3_2_2 = x.T @ d_first_out_2  # [64, hidden]  adversarial.lee:160
        d_contract_4_2_2 = -(d_div_3_2_2 * div_3_2_2 / sigma_2_2).sum() * graft_4_2_2  # [hidden]  adversarial.lee:159
        d_w_3_2_2 = left_2_2[:, None] * d_contract_4_2_2  # [64, hidden]
        d_critic_first_w_2 = d_div_3_2 / sigma_2 + left_2[:, None] * d_contract_4_2  # [64, hidden]
        # [64, hidden]  adversarial.lee:172
        torch.add(d_critic_first_w_2, d_div_3_2_2 / sigma_2_2 + d_w_3_2_2, out=d_first_w)
        torch.sum(d_first_out, dim=0, out=d_first_b)  # [hidden]
        d_first_b.add_(d_first_out_2.sum(dim=0))  # [hidden]
        d_critic_second_w_3 = d_div_3_3 / sigma_3 + left_3[:, None] * d_contract_4_3  # [hidden, 1]  adversarial.lee:159
        d_critic_second_w_2 = d_div_3 / sigma + left[:, None] * d_contract_4  # [hidden, 1]
        torch.add(d_critic_second_w_2, d_critic_second_w_3, out=d_second_w)  # [hidden, 1]  adversarial.lee:172
        torch.sum(d_add, dim=0, out=d_second_b)  # [1]
        d_second_b.add_(d_add_2.sum(dim=0))  # [1]
        lr = self.opt_c.lr
        beta1 = self.opt_c.beta1
        beta2 = self.opt_c.beta2
        eps = self.opt_c.eps
        weight_decay = self.opt_c.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return select.sum() / count + select_2.sum() / count


class SnganStep2(TrainStep):
    """One step of sngan for generator, critic, opt_g: call it with a batch."""

    moved = (("opt_g", ("generator",)),)
    counted = ("opt_g",)
    read = (
        "generator.layers.0.w",
        "generator.layers.0.b",
        "generator.layers.1.w",
        "generator.layers.1.b",
        "critic.first.w",
        "critic.first.b",
        "critic.first.right",
        "critic.second.w",
        "critic.second.b",
        "critic.second.right",
    )
    spare = (None,)

    def __init__(self, generator, critic, opt_g):
        self.generator, self.critic, self.opt_g = generator, critic, opt_g
        self.bind()

    def numbers(self, batches_n):
        return (batches_n,)

    def constants(self):
        return (self.opt_g.lr, self.opt_g.beta1, self.opt_g.beta2, self.opt_g.eps, self.opt_g.weight_decay)

    def scalars(self):
        return (self.opt_g.t,)

    def step(self, x, key, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, first_w, first_b, first_right = self.tensors[:7]
        second_w, second_b, second_right = self.tensors[7:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        latent = self.generator.layers[0].w.shape[0]
        (count,) = self.held(batches_n)  # batches_n
        # [batches_n, latent]  adversarial.lee:187
        z = normal(fold(key, SITES["z#2"]), (batches_n, latent), FLOAT, x.device)
        x_2 = torch.relu(torch.addmm(layers_0_b, z, layers_0_w))  # [batches_n, hidden]  prelude.lee:61
        contract = first_w @ first_right  # [64]  adversarial.lee:157
        contract_2_2 = contract / torch.sqrt((contract * contract).sum()) @ first_w  # [hidden]
        # [hidden]  adversarial.lee:146
        first_right.copy_(contract_2_2 / torch.sqrt((contract_2_2 * contract_2_2).sum()))
        contract_3_2 = first_w @ first_right  # [64]  adversarial.lee:158
        left_2 = contract_3_2 / torch.sqrt((contract_3_2 * contract_3_2).sum())  # [64]  adversarial.lee:146
        sigma_2 = left_2 @ first_w @ first_right  # adversarial.lee:159
        div_3_2 = first_w / sigma_2  # [64, hidden]  adversarial.lee:160
        first_out = torch.addmm(first_b, torch.addmm(layers_1_b, x_2, layers_1_w), div_3_2)  # [batches_n, hidden]
        gt = first_out > 0  # bool[batches_n, hidden]  prelude.lee:71
        contract_3 = second_w @ second_right  # [hidden]  adversarial.lee:157
        contract_2_2_2 = contract_3 / torch.sqrt((contract_3 * contract_3).sum()) @ second_w  # [1]
        # [1]  adversarial.lee:146
        second_right.copy_(contract_2_2_2 / torch.sqrt((contract_2_2_2 * contract_2_2_2).reshape(())))
        contract_3_2_2 = second_w @ second_right  # [hidden]  adversarial.lee:158
        left = contract_3_2_2 / torch.sqrt((contract_3_2_2 * contract_3_2_2).sum())  # [hidden]  adversarial.lee:146
        sigma = left @ second_w @ second_right  # adversarial.lee:159
        div_2 = second_w / sigma  # [hidden, 1]  adversarial.lee:160
        select = torch.where(gt, first_out, 0.2 * first_out)  # [batches_n, hidden]  prelude.lee:71
        div_4 = -1.0 / batches_n  # adversarial.lee:188
        d_add_2_2 = torch.full((batches_n, 1), div_4, dtype=FLOAT, device=x.device)  # [batches_n, 1]
        d_select = d_add_2_2 @ div_2.T  # [batches_n, hidden]  adversarial.lee:160
        d_x_2 = torch.ops.aten.threshold_backward(d_select, first_out, 0)  # [batches_n, hidden]  prelude.lee:71
        d_add_2 = (d_x_2 + torch.where(gt, 0, d_select * 0.2)) @ div_3_2.T  # [batches_n, 64]  adversarial.lee:160
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [64]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [hidden, 64]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, hidden]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [hidden]  nn.lee:21
        torch.mm(z.T, d_add, out=d_layers_0_w)  # [latent, hidden]
        lr = self.opt_g.lr
        beta1 = self.opt_g.beta1
        beta2 = self.opt_g.beta2
        eps = self.opt_g.eps
        weight_decay = self.opt_g.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return -(torch.addmm(second_b, select, div_2).sum() / count)  # adversarial.lee:188


def sngan_z(data_train_x, latent, key):
    """data_train_x [data_train_n, 64] -> [data_train_n, latent]"""
    data_train_n = data_train_x.shape[0]
    key_2 = fold(key, SITES["z#3"])  # adversarial.lee:189
    z = normal(key_2, (data_train_n, latent), FLOAT, data_train_x.device)  # [data_train_n, latent]
    return z  # [data_train_n, latent]


class Conditional(Model):
    """G(c, z)"""

    members = ("word", "net")

    def __init__(self, latent, classes, hidden, d, *, key=(0, 0)):
        super().__init__()
        self.latent, self.classes, self.hidden, self.d = latent, classes, hidden, d
        # [classes, latent]  adversarial.lee:199
        self.word = torch.nn.Parameter(normal(fold(key, SITES["word"]), (classes, latent), FLOAT))
        self.net = MLP((2 * latent, hidden, d), key=fold(key, SITES["net"]))  # adversarial.lee:200

    def forward(self, c, z):
        """c int[n], z [n, latent] -> [n, d]"""
        return self.net(torch.cat((self.word[c], z), dim=1))  # [n, d]  adversarial.lee:203

    def forward_saved(self, c, z):
        """As forward, and what its gradient needs."""
        concat = torch.cat((self.word[c], z), dim=1)  # [n, 2 * latent]  adversarial.lee:203
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


class PairJudge(Model):
    """A score for an input together with its condition."""

    members = ("word", "net")

    def __init__(self, classes, hidden, d, *, key=(0, 0)):
        super().__init__()
        self.classes, self.hidden, self.d = classes, hidden, d
        # [classes, d]  adversarial.lee:208
        self.word = torch.nn.Parameter(normal(fold(key, SITES["word"]), (classes, d), FLOAT))
        self.net = MLP((2 * d, hidden, 1), key=fold(key, SITES["net"]))  # adversarial.lee:209

    def forward(self, x, c):
        """x [n, d], c int[n] -> [n]"""
        n = x.shape[0]
        return self.net(torch.cat((x, self.word[c]), dim=1)).reshape(n)  # [n]  adversarial.lee:212

    def forward_saved(self, x, c):
        """As forward, and what its gradient needs."""
        n = x.shape[0]
        concat = torch.cat((x, self.word[c]), dim=1)  # [n, 2 * d]  adversarial.lee:212
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


def judges_pairs(judge, x, c, fake, other):
    """Right pairs towards 1; made ones towards 0, and also good pictures under a wrong label.

    x [n, judge.d], c int[n], fake [n, judge.d], other int[n] -> []
    """
    right = -torch.nn.functional.logsigmoid(judge(x, c)).mean()  # adversarial.lee:217
    mean_2 = torch.nn.functional.logsigmoid(-judge(fake, c)).mean()  # adversarial.lee:218
    mean_3 = torch.nn.functional.logsigmoid(-judge(x, other)).mean()
    return right - mean_2 - mean_3


def judges_pairs_saved(judge, x, c, fake, other):
    """As judges_pairs, and what its gradient needs."""
    judge_out, saved_judge = judge.forward_saved(x, c)  # adversarial.lee:217
    right = -torch.nn.functional.logsigmoid(judge_out).mean()
    judge_out_2, saved_judge_ = judge.forward_saved(fake, c)  # adversarial.lee:218
    judge_out_3, saved_judge_2 = judge.forward_saved(x, other)
    sub = right - torch.nn.functional.logsigmoid(-judge_out_2).mean()
    saved = judge_out, saved_judge, saved_judge_, -judge_out_2, saved_judge_2, -judge_out_3
    return sub - torch.nn.functional.logsigmoid(-judge_out_3).mean(), saved


def judges_pairs_backward(judge, c, other, saved, d_y):
    """From d_y to the gradients by judge, x and fake."""
    judge_out, saved_judge, saved_judge_, neg, saved_judge_2, neg_2 = saved
    n = c.shape[0]
    # gradient of return right + mean(-log(1 - sigmoid(judge(fake, c)))) + mean(-log(1 - sigmoi..   adversarial.lee:218
    neg_3 = -(d_y / n)
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_judge_out_3 = -(neg_3 * torch.sigmoid(-neg_2))  # [n]
    # gradient of return right + mean(-log(1 - sigmoid(judge(fake, c)))) + mean(-log(1 - sigmoi..   adversarial.lee:218
    d_judge, d_x_2 = judge.forward_backward(other, saved_judge_2, d_judge_out_3)
    d_judge_, d_fake = judge.forward_backward(c, saved_judge_, -(neg_3 * torch.sigmoid(-neg)))
    # gradient of right = mean(-log(sigmoid(judge(x, c))))   adversarial.lee:217
    d_judge_2, d_x_3 = judge.forward_backward(c, saved_judge, neg_3 * torch.sigmoid(-judge_out))
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


@torch.no_grad()
def by_label(epochs=60, batch=64, rate=1e-3, latent=8, *, run=None):
    """Digits to order; a reader that learned from real ones says whether they are what was ordered."""
    from leec.runtime.run import Run

    run = run or Run("by_label", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    reader = MLP(sizes=(64, 64, 10), key=run.key("reader")).to(run.session.place.device)  # adversarial.lee:224
    opt_r = Adam(lr=3e-3)  # adversarial.lee:225
    step = ByLabelStep(reader, opt_r)
    for epoch in run.loop("epoch", 1, 10, opt_r=opt_r, reader=reader):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # adversarial.lee:228
    generator = Conditional(latent=latent, classes=10, hidden=64, d=64, key=run.key("generator")).to(
        run.session.place.device
    )
    judge = PairJudge(classes=10, hidden=64, d=64, key=run.key("judge")).to(run.session.place.device)
    opt_g = Adam(lr=rate, beta1=0.5)  # adversarial.lee:231
    opt_d = Adam(lr=rate, beta1=0.5)  # adversarial.lee:232
    step_ = ByLabelStep2(judge, generator, opt_d, opt_g)
    for epoch in run.loop("epoch_2", 1, epochs, generator=generator, judge=judge, opt_d=opt_d, opt_g=opt_g):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            loss, loss_1 = step_(x, y, run.key("by_label"))  # adversarial.lee:235
            run.step(loss)
            run.step(loss_1, "loss_1")
    y, z = by_label_y_z(data.test.y, latent, key=run.key("by_label"))  # adversarial.lee:239
    reported_as_ordered, reported_of_real = by_label_as_ordered_of_real(reader, generator, y, z, data.test.x)
    run.report(as_ordered=reported_as_ordered, of_real=reported_of_real)  # adversarial.lee:241
    return generator, judge


class ByLabelStep(TrainStep):
    """One step of by_label for reader, opt_r: call it with a batch."""

    moved = (("opt_r", ("reader",)),)
    counted = ("opt_r",)
    read = ("reader.layers.0.w", "reader.layers.0.b", "reader.layers.1.w", "reader.layers.1.b")
    spare = (None,)

    def __init__(self, reader, opt_r):
        self.reader, self.opt_r = reader, opt_r
        self.bind()

    def numbers(self, batches_n):
        return (batches_n, 1.0 / batches_n)

    def constants(self):
        return (self.opt_r.lr, self.opt_r.beta1, self.opt_r.beta2, self.opt_r.eps, self.opt_r.weight_decay)

    def scalars(self):
        return (self.opt_r.t,)

    def step(self, x, y, t):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b = self.tensors
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        x_2 = torch.relu(torch.addmm(layers_0_b, x, layers_0_w))  # [batches_n, 64]  prelude.lee:61
        affine_2 = torch.addmm(layers_1_b, x_2, layers_1_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine_2, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add_2 = (torch.softmax(affine_2, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add_2, dim=0, out=d_layers_1_b)  # [10]  nn.lee:21
        torch.mm(x_2.T, d_add_2, out=d_layers_1_w)  # [64, 10]
        d_add = torch.ops.aten.threshold_backward(d_add_2 @ layers_1_w.T, x_2, 0)  # [batches_n, 64]  prelude.lee:61
        torch.sum(d_add, dim=0, out=d_layers_0_b)  # [64]  nn.lee:21
        torch.mm(x.T, d_add, out=d_layers_0_w)  # [64, 64]
        lr = self.opt_r.lr
        beta1 = self.opt_r.beta1
        beta2 = self.opt_r.beta2
        eps = self.opt_r.eps
        weight_decay = self.opt_r.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


class ByLabelStep2(TrainStep):
    """One step of by_label for judge, generator, opt_d, opt_g: call it with a batch."""

    moved = (("opt_d", ("judge",)), ("opt_g", ("generator",)))
    counted = ("opt_d", "opt_g")
    read = (
        "judge.word",
        "judge.net.layers.0.w",
        "judge.net.layers.0.b",
        "judge.net.layers.1.w",
        "judge.net.layers.1.b",
        "generator.word",
        "generator.net.layers.0.w",
        "generator.net.layers.0.b",
        "generator.net.layers.1.w",
        "generator.net.layers.1.b",
    )
    spare = (None, None)

    def __init__(self, judge, generator, opt_d, opt_g):
        self.judge, self.generator, self.opt_d, self.opt_g = judge, generator, opt_d, opt_g
        self.bind()

    def numbers(self, batches_2_n):
        return (batches_2_n, -(1.0 / batches_2_n), -1.0 / batches_2_n)

    def constants(self):
        return (
            self.opt_d.lr,
            self.opt_d.beta1,
            self.opt_d.beta2,
            self.opt_d.eps,
            self.opt_d.weight_decay,
            self.opt_g.lr,
            self.opt_g.beta1,
            self.opt_g.beta2,
            self.opt_g.eps,
            self.opt_g.weight_decay,
        )

    def scalars(self):
        return (self.opt_d.t, self.opt_g.t)

    def step(self, x, y, key, t, t_):
        word, net_layers_0_w, net_layers_0_b, net_layers_1_w, net_layers_1_b, word_ = self.tensors[:6]
        net_layers_0_w_, net_layers_0_b_, net_layers_1_w_, net_layers_1_b_ = self.tensors[6:]
        d_word, d_net_layers_0_w, d_net_layers_0_b, d_net_layers_1_w, d_net_layers_1_b = self.gradients[:5]
        d_word_, d_net_layers_0_w_, d_net_layers_0_b_, d_net_layers_1_w_, d_net_layers_1_b_ = self.gradients[5:]
        batches_2_n = x.shape[0]
        latent = self.generator.word.shape[1]
        count, scale, scale_ = self.held(batches_2_n)  # batches_2_n, -(1.0 / batches_2_n), -1.0 / batches_2_n
        # [batches_2_n, latent]  adversarial.lee:235
        z = normal(fold(key, SITES["z"]), (batches_2_n, latent), FLOAT, x.device)
        # int[batches_2_n]  adversarial.lee:236
        away = randint(fold(key, SITES["away"]), (batches_2_n,), 1, 10, x.device)
        concat = torch.cat((word_[y], z), dim=1)  # [batches_2_n, 2 * latent]  adversarial.lee:203
        x_2_5 = torch.relu(torch.addmm(net_layers_0_b_, concat, net_layers_0_w_))  # [batches_2_n, 64]  prelude.lee:61
        generator_out = torch.addmm(net_layers_1_b_, x_2_5, net_layers_1_w_)  # [batches_2_n, 64]  nn.lee:21
        mod = (y + away) % 10  # int[batches_2_n]  adversarial.lee:237
        gather_2 = word[y]  # [batches_2_n, 64]  adversarial.lee:212
        concat_2 = torch.cat((x, gather_2), dim=1)  # [batches_2_n, 128]
        x_2_3 = torch.relu(torch.addmm(net_layers_0_b, concat_2, net_layers_0_w))  # [batches_2_n, 64]  prelude.lee:61
        # [batches_2_n]  adversarial.lee:212
        judge_out = torch.addmm(net_layers_1_b, x_2_3, net_layers_1_w).reshape(batches_2_n)
        concat_3 = torch.cat((generator_out, gather_2), dim=1)  # [batches_2_n, 128]
        x_2_2 = torch.relu(torch.addmm(net_layers_0_b, concat_3, net_layers_0_w))  # [batches_2_n, 64]  prelude.lee:61
        # [batches_2_n]  adversarial.lee:212
        judge_out_2 = torch.addmm(net_layers_1_b, x_2_2, net_layers_1_w).reshape(batches_2_n)
        mean_2_2 = torch.nn.functional.logsigmoid(-judge_out_2).sum() / count  # adversarial.lee:218
        div = torch.nn.functional.logsigmoid(judge_out).sum() / count  # adversarial.lee:217
        concat_4 = torch.cat((x, word[mod]), dim=1)  # [batches_2_n, 128]  adversarial.lee:212
        x_2 = torch.relu(torch.addmm(net_layers_0_b, concat_4, net_layers_0_w))  # [batches_2_n, 64]  prelude.lee:61
        # [batches_2_n]  adversarial.lee:212
        judge_out_3 = torch.addmm(net_layers_1_b, x_2, net_layers_1_w).reshape(batches_2_n)
        mean_3_2 = torch.nn.functional.logsigmoid(-judge_out_3).sum() / count  # adversarial.lee:218
        d_add_2_2_2 = (-(scale * torch.sigmoid(judge_out_3)))[:, None]  # [batches_2_n, 1]  adversarial.lee:212
        # [batches_2_n, 64]  prelude.lee:61
        d_add = torch.ops.aten.threshold_backward(d_add_2_2_2 @ net_layers_1_w.T, x_2, 0)
        d_gather = (d_add @ net_layers_0_w.T)[:, 64:]  # [batches_2_n, 64]  adversarial.lee:212
        d_add_2_3 = (-(scale * torch.sigmoid(judge_out_2)))[:, None]  # [batches_2_n, 1]
        # [batches_2_n, 64]  prelude.lee:61
        d_add_3 = torch.ops.aten.threshold_backward(d_add_2_3 @ net_layers_1_w.T, x_2_2, 0)
        d_gather_2 = (d_add_3 @ net_layers_0_w.T)[:, 64:]  # [batches_2_n, 64]  adversarial.lee:212
        d_add_2_4 = (scale * torch.sigmoid(-judge_out))[:, None]  # [batches_2_n, 1]
        # [batches_2_n, 64]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_add_2_4 @ net_layers_1_w.T, x_2_3, 0)
        d_gather_3 = (d_add_4 @ net_layers_0_w.T)[:, 64:]  # [batches_2_n, 64]  adversarial.lee:212
        d_judge_word_2 = scatter_add(d_gather, (mod,), (10, 64))  # [10, 64]
        d_judge_word_5 = d_judge_word_2 + scatter_add(d_gather_2, (y,), (10, 64))  # [10, 64]  adversarial.lee:217
        torch.add(d_judge_word_5, scatter_add(d_gather_3, (y,), (10, 64)), out=d_word)  # [10, 64]
        d_judge_net_layers_0_w_5 = concat_4.T @ d_add + concat_3.T @ d_add_3  # [128, 64]
        torch.add(d_judge_net_layers_0_w_5, concat_2.T @ d_add_4, out=d_net_layers_0_w)  # [128, 64]
        torch.sum(d_add, dim=0, out=d_net_layers_0_b)  # [64]
        d_net_layers_0_b.add_(d_add_3.sum(dim=0))  # [64]
        d_net_layers_0_b.add_(d_add_4.sum(dim=0))  # [64]
        d_judge_net_layers_1_w_5 = x_2.T @ d_add_2_2_2 + x_2_2.T @ d_add_2_3  # [64, 1]
        torch.add(d_judge_net_layers_1_w_5, x_2_3.T @ d_add_2_4, out=d_net_layers_1_w)  # [64, 1]
        d_judge_net_layers_1_b_5 = d_add_2_2_2.sum(dim=0) + d_add_2_3.sum(dim=0)  # [1]
        torch.add(d_judge_net_layers_1_b_5, d_add_2_4.sum(dim=0), out=d_net_layers_1_b)  # [1]
        lr = self.opt_d.lr
        beta1 = self.opt_d.beta1
        beta2 = self.opt_d.beta2
        eps = self.opt_d.eps
        weight_decay = self.opt_d.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        concat_5 = torch.cat((generator_out, word[y]), dim=1)  # [batches_2_n, 128]  adversarial.lee:212
        x_2_4 = torch.relu(torch.addmm(net_layers_0_b, concat_5, net_layers_0_w))  # [batches_2_n, 64]  prelude.lee:61
        # [batches_2_n]  adversarial.lee:212
        reshape = torch.addmm(net_layers_1_b, x_2_4, net_layers_1_w).reshape(batches_2_n)
        d_add_2 = (scale_ * torch.sigmoid(-reshape))[:, None]  # [batches_2_n, 1]
        d_x_2_4 = d_add_2 @ net_layers_1_w.T  # [batches_2_n, 64]  nn.lee:21
        d_add_5 = torch.ops.aten.threshold_backward(d_x_2_4, x_2_4, 0)  # [batches_2_n, 64]  prelude.lee:61
        d_generator_out = (d_add_5 @ net_layers_0_w.T)[:, :64]  # [batches_2_n, 64]  adversarial.lee:212
        torch.sum(d_generator_out, dim=0, out=d_net_layers_1_b_)  # [64]  nn.lee:21
        torch.mm(x_2_5.T, d_generator_out, out=d_net_layers_1_w_)  # [64, 64]
        d_x_2_5 = d_generator_out @ net_layers_1_w_.T  # [batches_2_n, 64]
        d_add_6 = torch.ops.aten.threshold_backward(d_x_2_5, x_2_5, 0)  # [batches_2_n, 64]  prelude.lee:61
        torch.sum(d_add_6, dim=0, out=d_net_layers_0_b_)  # [64]  nn.lee:21
        torch.mm(concat.T, d_add_6, out=d_net_layers_0_w_)  # [2 * latent, 64]
        d_gather_4 = (d_add_6 @ net_layers_0_w_.T)[:, :latent]  # [batches_2_n, latent]  adversarial.lee:203
        d_word_.copy_(scatter_add(d_gather_4, (y,), (10, latent)))  # [10, latent]
        lr = self.opt_g.lr
        beta1 = self.opt_g.beta1
        beta2 = self.opt_g.beta2
        eps = self.opt_g.eps
        weight_decay = self.opt_g.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        # adversarial.lee:238
        return -(div + mean_2_2 + mean_3_2), -(torch.nn.functional.logsigmoid(reshape).sum() / count)


def by_label_y_z(data_test_y, latent, key):
    """data_test_y int[data_test_n] -> int[data_test_n], [data_test_n, latent]"""
    data_test_n = data_test_y.shape[0]
    key_2 = fold(key, SITES["z#2"])  # adversarial.lee:240
    z = normal(key_2, (data_test_n, latent), FLOAT, data_test_y.device)  # [data_test_n, latent]
    return data_test_y, z


def by_label_as_ordered_of_real(reader, generator, y, z, data_test_x):
    """y int[data_test_n], z [data_test_n, latent], data_test_x [data_test_n, 64] -> [], []"""
    return accuracy(reader(generator(y, z)), y), accuracy(reader(data_test_x), y)  # adversarial.lee:241


def paired_saved(judge, made, source, target, weight=1e1):
    """As paired, and what its gradient needs."""
    n, d = made.shape
    if judge.sizes[0] != 2 * d:
        raise ValueError(f"judge.sizes_0 = {judge.sizes[0]} must equal 2 * d = {2 * d}")
    reshape = torch.cat((source, made), dim=1).reshape(n, judge.sizes[0])  # [n, judge.sizes_0]  adversarial.lee:247
    add_2, saved_judge = judge.forward_saved(reshape)
    sub = made - target  # [n, d]
    mean = torch.nn.functional.logsigmoid(add_2).mean()
    return weight * torch.abs(sub).mean() - mean, (reshape, add_2, saved_judge, sub)


def paired_backward(judge, weight, saved, d_add):
    """From d_add to the gradients by judge, made, source and target."""
    reshape, add_2, saved_judge, sub = saved
    n, d = sub.shape
    # gradient of return mean(-log(sigmoid(judge(concat(source, made, axis = 1))))) + weight * ..   adversarial.lee:247
    d_sub = d_add * weight / (d * n) * torch.sign(sub)  # [n, d]
    d_target = -d_sub  # [n, d]
    d_add_2 = -(d_add / (judge.sizes[2] * n)) * torch.sigmoid(-add_2)  # [n, judge.sizes_2]
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
    mul_3 = weight * (torch.abs(sub_3).mean() + torch.abs(sub_4).mean())
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
    d_sub_4 = d_add / (ab.sizes[2] * m) * torch.sign(sub_4)  # [m, ab.sizes_2]
    d_ab, d_reshape_6 = ab.forward_backward(reshape_6, saved_ab_, d_sub_4)
    d_sub_3 = d_add / (ba.sizes[2] * n) * torch.sign(sub_3)  # [n, ba.sizes_2]
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


@torch.no_grad()
def cycle_gan(epochs=4, batch=64, rate=1e-3, *, run=None):
    """Digits and dark digits on bright ground, no two of them the same."""
    from leec.runtime.run import Run

    run = run or Run("cycle_gan", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    ab = MLP(sizes=(64, 64, 64), key=run.key("ab")).to(run.session.place.device)  # adversarial.lee:269
    ba = MLP(sizes=(64, 64, 64), key=run.key("ba")).to(run.session.place.device)  # adversarial.lee:270
    judge_a = MLP(sizes=(64, 32, 1), key=run.key("judge_a")).to(run.session.place.device)  # adversarial.lee:271
    judge_b = MLP(sizes=(64, 32, 1), key=run.key("judge_b")).to(run.session.place.device)  # adversarial.lee:272
    opt = Adam(lr=rate, beta1=0.5)  # adversarial.lee:273
    opt_a = Adam(lr=rate, beta1=0.5)  # adversarial.lee:274
    opt_b = Adam(lr=rate, beta1=0.5)  # adversarial.lee:275
    step = CycleGanStep(ab, ba, judge_a, judge_b, opt, opt_a, opt_b)
    for epoch in run.loop(
        "epoch", 1, epochs, ab=ab, ba=ba, judge_a=judge_a, judge_b=judge_b, opt=opt, opt_a=opt_a, opt_b=opt_b
    ):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            loss, loss_1, loss_2 = step(x)  # adversarial.lee:278
            run.step(loss)
            run.step(loss_1, "loss_1")
            run.step(loss_2, "loss_2")
    return ab, ba


class CycleGanStep(TrainStep):
    """One step of cycle_gan for ab, ba, judge_a, judge_b, opt, opt_a, opt_b: call it with a batch."""

    moved = (("opt", ("ab", "ba")), ("opt_a", ("judge_a",)), ("opt_b", ("judge_b",)))
    counted = ("opt", "opt_a", "opt_b")
    read = (
        "ab.layers.0.w",
        "ab.layers.0.b",
        "ab.layers.1.w",
        "ab.layers.1.b",
        "ba.layers.0.w",
        "ba.layers.0.b",
        "ba.layers.1.w",
        "ba.layers.1.b",
        "judge_a.layers.0.w",
        "judge_a.layers.0.b",
        "judge_a.layers.1.w",
        "judge_a.layers.1.b",
        "judge_b.layers.0.w",
        "judge_b.layers.0.b",
        "judge_b.layers.1.w",
        "judge_b.layers.1.b",
    )
    spare = (None, None, None)

    def __init__(self, ab, ba, judge_a, judge_b, opt, opt_a, opt_b):
        self.ab, self.ba, self.judge_a, self.judge_b, self.opt, self.opt_a, self.opt_b = ab, ba, judge_a, judge_b, opt, opt_a, opt_b
        self.bind()

    def numbers(self, batches_n):
        return (batches_n // 2, 64 * (batches_n // 2), 1e1 / (64 * (batches_n // 2)), 2 / (batches_n // 2))

    def constants(self):
        return (
            self.opt.lr,
            self.opt.beta1,
            self.opt.beta2,
            self.opt.eps,
            self.opt.weight_decay,
            self.opt_a.lr,
            self.opt_a.beta1,
            self.opt_a.beta2,
            self.opt_a.eps,
            self.opt_a.weight_decay,
            self.opt_b.lr,
            self.opt_b.beta1,
            self.opt_b.beta2,
            self.opt_b.eps,
            self.opt_b.weight_decay,
        )

    def scalars(self):
        return (self.opt.t, self.opt_a.t, self.opt_b.t)

    def step(self, x, t, t_, t_2):
        layers_0_w, layers_0_b, layers_1_w, layers_1_b, layers_0_w_, layers_0_b_ = self.tensors[:6]
        layers_1_w_, layers_1_b_, layers_0_w_2, layers_0_b_2, layers_1_w_2, layers_1_b_2 = self.tensors[6:12]
        layers_0_w_3, layers_0_b_3, layers_1_w_3, layers_1_b_3 = self.tensors[12:]
        d_layers_0_w, d_layers_0_b, d_layers_1_w, d_layers_1_b, d_layers_0_w_, d_layers_0_b_ = self.gradients[:6]
        d_layers_1_w_, d_layers_1_b_, d_layers_0_w_2, d_layers_0_b_2, d_layers_1_w_2 = self.gradients[6:11]
        d_layers_1_b_2, d_layers_0_w_3, d_layers_0_b_3, d_layers_1_w_3, d_layers_1_b_3 = self.gradients[11:]
        batches_n = x.shape[0]
        scale, scale_, scale_2, scale_3 = self.held(batches_n)
        a = x[: batches_n // 2]  # [batches_n // 2, 64]  adversarial.lee:278
        b = 1 - x[batches_n // 2 :]  # [batches_n - batches_n // 2, 64]  adversarial.lee:279
        x_2_6 = torch.relu(torch.addmm(layers_0_b, a, layers_0_w))  # [batches_n // 2, 64]  prelude.lee:61
        fake_b = torch.addmm(layers_1_b, x_2_6, layers_1_w)  # [batches_n // 2, 64]  nn.lee:21
        x_2_5 = torch.relu(torch.addmm(layers_0_b_, b, layers_0_w_))  # [batches_n - batches_n // 2, 64]  prelude.lee:61
        fake_a = torch.addmm(layers_1_b_, x_2_5, layers_1_w_)  # [batches_n - batches_n // 2, 64]  nn.lee:21
        x_2_4 = torch.relu(torch.addmm(layers_0_b_3, fake_b, layers_0_w_3))  # [batches_n // 2, 32]  prelude.lee:61
        sub = torch.addmm(layers_1_b_3, x_2_4, layers_1_w_3) - 1  # [batches_n // 2, 1]  adversarial.lee:257
        # [batches_n - batches_n // 2, 32]  prelude.lee:61
        x_2_3 = torch.relu(torch.addmm(layers_0_b_2, fake_a, layers_0_w_2))
        # [batches_n - batches_n // 2, 1]  adversarial.lee:257
        sub_2 = torch.addmm(layers_1_b_2, x_2_3, layers_1_w_2) - 1
        size_2 = batches_n - batches_n // 2
        x_2_2 = torch.relu(torch.addmm(layers_0_b_, fake_b, layers_0_w_))  # [batches_n // 2, 64]  prelude.lee:61
        sub_3 = torch.addmm(layers_1_b_, x_2_2, layers_1_w_) - a  # [batches_n // 2, 64]  adversarial.lee:258
        # [batches_n - batches_n // 2, 64]  prelude.lee:61
        x_2 = torch.relu(torch.addmm(layers_0_b, fake_a, layers_0_w))
        sub_4 = torch.addmm(layers_1_b, x_2, layers_1_w) - b  # [batches_n - batches_n // 2, 64]  adversarial.lee:258
        size_4 = 64 * batches_n - 64 * (batches_n // 2)
        div_5 = torch.abs(sub_3).sum() / scale_
        fool = (sub * sub).sum() / scale + (sub_2 * sub_2).sum() / size_2  # adversarial.lee:257
        d_sub_4 = 1e1 / size_4 * torch.sign(sub_4)  # [batches_n - batches_n // 2, 64]  adversarial.lee:258
        # [batches_n - batches_n // 2, 64]  prelude.lee:61
        d_add_2 = torch.ops.aten.threshold_backward(d_sub_4 @ layers_1_w.T, x_2, 0)
        d_sub_3 = scale_2 * torch.sign(sub_3)  # [batches_n // 2, 64]  adversarial.lee:258
        # [batches_n // 2, 64]  prelude.lee:61
        d_add_4 = torch.ops.aten.threshold_backward(d_sub_3 @ layers_1_w_.T, x_2_2, 0)
        d_x_2_3 = 2 / size_2 * sub_2 @ layers_1_w_2.T  # [batches_n - batches_n // 2, 32]  nn.lee:21
        # [batches_n - batches_n // 2, 32]  prelude.lee:61
        d_add_5 = torch.ops.aten.threshold_backward(d_x_2_3, x_2_3, 0)
        d_x_2_4 = scale_3 * sub @ layers_1_w_3.T  # [batches_n // 2, 32]  nn.lee:21
        d_add_6 = torch.ops.aten.threshold_backward(d_x_2_4, x_2_4, 0)  # [batches_n // 2, 32]  prelude.lee:61
        # [batches_n - batches_n // 2, 64]  adversarial.lee:256
        d_fake_a = d_add_2 @ layers_0_w.T + d_add_5 @ layers_0_w_2.T
        # [batches_n - batches_n // 2, 64]  prelude.lee:61
        d_add_7 = torch.ops.aten.threshold_backward(d_fake_a @ layers_1_w_.T, x_2_5, 0)
        d_fake_b = d_add_4 @ layers_0_w_.T + d_add_6 @ layers_0_w_3.T  # [batches_n // 2, 64]  adversarial.lee:255
        # [batches_n // 2, 64]  prelude.lee:61
        d_add_8 = torch.ops.aten.threshold_backward(d_fake_b @ layers_1_w.T, x_2_6, 0)
        torch.mm(fake_a.T, d_add_2, out=d_layers_0_w)  # [64, 64]  adversarial.lee:255
        d_layers_0_w.add_(a.T @ d_add_8)  # [64, 64]
        torch.sum(d_add_2, dim=0, out=d_layers_0_b)  # [64]
        d_layers_0_b.add_(d_add_8.sum(dim=0))  # [64]
        torch.mm(x_2.T, d_sub_4, out=d_layers_1_w)  # [64, 64]
        d_layers_1_w.add_(x_2_6.T @ d_fake_b)  # [64, 64]
        torch.sum(d_sub_4, dim=0, out=d_layers_1_b)  # [64]
        d_layers_1_b.add_(d_fake_b.sum(dim=0))  # [64]
        torch.mm(fake_b.T, d_add_4, out=d_layers_0_w_)  # [64, 64]
        d_layers_0_w_.add_(b.T @ d_add_7)  # [64, 64]
        torch.sum(d_add_4, dim=0, out=d_layers_0_b_)  # [64]
        d_layers_0_b_.add_(d_add_7.sum(dim=0))  # [64]
        torch.mm(x_2_2.T, d_sub_3, out=d_layers_1_w_)  # [64, 64]
        d_layers_1_w_.add_(x_2_5.T @ d_fake_a)  # [64, 64]
        torch.sum(d_sub_3, dim=0, out=d_layers_1_b_)  # [64]
        d_layers_1_b_.add_(d_fake_a.sum(dim=0))  # [64]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        x_2_9 = torch.relu(torch.addmm(layers_0_b_, b, layers_0_w_))  # [batches_n - batches_n // 2, 64]  prelude.lee:61
        affine_8 = torch.addmm(layers_1_b_, x_2_9, layers_1_w_)  # [batches_n - batches_n // 2, 64]  nn.lee:21
        x_2_2_2 = torch.relu(torch.addmm(layers_0_b_2, a, layers_0_w_2))  # [batches_n // 2, 32]  prelude.lee:61
        sub_5 = torch.addmm(layers_1_b_2, x_2_2_2, layers_1_w_2) - 1  # [batches_n // 2, 1]  adversarial.lee:263
        # [batches_n - batches_n // 2, 32]  prelude.lee:61
        x_2_7 = torch.relu(torch.addmm(layers_0_b_2, affine_8, layers_0_w_2))
        add_2_2_2 = torch.addmm(layers_1_b_2, x_2_7, layers_1_w_2)  # [batches_n - batches_n // 2, 1]  nn.lee:21
        mean_2_2 = (add_2_2_2 * add_2_2_2).sum() / size_2  # adversarial.lee:263
        d_add_2_2 = 2 * (0.5 / size_2) * add_2_2_2  # [batches_n - batches_n // 2, 1]
        # [batches_n - batches_n // 2, 32]  prelude.lee:61
        d_add_2_3 = torch.ops.aten.threshold_backward(d_add_2_2 @ layers_1_w_2.T, x_2_7, 0)
        mul_6 = 2 * (0.5 / (batches_n // 2))  # adversarial.lee:263
        d_sub_5 = mul_6 * sub_5  # [batches_n // 2, 1]
        # [batches_n // 2, 32]  prelude.lee:61
        d_add_3_2 = torch.ops.aten.threshold_backward(d_sub_5 @ layers_1_w_2.T, x_2_2_2, 0)
        torch.mm(affine_8.T, d_add_2_3, out=d_layers_0_w_2)  # [64, 32]  adversarial.lee:263
        d_layers_0_w_2.add_(a.T @ d_add_3_2)  # [64, 32]
        torch.sum(d_add_2_3, dim=0, out=d_layers_0_b_2)  # [32]
        d_layers_0_b_2.add_(d_add_3_2.sum(dim=0))  # [32]
        torch.mm(x_2_7.T, d_add_2_2, out=d_layers_1_w_2)  # [32, 1]
        d_layers_1_w_2.add_(x_2_2_2.T @ d_sub_5)  # [32, 1]
        torch.sum(d_add_2_2, dim=0, out=d_layers_1_b_2)  # [1]
        d_layers_1_b_2.add_(d_sub_5.sum(dim=0))  # [1]
        lr = self.opt_a.lr
        beta1 = self.opt_a.beta1
        beta2 = self.opt_a.beta2
        eps = self.opt_a.eps
        weight_decay = self.opt_a.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        x_2_10 = torch.relu(torch.addmm(layers_0_b, a, layers_0_w))  # [batches_n // 2, 64]  prelude.lee:61
        add_2_2 = torch.addmm(layers_1_b, x_2_10, layers_1_w)  # [batches_n // 2, 64]  nn.lee:21
        # [batches_n - batches_n // 2, 32]  prelude.lee:61
        x_2_2_3 = torch.relu(torch.addmm(layers_0_b_3, b, layers_0_w_3))
        # [batches_n - batches_n // 2, 1]  adversarial.lee:263
        sub_6 = torch.addmm(layers_1_b_3, x_2_2_3, layers_1_w_3) - 1
        x_2_8 = torch.relu(torch.addmm(layers_0_b_3, add_2_2, layers_0_w_3))  # [batches_n // 2, 32]  prelude.lee:61
        add_2_2_3 = torch.addmm(layers_1_b_3, x_2_8, layers_1_w_3)  # [batches_n // 2, 1]  nn.lee:21
        mean_2_3 = (add_2_2_3 * add_2_2_3).sum() / scale  # adversarial.lee:263
        d_add_2_2_2 = mul_6 * add_2_2_3  # [batches_n // 2, 1]
        # [batches_n // 2, 32]  prelude.lee:61
        d_add_2_4 = torch.ops.aten.threshold_backward(d_add_2_2_2 @ layers_1_w_3.T, x_2_8, 0)
        d_sub_6 = 2 * (0.5 / size_2) * sub_6  # [batches_n - batches_n // 2, 1]  adversarial.lee:263
        # [batches_n - batches_n // 2, 32]  prelude.lee:61
        d_add_3_3 = torch.ops.aten.threshold_backward(d_sub_6 @ layers_1_w_3.T, x_2_2_3, 0)
        torch.mm(add_2_2.T, d_add_2_4, out=d_layers_0_w_3)  # [64, 32]  adversarial.lee:263
        d_layers_0_w_3.add_(b.T @ d_add_3_3)  # [64, 32]
        torch.sum(d_add_2_4, dim=0, out=d_layers_0_b_3)  # [32]
        d_layers_0_b_3.add_(d_add_3_3.sum(dim=0))  # [32]
        torch.mm(x_2_8.T, d_add_2_2_2, out=d_layers_1_w_3)  # [32, 1]
        d_layers_1_w_3.add_(x_2_2_3.T @ d_sub_6)  # [32, 1]
        torch.sum(d_add_2_2_2, dim=0, out=d_layers_1_b_3)  # [1]
        d_layers_1_b_3.add_(d_sub_6.sum(dim=0))  # [1]
        lr = self.opt_b.lr
        beta1 = self.opt_b.beta1
        beta2 = self.opt_b.beta2
        eps = self.opt_b.eps
        weight_decay = self.opt_b.weight_decay
        for θ, g, m, v in self.blocks[2]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_2)
        return (
            fool + 10 * (div_5 + torch.abs(sub_4).sum() / size_4),
            ((sub_5 * sub_5).sum() / scale + mean_2_2) / 2,
            ((sub_6 * sub_6).sum() / size_2 + mean_2_3) / 2,
        )


def frechet(a, b):
    """FID of features: ‖μ - μ'‖² + tr(Σ + Σ' - 2 (Σ Σ')^½), the covariances of n - 1 (Heusel et al. 2017).

    a [n, d], b [m, d] -> []
    """
    first = covariance(a)  # [d, d]  adversarial.lee:291
    second = covariance(b)  # [d, d]  adversarial.lee:292
    root = matrix_sqrt(first)  # [d, d]  adversarial.lee:293
    both = matrix_sqrt(root @ second @ root)  # [d, d]  adversarial.lee:294
    sub = a.mean(dim=0) - b.mean(dim=0)  # [d]  adversarial.lee:295
    return (sub**2).sum() + trace(first + second - 2 * both)


def frechet_saved(a, b):
    """As frechet, and what its gradient needs."""
    first, saved_covariance = covariance_saved(a)  # adversarial.lee:291
    second, saved_covariance_ = covariance_saved(b)  # adversarial.lee:292
    root = matrix_sqrt(first)  # [d, d]  adversarial.lee:293
    contract = root @ second  # [d, d]  adversarial.lee:294
    both = matrix_sqrt(contract @ root)  # [d, d]
    sub = a.mean(dim=0) - b.mean(dim=0)  # [d]  adversarial.lee:295
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
    centred = x - x.mean(dim=0)  # [n, d]  adversarial.lee:299
    return centred.T @ centred / (n - 1)  # [d, d]  adversarial.lee:300


def covariance_saved(x):
    """As covariance, and what its gradient needs."""
    n = x.shape[0]
    centred = x - x.mean(dim=0)  # [n, d]  adversarial.lee:299
    return centred.T @ centred / (n - 1), centred  # adversarial.lee:300


def covariance_backward(centred, d_y):
    """From d_y to the gradient by x."""
    n = centred.shape[0]
    # gradient of return centred.T @ centred / (n - 1)   adversarial.lee:300
    d_contract = d_y / (n - 1)  # [d, d]
    # gradient of centred = x - mean(x, axis = 0)   adversarial.lee:299
    d_centred = centred @ d_contract.T + centred @ d_contract  # [n, d]
    d_x = d_centred + -d_centred.sum(dim=0) / n  # [n, d]
    return d_x  # [n, d]


def inception_score(z):
    """exp E KL(p(y|x) ‖ p(y)): each answer sure, all together diverse.

    z [n, k] -> []
    """
    n = z.shape[0]
    p = softmax(z, (1,))  # [n, k]  prelude.lee:122
    log_softmax_ = torch.log_softmax(z, dim=1)  # [n, k]  prelude.lee:127
    sub = logsumexp(log_softmax_, 0, False) - math.log(n)  # [k]  adversarial.lee:307
    return torch.exp((p * (log_softmax_ - sub)).sum(dim=1).mean())


def inception_score_saved(z):
    """As inception_score, and what its gradient needs."""
    n = z.shape[0]
    p = softmax(z, (1,))  # [n, k]  prelude.lee:122
    log_softmax_ = torch.log_softmax(z, dim=1)  # [n, k]  prelude.lee:127
    sub_2 = log_softmax_ - (logsumexp(log_softmax_, 0, False) - math.log(n))  # [n, k]  adversarial.lee:307
    return torch.exp((p * sub_2).sum(dim=1).mean()), (p, log_softmax_, sub_2)


def inception_score_backward(saved, exp, d_y):
    """From d_y to the gradient by z."""
    p, log_softmax_, sub_2 = saved
    n = p.shape[0]
    # gradient of return exp(mean(sum(p * (log_softmax(z, axis = 1) - log(share)), axis = 1)))   adversarial.lee:307
    div = d_y * exp / n
    d_p = div * sub_2  # [n, k]
    d_sub_2 = div * p  # [n, k]
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_log_softmax = d_sub_2 + -d_sub_2.sum(dim=0) * softmax(log_softmax_, (0,))  # [n, k]
    sum_2 = d_log_softmax.sum(dim=1, keepdim=True)  # [n, 1]
    d_z_2 = d_log_softmax - torch.exp(log_softmax_) * sum_2  # [n, k]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_z = d_z_2 + p * (d_p - (d_p * p).sum(dim=1, keepdim=True))  # [n, k]
    return d_z  # [n, k]


def memory(made, known):
    """The distance to the nearest training example: 0 where a sample is only remembered.

    made [n, d], known [m, d] -> [n]
    """
    return smallest(distances(made, known), (1,), False)  # [n]  adversarial.lee:312


def distances(a, b):
    """a [n, d], b [m, d] -> [n, m]"""
    sub = a[:, None] - b  # [n, m, d]  adversarial.lee:316
    apart = sqrt((sub**2).sum(dim=2))  # [n, m]
    return apart  # [n, m]


def covered_modes(made, centres, reach):
    """How many of the clusters of the data some sample comes near: few after a collapse.

    made [n, d], centres [k, d] -> []
    """
    lt = smallest(distances(centres, made), (1,), False) < reach  # bool[k]  adversarial.lee:322
    return lt.to(torch.int64).sum()


def gumbel_softmax(z, luck, temperature=0.5):
    """A token as nearly one-hot, whose draw has a slope (Jang et al. 2017): softmax((z + g) / τ), g = -log(-log u).

    z [n, k], luck [n, k] -> [n, k]
    """
    div = (z - torch.log(-torch.log(luck))) / temperature  # [n, k]  adversarial.lee:330
    return softmax(div, (1,))  # [n, k]  prelude.lee:122


def reinforced(z, reward):
    """What REINFORCE estimates, here as its expectation: Σ p R ∇log p, the slope of the mean reward.

    z [k], reward [k] -> [k]
    """
    p = stop_2(softmax(z, (0,)))  # [k]  adversarial.lee:335
    mul = p * reward  # [k]  adversarial.lee:336
    exp = torch.exp(torch.log_softmax(z, dim=0))  # [k]  prelude.lee:127
    return mul - exp * mul.sum(dim=0, keepdim=True)  # [k]


def reinforced_saved(z, reward):
    """As reinforced, and what its gradient needs."""
    p = stop_2(softmax(z, (0,)))  # [k]  adversarial.lee:335
    mul = p * reward  # [k]  adversarial.lee:336
    log_softmax_ = torch.log_softmax(z, dim=0)  # [k]  prelude.lee:127
    exp = torch.exp(log_softmax_)  # [k]
    sum_2 = mul.sum(dim=0, keepdim=True)  # [1]
    return mul - exp * sum_2, (p, log_softmax_, exp, sum_2)


def reinforced_backward(saved, d_y):
    """From d_y to the gradients by z and reward."""
    p, log_softmax_, exp, sum_2 = saved
    # gradient of return log(softmax(x, axis = axis))   prelude.lee:127
    d_log_softmax = -d_y * sum_2 * exp  # [k]
    sum_ = d_log_softmax.sum(dim=0, keepdim=True)  # [1]
    d_z = d_log_softmax - torch.exp(log_softmax_) * sum_  # [k]
    # gradient of return grad(sum(p * reward * log_softmax(z)), z)   adversarial.lee:336
    d_reward = (d_y + (-d_y * exp).sum(dim=0, keepdim=True)) * p  # [k]
    return d_z, d_reward


def example_judged_both(key):
    judge = MLP((5, 6, 1), key=fold(key, SITES["judge"]))  # adversarial.lee:340
    real = normal(fold(key, SITES["real"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:341
    fake = normal(fold(key, SITES["fake"]), (6, 5), FLOAT)  # [6, 5]  adversarial.lee:342
    value, saved_discriminates = discriminates_saved(judge, real, fake)  # adversarial.lee:343
    d_value = torch.ones((), dtype=FLOAT)
    d_judge, d_real, d_fake = discriminates_backward(judge, real, fake, saved_discriminates, d_value)
    return value, judge.at(d_judge), d_real, d_fake


def example_fooling(key):
    judge = MLP((5, 6, 1), key=fold(key, SITES["judge"]))  # adversarial.lee:347
    generator = MLP((3, 6, 5), key=fold(key, SITES["generator"]))  # adversarial.lee:348
    z = normal(fold(key, SITES["z"]), (7, 3), FLOAT)  # [7, 3]  adversarial.lee:349
    add_2, saved_generator = generator.forward_saved(z)  # adversarial.lee:350
    mean, saved_non_saturating = non_saturating_saved(judge, add_2)
    mean_2, saved_saturating = saturating_saved(judge, add_2)
    d_mean_2 = torch.full((), 2.0, dtype=FLOAT)
    d_judge, d_add_2_2 = saturating_backward(judge, add_2, saved_saturating, d_mean_2)
    d_value = torch.ones((), dtype=FLOAT)
    d_judge_, d_add_2_3 = non_saturating_backward(judge, add_2, saved_non_saturating, d_value)
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
    d_mul_3 = torch.full((), 3.0, dtype=FLOAT)
    d_div_3, d_div_2_2 = jensen_shannon_backward(div, div_2, saved_jensen_shannon, d_mul_3)
    d_value = torch.ones((), dtype=FLOAT)
    d_div_4, d_div_2_3, d_d = value_of_game_backward(div, div_2, d, saved_value_of_game, d_value)
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
    d_value = torch.ones((), dtype=FLOAT)
    d_judge_, d_real = against_own_backward(judge, real, saved_against_own, d_value)
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
    d_mean = torch.full((), 1e1, dtype=FLOAT)
    d_critic = gradient_penalty_backward_parameters(critic, saved_gradient_penalty, d_mean)
    d_add_2 = torch.ones((), dtype=FLOAT)
    d_critic_, d_real, d_fake = wasserstein_backward(critic, real, fake, saved_wasserstein, d_add_2)
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
        torch.zeros(7, dtype=FLOAT),
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
    d_critic, d_real, d_fake = hinge_backward(real, fake, saved_hinge, torch.ones((), dtype=FLOAT))
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
    d_value = torch.ones((), dtype=FLOAT)
    d_judge, d_x, d_generator_out = judges_pairs_backward(judge, c, other, saved_judges_pairs, d_value)
    d_generator, d_z = generator.forward_backward(c, saved_generator, d_generator_out)
    return value, generator.at(d_generator), judge.at(d_judge), d_x, d_z


def example_with_pairs(key):
    judge = MLP((10, 6, 1), key=fold(key, SITES["judge"]))  # adversarial.lee:400
    net = MLP((5, 6, 5), key=fold(key, SITES["net"]))  # adversarial.lee:401
    source = normal(fold(key, SITES["source"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:402
    target = normal(fold(key, SITES["target"]), (7, 5), FLOAT)  # [7, 5]  adversarial.lee:403
    add_2, saved_net = net.forward_saved(source)  # adversarial.lee:404
    value, saved_paired = paired_saved(judge, add_2, source, target)
    d_judge, d_add_2, d_source_2, d_target = paired_backward(judge, 1e1, saved_paired, torch.ones((), dtype=FLOAT))
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
    d_value = torch.ones((), dtype=FLOAT)
    d_judge_a, d_a_2, d_add_2 = judged_backward(judge_a, a, add_2, saved_judged, d_value)
    d_ba, d_b_2 = ba.forward_backward(b, saved_ba, d_add_2)
    d_ab, d_ba_, d_judge_a_, d_judge_b, d_a_3, d_b_3 = cycle_backward(
        ab, ba, judge_a, judge_b, a, b, 1e1, saved_cycle, d_value
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
    d_a, d_b = frechet_backward(saved_frechet, torch.ones((), dtype=FLOAT))
    return value, d_a, d_b


def example_sure_and_diverse(key):
    z = 2 * normal(fold(key, SITES["z"]), (9, 4), FLOAT)  # [9, 4]  adversarial.lee:424
    value, saved_inception_score = inception_score_saved(z)  # adversarial.lee:425
    d_value = torch.ones((), dtype=FLOAT)
    d_z = inception_score_backward(saved_inception_score, value, d_value)  # [9, 4]
    return value, d_z


def example_remembered(key):
    made = normal(fold(key, SITES["made"]), (6, 3), FLOAT)  # [6, 3]  adversarial.lee:429
    known = normal(fold(key, SITES["known"]), (9, 3), FLOAT)  # [9, 3]  adversarial.lee:430
    return memory(made, known).sum(), covered_modes(made, known, 0.9)  # adversarial.lee:431


def example_of_tokens(key):
    z = normal(fold(key, SITES["z"]), (5, 4), FLOAT)  # [5, 4]  adversarial.lee:435
    luck = 0.01 + 0.98 * uniform(fold(key, SITES["luck"]), (5, 4), FLOAT)  # [5, 4]  adversarial.lee:436
    c = normal(fold(key, SITES["c"]), (5, 4), FLOAT)  # [5, 4]  adversarial.lee:437
    neg = -torch.log(luck)  # [5, 4]  adversarial.lee:330
    d_c = softmax((z - torch.log(neg)) / 0.5, (1,))  # [5, 4]  prelude.lee:122
    mul_2 = c * d_c  # [5, 4]  adversarial.lee:438
    d_div = d_c * (c - mul_2.sum(dim=1, keepdim=True))  # [5, 4]  prelude.lee:122
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

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
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
        d_b = d_y.sum(dim=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}


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

    def update(self, θ, g):
        """Move θ along its gradient, in place."""
        self.begin(θ)
        g_2 = g + self.weight_decay * θ  # [count]  optim.lee:60
        self.v.copy_(self.alpha * self.v + (1 - self.alpha) * (g_2 * g_2))  # [count]  optim.lee:61
        θ.sub_(self.lr * g_2 / (torch.sqrt(self.v) + self.eps))  # [count]  optim.lee:62


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x.detach()  # [x_0, x_1]  prelude.lee:18


def stop_2(x):
    """x, through which no gradient flows.

    x [x_0] -> [x_0]
    """
    return x.detach()  # [x_0]  prelude.lee:18


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


def relu_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1]
    d_x = torch.where(gt, d_y, 0)  # [x_0, x_1]
    return d_x, gt


def relu_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = torch.where(gt, d_d_x, 0)  # [x_0, x_1]
    return d_d_select  # [x_0, x_1]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0, 1] -> [x_0, 1]
    """
    return torch.relu(x)  # [x_0, 1]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, 1]
    return d_x  # [x_0, 1]


def leaky_relu(x, slope=0.01):
    """x where it is positive, else slope · x.

    x [x_0, x_1] -> [x_0, x_1]
    """
    gt = x > 0  # bool[x_0, x_1]  prelude.lee:71
    return torch.where(gt, x, slope * torch.where(~gt, x, x.detach()))  # [x_0, x_1]


def leaky_relu_saved(x, slope=0.01):
    """As leaky_relu, and what its gradient needs."""
    gt = x > 0  # bool[x_0, x_1]  prelude.lee:71
    return torch.where(gt, x, slope * x), gt


def leaky_relu_backward(slope, gt, d_y):
    """From d_y to the gradient by x."""
    d_x = torch.where(gt, d_y, 0) + torch.where(gt, 0, d_y * slope)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def clip_saved(x, low, high):
    """As clip, and what its gradient needs."""
    maximum = x.layers[0].w.clamp(min=low)  # [x.sizes_0, x.sizes_1]  prelude.lee:153
    maximum_2 = x.layers[0].b.clamp(min=low)  # [x.sizes_1]
    maximum_3 = x.layers[1].w.clamp(min=low)  # [x.sizes_1, x.sizes_2]
    maximum_4 = x.layers[1].b.clamp(min=low)  # [x.sizes_2]
    return x.at(
        {
            "layers.0": {"w": maximum.clamp(max=high), "b": maximum_2.clamp(max=high)},
            "layers.1": {"w": maximum_3.clamp(max=high), "b": maximum_4.clamp(max=high)},
        }
    ), (maximum, maximum_2, maximum_3, maximum_4)


def clip_backward(x, low, high, saved, d_mlp):
    """From d_mlp to the gradient by x."""
    maximum, maximum_2, maximum_3, maximum_4 = saved
    # gradient of return min(max(x, low), high)   prelude.lee:153
    select = torch.where(x.layers[1].b >= low, d_mlp["layers.1"]["b"], 0)  # [x.sizes_2]
    d_x_layers_1_b = torch.where(maximum_4 <= high, select, 0)  # [x.sizes_2]
    select_2 = torch.where(x.layers[1].w >= low, d_mlp["layers.1"]["w"], 0)  # [x.sizes_1, x.sizes_2]
    d_x_layers_1_w = torch.where(maximum_3 <= high, select_2, 0)  # [x.sizes_1, x.sizes_2]
    select_3 = torch.where(x.layers[0].b >= low, d_mlp["layers.0"]["b"], 0)  # [x.sizes_1]
    d_x_layers_0_b = torch.where(maximum_2 <= high, select_3, 0)  # [x.sizes_1]
    select_4 = torch.where(x.layers[0].w >= low, d_mlp["layers.0"]["w"], 0)  # [x.sizes_0, x.sizes_1]
    d_x_layers_0_w = torch.where(maximum <= high, select_4, 0)  # [x.sizes_0, x.sizes_1]
    return {
        "layers.0": {"w": d_x_layers_0_w, "b": d_x_layers_0_b},
        "layers.1": {"w": d_x_layers_1_w, "b": d_x_layers_1_b},
    }


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum(dim=1)  # [x_0]  prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_sqrt):
    """From d_sqrt to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_sum = d_sqrt * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)  # [x_0]
    d_x = 2 * (d_sum[:, None] * x)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def norm_2(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return sqrt((x**2).sum())  # prelude.lee:163


def trace(x):
    """Σ xᵢᵢ

    x [n, n] -> []
    """
    return torch.einsum("ii->i", x).sum()  # prelude.lee:242


def trace_backward(n, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sum[i](x[i, i])   prelude.lee:242
    iota = torch.arange(n, device=d_y.device)[:, None]  # int[n, 1]
    eq = iota == torch.arange(n, device=d_y.device)[None, :]  # bool[n, n]
    d_x = torch.where(eq, d_y.expand(n)[:, None], 0)  # [n, n]
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


def smallest(x, axes, keepdims=False):
    """The smallest entry, inf of nothing; the gradient goes to the first of equals."""
    return -largest(-x, axes, keepdims)


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


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = x.abs() > 100 * torch.finfo(x.dtype).eps * scale
    return torch.where(far, 1 / torch.where(far, x, 1.0), 0.0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


class MatrixSqrt(torch.autograd.Function):
    """The root of the symmetric part, which has no negative eigenvalues but for rounding."""

    @staticmethod
    def forward(ctx, a):
        values, vectors = torch.linalg.eigh(symmetric_part(a))
        root = vectors * torch.sqrt(values.clamp(min=0))[..., None, :] @ vectors.mT
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx, d_root):
        (root,) = ctx.saved_tensors
        return lyapunov(root, symmetric_part(d_root))


def matrix_sqrt(a):
    """The root of the symmetric part, which has no negative eigenvalues but for rounding."""
    return MatrixSqrt.apply(a)


class Lyapunov(torch.autograd.Function):
    """x with a @ x + x @ a = y, where a is the symmetric part."""

    @staticmethod
    def forward(ctx, a, y):
        values, vectors = torch.linalg.eigh(symmetric_part(a))
        sums = values[..., :, None] + values[..., None, :]
        scale = values.abs().amax(dim=-1)[..., None, None]
        x = vectors @ (vectors.mT @ y @ vectors * reciprocal_or_zero(sums, scale)) @ vectors.mT
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx, d_x):
        a, x = ctx.saved_tensors
        d_y = lyapunov(a, d_x)
        return -symmetric_part(d_y @ x.mT + x.mT @ d_y), d_y


def lyapunov(a, y):
    """x with a @ x + x @ a = y, where a is the symmetric part; where eigenvalues of a cancel, x has no share."""
    return Lyapunov.apply(a, y)


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
