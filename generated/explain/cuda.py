"""Why does a net say what it says (inventory K1 to K6)? What matters in an input, and what its layers do with it.

Made from specs/explain/explain.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/explain/explain.lee
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


def covered_saved(image, size, base=0.5):
    """As covered, and what its gradient needs."""
    h, w = image.shape
    mul = torch.arange(h // size, device=image.device) * size  # int[h // size]  explain.lee:16
    i = torch.arange(h, device=image.device)  # int[h]
    mul_2 = torch.arange(w // size, device=image.device) * size  # int[w // size]
    j = torch.arange(w, device=image.device)  # int[w]
    logical_and = (mul[:, None] <= i) & (i < (mul + size)[:, None])  # bool[h // size, h]
    reshape_6 = (mul_2[:, None] <= j)[:, None]  # bool[w // size, 1, w]
    logical_and_2 = logical_and[:, None, :, None] & reshape_6  # bool[h // size, w // size, h, w]
    logical_and_3 = logical_and_2 & (j < (mul_2 + size)[:, None])[:, None]  # bool[h // size, w // size, h, w]
    copy = torch.where(logical_and_3, base, image)  # [h // size, w // size, h, w]  explain.lee:15
    return copy, logical_and_3


def covered_backward(logical_and_3, size, d_copy):
    """From d_copy to the gradient by image."""
    # gradient of copy[a in h // size, b in w // size, i, j] = where(   explain.lee:15
    d_image = torch.where(logical_and_3, 0, d_copy).sum(dim=(0, 1))  # [h, w]
    return d_image  # [h, w]


def occlusion_saved(net, image, label, size=2):
    """As occlusion, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(image[None])  # explain.lee:23
    score = add_2[0, label]
    copy_2, saved_covered = covered_saved(image, size)  # explain.lee:24
    # [(net.columns // size) * (net.rows // size), net.rows, net.columns]  explain.lee:25
    reshape_2 = copy_2.reshape(-1, net.rows, net.columns)
    add_2_2, saved_net_ = net.forward_saved(reshape_2)
    without = add_2_2.permute((1, 0))[label]  # [(net.columns // size) * (net.rows // size)]
    # [net.rows // size, net.columns // size]  explain.lee:26
    reshape_3 = without.reshape(net.rows // size, net.columns // size)
    return score - reshape_3, (saved_net, saved_covered, reshape_2, saved_net_)


def occlusion_backward(net, image, label, saved, size, d_sub):
    """From d_sub to the gradients by net and image."""
    saved_net, saved_covered, reshape_2, saved_net_ = saved
    # gradient of return score - reshape(without, [h // size, w // size])   explain.lee:26
    d_score = d_sub.sum()
    d_without = (-d_sub).reshape(-1)  # [(net.columns // size) * (net.rows // size)]
    # gradient of without = net(reshape(copy, [(h // size) * (w // size), h, w]), training = fa..   explain.lee:25
    # [(net.columns // size) * (net.rows // size), net.classes]
    d_add_2_2 = scatter_add(d_without, (label,), (net.columns // size * (net.rows // size), net.classes), (1,))
    d_net, d_reshape_2 = net.forward_backward(reshape_2, saved_net_, d_add_2_2)
    # [net.rows // size, net.columns // size, net.rows, net.columns]
    d_copy_2 = d_reshape_2.reshape(net.rows // size, net.columns // size, net.rows, net.columns)
    # gradient of score = net(image[None], training = false)[0, label]   explain.lee:23
    # [1, net.classes]
    d_add_2 = scatter_add(d_score, (torch.full((), 0, device=image.device), label), (1, net.classes))
    d_net_, d_reshape = net.forward_backward(image[None], saved_net, d_add_2)
    # [net.columns * net.rows, 6]
    d_net_inner_layers_0_w = d_net["inner"]["layers.0"]["w"] + d_net_["inner"]["layers.0"]["w"]
    d_net_inner_layers_0_b = d_net["inner"]["layers.0"]["b"] + d_net_["inner"]["layers.0"]["b"]  # [6]
    d_net_inner_layers_1_w = d_net["inner"]["layers.1"]["w"] + d_net_["inner"]["layers.1"]["w"]  # [6, net.classes]
    d_net_inner_layers_1_b = d_net["inner"]["layers.1"]["b"] + d_net_["inner"]["layers.1"]["b"]  # [net.classes]
    # gradient of copy = covered(image, size)   explain.lee:24
    d_image_2 = covered_backward(saved_covered, size, d_copy_2)  # [net.rows, net.columns]
    # gradient of score = net(image[None], training = false)[0, label]   explain.lee:23
    d_image = d_image_2 + d_reshape.reshape(net.rows, net.columns)  # [net.rows, net.columns]
    return {
        "inner": {
            "layers.0": {"w": d_net_inner_layers_0_w, "b": d_net_inner_layers_0_b},
            "layers.1": {"w": d_net_inner_layers_1_w, "b": d_net_inner_layers_1_b},
        }
    }, d_image


def ablation_saved(net, x, base, label):
    """As ablation, and what its gradient needs."""
    i = torch.arange(net.sizes[0], device=x.device)  # int[net.sizes_0]  explain.lee:31
    eq = i == i[:, None]  # bool[net.sizes_0, net.sizes_0]
    without = torch.where(eq, base, x)  # [net.sizes_0, net.sizes_0]
    add_2, saved_net = net.forward_2_saved(x[None])  # explain.lee:32
    add_2_2, saved_net_ = net.forward_saved(without)
    return add_2[0, label] - add_2_2.permute((1, 0))[label], (eq, without, saved_net, saved_net_)


def ablation_backward(net, x, label, saved, d_sub):
    """From d_sub to the gradients by net, x and base."""
    eq, without, saved_net, saved_net_ = saved
    # gradient of return net(x[None], training = false)[0, label] - net(without, training = fal..   explain.lee:32
    d_add_2_2 = scatter_add(-d_sub, (label,), (net.sizes[0], net.sizes[2]), (1,))  # [net.sizes_0, net.sizes_2]
    d_net, d_without = net.forward_backward(without, saved_net_, d_add_2_2)
    d_gather = d_sub.sum()
    d_add_2 = scatter_add(d_gather, (torch.full((), 0, device=x.device), label), (1, net.sizes[2]))  # [1, net.sizes_2]
    d_net_, d_reshape_2 = net.forward_2_backward(x[None], saved_net, d_add_2)
    # gradient of without[k in d, i in d] = where(i == k, base[i], x[i])   explain.lee:31
    d_base = torch.where(eq, d_without, 0).sum(dim=0)  # [net.sizes_0]
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_net_["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_net_["layers.1"]["b"]  # [net.sizes_2]
    d_x = d_reshape_2.reshape(net.sizes[0]) + torch.where(eq, 0, d_without).sum(dim=0)  # [net.sizes_0]
    return (
        {
            "layers.0": {"w": d_net_layers_0_w, "b": d_net_layers_0_b},
            "layers.1": {"w": d_net_layers_1_w, "b": d_net_layers_1_b},
        },
        d_x,
        d_base,
    )


def lime(net, x, base, key, samples=500, width=0.25, strength=0.01):
    """Near one input a linear model explains the net (Ribeiro et al. 2016): what each feature adds to the decision.

    Features come from x or from `base`, each by chance; what is nearer to x weighs more.

    x [net.sizes_0], base [net.sizes_0] -> [net.sizes_0]
    """
    label = net.forward_2(x[None]).reshape(net.sizes[2]).argmax(dim=0)  # explain.lee:40
    key_2 = fold(key, SITES["on"])  # explain.lee:41
    on = uniform(key_2, (samples, net.sizes[0]), FLOAT, x.device) < 0.5  # bool[samples, net.sizes_0]
    target = softmax(net(torch.where(on, x, base)), (1,)).permute((1, 0))[label]  # [samples]  explain.lee:42
    cast_on = on.to(FLOAT)  # [samples, net.sizes_0]  explain.lee:43
    away = 1 - cast_on.mean(dim=1)  # [samples]
    weight = torch.exp(-(away**2) / math.pow(width, 2))  # [samples]  explain.lee:44
    fill = torch.ones((samples, 1), dtype=FLOAT, device=x.device)  # [samples, 1]  explain.lee:45
    z = torch.cat((cast_on, fill), dim=1)  # [samples, net.sizes_0 + 1]
    mul_2 = weight[:, None] * z  # [samples, net.sizes_0 + 1]  explain.lee:46
    a = torch.arange(net.sizes[0] + 1, device=x.device)  # int[net.sizes_0 + 1]
    cast = ((a[:, None] == a) & (a < net.sizes[0])[:, None]).to(FLOAT)  # [net.sizes_0 + 1, net.sizes_0 + 1]
    left = mul_2.T @ z + strength * cast  # [net.sizes_0 + 1, net.sizes_0 + 1]
    right = target @ mul_2  # [net.sizes_0 + 1]  explain.lee:47
    solve = torch.linalg.solve(left, right[Ellipsis, None])[Ellipsis, 0]  # [net.sizes_0 + 1]  explain.lee:48
    return solve[: net.sizes[0]]  # [net.sizes_0]


def saliency_saved(net, x, y):
    """As saliency, and what its gradient needs."""
    n = x.shape[0]
    add_2, saved_net = net.forward_saved(x)  # explain.lee:56
    d_each = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, d_each)
    d_x, saved_net_ = net.forward_backward_input_saved(saved_net, d_add_2)
    saved = saved_net, d_add_2, saved_cross_entropy_backward, d_x, saved_net_
    return torch.abs(d_x), saved


def saliency_backward(net, x, saved, d_abs):
    """From d_add_2, d_x, d_add and d_abs to the gradients by net and x."""
    saved_net, d_add_2, saved_cross_entropy_backward, d_x, saved_net_ = saved
    # gradient of return abs(grad(sum(cross_entropy(net(x, training = false), y, reduce = false..   explain.lee:56
    d_d_x = d_abs * torch.sign(d_x)  # [n, net.sizes_0]
    d_net, d_d_add_2 = net.forward_backward_input_backward(d_add_2, saved_net_, d_d_x)
    d_add_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2)  # [n, net.sizes_2]
    d_net_, d_x_2 = net.forward_backward(x, saved_net, d_add_2_2)
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    return {
        "layers.0": {"w": d_net_layers_0_w, "b": d_net_["layers.0"]["b"]},
        "layers.1": {"w": d_net_layers_1_w, "b": d_net_["layers.1"]["b"]},
    }, d_x_2


def saliency_of_score_saved(net, x, label):
    """As saliency_of_score, and what its gradient needs."""
    _, saved_score_of = score_of_saved(net, x, label)  # explain.lee:61
    d_sum = torch.ones((), dtype=FLOAT, device=x.device)
    d_x, saved_score_of_backward_input = score_of_backward_input_saved(net, label, saved_score_of, d_sum)
    return torch.abs(d_x), (d_x, saved_score_of_backward_input)


def saliency_of_score_backward_parameters(net, saved, d_abs):
    """From d_x, d_z, d_add and d_abs to the gradient by net."""
    d_x, saved_score_of_backward_input = saved
    # gradient of return abs(grad(score_of(net, x, label), x))   explain.lee:61
    d_d_x = d_abs * torch.sign(d_x)  # [n, net.sizes_0]
    d_net = score_of_backward_input_backward_parameters(net, saved_score_of_backward_input, d_d_x)
    return d_net


def score_of_saved(net, x, label):
    """As score_of, and what its gradient needs."""
    n = x.shape[0]
    z, saved_net = net.forward_saved(x)  # explain.lee:66
    return z[torch.arange(n, device=x.device), label].sum(), saved_net  # explain.lee:67


def score_of_backward_input_saved(net, label, saved_net, d_sum):
    """From d_sum to the gradients by x, z and add."""
    n = label.shape[0]
    # gradient of return sum[i](z[i, label[i]])   explain.lee:67
    i = torch.arange(n, device=label.device)  # int[n]
    d_z = scatter_add(d_sum.expand(n), (i, label), (n, net.sizes[2]))  # [n, net.sizes_2]
    # gradient of z = net(x, training = false)   explain.lee:66
    d_x, saved_net_ = net.forward_backward_input_saved(saved_net, d_z)
    return d_x, (d_z, saved_net_)


def score_of_backward_input_backward_parameters(net, saved, d_d_x):
    """From d_z, d_add and d_d_x to the gradient by net."""
    d_z, saved_net_ = saved
    # gradient of z = net(x, training = false)   explain.lee:66
    d_net = net.forward_backward_input_backward_parameters(d_z, saved_net_, d_d_x)
    return d_net


def smooth_grad_saved(net, x, label, noise):
    """As smooth_grad, and what its gradient needs."""
    n = x.shape[0]
    copies = noise.shape[0]
    total = torch.zeros((n, net.sizes[0]), dtype=FLOAT, device=x.device)  # [n, net.sizes_0]  explain.lee:72
    saved_smooth_grad_step = [None] * copies  # explain.lee:73
    for k in range(copies):
        total, saved_smooth_grad_step[k] = smooth_grad_step_saved(net, total, noise[k], x, label)
    return total / copies, saved_smooth_grad_step  # explain.lee:75


def smooth_grad_backward_parameters(net, saved_smooth_grad_step, copies, d_div):
    """From d_x_rows, d_z_rows, d_add_rows and d_div to the gradient by net."""
    # gradient of return total / copies   explain.lee:75
    d_total_4 = d_div / copies  # [n, net.sizes_0]
    # gradient of for k in copies:   explain.lee:73
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=d_div.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=d_div.device)
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    for k in reversed(range(copies)):
        d_total_4, d_net = smooth_grad_step_backward(net, saved_smooth_grad_step[k], d_total_4, d_net)
    return d_net


def smooth_grad_step_saved(net, total, noise_k, x, label):
    """As smooth_grad_step, and what its gradient needs."""
    abs_, saved_saliency_of_score = saliency_of_score_saved(net, x + noise_k, label)  # explain.lee:74
    total_3 = total + abs_  # [n, net.sizes_0]
    return total_3, saved_saliency_of_score


def smooth_grad_step_backward(net, saved_saliency_of_score, d_total_3, d_net):
    """From d_x, d_z, d_add, d_total_3 and d_net to the gradients by total and net."""
    # gradient of total = total + saliency_of_score(net, x + noise[k], label)   explain.lee:74
    d_net_ = saliency_of_score_backward_parameters(net, saved_saliency_of_score, d_total_3)
    return d_total_3, {
        "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
        "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
    }


def integrated_saved(net, x, base, label, steps=8):
    """As integrated, and what its gradient needs."""
    n = x.shape[0]
    total = torch.zeros((n, net.sizes[0]), dtype=FLOAT, device=x.device)  # [n, net.sizes_0]  explain.lee:83
    sub = x - base  # [n, net.sizes_0]  explain.lee:85
    saved_integrated_step = [None] * steps  # explain.lee:84
    for k in range(steps):
        total, saved_integrated_step[k] = integrated_step_saved(net, total, base, label, k, steps, sub)
    return sub * total / steps, (sub, total, saved_integrated_step)  # explain.lee:87


def integrated_backward(net, saved, steps, d_div_2):
    """From d_z_rows, d_add_rows and d_div_2 to the gradients by net, x and base."""
    sub, total_4, saved_integrated_step = saved
    # gradient of return (x - base) * total / steps   explain.lee:87
    d_mul = d_div_2 / steps  # [n, net.sizes_0]
    d_x = d_mul * total_4  # [n, net.sizes_0]
    d_total_4 = d_mul * sub  # [n, net.sizes_0]
    # gradient of for k in steps:   explain.lee:84
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=sub.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=sub.device)
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    for k in reversed(range(steps)):
        d_total_4, d_net = integrated_step_backward(net, saved_integrated_step[k], d_total_4, d_net)
    # gradient of between = base + (k + 0.5) / steps * (x - base)   explain.lee:85
    d_base = -d_x.sum(dim=0)  # [net.sizes_0]
    return d_net, d_x, d_base


def integrated_step_saved(net, total, base, label, k, steps, sub_2):
    """As integrated_step, and what its gradient needs."""
    between = base + (k + 0.5) / steps * sub_2  # [n, net.sizes_0]  explain.lee:85
    _, saved_score_of = score_of_saved(net, between, label)  # explain.lee:86
    d_sum = torch.ones((), dtype=FLOAT, device=total.device)
    d_between, saved_score_of_backward_input = score_of_backward_input_saved(net, label, saved_score_of, d_sum)
    total_3 = total + d_between  # [n, net.sizes_0]
    return total_3, saved_score_of_backward_input


def integrated_step_backward(net, saved_score_of_backward_input, d_total_3, d_net):
    """From d_z, d_add, d_total_3 and d_net to the gradients by total and net."""
    # gradient of total = total + grad(score_of(net, between, label), between)   explain.lee:86
    d_net_ = score_of_backward_input_backward_parameters(net, saved_score_of_backward_input, d_total_3)
    return d_total_3, {
        "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
        "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
    }


class Pooled(Model):
    """The last layer sees the mean of each map."""

    members = ("conv1", "conv2", "head")

    def __init__(self, channels, maps, classes, *, key=(0, 0)):
        super().__init__()
        self.channels, self.maps, self.classes = channels, maps, classes
        self.conv1 = Conv(channels, maps, padding=1, key=fold(key, SITES["conv1"]))  # explain.lee:95
        self.conv2 = Conv(maps, maps, padding=1, key=fold(key, SITES["conv2"]))  # explain.lee:96
        self.head = Linear(maps, classes, key=fold(key, SITES["head"]))  # explain.lee:97

    def features(self, image):
        """image [n, channels, h, w] -> [n, maps, h, w]"""
        return relu_3(self.conv2(relu_3(self.conv1(image))))  # [n, maps, h, w]  explain.lee:100

    def features_saved(self, image):
        """As features, and what its gradient needs."""
        select = relu_3(self.conv1(image))  # [n, maps, h, w]  explain.lee:100
        return relu_3(self.conv2(select)), select

    def features_backward(self, image, select, select_2, d_y):
        """From d_y to the gradients by the parameters and image."""
        # gradient of return relu(conv2(relu(conv1(image))))   explain.lee:100
        d_conv2, d_select = self.conv2.forward_backward(select, relu_3_backward(select_2, d_y))
        d_conv1, d_image = self.conv1.forward_backward(image, relu_3_backward(select, d_select))
        return {"conv1": d_conv1, "conv2": d_conv2}, d_image

    def features_backward_input(self, select, select_2, d_y):
        """From d_y to the gradient by image."""
        _, _, h, w = select.shape
        # gradient of return relu(conv2(relu(conv1(image))))   explain.lee:100
        d_select = self.conv2.forward_backward_input(h, w, relu_3_backward(select_2, d_y))  # [n, maps, h, w]
        d_image = self.conv1.forward_backward_input(h, w, relu_3_backward(select, d_select))  # [n, channels, h, w]
        return d_image  # [n, channels, h, w]

    def features_backward_input_saved(self, select, select_2, d_y):
        """From d_y to the gradients by image, conv2_out and conv1_out."""
        _, _, h, w = select.shape
        # gradient of return relu(conv2(relu(conv1(image))))   explain.lee:100
        d_conv2_out, saved_relu_3_backward = relu_3_backward_saved(select_2, d_y)
        d_select = self.conv2.forward_backward_input(h, w, d_conv2_out)  # [n, maps, h, w]
        d_conv1_out, saved_relu_3_backward_ = relu_3_backward_saved(select, d_select)
        d_image = self.conv1.forward_backward_input(h, w, d_conv1_out)  # [n, channels, h, w]
        saved = d_conv2_out, saved_relu_3_backward, d_conv1_out, saved_relu_3_backward_
        return d_image, saved

    def features_backward_input_backward(self, saved, d_d_image):
        """From d_conv2_out, d_conv1_out and d_d_image to the gradients by the parameters and d_select_2."""
        d_conv2_out, saved_relu_3_backward, d_conv1_out, saved_relu_3_backward_ = saved
        # gradient of return relu(conv2(relu(conv1(image))))   explain.lee:100
        d_conv1, d_d_conv1_out = self.conv1.forward_backward_input_backward(d_conv1_out, d_d_image)
        d_d_select = relu_3_backward_backward(saved_relu_3_backward_, d_d_conv1_out)  # [n, maps, h, w]
        d_conv2, d_d_conv2_out = self.conv2.forward_backward_input_backward(d_conv2_out, d_d_select)
        d_d_select_2 = relu_3_backward_backward(saved_relu_3_backward, d_d_conv2_out)  # [n, maps, h, w]
        return {"conv1": d_conv1, "conv2": d_conv2}, d_d_select_2

    def forward(self, image):
        """image [n, channels, h, w] -> [n, classes]"""
        return self.head(self.features(image).mean(dim=(2, 3)))  # [n, classes]  explain.lee:103

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        conv1_out, saved_self = self.features_saved(image)  # explain.lee:103
        return self.head(conv1_out.mean(dim=(2, 3))), (conv1_out, saved_self)

    def forward_backward_input(self, saved, d_y):
        """From d_y to the gradient by image."""
        conv1_out, saved_self = saved
        n, _, h, w = conv1_out.shape
        # gradient of return head(mean(features(image), axis = (2, 3)))   explain.lee:103
        div = self.head.forward_backward_input(d_y) / (h * w)  # [n, maps]
        d_conv1_out = div[:, :, None, None].expand(n, self.maps, h, w)  # [n, maps, h, w]
        d_image = self.features_backward_input(saved_self, conv1_out, d_conv1_out)  # [n, channels, h, w]
        return d_image  # [n, channels, h, w]

    def forward_backward_input_saved(self, saved, d_y):
        """From d_y to the gradients by image, conv2_out and conv1_out_2."""
        conv1_out, saved_self = saved
        n, _, h, w = conv1_out.shape
        # gradient of return head(mean(features(image), axis = (2, 3)))   explain.lee:103
        div = self.head.forward_backward_input(d_y) / (h * w)  # [n, maps]
        d_conv1_out = div[:, :, None, None].expand(n, self.maps, h, w)  # [n, maps, h, w]
        d_image, saved_self_ = self.features_backward_input_saved(saved_self, conv1_out, d_conv1_out)
        return d_image, saved_self_

    def forward_backward_input_backward_parameters(self, d_add, saved_self_, d_d_image):
        """From d_add, d_conv2_out, d_conv1_out_2 and d_d_image to the gradient by the parameters."""
        _, _, h, w = d_d_image.shape
        # gradient of return head(mean(features(image), axis = (2, 3)))   explain.lee:103
        d_pooled, d_d_conv1_out = self.features_backward_input_backward(saved_self_, d_d_image)
        d_d_conv1_out_mean = d_d_conv1_out.sum(dim=(2, 3)) / (h * w)  # [n, maps]
        d_head = Linear.forward_backward_input_backward_parameters(d_add, d_d_conv1_out_mean)
        return {"conv1": d_pooled["conv1"], "conv2": d_pooled["conv2"], "head": d_head}


def cam(net, image, label):
    """The maps, each times the weight that the class gives it (Zhou et al. 2016).

    image [n, net.channels, h, w], label int[n] -> [n, h, w]
    """
    n, _, h, w = image.shape
    a = net.features(image)  # [n, net.maps, h, w]  explain.lee:108
    reshape_2 = net.head.w.permute((1, 0))[label][:, :, None]  # [n, net.maps, 1]  explain.lee:109
    seen = (a.reshape(n, net.maps, h * w).mT @ reshape_2).reshape(n, h, w)  # [n, h, w]
    return seen  # [n, h, w]


def cam_saved(net, image, label):
    """As cam, and what its gradient needs."""
    n, _, h, w = image.shape
    a, saved_net = net.features_saved(image)  # explain.lee:108
    gather = net.head.w.permute((1, 0))[label]  # [n, net.maps]  explain.lee:109
    seen = (a.reshape(n, net.maps, h * w).mT @ gather[:, :, None]).reshape(n, h, w)  # [n, h, w]
    return seen, (a, saved_net, gather)


def cam_backward(net, image, label, saved, d_seen):
    """From d_seen to the gradients by net and image."""
    a, saved_net, gather = saved
    n, _, h, w = image.shape
    # gradient of seen[r, i, j] = sum[k](net.head.w[k, label[r]] * a[r, k, i, j])   explain.lee:109
    contract = a.reshape(n, net.maps, h * w) @ d_seen.reshape(n, h * w, 1)  # [n, net.maps, 1]
    d_a = gather[:, :, None, None] * d_seen[:, None]  # [n, net.maps, h, w]
    d_gather = contract.reshape(n, net.maps)  # [n, net.maps]
    d_net_head_w = scatter_add(d_gather, (label,), (net.maps, net.classes), (1,))  # [net.maps, net.classes]
    # gradient of a = net.features(image)   explain.lee:108
    d_net, d_image = net.features_backward(image, saved_net, a, d_a)
    return {"conv1": d_net["conv1"], "conv2": d_net["conv2"], "head": {"w": d_net_head_w}}, d_image


def camAsPrinted(net, image, label):
    """The notes give the name to slopes by the pixels.

    image [n, net.channels, h, w], label int[n] -> [n, net.channels, h, w]
    """
    n = image.shape[0]
    _, saved_net = net.forward_saved(image)  # explain.lee:115
    d_gather = torch.ones(n, dtype=FLOAT, device=image.device)  # [n]  explain.lee:116
    r = torch.arange(n, device=image.device)  # int[n]
    d_z = scatter_add(d_gather, (r, label), (n, net.classes))  # [n, net.classes]
    return net.forward_backward_input(saved_net, d_z)  # [n, net.channels, h, w]  explain.lee:115


def camAsPrinted_saved(net, image, label):
    """As camAsPrinted, and what its gradient needs."""
    n = image.shape[0]
    _, saved_net = net.forward_saved(image)  # explain.lee:115
    d_gather = torch.ones(n, dtype=FLOAT, device=image.device)  # [n]  explain.lee:116
    r = torch.arange(n, device=image.device)  # int[n]
    d_z = scatter_add(d_gather, (r, label), (n, net.classes))  # [n, net.classes]
    d_image, saved_net_ = net.forward_backward_input_saved(saved_net, d_z)  # explain.lee:115
    return d_image, (d_z, saved_net_)


def camAsPrinted_backward_parameters(net, saved, d_y):
    """From d_z, d_conv2_out, d_conv1_out_2 and d_y to the gradient by net."""
    d_z, saved_net_ = saved
    # gradient of z = net(image)   explain.lee:115
    d_net = net.forward_backward_input_backward_parameters(d_z, saved_net_, d_y)
    return d_net


def grad_cam(net, image, label):
    """For any head: the weight of a map is the mean slope of the score by it; what speaks against the class is left out.

    image [n, net.channels, h, w], label int[n] -> [n, h, w]
    """
    n, _, h, w = image.shape
    a = net.features(image)  # [n, net.maps, h, w]  explain.lee:121
    d_gather = torch.ones(n, dtype=FLOAT, device=image.device)  # [n]  explain.lee:123
    r = torch.arange(n, device=image.device)  # int[n]
    d_z = scatter_add(d_gather, (r, label), (n, net.classes))  # [n, net.classes]
    weight = net.head.forward_backward_input(d_z) / (h * w)  # [n, net.maps]  explain.lee:122
    seen = (a.reshape(n, net.maps, h * w).mT @ weight[:, :, None]).reshape(n, h, w)  # [n, h, w]  explain.lee:125
    return relu_4(seen)  # [n, h, w]  explain.lee:126


def grad_cam_saved(net, image, label):
    """As grad_cam, and what its gradient needs."""
    n, _, h, w = image.shape
    a, saved_net = net.features_saved(image)  # explain.lee:121
    d_gather = torch.ones(n, dtype=FLOAT, device=image.device)  # [n]  explain.lee:123
    r = torch.arange(n, device=image.device)  # int[n]
    d_z = scatter_add(d_gather, (r, label), (n, net.classes))  # [n, net.classes]
    weight = net.head.forward_backward_input(d_z) / (h * w)  # [n, net.maps]  explain.lee:122
    seen = (a.reshape(n, net.maps, h * w).mT @ weight[:, :, None]).reshape(n, h, w)  # [n, h, w]  explain.lee:125
    return relu_4(seen), (a, saved_net, d_z, weight)  # explain.lee:126


def grad_cam_backward(net, image, saved, select, d_y):
    """From d_z and d_y to the gradients by net and image."""
    a, saved_net, d_z, weight = saved
    n, _, h, w = image.shape
    # gradient of return relu(seen)   explain.lee:126
    d_seen = relu_4_backward(select, d_y)  # [n, h, w]
    # gradient of seen[r, i, j] = sum[k](weight[r, k] * a[r, k, i, j])   explain.lee:125
    contract = a.reshape(n, net.maps, h * w) @ d_seen.reshape(n, h * w, 1)  # [n, net.maps, 1]
    d_weight = contract.reshape(n, net.maps)  # [n, net.maps]
    d_a = weight[:, :, None, None] * d_seen[:, None]  # [n, net.maps, h, w]
    # gradient of z = net.head(mean(a, axis = (2, 3)))   explain.lee:122
    d_reshape_2 = (d_weight / (h * w))[:, :, None, None] * (h * w)  # [n, net.maps, 1, 1]
    d_d_a_mean = d_reshape_2.reshape(n, net.maps) / (h * w)  # [n, net.maps]
    d_net_head = Linear.forward_backward_input_backward_parameters(d_z, d_d_a_mean)
    # gradient of a = net.features(image)   explain.lee:121
    d_net, d_image = net.features_backward(image, saved_net, a, d_a)
    return {"conv1": d_net["conv1"], "conv2": d_net["conv2"], "head": d_net_head}, d_image


class Layered(Model):
    """Layered(d, hidden, classes)"""

    members = ("first", "second", "head")

    def __init__(self, d, hidden, classes, *, key=(0, 0)):
        super().__init__()
        self.d, self.hidden, self.classes = d, hidden, classes
        self.first = Linear(d, hidden, key=fold(key, SITES["first"]))  # explain.lee:133
        self.second = Linear(hidden, hidden, key=fold(key, SITES["second"]))  # explain.lee:134
        self.head = Linear(hidden, classes, key=fold(key, SITES["head"]))  # explain.lee:135

    def hidden_of(self, x):
        """What each layer makes of the input.

        x [n, d] -> [n, hidden], [n, hidden]
        """
        a = relu(self.first(x))  # [n, hidden]  explain.lee:139
        b = relu(self.second(a))  # [n, hidden]  explain.lee:140
        return a, b

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        _, b_2 = self.hidden_of(x)  # explain.lee:144
        return self.head(b_2)  # [n, classes]  explain.lee:145


def plane(h):
    """Hidden vectors in the plane in which they differ most, to be plotted layer by layer.

    h [n, d] -> [n, 2]
    """
    d = h.shape[1]
    centred = h - h.mean(dim=0)  # [n, d]  explain.lee:150
    _, vectors = eigh(centred.T @ centred)  # explain.lee:151
    slice_2 = vectors[:, d - 2 : d - 1]  # [d, 1]  explain.lee:152
    return centred @ torch.cat((vectors[:, d - 1 :], slice_2), dim=1)  # [n, 2]


def plane_saved(h):
    """As plane, and what its gradient needs."""
    d = h.shape[1]
    centred = h - h.mean(dim=0)  # [n, d]  explain.lee:150
    values, vectors = eigh(centred.T @ centred)  # explain.lee:151
    concat = torch.cat((vectors[:, d - 1 :], vectors[:, d - 2 : d - 1]), dim=1)  # [d, 2]  explain.lee:152
    return centred @ concat, (centred, values, vectors, concat)


def plane_backward(saved, d_y):
    """From d_y to the gradient by h."""
    centred, values, vectors, concat = saved
    n, d = centred.shape
    # gradient of return centred @ stack(vectors[:, d - 1], vectors[:, d - 2], axis = 1)   explain.lee:152
    d_concat = centred.T @ d_y  # [d, 2]
    d_slice_2 = d_concat[:, 1:]  # [d, 1]
    d_vectors_2 = unslice(d_slice_2, (d, d), (slice(0, d), slice(d - 2, d - 1)))  # [d, d]
    d_slice = d_concat[:, :1]  # [d, 1]
    # gradient of values, vectors = eigh(centred.T @ centred)   explain.lee:151
    d_vectors = d_vectors_2 + unslice(d_slice, (d, d), (slice(0, d), slice(d - 1, d)))  # [d, d]
    max_ = largest(torch.abs(values), (0,), False)
    reciprocal = reciprocal_or_zero(values - values[:, None], max_)  # [d, d]
    contract_3 = vectors @ (reciprocal * (vectors.T @ d_vectors)) @ vectors.T  # [d, d]
    d_contract = (contract_3 + contract_3.T) * 0.5  # [d, d]
    # gradient of centred = h - mean(h, axis = 0)   explain.lee:150
    d_centred = d_y @ concat.T + centred @ d_contract.T + centred @ d_contract  # [n, d]
    d_h = d_centred + -d_centred.sum(dim=0) / n  # [n, d]
    return d_h  # [n, d]


def probing(probe, h, y, decay=1e-3):
    """A linear classifier of frozen vectors tells what can be read from them.

    h [n, probe.inputs], y int[n] -> []
    """
    mean = cross_entropy_2(probe(stop(h)), y)  # explain.lee:157
    return mean + decay * (probe.w * probe.w).sum()


def probing_saved(probe, h, y, decay=1e-3):
    """As probing, and what its gradient needs."""
    graft_ = stop(h)  # [n, probe.inputs]  explain.lee:157
    probe_out = probe(graft_)  # [n, probe.outputs]
    mul_2 = decay * (probe.w * probe.w).sum()
    return cross_entropy_2(probe_out, y) + mul_2, (graft_, probe_out)


def probing_backward_parameters(probe, y, decay, saved, d_out):
    """From d_out to the gradient by probe."""
    graft_, probe_out = saved
    # gradient of return cross_entropy(probe(stop(h)), y) + decay * sum(probe.w ** 2)   explain.lee:157
    d_probe_out = cross_entropy_2_backward(probe_out, y, d_out)  # [n, probe.outputs]
    d_probe = Linear.forward_backward_parameters(graft_, d_probe_out)
    d_probe_w = 2 * (d_out * decay) * probe.w + d_probe["w"]  # [probe.inputs, probe.outputs]
    return {"w": d_probe_w, "b": d_probe["b"]}


@torch.no_grad()
def probed(epochs=8, batch=32, rate=5e-3, *, run=None):
    """Linear probes of the first layer and of the second, learned after the net."""
    from leec.runtime.run import Run

    run = run or Run("probed", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Layered(d=64, hidden=32, classes=10, key=run.key("net")).to(run.session.place.device)  # explain.lee:163
    low = Linear(inputs=32, outputs=10, key=run.key("low")).to(run.session.place.device)  # explain.lee:164
    high = Linear(inputs=32, outputs=10, key=run.key("high")).to(run.session.place.device)  # explain.lee:165
    opt = Adam(lr=rate)  # explain.lee:166
    step = ProbedStep(net, opt)
    opt_low = Adam(lr=rate)  # explain.lee:167
    opt_high = Adam(lr=rate)  # explain.lee:168
    step_ = ProbedStep2(net, low, high, opt_low, opt_high)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, y))  # explain.lee:171
    for epoch in run.loop("epoch_2", 1, epochs, high=high, low=low, opt_high=opt_high, opt_low=opt_low):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            loss, loss_1 = step_(x, y)  # explain.lee:174
            run.step(loss)
            run.step(loss_1, "loss_1")
    a, b, y = probed_a_b_y(net, data.test.x, data.test.y)  # explain.lee:177
    reported_net, reported_low, reported_high = probed_net_low_high(net, data.test.x, y, low, a, high, b)
    run.report(net=reported_net, low=reported_low, high=reported_high)  # explain.lee:179
    return net


