"""Networks that people study, as subjects: whatever module of a PyTorch network can be hooked is a layer.

`names` says what a name stands for, and `catalogue` turns it into a subject. It picks one of the loaders
(`from_torchvision`, `from_timm`, `from_open_clip`, `from_transformers`, `from_python`), which returns a
`loaded.Network`: a module and how pictures are prepared for it. `subject` makes a subject of that, on `hooked`, which
runs the module and knows its layers from one dry run (`tracing`, `layout`). Importing the package, or `catalogue`,
imports no torch.
"""
