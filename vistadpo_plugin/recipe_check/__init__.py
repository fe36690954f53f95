"""What `vistadpo recipes check` thinks about a recipe before anything is trained: nothing here needs a GPU or a hub."""
