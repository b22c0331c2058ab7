"""Experiments on training (inventory S7, S9, S12 to S14): batches, spread, depth, and data from elsewhere.

Made from specs/analysis/experiments.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/analysis/experiments.lee
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


def sharpness(net, x, y, rounds):
    """The largest eigenvalue of the Hessian, by power iteration: H v is the slope of ∇L · v, v held fast.

    x [n, net.sizes_0], y int[n] -> []
    """
    add_2, saved_net = net.forward_saved(x)  # experiments.lee:15
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [n, net.sizes_2]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    slope = net.at({"layers.0": d_net["layers.0"], "layers.1": d_net["layers.1"]})
    v = stop(slope)  # experiments.lee:16
    value = FLOAT(0.0)  # experiments.lee:18
    v_layers_0_w = v.layers[0].w
    v_layers_0_b = v.layers[0].b
    v_layers_1_w = v.layers[1].w
    v_layers_1_b = v.layers[1].b
    for k in range(rounds):
        v_layers_0_w, v_layers_0_b, v_layers_1_w, v_layers_1_b, value = sharpness_step(
            net,
            v_layers_0_w,
            v_layers_0_b,
            v_layers_1_w,
            v_layers_1_b,
            value,
            slope.layers[0].w,
            slope.layers[0].b,
            slope.layers[1].w,
            slope.layers[1].b,
            x,
            y,
        )
    return value


def sharpness_step(
    net,
    v_layers_0_w,
    v_layers_0_b,
    v_layers_1_w,
    v_layers_1_b,
    value,
    slope_layers_0_w,
    slope_layers_0_b,
    slope_layers_1_w,
    slope_layers_1_b,
    x,
    y,
):
    """v.layers.0.w [net.sizes_0, net.sizes_1], v.layers.0.b [net.sizes_1], v.layers.1.w [net.sizes_1,
    net.sizes_2], v.layers.1.b [net.sizes_2], slope.layers.0.w [net.sizes_0, net.sizes_1], slope.layers.0.b
    [net.sizes_1], slope.layers.1.w [net.sizes_1, net.sizes_2], slope.layers.1.b [net.sizes_2], x [n,
    net.sizes_0], y int[n] -> [net.sizes_0, net.sizes_1], [net.sizes_1], [net.sizes_1, net.sizes_2],
    [net.sizes_2], []
    """
    add = (v_layers_0_w**2).sum() + (v_layers_0_b**2).sum()
    sqrt = np.sqrt(add + (v_layers_1_w**2).sum() + (v_layers_1_b**2).sum())  # experiments.lee:19
    v_layers_0_w_3 = v_layers_0_w / sqrt  # [net.sizes_0, net.sizes_1]
    v_layers_0_b_3 = v_layers_0_b / sqrt  # [net.sizes_1]
    v_layers_1_w_3 = v_layers_1_w / sqrt  # [net.sizes_1, net.sizes_2]
    v_layers_1_b_3 = v_layers_1_b / sqrt  # [net.sizes_2]
    add_2_2, saved_net = net.forward_saved(x)  # experiments.lee:15
    d_add_2_2, saved_cross_entropy_backward = cross_entropy_backward_saved(add_2_2, y, FLOAT(1.0))
    _, saved_net_ = net.forward_backward_parameters_saved(x, saved_net, d_add_2_2)
    d_net, d_x_2, d_d_add_2_2 = net.forward_backward_parameters_backward(
        x,
        saved_net,
        d_add_2_2,
        saved_net_,
        {
            "layers.0": {"w": v_layers_0_w_3, "b": v_layers_0_b_3},
            "layers.1": {"w": v_layers_1_w_3, "b": v_layers_1_b_3},
        },
    )
    d_add_2_2_2 = cross_entropy_backward_backward(saved_cross_entropy_backward, d_d_add_2_2)  # [n, net.sizes_2]
    d_net_ = net.forward_saved_backward_parameters(x, saved_net, d_add_2_2_2, d_x_2)
    w_3 = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    # experiments.lee:20
    curved = stop(net.at({"layers.0": d_net_["layers.0"], "layers.1": {"w": w_3, "b": d_net_["layers.1"]["b"]}}))
    sum_5 = (v_layers_0_w_3 * curved.layers[0].w).sum()
    add_4 = sum_5 + (v_layers_0_b_3 * curved.layers[0].b).sum()
    add_5 = add_4 + (v_layers_1_w_3 * curved.layers[1].w).sum()
    value_2 = add_5 + (v_layers_1_b_3 * curved.layers[1].b).sum()
    return curved.layers[0].w, curved.layers[0].b, curved.layers[1].w, curved.layers[1].b, value_2


def by_batch_size(batch=16, epochs=5, rate=0.2, *, run=None):
    """Small batches are noisy and end in flat places, large ones rather in sharp places."""
    from leec.runtime.run import Run

    run = run or Run("by_batch_size")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 12, 10), key=run.key("net"))  # experiments.lee:29
    opt = SGD(lr=rate)  # experiments.lee:30
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(by_batch_size_step(net, opt, x, y))  # experiments.lee:33
        reported_test, reported_sharpness = by_batch_size_test_sharpness(
            net, data.test.x, data.test.y, data.train.x, data.train.y
        )
        run.report(test=reported_test, sharpness=reported_sharpness)  # experiments.lee:34
    return net


def by_batch_size_step(net, opt, x, y):
    """One step of by_batch_size."""
    add_2, saved_net = net.forward_saved(x)  # experiments.lee:33
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def by_batch_size_test_sharpness(net, data_test_x, data_test_y, data_train_x, data_train_y):
    """data_test_x [data_test_n, 64], data_test_y int[data_test_n], data_train_x [data_train_n, 64], data_train_y
    int[data_train_n] -> [], []
    """
    return accuracy(net(data_test_x), data_test_y), sharpness(net, data_train_x, data_train_y, 5)  # experiments.lee:34


def parabola(x, y, at):
    """The best parabola through each of several data sets with the same x, at other places.

    x [n], y [sets, n], at [m] -> [sets, m]
    """
    n = x.shape[0]
    x_mean = x.mean()  # experiments.lee:43
    first = x - x_mean  # [n]
    first_at = at - x_mean  # [m]  experiments.lee:44
    sum_2 = dot(first, first)  # experiments.lee:45
    a = dot(x * first, first) / sum_2
    b = sum_2 / n  # experiments.lee:46
    second = (x - a) * first - b  # [n]  experiments.lee:47
    second_at = (at - a) * first_at - b  # [m]  experiments.lee:48
    constant = y.mean(axis=1)  # [sets]  experiments.lee:49
    add = constant[:, None] + (y @ first / sum_2)[:, None] * first_at  # [sets, m]  experiments.lee:50
    mul_5 = (y @ second / dot(second, second))[:, None] * second_at  # [sets, m]
    return add + mul_5  # [sets, m]


def parabola_saved(x, y, at):
    """As parabola, and what its gradient needs."""
    n = x.shape[0]
    x_mean = x.mean()  # experiments.lee:43
    first = x - x_mean  # [n]
    first_at = at - x_mean  # [m]  experiments.lee:44
    mul = x * first  # [n]  experiments.lee:45
    sum_2 = dot(first, first)
    a = dot(mul, first) / sum_2
    b = sum_2 / n  # experiments.lee:46
    sub = x - a  # [n]  experiments.lee:47
    second = sub * first - b  # [n]
    sub_2 = at - a  # [m]  experiments.lee:48
    second_at = sub_2 * first_at - b  # [m]
    constant = y.mean(axis=1)  # [sets]  experiments.lee:49
    div = y @ first / sum_2  # [sets]  experiments.lee:50
    sum_5 = dot(second, second)  # experiments.lee:51
    div_2 = y @ second / sum_5  # [sets]
    add = constant[:, None] + div[:, None] * first_at  # [sets, m]  experiments.lee:50
    saved = first, first_at, mul, sum_2, a, sub, second, sub_2, second_at, div, sum_5, div_2
    return add + div_2[:, None] * second_at, saved


def parabola_backward(x, y, saved, d_out):
    """From d_out to the gradients by x, y and at."""
    first, first_at, mul, sum_2, a, sub, second, sub_2, second_at, div, sum_5, div_2 = saved
    n = x.shape[0]
    # gradient of return constant[:, None] + (y @ first / dot(first, first))[:, None] * first_a..   experiments.lee:50
    d_second_at = (d_out * div_2[:, None]).sum(axis=0)  # [m]
    d_div_2 = (d_out * second_at).sum(axis=1)  # [sets]
    # gradient of y @ second / dot(second, second)   experiments.lee:51
    d_contract_2 = d_div_2 / sum_5  # [sets]
    d_second_2, d_second_3 = dot_backward(second, second, -(d_div_2 * div_2 / sum_5).sum())
    # gradient of return constant[:, None] + (y @ first / dot(first, first))[:, None] * first_a..   experiments.lee:50
    d_div = (d_out * first_at).sum(axis=1)  # [sets]
    d_contract = d_div / sum_2  # [sets]
    d_constant = d_out.sum(axis=1)  # [sets]
    # gradient of second_at = (at - a) * first_at - b   experiments.lee:48
    d_sub_2 = d_second_at * first_at  # [m]
    # gradient of second = (x - a) * first - b   experiments.lee:47
    d_second = d_second_2 + d_second_3 + d_contract_2 @ y  # [n]
    d_sub = d_second * first  # [n]
    # gradient of b = dot(first, first) / n   experiments.lee:46
    d_b = -(d_second_at.sum() + d_second.sum())
    # gradient of a = dot(x * first, first) / dot(first, first)   experiments.lee:45
    d_a = -(d_sub_2.sum() + d_sub.sum())
    d_sum_2 = d_b / n - (d_div * div / sum_2).sum() - d_a * a / sum_2
    d_first_4, d_first_5 = dot_backward(first, first, d_sum_2)
    d_mul, d_first_6 = dot_backward(mul, first, d_a / sum_2)
    # gradient of first_at = at - mean(x)   experiments.lee:44
    d_first_at = (d_out * div[:, None]).sum(axis=0) + d_second_at * sub_2  # [m]
    # gradient of first = x - mean(x)   experiments.lee:43
    d_first_10 = d_contract @ y + d_second * sub + d_first_4 + d_first_5  # [n]
    d_first = d_first_10 + d_first_6 + d_mul * x  # [n]
    d_x = d_sub + d_mul * first + d_first - (d_first_at.sum() + d_first.sum()) / n  # [n]
    d_y_5 = d_contract_2[:, None] * second + d_contract[:, None] * first  # [sets, n]
    d_y = d_y_5 + (d_constant / n)[:, None]  # [sets, n]
    d_at = d_sub_2 + d_first_at  # [m]
    return d_x, d_y, d_at


def bias_and_variance(fits, ideal):
    """How far the mean of all fits is from the ideal, and how far the fits are from their mean, both squared.

    fits [sets, m], ideal [m] -> [], []
    """
    middle = fits.mean(axis=0)  # [m]  experiments.lee:57
    sub = middle - ideal  # [m]  experiments.lee:58
    sub_2 = fits - middle  # [sets, m]
    return (sub**2).mean(), (sub_2**2).mean()


def bias_and_variance_saved(fits, ideal):
    """As bias_and_variance, and what its gradient needs."""
    middle = fits.mean(axis=0)  # [m]  experiments.lee:57
    sub = middle - ideal  # [m]  experiments.lee:58
    sub_2 = fits - middle  # [sets, m]
    return (sub**2).mean(), (sub_2**2).mean(), (sub, sub_2)


def bias_and_variance_backward(saved, d_mean, d_mean_2):
    """From d_mean and d_mean_2 to the gradients by fits and ideal."""
    sub, sub_2 = saved
    m = sub.shape[0]
    sets = sub_2.shape[0]
    # gradient of return mean((middle - ideal) ** 2), mean((fits - middle) ** 2)   experiments.lee:58
    d_sub_2 = 2 * (d_mean_2 / (m * sets)) * sub_2  # [sets, m]
    d_sub = 2 * (d_mean / m) * sub  # [m]
    d_ideal = -d_sub  # [m]
    # gradient of middle = mean(fits, axis = 0)   experiments.lee:57
    d_middle = d_sub - d_sub_2.sum(axis=0)  # [m]
    d_fits = d_sub_2 + d_middle / sets  # [sets, m]
    return d_fits, d_ideal


def parameters(net):
    """How many numbers a net has to learn."""
    add = 1.0 * (net.sizes[0] * net.sizes[1]) + 1.0 * net.sizes[1]
    add_2 = add + 1.0 * (net.sizes[1] * net.sizes[2])
    return FLOAT(add_2 + 1.0 * net.sizes[2])


def fat(epochs=10, batch=64, rate=0.3, *, run=None):
    """One wide layer: 2410 parameters."""
    from leec.runtime.run import Run

    run = run or Run("fat")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net"))  # experiments.lee:72
    opt = SGD(lr=rate)  # experiments.lee:73
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fat_step(net, opt, x, y))  # experiments.lee:76
        reported_train, reported_test = fat_train_test(net, data.train.x, data.train.y, data.test.x, data.test.y)
        run.report(train=reported_train, test=reported_test)  # experiments.lee:77
    return net


def fat_step(net, opt, x, y):
    """One step of fat."""
    add_2, saved_net = net.forward_saved(x)  # experiments.lee:76
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def fat_train_test(net, data_train_x, data_train_y, data_test_x, data_test_y):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n], data_test_x [data_test_n, 64], data_test_y
    int[data_test_n] -> [], []
    """
    return cross_entropy(net(data_train_x), data_train_y), accuracy(net(data_test_x), data_test_y)  # experiments.lee:77


