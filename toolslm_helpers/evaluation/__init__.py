"""Evaluation: judges, pass rates in six sets, intervals, and the paper's published tables."""
