"""Which automations an event concerns: see `index`."""

from tocsin.automations.index import Index as Index
