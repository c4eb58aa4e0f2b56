"""How well predictions fit."""
