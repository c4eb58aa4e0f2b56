"""A model on PyTorch Lightning: data in data.py, model in model.py, command in __main__.py."""
