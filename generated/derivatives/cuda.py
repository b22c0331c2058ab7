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


def pushed(x, u, a):
    """How sin(x a) x₁ changes as x moves along u.

    x [n, d], u [n, d], a [d, k] -> [n, k]
    """
    contract = x @ a  # [n, k]  derivatives.lee:9
    d_d_y = u[:, :1] * torch.sin(contract) + u @ a * torch.cos(contract) * x[:, :1]  # [n, k]  derivatives.lee:10
    return d_d_y  # [n, k]


def pushed_saved(x, u, a):
    """As pushed, and what its gradient needs."""
    contract = x @ a  # [n, k]  derivatives.lee:9
    sin = torch.sin(contract)  # [n, k]
    cos = torch.cos(contract)  # [n, k]
    d_d_contract = u @ a  # [n, k]
    d_d_sin = d_d_contract * cos  # [n, k]
    d_d_y = u[:, :1] * sin + d_d_sin * x[:, :1]  # [n, k]  derivatives.lee:10
    return d_d_y, (contract, sin, cos, u, d_d_contract, d_d_sin)


def pushed_backward(x, a, saved, d_d_w):
    """From d_d_x, d_d_contract, d_d_sin and d_d_w to the gradients by x, u and a."""
    contract, sin, cos, u, d_d_contract, d_d_sin = saved
    n, d = x.shape
    # gradient of y = sin(x @ a) * x[:, :1]   derivatives.lee:9
    d_d_d_sin = d_d_w * x[:, :1]  # [n, k]
    d_d_d_slice = (d_d_w * sin).sum(dim=1, keepdim=True)  # [n, 1]
    d_d_d_contract = d_d_d_sin * cos  # [n, k]
    d_d_d_x_2 = unslice(d_d_d_slice, (n, d), (slice(0, n), slice(0, 1)))  # [n, d]
    # gradient of return jvp(y, x, u)   derivatives.lee:10
    d_u = d_d_d_x_2 + d_d_d_contract @ a.T  # [n, d]
    # gradient of y = sin(x @ a) * x[:, :1]   derivatives.lee:9
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
        raise ValueError(f"derivatives.lee:15: u.sizes_0 = {u.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if u.sizes[1] != net.sizes[1]:
        raise ValueError(f"derivatives.lee:15: u.sizes_1 = {u.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if u.sizes[2] != net.sizes[2]:
        raise ValueError(f"derivatives.lee:15: u.sizes_2 = {u.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]  derivatives.lee:15
    add_2, saved_net = net.forward_saved(reshape)
    d_w_7 = u.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    d_w_8 = u.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    div = 1.0 / (n * net.sizes[2])
    d_mul = torch.full((n, net.sizes[2]), div, dtype=FLOAT, device=x.device)  # [n, net.sizes_2]
    d_add_2 = 2 / (n * net.sizes[2]) * add_2  # [n, net.sizes_2]
    _, saved_net_ = net.forward_backward_parameters_saved(reshape, saved_net, d_add_2)
    w_3 = torch.ones((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=x.device)  # [net.sizes_0, net.sizes_1]
    w_5 = torch.ones((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=x.device)  # [net.sizes_1, net.sizes_2]
    w_4 = torch.ones(net.sizes[1], dtype=FLOAT, device=x.device)  # [net.sizes_1]
    w_6 = torch.ones(net.sizes[2], dtype=FLOAT, device=x.device)  # [net.sizes_2]
    _, d_x_2, d_d_add_2 = net.forward_backward_parameters_backward(
        reshape, saved_net, d_add_2, saved_net_, {"layers.0": {"w": w_3, "b": w_4}, "layers.1": {"w": w_5, "b": w_6}}
    )
    d_add_2_4 = 2 / (n * net.sizes[2]) * d_d_add_2  # [n, net.sizes_2]
    _, saved_net_2 = net.forward_saved_backward_parameters_saved(reshape, saved_net, d_add_2_4, d_x_2)
    reshape_2 = u.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    reshape_3 = u.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    d_d_add_2_4, d_d_x_2 = net.forward_saved_backward_parameters_backward_input(
        reshape,
        saved_net,
        saved_net_2,
        {"layers.0": {"w": d_w_7, "b": reshape_2}, "layers.1": {"w": d_w_8, "b": reshape_3}},
    )
    d_d_d_add_2 = 2 / (n * net.sizes[2]) * d_d_add_2_4  # [n, net.sizes_2]
    d_d_d_self, saved_net_3 = net.forward_backward_parameters_backward_backward_parameters_saved(
        reshape, saved_net, d_add_2, saved_net_, {"layers.1": {"w": d_w_8}}, d_d_x_2, d_d_d_add_2
    )
    mlp = net.at({"layers.0": d_d_d_self["layers.0"], "layers.1": d_d_d_self["layers.1"]})
    saved = saved_net, d_mul, d_add_2, saved_net_, saved_net_2, d_w_8, d_w_7, d_d_x_2, d_d_d_add_2, saved_net_3, mlp
    return dot(u, mlp), saved


def curvature_backward(net, u, x, saved, d_add_3_2):
    """From d_mul, d_add_2, d_w_8, d_w_7, d_d_x_2, d_d_d_add_2, d_d_d_add, d_w_3, d_w_4, d_w_5, d_w_6 and d_add_3_2 to the gradients by net, u and x."""
    saved_net, d_mul, d_add_2, saved_net_, saved_net_2, d_w_8, d_w_7, d_d_x_2, d_d_d_add_2, saved_net_3, mlp = saved
    n = x.shape[0]
    # gradient of return dot(u, hvp(mean(net(x) ** 2), net, u))   derivatives.lee:15
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    d_u, d_mlp = dot_backward(u, mlp, d_add_3_2)
    d_net, d_reshape_6, d_x_2_2, d_d_add_2, d_d_d_self, d_d_d_x_2, d_d_d_d_add_2 = net.forward_backward_parameters_backward_backward_parameters_backward(
        {"layers.1": {"w": d_w_8}}, reshape, saved_net, d_add_2, saved_net_, d_d_x_2, d_d_d_add_2, saved_net_3, d_mlp
    )
    d_d_d_add_2_4 = 2 * (d_d_d_d_add_2 * d_mul)  # [n, net.sizes_2]
    d_net_, d_reshape_7, d_x_2_3, d_d_d_self_ = net.forward_saved_backward_parameters_backward_input_backward(
        {"layers.0": {"w": d_w_7}, "layers.1": {"w": d_w_8}},
        reshape,
        saved_net,
        saved_net_2,
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
        raise ValueError(f"derivatives.lee:20: u.sizes_0 = {u.sizes[0]} must equal net.sizes_0 = {net.sizes[0]}")
    if u.sizes[1] != net.sizes[1]:
        raise ValueError(f"derivatives.lee:20: u.sizes_1 = {u.sizes[1]} must equal net.sizes_1 = {net.sizes[1]}")
    if u.sizes[2] != net.sizes[2]:
        raise ValueError(f"derivatives.lee:20: u.sizes_2 = {u.sizes[2]} must equal net.sizes_2 = {net.sizes[2]}")
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]  derivatives.lee:20
    _, saved_net = net.forward_saved(reshape)
    d_w_2 = u.layers[0].w.reshape(net.sizes[0], net.sizes[1])  # [net.sizes_0, net.sizes_1]
    d_w_3 = u.layers[1].w.reshape(net.sizes[1], net.sizes[2])  # [net.sizes_1, net.sizes_2]
    w = torch.ones((n, net.sizes[2]), dtype=FLOAT, device=x.device)  # [n, net.sizes_2]
    _, saved_net_ = net.forward_backward_parameters_saved(reshape, saved_net, w)
    reshape_2 = u.layers[0].b.reshape(net.sizes[1])  # [net.sizes_1]
    reshape_3 = u.layers[1].b.reshape(net.sizes[2])  # [net.sizes_2]
    d_w, saved_net_2 = net.forward_backward_parameters_backward_input_saved(
        reshape,
        saved_net,
        saved_net_,
        {"layers.0": {"w": d_w_2, "b": reshape_2}, "layers.1": {"w": d_w_3, "b": reshape_3}},
    )
    return (d_w**2).sum(), (saved_net, saved_net_, d_w_3, d_w_2, saved_net_2, d_w)


def gauss_newton_backward(net, x, saved, u_sizes_0, u_sizes_1, u_sizes_2, d_sum_6):
    """From d_w_3, d_w_2, d_d_x_2, d_w and d_sum_6 to the gradients by net, u and x."""
    saved_net, saved_net_, d_w_3, d_w_2, saved_net_2, d_w = saved
    n = x.shape[0]
    # gradient of return sum(jvp(net(x), net, u) ** 2)   derivatives.lee:20
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]
    d_d_w = 2 * d_sum_6 * d_w  # [n, net.sizes_2]
    d_net, d_reshape_6, d_x_2, d_d_d_self = net.forward_backward_parameters_backward_input_backward(
        {"layers.0": {"w": d_w_2}, "layers.1": {"w": d_w_3}}, reshape, saved_net, saved_net_, saved_net_2, d_d_w
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
    g = torch.sinh(x) + a @ (0.5 * x @ a) + a @ (x @ a) * 0.5  # [n]  derivatives.lee:25
    step = torch.zeros(n, dtype=FLOAT, device=x.device)  # [n]
    rest = -g  # [n]  derivatives.lee:28
    rest_ = rest  # derivatives.lee:30
    way = rest
    for k in range(rounds):
        rest_, step, way = newton_step(rest_, step, way, x, a, a.T)
    return x + step  # [n]  derivatives.lee:37


def newton_step(rest, step, way, x, a, transpose):
    """rest [n], step [n], way [n], x [n], a [n, n], transpose [n, n] -> [n], [n], [n]"""
    d_d_d_x_5 = way * torch.cosh(x) + way * 0.5 @ a @ transpose  # [n]  derivatives.lee:31
    bent = d_d_d_x_5 + a @ (transpose @ way) * 0.5  # [n]
    sum_ = (rest**2).sum()  # derivatives.lee:32
    length = sum_ / (way * bent).sum()
    step_3 = step + length * way  # [n]  derivatives.lee:33
    less = rest - length * bent  # [n]  derivatives.lee:34
    way_2 = less + (less**2).sum() / sum_ * way  # [n]  derivatives.lee:35
    return less, step_3, way_2


def newton_of_four(x, a):
    """x [n], a [n, n] -> [n]"""
    return newton(x, a, 4)  # [n]  derivatives.lee:41


def example_push(key):
    x = normal(fold(key, SITES["x"]), (2, 3), FLOAT)  # [2, 3]  derivatives.lee:45
    u = normal(fold(key, SITES["u"]), (2, 3), FLOAT)  # [2, 3]  derivatives.lee:46
    a = normal(fold(key, SITES["a"]), (3, 4), FLOAT)  # [3, 4]  derivatives.lee:47
    d_w, saved_pushed = pushed_saved(x, u, a)  # derivatives.lee:48
    d_x, d_u, d_a = pushed_backward(x, a, saved_pushed, 2 * d_w)
    return (d_w**2).sum(), d_x, d_u, d_a


def example_bend(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # derivatives.lee:52
    u = MLP((3, 4, 2), key=fold(key, SITES["u"]))  # derivatives.lee:53
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  derivatives.lee:54
    add_3_2, saved_curvature = curvature_saved(net, u, x)  # derivatives.lee:55
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
    x = normal(fold(key, SITES["x"]), (4,), FLOAT)  # [4]  derivatives.lee:59
    a = normal(fold(key, SITES["a"]), (4, 4), FLOAT)  # [4, 4]  derivatives.lee:60
    return newton_of_four(x, a)  # [4]  derivatives.lee:61


def bowl(x, a):
    """The Hessian of ½ xᵀ a aᵀ x + Σ cosh xᵢ, which is a aᵀ + diag(cosh x).

    x [n], a [n, n] -> [n, n]
    """
    n = x.shape[0]
    rows = [None] * n  # derivatives.lee:69
    for row in range(n):
        rows[row] = bowl_step(x, a, a.T, row)
    rows = torch.stack(rows, 0) if rows else torch.zeros((n, n), dtype=FLOAT, device=x.device)
    return rows  # [n, n]


def bowl_step(x, a, transpose, row):
    """x [n], a [n, n], transpose [n, n] -> [n]"""
    n = x.shape[0]
    eq = torch.arange(n, device=x.device) == row  # bool[n]  derivatives.lee:69
    d_cosh_x = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]
    fill = torch.full((n,), 0.5, dtype=FLOAT, device=x.device)  # [n]
    d_d_contract_2_2 = torch.where(eq, fill, 0) @ a @ transpose  # [n]
    d_x_10 = d_d_contract_2_2 + torch.where(eq, torch.cosh(x), 0)  # [n]
    d_x_9 = a @ (transpose @ torch.where(eq, d_cosh_x, 0)) * 0.5  # [n]
    return d_x_10 + d_x_9  # [n]


def spherical(r):
    """From radius and two angles to a point, and how volumes change: |det J| = r² sin θ.

    r [3] -> [3], []
    """
    mul = r[0] * torch.sin(r[1])  # derivatives.lee:74
    x = mul * torch.cos(r[2])
    y = mul * torch.sin(r[2])  # derivatives.lee:75
    z = r[0] * torch.cos(r[1])  # derivatives.lee:76
    point = torch.stack((x, y, z))  # [3]  derivatives.lee:77
    rows = [None] * 3  # derivatives.lee:78
    for row in range(3):
        rows[row] = spherical_step(r, row)
    rows = torch.stack(rows, 0) if rows else torch.zeros((3, 3), dtype=FLOAT, device=r.device)
    return point, det(rows)


def spherical_saved(r):
    """As spherical, and what its gradient needs."""
    sin = torch.sin(r[1])  # derivatives.lee:74
    mul = r[0] * sin
    cos = torch.cos(r[2])
    x = mul * cos
    sin_2 = torch.sin(r[2])  # derivatives.lee:75
    y = mul * sin_2
    cos_2 = torch.cos(r[1])  # derivatives.lee:76
    z = r[0] * cos_2
    point = torch.stack((x, y, z))  # [3]  derivatives.lee:77
    rows = [None] * 3  # derivatives.lee:78
    saved_spherical_step = [None] * 3
    for row in range(3):
        rows[row], saved_spherical_step[row] = spherical_step_saved(r, row)
    rows = torch.stack(rows, 0) if rows else torch.zeros((3, 3), dtype=FLOAT, device=r.device)
    return point, det(rows), (sin, mul, cos, sin_2, cos_2, rows, saved_spherical_step)


def spherical_backward(r, saved, d_point, d_y):
    """From d_z_2_rows, d_y_2_rows, d_x_2_rows, d_cos_2_2_rows, d_sin_3_2_rows, d_cos_rows, d_mul_rows, d_sin_rows, d_point and d_y to the gradient by r."""
    sin, mul, cos, sin_2, cos_2, rows, saved_spherical_step = saved
    # gradient of return point, det(jacobian(point, r))   derivatives.lee:78
    d_rows = d_y * cofactor(rows)  # [3, 3]
    d_r_rows = [None] * 3
    for row in reversed(range(3)):
        d_r_rows[row] = spherical_step_backward(r, saved_spherical_step[row], d_rows[row])
    d_r_rows = torch.stack(d_r_rows, 0) if d_r_rows else torch.zeros((3, 3), dtype=FLOAT, device=r.device)
    # gradient of point = stack(x, y, z, axis = 0)   derivatives.lee:77
    d_z = d_point[2]
    d_y_ = d_point[1]
    d_x = d_point[0]
    # gradient of x = r[0] * sin(r[1]) * cos(r[2])   derivatives.lee:74
    d_mul = d_y_ * sin_2 + d_x * cos
    d_reshape_2_3 = d_mul * r[0] * torch.cos(r[1])
    d_reshape_3 = d_y_ * mul * torch.cos(r[2]) - d_x * mul * torch.sin(r[2])
    d_reshape_2 = d_reshape_2_3 - d_z * r[0] * torch.sin(r[1])
    d_reshape = d_z * cos_2 + d_mul * sin
    d_r = torch.stack((d_reshape, d_reshape_2, d_reshape_3)) + d_r_rows.sum(dim=0)  # [3]
    return d_r  # [3]


def spherical_step(r, row):
    """r [3] -> [3]"""
    sin = torch.sin(r[1])  # derivatives.lee:74
    mul = r[0] * sin
    cos = torch.cos(r[2])
    sin_3_2 = torch.sin(r[2])  # derivatives.lee:75
    cos_2_2 = torch.cos(r[1])  # derivatives.lee:76
    d_select = torch.ones(3, dtype=FLOAT, device=r.device)  # [3]  derivatives.lee:78
    d_point_2 = torch.where(torch.arange(3, device=r.device) == row, d_select, 0)  # [3]
    d_mul = d_point_2[1] * sin_3_2 + d_point_2[0] * cos  # derivatives.lee:74
    d_reshape_3_2 = d_point_2[1] * mul * cos - d_point_2[0] * mul * sin_3_2
    d_reshape_2_2 = d_mul * r[0] * cos_2_2 - d_point_2[2] * r[0] * sin
    d_reshape = d_point_2[2] * cos_2_2 + d_mul * sin
    return torch.stack((d_reshape, d_reshape_2_2, d_reshape_3_2))  # [3]


def spherical_step_saved(r, row):
    """As spherical_step, and what its gradient needs."""
    sin_2 = torch.sin(r[1])  # derivatives.lee:74
    mul = r[0] * sin_2
    cos_2 = torch.cos(r[2])
    sin_3 = torch.sin(r[2])  # derivatives.lee:75
    cos_3 = torch.cos(r[1])  # derivatives.lee:76
    d_select = torch.ones(3, dtype=FLOAT, device=r.device)  # [3]  derivatives.lee:78
    d_point_2 = torch.where(torch.arange(3, device=r.device) == row, d_select, 0)  # [3]
    d_cos_2_2 = d_point_2[2] * r[0]  # derivatives.lee:76
    d_sin_3_2 = d_point_2[1] * mul  # derivatives.lee:75
    d_cos = d_point_2[0] * mul  # derivatives.lee:74
    d_mul = d_point_2[1] * sin_3 + d_point_2[0] * cos_2
    d_sin_2 = d_mul * r[0]
    d_reshape = d_point_2[2] * cos_3 + d_mul * sin_2
    d_reshape_2_2 = d_sin_2 * cos_3 - d_cos_2_2 * sin_2
    d_reshape_3_2 = d_sin_3_2 * cos_2 - d_cos * sin_3
    saved = (
        sin_2,
        d_point_2[2],
        d_point_2[1],
        d_point_2[0],
        d_cos_2_2,
        d_sin_3_2,
        cos_2,
        d_cos,
        sin_3,
        d_mul,
        d_sin_2,
        cos_3,
    )
    return torch.stack((d_reshape, d_reshape_2_2, d_reshape_3_2)), saved


def spherical_step_backward(r, saved, d_rows):
    """From d_z_2, d_y_2, d_x_2, d_cos_2_2, d_sin_3_2, d_cos, d_mul, d_sin and d_rows to the gradient by r."""
    sin, d_z_2, d_y_2, d_x_2, d_cos_2_2, d_sin_3_2, cos_2, d_cos, sin_3, d_mul, d_sin, cos_3 = saved
    # gradient of x = r[0] * sin(r[1]) * cos(r[2])   derivatives.lee:74
    d_d_sin = d_rows[1] * cos_3
    sin_4 = torch.sin(r[1])
    d_d_mul = d_d_sin * r[0] + d_rows[0] * sin
    d_mul_3 = -d_rows[2]
    cos = torch.cos(r[2])
    # gradient of y = r[0] * sin(r[1]) * sin(r[2])   derivatives.lee:75
    sin_5 = torch.sin(r[2])
    # gradient of z = r[0] * cos(r[1])   derivatives.lee:76
    d_mul_2 = -d_rows[1]
    cos_4 = torch.cos(r[1])
    # gradient of x = r[0] * sin(r[1]) * cos(r[2])   derivatives.lee:74
    d_reshape_3_2_6 = d_mul_3 * d_cos * cos - d_rows[2] * d_sin_3_2 * sin_5
    d_reshape_3_2_7 = d_reshape_3_2_6 + d_d_mul * d_y_2 * cos
    d_mul_4 = d_mul_3 * sin_3 * d_x_2 + d_rows[2] * cos_2 * d_y_2
    d_reshape_2_2_6 = d_mul_2 * d_cos_2_2 * cos_4 - d_rows[1] * d_sin * sin_4
    d_reshape_2_2_5 = (d_rows[0] * d_mul + d_mul_4 * r[0]) * cos_4
    d_reshape_2_2_7 = d_reshape_2_2_6 - d_rows[0] * d_z_2 * sin_4
    d_reshape = d_d_sin * d_mul + d_mul_2 * sin * d_z_2 + d_mul_4 * sin
    d_reshape_3_2 = d_reshape_3_2_7 - d_d_mul * d_x_2 * sin_5
    d_r = torch.stack((d_reshape, d_reshape_2_2_7 + d_reshape_2_2_5, d_reshape_3_2))  # [3]
    return d_r  # [3]


def spectrum(net, x):
    """The eigenvalues of a net's Hessian, in ascending order, and that of the lowest one as a point.

    x [n, 3] -> [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2],
    [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    """
    n = x.shape[0]
    if net.sizes[0] != 3:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal 3")
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]  derivatives.lee:83
    rows = [None] * (net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2])
    for row in range(net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2]):
        rows[row] = spectrum_step(net, reshape, row)
    rows = (
        torch.stack(rows, 0)
        if rows
        else torch.zeros(
            (
                net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2],
                net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2],
            ),
            dtype=FLOAT,
            device=x.device,
        )
    )
    values, vectors = eigh(rows)
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]  derivatives.lee:84
    entry = vectors[:, 0]
    unflatten_, unflatten_2, unflatten_3, unflatten_4 = unflatten(
        entry, ((net.sizes[0], net.sizes[1]), (net.sizes[1],), (net.sizes[1], net.sizes[2]), (net.sizes[2],))
    )
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    flatten_4 = torch.cat((unflatten_.reshape(-1), unflatten_2, unflatten_3.reshape(-1), unflatten_4))
    return values, flatten_4


