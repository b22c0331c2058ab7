"""Inputs that a net likes (inventory K7 to K11): its parameters are fixed, and the input climbs.

Made from specs/explain/maximisation.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/explain/maximisation.lee
"""

from __future__ import annotations

import functools
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


def liked_saved(net, start, label, rate=0.3, steps=6):
    """As liked, and what its gradient needs."""
    saved_liked_step = [None] * steps  # maximisation.lee:12
    for t in range(steps):
        start, saved_liked_step[t] = liked_step_saved(net, start, label, rate)
    return start, saved_liked_step


def liked_backward(net, rate, saved_liked_step, steps, d_x_3):
    """From d_z_rows, d_add_rows and d_x_3 to the gradients by net and start."""
    # gradient of for t in steps:   maximisation.lee:12
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=d_x_3.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=d_x_3.device)
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    for t in reversed(range(steps)):
        d_x_3, d_net = liked_step_backward(net, rate, saved_liked_step[t], d_x_3, d_net)
    return d_net, d_x_3


def liked_step_saved(net, x, label, rate):
    """As liked_step, and what its gradient needs."""
    n = x.shape[0]
    _, saved_net = net.forward_saved(x)  # maximisation.lee:13
    d_gather = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]  maximisation.lee:14
    i = torch.arange(n, device=x.device)  # int[n]
    d_z = scatter_add(d_gather, (i, label), (n, net.sizes[2]))  # [n, net.sizes_2]
    d_x, saved_net_ = net.forward_backward_input_saved(saved_net, d_z)  # maximisation.lee:13
    x_2 = x + rate * d_x  # [n, net.sizes_0]  maximisation.lee:14
    return x_2, (d_z, saved_net_)


def liked_step_backward(net, rate, saved, d_x_2, d_net):
    """From d_z, d_add, d_x_2 and d_net to the gradients by x and net."""
    d_z, saved_net_ = saved
    # gradient of x = x + rate * grad(sum[i](z[i, label[i]]), x)   maximisation.lee:14
    d_d_x = d_x_2 * rate  # [n, net.sizes_0]
    # gradient of z = net(x, training = false)   maximisation.lee:13
    d_net_ = net.forward_backward_input_backward_parameters(d_z, saved_net_, d_d_x)
    return d_x_2, {
        "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
        "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
    }


def like_an_image(x, smoothness=0.2, size=0.1):
    """R(x): neighbours are alike, and few pixels are far from 0.

    x [n, h, w] -> []
    """
    _, h, w = x.shape
    down = torch.abs(x[:, 1:] - x[:, : h - 1]).sum()  # maximisation.lee:20
    across = torch.abs(x[:, :, 1:] - x[:, :, : w - 1]).sum()  # maximisation.lee:21
    return -((down + across) * smoothness + size * (x**2).sum())  # maximisation.lee:22


def like_an_image_saved(x, smoothness=0.2, size=0.1):
    """As like_an_image, and what its gradient needs."""
    _, h, w = x.shape
    sub = x[:, 1:] - x[:, : h - 1]  # [n, h - 1, w]  maximisation.lee:20
    down = torch.abs(sub).sum()
    sub_2 = x[:, :, 1:] - x[:, :, : w - 1]  # [n, h, w - 1]  maximisation.lee:21
    across = torch.abs(sub_2).sum()
    return -((down + across) * smoothness + size * (x**2).sum()), (sub, sub_2)  # maximisation.lee:22


def like_an_image_backward_saved(x, smoothness, size, saved, d_y):
    """From d_y to the gradients by x and mul_2."""
    sub, sub_2 = saved
    n, h, w = x.shape
    # gradient of return -smoothness * (down + across) - size * sum(x ** 2)   maximisation.lee:22
    d_sum = -d_y * size
    d_across = -d_y * smoothness
    # gradient of across = sum(abs(x[:, :, 1:] - x[:, :, : w - 1]))   maximisation.lee:21
    d_sub_2 = d_across * torch.sign(sub_2)  # [n, h, w - 1]
    d_x_4 = unslice(-d_sub_2, (n, h, w), (slice(0, n), slice(0, h), slice(0, w - 1)))  # [n, h, w]
    d_x_5 = unslice(d_sub_2, (n, h, w), (slice(0, n), slice(0, h), slice(1, w)))  # [n, h, w]
    # gradient of down = sum(abs(x[:, 1:, :] - x[:, : h - 1, :]))   maximisation.lee:20
    d_sub = d_across * torch.sign(sub)  # [n, h - 1, w]
    d_x_6 = unslice(-d_sub, (n, h, w), (slice(0, n), slice(0, h - 1), slice(0, w)))  # [n, h, w]
    d_x_7 = unslice(d_sub, (n, h, w), (slice(0, n), slice(1, h), slice(0, w)))  # [n, h, w]
    d_x = 2 * d_sum * x + d_x_4 + d_x_5 + d_x_6 + d_x_7  # [n, h, w]
    return d_x, d_sum.expand(n, h, w)


def like_an_image_backward_backward(d_mul_2, d_d_x):
    """From d_mul_2 and d_d_x to the gradient by x."""
    # gradient of return -smoothness * (down + across) - size * sum(x ** 2)   maximisation.lee:22
    d_x = 2 * (d_d_x * d_mul_2)  # [n, h, w]
    return d_x  # [n, h, w]


def liked_as_image_saved(net, start, label, rate=0.3, steps=6):
    """As liked_as_image, and what its gradient needs."""
    _, h, w = start.shape
    if net.sizes[0] != h * w:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal h * w = {h * w}")
    saved_liked_as_image_step = [None] * steps  # maximisation.lee:28
    for t in range(steps):
        start, saved_liked_as_image_step[t] = liked_as_image_step_saved(net, start, label, rate)
    return start, saved_liked_as_image_step


def liked_as_image_backward(net, rate, saved_liked_as_image_step, steps, d_x_3):
    """From d_mul_2_rows, d_z_rows, d_add_2_rows and d_x_3 to the gradients by net and start."""
    # gradient of for t in steps:   maximisation.lee:28
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=d_x_3.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=d_x_3.device)
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    for t in reversed(range(steps)):
        d_x_3, d_net = liked_as_image_step_backward(net, rate, saved_liked_as_image_step[t], d_x_3, d_net)
    return d_net, d_x_3


def liked_as_image_step_saved(net, x, label, rate):
    """As liked_as_image_step, and what its gradient needs."""
    n, h, w = x.shape
    _, saved_net = net.forward_saved(x.reshape(n, net.sizes[0]))  # maximisation.lee:29
    _, saved_like_an_image = like_an_image_saved(x)  # maximisation.lee:30
    d_add = torch.ones((), dtype=FLOAT, device=x.device)
    d_x_2, saved_like_an_image_backward = like_an_image_backward_saved(x, 0.2, 0.1, saved_like_an_image, d_add)
    d_gather = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]
    i = torch.arange(n, device=x.device)  # int[n]
    d_z = scatter_add(d_gather, (i, label), (n, net.sizes[2]))  # [n, net.sizes_2]
    d_x_flat, saved_net_ = net.forward_backward_input_saved(saved_net, d_z)  # maximisation.lee:29
    x_2 = x + rate * (d_x_2 + d_x_flat.reshape(n, h, w))  # [n, h, w]  maximisation.lee:30
    return x_2, (saved_like_an_image_backward, d_z, saved_net_)


