"""Whether a row fits `cutoff_len`. It is checked, never applied: the host would cut the question out of the prompt."""


def needs_cutoff(needed: int, cutoff_len: int) -> str:
    """The sentence for a row whose video, question and answer do not fit."""
    return (
        f"needs {needed} tokens but `cutoff_len` is {cutoff_len}, which would cut its video, question or answer. "
        f"Set `cutoff_len: {-(-needed // 64) * 64}` or more, or lower `video_maxlen`."
    )
