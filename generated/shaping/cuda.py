"""Rewards of one's own (lecture: reinforcement): a car reaches its hill so late that it has to be guided there.

A potential of the state may be added to a reward, γ φ(next) - φ(s), without changing what is best (Ng et al. 1999). A
curious actor is rewarded by the error of its own forecast of the next state (Pathak et al. 2017).

Made from specs/reinforcement/shaping.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/reinforcement/shaping.lee
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


def shaped(r, potential, after, over, gamma=0.99):
    """The potential behind an end is 0.

    r [n], potential [n], after [n], over bool[n] -> [n]
    """
    return r + gamma * torch.where(over, 0, after) - potential  # [n]  shaping.lee:19


def shaped_backward(over, gamma, d_y):
    """From d_y to the gradients by r, potential and after."""
    # gradient of return r + gamma * where(over, 0, after) - potential   shaping.lee:19
    d_potential = -d_y  # [n]
    d_after = torch.where(over, 0, d_y * gamma)  # [n]
    return d_y, d_potential, d_after


def energy(s):
    """Of motion and of height: the force along the valley is -0.0025 cos(3 x).

    s [n, 2] -> [n]
    """
    entry = s[:, 1]  # [n]  shaping.lee:24
    mul_3 = 0.0008333333333333334 * torch.sin(3 * s[:, 0])  # [n]
    return entry**2 / 2 + mul_3  # [n]


def energy_saved(s):
    """As energy, and what its gradient needs."""
    entry = s[:, 1]  # [n]  shaping.lee:24
    mul_2 = 3 * s[:, 0]  # [n]
    return entry**2 / 2 + 0.0008333333333333334 * torch.sin(mul_2), mul_2


def energy_backward(s, mul_2, d_y):
    """From d_y to the gradient by s."""
    # gradient of return s[:, 1] ** 2 / 2 + 0.0025 / 3 * sin(3 * s[:, 0])   shaping.lee:24
    d_reshape_2 = d_y * 0.0008333333333333334 * torch.cos(mul_2) * 3  # [n]
    d_s = torch.stack((d_reshape_2, 2 * (d_y / 2 * s[:, 1])), dim=1)  # [n, 2]
    return d_s  # [n, 2]


def cell(s, rows):
    """The number of a cell of position and speed: from -1.2 to 0.6 and from -0.07 to 0.07, in as many rows each.

    s [2] -> []
    """
    across = clip(torch.floor((s[0] + 1.2) / 1.8 * rows), 0, rows - 1)  # shaping.lee:29
    along = clip(torch.floor((s[1] + 0.07) / 0.14 * rows), 0, rows - 1)  # shaping.lee:30
    return rows * across + along  # shaping.lee:31


def scaled(s):
    """Position and speed, both about -1 to 1.

    s [n, 2] -> [n, 2]
    """
    return torch.stack(((s[:, 0] + 0.3) / 0.9, s[:, 1] / 0.07), dim=1)  # [n, 2]  shaping.lee:36


def scaled_backward(d_y):
    """From d_y to the gradient by s."""
    # gradient of return stack(((s[:, 0] + 0.3) / 0.9, s[:, 1] / 0.07), axis = 1)   shaping.lee:36
    d_s = torch.stack((d_y[:, 0] / 0.9, d_y[:, 1] / 0.07), dim=1)  # [n, 2]
    return d_s  # [n, 2]


def surprise_saved(world, s, a, next_):
    """As surprise, and what its gradient needs."""
    n = s.shape[0]
    if world.sizes[0] != 5:
        raise ValueError(f"world.sizes_0 = {world.sizes[0]} must equal 5")
    if world.sizes[2] != 2:
        raise ValueError(f"shaping.lee:41: world.sizes_2 = {world.sizes[2]} must equal 2")
    # [n, world.sizes_0]  shaping.lee:41
    reshape = torch.cat((scaled(s), one_hot(a, 3)), dim=1).reshape(n, world.sizes[0])
    add_2, saved_world = world.forward_saved(reshape)
    sub = add_2 - scaled(next_).reshape(n, world.sizes[2])  # [n, world.sizes_2]
    return (sub**2).sum(dim=1), (reshape, saved_world, sub)


def surprise_backward(world, saved, d_sum):
    """From d_sum to the gradients by world, s and next."""
    reshape, saved_world, sub = saved
    n = reshape.shape[0]
    # gradient of return sum((world(concat((scaled(s), one_hot(a, 3)), axis = 1)) - scaled(next..   shaping.lee:41
    d_sub_2 = d_sum[:, None] * sub  # [n, world.sizes_2]
    d_next = scaled_backward((-2 * d_sub_2).reshape(n, 2))  # [n, 2]
    d_world, d_reshape = world.forward_backward(reshape, saved_world, 2 * d_sub_2)
    d_s = scaled_backward(d_reshape.reshape(n, 5)[:, :2])  # [n, 2]
    return d_world, d_s, d_next


def example_guided(key):
    r = normal(fold(key, SITES["r"]), (5,), FLOAT)  # [5]  shaping.lee:45
    potential = normal(fold(key, SITES["potential"]), (5,), FLOAT)  # [5]  shaping.lee:46
    after = normal(fold(key, SITES["after"]), (5,), FLOAT)  # [5]  shaping.lee:47
    unslice_ = unslice(torch.full((1,), True, dtype=torch.bool), (5,), (slice(2, 3),))  # bool[5]  shaping.lee:49
    over_2 = torch.where(unslice_, unslice_, False)  # bool[5]
    sub = shaped(r, potential, after, over_2)  # [5]  shaping.lee:50
    d_r, d_potential, d_after = shaped_backward(over_2, 0.99, 2 * sub)
    return (sub**2).sum(), d_r, d_potential, d_after


def example_swinging(key):
    s = normal(fold(key, SITES["s"]), (5, 2), FLOAT)  # [5, 2]  shaping.lee:54
    c = normal(fold(key, SITES["c"]), (5,), FLOAT)  # [5]  shaping.lee:55
    add, saved_energy = energy_saved(s)  # shaping.lee:56
    return 1000 * (c * add).sum(), energy_backward(s, saved_energy, 1000 * c), 1000 * add


def example_cells(key):
    uniform_ = uniform(fold(key, SITES["x"]), (), FLOAT)  # shaping.lee:60
    x = -1.2 + 1.7999999999999998 * uniform_
    v = -0.07 + 0.14 * uniform(fold(key, SITES["v"]), (), FLOAT)  # shaping.lee:61
    corner = torch.ones(2, dtype=FLOAT)  # [2]  shaping.lee:62
    d_x = torch.zeros((), dtype=FLOAT)  # shaping.lee:63
    return cell(torch.stack((x, v)), 1000) + cell(corner, 30), d_x, d_x


def example_curious(key):
    world = MLP((5, 8, 2), key=fold(key, SITES["world"]))  # shaping.lee:67
    s = normal(fold(key, SITES["s"]), (6, 2), FLOAT)  # [6, 2]  shaping.lee:68
    next_ = normal(fold(key, SITES["next"]), (6, 2), FLOAT)  # [6, 2]  shaping.lee:69
    a = randint(fold(key, SITES["a"]), (6,), 0, 3)  # int[6]  shaping.lee:70
    sum_, saved_surprise = surprise_saved(world, s, a, next_)  # shaping.lee:71
    d_sum = torch.full((6,), 0.16666666666666666, dtype=FLOAT)  # [6]
    d_world, d_s, d_next = surprise_backward(world, saved_surprise, d_sum)
    return sum_.mean(), world.at(d_world), d_s, d_next


@torch.no_grad()
def mountain(episodes=300, rows=12, rate=0.2, gamma=0.99, weight=1e4, *, run=None):
    """A table of Q with the ways "none", "potential" and "curiosity"; the score is minus the number of moves, 200 at most.

    Made for way = 'potential': with other values it is another program.
    """
    from leec.runtime.run import Run

    run = run or Run("mountain", backend="torch")
    car = run.environment("MountainCar-v0", observation=("float", (2,)), action=("int", (), 0, 2))  # shaping.lee:12
    q = mountain_q(rows)  # shaping.lee:76
    world = MLP(sizes=(5, 32, 2), key=run.key("world")).to(run.session.place.device)  # shaping.lee:77
    opt = Adam(lr=1e-3)  # shaping.lee:78
    (q,) = run.restore("episode", q=q)
    for episode in run.loop("episode", 1, episodes, opt=opt, world=world, car=car):
        eps = max(0.0, 0.1 - episode / 1000)  # shaping.lee:80
        s = car.reset(run.key("s"))  # shaping.lee:81
        score = 0.0  # shaping.lee:82
        done = False  # shaping.lee:83
        path = []  # shaping.lee:84
        while run.again("while", not done):
            here, condition = mountain_here_condition(s, eps, rows, key=run.key("mountain"))  # shaping.lee:86
            if condition:
                a = mountain_a(key=run.key("mountain"))  # shaping.lee:89
            else:
                a = mountain_a_2(q, here, rows)  # shaping.lee:91
            next_, r, terminated, truncated = car.step(a)  # shaping.lee:92
            score = score + r  # shaping.lee:93
            gain = r  # shaping.lee:94
            q_item = mountain_q_item(r, terminated, weight, s, next_, gamma, q, here, a, rate, rows)  # shaping.lee:96
            q[here, a] = q_item  # shaping.lee:103
            s = next_  # shaping.lee:104
            done = terminated or truncated  # shaping.lee:105
        run.report(score=score)  # shaping.lee:109
        run.keep("episode", q=q)
    return q


def mountain_q(rows):
    q = torch.zeros((rows**2, 3), dtype=FLOAT)  # [rows**2, 3]  shaping.lee:76
    return q  # [rows**2, 3]


def mountain_here_condition(s, eps, rows, key):
    """s [2] -> [], []"""
    here = cell(s, rows).to(torch.int64)  # shaping.lee:86
    u = uniform(fold(key, SITES["u"]), (), FLOAT, s.device)  # shaping.lee:87
    condition = u < eps  # shaping.lee:88
    return here, condition


def mountain_a(key):
    a = randint(fold(key, SITES["a"]), (), 0, 3)  # shaping.lee:89
    return a


def mountain_a_2(q, here, rows):
    """q [rows**2, 3] -> []"""
    a = q[here].argmax(dim=0)  # shaping.lee:91
    return a


def mountain_q_item(r, terminated, weight, s, next_, gamma, q, here, a, rate, rows):
    """s [2], next [2], q [rows**2, 3] -> []"""
    brought = torch.full((1,), r, dtype=FLOAT, device=s.device)  # [1]  shaping.lee:96
    over = torch.full((1,), terminated, dtype=torch.bool, device=s.device)  # bool[1]  shaping.lee:97
    mul_2 = weight * energy(next_[None])  # [1]  shaping.lee:98
    sub = shaped(brought, weight * energy(s[None]), mul_2, over, gamma=gamma)  # [1]
    gain = sub.reshape(())
    guard = torch.where(torch.full((), not terminated, device=s.device), next_, next_.detach())  # [2]
    max_ = q[cell(guard, rows).to(torch.int64)].max(0).values  # shaping.lee:102
    after = torch.where(torch.full((), terminated, device=s.device), 0, max_)
    gather_2 = q[here, a]  # shaping.lee:103
    q_item = gather_2 + rate * (gain + gamma * after - gather_2)
    return q_item


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

    def forward_backward(self, x, x_2, d_y):
        """From d_y to the gradients by the parameters and x."""
        # gradient of return layers[-1](x)   nn.lee:42
        d_layers_1_, d_x_2 = self.layers[1].forward_backward(x_2, d_y)
        # gradient of x = relu(layer(x))   nn.lee:41
        d_layers_0_, d_x = self.layers[0].forward_backward(x, relu_backward(x_2, d_x_2))
        return {"layers.0": d_layers_0_, "layers.1": d_layers_1_}, d_x


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

    x [x_0, x_1] -> [x_0, x_1]
    """
    return torch.relu(x)  # [x_0, x_1]  prelude.lee:61


