"""Convolution and its parts (inventory E1 to E9): windows of an image, and what is done with each.

Made from specs/convolution/convolution.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/convolution.lee
"""

from __future__ import annotations

import math
import sys

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


def convolution(x, kernel, stride=1):
    """The inner product of each filter with every window, over all channels.

    x [n, c, h, w], kernel [o, c, k, l] -> [n, o, (h - k) // stride + 1, (w - l) // stride + 1]
    """
    # [n, o, (h - k) // stride + 1, (w - l) // stride + 1]  convolution.lee:10
    y = torch.nn.functional.conv2d(x, kernel, stride=stride)
    return y  # [n, o, (h - k) // stride + 1, (w - l) // stride + 1]


def convolution_backward(x, kernel, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    _, c, h, w = x.shape
    o, _, k, l = kernel.shape
    # gradient of y[n, o, i, j] = sum[c, u, v](x[n, c, stride*i + u, stride*j + v] * kernel[o, ..   convolution.lee:10
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        output_padding=(h - (h - k) // stride * stride - k, w - (w - l) // stride * stride - l),
    )
    d_kernel = torch.nn.grad.conv2d_weight(x, (o, c, k, l), d_y, stride=stride)  # [o, c, k, l]
    return d_x, d_kernel


def convolution_backward_2(kernel, h, stride, w, d_y):
    """From d_y to the gradient by x."""
    _, _, k, l = kernel.shape
    # gradient of y[n, o, i, j] = sum[c, u, v](x[n, c, stride*i + u, stride*j + v] * kernel[o, ..   convolution.lee:10
    # [n, c, h, w]
    d_x = torch.nn.functional.conv_transpose2d(
        d_y,
        kernel,
        stride=stride,
        output_padding=(h - (h - k) // stride * stride - k, w - (w - l) // stride * stride - l),
    )
    return d_x  # [n, c, h, w]


class Convolution(Model):
    """One channel of the result for every filter."""

    members = ("kernel", "bias")

    def __init__(self, inputs, filters, k=3, stride=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.filters, self.k, self.stride = inputs, filters, k, stride
        key_2 = fold(key, SITES["kernel"])  # convolution.lee:16
        # [filters, inputs, k, k]
        self.kernel = torch.nn.Parameter(1 / math.sqrt(inputs * k**2) * normal(key_2, (filters, inputs, k, k), FLOAT))
        # [filters]  convolution.lee:17
        self.bias = torch.nn.Parameter(normal(fold(key, SITES["bias"]), (filters,), FLOAT))

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, filters, (h - k) // stride + 1, (w - k) // stride + 1]"""
        # [n, filters, (h - k) // stride + 1, (w - k) // stride + 1]  convolution.lee:20
        y = convolution(x, self.kernel, stride=self.stride)
        return y + self.bias[:, None, None]  # [n, filters, (h - k) // stride + 1, (w - k) // stride + 1]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return convolution(x, kernel, stride) + bias[:, None, None]   convolution.lee:20
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [filters]
        d_x, d_kernel = convolution_backward(x, self.kernel, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


def volume(m1, m2, window, stride, filters):
    """The number of entries that c filters make of an m₁ × m₂ image: (⌊(m - n) / s⌋ + 1) a side, and depth c."""
    # convolution.lee:25
    size = (
        (m1 - window) // stride * ((m2 - window) // stride) * filters
        + (m1 - window) // stride * filters
        + (m2 - window) // stride * filters
        + filters
    )
    return size * 1.0


def volumeAsPrinted(m1, m2, window, stride, filters):
    """One set of notes has ((m₁ - n) / s) · ((m₂ - n) / s) · n: one too few a side, and the window for the depth."""
    return (m1 - window) / stride * (m2 - window) / stride * window  # convolution.lee:30


def padded_with_zero(x, p):
    """p rows and columns of 0 at every side: with p = (k - 1) / 2 the size stays the same.

    x [n, c, h, w] -> [n, c, h + 2 * p, 2 * p + w]
    """
    # [n, c, h + 2 * p, 2 * p + w]  convolution.lee:35
    y = torch.nn.functional.pad(x, (p, p, p, p, 0, 0, 0, 0), value=0.0)
    return y  # [n, c, h + 2 * p, 2 * p + w]


def padded_with_zero_backward(h, p, w, d_y):
    """From d_y to the gradient by x."""
    # gradient of return pad(x, (0, 0, p, p))   convolution.lee:35
    d_x = d_y[:, :, p : h + p, p : p + w]  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def padded_with_mean(x, p):
    """The mean of each image's channel around it.

    x [n, c, h, w] -> [n, c, h + 2 * p, 2 * p + w]
    """
    middle = x.mean(dim=(2, 3), keepdim=True)  # [n, c, 1, 1]  convolution.lee:40
    sub = x - middle  # [n, c, h, w]  convolution.lee:41
    pad = torch.nn.functional.pad(sub, (p, p, p, p, 0, 0, 0, 0), value=0.0)  # [n, c, h + 2 * p, 2 * p + w]
    return pad + middle  # [n, c, h + 2 * p, 2 * p + w]


def padded_with_mean_backward(h, p, w, d_y):
    """From d_y to the gradient by x."""
    # gradient of return pad(x - middle, (0, 0, p, p)) + middle   convolution.lee:41
    d_sub = d_y[:, :, p : h + p, p : p + w]  # [n, c, h, w]
    # gradient of middle = mean(x, axis = (2, 3), keepdims = true)   convolution.lee:40
    d_middle = d_y.sum(dim=(2, 3), keepdim=True) - d_sub.sum(dim=(2, 3), keepdim=True)  # [n, c, 1, 1]
    d_x = d_sub + d_middle / (h * w)  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def padded_with_edge_saved(x, p):
    """As padded_with_edge, and what its gradient needs."""
    _, _, h, w = x.shape
    maximum = (torch.arange(h + 2 * p, device=x.device) + -p).clamp(min=0)  # int[h + 2 * p]  convolution.lee:46
    maximum_2 = (torch.arange(2 * p + w, device=x.device) + -p).clamp(min=0)  # int[2 * p + w]
    minimum_2 = maximum_2.clamp(max=w - 1)  # int[2 * p + w]
    reshape = maximum.clamp(max=h - 1)[:, None]  # int[h + 2 * p, 1]
    y = x.permute((2, 3, 0, 1))[reshape, minimum_2].permute(2, 3, 0, 1)  # [n, c, h + 2 * p, 2 * p + w]
    return y, (minimum_2, reshape)


def padded_with_edge_backward(saved, h, p, w, d_y):
    """From d_y to the gradient by x."""
    minimum_2, reshape = saved
    n, c, _, _ = d_y.shape
    # gradient of y[n, c, i in h + 2*p, j in w + 2*p] = x[n, c, min(max(i - p, 0), h - 1), min(..   convolution.lee:46
    d_gather = d_y.permute(2, 3, 0, 1)  # [h + 2 * p, 2 * p + w, n, c]
    d_x = scatter_add(d_gather, (reshape, minimum_2), (n, c, h, w), (2, 3))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


class TwoLayers(Model):
    """The filters of the second layer are as deep as the first has filters: 20 and 30 make 30 channels, not 600."""

    members = ("lower", "upper")

    def __init__(self, inputs=1, first=20, second=30, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.first, self.second = inputs, first, second
        self.lower = Convolution(inputs, first, key=fold(key, SITES["lower"]))  # convolution.lee:52
        self.upper = Convolution(first, second, key=fold(key, SITES["upper"]))  # convolution.lee:53

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, second, h - 4, w - 4]"""
        return self.upper(relu(self.lower(x)))  # [n, second, h - 4, w - 4]  convolution.lee:56

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.lower(x))  # [n, first, h - 2, w - 2]  convolution.lee:56
        return self.upper(select), select

    def forward_backward(self, x, select, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return upper(relu(lower(x)))   convolution.lee:56
        d_upper, d_select = self.upper.forward_backward(select, d_y)
        d_lower, d_x = self.lower.forward_backward(x, relu_backward(select, d_select))
        return {"lower": d_lower, "upper": d_upper}, d_x


class LocallyConnected(Model):
    """Every place has filters of its own: receptive fields without shared weights."""

    members = ("kernel", "bias")

    def __init__(self, inputs, filters, side, k=3, stride=1, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.filters, self.side, self.k, self.stride = inputs, filters, side, k, stride
        self.places = (side - k) // stride + 1
        key_2 = fold(key, SITES["kernel"])  # convolution.lee:62
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k]
        normal_ = normal(key_2, (filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k), FLOAT)
        key_3 = fold(key, SITES["bias"])  # convolution.lee:63
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k]  convolution.lee:62
        self.kernel = torch.nn.Parameter(1 / math.sqrt(inputs * k**2) * normal_)
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1]  convolution.lee:63
        self.bias = torch.nn.Parameter(
            normal(key_3, (filters, (side - k) // stride + 1, (side - k) // stride + 1), FLOAT)
        )

    def forward(self, x):
        """x [n, inputs, side, side] -> [n, filters, (side - k) // stride + 1, (side - k) // stride + 1]"""
        n = x.shape[0]
        windows = x.unfold(3, self.k, self.stride)  # [n, inputs, side, (side - k) // stride + 1, k]  convolution.lee:66
        # [n, inputs, (side - k) // stride + 1, k, (side - k) // stride + 1, k]
        windows_2 = windows.unfold(2, self.k, self.stride).movedim(-1, 3)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k, n]
        transpose = windows_2.permute(2, 4, 1, 3, 5, 0)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs * k**2, n]
        columns = transpose.reshape(
            (self.side - self.k) // self.stride + 1, (self.side - self.k) // self.stride + 1, self.inputs * self.k**2, n
        )
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k, filters]
        transpose_2 = self.kernel.permute(1, 2, 3, 4, 5, 0)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs * k**2, filters]
        reshape = transpose_2.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            self.inputs * self.k**2,
            self.filters,
        )
        # [n, filters, (side - k) // stride + 1, (side - k) // stride + 1]
        y = (columns.mT @ reshape).permute(2, 3, 0, 1) + self.bias
        return y  # [n, filters, (side - k) // stride + 1, (side - k) // stride + 1]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        n = x.shape[0]
        # gradient of y[n, o, i, j] = sum[c, u, v](x[n, c, stride*i + u, stride*j + v] * kernel[o, ..   convolution.lee:66
        d_bias = d_y.sum(dim=0)  # [filters, (side - k) // stride + 1, (side - k) // stride + 1]
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs, k, k]
        transpose_2 = self.kernel.permute(1, 2, 0, 3, 4, 5)
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs * k**2]
        reshape = transpose_2.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            self.filters,
            self.inputs * self.k**2,
        )
        # [(side - k) // stride + 1, (side - k) // stride + 1, n, inputs * k**2]
        contract = d_y.permute(2, 3, 0, 1) @ reshape
        # [(side - k) // stride + 1, (side - k) // stride + 1, n, inputs, k, k]
        reshape_2 = contract.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            n,
            self.inputs,
            self.k,
            self.k,
        )
        # [n, inputs, (side - k) // stride + 1, k, (side - k) // stride + 1, k]
        transpose_3 = reshape_2.permute(2, 3, 0, 4, 1, 5)
        # [n, inputs, (side - k) // stride + 1, k, side]
        unwindow_ = unwindow(transpose_3, 4, self.side, self.stride, 1)
        d_x = unwindow(unwindow_, 2, self.side, self.stride, 1)  # [n, inputs, side, side]
        windows = x.unfold(3, self.k, self.stride)  # [n, inputs, side, (side - k) // stride + 1, k]
        # [n, inputs, (side - k) // stride + 1, k, (side - k) // stride + 1, k]
        windows_2 = windows.unfold(2, self.k, self.stride).movedim(-1, 3)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k, n]
        transpose_5 = windows_2.permute(2, 4, 1, 3, 5, 0)
        # [(side - k) // stride + 1, (side - k) // stride + 1, inputs * k**2, n]
        columns = transpose_5.reshape(
            (self.side - self.k) // self.stride + 1, (self.side - self.k) // self.stride + 1, self.inputs * self.k**2, n
        )
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs * k**2]
        contract_2 = d_y.permute(2, 3, 1, 0) @ columns.mT
        # [(side - k) // stride + 1, (side - k) // stride + 1, filters, inputs, k, k]
        reshape_3 = contract_2.reshape(
            (self.side - self.k) // self.stride + 1,
            (self.side - self.k) // self.stride + 1,
            self.filters,
            self.inputs,
            self.k,
            self.k,
        )
        # [filters, (side - k) // stride + 1, (side - k) // stride + 1, inputs, k, k]
        d_kernel = reshape_3.permute(2, 0, 1, 3, 4, 5)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


