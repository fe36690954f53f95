"""The benchmarks `vistadpo evaluate` knows, by the name a recipe uses."""
