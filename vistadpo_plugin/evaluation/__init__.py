"""Benchmark annotations -> questions -> replies of a model -> scores."""
