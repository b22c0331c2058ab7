"""Why does a net say what it says (inventory K1 to K6)? What matters in an input, and what its layers do with it.

Made from specs/explain/explain.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/explain/explain.lee
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


def covered_saved(image, size, base=0.5):
    """As covered, and what its gradient needs."""
    h, w = image.shape
    mul = np.arange(h // size) * size  # int[h // size]  explain.lee:16
    mul_2 = np.arange(w // size) * size  # int[w // size]
    lt = np.arange(h) < (mul + size)[:, None]  # bool[h // size, h]
    reshape_5 = ((mul[:, None] <= np.arange(h)) & lt)[:, None, :, None]  # bool[h // size, 1, h, 1]
    logical_and_2 = reshape_5 & (mul_2[:, None] <= np.arange(w))[:, None]  # bool[h // size, w // size, h, w]
    # bool[h // size, w // size, h, w]
    logical_and_3 = logical_and_2 & (np.arange(w) < (mul_2 + size)[:, None])[:, None]
    copy = np.where(logical_and_3, base, image)  # [h // size, w // size, h, w]  explain.lee:15
    return copy, logical_and_3


def covered_backward(logical_and_3, size, d_copy):
    """From d_copy to the gradient by image."""
    # gradient of copy[a in h // size, b in w // size, i, j] = where(   explain.lee:15
    d_image = np.where(logical_and_3, 0, d_copy).sum(axis=(0, 1))  # [h, w]
    return d_image  # [h, w]


def occlusion_saved(net, image, label, size=2):
    """As occlusion, and what its gradient needs."""
    add_2, saved_net = net.forward_saved(image[None])  # explain.lee:23
    score = add_2[inside(0), inside(label)]
    copy_2, saved_covered = covered_saved(image, size)  # explain.lee:24
    # [(net.columns // size) * (net.rows // size), net.rows, net.columns]  explain.lee:25
    reshape_2 = copy_2.reshape(-1, net.rows, net.columns)
    add_2_2, saved_net_ = net.forward_saved(reshape_2)
    without = add_2_2.transpose((1, 0))[inside(label)]  # [(net.columns // size) * (net.rows // size)]
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
    d_add_2 = scatter_add(d_score, (0, label), (1, net.classes))  # [1, net.classes]
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
    eq = np.arange(net.sizes[0]) == np.arange(net.sizes[0])[:, None]  # bool[net.sizes_0, net.sizes_0]  explain.lee:31
    without = np.where(eq, base, x)  # [net.sizes_0, net.sizes_0]
    add_2, saved_net = net.forward_2_saved(x[None])  # explain.lee:32
    add_2_2, saved_net_ = net.forward_saved(without)
    gather_2 = add_2_2.transpose((1, 0))[inside(label)]  # [net.sizes_0]
    return add_2[inside(0), inside(label)] - gather_2, (eq, without, saved_net, saved_net_)


def ablation_backward(net, x, label, saved, d_sub):
    """From d_sub to the gradients by net, x and base."""
    eq, without, saved_net, saved_net_ = saved
    # gradient of return net(x[None], training = false)[0, label] - net(without, training = fal..   explain.lee:32
    d_add_2_2 = scatter_add(-d_sub, (label,), (net.sizes[0], net.sizes[2]), (1,))  # [net.sizes_0, net.sizes_2]
    d_net, d_without = net.forward_backward(without, saved_net_, d_add_2_2)
    d_add_2 = scatter_add(d_sub.sum(), (0, label), (1, net.sizes[2]))  # [1, net.sizes_2]
    d_net_, d_reshape_2 = net.forward_2_backward(x[None], saved_net, d_add_2)
    # gradient of without[k in d, i in d] = where(i == k, base[i], x[i])   explain.lee:31
    d_base = masked(d_without, eq).sum(axis=0)  # [net.sizes_0]
    d_net_layers_0_w = d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    d_net_layers_0_b = d_net["layers.0"]["b"] + d_net_["layers.0"]["b"]  # [net.sizes_1]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_net_layers_1_b = d_net["layers.1"]["b"] + d_net_["layers.1"]["b"]  # [net.sizes_2]
    d_x = d_reshape_2.reshape(net.sizes[0]) + np.where(eq, 0, d_without).sum(axis=0)  # [net.sizes_0]
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
    label = net.forward_2(x[None]).reshape(net.sizes[2]).argmax(axis=0)  # explain.lee:40
    key_2 = fold(key, SITES["on"])  # explain.lee:41
    on = uniform(key_2, (samples, net.sizes[0]), FLOAT) < 0.5  # bool[samples, net.sizes_0]
    target = softmax(net(np.where(on, x, base)), (1,)).transpose((1, 0))[inside(label)]  # [samples]  explain.lee:42
    cast_on = on.astype(FLOAT)  # [samples, net.sizes_0]  explain.lee:43
    away = 1 - cast_on.mean(axis=1)  # [samples]
    weight = np.exp(-(away**2) / math.pow(width, 2))  # [samples]  explain.lee:44
    # [samples, net.sizes_0 + 1]  explain.lee:45
    z = np.concatenate((cast_on, np.ones((samples, 1), dtype=FLOAT)), axis=1)
    mul_2 = weight[:, None] * z  # [samples, net.sizes_0 + 1]  explain.lee:46
    a = np.arange(net.sizes[0] + 1)  # int[net.sizes_0 + 1]
    logical_and = (a[:, None] == a) & (a < net.sizes[0])[:, None]  # bool[net.sizes_0 + 1, net.sizes_0 + 1]
    left = mul_2.T @ z + strength * logical_and.astype(FLOAT)  # [net.sizes_0 + 1, net.sizes_0 + 1]
    right = target @ mul_2  # [net.sizes_0 + 1]  explain.lee:47
    return np.linalg.solve(left, right)[: net.sizes[0]]  # [net.sizes_0]  explain.lee:48


def saliency_saved(net, x, y):
    """As saliency, and what its gradient needs."""
    n = x.shape[0]
    add_2, saved_net = net.forward_saved(x)  # explain.lee:56
    d_add_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2, y, np.ones(n, dtype=FLOAT))
    d_x, saved_net_ = net.forward_backward_input_saved(saved_net, d_add_2)
    saved = saved_net, d_add_2, saved_cross_entropy_backward, d_x, saved_net_
    return np.abs(d_x), saved


def saliency_backward(net, x, saved, d_abs):
    """From d_add_2, d_x, d_add and d_abs to the gradients by net and x."""
    saved_net, d_add_2, saved_cross_entropy_backward, d_x, saved_net_ = saved
    # gradient of return abs(grad(sum(cross_entropy(net(x, training = false), y, reduce = false..   explain.lee:56
    d_d_x = d_abs * np.sign(d_x)  # [n, net.sizes_0]
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
    d_x, saved_score_of_backward_input = score_of_backward_input_saved(net, label, saved_score_of, FLOAT(1.0))
    return np.abs(d_x), (d_x, saved_score_of_backward_input)


def saliency_of_score_backward_parameters(net, saved, d_abs):
    """From d_x, d_z, d_add and d_abs to the gradient by net."""
    d_x, saved_score_of_backward_input = saved
    # gradient of return abs(grad(score_of(net, x, label), x))   explain.lee:61
    d_d_x = d_abs * np.sign(d_x)  # [n, net.sizes_0]
    d_net = score_of_backward_input_backward_parameters(net, saved_score_of_backward_input, d_d_x)
    return d_net


def score_of_saved(net, x, label):
    """As score_of, and what its gradient needs."""
    n = x.shape[0]
    z, saved_net = net.forward_saved(x)  # explain.lee:66
    return z[np.arange(n), inside(label)].sum(), saved_net  # explain.lee:67


def score_of_backward_input_saved(net, label, saved_net, d_sum):
    """From d_sum to the gradients by x, z and add."""
    n = label.shape[0]
    # gradient of return sum[i](z[i, label[i]])   explain.lee:67
    d_gather = np.broadcast_to(d_sum, (n,))  # [n]
    d_z = scatter_add(d_gather, (np.arange(n), label), (n, net.sizes[2]))  # [n, net.sizes_2]
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
    total = np.zeros((n, net.sizes[0]), dtype=FLOAT)  # [n, net.sizes_0]  explain.lee:72
    saved_smooth_grad_step = [None] * copies  # explain.lee:73
    for k in range(copies):
        total, saved_smooth_grad_step[k] = smooth_grad_step_saved(net, total, noise[k], x, label)
    return total / copies, saved_smooth_grad_step  # explain.lee:75


def smooth_grad_backward_parameters(net, saved_smooth_grad_step, copies, d_div):
    """From d_x_rows, d_z_rows, d_add_rows and d_div to the gradient by net."""
    # gradient of return total / copies   explain.lee:75
    d_total_4 = d_div / copies  # [n, net.sizes_0]
    # gradient of for k in copies:   explain.lee:73
    d_net = {
        "layers.0": {"w": np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)},
    }
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
    total = np.zeros((n, net.sizes[0]), dtype=FLOAT)  # [n, net.sizes_0]  explain.lee:83
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
    d_net = {
        "layers.0": {"w": np.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT)},
        "layers.1": {"w": np.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT)},
    }
    for k in reversed(range(steps)):
        d_total_4, d_net = integrated_step_backward(net, saved_integrated_step[k], d_total_4, d_net)
    # gradient of between = base + (k + 0.5) / steps * (x - base)   explain.lee:85
    d_base = -d_x.sum(axis=0)  # [net.sizes_0]
    return d_net, d_x, d_base


def integrated_step_saved(net, total, base, label, k, steps, sub_2):
    """As integrated_step, and what its gradient needs."""
    between = base + (k + 0.5) / steps * sub_2  # [n, net.sizes_0]  explain.lee:85
    _, saved_score_of = score_of_saved(net, between, label)  # explain.lee:86
    d_between, saved_score_of_backward_input = score_of_backward_input_saved(net, label, saved_score_of, FLOAT(1.0))
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
        self.channels, self.maps, self.classes = channels, maps, classes
        self.conv1 = Conv(channels, maps, padding=1, key=fold(key, SITES["conv1"]))  # explain.lee:95
        self.conv2 = Conv(maps, maps, padding=1, key=fold(key, SITES["conv2"]))  # explain.lee:96
        self.head = Linear(maps, classes, key=fold(key, SITES["head"]))  # explain.lee:97
        self.lay_out()

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
        return self.head(self.features(image).mean(axis=(2, 3)))  # [n, classes]  explain.lee:103

    def forward_saved(self, image):
        """As forward, and what its gradient needs."""
        conv1_out, saved_self = self.features_saved(image)  # explain.lee:103
        return self.head(conv1_out.mean(axis=(2, 3))), (conv1_out, saved_self)

    def forward_backward_input(self, saved, d_y):
        """From d_y to the gradient by image."""
        conv1_out, saved_self = saved
        n, _, h, w = conv1_out.shape
        # gradient of return head(mean(features(image), axis = (2, 3)))   explain.lee:103
        div = self.head.forward_backward_input(d_y) / (h * w)  # [n, maps]
        d_conv1_out = np.broadcast_to(div[:, :, None, None], (n, self.maps, h, w))  # [n, maps, h, w]
        d_image = self.features_backward_input(saved_self, conv1_out, d_conv1_out)  # [n, channels, h, w]
        return d_image  # [n, channels, h, w]

    def forward_backward_input_saved(self, saved, d_y):
        """From d_y to the gradients by image, conv2_out and conv1_out_2."""
        conv1_out, saved_self = saved
        n, _, h, w = conv1_out.shape
        # gradient of return head(mean(features(image), axis = (2, 3)))   explain.lee:103
        div = self.head.forward_backward_input(d_y) / (h * w)  # [n, maps]
        d_conv1_out = np.broadcast_to(div[:, :, None, None], (n, self.maps, h, w))  # [n, maps, h, w]
        d_image, saved_self_ = self.features_backward_input_saved(saved_self, conv1_out, d_conv1_out)
        return d_image, saved_self_

    def forward_backward_input_backward_parameters(self, d_add, saved_self_, d_d_image):
        """From d_add, d_conv2_out, d_conv1_out_2 and d_d_image to the gradient by the parameters."""
        _, _, h, w = d_d_image.shape
        # gradient of return head(mean(features(image), axis = (2, 3)))   explain.lee:103
        d_pooled, d_d_conv1_out = self.features_backward_input_backward(saved_self_, d_d_image)
        d_d_conv1_out_mean = d_d_conv1_out.sum(axis=(2, 3)) / (h * w)  # [n, maps]
        d_head = Linear.forward_backward_input_backward_parameters(d_add, d_d_conv1_out_mean)
        return {"conv1": d_pooled["conv1"], "conv2": d_pooled["conv2"], "head": d_head}


def cam(net, image, label):
    """The maps, each times the weight that the class gives it (Zhou et al. 2016).

    image [n, net.channels, h, w], label int[n] -> [n, h, w]
    """
    n, _, h, w = image.shape
    a = net.features(image)  # [n, net.maps, h, w]  explain.lee:108
    reshape_2 = net.head.w.transpose((1, 0))[inside(label)][:, :, None]  # [n, net.maps, 1]  explain.lee:109
    seen = (a.reshape(n, net.maps, h * w).mT @ reshape_2).reshape(n, h, w)  # [n, h, w]
    return seen  # [n, h, w]


def cam_saved(net, image, label):
    """As cam, and what its gradient needs."""
    n, _, h, w = image.shape
    a, saved_net = net.features_saved(image)  # explain.lee:108
    gather = net.head.w.transpose((1, 0))[inside(label)]  # [n, net.maps]  explain.lee:109
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
    d_gather = np.ones(n, dtype=FLOAT)  # [n]  explain.lee:116
    d_z = scatter_add(d_gather, (np.arange(n), label), (n, net.classes))  # [n, net.classes]
    return net.forward_backward_input(saved_net, d_z)  # [n, net.channels, h, w]  explain.lee:115


def camAsPrinted_saved(net, image, label):
    """As camAsPrinted, and what its gradient needs."""
    n = image.shape[0]
    _, saved_net = net.forward_saved(image)  # explain.lee:115
    d_gather = np.ones(n, dtype=FLOAT)  # [n]  explain.lee:116
    d_z = scatter_add(d_gather, (np.arange(n), label), (n, net.classes))  # [n, net.classes]
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
    d_gather = np.ones(n, dtype=FLOAT)  # [n]  explain.lee:123
    d_z = scatter_add(d_gather, (np.arange(n), label), (n, net.classes))  # [n, net.classes]
    weight = net.head.forward_backward_input(d_z) / (h * w)  # [n, net.maps]  explain.lee:122
    seen = (a.reshape(n, net.maps, h * w).mT @ weight[:, :, None]).reshape(n, h, w)  # [n, h, w]  explain.lee:125
    return relu_4(seen)  # [n, h, w]  explain.lee:126


def grad_cam_saved(net, image, label):
    """As grad_cam, and what its gradient needs."""
    n, _, h, w = image.shape
    a, saved_net = net.features_saved(image)  # explain.lee:121
    d_gather = np.ones(n, dtype=FLOAT)  # [n]  explain.lee:123
    d_z = scatter_add(d_gather, (np.arange(n), label), (n, net.classes))  # [n, net.classes]
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
        self.d, self.hidden, self.classes = d, hidden, classes
        self.first = Linear(d, hidden, key=fold(key, SITES["first"]))  # explain.lee:133
        self.second = Linear(hidden, hidden, key=fold(key, SITES["second"]))  # explain.lee:134
        self.head = Linear(hidden, classes, key=fold(key, SITES["head"]))  # explain.lee:135
        self.lay_out()

    def hidden_of(self, x):
        """What each layer makes of the input.

        x [n, d] -> [n, hidden], [n, hidden]
        """
        a = relu(self.first(x))  # [n, hidden]  explain.lee:139
        b = relu(self.second(a))  # [n, hidden]  explain.lee:140
        return a, b

    def hidden_of_backward_parameters(self, x, a, b, d_b):
        """From d_b to the gradient by the parameters."""
        # gradient of b = relu(second(a))   explain.lee:140
        d_second, d_a = self.second.forward_backward(a, relu_backward(b, d_b))
        # gradient of a = relu(first(x))   explain.lee:139
        d_first = Linear.forward_backward_parameters(x, relu_backward(a, d_a))
        return {"first": d_first, "second": d_second}

    def forward(self, x):
        """x [n, d] -> [n, classes]"""
        _, b_2 = self.hidden_of(x)  # explain.lee:144
        return self.head(b_2)  # [n, classes]  explain.lee:145

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        a, b_2 = self.hidden_of(x)  # explain.lee:144
        return self.head(b_2), (a, b_2)  # explain.lee:145

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        a, b_2 = saved
        # gradient of return head(b)   explain.lee:145
        d_head, d_b_2 = self.head.forward_backward(b_2, d_y)
        # gradient of _, b = hidden_of(x)   explain.lee:144
        d_layered = self.hidden_of_backward_parameters(x, a, b_2, d_b_2)
        return {"first": d_layered["first"], "second": d_layered["second"], "head": d_head}


def plane(h):
    """Hidden vectors in the plane in which they differ most, to be plotted layer by layer.

    h [n, d] -> [n, 2]
    """
    d = h.shape[1]
    centred = h - h.mean(axis=0)  # [n, d]  explain.lee:150
    _, vectors = eigh(centred.T @ centred)  # explain.lee:151
    slice_2 = vectors[:, d - 2 : d - 1]  # [d, 1]  explain.lee:152
    concat = np.concatenate((vectors[:, d - 1 :], slice_2), axis=1)  # [d, 2]
    return centred @ concat  # [n, 2]


def plane_saved(h):
    """As plane, and what its gradient needs."""
    d = h.shape[1]
    centred = h - h.mean(axis=0)  # [n, d]  explain.lee:150
    values, vectors = eigh(centred.T @ centred)  # explain.lee:151
    concat = np.concatenate((vectors[:, d - 1 :], vectors[:, d - 2 : d - 1]), axis=1)  # [d, 2]  explain.lee:152
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
    max_ = np.abs(values).max(initial=-np.inf)
    reciprocal = reciprocal_or_zero(values - values[:, None], max_)  # [d, d]
    contract_3 = vectors @ (reciprocal * (vectors.T @ d_vectors)) @ vectors.T  # [d, d]
    d_contract = (contract_3 + contract_3.T) * 0.5  # [d, d]
    # gradient of centred = h - mean(h, axis = 0)   explain.lee:150
    d_centred = d_y @ concat.T + centred @ d_contract.T + centred @ d_contract  # [n, d]
    d_h = d_centred + -d_centred.sum(axis=0) / n  # [n, d]
    return d_h  # [n, d]


def probing(probe, h, y, decay=1e-3):
    """A linear classifier of frozen vectors tells what can be read from them.

    h [n, probe.inputs], y int[n] -> []
    """
    mean = cross_entropy_2(probe(stop(h)), y)  # explain.lee:157
    return mean + decay * (probe.w * probe.w).sum()


def probing_saved(probe, h, y, decay=1e-3):
    """As probing, and what its gradient needs."""
    graft = stop(h)  # [n, probe.inputs]  explain.lee:157
    probe_out = probe(graft)  # [n, probe.outputs]
    mul_2 = decay * (probe.w * probe.w).sum()
    return cross_entropy_2(probe_out, y) + mul_2, (graft, probe_out)


def probing_backward_parameters(probe, y, decay, saved, d_out):
    """From d_out to the gradient by probe."""
    graft, probe_out = saved
    # gradient of return cross_entropy(probe(stop(h)), y) + decay * sum(probe.w ** 2)   explain.lee:157
    d_probe_out = cross_entropy_2_backward(probe_out, y, d_out)  # [n, probe.outputs]
    d_probe = Linear.forward_backward_parameters(graft, d_probe_out)
    d_probe_w = 2 * (d_out * decay) * probe.w + d_probe["w"]  # [probe.inputs, probe.outputs]
    return {"w": d_probe_w, "b": d_probe["b"]}


def probed(epochs=8, batch=32, rate=5e-3, *, run=None):
    """Linear probes of the first layer and of the second, learned after the net."""
    from leec.runtime.run import Run

    run = run or Run("probed")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = Layered(d=64, hidden=32, classes=10, key=run.key("net"))  # explain.lee:163
    low = Linear(inputs=32, outputs=10, key=run.key("low"))  # explain.lee:164
    high = Linear(inputs=32, outputs=10, key=run.key("high"))  # explain.lee:165
    opt = Adam(lr=rate)  # explain.lee:166
    opt_low = Adam(lr=rate)  # explain.lee:167
    opt_high = Adam(lr=rate)  # explain.lee:168
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(probed_step(net, opt, x, y))  # explain.lee:171
    for epoch in run.loop("epoch_2", 1, epochs, high=high, low=low, opt_high=opt_high, opt_low=opt_low):
        for x, y in run.batches("batches_2", data.train, batch, shuffle=True):
            loss, loss_1 = probed_step_2(net, low, high, opt_low, opt_high, x, y)  # explain.lee:174
            run.step(loss)
            run.step(loss_1, "loss_1")
    a, b, y = probed_a_b_y(net, data.test.x, data.test.y)  # explain.lee:177
    reported_net, reported_low, reported_high = probed_net_low_high(net, data.test.x, y, low, a, high, b)
    run.report(net=reported_net, low=reported_low, high=reported_high)  # explain.lee:179
    return net


def probed_step(net, opt, x, y):
    """One step of probed."""
    add, saved_net = net.forward_saved(x)  # explain.lee:171
    d_add = cross_entropy_2_backward(add, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy_2(add, y)


def probed_step_2(net, low, high, opt_low, opt_high, x, y):
    """One step of probed."""
    a_2, b_2 = net.hidden_of(x)  # explain.lee:174
    loss, saved_probing = probing_saved(low, a_2, y)  # explain.lee:175
    d_low = probing_backward_parameters(low, y, 1e-3, saved_probing, FLOAT(1.0))
    opt_low.update(low.parameters, low.flat(d_low))
    loss_1, saved_probing_ = probing_saved(high, b_2, y)  # explain.lee:176
    d_high = probing_backward_parameters(high, y, 1e-3, saved_probing_, FLOAT(1.0))
    opt_high.update(high.parameters, high.flat(d_high))
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
        self.rows, self.columns, self.classes = rows, columns, classes
        self.inner = MLP((columns * rows, 6, classes), key=fold(key, SITES["inner"]))  # explain.lee:188
        self.lay_out()

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
                "layers.0": {"w": d_net["layers.0"]["w"], "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": np.zeros(4, dtype=FLOAT)},
            }
        ),
        np.zeros((7, 5), dtype=FLOAT),
        np.zeros((4, 5), dtype=FLOAT),
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
                "layers.0": {"w": d_net["layers.0"]["w"], "b": np.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": np.zeros(4, dtype=FLOAT)},
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
                "head": {"w": d_net["head"]["w"] + d_net_["head"]["w"], "b": np.zeros(4, dtype=FLOAT)},
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
    return (
        (c * d_c).sum(),
        net.at(
            {
                "conv1": {"kernel": d_net["conv1"]["kernel"], "bias": np.zeros(3, dtype=FLOAT)},
                "conv2": {"kernel": d_net["conv2"]["kernel"], "bias": np.zeros(3, dtype=FLOAT)},
                "head": {"w": d_net["head"]["w"], "b": np.zeros(4, dtype=FLOAT)},
            }
        ),
        np.zeros((2, 2, 5, 6), dtype=FLOAT),
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
    d_probe = probing_backward_parameters(probe, y, 1e-3, saved_probing, FLOAT(1.0))
    return (
        value,
        net.at(
            {
                "first": {"w": np.zeros((5, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "second": {"w": np.zeros((6, 6), dtype=FLOAT), "b": np.zeros(6, dtype=FLOAT)},
                "head": {"w": np.zeros((6, 3), dtype=FLOAT), "b": np.zeros(3, dtype=FLOAT)},
            }
        ),
        net.head.at(d_probe),
        np.zeros((9, 5), dtype=FLOAT),
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
    softmax_ = softmax(z, (1,))  # [rows, k]
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    reshape_2 = d_surprise[:, None]  # [rows, 1]
    d_z = (softmax_ - one_hot) * reshape_2  # [rows, k]
    return d_z, (softmax_, reshape_2)


def cross_entropy_backward_backward(saved, d_d_z):
    """From d_d_z to the gradient by z."""
    softmax_, reshape_2 = saved
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    d_sub = d_d_z * reshape_2  # [rows, k]
    d_z = softmax_ * (d_sub - (d_sub * softmax_).sum(axis=1, keepdims=True))  # [rows, k]
    return d_z  # [rows, k]


@packed(None, z=(0, 2), y=(0, 1))
def cross_entropy_2(z, y):
    """-log softmax(z)_y, the mean over rows.

    z [.., k], y int[..] -> []
    """
    rows = z.shape[0]
    surprise = -log_softmax(z, (1,))[np.arange(rows), inside(y)]  # [rows]  losses.lee:45
    return reduced_2(surprise)  # losses.lee:46


def cross_entropy_2_backward(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_2_backward(rows, d_out)  # [rows]
    # gradient of surprise[i] = -share[i, y[i]]   losses.lee:45
    one_hot = (np.arange(k)[None, :] == y[:, None]).astype(FLOAT)  # [rows, k]
    d_z = (softmax(z, (1,)) - one_hot) * d_surprise[:, None]  # [rows, k]
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
    n, _, _, w = x.shape
    o, c, kh, kw = kernel.shape
    out_w = (dilation + 2 * padding + w - dilation * kw - 1) // stride + 1
    # [n, c, h + 2 * padding, 2 * padding + w]  nn.lee:83
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows = window(pad, 3, kw, stride, dilation)  # [n, c, h + 2 * padding, out_w, kw]
    windows_2 = window(windows, 2, kh, stride, dilation)  # [n, c, out_h, kh, out_w, kw]
    transpose = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, kh, kw, out_h, out_w]
    columns = transpose.reshape(n, c * kh * kw, -1)  # [n, c * kh * kw, out_h * out_w]
    y = (kernel.reshape(o, c * kh * kw) @ columns).reshape(n, o, -1, out_w)  # [n, o, out_h, out_w]
    return y  # [n, o, out_h, out_w]


def conv2d_backward(x, kernel, dilation, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    n, _, h, w = x.shape
    o, c, kh, kw = kernel.shape
    out_w = d_y.shape[3]
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    reshape_2 = d_y.reshape(n, o, -1)  # [n, o, out_h * out_w]
    contract = kernel.reshape(o, c * kh * kw).T @ reshape_2  # [n, c * kh * kw, out_h * out_w]
    reshape_3 = contract.reshape(n, c, kh, kw, -1, out_w)  # [n, c, kh, kw, out_h, out_w]
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, out_h, kh, out_w, kw]
    # [n, c, h + 2 * padding, 2 * padding + w]
    unwindows_ = unwindows(
        transpose, (2, 4), (h + 2 * padding, 2 * padding + w), (stride, stride), (dilation, dilation)
    )
    d_x = unwindows_[:, :, padding : h + padding, padding : padding + w]  # [n, c, h, w]
    # [n, c, h + 2 * padding, 2 * padding + w]
    pad = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows = window(pad, 3, kw, stride, dilation)  # [n, c, h + 2 * padding, out_w, kw]
    windows_2 = window(windows, 2, kh, stride, dilation)  # [n, c, out_h, kh, out_w, kw]
    transpose_2 = windows_2.transpose(0, 1, 3, 5, 2, 4)  # [n, c, kh, kw, out_h, out_w]
    contract_2 = reshape_2 @ transpose_2.reshape(n, c * kh * kw, -1).mT  # [n, o, c * kh * kw]
    d_kernel = contract_2.reshape(n, o, c, kh, kw).sum(axis=0)  # [o, c, kh, kw]
    return d_x, d_kernel


def conv2d_backward_2(kernel, dilation, h, padding, stride, w, d_y):
    """From d_y to the gradient by x."""
    o, c, kh, kw = kernel.shape
    n, _, _, out_kw = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    contract = kernel.reshape(o, c * kh * kw).T @ d_y.reshape(n, o, -1)  # [n, c * kh * kw, out_kh * out_kw]
    reshape_3 = contract.reshape(n, c, kh, kw, -1, out_kw)  # [n, c, kh, kw, out_kh, out_kw]
    transpose = reshape_3.transpose(0, 1, 4, 2, 5, 3)  # [n, c, out_kh, kh, out_kw, kw]
    # [n, c, h + 2 * padding, 2 * padding + w]
    unwindows_ = unwindows(
        transpose, (2, 4), (h + 2 * padding, 2 * padding + w), (stride, stride), (dilation, dilation)
    )
    d_x = unwindows_[:, :, padding : h + padding, padding : padding + w]  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def conv2d_backward_2_backward(kernel, d_y, dilation, padding, stride, d_d_x):
    """From d_y and d_d_x to the gradients by kernel and d_y."""
    o, c, kh, kw = kernel.shape
    n, _, _, out_kw = d_y.shape
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [n, c, h + 2 * padding, 2 * padding + w]
    pad = np.pad(d_d_x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=0.0)
    windows = window(pad, 3, kw, stride, dilation)  # [n, c, h + 2 * padding, out_kw, kw]
    windows_2 = window(windows, 2, kh, stride, dilation)  # [n, c, out_kh, kh, out_kw, kw]
    columns = windows_2.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * kh * kw, -1)  # [n, c * kh * kw, out_kh * out_kw]
    d_d_y = (kernel.reshape(o, c * kh * kw) @ columns).reshape(n, o, -1, out_kw)  # [n, o, out_kh, out_kw]
    contract_2 = d_y.reshape(n, o, -1) @ columns.mT  # [n, o, c * kh * kw]
    d_kernel = contract_2.reshape(n, o, c, kh, kw).sum(axis=0)  # [o, c, kh, kw]
    return d_kernel, d_d_y


class Conv(Model):
    """Convolution of images with k × k windows; before a normalisation it needs no bias."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, dilation=1, *, key=(0, 0)):
        self.inputs, self.outputs, self.k = inputs, outputs, k
        self.stride, self.padding, self.dilation = stride, padding, dilation
        div, div_2 = fan_in_uniform(inputs * k**2)  # nn.lee:105
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (outputs, inputs, k, k), FLOAT)  # [outputs, inputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:107
        self.kernel = div + (div_2 - div) * uniform_  # [outputs, inputs, k, k]  nn.lee:105
        self.bias = div + (div_2 - div) * uniform_2  # [outputs]  nn.lee:107
        self.lay_out()

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, out_h, out_w]"""
        # [n, outputs, out_h, out_w]  nn.lee:110
        y_2 = conv2d(x, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y_2 + self.bias[:, None, None]  # [n, outputs, out_h, out_w]  nn.lee:112

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(axis=0).sum(axis=(1, 2))  # [outputs]
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

    x [1, x_1] -> [1, x_1]
    """
    return np.maximum(x, 0)  # [1, x_1]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [1, x_1]
    return d_x  # [1, x_1]


