"""The pipeline of ``dvc.yaml`` as Prefect flows.

Nothing here imports from ``stages/``: what there is to run is read from ``dvc.yaml``. Only
``dvc_project`` touches DVC.
"""

import os
import sys

# Read by Prefect when it is imported, by its server, and by the processes of flow runs.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

if "prefect" in sys.modules:  # a run's process, where Prefect imports the flow
    from flows.outages import be_patient

    be_patient()