def as_matrix_saved(kernel, h, w):
    """As as_matrix, and what its gradient needs."""
    _, _, k, l = kernel.shape
    i = torch.arange(h + 1 - k, device=kernel.device)  # int[h + 1 - k]  convolution.lee:73
    p = torch.arange(h, device=kernel.device)  # int[h]
    j = torch.arange(w + 1 - l, device=kernel.device)  # int[w + 1 - l]
    q = torch.arange(w, device=kernel.device)  # int[w]
    logical_and = (i[:, None] <= p) & (p < (i + k)[:, None])  # bool[h + 1 - k, h]
    logical_and_2 = logical_and[:, None, :, None] & (j[:, None] <= q)[:, None]  # bool[h + 1 - k, w + 1 - l, h, w]
    # int[h + 1 - k, 1, h, 1]  convolution.lee:74
    reshape_10 = ((-i)[:, None] + p).clamp(min=0).clamp(max=k - 1)[:, None, :, None]
    reshape_11 = ((-j)[:, None] + q).clamp(min=0).clamp(max=l - 1)[:, None]  # int[w + 1 - l, 1, w]
    # bool[h + 1 - k, w + 1 - l, 1, h, w]  convolution.lee:73
    reshape_12 = (logical_and_2 & (q < (j + l)[:, None])[:, None])[:, :, None]
    # [h + 1 - k, w + 1 - l, h, w, o, c]  convolution.lee:74
    gather = kernel.permute((2, 3, 0, 1))[reshape_10, reshape_11]
    # [o, h + 1 - k, w + 1 - l, c, h, w]  convolution.lee:72
    full = torch.where(reshape_12, gather.permute(4, 0, 1, 5, 2, 3), 0)
    return full, (reshape_10, reshape_11, reshape_12)


