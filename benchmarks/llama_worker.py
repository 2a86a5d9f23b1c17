"""llama.cpp's own server and nothing before it: ``python -m benchmarks.llama_worker FILE PORT KEY
ROWS CONTEXT``, until SIGTERM.

Rows decode at once, each with a context of its own, on all cores; all else is as llama.cpp has it.
"""

from __future__ import annotations

import os
import signal
import sys

import xllamacpp


def main() -> None:
    """Serve; the model is loaded before the port answers."""
    path, port, key, rows, context = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.port = int(port)
    params.api_keys = [key]
    params.n_parallel = int(rows)
    params.n_ctx = int(rows) * int(context)
    params.n_threads_http = 2 * int(rows)
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.ui = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
