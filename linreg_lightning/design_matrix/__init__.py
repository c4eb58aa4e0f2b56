"""From the columns of a table to the design matrix x."""
