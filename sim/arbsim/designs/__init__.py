"""The designs: one file each, ordinary aiokafka and asyncpg code."""