def liked_as_image_step_backward(net, rate, saved, d_x_2_2, d_net):
    """From d_mul_2, d_z, d_add_2, d_x_2_2 and d_net to the gradients by x and net."""
    saved_like_an_image_backward, d_z, saved_net_ = saved
    n = d_z.shape[0]
    # gradient of x = x + rate * grad(sum[i](z[i, label[i]]) + like_an_image(x), x)   maximisation.lee:30
    d_d_x = d_x_2_2 * rate  # [n, h, w]
    # gradient of z = net(flatten(x, from = 1), training = false)   maximisation.lee:29
    d_d_x_flat = d_d_x.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    d_net_ = net.forward_backward_input_backward_parameters(d_z, saved_net_, d_d_x_flat)
    # gradient of x = x + rate * grad(sum[i](z[i, label[i]]) + like_an_image(x), x)   maximisation.lee:30
    d_x_2 = like_an_image_backward_backward(saved_like_an_image_backward, d_d_x)  # [n, h, w]
    d_x = d_x_2_2 + d_x_2  # [n, h, w]
    # gradient of z = net(flatten(x, from = 1), training = false)   maximisation.lee:29
    return d_x, {
        "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
        "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
    }


def liked_by_generator_saved(net, generator, start, label, rate=0.3, steps=6):
    """As liked_by_generator, and what its gradient needs."""
    if net.sizes[0] != generator.sizes[2]:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal generator.sizes_2 = {generator.sizes[2]}")
    saved_liked_by_generator_step = [None] * steps  # maximisation.lee:37
    for t in range(steps):
        start, saved_liked_by_generator_step[t] = liked_by_generator_step_saved(net, generator, start, label, rate)
    add_2_3, saved_generator = generator.forward_saved(start)  # maximisation.lee:40
    return add_2_3, (start, saved_liked_by_generator_step, saved_generator)


def liked_by_generator_backward(net, generator, rate, saved, steps, d_add_2_3):
    """From d_y_rows, d_add_3_rows, d_add_2_rows, d_add_rows and d_add_2_3 to the gradients by net, generator and start."""
    z_3, saved_liked_by_generator_step, saved_generator = saved
    # gradient of return generator(z, training = false)   maximisation.lee:40
    d_generator, d_z_3 = generator.forward_backward(z_3, saved_generator, d_add_2_3)
    # gradient of for t in steps:   maximisation.lee:37
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=z_3.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=z_3.device)
    # [generator.sizes_0, generator.sizes_1]
    d_generator_layers_0_w_4 = torch.zeros((generator.sizes[0], generator.sizes[1]), dtype=FLOAT, device=z_3.device)
    # [generator.sizes_1, generator.sizes_2]
    d_generator_layers_1_w_4 = torch.zeros((generator.sizes[1], generator.sizes[2]), dtype=FLOAT, device=z_3.device)
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    d_generator_ = {"layers.0": {"w": d_generator_layers_0_w_4}, "layers.1": {"w": d_generator_layers_1_w_4}}
    for t in reversed(range(steps)):
        d_z_3, d_net, d_generator_ = liked_by_generator_step_backward(
            net, generator, rate, saved_liked_by_generator_step[t], d_z_3, d_net, d_generator_
        )
    # [generator.sizes_0, generator.sizes_1]
    d_generator_layers_0_w = d_generator["layers.0"]["w"] + d_generator_["layers.0"]["w"]
    # [generator.sizes_1, generator.sizes_2]
    d_generator_layers_1_w = d_generator["layers.1"]["w"] + d_generator_["layers.1"]["w"]
    return (
        d_net,
        {
            "layers.0": {"w": d_generator_layers_0_w, "b": d_generator["layers.0"]["b"]},
            "layers.1": {"w": d_generator_layers_1_w, "b": d_generator["layers.1"]["b"]},
        },
        d_z_3,
    )


def liked_by_generator_step_saved(net, generator, z, label, rate):
    """As liked_by_generator_step, and what its gradient needs."""
    n = z.shape[0]
    add_2, saved_generator = generator.forward_saved(z)  # maximisation.lee:38
    _, saved_net = net.forward_saved(add_2.reshape(n, net.sizes[0]))
    d_gather = torch.ones(n, dtype=FLOAT, device=z.device)  # [n]  maximisation.lee:39
    i = torch.arange(n, device=z.device)  # int[n]
    d_y = scatter_add(d_gather, (i, label), (n, net.sizes[2]))  # [n, net.sizes_2]
    d_reshape, saved_net_ = net.forward_backward_input_saved(saved_net, d_y)  # maximisation.lee:38
    d_add_2 = d_reshape.reshape(n, generator.sizes[2])  # [n, generator.sizes_2]
    d_z, saved_generator_ = generator.forward_backward_input_saved(saved_generator, d_add_2)
    z_2 = z + rate * d_z  # [n, generator.sizes_0]  maximisation.lee:39
    return z_2, (d_y, saved_net_, d_add_2, saved_generator_)


def liked_by_generator_step_backward(net, generator, rate, saved, d_z_2, d_net, d_generator):
    """From d_y, d_add_3, d_add_2, d_add, d_z_2, d_net and d_generator to the gradients by z, net and generator."""
    d_y, saved_net_, d_add_2, saved_generator_ = saved
    n = d_y.shape[0]
    # gradient of z = z + rate * grad(sum[i](y[i, label[i]]), z)   maximisation.lee:39
    d_d_z = d_z_2 * rate  # [n, generator.sizes_0]
    # gradient of y = net(generator(z, training = false), training = false)   maximisation.lee:38
    d_generator_, d_d_add_2 = generator.forward_backward_input_backward(d_add_2, saved_generator_, d_d_z)
    d_d_reshape = d_d_add_2.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    d_net_ = net.forward_backward_input_backward_parameters(d_y, saved_net_, d_d_reshape)
    return (
        d_z_2,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]},
        },
        {
            "layers.0": {"w": d_generator["layers.0"]["w"] + d_generator_["layers.0"]["w"]},
            "layers.1": {"w": d_generator["layers.1"]["w"] + d_generator_["layers.1"]["w"]},
        },
    )


