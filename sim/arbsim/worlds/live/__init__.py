"""The live world: real servers, started here on loopback and thrown away afterwards."""
