"""Virtual time: models of the network, of Kafka and of a SQL database, driven by SimPy."""
