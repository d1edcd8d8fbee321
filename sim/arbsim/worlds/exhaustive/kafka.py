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


class ChoiceCluster(Cluster):
    """A cluster without delays between its brokers."""

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
