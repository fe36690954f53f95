"""vLLM in the place of the host's own inference: `infer_backend: vllm` of an evaluation recipe.

`support` says beforehand what goes, without vLLM; `responder` asks; `inputs` hands over what the host prepared;
`worker` runs inside vLLM. The host's own vLLM engine is not used: it has videos sampled and processed a second time,
and asks for releases of vLLM that exclude the transformers we need.
"""
