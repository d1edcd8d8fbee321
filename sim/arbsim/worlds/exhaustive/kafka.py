"""Clusters in which a batch is with every replica as soon as the leader has it.

A consumer sees a batch once all in-sync replicas have it, and with acks=all its producer hears of it no sooner. What
lies between the append and that moment nobody can see, so both are one step. With fewer acks the producer hears of it
before anybody can read it; that order is left out, and said to be.
"""

from __future__ import annotations

from arbsim.worlds.exhaustive.kernel import ChoiceKernel
from arbsim.worlds.virtual.kafka.cluster import Cluster
from arbsim.worlds.virtual.kafka.clusters import Clusters
from arbsim.worlds.virtual.kafka.partition import Partition
from arbsim.worlds.virtual.kernel import Kernel


class ChoicePartition(Partition):
    """A partition that knows which step let consumers see how far."""

    def __init__(self, kernel: Kernel, topic: str, number: int, compacted: bool) -> None:
        super().__init__(kernel, topic, number, compacted)
        assert isinstance(kernel, ChoiceKernel)
        self._choices = kernel
        self._shown: dict[bool, list[tuple[int, int]]] = {False: [], True: []}

    def wake(self) -> None:
        """There is more to see, for some or for all."""
        for read_committed, end in ((False, self.high_watermark), (True, self.last_stable_offset())):
            shown = self._shown[read_committed]
            if not shown or end > shown[-1][0]:
                shown.append((end, self._choices.place))
        super().wake()

    def shown_at(self, offset: int, read_committed: bool) -> int:
        """The step that let consumers see beyond an offset."""
        return next(place for end, place in self._shown[read_committed] if end > offset)


class ChoiceCluster(Cluster):
    """A cluster without delays between its brokers."""

    partition_type = ChoicePartition

    def opened(self, acks: int | str) -> None:
        """A producer that does not wait for all replicas sees an order that is left out here."""
        if acks not in (-1, "all"):
            assert isinstance(self.kernel, ChoiceKernel)
            self.kernel.learned.limits[
                "acks other than all: a record that is acknowledged can be read at once"
            ] = None

    def replication_ns(self, operation: int, partition: Partition) -> int:
        """The replicas have a batch in the same step."""
        return 0

    def log_write_ns(self, operation: int, step: int) -> int:
        """So do those of the coordinator's log."""
        return 0


class ChoiceClusters(Clusters):
    """All clusters of a run."""

    cluster_type = ChoiceCluster
