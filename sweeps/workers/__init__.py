"""Workers: processes that propose, claim, run, retry and record trials."""