def relu_3(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_3_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def relu_3_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1, x_2, x_3]
    d_x = masked(d_y, gt)  # [x_0, x_1, x_2, x_3]
    return d_x, gt


def relu_3_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = masked(d_d_x, gt)  # [x_0, x_1, x_2, x_3]
    return d_d_select  # [x_0, x_1, x_2, x_3]


def relu_4(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2]  prelude.lee:61


def relu_4_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2]
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


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


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


def window(x, axis, size, stride=1, dilation=1):
    """A view of windows along an axis: entry (i, u) is i * stride + u * dilation, as many i as fit."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    step = x.strides[axis]
    strides = (*x.strides[:axis], step * stride, step * dilation, *x.strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def unwindows(x, axes, sizes, strides, dilations, out=None):
    """The same along several axes, counted before any is folded, in increasing order."""
    widths = [x.shape[axis + 1] for axis in axes]
    shape = list(x.shape)
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        shape[axis : axis + 2] = [size]
    whole = np.empty(shape, x.dtype) if out is None else out
    whole.fill(0)
    for offsets in np.ndindex(*widths):
        source, target = [slice(None)] * x.ndim, [slice(None)] * whole.ndim
        for i, (axis, u, stride, dilation) in enumerate(zip(axes, offsets, strides, dilations, strict=True)):
            start = u * dilation
            source[axis + 1], target[axis - i] = u, slice(start, start + x.shape[axis] * stride, stride)
        whole[tuple(target)] += x[tuple(source)]
    return whole


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = np.abs(x) > 100 * np.finfo(x.dtype).eps * scale
    return np.where(far, 1 / np.where(far, x, 1), 0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = np.abs(vectors)
    first = np.argmax(size >= 0.999 * size.max(axis=-2, keepdims=True), axis=-2)
    largest = np.take_along_axis(vectors, first[..., None, :], axis=-2)
    return np.where(largest < 0, -1, 1).astype(vectors.dtype)


def eigh(a):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    return values, vectors * signs_of_columns(vectors)


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