class Layers(Model):
    """The feature maps of two convolutions."""

    members = ("conv1", "conv2")

    def __init__(self, channels, maps, *, key=(0, 0)):
        super().__init__()
        self.channels, self.maps = channels, maps
        self.conv1 = Conv(channels, maps, padding=1, key=fold(key, SITES["conv1"]))  # maximisation.lee:48
        self.conv2 = Conv(maps, maps, padding=1, key=fold(key, SITES["conv2"]))  # maximisation.lee:49

    def forward(self, image):
        """image [n, channels, h, w] -> [n, maps, h, w], [n, maps, h, w]"""
        a = relu_2(self.conv1(image))  # [n, maps, h, w]  maximisation.lee:52
        return a, relu_2(self.conv2(a))  # maximisation.lee:53

    def forward_backward_input(self, a, select, d_y):
        """From d_y to the gradient by image."""
        _, _, h, w = a.shape
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_a = self.conv2.forward_backward_input(h, w, relu_2_backward(select, d_y))  # [n, maps, h, w]
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_image = self.conv1.forward_backward_input(h, w, relu_2_backward(a, d_a))  # [n, channels, h, w]
        return d_image  # [n, channels, h, w]

    def forward_backward_input_saved(self, a, select, d_y):
        """From d_y to the gradients by image, conv2_out and conv1_out."""
        _, _, h, w = a.shape
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_conv2_out, saved_relu_2_backward = relu_2_backward_saved(select, d_y)
        d_a = self.conv2.forward_backward_input(h, w, d_conv2_out)  # [n, maps, h, w]
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_conv1_out, saved_relu_2_backward_ = relu_2_backward_saved(a, d_a)
        d_image = self.conv1.forward_backward_input(h, w, d_conv1_out)  # [n, channels, h, w]
        saved = d_conv2_out, d_conv1_out, saved_relu_2_backward_, saved_relu_2_backward
        return d_image, saved

    def forward_backward_input_backward_parameters(self, saved, d_d_image):
        """From d_conv2_out, d_conv1_out and d_d_image to the gradient by the parameters."""
        d_conv2_out, d_conv1_out, saved_relu_2_backward_, _ = saved
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_conv1, d_d_conv1_out = self.conv1.forward_backward_input_backward(d_conv1_out, d_d_image)
        d_d_a = relu_2_backward_backward(saved_relu_2_backward_, d_d_conv1_out)  # [n, maps, h, w]
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_conv2 = Conv.forward_backward_input_backward_parameters(d_conv2_out, 1, 3, 1, 1, d_d_a)
        return {"conv1": d_conv1, "conv2": d_conv2}

    def forward_backward_input_backward(self, saved, d_d_image):
        """From d_conv2_out, d_conv1_out and d_d_image to the gradients by the parameters and d_select."""
        d_conv2_out, d_conv1_out, saved_relu_2_backward_, saved_relu_2_backward = saved
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_conv1, d_d_conv1_out = self.conv1.forward_backward_input_backward(d_conv1_out, d_d_image)
        d_d_a = relu_2_backward_backward(saved_relu_2_backward_, d_d_conv1_out)  # [n, maps, h, w]
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_conv2, d_d_conv2_out = self.conv2.forward_backward_input_backward(d_conv2_out, d_d_a)
        d_d_select = relu_2_backward_backward(saved_relu_2_backward, d_d_conv2_out)  # [n, maps, h, w]
        return {"conv1": d_conv1, "conv2": d_conv2}, d_d_select

    def forward_backward(self, image, a, select, d_y):
        """From d_y to the gradients by the parameters and image."""
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_conv2, d_a = self.conv2.forward_backward(a, relu_2_backward(select, d_y))
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_conv1, d_image = self.conv1.forward_backward(image, relu_2_backward(a, d_a))
        return {"conv1": d_conv1, "conv2": d_conv2}, d_image

    def forward_backward_input_2(self, a, select, d_a, d_y):
        """From d_a and d_y to the gradient by image."""
        _, _, h, w = a.shape
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_a_3 = self.conv2.forward_backward_input(h, w, relu_2_backward(select, d_y))  # [n, maps, h, w]
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_a_2 = d_a + d_a_3  # [n, maps, h, w]
        d_image = self.conv1.forward_backward_input(h, w, relu_2_backward(a, d_a_2))  # [n, channels, h, w]
        return d_image  # [n, channels, h, w]

    def forward_backward_input_2_saved(self, a, select, d_a, d_y):
        """From d_a and d_y to the gradients by image, conv2_out and conv1_out."""
        _, _, h, w = a.shape
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_conv2_out, saved_relu_2_backward = relu_2_backward_saved(select, d_y)
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_a_2 = d_a + self.conv2.forward_backward_input(h, w, d_conv2_out)  # [n, maps, h, w]
        d_conv1_out, saved_relu_2_backward_ = relu_2_backward_saved(a, d_a_2)
        d_image = self.conv1.forward_backward_input(h, w, d_conv1_out)  # [n, channels, h, w]
        saved = d_conv2_out, saved_relu_2_backward, d_conv1_out, saved_relu_2_backward_
        return d_image, saved

    def forward_backward_input_2_backward(self, saved, d_d_image):
        """From d_conv2_out, d_conv1_out and d_d_image to the gradients by the parameters, d_a and d_select."""
        d_conv2_out, saved_relu_2_backward, d_conv1_out, saved_relu_2_backward_ = saved
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_conv1, d_d_conv1_out = self.conv1.forward_backward_input_backward(d_conv1_out, d_d_image)
        d_d_a_2 = relu_2_backward_backward(saved_relu_2_backward_, d_d_conv1_out)  # [n, maps, h, w]
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_conv2, d_d_conv2_out = self.conv2.forward_backward_input_backward(d_conv2_out, d_d_a_2)
        d_d_select = relu_2_backward_backward(saved_relu_2_backward, d_d_conv2_out)  # [n, maps, h, w]
        return {"conv1": d_conv1, "conv2": d_conv2}, d_d_a_2, d_d_select

    def forward_backward_2(self, image, a, select, d_a, d_y):
        """From d_a and d_y to the gradients by the parameters and image."""
        # gradient of return a, relu(conv2(a))   maximisation.lee:53
        d_conv2, d_a_3 = self.conv2.forward_backward(a, relu_2_backward(select, d_y))
        # gradient of a = relu(conv1(image))   maximisation.lee:52
        d_a_2 = d_a + d_a_3  # [n, maps, h, w]
        d_conv1, d_image = self.conv1.forward_backward(image, relu_2_backward(a, d_a_2))
        return {"conv1": d_conv1, "conv2": d_conv2}, d_image


def liked_by_filter_saved(net, start, index, rate=0.05, steps=6):
    """As liked_by_filter, and what its gradient needs."""
    saved_liked_by_filter_step = [None] * steps  # maximisation.lee:59
    for t in range(steps):
        start, saved_liked_by_filter_step[t] = liked_by_filter_step_saved(net, start, rate, index)
    return start, saved_liked_by_filter_step