class ProbedStep(TrainStep):
    """One step of probed for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = ("net.first.w", "net.first.b", "net.second.w", "net.second.b", "net.head.w", "net.head.b")
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

    def step(self, x, y, t):
        first_w, first_b, second_w, second_b, head_w, head_b = self.tensors
        d_first_w, d_first_b, d_second_w, d_second_b, d_head_w, d_head_b = self.gradients
        batches_n = x.shape[0]
        count, scale = self.held(batches_n)  # batches_n, 1.0 / batches_n
        a = torch.relu(torch.addmm(first_b, x, first_w))  # [batches_n, 32]  prelude.lee:61
        b_2_2 = torch.relu(torch.addmm(second_b, a, second_w))  # [batches_n, 32]
        affine = torch.addmm(head_b, b_2_2, head_w)  # [batches_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(affine, y, reduction="none")  # [batches_n]  losses.lee:45
        eq = torch.arange(10, device=x.device)[None, :] == y[:, None]  # bool[batches_n, 10]
        d_add = (torch.softmax(affine, dim=1) - eq.to(FLOAT)) * scale  # [batches_n, 10]
        torch.sum(d_add, dim=0, out=d_head_b)  # [10]  nn.lee:21
        torch.mm(b_2_2.T, d_add, out=d_head_w)  # [32, 10]
        d_second_out = torch.ops.aten.threshold_backward(d_add @ head_w.T, b_2_2, 0)  # [batches_n, 32]  prelude.lee:61
        torch.sum(d_second_out, dim=0, out=d_second_b)  # [32]  nn.lee:21
        torch.mm(a.T, d_second_out, out=d_second_w)  # [32, 32]
        # [batches_n, 32]  prelude.lee:61
        d_first_out = torch.ops.aten.threshold_backward(d_second_out @ second_w.T, a, 0)
        torch.sum(d_first_out, dim=0, out=d_first_b)  # [32]  nn.lee:21
        torch.mm(x.T, d_first_out, out=d_first_w)  # [64, 32]
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return surprise.sum() / count  # losses.lee:148


class ProbedStep2(TrainStep):
    """One step of probed for net, low, high, opt_low, opt_high: call it with a batch."""

    moved = (("opt_low", ("low",)), ("opt_high", ("high",)))
    counted = ("opt_low", "opt_high")
    read = (
        "net.first.w",
        "net.first.b",
        "net.second.w",
        "net.second.b",
        "net.head.w",
        "net.head.b",
        "low.w",
        "low.b",
        "high.w",
        "high.b",
    )
    spare = (None, None)

    def __init__(self, net, low, high, opt_low, opt_high):
        self.net, self.low, self.high, self.opt_low, self.opt_high = net, low, high, opt_low, opt_high
        self.bind()

    def numbers(self, batches_2_n):
        return (batches_2_n, 1.0 / batches_2_n)

    def constants(self):
        return (
            self.opt_low.lr,
            self.opt_low.beta1,
            self.opt_low.beta2,
            self.opt_low.eps,
            self.opt_low.weight_decay,
            self.opt_high.lr,
            self.opt_high.beta1,
            self.opt_high.beta2,
            self.opt_high.eps,
            self.opt_high.weight_decay,
        )

    def scalars(self):
        return (self.opt_low.t, self.opt_high.t)

    def step(self, x, y, t, t_):
        first_w, first_b, second_w, second_b, head_w, head_b, w, b, w_, b_ = self.tensors
        d_w, d_b, d_w_, d_b_ = self.gradients
        batches_2_n = x.shape[0]
        count, scale = self.held(batches_2_n)  # batches_2_n, 1.0 / batches_2_n
        a_2 = torch.relu(torch.addmm(first_b, x, first_w))  # [batches_2_n, 32]  prelude.lee:61
        b_2 = torch.relu(torch.addmm(second_b, a_2, second_w))  # [batches_2_n, 32]
        probe_out = torch.addmm(b, a_2, w)  # [batches_2_n, 10]  nn.lee:21
        surprise = torch.nn.functional.cross_entropy(probe_out, y, reduction="none")  # [batches_2_n]  losses.lee:45
        one_hot = (torch.arange(10, device=x.device)[None, :] == y[:, None]).to(FLOAT)  # [batches_2_n, 10]
        d_probe_out = (torch.softmax(probe_out, dim=1) - one_hot) * scale  # [batches_2_n, 10]
        torch.sum(d_probe_out, dim=0, out=d_b)  # [10]  nn.lee:21
        torch.mul(w, 2e-3, out=d_w)  # [32, 10]  explain.lee:157
        d_w.add_(a_2.T @ d_probe_out)  # [32, 10]
        loss = surprise.sum() / count + 1e-3 * (w * w).sum()
        lr = self.opt_low.lr
        beta1 = self.opt_low.beta1
        beta2 = self.opt_low.beta2
        eps = self.opt_low.eps
        weight_decay = self.opt_low.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        probe_out_2 = torch.addmm(b_, b_2, w_)  # [batches_2_n, 10]  nn.lee:21
        surprise_2 = torch.nn.functional.cross_entropy(probe_out_2, y, reduction="none")  # [batches_2_n]  losses.lee:45
        d_probe_out_2 = (torch.softmax(probe_out_2, dim=1) - one_hot) * scale  # [batches_2_n, 10]
        torch.sum(d_probe_out_2, dim=0, out=d_b_)  # [10]  nn.lee:21
        torch.mul(w_, 2e-3, out=d_w_)  # [32, 10]  explain.lee:157
        d_w_.add_(b_2.T @ d_probe_out_2)  # [32, 10]
        loss_1 = surprise_2.sum() / count + 1e-3 * (w_ * w_).sum()
        lr = self.opt_high.lr
        beta1 = self.opt_high.beta1
        beta2 = self.opt_high.beta2
        eps = self.opt_high.eps
        weight_decay = self.opt_high.weight_decay
        for θ, g, m, v in self.blocks[1]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t_)
        return loss, loss_1


def probed_a_b_y(net, data_test_x, data_test_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n] -> [data_test_n, 32], [data_test_n, 32],
    int[data_test_n]
    """
    a_2, b_2 = net.hidden_of(data_test_x)  # explain.lee:177
    return a_2, b_2, data_test_y


