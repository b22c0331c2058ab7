"""Derivatives of what is no number, and along directions: jvp and hvp, steps that they lead to.

Made from specs/linear_algebra/derivatives.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/linear_algebra/derivatives.lee
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

        Gradients flow through them. What is not given is shared, but for buffers, which are copied.
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
            elif name in tensors:
                twin._parameters.pop(attribute, None)
                twin._buffers.pop(attribute, None)
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


def pushed(x, u, a):
    """How sin(x a) x₁ changes as x moves along u.

    x [n, d], u [n, d], a [d, k] -> [n, k]
    """
    contract = x @ a  # [n, k]  derivatives.lee:8
    d_d_y = u[:, :1] * torch.sin(contract) + u @ a * torch.cos(contract) * x[:, :1]  # [n, k]  derivatives.lee:9
    return d_d_y  # [n, k]


def pushed_saved(x, u, a):
    """As pushed, and what its gradient needs."""
    contract = x @ a  # [n, k]  derivatives.lee:8
    sin = torch.sin(contract)  # [n, k]
    cos = torch.cos(contract)  # [n, k]
    d_d_contract = u @ a  # [n, k]
    d_d_sin = d_d_contract * cos  # [n, k]
    d_d_y = u[:, :1] * sin + d_d_sin * x[:, :1]  # [n, k]  derivatives.lee:9
    return d_d_y, (contract, sin, cos, u, d_d_contract, d_d_sin)


def pushed_backward(x, a, saved, d_d_w):
    """From d_d_x, d_d_contract, d_d_sin and d_d_w to the gradients by x, u and a."""
    contract, sin, cos, u, d_d_contract, d_d_sin = saved
    n, d = x.shape
    # gradient of y = sin(x @ a) * x[:, :1]   derivatives.lee:8
    d_d_d_sin = d_d_w * x[:, :1]  # [n, k]
    d_d_d_slice = (d_d_w * sin).sum(dim=1, keepdim=True)  # [n, 1]
    d_d_d_contract = d_d_d_sin * cos  # [n, k]
    d_d_d_x_2 = unslice(d_d_d_slice, (n, d), (slice(0, n), slice(0, 1)))  # [n, d]
    # gradient of return jvp(y, x, u)   derivatives.lee:9
    d_u = d_d_d_x_2 + d_d_d_contract @ a.T  # [n, d]
    # gradient of y = sin(x @ a) * x[:, :1]   derivatives.lee:8
    d_slice = (d_d_w * d_d_sin).sum(dim=1, keepdim=True)  # [n, 1]
    mul_2 = d_d_d_sin * d_d_contract * torch.sin(contract)  # [n, k]
    d_contract = d_d_w * u[:, :1] * torch.cos(contract) - mul_2  # [n, k]
    d_x = unslice(d_slice, (n, d), (slice(0, n), slice(0, 1))) + d_contract @ a.T  # [n, d]
    d_a = u.T @ d_d_d_contract + x.T @ d_contract  # [d, k]
    return d_x, d_u, d_a


def curvature_saved(net, u, x):
    """As curvature, and what its gradient needs."""
    n = x.shape[0]
    if net.sizes[0] != 3:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal 3")
    if u.sizes[0] != net.sizes[0]:
        raise ValueError(f"derivatives.lee:14: u.sizes_0 = {u.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if u.sizes[1] != net.sizes[1]:
        raise ValueError(f"derivatives.lee:14: u.sizes_1 = {u.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if u.sizes[2] != net.sizes[2]:
        raise ValueError(f"derivatives.lee:14: u.sizes_2 = {u.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]  derivatives.lee:14
    add_2, saved_net = net.forward_saved(reshape)
    d_w_7 = u.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    d_w_8 = u.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    div = 1.0 / (n * net.sizes[2])
    d_mul = torch.full((n, net.sizes[2]), div, dtype=FLOAT, device=x.device)  # [n, net.sizes_2]
    d_add_2 = 2 / (n * net.sizes[2]) * add_2  # [n, net.sizes_2]
    _, gt = net.forward_backward_parameters_saved(reshape, saved_net, d_add_2)
    w_3 = torch.ones((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=x.device)  # [net.sizes_0, net.sizes_1]
    w_5 = torch.ones((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=x.device)  # [net.sizes_1, net.sizes_2]
    w_4 = torch.ones(net.sizes[1], dtype=FLOAT, device=x.device)  # [net.sizes_1]
    w_6 = torch.ones(net.sizes[2], dtype=FLOAT, device=x.device)  # [net.sizes_2]
    _, d_x_2, d_d_add_2 = net.forward_backward_parameters_backward(
        reshape, saved_net, d_add_2, gt, {"layers.0": {"w": w_3, "b": w_4}, "layers.1": {"w": w_5, "b": w_6}}
    )
    d_add_2_4 = 2 / (n * net.sizes[2]) * d_d_add_2  # [n, net.sizes_2]
    _, gt_2 = net.forward_saved_backward_parameters_saved(reshape, saved_net, d_add_2_4, d_x_2)
    reshape_2 = u.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    reshape_3 = u.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    d_d_add_2_4, d_d_x_2 = net.forward_saved_backward_parameters_backward_input(
        reshape, saved_net, gt_2, {"layers.0": {"w": d_w_7, "b": reshape_2}, "layers.1": {"w": d_w_8, "b": reshape_3}}
    )
    d_d_d_add_2 = 2 / (n * net.sizes[2]) * d_d_add_2_4  # [n, net.sizes_2]
    d_d_d_self, saved_net_ = net.forward_backward_parameters_backward_backward_parameters_saved(
        reshape, saved_net, d_add_2, gt, {"layers.1": {"w": d_w_8}}, d_d_x_2, d_d_d_add_2
    )
    add_3_2 = dot(u, net.at({"layers.0": d_d_d_self["layers.0"], "layers.1": d_d_d_self["layers.1"]}))
    saved = (
        saved_net,
        d_mul,
        d_add_2,
        gt,
        gt_2,
        d_w_8,
        d_w_7,
        d_d_x_2,
        d_d_d_add_2,
        saved_net_,
        d_d_d_self["layers.0"]["w"],
        d_d_d_self["layers.0"]["b"],
        d_d_d_self["layers.1"]["w"],
        d_d_d_self["layers.1"]["b"],
    )
    return add_3_2, saved


def curvature_backward(net, u, x, saved, d_add_3_2):
    """From d_mul, d_add_2, d_w_8, d_w_7, d_d_x_2, d_d_d_add_2, d_d_d_add, d_w_3, d_w_4, d_w_5, d_w_6 and d_add_3_2 to the gradients by net, u and x."""
    saved_net, d_mul, d_add_2, gt, gt_2, d_w_8, d_w_7, d_d_x_2, d_d_d_add_2, saved_net_, d_w_3, d_w_4, d_w_5, d_w_6 = saved
    n = x.shape[0]
    # gradient of return dot(u, hvp(mean(net(x) ** 2), net, u))   derivatives.lee:14
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    d_u, d_net_at___layers_0_____w___d_w_3___b___d_w_4____layers_1_____w___d_w_5___b___d_w_6___ = dot_backward(
        u, net.at({"layers.0": {"w": d_w_3, "b": d_w_4}, "layers.1": {"w": d_w_5, "b": d_w_6}}), d_add_3_2
    )
    d_net, d_reshape_6, d_x_2_2, d_d_add_2, d_d_d_self, d_d_d_x_2, d_d_d_d_add_2 = net.forward_backward_parameters_backward_backward_parameters_backward(
        {"layers.1": {"w": d_w_8}},
        reshape,
        saved_net,
        d_add_2,
        gt,
        d_d_x_2,
        d_d_d_add_2,
        saved_net_,
        d_net_at___layers_0_____w___d_w_3___b___d_w_4____layers_1_____w___d_w_5___b___d_w_6___,
    )
    d_d_d_add_2_4 = 2 * (d_d_d_d_add_2 * d_mul)  # [n, net.sizes_2]
    d_net_, d_reshape_7, d_x_2_3, d_d_d_self_ = net.forward_saved_backward_parameters_backward_input_backward(
        {"layers.0": {"w": d_w_7}, "layers.1": {"w": d_w_8}},
        reshape,
        saved_net,
        gt_2,
        d_d_x_2,
        d_d_d_add_2_4,
        d_d_d_x_2,
    )
    d_d_w_8 = d_d_d_self["layers.1"]["w"] + d_d_d_self_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    d_x_2 = d_x_2_2 + d_x_2_3  # [n, net.sizes_1]
    d_add_2_2 = 2 * (d_d_add_2 * d_mul)  # [n, net.sizes_2]
    d_net_2, d_reshape_8 = net.forward_saved_backward_2(reshape, saved_net, d_add_2_2, d_x_2)
    d_x = (d_reshape_6 + d_reshape_7 + d_reshape_8).reshape(n, 3)  # [n, 3]
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]
    d_u_layers_0_w_3 = d_d_d_self_["layers.0"]["w"].reshape(u.sizes[0], u.sizes[1])  # [u.sizes_0, u.sizes_1]
    d_u_layers_0_w = d_u["layers.0"]["w"] + d_u_layers_0_w_3  # [u.sizes_0, u.sizes_1]
    d_u_layers_0_b = d_u["layers.0"]["b"] + d_d_d_self_["layers.0"]["b"].reshape(u.sizes[1])  # [u.sizes_1]
    d_u_layers_1_w = d_u["layers.1"]["w"] + d_d_w_8.reshape(u.sizes[1], u.sizes[2])  # [u.sizes_1, u.sizes_2]
    d_u_layers_1_b = d_u["layers.1"]["b"] + d_d_d_self_["layers.1"]["b"].reshape(u.sizes[2])  # [u.sizes_2]
    return (
        {"layers.0": d_net_2["layers.0"], "layers.1": {"w": d_net_layers_1_w, "b": d_net_2["layers.1"]["b"]}},
        {
            "layers.0": {"w": d_u_layers_0_w, "b": d_u_layers_0_b},
            "layers.1": {"w": d_u_layers_1_w, "b": d_u_layers_1_b},
        },
        d_x,
    )


def gauss_newton_saved(net, u, x):
    """As gauss_newton, and what its gradient needs."""
    n = x.shape[0]
    if net.sizes[0] != 3:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal 3")
    if u.sizes[0] != net.sizes[0]:
        raise ValueError(f"derivatives.lee:19: u.sizes_0 = {u.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if u.sizes[1] != net.sizes[1]:
        raise ValueError(f"derivatives.lee:19: u.sizes_1 = {u.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if u.sizes[2] != net.sizes[2]:
        raise ValueError(f"derivatives.lee:19: u.sizes_2 = {u.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]  derivatives.lee:19
    _, saved_net = net.forward_saved(reshape)
    d_w_2 = u.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    d_w_3 = u.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    w = torch.ones((n, net.sizes[2]), dtype=FLOAT, device=x.device)  # [n, net.sizes_2]
    _, gt = net.forward_backward_parameters_saved(reshape, saved_net, w)
    reshape_2 = u.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    reshape_3 = u.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    d_w, saved_net_ = net.forward_backward_parameters_backward_input_saved(
        reshape, saved_net, gt, {"layers.0": {"w": d_w_2, "b": reshape_2}, "layers.1": {"w": d_w_3, "b": reshape_3}}
    )
    return (d_w * d_w).sum(), (saved_net, gt, d_w_3, d_w_2, saved_net_, d_w)


def gauss_newton_backward(net, x, saved, u_sizes_0, u_sizes_1, u_sizes_2, d_sum_6):
    """From d_w_3, d_w_2, d_d_x_2, d_w and d_sum_6 to the gradients by net, u and x."""
    saved_net, gt, d_w_3, d_w_2, saved_net_, d_w = saved
    n = x.shape[0]
    # gradient of return sum(jvp(net(x), net, u) ** 2)   derivatives.lee:19
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    d_d_w = 2 * d_sum_6 * d_w  # [n, net.sizes_2]
    d_net, d_reshape_6, d_x_2, d_d_d_self = net.forward_backward_parameters_backward_input_backward(
        {"layers.0": {"w": d_w_2}, "layers.1": {"w": d_w_3}}, reshape, saved_net, gt, saved_net_, d_d_w
    )
    d_u_layers_1_b = d_d_d_self["layers.1"]["b"].reshape(u_sizes_2)  # [u.sizes_2]
    d_u_layers_1_w = d_d_d_self["layers.1"]["w"].reshape(u_sizes_1, u_sizes_2)  # [u.sizes_1, u.sizes_2]
    d_u_layers_0_b = d_d_d_self["layers.0"]["b"].reshape(u_sizes_1)  # [u.sizes_1]
    d_u_layers_0_w = d_d_d_self["layers.0"]["w"].reshape(u_sizes_0, u_sizes_1)  # [u.sizes_0, u.sizes_1]
    d_net_, d_reshape_7 = net.forward_saved_backward(reshape, saved_net, d_x_2)
    d_x = (d_reshape_6 + d_reshape_7).reshape(n, 3)  # [n, 3]
    return (
        {"layers.0": d_net_["layers.0"], "layers.1": d_net["layers.1"]},
        {
            "layers.0": {"w": d_u_layers_0_w, "b": d_u_layers_0_b},
            "layers.1": {"w": d_u_layers_1_w, "b": d_u_layers_1_b},
        },
        d_x,
    )


def newton(x, a, rounds):
    """Solutions of H s = -g by conjugate gradients, which ask for products with H alone.

    x [n], a [n, n] -> [n]
    """
    n = x.shape[0]
    d_cost = torch.ones((), dtype=FLOAT, device=x.device)  # derivatives.lee:25
    g = torch.sinh(x) + a @ (0.5 * x @ a) * d_cost + a @ (d_cost * x @ a) * 0.5  # [n]  derivatives.lee:24
    step = torch.zeros(n, dtype=FLOAT, device=x.device)  # [n]
    rest = -g  # [n]  derivatives.lee:27
    rest_3 = rest  # derivatives.lee:29
    way_3 = rest
    for k in range(rounds):
        rest_3, step, way_3 = newton_step(rest_3, step, way_3, 0.5, x, a, a.T)
    return x + step  # [n]  derivatives.lee:36


def newton_step(rest, step, way, const, x, a, transpose):
    """rest [n], step [n], way [n], x [n], a [n, n], transpose [n, n] -> [n], [n], [n]"""
    d_cost_2 = torch.ones((), dtype=FLOAT, device=rest.device)  # derivatives.lee:30
    d_d_d_x_5 = way * torch.cosh(x) + way * const @ a @ transpose * d_cost_2  # [n]
    bent = d_d_d_x_5 + a @ (transpose @ (d_cost_2 * way)) * const  # [n]
    sum_ = (rest * rest).sum()  # derivatives.lee:31
    length = sum_ / (way * bent).sum()
    step_3 = step + length * way  # [n]  derivatives.lee:32
    less = rest - length * bent  # [n]  derivatives.lee:33
    way_2 = less + (less * less).sum() / sum_ * way  # [n]  derivatives.lee:34
    return less, step_3, way_2


def newton_of_four(x, a):
    """x [n], a [n, n] -> [n]"""
    return newton(x, a, 4)  # [n]  derivatives.lee:40


def example_push(key):
    x = normal(fold(key, SITES["x"]), (2, 3), FLOAT)  # [2, 3]  derivatives.lee:44
    u = normal(fold(key, SITES["u"]), (2, 3), FLOAT)  # [2, 3]  derivatives.lee:45
    a = normal(fold(key, SITES["a"]), (3, 4), FLOAT)  # [3, 4]  derivatives.lee:46
    d_w, saved_pushed = pushed_saved(x, u, a)  # derivatives.lee:47
    d_x, d_u, d_a = pushed_backward(x, a, saved_pushed, 2 * d_w)
    return (d_w * d_w).sum(), d_x, d_u, d_a


def example_bend(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # derivatives.lee:51
    u = MLP((3, 4, 2), key=fold(key, SITES["u"]))  # derivatives.lee:52
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  derivatives.lee:53
    add_3_2, saved_curvature = curvature_saved(net, u, x)  # derivatives.lee:54
    sum_6, saved_gauss_newton = gauss_newton_saved(net, u, x)
    d_value = torch.ones((), dtype=FLOAT)
    d_net, d_u, d_x_2 = gauss_newton_backward(net, x, saved_gauss_newton, 3, 4, 2, d_value)
    d_net_, d_u_, d_x_3 = curvature_backward(net, u, x, saved_curvature, d_value)
    return (
        add_3_2 + sum_6,
        net.at(
            {
                "layers.0": {
                    "w": d_net["layers.0"]["w"] + d_net_["layers.0"]["w"],
                    "b": d_net["layers.0"]["b"] + d_net_["layers.0"]["b"],
                },
                "layers.1": {"w": d_net["layers.1"]["w"] + d_net_["layers.1"]["w"], "b": d_net_["layers.1"]["b"]},
            }
        ),
        net.at(
            {
                "layers.0": {
                    "w": d_u["layers.0"]["w"] + d_u_["layers.0"]["w"],
                    "b": d_u["layers.0"]["b"] + d_u_["layers.0"]["b"],
                },
                "layers.1": {
                    "w": d_u["layers.1"]["w"] + d_u_["layers.1"]["w"],
                    "b": d_u["layers.1"]["b"] + d_u_["layers.1"]["b"],
                },
            }
        ),
        d_x_2 + d_x_3,
    )


def example_step(key):
    x = normal(fold(key, SITES["x"]), (4,), FLOAT)  # [4]  derivatives.lee:58
    a = normal(fold(key, SITES["a"]), (4, 4), FLOAT)  # [4, 4]  derivatives.lee:59
    return newton_of_four(x, a)  # [4]  derivatives.lee:60


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:34


class Linear(Model):
    """x W + b"""

    members = ("w", "b")

    def __init__(self, inputs, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        div, div_2 = fan_in_uniform(inputs)  # nn.lee:15
        uniform_ = uniform(fold(key, SITES["w"]), (inputs, outputs), FLOAT)  # [inputs, outputs]
        uniform_2 = uniform(fold(key, SITES["b"]), (outputs,), FLOAT)  # [outputs]  nn.lee:17
        self.w = torch.nn.Parameter(div + uniform_ * (div_2 - div))  # [inputs, outputs]  nn.lee:15
        self.b = torch.nn.Parameter(div + uniform_2 * (div_2 - div))  # [outputs]  nn.lee:17

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

    def forward_backward_backward(self, x, d_add, d_d_self, d_d_x):
        """From d_add, d_d_self and d_d_x to the gradients by the parameters, x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_w = d_d_x.T @ d_add  # [inputs, outputs]
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return {"w": d_w}, d_x, d_d_add

    def forward_backward_backward_backward(self, x, d_add, d_d_self, d_d_x_2, d_d_d_add):
        """From d_add, d_d_self, d_d_x_2 and d_d_d_add to the gradients by d_d_self and d_d_x."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(dim=0)  # [outputs]
        d_d_d_w = x.T @ d_d_d_add + d_d_x_2.T @ d_add  # [inputs, outputs]
        d_d_d_x = d_add @ d_d_self["w"].T + d_d_d_add @ self.w.T  # [rows, inputs]
        return {"w": d_d_d_w, "b": d_d_d_b}, d_d_d_x

    def forward_backward_backward_backward_backward(
        self, d_d_self, x, d_add, d_d_x_2, d_d_d_add, d_d_d_d_self, d_d_d_d_x
    ):
        """From d_d_self, d_add, d_d_x_2, d_d_d_add, d_d_d_d_self and d_d_d_d_x to the gradients by the parameters, x, d_add, d_d_self, d_d_x_2 and d_d_d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_x_2 = d_add @ d_d_d_d_self["w"].T  # [rows, inputs]
        d_x = d_d_d_add @ d_d_d_d_self["w"].T  # [rows, inputs]
        d_w = d_d_d_d_x.T @ d_d_d_add  # [inputs, outputs]
        d_d_d_self = d_d_d_d_x.T @ d_add  # [inputs, outputs]
        d_d_add = d_d_x_2 @ d_d_d_d_self["w"] + d_d_d_d_x @ d_d_self["w"]  # [rows, outputs]
        d_d_d_d_add = x @ d_d_d_d_self["w"] + d_d_d_d_x @ self.w + d_d_d_d_self["b"]  # [rows, outputs]
        return {"w": d_w}, d_x, d_d_add, {"w": d_d_d_self}, d_d_d_x_2, d_d_d_d_add

    def forward_backward_backward_input(self, x, d_d_self, d_d_x):
        """From d_d_self and d_d_x to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = x @ d_d_self["w"] + d_d_x @ self.w + d_d_self["b"]  # [rows, outputs]
        return d_d_add  # [rows, outputs]

    def forward_backward_backward_input_backward(self, d_d_self, x, d_d_x, d_d_d_add):
        """From d_d_self, d_d_x and d_d_d_add to the gradients by the parameters, x, d_d_self and d_d_x."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(dim=0)  # [outputs]
        d_d_d_x = d_d_d_add @ self.w.T  # [rows, inputs]
        d_w = d_d_x.T @ d_d_d_add  # [inputs, outputs]
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_d_w = x.T @ d_d_d_add  # [inputs, outputs]
        return {"w": d_w}, d_x, {"w": d_d_d_w, "b": d_d_d_b}, d_d_d_x

    @staticmethod
    def forward_backward_parameters(x, d_y):
        """From d_y to the gradient by the parameters."""
        # gradient of return x @ w + b   nn.lee:21
        d_b = d_y.sum(dim=0)  # [outputs]
        d_w = x.T @ d_y  # [inputs, outputs]
        return {"w": d_w, "b": d_b}

    @staticmethod
    def forward_backward_parameters_backward(x, d_d_self):
        """From d_d_self to the gradient by d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_add = torch.addmm(d_d_self["b"], x, d_d_self["w"])  # [rows, outputs]
        return d_d_add  # [rows, outputs]

    @staticmethod
    def forward_backward_parameters_backward_backward_parameters(x, d_d_d_add):
        """From d_d_d_add to the gradient by d_d_self."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(dim=0)  # [outputs]
        d_d_d_w = x.T @ d_d_d_add  # [inputs, outputs]
        return {"w": d_d_d_w, "b": d_d_d_b}

    @staticmethod
    def forward_backward_parameters_backward_backward_parameters_backward(x, d_d_d_add, d_d_d_d_self):
        """From d_d_d_add and d_d_d_d_self to the gradients by x and d_d_d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_d_d_add @ d_d_d_d_self["w"].T  # [rows, inputs]
        d_d_d_d_add = torch.addmm(d_d_d_d_self["b"], x, d_d_d_d_self["w"])  # [rows, outputs]
        return d_x, d_d_d_d_add

    @staticmethod
    def forward_backward_parameters_backward_backward(d_d_self, x, d_d_d_add):
        """From d_d_self and d_d_d_add to the gradients by x and d_d_self."""
        # gradient of return x @ w + b   nn.lee:21
        d_d_d_b = d_d_d_add.sum(dim=0)  # [outputs]
        d_x = d_d_d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_d_w = x.T @ d_d_d_add  # [inputs, outputs]
        return d_x, {"w": d_d_d_w, "b": d_d_d_b}


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

    def forward_backward_parameters_saved(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and ."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, saved_relu_backward

    def forward_backward_parameters_backward(self, x, x_2, d_add_2, gt, d_d_self):
        """From d_add_2 and d_d_self to the gradients by the parameters, x_2 and d_add_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(gt, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2
        )
        return {"layers.1": d_layers_1_}, d_x_2, d_d_add_2

    def forward_backward_parameters_backward_backward_parameters_saved(
        self, x, x_2, d_add_2, gt, d_d_self, d_d_x_2_2, d_d_d_add_2
    ):
        """From d_add_2, d_d_self, d_d_x_2_2 and d_d_d_add_2 to the gradients by d_d_self and d_d_add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_d_d_layers_1, d_d_d_x_2 = self.layers[1].forward_backward_backward_backward(
            x_2, d_add_2, d_d_self["layers.1"], d_d_x_2_2, d_d_d_add_2
        )
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_d_add = relu_backward_backward_backward(gt, d_d_d_x_2)  # [x_0, sizes_1]
        d_d_d_layers_0 = Linear.forward_backward_parameters_backward_backward_parameters(x, d_d_d_add)
        return {"layers.0": d_d_d_layers_0, "layers.1": d_d_d_layers_1}, d_d_d_add

    def forward_backward_parameters_backward_backward_parameters_backward(
        self, d_d_self, x, x_2, d_add_2, gt, d_d_x_2_2, d_d_d_add_2, d_d_d_add, d_d_d_d_self
    ):
        """From d_d_self, d_add_2, d_d_x_2_2, d_d_d_add_2, d_d_d_add and d_d_d_d_self to the gradients by the parameters, x, x_2, d_add_2, d_d_self, d_d_x_2_2 and d_d_d_add_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x, d_d_d_d_add = Linear.forward_backward_parameters_backward_backward_parameters_backward(
            x, d_d_d_add, d_d_d_d_self["layers.0"]
        )
        d_d_d_d_x_2 = relu_backward_backward_backward_backward(gt, d_d_d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_add_2, d_d_d_self, d_d_d_x_2_2, d_d_d_d_add_2 = self.layers[1].forward_backward_backward_backward_backward(
            d_d_self["layers.1"], x_2, d_add_2, d_d_x_2_2, d_d_d_add_2, d_d_d_d_self["layers.1"], d_d_d_d_x_2
        )
        return {"layers.1": d_layers_1_}, d_x, d_x_2, d_d_add_2, {"layers.1": d_d_d_self}, d_d_d_x_2_2, d_d_d_d_add_2

    def forward_backward_parameters_backward_input_saved(self, x, x_2, gt, d_d_self):
        """From d_d_self to the gradients by d_add_2 and d_x_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(gt, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_d_add_2 = self.layers[1].forward_backward_backward_input(x_2, d_d_self["layers.1"], d_d_x_2)  # [x_0, sizes_2]
        return d_d_add_2, d_d_x_2

    def forward_backward_parameters_backward_input_backward(self, d_d_self, x, x_2, gt, d_d_x_2, d_d_d_add_2):
        """From d_d_self, d_d_x_2 and d_d_d_add_2 to the gradients by the parameters, x, x_2 and d_d_self."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_d_layers_1, d_d_d_x_2 = self.layers[1].forward_backward_backward_input_backward(
            d_d_self["layers.1"], x_2, d_d_x_2, d_d_d_add_2
        )
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_d_add = relu_backward_backward_backward(gt, d_d_d_x_2)  # [x_0, sizes_1]
        d_x, d_d_d_layers_0 = Linear.forward_backward_parameters_backward_backward(d_d_self["layers.0"], x, d_d_d_add)
        return {"layers.1": d_layers_1_}, d_x, d_x_2, {"layers.0": d_d_d_layers_0, "layers.1": d_d_d_layers_1}

    def forward_saved_backward_parameters_saved(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradients by the parameters and ."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, saved_relu_backward

    def forward_saved_backward_parameters_backward_input(self, x, x_2, gt, d_d_self):
        """From d_d_self to the gradients by d_add_2 and d_x_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2_2 = relu_backward_backward(gt, d_d_add)  # [x_0, sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        # [x_0, sizes_2]
        d_d_add_2 = self.layers[1].forward_backward_backward_input(x_2, d_d_self["layers.1"], d_d_x_2_2)
        return d_d_add_2, d_d_x_2_2

    def forward_saved_backward_parameters_backward_input_backward(
        self, d_d_self, x, x_2, gt, d_d_x_2_2, d_d_d_add_2, d_d_d_x_2
    ):
        """From d_d_self, d_d_x_2_2, d_d_d_add_2 and d_d_d_x_2 to the gradients by the parameters, x, x_2 and d_d_self."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2, d_d_d_layers_1, d_d_d_x_2_2_2 = self.layers[1].forward_backward_backward_input_backward(
            d_d_self["layers.1"], x_2, d_d_x_2_2, d_d_d_add_2
        )
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_d_x_2_2 = d_d_d_x_2 + d_d_d_x_2_2_2  # [x_0, sizes_1]
        d_d_d_add = relu_backward_backward_backward(gt, d_d_d_x_2_2)  # [x_0, sizes_1]
        d_x, d_d_d_layers_0 = Linear.forward_backward_parameters_backward_backward(d_d_self["layers.0"], x, d_d_d_add)
        return {"layers.1": d_layers_1_}, d_x, d_x_2, {"layers.0": d_d_d_layers_0, "layers.1": d_d_d_layers_1}

    def forward_saved_backward(self, x, x_2, d_x_2):
        """From d_x_2 to the gradients by the parameters and x."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_}, d_x

    def forward_saved_backward_2(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


def relu(x):
    """x where it is positive, else 0.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:59


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:59
    d_x = torch.where(select > 0.0, d_y, 0.0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def relu_backward_saved(select, d_y):
    """From d_y to the gradients by x and ."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:59
    gt = select > 0.0  # bool[x_0, x_1]
    d_x = torch.where(gt, d_y, 0.0)  # [x_0, x_1]
    return d_x, gt


def relu_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:59
    d_d_select = torch.where(gt, d_d_x, 0.0)  # [x_0, x_1]
    return d_d_select  # [x_0, x_1]


def relu_backward_backward_backward(gt, d_d_d_select):
    """From d_d_d_select to the gradient by d_d_x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:59
    d_d_d_x = torch.where(gt, d_d_d_select, 0.0)  # [x_0, x_1]
    return d_d_d_x  # [x_0, x_1]


def relu_backward_backward_backward_backward(gt, d_d_d_d_x):
    """From d_d_d_d_x to the gradient by d_d_d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:59
    d_d_d_d_select = torch.where(gt, d_d_d_d_x, 0.0)  # [x_0, x_1]
    return d_d_d_d_select  # [x_0, x_1]


def dot(x, y):
    """Σ xᵢ yᵢ over all entries."""
    if x.sizes[0] != y.sizes[0]:
        raise ValueError(f"prelude.lee:156: x.sizes_0 = {x.sizes[0]} must equal y.sizes_0 = {y.sizes[0]}")
    if x.sizes[1] != y.sizes[1]:
        raise ValueError(f"prelude.lee:156: x.sizes_1 = {x.sizes[1]} must equal y.sizes_1 = {y.sizes[1]}")
    if x.sizes[2] != y.sizes[2]:
        raise ValueError(f"prelude.lee:156: x.sizes_2 = {x.sizes[2]} must equal y.sizes_2 = {y.sizes[2]}")
    reshape = y.layers[0].w.reshape(x.sizes[0], x.sizes[1])  # [x.sizes_0, x.sizes_1]
    reshape_3 = y.layers[1].w.reshape(x.sizes[1], x.sizes[2])  # [x.sizes_1, x.sizes_2]
    sum_2 = (x.layers[0].b * y.layers[0].b.reshape(x.sizes[1])).sum()
    add = (x.layers[0].w * reshape).sum() + sum_2
    sum_4 = (x.layers[1].b * y.layers[1].b.reshape(x.sizes[2])).sum()
    return add + (x.layers[1].w * reshape_3).sum() + sum_4


def dot_backward(x, y, d_out):
    """From d_out to the gradients by x and y."""
    # gradient of return sum(x * y)   prelude.lee:156
    d_x_layers_1_b = d_out * y.layers[1].b.reshape(x.sizes[2])  # [x.sizes_2]
    d_y_layers_1_b = (d_out * x.layers[1].b).reshape(y.sizes[2])  # [y.sizes_2]
    d_x_layers_1_w = d_out * y.layers[1].w.reshape(x.sizes[1], x.sizes[2])  # [x.sizes_1, x.sizes_2]
    d_y_layers_1_w = (d_out * x.layers[1].w).reshape(y.sizes[1], y.sizes[2])  # [y.sizes_1, y.sizes_2]
    d_x_layers_0_b = d_out * y.layers[0].b.reshape(x.sizes[1])  # [x.sizes_1]
    d_y_layers_0_b = (d_out * x.layers[0].b).reshape(y.sizes[1])  # [y.sizes_1]
    d_x_layers_0_w = d_out * y.layers[0].w.reshape(x.sizes[0], x.sizes[1])  # [x.sizes_0, x.sizes_1]
    d_y_layers_0_w = (d_out * x.layers[0].w).reshape(y.sizes[0], y.sizes[1])  # [y.sizes_0, y.sizes_1]
    return {
        "layers.0": {"w": d_x_layers_0_w, "b": d_x_layers_0_b},
        "layers.1": {"w": d_x_layers_1_w, "b": d_x_layers_1_b},
    }, {"layers.0": {"w": d_y_layers_0_w, "b": d_y_layers_0_b}, "layers.1": {"w": d_y_layers_1_w, "b": d_y_layers_1_b}}


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
    "x": 0x4F586EF96743DF4A,
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


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