def liked_by_filter_backward(net, rate, saved_liked_by_filter_step, index, steps, d_x_3):
    """From d_conv2_out_rows, d_conv1_out_rows and d_x_3 to the gradients by net and start."""
    # gradient of for t in steps:   maximisation.lee:59
    # [net.maps, net.channels, 3, 3]
    d_net_conv1_kernel_2 = torch.zeros((net.maps, net.channels, 3, 3), dtype=FLOAT, device=d_x_3.device)
    # [net.maps, net.maps, 3, 3]
    d_net_conv2_kernel_2 = torch.zeros((net.maps, net.maps, 3, 3), dtype=FLOAT, device=d_x_3.device)
    d_net = {"conv1": {"kernel": d_net_conv1_kernel_2}, "conv2": {"kernel": d_net_conv2_kernel_2}}
    for t in reversed(range(steps)):
        d_x_3, d_net = liked_by_filter_step_backward(net, rate, saved_liked_by_filter_step[t], d_x_3, d_net)
    return d_net, d_x_3


def liked_by_filter_step_saved(net, x, rate, index):
    """As liked_by_filter_step, and what its gradient needs."""
    _, _, h, w = x.shape
    a, maps = net(x)  # maximisation.lee:60
    d_slice = torch.ones((1, 1, h, w), dtype=FLOAT, device=x.device)  # [1, 1, h, w]  maximisation.lee:61
    # [1, net.maps, h, w]
    d_maps = unslice(d_slice, (1, net.maps, h, w), (slice(0, 1), slice(index, index + 1), slice(0, h), slice(0, w)))
    d_x, saved_net = net.forward_backward_input_saved(a, maps, d_maps)  # maximisation.lee:60
    x_2 = x + rate * d_x  # [1, net.channels, h, w]  maximisation.lee:61
    return x_2, saved_net


def liked_by_filter_step_backward(net, rate, saved_net, d_x_2, d_net):
    """From d_conv2_out, d_conv1_out, d_x_2 and d_net to the gradients by x and net."""
    # gradient of _, maps = net(x)   maximisation.lee:60
    d_net_ = net.forward_backward_input_backward_parameters(saved_net, d_x_2 * rate)
    return d_x_2, {
        "conv1": {"kernel": d_net["conv1"]["kernel"] + d_net_["conv1"]["kernel"]},
        "conv2": {"kernel": d_net["conv2"]["kernel"] + d_net_["conv2"]["kernel"]},
    }


def dream(net, start, more=1.5, rate=0.1, steps=6):
    """Deep Dream: what a layer sees should be there more; the slope that realises `more` times its output.

    start [1, net.channels, h, w] -> [1, net.channels, h, w]
    """
    # maximisation.lee:68
    for t in range(steps):
        start = dream_step(net, start, more, rate)
    return start  # [1, net.channels, h, w]


def dream_saved(net, start, more=1.5, rate=0.1, steps=6):
    """As dream, and what its gradient needs."""
    saved_dream_step = [None] * steps  # maximisation.lee:68
    for t in range(steps):
        start, saved_dream_step[t] = dream_step_saved(net, start, more, rate)
    return start, saved_dream_step


def dream_backward(net, rate, saved_dream_step, steps, d_x_3):
    """From d_mul_2_rows, d_conv2_out_rows, d_conv1_out_rows and d_x_3 to the gradients by net and start."""
    # gradient of for t in steps:   maximisation.lee:68
    # [net.maps, net.channels, 3, 3]
    d_net_conv1_kernel_2 = torch.zeros((net.maps, net.channels, 3, 3), dtype=FLOAT, device=d_x_3.device)
    # [net.maps, net.maps, 3, 3]
    d_net_conv2_kernel_2 = torch.zeros((net.maps, net.maps, 3, 3), dtype=FLOAT, device=d_x_3.device)
    d_net = {"conv1": {"kernel": d_net_conv1_kernel_2}, "conv2": {"kernel": d_net_conv2_kernel_2}}
    d_net_conv1_bias_rows = [None] * steps
    d_net_conv2_bias_rows = [None] * steps
    for t in reversed(range(steps)):
        d_x_3, d_net, d_net_conv1_bias_rows[t], d_net_conv2_bias_rows[t] = dream_step_backward(
            net, saved_dream_step[t], rate, d_x_3, d_net
        )
    d_net_conv1_bias_rows = (
        torch.stack(d_net_conv1_bias_rows, 0)
        if d_net_conv1_bias_rows
        else torch.zeros((steps, net.maps), dtype=FLOAT, device=d_x_3.device)
    )
    d_net_conv2_bias_rows = (
        torch.stack(d_net_conv2_bias_rows, 0)
        if d_net_conv2_bias_rows
        else torch.zeros((steps, net.maps), dtype=FLOAT, device=d_x_3.device)
    )
    d_net_conv1_bias = d_net_conv1_bias_rows.sum(dim=0)  # [net.maps]
    d_net_conv2_bias = d_net_conv2_bias_rows.sum(dim=0)  # [net.maps]
    return {
        "conv1": {"kernel": d_net["conv1"]["kernel"], "bias": d_net_conv1_bias},
        "conv2": {"kernel": d_net["conv2"]["kernel"], "bias": d_net_conv2_bias},
    }, d_x_3


def dream_step(net, x, more, rate):
    """x [1, net.channels, h, w] -> [1, net.channels, h, w]"""
    a, seen = net(x)  # maximisation.lee:69
    wanted = stop(more * seen)  # [1, net.maps, h, w]  maximisation.lee:70
    d_seen = seen - wanted  # [1, net.maps, h, w]  maximisation.lee:71
    x_2 = x - rate * net.forward_backward_input(a, seen, d_seen)  # [1, net.channels, h, w]
    return x_2  # [1, net.channels, h, w]


def dream_step_saved(net, x, more, rate):
    """As dream_step, and what its gradient needs."""
    _, _, h, w = x.shape
    a, seen = net(x)  # maximisation.lee:69
    wanted = stop(more * seen)  # [1, net.maps, h, w]  maximisation.lee:70
    d_seen = seen - wanted  # [1, net.maps, h, w]  maximisation.lee:71
    d_mul_2 = torch.full((1, net.maps, h, w), 0.5, dtype=FLOAT, device=x.device)  # [1, net.maps, h, w]
    d_x, saved_net = net.forward_backward_input_saved(a, seen, d_seen)  # maximisation.lee:69
    x_2 = x - rate * d_x  # [1, net.channels, h, w]  maximisation.lee:71
    return x_2, (a, seen, d_mul_2, saved_net, x)


