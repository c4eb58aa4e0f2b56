"""Models and data as another package would define them, and a script that tests run."""
