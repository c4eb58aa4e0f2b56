"""`linreg new`: writes a small project of one's own, which builds upon this package."""
