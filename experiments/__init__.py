"""All that knows DVC and no Prefect: the project, its experiments and its versions.

Only ``dvc_project`` touches DVC.
"""

import os

# A hook of Git's sets these; with them Git would work on that repository wherever it is started,
# in a clone too.
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"):
    os.environ.pop(name, None)
