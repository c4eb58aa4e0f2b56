"""From the columns of a table to the design matrix x; knows no Lightning.

    column_roles   which columns are features, categories, targets, weight
    row_subset     which rows: the split by hash and the share of a process
    fit_design     what the rows to train on determine: levels of categories, classes, means
    level_counts   how many rows have each level of a category; what is no category
    added_levels   the levels that later rows bring to a design
    number_codes   which whole numbers may be codes or dates, to be said in one line each
    level_names    the same name for a level from every format
    design         the columns of x: a term turns one column of the table into columns of x
    dates          the terms of dates, and what they learn from the rows to train on
    batch_builder  rows of the table to a Batch: missing values, unknown levels, checks
    row_counts     what rows lacked, to be said in one line each
    frame_reader   rows of a data frame to x, by the names of its columns

    formula_terms        formulaic reads a formula: its terms, their rank, the names of columns
    formula_expressions  the factors of terms: what they may hold, and their values
    formula_functions    functions that learn from the rows: centring, polynomials, splines
    formula_fit          what a formula learns from the rows to train on, written to the `Design`
    formula_matrix       the columns of x of a formula, from that
    formula_rows         rows that lack a value of a formula
    exact_sum            sums without rounding, for what formulas learn

To add a column transformation, such as a logarithm or a spline, write a class beside `NumberTerm`
and `CategoryTerm` in design.py, or in a file of its own as dates.py, and choose it in `Design`;
what it learns from the rows to train on is gathered in fit_design.py and written by `Design.state`,
so that checkpoints keep it. A function of formulas of one number goes into `_FUNCTIONS` in
formula_expressions.py; one that learns needs its options, its state and its values in
formula_functions.py.
"""