def probed_net_low_high(net, data_test_x, y, low, a, high, b):
    """data_test_x [data_test_n, 64], y int[data_test_n], a [data_test_n, 32], b [data_test_n, 32] -> [], [], []"""
    return accuracy(net(data_test_x), y), accuracy(low(a), y), accuracy(high(b), y)  # explain.lee:179


class Flat(Model):
    """A classifier of images without channels."""

    members = ("inner",)

    def __init__(self, rows, columns, classes, *, key=(0, 0)):
        super().__init__()
        self.rows, self.columns, self.classes = rows, columns, classes
        self.inner = MLP((columns * rows, 6, classes), key=fold(key, SITES["inner"]))  # explain.lee:188

    def forward(self, image):
        """image [n, rows, columns] -> [n, classes]"""
        n = image.shape[0]
        return self.inner(image.reshape(n, self.columns * self.rows))  # [n, classes]  explain.lee:191

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        n = image.shape[0]
        add_2, saved_inner = self.inner.forward_saved(image.reshape(n, self.columns * self.rows))  # explain.lee:191
        return add_2, saved_inner

    def forward_backward(self, image, saved_inner, d_y):
        """From d_y to the gradients by the parameters and image."""
        n = image.shape[0]
        # gradient of return inner(flatten(image, from = 1))   explain.lee:191
        image_flat = image.reshape(n, self.columns * self.rows)  # [n, columns * rows]
        d_inner, d_image_flat = self.inner.forward_backward(image_flat, saved_inner, d_y)
        d_image = d_image_flat.reshape(n, self.rows, self.columns)  # [n, rows, columns]
        return {"inner": d_inner}, d_image


