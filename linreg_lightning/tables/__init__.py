"""Files read as tables; no Lightning."""