def spectrum_step(net, reshape, row):
    """reshape [n, net.sizes_0] -> [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 +
    net.sizes_2]
    """
    n = reshape.shape[0]
    add_2_2, saved_net = net.forward_saved(reshape)  # derivatives.lee:83
    d_add_2_2 = 2 / (n * net.sizes[2]) * add_2_2  # [n, net.sizes_2]
    _, saved_net_ = net.forward_backward_parameters_saved(reshape, saved_net, d_add_2_2)
    # int[net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    iota = torch.arange(
        net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2], device=reshape.device
    )
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    d_select = torch.ones(
        net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2],
        dtype=FLOAT,
        device=reshape.device,
    )
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    d_flatten = torch.where(iota == row, d_select, 0)
    d_w_3, d_b_3, d_w_2_2, d_b_2_2 = unflatten(
        d_flatten, ((net.sizes[0], net.sizes[1]), (net.sizes[1],), (net.sizes[1], net.sizes[2]), (net.sizes[2],))
    )
    d_net, d_x_2, d_d_add_2_2 = net.forward_backward_parameters_backward(
        reshape,
        saved_net,
        d_add_2_2,
        saved_net_,
        {"layers.0": {"w": d_w_3, "b": d_b_3}, "layers.1": {"w": d_w_2_2, "b": d_b_2_2}},
    )
    d_add_2_2_4 = 2 / (n * net.sizes[2]) * d_d_add_2_2  # [n, net.sizes_2]
    d_net_ = net.forward_saved_backward_parameters(reshape, saved_net, d_add_2_2_4, d_x_2)
    w_5 = d_net["layers.1"]["w"] + d_net_["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    rows = torch.cat(
        (d_net_["layers.0"]["w"].reshape(-1), d_net_["layers.0"]["b"], w_5.reshape(-1), d_net_["layers.1"]["b"])
    )
    return rows  # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]


