"""Grounded rows out of public annotations: questions read, wrong answers drawn, rows checked, a data card written."""
