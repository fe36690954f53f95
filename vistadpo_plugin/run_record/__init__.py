"""What is written down of a run for people and programs: recipe, report, model card, picture of the margins.

In: what the workflow tells of the run (`report.RunStart`) and the trainer's log. Out: resolved_recipe.yaml,
vistadpo_run.json, a section of README.md, and a PNG. `provenance` is the one place where versions of packages are
listed and files hashed. May import scoring, models, data and arguments; nothing here runs a model.
"""