def sharpness(x, a):
    """tr H², whose gradient is a third derivative.

    x [n], a [n] -> []
    """
    n = x.shape[0]
    rows = [None] * n  # derivatives.lee:89
    for row in range(n):
        rows[row] = sharpness_step(x, a, row)
    rows = torch.stack(rows, 0) if rows else torch.zeros((n, n), dtype=FLOAT, device=x.device)
    return (rows**2).sum()


def sharpness_saved(x, a):
    """As sharpness, and what its gradient needs."""
    n = x.shape[0]
    rows = [None] * n  # derivatives.lee:89
    saved_sharpness_step = [None] * n
    for row in range(n):
        rows[row], saved_sharpness_step[row] = sharpness_step_saved(x, a, row)
    rows = torch.stack(rows, 0) if rows else torch.zeros((n, n), dtype=FLOAT, device=x.device)
    return (rows**2).sum(), (rows, saved_sharpness_step)


def sharpness_backward(x, a, saved, d_y):
    """From d_sin_rows, d_sin_2_rows, d_mul_2_rows and d_y to the gradients by x and a."""
    rows, saved_sharpness_step = saved
    n = x.shape[0]
    # gradient of return sum(hessian(sum(sin(x * a)) * x[0], x) ** 2)   derivatives.lee:89
    d_rows = 2 * d_y * rows  # [n, n]
    d_x_rows = [None] * n
    d_a_rows = [None] * n
    for row in reversed(range(n)):
        d_x_rows[row], d_a_rows[row] = sharpness_step_backward(x, a, saved_sharpness_step[row], d_rows[row])
    d_x_rows = torch.stack(d_x_rows, 0) if d_x_rows else torch.zeros((n, n), dtype=FLOAT, device=x.device)
    d_a_rows = torch.stack(d_a_rows, 0) if d_a_rows else torch.zeros((n, n), dtype=FLOAT, device=x.device)
    d_x = d_x_rows.sum(dim=0)  # [n]
    d_a = d_a_rows.sum(dim=0)  # [n]
    return d_x, d_a


