"""`vistadpo ablate`: a ladder of objectives from one base on the same rows, over seeds, and what each rung is worth.

A recipe comes in; runs of the host, evaluations, a table, a plot and a JSON file go out. The parent process plans and
reports without importing the host; a worker process trains, asks and probes. It may import `evaluation`,
`recipe_check` and what is below them; training it only starts, through the host.
"""