def relu_backward(select, d_y):
    """From d_y to the gradient by x."""
    # gradient of return where(x > 0, x, 0)   prelude.lee:61
    d_x = torch.where(select > 0, d_y, 0)  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def clip(x, low, high):
    """x, kept between low and high; at a bound the gradient is 1."""
    return x.clamp(min=low).clamp(max=high)  # prelude.lee:153


@packed(0, index=(0, 1))
def one_hot(index, classes):
    """1 at the place that the index names, 0 elsewhere.

    index int[..] -> [.., classes]
    """
    place = torch.arange(classes, device=index.device)  # int[classes]  prelude.lee:253
    return (index[:, None] == place).to(FLOAT)  # [rows, classes]  prelude.lee:254


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "after": 0xF3470001772D0424,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "layers.0": 0x6E3BC4F53BE0CE84,
    "layers.1": 0xE2AFCF8FB6B5EB86,
    "next": 0x1637742F7A98A1A9,
    "potential": 0xE9ADB4C2F3BAD0EC,
    "r": 0xF1DC5A7F078E3ACB,
    "s": 0xDE6ECFAAC38449E6,
    "u": 0x08D267E10C593806,
    "v": 0x9DF7DC769517EBA3,
    "w": 0x20925082A2286B9E,
    "world": 0x0F93D6A77FC33158,
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


def randint(key: Key, shape: tuple[int, ...], low: int, high: int, device: Device = None) -> torch.Tensor:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape), device).reshape(shape)
    return (words * (high - low) >> 32 & MASK) + low


def move_keys(found, old, new):
    """Rename a key, or all below a path."""
    for key in [k for k in found if k == old or k.startswith(f"{old}.")]:
        found[new + key[len(old) :]] = found.pop(key)
