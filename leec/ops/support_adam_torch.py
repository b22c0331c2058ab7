"""Steps of Adam and AdamW that torch columns call, by kernels of the library where it has them.

The emitter pastes their source into generated modules: each stands on torch and others of this file alone.
"""

import torch


def adam(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """x, m and v after a step of Adam (Kingma & Ba 2015); decay * x is added to g."""
    x, m, v = x.clone(), m.clone(), v.clone()
    adam_(x, g, m, v, lr, beta1, beta2, eps, decay, t)
    return x, m, v


def adam_(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """A step of Adam in place; `t` is a number, or a tensor on the device. One kernel where the library has it."""
    kernel = fused("_fused_adam_", x, lr)
    if kernel is None:
        adamw_(x, g + decay * x, m, v, lr, beta1, beta2, eps, 0.0, t)
    else:
        fused_adam(kernel, x, g, m, v, lr, beta1, beta2, eps, decay, t)


def adamw(x, g, m, v, lr, beta1, beta2, eps, decay, t):
    """x, m and v after a step of Adam with decay of x apart from g (Loshchilov & Hutter 2019)."""
    x, m, v = x.clone(), m.clone(), v.clone()
    adamw_(x, g, m, v, lr, beta1, beta2, eps, decay, t)
    return x, m, v


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