def dream_step_backward(net, saved, rate, d_x_2, d_net):
    """From d_mul_2, d_conv2_out, d_conv1_out, d_x_2 and d_net to the gradients by x, net, net.conv1.bias and net.conv2.bias."""
    a, seen, d_mul_2, saved_net, x = saved
    # gradient of _, seen = net(x)   maximisation.lee:69
    d_net_, d_d_seen = net.forward_backward_input_backward(saved_net, -(rate * d_x_2))
    # gradient of x = x - rate * grad(0.5 * sum((seen - wanted) ** 2), x)   maximisation.lee:71
    d_seen = 2 * (d_d_seen * d_mul_2)  # [1, net.maps, h, w]
    # gradient of _, seen = net(x)   maximisation.lee:69
    d_net_2, d_x_3 = net.forward_backward(x, a, seen, d_seen)
    d_net_conv1_kernel = d_net_["conv1"]["kernel"] + d_net_2["conv1"]["kernel"]  # [net.maps, net.channels, 3, 3]
    d_net_conv2_kernel = d_net_["conv2"]["kernel"] + d_net_2["conv2"]["kernel"]  # [net.maps, net.maps, 3, 3]
    d_x = d_x_2 + d_x_3  # [1, net.channels, h, w]
    return (
        d_x,
        {
            "conv1": {"kernel": d_net["conv1"]["kernel"] + d_net_conv1_kernel},
            "conv2": {"kernel": d_net["conv2"]["kernel"] + d_net_conv2_kernel},
        },
        d_net_2["conv1"]["bias"],
        d_net_2["conv2"]["bias"],
    )


def gram(a):
    """Which maps are active together, wherever that is.

    a [n, c, h, w] -> [n, c, c]
    """
    n, c, h, w = a.shape
    reshape = a.reshape(n, c, h * w)  # [n, c, h * w]  maximisation.lee:80
    together = reshape @ reshape.mT / (c * h * w)  # [n, c, c]
    return together  # [n, c, c]


def gram_backward(a, d_together):
    """From d_together to the gradient by a."""
    n, c, h, w = a.shape
    # gradient of together[r, k, l] = sum[i, j](a[r, k, i, j] * a[r, l, i, j]) / (c * h * w)   maximisation.lee:80
    d_contract = d_together / (c * h * w)  # [n, c, c]
    reshape = a.reshape(n, c, h * w)  # [n, c, h * w]
    d_a_3 = (d_contract.mT @ reshape).reshape(n, c, h, w)  # [n, c, h, w]
    d_a = (d_contract @ reshape).reshape(n, c, h, w) + d_a_3  # [n, c, h, w]
    return d_a  # [n, c, h, w]


def gram_backward_saved(a, d_together):
    """From d_together to the gradients by a and contract."""
    n, c, h, w = a.shape
    # gradient of together[r, k, l] = sum[i, j](a[r, k, i, j] * a[r, l, i, j]) / (c * h * w)   maximisation.lee:80
    d_contract = d_together / (c * h * w)  # [n, c, c]
    reshape = a.reshape(n, c, h * w)  # [n, c, h * w]
    d_a_3 = (d_contract.mT @ reshape).reshape(n, c, h, w)  # [n, c, h, w]
    d_a = (d_contract @ reshape).reshape(n, c, h, w) + d_a_3  # [n, c, h, w]
    return d_a, d_contract


def gram_backward_backward(a, d_contract, d_d_a):
    """From d_contract and d_d_a to the gradients by a and d_together."""
    n, c, h, w = a.shape
    # gradient of together[r, k, l] = sum[i, j](a[r, k, i, j] * a[r, l, i, j]) / (c * h * w)   maximisation.lee:80
    reshape = d_d_a.reshape(n, c, h * w)  # [n, c, h * w]
    reshape_2 = a.reshape(n, c, h * w)  # [n, c, h * w]
    d_d_together = (reshape_2 @ reshape.mT + reshape @ reshape_2.mT) / (c * h * w)  # [n, c, c]
    d_a_3 = (d_contract.mT @ reshape).reshape(n, c, h, w)  # [n, c, h, w]
    d_a = (d_contract @ reshape).reshape(n, c, h, w) + d_a_3  # [n, c, h, w]
    return d_a, d_d_together


def content_and_style(net, x, content, style, weight=3.0):
    """The maps of one image, the Gram matrices of another (Gatys et al. 2016).

    x [1, net.channels, h, w], content [1, net.channels, h, w], style [1, net.channels, h2, w2] -> []
    """
    low, high = net(x)  # maximisation.lee:86
    _, wanted = net(content)  # maximisation.lee:87
    style_low, style_high = net(style)  # maximisation.lee:88
    sub = high - wanted  # [1, net.maps, h, w]  maximisation.lee:89
    like_content = (sub**2).mean()
    sub_2 = gram(low) - gram(style_low)  # [1, net.maps, net.maps]  maximisation.lee:90
    sub_3 = gram(high) - gram(style_high)  # [1, net.maps, net.maps]
    like_style = (sub_2**2).sum() + (sub_3**2).sum()
    return like_content + weight * like_style  # maximisation.lee:91


def content_and_style_saved(net, x, content, style, weight=3.0):
    """As content_and_style, and what its gradient needs."""
    low, high = net(x)  # maximisation.lee:86
    a, wanted = net(content)  # maximisation.lee:87
    style_low, style_high = net(style)  # maximisation.lee:88
    sub = high - wanted  # [1, net.maps, h, w]  maximisation.lee:89
    like_content = (sub**2).mean()
    sub_2 = gram(low) - gram(style_low)  # [1, net.maps, net.maps]  maximisation.lee:90
    sub_3 = gram(high) - gram(style_high)  # [1, net.maps, net.maps]
    like_style = (sub_2**2).sum() + (sub_3**2).sum()
    saved = low, high, sub, sub_2, sub_3, a, wanted, style_low, style_high
    return like_content + weight * like_style, saved  # maximisation.lee:91


def content_and_style_backward_input(net, weight, saved, d_y):
    """From d_y to the gradient by x."""
    low, high, sub, sub_2, sub_3, _, _, _, _ = saved
    _, _, h, w = low.shape
    # gradient of return like_content + weight * like_style   maximisation.lee:91
    d_like_style = d_y * weight
    # gradient of like_style = sum((gram(low) - gram(style_low)) ** 2) + sum((gram(high) - gram..   maximisation.lee:90
    mul = 2 * d_like_style
    d_low = gram_backward(low, mul * sub_2)  # [1, net.maps, h, w]
    # gradient of low, high = net(x)   maximisation.lee:86
    d_high = gram_backward(high, mul * sub_3) + 2 * (d_y / (h * net.maps * w)) * sub  # [1, net.maps, h, w]
    d_x = net.forward_backward_input_2(low, high, d_low, d_high)  # [1, net.channels, h, w]
    return d_x  # [1, net.channels, h, w]