def as_matrix_backward(saved, k, l, d_full):
    """From d_full to the gradient by kernel."""
    reshape_10, reshape_11, reshape_12 = saved
    o, _, _, c, _, _ = d_full.shape
    # gradient of kernel[f, a, p - i, q - j],   convolution.lee:74
    d_gather = torch.where(reshape_12, d_full, 0).permute(1, 2, 4, 5, 0, 3)  # [h + 1 - k, w + 1 - l, h, w, o, c]
    d_kernel = scatter_add(d_gather, (reshape_10, reshape_11), (o, c, k, l), (2, 3))  # [o, c, k, l]
    return d_kernel  # [o, c, k, l]


def fully_connected(x, full):
    """Every entry of the result sees every entry of the image.

    x [n, c, h, w], full [o, i, j, c, h, w] -> [n, o, i, j]
    """
    n, c, h, w = x.shape
    o, i, j, _, _, _ = full.shape
    reshape_2 = full.reshape(i * j * o, c * h * w)  # [i * j * o, c * h * w]  convolution.lee:82
    y = (x.reshape(n, c * h * w) @ reshape_2.T).reshape(n, o, i, j)  # [n, o, i, j]
    return y  # [n, o, i, j]


def fully_connected_backward(x, full, d_y):
    """From d_y to the gradients by x and full."""
    n, c, h, w = x.shape
    o, i, j, _, _, _ = full.shape
    # gradient of y[m, f, p, q] = sum[a, r, s](x[m, a, r, s] * full[f, p, q, a, r, s])   convolution.lee:82
    reshape = d_y.reshape(n, i * j * o)  # [n, i * j * o]
    d_x = (reshape @ full.reshape(i * j * o, c * h * w)).reshape(n, c, h, w)  # [n, c, h, w]
    d_full = (reshape.T @ x.reshape(n, c * h * w)).reshape(o, i, j, c, h, w)  # [o, i, j, c, h, w]
    return d_x, d_full


