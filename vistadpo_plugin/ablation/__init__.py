"""`vistadpo ablate`: a ladder of objectives from one base on the same rows, and what each rung is worth."""
