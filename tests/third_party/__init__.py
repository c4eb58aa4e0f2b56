"""Somebody else's package: plain Lightning, nothing of ours."""
