"""``python -m vlagym.eval.cli`` is `vla-eval`."""

import sys

from . import main

sys.exit(main())
