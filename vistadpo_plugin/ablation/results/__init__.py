"""What an ablation found: figures of every model, means with intervals, and the reports that show them."""
