"""Glow (inventory H9; Kingma & Dhariwal 2018): normalisation, an invertible mixing of channels, and affine coupling.

Every layer gives its result and log |det J|, J being its Jacobian; every layer has its inverse.

Made from specs/generative/glow.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/generative/glow.lee
"""

from __future__ import annotations

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


class ActNorm(Model):
    """(x + shift) · e^log_scale, one pair of numbers a channel."""

    members = ("shift", "log_scale")

    def __init__(self, channels):
        self.channels = channels
        self.shift = np.zeros(channels, dtype=FLOAT)  # [channels]  glow.lee:14
        self.log_scale = np.zeros(channels, dtype=FLOAT)  # [channels]
        self.lay_out()

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        _, _, rows, cols = x.shape
        # [n, channels, rows, cols]  glow.lee:18
        y = (x + self.shift[:, None, None]) * np.exp(self.log_scale)[:, None, None]
        return y, cols * rows * self.log_scale.sum()  # glow.lee:19

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        _, _, rows, cols = x.shape
        add = x + self.shift[:, None, None]  # [n, channels, rows, cols]  glow.lee:18
        exp_log_scale = np.exp(self.log_scale)  # [channels]
        y = add * exp_log_scale[:, None, None]  # [n, channels, rows, cols]
        return y, cols * rows * self.log_scale.sum(), (add, exp_log_scale)  # glow.lee:19

    @staticmethod
    def forward_backward(saved, d_y, d_y_):
        """From d_y and d_y to the gradients by the parameters and x."""
        add, exp_log_scale = saved
        _, _, rows, cols = add.shape
        # gradient of y = (x + shift[:, None, None]) * exp(log_scale)[:, None, None]   glow.lee:18
        d_x = d_y * exp_log_scale[:, None, None]  # [n, channels, rows, cols]
        d_shift = d_x.sum(axis=0).sum(axis=(1, 2))  # [channels]
        d_log_scale_3 = (d_y * add).sum(axis=0).sum(axis=(1, 2)) * exp_log_scale  # [channels]
        d_log_scale = d_y_ * (cols * rows) + d_log_scale_3  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_x

    @staticmethod
    def forward_backward_2(saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        add, exp_log_scale = saved
        # gradient of y = (x + shift[:, None, None]) * exp(log_scale)[:, None, None]   glow.lee:18
        d_x = d_y * exp_log_scale[:, None, None]  # [n, channels, rows, cols]
        d_log_scale = (d_y * add).sum(axis=0).sum(axis=(1, 2)) * exp_log_scale  # [channels]
        d_shift = d_x.sum(axis=0).sum(axis=(1, 2))  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_x

    @staticmethod
    def forward_backward_parameters(saved, d_y, d_y_):
        """From d_y and d_y to the gradient by the parameters."""
        add, exp_log_scale = saved
        _, _, rows, cols = add.shape
        # gradient of y = (x + shift[:, None, None]) * exp(log_scale)[:, None, None]   glow.lee:18
        d_shift = (d_y * exp_log_scale[:, None, None]).sum(axis=0).sum(axis=(1, 2))  # [channels]
        d_log_scale_3 = (d_y * add).sum(axis=0).sum(axis=(1, 2)) * exp_log_scale  # [channels]
        d_log_scale = d_y_ * (cols * rows) + d_log_scale_3  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        mul = y * np.exp(-self.log_scale)[:, None, None]  # [n, channels, rows, cols]  glow.lee:22
        return mul - self.shift[:, None, None]  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        exp = np.exp(-self.log_scale)  # [channels]  glow.lee:22
        return y * exp[:, None, None] - self.shift[:, None, None], exp

    @staticmethod
    def inverse_backward(y, exp, d_out):
        """From d_out to the gradients by the parameters and y."""
        channels = y.shape[1]
        # gradient of return y * exp(-log_scale)[:, None, None] - shift[:, None, None]   glow.lee:22
        d_shift = (-d_out.sum(axis=0).sum(axis=(1, 2), keepdims=True)).reshape(channels)  # [channels]
        d_y = d_out * exp[:, None, None]  # [n, channels, rows, cols]
        d_log_scale = -((d_out * y).sum(axis=0).sum(axis=(1, 2)) * exp)  # [channels]
        return {"shift": d_shift, "log_scale": d_log_scale}, d_y


def fitted(layer, x):
    """With it the first batch comes out with mean 0 and variance 1.

    x [n, layer.channels, rows, cols] -> ActNorm
    """
    return layer.at({"shift": -x.mean(axis=(0, 2, 3)), "log_scale": -np.log(std(x) + 1e-6)})  # glow.lee:28


def fitted_saved(layer, x):
    """As fitted, and what its gradient needs."""
    sqrt, saved_std = std_saved(x)  # glow.lee:28
    add = sqrt + 1e-6  # [layer.channels]
    return layer.at({"shift": -x.mean(axis=(0, 2, 3)), "log_scale": -np.log(add)}), (sqrt, saved_std, add)


def fitted_backward_input(saved, d_actnorm):
    """From d_actnorm to the gradient by x."""
    sqrt, saved_std, add = saved
    n, _, rows, cols = saved_std[1].shape
    # gradient of layer.log_scale = -log(std(x, over = (n, rows, cols)) + 1e-6)   glow.lee:28
    d_x_2 = std_backward(saved_std, sqrt, 0, -(d_actnorm["log_scale"] / add))  # [n, layer.channels, rows, cols]
    # gradient of layer.shift = -mean(x, over = (n, rows, cols))   glow.lee:27
    div_3 = -d_actnorm["shift"] / (cols * n * rows)  # [layer.channels]
    d_x = d_x_2 + div_3[None, :, None, None]  # [n, layer.channels, rows, cols]
    return d_x  # [n, layer.channels, rows, cols]


class Invertible(Model):
    """A matrix for the channels of each pixel, at first a rotation."""

    members = ("weight",)

    def __init__(self, channels, *, key=(0, 0)):
        self.channels = channels
        key_2 = fold(key, SITES["weight"])  # glow.lee:34
        weight, _ = qr(normal(key_2, (channels, channels), FLOAT))
        self.weight = weight.copy()  # [channels, channels]
        self.lay_out()

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        n, _, rows, cols = x.shape
        contract = self.weight @ x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:37
        y = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        _, log_abs = np.linalg.slogdet(self.weight)  # glow.lee:38
        return y, cols * rows * log_abs  # glow.lee:39

    def forward_backward(self, x, d_y, d_y_):
        """From d_y and d_y to the gradients by the parameters and x."""
        n, _, rows, cols = x.shape
        # gradient of return y, rows * cols * log_abs   glow.lee:39
        d_log_abs = d_y_ * (cols * rows)
        # gradient of y[b, o, i, j] = sum[c](weight[o, c] * x[b, c, i, j])   glow.lee:37
        reshape = d_y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]
        contract = reshape @ x.reshape(n, self.channels, cols * rows).mT  # [n, channels, channels]
        d_x = (self.weight.T @ reshape).reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        d_weight = d_log_abs * np.linalg.inv(self.weight).T + contract.sum(axis=0)  # [channels, channels]
        return {"weight": d_weight}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        back = np.linalg.inv(self.weight)  # [channels, channels]  glow.lee:42
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:43
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        back = np.linalg.inv(self.weight)  # [channels, channels]  glow.lee:42
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:43
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x, back

    @staticmethod
    def inverse_backward(y, back, d_x):
        """From d_x to the gradients by the parameters and y."""
        n, channels, rows, cols = y.shape
        # gradient of x[b, o, i, j] = sum[c](back[o, c] * y[b, c, i, j])   glow.lee:43
        reshape = d_x.reshape(n, channels, cols * rows)  # [n, channels, cols * rows]
        d_back = (reshape @ y.reshape(n, channels, cols * rows).mT).sum(axis=0)  # [channels, channels]
        d_y = (back.T @ reshape).reshape(n, channels, rows, cols)  # [n, channels, rows, cols]
        # gradient of back = inv(weight)   glow.lee:42
        d_weight = -(back.T @ d_back @ back.T)  # [channels, channels]
        return {"weight": d_weight}, d_y


