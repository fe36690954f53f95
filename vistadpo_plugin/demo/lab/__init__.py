"""A second base, whose language model has a past: the demo's tower before SmolLM2-135M-Instruct.

Nothing of it ships. `text_model` takes the language model from the package that holds it and puts the demo's tower
before it, `projector` teaches the projector words, `build` the rest. For `vistadpo demo --rebuild-base FOLDER
--text-model smollm2`.
"""
