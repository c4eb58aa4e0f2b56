"""Reads tables from files, and knows neither torch nor Lightning.

The way of a row: `discovery` finds the files of a path; `file_format` opens each as its first bytes
say: as `csv`, `json_lines`, `parquet`, `arrow`, or as a whole (`excel`, `statistics_file`). A data
frame is a `frame`. `dataset` reads one after the other and yields chunks, each a record batch of
pyarrow; `prefetch` reads the next one in a thread. `prediction_file` writes. In CSV files,
`csv_dates` finds dates in the formats that the user gives, and `date_text` reads them.

To add a format, write a file beside `parquet.py` with a subclass of `TableFile` that has
`read_schema`, `count_rows` and `read_batches`, and add its first bytes to `FIRST_BYTES` in
file_format.py.
"""
