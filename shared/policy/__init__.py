"""What the law says, as data: policy packs, read strictly, one YAML file a region.

``Policies.load`` reads a directory of packs (and the operator's parameters); ``policies.on(region, day)`` gives the
``Version`` in force, with its three sections: ``coverage`` (who is eligible where), ``benefits`` (what the funds pay)
and ``account`` (what the personal account may do). No number of any city stands in code.
"""

from shared.policy.faults import Fault, PackError
from shared.policy.policies import Policies
from shared.policy.version import Version

__all__ = ["Fault", "PackError", "Policies", "Version"]
