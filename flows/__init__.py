"""What Prefect runs: the flows ``reproduce``, ``sweep`` and ``retrain``, and their deployments.

What there is to run is read from ``dvc.yaml``: a stage that is added there becomes a task with no
line changed here. All that knows DVC stands in ``experiments``.
"""

import os
import sys

SERVER_START = 120  # seconds; the first start makes the database

# Read by Prefect when it is imported, by its server, and by the processes of flow runs.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", str(SERVER_START))

if "prefect" in sys.modules:  # a run's process, where Prefect imports the flow
    from flows.outages import be_patient

    be_patient()