def example_hidden_squares(key):
    net = Flat(6, 4, 3, key=fold(key, SITES["net"]))  # explain.lee:195
    image = uniform(fold(key, SITES["image"]), (6, 4), FLOAT)  # [6, 4]  explain.lee:196
    label = randint(fold(key, SITES["label"]), (), 0, 3)  # explain.lee:197
    c = normal(fold(key, SITES["c"]), (3, 2), FLOAT)  # [3, 2]  explain.lee:198
    d_c, saved_occlusion = occlusion_saved(net, image, label)  # explain.lee:199
    d_net, d_image = occlusion_backward(net, image, label, saved_occlusion, 2, c)
    return (c * d_c).sum(), net.at(d_net), d_image, d_c


def example_replaced(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # explain.lee:203
    x = normal(fold(key, SITES["x"]), (5,), FLOAT)  # [5]  explain.lee:204
    base = normal(fold(key, SITES["base"]), (5,), FLOAT)  # [5]  explain.lee:205
    label = randint(fold(key, SITES["label"]), (), 0, 4)  # explain.lee:206
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  explain.lee:207
    d_c, saved_ablation = ablation_saved(net, x, base, label)  # explain.lee:208
    d_net, d_x, d_base = ablation_backward(net, x, label, saved_ablation, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_base, d_c


def example_fitted_near(key):
    net = MLP((5, 6, 3), key=fold(key, SITES["net"]))  # explain.lee:212
    x = normal(fold(key, SITES["x"]), (5,), FLOAT)  # [5]  explain.lee:213
    base = normal(fold(key, SITES["base"]), (5,), FLOAT)  # [5]  explain.lee:214
    return lime(net, x, base, fold(key, SITES["lime"]), samples=40)  # [5]  explain.lee:215


def example_slopes(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # explain.lee:219
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  explain.lee:220
    label = randint(fold(key, SITES["label"]), (7,), 0, 4)  # int[7]  explain.lee:221
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  explain.lee:222
    abs_, saved_saliency = saliency_saved(net, x, label)  # explain.lee:223
    mul_2 = c**2  # [7, 5]
    abs_2, saved_saliency_of_score = saliency_of_score_saved(net, x, label)
    d_net = saliency_of_score_backward_parameters(net, saved_saliency_of_score, mul_2)
    d_net_, d_x = saliency_backward(net, x, saved_saliency, c)
    return (
        (c * abs_ + mul_2 * abs_2).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"], "b": d_net_["layers.0"]["b"]},
                "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"], "b": d_net_["layers.1"]["b"]},
            }
        ),
        d_x,
        2 * (abs_2 * c) + abs_,
    )


