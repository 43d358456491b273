"""Pictures and a track in, sightings and looks out. Knows no web, no database and no trainer."""

import os

# Enough for any patrol camera; decoded it is 190 MB. OpenCV reads its own limit once, when it is imported: a 47 KB
# PNG can otherwise take gigabytes.
MAX_PIXELS = 64_000_000
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
# The linear algebra here is of small matrices: several threads gain little on an idle machine, and on a busy one they
# wait for each other tens of times longer than one thread works. OpenBLAS, too, reads this once.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
