"""The messages of the small federation that the tables of tampering change: one of each kind."""

from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR

DEAL = MessageName("deal", 0, 0, "P01")
PAIRING = MessageName("pairing", 0, 0, "P02")
READY = MessageName("ready", 1, 1, "P02")
ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
UPDATE = MessageName("update", 1, 1, "P02")
SUM = MessageName("sum", 1, 1, AGGREGATOR)
RELEASE = MessageName("release", 1, 1, "P02")
VOID = MessageName("void", 1, 1, AGGREGATOR)
LAST_READY = MessageName("ready", 3, 1, "P02")
ALIVE = MessageName("alive", 0, 0, "P02")
TROUBLE = MessageName("trouble", 0, 0, "P03")