def thin(epochs=10, batch=64, rate=0.3, *, run=None):
    """Three narrow layers with about as many, 2426. A larger loss on what it was trained with is no overfitting."""
    from leec.runtime.run import Run

    run = run or Run("thin")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    net = MLP_2(sizes=(64, 24, 18, 14, 10), key=run.key("net"))  # experiments.lee:84
    opt = SGD(lr=rate)  # experiments.lee:85
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(thin_step(net, opt, x, y))  # experiments.lee:88
        reported_train, reported_test = thin_train_test(net, data.train.x, data.train.y, data.test.x, data.test.y)
        run.report(train=reported_train, test=reported_test)  # experiments.lee:89
    return net


def thin_step(net, opt, x, y):
    """One step of thin."""
    add_4, saved_net = net.forward_saved(x)  # experiments.lee:88
    d_add_4 = cross_entropy_backward(add_4, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(x, saved_net, d_add_4)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_4, y)


def thin_train_test(net, data_train_x, data_train_y, data_test_x, data_test_y):
    """data_train_x [data_train_n, 64], data_train_y int[data_train_n], data_test_x [data_test_n, 64], data_test_y
    int[data_test_n] -> [], []
    """
    return cross_entropy(net(data_train_x), data_train_y), accuracy(net(data_test_x), data_test_y)  # experiments.lee:89