def example_of_noisy(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # explain.lee:227
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  explain.lee:228
    label = randint(fold(key, SITES["label"]), (7,), 0, 4)  # int[7]  explain.lee:229
    noise = 0.5 * normal(fold(key, SITES["noise"]), (4, 5), FLOAT)  # [4, 5]  explain.lee:230
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  explain.lee:231
    d_c, saved_smooth_grad = smooth_grad_saved(net, x, label, noise)  # explain.lee:232
    d_net = smooth_grad_backward_parameters(net, saved_smooth_grad, 4, c)
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"], "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        torch.zeros((7, 5), dtype=FLOAT),
        torch.zeros((4, 5), dtype=FLOAT),
        d_c,
    )


def example_on_the_way(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # explain.lee:236
    x = normal(fold(key, SITES["x"]), (7, 5), FLOAT)  # [7, 5]  explain.lee:237
    base = normal(fold(key, SITES["base"]), (5,), FLOAT)  # [5]  explain.lee:238
    label = randint(fold(key, SITES["label"]), (7,), 0, 4)  # int[7]  explain.lee:239
    c = normal(fold(key, SITES["c"]), (7, 5), FLOAT)  # [7, 5]  explain.lee:240
    d_c, saved_integrated = integrated_saved(net, x, base, label)  # explain.lee:241
    d_net, d_x, d_base = integrated_backward(net, saved_integrated, 8, c)
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"], "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        d_x,
        d_base,
        d_c,
    )


