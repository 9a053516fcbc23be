"""Calls side by side."""

from concurrent.futures import ThreadPoolExecutor

# Callers at one time. An account with few executions gets fewer: see `limit_threads`.
_threads = 32


def limit_threads(executions):
    """Leaves half of the account's concurrent executions to the functions behind the API."""
    global _threads
    _threads = max(2, min(32, executions // 2))


def in_parallel(function, items, threads=None):
    """Results in the order of the items. The first error ends it."""
    with ThreadPoolExecutor(threads or _threads) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
