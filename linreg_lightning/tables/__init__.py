"""Reads tables from files, and knows neither torch nor Lightning.

The way of a row: `discovery` finds the files of a path, and `partitions` reads the columns that the
names of their folders give; `transaction_log` refuses folders whose files are not the table.
`file_format` opens each file as its first bytes say: as `csv`, `json_lines`, `parquet`, `arrow`, or
as a whole (`excel`, `statistics_file`). A data frame is a `frame`. `dataset` reads one after the
other and yields chunks, each a record batch of pyarrow; `prefetch` reads the next one in a thread.
`csv_values` finds what stands for a missing value. `prediction_file` writes.

Of CSV: `csv_format` has the options; `csv_lines` and `csv_sections` cut the text into whole lines;
`csv` parses them; `csv_layout` recognises lines that are no rows; `csv_errors` says what is wrong.
`number_text` and `date_text` read numbers and dates as people write them; `disguised_numbers`, with
`units` and `truth_words`, names the option for a column.

To add a format, write a file beside `parquet.py` with a subclass of `TableFile` that has
`read_schema`, `count_rows` and `read_batches`, and add its first bytes to `FIRST_BYTES` in
file_format.py.
"""