def example_maps(key):
    net = Pooled(2, 3, 4, key=fold(key, SITES["net"]))  # explain.lee:245
    image = normal(fold(key, SITES["image"]), (2, 2, 5, 6), FLOAT)  # [2, 2, 5, 6]  explain.lee:246
    label = randint(fold(key, SITES["label"]), (2,), 0, 4)  # int[2]  explain.lee:247
    c = normal(fold(key, SITES["c"]), (2, 5, 6), FLOAT)  # [2, 5, 6]  explain.lee:248
    seen, saved_cam = cam_saved(net, image, label)  # explain.lee:249
    mul_2 = c**2  # [2, 5, 6]
    select, saved_grad_cam = grad_cam_saved(net, image, label)
    d_net, d_image_2 = grad_cam_backward(net, image, saved_grad_cam, select, mul_2)
    d_net_, d_image_3 = cam_backward(net, image, label, saved_cam, c)
    return (
        (c * seen + mul_2 * select).sum(),
        net.at(
            {
                "conv1": {
                    "kernel": d_net["conv1"]["kernel"] + d_net_["conv1"]["kernel"],
                    "bias": d_net["conv1"]["bias"] + d_net_["conv1"]["bias"],
                },
                "conv2": {
                    "kernel": d_net["conv2"]["kernel"] + d_net_["conv2"]["kernel"],
                    "bias": d_net["conv2"]["bias"] + d_net_["conv2"]["bias"],
                },
                "head": {"w": d_net["head"]["w"] + d_net_["head"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        d_image_2 + d_image_3,
        2 * (select * c) + seen,
    )


def example_pixels(key):
    net = Pooled(2, 3, 4, key=fold(key, SITES["net"]))  # explain.lee:253
    image = normal(fold(key, SITES["image"]), (2, 2, 5, 6), FLOAT)  # [2, 2, 5, 6]  explain.lee:254
    label = randint(fold(key, SITES["label"]), (2,), 0, 4)  # int[2]  explain.lee:255
    c = normal(fold(key, SITES["c"]), (2, 2, 5, 6), FLOAT)  # [2, 2, 5, 6]  explain.lee:256
    d_c, saved_camAsPrinted = camAsPrinted_saved(net, image, label)  # explain.lee:257
    d_net = camAsPrinted_backward_parameters(net, saved_camAsPrinted, c)
    bias = torch.zeros(3, dtype=FLOAT)  # [3]
    return (
        (c * d_c).sum(),
        net.at(
            {
                "conv1": {"kernel": d_net["conv1"]["kernel"], "bias": bias},
                "conv2": {"kernel": d_net["conv2"]["kernel"], "bias": bias},
                "head": {"w": d_net["head"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        torch.zeros((2, 2, 5, 6), dtype=FLOAT),
        d_c,
    )


def example_flattened(key):
    h = normal(fold(key, SITES["h"]), (9, 5), FLOAT)  # [9, 5]  explain.lee:261
    c = normal(fold(key, SITES["c"]), (9, 2), FLOAT)  # [9, 2]  explain.lee:262
    contract_2, saved_plane = plane_saved(h)  # explain.lee:263
    d_c = contract_2**2  # [9, 2]
    return (c * d_c).sum(), plane_backward(saved_plane, 2 * (c * contract_2)), d_c


def example_read(key):
    net = Layered(5, 6, 3, key=fold(key, SITES["net"]))  # explain.lee:267
    probe = Linear(6, 3, key=fold(key, SITES["probe"]))  # explain.lee:268
    x = normal(fold(key, SITES["x"]), (9, 5), FLOAT)  # [9, 5]  explain.lee:269
    y = randint(fold(key, SITES["y"]), (9,), 0, 3)  # int[9]  explain.lee:270
    a_2, _ = net.hidden_of(x)  # explain.lee:271
    value, saved_probing = probing_saved(probe, a_2, y)  # explain.lee:272
    d_value = torch.ones((), dtype=FLOAT)
    d_probe = probing_backward_parameters(probe, y, 1e-3, saved_probing, d_value)
    b = torch.zeros(6, dtype=FLOAT)  # [6]
    return (
        value,
        net.at(
            {
                "first": {"w": torch.zeros((5, 6), dtype=FLOAT), "b": b},
                "second": {"w": torch.zeros((6, 6), dtype=FLOAT), "b": b},
                "head": {"w": torch.zeros((6, 3), dtype=FLOAT), "b": torch.zeros(3, dtype=FLOAT)},
            }
        ),
        net.head.at(d_probe),
        torch.zeros((9, 5), dtype=FLOAT),
    )


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def cross_entropy_backward_saved(z, y, d_each):
    """From d_each to the gradient by z."""
    k = z.shape[1]
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(d_each)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    softmax_ = torch.softmax(z, dim=1)  # [rows, k]
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = (softmax_ - eq.to(FLOAT)) * reshape_2  # [rows, k]
    return d_z, (softmax_, reshape_2)


def cross_entropy_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub - (d_sub * softmax_).sum(dim=1, keepdim=True))  # [rows, k]
    return d_z  # [rows, k]


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    surprise = torch.nn.functional.cross_entropy(z, y, reduction="none")  # [rows]  losses.lee:45
    return reduced_2(surprise)  # losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    eq = torch.arange(k, device=z.device)[None, :] == y[:, None]  # bool[rows, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * d_surprise[:, None]  # [rows, k]
    return d_z  # [rows, k]


def reduced_backward(d_each):
    """From d_each to the gradient by each."""
    return d_each  # [each_0]


def reduced_2(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_2_backward(each_0, d_y):
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

    def forward_backward_input_backward(self, d_add_2, saved, d_d_x):
        """From d_add_2, d_add and d_d_x to the gradients by the parameters and d_add_2."""
        d_add, saved_relu_backward = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_d_add = self.layers[0].forward_backward_input_backward(d_add, d_d_x)
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_d_add_2 = self.layers[1].forward_backward_input_backward(d_add_2, d_d_x_2)
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_d_add_2

    def forward_2(self, x):
        """x [1, sizes_0] -> [1, sizes_2]"""
        x_2 = relu_2(self.layers[0](x))  # [1, sizes_1]  nn.lee:41
        return self.layers[1](x_2)  # [1, sizes_2]  nn.lee:42

    def forward_2_saved(self, x):
        """As forward_2, and what its gradient needs."""
        x_2 = relu_2(self.layers[0](x))  # [1, sizes_1]  nn.lee:41
        return self.layers[1](x_2), x_2  # nn.lee:42

    def forward_2_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_2_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    # [n, o, out_h, out_w]  nn.lee:83
    y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    _, c, h, w = x.shape
    o, _, kh, kw = kernel.shape
    _, _, out_h, out_w = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=(
            dilation + h + 2 * padding + stride - dilation * kh - out_h * stride - 1,
            dilation + 2 * padding + stride + w - dilation * kw - out_w * stride - 1,
        ),
        dilation=dilation,
    )
    # [o, c, kh, kw]
    d_kernel = torch.nn.grad.conv2d_weight(x, (o, c, kh, kw), d_y, stride=stride, padding=padding, dilation=dilation)
    return d_x, d_kernel


def conv2d_backward_2(kernel, dilation, h, padding, stride, w, d_y):
    """From d_y to the gradient by x."""
    _, _, kh, kw = kernel.shape
    _, _, out_kh, out_kw = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=(
            dilation + h + 2 * padding + stride - dilation * kh - out_kh * stride - 1,
            dilation + 2 * padding + stride + w - dilation * kw - out_kw * stride - 1,
        ),
        dilation=dilation,
    )
    return d_x  # [n, c, h, w]


def conv2d_backward_2_backward(kernel, d_y, dilation, padding, stride, d_d_x):
    """From d_y and d_d_x to the gradients by kernel and d_y."""
    o, c, kh, kw = kernel.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, o, out_kh, out_kw]
    d_d_y = torch.nn.functional.conv2d(d_d_x, kernel, stride=stride, padding=padding, dilation=dilation)
    # [o, c, kh, kw]
    d_kernel = torch.nn.grad.conv2d_weight(
        d_d_x, (o, c, kh, kw), d_y, stride=stride, padding=padding, dilation=dilation
    )
    return d_kernel, d_d_y


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:107
        self.kernel = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [outputs, inputs, k, k]  nn.lee:105
        self.bias = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:107

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2 + self.bias[:, None, None]  # [n, outputs, out_h, out_w]  nn.lee:112

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x

    def forward_backward_input(self, h, w, d_y):
        """From d_y to the gradient by x."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x = conv2d_backward_2(self.kernel, self.dilation, h, self.padding, self.stride, w, d_y)  # [n, inputs, h, w]
        return d_x  # [n, inputs, h, w]

    def forward_backward_input_backward(self, d_add, d_d_x):
        """From d_add and d_d_x to the gradients by the parameters and d_add."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_kernel, d_d_add = conv2d_backward_2_backward(
            self.kernel, d_add, self.dilation, self.padding, self.stride, d_d_x
        )
        return {"kernel": d_kernel}, d_d_add


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

    x [1, x_1] -> [1, x_1]
    """
    return torch.relu(x)  # [1, x_1]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [1, x_1]
    return d_x  # [1, x_1]


def relu_3(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_3_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def relu_3_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1, x_2, x_3]
    d_x = torch.where(gt, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x, gt


def relu_3_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = torch.where(gt, d_d_x, 0)  # [x_0, x_1, x_2, x_3]
    return d_d_select  # [x_0, x_1, x_2, x_3]


def relu_4(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return torch.relu(x)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_4_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2]
    return d_x  # [x_0, x_1, x_2]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "base": 0x2DB49BC877E528EC,
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "first": 0xA31DFC4F51C2A8A2,
    "h": 0x30335FE014629146,
    "head": 0xBD7890018BD219D5,
    "image": 0x86C9701471CF0710,
    "inner": 0xB0FF036CB99EC5F6,
    "kernel": 0x273FEA903E119357,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "lime": 0x10E39694EACF6335,
    "net": 0xF087C76970C91612,
    "noise": 0x370359298C8860E5,
    "on": 0xE91FC499E4037158,
    "probe": 0xF6FBA61659FAE96D,
    "second": 0xF4C52D43B87F6485,
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


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


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