def sharpness_step(x, a, row):
    """x [n], a [n] -> [n]"""
    n = x.shape[0]
    mul = x * a  # [n]  derivatives.lee:89
    cos = torch.cos(mul)  # [n]
    eq = torch.arange(n, device=x.device) == row  # bool[n]
    d_select = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]
    d_reshape_2 = torch.where(eq, a * cos, 0).sum(dim=0, keepdim=True)  # [1]
    d_mul_3 = torch.where(eq, -(a * x[:1] * torch.sin(mul)), 0)  # [n]
    d_x_6 = (d_mul_3 + torch.where(eq, d_select, 0)[:1] * cos) * a  # [n]
    return unslice(d_reshape_2, (n,), (slice(0, 1),)) + d_x_6  # [n]


def sharpness_step_saved(x, a, row):
    """As sharpness_step, and what its gradient needs."""
    n = x.shape[0]
    mul = x * a  # [n]  derivatives.lee:89
    sin_2 = torch.sin(mul)  # [n]
    slice_ = x[:1]  # [1]
    cos = torch.cos(mul)  # [n]
    eq = torch.arange(n, device=x.device) == row  # bool[n]
    d_select = torch.ones(n, dtype=FLOAT, device=x.device)  # [n]
    mul_4 = a * slice_  # [n]
    d_d_slice = torch.where(eq, d_select, 0)[:1]  # [1]
    d_reshape_2 = torch.where(eq, a * cos, 0).sum(dim=0, keepdim=True)  # [1]
    d_mul_2 = torch.where(eq, -(mul_4 * sin_2), 0) + d_d_slice * cos  # [n]
    saved = mul, slice_.expand(n), cos, eq, a, mul_4, sin_2, d_d_slice.expand(n), d_mul_2
    return unslice(d_reshape_2, (n,), (slice(0, 1),)) + d_mul_2 * a, saved


def sharpness_step_backward(x, a, saved, d_rows):
    """From d_sin, d_sin_2, d_mul_2 and d_rows to the gradients by x and a."""
    mul, d_sin, cos, eq, a_, mul_4, sin_2, d_sin_2, d_mul_2 = saved
    n = x.shape[0]
    # gradient of return sum(hessian(sum(sin(x * a)) * x[0], x) ** 2)   derivatives.lee:89
    d_d_mul_2 = d_rows * a  # [n]
    sin = torch.sin(mul)  # [n]
    d_d_slice_2 = d_rows[:1]  # [1]
    mul_5 = -d_d_mul_2 * sin_2  # [n]
    d_mul_2_5 = torch.where(eq, d_d_slice_2 * cos, 0)  # [n]
    d_reshape_2 = torch.where(eq, mul_5 * a_, 0).sum(dim=0, keepdim=True)  # [1]
    d_mul_4 = torch.where(eq, -d_d_mul_2 * mul_4 * torch.cos(mul), 0)  # [n]
    d_mul_5 = torch.where(eq, -(d_d_slice_2 * a_ * sin), 0)  # [n]
    d_mul = d_mul_4 - d_d_mul_2 * d_sin_2 * sin + d_mul_5  # [n]
    d_x = unslice(d_reshape_2, (n,), (slice(0, 1),)) + d_mul * a  # [n]
    d_mul_2_3 = torch.where(eq, mul_5 * d_sin, 0) + d_mul_2_5  # [n]
    d_a = d_rows * d_mul_2 + d_mul_2_3 + d_mul * x  # [n]
    return d_x, d_a


def sensitivities(net, x):
    """How every output of every example depends on every parameter.

    x [n, 3] -> [n, net.sizes_2, net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 +
    net.sizes_2]
    """
    n = x.shape[0]
    if net.sizes[0] != 3:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal 3")
    reshape = x.reshape(n, net.sizes[0])  # [n, net.sizes_0]  derivatives.lee:94
    rows = [None] * (n * net.sizes[2])
    for row in range(n * net.sizes[2]):
        rows[row] = sensitivities_step(net, reshape, row)
    rows = (
        torch.stack(rows, 0)
        if rows
        else torch.zeros(
            (n * net.sizes[2], net.sizes[0] * net.sizes[1] + net.sizes[1] * net.sizes[2] + net.sizes[1] + net.sizes[2]),
            dtype=FLOAT,
            device=x.device,
        )
    )
    # [n, net.sizes_2, net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    return rows.reshape(n, net.sizes[2], -1)