def content_and_style_backward_input_saved(net, weight, saved, d_y):
    """From d_y to the gradients by x, mul_3, contract_2, mul_2, contract, mul, conv2_out and conv1_out."""
    low, high, sub, sub_2, sub_3, _, _, _, _ = saved
    _, _, h, w = low.shape
    # gradient of return like_content + weight * like_style   maximisation.lee:91
    d_like_style = d_y * weight
    # gradient of like_style = sum((gram(low) - gram(style_low)) ** 2) + sum((gram(high) - gram..   maximisation.lee:90
    d_mul_3 = d_like_style.expand(1, net.maps, net.maps)  # [1, net.maps, net.maps]
    mul = 2 * d_like_style
    d_high_2, saved_gram_backward = gram_backward_saved(high, mul * sub_3)
    d_low, saved_gram_backward_ = gram_backward_saved(low, mul * sub_2)
    # gradient of like_content = mean((high - wanted) ** 2)   maximisation.lee:89
    div = d_y / (h * net.maps * w)
    # gradient of low, high = net(x)   maximisation.lee:86
    d_high = d_high_2 + 2 * div * sub  # [1, net.maps, h, w]
    d_x, saved_net = net.forward_backward_input_2_saved(low, high, d_low, d_high)
    saved = d_mul_3, saved_gram_backward, saved_gram_backward_, div.expand(1, net.maps, h, w), saved_net
    return d_x, saved


def content_and_style_backward_input_backward(net, low, high, saved, d_d_x):
    """From d_mul_3, d_contract_2, d_mul_2, d_contract, d_mul, d_conv2_out, d_conv1_out and d_d_x to the gradients by net, low, high, sub, sub_2 and sub_3."""
    d_mul_3, saved_gram_backward, saved_gram_backward_, d_mul, saved_net = saved
    # gradient of low, high = net(x)   maximisation.lee:86
    d_net, d_d_low, d_d_high = net.forward_backward_input_2_backward(saved_net, d_d_x)
    # gradient of like_style = sum((gram(low) - gram(style_low)) ** 2) + sum((gram(high) - gram..   maximisation.lee:90
    d_low, d_d_sub_2 = gram_backward_backward(low, saved_gram_backward_, d_d_low)
    d_high, d_d_sub_3 = gram_backward_backward(high, saved_gram_backward, d_d_high)
    return d_net, d_low, d_high, 2 * (d_d_high * d_mul), 2 * (d_d_sub_2 * d_mul_3), 2 * (d_d_sub_3 * d_mul_3)


def content_and_style_saved_backward(net, x, content, style, saved, d_low, d_high, d_sub, d_sub_2, d_sub_3):
    """From d_low, d_high, d_sub, d_sub_2 and d_sub_3 to the gradients by net, x, content and style."""
    low, high, _, _, _, a, wanted, style_low, style_high = saved
    # gradient of like_style = sum((gram(low) - gram(style_low)) ** 2) + sum((gram(high) - gram..   maximisation.lee:90
    d_style_high = gram_backward(style_high, -d_sub_3)  # [1, net.maps, h2, w2]
    d_style_low = gram_backward(style_low, -d_sub_2)  # [1, net.maps, h2, w2]
    # gradient of like_content = mean((high - wanted) ** 2)   maximisation.lee:89
    d_wanted = -d_sub  # [1, net.maps, h, w]
    # gradient of style_low, style_high = net(style)   maximisation.lee:88
    d_net, d_style = net.forward_backward_2(style, style_low, style_high, d_style_low, d_style_high)
    # gradient of _, wanted = net(content)   maximisation.lee:87
    d_net_, d_content = net.forward_backward(content, a, wanted, d_wanted)
    # gradient of low, high = net(x)   maximisation.lee:86
    d_low_2 = d_low + gram_backward(low, d_sub_2)  # [1, net.maps, h, w]
    d_high_2 = d_high + gram_backward(high, d_sub_3) + d_sub  # [1, net.maps, h, w]
    d_net_2, d_x = net.forward_backward_2(x, low, high, d_low_2, d_high_2)
    d_net_conv1_kernel_5 = d_net["conv1"]["kernel"] + d_net_["conv1"]["kernel"]  # [net.maps, net.channels, 3, 3]
    d_net_conv1_kernel = d_net_conv1_kernel_5 + d_net_2["conv1"]["kernel"]  # [net.maps, net.channels, 3, 3]
    d_net_conv1_bias = d_net["conv1"]["bias"] + d_net_["conv1"]["bias"] + d_net_2["conv1"]["bias"]  # [net.maps]
    d_net_conv2_kernel_5 = d_net["conv2"]["kernel"] + d_net_["conv2"]["kernel"]  # [net.maps, net.maps, 3, 3]
    d_net_conv2_kernel = d_net_conv2_kernel_5 + d_net_2["conv2"]["kernel"]  # [net.maps, net.maps, 3, 3]
    d_net_conv2_bias = d_net["conv2"]["bias"] + d_net_["conv2"]["bias"] + d_net_2["conv2"]["bias"]  # [net.maps]
    return (
        {
            "conv1": {"kernel": d_net_conv1_kernel, "bias": d_net_conv1_bias},
            "conv2": {"kernel": d_net_conv2_kernel, "bias": d_net_conv2_bias},
        },
        d_x,
        d_content,
        d_style,
    )


def transferred(net, content, style, rate=0.5, steps=5):
    """From the image of the content, down that loss.

    content [1, net.channels, h, w], style [1, net.channels, h2, w2] -> [1, net.channels, h, w]
    """
    x = content  # maximisation.lee:97
    for t in range(steps):
        x = transferred_step(net, x, content, style, rate)
    return x  # [1, net.channels, h, w]


def transferred_saved(net, content, style, rate=0.5, steps=5):
    """As transferred, and what its gradient needs."""
    x = content  # maximisation.lee:97
    saved_transferred_step = [None] * steps
    for t in range(steps):
        x, saved_transferred_step[t] = transferred_step_saved(net, x, content, style, rate)
    return x, saved_transferred_step


