"""What an ablation found: every model's figures with their replicates, means and differences with intervals, reports.

Replies and margins on disk come in, a table, a forest plot and a JSON file go out.
"""