def mirrored(image):
    """Left and right exchanged.

    image [n, c, h, w] -> [n, c, h, w]
    """
    y = np.flip(image, (3,))  # [n, c, h, w]  experiments.lee:98
    return y  # [n, c, h, w]


def mirrored_backward(d_y):
    """From d_y to the gradient by image."""
    # gradient of y[r, k, i, j in w] = image[r, k, i, w - 1 - j]   experiments.lee:98
    d_image = np.flip(d_y, (3,))  # [n, c, h, w]
    return d_image  # [n, c, h, w]


def mismatched(epochs=10, batch=64, rate=0.3, noise=0.3, *, run=None):
    """What was learned on clean digits fails on noisy and on mirrored ones, however little it overfits."""
    from leec.runtime.run import Run

    run = run or Run("mismatched")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.3,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = MLP(sizes=(64, 32, 10), key=run.key("net"))  # experiments.lee:105
    opt = SGD(lr=rate)  # experiments.lee:106
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for image, y in run.batches("batches", data.train, batch, shuffle=True):
            run.step(mismatched_step(net, opt, image, y))  # experiments.lee:109
    other = mismatched_other(data.test.x, noise, key=run.key("mismatched"))  # experiments.lee:110
    reported_same, reported_noisy, reported_mirrored = mismatched_same_noisy_mirrored(
        net, data.test.x, data.test.y, other
    )
    run.report(same=reported_same, noisy=reported_noisy, mirrored=reported_mirrored)  # experiments.lee:111
    return net