def transferred_backward(net, content, style, rate, saved_transferred_step, steps, d_x_3):
    """From d_mul_3_rows, d_contract_2_rows, d_mul_2_rows, d_contract_rows, d_mul_rows, d_conv2_out_rows, d_conv1_out_rows and d_x_3 to the gradients by net, content and style."""
    _, _, h, w = content.shape
    _, _, h2, w2 = style.shape
    # gradient of for t in steps:   maximisation.lee:97
    # [net.maps, net.channels, 3, 3]
    d_net_conv1_kernel_2 = torch.zeros((net.maps, net.channels, 3, 3), dtype=FLOAT, device=content.device)
    # [net.maps, net.maps, 3, 3]
    d_net_conv2_kernel_2 = torch.zeros((net.maps, net.maps, 3, 3), dtype=FLOAT, device=content.device)
    d_content_4 = torch.zeros((1, net.channels, h, w), dtype=FLOAT, device=content.device)  # [1, net.channels, h, w]
    d_style_2 = torch.zeros((1, net.channels, h2, w2), dtype=FLOAT, device=content.device)  # [1, net.channels, h2, w2]
    d_net = {"conv1": {"kernel": d_net_conv1_kernel_2}, "conv2": {"kernel": d_net_conv2_kernel_2}}
    d_net_conv1_bias_rows = [None] * steps
    d_net_conv2_bias_rows = [None] * steps
    for t in reversed(range(steps)):
        d_x_3, d_net, d_content_4, d_style_2, d_net_conv1_bias_rows[t], d_net_conv2_bias_rows[t] = (
            transferred_step_backward(
                net, saved_transferred_step[t], content, style, rate, d_x_3, d_net, d_content_4, d_style_2
            )
        )
    d_net_conv1_bias_rows = (
        torch.stack(d_net_conv1_bias_rows, 0)
        if d_net_conv1_bias_rows
        else torch.zeros((steps, net.maps), dtype=FLOAT, device=content.device)
    )
    d_net_conv2_bias_rows = (
        torch.stack(d_net_conv2_bias_rows, 0)
        if d_net_conv2_bias_rows
        else torch.zeros((steps, net.maps), dtype=FLOAT, device=content.device)
    )
    d_net_conv1_bias = d_net_conv1_bias_rows.sum(dim=0)  # [net.maps]
    d_net_conv2_bias = d_net_conv2_bias_rows.sum(dim=0)  # [net.maps]
    d_content = d_x_3 + d_content_4  # [1, net.channels, h, w]
    return (
        {
            "conv1": {"kernel": d_net["conv1"]["kernel"], "bias": d_net_conv1_bias},
            "conv2": {"kernel": d_net["conv2"]["kernel"], "bias": d_net_conv2_bias},
        },
        d_content,
        d_style_2,
    )


def transferred_step(net, x, content, style, rate):
    """x [1, net.channels, h, w], content [1, net.channels, h, w], style [1, net.channels, h2, w2] -> [1,
    net.channels, h, w]
    """
    _, saved_content_and_style = content_and_style_saved(net, x, content, style)  # maximisation.lee:98
    d_add = torch.ones((), dtype=FLOAT, device=x.device)
    d_x = content_and_style_backward_input(net, 3.0, saved_content_and_style, d_add)  # [1, net.channels, h, w]
    x_2 = x - rate * d_x  # [1, net.channels, h, w]
    return x_2  # [1, net.channels, h, w]


def transferred_step_saved(net, x, content, style, rate):
    """As transferred_step, and what its gradient needs."""
    _, saved_content_and_style = content_and_style_saved(net, x, content, style)  # maximisation.lee:98
    d_add = torch.ones((), dtype=FLOAT, device=x.device)
    d_x, saved_content_and_style_backward_input = content_and_style_backward_input_saved(
        net, 3.0, saved_content_and_style, d_add
    )
    x_2 = x - rate * d_x  # [1, net.channels, h, w]
    saved = saved_content_and_style, saved_content_and_style_backward_input, x
    return x_2, saved


def transferred_step_backward(net, saved, content, style, rate, d_x_2, d_net, d_content, d_style):
    """From d_mul_3, d_contract_2, d_mul_2, d_contract, d_mul, d_conv2_out, d_conv1_out, d_x_2, d_net, d_content and d_style to the gradients by x, net, content, style, net.conv1.bias and net.conv2.bias."""
    saved_content_and_style, saved_content_and_style_backward_input, x = saved
    # gradient of x = x - rate * grad(content_and_style(net, x, content, style), x)   maximisation.lee:98
    d_d_x = -(rate * d_x_2)  # [1, net.channels, h, w]
    d_net_, d_low, d_high, d_sub, d_sub_2, d_sub_3 = content_and_style_backward_input_backward(
        net, saved_content_and_style[0], saved_content_and_style[1], saved_content_and_style_backward_input, d_d_x
    )
    d_net_2, d_x_3, d_content_, d_style_ = content_and_style_saved_backward(
        net, x, content, style, saved_content_and_style, d_low, d_high, d_sub, d_sub_2, d_sub_3
    )
    d_net_conv1_kernel = d_net_["conv1"]["kernel"] + d_net_2["conv1"]["kernel"]  # [net.maps, net.channels, 3, 3]
    d_net_conv2_kernel = d_net_["conv2"]["kernel"] + d_net_2["conv2"]["kernel"]  # [net.maps, net.maps, 3, 3]
    d_x = d_x_2 + d_x_3  # [1, net.channels, h, w]
    return (
        d_x,
        {
            "conv1": {"kernel": d_net["conv1"]["kernel"] + d_net_conv1_kernel},
            "conv2": {"kernel": d_net["conv2"]["kernel"] + d_net_conv2_kernel},
        },
        d_content + d_content_,
        d_style + d_style_,
        d_net_2["conv1"]["bias"],
        d_net_2["conv2"]["bias"],
    )


def example_climbed(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # maximisation.lee:103
    start = normal(fold(key, SITES["start"]), (3, 5), FLOAT)  # [3, 5]  maximisation.lee:104
    label = randint(fold(key, SITES["label"]), (3,), 0, 4)  # int[3]  maximisation.lee:105
    c = normal(fold(key, SITES["c"]), (3, 5), FLOAT)  # [3, 5]  maximisation.lee:106
    d_c, saved_liked = liked_saved(net, start, label)  # maximisation.lee:107
    d_net, d_start = liked_backward(net, 0.3, saved_liked, 6, c)
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"], "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        d_start,
        d_c,
    )


def example_climbed_as_image(key):
    net = MLP((20, 6, 4), key=fold(key, SITES["net"]))  # maximisation.lee:111
    start = normal(fold(key, SITES["start"]), (3, 4, 5), FLOAT)  # [3, 4, 5]  maximisation.lee:112
    label = randint(fold(key, SITES["label"]), (3,), 0, 4)  # int[3]  maximisation.lee:113
    c = normal(fold(key, SITES["c"]), (3, 4, 5), FLOAT)  # [3, 4, 5]  maximisation.lee:114
    d_c, saved_liked_as_image = liked_as_image_saved(net, start, label)  # maximisation.lee:115
    d_net, d_start = liked_as_image_backward(net, 0.3, saved_liked_as_image, 6, c)
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"], "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        d_start,
        d_c,
    )


def example_generated(key):
    net = MLP((5, 6, 4), key=fold(key, SITES["net"]))  # maximisation.lee:119
    generator = MLP((2, 6, 5), key=fold(key, SITES["generator"]))  # maximisation.lee:120
    start = normal(fold(key, SITES["start"]), (3, 2), FLOAT)  # [3, 2]  maximisation.lee:121
    label = randint(fold(key, SITES["label"]), (3,), 0, 4)  # int[3]  maximisation.lee:122
    c = normal(fold(key, SITES["c"]), (3, 5), FLOAT)  # [3, 5]  maximisation.lee:123
    d_c, saved_liked_by_generator = liked_by_generator_saved(net, generator, start, label)  # maximisation.lee:124
    d_net, d_generator, d_start = liked_by_generator_backward(net, generator, 0.3, saved_liked_by_generator, 6, c)
    return (
        (c * d_c).sum(),
        net.at(
            {
                "layers.0": {"w": d_net["layers.0"]["w"], "b": torch.zeros(6, dtype=FLOAT)},
                "layers.1": {"w": d_net["layers.1"]["w"], "b": torch.zeros(4, dtype=FLOAT)},
            }
        ),
        generator.at(d_generator),
        d_start,
        d_c,
    )