def sensitivities_step(net, reshape, row):
    """reshape [n, net.sizes_0] -> [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 +
    net.sizes_2]
    """
    n = reshape.shape[0]
    _, saved_net = net.forward_saved(reshape)  # derivatives.lee:94
    d_select = torch.ones(n * net.sizes[2], dtype=FLOAT, device=reshape.device)  # [n * net.sizes_2]
    eq = torch.arange(n * net.sizes[2], device=reshape.device) == row  # bool[n * net.sizes_2]
    d_add_2_2 = torch.where(eq, d_select, 0).reshape(n, net.sizes[2])  # [n, net.sizes_2]
    d_net = net.forward_backward_parameters(reshape, saved_net, d_add_2_2)
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    rows = torch.cat(
        (
            d_net["layers.0"]["w"].reshape(-1),
            d_net["layers.0"]["b"],
            d_net["layers.1"]["w"].reshape(-1),
            d_net["layers.1"]["b"],
        )
    )
    return rows  # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]


def example_bowls(key):
    x = normal(fold(key, SITES["x"]), (3,), FLOAT)  # [3]  derivatives.lee:98
    a = normal(fold(key, SITES["a"]), (3, 3), FLOAT)  # [3, 3]  derivatives.lee:99
    return bowl(x, a)  # [3, 3]  derivatives.lee:100


def example_sphere(key):
    r = 0.5 + uniform(fold(key, SITES["r"]), (3,), FLOAT)  # [3]  derivatives.lee:104
    point_2, volume, saved_spherical = spherical_saved(r)  # derivatives.lee:105
    d_point_2 = torch.ones(3, dtype=FLOAT)  # [3]  derivatives.lee:106
    d_volume = torch.ones((), dtype=FLOAT)
    return volume + point_2.sum(), spherical_backward(r, saved_spherical, d_point_2, d_volume)  # derivatives.lee:105


def example_net_spectrum(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # derivatives.lee:110
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  derivatives.lee:111
    values_2, _ = spectrum(net, x)  # derivatives.lee:112
    return values_2, sensitivities(net, x)  # derivatives.lee:113


def example_sharp(key):
    x = normal(fold(key, SITES["x"]), (3,), FLOAT)  # [3]  derivatives.lee:117
    a = normal(fold(key, SITES["a"]), (3,), FLOAT)  # [3]  derivatives.lee:118
    value, saved_sharpness = sharpness_saved(x, a)  # derivatives.lee:119
    d_x, d_a = sharpness_backward(x, a, saved_sharpness, torch.ones((), dtype=FLOAT))
    return value, d_x, d_a


def fisher_saved(net, x, y):
    """As fisher, and what its gradient needs."""
    n = x.shape[0]
    if net.sizes[0] != 3:
        raise ValueError(f"net.sizes_0 = {net.sizes[0]} must equal 3")
    if net.sizes[2] != 2:
        raise ValueError(f"net.sizes_2 = {net.sizes[2]} must equal 2")
    # [net.sizes_0, net.sizes_1]  derivatives.lee:127
    fill = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=x.device)
    fill_3 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=x.device)  # [net.sizes_1, net.sizes_2]
    total_layers_0_b = torch.zeros(net.sizes[1], dtype=FLOAT, device=x.device)  # [net.sizes_1]
    total_layers_1_b = torch.zeros(net.sizes[2], dtype=FLOAT, device=x.device)  # [net.sizes_2]
    saved_fisher_step = [None] * n
    for i in range(n):
        fill, total_layers_0_b, fill_3, total_layers_1_b, saved_fisher_step[i] = fisher_step_saved(
            net, fill, total_layers_0_b, fill_3, total_layers_1_b, x[i], y[i]
        )
    div_2 = total_layers_0_b / n  # [net.sizes_1]
    div_4 = total_layers_1_b / n  # [net.sizes_2]
    div_3 = fill_3 / n  # [net.sizes_1, net.sizes_2]
    div = fill / n  # [net.sizes_0, net.sizes_1]
    # [net.sizes_0 * net.sizes_1 + net.sizes_1 * net.sizes_2 + net.sizes_1 + net.sizes_2]
    flatten = torch.cat((div.reshape(-1), div_2, div_3.reshape(-1), div_4))
    return flatten, saved_fisher_step


def fisher_backward(net, x, saved_fisher_step, d_flatten):
    """From d_reshape_4_rows, d_mul_rows, d_add_5_rows and d_flatten to the gradients by net, x and y."""
    n = x.shape[0]
    # gradient of return flatten(mean[i](grad(mse(net(x[i]), y[i]), net) ** 2))   derivatives.lee:127
    d_div, d_div_2, d_div_3, d_div_4 = unflatten(
        d_flatten, ((net.sizes[0], net.sizes[1]), (net.sizes[1],), (net.sizes[1], net.sizes[2]), (net.sizes[2],))
    )
    d_total_layers_1_b_2 = d_div_4 / n  # [net.sizes_2]
    d_total_layers_1_w_2 = d_div_3 / n  # [net.sizes_1, net.sizes_2]
    d_total_layers_0_b_2 = d_div_2 / n  # [net.sizes_1]
    d_total_layers_0_w_2 = d_div / n  # [net.sizes_0, net.sizes_1]
    # [net.sizes_0, net.sizes_1]
    d_net_layers_0_w_2 = torch.zeros((net.sizes[0], net.sizes[1]), dtype=FLOAT, device=x.device)
    # [net.sizes_1, net.sizes_2]
    d_net_layers_1_w_2 = torch.zeros((net.sizes[1], net.sizes[2]), dtype=FLOAT, device=x.device)
    d_net = {"layers.0": {"w": d_net_layers_0_w_2}, "layers.1": {"w": d_net_layers_1_w_2}}
    d_x = [None] * n
    d_y = [None] * n
    d_net_layers_0_b_rows = [None] * n
    d_net_layers_1_b_rows = [None] * n
    for i in reversed(range(n)):
        (
            d_total_layers_0_w_2,
            d_total_layers_0_b_2,
            d_total_layers_1_w_2,
            d_total_layers_1_b_2,
            d_net,
            d_x[i],
            d_y[i],
            d_net_layers_0_b_rows[i],
            d_net_layers_1_b_rows[i],
        ) = fisher_step_backward(
            net,
            x[i],
            saved_fisher_step[i],
            d_total_layers_0_w_2,
            d_total_layers_0_b_2,
            d_total_layers_1_w_2,
            d_total_layers_1_b_2,
            d_net,
        )
    d_x = torch.stack(d_x, 0) if d_x else torch.zeros((n, 3), dtype=FLOAT, device=x.device)
    d_y = torch.stack(d_y, 0) if d_y else torch.zeros((n, 2), dtype=FLOAT, device=x.device)
    d_net_layers_0_b_rows = (
        torch.stack(d_net_layers_0_b_rows, 0)
        if d_net_layers_0_b_rows
        else torch.zeros((n, net.sizes[1]), dtype=FLOAT, device=x.device)
    )
    d_net_layers_1_b_rows = (
        torch.stack(d_net_layers_1_b_rows, 0)
        if d_net_layers_1_b_rows
        else torch.zeros((n, net.sizes[2]), dtype=FLOAT, device=x.device)
    )
    d_net_layers_0_b = d_net_layers_0_b_rows.sum(dim=0)  # [net.sizes_1]
    d_net_layers_1_b = d_net_layers_1_b_rows.sum(dim=0)  # [net.sizes_2]
    return (
        {
            "layers.0": {"w": d_net["layers.0"]["w"], "b": d_net_layers_0_b},
            "layers.1": {"w": d_net["layers.1"]["w"], "b": d_net_layers_1_b},
        },
        d_x,
        d_y,
    )