def mismatched_step(net, opt, image, y):
    """One step of mismatched."""
    batches_n = image.shape[0]
    image_flat = image.reshape(batches_n, 64)  # [batches_n, 64]  experiments.lee:109
    add_2, saved_net = net.forward_saved(image_flat)
    d_add_2 = cross_entropy_backward(add_2, y, FLOAT(1.0))  # [batches_n, 10]
    d_net = net.forward_backward_parameters(image_flat, saved_net, d_add_2)
    opt.update(net.parameters, net.flat(d_net))
    return cross_entropy(add_2, y)


def mismatched_other(data_test_x, noise, key):
    """data_test_x [data_test_n, 1, 8, 8] -> [data_test_n, 1, 8, 8]"""
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["other"])  # experiments.lee:110
    other = noise * normal(key_2, (data_test_n, 1, 8, 8), FLOAT)  # [data_test_n, 1, 8, 8]
    return other  # [data_test_n, 1, 8, 8]


def mismatched_same_noisy_mirrored(net, data_test_x, data_test_y, other):
    """data_test_x [data_test_n, 1, 8, 8], data_test_y int[data_test_n], other [data_test_n, 1, 8, 8] -> [], [], []"""
    data_test_n = data_test_x.shape[0]
    same = accuracy(net(data_test_x.reshape(data_test_n, 64)), data_test_y)  # experiments.lee:111
    noisy = accuracy(net((data_test_x + other).reshape(data_test_n, 64)), data_test_y)
    mirrored_ = accuracy(net(mirrored(data_test_x).reshape(data_test_n, 64)), data_test_y)  # experiments.lee:114
    return same, noisy, mirrored_


