"""Faults that once gave a wrong result without a word, each with the test that would find it again.

`python -m pytest -m regression` runs those tests, which stand where they belong in the mirror of the packages.
"""
