"""`python -m programs 500`: what 500 random specs reach."""

import sys

from programs.coverage import reached, report

print(report(*reached(int(sys.argv[1]) if len(sys.argv) > 1 else 100)))