def fisher_step_saved(net, total_layers_0_w, total_layers_0_b, total_layers_1_w, total_layers_1_b, x_i, y_i):
    """As fisher_step, and what its gradient needs."""
    reshape = x_i.reshape(net.sizes[0])  # [net.sizes_0]  derivatives.lee:127
    reshape_4, saved_net = net.forward_2_saved(reshape)
    _, saved_mse = mse_saved(reshape_4, y_i.reshape(net.sizes[2]))
    d_mean = torch.ones((), dtype=FLOAT, device=total_layers_0_w.device)
    d_reshape_4, saved_mse_backward = mse_backward_saved(saved_mse, d_mean)
    d_net, saved_net_ = net.forward_2_backward_parameters_saved(reshape, saved_net, d_reshape_4)
    mul = d_net["layers.0"]["w"] * d_net["layers.0"]["w"]  # [net.sizes_0, net.sizes_1]
    mul_2 = d_net["layers.0"]["b"] * d_net["layers.0"]["b"]  # [net.sizes_1]
    mul_3 = d_net["layers.1"]["w"] * d_net["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    mul_4 = d_net["layers.1"]["b"] * d_net["layers.1"]["b"]  # [net.sizes_2]
    saved = (
        saved_net,
        d_reshape_4,
        saved_mse_backward,
        d_net["layers.0"]["w"],
        d_net["layers.0"]["b"],
        d_net["layers.1"]["w"],
        d_net["layers.1"]["b"],
        saved_net_,
    )
    return total_layers_0_w + mul, total_layers_0_b + mul_2, total_layers_1_w + mul_3, total_layers_1_b + mul_4, saved


def fisher_step_backward(net, x_i, saved, d_add, d_add_2, d_add_3, d_add_4, d_net):
    """From d_reshape_4, d_mul, d_add_5, d_add, d_add_2, d_add_3, d_add_4 and d_net to the gradients by total.layers.0.w, total.layers.0.b, total.layers.1.w, total.layers.1.b, net, x_i, y_i, net.layers.0.b and net.layers.1.b."""
    saved_net, d_reshape_4, saved_mse_backward, w, b, w_2, b_2, saved_net_ = saved
    # gradient of return flatten(mean[i](grad(mse(net(x[i]), y[i]), net) ** 2))   derivatives.lee:127
    reshape = x_i.reshape(net.sizes[0])  # [net.sizes_0]
    d_w_2 = 2 * (d_add_3 * w_2)  # [net.sizes_1, net.sizes_2]
    d_b_2 = 2 * (d_add_4 * b_2)  # [net.sizes_2]
    d_b = 2 * (d_add_2 * b)  # [net.sizes_1]
    d_w = 2 * (d_add * w)  # [net.sizes_0, net.sizes_1]
    d_net_, d_reshape_3, d_x_2, d_d_reshape_4 = net.forward_2_backward_parameters_backward(
        reshape,
        saved_net,
        d_reshape_4,
        saved_net_,
        {"layers.0": {"w": d_w, "b": d_b}, "layers.1": {"w": d_w_2, "b": d_b_2}},
    )
    d_reshape_4_2, d_reshape_2 = mse_saved_backward(mse_backward_backward(saved_mse_backward, d_d_reshape_4))
    d_net_2, d_reshape_5 = net.forward_2_saved_backward(reshape, saved_net, d_reshape_4_2, d_x_2)
    d_net_layers_1_w = d_net_["layers.1"]["w"] + d_net_2["layers.1"]["w"]  # [net.sizes_1, net.sizes_2]
    return (
        d_add,
        d_add_2,
        d_add_3,
        d_add_4,
        {
            "layers.0": {"w": d_net["layers.0"]["w"] + d_net_2["layers.0"]["w"]},
            "layers.1": {"w": d_net["layers.1"]["w"] + d_net_layers_1_w},
        },
        (d_reshape_3 + d_reshape_5).reshape(3),
        d_reshape_2.reshape(2),
        d_net_2["layers.0"]["b"],
        d_net_2["layers.1"]["b"],
    )


def clipped_saved(w, x, y, bound):
    """As clipped, and what its gradient needs."""
    d = w.shape[0]
    n = x.shape[0]
    total = torch.zeros(d, dtype=FLOAT, device=w.device)  # [d]  derivatives.lee:132
    saved_clipped_step = [None] * n
    for i in range(n):
        total, saved_clipped_step[i] = clipped_step_saved(total, x[i], y[i], w, bound)
    return total, saved_clipped_step


def clipped_backward(w, x, saved_clipped_step, bound, d_total_2):
    """From d_sub_rows, d_w_rows and d_total_2 to the gradients by w, x and y."""
    n, d = x.shape
    # gradient of return sum[i](shortened(grad((x[i] @ w - y[i]) ** 2, w), bound))   derivatives.lee:132
    d_x = [None] * n
    d_y = [None] * n
    d_sub_2_rows = [None] * n
    for i in reversed(range(n)):
        d_total_2, d_x[i], d_y[i], d_sub_2_rows[i] = clipped_step_backward(
            x[i], w, saved_clipped_step[i], bound, d_total_2
        )
    d_x = torch.stack(d_x, 0) if d_x else torch.zeros((n, d), dtype=FLOAT, device=w.device)
    d_y = torch.stack(d_y, 0) if d_y else torch.zeros((n,), dtype=FLOAT, device=w.device)
    d_sub_2_rows = torch.stack(d_sub_2_rows, 0) if d_sub_2_rows else torch.zeros((n,), dtype=FLOAT, device=w.device)
    d_w = d_sub_2_rows @ x  # [d]
    return d_w, d_x, d_y


def clipped_step_saved(total, x_i, y_i, w, bound):
    """As clipped_step, and what its gradient needs."""
    d_sub = 2 * (x_i @ w - y_i)  # derivatives.lee:132
    d_w = x_i * d_sub  # [d]
    div_2, saved_shortened = shortened_saved(d_w, bound)
    return total + div_2, (d_sub, d_w, div_2, saved_shortened)


def clipped_step_backward(x_i, w, saved, bound, d_add):
    """From d_sub, d_w and d_add to the gradients by total, x_i, y_i and sub_2."""
    d_sub, d_w, div_2, saved_shortened = saved
    # gradient of return sum[i](shortened(grad((x[i] @ w - y[i]) ** 2, w), bound))   derivatives.lee:132
    d_d_w = shortened_backward(d_w, saved_shortened, div_2, bound, d_add)  # [d]
    d_d_sub = x_i @ d_d_w
    d_sub_2 = 2 * d_d_sub
    return d_add, d_d_w * d_sub + d_sub_2 * w, -2 * d_d_sub, d_sub_2


def shortened_saved(g, bound):
    """As shortened, and what its gradient needs."""
    sqrt_, saved_norm = norm_saved(g)  # derivatives.lee:136
    div = sqrt_ / bound
    maximum = torch.where(1 >= div, 1, div)
    return g / maximum, (sqrt_, saved_norm, div, maximum)


def shortened_backward(g, saved, div_2, bound, d_div_2):
    """From d_div_2 to the gradient by g."""
    sqrt_, saved_norm, div, maximum = saved
    # gradient of return g / max(1, norm(g) / bound)   derivatives.lee:136
    neg = -((d_div_2 * div_2 / maximum).sum() / bound)
    d_g_3 = norm_backward(g, saved_norm, sqrt_, torch.where(1 >= div, 0, neg))  # [g_0]
    d_g = d_div_2 / maximum + d_g_3  # [g_0]
    return d_g  # [g_0]


def longest(w, x, y):
    """The norm of the largest gradient of a single example.

    w [d], x [n, d], y [n] -> []
    """
    n = x.shape[0]
    rows = [None] * n  # derivatives.lee:141
    for i in range(n):
        rows[i] = longest_step(x[i], y[i], w)
    rows = torch.stack(rows, 0) if rows else torch.zeros((n,), dtype=FLOAT, device=w.device)
    return largest(rows, (0,), False)


def longest_saved(w, x, y):
    """As longest, and what its gradient needs."""
    n = x.shape[0]
    rows = [None] * n  # derivatives.lee:141
    saved_longest_step = [None] * n
    for i in range(n):
        rows[i], saved_longest_step[i] = longest_step_saved(x[i], y[i], w)
    rows = torch.stack(rows, 0) if rows else torch.zeros((n,), dtype=FLOAT, device=w.device)
    return largest(rows, (0,), False), (rows, saved_longest_step)


def longest_backward(w, x, saved, d_out):
    """From d_sub_rows, d_w_rows and d_out to the gradients by w, x and y."""
    rows, saved_longest_step = saved
    n, d = x.shape
    # gradient of return max[i](norm(grad((x[i] @ w - y[i]) ** 2, w)))   derivatives.lee:141
    eq = torch.arange(n, device=w.device) == rows.argmax(dim=0)  # bool[n]
    d_rows = torch.where(eq, d_out, 0)  # [n]
    d_x = [None] * n
    d_y = [None] * n
    d_sub_2_rows = [None] * n
    for i in reversed(range(n)):
        d_x[i], d_y[i], d_sub_2_rows[i] = longest_step_backward(x[i], w, saved_longest_step[i], rows[i], d_rows[i])
    d_x = torch.stack(d_x, 0) if d_x else torch.zeros((n, d), dtype=FLOAT, device=w.device)
    d_y = torch.stack(d_y, 0) if d_y else torch.zeros((n,), dtype=FLOAT, device=w.device)
    d_sub_2_rows = torch.stack(d_sub_2_rows, 0) if d_sub_2_rows else torch.zeros((n,), dtype=FLOAT, device=w.device)
    d_w = d_sub_2_rows @ x  # [d]
    return d_w, d_x, d_y


def longest_step(x_i, y_i, w):
    """x_i [d], w [d] -> []"""
    return norm(x_i * (2 * (x_i @ w - y_i)))  # derivatives.lee:141


def longest_step_saved(x_i, y_i, w):
    """As longest_step, and what its gradient needs."""
    d_sub = 2 * (x_i @ w - y_i)  # derivatives.lee:141
    d_w = x_i * d_sub  # [d]
    rows, saved_norm = norm_saved(d_w)
    return rows, (d_sub, d_w, saved_norm)


def longest_step_backward(x_i, w, saved, sqrt_, d_rows):
    """From d_sub, d_w and d_rows to the gradients by x_i, y_i and sub_2."""
    d_sub, d_w, saved_norm = saved
    # gradient of return max[i](norm(grad((x[i] @ w - y[i]) ** 2, w)))   derivatives.lee:141
    d_d_w = norm_backward(d_w, saved_norm, sqrt_, d_rows)  # [d]
    d_d_sub = x_i @ d_d_w
    d_sub_2 = 2 * d_d_sub
    return d_d_w * d_sub + d_sub_2 * w, -2 * d_d_sub, d_sub_2


def example_information(key):
    net = MLP((3, 4, 2), key=fold(key, SITES["net"]))  # derivatives.lee:145
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  derivatives.lee:146
    y = normal(fold(key, SITES["y"]), (5, 2), FLOAT)  # [5, 2]  derivatives.lee:147
    flatten, saved_fisher = fisher_saved(net, x, y)  # derivatives.lee:148
    d_net, d_x, d_y = fisher_backward(net, x, saved_fisher, torch.ones(26, dtype=FLOAT))
    return flatten.sum(), net.at(d_net), d_x, d_y


def example_private(key):
    w = normal(fold(key, SITES["w"]), (3,), FLOAT)  # [3]  derivatives.lee:152
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  derivatives.lee:153
    y = normal(fold(key, SITES["y"]), (5,), FLOAT)  # [5]  derivatives.lee:154
    total_2, saved_clipped = clipped_saved(w, x, y, 2)  # derivatives.lee:155
    max_, saved_longest = longest_saved(w, x, y)
    d_w_2, d_x_2, d_y_2 = longest_backward(w, x, saved_longest, torch.ones((), dtype=FLOAT))
    d_w_3, d_x_3, d_y_3 = clipped_backward(w, x, saved_clipped, 2, 2 * total_2)
    return (total_2**2).sum() + max_, d_w_2 + d_w_3, d_x_2 + d_x_3, d_y_2 + d_y_3


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub**2), sub


