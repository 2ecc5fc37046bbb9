"""How figures are summed up and printed."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from sandbox.controlplane.binaries import ETCD, KUBERNETES


def distribution(name: str, values: Sequence[float], unit: str) -> str:
    """Count, quantiles and the largest. Quantiles are the nearest value from above: none is made up."""
    found = sorted(values)
    cells = [f"p{percent} {_quantile(found, percent):.3f}" for percent in (50, 90, 99)]
    return f"{name}: n {len(found)}, {', '.join(cells)}, max {found[-1]:.3f} {unit}"


def _quantile(found: Sequence[float], percent: int) -> float:
    return found[min(len(found) - 1, -(-len(found) * percent // 100) - 1)]


def machine() -> str:
    """Where and when: a figure without these means nothing."""
    today = datetime.now(UTC).date()
    return (
        f"{today}, {len(os.sched_getaffinity(0))} cores shared with everything else, Python {platform.python_version()}, "
        f"kube-apiserver {KUBERNETES}, etcd {ETCD}"
    )
