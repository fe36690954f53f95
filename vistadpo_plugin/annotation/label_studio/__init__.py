"""Review in Label Studio: rows become tasks with drafts in them, and its JSON export becomes rows again.

In: rows and their videos; then an export. Out: a folder with labelling configuration, tasks and media; then rows,
every field that nobody edited exactly as it was, and how far annotators agree. Talks to no server.
"""
