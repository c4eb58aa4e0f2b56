"""How well predictions fit, and how far a fit is from its optimum."""
