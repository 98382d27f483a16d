"""All that knows DVC and no Prefect: a project, its experiments and its promoted models.

``params`` checks a change of ``params.yaml`` as a whole, ``plan`` makes a sweep's experiments of
presets and a grid, ``compare`` shows experiments side by side, ``workspace`` is the clone that a
retraining works in, ``registry`` keeps the models that were promoted, ``look`` says what a folder
of photos is. Only ``dvc_project`` touches DVC; of the stages, nothing but how they read
``params.yaml`` is known here, and to ``look`` what ``ingest`` lists.
"""

import os

# A hook of Git's sets these; with them Git would work on that repository wherever it is started,
# in a clone too.
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"):
    os.environ.pop(name, None)
