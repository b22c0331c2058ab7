"""U-Net of any depth (Ronneberger et al. 2015): down to coarse images and up again, past the fine ones on each level.

A model holds the next level, which is the same with twice the channels, or nothing at the bottom; on the way down a def
keeps what it met in a tuple that grows.

Made from specs/convolution/unet.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/convolution/unet.lee
"""

from __future__ import annotations

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


class UNet(Model):
    """What comes out has `width` channels and the size of what goes in, which is even at every level but the last."""

    members = ("first", "second")

    def __init__(self, inputs, width, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.width = inputs, width
        self.first = Conv(inputs, width, padding=1, key=fold(key, SITES["first"]))  # unet.lee:15
        self.second = Conv(width, width, padding=1, key=fold(key, SITES["second"]))  # unet.lee:16

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, width, h, w]"""
        x_2 = relu(self.second(relu(self.first(x))))  # [n, width, h, w]  unet.lee:23
        return x_2  # [n, width, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        select = relu(self.first(x))  # [n, width, h, w]  unet.lee:23
        x_2 = relu(self.second(select))  # [n, width, h, w]
        return x_2, select

    def forward_backward(self, x, select, x_2, d_x_2):
        """From d_x_2 to the gradients by the parameters and x."""
        # gradient of x = relu(second(relu(first(x))))   unet.lee:23
        d_second, d_select = self.second.forward_backward(select, relu_backward(x_2, d_x_2))
        d_first, d_x = self.first.forward_backward(x, relu_backward(select, d_select))
        return {"first": d_first, "second": d_second}, d_x


class UNet_3(Model):
    """What comes out has `width` channels and the size of what goes in, which is even at every level but the last."""

    members = ("first", "second", "below", "up", "merged")

    def __init__(self, inputs, width, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.width = inputs, width
        self.first = Conv(inputs, width, padding=1, key=fold(key, SITES["first"]))  # unet.lee:15
        self.second = Conv(width, width, padding=1, key=fold(key, SITES["second"]))  # unet.lee:16
        self.below = UNet(width, 2 * width, key=fold(key, SITES["below"]))  # unet.lee:18
        self.up = ConvTranspose(2 * width, width, k=2, stride=2, key=fold(key, SITES["up"]))  # unet.lee:19
        self.merged = Conv(2 * width, width, padding=1, key=fold(key, SITES["merged"]))  # unet.lee:20

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, width, h, w]"""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        x_2 = relu(self.second(relu(self.first(x))))  # [n, width, h, w]  unet.lee:23
        up_out = self.up(self.below(avg_pool(x_2)))  # [n, width, 2 * (h // 2), 2 * (w // 2)]  unet.lee:26
        merged_out = self.merged(torch.cat((x_2, up_out.reshape(n, self.width, h, w)), dim=1))  # [n, width, h, w]
        x_3 = relu(merged_out)  # [n, width, h, w]
        return x_3  # [n, width, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        select = relu(self.first(x))  # [n, width, h, w]  unet.lee:23
        x_2 = relu(self.second(select))  # [n, width, h, w]
        y = avg_pool(x_2)  # [n, width, h // 2, w // 2]  unet.lee:26
        x_2_2, saved_below = self.below.forward_saved(y)
        concat = torch.cat((x_2, self.up(x_2_2).reshape(n, self.width, h, w)), dim=1)  # [n, 2 * width, h, w]
        x_3 = relu(self.merged(concat))  # [n, width, h, w]
        return x_3, (select, x_2, y, x_2_2, saved_below, concat)

    def forward_backward(self, x, saved, x_3, d_x_3):
        """From d_x_3 to the gradients by the parameters and x."""
        select, x_2, y, x_2_2, saved_below, concat = saved
        n, _, h, w = x.shape
        # gradient of x = relu(merged(concat(x, up(below(avg_pool(x))), axis = 1)))   unet.lee:26
        d_merged, d_concat = self.merged.forward_backward(concat, relu_backward(x_3, d_x_3))
        d_reshape = d_concat[:, self.width :]  # [n, width, h, w]
        # [n, width, 2 * (h // 2), 2 * (w // 2)]
        d_up_out = d_reshape.reshape(n, self.width, 2 * (h // 2), 2 * (w // 2))
        d_up, d_x_2_2 = self.up.forward_backward(x_2_2, d_up_out)
        d_below, d_y = self.below.forward_backward(y, saved_below, x_2_2, d_x_2_2)
        # gradient of x = relu(second(relu(first(x))))   unet.lee:23
        d_x_2 = d_concat[:, : self.width] + avg_pool_backward(h, 2, w, d_y)  # [n, width, h, w]
        d_second, d_select = self.second.forward_backward(select, relu_backward(x_2, d_x_2))
        d_first, d_x = self.first.forward_backward(x, relu_backward(select, d_select))
        return {"first": d_first, "second": d_second, "below": d_below, "up": d_up, "merged": d_merged}, d_x


class UNet_2(Model):
    """What comes out has `width` channels and the size of what goes in, which is even at every level but the last."""

    members = ("first", "second", "below", "up", "merged")

    def __init__(self, inputs, width, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.width = inputs, width
        self.first = Conv(inputs, width, padding=1, key=fold(key, SITES["first"]))  # unet.lee:15
        self.second = Conv(width, width, padding=1, key=fold(key, SITES["second"]))  # unet.lee:16
        self.below = UNet_3(width, 2 * width, key=fold(key, SITES["below"]))  # unet.lee:18
        self.up = ConvTranspose(2 * width, width, k=2, stride=2, key=fold(key, SITES["up"]))  # unet.lee:19
        self.merged = Conv(2 * width, width, padding=1, key=fold(key, SITES["merged"]))  # unet.lee:20

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, width, h, w]"""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        x_2 = relu(self.second(relu(self.first(x))))  # [n, width, h, w]  unet.lee:23
        up_out = self.up(self.below(avg_pool(x_2)))  # [n, width, 2 * (h // 2), 2 * (w // 2)]  unet.lee:26
        merged_out = self.merged(torch.cat((x_2, up_out.reshape(n, self.width, h, w)), dim=1))  # [n, width, h, w]
        x_4 = relu(merged_out)  # [n, width, h, w]
        return x_4  # [n, width, h, w]

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        n, _, h, w = x.shape
        if h % 2 != 0:
            raise ValueError(f"unet.lee:25: h % 2 == 0 must hold: h = {h}")
        if w % 2 != 0:
            raise ValueError(f"unet.lee:25: w % 2 == 0 must hold: w = {w}")
        select = relu(self.first(x))  # [n, width, h, w]  unet.lee:23
        x_2 = relu(self.second(select))  # [n, width, h, w]
        y = avg_pool(x_2)  # [n, width, h // 2, w // 2]  unet.lee:26
        x_3, saved_below = self.below.forward_saved(y)
        concat = torch.cat((x_2, self.up(x_3).reshape(n, self.width, h, w)), dim=1)  # [n, 2 * width, h, w]
        x_4 = relu(self.merged(concat))  # [n, width, h, w]
        return x_4, (select, x_2, y, x_3, saved_below, concat)

    def forward_backward(self, x, saved, x_4, d_x_4):
        """From d_x_4 to the gradients by the parameters and x."""
        select, x_2, y, x_3, saved_below, concat = saved
        n, _, h, w = x.shape
        # gradient of x = relu(merged(concat(x, up(below(avg_pool(x))), axis = 1)))   unet.lee:26
        d_merged, d_concat = self.merged.forward_backward(concat, relu_backward(x_4, d_x_4))
        d_reshape = d_concat[:, self.width :]  # [n, width, h, w]
        # [n, width, 2 * (h // 2), 2 * (w // 2)]
        d_up_out = d_reshape.reshape(n, self.width, 2 * (h // 2), 2 * (w // 2))
        d_up, d_x_3 = self.up.forward_backward(x_3, d_up_out)
        d_below, d_y = self.below.forward_backward(y, saved_below, x_3, d_x_3)
        # gradient of x = relu(second(relu(first(x))))   unet.lee:23
        d_x_2 = d_concat[:, : self.width] + avg_pool_backward(h, 2, w, d_y)  # [n, width, h, w]
        d_second, d_select = self.second.forward_backward(select, relu_backward(x_2, d_x_2))
        d_first, d_x = self.first.forward_backward(x, relu_backward(select, d_select))
        return {"first": d_first, "second": d_second, "below": d_below, "up": d_up, "merged": d_merged}, d_x


class Denoiser(Model):
    """What is left of an image when the noise that the net sees is taken away."""

    members = ("net", "write")

    def __init__(self, width, *, key=(0, 0)):
        super().__init__()
        self.width = width
        self.net = UNet(1, width, key=fold(key, SITES["net"]))  # unet.lee:32
        self.write = Conv(width, 1, k=1, key=fold(key, SITES["write"]))  # unet.lee:33

    def forward(self, x):
        """x [n, 1, h, w] -> [n, 1, h, w]"""
        return x - self.write(self.net(x))  # [n, 1, h, w]  unet.lee:36

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_2, saved_net = self.net.forward_saved(x)  # unet.lee:36
        return x - self.write(x_2), (x_2, saved_net)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_2, saved_net = saved
        # gradient of return x - write(net(x))   unet.lee:36
        d_write, d_x_2 = self.write.forward_backward(x_2, -d_y)
        d_net, d_x_3 = self.net.forward_backward(x, saved_net, x_2, d_x_2)
        d_x = d_y + d_x_3  # [n, 1, h, w]
        return {"net": d_net, "write": d_write}, d_x


class Denoiser_2(Model):
    """What is left of an image when the noise that the net sees is taken away."""

    members = ("net", "write")

    def __init__(self, width, *, key=(0, 0)):
        super().__init__()
        self.width = width
        self.net = UNet_2(1, width, key=fold(key, SITES["net"]))  # unet.lee:32
        self.write = Conv(width, 1, k=1, key=fold(key, SITES["write"]))  # unet.lee:33

    def forward(self, x):
        """x [n, 1, h, w] -> [n, 1, h, w]"""
        return x - self.write(self.net(x))  # [n, 1, h, w]  unet.lee:36

    def forward_saved(self, x):
        """As forward, and what its gradient needs."""
        x_4, saved_net = self.net.forward_saved(x)  # unet.lee:36
        return x - self.write(x_4), (x_4, saved_net)

    def forward_backward(self, x, saved, d_y):
        """From d_y to the gradients by the parameters and x."""
        x_4, saved_net = saved
        # gradient of return x - write(net(x))   unet.lee:36
        d_write, d_x_4 = self.write.forward_backward(x_4, -d_y)
        d_net, d_x_2 = self.net.forward_backward(x, saved_net, x_4, d_x_4)
        d_x = d_y + d_x_2  # [n, 1, h, w]
        return {"net": d_net, "write": d_write}, d_x


def pyramid(x):
    """The image and its coarser forms.

    x [n, c, h, w] -> [n, c, h, w]
    """
    return x  # [n, c, h, w]


def pyramid_backward(d_x):
    """From d_x to the gradient by x."""
    return d_x  # [n, c, h, w]


def pyramid_2(x):
    """The image and its coarser forms.

    x [n, c, h, w] -> [n, c, h, w], [n, c, h // 2, w // 2], [n, c, h // 4, w // 4]
    """
    x_2 = avg_pool(x)  # [n, c, h // 2, w // 2]  unet.lee:43
    x_3 = avg_pool(x_2)  # [n, c, h // 4, w // 4]
    return x, x_2, x_3


def pyramid_2_backward(d_x, d_x_2, d_x_3):
    """From d_x, d_x_2 and d_x_3 to the gradient by x."""
    _, _, h, w = d_x.shape
    # gradient of x = avg_pool(x)   unet.lee:43
    d_x_2_2 = d_x_2 + avg_pool_backward(h // 2, 2, w // 2, d_x_3)  # [n, c, h // 2, w // 2]
    d_x_4 = d_x + avg_pool_backward(h, 2, w, d_x_2_2)  # [n, c, h, w]
    return d_x_4  # [n, c, h, w]


def at_all_scales_saved(x, target):
    """As at_all_scales, and what its gradient needs."""
    b = pyramid(target)  # [n, c, h, w]  unet.lee:51
    sub = pyramid(x) - b  # [n, c, h, w]  unet.lee:52
    total = (sub**2).mean()
    return total, sub


def at_all_scales_backward(sub, d_total):
    """From d_total to the gradients by x and target."""
    n, c, h, w = sub.shape
    # gradient of total = total + mean((a - b) ** 2)   unet.lee:52
    d_sub = 2 * (d_total / (c * h * n * w)) * sub  # [n, c, h, w]
    d_b = -d_sub  # [n, c, h, w]
    # gradient of for a, b in zip(pyramid(x, levels), pyramid(target, levels)):   unet.lee:51
    d_target = pyramid_backward(d_b)  # [n, c, h, w]
    d_x = pyramid_backward(d_sub)  # [n, c, h, w]
    return d_x, d_target


def at_all_scales_2_saved(x, target):
    """As at_all_scales_2, and what its gradient needs."""
    x_2, x_2_2, x_3 = pyramid_2(x)  # unet.lee:51
    b, x_2_3, x_3_2 = pyramid_2(target)
    sub = x_2 - b  # [n, c, h, w]  unet.lee:52
    total = (sub**2).mean()
    sub_2 = x_2_2 - x_2_3  # [n, c, h // 2, w // 2]
    total_2 = total + (sub_2**2).mean()
    sub_3 = x_3 - x_3_2  # [n, c, h // 4, w // 4]
    total_3 = total_2 + (sub_3**2).mean()
    return total_3, (sub, sub_2, sub_3)


def at_all_scales_2_backward(saved, d_total_3):
    """From d_total_3 to the gradients by x and target."""
    sub, sub_2, sub_3 = saved
    n, c, h, w = sub.shape
    # gradient of total = total + mean((a - b) ** 2)   unet.lee:52
    d_sub_3 = 2 * (d_total_3 / (c * (h // 4) * n * (w // 4))) * sub_3  # [n, c, h // 4, w // 4]
    d_sub_2 = 2 * (d_total_3 / (c * (h // 2) * n * (w // 2))) * sub_2  # [n, c, h // 2, w // 2]
    d_sub = 2 * (d_total_3 / (c * h * n * w)) * sub  # [n, c, h, w]
    d_b = -d_sub  # [n, c, h, w]
    # gradient of for a, b in zip(pyramid(x, levels), pyramid(target, levels)):   unet.lee:51
    d_target = pyramid_2_backward(d_b, -d_sub_2, -d_sub_3)  # [n, c, h, w]
    d_x = pyramid_2_backward(d_sub, d_sub_2, d_sub_3)  # [n, c, h, w]
    return d_x, d_target


@torch.no_grad()
def denoise(epochs=12, batch=32, width=8, noise=0.3, rate=3e-3, *, run=None):
    """Digits without the noise on them; `left` is the share of the squared error that is still there.

    Made for levels = 3: with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("denoise", backend="torch")
    data = run.data(
        "digits",
        domain="plain",
        shape=(1, 8, 8),
        standardize=False,
        test=0.2,
        fields={"x": ("float", ("n", 1, 8, 8)), "y": ("int", ("n",))},
    )
    net = Denoiser_2(width=width, key=run.key("net")).to(run.session.place.device)  # unet.lee:59
    opt = Adam(lr=rate)  # unet.lee:60
    step = DenoiseStep(net, opt)
    for epoch in run.loop("epoch", 1, epochs, net=net, opt=opt):
        for x, __ in run.batches("batches", data.train, batch, shuffle=True):
            run.step(step(x, noise, run.key("denoise")))  # unet.lee:63
    x, e = denoise_x_e(data.test.x, noise, key=run.key("denoise"))  # unet.lee:65
    run.report(left=denoise_left(net, x, e))  # unet.lee:67
    return net


class DenoiseStep(TrainStep):
    """One step of denoise for net, opt: call it with a batch."""

    moved = (("opt", ("net",)),)
    counted = ("opt",)
    read = (
        "net.net.first.kernel",
        "net.net.first.bias",
        "net.net.second.kernel",
        "net.net.second.bias",
        "net.net.below.first.kernel",
        "net.net.below.first.bias",
        "net.net.below.second.kernel",
        "net.net.below.second.bias",
        "net.net.below.below.first.kernel",
        "net.net.below.below.first.bias",
        "net.net.below.below.second.kernel",
        "net.net.below.below.second.bias",
        "net.net.below.up.kernel",
        "net.net.below.up.bias",
        "net.net.below.merged.kernel",
        "net.net.below.merged.bias",
        "net.net.up.kernel",
        "net.net.up.bias",
        "net.net.merged.kernel",
        "net.net.merged.bias",
        "net.write.kernel",
        "net.write.bias",
    )
    spare = (None,)

    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.bind()

    def numbers(self, batches_n):
        return (
            64 * batches_n,
            16 * batches_n,
            4 * batches_n,
            2 / (4 * batches_n),
            2 / (16 * batches_n),
            2 / (64 * batches_n),
        )

    def constants(self):
        return (self.opt.lr, self.opt.beta1, self.opt.beta2, self.opt.eps, self.opt.weight_decay)

    def scalars(self):
        return (self.opt.t,)

    def step(self, x, noise, key, t):
        net_first_kernel, net_first_bias, net_second_kernel, net_second_bias = self.tensors[:4]
        net_below_first_kernel, net_below_first_bias, net_below_second_kernel = self.tensors[4:7]
        net_below_second_bias, net_below_below_first_kernel, net_below_below_first_bias = self.tensors[7:10]
        net_below_below_second_kernel, net_below_below_second_bias, net_below_up_kernel = self.tensors[10:13]
        net_below_up_bias, net_below_merged_kernel, net_below_merged_bias, net_up_kernel = self.tensors[13:17]
        net_up_bias, net_merged_kernel, net_merged_bias, write_kernel, write_bias = self.tensors[17:]
        d_net_first_kernel, d_net_first_bias, d_net_second_kernel, d_net_second_bias = self.gradients[:4]
        d_net_below_first_kernel, d_net_below_first_bias, d_net_below_second_kernel = self.gradients[4:7]
        d_net_below_second_bias, d_net_below_below_first_kernel = self.gradients[7:9]
        d_net_below_below_first_bias, d_net_below_below_second_kernel = self.gradients[9:11]
        d_net_below_below_second_bias, d_net_below_up_kernel, d_net_below_up_bias = self.gradients[11:14]
        d_net_below_merged_kernel, d_net_below_merged_bias, d_net_up_kernel, d_net_up_bias = self.gradients[14:18]
        d_net_merged_kernel, d_net_merged_bias, d_write_kernel, d_write_bias = self.gradients[18:]
        batches_n = x.shape[0]
        width = self.net.net.first.kernel.shape[0]
        scale, scale_, scale_2, scale_3, scale_4, scale_5 = self.held(batches_n)
        key_2 = fold(key, SITES["e"])  # unet.lee:63
        e = noise * normal(key_2, (batches_n, 1, 8, 8), FLOAT, x.device)  # [batches_n, 1, 8, 8]
        add = x + e  # [batches_n, 1, 8, 8]  unet.lee:64
        # [batches_n, width, 8, 8]  nn.lee:112
        first_out = torch.nn.functional.conv2d(add, net_first_kernel, net_first_bias, padding=1)
        select = torch.relu(first_out)  # [batches_n, width, 8, 8]  prelude.lee:61
        # [batches_n, width, 8, 8]  nn.lee:112
        second_out = torch.nn.functional.conv2d(select, net_second_kernel, net_second_bias, padding=1)
        x_2 = torch.relu(second_out)  # [batches_n, width, 8, 8]  prelude.lee:61
        y = torch.nn.functional.avg_pool2d(x_2, 2)  # [batches_n, width, 4, 4]  nn.lee:136
        # [batches_n, 2 * width, 4, 4]  nn.lee:112
        first_out_2 = torch.nn.functional.conv2d(y, net_below_first_kernel, net_below_first_bias, padding=1)
        select_2 = torch.relu(first_out_2)  # [batches_n, 2 * width, 4, 4]  prelude.lee:61
        # [batches_n, 2 * width, 4, 4]  nn.lee:112
        second_out_2 = torch.nn.functional.conv2d(select_2, net_below_second_kernel, net_below_second_bias, padding=1)
        x_2_2 = torch.relu(second_out_2)  # [batches_n, 2 * width, 4, 4]  prelude.lee:61
        y_2 = torch.nn.functional.avg_pool2d(x_2_2, 2)  # [batches_n, 2 * width, 2, 2]  nn.lee:136
        # [batches_n, 4 * width, 2, 2]  nn.lee:112
        first_out_2_2 = torch.nn.functional.conv2d(
            y_2, net_below_below_first_kernel, net_below_below_first_bias, padding=1
        )
        select_2_2 = torch.relu(first_out_2_2)  # [batches_n, 4 * width, 2, 2]  prelude.lee:61
        # [batches_n, 4 * width, 2, 2]  nn.lee:112
        second_out_2_2 = torch.nn.functional.conv2d(
            select_2_2, net_below_below_second_kernel, net_below_below_second_bias, padding=1
        )
        x_2_2_2 = torch.relu(second_out_2_2)  # [batches_n, 4 * width, 2, 2]  prelude.lee:61
        # [batches_n, 2 * width, 4, 4]  nn.lee:90
        y_2_4_2 = torch.nn.functional.conv_transpose2d(x_2_2_2, net_below_up_kernel, stride=2)
        # [batches_n, 4 * width, 4, 4]  unet.lee:26
        concat = torch.cat((x_2_2, y_2_4_2 + net_below_up_bias[:, None, None]), dim=1)
        # [batches_n, 2 * width, 4, 4]  nn.lee:112
        merged_out_2 = torch.nn.functional.conv2d(concat, net_below_merged_kernel, net_below_merged_bias, padding=1)
        x_3 = torch.relu(merged_out_2)  # [batches_n, 2 * width, 4, 4]  prelude.lee:61
        # [batches_n, width, 8, 8]  nn.lee:90
        y_2_6 = torch.nn.functional.conv_transpose2d(x_3, net_up_kernel, stride=2)
        # [batches_n, 2 * width, 8, 8]  unet.lee:26
        concat_2 = torch.cat((x_2, y_2_6 + net_up_bias[:, None, None]), dim=1)
        # [batches_n, width, 8, 8]  nn.lee:112
        merged_out = torch.nn.functional.conv2d(concat_2, net_merged_kernel, net_merged_bias, padding=1)
        x_4 = torch.relu(merged_out)  # [batches_n, width, 8, 8]  prelude.lee:61
        sub = add - (torch.nn.functional.conv2d(x_4, write_kernel) + write_bias)  # [batches_n, 1, 8, 8]  unet.lee:36
        x_2_2_3 = torch.nn.functional.avg_pool2d(sub, 2)  # [batches_n, 1, 4, 4]  nn.lee:136
        x_2_3 = torch.nn.functional.avg_pool2d(x, 2)  # [batches_n, 1, 4, 4]
        sub_2 = sub - x  # [batches_n, 1, 8, 8]  unet.lee:52
        sub_2_2 = x_2_2_3 - x_2_3  # [batches_n, 1, 4, 4]
        div = (sub_2_2 * sub_2_2).sum() / scale_
        x_3_2 = torch.nn.functional.avg_pool2d(x_2_2_3, 2)  # [batches_n, 1, 2, 2]  nn.lee:136
        sub_3 = x_3_2 - torch.nn.functional.avg_pool2d(x_2_3, 2)  # [batches_n, 1, 2, 2]  unet.lee:52
        total_2 = (sub_2 * sub_2).sum() / scale + div
        d_sub_3 = scale_3 * sub_3  # [batches_n, 1, 2, 2]
        d_x_2_3 = avg_pool_gradient(d_sub_3, (2, 2), (2, 2), (0, 0), (4, 4))  # [batches_n, 1, 4, 4]  nn.lee:136
        d_x_2_2 = scale_4 * sub_2_2 + d_x_2_3  # [batches_n, 1, 4, 4]  unet.lee:43
        d_x_5 = avg_pool_gradient(d_x_2_2, (2, 2), (2, 2), (0, 0), (8, 8))  # [batches_n, 1, 8, 8]  nn.lee:136
        d_write_out = -(scale_5 * sub_2 + d_x_5)  # [batches_n, 1, 8, 8]  unet.lee:36
        torch.sum(d_write_out, dim=(0, 2, 3), out=d_write_bias)  # [1]  nn.lee:112
        d_x_4 = torch.nn.functional.conv_transpose2d(d_write_out, write_kernel)  # [batches_n, width, 8, 8]  nn.lee:83
        d_write_kernel.copy_(torch.nn.grad.conv2d_weight(x_4, (1, width, 1, 1), d_write_out))  # [1, width, 1, 1]
        d_merged_out = torch.ops.aten.threshold_backward(d_x_4, x_4, 0)  # [batches_n, width, 8, 8]  prelude.lee:61
        torch.sum(d_merged_out, dim=(0, 2, 3), out=d_net_merged_bias)  # [width]  nn.lee:112
        # [batches_n, 2 * width, 8, 8]  nn.lee:83
        d_concat = torch.nn.functional.conv_transpose2d(d_merged_out, net_merged_kernel, padding=1)
        # [width, 2 * width, 3, 3]
        d_net_merged_kernel.copy_(
            torch.nn.grad.conv2d_weight(concat_2, (width, 2 * width, 3, 3), d_merged_out, padding=1)
        )
        d_reshape = d_concat[:, width:]  # [batches_n, width, 8, 8]  unet.lee:26
        torch.sum(d_reshape, dim=(0, 2, 3), out=d_net_up_bias)  # [width]  nn.lee:122
        # [batches_n, 2 * width, 4, 4]  nn.lee:90
        d_x_3 = torch.nn.functional.conv2d(d_reshape, net_up_kernel, stride=2)
        # [2 * width, width, 2, 2]
        d_net_up_kernel.copy_(torch.nn.grad.conv2d_weight(d_reshape, (2 * width, width, 2, 2), x_3, stride=2))
        # [batches_n, 2 * width, 4, 4]  prelude.lee:61
        d_merged_out_2 = torch.ops.aten.threshold_backward(d_x_3, x_3, 0)
        torch.sum(d_merged_out_2, dim=(0, 2, 3), out=d_net_below_merged_bias)  # [2 * width]  nn.lee:112
        # [batches_n, 4 * width, 4, 4]  nn.lee:83
        d_concat_2 = torch.nn.functional.conv_transpose2d(d_merged_out_2, net_below_merged_kernel, padding=1)
        # [2 * width, 4 * width, 3, 3]
        d_net_below_merged_kernel.copy_(
            torch.nn.grad.conv2d_weight(concat, (2 * width, 4 * width, 3, 3), d_merged_out_2, padding=1)
        )
        d_reshape_2 = d_concat_2[:, 2 * width :]  # [batches_n, 2 * width, 4, 4]  unet.lee:26
        torch.sum(d_reshape_2, dim=(0, 2, 3), out=d_net_below_up_bias)  # [2 * width]  nn.lee:122
        # [batches_n, 4 * width, 2, 2]  nn.lee:90
        d_x_2_2_2_2 = torch.nn.functional.conv2d(d_reshape_2, net_below_up_kernel, stride=2)
        # [4 * width, 2 * width, 2, 2]
        d_net_below_up_kernel.copy_(
            torch.nn.grad.conv2d_weight(d_reshape_2, (4 * width, 2 * width, 2, 2), x_2_2_2, stride=2)
        )
        # [batches_n, 4 * width, 2, 2]  prelude.lee:61
        d_second_out_2 = torch.ops.aten.threshold_backward(d_x_2_2_2_2, x_2_2_2, 0)
        torch.sum(d_second_out_2, dim=(0, 2, 3), out=d_net_below_below_second_bias)  # [4 * width]  nn.lee:112
        # [batches_n, 4 * width, 2, 2]  nn.lee:83
        d_select_2 = torch.nn.functional.conv_transpose2d(d_second_out_2, net_below_below_second_kernel, padding=1)
        # [4 * width, 4 * width, 3, 3]
        d_net_below_below_second_kernel.copy_(
            torch.nn.grad.conv2d_weight(select_2_2, (4 * width, 4 * width, 3, 3), d_second_out_2, padding=1)
        )
        # [batches_n, 4 * width, 2, 2]  prelude.lee:61
        d_first_out_2 = torch.ops.aten.threshold_backward(d_select_2, select_2_2, 0)
        torch.sum(d_first_out_2, dim=(0, 2, 3), out=d_net_below_below_first_bias)  # [4 * width]  nn.lee:112
        # [batches_n, 2 * width, 2, 2]  nn.lee:83
        d_y_3 = torch.nn.functional.conv_transpose2d(d_first_out_2, net_below_below_first_kernel, padding=1)
        # [4 * width, 2 * width, 3, 3]
        d_net_below_below_first_kernel.copy_(
            torch.nn.grad.conv2d_weight(y_2, (4 * width, 2 * width, 3, 3), d_first_out_2, padding=1)
        )
        d_x_2_4 = avg_pool_gradient(d_y_3, (2, 2), (2, 2), (0, 0), (4, 4))  # [batches_n, 2 * width, 4, 4]  nn.lee:136
        d_x_2_5 = d_concat_2[:, : 2 * width] + d_x_2_4  # [batches_n, 2 * width, 4, 4]  unet.lee:23
        # [batches_n, 2 * width, 4, 4]  prelude.lee:61
        d_second_out_3 = torch.ops.aten.threshold_backward(d_x_2_5, x_2_2, 0)
        torch.sum(d_second_out_3, dim=(0, 2, 3), out=d_net_below_second_bias)  # [2 * width]  nn.lee:112
        # [batches_n, 2 * width, 4, 4]  nn.lee:83
        d_select_3 = torch.nn.functional.conv_transpose2d(d_second_out_3, net_below_second_kernel, padding=1)
        # [2 * width, 2 * width, 3, 3]
        d_net_below_second_kernel.copy_(
            torch.nn.grad.conv2d_weight(select_2, (2 * width, 2 * width, 3, 3), d_second_out_3, padding=1)
        )
        # [batches_n, 2 * width, 4, 4]  prelude.lee:61
        d_first_out_3 = torch.ops.aten.threshold_backward(d_select_3, select_2, 0)
        torch.sum(d_first_out_3, dim=(0, 2, 3), out=d_net_below_first_bias)  # [2 * width]  nn.lee:112
        # [batches_n, width, 4, 4]  nn.lee:83
        d_y = torch.nn.functional.conv_transpose2d(d_first_out_3, net_below_first_kernel, padding=1)
        # [2 * width, width, 3, 3]
        d_net_below_first_kernel.copy_(
            torch.nn.grad.conv2d_weight(y, (2 * width, width, 3, 3), d_first_out_3, padding=1)
        )
        d_x_2_3_3 = avg_pool_gradient(d_y, (2, 2), (2, 2), (0, 0), (8, 8))  # [batches_n, width, 8, 8]  nn.lee:136
        # [batches_n, width, 8, 8]  prelude.lee:61
        d_second_out = torch.ops.aten.threshold_backward(d_concat[:, :width] + d_x_2_3_3, x_2, 0)
        torch.sum(d_second_out, dim=(0, 2, 3), out=d_net_second_bias)  # [width]  nn.lee:112
        # [batches_n, width, 8, 8]  nn.lee:83
        d_select = torch.nn.functional.conv_transpose2d(d_second_out, net_second_kernel, padding=1)
        # [width, width, 3, 3]
        d_net_second_kernel.copy_(torch.nn.grad.conv2d_weight(select, (width, width, 3, 3), d_second_out, padding=1))
        d_first_out = torch.ops.aten.threshold_backward(d_select, select, 0)  # [batches_n, width, 8, 8]  prelude.lee:61
        torch.sum(d_first_out, dim=(0, 2, 3), out=d_net_first_bias)  # [width]  nn.lee:112
        # [width, 1, 3, 3]  nn.lee:83
        d_net_first_kernel.copy_(torch.nn.grad.conv2d_weight(add, (width, 1, 3, 3), d_first_out, padding=1))
        lr = self.opt.lr
        beta1 = self.opt.beta1
        beta2 = self.opt.beta2
        eps = self.opt.eps
        weight_decay = self.opt.weight_decay
        for θ, g, m, v in self.blocks[0]:
            adam_(θ, g, m, v, lr, beta1, beta2, eps, weight_decay, t)
        return total_2 + (sub_3 * sub_3).sum() / scale_2  # unet.lee:52


def denoise_x_e(data_test_x, noise, key):
    """data_test_x [data_test_n, 1, 8, 8] -> [data_test_n, 1, 8, 8], [data_test_n, 1, 8, 8]"""
    data_test_n = data_test_x.shape[0]
    key_2 = fold(key, SITES["e#2"])  # unet.lee:66
    normal_ = normal(key_2, (data_test_n, 1, 8, 8), FLOAT, data_test_x.device)  # [data_test_n, 1, 8, 8]
    e = noise * normal_  # [data_test_n, 1, 8, 8]
    return data_test_x, e


def denoise_left(net, x, e):
    """x [data_test_n, 1, 8, 8], e [data_test_n, 1, 8, 8] -> []"""
    sub_2 = net(x + e) - x  # [data_test_n, 1, 8, 8]  unet.lee:67
    return (sub_2**2).mean() / (e**2).mean()


def example_shallow(key):
    net = Denoiser(2, key=fold(key, SITES["net"]))  # unet.lee:72
    x = normal(fold(key, SITES["x"]), (2, 1, 5, 3), FLOAT)  # [2, 1, 5, 3]  unet.lee:73
    y = normal(fold(key, SITES["y"]), (2, 1, 5, 3), FLOAT)  # [2, 1, 5, 3]  unet.lee:74
    sub, saved_net = net.forward_saved(x)  # unet.lee:75
    value, saved_at_all_scales = at_all_scales_saved(sub, y)
    d_sub, d_y = at_all_scales_backward(saved_at_all_scales, torch.ones((), dtype=FLOAT))
    d_net, d_x = net.forward_backward(x, saved_net, d_sub)
    return value, net.at(d_net), d_x, d_y


def example_deep(key):
    net = Denoiser_2(2, key=fold(key, SITES["net"]))  # unet.lee:79
    x = normal(fold(key, SITES["x"]), (2, 1, 8, 4), FLOAT)  # [2, 1, 8, 4]  unet.lee:80
    y = normal(fold(key, SITES["y"]), (2, 1, 8, 4), FLOAT)  # [2, 1, 8, 4]  unet.lee:81
    sub, saved_net = net.forward_saved(x)  # unet.lee:82
    value, saved_at_all_scales_2 = at_all_scales_2_saved(sub, y)
    d_sub, d_y = at_all_scales_2_backward(saved_at_all_scales_2, torch.ones((), dtype=FLOAT))
    d_net, d_x = net.forward_backward(x, saved_net, d_sub)
    return value, net.at(d_net), d_x, d_y


def fan_in_uniform(fan_in):
    """Uniform in ± 1 / √fan_in, what torch.nn.Linear and its like begin with."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)  # init.lee:37


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


def conv_transpose2d(x, kernel, stride=1, padding=0):
    """Every entry adds a kernel to the result, stride apart; `padding` rows and columns are cut off at each side.

    x [n, c, h, w], kernel [c, o, kh, kw] -> [n, o, h * stride + kh - 2 * padding - stride, stride * w + kw - 2
    * padding - stride]
    """
    _, _, h, w = x.shape
    _, _, kh, kw = kernel.shape
    # [n, o, h * stride + kh - stride, stride * w + kw - stride]  nn.lee:90
    y_2 = torch.nn.functional.conv_transpose2d(x, kernel, stride=stride)
    # [n, o, h * stride + kh - 2 * padding - stride, stride * w + kw - 2 * padding - stride]  nn.lee:91
    y = y_2[:, :, padding : h * stride + kh - padding - stride, padding : stride * w + kw - padding - stride]
    return y  # [n, o, h * stride + kh - 2 * padding - stride, stride * w + kw - 2 * padding - stride]


def conv_transpose2d_backward(x, kernel, padding, stride, d_y):
    """From d_y to the gradients by x and kernel."""
    n, c, h, w = x.shape
    _, o, kh, kw = kernel.shape
    # gradient of return y[:, :, padding : stride*(h - 1) + kh - padding, padding : stride*(w -..   nn.lee:91
    # [n, o, h * stride + kh - stride, stride * w + kw - stride]
    d_y_2 = unslice(
        d_y,
        (n, o, h * stride + kh - stride, stride * w + kw - stride),
        (
            slice(0, n),
            slice(0, o),
            slice(padding, h * stride + kh - padding - stride),
            slice(padding, stride * w + kw - padding - stride),
        ),
    )
    # gradient of y[n, o, stride*i + u, stride*j + v] += sum[c](x[n, c, i, j] * kernel[c, o, u,..   nn.lee:90
    d_x = torch.nn.functional.conv2d(d_y_2, kernel, stride=stride)  # [n, c, h, w]
    d_kernel = torch.nn.grad.conv2d_weight(d_y_2, (c, o, kh, kw), x, stride=stride)  # [c, o, kh, kw]
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

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return y + bias[:, None, None]   nn.lee:112
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        # gradient of y = conv2d(x, kernel, stride, padding, dilation)   nn.lee:110
        d_x, d_kernel = conv2d_backward(x, self.kernel, self.dilation, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


class ConvTranspose(Model):
    """The transpose of Conv: it spreads what Conv would gather."""

    members = ("kernel", "bias")

    def __init__(self, inputs, outputs, k=3, stride=1, padding=0, *, key=(0, 0)):
        super().__init__()
        self.inputs, self.outputs, self.k, self.stride, self.padding = inputs, outputs, k, stride, padding
        div, div_2 = fan_in_uniform(k**2 * outputs)  # nn.lee:118
        key_2 = fold(key, SITES["kernel"])
        uniform_ = uniform(key_2, (inputs, outputs, k, k), FLOAT)  # [inputs, outputs, k, k]
        uniform_2 = uniform(fold(key, SITES["bias"]), (outputs,), FLOAT)  # [outputs]  nn.lee:119
        self.kernel = torch.nn.Parameter(div + (div_2 - div) * uniform_)  # [inputs, outputs, k, k]  nn.lee:118
        self.bias = torch.nn.Parameter(div + (div_2 - div) * uniform_2)  # [outputs]  nn.lee:119

    def forward(self, x):
        """x [n, inputs, h, w] -> [n, outputs, h * stride + k - 2 * padding - stride, stride * w + k - 2 * padding -
        stride]
        """
        # [n, outputs, h * stride + k - 2 * padding - stride, stride * w + k - 2 * padding - stride]  nn.lee:122
        slice_ = conv_transpose2d(x, self.kernel, stride=self.stride, padding=self.padding)
        # [n, outputs, h * stride + k - 2 * padding - stride, stride * w + k - 2 * padding - stride]
        return slice_ + self.bias[:, None, None]

    def forward_backward(self, x, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return conv_transpose2d(x, kernel, stride, padding) + bias[:, None, None]   nn.lee:122
        d_bias = d_y.sum(dim=0).sum(dim=(1, 2))  # [outputs]
        d_x, d_kernel = conv_transpose2d_backward(x, self.kernel, self.padding, self.stride, d_y)
        return {"kernel": d_kernel, "bias": d_bias}, d_x


def avg_pool(x, size=2):
    """The mean of each size × size square.

    x [n, c, h, w] -> [n, c, h // size, w // size]
    """
    y = torch.nn.functional.avg_pool2d(x, size)  # [n, c, h // size, w // size]  nn.lee:136
    return y  # [n, c, h // size, w // size]


def avg_pool_backward(h, size, w, d_y):
    """From d_y to the gradient by x."""
    # gradient of y[n, c, i in h // size, j in w // size] = mean[u in size, v in size](x[n, c, ..   nn.lee:136
    d_x = avg_pool_gradient(d_y, (size, size), (size, size), (0, 0), (h, w))  # [n, c, h, w]
    return d_x  # [n, c, h, w]


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
    "below": 0x2CE6CF983376FDE2,
    "bias": 0x7246FEB96AC500B4,
    "e": 0x4F1D2FB024A5D810,
    "e#2": 0xD06E1C06430B8AD6,
    "first": 0xA31DFC4F51C2A8A2,
    "kernel": 0x273FEA903E119357,
    "merged": 0x04D809AE5F27A855,
    "net": 0xF087C76970C91612,
    "second": 0xF4C52D43B87F6485,
    "up": 0xDD49F622B87D879F,
    "write": 0x931A160AFD5D0A8C,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
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


def avg_pool_gradient(g, size, stride, padding, dims):
    """An equal share of g to every entry of its window along the last axes."""
    if len(size) == 1:  # the library has none for one axis
        return avg_pool_gradient(g[..., None, :], (1, *size), (1, *stride), (0, *padding), (1, *dims)).squeeze(-2)
    backward = getattr(torch.ops.aten, f"avg_pool{len(size)}d_backward")
    x = g.new_empty((*g.shape[: g.ndim - len(size)], *dims))  # read for its shape only
    return backward(g, x, size, stride, padding, False, True, None)


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
