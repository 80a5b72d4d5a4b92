"""The event bus: every event of the journal in a topic of Kafka, in order, at least once.

A projection like the other views, with positions of its own: it reads the journal behind them, so
that brokers which are slow or gone hold nobody up and cost no memory. ``bus.py`` is the loop,
``kafka.py`` the topic; positions are written with the events, in one transaction.
"""

from dataflow.views.bus.bus import EventBus
from dataflow.views.bus.contract import Message, Place, Topic

__all__ = ["EventBus", "Message", "Place", "Topic"]
