"""Reads tables from files, and knows neither torch nor Lightning.

The way of a row: `discovery` finds the files of a path; `dataset` opens each as a `csv`, `parquet`
or `arrow` file, as its first bytes say, or takes a data frame as a `frame`; it reads one after the
other and yields chunks, each a record batch of pyarrow; `prefetch` reads the next one in a thread.
`prediction_file` writes. In a CSV file, `number_text` reads numbers with thousands, percent signs
or currencies; `disguised_numbers` finds the options for a column of them, with `units` and
`truth_words`.

To add a format, write a file beside `parquet.py` with a subclass of `TableFile` that has
`read_schema`, `count_rows` and `read_batches`. Add its first bytes to `FIRST_BYTES` in dataset.py.
"""
