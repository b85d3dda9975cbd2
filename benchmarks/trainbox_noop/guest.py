"""Stamps the time of its first line, and then sleeps as long as it is told."""

import time


def main(run):
    run.emit.metric("first_line_at", time.time())
    time.sleep(run.params.get("sleep_s", 0))
