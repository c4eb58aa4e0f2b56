"""Models and data as another package defines them, and a script that tests run."""
