"""Recurrent networks (inventory F2, F3, F6-F11): what is remembered, and what decides about it.

A loop over the positions of a sequence is a recurrence: what it reassigns is carried on, `out[:, t] = ..` collects a
row. Sequences stand in a batch, `[n, time, inputs]`, and every memory is empty, 0, at first.

Made from specs/recurrent/cells.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/recurrent/cells.lee
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


class Elman(Model):
    """hₜ = tanh(xₜ Wᵢ + hₜ₋₁ Wₕ + b): the hidden layer is fed back."""

    members = ("wi", "wh", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:12
        uniform_ = uniform(fold(key, SITES["wi"]), (inputs, hidden), FLOAT)  # [inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["wh"]), (hidden, hidden), FLOAT)  # [hidden, hidden]  cells.lee:13
        uniform_3 = uniform(fold(key, SITES["b"]), (hidden,), FLOAT)  # [hidden]  cells.lee:14
        self.wi = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, hidden]  cells.lee:12
        self.wh = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [hidden, hidden]  cells.lee:13
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [hidden]  cells.lee:14

    def forward_step(self, h, projection_t):
        """h [n, hidden], projection_t [n, hidden] -> [n, hidden], [n, hidden]"""
        h_3 = torch.tanh(projection_t + h @ self.wh + self.b)  # [n, hidden]  cells.lee:19
        return h_3, h_3

    def forward_step_saved(self, h, projection_t):
        """As forward_step, and what its gradient needs."""
        h_3 = torch.tanh(projection_t + h @ self.wh + self.b)  # [n, hidden]  cells.lee:19
        return h_3, h_3, h

    def forward_step_backward(self, h, h_3, d_h_3, d_out):
        """From d_h_3 and d_out to the gradients by h, projection_t and b."""
        # gradient of h = tanh(x[:, t] @ wi + h @ wh + b)   cells.lee:19
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        d_add_2 = d_h_3_2 * (1 - h_3**2)  # [n, hidden]
        d_b = d_add_2.sum(dim=0)  # [hidden]
        d_h = d_add_2 @ self.wh.T  # [n, hidden]
        return d_h, d_add_2, h, d_b

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:17
        projection = x @ self.wi  # [n, time, hidden]  cells.lee:19
        out = [None] * time  # cells.lee:18
        for t in range(time):
            h, out[t] = self.forward_step(h, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:17
        projection = x @ self.wi  # [n, time, hidden]  cells.lee:19
        out = [None] * time  # cells.lee:18
        saved_forward_step = [None] * time
        for t in range(time):
            h, out[t], saved_forward_step[t] = self.forward_step_saved(h, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, out, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:18
        d_h_3 = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_projection = [None] * time
        h_rows_2 = [None] * time
        d_b_rows = [None] * time
        for t in reversed(range(time)):
            d_h_3, d_projection[t], h_rows_2[t], d_b_rows[t] = self.forward_step_backward(
                saved_forward_step[t], out[:, t], d_h_3, d_out[:, t]
            )
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_b_rows = (
            torch.stack(d_b_rows, 1) if d_b_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        reshape_2 = d_projection.reshape(n * time, self.hidden)  # [n * time, hidden]
        d_wh = h_rows_2.reshape(n * time, self.hidden).T @ reshape_2  # [hidden, hidden]
        d_b = d_b_rows.sum(dim=1)  # [hidden]
        # gradient of h = tanh(x[:, t] @ wi + h @ wh + b)   cells.lee:19
        d_x = d_projection @ self.wi.T  # [n, time, inputs]
        d_wi = x.reshape(n * time, self.inputs).T @ reshape_2  # [inputs, hidden]
        return {"wi": d_wi, "wh": d_wh, "b": d_b}, d_x


class Jordan(Model):
    """hₜ = tanh(xₜ Wᵢ + yₜ₋₁ Wᵧ + b), yₜ = σ(hₜ Wₒ + c): the output is fed back."""

    members = ("wi", "wy", "wo", "b", "c")

    def __init__(self, inputs, hidden, outputs, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden, self.outputs = inputs, hidden, outputs
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:26
        uniform_ = uniform(fold(key, SITES["wi"]), (inputs, hidden), FLOAT)  # [inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["wy"]), (outputs, hidden), FLOAT)  # [outputs, hidden]  cells.lee:27
        uniform_3 = uniform(fold(key, SITES["wo"]), (hidden, outputs), FLOAT)  # [hidden, outputs]  cells.lee:28
        uniform_4 = uniform(fold(key, SITES["b"]), (hidden,), FLOAT)  # [hidden]  cells.lee:29
        uniform_5 = uniform(fold(key, SITES["c"]), (outputs,), FLOAT)  # [outputs]  cells.lee:30
        self.wi = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, hidden]  cells.lee:26
        self.wy = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs, hidden]  cells.lee:27
        self.wo = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [hidden, outputs]  cells.lee:28
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_4)  # [hidden]  cells.lee:29
        self.c = torch.nn.Parameter(div + (div_2 - div) * uniform_5)  # [outputs]  cells.lee:30

    def forward_step(self, y, projection_t):
        """y [n, outputs], projection_t [n, hidden] -> [n, outputs], [n, outputs]"""
        h = torch.tanh(projection_t + y @ self.wy + self.b)  # [n, hidden]  cells.lee:35
        y_3 = torch.sigmoid(torch.addmm(self.c, h, self.wo))  # [n, outputs]  prelude.lee:36
        return y_3, y_3

    def forward_step_saved(self, y, projection_t):
        """As forward_step, and what its gradient needs."""
        h = torch.tanh(projection_t + y @ self.wy + self.b)  # [n, hidden]  cells.lee:35
        y_3 = torch.sigmoid(torch.addmm(self.c, h, self.wo))  # [n, outputs]  prelude.lee:36
        return y_3, y_3, (h, y)

    def forward_step_backward(self, saved, y_3, d_y_3, d_out):
        """From d_y_3 and d_out to the gradients by y, projection_t, add_3, b and c."""
        h, y = saved
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_y_3_2 = d_y_3 + d_out  # [n, outputs]
        d_add_3 = d_y_3_2 * (y_3 * (1 - y_3))  # [n, outputs]
        # gradient of y = sigmoid(h @ wo + c)   cells.lee:36
        d_c = d_add_3.sum(dim=0)  # [outputs]
        d_h = d_add_3 @ self.wo.T  # [n, hidden]
        # gradient of h = tanh(x[:, t] @ wi + y @ wy + b)   cells.lee:35
        d_add_2 = d_h * (1 - h**2)  # [n, hidden]
        d_b = d_add_2.sum(dim=0)  # [hidden]
        d_y = d_add_2 @ self.wy.T  # [n, outputs]
        return d_y, d_add_2, y, h, d_add_3, d_b, d_c

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, outputs]"""
        n, time, _ = x.shape
        y = torch.zeros((n, self.outputs), dtype=FLOAT, device=x.device)  # [n, outputs]  cells.lee:33
        projection = x @ self.wi  # [n, time, hidden]  cells.lee:35
        out = [None] * time  # cells.lee:34
        for t in range(time):
            y, out[t] = self.forward_step(y, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.outputs), dtype=FLOAT, device=x.device)
        return out  # [n, time, outputs]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        y = torch.zeros((n, self.outputs), dtype=FLOAT, device=x.device)  # [n, outputs]  cells.lee:33
        projection = x @ self.wi  # [n, time, hidden]  cells.lee:35
        out = [None] * time  # cells.lee:34
        saved_forward_step = [None] * time
        for t in range(time):
            y, out[t], saved_forward_step[t] = self.forward_step_saved(y, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.outputs), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, out, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:34
        d_y_3 = torch.zeros((n, self.outputs), dtype=FLOAT, device=x.device)  # [n, outputs]
        d_projection = [None] * time
        y_rows_2 = [None] * time
        h_rows_2 = [None] * time
        d_add_3_rows = [None] * time
        d_b_rows = [None] * time
        d_c_rows = [None] * time
        for t in reversed(range(time)):
            d_y_3, d_projection[t], y_rows_2[t], h_rows_2[t], d_add_3_rows[t], d_b_rows[t], d_c_rows[t] = (
                self.forward_step_backward(saved_forward_step[t], out[:, t], d_y_3, d_out[:, t])
            )
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        y_rows_2 = (
            torch.stack(y_rows_2, 1) if y_rows_2 else torch.zeros((n, time, self.outputs), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_add_3_rows = (
            torch.stack(d_add_3_rows, 1)
            if d_add_3_rows
            else torch.zeros((n, time, self.outputs), dtype=FLOAT, device=x.device)
        )
        d_b_rows = (
            torch.stack(d_b_rows, 1) if d_b_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_c_rows = (
            torch.stack(d_c_rows, 1) if d_c_rows else torch.zeros((self.outputs, time), dtype=FLOAT, device=x.device)
        )
        reshape_2 = d_projection.reshape(n * time, self.hidden)  # [n * time, hidden]
        d_wy = y_rows_2.reshape(n * time, self.outputs).T @ reshape_2  # [outputs, hidden]
        reshape_4 = d_add_3_rows.reshape(n * time, self.outputs)  # [n * time, outputs]
        d_wo = h_rows_2.reshape(n * time, self.hidden).T @ reshape_4  # [hidden, outputs]
        d_b = d_b_rows.sum(dim=1)  # [hidden]
        d_c = d_c_rows.sum(dim=1)  # [outputs]
        # gradient of h = tanh(x[:, t] @ wi + y @ wy + b)   cells.lee:35
        d_x = d_projection @ self.wi.T  # [n, time, inputs]
        d_wi = x.reshape(n * time, self.inputs).T @ reshape_2  # [inputs, hidden]
        return {"wi": d_wi, "wy": d_wy, "wo": d_wo, "b": d_b, "c": d_c}, d_x


class LSTM(Model):
    """cₜ = f cₜ₋₁ + i g, hₜ = o tanh(cₜ): an open forget gate, f = 1, keeps (Hochreiter & Schmidhuber 1997).

    Four inputs with weights of their own: the input gate i, the forget gate f, the candidate g, the output gate o.
    """

    members = ("wx", "wh", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:49
        uniform_ = uniform(fold(key, SITES["wx"]), (4, inputs, hidden), FLOAT)  # [4, inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["wh"]), (4, hidden, hidden), FLOAT)  # [4, hidden, hidden]  cells.lee:50
        uniform_3 = uniform(fold(key, SITES["b"]), (4, hidden), FLOAT)  # [4, hidden]  cells.lee:51
        self.wx = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [4, inputs, hidden]  cells.lee:49
        self.wh = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [4, hidden, hidden]  cells.lee:50
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [4, hidden]  cells.lee:51

    def forward_step(self, c, h, projection_t):
        """c [n, hidden], h [n, hidden], projection_t [4, n, hidden] -> [n, hidden], [n, hidden], [n, hidden]"""
        z = projection_t + h @ self.wh + self.b[:, None]  # [4, n, hidden]  cells.lee:57
        c_3 = torch.sigmoid(z[1]) * c + torch.sigmoid(z[0]) * torch.tanh(z[2])  # [n, hidden]  cells.lee:58
        h_3 = torch.sigmoid(z[3]) * torch.tanh(c_3)  # [n, hidden]  cells.lee:59
        return c_3, h_3, h_3

    def forward_step_saved(self, c, h, projection_t):
        """As forward_step, and what its gradient needs."""
        z = projection_t + h @ self.wh + self.b[:, None]  # [4, n, hidden]  cells.lee:57
        sigmoid = torch.sigmoid(z[1])  # [n, hidden]  prelude.lee:36
        sigmoid_2 = torch.sigmoid(z[0])  # [n, hidden]
        tanh = torch.tanh(z[2])  # [n, hidden]  cells.lee:58
        c_3 = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        sigmoid_3 = torch.sigmoid(z[3])  # [n, hidden]  prelude.lee:36
        tanh_2 = torch.tanh(c_3)  # [n, hidden]  cells.lee:59
        h_3 = sigmoid_3 * tanh_2  # [n, hidden]
        return c_3, h_3, h_3, (sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_2, c, h)

    def forward_step_backward(self, saved, d_c_3, d_h_3, d_out, d_self):
        """From d_c_3, d_h_3, d_out and d_self to the gradients by c, h, the parameters and projection_t."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_2, c, h = saved
        # gradient of h = sigmoid(z[3]) * tanh(c)   cells.lee:59
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        # gradient of c = sigmoid(z[1]) * c + sigmoid(z[0]) * tanh(z[2])   cells.lee:58
        d_c_3_2 = d_c_3 + d_h_3_2 * sigmoid_3 * (1 - tanh_2**2)  # [n, hidden]
        d_c = d_c_3_2 * sigmoid  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_5 = d_h_3_2 * tanh_2 * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape_3 = d_c_3_2 * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape_2 = d_c_3_2 * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of c = sigmoid(z[1]) * c + sigmoid(z[0]) * tanh(z[2])   cells.lee:58
        d_reshape_4 = d_c_3_2 * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:57
        d_z = torch.stack((d_reshape_3, d_reshape_2, d_reshape_4, d_reshape_5))  # [4, n, hidden]
        d_b = d_z.sum(dim=1)  # [4, hidden]
        d_h = (d_z @ self.wh.mT).sum(dim=0)  # [n, hidden]
        return d_c, d_h, {"b": d_self["b"] + d_b}, d_z, h

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:54
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [4, n * time, hidden]  cells.lee:57
        projection = contract.reshape(4, time, n, self.hidden)  # [4, time, n, hidden]
        c = h  # cells.lee:56
        h_ = h
        out = [None] * time
        for t in range(time):
            c, h_, out[t] = self.forward_step(c, h_, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:54
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [4, n * time, hidden]  cells.lee:57
        projection = contract.reshape(4, time, n, self.hidden)  # [4, time, n, hidden]
        c = h  # cells.lee:56
        h_ = h
        out = [None] * time
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[t], saved_forward_step[t] = self.forward_step_saved(c, h_, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:56
        d_c = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_self = {"b": torch.zeros((4, self.hidden), dtype=FLOAT, device=x.device)}
        d_projection = [None] * time
        h_rows_2 = [None] * time
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_self, d_projection[t], h_rows_2[t] = self.forward_step_backward(
                saved_forward_step[t], d_c_3, d_h_3, d_out[:, t], d_self
            )
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((4, time, n, self.hidden), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        reshape_2 = d_projection.permute(0, 2, 1, 3).reshape(4, n * time, self.hidden)  # [4, n * time, hidden]
        d_wh = h_rows_2.reshape(n * time, self.hidden).T @ reshape_2  # [4, hidden, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:57
        d_x = (reshape_2 @ self.wx.mT).reshape(4, n, time, self.inputs).sum(dim=0)  # [n, time, inputs]
        d_wx = x.reshape(n * time, self.inputs).T @ reshape_2  # [4, inputs, hidden]
        return {"wx": d_wx, "wh": d_wh, "b": d_self["b"]}, d_x


class RememberingLSTM(Model):
    """Before training nothing enters or leaves, and nothing is forgotten: biases of the gates begin so."""

    members = ("wx", "wh", "input_bias", "forget_bias", "candidate_bias", "output_bias")

    def __init__(self, inputs, hidden, closed=-1.0, open_=1.0, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden, self.closed, self.open = inputs, hidden, closed, open_
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:66
        uniform_ = uniform(fold(key, SITES["wx"]), (4, inputs, hidden), FLOAT)  # [4, inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["wh"]), (4, hidden, hidden), FLOAT)  # [4, hidden, hidden]  cells.lee:67
        self.wx = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [4, inputs, hidden]  cells.lee:66
        self.wh = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [4, hidden, hidden]  cells.lee:67
        self.input_bias = torch.nn.Parameter(torch.full((hidden,), closed, dtype=FLOAT))  # [hidden]  cells.lee:68
        self.forget_bias = torch.nn.Parameter(torch.full((hidden,), open_, dtype=FLOAT))  # [hidden]  cells.lee:69
        self.candidate_bias = torch.nn.Parameter(torch.zeros(hidden, dtype=FLOAT))  # [hidden]  cells.lee:70
        self.output_bias = torch.nn.Parameter(torch.full((hidden,), closed, dtype=FLOAT))  # [hidden]  cells.lee:68

    def forward_step(self, c, h, b, projection_t):
        """c [n, hidden], h [n, hidden], b [4, hidden], projection_t [4, n, hidden] -> [n, hidden], [n, hidden], [n,
        hidden]
        """
        z = projection_t + h @ self.wh + b[:, None]  # [4, n, hidden]  cells.lee:78
        c_3 = torch.sigmoid(z[1]) * c + torch.sigmoid(z[0]) * torch.tanh(z[2])  # [n, hidden]  cells.lee:79
        h_3 = torch.sigmoid(z[3]) * torch.tanh(c_3)  # [n, hidden]  cells.lee:80
        return c_3, h_3, h_3

    def forward_step_saved(self, c, h, b, projection_t):
        """As forward_step, and what its gradient needs."""
        z = projection_t + h @ self.wh + b[:, None]  # [4, n, hidden]  cells.lee:78
        sigmoid = torch.sigmoid(z[1])  # [n, hidden]  prelude.lee:36
        sigmoid_2 = torch.sigmoid(z[0])  # [n, hidden]
        tanh = torch.tanh(z[2])  # [n, hidden]  cells.lee:79
        c_3 = sigmoid * c + sigmoid_2 * tanh  # [n, hidden]
        sigmoid_3 = torch.sigmoid(z[3])  # [n, hidden]  prelude.lee:36
        tanh_2 = torch.tanh(c_3)  # [n, hidden]  cells.lee:80
        h_3 = sigmoid_3 * tanh_2  # [n, hidden]
        return c_3, h_3, h_3, (sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_2, c, h)

    def forward_step_backward(self, saved, d_c_3, d_h_3, d_out, d_b):
        """From d_c_3, d_h_3, d_out and d_b to the gradients by c, h, b and projection_t."""
        sigmoid, sigmoid_2, tanh, sigmoid_3, tanh_2, c, h = saved
        # gradient of h = sigmoid(z[3]) * tanh(c)   cells.lee:80
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        # gradient of c = sigmoid(z[1]) * c + sigmoid(z[0]) * tanh(z[2])   cells.lee:79
        d_c_3_2 = d_c_3 + d_h_3_2 * sigmoid_3 * (1 - tanh_2**2)  # [n, hidden]
        d_c = d_c_3_2 * sigmoid  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_reshape_5 = d_h_3_2 * tanh_2 * (sigmoid_3 * (1 - sigmoid_3))  # [n, hidden]
        d_reshape_3 = d_c_3_2 * tanh * (sigmoid_2 * (1 - sigmoid_2))  # [n, hidden]
        d_reshape_2 = d_c_3_2 * c * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of c = sigmoid(z[1]) * c + sigmoid(z[0]) * tanh(z[2])   cells.lee:79
        d_reshape_4 = d_c_3_2 * sigmoid_2 * (1 - tanh**2)  # [n, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:78
        d_z = torch.stack((d_reshape_3, d_reshape_2, d_reshape_4, d_reshape_5))  # [4, n, hidden]
        d_b_ = d_z.sum(dim=1)  # [4, hidden]
        d_h = (d_z @ self.wh.mT).sum(dim=0)  # [n, hidden]
        return d_c, d_h, d_b + d_b_, d_z, h

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        # [4, hidden]  cells.lee:74
        b = torch.stack((self.input_bias, self.forget_bias, self.candidate_bias, self.output_bias))
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:75
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [4, n * time, hidden]  cells.lee:78
        projection = contract.reshape(4, time, n, self.hidden)  # [4, time, n, hidden]
        c = h  # cells.lee:77
        h_ = h
        out = [None] * time
        for t in range(time):
            c, h_, out[t] = self.forward_step(c, h_, b, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        # [4, hidden]  cells.lee:74
        b = torch.stack((self.input_bias, self.forget_bias, self.candidate_bias, self.output_bias))
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:75
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [4, n * time, hidden]  cells.lee:78
        projection = contract.reshape(4, time, n, self.hidden)  # [4, time, n, hidden]
        c = h  # cells.lee:77
        h_ = h
        out = [None] * time
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[t], saved_forward_step[t] = self.forward_step_saved(c, h_, b, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:77
        d_c = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_b_later = torch.zeros((4, self.hidden), dtype=FLOAT, device=x.device)  # [4, hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_projection = [None] * time
        h_rows_2 = [None] * time
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_b_later, d_projection[t], h_rows_2[t] = self.forward_step_backward(
                saved_forward_step[t], d_c_3, d_h_3, d_out[:, t], d_b_later
            )
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((4, time, n, self.hidden), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        reshape_2 = d_projection.permute(0, 2, 1, 3).reshape(4, n * time, self.hidden)  # [4, n * time, hidden]
        d_wh = h_rows_2.reshape(n * time, self.hidden).T @ reshape_2  # [4, hidden, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:78
        d_x = (reshape_2 @ self.wx.mT).reshape(4, n, time, self.inputs).sum(dim=0)  # [n, time, inputs]
        d_wx = x.reshape(n * time, self.inputs).T @ reshape_2  # [4, inputs, hidden]
        # gradient of b = stack(input_bias, forget_bias, candidate_bias, output_bias, axis = 0)   cells.lee:74
        d_output_bias = d_b_later[3]  # [hidden]
        d_candidate_bias = d_b_later[2]  # [hidden]
        d_forget_bias = d_b_later[1]  # [hidden]
        d_input_bias = d_b_later[0]  # [hidden]
        return {
            "wx": d_wx,
            "wh": d_wh,
            "input_bias": d_input_bias,
            "forget_bias": d_forget_bias,
            "candidate_bias": d_candidate_bias,
            "output_bias": d_output_bias,
        }, d_x


class PeepholeLSTM(Model):
    """The gates see the memory too: i and f the old one, o the new one, unit by unit (Gers & Schmidhuber 2000)."""

    members = ("wx", "wh", "b", "peep")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:87
        uniform_ = uniform(fold(key, SITES["wx"]), (4, inputs, hidden), FLOAT)  # [4, inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["wh"]), (4, hidden, hidden), FLOAT)  # [4, hidden, hidden]  cells.lee:88
        uniform_3 = uniform(fold(key, SITES["b"]), (4, hidden), FLOAT)  # [4, hidden]  cells.lee:89
        uniform_4 = uniform(fold(key, SITES["peep"]), (3, hidden), FLOAT)  # [3, hidden]  cells.lee:90
        self.wx = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [4, inputs, hidden]  cells.lee:87
        self.wh = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [4, hidden, hidden]  cells.lee:88
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [4, hidden]  cells.lee:89
        self.peep = torch.nn.Parameter(div + (div_2 - div) * uniform_4)  # [3, hidden]  cells.lee:90

    def forward_step(self, c, h, projection_t, peep_1, peep_0, peep_2):
        """c [n, hidden], h [n, hidden], projection_t [4, n, hidden], peep_1 [hidden], peep_0 [hidden], peep_2 [hidden]
        -> [n, hidden], [n, hidden], [n, hidden]
        """
        z = projection_t + h @ self.wh + self.b[:, None]  # [4, n, hidden]  cells.lee:96
        keep = torch.sigmoid(z[1] + peep_1 * c)  # [n, hidden]  prelude.lee:36
        write = torch.sigmoid(z[0] + peep_0 * c)  # [n, hidden]
        c_3 = keep * c + write * torch.tanh(z[2])  # [n, hidden]  cells.lee:99
        h_3 = torch.sigmoid(z[3] + peep_2 * c_3) * torch.tanh(c_3)  # [n, hidden]  cells.lee:100
        return c_3, h_3, h_3

    def forward_step_saved(self, c, h, projection_t, peep_1, peep_0, peep_2):
        """As forward_step, and what its gradient needs."""
        z = projection_t + h @ self.wh + self.b[:, None]  # [4, n, hidden]  cells.lee:96
        keep = torch.sigmoid(z[1] + peep_1 * c)  # [n, hidden]  prelude.lee:36
        write = torch.sigmoid(z[0] + peep_0 * c)  # [n, hidden]
        tanh = torch.tanh(z[2])  # [n, hidden]  cells.lee:99
        c_3 = keep * c + write * tanh  # [n, hidden]
        sigmoid = torch.sigmoid(z[3] + peep_2 * c_3)  # [n, hidden]  prelude.lee:36
        tanh_2 = torch.tanh(c_3)  # [n, hidden]  cells.lee:100
        h_3 = sigmoid * tanh_2  # [n, hidden]
        return c_3, h_3, h_3, (keep, write, tanh, sigmoid, tanh_2, c, h, c_3)

    def forward_step_backward(self, saved, peep_1, peep_0, peep_2, d_c_3, d_h_3, d_out, d_self):
        """From d_c_3, d_h_3, d_out and d_self to the gradients by c, h, the parameters, projection_t, peep_1, peep_0 and peep_2."""
        keep, write, tanh, sigmoid, tanh_2, c, h, c_3 = saved
        # gradient of h = sigmoid(z[3] + peep[2] * c) * tanh(c)   cells.lee:100
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_add_4 = d_h_3_2 * tanh_2 * (sigmoid * (1 - sigmoid))  # [n, hidden]
        # gradient of c = keep * c + write * tanh(z[2])   cells.lee:99
        d_c_3_2 = d_c_3 + d_h_3_2 * sigmoid * (1 - tanh_2**2) + d_add_4 * peep_2  # [n, hidden]
        d_write = d_c_3_2 * tanh  # [n, hidden]
        d_keep = d_c_3_2 * c  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_add_3 = d_write * (write * (1 - write))  # [n, hidden]
        d_add_2 = d_keep * (keep * (1 - keep))  # [n, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:96
        d_z = torch.stack((d_add_3, d_add_2, d_c_3_2 * write * (1 - tanh**2), d_add_4))  # [4, n, hidden]
        d_b = d_z.sum(dim=1)  # [4, hidden]
        d_h = (d_z @ self.wh.mT).sum(dim=0)  # [n, hidden]
        d_c = d_c_3_2 * keep + d_add_3 * peep_0 + d_add_2 * peep_1  # [n, hidden]
        return (
            d_c,
            d_h,
            {"b": d_self["b"] + d_b},
            d_z,
            h,
            (d_add_2 * c).sum(dim=0),
            (d_add_3 * c).sum(dim=0),
            (d_add_4 * c_3).sum(dim=0),
        )

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:93
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [4, n * time, hidden]  cells.lee:96
        projection = contract.reshape(4, time, n, self.hidden)  # [4, time, n, hidden]
        c = h  # cells.lee:95
        h_ = h
        out = [None] * time
        for t in range(time):
            c, h_, out[t] = self.forward_step(c, h_, projection[:, t], self.peep[1], self.peep[0], self.peep[2])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:93
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [4, n * time, hidden]  cells.lee:96
        projection = contract.reshape(4, time, n, self.hidden)  # [4, time, n, hidden]
        c = h  # cells.lee:95
        h_ = h
        out = [None] * time
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[t], saved_forward_step[t] = self.forward_step_saved(
                c, h_, projection[:, t], self.peep[1], self.peep[0], self.peep[2]
            )
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:95
        d_c = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_self = {"b": torch.zeros((4, self.hidden), dtype=FLOAT, device=x.device)}
        d_projection = [None] * time
        h_rows_2 = [None] * time
        d_peep_1_rows = [None] * time
        d_peep_0_rows = [None] * time
        d_peep_2_rows = [None] * time
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_self, d_projection[t], h_rows_2[t], d_peep_1_rows[t], d_peep_0_rows[t], d_peep_2_rows[t] = (
                self.forward_step_backward(
                    saved_forward_step[t], self.peep[1], self.peep[0], self.peep[2], d_c_3, d_h_3, d_out[:, t], d_self
                )
            )
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((4, time, n, self.hidden), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_peep_1_rows = (
            torch.stack(d_peep_1_rows, 1)
            if d_peep_1_rows
            else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_peep_0_rows = (
            torch.stack(d_peep_0_rows, 1)
            if d_peep_0_rows
            else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_peep_2_rows = (
            torch.stack(d_peep_2_rows, 1)
            if d_peep_2_rows
            else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        reshape_2 = d_projection.permute(0, 2, 1, 3).reshape(4, n * time, self.hidden)  # [4, n * time, hidden]
        d_wh = h_rows_2.reshape(n * time, self.hidden).T @ reshape_2  # [4, hidden, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:96
        d_x = (reshape_2 @ self.wx.mT).reshape(4, n, time, self.inputs).sum(dim=0)  # [n, time, inputs]
        d_wx = x.reshape(n * time, self.inputs).T @ reshape_2  # [4, inputs, hidden]
        # gradient of for t in time:   cells.lee:95
        sum_2 = d_peep_0_rows.sum(dim=1)  # [hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:96
        d_peep = torch.stack((sum_2, d_peep_1_rows.sum(dim=1), d_peep_2_rows.sum(dim=1)))  # [3, hidden]
        return {"wx": d_wx, "wh": d_wh, "b": d_self["b"], "peep": d_peep}, d_x


class CoupledLSTM(Model):
    """One gate writes the new and erases the old: c = i g + (1 - i) c. Notes call this a GRU, which it is not."""

    members = ("wx", "wh", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:107
        uniform_ = uniform(fold(key, SITES["wx"]), (3, inputs, hidden), FLOAT)  # [3, inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["wh"]), (3, hidden, hidden), FLOAT)  # [3, hidden, hidden]  cells.lee:108
        uniform_3 = uniform(fold(key, SITES["b"]), (3, hidden), FLOAT)  # [3, hidden]  cells.lee:109
        self.wx = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [3, inputs, hidden]  cells.lee:107
        self.wh = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [3, hidden, hidden]  cells.lee:108
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [3, hidden]  cells.lee:109

    def forward_step(self, c, h, projection_t):
        """c [n, hidden], h [n, hidden], projection_t [3, n, hidden] -> [n, hidden], [n, hidden], [n, hidden]"""
        z = projection_t + h @ self.wh + self.b[:, None]  # [3, n, hidden]  cells.lee:115
        write = torch.sigmoid(z[0])  # [n, hidden]  prelude.lee:36
        c_3 = write * torch.tanh(z[1]) + (1 - write) * c  # [n, hidden]  cells.lee:117
        h_3 = torch.sigmoid(z[2]) * torch.tanh(c_3)  # [n, hidden]  cells.lee:118
        return c_3, h_3, h_3

    def forward_step_saved(self, c, h, projection_t):
        """As forward_step, and what its gradient needs."""
        z = projection_t + h @ self.wh + self.b[:, None]  # [3, n, hidden]  cells.lee:115
        write = torch.sigmoid(z[0])  # [n, hidden]  prelude.lee:36
        tanh = torch.tanh(z[1])  # [n, hidden]  cells.lee:117
        sub = 1 - write  # [n, hidden]
        c_3 = write * tanh + sub * c  # [n, hidden]
        sigmoid = torch.sigmoid(z[2])  # [n, hidden]  prelude.lee:36
        tanh_2 = torch.tanh(c_3)  # [n, hidden]  cells.lee:118
        h_3 = sigmoid * tanh_2  # [n, hidden]
        return c_3, h_3, h_3, (write, tanh, sub, sigmoid, tanh_2, c, h)

    def forward_step_backward(self, saved, d_c_3, d_h_3, d_out, d_self):
        """From d_c_3, d_h_3, d_out and d_self to the gradients by c, h, the parameters and projection_t."""
        write, tanh, sub, sigmoid, tanh_2, c, h = saved
        # gradient of h = sigmoid(z[2]) * tanh(c)   cells.lee:118
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        # gradient of c = write * tanh(z[1]) + (1 - write) * c   cells.lee:117
        d_c_3_2 = d_c_3 + d_h_3_2 * sigmoid * (1 - tanh_2**2)  # [n, hidden]
        d_c = d_c_3_2 * sub  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_write = d_c_3_2 * tanh - d_c_3_2 * c  # [n, hidden]
        d_reshape_4 = d_h_3_2 * tanh_2 * (sigmoid * (1 - sigmoid))  # [n, hidden]
        d_reshape_2 = d_write * (write * (1 - write))  # [n, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:115
        d_z = torch.stack((d_reshape_2, d_c_3_2 * write * (1 - tanh**2), d_reshape_4))  # [3, n, hidden]
        d_b = d_z.sum(dim=1)  # [3, hidden]
        d_h = (d_z @ self.wh.mT).sum(dim=0)  # [n, hidden]
        return d_c, d_h, {"b": d_self["b"] + d_b}, d_z, h

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:112
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [3, n * time, hidden]  cells.lee:115
        projection = contract.reshape(3, time, n, self.hidden)  # [3, time, n, hidden]
        c = h  # cells.lee:114
        h_ = h
        out = [None] * time
        for t in range(time):
            c, h_, out[t] = self.forward_step(c, h_, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:112
        contract = x.permute(1, 0, 2).reshape(n * time, self.inputs) @ self.wx  # [3, n * time, hidden]  cells.lee:115
        projection = contract.reshape(3, time, n, self.hidden)  # [3, time, n, hidden]
        c = h  # cells.lee:114
        h_ = h
        out = [None] * time
        saved_forward_step = [None] * time
        for t in range(time):
            c, h_, out[t], saved_forward_step[t] = self.forward_step_saved(c, h_, projection[:, t])
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:114
        d_c = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_c_3 = d_c
        d_h_3 = d_c
        d_self = {"b": torch.zeros((3, self.hidden), dtype=FLOAT, device=x.device)}
        d_projection = [None] * time
        h_rows_2 = [None] * time
        for t in reversed(range(time)):
            d_c_3, d_h_3, d_self, d_projection[t], h_rows_2[t] = self.forward_step_backward(
                saved_forward_step[t], d_c_3, d_h_3, d_out[:, t], d_self
            )
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((3, time, n, self.hidden), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        reshape_2 = d_projection.permute(0, 2, 1, 3).reshape(3, n * time, self.hidden)  # [3, n * time, hidden]
        d_wh = h_rows_2.reshape(n * time, self.hidden).T @ reshape_2  # [3, hidden, hidden]
        # gradient of z[g, r, j] = sum[i](x[r, t, i] * wx[g, i, j]) + sum[k](h[r, k] * wh[g, k, j])..   cells.lee:115
        d_x = (reshape_2 @ self.wx.mT).reshape(3, n, time, self.inputs).sum(dim=0)  # [n, time, inputs]
        d_wx = x.reshape(n * time, self.inputs).T @ reshape_2  # [3, inputs, hidden]
        return {"wx": d_wx, "wh": d_wh, "b": d_self["b"]}, d_x


class GRU(Model):
    """h = z h + (1 - z) h̃ with h̃ = tanh(x W + (r h) U + b): the reset gate acts on the state (Cho et al. 2014)."""

    members = ("w", "u", "b")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:125
        uniform_ = uniform(fold(key, SITES["w"]), (3, inputs, hidden), FLOAT)  # [3, inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (3, hidden, hidden), FLOAT)  # [3, hidden, hidden]  cells.lee:126
        uniform_3 = uniform(fold(key, SITES["b"]), (3, hidden), FLOAT)  # [3, hidden]  cells.lee:127
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [3, inputs, hidden]  cells.lee:125
        self.u = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [3, hidden, hidden]  cells.lee:126
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [3, hidden]  cells.lee:127

    @staticmethod
    def forward_step(h, projection_t, u_0, b_0, projection_2_t, u_1, b_1, projection_3_t, u_2, b_2):
        """h [n, hidden], projection_t [n, hidden], u_0 [hidden, hidden], b_0 [hidden], projection_2_t [n, hidden], u_1
        [hidden, hidden], b_1 [hidden], projection_3_t [n, hidden], u_2 [hidden, hidden], b_2 [hidden] -> [n,
        hidden], [n, hidden]
        """
        reset = torch.sigmoid(projection_t + h @ u_0 + b_0)  # [n, hidden]  prelude.lee:36
        update = torch.sigmoid(projection_2_t + h @ u_1 + b_1)  # [n, hidden]
        candidate = torch.tanh(projection_3_t + reset * h @ u_2 + b_2)  # [n, hidden]  cells.lee:134
        h_3 = update * h + (1 - update) * candidate  # [n, hidden]  cells.lee:135
        return h_3, h_3

    @staticmethod
    def forward_step_saved(h, projection_t, u_0, b_0, projection_2_t, u_1, b_1, projection_3_t, u_2, b_2):
        """As forward_step, and what its gradient needs."""
        reset = torch.sigmoid(projection_t + h @ u_0 + b_0)  # [n, hidden]  prelude.lee:36
        update = torch.sigmoid(projection_2_t + h @ u_1 + b_1)  # [n, hidden]
        mul = reset * h  # [n, hidden]  cells.lee:134
        candidate = torch.tanh(projection_3_t + mul @ u_2 + b_2)  # [n, hidden]
        sub = 1 - update  # [n, hidden]  cells.lee:135
        h_3 = update * h + sub * candidate  # [n, hidden]
        return h_3, h_3, (reset, update, mul, candidate, sub, h)

    @staticmethod
    def forward_step_backward(saved, u_0, u_1, u_2, d_h_3, d_out):
        """From d_h_3 and d_out to the gradients by h, projection_t, projection_2_t, projection_3_t, b_0, b_1 and b_2."""
        reset, update, mul, candidate, sub, h = saved
        # gradient of h = update * h + (1 - update) * candidate   cells.lee:135
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        d_candidate = d_h_3_2 * sub  # [n, hidden]
        # gradient of candidate = tanh(x[:, t] @ w[2] + (reset * h) @ u[2] + b[2])   cells.lee:134
        d_add_6 = d_candidate * (1 - candidate**2)  # [n, hidden]
        d_mul = d_add_6 @ u_2.T  # [n, hidden]
        d_reset = d_mul * h  # [n, hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_update = d_h_3_2 * h - d_h_3_2 * candidate  # [n, hidden]
        d_add_4 = d_update * (update * (1 - update))  # [n, hidden]
        d_add_2 = d_reset * (reset * (1 - reset))  # [n, hidden]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:132
        d_h = d_h_3_2 * update + d_mul * reset + d_add_4 @ u_1.T + d_add_2 @ u_0.T  # [n, hidden]
        return d_h, d_add_2, d_add_4, d_add_6, h, d_add_2.sum(dim=0), d_add_4.sum(dim=0), mul, d_add_6.sum(dim=0)

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:130
        projection = x @ self.w[0]  # [n, time, hidden]  cells.lee:132
        projection_2 = x @ self.w[1]  # [n, time, hidden]  cells.lee:133
        projection_3 = x @ self.w[2]  # [n, time, hidden]  cells.lee:134
        out = [None] * time  # cells.lee:131
        for t in range(time):
            h, out[t] = GRU.forward_step(
                h,
                projection[:, t],
                self.u[0],
                self.b[0],
                projection_2[:, t],
                self.u[1],
                self.b[1],
                projection_3[:, t],
                self.u[2],
                self.b[2],
            )
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:130
        projection = x @ self.w[0]  # [n, time, hidden]  cells.lee:132
        projection_2 = x @ self.w[1]  # [n, time, hidden]  cells.lee:133
        projection_3 = x @ self.w[2]  # [n, time, hidden]  cells.lee:134
        out = [None] * time  # cells.lee:131
        saved_forward_step = [None] * time
        for t in range(time):
            h, out[t], saved_forward_step[t] = GRU.forward_step_saved(
                h,
                projection[:, t],
                self.u[0],
                self.b[0],
                projection_2[:, t],
                self.u[1],
                self.b[1],
                projection_3[:, t],
                self.u[2],
                self.b[2],
            )
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:131
        d_h_3 = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_projection = [None] * time
        d_projection_2 = [None] * time
        d_projection_3 = [None] * time
        h_rows_2 = [None] * time
        d_b_0_rows = [None] * time
        d_b_1_rows = [None] * time
        mul_rows_2 = [None] * time
        d_b_2_rows = [None] * time
        for t in reversed(range(time)):
            (
                d_h_3,
                d_projection[t],
                d_projection_2[t],
                d_projection_3[t],
                h_rows_2[t],
                d_b_0_rows[t],
                d_b_1_rows[t],
                mul_rows_2[t],
                d_b_2_rows[t],
            ) = GRU.forward_step_backward(saved_forward_step[t], self.u[0], self.u[1], self.u[2], d_h_3, d_out[:, t])
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_projection_2 = (
            torch.stack(d_projection_2, 1)
            if d_projection_2
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_projection_3 = (
            torch.stack(d_projection_3, 1)
            if d_projection_3
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_b_0_rows = (
            torch.stack(d_b_0_rows, 1) if d_b_0_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_b_1_rows = (
            torch.stack(d_b_1_rows, 1) if d_b_1_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        mul_rows_2 = (
            torch.stack(mul_rows_2, 1)
            if mul_rows_2
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_b_2_rows = (
            torch.stack(d_b_2_rows, 1) if d_b_2_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        reshape = h_rows_2.reshape(n * time, self.hidden)  # [n * time, hidden]
        reshape_2 = d_projection.reshape(n * time, self.hidden)  # [n * time, hidden]
        reshape_3 = d_projection_2.reshape(n * time, self.hidden)  # [n * time, hidden]
        reshape_5 = d_projection_3.reshape(n * time, self.hidden)  # [n * time, hidden]
        # gradient of candidate = tanh(x[:, t] @ w[2] + (reset * h) @ u[2] + b[2])   cells.lee:134
        reshape_6 = x.reshape(n * time, self.inputs)  # [n * time, inputs]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:132
        d_w_0 = reshape_6.T @ reshape_2  # [inputs, hidden]
        d_w = torch.stack((d_w_0, reshape_6.T @ reshape_3, reshape_6.T @ reshape_5))  # [3, inputs, hidden]
        # gradient of for t in time:   cells.lee:131
        contract_3 = mul_rows_2.reshape(n * time, self.hidden).T @ reshape_5  # [hidden, hidden]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:132
        d_u = torch.stack((reshape.T @ reshape_2, reshape.T @ reshape_3, contract_3))  # [3, hidden, hidden]
        # gradient of for t in time:   cells.lee:131
        sum_ = d_b_0_rows.sum(dim=1)  # [hidden]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:132
        d_b = torch.stack((sum_, d_b_1_rows.sum(dim=1), d_b_2_rows.sum(dim=1)))  # [3, hidden]
        d_x_5 = d_projection_3 @ self.w[2].T + d_projection_2 @ self.w[1].T  # [n, time, inputs]
        d_x = d_x_5 + d_projection @ self.w[0].T  # [n, time, inputs]
        return {"w": d_w, "u": d_u, "b": d_b}, d_x


class GRUResetAfter(Model):
    """h̃ = tanh(x W + b + r (h U + c)): the reset gate acts behind the product, as in the libraries."""

    members = ("w", "u", "b", "c")

    def __init__(self, inputs, hidden, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        div, div_2 = fan_in_uniform(hidden)  # cells.lee:142
        uniform_ = uniform(fold(key, SITES["w"]), (3, inputs, hidden), FLOAT)  # [3, inputs, hidden]
        uniform_2 = uniform(fold(key, SITES["u"]), (3, hidden, hidden), FLOAT)  # [3, hidden, hidden]  cells.lee:143
        uniform_3 = uniform(fold(key, SITES["b"]), (3, hidden), FLOAT)  # [3, hidden]  cells.lee:144
        uniform_4 = uniform(fold(key, SITES["c"]), (hidden,), FLOAT)  # [hidden]  cells.lee:145
        self.w = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [3, inputs, hidden]  cells.lee:142
        self.u = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [3, hidden, hidden]  cells.lee:143
        self.b = torch.nn.Parameter(div + (div_2 - div) * uniform_3)  # [3, hidden]  cells.lee:144
        self.c = torch.nn.Parameter(div + (div_2 - div) * uniform_4)  # [hidden]  cells.lee:145

    def forward_step(self, h, projection_t, u_0, b_0, projection_2_t, u_1, b_1, projection_3_t, b_2, u_2):
        """h [n, hidden], projection_t [n, hidden], u_0 [hidden, hidden], b_0 [hidden], projection_2_t [n, hidden], u_1
        [hidden, hidden], b_1 [hidden], projection_3_t [n, hidden], b_2 [hidden], u_2 [hidden, hidden] -> [n,
        hidden], [n, hidden]
        """
        reset = torch.sigmoid(projection_t + h @ u_0 + b_0)  # [n, hidden]  prelude.lee:36
        update = torch.sigmoid(projection_2_t + h @ u_1 + b_1)  # [n, hidden]
        candidate = torch.tanh(projection_3_t + b_2 + reset * torch.addmm(self.c, h, u_2))  # [n, hidden]  cells.lee:152
        h_3 = update * h + (1 - update) * candidate  # [n, hidden]  cells.lee:153
        return h_3, h_3

    def forward_step_saved(self, h, projection_t, u_0, b_0, projection_2_t, u_1, b_1, projection_3_t, b_2, u_2):
        """As forward_step, and what its gradient needs."""
        reset = torch.sigmoid(projection_t + h @ u_0 + b_0)  # [n, hidden]  prelude.lee:36
        update = torch.sigmoid(projection_2_t + h @ u_1 + b_1)  # [n, hidden]
        add_6 = torch.addmm(self.c, h, u_2)  # [n, hidden]  cells.lee:152
        candidate = torch.tanh(projection_3_t + b_2 + reset * add_6)  # [n, hidden]
        sub = 1 - update  # [n, hidden]  cells.lee:153
        h_3 = update * h + sub * candidate  # [n, hidden]
        return h_3, h_3, (reset, update, add_6, candidate, sub, h)

    @staticmethod
    def forward_step_backward(saved, u_0, u_1, u_2, d_h_3, d_out):
        """From d_h_3 and d_out to the gradients by h, projection_t, projection_2_t, projection_3_t, c, b_0, b_1, b_2 and add_6."""
        reset, update, add_6, candidate, sub, h = saved
        # gradient of h = update * h + (1 - update) * candidate   cells.lee:153
        d_h_3_2 = d_h_3 + d_out  # [n, hidden]
        d_candidate = d_h_3_2 * sub  # [n, hidden]
        # gradient of candidate = tanh(x[:, t] @ w[2] + b[2] + reset * (h @ u[2] + c))   cells.lee:152
        d_add_7 = d_candidate * (1 - candidate**2)  # [n, hidden]
        d_reset = d_add_7 * add_6  # [n, hidden]
        d_add_6 = d_add_7 * reset  # [n, hidden]
        d_c = d_add_6.sum(dim=0)  # [hidden]
        # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
        d_update = d_h_3_2 * h - d_h_3_2 * candidate  # [n, hidden]
        d_add_4 = d_update * (update * (1 - update))  # [n, hidden]
        d_add_2 = d_reset * (reset * (1 - reset))  # [n, hidden]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:150
        d_h = d_h_3_2 * update + d_add_6 @ u_2.T + d_add_4 @ u_1.T + d_add_2 @ u_0.T  # [n, hidden]
        return (
            d_h,
            d_add_2,
            d_add_4,
            d_add_7,
            d_c,
            h,
            d_add_2.sum(dim=0),
            d_add_4.sum(dim=0),
            d_add_7.sum(dim=0),
            d_add_6,
        )

    def forward(self, x):
        """x [n, time, inputs] -> [n, time, hidden]"""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:148
        projection = x @ self.w[0]  # [n, time, hidden]  cells.lee:150
        projection_2 = x @ self.w[1]  # [n, time, hidden]  cells.lee:151
        projection_3 = x @ self.w[2]  # [n, time, hidden]  cells.lee:152
        out = [None] * time  # cells.lee:149
        for t in range(time):
            h, out[t] = self.forward_step(
                h,
                projection[:, t],
                self.u[0],
                self.b[0],
                projection_2[:, t],
                self.u[1],
                self.b[1],
                projection_3[:, t],
                self.b[2],
                self.u[2],
            )
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out  # [n, time, hidden]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, time, _ = x.shape
        h = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]  cells.lee:148
        projection = x @ self.w[0]  # [n, time, hidden]  cells.lee:150
        projection_2 = x @ self.w[1]  # [n, time, hidden]  cells.lee:151
        projection_3 = x @ self.w[2]  # [n, time, hidden]  cells.lee:152
        out = [None] * time  # cells.lee:149
        saved_forward_step = [None] * time
        for t in range(time):
            h, out[t], saved_forward_step[t] = self.forward_step_saved(
                h,
                projection[:, t],
                self.u[0],
                self.b[0],
                projection_2[:, t],
                self.u[1],
                self.b[1],
                projection_3[:, t],
                self.b[2],
                self.u[2],
            )
        out = torch.stack(out, 1) if out else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        return out, saved_forward_step

    def forward_backward(self, x, saved_forward_step, d_out):
        """From d_out to the gradients by the parameters and x."""
        n, time, _ = x.shape
        # gradient of for t in time:   cells.lee:149
        d_h_3 = torch.zeros((n, self.hidden), dtype=FLOAT, device=x.device)  # [n, hidden]
        d_projection = [None] * time
        d_projection_2 = [None] * time
        d_projection_3 = [None] * time
        d_c_rows = [None] * time
        h_rows_2 = [None] * time
        d_b_0_rows = [None] * time
        d_b_1_rows = [None] * time
        d_b_2_rows = [None] * time
        d_add_6_rows = [None] * time
        for t in reversed(range(time)):
            (
                d_h_3,
                d_projection[t],
                d_projection_2[t],
                d_projection_3[t],
                d_c_rows[t],
                h_rows_2[t],
                d_b_0_rows[t],
                d_b_1_rows[t],
                d_b_2_rows[t],
                d_add_6_rows[t],
            ) = GRUResetAfter.forward_step_backward(
                saved_forward_step[t], self.u[0], self.u[1], self.u[2], d_h_3, d_out[:, t]
            )
        d_projection = (
            torch.stack(d_projection, 1)
            if d_projection
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_projection_2 = (
            torch.stack(d_projection_2, 1)
            if d_projection_2
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_projection_3 = (
            torch.stack(d_projection_3, 1)
            if d_projection_3
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_c_rows = (
            torch.stack(d_c_rows, 1) if d_c_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        h_rows_2 = (
            torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_b_0_rows = (
            torch.stack(d_b_0_rows, 1) if d_b_0_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_b_1_rows = (
            torch.stack(d_b_1_rows, 1) if d_b_1_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_b_2_rows = (
            torch.stack(d_b_2_rows, 1) if d_b_2_rows else torch.zeros((self.hidden, time), dtype=FLOAT, device=x.device)
        )
        d_add_6_rows = (
            torch.stack(d_add_6_rows, 1)
            if d_add_6_rows
            else torch.zeros((n, time, self.hidden), dtype=FLOAT, device=x.device)
        )
        d_c = d_c_rows.sum(dim=1)  # [hidden]
        reshape = h_rows_2.reshape(n * time, self.hidden)  # [n * time, hidden]
        reshape_2 = d_projection.reshape(n * time, self.hidden)  # [n * time, hidden]
        reshape_3 = d_projection_2.reshape(n * time, self.hidden)  # [n * time, hidden]
        # gradient of candidate = tanh(x[:, t] @ w[2] + b[2] + reset * (h @ u[2] + c))   cells.lee:152
        reshape_5 = x.reshape(n * time, self.inputs)  # [n * time, inputs]
        d_w_2 = reshape_5.T @ d_projection_3.reshape(n * time, self.hidden)  # [inputs, hidden]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:150
        d_w = torch.stack((reshape_5.T @ reshape_2, reshape_5.T @ reshape_3, d_w_2))  # [3, inputs, hidden]
        # gradient of for t in time:   cells.lee:149
        contract_3 = reshape.T @ d_add_6_rows.reshape(n * time, self.hidden)  # [hidden, hidden]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:150
        d_u = torch.stack((reshape.T @ reshape_2, reshape.T @ reshape_3, contract_3))  # [3, hidden, hidden]
        # gradient of for t in time:   cells.lee:149
        sum_ = d_b_0_rows.sum(dim=1)  # [hidden]
        # gradient of reset = sigmoid(x[:, t] @ w[0] + h @ u[0] + b[0])   cells.lee:150
        d_b = torch.stack((sum_, d_b_1_rows.sum(dim=1), d_b_2_rows.sum(dim=1)))  # [3, hidden]
        d_x_5 = d_projection_3 @ self.w[2].T + d_projection_2 @ self.w[1].T  # [n, time, inputs]
        d_x = d_x_5 + d_projection @ self.w[0].T  # [n, time, inputs]
        return {"w": d_w, "u": d_u, "b": d_b, "c": d_c}, d_x


def last_slope(net, x, target):
    """The gradient of the last position's error by Wᵢ, shared by all positions: their slopes add up.

    x [n, time, net.inputs], target [n, net.hidden] -> [net.inputs, net.hidden]
    """
    n, time, _ = x.shape
    h = torch.zeros((n, net.hidden), dtype=FLOAT, device=x.device)  # [n, net.hidden]  cells.lee:163
    projection = x @ net.wi  # [n, time, net.hidden]  cells.lee:165
    state = [None] * time  # cells.lee:164
    for t in range(time):
        h, state[t] = last_slope_step(net, h, projection[:, t])
    state = torch.stack(state, 1) if state else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    d_h = 2 * (h - target)  # [n, net.hidden]  cells.lee:167
    # [net.inputs, net.hidden]  cells.lee:168
    slope = torch.zeros((net.inputs, net.hidden), dtype=FLOAT, device=x.device)
    # cells.lee:169
    for t_ in reversed(range(time)):
        d_h, slope = last_slope_step_2(net, d_h, slope, state[:, t_], x[:, t_])
    return slope  # [net.inputs, net.hidden]


def last_slope_saved(net, x, target):
    """As last_slope, and what its gradient needs."""
    n, time, _ = x.shape
    h = torch.zeros((n, net.hidden), dtype=FLOAT, device=x.device)  # [n, net.hidden]  cells.lee:163
    projection = x @ net.wi  # [n, time, net.hidden]  cells.lee:165
    state = [None] * time  # cells.lee:164
    saved_last_slope_step = [None] * time
    for t in range(time):
        h, state[t], saved_last_slope_step[t] = last_slope_step_saved(net, h, projection[:, t])
    state = torch.stack(state, 1) if state else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    d_h = 2 * (h - target)  # [n, net.hidden]  cells.lee:167
    # [net.inputs, net.hidden]  cells.lee:168
    slope = torch.zeros((net.inputs, net.hidden), dtype=FLOAT, device=x.device)
    saved_last_slope_step_2 = [None] * time  # cells.lee:169
    for t_ in reversed(range(time)):
        d_h, slope, saved_last_slope_step_2[t_] = last_slope_step_2_saved(net, d_h, slope, state[:, t_], x[:, t_])
    return slope, (state, saved_last_slope_step, saved_last_slope_step_2)


def last_slope_backward(net, x, saved, d_slope_4):
    """From d_z_rows, d_h_rows and d_slope_4 to the gradients by net, x and target."""
    state, saved_last_slope_step, saved_last_slope_step_2 = saved
    n, time, _ = x.shape
    # gradient of for t in reversed(time):   cells.lee:169
    d_d_h_3 = torch.zeros((n, net.hidden), dtype=FLOAT, device=x.device)  # [n, net.hidden]
    d_state = [None] * time
    d_x_2 = [None] * time
    d_z_rows_2 = [None] * time
    d_d_h_3_rows = [None] * time
    for t in range(time):
        d_d_h_3, d_slope_4, d_state[t], d_x_2[t], d_z_rows_2[t], d_d_h_3_rows[t] = last_slope_step_2_backward(
            net, saved_last_slope_step_2[t], state[:, t], x[:, t], d_d_h_3, d_slope_4
        )
    d_state = torch.stack(d_state, 1) if d_state else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    d_x_2 = torch.stack(d_x_2, 1) if d_x_2 else torch.zeros((n, time, net.inputs), dtype=FLOAT, device=x.device)
    d_z_rows_2 = (
        torch.stack(d_z_rows_2, 1) if d_z_rows_2 else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    )
    d_d_h_3_rows = (
        torch.stack(d_d_h_3_rows, 1)
        if d_d_h_3_rows
        else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    )
    reshape = d_d_h_3_rows.reshape(n * time, net.hidden)  # [n * time, net.hidden]
    # gradient of d_h = 2 * (h - target)   cells.lee:167
    d_h_4 = d_d_h_3 * 2  # [n, net.hidden]
    d_target = -d_h_4  # [n, net.hidden]
    # gradient of for t in time:   cells.lee:164
    d_h_3 = d_h_4
    d_projection = [None] * time
    h_rows_2 = [None] * time
    d_net_b_rows = [None] * time
    for t_ in reversed(range(time)):
        d_h_3, d_projection[t_], h_rows_2[t_], d_net_b_rows[t_] = last_slope_step_backward(
            net, saved_last_slope_step[t_], state[:, t_], d_h_3, d_state[:, t_]
        )
    d_projection = (
        torch.stack(d_projection, 1)
        if d_projection
        else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    )
    h_rows_2 = (
        torch.stack(h_rows_2, 1) if h_rows_2 else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    )
    d_net_b_rows = (
        torch.stack(d_net_b_rows, 1) if d_net_b_rows else torch.zeros((net.hidden, time), dtype=FLOAT, device=x.device)
    )
    reshape_4 = d_projection.reshape(n * time, net.hidden)  # [n * time, net.hidden]
    d_net_b = d_net_b_rows.sum(dim=1)  # [net.hidden]
    # gradient of h = tanh(x[:, t] @ net.wi + h @ net.wh + net.b)   cells.lee:165
    d_net_wi = x.reshape(n * time, net.inputs).T @ reshape_4  # [net.inputs, net.hidden]
    # gradient of for t in reversed(time):   cells.lee:169
    contract = reshape.T @ d_z_rows_2.reshape(n * time, net.hidden)  # [net.hidden, net.hidden]
    # gradient of h = tanh(x[:, t] @ net.wi + h @ net.wh + net.b)   cells.lee:165
    d_net_wh = contract + h_rows_2.reshape(n * time, net.hidden).T @ reshape_4  # [net.hidden, net.hidden]
    d_x = d_x_2 + d_projection @ net.wi.T  # [n, time, net.inputs]
    return {"wi": d_net_wi, "wh": d_net_wh, "b": d_net_b}, d_x, d_target


def last_slope_step(net, h, projection_t):
    """h [n, net.hidden], projection_t [n, net.hidden] -> [n, net.hidden], [n, net.hidden]"""
    h_3 = torch.tanh(projection_t + h @ net.wh + net.b)  # [n, net.hidden]  cells.lee:165
    return h_3, h_3


def last_slope_step_saved(net, h, projection_t):
    """As last_slope_step, and what its gradient needs."""
    h_3 = torch.tanh(projection_t + h @ net.wh + net.b)  # [n, net.hidden]  cells.lee:165
    return h_3, h_3, h


def last_slope_step_backward(net, h, h_3, d_h_3, d_state):
    """From d_h_3 and d_state to the gradients by h, projection_t and net.b."""
    # gradient of h = tanh(x[:, t] @ net.wi + h @ net.wh + net.b)   cells.lee:165
    d_h_3_2 = d_h_3 + d_state  # [n, net.hidden]
    d_add_2 = d_h_3_2 * (1 - h_3**2)  # [n, net.hidden]
    d_net_b = d_add_2.sum(dim=0)  # [net.hidden]
    d_h = d_add_2 @ net.wh.T  # [n, net.hidden]
    return d_h, d_add_2, h, d_net_b


def last_slope_step_2(net, d_h, slope, state_t, x_t_2):
    """d_h [n, net.hidden], slope [net.inputs, net.hidden], state_t [n, net.hidden], x_t_2 [n, net.inputs] -> [n,
    net.hidden], [net.inputs, net.hidden]
    """
    d_z = d_h * (1 - state_t**2)  # [n, net.hidden]  cells.lee:170
    slope_3 = slope + x_t_2.T @ d_z  # [net.inputs, net.hidden]  cells.lee:171
    d_h_3 = d_z @ net.wh.T  # [n, net.hidden]  cells.lee:172
    return d_h_3, slope_3


def last_slope_step_2_saved(net, d_h, slope, state_t, x_t_2):
    """As last_slope_step_2, and what its gradient needs."""
    sub = 1 - state_t**2  # [n, net.hidden]  cells.lee:170
    d_z = d_h * sub  # [n, net.hidden]
    slope_3 = slope + x_t_2.T @ d_z  # [net.inputs, net.hidden]  cells.lee:171
    d_h_3 = d_z @ net.wh.T  # [n, net.hidden]  cells.lee:172
    return d_h_3, slope_3, (sub, d_z, d_h)


def last_slope_step_2_backward(net, saved, state_t, x_t_2, d_d_h_3, d_slope_3):
    """From d_h, d_z, d_d_h_3 and d_slope_3 to the gradients by d_h, slope, state_t, x_t_2, z and d_h_3."""
    sub, d_z, d_h = saved
    # gradient of d_z = d_h * (1 - state[:, t] ** 2)   cells.lee:170
    d_d_z = d_d_h_3 @ net.wh + x_t_2 @ d_slope_3  # [n, net.hidden]
    d_d_h = d_d_z * sub  # [n, net.hidden]
    return d_d_h, d_slope_3, -2 * (state_t * (d_d_z * d_h)), d_z @ d_slope_3.T, d_z, d_d_h_3


def truncated_saved(net, x, target, every):
    """As truncated, and what its gradient needs."""
    n, time, _ = x.shape
    h = torch.zeros((n, net.hidden), dtype=FLOAT, device=x.device)  # [n, net.hidden]  cells.lee:178
    total = torch.zeros((), dtype=FLOAT, device=x.device)  # cells.lee:180
    projection = x @ net.wi  # [n, time, net.hidden]  cells.lee:182
    saved_truncated_step = [None] * time  # cells.lee:180
    for t in range(time):
        h, total, saved_truncated_step[t] = truncated_step_saved(
            net, h, total, target[:, t], every, t, projection[:, t]
        )
    return total / time, saved_truncated_step  # cells.lee:184


def truncated_backward(net, x, saved_truncated_step, every, d_div):
    """From d_div to the gradients by net, x and target."""
    n, time, _ = x.shape
    # gradient of return total / time   cells.lee:184
    d_total_3 = d_div / time
    # gradient of for t in time:   cells.lee:180
    d_h_4 = torch.zeros((n, net.hidden), dtype=FLOAT, device=x.device)  # [n, net.hidden]
    d_target = [None] * time
    d_projection = [None] * time
    h_3_rows_2 = [None] * time
    d_net_b_rows = [None] * time
    for t in reversed(range(time)):
        d_h_4, d_total_3, d_target[t], d_projection[t], h_3_rows_2[t], d_net_b_rows[t] = truncated_step_backward(
            net, saved_truncated_step[t], every, t, d_h_4, d_total_3
        )
    d_target = (
        torch.stack(d_target, 1) if d_target else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    )
    d_projection = (
        torch.stack(d_projection, 1)
        if d_projection
        else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    )
    h_3_rows_2 = (
        torch.stack(h_3_rows_2, 1) if h_3_rows_2 else torch.zeros((n, time, net.hidden), dtype=FLOAT, device=x.device)
    )
    d_net_b_rows = (
        torch.stack(d_net_b_rows, 1) if d_net_b_rows else torch.zeros((net.hidden, time), dtype=FLOAT, device=x.device)
    )
    reshape_2 = d_projection.reshape(n * time, net.hidden)  # [n * time, net.hidden]
    d_net_wh = h_3_rows_2.reshape(n * time, net.hidden).T @ reshape_2  # [net.hidden, net.hidden]
    d_net_b = d_net_b_rows.sum(dim=1)  # [net.hidden]
    # gradient of h = tanh(x[:, t] @ net.wi + h @ net.wh + net.b)   cells.lee:182
    d_x = d_projection @ net.wi.T  # [n, time, net.inputs]
    d_net_wi = x.reshape(n * time, net.inputs).T @ reshape_2  # [net.inputs, net.hidden]
    return {"wi": d_net_wi, "wh": d_net_wh, "b": d_net_b}, d_x, d_target


def truncated_step_saved(net, h, total, target_t, every, t, projection_t):
    """As truncated_step, and what its gradient needs."""
    eq = t - every * (t // every) == 0  # cells.lee:181
    h_3 = torch.where(torch.full((), eq, device=h.device), stop(h), h)  # [n, net.hidden]
    h_4 = torch.tanh(projection_t + h_3 @ net.wh + net.b)  # [n, net.hidden]  cells.lee:182
    sub = h_4 - target_t  # [n, net.hidden]  cells.lee:183
    total_2 = total + (sub**2).mean()
    return h_4, total_2, (h_3, sub, h_4)


def truncated_step_backward(net, saved, every, t, d_h_4, d_total_2):
    """From d_h_4 and d_total_2 to the gradients by h, total, target_t, projection_t and net.b."""
    h_3, sub, h_4 = saved
    n = h_3.shape[0]
    # gradient of total = total + mean((h - target[:, t]) ** 2)   cells.lee:183
    d_sub = 2 * (d_total_2 / (n * net.hidden)) * sub  # [n, net.hidden]
    # gradient of h = tanh(x[:, t] @ net.wi + h @ net.wh + net.b)   cells.lee:182
    d_h_4_2 = d_h_4 + d_sub  # [n, net.hidden]
    d_add_2 = d_h_4_2 * (1 - h_4**2)  # [n, net.hidden]
    d_net_b = d_add_2.sum(dim=0)  # [net.hidden]
    d_h_3 = d_add_2 @ net.wh.T  # [n, net.hidden]
    # gradient of h = where(t % every == 0, stop(h), h)   cells.lee:181
    eq = t - every * (t // every) == 0
    d_h = torch.where(torch.full((), eq, device=h_3.device), 0, d_h_3)  # [n, net.hidden]
    return d_h, d_total_2, -d_sub, d_add_2, h_3, d_net_b


def example_elman(key):
    net = Elman(3, 4, key=fold(key, SITES["net"]))  # cells.lee:191
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:192
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  cells.lee:193
    d_c, saved_net = net.forward_saved(x)  # cells.lee:194
    d_net, d_x = net.forward_backward(x, d_c, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_jordan(key):
    net = Jordan(3, 4, 2, key=fold(key, SITES["net"]))  # cells.lee:198
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:199
    c = normal(fold(key, SITES["c"]), (2, 5, 2), FLOAT)  # [2, 5, 2]  cells.lee:200
    d_c, saved_net = net.forward_saved(x)  # cells.lee:201
    d_net, d_x = net.forward_backward(x, d_c, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_lstm(key):
    net = LSTM(3, 4, key=fold(key, SITES["net"]))  # cells.lee:205
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:206
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  cells.lee:207
    d_c, saved_net = net.forward_saved(x)  # cells.lee:208
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_remembering(key):
    net = RememberingLSTM(3, 4, closed=-1.0, key=fold(key, SITES["net"]))  # cells.lee:212
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:213
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  cells.lee:214
    d_c, saved_net = net.forward_saved(x)  # cells.lee:215
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_peephole(key):
    net = PeepholeLSTM(3, 4, key=fold(key, SITES["net"]))  # cells.lee:219
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:220
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  cells.lee:221
    d_c, saved_net = net.forward_saved(x)  # cells.lee:222
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_coupled(key):
    net = CoupledLSTM(3, 4, key=fold(key, SITES["net"]))  # cells.lee:226
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:227
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  cells.lee:228
    d_c, saved_net = net.forward_saved(x)  # cells.lee:229
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_gru(key):
    net = GRU(3, 4, key=fold(key, SITES["net"]))  # cells.lee:233
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:234
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  cells.lee:235
    d_c, saved_net = net.forward_saved(x)  # cells.lee:236
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_gru_reset_after(key):
    net = GRUResetAfter(3, 4, key=fold(key, SITES["net"]))  # cells.lee:240
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:241
    c = normal(fold(key, SITES["c"]), (2, 5, 4), FLOAT)  # [2, 5, 4]  cells.lee:242
    d_c, saved_net = net.forward_saved(x)  # cells.lee:243
    d_net, d_x = net.forward_backward(x, saved_net, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_c


def example_by_hand(key):
    net = Elman(3, 4, key=fold(key, SITES["net"]))  # cells.lee:247
    x = normal(fold(key, SITES["x"]), (2, 5, 3), FLOAT)  # [2, 5, 3]  cells.lee:248
    target = normal(fold(key, SITES["target"]), (2, 4), FLOAT)  # [2, 4]  cells.lee:249
    c = normal(fold(key, SITES["c"]), (3, 4), FLOAT)  # [3, 4]  cells.lee:250
    d_c, saved_last_slope = last_slope_saved(net, x, target)  # cells.lee:251
    d_net, d_x, d_target = last_slope_backward(net, x, saved_last_slope, c)
    return (c * d_c).sum(), net.at(d_net), d_x, d_target, d_c


def example_in_stretches(key):
    net = Elman(3, 4, key=fold(key, SITES["net"]))  # cells.lee:255
    x = normal(fold(key, SITES["x"]), (2, 7, 3), FLOAT)  # [2, 7, 3]  cells.lee:256
    target = normal(fold(key, SITES["target"]), (2, 7, 4), FLOAT)  # [2, 7, 4]  cells.lee:257
    value, saved_truncated = truncated_saved(net, x, target, 3)  # cells.lee:258
    d_net, d_x, d_target = truncated_backward(net, x, saved_truncated, 3, torch.ones((), dtype=FLOAT))
    return value, net.at(d_net), d_x, d_target


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


def stop(x):
    """x, through which no gradient flows.

    x [x_0, x_1] -> [x_0, x_1]
    """
    return x.detach()  # [x_0, x_1]  prelude.lee:18


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "net": 0xF087C76970C91612,
    "peep": 0x48CF89813274BA3B,
    "target": 0x41DEDA04111F843F,
    "u": 0x08D267E10C593806,
    "w": 0x20925082A2286B9E,
    "wh": 0x98D9F5EB4FBD575D,
    "wi": 0x61EC5D31D93AEF83,
    "wo": 0x2155FF327B0CDD3B,
    "wx": 0x20F3723A9511181A,
    "wy": 0x0572EE747A0AB2C5,
    "x": 0x4F586EF96743DF4A,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


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
