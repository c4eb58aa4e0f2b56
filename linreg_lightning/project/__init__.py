"""`linreg new`: writes a small project of one's own, which builds upon this package.

`template/` is a plain folder of real files: `new` copies them and replaces two names. A tool such
as copier would be one more dependency. It can merge a changed template into a project, which these
projects do not need: what may improve later is in this package, and comes with its next version.
"""
