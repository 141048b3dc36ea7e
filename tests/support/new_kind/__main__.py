"""`python -m jobs` where the kind is registered, which for one of Bakehouse's own holds everywhere."""

from __future__ import annotations

import sys

from core.jobfile.kinds import KINDS
from jobs.__main__ import main
from tests.support.new_kind import PACK

if __name__ == "__main__":
    KINDS[PACK.name] = PACK
    sys.exit(main(sys.argv[-1:]))
