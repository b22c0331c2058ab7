"""Steps of generated PyTorch modules: flat vectors, views of them, and CUDA graphs."""

import weakref

import torch


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
            for p, part, shape in zip(parameters, self.values.split(sizes), shapes, strict=True):
                p.data = part.view(shape)
            self.gradients = [part.view(shape) for part, shape in zip(self.gradient.split(sizes), shapes, strict=True)]
            self.addresses = [p.data_ptr() for p in parameters]
        self.shapes = [tuple(shape) for shape in shapes]

    @staticmethod
    def of(models):
        """The vector of these models, the same one for all steps that move them."""
        known = VECTORS.setdefault(models[0], {})
        rest = tuple(map(weakref.ref, models[1:]))
        if rest not in known or not known[rest].holds():
            known[rest] = Vector(models)
        return known[rest]

    def holds(self):
        slots = zip(self.slots, self.addresses, strict=True)
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
    spare: tuple[int | None, ...] = ()  # arrays that an update computes in; None: in none, so it takes no blocks
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
        for optimizer, vector in zip(self.optimizers, self.vectors, strict=True):
            optimizer.make_states(vector.values)
        self.states = [[getattr(o, name) for name in o.starts] for o in self.optimizers]
        self.blocks = [self.blocks_of(i) for i in range(len(self.moved))]
        self.graphs = {}

    def blocks_of(self, i):
        """(θ, g, states, spare arrays) of one update, cut to blocks."""
        vector = self.vectors[i]
        size = vector.values.numel()
        whole = vector.values.is_cuda or self.spare[i] is None
        step = size if whole else min(size, self.BLOCK)
        spare = [vector.values.new_empty(step) for _ in range(self.spare[i] or 0)]
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
        views = all(table[name].data_ptr() == at for (table, name), at in zip(self.slots, self.addresses, strict=True))
        states = (
            getattr(o, name) is s
            for o, kept in zip(self.optimizers, self.states, strict=True)
            for name, s in zip(o.starts, kept, strict=True)
        )
        return views and all(vector.holds() for vector in self.vectors) and all(states)

    def __call__(self, *batch):
        if not self.holds():
            self.bind()
        for name in self.counted:
            getattr(self, name).count()
        with torch.inference_mode():
            if self.vectors[0].values.is_cuda and len(self.counted) == len(self.moved):
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


def kind(x):
    """What a graph depends on: of tensors the shape, nothing of the keys of draws, sizes themselves."""
    return (x.shape, x.dtype) if isinstance(x, torch.Tensor) else "key" if isinstance(x, tuple) else x


class Graph:
    """One captured step: batches, keys and numbers are put into tensors of fixed address, then everything is replayed.

    Numbers are filled in by kernels, since a copy from the host would wait for the device.
    """

    def __init__(self, step, batch):
        self.device = step.vectors[0].values.device
        self.batch = [self.hold(x) for x in batch]
        numbers = [torch.tensor(x, dtype=torch.float64, device=self.device) for x in step.scalars()]
        self.numbers = numbers
        before = [(tensor, tensor.clone()) for tensor in step.written()]
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # libraries choose their algorithms before anything is captured
            for _ in range(3):
                step.step(*self.batch, *numbers)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = step.step(*self.batch, *numbers)
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
        return self.result.clone() if isinstance(self.result, torch.Tensor) else tuple(r.clone() for r in self.result)
