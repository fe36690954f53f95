"""Rows -> converter -> processor -> pairing -> views -> collator, in the order in which the data flows."""
