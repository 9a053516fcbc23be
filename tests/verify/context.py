"""What every check gets."""

import dataclasses
from collections.abc import Callable

from verify.agents import Agents
from verify.model import LambdaModel, LocalModel
from verify.probe import Probe
from verify.settings import TemporarySettings
from verify.target import Target

@dataclasses.dataclass
class Context:
    target: Target
    settings: TemporarySettings
    agents: Agents
    quick: bool
    say: Callable[[str], None]
    model: LambdaModel | LocalModel | None = None
    probe: Probe | None = None
    # CloudWatch metrics arrive minutes late: (Unix time, function that returns a result).
    deferred: list = dataclasses.field(default_factory=list)

    def defer(self, not_before, produce):
        """An emulator has no delay."""
        self.deferred.append((0 if self.target.is_emulator else not_before, produce))

    def choose(self, full, quick):
        return quick if self.quick else full