class InvertibleLU(Model):
    """The same matrix as P L (U + diag s): its determinant is the product of s."""

    members = ("order", "direction", "lower", "upper", "log_s")
    states = ("order", "direction")

    def __init__(self, channels, *, key=(0, 0)):
        self.channels = channels
        key_2 = fold(key, SITES["start"])  # glow.lee:49
        start, _ = qr(normal(key_2, (channels, channels), FLOAT))
        order, lu_2, lu_3 = lu(start)  # glow.lee:50
        entries = diag(lu_3)  # [channels]  glow.lee:52
        self.order = order.copy()  # int[channels]  glow.lee:51
        self.direction = np.sign(entries)  # [channels]  glow.lee:52
        self.lower = lu_2.copy()  # [channels, channels]  glow.lee:50
        self.upper = lu_3.copy()  # [channels, channels]
        self.log_s = np.log(np.abs(entries))  # [channels]  glow.lee:55
        self.lay_out()

    def weight(self):
        reshape = np.arange(self.channels)[:, None]  # int[channels, 1]  glow.lee:58
        eq = reshape == np.arange(self.channels)  # bool[channels, channels]
        l = np.where(reshape > np.arange(self.channels), self.lower, eq.astype(FLOAT))  # [channels, channels]
        mul = self.direction[:, None] * np.exp(self.log_s[:, None])  # [channels, 1]  glow.lee:59
        u = np.where(reshape < np.arange(self.channels), self.upper, masked(mul, eq))  # [channels, channels]
        return (l @ u)[inside(self.order)]  # [channels, channels]  glow.lee:60

    def weight_saved(self):
        """As weight, and what its gradient needs."""
        reshape = np.arange(self.channels)[:, None]  # int[channels, 1]  glow.lee:58
        gt = reshape > np.arange(self.channels)  # bool[channels, channels]
        eq = reshape == np.arange(self.channels)  # bool[channels, channels]
        l = np.where(gt, self.lower, eq.astype(FLOAT))  # [channels, channels]
        lt = reshape < np.arange(self.channels)  # bool[channels, channels]  glow.lee:59
        exp_2 = np.exp(self.log_s[:, None])  # [channels, 1]
        u = np.where(lt, self.upper, masked(self.direction[:, None] * exp_2, eq))  # [channels, channels]
        saved = gt, eq, l, lt, ~lt & eq, np.broadcast_to(exp_2, (self.channels, self.channels)), u
        return (l @ u)[inside(self.order)], saved  # glow.lee:60

    def weight_backward(self, saved, d_y):
        """From d_y to the gradient by the parameters."""
        gt, eq, l, lt, logical_and, exp, u = saved
        # gradient of return (l @ u)[order]   glow.lee:60
        d_contract = scatter_add(d_y, (self.order,), (self.channels, self.channels))  # [channels, channels]
        d_l = d_contract @ u.T  # [channels, channels]
        d_u = l.T @ d_contract  # [channels, channels]
        # gradient of u[i, j] = where(i < j, upper[i, j], where(i == j, direction[i] * exp(log_s[i]..   glow.lee:59
        d_upper = masked(d_u, lt)  # [channels, channels]
        masked_ = masked(d_u * self.direction[:, None] * exp, logical_and)  # [channels, channels]
        d_log_s = np.where(lt, 0, masked(masked_, eq)).sum(axis=1)  # [channels]
        # gradient of l[i, j] = where(i > j, lower[i, j], float(i == j))   glow.lee:58
        d_lower = masked(d_l, gt)  # [channels, channels]
        return {"lower": d_lower, "upper": d_upper, "log_s": d_log_s}

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], []"""
        n, _, rows, cols = x.shape
        a = self.weight()  # [channels, channels]  glow.lee:63
        contract = a @ x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:64
        y = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return y, cols * rows * self.log_s.sum()  # glow.lee:65

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, rows, cols = x.shape
        a, saved_self = self.weight_saved()  # glow.lee:63
        contract = a @ x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:64
        y = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return y, cols * rows * self.log_s.sum(), (a, saved_self)  # glow.lee:65

    def forward_backward(self, x, saved, d_y, d_y_):
        """From d_y and d_y to the gradients by the parameters and x."""
        a, saved_self = saved
        n, _, rows, cols = x.shape
        # gradient of y[b, o, i, j] = sum[c](a[o, c] * x[b, c, i, j])   glow.lee:64
        reshape = d_y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]
        d_a = (reshape @ x.reshape(n, self.channels, cols * rows).mT).sum(axis=0)  # [channels, channels]
        d_x = (a.T @ reshape).reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        # gradient of a = weight()   glow.lee:63
        d_invertiblelu = self.weight_backward(saved_self, d_a)
        d_log_s = d_y_ * (cols * rows) + d_invertiblelu["log_s"]  # [channels]
        return {"lower": d_invertiblelu["lower"], "upper": d_invertiblelu["upper"], "log_s": d_log_s}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        back = np.linalg.inv(self.weight())  # [channels, channels]  glow.lee:68
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:69
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        gather, saved_self = self.weight_saved()  # glow.lee:68
        back = np.linalg.inv(gather)  # [channels, channels]
        contract = back @ y.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]  glow.lee:69
        x = contract.reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        return x, (saved_self, back)

    def inverse_backward(self, y, saved, d_x):
        """From d_x to the gradients by the parameters and y."""
        saved_self, back = saved
        n, _, rows, cols = y.shape
        # gradient of x[b, o, i, j] = sum[c](back[o, c] * y[b, c, i, j])   glow.lee:69
        reshape = d_x.reshape(n, self.channels, cols * rows)  # [n, channels, cols * rows]
        d_back = (reshape @ y.reshape(n, self.channels, cols * rows).mT).sum(axis=0)  # [channels, channels]
        d_y = (back.T @ reshape).reshape(n, self.channels, rows, cols)  # [n, channels, rows, cols]
        # gradient of back = inv(weight())   glow.lee:68
        d_invertiblelu = self.weight_backward(saved_self, -(back.T @ d_back @ back.T))
        return d_invertiblelu, d_y


class ChannelCoupling(Model):
    """Half of the channels says how the other half is scaled and shifted."""

    members = ("inner", "outer")

    def __init__(self, channels, hidden=64, *, key=(0, 0)):
        self.channels, self.hidden = channels, hidden
        if channels % 2 != 0:
            raise ValueError(f"glow.lee:75: channels % 2 == 0 must hold: channels = {channels}")
        self.inner = Conv(channels // 2, hidden, padding=1, key=fold(key, SITES["inner"]))  # glow.lee:76
        self.outer = Conv(hidden, channels, padding=1, key=fold(key, SITES["outer"]))  # glow.lee:77
        self.lay_out()

    def change(self, a):
        """a [n, channels // 2, rows, cols] -> [n, channels // 2, rows, cols], [n, channels - channels // 2, rows,
        cols]
        """
        h = self.outer(relu(self.inner(a)))  # [n, channels, rows, cols]  glow.lee:80
        return np.tanh(h[:, : self.channels // 2]), h[:, self.channels // 2 :]  # glow.lee:81

    def change_saved(self, a):
        """As change, and what its gradient needs."""
        select = relu(self.inner(a))  # [n, hidden, rows, cols]  glow.lee:80
        h = self.outer(select)  # [n, channels, rows, cols]
        return np.tanh(h[:, : self.channels // 2]), h[:, self.channels // 2 :], select  # glow.lee:81

    def change_backward(self, a, select, tanh, d_tanh, d_slice_2):
        """From d_tanh and d_slice_2 to the gradients by the parameters and a."""
        # gradient of h = outer(relu(inner(a)))   glow.lee:80
        d_h = np.concatenate((d_tanh * (1 - tanh**2), d_slice_2), axis=1)  # [n, channels, rows, cols]
        d_outer, d_select = self.outer.forward_backward(select, d_h)
        d_inner, d_a = self.inner.forward_backward(a, relu_backward(select, d_select))
        return {"inner": d_inner, "outer": d_outer}, d_a

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]"""
        n, _, rows, cols = x.shape
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:84
        s, t = self.change(a)  # glow.lee:85
        exp_s = np.exp(s)  # [n, channels // 2, rows, cols]  glow.lee:86
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        add = x[:, self.channels // 2 :] * reshape + t  # [n, channels - channels // 2, rows, cols]
        return np.concatenate((a, add), axis=1), s.sum(axis=(1, 2, 3))

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, rows, cols = x.shape
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:84
        s, t, saved_self = self.change_saved(a)  # glow.lee:85
        exp_s = np.exp(s)  # [n, channels // 2, rows, cols]  glow.lee:86
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        add = x[:, self.channels // 2 :] * reshape + t  # [n, channels - channels // 2, rows, cols]
        return np.concatenate((a, add), axis=1), s.sum(axis=(1, 2, 3)), (s, saved_self, exp_s)

    def forward_backward(self, x, saved, d_concat, d_sum):
        """From d_concat and d_sum to the gradients by the parameters and x."""
        s, saved_self, exp_s = saved
        n, _, rows, cols = x.shape
        # gradient of a = x[:, : channels // 2]   glow.lee:84
        a = x[:, : self.channels // 2]  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp_s.reshape(n, self.channels - self.channels // 2, rows, cols)
        # gradient of return concat(a, x[:, channels // 2 :] * exp(s) + t, axis = 1), sum(s, axis =..   glow.lee:86
        d_t = d_concat[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_reshape = d_t * x[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_s_3 = d_reshape.reshape(n, self.channels // 2, rows, cols) * exp_s  # [n, channels // 2, rows, cols]
        # gradient of s, t = change(a)   glow.lee:85
        d_s = d_sum[:, None, None, None] + d_s_3  # [n, channels // 2, rows, cols]
        d_channelcoupling, d_a_3 = self.change_backward(a, saved_self, s, d_s, d_t)
        # gradient of a = x[:, : channels // 2]   glow.lee:84
        d_a = d_concat[:, : self.channels // 2] + d_a_3  # [n, channels // 2, rows, cols]
        d_x = np.concatenate((d_a, d_t * reshape), axis=1)  # [n, channels, rows, cols]
        return d_channelcoupling, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        n, _, rows, cols = y.shape
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:89
        s, t = self.change(a)  # glow.lee:90
        exp = np.exp(-s)  # [n, channels // 2, rows, cols]  glow.lee:91
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        mul = (y[:, self.channels // 2 :] - t) * reshape  # [n, channels - channels // 2, rows, cols]
        return np.concatenate((a, mul), axis=1)  # [n, channels, rows, cols]

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        n, _, rows, cols = y.shape
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]  glow.lee:89
        s, t, saved_self = self.change_saved(a)  # glow.lee:90
        sub = y[:, self.channels // 2 :] - t  # [n, channels - channels // 2, rows, cols]  glow.lee:91
        exp = np.exp(-s)  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        return np.concatenate((a, sub * reshape), axis=1), (s, saved_self, sub, exp)

    def inverse_backward(self, y, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        s, saved_self, sub, exp = saved
        n, _, rows, cols = y.shape
        # gradient of a = y[:, : channels // 2]   glow.lee:89
        a = y[:, : self.channels // 2]  # [n, channels // 2, rows, cols]
        # [n, channels - channels // 2, rows, cols]
        reshape = exp.reshape(n, self.channels - self.channels // 2, rows, cols)
        # gradient of return concat(a, (y[:, channels // 2 :] - t) * exp(-s), axis = 1)   glow.lee:91
        d_mul = d_out[:, self.channels // 2 :]  # [n, channels - channels // 2, rows, cols]
        d_sub = d_mul * reshape  # [n, channels - channels // 2, rows, cols]
        d_exp = (d_mul * sub).reshape(n, self.channels // 2, rows, cols)  # [n, channels // 2, rows, cols]
        d_s = -(d_exp * exp)  # [n, channels // 2, rows, cols]
        d_t = -d_sub  # [n, channels - channels // 2, rows, cols]
        # gradient of s, t = change(a)   glow.lee:90
        d_channelcoupling, d_a_3 = self.change_backward(a, saved_self, s, d_s, d_t)
        # gradient of a = y[:, : channels // 2]   glow.lee:89
        d_a = d_out[:, : self.channels // 2] + d_a_3  # [n, channels // 2, rows, cols]
        d_y = np.concatenate((d_a, d_sub), axis=1)  # [n, channels, rows, cols]
        return d_channelcoupling, d_y


class Step(Model):
    """Step(channels, hidden)"""

    members = ("norm1", "mix", "couple")

    def __init__(self, channels, hidden=64, *, key=(0, 0)):
        self.channels, self.hidden = channels, hidden
        self.norm1 = ActNorm(channels)  # glow.lee:95
        self.mix = InvertibleLU(channels, key=fold(key, SITES["mix"]))  # glow.lee:96
        self.couple = ChannelCoupling(channels, hidden=hidden, key=fold(key, SITES["couple"]))  # glow.lee:97
        self.lay_out()

    def forward(self, x):
        """x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]"""
        x_2, one = self.norm1(x)  # glow.lee:100
        x_3, two = self.mix(x_2)  # glow.lee:101
        x_4, three = self.couple(x_3)  # glow.lee:102
        return x_4, one + two + three  # glow.lee:103

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, one, saved_norm1 = self.norm1.forward_saved(x)  # glow.lee:100
        x_3, two, saved_mix = self.mix.forward_saved(x_2)  # glow.lee:101
        x_4, three, saved_couple = self.couple.forward_saved(x_3)  # glow.lee:102
        return x_4, one + two + three, (x_2, saved_norm1, x_3, saved_mix, saved_couple)  # glow.lee:103

    def forward_backward(self, saved, d_x_4, d_y):
        """From d_x_4 and d_y to the gradients by the parameters and x."""
        x_2, saved_norm1, x_3, saved_mix, saved_couple = saved
        # gradient of return x, one + two + three   glow.lee:103
        d_two = d_y.sum()
        # gradient of x, three = couple(x)   glow.lee:102
        d_couple, d_x_3 = self.couple.forward_backward(x_3, saved_couple, d_x_4, d_y)
        # gradient of x, two = mix(x)   glow.lee:101
        d_mix, d_x_2 = self.mix.forward_backward(x_2, saved_mix, d_x_3, d_two)
        # gradient of x, one = norm1(x)   glow.lee:100
        d_norm1, d_x = ActNorm.forward_backward(saved_norm1, d_x_2, d_two)
        return {"norm1": d_norm1, "mix": d_mix, "couple": d_couple}, d_x

    def inverse(self, y):
        """y [n, channels, rows, cols] -> [n, channels, rows, cols]"""
        return self.norm1.inverse(self.mix.inverse(self.couple.inverse(y)))  # [n, channels, rows, cols]  glow.lee:106

    def inverse_saved(self, y):
        """As inverse, and what its gradient needs."""
        concat, saved_couple = self.couple.inverse_saved(y)  # glow.lee:106
        mix_out, saved_mix = self.mix.inverse_saved(concat)
        sub, saved_norm1 = self.norm1.inverse_saved(mix_out)
        return sub, (concat, saved_couple, mix_out, saved_mix, saved_norm1)

    def inverse_backward(self, y, saved, d_out):
        """From d_out to the gradients by the parameters and y."""
        concat, saved_couple, mix_out, saved_mix, saved_norm1 = saved
        # gradient of return norm1.inverse(mix.inverse(couple.inverse(y)))   glow.lee:106
        d_norm1, d_mix_out = ActNorm.inverse_backward(mix_out, saved_norm1, d_out)
        d_mix, d_concat = self.mix.inverse_backward(concat, saved_mix, d_mix_out)
        d_couple, d_y = self.couple.inverse_backward(y, saved_couple, d_concat)
        return {"norm1": d_norm1, "mix": d_mix, "couple": d_couple}, d_y


class Glow_2(Model):
    """Glow_2(channels, hidden)"""

    members = ("norm0", "steps")

    def __init__(self, channels, hidden=32, *, key=(0, 0)):
        self.channels, self.hidden = channels, hidden
        self.norm0 = ActNorm(channels)  # glow.lee:110
        # glow.lee:111
        self.steps = [
            Step(channels, hidden=hidden, key=fold(key, SITES["steps.0"])),
            Step(channels, hidden=hidden, key=fold(key, SITES["steps.1"])),
        ]
        self.lay_out()

    def forward(self, x):
        """From images to codes, and log |det J| for each.

        x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]
        """
        x_2, first = self.norm0(x)  # glow.lee:115
        x_3, more = self.steps[0](x_2)  # glow.lee:118
        total_2 = first + more  # [n]  glow.lee:119
        x_5, more_2 = self.steps[1](x_3)  # glow.lee:118
        total_3 = total_2 + more_2  # [n]  glow.lee:119
        return x_5, total_3

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, first, saved_norm0 = self.norm0.forward_saved(x)  # glow.lee:115
        x_3, more, saved_steps_0_ = self.steps[0].forward_saved(x_2)  # glow.lee:118
        total_2 = first + more  # [n]  glow.lee:119
        x_5, more_2, saved_steps_1_ = self.steps[1].forward_saved(x_3)  # glow.lee:118
        total_3 = total_2 + more_2  # [n]  glow.lee:119
        return x_5, total_3, (saved_norm0, saved_steps_0_, saved_steps_1_)

    def forward_backward(self, saved, d_x_5, d_total_3):
        """From d_x_5 and d_total_3 to the gradients by the parameters and x."""
        saved_norm0, saved_steps_0_, saved_steps_1_ = saved
        # gradient of x, more = step(x)   glow.lee:118
        d_steps_1_, d_x_3 = self.steps[1].forward_backward(saved_steps_1_, d_x_5, d_total_3)
        # gradient of total = total + more   glow.lee:119
        d_first = d_total_3.sum()
        # gradient of x, more = step(x)   glow.lee:118
        d_steps_0_, d_x_2 = self.steps[0].forward_backward(saved_steps_0_, d_x_3, d_total_3)
        # gradient of x, first = norm0(x)   glow.lee:115
        d_norm0, d_x = ActNorm.forward_backward(saved_norm0, d_x_2, d_first)
        return {"norm0": d_norm0, "steps.0": d_steps_0_, "steps.1": d_steps_1_}, d_x

    def inverse(self, z):
        """From codes to images.

        z [n, channels, rows, cols] -> [n, channels, rows, cols]
        """
        z_2 = self.steps[1].inverse(z)  # [n, channels, rows, cols]  glow.lee:125
        z_3 = self.steps[0].inverse(z_2)  # [n, channels, rows, cols]
        return self.norm0.inverse(z_3)  # [n, channels, rows, cols]  glow.lee:126

    def inverse_saved(self, z):
        """As inverse, and what its gradient needs."""
        z_2, saved_steps_1_ = self.steps[1].inverse_saved(z)  # glow.lee:125
        z_3, saved_steps_0_ = self.steps[0].inverse_saved(z_2)
        sub, saved_norm0 = self.norm0.inverse_saved(z_3)  # glow.lee:126
        return sub, (z_2, saved_steps_1_, z_3, saved_steps_0_, saved_norm0)

    def inverse_backward(self, z, saved, d_y):
        """From d_y to the gradients by the parameters and z."""
        z_2, saved_steps_1_, z_3, saved_steps_0_, saved_norm0 = saved
        # gradient of return norm0.inverse(z)   glow.lee:126
        d_norm0, d_z_3 = ActNorm.inverse_backward(z_3, saved_norm0, d_y)
        # gradient of z = step.inverse(z)   glow.lee:125
        d_steps_0_, d_z_2 = self.steps[0].inverse_backward(z_2, saved_steps_0_, d_z_3)
        d_steps_1_, d_z = self.steps[1].inverse_backward(z, saved_steps_1_, d_z_2)
        return {"norm0": d_norm0, "steps.0": d_steps_0_, "steps.1": d_steps_1_}, d_z


class Glow_3(Model):
    """Glow_3(channels, hidden)"""

    members = ("norm0", "steps")

    def __init__(self, channels, hidden=32, *, key=(0, 0)):
        self.channels, self.hidden = channels, hidden
        self.norm0 = ActNorm(channels)  # glow.lee:110
        # glow.lee:111
        self.steps = [
            Step(channels, hidden=hidden, key=fold(key, SITES["steps.0"])),
            Step(channels, hidden=hidden, key=fold(key, SITES["steps.1"])),
            Step(channels, hidden=hidden, key=fold(key, SITES["steps.2"])),
            Step(channels, hidden=hidden, key=fold(key, SITES["steps.3"])),
        ]
        self.lay_out()

    def forward(self, x):
        """From images to codes, and log |det J| for each.

        x [n, channels, rows, cols] -> [n, channels, rows, cols], [n]
        """
        x_2, first = self.norm0(x)  # glow.lee:115
        x_3, more = self.steps[0](x_2)  # glow.lee:118
        total_2 = first + more  # [n]  glow.lee:119
        x_5, more_2 = self.steps[1](x_3)  # glow.lee:118
        total_3 = total_2 + more_2  # [n]  glow.lee:119
        x_6, more_3 = self.steps[2](x_5)  # glow.lee:118
        total_4 = total_3 + more_3  # [n]  glow.lee:119
        x_7, more_4 = self.steps[3](x_6)  # glow.lee:118
        total_5 = total_4 + more_4  # [n]  glow.lee:119
        return x_7, total_5

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, first, saved_norm0 = self.norm0.forward_saved(x)  # glow.lee:115
        x_3, more, saved_steps_0_ = self.steps[0].forward_saved(x_2)  # glow.lee:118
        total_2 = first + more  # [n]  glow.lee:119
        x_5, more_2, saved_steps_1_ = self.steps[1].forward_saved(x_3)  # glow.lee:118
        total_3 = total_2 + more_2  # [n]  glow.lee:119
        x_6, more_3, saved_steps_2_ = self.steps[2].forward_saved(x_5)  # glow.lee:118
        total_4 = total_3 + more_3  # [n]  glow.lee:119
        x_7, more_4, saved_steps_3_ = self.steps[3].forward_saved(x_6)  # glow.lee:118
        total_5 = total_4 + more_4  # [n]  glow.lee:119
        saved = saved_norm0, saved_steps_0_, saved_steps_1_, saved_steps_2_, saved_steps_3_
        return x_7, total_5, saved

    def forward_backward_parameters(self, saved, d_x_7, d_total_5):
        """From d_x_7 and d_total_5 to the gradient by the parameters."""
        saved_norm0, saved_steps_0_, saved_steps_1_, saved_steps_2_, saved_steps_3_ = saved
        # gradient of x, more = step(x)   glow.lee:118
        d_steps_3_, d_x_6 = self.steps[3].forward_backward(saved_steps_3_, d_x_7, d_total_5)
        d_steps_2_, d_x_5 = self.steps[2].forward_backward(saved_steps_2_, d_x_6, d_total_5)
        d_steps_1_, d_x_3 = self.steps[1].forward_backward(saved_steps_1_, d_x_5, d_total_5)
        # gradient of total = total + more   glow.lee:119
        d_first = d_total_5.sum()
        # gradient of x, more = step(x)   glow.lee:118
        d_steps_0_, d_x_2 = self.steps[0].forward_backward(saved_steps_0_, d_x_3, d_total_5)
        # gradient of x, first = norm0(x)   glow.lee:115
        d_norm0 = ActNorm.forward_backward_parameters(saved_norm0, d_x_2, d_first)
        return {
            "norm0": d_norm0,
            "steps.0": d_steps_0_,
            "steps.1": d_steps_1_,
            "steps.2": d_steps_2_,
            "steps.3": d_steps_3_,
        }

    def inverse(self, z):
        """From codes to images.

        z [n, channels, rows, cols] -> [n, channels, rows, cols]
        """
        z_2 = self.steps[3].inverse(z)  # [n, channels, rows, cols]  glow.lee:125
        z_3 = self.steps[2].inverse(z_2)  # [n, channels, rows, cols]
        z_4 = self.steps[1].inverse(z_3)  # [n, channels, rows, cols]
        z_5 = self.steps[0].inverse(z_4)  # [n, channels, rows, cols]
        return self.norm0.inverse(z_5)  # [n, channels, rows, cols]  glow.lee:126


def likelihood_saved(net, x):
    """As likelihood, and what its gradient needs."""
    _, _, rows, cols = x.shape
    z, log_det, saved_net = net.forward_saved(x)  # glow.lee:131
    prior = -0.5 * (z**2 + 1.8378770664093453).sum(axis=(1, 2, 3))  # [n]  glow.lee:132
    return -((prior + log_det).mean() / (cols * net.channels * rows)), (z, saved_net)  # glow.lee:133


def likelihood_backward(net, saved, d_div):
    """From d_div to the gradients by net and x."""
    z, saved_net = saved
    n, _, rows, cols = z.shape
    # gradient of return -mean(prior + log_det) / (c * rows * cols)   glow.lee:133
    neg = -(d_div / (cols * net.channels * rows) / n)
    d_prior = np.broadcast_to(neg, (n,))  # [n]
    # gradient of z, log_det = net(x)   glow.lee:131
    d_z = 2 * (neg * -0.5) * z  # [n, net.channels, rows, cols]
    d_net, d_x = net.forward_backward(saved_net, d_z, d_prior)
    return d_net, d_x


def likelihood_2(net, x):
    """-log p(x) for each number of an image, under a normal distribution of codes.

    x [n, net.channels, rows, cols] -> []
    """
    _, _, rows, cols = x.shape
    z, log_det = net(x)  # glow.lee:131
    prior = -0.5 * (z**2 + 1.8378770664093453).sum(axis=(1, 2, 3))  # [n]  glow.lee:132
    return -((prior + log_det).mean() / (cols * net.channels * rows))  # glow.lee:133


def likelihood_2_saved(net, x):
    """As likelihood_2, and what its gradient needs."""
    _, _, rows, cols = x.shape
    z, log_det, saved_net = net.forward_saved(x)  # glow.lee:131
    prior = -0.5 * (z**2 + 1.8378770664093453).sum(axis=(1, 2, 3))  # [n]  glow.lee:132
    return -((prior + log_det).mean() / (cols * net.channels * rows)), (z, saved_net)  # glow.lee:133


def likelihood_2_backward_parameters(net, saved, d_y):
    """From d_y to the gradient by net."""
    z, saved_net = saved
    n, _, rows, cols = z.shape
    # gradient of return -mean(prior + log_det) / (c * rows * cols)   glow.lee:133
    neg = -(d_y / (cols * net.channels * rows) / n)
    d_prior = np.broadcast_to(neg, (n,))  # [n]
    # gradient of z, log_det = net(x)   glow.lee:131
    d_z = 2 * (neg * -0.5) * z  # [n, net.channels, rows, cols]
    d_net = net.forward_backward_parameters(saved_net, d_z, d_prior)
    return d_net


def squeezed(image):
    """Blocks of 2 × 2 pixels become channels.

    image [n, side, side] -> [n, 4, side // 2, side // 2]
    """
    side = image.shape[1]
    if side % 2 != 0:
        raise ValueError(f"glow.lee:138: side % 2 == 0 must hold: side = {side}")
    mul = np.arange(side // 2) * 2  # int[side // 2]  glow.lee:139
    reshape_3 = (mul + (np.arange(4) // 2)[:, None])[:, :, None]  # int[4, side // 2, 1]
    reshape_4 = (mul + (np.arange(4) % 2)[:, None])[:, None]  # int[4, 1, side // 2]
    gather = image.transpose((1, 2, 0))[inside(reshape_3), inside(reshape_4)]  # [4, side // 2, side // 2, n]
    y = gather.transpose(3, 0, 1, 2)  # [n, 4, side // 2, side // 2]
    return y  # [n, 4, side // 2, side // 2]


def squeezed_saved(image):
    """As squeezed, and what its gradient needs."""
    side = image.shape[1]
    if side % 2 != 0:
        raise ValueError(f"glow.lee:138: side % 2 == 0 must hold: side = {side}")
    mul = np.arange(side // 2) * 2  # int[side // 2]  glow.lee:139
    reshape_3 = (mul + (np.arange(4) // 2)[:, None])[:, :, None]  # int[4, side // 2, 1]
    reshape_4 = (mul + (np.arange(4) % 2)[:, None])[:, None]  # int[4, 1, side // 2]
    gather = image.transpose((1, 2, 0))[inside(reshape_3), inside(reshape_4)]  # [4, side // 2, side // 2, n]
    y = gather.transpose(3, 0, 1, 2)  # [n, 4, side // 2, side // 2]
    return y, (reshape_3, reshape_4)


def squeezed_backward(saved, side, d_y):
    """From d_y to the gradient by image."""
    reshape_3, reshape_4 = saved
    n = d_y.shape[0]
    # gradient of y[b, k in 4, i in side // 2, j in side // 2] = image[b, 2*i + k // 2, 2*j + k..   glow.lee:139
    d_gather = d_y.transpose(1, 2, 3, 0)  # [4, side // 2, side // 2, n]
    d_image = scatter_add(d_gather, (reshape_3, reshape_4), (n, side, side), (1, 2))  # [n, side, side]
    return d_image  # [n, side, side]


def continuous(x, u):
    """Of 17 grey levels, spread by uniform noise, numbers around 0: a density of these bounds the chance of a level.

    x [x_0, x_1, x_2], u [x_0, x_1, x_2] -> [x_0, x_1, x_2]
    """
    return (16 * x + u) / 17 - 0.5  # [x_0, x_1, x_2]  glow.lee:145


def continuous_backward(d_y):
    """From d_y to the gradients by x and u."""
    # gradient of return (16 * x + u) / 17 - 0.5   glow.lee:145
    d_u = d_y / 17  # [x_0, x_1, x_2]
    d_x = d_u * 16  # [x_0, x_1, x_2]
    return d_x, d_u


def bits_(nats):
    """log₂ for each pixel, of 17 levels that `continuous` made 1/17 apart: 4.09 if all of them were alike."""
    return nats / 0.6931471805599453 + 4.08746284125034  # glow.lee:150


def bits_backward(d_y):
    """From d_y to the gradient by nats."""
    # gradient of return nats / log(2) + log(17) / log(2)   glow.lee:150
    d_nats = d_y / 0.6931471805599453
    return d_nats


def fit(epochs=12, batch=64, rate=3e-3, *, run=None):
    """Digits, in bits a pixel."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data(
        "digits",
        domain="plain",
        shape=(8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 8, 8)), "y": ("int", ("n",))},
    )
    net = Glow_3(channels=4, key=run.key("net"))  # glow.lee:156
    fit_net(data.train.x, net, key=run.key("fit"))  # glow.lee:157
    opt = Adam(lr=rate)  # glow.lee:159
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, __ in run.batches("batches", data.train, batch, shuffle=True):
            run.step(fit_step(net, opt, x, key=run.key("fit")))  # glow.lee:162
        y, z = fit_y_z(data.test.x, net, key=run.key("fit"))  # glow.lee:164
        reported_bits, reported_astray = fit_bits_astray(net, y, z)  # glow.lee:167
        run.report(bits=reported_bits, astray=reported_astray)  # glow.lee:167
    return net


def fit_net(data_train_x, net, key):
    data_train_n = data_train_x.shape[0]
    u = uniform(fold(key, SITES["u"]), (data_train_n, 8, 8), FLOAT)  # [data_train_n, 8, 8]  glow.lee:157
    actnorm = fitted(net.norm0, squeezed(continuous(data_train_x, u)))  # glow.lee:158
    net.norm0.shift[...] = actnorm.shift  # [4]
    net.norm0.log_scale[...] = actnorm.log_scale  # [4]


def fit_step(net, opt, x, key):
    """One step of fit."""
    batches_n = x.shape[0]
    u = uniform(fold(key, SITES["u#2"]), (batches_n, 8, 8), FLOAT)  # [batches_n, 8, 8]  glow.lee:162
    loss, saved_likelihood_2 = likelihood_2_saved(net, squeezed(continuous(x, u)))  # glow.lee:163
    d_net = likelihood_2_backward_parameters(net, saved_likelihood_2, FLOAT(1.0))
    opt.update(net.parameters, net.flat(d_net))
    return loss


def fit_y_z(data_test_x, net, key):
    """data_test_x [data_test_n, 8, 8] -> [data_test_n, 4, 4, 4], [data_test_n, 4, 4, 4]"""
    data_test_n = data_test_x.shape[0]
    u = uniform(fold(key, SITES["u#3"]), (data_test_n, 8, 8), FLOAT)  # [data_test_n, 8, 8]  glow.lee:164
    y_2 = squeezed(continuous(data_test_x, u))  # [data_test_n, 4, 4, 4]  glow.lee:165
    z, _ = net(y_2)  # glow.lee:166
    return y_2, z


def fit_bits_astray(net, y, z):
    """y [data_test_n, 4, 4, 4], z [data_test_n, 4, 4, 4] -> [], []"""
    return bits_(likelihood_2(net, y)), np.abs(net.inverse(z) - y).max(initial=-np.inf)  # glow.lee:167


def example_likely(key):
    net = Glow_2(4, hidden=5, key=fold(key, SITES["net"]))  # glow.lee:172
    x = normal(fold(key, SITES["x"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:173
    value, saved_likelihood = likelihood_saved(net, x)  # glow.lee:174
    d_net, d_x = likelihood_backward(net, saved_likelihood, FLOAT(1.0))
    return value, net.at(d_net), d_x


def example_there_and_back(key):
    net = Glow_2(4, hidden=5, key=fold(key, SITES["net"]))  # glow.lee:178
    z = normal(fold(key, SITES["z"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:179
    c = normal(fold(key, SITES["c"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:180
    x, saved_net = net.inverse_saved(z)  # glow.lee:181
    d_net, d_z = net.inverse_backward(z, saved_net, c)
    return (c * x).sum(), net.at(d_net), d_z, x


def example_plain_matrix(key):
    net = Invertible(4, key=fold(key, SITES["net"]))  # glow.lee:188
    x = normal(fold(key, SITES["x"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:189
    c = normal(fold(key, SITES["c"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:190
    y_2, log_det = net(x)  # glow.lee:191
    net_out, saved_net = net.inverse_saved(x)  # glow.lee:192
    d_net, d_x_2 = Invertible.inverse_backward(x, saved_net, c)
    d_net_, d_x_3 = net.forward_backward(x, c, FLOAT(1.0))  # glow.lee:191
    return (
        (c * y_2).sum() + log_det + (c * net_out).sum(),
        net.at({"weight": d_net["weight"] + d_net_["weight"]}),
        d_x_2 + d_x_3,
        net_out + y_2,
    )


def example_first_batch(key):
    layer = ActNorm(4)  # glow.lee:196
    x = 2 + 3 * normal(fold(key, SITES["x"]), (3, 4, 2, 3), FLOAT)  # [3, 4, 2, 3]  glow.lee:197
    actnorm, saved_fitted = fitted_saved(layer, x)  # glow.lee:198
    y_2, _, saved_actnorm = actnorm.forward_saved(x)
    mul_3 = y_2**2  # [3, 4, 2, 3]  glow.lee:200
    d_y_2 = 2 * mul_3 + mul_3  # [3, 4, 2, 3]  glow.lee:198
    d_actnorm, d_x_2 = ActNorm.forward_backward_2(saved_actnorm, d_y_2)
    return (
        (mul_3 * y_2).sum(),
        layer.at({"shift": np.zeros(4, dtype=FLOAT), "log_scale": np.zeros(4, dtype=FLOAT)}),
        d_x_2 + fitted_backward_input(saved_fitted, d_actnorm),
    )


def example_pixels(key):
    image = uniform(fold(key, SITES["image"]), (2, 4, 4), FLOAT)  # [2, 4, 4]  glow.lee:204
    u = uniform(fold(key, SITES["u"]), (2, 4, 4), FLOAT)  # [2, 4, 4]  glow.lee:205
    c = normal(fold(key, SITES["c"]), (2, 4, 2, 2), FLOAT)  # [2, 4, 2, 2]  glow.lee:206
    d_c, saved_squeezed = squeezed_saved(continuous(image, u))  # glow.lee:207
    d_image_3, d_u = continuous_backward(squeezed_backward(saved_squeezed, 4, c))
    return (c * d_c).sum() + bits_(image.mean()), bits_backward(FLOAT(1.0)) / 32 + d_image_3, d_u, d_c


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return np.maximum(x, 0)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = masked(d_y, select > 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0, x_1, x_2, x_3] -> [x_1]
    """
    x_0, _, x_2, x_3 = x.shape
    sub = x - x.mean(axis=(0, 2, 3), keepdims=True)  # [x_0, x_1, x_2, x_3]  prelude.lee:168
    total = (sub**2).sum(axis=(0, 2, 3))  # [x_1]
    return total / (x_0 * x_2 * x_3 - ddof)  # [x_1]  prelude.lee:169


def var_saved(x, ddof=0):
    """As var, and what its gradient needs."""
    x_0, _, x_2, x_3 = x.shape
    sub = x - x.mean(axis=(0, 2, 3), keepdims=True)  # [x_0, x_1, x_2, x_3]  prelude.lee:168
    total = (sub**2).sum(axis=(0, 2, 3))  # [x_1]
    return total / (x_0 * x_2 * x_3 - ddof), sub  # prelude.lee:169


def var_backward(sub, ddof, d_y):
    """From d_y to the gradient by x."""
    x_0, _, x_2, x_3 = sub.shape
    # gradient of return total / (count(x) // count(total) - ddof)   prelude.lee:169
    d_total = d_y / (x_0 * x_2 * x_3 - ddof)  # [x_1]
    # gradient of total = sum((x - mean(x, axis = axis, keepdims = true)) ** 2, axis = axis, ke..   prelude.lee:168
    d_sub_2 = d_total[None, :, None, None] * sub  # [x_0, x_1, x_2, x_3]
    d_x_mean = (-2 * d_sub_2).sum(axis=(0, 2, 3), keepdims=True)  # [1, x_1, 1, 1]
    d_x = 2 * d_sub_2 + d_x_mean / (x_0 * x_2 * x_3)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def std(x, ddof=0):
    """√var

    x [x_0, x_1, x_2, x_3] -> [x_1]
    """
    return np.sqrt(var(x, ddof=ddof))  # [x_1]  prelude.lee:174


def std_saved(x, ddof=0):
    """As std, and what its gradient needs."""
    div, saved_var = var_saved(x, ddof=ddof)  # prelude.lee:174
    return np.sqrt(div), (div, saved_var)


def std_backward(saved, sqrt, ddof, d_y):
    """From d_y to the gradient by x."""
    div, saved_var = saved
    # gradient of return sqrt(var(x, axis = axis, ddof = ddof, keepdims = keepdims))   prelude.lee:174
    d_x = var_backward(saved_var, ddof, d_y * 0.5 / np.where(div > 0, sqrt, np.inf))  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def diag(x):
    """The matrix with the vector x on its diagonal and 0 elsewhere; of a matrix its diagonal.

    x [x_0, x_0] -> [x_0]
    """
    return diagonal(x)  # [x_0]  prelude.lee:229


def diagonal(x):
    """The diagonal of a matrix.

    x [n, n] -> [n]
    """
    entries = np.einsum("ii->i", x)  # [n]  prelude.lee:236
    return entries  # [n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "couple": 0x65E21FC424F0070A,
    "image": 0x86C9701471CF0710,
    "inner": 0xB0FF036CB99EC5F6,
    "kernel": 0x273FEA903E119357,
    "mix": 0x8568467C7E8A80DF,
    "net": 0xF087C76970C91612,
    "outer": 0x6AC5915904F79757,
    "start": 0xF7091535421F26A0,
    "steps.0": 0x823CA8CB76A41289,
    "steps.1": 0xAB44851C77898841,
    "steps.2": 0x3F39FB4796730F8A,
    "steps.3": 0x2B34ADC0F4BE6D84,
    "u": 0x08D267E10C593806,
    "u#2": 0xE9EDBA96EE81FF58,
    "u#3": 0x3BA7B40DC1585ACD,
    "weight": 0x84E02E3EDC717246,
    "x": 0x4F586EF96743DF4A,
    "z": 0x3041FD28A7B04184,
}


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


def qr(a):
    """q with orthonormal columns and r, upper triangular, with a = q @ r; the diagonal of r is never negative."""
    q, r = np.linalg.qr(a)
    sign = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1, 1).astype(a.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def lu(a):
    """order, lower, upper with a = (lower @ upper)[order]: elimination, of every column the largest entry is the pivot."""
    a = a.copy()
    n = a.shape[-1]
    rows = np.broadcast_to(np.arange(n), a.shape[:-1]).copy()
    for k in range(n):
        pivot = k + np.abs(a[..., k:, k]).argmax(axis=-1)
        swap = np.broadcast_to(np.arange(n), rows.shape).copy()
        np.put_along_axis(swap, pivot[..., None], k, axis=-1)
        swap[..., k] = pivot
        a = np.take_along_axis(a, swap[..., None], axis=-2)
        rows = np.take_along_axis(rows, swap, axis=-1)
        top = a[..., k, k]
        a[..., k + 1 :, k] /= np.where(top == 0, 1, top)[..., None]
        a[..., k + 1 :, k + 1 :] -= a[..., k + 1 :, k, None] * a[..., k, None, k + 1 :]
    return rows.argsort(axis=-1), np.tril(a, -1) + np.eye(n, dtype=a.dtype), np.triu(a)


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


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
