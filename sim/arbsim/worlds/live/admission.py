"""Whether a cluster of Kafka lets a client in; and where it does not, why, in words.

aiokafka's clients write the reason to their log and raise that they could not bootstrap, so it is asked for here.
"""

from __future__ import annotations

import asyncio
import ssl

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from arbsim.worlds.live.security import KafkaSecurity

_GOODBYE_S = 1.0


async def knock(address: str, security: KafkaSecurity) -> None:
    """Connect, and ask for something that only who is let in may ask. Raises what is in the way."""
    host, _, port = address.rpartition(":")
    connection = AIOKafkaConnection(host.strip("[]"), int(port), **security.client())
    try:
        await connection.connect()
        await connection.send(MetadataRequest([]))
    finally:
        # TLS says goodbye; who was not even connected never will, so there is an end to the waiting.
        await asyncio.wait([connection.close()], timeout=_GOODBYE_S)


def why_not_let_in(error: BaseException, security: KafkaSecurity) -> str:
    """What is in the way, as the end of a sentence that begins with the server. No password is in it."""
    if isinstance(error, KafkaConnectionError) and isinstance(error.__cause__, ssl.SSLError):
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return f"has a certificate that is not trusted: {why}; ssl.truststore.location names who is trusted"
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return (
            f"refuses TLS as it is ({error.reason}): it may want another certificate in ssl.keystore.location"
        )
    if isinstance(error, SaslAuthenticationFailed):
        return "refuses the user name or the password of sasl.jaas.config"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"does not take sasl.mechanism={security.mechanism}"
    if isinstance(error, IllegalSaslStateError):
        return f"asks for no password at this port; security.protocol={security.protocol} is wrong for it"
    if isinstance(error, ssl.SSLError | ConnectionResetError | KafkaConnectionError):
        return (
            f"does not go on after the first words ({type(error).__name__}): is security.protocol={security.protocol}"
            " right for this port? --kafka-config says it"
        )
    return f"does not answer: {type(error).__name__}"
