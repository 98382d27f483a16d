"""The pipeline of ``dvc.yaml`` as Prefect flows.

Nothing here imports from ``stages/``: what there is to run is read from ``dvc.yaml``. Only
``dvc_project`` touches DVC.
"""

import os
import sys

SERVER_START = 120  # seconds; the first start makes the database

# Read by Prefect when it is imported, by its server, and by the processes of flow runs.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", str(SERVER_START))

# A hook of Git's sets these; with them Git would work on that repository wherever it is started,
# in a clone too.
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"):
    os.environ.pop(name, None)

if "prefect" in sys.modules:  # a run's process, where Prefect imports the flow
    from flows.outages import be_patient

    be_patient()