def mse_backward_saved(sub, d_mean):
    """From d_mean to the gradients by y and mul."""
    y_0 = sub.shape[0]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_mul = reduced_backward(y_0, d_mean)  # [y_0]
    d_y = 2 * (d_mul * sub)  # [y_0]
    return d_y, d_mul


def mse_backward_backward(d_mul, d_d_y):
    """From d_mul and d_d_y to the gradient by sub."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    return 2 * (d_d_y * d_mul)  # [y_0]


def mse_saved_backward(d_sub):
    """From d_sub to the gradients by y and target."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_target = -d_sub  # [y_0]
    return d_sub, d_target


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

    @staticmethod
    def forward_backward_parameters_backward_2(x, d_add, d_d_self):
        """From d_add and d_d_self to the gradients by x and d_add."""
        # gradient of return x @ w + b   nn.lee:21
        d_x = d_add @ d_d_self["w"].T  # [rows, inputs]
        d_d_add = torch.addmm(d_d_self["b"], x, d_d_self["w"])  # [rows, outputs]
        return d_x, d_d_add


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

    def forward_backward_parameters_backward_input_saved(self, x, x_2, saved_relu_backward, d_d_self):
        """From d_d_self to the gradients by d_add_2 and d_x_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
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

    def forward_saved_backward_parameters(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_layers_0 = Linear.forward_backward_parameters(x, relu_backward(x_2, d_x_2_2))
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}

    def forward_saved_backward_parameters_saved(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradient by the parameters."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2_3 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_x_2_3  # [x_0, sizes_1]
        d_add, saved_relu_backward = relu_backward_saved(x_2, d_x_2_2)
        d_layers_0 = Linear.forward_backward_parameters(x, d_add)
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, saved_relu_backward

    def forward_saved_backward_parameters_backward_input(self, x, x_2, saved_relu_backward, d_d_self):
        """From d_d_self to the gradients by d_add_2 and d_x_2."""
        # gradient of x = relu(layer(x))   nn.lee:41
        d_d_add = Linear.forward_backward_parameters_backward(x, d_d_self["layers.0"])  # [x_0, sizes_1]
        d_d_x_2_2 = relu_backward_backward(saved_relu_backward, d_d_add)  # [x_0, sizes_1]
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

    def forward_2(self, x):
        """x [sizes_0] -> [sizes_2]"""
        x_2 = relu_2(self.layers[0](x[None]).reshape(self.sizes[1]))  # [sizes_1]  nn.lee:41
        return self.layers[1](x_2[None]).reshape(self.sizes[2])  # [sizes_2]  nn.lee:42

    def forward_2_saved(self, x):
        """As forward_2, and what its gradient needs."""
        x_2 = relu_2(self.layers[0](x[None]).reshape(self.sizes[1]))  # [sizes_1]  nn.lee:41
        return self.layers[1](x_2[None]).reshape(self.sizes[2]), x_2  # nn.lee:42

    def forward_2_backward_parameters_saved(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and add."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_reshape_3 = self.layers[1].forward_backward(x_2[None], d_y[None])
        d_x_2 = d_reshape_3.reshape(self.sizes[1])  # [sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_reshape_2, saved_relu_2_backward = relu_2_backward_saved(x_2, d_x_2)
        d_layers_0 = Linear.forward_backward_parameters(x[None], d_reshape_2[None])
        return {"layers.0": d_layers_0, "layers.1": d_layers_1_}, (saved_relu_2_backward, d_reshape_2[None])

    def forward_2_backward_parameters_backward(self, x, x_2, d_reshape_4, saved, d_d_self):
        """From d_reshape_4, d_add and d_d_self to the gradients by the parameters, x, x_2 and d_reshape_4."""
        saved_relu_2_backward, d_add = saved
        # gradient of x = relu(layer(x))   nn.lee:41
        d_reshape, d_d_add = Linear.forward_backward_parameters_backward_2(x[None], d_add, d_d_self["layers.0"])
        d_d_reshape_2 = d_d_add.reshape(self.sizes[1])  # [sizes_1]
        d_d_x_2 = relu_2_backward_backward(saved_relu_2_backward, d_d_reshape_2)  # [sizes_1]
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_reshape_3, d_d_add_2 = self.layers[1].forward_backward_backward(
            x_2[None], d_reshape_4[None], d_d_self["layers.1"], d_d_x_2[None]
        )
        d_d_reshape_4 = d_d_add_2.reshape(self.sizes[2])  # [sizes_2]
        d_x_2 = d_reshape_3.reshape(self.sizes[1])  # [sizes_1]
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x = d_reshape.reshape(self.sizes[0])  # [sizes_0]
        return {"layers.1": d_layers_1_}, d_x, d_x_2, d_d_reshape_4

    def forward_2_saved_backward(self, x, x_2, d_y, d_x_2):
        """From d_y and d_x_2 to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_reshape_3 = self.layers[1].forward_backward(x_2[None], d_y[None])
        # gradient of x = relu(layer(x))   nn.lee:41
        d_x_2_2 = d_x_2 + d_reshape_3.reshape(self.sizes[1])  # [sizes_1]
        d_add = relu_2_backward(x_2, d_x_2_2)[None]  # [1, sizes_1]
        d_layers_0_, d_reshape = self.layers[0].forward_backward(x[None], d_add)
        d_x = d_reshape.reshape(self.sizes[0])  # [sizes_0]
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


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


