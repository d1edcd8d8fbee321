"""A model of Kafka: partitions with replicas, producers, consumers, groups, transactions, MirrorMaker."""
