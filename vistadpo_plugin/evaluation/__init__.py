"""Benchmark annotations -> questions -> replies of a model -> scores.

In: an evaluation recipe, annotations and videos. Out: questions.jsonl, replies, a report as JSON and tables; each stage
(`run`) finds the last one's files. `benchmarks/` has one file a benchmark, `vllm_backend/` asks through vLLM, `probe/`
looks at margins, not replies, `lmms_eval/` answers for lmms-eval. May import validation, host and what lies below, and
`endpoint` for judges.
"""