def example_pattern(key):
    net = Layers(2, 3, key=fold(key, SITES["net"]))  # maximisation.lee:128
    start = normal(fold(key, SITES["start"]), (1, 2, 5, 6), FLOAT)  # [1, 2, 5, 6]  maximisation.lee:129
    c = normal(fold(key, SITES["c"]), (1, 2, 5, 6), FLOAT)  # [1, 2, 5, 6]  maximisation.lee:130
    d_c, saved_liked_by_filter = liked_by_filter_saved(net, start, 0)  # maximisation.lee:131
    d_net, d_start = liked_by_filter_backward(net, 0.05, saved_liked_by_filter, 0, 6, c)
    bias = torch.zeros(3, dtype=FLOAT)  # [3]
    return (
        (c * d_c).sum(),
        net.at(
            {
                "conv1": {"kernel": d_net["conv1"]["kernel"], "bias": bias},
                "conv2": {"kernel": d_net["conv2"]["kernel"], "bias": bias},
            }
        ),
        d_start,
        d_c,
    )


def example_dreamt(key):
    net = Layers(2, 3, key=fold(key, SITES["net"]))  # maximisation.lee:135
    start = normal(fold(key, SITES["start"]), (1, 2, 5, 6), FLOAT)  # [1, 2, 5, 6]  maximisation.lee:136
    c = normal(fold(key, SITES["c"]), (1, 2, 5, 6), FLOAT)  # [1, 2, 5, 6]  maximisation.lee:137
    d_c, saved_dream = dream_saved(net, start)  # maximisation.lee:138
    d_net, d_start = dream_backward(net, 0.1, saved_dream, 6, c)
    return (c * d_c).sum(), net.at(d_net), d_start, d_c


def example_painted(key):
    net = Layers(2, 3, key=fold(key, SITES["net"]))  # maximisation.lee:142
    content = normal(fold(key, SITES["content"]), (1, 2, 5, 6), FLOAT)  # [1, 2, 5, 6]  maximisation.lee:143
    style = normal(fold(key, SITES["style"]), (1, 2, 4, 7), FLOAT)  # [1, 2, 4, 7]  maximisation.lee:144
    c = normal(fold(key, SITES["c"]), (1, 2, 5, 6), FLOAT)  # [1, 2, 5, 6]  maximisation.lee:145
    d_c, saved_transferred = transferred_saved(net, content, style)  # maximisation.lee:146
    d_net, d_content, d_style = transferred_backward(net, content, style, 0.5, saved_transferred, 5, c)
    return (c * d_c).sum(), net.at(d_net), d_content, d_style, d_c


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_x = d_y @ self.w.T  # [rows, inputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}, d_x


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

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


def conv2d(x, kernel, stride=1, padding=0, dilation=1):
    """yₙₒᵢⱼ = Σ xₙ,c,sᵢ₊ᵤ,sⱼ₊ᵥ Kₒcᵤᵥ

    x [n, c, h, w], kernel [o, c, kh, kw] -> [n, o, out_h, out_w]
    """
    # [n, o, out_h, out_w]  nn.lee:83
    y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return y  # [n, o, out_h, out_w]


def conv2d_backward(kernel, dilation, h, padding, stride, w, d_y):
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


def conv2d_backward_backward(kernel, d_y, dilation, padding, stride, d_d_x):
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


def conv2d_backward_backward_2(d_y, dilation, kh, kw, padding, stride, d_d_x):
    """From d_y and d_d_x to the gradient by kernel."""
    o = d_y.shape[1]
    c = d_d_x.shape[1]
    # gradient of y[n, o, i in (h + 2*padding - dilation*(kh - 1) - 1) // stride + 1, j in (w +..   nn.lee:83
    # [o, c, kh, kw]
    d_kernel = torch.nn.grad.conv2d_weight(
        d_d_x, (o, c, kh, kw), d_y, stride=stride, padding=padding, dilation=dilation
    )
    return d_kernel  # [o, c, kh, kw]


def conv2d_backward_2(x, kernel, dilation, padding, stride, d_y):
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

    def forward_backward_input(self, h, w, d_y):
        """From d_y to the gradient by x."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x = conv2d_backward(self.kernel, self.dilation, h, self.padding, self.stride, w, d_y)  # [n, inputs, h, w]
        return d_x  # [n, inputs, h, w]

    def forward_backward_input_backward(self, d_add, d_d_x):
        """From d_add and d_d_x to the gradients by the parameters and d_add."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_kernel, d_d_add = conv2d_backward_backward(
            self.kernel, d_add, self.dilation, self.padding, self.stride, d_d_x
        )
        return {"kernel": d_kernel}, d_d_add

    @staticmethod
    def forward_backward_input_backward_parameters(d_add, dilation, k, padding, stride, d_d_x):
        """From d_add and d_d_x to the gradient by the parameters."""
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_kernel = conv2d_backward_backward_2(d_add, dilation, k, k, padding, stride, d_d_x)  # [outputs, inputs, k, k]
        return {"kernel": d_kernel}  # [outputs, inputs, k, k]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward_2(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


def stop(x):
    """x, through which no gradient flows.

    x [1, x_1, x_2, x_3] -> [1, x_1, x_2, x_3]
    """
    return x.detach()  # [1, x_1, x_2, x_3]  prelude.lee:18


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

    x [x_0, x_1, x_2, x_3] -> [x_0, x_1, x_2, x_3]
    """
    return torch.relu(x)  # [x_0, x_1, x_2, x_3]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x  # [x_0, x_1, x_2, x_3]


def relu_2_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0, x_1, x_2, x_3]
    d_x = torch.where(gt, d_y, 0)  # [x_0, x_1, x_2, x_3]
    return d_x, gt


def relu_2_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = torch.where(gt, d_d_x, 0)  # [x_0, x_1, x_2, x_3]
    return d_d_select  # [x_0, x_1, x_2, x_3]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "bias": 0x7246FEB96AC500B4,
    "c": 0x1B2C07CD64633F37,
    "content": 0xA3AB977412994AB1,
    "conv1": 0x8854C97F58980E7B,
    "conv2": 0x12CDF365F51A69AF,
    "generator": 0xB688FD1493371AF3,
    "kernel": 0x273FEA903E119357,
    "label": 0x97BB9DAEC28EDB5C,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "start": 0xF7091535421F26A0,
    "style": 0x6D52B799F11BF204,
    "w": 0x20925082A2286B9E,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


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
