"""The backbones: what writes the experiments. `registry.open_backbone` opens one by its name."""
