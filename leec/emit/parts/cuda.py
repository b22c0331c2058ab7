"""What every generated PyTorch module has beside the spec's own code: modules, optimizers, and steps over flat vectors."""

import weakref

import torch


class Model(torch.nn.Module):
    """An ordinary module; `members` names its tensors and submodels as the spec does, in declaration order."""

    members: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # members whose name a module has taken

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
        """The model at another point of parameter space: nested dicts of tensors by member, through which gradients flow.

        What is not given is shared, but for buffers, which are copied.
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


class Optimizer:
    """What every optimizer has: the number `t` of updates so far, and states like the parameters.

    `starts` says with what the entries of a state begin.
    """

    starts: dict[str, float] = {}
    t = 0

    def begin(self, θ):
        """Count an update; the first one makes the states."""
        self.t += 1
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


class Vector:
    """The parameters of one or several models, side by side in one tensor, and their gradient in another.

    The parameters become views of `values`. Moving or casting a model severs them silently, so `holds` is asked
    before every step.
    """

    def __init__(self, models):
        self.slots = [slot for model in models for slot in parameter_slots(model)]
        with torch.no_grad():
            parameters = [table[name] for table, name in self.slots]
            self.values = torch.cat([p.reshape(-1) for p in parameters])
            self.gradient = torch.zeros_like(self.values)
            sizes = [p.numel() for p in parameters]
            shapes = [p.shape for p in parameters]
            for p, part, shape in zip(parameters, self.values.split(sizes), shapes):
                p.data = part.view(shape)
            self.gradients = [part.view(shape) for part, shape in zip(self.gradient.split(sizes), shapes)]
            self.addresses = [p.data_ptr() for p in parameters]
        self.shapes = [tuple(shape) for shape in shapes]

    @staticmethod
    def of(models):
        """The vector of these models, the same one for all steps that move them."""
        known = VECTORS.setdefault(models[0], {})
        rest = tuple(map(id, models[1:]))
        if rest not in known or not known[rest].holds():
            known[rest] = Vector(models)
        return known[rest]

    def holds(self):
        slots = zip(self.slots, self.addresses)
        return all(table[name].data_ptr() == address for (table, name), address in slots)


VECTORS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def parameter_slots(model):
    """Where the parameters of a model are kept: (table of the module, name), in declaration order."""
    for name in model.members:
        attribute = model.renamed.get(name, name)
        if attribute in model._parameters:
            yield model._parameters, attribute
        elif attribute in model._modules:
            member = model._modules[attribute]
            for part in member if isinstance(member, torch.nn.ModuleList) else [member]:
                yield from parameter_slots(part)


class TrainStep:
    """A training step as one function over flat vectors, without autograd; generated subclasses say which.

    `moved` pairs the attribute of an optimizer with those of the models that it moves, for every update; `counted` are
    the optimizers whose rule stands in the step; `read` names the tensors that the step reads. Everything it touches
    keeps its address from call to call. On a GPU a step is captured as one CUDA graph for every shape of batch.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counted: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    spare: tuple[int, ...] = ()  # arrays of the block's size that an update computes in
    GRAPHS = 8  # shapes of batches that have a graph; others run without
    BLOCK = 1 << 16  # entries of a vector that an update takes at a time on a CPU, so that they stay in its cache

    def scalars(self):
        """Numbers that differ from step to step."""
        return ()

    def constants(self):
        """Numbers that are written into a graph."""
        return ()

    def bind(self):
        """Lay the parameters out and take views of all that the step reads and writes."""
        self.vectors = [Vector.of([getattr(self, name) for name in models]) for _, models in self.moved]
        self.slots = [find_slot(self, path) for path in self.read]
        self.tensors = tuple(table[name].detach() for table, name in self.slots)
        self.addresses = [tensor.data_ptr() for tensor in self.tensors]
        self.gradients = tuple(view for vector in self.vectors for view in vector.gradients)
        self.optimizers = [getattr(self, name) for name, _ in self.moved]
        for optimizer, vector in zip(self.optimizers, self.vectors):
            optimizer.make_states(vector.values)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        self.blocks = [self.blocks_of(i) for i in range(len(self.moved))]
        self.graphs = {}

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks."""
        vector = self.vectors[i]
        size = vector.values.numel()
        step = size if vector.values.is_cuda else min(size, self.BLOCK)
        spare = [vector.values.new_empty(step) for _ in range(self.spare[i])]
        starts = range(0, size, step) if size else ()
        return [
            (
                *(t[a : a + step] for t in (vector.values, vector.gradient, *self.states[i])),
                *(s[: size - a] for s in spare),
            )
            for a in starts
        ]

    def holds(self):
        """Whether the views are still those of the models and optimizers."""
        views = all(table[name].data_ptr() == at for (table, name), at in zip(self.slots, self.addresses))
        states = (
            getattr(o, name) is s for o, kept in zip(self.optimizers, self.states) for name, s in zip(o.starts, kept)
        )
        return views and all(vector.holds() for vector in self.vectors) and all(states)

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).t += 1
        with torch.inference_mode():
            if self.vectors[0].values.is_cuda and len(self.counted) == len(self.moved):
                return self.replayed(batch)
            return self.step(*batch, *self.scalars())

    # ---- on a GPU

    def replayed(self, batch):
        batch = [torch.tensor(x) if isinstance(x, tuple) else x for x in batch]  # keys of draws
        key = (*((x.shape, x.dtype) if isinstance(x, torch.Tensor) else x for x in batch), self.constants())
        if key not in self.graphs and len(self.graphs) >= self.GRAPHS:
            return self.step(*batch, *self.scalars())
        if key not in self.graphs:
            self.graphs[key] = Graph(self, batch)
        return self.graphs[key](batch, self.scalars())

    def written(self):
        """All tensors that a step writes into and that outlive it."""
        vectors = [vector.values for vector in self.vectors]
        return [*vectors, *self.tensors, *(s for states in self.states for s in states)]


def find_slot(step, path):
    """(table, name) of the tensor at a path such as `net.layers.0.w`."""
    root, *steps, last = path.split(".")
    module = getattr(step, root)
    for name in steps:
        module = (
            module[int(name)] if name.isdigit() else getattr(module, getattr(module, "renamed", {}).get(name, name))
        )
    name = module.renamed.get(last, last)
    return (module._parameters if name in module._parameters else module._buffers), name


class Graph:
    """One captured step: batches and numbers are copied into tensors of fixed address, then everything is replayed."""

    def __init__(self, step, batch):
        device = step.vectors[0].values.device
        self.batch = [x.clone() if isinstance(x, torch.Tensor) else x for x in batch]
        numbers = step.scalars()
        self.numbers = torch.tensor(numbers, dtype=torch.float64, device=device)
        arguments = (*self.batch, *self.numbers.unbind()) if numbers else self.batch
        before = [(tensor, tensor.clone()) for tensor in step.written()]
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):  # libraries choose their algorithms before anything is captured
            for _ in range(3):
                step.step(*arguments)
        torch.cuda.current_stream(device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = step.step(*arguments)
        for tensor, value in before:
            tensor.copy_(value)

    def __call__(self, batch, numbers):
        for held, x in zip(self.batch, batch):
            if isinstance(x, torch.Tensor):
                held.copy_(x, non_blocking=True)
        if numbers:
            self.numbers.copy_(torch.tensor(numbers, dtype=torch.float64), non_blocking=True)
        self.graph.replay()
        return self.result.clone() if isinstance(self.result, torch.Tensor) else tuple(r.clone() for r in self.result)
