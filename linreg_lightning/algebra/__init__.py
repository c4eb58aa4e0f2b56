"""Mathematics on tensors; knows nothing of Lightning."""
