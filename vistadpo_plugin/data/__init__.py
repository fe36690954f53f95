"""From a row of JSON to a batch of tensors: `rows` -> `views` -> `batches`, over `video`.

In: the recipe's data sets. Out: what `scoring` takes. Each subpackage says what it holds; imports go batches > views >
rows > video, and nothing here knows a model family or the trainer.
"""