def receptive_field(x, first, second):
    """The gradient of one result of two layers: what part of the image it depends on.

    x [n, c, h, w], first [a, c, k, k], second [b, a, k, k] -> [n, c, h, w]
    """
    n, _, h, w = x.shape
    b, _, k, _ = second.shape
    d_slice = torch.ones((n, b, 1, 1), dtype=FLOAT, device=x.device)  # [n, b, 1, 1]  convolution.lee:89
    # [n, b, h + 2 - 2 * k, w + 2 - 2 * k]
    d_y_3 = unslice(d_slice, (n, b, h + 2 - 2 * k, w + 2 - 2 * k), (slice(0, n), slice(0, b), slice(1, 2), slice(2, 3)))
    # [n, a, h + 1 - k, w + 1 - k]  convolution.lee:88
    d_y = convolution_backward_2(second, h + 1 - k, 1, w + 1 - k, d_y_3)
    return convolution_backward_2(first, h, 1, w, d_y)  # [n, c, h, w]


def max_pool_(x, size=2):
    """The largest of each block.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = torch.nn.functional.max_pool2d(x, size)  # [n, c, h // size, w // size]  convolution.lee:94
    return y  # [n, c, h // size, w // size]


def max_pool_backward(x, y, size, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = max[u in size, v in size](x[n, c, s..   convolution.lee:94
    d_x = max_pool_gradient(d_y, x, y, (size, size), (size, size), (1, 1), (0, 0))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def mean_pool(x, size=2):
    """The mean of each block.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = torch.nn.functional.avg_pool2d(x, size)  # [n, c, h // size, w // size]  convolution.lee:100
    return y  # [n, c, h // size, w // size]