def example_sharp(key):
    net = MLP((4, 3, 3), key=fold(key, SITES["net"]))  # experiments.lee:119
    x = normal(fold(key, SITES["x"]), (8, 4), FLOAT)  # [8, 4]  experiments.lee:120
    y = randint(fold(key, SITES["y"]), (8,), 0, 3)  # int[8]  experiments.lee:121
    return cross_entropy(net(x), y), sharpness(net, x, y, 3)  # experiments.lee:122


def example_spread(key):
    x = normal(fold(key, SITES["x"]), (7,), FLOAT)  # [7]  experiments.lee:126
    y = normal(fold(key, SITES["y"]), (4, 7), FLOAT)  # [4, 7]  experiments.lee:127
    at = normal(fold(key, SITES["at"]), (5,), FLOAT)  # [5]  experiments.lee:128
    ideal = normal(fold(key, SITES["ideal"]), (5,), FLOAT)  # [5]  experiments.lee:129
    add_2, saved_parabola = parabola_saved(x, y, at)  # experiments.lee:130
    bias, variance, saved_bias_and_variance = bias_and_variance_saved(add_2, ideal)
    d_variance = FLOAT(2.0)  # experiments.lee:131
    # experiments.lee:130
    d_add_2, d_ideal = bias_and_variance_backward(saved_bias_and_variance, FLOAT(1.0), d_variance)
    d_x, d_y, d_at = parabola_backward(x, y, saved_parabola, d_add_2)
    return bias + 2 * variance, d_x, d_y, d_at, d_ideal


def example_counted(key):
    net = MLP((4, 3, 3), key=fold(key, SITES["net"]))  # experiments.lee:135
    # experiments.lee:136
    return parameters(net), net.at(
        {
            "layers.0": {"w": np.zeros((4, 3), dtype=FLOAT), "b": np.zeros(3, dtype=FLOAT)},
            "layers.1": {"w": np.zeros((3, 3), dtype=FLOAT), "b": np.zeros(3, dtype=FLOAT)},
        }
    )


