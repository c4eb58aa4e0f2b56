"""`linreg new`: a project of one's own, made from this package's own files."""