def mean_pool_backward(h, size, w, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = mean[u in size, v in size](x[n, c, ..   convolution.lee:100
    d_x = avg_pool_gradient(d_y, (size, size), (size, size), (0, 0), (h, w))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def subsampled(x, step=2):
    """Every other row and column is kept.

    x [n, c, h, w] -> [n, c, h // step, w // step]
    """
    _, _, h, w = x.shape
    # [n, c, h // step, w // step]  convolution.lee:106
    y = x[:, :, : h // step * step + 1 - step : step, : step * (w // step) + 1 - step : step]
    return y  # [n, c, h // step, w // step]


def subsampled_backward(h, step, w, d_y):
    """From d_y to the gradient by x."""
    n, c, _, _ = d_y.shape
    # gradient of y[n, c, i in h // step, j in w // step] = x[n, c, step*i, step*j]   convolution.lee:106
    # [n, c, h, w]
    d_x = unslice(
        d_y,
        (n, c, h, w),
        (
            slice(0, n),
            slice(0, c),
            slice(0, h // step * step + 1 - step, step),
            slice(0, step * (w // step) + 1 - step, step),
        ),
    )
    return d_x  # [n, c, h, w]


def flattened(x):
    """Row after row, in each row column after column, in each place channel after channel.

    x [n, c, h, w] -> [n, c * h * w]
    """
    n, c, h, w = x.shape
    y = x.permute(0, 2, 3, 1)  # [n, h, w, c]  convolution.lee:112
    return y.reshape(n, c * h * w)  # [n, c * h * w]  convolution.lee:113


def flattened_backward(c, h, w, d_y):
    """From d_y to the gradient by x."""
    n = d_y.shape[0]
    # gradient of return reshape(y, [n, h * w * c])   convolution.lee:113
    d_y_ = d_y.reshape(n, h, w, c)  # [n, h, w, c]
    # gradient of y[n, i, j, k] = x[n, k, i, j]   convolution.lee:112
    d_x = d_y_.permute(0, 3, 1, 2)  # [n, c, h, w]
    return d_x  # [n, c, h, w]


def example_convolved(key):
    net = Convolution(3, 4, stride=2, key=fold(key, SITES["net"]))  # convolution.lee:117
    x = normal(fold(key, SITES["x"]), (2, 3, 9, 8), FLOAT)  # [2, 3, 9, 8]  convolution.lee:118
    net_out = net(x)  # [2, 4, 4, 3]  convolution.lee:119
    d_net, d_x = net.forward_backward(x, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_sizes():
    return volume(28, 28, 3, 1, 10)  # convolution.lee:123


def example_sizes_as_printed():
    return volumeAsPrinted(28, 28, 3, 1, 10)  # convolution.lee:127


def example_zeros_around(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  convolution.lee:131
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  convolution.lee:132
    pad = padded_with_zero(x, 1)  # [2, 3, 7, 6]  convolution.lee:133
    y = convolution(pad, kernel)  # [2, 4, 5, 4]
    d_pad, d_kernel = convolution_backward(pad, kernel, 1, 2 * y)
    return (y**2).sum(), padded_with_zero_backward(5, 1, 4, d_pad), d_kernel


def example_mean_around(key):
    x = 2 + normal(fold(key, SITES["x"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  convolution.lee:137
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  convolution.lee:138
    add = padded_with_mean(x, 2)  # [2, 3, 9, 8]  convolution.lee:139
    y = convolution(add, kernel, stride=2)  # [2, 4, 4, 3]
    d_add, d_kernel = convolution_backward(add, kernel, 2, 2 * y)
    return (y**2).sum(), padded_with_mean_backward(5, 2, 4, d_add), d_kernel


def example_edge_around(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 5, 4), FLOAT)  # [2, 3, 5, 4]  convolution.lee:143
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 3), FLOAT)  # [4, 3, 3, 3]  convolution.lee:144
    y, saved_padded_with_edge = padded_with_edge_saved(x, 2)  # convolution.lee:145
    y_2 = convolution(y, kernel, stride=2)  # [2, 4, 4, 3]
    d_y, d_kernel = convolution_backward(y, kernel, 2, 2 * y_2)
    d_x = padded_with_edge_backward(saved_padded_with_edge, 5, 2, 4, d_y)  # [2, 3, 5, 4]
    return (y_2**2).sum(), d_x, d_kernel


def example_deep(key):
    net = TwoLayers(key=fold(key, SITES["net"]))  # convolution.lee:149
    x = normal(fold(key, SITES["x"]), (2, 1, 8, 8), FLOAT)  # [2, 1, 8, 8]  convolution.lee:150
    add_2, saved_net = net.forward_saved(x)  # convolution.lee:151
    d_net, d_x = net.forward_backward(x, saved_net, 0.0020833333333333333 * add_2)
    return (add_2**2).mean(), net.at(d_net), d_x


def example_local(key):
    net = LocallyConnected(2, 4, 7, stride=2, key=fold(key, SITES["net"]))  # convolution.lee:155
    x = normal(fold(key, SITES["x"]), (3, 2, 7, 7), FLOAT)  # [3, 2, 7, 7]  convolution.lee:156
    net_out = net(x)  # [3, 4, 3, 3]  convolution.lee:157
    d_net, d_x = net.forward_backward(x, 2 * net_out)
    return (net_out**2).sum(), net.at(d_net), d_x


def example_constrained(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 6, 5), FLOAT)  # [2, 3, 6, 5]  convolution.lee:161
    kernel = normal(fold(key, SITES["kernel"]), (4, 3, 3, 2), FLOAT)  # [4, 3, 3, 2]  convolution.lee:162
    full, saved_as_matrix = as_matrix_saved(kernel, 6, 5)  # convolution.lee:163
    y = fully_connected(x, full)  # [2, 4, 4, 4]
    d_x, d_full = fully_connected_backward(x, full, 2 * y)
    return (y**2).sum(), d_x, as_matrix_backward(saved_as_matrix, 3, 2, d_full)


def example_largest(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 7, 6), FLOAT)  # [2, 3, 7, 6]  convolution.lee:167
    y = max_pool_(x)  # [2, 3, 3, 3]  convolution.lee:168
    return (y**2).sum(), max_pool_backward(x, y, 2, 2 * y)


def example_average(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 7, 6), FLOAT)  # [2, 3, 7, 6]  convolution.lee:172
    y = mean_pool(x)  # [2, 3, 3, 3]  convolution.lee:173
    return (y**2).sum(), mean_pool_backward(7, 2, 6, 2 * y)


def example_sparse(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 8, 6), FLOAT)  # [2, 3, 8, 6]  convolution.lee:177
    y = subsampled(x)  # [2, 3, 4, 3]  convolution.lee:178
    return (y**2).sum(), subsampled_backward(8, 2, 6, 2 * y)


def example_vector(key):
    x = normal(fold(key, SITES["x"]), (2, 3, 4, 5), FLOAT)  # [2, 3, 4, 5]  convolution.lee:182
    c = normal(fold(key, SITES["c"]), (2, 60), FLOAT)  # [2, 60]  convolution.lee:183
    d_c = flattened(x)  # [2, 60]  convolution.lee:184
    return (c * d_c).sum(), flattened_backward(3, 4, 5, c), d_c


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "kernel": 0x273FEA903E119357,
    "lower": 0x7F1D0025FF203118,
    "net": 0xF087C76970C91612,
    "upper": 0x4788846A75166F9F,
    "x": 0x4F586EF96743DF4A,
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


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def unwindow(x, axis, size, stride=1, dilation=1):
    """The sum of overlapping windows: x[.., i, u, ..] is added to entry i * stride + u * dilation of `size`."""
    count, width = x.shape[axis : axis + 2]
    whole = x.new_zeros((*x.shape[:axis], size, *x.shape[axis + 2 :]))
    before = (slice(None),) * axis
    for u in range(width):
        start = u * dilation
        whole[(*before, slice(start, start + count * stride, stride))] += x[(*before, slice(None), u)]
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def window_entries(x, size, stride, dilation):
    """For every offset within a window along the last axes, the entries of x there, one a window: a strided view."""
    parts = [[]]
    for d, k, s, e in zip(x.shape[x.ndim - len(size) :], size, stride, dilation, strict=True):
        last = (d - e * (k - 1) - 1) // s * s  # where the last window begins
        parts = [[*part, slice(e * u, e * u + last + 1, s)] for part in parts for u in range(k)]
    for part in parts:
        yield x[(..., *part)]


def max_pool_gradient(g, x, y, size, stride, dilation, padding):
    """g at the first entry of its window that is the largest, row by row; entries of several windows add up."""
    around = [p for q in reversed(padding) for p in (q, q)]
    wide = torch.nn.functional.pad(x, around, value=-math.inf) if any(around) else x
    how, overlap = (size, stride, dilation), any(e * (k - 1) >= s for k, s, e in zip(size, stride, dilation))
    d_x, waiting = torch.zeros_like(wide), torch.ones_like(y, dtype=torch.bool)
    last = math.prod(size) - 1  # takes what no other took
    windows = zip(window_entries(wide, *how), window_entries(d_x, *how), strict=True)
    for k, (entries, d_entries) in enumerate(windows):
        first = waiting if k == last else (entries == y).logical_and_(waiting)
        waiting = waiting.logical_xor(first)
        d_entries.add_(masked(g, first)) if overlap else d_entries.copy_(masked(g, first))
    return torch.nn.functional.pad(d_x, [-p for p in around]) if any(around) else d_x


def masked(x, c):
    """x where c holds, else 0. On a CPU by its bits, which takes a tenth of a choice entry by entry."""
    if x.is_cuda or torch.is_grad_enabled():
        return torch.where(c, x, 0.0)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(bits).bitwise_and(c.to(bits).neg_()).view(x.dtype)


def avg_pool_gradient(g, size, stride, padding, dims):
    """An equal share of g to every entry of its window along the last axes."""
    if len(size) == 1:  # the library has none for one axis
        return avg_pool_gradient(g[..., None, :], (1, *size), (1, *stride), (0, *padding), (1, *dims)).squeeze(-2)
    backward = getattr(torch.ops.aten, f"avg_pool{len(size)}d_backward")
    x = g.new_empty((*g.shape[: g.ndim - len(size)], *dims))  # read for its shape only
    return backward(g, x, size, stride, padding, False, True, None)


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


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