def example_turned_round(key):
    image = normal(fold(key, SITES["image"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  experiments.lee:140
    c = normal(fold(key, SITES["c"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  experiments.lee:141
    d_c = mirrored(image)  # [2, 3, 4, 5]  experiments.lee:142
    return (c * d_c).sum(), mirrored_backward(c), d_c


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


def cross_entropy_backward_saved(z, y, d_out):
    """From d_out to the gradient by z."""
    rows, k = z.shape
    # gradient of return reduced(surprise, reduce)   losses.lee:46
    d_surprise = reduced_backward(rows, d_out)  # [rows]
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

    def forward_backward_backward(self, x, d_add, d_d_self, d_d_x):
        """From d_add, d_d_self and d_d_x to the gradients by the parameters, x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return {"w": d_w}, d_x, d_d_add

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(axis=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_parameters_backward(x, d_d_self):
        """From d_d_self to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = x @ d_d_self["w"] + d_d_self["b"]  # [rows, outputs]
        return d_d_add  # [rows, outputs]


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

    def forward_backward_parameters(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}

    def forward_backward_parameters_saved(self, x, x_2, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, saved_relu_backward

    def forward_backward_parameters_backward(self, x, x_2, d_add_2, saved_relu_backward, d_d_self):
        """From d_add_2 and d_d_self to the gradients by the parameters, x_2 and d_add_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        return {"layers.1": d_layers_1_}, d_x_2, d_d_add_2

    def forward_saved_backward_parameters(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}


class MLP_2(Model):
    """Linear layers with relu between them: MLP((64, 128, 10)) has one hidden layer of 128."""

    members = ("layers",)

    def __init__(self, sizes, *, key=(0, 0)):
        self.sizes = sizes
        # nn.lee:37
        self.layers = [
            Linear(sizes[0], sizes[1], key=fold(key, SITES["layers.0"])),
            Linear(sizes[1], sizes[2], key=fold(key, SITES["layers.1"])),
            Linear(sizes[2], sizes[3], key=fold(key, SITES["layers.2"])),
            Linear(sizes[3], sizes[4], key=fold(key, SITES["layers.3"])),
        ]
        self.lay_out()

    def forward(self, x):
        """x [x_0, sizes_0] -> [x_0, sizes_4]"""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        x_4 = relu(self.layers[2](x_3))  # [x_0, sizes_3]
        return self.layers[3](x_4)  # [x_0, sizes_4]  nn.lee:42

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2 = relu(self.layers[0](x))  # [x_0, sizes_1]  nn.lee:41
        x_3 = relu(self.layers[1](x_2))  # [x_0, sizes_2]
        x_4 = relu(self.layers[2](x_3))  # [x_0, sizes_3]
        return self.layers[3](x_4), (x_2, x_3, x_4)  # nn.lee:42

    def forward_backward_parameters(self, x, saved, d_y):
        """From d_y to the gradient by the parameters."""
        x_2, x_3, x_4 = saved
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_3_, d_x_4 = self.layers[3].forward_backward(x_4, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_2_, d_x_3 = self.layers[2].forward_backward(x_3, relu_backward(x_4, d_x_4))
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, relu_backward(x_3, d_x_3))
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_, "layers.2": d_layers_2_, "layers.3": d_layers_3_}


class SGD(Optimizer):
    """θ ← θ - η (g + λ θ)"""

    def __init__(self, lr=0.01, weight_decay=0.0):
        self.lr, self.weight_decay = lr, weight_decay

    def update(self, parameters_, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters_)
        for θ, g in blocks(parameters_, gradient):
            θ -= self.lr * (g + self.weight_decay * θ)  # [count]  optim.lee:11


def stop(x):
    """x, through which no gradient flows."""
    return x.copy()


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


def dot(x, y):
    """Σ xᵢ yᵢ over all entries.

    x [x_0], y [x_0] -> []
    """
    return (x * y).sum()  # prelude.lee:158


def dot_backward(x, y, d_out):
    """From d_out to the gradients by x and y."""
    # gradient of return sum(x * y)   prelude.lee:158
    d_x = d_out * y  # [x_0]
    d_y = d_out * x  # [x_0]
    return d_x, d_y


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "at": 0xDB48EBEF0A7E0AB1,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "ideal": 0xCB215D3486A74B39,
    "image": 0x86C9701471CF0710,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "layers.2": 0xA380C36DF3DD4243,
    "layers.3": 0x4FB19B7CE8399B01,
    "net": 0xF087C76970C91612,
    "other": 0xAF93053850CE50D6,
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


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


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