def relu_backward_backward_backward(gt, d_d_d_select):
    """From d_d_d_select to the gradient by d_d_x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_d_x = torch.where(gt, d_d_d_select, 0)  # [x_0, x_1]
    return d_d_d_x  # [x_0, x_1]


def relu_backward_backward_backward_backward(gt, d_d_d_d_x):
    """From d_d_d_d_x to the gradient by d_d_d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_d_d_select = torch.where(gt, d_d_d_d_x, 0)  # [x_0, x_1]
    return d_d_d_d_select  # [x_0, x_1]


def relu_2(x):
    """x where it is positive, else 0.

    x [x_0] -> [x_0]
    """
    return torch.relu(x)  # [x_0]  prelude.lee:61


def relu_2_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0]
    return d_x  # [x_0]


def relu_2_backward_saved(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    gt = select > 0  # bool[x_0]
    d_x = torch.where(gt, d_y, 0)  # [x_0]
    return d_x, gt


def relu_2_backward_backward(gt, d_d_x):
    """From d_d_x to the gradient by d_select."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_d_select = torch.where(gt, d_d_x, 0)  # [x_0]
    return d_d_select  # [x_0]


def dot(x, y):
    """Σ xᵢ yᵢ over all entries."""
    if x.sizes[0] != y.sizes[0]:
        raise ValueError(f"prelude.lee:158: x.sizes_0 = {x.sizes[0]} must equal y.sizes_0 = {y.sizes[0]}")
    if x.sizes[1] != y.sizes[1]:
        raise ValueError(f"prelude.lee:158: x.sizes_1 = {x.sizes[1]} must equal y.sizes_1 = {y.sizes[1]}")
    if x.sizes[2] != y.sizes[2]:
        raise ValueError(f"prelude.lee:158: x.sizes_2 = {x.sizes[2]} must equal y.sizes_2 = {y.sizes[2]}")
    reshape = y.layers[0].w.reshape(x.sizes[0], x.sizes[1])  # [x.sizes_0, x.sizes_1]
    reshape_3 = y.layers[1].w.reshape(x.sizes[1], x.sizes[2])  # [x.sizes_1, x.sizes_2]
    sum_2 = (x.layers[0].b * y.layers[0].b.reshape(x.sizes[1])).sum()
    add = (x.layers[0].w * reshape).sum() + sum_2
    sum_4 = (x.layers[1].b * y.layers[1].b.reshape(x.sizes[2])).sum()
    return add + (x.layers[1].w * reshape_3).sum() + sum_4


def dot_backward(x, y, d_out):
    """From d_out to the gradients by x and y."""
    # gradient of return sum(x * y)   prelude.lee:158
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


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return sqrt((x**2).sum())  # prelude.lee:163


def norm_saved(x):
    """As norm, and what its gradient needs."""
    sum_ = (x**2).sum()  # prelude.lee:163
    return sqrt(sum_), sum_


def norm_backward(x, sum_, sqrt_, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sqrt(sum(x ** 2, axis = axis))   prelude.lee:163
    d_x = 2 * (d_y * 0.5 / torch.where(sum_ > 0, sqrt_, torch.inf)) * x  # [x_0]
    return d_x  # [x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "net": 0xF087C76970C91612,
    "r": 0xF1DC5A7F078E3ACB,
    "u": 0x08D267E10C593806,
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


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = x.new_zeros(dims)
    whole[slices] = x
    return whole


def unflatten(x, shapes):
    """The tensors of given shapes that lie one after the other in a vector."""
    parts = x.split([math.prod(shape) for shape in shapes])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


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


class Svd(torch.autograd.Function):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""

    @staticmethod
    def forward(ctx, a):
        u, s, vt = torch.linalg.svd(a, full_matrices=False)
        sign = signs_of_columns(u)
        u, v = u * sign, vt.mT * sign
        ctx.save_for_backward(u, s, v)
        return u, s, v

    @staticmethod
    def backward(ctx, d_u, d_s, d_v):
        u, s, v = ctx.saved_tensors
        scale = s.amax(dim=-1)[..., None, None]
        gaps = inverse_gaps(s) * reciprocal_or_zero(s[..., None, :] + s[..., :, None], scale)
        turn_u, turn_v = u.mT @ d_u, v.mT @ d_v
        inner = gaps * (turn_u - turn_u.mT) * s[..., None, :] + s[..., :, None] * gaps * (turn_v - turn_v.mT)
        inverse = reciprocal_or_zero(s[..., None, :], scale)
        left = u @ inner + u * d_s[..., None, :] + (d_u - u @ turn_u) * inverse
        return left @ v.mT + u * inverse @ (d_v - v @ turn_v).mT


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    return Svd.apply(a)


def cofactor(a):
    """The derivative of det(a) by a, also where a is singular: from its singular values, all but one multiplied."""
    u, s, v = svd(a)
    one = torch.eye(s.shape[-1], dtype=torch.bool, device=a.device)
    others = torch.where(one, 1.0, s[..., None, :]).prod(dim=-1)
    sign = torch.sign(torch.linalg.det((u @ v.mT).detach()))[..., None, None]
    return sign * (u * others[..., None, :]) @ v.mT


class Det(torch.autograd.Function):
    """The determinant, which has a derivative where a is singular, too."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.linalg.det(a)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g[..., None, None] * cofactor(a)


def det(a):
    """The determinant, which has a derivative where a is singular, too."""
    return Det.apply(a)


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
