"""Writes a checkpoint as ns-train does: ``python save.py FILE``, under any version of torch.

The files of this folder were written so; each is named by the version that wrote it.
"""

import sys

import numpy as np
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.field = torch.nn.Linear(3, 2)
        self.register_buffer("aabb", torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
        self.register_buffer("max_res", torch.tensor(64))
        self.halved = torch.nn.Parameter(torch.linspace(-1, 1, 8).half())
        with torch.no_grad():
            self.field.weight.copy_(torch.arange(6.0).reshape(2, 3) / 8)
            self.field.bias.copy_(torch.tensor([0.5, -0.25]))


class Pipeline(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self._model = Model()


pipeline = Pipeline()
saved = {name: value.clone() for name, value in pipeline.state_dict().items()}
optimizer = torch.optim.Adam(pipeline._model.field.parameters(), lr=1e-2)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(np.exp(-step / 10)))
pipeline._model.field(torch.ones(1, 3)).sum().backward()
optimizer.step()
scheduler.step()
pipeline.load_state_dict(saved)
content = {
    "step": 9,
    "pipeline": pipeline.state_dict(),
    "optimizers": {"fields": optimizer.state_dict()},
    "schedulers": {"fields": scheduler.state_dict()},
    "scalers": {},
}
torch.save(content, sys.argv[1])
